/* SPDX-License-Identifier: Apache-2.0 */
/* Publish credit: levels, one event that always fits, strikes. */
#include <check.h>
#include <stdlib.h>

#include "daemon/credit.h"

#define KIB ((size_t)1024)

START_TEST(test_level_follows_memory)
{
	struct credit_pool p;

	credit_pool_init(&p, 100, 64 * KIB);
	ck_assert_uint_eq(p.level, 64 * KIB);
	ck_assert(!credit_pool_update(&p, 10, 4000 * KIB));
	/* 10 sessions share 400 KiB of memory: the highest step that fits is 8 KiB. */
	ck_assert(credit_pool_update(&p, 10, 400 * KIB));
	ck_assert_uint_eq(p.level, 8 * KIB);
	/* Never below the least. */
	ck_assert(credit_pool_update(&p, 10, 0));
	ck_assert_uint_eq(p.level, CREDIT_MIN_BYTES);
	/* Up again: only with a quarter to spare. */
	ck_assert(!credit_pool_update(&p, 10, 324 * KIB));
	ck_assert(credit_pool_update(&p, 10, 404 * KIB));
	ck_assert_uint_eq(p.level, 8 * KIB);
	ck_assert(credit_pool_update(&p, 10, 2560 * KIB));
	ck_assert_uint_eq(p.level, 64 * KIB);
}
END_TEST

START_TEST(test_what_is_outstanding_counts_as_granted)
{
	struct credit_pool p;
	struct credit_use u = {0};

	credit_pool_init(&p, 100, 64 * KIB);
	credit_tell(&p, &u, 1);
	ck_assert(credit_take(&p, &u, 40 * KIB, 1));
	/* It used 40 of the 64 KiB that there were: the level is still fair. */
	ck_assert(!credit_pool_update(&p, 1, 96 * KIB));
	credit_give(&p, &u, 1, 40 * KIB);
	ck_assert_uint_eq(p.outstanding, 0);
}
END_TEST

START_TEST(test_events_and_bytes_are_limited)
{
	struct credit_pool p;
	struct credit_use u = {0};

	credit_pool_init(&p, 3, 8 * KIB);
	credit_tell(&p, &u, 1);
	ck_assert(credit_take(&p, &u, 4 * KIB, 1));
	ck_assert(!credit_take(&p, &u, 5 * KIB, 1));
	ck_assert(credit_take(&p, &u, 4 * KIB, 1));
	ck_assert(!credit_take(&p, &u, 1, 1));
	credit_give(&p, &u, 1, 4 * KIB);
	ck_assert(credit_take(&p, &u, 1, 1));
	ck_assert(credit_take(&p, &u, 1, 1));
	ck_assert(!credit_take(&p, &u, 0, 1));
	credit_give(&p, &u, 3, 4 * KIB + 2);
	ck_assert_uint_eq(u.bytes, 0);
}
END_TEST

START_TEST(test_one_event_always_fits)
{
	struct credit_pool p;
	struct credit_use u = {0};

	credit_pool_init(&p, 3, 8 * KIB);
	credit_tell(&p, &u, 1);
	ck_assert(credit_take(&p, &u, SIZE_MAX / 2, 1));
	ck_assert(!credit_take(&p, &u, 1, 1));
}
END_TEST

START_TEST(test_strikes_count_frames_in_a_row)
{
	struct credit_use u = {0};
	int i;

	for (i = 0; i < CREDIT_MAX_STRIKES - 1; i++) {
		ck_assert(credit_judge(&u, true));
	}
	ck_assert(credit_judge(&u, false));
	for (i = 0; i < CREDIT_MAX_STRIKES - 1; i++) {
		ck_assert(credit_judge(&u, true));
	}
	ck_assert(!credit_judge(&u, true));
}
END_TEST

START_TEST(test_a_shrunk_credit_is_no_fault_of_the_client)
{
	struct credit_pool p;
	struct credit_use u = {0};

	credit_pool_init(&p, 100, 64 * KIB);
	credit_tell(&p, &u, 1);
	ck_assert(!credit_untold(&p, &u));
	ck_assert(credit_pool_update(&p, 1, 32 * KIB));
	ck_assert(credit_untold(&p, &u));
	/* It does not know yet, and then may have sent before it read it. */
	ck_assert(credit_take(&p, &u, 30 * KIB, 500));
	credit_tell(&p, &u, 500);
	ck_assert_uint_eq(u.told_bytes, 8 * KIB);
	ck_assert(credit_take(&p, &u, 30 * KIB, 700));
	ck_assert(!credit_take(&p, &u, 1 * KIB, 500 + CREDIT_GRACE_MS));
	ck_assert(!credit_overran(&p, &u, 1 * KIB));
	ck_assert(credit_overran(&p, &u, 8 * KIB));
}
END_TEST

START_TEST(test_fewer_events_after_a_reload)
{
	struct credit_pool p;
	struct credit_use u = {0};

	credit_pool_init(&p, 2, 64 * KIB);
	credit_tell(&p, &u, 1);
	credit_pool_limit(&p, 1, 32 * KIB);
	ck_assert_uint_eq(p.level, 32 * KIB);
	credit_tell(&p, &u, 10);
	ck_assert(credit_take(&p, &u, 1, 11));
	ck_assert(credit_take(&p, &u, 1, 11));
	credit_give(&p, &u, 1, 1);
	ck_assert(!credit_take(&p, &u, 1, 10 + CREDIT_GRACE_MS));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("credit");
	TCase *tc = tcase_create("credit");
	SRunner *runner;
	int failed;

	tcase_add_test(tc, test_level_follows_memory);
	tcase_add_test(tc, test_what_is_outstanding_counts_as_granted);
	tcase_add_test(tc, test_events_and_bytes_are_limited);
	tcase_add_test(tc, test_one_event_always_fits);
	tcase_add_test(tc, test_strikes_count_frames_in_a_row);
	tcase_add_test(tc, test_a_shrunk_credit_is_no_fault_of_the_client);
	tcase_add_test(tc, test_fewer_events_after_a_reload);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_set_fork_status(runner, CK_FORK);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
