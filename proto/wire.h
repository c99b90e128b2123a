/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading protobuf strictly, above base/wire.h: what the table-driven scan and the hand-written
 * readers share, so that both accept the same bytes. Functions return 0, or EB_EPROTO with `why`
 * set to a few words. Pure, allocates nothing.
 */
#ifndef PROTO_WIRE_H
#define PROTO_WIRE_H

#include "base/err.h"
#include "base/metadata.h"
#include "base/slice.h"
#include "base/utf8.h"
#include "base/wire.h"

static inline int wire_u32(struct wire *w, uint32_t *out)
{
	uint64_t v;

	if (wire_varint(w, &v) != 0) {
		return EB_EPROTO;
	}
	if (v > UINT32_MAX) {
		return wire_fail(w, "over 32 bits");
	}
	*out = (uint32_t)v;
	return 0;
}

static inline int wire_bool(struct wire *w, bool *out)
{
	uint64_t v;

	if (wire_varint(w, &v) != 0) {
		return EB_EPROTO;
	}
	if (v > 1) {
		return wire_fail(w, "not 0 or 1");
	}
	*out = v != 0;
	return 0;
}

/* ASCII without NUL, eight bytes at a time: nearly every string is. */
static inline bool wire_plain(struct slice s)
{
	const uint64_t ones = 0x0101010101010101u, highs = 0x8080808080808080u;
	uint64_t v, bad = 0;
	size_t i = 0;

	for (; i + 8 <= s.n; i += 8) {
		memcpy(&v, s.p + i, 8);
		bad |= (v | (v - ones)) & highs;
	}
	for (; i < s.n; i++) {
		bad |= (uint64_t)(s.p[i] - 1u >= 0x7fu);
	}
	return bad == 0;
}

static inline bool wire_text_valid(struct slice s)
{
	return wire_plain(s) || utf8_valid(s);
}

/* A proto3 string: UTF-8 without NUL. */
static inline int wire_text(struct wire *w, struct slice *out)
{
	if (wire_bytes(w, out) != 0) {
		return EB_EPROTO;
	}
	if (!wire_text_valid(*out)) {
		return wire_fail(w, "not UTF-8 without NUL");
	}
	return 0;
}

/*
 * An entry of a map<string, string>. A missing key or value is empty. lenient: unknown fields are
 * skipped, else *unknown gets the number of the first.
 */
int wire_pair(struct slice entry, bool lenient, struct metadata_pair *out, uint32_t *unknown,
	      const char **why);

/*
 * Keys of one map, to find the second use of one. Zero n and seen to begin. A client may send
 * METADATA_MAX_PAIRS; the daemon adds to that (dead letters), and a foreign event may have any
 * number, of which the first WIRE_KEYS are compared.
 */
#define WIRE_KEYS (2 * METADATA_MAX_PAIRS)
struct wire_keys {
	uint32_t n;
	uint64_t seen; /* a 64-bit Bloom filter: most new keys need no comparison */
	struct slice key[WIRE_KEYS];
};
/* 0 or EB_EEXIST. */
int wire_keys_add(struct wire_keys *k, struct slice key);

/* Replaces every byte that is not part of valid UTF-8, and NUL, by '?'. Keeps the length. */
void wire_text_repair(uint8_t *p, size_t n);

#endif
