/* SPDX-License-Identifier: Apache-2.0 */
/* Leaving, draining, reloading, status, credit. Over the fake adapter. */
#include "support_bus.h"

#define FAKE "broker: {fake: {}}\n"

static void on_old_free(void *ctx)
{
	*(bool *)ctx = true;
}

START_TEST(the_last_member_gives_everything_back)
{
	struct kit k;
	struct kit_client *c;
	struct flow *flow;

	kit_start(&k, FAKE "defaults: {retry: {initial_delay: 1h, max_delay: 1h}}\n");
	c = kit_connect(&k, "c");
	const struct slice p = slice_str("t");
	struct subscribe_request r = kit_request(1, &p, "g");

	r.concurrency = 1;
	kit_ask(c, &r);
	flow = fake_flow(k.fake, "t");
	for (int i = 0; i < 5; i++) {
		fake_deliver(k.fake, flow, "t", "");
	}
	kit_got(c, 5);
	kit_settle(c, 0, VERDICT_RETRY, "");
	kit_turns(&k);
	fake_deliver(k.fake, flow, "t", ""); /* 6: queued */
	k.fake->hold_records = true;
	kit_disconnect(c);
	kit_turns(&k);
	ck_assert_uint_eq(fake_count(k.fake, 1, SETTLE_RELEASE), 1); /* its record was there */
	ck_assert_uint_eq(fake_count(k.fake, 2, SETTLE_RETRY), 1);   /* worked on */
	ck_assert_uint_eq(fake_count(k.fake, 2, SETTLE_RELEASE), 0);
	for (uint64_t h = 3; h <= 6; h++) {
		ck_assert_uint_eq(fake_count(k.fake, h, SETTLE_RELEASE), 1);
		ck_assert_uint_eq(fake_count(k.fake, h, SETTLE_RETRY), 0);
	}
	ck_assert_uint_eq(k.fake->n_flows, 1); /* waits for the record */
	fake_tell_records(k.fake);
	kit_turns(&k);
	ck_assert_uint_eq(fake_count(k.fake, 2, SETTLE_RELEASE), 1);
	ck_assert_uint_eq(k.fake->n_flows, 0);
	kit_finish(&k);
}
END_TEST

START_TEST(joining_a_flow_that_leaves_subscribes_it_again)
{
	struct kit k;
	struct kit_client *a, *b;
	struct answer why;
	const struct slice p = slice_str("t");
	const struct subscribe_request r = kit_request(1, &p, "g");

	kit_start(&k, FAKE);
	a = kit_connect(&k, "a");
	b = kit_connect(&k, "b");
	kit_ask(a, &r);
	ck_assert_int_eq(client_unsubscribe(a->c, 1), 0);
	while (k.fake->n_flows > 0) { /* unsubscribed, and not gone yet */
		uv_run(&k.loop, UV_RUN_NOWAIT);
	}
	ck_assert_int_eq(client_subscribe(b->c, &r, &why), 0);
	kit_until(&k, b->n_subscribed == 1);
	ck_assert_uint_eq(k.fake->subscribes, 2);
	ck_assert_uint_eq(a->n_unsubscribed, 1);
	kit_disconnect(a);
	kit_disconnect(b);
	kit_finish(&k);
}
END_TEST

START_TEST(drain_returns_what_nobody_works_on_and_waits_for_the_rest)
{
	struct kit k;
	struct kit_client *c;
	struct flow *flow;
	struct drain_report report;

	kit_start(&k, FAKE "defaults: {retry: {initial_delay: 1h, max_delay: 1h}}\n");
	c = kit_connect(&k, "c");
	kit_subscribe(c, 1, "t", "g");
	flow = fake_flow(k.fake, "t");
	for (int i = 0; i < 5; i++) {
		fake_deliver(k.fake, flow, "t", "");
	}
	kit_got(c, 5);
	kit_settle(c, 0, VERDICT_RETRY, ""); /* 1 waits */
	fake_deliver(k.fake, flow, "t", ""); /* 6: queued, not taken */
	kit_turns(&k);
	bus_drain(k.bus);
	ck_assert_uint_eq(fake_credit(k.fake, "t").events, 0); /* before anything goes back */
	ck_assert_uint_eq(fake_count(k.fake, 1, SETTLE_RELEASE), 0);
	kit_turns(&k);
	ck_assert_uint_eq(fake_count(k.fake, 1, SETTLE_RELEASE), 1);
	ck_assert_uint_eq(fake_count(k.fake, 6, SETTLE_RELEASE), 1);
	ck_assert_uint_eq(fake_credit(k.fake, "t").events, 0);
	ck_assert(!k.drained);
	kit_ack(c, 1);
	kit_settle(c, 2, VERDICT_RETRY, ""); /* recorded, then given back */
	kit_settle(c, 3, VERDICT_REJECT, "");
	kit_publish(&k, "from.the.handler", "", "");
	k.fake->hold_publishes = true;
	kit_turns(&k);
	kit_settle(c, 4, VERDICT_RELEASE, "");
	kit_turns(&k);
	ck_assert(!k.drained); /* publishes are not answered */
	fake_answer(k.fake);
	kit_until(&k, k.drained);
	ck_assert_uint_eq(fake_count(k.fake, 3, SETTLE_RETRY), 1);
	ck_assert_uint_eq(fake_count(k.fake, 3, SETTLE_RELEASE), 1);
	ck_assert_uint_eq(fake_count(k.fake, 4, SETTLE_ACK), 1);
	ck_assert_uint_eq(fake_count(k.fake, 5, SETTLE_RELEASE), 1);
	bus_drain_report(k.bus, &report);
	ck_assert_uint_eq(report.drained, 4);
	ck_assert_uint_eq(report.returned, 4);
	kit_disconnect(c);
	kit_finish(&k);
}
END_TEST

START_TEST(a_deadline_releases_what_is_unsettled_without_counting)
{
	struct kit k;
	struct kit_client *c;

	kit_start(&k, FAKE);
	c = kit_connect(&k, "c");
	kit_subscribe(c, 1, "t", "g");
	fake_deliver(k.fake, fake_flow(k.fake, "t"), "t", "");
	kit_got(c, 1);
	bus_drain(k.bus);
	kit_turns(&k);
	bus_stop(k.bus, false);
	ck_assert_uint_eq(fake_count(k.fake, 1, SETTLE_RELEASE), 1);
	ck_assert_uint_eq(fake_count(k.fake, 1, SETTLE_RETRY), 0);
	kit_disconnect(c);
	kit_finish(&k);
}
END_TEST

START_TEST(a_reload_changes_later_deliveries_and_frees_the_old_file_when_it_is_unused)
{
	struct kit k;
	struct kit_client *c;
	struct config *second, *third;
	bool first_freed = false, second_freed = false;
	struct flow *flow;

	kit_start(&k, FAKE "defaults: {retry: {max_retries: 5}}\n");
	second = kit_config(FAKE "defaults: {retry: {max_retries: 0}}\n");
	third = kit_config(FAKE "defaults: {retry: {max_retries: 4}}\n");
	c = kit_connect(&k, "c");
	kit_subscribe(c, 1, "t", "g");
	flow = fake_flow(k.fake, "t");
	bus_reload(k.bus, second, on_old_free, &first_freed);
	fake_deliver(k.fake, flow, "t", "");
	kit_got(c, 1);
	bus_reload(k.bus, third, on_old_free, &second_freed);
	kit_turns(&k);
	ck_assert(!second_freed); /* the delivery is out under it */
	kit_settle(c, 0, VERDICT_RETRY, "");
	ck_assert_uint_eq(k.fake->n_published, 1); /* no retry: the second file's */
	kit_turns(&k);
	ck_assert(second_freed);
	ck_assert(!first_freed); /* the adapter's options are in it */
	fake_deliver(k.fake, flow, "t", "");
	kit_got(c, 2);
	kit_settle(c, 1, VERDICT_RETRY, "");
	kit_turns(&k);
	ck_assert_uint_eq(k.fake->n_published, 1);
	kit_disconnect(c);
	kit_finish(&k);
	ck_assert(first_freed);
	config_free(second);
	config_free(third);
}
END_TEST

START_TEST(status_and_explain_say_what_is)
{
	struct kit k;
	struct kit_client *c;
	json_t *s, *group, *flow;

	kit_start(&k, FAKE "defaults: {retry: {max_retries: 7}}\n");
	c = kit_connect(&k, "c");
	kit_subscribe(c, 1, "t", "g");
	fake_deliver(k.fake, fake_flow(k.fake, "t"), "t", "");
	kit_got(c, 1);
	s = bus_status(k.bus);
	ck_assert_uint_eq(json_array_size(json_object_get(s, "brokers")), 1);
	group = json_array_get(json_object_get(s, "groups"), 0);
	ck_assert_str_eq(json_string_value(json_object_get(group, "name")), "g");
	flow = json_array_get(json_object_get(group, "flows"), 0);
	ck_assert_str_eq(json_string_value(json_object_get(flow, "state")), "live");
	ck_assert_int_eq(json_integer_value(json_object_get(flow, "in_flight")), 1);
	ck_assert_int_eq(json_integer_value(json_object_get(flow, "members")), 1);
	json_decref(s);
	s = client_status(c->c);
	ck_assert_int_eq(json_integer_value(json_object_get(s, "outstanding")), 1);
	json_decref(s);
	s = bus_explain(k.bus, "t", "g");
	ck_assert_str_eq(json_string_value(json_object_get(s, "dlq_topic")), "dlq.g");
	flow = json_array_get(json_object_get(s, "values"), POLICY_MAX_RETRIES);
	ck_assert_str_eq(json_string_value(json_object_get(flow, "name")), "retry.max_retries");
	ck_assert_int_eq(json_integer_value(json_object_get(flow, "value")), 7);
	ck_assert_int_eq(json_integer_value(json_object_get(flow, "line")), 2);
	json_decref(s);
	kit_disconnect(c);
	kit_finish(&k);
}
END_TEST

START_TEST(credit_follows_windows_pauses_and_memory)
{
	struct kit k;
	struct kit_client *a, *b;
	const struct slice p = slice_str("t");
	struct subscribe_request r = kit_request(1, &p, "g");
	const size_t held = (size_t)255 << 20;

	kit_start(&k, FAKE);
	a = kit_connect(&k, "a");
	b = kit_connect(&k, "b");
	r.max_events = 10;
	kit_ask(a, &r);
	kit_ask(b, &r);
	kit_turns(&k);
	ck_assert_uint_eq(fake_credit(k.fake, "t").events, 20);
	client_pause(a->c, 1, true);
	kit_turns(&k);
	ck_assert_uint_eq(fake_credit(k.fake, "t").events, 10);
	for (int i = 0; i < 4; i++) {
		fake_deliver(k.fake, fake_flow(k.fake, "t"), "t", "");
	}
	kit_got(b, 4);
	kit_turns(&k);
	ck_assert_uint_eq(fake_credit(k.fake, "t").events, 6);
	client_pause(a->c, 1, false);
	kit_turns(&k);
	ck_assert_uint_eq(fake_credit(k.fake, "t").events, 16);
	budget_charge(&k.budget, held);
	kit_ack(b, 0);
	kit_turns(&k);
	ck_assert_uint_eq(fake_credit(k.fake, "t").events, 13); /* a trickle: 16 held at most */
	ck_assert_uint_le(fake_credit(k.fake, "t").bytes, 65536);
	budget_release(&k.budget, held);
	kit_until(&k, fake_credit(k.fake, "t").events == 17);
	kit_disconnect(a);
	kit_disconnect(b);
	kit_finish(&k);
}
END_TEST

int main(void)
{
	const TTest *tests[] = {
		the_last_member_gives_everything_back,
		joining_a_flow_that_leaves_subscribes_it_again,
		drain_returns_what_nobody_works_on_and_waits_for_the_rest,
		a_deadline_releases_what_is_unsettled_without_counting,
		a_reload_changes_later_deliveries_and_frees_the_old_file_when_it_is_unused,
		status_and_explain_say_what_is,
		credit_follows_windows_pauses_and_memory,
	};

	return suite_run("bus_life", tests, sizeof(tests) / sizeof(tests[0]));
}
