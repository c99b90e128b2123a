/* SPDX-License-Identifier: Apache-2.0 */
/* A bump allocator with a hard cap: what decodes hostile bytes allocates here and cannot exceed it.
 */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stdbool.h>
#include <stddef.h>

struct arena_chunk;
struct arena {
	struct arena_chunk *chunks;
	size_t used, cap;
	bool exhausted; /* an allocation was refused */
};

void arena_init(struct arena *a, size_t cap);
void arena_finish(struct arena *a);
/* 16-byte aligned, not zeroed; NULL beyond the cap. */
void *arena_alloc(struct arena *a, size_t n);

#endif
