/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two steps: a direct-mapped cache by topic and group, and behind it one entry per distinct
 * policy. There are only as many of those as the file has combinations of rules, so a
 * flood of topics fills the cache and nothing else.
 */
#include "daemon/policy_book.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/mem.h"
#include "base/topic.h"

#define CACHE_SIZE 1024u

struct cached {
	uint64_t hash;
	struct policy_entry *policy; /* a reference; NULL: empty */
	uint16_t topic_n, group_n;
	char names[]; /* topic, then group */
};

struct policy_book {
	const struct config *config;
	uint32_t refs; /* the bus's, and one per entry */
	struct table entries;
	struct cached **cache; /* made at the first use */
	void (*on_free)(void *ctx);
	void *ctx;
};

struct policy_book *policy_book_create(const struct config *config)
{
	struct policy_book *b = xcalloc(1, sizeof(*b));

	b->config = config;
	b->refs = 1;
	table_init(&b->entries);
	return b;
}

void policy_book_on_free(struct policy_book *b, void (*on_free)(void *ctx), void *ctx)
{
	b->on_free = on_free;
	b->ctx = ctx;
}

static void book_release(struct policy_book *b)
{
	assert(b->refs > 0);
	if (--b->refs > 0) {
		return;
	}
	table_finish(&b->entries);
	if (b->on_free) {
		b->on_free(b->ctx);
	}
	free(b);
}

void policy_book_ref(struct policy_book *b)
{
	b->refs++;
}

void policy_book_unref(struct policy_book *b)
{
	for (uint32_t i = 0; b->cache && i < CACHE_SIZE; i++) {
		if (b->cache[i]) {
			policy_entry_unref(b->cache[i]->policy);
			free(b->cache[i]);
		}
	}
	free(b->cache);
	b->cache = NULL;
	book_release(b);
}

void policy_entry_unref(struct policy_entry *e)
{
	struct policy_book *b;

	if (!e || --e->refs > 0) {
		return;
	}
	b = e->book;
	table_remove(&b->entries, &e->entry);
	free(e);
	book_release(b);
}

/* Every value from the same rule of the same file: the same values. */
static bool same_sources(const struct policy *a, const struct policy *b)
{
	return memcmp(a->rule, b->rule, sizeof(a->rule)) == 0 &&
	       memcmp(a->line, b->line, sizeof(a->line)) == 0;
}

/* The entry of what topic and group resolve to; a reference. */
static struct policy_entry *resolve(struct policy_book *b, struct slice topic, const char *group)
{
	struct policy p;
	struct policy_entry *e;
	uint64_t hash;

	policy_resolve(b->config, topic, group, &p);
	hash = hash_bytes(p.rule, sizeof(p.rule)) ^ hash_bytes(p.line, sizeof(p.line));
	for (struct table_entry *it = table_first(&b->entries, hash); it; it = table_next(it)) {
		e = container_of(it, struct policy_entry, entry);
		if (same_sources(&e->policy, &p)) {
			return policy_entry_ref(e);
		}
	}
	e = xcalloc(1, sizeof(*e));
	e->policy = p;
	e->refs = 1;
	e->book = b;
	b->refs++;
	table_insert(&b->entries, &e->entry, hash);
	return e;
}

static bool cached_is(const struct cached *c, uint64_t hash, struct slice topic, struct slice group)
{
	return c && c->hash == hash && slice_eq(topic, slice_of(c->names, c->topic_n)) &&
	       slice_eq(group, slice_of(c->names + c->topic_n, c->group_n));
}

struct policy_entry *policy_book_find(struct policy_book *b, struct slice topic, const char *group)
{
	const struct slice g = slice_str(group ? group : "");
	const uint64_t hash = hash_slice(topic) ^ (hash_slice(g) * 3);
	struct cached **at, *c;

	if (topic.n > TOPIC_MAX || g.n > GROUP_MAX) {
		return resolve(b, topic, group);
	}
	if (!b->cache) {
		b->cache = xcalloc(CACHE_SIZE, sizeof(struct cached *));
	}
	at = &b->cache[hash % CACHE_SIZE];
	if (cached_is(*at, hash, topic, g)) {
		return policy_entry_ref((*at)->policy);
	}
	if (*at) {
		policy_entry_unref((*at)->policy);
		free(*at);
	}
	c = *at = xmalloc(sizeof(*c) + topic.n + g.n);
	*c = (struct cached){.hash = hash, .topic_n = (uint16_t)topic.n, .group_n = (uint16_t)g.n};
	memcpy(c->names, topic.p, topic.n);
	if (g.n > 0) {
		memcpy(c->names + topic.n, g.p, g.n);
	}
	c->policy = resolve(b, topic, group);
	return policy_entry_ref(c->policy);
}
