/* SPDX-License-Identifier: Apache-2.0 */
#include "base/ranges.h"

#include <assert.h>
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
