/* SPDX-License-Identifier: Apache-2.0 */
/* How much more a feed takes from its broker: what its members have room for, within the window
 * that retries and closed keys spend, and within memory. */
#include <assert.h>
#include <stdio.h>

#include "daemon/feed.h"

#define TRICKLE_EVENTS 16u
#define TRICKLE_BYTES  65536u

/* ---- the retry window ---------------------------------------------------------- */

void feed_window_add(struct flight *fl)
{
	assert(!fl->windowed);
	fl->windowed = true;
	fl->feed->n_windowed++;
	fl->feed->windowed_bytes += fl->size;
}

void feed_window_remove(struct flight *fl)
{
	if (fl->windowed) {
		fl->windowed = false;
		fl->feed->n_windowed--;
		fl->feed->windowed_bytes -= fl->size;
		feed_mark(fl->feed);
	}
}

bool feed_window_full(const struct feed *f)
{
	const struct policy *p = &f->policy->policy;

	return f->n_windowed + f->gate.n_gated >= p->window_events ||
	       f->windowed_bytes + f->gate.gated_bytes >= (uint64_t)p->window_bytes;
}

/* Told with some slack, so that a window that hovers at its limit does not chatter. */
static void check_window(struct feed *f)
{
	const struct policy *p = &f->policy->policy;
	const uint64_t events = f->n_windowed + f->gate.n_gated;
	const uint64_t bytes = f->windowed_bytes + f->gate.gated_bytes;
	const bool parks =
		adapter_capabilities(f->broker->adapter)->park && f->group->order == ORDER_NONE;

	if (f->n_windowed > 0 && !parks && feed_window_full(f)) {
		snprintf(f->why_window, sizeof(f->why_window),
			 "retry window full: no new events until retries have ended "
			 "(retry.window_events: %u, retry.window_bytes: %lld)",
			 (unsigned)p->window_events, (long long)p->window_bytes);
		feed_problem(f, FEED_WINDOW, true);
	} else if (events <= p->window_events - p->window_events / 8 &&
		   bytes <= (uint64_t)(p->window_bytes - p->window_bytes / 8)) {
		feed_problem(f, FEED_WINDOW, false);
	}
}

/* ---- credit ---------------------------------------------------------------------- */

static uint64_t at_most(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t minus(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

/* A broker's events come out of the budget; those of the memory bus are in it already. */
static void squeeze(struct feed *f, uint64_t *events, uint64_t *bytes)
{
	struct bus *b = f->bus;
	const size_t share = b->o.budget->limit / 2 / (b->n_feeds ? b->n_feeds : 1);

	list_remove(&f->squeezed);
	if (!adapter_capabilities(f->broker->adapter)->durable) {
		return;
	}
	*bytes = at_most(*bytes, share > TRICKLE_BYTES ? share : TRICKLE_BYTES);
	if (bus_memory_short(b)) {
		*events = at_most(*events, minus(TRICKLE_EVENTS, f->n_flights));
		*bytes = at_most(*bytes, TRICKLE_BYTES);
		list_push_back(&b->squeezed, &f->squeezed);
	}
}

static struct credit wanted_credit(struct feed *f)
{
	const struct policy *p = &f->policy->policy;
	const bool ordered = f->group->order != ORDER_NONE;
	const bool parks = adapter_capabilities(f->broker->adapter)->park && !ordered;
	uint64_t events = minus(f->free_events, f->n_ready);
	uint64_t bytes = minus(f->free_bytes, f->ready_bytes);

	if (f->bus->draining || f->bus->stopping || (!parks && feed_window_full(f))) {
		return (struct credit){0, 0};
	}
	if (ordered) {
		events = at_most(events, p->window_events - f->n_windowed - f->gate.n_gated);
		bytes = at_most(bytes, (uint64_t)p->window_bytes - f->windowed_bytes -
					       f->gate.gated_bytes);
	}
	events = at_most(events, minus(f->flow.spec.max_events, f->n_flights));
	squeeze(f, &events, &bytes);
	if (events == 0 || bytes == 0) {
		return (struct credit){0, 0};
	}
	return (struct credit){(uint32_t)at_most(events, UINT32_MAX), (size_t)bytes};
}

void feed_credit(struct feed *f)
{
	struct credit now;

	check_window(f);
	if (f->state == FEED_LEAVING || f->state == FEED_REFUSED) {
		return;
	}
	now = wanted_credit(f);
	if (now.events != f->granted.events || now.bytes != f->granted.bytes) {
		f->granted = now;
		flow_credit(&f->flow, now);
	}
}
