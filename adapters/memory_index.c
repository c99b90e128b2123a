/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The dedupe index of the memory bus: topic and id of what the history keeps.
 *
 * Every stored event goes in and every evicted one comes out, at millions a second, while a hit
 * is rare. So what those two touch is kept small enough to stay in the cache: buckets of 15
 * tags of two bytes. A tag that matches is looked up in a second array, which is otherwise only
 * written; an entry remembers its slot, so that leaving costs no search. A bucket counts
 * who found it full and passed on, so that a search knows when to stop.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "adapters/memory_impl.h"
#include "base/mem.h"

#define FIRST_BUCKETS  32
#define LANES	       16 /* 15 tags and the count of those that passed on */
#define PASSED	       15
#define MAX_PER_BUCKET 9 /* on average: one bucket in fifty is full */

struct memory_bucket {
	uint16_t lane[LANES];
};

void memory_index_finish(struct memory_index *x)
{
	free(x->buckets);
	free(x->ids);
	*x = (struct memory_index){0};
}

size_t memory_index_footprint(const struct memory_index *x)
{
	return x->n_buckets * (sizeof(struct memory_bucket) + LANES * sizeof(uint32_t));
}

/* Places follow from the lower bits, tags from the upper ones. */
uint32_t memory_index_hash(uint64_t topic_hash, struct slice id)
{
	/* Both halves are keyed; the rotation keeps topic and id from cancelling out. */
	return (uint32_t)(hash_slice(id) ^ (topic_hash << 23 | topic_hash >> 41));
}

static uint16_t tag_of(uint32_t hash)
{
	return hash >> 16 ? (uint16_t)(hash >> 16) : 1;
}

static size_t home(const struct memory_index *x, uint32_t hash)
{
	return hash & (x->n_buckets - 1);
}

void memory_index_prefetch(const struct memory_index *x, uint32_t hash, bool joins)
{
	if (!x->buckets) {
		return;
	}
	__builtin_prefetch(&x->buckets[home(x, hash)], 1);
	if (joins) {
		__builtin_prefetch(&x->ids[home(x, hash) * LANES], 1);
	}
}

/*
 * Which of the tags equal tag: the upper bit of each 16-bit lane that may. A lane above one that
 * matches can be set wrongly, so that each is looked at again.
 */
static uint64_t candidates(const struct memory_bucket *b, unsigned word, uint16_t tag)
{
	const uint64_t ones = 0x0001000100010001u, tops = ones << 15;
	uint64_t lanes;

	memcpy(&lanes, &b->lane[word * 4], sizeof(lanes));
	lanes ^= ones * tag;
	return (lanes - ones) & ~lanes & tops;
}

static struct memory_entry *find_in(const struct memory_log *l, size_t at, uint32_t hash,
				    struct slice topic, struct slice id)
{
	const struct memory_bucket *b = &l->index.buckets[at];
	const uint16_t tag = tag_of(hash);

	for (unsigned word = 0; word < LANES / 4; word++) {
		for (uint64_t m = candidates(b, word, tag); m; m &= m - 1) {
			const unsigned i = word * 4 + (unsigned)__builtin_ctzll(m) / 16;

			if (i == PASSED || b->lane[i] != tag) {
				continue;
			}
			struct memory_entry *e = memory_entry_at(l, l->index.ids[at * LANES + i]);
			if (e->hash == hash && slice_eq(e->event->id, id) &&
			    slice_eq(e->event->topic, topic)) {
				return e;
			}
		}
	}
	return NULL;
}

struct memory_entry *memory_index_find(const struct memory_log *l, uint32_t hash,
				       struct slice topic, struct slice id)
{
	const struct memory_index *x = &l->index;

	if (!x->buckets) {
		return NULL;
	}
	for (size_t at = home(x, hash);; at = (at + 1) & (x->n_buckets - 1)) {
		struct memory_entry *e = find_in(l, at, hash, topic, id);

		if (e || x->buckets[at].lane[PASSED] == 0) {
			return e;
		}
	}
}

/* The first free lane of the bucket, or PASSED. */
static unsigned free_lane(const struct memory_bucket *b)
{
	for (unsigned word = 0; word < LANES / 4; word++) {
		/* The lowest candidate is always right. */
		const uint64_t m = candidates(b, word, 0);
		const unsigned i = word * 4 + (m ? (unsigned)__builtin_ctzll(m) / 16 : 0);

		if (m && i < PASSED) {
			return i;
		}
	}
	return PASSED;
}

static void put(struct memory_index *x, struct memory_entry *e)
{
	size_t at = home(x, e->hash);
	unsigned i;

	while ((i = free_lane(&x->buckets[at])) == PASSED) {
		assert(x->buckets[at].lane[PASSED] < UINT16_MAX);
		x->buckets[at].lane[PASSED]++;
		at = (at + 1) & (x->n_buckets - 1);
	}
	x->buckets[at].lane[i] = tag_of(e->hash);
	x->ids[at * LANES + i] = e->id;
	e->slot = (uint32_t)(at * LANES + i + 1);
}

static void resize(struct memory_log *l, size_t n)
{
	const struct memory_index old = l->index;

	l->index = (struct memory_index){
		.buckets = xcalloc_lines(n * sizeof(struct memory_bucket)),
		.ids = xcalloc_lines(n * LANES * sizeof(uint32_t)),
		.n_buckets = n,
		.count = old.count,
	};
	for (size_t i = 0; i < old.n_buckets * LANES; i++) {
		if (i % LANES != PASSED && old.buckets[i / LANES].lane[i % LANES] != 0) {
			put(&l->index, memory_entry_at(l, old.ids[i]));
		}
	}
	free(old.buckets);
	free(old.ids);
}

void memory_index_insert(struct memory_log *l, struct memory_entry *e)
{
	struct memory_index *x = &l->index;

	if (!x->buckets) {
		resize(l, FIRST_BUCKETS);
	} else if (x->count >= x->n_buckets * MAX_PER_BUCKET) {
		resize(l, x->n_buckets * 2);
	}
	put(x, e);
	x->count++;
}

void memory_index_remove(struct memory_log *l, struct memory_entry *e)
{
	struct memory_index *x = &l->index;
	const size_t slot = e->slot - 1;

	assert(e->slot > 0);
	x->buckets[slot / LANES].lane[slot % LANES] = 0;
	for (size_t at = home(x, e->hash); at != slot / LANES; at = (at + 1) & (x->n_buckets - 1)) {
		x->buckets[at].lane[PASSED]--;
	}
	e->slot = 0;
	x->count--;
	if (x->n_buckets > FIRST_BUCKETS && x->count < x->n_buckets) {
		resize(l, x->n_buckets / 2);
	}
}
