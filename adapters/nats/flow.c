/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Flows: desired state, and what the daemon is told of it.
 *
 * Happy path: flow_add -> (connected) flow_begin -> [owner.c] -> consumer.c -> flow_live -> pulls,
 * deliveries -> flow_end -> flows_turn tells that it is gone.
 * Failure modes: connection lost: degraded, begun again at the next one. The server refuses the
 * consumer for good: refused, and nothing more until it is unsubscribed. Anything else that fails:
 * degraded with the reason, tried again, waiting longer each time.
 */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapters/nats/flow.h"
#include "base/mem.h"

#define DELIVER_AT_ONCE 64
#define AGAIN_TICKS	2 /* first pause after a failure; doubles */
#define AGAIN_MAX_TICKS 50
#define LOOK_TICKS	100 /* lag and retention are looked at so often */

/* ---- telling ---------------------------------------------------------------------- */

static void note(struct nats_flow *nf, struct flow_note *n, const char *why)
{
	if (nf->step == FLOW_STEP_GONE) {
		return;
	}
	snprintf(n->why, sizeof(n->why), "%s", why);
	adapter_tell_flow(nf->flow, n);
}

void flow_live(struct nats_flow *nf)
{
	struct flow_note n = {.event = FLOW_LIVE, .position_existed = nf->existed};

	if (nf->step == FLOW_STEP_GONE) {
		return;
	}
	nf->step = FLOW_STEP_LIVE;
	nf->attempts = 0;
	nf->reset = false;
	nf->look_ticks = 0;
	nf->told_live = true;
	nf->told_degraded = false;
	n.epoch = nf->ordered ? owner_epoch(nf) : 0;
	flow_mark(nf);
	note(nf, &n, "");
}

void flow_degraded(struct nats_flow *nf, const char *why)
{
	struct flow_note n = {.event = FLOW_DEGRADED, .reason = REASON_BROKER};

	if (!nf->told_degraded) {
		nf->told_degraded = true;
		note(nf, &n, why);
	}
}

void flow_again(struct nats_flow *nf, const char *why)
{
	const uint32_t doubled = AGAIN_TICKS << (nf->attempts < 6 ? nf->attempts : 6);

	if (nf->step == FLOW_STEP_GONE) {
		return;
	}
	pull_close(nf);
	nf->step = FLOW_STEP_WAITING;
	nf->wait_ticks = doubled < AGAIN_MAX_TICKS ? doubled : AGAIN_MAX_TICKS;
	nf->attempts++;
	log_repeated(&nf->log, LOG_LEVEL_WARN, nf->adapter->base.tag,
		     "flow cannot be served now: %s group=%s pattern=%s", why,
		     nf->flow->spec.group ? nf->flow->spec.group : "", nf->flow->spec.pattern);
	flow_degraded(nf, why);
}

void flow_refused(struct nats_flow *nf, enum reason reason, const char *why)
{
	struct flow_note n = {.event = FLOW_REFUSED, .reason = reason};

	if (nf->step == FLOW_STEP_GONE) {
		return;
	}
	pull_close(nf);
	nf->step = FLOW_STEP_REFUSED;
	note(nf, &n, why);
}

void flow_lost(struct nats_flow *nf, uint64_t lost)
{
	struct flow_note n = {.event = FLOW_LOST, .lost = lost};

	note(nf, &n, "removed by the stream's limits before they were delivered");
}

void flow_gap(struct nats_flow *nf, const char *why)
{
	struct flow_note n = {.event = FLOW_GAP};

	note(nf, &n, why);
}

static void free_one(struct table_entry *e, void *ctx)
{
	struct held *h = container_of(e, struct held, entry);

	(void)ctx;
	held_free(h);
}

void flow_revoke(struct nats_flow *nf, const char *why)
{
	struct flow_note n = {.event = FLOW_STANDBY};

	pull_close(nf);
	consumer_use(nf, "");
	table_each(&nf->held, free_one, NULL);
	if (nf->step == FLOW_STEP_GONE) {
		return;
	}
	if (nf->flow->held > 0) {
		adapter_tell_revoked(nf->flow, NULL, 0);
	}
	nf->told_live = nf->told_degraded = false;
	note(nf, &n, why);
}

/* ---- life ---------------------------------------------------------------------------- */

void flow_mark(struct nats_flow *nf)
{
	if (!list_linked(&nf->dirty)) {
		list_push_back(&nf->adapter->dirty, &nf->dirty);
	}
}

static void warn_interop(struct nats_flow *nf)
{
	if (nf->flow->spec.interop == INTEROP_CONNECTUM) {
		log_warn(nf->adapter->base.tag,
			 "interop connectum: the consumer allows 5 deliveries, so an event that is "
			 "released or redelivered more often is given up by the server (P2), also "
			 "by "
			 "other members' failures (P4) consumer=%s",
			 nf->durable);
	}
}

void flow_add(struct nats_adapter *a, struct flow *f)
{
	struct nats_flow *nf = xcalloc(1, sizeof(*nf));
	static uint64_t ids;

	nf->adapter = a;
	nf->flow = f;
	nf->id = ++ids;
	nf->ordered = f->spec.group && f->spec.order != ORDER_NONE;
	nf->exclusive = nf->ordered || !f->spec.group;
	if (f->spec.group) {
		nats_flow_hash(f->spec.group, f->spec.pattern, nf->hash);
		nats_durable_name(f->spec.group, f->spec.pattern, f->spec.interop, nf->durable);
	}
	snprintf(nf->filter, sizeof(nf->filter), "%s.%s", a->options->stream, f->spec.pattern);
	table_init(&nf->held);
	list_init(&nf->ready);
	list_item_init(&nf->dirty);
	list_push_back(&a->flows, &nf->link);
	table_insert(&a->flow_ids, &nf->by_id, hash_u64(nf->id));
	f->impl = nf;
	warn_interop(nf);
	if (nf->ordered) {
		owner_create(nf);
	}
	flow_mark(nf);
}

void flow_begin(struct nats_flow *nf)
{
	api_cancel(nf->adapter, &nf->call);
	if (nf->ordered) {
		nf->step = FLOW_STEP_OWNING;
		owner_begin(nf);
	} else {
		nf->step = FLOW_STEP_LOOKING;
		consumer_begin(nf);
	}
}

static void give_back(struct table_entry *e, void *ctx)
{
	struct held *h = container_of(e, struct held, entry);
	struct nats_flow *nf = ctx;

	if (h->state == HELD_READY && !nf->exclusive) {
		held_nak(h, 0);
	} else if (h->state != HELD_DONE) {
		held_free(h);
	}
}

void flow_end(struct nats_flow *nf)
{
	struct nats_adapter *a = nf->adapter;

	pull_close(nf);
	api_cancel(a, &nf->call);
	nf->step = FLOW_STEP_GONE;
	failures_give_up(nf);
	table_each(&nf->held, give_back, nf);
	if (!nf->durable[0] && nf->consumer[0]) {
		consumer_delete(nf, nf->consumer);
	}
	if (nf->ordered) {
		owner_release(nf);
	}
	consumer_use(nf, "");
	flow_mark(nf);
}

static void reap(struct nats_flow *nf)
{
	struct flow *f = nf->flow;

	if (nf->n_records > 0) {
		return; /* held_recorded marks the flow again */
	}
	assert(nf->held.count == 0);
	owner_destroy(nf);
	table_remove(&nf->adapter->flow_ids, &nf->by_id);
	list_remove(&nf->link);
	list_remove(&nf->dirty);
	prefix_unref(nf->prefix);
	table_finish(&nf->held);
	free(nf);
	adapter_tell_flow_gone(f);
}

/* ---- what the connection does to them ---------------------------------------------------- */

void flows_on_up(struct nats_adapter *a)
{
	struct list *it, *tmp;

	acks_on_up(a);
	failures_on_up(a);
	list_for_each_safe (it, tmp, &a->flows) {
		struct nats_flow *nf = container_of(it, struct nats_flow, link);

		if (nf->step != FLOW_STEP_GONE && nf->step != FLOW_STEP_REFUSED) {
			flow_begin(nf);
		}
		if (!list_empty(&nf->ready)) {
			flow_mark(nf); /* records that could not be read */
		}
	}
}

void flows_on_down(struct nats_adapter *a, const char *why)
{
	struct list *it, *tmp;

	list_for_each_safe (it, tmp, &a->flows) {
		struct nats_flow *nf = container_of(it, struct nats_flow, link);

		pull_close(nf);
		api_cancel(a, &nf->call);
		if (nf->step == FLOW_STEP_GONE || nf->step == FLOW_STEP_REFUSED) {
			continue;
		}
		nf->step = FLOW_STEP_IDLE;
		nf->seen.valid = false;
		if (nf->ordered) {
			owner_on_down(nf);
		}
		if (nf->told_live) {
			flow_degraded(nf, why);
		}
	}
}

/* ---- turns and ticks ------------------------------------------------------------------------ */

/* Up to a batch from the front of ready; stops where a record is still being read. */
static uint32_t take_ready(struct nats_flow *nf, struct delivery *out)
{
	uint32_t n = 0;

	while (n < DELIVER_AT_ONCE && !list_empty(&nf->ready)) {
		struct held *h = container_of(list_first(&nf->ready), struct held, link);
		size_t size;

		if (h->lookup) {
			if (!h->call && conn_up(nf->adapter)) {
				failures_read(h);
			}
			break;
		}
		assert(h->event);
		size = event_size(h->event);
		out[n++] = (struct delivery){.event = h->event,
					     .handle = h,
					     .failures = h->failures,
					     .position = {h->seq, 0},
					     .epoch = nf->ordered ? owner_epoch(nf) : 0};
		h->event = NULL;
		h->state = HELD_OUT;
		list_remove(&h->link);
		list_push_back(&nf->adapter->touched, &h->link);
		nf->n_ready--;
		nf->credit.events -= nf->credit.events > 0;
		nf->credit.bytes -= nf->credit.bytes > size ? size : nf->credit.bytes;
	}
	return n;
}

static void deliver(struct nats_flow *nf)
{
	struct delivery batch[DELIVER_AT_ONCE];
	uint32_t n;

	while (nf->step != FLOW_STEP_GONE && !list_empty(&nf->ready)) {
		if (nf->ordered && !owner_valid(nf)) {
			return; /* owner_tick revokes */
		}
		n = take_ready(nf, batch);
		if (n == 0) {
			return;
		}
		adapter_tell_deliver(nf->flow, batch, n);
	}
}

void flows_deliver(struct nats_adapter *a)
{
	struct list *it, *tmp;

	list_for_each_safe (it, tmp, &a->dirty) {
		deliver(container_of(it, struct nats_flow, dirty));
	}
}

void flows_turn(struct nats_adapter *a)
{
	struct list now;

	list_init(&now);
	list_splice_back(&now, &a->dirty);
	while (!list_empty(&now)) {
		struct nats_flow *nf = container_of(list_pop_front(&now), struct nats_flow, dirty);

		if (nf->step == FLOW_STEP_GONE) {
			reap(nf);
			continue;
		}
		if (nf->step == FLOW_STEP_IDLE && conn_up(a)) {
			flow_begin(nf);
		}
		deliver(nf);
		if (nf->step == FLOW_STEP_LIVE && nf->reset && nf->credit.events > 0) {
			pull_close(nf);
			flow_begin(nf);
		} else if (nf->step == FLOW_STEP_LIVE) {
			pull_turn(nf);
		}
	}
}

static void tick(struct nats_flow *nf)
{
	if (nf->ordered && nf->step != FLOW_STEP_GONE) {
		owner_tick(nf);
	}
	if (nf->step == FLOW_STEP_WAITING && nf->wait_ticks-- == 0) {
		flow_begin(nf);
	} else if (nf->step == FLOW_STEP_LIVE) {
		pull_tick(nf);
		if (++nf->look_ticks >= LOOK_TICKS) {
			nf->look_ticks = 0;
			consumer_look(nf);
		}
	}
}

void flows_tick(struct nats_adapter *a, int64_t now_ms)
{
	struct list *it, *tmp;

	list_for_each_safe (it, tmp, &a->flows) {
		tick(container_of(it, struct nats_flow, link));
	}
	if (conn_up(a)) {
		acks_tick(a, now_ms);
	}
}

/* ---- finding -------------------------------------------------------------------------------- */

struct nats_flow *flow_by_consumer(struct nats_adapter *a, struct slice name)
{
	for (struct table_entry *e = table_first(&a->consumers, hash_slice(name)); e;
	     e = table_next(e)) {
		struct nats_flow *nf = container_of(e, struct nats_flow, entry);

		if (slice_eq_str(name, nf->consumer)) {
			return nf;
		}
	}
	return NULL;
}

struct nats_flow *flow_by_id(struct nats_adapter *a, uint64_t id)
{
	for (struct table_entry *e = table_first(&a->flow_ids, hash_u64(id)); e;
	     e = table_next(e)) {
		struct nats_flow *nf = container_of(e, struct nats_flow, by_id);

		if (nf->id == id) {
			return nf;
		}
	}
	return NULL;
}
