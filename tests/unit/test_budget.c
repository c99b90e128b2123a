/* SPDX-License-Identifier: Apache-2.0 */
#include "base/budget.h"

#include <stdint.h>

#include "base/backoff.h"
#include "base/random.h"
#include "tests/unit/suite.h"

START_TEST(a_charge_reaches_every_parent)
{
	struct budget root, mid, leaf;

	budget_init(&root, NULL, 100);
	budget_init(&mid, &root, 80);
	budget_init(&leaf, &mid, 1000);
	ck_assert_uint_eq(budget_free(&leaf), 80);
	budget_charge(&leaf, 30);
	ck_assert_uint_eq(root.used, 30);
	ck_assert_uint_eq(mid.used, 30);
	budget_charge(&root, 40);
	ck_assert_uint_eq(budget_free(&leaf), 30);
	ck_assert_uint_eq(mid.used, 30);
	budget_release(&leaf, 30);
	ck_assert_uint_eq(root.used, 40);
	ck_assert_uint_eq(leaf.used, 0);
	ck_assert_uint_eq(budget_free(&leaf), 60);
}
END_TEST

START_TEST(charging_past_the_limit_leaves_nothing_free)
{
	struct budget root, leaf;

	budget_init(&root, NULL, 10);
	budget_init(&leaf, &root, 100);
	budget_charge(&leaf, 50);
	ck_assert_uint_eq(budget_free(&leaf), 0);
	ck_assert_uint_eq(budget_free(&root), 0);
	budget_release(&leaf, 45);
	ck_assert_uint_eq(budget_free(&leaf), 5);
	ck_assert_uint_eq(budget_free(NULL), SIZE_MAX);
	budget_charge(NULL, 1);
	budget_release(NULL, 1);
}
END_TEST

START_TEST(exponential_backoff_grows_to_its_maximum)
{
	const struct backoff b = {BACKOFF_EXPONENTIAL, 1000, 30000, 2, 0};
	const int64_t want[] = {1000, 2000, 4000, 8000, 16000, 30000, 30000};

	for (uint32_t n = 1; n <= 7; n++) {
		ck_assert_int_eq(backoff_delay_ms(&b, n, 0.5), want[n - 1]);
	}
	ck_assert_int_eq(backoff_delay_ms(&b, 0, 0), 1000);
	ck_assert_int_eq(backoff_delay_ms(&b, UINT32_MAX, 0), 30000);
}
END_TEST

START_TEST(linear_and_fixed_backoff)
{
	const struct backoff linear = {BACKOFF_LINEAR, 100, 350, 9, 0};
	const struct backoff fixed = {BACKOFF_FIXED, 100, 350, 9, 0};

	ck_assert_int_eq(backoff_delay_ms(&linear, 1, 0), 100);
	ck_assert_int_eq(backoff_delay_ms(&linear, 3, 0), 300);
	ck_assert_int_eq(backoff_delay_ms(&linear, 4, 0), 350);
	ck_assert_int_eq(backoff_delay_ms(&linear, UINT32_MAX, 0), 350);
	ck_assert_int_eq(backoff_delay_ms(&fixed, 1, 0), 100);
	ck_assert_int_eq(backoff_delay_ms(&fixed, 1000, 0), 100);
}
END_TEST

START_TEST(backoff_saturates_and_never_overflows)
{
	const enum backoff_kind kinds[] = {BACKOFF_EXPONENTIAL, BACKOFF_LINEAR, BACKOFF_FIXED};

	for (int i = 0; i < 3; i++) {
		const struct backoff huge = {kinds[i], INT64_MAX, INT64_MAX, 1e300, 1};
		const struct backoff none = {kinds[i], 0, INT64_MAX, 2, 1};
		const struct backoff odd = {kinds[i], 10, -5, 0, 7};

		ck_assert_int_eq(backoff_delay_ms(&huge, UINT32_MAX, 0), INT64_MAX);
		ck_assert_int_ge(backoff_delay_ms(&huge, UINT32_MAX, 0.9999999), 0);
		ck_assert_int_eq(backoff_delay_ms(&none, UINT32_MAX, 0.5), 0);
		ck_assert_int_eq(backoff_delay_ms(&odd, 3, 0.5), 0);
	}
}
END_TEST

START_TEST(jitter_only_shortens_and_by_no_more_than_its_part)
{
	const struct backoff b = {BACKOFF_FIXED, 1000, 1000, 1, 0.2};
	int64_t least = INT64_MAX, most = 0;

	for (int i = 0; i < 10000; i++) {
		const int64_t d = backoff_delay_ms(&b, 1, random_unit());

		least = d < least ? d : least;
		most = d > most ? d : most;
	}
	ck_assert_int_ge(least, 800);
	ck_assert_int_lt(least, 820);
	ck_assert_int_le(most, 1000);
	ck_assert_int_gt(most, 980);
}
END_TEST

int main(void)
{
	const TTest *tests[] = {
		a_charge_reaches_every_parent,
		charging_past_the_limit_leaves_nothing_free,
		exponential_backoff_grows_to_its_maximum,
		linear_and_fixed_backoff,
		backoff_saturates_and_never_overflows,
		jitter_only_shortens_and_by_no_more_than_its_part,
	};

	return suite_run("budget", tests, sizeof(tests) / sizeof(tests[0]));
}
