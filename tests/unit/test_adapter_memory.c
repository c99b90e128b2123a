/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/support_memory.h"

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

START_TEST(flows_are_limited)
{
	struct probe_flow a, b;

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
		flows_are_limited,
		an_ordered_flow_is_live_in_epoch_one,
	};

	return suite_run("adapter memory", tests, sizeof(tests) / sizeof(tests[0]));
}
