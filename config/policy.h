/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Policies: what the file says of delivery, per topic pattern and group, and how it is
 * resolved. Pure. The most specific rule that sets a value wins, value by value:
 * `match` first (segment by segment from the left: literal, "*", ">"), then a rule with a group
 * before one without; a tie is an error at load. `defaults:` is the least specific, then the
 * built-in values.
 */
#ifndef CONFIG_POLICY_H
#define CONFIG_POLICY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/backoff.h"
#include "base/option.h"
#include "base/slice.h"

enum policy_order { POLICY_ORDER_NONE, POLICY_ORDER_KEY, POLICY_ORDER_TOPIC };
enum policy_exhausted { EXHAUSTED_KEEP, EXHAUSTED_DROP };
enum policy_unmatched { UNMATCHED_KEEP, UNMATCHED_DEAD_LETTER };
enum policy_interop { POLICY_INTEROP_NONE, POLICY_INTEROP_CONNECTUM };

/* The values one by one; index of policy.line and of the explain output. */
enum policy_field {
	POLICY_ORDER,	      /* order */
	POLICY_LEASE,	      /* lease */
	POLICY_MAX_RETRIES,   /* retry.max_retries */
	POLICY_BACKOFF,	      /* retry.backoff */
	POLICY_INITIAL_DELAY, /* retry.initial_delay */
	POLICY_MAX_DELAY,     /* retry.max_delay */
	POLICY_MULTIPLIER,    /* retry.multiplier */
	POLICY_JITTER,	      /* retry.jitter */
	POLICY_MAX_AGE,	      /* retry.max_age; 0 = none */
	POLICY_RETRY_ON,      /* retry.retry_on: reason patterns (fnmatch), empty = all */
	POLICY_NEVER_ON,      /* retry.never_on */
	POLICY_WINDOW_EVENTS, /* retry.window_events */
	POLICY_WINDOW_BYTES,  /* retry.window_bytes */
	POLICY_DLQ_TOPIC,     /* dlq.topic, with {group} and {topic}; "off" as `dlq: off` */
	POLICY_ON_EXHAUSTED,  /* on_exhausted: keep | drop, matters only with dlq: off */
	POLICY_UNMATCHED,     /* unmatched: keep | dead_letter */
	POLICY_INTEROP,	      /* interop: none | connectum, rules with a group only */
	POLICY_FIELDS
};
/* "retry.max_retries" */
const char *policy_field_name(enum policy_field f);

struct policy {
	enum policy_order order;
	int64_t lease_ms;
	uint32_t max_retries;
	struct backoff backoff;
	int64_t max_age_ms;
	struct option_strings retry_on, never_on; /* borrowed from the configuration */
	uint32_t window_events;
	int64_t window_bytes;
	bool dlq_off;
	const char *dlq_topic; /* template, borrowed */
	enum policy_exhausted on_exhausted;
	enum policy_unmatched unmatched;
	enum policy_interop interop;
	uint32_t line[POLICY_FIELDS];	 /* of the file; 0 = built in */
	const char *rule[POLICY_FIELDS]; /* "topics[2] match=payments.>", "defaults", "built in";
					    borrowed */
};

struct config;
/*
 * topic: a topic, or a flow's pattern (a rule applies to a pattern when it covers it). group: NULL
 * for a subscription without one. Everything borrowed lives as long as the configuration.
 */
void policy_resolve(const struct config *c, struct slice topic, const char *group,
		    struct policy *out);

/* Fills {group} and {topic} in: 0, or EB_EINVAL when {group} is used without a group or the result
 * is no topic. out: TOPIC_MAX + 1 bytes. */
int policy_dlq_topic(const struct policy *p, struct slice topic, const char *group, char *out);

/* retry_on / never_on against a nack's reason: true when it may be retried. */
bool policy_reason_retries(const struct policy *p, struct slice reason);

#endif
