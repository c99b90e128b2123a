/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Resolved policies of one loaded configuration, shared and cached, so that an event finds its
 * own without resolving it. A book lives until the last flight that was handed out under it is
 * settled: then the configuration behind it may go.
 */
#ifndef DAEMON_POLICY_BOOK_H
#define DAEMON_POLICY_BOOK_H

#include "base/table.h"
#include "config/config.h"
#include "config/policy.h"

struct policy_book;

struct policy_entry {
	struct policy policy;
	uint32_t refs;
	struct policy_book *book;
	struct table_entry entry;
};

/* refs = 1. The configuration is borrowed until on_free, which comes when the last reference goes.
 */
struct policy_book *policy_book_create(const struct config *config);
void policy_book_on_free(struct policy_book *b, void (*on_free)(void *ctx), void *ctx);
void policy_book_ref(struct policy_book *b);
/* Also forgets what is cached. */
void policy_book_unref(struct policy_book *b);

/* topic: a topic or a pattern. group: NULL for none. The reference is the caller's. */
struct policy_entry *policy_book_find(struct policy_book *b, struct slice topic, const char *group);
static inline struct policy_entry *policy_entry_ref(struct policy_entry *e)
{
	e->refs++;
	return e;
}
/* Accepts NULL. May free the book. */
void policy_entry_unref(struct policy_entry *e);

#endif
