/* SPDX-License-Identifier: Apache-2.0 */
/* Entries of the memory bus: where they live, and who needs them. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "adapters/memory_impl.h"
#include "base/mem.h"

/* ---- slabs ----------------------------------------------------------------- */

void memory_pool_init(struct memory_pool *p)
{
	*p = (struct memory_pool){0};
	list_init(&p->free);
}

void memory_pool_finish(struct memory_pool *p)
{
	for (uint32_t i = 0; i < p->n_slabs; i++) {
		free(p->slabs[i]);
	}
	free(p->slabs);
	memory_pool_init(p);
}

static uint32_t unused_slab(struct memory_pool *p)
{
	if (p->n_live_slabs == p->n_slabs) {
		const uint32_t n = p->n_slabs ? p->n_slabs * 2 : 4;

		p->slabs = xrealloc(p->slabs, n * sizeof(struct memory_slab *));
		for (uint32_t i = p->n_slabs; i < n; i++) {
			p->slabs[i] = NULL;
		}
		p->n_slabs = n;
	}
	uint32_t i = p->n_live_slabs; /* most often the first unused one */
	while (p->slabs[i]) {
		i = (i + 1) % p->n_slabs;
	}
	return i;
}

static void slab_create(struct memory_pool *p)
{
	const uint32_t at = unused_slab(p);
	struct memory_slab *s = xcalloc_lines(sizeof(*s));

	for (uint32_t i = 0; i < MEMORY_SLAB; i++) {
		s->entries[i].id = at * MEMORY_SLAB + i;
		list_push_back(&p->free, &s->entries[i].log.link);
	}
	p->slabs[at] = s;
	p->n_live_slabs++;
	p->n_free += MEMORY_SLAB;
}

static void slab_free(struct memory_pool *p, uint32_t at)
{
	struct memory_slab *s = p->slabs[at];

	for (uint32_t i = 0; i < MEMORY_SLAB; i++) {
		list_remove(&s->entries[i].log.link);
	}
	p->slabs[at] = NULL;
	p->n_live_slabs--;
	p->n_free -= MEMORY_SLAB;
	free(s);
}

struct memory_entry *memory_entry_create(struct memory_log *l)
{
	struct memory_pool *p = &l->pool;

	if (p->n_free == 0) {
		slab_create(p);
	}
	struct memory_link *link = container_of(list_pop_front(&p->free), struct memory_link, link);
	struct memory_entry *e = container_of(link, struct memory_entry, log);
	p->n_free--;
	p->slabs[e->id / MEMORY_SLAB]->live++;
	l->count++;
	*e = (struct memory_entry){.id = e->id};
	return e;
}

void memory_entry_free(struct memory_log *l, struct memory_entry *e)
{
	struct memory_pool *p = &l->pool;
	const uint32_t at = e->id / MEMORY_SLAB;

	l->count--;
	p->n_free++;
	list_push_front(&p->free, &e->log.link);
	if (--p->slabs[at]->live == 0 && p->n_free > MEMORY_FREE_MAX) {
		slab_free(p, at);
	}
}

/* ---- who needs them -------------------------------------------------------- */

/* Closes the holes, which are more than half. */
static void idle_compact(struct memory_log *l)
{
	struct memory_ring kept = {0};

	for (size_t i = 0; i < l->idle.count; i++) {
		struct memory_entry *e = memory_ring_at(&l->idle, i);

		if (e) {
			e->idle_at = l->idle_base + kept.count;
			memory_ring_push(&kept, e);
		}
	}
	memory_ring_finish(&l->idle);
	l->idle = kept;
}

void memory_entry_needed(struct memory_log *l, struct memory_entry *e)
{
	if (!e->idle) {
		return;
	}
	memory_ring_set(&l->idle, e->idle_at - l->idle_base, NULL);
	e->idle = 0;
	e->queued = e->held = 0;
	e->chunk->idle--;
	l->n_idle--;
	if (l->idle.count > 64 && l->n_idle < l->idle.count / 2) {
		idle_compact(l);
	}
}

void memory_entry_unneeded(struct memory_log *l, struct memory_entry *e)
{
	if (e->queued > 0 || e->held > 0) {
		return;
	}
	e->idle = 1;
	e->idle_at = l->idle_base + l->idle.count;
	memory_ring_push(&l->idle, e);
	e->chunk->idle++;
	l->n_idle++;
}

void memory_entry_unqueue(struct memory_log *l, struct memory_entry *e)
{
	assert(!e->idle && e->queued > 0);
	e->queued--;
	memory_entry_unneeded(l, e);
}

void memory_entry_unhold(struct memory_log *l, struct memory_entry *e)
{
	assert(!e->idle && e->held > 0);
	e->held--;
	memory_entry_unneeded(l, e);
}

struct memory_entry *memory_entry_oldest_idle(struct memory_log *l)
{
	while (l->idle.count > 0) {
		struct memory_entry *e = memory_ring_at(&l->idle, 0);

		if (e) {
			return e;
		}
		memory_ring_pop(&l->idle);
		l->idle_base++;
	}
	return NULL;
}

void memory_entry_prefetch_idle(const struct memory_log *l, uint32_t n)
{
	const size_t count = l->idle.count < n ? l->idle.count : n;

	for (size_t i = 0; i < count; i++) {
		__builtin_prefetch(memory_ring_at(&l->idle, i), 1);
	}
	for (size_t i = 0; i < count; i++) {
		const struct memory_entry *e = memory_ring_at(&l->idle, i);

		if (e) {
			memory_index_prefetch(&l->index, e->hash, false);
		}
	}
}
