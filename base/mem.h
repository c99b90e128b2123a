/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small bookkeeping allocations: they log and abort when the machine is out of
 * memory (the service manager restarts us). Sizes that a peer chooses are
 * checked against a limit or a budget before they get here.
 */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stddef.h>

void *xcalloc(size_t n, size_t size);
/* Zeroed, and within as few cache lines as can be. */
void *xcalloc_lines(size_t size);
void *xmalloc(size_t n);
void *xrealloc(void *p, size_t n);
char *xstrdup(const char *s);
char *xstrndup(const void *s, size_t n);
char *xasprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
