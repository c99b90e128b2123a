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
	uint64_t tag;		  /* while OUT */
	struct wheel_entry timer; /* OUT: lease; WAITING, DEAD: due */
	struct event *event;	  /* our reference */
	void *handle;
	struct feed *feed;
	struct member *member;	     /* QUEUED, OUT */
	struct policy_entry *policy; /* from the first hand-out on: our reference */
	struct key_slot *slot;	     /* ordered feeds: held until settled for good */
	struct dead_letter *dead;    /* DEAD */
	struct failures failures;
	struct position position;
	uint32_t index, generation; /* see flight_ref */
	uint32_t size;		    /* bytes of the event */
	uint8_t state;
	uint8_t settle;	    /* enum settle_kind, on feed->settling */
	uint8_t releases;   /* in a row, by different members */
	uint8_t rounds;	    /* times that everyone had released it; saturates */
	bool leased : 1;    /* OUT: one of those that are worked on */
	bool recording : 1; /* WAITING: the record was not confirmed yet */
	bool due : 1;	    /* WAITING: its time has come */
	bool give_back : 1; /* WAITING: to the broker as soon as it is recorded */
	bool windowed : 1;  /* counts in the feed's retry window */
	bool late : 1;	    /* came while the daemon drained: nobody had it */
};

/* Flights come from chunks, so that none costs an allocation; chunks go back when many are free. */
struct flight_pool {
	struct flight_chunk **chunks; /* by index / FLIGHT_CHUNK; NULL where one was freed */
	uint32_t n_chunks, n_free;
	uint64_t n_live;
	uint32_t generation;
	struct list free, empty; /* flights; chunks of which none lives */
	struct budget *budget;	 /* charged per chunk; may be NULL */
};

void flight_pool_init(struct flight_pool *p, struct budget *budget);
void flight_pool_finish(struct flight_pool *p); /* every flight was freed */
/* Zeroed but for index and generation. */
struct flight *flight_alloc(struct flight_pool *p);
void flight_free(struct flight_pool *p, struct flight *f);

/* A name for a flight that can outlive it: never NULL, and found only while it lives. */
void *flight_ref(const struct flight *f);
struct flight *flight_find(const struct flight_pool *p, void *ref);

#endif
