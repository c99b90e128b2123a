/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/pipeline/policy_decide.h"

static int64_t lower(int64_t file, int64_t own)
{
	return own > 0 && (file <= 0 || own < file) ? own : file;
}

static int64_t max_delay_ms(const struct policy_case *c)
{
	return lower(c->policy->backoff.max_ms, c->limits.max_delay_ms);
}

static int64_t next_delay_ms(const struct policy_case *c, uint32_t failures, double unit)
{
	struct backoff b = c->policy->backoff;

	if (c->has_delay) {
		return c->delay_ms > 0 ? c->delay_ms : 0;
	}
	b.max_ms = max_delay_ms(c);
	return backoff_delay_ms(&b, failures, unit);
}

static bool too_old(const struct policy_case *c, int64_t now_ms, const struct decision *d)
{
	const int64_t max_age_ms = lower(c->policy->max_age_ms, c->limits.max_age_ms);
	const int64_t since_ms = c->published_at_ms > 0 ? c->published_at_ms : d->failures.first_ms;

	return max_age_ms > 0 && now_ms - since_ms > max_age_ms - d->delay_ms;
}

/* NULL: it may be tried again. */
static const char *final_reason(const struct policy_case *c, int64_t now_ms,
				const struct decision *d)
{
	uint32_t max_retries = c->policy->max_retries;

	if (c->limits.has_max_retries && c->limits.max_retries < max_retries) {
		max_retries = c->limits.max_retries;
	}
	if (c->ended == ENDED_REJECT) {
		return "rejected";
	}
	if (c->ended != ENDED_RETRY && !policy_reason_retries(c->policy, c->reason)) {
		return "not to be retried";
	}
	if (d->failures.count > max_retries) {
		return "retries exhausted";
	}
	return too_old(c, now_ms, d) ? "max age reached" : NULL;
}

static void decide_failure(const struct policy_case *c, int64_t now_ms, double unit,
			   struct decision *out)
{
	const char *final;

	if (out->failures.count < UINT32_MAX - 1) {
		out->failures.count++;
	}
	out->failures.last_ms = now_ms;
	if (out->failures.first_ms == 0) {
		out->failures.first_ms = now_ms;
	}
	out->kind = DECIDE_RETRY;
	out->why = "failed";
	out->delay_ms = next_delay_ms(c, out->failures.count, unit);
	final = final_reason(c, now_ms, out);
	if (!final) {
		return;
	}
	out->why = final;
	if (c->dead_letter) {
		out->kind = DECIDE_DEAD_LETTER;
		return;
	}
	out->exhausted = true;
	out->kind = c->policy->on_exhausted == EXHAUSTED_DROP ? DECIDE_DROP : DECIDE_RETRY;
	out->delay_ms = max_delay_ms(c);
}

void policy_decide(const struct policy_case *c, int64_t now_ms, double unit, struct decision *out)
{
	*out = (struct decision){.kind = DECIDE_ACKNOWLEDGE, .failures = c->failures, .why = ""};
	switch (c->ended) {
	case ENDED_ACK:
		return;
	case ENDED_DROP:
		out->kind = DECIDE_DROP;
		out->why = "dropped by the client";
		return;
	case ENDED_RELEASE:
		out->kind = DECIDE_KEEP;
		out->why = "released";
		return;
	case ENDED_UNMATCHED:
		out->kind = c->policy->unmatched == UNMATCHED_DEAD_LETTER && c->dead_letter
				    ? DECIDE_DEAD_LETTER
				    : DECIDE_KEEP;
		out->why = "unmatched";
		return;
	case ENDED_RETRY:
	case ENDED_REJECT:
	case ENDED_EXPIRED:
	case ENDED_DIED:
		decide_failure(c, now_ms, unit, out);
		return;
	}
}
