/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Protobuf's wire format by hand: numbers, tags and lengths. Format:
 * https://protobuf.dev/programming-guides/encoding. Reading returns 0, or EB_EPROTO with `why` set
 * to a few words; writing trusts the caller to have room. Pure, allocates nothing.
 */
#ifndef BASE_WIRE_H
#define BASE_WIRE_H

#include "base/err.h"
#include "base/slice.h"

enum wire_type { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_LENGTH = 2, WIRE_32 = 5 };
#define WIRE_TAG(field, type) (((uint32_t)(field) << 3) | (uint32_t)(type))

struct wire {
	const uint8_t *p, *end;
	const char *why; /* of the last failure; static text */
};

static inline struct wire wire_of(struct slice s)
{
	/* Not a NULL pointer, so that end - p is defined for an empty slice too. */
	static const uint8_t none[1];
	const uint8_t *p = s.p ? s.p : none;

	return (struct wire){p, p + s.n, NULL};
}

static inline int wire_fail(struct wire *w, const char *why)
{
	w->why = why;
	return EB_EPROTO;
}

/* At most max_bytes (5 or 10) long. */
int wire_varint_slow(struct wire *w, unsigned max_bytes, uint64_t *v);

static inline int wire_varint(struct wire *w, uint64_t *v)
{
	if (w->p < w->end && *w->p < 0x80) {
		*v = *w->p++;
		return 0;
	}
	return wire_varint_slow(w, 10, v);
}

/* A field's number and wire type, as WIRE_TAG makes them. */
static inline int wire_tag(struct wire *w, uint32_t *tag)
{
	uint64_t v;

	if (w->p < w->end && *w->p < 0x80) {
		v = *w->p++;
	} else if (wire_varint_slow(w, 5, &v) != 0) {
		return EB_EPROTO;
	}
	if (v < 8 || v > UINT32_MAX) {
		return wire_fail(w, "field number out of range");
	}
	*tag = (uint32_t)v;
	return 0;
}

/* A length and that many bytes. */
static inline int wire_bytes(struct wire *w, struct slice *out)
{
	uint64_t n;

	if (w->p < w->end && *w->p < 0x80) {
		n = *w->p++;
	} else if (w->end - w->p >= 2 && w->p[1] < 0x80) { /* most events and payloads */
		n = (uint64_t)(w->p[0] & 0x7f) | (uint64_t)w->p[1] << 7;
		w->p += 2;
	} else if (wire_varint_slow(w, 5, &n) != 0) {
		return EB_EPROTO;
	}
	if (n > (uint64_t)(w->end - w->p)) {
		return wire_fail(w, "longer than the bytes around it");
	}
	*out = slice_of(w->p, (size_t)n);
	w->p += n;
	return 0;
}

/* Steps over a field's value. Groups (types 3 and 4) are refused. */
int wire_skip(struct wire *w, unsigned type);

/* Bytes of a number, and the number written at p; returns the end. */
static inline size_t wire_varint_size(uint64_t v)
{
	return ((size_t)(63 - __builtin_clzll(v | 1)) * 9 + 73) / 64;
}

static inline uint8_t *wire_varint_put(uint8_t *p, uint64_t v)
{
	while (v >= 0x80) {
		*p++ = (uint8_t)(v | 0x80);
		v >>= 7;
	}
	*p++ = (uint8_t)v;
	return p;
}

#endif
