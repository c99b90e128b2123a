/* SPDX-License-Identifier: Apache-2.0 */
/* Loading configurations from text, with two small kinds of broker. For the config tests. */
#ifndef TESTS_UNIT_CONFIG_KIT_H
#define TESTS_UNIT_CONFIG_KIT_H

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"

struct kit_tls {
	bool enabled;
	char *ca;
};

struct kit_options {
	int64_t history;
	bool create;
	char *name, *token;
	struct option_strings servers;
	struct kit_tls tls;
};

static const struct option kit_tls_table[] = {
	{"enabled", OPTION_BOOL, offsetof(struct kit_tls, enabled), "false", .doc = "encrypt"},
	{"ca", OPTION_STRING, offsetof(struct kit_tls, ca), .doc = "file"},
	{0},
};

static const struct option kit_table[] = {
	{"history", OPTION_SIZE, offsetof(struct kit_options, history), "64MiB", 1024, 1 << 30,
	 .doc = "bytes"},
	{"create", OPTION_BOOL, offsetof(struct kit_options, create), "true", .doc = "create"},
	{"name", OPTION_STRING, offsetof(struct kit_options, name), .doc = "name"},
	{"token", OPTION_SECRET, offsetof(struct kit_options, token), .doc = "secret"},
	{"servers", OPTION_STRINGS, offsetof(struct kit_options, servers), "nats://127.0.0.1:4222",
	 .doc = "servers"},
	{"tls", OPTION_TABLE, offsetof(struct kit_options, tls), .table = kit_tls_table,
	 .doc = "tls"},
	{0},
};

static inline int kit_check(const void *options, const char **key, struct err_text *err)
{
	const struct kit_options *o = options;

	if (o->tls.ca && !o->tls.enabled) {
		*key = "tls.ca";
		return err_set(err, EB_EINVAL, "needs tls.enabled");
	}
	return 0;
}

static const struct config_broker_kind kit_memory = {"memory", kit_table,
						     sizeof(struct kit_options), kit_check};
static const struct config_broker_kind kit_nats = {"nats", kit_table, sizeof(struct kit_options),
						   kit_check};
static const struct config_broker_kind *const kit_kinds[] = {&kit_memory, &kit_nats, NULL};

static inline int kit_load_n(const char *text, size_t n, struct config **out,
			     struct config_errors *errors)
{
	*errors = (struct config_errors){0};
	return config_load_text("f.yaml", text, n, kit_kinds, out, errors);
}

/* A text that must load. */
static inline struct config *kit_load(const char *text)
{
	struct config_errors e;
	struct config *c;
	int rc = kit_load_n(text, strlen(text), &c, &e);

	ck_assert_msg(rc == 0 && e.n == 0, "refused: %s", e.n ? e.v[0] : "without a word");
	ck_assert_ptr_nonnull(c);
	return c;
}

/* A text that must be refused with exactly these problems, one a line. */
static inline void kit_refuse(const char *text, const char *want)
{
	struct config_errors e;
	struct config *c;

	ck_assert_int_eq(kit_load_n(text, strlen(text), &c, &e), EB_EINVAL);
	ck_assert_ptr_null(c);
	for (size_t i = 0; i < e.n; i++) {
		size_t n = strcspn(want, "\n");

		ck_assert_msg(strlen(e.v[i]) == n && strncmp(e.v[i], want, n) == 0,
			      "got: %s\nwant: %.*s", e.v[i], (int)n, want);
		want += n + (want[n] == '\n');
	}
	ck_assert_msg(*want == '\0', "missing: %s", want);
	config_errors_free(&e);
}

#endif
