/* SPDX-License-Identifier: Apache-2.0 */
/* For session_env.h: a bus that does what the test says, in the place of daemon/bus.c. */
#ifndef TESTS_UNIT_SESSION_BUS_H
#define TESTS_UNIT_SESSION_BUS_H

#include <check.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "daemon/session_impl.h"

#define FAKE_MAX 4096

struct client {
	const struct client_ops *ops;
	void *ctx;
	struct outgoing queue[FAKE_MAX]; /* ready to be taken */
	uint32_t head, tail;
	uint64_t wrote_tag, wrote_offset, flushed;
	uint64_t outstanding;
	bool destroyed;
	uint64_t destroyed_at;
	/* The last calls. */
	struct subscribe_request asked;
	char pattern[64];
	uint32_t unsubscribed, paused, resumed;
	struct settle settle;
	uint64_t settled_events, settle_calls, extend_calls;
	struct range last_range;
};

struct bus {
	struct publish *batch[FAKE_MAX]; /* waiting to be told */
	uint32_t n_batches;
	size_t room;
	bool refuse_topic, refuse_subscribe;
	struct client *clients[64];
	uint32_t n_clients;
	uint32_t topic_lookups;
};

static struct bus the_bus;

struct client *client_create(struct bus *b, const char *name, const struct client_ops *ops,
			     void *ctx)
{
	struct client *c = xcalloc(1, sizeof(*c));

	(void)name;
	c->ops = ops;
	c->ctx = ctx;
	b->clients[b->n_clients++] = c;
	return c;
}

void client_destroy(struct client *c, uint64_t written_bytes)
{
	ck_assert(!c->destroyed);
	c->destroyed = true;
	c->destroyed_at = written_bytes;
}

int client_subscribe(struct client *c, const struct subscribe_request *r, struct answer *why)
{
	c->asked = *r;
	snprintf(c->pattern, sizeof(c->pattern), "%.*s", SLICE_ARG(r->patterns[0]));
	if (the_bus.refuse_subscribe) {
		answer_set(why, OUTCOME_PERMANENT, REASON_CONFLICT, "no");
		return EB_EINVAL;
	}
	return 0;
}

int client_unsubscribe(struct client *c, uint32_t subscription)
{
	c->unsubscribed = subscription;
	return subscription == 99 ? EB_ENOTFOUND : 0;
}

int client_pause(struct client *c, uint32_t subscription, bool paused)
{
	*(paused ? &c->paused : &c->resumed) = subscription;
	return subscription == 99 ? EB_ENOTFOUND : 0;
}

uint32_t client_next(struct client *c, struct outgoing *out, uint32_t max)
{
	uint32_t n = 0;

	while (n < max && c->head < c->tail) {
		out[n++] = c->queue[c->head++];
		c->outstanding++;
	}
	return n;
}

void client_wrote(struct client *c, uint64_t tag, uint64_t end_offset)
{
	ck_assert(tag > c->wrote_tag && end_offset > c->wrote_offset);
	c->wrote_tag = tag;
	c->wrote_offset = end_offset;
}

void client_flushed(struct client *c, uint64_t offset)
{
	ck_assert(offset >= c->flushed);
	c->flushed = offset;
}

void client_settle(struct client *c, const struct range *v, size_t n, const struct settle *s,
		   struct ranges *settled, struct ranges *stale)
{
	c->settle = *s;
	c->settle_calls++;
	for (size_t i = 0; i < n; i++) {
		c->last_range = v[i];
		c->settled_events += v[i].last - v[i].first + 1;
		if (settled) {
			ranges_add(settled, v[i].first, v[i].last);
			ranges_add(stale, v[i].last + 10, v[i].last + 11);
		}
	}
}

void client_extend(struct client *c, const struct range *v, size_t n, struct ranges *extended,
		   struct ranges *stale)
{
	c->extend_calls++;
	for (size_t i = 0; i < n; i++) {
		c->last_range = v[i];
		if (extended) {
			ranges_add(extended, v[i].first, v[i].last);
		}
	}
	(void)stale;
}

uint64_t client_outstanding(const struct client *c)
{
	return c->outstanding;
}

json_t *client_status(const struct client *c)
{
	(void)c;
	return json_array();
}

void bus_publish(struct bus *b, struct publish *p)
{
	ck_assert_uint_eq(p->untold, p->n);
	ck_assert_uint_lt(b->n_batches, FAKE_MAX);
	b->batch[b->n_batches++] = p;
}

bool bus_topic_ok(struct bus *b, struct slice topic, size_t event_bytes, struct answer *why)
{
	(void)event_bytes;
	b->topic_lookups++;
	if (b->refuse_topic) {
		answer_set(why, OUTCOME_PERMANENT, REASON_UNROUTABLE, "nobody takes %.*s",
			   SLICE_ARG(topic));
	}
	return !b->refuse_topic;
}

size_t bus_publish_room(const struct bus *b)
{
	return b->room;
}

bool bus_broker(const struct bus *b, uint32_t i, struct broker_view *out)
{
	static const struct capabilities caps = {.wildcards = true, .dedupe_window_ms = 1000};

	(void)b;
	*out = (struct broker_view){"default", "fake", true, &caps, 4096};
	return i == 0;
}

int bus_format_position(struct bus *b, struct slice topic, struct position p,
			char out[POSITION_TEXT_MAX])
{
	(void)b;
	(void)topic;
	snprintf(out, POSITION_TEXT_MAX, "fake:1:%llu", (unsigned long long)p.a);
	return 0;
}

json_t *bus_status(const struct bus *b)
{
	(void)b;
	return json_pack("{s:[]}", "brokers");
}

json_t *bus_explain(const struct bus *b, const char *topic, const char *group)
{
	(void)b;
	return json_pack("{s:s,s:s}", "topic", topic, "group", group ? group : "");
}

/* Tells every item of the oldest batch. */
static inline void fake_tell(enum outcome o, enum reason r, const char *text)
{
	struct publish *p = the_bus.batch[0];
	uint32_t i, n = p->n;

	memmove(the_bus.batch, the_bus.batch + 1, --the_bus.n_batches * sizeof(the_bus.batch[0]));
	for (i = 0; i < n; i++) {
		p->items[i].answer.outcome = o;
		p->items[i].answer.reason = r;
		snprintf(p->items[i].answer.text, sizeof(p->items[i].answer.text), "%s", text);
		p->items[i].position.a = 100 + i;
		p->untold--;
		p->told(p, i);
	}
}

/* Puts n deliveries of one event into the client's queue. */
static inline void fake_deliver(struct client *c, struct event *e, uint32_t n)
{
	while (n-- > 0) {
		uint64_t tag = 1000 + c->tail;

		c->queue[c->tail++] =
			(struct outgoing){.subscription = 1, .attempt = 1, .tag = tag, .event = e};
	}
	c->ops->on_ready(c->ctx);
}

#endif
