/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of the codec share: bytes to read, what was read, what was written. */
#ifndef TESTS_UNIT_CODEC_KIT_H
#define TESTS_UNIT_CODEC_KIT_H

#include "proto/codec.h"
#include "proto/framer.h"
#include "tests/unit/bytes.h"
#include "tests/unit/suite.h"

#define KIND(x) EVENTBUS__V1__FRAME__KIND_##x

static struct buf event, message, frame, written;
static struct err_text err;
static struct shared_bytes *source;
static struct publish_frame publish;

/* Moves what is in message into a Publish frame and reads it. */
static inline int read_publish(void)
{
	buf_reset(&frame, SIZE_MAX);
	add_inner(&frame, KIND(PUBLISH), &message);
	shared_bytes_unref(source);
	source = shared_bytes_create(frame.len, NULL);
	memcpy(source->bytes, buf_data(&frame), frame.len);
	return codec_read_publish(slice_of(source->bytes, frame.len), source, 64, NULL, &publish,
				  &err);
}

static inline struct event *published(uint32_t i)
{
	return &event_block_events(publish.block)[i];
}

static inline void expect(struct slice s, const char *text)
{
	ck_assert_uint_eq(s.n, strlen(text));
	ck_assert_mem_eq(s.p ? (const void *)s.p : "", text, s.n);
}

static inline void add_full_event(struct buf *b)
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

static inline int keep_delivery(void *ctx, const struct delivery_view *d)
{
	*(struct delivery_view *)ctx = *d;
	return 0;
}

static inline Eventbus__V1__Frame *read_written(struct arena *arena)
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

#endif
