/* SPDX-License-Identifier: Apache-2.0 */
/* The NATS adapter behind adapter.h, against a real nats-server. */
#include "adapters/nats/options.h"
#include "tests/integration/nats_server.h"
#include "tests/unit/suite.h"
#include "tests/unit/support_adapter.h"

static const struct start from_new = {.kind = START_NEW};
static const struct start from_first = {.kind = START_EARLIEST};

struct setup {
	struct nats_server server;
	struct nats_options options;
	char *servers[1];
	struct probe probe;
};

static void options_init(struct setup *s)
{
	memset(&s->options, 0, sizeof(s->options));
	s->servers[0] = s->server.url;
	s->options.servers = (struct option_strings){s->servers, 1};
	s->options.connection_name = (char *)"test";
	s->options.stream = (char *)"events";
	s->options.create = true;
	s->options.in_flight = 256;
	s->options.connect_timeout_ms = 2000;
	s->options.ping_interval_ms = 500;
	s->options.reconnect_wait_ms = 20;
	s->options.reconnect_max_wait_ms = 100;
	s->options.ack_wait_ms = 2000;
	s->options.owner_lease_ms = 1000;
	s->options.failures_max_age_ms = 3600000;
}

static void begin(struct setup *s)
{
	server_start(&s->server);
	options_init(s);
	probe_start(&s->probe, &adapter_kind_nats, &s->options, (size_t)64 << 20);
}

static void end(struct setup *s)
{
	probe_stop(&s->probe, false);
	server_end(&s->server);
}

START_TEST(publishes_are_confirmed_with_their_position)
{
	struct setup s;
	struct probe_batch *b;

	begin(&s);
	b = probe_publish(&s.probe, "orders.created", "a", 1000, 128);
	ck_assert_uint_eq(probe_count(b, OUTCOME_OK), 1000);
	for (uint32_t i = 0; i < 1000; i++) {
		ck_assert_uint_eq(b->p->items[i].position.a, i + 1);
		ck_assert(!b->p->items[i].duplicate);
	}
	b = probe_publish(&s.probe, "orders.created", "a", 1, 128);
	ck_assert(b->p->items[0].duplicate);
	ck_assert_uint_eq(b->p->items[0].position.a, 1);
	b = probe_publish(&s.probe, "orders.other", "a", 1, 128);
	ck_assert(!b->p->items[0].duplicate); /* the topic is part of the identity */
	end(&s);
}
END_TEST

START_TEST(a_group_gets_each_event_once)
{
	struct setup s;
	struct probe_flow f;

	begin(&s);
	probe_live(&s.probe, &f, "g", "orders.*", from_new, 100);
	ck_assert(!f.notes[0].position_existed);
	probe_publish(&s.probe, "orders.created", "a", 1000, 16);
	while (f.n < 1000) {
		probe_until(&s.probe, f.n > f.settled);
		ck_assert_uint_le(f.n - f.settled, 100);
		probe_settle(&f, SETTLE_ACK, f.n - f.settled);
		flow_credit(&f.f, (struct credit){100, 1 << 20});
	}
	for (uint32_t i = 0; i < 1000; i++) {
		ck_assert_uint_eq(f.got[i].position.a, i + 1);
		ck_assert_uint_eq(f.got[i].failures.count, 0);
	}
	probe_leave(&s.probe, &f);
	probe_forget(&f);
	probe_live(&s.probe, &f, "g", "orders.*", from_first, 10);
	ck_assert(f.notes[0].position_existed);
	probe_publish(&s.probe, "orders.created", "b", 1, 16);
	probe_until(&s.probe, f.n == 1);
	ck_assert_uint_eq(f.got[0].position.a, 1001);
	probe_leave(&s.probe, &f);
	probe_forget(&f);
	end(&s);
}
END_TEST

int main(void)
{
	const TTest *tests[] = {
		publishes_are_confirmed_with_their_position,
		a_group_gets_each_event_once,
	};

	return suite_run("nats_adapter", tests, sizeof(tests) / sizeof(tests[0]));
}
