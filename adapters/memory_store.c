/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the memory bus takes a batch.
 *
 * Happy path: the batch is looked at in chunks. Every event gets room (unneeded entries go,
 * oldest first), an entry, and its place in the dedupe index; the chunk's bytes are copied
 * into one block; each run of one topic goes to the flows that its route names.
 *
 * Failure modes: a duplicate is answered with the place of the first. No room and everything
 * needed: `refuse` answers overloaded, and the rest of the batch with it, so that nothing
 * overtakes; `drop_oldest` takes the oldest event that is queued away from its flows, which count
 * it. An event larger than the whole history is refused alone.
 */
#include <assert.h>
#include <stdio.h>

#include "adapters/memory_impl.h"
#include "base/clock.h"

#define BUDGET_AIR 16 /* a sixteenth of the daemon's memory */

struct chunk_work {
	struct publish *p;
	uint32_t first, n; /* items */
	int64_t mono_ms;
	uint64_t topic_hash[MEMORY_CHUNK]; /* of each item */
	uint32_t hash[MEMORY_CHUNK];
	uint32_t stored;
	struct memory_entry *entries[MEMORY_CHUNK]; /* what was stored ... */
	uint64_t route_hash[MEMORY_CHUNK];	    /* ... and where it goes */
	bool full;
};

/* Takes the oldest queued event from its flows, else some that were given back; false: none. */
static bool drop_oldest(struct memory_bus *b)
{
	struct memory_entry *e = memory_log_oldest_queued(b);

	if (!e) {
		return memory_flows_drop_returned(b);
	}
	const struct memory_route *r =
		memory_routes_find(&b->routes, e->event->topic, hash_slice(e->event->topic));
	for (uint32_t i = 0; i < r->n; i++) {
		memory_flow_drop(r->flows[i], e);
	}
	for (struct list *it = b->replaying.next; it != &b->replaying; it = it->next) {
		memory_flow_drop(container_of(it, struct memory_flow, replaying), e);
	}
	assert(e->idle || e->queued == 0);
	return true;
}

static bool evict_oldest(struct memory_bus *b)
{
	struct memory_entry *e = memory_entry_oldest_idle(&b->log);

	if (e) {
		memory_entry_evict(b, e);
	}
	return e != NULL;
}

/* False when everything kept is needed. The daemon's own limit takes history, never needs. */
static bool make_room(struct memory_bus *b, size_t bytes)
{
	const struct budget *budget = b->base.env.budget;

	while (b->log.bytes + bytes > b->log.limit) {
		if (evict_oldest(b)) {
			continue;
		}
		if (!list_empty(&b->dying)) {
			memory_flows_bury(b);
		} else if (b->opt->overflow != MEMORY_DROP_OLDEST || !drop_oldest(b)) {
			return false;
		}
	}
	/* What nobody needs leaves the others some air; what is needed may take the last byte. */
	size_t room = budget_free(budget);
	while (room < bytes + budget->limit / BUDGET_AIR && evict_oldest(b)) {
		room = budget_free(budget);
	}
	return room >= bytes;
}

/* Who fills the memory; looked for once a turn. */
static const char *full_text(struct memory_bus *b)
{
	const size_t size = sizeof(b->full_text);
	const struct memory_flow *m;

	if (b->full_turn == b->turn && b->full_text[0]) {
		return b->full_text;
	}
	b->full_turn = b->turn;
	m = memory_flows_largest(b);
	if (!m) {
		snprintf(b->full_text, size, "the daemon's memory limit is reached");
	} else if (m->group) {
		snprintf(b->full_text, size,
			 "the memory bus is full: group %s holds most of it, %zu KiB of %.100s",
			 m->group, m->bytes / 1024, m->pattern);
	} else {
		snprintf(b->full_text, size,
			 "the memory bus is full: a subscriber without group holds most of it, "
			 "%zu KiB of %.100s",
			 m->bytes / 1024, m->pattern);
	}
	log_repeated(&b->full_log, LOG_LEVEL_WARN, b->base.tag, "%s", b->full_text);
	return b->full_text;
}

static void answer_ok(struct publish_item *item, uint64_t seq, bool duplicate)
{
	item->position = (struct position){.a = seq};
	item->duplicate = duplicate;
	item->answer.outcome = OUTCOME_OK;
	item->answer.reason = REASON_NONE;
	item->answer.text[0] = '\0';
}

/* The entry that this item repeats; one that fell out of the window leaves the index. */
static struct memory_entry *find_first(struct memory_bus *b, const struct chunk_work *w,
				       const struct event *e, uint32_t hash)
{
	struct memory_entry *first = memory_index_find(&b->log, hash, e->topic, e->id);

	if (!first || !first->chunk || /* of this very chunk */
	    w->mono_ms - first->chunk->mono_ms <= b->opt->dedupe_window_ms) {
		return first;
	}
	memory_index_remove(&b->log, first);
	return NULL;
}

static void store_entry(struct memory_bus *b, struct chunk_work *w, uint32_t k, size_t bytes)
{
	struct memory_log *l = &b->log;
	struct publish_item *item = &w->p->items[w->first + k];
	struct memory_entry *e = memory_entry_create(l);

	e->log.seq = l->next_seq++;
	e->event = item->event;
	e->hash = w->hash[k];
	e->bytes = (uint32_t)bytes & INT32_MAX;
	list_push_back(&l->entries, &e->log.link);
	l->bytes += bytes;
	if (b->opt->dedupe_window_ms > 0 && item->event->id.n > 0) {
		memory_index_insert(l, e);
	}
	w->entries[w->stored] = e;
	w->route_hash[w->stored++] = w->topic_hash[k];
	answer_ok(item, e->log.seq, false);
}

static void take_item(struct memory_bus *b, struct chunk_work *w, uint32_t k)
{
	struct publish_item *item = &w->p->items[w->first + k];
	const struct event *e = item->event;
	const size_t bytes = event_size(e) + MEMORY_OVERHEAD;

	item->duplicate = false;
	if (b->opt->dedupe_window_ms > 0 && e->id.n > 0) {
		const struct memory_entry *first = find_first(b, w, e, w->hash[k]);

		if (first) {
			answer_ok(item, first->log.seq, true);
			return;
		}
	}
	if (bytes > b->log.limit || bytes > INT32_MAX) {
		answer_set(&item->answer, OUTCOME_PERMANENT, REASON_TOO_LARGE,
			   "%zu bytes do not fit the history of the memory bus (%zu)",
			   event_size(e), b->log.limit);
		return;
	}
	if (w->full || !make_room(b, bytes)) {
		w->full = true;
		answer_set(&item->answer, OUTCOME_NOT_STORED, REASON_OVERLOADED, "%s",
			   full_text(b));
		return;
	}
	store_entry(b, w, k, bytes);
}

/* How many of the next items make a chunk; their hashes, and the index on its way to the cache. */
static void look_ahead(struct memory_bus *b, struct chunk_work *w)
{
	size_t bytes = 0;
	struct slice last = {0};

	w->n = 0;
	while (w->n < MEMORY_CHUNK && w->first + w->n < w->p->n && bytes < MEMORY_CHUNK_BYTES) {
		const struct event *e = w->p->items[w->first + w->n].event;
		const uint32_t k = w->n++;

		w->topic_hash[k] = k > 0 && slice_eq(e->topic, last) ? w->topic_hash[k - 1]
								     : hash_slice(e->topic);
		last = e->topic;
		bytes += event_size(e);
		w->hash[k] = 0;
		if (b->opt->dedupe_window_ms > 0) {
			w->hash[k] = memory_index_hash(w->topic_hash[k], e->id);
			memory_index_prefetch(&b->log.index, w->hash[k], true);
		}
	}
	if (b->log.bytes + bytes + w->n * MEMORY_OVERHEAD > b->log.limit) {
		memory_entry_prefetch_idle(&b->log, w->n);
	}
}

/* Runs of one topic go to its flows together. */
static void route_chunk(struct memory_bus *b, struct chunk_work *w)
{
	uint32_t n;

	for (uint32_t k = 0; k < w->stored; k += n) {
		const struct slice topic = w->entries[k]->event->topic;
		const struct memory_route *r =
			memory_routes_find(&b->routes, topic, w->route_hash[k]);

		for (n = 0; k + n < w->stored && w->route_hash[k + n] == w->route_hash[k] &&
			    slice_eq(w->entries[k + n]->event->topic, topic);
		     n++) {
			w->entries[k + n]->queued = r->n;
			memory_entry_unneeded(&b->log, w->entries[k + n]);
		}
		for (uint32_t i = 0; i < r->n; i++) {
			memory_flow_push(r->flows[i], &w->entries[k], n);
		}
	}
}

void memory_store(struct memory_bus *b, struct publish *p)
{
	struct chunk_work w;

	w.p = p;
	w.full = false;
	w.mono_ms = (int64_t)uv_now(b->base.env.loop);
	if (b->unix_at != w.mono_ms) {
		b->unix_at = w.mono_ms;
		b->unix_ms = clock_unix_ms();
	}
	for (w.first = 0; w.first < p->n; w.first += w.n) {
		w.stored = 0;
		look_ahead(b, &w);
		for (uint32_t k = 0; k < w.n; k++) {
			take_item(b, &w, k);
		}
		if (w.stored > 0) {
			struct memory_chunk *c = memory_chunk_create(b, w.entries, w.stored);

			c->stored_ms = b->unix_ms;
			c->mono_ms = w.mono_ms;
			route_chunk(b, &w);
		}
	}
}
