/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The consumer of a flow at the server: found, made, looked at.
 *
 * Happy path, group: STREAM.INFO of the failure records -> CONSUMER.INFO -> found: flow_live; not
 * found: CONSUMER.DURABLE.CREATE at the flow's start -> flow_live. Without a group: CONSUMER.CREATE
 * at the flow's start, later behind the last settled event. owner.c drives ordered flows with the
 * same requests.
 *
 * Failure modes: it was deleted while we used it: made again behind the last acknowledged position
 * that we saw, so that events may repeat and none is missed. The whole stream was replaced: from
 * its beginning. The server refuses the configuration: refused. No answer: again later.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "adapters/nats/flow.h"
#include "adapters/nats/stored.h"
#include "base/clock.h"

#define INACTIVE_MS	    60000 /* an ephemeral consumer that nobody asks is removed after this */
#define INTEROP_MAX_DELIVER 5
#define INTEROP_ACK_WAIT_NS 30000000000

#define ERR_MAX_CONSUMERS	    10026
#define ERR_CONSUMER_NOT_FOUND	    10014
#define ERR_CONSUMER_EXISTS	    10013
#define ERR_CONSUMER_ALREADY_EXISTS 10148
#define ERR_CONSUMER_CREATE	    10012

/* ---- requests -------------------------------------------------------------------- */

static void set_start(json_t *config, const struct start *s)
{
	char iso[CLOCK_ISO_SIZE];

	switch (s->kind) {
	case START_NEW:
		json_object_set_new(config, "deliver_policy", json_string("new"));
		break;
	case START_EARLIEST:
		json_object_set_new(config, "deliver_policy", json_string("all"));
		break;
	case START_TIME:
		clock_format_iso(s->time_ms, iso);
		json_object_set_new(config, "deliver_policy", json_string("by_start_time"));
		json_object_set_new(config, "opt_start_time", json_string(iso));
		break;
	case START_POSITION:
		json_object_set_new(config, "deliver_policy", json_string("by_start_sequence"));
		json_object_set_new(config, "opt_start_seq",
				    json_integer((json_int_t)s->position.a + 1));
		break;
	}
}

json_t *consumer_config(const struct nats_flow *nf, const char *durable, bool at_floor,
			uint64_t floor)
{
	const struct nats_options *o = nf->adapter->options;
	const bool connectum = nf->flow->spec.interop == INTEROP_CONNECTUM;
	json_t *c = json_pack(
		"{s:s, s:s, s:I, s:i}", "ack_policy", "explicit", "filter_subject", nf->filter,
		"ack_wait", connectum ? INTEROP_ACK_WAIT_NS : (json_int_t)o->ack_wait_ms * 1000000,
		"max_deliver", connectum ? INTEROP_MAX_DELIVER : -1);

	if (!connectum) {
		json_object_set_new(c, "max_ack_pending", json_integer(-1));
	}
	if (durable) {
		json_object_set_new(c, "durable_name", json_string(durable));
	} else {
		json_object_set_new(c, "inactive_threshold",
				    json_integer((json_int_t)INACTIVE_MS * 1000000));
		json_object_set_new(c, "mem_storage", json_true());
		json_object_set_new(c, "num_replicas", json_integer(1));
	}
	if (at_floor) {
		json_object_set_new(c, "deliver_policy", json_string("by_start_sequence"));
		json_object_set_new(c, "opt_start_seq", json_integer((json_int_t)floor + 1));
	} else {
		set_start(c, &nf->flow->spec.start);
	}
	return c;
}

void consumer_create(struct nats_flow *nf, const char *name, json_t *config, api_cb cb)
{
	struct nats_adapter *a = nf->adapter;
	const char *stream = a->options->stream;
	json_t *body = json_pack("{s:s, s:o}", "stream_name", stream, "config", config);

	if (name && name[0]) {
		nf->call = api_json(a, body, cb, nf, "CONSUMER.DURABLE.CREATE.%s.%s", stream, name);
	} else {
		nf->call = api_json(a, body, cb, nf, "CONSUMER.CREATE.%s", stream);
	}
}

void consumer_delete(struct nats_flow *nf, const char *name)
{
	api_tell(nf->adapter, NULL, "CONSUMER.DELETE.%s.%s", nf->adapter->options->stream, name);
}

void consumer_use(struct nats_flow *nf, const char *name)
{
	if (nf->listed) {
		table_remove(&nf->adapter->consumers, &nf->entry);
		nf->listed = false;
	}
	snprintf(nf->consumer, sizeof(nf->consumer), "%s", name);
	if (name[0]) {
		table_insert(&nf->adapter->consumers, &nf->entry, hash_slice(slice_str(name)));
		nf->listed = true;
	}
}

/* ---- what is settled ------------------------------------------------------------------ */

static void find_lowest(struct table_entry *e, void *ctx)
{
	const struct held *h = container_of(e, struct held, entry);
	uint64_t *lowest = ctx;

	if (h->seq < *lowest) {
		*lowest = h->seq;
	}
}

uint64_t consumer_floor(const struct nats_flow *nf)
{
	uint64_t lowest = UINT64_MAX;

	table_each((struct table *)&nf->held, find_lowest, &lowest);
	if (lowest != UINT64_MAX) {
		return lowest - 1;
	}
	return nf->last > nf->floor ? nf->last : nf->floor;
}

static void orphan(struct table_entry *e, void *ctx)
{
	held_orphan(container_of(e, struct held, entry));
	(void)ctx;
}

/* Another stream of the same name: sequence numbers begin anew, nothing of the old counts. */
bool consumer_stream_replaced(struct nats_flow *nf)
{
	const char *created = nf->adapter->stream.created;
	const bool replaced = nf->created[0] && strcmp(nf->created, created) != 0;

	snprintf(nf->created, sizeof(nf->created), "%s", created);
	if (replaced) {
		log_warn(nf->adapter->base.tag,
			 "the stream was replaced: starting at its beginning "
			 "pattern=%s",
			 nf->flow->spec.pattern);
		table_each(&nf->held, orphan, NULL);
		nf->floor = nf->last = nf->suspect_until = 0;
		nf->floor_known = true;
		nf->seen.valid = false;
	}
	return replaced;
}

/* ---- what retention took ---------------------------------------------------------------- */

/*
 * Sequences below the stream's first are gone. Which of them were pending for this flow the server
 * does not say; what it says at two looks bounds it: what was pending then, and what may have come
 * since, less what was delivered and what is pending still.
 */
static void compare(struct nats_flow *nf, const struct flow_seen *now)
{
	const struct flow_seen *was = &nf->seen;
	const uint64_t first = nf->adapter->stream.first_seq;
	const uint64_t settled = was->pending == 0 ? was->last : was->stream_seq;
	uint64_t gone, came, left;

	if (!was->valid || first <= settled + 1 || first <= now->stream_seq + 1) {
		return;
	}
	gone = first - 1 - (settled > now->stream_seq ? settled : now->stream_seq);
	came = was->pending + (now->last > was->last ? now->last - was->last : 0);
	left = now->pending + (now->consumer_seq - was->consumer_seq);
	if (came > left && gone > 0) {
		const uint64_t n = came - left < gone ? came - left : gone;

		log_error(nf->adapter->base.tag,
			  "events were removed before they were delivered: at most %" PRIu64
			  " group=%s pattern=%s",
			  n, nf->flow->spec.group ? nf->flow->spec.group : "",
			  nf->flow->spec.pattern);
		flow_lost(nf, n);
	}
}

static void take_info(struct nats_flow *nf, json_t *info)
{
	json_t *delivered = json_object_get(info, "delivered");
	json_t *floor = json_object_get(info, "ack_floor");
	const struct flow_seen now = {.valid = true,
				      .pending = stored_number(info, "num_pending"),
				      .consumer_seq = stored_number(delivered, "consumer_seq"),
				      .stream_seq = stored_number(delivered, "stream_seq"),
				      .last = nf->adapter->stream.last_seq};

	if (now.consumer_seq >= nf->seen.consumer_seq) {
		compare(nf, &now);
	}
	nf->seen = now;
	nf->flow->lag = now.pending;
	nf->flow->lag_known = true;
	if (!nf->exclusive) {
		nf->floor = stored_number(floor, "stream_seq");
		nf->floor_known = true;
	}
}

/* ---- answers ---------------------------------------------------------------------------- */

bool consumer_failed(struct nats_flow *nf, const struct api_reply *r)
{
	if (r->rc == EB_ECANCELED) {
		return true; /* with the next connection */
	}
	if (r->rc == EB_EAGAIN) {
		flow_again(nf, "jetstream does not answer at this server");
	} else if (r->rc != 0) {
		flow_again(nf, "no answer to a request about the consumer");
	} else if (r->code == 400 && r->err_code != ERR_MAX_CONSUMERS) {
		flow_refused(nf, REASON_BROKER, r->description);
	} else if (r->code) {
		flow_again(nf, r->description);
	} else if (!json_is_object(json_object_get(r->json, "config"))) {
		flow_again(nf, "the server's answer is not understood");
	} else {
		return false;
	}
	return true;
}

static void ready(struct nats_flow *nf, json_t *info)
{
	const char *name = json_string_value(json_object_get(info, "name"));

	if (!name || strlen(name) >= sizeof(nf->consumer)) {
		flow_again(nf, "the server's answer is not understood");
		return;
	}
	consumer_use(nf, name);
	take_info(nf, info);
	if (nf->exclusive && !nf->floor_known) {
		nf->floor = nf->last = nf->seen.stream_seq;
		nf->floor_known = true;
	}
	nf->existed_known = true;
	flow_live(nf);
}

static void on_created(void *ctx, const struct api_reply *r)
{
	struct nats_flow *nf = ctx;

	nf->call = NULL;
	if (r->rc == 0 &&
	    (r->err_code == ERR_CONSUMER_EXISTS || r->err_code == ERR_CONSUMER_ALREADY_EXISTS ||
	     r->err_code == ERR_CONSUMER_CREATE)) {
		flow_again(nf,
			   r->description); /* another daemon was first: found at the next look */
		return;
	}
	if (!consumer_failed(nf, r)) {
		ready(nf, r->json);
	}
}

static void create(struct nats_flow *nf)
{
	const char *durable = nf->durable[0] ? nf->durable : NULL;
	const uint64_t floor = nf->exclusive ? consumer_floor(nf) : nf->floor;

	consumer_create(nf, durable, consumer_config(nf, durable, nf->floor_known, floor),
			on_created);
}

/* NULL, or why a consumer that exists cannot be ours. */
static const char *unusable(const struct nats_flow *nf, json_t *config)
{
	const char *filter = json_string_value(json_object_get(config, "filter_subject"));
	const char *policy = json_string_value(json_object_get(config, "ack_policy"));

	if (json_object_get(config, "deliver_subject")) {
		return "a push consumer of the same name exists";
	}
	if (!policy || strcmp(policy, "explicit") != 0) {
		return "a consumer of the same name exists with another ack policy";
	}
	if (!filter || strcmp(filter, nf->filter) != 0) {
		return "a consumer of the same name exists for another subject";
	}
	return NULL;
}

/* Ours to correct: limits that would decide in our place. Where it starts is not changed. */
static bool correct(struct nats_flow *nf, json_t *config)
{
	static const char *const keys[] = {"max_deliver", "ack_wait", "max_ack_pending"};
	json_t *want = consumer_config(nf, nf->durable, false, 0), *next = json_deep_copy(config);
	bool differs = false;

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		json_t *v = json_object_get(want, keys[i]);

		if (v && !json_equal(v, json_object_get(next, keys[i]))) {
			json_object_set(next, keys[i], v);
			differs = true;
		}
	}
	json_decref(want);
	if (!differs || nf->flow->spec.interop != INTEROP_NONE) {
		json_decref(next);
		return false;
	}
	log_warn(nf->adapter->base.tag,
		 "limits of a consumer were changed and are set again "
		 "consumer=%s",
		 nf->durable);
	consumer_create(nf, nf->durable, next, on_created);
	return true;
}

static void on_found(void *ctx, const struct api_reply *r)
{
	struct nats_flow *nf = ctx;
	const char *why;
	json_t *config;

	nf->call = NULL;
	if (r->rc == 0 && r->err_code == ERR_CONSUMER_NOT_FOUND) {
		create(nf);
		return;
	}
	if (consumer_failed(nf, r)) {
		return;
	}
	nf->existed = nf->existed || !nf->existed_known;
	nf->existed_known = true;
	config = json_object_get(r->json, "config");
	why = unusable(nf, config);
	if (why) {
		flow_refused(nf, REASON_CONFLICT, why);
	} else if (!correct(nf, config)) {
		ready(nf, r->json);
	}
}

/* Up to the newest failure record, what the server calls delivered once may have failed before. */
static void on_recorded(void *ctx, const struct api_reply *r)
{
	struct nats_flow *nf = ctx;
	struct nats_adapter *a = nf->adapter;

	nf->call = NULL;
	if (r->rc == EB_ECANCELED) {
		return; /* with the next connection */
	}
	if (r->rc != 0) {
		flow_again(nf, "no answer to a request about failure records");
		return;
	}
	nf->suspect_until = failures_newest(nf, r);
	nf->call = api_json(a, NULL, nf->find_cb, nf, "CONSUMER.INFO.%s.%s", a->options->stream,
			    nf->find_name);
}

void consumer_find(struct nats_flow *nf, const char *name, api_cb found)
{
	nf->find_name = name;
	nf->find_cb = found;
	nf->call = failures_list(nf, on_recorded);
}

void consumer_begin(struct nats_flow *nf)
{
	struct nats_adapter *a = nf->adapter;
	const uint64_t first = a->stream.first_seq;

	if (consumer_stream_replaced(nf) && !nf->durable[0]) {
		flow_gap(nf, "the stream was replaced");
	} else if (!nf->durable[0] && nf->floor_known && first > consumer_floor(nf) + 1 &&
		   a->stream.last_seq > consumer_floor(nf)) {
		flow_gap(nf, "the stream's limits may have removed events meanwhile");
	}
	if (nf->durable[0]) {
		consumer_find(nf, nf->durable, on_found);
		return;
	}
	if (nf->consumer[0]) {
		consumer_delete(nf, nf->consumer);
		consumer_use(nf, "");
	}
	create(nf);
}

/* ---- looking -------------------------------------------------------------------------------- */

static void on_looked(void *ctx, const struct api_reply *r)
{
	struct nats_flow *nf = ctx;

	nf->call = NULL;
	if (r->rc != 0 || nf->step != FLOW_STEP_LIVE) {
		return;
	}
	if (r->err_code == ERR_CONSUMER_NOT_FOUND) {
		flow_again(nf, "the consumer was deleted");
	} else if (r->code == 0 && r->json) {
		take_info(nf, r->json);
		flow_mark(nf);
	}
}

void consumer_look(struct nats_flow *nf)
{
	if (!nf->call && nf->consumer[0] && conn_up(nf->adapter)) {
		nf->call = api_json(nf->adapter, NULL, on_looked, nf, "CONSUMER.INFO.%s.%s",
				    nf->adapter->options->stream, nf->consumer);
	}
}
