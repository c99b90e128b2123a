/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/group.h"

#include <stdlib.h>

#include "base/mem.h"
#include "daemon/feed.h"

struct group *group_find(struct bus *b, struct slice name)
{
	for (struct table_entry *e = table_first(&b->groups, hash_slice(name)); e;
	     e = table_next(e)) {
		struct group *g = container_of(e, struct group, entry);

		if (slice_eq_str(name, g->name)) {
			return g;
		}
	}
	return NULL;
}

struct group *group_create(struct bus *b, struct slice name, enum order order)
{
	struct group *g = xcalloc(1, sizeof(*g));

	g->bus = b;
	g->order = order;
	list_init(&g->feeds);
	table_init(&g->patterns);
	if (name.n > 0) {
		g->name = xstrndup(name.p, name.n);
		table_insert(&b->groups, &g->entry, hash_slice(name));
	}
	return g;
}

void group_check_unused(struct group *g)
{
	if (g->users > 0 || g->n_feeds > 0) {
		return;
	}
	if (g->name) {
		table_remove(&g->bus->groups, &g->entry);
		free(g->name);
	}
	table_finish(&g->patterns);
	free(g);
}

struct feed *group_feed(const struct group *g, struct slice pattern)
{
	for (struct table_entry *e = table_first(&g->patterns, hash_slice(pattern)); e;
	     e = table_next(e)) {
		struct feed *f = container_of(e, struct feed, entry);

		if (slice_eq_str(pattern, f->flow.spec.pattern)) {
			return f;
		}
	}
	return NULL;
}

static bool contains(const struct slice *patterns, uint32_t n, struct slice pattern)
{
	for (uint32_t i = 0; i < n; i++) {
		if (slice_eq(patterns[i], pattern)) {
			return true;
		}
	}
	return false;
}

/*
 * Feeds that overlap exist side by side only when every subscription that has one has the other:
 * else, when the subscription with the more specific one ends, its events would go to nobody.
 */
static bool pattern_ok(const struct group *g, const struct slice *patterns, uint32_t n, uint32_t i,
		       struct answer *why)
{
	const struct feed *same = group_feed(g, patterns[i]);
	const bool shared = same && same->n_members > 0;

	for (struct list *it = g->feeds.next; it != &g->feeds; it = it->next) {
		const struct feed *f = container_of(it, struct feed, group_link);
		const struct slice theirs = slice_str(f->flow.spec.pattern);

		if (f->n_members == 0 || f == same || !patterns_overlap(theirs, patterns[i]) ||
		    (shared && contains(patterns, n, theirs))) {
			continue;
		}
		answer_set(why, OUTCOME_PERMANENT, REASON_CONFLICT,
			   "pattern %.*s overlaps %s, which another subscription of group %s has: "
			   "subscribe to both, or use another group",
			   SLICE_ARG(patterns[i]), f->flow.spec.pattern, g->name);
		return false;
	}
	return true;
}

bool group_patterns_ok(const struct group *g, const struct slice *patterns, uint32_t n,
		       struct answer *why)
{
	for (uint32_t i = 0; i < n; i++) {
		if (!pattern_ok(g, patterns, n, i, why)) {
			return false;
		}
	}
	return true;
}
