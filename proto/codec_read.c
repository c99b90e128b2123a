/* SPDX-License-Identifier: Apache-2.0 */
/* The readers of Ack and Deliver, by hand: see codec.h. */
#include "proto/codec.h"

#include <inttypes.h>

#include "proto/reader.h"

/* ---- Ack -------------------------------------------------------------------- */

static int read_range(const struct place *at, struct slice bytes, struct range *r)
{
	struct wire w = wire_of(bytes);
	uint32_t seen = 0, tag;
	int rc;

	*r = (struct range){0, 0};
	while (w.p < w.end) {
		rc = wire_tag(&w, &tag);
		if (rc == 0 && tag == WIRE_TAG(1, WIRE_VARINT)) {
			rc = read_once(&w, &seen, tag);
			rc = rc ? rc : wire_varint(&w, &r->first);
		} else if (rc == 0 && tag == WIRE_TAG(2, WIRE_VARINT)) {
			rc = read_once(&w, &seen, tag);
			rc = rc ? rc : wire_varint(&w, &r->last);
		} else if (rc == 0) {
			rc = place_other(at, &w, tag, 2);
			if (rc != 0) {
				return rc;
			}
		}
		if (rc != 0) {
			return place_bad(at, NULL, rc, w.why);
		}
	}
	return r->first <= r->last ? 0 : place_bad(at, NULL, EB_EPROTO, "first is above last");
}

static int read_ack_tags(struct place *at, struct wire *w, struct ranges *tags)
{
	struct slice bytes;
	struct range r;
	int rc;

	if (wire_bytes(w, &bytes) != 0) {
		return place_bad(at, NULL, EB_EPROTO, w->why);
	}
	if (at->index == CODEC_MAX_RANGES) {
		return err_set(at->err, EB_ETOOBIG, "ack.tags: more than %d", CODEC_MAX_RANGES);
	}
	rc = read_range(at, bytes, &r);
	if (rc == 0) {
		ranges_add(tags, r.first, r.last);
		at->index++;
	}
	return rc;
}

int codec_read_ack(struct slice body, struct ack_frame *out, struct err_text *err)
{
	struct place at = {.list = "ack.tags", .err = err};
	struct slice message;
	uint32_t seen = 0, tag;
	struct wire w;
	int rc;

	ranges_clear(&out->tags);
	out->settled = false;
	out->request = 0;
	rc = read_frame(body, WIRE_TAG(EVENTBUS__V1__FRAME__KIND_ACK, WIRE_LENGTH), "ack", false,
			&message, err);
	if (rc != 0) {
		return rc;
	}
	w = wire_of(message);
	while (w.p < w.end) {
		rc = wire_tag(&w, &tag);
		if (rc == 0 && tag == WIRE_TAG(1, WIRE_LENGTH)) {
			rc = read_ack_tags(&at, &w, &out->tags);
			if (rc != 0) {
				return rc;
			}
		} else if (rc == 0 && tag == WIRE_TAG(2, WIRE_VARINT)) {
			rc = read_once(&w, &seen, tag);
			rc = rc ? rc : wire_bool(&w, &out->settled);
		} else if (rc == 0 && tag == WIRE_TAG(3, WIRE_VARINT)) {
			rc = read_once(&w, &seen, tag);
			rc = rc ? rc : wire_varint(&w, &out->request);
		} else if (rc == 0 && tag >> 3 > 3) {
			return err_set(err, EB_EPROTO,
				       "ack: unknown field %" PRIu32
				       " (not supported by this version)",
				       tag >> 3);
		} else if (rc == 0) {
			rc = wire_fail(&w, "a field with the wrong wire type");
		}
		if (rc != 0) {
			return err_set(err, rc, "ack: %s", w.why);
		}
	}
	return 0;
}

/* ---- Deliver ---------------------------------------------------------------- */

static int read_delivery(const struct place *at, struct slice bytes, struct delivery_view *d)
{
	struct wire w = wire_of(bytes);
	uint32_t seen = 0, tag;
	struct slice idle;
	int rc;

	*d = (struct delivery_view){0};
	while (w.p < w.end) {
		if (wire_tag(&w, &tag) != 0) {
			return place_bad(at, NULL, EB_EPROTO, w.why);
		}
		rc = tag >> 3 <= 7 ? read_once(&w, &seen, tag) : 0;
		if (rc != 0) {
			return place_bad(at, NULL, rc, w.why);
		}
		switch (tag) {
		case WIRE_TAG(1, WIRE_VARINT):
			rc = wire_u32(&w, &d->subscription);
			break;
		case WIRE_TAG(2, WIRE_VARINT):
			rc = wire_varint(&w, &d->tag);
			break;
		case WIRE_TAG(3, WIRE_VARINT):
			rc = wire_u32(&w, &d->attempt);
			break;
		case WIRE_TAG(4, WIRE_LENGTH):
			rc = wire_bytes(&w, &d->event);
			break;
		case WIRE_TAG(5, WIRE_LENGTH):
			rc = wire_text(&w, &d->method);
			break;
		case WIRE_TAG(6, WIRE_LENGTH):
			rc = wire_text(&w, &d->position);
			break;
		case WIRE_TAG(7, WIRE_VARINT):
			rc = wire_varint(&w, &d->epoch);
			break;
		default:
			rc = place_other(at, &w, tag, 7);
			if (rc != 0) {
				return rc;
			}
		}
		if (rc != 0) {
			return place_bad(at, NULL, rc, w.why);
		}
	}
	d->views.raw = d->event;
	return read_event(at, d->event, &d->views, &idle);
}

int codec_read_deliver(struct slice body, int (*cb)(void *ctx, const struct delivery_view *d),
		       void *ctx, struct err_text *err)
{
	struct place at = {.list = "deliver.deliveries", .lenient = true, .err = err};
	struct slice message, bytes;
	struct delivery_view d;
	struct wire w;
	uint32_t tag;
	int rc;

	rc = read_frame(body, WIRE_TAG(EVENTBUS__V1__FRAME__KIND_DELIVER, WIRE_LENGTH), "deliver",
			true, &message, err);
	if (rc != 0) {
		return rc;
	}
	w = wire_of(message);
	while (w.p < w.end) {
		if (wire_tag(&w, &tag) != 0) {
			return err_set(err, EB_EPROTO, "deliver: %s", w.why);
		}
		if (tag != WIRE_TAG(1, WIRE_LENGTH)) {
			if (tag >> 3 == 1 || wire_skip(&w, tag & 7) != 0) {
				return err_set(err, EB_EPROTO, "deliver: not well-formed");
			}
			continue;
		}
		if (wire_bytes(&w, &bytes) != 0) {
			return place_bad(&at, NULL, EB_EPROTO, w.why);
		}
		rc = read_delivery(&at, bytes, &d);
		if (rc != 0) {
			return rc;
		}
		if (cb(ctx, &d) != 0) {
			return 0;
		}
		at.index++;
	}
	return 0;
}
