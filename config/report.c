/* SPDX-License-Identifier: Apache-2.0 */
#include "config/report.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define PROBLEMS_MAX 100
#define SHOWN_MAX    40

struct shown show(const char *s)
{
	struct shown out;
	size_t n = 0;

	for (; s[n] && n < SHOWN_MAX; n++) {
		unsigned char c = (unsigned char)s[n];
		out.s[n] = (char)(c < 0x20 || c > 0x7e ? '?' : c);
	}
	snprintf(out.s + n, sizeof(out.s) - n, "%s", s[n] ? "..." : "");
	return out;
}

void path_text(const struct path *path, char out[PATH_TEXT_MAX])
{
	size_t n;

	if (!path) {
		out[0] = '\0';
		return;
	}
	path_text(path->up, out);
	n = strlen(out);
	if (path->key) {
		snprintf(out + n, PATH_TEXT_MAX - n, "%s%s", n ? "." : "", show(path->key).s);
	} else {
		snprintf(out + n, PATH_TEXT_MAX - n, "[%u]", (unsigned)path->index);
	}
}

void report_init(struct report *r, const char *file)
{
	*r = (struct report){.file = file};
}

void report_finish(struct report *r)
{
	for (size_t i = 0; i < r->n; i++) {
		free(r->v[i].text);
	}
	free(r->v);
	*r = (struct report){0};
}

void report_add(struct report *r, struct mark at, const struct path *path, const char *fmt, ...)
{
	char where[PATH_TEXT_MAX], place[32] = "", what[768];
	va_list ap;

	if (r->n == PROBLEMS_MAX) {
		r->unsaid++;
		return;
	}
	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	path_text(path, where);
	if (at.line) {
		snprintf(place, sizeof(place), ":%u:%u", (unsigned)at.line, (unsigned)at.column);
	}
	r->v = xrealloc(r->v, (r->n + 1) * sizeof(*r->v));
	r->v[r->n++] = (struct problem){
		at, xasprintf("%s%s: %s%s%s", r->file, place, where, where[0] ? ": " : "", what)};
}

/* Stable: two problems of one place stay in the order in which they were found. */
static void sort_problems(struct problem *v, size_t n)
{
	for (size_t i = 1; i < n; i++) {
		struct problem p = v[i];
		size_t j = i;
		while (j > 0 &&
		       (v[j - 1].at.line > p.at.line ||
			(v[j - 1].at.line == p.at.line && v[j - 1].at.column > p.at.column))) {
			v[j] = v[j - 1];
			j--;
		}
		v[j] = p;
	}
}

void report_take(struct report *r, struct config_errors *out)
{
	sort_problems(r->v, r->n);
	for (size_t i = 0; i < r->n; i++) {
		lines_add(out, "%s", r->v[i].text);
	}
	if (r->unsaid) {
		lines_add(out, "%s: and %zu more problems", r->file, r->unsaid);
	}
}

void lines_add(struct config_errors *list, const char *fmt, ...)
{
	va_list ap, again;
	char *line;
	int n;

	va_start(ap, fmt);
	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, ap);
	assert(n >= 0);
	line = xmalloc((size_t)n + 1);
	vsnprintf(line, (size_t)n + 1, fmt, again);
	va_end(again);
	va_end(ap);
	list->v = xrealloc(list->v, (list->n + 1) * sizeof(*list->v));
	list->v[list->n++] = line;
}

void config_errors_free(struct config_errors *e)
{
	for (size_t i = 0; i < e->n; i++) {
		free(e->v[i]);
	}
	free(e->v);
	*e = (struct config_errors){0};
}
