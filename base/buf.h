/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A growing byte buffer: append at the end, consume at the front. Loop thread
 * only. Growth aborts on out of memory; the caller bounds what it appends.
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

struct buf {
	uint8_t *p;
	size_t off, len, cap; /* live bytes are p[off .. off+len) */
};

void buf_init(struct buf *b);
void buf_finish(struct buf *b);
/* Room for n more bytes at the end; returns where to write them. Follow with buf_added. */
uint8_t *buf_reserve(struct buf *b, size_t n);
void buf_added(struct buf *b, size_t n);
void buf_append(struct buf *b, const void *p, size_t n);
void buf_append_str(struct buf *b, const char *s);
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_consume(struct buf *b, size_t n); /* n <= len */
/* Empties it and gives memory above keep bytes back. */
void buf_reset(struct buf *b, size_t keep);
/* NULL while it never held anything. */
static inline const uint8_t *buf_data(const struct buf *b)
{
	return b->p ? b->p + b->off : NULL;
}
static inline struct slice buf_slice(const struct buf *b)
{
	return slice_of(buf_data(b), b->len);
}

#endif
