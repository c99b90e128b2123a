/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handing out and settling on the memory bus.
 *
 * Happy path: a flow that is ready is visited in a later turn and delivers up to its credit, what
 * was given back first, in the order of sequence. Every event handed out is a hold, which is the
 * handle; an acknowledgement frees it.
 *
 * Failure modes: a hold that is given back keeps its failures; one that is parked sits in the
 * timer wheel until its time. An event that does not fit the bytes of the credit stalls the flow
 * until new credit comes, so that nothing overtakes it.
 */
#include <assert.h>
#include <stdio.h>

#include "adapters/memory_impl.h"

#define PARK_MAX_MS ((int64_t)10 * 365 * 24 * 3600 * 1000)

/* ---- out ------------------------------------------------------------------- */

bool memory_flow_has_work(const struct memory_flow *m)
{
	if (!m->f || !m->live) {
		return false;
	}
	return m->tell_live || m->tell_gap || m->lost > 0 ||
	       (m->credit.events > 0 && !m->stalled && (m->returned.count || m->pending.count));
}

/* The next one in the order of sequence: what was handed out before is always older. */
static struct memory_entry *peek(const struct memory_flow *m)
{
	const struct memory_hold *h = memory_heap_top(&m->returned);

	return h ? memory_hold_entry(h) : memory_ring_at(&m->pending, 0);
}

static struct memory_hold *take(struct memory_flow *m)
{
	struct memory_hold *h = memory_heap_pop(&m->returned);

	if (h) {
		h->state = HOLD_OUT;
		return h;
	}
	return memory_hold_create(m, memory_ring_pop(&m->pending));
}

/* What is delivered next was stored a while ago: on its way to the cache before its turn. */
static void look_ahead(const struct memory_flow *m)
{
	if (m->pending.count > 8) {
		const struct memory_entry *e = memory_ring_at(&m->pending, 4);

		__builtin_prefetch(memory_ring_at(&m->pending, 8));
		__builtin_prefetch(e->event);
		__builtin_prefetch((const char *)e->event + 64);
	}
}

static uint32_t collect(struct memory_flow *m, struct delivery *out)
{
	const uint64_t epoch = m->f->spec.order == ORDER_NONE ? 0 : 1;
	const size_t before = memory_flow_footprint(m);
	uint32_t n = 0;

	while (n < MEMORY_DELIVER && m->credit.events > 0 &&
	       (m->returned.count || m->pending.count)) {
		struct memory_entry *e = peek(m);
		const size_t size = e->bytes - MEMORY_OVERHEAD;

		look_ahead(m);
		if (size > m->credit.bytes && !m->fresh_credit) {
			m->stalled = true;
			break;
		}
		m->fresh_credit = false;
		m->credit.events--;
		m->credit.bytes -= size < m->credit.bytes ? size : m->credit.bytes;
		struct memory_hold *h = take(m);
		__builtin_prefetch(e->event->raw.p);
		out[n++] = (struct delivery){.event = event_ref(e->event),
					     .handle = h,
					     .failures = h->record ? h->record->failures
								   : (struct failures){0},
					     .position = {.a = e->log.seq},
					     .epoch = epoch};
	}
	m->bus->queue_bytes += memory_flow_footprint(m) - before;
	memory_flow_update_lag(m);
	return n;
}

/* Fills the next note of this flow; false when there is none. */
static bool next_note(struct memory_flow *m, struct flow_note *note)
{
	*note = (struct flow_note){0};
	if (m->tell_live) {
		m->tell_live = false;
		note->event = FLOW_LIVE;
		note->position_existed = m->existed;
		note->epoch = m->f->spec.order == ORDER_NONE ? 0 : 1;
		return true;
	}
	if (m->tell_gap) {
		m->tell_gap = false;
		note->event = FLOW_GAP;
		snprintf(note->why, sizeof(note->why),
			 "events behind the start position have left the history");
		return true;
	}
	if (m->lost > 0) {
		note->event = FLOW_LOST;
		note->lost = m->lost;
		m->lost = 0;
		snprintf(note->why, sizeof(note->why),
			 "the history was full, or the group had no member for too long");
		return true;
	}
	return false;
}

uint32_t memory_flow_step(struct memory_flow *m)
{
	struct flow *f = m->f;
	struct delivery *out = m->bus->out;
	struct flow_note note;
	const bool noted = next_note(m, &note);
	const uint32_t n = noted ? 0 : collect(m, out);

	memory_flow_schedule(m);
	if (noted) {
		adapter_tell_flow(f, &note);
	} else if (n > 0) {
		adapter_tell_deliver(f, out, n);
	}
	return n;
}

void memory_credit(struct adapter *a, struct flow *f, struct credit now)
{
	struct memory_flow *m = f->impl;

	(void)a;
	if (m) {
		m->credit = now;
		m->fresh_credit = true;
		m->stalled = false;
		memory_flow_schedule(m);
	}
}

/* ---- back ------------------------------------------------------------------ */

static void give_back(struct memory_hold *h)
{
	struct memory_flow *m = h->flow;
	const size_t before = memory_flow_footprint(m);

	h->state = HOLD_RETURNED;
	memory_heap_push(&m->returned, memory_hold_entry(h)->log.seq, h);
	m->bus->queue_bytes += memory_flow_footprint(m) - before;
	m->stalled = false;
	memory_flow_schedule(m);
}

static void park(struct memory_hold *h, struct wheel_entry *timer, int64_t delay_ms)
{
	struct memory_bus *b = h->flow->bus;

	if (delay_ms <= 0) {
		give_back(h);
		return;
	}
	const int64_t delay = delay_ms < PARK_MAX_MS ? delay_ms : PARK_MAX_MS;
	const int64_t due = (int64_t)uv_now(b->base.env.loop) + delay;
	h->state = HOLD_PARKED;
	h->flow->parked++;
	wheel_add(&b->wheel, timer, due);
	memory_timer(b, due);
}

void memory_parked_return(struct memory_bus *b)
{
	struct list *item;

	for (uint32_t n = 0; n < MEMORY_SLICE && (item = list_pop_front(&b->expired)); n++) {
		struct wheel_entry *w = container_of(item, struct wheel_entry, link);
		struct memory_record *r = container_of(w, struct memory_record, park);

		r->hold->flow->parked--;
		give_back(r->hold);
	}
}

static void settle_one(struct memory_bus *b, struct flow *f, const struct settlement *s)
{
	struct memory_hold *h = s->handle;

	assert(h->state == HOLD_OUT && h->flow->f == f);
	switch (s->kind) {
	case SETTLE_ACK:
		memory_hold_free(h);
		return;
	case SETTLE_RELEASE:
		give_back(h);
		return;
	case SETTLE_RETRY:
		memory_hold_record(h, &s->failures);
		break;
	case SETTLE_PARK:
		park(h, &memory_hold_record(h, &s->failures)->park, s->delay_ms);
		break;
	}
	if (s->ctx) {
		memory_notice(b, NOTICE_RECORDED, f, s->ctx);
	}
}

void memory_settle(struct adapter *a, struct flow *f, const struct settlement *items, uint32_t n)
{
	struct memory_bus *b = memory_bus_of(a);

	for (uint32_t i = 0; i < n; i++) {
		settle_one(b, f, &items[i]);
	}
	memory_flow_update_lag(f->impl);
	memory_account(b);
}
