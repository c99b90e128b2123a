/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An intrusive hash table: chained, grows by doubling, never shrinks below its
 * first size, shrinks when a quarter full. The caller compares keys.
 *
 *	for (struct table_entry *e = table_first(&t, h); e; e = table_next(e)) {
 *		struct x *x = container_of(e, struct x, entry);
 *		...compare...
 *	}
 */
#ifndef BASE_TABLE_H
#define BASE_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

struct table_entry {
	struct table_entry *next;
	uint64_t hash;
};

struct table {
	struct table_entry **bucket; /* NULL until the first insert */
	size_t mask, count;
	bool walking; /* in table_each: keep the size */
};

void table_init(struct table *t);
void table_finish(struct table *t); /* frees the buckets, not the entries */
void table_insert(struct table *t, struct table_entry *e, uint64_t hash);
void table_remove(struct table *t, struct table_entry *e); /* e must be in t */
/* First entry of that hash, or NULL; table_next: the next one of the same hash. */
struct table_entry *table_first(const struct table *t, uint64_t hash);
struct table_entry *table_next(const struct table_entry *e);
/* Every entry once, in no order; fn may remove the entry that it is given, nothing else. */
void table_each(struct table *t, void (*fn)(struct table_entry *e, void *ctx), void *ctx);

/* Keyed with a per-process random seed, so that peers cannot choose collisions. */
uint64_t hash_bytes(const void *p, size_t n);
static inline uint64_t hash_slice(struct slice s)
{
	return hash_bytes(s.p, s.n);
}
uint64_t hash_u64(uint64_t v);

#endif
