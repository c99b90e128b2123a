/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The codec as the daemon and the client use it. What a read Publish says is relayed, read again
 * and the same; no frame makes either side crash or hold memory.
 */
#include <stdlib.h>
#include <string.h>

#include "proto/codec.h"
#include "proto/framer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ID "0d2f8c1e-5f5b-4d06-9f0e-6a3d1a1a4c3b"

static void require(int holds)
{
	if (!holds) {
		abort();
	}
}

struct relay {
	const struct event *events;
	uint32_t n;
};

static int on_delivery(void *ctx, const struct delivery_view *d)
{
	struct relay *r = ctx;
	const struct event *want = &r->events[r->n++];
	struct event got = {.raw = d->event};
	struct metadata_pair a, b;
	size_t i = 0, k = 0;

	require(event_parse(&got) == 0);
	require(slice_eq(got.id, want->id) && slice_eq(got.topic, want->topic));
	require(slice_eq(got.payload, want->payload) && slice_eq(got.key, want->key));
	require(slice_eq(got.content_type, want->content_type));
	require(slice_eq(got.message_type, want->message_type));
	require(got.published_at_ms == want->published_at_ms);
	require(got.metadata_count == want->metadata_count);
	require(got.metadata_bytes == want->metadata_bytes);
	while (event_metadata_next(want, &i, &a)) {
		require(event_metadata_next(&got, &k, &b));
		require(slice_eq(a.key, b.key) && slice_eq(a.value, b.value));
	}
	return 0;
}

static void relay(const struct publish_frame *p)
{
	struct event *events = event_block_events(p->block);
	struct deliver_item *items = calloc(p->n, sizeof(*items));
	struct relay r = {.events = events};
	struct err_text err;
	struct buf out;

	buf_init(&out);
	for (uint32_t i = 0; i < p->n; i++) {
		codec_complete_event(&events[i], ID, 1 + (int64_t)i,
				     event_block_extra(p->block) + (size_t)i * CODEC_TAIL_MAX);
		items[i] = (struct deliver_item){.subscription = 1,
						 .attempt = 1,
						 .tag = p->first_sequence + i,
						 .event = &events[i]};
	}
	codec_write_deliver(&out, items, p->n);
	require(codec_read_deliver(slice_of(buf_data(&out) + FRAME_HEADER, out.len - FRAME_HEADER),
				   on_delivery, &r, &err) == 0);
	require(r.n == p->n);
	buf_finish(&out);
	free(items);
}

static void read_publish(const uint8_t *data, size_t size)
{
	struct shared_bytes *source = shared_bytes_create(size, NULL);
	struct publish_frame p;
	struct budget budget;
	struct err_text err;

	budget_init(&budget, NULL, SIZE_MAX);
	memcpy(source->bytes, data, size);
	if (codec_read_publish(slice_of(source->bytes, size), source, CODEC_TAIL_MAX, &budget, &p,
			       &err) == 0) {
		relay(&p);
		event_block_unref(p.block);
	}
	require(source->refs == 1 && budget.used == 0);
	shared_bytes_unref(source);
}

static int ignore(void *ctx, const struct delivery_view *d)
{
	struct event e = {.raw = d->event};

	(void)ctx;
	require(event_parse(&e) == 0);
	return 0;
}

static void read_other(enum codec_side side, struct slice body)
{
	Eventbus__V1__Frame *frame;
	struct err_text err;
	struct arena arena;

	if (codec_read(side, body, &arena, &frame, &err) == 0) {
		struct buf out;

		buf_init(&out);
		codec_write(&out, frame);
		buf_finish(&out);
	} else {
		require(err.s[0] != '\0');
	}
	arena_finish(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice body = slice_of(data, size);
	struct ack_frame ack = {0};
	struct err_text err;

	switch (codec_kind(body)) {
	case EVENTBUS__V1__FRAME__KIND_PUBLISH:
		read_publish(data, size);
		break;
	case EVENTBUS__V1__FRAME__KIND_ACK:
		codec_read_ack(body, &ack, &err);
		ranges_finish(&ack.tags);
		break;
	case EVENTBUS__V1__FRAME__KIND_DELIVER:
		codec_read_deliver(body, ignore, NULL, &err);
		break;
	default:
		break;
	}
	read_other(CODEC_DAEMON, body);
	read_other(CODEC_CLIENT, body);
	return 0;
}
