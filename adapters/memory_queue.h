/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two queues of pointers for the memory bus. Both grow by doubling, give memory
 * back when they are mostly empty, and report what they take for the budget.
 */
#ifndef ADAPTERS_MEMORY_QUEUE_H
#define ADAPTERS_MEMORY_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* First in, first out. */
struct memory_ring {
	void **v;
	size_t head, count, cap; /* cap: 0 or a power of two */
};

void memory_ring_finish(struct memory_ring *r);
void memory_ring_resize(struct memory_ring *r, size_t cap); /* >= count, a power of two */

static inline void memory_ring_push(struct memory_ring *r, void *p)
{
	if (r->count == r->cap) {
		memory_ring_resize(r, r->cap ? r->cap * 2 : 16);
	}
	r->v[(r->head + r->count++) & (r->cap - 1)] = p;
}

/* i < count, counted from the oldest. */
static inline void *memory_ring_at(const struct memory_ring *r, size_t i)
{
	return r->v[(r->head + i) & (r->cap - 1)];
}

static inline void memory_ring_set(struct memory_ring *r, size_t i, void *p)
{
	r->v[(r->head + i) & (r->cap - 1)] = p;
}

/* count > 0 */
static inline void *memory_ring_pop(struct memory_ring *r)
{
	void *p = r->v[r->head];

	r->head = (r->head + 1) & (r->cap - 1);
	r->count--;
	if (r->cap > 64 && r->count < r->cap / 8) {
		memory_ring_resize(r, r->cap / 4);
	}
	return p;
}

/* Smallest number first. */
struct memory_heap_item {
	uint64_t seq;
	void *p;
};
struct memory_heap {
	struct memory_heap_item *v;
	size_t count, cap;
};

void memory_heap_finish(struct memory_heap *h);
void memory_heap_push(struct memory_heap *h, uint64_t seq, void *p);
void *memory_heap_pop(struct memory_heap *h); /* NULL when empty */
static inline void *memory_heap_top(const struct memory_heap *h)
{
	return h->count ? h->v[0].p : NULL;
}

#endif
