/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dead letters: the event on another topic, with what happened to it, confirmed there before the
 * original is acknowledged. While the broker refuses, the original is held and the
 * publish is tried again.
 */
#ifndef DAEMON_PIPELINE_DEADLETTER_H
#define DAEMON_PIPELINE_DEADLETTER_H

#include "base/outcome.h"
#include "daemon/flight.h"

struct group;
struct policy;

/* Whether fl would go to a dead letter topic: one is set, and fl is not on it already. */
bool deadletter_wanted(const struct flight *fl);
/* State DEAD. why: static; reason is copied. */
void deadletter_start(struct flight *fl, const char *why, struct slice reason);
/* The next try. */
void deadletter_publish(struct flight *fl);
bool deadletter_publishing(const struct flight *fl);
/* fl is no longer DEAD; a publish that is under way is ignored when it is answered. */
void deadletter_forget(struct flight *fl);

/* What deadletter_build needs. */
struct dead_letter_spec {
	const struct event *event;
	const char *topic, *group; /* group: NULL for none */
	const char *why, *error;
	const char *position; /* text, or "": then the id counts */
	struct failures failures;
	size_t max_bytes; /* of the result; 0 = any */
	bool truncate;	  /* without the event's own metadata */
	int64_t now_ms;
	struct budget *budget;
};
/* The dead letter; the reference is the caller's. The same event gives the same id, every time.
 * Pure. */
struct event *deadletter_build(const struct dead_letter_spec *s);

#endif
