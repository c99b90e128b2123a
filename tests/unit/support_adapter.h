/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A probe: the daemon's side of adapter.h for tests. It drives one adapter on a loop of its own,
 * notes everything that comes up, and leaves every decision to the test.
 */
#ifndef TESTS_UNIT_SUPPORT_ADAPTER_H
#define TESTS_UNIT_SUPPORT_ADAPTER_H

#include <check.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapters/adapter_impl.h"
#include "base/mem.h"

enum { PROBE_NOTES = 16 };

struct probe {
	uv_loop_t loop;
	struct budget budget;
	struct adapter *a;
	uint32_t ups, downs, stopped;
	uint64_t told;
	struct probe_batch *batches; /* all ever made */
};

struct probe_batch {
	struct probe_batch *next;
	struct probe *probe;
	uint32_t told;
	struct publish *p;
};

/* A flow and what it was told. Everything that is delivered is kept, in order. */
struct probe_flow {
	struct flow f;
	struct probe *probe;
	struct delivery *got;
	uint32_t n, cap;
	uint32_t settled; /* got[0..settled) were given to probe_settle */
	struct flow_note notes[PROBE_NOTES];
	uint32_t n_notes, recorded, revoked;
	void *last_recorded;
	bool gone;
	uint32_t calls; /* of on_deliver */
};

static inline void probe_on_up(void *ctx, struct adapter *a)
{
	(void)a;
	((struct probe *)ctx)->ups++;
}

static inline void probe_on_down(void *ctx, struct adapter *a, const char *why)
{
	(void)a;
	(void)why;
	((struct probe *)ctx)->downs++;
}

static inline void probe_on_deliver(void *ctx, struct flow *f, struct delivery *items, uint32_t n)
{
	struct probe_flow *pf = f->owner;

	(void)ctx;
	if (pf->n + n > pf->cap) {
		pf->cap = (pf->n + n) * 2;
		pf->got = xrealloc(pf->got, pf->cap * sizeof(*pf->got));
	}
	memcpy(&pf->got[pf->n], items, n * sizeof(*items));
	pf->n += n;
	pf->calls++;
}

static inline void probe_on_flow(void *ctx, struct flow *f, const struct flow_note *note)
{
	struct probe_flow *pf = f->owner;

	(void)ctx;
	ck_assert_uint_lt(pf->n_notes, PROBE_NOTES);
	pf->notes[pf->n_notes++] = *note;
}

static inline void probe_on_revoked(void *ctx, struct flow *f, void *const *handles, uint32_t n)
{
	(void)ctx;
	(void)handles;
	(void)n;
	((struct probe_flow *)f->owner)->revoked++;
}

static inline void probe_on_recorded(void *ctx, struct flow *f, void *item, int rc)
{
	struct probe_flow *pf = f->owner;

	(void)ctx;
	ck_assert_int_eq(rc, 0);
	pf->recorded++;
	pf->last_recorded = item;
}

static inline void probe_on_flow_gone(void *ctx, struct flow *f)
{
	(void)ctx;
	((struct probe_flow *)f->owner)->gone = true;
}

static inline void probe_on_stopped(void *ctx, struct adapter *a)
{
	(void)a;
	((struct probe *)ctx)->stopped++;
}

static const struct adapter_upcalls probe_upcalls = {
	.on_up = probe_on_up,
	.on_down = probe_on_down,
	.on_deliver = probe_on_deliver,
	.on_flow = probe_on_flow,
	.on_revoked = probe_on_revoked,
	.on_recorded = probe_on_recorded,
	.on_flow_gone = probe_on_flow_gone,
	.on_stopped = probe_on_stopped,
};

/* One turn of the loop; fails when nothing could ever happen again. */
#define probe_until(probe, condition)                                                              \
	while (!(condition)) {                                                                     \
		ck_assert_msg(uv_loop_alive(&(probe)->loop), "nothing left that could bring: %s",  \
			      #condition);                                                         \
		uv_run(&(probe)->loop, UV_RUN_ONCE);                                               \
	}

/* Turns of the loop that wait for nothing: everything that is due has come after them. */
static inline void probe_settle_down(struct probe *probe)
{
	for (int i = 0; i < 20; i++) {
		uv_run(&probe->loop, UV_RUN_NOWAIT);
	}
}

static inline void probe_start(struct probe *probe, const struct adapter_kind *kind,
			       const void *options, size_t memory)
{
	struct err_text err = {0};
	const struct adapter_env env = {
		.loop = &probe->loop,
		.name = "default",
		.instance = "host-1-abc",
		.up = &probe_upcalls,
		.ctx = probe,
		.budget = &probe->budget,
		.publish_timeout_ms = 5000,
		.max_event_bytes = (size_t)4 << 20,
	};

	memset(probe, 0, sizeof(*probe));
	ck_assert_int_eq(uv_loop_init(&probe->loop), 0);
	budget_init(&probe->budget, NULL, memory);
	ck_assert_int_eq(kind->create(&env, options, &probe->a, &err), 0);
	ck_assert_int_eq(adapter_start(probe->a, &err), 0);
	ck_assert_uint_eq(probe->ups, 0); /* never from inside a call */
	probe_until(probe, probe->ups == 1);
}

/* ---- publishing ------------------------------------------------------------ */

static inline void probe_on_told(struct publish *p, uint32_t i)
{
	struct probe_batch *batch = p->owner;

	ck_assert_uint_lt(i, p->n);
	batch->told++;
	batch->probe->told++;
}

static inline struct probe_batch *probe_batch(struct probe *probe, uint32_t n)
{
	struct probe_batch *batch = xcalloc(1, sizeof(*batch));

	batch->probe = probe;
	batch->next = probe->batches;
	probe->batches = batch;
	batch->p = xcalloc(1, sizeof(struct publish) + n * sizeof(struct publish_item));
	batch->p->owner = batch;
	batch->p->told = probe_on_told;
	batch->p->n = n;
	return batch;
}

static inline struct event *probe_event(const char *topic, const char *id, const void *payload,
					size_t n)
{
	const struct event_fields fields = {
		.topic = slice_str(topic), .id = slice_str(id), .payload = slice_of(payload, n)};

	return event_build(&fields, NULL);
}

static inline void probe_release(struct probe_batch *batch)
{
	for (uint32_t i = 0; i < batch->p->n; i++) {
		event_unref(batch->p->items[i].event);
		batch->p->items[i].event = NULL;
	}
}

/* n events of size bytes with ids made of prefix and number; waits until all are told. */
static inline struct probe_batch *probe_publish(struct probe *probe, const char *topic,
						const char *prefix, uint32_t n, size_t size)
{
	struct probe_batch *batch = probe_batch(probe, n);
	uint8_t *payload = xcalloc(1, size + 1);
	char id[64];

	for (uint32_t i = 0; i < n; i++) {
		snprintf(id, sizeof(id), "%s%u", prefix, i);
		batch->p->items[i].event = probe_event(topic, id, payload, size);
	}
	free(payload);
	adapter_publish(probe->a, batch->p);
	ck_assert_uint_eq(batch->told, 0);
	probe_until(probe, batch->told == n);
	probe_release(batch);
	return batch;
}

static inline uint32_t probe_count(const struct probe_batch *batch, enum outcome o)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < batch->p->n; i++) {
		n += batch->p->items[i].answer.outcome == o;
	}
	return n;
}

/* ---- flows ----------------------------------------------------------------- */

/* group may be NULL. The flow is fresh or was gone. */
static inline void probe_subscribe(struct probe *probe, struct probe_flow *pf, const char *group,
				   const char *pattern, struct start start)
{
	memset(pf, 0, sizeof(*pf));
	pf->probe = probe;
	pf->f.owner = pf;
	pf->f.spec.group = (char *)group;
	pf->f.spec.pattern = (char *)pattern;
	pf->f.spec.start = start;
	pf->f.spec.lease_ms = 30000;
	pf->f.spec.max_events = 1000;
	flow_subscribe(probe->a, &pf->f);
	ck_assert_uint_eq(pf->n_notes, 0);
}

static inline void probe_live(struct probe *probe, struct probe_flow *pf, const char *group,
			      const char *pattern, struct start start, uint32_t credit)
{
	probe_subscribe(probe, pf, group, pattern, start);
	probe_until(probe, pf->n_notes > 0);
	ck_assert_int_eq(pf->notes[0].event, FLOW_LIVE);
	flow_credit(&pf->f, (struct credit){credit, (size_t)1 << 30});
}

/* Settles the next n that were delivered and not yet given to this. */
static inline void probe_settle(struct probe_flow *pf, enum settle_kind kind, uint32_t n)
{
	struct settlement *s = xcalloc(n, sizeof(*s));

	ck_assert_uint_le(pf->settled + n, pf->n);
	for (uint32_t i = 0; i < n; i++) {
		struct delivery *d = &pf->got[pf->settled++];

		event_unref(d->event);
		d->event = NULL;
		s[i] = (struct settlement){.handle = d->handle, .kind = kind};
	}
	flow_settle(&pf->f, s, n);
	free(s);
}

/* Gives everything back and waits until the flow has gone; what it got can be read until
 * probe_forget. */
static inline void probe_leave(struct probe *probe, struct probe_flow *pf)
{
	if (pf->settled < pf->n) {
		probe_settle(pf, SETTLE_RELEASE, pf->n - pf->settled);
	}
	flow_unsubscribe(&pf->f);
	ck_assert(!pf->gone);
	probe_until(probe, pf->gone);
}

static inline void probe_forget(struct probe_flow *pf)
{
	for (uint32_t i = 0; i < pf->n; i++) {
		event_unref(pf->got[i].event);
	}
	free(pf->got);
	pf->got = NULL;
	pf->n = pf->cap = pf->settled = 0;
}

/* Stops, and checks that nothing is left: no handle, no byte of the budget, no untold event. */
static inline void probe_stop(struct probe *probe, bool force)
{
	adapter_stop(probe->a, force);
	adapter_stop(probe->a, force);
	ck_assert_uint_eq(probe->stopped, 0);
	probe_until(probe, probe->stopped == 1);
	adapter_destroy(probe->a);
	while (probe->batches) {
		struct probe_batch *batch = probe->batches;

		probe->batches = batch->next;
		ck_assert_uint_eq(batch->told, batch->p->n);
		probe_release(batch);
		free(batch->p);
		free(batch);
	}
	ck_assert_int_eq(uv_loop_close(&probe->loop), 0);
	ck_assert_uint_eq(probe->budget.used, 0);
}

#endif
