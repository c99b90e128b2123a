/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Order within a feed: of each key at most one flight is on its way (ready, handed out, waiting
 * for its retry); the others queue behind it in the order of their arrival. Pure. Keys are known by
 * their 64-bit hash: two keys that share one are only held back for each other.
 */
#ifndef DAEMON_KEYGATE_H
#define DAEMON_KEYGATE_H

#include "base/table.h"
#include "daemon/flight.h"

struct keygate {
	struct table slots;
	struct list spare; /* slots kept for reuse */
	uint32_t n_spare;
	uint32_t n_gated;
	uint64_t gated_bytes;
};

void keygate_init(struct keygate *g);
void keygate_finish(struct keygate *g); /* empty */
/* True: f is the one of its key that may go. False: it queues (state FLIGHT_GATED). */
bool keygate_enter(struct keygate *g, struct flight *f, uint64_t key_hash);
/* f leaves for good. Returns the next of its key, which may go now, or NULL. f may be gated, or not
 * have a key at all. */
struct flight *keygate_leave(struct keygate *g, struct flight *f);

#endif
