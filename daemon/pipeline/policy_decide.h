/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What becomes of an event when a delivery of it has ended: one pure function, no loop, no
 * clock, no allocation. pipeline/step.h carries the decision out.
 */
#ifndef DAEMON_PIPELINE_POLICY_DECIDE_H
#define DAEMON_PIPELINE_POLICY_DECIDE_H

#include <stdbool.h>
#include <stdint.h>

#include "adapters/adapter.h"
#include "config/policy.h"

/* How the delivery ended. */
enum ended {
	ENDED_ACK,
	ENDED_RETRY,	 /* the client asks for a retry: outranks retry_on and never_on */
	ENDED_REJECT,	 /* the client will never take it */
	ENDED_RELEASE,	 /* given back, no failure */
	ENDED_DROP,	 /* the client says: forget it */
	ENDED_EXPIRED,	 /* the lease ran out */
	ENDED_DIED,	 /* the client went away while it worked on it */
	ENDED_UNMATCHED, /* never delivered: it matches no pattern of its flow */
};

/* What a member may lower below the file's values; 0 = the file's. */
struct policy_limits {
	bool has_max_retries;
	uint32_t max_retries;
	int64_t max_age_ms, max_delay_ms;
};

struct policy_case {
	const struct policy *policy;
	struct policy_limits limits;
	struct failures failures; /* before this delivery */
	int64_t published_at_ms;  /* unix; 0 = unknown: then age counts from the first failure */
	bool dead_letter;	  /* there is a dead letter topic, and the event is not on it */
	enum ended ended;
	struct slice reason; /* for retry_on and never_on */
	bool has_delay;	     /* the client's own delay, instead of the back-off */
	int64_t delay_ms;
};

enum decision_kind {
	DECIDE_ACKNOWLEDGE,
	DECIDE_RETRY,	    /* after delay_ms, with failures recorded */
	DECIDE_DEAD_LETTER, /* publish the dead letter, then acknowledge */
	DECIDE_DROP,	    /* acknowledge and count */
	DECIDE_KEEP,	    /* hold it; no failure is counted */
};

struct decision {
	enum decision_kind kind;
	struct failures failures; /* after this delivery */
	int64_t delay_ms;
	bool exhausted;	 /* RETRY or DROP only because there is no dead letter topic */
	const char *why; /* static: "retries exhausted", "rejected", ... */
};

/*
 * now_ms: unix. unit: a random number in [0,1) for the jitter. An event is too old when its next
 * delivery would begin later than published_at + max_age.
 */
void policy_decide(const struct policy_case *c, int64_t now_ms, double unit, struct decision *out);

#endif
