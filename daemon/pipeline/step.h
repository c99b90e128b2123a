/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stepping function around policy_decide: decide -> record -> wait -> deliver again, or dead
 * letter -> acknowledge, or drop. Stages of one's own would stand here, around step_end (enter) and
 * feed_finish (leave). Each takes a flight that is on no list and keeps it going.
 */
#ifndef DAEMON_PIPELINE_STEP_H
#define DAEMON_PIPELINE_STEP_H

#include "daemon/flight.h"
#include "daemon/pipeline/policy_decide.h"

struct subscription;

struct ending {
	enum ended ended;
	struct slice reason;
	bool has_delay;
	int64_t delay_ms;
	struct policy_limits limits; /* of the member that had it */
	struct subscription *by;     /* RELEASE: somebody else first */
};

/* A delivery ended. */
void step_end(struct flight *fl, const struct ending *e);
/* It matches no pattern of its feed. */
void step_unmatched(struct flight *fl);
/* Its timer ran out: a lease, a retry, or the next try of a dead letter. */
void step_due(struct flight *fl);
/* The broker has its failures (rc 0), or not: deliver again all the same. */
void step_recorded(struct flight *fl, int rc);
/* Its dead letter is at the broker. */
void step_dead_lettered(struct flight *fl);
/* It goes back to the broker, now or as soon as its failures are there. */
void step_give_back(struct flight *fl);
/* Undoes WAITING, DEAD and KEPT: timers, counts, lists. */
void step_forget(struct flight *fl);

#endif
