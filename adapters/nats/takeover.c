/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a claim to a consumer: the middle of the happy path in owner.c, whose comment says why each
 * epoch has a consumer of its own and what a crash between two steps leaves behind.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "adapters/nats/owner_impl.h"
#include "adapters/nats/stored.h"

#define ERR_CONSUMER_NOT_FOUND 10014

static void consumer_name(const struct owner *o, uint64_t epoch, char out[NATS_NAME_MAX])
{
	snprintf(out, NATS_NAME_MAX, "%.*s-%" PRIu64, NATS_NAME_MAX - 24, o->flow->durable, epoch);
}

/* What is not in use any more: the one before, and one that a claimant made and died. */
static void delete_others(struct owner *o)
{
	char name[NATS_NAME_MAX];

	if (o->previous[0] && strcmp(o->previous, o->at.consumer) != 0) {
		consumer_delete(o->flow, o->previous);
	}
	consumer_name(o, o->at.epoch - 1, name);
	if (o->at.epoch > 1 && strcmp(o->previous, name) != 0) {
		consumer_delete(o->flow, name);
	}
}

static void on_written(void *ctx, const struct api_reply *r)
{
	struct owner *o = ctx;
	struct nats_flow *nf = o->flow;

	o->call = NULL;
	if (!owner_written(o, r)) {
		return;
	}
	o->state = OWNER_HELD;
	o->told_standby = false;
	o->continuous = true;
	o->ticks = 0;
	log_info(nf->adapter->base.tag, "ordered flow owned group=%s pattern=%s epoch=%" PRIu64,
		 nf->flow->spec.group, nf->flow->spec.pattern, o->at.epoch);
	consumer_use(nf, o->at.consumer);
	delete_others(o);
	nf->existed_known = true;
	flow_live(nf);
}

static void on_made(void *ctx, const struct api_reply *r)
{
	struct nats_flow *nf = ctx;
	struct owner *o = nf->owner;
	json_t *delivered;

	nf->call = NULL;
	if (consumer_failed(nf, r)) {
		return;
	}
	delivered = json_object_get(r->json, "delivered");
	if (!o->at.floor_known) {
		o->at.floor = stored_number(delivered, "stream_seq");
		o->at.floor_known = true;
	}
	if (!o->continuous) {
		nf->last = nf->floor = o->at.floor;
	}
	nf->floor_known = true;
	nf->seen.valid = false;
	snprintf(o->previous, sizeof(o->previous), "%s", o->at.consumer);
	snprintf(o->at.consumer, sizeof(o->at.consumer), "%s", o->next);
	o->state = OWNER_WRITING;
	owner_write(o, nf->adapter->base.env.instance, on_written);
}

static void make(struct owner *o)
{
	struct nats_flow *nf = o->flow;
	json_t *config;

	if (o->continuous && nf->floor_known) {
		const uint64_t ours = consumer_floor(nf);

		o->at.floor = ours > o->at.floor ? ours : o->at.floor;
	}
	consumer_name(o, o->at.epoch, o->next);
	config = consumer_config(nf, o->next, o->at.floor_known, o->at.floor);
	o->state = OWNER_MAKING;
	consumer_create(nf, o->next, config, on_made);
}

static void on_looked(void *ctx, const struct api_reply *r)
{
	struct nats_flow *nf = ctx;
	struct owner *o = nf->owner;
	uint64_t floor, delivered;

	nf->call = NULL;
	if (r->rc == 0 && r->err_code == ERR_CONSUMER_NOT_FOUND) {
		/* Records may exist of whatever it had delivered, which nobody knows any more. */
		if (o->at.floor_known) {
			nf->suspect_until = nf->adapter->stream.last_seq;
		}
		make(o);
		return;
	}
	if (consumer_failed(nf, r)) {
		return;
	}
	floor = stored_number(json_object_get(r->json, "ack_floor"), "stream_seq");
	o->at.floor = o->at.floor_known && o->at.floor > floor ? o->at.floor : floor;
	o->at.floor_known = true;
	delivered = stored_number(json_object_get(r->json, "delivered"), "stream_seq");
	nf->suspect_until = delivered > nf->suspect_until ? delivered : nf->suspect_until;
	nf->existed = nf->existed || !nf->existed_known;
	make(o);
}

/* The consumer that has the position; before the first epoch, that of the same flow unordered. */
static void look(struct owner *o)
{
	struct nats_flow *nf = o->flow;

	if (consumer_stream_replaced(nf)) {
		o->at.floor = 0;
		o->at.floor_known = true;
		o->continuous = false;
	}
	o->state = OWNER_LOOKING;
	consumer_find(nf, o->at.consumer[0] ? o->at.consumer : nf->durable, on_looked);
}

static void on_claimed(void *ctx, const struct api_reply *r)
{
	struct owner *o = ctx;

	o->call = NULL;
	if (owner_written(o, r)) {
		o->flow->existed =
			o->flow->existed || (!o->flow->existed_known && o->at.floor_known);
		look(o);
	}
}

void owner_claim(struct owner *o)
{
	struct nats_flow *nf = o->flow;

	/* Between reading our own name and now nobody else can have had it. */
	o->continuous = o->continuous && o->ours && owner_valid(nf) &&
			strcmp(o->at.holder, nf->adapter->base.env.instance) == 0;
	if (!o->continuous && nf->held.count > 0) {
		owner_lose(o, "the lease could not be kept");
	}
	o->at.epoch++;
	o->state = OWNER_CLAIMING;
	nf->step = FLOW_STEP_OWNING;
	owner_write(o, nf->adapter->base.env.instance, on_claimed);
}
