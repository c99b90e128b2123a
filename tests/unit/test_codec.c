/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/codec.h"

#include <stdio.h>

#include "proto/framer.h"
#include "tests/unit/bytes.h"
#include "tests/unit/suite.h"

#define KIND(x) EVENTBUS__V1__FRAME__KIND_##x

static struct buf event, message, frame, written;
static struct err_text err;
static struct shared_bytes *source;
static struct publish_frame publish;

/* Moves what is in message into a Publish frame and reads it. */
static int read_publish(void)
{
	buf_reset(&frame, SIZE_MAX);
	add_inner(&frame, KIND(PUBLISH), &message);
	shared_bytes_unref(source);
	source = shared_bytes_create(frame.len, NULL);
	memcpy(source->bytes, buf_data(&frame), frame.len);
	return codec_read_publish(slice_of(source->bytes, frame.len), source, 64, NULL, &publish,
				  &err);
}

static struct event *published(uint32_t i)
{
	return &event_block_events(publish.block)[i];
}

static void refused_publish(int rc, const char *text)
{
	ck_assert_int_eq(read_publish(), rc);
	ck_assert_str_eq(err.s, text);
	ck_assert_ptr_null(publish.block);
	ck_assert_uint_eq(source->refs, 1);
}

/* The same with what is in event as the second event. */
static void refused_event(int rc, const char *text)
{
	add_bytes(&message, 2, "\x12\x01t", 3);
	add_inner(&message, 2, &event);
	refused_publish(rc, text);
}

static void expect(struct slice s, const char *text)
{
	ck_assert_uint_eq(s.n, strlen(text));
	ck_assert_mem_eq(s.p ? (const void *)s.p : "", text, s.n);
}

static void add_full_event(struct buf *b)
{
	add_text(b, 1, "id-1");
	add_text(b, 2, "orders.created");
	add_text(b, 3, "payload");
	add_uint(b, 4, 1764000000000);
	add_text(b, 5, "key");
	add_text(b, 6, "text/plain");
	add_text(b, 7, "orders.v1.Created");
	add_pair(b, 8, "a", "1");
	add_pair(b, 8, "b", "22");
}

START_TEST(publish_gives_views_of_every_field)
{
	const struct event *e;

	add_uint(&message, 1, 42);
	add_full_event(&event);
	add_inner(&message, 2, &event);
	add_bytes(&message, 2, "", 0);
	add_uint(&message, 3, 1);
	ck_assert_int_eq(read_publish(), 0);
	ck_assert_uint_eq(publish.first_sequence, 42);
	ck_assert(publish.positions);
	ck_assert_uint_eq(publish.n, 2);
	e = published(0);
	expect(e->id, "id-1");
	expect(e->topic, "orders.created");
	expect(e->payload, "payload");
	ck_assert_int_eq(e->published_at_ms, 1764000000000);
	expect(e->key, "key");
	expect(e->content_type, "text/plain");
	expect(e->message_type, "orders.v1.Created");
	ck_assert_uint_eq(e->metadata_count, 2);
	ck_assert_uint_eq(e->metadata_bytes, 5);
	ck_assert_uint_eq(event_size(published(1)), 0);
	ck_assert_uint_eq(source->refs, 2);
	event_block_unref(publish.block);
	ck_assert_uint_eq(source->refs, 1);
}
END_TEST

START_TEST(fields_in_any_order_are_the_same)
{
	add_inner(&message, 2, &event);
	add_uint(&message, 3, 1);
	add_pair(&event, 8, "k", "v");
	add_text(&event, 3, "p");
	add_pair(&event, 8, "l", "");
	add_text(&event, 1, "i");
	add_inner(&message, 2, &event);
	add_uint(&message, 1, 7);
	ck_assert_int_eq(read_publish(), 0);
	ck_assert_uint_eq(publish.first_sequence, 7);
	expect(published(1)->id, "i");
	expect(published(1)->payload, "p");
	ck_assert_uint_eq(published(1)->metadata_count, 2);
	event_block_unref(publish.block);
}
END_TEST

START_TEST(structure_errors_name_the_field)
{
	add_text(&event, 2, "a\xff");
	refused_event(EB_EPROTO, "publish.events[1].topic: not UTF-8 without NUL");
	add_bytes(&event, 5, "a\0b", 3);
	refused_event(EB_EPROTO, "publish.events[1].key: not UTF-8 without NUL");
	add_text(&event, 1, "a");
	add_text(&event, 1, "a");
	refused_event(EB_EPROTO, "publish.events[1].id: more than once");
	add_uint(&event, 9, 1);
	refused_event(EB_EPROTO,
		      "publish.events[1]: unknown field 9 (not supported by this version)");
	add_uint(&event, 2, 1);
	refused_event(EB_EPROTO, "publish.events[1]: a field with the wrong wire type");
	add_pair(&event, 8, "a", "1");
	add_pair(&event, 8, "a", "2");
	refused_event(EB_EPROTO, "publish.events[1].metadata: a key twice");
	add_bytes(&event, 8, "\x0a\x01k\x0a\x01k", 6);
	refused_event(EB_EPROTO, "publish.events[1].metadata: key or value twice in one entry");
	add_bytes(&event, 8, "\x1a\x01k", 3);
	refused_event(EB_EPROTO, "publish.events[1].metadata: unknown field 3 (not supported by "
				 "this version)");
	buf_append(&event, "\x12\x05t", 3);
	refused_event(EB_EPROTO, "publish.events[1].topic: longer than the bytes around it");
	for (int i = 0; i < 65; i++) {
		char key[16];

		snprintf(key, sizeof(key), "k%d", i);
		add_pair(&event, 8, key, "v");
	}
	refused_event(EB_ETOOBIG, "publish.events[1].metadata: more than 64 pairs");
}
END_TEST

START_TEST(frames_of_wrong_shape_are_refused)
{
	refused_publish(EB_EPROTO, "publish.events: empty");
	add_uint(&message, 4, 1);
	refused_publish(EB_EPROTO, "publish: unknown field 4 (not supported by this version)");
	add_uint(&message, 1, 1);
	add_uint(&message, 1, 1);
	refused_publish(EB_EPROTO, "publish: more than once");
	add_uint(&message, 3, 2);
	refused_publish(EB_EPROTO, "publish: not 0 or 1");
	add_uint(&message, 1, UINT64_MAX);
	add_bytes(&message, 2, "", 0);
	refused_publish(EB_EPROTO, "publish.first_sequence: too large");
	for (int i = 0; i < CODEC_MAX_EVENTS + 1; i++) {
		add_bytes(&message, 2, "", 0);
	}
	refused_publish(EB_ETOOBIG, "publish.events: more than 1024");
	for (int i = 0; i < CODEC_MAX_EVENTS; i++) {
		add_bytes(&message, 2, "", 0);
	}
	ck_assert_int_eq(read_publish(), 0);
	event_block_unref(publish.block);
}
END_TEST

static int keep_delivery(void *ctx, const struct delivery_view *d)
{
	*(struct delivery_view *)ctx = *d;
	return 0;
}

/* Relays event i as a client would see it. */
static struct event relay(uint32_t i)
{
	struct deliver_item item = {.subscription = 3,
				    .attempt = 2,
				    .tag = UINT64_C(1) << 40,
				    .epoch = 9,
				    .event = published(i),
				    .method = slice_str("m"),
				    .position = slice_str("pos")};
	struct event seen = {0};
	struct delivery_view d;
	struct slice s;

	buf_reset(&written, SIZE_MAX);
	codec_write_deliver(&written, &item, 1);
	s = buf_slice(&written);
	ck_assert_int_eq(codec_read_deliver(slice_of(s.p + 4, s.n - 4), keep_delivery, &d, &err),
			 0);
	ck_assert_uint_eq(d.subscription, 3);
	ck_assert_uint_eq(d.attempt, 2);
	ck_assert_uint_eq(d.tag, UINT64_C(1) << 40);
	ck_assert_uint_eq(d.epoch, 9);
	expect(d.method, "m");
	expect(d.position, "pos");
	seen.raw = d.event;
	ck_assert_int_eq(event_parse(&seen), 0);
	return seen;
}

#define UUID "0d2f8c1e-5f5b-4d06-9f0e-6a3d1a1a4c3b"

START_TEST(an_event_is_relayed_as_it_came_plus_what_it_lacked)
{
	uint8_t space[CODEC_TAIL_MAX];
	struct event seen;

	add_full_event(&event);
	add_inner(&message, 2, &event);
	add_text(&event, 2, "t");
	add_inner(&message, 2, &event);
	ck_assert_int_eq(read_publish(), 0);
	codec_complete_event(published(0), UUID, 5, space);
	ck_assert_uint_eq(published(0)->tail.n, 0);
	seen = relay(0);
	expect(seen.id, "id-1");
	codec_complete_event(published(1), UUID, 1764000000001, space);
	expect(published(1)->id, UUID);
	seen = relay(1);
	expect(seen.id, UUID);
	expect(seen.topic, "t");
	ck_assert_int_eq(seen.published_at_ms, 1764000000001);
	event_block_unref(publish.block);
}
END_TEST

START_TEST(an_empty_id_that_was_spelled_out_does_not_become_a_second_one)
{
	uint8_t space[CODEC_TAIL_MAX];

	for (int variant = 0; variant < 4; variant++) {
		struct event seen;

		if (variant & 1) {
			add_text(&event, 1, "");
		}
		add_text(&event, 2, "t");
		add_uint(&event, 4, 0);
		add_text(&event, 3, "p");
		if (variant & 2) {
			add_text(&event, 5, "k");
		}
		add_inner(&message, 2, &event);
		add_bytes(&message, 2, "\x12\x01u", 3);
		ck_assert_int_eq(read_publish(), 0);
		expect(published(0)->topic, "t");
		expect(published(1)->topic, "u");
		codec_complete_event(published(0), UUID, -1, space);
		/* The client-side reader refuses a field that comes twice. */
		seen = relay(0);
		expect(seen.id, UUID);
		expect(seen.topic, "t");
		expect(seen.payload, "p");
		expect(seen.key, variant & 2 ? "k" : "");
		ck_assert_int_eq(seen.published_at_ms, -1);
		event_block_unref(publish.block);
	}
}
END_TEST

START_TEST(a_delivery_may_have_more_metadata_than_a_publish)
{
	struct delivery_view d;
	struct event seen = {0};

	for (int i = 0; i < 200; i++) {
		char key[16];

		snprintf(key, sizeof(key), "k%d", i);
		add_pair(&event, 8, key, "v");
	}
	add_inner(&message, 4, &event);
	add_inner(&event, 1, &message);
	add_inner(&frame, KIND(DELIVER), &event);
	ck_assert_int_eq(codec_read_deliver(buf_slice(&frame), keep_delivery, &d, &err), 0);
	seen.raw = d.event;
	ck_assert_int_eq(event_parse(&seen), 0);
	ck_assert_uint_eq(seen.metadata_count, 200);
}
END_TEST

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

static Eventbus__V1__Frame *read_written(struct arena *arena)
{
	Eventbus__V1__Frame *f;
	struct slice s = slice_of(buf_data(&written), written.len);

	ck_assert_ptr_nonnull(s.p);
	ck_assert_uint_eq(s.n - 4, (size_t)s.p[0] << 24 | (size_t)s.p[1] << 16 |
					   (size_t)s.p[2] << 8 | s.p[3]);
	ck_assert_int_eq(codec_read(CODEC_CLIENT, slice_of(s.p + 4, s.n - 4), arena, &f, &err), 0);
	/* Every writer by hand must write what protobuf-c would. */
	buf_reset(&frame, SIZE_MAX);
	codec_write(&frame, f);
	ck_assert_uint_eq(frame.len, s.n);
	ck_assert_mem_eq(buf_data(&frame), s.p, s.n);
	return f;
}

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

START_TEST(publish_and_deliver_are_written)
{
	struct event *events[3];
	struct deliver_item items[3];
	Eventbus__V1__Frame *f;
	struct arena arena;
	size_t size = 0;

	for (int i = 0; i < 3; i++) {
		add_full_event(&event);
		add_inner(&message, 2, &event);
	}
	ck_assert_int_eq(read_publish(), 0);
	for (uint32_t i = 0; i < 3; i++) {
		events[i] = published(i);
		items[i] = (struct deliver_item){
			.subscription = 1, .tag = 100 + i, .attempt = i, .event = published(i)};
		size += codec_deliver_item_size(&items[i]);
	}
	codec_write_publish(&written, 300, true, events, 3);
	f = read_written(&arena);
	ck_assert_uint_eq(f->publish->first_sequence, 300);
	ck_assert_uint_eq(f->publish->n_events, 3);
	ck_assert_uint_eq(f->publish->events[2]->n_metadata, 2);
	arena_finish(&arena);
	buf_reset(&written, 0);
	codec_write_deliver(&written, items, 3);
	f = read_written(&arena);
	ck_assert_uint_eq(f->deliver->n_deliveries, 3);
	ck_assert_uint_eq(written.len, 4 + 1 + 2 + size);
	ck_assert_str_eq(f->deliver->deliveries[2]->event->key, "key");
	arena_finish(&arena);
	event_block_unref(publish.block);
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
		publish_gives_views_of_every_field,
		fields_in_any_order_are_the_same,
		structure_errors_name_the_field,
		frames_of_wrong_shape_are_refused,
		an_event_is_relayed_as_it_came_plus_what_it_lacked,
		an_empty_id_that_was_spelled_out_does_not_become_a_second_one,
		a_delivery_may_have_more_metadata_than_a_publish,
		acks_are_read,
		published_is_written,
		settled_and_ack_are_written,
		publish_and_deliver_are_written,
		hello_alone_may_hold_what_we_do_not_know,
		too_many_patterns_are_refused,
		a_small_frame_cannot_take_much_memory,
		kinds_are_peeked,
		deliver_is_read_strictly_but_for_what_is_new,
	};

	return suite_run("codec", tests, sizeof(tests) / sizeof(tests[0]));
}
