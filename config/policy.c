/* SPDX-License-Identifier: Apache-2.0 */
#include "config/policy.h"

#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

#include "base/topic.h"
#include "config/config.h"
#include "config/rules.h"

#define REASON_MAX 1024

static bool applies(const struct rule *r, struct slice topic, const char *group)
{
	if (r->group && (!group || strcmp(r->group, group) != 0)) {
		return false;
	}
	return pattern_covers(slice_str(r->match), topic);
}

/* from[f]: the rule that says value f. */
static void fill(const struct rule *const from[POLICY_FIELDS], struct policy *out)
{
	const struct rule *dlq = from[POLICY_DLQ_TOPIC];

	*out = (struct policy){
		.order = (enum policy_order)from[POLICY_ORDER]->order,
		.lease_ms = from[POLICY_LEASE]->lease_ms,
		.max_retries = (uint32_t)from[POLICY_MAX_RETRIES]->retry.max_retries,
		.backoff = {.kind = (enum backoff_kind)from[POLICY_BACKOFF]->retry.backoff,
			    .initial_ms = from[POLICY_INITIAL_DELAY]->retry.initial_delay_ms,
			    .max_ms = from[POLICY_MAX_DELAY]->retry.max_delay_ms,
			    .multiplier = from[POLICY_MULTIPLIER]->retry.multiplier,
			    .jitter = from[POLICY_JITTER]->retry.jitter},
		.max_age_ms = from[POLICY_MAX_AGE]->retry.max_age_ms,
		.retry_on = from[POLICY_RETRY_ON]->retry.retry_on,
		.never_on = from[POLICY_NEVER_ON]->retry.never_on,
		.window_events = (uint32_t)from[POLICY_WINDOW_EVENTS]->retry.window_events,
		.window_bytes = from[POLICY_WINDOW_BYTES]->retry.window_bytes,
		.dlq_off = dlq->dlq.off != 0,
		.dlq_topic = dlq->dlq.off ? NULL : dlq->dlq.topic,
		.on_exhausted = (enum policy_exhausted)from[POLICY_ON_EXHAUSTED]->on_exhausted,
		.unmatched = (enum policy_unmatched)from[POLICY_UNMATCHED]->unmatched,
		.interop = (enum policy_interop)from[POLICY_INTEROP]->interop,
	};
}

void rules_resolve(const struct config_rules *r, struct slice topic, const char *group,
		   struct policy *out)
{
	const struct rule *from[POLICY_FIELDS];
	uint32_t left = (1u << POLICY_FIELDS) - 1;

	for (int f = 0; f < POLICY_FIELDS; f++) {
		from[f] = &r->defaults;
	}
	for (uint32_t i = 0; i < r->n_topics && left; i++) {
		const struct rule *rule = &r->topics[i];
		uint32_t take = applies(rule, topic, group) ? rule->set & left : 0;

		left &= ~take;
		for (int f = 0; take; f++, take >>= 1) {
			from[f] = take & 1 ? rule : from[f];
		}
	}
	fill(from, out);
	for (int f = 0; f < POLICY_FIELDS; f++) {
		out->line[f] = from[f]->line[f];
		out->rule[f] = from[f]->label ? from[f]->label
			       : out->line[f] ? "defaults"
					      : "built in";
	}
}

void policy_resolve(const struct config *c, struct slice topic, const char *group,
		    struct policy *out)
{
	rules_resolve(c->rules, topic, group, out);
}

/* Appends to out[TOPIC_MAX + 1]; false: no room. */
static bool append(char *out, size_t *n, struct slice s)
{
	if (s.n > TOPIC_MAX - *n) {
		return false;
	}
	memcpy(out + *n, s.p, s.n);
	*n += s.n;
	out[*n] = '\0';
	return true;
}

static bool starts_with(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}

int policy_dlq_topic(const struct policy *p, struct slice topic, const char *group, char *out)
{
	size_t n = 0;

	out[0] = '\0';
	for (const char *s = p->dlq_topic; s && *s;) {
		struct slice part = slice_of(s, 1);

		if (starts_with(s, "{group}")) {
			part = slice_str(group);
			s += strlen("{group}");
		} else if (starts_with(s, "{topic}")) {
			part = topic;
			s += strlen("{topic}");
		} else {
			s++;
		}
		if (!part.p || !append(out, &n, part)) {
			return EB_EINVAL;
		}
	}
	return topic_valid(slice_of(out, n)) ? 0 : EB_EINVAL;
}

static bool matches_any(const struct option_strings *patterns, const char *reason)
{
	for (size_t i = 0; i < patterns->n; i++) {
		if (fnmatch(patterns->v[i], reason, 0) == 0) {
			return true;
		}
	}
	return false;
}

bool policy_reason_retries(const struct policy *p, struct slice reason)
{
	char text[REASON_MAX + 1];
	size_t n = reason.n < REASON_MAX ? reason.n : REASON_MAX;

	if (p->retry_on.n == 0 && p->never_on.n == 0) {
		return true;
	}
	if (n) {
		memcpy(text, reason.p, n);
	}
	text[n] = '\0';
	if (matches_any(&p->never_on, text)) {
		return false;
	}
	return p->retry_on.n == 0 || matches_any(&p->retry_on, text);
}
