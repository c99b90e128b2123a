/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/fake_subscriber.h"
#include "tests/unit/suite.h"

START_TEST(what_is_asked_for_is_sent)
{
	const char *const patterns[] = {"a.>", "b"};
	struct seen s = {0};
	struct eventbus_subscribe o = options(&s);
	struct fake f;
	struct eventbus *c;
	Eventbus__V1__Subscribe *m;

	fake_start(&f);
	c = fake_client(&f, NULL);
	o.pattern = NULL;
	o.patterns = patterns;
	o.pattern_count = 2;
	o.max_in_flight_events = 7;
	o.concurrency = 3;
	o.lease_ms = 5000;
	o.set_max_retries = true;
	o.order = EVENTBUS_ORDER_KEY;
	o.start = EVENTBUS_START_EARLIEST;
	o.dead_letter_topic = "dead";
	ck_assert_int_eq(eventbus_subscribe(c, &o, NULL), 0);
	eventbus_process(c);
	m = FAKE_EXPECT(&f, SUBSCRIBE)->subscribe;
	ck_assert_uint_eq(m->n_patterns, 2);
	ck_assert_str_eq(m->patterns[1], "b");
	ck_assert_str_eq(m->group, "billing");
	ck_assert_uint_eq(m->max_in_flight_events, 7);
	ck_assert_uint_eq(m->concurrency, 3);
	ck_assert_uint_eq(m->lease_ms, 5000);
	ck_assert_int_eq(m->retry->retries_case, EVENTBUS__V1__RETRY_OVERRIDE__RETRIES_MAX_RETRIES);
	ck_assert_uint_eq(m->retry->max_retries, 0);
	ck_assert_int_eq(m->order, EVENTBUS__V1__ORDER__ORDER_KEY);
	ck_assert_int_eq(m->start->at_case, EVENTBUS__V1__START__AT_EARLIEST);
	ck_assert_str_eq(m->dead_letter->topic, "dead");
	eventbus_destroy(c);
	fake_stop(&f);
}
END_TEST

START_TEST(without_a_group_a_reconnect_is_a_gap)
{
	struct seen s = {0};
	struct eventbus_subscribe o = options(&s);
	struct fake f;
	struct eventbus *c;

	fake_start(&f);
	o.group = NULL;
	o.start = EVENTBUS_START_EARLIEST;
	c = subscribed(&f, &s, &o);
	fake_hang_up(&f);
	eventbus_process(c);
	fake_meet(&f, c);
	ck_assert_int_eq(FAKE_EXPECT(&f, SUBSCRIBE)->subscribe->start->at_case,
			 EVENTBUS__V1__START__AT_NEW);
	fake_subscribed(&f, 1, 1, LEASE_MS);
	fake_turns(c, &s.states, 3);
	ck_assert_int_eq(s.state[1], EVENTBUS_SUBSCRIBED);
	ck_assert_int_eq(s.state[2], EVENTBUS_GAP);
	eventbus_destroy(c);
	fake_stop(&f);
}
END_TEST

static void answer_with(struct fake *f, Eventbus__V1__Outcome outcome)
{
	Eventbus__V1__Error e = EVENTBUS__V1__ERROR__INIT;
	FAKE_FRAME(frame, error, ERROR, &e);
	char text[] = "order differs";

	e.outcome = outcome;
	e.reason = EVENTBUS__V1__REASON__REASON_CONFLICT;
	e.text = text;
	e.re_case = EVENTBUS__V1__ERROR__RE_SUBSCRIPTION;
	e.subscription = 1;
	fake_write(f, &frame);
}

START_TEST(refused_for_good_stays_refused)
{
	struct seen s = {0};
	struct eventbus_subscribe o = options(&s);
	struct fake f;
	struct eventbus *c;

	fake_start(&f);
	c = fake_client(&f, NULL);
	eventbus_subscribe(c, &o, &s.sub);
	eventbus_process(c);
	FAKE_EXPECT(&f, SUBSCRIBE);
	answer_with(&f, EVENTBUS__V1__OUTCOME__OUTCOME_PERMANENT);
	fake_turns(c, &s.states, 1);
	ck_assert_int_eq(s.state[0], EVENTBUS_REFUSED);
	ck_assert_str_eq(s.text, "order differs");
	fake_hang_up(&f);
	eventbus_process(c);
	fake_meet(&f, c);
	eventbus_process(c);
	ck_assert(fake_nothing_to_read(&f));
	eventbus_unsubscribe(s.sub);
	fake_turns(c, &s.states, 2);
	ck_assert_int_eq(s.state[1], EVENTBUS_UNSUBSCRIBED);
	eventbus_destroy(c);
	fake_stop(&f);
}
END_TEST

START_TEST(refused_for_now_is_asked_again)
{
	struct seen s = {0};
	struct eventbus_subscribe o = options(&s);
	struct fake f;
	struct eventbus *c;

	fake_start(&f);
	c = fake_client(&f, NULL);
	eventbus_subscribe(c, &o, &s.sub);
	eventbus_process(c);
	FAKE_EXPECT(&f, SUBSCRIBE);
	answer_with(&f, EVENTBUS__V1__OUTCOME__OUTCOME_NOT_STORED);
	fake_turns(c, &s.states, 1);
	ck_assert_int_eq(s.state[0], EVENTBUS_DEGRADED);
	ck_assert_int_gt(eventbus_next_timeout_ms(c), 0);
	while (fake_nothing_to_read(&f)) {
		eventbus_run_once(c, FAKE_WAIT_MS);
	}
	FAKE_EXPECT(&f, SUBSCRIBE);
	eventbus_destroy(c);
	fake_stop(&f);
}
END_TEST

START_TEST(unsubscribe_gives_back_what_still_comes)
{
	Eventbus__V1__Unsubscribed u = EVENTBUS__V1__UNSUBSCRIBED__INIT;
	FAKE_FRAME(frame, unsubscribed, UNSUBSCRIBED, &u);
	struct seen s = {.unsubscribe = true};
	struct fake f;
	struct eventbus *c;
	Eventbus__V1__Nack *nack;

	fake_start(&f);
	c = subscribed(&f, &s, NULL);
	fake_deliver(&f, 1, 1, 3);
	fake_turns(c, &s.handled, 1);
	FAKE_EXPECT(&f, UNSUBSCRIBE);
	ck_assert_uint_eq(FAKE_EXPECT(&f, ACK)->ack->tags[0]->last, 1);
	nack = FAKE_EXPECT(&f, NACK)->nack;
	ck_assert_int_eq(nack->kind, EVENTBUS__V1__NACK_CLASS__NACK_CLASS_RELEASE);
	ck_assert_uint_eq(nack->tags[0]->first, 2);
	ck_assert_uint_eq(nack->tags[0]->last, 3);
	u.subscription = 1;
	fake_write(&f, &frame);
	fake_turns(c, &s.states, 2);
	ck_assert_int_eq(s.state[1], EVENTBUS_UNSUBSCRIBED);
	ck_assert_int_eq(s.handled, 1);
	eventbus_destroy(c);
	fake_stop(&f);
}
END_TEST

START_TEST(pause_is_said_again_after_a_reconnect)
{
	struct seen s = {0};
	struct fake f;
	struct eventbus *c;

	fake_start(&f);
	c = subscribed(&f, &s, NULL);
	eventbus_pause(s.sub);
	eventbus_process(c);
	FAKE_EXPECT(&f, PAUSE);
	fake_hang_up(&f);
	eventbus_process(c);
	fake_meet(&f, c);
	FAKE_EXPECT(&f, SUBSCRIBE);
	fake_subscribed(&f, 1, 2, LEASE_MS);
	fake_turns(c, &s.states, 2);
	FAKE_EXPECT(&f, PAUSE);
	eventbus_resume(s.sub);
	eventbus_process(c);
	FAKE_EXPECT(&f, RESUME);
	eventbus_destroy(c);
	fake_stop(&f);
}
END_TEST

START_TEST(bad_subscriptions_are_refused_here)
{
	const char *many[65];
	struct seen s = {0};
	struct eventbus_subscribe o = options(&s);
	struct fake f;
	struct eventbus *c;

	fake_start(&f);
	c = fake_client(&f, NULL);
	o.pattern = "a..b";
	ck_assert_int_eq(eventbus_subscribe(c, &o, NULL), EVENTBUS_EINVAL);
	o.pattern = NULL;
	ck_assert_int_eq(eventbus_subscribe(c, &o, NULL), EVENTBUS_EINVAL);
	o.patterns = many;
	o.pattern_count = 65;
	ck_assert_int_eq(eventbus_subscribe(c, &o, NULL), EVENTBUS_ETOOBIG);
	o.pattern = "a";
	o.group = "a b";
	ck_assert_int_eq(eventbus_subscribe(c, &o, NULL), EVENTBUS_EINVAL);
	o.group = NULL;
	o.start = EVENTBUS_START_POSITION;
	ck_assert_int_eq(eventbus_subscribe(c, &o, NULL), EVENTBUS_EINVAL);
	o.start = EVENTBUS_START_NEW;
	o.handler = NULL;
	ck_assert_int_eq(eventbus_subscribe(c, &o, NULL), EVENTBUS_EINVAL);
	eventbus_process(c);
	ck_assert(fake_nothing_to_read(&f));
	eventbus_destroy(c);
	fake_stop(&f);
}
END_TEST

int main(void)
{
	const TTest *tests[] = {
		what_is_asked_for_is_sent,
		without_a_group_a_reconnect_is_a_gap,
		refused_for_good_stays_refused,
		refused_for_now_is_asked_again,
		unsubscribe_gives_back_what_still_comes,
		pause_is_said_again_after_a_reconnect,
		bad_subscriptions_are_refused_here,
	};

	return suite_run("client subscribe", tests, sizeof(tests) / sizeof(tests[0]));
}
