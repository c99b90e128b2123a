/* SPDX-License-Identifier: Apache-2.0 */
/* A list of number ranges that merges what touches its end: acks, confirms, stale tags. */
#ifndef BASE_RANGES_H
#define BASE_RANGES_H

#include <stddef.h>
#include <stdint.h>

struct range {
	uint64_t first, last; /* both included */
};

struct ranges {
	struct range *v;
	size_t n, cap;
};

void ranges_init(struct ranges *r);
void ranges_finish(struct ranges *r);
void ranges_clear(struct ranges *r); /* keeps the memory */
/* Extends the last range when first == its last + 1, else appends. */
void ranges_add(struct ranges *r, uint64_t first, uint64_t last);
/* In rising order, none overlapping or touching another. Costs nothing when they are so already. */
void ranges_normalize(struct ranges *r);

#endif
