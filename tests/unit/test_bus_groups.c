/* SPDX-License-Identifier: Apache-2.0 */
/* Groups: order, conflicts, release. Over the fake adapter. */
#include "support_bus.h"

#define FAKE "broker: {fake: {}}\n"

static void ordered(struct kit_client *c, enum order order)
{
	const struct slice p = slice_str("t.>");
	struct subscribe_request r = kit_request(1, &p, "g");

	r.has_order = true;
	r.order = order;
	kit_ask(c, &r);
}

START_TEST(one_event_of_a_key_at_a_time)
{
	struct kit k;
	struct kit_client *a, *b;
	struct flow *flow;

	kit_start(&k, FAKE "defaults: {retry: {initial_delay: 20ms, jitter: 0}}\n");
	a = kit_connect(&k, "a");
	b = kit_connect(&k, "b");
	ordered(a, ORDER_KEY);
	ordered(b, ORDER_KEY);
	flow = fake_flow(k.fake, "t.>");
	ck_assert_uint_eq(k.fake->n_flows, 1);
	fake_deliver(k.fake, flow, "t.1", "x"); /* 1 */
	fake_deliver(k.fake, flow, "t.2", "x"); /* 2 */
	fake_deliver(k.fake, flow, "t.1", "x"); /* 3 */
	fake_deliver(k.fake, flow, "t.1", "y"); /* 4 */
	fake_deliver(k.fake, flow, "t.1", "");	/* 5 */
	fake_deliver(k.fake, flow, "t.1", "");	/* 6 */
	kit_turns(&k);
	kit_take(a);
	kit_take(b);
	ck_assert_uint_eq(a->n_got + b->n_got, 4); /* 1, 4, 5, 6 */
	ck_assert_str_eq(a->got[0].id, "id-1");
	kit_settle(a, 0, VERDICT_RETRY, ""); /* x waits; y goes on */
	fake_deliver(k.fake, flow, "t.1", "y");
	for (uint32_t i = 0; i < b->n_got; i++) {
		kit_ack(b, i);
	}
	for (uint32_t i = 1; i < a->n_got; i++) {
		kit_ack(a, i);
	}
	kit_turns(&k);
	kit_take(a);
	kit_take(b);
	ck_assert_uint_eq(a->n_got + b->n_got, 5);
	client_pause(b->c, 1, true);
	client_pause(a->c, 1, false);
	const uint32_t n = a->n_got;
	kit_got(a, n + 1);
	ck_assert_str_eq(a->got[n].id, "id-1"); /* before 2 and 3 */
	ck_assert_uint_eq(a->got[n].attempt, 2);
	kit_ack(a, n);
	kit_got(a, n + 2);
	ck_assert_str_eq(a->got[n + 1].id, "id-2");
	kit_settle(a, n + 1, VERDICT_DROP, "");
	kit_got(a, n + 3);
	ck_assert_str_eq(a->got[n + 2].id, "id-3");
	kit_disconnect(a);
	kit_disconnect(b);
	kit_finish(&k);
}
END_TEST

START_TEST(order_by_topic_and_a_dead_letter_opens_it)
{
	struct kit k;
	struct kit_client *c;
	struct flow *flow;

	kit_start(&k, FAKE);
	c = kit_connect(&k, "c");
	ordered(c, ORDER_TOPIC);
	flow = fake_flow(k.fake, "t.>");
	fake_deliver(k.fake, flow, "t.1", "x");
	fake_deliver(k.fake, flow, "t.1", "y");
	fake_deliver(k.fake, flow, "t.2", "");
	kit_got(c, 2);
	ck_assert_str_eq(c->got[1].id, "id-3");
	k.fake->hold_publishes = true;
	kit_settle(c, 0, VERDICT_REJECT, "");
	kit_turns(&k);
	kit_got(c, 2); /* not before the dead letter is there */
	fake_answer(k.fake);
	kit_got(c, 3);
	ck_assert_str_eq(c->got[2].id, "id-2");
	kit_disconnect(c);
	kit_finish(&k);
}
END_TEST

START_TEST(a_hot_key_does_not_stop_the_others)
{
	struct kit k;
	struct kit_client *c;
	struct flow *flow;

	kit_start(&k, FAKE "defaults: {retry: {window_events: 1000}}\n");
	c = kit_connect(&k, "c");
	ordered(c, ORDER_KEY);
	flow = fake_flow(k.fake, "t.>");
	for (int i = 0; i < 600; i++) {
		fake_deliver(k.fake, flow, "t.1", "hot");
	}
	kit_got(c, 1);
	kit_turns(&k);
	ck_assert_uint_ge(fake_credit(k.fake, "t.>").events, 100);
	fake_deliver(k.fake, flow, "t.1", "cold");
	kit_got(c, 2);
	for (int i = 0; i < 401; i++) {
		fake_deliver(k.fake, flow, "t.1", "hot");
	}
	kit_turns(&k);
	ck_assert_uint_eq(fake_credit(k.fake, "t.>").events, 0); /* and it is bounded */
	kit_disconnect(c);
	kit_finish(&k);
}
END_TEST

static void refused(struct kit_client *c, const struct subscribe_request *r, enum reason reason,
		    const char *text)
{
	struct answer why = {0};

	ck_assert_int_lt(client_subscribe(c->c, r, &why), 0);
	ck_assert_msg(why.reason == reason, "%s: %s", reason_name(why.reason), why.text);
	ck_assert_msg(strstr(why.text, text), "%s", why.text);
}

START_TEST(conflicts_are_refused_naming_what_is_in_force)
{
	struct kit k;
	struct kit_client *a, *b;
	const struct slice p[] = {slice_str("t.1"), slice_str("t.>")};
	struct subscribe_request r;

	kit_start(&k, FAKE);
	a = kit_connect(&k, "a");
	b = kit_connect(&k, "b");
	ordered(a, ORDER_KEY);
	r = kit_request(1, &p[1], "g");
	r.has_order = true;
	r.order = ORDER_NONE;
	refused(b, &r, REASON_CONFLICT, "order key is in force");
	r.order = ORDER_TOPIC;
	refused(b, &r, REASON_CONFLICT, "order key is in force");
	r.order = ORDER_KEY;
	r.patterns = p; /* t.1 lies within t.> */
	refused(b, &r, REASON_CONFLICT, "overlaps t.>");
	r.n_patterns = 2;
	refused(b, &r, REASON_CONFLICT, "overlaps t.>");
	r = kit_request(1, p, "other");
	kit_ask(b, &r);
	r = kit_request(2, &p[1], "g"); /* does not say: takes what is in force */
	kit_ask(b, &r);
	ck_assert_int_eq(b->subscribed.order, ORDER_KEY);
	kit_disconnect(a);
	kit_disconnect(b);
	kit_finish(&k);
}
END_TEST

START_TEST(a_file_that_says_another_order_is_a_conflict)
{
	struct kit k;
	struct kit_client *a, *b;
	const struct slice p = slice_str("t");
	struct subscribe_request r = kit_request(1, &p, "g");

	kit_start(&k, FAKE "topics: [{match: t, order: topic}]\n");
	a = kit_connect(&k, "a");
	b = kit_connect(&k, "b");
	r.has_order = true;
	r.order = ORDER_NONE;
	kit_ask(a, &r);
	r.has_order = false;
	refused(b, &r, REASON_CONFLICT, "order none is in force");
	kit_disconnect(a);
	kit_disconnect(b);
	kit_finish(&k);
}
END_TEST

START_TEST(subscriptions_with_the_same_overlapping_patterns_share)
{
	struct kit k;
	struct kit_client *a, *b;
	const struct slice p[] = {slice_str("t.1"), slice_str("t.>")};
	struct subscribe_request r = kit_request(1, p, "g");

	kit_start(&k, FAKE);
	a = kit_connect(&k, "a");
	b = kit_connect(&k, "b");
	r.n_patterns = 2;
	kit_ask(a, &r);
	kit_ask(b, &r);
	ck_assert_uint_eq(k.fake->n_flows, 2);
	r.n_patterns = 1;
	r.subscription = 2;
	refused(b, &r, REASON_CONFLICT, "overlaps");
	kit_disconnect(a);
	kit_disconnect(b);
	kit_finish(&k);
}
END_TEST

START_TEST(bad_requests_are_refused)
{
	struct kit k;
	struct kit_client *c;
	const struct slice p[] = {slice_str("t"), slice_str("t"), slice_str("a..b")};
	struct subscribe_request r = kit_request(0, p, "g");

	kit_start(&k, FAKE "topics: [{match: bad, dlq: {topic: forbidden}}]\n"
			   "limits: {subscriptions: 2}\n");
	c = kit_connect(&k, "c");
	refused(c, &r, REASON_INVALID, "subscription");
	r.subscription = 1;
	r.n_patterns = 0;
	refused(c, &r, REASON_INVALID, "no pattern");
	r.n_patterns = 2;
	refused(c, &r, REASON_INVALID, "the same as");
	r.patterns = p + 2;
	r.n_patterns = 1;
	refused(c, &r, REASON_INVALID, "patterns[0]");
	r.patterns = p;
	r.group = slice_str("g g");
	refused(c, &r, REASON_INVALID, "group");
	r.group = slice_str("g");
	r.has_start = true;
	r.start = START_TIME;
	refused(c, &r, REASON_NOT_SUPPORTED, "start by time");
	r.start = START_POSITION;
	r.start_position = slice_str("kafka:9");
	refused(c, &r, REASON_INVALID, "start.position");
	r.has_start = false;
	r.max_events = 2000000000;
	refused(c, &r, REASON_INVALID, "limits");
	r.max_events = 0;
	r.patterns = (struct slice[]){slice_str("bad")};
	refused(c, &r, REASON_UNROUTABLE, "dead letter topic forbidden");
	r.patterns = p;
	kit_ask(c, &r);
	refused(c, &r, REASON_INVALID, "in use");
	r.subscription = 2;
	kit_ask(c, &r);
	r.subscription = 3;
	refused(c, &r, REASON_OVERLOADED, "2 subscriptions");
	bus_drain(k.bus);
	refused(c, &r, REASON_DRAINING, "");
	kit_disconnect(c);
	kit_finish(&k);
}
END_TEST

START_TEST(released_goes_to_another_member_first)
{
	struct kit k;
	struct kit_client *a, *b;

	kit_start(&k, FAKE);
	a = kit_connect(&k, "a");
	b = kit_connect(&k, "b");
	kit_subscribe(a, 1, "t", "g");
	kit_subscribe(b, 1, "t", "g");
	fake_deliver(k.fake, fake_flow(k.fake, "t"), "t", "");
	kit_got(a, 1);
	kit_settle(a, 0, VERDICT_RELEASE, "");
	kit_got(b, 1);
	ck_assert_uint_eq(b->got[0].attempt, 1);
	ck_assert_uint_eq(k.fake->n_settled, 0);
	kit_disconnect(a);
	kit_disconnect(b);
	kit_finish(&k);
}
END_TEST

START_TEST(released_by_everyone_does_not_spin)
{
	struct kit k;
	struct kit_client *a, *b;
	uint64_t end;

	kit_start(&k, FAKE);
	a = kit_connect(&k, "a");
	b = kit_connect(&k, "b");
	kit_subscribe(a, 1, "t", "g");
	kit_subscribe(b, 1, "t", "g");
	fake_deliver(k.fake, fake_flow(k.fake, "t"), "t", "");
	end = uv_now(&k.loop) + 250;
	for (uint32_t na = 0, nb = 0; uv_now(&k.loop) < end;) {
		uv_run(&k.loop, UV_RUN_ONCE);
		kit_take(a);
		kit_take(b);
		for (; na < a->n_got; na++) {
			kit_settle(a, na, VERDICT_RELEASE, "");
		}
		for (; nb < b->n_got; nb++) {
			kit_settle(b, nb, VERDICT_RELEASE, "");
		}
	}
	ck_assert_uint_ge(a->n_got + b->n_got, 3); /* both, and one more after 100 ms */
	ck_assert_uint_le(a->n_got + b->n_got, 6);
	ck_assert_uint_eq(k.fake->n_settled, 0);
	kit_disconnect(a);
	kit_disconnect(b);
	kit_finish(&k);
}
END_TEST

int main(void)
{
	const TTest *tests[] = {
		one_event_of_a_key_at_a_time,
		order_by_topic_and_a_dead_letter_opens_it,
		a_hot_key_does_not_stop_the_others,
		conflicts_are_refused_naming_what_is_in_force,
		a_file_that_says_another_order_is_a_conflict,
		subscriptions_with_the_same_overlapping_patterns_share,
		bad_requests_are_refused,
		released_goes_to_another_member_first,
		released_by_everyone_does_not_spin,
	};

	return suite_run("bus_groups", tests, sizeof(tests) / sizeof(tests[0]));
}
