/* SPDX-License-Identifier: Apache-2.0 */
#include "adapters/memory_impl.h"
#include "tests/unit/suite.h"

enum { IDS = 20000 };

static struct memory_log history;
static struct event events[IDS];
static struct memory_entry *entries[IDS]; /* NULL: not in the index */
static char ids[IDS][16];

static void begin(void)
{
	memory_pool_init(&history.pool);
	for (int i = 0; i < IDS; i++) {
		snprintf(ids[i], sizeof(ids[i]), "id-%d", i);
		events[i].id = slice_str(ids[i]);
		events[i].topic = slice_str(i % 2 ? "odd" : "even");
	}
}

static void end(void)
{
	memory_index_finish(&history.index);
	memory_pool_finish(&history.pool);
}

/* Few different hashes make long chains of full buckets. */
static uint32_t hash_of(int i, uint32_t kinds)
{
	const uint32_t hash = memory_index_hash(hash_slice(events[i].topic), events[i].id);

	return kinds ? hash % kinds * 0x10001u : hash;
}

static void join(int i, uint32_t kinds)
{
	entries[i] = memory_entry_create(&history);
	entries[i]->event = &events[i];
	entries[i]->hash = hash_of(i, kinds);
	memory_index_insert(&history, entries[i]);
}

static void leave(int i)
{
	memory_index_remove(&history, entries[i]);
	memory_entry_free(&history, entries[i]);
	entries[i] = NULL;
}

static void check_all(int n, uint32_t kinds)
{
	for (int i = 0; i < n; i++) {
		ck_assert_ptr_eq(memory_index_find(&history, hash_of(i, kinds), events[i].topic,
						   events[i].id),
				 entries[i]);
	}
}

static void come_and_go(int n, uint32_t kinds)
{
	uint32_t dice = 7;

	begin();
	ck_assert_ptr_null(memory_index_find(&history, 1, events[0].topic, events[0].id));
	for (int round = 0; round < 40; round++) {
		for (int k = 0; k < n / 4; k++) {
			dice = dice * 1664525u + 1013904223u;
			const int i = (int)((dice >> 8) % (uint32_t)n);

			if (entries[i]) {
				leave(i);
			} else {
				join(i, kinds);
			}
		}
		if (round % 8 == 7) {
			check_all(n, kinds);
		}
	}
	for (int i = 0; i < n; i++) {
		if (entries[i]) {
			leave(i);
		}
	}
	check_all(n, kinds);
	ck_assert_uint_eq(history.index.count, 0);
	ck_assert_uint_le(memory_index_footprint(&history.index), 1 << 14);
	end();
}

START_TEST(what_joined_is_found_and_what_left_is_not)
{
	come_and_go(IDS, 0);
}
END_TEST

START_TEST(the_same_holds_for_hashes_that_collide)
{
	come_and_go(600, 1);
	come_and_go(2000, 3);
	come_and_go(2000, 100);
}
END_TEST

START_TEST(the_same_id_on_another_topic_is_another)
{
	begin();
	join(0, 1);
	ck_assert_ptr_eq(
		memory_index_find(&history, hash_of(0, 1), slice_str("even"), events[0].id),
		entries[0]);
	ck_assert_ptr_null(
		memory_index_find(&history, hash_of(0, 1), slice_str("odd"), events[0].id));
	leave(0);
	end();
}
END_TEST

int main(void)
{
	const TTest *tests[] = {
		what_joined_is_found_and_what_left_is_not,
		the_same_holds_for_hashes_that_collide,
		the_same_id_on_another_topic_is_another,
	};

	return suite_run("memory index", tests, sizeof(tests) / sizeof(tests[0]));
}
