/* SPDX-License-Identifier: Apache-2.0 */
#include "base/wheel.h"

#include <stdlib.h>

#include "tests/unit/suite.h"

static struct wheel wheel;
static struct list expired;

static void begin(int64_t now_ms)
{
	wheel_init(&wheel, now_ms);
	list_init(&expired);
}

static struct wheel_entry *pop(void)
{
	struct list *link = list_pop_front(&expired);

	return link ? container_of(link, struct wheel_entry, link) : NULL;
}

START_TEST(an_empty_wheel_only_moves)
{
	begin(5);
	ck_assert_int_eq(wheel_next_ms(&wheel), -1);
	wheel_advance(&wheel, 1LL << 50, &expired);
	ck_assert(list_empty(&expired));
	ck_assert_int_eq(wheel.now_ms, 1LL << 50);
	wheel_advance(&wheel, 7, &expired);
	ck_assert_int_eq(wheel.now_ms, 1LL << 50);
}
END_TEST

START_TEST(an_entry_expires_at_its_time_and_not_before)
{
	static const int64_t delays[] = {1,
					 2,
					 63,
					 64,
					 65,
					 4095,
					 4096,
					 4097,
					 262143,
					 262144,
					 1000000,
					 86400000,
					 1LL << 30,
					 (1LL << 36) + 1,
					 (1LL << 42) - 1,
					 1LL << 42,
					 (1LL << 43) + 12345};
	static const int64_t starts[] = {0, 1, 63, 4095, 123456789, (1LL << 42) - 2, 1795437296789};

	for (size_t k = 0; k < sizeof(starts) / sizeof(starts[0]); k++) {
		for (size_t i = 0; i < sizeof(delays) / sizeof(delays[0]); i++) {
			const int64_t due = starts[k] + delays[i];
			struct wheel_entry e;

			begin(starts[k]);
			wheel_entry_init(&e);
			ck_assert(!wheel_entry_armed(&e));
			wheel_add(&wheel, &e, due);
			ck_assert(wheel_entry_armed(&e));
			wheel_advance(&wheel, due - 1, &expired);
			ck_assert(list_empty(&expired));
			ck_assert_int_eq(wheel_next_ms(&wheel), due);
			wheel_advance(&wheel, due, &expired);
			ck_assert_ptr_eq(pop(), &e);
			ck_assert(!wheel_entry_armed(&e));
			ck_assert_uint_eq(wheel.count, 0);
			ck_assert_int_eq(wheel_next_ms(&wheel), -1);
		}
	}
}
END_TEST

START_TEST(next_leads_to_the_due_time_in_few_steps)
{
	static const int64_t dues[] = {1, 100, 5000, 300000, 90000000, 1LL << 41, (1LL << 42) + 5};

	for (size_t i = 0; i < sizeof(dues) / sizeof(dues[0]); i++) {
		struct wheel_entry e = {.due_ms = 0};
		int steps = 0;

		begin(0);
		wheel_add(&wheel, &e, dues[i]);
		while (list_empty(&expired)) {
			const int64_t next = wheel_next_ms(&wheel);

			ck_assert_int_gt(next, wheel.now_ms);
			ck_assert_int_le(next, dues[i]);
			wheel_advance(&wheel, next, &expired);
			ck_assert_int_le(++steps, WHEEL_LEVELS + 1);
		}
		ck_assert_int_eq(wheel.now_ms, dues[i]);
		pop();
	}
}
END_TEST

START_TEST(a_past_due_expires_at_the_next_advance)
{
	struct wheel_entry a = {.due_ms = 0}, b = {.due_ms = 0}, c = {.due_ms = 0};

	begin(1000);
	wheel_add(&wheel, &a, 1000);
	wheel_add(&wheel, &b, 3);
	wheel_add(&wheel, &c, INT64_MIN);
	ck_assert_int_eq(wheel_next_ms(&wheel), 1000);
	wheel_advance(&wheel, 1000, &expired);
	ck_assert_ptr_eq(pop(), &a);
	ck_assert_ptr_eq(pop(), &b);
	ck_assert_ptr_eq(pop(), &c);
	ck_assert_int_eq(b.due_ms, 3);
}
END_TEST

START_TEST(the_latest_time_there_is_can_be_asked_for)
{
	struct wheel_entry e = {.due_ms = 0};

	begin(12345);
	wheel_add(&wheel, &e, INT64_MAX);
	wheel_advance(&wheel, 1LL << 55, &expired);
	ck_assert(list_empty(&expired));
	ck_assert_int_gt(wheel_next_ms(&wheel), 1LL << 55);
	wheel_remove(&wheel, &e);
	ck_assert_int_eq(wheel_next_ms(&wheel), -1);
	ck_assert_uint_eq(wheel.count, 0);
}
END_TEST

START_TEST(arming_again_moves_and_removing_twice_is_fine)
{
	struct wheel_entry a = {.due_ms = 0}, b = {.due_ms = 0};

	begin(0);
	wheel_add(&wheel, &a, 10);
	wheel_add(&wheel, &b, 10);
	wheel_add(&wheel, &a, 20);
	ck_assert_uint_eq(wheel.count, 2);
	wheel_advance(&wheel, 15, &expired);
	ck_assert_ptr_eq(pop(), &b);
	ck_assert_ptr_null(pop());
	wheel_remove(&wheel, &a);
	wheel_remove(&wheel, &a);
	wheel_remove(&wheel, &b);
	ck_assert_uint_eq(wheel.count, 0);
	wheel_advance(&wheel, 100, &expired);
	ck_assert_ptr_null(pop());
}
END_TEST

START_TEST(an_expired_entry_can_be_removed_or_armed_before_it_is_taken)
{
	struct wheel_entry a = {.due_ms = 0}, b = {.due_ms = 0}, c = {.due_ms = 0};

	begin(0);
	wheel_add(&wheel, &a, 1);
	wheel_add(&wheel, &b, 2);
	wheel_add(&wheel, &c, 3);
	wheel_advance(&wheel, 5, &expired);
	wheel_remove(&wheel, &a);
	wheel_add(&wheel, &b, 9);
	ck_assert_uint_eq(wheel.count, 1);
	ck_assert_ptr_eq(pop(), &c);
	ck_assert_ptr_null(pop());
	wheel_advance(&wheel, 9, &expired);
	ck_assert_ptr_eq(pop(), &b);
	ck_assert_uint_eq(wheel.count, 0);
}
END_TEST

START_TEST(a_long_jump_expires_in_order_of_due_time)
{
	enum { N = 20000 };
	struct wheel_entry *all = calloc(N, sizeof(*all)), *e;
	int64_t last = 0;
	uint32_t seed = 5;
	int n = 0;

	begin(777);
	for (int i = 0; i < N; i++) {
		seed = seed * 1664525 + 1013904223;
		wheel_add(&wheel, &all[i], 778 + (seed >> (i % 28)));
	}
	wheel_advance(&wheel, 1LL << 40, &expired);
	while ((e = pop())) {
		ck_assert_int_ge(e->due_ms, last);
		last = e->due_ms;
		n++;
	}
	ck_assert_int_eq(n, N);
	free(all);
}
END_TEST

/* Equal due times come out in the order they were added, wherever they waited. */
START_TEST(equal_times_keep_their_order)
{
	struct wheel_entry e[6] = {{.due_ms = 0}};
	static const int64_t added_at[] = {0, 1, 5000, 9000, 9990, 9999};

	begin(0);
	for (int i = 0; i < 6; i++) {
		wheel_advance(&wheel, added_at[i], &expired);
		wheel_add(&wheel, &e[i], 10000);
	}
	wheel_advance(&wheel, 20000, &expired);
	for (int i = 0; i < 6; i++) {
		ck_assert_ptr_eq(pop(), &e[i]);
	}
}
END_TEST

/* ---- against a plain array ------------------------------------------------- */

#define MODEL_N 300

struct model {
	struct wheel_entry entry[MODEL_N];
	int64_t due[MODEL_N]; /* -1: not armed */
};

static uint64_t next_random(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

static int64_t random_span(uint64_t *seed)
{
	const uint64_t bits = next_random(seed) % 46;

	return (int64_t)(next_random(seed) & ((1ULL << bits) - 1));
}

static void check_advance(struct model *m, int64_t to)
{
	int64_t first = INT64_MAX;
	struct wheel_entry *e;

	for (int i = 0; i < MODEL_N; i++) {
		first = m->due[i] >= 0 && m->due[i] < first ? m->due[i] : first;
	}
	if (first == INT64_MAX) {
		ck_assert_int_eq(wheel_next_ms(&wheel), -1);
	} else if (first > wheel.now_ms) {
		ck_assert_int_le(wheel_next_ms(&wheel), first);
	} else {
		ck_assert_int_eq(wheel_next_ms(&wheel), wheel.now_ms);
	}
	wheel_advance(&wheel, to, &expired);
	while ((e = pop())) {
		const long i = e - m->entry;

		ck_assert_int_ge(m->due[i], 0);
		ck_assert_int_le(m->due[i], to);
		m->due[i] = -1;
	}
	for (int i = 0; i < MODEL_N; i++) {
		ck_assert(m->due[i] < 0 || m->due[i] > to);
		ck_assert_int_eq(wheel_entry_armed(&m->entry[i]), m->due[i] >= 0);
	}
}

static void run_model(uint64_t seed)
{
	static struct model m;
	uint64_t count = 0;

	m = (struct model){.due = {0}};
	for (int i = 0; i < MODEL_N; i++) {
		m.due[i] = -1;
	}
	begin(random_span(&seed));
	for (int step = 0; step < 3000; step++) {
		const uint64_t i = next_random(&seed) % MODEL_N;

		switch (next_random(&seed) % 4) {
		case 0:
		case 1:
			/* at times in the past */
			m.due[i] = wheel.now_ms + random_span(&seed) - 20;
			m.due[i] = m.due[i] < 0 ? 0 : m.due[i];
			wheel_add(&wheel, &m.entry[i], m.due[i]);
			break;
		case 2:
			wheel_remove(&wheel, &m.entry[i]);
			m.due[i] = -1;
			break;
		default:
			check_advance(&m, wheel.now_ms + random_span(&seed));
			break;
		}
		count = 0;
		for (int k = 0; k < MODEL_N; k++) {
			count += m.due[k] >= 0;
		}
		ck_assert_uint_eq(wheel.count, count);
	}
}

START_TEST(it_agrees_with_a_plain_array)
{
	for (uint64_t seed = 1; seed <= 40; seed++) {
		run_model(seed * 0x9e3779b97f4a7c15ULL);
	}
}
END_TEST

int main(void)
{
	const TTest *tests[] = {
		an_empty_wheel_only_moves,
		an_entry_expires_at_its_time_and_not_before,
		next_leads_to_the_due_time_in_few_steps,
		a_past_due_expires_at_the_next_advance,
		the_latest_time_there_is_can_be_asked_for,
		arming_again_moves_and_removing_twice_is_fine,
		an_expired_entry_can_be_removed_or_armed_before_it_is_taken,
		a_long_jump_expires_in_order_of_due_time,
		equal_times_keep_their_order,
		it_agrees_with_a_plain_array,
	};

	return suite_run("wheel", tests, sizeof(tests) / sizeof(tests[0]));
}
