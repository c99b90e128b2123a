/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files behind bus.h share. A turn (bus_turn) does everything that is better done once
 * than per event: settlements go to the brokers in batches, members that have room again take what
 * is ready, credit is given, sessions are told. It runs when something is marked, never waits, and
 * never runs for nothing.
 */
#ifndef DAEMON_BUS_IMPL_H
#define DAEMON_BUS_IMPL_H

#include "base/arena.h"
#include "base/clock.h"
#include "base/table.h"
#include "base/wheel.h"
#include "daemon/bus.h"
#include "daemon/flight.h"
#include "daemon/policy_book.h"

#define BUS_SETTLE_BATCH 256

/* One broker of the configuration. */
struct broker {
	struct bus *bus;
	struct adapter *adapter;
	const char *name, *kind; /* borrowed from the first configuration */
	bool up, started, stopping, stopped;
	uint32_t n_feeds;
	char why_down[200];
};

struct bus_totals {
	uint64_t published, duplicates, refused, unknown; /* answers given to publishers */
	uint64_t delivered, acked, retried, parked, dead_lettered, dropped, released, returned,
		lost;
	uint64_t
		superseded; /* acknowledged here because a more specific pattern has its own copy */
	uint64_t unmatched;
};

struct bus {
	uv_loop_t *loop;
	struct bus_options o;
	const struct config *config;
	struct policy_book *book;
	struct policy_book *first_book; /* its configuration holds the brokers' options */
	struct broker *brokers;
	uint32_t n_brokers;
	char *instance;

	struct table groups;
	struct list feeds, clients;
	uint32_t n_feeds;
	struct flight_pool flights;

	struct stall_clock clock;
	struct wheel wheel; /* leases, retries, dead letters: in time of clock */
	uint64_t n_leases;
	int64_t timer_at_ms; /* when the uv timer fires, in loop time; 0 = not running */
	uv_timer_t timer;
	uv_prepare_t prepare;
	uv_idle_t idle;	  /* runs while marked, so that the loop does not block */
	uint32_t handles; /* not closed yet */
	bool marked, closing;

	struct list dirty;				/* feeds */
	struct list woken_subscriptions, woken_clients; /* room again for starved members */
	struct list announce;				/* subscriptions with something to tell */
	struct list ready;    /* clients whose client_next has something */
	struct list refused;  /* publishes to answer: no broker takes them any more */
	struct list retired;  /* configurations that nothing uses any more */
	struct list squeezed; /* feeds given little because memory is short */
	struct settlement settlements[BUS_SETTLE_BATCH];
	struct arena scratch; /* position texts of this turn */
	bool scratch_used;
	bool told; /* a session was called up in this turn */

	uint64_t n_out;	       /* deliveries handed out and not settled */
	uint64_t n_untold;     /* publish items of sessions without an answer */
	uint64_t n_publishing; /* dead letters without an answer */
	uint64_t n_recording;  /* failures not yet recorded */
	bool started, draining, drained_told, stopping, forced, stopped_told;
	struct drain_report report;
	struct bus_totals totals;
};

/* Milliseconds that stand still while the process could not run (leases) and nothing else: the time
 * of the wheel. */
int64_t bus_now(struct bus *b);
/* There is something for the next turn. */
void bus_mark(struct bus *b);
void bus_arm(struct bus *b, struct flight *f, int64_t due_ms);
static inline void bus_disarm(struct bus *b, struct flight *f)
{
	if (f->extra) {
		wheel_remove(&b->wheel, &f->extra->timer);
		flight_trim(&b->flights, f);
	}
}
/* The broker that topic (or pattern) goes to. */
struct broker *bus_route(struct bus *b, struct slice topic);
/* The handles of the loop (bus_turn.c): made at start, on_stopped comes when they are closed. */
void bus_turn_start(struct bus *b);
void bus_turn_stop(struct bus *b);
void bus_tell_retired(struct bus *b);
/* Calls up on_ready of everyone who waits for it. */
void bus_tell_ready(struct bus *b);
void bus_check_stopped(struct bus *b);
bool bus_memory_short(const struct bus *b);
/* The largest event that fits the broker and a Deliver frame; that of a client leaves room
 * for what a dead letter adds to it. */
size_t broker_event_max(const struct broker *to, bool dead_letter);

extern const struct adapter_upcalls bus_upcalls; /* bus_adapter.c; ctx = struct broker */

#endif
