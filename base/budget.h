/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A count of bytes in use against a limit, with a parent that is charged too.
 * Loop thread only. Charging never fails: callers look at budget_free() before they
 * accept work and charge what they really hold, so the count never lies.
 */
#ifndef BASE_BUDGET_H
#define BASE_BUDGET_H

#include <stddef.h>

struct budget {
	struct budget *parent; /* may be NULL; outlives this one */
	size_t limit;	       /* bytes */
	size_t used;	       /* bytes, may pass limit for a moment */
	size_t peak;	       /* most that was used since the owner set it last */
};

void budget_init(struct budget *b, struct budget *parent, size_t limit);
void budget_charge(struct budget *b, size_t n);
void budget_release(struct budget *b, size_t n); /* asserts n <= used */
/* The smallest free space on the way to the root; 0 when any is over its limit. */
size_t budget_free(const struct budget *b);

#endif
