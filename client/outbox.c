/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Publishes on their way: a ring of entries in the order of the calls, whose bytes lie in chunks.
 *
 * Happy path: eventbus_publish writes the encoded event into the last chunk; outbox_send.c
 * copies runs of them into frames, within the daemon's credit; Published answers them; the oldest
 * ones leave and their chunk goes with the last of them. Failure modes: the connection is lost ->
 * what was sent is queued again, same order, same ids; the daemon drains -> what it refused is
 * queued again and waits for the next connection; the time is over -> the callback hears of it, but
 * an entry that was sent stays until the daemon has answered, because it uses up credit.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "client/internal.h"

#define CHUNK_SIZE    ((size_t)256 << 10)
#define FIRST_ENTRIES 256

struct outbox_chunk {
	struct outbox_chunk *next;
	size_t used, size;
	size_t entries; /* that point into it */
	uint8_t bytes[];
};

void ebus_outbox_init(struct outbox *o)
{
	*o = (struct outbox){.head_sequence = 1, .cap = FIRST_ENTRIES};
	o->ring = xcalloc(o->cap, sizeof(*o->ring));
}

static void grow(struct outbox *o)
{
	struct outbox_entry *ring = xcalloc(o->cap * 2, sizeof(*ring));

	for (size_t i = 0; i < o->count; i++) {
		ring[i] = *ebus_outbox_entry(o, i);
	}
	free(o->ring);
	o->ring = ring;
	o->head = 0;
	o->cap *= 2;
}

/* ---- bytes ------------------------------------------------------------------- */

static uint8_t *reserve(struct outbox *o, size_t n)
{
	struct outbox_chunk *c = o->tail;

	if (c && c->size - c->used >= n) {
		return c->bytes + c->used;
	}
	if (c && c->entries == 0) {
		free(c); /* nobody else would */
	}
	if (o->spare && n <= o->spare->size) {
		c = o->spare;
		o->spare = NULL;
	} else {
		size_t size = n > CHUNK_SIZE ? n : CHUNK_SIZE;

		c = xmalloc(sizeof(*c) + size);
		c->size = size;
	}
	c->used = c->entries = 0;
	o->tail = c;
	return c->bytes;
}

static void release(struct outbox *o, struct outbox_chunk *c)
{
	if (--c->entries) {
		return;
	}
	c->used = 0;
	if (c == o->tail) {
		return;
	}
	if (!o->spare && c->size == CHUNK_SIZE) {
		o->spare = c;
	} else {
		free(c);
	}
}

/* ---- leaving ----------------------------------------------------------------- */

/* The oldest entries that are answered leave. Not while a caller holds an index. */
void ebus_outbox_shed(struct outbox *o)
{
	size_t n = 0;

	while (n < o->count && ebus_outbox_entry(o, n)->state == OUTBOX_DONE) {
		struct outbox_entry *e = ebus_outbox_entry(o, n++);

		o->bytes -= e->size;
		release(o, e->chunk);
	}
	o->head = (o->head + n) & (o->cap - 1);
	o->count -= n;
	o->head_sequence += n;
	o->next = o->next > n ? o->next - n : 0;
	o->expired = o->expired > n ? o->expired - n : 0;
}

void ebus_outbox_finish(struct outbox *o)
{
	for (size_t i = 0; i < o->count; i++) {
		release(o, ebus_outbox_entry(o, i)->chunk);
	}
	free(o->tail);
	free(o->spare);
	free(o->ring);
	*o = (struct outbox){0};
}

/* Calls out: the ring may grow meanwhile, so e is void afterwards. */
void ebus_outbox_tell(struct eventbus *c, struct outbox_entry *e, const struct eventbus_result *r)
{
	struct eventbus_result result = *r;

	if (e->told) {
		return;
	}
	e->told = true;
	c->outbox.untold--;
	if (e->cb) {
		result.id = ebus_message_id(e->bytes);
		e->cb(e->ctx, &result);
	}
}

static void credit_back(struct outbox *o, struct outbox_entry *e)
{
	if (e->state == OUTBOX_SENT) {
		o->sent_events--;
		o->sent_bytes -= e->event_size;
	}
}

static void answer(struct eventbus *c, size_t i, const struct eventbus_result *r)
{
	struct outbox_entry *e = ebus_outbox_entry(&c->outbox, i);

	if (e->state != OUTBOX_SENT) {
		return;
	}
	credit_back(&c->outbox, e);
	e->state = OUTBOX_DONE;
	ebus_outbox_tell(c, e, r);
}

/* ---- what the daemon says ----------------------------------------------------- */

static void set_credit(struct outbox *o, const Eventbus__V1__Credit *credit)
{
	if (credit) {
		o->credit_events = credit->events;
		o->credit_bytes = credit->bytes;
	}
}

void ebus_outbox_welcome(struct eventbus *c, const Eventbus__V1__Welcome *w)
{
	struct outbox *o = &c->outbox;

	o->held = false;
	o->credit_events = 0;
	o->credit_bytes = 0;
	set_credit(o, w->credit);
	o->full_bytes = o->credit_bytes;
}

/* Clamps a range of sequences to the ring: *first <= i < *end, false if nothing is left. */
static bool indexes(const struct outbox *o, uint64_t first, uint64_t last, size_t *begin,
		    size_t *end)
{
	uint64_t ring_end = o->head_sequence + o->count;

	if (first < o->head_sequence) {
		first = o->head_sequence;
	}
	if (last >= ring_end) {
		last = ring_end - 1;
	}
	if (last < first || first >= ring_end) {
		return false;
	}
	*begin = (size_t)(first - o->head_sequence);
	*end = (size_t)(last - o->head_sequence) + 1;
	return true;
}

/* The daemon drains and did not take it: it waits for the next connection. */
static void hold(struct outbox *o, size_t i)
{
	struct outbox_entry *e = ebus_outbox_entry(o, i);

	if (e->state == OUTBOX_SENT) {
		credit_back(o, e);
		e->state = e->told ? OUTBOX_DONE : OUTBOX_QUEUED;
		o->held = true;
	}
}

static void failed(struct eventbus *c, size_t begin, size_t end, const struct eventbus_result *r)
{
	for (size_t i = begin; i < end; i++) {
		if (r->reason == EVENTBUS_REASON_DRAINING && r->outcome == EVENTBUS_NOT_STORED) {
			hold(&c->outbox, i);
		} else {
			answer(c, i, r);
		}
	}
}

static struct eventbus_result result_of(int outcome, int reason, const char *text)
{
	struct eventbus_result r = {.text = text && *text ? text : "refused", .position = ""};

	r.outcome = outcome >= EVENTBUS_NOT_STORED && outcome <= EVENTBUS_PERMANENT
			    ? (enum eventbus_outcome)outcome
			    : EVENTBUS_UNKNOWN;
	r.reason = (enum eventbus_reason)reason;
	return r;
}

void ebus_outbox_published(struct eventbus *c, const Eventbus__V1__Published *p)
{
	static const struct eventbus_result stored = {.text = "", .position = ""};
	struct outbox *o = &c->outbox;
	size_t begin, end;

	set_credit(o, p->credit);
	for (size_t i = 0; i < p->n_positions; i++) {
		const Eventbus__V1__PublishPosition *at = p->positions[i];
		struct eventbus_result r = stored;

		r.position = at->position;
		r.duplicate = at->duplicate;
		if (indexes(o, at->sequence, at->sequence, &begin, &end)) {
			answer(c, begin, &r);
		}
	}
	for (size_t i = 0; i < p->n_confirmed; i++) {
		if (!indexes(o, p->confirmed[i]->first, p->confirmed[i]->last, &begin, &end)) {
			continue;
		}
		for (; begin < end; begin++) {
			answer(c, begin, &stored);
		}
	}
	for (size_t i = 0; i < p->n_failures; i++) {
		const Eventbus__V1__PublishFailure *f = p->failures[i];
		struct eventbus_result r = result_of((int)f->outcome, (int)f->reason, f->text);

		if (f->range && indexes(o, f->range->first, f->range->last, &begin, &end)) {
			failed(c, begin, end, &r);
		}
	}
	ebus_outbox_shed(o);
}

void ebus_outbox_refused(struct eventbus *c, uint64_t sequence, const struct eventbus_result *why)
{
	struct outbox *o = &c->outbox;
	size_t begin, end;

	if (!indexes(o, sequence, sequence, &begin, &end)) {
		return;
	}
	while (end < o->count && ebus_outbox_entry(o, end)->state == OUTBOX_SENT &&
	       !ebus_outbox_entry(o, end)->opens_frame) {
		end++;
	}
	failed(c, begin, end, why);
	ebus_outbox_shed(o);
}

/* ---- the connection, the time --------------------------------------------------- */

void ebus_outbox_lost(struct eventbus *c)
{
	struct outbox *o = &c->outbox;

	for (size_t i = 0; i < o->count; i++) {
		struct outbox_entry *e = ebus_outbox_entry(o, i);

		if (e->state == OUTBOX_SENT) {
			e->state = e->told ? OUTBOX_DONE : OUTBOX_QUEUED;
		}
	}
	o->next = 0;
	o->sent_events = 0;
	o->sent_bytes = 0;
	ebus_outbox_shed(o);
}

static struct eventbus_result given_up(const struct outbox_entry *e, const char *text)
{
	return (struct eventbus_result){
		.outcome = e->was_sent ? EVENTBUS_UNKNOWN : EVENTBUS_NOT_STORED,
		.reason = EVENTBUS_REASON_NOT_CONNECTED,
		.text = text,
		.position = "",
	};
}

static void give_up(struct eventbus *c, size_t i, const char *text)
{
	struct outbox_entry *e = ebus_outbox_entry(&c->outbox, i);
	struct eventbus_result r = given_up(e, text);

	if (e->state == OUTBOX_QUEUED) {
		e->state = OUTBOX_DONE;
	}
	ebus_outbox_tell(c, e, &r);
}

void ebus_outbox_timers(struct eventbus *c)
{
	struct outbox *o = &c->outbox;

	if (c->o.publish_timeout_ms <= 0) {
		return;
	}
	while (o->expired < o->count &&
	       (ebus_outbox_entry(o, o->expired)->told ||
		ebus_outbox_entry(o, o->expired)->queued_ms + c->o.publish_timeout_ms <=
			c->now_ms)) {
		give_up(c, o->expired++, "no answer within the publish timeout");
	}
	ebus_outbox_shed(o);
}

int64_t ebus_outbox_due_ms(const struct eventbus *c)
{
	const struct outbox *o = &c->outbox;

	if (c->o.publish_timeout_ms <= 0 || o->expired >= o->count) {
		return NEVER;
	}
	return ebus_outbox_entry(o, o->expired)->queued_ms + c->o.publish_timeout_ms;
}

void ebus_outbox_give_up(struct eventbus *c)
{
	for (size_t i = 0; i < c->outbox.count; i++) {
		give_up(c, i, "the client was closed");
	}
}

/* ---- the call -------------------------------------------------------------------- */

static int admit(struct eventbus *c, const struct message_sizes *s)
{
	const struct outbox *o = &c->outbox;

	if (c->destroyed) {
		return ebus_fail(c, EVENTBUS_ESTATE, "the client is being destroyed");
	}
	if (s->field + OUTBOX_FRAME_OVERHEAD > c->max_frame) {
		return ebus_fail(c, EVENTBUS_ETOOBIG,
				 "the event takes %zu bytes, the largest frame has %zu", s->field,
				 c->max_frame);
	}
	if (o->count >= c->o.queue_events || (o->count && o->bytes + s->field > c->o.queue_bytes)) {
		return ebus_fail(c, EVENTBUS_EAGAIN,
				 "the publish queue is full (%zu events, %zu bytes)", o->count,
				 o->bytes);
	}
	return 0;
}

int eventbus_publish(struct eventbus *c, const struct eventbus_message *m, eventbus_published_cb cb,
		     void *ctx)
{
	struct outbox *o = &c->outbox;
	struct message_sizes s;
	struct outbox_entry *e;
	struct err_text err;
	uint8_t *p;
	int rc;

	rc = ebus_message_measure(m, &s, &err);
	if (rc) {
		return ebus_fail(c, rc, "%s", err.s);
	}
	rc = admit(c, &s);
	if (rc) {
		return rc;
	}
	if (o->count == o->cap) {
		grow(o);
	}
	p = reserve(o, s.field);
	e = ebus_outbox_entry(o, o->count++);
	*e = (struct outbox_entry){.bytes = p, .chunk = o->tail, .cb = cb, .ctx = ctx};
	e->size = (uint32_t)(ebus_message_write(m, &s, p) - p);
	e->event_size = ebus_message_event_size(p, e->size);
	e->queued_ms = c->o.publish_timeout_ms > 0 ? clock_mono_ms() : 0;
	o->tail->used += e->size;
	o->tail->entries++;
	o->bytes += e->size;
	o->untold++;
	ebus_wake(c);
	return 0;
}

size_t eventbus_unconfirmed(const struct eventbus *c)
{
	return c->outbox.untold;
}
