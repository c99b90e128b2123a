/* SPDX-License-Identifier: Apache-2.0 */
/* What clients work on: leases, extending, stalls, death. Over the memory adapter. */
#include "daemon/bus_impl.h"
#include "support_bus.h"

#define MEMORY "broker: {memory: {}}\n"

struct extender {
	struct kit_client *c;
	int left;
};

static void extend(uv_timer_t *t)
{
	struct extender *e = t->data;

	client_extend(e->c->c, &(struct range){e->c->got[0].tag, e->c->got[0].tag}, 1, NULL, NULL);
	e->left--;
}

START_TEST(only_what_a_dead_client_worked_on_counts)
{
	struct kit k;
	struct kit_client *a, *b;
	const struct slice p = slice_str("t");
	struct subscribe_request r = kit_request(1, &p, "g");

	kit_start(&k, MEMORY "defaults: {retry: {initial_delay: 1ms}}\n");
	r.concurrency = 1;
	for (uint32_t round = 0; round < 4; round++) {
		a = kit_connect(&k, "a");
		kit_ask(a, &r);
		if (round == 0) {
			for (int i = 0; i < 10; i++) {
				kit_publish(&k, "t", "", "");
			}
		}
		kit_got(a, 10);
		kit_disconnect(a);
	}
	b = kit_connect(&k, "b");
	kit_ask(b, &r);
	kit_got(b, 10);
	ck_assert_int_eq(kit_total(&k, "retried"), 4);
	ck_assert_int_eq(kit_total(&k, "dead_lettered"), 0);
	kit_disconnect(b);
	kit_finish(&k);
}
END_TEST

START_TEST(a_client_that_was_never_written_to_counts_nothing)
{
	struct kit k;
	struct kit_client *a, *b;

	kit_start(&k, MEMORY);
	a = kit_connect(&k, "a");
	b = kit_connect(&k, "b");
	a->stuck = true;
	kit_subscribe(a, 1, "t", "g");
	kit_publish(&k, "t", "", "");
	kit_got(a, 1);
	kit_subscribe(b, 1, "t", "g");
	kit_disconnect(a);
	kit_got(b, 1);
	ck_assert_uint_eq(b->got[0].attempt, 1);
	kit_disconnect(b);
	kit_finish(&k);
}
END_TEST

START_TEST(an_expired_lease_counts_and_makes_the_tag_stale)
{
	struct kit k;
	struct kit_client *c;
	const struct settle ack = {.verdict = VERDICT_ACK};
	struct ranges stale;

	kit_start(&k, MEMORY "defaults: {lease: 1s, retry: {initial_delay: 1ms}}\n");
	ranges_init(&stale);
	c = kit_connect(&k, "c");
	const struct slice p = slice_str("t");
	struct subscribe_request r = kit_request(1, &p, "g");

	r.lease_ms = 30;
	r.concurrency = 1;
	kit_ask(c, &r);
	kit_publish(&k, "t", "", "a");
	kit_publish(&k, "t", "", "b");
	kit_got(c, 3); /* a, b, and a again */
	ck_assert_str_eq(c->got[2].id, "a");
	ck_assert_uint_eq(c->got[2].attempt, 2);
	client_settle(c->c, &(struct range){c->got[0].tag, c->got[0].tag}, 1, &ack, NULL, &stale);
	ck_assert_uint_eq(stale.n, 1);
	ck_assert_int_eq(kit_total(&k, "retried"), 1); /* b waited, without a lease */
	ranges_finish(&stale);
	kit_disconnect(c);
	kit_finish(&k);
}
END_TEST

START_TEST(extending_keeps_a_lease)
{
	struct kit k;
	struct extender e = {.left = 15};
	uv_timer_t t;
	const struct slice p = slice_str("t");
	struct subscribe_request r = kit_request(1, &p, "g");

	kit_start(&k, MEMORY);
	e.c = kit_connect(&k, "c");
	r.lease_ms = 100;
	kit_ask(e.c, &r);
	kit_publish(&k, "t", "", "a");
	kit_got(e.c, 1);
	uv_timer_init(&k.loop, &t);
	t.data = &e;
	uv_timer_start(&t, extend, 20, 20);
	kit_until(&k, e.left == 0);
	ck_assert_int_eq(kit_total(&k, "retried"), 0);
	ck_assert_uint_eq(client_outstanding(e.c->c), 1);
	uv_close((uv_handle_t *)&t, NULL);
	kit_disconnect(e.c);
	kit_finish(&k);
}
END_TEST

/* To the bus this is a time of ms in which the process could not run. */
static void stall(struct kit *k, int64_t ms)
{
	k->bus->clock.last_mono_ms -= ms;
	k->bus->clock.stalled_ms -= ms;
	kit_turns(k);
}

static void outlive(int64_t lease_ms, int n, int64_t stall_ms)
{
	struct kit k;
	struct kit_client *c;
	const struct slice p = slice_str("t");
	struct subscribe_request r = kit_request(1, &p, "g");

	kit_start(&k, MEMORY);
	c = kit_connect(&k, "c");
	r.lease_ms = lease_ms;
	kit_ask(c, &r);
	kit_publish(&k, "t", "", "a");
	kit_got(c, 1);
	kit_turns(&k);
	for (int i = 0; i < n; i++) {
		stall(&k, stall_ms);
	}
	ck_assert_uint_eq(client_outstanding(c->c), 1);
	ck_assert_int_eq(kit_total(&k, "retried"), 0);
	kit_until(&k, client_outstanding(c->c) == 0); /* and it still runs */
	kit_disconnect(c);
	kit_finish(&k);
}

START_TEST(a_stall_longer_than_the_lease_expires_nothing)
{
	outlive(300, 1, 900);
}
END_TEST

START_TEST(stalls_do_not_add_up_to_a_lease)
{
	outlive(400, 3, 600);
}
END_TEST

int main(void)
{
	const TTest *tests[] = {
		only_what_a_dead_client_worked_on_counts,
		a_client_that_was_never_written_to_counts_nothing,
		an_expired_lease_counts_and_makes_the_tag_stale,
		extending_keeps_a_lease,
		a_stall_longer_than_the_lease_expires_nothing,
		stalls_do_not_add_up_to_a_lease,
	};

	return suite_run("bus_lease", tests, sizeof(tests) / sizeof(tests[0]));
}
