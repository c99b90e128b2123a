/* SPDX-License-Identifier: Apache-2.0 */
/* Subscriptions and deliveries as a session passes them on. */
#include "tests/unit/session_env.h"

static void setup(void)
{
	env_init();
}

static Eventbus__V1__Error *refused(uint32_t c, Eventbus__V1__Reason reason)
{
	Eventbus__V1__Error *e = env_expect(c, EVENTBUS__V1__FRAME__KIND_ERROR)->error;

	ck_assert(!e->closing);
	ck_assert_msg(e->reason == reason, "%s", e->text);
	return e;
}

/* ---- subscribe ---------------------------------------------------------------- */

static Eventbus__V1__Subscribe subscribe_of(uint32_t number)
{
	static char *patterns[] = {(char *)"a.>"};
	Eventbus__V1__Subscribe q = EVENTBUS__V1__SUBSCRIBE__INIT;

	q.subscription = number;
	q.patterns = patterns;
	q.n_patterns = 1;
	return q;
}

START_TEST(test_subscribe_reaches_the_bus_and_back)
{
	Eventbus__V1__Subscribe q = subscribe_of(7);
	Eventbus__V1__Start start = EVENTBUS__V1__START__INIT;
	Eventbus__V1__RetryOverride retry = EVENTBUS__V1__RETRY_OVERRIDE__INIT;
	struct subscribed_flow flow = {"a.>", "default", 3, "dlq.g", true};
	struct subscribed s = {.subscription = 7,
			       .position_existed = true,
			       .max_events = 10,
			       .order = ORDER_KEY,
			       .lease_ms = 30000,
			       .flows = &flow,
			       .n_flows = 1};
	Eventbus__V1__Subscribed *m;
	struct client *c;

	env_start();
	env_client();
	c = the_bus.clients[0];
	q.group = (char *)"g";
	q.max_in_flight_events = 10;
	q.order = EVENTBUS__V1__ORDER__ORDER_KEY;
	q.start = &start;
	start.at_case = EVENTBUS__V1__START__AT_TIME_MS;
	start.time_ms = 123;
	q.retry = &retry;
	retry.retries_case = EVENTBUS__V1__RETRY_OVERRIDE__RETRIES_MAX_RETRIES;
	retry.max_retries = 0;
	env_send(0, EVENTBUS__V1__FRAME__KIND_SUBSCRIBE, &q);
	while (c->asked.subscription == 0) {
		env_turn();
	}
	ck_assert_str_eq(c->pattern, "a.>");
	ck_assert_uint_eq(c->asked.max_events, 10);
	ck_assert(c->asked.has_order && c->asked.order == ORDER_KEY);
	ck_assert(c->asked.has_start && c->asked.start == START_TIME);
	ck_assert_int_eq(c->asked.start_time_ms, 123);
	ck_assert(c->asked.has_max_retries && c->asked.max_retries == 0);
	c->ops->on_subscribed(c->ctx, &s);
	m = env_expect(0, EVENTBUS__V1__FRAME__KIND_SUBSCRIBED)->subscribed;
	ck_assert_uint_eq(m->subscription, 7);
	ck_assert(m->position_existed);
	ck_assert_int_eq(m->order, EVENTBUS__V1__ORDER__ORDER_KEY);
	ck_assert_uint_eq(m->n_policies, 1);
	ck_assert_str_eq(m->policies[0]->dead_letter_topic, "dlq.g");
	env_finish();
}
END_TEST

enum wrong {
	WRONG_NUMBER,
	WRONG_SERVICE,
	WRONG_VALIDATION,
	WRONG_DLQ,
	WRONG_EMPTY,
	WRONG_PATTERN,
	WRONG_GROUP,
	WRONG_EVENTS,
	WRONG_LEASE,
	WRONG_CONCURRENCY,
	WRONG_START,
	WRONG_BUS,
	WRONG_END
};

START_TEST(test_subscribe_refusals)
{
	static const Eventbus__V1__Reason reasons[] = {
		[WRONG_NUMBER] = EVENTBUS__V1__REASON__REASON_INVALID,
		[WRONG_SERVICE] = EVENTBUS__V1__REASON__REASON_NOT_SUPPORTED,
		[WRONG_VALIDATION] = EVENTBUS__V1__REASON__REASON_NOT_SUPPORTED,
		[WRONG_DLQ] = EVENTBUS__V1__REASON__REASON_DENIED,
		[WRONG_EMPTY] = EVENTBUS__V1__REASON__REASON_INVALID,
		[WRONG_PATTERN] = EVENTBUS__V1__REASON__REASON_INVALID,
		[WRONG_GROUP] = EVENTBUS__V1__REASON__REASON_INVALID,
		[WRONG_EVENTS] = EVENTBUS__V1__REASON__REASON_INVALID,
		[WRONG_LEASE] = EVENTBUS__V1__REASON__REASON_INVALID,
		[WRONG_CONCURRENCY] = EVENTBUS__V1__REASON__REASON_INVALID,
		[WRONG_START] = EVENTBUS__V1__REASON__REASON_INVALID,
		[WRONG_BUS] = EVENTBUS__V1__REASON__REASON_CONFLICT,
	};
	char *bad[] = {(char *)"a..b"};
	Eventbus__V1__Subscribe q = subscribe_of(_i == WRONG_NUMBER ? 0 : 1);
	Eventbus__V1__Start start = EVENTBUS__V1__START__INIT;
	Eventbus__V1__DeadLetterOverride dlq = EVENTBUS__V1__DEAD_LETTER_OVERRIDE__INIT;
	Eventbus__V1__Error *e;

	q.service = (char *)(_i == WRONG_SERVICE ? "shop.Orders" : "");
	q.validation = _i == WRONG_VALIDATION ? EVENTBUS__V1__VALIDATION__VALIDATION_BOTH
					      : EVENTBUS__V1__VALIDATION__VALIDATION_NONE;
	q.dead_letter = _i == WRONG_DLQ ? &dlq : NULL;
	q.n_patterns = _i == WRONG_EMPTY ? 0 : 1;
	q.patterns = _i == WRONG_PATTERN ? bad : q.patterns;
	q.group = (char *)(_i == WRONG_GROUP ? "no group" : "");
	q.max_in_flight_events = _i == WRONG_EVENTS ? 1001 : 0;
	q.lease_ms = _i == WRONG_LEASE ? UINT64_MAX : 0;
	q.concurrency = _i == WRONG_CONCURRENCY ? 101 : 0;
	q.start = _i == WRONG_START ? &start : NULL;
	the_bus.refuse_subscribe = _i == WRONG_BUS;
	env_start();
	env_client();
	env_send(0, EVENTBUS__V1__FRAME__KIND_SUBSCRIBE, &q);
	e = refused(0, reasons[_i]);
	ck_assert_int_eq(e->re_case, EVENTBUS__V1__ERROR__RE_SUBSCRIPTION);
	ck_assert_uint_eq(e->subscription, q.subscription);
	/* A refused number is free. */
	the_bus.refuse_subscribe = false;
	q = subscribe_of(1);
	env_send(0, EVENTBUS__V1__FRAME__KIND_SUBSCRIBE, &q);
	while (the_bus.clients[0]->asked.subscription != 1) {
		env_turn();
	}
	env_finish();
}
END_TEST

START_TEST(test_subscription_numbers_are_unique_and_limited)
{
	Eventbus__V1__Subscribe q;
	struct answer why = {.outcome = OUTCOME_PERMANENT, .reason = REASON_CONFLICT};
	struct client *c;
	uint32_t i;

	env_start();
	env_client();
	c = the_bus.clients[0];
	q = subscribe_of(1);
	env_send(0, EVENTBUS__V1__FRAME__KIND_SUBSCRIBE, &q);
	env_send(0, EVENTBUS__V1__FRAME__KIND_SUBSCRIBE, &q);
	refused(0, EVENTBUS__V1__REASON__REASON_CONFLICT);
	for (i = 2; i <= 5; i++) {
		q = subscribe_of(i);
		env_send(0, EVENTBUS__V1__FRAME__KIND_SUBSCRIBE, &q);
	}
	ck_assert_uint_eq(refused(0, EVENTBUS__V1__REASON__REASON_OVERLOADED)->subscription, 5);
	/* One that was refused later, and one that ended, free their numbers. */
	c->ops->on_refused(c->ctx, 2, &why);
	ck_assert_uint_eq(refused(0, EVENTBUS__V1__REASON__REASON_CONFLICT)->subscription, 2);
	c->ops->on_unsubscribed(c->ctx, 1);
	ck_assert_uint_eq(
		env_expect(0, EVENTBUS__V1__FRAME__KIND_UNSUBSCRIBED)->unsubscribed->subscription,
		1);
	q = subscribe_of(1);
	env_send(0, EVENTBUS__V1__FRAME__KIND_SUBSCRIBE, &q);
	q = subscribe_of(2);
	env_send(0, EVENTBUS__V1__FRAME__KIND_SUBSCRIBE, &q);
	while (c->asked.subscription != 2) {
		env_turn();
	}
	env_finish();
}
END_TEST

START_TEST(test_access_is_checked)
{
	static char *allowed[] = {(char *)"a.*"}, *groups[] = {(char *)"orders-*"};
	struct config_access rule = {.uid = -1, .subscribe = {allowed, 1}, .groups = {groups, 1}};
	Eventbus__V1__Subscribe q;

	env.config.access = &rule;
	env.config.n_access = 1;
	env_start();
	env_client();
	q = subscribe_of(1); /* a.> is wider than a.* */
	env_send(0, EVENTBUS__V1__FRAME__KIND_SUBSCRIBE, &q);
	refused(0, EVENTBUS__V1__REASON__REASON_DENIED);
	q.patterns[0] = (char *)"a.b";
	q.group = (char *)"billing";
	env_send(0, EVENTBUS__V1__FRAME__KIND_SUBSCRIBE, &q);
	refused(0, EVENTBUS__V1__REASON__REASON_DENIED);
	q.group = (char *)"orders-1";
	env_send(0, EVENTBUS__V1__FRAME__KIND_SUBSCRIBE, &q);
	while (the_bus.clients[0]->asked.subscription != 1) {
		env_turn();
	}
	env_finish();
}
END_TEST

START_TEST(test_reload_ends_what_is_not_allowed_any_more)
{
	static char *allowed[] = {(char *)"b.>"};
	struct config_access rule = {.uid = -1, .subscribe = {allowed, 1}};
	Eventbus__V1__Subscribe q = subscribe_of(3);
	struct config next;
	struct client *c;

	env_start();
	env_client();
	c = the_bus.clients[0];
	env_send(0, EVENTBUS__V1__FRAME__KIND_SUBSCRIBE, &q);
	q.patterns[0] = (char *)"b.c";
	q.subscription = 4;
	env_send(0, EVENTBUS__V1__FRAME__KIND_SUBSCRIBE, &q);
	while (c->asked.subscription != 4) {
		env_turn();
	}
	next = env.config;
	next.access = &rule;
	next.n_access = 1;
	sessions_reload(env.set, &next);
	sessions_reload(env.set, &next); /* once is enough */
	ck_assert_uint_eq(refused(0, EVENTBUS__V1__REASON__REASON_DENIED)->subscription, 3);
	ck_assert_uint_eq(c->unsubscribed, 3);
	c->ops->on_unsubscribed(c->ctx, 3);
	env_expect(0, EVENTBUS__V1__FRAME__KIND_UNSUBSCRIBED);
	env_finish();
}
END_TEST

START_TEST(test_unknown_subscriptions_are_not_found)
{
	Eventbus__V1__Unsubscribe u = EVENTBUS__V1__UNSUBSCRIBE__INIT;
	Eventbus__V1__Pause p = EVENTBUS__V1__PAUSE__INIT;
	Eventbus__V1__Resume r = EVENTBUS__V1__RESUME__INIT;

	env_start();
	env_client();
	u.subscription = p.subscription = r.subscription = 99;
	env_send(0, EVENTBUS__V1__FRAME__KIND_UNSUBSCRIBE, &u);
	refused(0, EVENTBUS__V1__REASON__REASON_NOT_FOUND);
	env_send(0, EVENTBUS__V1__FRAME__KIND_PAUSE, &p);
	refused(0, EVENTBUS__V1__REASON__REASON_NOT_FOUND);
	env_send(0, EVENTBUS__V1__FRAME__KIND_RESUME, &r);
	refused(0, EVENTBUS__V1__REASON__REASON_NOT_FOUND);
	p.subscription = 3;
	env_send(0, EVENTBUS__V1__FRAME__KIND_PAUSE, &p);
	while (the_bus.clients[0]->paused != 3) {
		env_turn();
	}
	env_finish();
}
END_TEST

START_TEST(test_notes_become_states)
{
	struct ranges revoked;
	struct subscription_note n = {.subscription = 2,
				      .event = SUB_REVOKED,
				      .why = "owner lost",
				      .broker = "default",
				      .pattern = "a.>",
				      .epoch = 9,
				      .revoked = &revoked};
	Eventbus__V1__SubscriptionState *m;
	struct client *c;

	env_start();
	env_client();
	c = the_bus.clients[0];
	ranges_init(&revoked);
	ranges_add(&revoked, 3, 5);
	c->ops->on_note(c->ctx, &n);
	m = env_expect(0, EVENTBUS__V1__FRAME__KIND_SUBSCRIPTION_STATE)->subscription_state;
	ck_assert_int_eq(m->state, EVENTBUS__V1__STATE__STATE_REVOKED);
	ck_assert_uint_eq(m->revoked[0]->last, 5);
	ck_assert_uint_eq(m->epoch, 9);
	ranges_finish(&revoked);
	env_finish();
}
END_TEST

/* ---- deliver ------------------------------------------------------------------ */

START_TEST(test_deliveries_are_batched_in_bounded_frames)
{
	struct event *e = env_event("a.b", 1000);
	Eventbus__V1__Deliver *d;
	uint64_t next = 1000;
	size_t i, largest = 0;

	env_start();
	env_client();
	fake_deliver(the_bus.clients[0], e, 1000);
	while (next < 2000) {
		d = env_expect(0, EVENTBUS__V1__FRAME__KIND_DELIVER)->deliver;
		largest = d->n_deliveries > largest ? d->n_deliveries : largest;
		for (i = 0; i < d->n_deliveries; i++) {
			ck_assert_uint_eq(d->deliveries[i]->tag, next++);
			ck_assert_str_eq(d->deliveries[i]->event->topic, "a.b");
		}
	}
	ck_assert_uint_gt(largest, 50);
	ck_assert_uint_le(largest, 64);
	env_settle();
	ck_assert_uint_eq(the_bus.clients[0]->wrote_tag, 1999);
	ck_assert_uint_eq(the_bus.clients[0]->flushed, the_bus.clients[0]->wrote_offset);
	event_unref(e);
	env_finish();
}
END_TEST

START_TEST(test_event_larger_than_a_frame_is_delivered_alone)
{
	struct event *e = env_event("a.b", 300000);
	int i;

	env_start();
	env_client();
	fake_deliver(the_bus.clients[0], e, 3);
	for (i = 0; i < 3; i++) {
		ck_assert_uint_eq(
			env_expect(0, EVENTBUS__V1__FRAME__KIND_DELIVER)->deliver->n_deliveries, 1);
	}
	event_unref(e);
	env_finish();
}
END_TEST

START_TEST(test_paused_reader_gets_the_rest_when_it_reads)
{
	struct event *e = env_event("a.b", 4096);
	uint32_t got = 0;

	env_start();
	env_client();
	fake_deliver(the_bus.clients[0], e, 1000);
	env_settle();
	ck_assert_uint_lt(the_bus.clients[0]->head, 1000);
	ck_assert(!uv_is_active((uv_handle_t *)&env.set->idle));
	while (got < 1000) {
		got += (uint32_t)env_expect(0, EVENTBUS__V1__FRAME__KIND_DELIVER)
			       ->deliver->n_deliveries;
	}
	event_unref(e);
	env_finish();
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("session_deliver");

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, test_subscribe_reaches_the_bus_and_back);
	tcase_add_loop_test(tc, test_subscribe_refusals, 0, WRONG_END);
	tcase_add_test(tc, test_subscription_numbers_are_unique_and_limited);
	tcase_add_test(tc, test_access_is_checked);
	tcase_add_test(tc, test_reload_ends_what_is_not_allowed_any_more);
	tcase_add_test(tc, test_unknown_subscriptions_are_not_found);
	tcase_add_test(tc, test_notes_become_states);
	tcase_add_test(tc, test_deliveries_are_batched_in_bounded_frames);
	tcase_add_test(tc, test_event_larger_than_a_frame_is_delivered_alone);
	tcase_add_test(tc, test_paused_reader_gets_the_rest_when_it_reads);
	return suite_run_case("session_deliver", tc);
}
