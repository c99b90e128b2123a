/* SPDX-License-Identifier: Apache-2.0 */
#include "config/units.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/report.h"

struct unit {
	const char *name;
	int64_t factor;
};

/* Largest first: the order in which a value looks for its shortest form. */
static const struct unit size_units[] = {
	{"TiB", INT64_C(1) << 40},
	{"TB", INT64_C(1000000000000)},
	{"GiB", INT64_C(1) << 30},
	{"GB", 1000000000},
	{"MiB", 1 << 20},
	{"MB", 1000000},
	{"KiB", 1 << 10},
	{"kB", 1000},
	{"B", 1},
};
static const struct unit duration_units[] = {
	{"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1},
};
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* Reads the digits at *s ("1_000" too) and moves *s behind them. */
static int digits(const char **s, int64_t *out)
{
	const char *p = *s;
	int64_t v = 0;

	if (*p < '0' || *p > '9') {
		return EB_EINVAL;
	}
	for (; (*p >= '0' && *p <= '9') || (*p == '_' && p[1] >= '0' && p[1] <= '9'); p++) {
		if (*p != '_' && (__builtin_mul_overflow(v, 10, &v) ||
				  __builtin_add_overflow(v, *p - '0', &v))) {
			return EB_ETOOBIG;
		}
	}
	*s = p;
	*out = v;
	return 0;
}

int units_int(const char *s, int64_t *out, struct err_text *err)
{
	const char *p = s;
	bool minus = *p == '-';
	int64_t v;
	int rc;

	p += minus;
	rc = digits(&p, &v);
	if (rc == EB_ETOOBIG) {
		return err_set(err, EB_EINVAL, "%s is too large", show(s).s);
	}
	if (rc || *p) {
		return err_set(err, EB_EINVAL, "\"%s\" is not a whole number; say 10", show(s).s);
	}
	*out = minus ? -v : v;
	return 0;
}

static const struct unit *unit_find(const struct unit *u, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++) {
		if (strcmp(u[i].name, name) == 0) {
			return &u[i];
		}
	}
	return NULL;
}

/* digits and a unit; u NULL in the answer when there was none. */
static int quantity(const char *s, const struct unit *units, size_t n, int64_t *v,
		    const struct unit **u)
{
	int rc = digits(&s, v);

	if (rc) {
		return rc;
	}
	*u = NULL;
	if (*s == '\0') {
		return 0;
	}
	s += *s == ' ';
	*u = unit_find(units, n, s);
	if (!*u) {
		return EB_EINVAL;
	}
	return __builtin_mul_overflow(*v, (*u)->factor, v) ? EB_ETOOBIG : 0;
}

int units_size(const char *s, int64_t *out, struct err_text *err)
{
	const struct unit *u;
	int rc = quantity(s, size_units, COUNT(size_units), out, &u);

	if (rc == EB_ETOOBIG) {
		return err_set(err, EB_EINVAL, "%s is too large", show(s).s);
	}
	if (rc) {
		return err_set(err, EB_EINVAL,
			       "\"%s\" is not a size; say 512, 64KiB, 4MiB, 1GiB or 10kB",
			       show(s).s);
	}
	return 0;
}

int units_duration(const char *s, int64_t *out, struct err_text *err)
{
	const struct unit *u;
	int rc = quantity(s, duration_units, COUNT(duration_units), out, &u);

	if (rc == EB_ETOOBIG) {
		return err_set(err, EB_EINVAL, "%s is too long", show(s).s);
	}
	if (rc) {
		return err_set(err, EB_EINVAL,
			       "\"%s\" is not a duration; say 250ms, 5s, 2m, 1h or 7d", show(s).s);
	}
	if (!u && *out != 0) {
		if (*out > INT64_MAX / 1000) {
			return err_set(err, EB_EINVAL, "%s is too long", show(s).s);
		}
		return err_set(err, EB_EINVAL,
			       "a duration needs a unit; say %" PRId64 "s or %" PRId64 "ms", *out,
			       *out * 1000);
	}
	return 0;
}

int units_number(const char *s, double *out, struct err_text *err)
{
	/* strtod also takes hex, inf, nan and leading blanks: none of them is meant. */
	if (*s == '\0' || s[strspn(s, "0123456789.-")] != '\0' || strlen(s) > 30) {
		return err_set(err, EB_EINVAL, "\"%s\" is not a number; say 0.5", show(s).s);
	}
	char *end;
	*out = strtod(s, &end);
	if (*end || end == s || !isfinite(*out)) {
		return err_set(err, EB_EINVAL, "\"%s\" is not a number; say 0.5", show(s).s);
	}
	return 0;
}

int units_bool(const char *s, bool *out, struct err_text *err)
{
	static const char *const words[][2] = {{"false", "true"}, {"no", "yes"}, {"off", "on"}};

	for (size_t i = 0; i < COUNT(words); i++) {
		for (int v = 0; v < 2; v++) {
			if (strcasecmp(s, words[i][v]) == 0) {
				*out = v == 1;
				return 0;
			}
		}
	}
	return err_set(err, EB_EINVAL, "\"%s\" is neither true nor false", show(s).s);
}

int units_mode(const char *s, int64_t *out, struct err_text *err)
{
	size_t n = strlen(s);

	if (n < 3 || n > 4 || s[strspn(s, "01234567")] != '\0' || (n == 4 && s[0] != '0')) {
		return err_set(err, EB_EINVAL, "\"%s\" is not a file mode; say \"0660\"",
			       show(s).s);
	}
	*out = strtol(s, NULL, 8);
	return 0;
}

static struct unit_text text_of(int64_t v, const struct unit *units, size_t n)
{
	struct unit_text t;
	size_t i = 0;

	while (i + 1 < n && (v == 0 || v % units[i].factor != 0)) {
		i++;
	}
	snprintf(t.s, sizeof(t.s), "%" PRId64 "%s", v / units[i].factor, units[i].name);
	return t;
}

struct unit_text units_size_text(int64_t bytes)
{
	return text_of(bytes, size_units, COUNT(size_units));
}

struct unit_text units_duration_text(int64_t ms)
{
	return ms ? text_of(ms, duration_units, COUNT(duration_units)) : (struct unit_text){"0s"};
}
