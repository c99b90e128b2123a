/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Binds a map of the document to a struct, as a table of options describes it. All problems are
 * reported and binding goes on; the struct is usable only if none was.
 */
#ifndef CONFIG_BIND_H
#define CONFIG_BIND_H

#include "base/option.h"
#include "config/document.h"
#include "config/report.h"

/* Where each value of the file stands, by its offset in the target. */
struct value_mark {
	size_t offset;
	struct mark at;
	bool refused; /* reported; the target still has what it had before */
};
struct config_marks {
	struct value_mark *v;
	size_t n, cap;
};
/* Line 0 when the file does not set it. marks may be NULL. */
struct mark marks_find(const struct config_marks *marks, size_t offset);
bool marks_refused(const struct config_marks *marks, size_t offset);
void marks_finish(struct config_marks *marks);

struct bind {
	struct report *report;
	void *target;
	struct config_marks *marks; /* may be NULL */
	/* For an OPTION_TABLE without a table: binds it in its own way. */
	void (*custom)(struct bind *b, const struct path *path, const struct option *o,
		       const struct node *value);
	void *ctx; /* of custom */
};

/* Every default of the table; the target was zeroed. */
void bind_defaults(const struct option *table, void *target);
/* base: offset of the table's struct in the target. An empty value is an empty map. */
void bind_map(struct bind *b, const struct path *path, const struct node *map,
	      const struct option *table, size_t base);

const struct option *option_find(const struct option *table, const char *key);
/* By dotted path; *offset is that of the value in the table's struct. NULL: no such option. */
const struct option *option_find_path(const struct option *table, const char *path, size_t *offset);

#endif
