/* SPDX-License-Identifier: Apache-2.0 */
/* Publish in, Published out: answers, content errors, credit, a session that ends first. */
#include "tests/unit/session_env.h"

static void setup(void)
{
	env_init();
}

/* Publishes n events of one topic with these sequences. */
static void publish(uint32_t c, uint64_t first, const char *topic, uint32_t n, size_t payload)
{
	struct event *e[64];
	uint32_t i;

	for (i = 0; i < n; i++) {
		e[i] = env_event(topic, payload);
	}
	env_send_publish(c, first, false, e, n);
	for (i = 0; i < n; i++) {
		event_unref(e[i]);
	}
}

static void wait_batches(uint32_t n)
{
	while (the_bus.n_batches < n) {
		env_turn();
	}
}

static Eventbus__V1__Published *published(uint32_t c)
{
	return env_expect(c, EVENTBUS__V1__FRAME__KIND_PUBLISHED)->published;
}

static void check_failure(const Eventbus__V1__PublishFailure *f, uint64_t first, uint64_t last,
			  Eventbus__V1__Outcome o, Eventbus__V1__Reason r)
{
	ck_assert_uint_eq(f->range->first, first);
	ck_assert_uint_eq(f->range->last, last);
	ck_assert_int_eq(f->outcome, o);
	ck_assert_int_eq(f->reason, r);
	ck_assert_uint_gt(strlen(f->text), 0);
}

START_TEST(test_answers_of_a_turn_are_one_frame)
{
	Eventbus__V1__Published *p;

	env_start();
	env_client();
	publish(0, 1, "a.b", 10, 100);
	publish(0, 11, "a.b", 10, 100);
	wait_batches(2);
	ck_assert_int_eq(the_bus.batch[0]->timeout_ms, 5000);
	fake_tell(OUTCOME_OK, REASON_NONE, "");
	fake_tell(OUTCOME_OK, REASON_NONE, "");
	p = published(0);
	ck_assert_uint_eq(p->n_confirmed, 1);
	ck_assert_uint_eq(p->confirmed[0]->first, 1);
	ck_assert_uint_eq(p->confirmed[0]->last, 20);
	ck_assert_ptr_null(p->credit);
	env_finish();
}
END_TEST

START_TEST(test_failures_of_the_bus_are_passed_on)
{
	Eventbus__V1__Published *p;

	env_start();
	env_client();
	publish(0, 5, "a.b", 3, 100);
	wait_batches(1);
	fake_tell(OUTCOME_UNKNOWN, REASON_NOT_CONNECTED, "the broker is away");
	p = published(0);
	ck_assert_uint_eq(p->n_confirmed, 0);
	ck_assert_uint_eq(p->n_failures, 1);
	check_failure(p->failures[0], 5, 7, EVENTBUS__V1__OUTCOME__OUTCOME_UNKNOWN,
		      EVENTBUS__V1__REASON__REASON_NOT_CONNECTED);
	env_finish();
}
END_TEST

START_TEST(test_id_and_time_are_added)
{
	const struct event *e;
	struct event copy;

	env_start();
	env_client();
	publish(0, 1, "a.b", 2, 10);
	wait_batches(1);
	e = the_bus.batch[0]->items[0].event;
	ck_assert_uint_eq(e->id.n, 36);
	ck_assert_int_gt(e->published_at_ms, 1500000000000);
	ck_assert_uint_gt(e->tail.n, 36);
	copy = (struct event){.raw = e->tail};
	ck_assert_int_eq(event_parse(&copy), 0);
	ck_assert(slice_eq(copy.id, e->id));
	ck_assert(!slice_eq(e->id, the_bus.batch[0]->items[1].event->id));
	env_finish();
}
END_TEST

START_TEST(test_positions_and_ids_are_told_when_asked)
{
	Eventbus__V1__Published *p;
	struct event *e = env_event("a.b", 10);

	env_start();
	env_client();
	env_send_publish(0, 7, true, &e, 1);
	wait_batches(1);
	the_bus.batch[0]->items[0].duplicate = true;
	fake_tell(OUTCOME_OK, REASON_NONE, "");
	p = published(0);
	ck_assert_uint_eq(p->n_positions, 1);
	ck_assert_uint_eq(p->positions[0]->sequence, 7);
	ck_assert_str_eq(p->positions[0]->position, "fake:1:100");
	ck_assert_uint_eq(strlen(p->positions[0]->id), 36);
	ck_assert(p->positions[0]->duplicate);
	event_unref(e);
	env_finish();
}
END_TEST

START_TEST(test_content_error_refuses_that_event_alone)
{
	struct event *e[3] = {env_event("a.b", 10), env_event("a..b", 10), env_event("a.c", 10)};
	Eventbus__V1__Published *p;

	env_start();
	env_client();
	env_send_publish(0, 1, true, e, 3);
	p = published(0);
	ck_assert_uint_eq(p->n_failures, 1);
	check_failure(p->failures[0], 2, 2, EVENTBUS__V1__OUTCOME__OUTCOME_PERMANENT,
		      EVENTBUS__V1__REASON__REASON_INVALID);
	ck_assert_uint_eq(the_bus.batch[0]->n, 2);
	fake_tell(OUTCOME_OK, REASON_NONE, "");
	p = published(0);
	ck_assert_uint_eq(p->n_confirmed, 2);
	ck_assert_uint_eq(p->confirmed[1]->first, 3);
	ck_assert_uint_eq(p->positions[1]->sequence, 3);
	event_unref(e[0]);
	event_unref(e[1]);
	event_unref(e[2]);
	env_finish();
}
END_TEST

START_TEST(test_message_type_alone_names_no_topic)
{
	struct event_fields f = {.message_type = slice_str("shop.Order")};
	struct event *e = event_build(&f, NULL);

	env_start();
	env_client();
	env_send_publish(0, 1, false, &e, 1);
	check_failure(published(0)->failures[0], 1, 1, EVENTBUS__V1__OUTCOME__OUTCOME_PERMANENT,
		      EVENTBUS__V1__REASON__REASON_UNRESOLVED_TOPIC);
	ck_assert_uint_eq(the_bus.n_batches, 0);
	event_unref(e);
	env_finish();
}
END_TEST

START_TEST(test_texts_are_utf8_also_where_they_are_cut)
{
	char type[256];
	struct event_fields f;
	struct event *e;
	size_t i;

	type[0] = 'x';
	for (i = 1; i < 255; i += 2) {
		memcpy(type + i, "\xc3\xa4", 2);
	}
	f = (struct event_fields){.message_type = slice_of(type, 255)};
	e = event_build(&f, NULL);
	env_start();
	env_client();
	env_send_publish(0, 1, false, &e, 1);
	ck_assert_uint_eq(published(0)->n_failures, 1); /* read by the strict scan */
	event_unref(e);
	env_finish();
}
END_TEST

START_TEST(test_topic_that_no_broker_takes)
{
	env_start();
	env_client();
	the_bus.refuse_topic = true;
	publish(0, 1, "a.b", 2, 10);
	check_failure(published(0)->failures[0], 1, 2, EVENTBUS__V1__OUTCOME__OUTCOME_PERMANENT,
		      EVENTBUS__V1__REASON__REASON_UNROUTABLE);
	env_finish();
}
END_TEST

START_TEST(test_a_run_of_one_topic_is_looked_up_once)
{
	env_start();
	env_client();
	publish(0, 1, "a.b", 32, 10);
	wait_batches(1);
	ck_assert_uint_eq(the_bus.topic_lookups, 1);
	env_finish();
}
END_TEST

START_TEST(test_sequences_must_rise)
{
	static const uint64_t next[] = {0, 5, 10, UINT64_MAX};

	env_start();
	env_client();
	publish(0, 1, "a.b", 10, 10);
	wait_batches(1);
	publish(0, next[_i], "a.b", 1, 10);
	env_expect_refusal(0, EVENTBUS__V1__REASON__REASON_INVALID, "first_sequence");
	/* The events of before go on without the session. */
	fake_tell(OUTCOME_OK, REASON_NONE, "");
	env_finish();
}
END_TEST

START_TEST(test_access_is_checked)
{
	static char *allowed[] = {(char *)"a.>"};
	struct config_access rule = {.uid = -1, .publish = {allowed, 1}};
	Eventbus__V1__Published *p;

	env.config.access = &rule;
	env.config.n_access = 1;
	env_start();
	env_client();
	publish(0, 1, "b.c", 1, 10);
	check_failure(published(0)->failures[0], 1, 1, EVENTBUS__V1__OUTCOME__OUTCOME_PERMANENT,
		      EVENTBUS__V1__REASON__REASON_DENIED);
	publish(0, 2, "a.c", 1, 10);
	wait_batches(1);
	fake_tell(OUTCOME_OK, REASON_NONE, "");
	p = published(0);
	ck_assert_uint_eq(p->n_failures, 0);
	env_finish();
}
END_TEST

START_TEST(test_beyond_the_credit_is_overloaded)
{
	Eventbus__V1__Published *p;

	env_start();
	env_client();
	publish(0, 1, "a.b", 60, 10);
	publish(0, 61, "a.b", 10, 10);
	p = published(0);
	ck_assert_uint_eq(p->n_failures, 1);
	check_failure(p->failures[0], 65, 70, EVENTBUS__V1__OUTCOME__OUTCOME_NOT_STORED,
		      EVENTBUS__V1__REASON__REASON_OVERLOADED);
	/* Answers give the credit back. */
	fake_tell(OUTCOME_OK, REASON_NONE, "");
	published(0);
	publish(0, 71, "a.b", 60, 10);
	wait_batches(2);
	ck_assert_uint_eq(the_bus.batch[1]->n, 60);
	env_finish();
}
END_TEST

START_TEST(test_one_event_always_fits)
{
	env_start();
	env_client();
	publish(0, 1, "a.b", 1, 200000); /* the credit is 64 KiB */
	wait_batches(1);
	publish(0, 2, "a.b", 1, 10);
	check_failure(published(0)->failures[0], 2, 2, EVENTBUS__V1__OUTCOME__OUTCOME_NOT_STORED,
		      EVENTBUS__V1__REASON__REASON_OVERLOADED);
	env_finish();
}
END_TEST

START_TEST(test_client_that_keeps_overrunning_is_cut)
{
	Eventbus__V1__Frame *f;
	uint32_t i;

	env_start();
	env_client();
	publish(0, 1, "a.b", 64, 10);
	for (i = 0; i < CREDIT_MAX_STRIKES; i++) {
		publish(0, 65 + i, "a.b", 1, 10);
	}
	while ((f = env_read(0))->kind_case == EVENTBUS__V1__FRAME__KIND_PUBLISHED) {
	}
	ck_assert_int_eq(f->kind_case, EVENTBUS__V1__FRAME__KIND_ERROR);
	ck_assert(f->error->closing);
	ck_assert_int_eq(f->error->reason, EVENTBUS__V1__REASON__REASON_OVERLOADED);
	ck_assert_ptr_null(env_read(0));
	env_finish();
}
END_TEST

START_TEST(test_short_memory_shrinks_the_credit_and_tells)
{
	Eventbus__V1__Published *p;

	env_start();
	env_client();
	the_bus.room = 80000;
	publish(0, 1, "a.b", 1, 10);
	wait_batches(1);
	p = published(0);
	ck_assert_ptr_nonnull(p->credit);
	ck_assert_uint_eq(p->credit->bytes, 16384);
	ck_assert_uint_eq(p->credit->events, 64);
	the_bus.room = 64 << 20;
	fake_tell(OUTCOME_OK, REASON_NONE, "");
	p = published(0);
	ck_assert_uint_eq(p->n_confirmed, 1);
	p = published(0); /* it grows once the loop has polled */
	ck_assert_uint_eq(p->credit->bytes, 65536);
	env_finish();
}
END_TEST

START_TEST(test_acks_pass_while_the_credit_is_spent)
{
	struct ranges tags;
	struct buf out;

	env_start();
	env_client();
	publish(0, 1, "a.b", 64, 10);
	wait_batches(1);
	publish(0, 65, "a.b", 1, 10);
	buf_init(&out);
	ranges_init(&tags);
	ranges_add(&tags, 1000, 1001);
	codec_write_ack(&out, &tags, true, 9);
	env_write(0, buf_data(&out), out.len);
	ck_assert_uint_eq(env_expect(0, EVENTBUS__V1__FRAME__KIND_SETTLED)->settled->request, 9);
	published(0);
	ck_assert_uint_eq(the_bus.clients[0]->settled_events, 2);
	ranges_finish(&tags);
	buf_finish(&out);
	env_finish();
}
END_TEST

START_TEST(test_drain_lets_only_busy_members_publish)
{
	struct event *e = env_event("a.b", 10);

	env_start();
	env_client();
	env_client();
	fake_deliver(the_bus.clients[1], e, 1);
	env_expect(1, EVENTBUS__V1__FRAME__KIND_DELIVER);
	sessions_drain(env.set, 1000);
	env_expect(0, EVENTBUS__V1__FRAME__KIND_DRAIN);
	publish(0, 1, "a.b", 1, 10);
	check_failure(published(0)->failures[0], 1, 1, EVENTBUS__V1__OUTCOME__OUTCOME_NOT_STORED,
		      EVENTBUS__V1__REASON__REASON_DRAINING);
	publish(1, 1, "a.b", 1, 10);
	wait_batches(1);
	event_unref(e);
	env_finish();
}
END_TEST

START_TEST(test_events_outlive_their_session)
{
	struct session *s;

	env_start();
	env_client();
	publish(0, 1, "a.b", 10, 1000);
	wait_batches(1);
	s = container_of(env.set->all.next, struct session, link);
	ck_assert_uint_eq(s->credit.events, 10);
	shutdown(env.fd[0], SHUT_RDWR);
	while (!the_bus.clients[0]->destroyed) {
		env_turn();
	}
	env_settle();
	ck_assert_uint_eq(env.set->count, 0);
	ck_assert_uint_eq(env.set->credit.outstanding, 0);
	ck_assert_uint_eq(event_size(the_bus.batch[0]->items[9].event) > 1000, true);
	fake_tell(OUTCOME_OK, REASON_NONE, "");
	env_finish();
}
END_TEST

START_TEST(test_many_failures_come_in_several_frames)
{
	struct event *e[64];
	uint32_t i, told = 0;
	Eventbus__V1__Published *p;

	env_start();
	env_client();
	for (i = 0; i < 64; i++) {
		char topic[32];

		snprintf(topic, sizeof(topic), "%*s!", (int)i + 1, "a");
		e[i] = env_event(topic, 0);
	}
	for (i = 0; i < 10; i++) {
		env_send_publish(0, 1 + i * 64, false, e, 64);
	}
	while (told < 640) {
		p = published(0);
		ck_assert_uint_le(p->n_failures, 128);
		for (i = 0; i < p->n_failures; i++) {
			ck_assert_uint_eq(p->failures[i]->range->first, told + 1);
			told = (uint32_t)p->failures[i]->range->last;
		}
	}
	for (i = 0; i < 64; i++) {
		event_unref(e[i]);
	}
	env_finish();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("session_publish");
	TCase *tc = tcase_create("publish");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, test_answers_of_a_turn_are_one_frame);
	tcase_add_test(tc, test_failures_of_the_bus_are_passed_on);
	tcase_add_test(tc, test_id_and_time_are_added);
	tcase_add_test(tc, test_positions_and_ids_are_told_when_asked);
	tcase_add_test(tc, test_content_error_refuses_that_event_alone);
	tcase_add_test(tc, test_message_type_alone_names_no_topic);
	tcase_add_test(tc, test_texts_are_utf8_also_where_they_are_cut);
	tcase_add_test(tc, test_topic_that_no_broker_takes);
	tcase_add_test(tc, test_a_run_of_one_topic_is_looked_up_once);
	tcase_add_loop_test(tc, test_sequences_must_rise, 0, 4);
	tcase_add_test(tc, test_access_is_checked);
	tcase_add_test(tc, test_beyond_the_credit_is_overloaded);
	tcase_add_test(tc, test_one_event_always_fits);
	tcase_add_test(tc, test_client_that_keeps_overrunning_is_cut);
	tcase_add_test(tc, test_short_memory_shrinks_the_credit_and_tells);
	tcase_add_test(tc, test_acks_pass_while_the_credit_is_spent);
	tcase_add_test(tc, test_drain_lets_only_busy_members_publish);
	tcase_add_test(tc, test_events_outlive_their_session);
	tcase_add_test(tc, test_many_failures_come_in_several_frames);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_set_fork_status(runner, CK_FORK);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
