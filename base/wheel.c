/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Level l has slots of 64^l ms. An entry waits at the level of the highest bit in
 * which its due time differs from now, so all that waits at a level lies in
 * slots ahead of now, and all of it is due before anything at a higher level.
 * When now reaches a slot of a higher level its entries move down.
 */
#include "base/wheel.h"

#include <assert.h>

#define SLOTS	  (1u << WHEEL_BITS)
#define TOP_SHIFT (WHEEL_BITS * WHEEL_LEVELS)
#define IN_LATER  (WHEEL_LEVELS * SLOTS + 1)

void wheel_init(struct wheel *w, int64_t now_ms)
{
	assert(now_ms >= 0);
	*w = (struct wheel){.now_ms = now_ms};
	for (unsigned level = 0; level < WHEEL_LEVELS; level++) {
		for (unsigned i = 0; i < SLOTS; i++) {
			list_init(&w->slot[level][i]);
		}
	}
	list_init(&w->later);
}

void wheel_entry_init(struct wheel_entry *e)
{
	*e = (struct wheel_entry){0};
}

static void insert(struct wheel *w, struct wheel_entry *e)
{
	const int64_t due = e->due_ms > w->now_ms ? e->due_ms : w->now_ms;
	const uint64_t differs = (uint64_t)due ^ (uint64_t)w->now_ms;
	const unsigned level = differs ? (63 - (unsigned)__builtin_clzll(differs)) / WHEEL_BITS : 0;
	unsigned i;

	if (level >= WHEEL_LEVELS) {
		list_push_back(&w->later, &e->link);
		e->place = IN_LATER;
		return;
	}
	i = ((uint64_t)due >> (level * WHEEL_BITS)) & (SLOTS - 1);
	list_push_back(&w->slot[level][i], &e->link);
	w->occupied[level] |= 1ULL << i;
	e->place = 1 + level * SLOTS + i;
}

void wheel_add(struct wheel *w, struct wheel_entry *e, int64_t due_ms)
{
	wheel_remove(w, e);
	e->due_ms = due_ms;
	insert(w, e);
	w->count++;
}

void wheel_remove(struct wheel *w, struct wheel_entry *e)
{
	const uint32_t place = e->place;

	list_remove(&e->link);
	if (place == 0) {
		return;
	}
	e->place = 0;
	w->count--;
	if (place != IN_LATER) {
		const unsigned level = (place - 1) / SLOTS, i = (place - 1) % SLOTS;

		if (list_empty(&w->slot[level][i])) {
			w->occupied[level] &= ~(1ULL << i);
		}
	}
}

/* The first slot with entries and the time at which it begins; false when all are empty. */
static bool first_slot(const struct wheel *w, unsigned *level, unsigned *i, int64_t *start_ms)
{
	for (unsigned l = 0; l < WHEEL_LEVELS; l++) {
		if (w->occupied[l]) {
			const uint64_t span = 1ULL << ((l + 1) * WHEEL_BITS);
			const unsigned first = (unsigned)__builtin_ctzll(w->occupied[l]);
			const uint64_t base = (uint64_t)w->now_ms & ~(span - 1);

			*level = l;
			*i = first;
			*start_ms = (int64_t)(base | (uint64_t)first << (l * WHEEL_BITS));
			return true;
		}
	}
	return false;
}

/* Where the levels begin anew and what was kept for later is looked at again. */
static int64_t turn_ms(const struct wheel *w)
{
	return (int64_t)((((uint64_t)w->now_ms >> TOP_SHIFT) + 1) << TOP_SHIFT);
}

/* Expires what is due at now, and puts the rest where it belongs from now on. */
static void sort_out(struct wheel *w, struct list *from, struct list *expired)
{
	struct list all, *it, *next;

	list_init(&all);
	list_splice_back(&all, from);
	/* Every entry goes to another list: no need to unlink it from this one. */
	for (it = all.next; it != &all; it = next) {
		struct wheel_entry *e = container_of(it, struct wheel_entry, link);

		next = it->next;
		__builtin_prefetch(next);
		if (e->due_ms <= w->now_ms) {
			list_push_back(expired, it);
			e->place = 0;
			w->count--;
		} else {
			insert(w, e);
		}
	}
}

void wheel_advance(struct wheel *w, int64_t now_ms, struct list *expired)
{
	const int64_t target = now_ms > w->now_ms ? now_ms : w->now_ms;

	for (;;) {
		unsigned level, i;
		int64_t at;

		if (first_slot(w, &level, &i, &at)) {
			if (at > target) {
				break;
			}
			w->now_ms = at;
			w->occupied[level] &= ~(1ULL << i);
			sort_out(w, &w->slot[level][i], expired);
		} else if (!list_empty(&w->later) && turn_ms(w) <= target) {
			w->now_ms = turn_ms(w);
			sort_out(w, &w->later, expired);
		} else {
			break;
		}
	}
	w->now_ms = target;
}

int64_t wheel_next_ms(const struct wheel *w)
{
	unsigned level, i;
	int64_t at;

	if (first_slot(w, &level, &i, &at)) {
		return at;
	}
	return list_empty(&w->later) ? -1 : turn_ms(w);
}
