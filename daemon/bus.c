/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Happy path: create makes the adapters, start connects them; drain gives back what no client
 * holds and waits for what clients do; stop gives back the rest, unsubscribes every flow, stops the
 * adapters when their flows are gone, closes the handles, and tells on_stopped.
 *
 * Failure modes:
 * - an adapter cannot start: bus_start says why; bus_stop then stops the others;
 * - a broker does not answer while stopping: a second bus_stop with force does not wait for it;
 * - a publish after the stop: answered NOT_STORED, draining, in the next turn.
 */
#include "daemon/bus.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "daemon/client_impl.h"
#include "daemon/feed.h"

#define TICK_MS	    250
#define SLACK_MS    150 /* a later tick than that is a stall */
#define SCRATCH_MAX ((size_t)16 << 20)
/* What a Deliver frame holds beside one event: numbers, a position, lengths. */
#define DELIVER_ROOM ((size_t)512)
/* What a dead letter has beside its payload: an error of 1 KiB, escaped, and the other keys. */
#define DEADLETTER_ROOM ((size_t)5120)

/* ---- create, start ------------------------------------------------------------ */

static int create_broker(struct bus *b, uint32_t i, struct err_text *err)
{
	const struct config_broker *c = &b->config->brokers[i];
	const struct adapter_kind *kind = adapter_kind_find(c->kind->name);
	struct broker *broker = &b->brokers[i];
	const struct adapter_env env = {
		.loop = b->loop,
		.name = c->name,
		.instance = b->instance,
		.up = &bus_upcalls,
		.ctx = broker,
		.budget = b->o.budget,
		.publish_timeout_ms = b->config->limits.publish_timeout_ms,
		.max_event_bytes = (size_t)b->config->socket.max_frame,
	};

	broker->bus = b;
	broker->name = c->name;
	broker->kind = c->kind->name;
	snprintf(broker->why_down, sizeof(broker->why_down), "broker %s: not connected yet",
		 c->name);
	if (!kind) {
		return err_set(err, EB_ENOTSUP, "broker %s: kind %s was not built in", c->name,
			       c->kind->name);
	}
	return kind->create(&env, c->options, &broker->adapter, err);
}

static void init_lists(struct bus *b)
{
	table_init(&b->groups);
	list_init(&b->feeds);
	list_init(&b->clients);
	list_init(&b->dirty);
	list_init(&b->woken_subscriptions);
	list_init(&b->woken_clients);
	list_init(&b->announce);
	list_init(&b->ready);
	list_init(&b->refused);
	list_init(&b->squeezed);
	list_init(&b->retired);
	flight_pool_init(&b->flights, b->o.budget);
	arena_init(&b->scratch, SCRATCH_MAX);
}

int bus_create(const struct bus_options *o, struct bus **out, struct err_text *err)
{
	struct bus *b = xcalloc(1, sizeof(*b));
	int rc;

	b->o = *o;
	b->loop = o->loop;
	b->config = o->config;
	b->instance = xstrdup(o->instance);
	init_lists(b);
	stall_clock_init(&b->clock, clock_mono_ms(), TICK_MS, SLACK_MS);
	wheel_init(&b->wheel, stall_clock_now(&b->clock));
	b->book = b->first_book = policy_book_create(o->config);
	policy_book_ref(b->first_book);
	b->n_brokers = o->config->n_brokers;
	b->brokers = xcalloc(b->n_brokers, sizeof(*b->brokers));
	for (uint32_t i = 0; i < b->n_brokers; i++) {
		rc = create_broker(b, i, err);
		if (rc < 0) {
			bus_destroy(b);
			return rc;
		}
	}
	*out = b;
	return 0;
}

int bus_start(struct bus *b, struct err_text *err)
{
	bus_turn_start(b);
	b->started = true;
	for (uint32_t i = 0; i < b->n_brokers; i++) {
		const int rc = adapter_start(b->brokers[i].adapter, err);

		if (rc < 0) {
			return rc;
		}
		b->brokers[i].started = true;
	}
	return 0;
}

void bus_destroy(struct bus *b)
{
	if (!b) {
		return;
	}
	assert(list_empty(&b->clients) && list_empty(&b->feeds) && b->handles == 0);
	for (uint32_t i = 0; i < b->n_brokers; i++) {
		adapter_destroy(b->brokers[i].adapter);
	}
	free(b->brokers);
	flight_pool_finish(&b->flights);
	table_finish(&b->groups);
	arena_finish(&b->scratch);
	policy_book_unref(b->first_book);
	policy_book_unref(b->book);
	bus_tell_retired(b);
	free(b->instance);
	free(b);
}

/* ---- reload --------------------------------------------------------------------- */

/* A configuration that was replaced; told in a turn, when the last flight of it is settled. */
struct retired {
	struct list link;
	struct bus *bus;
	void (*on_old_free)(void *ctx);
	void *ctx;
};

static void on_book_free(void *ctx)
{
	struct retired *r = ctx;

	list_push_back(&r->bus->retired, &r->link);
	bus_mark(r->bus);
}

void bus_tell_retired(struct bus *b)
{
	struct list *it;

	while ((it = list_pop_front(&b->retired))) {
		struct retired *r = container_of(it, struct retired, link);

		if (r->on_old_free) {
			r->on_old_free(r->ctx);
		}
		free(r);
	}
}

void bus_reload(struct bus *b, const struct config *next, void (*on_old_free)(void *ctx), void *ctx)
{
	struct policy_book *old = b->book;
	struct retired *r = xcalloc(1, sizeof(*r));

	*r = (struct retired){.bus = b, .on_old_free = on_old_free, .ctx = ctx};
	policy_book_on_free(old, on_book_free, r);
	b->book = policy_book_create(next);
	b->config = next;
	for (struct list *it = b->feeds.next; it != &b->feeds; it = it->next) {
		feed_repolicy(container_of(it, struct feed, bus_link));
	}
	for (struct list *it = b->clients.next; it != &b->clients; it = it->next) {
		struct client *c = container_of(it, struct client, link);

		c->max_bytes = (uint64_t)next->limits.per_client;
	}
	policy_book_unref(old);
}

/* ---- drain, stop ------------------------------------------------------------------ */

void bus_drain(struct bus *b)
{
	if (b->draining) {
		return;
	}
	b->draining = true;
	for (struct list *it = b->feeds.next; it != &b->feeds; it = it->next) {
		struct feed *f = container_of(it, struct feed, bus_link);

		feed_give_back(f);
		feed_mark(f);
	}
	bus_mark(b);
}

void bus_drain_report(const struct bus *b, struct drain_report *out)
{
	*out = b->report;
}

static void cut_client(struct client *c)
{
	for (struct list *it = c->subscriptions.next; it != &c->subscriptions; it = it->next) {
		subscription_cut(container_of(it, struct subscription, link));
	}
}

static void abandon_feeds(struct bus *b)
{
	struct list *it, *tmp;

	for (it = b->clients.next; it != &b->clients; it = it->next) {
		cut_client(container_of(it, struct client, link));
	}
	list_for_each_safe (it, tmp, &b->feeds) {
		struct feed *f = container_of(it, struct feed, bus_link);

		feed_abandon(f);
		feed_check_unused(f);
	}
}

void bus_stop(struct bus *b, bool force)
{
	const bool again = b->stopping;

	assert(b->started);
	b->draining = b->stopping = true;
	if (!again) {
		abandon_feeds(b);
	}
	if (force && !b->forced) {
		b->forced = true;
		for (uint32_t i = 0; i < b->n_brokers; i++) {
			b->brokers[i].stopping = false; /* told again, with force */
		}
	}
	bus_mark(b);
}

/* At the turn: the next step of stopping that is possible now. */
void bus_check_stopped(struct bus *b)
{
	uint32_t n_stopped = 0;

	if (!b->stopping || b->closing) {
		return;
	}
	for (uint32_t i = 0; i < b->n_brokers; i++) {
		struct broker *broker = &b->brokers[i];

		if (!broker->started || broker->stopped) {
			n_stopped++;
		} else if (!broker->stopping && (broker->n_feeds == 0 || b->forced)) {
			broker->stopping = true;
			adapter_stop(broker->adapter, b->forced);
		}
	}
	if (n_stopped == b->n_brokers && b->n_publishing == 0 && list_empty(&b->refused)) {
		bus_turn_stop(b);
	}
}

/* ---- publish ------------------------------------------------------------------------ */

struct broker *bus_route(struct bus *b, struct slice topic)
{
	(void)topic; /* routes: by topic pattern will choose here */
	return &b->brokers[0];
}

static void on_told(struct publish *p, uint32_t i)
{
	struct bus *b = p->router;
	const struct publish_item *item = &p->items[i];

	b->n_untold--;
	if (item->answer.outcome == OUTCOME_OK) {
		b->totals.published++;
		b->totals.duplicates += item->duplicate;
	} else if (item->answer.outcome == OUTCOME_UNKNOWN) {
		b->totals.unknown++;
		b->report.unconfirmed += b->draining;
	} else {
		b->totals.refused++;
	}
	if (b->draining && b->n_untold == 0) {
		bus_mark(b);
	}
	p->router_told(p, i);
}

void bus_publish(struct bus *b, struct publish *p)
{
	p->router = b;
	p->router_told = p->told;
	p->told = on_told;
	b->n_untold += p->n;
	if (b->stopping) {
		list_push_back(&b->refused, &p->link);
		bus_mark(b);
		return;
	}
	adapter_publish(bus_route(b, p->items[0].event->topic)->adapter, p);
}

size_t broker_event_max(const struct broker *to, bool dead_letter)
{
	const size_t theirs = adapter_capabilities(to->adapter)->max_event_bytes;
	const size_t ours = (size_t)to->bus->config->socket.max_frame - DELIVER_ROOM;
	const size_t max = theirs > 0 && theirs < ours ? theirs : ours;

	if (dead_letter) {
		return max;
	}
	return max > 2 * DEADLETTER_ROOM ? max - DEADLETTER_ROOM : max / 2;
}

bool bus_topic_ok(struct bus *b, struct slice topic, size_t event_bytes, struct answer *why)
{
	const struct broker *to = bus_route(b, topic);
	const size_t max = broker_event_max(to, false);

	if (event_bytes > max) {
		answer_set(why, OUTCOME_PERMANENT, REASON_TOO_LARGE,
			   "event of %zu bytes: broker %s and socket.max_frame allow %zu "
			   "(Broker.max_event_bytes)",
			   event_bytes, to->name, max);
		return false;
	}
	return adapter_topic_ok(to->adapter, topic, why);
}

size_t bus_publish_room(const struct bus *b)
{
	return budget_free(b->o.budget);
}

bool bus_memory_short(const struct bus *b)
{
	return budget_free(b->o.budget) < b->o.budget->limit / 32;
}

int bus_format_position(struct bus *b, struct slice topic, struct position p,
			char out[POSITION_TEXT_MAX])
{
	return adapter_format_position(bus_route(b, topic)->adapter, topic, p, out);
}
