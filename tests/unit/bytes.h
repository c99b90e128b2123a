/* SPDX-License-Identifier: Apache-2.0 */
/* Protobuf by hand, also wrong: what no generated encoder would write. */
#ifndef TESTS_UNIT_BYTES_H
#define TESTS_UNIT_BYTES_H

#include "base/buf.h"

static inline void add_varint(struct buf *b, uint64_t v)
{
	uint8_t out[10];
	size_t n = 0;

	do {
		out[n++] = (uint8_t)((v & 0x7f) | (v > 0x7f ? 0x80 : 0));
		v >>= 7;
	} while (v);
	buf_append(b, out, n);
}

static inline void add_uint(struct buf *b, uint32_t field, uint64_t v)
{
	add_varint(b, (uint64_t)field << 3);
	add_varint(b, v);
}

static inline void add_bytes(struct buf *b, uint32_t field, const void *p, size_t n)
{
	add_varint(b, (uint64_t)field << 3 | 2);
	add_varint(b, n);
	buf_append(b, p, n);
}

static inline void add_text(struct buf *b, uint32_t field, const char *s)
{
	add_bytes(b, field, s, strlen(s));
}

/* Appends inner as a field and empties it. */
static inline void add_inner(struct buf *b, uint32_t field, struct buf *inner)
{
	add_bytes(b, field, buf_data(inner), inner->len);
	buf_reset(inner, SIZE_MAX);
}

static inline void add_pair(struct buf *b, uint32_t field, const char *key, const char *value)
{
	struct buf entry;

	buf_init(&entry);
	add_text(&entry, 1, key);
	add_text(&entry, 2, value);
	add_inner(b, field, &entry);
	buf_finish(&entry);
}

#endif
