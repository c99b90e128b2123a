/* SPDX-License-Identifier: Apache-2.0 */
/* The NATS adapter when the server dies, hangs or is not there, and when owners change. */
#include "tests/integration/nats_setup.h"

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

/* ---- load: a publisher with its ids, a group that acknowledges, and what must be true ----- */

struct load {
	struct probe *probe;
	struct probe_flow *flow;
	struct probe_batch *batch[400];
	uint32_t n_batches;
	uint32_t sent;
};

enum { LOAD_BATCH = 20 };

static void load_send(struct load *l, const char *topic)
{
	struct probe_batch *b = probe_batch(l->probe, LOAD_BATCH);
	char id[32];

	for (uint32_t i = 0; i < LOAD_BATCH; i++) {
		snprintf(id, sizeof(id), "%08u", l->sent++);
		b->p->items[i].event = probe_event(topic, id, id, 8);
	}
	l->batch[l->n_batches++] = b;
	adapter_publish(l->probe->a, b->p);
}

static uint32_t load_unanswered(const struct load *l)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < l->n_batches; i++) {
		n += LOAD_BATCH - l->batch[i]->told;
	}
	return n;
}

static void load_settle(struct load *l)
{
	struct probe_flow *f = l->flow;
	struct settlement s[64];

	while (f->settled < f->n) {
		uint32_t n = 0;

		for (; n < 64 && f->settled < f->n; n++, f->settled++) {
			s[n] = (struct settlement){.handle = f->got[f->settled].handle,
						   .kind = SETTLE_ACK};
		}
		flow_settle(&f->f, s, n);
	}
	flow_credit(&f->f, (struct credit){200, 1 << 20});
}

static void load_turn(struct load *l)
{
	uv_run(&l->probe->loop, UV_RUN_ONCE);
	load_settle(l);
	if (l->n_batches < 300 && load_unanswered(l) < 400) {
		load_send(l, "a");
	}
}

/* Every number up to sent came, and the first time in order. */
static bool load_complete(const struct load *l, bool *in_order)
{
	uint8_t *seen = xcalloc(l->sent, 1);
	uint32_t distinct = 0, expect = 0;

	*in_order = true;
	for (uint32_t i = 0; i < l->flow->n; i++) {
		const uint32_t n =
			(uint32_t)strtoul((const char *)l->flow->got[i].event->payload.p, NULL, 10);

		ck_assert_uint_lt(n, l->sent);
		if (!seen[n]) {
			*in_order = *in_order && n == expect;
			expect = n + 1;
			seen[n] = 1;
			distinct++;
		}
	}
	free(seen);
	return distinct == l->sent;
}

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

/* ---- owners ------------------------------------------------------------------------------- */

static void subscribe_ordered(struct probe *probe, struct probe_flow *f)
{
	memset(f, 0, sizeof(*f));
	f->probe = probe;
	f->f.owner = f;
	f->f.spec.group = (char *)"g";
	f->f.spec.pattern = (char *)"a";
	f->f.spec.order = ORDER_KEY;
	f->f.spec.start = from_new;
	f->f.spec.max_events = 100;
	flow_subscribe(probe->a, &f->f);
}

static void start_other(struct setup *s)
{
	struct err_text err;
	const struct adapter_env env = {
		.loop = &s->other.loop,
		.name = "default",
		.instance = "host-2-def",
		.up = &probe_upcalls,
		.ctx = &s->other,
		.budget = &s->other.budget,
		.publish_timeout_ms = 5000,
	};

	memset(&s->other, 0, sizeof(s->other));
	ck_assert_int_eq(uv_loop_init(&s->other.loop), 0);
	budget_init(&s->other.budget, NULL, 1 << 26);
	ck_assert_int_eq(adapter_kind_nats.create(&env, &s->options, &s->other.a, &err), 0);
	ck_assert_int_eq(adapter_start(s->other.a, &err), 0);
	probe_until(&s->other, s->other.ups == 1);
}

START_TEST(one_daemon_owns_an_ordered_flow_and_hands_it_over)
{
	struct setup s;
	struct probe_flow f, g;
	int64_t before;

	setup_begin(&s);
	start_other(&s);
	subscribe_ordered(&s.probe, &f);
	probe_until(&s.probe, f.n_notes == 1);
	assert_note(&f, 0, FLOW_LIVE);
	ck_assert(!f.notes[0].position_existed);
	ck_assert_uint_eq(f.notes[0].epoch, 1);
	subscribe_ordered(&s.other, &g);
	setup_until2(&s.probe, &s.other, g.n_notes == 1);
	assert_note(&g, 0, FLOW_STANDBY);
	flow_credit(&f.f, (struct credit){10, 1 << 20});
	flow_credit(&g.f, (struct credit){10, 1 << 20});
	probe_publish(&s.probe, "a", "x", 5, 8);
	setup_until2(&s.probe, &s.other, f.n == 5);
	ck_assert_uint_eq(f.got[0].epoch, 1);
	probe_settle(&f, SETTLE_ACK, 2);
	before = clock_mono_ms();
	probe_leave(&s.probe, &f); /* gives back the other three */
	setup_until2(&s.probe, &s.other, g.n >= 3);
	ck_assert_int_lt(clock_mono_ms() - before, 900); /* sooner than the lease ends */
	assert_note(&g, 1, FLOW_LIVE);
	ck_assert(g.notes[1].position_existed);
	ck_assert_uint_eq(g.got[0].epoch, 2);
	ck_assert_uint_le(g.got[0].position.a, 3);
	ck_assert_uint_eq(g.got[g.n - 1].position.a, 5);
	probe_settle(&g, SETTLE_ACK, g.n - g.settled);
	probe_leave(&s.other, &g);
	probe_forget(&f);
	probe_forget(&g);
	probe_stop(&s.other, false);
	setup_end(&s);
}
END_TEST

static uint32_t revoked;

static void on_revoked(void *ctx, struct flow *f, void *const *handles, uint32_t n)
{
	struct probe_flow *pf = f->owner;

	(void)ctx;
	(void)handles;
	ck_assert_uint_eq(n, 0);
	revoked++;
	pf->settled = pf->n;
}

START_TEST(an_owner_that_was_stopped_is_overtaken_and_revoked)
{
	struct setup s;
	struct probe_flow f, g;
	struct adapter_upcalls ups = probe_upcalls;

	setup_begin(&s);
	ups.on_revoked = on_revoked;
	s.probe.a->env.up = &ups;
	start_other(&s);
	subscribe_ordered(&s.probe, &f);
	probe_until(&s.probe, f.n_notes == 1);
	flow_credit(&f.f, (struct credit){10, 1 << 20});
	probe_publish(&s.probe, "a", "x", 3, 8);
	probe_until(&s.probe, f.n == 3);
	probe_settle(&f, SETTLE_ACK, 1);
	probe_settle_down(&s.probe);
	subscribe_ordered(&s.other, &g);
	flow_credit(&g.f, (struct credit){10, 1 << 20});
	/* The first does not run any more: the other waits for its lease to end. */
	probe_until(&s.other, g.n == 2);
	ck_assert_uint_eq(g.got[0].position.a, 2);
	ck_assert_uint_eq(g.got[0].epoch, 2);
	ck_assert_uint_eq(revoked, 0);
	probe_settle(&g, SETTLE_ACK, 2);
	probe_publish(&s.other, "a", "y", 2, 8);
	probe_until(&s.other, g.n == 4);
	/* It wakes up: nothing more comes to it. */
	setup_until2(&s.probe, &s.other, revoked == 1);
	ck_assert_uint_eq(f.n, 3);
	assert_note(&f, f.n_notes - 1, FLOW_STANDBY);
	probe_settle(&g, SETTLE_ACK, 2);
	probe_leave(&s.other, &g);
	setup_until2(&s.probe, &s.other, f.notes[f.n_notes - 1].event == FLOW_LIVE);
	ck_assert_uint_eq(f.notes[f.n_notes - 1].epoch, 3);
	probe_publish(&s.probe, "a", "z", 1, 8);
	probe_until(&s.probe, f.n > 3 && f.got[f.n - 1].position.a == 6);
	probe_leave(&s.probe, &f);
	probe_forget(&f);
	probe_forget(&g);
	probe_stop(&s.other, false);
	setup_end(&s);
}
END_TEST

START_TEST(an_ordered_flow_keeps_its_order_over_a_crash_of_the_server)
{
	struct setup s;
	struct probe_flow f;
	struct load l = {.probe = &s.probe, .flow = &f};
	bool in_order;

	setup_begin(&s);
	subscribe_ordered(&s.probe, &f);
	probe_until(&s.probe, f.n_notes == 1);
	flow_credit(&f.f, (struct credit){50, 1 << 20});
	for (int round = 1; round <= 2; round++) {
		while (l.n_batches < 60U * (uint32_t)round) {
			load_turn(&l);
		}
		server_kill(&s.server);
		server_run(&s.server);
	}
	do {
		load_turn(&l);
	} while (load_unanswered(&l) > 0 || !load_complete(&l, &in_order));
	ck_assert(in_order);
	probe_leave(&s.probe, &f);
	probe_forget(&f);
	setup_end(&s);
}
END_TEST

START_TEST(failures_follow_an_ordered_flow_to_its_next_owner)
{
	struct setup s;
	struct probe_flow f, g;
	struct settlement one = {.kind = SETTLE_RETRY, .failures = {4, 5, 6}, .ctx = &f};

	setup_begin(&s);
	start_other(&s);
	subscribe_ordered(&s.probe, &f);
	probe_until(&s.probe, f.n_notes == 1);
	flow_credit(&f.f, (struct credit){10, 1 << 20});
	probe_publish(&s.probe, "a", "x", 2, 8);
	probe_until(&s.probe, f.n == 2);
	one.handle = f.got[1].handle;
	flow_settle(&f.f, &one, 1);
	probe_until(&s.probe, f.recorded == 1);
	probe_leave(&s.probe, &f);
	subscribe_ordered(&s.other, &g);
	flow_credit(&g.f, (struct credit){10, 1 << 20});
	setup_until2(&s.probe, &s.other, g.n == 2);
	ck_assert_uint_eq(g.got[0].failures.count, 0);
	ck_assert_uint_eq(g.got[1].failures.count, 4);
	probe_settle(&g, SETTLE_ACK, 2);
	probe_leave(&s.other, &g);
	probe_forget(&f);
	probe_forget(&g);
	probe_stop(&s.other, false);
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
		one_daemon_owns_an_ordered_flow_and_hands_it_over,
		an_owner_that_was_stopped_is_overtaken_and_revoked,
		an_ordered_flow_keeps_its_order_over_a_crash_of_the_server,
		failures_follow_an_ordered_flow_to_its_next_owner,
	};

	return suite_run("nats_faults", tests, sizeof(tests) / sizeof(tests[0]));
}
