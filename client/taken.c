/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Deliveries that a handler took to settle later.
 *
 * Happy path: eventbus_take copies the event into one allocation and puts it at the end of its
 * subscription's list; eventbus_ack or eventbus_nack takes it out and frees it. Only the oldest
 * `concurrency` of the list run a lease, as at the daemon: these are extended, or their owner is
 * told before the lease ends.
 * Failure modes: revoked, or the connection is lost -> the delivery leaves the list as stale and
 * stays valid until its owner lets go; so it does when the client is destroyed.
 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "client/internal.h"

/* ---- taking -------------------------------------------------------------------------- */

static struct eventbus_text moved(struct eventbus_text t, const char *from, const char *to)
{
	return t.n ? (struct eventbus_text){to + (t.p - from), t.n} : t;
}

/* The event's views, from the read buffer into the copy behind d. */
static void copy_event(struct eventbus_delivery *d, const struct eventbus_event *e)
{
	const char *from = e->encoded.p;
	char *to = (char *)d->bytes;
	struct eventbus_event *out = &d->event;
	struct eventbus_text payload = {e->payload, e->payload_size};

	*out = *e;
	memcpy(to, from, e->encoded.n);
	out->encoded.p = to;
	out->id = moved(e->id, from, to);
	out->topic = moved(e->topic, from, to);
	out->key = moved(e->key, from, to);
	out->content_type = moved(e->content_type, from, to);
	out->message_type = moved(e->message_type, from, to);
	out->payload = moved(payload, from, to).p;
	to += e->encoded.n;
	if (e->method.n) {
		out->method.p = memcpy(to, e->method.p, e->method.n);
		to += e->method.n;
	}
	if (e->position.n) {
		out->position.p = memcpy(to, e->position.p, e->position.n);
	}
}

struct eventbus_delivery *eventbus_take(struct eventbus_event *e)
{
	struct eventbus_subscription *s = e->subscription;
	struct eventbus *c = s->client;
	struct eventbus_delivery *d;

	if (c->running.event != e || c->running.taken) {
		return NULL;
	}
	d = xcalloc(1, sizeof(*d) + e->encoded.n + e->method.n + e->position.n);
	d->client = c;
	d->sub = s;
	d->cancelled = c->draining ? EVENTBUS_CANCEL_DRAIN : EVENTBUS_NOT_CANCELLED;
	s->refs++;
	copy_event(d, e);
	list_push_back(&s->taken, &d->link);
	c->running.taken = d;
	c->lease_check_at_ms = 0;
	return d;
}

const struct eventbus_event *eventbus_delivery_event(const struct eventbus_delivery *d)
{
	return &d->event;
}

void eventbus_delivery_set_user(struct eventbus_delivery *d, void *user)
{
	d->user = user;
}

void *eventbus_delivery_user(const struct eventbus_delivery *d)
{
	return d->user;
}

enum eventbus_cancel eventbus_cancelled(const struct eventbus_delivery *d)
{
	return d->client ? d->cancelled : EVENTBUS_CANCEL_STALE;
}

/* ---- settling ------------------------------------------------------------------------- */

static void let_go(struct eventbus_delivery *d)
{
	if (d->client) {
		d->client->lease_check_at_ms = 0; /* the next one's lease begins */
		ebus_wake(d->client);
	}
	list_remove(&d->link);
	ebus_sub_unref(d->sub);
	free(d);
}

int eventbus_ack(struct eventbus_delivery *d)
{
	int rc = d->client ? 0 : EVENTBUS_ESTALE;

	if (rc == 0) {
		ebus_settle_ack(d->client, d->event.tag);
	}
	let_go(d);
	return rc;
}

int eventbus_nack(struct eventbus_delivery *d, enum eventbus_class how, const char *reason,
		  int64_t delay_ms)
{
	int rc = d->client ? 0 : EVENTBUS_ESTALE;

	if (rc == 0 && (how < EVENTBUS_RETRY || how > EVENTBUS_DROP)) {
		how = EVENTBUS_RETRY;
	}
	if (rc == 0) {
		ebus_settle_nack(d->client, d->event.tag, how, delay_ms < 0 ? -1 : delay_ms,
				 reason);
	}
	let_go(d);
	return rc;
}

void eventbus_delivery_free(struct eventbus_delivery *d)
{
	if (d) {
		eventbus_nack(d, EVENTBUS_RELEASE, NULL, -1);
	}
}

int eventbus_extend(struct eventbus_delivery *d)
{
	int rc;

	if (!d->client) {
		return EVENTBUS_ESTALE;
	}
	rc = ebus_settle_extend(d->client, d->event.tag);
	if (rc == 0) {
		d->lease_start_ms = 0; /* begins anew at the next look */
		d->lease_told = false;
		if (d->cancelled == EVENTBUS_CANCEL_LEASE) {
			d->cancelled = EVENTBUS_NOT_CANCELLED;
		}
		d->client->lease_check_at_ms = 0;
		ebus_wake(d->client);
	}
	return rc;
}

/* ---- cancelling ------------------------------------------------------------------------- */

static struct eventbus_delivery *delivery_of(struct list *link)
{
	return container_of(link, struct eventbus_delivery, link);
}

static void tell(struct eventbus_subscription *s, struct eventbus_delivery *d,
		 enum eventbus_cancel why, int64_t deadline_ms)
{
	d->cancelled = why;
	if (s->o.on_cancel) {
		s->o.on_cancel(s->o.ctx, d, why, deadline_ms);
	}
}

static void drain(struct eventbus_subscription *s, int64_t deadline_ms)
{
	struct list all, *it;

	list_init(&all);
	list_splice_back(&all, &s->taken);
	while ((it = list_pop_front(&all)) != NULL) {
		list_push_back(&s->taken, it);
		tell(s, delivery_of(it), EVENTBUS_CANCEL_DRAIN, deadline_ms);
	}
}

void ebus_taken_drain(struct eventbus *c, int64_t deadline_ms)
{
	for (uint32_t i = 0; i < c->n_subs; i++) {
		if (c->subs[i]) {
			drain(c->subs[i], deadline_ms);
		}
	}
}

static void make_stale(struct eventbus_subscription *s, struct eventbus_delivery *d, bool say)
{
	d->client = NULL;
	d->cancelled = EVENTBUS_CANCEL_STALE;
	if (say) {
		tell(s, d, EVENTBUS_CANCEL_STALE, -1);
	}
}

void ebus_taken_lost(struct eventbus_subscription *s, bool say)
{
	struct list *it;

	while ((it = list_pop_front(&s->taken)) != NULL) {
		make_stale(s, delivery_of(it), say);
	}
}

static bool names(const Eventbus__V1__SubscriptionState *n, uint64_t tag)
{
	for (size_t i = 0; i < n->n_revoked; i++) {
		if (tag >= n->revoked[i]->first && tag <= n->revoked[i]->last) {
			return true;
		}
	}
	return false;
}

void ebus_taken_revoked(struct eventbus_subscription *s, const Eventbus__V1__SubscriptionState *n)
{
	struct list all, *it;

	list_init(&all);
	list_splice_back(&all, &s->taken);
	while ((it = list_pop_front(&all)) != NULL) {
		struct eventbus_delivery *d = delivery_of(it);

		if (names(n, d->event.tag)) {
			make_stale(s, d, true);
		} else {
			list_push_back(&s->taken, it);
		}
	}
}

/* ---- leases --------------------------------------------------------------------------------- */

/* What is due for d now; returns when to look again. */
static int64_t look_at(struct eventbus *c, struct eventbus_subscription *s,
		       struct eventbus_delivery *d)
{
	int64_t lease = s->info.lease_ms, age;

	if (d->lease_start_ms == 0) {
		d->lease_start_ms = c->now_ms;
	}
	age = c->now_ms - d->lease_start_ms;
	if (s->o.auto_extend) {
		if (age >= lease / 3 && ebus_settle_extend(c, d->event.tag) == 0) {
			d->lease_start_ms = c->now_ms;
			return c->now_ms + lease / 3;
		}
		return age >= lease / 3 ? c->now_ms + lease / 6 + 1 : d->lease_start_ms + lease / 3;
	}
	if (d->lease_told) {
		return NEVER;
	}
	if (age < lease - lease / 5) {
		return d->lease_start_ms + lease - lease / 5;
	}
	d->lease_told = true;
	if (d->cancelled == EVENTBUS_NOT_CANCELLED) {
		tell(s, d, EVENTBUS_CANCEL_LEASE, age < lease ? lease - age : 0);
	}
	return 0; /* d may be gone: look anew */
}

static int64_t look_at_all(struct eventbus *c, struct eventbus_subscription *s)
{
	int64_t due = NEVER;
	uint32_t n = 0;

	for (struct list *it = s->taken.next; it != &s->taken && n < s->info.concurrency; n++) {
		int64_t at = look_at(c, s, delivery_of(it));

		if (at == 0) {
			return 0;
		}
		due = at < due ? at : due;
		it = it->next;
	}
	return due;
}

void ebus_taken_timers(struct eventbus *c)
{
	int64_t due;

	if (c->now_ms < c->lease_check_at_ms) {
		return;
	}
	c->lease_check_at_ms = NEVER;
	for (uint32_t i = 0; i < c->n_subs; i++) {
		struct eventbus_subscription *s = c->subs[i];

		if (!s || s->info.lease_ms <= 0) {
			continue;
		}
		do {
			due = look_at_all(c, s);
		} while (due == 0);
		if (due < c->lease_check_at_ms) {
			c->lease_check_at_ms = due;
		}
	}
}
