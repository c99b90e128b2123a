/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/pipeline/policy_decide.h"
#include "suite.h"

#define NOW 1000000

static struct policy policy = {
	.max_retries = 3,
	.backoff = {.kind = BACKOFF_EXPONENTIAL,
		    .initial_ms = 1000,
		    .max_ms = 30000,
		    .multiplier = 2},
};

static struct policy_case failed(enum ended ended, uint32_t before)
{
	return (struct policy_case){
		.policy = &policy,
		.failures = {before, before ? 10 : 0, before ? 20 : 0},
		.published_at_ms = NOW - 5000,
		.dead_letter = true,
		.ended = ended,
		.reason = slice_str("lease expired"),
	};
}

static struct decision decide(const struct policy_case *c)
{
	struct decision d;

	policy_decide(c, NOW, 0, &d);
	return d;
}

START_TEST(ack_and_drop_are_final)
{
	struct policy_case c = failed(ENDED_ACK, 1);

	ck_assert_int_eq(decide(&c).kind, DECIDE_ACKNOWLEDGE);
	c = failed(ENDED_DROP, 1);
	ck_assert_int_eq(decide(&c).kind, DECIDE_DROP);
	ck_assert(!decide(&c).exhausted);
}
END_TEST

START_TEST(release_counts_nothing)
{
	struct policy_case c = failed(ENDED_RELEASE, 2);

	ck_assert_int_eq(decide(&c).kind, DECIDE_KEEP);
	ck_assert_uint_eq(decide(&c).failures.count, 2);
}
END_TEST

START_TEST(a_failure_counts_and_backs_off)
{
	struct policy_case c = failed(ENDED_RETRY, 0);
	struct decision d = decide(&c);

	ck_assert_int_eq(d.kind, DECIDE_RETRY);
	ck_assert_int_eq(d.delay_ms, 1000);
	ck_assert_uint_eq(d.failures.count, 1);
	ck_assert_int_eq(d.failures.first_ms, NOW);
	ck_assert_int_eq(d.failures.last_ms, NOW);
	c = failed(ENDED_DIED, 2);
	d = decide(&c);
	ck_assert_int_eq(d.delay_ms, 4000);
	ck_assert_int_eq(d.failures.first_ms, 10);
}
END_TEST

START_TEST(the_last_retry_failed)
{
	struct policy_case c = failed(ENDED_EXPIRED, 3);
	struct decision d = decide(&c);

	ck_assert_int_eq(d.kind, DECIDE_DEAD_LETTER);
	ck_assert_str_eq(d.why, "retries exhausted");
	ck_assert_uint_eq(d.failures.count, 4);
}
END_TEST

START_TEST(a_member_may_lower_and_not_raise)
{
	struct policy_case c = failed(ENDED_RETRY, 1);

	c.limits = (struct policy_limits){true, 1, 0, 0};
	ck_assert_int_eq(decide(&c).kind, DECIDE_DEAD_LETTER);
	c.limits = (struct policy_limits){true, 0, 0, 0};
	c.failures.count = 0;
	ck_assert_int_eq(decide(&c).kind, DECIDE_DEAD_LETTER);
	c = failed(ENDED_RETRY, 3);
	c.limits = (struct policy_limits){true, 100, 0, 0};
	ck_assert_int_eq(decide(&c).kind, DECIDE_DEAD_LETTER);
	c = failed(ENDED_RETRY, 2);
	c.limits = (struct policy_limits){false, 0, 0, 1500};
	ck_assert_int_eq(decide(&c).delay_ms, 1500);
	c.limits.max_delay_ms = 90000;
	ck_assert_int_eq(decide(&c).delay_ms, 4000);
}
END_TEST

START_TEST(reject_goes_to_the_dead_letters_at_once)
{
	struct policy_case c = failed(ENDED_REJECT, 0);
	struct decision d = decide(&c);

	ck_assert_int_eq(d.kind, DECIDE_DEAD_LETTER);
	ck_assert_str_eq(d.why, "rejected");
	ck_assert_uint_eq(d.failures.count, 1);
}
END_TEST

START_TEST(nack_classes_outrank_the_reason_patterns)
{
	char *never[] = {(char *)"lease*"};
	struct policy_case c = failed(ENDED_EXPIRED, 0);

	policy.never_on = (struct option_strings){never, 1};
	ck_assert_int_eq(decide(&c).kind, DECIDE_DEAD_LETTER);
	ck_assert_str_eq(decide(&c).why, "not to be retried");
	c.ended = ENDED_RETRY;
	ck_assert_int_eq(decide(&c).kind, DECIDE_RETRY);
	policy.never_on = (struct option_strings){0};
	policy.retry_on = (struct option_strings){never, 1};
	c.ended = ENDED_EXPIRED;
	ck_assert_int_eq(decide(&c).kind, DECIDE_RETRY);
	c.ended = ENDED_DIED;
	c.reason = slice_str("client died");
	ck_assert_int_eq(decide(&c).kind, DECIDE_DEAD_LETTER);
}
END_TEST

START_TEST(the_clients_delay_replaces_the_back_off)
{
	struct policy_case c = failed(ENDED_RETRY, 0);

	c.has_delay = true;
	c.delay_ms = 77000;
	ck_assert_int_eq(decide(&c).delay_ms, 77000);
	c.delay_ms = 0;
	ck_assert_int_eq(decide(&c).delay_ms, 0);
	ck_assert_uint_eq(decide(&c).failures.count, 1);
}
END_TEST

START_TEST(too_old_for_its_next_delivery)
{
	struct policy_case c = failed(ENDED_RETRY, 0); /* 5 s old, 1 s until the next */

	policy.max_age_ms = 6000;
	ck_assert_int_eq(decide(&c).kind, DECIDE_RETRY);
	policy.max_age_ms = 5999;
	ck_assert_int_eq(decide(&c).kind, DECIDE_DEAD_LETTER);
	ck_assert_str_eq(decide(&c).why, "max age reached");
	policy.max_age_ms = 0;
	c.limits.max_age_ms = 10;
	ck_assert_int_eq(decide(&c).kind, DECIDE_DEAD_LETTER);
	c.published_at_ms = 0; /* unknown: counts from the first failure, which is now */
	c.limits.max_age_ms = 1000;
	ck_assert_int_eq(decide(&c).kind, DECIDE_RETRY);
}
END_TEST

START_TEST(without_a_dead_letter_topic_the_file_decides)
{
	struct policy_case c = failed(ENDED_REJECT, 0);
	struct decision d;

	c.dead_letter = false;
	d = decide(&c);
	ck_assert_int_eq(d.kind, DECIDE_RETRY);
	ck_assert(d.exhausted);
	ck_assert_int_eq(d.delay_ms, 30000);
	policy.on_exhausted = EXHAUSTED_DROP;
	d = decide(&c);
	ck_assert_int_eq(d.kind, DECIDE_DROP);
	ck_assert(d.exhausted);
}
END_TEST

START_TEST(unmatched_is_kept_or_dead_lettered)
{
	struct policy_case c = failed(ENDED_UNMATCHED, 0);

	ck_assert_int_eq(decide(&c).kind, DECIDE_KEEP);
	policy.unmatched = UNMATCHED_DEAD_LETTER;
	ck_assert_int_eq(decide(&c).kind, DECIDE_DEAD_LETTER);
	c.dead_letter = false;
	ck_assert_int_eq(decide(&c).kind, DECIDE_KEEP);
}
END_TEST

START_TEST(extremes_do_not_overflow)
{
	struct policy_case c = failed(ENDED_RETRY, UINT32_MAX);

	policy.max_retries = UINT32_MAX;
	policy.max_age_ms = INT64_MAX;
	c.has_delay = true;
	c.delay_ms = INT64_MAX;
	c.published_at_ms = INT64_MAX;
	ck_assert_uint_eq(decide(&c).failures.count, UINT32_MAX);
	c.published_at_ms = 1;
	ck_assert_int_eq(decide(&c).kind, DECIDE_DEAD_LETTER);
}
END_TEST

int main(void)
{
	const TTest *tests[] = {
		ack_and_drop_are_final,
		release_counts_nothing,
		a_failure_counts_and_backs_off,
		the_last_retry_failed,
		a_member_may_lower_and_not_raise,
		reject_goes_to_the_dead_letters_at_once,
		nack_classes_outrank_the_reason_patterns,
		the_clients_delay_replaces_the_back_off,
		too_old_for_its_next_delivery,
		without_a_dead_letter_topic_the_file_decides,
		unmatched_is_kept_or_dead_lettered,
		extremes_do_not_overflow,
	};

	return suite_run("policy_decide", tests, sizeof(tests) / sizeof(tests[0]));
}
