/* SPDX-License-Identifier: Apache-2.0 */
/* What the adapters call up. */
#include <stdio.h>

#include "daemon/feed.h"
#include "daemon/pipeline/step.h"

static void set_down(struct broker *broker, bool down)
{
	struct bus *b = broker->bus;

	broker->up = !down;
	for (struct list *it = b->feeds.next; it != &b->feeds; it = it->next) {
		struct feed *f = container_of(it, struct feed, bus_link);

		if (f->broker == broker) {
			feed_problem(f, FEED_DOWN, down);
		}
	}
	if (b->o.on_broker) {
		b->o.on_broker(b->o.ctx, broker->name, !down);
	}
}

static void on_up(void *ctx, struct adapter *a)
{
	struct broker *broker = ctx;

	log_info(adapter_tag(a), "connected");
	set_down(broker, false);
}

static void on_down(void *ctx, struct adapter *a, const char *why)
{
	struct broker *broker = ctx;

	log_warn(adapter_tag(a), "broker is away, trying again: %s", why);
	snprintf(broker->why_down, sizeof(broker->why_down), "broker %s is away: %s", broker->name,
		 why);
	set_down(broker, true);
}

static void on_deliver(void *ctx, struct flow *f, struct delivery *items, uint32_t n)
{
	struct broker *broker = ctx;

	feed_deliver(feed_of(f), items, n);
	bus_tell_ready(broker->bus);
}

static void on_flow(void *ctx, struct flow *f, const struct flow_note *note)
{
	(void)ctx;
	feed_on_flow(feed_of(f), note);
}

static void on_revoked(void *ctx, struct flow *f, void *const *handles, uint32_t n)
{
	(void)ctx;
	feed_on_revoked(feed_of(f), handles, n);
}

static void on_recorded(void *ctx, struct flow *f, void *item, int rc)
{
	struct broker *broker = ctx;

	struct flight *fl = flight_find(&broker->bus->flights, item);

	(void)f; /* may be gone by now; a flight that still lives knows its feed */
	if (fl) {
		step_recorded(fl, rc);
	}
}

static void on_flow_gone(void *ctx, struct flow *f)
{
	struct broker *broker = ctx;

	feed_on_gone(feed_of(f));
	bus_mark(broker->bus);
}

static void on_stopped(void *ctx, struct adapter *a)
{
	struct broker *broker = ctx;

	(void)a;
	broker->stopped = true;
	bus_mark(broker->bus);
}

const struct adapter_upcalls bus_upcalls = {
	.on_up = on_up,
	.on_down = on_down,
	.on_deliver = on_deliver,
	.on_flow = on_flow,
	.on_revoked = on_revoked,
	.on_recorded = on_recorded,
	.on_flow_gone = on_flow_gone,
	.on_stopped = on_stopped,
};
