/* SPDX-License-Identifier: Apache-2.0 */
#include "base/event.h"

#include <assert.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/wire.h"

/* ---- memory ---------------------------------------------------------------- */

struct event_block {
	uint32_t refs, n;
	size_t size; /* of this allocation, as charged */
	struct shared_bytes *source;
	struct budget *budget;
	struct event events[]; /* n of them, then the extra bytes */
};

struct shared_bytes *shared_bytes_create(size_t size, struct budget *budget)
{
	struct shared_bytes *s;

	assert(size <= SIZE_MAX - sizeof(*s));
	s = xmalloc(sizeof(*s) + size);
	s->refs = 1;
	s->size = size;
	s->budget = budget;
	budget_charge(budget, size);
	return s;
}

struct shared_bytes *shared_bytes_ref(struct shared_bytes *s)
{
	assert(s->refs > 0 && s->refs < UINT32_MAX);
	s->refs++;
	return s;
}

void shared_bytes_unref(struct shared_bytes *s)
{
	if (!s) {
		return;
	}
	assert(s->refs > 0);
	if (--s->refs == 0) {
		budget_release(s->budget, s->size);
		free(s);
	}
}

struct event_block *event_block_create(uint32_t n, size_t extra, struct shared_bytes *source,
				       struct budget *budget)
{
	const size_t fixed = sizeof(struct event_block) + (size_t)n * sizeof(struct event);
	struct event_block *b;

	assert(extra <= SIZE_MAX - fixed);
	b = xmalloc(fixed + extra);
	memset(b, 0, fixed);
	b->refs = 1;
	b->n = n;
	b->size = fixed + extra;
	b->source = source ? shared_bytes_ref(source) : NULL;
	b->budget = budget;
	for (uint32_t i = 0; i < n; i++) {
		b->events[i].block = b;
	}
	budget_charge(budget, b->size);
	return b;
}

struct event *event_block_events(struct event_block *b)
{
	return b->events;
}

uint8_t *event_block_extra(struct event_block *b)
{
	return (uint8_t *)&b->events[b->n];
}

void event_block_ref(struct event_block *b)
{
	assert(b->refs > 0 && b->refs < UINT32_MAX);
	b->refs++;
}

void event_block_unref(struct event_block *b)
{
	if (!b) {
		return;
	}
	assert(b->refs > 0);
	if (--b->refs == 0) {
		shared_bytes_unref(b->source);
		budget_release(b->budget, b->size);
		free(b);
	}
}

/* ---- reading --------------------------------------------------------------- */

static int read_pair(struct slice entry, struct metadata_pair *pair)
{
	struct wire w = wire_of(entry);
	uint32_t tag;
	int rc = 0;

	*pair = (struct metadata_pair){0};
	while (rc == 0 && w.p < w.end) {
		rc = wire_tag(&w, &tag);
		if (rc != 0) {
			break;
		}
		if (tag == WIRE_TAG(1, WIRE_LENGTH)) {
			rc = wire_bytes(&w, &pair->key);
		} else if (tag == WIRE_TAG(2, WIRE_LENGTH)) {
			rc = wire_bytes(&w, &pair->value);
		} else {
			rc = tag >> 3 <= 2 ? EB_EPROTO : wire_skip(&w, tag & 7);
		}
	}
	return rc;
}

static int take_pair(struct event *e, struct wire *w)
{
	struct metadata_pair pair;
	struct slice entry;
	uint64_t bytes;

	if (wire_bytes(w, &entry) != 0 || read_pair(entry, &pair) != 0) {
		return EB_EPROTO;
	}
	bytes = (uint64_t)e->metadata_bytes + pair.key.n + pair.value.n;
	if (bytes > UINT32_MAX) {
		return EB_EPROTO;
	}
	e->metadata_bytes = (uint32_t)bytes;
	e->metadata_count++;
	return 0;
}

static int take_time(struct event *e, struct wire *w)
{
	uint64_t v;
	const int rc = wire_varint(w, &v);

	if (rc == 0) {
		e->published_at_ms = (int64_t)v;
	}
	return rc;
}

/* The value of one field. A known number with another wire type is malformed. */
static int take_field(struct event *e, struct wire *w, uint32_t tag)
{
	switch (tag) {
	case WIRE_TAG(EVENT_ID, WIRE_LENGTH):
		return wire_bytes(w, &e->id);
	case WIRE_TAG(EVENT_TOPIC, WIRE_LENGTH):
		return wire_bytes(w, &e->topic);
	case WIRE_TAG(EVENT_PAYLOAD, WIRE_LENGTH):
		return wire_bytes(w, &e->payload);
	case WIRE_TAG(EVENT_PUBLISHED_AT_MS, WIRE_VARINT):
		return take_time(e, w);
	case WIRE_TAG(EVENT_KEY, WIRE_LENGTH):
		return wire_bytes(w, &e->key);
	case WIRE_TAG(EVENT_CONTENT_TYPE, WIRE_LENGTH):
		return wire_bytes(w, &e->content_type);
	case WIRE_TAG(EVENT_MESSAGE_TYPE, WIRE_LENGTH):
		return wire_bytes(w, &e->message_type);
	case WIRE_TAG(EVENT_METADATA, WIRE_LENGTH):
		return take_pair(e, w);
	default:
		return tag >> 3 <= EVENT_METADATA ? EB_EPROTO : wire_skip(w, tag & 7);
	}
}

int event_parse(struct event *e)
{
	struct wire w = wire_of(e->raw);
	uint32_t tag;

	*e = (struct event){.block = e->block, .raw = e->raw, .tail = e->tail};
	while (w.p < w.end) {
		if (wire_tag(&w, &tag) != 0 || take_field(e, &w, tag) != 0) {
			return EB_EPROTO;
		}
	}
	return 0;
}

bool event_metadata_next(const struct event *e, size_t *pos, struct metadata_pair *out)
{
	struct wire w = wire_of(e->raw);
	struct slice entry;
	uint32_t tag;

	w.p += *pos < e->raw.n ? *pos : e->raw.n;
	while (w.p < w.end && wire_tag(&w, &tag) == 0) {
		if (tag == WIRE_TAG(EVENT_METADATA, WIRE_LENGTH)) {
			if (wire_bytes(&w, &entry) != 0) {
				return false;
			}
			*pos = e->raw.n - (size_t)(w.end - w.p);
			return read_pair(entry, out) == 0;
		}
		if (wire_skip(&w, tag & 7) != 0) {
			return false;
		}
	}
	return false;
}

bool event_metadata_get(const struct event *e, const char *key, struct slice *value)
{
	const struct slice wanted = slice_str(key);
	struct metadata_pair pair;

	for (size_t pos = 0; event_metadata_next(e, &pos, &pair);) {
		if (slice_eq(pair.key, wanted)) {
			*value = pair.value;
			return true;
		}
	}
	return false;
}

/* ---- writing --------------------------------------------------------------- */

/* A field of the numbers 1..15, whose key is one byte. Empty ones are not written. */
static size_t bytes_size(struct slice s)
{
	return s.n ? 1 + wire_varint_size(s.n) + s.n : 0;
}

/* Sets *view, when given, to the bytes as written. */
static uint8_t *put_bytes(uint8_t *p, uint32_t number, struct slice s, struct slice *view)
{
	if (s.n == 0) {
		return p;
	}
	*p++ = (uint8_t)(number << 3 | WIRE_LENGTH);
	p = wire_varint_put(p, s.n);
	memcpy(p, s.p, s.n);
	if (view) {
		*view = slice_of(p, s.n);
	}
	return p + s.n;
}

static size_t pair_size(const struct metadata_pair *m)
{
	return bytes_size(m->key) + bytes_size(m->value);
}

static uint8_t *put_pair(uint8_t *p, const struct metadata_pair *m)
{
	*p++ = EVENT_METADATA << 3 | WIRE_LENGTH;
	p = wire_varint_put(p, pair_size(m));
	p = put_bytes(p, 1, m->key, NULL);
	return put_bytes(p, 2, m->value, NULL);
}

static size_t encoded_size(const struct event_fields *f)
{
	size_t n = bytes_size(f->id) + bytes_size(f->topic) + bytes_size(f->payload) +
		   bytes_size(f->key) + bytes_size(f->content_type) + bytes_size(f->message_type);

	if (f->published_at_ms) {
		n += 1 + wire_varint_size((uint64_t)f->published_at_ms);
	}
	for (uint32_t i = 0; i < f->metadata_count; i++) {
		const size_t pair = pair_size(&f->metadata[i]);

		n += 1 + wire_varint_size(pair) + pair;
	}
	return n;
}

struct event *event_build(const struct event_fields *f, struct budget *budget)
{
	const size_t size = encoded_size(f);
	struct event_block *b = event_block_create(1, size, NULL, budget);
	struct event *e = b->events;
	uint8_t *p = event_block_extra(b);

	e->raw = slice_of(p, size);
	p = put_bytes(p, EVENT_ID, f->id, &e->id);
	p = put_bytes(p, EVENT_TOPIC, f->topic, &e->topic);
	p = put_bytes(p, EVENT_PAYLOAD, f->payload, &e->payload);
	if (f->published_at_ms) {
		*p++ = EVENT_PUBLISHED_AT_MS << 3 | WIRE_VARINT;
		p = wire_varint_put(p, (uint64_t)f->published_at_ms);
		e->published_at_ms = f->published_at_ms;
	}
	p = put_bytes(p, EVENT_KEY, f->key, &e->key);
	p = put_bytes(p, EVENT_CONTENT_TYPE, f->content_type, &e->content_type);
	p = put_bytes(p, EVENT_MESSAGE_TYPE, f->message_type, &e->message_type);
	for (uint32_t i = 0; i < f->metadata_count; i++) {
		p = put_pair(p, &f->metadata[i]);
		e->metadata_bytes += (uint32_t)(f->metadata[i].key.n + f->metadata[i].value.n);
	}
	e->metadata_count = f->metadata_count;
	assert(p == e->raw.p + size);
	return e;
}

struct event *event_copy(const struct event *e, struct budget *budget)
{
	struct event_block *b = event_block_create(1, event_size(e), NULL, budget);
	struct event *copy = b->events;
	uint8_t *p = event_block_extra(b);
	int rc;

	copy->raw = slice_of(p, event_size(e));
	if (e->raw.n) {
		memcpy(p, e->raw.p, e->raw.n);
	}
	if (e->tail.n) {
		memcpy(p + e->raw.n, e->tail.p, e->tail.n);
	}
	rc = event_parse(copy);
	assert(rc == 0);
	(void)rc;
	return copy;
}
