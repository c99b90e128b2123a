/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The owner lease of an ordered flow: one daemon hands it out, the others stand by (P7).
 *
 * The lease is one message in the bucket eb-owners-<stream> under the hash of group and pattern,
 * written with compare-and-set on its revision:
 *   {"holder":"host-pid-x","epoch":7,"consumer":"eb-...-7","floor":1234,"lease_ms":10000}
 * Each epoch has a consumer of its own. So a holder that was stopped and wakes up can neither fetch
 * nor settle anything of its successor, and the position is never only in a request under way: the
 * record names the last consumer that is in use, and where it began.
 *
 * Happy path: READING (the record) -> CLAIMING (holder, epoch + 1) -> LOOKING (at the consumer that
 * the record names: its ack floor) -> MAKING (a consumer behind the floor) -> WRITING (its name
 * into the record) -> HELD: flow_live, the old consumer is deleted, the record is written every
 * third of the lease. owner_release writes it without a holder. Failure modes: another holder:
 * STANDBY; it is read every half second and claimed when it has no holder, or has not changed for
 * its lease by our own clock. A lost race (wrong revision): read again. A crash between any two
 * steps: the next claimant finds the old consumer or, when that is gone, the floor. No renewal in
 * time: everything held is revoked before another can claim.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapters/nats/flow.h"
#include "base/clock.h"
#include "base/mem.h"

#define READ_TICKS 5 /* a record of somebody else is looked at so often */

#define ERR_WRONG_LAST_SEQUENCE 10071
#define ERR_CONSUMER_NOT_FOUND	10014

enum owner_state {
	OWNER_NONE,
	OWNER_READING,
	OWNER_CLAIMING,
	OWNER_LOOKING,
	OWNER_MAKING,
	OWNER_WRITING,
	OWNER_HELD,
	OWNER_STANDBY,
};

struct owner {
	struct nats_flow *flow;
	enum owner_state state;
	struct api_call *call;
	bool waits_for_bucket, told_standby;
	/* the record as it is at the server */
	uint64_t revision, epoch, floor;
	bool floor_known;
	char holder[72], consumer[NATS_NAME_MAX];
	int64_t lease_ms;
	/* ours */
	bool ours;		      /* valid_until_ms means something */
	bool continuous;	      /* nobody else had it since what we hold came */
	int64_t valid_until_ms;	      /* boot clock */
	int64_t asked_ms;	      /* boot clock, when the write under way was sent */
	char next[NATS_NAME_MAX];     /* the consumer being made */
	char previous[NATS_NAME_MAX]; /* to be deleted when that is in use */
	/* somebody else's */
	uint64_t watched; /* its revision */
	int64_t watched_since_ms;
	uint32_t ticks;
};

static void read_record(struct owner *o);

void owner_create(struct nats_flow *nf)
{
	nf->owner = xcalloc(1, sizeof(*nf->owner));
	nf->owner->flow = nf;
}

void owner_destroy(struct nats_flow *nf)
{
	struct owner *o = nf->owner;

	if (o) {
		api_cancel(nf->adapter, &o->call);
		admin_bucket_forget(&nf->adapter->owners, o);
		free(o);
		nf->owner = NULL;
	}
}

/* A tenth of the lease is left for clocks that do not run alike. */
static int64_t lease_ms(const struct owner *o)
{
	return o->flow->adapter->options->owner_lease_ms;
}

static int64_t valid_from(const struct owner *o, int64_t asked_ms)
{
	return asked_ms + lease_ms(o) - lease_ms(o) / 10;
}

bool owner_valid(const struct nats_flow *nf)
{
	const struct owner *o = nf->owner;

	return o->ours && clock_boot_ms() < o->valid_until_ms;
}

uint64_t owner_epoch(const struct nats_flow *nf)
{
	return nf->owner->epoch;
}

/* ---- the record -------------------------------------------------------------------------- */

static void bucket_name(const struct nats_adapter *a, char out[96])
{
	snprintf(out, 96, "eb-owners-%s", a->options->stream);
}

static void record_subject(const struct owner *o, char *out, size_t size)
{
	char bucket[96];

	bucket_name(o->flow->adapter, bucket);
	snprintf(out, size, "$KV.%s.%s", bucket, o->flow->hash);
}

static void copy_text(char *out, size_t size, json_t *object, const char *key)
{
	const char *s = json_string_value(json_object_get(object, key));

	snprintf(out, size, "%s", s ? s : "");
}

static uint64_t number(json_t *object, const char *key)
{
	const json_int_t v = json_integer_value(json_object_get(object, key));

	return v < 0 ? 0 : (uint64_t)v;
}

static void take_record(struct owner *o, json_t *message)
{
	json_t *value = failures_value(message);

	o->revision = number(message, "seq");
	o->epoch = number(value, "epoch") > o->epoch ? number(value, "epoch") : o->epoch;
	o->floor = number(value, "floor");
	o->floor_known = json_is_integer(json_object_get(value, "floor"));
	o->lease_ms = (int64_t)number(value, "lease_ms");
	copy_text(o->holder, sizeof(o->holder), value, "holder");
	copy_text(o->consumer, sizeof(o->consumer), value, "consumer");
	json_decref(value);
}

/* Writes the record as o has it; cb gets the confirmation or the refusal. */
static void write_record(struct owner *o, const char *holder, api_cb cb)
{
	struct nats_adapter *a = o->flow->adapter;
	char subject[NATS_SUBJECT_MAX], revision[24];
	json_t *value =
		json_pack("{s:s, s:I, s:s, s:I}", "holder", holder, "epoch", (json_int_t)o->epoch,
			  "consumer", o->consumer, "lease_ms", (json_int_t)lease_ms(o));
	struct api_request r = {.subject = subject, .cb = cb, .ctx = o};
	char *text;

	if (o->floor_known) {
		json_object_set_new(value, "floor", json_integer((json_int_t)o->floor));
	}
	text = json_dumps(value, JSON_COMPACT);
	record_subject(o, subject, sizeof(subject));
	snprintf(revision, sizeof(revision), "%" PRIu64, o->revision);
	r.header = (struct api_header){"Nats-Expected-Last-Subject-Sequence", revision};
	r.body = slice_str(text);
	o->asked_ms = clock_boot_ms();
	if (cb) {
		o->call = api_request(a, &r);
	} else {
		api_request(a, &r);
	}
	free(text);
	json_decref(value);
}

/* ---- losing and waiting ---------------------------------------------------------------------- */

static void stand_by(struct owner *o, const char *why)
{
	struct nats_flow *nf = o->flow;

	o->state = OWNER_STANDBY;
	o->ticks = 0;
	nf->step = FLOW_STEP_OWNING;
	if (!o->told_standby) {
		o->told_standby = true;
		o->ours = o->continuous = false;
		nf->floor_known = false;
		flow_revoke(nf, why);
	}
}

static void lose(struct owner *o, const char *why)
{
	log_warn(o->flow->adapter->base.tag, "ordered flow given up: %s group=%s pattern=%s", why,
		 o->flow->flow->spec.group, o->flow->flow->spec.pattern);
	api_cancel(o->flow->adapter, &o->call);
	api_cancel(o->flow->adapter, &o->flow->call);
	o->told_standby = false;
	stand_by(o, why);
	o->watched = 0;
}

static void again(struct owner *o, const char *why)
{
	o->state = OWNER_NONE;
	flow_again(o->flow, why);
}

/* A write of ours came back: false when it was dealt with. */
static bool written(struct owner *o, const struct api_reply *r)
{
	struct nats_pub_ack ack;

	if (r->rc == EB_ECANCELED) {
		return false; /* with the next connection */
	}
	if (r->rc == 0 && r->err_code == ERR_WRONG_LAST_SEQUENCE) {
		read_record(o);
		return false;
	}
	if (r->rc != 0 || nats_pub_ack_parse(r->data, &ack) != 0 || !ack.ok) {
		if (r->rc == EB_EAGAIN) {
			o->flow->adapter->owners.ready = false;
		}
		again(o, r->code ? r->description : "the owner record cannot be written");
		return false;
	}
	o->revision = ack.seq;
	o->valid_until_ms = valid_from(o, o->asked_ms);
	o->ours = true;
	return true;
}

/* ---- taking over --------------------------------------------------------------------------- */

static void on_written(void *ctx, const struct api_reply *r)
{
	struct owner *o = ctx;
	struct nats_flow *nf = o->flow;
	char old[NATS_NAME_MAX];

	o->call = NULL;
	snprintf(old, sizeof(old), "%s", nf->consumer);
	if (!written(o, r)) {
		return;
	}
	o->state = OWNER_HELD;
	o->told_standby = false;
	o->continuous = true;
	o->ticks = 0;
	log_info(nf->adapter->base.tag, "ordered flow owned group=%s pattern=%s epoch=%" PRIu64,
		 nf->flow->spec.group, nf->flow->spec.pattern, o->epoch);
	consumer_use(nf, o->consumer);
	if (o->previous[0] && strcmp(o->previous, o->consumer) != 0) {
		consumer_delete(nf, o->previous);
	}
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
	if (!o->floor_known) {
		o->floor = number(delivered, "stream_seq");
		o->floor_known = true;
	}
	if (!o->continuous) {
		nf->last = nf->floor = o->floor;
	}
	nf->floor_known = true;
	nf->seen.valid = false;
	snprintf(o->previous, sizeof(o->previous), "%s", o->consumer);
	snprintf(o->consumer, sizeof(o->consumer), "%s", o->next);
	o->state = OWNER_WRITING;
	write_record(o, nf->adapter->base.env.instance, on_written);
}

static void make(struct owner *o)
{
	struct nats_flow *nf = o->flow;
	json_t *config;

	if (o->continuous && nf->floor_known) {
		const uint64_t ours = consumer_floor(nf);

		o->floor = ours > o->floor ? ours : o->floor;
	}
	snprintf(o->next, sizeof(o->next), "%.*s-%" PRIu64, NATS_NAME_MAX - 24, nf->durable,
		 o->epoch);
	config = consumer_config(nf, o->next, o->floor_known, o->floor);
	o->state = OWNER_MAKING;
	consumer_create(nf, o->next, config, on_made);
}

static void on_looked(void *ctx, const struct api_reply *r)
{
	struct nats_flow *nf = ctx;
	struct owner *o = nf->owner;
	uint64_t floor;

	nf->call = NULL;
	if (r->rc == 0 && r->err_code == ERR_CONSUMER_NOT_FOUND) {
		/* Records may exist of whatever it had delivered, which nobody knows any more. */
		nf->suspect_until = o->floor_known ? nf->adapter->stream.last_seq : 0;
		make(o);
		return;
	}
	if (consumer_failed(nf, r)) {
		return;
	}
	floor = number(json_object_get(r->json, "ack_floor"), "stream_seq");
	o->floor = o->floor_known && o->floor > floor ? o->floor : floor;
	o->floor_known = true;
	nf->suspect_until = number(json_object_get(r->json, "delivered"), "stream_seq");
	nf->existed = nf->existed || !nf->existed_known;
	make(o);
}

/* The consumer that has the position; before the first epoch, that of the same flow unordered. */
static void look(struct owner *o)
{
	struct nats_flow *nf = o->flow;
	struct nats_adapter *a = nf->adapter;

	if (consumer_stream_replaced(nf)) {
		o->floor = 0;
		o->floor_known = true;
		o->continuous = false;
	}
	o->state = OWNER_LOOKING;
	nf->call = api_json(a, NULL, on_looked, nf, "CONSUMER.INFO.%s.%s", a->options->stream,
			    o->consumer[0] ? o->consumer : nf->durable);
}

static void on_claimed(void *ctx, const struct api_reply *r)
{
	struct owner *o = ctx;

	o->call = NULL;
	if (written(o, r)) {
		o->flow->existed = o->flow->existed || (!o->flow->existed_known && o->floor_known);
		look(o);
	}
}

static void claim(struct owner *o)
{
	struct nats_flow *nf = o->flow;

	/* Between reading our own name and now nobody else can have had it. */
	o->continuous = o->continuous && o->ours && owner_valid(nf) &&
			strcmp(o->holder, nf->adapter->base.env.instance) == 0;
	if (!o->continuous && nf->held.count > 0) {
		lose(o, "the lease could not be kept");
	}
	o->epoch++;
	o->state = OWNER_CLAIMING;
	nf->step = FLOW_STEP_OWNING;
	write_record(o, nf->adapter->base.env.instance, on_claimed);
}

/* ---- reading --------------------------------------------------------------------------------- */

static bool expired(struct owner *o)
{
	const int64_t now = clock_boot_ms();

	if (o->revision != o->watched) {
		o->watched = o->revision;
		o->watched_since_ms = now;
		return false;
	}
	return now - o->watched_since_ms >= (o->lease_ms > 0 ? o->lease_ms : lease_ms(o));
}

static void on_read(void *ctx, const struct api_reply *r)
{
	struct owner *o = ctx;
	struct nats_flow *nf = o->flow;

	o->call = NULL;
	if (r->rc == EB_ECANCELED) {
		return;
	}
	if (r->rc != 0 || (r->code && r->code != 404)) {
		again(o, r->code ? r->description : "the owner record cannot be read");
		return;
	}
	o->holder[0] = '\0';
	if (r->code == 404) {
		o->revision = 0;
	} else {
		take_record(o, json_object_get(r->json, "message"));
	}
	if (o->holder[0] == '\0' || strcmp(o->holder, nf->adapter->base.env.instance) == 0 ||
	    expired(o)) {
		claim(o);
	} else {
		stand_by(o, "another daemon owns the flow");
	}
}

static void read_record(struct owner *o)
{
	struct nats_adapter *a = o->flow->adapter;
	char bucket[96], subject[NATS_SUBJECT_MAX];

	bucket_name(a, bucket);
	record_subject(o, subject, sizeof(subject));
	o->state = OWNER_READING;
	o->call = api_json(a, json_pack("{s:s}", "last_by_subj", subject), on_read, o,
			   "STREAM.MSG.GET.KV_%s", bucket);
}

static void on_bucket(void *ctx, int rc)
{
	struct owner *o = ctx;

	o->waits_for_bucket = false;
	if (rc == 0) {
		read_record(o);
	} else if (rc != EB_ECANCELED) {
		again(o, "the bucket of owner records cannot be created");
	}
}

void owner_begin(struct nats_flow *nf)
{
	struct owner *o = nf->owner;
	struct nats_adapter *a = nf->adapter;
	char bucket[96];

	api_cancel(a, &o->call);
	if (o->waits_for_bucket) {
		return;
	}
	if (a->owners.ready) {
		read_record(o);
		return;
	}
	bucket_name(a, bucket);
	o->waits_for_bucket = true;
	admin_bucket(a, &a->owners, bucket, 0, on_bucket, o);
}

/* ---- keeping -----------------------------------------------------------------------------------
 */

static void on_renewed(void *ctx, const struct api_reply *r)
{
	struct owner *o = ctx;
	struct nats_pub_ack ack;

	o->call = NULL;
	if (r->rc == 0 && r->err_code == ERR_WRONG_LAST_SEQUENCE) {
		lose(o, "another daemon took it over");
	} else if (r->rc == 0 && nats_pub_ack_parse(r->data, &ack) == 0 && ack.ok) {
		o->revision = ack.seq;
		o->valid_until_ms = valid_from(o, o->asked_ms);
	}
}

static void renew(struct owner *o)
{
	if (!o->call && conn_up(o->flow->adapter)) {
		o->ticks = 0;
		write_record(o, o->flow->adapter->base.env.instance, on_renewed);
	}
}

void owner_tick(struct nats_flow *nf)
{
	struct owner *o = nf->owner;
	const uint32_t third = (uint32_t)(lease_ms(o) / 3 / NATS_TICK_MS);

	o->ticks++;
	if (o->ours && !owner_valid(nf)) {
		o->ours = false;
		lose(o, "the lease could not be renewed");
	} else if (o->state == OWNER_HELD && o->ticks >= third) {
		renew(o);
	} else if (o->state == OWNER_STANDBY && o->ticks >= READ_TICKS && conn_up(nf->adapter) &&
		   !o->call) {
		o->ticks = 0;
		read_record(o);
	}
}

void owner_on_down(struct nats_flow *nf)
{
	struct owner *o = nf->owner;

	api_cancel(nf->adapter, &o->call);
	if (o->state != OWNER_STANDBY) {
		o->state = OWNER_NONE;
	}
}

void owner_release(struct nats_flow *nf)
{
	struct owner *o = nf->owner;

	api_cancel(nf->adapter, &o->call);
	if (o->state == OWNER_HELD && conn_up(nf->adapter)) {
		write_record(o, "", NULL);
	}
	o->state = OWNER_NONE;
	o->ours = false;
}
