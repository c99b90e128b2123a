/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"
#include "base/mem.h"
#include "base/outcome.h"
#include "base/utf8.h"

#include <stdlib.h>
#include <string.h>

#include "tests/unit/suite.h"

START_TEST(every_error_has_a_name_of_its_own)
{
	for (int a = 0; a >= EB_ETIMEDOUT; a--) {
		ck_assert_str_ne(eb_strerror(a), eb_strerror(1));
		for (int b = 0; b > a; b--) {
			ck_assert_str_ne(eb_strerror(a), eb_strerror(b));
		}
	}
	ck_assert_str_eq(eb_strerror(EB_EINVAL), "invalid");
	ck_assert_str_eq(eb_strerror(-1000), "unknown error");
}
END_TEST

START_TEST(a_text_is_filled_and_the_code_handed_back)
{
	struct err_text t;

	ck_assert_int_eq(err_set(&t, EB_EIO, "port %d", 7), EB_EIO);
	ck_assert_str_eq(t.s, "port 7");
	ck_assert_int_eq(err_set(NULL, EB_EIO, "nobody reads this"), EB_EIO);
}
END_TEST

START_TEST(a_long_text_is_cut_and_terminated)
{
	char big[2000];
	struct answer a;
	struct err_text t;

	memset(big, 'x', sizeof(big));
	big[sizeof(big) - 1] = '\0';
	err_set(&t, EB_EIO, "%s", big);
	ck_assert_uint_eq(strlen(t.s), sizeof(t.s) - 1);
	answer_set(&a, OUTCOME_UNKNOWN, REASON_BROKER, "%s", big);
	ck_assert_uint_eq(strlen(a.text), sizeof(a.text) - 1);
	ck_assert_int_eq(a.outcome, OUTCOME_UNKNOWN);
	ck_assert_int_eq(a.reason, REASON_BROKER);
}
END_TEST

START_TEST(a_cut_text_stays_utf8)
{
	char big[600];
	struct answer a;

	for (size_t i = 0; i + 2 < sizeof(big); i += 2) {
		memcpy(big + i, "\xc3\xa4", 3);
	}
	answer_set(&a, OUTCOME_PERMANENT, REASON_INVALID, "%s", big);
	ck_assert(utf8_valid(slice_str(a.text)));
	answer_set(&a, OUTCOME_PERMANENT, REASON_INVALID, "\"%.*s\" is wrong", 3, big);
	ck_assert_str_eq(a.text, "\"\xc3\xa4?\" is wrong");
}
END_TEST

START_TEST(outcomes_and_reasons_have_names)
{
	ck_assert_str_eq(outcome_name(OUTCOME_NOT_STORED), "not stored");
	ck_assert_str_eq(outcome_name((enum outcome)99), "other");
	for (int r = REASON_NONE; r <= REASON_NOT_FOUND; r++) {
		ck_assert_str_ne(reason_name((enum reason)r), "other");
	}
	ck_assert_str_eq(reason_name(REASON_OVERLOADED), "overloaded");
	ck_assert_str_eq(reason_name((enum reason)99), "other");
	ck_assert_str_eq(reason_name((enum reason) - 1), "other");
}
END_TEST

START_TEST(allocations_of_nothing_are_not_null)
{
	void *a = xmalloc(0), *b = xcalloc(0, 8), *c = xrealloc(NULL, 0);
	char *s = xstrndup(NULL, 0), *t = xasprintf("%s-%d", "x", 3), *u = xstrdup("copy");

	ck_assert_ptr_nonnull(a);
	ck_assert_ptr_nonnull(b);
	ck_assert_ptr_nonnull(c);
	ck_assert_str_eq(s, "");
	ck_assert_str_eq(t, "x-3");
	ck_assert_str_eq(u, "copy");
	free(a);
	free(b);
	free(c);
	free(s);
	free(t);
	free(u);
}
END_TEST

int main(void)
{
	const TTest *tests[] = {
		every_error_has_a_name_of_its_own, a_text_is_filled_and_the_code_handed_back,
		a_long_text_is_cut_and_terminated, a_cut_text_stays_utf8,
		outcomes_and_reasons_have_names,   allocations_of_nothing_are_not_null,
	};

	return suite_run("err", tests, sizeof(tests) / sizeof(tests[0]));
}
