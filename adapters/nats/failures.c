/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Failure records: how often an event failed, kept at the broker so that a daemon that is killed
 * does not forget (P4). One message a record in the bucket eb-failures-<stream>, under
 * <hash of group and pattern>.<stream sequence>: {"count":2,"first":<ms>,"last":<ms>}. Written
 * before the next delivery, read only when the server says that an event was delivered before,
 * removed when the event is acknowledged; the bucket's max_age removes what a crash left behind.
 *
 * Happy path: failures_write -> write_now -> confirmation -> failures_turn tells. failures_read ->
 * on_read.
 * Failure modes: the bucket does not exist: created, once more. No connection: a write waits for
 * one, as long as a request may take, then it is told as failed; a read is asked again.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapters/nats/flow.h"
#include "adapters/nats/stored.h"
#include "base/mem.h"

#define TRIES	   3
#define WAIT_TICKS (NATS_REQUEST_MS / NATS_TICK_MS)

struct record {
	struct list link; /* adapter.records or adapter.recorded */
	struct nats_flow *flow;
	struct held *held;
	void *ctx;
	uint8_t tries;
	uint32_t wait_ticks;
	int rc;
};

static void bucket_name(const struct nats_adapter *a, char out[96])
{
	snprintf(out, 96, "eb-failures-%s", a->options->stream);
}

static void record_subject(const struct held *h, char *out, size_t size)
{
	char bucket[96];

	bucket_name(h->flow->adapter, bucket);
	snprintf(out, size, "$KV.%s.%s.%" PRIu64, bucket, h->flow->hash, h->seq);
}

/* ---- writing -------------------------------------------------------------------- */

static void write_now(struct record *r);

static void finish(struct record *r, int rc)
{
	r->rc = rc;
	list_remove(&r->link);
	list_push_back(&r->flow->adapter->recorded, &r->link);
}

static void wait_for_connection(struct record *r)
{
	if (r->flow->step == FLOW_STEP_GONE) {
		finish(r, EB_ECANCELED);
		return;
	}
	r->wait_ticks = WAIT_TICKS;
	list_remove(&r->link);
	list_push_back(&r->flow->adapter->records, &r->link);
}

static void try_again(struct record *r, const char *why)
{
	struct nats_adapter *a = r->flow->adapter;

	if (++r->tries < TRIES) {
		a->failures.ready = false;
		write_now(r);
		return;
	}
	log_repeated(&a->record_log, LOG_LEVEL_WARN, a->base.tag,
		     "a failure cannot be recorded: %s", why);
	finish(r, EB_EIO);
}

static void on_written(void *ctx, const struct api_reply *reply)
{
	struct record *r = ctx;
	struct nats_pub_ack ack;

	if (reply->rc == EB_ECANCELED) {
		wait_for_connection(r);
	} else if (reply->rc == EB_ETIMEDOUT) {
		finish(r, EB_ETIMEDOUT);
	} else if (reply->rc != 0) {
		try_again(r, "no such bucket");
	} else if (nats_pub_ack_parse(reply->data, &ack) != 0 || !ack.ok) {
		try_again(r, reply->description);
	} else {
		r->held->record_seq = ack.seq;
		finish(r, 0);
	}
}

static void on_bucket(void *ctx, int rc)
{
	struct record *r = ctx;

	if (rc == EB_ECANCELED) {
		wait_for_connection(r);
	} else if (rc != 0) {
		try_again(r, "no bucket");
	} else {
		write_now(r);
	}
}

static void write_now(struct record *r)
{
	struct nats_adapter *a = r->flow->adapter;
	const struct failures *f = &r->held->failures;
	char subject[NATS_SUBJECT_MAX], value[128], bucket[96];
	struct api_request request = {.subject = subject, .cb = on_written, .ctx = r};

	if (!conn_up(a)) {
		wait_for_connection(r);
		return;
	}
	if (!a->failures.ready) {
		bucket_name(a, bucket);
		admin_bucket(a, &a->failures, bucket, a->options->failures_max_age_ms, on_bucket,
			     r);
		return;
	}
	record_subject(r->held, subject, sizeof(subject));
	snprintf(value, sizeof(value),
		 "{\"count\":%" PRIu32 ",\"first\":%" PRId64 ",\"last\":%" PRId64 "}", f->count,
		 f->first_ms, f->last_ms);
	request.body = slice_str(value);
	api_request(a, &request);
}

void failures_write(struct held *h, void *ctx)
{
	struct record *r = xcalloc(1, sizeof(*r));

	r->flow = h->flow;
	r->held = h;
	r->ctx = ctx;
	list_item_init(&r->link);
	h->records++;
	h->flow->n_records++;
	if (h->flow->durable[0]) {
		write_now(r);
	} else {
		finish(r, 0); /* without a group the session's own memory is the record */
	}
}

void failures_give_up(struct nats_flow *nf)
{
	struct list *it, *tmp;

	list_for_each_safe (it, tmp, &nf->adapter->records) {
		struct record *r = container_of(it, struct record, link);

		if (r->flow == nf) {
			finish(r, EB_ECANCELED);
		}
	}
}

void failures_on_up(struct nats_adapter *a)
{
	struct list now;

	list_init(&now);
	list_splice_back(&now, &a->records);
	while (!list_empty(&now)) {
		struct list *item = list_pop_front(&now);

		write_now(container_of(item, struct record, link));
	}
}

void failures_tick(struct nats_adapter *a)
{
	struct list *it, *tmp;

	list_for_each_safe (it, tmp, &a->records) {
		struct record *r = container_of(it, struct record, link);

		if (r->wait_ticks-- == 0) {
			finish(r, EB_ETIMEDOUT);
		}
	}
}

void failures_turn(struct nats_adapter *a)
{
	while (!list_empty(&a->recorded)) {
		struct record *r = container_of(list_pop_front(&a->recorded), struct record, link);
		struct flow *f = r->flow->flow;
		struct held *h = r->held;
		void *ctx = r->ctx;
		const int rc = r->rc;

		free(r);
		if (ctx) {
			adapter_tell_recorded(f, ctx, rc);
		}
		held_recorded(h);
	}
}

void failures_remove(struct nats_adapter *a, uint64_t record_seq)
{
	char bucket[96];

	bucket_name(a, bucket);
	api_tell(a, json_pack("{s:I, s:b}", "seq", (json_int_t)record_seq, "no_erase", 1),
		 "STREAM.MSG.DELETE.KV_%s", bucket);
}

/* ---- reading --------------------------------------------------------------------- */

static void take_record(struct held *h, json_t *message)
{
	json_t *value = stored_value(message);
	const uint64_t count = stored_number(value, "count");

	h->record_seq = stored_number(message, "seq");
	h->failures.count = count > UINT32_MAX ? UINT32_MAX : (uint32_t)count;
	h->failures.first_ms = (int64_t)stored_number(value, "first");
	h->failures.last_ms = (int64_t)stored_number(value, "last");
	json_decref(value);
}

static void on_read(void *ctx, const struct api_reply *reply)
{
	struct held *h = ctx;
	struct nats_flow *nf = h->flow;

	h->call = NULL;
	if (reply->rc != 0) {
		return; /* asked again at a tick, or with the next connection */
	}
	if (reply->code == 0 && reply->json) {
		take_record(h, json_object_get(reply->json, "message"));
	} else if (reply->code != 404) {
		log_repeated(&nf->adapter->record_log, LOG_LEVEL_WARN, nf->adapter->base.tag,
			     "a failure record cannot be read: %s", reply->description);
	}
	h->lookup = false;
	flow_mark(nf);
}

void failures_read(struct held *h)
{
	struct nats_adapter *a = h->flow->adapter;
	char subject[NATS_SUBJECT_MAX], bucket[96];

	bucket_name(a, bucket);
	record_subject(h, subject, sizeof(subject));
	h->call = api_json(a, json_pack("{s:s}", "last_by_subj", subject), on_read, h,
			   "STREAM.MSG.GET.KV_%s", bucket);
}

/*
 * A server that fails to hand a redelivery to a connection that is going away forgets that it had
 * delivered the event before: its count alone does not say where records may exist.
 */
struct api_call *failures_list(struct nats_flow *nf, api_cb cb)
{
	struct nats_adapter *a = nf->adapter;
	char filter[NATS_SUBJECT_MAX], bucket[96];

	bucket_name(a, bucket);
	snprintf(filter, sizeof(filter), "$KV.%s.%s.*", bucket, nf->hash);
	return api_json(a, json_pack("{s:s}", "subjects_filter", filter), cb, nf,
			"STREAM.INFO.KV_%s", bucket);
}

uint64_t failures_newest(const struct nats_flow *nf, const struct api_reply *r)
{
	json_t *subjects = json_object_get(json_object_get(r->json, "state"), "subjects"), *count;
	uint64_t newest = 0;
	const char *subject;

	if (r->code == 404) {
		return 0; /* nothing failed yet */
	}
	if (r->code != 0 || stored_number(r->json, "total") > json_object_size(subjects)) {
		return nf->adapter->stream
			.last_seq; /* not told, or too many to tell: look at each */
	}
	json_object_foreach(subjects, subject, count)
	{
		const char *last = strrchr(subject, '.');
		const uint64_t seq = last ? strtoull(last + 1, NULL, 10) : 0;

		newest = seq > newest ? seq : newest;
	}
	return newest;
}
