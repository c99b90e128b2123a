/* SPDX-License-Identifier: Apache-2.0 */
#include "base/ranges.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/mem.h"

void ranges_init(struct ranges *r)
{
	*r = (struct ranges){0};
}

void ranges_finish(struct ranges *r)
{
	free(r->v);
	ranges_init(r);
}

void ranges_clear(struct ranges *r)
{
	r->n = 0;
}

void ranges_add(struct ranges *r, uint64_t first, uint64_t last)
{
	struct range *end = r->n ? &r->v[r->n - 1] : NULL;

	assert(first <= last);
	if (end && end->last != UINT64_MAX && end->last + 1 == first) {
		end->last = last;
		return;
	}
	if (r->n == r->cap) {
		r->cap = r->cap ? r->cap * 2 : 8;
		r->v = xrealloc(r->v, r->cap * sizeof(*r->v));
	}
	assert(r->v);
	r->v[r->n++] = (struct range){first, last};
}

static bool normal(const struct ranges *r)
{
	for (size_t i = 1; i < r->n; i++) {
		if (r->v[i].first <= r->v[i - 1].last || r->v[i].first - r->v[i - 1].last == 1) {
			return false;
		}
	}
	return true;
}

static int by_first(const void *a, const void *b)
{
	const struct range *x = a, *y = b;

	return x->first < y->first ? -1 : x->first > y->first;
}

void ranges_normalize(struct ranges *r)
{
	size_t n = 1;

	if (normal(r)) {
		return;
	}
	qsort(r->v, r->n, sizeof(*r->v), by_first);
	for (size_t i = 1; i < r->n; i++) {
		struct range *end = &r->v[n - 1];
		const struct range next = r->v[i];

		if (end->last != UINT64_MAX && next.first > end->last + 1) {
			r->v[n++] = next;
		} else if (next.last > end->last) {
			end->last = next.last;
		}
	}
	r->n = n;
}
