/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "daemon/keygate.h"
#include "suite.h"

static struct flight flights[8];
static struct keygate gate;

static void setup(void)
{
	keygate_init(&gate);
	memset(flights, 0, sizeof(flights));
	for (int i = 0; i < 8; i++) {
		flights[i].size = 10;
	}
}

START_TEST(the_first_of_a_key_goes_and_the_others_queue_in_order)
{
	setup();
	ck_assert(keygate_enter(&gate, &flights[0], 1));
	ck_assert(!keygate_enter(&gate, &flights[1], 1));
	ck_assert(!keygate_enter(&gate, &flights[2], 1));
	ck_assert(keygate_enter(&gate, &flights[3], 2));
	ck_assert_uint_eq(gate.n_gated, 2);
	ck_assert_uint_eq(gate.gated_bytes, 20);
	ck_assert_ptr_eq(keygate_leave(&gate, &flights[0]), &flights[1]);
	ck_assert_ptr_eq(keygate_leave(&gate, &flights[1]), &flights[2]);
	ck_assert_ptr_null(keygate_leave(&gate, &flights[2]));
	ck_assert_ptr_null(keygate_leave(&gate, &flights[3]));
	ck_assert_uint_eq(gate.n_gated, 0);
	keygate_finish(&gate);
}
END_TEST

START_TEST(a_gated_one_may_leave_from_the_middle)
{
	setup();
	keygate_enter(&gate, &flights[0], 1);
	keygate_enter(&gate, &flights[1], 1);
	keygate_enter(&gate, &flights[2], 1);
	ck_assert_ptr_null(keygate_leave(&gate, &flights[1]));
	ck_assert_uint_eq(gate.n_gated, 1);
	ck_assert_ptr_eq(keygate_leave(&gate, &flights[0]), &flights[2]);
	ck_assert_ptr_null(keygate_leave(&gate, &flights[2]));
	keygate_finish(&gate);
}
END_TEST

START_TEST(without_a_key_there_is_nothing_to_leave)
{
	setup();
	ck_assert_ptr_null(keygate_leave(&gate, &flights[0]));
	keygate_finish(&gate);
}
END_TEST

START_TEST(slots_are_reused_and_a_key_opens_again)
{
	setup();
	for (int i = 0; i < 5000; i++) {
		ck_assert(keygate_enter(&gate, &flights[i % 8], (uint64_t)i));
		ck_assert_ptr_null(keygate_leave(&gate, &flights[i % 8]));
	}
	ck_assert_uint_eq(gate.n_spare, 1);
	keygate_finish(&gate);
}
END_TEST

int main(void)
{
	const TTest *tests[] = {
		the_first_of_a_key_goes_and_the_others_queue_in_order,
		a_gated_one_may_leave_from_the_middle,
		without_a_key_there_is_nothing_to_leave,
		slots_are_reused_and_a_key_opens_again,
	};

	return suite_run("keygate", tests, sizeof(tests) / sizeof(tests[0]));
}
