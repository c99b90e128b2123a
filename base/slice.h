/* SPDX-License-Identifier: Apache-2.0 */
/* A borrowed run of bytes. It owns nothing and is not terminated. */
#ifndef BASE_SLICE_H
#define BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slice {
	const uint8_t *p;
	size_t n;
};

static inline struct slice slice_of(const void *p, size_t n)
{
	return (struct slice){(const uint8_t *)p, n};
}

static inline struct slice slice_str(const char *s)
{
	return (struct slice){(const uint8_t *)s, s ? strlen(s) : 0};
}

static inline bool slice_eq(struct slice a, struct slice b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static inline bool slice_eq_str(struct slice a, const char *s)
{
	return slice_eq(a, slice_str(s));
}

/* For "%.*s": printf("%.*s", SLICE_ARG(x)). */
#define SLICE_ARG(x) (int)(x).n, (const char *)(x).p

#endif
