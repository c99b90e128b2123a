/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the adapter says of a flow.
 *
 * Happy path: LIVE (or STANDBY), and who waits for it is told Subscribed in the next turn.
 *
 * Failure modes:
 * - refused by the broker: every subscription with a member here is refused;
 * - revoked: the handles are void, the clients' tags too, nothing is settled;
 * - degraded, gap, lost: members are told, the adapter heals the flow.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "daemon/feed.h"

static void make_void(struct flight *fl)
{
	struct subscription *s = fl->state == FLIGHT_OUT ? fl->member->sub : NULL;

	if (s) {
		subscription_revoked(s, fl->tag);
	}
	feed_discard(fl);
}

static int by_address(const void *a, const void *b)
{
	const uintptr_t x = (uintptr_t) * (void *const *)a, y = (uintptr_t) * (void *const *)b;

	return x < y ? -1 : x > y;
}

void feed_on_revoked(struct feed *f, void *const *handles, uint32_t n)
{
	void **sorted = xmalloc((n ? n : 1) * sizeof(void *));
	struct list *it, *tmp;

	if (n > 0) {
		memcpy(sorted, handles, n * sizeof(void *));
		qsort(sorted, n, sizeof(void *), by_address);
	}
	list_for_each_safe (it, tmp, &f->flights) {
		struct flight *fl = container_of(it, struct flight, all);

		if (n == 0 || bsearch(&fl->handle, sorted, n, sizeof(void *), by_address)) {
			make_void(fl);
		}
	}
	free(sorted);
	feed_mark(f);
}

static void refuse_members(struct feed *f, const struct flow_note *note)
{
	struct answer why;
	struct list *it;

	answer_set(&why, OUTCOME_PERMANENT, note->reason ? note->reason : REASON_BROKER, "%s: %s",
		   f->flow.spec.pattern, note->why);
	f->state = FEED_REFUSED;
	while ((it = list_first(&f->members))) {
		subscription_refuse(container_of(it, struct member, link)->sub, &why);
	}
	feed_abandon(f);
	feed_check_unused(f);
}

/* A new position has every event that was published from then on. */
static int64_t begins_ms(const struct start *s)
{
	switch (s->kind) {
	case START_EARLIEST:
		return 0;
	case START_TIME:
		return s->time_ms;
	case START_NEW:
	case START_POSITION:
		break;
	}
	return clock_unix_ms();
}

static void arrive(struct feed *f, const struct flow_note *note)
{
	const bool first = !feed_there(f);

	f->state = note->event == FLOW_LIVE ? FEED_LIVE : FEED_STANDBY;
	f->epoch = note->event == FLOW_LIVE ? note->epoch : f->epoch;
	f->notify = true;
	feed_problem(f, FEED_FLOW, false);
	if (first) {
		f->since_ms = note->position_existed ? 0 : begins_ms(&f->flow.spec.start);
	}
	for (struct list *it = f->members.next; it != &f->members; it = it->next) {
		struct member *m = container_of(it, struct member, link);

		if (first) {
			m->position_existed = note->position_existed;
		}
		subscription_mark(m->sub);
	}
}

/* Who waits for Subscribed is told right behind it. */
static void tell_lost(struct feed *f, const struct flow_note *note)
{
	feed_tell_members(f, SUB_LOST, note->why, note->lost);
	for (struct list *it = f->members.next; it != &f->members; it = it->next) {
		struct member *m = container_of(it, struct member, link);

		if (m->sub->state == SUBSCRIPTION_STARTING) {
			m->lost += note->lost;
		}
	}
}

void feed_on_flow(struct feed *f, const struct flow_note *note)
{
	const char *group = f->group->name ? f->group->name : "-";

	feed_mark(f);
	switch (note->event) {
	case FLOW_LIVE:
	case FLOW_STANDBY:
		arrive(f, note);
		return;
	case FLOW_DEGRADED:
		snprintf(f->why_flow, sizeof(f->why_flow), "%s", note->why);
		f->notify = true;
		feed_problem(f, FEED_FLOW, true);
		return;
	case FLOW_GAP:
		log_warn("bus", "gap: %s group=%s pattern=%s", note->why, group,
			 f->flow.spec.pattern);
		feed_tell_members(f, SUB_GAP, note->why, 0);
		return;
	case FLOW_LOST:
		f->counts.lost += note->lost;
		f->bus->totals.lost += note->lost;
		log_warn("bus",
			 "events lost to the broker's retention lost=%llu group=%s "
			 "pattern=%s",
			 (unsigned long long)note->lost, group, f->flow.spec.pattern);
		tell_lost(f, note);
		return;
	case FLOW_REFUSED:
		log_warn("bus", "refused by the broker: %s group=%s pattern=%s", note->why, group,
			 f->flow.spec.pattern);
		refuse_members(f, note);
		return;
	}
}
