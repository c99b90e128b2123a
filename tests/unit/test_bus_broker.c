/* SPDX-License-Identifier: Apache-2.0 */
/* The bus over a fake adapter: what a broker may do to it. */
#include "support_bus.h"

#define FAKE "broker: {fake: {}}\n"

START_TEST(subscribed_waits_for_the_flow_and_a_broker_that_is_away_is_told)
{
	struct kit k;
	struct kit_client *c;
	const struct slice p = slice_str("t");
	const struct subscribe_request r = kit_request(1, &p, "g");
	struct answer why;

	kit_start(&k, FAKE);
	adapter_tell_down(&k.fake->a, "refused");
	k.fake->hold_live = true;
	c = kit_connect(&k, "c");
	ck_assert_int_eq(client_subscribe(c->c, &r, &why), 0);
	kit_turns(&k);
	ck_assert_uint_eq(c->n_subscribed, 0);
	ck_assert(kit_noted(c, SUB_DEGRADED, "refused"));
	adapter_tell_up(&k.fake->a);
	fake_live(k.fake, fake_flow(k.fake, "t"), true);
	kit_turns(&k);
	ck_assert_uint_eq(c->n_subscribed, 1);
	ck_assert(c->subscribed.position_existed);
	adapter_tell_down(&k.fake->a, "reset");
	kit_turns(&k);
	ck_assert(kit_noted(c, SUB_DEGRADED, "reset"));
	adapter_tell_up(&k.fake->a);
	kit_turns(&k);
	ck_assert_int_eq(c->notes[c->n_notes - 1].event, SUB_LIVE);
	kit_disconnect(c);
	kit_finish(&k);
}
END_TEST

START_TEST(a_refused_flow_undoes_the_subscription)
{
	struct kit k;
	struct kit_client *c;
	const struct slice p[] = {slice_str("a"), slice_str("b")};
	struct subscribe_request r = kit_request(1, p, "g");
	struct answer why;
	struct flow_note note = {
		.event = FLOW_REFUSED, .reason = REASON_DENIED, .why = "no permission"};

	kit_start(&k, FAKE);
	k.fake->hold_live = true;
	c = kit_connect(&k, "c");
	r.n_patterns = 2;
	ck_assert_int_eq(client_subscribe(c->c, &r, &why), 0);
	fake_live(k.fake, fake_flow(k.fake, "a"), false);
	kit_turns(&k);
	adapter_tell_flow(fake_flow(k.fake, "b"), &note);
	kit_turns(&k);
	ck_assert_uint_eq(c->n_refused, 1);
	ck_assert_int_eq(c->refusal.reason, REASON_DENIED);
	ck_assert_uint_eq(c->n_subscribed, 0);
	ck_assert_uint_eq(k.fake->n_flows, 0);
	k.fake->hold_live = false;
	kit_ask(c, &r); /* the number and the patterns are free again */
	kit_disconnect(c);
	kit_finish(&k);
}
END_TEST

START_TEST(standby_is_told_and_the_epoch_travels)
{
	struct kit k;
	struct kit_client *c;
	const struct slice p = slice_str("t");
	struct subscribe_request r = kit_request(1, &p, "g");
	struct answer why;
	struct flow_note note = {.event = FLOW_STANDBY};

	kit_start(&k, FAKE);
	k.fake->hold_live = true;
	c = kit_connect(&k, "c");
	r.has_order = true;
	r.order = ORDER_KEY;
	ck_assert_int_eq(client_subscribe(c->c, &r, &why), 0);
	adapter_tell_flow(fake_flow(k.fake, "t"), &note);
	kit_turns(&k);
	ck_assert_uint_eq(c->n_subscribed, 1);
	ck_assert_int_eq(c->notes[0].event, SUB_STANDBY);
	note.event = FLOW_LIVE;
	note.epoch = 7;
	adapter_tell_flow(fake_flow(k.fake, "t"), &note);
	kit_turns(&k);
	ck_assert_int_eq(c->notes[c->n_notes - 1].event, SUB_LIVE);
	ck_assert_uint_eq(c->notes[c->n_notes - 1].epoch, 7);
	kit_disconnect(c);
	kit_finish(&k);
}
END_TEST

START_TEST(revoked_tags_are_void_and_nothing_is_settled)
{
	struct kit k;
	struct kit_client *c;
	struct flow *flow;
	struct ranges stale;
	const struct settle ack = {.verdict = VERDICT_ACK};
	const struct slice p = slice_str("t");
	struct subscribe_request r = kit_request(1, &p, "g");

	kit_start(&k, FAKE "defaults: {retry: {initial_delay: 1h, max_delay: 1h}}\n");
	ranges_init(&stale);
	c = kit_connect(&k, "c");
	r.has_order = true;
	r.order = ORDER_KEY;
	kit_ask(c, &r);
	flow = fake_flow(k.fake, "t");
	k.fake->hold_publishes = true;
	for (int i = 0; i < 12; i++) {
		static const char *const keys[] = {"a", "a", "b", "c", "d", ""};

		fake_deliver(k.fake, flow, "t", keys[i % 6]);
	}
	kit_got(c, 6); /* a b c d, and the two without a key */
	kit_settle(c, 1, VERDICT_RETRY, "");
	kit_settle(c, 2, VERDICT_REJECT, "");
	kit_ack(c, 3);
	kit_turns(&k);
	ck_assert_uint_eq(k.fake->n_settled, 2); /* the ack and the record */
	kit_ack(c, 4);				 /* not told to the broker yet */
	adapter_tell_revoked(flow, NULL, 0);
	kit_turns(&k);
	ck_assert_uint_eq(k.fake->n_settled, 2);
	ck_assert(kit_noted(c, SUB_REVOKED, ""));
	ck_assert_int_eq(kit_total(&k, "held"), 0);
	client_settle(c->c, &(struct range){c->got[0].tag, c->got[0].tag}, 1, &ack, NULL, &stale);
	ck_assert_uint_eq(stale.n, 1);
	fake_answer(k.fake); /* of the dead letter, whose event is gone */
	fake_deliver(k.fake, flow, "t", "a");
	kit_take(c);
	kit_take(c);
	ck_assert_uint_ge(c->n_got, 7);
	ranges_finish(&stale);
	kit_disconnect(c);
	kit_finish(&k);
}
END_TEST

START_TEST(some_handles_revoked_leave_the_others)
{
	struct kit k;
	struct kit_client *c;
	struct flow *flow;
	void *handles[2];

	kit_start(&k, FAKE);
	c = kit_connect(&k, "c");
	kit_subscribe(c, 1, "t", "g");
	flow = fake_flow(k.fake, "t");
	for (int i = 0; i < 4; i++) {
		fake_deliver(k.fake, flow, "t", "");
	}
	kit_got(c, 4);
	handles[0] = (void *)(uintptr_t)3;
	handles[1] = (void *)(uintptr_t)1;
	adapter_tell_revoked(flow, handles, 2);
	kit_turns(&k);
	ck_assert_uint_eq(client_outstanding(c->c), 2);
	ck_assert_uint_eq(c->notes[c->n_notes - 1].revoked +
				  (c->n_notes > 1 ? c->notes[c->n_notes - 2].revoked : 0),
			  2);
	kit_ack(c, 1);
	kit_ack(c, 3);
	kit_turns(&k);
	ck_assert_uint_eq(k.fake->n_settled, 2);
	kit_disconnect(c);
	kit_finish(&k);
}
END_TEST

START_TEST(a_retry_waits_for_its_record)
{
	struct kit k;
	struct kit_client *c;

	kit_start(&k, FAKE "defaults: {retry: {initial_delay: 1ms}}\n");
	c = kit_connect(&k, "c");
	kit_subscribe(c, 1, "t", "g");
	k.fake->hold_records = true;
	fake_deliver(k.fake, fake_flow(k.fake, "t"), "t", "");
	kit_got(c, 1);
	kit_settle(c, 0, VERDICT_RETRY, "");
	for (uint64_t end = uv_now(&k.loop) + 30; uv_now(&k.loop) < end;) {
		uv_run(&k.loop, UV_RUN_NOWAIT);
		kit_take(c);
	}
	ck_assert_uint_eq(c->n_got, 1);
	ck_assert_uint_eq(fake_count(k.fake, 1, SETTLE_RETRY), 1);
	ck_assert_uint_eq(k.fake->settled[0].failures.count, 1);
	ck_assert_int_gt(k.fake->settled[0].failures.first_ms, 0);
	fake_tell_records(k.fake);
	kit_got(c, 2);
	ck_assert_uint_eq(c->got[1].attempt, 2);
	kit_disconnect(c);
	kit_finish(&k);
}
END_TEST

START_TEST(a_record_that_fails_delays_nothing)
{
	struct kit k;
	struct kit_client *c;

	kit_start(&k, FAKE "defaults: {retry: {initial_delay: 1ms}}\n");
	c = kit_connect(&k, "c");
	kit_subscribe(c, 1, "t", "g");
	k.fake->record_rc = EB_EIO;
	fake_deliver(k.fake, fake_flow(k.fake, "t"), "t", "");
	kit_got(c, 1);
	kit_settle(c, 0, VERDICT_RETRY, "");
	kit_got(c, 2);
	kit_disconnect(c);
	kit_finish(&k);
}
END_TEST

START_TEST(failures_recorded_at_the_broker_count)
{
	struct kit k;
	struct kit_client *c;

	kit_start(&k, FAKE);
	c = kit_connect(&k, "c");
	kit_subscribe(c, 1, "t", "g");
	fake_deliver_failed(k.fake, fake_flow(k.fake, "t"), "t", "", 3);
	kit_got(c, 1);
	ck_assert_uint_eq(c->got[0].attempt, 4);
	kit_settle(c, 0, VERDICT_RETRY, "last one");
	kit_turns(&k);
	ck_assert_uint_eq(k.fake->n_published, 1);
	ck_assert(slice_eq_str(k.fake->published[0]->topic, "dlq.g"));
	ck_assert(slice_eq_str(kit_metadata(k.fake->published[0], "dlq.attempt"), "4"));
	ck_assert(slice_eq_str(kit_metadata(k.fake->published[0], "dlq.first-failed-at"),
			       "1970-01-01T00:00:01.000Z"));
	ck_assert_uint_eq(fake_count(k.fake, 1, SETTLE_ACK), 1);
	kit_disconnect(c);
	kit_finish(&k);
}
END_TEST

START_TEST(a_dead_letter_that_is_refused_keeps_the_event)
{
	struct kit k;
	struct kit_client *c;

	kit_start(&k, FAKE);
	c = kit_connect(&k, "c");
	kit_subscribe(c, 1, "t", "g");
	answer_set(&k.fake->publish_answer, OUTCOME_PERMANENT, REASON_DENIED, "no");
	fake_deliver(k.fake, fake_flow(k.fake, "t"), "t", "");
	fake_deliver(k.fake, fake_flow(k.fake, "t"), "t", "");
	kit_got(c, 2);
	kit_settle(c, 0, VERDICT_REJECT, "bad");
	kit_turns(&k);
	ck_assert(kit_noted(c, SUB_DEGRADED, "dlq: no"));
	ck_assert_uint_eq(k.fake->n_settled, 0);
	kit_ack(c, 1); /* the others go on */
	kit_turns(&k);
	ck_assert_uint_eq(k.fake->n_settled, 1);
	k.fake->publish_answer = (struct answer){0};
	kit_until(&k, k.fake->n_settled == 2);
	ck_assert_uint_eq(fake_count(k.fake, 1, SETTLE_ACK), 1);
	ck_assert_uint_eq(k.fake->n_published, 2);
	ck_assert(slice_eq(k.fake->published[0]->id, k.fake->published[1]->id));
	kit_turns(&k);
	ck_assert_int_eq(c->notes[c->n_notes - 1].event, SUB_LIVE);
	kit_disconnect(c);
	kit_finish(&k);
}
END_TEST

START_TEST(a_dead_letter_too_large_loses_its_metadata)
{
	struct kit k;
	struct kit_client *c;

	kit_start(&k, FAKE);
	c = kit_connect(&k, "c");
	kit_subscribe(c, 1, "t", "g");
	answer_set(&k.fake->publish_answer, OUTCOME_PERMANENT, REASON_TOO_LARGE, "too large");
	fake_deliver(k.fake, fake_flow(k.fake, "t"), "t", "");
	kit_got(c, 1);
	k.fake->hold_publishes = true;
	kit_settle(c, 0, VERDICT_REJECT, "bad");
	kit_turns(&k);
	fake_answer(k.fake);
	ck_assert_uint_eq(k.fake->n_published, 2);
	ck_assert(slice_eq_str(kit_metadata(k.fake->published[1], "dlq.truncated"), "true"));
	k.fake->publish_answer = (struct answer){0};
	fake_answer(k.fake);
	kit_turns(&k);
	ck_assert_uint_eq(fake_count(k.fake, 1, SETTLE_ACK), 1);
	kit_disconnect(c);
	kit_finish(&k);
}
END_TEST

START_TEST(an_event_on_its_dead_letter_topic_is_not_dead_lettered_again)
{
	struct kit k;
	struct kit_client *c;

	kit_start(&k, FAKE "defaults: {retry: {max_delay: 2ms, initial_delay: 1ms}}\n");
	c = kit_connect(&k, "c");
	kit_subscribe(c, 1, "dlq.g", "g");
	fake_deliver(k.fake, fake_flow(k.fake, "dlq.g"), "dlq.g", "");
	for (uint32_t i = 0; i < 6; i++) {
		kit_got(c, i + 1);
		kit_settle(c, i, i % 2 ? VERDICT_REJECT : VERDICT_RETRY, "");
	}
	kit_got(c, 7);
	ck_assert_uint_eq(k.fake->n_published, 0);
	kit_disconnect(c);
	kit_finish(&k);
}
END_TEST

START_TEST(without_dead_letters_an_exhausted_event_is_kept_or_dropped)
{
	struct kit k;
	struct kit_client *c;

	kit_start(&k, FAKE "defaults: {dlq: off, retry: {max_delay: 2ms, initial_delay: 1ms, "
			   "max_retries: 0}}\n"
			   "topics: [{match: drop, on_exhausted: drop}]\n");
	c = kit_connect(&k, "c");
	kit_subscribe(c, 1, "keep", "g");
	kit_subscribe(c, 2, "drop", "g");
	fake_deliver(k.fake, fake_flow(k.fake, "keep"), "keep", "");
	kit_got(c, 1);
	kit_settle(c, 0, VERDICT_RETRY, "");
	kit_got(c, 2);
	fake_deliver(k.fake, fake_flow(k.fake, "drop"), "drop", "");
	kit_got(c, 3);
	kit_settle(c, 2, VERDICT_RETRY, "");
	kit_turns(&k);
	ck_assert_uint_eq(fake_count(k.fake, 2, SETTLE_ACK), 1);
	ck_assert_int_eq(kit_total(&k, "dropped"), 1);
	kit_disconnect(c);
	kit_finish(&k);
}
END_TEST

START_TEST(lost_and_gap_are_told)
{
	struct kit k;
	struct kit_client *c;
	struct flow_note note = {.event = FLOW_LOST, .lost = 5, .why = "retention"};

	kit_start(&k, FAKE);
	c = kit_connect(&k, "c");
	kit_subscribe(c, 1, "t", "g");
	adapter_tell_flow(fake_flow(k.fake, "t"), &note);
	ck_assert_int_eq(c->notes[0].event, SUB_LOST);
	ck_assert_uint_eq(c->notes[0].lost, 5);
	note = (struct flow_note){.event = FLOW_GAP, .why = "reconnected"};
	adapter_tell_flow(fake_flow(k.fake, "t"), &note);
	ck_assert_int_eq(c->notes[1].event, SUB_GAP);
	note = (struct flow_note){.event = FLOW_DEGRADED, .why = "stream is gone"};
	adapter_tell_flow(fake_flow(k.fake, "t"), &note);
	kit_turns(&k);
	ck_assert(kit_noted(c, SUB_DEGRADED, "stream is gone"));
	ck_assert_int_eq(kit_total(&k, "lost"), 5);
	kit_disconnect(c);
	kit_finish(&k);
}
END_TEST

START_TEST(hidden_superseded_and_foreign_events)
{
	struct kit k;
	struct kit_client *c;
	struct flow *all;
	const struct slice p[] = {slice_str(">"), slice_str("a.b")};
	struct subscribe_request r = kit_request(1, p, "g");

	kit_start(&k, FAKE);
	c = kit_connect(&k, "c");
	r.n_patterns = 2;
	kit_ask(c, &r);
	all = fake_flow(k.fake, ">");
	fake_deliver(k.fake, all, "dlq.g", "");			     /* 1: not spelled */
	fake_deliver(k.fake, all, "a.b", "");			     /* 2: a copy elsewhere */
	fake_deliver(k.fake, fake_flow(k.fake, "a.b"), "a.b", "");   /* 3: that copy */
	fake_deliver(k.fake, fake_flow(k.fake, "a.b"), "other", ""); /* 4: foreign */
	fake_deliver(k.fake, all, "not legal!", "");		     /* 5: foreign */
	kit_turns(&k);
	kit_got(c, 1);
	ck_assert_uint_eq(fake_count(k.fake, 1, SETTLE_ACK), 1);
	ck_assert_uint_eq(fake_count(k.fake, 2, SETTLE_ACK), 1);
	ck_assert_uint_eq(fake_count(k.fake, 4, SETTLE_ACK), 0);
	ck_assert_uint_eq(fake_count(k.fake, 5, SETTLE_ACK), 0);
	ck_assert_int_eq(kit_total(&k, "unmatched"), 2);
	ck_assert_int_eq(kit_total(&k, "held"), 3);
	kit_disconnect(c);
	kit_turns(&k);
	ck_assert_uint_eq(fake_count(k.fake, 4, SETTLE_RELEASE), 1);
	kit_finish(&k);
}
END_TEST

START_TEST(foreign_events_are_dead_lettered_when_the_file_says_so)
{
	struct kit k;
	struct kit_client *c;

	kit_start(&k, FAKE "defaults: {unmatched: dead_letter}\n");
	c = kit_connect(&k, "c");
	kit_subscribe(c, 1, "t", "g");
	fake_deliver(k.fake, fake_flow(k.fake, "t"), "other", "");
	kit_turns(&k);
	ck_assert_uint_eq(k.fake->n_published, 1);
	ck_assert(slice_eq_str(kit_metadata(k.fake->published[0], "dlq.reason"), "unmatched"));
	ck_assert_uint_eq(fake_count(k.fake, 1, SETTLE_ACK), 1);
	kit_disconnect(c);
	kit_finish(&k);
}
END_TEST

START_TEST(the_retry_window_stops_fetching_and_parks_where_the_broker_can)
{
	struct kit k;
	struct kit_client *c;

	kit_start(&k,
		  FAKE "defaults: {retry: {initial_delay: 60ms, jitter: 0, window_events: 2}}\n");
	c = kit_connect(&k, "c");
	kit_subscribe(c, 1, "t", "g");
	kit_turns(&k);
	ck_assert_uint_eq(fake_credit(k.fake, "t").events, 256);
	for (int i = 0; i < 3; i++) {
		fake_deliver(k.fake, fake_flow(k.fake, "t"), "t", "");
	}
	kit_got(c, 3);
	kit_turns(&k);
	ck_assert_uint_eq(fake_credit(k.fake, "t").events, 253);
	kit_settle(c, 0, VERDICT_RETRY, "");
	kit_settle(c, 1, VERDICT_RETRY, "");
	kit_turns(&k);
	ck_assert_uint_eq(fake_credit(k.fake, "t").events, 0);
	ck_assert(kit_noted(c, SUB_DEGRADED, "retry window full"));
	k.fake->a.caps.park = true;
	kit_settle(c, 2, VERDICT_RETRY, "");
	kit_turns(&k);
	ck_assert_uint_eq(fake_count(k.fake, 3, SETTLE_PARK), 1);
	ck_assert_int_eq(k.fake->settled[k.fake->n_settled - 1].delay_ms, 60);
	k.fake->a.caps.park = false;
	kit_got(c, 5); /* the two come back, and there is room */
	kit_turns(&k);
	ck_assert_uint_eq(fake_credit(k.fake, "t").events, 254);
	ck_assert_int_eq(c->notes[c->n_notes - 1].event, SUB_LIVE);
	kit_disconnect(c);
	kit_finish(&k);
}
END_TEST

int main(void)
{
	const TTest *tests[] = {
		subscribed_waits_for_the_flow_and_a_broker_that_is_away_is_told,
		a_refused_flow_undoes_the_subscription,
		standby_is_told_and_the_epoch_travels,
		revoked_tags_are_void_and_nothing_is_settled,
		some_handles_revoked_leave_the_others,
		a_retry_waits_for_its_record,
		a_record_that_fails_delays_nothing,
		failures_recorded_at_the_broker_count,
		a_dead_letter_that_is_refused_keeps_the_event,
		a_dead_letter_too_large_loses_its_metadata,
		an_event_on_its_dead_letter_topic_is_not_dead_lettered_again,
		without_dead_letters_an_exhausted_event_is_kept_or_dropped,
		lost_and_gap_are_told,
		hidden_superseded_and_foreign_events,
		foreign_events_are_dead_lettered_when_the_file_says_so,
		the_retry_window_stops_fetching_and_parks_where_the_broker_can,
	};

	return suite_run("bus_broker", tests, sizeof(tests) / sizeof(tests[0]));
}
