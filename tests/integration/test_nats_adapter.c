/* SPDX-License-Identifier: Apache-2.0 */
/* The NATS adapter behind adapter.h, against a real nats-server. */
#include "tests/integration/nats_setup.h"

START_TEST(publishes_are_confirmed_with_their_position)
{
	struct setup s;
	struct probe_batch *b;

	setup_begin(&s);
	b = probe_publish(&s.probe, "orders.created", "a", 1000, 128);
	ck_assert_uint_eq(probe_count(b, OUTCOME_OK), 1000);
	for (uint32_t i = 0; i < 1000; i++) {
		ck_assert_uint_eq(b->p->items[i].position.a, i + 1);
		ck_assert(!b->p->items[i].duplicate);
	}
	b = probe_publish(&s.probe, "orders.created", "a", 1, 128);
	ck_assert(b->p->items[0].duplicate);
	ck_assert_uint_eq(b->p->items[0].position.a, 1);
	b = probe_publish(&s.probe, "orders.other", "a", 1, 128);
	ck_assert(!b->p->items[0].duplicate); /* the topic is part of the identity */
	setup_end(&s);
}
END_TEST

START_TEST(a_group_gets_each_event_once)
{
	struct setup s;
	struct probe_flow f;

	setup_begin(&s);
	probe_live(&s.probe, &f, "g", "orders.*", from_new, 100);
	ck_assert(!f.notes[0].position_existed);
	probe_publish(&s.probe, "orders.created", "a", 1000, 16);
	while (f.n < 1000) {
		probe_until(&s.probe, f.n > f.settled);
		ck_assert_uint_le(f.n - f.settled, 100);
		probe_settle(&f, SETTLE_ACK, f.n - f.settled);
		flow_credit(&f.f, (struct credit){100, 1 << 20});
	}
	for (uint32_t i = 0; i < 1000; i++) {
		ck_assert_uint_eq(f.got[i].position.a, i + 1);
		ck_assert_uint_eq(f.got[i].failures.count, 0);
	}
	probe_leave(&s.probe, &f);
	probe_forget(&f);
	probe_live(&s.probe, &f, "g", "orders.*", from_first, 10);
	ck_assert(f.notes[0].position_existed);
	probe_publish(&s.probe, "orders.created", "b", 1, 16);
	probe_until(&s.probe, f.n == 1);
	ck_assert_uint_eq(f.got[0].position.a, 1001);
	probe_leave(&s.probe, &f);
	probe_forget(&f);
	setup_end(&s);
}
END_TEST

START_TEST(what_was_released_comes_again_uncounted)
{
	struct setup s;
	struct probe_flow f;

	setup_begin(&s);
	probe_live(&s.probe, &f, "g", "a.>", from_new, 10);
	probe_publish(&s.probe, "a.b", "x", 3, 8);
	probe_until(&s.probe, f.n == 3);
	probe_settle(&f, SETTLE_RELEASE, 3);
	probe_until(&s.probe, f.n == 6);
	ck_assert_uint_eq(f.got[5].failures.count, 0);
	probe_settle(&f, SETTLE_ACK, 3);
	probe_leave(&s.probe, &f);
	probe_forget(&f);
	setup_end(&s);
}
END_TEST

static void settle_one(struct probe_flow *f, uint32_t i, enum settle_kind kind, uint32_t count,
		       int64_t delay_ms)
{
	const struct settlement one = {
		.handle = f->got[i].handle,
		.kind = kind,
		.delay_ms = delay_ms,
		.failures = {count, 1700000000000, 1700000000000 + count},
		.ctx = f,
	};

	flow_settle(&f->f, &one, 1);
}

START_TEST(recorded_failures_survive_the_daemon_and_go_with_the_event)
{
	struct setup s;
	struct probe_flow f;
	struct foreign client;

	setup_begin(&s);
	probe_live(&s.probe, &f, "g", "a", from_new, 10);
	probe_publish(&s.probe, "a", "x", 2, 8);
	probe_until(&s.probe, f.n == 2);
	settle_one(&f, 0, SETTLE_RETRY, 1, 0);
	settle_one(&f, 1, SETTLE_RETRY, 5, 0);
	probe_until(&s.probe, f.recorded == 2);
	settle_one(&f, 0, SETTLE_RETRY, 2, 0);
	probe_until(&s.probe, f.recorded == 3);
	probe_leave(&s.probe, &f);
	probe_forget(&f);
	probe_stop(&s.probe, true);

	setup_probe(&s, &s.probe);
	probe_live(&s.probe, &f, "g", "a", from_new, 10);
	probe_until(&s.probe, f.n == 2);
	ck_assert_uint_eq(f.got[0].failures.count, 2);
	ck_assert_int_eq(f.got[0].failures.first_ms, 1700000000000);
	ck_assert_int_eq(f.got[0].failures.last_ms, 1700000000002);
	ck_assert_uint_eq(f.got[1].failures.count, 5);
	probe_settle(&f, SETTLE_ACK, 2);
	probe_leave(&s.probe, &f);
	probe_forget(&f);
	probe_stop(&s.probe, false);

	foreign_open(&client, &s);
	while (foreign_messages(&client, "KV_eb-failures-events") != 0) {
		natsConnection_Flush(client.nc);
	}
	foreign_close(&client);
	server_end(&s.server);
}
END_TEST

START_TEST(a_parked_event_waits_at_the_server)
{
	struct setup s;
	struct probe_flow f;
	int64_t before;

	setup_begin(&s);
	probe_live(&s.probe, &f, "g", "a", from_new, 10);
	probe_publish(&s.probe, "a", "x", 1, 8);
	probe_until(&s.probe, f.n == 1);
	before = clock_mono_ms();
	settle_one(&f, 0, SETTLE_PARK, 3, 300);
	f.settled = 1;
	event_unref(f.got[0].event);
	f.got[0].event = NULL;
	probe_until(&s.probe, f.n == 2);
	ck_assert_int_ge(clock_mono_ms() - before, 300);
	ck_assert_uint_eq(f.recorded, 1);
	ck_assert_uint_eq(f.got[1].failures.count, 3);
	probe_settle(&f, SETTLE_ACK, 1);
	probe_leave(&s.probe, &f);
	probe_forget(&f);
	setup_end(&s);
}
END_TEST

START_TEST(what_is_held_is_kept_from_others)
{
	struct setup s;
	struct probe_flow f;
	int64_t until;

	setup_begin(&s);
	s.options.ack_wait_ms = 1000;
	probe_live(&s.probe, &f, "g", "a", from_new, 10);
	probe_publish(&s.probe, "a", "x", 5, 8);
	probe_until(&s.probe, f.n == 5);
	until = clock_mono_ms() + 2500;
	probe_until(&s.probe, clock_mono_ms() > until);
	ck_assert_uint_eq(f.n, 5);
	probe_settle(&f, SETTLE_ACK, 5);
	probe_leave(&s.probe, &f);
	probe_forget(&f);
	setup_end(&s);
}
END_TEST

START_TEST(without_a_group_nothing_stays_behind)
{
	struct setup s;
	struct probe_flow f, g;
	struct foreign client;
	jsConsumerNamesList *names = NULL;

	setup_begin(&s);
	probe_publish(&s.probe, "a", "old", 2, 8);
	probe_live(&s.probe, &f, NULL, "a", from_new, 10);
	probe_live(&s.probe, &g, NULL, ">", from_first, 10);
	probe_publish(&s.probe, "a", "x", 2, 8);
	probe_until(&s.probe, f.n == 2 && g.n == 4);
	settle_one(&f, 0, SETTLE_RETRY, 1, 0);
	probe_until(&s.probe, f.recorded == 1);
	probe_settle(&f, SETTLE_RELEASE, 1);
	probe_until(&s.probe, f.n == 3);
	ck_assert_uint_eq(f.got[2].position.a, 3);
	probe_settle(&f, SETTLE_ACK, 2);
	probe_leave(&s.probe, &f);
	probe_leave(&s.probe, &g);
	probe_forget(&f);
	probe_forget(&g);
	foreign_open(&client, &s);
	do {
		jsConsumerNamesList_Destroy(names);
		names = NULL;
	} while (js_ConsumerNames(&names, client.js, "events", NULL, NULL) == NATS_OK &&
		 names->Count > 0);
	jsConsumerNamesList_Destroy(names);
	foreign_close(&client);
	setup_end(&s);
}
END_TEST

START_TEST(starts_at_a_time_and_at_a_position)
{
	struct setup s;
	struct probe_flow f;
	struct probe_batch *b;
	char text[POSITION_TEXT_MAX];
	struct start at = {.kind = START_POSITION};
	struct err_text err;

	setup_begin(&s);
	b = probe_publish(&s.probe, "a", "x", 5, 8);
	ck_assert_int_eq(
		adapter_format_position(s.probe.a, slice_str("a"), b->p->items[2].position, text),
		0);
	ck_assert_int_eq(adapter_parse_position(s.probe.a, text, &at.position, &err), 0);
	probe_live(&s.probe, &f, "p", "a", at, 10);
	probe_until(&s.probe, f.n == 2);
	ck_assert_uint_eq(f.got[0].position.a, 4);
	probe_settle(&f, SETTLE_ACK, 2);
	probe_leave(&s.probe, &f);
	probe_forget(&f);
	at = (struct start){.kind = START_TIME, .time_ms = clock_unix_ms() - 3600000};
	probe_live(&s.probe, &f, "t", "a", at, 10);
	probe_until(&s.probe, f.n == 5);
	probe_settle(&f, SETTLE_ACK, 5);
	probe_leave(&s.probe, &f);
	probe_forget(&f);
	ck_assert_int_eq(
		adapter_parse_position(s.probe.a, "nats1/other/events/a/4", &at.position, &err),
		EB_EINVAL);
	ck_assert_int_eq(
		adapter_parse_position(s.probe.a, "nats1/default/events/a/x", &at.position, &err),
		EB_EINVAL);
	setup_end(&s);
}
END_TEST

START_TEST(bytes_bound_what_is_fetched_and_one_always_fits)
{
	struct setup s;
	struct probe_flow f;

	setup_begin(&s);
	probe_subscribe(&s.probe, &f, "g", "a", from_new);
	probe_until(&s.probe, f.n_notes > 0);
	probe_publish(&s.probe, "a", "x", 8, 10000);
	flow_credit(&f.f, (struct credit){100, 35000});
	probe_until(&s.probe, f.n >= 1);
	probe_settle_down(&s.probe);
	ck_assert_uint_le(f.n, 3);
	while (f.n < 8) {
		const uint32_t n = f.n;

		flow_credit(&f.f, (struct credit){100, 100}); /* less than any event */
		probe_until(&s.probe, f.n > n);
		ck_assert_uint_eq(f.n, n + 1);
	}
	probe_settle(&f, SETTLE_ACK, 8);
	probe_leave(&s.probe, &f);
	probe_forget(&f);
	setup_end(&s);
}
END_TEST

START_TEST(foreign_events_are_repaired_and_stable)
{
	struct setup s;
	struct probe_flow f;
	struct foreign client;
	struct slice v;
	const char *const headers[] = {"x-event-id", "id-1", "trace", "00-abc", "Nats-Odd", "1",
				       "X-Mine",     "yes",  "k!",    "v",	NULL};

	setup_begin(&s);
	foreign_open(&client, &s);
	probe_live(&s.probe, &f, "g", "a.>", from_new, 10);
	foreign_publish(&client, "events.a.one", "1", headers);
	foreign_publish(&client, "events.a.two", "2", NULL);
	foreign_publish(&client, "events.a.b$c", "odd", NULL);
	foreign_publish(&client, "events.a.three", "3", NULL);
	probe_until(&s.probe, f.n == 3);
	ck_assert(slice_eq_str(f.got[0].event->id, "id-1"));
	ck_assert(slice_eq_str(f.got[0].event->topic, "a.one"));
	ck_assert(event_metadata_get(f.got[0].event, "trace", &v) && slice_eq_str(v, "00-abc"));
	ck_assert(event_metadata_get(f.got[0].event, "X-Mine", &v));
	ck_assert(event_metadata_get(f.got[0].event, "k%21", &v) ||
		  f.got[0].event->metadata_count == 3);
	ck_assert(!event_metadata_get(f.got[0].event, "Nats-Odd", &v));
	ck_assert_uint_eq(f.got[1].event->id.n, 36);
	ck_assert_int_gt(f.got[1].event->published_at_ms, 1700000000000);
	ck_assert(slice_eq_str(got_payload(&f, 2), "3"));
	probe_settle(&f, SETTLE_ACK, 3);
	probe_leave(&s.probe, &f);
	probe_forget(&f);
	foreign_close(&client);
	setup_end(&s);
}
END_TEST

START_TEST(every_field_crosses)
{
	static const struct metadata_pair pairs[] = {
		{{(const uint8_t *)"dlq.error", 9}, {(const uint8_t *)"two\nlines", 9}},
		{{(const uint8_t *)"Nats-Rollup", 11}, {(const uint8_t *)"all", 3}},
		{{(const uint8_t *)"x-trace", 7}, {(const uint8_t *)"a  b", 4}},
	};
	const struct event_fields fields = {
		.id = slice_str("id 1"),
		.topic = slice_str("a"),
		.payload = slice_of("\0\1\2", 3),
		.key = slice_str("k \xc3\xbc"),
		.content_type = slice_str("text/plain"),
		.message_type = slice_str("x.v1.Y"),
		.published_at_ms = 1700000000123,
		.metadata = pairs,
		.metadata_count = 3,
	};
	struct setup s;
	struct probe_flow f;
	struct probe_batch *b;
	struct event *e;
	struct slice v;

	setup_begin(&s);
	probe_live(&s.probe, &f, "g", "a", from_new, 10);
	b = probe_batch(&s.probe, 1);
	b->p->items[0].event = event_build(&fields, NULL);
	adapter_publish(s.probe.a, b->p);
	probe_until(&s.probe, f.n == 1);
	e = f.got[0].event;
	ck_assert(slice_eq(e->id, fields.id) && slice_eq(e->payload, fields.payload));
	ck_assert(slice_eq(e->key, fields.key) && slice_eq(e->content_type, fields.content_type));
	ck_assert(slice_eq(e->message_type, fields.message_type));
	ck_assert_int_eq(e->published_at_ms, fields.published_at_ms);
	ck_assert_uint_eq(e->metadata_count, 2);
	ck_assert(event_metadata_get(e, "dlq.error", &v) && slice_eq_str(v, "two%0Alines"));
	ck_assert(event_metadata_get(e, "x-trace", &v) && slice_eq_str(v, "a  b"));
	probe_until(&s.probe, b->told == 1);
	probe_settle(&f, SETTLE_ACK, 1);
	probe_leave(&s.probe, &f);
	probe_forget(&f);
	setup_end(&s);
}
END_TEST

START_TEST(too_large_and_unroutable_are_refused_alone)
{
	struct setup s;
	struct probe_batch *b;
	struct answer why;
	static char big[1 << 20];
	const char *topics[] = {"a", "a", "a"};

	setup_begin(&s);
	ck_assert_uint_eq(adapter_capabilities(s.probe.a)->max_event_bytes, (1 << 20) - 512);
	ck_assert_int_eq(adapter_capabilities(s.probe.a)->dedupe_window_ms, 120000);
	b = probe_batch(&s.probe, 3);
	for (uint32_t i = 0; i < 3; i++) {
		char id[8] = {'i', (char)('0' + i), 0};

		b->p->items[i].event = probe_event(topics[i], id, big, i == 1 ? sizeof(big) : 10);
	}
	adapter_publish(s.probe.a, b->p);
	probe_until(&s.probe, b->told == 3);
	ck_assert_int_eq(b->p->items[0].answer.outcome, OUTCOME_OK);
	ck_assert_int_eq(b->p->items[2].answer.outcome, OUTCOME_OK);
	ck_assert_int_eq(b->p->items[1].answer.outcome, OUTCOME_PERMANENT);
	ck_assert_int_eq(b->p->items[1].answer.reason, REASON_TOO_LARGE);
	ck_assert(adapter_topic_ok(s.probe.a, slice_str("x.y"), &why));
	b = probe_publish(&s.probe, "fits", "max", 1, (1 << 20) - 512 - 60);
	ck_assert_uint_eq(probe_count(b, OUTCOME_OK), 1);
	setup_end(&s);
}
END_TEST

START_TEST(a_stream_without_the_subject_refuses_the_topic)
{
	struct setup s;
	struct probe_batch *b;
	struct answer why;
	char *subjects[] = {(char *)"events.only.>"};

	signal(SIGPIPE, SIG_IGN);
	server_start(&s.server);
	setup_options(&s);
	s.options.stream_config.subjects = (struct option_strings){subjects, 1};
	setup_probe(&s, &s.probe);
	ck_assert(!adapter_topic_ok(s.probe.a, slice_str("other"), &why));
	ck_assert_int_eq(why.reason, REASON_UNROUTABLE);
	ck_assert(adapter_topic_ok(s.probe.a, slice_str("only.this"), &why));
	b = probe_publish(&s.probe, "other", "x", 3, 8);
	ck_assert_uint_eq(probe_count(b, OUTCOME_PERMANENT), 3);
	b = probe_publish(&s.probe, "only.this", "x", 3, 8);
	ck_assert_uint_eq(probe_count(b, OUTCOME_OK), 3);
	setup_end(&s);
}
END_TEST

START_TEST(the_stream_deleted_under_us_is_made_again)
{
	struct setup s;
	struct probe_batch *b;
	struct foreign client;
	struct probe_flow f;

	setup_begin(&s);
	foreign_open(&client, &s);
	probe_live(&s.probe, &f, "g", "a", from_new, 10);
	probe_publish(&s.probe, "a", "x", 3, 8);
	probe_until(&s.probe, f.n == 3);
	ck_assert_int_eq(js_DeleteStream(client.js, "events", NULL, NULL), NATS_OK);
	b = probe_publish(&s.probe, "a", "y", 3, 8);
	ck_assert_uint_eq(probe_count(b, OUTCOME_OK), 3);
	probe_until(&s.probe, f.n == 6); /* none of the new stream is missed */
	ck_assert_uint_eq(f.got[3].position.a, 1);
	probe_settle(&f, SETTLE_ACK, 6);
	probe_leave(&s.probe, &f);
	probe_forget(&f);
	foreign_close(&client);
	setup_end(&s);
}
END_TEST

START_TEST(a_deleted_consumer_is_made_again_behind_its_position)
{
	struct setup s;
	struct foreign client;
	struct probe_flow f;
	jsConsumerNamesList *names = NULL;

	setup_begin(&s);
	foreign_open(&client, &s);
	probe_live(&s.probe, &f, "g", "a", from_new, 100);
	probe_publish(&s.probe, "a", "x", 3, 8);
	probe_until(&s.probe, f.n == 3);
	probe_settle(&f, SETTLE_ACK, 3);
	ck_assert_int_eq(js_ConsumerNames(&names, client.js, "events", NULL, NULL), NATS_OK);
	ck_assert_int_eq(names->Count, 1);
	js_DeleteConsumer(client.js, "events", names->List[0], NULL, NULL);
	jsConsumerNamesList_Destroy(names);
	probe_publish(&s.probe, "a", "y", 2, 8);
	probe_until(&s.probe, f.n >= 5 && f.got[f.n - 1].position.a == 5);
	assert_note(&f, 1, FLOW_DEGRADED);
	assert_note(&f, 2, FLOW_LIVE);
	probe_settle(&f, SETTLE_ACK, f.n - f.settled);
	probe_leave(&s.probe, &f);
	probe_forget(&f);
	foreign_close(&client);
	setup_end(&s);
}
END_TEST

int main(void)
{
	const TTest *tests[] = {
		publishes_are_confirmed_with_their_position,
		a_group_gets_each_event_once,
		what_was_released_comes_again_uncounted,
		recorded_failures_survive_the_daemon_and_go_with_the_event,
		a_parked_event_waits_at_the_server,
		what_is_held_is_kept_from_others,
		without_a_group_nothing_stays_behind,
		starts_at_a_time_and_at_a_position,
		bytes_bound_what_is_fetched_and_one_always_fits,
		foreign_events_are_repaired_and_stable,
		every_field_crosses,
		too_large_and_unroutable_are_refused_alone,
		a_stream_without_the_subject_refuses_the_topic,
		the_stream_deleted_under_us_is_made_again,
		a_deleted_consumer_is_made_again_behind_its_position,
	};

	return suite_run("nats_adapter", tests, sizeof(tests) / sizeof(tests[0]));
}
