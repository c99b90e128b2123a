/* SPDX-License-Identifier: Apache-2.0 */
/* Values with units, from text and back. Pure. */
#ifndef CONFIG_UNITS_H
#define CONFIG_UNITS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/* Each: 0 with *out, or EB_EINVAL with what is wrong and what to write instead. */
int units_int(const char *s, int64_t *out, struct err_text *err);      /* 12, -3, 10_000 */
int units_size(const char *s, int64_t *out, struct err_text *err);     /* 512, 4MiB, 10kB */
int units_duration(const char *s, int64_t *out, struct err_text *err); /* 250ms, 5s, 0 */
int units_number(const char *s, double *out, struct err_text *err);    /* 0.25 */
int units_bool(const char *s, bool *out, struct err_text *err);	       /* true, yes, on, ... */
int units_mode(const char *s, int64_t *out, struct err_text *err);     /* 0660 */

/* The shortest exact way to write it: "4MiB", "5s". Terminated. */
struct unit_text {
	char s[32];
};
struct unit_text units_size_text(int64_t bytes);
struct unit_text units_duration_text(int64_t ms);

#endif
