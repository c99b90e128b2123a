/* SPDX-License-Identifier: Apache-2.0 */
/* The bus over the memory adapter: publish, deliver, settle, groups, windows, stop. */
#include "support_bus.h"

#define MEMORY "broker: {memory: {}}\n"

START_TEST(an_event_is_delivered_and_acknowledged)
{
	struct kit k;
	struct kit_client *c;

	kit_start(&k, MEMORY);
	c = kit_connect(&k, "c");
	kit_subscribe(c, 1, "orders.*", "g");
	ck_assert(!c->subscribed.position_existed);
	kit_publish(&k, "orders.new", "", "a");
	kit_got(c, 1);
	ck_assert_str_eq(c->got[0].id, "a");
	ck_assert_uint_eq(c->got[0].attempt, 1);
	ck_assert_uint_ge(c->got[0].tag, 1);
	ck_assert_uint_lt(c->got[0].tag, 1ULL << 32);
	ck_assert_uint_eq(client_outstanding(c->c), 1);
	kit_ack(c, 0);
	kit_turns(&k);
	ck_assert_uint_eq(client_outstanding(c->c), 0);
	ck_assert_int_eq(kit_total(&k, "acked"), 1);
	ck_assert_int_eq(kit_total(&k, "held"), 0);
	ck_assert_uint_eq(k.told, 1);
	kit_disconnect(c);
	kit_finish(&k);
}
END_TEST

START_TEST(members_of_a_group_share_and_a_group_of_another_name_has_its_own)
{
	struct kit k;
	struct kit_client *a, *b, *other;

	kit_start(&k, MEMORY);
	a = kit_connect(&k, "a");
	b = kit_connect(&k, "b");
	other = kit_connect(&k, "other");
	kit_subscribe(a, 1, "t", "g");
	kit_subscribe(b, 1, "t", "g");
	kit_subscribe(other, 1, "t", "h");
	for (int i = 0; i < 10; i++) {
		kit_publish(&k, "t", "", "");
	}
	kit_got(other, 10);
	kit_take(a);
	kit_take(b);
	ck_assert_uint_eq(a->n_got + b->n_got, 10);
	ck_assert_uint_ge(a->n_got, 4);
	ck_assert_uint_le(a->n_got, 6);
	kit_disconnect(a);
	kit_disconnect(b);
	kit_disconnect(other);
	kit_finish(&k);
}
END_TEST

START_TEST(the_window_bounds_what_is_outstanding)
{
	struct kit k;
	struct kit_client *c;
	const struct slice p = slice_str("t");
	struct subscribe_request r = kit_request(1, &p, "g");

	kit_start(&k, MEMORY);
	c = kit_connect(&k, "c");
	r.max_events = 3;
	kit_ask(c, &r);
	for (int i = 0; i < 10; i++) {
		kit_publish(&k, "t", "", "");
	}
	kit_got(c, 3);
	kit_turns(&k);
	kit_got(c, 3);
	kit_ack(c, 1);
	kit_got(c, 4);
	kit_turns(&k);
	kit_got(c, 4);
	kit_disconnect(c);
	kit_finish(&k);
}
END_TEST

START_TEST(one_event_always_fits_an_empty_window)
{
	struct kit k;
	struct kit_client *c;
	const struct slice p = slice_str("t");
	struct subscribe_request r = kit_request(1, &p, "g");

	kit_start(&k, MEMORY);
	c = kit_connect(&k, "c");
	r.max_bytes = 1;
	kit_ask(c, &r);
	kit_publish(&k, "t", "", "");
	kit_publish(&k, "t", "", "");
	kit_got(c, 1);
	kit_turns(&k);
	kit_got(c, 1);
	kit_ack(c, 0);
	kit_got(c, 2);
	kit_disconnect(c);
	kit_finish(&k);
}
END_TEST

START_TEST(a_full_client_starves_and_is_woken)
{
	struct kit k;
	struct kit_client *c;

	kit_start(&k, MEMORY "limits: {per_client: 64KiB, in_flight_bytes: 64KiB}\n");
	c = kit_connect(&k, "c");
	kit_subscribe(c, 1, "a", "g");
	kit_subscribe(c, 2, "b", "g");
	for (int i = 0; i < 2000; i++) {
		kit_publish(&k, i % 2 ? "a" : "b", "", "");
	}
	kit_turns(&k);
	kit_take(c);
	ck_assert_uint_gt(c->n_got, 2);
	ck_assert_uint_lt(c->n_got, 2000);
	for (uint32_t i = 0; i < 2000; i++) {
		while (c->n_got <= i) {
			uv_run(&k.loop, UV_RUN_ONCE);
			kit_take(c);
		}
		kit_ack(c, i);
	}
	kit_turns(&k);
	ck_assert_int_eq(kit_total(&k, "acked"), 2000);
	kit_disconnect(c);
	kit_finish(&k);
}
END_TEST

START_TEST(settling_twice_is_stale_and_a_wide_range_costs_nothing)
{
	struct kit k;
	struct kit_client *c;
	const struct settle ack = {.verdict = VERDICT_ACK};
	struct ranges settled, stale;

	kit_start(&k, MEMORY);
	ranges_init(&settled);
	ranges_init(&stale);
	c = kit_connect(&k, "c");
	kit_subscribe(c, 1, "t", "g");
	for (int i = 0; i < 3; i++) {
		kit_publish(&k, "t", "", "");
	}
	kit_got(c, 3);
	client_settle(c->c, &(struct range){c->got[1].tag, c->got[1].tag}, 1, &ack, &settled,
		      &stale);
	ck_assert_uint_eq(settled.n, 1);
	ck_assert_uint_eq(stale.n, 0);
	client_settle(c->c, &(struct range){0, UINT64_MAX}, 1, &ack, &settled, &stale);
	ck_assert_uint_eq(settled.n, 3);
	ck_assert_uint_eq(stale.n, 3); /* before, the one settled already, behind */
	ck_assert_uint_eq(stale.v[0].first, 0);
	ck_assert_uint_eq(stale.v[1].first, c->got[1].tag);
	ck_assert_uint_eq(stale.v[1].last, c->got[1].tag);
	ck_assert_uint_eq(stale.v[2].last, UINT64_MAX);
	ck_assert_uint_eq(client_outstanding(c->c), 0);
	ranges_finish(&settled);
	ranges_finish(&stale);
	kit_disconnect(c);
	kit_finish(&k);
}
END_TEST

START_TEST(a_retry_comes_back_with_the_next_attempt)
{
	struct kit k;
	struct kit_client *c;

	kit_start(&k, MEMORY "defaults: {retry: {initial_delay: 5ms, jitter: 0}}\n");
	c = kit_connect(&k, "c");
	kit_subscribe(c, 1, "t", "g");
	kit_publish(&k, "t", "", "x");
	for (uint32_t i = 0; i < 3; i++) {
		kit_got(c, i + 1);
		ck_assert_str_eq(c->got[i].id, "x");
		ck_assert_uint_eq(c->got[i].attempt, i + 1);
		if (i < 2) {
			kit_settle(c, i, VERDICT_RETRY, "not now");
		}
	}
	kit_ack(c, 2);
	kit_turns(&k);
	ck_assert_int_eq(kit_total(&k, "retried"), 2);
	ck_assert_int_eq(kit_total(&k, "dead_lettered"), 0);
	kit_disconnect(c);
	kit_finish(&k);
}
END_TEST

START_TEST(an_exhausted_event_arrives_on_the_dead_letter_topic)
{
	struct kit k;
	struct kit_client *c, *d;
	const struct event *e;

	kit_start(&k, MEMORY "defaults: {retry: {initial_delay: 1ms, max_retries: 1}}\n");
	c = kit_connect(&k, "c");
	d = kit_connect(&k, "d");
	kit_subscribe(c, 1, "t", "g");
	ck_assert_str_eq(c->dlq_topic, "dlq.g");
	kit_subscribe(d, 1, "dlq.g", "inspect");
	kit_publish(&k, "t", "k1", "x");
	kit_got(c, 1);
	kit_settle(c, 0, VERDICT_RETRY, "first");
	kit_got(c, 2);
	kit_settle(c, 1, VERDICT_RETRY, "second\n");
	kit_got(d, 1);
	e = d->got[0].event;
	ck_assert(slice_eq_str(kit_metadata(e, "dlq.original-topic"), "t"));
	ck_assert(slice_eq_str(kit_metadata(e, "dlq.original-id"), "x"));
	ck_assert(slice_eq_str(kit_metadata(e, "dlq.attempt"), "2"));
	ck_assert(slice_eq_str(kit_metadata(e, "dlq.group"), "g"));
	ck_assert(slice_eq_str(kit_metadata(e, "dlq.reason"), "retries exhausted"));
	ck_assert(slice_eq_str(kit_metadata(e, "dlq.error"), "second%0A"));
	ck_assert_uint_eq(kit_metadata(e, "dlq.first-failed-at").n, 24);
	ck_assert_uint_eq(kit_metadata(e, "dlq.last-failed-at").n, 24);
	ck_assert(slice_eq_str(e->key, "k1"));
	ck_assert(slice_eq_str(e->payload, "payload"));
	ck_assert(!slice_eq_str(e->id, "x"));
	kit_turns(&k);
	ck_assert_int_eq(kit_total(&k, "dead_lettered"), 1);
	kit_disconnect(c);
	kit_disconnect(d);
	kit_finish(&k);
}
END_TEST

START_TEST(pause_keeps_what_is_out_and_gives_the_rest_to_others)
{
	struct kit k;
	struct kit_client *a, *b;

	kit_start(&k, MEMORY);
	a = kit_connect(&k, "a");
	b = kit_connect(&k, "b");
	kit_subscribe(a, 1, "t", "g");
	kit_publish(&k, "t", "", "1");
	kit_got(a, 1);
	kit_publish(&k, "t", "", "2");
	kit_turns(&k); /* queued for a, not taken */
	ck_assert_int_eq(client_pause(a->c, 1, true), 0);
	kit_subscribe(b, 1, "t", "g");
	kit_got(b, 1);
	ck_assert_str_eq(b->got[0].id, "2");
	kit_ack(a, 0);
	kit_turns(&k);
	ck_assert_int_eq(kit_total(&k, "acked"), 1);
	ck_assert_int_eq(client_pause(a->c, 1, false), 0);
	client_pause(b->c, 1, true);
	kit_publish(&k, "t", "", "3");
	kit_got(a, 2);
	ck_assert_int_eq(client_pause(a->c, 9, true), EB_ENOTFOUND);
	kit_disconnect(a);
	kit_disconnect(b);
	kit_finish(&k);
}
END_TEST

START_TEST(unsubscribed_comes_when_nothing_is_outstanding)
{
	struct kit k;
	struct kit_client *c;

	kit_start(&k, MEMORY);
	c = kit_connect(&k, "c");
	kit_subscribe(c, 1, "t", "g");
	kit_publish(&k, "t", "", "1");
	kit_got(c, 1);
	ck_assert_int_eq(client_unsubscribe(c->c, 1), 0);
	ck_assert_int_eq(client_unsubscribe(c->c, 1), EB_ENOTFOUND);
	kit_publish(&k, "t", "", "2");
	kit_turns(&k);
	ck_assert_uint_eq(c->n_unsubscribed, 0);
	kit_ack(c, 0);
	kit_until(&k, c->n_unsubscribed == 1);
	kit_take(c);
	ck_assert_uint_eq(c->n_got, 1);
	kit_subscribe(c, 1, "t", "g"); /* the position is kept */
	ck_assert(c->subscribed.position_existed);
	kit_got(c, 2);
	kit_disconnect(c);
	kit_finish(&k);
}
END_TEST

START_TEST(positions_come_when_asked_for)
{
	struct kit k;
	struct kit_client *c;
	const struct slice p = slice_str("t");
	struct subscribe_request r = kit_request(1, &p, "g");

	kit_start(&k, MEMORY);
	c = kit_connect(&k, "c");
	r.positions = true;
	kit_ask(c, &r);
	kit_publish(&k, "t", "", "1");
	kit_got(c, 1);
	ck_assert_uint_gt(strlen(c->got[0].position), 0);
	kit_disconnect(c);
	kit_finish(&k);
}
END_TEST

START_TEST(without_a_group_everyone_has_a_copy)
{
	struct kit k;
	struct kit_client *a, *b;

	kit_start(&k, MEMORY "defaults: {retry: {initial_delay: 1ms}}\n");
	a = kit_connect(&k, "a");
	b = kit_connect(&k, "b");
	kit_subscribe(a, 1, "t", "");
	kit_subscribe(b, 1, "t", "");
	ck_assert_str_eq(a->dlq_topic, ""); /* {group} is unknown: none */
	kit_publish(&k, "t", "", "1");
	kit_got(a, 1);
	kit_got(b, 1);
	kit_settle(a, 0, VERDICT_RETRY, "");
	kit_got(a, 2);
	ck_assert_uint_eq(a->got[1].attempt, 2);
	kit_disconnect(a);
	kit_disconnect(b);
	kit_finish(&k);
}
END_TEST

START_TEST(the_more_specific_pattern_of_a_subscription_has_the_topic)
{
	struct kit k;
	struct kit_client *c;
	const struct slice p[] = {slice_str("a.>"), slice_str("a.b")};
	struct subscribe_request r = kit_request(1, p, "g");

	kit_start(&k, MEMORY);
	c = kit_connect(&k, "c");
	r.n_patterns = 2;
	kit_ask(c, &r);
	kit_publish(&k, "a.b", "", "1");
	kit_publish(&k, "a.c", "", "2");
	kit_got(c, 2);
	kit_turns(&k);
	kit_got(c, 2);
	ck_assert_int_eq(kit_total(&k, "superseded"), 1);
	kit_disconnect(c);
	kit_finish(&k);
}
END_TEST

START_TEST(stop_with_everything_in_hand_closes_the_loop)
{
	struct kit k;
	struct kit_client *a, *b;

	kit_start(&k, MEMORY);
	a = kit_connect(&k, "a");
	b = kit_connect(&k, "b");
	kit_subscribe(a, 1, "t", "g");
	kit_subscribe(b, 1, "t", "");
	for (int i = 0; i < 20; i++) {
		kit_publish(&k, "t", "", "");
	}
	kit_got(a, 20);
	kit_settle(a, 0, VERDICT_RETRY, "");
	kit_settle(a, 1, VERDICT_REJECT, "");
	kit_settle(a, 2, VERDICT_RELEASE, "");
	bus_stop(k.bus, false);
	bus_stop(k.bus, false);
	bus_stop(k.bus, true);
	kit_publish(&k, "t", "", "late");
	kit_until(&k, k.stopped);
	ck_assert_int_eq(k.last_answer.outcome, OUTCOME_NOT_STORED);
	ck_assert_int_eq(k.last_answer.reason, REASON_DRAINING);
	kit_disconnect(a);
	kit_disconnect(b);
	bus_destroy(k.bus);
	ck_assert_int_eq(uv_loop_close(&k.loop), 0);
	ck_assert_uint_eq(k.budget.used, 0);
	config_free(k.config);
}
END_TEST

int main(void)
{
	const TTest *tests[] = {
		an_event_is_delivered_and_acknowledged,
		members_of_a_group_share_and_a_group_of_another_name_has_its_own,
		the_window_bounds_what_is_outstanding,
		one_event_always_fits_an_empty_window,
		a_full_client_starves_and_is_woken,
		settling_twice_is_stale_and_a_wide_range_costs_nothing,
		a_retry_comes_back_with_the_next_attempt,
		an_exhausted_event_arrives_on_the_dead_letter_topic,
		pause_keeps_what_is_out_and_gives_the_rest_to_others,
		unsubscribed_comes_when_nothing_is_outstanding,
		positions_come_when_asked_for,
		without_a_group_everyone_has_a_copy,
		the_more_specific_pattern_of_a_subscription_has_the_topic,
		stop_with_everything_in_hand_closes_the_loop,
	};

	return suite_run("bus_deliver", tests, sizeof(tests) / sizeof(tests[0]));
}
