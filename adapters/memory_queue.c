/* SPDX-License-Identifier: Apache-2.0 */
#include "adapters/memory_queue.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

void memory_ring_finish(struct memory_ring *r)
{
	free(r->v);
	memset(r, 0, sizeof(*r));
}

void memory_ring_resize(struct memory_ring *r, size_t cap)
{
	void **v = xmalloc(cap * sizeof(*v));

	assert(cap >= r->count);
	for (size_t i = 0; i < r->count; i++) {
		v[i] = memory_ring_at(r, i);
	}
	free(r->v);
	r->v = v;
	r->head = 0;
	r->cap = cap;
}

void memory_heap_finish(struct memory_heap *h)
{
	free(h->v);
	memset(h, 0, sizeof(*h));
}

static void heap_resize(struct memory_heap *h, size_t cap)
{
	h->v = xrealloc(h->v, cap * sizeof(*h->v));
	h->cap = cap;
}

void memory_heap_push(struct memory_heap *h, uint64_t seq, void *p)
{
	if (h->count == h->cap) {
		heap_resize(h, h->cap ? h->cap * 2 : 16);
	}
	size_t i = h->count++;
	while (i > 0 && h->v[(i - 1) / 2].seq > seq) {
		h->v[i] = h->v[(i - 1) / 2];
		i = (i - 1) / 2;
	}
	h->v[i] = (struct memory_heap_item){seq, p};
}

void *memory_heap_pop(struct memory_heap *h)
{
	if (h->count == 0) {
		return NULL;
	}
	void *top = h->v[0].p;
	struct memory_heap_item last = h->v[--h->count];
	size_t i = 0;

	for (;;) {
		size_t child = 2 * i + 1;
		if (child >= h->count) {
			break;
		}
		child += child + 1 < h->count && h->v[child + 1].seq < h->v[child].seq;
		if (h->v[child].seq >= last.seq) {
			break;
		}
		h->v[i] = h->v[child];
		i = child;
	}
	h->v[i] = last;
	if (h->cap > 64 && h->count < h->cap / 8) {
		heap_resize(h, h->cap / 4);
	}
	return top;
}
