/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bus on the loop. Whatever leaves work for later marks the bus; the mark starts an idle
 * handle, so that the loop does not block before the turn has run, and the turn stops it. A
 * prepare handle catches what was marked between the idle phase and the poll, and keeps time.
 *
 * One uv timer serves the wheel. While a lease runs it also ticks, so that a gap between two ticks
 * is known for what it is: a time in which this process could not run.
 */
#include <assert.h>

#include "daemon/client_impl.h"
#include "daemon/feed.h"
#include "daemon/pipeline/step.h"

#define ROUNDS_MAX 4

/* ---- time --------------------------------------------------------------------- */

int64_t bus_now(struct bus *b)
{
	const int64_t mono_ms = (int64_t)uv_now(b->loop);

	if (b->n_leases > 0) {
		stall_clock_tick(&b->clock, mono_ms);
	} else {
		stall_clock_rest(&b->clock, mono_ms);
	}
	return stall_clock_now(&b->clock);
}

static void on_idle(uv_idle_t *h);

void bus_arm(struct bus *b, struct flight *f, int64_t due_ms)
{
	const int64_t loop_ms = due_ms + (int64_t)uv_now(b->loop) - stall_clock_now(&b->clock);

	wheel_add(&b->wheel, &flight_extra(&b->flights, f)->timer, due_ms);
	if ((b->timer_at_ms == 0 || loop_ms < b->timer_at_ms) && !b->closing) {
		uv_idle_start(&b->idle, on_idle); /* the turn sets the timer */
	}
}

static void on_timer(uv_timer_t *t)
{
	struct bus *b = t->data;

	b->timer_at_ms = 0;
	uv_idle_start(&b->idle, on_idle); /* the turn does the rest */
}

static void update_timer(struct bus *b, int64_t now_ms)
{
	const int64_t loop_ms = (int64_t)uv_now(b->loop);
	const int64_t next_ms = b->wheel.count > 0 ? wheel_next_ms(&b->wheel) : -1;
	int64_t at_ms = INT64_MAX;

	if (next_ms >= 0) {
		at_ms = loop_ms + (next_ms > now_ms ? next_ms - now_ms : 0);
	}
	if ((b->n_leases > 0 || !list_empty(&b->squeezed)) && at_ms > loop_ms + b->clock.tick_ms) {
		at_ms = loop_ms + b->clock.tick_ms;
	}
	if (at_ms == INT64_MAX || (b->timer_at_ms > 0 && b->timer_at_ms <= at_ms)) {
		return;
	}
	b->timer_at_ms = at_ms > 0 ? at_ms : 1;
	uv_timer_start(&b->timer, on_timer, (uint64_t)(at_ms - loop_ms), 0);
}

static void expire(struct bus *b, int64_t now_ms)
{
	struct list expired, *it;

	list_init(&expired);
	wheel_advance(&b->wheel, now_ms, &expired);
	while ((it = list_pop_front(&expired))) {
		struct wheel_entry *e = container_of(it, struct wheel_entry, link);

		step_due(container_of(e, struct flight_extra, timer)->flight);
	}
}

/* ---- the turn ------------------------------------------------------------------- */

static void wake(struct bus *b)
{
	struct list all, *it;

	list_init(&all);
	list_splice_back(&all, &b->woken_subscriptions);
	while ((it = list_pop_front(&all))) {
		subscription_wake(container_of(it, struct subscription, woken));
	}
	list_splice_back(&all, &b->woken_clients);
	while ((it = list_pop_front(&all))) {
		client_wake(container_of(it, struct client, woken));
	}
}

static void turn_feeds(struct bus *b)
{
	struct list all, *it;

	list_init(&all);
	list_splice_back(&all, &b->dirty);
	while ((it = list_pop_front(&all))) {
		feed_turn(container_of(it, struct feed, dirty));
	}
}

static void announce(struct bus *b)
{
	struct list all, *it;

	list_init(&all);
	if (b->stopping) { /* clients are told by the end of their sessions */
		return;
	}
	list_splice_back(&all, &b->announce);
	while ((it = list_pop_front(&all))) {
		subscription_announce(container_of(it, struct subscription, announce));
	}
}

void bus_tell_ready(struct bus *b)
{
	struct list all, *it;

	list_init(&all);
	list_splice_back(&all, &b->ready);
	while ((it = list_pop_front(&all))) {
		struct client *c = container_of(it, struct client, tell_ready);

		b->told = true;
		c->ops->on_ready(c->ctx);
	}
}

static void answer_refused(struct bus *b)
{
	struct list all, *it;

	list_init(&all);
	list_splice_back(&all, &b->refused);
	while ((it = list_pop_front(&all))) {
		struct publish *p = container_of(it, struct publish, link);
		const uint32_t n = p->n;

		for (uint32_t i = 0; i < n; i++) {
			answer_set(&p->items[i].answer, OUTCOME_NOT_STORED, REASON_DRAINING,
				   "the daemon is stopping");
			p->told(p, i);
		}
	}
}

static void look_at_squeezed(struct bus *b)
{
	struct list all, *it;

	if (list_empty(&b->squeezed) || bus_memory_short(b)) {
		return;
	}
	list_init(&all);
	list_splice_back(&all, &b->squeezed);
	while ((it = list_pop_front(&all))) {
		feed_mark(container_of(it, struct feed, squeezed));
	}
}

static void check_drained(struct bus *b)
{
	if (b->draining && !b->drained_told && !b->stopping && b->n_out == 0 && b->n_untold == 0 &&
	    b->n_publishing == 0 && b->n_recording == 0) {
		b->drained_told = true;
		if (b->o.on_drained) {
			b->o.on_drained(b->o.ctx);
		}
	}
}

static void one_round(struct bus *b)
{
	b->marked = false;
	wake(b);
	turn_feeds(b);
	announce(b);
	answer_refused(b);
	bus_tell_ready(b);
}

static void reset_scratch(struct bus *b)
{
	const size_t cap = b->scratch.cap;

	arena_finish(&b->scratch);
	arena_init(&b->scratch, cap);
	b->scratch_used = false;
}

static void turn(struct bus *b)
{
	const int64_t now_ms = bus_now(b);
	const int64_t next_ms = b->wheel.count > 0 ? wheel_next_ms(&b->wheel) : -1;

	if (next_ms >= 0 && next_ms <= now_ms) {
		expire(b, now_ms);
	}
	look_at_squeezed(b);
	for (int i = 0; b->marked && i < ROUNDS_MAX; i++) {
		one_round(b);
	}
	if (b->scratch_used) {
		reset_scratch(b);
	}
	bus_tell_retired(b);
	if (b->draining) {
		check_drained(b);
		bus_check_stopped(b);
	}
	if (!b->closing) {
		update_timer(b, now_ms);
	}
}

/* ---- handles --------------------------------------------------------------------- */

static void on_idle(uv_idle_t *h)
{
	struct bus *b = h->data;

	turn(b);
	if (!b->marked) {
		uv_idle_stop(h);
	}
}

static void on_prepare(uv_prepare_t *h)
{
	struct bus *b = h->data;

	b->told = false;
	turn(b);
	if (b->closing) {
		return;
	}
	/* Sessions that were told this late may write only in the next iteration: no blocking now.
	 */
	if (b->told || b->marked) {
		uv_idle_start(&b->idle, on_idle);
	} else {
		uv_idle_stop(&b->idle);
	}
}

void bus_mark(struct bus *b)
{
	if (!b->marked && b->handles > 0 && !b->closing) {
		b->marked = true;
		uv_idle_start(&b->idle, on_idle);
	}
}

void bus_turn_start(struct bus *b)
{
	int rc = uv_timer_init(b->loop, &b->timer);

	rc |= uv_prepare_init(b->loop, &b->prepare);
	rc |= uv_idle_init(b->loop, &b->idle);
	assert(rc == 0);
	b->timer.data = b->prepare.data = b->idle.data = b;
	b->handles = 3;
	uv_prepare_start(&b->prepare, on_prepare);
	uv_unref((uv_handle_t *)&b->prepare);
}

static void on_closed(uv_handle_t *h)
{
	struct bus *b = h->data;

	if (--b->handles == 0 && b->o.on_stopped) {
		b->o.on_stopped(b->o.ctx);
	}
}

void bus_turn_stop(struct bus *b)
{
	b->closing = true;
	uv_close((uv_handle_t *)&b->timer, on_closed);
	uv_close((uv_handle_t *)&b->prepare, on_closed);
	uv_close((uv_handle_t *)&b->idle, on_closed);
}
