/* SPDX-License-Identifier: Apache-2.0 */
/* One value of an option: from the document into its place, and back to text. */
#ifndef CONFIG_VALUE_H
#define CONFIG_VALUE_H

#include "base/option.h"
#include "config/document.h"
#include "config/report.h"

/* 0: *dst holds it (what it held before is freed). EB_EINVAL: reported, *dst as it was. Every kind
 * but TABLE and UNSUPPORTED. */
int value_bind(struct report *report, const struct path *path, const struct option *o,
	       const struct node *value, void *dst);

bool value_equal(const struct option *o, const void *a, const void *b);
/* As one would write it; secrets as "(secret)", nothing as "(none)". The caller frees it. */
char *value_text(const struct option *o, const void *v);

#endif
