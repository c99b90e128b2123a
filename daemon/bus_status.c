/* SPDX-License-Identifier: Apache-2.0 */
/* Status as JSON; the keys are described in PROTOCOL.md, "Admin". */
#include "daemon/client_impl.h"
#include "daemon/feed.h"

static void put(json_t *o, const char *key, uint64_t v)
{
	json_object_set_new(o, key, json_integer((json_int_t)v));
}

static const char *state_name(const struct feed *f)
{
	static const char *const names[] = {
		[FEED_STARTING] = "starting", [FEED_LIVE] = "live",
		[FEED_STANDBY] = "standby",   [FEED_REFUSED] = "refused",
		[FEED_LEAVING] = "leaving",
	};

	return f->problems && f->state != FEED_LEAVING ? "degraded" : names[f->state];
}

static const char *order_name(enum order o)
{
	return o == ORDER_KEY ? "key" : o == ORDER_TOPIC ? "topic" : "none";
}

static uint64_t in_flight(const struct feed *f)
{
	uint64_t n = 0;

	for (struct list *it = f->members.next; it != &f->members; it = it->next) {
		n += container_of(it, struct member, link)->held;
	}
	return n;
}

static json_t *flow_status(const struct feed *f)
{
	const struct feed_counts *c = &f->counts;
	json_t *o = json_object();

	json_object_set_new(o, "pattern", json_string(f->flow.spec.pattern));
	json_object_set_new(o, "broker", json_string(f->broker->name));
	json_object_set_new(o, "state", json_string(state_name(f)));
	json_object_set_new(o, "why", json_string(feed_why(f)));
	put(o, "epoch", f->epoch);
	put(o, "members", f->n_members);
	put(o, "ready", f->n_ready + f->gate.n_gated);
	put(o, "in_flight", in_flight(f));
	put(o, "waiting", f->n_windowed);
	put(o, "delivered", c->delivered);
	put(o, "acked", c->acked);
	put(o, "retried", c->retried);
	put(o, "parked", c->parked);
	put(o, "dead_lettered", c->dead_lettered);
	put(o, "dropped", c->dropped);
	put(o, "released", c->released);
	put(o, "returned", c->returned);
	put(o, "lost", c->lost);
	put(o, "unmatched", c->unmatched);
	put(o, "superseded", c->superseded);
	json_object_set_new(
		o, "lag", f->flow.lag_known ? json_integer((json_int_t)f->flow.lag) : json_null());
	return o;
}

static json_t *group_status(const struct group *g)
{
	json_t *o = json_object(), *flows = json_array();

	json_object_set_new(o, "name", g->name ? json_string(g->name) : json_null());
	json_object_set_new(o, "order", json_string(order_name(g->order)));
	put(o, "subscriptions", g->users);
	/* Conflicts are seen among the clients of this daemon; no broker holds a record of them. */
	json_object_set_new(o, "conflicts_checked", json_string("locally"));
	for (struct list *it = g->feeds.next; it != &g->feeds; it = it->next) {
		json_array_append_new(flows,
				      flow_status(container_of(it, struct feed, group_link)));
	}
	json_object_set_new(o, "flows", flows);
	return o;
}

static void set_flag(json_t *list, bool has, const char *name)
{
	if (has) {
		json_array_append_new(list, json_string(name));
	}
}

static json_t *broker_status(const struct broker *broker)
{
	const struct capabilities *c = adapter_capabilities(broker->adapter);
	json_t *o = json_object(), *caps = json_array();

	json_object_set_new(o, "name", json_string(broker->name));
	json_object_set_new(o, "kind", json_string(broker->kind));
	json_object_set_new(o, "connected", json_boolean(broker->up));
	json_object_set_new(o, "why", json_string(broker->up ? "" : broker->why_down));
	set_flag(caps, c->wildcards, "wildcards");
	set_flag(caps, c->start_earliest, "start.earliest");
	set_flag(caps, c->start_time, "start.time");
	set_flag(caps, c->start_position, "start.position");
	set_flag(caps, c->order_key, "order.key");
	set_flag(caps, c->order_topic, "order.topic");
	set_flag(caps, c->attempts_durable, "attempts.durable");
	set_flag(caps, c->park, "park");
	set_flag(caps, c->lag, "lag");
	set_flag(caps, c->durable, "durable");
	json_object_set_new(o, "capabilities", caps);
	put(o, "dedupe_window_ms", (uint64_t)c->dedupe_window_ms);
	put(o, "max_event_bytes", broker_event_max(broker, false));
	return o;
}

static json_t *totals_status(const struct bus *b)
{
	const struct bus_totals *t = &b->totals;
	json_t *o = json_object();

	put(o, "published", t->published);
	put(o, "duplicates", t->duplicates);
	put(o, "refused", t->refused);
	put(o, "unknown", t->unknown);
	put(o, "unanswered", b->n_untold);
	put(o, "delivered", t->delivered);
	put(o, "outstanding", b->n_out);
	put(o, "held", b->flights.n_live);
	put(o, "acked", t->acked);
	put(o, "retried", t->retried);
	put(o, "parked", t->parked);
	put(o, "dead_lettered", t->dead_lettered);
	put(o, "dropped", t->dropped);
	put(o, "released", t->released);
	put(o, "returned", t->returned);
	put(o, "lost", t->lost);
	put(o, "unmatched", t->unmatched);
	put(o, "superseded", t->superseded);
	return o;
}

/* Every group with a feed, once: feeds are listed in order of their making, groups by their first.
 */
static json_t *groups_status(const struct bus *b)
{
	json_t *groups = json_array();

	for (struct list *it = b->feeds.next; it != &b->feeds; it = it->next) {
		const struct feed *f = container_of(it, struct feed, bus_link);

		if (f->group->feeds.next == &f->group_link) {
			json_array_append_new(groups, group_status(f->group));
		}
	}
	return groups;
}

json_t *bus_status(const struct bus *b)
{
	json_t *o = json_object(), *brokers = json_array(), *memory = json_object();

	for (uint32_t i = 0; i < b->n_brokers; i++) {
		json_array_append_new(brokers, broker_status(&b->brokers[i]));
	}
	json_object_set_new(o, "brokers", brokers);
	json_object_set_new(o, "groups", groups_status(b));
	json_object_set_new(o, "totals", totals_status(b));
	put(memory, "used", b->o.budget->used);
	put(memory, "limit", b->o.budget->limit);
	json_object_set_new(o, "memory", memory);
	json_object_set_new(o, "draining", json_boolean(b->draining));
	return o;
}

static json_t *subscription_status(const struct subscription *s)
{
	static const char *const names[] = {"starting", "on", "closing", "refused"};
	json_t *o = json_object(), *patterns = json_array();

	put(o, "subscription", s->id);
	json_object_set_new(o, "state", json_string(s->paused ? "paused" : names[s->state]));
	json_object_set_new(o, "group", s->group->name ? json_string(s->group->name) : json_null());
	for (uint32_t i = 0; i < s->n_members; i++) {
		const struct feed *f = s->members[i].feed;

		if (f) {
			json_array_append_new(patterns, json_string(f->flow.spec.pattern));
		}
	}
	json_object_set_new(o, "patterns", patterns);
	put(o, "in_flight", s->held);
	put(o, "in_flight_bytes", s->held_bytes);
	put(o, "working", s->n_leased);
	put(o, "max_in_flight", s->max_events);
	put(o, "concurrency", s->concurrency);
	return o;
}

json_t *client_status(const struct client *c)
{
	json_t *o = json_object(), *subscriptions = json_array();

	json_object_set_new(o, "name", json_string(c->name));
	put(o, "outstanding", c->tags.count);
	put(o, "bytes", c->held_bytes);
	for (struct list *it = c->subscriptions.next; it != &c->subscriptions; it = it->next) {
		json_array_append_new(subscriptions, subscription_status(container_of(
							     it, struct subscription, link)));
	}
	json_object_set_new(o, "subscriptions", subscriptions);
	return o;
}

bool bus_broker(const struct bus *b, uint32_t i, struct broker_view *out)
{
	if (i >= b->n_brokers) {
		return false;
	}
	*out = (struct broker_view){
		.name = b->brokers[i].name,
		.kind = b->brokers[i].kind,
		.connected = b->brokers[i].up,
		.caps = adapter_capabilities(b->brokers[i].adapter),
		.max_event_bytes = broker_event_max(&b->brokers[i], false),
	};
	return true;
}
