/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

static void *checked(void *p, size_t n)
{
	if (!p) {
		log_error("memory", "out of memory, giving up size=%zu", n);
		abort();
	}
	return p;
}

/* A size of 0 is rounded up, so that NULL always means failure. */
static size_t at_least_one(size_t n)
{
	return n ? n : 1;
}

void *xcalloc(size_t n, size_t size)
{
	return checked(calloc(at_least_one(n), at_least_one(size)), size);
}

void *xcalloc_lines(size_t size)
{
	const size_t n = (at_least_one(size) + 63) & ~(size_t)63;

	return memset(checked(aligned_alloc(64, n), n), 0, n);
}

void *xmalloc(size_t n)
{
	return checked(malloc(at_least_one(n)), n);
}

void *xrealloc(void *p, size_t n)
{
	return checked(realloc(p, at_least_one(n)), n);
}

char *xstrdup(const char *s)
{
	return xstrndup(s, strlen(s));
}

char *xstrndup(const void *s, size_t n)
{
	char *out = xmalloc(n + 1);

	if (n) {
		memcpy(out, s, n);
	}
	out[n] = '\0';
	return out;
}

char *xasprintf(const char *fmt, ...)
{
	char *out = NULL;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&out, fmt, ap);
	va_end(ap);
	return checked(n < 0 ? NULL : out, 0);
}
