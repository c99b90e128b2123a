/* SPDX-License-Identifier: Apache-2.0 */
#include "adapters/memory.h"

#include "tests/unit/suite.h"
#include "tests/unit/support_adapter.h"

static struct probe probe;
static struct memory_options options;

static const struct start from_new = {.kind = START_NEW};
static const struct start from_earliest = {.kind = START_EARLIEST};

static void begin(void)
{
	probe_start(&probe, &adapter_kind_memory, &options, (size_t)256 << 20);
}

static void set_defaults(void)
{
	options = (struct memory_options){
		.history = 1 << 20,
		.dedupe_window_ms = 120000,
		.flow_expiry_ms = 300000,
		.max_flows = 10000,
	};
}

/* The i-th delivery's id is prefix and number. */
static void expect_id(const struct probe_flow *pf, uint32_t i, const char *id)
{
	ck_assert_uint_lt(i, pf->n);
	ck_assert_msg(slice_eq_str(pf->got[i].event->id, id), "delivery %u is %.*s, not %s", i,
		      SLICE_ARG(pf->got[i].event->id), id);
}

START_TEST(an_event_reaches_every_flow_that_matches)
{
	struct probe_flow a, b, c, none;

	begin();
	probe_live(&probe, &a, "g", "orders.*", from_new, 10);
	probe_live(&probe, &b, NULL, "orders.>", from_new, 10);
	probe_live(&probe, &c, "g", "orders.created", from_new, 10);
	probe_live(&probe, &none, "g", "orders", from_new, 10);
	ck_assert(!a.notes[0].position_existed);
	struct probe_batch *batch = probe_publish(&probe, "orders.created", "e", 3, 100);
	ck_assert_uint_eq(probe_count(batch, OUTCOME_OK), 3);
	probe_until(&probe, a.n == 3 && b.n == 3 && c.n == 3);
	probe_settle_down(&probe);
	ck_assert_uint_eq(none.n, 0);
	for (uint32_t i = 0; i < 3; i++) {
		expect_id(&a, i, i == 0 ? "e0" : i == 1 ? "e1" : "e2");
		ck_assert_uint_eq(a.got[i].position.a, batch->p->items[i].position.a);
		ck_assert_uint_eq(a.got[i].failures.count, 0);
		ck_assert_uint_eq(a.got[i].event->payload.n, 100);
	}
	probe_settle(&a, SETTLE_ACK, 3);
	probe_leave(&probe, &a);
	probe_leave(&probe, &b);
	probe_leave(&probe, &c);
	probe_leave(&probe, &none);
	probe_forget(&a);
	probe_forget(&b);
	probe_forget(&c);
	probe_stop(&probe, false);
}
END_TEST

START_TEST(wildcards_leave_dead_letters_alone_unless_spelled)
{
	struct probe_flow all, dlq;

	begin();
	probe_live(&probe, &all, "g", ">", from_new, 10);
	probe_live(&probe, &dlq, "g", "dlq.>", from_new, 10);
	probe_publish(&probe, "dlq.orders", "e", 1, 10);
	probe_publish(&probe, "orders", "e", 1, 10);
	probe_until(&probe, all.n == 1 && dlq.n == 1);
	probe_settle_down(&probe);
	ck_assert(slice_eq_str(all.got[0].event->topic, "orders"));
	ck_assert(slice_eq_str(dlq.got[0].event->topic, "dlq.orders"));
	probe_leave(&probe, &all);
	probe_leave(&probe, &dlq);
	probe_forget(&all);
	probe_forget(&dlq);
	probe_stop(&probe, false);
}
END_TEST

START_TEST(deliveries_stay_within_the_credit)
{
	struct probe_flow pf;

	begin();
	probe_live(&probe, &pf, "g", "t", from_new, 0);
	probe_publish(&probe, "t", "e", 300, 10);
	probe_settle_down(&probe);
	ck_assert_uint_eq(pf.n, 0);
	ck_assert_uint_eq(pf.f.lag, 300);
	flow_credit(&pf.f, (struct credit){7, 1 << 20});
	probe_settle_down(&probe);
	ck_assert_uint_eq(pf.n, 7);
	ck_assert_uint_eq(pf.f.lag, 293);
	/* Acknowledging gives no credit by itself; a new value replaces the old. */
	probe_settle(&pf, SETTLE_ACK, 7);
	flow_credit(&pf.f, (struct credit){100, 1 << 20});
	flow_credit(&pf.f, (struct credit){3, 1 << 20});
	probe_settle_down(&probe);
	ck_assert_uint_eq(pf.n, 10);
	flow_credit(&pf.f, (struct credit){1000, 1 << 20});
	probe_settle_down(&probe);
	ck_assert_uint_eq(pf.n, 300);
	probe_leave(&probe, &pf);
	probe_forget(&pf);
	probe_stop(&probe, false);
}
END_TEST

START_TEST(bytes_bound_a_delivery_but_one_event_always_fits)
{
	struct probe_flow pf;

	begin();
	probe_live(&probe, &pf, "g", "t", from_new, 0);
	probe_publish(&probe, "t", "e", 10, 1000);
	flow_credit(&pf.f, (struct credit){10, 2500});
	probe_settle_down(&probe);
	ck_assert_uint_eq(pf.n, 2);
	flow_credit(&pf.f, (struct credit){10, 1});
	probe_settle_down(&probe);
	ck_assert_uint_eq(pf.n, 3);
	flow_credit(&pf.f, (struct credit){10, 1 << 20});
	probe_settle_down(&probe);
	ck_assert_uint_eq(pf.n, 10);
	expect_id(&pf, 9, "e9");
	probe_leave(&probe, &pf);
	probe_forget(&pf);
	probe_stop(&probe, false);
}
END_TEST

START_TEST(released_events_come_back_in_sequence_before_newer_ones)
{
	struct probe_flow pf;

	begin();
	probe_live(&probe, &pf, "g", "t", from_new, 4);
	probe_publish(&probe, "t", "e", 6, 10);
	probe_until(&probe, pf.n == 4);
	struct settlement s[3];
	const uint32_t order[] = {3, 0, 2};
	for (uint32_t i = 0; i < 3; i++) {
		s[i] = (struct settlement){.handle = pf.got[order[i]].handle,
					   .kind = SETTLE_RELEASE};
	}
	flow_settle(&pf.f, s, 3);
	flow_credit(&pf.f, (struct credit){10, 1 << 20});
	probe_until(&probe, pf.n == 9);
	expect_id(&pf, 4, "e0");
	expect_id(&pf, 5, "e2");
	expect_id(&pf, 6, "e3");
	expect_id(&pf, 7, "e4");
	expect_id(&pf, 8, "e5");
	ck_assert_uint_eq(pf.got[4].failures.count, 0);
	struct settlement ack[6];
	for (uint32_t i = 0; i < 6; i++) {
		ack[i] = (struct settlement){.handle = pf.got[i == 5 ? 1 : i + 4].handle,
					     .kind = SETTLE_ACK};
	}
	flow_settle(&pf.f, ack, 6);
	pf.settled = pf.n;
	probe_leave(&probe, &pf);
	probe_forget(&pf);
	probe_stop(&probe, false);
}
END_TEST

START_TEST(recorded_failures_stay_with_the_event)
{
	struct probe_flow pf;
	int item = 0;

	begin();
	probe_live(&probe, &pf, "g", "t", from_new, 1);
	probe_publish(&probe, "t", "e", 1, 10);
	probe_until(&probe, pf.n == 1);
	struct settlement retry = {.handle = pf.got[0].handle,
				   .kind = SETTLE_RETRY,
				   .failures = {2, 1000, 2000},
				   .ctx = &item};
	flow_settle(&pf.f, &retry, 1);
	ck_assert_uint_eq(pf.recorded, 0);
	probe_until(&probe, pf.recorded == 1);
	ck_assert_ptr_eq(pf.last_recorded, &item);
	probe_leave(&probe, &pf); /* gives it back */
	probe_forget(&pf);
	probe_live(&probe, &pf, "g", "t", from_new, 1);
	ck_assert(pf.notes[0].position_existed);
	probe_until(&probe, pf.n == 1);
	ck_assert_uint_eq(pf.got[0].failures.count, 2);
	ck_assert_int_eq(pf.got[0].failures.first_ms, 1000);
	ck_assert_int_eq(pf.got[0].failures.last_ms, 2000);
	probe_settle(&pf, SETTLE_ACK, 1);
	probe_leave(&probe, &pf);
	probe_forget(&pf);
	probe_stop(&probe, false);
}
END_TEST

START_TEST(a_parked_event_waits_for_its_time)
{
	struct probe_flow pf;
	int item = 0;

	begin();
	probe_live(&probe, &pf, "g", "t", from_new, 10);
	probe_publish(&probe, "t", "e", 2, 10);
	probe_until(&probe, pf.n == 2);
	uv_update_time(&probe.loop);
	const uint64_t parked_at = uv_now(&probe.loop);
	struct settlement park = {.handle = pf.got[0].handle,
				  .kind = SETTLE_PARK,
				  .delay_ms = 30,
				  .failures = {1, 5, 5},
				  .ctx = &item};
	flow_settle(&pf.f, &park, 1);
	pf.settled = 1;
	probe_settle(&pf, SETTLE_ACK, 1);
	probe_until(&probe, pf.recorded == 1);
	ck_assert_uint_eq(pf.f.lag, 1);
	probe_until(&probe, pf.n == 3);
	ck_assert_uint_ge(uv_now(&probe.loop) - parked_at, 30);
	expect_id(&pf, 2, "e0");
	ck_assert_uint_eq(pf.got[2].failures.count, 1);
	probe_settle(&pf, SETTLE_ACK, 1);
	ck_assert_uint_eq(pf.f.lag, 0);
	probe_leave(&probe, &pf);
	probe_forget(&pf);
	probe_stop(&probe, false);
}
END_TEST

START_TEST(a_parked_event_may_be_left_behind)
{
	struct probe_flow grouped, alone;

	begin();
	probe_live(&probe, &grouped, "g", "t", from_new, 10);
	probe_live(&probe, &alone, NULL, "t", from_new, 10);
	probe_publish(&probe, "t", "e", 2, 10);
	probe_until(&probe, grouped.n == 2 && alone.n == 2);
	for (uint32_t i = 0; i < 2; i++) {
		struct settlement park = {
			.kind = SETTLE_PARK, .delay_ms = 3600000, .handle = grouped.got[i].handle};

		flow_settle(&grouped.f, &park, 1);
		park.handle = alone.got[i].handle;
		park.delay_ms = i * 3600000;
		flow_settle(&alone.f, &park, 1);
	}
	grouped.settled = alone.settled = 2;
	flow_unsubscribe(&grouped.f);
	flow_unsubscribe(&alone.f);
	probe_until(&probe, grouped.gone && alone.gone);
	probe_forget(&grouped);
	probe_forget(&alone);
	probe_stop(&probe, false);
}
END_TEST

START_TEST(a_group_keeps_its_place_without_members)
{
	struct probe_flow pf;

	begin();
	probe_live(&probe, &pf, "g", "t", from_new, 2);
	probe_publish(&probe, "t", "a", 4, 10);
	probe_until(&probe, pf.n == 2);
	probe_settle(&pf, SETTLE_ACK, 1);
	probe_leave(&probe, &pf);
	probe_forget(&pf);
	probe_publish(&probe, "t", "b", 2, 10);
	probe_live(&probe, &pf, "g", "t", from_new, 100);
	ck_assert(pf.notes[0].position_existed);
	probe_until(&probe, pf.n == 5);
	expect_id(&pf, 0, "a1");
	expect_id(&pf, 1, "a2");
	expect_id(&pf, 2, "a3");
	expect_id(&pf, 3, "b0");
	expect_id(&pf, 4, "b1");
	probe_leave(&probe, &pf);
	probe_forget(&pf);
	probe_stop(&probe, false);
}
END_TEST

START_TEST(a_subscriber_without_a_group_leaves_nothing_behind)
{
	struct probe_flow pf;

	begin();
	probe_live(&probe, &pf, NULL, "t", from_new, 2);
	probe_publish(&probe, "t", "a", 4, 10);
	probe_until(&probe, pf.n == 2);
	probe_leave(&probe, &pf);
	probe_forget(&pf);
	probe_live(&probe, &pf, NULL, "t", from_new, 100);
	ck_assert(!pf.notes[0].position_existed);
	probe_publish(&probe, "t", "b", 1, 10);
	probe_until(&probe, pf.n == 1);
	expect_id(&pf, 0, "b0");
	probe_leave(&probe, &pf);
	probe_forget(&pf);
	probe_stop(&probe, false);
}
END_TEST

START_TEST(a_group_without_members_ends_and_the_next_is_told_what_it_lost)
{
	struct probe_flow pf, other;

	set_defaults();
	options.flow_expiry_ms = 20;
	begin();
	probe_live(&probe, &pf, "g", "t", from_new, 2);
	probe_live(&probe, &other, "other", "t", from_new, 0);
	probe_publish(&probe, "t", "a", 5, 10);
	probe_until(&probe, pf.n == 2);
	probe_settle(&pf, SETTLE_ACK, 1);
	probe_leave(&probe, &pf);
	probe_forget(&pf);
	/* The timer of the flow is the only one: the loop sleeps until it has ended. */
	const uint64_t left = uv_now(&probe.loop);
	probe_until(&probe, uv_now(&probe.loop) >= left + 20);
	probe_settle_down(&probe);
	probe_subscribe(&probe, &pf, "g", "t", from_new);
	probe_until(&probe, pf.n_notes == 2);
	ck_assert_int_eq(pf.notes[0].event, FLOW_LIVE);
	ck_assert(!pf.notes[0].position_existed);
	ck_assert_int_eq(pf.notes[1].event, FLOW_LOST);
	ck_assert_uint_eq(pf.notes[1].lost, 4);
	ck_assert_uint_eq(pf.f.lag, 0);
	ck_assert_uint_eq(other.f.lag, 5);
	probe_leave(&probe, &pf);
	probe_leave(&probe, &other);
	probe_settle_down(&probe);
	probe_stop(&probe, false);
}
END_TEST

START_TEST(start_earliest_brings_what_is_kept_in_sequence)
{
	struct probe_flow pf;

	begin();
	for (int i = 0; i < 10; i++) {
		char prefix[8];

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

	set_defaults();
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
		char prefix[8];

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

	set_defaults();
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
		char prefix[8];

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

	set_defaults();
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

START_TEST(flows_are_limited)
{
	struct probe_flow a, b;

	set_defaults();
	options.max_flows = 1;
	begin();
	probe_live(&probe, &a, "g", "t", from_new, 1);
	probe_subscribe(&probe, &b, "g", "u", from_new);
	probe_until(&probe, b.n_notes == 1);
	ck_assert_int_eq(b.notes[0].event, FLOW_REFUSED);
	ck_assert_int_eq(b.notes[0].reason, REASON_OVERLOADED);
	flow_credit(&b.f, (struct credit){1, 1});
	flow_unsubscribe(&b.f);
	probe_until(&probe, b.gone);
	/* Refused and left before it was told. */
	probe_subscribe(&probe, &b, "g", "u", from_new);
	flow_unsubscribe(&b.f);
	probe_until(&probe, b.gone);
	ck_assert_uint_eq(b.n_notes, 0);
	probe_leave(&probe, &a);
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

START_TEST(an_ordered_flow_is_live_in_epoch_one)
{
	struct probe_flow pf;

	begin();
	memset(&pf, 0, sizeof(pf));
	pf.f.spec.order = ORDER_KEY;
	pf.f.spec.group = (char *)"g";
	pf.f.spec.pattern = (char *)"t";
	pf.f.owner = &pf;
	flow_subscribe(probe.a, &pf.f);
	probe_until(&probe, pf.n_notes == 1);
	ck_assert_uint_eq(pf.notes[0].epoch, 1);
	flow_credit(&pf.f, (struct credit){1, 1});
	probe_publish(&probe, "t", "e", 1, 10);
	probe_until(&probe, pf.n == 1);
	ck_assert_uint_eq(pf.got[0].epoch, 1);
	probe_leave(&probe, &pf);
	probe_forget(&pf);
	struct answer why;
	const struct flow_spec foreign = {
		.group = (char *)"g", .pattern = (char *)"t", .interop = INTEROP_CONNECTUM};
	ck_assert(!adapter_flow_ok(probe.a, &foreign, &why));
	ck_assert_int_eq(why.reason, REASON_NOT_SUPPORTED);
	probe_stop(&probe, false);
}
END_TEST

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

	set_defaults();
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
		an_event_reaches_every_flow_that_matches,
		wildcards_leave_dead_letters_alone_unless_spelled,
		deliveries_stay_within_the_credit,
		bytes_bound_a_delivery_but_one_event_always_fits,
		released_events_come_back_in_sequence_before_newer_ones,
		recorded_failures_stay_with_the_event,
		a_parked_event_waits_for_its_time,
		a_parked_event_may_be_left_behind,
		a_group_keeps_its_place_without_members,
		a_subscriber_without_a_group_leaves_nothing_behind,
		a_group_without_members_ends_and_the_next_is_told_what_it_lost,
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
		an_event_larger_than_the_history_is_refused_alone,
		the_daemons_limit_takes_history_first,
		flows_are_limited,
		one_stuck_event_does_not_keep_its_neighbours,
		an_ordered_flow_is_live_in_epoch_one,
		an_idle_bus_does_not_turn,
		an_event_is_told_and_delivered_in_the_next_turn,
		stop_answers_what_is_left_and_forgets_the_rest,
		stop_right_after_start,
		many_topics_and_flows_come_and_go,
	};

	set_defaults();
	return suite_run("adapter memory", tests, sizeof(tests) / sizeof(tests[0]));
}
