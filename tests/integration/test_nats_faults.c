/* SPDX-License-Identifier: Apache-2.0 */
/* The NATS adapter when the server dies, hangs or is not there. */
#include "tests/integration/nats_load.h"

/* Turns of the loop for so long. Only where the passing of time is what is tested. */
static void run_for(struct probe *probe, int64_t ms)
{
	const int64_t until = clock_mono_ms() + ms;

	probe_until(probe, clock_mono_ms() >= until);
}

/* As probe_start, without waiting for the server. */
static void start_down(struct setup *s)
{
	struct err_text err;
	const struct adapter_env env = {
		.loop = &s->probe.loop,
		.name = "default",
		.instance = "host-1-abc",
		.up = &probe_upcalls,
		.ctx = &s->probe,
		.budget = &s->probe.budget,
		.publish_timeout_ms = 300,
	};

	signal(SIGPIPE, SIG_IGN);
	server_init(&s->server);
	setup_options(s);
	memset(&s->probe, 0, sizeof(s->probe));
	ck_assert_int_eq(uv_loop_init(&s->probe.loop), 0);
	budget_init(&s->probe.budget, NULL, 1 << 26);
	ck_assert_int_eq(adapter_kind_nats.create(&env, &s->options, &s->probe.a, &err), 0);
	ck_assert_int_eq(adapter_start(s->probe.a, &err), 0);
}

START_TEST(a_server_that_comes_late_is_found)
{
	struct setup s;
	struct probe_batch *b;
	struct probe_flow f;

	start_down(&s);
	probe_subscribe(&s.probe, &f, "g", "a", from_new);
	b = probe_publish(&s.probe, "a", "x", 3, 8);
	ck_assert_uint_eq(probe_count(b, OUTCOME_NOT_STORED), 3);
	ck_assert_int_eq(b->p->items[0].answer.reason, REASON_NOT_CONNECTED);
	server_run(&s.server);
	probe_until(&s.probe, f.n_notes == 1);
	assert_note(&f, 0, FLOW_LIVE);
	b = probe_publish(&s.probe, "a", "x", 3, 8);
	ck_assert_uint_eq(probe_count(b, OUTCOME_OK), 3);
	probe_leave(&s.probe, &f);
	setup_end(&s);
}
END_TEST

START_TEST(stops_while_it_was_never_connected)
{
	struct setup s;
	struct probe_batch *b;

	start_down(&s);
	b = probe_batch(&s.probe, 1);
	b->p->items[0].event = probe_event("a", "x", "p", 1);
	adapter_publish(s.probe.a, b->p);
	probe_stop(&s.probe, false);
	server_end(&s.server);
}
END_TEST

START_TEST(stops_in_its_first_turn)
{
	struct setup s;

	signal(SIGPIPE, SIG_IGN);
	for (int i = 0; i < 10; i++) {
		start_down(&s);
		server_run(&s.server);
		for (int j = 0; j < i; j++) {
			uv_run(&s.probe.loop, UV_RUN_ONCE);
		}
		probe_stop(&s.probe, i % 2 == 0);
		server_end(&s.server);
	}
}
END_TEST

/* ---- under load -------------------------------------------------------------------------- */

START_TEST(a_server_killed_under_load_loses_nothing)
{
	struct setup s;
	struct probe_flow f;
	struct load l = {.probe = &s.probe, .flow = &f};
	bool in_order;

	setup_begin(&s);
	probe_live(&s.probe, &f, "g", "a", from_new, 200);
	for (int round = 1; round <= 3; round++) {
		while (l.n_batches < 75U * (uint32_t)round) {
			load_turn(&l);
		}
		server_kill(&s.server);
		server_run(&s.server);
	}
	while (load_unanswered(&l) > 0 || l.n_batches < 300) {
		load_turn(&l);
	}
	ck_assert_uint_eq(s.probe.downs, 3);
	for (uint32_t i = 0; i < l.n_batches; i++) {
		ck_assert_uint_eq(probe_count(l.batch[i], OUTCOME_OK), LOAD_BATCH);
	}
	while (!load_complete(&l, &in_order)) {
		load_turn(&l);
	}
	probe_leave(&s.probe, &f);
	probe_forget(&f);
	setup_end(&s);
}
END_TEST

START_TEST(publishes_stay_in_order_over_a_crash)
{
	struct setup s;
	struct probe_flow f;
	struct load l = {.probe = &s.probe, .flow = &f};
	bool in_order;

	setup_begin(&s);
	probe_subscribe(&s.probe, &f, NULL, "a", from_first);
	probe_until(&s.probe, f.n_notes == 1);
	flow_credit(&f.f, (struct credit){200, 1 << 20});
	for (int round = 1; round <= 2; round++) {
		while (l.n_batches < 100U * (uint32_t)round) {
			load_turn(&l);
		}
		server_kill(&s.server);
		server_run(&s.server);
	}
	do {
		load_turn(&l);
	} while (load_unanswered(&l) > 0 || !load_complete(&l, &in_order));
	ck_assert(in_order);
	ck_assert_uint_eq(f.n, l.sent); /* without a group: each once, no gap, no repeat */
	for (uint32_t i = 0; i < f.n_notes; i++) {
		ck_assert_int_ne(f.notes[i].event, FLOW_GAP);
	}
	probe_leave(&s.probe, &f);
	probe_forget(&f);
	setup_end(&s);
}
END_TEST

START_TEST(a_server_that_hangs_is_left_and_found_again)
{
	struct setup s;
	struct probe_batch *b;
	struct probe_flow f;

	setup_begin(&s);
	probe_live(&s.probe, &f, "g", "a", from_new, 10);
	kill(s.server.pid, SIGSTOP);
	b = probe_batch(&s.probe, 1);
	b->p->items[0].event = probe_event("a", "x", "p", 1);
	b->p->timeout_ms = 400;
	adapter_publish(s.probe.a, b->p);
	probe_until(&s.probe, b->told == 1);
	ck_assert_int_eq(b->p->items[0].answer.outcome, OUTCOME_UNKNOWN);
	probe_until(&s.probe, s.probe.downs == 1);
	kill(s.server.pid, SIGCONT);
	probe_until(&s.probe, s.probe.ups == 2 && f.n == 1);
	b = probe_publish(&s.probe, "a", "x", 1, 1); /* another id, "x0" */
	ck_assert_uint_eq(probe_count(b, OUTCOME_OK), 1);
	probe_until(&s.probe, f.n == 2);
	probe_settle(&f, SETTLE_ACK, 2);
	probe_leave(&s.probe, &f);
	probe_forget(&f);
	setup_end(&s);
}
END_TEST

START_TEST(stops_while_the_server_hangs)
{
	struct setup s;
	struct probe_flow f;

	setup_begin(&s);
	probe_live(&s.probe, &f, "g", "a", from_new, 10);
	probe_publish(&s.probe, "a", "x", 3, 8);
	probe_until(&s.probe, f.n == 3);
	kill(s.server.pid, SIGSTOP);
	probe_settle(&f, SETTLE_ACK, 3);
	probe_leave(&s.probe, &f);
	probe_forget(&f);
	probe_stop(&s.probe, false);
	server_end(&s.server);
}
END_TEST

START_TEST(acks_given_while_the_server_is_away_are_kept)
{
	struct setup s;
	struct probe_flow f;

	setup_begin(&s);
	probe_live(&s.probe, &f, "g", "a", from_new, 10);
	probe_publish(&s.probe, "a", "x", 4, 8);
	probe_until(&s.probe, f.n == 4);
	server_kill(&s.server);
	probe_until(&s.probe, s.probe.downs == 1);
	probe_settle(&f, SETTLE_ACK, 3);
	server_run(&s.server);
	probe_until(&s.probe, f.n_notes == 3);
	flow_credit(&f.f, (struct credit){10, 1 << 20});
	run_for(&s.probe, 2500); /* longer than ack_wait: neither acked nor held come again */
	ck_assert_uint_eq(f.n, 4);
	probe_settle(&f, SETTLE_RELEASE, 1);
	probe_until(&s.probe, f.n == 5);
	ck_assert_uint_eq(f.got[4].position.a, 4);
	probe_settle(&f, SETTLE_ACK, 1);
	probe_leave(&s.probe, &f);
	probe_forget(&f);
	setup_end(&s);
}
END_TEST

START_TEST(a_failure_recorded_while_the_server_is_away_waits_for_it)
{
	struct setup s;
	struct probe_flow f;
	struct settlement one = {.kind = SETTLE_RETRY, .failures = {1, 5, 5}, .ctx = &f};

	setup_begin(&s);
	probe_live(&s.probe, &f, "g", "a", from_new, 10);
	probe_publish(&s.probe, "a", "x", 1, 8);
	probe_until(&s.probe, f.n == 1);
	server_kill(&s.server);
	probe_until(&s.probe, s.probe.downs == 1);
	one.handle = f.got[0].handle;
	flow_settle(&f.f, &one, 1);
	server_run(&s.server);
	probe_until(&s.probe, f.recorded == 1);
	probe_leave(&s.probe, &f);
	probe_forget(&f);
	probe_live(&s.probe, &f, "g", "a", from_new, 10);
	probe_until(&s.probe, f.n == 1);
	ck_assert_uint_eq(f.got[0].failures.count, 1);
	probe_settle(&f, SETTLE_ACK, 1);
	probe_leave(&s.probe, &f);
	probe_forget(&f);
	setup_end(&s);
}
END_TEST

int main(void)
{
	const TTest *tests[] = {
		a_server_that_comes_late_is_found,
		stops_while_it_was_never_connected,
		stops_in_its_first_turn,
		a_server_killed_under_load_loses_nothing,
		publishes_stay_in_order_over_a_crash,
		a_server_that_hangs_is_left_and_found_again,
		stops_while_the_server_hangs,
		acks_given_while_the_server_is_away_are_kept,
		a_failure_recorded_while_the_server_is_away_waits_for_it,
	};

	return suite_run("nats_faults", tests, sizeof(tests) / sizeof(tests[0]));
}
