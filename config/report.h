/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Collects what is wrong with a file: "FILE:LINE:COLUMN: dotted.path: what; remedy". Every problem
 * is kept up to a bound, the rest is counted. Text that comes from the file is shown escaped and
 * shortened; values of secrets are never passed here.
 */
#ifndef CONFIG_REPORT_H
#define CONFIG_REPORT_H

#include <stddef.h>
#include <stdint.h>

#include "config/config.h"

/* A place in the file, counted from 1; line 0: no place. */
struct mark {
	uint32_t line, column;
};

/* A dotted path, built on the stack while walking down: "topics[2].retry". */
struct path {
	const struct path *up;
	const char *key; /* NULL: an index */
	uint32_t index;
};

/* Long enough for every path of known keys; longer ones are cut. */
#define PATH_TEXT_MAX 256

struct problem {
	struct mark at;
	char *text;
};

struct report {
	const char *file;
	struct problem *v;
	size_t n, unsaid;
};

void report_init(struct report *r, const char *file);
void report_finish(struct report *r);
/* path may be NULL. */
void report_add(struct report *r, struct mark at, const struct path *path, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* Moves the problems to out, in the order of the file. */
void report_take(struct report *r, struct config_errors *out);

/* Appends one line to a list of lines. */
void lines_add(struct config_errors *list, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

void path_text(const struct path *path, char out[PATH_TEXT_MAX]);

/* At most 40 characters of s, control characters and bytes above 126 as '?', for messages. */
struct shown {
	char s[48];
};
struct shown show(const char *s);

#endif
