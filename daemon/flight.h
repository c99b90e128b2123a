/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A flight: one event of one feed while it is in the daemon. It is always in exactly one state, and
 * its `link` is on the list that belongs to that state. Loop thread only.
 */
#ifndef DAEMON_FLIGHT_H
#define DAEMON_FLIGHT_H

#include <stdbool.h>
#include <stdint.h>

#include "adapters/adapter.h"
#include "base/list.h"
#include "base/wheel.h"

struct feed;
struct member;
struct key_slot;
struct policy_entry;
struct dead_letter;

enum flight_state {
	FLIGHT_FREE,
	FLIGHT_READY,	 /* feed->ready: whoever has room may take it */
	FLIGHT_GATED,	 /* its key's queue: an earlier event of the key is not settled */
	FLIGHT_QUEUED,	 /* member->queue: its place in the window is taken, no tag yet */
	FLIGHT_OUT,	 /* subscription->out: handed out, has a tag */
	FLIGHT_WAITING,	 /* no list: until due and recorded, then ready again */
	FLIGHT_DEAD,	 /* no list: its dead letter is being published */
	FLIGHT_KEPT,	 /* no list: unmatched, held until the feed ends */
	FLIGHT_SETTLING, /* feed->settling: told to the broker at the end of the turn */
};

struct flight {
	struct list link; /* by state; a RETRY that is not yet told is on feed->settling */
	struct list all;  /* feed->flights; the pool's free list */
	struct flight *next_tag;
	uint64_t tag;	     /* while OUT */
	struct event *event; /* our reference */
	void *handle;
	struct feed *feed;
	struct member *member;	     /* QUEUED, OUT */
	struct policy_entry *policy; /* from the first hand-out on: our reference */
	struct key_slot *slot;	     /* ordered feeds: held until settled for good */
	struct flight_extra *extra;  /* NULL while there is nothing to put in it */
	struct position position;
	uint32_t size;	    /* bytes of the event */
	uint8_t at;	    /* the pool's: place in its chunk */
	uint8_t releases;   /* in a row, by different members */
	uint8_t rounds : 4; /* times that everyone had released it; saturates */
	uint8_t state : 4;
	uint8_t settle : 2; /* enum settle_kind, on feed->settling */
	bool leased : 1;    /* OUT: one of those that are worked on */
	bool recording : 1; /* WAITING: the record was not confirmed yet */
	bool due : 1;	    /* WAITING: its time has come */
	bool give_back : 1; /* WAITING: to the broker as soon as it is recorded */
	bool windowed : 1;  /* counts in the feed's retry window */
	bool late : 1;	    /* came while the daemon drained: nobody had it */
};

#define FLIGHT_ROUNDS_MAX 15u

/* What only those need that are worked on, wait, or failed: few of all that a window holds. */
struct flight_extra {
	struct wheel_entry timer; /* OUT: lease; WAITING, DEAD: due; its list when spare */
	struct flight *flight;
	struct failures failures;
	struct dead_letter *dead; /* DEAD */
	uint32_t generation;	  /* see flight_ref; never 0 */
};

/* Flights come from chunks, so that none costs an allocation; chunks go back when many are free. */
struct flight_pool {
	struct flight_chunk **chunks; /* by index / FLIGHT_CHUNK; NULL where one was freed */
	uint32_t n_chunks, n_free;
	uint64_t n_live;
	uint32_t generation;
	struct list free, empty; /* flights; chunks of which none lives */
	struct list spare;	 /* extras, a bounded number */
	uint32_t n_spare;
	struct budget *budget; /* charged for chunks and extras; may be NULL */
};

void flight_pool_init(struct flight_pool *p, struct budget *budget);
void flight_pool_finish(struct flight_pool *p); /* every flight was freed */
/* Zeroed but for its place. */
struct flight *flight_alloc(struct flight_pool *p);
/* Its extra goes with it; the timer must not be armed, no dead letter be left. */
void flight_free(struct flight_pool *p, struct flight *f);

/* Its extra, made (zeroed) on first need. It stays until flight_trim or flight_free. */
struct flight_extra *flight_extra(struct flight_pool *p, struct flight *f);
/* Lets the extra go if there is nothing in it: no armed timer, no failures, no dead letter. */
void flight_trim(struct flight_pool *p, struct flight *f);
static inline struct failures flight_failures(const struct flight *f)
{
	return f->extra ? f->extra->failures : (struct failures){0};
}
void flight_set_failures(struct flight_pool *p, struct flight *f, const struct failures *failures);
static inline struct dead_letter *flight_dead(const struct flight *f)
{
	return f->extra ? f->extra->dead : NULL;
}

/*
 * A name for a flight, which must have its extra: never NULL, and found only while both live. What
 * is recorded or dead-lettered has one until that is over.
 */
void *flight_ref(const struct flight *f);
struct flight *flight_find(const struct flight_pool *p, void *ref);

#endif
