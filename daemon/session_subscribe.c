/* SPDX-License-Identifier: Apache-2.0 */
/* Subscribe, Unsubscribe, Pause and Resume, and what the bus says about subscriptions. */
#include "daemon/session_impl.h"

#include <stdlib.h>

#include "base/mem.h"
#include "base/topic.h"
#include "daemon/access.h"

static bool refuse(struct answer *why, enum reason r, const char *text)
{
	answer_set(why, OUTCOME_PERMANENT, r, "%s", text);
	return false;
}

/* ---- requests --------------------------------------------------------------- */

static bool number_ok(const struct session *s, const Eventbus__V1__Subscribe *r, struct answer *why)
{
	if (r->subscription == 0) {
		return refuse(why, REASON_INVALID, "subscribe.subscription: must be 1 or more");
	}
	if (session_names_has(s, r->subscription)) {
		answer_set(why, OUTCOME_PERMANENT, REASON_CONFLICT,
			   "subscribe.subscription: %u is in use", r->subscription);
		return false;
	}
	if (s->n_subscriptions >= (uint32_t)s->set->config->limits.subscriptions) {
		answer_set(why, OUTCOME_PERMANENT, REASON_OVERLOADED,
			   "limits.subscriptions: %u is the most for one client",
			   s->n_subscriptions);
		return false;
	}
	return true;
}

static bool built_ok(const Eventbus__V1__Subscribe *r, struct answer *why)
{
	if (r->service[0]) {
		return refuse(why, REASON_NOT_SUPPORTED,
			      "subscribe.service: not supported by this version");
	}
	if (r->validation > EVENTBUS__V1__VALIDATION__VALIDATION_NONE) {
		return refuse(why, REASON_NOT_SUPPORTED,
			      "subscribe.validation: not supported by this version");
	}
	if (r->dead_letter) {
		return refuse(
			why, REASON_DENIED,
			"subscribe.dead_letter: set by the daemon's configuration (dlq.topic), "
			"not by clients");
	}
	if (r->n_patterns == 0) {
		return refuse(why, REASON_INVALID, "subscribe.patterns: is empty");
	}
	if (r->n_patterns > CODEC_MAX_PATTERNS) {
		return refuse(why, REASON_INVALID, "subscribe.patterns: too many");
	}
	return true;
}

static bool limit_ok(uint64_t value, int64_t limit, const char *field, struct answer *why)
{
	if (value > (uint64_t)limit) {
		answer_set(why, OUTCOME_PERMANENT, REASON_INVALID,
			   "subscribe.%s: %llu is above the limit of %lld", field,
			   (unsigned long long)value, (long long)limit);
		return false;
	}
	return true;
}

static bool limits_ok(const struct session *s, const Eventbus__V1__Subscribe *r, struct answer *why)
{
	const struct config_limits *l = &s->set->config->limits;

	return limit_ok(r->max_in_flight_events, l->max_in_flight_events, "max_in_flight_events",
			why) &&
	       limit_ok(r->max_in_flight_bytes, l->max_in_flight_bytes, "max_in_flight_bytes",
			why) &&
	       limit_ok(r->concurrency, l->max_concurrency, "concurrency", why) &&
	       limit_ok(r->lease_ms, l->max_lease_ms, "lease_ms", why) &&
	       (!r->retry ||
		(limit_ok(r->retry->max_age_ms, INT64_MAX, "retry.max_age_ms", why) &&
		 limit_ok(r->retry->max_delay_ms, INT64_MAX, "retry.max_delay_ms", why)));
}

static bool start_ok(const Eventbus__V1__Start *start, struct subscribe_request *q,
		     struct answer *why)
{
	if (!start) {
		return true;
	}
	q->has_start = true;
	switch (start->at_case) {
	case EVENTBUS__V1__START__AT_NEW:
		q->start = START_NEW;
		return start->new_ || refuse(why, REASON_INVALID, "subscribe.start.new: is false");
	case EVENTBUS__V1__START__AT_EARLIEST:
		q->start = START_EARLIEST;
		return start->earliest ||
		       refuse(why, REASON_INVALID, "subscribe.start.earliest: is false");
	case EVENTBUS__V1__START__AT_TIME_MS:
		q->start = START_TIME;
		q->start_time_ms = start->time_ms;
		return true;
	case EVENTBUS__V1__START__AT_POSITION:
		q->start = START_POSITION;
		q->start_position = slice_str(start->position);
		return true;
	default:
		return refuse(why, REASON_INVALID, "subscribe.start: is empty");
	}
}

static void set_order(const Eventbus__V1__Subscribe *r, struct subscribe_request *q)
{
	q->has_order = r->order != EVENTBUS__V1__ORDER__ORDER_UNSPECIFIED;
	q->order = r->order == EVENTBUS__V1__ORDER__ORDER_KEY	  ? ORDER_KEY
		   : r->order == EVENTBUS__V1__ORDER__ORDER_TOPIC ? ORDER_TOPIC
								  : ORDER_NONE;
}

static void set_retry(const Eventbus__V1__RetryOverride *r, struct subscribe_request *q)
{
	if (!r) {
		return;
	}
	q->has_max_retries = r->retries_case == EVENTBUS__V1__RETRY_OVERRIDE__RETRIES_MAX_RETRIES;
	q->max_retries = q->has_max_retries ? r->max_retries : 0;
	q->max_age_ms = (int64_t)r->max_age_ms;
	q->max_delay_ms = (int64_t)r->max_delay_ms;
}

/* Patterns that are no patterns are the bus's to name: access has nothing to say about them. */
static bool access_ok(const struct session *s, const struct subscribe_request *q,
		      struct answer *why)
{
	uint32_t i;

	for (i = 0; i < q->n_patterns; i++) {
		if (!access_subscribe(s->set->config, (int64_t)s->uid, q->patterns[i], q->group,
				      why)) {
			return false;
		}
	}
	return true;
}

static bool names_ok(const struct subscribe_request *q, struct answer *why)
{
	struct err_text err;
	uint32_t i;

	for (i = 0; i < q->n_patterns; i++) {
		if (pattern_check(q->patterns[i], &err) != 0) {
			answer_set(why, OUTCOME_PERMANENT, REASON_INVALID,
				   "subscribe.patterns[%u]: %s", i, err.s);
			return false;
		}
	}
	if (q->group.n > 0 && group_check(q->group, &err) != 0) {
		answer_set(why, OUTCOME_PERMANENT, REASON_INVALID, "subscribe.group: %s", err.s);
		return false;
	}
	return true;
}

static bool ask_bus(struct session *s, const Eventbus__V1__Subscribe *r, struct answer *why)
{
	struct slice patterns[CODEC_MAX_PATTERNS];
	struct subscribe_request q = {
		.subscription = r->subscription,
		.patterns = patterns,
		.n_patterns = (uint32_t)r->n_patterns,
		.group = slice_str(r->group),
		.max_events = r->max_in_flight_events,
		.concurrency = r->concurrency,
		.max_bytes = r->max_in_flight_bytes,
		.lease_ms = (int64_t)r->lease_ms,
		.positions = r->positions,
	};
	uint32_t i;

	for (i = 0; i < q.n_patterns; i++) {
		patterns[i] = slice_str(r->patterns[i]);
	}
	set_order(r, &q);
	set_retry(r->retry, &q);
	if (!start_ok(r->start, &q, why) || !names_ok(&q, why) || !access_ok(s, &q, why)) {
		return false;
	}
	session_names_add(s, r);
	if (client_subscribe(s->client, &q, why) != 0) {
		session_names_remove(s, r->subscription);
		return false;
	}
	return true;
}

void session_subscribe(struct session *s, const Eventbus__V1__Subscribe *r)
{
	struct answer why;

	if (s->set->draining) {
		answer_set(&why, OUTCOME_NOT_STORED, REASON_DRAINING, "the daemon is stopping");
	} else if (number_ok(s, r, &why) && built_ok(r, &why) && limits_ok(s, r, &why) &&
		   ask_bus(s, r, &why)) {
		return;
	}
	session_refuse_subscription(s, r->subscription, &why);
}

static void unknown(struct session *s, uint32_t subscription)
{
	struct answer why;

	session_refuse_subscription(s, subscription,
				    answer_set(&why, OUTCOME_PERMANENT, REASON_NOT_FOUND,
					       "subscription: there is no %u", subscription));
}

void session_unsubscribe(struct session *s, uint32_t subscription)
{
	if (client_unsubscribe(s->client, subscription) != 0) {
		unknown(s, subscription);
	}
}

void session_pause(struct session *s, uint32_t subscription, bool paused)
{
	if (client_pause(s->client, subscription, paused) != 0) {
		unknown(s, subscription);
	}
}

/* ---- what the bus says ------------------------------------------------------ */

static void on_subscribed(void *ctx, const struct subscribed *b)
{
	Eventbus__V1__Frame f = EVENTBUS__V1__FRAME__INIT;
	Eventbus__V1__Subscribed m = EVENTBUS__V1__SUBSCRIBED__INIT;
	Eventbus__V1__FlowPolicy *policies = xcalloc(b->n_flows, sizeof(*policies));
	Eventbus__V1__FlowPolicy **list = xcalloc(b->n_flows, sizeof(*list));
	uint32_t i;

	for (i = 0; i < b->n_flows; i++) {
		const struct subscribed_flow *flow = &b->flows[i];

		list[i] = &policies[i];
		eventbus__v1__flow_policy__init(list[i]);
		list[i]->pattern = (char *)flow->pattern;
		list[i]->broker = (char *)flow->broker;
		list[i]->max_retries = flow->max_retries;
		list[i]->dead_letter_topic = (char *)(flow->dlq_topic ? flow->dlq_topic : "");
		list[i]->position_existed = flow->position_existed;
	}
	m.subscription = b->subscription;
	m.position_existed = b->position_existed;
	m.max_in_flight_events = b->max_events;
	m.max_in_flight_bytes = b->max_bytes;
	m.concurrency = b->concurrency;
	m.lease_ms = (uint64_t)b->lease_ms;
	m.order = b->order == ORDER_KEY	    ? EVENTBUS__V1__ORDER__ORDER_KEY
		  : b->order == ORDER_TOPIC ? EVENTBUS__V1__ORDER__ORDER_TOPIC
					    : EVENTBUS__V1__ORDER__ORDER_NONE;
	m.policies = list;
	m.n_policies = b->n_flows;
	f.kind_case = EVENTBUS__V1__FRAME__KIND_SUBSCRIBED;
	f.subscribed = &m;
	session_send(ctx, &f);
	free(list);
	free(policies);
}

static void on_refused(void *ctx, uint32_t subscription, const struct answer *why)
{
	session_names_remove(ctx, subscription);
	session_refuse_subscription(ctx, subscription, why);
}

static Eventbus__V1__State state_of(enum subscription_event e)
{
	static const Eventbus__V1__State states[] = {
		[SUB_LIVE] = EVENTBUS__V1__STATE__STATE_LIVE,
		[SUB_DEGRADED] = EVENTBUS__V1__STATE__STATE_DEGRADED,
		[SUB_GAP] = EVENTBUS__V1__STATE__STATE_GAP,
		[SUB_LOST] = EVENTBUS__V1__STATE__STATE_LOST,
		[SUB_REVOKED] = EVENTBUS__V1__STATE__STATE_REVOKED,
		[SUB_STANDBY] = EVENTBUS__V1__STATE__STATE_STANDBY,
	};

	return states[e];
}

static void on_note(void *ctx, const struct subscription_note *n)
{
	Eventbus__V1__Frame f = EVENTBUS__V1__FRAME__INIT;
	Eventbus__V1__SubscriptionState m = EVENTBUS__V1__SUBSCRIPTION_STATE__INIT;
	size_t count = n->revoked ? n->revoked->n : 0, i;
	Eventbus__V1__Range *ranges = xcalloc(count, sizeof(*ranges));
	Eventbus__V1__Range **list = xcalloc(count, sizeof(*list));

	for (i = 0; i < count; i++) {
		list[i] = &ranges[i];
		eventbus__v1__range__init(list[i]);
		list[i]->first = n->revoked->v[i].first;
		list[i]->last = n->revoked->v[i].last;
	}
	m.subscription = n->subscription;
	m.state = state_of(n->event);
	m.why = (char *)(n->why ? n->why : "");
	m.broker = (char *)(n->broker ? n->broker : "");
	m.pattern = (char *)(n->pattern ? n->pattern : "");
	m.lost = n->lost;
	m.epoch = n->epoch;
	m.revoked = list;
	m.n_revoked = count;
	f.kind_case = EVENTBUS__V1__FRAME__KIND_SUBSCRIPTION_STATE;
	f.subscription_state = &m;
	session_send(ctx, &f);
	free(list);
	free(ranges);
}

static void on_unsubscribed(void *ctx, uint32_t subscription)
{
	Eventbus__V1__Frame f = EVENTBUS__V1__FRAME__INIT;
	Eventbus__V1__Unsubscribed m = EVENTBUS__V1__UNSUBSCRIBED__INIT;

	session_names_remove(ctx, subscription);
	m.subscription = subscription;
	f.kind_case = EVENTBUS__V1__FRAME__KIND_UNSUBSCRIBED;
	f.unsubscribed = &m;
	session_send(ctx, &f);
}

static void on_ready(void *ctx)
{
	struct session *s = ctx;

	s->ready = true;
	session_touch(s);
}

const struct client_ops session_client_ops = {
	.on_subscribed = on_subscribed,
	.on_refused = on_refused,
	.on_note = on_note,
	.on_unsubscribed = on_unsubscribed,
	.on_ready = on_ready,
};
