/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/support_memory.h"

START_TEST(an_idle_bus_does_not_turn)
{
	begin();
	probe_settle_down(&probe);
	ck_assert(!uv_loop_alive(&probe.loop));
	probe_publish(&probe, "t", "e", 1, 10);
	probe_settle_down(&probe);
	ck_assert(!uv_loop_alive(&probe.loop));
	probe_stop(&probe, false);
}
END_TEST

START_TEST(an_event_is_told_and_delivered_in_the_next_turn)
{
	struct probe_flow pf;

	begin();
	probe_live(&probe, &pf, "g", "t", from_new, 100);
	probe_settle_down(&probe);
	struct probe_batch *batch = probe_batch(&probe, 1);
	batch->p->items[0].event = probe_event("t", "e", "x", 1);
	adapter_publish(probe.a, batch->p);
	uv_run(&probe.loop, UV_RUN_NOWAIT);
	ck_assert_uint_eq(batch->told, 1);
	ck_assert_uint_eq(pf.n, 1);
	probe_leave(&probe, &pf);
	probe_forget(&pf);
	probe_stop(&probe, false);
}
END_TEST

START_TEST(stop_answers_what_is_left_and_forgets_the_rest)
{
	struct probe_flow grouped, alone;

	begin();
	probe_live(&probe, &grouped, "g", "t", from_new, 5);
	probe_live(&probe, &alone, NULL, "t", from_new, 5);
	probe_publish(&probe, "t", "a", 100, 10);
	probe_until(&probe, grouped.n == 5 && alone.n == 5);
	probe_settle(&grouped, SETTLE_RELEASE, 5);
	probe_settle(&alone, SETTLE_RELEASE, 5);
	struct probe_batch *batch = probe_batch(&probe, 2);
	batch->p->items[0].event = probe_event("t", "b", "x", 1);
	batch->p->items[1].event = probe_event("t", "c", "x", 1);
	flow_unsubscribe(&grouped.f);
	flow_unsubscribe(&alone.f);
	adapter_publish(probe.a, batch->p);
	probe_stop(&probe, true);
	ck_assert(grouped.gone && alone.gone);
	probe_forget(&grouped);
	probe_forget(&alone);
}
END_TEST

START_TEST(stop_right_after_start)
{
	struct err_text err = {0};

	begin();
	probe_stop(&probe, false);
	/* Created and never started. */
	probe_start(&probe, &adapter_kind_memory, &options, 1 << 20);
	const struct adapter_env env = probe.a->env;
	struct adapter *never;
	ck_assert_int_eq(adapter_kind_memory.create(&env, &options, &never, &err), 0);
	ck_assert_str_eq(adapter_tag(never), "memory:default");
	adapter_destroy(never);
	adapter_destroy(NULL);
	probe_stop(&probe, true);
}
END_TEST

START_TEST(many_topics_and_flows_come_and_go)
{
	enum { FLOWS = 300 };
	static struct probe_flow flows[FLOWS];
	static char patterns[FLOWS][32];

	begin();
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < FLOWS; i++) {
			snprintf(patterns[i], sizeof(patterns[i]), "%s.%d%s",
				 i % 3 == 2 ? "*" : "a", i, i % 3 == 1 ? ".>" : "");
			probe_subscribe(&probe, &flows[i], i % 2 ? "g" : NULL, patterns[i],
					from_new);
			flow_credit(&flows[i].f, (struct credit){10, 1 << 20});
		}
		for (int i = 0; i < FLOWS; i++) {
			char topic[32], id[32];

			snprintf(topic, sizeof(topic), i % 3 == 1 ? "a.%d.b.c" : "a.%d", i);
			snprintf(id, sizeof(id), "%d-", round);
			probe_publish(&probe, topic, id, 1, 10);
		}
		probe_settle_down(&probe);
		for (int i = 0; i < FLOWS; i++) {
			ck_assert_uint_eq(flows[i].n, 1);
			probe_settle(&flows[i], SETTLE_ACK, 1);
			probe_leave(&probe, &flows[i]);
			probe_forget(&flows[i]);
		}
	}
	probe_stop(&probe, false);
}
END_TEST

int main(void)
{
	const TTest *tests[] = {
		an_idle_bus_does_not_turn,
		an_event_is_told_and_delivered_in_the_next_turn,
		stop_answers_what_is_left_and_forgets_the_rest,
		stop_right_after_start,
		many_topics_and_flows_come_and_go,
	};

	return suite_run("memory turns", tests, sizeof(tests) / sizeof(tests[0]));
}
