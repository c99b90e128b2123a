/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hierarchical timer wheel of 1 ms ticks: add, remove and expire cost O(1),
 * however many entries wait. Pure: time is passed in. Not thread-safe.
 */
#ifndef BASE_WHEEL_H
#define BASE_WHEEL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"

#define WHEEL_BITS   6
#define WHEEL_LEVELS 7 /* 2^42 ms, more than a century; later dues are kept and looked at again */

struct wheel_entry {
	struct list link; /* on a slot of the wheel while armed */
	int64_t due_ms;
	uint32_t place; /* the wheel's: 1 + index of the slot, 0 when in none */
};

struct wheel {
	int64_t now_ms;
	uint64_t count;
	uint64_t occupied[WHEEL_LEVELS]; /* one bit per slot */
	struct list slot[WHEEL_LEVELS][1 << WHEEL_BITS];
	struct list later; /* due beyond the levels */
};

void wheel_init(struct wheel *w, int64_t now_ms);
void wheel_entry_init(struct wheel_entry *e);
static inline bool wheel_entry_armed(const struct wheel_entry *e)
{
	return list_linked(&e->link);
}
/* (Re-)arms e. A due in the past expires at the next advance. */
void wheel_add(struct wheel *w, struct wheel_entry *e, int64_t due_ms);
/* Disarms e, also when it waits in an expired list; does nothing when it is not armed. */
void wheel_remove(struct wheel *w, struct wheel_entry *e);
/*
 * Moves the wheel to now_ms and moves every entry that is due to the back of
 * expired (through entry->link, in order of due time slot by slot). Entries are disarmed by
 * list_remove.
 */
void wheel_advance(struct wheel *w, int64_t now_ms, struct list *expired);
/* When wheel_advance next has something to do (never later than the first due), or -1 when empty.
 */
int64_t wheel_next_ms(const struct wheel *w);

#endif
