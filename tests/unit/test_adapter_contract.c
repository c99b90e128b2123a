/* SPDX-License-Identifier: Apache-2.0 */
/* The checked wrapper finds what an adapter, or its caller, does against the contract. */
#include <signal.h>

#include "tests/unit/support_adapter.h"

/* An adapter that does what the test tells it. */
static struct {
	struct adapter base;
	void (*on_publish)(struct publish *p);
	struct publish *taken;
	struct flow *flow;
} puppet;
static struct probe probe;
static struct probe_flow pf;
static struct probe_batch *batch;

static int puppet_start(struct adapter *a, struct err_text *err)
{
	(void)a;
	(void)err;
	return 0;
}

static void puppet_publish(struct adapter *a, struct publish *p)
{
	(void)a;
	puppet.taken = p;
	if (puppet.on_publish) {
		puppet.on_publish(p);
	}
}

static void puppet_subscribe(struct adapter *a, struct flow *f)
{
	(void)a;
	puppet.flow = f;
}

static void puppet_credit(struct adapter *a, struct flow *f, struct credit now)
{
	(void)a;
	(void)f;
	(void)now;
}

static void puppet_settle(struct adapter *a, struct flow *f, const struct settlement *items,
			  uint32_t n)
{
	(void)a;
	(void)f;
	(void)items;
	(void)n;
}

static void puppet_unsubscribe(struct adapter *a, struct flow *f)
{
	(void)a;
	(void)f;
}

static void puppet_stop(struct adapter *a, bool force)
{
	(void)a;
	(void)force;
}

static const struct adapter_ops puppet_ops = {
	.start = puppet_start,
	.publish = puppet_publish,
	.subscribe = puppet_subscribe,
	.credit = puppet_credit,
	.settle = puppet_settle,
	.unsubscribe = puppet_unsubscribe,
	.stop = puppet_stop,
};
static const struct adapter_kind puppet_kind = {.name = "puppet"};

static void begin(void)
{
	const struct adapter_env env = {
		.name = "default", .instance = "i", .up = &probe_upcalls, .ctx = &probe};

	adapter_init(&puppet.base, &puppet_ops, &puppet_kind, &env);
	probe.a = &puppet.base;
	ck_assert_int_eq(adapter_start(probe.a, NULL), 0);
	batch = probe_batch(&probe, 2);
}

static void flow_begin(void)
{
	begin();
	pf.f.owner = &pf;
	flow_subscribe(probe.a, &pf.f);
}

static void deliver_one(void)
{
	struct delivery d = {.handle = &pf};

	adapter_tell_deliver(&pf.f, &d, 1);
}

static void settle_one(enum settle_kind kind)
{
	const struct settlement s = {.handle = &pf, .kind = kind};

	flow_settle(&pf.f, &s, 1);
}

static void tell_at_once(struct publish *p)
{
	adapter_tell_ok(probe.a, p, 0, (struct position){1, 0}, false);
}

START_TEST(what_keeps_the_contract_passes)
{
	flow_begin();
	adapter_publish(probe.a, batch->p);
	adapter_tell_ok(probe.a, batch->p, 1, (struct position){7, 0}, true);
	adapter_tell_failed(probe.a, batch->p, 0, OUTCOME_UNKNOWN, REASON_BROKER, "gone");
	ck_assert_uint_eq(batch->told, 2);
	ck_assert(batch->p->items[1].duplicate);
	ck_assert_str_eq(batch->p->items[0].answer.text, "gone");
	deliver_one();
	settle_one(SETTLE_RETRY); /* still held */
	settle_one(SETTLE_RELEASE);
	deliver_one();
	adapter_tell_revoked(&pf.f, NULL, 0);
	flow_unsubscribe(&pf.f);
	adapter_tell_flow_gone(&pf.f);
	adapter_stop(probe.a, false);
	adapter_stop(probe.a, true);
	adapter_tell_stopped(probe.a);
	adapter_stop(probe.a, true);
	ck_assert(pf.gone && pf.revoked == 1 && probe.stopped == 1);
	adapter_finish(probe.a);
	free(pf.got);
	free(batch->p);
	free(batch);
}
END_TEST

START_TEST(an_event_told_twice)
{
	begin();
	adapter_publish(probe.a, batch->p);
	tell_at_once(batch->p);
	tell_at_once(batch->p);
}
END_TEST

START_TEST(an_upcall_from_inside_a_call)
{
	begin();
	puppet.on_publish = tell_at_once;
	adapter_publish(probe.a, batch->p);
}
END_TEST

START_TEST(a_publish_after_stop)
{
	begin();
	adapter_stop(probe.a, false);
	adapter_publish(probe.a, batch->p);
}
END_TEST

START_TEST(a_stop_that_leaves_an_event_untold)
{
	begin();
	adapter_publish(probe.a, batch->p);
	adapter_stop(probe.a, false);
	adapter_tell_stopped(probe.a);
}
END_TEST

START_TEST(a_stop_that_leaves_a_flow)
{
	flow_begin();
	adapter_stop(probe.a, false);
	adapter_tell_stopped(probe.a);
}
END_TEST

START_TEST(a_handle_settled_twice)
{
	flow_begin();
	deliver_one();
	settle_one(SETTLE_ACK);
	settle_one(SETTLE_ACK);
}
END_TEST

START_TEST(an_unsubscribe_with_something_in_hand)
{
	flow_begin();
	deliver_one();
	flow_unsubscribe(&pf.f);
}
END_TEST

START_TEST(a_delivery_after_unsubscribe)
{
	flow_begin();
	flow_unsubscribe(&pf.f);
	deliver_one();
}
END_TEST

START_TEST(up_twice)
{
	begin();
	adapter_tell_up(probe.a);
	adapter_tell_up(probe.a);
}
END_TEST

int main(void)
{
	const TTest *broken[] = {
		an_event_told_twice,
		an_upcall_from_inside_a_call,
		a_publish_after_stop,
		a_stop_that_leaves_an_event_untold,
		a_stop_that_leaves_a_flow,
		a_handle_settled_twice,
		an_unsubscribe_with_something_in_hand,
		a_delivery_after_unsubscribe,
		up_twice,
	};
	Suite *suite = suite_create("adapter contract");
	TCase *tcase = tcase_create("adapter contract");
	SRunner *runner = srunner_create(suite);

	suite_add_tcase(suite, tcase);
	tcase_add_test(tcase, what_keeps_the_contract_passes);
	for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
		tcase_add_test_raise_signal(tcase, broken[i], SIGABRT);
	}
	srunner_set_fork_status(runner, CK_FORK);
	srunner_run_all(runner, CK_NORMAL);
	const int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
