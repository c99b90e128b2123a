/* SPDX-License-Identifier: Apache-2.0 */
/* Publish in, the same events in a Deliver out. */
#include <stdio.h>

#include "tests/unit/codec_kit.h"

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
		publish_and_deliver_are_written,
	};

	return suite_run("codec publish", tests, sizeof(tests) / sizeof(tests[0]));
}
