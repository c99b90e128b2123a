/* SPDX-License-Identifier: Apache-2.0 */
#include "base/topic.h"

#include <stdio.h>
#include <string.h>

#include "tests/unit/suite.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static struct slice s(const char *text)
{
	return slice_str(text);
}

static void refused(int (*check)(struct slice, struct err_text *), struct slice name,
		    const char *text)
{
	struct err_text err = {{0}};

	ck_assert_int_eq(check(name, &err), EB_EINVAL);
	ck_assert_msg(strstr(err.s, text) != NULL, "'%s' does not say '%s'", err.s, text);
	ck_assert_int_eq(check(name, NULL), EB_EINVAL);
}

START_TEST(legal_topics_are_taken)
{
	static const char *const good[] = {"a",	    "a.b", "orders.created", "A-Z_az.09",      "-",
					   "_._._", "dlq", "dlq.orders",     "a.b.c.d.e.f.g.h"};

	for (size_t i = 0; i < COUNT(good); i++) {
		ck_assert_int_eq(topic_check(s(good[i]), NULL), 0);
		ck_assert(topic_valid(s(good[i])));
		ck_assert_int_eq(pattern_check(s(good[i]), NULL), 0);
		ck_assert_int_eq(group_check(s(good[i]), NULL), 0);
	}
}
END_TEST

START_TEST(every_byte_but_the_65_is_refused_wherever_it_stands)
{
	static const char legal[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				    "0123456789_-";

	for (unsigned c = 0; c < 256; c++) {
		for (size_t at = 0; at < 5; at++) {
			uint8_t t[5] = {'a', 'b', 'c', 'd', 'e'};
			const bool inner_dot = c == '.' && at != 0 && at != 4;
			const bool good = inner_dot || (c && strchr(legal, (int)c));

			t[at] = (uint8_t)c;
			ck_assert_int_eq(topic_valid(slice_of(t, 5)), good);
			ck_assert_int_eq(topic_check(slice_of(t, 5), NULL) == 0, good);
			ck_assert_int_eq(group_check(slice_of(t, 5), NULL) == 0, good);
			ck_assert_int_eq(pattern_check(slice_of(t, 5), NULL) == 0, good);
		}
	}
}
END_TEST

START_TEST(topic_valid_agrees_with_topic_check)
{
	static const char alphabet[] = {'a', '.', '-', '*', ' ', (char)0xc3};
	char t[7];

	for (unsigned i = 0; i < 6 * 6 * 6 * 6 * 6 * 6; i++) {
		for (unsigned v = i, k = 0; k < 6; k++, v /= 6) {
			t[k] = alphabet[v % 6];
		}
		for (size_t n = 0; n <= 6; n++) {
			ck_assert_int_eq(topic_valid(slice_of(t, n)),
					 topic_check(slice_of(t, n), NULL) == 0);
		}
	}
}
END_TEST

START_TEST(lengths_are_bounded)
{
	char t[TOPIC_MAX + 1];

	memset(t, 'x', sizeof(t));
	ck_assert(topic_valid(slice_of(t, TOPIC_MAX)));
	ck_assert_int_eq(topic_check(slice_of(t, TOPIC_MAX), NULL), 0);
	ck_assert_int_eq(pattern_check(slice_of(t, TOPIC_MAX), NULL), 0);
	ck_assert_int_eq(group_check(slice_of(t, GROUP_MAX), NULL), 0);
	ck_assert(!topic_valid(slice_of(t, TOPIC_MAX + 1)));
	refused(topic_check, slice_of(t, TOPIC_MAX + 1), "201 bytes long, at most 200");
	refused(pattern_check, slice_of(t, TOPIC_MAX + 1), "at most 200");
	refused(group_check, slice_of(t, GROUP_MAX + 1), "65 bytes long, at most 64");
	refused(topic_check, slice_of(NULL, 0), "empty");
	refused(pattern_check, slice_of(NULL, 0), "empty");
	refused(group_check, slice_of(NULL, 0), "empty");
	ck_assert(!topic_valid(slice_of(NULL, 0)));
}
END_TEST

START_TEST(a_refusal_names_the_byte)
{
	refused(topic_check, s("orders new"), "byte 7: 0x20 is not allowed");
	refused(topic_check, s("orders/new"), "byte 7: '/' is not allowed");
	refused(topic_check, s("caf\xc3\xa9"), "byte 4: 0xc3 is not allowed");
	refused(topic_check, slice_of("a\0b", 3), "byte 2: 0x00 is not allowed");
	refused(topic_check, s("orders.*"), "byte 8: '*' is not allowed");
	refused(topic_check, s(">"), "byte 1: '>' is not allowed");
	refused(topic_check, s(".a"), "byte 1: empty segment");
	refused(topic_check, s("a."), "byte 2: empty segment");
	refused(topic_check, s("a..b"), "byte 3: empty segment");
	refused(topic_check, s("."), "byte 1: empty segment");
	refused(group_check, s("g*"), "byte 2: '*'");
}
END_TEST

START_TEST(wildcards_are_whole_segments_and_rest_is_last)
{
	static const char *const good[] = {"*", ">", "*.*", "a.*", "*.a", "a.>", "*.>", "a.*.b.>"};

	for (size_t i = 0; i < COUNT(good); i++) {
		ck_assert_int_eq(pattern_check(s(good[i]), NULL), 0);
		ck_assert(!pattern_is_literal(s(good[i])));
	}
	ck_assert(pattern_is_literal(s("a.b")));
	refused(pattern_check, s("a*"), "byte 2: '*' must be a whole segment");
	refused(pattern_check, s("*a"), "byte 1: '*' must be a whole segment");
	refused(pattern_check, s("**"), "byte 1: '*' must be a whole segment");
	refused(pattern_check, s("a.b>"), "byte 4: '>' must be a whole segment");
	refused(pattern_check, s(">>"), "byte 1: '>' must be a whole segment");
	refused(pattern_check, s(">.a"), "byte 1: '>' must be the last segment");
	refused(pattern_check, s("a.>.b"), "byte 3: '>' must be the last segment");
	refused(pattern_check, s("a.>."), "byte 3: '>' must be the last segment");
	refused(pattern_check, s("a.*."), "byte 4: empty segment");
}
END_TEST

struct match_case {
	const char *pattern, *topic;
	bool want;
};

static void check_matches(const struct match_case *cases, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		ck_assert_msg(pattern_matches(s(cases[i].pattern), s(cases[i].topic)) ==
				      cases[i].want,
			      "%s against %s", cases[i].pattern, cases[i].topic);
	}
}

START_TEST(patterns_match_segment_by_segment)
{
	static const struct match_case cases[] = {
		{"a", "a", true},	  {"a", "b", false},	     {"a", "a.b", false},
		{"a.b", "a", false},	  {"ab", "a", false},	     {"a", "ab", false},
		{"*", "a", true},	  {"*", "a.b", false},	     {"a.*", "a.b", true},
		{"a.*", "a", false},	  {"a.*", "a.b.c", false},   {"*.b", "a.b", true},
		{"a.*.c", "a.b.c", true}, {"a.*.c", "a.b.d", false}, {">", "a", true},
		{">", "a.b.c", true},	  {"a.>", "a", false},	     {"a.>", "a.b", true},
		{"a.>", "a.b.c.d", true}, {"a.>", "ab.c", false},    {"*.>", "a", false},
		{"*.>", "a.b.c", true},	  {"a.*.>", "a.b", false},   {"a.*.>", "a.b.c", true},
		{"A", "a", false},
	};

	check_matches(cases, COUNT(cases));
}
END_TEST

START_TEST(wildcards_reach_dead_letters_only_when_they_spell_it)
{
	static const struct match_case cases[] = {
		{">", "dlq.orders", false},
		{"*.orders", "dlq.orders", false},
		{"*.>", "dlq.a.b", false},
		{"dlq.>", "dlq.orders", true},
		{"dlq.*", "dlq.orders", true},
		{"dlq.orders", "dlq.orders", true},
		{"*", "dlq", true},
		{">", "dlq", true},
		{">", "dlqs.orders", true},
		{">", "DLQ.orders", true},
		{"a.>", "a.dlq.orders", true},
		{"a.*.*", "a.dlq.orders", true},
		{"dlq.*.>", "dlq.orders", false},
	};

	check_matches(cases, COUNT(cases));
}
END_TEST

/* ---- against every topic of a small world ---------------------------------- */

#define WORDS	 3
#define MAX_SEGS 4

static const char *const words[WORDS] = {"a", "b", "dlq"};

/* The i-th topic (or pattern, with two more words) of up to MAX_SEGS segments; false at the end. */
static bool make(unsigned i, bool pattern, char out[64])
{
	const char *const all[] = {"a", "b", "dlq", "*", ">"};
	const unsigned base = pattern ? WORDS + 2 : WORDS;
	unsigned n = 1, of_length = base;

	while (i >= of_length) {
		i -= of_length;
		of_length *= base;
		if (++n > (pattern ? MAX_SEGS - 1 : MAX_SEGS)) {
			return false;
		}
	}
	for (unsigned k = 0, at = 0; k < n; k++, i /= base) {
		at += (unsigned)snprintf(out + at, 64 - at, "%s%s", k ? "." : "",
					 pattern ? all[i % base] : words[i % base]);
	}
	return true;
}

/* The definition, word for word, by recursion over the texts. */
static bool naive(const char *p, const char *t, bool first)
{
	const size_t tn = strcspn(t, "."), pn = strcspn(p, ".");
	const bool wild = *p == '*' || *p == '>';

	if (first && wild && strncmp(t, "dlq.", 4) == 0) {
		return false;
	}
	if (*p == '>') {
		return true;
	}
	if (*p != '*' && (tn != pn || memcmp(p, t, tn) != 0)) {
		return false;
	}
	if (p[pn] == '\0' || t[tn] == '\0') {
		return p[pn] == t[tn];
	}
	return naive(p + pn + 1, t + tn + 1, false);
}

START_TEST(matching_agrees_with_the_definition)
{
	char p[64], t[64];

	for (unsigned i = 0; make(i, true, p); i++) {
		if (pattern_check(s(p), NULL) != 0) {
			continue;
		}
		for (unsigned k = 0; make(k, false, t); k++) {
			ck_assert_msg(pattern_matches(s(p), s(t)) == naive(p, t, true), "%s, %s", p,
				      t);
		}
	}
}
END_TEST

/*
 * The topics of the small world decide: one is longer than every pattern, and "b", which a
 * does not name, stands for all other words.
 */
START_TEST(overlap_and_cover_agree_with_all_topics)
{
	char a[64], b[64], t[64];

	for (unsigned i = 0; make(i, true, a); i++) {
		if (pattern_check(s(a), NULL) != 0 || strchr(a, 'b')) {
			continue;
		}
		for (unsigned k = 0; make(k, true, b); k++) {
			bool both = false, covered = true;

			if (pattern_check(s(b), NULL) != 0) {
				continue;
			}
			for (unsigned m = 0; make(m, false, t); m++) {
				const bool in_a = naive(a, t, true), in_b = naive(b, t, true);

				both = both || (in_a && in_b);
				covered = covered && (in_a || !in_b);
			}
			ck_assert_msg(patterns_overlap(s(a), s(b)) == both, "%s, %s", a, b);
			ck_assert_msg(patterns_overlap(s(b), s(a)) == both, "%s, %s", b, a);
			ck_assert_msg(pattern_covers(s(a), s(b)) == covered, "%s, %s", a, b);
		}
	}
}
END_TEST

START_TEST(the_more_specific_pattern_comes_first)
{
	static const char *const order[] = {"a.b.c", "a.b.*", "a.b.>", "a.*.c", "a.*.>",
					    "a.>",   "b.c",   "*.b.c", "*.>",	">"};

	for (size_t i = 0; i < COUNT(order); i++) {
		for (size_t k = 0; k < COUNT(order); k++) {
			const int want = (i > k) - (i < k);
			const int got = pattern_compare(s(order[i]), s(order[k]));

			ck_assert_msg((got > 0) - (got < 0) == want, "%s, %s", order[i], order[k]);
		}
	}
}
END_TEST

static int sign(int v)
{
	return (v > 0) - (v < 0);
}

START_TEST(compare_is_a_total_order_in_which_covering_comes_later)
{
	static char all[160][64];
	size_t n = 0;

	for (unsigned i = 0; make(i, true, all[n]); i++) {
		n += pattern_check(s(all[n]), NULL) == 0;
		ck_assert_uint_lt(n, COUNT(all));
	}
	for (size_t i = 0; i < n; i++) {
		for (size_t k = 0; k < n; k++) {
			const int c = pattern_compare(s(all[i]), s(all[k]));

			ck_assert_int_eq(c == 0, i == k);
			ck_assert_int_eq(sign(c), -sign(pattern_compare(s(all[k]), s(all[i]))));
			if (i != k && pattern_covers(s(all[i]), s(all[k]))) {
				ck_assert_int_gt(c, 0);
			}
			for (size_t m = 0; c < 0 && m < n; m++) {
				if (pattern_compare(s(all[k]), s(all[m])) < 0) {
					ck_assert_int_lt(pattern_compare(s(all[i]), s(all[m])), 0);
				}
			}
		}
	}
}
END_TEST

int main(void)
{
	const TTest *tests[] = {
		legal_topics_are_taken,
		every_byte_but_the_65_is_refused_wherever_it_stands,
		topic_valid_agrees_with_topic_check,
		lengths_are_bounded,
		a_refusal_names_the_byte,
		wildcards_are_whole_segments_and_rest_is_last,
		patterns_match_segment_by_segment,
		wildcards_reach_dead_letters_only_when_they_spell_it,
		matching_agrees_with_the_definition,
		overlap_and_cover_agree_with_all_topics,
		the_more_specific_pattern_comes_first,
		compare_is_a_total_order_in_which_covering_comes_later,
	};

	return suite_run("topic", tests, COUNT(tests));
}
