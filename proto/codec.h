/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames <-> structs. Reading is strict: known fields and enum values, right wire
 * types, each singular field and the oneof once, UTF-8 without NUL, element
 * counts within limits, unique map keys. Publish, Ack and Deliver go through hand code, everything
 * else through scan.h and then protobuf-c into an arena capped at 8x the frame + 64 KiB. Pure.
 */
#ifndef PROTO_CODEC_H
#define PROTO_CODEC_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/budget.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/event.h"
#include "base/ranges.h"
#include "proto/eventbus/v1/eventbus.pb-c.h"

#define CODEC_MAX_EVENTS   1024 /* per Publish or Deliver frame */
#define CODEC_MAX_RANGES   4096
#define CODEC_MAX_PATTERNS 64

enum codec_side {
	CODEC_DAEMON, /* reads what clients send: unknown fields are errors naming the number */
	CODEC_CLIENT, /* reads what the daemon sends: unknown fields and enum values are skipped */
};

/*
 * The kind of a frame: the field number in Frame's oneof (Eventbus__V1__Frame__KindCase), peeked
 * from its first byte(s), not validated. 0 when the body is not a frame at all.
 */
int codec_kind(struct slice body);
/* Whether Frame has a kind of that number in this version. */
bool codec_known_kind(uint32_t field);

/* Publish, in one pass. The events are views into source, tails not yet added. */
struct publish_frame {
	uint64_t first_sequence;
	bool positions;
	uint32_t n;
	struct event_block *block; /* n events; the reference is the caller's */
};
/*
 * 0, or EB_EPROTO / EB_ETOOBIG with a text that names the field ("publish.events[3].topic: not
 * UTF-8"). extra: bytes of event_block_extra the caller wants per event (for ids it will add).
 */
int codec_read_publish(struct slice body, struct shared_bytes *source, size_t extra,
		       struct budget *budget, struct publish_frame *out, struct err_text *err);

/* Ack, in one pass, without allocation beyond tags. */
struct ack_frame {
	struct ranges tags; /* initialised by the caller, cleared here; first <= last is checked */
	bool settled;
	uint64_t request;
};
int codec_read_ack(struct slice body, struct ack_frame *out, struct err_text *err);

/* Deliver, for clients. cb once per delivery; slices point into body. Stops when cb returns
 * non-zero. */
struct delivery_view {
	uint32_t subscription, attempt;
	uint64_t tag, epoch;
	struct slice method, position;
	struct slice event; /* encoded Event */
	struct event views; /* of event: raw and the fields; in no block */
};
int codec_read_deliver(struct slice body, int (*cb)(void *ctx, const struct delivery_view *d),
		       void *ctx, struct err_text *err);

/*
 * Any other frame: scan, then unpack into the arena (initialised here; the frame lives in it until
 * arena_finish). For CODEC_CLIENT also Publish and Deliver are accepted.
 */
int codec_read(enum codec_side side, struct slice body, struct arena *arena,
	       Eventbus__V1__Frame **out, struct err_text *err);

/* ---- writing: each appends one whole frame, header included ---------------- */

void codec_write(struct buf *out, const Eventbus__V1__Frame *frame);

struct deliver_item {
	uint32_t subscription, attempt;
	uint64_t tag, epoch;
	const struct event *event;
	struct slice method, position;
};
/* Bytes the item takes inside a Deliver frame, so that the caller can bound frames. */
size_t codec_deliver_item_size(const struct deliver_item *item);
void codec_write_deliver(struct buf *out, const struct deliver_item *items, uint32_t n);

/* For clients. events: encoded as raw + tail. */
void codec_write_publish(struct buf *out, uint64_t first_sequence, bool positions,
			 struct event *const *events, uint32_t n);
void codec_write_ack(struct buf *out, const struct ranges *tags, bool settled, uint64_t request);

struct published_failure {
	struct range range;
	uint32_t outcome, reason; /* of the schema */
	const char *text;
};
struct published_position {
	uint64_t sequence;
	const char *position; /* NUL-terminated, borrowed */
	struct slice id;
	bool duplicate;
};
struct published_frame {
	const struct ranges *confirmed; /* may be NULL */
	const struct published_failure *failures;
	const struct published_position *positions;
	uint32_t n_failures, n_positions;
	bool has_credit;
	uint32_t credit_events;
	uint64_t credit_bytes;
};
void codec_write_published(struct buf *out, const struct published_frame *p);
void codec_write_settled(struct buf *out, uint64_t request, const struct ranges *settled,
			 const struct ranges *stale);

/*
 * Adds what the daemon owes an event that came without it: fills e->tail (and e->id,
 * e->published_at_ms) from space, at least CODEC_TAIL_MAX bytes that live as long as the event.
 * id: 36 characters, used only if e->id is empty; now_ms only if e->published_at_ms is 0.
 */
#define CODEC_TAIL_MAX (2 + 36 + 1 + 10)
void codec_complete_event(struct event *e, const char *id, int64_t now_ms, uint8_t *space);

#endif
