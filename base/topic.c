/* SPDX-License-Identifier: Apache-2.0 */
#include "base/topic.h"

enum { SEGMENT_CHAR = 0, DOT = 1, ILLEGAL = 4 };

/* By byte: 0 = letter, digit, '_' or '-'; 1 = '.'; 4 = illegal. */
static const uint8_t class_of[256] = {
	/* 00 */ 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4,
	/* 10 */ 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4,
	/* 20 */ 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 0, 1, 4,
	/* 30 */ 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 4, 4, 4, 4, 4,
	/* 40 */ 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
	/* 50 */ 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 4, 4, 4, 0,
	/* 60 */ 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
	/* 70 */ 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 4, 4, 4, 4,
	/* 80 */ 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4,
	/* 90 */ 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4,
	/* a0 */ 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4,
	/* b0 */ 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4,
	/* c0 */ 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4,
	/* d0 */ 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4,
	/* e0 */ 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4,
	/* f0 */ 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4,
};

bool name_chars(struct slice s)
{
	unsigned wrong = 0;

	for (size_t i = 0; i < s.n; i++) {
		wrong |= class_of[s.p[i]];
	}
	return !(wrong & ILLEGAL);
}

bool topic_valid(struct slice topic)
{
	unsigned before = DOT, wrong = 0;

	if (topic.n == 0 || topic.n > TOPIC_MAX) {
		return false;
	}
	for (size_t i = 0; i < topic.n; i++) {
		const unsigned c = class_of[topic.p[i]];

		wrong |= (c & ILLEGAL) | (c & before);
		before = c;
	}
	return wrong == 0 && before == SEGMENT_CHAR;
}

static int illegal_byte(struct slice s, size_t i, struct err_text *err)
{
	const uint8_t c = s.p[i];

	if (c > 0x20 && c < 0x7f) {
		return err_set(err, EB_EINVAL,
			       "byte %zu: '%c' is not allowed (use A-Z a-z 0-9 _ - and dots)",
			       i + 1, c);
	}
	return err_set(err, EB_EINVAL,
		       "byte %zu: 0x%02x is not allowed (use A-Z a-z 0-9 _ - and dots)", i + 1, c);
}

/* A wildcard must be a whole segment, and '>' the last one. */
static int wildcard_check(struct slice s, size_t i, struct err_text *err)
{
	const bool begins = i == 0 || s.p[i - 1] == '.';
	const bool last = i + 1 == s.n;

	if (!begins || (!last && s.p[i + 1] != '.')) {
		return err_set(err, EB_EINVAL, "byte %zu: '%c' must be a whole segment", i + 1,
			       s.p[i]);
	}
	if (s.p[i] == '>' && !last) {
		return err_set(err, EB_EINVAL, "byte %zu: '>' must be the last segment", i + 1);
	}
	return 0;
}

static int name_check(struct slice s, size_t max, bool wildcards, struct err_text *err)
{
	if (s.n == 0) {
		return err_set(err, EB_EINVAL, "empty");
	}
	if (s.n > max) {
		return err_set(err, EB_EINVAL, "%zu bytes long, at most %zu are allowed", s.n, max);
	}
	for (size_t i = 0; i < s.n; i++) {
		const uint8_t c = s.p[i];

		if (wildcards && (c == '*' || c == '>')) {
			if (wildcard_check(s, i, err) != 0) {
				return EB_EINVAL;
			}
		} else if (class_of[c] == ILLEGAL) {
			return illegal_byte(s, i, err);
		} else if (c == '.' && (i == 0 || i + 1 == s.n || s.p[i - 1] == '.')) {
			return err_set(err, EB_EINVAL, "byte %zu: empty segment at '.'", i + 1);
		}
	}
	return 0;
}

int topic_check(struct slice topic, struct err_text *err)
{
	return name_check(topic, TOPIC_MAX, false, err);
}

int pattern_check(struct slice pattern, struct err_text *err)
{
	return name_check(pattern, TOPIC_MAX, true, err);
}

int group_check(struct slice group, struct err_text *err)
{
	return name_check(group, GROUP_MAX, false, err);
}

bool pattern_is_literal(struct slice pattern)
{
	for (size_t i = 0; i < pattern.n; i++) {
		if (pattern.p[i] == '*' || pattern.p[i] == '>') {
			return false;
		}
	}
	return true;
}

/* ---- segment by segment ---------------------------------------------------- */

/* In order of how specific they are; END only when a pattern has no segment left. */
enum kind { LITERAL, ONE, REST, END };

struct walk {
	struct slice left; /* behind the current segment and its dot */
	struct slice segment;
	enum kind kind;
};

static void next(struct walk *w)
{
	const uint8_t *dot;

	if (w->left.n == 0) {
		w->segment = slice_of(NULL, 0);
		w->kind = END;
		return;
	}
	dot = memchr(w->left.p, '.', w->left.n);
	w->segment = slice_of(w->left.p, dot ? (size_t)(dot - w->left.p) : w->left.n);
	w->left = dot ? slice_of(dot + 1, w->left.n - w->segment.n - 1) : slice_of(NULL, 0);
	w->kind = LITERAL;
	if (w->segment.n == 1 && (w->segment.p[0] == '*' || w->segment.p[0] == '>')) {
		w->kind = w->segment.p[0] == '*' ? ONE : REST;
	}
}

static struct walk walk(struct slice pattern)
{
	struct walk w = {.left = pattern};

	next(&w);
	return w;
}

/* A wildcard in the first segment does not reach topics under "dlq.". */
static bool hidden_from(const struct walk *wild, const struct walk *name)
{
	return (wild->kind == ONE || wild->kind == REST) && name->kind == LITERAL &&
	       name->left.n > 0 && slice_eq_str(name->segment, "dlq");
}

bool pattern_covers(struct slice a, struct slice b)
{
	struct walk x = walk(a), y = walk(b);

	if (hidden_from(&x, &y)) {
		return false;
	}
	while (x.kind != END && y.kind != END) {
		if (x.kind == REST) {
			return true;
		}
		if (y.kind == REST || (x.kind == LITERAL && !slice_eq(x.segment, y.segment))) {
			return false;
		}
		next(&x);
		next(&y);
	}
	return x.kind == y.kind;
}

/* A topic is a pattern that matches itself alone. */
bool pattern_matches(struct slice pattern, struct slice topic)
{
	return pattern_covers(pattern, topic);
}

bool patterns_overlap(struct slice a, struct slice b)
{
	struct walk x = walk(a), y = walk(b);

	if (hidden_from(&x, &y) || hidden_from(&y, &x)) {
		return false;
	}
	while (x.kind != END && y.kind != END) {
		if (x.kind == REST || y.kind == REST) {
			return true;
		}
		if (x.kind == LITERAL && y.kind == LITERAL && !slice_eq(x.segment, y.segment)) {
			return false;
		}
		next(&x);
		next(&y);
	}
	return x.kind == y.kind;
}

static int compare_bytes(struct slice a, struct slice b)
{
	const size_t n = a.n < b.n ? a.n : b.n;
	const int d = n ? memcmp(a.p, b.p, n) : 0;

	return d ? d : (a.n > b.n) - (a.n < b.n);
}

int pattern_compare(struct slice a, struct slice b)
{
	struct walk x = walk(a), y = walk(b);

	while (x.kind == y.kind && x.kind != END) {
		const int d = compare_bytes(x.segment, y.segment);

		if (d) {
			return d;
		}
		next(&x);
		next(&y);
	}
	return (int)x.kind - (int)y.kind;
}
