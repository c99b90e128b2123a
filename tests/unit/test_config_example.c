/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The annotated example against the tables: "#key: value" must be the default, and every key of
 * every table must be in it, those of the brokers that were built in included.
 */
#include <check.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapters/adapter.h"
#include "base/buf.h"
#include "config/bind.h"
#include "config/config.h"
#include "config/rules.h"
#include "config/tables.h"
#include "tests/unit/suite.h"

#define EXAMPLE	  "config/eventbusd.yaml"
#define MAN_PAGE  "deploy/man/eventbusd.yaml.5"
#define KINDS_MAX 16

/* What the daemon hands to the loader. */
static const struct config_broker_kind *const *kinds(void)
{
	static struct config_broker_kind store[KINDS_MAX];
	static const struct config_broker_kind *list[KINDS_MAX + 1];
	const struct adapter_kind *const *a = adapter_kinds();

	for (size_t i = 0; a[i]; i++) {
		ck_assert_uint_lt(i, KINDS_MAX);
		store[i] = (struct config_broker_kind){a[i]->name, a[i]->options,
						       a[i]->options_size, a[i]->check};
		list[i] = &store[i];
	}
	return list;
}

static char *read_all(const char *file)
{
	char *text = calloc(1, 65536);
	FILE *f = fopen(file, "r");

	ck_assert_msg(f != NULL, "run from the top of the tree: %s is missing", file);
	ck_assert_uint_lt(fread(text, 1, 65535, f), 65535);
	fclose(f);
	return text;
}

/* Whether the line is the "  #kind:" of some broker; then which. */
static const struct config_broker_kind *opens_kind(const char *line, size_t n)
{
	for (size_t i = 0; kinds()[i]; i++) {
		size_t len = strlen(kinds()[i]->name);
		if (n == len + 4 && strncmp(line, "  #", 3) == 0 &&
		    strncmp(line + 3, kinds()[i]->name, len) == 0 && line[n - 1] == ':') {
			return kinds()[i];
		}
	}
	return NULL;
}

/* Takes the # from "#key:" lines; of the brokers only this kind's block is kept. */
static void uncomment(const char *text, const struct config_broker_kind *kind, struct buf *out)
{
	const struct config_broker_kind *inside = NULL;

	for (const char *line = text, *end; *line; line = end + (*end == '\n')) {
		size_t n, blanks = strspn(line, " ");

		end = line + strcspn(line, "\n");
		n = (size_t)(end - line);
		if (opens_kind(line, n)) {
			inside = opens_kind(line, n);
		} else if (n == 0) {
			inside = NULL;
		}
		if (inside && inside != kind) {
			continue;
		}
		buf_append(out, line, blanks);
		line += blanks;
		line += line[0] == '#' && islower((unsigned char)line[1]);
		buf_append(out, line, (size_t)(end - line));
		buf_append(out, "\n", 1);
	}
}

static void expect_same(const struct config *a, const struct config *b)
{
	struct config_errors changes = {0}, errors = {0};
	int rc = config_diff(a, b, &changes, &errors);

	ck_assert_msg(changes.n == 0, "%s", changes.n ? changes.v[0] : "");
	ck_assert_msg(errors.n == 0, "%s", errors.n ? errors.v[0] : "");
	ck_assert_int_eq(rc, 0);
}

static struct config *load(const char *text, size_t n)
{
	struct config_errors e = {0};
	struct config *c;
	int rc = config_load_text(EXAMPLE, text, n, kinds(), &c, &e);

	ck_assert_msg(rc == 0, "%s", e.n ? e.v[0] : "refused without a word");
	return c;
}

START_TEST(as_it_is_it_changes_nothing)
{
	char *text = read_all(EXAMPLE);
	struct config_errors e = {0};
	struct config *c = load(text, strlen(text)), *built_in;

	ck_assert_int_eq(config_load(NULL, kinds(), &built_in, &e), 0);
	expect_same(built_in, c);
	config_free(c);
	config_free(built_in);
	free(text);
}
END_TEST

START_TEST(uncommented_it_is_the_defaults)
{
	char *text = read_all(EXAMPLE), bare[64];

	for (size_t i = 0; kinds()[i]; i++) {
		struct config *c, *built_in;
		struct buf b;

		buf_init(&b);
		uncomment(text, kinds()[i], &b);
		c = load((const char *)buf_data(&b), b.len);
		snprintf(bare, sizeof(bare), "broker: {%s: {}}\n", kinds()[i]->name);
		built_in = load(bare, strlen(bare));
		ck_assert_uint_ne(c->brokers[0].line, 0);
		expect_same(built_in, c);
		config_free(c);
		config_free(built_in);
		buf_finish(&b);
	}
	free(text);
}
END_TEST

/* The part of the text that speaks of a section: to the next line that begins with a word. */
static char *section(const char *text, const char *head)
{
	char *at = strstr(text, head), *s;

	ck_assert_msg(at != NULL, "no %s", head);
	s = strdup(at + 1);
	for (char *line = s + strcspn(s, "\n"); *line; line += strcspn(line, "\n")) {
		line++;
		if (islower((unsigned char)*line) || strncmp(line, "# topics:", 9) == 0 ||
		    strncmp(line, "# access:", 9) == 0) {
			*line = '\0';
			break;
		}
	}
	return s;
}

/* A key with a default is written "#key:", one without "# key:"; tables also "key:". */
static void expect_keys(const char *text, const struct option *table, const char *where)
{
	for (const struct option *o = table; o->key; o++) {
		char with[64], without[64], plain[64], path[128];

		snprintf(path, sizeof(path), "%s.%s", where, o->key);
		snprintf(with, sizeof(with), " #%s:", o->key);
		snprintf(without, sizeof(without), " # %s:", o->key);
		snprintf(plain, sizeof(plain), " %s:", o->key);
		ck_assert_msg(o->doc || o->kind == OPTION_TABLE || o->kind == OPTION_UNSUPPORTED,
			      "%s has no doc", path);
		if (o->kind == OPTION_TABLE) {
			ck_assert_msg(strstr(text, plain) || strstr(text, with), "no %s", path);
			expect_keys(text, o->table, path);
		} else if (o->kind != OPTION_UNSUPPORTED) {
			ck_assert_msg(strstr(text, o->def ? with : without), "no %s", path);
		}
	}
}

START_TEST(it_has_every_key)
{
	char *text = read_all(EXAMPLE), *s;

	for (const struct option *o = config_options; o->key; o++) {
		char head[64];

		if (o->kind == OPTION_UNSUPPORTED) {
			continue;
		}
		snprintf(head, sizeof(head), "\n%s:\n", o->key);
		if (o->table) {
			s = section(text, head);
			expect_keys(s, o->table, o->key);
			free(s);
		}
	}
	s = section(text, "\ndefaults:\n");
	expect_keys(s, defaults_options, "defaults");
	free(s);
	for (size_t i = 0; kinds()[i]; i++) {
		char head[64];

		snprintf(head, sizeof(head), "\n  #%s:\n", kinds()[i]->name);
		s = section(text, head);
		expect_keys(s, kinds()[i]->options, kinds()[i]->name);
		free(s);
	}
	free(text);
}
END_TEST

/* In the manual a key stands with its table's path and, in parentheses, its default. */
static void expect_in_manual(const char *text, const struct option *table, const char *prefix)
{
	for (const struct option *o = table; o->key; o++) {
		char path[128], want[256];

		snprintf(path, sizeof(path), "%s%s%s", prefix, o->key,
			 o->kind == OPTION_TABLE ? "." : "");
		if (o->kind == OPTION_TABLE) {
			expect_in_manual(text, o->table, path);
		} else if (o->kind != OPTION_UNSUPPORTED) {
			snprintf(want, sizeof(want), "\n\\fB%s\\fP%s%s%s\n", path,
				 o->def ? " (" : "", o->def ? o->def : "", o->def ? ")" : "");
			ck_assert_msg(strstr(text, want), "not in %s:%s", MAN_PAGE, want);
		}
	}
}

START_TEST(the_manual_has_every_key)
{
	char *text = read_all(MAN_PAGE);

	for (const struct option *o = config_options; o->key; o++) {
		if (o->table) {
			expect_in_manual(text, o->table, "");
		}
	}
	expect_in_manual(text, defaults_options, "");
	expect_in_manual(text, topic_options, "");
	expect_in_manual(text, access_options, "");
	for (size_t i = 0; kinds()[i]; i++) {
		expect_in_manual(text, kinds()[i]->options, "");
	}
	free(text);
}
END_TEST

/* The two sections that are examples as a whole: with the # away they load. */
START_TEST(its_example_sections_load)
{
	char *text = read_all(EXAMPLE);
	static const char *const heads[] = {"\n# topics:\n", "\n# access:\n"};
	static const struct option *const tables[] = {topic_options, access_options};

	for (int i = 0; i < 2; i++) {
		char *s = section(text, heads[i]), *user;
		struct buf b;

		buf_init(&b);
		for (const char *line = s; *line; line += strcspn(line, "\n") + 1) {
			if (strncmp(line, "# ", 2) != 0) {
				break;
			}
			buf_append(&b, line + 2, strcspn(line + 2, "\n") + 1);
		}
		buf_append(&b, "", 1);
		for (const struct option *o = tables[i]; o->key; o++) {
			char key[64];
			if (option_find(defaults_options, o->key)) {
				continue;
			}
			snprintf(key, sizeof(key), " %s:", o->key);
			ck_assert_msg(strstr((char *)b.p, key), "no %s", key);
		}
		/* A user that every machine has. */
		user = strstr((char *)b.p, "user: orders");
		if (user) {
			memcpy(user, "user:   root", 12);
		}
		config_free(load((const char *)buf_data(&b), b.len - 1));
		buf_finish(&b);
		free(s);
	}
	free(text);
}
END_TEST

START_TEST(the_used_examples_load)
{
	static const char *const files[] = {"config/examples/memory.yaml",
					    "config/examples/nats.yaml",
					    "config/examples/kubernetes.yaml"};

	setenv("NATS_TOKEN", "x", 1);
	for (size_t i = 0; i < 3; i++) {
		struct config_errors e = {0};
		struct config *c;
		int rc = config_load(files[i], kinds(), &c, &e);

		ck_assert_msg(rc == 0, "%s", e.n ? e.v[0] : files[i]);
		config_free(c);
	}
}
END_TEST

int main(void)
{
	const TTest *tests[] = {as_it_is_it_changes_nothing,
				uncommented_it_is_the_defaults,
				it_has_every_key,
				the_manual_has_every_key,
				its_example_sections_load,
				the_used_examples_load};

	return suite_run("config_example", tests, sizeof(tests) / sizeof(tests[0]));
}
