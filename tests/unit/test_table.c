/* SPDX-License-Identifier: Apache-2.0 */
#include "base/table.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/list.h"
#include "tests/unit/suite.h"

struct item {
	struct table_entry entry;
	uint64_t key;
	bool in, seen;
};

static struct item *find(struct table *t, uint64_t key)
{
	for (struct table_entry *e = table_first(t, hash_u64(key)); e; e = table_next(e)) {
		struct item *i = container_of(e, struct item, entry);

		if (i->key == key) {
			return i;
		}
	}
	return NULL;
}

START_TEST(an_empty_table_finds_nothing)
{
	struct table t;

	table_init(&t);
	ck_assert_ptr_null(table_first(&t, 1));
	table_each(&t, NULL, NULL);
	table_finish(&t);
	table_finish(&t);
}
END_TEST

START_TEST(it_agrees_with_a_plain_array)
{
	enum { N = 5000 };
	struct item *items = calloc(N, sizeof(*items));
	uint32_t seed = 1;
	struct table t;
	size_t count = 0;

	table_init(&t);
	for (int round = 0; round < 100000; round++) {
		struct item *i;

		seed = seed * 1664525 + 1013904223;
		i = &items[(seed >> 8) % N];
		i->key = (uint64_t)(i - items);
		ck_assert_ptr_eq(find(&t, i->key), i->in ? i : NULL);
		if (i->in) {
			table_remove(&t, &i->entry);
			count--;
		} else {
			table_insert(&t, &i->entry, hash_u64(i->key));
			count++;
		}
		i->in = !i->in;
		ck_assert_uint_eq(t.count, count);
	}
	table_finish(&t);
	free(items);
}
END_TEST

START_TEST(it_grows_and_shrinks_with_what_it_holds)
{
	enum { N = 100000 };
	struct item *items = calloc(N, sizeof(*items));
	struct table t;

	table_init(&t);
	for (uint64_t i = 0; i < N; i++) {
		items[i].key = i;
		table_insert(&t, &items[i].entry, hash_u64(i));
	}
	ck_assert_uint_ge(t.mask + 1, N);
	ck_assert_uint_lt(t.mask, 4 * (size_t)N);
	for (uint64_t i = 0; i < N; i++) {
		ck_assert_ptr_eq(find(&t, i), &items[i]);
	}
	for (uint64_t i = 0; i < N - 1; i++) {
		table_remove(&t, &items[i].entry);
	}
	ck_assert_uint_eq(t.mask + 1, 16);
	ck_assert_ptr_eq(find(&t, N - 1), &items[N - 1]);
	table_finish(&t);
	free(items);
}
END_TEST

START_TEST(entries_of_one_hash_are_all_found)
{
	struct item items[40] = {{.key = 0}};
	struct table t;
	int found = 0;

	table_init(&t);
	for (int i = 0; i < 40; i++) {
		table_insert(&t, &items[i].entry, i % 2 ? 7 : 7 + 1024);
	}
	for (struct table_entry *e = table_first(&t, 7); e; e = table_next(e)) {
		ck_assert_uint_eq(e->hash, 7);
		found++;
	}
	ck_assert_int_eq(found, 20);
	table_remove(&t, &items[1].entry);
	table_remove(&t, &items[39].entry);
	found = 0;
	for (struct table_entry *e = table_first(&t, 7); e; e = table_next(e)) {
		found++;
	}
	ck_assert_int_eq(found, 18);
	table_finish(&t);
}
END_TEST

struct sweep {
	struct table *t;
	uint64_t keep_every;
	size_t seen;
};

static void visit(struct table_entry *e, void *ctx)
{
	struct item *i = container_of(e, struct item, entry);
	struct sweep *s = ctx;

	ck_assert(!i->seen);
	i->seen = true;
	s->seen++;
	if (i->key % s->keep_every != 0) {
		table_remove(s->t, e);
	}
}

START_TEST(each_sees_all_once_and_may_remove)
{
	enum { N = 1000 };
	struct item *items = calloc(N, sizeof(*items));
	struct table t;
	struct sweep s = {&t, 100, 0};

	table_init(&t);
	for (uint64_t i = 0; i < N; i++) {
		items[i].key = i;
		table_insert(&t, &items[i].entry, hash_u64(i));
	}
	table_each(&t, visit, &s);
	ck_assert_uint_eq(s.seen, N);
	ck_assert_uint_eq(t.count, 10);
	for (uint64_t i = 0; i < N; i++) {
		ck_assert_ptr_eq(find(&t, i), i % 100 ? NULL : &items[i]);
	}
	table_finish(&t);
	free(items);
}
END_TEST

static int by_value(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

START_TEST(different_bytes_hash_differently)
{
	enum { N = 100 * 256 };
	uint64_t *all = malloc((N + 1) * sizeof(*all));
	unsigned char bytes[100] = {0};
	size_t n = 0;

	/* every length, every last byte */
	for (size_t len = 1; len <= sizeof(bytes); len++) {
		for (int c = 0; c < 256; c++) {
			bytes[len - 1] = (unsigned char)c;
			all[n++] = hash_bytes(bytes, len);
			ck_assert_uint_eq(all[n - 1], hash_bytes(bytes, len));
		}
		bytes[len - 1] = 0;
	}
	all[n++] = hash_bytes(NULL, 0);
	qsort(all, n, sizeof(*all), by_value);
	for (size_t i = 1; i < n; i++) {
		ck_assert_uint_ne(all[i - 1], all[i]);
	}
	free(all);
}
END_TEST

/* Buckets are taken from the low bits: they must be as even as chance would have them. */
START_TEST(hashes_spread_over_the_low_bits)
{
	enum { BUCKETS = 1024, N = 64 * BUCKETS };
	unsigned by_text[BUCKETS] = {0}, by_number[BUCKETS] = {0};

	for (unsigned i = 0; i < N; i++) {
		char key[32];
		const int n = snprintf(key, sizeof(key), "orders.%u.created", i);

		by_text[hash_bytes(key, (size_t)n) % BUCKETS]++;
		by_number[hash_u64(i) % BUCKETS]++;
	}
	for (unsigned i = 0; i < BUCKETS; i++) {
		ck_assert_uint_lt(by_text[i], 128);
		ck_assert_uint_gt(by_text[i], 20);
		ck_assert_uint_lt(by_number[i], 128);
		ck_assert_uint_gt(by_number[i], 20);
	}
}
END_TEST

int main(void)
{
	const TTest *tests[] = {
		an_empty_table_finds_nothing,
		it_agrees_with_a_plain_array,
		it_grows_and_shrinks_with_what_it_holds,
		entries_of_one_hash_are_all_found,
		each_sees_all_once_and_may_remove,
		different_bytes_hash_differently,
		hashes_spread_over_the_low_bits,
	};

	return suite_run("table", tests, sizeof(tests) / sizeof(tests[0]));
}
