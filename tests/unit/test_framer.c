/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/framer.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "tests/unit/suite.h"

#define MAX_FRAME 1000

static void put_frame(struct buf *b, size_t n, uint8_t fill)
{
	uint8_t head[FRAME_HEADER] = {(uint8_t)(n >> 24), (uint8_t)(n >> 16), (uint8_t)(n >> 8),
				      (uint8_t)n};

	buf_append(b, head, sizeof(head));
	memset(buf_reserve(b, n), fill, n);
	buf_added(b, n);
}

/* Gives up to n bytes of what is left in b to the framer; returns how many it took. */
static size_t feed(struct framer *f, struct buf *b, size_t n)
{
	size_t room;
	uint8_t *space = framer_space(f, &room);

	ck_assert_uint_ge(room, 1);
	n = n < room ? n : room;
	n = n < b->len ? n : b->len;
	memcpy(space, buf_data(b), n);
	buf_consume(b, n);
	framer_filled(f, n);
	return n;
}

/* Without an assertion per byte, which costs a message to the parent each. */
static bool all_are(struct slice s, uint8_t fill)
{
	size_t i = 0;

	while (i < s.n && s.p[i] == fill) {
		i++;
	}
	return i == s.n;
}

static void expect_frame(struct framer *f, size_t n, uint8_t fill)
{
	struct shared_bytes *source;
	struct slice body;

	ck_assert_int_eq(framer_next(f, &body, &source), 1);
	ck_assert_uint_eq(body.n, n);
	ck_assert(body.p >= source->bytes && body.p + n <= source->bytes + source->size);
	ck_assert(all_are(body, fill));
}

static void expect_nothing(struct framer *f)
{
	struct shared_bytes *source;
	struct slice body;

	ck_assert_int_eq(framer_next(f, &body, &source), 0);
}

START_TEST(frames_split_at_every_byte_arrive_whole)
{
	for (size_t cut = 1; cut < 30; cut++) {
		struct framer f;
		struct buf b;

		framer_init(&f, MAX_FRAME, NULL);
		buf_init(&b);
		put_frame(&b, 7, 'a');
		put_frame(&b, 1, 'b');
		put_frame(&b, 9, 'c');
		feed(&f, &b, cut);
		if (cut < 11) {
			expect_nothing(&f);
			ck_assert(framer_midway(&f));
			feed(&f, &b, 100);
			expect_frame(&f, 7, 'a');
		} else {
			expect_frame(&f, 7, 'a');
			feed(&f, &b, 100);
		}
		expect_frame(&f, 1, 'b');
		expect_frame(&f, 9, 'c');
		expect_nothing(&f);
		ck_assert(!framer_midway(&f));
		framer_finish(&f);
		buf_finish(&b);
	}
}
END_TEST

START_TEST(a_stream_byte_by_byte_arrives_whole)
{
	struct framer f;
	struct buf b;

	framer_init(&f, MAX_FRAME, NULL);
	buf_init(&b);
	for (size_t n = 1; n <= 300; n += 37) {
		put_frame(&b, n, (uint8_t)n);
		for (size_t i = 0; i < n + FRAME_HEADER; i++) {
			expect_nothing(&f);
			feed(&f, &b, 1);
		}
		expect_frame(&f, n, (uint8_t)n);
	}
	expect_nothing(&f);
	framer_finish(&f);
	buf_finish(&b);
}
END_TEST

START_TEST(lengths_at_the_limits)
{
	struct shared_bytes *source;
	struct slice body;
	struct framer f;
	struct buf b;

	buf_init(&b);
	framer_init(&f, MAX_FRAME, NULL);
	put_frame(&b, 1, 'x');
	put_frame(&b, MAX_FRAME, 'y');
	put_frame(&b, MAX_FRAME + 1, 'z');
	while (b.len > 0) {
		feed(&f, &b, SIZE_MAX);
	}
	expect_frame(&f, 1, 'x');
	expect_frame(&f, MAX_FRAME, 'y');
	ck_assert_int_eq(framer_next(&f, &body, &source), EB_ETOOBIG);
	framer_finish(&f);

	framer_init(&f, MAX_FRAME, NULL);
	put_frame(&b, 0, 'x');
	feed(&f, &b, SIZE_MAX);
	ck_assert_int_eq(framer_next(&f, &body, &source), EB_EPROTO);
	framer_finish(&f);
	buf_finish(&b);
}
END_TEST

START_TEST(a_header_alone_buys_no_memory)
{
	const uint8_t head[FRAME_HEADER] = {0, 0x40, 0, 0}; /* 4 MiB */
	struct budget budget;
	struct framer f;
	size_t room;

	budget_init(&budget, NULL, SIZE_MAX);
	framer_init(&f, 4 << 20, &budget);
	memcpy(framer_space(&f, &room), head, sizeof(head));
	framer_filled(&f, sizeof(head));
	expect_nothing(&f);
	framer_space(&f, &room);
	ck_assert_uint_le(budget.used, 65536);
	framer_finish(&f);
	ck_assert_uint_eq(budget.used, 0);
}
END_TEST

START_TEST(a_large_frame_costs_at_most_twice_what_arrived)
{
	const size_t large = 4 << 20;
	struct budget budget;
	struct framer f;
	struct buf b;
	size_t fed = 0;

	budget_init(&budget, NULL, SIZE_MAX);
	framer_init(&f, large, &budget);
	buf_init(&b);
	put_frame(&b, large, 'L');
	while (b.len > 0) {
		expect_nothing(&f);
		fed += feed(&f, &b, 30000);
		ck_assert_uint_le(budget.used, 2 * fed + 65536);
	}
	expect_frame(&f, large, 'L');
	expect_nothing(&f);
	ck_assert_uint_eq(budget.used, 0);
	framer_finish(&f);
	buf_finish(&b);
}
END_TEST

START_TEST(an_empty_framer_holds_no_memory)
{
	struct budget budget;
	struct framer f;
	struct buf b;
	size_t room;

	budget_init(&budget, NULL, SIZE_MAX);
	framer_init(&f, MAX_FRAME, &budget);
	ck_assert_uint_eq(budget.used, 0);
	framer_space(&f, &room);
	framer_filled(&f, 0);
	ck_assert_uint_eq(budget.used, 0);
	buf_init(&b);
	put_frame(&b, 10, 'a');
	feed(&f, &b, SIZE_MAX);
	expect_frame(&f, 10, 'a');
	ck_assert_uint_gt(budget.used, 0);
	expect_nothing(&f);
	ck_assert_uint_eq(budget.used, 0);
	framer_finish(&f);
	buf_finish(&b);
}
END_TEST

/* Keeps references to every source for a while, as events do, and compares at the end. */
START_TEST(bodies_stay_what_they_were_while_referenced)
{
	struct {
		struct slice body;
		struct shared_bytes *source;
		uint8_t fill;
	} kept[64];
	unsigned seed = 42, n_kept = 0, made = 0;
	struct budget budget;
	struct framer f;
	struct buf b;

	budget_init(&budget, NULL, SIZE_MAX);
	framer_init(&f, 200000, &budget);
	buf_init(&b);
	for (int round = 0; round < 3000; round++) {
		struct shared_bytes *source;
		struct slice body;

		seed = seed * 1103515245 + 12345;
		put_frame(&b, 1 + (seed >> 8) % (round % 50 == 0 ? 150000 : 3000), (uint8_t)made++);
		feed(&f, &b, 1 + (seed >> 4) % 9000);
		while (framer_next(&f, &body, &source) == 1) {
			ck_assert(all_are(body, body.p[0]));
			if (n_kept < 64 && seed % 3) {
				kept[n_kept].body = body;
				kept[n_kept].fill = body.p[0];
				kept[n_kept++].source = shared_bytes_ref(source);
			}
		}
		if (n_kept == 64) {
			while (n_kept > 0) {
				n_kept--;
				ck_assert(all_are(kept[n_kept].body, kept[n_kept].fill));
				shared_bytes_unref(kept[n_kept].source);
			}
		}
	}
	while (n_kept > 0) {
		shared_bytes_unref(kept[--n_kept].source);
	}
	framer_finish(&f);
	ck_assert_uint_eq(budget.used, 0);
	buf_finish(&b);
}
END_TEST

int main(void)
{
	const TTest *tests[] = {
		frames_split_at_every_byte_arrive_whole,
		a_stream_byte_by_byte_arrives_whole,
		lengths_at_the_limits,
		a_header_alone_buys_no_memory,
		a_large_frame_costs_at_most_twice_what_arrived,
		an_empty_framer_holds_no_memory,
		bodies_stay_what_they_were_while_referenced,
	};

	return suite_run("framer", tests, sizeof(tests) / sizeof(tests[0]));
}
