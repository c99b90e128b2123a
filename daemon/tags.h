/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The delivery tags of one client: consecutive numbers from a random base, each naming a flight
 * until it is settled. Pure.
 */
#ifndef DAEMON_TAGS_H
#define DAEMON_TAGS_H

#include <stddef.h>
#include <stdint.h>

#include "base/ranges.h"
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
struct tags_walk {
	void (*fn)(void *ctx, struct flight *f); /* may remove the flight that it is given */
	void (*gap)(void *ctx, uint64_t first, uint64_t last); /* may be NULL */
	void *ctx;
};
/*
 * Calls fn for every outstanding tag in the n ranges of v, which are as ranges_normalize leaves
 * them, in rising order. gap gets the tags of them that name nothing, in runs. Costs n +
 * min(width of all, outstanding).
 */
void tags_each(struct tags *t, const struct range *v, size_t n, const struct tags_walk *w);

#endif
