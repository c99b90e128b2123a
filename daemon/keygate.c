/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/keygate.h"

#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"

#define SPARE_MAX 1024

struct key_slot {
	struct table_entry entry;
	struct list queue; /* gated flights, oldest first */
	struct list spare;
	struct flight *open; /* the one that may go */
};

void keygate_init(struct keygate *g)
{
	*g = (struct keygate){0};
	table_init(&g->slots);
	list_init(&g->spare);
}

void keygate_finish(struct keygate *g)
{
	struct list *it;

	assert(g->slots.count == 0 && g->n_gated == 0);
	while ((it = list_pop_front(&g->spare))) {
		free(container_of(it, struct key_slot, spare));
	}
	table_finish(&g->slots);
}

static struct key_slot *slot_open(struct keygate *g, uint64_t key_hash)
{
	struct list *it = list_pop_front(&g->spare);
	struct key_slot *s;

	if (it) {
		s = container_of(it, struct key_slot, spare);
		g->n_spare--;
	} else {
		s = xcalloc(1, sizeof(*s));
		list_init(&s->queue);
	}
	table_insert(&g->slots, &s->entry, key_hash);
	return s;
}

static void slot_close(struct keygate *g, struct key_slot *s)
{
	table_remove(&g->slots, &s->entry);
	if (g->n_spare == SPARE_MAX) {
		free(s);
		return;
	}
	list_push_front(&g->spare, &s->spare);
	g->n_spare++;
}

bool keygate_enter(struct keygate *g, struct flight *f, uint64_t key_hash)
{
	struct table_entry *e = table_first(&g->slots, key_hash);
	struct key_slot *s = e ? container_of(e, struct key_slot, entry) : slot_open(g, key_hash);

	assert(!f->slot);
	f->slot = s;
	if (!s->open) {
		s->open = f;
		return true;
	}
	f->state = FLIGHT_GATED;
	list_push_back(&s->queue, &f->link);
	g->n_gated++;
	g->gated_bytes += f->size;
	return false;
}

static struct flight *pop_gated(struct keygate *g, struct key_slot *s)
{
	struct list *it = list_pop_front(&s->queue);
	struct flight *f = it ? container_of(it, struct flight, link) : NULL;

	if (f) {
		g->n_gated--;
		g->gated_bytes -= f->size;
	}
	return f;
}

struct flight *keygate_leave(struct keygate *g, struct flight *f)
{
	struct key_slot *s = f->slot;
	struct flight *next;

	if (!s) {
		return NULL;
	}
	f->slot = NULL;
	if (s->open != f) {
		assert(f->state == FLIGHT_GATED);
		list_remove(&f->link);
		g->n_gated--;
		g->gated_bytes -= f->size;
		return NULL;
	}
	next = pop_gated(g, s);
	s->open = next;
	if (!next) {
		slot_close(g, s);
	}
	return next;
}
