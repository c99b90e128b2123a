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
	const void *now, *next;		  /* the structs that the offsets are of */
	const struct config_marks *marks; /* of next */
	bool silent;			  /* name what changed, not the values */
	const char *remedy;		  /* appended; NULL: none */
	struct config_errors *out;
};

static void tell(const struct walk *w, const char *path, const struct option *o, size_t offset)
{
	uint32_t line = marks_find(w->marks, offset).line;
	char where[32] = " (built in)";
	char *a, *b;

	if (line) {
		snprintf(where, sizeof(where), " (line %u)", (unsigned)line);
	}
	if (w->silent || o->kind == OPTION_SECRET) {
		lines_add(w->out, "%s: changed%s%s", path, where, w->remedy ? w->remedy : "");
		return;
	}
	a = value_text(o, (const char *)w->now + offset);
	b = value_text(o, (const char *)w->next + offset);
	lines_add(w->out, "%s: %s -> %s%s%s", path, a, b, where, w->remedy ? w->remedy : "");
	free(a);
	free(b);
}

/* A table that may be replaced by a word: `off` on one side, or on both. */
static bool word_differs(const struct walk *w, const char *path, const struct option *o,
			 size_t offset)
{
	int a = *(const int *)(const void *)((const char *)w->now + offset);
	int b = *(const int *)(const void *)((const char *)w->next + offset);

	if (a != b) {
		lines_add(w->out, "%s: %s -> %s", path, a ? o->choices[a - 1] : "on",
			  b ? o->choices[b - 1] : "on");
	}
	return a || b;
}

static void compare(const struct walk *w, const char *prefix, const struct option *table,
		    size_t base)
{
	for (const struct option *o = table; o->key; o++) {
		size_t offset = base + o->offset;
		char *path;

		if (o->kind == OPTION_UNSUPPORTED || (o->kind == OPTION_TABLE && !o->table)) {
			continue;
		}
		path = xasprintf("%s%s%s", prefix, prefix[0] ? "." : "", o->key);
		if (o->kind == OPTION_TABLE) {
			if (!o->choices || !word_differs(w, path, o, offset)) {
				compare(w, path, o->table, offset);
			}
		} else if (!value_equal(o, (const char *)w->now + offset,
					(const char *)w->next + offset)) {
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
		const struct walk w = {.now = a, .next = b, .marks = &b->marks, .out = changes};

		if (!a) {
			lines_add(changes, "%s: added (line %u)", b->label, (unsigned)b->at.line);
		} else {
			compare(&w, b->label, topic_options, 0);
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
			       .remedy = "; needs a restart",
			       .out = errors};
	char *prefix;

	if (now->kind != next->kind) {
		lines_add(errors, "broker: %s -> %s (line %u); needs a restart", now->kind->name,
			  next->kind->name, (unsigned)next->line);
		return;
	}
	prefix = xasprintf("broker.%s", now->kind->name);
	compare(&w, prefix, now->kind->options, 0);
	free(prefix);
}

int config_diff(const struct config *now, const struct config *next, struct config_errors *changes,
		struct config_errors *errors)
{
	struct walk w = {.now = now, .next = next, .marks = next->marks, .out = changes};
	struct walk restart = w;
	size_t before = errors->n;

	restart.out = errors;
	restart.remedy = "; needs a restart";
	for (const struct option *o = config_options; o->key; o++) {
		if (o->kind == OPTION_TABLE && o->table) {
			compare(strcmp(o->key, "socket") == 0 ? &restart : &w, o->key, o->table,
				o->offset);
		}
	}
	compare_broker(&now->brokers[0], &next->brokers[0], errors);
	w.now = &now->rules->defaults;
	w.next = &next->rules->defaults;
	w.marks = &next->rules->defaults.marks;
	compare(&w, "defaults", defaults_options, 0);
	compare_topics(now->rules, next->rules, changes);
	compare_access(now, next, changes);
	return errors->n > before ? EB_ENOTSUP : 0;
}
