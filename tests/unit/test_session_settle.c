/* SPDX-License-Identifier: Apache-2.0 */
/* Acks, nacks and extensions as a session passes them on. */
#include "tests/unit/session_env.h"

static void setup(void)
{
	env_init();
}

static Eventbus__V1__Error *refused(uint32_t c, Eventbus__V1__Reason reason)
{
	Eventbus__V1__Error *e = env_expect(c, EVENTBUS__V1__FRAME__KIND_ERROR)->error;

	ck_assert(!e->closing);
	ck_assert_msg(e->reason == reason, "%s", e->text);
	return e;
}

static Eventbus__V1__Nack nack_of(Eventbus__V1__NackClass kind)
{
	static Eventbus__V1__Range range;
	static Eventbus__V1__Range *list[] = {&range};
	Eventbus__V1__Nack n = EVENTBUS__V1__NACK__INIT;

	eventbus__v1__range__init(&range);
	range.first = 5;
	range.last = 6;
	n.tags = list;
	n.n_tags = 1;
	n.kind = kind;
	n.request = 4;
	return n;
}

START_TEST(test_nack_reaches_the_bus)
{
	Eventbus__V1__Nack n = nack_of(EVENTBUS__V1__NACK_CLASS__NACK_CLASS_RETRY);
	Eventbus__V1__Settled *m;
	struct client *c;

	env_start();
	env_client();
	c = the_bus.clients[0];
	n.reason = (char *)"later";
	n.delay_case = EVENTBUS__V1__NACK__DELAY_DELAY_MS;
	n.delay_ms = 0;
	n.settled = 1;
	env_send(0, EVENTBUS__V1__FRAME__KIND_NACK, &n);
	m = env_expect(0, EVENTBUS__V1__FRAME__KIND_SETTLED)->settled;
	ck_assert_uint_eq(m->request, 4);
	ck_assert_uint_eq(m->settled[0]->first, 5);
	ck_assert_uint_eq(m->stale[0]->first, 16);
	ck_assert_int_eq(c->settle.verdict, VERDICT_RETRY);
	ck_assert(c->settle.has_delay && c->settle.delay_ms == 0);
	ck_assert_uint_eq(c->last_range.last, 6);
	env_finish();
}
END_TEST

START_TEST(test_nack_with_wrong_content_settles_nothing)
{
	static char reason[1026];
	Eventbus__V1__Nack n = nack_of(_i == 1 ? EVENTBUS__V1__NACK_CLASS__NACK_CLASS_DROP
					       : EVENTBUS__V1__NACK_CLASS__NACK_CLASS_RETRY);
	Eventbus__V1__Error *e;

	env_start();
	env_client();
	if (_i == 0) {
		memset(reason, 'x', 1025);
		n.reason = reason;
	} else {
		n.delay_case = EVENTBUS__V1__NACK__DELAY_DELAY_MS;
		n.delay_ms = _i == 1 ? 10 : 86400001;
	}
	env_send(0, EVENTBUS__V1__FRAME__KIND_NACK, &n);
	e = refused(0, EVENTBUS__V1__REASON__REASON_INVALID);
	ck_assert_uint_eq(e->request, 4);
	ck_assert_uint_eq(the_bus.clients[0]->settle_calls, 0);
	env_finish();
}
END_TEST

START_TEST(test_nack_without_a_class_ends_the_session)
{
	Eventbus__V1__Nack n = nack_of(EVENTBUS__V1__NACK_CLASS__NACK_CLASS_UNSPECIFIED);

	env_start();
	env_client();
	env_send(0, EVENTBUS__V1__FRAME__KIND_NACK, &n);
	env_expect_refusal(0, EVENTBUS__V1__REASON__REASON_INVALID, "nack.kind");
	env_finish();
}
END_TEST

START_TEST(test_ranges_must_not_run_backwards)
{
	Eventbus__V1__Nack n = nack_of(EVENTBUS__V1__NACK_CLASS__NACK_CLASS_DROP);
	Eventbus__V1__Extend x = EVENTBUS__V1__EXTEND__INIT;
	Eventbus__V1__Ack a = EVENTBUS__V1__ACK__INIT;

	env_start();
	env_client();
	n.tags[0]->first = 7;
	x.tags = a.tags = n.tags;
	x.n_tags = a.n_tags = 1;
	if (_i == 0) {
		env_send(0, EVENTBUS__V1__FRAME__KIND_NACK, &n);
	} else if (_i == 1) {
		env_send(0, EVENTBUS__V1__FRAME__KIND_EXTEND, &x);
	} else {
		env_send(0, EVENTBUS__V1__FRAME__KIND_ACK, &a);
	}
	env_expect_refusal(0, EVENTBUS__V1__REASON__REASON_INVALID, "");
	ck_assert_uint_eq(the_bus.clients[0]->settle_calls, 0);
	env_finish();
}
END_TEST

START_TEST(test_extend_and_a_wide_ack)
{
	Eventbus__V1__Nack n = nack_of(EVENTBUS__V1__NACK_CLASS__NACK_CLASS_DROP);
	Eventbus__V1__Extend x = EVENTBUS__V1__EXTEND__INIT;
	Eventbus__V1__Ack a = EVENTBUS__V1__ACK__INIT;

	env_start();
	env_client();
	x.tags = a.tags = n.tags;
	x.n_tags = a.n_tags = 1;
	x.settled = 1;
	x.request = 8;
	env_send(0, EVENTBUS__V1__FRAME__KIND_EXTEND, &x);
	ck_assert_uint_eq(env_expect(0, EVENTBUS__V1__FRAME__KIND_SETTLED)->settled->request, 8);
	ck_assert_uint_eq(the_bus.clients[0]->extend_calls, 1);
	n.tags[0]->first = 0;
	n.tags[0]->last = UINT64_MAX - 100;
	env_send(0, EVENTBUS__V1__FRAME__KIND_ACK, &a);
	while (the_bus.clients[0]->settle_calls != 1) {
		env_turn();
	}
	ck_assert_uint_eq(the_bus.clients[0]->last_range.last, UINT64_MAX - 100);
	env_finish();
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("session_settle");

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, test_nack_reaches_the_bus);
	tcase_add_loop_test(tc, test_nack_with_wrong_content_settles_nothing, 0, 3);
	tcase_add_test(tc, test_nack_without_a_class_ends_the_session);
	tcase_add_loop_test(tc, test_ranges_must_not_run_backwards, 0, 3);
	tcase_add_test(tc, test_extend_and_a_wide_ack);
	return suite_run_case("session_settle", tc);
}
