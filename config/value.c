/* SPDX-License-Identifier: Apache-2.0 */
#include "config/value.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "config/nearest.h"
#include "config/secret.h"
#include "config/units.h"

static struct unit_text limit_text(const struct option *o, int64_t v)
{
	struct unit_text t;

	if (o->kind == OPTION_SIZE) {
		return units_size_text(v);
	}
	if (o->kind == OPTION_DURATION) {
		return units_duration_text(v);
	}
	snprintf(t.s, sizeof(t.s), "%" PRId64, v);
	return t;
}

static int check_range(const struct option *o, const char *s, bool in_range, struct err_text *err)
{
	if (in_range || (o->min == 0 && o->max == 0)) {
		return 0;
	}
	if (o->max == INT64_MAX) {
		return err_set(err, EB_EINVAL, "must be at least %s, is %s",
			       limit_text(o, o->min).s, show(s).s);
	}
	return err_set(err, EB_EINVAL, "must be %s..%s, is %s", limit_text(o, o->min).s,
		       limit_text(o, o->max).s, show(s).s);
}

static int bind_quantity(const struct option *o, const char *s, int64_t *dst, struct err_text *err)
{
	int64_t v;
	int rc;

	switch (o->kind) {
	case OPTION_SIZE:
		rc = units_size(s, &v, err);
		break;
	case OPTION_DURATION:
		rc = units_duration(s, &v, err);
		break;
	case OPTION_MODE:
		rc = units_mode(s, &v, err);
		break;
	default:
		rc = units_int(s, &v, err);
		break;
	}
	if (!rc) {
		rc = check_range(o, s, v >= o->min && v <= o->max, err);
	}
	if (!rc) {
		*dst = v;
	}
	return rc;
}

static int bind_number(const struct option *o, const char *s, double *dst, struct err_text *err)
{
	double v;
	int rc = units_number(s, &v, err);

	if (!rc) {
		rc = check_range(o, s, v >= (double)o->min && v <= (double)o->max, err);
	}
	if (!rc) {
		*dst = v;
	}
	return rc;
}

static int bind_enum(const struct option *o, const char *s, int *dst, struct err_text *err)
{
	const char *near = nearest_word(o->choices, s);
	char known[256] = "";
	size_t n = 0;

	for (int i = 0; o->choices[i]; i++) {
		if (strcmp(o->choices[i], s) == 0) {
			*dst = i;
			return 0;
		}
		if (n < sizeof(known)) {
			n += (size_t)snprintf(known + n, sizeof(known) - n, "%s%s", i ? ", " : "",
					      o->choices[i]);
		}
	}
	if (near) {
		return err_set(err, EB_EINVAL, "\"%s\" is not one of %s; did you mean %s?",
			       show(s).s, known, near);
	}
	return err_set(err, EB_EINVAL, "\"%s\" is not one of %s", show(s).s, known);
}

/* What no string from the file may be. */
static int check_string(const struct node *v, struct err_text *err)
{
	if (v->file || secret_is_reference(v->text)) {
		return err_set(err, EB_EINVAL,
			       "%s is for secrets only, and this is none; write the value out",
			       v->file ? "!file" : "${...}");
	}
	if (v->n == 0) {
		return err_set(err, EB_EINVAL, "must not be empty; remove the key to leave it out");
	}
	for (size_t i = 0; i < v->n; i++) {
		if ((unsigned char)v->text[i] < 0x20 || v->text[i] == 0x7f) {
			return err_set(err, EB_EINVAL, "holds a control character");
		}
	}
	return 0;
}

static int bind_strings(struct report *report, const struct path *path, const struct node *value,
			struct option_strings *dst)
{
	bool list = value->kind == NODE_LIST;
	struct option_strings made = {0};
	int rc = 0;
	uint32_t i = 0;

	for (const struct node *n = list ? value->first : value; n; n = list ? n->next : NULL) {
		struct path item = {.up = path, .index = i++};
		struct err_text err = {.s = "must be a string"};
		int bad = n->kind == NODE_SCALAR ? check_string(n, &err) : EB_EINVAL;

		if (bad) {
			if (n->kind != NODE_BAD) {
				report_add(report, n->at, list ? &item : path, "%s", err.s);
			}
			rc = bad;
			continue;
		}
		made.v = xrealloc(made.v, (made.n + 1) * sizeof(*made.v));
		made.v[made.n++] = xstrdup(n->text);
	}
	struct option_strings *drop = rc ? &made : dst;
	for (size_t j = 0; j < drop->n; j++) {
		free(drop->v[j]);
	}
	free(drop->v);
	if (!rc) {
		*dst = made;
	}
	return rc;
}

static void replace(char **dst, char *s)
{
	free(*dst);
	*dst = s;
}

static int bind_secret(const struct report *report, const struct node *value, char **dst,
		       struct err_text *err)
{
	char *s;
	int rc;

	if (value->n == 0 || strlen(value->text) != value->n) {
		return err_set(err, EB_EINVAL,
			       value->n ? "holds a zero byte" : "must not be empty");
	}
	rc = secret_read(report->file, value->text, value->file, &s, err);
	if (!rc) {
		replace(dst, s);
	}
	return rc;
}

static int bind_scalar(const struct report *report, const struct option *o,
		       const struct node *value, void *dst, struct err_text *err)
{
	int rc;

	if (o->kind == OPTION_SECRET) {
		return bind_secret(report, value, dst, err);
	}
	rc = check_string(value, err);
	if (rc) {
		return rc;
	}
	switch (o->kind) {
	case OPTION_BOOL:
		return units_bool(value->text, dst, err);
	case OPTION_NUMBER:
		return bind_number(o, value->text, dst, err);
	case OPTION_ENUM:
		return bind_enum(o, value->text, dst, err);
	case OPTION_STRING:
		replace(dst, xstrdup(value->text));
		return 0;
	default:
		return bind_quantity(o, value->text, dst, err);
	}
}

int value_bind(struct report *report, const struct path *path, const struct option *o,
	       const struct node *value, void *dst)
{
	struct err_text err;
	int rc;

	if (value->kind == NODE_BAD) {
		return EB_EINVAL;
	}
	if (value->kind == NODE_NULL) {
		report_add(report, value->at, path, "has no value; give one or remove the key");
		return EB_EINVAL;
	}
	if (o->kind == OPTION_STRINGS && value->kind != NODE_MAP) {
		return bind_strings(report, path, value, dst);
	}
	if (value->kind != NODE_SCALAR) {
		report_add(report, value->at, path, "must be %s, not a %s",
			   o->kind == OPTION_STRINGS ? "a list of strings" : "one value",
			   value->kind == NODE_MAP ? "map" : "list");
		return EB_EINVAL;
	}
	rc = bind_scalar(report, o, value, dst, &err);
	if (rc) {
		report_add(report, value->at, path, "%s", err.s);
	}
	return rc;
}

static bool same_text(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

bool value_equal(const struct option *o, const void *a, const void *b)
{
	const struct option_strings *la = a, *lb = b;

	switch (o->kind) {
	case OPTION_BOOL:
		return *(const bool *)a == *(const bool *)b;
	case OPTION_ENUM:
		return *(const int *)a == *(const int *)b;
	case OPTION_NUMBER:
		return memcmp(a, b, sizeof(double)) == 0;
	case OPTION_STRING:
	case OPTION_SECRET:
		return same_text(*(char *const *)a, *(char *const *)b);
	case OPTION_STRINGS:
		if (la->n != lb->n) {
			return false;
		}
		for (size_t i = 0; i < la->n; i++) {
			if (strcmp(la->v[i], lb->v[i]) != 0) {
				return false;
			}
		}
		return true;
	default:
		return *(const int64_t *)a == *(const int64_t *)b;
	}
}

static char *strings_text(const struct option_strings *l)
{
	struct buf b;
	char *s;

	buf_init(&b);
	for (size_t i = 0; i < l->n; i++) {
		buf_printf(&b, "%s%s", i ? ", " : "", l->v[i]);
	}
	s = xasprintf("[%.*s]", SLICE_ARG(buf_slice(&b)));
	buf_finish(&b);
	return s;
}

char *value_text(const struct option *o, const void *v)
{
	const char *s;

	switch (o->kind) {
	case OPTION_BOOL:
		return xstrdup(*(const bool *)v ? "true" : "false");
	case OPTION_ENUM:
		return xstrdup(o->choices[*(const int *)v]);
	case OPTION_NUMBER:
		return xasprintf("%g", *(const double *)v);
	case OPTION_STRING:
		s = *(char *const *)v;
		return xstrdup(s ? s : "(none)");
	case OPTION_SECRET:
		return xstrdup("(secret)");
	case OPTION_STRINGS:
		return strings_text(v);
	case OPTION_MODE:
		return xasprintf("%04" PRIo64, *(const int64_t *)v);
	default:
		return xstrdup(limit_text(o, *(const int64_t *)v).s);
	}
}
