/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DAEMON_CLIENT_IMPL_H
#define DAEMON_CLIENT_IMPL_H

#include "daemon/bus_impl.h"
#include "daemon/subscription.h"
#include "daemon/tags.h"

/* The deliveries up to tag end at this offset of the output. */
struct written {
	uint64_t tag, end_offset;
};

struct client {
	struct bus *bus;
	const struct client_ops *ops;
	void *ctx;
	char *name;
	struct list link; /* bus->clients */
	struct list subscriptions;
	uint32_t n_subscriptions;
	struct list ready;     /* members with something queued */
	struct list starved;   /* members that wait for room in the client's share of memory */
	struct list woken;     /* bus->woken_clients */
	struct list unwritten; /* subscriptions whose next lease waits for the socket */
	struct tags tags;
	struct written *written; /* a ring */
	uint32_t written_first, written_n, written_cap;
	uint64_t flushed_tag; /* everything up to it was written */
	uint64_t held, held_bytes, max_bytes;
	struct list tell_ready; /* bus->ready */
	bool told_ready;
};

struct subscription *client_find(const struct client *c, uint32_t subscription);
/* A member of it has something to hand out: on_ready comes at bus_tell_ready. */
void client_ready(struct client *c, struct member *m);
/* There is room again in its share of memory. */
void client_wake(struct client *c);

#endif
