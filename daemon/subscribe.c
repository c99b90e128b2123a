/* SPDX-License-Identifier: Apache-2.0 */
/* client_subscribe: everything that can be refused at once is refused here, before anything is
 * made. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "daemon/client_impl.h"
#include "daemon/feed.h"

#define MAX_PATTERNS 64

static_assert((int)ORDER_NONE == (int)POLICY_ORDER_NONE &&
		      (int)ORDER_KEY == (int)POLICY_ORDER_KEY &&
		      (int)ORDER_TOPIC == (int)POLICY_ORDER_TOPIC,
	      "config and adapters count orders alike");

/* What is found while checking. */
struct plan {
	const struct subscribe_request *r;
	struct bus *b;
	struct group *group; /* NULL: to be made */
	char *group_name;    /* NULL: none */
	enum order order;
	struct start start;
	int64_t lease_ms; /* the longest of the patterns' */
};

static bool refuse(struct answer *why, enum reason reason, const char *text)
{
	answer_set(why, OUTCOME_PERMANENT, reason, "%s", text);
	return false;
}

static const char *order_name(enum order o)
{
	static const char *const names[] = {"none", "key", "topic"};

	return names[o];
}

/* ---- the request itself ------------------------------------------------------- */

static bool patterns_legal(const struct subscribe_request *r, struct answer *why)
{
	struct err_text err;

	if (r->n_patterns == 0) {
		return refuse(why, REASON_INVALID, "no pattern");
	}
	if (r->n_patterns > MAX_PATTERNS) {
		return refuse(why, REASON_TOO_LARGE, "more than 64 patterns in one subscription");
	}
	for (uint32_t i = 0; i < r->n_patterns; i++) {
		if (pattern_check(r->patterns[i], &err) < 0) {
			answer_set(why, OUTCOME_PERMANENT, REASON_INVALID, "patterns[%u]: %s", i,
				   err.s);
			return false;
		}
		for (uint32_t j = 0; j < i; j++) {
			if (slice_eq(r->patterns[i], r->patterns[j])) {
				answer_set(why, OUTCOME_PERMANENT, REASON_INVALID,
					   "patterns[%u]: the same as patterns[%u]", i, j);
				return false;
			}
		}
	}
	return true;
}

static bool limits_ok(const struct client *c, const struct subscribe_request *r, struct answer *why)
{
	const struct config_limits *l = &c->bus->config->limits;
	struct err_text err;

	if (r->subscription == 0) {
		return refuse(why, REASON_INVALID, "subscription: 0 is no number of one");
	}
	if (client_find(c, r->subscription)) {
		return refuse(why, REASON_INVALID, "subscription: the number is in use");
	}
	if (c->n_subscriptions >= (uint64_t)l->subscriptions) {
		answer_set(why, OUTCOME_PERMANENT, REASON_OVERLOADED,
			   "this client has %u subscriptions, which is the limit",
			   c->n_subscriptions);
		return false;
	}
	if (r->max_events > l->max_in_flight_events ||
	    r->max_bytes > (uint64_t)l->max_in_flight_bytes ||
	    r->concurrency > l->max_concurrency || r->lease_ms > l->max_lease_ms) {
		answer_set(why, OUTCOME_PERMANENT, REASON_INVALID,
			   "above the limits told in Welcome: in flight %lld events, %lld bytes, "
			   "concurrency %lld, lease %lld ms",
			   (long long)l->max_in_flight_events, (long long)l->max_in_flight_bytes,
			   (long long)l->max_concurrency, (long long)l->max_lease_ms);
		return false;
	}
	if (r->lease_ms < 0 || r->max_age_ms < 0 || r->max_delay_ms < 0) {
		return refuse(why, REASON_INVALID, "a time is negative");
	}
	if (r->group.n > 0 && group_check(r->group, &err) < 0) {
		answer_set(why, OUTCOME_PERMANENT, REASON_INVALID, "group: %s", err.s);
		return false;
	}
	return true;
}

/* ---- against the file and the group --------------------------------------------- */

static bool order_conflict(struct answer *why, const struct plan *p, struct slice pattern,
			   enum order wanted, enum order in_force)
{
	answer_set(why, OUTCOME_PERMANENT, REASON_CONFLICT,
		   "order %s for %.*s: order %s is in force%s%s", order_name(wanted),
		   SLICE_ARG(pattern), order_name(in_force), p->group_name ? " in group " : "",
		   p->group_name ? p->group_name : " in this subscription");
	return false;
}

static bool order_ok(struct plan *p, uint32_t i, const struct policy *policy, struct answer *why)
{
	const struct subscribe_request *r = p->r;
	/* Who says nothing joins what is in force; a rule of the file is a word. */
	const bool said = r->has_order || policy->line[POLICY_ORDER] != 0 || (i == 0 && !p->group);
	const enum order wanted = r->has_order ? r->order
				  : said       ? (enum order)policy->order
					       : p->order;

	if (i == 0 && !p->group) {
		p->order = wanted;
	}
	return wanted == p->order || order_conflict(why, p, r->patterns[i], wanted, p->order);
}

static bool dlq_ok(struct plan *p, struct slice pattern, const struct policy *policy,
		   struct answer *why)
{
	char topic[TOPIC_MAX + 1];
	struct answer no;

	if (policy->dlq_off) {
		return true;
	}
	if (policy_dlq_topic(policy, pattern, p->group_name, topic) < 0) {
		if (!p->group_name || strstr(policy->dlq_topic, "{topic}")) {
			return true; /* none without a group; known with the event */
		}
		answer_set(why, OUTCOME_PERMANENT, REASON_INVALID,
			   "dead letter topic '%s' is not legal for group %s", policy->dlq_topic,
			   p->group_name);
		return false;
	}
	if (pattern_is_literal(slice_str(topic)) && !bus_topic_ok(p->b, slice_str(topic), 0, &no)) {
		answer_set(why, no.outcome, no.reason, "dead letter topic %s: %.150s", topic,
			   no.text);
		return false;
	}
	return true;
}

static bool broker_able(struct plan *p, const struct broker *to, struct slice pattern,
			struct answer *why)
{
	const struct capabilities *c = adapter_capabilities(to->adapter);
	const char *lacks = NULL;

	if (!c->wildcards && !pattern_is_literal(pattern)) {
		lacks = "wildcards";
	} else if ((p->order == ORDER_KEY && !c->order_key) ||
		   (p->order == ORDER_TOPIC && !c->order_topic)) {
		lacks = p->order == ORDER_KEY ? "order by key" : "order by topic";
	} else if (p->start.kind == START_EARLIEST && !c->start_earliest) {
		lacks = "start from the earliest event";
	} else if (p->start.kind == START_TIME && !c->start_time) {
		lacks = "start by time";
	} else if (p->start.kind == START_POSITION && !c->start_position) {
		lacks = "start by position";
	}
	if (lacks) {
		answer_set(why, OUTCOME_PERMANENT, REASON_NOT_SUPPORTED, "broker %s (%s) has no %s",
			   to->name, to->kind, lacks);
	}
	return !lacks;
}

static bool flow_ok(struct plan *p, const struct broker *to, struct slice pattern,
		    const struct policy *policy, struct answer *why)
{
	struct flow_spec spec = {
		.group = p->group_name,
		.pattern = xstrndup(pattern.p, pattern.n),
		.order = p->order,
		.start = p->start,
		.interop = (enum interop)policy->interop,
		.lease_ms = policy->lease_ms,
	};
	const bool ok = adapter_flow_ok(to->adapter, &spec, why);

	free(spec.pattern);
	return ok;
}

static bool start_ok(struct plan *p, struct answer *why)
{
	const struct subscribe_request *r = p->r;
	struct err_text err;
	char *text;
	int rc;

	p->start.kind = r->has_start ? r->start : START_NEW;
	p->start.time_ms = r->start_time_ms;
	if (p->start.kind != START_POSITION) {
		return true;
	}
	text = xstrndup(r->start_position.p, r->start_position.n);
	rc = adapter_parse_position(bus_route(p->b, r->patterns[0])->adapter, text,
				    &p->start.position, &err);
	free(text);
	if (rc < 0) {
		answer_set(why, OUTCOME_PERMANENT, REASON_INVALID, "start.position: %s", err.s);
	}
	return rc == 0;
}

static bool pattern_ok(struct plan *p, uint32_t i, struct answer *why)
{
	const struct slice pattern = p->r->patterns[i];
	const struct broker *to = bus_route(p->b, pattern);
	struct policy_entry *e = policy_book_find(p->b->book, pattern, p->group_name);
	const bool ok = order_ok(p, i, &e->policy, why) && broker_able(p, to, pattern, why) &&
			flow_ok(p, to, pattern, &e->policy, why) &&
			dlq_ok(p, pattern, &e->policy, why);

	p->lease_ms = e->policy.lease_ms > p->lease_ms ? e->policy.lease_ms : p->lease_ms;
	policy_entry_unref(e);
	return ok;
}

static bool plan_ok(struct plan *p, struct answer *why)
{
	const struct subscribe_request *r = p->r;

	if (p->group_name) {
		p->group = group_find(p->b, r->group);
	}
	if (p->group) {
		p->order = p->group->order;
		if (!group_patterns_ok(p->group, r->patterns, r->n_patterns, why)) {
			return false;
		}
	}
	if (!start_ok(p, why)) {
		return false;
	}
	for (uint32_t i = 0; i < r->n_patterns; i++) {
		if (!pattern_ok(p, i, why)) {
			return false;
		}
	}
	return true;
}

/* ---- making it -------------------------------------------------------------------- */

static struct subscription *subscription_create(struct client *c, const struct plan *p)
{
	const struct subscribe_request *r = p->r;
	const struct config_limits *l = &c->bus->config->limits;
	struct subscription *s = xcalloc(1, sizeof(*s) + r->n_patterns * sizeof(struct member));

	s->client = c;
	s->group = p->group;
	s->id = r->subscription;
	s->max_events = r->max_events ? r->max_events : (uint32_t)l->in_flight_events;
	s->max_bytes = r->max_bytes ? r->max_bytes : (uint64_t)l->in_flight_bytes;
	s->concurrency = r->concurrency ? r->concurrency : 1;
	s->lease_ms = r->lease_ms;
	s->limits = (struct policy_limits){r->has_max_retries, r->max_retries, r->max_age_ms,
					   r->max_delay_ms};
	s->positions = r->positions;
	s->n_members = r->n_patterns;
	list_init(&s->starved);
	list_init(&s->out);
	ranges_init(&s->revoked);
	list_push_back(&c->subscriptions, &s->link);
	c->n_subscriptions++;
	p->group->users++;
	return s;
}

static void join(struct subscription *s, const struct plan *p, uint32_t i)
{
	struct member *m = &s->members[i];
	const struct slice pattern = p->r->patterns[i];
	struct feed *f = group_feed(p->group, pattern);

	m->sub = s;
	list_init(&m->queue);
	if (!f) {
		f = feed_create(p->b, &(struct feed_options){
					      .group = p->group,
					      .broker = bus_route(p->b, pattern),
					      .pattern = pattern,
					      .start = p->start,
					      .lease_ms = p->lease_ms,
					      .max_events = s->max_events,
				      });
	}
	feed_join(f, m);
}

int client_subscribe(struct client *c, const struct subscribe_request *r, struct answer *why)
{
	struct plan p = {.r = r, .b = c->bus};
	struct subscription *s;

	if (c->bus->draining || c->bus->stopping) {
		answer_set(why, OUTCOME_NOT_STORED, REASON_DRAINING, "the daemon is stopping");
		return EB_ESTATE;
	}
	if (!limits_ok(c, r, why) || !patterns_legal(r, why)) {
		return EB_EINVAL;
	}
	p.group_name = r->group.n > 0 ? xstrndup(r->group.p, r->group.n) : NULL;
	if (!plan_ok(&p, why)) {
		free(p.group_name);
		return EB_EINVAL;
	}
	free(p.group_name);
	p.group_name = NULL;
	if (!p.group) {
		p.group = group_create(p.b, r->group, p.order);
	}
	s = subscription_create(c, &p);
	for (uint32_t i = 0; i < r->n_patterns; i++) {
		join(s, &p, i);
	}
	subscription_mark(s);
	return 0;
}
