/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes, cut anywhere, come out as the frames that the lengths say; sources stay intact while
 * referenced; nothing is held in the end. The first byte seeds how the stream is cut.
 */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "proto/framer.h"

#define MAX_FRAME 5000
#define KEPT	  8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int holds)
{
	if (!holds) {
		abort();
	}
}

/* What the next frame of the stream must be, read from the stream itself. */
static int expected(const uint8_t *p, size_t n, struct slice *body)
{
	size_t len;

	if (n < FRAME_HEADER) {
		return 0;
	}
	len = (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
	if (len == 0) {
		return EB_EPROTO;
	}
	if (len > MAX_FRAME) {
		return EB_ETOOBIG;
	}
	*body = slice_of(p + FRAME_HEADER, len);
	return n < FRAME_HEADER + len ? 0 : 1;
}

struct kept {
	struct shared_bytes *source;
	struct slice body, copy; /* inside source; inside the input */
};

static void let_go(struct kept *k)
{
	if (k->source) {
		require(slice_eq(k->body, k->copy));
		shared_bytes_unref(k->source);
		k->source = NULL;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct kept kept[KEPT] = {{0}};
	unsigned seed = size ? *data : 0, frames = 0;
	const uint8_t *in = data, *out = data, *end = data + size;
	struct budget budget;
	struct framer f;
	int rc = 0;

	budget_init(&budget, NULL, SIZE_MAX);
	framer_init(&f, MAX_FRAME, &budget);
	while (in < end && rc >= 0) {
		size_t room, n;
		uint8_t *space = framer_space(&f, &room);
		struct shared_bytes *source;
		struct slice body, want = {NULL, 0};

		seed = seed * 1103515245 + 12345;
		n = (seed >> 8) % (seed & 128 ? 9000 : 9);
		n = n > room ? room : n;
		n = n > (size_t)(end - in) ? (size_t)(end - in) : n;
		memcpy(space, in, n);
		in += n;
		framer_filled(&f, n);
		while ((rc = framer_next(&f, &body, &source)) == 1) {
			struct kept *k = &kept[frames++ % KEPT];

			require(expected(out, (size_t)(in - out), &want) == 1);
			require(slice_eq(body, want));
			out += FRAME_HEADER + body.n;
			let_go(k);
			if (seed & 1024) {
				*k = (struct kept){shared_bytes_ref(source), body, want};
			}
		}
		require(rc == expected(out, (size_t)(in - out), &want));
		require(rc < 0 || framer_midway(&f) == (out < in));
	}
	framer_finish(&f);
	for (int i = 0; i < KEPT; i++) {
		let_go(&kept[i]);
	}
	require(budget.used == 0);
	return 0;
}
