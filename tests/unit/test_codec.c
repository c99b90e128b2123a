/* SPDX-License-Identifier: Apache-2.0 */
/* Acks, answers, and every other frame. */
#include "tests/unit/codec_kit.h"

/* ---- ack -------------------------------------------------------------------- */

static int read_ack(struct ack_frame *ack)
{
	buf_reset(&frame, SIZE_MAX);
	add_inner(&frame, KIND(ACK), &message);
	return codec_read_ack(buf_slice(&frame), ack, &err);
}

static void add_range(uint32_t field, uint64_t first, uint64_t last)
{
	struct buf range;

	buf_init(&range);
	add_uint(&range, 1, first);
	add_uint(&range, 2, last);
	add_inner(&message, field, &range);
	buf_finish(&range);
}

START_TEST(acks_are_read)
{
	struct ack_frame ack = {0};

	add_range(1, 5, 9);
	add_range(1, 10, 10);
	add_range(1, 20, UINT64_MAX);
	add_uint(&message, 2, 1);
	add_uint(&message, 3, 77);
	ck_assert_int_eq(read_ack(&ack), 0);
	ck_assert_uint_eq(ack.tags.n, 2);
	ck_assert_uint_eq(ack.tags.v[0].first, 5);
	ck_assert_uint_eq(ack.tags.v[0].last, 10);
	ck_assert(ack.settled);
	ck_assert_uint_eq(ack.request, 77);

	ck_assert_int_eq(read_ack(&ack), 0);
	ck_assert_uint_eq(ack.tags.n, 0);
	ck_assert(!ack.settled);

	add_range(1, 1, 2);
	add_range(1, 9, 8);
	ck_assert_int_eq(read_ack(&ack), EB_EPROTO);
	ck_assert_str_eq(err.s, "ack.tags[1]: first is above last");

	for (int i = 0; i < CODEC_MAX_RANGES + 1; i++) {
		add_range(1, 1 + 2 * (uint64_t)i, 1 + 2 * (uint64_t)i);
	}
	ck_assert_int_eq(read_ack(&ack), EB_ETOOBIG);
	ck_assert_str_eq(err.s, "ack.tags: more than 4096");
	add_uint(&message, 5, 1);
	ck_assert_int_eq(read_ack(&ack), EB_EPROTO);
	ck_assert_str_eq(err.s, "ack: unknown field 5 (not supported by this version)");
	ranges_finish(&ack.tags);
}
END_TEST

/* ---- the generic reader and the writers --------------------------------------- */

START_TEST(published_is_written)
{
	struct published_failure failures[] = {
		{{4, 5}, 1, 2, "full"},
		{{6, 6},
		 3,
		 8,
		 "b\xff"
		 "d"},
	};
	struct published_position positions[] = {
		{1, "mem:1", slice_str("id"), false},
		{2, "", {NULL, 0}, true},
	};
	struct published_frame p = {.failures = failures,
				    .positions = positions,
				    .n_failures = 2,
				    .n_positions = 2,
				    .has_credit = true,
				    .credit_events = 0,
				    .credit_bytes = UINT64_C(1) << 33};
	struct ranges confirmed = {0};
	Eventbus__V1__Frame *f;
	struct arena arena;

	ranges_add(&confirmed, 1, 3);
	ranges_add(&confirmed, 7, UINT64_MAX);
	p.confirmed = &confirmed;
	codec_write_published(&written, &p);
	f = read_written(&arena);
	ck_assert_uint_eq(f->kind_case, KIND(PUBLISHED));
	ck_assert_uint_eq(f->published->n_confirmed, 2);
	ck_assert_uint_eq(f->published->confirmed[1]->last, UINT64_MAX);
	ck_assert_uint_eq(f->published->n_failures, 2);
	ck_assert_str_eq(f->published->failures[0]->text, "full");
	ck_assert_str_eq(f->published->failures[1]->text, "b?d");
	ck_assert_uint_eq(f->published->n_positions, 2);
	ck_assert_str_eq(f->published->positions[0]->id, "id");
	ck_assert(f->published->positions[1]->duplicate);
	ck_assert_uint_eq(f->published->credit->bytes, UINT64_C(1) << 33);
	arena_finish(&arena);
	ranges_finish(&confirmed);
}
END_TEST

START_TEST(settled_and_ack_are_written)
{
	struct ranges settled = {0}, stale = {0};
	struct ack_frame ack = {0};
	Eventbus__V1__Frame *f;
	struct arena arena;

	ranges_add(&settled, 1, 3);
	for (uint64_t i = 0; i < 8000; i++) {
		ranges_add(&stale, 10 + 2 * i, 10 + 2 * i);
	}
	codec_write_settled(&written, 12, &settled, &stale);
	f = read_written(&arena);
	ck_assert_uint_eq(f->settled->request, 12);
	ck_assert_uint_eq(f->settled->n_settled, 1);
	ck_assert_uint_eq(f->settled->n_stale, 8000);
	arena_finish(&arena);

	buf_reset(&written, 0);
	codec_write_settled(&written, 0, NULL, NULL);
	f = read_written(&arena);
	ck_assert_uint_eq(f->kind_case, KIND(SETTLED));
	arena_finish(&arena);

	buf_reset(&written, 0);
	codec_write_ack(&written, &settled, true, 4);
	ck_assert_int_eq(
		codec_read_ack(slice_of(buf_data(&written) + 4, written.len - 4), &ack, &err), 0);
	ck_assert_uint_eq(ack.request, 4);
	ck_assert_uint_eq(ack.tags.v[0].last, 3);
	ranges_finish(&ack.tags);
	ranges_finish(&settled);
	ranges_finish(&stale);
}
END_TEST

static int read_daemon(struct arena *arena, Eventbus__V1__Frame **f)
{
	int rc = codec_read(CODEC_DAEMON, buf_slice(&frame), arena, f, &err);

	buf_reset(&frame, SIZE_MAX);
	return rc;
}

START_TEST(hello_alone_may_hold_what_we_do_not_know)
{
	Eventbus__V1__Frame *f;
	struct arena arena;

	add_uint(&message, 1, 1);
	add_text(&message, 2, "me");
	add_text(&message, 50, "later");
	add_inner(&frame, KIND(HELLO), &message);
	ck_assert_int_eq(read_daemon(&arena, &f), 0);
	ck_assert_str_eq(f->hello->client, "me");
	arena_finish(&arena);
	add_inner(&frame, KIND(HELLO), &message);
	add_uint(&frame, 50, 1);
	ck_assert_int_eq(read_daemon(&arena, &f), EB_EPROTO);
	arena_finish(&arena);
	add_uint(&message, 50, 1);
	add_inner(&frame, KIND(PING), &message);
	ck_assert_int_eq(read_daemon(&arena, &f), EB_EPROTO);
	ck_assert_str_eq(err.s, "ping: unknown field 50 (not supported by this version)");
	arena_finish(&arena);
	add_uint(&frame, 50, 1);
	ck_assert_int_eq(read_daemon(&arena, &f), EB_EPROTO);
	ck_assert_str_eq(err.s, "frame: unknown field 50 (not supported by this version)");
	arena_finish(&arena);
	ck_assert_int_eq(codec_read(CODEC_CLIENT, slice_of("\x90\x03\x01", 3), &arena, &f, &err),
			 0);
	ck_assert_int_eq(f->kind_case, KIND(_NOT_SET));
	arena_finish(&arena);
}
END_TEST

START_TEST(too_many_patterns_are_refused)
{
	Eventbus__V1__Frame *f;
	struct arena arena;

	for (int i = 0; i < CODEC_MAX_PATTERNS + 1; i++) {
		add_text(&message, 2, "a.b");
	}
	add_inner(&frame, KIND(SUBSCRIBE), &message);
	ck_assert_int_eq(read_daemon(&arena, &f), EB_ETOOBIG);
	ck_assert_str_eq(err.s, "subscribe.patterns[64]: more than 64");
	arena_finish(&arena);
}
END_TEST

START_TEST(a_small_frame_cannot_take_much_memory)
{
	Eventbus__V1__Frame *f;
	struct arena arena;

	for (int i = 0; i < CODEC_MAX_RANGES; i++) {
		add_bytes(&message, 1, "", 0);
	}
	add_inner(&frame, KIND(NACK), &message);
	ck_assert_int_eq(read_daemon(&arena, &f), EB_ETOOBIG);
	ck_assert_uint_eq(arena.used, 0);
	arena_finish(&arena);
	for (int i = 0; i < 1000; i++) {
		add_range(1, 5 + 2 * (uint64_t)i, 5 + 2 * (uint64_t)i);
	}
	add_inner(&frame, KIND(NACK), &message);
	ck_assert_int_eq(read_daemon(&arena, &f), 0);
	ck_assert_uint_eq(f->nack->n_tags, 1000);
	arena_finish(&arena);
}
END_TEST

START_TEST(kinds_are_peeked)
{
	ck_assert_int_eq(codec_kind(slice_of("\x0a\x00", 2)), KIND(PUBLISH));
	ck_assert_int_eq(codec_kind(slice_of("\xb2\x01\x00", 3)), KIND(ADMIN_REPLY));
	ck_assert_int_eq(codec_kind(slice_of("", 0)), 0);
	ck_assert_int_eq(codec_kind(slice_of("\xff", 1)), 0);
	ck_assert_int_eq(codec_kind(slice_of("\x08\x01", 2)), 0);
	ck_assert(codec_known_kind(23));
	ck_assert(!codec_known_kind(24));
}
END_TEST

static int stop_at_once(void *ctx, const struct delivery_view *d)
{
	(void)d;
	++*(int *)ctx;
	return 1;
}

START_TEST(deliver_is_read_strictly_but_for_what_is_new)
{
	struct delivery_view d;
	int calls = 0;

	add_uint(&event, 2, 9);
	add_uint(&event, 30, 9);
	add_inner(&message, 1, &event);
	add_inner(&message, 1, &event);
	add_uint(&message, 30, 9);
	add_inner(&frame, KIND(DELIVER), &message);
	ck_assert_int_eq(codec_read_deliver(buf_slice(&frame), keep_delivery, &d, &err), 0);
	ck_assert_int_eq(codec_read_deliver(buf_slice(&frame), stop_at_once, &calls, &err), 0);
	ck_assert_int_eq(calls, 1);
	buf_reset(&frame, 0);
	add_bytes(&event, 4, "\x12\x01\xff", 3);
	add_inner(&message, 1, &event);
	add_inner(&frame, KIND(DELIVER), &message);
	ck_assert_int_eq(codec_read_deliver(buf_slice(&frame), keep_delivery, &d, &err), EB_EPROTO);
	ck_assert_str_eq(err.s, "deliver.deliveries[0].topic: not UTF-8 without NUL");
}
END_TEST

int main(void)
{
	const TTest *tests[] = {
		acks_are_read,
		published_is_written,
		settled_and_ack_are_written,
		hello_alone_may_hold_what_we_do_not_know,
		too_many_patterns_are_refused,
		a_small_frame_cannot_take_much_memory,
		kinds_are_peeked,
		deliver_is_read_strictly_but_for_what_is_new,
	};

	return suite_run("codec", tests, sizeof(tests) / sizeof(tests[0]));
}
