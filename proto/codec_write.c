/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The writers of frequent frames, by hand: sizes first, then the bytes, straight into the
 * session's buffer. Field numbers below are those of eventbus.proto; all are below 16, so a
 * tag is one byte.
 */
#include "proto/codec.h"

#include <assert.h>

#include "proto/framer.h"
#include "proto/wire.h"

/* As proto3 has it: what is zero or empty is not written. */
static inline size_t uint_size(uint64_t v)
{
	return v ? 1 + wire_varint_size(v) : 0;
}

static inline uint8_t *put_uint(uint8_t *p, unsigned field, uint64_t v)
{
	if (v == 0) {
		return p;
	}
	*p++ = (uint8_t)WIRE_TAG(field, WIRE_VARINT);
	return wire_varint_put(p, v);
}

/* A field of n bytes that is written whatever n is: an element of a list. */
static inline size_t part_size(size_t n)
{
	return 1 + wire_varint_size(n) + n;
}

static inline uint8_t *put_part(uint8_t *p, unsigned field, size_t n)
{
	*p++ = (uint8_t)WIRE_TAG(field, WIRE_LENGTH);
	return wire_varint_put(p, n);
}

static inline size_t bytes_size(size_t n)
{
	return n ? part_size(n) : 0;
}

static inline uint8_t *put_raw(uint8_t *p, struct slice s)
{
	if (s.n > 0) {
		memcpy(p, s.p, s.n);
	}
	return p + s.n;
}

static inline uint8_t *put_bytes(uint8_t *p, unsigned field, struct slice s)
{
	return s.n ? put_raw(put_part(p, field, s.n), s) : p;
}

/* Text that may be a broker's. */
static uint8_t *put_text(uint8_t *p, unsigned field, const char *text)
{
	struct slice s = slice_str(text);
	uint8_t *end = put_bytes(p, field, s);

	wire_text_repair(end - s.n, s.n);
	return end;
}

/* Room for a frame whose one message has n bytes, begun: what follows is the message. */
static uint8_t *begin(struct buf *out, unsigned kind, size_t n, size_t *whole)
{
	size_t body = wire_varint_size(WIRE_TAG(kind, WIRE_LENGTH)) + wire_varint_size(n) + n;
	uint8_t *p;

	assert(body <= UINT32_MAX);
	*whole = FRAME_HEADER + body;
	p = buf_reserve(out, *whole);
	*p++ = (uint8_t)(body >> 24);
	*p++ = (uint8_t)(body >> 16);
	*p++ = (uint8_t)(body >> 8);
	*p++ = (uint8_t)body;
	p = wire_varint_put(p, WIRE_TAG(kind, WIRE_LENGTH));
	return wire_varint_put(p, n);
}

/* ---- ranges ------------------------------------------------------------------ */

static size_t range_size(const struct range *r)
{
	return uint_size(r->first) + uint_size(r->last);
}

static uint8_t *put_range(uint8_t *p, unsigned field, const struct range *r)
{
	p = put_part(p, field, range_size(r));
	p = put_uint(p, 1, r->first);
	return put_uint(p, 2, r->last);
}

static size_t ranges_size(const struct ranges *r)
{
	size_t n = 0;

	for (size_t i = 0; r && i < r->n; i++) {
		n += part_size(range_size(&r->v[i]));
	}
	return n;
}

static uint8_t *put_ranges(uint8_t *p, unsigned field, const struct ranges *r)
{
	for (size_t i = 0; r && i < r->n; i++) {
		p = put_range(p, field, &r->v[i]);
	}
	return p;
}

/* ---- frames ------------------------------------------------------------------ */

static size_t delivery_size(const struct deliver_item *d)
{
	return uint_size(d->subscription) + uint_size(d->tag) + uint_size(d->attempt) +
	       part_size(event_size(d->event)) + bytes_size(d->method.n) +
	       bytes_size(d->position.n) + uint_size(d->epoch);
}

size_t codec_deliver_item_size(const struct deliver_item *item)
{
	return part_size(delivery_size(item));
}

static uint8_t *put_event(uint8_t *p, unsigned field, const struct event *e)
{
	p = put_part(p, field, event_size(e));
	p = put_raw(p, e->raw);
	return put_raw(p, e->tail);
}

void codec_write_deliver(struct buf *out, const struct deliver_item *items, uint32_t n)
{
	size_t size = 0, whole;
	uint8_t *p;

	for (uint32_t i = 0; i < n; i++) {
		size += codec_deliver_item_size(&items[i]);
	}
	p = begin(out, EVENTBUS__V1__FRAME__KIND_DELIVER, size, &whole);
	for (uint32_t i = 0; i < n; i++) {
		const struct deliver_item *d = &items[i];

		p = put_part(p, 1, delivery_size(d));
		p = put_uint(p, 1, d->subscription);
		p = put_uint(p, 2, d->tag);
		p = put_uint(p, 3, d->attempt);
		p = put_event(p, 4, d->event);
		p = put_bytes(p, 5, d->method);
		p = put_bytes(p, 6, d->position);
		p = put_uint(p, 7, d->epoch);
	}
	buf_added(out, whole);
}

void codec_write_publish(struct buf *out, uint64_t first_sequence, bool positions,
			 struct event *const *events, uint32_t n)
{
	size_t size = uint_size(first_sequence) + uint_size(positions), whole;
	uint8_t *p;

	for (uint32_t i = 0; i < n; i++) {
		size += part_size(event_size(events[i]));
	}
	p = begin(out, EVENTBUS__V1__FRAME__KIND_PUBLISH, size, &whole);
	p = put_uint(p, 1, first_sequence);
	for (uint32_t i = 0; i < n; i++) {
		p = put_event(p, 2, events[i]);
	}
	put_uint(p, 3, positions);
	buf_added(out, whole);
}

void codec_write_ack(struct buf *out, const struct ranges *tags, bool settled, uint64_t request)
{
	size_t size = ranges_size(tags) + uint_size(settled) + uint_size(request), whole;
	uint8_t *p = begin(out, EVENTBUS__V1__FRAME__KIND_ACK, size, &whole);

	p = put_ranges(p, 1, tags);
	p = put_uint(p, 2, settled);
	put_uint(p, 3, request);
	buf_added(out, whole);
}

static size_t failure_size(const struct published_failure *f)
{
	return part_size(range_size(&f->range)) + uint_size(f->outcome) + uint_size(f->reason) +
	       bytes_size(strlen(f->text));
}

static uint8_t *put_failure(uint8_t *p, const struct published_failure *f)
{
	p = put_part(p, 2, failure_size(f));
	p = put_range(p, 1, &f->range);
	p = put_uint(p, 2, f->outcome);
	p = put_uint(p, 3, f->reason);
	return put_text(p, 4, f->text);
}

static size_t position_size(const struct published_position *f)
{
	return uint_size(f->sequence) + bytes_size(strlen(f->position)) + uint_size(f->duplicate) +
	       bytes_size(f->id.n);
}

static uint8_t *put_position(uint8_t *p, const struct published_position *f)
{
	p = put_part(p, 3, position_size(f));
	p = put_uint(p, 1, f->sequence);
	p = put_text(p, 2, f->position);
	p = put_uint(p, 3, f->duplicate);
	return put_bytes(p, 4, f->id);
}

void codec_write_published(struct buf *out, const struct published_frame *f)
{
	size_t credit = uint_size(f->credit_events) + uint_size(f->credit_bytes);
	size_t size = ranges_size(f->confirmed) + (f->has_credit ? part_size(credit) : 0), whole;
	uint8_t *p;

	for (uint32_t i = 0; i < f->n_failures; i++) {
		size += part_size(failure_size(&f->failures[i]));
	}
	for (uint32_t i = 0; i < f->n_positions; i++) {
		size += part_size(position_size(&f->positions[i]));
	}
	p = begin(out, EVENTBUS__V1__FRAME__KIND_PUBLISHED, size, &whole);
	p = put_ranges(p, 1, f->confirmed);
	for (uint32_t i = 0; i < f->n_failures; i++) {
		p = put_failure(p, &f->failures[i]);
	}
	for (uint32_t i = 0; i < f->n_positions; i++) {
		p = put_position(p, &f->positions[i]);
	}
	if (f->has_credit) {
		p = put_part(p, 4, credit);
		p = put_uint(p, 1, f->credit_events);
		put_uint(p, 2, f->credit_bytes);
	}
	buf_added(out, whole);
}

void codec_write_settled(struct buf *out, uint64_t request, const struct ranges *settled,
			 const struct ranges *stale)
{
	size_t size = uint_size(request) + ranges_size(settled) + ranges_size(stale), whole;
	uint8_t *p = begin(out, EVENTBUS__V1__FRAME__KIND_SETTLED, size, &whole);

	p = put_uint(p, 1, request);
	p = put_ranges(p, 2, settled);
	put_ranges(p, 3, stale);
	buf_added(out, whole);
}

void codec_complete_event(struct event *e, const char *id, int64_t now_ms, uint8_t *space)
{
	uint8_t *p = space;

	assert(e->tail.n == 0);
	if (e->id.n == 0) {
		p = put_bytes(p, EVENT_ID, slice_of(id, 36));
		e->id = slice_of(p - 36, 36);
	}
	if (e->published_at_ms == 0) {
		p = put_uint(p, EVENT_PUBLISHED_AT_MS, (uint64_t)now_ms);
		e->published_at_ms = now_ms;
	}
	e->tail = slice_of(space, (size_t)(p - space));
}
