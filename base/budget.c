/* SPDX-License-Identifier: Apache-2.0 */
#include "base/budget.h"

#include <assert.h>
#include <stdint.h>

void budget_init(struct budget *b, struct budget *parent, size_t limit)
{
	*b = (struct budget){.parent = parent, .limit = limit};
}

void budget_charge(struct budget *b, size_t n)
{
	for (; b; b = b->parent) {
		assert(n <= SIZE_MAX - b->used);
		b->used += n;
		b->peak = b->used > b->peak ? b->used : b->peak;
	}
}

void budget_release(struct budget *b, size_t n)
{
	for (; b; b = b->parent) {
		assert(n <= b->used);
		b->used -= n;
	}
}

size_t budget_free(const struct budget *b)
{
	size_t left = SIZE_MAX;

	for (; b; b = b->parent) {
		const size_t here = b->used < b->limit ? b->limit - b->used : 0;

		left = here < left ? here : left;
	}
	return left;
}
