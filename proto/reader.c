/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/reader.h"

#include <inttypes.h>

#include "proto/codec.h"

static const char *const event_fields[] = {
	[EVENT_ID] = "id",
	[EVENT_TOPIC] = "topic",
	[EVENT_PAYLOAD] = "payload",
	[EVENT_PUBLISHED_AT_MS] = "published_at_ms",
	[EVENT_KEY] = "key",
	[EVENT_CONTENT_TYPE] = "content_type",
	[EVENT_MESSAGE_TYPE] = "message_type",
	[EVENT_METADATA] = "metadata",
};

int place_bad(const struct place *at, const char *field, int rc, const char *why)
{
	return err_set(at->err, rc, "%s[%" PRIu32 "]%s%s: %s", at->list, at->index,
		       field ? "." : "", field ? field : "", why);
}

static int bad_event(const struct place *at, uint32_t tag, int rc, const char *why)
{
	uint32_t field = tag >> 3;

	return place_bad(at, field <= EVENT_METADATA ? event_fields[field] : NULL, rc, why);
}

static int bad_unknown(const struct place *at, const char *where, uint32_t field)
{
	return err_set(at->err, EB_EPROTO,
		       "%s[%" PRIu32 "]%s: unknown field %" PRIu32
		       " (not supported by this version)",
		       at->list, at->index, where, field);
}

int place_other(const struct place *at, struct wire *w, uint32_t tag, uint32_t known)
{
	if (tag >> 3 <= known) {
		return place_bad(at, NULL, EB_EPROTO, "a field with the wrong wire type");
	}
	if (!at->lenient) {
		return bad_unknown(at, "", tag >> 3);
	}
	if (wire_skip(w, tag & 7) != 0) {
		return place_bad(at, NULL, EB_EPROTO, w->why);
	}
	return 0;
}

static int once_text(struct wire *w, uint32_t *seen, uint32_t tag, struct slice *out)
{
	return read_once(w, seen, tag) != 0 ? EB_EPROTO : wire_text(w, out);
}

static int bad_pair(const struct place *at, int rc, const char *why)
{
	return place_bad(at, "metadata", rc, why);
}

static int read_pair(const struct place *at, struct wire *w, struct event *e,
		     struct wire_keys *keys)
{
	struct metadata_pair pair;
	struct slice entry;
	uint32_t unknown;
	const char *why;

	if (wire_bytes(w, &entry) != 0) {
		return bad_pair(at, EB_EPROTO, w->why);
	}
	if (wire_pair(entry, at->lenient, &pair, &unknown, &why) != 0) {
		return unknown ? bad_unknown(at, ".metadata", unknown)
			       : bad_pair(at, EB_EPROTO, why);
	}
	if (wire_keys_add(keys, pair.key) != 0) {
		return bad_pair(at, EB_EPROTO, "a key twice");
	}
	if (!at->lenient && e->metadata_count == METADATA_MAX_PAIRS) {
		return bad_pair(at, EB_ETOOBIG, "more than 64 pairs");
	}
	e->metadata_count++;
	e->metadata_bytes += (uint32_t)(pair.key.n + pair.value.n);
	return 0;
}

int read_event(const struct place *at, struct slice raw, struct event *e, struct slice *idle)
{
	struct wire w = wire_of(raw);
	struct wire_keys keys;
	uint32_t seen = 0;

	keys.n = 0;
	keys.seen = 0;
	*idle = slice_of(NULL, 0);
	while (w.p < w.end) {
		const uint8_t *begin = w.p;
		uint32_t tag;
		uint64_t v;
		int rc;

		if (wire_tag(&w, &tag) != 0) {
			return place_bad(at, NULL, EB_EPROTO, w.why);
		}
		switch (tag) {
		case WIRE_TAG(EVENT_ID, WIRE_LENGTH):
			rc = once_text(&w, &seen, tag, &e->id);
			if (rc == 0 && e->id.n == 0) {
				*idle = slice_of(begin, (size_t)(w.p - begin));
			}
			break;
		case WIRE_TAG(EVENT_TOPIC, WIRE_LENGTH):
			rc = once_text(&w, &seen, tag, &e->topic);
			break;
		case WIRE_TAG(EVENT_PAYLOAD, WIRE_LENGTH):
			rc = read_once(&w, &seen, tag);
			rc = rc ? rc : wire_bytes(&w, &e->payload);
			break;
		case WIRE_TAG(EVENT_PUBLISHED_AT_MS, WIRE_VARINT):
			rc = read_once(&w, &seen, tag);
			rc = rc ? rc : wire_varint(&w, &v);
			e->published_at_ms = rc ? 0 : (int64_t)v;
			if (rc == 0 && v == 0) {
				*idle = slice_of(begin, (size_t)(w.p - begin));
			}
			break;
		case WIRE_TAG(EVENT_KEY, WIRE_LENGTH):
			rc = once_text(&w, &seen, tag, &e->key);
			break;
		case WIRE_TAG(EVENT_CONTENT_TYPE, WIRE_LENGTH):
			rc = once_text(&w, &seen, tag, &e->content_type);
			break;
		case WIRE_TAG(EVENT_MESSAGE_TYPE, WIRE_LENGTH):
			rc = once_text(&w, &seen, tag, &e->message_type);
			break;
		case WIRE_TAG(EVENT_METADATA, WIRE_LENGTH):
			rc = read_pair(at, &w, e, &keys);
			if (rc != 0) {
				return rc;
			}
			break;
		default:
			rc = place_other(at, &w, tag, EVENT_METADATA);
			if (rc != 0) {
				return rc;
			}
		}
		if (rc != 0) {
			return bad_event(at, tag, rc, w.why);
		}
	}
	return 0;
}

int read_frame(struct slice body, uint32_t kind, const char *name, bool lenient, struct slice *out,
	       struct err_text *err)
{
	struct wire w = wire_of(body);
	bool found = false;
	uint32_t tag;

	while (w.p < w.end) {
		if (wire_tag(&w, &tag) != 0) {
			return err_set(err, EB_EPROTO, "frame: %s", w.why);
		}
		if (tag == kind && !found) {
			found = true;
			if (wire_bytes(&w, out) != 0) {
				return err_set(err, EB_EPROTO, "%s: %s", name, w.why);
			}
		} else if (codec_known_kind(tag >> 3)) {
			return err_set(err, EB_EPROTO,
				       "frame: more than one message, or the wrong wire type");
		} else if (!lenient) {
			return err_set(err, EB_EPROTO,
				       "frame: unknown field %" PRIu32
				       " (not supported by this version)",
				       tag >> 3);
		} else if (wire_skip(&w, tag & 7) != 0) {
			return err_set(err, EB_EPROTO, "frame: %s", w.why);
		}
	}
	return found ? 0 : err_set(err, EB_EPROTO, "frame: no %s in it", name);
}
