/* SPDX-License-Identifier: Apache-2.0 */
/* What members are told of their feed: once per turn, and only what changed. */
#include "daemon/feed.h"

#include "daemon/client_impl.h"

void feed_problem(struct feed *f, enum feed_problem p, bool on)
{
	const unsigned now = on ? f->problems | p : f->problems & ~(unsigned)p;

	if (now != f->problems) {
		f->problems = now;
		feed_mark(f);
	}
}

const char *feed_why(const struct feed *f)
{
	if (f->problems & FEED_DOWN) {
		return f->broker->why_down;
	}
	if (f->problems & FEED_FLOW) {
		return f->why_flow;
	}
	if (f->problems & FEED_DLQ) {
		return f->why_dlq;
	}
	return f->problems & FEED_WINDOW ? f->why_window : "";
}

static void log_change(const struct feed *f, bool first)
{
	const char *group = f->group->name ? f->group->name : "-";

	if (first && !f->problems) {
		log_debug("bus", "live group=%s pattern=%s", group, f->flow.spec.pattern);
	} else if (f->problems) {
		log_warn("bus", "degraded: %s group=%s pattern=%s", feed_why(f), group,
			 f->flow.spec.pattern);
	} else {
		log_info("bus", "%s group=%s pattern=%s epoch=%llu",
			 f->state == FEED_STANDBY ? "standing by" : "live", group,
			 f->flow.spec.pattern, (unsigned long long)f->epoch);
	}
}

void feed_tell_members(struct feed *f, enum subscription_event event, const char *why,
		       uint64_t lost)
{
	for (struct list *it = f->members.next; it != &f->members; it = it->next) {
		subscription_note(container_of(it, struct member, link)->sub,
				  &(struct subscription_note){.event = event,
							      .why = why,
							      .broker = f->broker->name,
							      .pattern = f->flow.spec.pattern,
							      .lost = lost,
							      .epoch = f->epoch});
	}
}

void feed_tell(struct feed *f)
{
	bool first;

	if (f->problems == f->told_problems && f->state == f->told_state && !f->notify) {
		return;
	}
	first = f->told_state == FEED_STARTING && f->told_problems == 0;
	f->told_problems = f->problems;
	f->told_state = f->state;
	f->notify = false;
	if (f->state != FEED_LIVE && f->state != FEED_STANDBY && !f->problems) {
		return;
	}
	log_change(f, first);
	if (f->problems) {
		feed_tell_members(f, SUB_DEGRADED, feed_why(f), 0);
	} else {
		feed_tell_members(f, f->state == FEED_LIVE ? SUB_LIVE : SUB_STANDBY, "", 0);
	}
}
