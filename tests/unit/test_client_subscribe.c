/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/fake_daemon.h"
#include "tests/unit/suite.h"

#define LEASE_MS 60

struct seen {
	int handled, cancelled, states;
	int rc; /* what the handler returns */
	bool take, fail, fail_after, destroy, unsubscribe;
	struct eventbus *client;
	struct eventbus_subscription *sub;
	struct eventbus_delivery *taken[8];
	int n_taken;
	enum eventbus_cancel why;
	int64_t deadline_ms;
	enum eventbus_state state[16];
	char text[256];
	char payload[64], metadata[64], id[32];
	uint64_t tag;
};

static int on_event(void *ctx, struct eventbus_event *e)
{
	struct seen *s = ctx;
	struct eventbus_text v = {"", 0};

	s->handled++;
	s->tag = e->tag;
	snprintf(s->payload, sizeof(s->payload), "%.*s", (int)e->payload_size,
		 (const char *)e->payload);
	snprintf(s->id, sizeof(s->id), "%.*s", (int)e->id.n, e->id.p);
	eventbus_metadata_get(e, "colour", &v);
	snprintf(s->metadata, sizeof(s->metadata), "%.*s", (int)v.n, v.p);
	if (s->destroy) {
		eventbus_destroy(s->client);
	}
	if (s->unsubscribe) {
		eventbus_unsubscribe(s->sub);
	}
	if (s->take) {
		s->taken[s->n_taken++] = eventbus_take(e);
		ck_assert_ptr_null(eventbus_take(e));
		return 1;
	}
	if (s->fail) {
		return eventbus_fail(e, EVENTBUS_REJECT, "no good");
	}
	if (s->fail_after) {
		return eventbus_fail_after(e, 5000, "later");
	}
	return s->rc;
}

static void on_state(void *ctx, struct eventbus_subscription *sub, const struct eventbus_note *n)
{
	struct seen *s = ctx;

	(void)sub;
	s->state[s->states++] = n->state;
	snprintf(s->text, sizeof(s->text), "%s", n->why);
}

static void on_cancel(void *ctx, struct eventbus_delivery *d, enum eventbus_cancel why,
		      int64_t deadline_ms)
{
	struct seen *s = ctx;

	ck_assert_int_eq(eventbus_cancelled(d), why);
	s->cancelled++;
	s->why = why;
	s->deadline_ms = deadline_ms;
}

static struct eventbus_subscribe options(struct seen *s)
{
	return (struct eventbus_subscribe){
		.pattern = "orders.>",
		.group = "billing",
		.handler = on_event,
		.on_cancel = on_cancel,
		.on_state = on_state,
		.ctx = s,
	};
}

/* A client with one active subscription. */
static struct eventbus *subscribed(struct fake *f, struct seen *s,
				   const struct eventbus_subscribe *o)
{
	struct eventbus_subscribe defaults = options(s);
	struct eventbus *c = fake_client(f, NULL);

	s->client = c;
	ck_assert_int_eq(eventbus_subscribe(c, o ? o : &defaults, &s->sub), 0);
	eventbus_process(c);
	FAKE_EXPECT(f, SUBSCRIBE);
	fake_subscribed(f, 1, 2, LEASE_MS);
	fake_turns(c, &s->states, 1);
	ck_assert_int_eq(s->state[0], EVENTBUS_SUBSCRIBED);
	return c;
}

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
		without_a_group_a_reconnect_is_a_gap,
		refused_for_good_stays_refused,
		refused_for_now_is_asked_again,
		unsubscribe_gives_back_what_still_comes,
		pause_is_said_again_after_a_reconnect,
		a_handler_may_destroy_the_client,
		bad_subscriptions_are_refused_here,
	};

	return suite_run("client subscribe", tests, sizeof(tests) / sizeof(tests[0]));
}
