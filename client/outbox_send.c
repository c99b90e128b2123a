/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The outbox's way to the socket: runs of queued entries become Publish frames, within the
 * daemon's credit. The encoded events are copied as they lie; only the frame's head is new.
 */
#include <assert.h>
#include <string.h>

#include "base/wire.h"
#include "client/internal.h"

#define FRAME_TARGET	((size_t)256 << 10) /* bytes in one frame, unless one event is larger */
#define OUT_TARGET	((size_t)512 << 10) /* encoded ahead of the socket */
#define PUBLISH_FIELD	0x0a		    /* Frame.publish */
#define SEQUENCE_FIELD	0x08
#define POSITIONS_FIELD 0x18

static bool fits_credit(const struct outbox *o, const struct outbox_entry *e, uint32_t events,
			uint64_t bytes)
{
	if (o->sent_events + events >= o->credit_events) {
		return false;
	}
	if (o->sent_bytes + bytes + e->event_size <= o->credit_bytes) {
		return true;
	}
	/* It will never fit: alone, and the daemon says what is wrong with it. */
	return o->sent_events + events == 0 && o->credit_bytes >= o->full_bytes;
}

/* How many entries from o->next on make the next frame; their bytes in *size. */
static uint32_t frame_length(const struct eventbus *c, size_t *size, uint64_t *event_bytes)
{
	const struct outbox *o = &c->outbox;
	size_t largest = c->max_frame - OUTBOX_FRAME_OVERHEAD;
	uint32_t n = 0;

	largest = largest < FRAME_TARGET ? largest : FRAME_TARGET;
	*size = 0;
	*event_bytes = 0;
	while (o->next + n < o->count && n < c->max_events) {
		const struct outbox_entry *e = ebus_outbox_entry(o, o->next + n);

		if (e->state != OUTBOX_QUEUED || !fits_credit(o, e, n, *event_bytes) ||
		    (n && *size + e->size > largest)) {
			break;
		}
		*size += e->size;
		*event_bytes += e->event_size;
		n++;
	}
	return n;
}

/* Copies n entries; neighbours in one chunk go as one piece. */
static uint8_t *copy_entries(struct outbox *o, uint32_t n, uint8_t *p)
{
	const uint8_t *from = ebus_outbox_entry(o, o->next)->bytes;
	size_t size = 0;

	for (uint32_t i = 0; i < n; i++) {
		struct outbox_entry *e = ebus_outbox_entry(o, o->next + i);

		e->state = OUTBOX_SENT;
		e->was_sent = true;
		e->opens_frame = i == 0;
		if (from + size != e->bytes) {
			memcpy(p, from, size);
			p += size;
			from = e->bytes;
			size = 0;
		}
		size += e->size;
	}
	memcpy(p, from, size);
	return p + size;
}

static void write_frame(struct eventbus *c, uint32_t n, size_t size)
{
	struct outbox *o = &c->outbox;
	uint64_t sequence = o->head_sequence + o->next;
	size_t message = 1 + wire_varint_size(sequence) + size + (c->o.positions ? 2 : 0);
	size_t body = 1 + wire_varint_size(message) + message;
	uint8_t *start = buf_reserve(&c->link.out, FRAME_HEADER + body), *p = start;

	for (int shift = 24; shift >= 0; shift -= 8) {
		*p++ = (uint8_t)(body >> shift);
	}
	*p++ = PUBLISH_FIELD;
	p = wire_varint_put(p, message);
	*p++ = SEQUENCE_FIELD;
	p = wire_varint_put(p, sequence);
	p = copy_entries(o, n, p);
	if (c->o.positions) {
		*p++ = POSITIONS_FIELD;
		*p++ = 1;
	}
	assert((size_t)(p - start) == FRAME_HEADER + body);
	buf_added(&c->link.out, FRAME_HEADER + body);
}

/* What no frame of this daemon can hold is answered here. */
static bool refuse_oversize(struct eventbus *c)
{
	const struct eventbus_result r = {
		.outcome = EVENTBUS_PERMANENT,
		.reason = EVENTBUS_REASON_TOO_LARGE,
		.text = "larger than the daemon's largest frame (socket.max_frame)",
		.position = "",
	};
	struct outbox_entry *e = ebus_outbox_entry(&c->outbox, c->outbox.next);

	if (e->state != OUTBOX_QUEUED || e->size + OUTBOX_FRAME_OVERHEAD <= c->max_frame) {
		return false;
	}
	e->state = OUTBOX_DONE;
	ebus_outbox_tell(c, e, &r);
	return true;
}

/* Steps over what needs no sending; true when o->next is to be sent. */
static bool next_queued(struct eventbus *c)
{
	struct outbox *o = &c->outbox;

	while (o->next < o->count) {
		if (ebus_outbox_entry(o, o->next)->state == OUTBOX_QUEUED && !refuse_oversize(c)) {
			return true;
		}
		o->next++;
	}
	return false;
}

bool ebus_outbox_pump(struct eventbus *c)
{
	struct outbox *o = &c->outbox;
	bool any = false;

	while (!o->held && c->link.out.len < OUT_TARGET && next_queued(c)) {
		uint64_t event_bytes;
		size_t size;
		uint32_t n = frame_length(c, &size, &event_bytes);

		if (n == 0) {
			break;
		}
		write_frame(c, n, size);
		o->sent_events += n;
		o->sent_bytes += event_bytes;
		o->next += n;
		any = true;
	}
	ebus_outbox_shed(o);
	return any;
}
