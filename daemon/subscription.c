/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Happy path: a member takes flights from its feed while there is room in the subscription's
 * window and in the client's share of memory; the client takes them with client_next; settling
 * frees the room, and whoever starved for it is woken at the turn.
 *
 * Failure modes:
 * - no room: the member leaves the feed's hungry list and waits where the room is missing;
 * - paused, unsubscribed: what is queued goes back to the feed, in its place;
 * - the client dies: only what ran a lease counts a failure.
 */
#include "daemon/subscription.h"

#include <assert.h>

#include "daemon/client_impl.h"
#include "daemon/feed.h"
#include "daemon/pipeline/step.h"

/* ---- room ---------------------------------------------------------------------- */

static bool fits(uint64_t held, uint64_t held_bytes, uint64_t max_bytes, uint32_t size)
{
	return held == 0 || held_bytes + size <= max_bytes;
}

static bool subscription_fits(const struct subscription *s, uint32_t size)
{
	return s->held < s->max_events && fits(s->held, s->held_bytes, s->max_bytes, size);
}

static bool client_fits(const struct client *c, uint32_t size)
{
	return fits(c->held, c->held_bytes, c->max_bytes, size);
}

void member_refresh(struct member *m)
{
	const struct subscription *s = m->sub;
	uint32_t events = 0;
	uint64_t bytes = 0;

	if (member_active(m) && m->held < s->max_events &&
	    (m->held == 0 || m->held_bytes < s->max_bytes)) {
		events = s->max_events - m->held;
		bytes = m->held_bytes < s->max_bytes ? s->max_bytes - m->held_bytes : 1;
	}
	m->feed->free_events += (uint64_t)events - m->free_events;
	m->feed->free_bytes += bytes - m->free_bytes;
	m->free_events = events;
	m->free_bytes = bytes;
}

static void starve(struct member *m, struct list *where)
{
	assert(m->hungry);
	list_remove(&m->place);
	m->hungry = false;
	m->feed->n_hungry--;
	list_push_back(where, &m->place);
}

static void assign(struct member *m, struct flight *fl)
{
	struct subscription *s = m->sub;
	struct client *c = s->client;

	fl->state = FLIGHT_QUEUED;
	fl->member = m;
	list_push_back(&m->queue, &fl->link);
	m->held++;
	m->held_bytes += fl->size;
	s->held++;
	s->held_bytes += fl->size;
	c->held++;
	c->held_bytes += fl->size;
	if (!list_linked(&m->ready)) {
		client_ready(c, m);
	}
}

void member_take(struct member *m, uint32_t max)
{
	struct feed *f = m->feed;

	while (max > 0 && f->n_ready > 0) {
		struct flight *fl = container_of(list_first(&f->ready), struct flight, link);

		if (!subscription_fits(m->sub, fl->size)) {
			starve(m, &m->sub->starved);
			break;
		}
		if (!client_fits(m->sub->client, fl->size)) {
			starve(m, &m->sub->client->starved);
			break;
		}
		feed_take(fl);
		assign(m, fl);
		max--;
	}
	member_refresh(m);
}

bool member_give(struct member *m, struct flight *fl)
{
	if (!subscription_fits(m->sub, fl->size) || !client_fits(m->sub->client, fl->size)) {
		return false;
	}
	assign(m, fl);
	member_refresh(m);
	return true;
}

static void wake_list(struct list *starved)
{
	struct list all, *it;

	list_init(&all);
	list_splice_back(&all, starved);
	while ((it = list_pop_front(&all))) {
		struct member *m = container_of(it, struct member, place);

		feed_member_active(m->feed, m, true);
	}
}

static void want_wake(struct subscription *s)
{
	struct client *c = s->client;
	struct bus *b = c->bus;

	if (!list_linked(&s->woken) &&
	    (!list_empty(&s->starved) || (s->next && s->n_leased < s->concurrency))) {
		list_push_back(&b->woken_subscriptions, &s->woken);
		bus_mark(b);
	}
	if (!list_linked(&c->woken) && !list_empty(&c->starved)) {
		list_push_back(&b->woken_clients, &c->woken);
		bus_mark(b);
	}
}

void subscription_wake(struct subscription *s)
{
	subscription_lease(s);
	wake_list(&s->starved);
}

void client_wake(struct client *c)
{
	wake_list(&c->starved);
}

/* ---- leases ----------------------------------------------------------------------- */

static void lease_start(struct flight *fl)
{
	struct subscription *s = fl->member->sub;
	struct bus *b = s->client->bus;
	const int64_t now_ms = bus_now(b); /* before the first lease makes a gap a stall */
	int64_t lease_ms = fl->policy->policy.lease_ms;

	if (s->lease_ms > 0 && s->lease_ms < lease_ms) {
		lease_ms = s->lease_ms;
	}
	if (!fl->leased) {
		fl->leased = true;
		s->n_leased++;
		b->n_leases++;
	}
	stall_clock_watch(&b->clock, lease_ms);
	bus_arm(b, fl, now_ms + lease_ms);
}

static struct flight *behind(const struct subscription *s, const struct flight *fl)
{
	return fl->link.next != &s->out ? container_of(fl->link.next, struct flight, link) : NULL;
}

void subscription_lease(struct subscription *s)
{
	struct client *c = s->client;

	while (s->n_leased < s->concurrency && s->next && s->next->tag <= c->flushed_tag) {
		struct flight *fl = s->next;

		s->next = behind(s, fl);
		lease_start(fl);
	}
	if (s->n_leased < s->concurrency && s->next && !list_linked(&s->unwritten)) {
		list_push_back(&c->unwritten, &s->unwritten);
	}
}

void flight_extend(struct flight *fl)
{
	if (fl->leased) {
		lease_start(fl);
	}
}

void flight_detach(struct flight *fl)
{
	struct member *m = fl->member;
	struct subscription *s;
	struct client *c;

	assert(m);
	s = m->sub;
	c = s->client;
	if (fl->state == FLIGHT_OUT) {
		tags_remove(&c->tags, fl);
		c->bus->n_out--;
		if (fl->leased) {
			bus_disarm(c->bus, fl);
			fl->leased = false;
			s->n_leased--;
			c->bus->n_leases--;
		} else if (s->next == fl) {
			s->next = behind(s, fl);
		}
	}
	list_remove(&fl->link);
	if (list_empty(&m->queue)) {
		list_remove(&m->ready);
	}
	fl->member = NULL;
	m->held--;
	m->held_bytes -= fl->size;
	s->held--;
	s->held_bytes -= fl->size;
	c->held--;
	c->held_bytes -= fl->size;
	member_refresh(m);
	want_wake(s);
	if (s->state == SUBSCRIPTION_CLOSING && s->held == 0) {
		subscription_mark(s);
	}
}

/* ---- ways out ------------------------------------------------------------------------ */

/* Back to the feeds, last first, so that each comes to stand before the ones behind it. */
static void give_back(struct list *flights)
{
	while (!list_empty(flights)) {
		struct flight *fl = container_of(flights->prev, struct flight, link);

		flight_detach(fl);
		feed_offer(fl, true);
	}
}

static void set_active(struct subscription *s, bool active)
{
	for (uint32_t i = 0; i < s->n_members; i++) {
		struct member *m = &s->members[i];

		feed_member_active(m->feed, m, active);
		if (!active) {
			give_back(&m->queue);
		}
	}
}

void subscription_start(struct subscription *s)
{
	s->state = SUBSCRIPTION_ON;
	if (!s->paused) {
		set_active(s, true);
	}
}

void subscription_pause(struct subscription *s, bool paused)
{
	if (s->paused == paused) {
		return;
	}
	s->paused = paused;
	if (s->state == SUBSCRIPTION_ON) {
		set_active(s, !paused);
	}
}

void subscription_close(struct subscription *s)
{
	if (s->state == SUBSCRIPTION_CLOSING || s->state == SUBSCRIPTION_REFUSED) {
		return;
	}
	s->state = SUBSCRIPTION_CLOSING;
	set_active(s, false);
	for (uint32_t i = 0; i < s->n_members; i++) {
		feed_member_closing(s->members[i].feed);
	}
	subscription_mark(s);
}

static void leave_all(struct subscription *s)
{
	for (uint32_t i = 0; i < s->n_members; i++) {
		if (s->members[i].feed) {
			feed_leave(s->members[i].feed, &s->members[i]);
		}
	}
}

void subscription_cut(struct subscription *s)
{
	subscription_close(s);
	give_back(&s->out);
	leave_all(s);
}

void subscription_refuse(struct subscription *s, const struct answer *why)
{
	const bool closing = s->state == SUBSCRIPTION_CLOSING;

	subscription_cut(s);
	if (!closing) {
		s->state = SUBSCRIPTION_REFUSED;
		s->refusal = *why;
	}
	subscription_mark(s);
}

void subscription_die(struct subscription *s)
{
	const struct ending died = {
		.ended = ENDED_DIED,
		.reason = slice_str("client died"),
		.limits = s->limits,
	};
	struct list *it;
	struct list worked_on;

	subscription_lease(s);
	subscription_close(s);
	list_init(&worked_on);
	while ((it = list_first(&s->out)) && container_of(it, struct flight, link)->leased) {
		struct flight *fl = container_of(it, struct flight, link);

		flight_detach(fl);
		list_push_back(&worked_on, &fl->link);
	}
	give_back(&s->out);
	while ((it = list_pop_front(&worked_on))) {
		step_end(container_of(it, struct flight, link), &died);
	}
	leave_all(s);
	subscription_free(s);
}
