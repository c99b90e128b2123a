/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/support_memory.h"

static const struct start from_earliest = {.kind = START_EARLIEST};

START_TEST(start_earliest_brings_what_is_kept_in_sequence)
{
	struct probe_flow pf;

	begin();
	for (int i = 0; i < 10; i++) {
		char prefix[16];

		snprintf(prefix, sizeof(prefix), "%d-", i);
		probe_publish(&probe, i % 2 ? "odd" : "even.x", prefix, 100, 10);
	}
	probe_live(&probe, &pf, "g", "even.*", from_earliest, 10000);
	probe_publish(&probe, "even.x", "new", 1, 10);
	probe_until(&probe, pf.n == 501);
	for (uint32_t i = 1; i < pf.n; i++) {
		ck_assert_uint_lt(pf.got[i - 1].position.a, pf.got[i].position.a);
	}
	expect_id(&pf, 0, "0-0");
	expect_id(&pf, 500, "new0");
	probe_settle(&pf, SETTLE_ACK, 501);
	probe_leave(&probe, &pf);
	probe_forget(&pf);
	probe_stop(&probe, false);
}
END_TEST

START_TEST(a_long_replay_takes_turns_and_loses_nothing_published_meanwhile)
{
	struct probe_flow pf;

	options.history = 64 << 20;
	begin();
	probe_publish(&probe, "t", "a", 30000, 10);
	probe_subscribe(&probe, &pf, NULL, "t", from_earliest);
	uv_run(&probe.loop, UV_RUN_NOWAIT);
	ck_assert_uint_eq(pf.n_notes, 0); /* not there yet: a slice per turn */
	probe_publish(&probe, "t", "b", 1, 10);
	probe_until(&probe, pf.n_notes == 1);
	flow_credit(&pf.f, (struct credit){100000, 1 << 30});
	probe_until(&probe, pf.n == 30001);
	expect_id(&pf, 29999, "a29999");
	expect_id(&pf, 30000, "b0");
	probe_leave(&probe, &pf);
	probe_forget(&pf);
	/* And once more, left half way. */
	probe_subscribe(&probe, &pf, "g", "t", from_earliest);
	uv_run(&probe.loop, UV_RUN_NOWAIT);
	flow_unsubscribe(&pf.f);
	probe_until(&probe, pf.gone);
	probe_live(&probe, &pf, "g", "t", from_new, 1);
	ck_assert(!pf.notes[0].position_existed);
	probe_leave(&probe, &pf);
	probe_stop(&probe, false);
}
END_TEST

START_TEST(start_by_time_and_by_position)
{
	struct probe_flow pf;

	begin();
	struct probe_batch *batch = probe_publish(&probe, "t", "a", 5, 10);
	probe_live(&probe, &pf, NULL, "t",
		   (struct start){.kind = START_POSITION, .position = batch->p->items[2].position},
		   100);
	probe_until(&probe, pf.n == 2);
	expect_id(&pf, 0, "a3");
	expect_id(&pf, 1, "a4");
	probe_leave(&probe, &pf);
	probe_forget(&pf);
	probe_live(&probe, &pf, NULL, "t", (struct start){.kind = START_TIME, .time_ms = INT64_MAX},
		   100);
	probe_settle_down(&probe);
	ck_assert_uint_eq(pf.n, 0);
	probe_leave(&probe, &pf);
	probe_live(&probe, &pf, NULL, "t", (struct start){.kind = START_TIME, .time_ms = 1}, 100);
	probe_until(&probe, pf.n == 5);
	probe_leave(&probe, &pf);
	probe_forget(&pf);
	probe_stop(&probe, false);
}
END_TEST

START_TEST(a_start_behind_the_history_is_a_gap)
{
	struct probe_flow pf;

	begin();
	struct probe_batch *batch = probe_publish(&probe, "t", "a", 1, 10);
	const struct position first = batch->p->items[0].position;
	for (int i = 0; i < 40; i++) {
		char prefix[16];

		snprintf(prefix, sizeof(prefix), "%d-", i);
		probe_publish(&probe, "t", prefix, 1, 50000);
	}
	probe_subscribe(&probe, &pf, NULL, "t",
			(struct start){.kind = START_POSITION, .position = first});
	probe_until(&probe, pf.n_notes == 2);
	ck_assert_int_eq(pf.notes[0].event, FLOW_LIVE);
	ck_assert_int_eq(pf.notes[1].event, FLOW_GAP);
	probe_leave(&probe, &pf);
	probe_stop(&probe, false);
}
END_TEST

START_TEST(positions_of_another_run_are_refused)
{
	struct err_text err;
	struct position p;
	char text[POSITION_TEXT_MAX];
	static const char *const bad[] = {
		"",
		"m1:",
		"m1:host-1-abc",
		"m1:host-1-abc:",
		"m1:host-1-abc:t",
		"m1:host-1-abc:t:",
		"m1:host-1-abc:t:0",
		"m1:host-1-abc:t:-1",
		"m1:host-1-abc:t:+1",
		"m1:host-1-abc:t: 1",
		"m1:host-1-abc:t:1x",
		"m1:host-1-abc:t:01",
		"m1:host-1-abc:t:99999999999999999999999",
		"m1:host-1-abc:t:2",
		"m1:host-1-abc:t:1:1",
		"m1:host-1-abc::1",
		"m1:host-1-abc:*:1",
		"m1:host-1-abd:t:1",
		"m1:host-1-ab:t:1",
		"m2:host-1-abc:t:1",
		"n1:events:1",
	};

	begin();
	struct probe_batch *batch = probe_publish(&probe, "t", "a", 1, 10);
	const struct position first = batch->p->items[0].position;
	ck_assert_int_eq(adapter_format_position(probe.a, slice_str("t"), first, text), 0);
	ck_assert_str_eq(text, "m1:host-1-abc:t:1");
	ck_assert_int_eq(adapter_parse_position(probe.a, text, &p, &err), 0);
	ck_assert_uint_eq(p.a, first.a);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		ck_assert_msg(adapter_parse_position(probe.a, bad[i], &p, &err) == EB_EINVAL, "%s",
			      bad[i]);
	}
	probe_stop(&probe, false);
}
END_TEST

START_TEST(an_id_published_again_is_stored_once)
{
	struct probe_flow pf;

	begin();
	probe_live(&probe, &pf, "g", ">", from_new, 100);
	struct probe_batch *first = probe_publish(&probe, "t", "e", 3, 10);
	struct probe_batch *again = probe_publish(&probe, "t", "e", 4, 10);
	for (uint32_t i = 0; i < 3; i++) {
		ck_assert(!first->p->items[i].duplicate);
		ck_assert(again->p->items[i].duplicate);
		ck_assert_uint_eq(again->p->items[i].position.a, first->p->items[i].position.a);
	}
	ck_assert(!again->p->items[3].duplicate);
	/* Another topic is another event. */
	struct probe_batch *other = probe_publish(&probe, "u", "e", 1, 10);
	ck_assert(!other->p->items[0].duplicate);
	/* Twice in one batch. */
	struct probe_batch *twice = probe_batch(&probe, 2);
	twice->p->items[0].event = probe_event("t", "same", "x", 1);
	twice->p->items[1].event = probe_event("t", "same", "y", 1);
	adapter_publish(probe.a, twice->p);
	probe_until(&probe, twice->told == 2);
	ck_assert(!twice->p->items[0].duplicate && twice->p->items[1].duplicate);
	probe_settle_down(&probe);
	ck_assert_uint_eq(pf.n, 6);
	probe_leave(&probe, &pf);
	probe_forget(&pf);
	probe_stop(&probe, false);
}
END_TEST

START_TEST(dedupe_ends_with_its_window_and_can_be_off)
{
	struct probe_batch *batch;

	options.dedupe_window_ms = 0;
	begin();
	ck_assert_int_eq(adapter_capabilities(probe.a)->dedupe_window_ms, 0);
	probe_publish(&probe, "t", "e", 1, 10);
	batch = probe_publish(&probe, "t", "e", 1, 10);
	ck_assert(!batch->p->items[0].duplicate);
	probe_stop(&probe, false);

	options.dedupe_window_ms = 5;
	begin();
	probe_publish(&probe, "t", "e", 1, 10);
	const uint64_t then = uv_now(&probe.loop);
	do {
		uv_update_time(&probe.loop);
	} while (uv_now(&probe.loop) <= then + 5);
	batch = probe_publish(&probe, "t", "e", 1, 10);
	ck_assert(!batch->p->items[0].duplicate);
	ck_assert_uint_eq(batch->p->items[0].position.a, 2);
	batch = probe_publish(&probe, "t", "e", 1, 10);
	ck_assert(batch->p->items[0].duplicate);
	ck_assert_uint_eq(batch->p->items[0].position.a, 2);
	probe_stop(&probe, false);
}
END_TEST

START_TEST(history_that_nobody_needs_makes_room)
{
	struct probe_flow pf;

	begin();
	probe_live(&probe, &pf, "g", "t", from_new, 100000);
	for (int i = 0; i < 200; i++) {
		char prefix[16];

		snprintf(prefix, sizeof(prefix), "%d-", i);
		struct probe_batch *batch = probe_publish(&probe, "t", prefix, 20, 1000);

		ck_assert_uint_eq(probe_count(batch, OUTCOME_OK), 20);
		probe_until(&probe, pf.n == 20);
		probe_settle(&pf, SETTLE_ACK, 20);
		probe_forget(&pf);
		flow_credit(&pf.f, (struct credit){100000, 1 << 30});
		ck_assert_uint_lt(probe.budget.used, 3 << 20);
	}
	probe_leave(&probe, &pf);
	probe_stop(&probe, false);
}
END_TEST

START_TEST(a_full_bus_refuses_and_names_who_fills_it)
{
	struct probe_flow slow, fast;

	begin();
	probe_live(&probe, &slow, "billing", "orders.*", from_new, 1);
	probe_live(&probe, &fast, "stock", "orders.new", from_new, 100000);
	struct probe_batch *batch = probe_publish(&probe, "orders.new", "a", 2000, 1000);
	const uint32_t stored = probe_count(batch, OUTCOME_OK);
	ck_assert_uint_gt(stored, 700);
	ck_assert_uint_eq(probe_count(batch, OUTCOME_NOT_STORED), 2000 - stored);
	for (uint32_t i = stored; i < 2000; i++) { /* nothing overtakes */
		const struct answer *a = &batch->p->items[i].answer;

		ck_assert_int_eq(a->reason, REASON_OVERLOADED);
		ck_assert_ptr_nonnull(strstr(a->text, "billing"));
		ck_assert_ptr_nonnull(strstr(a->text, "orders.*"));
	}
	probe_until(&probe, fast.n == stored);
	probe_settle(&fast, SETTLE_ACK, stored);
	/* Taking some away makes room for as many. */
	flow_credit(&slow.f, (struct credit){100, 1 << 20});
	probe_until(&probe, slow.n == 101);
	probe_settle(&slow, SETTLE_ACK, 101);
	batch = probe_publish(&probe, "orders.new", "b", 200, 1000);
	ck_assert_uint_ge(probe_count(batch, OUTCOME_OK), 100);
	ck_assert_uint_lt(probe_count(batch, OUTCOME_OK), 110);
	probe_leave(&probe, &slow);
	probe_leave(&probe, &fast);
	probe_forget(&slow);
	probe_forget(&fast);
	probe_stop(&probe, false);
}
END_TEST

START_TEST(drop_oldest_takes_the_oldest_and_says_how_many)
{
	struct probe_flow slow, quick;

	options.overflow = MEMORY_DROP_OLDEST;
	begin();
	probe_live(&probe, &slow, "slow", "t", from_new, 2);
	probe_live(&probe, &quick, "quick", "t", from_new, 100000);
	struct probe_batch *batch = probe_publish(&probe, "t", "a", 700, 1000);
	ck_assert_uint_eq(probe_count(batch, OUTCOME_OK), 700);
	probe_until(&probe, slow.n == 2 && quick.n == 700);
	probe_settle(&quick, SETTLE_ACK, 700);
	batch = probe_publish(&probe, "t", "b", 700, 1000);
	ck_assert_uint_eq(probe_count(batch, OUTCOME_OK), 700);
	probe_until(&probe, quick.n == 1400 && slow.n_notes == 2);
	ck_assert_uint_eq(quick.n_notes, 1);
	ck_assert_int_eq(slow.notes[1].event, FLOW_LOST);
	const uint64_t lost = slow.notes[1].lost;
	ck_assert_uint_gt(lost, 400);
	ck_assert_uint_eq(slow.f.lag, 1398 - lost);
	flow_credit(&slow.f, (struct credit){100000, 1 << 30});
	probe_until(&probe, slow.n == 1400 - lost);
	/* What was handed out stayed, then the oldest that are left. */
	char id[16];
	snprintf(id, sizeof(id), "a%u", (unsigned)(2 + lost));
	expect_id(&slow, 1, "a1");
	expect_id(&slow, 2, id);
	expect_id(&slow, slow.n - 1, "b699");
	probe_leave(&probe, &slow);
	probe_leave(&probe, &quick);
	probe_forget(&slow);
	probe_forget(&quick);
	probe_stop(&probe, false);
}
END_TEST

START_TEST(drop_oldest_takes_what_was_given_back_when_nothing_else_is_left)
{
	struct probe_flow pf;

	options.overflow = MEMORY_DROP_OLDEST;
	begin();
	probe_live(&probe, &pf, "g", "t", from_new, 100000);
	struct probe_batch *batch;
	uint32_t stored = 0;
	do { /* what is in hand cannot be taken away */
		char prefix[16];

		snprintf(prefix, sizeof(prefix), "%u-", stored);
		batch = probe_publish(&probe, "t", prefix, 1, 1000);
		stored += probe_count(batch, OUTCOME_OK);
		probe_settle_down(&probe);
		ck_assert_uint_eq(pf.n, stored);
	} while (probe_count(batch, OUTCOME_OK) == 1);
	ck_assert_int_eq(batch->p->items[0].answer.reason, REASON_OVERLOADED);
	ck_assert_uint_gt(stored, 600);
	probe_leave(&probe, &pf);
	probe_forget(&pf);
	batch = probe_publish(&probe, "t", "c", 300, 1000);
	ck_assert_uint_eq(probe_count(batch, OUTCOME_OK), 300);
	probe_subscribe(&probe, &pf, "g", "t", from_new);
	probe_until(&probe, pf.n_notes == 2);
	ck_assert_int_eq(pf.notes[1].event, FLOW_LOST);
	ck_assert_uint_ge(pf.notes[1].lost, 290);
	ck_assert_uint_eq(pf.f.lag, stored + 300 - pf.notes[1].lost);
	probe_leave(&probe, &pf);
	probe_stop(&probe, false);
}
END_TEST

START_TEST(an_event_larger_than_the_history_is_refused_alone)
{
	static char large[2 << 20];
	struct probe_batch *batch;

	begin();
	batch = probe_batch(&probe, 3);
	batch->p->items[0].event = probe_event("t", "a", "x", 1);
	batch->p->items[1].event = probe_event("t", "b", large, sizeof(large));
	batch->p->items[2].event = probe_event("t", "c", "x", 1);
	adapter_publish(probe.a, batch->p);
	probe_until(&probe, batch->told == 3);
	ck_assert_int_eq(batch->p->items[0].answer.outcome, OUTCOME_OK);
	ck_assert_int_eq(batch->p->items[1].answer.outcome, OUTCOME_PERMANENT);
	ck_assert_int_eq(batch->p->items[1].answer.reason, REASON_TOO_LARGE);
	ck_assert_int_eq(batch->p->items[2].answer.outcome, OUTCOME_OK);
	ck_assert_uint_gt(adapter_capabilities(probe.a)->max_event_bytes, 0);
	probe_stop(&probe, false);
}
END_TEST

START_TEST(the_daemons_limit_takes_history_first)
{
	begin();
	probe_publish(&probe, "t", "a", 500, 1000);
	const size_t before = probe.budget.used;
	probe.budget.limit = before;
	struct probe_batch *batch = probe_publish(&probe, "t", "b", 100, 1000);
	ck_assert_uint_eq(probe_count(batch, OUTCOME_OK), 100);
	ck_assert_uint_lt(probe.budget.used, before + (64 << 10));
	probe.budget.limit = 0;
	batch = probe_publish(&probe, "t", "c", 1, 1000);
	ck_assert_int_eq(batch->p->items[0].answer.outcome, OUTCOME_NOT_STORED);
	ck_assert_int_eq(batch->p->items[0].answer.reason, REASON_OVERLOADED);
	probe_stop(&probe, false);
}
END_TEST

START_TEST(one_stuck_event_does_not_keep_its_neighbours)
{
	struct probe_flow stuck, rest;

	begin();
	probe_live(&probe, &stuck, "stuck", "stuck", from_new, 0);
	probe_live(&probe, &rest, "rest", "rest", from_new, 100000);
	for (int i = 0; i < 500; i++) {
		struct probe_batch *batch = probe_batch(&probe, 16);
		char payload[1000] = {0}, id[32];

		for (uint32_t k = 0; k < 16; k++) {
			snprintf(id, sizeof(id), "%d-%u", i, k);
			batch->p->items[k].event = probe_event(k == 7 ? "stuck" : "rest", id,
							       payload, k == 7 ? 10 : 1000);
		}
		adapter_publish(probe.a, batch->p);
		probe_until(&probe, batch->told == 16 && rest.n == 15);
		ck_assert_uint_eq(probe_count(batch, OUTCOME_OK), 16);
		probe_settle(&rest, SETTLE_ACK, 15);
		probe_forget(&rest);
		probe_release(batch);
		flow_credit(&rest.f, (struct credit){100000, 1 << 30});
	}
	ck_assert_uint_lt(probe.budget.used, 3 << 20);
	flow_credit(&stuck.f, (struct credit){100000, 1 << 30});
	probe_until(&probe, stuck.n == 500);
	for (uint32_t i = 0; i < 500; i++) {
		char id[32];

		snprintf(id, sizeof(id), "%u-7", i);
		expect_id(&stuck, i, id);
		ck_assert_uint_eq(stuck.got[i].event->payload.n, 10);
	}
	probe_leave(&probe, &stuck);
	probe_leave(&probe, &rest);
	probe_forget(&stuck);
	probe_stop(&probe, false);
}
END_TEST

int main(void)
{
	const TTest *tests[] = {
		start_earliest_brings_what_is_kept_in_sequence,
		a_long_replay_takes_turns_and_loses_nothing_published_meanwhile,
		start_by_time_and_by_position,
		a_start_behind_the_history_is_a_gap,
		positions_of_another_run_are_refused,
		an_id_published_again_is_stored_once,
		dedupe_ends_with_its_window_and_can_be_off,
		history_that_nobody_needs_makes_room,
		a_full_bus_refuses_and_names_who_fills_it,
		drop_oldest_takes_the_oldest_and_says_how_many,
		drop_oldest_takes_what_was_given_back_when_nothing_else_is_left,
		an_event_larger_than_the_history_is_refused_alone,
		the_daemons_limit_takes_history_first,
		one_stuck_event_does_not_keep_its_neighbours,
	};

	return suite_run("memory history", tests, sizeof(tests) / sizeof(tests[0]));
}
