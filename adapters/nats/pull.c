/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pull requests: one at a time for a flow, never for more events or bytes than the daemon gave
 * credit for. One is enough: the next goes out in the turn in which the last event came.
 *
 * Happy path: pull_turn sends it; flows_on_event takes what it brings until nothing is left of it.
 * Failure modes: it expires (408), or the next event is larger than the bytes that are left (409):
 * closed, asked again, for that one event alone when it would never fit. The consumer was deleted
 * (409), or two heartbeats stay away: consumer.c looks and makes it again. What comes for a flow
 * that is gone is given back. An event that we hold already only renews what must be acked.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapters/nats/flow.h"
#include "base/topic.h"

#define GIVE_BACK      "-NAK {\"delay\":200000000}"
#define QUIET_TICKS    (2 * NATS_PULL_BEAT_MS / NATS_TICK_MS + 5)
#define OVER_TICKS     (NATS_PULL_EXPIRES_MS / NATS_TICK_MS + 10)
#define BACK_OFF_TICKS 5

void pull_close(struct nats_flow *nf)
{
	nf->pull.open = false;
	nf->pull.left = 0;
}

static size_t write_request(const struct nats_flow *nf, char *out, size_t size)
{
	const uint64_t ns = 1000000;
	int n;

	if (nf->pull.single) {
		n = snprintf(out, size, "{\"batch\":1,");
	} else {
		n = snprintf(out, size, "{\"batch\":%" PRIu32 ",\"max_bytes\":%zu,", nf->pull.left,
			     nf->credit.bytes > INT32_MAX ? (size_t)INT32_MAX : nf->credit.bytes);
	}
	n += snprintf(out + n, size - (size_t)n,
		      "\"expires\":%" PRIu64 ",\"idle_heartbeat\":%" PRIu64 "}",
		      NATS_PULL_EXPIRES_MS * ns, NATS_PULL_BEAT_MS * ns);
	return (size_t)n;
}

static bool may_pull(struct nats_flow *nf)
{
	if (nf->pull.open || nf->reset || nf->stalled || nf->credit.events == 0 ||
	    nf->credit.bytes == 0 || nf->n_ready > 0 || !conn_up(nf->adapter) ||
	    nf->pull.wait_ticks > 0) {
		return false;
	}
	return !nf->ordered || owner_valid(nf);
}

void pull_turn(struct nats_flow *nf)
{
	struct nats_adapter *a = nf->adapter;
	char subject[NATS_SUBJECT_MAX + NATS_NAME_MAX], reply[96], body[160];
	natsConnection *nc = link_nc(a->link);
	size_t n;

	if (!may_pull(nf) || !nc) {
		return;
	}
	nf->pull.single = nf->pull_single;
	nf->pull.left = nf->pull.single ? 1 : nf->credit.events;
	nf->pull_single = false;
	n = write_request(nf, body, sizeof(body));
	snprintf(subject, sizeof(subject), "%s.CONSUMER.MSG.NEXT.%s.%s", a->api_prefix,
		 a->options->stream, nf->consumer);
	snprintf(reply, sizeof(reply), "%sf.%" PRIu64 ".%" PRIu64, link_inbox(a->link), nf->id,
		 ++nf->pull.id);
	if (natsConnection_PublishRequest(nc, subject, reply, body, (int)n) != NATS_OK) {
		return; /* the connection is on its way down */
	}
	nf->pull.open = true;
	nf->pull.ticks = nf->pull.silent_ticks = 0;
}

void pull_tick(struct nats_flow *nf)
{
	if (nf->pull.wait_ticks > 0 && --nf->pull.wait_ticks == 0) {
		flow_mark(nf);
	}
	if (!nf->pull.open) {
		return;
	}
	nf->pull.ticks++;
	if (++nf->pull.silent_ticks >= QUIET_TICKS || nf->pull.ticks >= OVER_TICKS) {
		/* Nobody serves it: whether the consumer lives is the question. */
		pull_close(nf);
		nf->pull.wait_ticks = BACK_OFF_TICKS;
		consumer_look(nf);
	}
}

/* ---- statuses ------------------------------------------------------------------------- */

static const char *header(natsMsg *msg, const char *key)
{
	const char *value = NULL;

	return natsMsgHeader_Get(msg, key, &value) == NATS_OK && value ? value : "";
}

static void on_conflict(struct nats_flow *nf, const char *text)
{
	if (strcasestr(text, "exceeds maxbytes")) {
		/* The first event after a credit always fits; any other waits for the next credit.
		 */
		nf->pull_single = nf->fresh_credit;
		nf->stalled = !nf->fresh_credit;
	} else if (strcasestr(text, "deleted") || strcasestr(text, "push based")) {
		flow_again(nf, "the consumer was deleted");
	} else {
		log_repeated(&nf->log, LOG_LEVEL_WARN, nf->adapter->base.tag,
			     "a pull request ended: %s consumer=%s", text, nf->consumer);
		nf->pull.wait_ticks = BACK_OFF_TICKS;
	}
}

void flows_on_status(struct nats_adapter *a, struct slice token, natsMsg *msg)
{
	char text[48];
	uint64_t id, pull;
	struct nats_flow *nf;
	const char *status = header(msg, "Status");

	if (token.n >= sizeof(text)) {
		return;
	}
	memcpy(text, token.p, token.n);
	text[token.n] = '\0';
	if (sscanf(text, "%" SCNu64 ".%" SCNu64, &id, &pull) != 2) {
		return;
	}
	nf = flow_by_id(a, id);
	if (!nf || !nf->pull.open || nf->pull.id != pull) {
		return;
	}
	nf->pull.silent_ticks = 0;
	if (strcmp(status, "100") == 0) {
		return;
	}
	pull_close(nf);
	flow_mark(nf);
	if (strcmp(status, "409") == 0) {
		on_conflict(nf, header(msg, "Description"));
	} else if (strcmp(status, "408") != 0 && strcmp(status, "404") != 0) {
		on_conflict(nf, header(msg, "Description"));
	}
}

/* ---- events --------------------------------------------------------------------------- */

/* What this flow cannot deliver: NULL when it can, else what is said to the server. */
static const char *undeliverable(struct nats_flow *nf, const struct event *e, const char *subject)
{
	struct nats_adapter *a = nf->adapter;

	if (!e) {
		a->unrepresentable++;
		log_repeated(
			&a->foreign_log, LOG_LEVEL_WARN, a->base.tag,
			"event terminated: its topic breaks the grammar subject=%s total=%" PRIu64,
			subject, a->unrepresentable);
		return "+TERM";
	}
	/* Wildcards leave dlq.* out; Connectum's do not, and its events stay in its group. */
	if (nf->flow->spec.interop == INTEROP_NONE &&
	    !pattern_matches(slice_str(nf->flow->spec.pattern), e->topic)) {
		return "+ACK";
	}
	return NULL;
}

static void take_new(struct nats_flow *nf, natsMsg *msg, const struct nats_ack_subject *ack,
		     bool again)
{
	struct nats_adapter *a = nf->adapter;
	bool repaired = false;
	struct event *e = headers_event(a, msg, ack, &repaired);
	const char *verdict = undeliverable(nf, e, natsMsg_GetSubject(msg));
	struct held *h;

	if (repaired) {
		a->repaired++;
		log_repeated(&a->foreign_log, LOG_LEVEL_INFO, a->base.tag,
			     "foreign event repaired seq=%" PRIu64 " total=%" PRIu64,
			     ack->stream_seq, a->repaired);
	}
	if (verdict) {
		event_unref(e);
		ack_directly(a, natsMsg_GetReply(msg), verdict);
		return;
	}
	h = held_create(nf, ack);
	h->event = e;
	h->lookup = nf->durable[0] && (again || ack->stream_seq <= nf->suspect_until);
	if (h->lookup) {
		failures_read(h);
	}
	list_push_back(&nf->ready, &h->link);
	nf->n_ready++;
}

/* It was given back to the server and comes again. */
static void take_again(struct held *h, natsMsg *msg, const struct nats_ack_subject *ack)
{
	struct nats_flow *nf = h->flow;
	bool repaired;

	held_refresh(h, ack);
	h->event = headers_event(nf->adapter, msg, ack, &repaired);
	h->state = HELD_READY;
	list_push_back(&nf->ready, &h->link);
	nf->n_ready++;
}

static void take(struct nats_flow *nf, natsMsg *msg, const struct nats_ack_subject *ack)
{
	struct held *h = held_find(nf, ack->stream_seq);

	nf->pull.silent_ticks = 0;
	nf->fresh_credit = false;
	if (nf->pull.open && --nf->pull.left == 0) {
		nf->pull.open = false;
	}
	nf->flow->lag = ack->pending;
	nf->flow->lag_known = true;
	flow_mark(nf);
	if (h && h->state == HELD_RELEASED && !nf->reset) {
		take_again(h, msg, ack);
	} else if (h) {
		held_refresh(h, ack);
	} else if (nf->reset) {
		return; /* it stands behind something that was given back, and comes again after it
			 */
	} else if (nf->exclusive && ack->stream_seq <= nf->last) {
		ack_directly(nf->adapter, natsMsg_GetReply(msg), "+ACK");
	} else {
		/* New events come in order: what lies below the last one was somewhere before. */
		const bool again = ack->delivered > 1 || ack->stream_seq <= nf->last;

		nf->last = ack->stream_seq > nf->last ? ack->stream_seq : nf->last;
		take_new(nf, msg, ack, again);
	}
}

void flows_on_event(struct nats_adapter *a, natsMsg *msg)
{
	const char *reply = natsMsg_GetReply(msg);
	struct nats_ack_subject ack;
	struct nats_flow *nf;

	if (reply && nats_ack_subject_parse(slice_str(reply), &ack)) {
		nf = flow_by_consumer(a, ack.consumer);
		if (nf) {
			take(nf, msg, &ack);
		} else {
			ack_directly(a, reply, GIVE_BACK);
		}
	}
}
