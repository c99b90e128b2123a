/* SPDX-License-Identifier: Apache-2.0 */
/* The dedupe index of the memory bus: topic and id of what the history keeps. */
#include <assert.h>
#include <stdlib.h>

#include "adapters/memory_impl.h"
#include "base/mem.h"

#define FIRST_SLOTS 256

void memory_index_finish(struct memory_index *x)
{
	free(x->v);
	*x = (struct memory_index){0};
}

/* Places follow from the lower bits, so the upper ones tell neighbours apart. */
uint32_t memory_index_hash(uint64_t topic_hash, struct slice id)
{
	/* Both halves are keyed; the rotation keeps topic and id from cancelling out. */
	return (uint32_t)(hash_slice(id) ^ (topic_hash << 23 | topic_hash >> 41));
}

static uint64_t slot_of(const struct memory_entry *e)
{
	return (uint64_t)e->hash << 32 | (e->id + 1);
}

static size_t home(const struct memory_index *x, uint64_t slot)
{
	return slot >> 32 & x->mask;
}

void memory_index_prefetch(const struct memory_index *x, uint32_t hash)
{
	if (x->v) {
		__builtin_prefetch(&x->v[hash & x->mask]);
	}
}

static void put(struct memory_index *x, uint64_t slot)
{
	size_t i = home(x, slot);

	while (x->v[i]) {
		i = (i + 1) & x->mask;
	}
	x->v[i] = slot;
}

static void resize(struct memory_index *x, size_t slots)
{
	uint64_t *old = x->v;
	const size_t n = old ? x->mask + 1 : 0;

	x->v = xcalloc(slots, sizeof(*x->v));
	x->mask = slots - 1;
	for (size_t i = 0; i < n; i++) {
		if (old[i]) {
			put(x, old[i]);
		}
	}
	free(old);
}

struct memory_entry *memory_index_find(const struct memory_log *l, uint32_t hash,
				       struct slice topic, struct slice id)
{
	const struct memory_index *x = &l->index;

	if (!x->v) {
		return NULL;
	}
	for (size_t i = hash & x->mask; x->v[i]; i = (i + 1) & x->mask) {
		if (x->v[i] >> 32 != hash) {
			continue;
		}
		struct memory_entry *e = memory_entry_at(l, (uint32_t)x->v[i] - 1);
		if (slice_eq(e->event->id, id) && slice_eq(e->event->topic, topic)) {
			return e;
		}
	}
	return NULL;
}

void memory_index_insert(struct memory_index *x, struct memory_entry *e)
{
	if (!x->v) {
		resize(x, FIRST_SLOTS);
	} else if (x->count >= (x->mask + 1) / 2) {
		resize(x, (x->mask + 1) * 2);
	}
	put(x, slot_of(e));
	x->count++;
	e->indexed = true;
}

/* Closes the gap at i: what stands behind it and belongs at or before it moves up. */
static void close_gap(struct memory_index *x, size_t i)
{
	for (size_t next = (i + 1) & x->mask; x->v[next]; next = (next + 1) & x->mask) {
		if (((next - home(x, x->v[next])) & x->mask) >= ((next - i) & x->mask)) {
			x->v[i] = x->v[next];
			i = next;
		}
	}
	x->v[i] = 0;
}

void memory_index_remove(struct memory_index *x, struct memory_entry *e)
{
	const uint64_t slot = slot_of(e);
	size_t i = home(x, slot);

	assert(e->indexed);
	while (x->v[i] != slot) {
		assert(x->v[i]);
		i = (i + 1) & x->mask;
	}
	close_gap(x, i);
	e->indexed = false;
	x->count--;
	if (x->mask + 1 > FIRST_SLOTS && x->count < (x->mask + 1) / 8) {
		resize(x, (x->mask + 1) / 2);
	}
}
