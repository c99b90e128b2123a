/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"

#include <string.h>

#include "base/arena.h"
#include "base/list.h"
#include "base/ranges.h"
#include "tests/unit/suite.h"

START_TEST(a_new_buffer_is_empty_and_costs_nothing)
{
	struct buf b;

	buf_init(&b);
	ck_assert_uint_eq(b.len, 0);
	ck_assert_ptr_null(buf_data(&b));
	ck_assert_uint_eq(buf_slice(&b).n, 0);
	buf_append(&b, NULL, 0);
	ck_assert_ptr_null(b.p);
	buf_reset(&b, 0);
	buf_finish(&b);
	buf_finish(&b);
}
END_TEST

START_TEST(bytes_come_out_as_they_went_in)
{
	unsigned char next_in = 0, next_out = 0;
	unsigned seed = 7;
	struct buf b;

	buf_init(&b);
	for (int round = 0; round < 2000; round++) {
		unsigned char chunk[97];
		size_t n = (size_t)(seed = seed * 1103515245 + 12345) % sizeof(chunk);

		for (size_t i = 0; i < n; i++) {
			chunk[i] = next_in++;
		}
		buf_append(&b, chunk, n);
		n = (seed >> 8) % (b.len + 1);
		for (size_t i = 0; i < n; i++) {
			ck_assert_uint_eq(buf_data(&b)[i], next_out++);
		}
		buf_consume(&b, n);
	}
	ck_assert_uint_lt(b.cap, 65536);
	buf_finish(&b);
}
END_TEST

START_TEST(a_drained_buffer_starts_at_its_front_again)
{
	struct buf b;

	buf_init(&b);
	buf_append_str(&b, "hello");
	buf_consume(&b, 2);
	ck_assert_ptr_nonnull(buf_data(&b));
	ck_assert(slice_eq_str(buf_slice(&b), "llo"));
	buf_consume(&b, 3);
	ck_assert_uint_eq(b.off, 0);
	ck_assert_uint_eq(b.len, 0);
	buf_finish(&b);
}
END_TEST

START_TEST(consumed_space_is_used_again_without_growing)
{
	struct buf b;
	size_t cap;

	buf_init(&b);
	memset(buf_reserve(&b, 200), 1, 200);
	buf_added(&b, 200);
	cap = b.cap;
	for (int i = 0; i < 1000; i++) {
		buf_consume(&b, 150);
		buf_append(&b,
			   "0123456789012345678901234567890123456789012345678901234567890123456"
			   "78901234567890123456789012345678901234567890123456789012345678901234"
			   "567890123456789",
			   150);
	}
	ck_assert_uint_eq(b.cap, cap);
	ck_assert_uint_eq(b.len, 200);
	buf_finish(&b);
}
END_TEST

START_TEST(printf_appends_text_of_any_length)
{
	struct buf b;

	buf_init(&b);
	buf_printf(&b, "%s", "");
	buf_printf(&b, "a=%d ", 1);
	buf_printf(&b, "%0500d", 2);
	ck_assert_uint_eq(b.len, 504);
	ck_assert_int_eq(memcmp(buf_data(&b), "a=1 000", 7), 0);
	ck_assert_int_eq(buf_data(&b)[503], '2');
	buf_finish(&b);
}
END_TEST

START_TEST(reset_gives_large_memory_back)
{
	struct buf b;

	buf_init(&b);
	buf_append_str(&b, "small");
	buf_reset(&b, 4096);
	ck_assert_ptr_nonnull(b.p);
	ck_assert_uint_eq(b.len, 0);
	buf_reserve(&b, 100000);
	buf_reset(&b, 4096);
	ck_assert_ptr_null(b.p);
	buf_finish(&b);
}
END_TEST

START_TEST(ranges_merge_what_touches_their_end_only)
{
	struct ranges r;

	ranges_init(&r);
	ranges_add(&r, 5, 5);
	ranges_add(&r, 6, 9);
	ranges_add(&r, 11, 11);
	ranges_add(&r, 10, 10);
	ck_assert_uint_eq(r.n, 3);
	ck_assert_uint_eq(r.v[0].first, 5);
	ck_assert_uint_eq(r.v[0].last, 9);
	ck_assert_uint_eq(r.v[2].first, 10);
	ranges_clear(&r);
	ck_assert_uint_eq(r.n, 0);
	for (uint64_t i = 0; i < 1000; i++) {
		ranges_add(&r, 2 * i, 2 * i);
	}
	ck_assert_uint_eq(r.n, 1000);
	ck_assert_uint_eq(r.v[999].last, 1998);
	ranges_finish(&r);
	ck_assert_ptr_null(r.v);
}
END_TEST

START_TEST(ranges_do_not_wrap_at_the_largest_number)
{
	struct ranges r;

	ranges_init(&r);
	ranges_add(&r, UINT64_MAX, UINT64_MAX);
	ranges_add(&r, 0, 1);
	ck_assert_uint_eq(r.n, 2);
	ranges_finish(&r);
}
END_TEST

START_TEST(an_arena_refuses_beyond_its_cap_and_remembers)
{
	struct arena a;

	arena_init(&a, 64);
	ck_assert_ptr_nonnull(arena_alloc(&a, 1));
	ck_assert_ptr_nonnull(arena_alloc(&a, 0));
	ck_assert_ptr_nonnull(arena_alloc(&a, 32));
	ck_assert(!a.exhausted);
	ck_assert_ptr_null(arena_alloc(&a, 1));
	ck_assert(a.exhausted);
	arena_finish(&a);
	arena_init(&a, 0);
	ck_assert_ptr_null(arena_alloc(&a, 0));
	ck_assert_ptr_null(arena_alloc(&a, SIZE_MAX));
	ck_assert_ptr_null(arena_alloc(&a, SIZE_MAX - 7));
	arena_finish(&a);
}
END_TEST

START_TEST(arena_pieces_are_aligned_and_do_not_overlap)
{
	static unsigned char *piece[400];
	struct arena a;

	arena_init(&a, 1 << 20);
	for (size_t i = 0; i < 400; i++) {
		const size_t n = i * 37 % 5000;

		piece[i] = arena_alloc(&a, n);
		ck_assert_ptr_nonnull(piece[i]);
		ck_assert_uint_eq((uintptr_t)piece[i] % 16, 0);
		memset(piece[i], (int)(i % 251), n);
	}
	for (size_t i = 0; i < 400; i++) {
		for (size_t k = 0; k < i * 37 % 5000; k++) {
			ck_assert_uint_eq(piece[i][k], i % 251);
		}
	}
	arena_finish(&a);
	arena_finish(&a);
}
END_TEST

struct item {
	int v;
	struct list link;
};

START_TEST(lists_keep_their_order_when_spliced)
{
	struct item items[4] = {{.v = 0}, {.v = 1}, {.v = 2}, {.v = 3}};
	struct list a, b, *it;

	list_init(&a);
	list_init(&b);
	list_splice_back(&a, &b);
	ck_assert_ptr_null(list_pop_front(&a));
	list_push_back(&a, &items[1].link);
	list_push_front(&a, &items[0].link);
	list_push_back(&b, &items[2].link);
	list_push_back(&b, &items[3].link);
	list_splice_back(&a, &b);
	ck_assert(list_empty(&b));
	for (int i = 0; (it = list_pop_front(&a)); i++) {
		ck_assert_int_eq(container_of(it, struct item, link)->v, i);
		ck_assert(!list_linked(it));
		list_remove(it);
	}
}
END_TEST

int main(void)
{
	const TTest *tests[] = {
		a_new_buffer_is_empty_and_costs_nothing,
		bytes_come_out_as_they_went_in,
		a_drained_buffer_starts_at_its_front_again,
		consumed_space_is_used_again_without_growing,
		printf_appends_text_of_any_length,
		reset_gives_large_memory_back,
		ranges_merge_what_touches_their_end_only,
		ranges_do_not_wrap_at_the_largest_number,
		an_arena_refuses_beyond_its_cap_and_remembers,
		arena_pieces_are_aligned_and_do_not_overlap,
		lists_keep_their_order_when_spliced,
	};

	return suite_run("buf", tests, sizeof(tests) / sizeof(tests[0]));
}
