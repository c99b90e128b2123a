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

uint64_t memory_index_hash(uint64_t topic_hash, struct slice id)
{
	/* Both halves are keyed; the rotation keeps topic and id from cancelling out. */
	return hash_slice(id) ^ (topic_hash << 23 | topic_hash >> 41);
}

void memory_index_prefetch(const struct memory_index *x, uint64_t hash)
{
	if (x->v) {
		__builtin_prefetch(&x->v[hash & x->mask]);
	}
}

static void put(struct memory_index *x, uint64_t hash, struct memory_entry *e)
{
	size_t i = hash & x->mask;

	while (x->v[i].entry) {
		i = (i + 1) & x->mask;
	}
	x->v[i] = (struct memory_slot){hash, e};
}

static void resize(struct memory_index *x, size_t slots)
{
	struct memory_slot *old = x->v;
	const size_t n = old ? x->mask + 1 : 0;

	x->v = xcalloc(slots, sizeof(*x->v));
	x->mask = slots - 1;
	for (size_t i = 0; i < n; i++) {
		if (old[i].entry) {
			put(x, old[i].hash, old[i].entry);
		}
	}
	free(old);
}

struct memory_entry *memory_index_find(const struct memory_index *x, uint64_t hash,
				       struct slice topic, struct slice id)
{
	if (!x->v) {
		return NULL;
	}
	for (size_t i = hash & x->mask; x->v[i].entry; i = (i + 1) & x->mask) {
		const struct event *e = x->v[i].entry->event;

		if (x->v[i].hash == hash && slice_eq(e->id, id) && slice_eq(e->topic, topic)) {
			return x->v[i].entry;
		}
	}
	return NULL;
}

void memory_index_insert(struct memory_index *x, struct memory_entry *e)
{
	if (!x->v) {
		resize(x, FIRST_SLOTS);
	} else if (x->count >= (x->mask + 1) / 4 * 3) {
		resize(x, (x->mask + 1) * 2);
	}
	put(x, e->hash, e);
	x->count++;
	e->indexed = true;
}

/* Closes the gap at i: what stands behind it and belongs at or before it moves up. */
static void close_gap(struct memory_index *x, size_t i)
{
	size_t next = i;

	for (;;) {
		next = (next + 1) & x->mask;
		if (!x->v[next].entry) {
			break;
		}
		const size_t home = x->v[next].hash & x->mask;
		if (((next - home) & x->mask) >= ((next - i) & x->mask)) {
			x->v[i] = x->v[next];
			i = next;
		}
	}
	x->v[i].entry = NULL;
}

void memory_index_remove(struct memory_index *x, struct memory_entry *e)
{
	assert(e->indexed);
	size_t i = e->hash & x->mask;
	while (x->v[i].entry != e) {
		assert(x->v[i].entry);
		i = (i + 1) & x->mask;
	}
	close_gap(x, i);
	e->indexed = false;
	x->count--;
	if (x->mask + 1 > FIRST_SLOTS && x->count < (x->mask + 1) / 8) {
		resize(x, (x->mask + 1) / 2);
	}
}
