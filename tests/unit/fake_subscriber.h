/* SPDX-License-Identifier: Apache-2.0 */
/* A subscriber that writes down what it sees, for tests against the fake daemon. */
#ifndef TESTS_UNIT_FAKE_SUBSCRIBER_H
#define TESTS_UNIT_FAKE_SUBSCRIBER_H

#include "tests/unit/fake_daemon.h"

#define LEASE_MS 60

struct seen {
	int handled, cancelled, states;
	int rc; /* what the handler returns */
	bool take, fail, fail_after, destroy, unsubscribe;
	struct eventbus *client;
	struct eventbus_subscription *sub;
	struct eventbus_delivery *taken[8];
	int n_taken;
	enum eventbus_cancel why;
	int64_t deadline_ms;
	enum eventbus_state state[16];
	char text[256];
	char payload[64], metadata[64], id[32];
	uint64_t tag;
};

static inline int on_event(void *ctx, struct eventbus_event *e)
{
	struct seen *s = ctx;
	struct eventbus_text v = {"", 0};

	s->handled++;
	s->tag = e->tag;
	snprintf(s->payload, sizeof(s->payload), "%.*s", (int)e->payload_size,
		 (const char *)e->payload);
	snprintf(s->id, sizeof(s->id), "%.*s", (int)e->id.n, e->id.p);
	eventbus_metadata_get(e, "colour", &v);
	snprintf(s->metadata, sizeof(s->metadata), "%.*s", (int)v.n, v.p);
	if (s->destroy) {
		eventbus_destroy(s->client);
	}
	if (s->unsubscribe) {
		eventbus_unsubscribe(s->sub);
	}
	if (s->take) {
		s->taken[s->n_taken++] = eventbus_take(e);
		ck_assert_ptr_null(eventbus_take(e));
		return 1;
	}
	if (s->fail) {
		return eventbus_fail(e, EVENTBUS_REJECT, "no good");
	}
	if (s->fail_after) {
		return eventbus_fail_after(e, 5000, "later");
	}
	return s->rc;
}

static inline void on_state(void *ctx, struct eventbus_subscription *sub,
			    const struct eventbus_note *n)
{
	struct seen *s = ctx;

	(void)sub;
	s->state[s->states++] = n->state;
	snprintf(s->text, sizeof(s->text), "%s", n->why);
}

static inline void on_cancel(void *ctx, struct eventbus_delivery *d, enum eventbus_cancel why,
			     int64_t deadline_ms)
{
	struct seen *s = ctx;

	ck_assert_int_eq(eventbus_cancelled(d), why);
	s->cancelled++;
	s->why = why;
	s->deadline_ms = deadline_ms;
}

static inline struct eventbus_subscribe options(struct seen *s)
{
	return (struct eventbus_subscribe){
		.pattern = "orders.>",
		.group = "billing",
		.handler = on_event,
		.on_cancel = on_cancel,
		.on_state = on_state,
		.ctx = s,
	};
}

/* A client with one active subscription. */
static inline struct eventbus *subscribed(struct fake *f, struct seen *s,
					  const struct eventbus_subscribe *o)
{
	struct eventbus_subscribe defaults = options(s);
	struct eventbus *c = fake_client(f, NULL);

	s->client = c;
	ck_assert_int_eq(eventbus_subscribe(c, o ? o : &defaults, &s->sub), 0);
	eventbus_process(c);
	FAKE_EXPECT(f, SUBSCRIBE);
	fake_subscribed(f, 1, 2, LEASE_MS);
	fake_turns(c, &s->states, 1);
	ck_assert_int_eq(s->state[0], EVENTBUS_SUBSCRIBED);
	return c;
}

#endif
