/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The history of the memory bus: entries by sequence, each with its event in a chunk that was
 * stored together. Events are copied in, so that history neither pins a session's read buffer
 * nor counts against it. What nobody needs is evicted in the order in which it became so. A chunk
 * of which little is left, and all of that needed, is copied once more: one slow consumer does not
 * pin its neighbours' bytes.
 */
#include <assert.h>

#include "adapters/memory_impl.h"

void memory_log_init(struct memory_bus *b)
{
	struct memory_log *l = &b->log;

	list_init(&l->entries);
	memory_pool_init(&l->pool);
	list_push_front(&l->entries, &l->drop.link);
	l->limit = (size_t)b->opt->history;
	l->next_seq = 1;
}

size_t memory_log_footprint(const struct memory_log *l)
{
	return l->pool.n_live_slabs * sizeof(struct memory_slab) +
	       l->idle.cap * sizeof(struct memory_entry *) + memory_index_footprint(&l->index);
}

static struct slice rebase(struct slice s, const struct event *from, const uint8_t *to)
{
	if (s.n == 0) {
		return (struct slice){0};
	}
	if (s.p >= from->raw.p && s.p < from->raw.p + from->raw.n) {
		return slice_of(to + (s.p - from->raw.p), s.n);
	}
	assert(s.p >= from->tail.p && s.p + s.n <= from->tail.p + from->tail.n);
	return slice_of(to + from->raw.n + (s.p - from->tail.p), s.n);
}

/* The tail becomes part of raw: it belongs to this copy. */
static void copy_event(const struct event *from, struct event *to, uint8_t *bytes)
{
	memcpy(bytes, from->raw.p, from->raw.n);
	if (from->tail.n) {
		memcpy(bytes + from->raw.n, from->tail.p, from->tail.n);
	}
	to->raw = slice_of(bytes, event_size(from));
	to->id = rebase(from->id, from, bytes);
	to->topic = rebase(from->topic, from, bytes);
	to->payload = rebase(from->payload, from, bytes);
	to->key = rebase(from->key, from, bytes);
	to->content_type = rebase(from->content_type, from, bytes);
	to->message_type = rebase(from->message_type, from, bytes);
	to->published_at_ms = from->published_at_ms;
	to->metadata_count = from->metadata_count;
	to->metadata_bytes = from->metadata_bytes;
}

/* Moves the events of these entries into a block of their own. */
struct memory_chunk *memory_chunk_create(struct memory_bus *b, struct memory_entry *const *entries,
					 uint32_t n)
{
	size_t bytes = 0, cost = 0;

	for (uint32_t i = 0; i < n; i++) {
		bytes += event_size(entries[i]->event);
		cost += entries[i]->bytes;
	}
	/* The chunk itself stands first in the block's extra bytes. */
	struct event_block *block = event_block_create(n, sizeof(struct memory_chunk) + bytes, NULL,
						       b->base.env.budget);
	struct memory_chunk *c = (struct memory_chunk *)(void *)event_block_extra(block);
	*c = (struct memory_chunk){.block = block, .live = n, .live_cost = cost, .cost = cost};
	struct event *events = event_block_events(block);
	uint8_t *to = (uint8_t *)(c + 1);
	for (uint32_t i = 0; i < n; i++) {
		copy_event(entries[i]->event, &events[i], to);
		to += event_size(&events[i]);
		entries[i]->event = &events[i];
		entries[i]->chunk = c;
	}
	return c;
}

static struct memory_entry *entry_of(struct list *link)
{
	return container_of(link, struct memory_entry, log.link);
}

static bool same_chunk(struct memory_bus *b, struct list *link, const struct memory_chunk *c)
{
	if (link == &b->log.entries) {
		return false;
	}
	struct memory_link *l = container_of(link, struct memory_link, link);
	return l->seq == 0 || entry_of(link)->chunk == c;
}

/* Copies what is left of c, which stands together in the log just before or at `at`. */
static void chunk_compact(struct memory_bus *b, struct memory_chunk *c, struct list *at)
{
	struct memory_entry *left[MEMORY_CHUNK];
	uint32_t n = 0;

	while (same_chunk(b, at->prev, c)) {
		at = at->prev;
	}
	for (; n < c->live; at = at->next) {
		if (container_of(at, struct memory_link, link)->seq != 0) {
			left[n++] = entry_of(at);
			assert(left[n - 1]->chunk == c);
		}
	}
	struct memory_chunk *to = memory_chunk_create(b, left, n);
	to->stored_ms = c->stored_ms;
	to->mono_ms = c->mono_ms;
	event_block_unref(c->block);
}

/* e is not needed by anybody and leaves the history. */
void memory_entry_evict(struct memory_bus *b, struct memory_entry *e)
{
	struct memory_log *l = &b->log;
	struct memory_chunk *c = e->chunk;
	struct list *at = e->log.link.next;

	assert(e->idle);
	memory_entry_needed(l, e);
	list_remove(&e->log.link);
	if (e->slot) {
		memory_index_remove(l, e);
	}
	if (e->log.seq > l->evicted_seq) {
		l->evicted_seq = e->log.seq;
	}
	l->bytes -= e->bytes;
	c->live--;
	c->live_cost -= e->bytes;
	memory_entry_free(l, e);
	if (c->live == 0) {
		event_block_unref(c->block);
	} else if (c->idle == 0 && c->live_cost < c->cost / 2) {
		chunk_compact(b, c, at);
	}
}

struct memory_entry *memory_log_walk(struct memory_bus *b, struct memory_link *marker)
{
	struct list *at = marker->link.next;

	for (; at != &b->log.entries; at = at->next) {
		if (container_of(at, struct memory_link, link)->seq != 0) {
			list_remove(&marker->link);
			list_insert_before(at->next, &marker->link);
			return entry_of(at);
		}
	}
	return NULL;
}

struct memory_entry *memory_log_oldest_queued(struct memory_bus *b)
{
	struct list *at = b->log.drop.link.next;
	struct memory_entry *found = NULL;

	for (; at != &b->log.entries && !found; at = at->next) {
		struct memory_entry *e = entry_of(at);

		if (e->log.seq == 0) {
			continue;
		}
		if (!e->chunk) { /* being stored just now */
			break;
		}
		found = !e->idle && e->queued > 0 ? e : NULL;
	}
	/* What was passed is held or gone and will not be queued again, but for a replay. */
	at = found ? &found->log.link : at;
	list_remove(&b->log.drop.link);
	list_insert_before(at, &b->log.drop.link);
	return found;
}

void memory_log_finish(struct memory_bus *b)
{
	struct memory_log *l = &b->log;
	struct list *item;

	list_remove(&l->drop.link);
	while ((item = list_pop_front(&l->entries))) {
		struct memory_chunk *c = entry_of(item)->chunk;

		if (--c->live == 0) {
			event_block_unref(c->block);
		}
	}
	memory_ring_finish(&l->idle);
	memory_index_finish(&l->index);
	memory_pool_finish(&l->pool);
	l->count = 0;
}
