/* SPDX-License-Identifier: Apache-2.0 */
/* The strict reader of Publish: see codec.h. */
#include "proto/codec.h"

#include <assert.h>
#include <inttypes.h>

#include "proto/reader.h"

/* Everything of a Publish but its events, which are counted. */
static int read_publish_head(struct slice message, struct publish_frame *out, struct err_text *err)
{
	struct wire w = wire_of(message);
	uint32_t seen = 0, tag;
	struct slice skipped;
	int rc = 0;

	while (rc == 0 && w.p < w.end) {
		rc = wire_tag(&w, &tag);
		if (rc != 0) {
			break;
		}
		switch (tag) {
		case WIRE_TAG(1, WIRE_VARINT):
			rc = read_once(&w, &seen, tag);
			rc = rc ? rc : wire_varint(&w, &out->first_sequence);
			break;
		case WIRE_TAG(2, WIRE_LENGTH):
			rc = wire_bytes(&w, &skipped);
			out->n++;
			break;
		case WIRE_TAG(3, WIRE_VARINT):
			rc = read_once(&w, &seen, tag);
			rc = rc ? rc : wire_bool(&w, &out->positions);
			break;
		default:
			if (tag >> 3 > 3) {
				return err_set(err, EB_EPROTO,
					       "publish: unknown field %" PRIu32
					       " (not supported by this version)",
					       tag >> 3);
			}
			rc = wire_fail(&w, "a field with the wrong wire type");
		}
	}
	if (rc != 0) {
		return err_set(err, rc, "publish: %s", w.why);
	}
	if (out->n == 0) {
		return err_set(err, EB_EPROTO, "publish.events: empty");
	}
	if (out->n > CODEC_MAX_EVENTS) {
		return err_set(err, EB_ETOOBIG, "publish.events: more than %d", CODEC_MAX_EVENTS);
	}
	if (out->first_sequence > UINT64_MAX - out->n) {
		return err_set(err, EB_EPROTO, "publish.first_sequence: too large");
	}
	return 0;
}

/*
 * Cuts idle bytes out of an event, in the buffer that it was received into: what comes before
 * moves up. Only this event looks at these bytes. Else the id or time that the daemon adds would be
 * the second one.
 */
static struct slice cut(struct slice raw, struct slice idle, struct shared_bytes *source)
{
	uint8_t *p = source->bytes + (raw.p - source->bytes);
	size_t before = (size_t)(idle.p - raw.p);

	memmove(p + idle.n, p, before);
	return slice_of(p + idle.n, raw.n - idle.n);
}

static int read_publish_event(const struct place *at, struct slice raw, struct shared_bytes *source,
			      struct event *e)
{
	struct event_block *block = e->block;
	struct slice idle;
	int rc = read_event(at, raw, e, &idle);

	while (rc == 0 && idle.p) {
		raw = cut(raw, idle, source);
		*e = (struct event){.block = block};
		rc = read_event(at, raw, e, &idle);
	}
	e->raw = raw;
	return rc;
}

static int read_publish_events(struct slice message, struct shared_bytes *source, struct event *e,
			       struct err_text *err)
{
	struct place at = {.list = "publish.events", .err = err};
	struct wire w = wire_of(message);
	struct slice raw;
	uint32_t tag;
	uint64_t v;
	int rc = 0;

	/* The head was read: only events need looking at. */
	while (rc == 0 && w.p < w.end && wire_tag(&w, &tag) == 0) {
		if (tag != WIRE_TAG(2, WIRE_LENGTH)) {
			rc = wire_varint(&w, &v);
			continue;
		}
		rc = wire_bytes(&w, &raw);
		assert(rc == 0);
		rc = read_publish_event(&at, raw, source, &e[at.index]);
		at.index++;
	}
	return rc;
}

int codec_read_publish(struct slice body, struct shared_bytes *source, size_t extra,
		       struct budget *budget, struct publish_frame *out, struct err_text *err)
{
	struct slice message;
	int rc;

	*out = (struct publish_frame){0};
	rc = read_frame(body, WIRE_TAG(EVENTBUS__V1__FRAME__KIND_PUBLISH, WIRE_LENGTH), "publish",
			false, &message, err);
	rc = rc ? rc : read_publish_head(message, out, err);
	if (rc != 0) {
		return rc;
	}
	out->block = event_block_create(out->n, out->n * extra, source, budget);
	rc = read_publish_events(message, source, event_block_events(out->block), err);
	if (rc != 0) {
		event_block_unref(out->block);
		out->block = NULL;
	}
	return rc;
}
