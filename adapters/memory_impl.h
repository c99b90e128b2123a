/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the memory bus share. Loop thread only.
 *
 * An entry is one stored event. It is needed while it is queued for a flow (in the flow's
 * ring) or held for one (a hold: in the daemon's hands, parked, or given back and waiting). An
 * entry that nobody needs stays as history until its bytes are wanted.
 */
#ifndef ADAPTERS_MEMORY_IMPL_H
#define ADAPTERS_MEMORY_IMPL_H

#include <uv.h>

#include "adapters/adapter_impl.h"
#include "adapters/memory.h"
#include "adapters/memory_queue.h"
#include "base/log.h"
#include "base/table.h"
#include "base/wheel.h"

struct memory_bus;
struct memory_flow;

enum {
	MEMORY_CHUNK = 64,	    /* most events that share a block */
	MEMORY_CHUNK_BYTES = 32768, /* a block is closed when it has this many */
	MEMORY_SLICE = 8192,	    /* entries walked or let go in one turn, whatever waits */
	MEMORY_SLAB = 256,	    /* entries allocated together */
	MEMORY_FREE_MAX = 8192,	    /* unused entries and holds that are kept for later */
};

/* A block of events that were stored together, and when. It lives in the block that it keeps. */
struct memory_chunk {
	struct event_block *block;
	int64_t stored_ms;	/* unix, for start by time */
	int64_t mono_ms;	/* for the dedupe window */
	uint32_t live;		/* entries whose event is in it */
	uint32_t idle;		/* of these, needed by nobody */
	size_t live_cost, cost; /* sum of memory_entry.bytes */
};

/* A place in the log. seq 0: not an entry but a marker of somebody who walks it. */
struct memory_link {
	struct list link;
	uint64_t seq;
};

/* One cache line. */
struct memory_entry {
	struct memory_link log; /* first, by sequence */
	struct event *event;	/* in chunk->block */
	struct memory_chunk *chunk;
	uint32_t id;	     /* of this piece of memory, see memory_entry_at */
	uint32_t hash;	     /* of topic and id */
	uint32_t slot;	     /* in the dedupe index, from 1; 0: not there */
	uint32_t bytes : 31; /* what it counts against the history */
	uint32_t idle : 1;   /* nobody needs it */
	union {
		struct {
			uint32_t queued; /* rings that it is in */
			uint32_t held;	 /* holds on it */
		};
		uint64_t idle_at; /* its place in log.idle */
	};
};

/* Entries come in slabs, so that four bytes name one. */
struct memory_slab {
	uint32_t live;
	_Alignas(64) struct memory_entry entries[MEMORY_SLAB];
};

struct memory_pool {
	struct memory_slab **slabs; /* NULL: given back */
	uint32_t n_slabs, n_live_slabs;
	struct list free; /* by memory_entry.log.link */
	size_t n_free;
};

struct memory_bucket;
struct memory_index {
	struct memory_bucket *buckets; /* NULL until the first insert */
	uint32_t *ids;		       /* of the entries, by slot */
	size_t n_buckets, count;       /* a power of two */
};

struct memory_log {
	struct list entries;	 /* struct memory_link */
	struct memory_ring idle; /* entries that nobody needs, in the order of becoming so; holes */
	uint64_t idle_base;	 /* number of the place at its front */
	size_t n_idle;
	struct memory_link drop; /* drop_oldest: nothing before it can be dropped */
	struct memory_pool pool;
	struct memory_index index;
	uint64_t next_seq, evicted_seq; /* highest number that ever left */
	size_t bytes, limit, count;
};

/* ---- entries (memory_entry.c) -------------------------------------------------- */

struct memory_entry *memory_entry_create(struct memory_log *l); /* zeroed but for its id */
void memory_entry_free(struct memory_log *l, struct memory_entry *e);
static inline struct memory_entry *memory_entry_at(const struct memory_log *l, uint32_t id)
{
	return &l->pool.slabs[id / MEMORY_SLAB]->entries[id % MEMORY_SLAB];
}
/* One flow less needs it. */
void memory_entry_unqueue(struct memory_log *l, struct memory_entry *e);
void memory_entry_unhold(struct memory_log *l, struct memory_entry *e);
/* Idle if nobody needs it; no longer so. */
void memory_entry_unneeded(struct memory_log *l, struct memory_entry *e);
void memory_entry_needed(struct memory_log *l, struct memory_entry *e);
/* The entry that has been idle for longest, or NULL. */
struct memory_entry *memory_entry_oldest_idle(struct memory_log *l);
/* The next n idle ones are wanted soon. */
void memory_entry_prefetch_idle(const struct memory_log *l, uint32_t n);
void memory_pool_init(struct memory_pool *p);
void memory_pool_finish(struct memory_pool *p);

/* ---- history (memory_log.c) ------------------------------------------------------ */

void memory_log_init(struct memory_bus *b);
void memory_log_finish(struct memory_bus *b); /* every entry must have gone or be unneeded */
/* Copies the events of these entries into a block of their own and points the entries at it. */
struct memory_chunk *memory_chunk_create(struct memory_bus *b, struct memory_entry *const *entries,
					 uint32_t n);
/* It is needed by nobody and leaves the history. */
void memory_entry_evict(struct memory_bus *b, struct memory_entry *e);
/* The next entry behind a marker, which moves behind it; NULL at the end. */
struct memory_entry *memory_log_walk(struct memory_bus *b, struct memory_link *marker);
/* The oldest one that is in a ring, for drop_oldest; NULL: none. */
struct memory_entry *memory_log_oldest_queued(struct memory_bus *b);
/* Bytes that history and flows take beside the events, for the budget. */
size_t memory_log_footprint(const struct memory_log *l);

void memory_index_finish(struct memory_index *x);
uint32_t memory_index_hash(uint64_t topic_hash, struct slice id);
/* One of that hash is about to join or to leave. */
void memory_index_prefetch(const struct memory_index *x, uint32_t hash, bool joins);
struct memory_entry *memory_index_find(const struct memory_log *l, uint32_t hash,
				       struct slice topic, struct slice id);
void memory_index_insert(struct memory_log *l, struct memory_entry *e);
void memory_index_remove(struct memory_log *l, struct memory_entry *e);
size_t memory_index_footprint(const struct memory_index *x);

/* ---- publish (memory_store.c) ---------------------------------------------------- */

/* What an event costs beside its bytes: views, entry, place in index and rings. */
#define MEMORY_OVERHEAD (sizeof(struct event) + sizeof(struct memory_entry) + 32)

/* Stores what it can, hands it to the flows and fills the answers; tells nothing. */
void memory_store(struct memory_bus *b, struct publish *p);

/* ---- routes (memory_route.c) ------------------------------------------------ */

struct memory_node; /* of the tree of patterns */

struct memory_route {
	struct table_entry entry;
	uint64_t generation;
	struct memory_flow **flows;
	uint32_t n, topic_n, bytes;
	uint8_t topic[];
};

struct memory_routes {
	struct table cache, nodes;
	struct memory_node *root;
	struct memory_node **frontier, **next; /* scratch of a lookup */
	size_t scratch_cap;
	uint64_t generation; /* of the set of flows; an older route is void */
	size_t cache_bytes, node_bytes;
};

void memory_routes_init(struct memory_routes *r);
void memory_routes_finish(struct memory_routes *r);
void memory_routes_add(struct memory_routes *r, struct memory_flow *m);
void memory_routes_remove(struct memory_routes *r, struct memory_flow *m); /* twice is fine */
/* The flows of a topic; valid until the next call of any of these. hash: hash_slice(topic). */
const struct memory_route *memory_routes_find(struct memory_routes *r, struct slice topic,
					      uint64_t hash);

/* ---- flows (memory_flow.c) ------------------------------------------------------ */

enum memory_hold_state { HOLD_OUT, HOLD_RETURNED, HOLD_PARKED };

/* One event of one flow that was handed out at least once and is not done with. */
struct memory_hold {
	struct list link; /* of the flow */
	struct memory_flow *flow;
	struct memory_record *record; /* NULL: it never failed */
	uint32_t entry;		      /* its id, see memory_hold_entry */
	uint8_t state;		      /* enum memory_hold_state */
	uint8_t index;		      /* in its slab */
};

/* What a hold needs once it failed. */
struct memory_record {
	struct memory_hold *hold;
	struct failures failures;
	struct wheel_entry park;
};

struct memory_flow {
	struct list all;	    /* of the bus: living, or being let go */
	struct table_entry by_name; /* with a group */
	struct list ready;	    /* while there is something to tell or deliver */
	struct list memberless;	    /* while a group has nobody here, oldest first */
	struct list replaying;	    /* while it collects what the history has for it */
	struct list route;	    /* of its node */
	struct memory_node *node;
	struct memory_bus *bus;
	struct flow *f; /* NULL: no member */
	char *group;	/* NULL: none */
	char *pattern;
	struct memory_link cursor; /* in the log while replaying */
	struct start start;
	struct memory_ring pending;  /* entries never handed out, by sequence */
	struct memory_heap returned; /* holds that were given back, by sequence */
	struct list holds;
	uint64_t parked;
	struct credit credit;
	bool fresh_credit; /* nothing used of it yet: one event of any size fits */
	bool stalled;	   /* the next one does not fit: wait for credit */
	bool live;	   /* its position exists: events are queued as they come */
	bool tell_live, existed, tell_gap;
	uint64_t lost;	    /* to be told */
	size_t bytes;	    /* of entries that it needs */
	int64_t expires_ms; /* loop time, while memberless */
};

/* A group's flow that ended and lost events, to tell who comes next. */
struct memory_tomb {
	struct table_entry by_name;
	struct list link;
	char *group, *pattern;
	uint64_t lost;
};

enum memory_notice_kind { NOTICE_RECORDED, NOTICE_GONE, NOTICE_REFUSED };

struct memory_notice {
	enum memory_notice_kind kind;
	struct flow *f;
	void *item;
};

void memory_subscribe(struct adapter *a, struct flow *f);
void memory_unsubscribe(struct adapter *a, struct flow *f);
/* entries[0..n) are for this flow; the caller has counted them as queued. */
void memory_flow_push(struct memory_flow *m, struct memory_entry *const *entries, uint32_t n);
/* Takes the oldest pending one away if it is e, and counts the loss. */
void memory_flow_drop(struct memory_flow *m, struct memory_entry *e);
/* The same for the oldest that were given back to the flow that needs most; false: none were. */
bool memory_flows_drop_returned(struct memory_bus *b);
/* To the ready list if there is something to tell or deliver. */
void memory_flow_schedule(struct memory_flow *m);
void memory_flow_update_lag(struct memory_flow *m);
size_t memory_flow_footprint(const struct memory_flow *m); /* of its queues */
/* One turn's share of reading history, and of letting go of flows that ended. */
void memory_flows_replay(struct memory_bus *b);
void memory_flows_bury(struct memory_bus *b);
/* Ends the flows whose time without members is over at loop time now_ms. */
void memory_flows_expire(struct memory_bus *b, int64_t now_ms);
void memory_flows_finish(struct memory_bus *b);
/* The flow that needs the most bytes, or NULL. */
const struct memory_flow *memory_flows_largest(struct memory_bus *b);

/* ---- delivery (memory_deliver.c) ------------------------------------------------ */

void memory_credit(struct adapter *a, struct flow *f, struct credit now);
void memory_settle(struct adapter *a, struct flow *f, const struct settlement *items, uint32_t n);
/* One upcall for a flow that is ready, the last thing done with it. Returns events delivered. */
uint32_t memory_flow_step(struct memory_flow *m);
bool memory_flow_has_work(const struct memory_flow *m);
/* Gives back what has waited long enough, a turn's share. */
void memory_parked_return(struct memory_bus *b);

/* ---- holds (memory_hold.c) ------------------------------------------------------- */

/* The claim of the ring becomes that of the hold. */
struct memory_entry *memory_hold_entry(const struct memory_hold *h);
struct memory_hold *memory_hold_create(struct memory_flow *m, struct memory_entry *e);
struct memory_record *memory_hold_record(struct memory_hold *h, const struct failures *failures);
void memory_hold_free(struct memory_hold *h); /* with its claim on the entry */
size_t memory_holds_footprint(const struct memory_bus *b);
void memory_holds_finish(struct memory_bus *b); /* all were freed */

/* ---- the bus (memory.c) ---------------------------------------------------------- */

enum { MEMORY_DELIVER = 256, MEMORY_TURN_EVENTS = 4096 };

struct memory_bus {
	struct adapter base;
	const struct memory_options *opt;
	uv_idle_t idle;	  /* runs while there is something to say */
	uv_timer_t timer; /* parked events, flows without members */
	int open_handles;
	bool working, tell_up;
	int64_t timer_due_ms; /* loop time, -1: not armed */
	struct memory_log log;
	struct memory_routes routes;
	struct list answered; /* struct publish, to be told */
	struct memory_notice *notices;
	size_t n_notices, notices_cap;
	struct list flows, ready, memberless, replaying, dying;
	size_t n_flows, n_holds, n_records;
	struct table names, tombs;
	struct list tombs_by_age;
	struct wheel wheel;
	struct list expired;	/* of wheel, not yet given back */
	struct list free_holds; /* by memory_hold.link */
	size_t n_free_holds, hold_bytes;
	size_t charged;		  /* against the budget, beside the events themselves */
	size_t queue_bytes;	  /* rings and heaps of all flows */
	int64_t unix_ms, unix_at; /* the time of day, and at which loop time it was read */
	uint64_t turn;		  /* counts turns with work */
	uint64_t full_turn;	  /* when full_text was made */
	char full_text[240];	  /* who fills the memory */
	struct log_repeat full_log;
	struct delivery out[MEMORY_DELIVER];
};

static inline struct memory_bus *memory_bus_of(struct adapter *a)
{
	return container_of(a, struct memory_bus, base);
}

void memory_work(struct memory_bus *b); /* there is something to do in the next turn */
void memory_notice(struct memory_bus *b, enum memory_notice_kind kind, struct flow *f, void *item);
/* Wakes the timer no later than loop time due_ms. */
void memory_timer(struct memory_bus *b, int64_t due_ms);
/* Charges the budget with what changed. */
void memory_account(struct memory_bus *b);

#endif
