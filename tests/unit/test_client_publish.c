/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/fake_publisher.h"
#include "tests/unit/suite.h"

START_TEST(events_arrive_as_they_were_given)
{
	const struct eventbus_pair meta[] = {{"a", "1"}, {"b", "zwei"}};
	const struct eventbus_message m = {
		.topic = TOPIC,
		.payload = "p\0q",
		.payload_size = 3,
		.id = "id-1",
		.key = "k",
		.content_type = "text/plain",
		.message_type = "shop.Order",
		.published_at_ms = 42,
		.metadata = meta,
		.metadata_count = 2,
	};
	struct fake f;
	struct eventbus *c;
	Eventbus__V1__Event *e;

	fake_start(&f);
	c = fake_client(&f, NULL);
	ck_assert_int_eq(eventbus_publish(c, &m, NULL, NULL), 0);
	ck_assert_int_eq(eventbus_process(c), 0);
	e = FAKE_EXPECT(&f, PUBLISH)->publish->events[0];
	ck_assert_str_eq(e->id, "id-1");
	ck_assert_str_eq(e->topic, TOPIC);
	ck_assert_uint_eq(e->payload.len, 3);
	ck_assert_mem_eq(e->payload.data, "p\0q", 3);
	ck_assert_str_eq(e->key, "k");
	ck_assert_str_eq(e->content_type, "text/plain");
	ck_assert_str_eq(e->message_type, "shop.Order");
	ck_assert_int_eq(e->published_at_ms, 42);
	ck_assert_uint_eq(e->n_metadata, 2);
	ck_assert_str_eq(e->metadata[1]->value, "zwei");
	eventbus_destroy(c);
	fake_stop(&f);
}
END_TEST

START_TEST(an_id_and_a_time_are_made)
{
	struct seen s = {0};
	struct fake f;
	struct eventbus *c;
	Eventbus__V1__Event *e;
	char id[64];

	fake_start(&f);
	c = fake_client(&f, NULL);
	publish_n(c, 1, &s);
	eventbus_process(c);
	e = FAKE_EXPECT(&f, PUBLISH)->publish->events[0];
	ck_assert_uint_eq(strlen(e->id), 36);
	ck_assert_int_gt(e->published_at_ms, 1600000000000);
	snprintf(id, sizeof(id), "%s", e->id);
	fake_confirm(&f, 1, 1, 0);
	fake_turns(c, &s.told, 1);
	ck_assert_int_eq(s.last.outcome, EVENTBUS_STORED);
	ck_assert_str_eq(s.last.id, id);
	ck_assert_uint_eq(eventbus_unconfirmed(c), 0);
	eventbus_destroy(c);
	fake_stop(&f);
}
END_TEST

START_TEST(many_leave_in_few_frames)
{
	struct seen s = {0};
	struct fake f;
	struct eventbus *c;
	Eventbus__V1__Publish *p;

	fake_start(&f);
	c = fake_client(&f, NULL);
	publish_n(c, 20, &s);
	eventbus_process(c);
	p = FAKE_EXPECT(&f, PUBLISH)->publish;
	ck_assert_uint_eq(p->first_sequence, 1);
	ck_assert_uint_eq(p->n_events, 8);
	p = FAKE_EXPECT(&f, PUBLISH)->publish;
	ck_assert_uint_eq(p->first_sequence, 9);
	p = FAKE_EXPECT(&f, PUBLISH)->publish;
	ck_assert_uint_eq(p->n_events, 4);
	ck_assert(fake_nothing_to_read(&f));
	eventbus_destroy(c);
	ck_assert_int_eq(s.told, 20);
	ck_assert_int_eq(s.last.outcome, EVENTBUS_UNKNOWN);
	fake_stop(&f);
}
END_TEST

START_TEST(credit_in_events_is_respected)
{
	struct seen s = {0};
	struct fake f;
	struct eventbus *c;

	fake_start(&f);
	f.credit_events = 3;
	c = fake_client(&f, NULL);
	publish_n(c, 5, &s);
	eventbus_process(c);
	ck_assert_uint_eq(FAKE_EXPECT(&f, PUBLISH)->publish->n_events, 3);
	ck_assert(fake_nothing_to_read(&f));
	fake_confirm(&f, 1, 1, 0);
	fake_turns(c, &s.told, 1);
	ck_assert_uint_eq(FAKE_EXPECT(&f, PUBLISH)->publish->n_events, 1);
	fake_confirm(&f, 2, 4, 1); /* it shrinks */
	fake_turns(c, &s.told, 4);
	ck_assert_uint_eq(FAKE_EXPECT(&f, PUBLISH)->publish->first_sequence, 5);
	eventbus_destroy(c);
	fake_stop(&f);
}
END_TEST

START_TEST(credit_in_bytes_is_respected_and_one_large_event_still_leaves)
{
	struct seen s = {0};
	struct fake f;
	struct eventbus *c;
	char large[4000];

	memset(large, 'x', sizeof(large) - 1);
	large[sizeof(large) - 1] = '\0';
	fake_start(&f);
	f.credit_bytes = 150;
	c = fake_client(&f, NULL);
	publish_n(c, 3, &s);
	ck_assert_int_eq(publish(c, large, &s), 0);
	eventbus_process(c);
	ck_assert_uint_eq(FAKE_EXPECT(&f, PUBLISH)->publish->n_events, 2);
	ck_assert(fake_nothing_to_read(&f));
	fake_confirm(&f, 1, 2, 0);
	fake_turns(c, &s.told, 2);
	ck_assert_uint_eq(FAKE_EXPECT(&f, PUBLISH)->publish->n_events, 1);
	fake_confirm(&f, 3, 3, 0);
	fake_turns(c, &s.told, 3);
	ck_assert_uint_eq(FAKE_EXPECT(&f, PUBLISH)->publish->events[0]->payload.len, 3999);
	eventbus_destroy(c);
	fake_stop(&f);
}
END_TEST

/* Around the sizes at which a length takes one byte more. */
START_TEST(credit_is_counted_as_the_daemon_counts_it)
{
	static char payload[16500];
	struct seen s = {0};
	struct fake f;
	struct eventbus *c;

	memset(payload, 'x', sizeof(payload) - 1);
	fake_start(&f);
	c = fake_client(&f, NULL);
	for (size_t n = 16290; n < 16390; n++) {
		const struct eventbus_message m = {
			.topic = TOPIC, .payload = payload, .payload_size = n};
		/* id 38, topic 16, payload and 3 or 4, time 7 */
		size_t event = 38 + 16 + n + (n < 16384 ? 3 : 4) + 7;

		f.credit_bytes = 2 * event - 1;
		fake_confirm(&f, 0, 0, 64);
		ck_assert_int_eq(eventbus_run_once(c, FAKE_WAIT_MS), 0);
		ck_assert_int_eq(eventbus_publish(c, &m, on_published, &s), 0);
		ck_assert_int_eq(eventbus_publish(c, &m, on_published, &s), 0);
		eventbus_process(c);
		ck_assert_uint_eq(FAKE_EXPECT(&f, PUBLISH)->publish->n_events, 1);
		ck_assert_msg(fake_nothing_to_read(&f), "%zu bytes", n);
		f.credit_bytes++;
		fake_confirm(&f, 0, 0, 64);
		ck_assert_int_eq(eventbus_run_once(c, FAKE_WAIT_MS), 0);
		ck_assert_uint_eq(FAKE_EXPECT(&f, PUBLISH)->publish->n_events, 1);
		fake_confirm(&f, 1, UINT64_MAX - 1, 0);
		s.told = 0;
		fake_turns(c, &s.told, 2);
	}
	eventbus_destroy(c);
	fake_stop(&f);
}
END_TEST

START_TEST(without_credit_nothing_leaves)
{
	struct seen s = {0};
	struct fake f;
	struct eventbus *c;

	fake_start(&f);
	f.credit_events = 0;
	f.credit_bytes = 0;
	c = fake_client(&f, NULL);
	publish_n(c, 1, &s);
	eventbus_process(c);
	ck_assert(fake_nothing_to_read(&f));
	eventbus_destroy(c);
	ck_assert_int_eq(s.last.outcome, EVENTBUS_NOT_STORED);
	fake_stop(&f);
}
END_TEST

START_TEST(a_full_queue_says_again)
{
	const struct eventbus_options o = {.queue_events = 4};
	struct seen s = {0};
	struct fake f;
	struct eventbus *c;

	fake_start(&f);
	c = fake_client(&f, &o);
	publish_n(c, 4, &s);
	ck_assert_int_eq(publish(c, "x", &s), EVENTBUS_EAGAIN);
	eventbus_process(c);
	fake_confirm(&f, 1, 2, 0);
	fake_turns(c, &s.told, 2);
	publish_n(c, 2, &s);
	ck_assert_int_eq(publish(c, "x", &s), EVENTBUS_EAGAIN);
	eventbus_destroy(c);
	fake_stop(&f);
}
END_TEST

START_TEST(a_full_queue_of_bytes_says_again)
{
	const struct eventbus_options o = {.queue_bytes = 300};
	struct seen s = {0};
	struct fake f;
	struct eventbus *c;
	int n = 0;

	fake_start(&f);
	c = fake_client(&f, &o);
	while (publish(c, "x", &s) == 0) {
		n++;
	}
	ck_assert_int_ge(n, 2);
	ck_assert_int_le(n, 5);
	eventbus_destroy(c);
	fake_stop(&f);
}
END_TEST

static int refused(struct eventbus *c, const struct eventbus_message *m)
{
	int rc = eventbus_publish(c, m, NULL, NULL);

	ck_assert_str_ne(eventbus_error_text(c), "");
	return rc;
}

START_TEST(what_would_end_the_session_is_refused_here)
{
	const struct eventbus_pair twice[] = {{"a", "1"}, {"a", "2"}};
	const struct eventbus_pair bad[] = {{"a", "\xff"}};
	const struct eventbus_pair empty[] = {{"", "1"}};
	struct eventbus_pair many[65];
	struct eventbus_message m = {.topic = TOPIC};
	struct fake f;
	struct eventbus *c;
	char big[2000];

	fake_start(&f);
	c = fake_client(&f, NULL);
	ck_assert_int_eq(refused(c, &(struct eventbus_message){0}), EVENTBUS_EINVAL);
	ck_assert_int_eq(refused(c, &(struct eventbus_message){.topic = "a.*"}), EVENTBUS_EINVAL);
	m.key = "\xc3(";
	ck_assert_int_eq(refused(c, &m), EVENTBUS_EINVAL);
	m.key = NULL;
	m.metadata = twice;
	m.metadata_count = 2;
	ck_assert_int_eq(refused(c, &m), EVENTBUS_EINVAL);
	m.metadata = bad;
	m.metadata_count = 1;
	ck_assert_int_eq(refused(c, &m), EVENTBUS_EINVAL);
	m.metadata = empty;
	ck_assert_int_eq(refused(c, &m), EVENTBUS_EINVAL);
	m.metadata = many;
	m.metadata_count = 65;
	ck_assert_int_eq(refused(c, &m), EVENTBUS_ETOOBIG);
	m.metadata_count = 0;
	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	m.id = big;
	ck_assert_int_eq(refused(c, &m), EVENTBUS_ETOOBIG);
	m.id = NULL;
	m.payload = big;
	m.payload_size = (size_t)1 << 20;
	ck_assert_int_eq(refused(c, &m), EVENTBUS_ETOOBIG);
	ck_assert_uint_eq(eventbus_unconfirmed(c), 0);
	eventbus_process(c);
	ck_assert(fake_nothing_to_read(&f));
	eventbus_destroy(c);
	fake_stop(&f);
}
END_TEST

START_TEST(frames_stay_below_the_daemon_s_largest)
{
	static char payload[1000];
	struct seen s = {0};
	struct fake f;
	struct eventbus *c;
	uint32_t got = 0;

	memset(payload, 'x', sizeof(payload) - 1);
	fake_start(&f);
	f.max_frame = 3000;
	c = fake_client(&f, NULL);
	framer_finish(&f.in);
	framer_init(&f.in, f.max_frame, NULL);
	for (int i = 0; i < 8; i++) {
		ck_assert_int_eq(publish(c, payload, &s), 0);
	}
	eventbus_process(c);
	while (got < 8) {
		got += (uint32_t)FAKE_EXPECT(&f, PUBLISH)->publish->n_events;
	}
	eventbus_destroy(c);
	fake_stop(&f);
}
END_TEST

static void destroy_when_told(void *ctx, const struct eventbus_result *r)
{
	struct seen *s = ctx;

	ck_assert_int_eq(r->reason, EVENTBUS_REASON_TOO_LARGE);
	s->told++;
	eventbus_destroy(s->client);
}

START_TEST(what_became_too_large_is_told_in_a_turn)
{
	static char payload[9000];
	const struct eventbus_message m = {
		.topic = TOPIC, .payload = payload, .payload_size = sizeof(payload)};
	struct eventbus_options o = {0};
	struct seen s = {0};
	struct fake f;
	struct eventbus *c;
	int rc = 0;

	fake_start(&f);
	f.max_frame = 3000;
	o.socket = f.path;
	ck_assert_int_eq(eventbus_create(&o, &c), 0);
	s.client = c;
	ck_assert_int_eq(eventbus_publish(c, &m, destroy_when_told, &s), 0);
	ck_assert_int_eq(eventbus_process(c), 0);
	fake_accept(&f);
	FAKE_EXPECT(&f, HELLO);
	fake_welcome(&f);
	while (rc == 0) {
		rc = eventbus_run_once(c, FAKE_WAIT_MS);
	}
	ck_assert_int_eq(rc, EVENTBUS_ECANCELED);
	ck_assert_int_eq(s.told, 1);
	fake_stop(&f);
}
END_TEST

START_TEST(many_thousands_pass_through)
{
	struct fake f;
	struct eventbus *c;
	int sent = 0, answered = 0;
	struct seen s = {0};

	fake_start(&f);
	c = fake_client(&f, NULL);
	while (answered < 5000) {
		Eventbus__V1__Publish *p;

		while (sent < 5000 && sent - answered < 300) {
			const struct eventbus_message m = {
				.topic = TOPIC, .payload = &s, .payload_size = (size_t)sent % 200};

			ck_assert_int_eq(eventbus_publish(c, &m, NULL, NULL), 0);
			sent++;
		}
		eventbus_process(c);
		p = FAKE_EXPECT(&f, PUBLISH)->publish;
		ck_assert_uint_eq(p->first_sequence, (uint64_t)answered + 1);
		ck_assert_uint_eq(p->events[0]->payload.len, (size_t)answered % 200);
		answered += (int)p->n_events;
		fake_confirm(&f, p->first_sequence, p->first_sequence + p->n_events - 1, 0);
	}
	while (eventbus_unconfirmed(c)) {
		eventbus_run_once(c, FAKE_WAIT_MS);
	}
	eventbus_destroy(c);
	fake_stop(&f);
}
END_TEST

int main(void)
{
	const TTest *tests[] = {
		events_arrive_as_they_were_given,
		an_id_and_a_time_are_made,
		many_leave_in_few_frames,
		credit_in_events_is_respected,
		credit_in_bytes_is_respected_and_one_large_event_still_leaves,
		credit_is_counted_as_the_daemon_counts_it,
		without_credit_nothing_leaves,
		a_full_queue_says_again,
		a_full_queue_of_bytes_says_again,
		what_would_end_the_session_is_refused_here,
		frames_stay_below_the_daemon_s_largest,
		what_became_too_large_is_told_in_a_turn,
		many_thousands_pass_through,
	};

	return suite_run("client publish", tests, sizeof(tests) / sizeof(tests[0]));
}
