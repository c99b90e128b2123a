/* SPDX-License-Identifier: Apache-2.0 */
/* Holds of the memory bus: the handles of what was handed out, in slabs. */
#include <assert.h>
#include <stdlib.h>

#include "adapters/memory_impl.h"
#include "base/mem.h"

#define SLAB_HOLDS 256

struct slab {
	uint32_t live;
	struct memory_hold holds[SLAB_HOLDS];
};

static struct slab *slab_of(struct memory_hold *h)
{
	return container_of(h - h->index, struct slab, holds);
}

static void slab_create(struct memory_bus *b)
{
	struct slab *s = xmalloc(sizeof(*s));

	s->live = 0;
	for (uint32_t i = 0; i < SLAB_HOLDS; i++) {
		s->holds[i].index = (uint8_t)i;
		list_push_back(&b->free_holds, &s->holds[i].link);
	}
	b->n_free_holds += SLAB_HOLDS;
	b->hold_bytes += sizeof(struct slab);
}

static void slab_free(struct memory_bus *b, struct slab *s)
{
	for (size_t i = 0; i < SLAB_HOLDS; i++) {
		list_remove(&s->holds[i].link);
	}
	b->n_free_holds -= SLAB_HOLDS;
	b->hold_bytes -= sizeof(struct slab);
	free(s);
}

struct memory_entry *memory_hold_entry(const struct memory_hold *h)
{
	return memory_entry_at(&h->flow->bus->log, h->entry);
}

struct memory_hold *memory_hold_create(struct memory_flow *m, struct memory_entry *e)
{
	struct memory_bus *b = m->bus;

	if (b->n_free_holds == 0) {
		slab_create(b);
	}
	struct memory_hold *h =
		container_of(list_pop_front(&b->free_holds), struct memory_hold, link);
	b->n_free_holds--;
	b->n_holds++;
	slab_of(h)->live++;
	*h = (struct memory_hold){.flow = m, .entry = e->id, .state = HOLD_OUT, .index = h->index};
	list_push_back(&m->holds, &h->link);
	e->queued--;
	e->held++;
	return h;
}

struct memory_record *memory_hold_record(struct memory_hold *h, const struct failures *failures)
{
	if (!h->record) {
		h->record = xcalloc(1, sizeof(*h->record));
		h->record->hold = h;
		h->flow->bus->n_records++;
	}
	h->record->failures = *failures;
	return h->record;
}

void memory_hold_free(struct memory_hold *h)
{
	struct memory_flow *m = h->flow;
	struct memory_bus *b = m->bus;
	struct memory_entry *e = memory_hold_entry(h);
	struct slab *s = slab_of(h);

	if (h->record) {
		wheel_remove(&b->wheel, &h->record->park);
		free(h->record);
		b->n_records--;
	}
	m->bytes -= e->bytes;
	memory_entry_unhold(&b->log, e);
	list_remove(&h->link);
	list_push_front(&b->free_holds, &h->link);
	b->n_free_holds++;
	b->n_holds--;
	if (--s->live == 0 && b->n_free_holds > MEMORY_FREE_MAX) {
		slab_free(b, s);
	}
}

size_t memory_holds_footprint(const struct memory_bus *b)
{
	return b->hold_bytes + b->n_records * sizeof(struct memory_record);
}

void memory_holds_finish(struct memory_bus *b)
{
	assert(b->n_holds == 0);
	while (b->n_free_holds > 0) {
		struct list *first = list_first(&b->free_holds);

		slab_free(b, slab_of(container_of(first, struct memory_hold, link)));
	}
}
