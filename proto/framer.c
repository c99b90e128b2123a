/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/framer.h"

#include <assert.h>
#include <string.h>

#define READ_MIN  4096u	  /* less room than this is not worth a read */
#define READ_SIZE 65536u  /* a buffer, as long as frames are small */
#define READ_MAX  262144u /* a buffer, when frames are large */

void framer_init(struct framer *f, size_t max_frame, struct budget *budget)
{
	*f = (struct framer){
		.max_frame = max_frame, .size = READ_SIZE, .ceiling = READ_MAX, .budget = budget};
}

void framer_finish(struct framer *f)
{
	shared_bytes_unref(f->buf);
	f->buf = NULL;
	f->head = f->fill = 0;
}

size_t framer_held(const struct framer *f)
{
	return f->buf ? f->buf->size : 0;
}

static size_t unread(const struct framer *f)
{
	return f->buf ? f->fill - f->head : 0;
}

static size_t body_length(const uint8_t *p)
{
	return (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
}

/* Bytes of the frame at head with its header, as far as is known. */
static size_t frame_bytes(const struct framer *f)
{
	return unread(f) < FRAME_HEADER ? FRAME_HEADER
					: FRAME_HEADER + body_length(f->buf->bytes + f->head);
}

/* Moves what is unread to a new buffer. */
static void grow(struct framer *f, size_t size)
{
	struct shared_bytes *next = shared_bytes_create(size, f->budget);
	size_t n = unread(f);

	if (n > 0) {
		memcpy(next->bytes, f->buf->bytes + f->head, n);
	}
	framer_finish(f);
	f->buf = next;
	f->fill = n;
}

static size_t usual_size(const struct framer *f)
{
	return f->size < f->ceiling ? f->size : f->ceiling;
}

/*
 * The size of a buffer for a frame of `whole` bytes, `have` of which arrived. It follows what
 * arrived, not what the header promises: a peer pays with bytes for the memory it takes.
 */
static size_t buffer_size(const struct framer *f, size_t whole, size_t have)
{
	const size_t usual = usual_size(f);
	size_t size = have * 2 > usual ? have * 2 : usual;

	return whole > usual && whole < size ? whole : size;
}

uint8_t *framer_space(struct framer *f, size_t *n)
{
	size_t have = unread(f), whole, wanted;

	if (!f->buf) {
		grow(f, usual_size(f));
	}
	whole = frame_bytes(f);
	if (f->head > 0 && f->buf->refs == 1) {
		/* Nobody looks at what was consumed. */
		memmove(f->buf->bytes, f->buf->bytes + f->head, have);
		f->head = 0;
		f->fill = have;
	}
	wanted = whole > have ? whole - have : 1;
	wanted = wanted < READ_MIN ? wanted : READ_MIN;
	if (f->buf->size - f->fill < wanted) {
		grow(f, buffer_size(f, whole, have));
	}
	*n = f->buf->size - f->fill;
	return f->buf->bytes + f->fill;
}

void framer_filled(struct framer *f, size_t n)
{
	assert(n == 0 || (f->buf && n <= f->buf->size - f->fill));
	f->fill += n;
	if (unread(f) == 0) {
		framer_finish(f);
	}
}

/* Larger frames get larger buffers: fewer of them straddle two, which costs a copy. */
static void adapt(struct framer *f, size_t frame)
{
	while (f->size < READ_MAX && f->size < 4 * frame) {
		f->size *= 2;
	}
}

int framer_next(struct framer *f, struct slice *body, struct shared_bytes **source)
{
	size_t n;

	if (f->buf && unread(f) == 0) {
		framer_finish(f);
	}
	if (unread(f) < FRAME_HEADER) {
		return 0;
	}
	n = body_length(f->buf->bytes + f->head);
	if (n == 0) {
		return EB_EPROTO;
	}
	if (n > f->max_frame) {
		return EB_ETOOBIG;
	}
	if (unread(f) < FRAME_HEADER + n) {
		return 0;
	}
	adapt(f, n);
	*body = slice_of(f->buf->bytes + f->head + FRAME_HEADER, n);
	*source = f->buf;
	f->head += FRAME_HEADER + n;
	return 1;
}

bool framer_midway(const struct framer *f)
{
	return unread(f) > 0;
}
