/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way of an event through a feed.
 *
 * Happy path: the adapter delivers within the credit; each event gets a flight, passes its key's
 * gate and becomes ready; hungry members take what is ready in turns; the client settles and the
 * pipeline calls feed_finish; at the end of the turn the settlements go to the adapter in batches
 * and the credit is renewed.
 *
 * Failure modes:
 * - nobody is left to take it, or the daemon drains: given back to the broker, uncounted;
 * - the retry window is full: no more credit until there is room, members are told;
 * - memory is short: a trickle of credit, so that what is held can still move;
 * - the event is not ours: a more specific pattern has its own copy (acknowledged), or nothing
 *   matches (kept, or dead-lettered, as the file says).
 */
#include "daemon/feed.h"

#include <assert.h>
#include <string.h>

#include "daemon/pipeline/step.h"

#define QUANTUM_MAX 64u

void feed_mark(struct feed *f)
{
	if (!list_linked(&f->dirty)) {
		list_push_back(&f->bus->dirty, &f->dirty);
		bus_mark(f->bus);
	}
}

/* ---- what belongs here ------------------------------------------------------ */

static const struct feed *shadow_of(const struct feed *f, struct slice topic)
{
	for (uint32_t i = 0; i < f->n_shadows; i++) {
		const struct feed *o = f->shadows[i];

		if (o->n_open > 0 && pattern_matches(slice_str(o->flow.spec.pattern), topic)) {
			return o;
		}
	}
	return NULL;
}

static enum feed_fit fit_of(struct feed *f, struct slice topic)
{
	const struct slice pattern = slice_str(f->flow.spec.pattern);

	f->last.shadow = NULL;
	if (!topic_valid(topic)) {
		return FIT_FOREIGN;
	}
	if (!pattern_matches(pattern, topic)) {
		return topic.n > 4 && memcmp(topic.p, "dlq.", 4) == 0 ? FIT_HIDDEN : FIT_FOREIGN;
	}
	f->last.shadow = shadow_of(f, topic);
	return f->last.shadow ? FIT_SUPERSEDED : FIT_MINE;
}

/* Makes `last` speak of that topic. False: the topic is too long to remember. */
static bool remember(struct feed *f, struct slice topic)
{
	if (f->last.n == topic.n && memcmp(f->last.topic, topic.p, topic.n) == 0) {
		return true;
	}
	if (topic.n == 0 || topic.n > sizeof(f->last.topic)) {
		return false;
	}
	memcpy(f->last.topic, topic.p, topic.n);
	f->last.n = (uint16_t)topic.n;
	f->last.fit = fit_of(f, topic);
	policy_entry_unref(f->last.policy);
	f->last.policy = NULL;
	return true;
}

struct policy_entry *feed_policy(struct feed *f, struct slice topic)
{
	if (!remember(f, topic)) {
		return policy_book_find(f->bus->book, topic, f->group->name);
	}
	if (!f->last.policy) {
		f->last.policy = policy_book_find(f->bus->book, topic, f->group->name);
	}
	return policy_entry_ref(f->last.policy);
}

/* ---- arrival ---------------------------------------------------------------- */

static void use_credit(struct feed *f, size_t bytes)
{
	f->granted.events -= f->granted.events > 0;
	f->granted.bytes -= bytes < f->granted.bytes ? bytes : f->granted.bytes;
}

static struct flight *arrive(struct feed *f, const struct delivery *d)
{
	struct flight *fl = flight_alloc(&f->bus->flights);

	fl->event = d->event;
	fl->handle = d->handle;
	fl->feed = f;
	flight_set_failures(&f->bus->flights, fl, &d->failures);
	fl->position = d->position;
	fl->size = (uint32_t)event_size(d->event);
	fl->late = f->bus->draining;
	list_push_back(&f->flights, &fl->all);
	f->n_flights++;
	f->epoch = d->epoch;
	use_credit(f, fl->size);
	return fl;
}

static void not_mine(struct feed *f, struct flight *fl, enum feed_fit how)
{
	if (how == FIT_FOREIGN) {
		f->counts.unmatched++;
		f->bus->totals.unmatched++;
		log_repeated(&f->unmatched_log, LOG_LEVEL_WARN, "bus",
			     "event matches no pattern: kept or dead-lettered as the file says "
			     "topic=%.*s pattern=%s",
			     SLICE_ARG(fl->event->topic), f->flow.spec.pattern);
		step_unmatched(fl);
		return;
	}
	f->counts.superseded++;
	f->bus->totals.superseded++;
	feed_finish(fl, SETTLE_ACK);
}

/* Whether fl may go now; else it queues behind its key. */
static bool gate_open(struct feed *f, struct flight *fl)
{
	const struct slice key = f->group->order == ORDER_TOPIC ? fl->event->topic : fl->event->key;

	if (f->group->order == ORDER_NONE || key.n == 0) {
		return true;
	}
	return keygate_enter(&f->gate, fl, hash_slice(key));
}

static enum feed_fit fit(struct feed *f, const struct event *e)
{
	if (!remember(f, e->topic)) {
		return FIT_FOREIGN;
	}
	/* A backlog from before the other flow began is not in it: twice is better than never. */
	if (f->last.fit == FIT_SUPERSEDED &&
	    (!feed_there(f->last.shadow) ||
	     (f->since_ms == 0 && e->published_at_ms < f->last.shadow->since_ms))) {
		return FIT_MINE;
	}
	return f->last.fit;
}

void feed_deliver(struct feed *f, struct delivery *items, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		struct flight *fl = arrive(f, &items[i]);
		const enum feed_fit how = fit(f, fl->event);

		if (how != FIT_MINE) {
			not_mine(f, fl, how);
		} else if (gate_open(f, fl)) {
			feed_offer(fl, false);
		}
	}
	f->counts.delivered += n;
	f->bus->totals.delivered += n;
	feed_dispatch(f);
	feed_mark(f);
}

/* ---- ready and onwards -------------------------------------------------------- */

static void settle_later(struct flight *fl, enum settle_kind kind)
{
	struct feed *f = fl->feed;

	fl->state = FLIGHT_SETTLING;
	fl->settle = (uint8_t)kind;
	list_push_back(&f->settling, &fl->link);
	if (kind == SETTLE_RELEASE) {
		f->counts.returned++;
		f->bus->totals.returned++;
		f->bus->report.returned += f->bus->draining && !fl->late;
	}
	feed_mark(f);
}

void feed_offer(struct flight *fl, bool front)
{
	struct feed *f = fl->feed;

	if (feed_deserted(f)) {
		/* The ones behind it in its key go the same way, one after the other. */
		while (fl) {
			struct flight *next = keygate_leave(&f->gate, fl);

			settle_later(fl, SETTLE_RELEASE);
			fl = next;
		}
		return;
	}
	fl->state = FLIGHT_READY;
	if (front) {
		list_push_front(&f->ready, &fl->link);
	} else {
		list_push_back(&f->ready, &fl->link);
	}
	f->n_ready++;
	f->ready_bytes += fl->size;
	if (f->n_hungry > 0) {
		feed_mark(f);
	}
}

void feed_dispatch(struct feed *f)
{
	while (f->n_ready > 0 && f->n_hungry > 0) {
		struct member *m = container_of(list_first(&f->hungry), struct member, place);
		const uint32_t share = (f->n_ready + f->n_hungry - 1) / f->n_hungry;

		/* Its turn is over when it took its share; a full one leaves the list itself. */
		list_remove(&m->place);
		list_push_back(&f->hungry, &m->place);
		member_take(m, share < QUANTUM_MAX ? share : QUANTUM_MAX);
	}
}

void feed_finish(struct flight *fl, enum settle_kind kind)
{
	struct flight *next = keygate_leave(&fl->feed->gate, fl);

	settle_later(fl, kind);
	if (next) {
		feed_offer(next, true);
	}
}

void feed_record(struct flight *fl, enum settle_kind kind)
{
	fl->settle = (uint8_t)kind;
	list_push_back(&fl->feed->settling, &fl->link);
	if (kind == SETTLE_PARK) {
		fl->state = FLIGHT_SETTLING;
	} else {
		fl->recording = true;
		fl->feed->bus->n_recording++;
	}
	feed_mark(fl->feed);
}

/* ---- the turn ---------------------------------------------------------------------- */

static void flight_end(struct flight *fl)
{
	struct feed *f = fl->feed;

	list_remove(&fl->all);
	f->n_flights--;
	event_unref(fl->event);
	policy_entry_unref(fl->policy);
	flight_free(&f->bus->flights, fl);
}

static void flush_one(struct flight *fl, struct settlement *s)
{
	*s = (struct settlement){.handle = fl->handle, .kind = (enum settle_kind)fl->settle};
	if (s->kind == SETTLE_RETRY || s->kind == SETTLE_PARK) {
		s->failures = flight_failures(fl);
	}
	if (s->kind == SETTLE_RETRY) {
		s->ctx = flight_ref(fl);
		return;
	}
	if (s->kind == SETTLE_PARK) {
		s->delay_ms = fl->extra->timer.due_ms;
	}
	flight_end(fl);
}

void feed_flush(struct feed *f)
{
	struct bus *b = f->bus;

	while (!list_empty(&f->settling)) {
		uint32_t n = 0;
		struct list *it;

		while (n < BUS_SETTLE_BATCH && (it = list_pop_front(&f->settling))) {
			flush_one(container_of(it, struct flight, link), &b->settlements[n++]);
		}
		flow_settle(&f->flow, b->settlements, n);
	}
}

void feed_discard(struct flight *fl)
{
	struct flight *next;

	feed_take(fl);
	next = keygate_leave(&fl->feed->gate, fl);
	flight_end(fl);
	if (next) {
		feed_offer(next, true);
	}
}

void feed_take(struct flight *fl)
{
	struct feed *f = fl->feed;

	switch ((enum flight_state)fl->state) {
	case FLIGHT_READY:
		list_remove(&fl->link);
		f->n_ready--;
		f->ready_bytes -= fl->size;
		return;
	case FLIGHT_QUEUED:
	case FLIGHT_OUT:
		flight_detach(fl);
		return;
	case FLIGHT_WAITING:
	case FLIGHT_DEAD:
	case FLIGHT_KEPT:
		step_forget(fl);
		return;
	case FLIGHT_SETTLING:
		list_remove(&fl->link);
		return;
	case FLIGHT_GATED: /* keygate_leave takes it from its queue */
	case FLIGHT_FREE:
		return;
	}
}

void feed_turn(struct feed *f)
{
	feed_flush(f);
	feed_dispatch(f);
	feed_credit(f);
	feed_tell(f);
	feed_check_unused(f);
}
