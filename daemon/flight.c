/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/flight.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define FLIGHT_CHUNK	 256u
#define FLIGHT_KEEP_FREE (4 * FLIGHT_CHUNK)

static_assert(sizeof(struct flight) <= 200, "a flight is what a waiting event costs");
static_assert(sizeof(void *) == 8, "a flight_ref packs two 32-bit numbers in a pointer");

struct flight_chunk {
	struct list empty; /* pool->empty while none of it lives */
	uint32_t live;
	struct flight flights[FLIGHT_CHUNK];
};

void flight_pool_init(struct flight_pool *p, struct budget *budget)
{
	*p = (struct flight_pool){.budget = budget};
	list_init(&p->free);
	list_init(&p->empty);
}

static void chunk_free(struct flight_pool *p, uint32_t at)
{
	struct flight_chunk *c = p->chunks[at];

	assert(c->live == 0);
	list_remove(&c->empty);
	for (uint32_t i = 0; i < FLIGHT_CHUNK; i++) {
		list_remove(&c->flights[i].all);
	}
	p->n_free -= FLIGHT_CHUNK;
	p->chunks[at] = NULL;
	free(c);
	if (p->budget) {
		budget_release(p->budget, sizeof(*c));
	}
}

void flight_pool_finish(struct flight_pool *p)
{
	assert(p->n_live == 0);
	for (uint32_t i = 0; i < p->n_chunks; i++) {
		if (p->chunks[i]) {
			chunk_free(p, i);
		}
	}
	free(p->chunks);
	flight_pool_init(p, p->budget);
}

/* Only when none is free, so it costs little that holes are searched one by one. */
static void chunk_add(struct flight_pool *p)
{
	struct flight_chunk *c = xcalloc(1, sizeof(*c));
	uint32_t at = 0;

	while (at < p->n_chunks && p->chunks[at]) {
		at++;
	}
	if (at == p->n_chunks) {
		p->n_chunks = p->n_chunks ? p->n_chunks * 2 : 8;
		p->chunks = xrealloc(p->chunks, p->n_chunks * sizeof(*p->chunks));
		memset(p->chunks + at, 0, (p->n_chunks - at) * sizeof(*p->chunks));
	}
	p->chunks[at] = c;
	for (uint32_t i = 0; i < FLIGHT_CHUNK; i++) {
		c->flights[i].index = at * FLIGHT_CHUNK + i;
		list_push_back(&p->free, &c->flights[i].all);
	}
	list_push_back(&p->empty, &c->empty);
	p->n_free += FLIGHT_CHUNK;
	if (p->budget) {
		budget_charge(p->budget, sizeof(*c));
	}
}

struct flight *flight_alloc(struct flight_pool *p)
{
	struct flight_chunk *chunk;
	struct flight *f;
	uint32_t index;

	if (p->n_free == 0) {
		chunk_add(p);
	}
	f = container_of(list_pop_front(&p->free), struct flight, all);
	index = f->index;
	memset(f, 0, sizeof(*f));
	f->index = index;
	f->generation = ++p->generation ? p->generation : ++p->generation;
	chunk = p->chunks[index / FLIGHT_CHUNK];
	list_remove(&chunk->empty);
	chunk->live++;
	p->n_free--;
	p->n_live++;
	return f;
}

void flight_free(struct flight_pool *p, struct flight *f)
{
	struct flight_chunk *chunk = p->chunks[f->index / FLIGHT_CHUNK];

	assert(f->generation != 0);
	assert(!list_linked(&f->link) && !list_linked(&f->all));
	f->generation = 0;
	f->state = FLIGHT_FREE;
	list_push_front(&p->free, &f->all);
	p->n_free++;
	p->n_live--;
	if (--chunk->live == 0) {
		list_push_back(&p->empty, &chunk->empty);
	}
	while (p->n_free > FLIGHT_KEEP_FREE + p->n_live && !list_empty(&p->empty)) {
		chunk = container_of(p->empty.next, struct flight_chunk, empty);
		chunk_free(p, chunk->flights[0].index / FLIGHT_CHUNK);
	}
}

void *flight_ref(const struct flight *f)
{
	return (void *)(uintptr_t)((uint64_t)f->generation << 32 | f->index);
}

struct flight *flight_find(const struct flight_pool *p, void *ref)
{
	const uint64_t name = (uintptr_t)ref;
	const uint32_t index = (uint32_t)name, generation = (uint32_t)(name >> 32);
	const uint32_t at = index / FLIGHT_CHUNK;
	struct flight *f;

	if (at >= p->n_chunks || !p->chunks[at]) {
		return NULL;
	}
	f = &p->chunks[at]->flights[index % FLIGHT_CHUNK];
	return generation != 0 && f->generation == generation ? f : NULL;
}
