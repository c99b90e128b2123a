/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define FIRST_SIZE 256

void buf_init(struct buf *b)
{
	*b = (struct buf){0};
}

void buf_finish(struct buf *b)
{
	free(b->p);
	buf_init(b);
}

/* Doubling keeps appending O(1) on the average; the live bytes move to the front on the way. */
static void grow(struct buf *b, size_t need)
{
	size_t cap = b->cap ? b->cap : FIRST_SIZE;
	uint8_t *p;

	while (cap < need) {
		assert(cap <= SIZE_MAX / 2);
		cap *= 2;
	}
	p = xmalloc(cap);
	if (b->len) {
		assert(b->p);
		memcpy(p, b->p + b->off, b->len);
	}
	free(b->p);
	b->p = p;
	b->off = 0;
	b->cap = cap;
}

uint8_t *buf_reserve(struct buf *b, size_t n)
{
	assert(n <= SIZE_MAX / 2 - b->len);
	if (n > b->cap - b->off - b->len || !b->p) {
		/* Moving costs len and wins off bytes: worth it only when it wins as much. */
		if (b->p && b->off >= b->len && b->len + n <= b->cap) {
			memmove(b->p, b->p + b->off, b->len);
			b->off = 0;
		} else {
			grow(b, b->len + n);
		}
	}
	return b->p + b->off + b->len;
}

void buf_added(struct buf *b, size_t n)
{
	assert(n <= b->cap - b->off - b->len);
	b->len += n;
}

void buf_append(struct buf *b, const void *p, size_t n)
{
	if (n) {
		memcpy(buf_reserve(b, n), p, n);
		b->len += n;
	}
}

void buf_append_str(struct buf *b, const char *s)
{
	buf_append(b, s, strlen(s));
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	assert(n >= 0);
	buf_reserve(b, (size_t)n + 1);
	va_start(ap, fmt);
	vsnprintf((char *)b->p + b->off + b->len, (size_t)n + 1, fmt, ap);
	va_end(ap);
	b->len += (size_t)n;
}

void buf_consume(struct buf *b, size_t n)
{
	assert(n <= b->len);
	b->len -= n;
	b->off = b->len ? b->off + n : 0;
}

void buf_reset(struct buf *b, size_t keep)
{
	b->off = b->len = 0;
	if (b->cap > keep) {
		buf_finish(b);
	}
}
