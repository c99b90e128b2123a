/* SPDX-License-Identifier: Apache-2.0 */
/* What a subscription tells its client, once per turn: that it is there, refused, gone, or changed.
 */
#include <stdlib.h>

#include "base/mem.h"
#include "daemon/client_impl.h"
#include "daemon/feed.h"

void subscription_mark(struct subscription *s)
{
	struct bus *b = s->client->bus;

	if (!list_linked(&s->announce)) {
		list_push_back(&b->announce, &s->announce);
		bus_mark(b);
	}
}

void subscription_revoked(struct subscription *s, uint64_t tag)
{
	ranges_add(&s->revoked, tag, tag);
	subscription_mark(s);
}

void subscription_note(struct subscription *s, const struct subscription_note *n)
{
	struct subscription_note note = *n;
	const struct client *c = s->client;

	if (s->state != SUBSCRIPTION_ON &&
	    !(s->state == SUBSCRIPTION_STARTING && n->event == SUB_DEGRADED) &&
	    n->event != SUB_REVOKED) {
		return;
	}
	s->told_degraded |= n->event == SUB_DEGRADED;
	note.subscription = s->id;
	c->bus->told = true;
	c->ops->on_note(c->ctx, &note);
}

static void note_lost(struct subscription *s, struct member *m)
{
	if (m->lost > 0) {
		subscription_note(
			s, &(struct subscription_note){.event = SUB_LOST,
						       .why = "lost before this subscription began",
						       .broker = m->feed->broker->name,
						       .pattern = m->feed->flow.spec.pattern,
						       .lost = m->lost,
						       .epoch = m->feed->epoch});
		m->lost = 0;
	}
}

static void note_state(struct subscription *s, const struct feed *f)
{
	struct subscription_note n = {
		.broker = f->broker->name,
		.pattern = f->flow.spec.pattern,
		.epoch = f->epoch,
		.why = feed_why(f),
	};

	if (f->problems) {
		n.event = SUB_DEGRADED;
	} else if (f->state == FEED_STANDBY) {
		n.event = SUB_STANDBY;
	} else {
		return;
	}
	subscription_note(s, &n);
}

/* The dead letter topic as far as it is known before an event: with {topic} still in it. */
static const char *dlq_text(const struct policy *p, const struct feed *f, char *out)
{
	if (p->dlq_off) {
		return NULL;
	}
	if (policy_dlq_topic(p, slice_str(f->flow.spec.pattern), f->group->name, out) == 0) {
		return out;
	}
	return f->group->name ? p->dlq_topic : NULL;
}

static uint32_t retries(const struct subscription *s, const struct policy *p)
{
	return s->limits.has_max_retries && s->limits.max_retries < p->max_retries
		       ? s->limits.max_retries
		       : p->max_retries;
}

static void tell_subscribed(struct subscription *s)
{
	const struct client *c = s->client;
	struct subscribed_flow *flows = xcalloc(s->n_members, sizeof(*flows));
	char(*topics)[TOPIC_MAX + 1] = xcalloc(s->n_members, sizeof(*topics));
	struct subscribed told = {
		.subscription = s->id,
		.position_existed = true,
		.max_events = s->max_events,
		.concurrency = s->concurrency,
		.max_bytes = s->max_bytes,
		.lease_ms = s->lease_ms ? s->lease_ms : INT64_MAX,
		.order = s->group->order,
		.flows = flows,
		.n_flows = s->n_members,
	};

	for (uint32_t i = 0; i < s->n_members; i++) {
		const struct member *m = &s->members[i];
		const struct policy *p = &m->feed->policy->policy;

		flows[i].pattern = m->feed->flow.spec.pattern;
		flows[i].broker = m->feed->broker->name;
		flows[i].max_retries = retries(s, p);
		flows[i].dlq_topic = dlq_text(p, m->feed, topics[i]);
		flows[i].position_existed = m->position_existed;
		told.position_existed &= m->position_existed;
		told.lease_ms = p->lease_ms < told.lease_ms ? p->lease_ms : told.lease_ms;
	}
	c->ops->on_subscribed(c->ctx, &told);
	free(topics);
	free(flows);
}

static void announce_start(struct subscription *s)
{
	for (uint32_t i = 0; i < s->n_members; i++) {
		const struct feed *f = s->members[i].feed;

		if (!feed_there(f)) {
			if (!s->told_degraded) {
				note_state(s, f);
			}
			return;
		}
	}
	subscription_start(s);
	tell_subscribed(s);
	for (uint32_t i = 0; i < s->n_members; i++) {
		note_lost(s, &s->members[i]);
		note_state(s, s->members[i].feed);
	}
}

void subscription_announce(struct subscription *s)
{
	struct client *c = s->client;
	const uint32_t id = s->id;

	c->bus->told = true;
	if (s->revoked.n > 0) {
		subscription_note(s, &(struct subscription_note){.event = SUB_REVOKED,
								 .why = "the flow moved away",
								 .broker = "",
								 .pattern = "",
								 .revoked = &s->revoked});
		ranges_clear(&s->revoked);
	}
	if (s->state == SUBSCRIPTION_STARTING) {
		announce_start(s);
	} else if (s->state == SUBSCRIPTION_CLOSING && s->held == 0) {
		subscription_free(s);
		c->ops->on_unsubscribed(c->ctx, id);
	} else if (s->state == SUBSCRIPTION_REFUSED) {
		const struct answer why = s->refusal;

		subscription_free(s);
		c->ops->on_refused(c->ctx, id, &why);
	}
}

void subscription_free(struct subscription *s)
{
	struct group *g = s->group;

	for (uint32_t i = 0; i < s->n_members; i++) {
		if (s->members[i].feed) {
			feed_leave(s->members[i].feed, &s->members[i]);
		}
	}
	list_remove(&s->link);
	list_remove(&s->announce);
	list_remove(&s->woken);
	list_remove(&s->unwritten);
	s->client->n_subscriptions--;
	ranges_finish(&s->revoked);
	free(s);
	g->users--;
	group_check_unused(g);
}
