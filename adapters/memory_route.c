/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a topic to its flows. Patterns stand in a tree of segments; what a lookup found is kept per
 * topic until the set of flows changes, so that an event costs the flows it goes to
 * and not the patterns there are.
 */
#include <assert.h>
#include <stdlib.h>

#include "adapters/memory_impl.h"
#include "base/mem.h"
#include "base/topic.h"

#define CACHE_BYTES ((size_t)8 << 20)

struct memory_node {
	struct table_entry entry; /* of routes.nodes, by parent and segment */
	struct memory_node *parent;
	struct list flows; /* whose pattern ends here */
	uint32_t children;
	uint32_t n;
	uint8_t segment[];
};

static uint64_t node_hash(const struct memory_node *parent, struct slice segment)
{
	return hash_slice(segment) ^ hash_u64((uint64_t)(uintptr_t)parent);
}

static struct memory_node *node_find(const struct memory_routes *r,
				     const struct memory_node *parent, struct slice segment)
{
	for (struct table_entry *e = table_first(&r->nodes, node_hash(parent, segment)); e;
	     e = table_next(e)) {
		struct memory_node *node = container_of(e, struct memory_node, entry);

		if (node->parent == parent && slice_eq(slice_of(node->segment, node->n), segment)) {
			return node;
		}
	}
	return NULL;
}

static struct memory_node *node_create(struct memory_routes *r, struct memory_node *parent,
				       struct slice segment)
{
	struct memory_node *node = xmalloc(sizeof(*node) + segment.n);

	node->parent = parent;
	node->children = 0;
	node->n = (uint32_t)segment.n;
	memcpy(node->segment, segment.p, segment.n);
	list_init(&node->flows);
	if (parent) {
		parent->children++;
	}
	table_insert(&r->nodes, &node->entry, node_hash(parent, segment));
	r->node_bytes += sizeof(*node) + segment.n;
	return node;
}

/* Frees it and what led only to it. */
static void node_prune(struct memory_routes *r, struct memory_node *node)
{
	while (node->parent && node->children == 0 && list_empty(&node->flows)) {
		struct memory_node *parent = node->parent;

		table_remove(&r->nodes, &node->entry);
		r->node_bytes -= sizeof(*node) + node->n;
		free(node);
		parent->children--;
		node = parent;
	}
}

/* Takes the first segment off rest; false when there is none left. */
static bool next_segment(struct slice *rest, struct slice *segment)
{
	if (!rest->p) {
		return false;
	}
	const uint8_t *dot = memchr(rest->p, '.', rest->n);
	if (!dot) {
		*segment = *rest;
		rest->p = NULL;
		return true;
	}
	*segment = slice_of(rest->p, (size_t)(dot - rest->p));
	*rest = slice_of(dot + 1, rest->n - segment->n - 1);
	return true;
}

void memory_routes_init(struct memory_routes *r)
{
	*r = (struct memory_routes){.generation = 1};
	table_init(&r->cache);
	table_init(&r->nodes);
	r->root = node_create(r, NULL, slice_of("", 0));
}

static void route_drop(struct memory_routes *r, struct memory_route *route)
{
	table_remove(&r->cache, &route->entry);
	r->cache_bytes -= route->bytes;
	free(route);
}

static void on_route_each(struct table_entry *e, void *ctx)
{
	route_drop(ctx, container_of(e, struct memory_route, entry));
}

void memory_routes_finish(struct memory_routes *r)
{
	table_each(&r->cache, on_route_each, r);
	table_finish(&r->cache);
	assert(r->root->children == 0);
	table_remove(&r->nodes, &r->root->entry);
	r->node_bytes = 0;
	free(r->root);
	table_finish(&r->nodes);
	free(r->frontier);
	free(r->next);
}

void memory_routes_add(struct memory_routes *r, struct memory_flow *m)
{
	struct slice rest = slice_str(m->pattern), segment;
	struct memory_node *node = r->root;

	while (next_segment(&rest, &segment)) {
		struct memory_node *child = node_find(r, node, segment);

		node = child ? child : node_create(r, node, segment);
	}
	m->node = node;
	list_push_back(&node->flows, &m->route);
	r->generation++;
}

void memory_routes_remove(struct memory_routes *r, struct memory_flow *m)
{
	if (!m->node) {
		return;
	}
	list_remove(&m->route);
	node_prune(r, m->node);
	m->node = NULL;
	r->generation++;
}

/* ---- lookup ---------------------------------------------------------------- */

struct found {
	struct memory_flow **v;
	uint32_t n, cap;
};

static void found_add(struct found *f, const struct memory_node *node, struct slice topic)
{
	for (struct list *it = node->flows.next; it != &node->flows; it = it->next) {
		struct memory_flow *m = container_of(it, struct memory_flow, route);

		/* The tree knows segments; what wildcards may not match is said in one place. */
		if (!pattern_matches(slice_str(m->pattern), topic)) {
			continue;
		}
		if (f->n == f->cap) {
			f->cap = f->cap ? f->cap * 2 : 8;
			f->v = xrealloc(f->v, f->cap * sizeof(struct memory_flow *));
		}
		f->v[f->n++] = m;
	}
}

static void frontier_add(struct memory_routes *r, size_t *n, struct memory_node *node)
{
	if (!node) {
		return;
	}
	if (*n == r->scratch_cap) {
		r->scratch_cap = r->scratch_cap ? r->scratch_cap * 2 : 16;
		r->frontier = xrealloc(r->frontier, r->scratch_cap * sizeof(*r->frontier));
		r->next = xrealloc(r->next, r->scratch_cap * sizeof(*r->next));
	}
	r->next[(*n)++] = node;
}

/* Walks all matching paths at once, segment by segment. */
static void search(struct memory_routes *r, struct slice topic, struct found *f)
{
	struct slice rest = topic, segment;
	size_t n = 0;

	frontier_add(r, &n, r->root);
	while (n > 0 && next_segment(&rest, &segment)) {
		const size_t here = n;
		struct memory_node **swap = r->frontier;

		r->frontier = r->next;
		r->next = swap;
		n = 0;
		for (size_t i = 0; i < here; i++) {
			struct memory_node *node = r->frontier[i];
			const struct memory_node *tail = node_find(r, node, slice_of(">", 1));

			if (tail) {
				found_add(f, tail, topic);
			}
			frontier_add(r, &n, node_find(r, node, segment));
			frontier_add(r, &n, node_find(r, node, slice_of("*", 1)));
		}
	}
	for (size_t i = 0; i < n; i++) {
		found_add(f, r->next[i], topic);
	}
}

static struct memory_route *route_create(struct memory_routes *r, struct slice topic, uint64_t hash)
{
	struct found f = {0};

	search(r, topic, &f);
	const size_t flows = f.n * sizeof(struct memory_flow *);
	struct memory_route *route = xmalloc(sizeof(*route) + topic.n + flows + sizeof(void *));
	/* The flows stand behind the topic, at the next multiple of a pointer's size. */
	const size_t at = (sizeof(*route) + topic.n + sizeof(void *) - 1) & ~(sizeof(void *) - 1);

	route->generation = r->generation;
	route->topic_n = (uint32_t)topic.n;
	memcpy(route->topic, topic.p, topic.n);
	route->n = f.n;
	route->flows = (struct memory_flow **)(void *)((char *)route + at);
	if (flows) {
		memcpy(route->flows, f.v, flows);
	}
	route->bytes = (uint32_t)(sizeof(*route) + topic.n + flows + sizeof(void *));
	free(f.v);
	if (r->cache_bytes + route->bytes > CACHE_BYTES) {
		table_each(&r->cache, on_route_each, r);
	}
	table_insert(&r->cache, &route->entry, hash);
	r->cache_bytes += route->bytes;
	return route;
}

const struct memory_route *memory_routes_find(struct memory_routes *r, struct slice topic,
					      uint64_t hash)
{
	for (struct table_entry *e = table_first(&r->cache, hash); e; e = table_next(e)) {
		struct memory_route *route = container_of(e, struct memory_route, entry);

		if (!slice_eq(slice_of(route->topic, route->topic_n), topic)) {
			continue;
		}
		if (route->generation == r->generation) {
			return route;
		}
		route_drop(r, route);
		break;
	}
	return route_create(r, topic, hash);
}
