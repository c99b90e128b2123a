/* SPDX-License-Identifier: Apache-2.0 */
/* Ordered flows of the NATS adapter: who owns them, and how they are handed over. */
#include "tests/integration/nats_load.h"

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

START_TEST(what_an_ordered_flow_gave_back_is_not_overtaken)
{
	struct setup s;
	struct probe_flow f;
	struct settlement one = {.kind = SETTLE_RELEASE};

	setup_begin(&s);
	subscribe_ordered(&s.probe, &f);
	probe_until(&s.probe, f.n_notes == 1);
	flow_credit(&f.f, (struct credit){10, 1 << 20});
	probe_publish(&s.probe, "a", "x", 3, 8);
	probe_until(&s.probe, f.n == 3);
	one.handle = f.got[1].handle;
	flow_settle(&f.f, &one, 1);
	probe_publish(&s.probe, "a", "y", 2, 8);
	probe_until(&s.probe, f.n == 6);
	ck_assert_uint_eq(f.got[3].position.a, 2);
	ck_assert_uint_eq(f.got[4].position.a, 4);
	ck_assert_uint_eq(f.got[5].position.a, 5);
	one.kind = SETTLE_ACK;
	for (uint32_t i = 0; i < 6; i++) {
		one.handle = f.got[i].handle;
		if (i != 1) {
			flow_settle(&f.f, &one, 1);
		}
	}
	f.settled = f.n;
	probe_leave(&s.probe, &f);
	probe_forget(&f);
	setup_end(&s);
}
END_TEST

int main(void)
{
	const TTest *tests[] = {
		what_an_ordered_flow_gave_back_is_not_overtaken,
		one_daemon_owns_an_ordered_flow_and_hands_it_over,
		an_owner_that_was_stopped_is_overtaken_and_revoked,
		an_ordered_flow_keeps_its_order_over_a_crash_of_the_server,
		failures_follow_an_ordered_flow_to_its_next_owner,
	};

	return suite_run("nats_owners", tests, sizeof(tests) / sizeof(tests[0]));
}
