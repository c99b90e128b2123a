/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/fake_subscriber.h"
#include "tests/unit/suite.h"

START_TEST(success_is_acknowledged_as_one_range)
{
	struct seen s = {0};
	struct fake f;
	struct eventbus *c;
	Eventbus__V1__Ack *ack;

	fake_start(&f);
	c = subscribed(&f, &s, NULL);
	fake_deliver(&f, 1, 100, 119);
	fake_deliver(&f, 1, 120, 129);
	fake_turns(c, &s.handled, 30);
	ck_assert_str_eq(s.payload, "event 129");
	ck_assert_str_eq(s.id, "id-129");
	ck_assert_str_eq(s.metadata, "green");
	ack = FAKE_EXPECT(&f, ACK)->ack;
	ck_assert_uint_eq(ack->n_tags, 1);
	ck_assert_uint_eq(ack->tags[0]->first, 100);
	ck_assert_uint_eq(ack->tags[0]->last, 129);
	ck_assert(fake_nothing_to_read(&f));
	eventbus_destroy(c);
	fake_stop(&f);
}
END_TEST

START_TEST(failure_is_nacked_for_retry)
{
	struct seen s = {.rc = -1};
	struct fake f;
	struct eventbus *c;
	Eventbus__V1__Nack *nack;

	fake_start(&f);
	c = subscribed(&f, &s, NULL);
	fake_deliver(&f, 1, 1, 2);
	fake_turns(c, &s.handled, 2);
	nack = FAKE_EXPECT(&f, NACK)->nack;
	ck_assert_int_eq(nack->kind, EVENTBUS__V1__NACK_CLASS__NACK_CLASS_RETRY);
	ck_assert_uint_eq(nack->tags[0]->last, 2);
	ck_assert_int_eq(nack->delay_case, EVENTBUS__V1__NACK__DELAY__NOT_SET);
	eventbus_destroy(c);
	fake_stop(&f);
}
END_TEST

START_TEST(a_handler_says_how_it_failed)
{
	struct seen s = {.fail = true};
	struct fake f;
	struct eventbus *c;
	Eventbus__V1__Nack *nack;

	fake_start(&f);
	c = subscribed(&f, &s, NULL);
	fake_deliver(&f, 1, 1, 1);
	fake_turns(c, &s.handled, 1);
	nack = FAKE_EXPECT(&f, NACK)->nack;
	ck_assert_int_eq(nack->kind, EVENTBUS__V1__NACK_CLASS__NACK_CLASS_REJECT);
	ck_assert_str_eq(nack->reason, "no good");
	s.fail = false;
	s.fail_after = true;
	fake_deliver(&f, 1, 2, 2);
	fake_turns(c, &s.handled, 2);
	nack = FAKE_EXPECT(&f, NACK)->nack;
	ck_assert_int_eq(nack->kind, EVENTBUS__V1__NACK_CLASS__NACK_CLASS_RETRY);
	ck_assert_uint_eq(nack->delay_ms, 5000);
	ck_assert_str_eq(nack->reason, "later");
	eventbus_destroy(c);
	fake_stop(&f);
}
END_TEST

START_TEST(a_long_reason_is_cut_between_characters)
{
	struct seen s = {.take = true};
	struct fake f;
	struct eventbus *c;
	Eventbus__V1__Nack *nack;
	char reason[3000] = "x\xff";

	fake_start(&f);
	c = subscribed(&f, &s, NULL);
	fake_deliver(&f, 1, 1, 1);
	fake_turns(c, &s.handled, 1);
	for (size_t i = 2; i + 2 < sizeof(reason); i += 2) {
		reason[i] = (char)0xc3;
		reason[i + 1] = (char)0xa9;
	}
	ck_assert_int_eq(eventbus_nack(s.taken[0], EVENTBUS_DROP, reason, 7), 0);
	eventbus_process(c);
	nack = FAKE_EXPECT(&f, NACK)->nack; /* reading it proves that it is UTF-8 */
	ck_assert_uint_eq(strlen(nack->reason), 1024);
	ck_assert_int_eq(memcmp(nack->reason, "x?\xc3\xa9", 4), 0);
	ck_assert_int_eq(nack->delay_case, EVENTBUS__V1__NACK__DELAY__NOT_SET);
	eventbus_destroy(c);
	fake_stop(&f);
}
END_TEST

START_TEST(taken_deliveries_are_settled_later)
{
	struct seen s = {.take = true};
	struct fake f;
	struct eventbus *c;
	const struct eventbus_event *e;
	struct eventbus_text v;

	fake_start(&f);
	c = subscribed(&f, &s, NULL);
	fake_deliver(&f, 1, 1, 3);
	fake_turns(c, &s.handled, 3);
	ck_assert(fake_nothing_to_read(&f));
	e = eventbus_delivery_event(s.taken[1]);
	ck_assert_int_eq(memcmp(e->payload, "event 2", 7), 0);
	ck_assert_int_eq(memcmp(e->position.p, "memory/1/7", e->position.n), 0);
	ck_assert(eventbus_metadata_get(e, "colour", &v));
	ck_assert_int_eq(memcmp(v.p, "green", v.n), 0);
	ck_assert(!eventbus_metadata_get(e, "col", &v));
	ck_assert_int_eq(eventbus_ack(s.taken[1]), 0);
	eventbus_process(c);
	ck_assert_uint_eq(FAKE_EXPECT(&f, ACK)->ack->tags[0]->first, 2);
	ck_assert_int_eq(eventbus_extend(s.taken[0]), 0);
	eventbus_process(c);
	ck_assert_uint_eq(FAKE_EXPECT(&f, EXTEND)->extend->tags[0]->first, 1);
	ck_assert_int_eq(eventbus_nack(s.taken[0], EVENTBUS_RETRY, "busy", 10), 0);
	eventbus_delivery_free(s.taken[2]);
	eventbus_process(c);
	ck_assert_uint_eq(FAKE_EXPECT(&f, NACK)->nack->delay_ms, 10);
	ck_assert_int_eq(FAKE_EXPECT(&f, NACK)->nack->kind,
			 EVENTBUS__V1__NACK_CLASS__NACK_CLASS_RELEASE);
	eventbus_destroy(c);
	fake_stop(&f);
}
END_TEST

START_TEST(after_a_reconnect_old_deliveries_are_stale_and_new_ones_come)
{
	struct seen s = {.take = true};
	struct fake f;
	struct eventbus *c;

	fake_start(&f);
	c = subscribed(&f, &s, NULL);
	fake_deliver(&f, 1, 1, 2);
	fake_turns(c, &s.handled, 2);
	fake_hang_up(&f);
	fake_turns(c, &s.cancelled, 2);
	ck_assert_int_eq(s.why, EVENTBUS_CANCEL_STALE);
	fake_meet(&f, c);
	FAKE_EXPECT(&f, SUBSCRIBE);
	fake_subscribed(&f, 1, 2, LEASE_MS);
	fake_deliver(&f, 1, 900, 900);
	fake_turns(c, &s.handled, 3);
	ck_assert_int_eq(eventbus_ack(s.taken[0]), EVENTBUS_ESTALE);
	ck_assert_int_eq(eventbus_extend(s.taken[1]), EVENTBUS_ESTALE);
	ck_assert_int_eq(eventbus_nack(s.taken[1], EVENTBUS_RETRY, NULL, -1), EVENTBUS_ESTALE);
	ck_assert_int_eq(eventbus_ack(s.taken[2]), 0);
	eventbus_process(c);
	ck_assert_uint_eq(FAKE_EXPECT(&f, ACK)->ack->tags[0]->first, 900);
	eventbus_destroy(c);
	fake_stop(&f);
}
END_TEST

START_TEST(deliveries_outlive_the_client)
{
	struct seen s = {.take = true};
	struct fake f;
	struct eventbus *c;

	fake_start(&f);
	c = subscribed(&f, &s, NULL);
	fake_deliver(&f, 1, 1, 2);
	fake_turns(c, &s.handled, 2);
	eventbus_destroy(c);
	ck_assert_int_eq(s.cancelled, 0);
	ck_assert_int_eq(eventbus_cancelled(s.taken[0]), EVENTBUS_CANCEL_STALE);
	ck_assert_int_eq(eventbus_ack(s.taken[0]), EVENTBUS_ESTALE);
	eventbus_delivery_free(s.taken[1]);
	fake_stop(&f);
}
END_TEST

START_TEST(drain_is_told_for_each_delivery)
{
	Eventbus__V1__Drain d = EVENTBUS__V1__DRAIN__INIT;
	FAKE_FRAME(frame, drain, DRAIN, &d);
	struct seen s = {.take = true};
	struct fake f;
	struct eventbus *c;

	fake_start(&f);
	c = subscribed(&f, &s, NULL);
	fake_deliver(&f, 1, 1, 2);
	fake_turns(c, &s.handled, 2);
	d.deadline_ms = 25000;
	fake_write(&f, &frame);
	fake_turns(c, &s.cancelled, 2);
	ck_assert_int_eq(s.why, EVENTBUS_CANCEL_DRAIN);
	ck_assert_int_eq(s.deadline_ms, 25000);
	ck_assert_int_eq(eventbus_ack(s.taken[0]), 0);
	ck_assert_int_eq(eventbus_ack(s.taken[1]), 0);
	eventbus_process(c);
	ck_assert_uint_eq(FAKE_EXPECT(&f, ACK)->ack->tags[0]->last, 2);
	eventbus_destroy(c);
	fake_stop(&f);
}
END_TEST

START_TEST(the_end_of_a_lease_is_told_for_those_that_run_one)
{
	struct seen s = {.take = true};
	struct fake f;
	struct eventbus *c;

	fake_start(&f);
	c = subscribed(&f, &s, NULL); /* concurrency 2 */
	fake_deliver(&f, 1, 1, 3);
	fake_turns(c, &s.cancelled, 2);
	ck_assert_int_eq(s.why, EVENTBUS_CANCEL_LEASE);
	ck_assert_int_eq(eventbus_cancelled(s.taken[2]), EVENTBUS_NOT_CANCELLED);
	ck_assert_int_eq(eventbus_extend(s.taken[0]), 0);
	ck_assert_int_eq(eventbus_cancelled(s.taken[0]), EVENTBUS_NOT_CANCELLED);
	fake_turns(c, &s.cancelled, 3); /* the extended one again */
	ck_assert_int_eq(eventbus_ack(s.taken[0]), 0);
	fake_turns(c, &s.cancelled, 4); /* the third began to run */
	ck_assert_int_eq(eventbus_cancelled(s.taken[2]), EVENTBUS_CANCEL_LEASE);
	eventbus_delivery_free(s.taken[1]);
	eventbus_delivery_free(s.taken[2]);
	eventbus_destroy(c);
	fake_stop(&f);
}
END_TEST

START_TEST(leases_are_extended_when_wished)
{
	struct seen s = {.take = true};
	struct eventbus_subscribe o = options(&s);
	struct fake f;
	struct eventbus *c;

	fake_start(&f);
	o.auto_extend = true;
	c = subscribed(&f, &s, &o);
	fake_deliver(&f, 1, 1, 3);
	fake_turns(c, &s.handled, 3);
	for (int i = 0; i < 3; i++) {
		Eventbus__V1__Extend *e;

		while (fake_nothing_to_read(&f)) {
			eventbus_run_once(c, FAKE_WAIT_MS);
		}
		e = FAKE_EXPECT(&f, EXTEND)->extend;
		ck_assert_uint_eq(e->tags[0]->first, 1);
		ck_assert_uint_le(e->tags[e->n_tags - 1]->last, 2);
	}
	ck_assert_int_eq(s.cancelled, 0);
	for (int i = 0; i < 3; i++) {
		eventbus_delivery_free(s.taken[i]);
	}
	eventbus_destroy(c);
	fake_stop(&f);
}
END_TEST

START_TEST(revoked_tags_are_stale)
{
	Eventbus__V1__SubscriptionState st = EVENTBUS__V1__SUBSCRIPTION_STATE__INIT;
	Eventbus__V1__Range range = EVENTBUS__V1__RANGE__INIT, *ranges[] = {&range};
	FAKE_FRAME(frame, subscription_state, SUBSCRIPTION_STATE, &st);
	struct seen s = {.take = true};
	struct fake f;
	struct eventbus *c;

	fake_start(&f);
	c = subscribed(&f, &s, NULL);
	fake_deliver(&f, 1, 1, 3);
	fake_turns(c, &s.handled, 3);
	range.first = range.last = 2;
	st.subscription = 1;
	st.state = EVENTBUS__V1__STATE__STATE_REVOKED;
	st.n_revoked = 1;
	st.revoked = ranges;
	fake_write(&f, &frame);
	fake_turns(c, &s.states, 2);
	ck_assert_int_eq(s.state[1], EVENTBUS_REVOKED);
	ck_assert_int_eq(s.why, EVENTBUS_CANCEL_STALE);
	ck_assert_int_eq(eventbus_ack(s.taken[1]), EVENTBUS_ESTALE);
	ck_assert_int_eq(eventbus_ack(s.taken[0]), 0);
	ck_assert_int_eq(eventbus_ack(s.taken[2]), 0);
	eventbus_destroy(c);
	fake_stop(&f);
}
END_TEST

START_TEST(a_handler_may_destroy_the_client)
{
	struct seen s = {.destroy = true};
	struct fake f;
	struct eventbus *c;
	int rc = 0;

	fake_start(&f);
	c = subscribed(&f, &s, NULL);
	fake_deliver(&f, 1, 1, 3);
	while (rc == 0) {
		rc = eventbus_run_once(c, FAKE_WAIT_MS);
	}
	ck_assert_int_eq(rc, EVENTBUS_ECANCELED);
	ck_assert_int_eq(s.handled, 1);
	ck_assert_uint_eq(FAKE_EXPECT(&f, ACK)->ack->tags[0]->last, 1);
	fake_stop(&f);
}
END_TEST

int main(void)
{
	const TTest *tests[] = {
		success_is_acknowledged_as_one_range,
		failure_is_nacked_for_retry,
		a_handler_says_how_it_failed,
		a_long_reason_is_cut_between_characters,
		taken_deliveries_are_settled_later,
		after_a_reconnect_old_deliveries_are_stale_and_new_ones_come,
		deliveries_outlive_the_client,
		drain_is_told_for_each_delivery,
		the_end_of_a_lease_is_told_for_those_that_run_one,
		leases_are_extended_when_wished,
		revoked_tags_are_stale,
		a_handler_may_destroy_the_client,
	};

	return suite_run("client deliver", tests, sizeof(tests) / sizeof(tests[0]));
}
