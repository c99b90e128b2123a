/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Publish credit (PROTOCOL.md, "Publish credit"): how much one session may have
 * unanswered, in events and bytes, absolute: sent minus answered. Every session has the same
 * level; when memory is short the level sinks, so that whoever holds the most is squeezed first
 * and the sum of what may still come never exceeds what there is. Pure; loop thread only.
 */
#ifndef DAEMON_CREDIT_H
#define DAEMON_CREDIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Below this the level does not sink, so that a crowd of sessions can still move. */
#define CREDIT_MIN_BYTES ((uint64_t)4096)
/* Memory that a small event (128 B) takes for each byte that is counted: its structs, its answer,
 * and the read buffer that it lies in. */
#define CREDIT_OVERHEAD 4
/* A client that passes the highest credit in this many frames in a row is cut. */
#define CREDIT_MAX_STRIKES 16
/* How long a client may take to notice that its credit shrank. */
#define CREDIT_GRACE_MS 1000

struct credit_pool {
	uint32_t max_events; /* of one session, from the file */
	uint64_t max_bytes;
	uint64_t level;	      /* bytes a session is granted now: CREDIT_MIN_BYTES..max_bytes */
	uint64_t outstanding; /* accepted and not answered, all sessions, bytes */
};

struct credit_use {
	uint32_t events; /* accepted and not answered */
	uint64_t bytes;
	uint32_t strikes; /* frames in a row that passed even the highest credit */
	/* What the client was told, and what it knew before a credit that shrank: that holds until
	 * grace_until_ms, for it may have sent on the old one before it read the new one. */
	uint32_t told_events, grace_events;
	uint64_t told_bytes, grace_bytes;
	uint64_t grace_until_ms;
};

void credit_pool_init(struct credit_pool *p, uint32_t max_events, uint64_t max_bytes);
/* New limits from the file. */
void credit_pool_limit(struct credit_pool *p, uint32_t max_events, uint64_t max_bytes);
/* sessions: how many share it. room: bytes that could be accepted now. True when the level changed.
 * It sinks at once and rises in steps of two, so that clients are not told about every byte. */
bool credit_pool_update(struct credit_pool *p, uint32_t sessions, size_t room);

/* Whether the client knows another credit than the one in force. */
bool credit_untold(const struct credit_pool *p, const struct credit_use *u);
/* It is told now (told_events, told_bytes); now_ms: any steady clock. */
void credit_tell(const struct credit_pool *p, struct credit_use *u, uint64_t now_ms);

/* Accepts one event, or says no. One event always fits when nothing is outstanding. */
bool credit_take(struct credit_pool *p, struct credit_use *u, size_t bytes, uint64_t now_ms);
/* events were answered. */
void credit_give(struct credit_pool *p, struct credit_use *u, uint32_t events, size_t bytes);
/* Whether what was refused now lies beyond the highest credit that was ever granted. */
bool credit_overran(const struct credit_pool *p, const struct credit_use *u, size_t bytes);
/* After each frame: false when the client keeps overrunning and should be cut. */
bool credit_judge(struct credit_use *u, bool overran);

#endif
