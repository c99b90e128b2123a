/* SPDX-License-Identifier: Apache-2.0 */
#include "base/event.h"

#include <assert.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"

enum wire_type { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

#define VARINT_MAX 10

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

struct field {
	uint32_t number;
	enum wire_type type;
	uint64_t value;	    /* WIRE_VARINT */
	struct slice bytes; /* WIRE_BYTES */
};

static bool read_varint(const uint8_t **p, const uint8_t *end, uint64_t *out)
{
	uint64_t v = 0;

	/* Nearly all keys and lengths are one byte. */
	if (*p < end && **p < 0x80) {
		*out = *(*p)++;
		return true;
	}
	for (unsigned i = 0; i < VARINT_MAX && *p < end; i++) {
		const uint8_t b = *(*p)++;

		v |= (uint64_t)(b & 0x7f) << (7 * i);
		if (b < 0x80) {
			*out = v;
			return i < VARINT_MAX - 1 || b <= 1;
		}
	}
	return false;
}

static bool skip(const uint8_t **p, const uint8_t *end, uint64_t n)
{
	if (n > (uint64_t)(end - *p)) {
		return false;
	}
	*p += n;
	return true;
}

/* Takes one field from *p; false when these bytes are none. */
static bool read_field(const uint8_t **p, const uint8_t *end, struct field *f)
{
	uint64_t key, n;

	if (!read_varint(p, end, &key) || key > UINT32_MAX || key >> 3 == 0) {
		return false;
	}
	f->number = (uint32_t)(key >> 3);
	f->type = (enum wire_type)(key & 7);
	switch (f->type) {
	case WIRE_VARINT:
		return read_varint(p, end, &f->value);
	case WIRE_FIXED64:
		return skip(p, end, 8);
	case WIRE_FIXED32:
		return skip(p, end, 4);
	case WIRE_BYTES:
		if (!read_varint(p, end, &n) || n > (uint64_t)(end - *p)) {
			return false;
		}
		f->bytes = slice_of(*p, (size_t)n);
		*p += n;
		return true;
	}
	return false; /* groups were never part of this protocol */
}

static bool read_pair(struct slice entry, struct metadata_pair *pair)
{
	const uint8_t *p = entry.p, *end = p + entry.n;

	*pair = (struct metadata_pair){0};
	while (p < end) {
		struct field f;

		if (!read_field(&p, end, &f)) {
			return false;
		}
		if (f.number == 1 || f.number == 2) {
			if (f.type != WIRE_BYTES) {
				return false;
			}
			*(f.number == 1 ? &pair->key : &pair->value) = f.bytes;
		}
	}
	return true;
}

static bool take_metadata(struct event *e, struct slice entry)
{
	struct metadata_pair pair;
	uint64_t bytes;

	if (!read_pair(entry, &pair)) {
		return false;
	}
	bytes = (uint64_t)e->metadata_bytes + pair.key.n + pair.value.n;
	if (bytes > UINT32_MAX) {
		return false;
	}
	e->metadata_bytes = (uint32_t)bytes;
	e->metadata_count++;
	return true;
}

/* The view that a field of type bytes or string fills; NULL for any other number. */
static struct slice *view_of(struct event *e, uint32_t number)
{
	switch (number) {
	case EVENT_ID:
		return &e->id;
	case EVENT_TOPIC:
		return &e->topic;
	case EVENT_PAYLOAD:
		return &e->payload;
	case EVENT_KEY:
		return &e->key;
	case EVENT_CONTENT_TYPE:
		return &e->content_type;
	case EVENT_MESSAGE_TYPE:
		return &e->message_type;
	default:
		return NULL;
	}
}

static bool take_field(struct event *e, const struct field *f)
{
	struct slice *view = view_of(e, f->number);

	if (view) {
		*view = f->bytes;
		return f->type == WIRE_BYTES;
	}
	if (f->number == EVENT_PUBLISHED_AT_MS) {
		e->published_at_ms = (int64_t)f->value;
		return f->type == WIRE_VARINT;
	}
	if (f->number == EVENT_METADATA) {
		return f->type == WIRE_BYTES && take_metadata(e, f->bytes);
	}
	return true;
}

int event_parse(struct event *e)
{
	const uint8_t *p = e->raw.p, *end;

	*e = (struct event){.block = e->block, .raw = e->raw, .tail = e->tail};
	if (e->raw.n == 0) {
		return 0;
	}
	end = p + e->raw.n;
	while (p < end) {
		struct field f = {0};

		if (!read_field(&p, end, &f) || !take_field(e, &f)) {
			return EB_EPROTO;
		}
	}
	return 0;
}

bool event_metadata_next(const struct event *e, size_t *pos, struct metadata_pair *out)
{
	const uint8_t *p, *end;

	if (*pos >= e->raw.n) {
		return false;
	}
	p = e->raw.p + *pos;
	end = e->raw.p + e->raw.n;
	while (p < end) {
		struct field f;

		if (!read_field(&p, end, &f)) {
			return false;
		}
		if (f.number == EVENT_METADATA && f.type == WIRE_BYTES) {
			*pos = (size_t)(p - e->raw.p);
			return read_pair(f.bytes, out);
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

static size_t varint_size(uint64_t v)
{
	return v ? (70 - (size_t)__builtin_clzll(v)) / 7 : 1;
}

static uint8_t *put_varint(uint8_t *p, uint64_t v)
{
	while (v >= 0x80) {
		*p++ = (uint8_t)(v | 0x80);
		v >>= 7;
	}
	*p++ = (uint8_t)v;
	return p;
}

/* A field of the numbers 1..15, whose key is one byte. Empty ones are not written. */
static size_t bytes_size(struct slice s)
{
	return s.n ? 1 + varint_size(s.n) + s.n : 0;
}

/* Sets *view, when given, to the bytes as written. */
static uint8_t *put_bytes(uint8_t *p, uint32_t number, struct slice s, struct slice *view)
{
	if (s.n == 0) {
		return p;
	}
	*p++ = (uint8_t)(number << 3 | WIRE_BYTES);
	p = put_varint(p, s.n);
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
	*p++ = EVENT_METADATA << 3 | WIRE_BYTES;
	p = put_varint(p, pair_size(m));
	p = put_bytes(p, 1, m->key, NULL);
	return put_bytes(p, 2, m->value, NULL);
}

static size_t encoded_size(const struct event_fields *f)
{
	size_t n = bytes_size(f->id) + bytes_size(f->topic) + bytes_size(f->payload) +
		   bytes_size(f->key) + bytes_size(f->content_type) + bytes_size(f->message_type);

	if (f->published_at_ms) {
		n += 1 + varint_size((uint64_t)f->published_at_ms);
	}
	for (uint32_t i = 0; i < f->metadata_count; i++) {
		const size_t pair = pair_size(&f->metadata[i]);

		n += 1 + varint_size(pair) + pair;
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
		p = put_varint(p, (uint64_t)f->published_at_ms);
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
