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

#define QUANTUM_MAX    64u
#define TRICKLE_EVENTS 16u
#define TRICKLE_BYTES  65536u

void feed_mark(struct feed *f)
{
	if (!list_linked(&f->dirty)) {
		list_push_back(&f->bus->dirty, &f->dirty);
		bus_mark(f->bus);
	}
}

/* ---- what belongs here ------------------------------------------------------ */

static bool superseded(const struct feed *f, struct slice topic)
{
	for (uint32_t i = 0; i < f->n_shadows; i++) {
		if (pattern_matches(slice_str(f->shadows[i]->flow.spec.pattern), topic)) {
			return true;
		}
	}
	return false;
}

static enum feed_fit fit_of(const struct feed *f, struct slice topic)
{
	const struct slice pattern = slice_str(f->flow.spec.pattern);

	if (!topic_valid(topic)) {
		return FIT_FOREIGN;
	}
	if (!pattern_matches(pattern, topic)) {
		return topic.n > 4 && memcmp(topic.p, "dlq.", 4) == 0 ? FIT_HIDDEN : FIT_FOREIGN;
	}
	return superseded(f, topic) ? FIT_SUPERSEDED : FIT_MINE;
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
	fl->failures = d->failures;
	fl->position = d->position;
	fl->size = (uint32_t)event_size(d->event);
	list_push_back(&f->flights, &fl->all);
	f->n_flights++;
	f->epoch = d->epoch;
	use_credit(f, fl->size);
	return fl;
}

static void not_mine(struct feed *f, struct flight *fl, enum feed_fit fit)
{
	if (fit == FIT_FOREIGN) {
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

void feed_deliver(struct feed *f, struct delivery *items, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		struct flight *fl = arrive(f, &items[i]);
		const struct slice topic = fl->event->topic;
		const enum feed_fit fit = remember(f, topic) ? f->last.fit : FIT_FOREIGN;

		if (fit != FIT_MINE) {
			not_mine(f, fl, fit);
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
		f->bus->report.returned += f->bus->draining;
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

/* ---- the retry window ---------------------------------------------------------- */

void feed_window_add(struct flight *fl)
{
	assert(!fl->windowed);
	fl->windowed = true;
	fl->feed->n_windowed++;
	fl->feed->windowed_bytes += fl->size;
}

void feed_window_remove(struct flight *fl)
{
	if (fl->windowed) {
		fl->windowed = false;
		fl->feed->n_windowed--;
		fl->feed->windowed_bytes -= fl->size;
		feed_mark(fl->feed);
	}
}

bool feed_window_full(const struct feed *f)
{
	const struct policy *p = &f->policy->policy;

	return f->n_windowed + f->gate.n_gated >= p->window_events ||
	       f->windowed_bytes + f->gate.gated_bytes >= (uint64_t)p->window_bytes;
}

/* Told with some slack, so that a window that hovers at its limit does not chatter. */
static void check_window(struct feed *f)
{
	const struct policy *p = &f->policy->policy;
	const uint64_t events = f->n_windowed + f->gate.n_gated;
	const uint64_t bytes = f->windowed_bytes + f->gate.gated_bytes;
	const bool parks =
		adapter_capabilities(f->broker->adapter)->park && f->group->order == ORDER_NONE;

	if (f->n_windowed > 0 && !parks && feed_window_full(f)) {
		feed_problem(f, FEED_WINDOW, true);
	} else if (events <= p->window_events - p->window_events / 8 &&
		   bytes <= (uint64_t)(p->window_bytes - p->window_bytes / 8)) {
		feed_problem(f, FEED_WINDOW, false);
	}
}

/* ---- credit ---------------------------------------------------------------------- */

static uint64_t at_most(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t minus(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

/* A broker's events come out of the budget; those of the memory bus are in it already. */
static void squeeze(struct feed *f, uint64_t *events, uint64_t *bytes)
{
	struct bus *b = f->bus;
	const size_t share = b->o.budget->limit / 2 / (b->n_feeds ? b->n_feeds : 1);

	list_remove(&f->squeezed);
	if (!adapter_capabilities(f->broker->adapter)->durable) {
		return;
	}
	*bytes = at_most(*bytes, share > TRICKLE_BYTES ? share : TRICKLE_BYTES);
	if (bus_memory_short(b)) {
		*events = at_most(*events, minus(TRICKLE_EVENTS, f->n_flights));
		*bytes = at_most(*bytes, TRICKLE_BYTES);
		list_push_back(&b->squeezed, &f->squeezed);
	}
}

static struct credit wanted_credit(struct feed *f)
{
	const struct policy *p = &f->policy->policy;
	const bool ordered = f->group->order != ORDER_NONE;
	const bool parks = adapter_capabilities(f->broker->adapter)->park && !ordered;
	uint64_t events = minus(f->free_events, f->n_ready);
	uint64_t bytes = minus(f->free_bytes, f->ready_bytes);

	if (f->bus->draining || f->bus->stopping || (!parks && feed_window_full(f))) {
		return (struct credit){0, 0};
	}
	if (ordered) {
		events = at_most(events, p->window_events - f->n_windowed - f->gate.n_gated);
		bytes = at_most(bytes, (uint64_t)p->window_bytes - f->windowed_bytes -
					       f->gate.gated_bytes);
	}
	events = at_most(events, minus(f->flow.spec.max_events, f->n_flights));
	squeeze(f, &events, &bytes);
	if (events == 0 || bytes == 0) {
		return (struct credit){0, 0};
	}
	return (struct credit){(uint32_t)at_most(events, UINT32_MAX), (size_t)bytes};
}

static void give_credit(struct feed *f)
{
	struct credit now;

	if (f->state == FEED_LEAVING || f->state == FEED_REFUSED) {
		return;
	}
	now = wanted_credit(f);
	if (now.events != f->granted.events || now.bytes != f->granted.bytes) {
		f->granted = now;
		flow_credit(&f->flow, now);
	}
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
		s->failures = fl->failures;
	}
	if (s->kind == SETTLE_RETRY) {
		s->ctx = flight_ref(fl);
		return;
	}
	if (s->kind == SETTLE_PARK) {
		s->delay_ms = fl->timer.due_ms;
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
	check_window(f);
	give_credit(f);
	feed_tell(f);
	feed_check_unused(f);
}
