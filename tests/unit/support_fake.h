/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An adapter that does what a test says: it goes away, revokes, refuses, answers late. What comes
 * down is noted. Include it once in a program: it takes the place of registry.c.
 */
#ifndef TESTS_UNIT_SUPPORT_FAKE_H
#define TESTS_UNIT_SUPPORT_FAKE_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapters/adapter_impl.h"
#include "base/clock.h"
#include "base/mem.h"

enum { FAKE_MAX_FLOWS = 32, FAKE_MAX_SETTLED = 4096, FAKE_MAX_BATCHES = 4096 };

struct fake_settled {
	const struct flow *flow;
	uint64_t handle;
	enum settle_kind kind;
	int64_t delay_ms;
	struct failures failures;
};

struct fake {
	struct adapter a;
	uv_timer_t later; /* does what ops may not do at once */
	struct flow *flows[FAKE_MAX_FLOWS], *gone[FAKE_MAX_FLOWS];
	struct credit credit[FAKE_MAX_FLOWS];
	uint32_t n_flows, n_gone, subscribes;
	struct fake_settled settled[FAKE_MAX_SETTLED];
	uint32_t n_settled;
	struct {
		struct flow *flow;
		void *ctx;
	} records[FAKE_MAX_SETTLED]; /* not yet told */
	uint32_t n_records;
	struct publish *batches[FAKE_MAX_BATCHES]; /* not yet told */
	uint32_t n_batches;
	struct event *published[FAKE_MAX_BATCHES]; /* every item, a reference */
	uint32_t n_published;
	uint64_t next_handle;
	bool stop;
	/* the script */
	bool hold_records, hold_publishes, hold_live, park;
	int record_rc;
	struct answer publish_answer; /* all 0: OK */
};

static struct fake *the_fake;

static inline struct fake *fake_of(struct adapter *a)
{
	return (struct fake *)a;
}

static inline void fake_work(uv_timer_t *t);

static inline void fake_soon(struct fake *f)
{
	uv_timer_start(&f->later, fake_work, 0, 0);
}

static inline int fake_flow_index(const struct fake *f, const struct flow *flow)
{
	for (uint32_t i = 0; i < f->n_flows; i++) {
		if (f->flows[i] == flow) {
			return (int)i;
		}
	}
	return -1;
}

/* The flow of that pattern. */
static inline struct flow *fake_flow(const struct fake *f, const char *pattern)
{
	for (uint32_t i = 0; i < f->n_flows; i++) {
		if (strcmp(f->flows[i]->spec.pattern, pattern) == 0) {
			return f->flows[i];
		}
	}
	ck_abort_msg("no flow for %s", pattern);
	return NULL;
}

static inline struct credit fake_credit(const struct fake *f, const char *pattern)
{
	return f->credit[fake_flow_index(f, fake_flow(f, pattern))];
}

static inline void fake_live(struct fake *f, struct flow *flow, bool existed)
{
	const struct flow_note n = {.event = FLOW_LIVE, .position_existed = existed};

	(void)f;
	adapter_tell_flow(flow, &n);
}

static inline void fake_tell_records(struct fake *f)
{
	const uint32_t n = f->n_records;

	f->n_records = 0;
	for (uint32_t i = 0; i < n; i++) {
		adapter_tell_recorded(f->records[i].flow, f->records[i].ctx, f->record_rc);
	}
}

static inline void fake_answer(struct fake *f)
{
	const uint32_t n = f->n_batches;
	struct publish *batches[FAKE_MAX_BATCHES];

	memcpy(batches, f->batches, sizeof(batches));
	f->n_batches = 0;
	for (uint32_t i = 0; i < n; i++) {
		const uint32_t items = batches[i]->n;

		for (uint32_t j = 0; j < items; j++) {
			if (f->publish_answer.outcome == OUTCOME_OK) {
				adapter_tell_ok(&f->a, batches[i], j, (struct position){1, 0},
						false);
			} else {
				adapter_tell_failed(&f->a, batches[i], j, f->publish_answer.outcome,
						    f->publish_answer.reason,
						    f->publish_answer.text);
			}
		}
	}
}

static inline void fake_closed(uv_handle_t *h)
{
	struct fake *f = h->data;

	adapter_tell_stopped(&f->a);
}

static inline void fake_work(uv_timer_t *t)
{
	struct fake *f = t->data;

	if (!f->hold_records || f->stop) {
		fake_tell_records(f);
	}
	if (!f->hold_publishes || f->stop) {
		fake_answer(f);
	}
	if (!f->hold_live) {
		for (uint32_t i = 0; i < f->n_flows; i++) {
			if (!f->flows[i]->impl) {
				f->flows[i]->impl = f;
				fake_live(f, f->flows[i], false);
			}
		}
	}
	while (f->n_gone > 0) {
		adapter_tell_flow_gone(f->gone[--f->n_gone]);
	}
	if (f->stop && f->a.flows == 0 && !uv_is_closing((uv_handle_t *)&f->later)) {
		uv_close((uv_handle_t *)&f->later, fake_closed);
	}
}

static inline int fake_op_start(struct adapter *a, struct err_text *err)
{
	struct fake *f = fake_of(a);

	(void)err;
	ck_assert_int_eq(uv_timer_init(a->env.loop, &f->later), 0);
	f->later.data = f;
	return 0;
}

static inline void fake_op_publish(struct adapter *a, struct publish *p)
{
	struct fake *f = fake_of(a);

	ck_assert_uint_lt(f->n_batches, FAKE_MAX_BATCHES);
	f->batches[f->n_batches++] = p;
	for (uint32_t i = 0; i < p->n; i++) {
		ck_assert_uint_lt(f->n_published, FAKE_MAX_BATCHES);
		f->published[f->n_published++] = event_ref(p->items[i].event);
	}
	fake_soon(f);
}

static inline bool fake_op_topic_ok(struct adapter *a, struct slice topic, struct answer *why)
{
	(void)a;
	if (memmem(topic.p, topic.n, "forbidden", 9)) {
		answer_set(why, OUTCOME_PERMANENT, REASON_UNROUTABLE,
			   "the broker has no such place");
		return false;
	}
	return true;
}

static inline void fake_op_subscribe(struct adapter *a, struct flow *flow)
{
	struct fake *f = fake_of(a);

	ck_assert_uint_lt(f->n_flows, FAKE_MAX_FLOWS);
	f->credit[f->n_flows] = (struct credit){0, 0};
	f->flows[f->n_flows++] = flow;
	f->subscribes++;
	fake_soon(f);
}

static inline void fake_op_credit(struct adapter *a, struct flow *flow, struct credit now)
{
	struct fake *f = fake_of(a);

	f->credit[fake_flow_index(f, flow)] = now;
}

static inline void fake_op_settle(struct adapter *a, struct flow *flow,
				  const struct settlement *items, uint32_t n)
{
	struct fake *f = fake_of(a);

	for (uint32_t i = 0; i < n; i++) {
		ck_assert_uint_lt(f->n_settled, FAKE_MAX_SETTLED);
		f->settled[f->n_settled++] = (struct fake_settled){
			.flow = flow,
			.handle = (uint64_t)(uintptr_t)items[i].handle,
			.kind = items[i].kind,
			.delay_ms = items[i].delay_ms,
			.failures = items[i].failures,
		};
		if (items[i].kind == SETTLE_RETRY && items[i].ctx) {
			f->records[f->n_records].flow = flow;
			f->records[f->n_records++].ctx = items[i].ctx;
		}
	}
	fake_soon(f);
}

static inline void fake_op_unsubscribe(struct adapter *a, struct flow *flow)
{
	struct fake *f = fake_of(a);
	const int i = fake_flow_index(f, flow);

	for (uint32_t j = 0; j < f->n_records; j++) {
		if (f->records[j].flow == flow) {
			f->records[j--] = f->records[--f->n_records];
		}
	}
	f->n_flows--;
	f->flows[i] = f->flows[f->n_flows];
	f->credit[i] = f->credit[f->n_flows];
	f->gone[f->n_gone++] = flow;
	fake_soon(f);
}

static inline int fake_op_format(struct adapter *a, struct slice topic, struct position p,
				 char out[POSITION_TEXT_MAX])
{
	(void)a;
	(void)topic;
	snprintf(out, POSITION_TEXT_MAX, "fake:%llu", (unsigned long long)p.a);
	return 0;
}

static inline int fake_op_parse(struct adapter *a, const char *text, struct position *out,
				struct err_text *err)
{
	unsigned long long v;

	(void)a;
	if (sscanf(text, "fake:%llu", &v) != 1) {
		return err_set(err, EB_EINVAL, "not a position of this broker");
	}
	*out = (struct position){v, 0};
	return 0;
}

static inline void fake_op_stop(struct adapter *a, bool force)
{
	(void)force;
	fake_of(a)->stop = true;
	fake_soon(fake_of(a));
}

static inline void fake_op_destroy(struct adapter *a)
{
	struct fake *f = fake_of(a);

	for (uint32_t i = 0; i < f->n_published; i++) {
		event_unref(f->published[i]);
	}
	adapter_finish(a);
	free(f);
	the_fake = NULL;
}

static const struct adapter_ops fake_ops = {
	.start = fake_op_start,
	.publish = fake_op_publish,
	.topic_ok = fake_op_topic_ok,
	.subscribe = fake_op_subscribe,
	.credit = fake_op_credit,
	.settle = fake_op_settle,
	.unsubscribe = fake_op_unsubscribe,
	.format_position = fake_op_format,
	.parse_position = fake_op_parse,
	.stop = fake_op_stop,
	.destroy = fake_op_destroy,
};

static const struct option fake_options[] = {{0}};
static int fake_create(const struct adapter_env *env, const void *options, struct adapter **out,
		       struct err_text *err);
static const struct adapter_kind fake_kind = {
	.name = "fake", .options = fake_options, .options_size = 8, .create = fake_create};

static int fake_create(const struct adapter_env *env, const void *options, struct adapter **out,
		       struct err_text *err)
{
	struct fake *f = xcalloc(1, sizeof(*f));

	(void)options;
	(void)err;
	adapter_init(&f->a, &fake_ops, &fake_kind, env);
	f->a.caps = (struct capabilities){.wildcards = true,
					  .start_earliest = true,
					  .start_position = true,
					  .order_key = true,
					  .order_topic = true,
					  .durable = true,
					  .attempts_durable = true};
	f->next_handle = 1;
	the_fake = f;
	*out = &f->a;
	return 0;
}

/* In place of registry.c's. */
const struct adapter_kind *adapter_kind_find(const char *name)
{
	return strcmp(name, "fake") == 0 ? &fake_kind : &adapter_kind_memory;
}

/* Hands one event to a flow; its handle and position are returned: 1, 2, 3... */
static inline uint64_t fake_deliver_failed(struct fake *f, struct flow *flow, const char *topic,
					   const char *key, uint32_t failures)
{
	char id[32];
	const uint64_t handle = f->next_handle++;
	struct delivery d = {.handle = (void *)(uintptr_t)handle,
			     .position = {handle, 0},
			     .failures = {failures, failures ? 1000 : 0, failures ? 2000 : 0}};

	snprintf(id, sizeof(id), "id-%llu", (unsigned long long)handle);
	d.event = event_build(&(struct event_fields){.id = slice_str(id),
						     .topic = slice_str(topic),
						     .payload = slice_str("payload"),
						     .key = slice_str(key),
						     .published_at_ms = clock_unix_ms()},
			      f->a.env.budget);
	f->credit[fake_flow_index(f, flow)].events--;
	adapter_tell_deliver(flow, &d, 1);
	return handle;
}

static inline uint64_t fake_deliver(struct fake *f, struct flow *flow, const char *topic,
				    const char *key)
{
	return fake_deliver_failed(f, flow, topic, key, 0);
}

/* How often handle was settled in that way. */
static inline uint32_t fake_count(const struct fake *f, uint64_t handle, enum settle_kind kind)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < f->n_settled; i++) {
		n += f->settled[i].handle == handle && f->settled[i].kind == kind;
	}
	return n;
}

#endif
