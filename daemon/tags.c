/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/tags.h"

#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"

#define FIRST_BUCKETS 64

void tags_init(struct tags *t, uint64_t first)
{
	*t = (struct tags){.base = first, .next = first};
}

void tags_finish(struct tags *t)
{
	assert(t->count == 0);
	free(t->bucket);
	t->bucket = NULL;
}

static void resize(struct tags *t, uint64_t size)
{
	struct flight **bucket = xcalloc(size, sizeof(struct flight *));
	const uint64_t old = t->bucket ? t->mask + 1 : 0;

	for (uint64_t i = 0; i < old; i++) {
		struct flight *f = t->bucket[i];

		while (f) {
			struct flight *next = f->next_tag;
			struct flight **to = &bucket[f->tag & (size - 1)];

			f->next_tag = *to;
			*to = f;
			f = next;
		}
	}
	free(t->bucket);
	t->bucket = bucket;
	t->mask = size - 1;
}

void tags_add(struct tags *t, struct flight *f)
{
	struct flight **to;

	if (!t->bucket || t->count > t->mask) {
		resize(t, t->bucket ? (t->mask + 1) * 2 : FIRST_BUCKETS);
	}
	f->tag = t->next++;
	to = &t->bucket[f->tag & t->mask];
	f->next_tag = *to;
	*to = f;
	t->count++;
}

struct flight *tags_find(const struct tags *t, uint64_t tag)
{
	struct flight *f = t->bucket ? t->bucket[tag & t->mask] : NULL;

	while (f && f->tag != tag) {
		f = f->next_tag;
	}
	return f;
}

void tags_remove(struct tags *t, struct flight *f)
{
	struct flight **at = &t->bucket[f->tag & t->mask];

	while (*at != f) {
		assert(*at);
		at = &(*at)->next_tag;
	}
	*at = f->next_tag;
	f->next_tag = NULL;
	t->count--;
	if (t->mask + 1 > FIRST_BUCKETS && t->count < t->mask / 8) {
		resize(t, (t->mask + 1) / 2);
	}
}

static int by_tag(const void *a, const void *b)
{
	const struct flight *x = *(struct flight *const *)a, *y = *(struct flight *const *)b;

	return x->tag < y->tag ? -1 : x->tag > y->tag;
}

/* The outstanding flights in [first, last], in rising order; the caller frees it. */
static struct flight **collect(const struct tags *t, uint64_t first, uint64_t last, size_t *n)
{
	struct flight **v = xmalloc((t->count ? t->count : 1) * sizeof(struct flight *));

	*n = 0;
	for (uint64_t i = 0; t->bucket && i <= t->mask; i++) {
		for (struct flight *f = t->bucket[i]; f; f = f->next_tag) {
			if (f->tag >= first && f->tag <= last) {
				v[(*n)++] = f;
			}
		}
	}
	qsort(v, *n, sizeof(struct flight *), by_tag);
	return v;
}

/* One range out of the rest of the list; returns where the next one goes on. */
static struct flight **each_in(struct flight **at, struct flight **end, struct range r,
			       const struct tags_walk *w)
{
	uint64_t expect = r.first;
	bool past_end = false;

	while (at < end && (*at)->tag < r.first) {
		at++;
	}
	for (; at < end && (*at)->tag <= r.last; at++) {
		const uint64_t tag = (*at)->tag;

		if (w->gap && tag > expect) {
			w->gap(w->ctx, expect, tag - 1);
		}
		w->fn(w->ctx, *at);
		past_end = tag == UINT64_MAX;
		expect = tag + 1;
	}
	if (w->gap && !past_end && expect <= r.last) {
		w->gap(w->ctx, expect, r.last);
	}
	return at;
}

static void each_by_list(struct tags *t, const struct range *v, size_t n, const struct tags_walk *w)
{
	size_t n_flights;
	struct flight **all = collect(t, v[0].first, v[n - 1].last, &n_flights);
	struct flight **at = all;

	for (size_t i = 0; i < n; i++) {
		at = each_in(at, all + n_flights, v[i], w);
	}
	free(all);
}

static void each_by_tag(struct tags *t, const struct range *v, size_t n, const struct tags_walk *w)
{
	for (size_t i = 0; i < n; i++) {
		const uint64_t width = v[i].last - v[i].first;

		for (uint64_t k = 0; k <= width; k++) {
			struct flight *f = tags_find(t, v[i].first + k);

			if (f) {
				w->fn(w->ctx, f);
			} else if (w->gap) {
				w->gap(w->ctx, v[i].first + k, v[i].first + k);
			}
		}
	}
}

static bool is_wider(const struct range *v, size_t n, uint64_t max)
{
	for (size_t i = 0; i < n; i++) {
		const uint64_t width = v[i].last - v[i].first;

		if (width >= max) {
			return true;
		}
		max -= width + 1;
	}
	return false;
}

void tags_each(struct tags *t, const struct range *v, size_t n, const struct tags_walk *w)
{
	if (is_wider(v, n, 2 * t->count + 8)) {
		each_by_list(t, v, n, w);
	} else {
		each_by_tag(t, v, n, w);
	}
}
