/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A feed: a flow inside the daemon, (group, pattern) at one broker. Events arrive from the adapter,
 * become ready (ordered: one per key), are given to members in turns, and are settled through the
 * pipeline. What waits for a retry spends the feed's retry window.
 */
#ifndef DAEMON_FEED_H
#define DAEMON_FEED_H

#include "base/log.h"
#include "base/topic.h"
#include "daemon/bus_impl.h"
#include "daemon/group.h"
#include "daemon/keygate.h"
#include "daemon/subscription.h"

/* Why a feed is degraded: bits. */
enum feed_problem {
	FEED_DOWN = 1,	 /* the broker is away */
	FEED_FLOW = 2,	 /* the adapter said so */
	FEED_WINDOW = 4, /* the retry window is full */
	FEED_DLQ = 8,	 /* dead letters are refused */
};

enum feed_state {
	FEED_STARTING, /* subscribed, not live yet */
	FEED_LIVE,
	FEED_STANDBY,
	FEED_REFUSED,
	FEED_LEAVING, /* unsubscribed; until the adapter has let go */
};

/* Whether an event belongs to the feed. */
enum feed_fit {
	FIT_MINE,
	FIT_SUPERSEDED, /* a more specific pattern of the group has its own copy */
	FIT_HIDDEN,	/* under dlq., which a wildcard does not match: not ours */
	FIT_FOREIGN,	/* matches nothing */
};

struct feed_counts {
	uint64_t delivered, acked, retried, parked, dead_lettered, dropped, released, returned,
		lost;
	uint64_t unmatched, superseded;
};

struct feed {
	struct flow flow; /* owner = this */
	struct bus *bus;
	struct broker *broker;
	struct group *group;
	struct table_entry entry; /* group->patterns */
	struct list group_link, bus_link, dirty, squeezed;
	enum feed_state state;
	bool notify; /* what members know may be out of date */
	unsigned problems, told_problems;
	enum feed_state told_state;
	char why_flow[200], why_dlq[240], why_window[160];
	uint64_t epoch;

	struct list members; /* everyone */
	uint32_t n_members;
	uint32_t n_open; /* members that may be given events some time: not closing */
	uint32_t n_hungry;
	struct list hungry;		  /* active members with room, in turn */
	uint64_t free_events, free_bytes; /* sums over active members */

	struct list flights; /* all */
	uint32_t n_flights;
	struct list ready;
	uint32_t n_ready;
	uint64_t ready_bytes;
	struct list settling;
	uint32_t n_windowed; /* in the retry window */
	uint64_t windowed_bytes;
	uint32_t n_dlq_failing;
	struct keygate gate;
	struct credit granted; /* what the adapter may still deliver */

	struct policy_entry *policy; /* of the pattern */
	struct {
		char topic[TOPIC_MAX];
		uint16_t n;
		enum feed_fit fit;
		const struct feed *shadow;   /* FIT_SUPERSEDED: the feed that has it */
		struct policy_entry *policy; /* NULL: not resolved yet */
	} last;				     /* the topic seen last */
	struct feed **shadows; /* feeds of the group with more specific patterns that overlap */
	uint32_t n_shadows;
	int64_t since_ms; /* its position has everything from then on (unix); 0 = all */
	struct feed_counts counts;
	struct log_repeat unmatched_log, exhausted_log, record_log;
};

static inline struct feed *feed_of(struct flow *f)
{
	return f->owner;
}
/* It has been there: subscribers need not wait. */
static inline bool feed_there(const struct feed *f)
{
	return f->state == FEED_LIVE || f->state == FEED_STANDBY;
}
/* Nobody will take what is here: it goes back to the broker. */
static inline bool feed_deserted(const struct feed *f)
{
	return f->bus->draining || f->bus->stopping || f->n_open == 0;
}
/* Marked for the turn: something to settle, to dispatch, or to tell. */
void feed_mark(struct feed *f);
void feed_turn(struct feed *f);

/* ---- flights (feed.c) ---- */
void feed_deliver(struct feed *f, struct delivery *items, uint32_t n);
/* f is on no list and may be delivered now; or it goes back to the broker when nobody is there.
 * front: before what is ready already. */
void feed_offer(struct flight *fl, bool front);
void feed_dispatch(struct feed *f);
/* Done with it: ACK or RELEASE at the end of the turn. fl is on no list. */
void feed_finish(struct flight *fl, enum settle_kind kind);
/* RETRY or PARK: the failures go to the broker at the end of the turn. */
void feed_record(struct flight *fl, enum settle_kind kind);
/* Into and out of the retry window. */
void feed_window_add(struct flight *fl);
void feed_window_remove(struct flight *fl);
bool feed_window_full(const struct feed *f);
/* At the turn: renews what the adapter may deliver. */
void feed_credit(struct feed *f);
/* The policy of that event, a reference. */
struct policy_entry *feed_policy(struct feed *f, struct slice topic);
/* Takes fl from whatever list and count it is on. Not from its key. */
void feed_take(struct flight *fl);
/* Void at the broker: forgets it without settling. */
void feed_discard(struct flight *fl);
/* Tells the adapter all settlements now. */
void feed_flush(struct feed *f);

/* ---- life (feed_life.c) ---- */
struct feed_options {
	struct group *group;
	struct broker *broker;
	struct slice pattern;
	struct start start;
	int64_t lease_ms;
	uint32_t max_events; /* of the first member's window */
};
struct feed *feed_create(struct bus *b, const struct feed_options *o);
void feed_join(struct feed *f, struct member *m);
/* Its flights were taken from it before. */
void feed_leave(struct feed *f, struct member *m);
/* m may be given events from now on, or not for a while. */
void feed_member_active(struct feed *f, struct member *m, bool active);
/* A member will never be given events again; it leaves when it holds nothing. */
void feed_member_closing(struct feed *f);
/* Gives everything that no client holds back to the broker (P5). */
void feed_give_back(struct feed *f);
/* The same with what clients hold. */
void feed_abandon(struct feed *f);
void feed_check_unused(struct feed *f);
void feed_on_gone(struct feed *f);
/* After a reload. */
void feed_repolicy(struct feed *f);

/* ---- what the adapter says (feed_flow.c) ---- */
void feed_on_flow(struct feed *f, const struct flow_note *note);
void feed_on_revoked(struct feed *f, void *const *handles, uint32_t n);

/* ---- what members are told (feed_tell.c) ---- */
void feed_problem(struct feed *f, enum feed_problem p, bool on);
void feed_tell(struct feed *f); /* at the turn: what changed */
void feed_tell_members(struct feed *f, enum subscription_event event, const char *why,
		       uint64_t lost);
/* The text of the worst problem, "" if none. */
const char *feed_why(const struct feed *f);

#endif
