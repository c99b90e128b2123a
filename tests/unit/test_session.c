/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions: Hello, structure errors, time limits. */
#include "tests/unit/session_env.h"

static void setup(void)
{
	env_init();
}

START_TEST(test_welcome_tells_limits_credit_and_brokers)
{
	Eventbus__V1__Hello h = EVENTBUS__V1__HELLO__INIT;
	Eventbus__V1__Welcome *w;
	uint32_t c;

	env_start();
	c = env_connect();
	h.version = 1;
	h.client = (char *)"orders";
	h.session = (char *)"an old one";
	env_send(c, EVENTBUS__V1__FRAME__KIND_HELLO, &h);
	w = env_expect(c, EVENTBUS__V1__FRAME__KIND_WELCOME)->welcome;
	ck_assert_uint_eq(w->version, 1);
	ck_assert(!w->resumed);
	ck_assert_uint_eq(w->credit->events, 64);
	ck_assert_uint_eq(w->credit->bytes, 64 << 10);
	ck_assert_uint_eq(w->limits->max_frame_bytes, 1 << 20);
	ck_assert_uint_eq(w->limits->max_subscriptions, 4);
	ck_assert_uint_eq(w->n_brokers, 1);
	ck_assert_str_eq(w->brokers[0]->kind, "fake");
	ck_assert_str_eq(w->brokers[0]->capabilities[0], "wildcards");
	ck_assert_uint_gt(w->n_capabilities, 0);
	env_finish();
}
END_TEST

START_TEST(test_hello_may_carry_unknown_fields)
{
	/* Frame{hello{version 1, client "x", field 99: varint 5}} */
	static const uint8_t bytes[] = {0, 0, 0, 10, 0x42, 8, 8, 1, 0x12, 1, 'x', 0x98, 6, 5};
	uint32_t c;

	env_start();
	c = env_connect();
	env_write(c, bytes, sizeof(bytes));
	env_expect(c, EVENTBUS__V1__FRAME__KIND_WELCOME);
	env_finish();
}
END_TEST

START_TEST(test_other_version_is_told_ours)
{
	Eventbus__V1__Hello h = EVENTBUS__V1__HELLO__INIT;
	uint32_t c;

	env_start();
	c = env_connect();
	h.version = 2;
	h.client = (char *)"x";
	env_send(c, EVENTBUS__V1__FRAME__KIND_HELLO, &h);
	env_expect_refusal(c, EVENTBUS__V1__REASON__REASON_NOT_SUPPORTED, "supported: 1");
	env_finish();
}
END_TEST

START_TEST(test_token_is_not_supported)
{
	Eventbus__V1__Hello h = EVENTBUS__V1__HELLO__INIT;
	uint32_t c;

	env_start();
	c = env_connect();
	h.version = 1;
	h.client = (char *)"x";
	h.token = (char *)"secret";
	env_send(c, EVENTBUS__V1__FRAME__KIND_HELLO, &h);
	env_expect_refusal(c, EVENTBUS__V1__REASON__REASON_NOT_SUPPORTED,
			   "not supported by this version");
	env_finish();
}
END_TEST

START_TEST(test_client_names)
{
	static const char *const bad[] = {
		"", "a\nb",
		"0123456789012345678901234567890123456789012345678901234567890123456789"};
	Eventbus__V1__Hello h = EVENTBUS__V1__HELLO__INIT;
	uint32_t c;

	env_start();
	c = env_connect();
	h.version = 1;
	h.client = (char *)bad[_i];
	env_send(c, EVENTBUS__V1__FRAME__KIND_HELLO, &h);
	env_expect_refusal(c, EVENTBUS__V1__REASON__REASON_INVALID, "hello.client");
	env_finish();
}
END_TEST

START_TEST(test_hello_must_come_first)
{
	Eventbus__V1__Ping p = EVENTBUS__V1__PING__INIT;
	uint32_t c;

	env_start();
	c = env_connect();
	env_send(c, EVENTBUS__V1__FRAME__KIND_PING, &p);
	env_expect_refusal(c, EVENTBUS__V1__REASON__REASON_INVALID, "must come first");
	env_finish();
}
END_TEST

START_TEST(test_second_hello_ends_the_session)
{
	Eventbus__V1__Hello h = EVENTBUS__V1__HELLO__INIT;
	uint32_t c;

	env_start();
	c = env_client();
	h.version = 1;
	h.client = (char *)"again";
	env_send(c, EVENTBUS__V1__FRAME__KIND_HELLO, &h);
	env_expect_refusal(c, EVENTBUS__V1__REASON__REASON_INVALID, "hello");
	ck_assert(the_bus.clients[0]->destroyed);
	env_finish();
}
END_TEST

START_TEST(test_frames_of_the_daemon_are_refused)
{
	Eventbus__V1__Pong p = EVENTBUS__V1__PONG__INIT;
	uint32_t c;

	env_start();
	c = env_client();
	env_send(c, EVENTBUS__V1__FRAME__KIND_PONG, &p);
	env_expect_refusal(c, EVENTBUS__V1__REASON__REASON_INVALID, "");
	env_finish();
}
END_TEST

START_TEST(test_length_0_and_too_long)
{
	static const uint8_t header[2][4] = {{0, 0, 0, 0}, {0, 16, 0, 1}};
	uint32_t c;

	env_start();
	c = env_client();
	env_write(c, header[_i], 4);
	env_expect_refusal(c, EVENTBUS__V1__REASON__REASON_INVALID,
			   _i ? "longer than 1048576" : "length 0");
	env_finish();
}
END_TEST

START_TEST(test_unknown_field_is_named)
{
	/* Frame{ping{field 99: 5}} */
	static const uint8_t bytes[] = {0, 0, 0, 5, 0x6a, 3, 0x98, 6, 5};
	uint32_t c;

	env_start();
	c = env_client();
	env_write(c, bytes, sizeof(bytes));
	env_expect_refusal(c, EVENTBUS__V1__REASON__REASON_INVALID, "99");
	env_finish();
}
END_TEST

START_TEST(test_frame_split_at_every_byte)
{
	/* Frame{ping{request: 7}} */
	static const uint8_t bytes[] = {0, 0, 0, 4, 0x6a, 2, 8, 7};
	size_t i;
	uint32_t c;

	env_start();
	c = env_client();
	for (i = 0; i < sizeof(bytes); i++) {
		env_write(c, bytes + i, 1);
		env_turn();
	}
	ck_assert_uint_eq(env_expect(c, EVENTBUS__V1__FRAME__KIND_PONG)->pong->request, 7);
	env_finish();
}
END_TEST

START_TEST(test_register_is_not_supported)
{
	Eventbus__V1__Register r = EVENTBUS__V1__REGISTER__INIT;
	Eventbus__V1__Error *e;
	uint32_t c;

	env_start();
	c = env_client();
	r.request = 12;
	env_send(c, EVENTBUS__V1__FRAME__KIND_REGISTER, &r);
	e = env_expect(c, EVENTBUS__V1__FRAME__KIND_ERROR)->error;
	ck_assert_int_eq(e->reason, EVENTBUS__V1__REASON__REASON_NOT_SUPPORTED);
	ck_assert_int_eq(e->re_case, EVENTBUS__V1__ERROR__RE_REQUEST);
	ck_assert_uint_eq(e->request, 12);
	ck_assert(!e->closing);
	env_finish();
}
END_TEST

START_TEST(test_status_and_explain)
{
	Eventbus__V1__Admin a = EVENTBUS__V1__ADMIN__INIT;
	Eventbus__V1__StatusRequest status = EVENTBUS__V1__STATUS_REQUEST__INIT;
	Eventbus__V1__ExplainRequest explain = EVENTBUS__V1__EXPLAIN_REQUEST__INIT;
	Eventbus__V1__AdminReply *r;
	uint32_t c;

	env_start();
	c = env_client();
	a.request = 3;
	a.what_case = EVENTBUS__V1__ADMIN__WHAT_STATUS;
	a.status = &status;
	env_send(c, EVENTBUS__V1__FRAME__KIND_ADMIN, &a);
	r = env_expect(c, EVENTBUS__V1__FRAME__KIND_ADMIN_REPLY)->admin_reply;
	ck_assert_uint_eq(r->request, 3);
	ck_assert_ptr_nonnull(strstr(r->json, "\"version\""));
	ck_assert_ptr_nonnull(strstr(r->json, "\"name\":\"test\""));
	a.what_case = EVENTBUS__V1__ADMIN__WHAT_EXPLAIN;
	a.explain = &explain;
	explain.topic = (char *)"a.b";
	explain.group = (char *)"g";
	env_send(c, EVENTBUS__V1__FRAME__KIND_ADMIN, &a);
	r = env_expect(c, EVENTBUS__V1__FRAME__KIND_ADMIN_REPLY)->admin_reply;
	ck_assert_str_eq(r->json, "{\"topic\":\"a.b\",\"group\":\"g\"}");
	explain.topic = (char *)"a..b";
	env_send(c, EVENTBUS__V1__FRAME__KIND_ADMIN, &a);
	ck_assert_int_eq(env_expect(c, EVENTBUS__V1__FRAME__KIND_ERROR)->error->reason,
			 EVENTBUS__V1__REASON__REASON_INVALID);
	env_finish();
}
END_TEST

START_TEST(test_hello_and_frames_have_a_time_limit)
{
	uint32_t c;

	env.config.limits.hello_timeout_ms = 20;
	env.config.limits.frame_timeout_ms = 20;
	env_start();
	c = env_connect();
	env_expect_refusal(c, EVENTBUS__V1__REASON__REASON_INVALID, "hello: did not come");
	c = env_client();
	env_write(c, "\0\0", 2);
	env_expect_refusal(c, EVENTBUS__V1__REASON__REASON_INVALID, "frame: was not complete");
	env_finish();
}
END_TEST

START_TEST(test_idle_session_has_no_time_limit)
{
	static const uint8_t ping[] = {0, 0, 0, 2, 0x6a, 0};
	uint32_t c;
	uint64_t until;

	env.config.limits.hello_timeout_ms = 10;
	env.config.limits.frame_timeout_ms = 10;
	env_start();
	c = env_client();
	uv_update_time(&env.loop);
	until = uv_now(&env.loop) + 40;
	uv_timer_start(&env.guard, env_guard, 10000, 5);
	while (uv_now(&env.loop) < until) {
		uv_run(&env.loop, UV_RUN_NOWAIT);
	}
	env_write(c, ping, sizeof(ping));
	env_expect(c, EVENTBUS__V1__FRAME__KIND_PONG);
	env_finish();
}
END_TEST

START_TEST(test_clients_beyond_the_limit_are_told)
{
	uint32_t i, c;

	env.config.socket.max_clients = 2;
	env_start();
	for (i = 0; i < 2; i++) {
		env_client();
	}
	c = env_connect();
	env_expect_refusal(c, EVENTBUS__V1__REASON__REASON_OVERLOADED, "max_clients");
	env_finish();
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("session");

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, test_welcome_tells_limits_credit_and_brokers);
	tcase_add_test(tc, test_hello_may_carry_unknown_fields);
	tcase_add_test(tc, test_other_version_is_told_ours);
	tcase_add_test(tc, test_token_is_not_supported);
	tcase_add_loop_test(tc, test_client_names, 0, 3);
	tcase_add_test(tc, test_hello_must_come_first);
	tcase_add_test(tc, test_second_hello_ends_the_session);
	tcase_add_test(tc, test_frames_of_the_daemon_are_refused);
	tcase_add_loop_test(tc, test_length_0_and_too_long, 0, 2);
	tcase_add_test(tc, test_unknown_field_is_named);
	tcase_add_test(tc, test_frame_split_at_every_byte);
	tcase_add_test(tc, test_register_is_not_supported);
	tcase_add_test(tc, test_status_and_explain);
	tcase_add_test(tc, test_hello_and_frames_have_a_time_limit);
	tcase_add_test(tc, test_idle_session_has_no_time_limit);
	tcase_add_test(tc, test_clients_beyond_the_limit_are_told);
	return suite_run_case("session", tc);
}
