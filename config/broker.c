/* SPDX-License-Identifier: Apache-2.0 */
#include "config/broker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "config/bind.h"
#include "config/nearest.h"

void broker_default(struct config *c, const struct config_broker_kind *kind)
{
	c->brokers = xcalloc(1, sizeof(*c->brokers));
	c->n_brokers = 1;
	c->brokers[0].name = xstrdup("default");
	c->brokers[0].kind = kind;
	/* A kind without options still gets its own address. */
	c->brokers[0].options = xcalloc(1, kind->options_size ? kind->options_size : 1);
	bind_defaults(kind->options, c->brokers[0].options);
}

void broker_free(struct config *c)
{
	for (uint32_t i = 0; i < c->n_brokers; i++) {
		option_free(c->brokers[i].kind->options, c->brokers[i].options);
		free(c->brokers[i].options);
		free(c->brokers[i].name);
	}
	free(c->brokers);
}

static const struct config_broker_kind *find_kind(const struct config_broker_kind *const *kinds,
						  const char *name)
{
	for (; *kinds; kinds++) {
		if (strcmp((*kinds)->name, name) == 0) {
			return *kinds;
		}
	}
	return NULL;
}

static void unknown_kind(const struct config_broker_kind *const *kinds, struct report *report,
			 const struct path *path, struct mark at)
{
	char known[256] = "";
	size_t n = 0;

	for (; *kinds && n < sizeof(known); kinds++) {
		n += (size_t)snprintf(known + n, sizeof(known) - n, "%s%s", n ? ", " : "",
				      (*kinds)->name);
	}
	report_add(report, at, path, "no such kind of broker in this version; there is: %s", known);
}

/* The kind's own check, told at the value that it names. */
static void check_options(const struct config_broker *b, const struct config_marks *marks,
			  struct report *report, const struct path *path, struct mark at)
{
	struct path here = {.up = path};
	struct err_text err = {.s = "invalid"};
	size_t offset;

	if (!b->kind->check || b->kind->check(b->options, &here.key, &err) == 0) {
		return;
	}
	if (here.key && option_find_path(b->kind->options, here.key, &offset)) {
		struct mark value = marks_find(marks, offset);
		at = value.line ? value : at;
	}
	report_add(report, at, here.key ? &here : path, "%s", err.s);
}

static void bind_kind(struct config *c, const struct config_broker_kind *kind,
		      struct report *report, const struct path *path, const struct node *key)
{
	struct config_marks marks = {0};
	size_t before = report->n;

	broker_default(c, kind);
	c->brokers[0].line = key->at.line;
	struct bind b = {.report = report, .target = c->brokers[0].options, .marks = &marks};
	bind_map(&b, path, key->value, kind->options, 0);
	if (report->n == before) {
		check_options(&c->brokers[0], &marks, report, path, key->at);
	}
	marks_finish(&marks);
}

void broker_bind(struct config *c, const struct config_broker_kind *const *kinds,
		 struct report *report, const struct path *path, const struct node *node)
{
	if (node->kind == NODE_BAD || node->kind == NODE_NULL) {
		return;
	}
	if (node->kind != NODE_MAP) {
		report_add(report, node->at, path, "must be a map with one kind, such as {%s: {}}",
			   kinds[0]->name);
		return;
	}
	for (const struct node *key = node->first; key; key = key->next) {
		struct path here = {.up = path, .key = key->text};
		const struct config_broker_kind *kind = find_kind(kinds, key->text);

		if (key->kind == NODE_BAD) {
			continue;
		}
		if (!kind) {
			unknown_kind(kinds, report, &here, key->at);
		} else if (c->brokers) {
			report_add(report, key->at, &here,
				   "a second broker; this version runs one, remove the other");
		} else {
			bind_kind(c, kind, report, &here, key);
		}
	}
}
