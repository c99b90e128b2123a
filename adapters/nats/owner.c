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
 * third of the lease. owner_release writes it without a holder.
 *
 * Failure modes: another holder: STANDBY; it is read every half second and claimed when it has no
 * holder, or has not changed for its lease by our own clock. A lost race (wrong revision): read
 * again. A crash between any two steps: the next claimant finds the old consumer or, when that is
 * gone, the floor. No renewal in time: everything held is revoked before another can claim.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapters/nats/owner_impl.h"
#include "base/clock.h"
#include "base/mem.h"

#define READ_TICKS 5 /* a record of somebody else is looked at so often, and at news of it */

#define ERR_WRONG_LAST_SEQUENCE 10071

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
	return nf->owner->at.epoch;
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

/* Writes the record with compare-and-set. cb NULL: whether it worked does not matter. */
void owner_write(struct owner *o, const char *holder, api_cb cb)
{
	struct nats_adapter *a = o->flow->adapter;
	char subject[NATS_SUBJECT_MAX], revision[24];
	struct api_request r = {.subject = subject, .cb = cb, .ctx = o};
	struct api_call *call;
	char *text;

	snprintf(o->at.holder, sizeof(o->at.holder), "%s", holder);
	o->at.lease_ms = lease_ms(o);
	text = lease_write(&o->at);
	record_subject(o, subject, sizeof(subject));
	snprintf(revision, sizeof(revision), "%" PRIu64, o->at.revision);
	r.header = (struct api_header){"Nats-Expected-Last-Subject-Sequence", revision};
	r.body = slice_str(text);
	o->asked_ms = clock_boot_ms();
	call = api_request(a, &r);
	o->call = cb ? call : NULL;
	free(text);
}

static void get_record(struct owner *o, api_cb cb)
{
	struct nats_adapter *a = o->flow->adapter;
	char bucket[96], subject[NATS_SUBJECT_MAX];

	bucket_name(a, bucket);
	record_subject(o, subject, sizeof(subject));
	o->call = api_json(a, json_pack("{s:s}", "last_by_subj", subject), cb, o,
			   "STREAM.MSG.GET.KV_%s", bucket);
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

void owner_lose(struct owner *o, const char *why)
{
	log_warn(o->flow->adapter->base.tag, "ordered flow given up: %s group=%s pattern=%s", why,
		 o->flow->flow->spec.group, o->flow->flow->spec.pattern);
	api_cancel(o->flow->adapter, &o->call);
	api_cancel(o->flow->adapter, &o->flow->call);
	o->told_standby = false;
	stand_by(o, why);
	o->watched = 0;
}

void owner_again(struct owner *o, const char *why)
{
	o->state = OWNER_NONE;
	flow_again(o->flow, why);
}

/* A write of ours came back: false when it was dealt with. */
bool owner_written(struct owner *o, const struct api_reply *r)
{
	struct nats_pub_ack ack;

	if (r->rc == EB_ECANCELED) {
		return false; /* with the next connection */
	}
	if (r->rc == 0 && r->err_code == ERR_WRONG_LAST_SEQUENCE) {
		owner_read(o);
		return false;
	}
	if (r->rc != 0 || nats_pub_ack_parse(r->data, &ack) != 0 || !ack.ok) {
		if (r->rc == EB_EAGAIN) {
			o->flow->adapter->owners.ready = false;
		}
		owner_again(o, r->code ? r->description : "the owner record cannot be written");
		return false;
	}
	o->at.revision = ack.seq;
	o->valid_until_ms = valid_from(o, o->asked_ms);
	o->ours = true;
	return true;
}

/* ---- reading --------------------------------------------------------------------------------- */

static bool expired(struct owner *o)
{
	const int64_t now = clock_boot_ms();

	if (o->at.revision != o->watched) {
		o->watched = o->at.revision;
		o->watched_since_ms = now;
		return false;
	}
	return now - o->watched_since_ms >= (o->at.lease_ms > 0 ? o->at.lease_ms : lease_ms(o));
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
		owner_again(o, r->code ? r->description : "the owner record cannot be read");
		return;
	}
	o->at.holder[0] = '\0';
	if (r->code == 404) {
		o->at.revision = 0;
	} else {
		lease_read(&o->at, json_object_get(r->json, "message"));
	}
	if (o->at.holder[0] == '\0' || strcmp(o->at.holder, nf->adapter->base.env.instance) == 0 ||
	    expired(o)) {
		owner_claim(o);
	} else {
		stand_by(o, "another daemon owns the flow");
	}
}

void owner_read(struct owner *o)
{
	o->state = OWNER_READING;
	get_record(o, on_read);
}

static void on_bucket(void *ctx, int rc)
{
	struct owner *o = ctx;

	o->waits_for_bucket = false;
	if (rc == 0) {
		owner_read(o);
	} else if (rc != EB_ECANCELED) {
		owner_again(o, "the bucket of owner records cannot be created");
	}
}

void owner_begin(struct nats_flow *nf)
{
	struct owner *o = nf->owner;
	struct nats_adapter *a = nf->adapter;
	char bucket[96], news[112];

	api_cancel(a, &o->call);
	bucket_name(a, bucket);
	snprintf(news, sizeof(news), "$KV.%s.>", bucket);
	link_watch(a->link, news);
	if (o->waits_for_bucket) {
		return;
	}
	if (a->owners.ready) {
		owner_read(o);
		return;
	}
	o->waits_for_bucket = true;
	admin_bucket(a, &a->owners, bucket, 0, on_bucket, o);
}

/* ---- keeping -----------------------------------------------------------------------------------
 */

/* A renewal whose answer was lost looks like somebody else's write: it names us. */
static void on_checked(void *ctx, const struct api_reply *r)
{
	struct owner *o = ctx;
	struct lease now = {0};

	o->call = NULL;
	if (r->rc != 0 || r->code || !r->json) {
		return; /* the next renewal asks again, until the lease ends */
	}
	lease_read(&now, json_object_get(r->json, "message"));
	if (strcmp(now.holder, o->at.holder) == 0 && now.epoch == o->at.epoch) {
		o->at.revision = now.revision;
	} else {
		owner_lose(o, "another daemon took it over");
	}
}

static void on_renewed(void *ctx, const struct api_reply *r)
{
	struct owner *o = ctx;
	struct nats_pub_ack ack;

	o->call = NULL;
	if (r->rc == 0 && r->err_code == ERR_WRONG_LAST_SEQUENCE) {
		get_record(o, on_checked);
	} else if (r->rc == 0 && nats_pub_ack_parse(r->data, &ack) == 0 && ack.ok) {
		o->at.revision = ack.seq;
		o->valid_until_ms = valid_from(o, o->asked_ms);
	}
}

static void renew(struct owner *o)
{
	if (!o->call && conn_up(o->flow->adapter)) {
		o->ticks = 0;
		owner_write(o, o->flow->adapter->base.env.instance, on_renewed);
	}
}

void owner_tick(struct nats_flow *nf)
{
	struct owner *o = nf->owner;
	const uint32_t third = (uint32_t)(lease_ms(o) / 3 / NATS_TICK_MS);

	o->ticks++;
	if (o->ours && !owner_valid(nf)) {
		o->ours = false;
		owner_lose(o, "the lease could not be renewed");
	} else if (o->state == OWNER_HELD && o->ticks >= third) {
		renew(o);
	} else if (o->state == OWNER_STANDBY && o->ticks >= READ_TICKS && conn_up(nf->adapter) &&
		   !o->call) {
		o->ticks = 0;
		owner_read(o);
	}
}

void owners_on_news(struct nats_adapter *a, const char *subject)
{
	const char *key = strrchr(subject, '.');
	struct list *it, *tmp;

	list_for_each_safe (it, tmp, &a->flows) {
		struct nats_flow *nf = container_of(it, struct nats_flow, link);
		struct owner *o = nf->owner;

		if (o && o->state == OWNER_STANDBY && !o->call && key &&
		    strcmp(key + 1, nf->hash) == 0) {
			owner_read(o);
		}
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
		owner_write(o, "", NULL);
	}
	o->state = OWNER_NONE;
	o->ours = false;
}
