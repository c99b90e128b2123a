/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The delivery tags of one client: consecutive numbers from a random base, each naming a flight
 * until it is settled. Pure.
 */
#ifndef DAEMON_TAGS_H
#define DAEMON_TAGS_H

#include <stdint.h>

#include "daemon/flight.h"

struct tags {
	struct flight **bucket;
	uint64_t mask, count;
	uint64_t base, next; /* given so far: base .. next - 1 */
};

void tags_init(struct tags *t, uint64_t first);
void tags_finish(struct tags *t); /* every tag was removed */
/* Gives f the next tag. */
void tags_add(struct tags *t, struct flight *f);
/* NULL: settled, or never given. */
struct flight *tags_find(const struct tags *t, uint64_t tag);
void tags_remove(struct tags *t, struct flight *f);
/*
 * Calls fn for every outstanding tag in [first, last], in rising order; fn may remove the flight
 * that it is given. gap (may be NULL) gets each run of tags between them that names nothing. Costs
 * min(width, outstanding).
 */
void tags_each(struct tags *t, uint64_t first, uint64_t last,
	       void (*fn)(void *ctx, struct flight *f),
	       void (*gap)(void *ctx, uint64_t first, uint64_t last), void *ctx);

#endif
