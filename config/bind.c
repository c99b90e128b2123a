/* SPDX-License-Identifier: Apache-2.0 */
#include "config/bind.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "config/nearest.h"
#include "config/value.h"

struct mark marks_find(const struct config_marks *marks, size_t offset)
{
	for (size_t i = 0; marks && i < marks->n; i++) {
		if (marks->v[i].offset == offset) {
			return marks->v[i].at;
		}
	}
	return (struct mark){0};
}

bool marks_refused(const struct config_marks *marks, size_t offset)
{
	for (size_t i = 0; marks && i < marks->n; i++) {
		if (marks->v[i].offset == offset) {
			return marks->v[i].refused;
		}
	}
	return false;
}

void marks_finish(struct config_marks *marks)
{
	free(marks->v);
	*marks = (struct config_marks){0};
}

static void mark_add(struct config_marks *marks, size_t offset, struct mark at, bool refused)
{
	if (!marks) {
		return;
	}
	if (marks->n == marks->cap) {
		marks->cap = marks->cap ? marks->cap * 2 : 8;
		marks->v = xrealloc(marks->v, marks->cap * sizeof(*marks->v));
	}
	marks->v[marks->n++] = (struct value_mark){offset, at, refused};
}

const struct option *option_find(const struct option *table, const char *key)
{
	for (const struct option *o = table; o->key; o++) {
		if (strcmp(o->key, key) == 0) {
			return o;
		}
	}
	return NULL;
}

const struct option *option_find_path(const struct option *table, const char *path, size_t *offset)
{
	*offset = 0;
	for (const struct option *o = table; o->key; o++) {
		size_t n = strlen(o->key), below;
		const struct option *found = NULL;

		if (strncmp(o->key, path, n) != 0) {
			continue;
		}
		if (path[n] == '\0') {
			*offset = o->offset;
			return o;
		}
		if (path[n] == '.' && o->kind == OPTION_TABLE && o->table) {
			found = option_find_path(o->table, path + n + 1, &below);
		}
		if (found) {
			*offset = o->offset + below;
			return found;
		}
	}
	return NULL;
}

static void known_keys(const struct option *table, char out[512])
{
	size_t n = 0;

	out[0] = '\0';
	for (const struct option *o = table; o->key && n < 512 - 64; o++) {
		if (o->kind != OPTION_UNSUPPORTED) {
			n += (size_t)snprintf(out + n, 512 - n, "%s%.60s", n ? ", " : "", o->key);
		}
	}
}

static void unknown_key(struct bind *b, const struct path *path, const struct node *key,
			const struct option *table)
{
	char text[512];
	struct path here = {.up = path, .key = key->text};

	if (nearest_key(table, key->text, text)) {
		report_add(b->report, key->at, &here, "unknown key; did you mean %s?", text);
	} else {
		known_keys(table, text);
		report_add(b->report, key->at, &here, "unknown key; known here: %s", text);
	}
}

/* The line of an earlier key of the same name in the map; 0: none. */
static uint32_t line_before(const struct node *map, const struct node *key)
{
	for (const struct node *k = map->first; k != key; k = k->next) {
		if (k->kind == NODE_SCALAR && strcmp(k->text, key->text) == 0) {
			return k->at.line;
		}
	}
	return 0;
}

/* `off` in place of a map. True when the scalar was dealt with. */
static bool bind_word(struct bind *b, const struct path *path, const struct option *o,
		      const struct node *value, size_t offset)
{
	if (value->kind != NODE_SCALAR || !o->choices) {
		return false;
	}
	for (int i = 0; o->choices[i]; i++) {
		bool off = strcmp(o->choices[i], "off") == 0;
		if (strcmp(value->text, o->choices[i]) == 0 ||
		    (off && strcasecmp(value->text, "false") == 0)) {
			*(int *)(void *)((char *)b->target + offset) = 1 + i;
			mark_add(b->marks, offset, value->at, false);
			return true;
		}
	}
	report_add(b->report, value->at, path, "must be a map, or %s", o->choices[0]);
	return true;
}

static void bind_option(struct bind *b, const struct path *path, const struct option *o,
			const struct node *key, size_t base)
{
	const struct node *value = key->value;
	size_t offset = base + o->offset;

	if (o->kind == OPTION_UNSUPPORTED) {
		report_add(b->report, key->at, path, "not supported by this version; remove it");
	} else if (o->kind == OPTION_TABLE && !o->table) {
		b->custom(b, path, o, value);
	} else if (o->kind == OPTION_TABLE) {
		if (!bind_word(b, path, o, value, offset)) {
			bind_map(b, path, value, o->table, offset);
		}
	} else {
		int rc = value_bind(b->report, path, o, value, (char *)b->target + offset);
		mark_add(b->marks, offset, value->at, rc != 0);
	}
}

void bind_map(struct bind *b, const struct path *path, const struct node *map,
	      const struct option *table, size_t base)
{
	if (map->kind == NODE_BAD || map->kind == NODE_NULL) {
		return;
	}
	if (map->kind != NODE_MAP) {
		char known[512];
		known_keys(table, known);
		report_add(b->report, map->at, path, "must be a map; its keys: %s", known);
		return;
	}
	for (const struct node *key = map->first; key; key = key->next) {
		struct path here = {.up = path, .key = key->text};
		const struct option *o = NULL;
		uint32_t line;

		if (key->kind == NODE_BAD) {
			continue;
		}
		line = line_before(map, key);
		if (line) {
			report_add(b->report, key->at, &here,
				   "duplicate key, first on line %u; remove one", (unsigned)line);
			continue;
		}
		o = option_find(table, key->text);
		if (!o) {
			unknown_key(b, path, key, table);
			continue;
		}
		bind_option(b, &here, o, key, base);
	}
}

/* Read as if it stood in a file, so that there is one reading of every kind. */
static void bind_default(const struct option *o, void *target)
{
	struct report report;
	struct document d;
	struct path path = {.key = o->key};
	int rc;

	report_init(&report, "default");
	rc = document_parse(&d, o->def, strlen(o->def), &report);
	if (!rc && d.root) {
		rc = value_bind(&report, &path, o, d.root, (char *)target + o->offset);
	}
	/* A default that its own table refuses is our bug. */
	assert(rc == 0 && report.n == 0);
	document_finish(&d);
	report_finish(&report);
}

void bind_defaults(const struct option *table, void *target)
{
	for (const struct option *o = table; o->key; o++) {
		if (o->kind == OPTION_TABLE && o->table) {
			bind_defaults(o->table, (char *)target + o->offset);
		} else if (o->def) {
			bind_default(o, target);
		}
	}
}
