/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/flight.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define FLIGHT_CHUNK	 256u
#define FLIGHT_KEEP_FREE (4 * FLIGHT_CHUNK)
#define EXTRA_SPARE_MAX	 1024

static_assert(sizeof(struct flight) <= 128, "a flight is what a waiting event costs");
static_assert(FLIGHT_CHUNK - 1 <= UINT8_MAX, "flight.at");
static_assert(sizeof(void *) == 8, "a flight_ref packs two 32-bit numbers in a pointer");

struct flight_chunk {
	struct list empty; /* pool->empty while none of it lives */
	uint32_t live;
	uint32_t at; /* in pool->chunks */
	_Alignas(64) struct flight flights[FLIGHT_CHUNK];
};

static struct flight_chunk *chunk_of(const struct flight *f)
{
	return container_of((struct flight *)f - f->at, struct flight_chunk, flights);
}

void flight_pool_init(struct flight_pool *p, struct budget *budget)
{
	*p = (struct flight_pool){.budget = budget};
	list_init(&p->free);
	list_init(&p->empty);
	list_init(&p->spare);
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

static void extra_free(struct flight_pool *p, struct flight_extra *x)
{
	free(x);
	if (p->budget) {
		budget_release(p->budget, sizeof(*x));
	}
}

void flight_pool_finish(struct flight_pool *p)
{
	struct list *it;

	assert(p->n_live == 0);
	while ((it = list_pop_front(&p->spare))) {
		extra_free(p, container_of(it, struct flight_extra, timer.link));
	}
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
	struct flight_chunk *c = xcalloc_lines(sizeof(*c));
	uint32_t at = 0;

	while (at < p->n_chunks && p->chunks[at]) {
		at++;
	}
	if (at == p->n_chunks) {
		p->n_chunks = p->n_chunks ? p->n_chunks * 2 : 8;
		p->chunks = xrealloc(p->chunks, p->n_chunks * sizeof(*p->chunks));
		memset(p->chunks + at, 0, (p->n_chunks - at) * sizeof(*p->chunks));
	}
	c->at = at;
	p->chunks[at] = c;
	for (uint32_t i = 0; i < FLIGHT_CHUNK; i++) {
		c->flights[i].at = (uint8_t)i;
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
	uint8_t at;

	if (p->n_free == 0) {
		chunk_add(p);
	}
	f = container_of(list_pop_front(&p->free), struct flight, all);
	at = f->at;
	memset(f, 0, sizeof(*f));
	f->at = at;
	chunk = chunk_of(f);
	list_remove(&chunk->empty);
	chunk->live++;
	p->n_free--;
	p->n_live++;
	return f;
}

void flight_free(struct flight_pool *p, struct flight *f)
{
	struct flight_chunk *chunk = chunk_of(f);

	assert(!list_linked(&f->link) && !list_linked(&f->all));
	if (f->extra) {
		f->extra->failures.count = 0;
		flight_trim(p, f);
		assert(!f->extra);
	}
	f->state = FLIGHT_FREE;
	list_push_front(&p->free, &f->all);
	p->n_free++;
	p->n_live--;
	if (--chunk->live == 0) {
		list_push_back(&p->empty, &chunk->empty);
	}
	while (p->n_free > FLIGHT_KEEP_FREE + p->n_live && !list_empty(&p->empty)) {
		chunk = container_of(p->empty.next, struct flight_chunk, empty);
		chunk_free(p, chunk->at);
	}
}

struct flight_extra *flight_extra(struct flight_pool *p, struct flight *f)
{
	struct list *it;
	struct flight_extra *x;

	if (f->extra) {
		return f->extra;
	}
	it = list_pop_front(&p->spare);
	if (it) {
		x = container_of(it, struct flight_extra, timer.link);
		p->n_spare--;
	} else {
		x = xmalloc(sizeof(*x));
		if (p->budget) {
			budget_charge(p->budget, sizeof(*x));
		}
	}
	*x = (struct flight_extra){
		.flight = f,
		.generation = ++p->generation ? p->generation : ++p->generation,
	};
	f->extra = x;
	return x;
}

void flight_trim(struct flight_pool *p, struct flight *f)
{
	struct flight_extra *x = f->extra;

	if (!x || wheel_entry_armed(&x->timer) || x->failures.count > 0 || x->dead) {
		return;
	}
	f->extra = NULL;
	if (p->n_spare == EXTRA_SPARE_MAX) {
		extra_free(p, x);
		return;
	}
	list_push_front(&p->spare, &x->timer.link);
	p->n_spare++;
}

void flight_set_failures(struct flight_pool *p, struct flight *f, const struct failures *failures)
{
	if (f->extra || failures->count > 0) {
		flight_extra(p, f)->failures = *failures;
	}
}

void *flight_ref(const struct flight *f)
{
	const uint32_t index = chunk_of(f)->at * FLIGHT_CHUNK + f->at;

	assert(f->extra);
	return (void *)(uintptr_t)((uint64_t)f->extra->generation << 32 | index);
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
	return f->extra && f->extra->generation == generation ? f : NULL;
}
