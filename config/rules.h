/* SPDX-License-Identifier: Apache-2.0 */
/* The rules behind policy_resolve: what `defaults:` and each `topics:` entry say. */
#ifndef CONFIG_RULES_H
#define CONFIG_RULES_H

#include "base/option.h"
#include "config/bind.h"
#include "config/policy.h"

struct rule {
	char *match;
	char *group; /* NULL: every group, and none */
	int order;   /* enum policy_order */
	int64_t lease_ms;
	struct {
		int64_t max_retries;
		int backoff; /* enum backoff_kind */
		int64_t initial_delay_ms, max_delay_ms;
		double multiplier, jitter;
		int64_t max_age_ms; /* 0: none */
		struct option_strings retry_on, never_on;
		int64_t window_events, window_bytes;
	} retry;
	struct {
		int off; /* first, as OPTION_TABLE with choices wants it */
		char *topic;
	} dlq;
	int on_exhausted, unmatched, interop; /* enums of policy.h */

	/* Not bound. */
	struct mark at; /* of the entry; line 0: not in the file */
	struct config_marks marks;
	uint32_t set;		      /* bit per enum policy_field */
	uint32_t line[POLICY_FIELDS]; /* of the file */
	char *label;		      /* "topics[2] match=payments.> group=g" */
	uint32_t index;		      /* in the file */
};

struct config_rules {
	struct rule defaults; /* complete: built-in values under what the file says */
	struct rule *topics;  /* the most specific first */
	uint32_t n_topics;
};

/* Where the value stands: the rule itself when it does not say it. */
struct mark rule_mark(const struct rule *r, enum policy_field f);

/* Built-in values alone. */
struct config_rules *rules_create(void);
void rules_destroy(struct config_rules *r);
void rules_resolve(const struct config_rules *r, struct slice topic, const char *group,
		   struct policy *out);
/* `defaults:` and `topics:`, once each; topics are sorted. */
void rules_bind_defaults(struct config_rules *r, struct report *report, const struct path *path,
			 const struct node *node);
void rules_bind_topics(struct config_rules *r, struct report *report, const struct path *path,
		       const struct node *node);
#endif
