/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Groups: the name, the order in force, and the feeds by pattern. A subscription without a group
 * has a group of its own, without a name. A group lives as long as it has feeds.
 */
#ifndef DAEMON_GROUP_H
#define DAEMON_GROUP_H

#include "daemon/bus_impl.h"

struct group {
	struct bus *bus;
	struct table_entry entry; /* bus->groups, when named */
	char *name;		  /* NULL: none */
	enum order order;
	struct list feeds;
	struct table patterns; /* feeds by pattern */
	uint32_t n_feeds;
	uint32_t users; /* subscriptions */
};

/* NULL if there is no such group. */
struct group *group_find(struct bus *b, struct slice name);
/* name: empty for none. */
struct group *group_create(struct bus *b, struct slice name, enum order order);
/* Frees it when nothing uses it. */
void group_check_unused(struct group *g);
struct feed *group_feed(const struct group *g, struct slice pattern);
/*
 * Whether a subscription to these patterns may join: true, or false with the answer. Patterns of
 * different subscriptions may be equal, else they must not overlap; those of one subscription may.
 */
bool group_patterns_ok(const struct group *g, const struct slice *patterns, uint32_t n,
		       struct answer *why);

#endif
