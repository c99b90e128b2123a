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

/* Work that a tag in a range costs, in bytes of the turn's allowance. */
#define TAG_COST 4

static void send_settled(struct session *s, uint64_t request)
{
	struct buf *out = session_out(s);
	size_t before = out->len;

	codec_write_settled(out, request, &s->set->settled, &s->set->stale);
	session_spend(s, out->len - before);
	ranges_clear(&s->set->settled);
	ranges_clear(&s->set->stale);
}

/* Wide ranges cost what is outstanding: the next frames wait for the next turn. */
static void spend(struct session *s, const struct ranges *tags)
{
	const uint64_t held = 2 * client_outstanding(s->client) + 1;
	uint64_t cost = 0;

	for (size_t i = 0; i < tags->n && cost < held; i++) {
		const uint64_t width = tags->v[i].last - tags->v[i].first;

		cost += width < held - cost ? width : held - cost;
	}
	session_spend(s, TAG_COST * (size_t)cost);
}

static void settle_all(struct session *s, const struct settle *how, bool settled, uint64_t request)
{
	struct sessions *set = s->set;
	const struct ranges *tags = &set->ack.tags;

	spend(s, tags);
	client_settle(s->client, tags->v, tags->n, how, settled ? &set->settled : NULL,
		      settled ? &set->stale : NULL);
	if (settled) {
		send_settled(s, request);
	}
}

/* ---- Ack: the hot one ------------------------------------------------------- */

void session_ack(struct session *s, struct slice body)
{
	static const struct settle ack = {.verdict = VERDICT_ACK};
	struct ack_frame *f = &s->set->ack;
	struct err_text err;

	if (codec_read_ack(body, f, &err) != 0) {
		session_fail(s, OUTCOME_PERMANENT, REASON_INVALID, "%s", err.s);
		return;
	}
	ranges_normalize(&f->tags);
	settle_all(s, &ack, f->settled, f->request);
}

/* ---- Nack and Extend -------------------------------------------------------- */

/* Into set->ack.tags. */
static bool take_ranges(struct session *s, const char *what, Eventbus__V1__Range *const *v,
			size_t n)
{
	struct ranges *tags = &s->set->ack.tags;
	size_t i;

	ranges_clear(tags);
	for (i = 0; i < n; i++) {
		if (v[i]->first > v[i]->last) {
			session_fail(s, OUTCOME_PERMANENT, REASON_INVALID,
				     "%s.tags[%zu]: first is above last", what, i);
			return false;
		}
		ranges_add(tags, v[i]->first, v[i]->last);
	}
	ranges_normalize(tags);
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
	struct settle q = {.reason = slice_str(r->reason)};
	struct answer why;

	if (!verdict_of(r, &q.verdict)) {
		session_fail(s, OUTCOME_PERMANENT, REASON_INVALID, "nack.kind: is missing");
		return;
	}
	if (!take_ranges(s, "nack", r->tags, r->n_tags)) {
		return;
	}
	if (!content_ok(r, &why)) {
		session_refuse_request(s, r->request, &why);
		return;
	}
	q.has_delay = r->delay_case == EVENTBUS__V1__NACK__DELAY_DELAY_MS;
	q.delay_ms = q.has_delay ? (int64_t)r->delay_ms : 0;
	settle_all(s, &q, r->settled, r->request);
}

void session_extend(struct session *s, const Eventbus__V1__Extend *r)
{
	struct sessions *set = s->set;
	const struct ranges *tags = &set->ack.tags;

	if (!take_ranges(s, "extend", r->tags, r->n_tags)) {
		return;
	}
	spend(s, tags);
	client_extend(s->client, tags->v, tags->n, r->settled ? &set->settled : NULL,
		      r->settled ? &set->stale : NULL);
	if (r->settled) {
		send_settled(s, r->request);
	}
}
