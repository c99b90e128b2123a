/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ack, Nack and Extend. Ranges cost what is outstanding, not their width. A request whose
 * content is wrong is refused as a whole, before anything of it is settled.
 */
#include "daemon/session_impl.h"

#include <inttypes.h>
#include <string.h>

#define NACK_REASON_MAX	  1024
#define NACK_DELAY_MAX_MS ((uint64_t)24 * 3600 * 1000)

static void send_settled(struct session *s, uint64_t request)
{
	struct buf *out = session_out(s);
	size_t before = out->len;

	codec_write_settled(out, request, &s->set->settled, &s->set->stale);
	session_spend(s, out->len - before);
	ranges_clear(&s->set->settled);
	ranges_clear(&s->set->stale);
}

/* ---- Ack: the hot one ------------------------------------------------------- */

void session_ack(struct session *s, struct slice body)
{
	static const struct settle ack = {.verdict = VERDICT_ACK};
	struct sessions *set = s->set;
	struct ack_frame *f = &set->ack;
	struct err_text err;
	size_t i;

	if (codec_read_ack(body, f, &err) != 0) {
		session_fail(s, OUTCOME_PERMANENT, REASON_INVALID, "%s", err.s);
		return;
	}
	for (i = 0; i < f->tags.n; i++) {
		client_settle(s->client, f->tags.v[i].first, f->tags.v[i].last, &ack,
			      f->settled ? &set->settled : NULL, f->settled ? &set->stale : NULL);
	}
	if (f->settled) {
		send_settled(s, f->request);
	}
}

/* ---- Nack and Extend -------------------------------------------------------- */

static bool ranges_ok(struct session *s, const char *what, Eventbus__V1__Range *const *v, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++) {
		if (v[i]->first > v[i]->last) {
			session_fail(s, OUTCOME_PERMANENT, REASON_INVALID,
				     "%s.tags[%zu]: first is above last", what, i);
			return false;
		}
	}
	return true;
}

static bool verdict_of(const Eventbus__V1__Nack *r, enum verdict *out)
{
	switch (r->kind) {
	case EVENTBUS__V1__NACK_CLASS__NACK_CLASS_RETRY:
		*out = VERDICT_RETRY;
		return true;
	case EVENTBUS__V1__NACK_CLASS__NACK_CLASS_REJECT:
		*out = VERDICT_REJECT;
		return true;
	case EVENTBUS__V1__NACK_CLASS__NACK_CLASS_RELEASE:
		*out = VERDICT_RELEASE;
		return true;
	case EVENTBUS__V1__NACK_CLASS__NACK_CLASS_DROP:
		*out = VERDICT_DROP;
		return true;
	default:
		return false;
	}
}

static bool content_ok(const Eventbus__V1__Nack *r, struct answer *why)
{
	const char *text = NULL;

	if (strlen(r->reason) > NACK_REASON_MAX) {
		text = "nack.reason: longer than 1024 bytes";
	} else if (r->delay_case == EVENTBUS__V1__NACK__DELAY_DELAY_MS) {
		if (r->kind != EVENTBUS__V1__NACK_CLASS__NACK_CLASS_RETRY) {
			text = "nack.delay_ms: only with NACK_CLASS_RETRY";
		} else if (r->delay_ms > NACK_DELAY_MAX_MS) {
			text = "nack.delay_ms: longer than 24 hours";
		}
	}
	if (text) {
		answer_set(why, OUTCOME_PERMANENT, REASON_INVALID, "%s", text);
	}
	return text == NULL;
}

void session_nack(struct session *s, const Eventbus__V1__Nack *r)
{
	struct sessions *set = s->set;
	struct settle q = {.reason = slice_str(r->reason)};
	struct answer why;
	size_t i;

	if (!verdict_of(r, &q.verdict)) {
		session_fail(s, OUTCOME_PERMANENT, REASON_INVALID, "nack.kind: is missing");
		return;
	}
	if (!ranges_ok(s, "nack", r->tags, r->n_tags)) {
		return;
	}
	if (!content_ok(r, &why)) {
		session_refuse_request(s, r->request, &why);
		return;
	}
	q.has_delay = r->delay_case == EVENTBUS__V1__NACK__DELAY_DELAY_MS;
	q.delay_ms = q.has_delay ? (int64_t)r->delay_ms : 0;
	for (i = 0; i < r->n_tags; i++) {
		client_settle(s->client, r->tags[i]->first, r->tags[i]->last, &q,
			      r->settled ? &set->settled : NULL, r->settled ? &set->stale : NULL);
	}
	if (r->settled) {
		send_settled(s, r->request);
	}
}

void session_extend(struct session *s, const Eventbus__V1__Extend *r)
{
	struct sessions *set = s->set;
	size_t i;

	if (!ranges_ok(s, "extend", r->tags, r->n_tags)) {
		return;
	}
	for (i = 0; i < r->n_tags; i++) {
		client_extend(s->client, r->tags[i]->first, r->tags[i]->last,
			      r->settled ? &set->settled : NULL, r->settled ? &set->stale : NULL);
	}
	if (r->settled) {
		send_settled(s, r->request);
	}
}
