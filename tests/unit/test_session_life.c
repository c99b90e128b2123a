/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions whose peer goes, does not read or sends too much; fairness, drain and stop. */
#include "tests/unit/session_env.h"

static void setup(void)
{
	env_init();
}

START_TEST(test_peer_that_goes_gives_back_what_was_written)
{
	struct event *e = env_event("a.b", 100);
	struct client *c;

	env_start();
	env_client();
	c = the_bus.clients[0];
	fake_deliver(c, e, 3);
	env_expect(0, EVENTBUS__V1__FRAME__KIND_DELIVER);
	ck_assert_uint_eq(c->wrote_tag, 1002);
	ck_assert_uint_eq(c->flushed, c->wrote_offset);
	shutdown(env.fd[0], SHUT_RDWR);
	while (!c->destroyed) {
		env_turn();
	}
	ck_assert_uint_eq(c->destroyed_at, c->wrote_offset);
	event_unref(e);
	env_finish();
}
END_TEST

START_TEST(test_reader_that_stops_is_paused_then_cut)
{
	struct event *e = env_event("a.b", 4096);
	struct client *c;

	env.config.limits.unwritten_bytes = 64 << 10;
	env.config.limits.unwritten_timeout_ms = 100;
	env_start();
	env_client();
	c = the_bus.clients[0];
	fake_deliver(c, e, FAKE_MAX);
	env_settle();
	ck_assert_uint_lt(c->head, FAKE_MAX / 2); /* paused */
	ck_assert_uint_lt(c->flushed, c->wrote_offset);
	while (!c->destroyed) {
		env_turn();
	}
	ck_assert_uint_lt(c->destroyed_at, c->wrote_offset);
	event_unref(e);
	env_finish();
}
END_TEST

START_TEST(test_answers_that_are_not_read_are_bounded)
{
	static uint8_t pings[256 * 1024];
	static const uint8_t ping[] = {0, 0, 0, 4, 0x6a, 2, 8, 7};
	size_t i;

	env.config.limits.unwritten_bytes = 64 << 10;
	env.config.socket.max_frame = 64 << 10;
	for (i = 0; i < sizeof(pings); i++) {
		pings[i] = ping[i % sizeof(ping)];
	}
	env_start();
	env_client();
	while (!the_bus.clients[0]->destroyed) {
		env_write(0, pings, sizeof(pings));
	}
	ck_assert_uint_lt(env.budget.used, 2 << 20);
	env_finish();
}
END_TEST

START_TEST(test_answers_that_are_not_read_give_way_when_memory_is_short)
{
	static uint8_t pings[64 * 1024];
	static const uint8_t ping[] = {0, 0, 0, 4, 0x6a, 2, 8, 7};
	size_t i;

	for (i = 0; i < sizeof(pings); i++) {
		pings[i] = ping[i % sizeof(ping)];
	}
	env_start();
	env_client();
	env.budget.limit = 1;
	while (!the_bus.clients[0]->destroyed) {
		env_write(0, pings, sizeof(pings));
	}
	/* Far below unwritten_bytes. */
	ck_assert_uint_lt(env.budget.used, 1 << 20);
	env_finish();
}
END_TEST

START_TEST(test_flood_does_not_hold_up_others)
{
	static uint8_t pings[64 * 1024];
	static const uint8_t ping[] = {0, 0, 0, 4, 0x6a, 2, 8, 7};
	struct session *flooder;
	size_t i;

	for (i = 0; i < sizeof(pings); i++) {
		pings[i] = ping[i % sizeof(ping)];
	}
	env_start();
	env_client();
	env_client();
	flooder = container_of(env.set->all.next, struct session, link);
	for (i = 0; i < 3; i++) {
		/* As much as the socket takes. */
		if (send(env.fd[0], pings, sizeof(pings), MSG_NOSIGNAL) < 0) {
			break;
		}
	}
	env_write(1, ping, sizeof(ping));
	env_turn();
	ck_assert_uint_le(flooder->turn_bytes, SESSION_TURN_BYTES + 64);
	env_expect(1, EVENTBUS__V1__FRAME__KIND_PONG);
	for (i = 0; i < 1000; i++) {
		env_expect(0, EVENTBUS__V1__FRAME__KIND_PONG);
	}
	env_finish();
}
END_TEST

START_TEST(test_a_crowd_is_served_in_rounds)
{
	static uint8_t pings[64 * 1024];
	static const uint8_t ping[] = {0, 0, 0, 4, 0x6a, 2, 8, 7};
	struct list *it;
	size_t i;
	uint32_t c;

	for (i = 0; i < sizeof(pings); i++) {
		pings[i] = ping[i % sizeof(ping)];
	}
	env.config.socket.max_clients = 64;
	env_start();
	for (c = 0; c < 30; c++) {
		env_client();
	}
	for (c = 0; c < 30; c++) {
		env_write(c, pings, sizeof(pings));
	}
	uv_run(&env.loop, UV_RUN_NOWAIT);
	ck_assert(env.set->long_round);
	ck_assert_uint_lt(env.set->turn_bytes, SESSION_TURN_TOTAL + 2 * SESSION_TURN_BYTES);
	/* Nobody is read again before all were read. */
	while (env.set->round == container_of(env.set->all.next, struct session, link)->round) {
		uv_run(&env.loop, UV_RUN_NOWAIT);
	}
	for (it = env.set->all.next; it != &env.set->all; it = it->next) {
		ck_assert_uint_gt(container_of(it, struct session, link)->turn_bytes, 1000);
	}
	for (c = 0; c < 30; c++) {
		for (i = 0; i < 500; i++) {
			env_expect(c, EVENTBUS__V1__FRAME__KIND_PONG);
		}
	}
	env_finish();
}
END_TEST

START_TEST(test_work_beyond_a_turn_goes_on_without_new_bytes)
{
	Eventbus__V1__Admin a = EVENTBUS__V1__ADMIN__INIT;
	Eventbus__V1__StatusRequest status = EVENTBUS__V1__STATUS_REQUEST__INIT;
	uint32_t i;

	env_start();
	env_client();
	a.what_case = EVENTBUS__V1__ADMIN__WHAT_STATUS;
	a.status = &status;
	for (i = 0; i < 40; i++) {
		a.request = i;
		env_send(0, EVENTBUS__V1__FRAME__KIND_ADMIN, &a);
	}
	for (i = 0; i < 40; i++) {
		ck_assert_uint_eq(
			env_expect(0, EVENTBUS__V1__FRAME__KIND_ADMIN_REPLY)->admin_reply->request,
			i);
	}
	env_settle();
	ck_assert(!uv_is_active((uv_handle_t *)&env.set->idle));
	env_finish();
}
END_TEST

START_TEST(test_drain_is_told_and_new_clients_are_refused)
{
	Eventbus__V1__Hello h = EVENTBUS__V1__HELLO__INIT;
	Eventbus__V1__Subscribe q = EVENTBUS__V1__SUBSCRIBE__INIT;
	uint32_t c;

	env_start();
	env_client();
	c = env_connect();
	sessions_drain(env.set, 1234);
	ck_assert_uint_eq(env_expect(0, EVENTBUS__V1__FRAME__KIND_DRAIN)->drain->deadline_ms, 1234);
	h.version = 1;
	h.client = (char *)"late";
	env_send(c, EVENTBUS__V1__FRAME__KIND_HELLO, &h);
	env_expect_refusal(c, EVENTBUS__V1__REASON__REASON_DRAINING, "stopping");
	q.subscription = 1;
	env_send(0, EVENTBUS__V1__FRAME__KIND_SUBSCRIBE, &q);
	ck_assert_int_eq(env_expect(0, EVENTBUS__V1__FRAME__KIND_ERROR)->error->reason,
			 EVENTBUS__V1__REASON__REASON_DRAINING);
	env_finish();
}
END_TEST

START_TEST(test_stop_writes_what_is_queued)
{
	struct event *e = env_event("a.b", 60000);
	uint32_t i;

	env_start();
	env_client();
	fake_deliver(the_bus.clients[0], e, 20);
	env_settle();
	sessions_quiet(env.set);
	sessions_stop(env.set, false, env_on_stopped, NULL);
	for (i = 0; env_read(0); i++) {
	}
	/* Everything that was taken from the bus has arrived; then the end. */
	ck_assert_uint_eq(i, the_bus.clients[0]->head);
	event_unref(e);
	env_finish();
}
END_TEST

START_TEST(test_stop_does_not_wait_for_those_that_were_refused)
{
	uint32_t c;
	uint64_t before;

	env_start();
	c = env_client();
	env_write(c, "\0\0\0\0", 4);
	env_expect(c, EVENTBUS__V1__FRAME__KIND_ERROR);
	env_settle(); /* it is shut and waits for us to close */
	before = uv_now(&env.loop);
	sessions_quiet(env.set);
	sessions_stop(env.set, false, env_on_stopped, NULL);
	while (!env.stopped) {
		env_turn();
	}
	ck_assert_uint_lt(uv_now(&env.loop) - before, SESSION_LINGER_MS / 2);
	env_finish();
}
END_TEST

START_TEST(test_forced_stop_waits_for_nobody)
{
	struct event *e = env_event("a.b", 60000);

	env_start();
	env_client();
	env_connect();
	fake_deliver(the_bus.clients[0], e, 20);
	env_settle();
	sessions_stop(env.set, false, env_on_stopped, NULL);
	sessions_stop(env.set, true, env_on_stopped, NULL);
	event_unref(e);
	env_finish();
}
END_TEST

START_TEST(test_idle_session_holds_no_buffers)
{
	static const uint8_t ping[] = {0, 0, 0, 2, 0x6a, 0};
	const struct session *s;

	env_start();
	env_client();
	env_write(0, ping, sizeof(ping));
	env_expect(0, EVENTBUS__V1__FRAME__KIND_PONG);
	env_settle();
	s = container_of(env.set->all.next, struct session, link);
	ck_assert_uint_eq(env.budget.used, 0);
	ck_assert_ptr_null(s->out.p);
	ck_assert_ptr_null(s->framer.buf);
	env_finish();
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("session_life");

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, test_peer_that_goes_gives_back_what_was_written);
	tcase_add_test(tc, test_reader_that_stops_is_paused_then_cut);
	tcase_add_test(tc, test_answers_that_are_not_read_are_bounded);
	tcase_add_test(tc, test_answers_that_are_not_read_give_way_when_memory_is_short);
	tcase_add_test(tc, test_flood_does_not_hold_up_others);
	tcase_add_test(tc, test_a_crowd_is_served_in_rounds);
	tcase_add_test(tc, test_work_beyond_a_turn_goes_on_without_new_bytes);
	tcase_add_test(tc, test_drain_is_told_and_new_clients_are_refused);
	tcase_add_test(tc, test_stop_writes_what_is_queued);
	tcase_add_test(tc, test_stop_does_not_wait_for_those_that_were_refused);
	tcase_add_test(tc, test_forced_stop_waits_for_nobody);
	tcase_add_test(tc, test_idle_session_holds_no_buffers);
	return suite_run_case("session_life", tc);
}
