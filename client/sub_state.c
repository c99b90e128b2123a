/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Subscriptions: desired state that is told to the daemon on every connection.
 *
 * Happy path: waiting -> Subscribe sent -> Subscribed -> active, until eventbus_unsubscribe ->
 * Unsubscribed -> freed at the end of the turn.
 * Failure modes: refused for good -> it stays as refused until the user lets go; refused for now
 * -> asked again later; the connection is lost -> waiting again, deliveries are stale, and a
 * subscription without a group has a gap, which is told once it is back.
 */
#include <stdlib.h>

#include "client/internal.h"

#define ASK_AGAIN_MS 2000

static void tell(struct eventbus_subscription *s, const struct eventbus_note *n)
{
	if (s->o.on_state) {
		s->o.on_state(s->o.ctx, s, n);
	}
}

static struct eventbus_note note_of(enum eventbus_state state, const char *why)
{
	return (struct eventbus_note){.state = state, .why = why, .broker = "", .pattern = ""};
}

/* ---- what the daemon says ---------------------------------------------------------------- */

void ebus_sub_subscribed(struct eventbus *c, const Eventbus__V1__Subscribed *m)
{
	struct eventbus_subscription *s = ebus_sub_find(c, m->subscription);
	struct eventbus_note n = note_of(EVENTBUS_SUBSCRIBED, "");
	bool again;

	if (!s || s->state != SUB_ASKED) {
		return;
	}
	again = s->was_active;
	s->state = SUB_ACTIVE;
	s->was_active = true;
	s->info = (struct eventbus_subscription_info){
		.subscribed = true,
		.position_existed = m->position_existed,
		.max_in_flight_events = m->max_in_flight_events,
		.max_in_flight_bytes = m->max_in_flight_bytes,
		.concurrency = m->concurrency,
		.lease_ms = m->lease_ms > INT64_MAX / 4 ? INT64_MAX / 4 : (int64_t)m->lease_ms,
		.order = (enum eventbus_order)m->order,
	};
	if (s->paused) {
		ebus_sub_say_pause(s);
	}
	tell(s, &n);
	if (again && !s->group) {
		n = note_of(EVENTBUS_GAP,
			    "the connection was lost; what was published meanwhile is missing");
		tell(s, &n);
	}
}

void ebus_sub_state(struct eventbus *c, const Eventbus__V1__SubscriptionState *m)
{
	static const enum eventbus_state states[] = {
		[EVENTBUS__V1__STATE__STATE_LIVE] = EVENTBUS_LIVE,
		[EVENTBUS__V1__STATE__STATE_DEGRADED] = EVENTBUS_DEGRADED,
		[EVENTBUS__V1__STATE__STATE_GAP] = EVENTBUS_GAP,
		[EVENTBUS__V1__STATE__STATE_LOST] = EVENTBUS_LOST,
		[EVENTBUS__V1__STATE__STATE_REVOKED] = EVENTBUS_REVOKED,
		[EVENTBUS__V1__STATE__STATE_STANDBY] = EVENTBUS_STANDBY,
	};
	struct eventbus_subscription *s = ebus_sub_find(c, m->subscription);
	struct eventbus_note n = note_of(EVENTBUS_LIVE, m->why);
	size_t i = (size_t)m->state;

	if (!s || i == 0 || i >= sizeof(states) / sizeof(states[0])) {
		return;
	}
	n.state = states[i];
	n.broker = m->broker;
	n.pattern = m->pattern;
	n.lost = m->lost;
	n.epoch = m->epoch;
	if (n.state == EVENTBUS_REVOKED) {
		ebus_taken_revoked(s, m);
	}
	tell(s, &n);
}

void ebus_sub_unsubscribed(struct eventbus *c, uint32_t id)
{
	struct eventbus_subscription *s = ebus_sub_find(c, id);

	if (s && s->state == SUB_UNSUBSCRIBING) {
		s->state = SUB_ENDED;
	}
}

static void refused(struct eventbus_subscription *s, const Eventbus__V1__Error *e)
{
	struct eventbus_note n = note_of(EVENTBUS_REFUSED, e->text);

	n.reason = (enum eventbus_reason)e->reason;
	s->state = SUB_REFUSED;
	s->info.subscribed = false;
	ebus_fail(s->client, EVENTBUS_EIO, "%s", e->text);
	tell(s, &n);
}

void ebus_sub_error(struct eventbus *c, uint32_t id, const Eventbus__V1__Error *e)
{
	struct eventbus_subscription *s = ebus_sub_find(c, id);
	struct eventbus_note n = note_of(EVENTBUS_DEGRADED, e->text);

	if (!s || s->state == SUB_REFUSED || s->state == SUB_ENDED) {
		return;
	}
	if (s->state == SUB_UNSUBSCRIBING) {
		s->state = SUB_ENDED;
	} else if (e->outcome == EVENTBUS__V1__OUTCOME__OUTCOME_PERMANENT) {
		refused(s, e);
	} else {
		if (s->state == SUB_ASKED) {
			s->state = SUB_WAITING;
			s->retry_at_ms = c->now_ms + ASK_AGAIN_MS;
		}
		tell(s, &n);
	}
}

/* ---- the connection, the time --------------------------------------------------------------- */

void ebus_subs_welcome(struct eventbus *c)
{
	for (uint32_t i = 0; i < c->n_subs; i++) {
		if (c->subs[i] && c->subs[i]->state == SUB_WAITING) {
			ebus_sub_ask(c, c->subs[i]);
		}
	}
}

void ebus_subs_lost(struct eventbus *c)
{
	for (uint32_t i = 0; i < c->n_subs; i++) {
		struct eventbus_subscription *s = c->subs[i];

		if (!s) {
			continue;
		}
		if (s->state == SUB_UNSUBSCRIBING) {
			s->state = SUB_ENDED;
		} else if (s->state == SUB_ASKED || s->state == SUB_ACTIVE) {
			s->state = SUB_WAITING;
			s->retry_at_ms = 0;
		}
		s->info.subscribed = false;
		ebus_taken_lost(s, true);
	}
}

static bool due(const struct eventbus *c, const struct eventbus_subscription *s)
{
	return s->state == SUB_WAITING && c->link.state == LINK_READY && !c->draining;
}

static void end(struct eventbus *c, uint32_t i)
{
	struct eventbus_subscription *s = c->subs[i];
	struct eventbus_note n = note_of(EVENTBUS_UNSUBSCRIBED, "");

	c->subs[i] = NULL;
	ebus_taken_lost(s, true);
	tell(s, &n);
	s->client = NULL;
	ebus_sub_unref(s);
}

void ebus_subs_timers(struct eventbus *c)
{
	for (uint32_t i = 0; i < c->n_subs; i++) {
		struct eventbus_subscription *s = c->subs[i];

		if (s && s->state == SUB_ENDED) {
			end(c, i);
		} else if (s && due(c, s) && s->retry_at_ms <= c->now_ms) {
			ebus_sub_ask(c, s);
		}
	}
}

int64_t ebus_subs_due_ms(const struct eventbus *c)
{
	int64_t at = NEVER;

	for (uint32_t i = 0; i < c->n_subs; i++) {
		const struct eventbus_subscription *s = c->subs[i];

		if (s && s->state == SUB_ENDED) {
			return 0;
		}
		if (s && due(c, s) && s->retry_at_ms < at) {
			at = s->retry_at_ms;
		}
	}
	return at;
}

void ebus_subs_finish(struct eventbus *c)
{
	for (uint32_t i = 0; i < c->n_subs; i++) {
		if (c->subs[i]) {
			ebus_taken_lost(c->subs[i], false);
			c->subs[i]->client = NULL;
			ebus_sub_unref(c->subs[i]);
		}
	}
	free(c->subs);
	c->subs = NULL;
	c->n_subs = 0;
}
