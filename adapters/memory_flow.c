/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Flows of the memory bus.
 *
 * Happy path: a new flow that starts now is put among the routes at once and told live in the
 * next turn. Any other first collects from the history, a slice per turn, what is kept for it,
 * and joins the routes when it has caught up. A group's flow without members stays for
 * flow_expiry with its events and what was recorded of them; the next member resumes it.
 *
 * Failure modes: too many flows: refused. The time without members passes: the flow ends, and
 * what it lost is kept to be told to the next member. A flow that ends lets go of its events
 * a slice per turn, however many it has.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "adapters/memory_impl.h"
#include "base/mem.h"
#include "base/topic.h"

static uint64_t name_hash(const char *group, const char *pattern)
{
	return hash_slice(slice_str(group)) ^ hash_u64(hash_slice(slice_str(pattern)));
}

static struct memory_flow *find_flow(struct memory_bus *b, const struct flow_spec *spec)
{
	struct table_entry *e = table_first(&b->names, name_hash(spec->group, spec->pattern));

	for (; e; e = table_next(e)) {
		struct memory_flow *m = container_of(e, struct memory_flow, by_name);

		if (strcmp(m->group, spec->group) == 0 && strcmp(m->pattern, spec->pattern) == 0) {
			return m;
		}
	}
	return NULL;
}

void memory_flow_schedule(struct memory_flow *m)
{
	if (!list_linked(&m->ready) && memory_flow_has_work(m)) {
		list_push_back(&m->bus->ready, &m->ready);
		memory_work(m->bus);
	}
}

size_t memory_flow_footprint(const struct memory_flow *m)
{
	return m->pending.cap * sizeof(void *) + m->returned.cap * sizeof(struct memory_heap_item);
}

void memory_flow_update_lag(struct memory_flow *m)
{
	if (m->f) {
		m->f->lag = m->pending.count + m->returned.count + m->parked;
		m->f->lag_known = true;
	}
}

void memory_flow_push(struct memory_flow *m, struct memory_entry *const *entries, uint32_t n)
{
	const size_t before = memory_flow_footprint(m);

	for (uint32_t i = 0; i < n; i++) {
		memory_ring_push(&m->pending, entries[i]);
		m->bytes += entries[i]->bytes;
	}
	m->bus->queue_bytes += memory_flow_footprint(m) - before;
	memory_flow_update_lag(m);
	memory_flow_schedule(m);
}

/* The entry at the front leaves the ring. */
static struct memory_entry *pop_pending(struct memory_flow *m)
{
	const size_t before = memory_flow_footprint(m);
	struct memory_entry *e = memory_ring_pop(&m->pending);

	m->bus->queue_bytes += memory_flow_footprint(m) - before;
	m->bytes -= e->bytes;
	return e;
}

static void count_loss(struct memory_flow *m)
{
	m->lost++;
	m->stalled = false;
	memory_flow_update_lag(m);
	memory_flow_schedule(m);
}

void memory_flow_drop(struct memory_flow *m, struct memory_entry *e)
{
	if (m->pending.count == 0 || memory_ring_at(&m->pending, 0) != e) {
		return;
	}
	pop_pending(m);
	memory_entry_unqueue(&m->bus->log, e);
	count_loss(m);
}

bool memory_flows_drop_returned(struct memory_bus *b)
{
	struct memory_flow *largest = NULL;

	for (struct list *it = b->flows.next; it != &b->flows; it = it->next) {
		struct memory_flow *m = container_of(it, struct memory_flow, all);

		if (m->returned.count > 0 && (!largest || m->bytes > largest->bytes)) {
			largest = m;
		}
	}
	/* More than one, since the search has a price. */
	for (int i = 0; largest && largest->returned.count > 0 && i < MEMORY_CHUNK; i++) {
		const size_t before = memory_flow_footprint(largest);

		memory_hold_free(memory_heap_pop(&largest->returned));
		b->queue_bytes += memory_flow_footprint(largest) - before;
		count_loss(largest);
	}
	return largest != NULL;
}

const struct memory_flow *memory_flows_largest(struct memory_bus *b)
{
	const struct memory_flow *largest = NULL;

	for (struct list *it = b->flows.next; it != &b->flows; it = it->next) {
		const struct memory_flow *m = container_of(it, struct memory_flow, all);

		if (m->bytes > (largest ? largest->bytes : 0)) {
			largest = m;
		}
	}
	return largest;
}

/* ---- beginning ------------------------------------------------------------- */

static void tomb_free(struct memory_bus *b, struct memory_tomb *t)
{
	table_remove(&b->tombs, &t->by_name);
	list_remove(&t->link);
	free(t->group);
	free(t->pattern);
	free(t);
}

/* What the flow of this name lost when it ended, once. */
static uint64_t tomb_take(struct memory_bus *b, const struct flow_spec *spec)
{
	struct table_entry *e = table_first(&b->tombs, name_hash(spec->group, spec->pattern));

	for (; e; e = table_next(e)) {
		struct memory_tomb *t = container_of(e, struct memory_tomb, by_name);

		if (strcmp(t->group, spec->group) == 0 && strcmp(t->pattern, spec->pattern) == 0) {
			const uint64_t lost = t->lost;

			tomb_free(b, t);
			return lost;
		}
	}
	return 0;
}

static struct memory_flow *flow_create(struct memory_bus *b, const struct flow_spec *spec)
{
	struct memory_flow *m = xcalloc(1, sizeof(*m));

	m->bus = b;
	m->pattern = xstrdup(spec->pattern);
	m->start = spec->start;
	list_init(&m->holds);
	list_push_back(&b->flows, &m->all);
	b->n_flows++;
	if (spec->group) {
		m->group = xstrdup(spec->group);
		m->lost = tomb_take(b, spec);
		table_insert(&b->names, &m->by_name, name_hash(spec->group, spec->pattern));
	}
	return m;
}

static void flow_caught_up(struct memory_flow *m)
{
	memory_routes_add(&m->bus->routes, m);
	m->live = true;
	m->tell_live = true;
	memory_flow_update_lag(m);
	memory_flow_schedule(m);
}

static void replay_begin(struct memory_flow *m)
{
	struct memory_bus *b = m->bus;

	list_push_front(&b->log.entries, &m->cursor.link);
	list_push_back(&b->replaying, &m->replaying);
	/* Events that had passed it may be queued again. */
	list_remove(&b->log.drop.link);
	list_push_front(&b->log.entries, &b->log.drop.link);
	m->tell_gap = m->start.kind == START_POSITION && m->start.position.a < b->log.evicted_seq;
	memory_work(b);
}

void memory_subscribe(struct adapter *a, struct flow *f)
{
	struct memory_bus *b = memory_bus_of(a);
	struct memory_flow *m = f->spec.group ? find_flow(b, &f->spec) : NULL;

	if (!m && b->n_flows >= (size_t)b->opt->max_flows) {
		memory_notice(b, NOTICE_REFUSED, f, NULL);
		return;
	}
	if (m) {
		assert(!m->f);
		list_remove(&m->memberless);
		m->existed = true;
		m->tell_live = true;
	} else {
		m = flow_create(b, &f->spec);
	}
	m->f = f;
	f->impl = m;
	m->credit = (struct credit){0};
	memory_flow_update_lag(m);
	if (m->live) {
		memory_flow_schedule(m);
	} else if (m->start.kind == START_NEW) {
		flow_caught_up(m);
	} else {
		replay_begin(m);
	}
}

/* ---- history --------------------------------------------------------------- */

static bool starts_before(const struct start *s, const struct memory_entry *e)
{
	switch (s->kind) {
	case START_NEW:
		return false;
	case START_EARLIEST:
		return true;
	case START_TIME:
		return e->chunk->stored_ms >= s->time_ms;
	case START_POSITION:
		return e->log.seq > s->position.a;
	}
	return false;
}

static void queue_old(struct memory_flow *m, struct memory_entry *e)
{
	memory_entry_needed(&m->bus->log, e);
	e->queued++;
	memory_flow_push(m, &e, 1);
}

/* Collects from at most *budget entries; true when nothing is left to look at. */
static bool replay(struct memory_flow *m, uint32_t *budget)
{
	struct slice pattern = slice_str(m->pattern), topic = {0};
	bool matches = false;

	for (; *budget > 0; --*budget) {
		struct memory_entry *e = memory_log_walk(m->bus, &m->cursor);

		if (!e) {
			return true;
		}
		if (!starts_before(&m->start, e)) {
			continue;
		}
		if (!slice_eq(topic, e->event->topic)) {
			topic = e->event->topic;
			matches = pattern_matches(pattern, topic);
		}
		if (matches) {
			queue_old(m, e);
		}
	}
	return false;
}

void memory_flows_replay(struct memory_bus *b)
{
	uint32_t budget = MEMORY_SLICE;
	struct list *item;

	while (budget > 0 && (item = list_first(&b->replaying))) {
		struct memory_flow *m = container_of(item, struct memory_flow, replaying);

		if (replay(m, &budget)) {
			list_remove(&m->replaying);
			list_remove(&m->cursor.link);
			flow_caught_up(m);
		}
	}
}

/* ---- ending ---------------------------------------------------------------- */

/* Nobody finds it any more; its events go in slices. */
static void flow_end(struct memory_flow *m)
{
	struct memory_bus *b = m->bus;

	memory_routes_remove(&b->routes, m);
	if (m->group) {
		table_remove(&b->names, &m->by_name);
	}
	list_remove(&m->replaying);
	list_remove(&m->cursor.link);
	list_remove(&m->memberless);
	list_remove(&m->ready);
	list_remove(&m->all);
	list_push_back(&b->dying, &m->all);
	b->n_flows--;
	memory_work(b);
}

void memory_unsubscribe(struct adapter *a, struct flow *f)
{
	struct memory_bus *b = memory_bus_of(a);
	struct memory_flow *m = f->impl;

	if (m) {
		m->f = NULL;
		m->tell_live = false;
		list_remove(&m->ready);
		if (m->group && m->live) {
			m->expires_ms = (int64_t)uv_now(a->env.loop) + b->opt->flow_expiry_ms;
			list_push_back(&b->memberless, &m->memberless);
			memory_timer(b, m->expires_ms);
		} else {
			flow_end(m);
		}
	}
	memory_notice(b, NOTICE_GONE, f, NULL);
}

static void tomb_create(struct memory_bus *b, const struct memory_flow *m, uint64_t lost)
{
	struct memory_tomb *t = xcalloc(1, sizeof(*t));

	t->group = xstrdup(m->group);
	t->pattern = xstrdup(m->pattern);
	t->lost = lost;
	table_insert(&b->tombs, &t->by_name, name_hash(m->group, m->pattern));
	list_push_back(&b->tombs_by_age, &t->link);
	if (b->tombs.count > (size_t)b->opt->max_flows) {
		struct list *oldest = list_first(&b->tombs_by_age);

		tomb_free(b, container_of(oldest, struct memory_tomb, link));
	}
}

void memory_flows_expire(struct memory_bus *b, int64_t now_ms)
{
	struct list *item;

	while ((item = list_first(&b->memberless))) {
		struct memory_flow *m = container_of(item, struct memory_flow, memberless);

		if (m->expires_ms > now_ms) {
			memory_timer(b, m->expires_ms);
			return;
		}
		const uint64_t lost = m->lost + m->pending.count + m->returned.count + m->parked;
		if (lost > 0) {
			log_warn(b->base.tag,
				 "a group had no member for too long and lost its events group=%s "
				 "pattern=%s lost=%" PRIu64,
				 m->group, m->pattern, lost);
			tomb_create(b, m, lost);
		}
		flow_end(m);
	}
}

static void flow_free(struct memory_flow *m)
{
	m->bus->queue_bytes -= memory_flow_footprint(m);
	memory_ring_finish(&m->pending);
	memory_heap_finish(&m->returned);
	free(m->group);
	free(m->pattern);
	free(m);
}

/* Lets go of at most *budget events; true when it had no more and is gone. */
static bool bury(struct memory_flow *m, uint32_t *budget)
{
	while (*budget > 0 && m->pending.count > 0) {
		--*budget;
		memory_entry_unqueue(&m->bus->log, pop_pending(m));
	}
	while (*budget > 0 && !list_empty(&m->holds)) {
		--*budget;
		memory_hold_free(container_of(m->holds.next, struct memory_hold, link));
	}
	if (m->pending.count > 0 || !list_empty(&m->holds)) {
		return false;
	}
	flow_free(m);
	return true;
}

void memory_flows_bury(struct memory_bus *b)
{
	uint32_t budget = MEMORY_SLICE;
	struct list *item;

	while (budget > 0 && (item = list_pop_front(&b->dying))) {
		struct memory_flow *m = container_of(item, struct memory_flow, all);

		if (!bury(m, &budget)) {
			list_push_front(&b->dying, &m->all);
		}
	}
}

void memory_flows_finish(struct memory_bus *b)
{
	struct list *item;

	while ((item = list_first(&b->flows))) {
		flow_end(container_of(item, struct memory_flow, all));
	}
	while (!list_empty(&b->dying)) {
		memory_flows_bury(b);
	}
	while ((item = list_first(&b->tombs_by_age))) {
		tomb_free(b, container_of(item, struct memory_tomb, link));
	}
	table_finish(&b->names);
	table_finish(&b->tombs);
}
