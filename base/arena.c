/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/mem.h"

#define ALIGN	   16
#define CHUNK_SIZE 8192

struct arena_chunk {
	struct arena_chunk *next;
	size_t used, size;
	alignas(ALIGN) uint8_t bytes[];
};

void arena_init(struct arena *a, size_t cap)
{
	*a = (struct arena){.cap = cap};
}

void arena_finish(struct arena *a)
{
	while (a->chunks) {
		struct arena_chunk *c = a->chunks;

		a->chunks = c->next;
		free(c);
	}
	*a = (struct arena){0};
}

static struct arena_chunk *chunk_create(size_t size)
{
	struct arena_chunk *c = xmalloc(sizeof(*c) + size);

	c->used = 0;
	c->size = size;
	return c;
}

/* The chunk that holds the next n bytes; only the first of the list is filled further. */
static struct arena_chunk *chunk_for(struct arena *a, size_t n)
{
	struct arena_chunk *c = a->chunks;

	if (c && c->size - c->used >= n) {
		return c;
	}
	if (n > CHUNK_SIZE / 4) {
		/* A large piece gets its own chunk behind the first, which stays in use. */
		struct arena_chunk *large = chunk_create(n);

		large->next = c ? c->next : NULL;
		*(c ? &c->next : &a->chunks) = large;
		return large;
	}
	c = chunk_create(CHUNK_SIZE);
	c->next = a->chunks;
	a->chunks = c;
	return c;
}

void *arena_alloc(struct arena *a, size_t n)
{
	struct arena_chunk *c;
	void *p;

	if (n > a->cap) {
		a->exhausted = true;
		return NULL;
	}
	n = n ? (n + ALIGN - 1) & ~(size_t)(ALIGN - 1) : ALIGN;
	if (n > a->cap - a->used) {
		a->exhausted = true;
		return NULL;
	}
	c = chunk_for(a, n);
	p = c->bytes + c->used;
	c->used += n;
	a->used += n;
	return p;
}
