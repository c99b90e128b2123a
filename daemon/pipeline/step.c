/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Happy path: ACK goes to feed_finish at once. A failure is decided by policy_decide; a retry is
 * recorded at the broker (SETTLE_RETRY), waits in the wheel without a place in any list, and is
 * offered to the members when it is both due and recorded.
 *
 * Failure modes:
 * - the record fails: delivered again all the same, the count may be one low after a crash;
 * - the retry window is full: an unordered feed parks at a broker that can, others exceed
 *   the window by what was in flight and stop fetching;
 * - nobody is left, or the daemon drains: given back once it is recorded;
 * - everyone releases it: a back-off that doubles from 100 ms to 5 s.
 */
#include "daemon/pipeline/step.h"

#include <assert.h>

#include "base/random.h"
#include "daemon/feed.h"
#include "daemon/pipeline/deadletter.h"

#define RELEASE_FIRST_MS 100
#define RELEASE_MAX_MS	 5000

/* ---- waiting ------------------------------------------------------------------ */

static void wait_until(struct flight *fl, int64_t delay_ms)
{
	struct bus *b = fl->feed->bus;

	fl->state = FLIGHT_WAITING;
	fl->due = false;
	fl->give_back = false;
	feed_window_add(fl);
	bus_arm(b, fl, bus_now(b) + delay_ms);
}

static void retry(struct flight *fl, const struct decision *d)
{
	struct feed *f = fl->feed;
	const bool parks =
		adapter_capabilities(f->broker->adapter)->park && f->group->order == ORDER_NONE;

	fl->releases = fl->rounds = 0;
	f->counts.retried++;
	f->bus->totals.retried++;
	if (parks && (feed_deserted(f) || feed_window_full(f))) {
		f->counts.parked++;
		f->bus->totals.parked++;
		f->bus->report.returned += f->bus->draining;
		/* Not armed: only carries it to the flush. */
		flight_extra(&f->bus->flights, fl)->timer.due_ms = d->delay_ms;
		feed_record(fl, SETTLE_PARK);
		return;
	}
	wait_until(fl, d->delay_ms);
	fl->give_back = feed_deserted(f);
	feed_record(fl, SETTLE_RETRY);
}

void step_forget(struct flight *fl)
{
	struct bus *b = fl->feed->bus;

	list_remove(&fl->link);
	feed_window_remove(fl);
	if (fl->recording) {
		fl->recording = false;
		b->n_recording--;
	}
	if (flight_dead(fl)) {
		deadletter_forget(fl);
	}
	bus_disarm(b, fl);
}

static void again(struct flight *fl)
{
	step_forget(fl);
	feed_offer(fl, false);
}

void step_recorded(struct flight *fl, int rc)
{
	struct feed *f = fl->feed;

	if (fl->state != FLIGHT_WAITING || !fl->recording) {
		return;
	}
	if (rc < 0) {
		log_repeated(&f->record_log, LOG_LEVEL_WARN, "bus",
			     "failure not recorded, attempt may be low after a crash: %s group=%s "
			     "pattern=%s",
			     eb_strerror(rc), f->group->name ? f->group->name : "-",
			     f->flow.spec.pattern);
	}
	fl->recording = false;
	f->bus->n_recording--;
	if (fl->due || fl->give_back) {
		again(fl);
	}
	feed_mark(f);
}

void step_give_back(struct flight *fl)
{
	if (fl->state == FLIGHT_WAITING && fl->recording) {
		fl->give_back = true;
		return;
	}
	if (fl->state == FLIGHT_DEAD && deadletter_publishing(fl)) {
		return;
	}
	again(fl);
}

/* ---- release -------------------------------------------------------------------- */

/* The member whose turn it is. Who releases goes to the end, so that one after the other sees it.
 */
static struct member *somebody_else(struct feed *f, struct subscription *by)
{
	struct list *it;

	for (uint32_t i = 0; i < by->n_members; i++) {
		struct member *m = &by->members[i];

		if (m->feed == f && m->hungry) {
			list_remove(&m->place);
			list_push_back(&f->hungry, &m->place);
		}
	}
	it = list_first(&f->hungry);
	if (!it || container_of(it, struct member, place)->sub == by) {
		return NULL;
	}
	return container_of(it, struct member, place);
}

static int64_t release_delay_ms(uint32_t rounds)
{
	const struct backoff b = {
		.kind = BACKOFF_EXPONENTIAL,
		.initial_ms = RELEASE_FIRST_MS,
		.max_ms = RELEASE_MAX_MS,
		.multiplier = 2,
	};

	return backoff_delay_ms(&b, rounds, 0);
}

static void release(struct flight *fl, struct subscription *by)
{
	struct feed *f = fl->feed;
	struct member *other = NULL;

	f->counts.released++;
	f->bus->totals.released++;
	if (feed_deserted(f)) {
		feed_offer(fl, true);
		return;
	}
	fl->releases += fl->releases < UINT8_MAX;
	if (fl->releases < f->n_open && fl->releases < UINT8_MAX) {
		other = somebody_else(f, by);
	}
	if (!other || !member_give(other, fl)) {
		fl->releases = 0;
		fl->rounds += fl->rounds < FLIGHT_ROUNDS_MAX;
		wait_until(fl, release_delay_ms(fl->rounds));
	}
}

/* ---- ends ------------------------------------------------------------------------ */

static void drop(struct flight *fl, const struct decision *d)
{
	struct feed *f = fl->feed;

	f->counts.dropped++;
	f->bus->totals.dropped++;
	if (d->exhausted) {
		log_repeated(&f->exhausted_log, LOG_LEVEL_WARN, "bus",
			     "event dropped (%s, on_exhausted: drop) group=%s topic=%.*s", d->why,
			     f->group->name ? f->group->name : "-", SLICE_ARG(fl->event->topic));
	}
	feed_finish(fl, SETTLE_ACK);
}

static void acknowledge(struct flight *fl)
{
	fl->feed->counts.acked++;
	fl->feed->bus->totals.acked++;
	feed_finish(fl, SETTLE_ACK);
}

static void carry_out(struct flight *fl, const struct ending *e, const struct decision *d)
{
	struct feed *f = fl->feed;

	flight_set_failures(&f->bus->flights, fl, &d->failures);
	switch (d->kind) {
	case DECIDE_ACKNOWLEDGE:
		acknowledge(fl);
		return;
	case DECIDE_DROP:
		drop(fl, d);
		return;
	case DECIDE_DEAD_LETTER:
		feed_window_add(fl);
		deadletter_start(fl, d->why, e->reason);
		return;
	case DECIDE_RETRY:
		if (d->exhausted) {
			log_repeated(&f->exhausted_log, LOG_LEVEL_WARN, "bus",
				     "no dead letter topic, event is kept (%s) group=%s topic=%.*s",
				     d->why, f->group->name ? f->group->name : "-",
				     SLICE_ARG(fl->event->topic));
		}
		retry(fl, d);
		return;
	case DECIDE_KEEP:
		if (e->ended == ENDED_RELEASE) {
			release(fl, e->by);
			return;
		}
		fl->state = FLIGHT_KEPT;
		feed_window_add(fl);
		return;
	}
}

void step_end(struct flight *fl, const struct ending *e)
{
	struct policy_case c;
	struct decision d;

	if (e->ended == ENDED_ACK) { /* the way of nearly every event needs no policy */
		acknowledge(fl);
		return;
	}
	if (!fl->policy) {
		fl->policy = feed_policy(fl->feed, fl->event->topic);
	}
	c = (struct policy_case){
		.policy = &fl->policy->policy,
		.limits = e->limits,
		.failures = flight_failures(fl),
		.published_at_ms = fl->event->published_at_ms,
		.dead_letter = deadletter_wanted(fl),
		.ended = e->ended,
		.reason = e->reason,
		.has_delay = e->has_delay,
		.delay_ms = e->delay_ms,
	};
	policy_decide(&c, clock_unix_ms(), random_unit(), &d);
	carry_out(fl, e, &d);
}

void step_unmatched(struct flight *fl)
{
	step_end(fl, &(struct ending){.ended = ENDED_UNMATCHED,
				      .reason = slice_str("matches no pattern")});
}

static void expire(struct flight *fl)
{
	const struct ending e = {
		.ended = ENDED_EXPIRED,
		.reason = slice_str("lease expired"),
		.limits = fl->member->sub->limits,
	};

	flight_detach(fl);
	step_end(fl, &e);
}

void step_due(struct flight *fl)
{
	switch ((enum flight_state)fl->state) {
	case FLIGHT_OUT:
		expire(fl);
		return;
	case FLIGHT_WAITING:
		fl->due = true;
		if (!fl->recording) {
			again(fl);
		}
		return;
	case FLIGHT_DEAD:
		deadletter_publish(fl);
		return;
	default:
		assert(!"a timer on a flight that waits for nothing");
	}
}

void step_dead_lettered(struct flight *fl)
{
	fl->feed->counts.dead_lettered++;
	fl->feed->bus->totals.dead_lettered++;
	step_forget(fl);
	feed_finish(fl, SETTLE_ACK);
}
