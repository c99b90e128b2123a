/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON for people: an object is a list of "key: value" lines, an array of objects is a table, and
 * what is nested is indented below. It knows no key of the daemon, so that a newer daemon's
 * answers are shown as well.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "client/eventbusctl/ctl.h"

#define MAX_COLUMNS 24
#define CELL	    96

static bool ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), m = strlen(end);

	return n > m && strcmp(s + n - m, end) == 0;
}

static void duration(char out[CELL], double ms)
{
	static const struct {
		double ms;
		const char *unit;
	} units[] = {{86400e3, "d"}, {3600e3, "h"}, {60e3, "m"}, {1e3, "s"}};

	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (ms >= units[i].ms) {
			snprintf(out, CELL, "%.4g%s", ms / units[i].ms, units[i].unit);
			return;
		}
	}
	snprintf(out, CELL, "%.4gms", ms);
}

/* Made of strings only: "a, b, c". */
static void join(char out[CELL], const json_t *array)
{
	size_t i, n = 0;
	json_t *v;

	out[0] = '\0';
	json_array_foreach(array, i, v)
	{
		char *text =
			json_is_string(v) ? NULL : json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY);

		n += (size_t)snprintf(out + n, CELL - n, "%s%s", i ? ", " : "",
				      text ? text : json_string_value(v));
		free(text);
		if (n >= CELL) {
			return;
		}
	}
}

/* A value as it stands in one line. Times in keys that end in _ms are written with their unit. */
static void cell(char out[CELL], const char *key, const json_t *v)
{
	char *text;

	out[0] = '\0';
	if (json_is_string(v)) {
		snprintf(out, CELL, "%s", json_string_value(v));
	} else if (json_is_boolean(v)) {
		snprintf(out, CELL, "%s", json_is_true(v) ? "yes" : "no");
	} else if (json_is_number(v) && ends_with(key, "_ms")) {
		duration(out, json_number_value(v));
	} else if (json_is_real(v)) {
		snprintf(out, CELL, "%.6g", json_real_value(v));
	} else if (json_is_integer(v)) {
		snprintf(out, CELL, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
	} else if (json_is_array(v)) {
		join(out, v);
	} else if (v && !json_is_null(v)) {
		text = json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY);
		snprintf(out, CELL, "%s", text ? text : "");
		free(text);
	}
}

/* "retry.max_retries" stays; "uptime_ms" becomes "uptime". */
static void print_key(const char *key, char out[CELL])
{
	size_t n = strlen(key);

	if (ends_with(key, "_ms")) {
		n -= 3;
	}
	snprintf(out, CELL, "%.*s", (int)n, key);
}

static bool is_table(const json_t *v)
{
	return json_is_array(v) && json_array_size(v) > 0 && json_is_object(json_array_get(v, 0));
}

static bool is_nested(const json_t *v)
{
	return is_table(v) || (json_is_object(v) && json_object_size(v) > 0);
}

static void indent(int depth)
{
	printf("%*s", depth * 2, "");
}

/* Columns on the screen: bytes that do not continue a character. */
static int width(const char *s)
{
	int n = 0;

	for (; *s; s++) {
		n += (*s & 0xc0) != 0x80;
	}
	return n;
}

static void pad(const char *s, int to)
{
	ctl_print_bytes(stdout, s, strlen(s));
	if (to > width(s)) {
		printf("%*s", to - width(s), "");
	}
}

/* ---- tables ------------------------------------------------------------------------ */

struct table_view {
	const char *key[MAX_COLUMNS];
	int width[MAX_COLUMNS];
	size_t n;
};

static void add_column(struct table_view *t, const char *key)
{
	char name[CELL];

	for (size_t i = 0; i < t->n; i++) {
		if (strcmp(t->key[i], key) == 0) {
			return;
		}
	}
	if (t->n < MAX_COLUMNS) {
		print_key(key, name);
		t->width[t->n] = width(name);
		t->key[t->n++] = key;
	}
}

static void measure(struct table_view *t, const json_t *rows)
{
	const char *key;
	char text[CELL];
	json_t *row, *v;
	size_t i;

	json_array_foreach(rows, i, row)
	{
		json_object_foreach(row, key, v)
		{
			if (!is_nested(v)) {
				add_column(t, key);
			}
		}
	}
	json_array_foreach(rows, i, row)
	{
		for (size_t k = 0; k < t->n; k++) {
			cell(text, t->key[k], json_object_get(row, t->key[k]));
			if (width(text) > t->width[k]) {
				t->width[k] = width(text);
			}
		}
	}
}

static void print_object(const struct ctl *ctl, const json_t *object, int depth, bool nested_only);

static void print_head(const struct ctl *ctl, const struct table_view *t, int depth)
{
	char name[CELL];

	indent(depth);
	fputs(ctl_paint(ctl, BOLD), stdout);
	for (size_t k = 0; k < t->n; k++) {
		print_key(t->key[k], name);
		pad(name, k + 1 < t->n ? t->width[k] + 2 : 0);
	}
	printf("%s\n", ctl_paint(ctl, PLAIN));
}

static void print_table(const struct ctl *ctl, const json_t *rows, int depth)
{
	struct table_view t = {.n = 0};
	char text[CELL];
	json_t *row;
	size_t i;

	measure(&t, rows);
	print_head(ctl, &t, depth);
	json_array_foreach(rows, i, row)
	{
		indent(depth);
		for (size_t k = 0; k < t.n; k++) {
			cell(text, t.key[k], json_object_get(row, t.key[k]));
			pad(text, k + 1 < t.n ? t.width[k] + 2 : 0);
		}
		putchar('\n');
		print_object(ctl, row, depth + 2, true);
	}
}

/* ---- objects ------------------------------------------------------------------------- */

static int key_width(const json_t *object)
{
	const char *key;
	char name[CELL];
	json_t *v;
	int max = 0;

	json_object_foreach((json_t *)(uintptr_t)object, key, v)
	{
		print_key(key, name);
		if (!is_nested(v) && width(name) > max) {
			max = width(name);
		}
	}
	return max;
}

static void print_object(const struct ctl *ctl, const json_t *object, int depth, bool nested_only)
{
	int to = key_width(object) + 2;
	const char *key;
	char text[CELL];
	json_t *v;

	json_object_foreach((json_t *)(uintptr_t)object, key, v)
	{
		if (is_nested(v) || nested_only) {
			continue;
		}
		print_key(key, text);
		indent(depth);
		pad(text, to);
		cell(text, key, v);
		ctl_print_bytes(stdout, text, strlen(text));
		putchar('\n');
	}
	json_object_foreach((json_t *)(uintptr_t)object, key, v)
	{
		if (!is_nested(v)) {
			continue;
		}
		if (depth == 0) {
			putchar('\n');
		}
		indent(depth);
		printf("%s%s%s\n", ctl_paint(ctl, CYAN), key, ctl_paint(ctl, PLAIN));
		if (is_table(v)) {
			print_table(ctl, v, depth + 1);
		} else {
			print_object(ctl, v, depth + 1, false);
		}
	}
}

void ctl_render(const struct ctl *ctl, const json_t *json)
{
	if (is_table(json)) {
		print_table(ctl, json, 0);
	} else {
		print_object(ctl, json, 0, false);
	}
}
