/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An event: the encoded eventbus.v1.Event as bytes, and views into them. Events
 * live in blocks (one allocation for a batch); a block is reference counted and
 * goes when its last event is unreferenced. Loop thread only.
 *
 * An event that came from a client keeps the bytes that were received (raw) and
 * a tail with the fields the daemon added (id, published_at_ms); encoding it for
 * a delivery is two copies. Adapters build theirs with event_build, which writes
 * the same encoding; the field numbers are those of proto/eventbus/v1/eventbus.proto.
 */
#ifndef BASE_EVENT_H
#define BASE_EVENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/budget.h"
#include "base/slice.h"

/* Field numbers of eventbus.v1.Event. */
enum event_field {
	EVENT_ID = 1,
	EVENT_TOPIC = 2,
	EVENT_PAYLOAD = 3,
	EVENT_PUBLISHED_AT_MS = 4,
	EVENT_KEY = 5,
	EVENT_CONTENT_TYPE = 6,
	EVENT_MESSAGE_TYPE = 7,
	EVENT_METADATA = 8, /* map entry: 1 = key, 2 = value */
};

struct event_block;

struct event {
	struct event_block *block;
	struct slice raw;  /* encoded fields, without id or time when the client left them out */
	struct slice tail; /* encoded fields to add behind raw; may be empty */
	struct slice id, topic, payload, key, content_type, message_type;
	int64_t published_at_ms; /* unix */
	uint32_t metadata_count;
	uint32_t metadata_bytes; /* keys and values */
};

/*
 * Where received bytes live: a reference counted piece of memory that several
 * blocks may share (a session's read buffer). free_cb is called when the last reference goes.
 */
struct shared_bytes {
	uint32_t refs;
	size_t size;
	struct budget *budget; /* charged `size` at creation; may be NULL */
	uint8_t bytes[];
};
struct shared_bytes *shared_bytes_create(size_t size, struct budget *budget); /* refs = 1 */
struct shared_bytes *shared_bytes_ref(struct shared_bytes *s);
void shared_bytes_unref(struct shared_bytes *s);

/*
 * A block for n events plus extra bytes of its own (ids, copies). The events
 * are zeroed with block set; refs = 1, the creator's. source (may be NULL) is referenced. The
 * budget (may be NULL, outlives the block) is charged for the block's own memory.
 */
struct event_block *event_block_create(uint32_t n, size_t extra, struct shared_bytes *source,
				       struct budget *budget);
struct event *event_block_events(struct event_block *b);
uint8_t *event_block_extra(struct event_block *b);
void event_block_ref(struct event_block *b);
void event_block_unref(struct event_block *b);

static inline struct event *event_ref(struct event *e)
{
	event_block_ref(e->block);
	return e;
}
/* Accepts NULL. */
static inline void event_unref(struct event *e)
{
	if (e) {
		event_block_unref(e->block);
	}
}

/* Bytes of the event as encoded: what credits, windows and limits count. */
static inline size_t event_size(const struct event *e)
{
	return e->raw.n + e->tail.n;
}

struct metadata_pair {
	struct slice key, value;
};
/* Walks the metadata in the order it was written. Start with pos = 0; false at the end. */
bool event_metadata_next(const struct event *e, size_t *pos, struct metadata_pair *out);
/* Case-sensitive; false if absent. */
bool event_metadata_get(const struct event *e, const char *key, struct slice *value);

/* What event_build makes an event of. Slices are copied. */
struct event_fields {
	struct slice id, topic, payload, key, content_type, message_type;
	int64_t published_at_ms;
	const struct metadata_pair *metadata;
	uint32_t metadata_count;
};
/* One event in a block of its own; the reference is the caller's. Checks nothing: see event_check.
 */
struct event *event_build(const struct event_fields *f, struct budget *budget);
/* A copy that does not pin the source of the original. */
struct event *event_copy(const struct event *e, struct budget *budget);

/*
 * Fills views and counts of e from e->raw, which must be a well-formed Event
 * (it passed the scan, or event_build wrote it). 0, or EB_EPROTO if it is not well-formed.
 */
int event_parse(struct event *e);

#endif
