/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cuts a byte stream into frames: 4 bytes of big-endian length, then that many
 * bytes (PROTOCOL.md, "Frames"). Pure: no socket, no clock. Bytes are read into shared
 * buffers so that events can keep pointing into them; an empty framer holds no memory.
 */
#ifndef PROTO_FRAMER_H
#define PROTO_FRAMER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/budget.h"
#include "base/err.h"
#include "base/event.h"
#include "base/slice.h"

#define FRAME_HEADER 4

struct framer {
	struct shared_bytes *buf; /* NULL when nothing is buffered */
	size_t head, fill;	  /* unread bytes are buf->bytes[head .. fill) */
	size_t max_frame;	  /* largest body in bytes */
	size_t size;		  /* of the next buffer; follows the size of frames... */
	size_t ceiling;		  /* ...up to here; the owner may set it at any time */
	struct budget *budget;	  /* charged for buffers */
};

void framer_init(struct framer *f, size_t max_frame, struct budget *budget);
void framer_finish(struct framer *f);
/* Bytes of memory it holds. */
size_t framer_held(const struct framer *f);

/*
 * Room for the next read: at least 1 byte, normally 64 KiB. Memory for a large frame grows with
 * what has arrived of it, not with what its header promises; its body is one slice all the same.
 */
uint8_t *framer_space(struct framer *f, size_t *n);
/* n bytes were read into that room (0 is fine: a read that found nothing). */
void framer_filled(struct framer *f, size_t n);

/*
 * The next whole frame. 1: *body is its bytes, inside *source (borrowed: reference it to keep
 * it), valid until framer_next or framer_space is called next. 0: wait for more. EB_EPROTO: length
 * 0. EB_ETOOBIG: length over max_frame. After an error the stream cannot be read on.
 */
int framer_next(struct framer *f, struct slice *body, struct shared_bytes **source);

/* Whether a frame has begun and is not complete (for the 10 s rule). */
bool framer_midway(const struct framer *f);

#endif
