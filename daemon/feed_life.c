/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Happy path: created with its first member, subscribed at the adapter; when the last member
 * leaves, what is held goes back, the flow is unsubscribed, and the feed is freed when the adapter
 * has let go.
 *
 * Failure modes:
 * - a member joins while the flow is leaving: subscribed again once it is gone;
 * - the last member leaves with a failure not yet recorded: the flow stays until it is;
 * - the daemon stops: everything goes back, what clients hold too.
 */
#include "daemon/feed.h"

#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"
#include "daemon/pipeline/step.h"

#define HELD_MIN 1024u

/* ---- shadows: more specific patterns of the same group ----------------------- */

static bool shadows(const struct feed *a, const struct feed *b)
{
	const struct slice x = slice_str(a->flow.spec.pattern);
	const struct slice y = slice_str(b->flow.spec.pattern);

	return pattern_compare(x, y) < 0 && patterns_overlap(x, y);
}

static void shadow_add(struct feed *f, struct feed *by)
{
	f->shadows = xrealloc(f->shadows, (f->n_shadows + 1) * sizeof(struct feed *));
	f->shadows[f->n_shadows++] = by;
	f->last.n = 0;
}

static void shadow_remove(struct feed *f, const struct feed *by)
{
	for (uint32_t i = 0; i < f->n_shadows; i++) {
		if (f->shadows[i] == by) {
			f->shadows[i] = f->shadows[--f->n_shadows];
			f->last.n = 0;
			return;
		}
	}
}

static void shadows_update(struct feed *f, bool added)
{
	struct list *head = &f->group->feeds;

	for (struct list *it = head->next; it != head; it = it->next) {
		struct feed *o = container_of(it, struct feed, group_link);

		if (!added) {
			shadow_remove(o, f);
		} else if (shadows(f, o)) {
			shadow_add(o, f);
		} else if (shadows(o, f)) {
			shadow_add(f, o);
		}
	}
}

/* Whether a feed supersedes others depends on whether it has members. */
static void forget_topics(const struct group *g)
{
	for (struct list *it = g->feeds.next; it != &g->feeds; it = it->next) {
		container_of(it, struct feed, group_link)->last.n = 0;
	}
}

/* ---- create, free -------------------------------------------------------------- */

static uint32_t held_limit(const struct bus *b, const struct policy *p, uint32_t window)
{
	const struct config_limits *l = &b->config->limits;
	uint64_t n = (uint64_t)p->window_events + (uint64_t)l->max_in_flight_events;

	n = n > window + p->window_events ? n : window + p->window_events;
	n = n > HELD_MIN ? n : HELD_MIN;
	return n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
}

static void fill_spec(struct feed *f, const struct feed_options *o)
{
	struct flow_spec *s = &f->flow.spec;

	s->group = o->group->name ? xstrdup(o->group->name) : NULL;
	s->pattern = xstrndup(o->pattern.p, o->pattern.n);
	s->order = o->group->order;
	s->start = o->start;
	s->interop = (enum interop)f->policy->policy.interop;
	s->lease_ms = o->lease_ms;
	s->max_events = held_limit(f->bus, &f->policy->policy, o->max_events);
}

struct feed *feed_create(struct bus *b, const struct feed_options *o)
{
	struct feed *f = xcalloc(1, sizeof(*f));

	f->bus = b;
	f->broker = o->broker;
	f->group = o->group;
	f->flow.owner = f;
	f->policy = policy_book_find(b->book, o->pattern, o->group->name);
	fill_spec(f, o);
	list_init(&f->members);
	list_init(&f->hungry);
	list_init(&f->flights);
	list_init(&f->ready);
	list_init(&f->settling);
	keygate_init(&f->gate);
	table_insert(&o->group->patterns, &f->entry, hash_slice(o->pattern));
	shadows_update(f, true);
	list_push_back(&o->group->feeds, &f->group_link);
	o->group->n_feeds++;
	list_push_back(&b->feeds, &f->bus_link);
	b->n_feeds++;
	o->broker->n_feeds++;
	f->problems = o->broker->up ? 0 : FEED_DOWN;
	flow_subscribe(o->broker->adapter, &f->flow);
	return f;
}

static void feed_free(struct feed *f)
{
	struct group *g = f->group;
	struct bus *b = f->bus;

	assert(f->n_flights == 0 && f->n_members == 0);
	list_remove(&f->dirty);
	list_remove(&f->squeezed);
	list_remove(&f->bus_link);
	b->n_feeds--;
	f->broker->n_feeds--;
	list_remove(&f->group_link);
	table_remove(&g->patterns, &f->entry);
	g->n_feeds--;
	shadows_update(f, false);
	free(f->shadows);
	keygate_finish(&f->gate);
	policy_entry_unref(f->policy);
	policy_entry_unref(f->last.policy);
	free(f->flow.spec.group);
	free(f->flow.spec.pattern);
	free(f);
	group_check_unused(g);
}

/* ---- members -------------------------------------------------------------------- */

void feed_join(struct feed *f, struct member *m)
{
	m->feed = f;
	list_push_back(&f->members, &m->link);
	f->n_members++;
	if (f->n_open++ == 0) {
		forget_topics(f->group);
	}
	m->position_existed = feed_there(f);
}

void feed_member_active(struct feed *f, struct member *m, bool active)
{
	list_remove(&m->place);
	f->n_hungry -= m->hungry;
	m->hungry = active;
	if (active) {
		list_push_back(&f->hungry, &m->place);
		f->n_hungry++;
	}
	member_refresh(m);
	feed_mark(f);
}

void feed_member_closing(struct feed *f)
{
	assert(f->n_open > 0);
	if (--f->n_open == 0) {
		forget_topics(f->group);
		feed_give_back(f);
	}
	feed_mark(f);
}

void feed_leave(struct feed *f, struct member *m)
{
	assert(m->held == 0 && !m->hungry);
	list_remove(&m->link);
	m->feed = NULL;
	f->n_members--;
	feed_mark(f);
}

/* ---- giving back ------------------------------------------------------------------ */

static void give_back_one(struct flight *fl)
{
	switch ((enum flight_state)fl->state) {
	case FLIGHT_READY:
	case FLIGHT_QUEUED:
	case FLIGHT_KEPT:
		feed_take(fl);
		feed_finish(fl, SETTLE_RELEASE);
		return;
	case FLIGHT_GATED:
		feed_finish(fl, SETTLE_RELEASE);
		return;
	case FLIGHT_WAITING:
	case FLIGHT_DEAD:
		step_give_back(fl);
		return;
	case FLIGHT_OUT:
	case FLIGHT_SETTLING:
	case FLIGHT_FREE:
		return;
	}
}

void feed_give_back(struct feed *f)
{
	struct list *it, *tmp;

	feed_credit(f); /* none any more: what goes back must not come here again */
	list_for_each_safe (it, tmp, &f->flights) {
		give_back_one(container_of(it, struct flight, all));
	}
}

void feed_abandon(struct feed *f)
{
	struct list *it, *tmp;

	if (f->state == FEED_LEAVING) {
		return;
	}
	feed_credit(f);
	feed_flush(f); /* so that no RETRY is told after its RELEASE */
	list_for_each_safe (it, tmp, &f->flights) {
		struct flight *fl = container_of(it, struct flight, all);

		if (fl->state != FLIGHT_SETTLING) {
			feed_take(fl);
			feed_finish(fl, SETTLE_RELEASE);
		}
	}
	feed_flush(f);
}

void feed_check_unused(struct feed *f)
{
	if (f->n_members > 0 || f->n_flights > 0 || f->state == FEED_LEAVING) {
		return;
	}
	f->state = FEED_LEAVING;
	f->granted = (struct credit){0, 0};
	flow_unsubscribe(&f->flow);
}

void feed_on_gone(struct feed *f)
{
	assert(f->state == FEED_LEAVING);
	if (f->n_members > 0 && !f->bus->stopping) {
		f->state = FEED_STARTING;
		f->flow.spec.order = f->group->order;
		f->problems = f->broker->up ? 0 : FEED_DOWN;
		flow_subscribe(f->broker->adapter, &f->flow);
		feed_mark(f);
		return;
	}
	feed_free(f);
}

void feed_repolicy(struct feed *f)
{
	policy_entry_unref(f->policy);
	policy_entry_unref(f->last.policy);
	f->last.policy = NULL;
	f->last.n = 0;
	f->policy = policy_book_find(f->bus->book, slice_str(f->flow.spec.pattern), f->group->name);
	feed_mark(f);
}
