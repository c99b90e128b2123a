/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The receiving side: a subscription has one member in each of its feeds. A window bounds what it
 * holds (queued and handed out); the oldest `concurrency` handed out and written deliveries are
 * what its client works on: only they run a lease, only they count when it dies.
 */
#ifndef DAEMON_SUBSCRIPTION_H
#define DAEMON_SUBSCRIPTION_H

#include "daemon/bus_impl.h"
#include "daemon/pipeline/policy_decide.h"

struct group;

struct member {
	struct subscription *sub;
	struct feed *feed; /* NULL once it left */
	struct list link;  /* feed->members */
	struct list place; /* feed->hungry, or sub->starved or client->starved */
	struct list queue; /* flights, not yet handed out */
	struct list ready; /* client->ready while the queue is not empty */
	uint32_t held;	   /* queued and handed out, of this feed */
	uint64_t held_bytes;
	uint32_t free_events; /* what it adds to the feed's credit */
	uint64_t free_bytes;
	uint64_t lost; /* to be told when the subscription has begun */
	bool hungry, position_existed;
};

enum subscription_state {
	SUBSCRIPTION_STARTING, /* until every flow is there */
	SUBSCRIPTION_ON,
	SUBSCRIPTION_CLOSING, /* until nothing is outstanding */
	SUBSCRIPTION_REFUSED, /* until the client was told */
};

struct subscription {
	struct client *client;
	struct group *group;
	uint32_t id;
	enum subscription_state state;
	struct list link;      /* client->subscriptions */
	struct list announce;  /* bus->announce */
	struct list woken;     /* bus->woken_subscriptions */
	struct list starved;   /* members that wait for room here */
	struct list unwritten; /* client->unwritten: the lease of `next` waits for bytes to be
				  written */
	struct list out;       /* handed out, by tag */
	struct flight *next;   /* the first of `out` that runs no lease */
	uint32_t n_leased;
	uint32_t held;
	uint64_t held_bytes;
	uint32_t max_events, concurrency;
	uint64_t max_bytes;
	int64_t lease_ms; /* asked for; 0 = the file's */
	struct policy_limits limits;
	struct answer refusal;
	struct ranges revoked; /* to be told */
	bool paused, positions, told_degraded;
	uint32_t n_members;
	struct member members[];
};

/* Whether m may be given events at all. */
static inline bool member_active(const struct member *m)
{
	return m->sub->state == SUBSCRIPTION_ON && !m->sub->paused;
}
/* Takes up to max flights from the feed's ready list. Leaves feed->hungry when there is no more
 * room. */
void member_take(struct member *m, uint32_t max);
/* Gives it this flight, which is on no list: false when there is no room for it. */
bool member_give(struct member *m, struct flight *f);
/* Recomputes what m adds to its feed's credit. */
void member_refresh(struct member *m);

/* Takes a flight that is QUEUED or OUT away from its member: its room is free again. */
void flight_detach(struct flight *f);
/* Runs its lease anew. One that runs none yet needs no more time. */
void flight_extend(struct flight *f);

/* Starts the leases that may run now. */
void subscription_lease(struct subscription *s);
/* Room again: leases that may start, members that may take more. At the turn. */
void subscription_wake(struct subscription *s);
void subscription_start(struct subscription *s); /* from now on its members are given events */
void subscription_pause(struct subscription *s, bool paused);
/* No new events; what is handed out stays until settled, then on_unsubscribed comes. */
void subscription_close(struct subscription *s);
/* The client is gone: what it worked on counts a failure, the rest does not. Frees s. */
void subscription_die(struct subscription *s);
/* Everything goes back uncounted, the members leave. */
void subscription_cut(struct subscription *s);
/* A flow of it was refused: cut, and on_refused comes. */
void subscription_refuse(struct subscription *s, const struct answer *why);
/* A tag is void. */
void subscription_revoked(struct subscription *s, uint64_t tag);

/* ---- telling the client (subscription_tell.c) ---- */

/* There may be something to tell. */
void subscription_mark(struct subscription *s);
/* Tells it, at the turn. May free s. */
void subscription_announce(struct subscription *s);
void subscription_note(struct subscription *s, const struct subscription_note *n);
void subscription_free(struct subscription *s);

#endif
