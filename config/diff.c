/* SPDX-License-Identifier: Apache-2.0 */
/* What changes from one configuration to the next, for a reload. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "config/bind.h"
#include "config/config.h"
#include "config/report.h"
#include "config/rules.h"
#include "config/tables.h"
#include "config/value.h"

/* One walk over a table, comparing two structs. */
struct walk {
	const void *now, *next; /* the structs that the offsets are of */
	/* Where their values stand. */
	const struct config_marks *now_marks, *next_marks;
	bool sparse;	    /* a value without a mark is not set */
	bool silent;	    /* name what changed, not the values */
	uint32_t line;	    /* of a value without a mark; 0: it is built in */
	const char *remedy; /* appended */
	struct config_errors *out;
};

static const void *at(const void *target, size_t offset)
{
	return (const char *)target + offset;
}

static bool is_set(const struct walk *w, const struct config_marks *marks, size_t offset)
{
	return !w->sparse || marks_find(marks, offset).line;
}

static bool differs(const struct walk *w, const struct option *o, size_t offset)
{
	bool a = is_set(w, w->now_marks, offset), b = is_set(w, w->next_marks, offset);

	return a != b || (a && !value_equal(o, at(w->now, offset), at(w->next, offset)));
}

static char *text(const struct walk *w, const struct option *o, const void *target,
		  const struct config_marks *marks, size_t offset)
{
	return is_set(w, marks, offset) ? value_text(o, at(target, offset)) : xstrdup("(not set)");
}

static void tell(const struct walk *w, const char *path, const struct option *o, size_t offset)
{
	uint32_t line = marks_find(w->next_marks, offset).line;
	char where[32] = "";
	char *a, *b;

	line = line ? line : w->line;
	if (line || !w->sparse) {
		snprintf(where, sizeof(where), line ? " (line %u)" : " (built in)", (unsigned)line);
	}
	if (w->silent || o->kind == OPTION_SECRET) {
		lines_add(w->out, "%s: changed%s%s", path, where, w->remedy);
		return;
	}
	a = text(w, o, w->now, w->now_marks, offset);
	b = text(w, o, w->next, w->next_marks, offset);
	lines_add(w->out, "%s: %s -> %s%s%s", path, a, b, where, w->remedy);
	free(a);
	free(b);
}

/* A table that may be replaced by a word: true when it is, on one side at least. */
static bool compare_words(const struct walk *w, const char *prefix, const struct option *o,
			  size_t offset)
{
	int a = *(const int *)at(w->now, offset), b = *(const int *)at(w->next, offset);

	if (a != b) {
		lines_add(w->out, "%s%s: %s -> %s", prefix, o->key, a ? o->choices[a - 1] : "on",
			  b ? o->choices[b - 1] : "on");
	}
	return a || b;
}

/* prefix: with its separator. */
static void compare(const struct walk *w, const char *prefix, const struct option *table,
		    size_t base)
{
	for (const struct option *o = table; o->key; o++) {
		size_t offset = base + o->offset;
		char *path;

		if (o->kind == OPTION_UNSUPPORTED || (o->kind == OPTION_TABLE && !o->table)) {
			continue;
		}
		path = xasprintf("%s%s%s", prefix, o->key, o->kind == OPTION_TABLE ? "." : "");
		if (o->kind == OPTION_TABLE) {
			if (!o->choices || !compare_words(w, prefix, o, offset)) {
				compare(w, path, o->table, offset);
			}
		} else if (differs(w, o, offset)) {
			tell(w, path, o, offset);
		}
		free(path);
	}
}

static bool same_rule(const struct rule *a, const struct rule *b)
{
	return strcmp(a->match, b->match) == 0 && !a->group == !b->group &&
	       (!a->group || strcmp(a->group, b->group) == 0);
}

static const struct rule *find_rule(const struct config_rules *in, const struct rule *like)
{
	for (uint32_t i = 0; i < in->n_topics; i++) {
		if (same_rule(&in->topics[i], like)) {
			return &in->topics[i];
		}
	}
	return NULL;
}

static void compare_topics(const struct config_rules *now, const struct config_rules *next,
			   struct config_errors *changes)
{
	for (uint32_t i = 0; i < now->n_topics; i++) {
		if (!find_rule(next, &now->topics[i])) {
			lines_add(changes, "%s: removed", now->topics[i].label);
		}
	}
	for (uint32_t i = 0; i < next->n_topics; i++) {
		const struct rule *b = &next->topics[i], *a = find_rule(now, b);
		struct walk w = {.next = b, .sparse = true, .remedy = "", .out = changes};

		if (!a) {
			lines_add(changes, "%s: added (line %u)", b->label, (unsigned)b->at.line);
		} else {
			w.now = a;
			w.now_marks = &a->marks;
			w.next_marks = &b->marks;
			char *prefix = xasprintf("%s: ", b->label);
			compare(&w, prefix, topic_options, 0);
			free(prefix);
		}
	}
}

static bool same_access(const struct config_access *a, const struct config_access *b)
{
	for (const struct option *o = access_options; o->key; o++) {
		if (!value_equal(o, (const char *)a + o->offset, (const char *)b + o->offset)) {
			return false;
		}
	}
	return a->uid == b->uid;
}

static void compare_access(const struct config *now, const struct config *next,
			   struct config_errors *changes)
{
	for (uint32_t i = 0; i < now->n_access || i < next->n_access; i++) {
		if (i >= next->n_access) {
			lines_add(changes, "access[%u] user=%s: removed", (unsigned)i,
				  now->access[i].user);
		} else if (i >= now->n_access) {
			lines_add(changes, "access[%u] user=%s: added (line %u)", (unsigned)i,
				  next->access[i].user, (unsigned)next->access[i].line);
		} else if (!same_access(&now->access[i], &next->access[i])) {
			lines_add(changes, "access[%u] user=%s: changed (line %u)", (unsigned)i,
				  next->access[i].user, (unsigned)next->access[i].line);
		}
	}
}

/* Values of brokers stay unsaid: an address may hold a password. */
static void compare_broker(const struct config_broker *now, const struct config_broker *next,
			   struct config_errors *errors)
{
	const struct walk w = {.now = now->options,
			       .next = next->options,
			       .silent = true,
			       .line = next->line,
			       .remedy = "; needs a restart",
			       .out = errors};
	char *prefix;

	if (strcmp(now->kind->name, next->kind->name) != 0) {
		lines_add(errors, "broker: %s -> %s; needs a restart", now->kind->name,
			  next->kind->name);
		return;
	}
	prefix = xasprintf("broker.%s.", now->kind->name);
	compare(&w, prefix, now->kind->options, 0);
	free(prefix);
}

int config_diff(const struct config *now, const struct config *next, struct config_errors *changes,
		struct config_errors *errors)
{
	struct walk w = {
		.now = now, .next = next, .next_marks = next->marks, .remedy = "", .out = changes};
	struct walk restart = w;
	size_t before = errors->n;

	restart.out = errors;
	restart.remedy = "; needs a restart";
	for (const struct option *o = config_options; o->key; o++) {
		if (o->kind == OPTION_TABLE && o->table) {
			char *prefix = xasprintf("%s.", o->key);
			compare(strcmp(o->key, "socket") == 0 ? &restart : &w, prefix, o->table,
				o->offset);
			free(prefix);
		}
	}
	compare_broker(&now->brokers[0], &next->brokers[0], errors);
	w.now = &now->rules->defaults;
	w.next = &next->rules->defaults;
	w.next_marks = &next->rules->defaults.marks;
	compare(&w, "defaults.", defaults_options, 0);
	compare_topics(now->rules, next->rules, changes);
	compare_access(now, next, changes);
	return errors->n > before ? EB_ENOTSUP : 0;
}
