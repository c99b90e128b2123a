/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sessions: the clients that are connected. A session reads frames, hands publishes,
 * subscriptions and settlements to the bus, and writes what comes back: once per loop turn, all
 * that gathered, in one write. One turn takes a bounded amount of work from each session, so
 * that none stalls another. Loop thread only.
 */
#ifndef DAEMON_SESSION_H
#define DAEMON_SESSION_H

#include <jansson.h>
#include <stdint.h>
#include <uv.h>

#include "base/budget.h"
#include "config/config.h"
#include "daemon/bus.h"

struct sessions;

struct sessions_options {
	uv_loop_t *loop;
	const struct config *config; /* until sessions_reload gives another */
	struct budget *budget;	     /* charged for what is read and not yet written; outlives
					the events */
	const char *instance;	     /* borrowed */
	const char *socket;	     /* borrowed; for status */
};

/*
 * Create it before the bus: its turn then runs behind the bus's in every phase of the loop.
 * sessions_attach names the bus before the first session.
 */
struct sessions *sessions_create(const struct sessions_options *o);
void sessions_attach(struct sessions *set, struct bus *bus);

/* For the listener: accepts one connection of server. Over max_clients it is told so and closed. */
void sessions_accept(struct sessions *set, uv_stream_t *server);
/* The same with a connected stream socket, which is ours from here, also on failure. 0 or EB_EIO.
 */
int sessions_adopt(struct sessions *set, int fd);

/* Limits and access of next hold from now; subscriptions that it forbids end. */
void sessions_reload(struct sessions *set, const struct config *next);

/* Tells everybody that the daemon stops in deadline_ms. From here sessions without unsettled
 * deliveries cannot publish, and nobody can subscribe. */
void sessions_drain(struct sessions *set, int64_t deadline_ms);
/* Reads nothing more from anybody: what arrives now was not settled in time. */
void sessions_quiet(struct sessions *set);
/*
 * After the bus stopped: writes what is queued (force: nothing), closes everything, then
 * calls stopped(ctx) in a later turn; destroy it there or later. Twice is fine.
 */
void sessions_stop(struct sessions *set, bool force, void (*stopped)(void *ctx), void *ctx);
void sessions_destroy(struct sessions *set);

uint32_t sessions_count(const struct sessions *set);
/* The "clients" part of status; new reference. */
json_t *sessions_status(const struct sessions *set);

#endif
