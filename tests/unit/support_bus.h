/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For test_bus_*.c: a bus on a loop, over the memory adapter or a fake one that does what the test
 * says, and clients that note what they are told. A test ends with kit_finish, which stops
 * everything and proves uv_loop_close() == 0.
 */
#ifndef TESTS_UNIT_SUPPORT_BUS_H
#define TESTS_UNIT_SUPPORT_BUS_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapters/adapter_impl.h"
#include "base/clock.h"
#include "base/mem.h"
#include "daemon/bus.h"
#include "suite.h"

/* ---- the fake adapter ---------------------------------------------------------- */

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

/* ---- the bus --------------------------------------------------------------------- */

struct kit {
	uv_loop_t loop;
	struct budget budget;
	struct config *config;
	struct bus *bus;
	struct fake *fake;
	bool stopped, drained;
	uint64_t told; /* publish items */
	struct answer last_answer;
};

static inline void kit_on_stopped(void *ctx)
{
	((struct kit *)ctx)->stopped = true;
}

static inline void kit_on_drained(void *ctx)
{
	((struct kit *)ctx)->drained = true;
}

static inline int kit_memory_check(const void *options, const char **key, struct err_text *err)
{
	return adapter_kind_memory.check ? adapter_kind_memory.check(options, key, err) : 0;
}

static inline struct config *kit_config(const char *text)
{
	static struct config_broker_kind memory, fake;
	static const struct config_broker_kind *const kinds[] = {&memory, &fake, NULL};
	struct config_errors errors = {0};
	struct config *config = NULL;

	memory = (struct config_broker_kind){"memory", adapter_kind_memory.options,
					     adapter_kind_memory.options_size, kit_memory_check};
	fake = (struct config_broker_kind){"fake", fake_kind.options, fake_kind.options_size, NULL};
	config_load_text("test.yaml", text, strlen(text), kinds, &config, &errors);
	ck_assert_msg(config != NULL, "%s", errors.n ? errors.v[0] : "no configuration");
	config_errors_free(&errors);
	return config;
}

/* One turn of the loop; fails when nothing could ever happen again. */
#define kit_until(kit, condition)                                                                  \
	while (!(condition)) {                                                                     \
		ck_assert_msg(uv_loop_alive(&(kit)->loop), "nothing left that could bring: %s",    \
			      #condition);                                                         \
		uv_run(&(kit)->loop, UV_RUN_ONCE);                                                 \
	}

/* Turns that wait for nothing: what could come without time passing has come after them. */
static inline void kit_turns(struct kit *k)
{
	for (int i = 0; i < 20; i++) {
		uv_run(&k->loop, UV_RUN_NOWAIT);
	}
}

static inline void kit_start(struct kit *k, const char *config)
{
	struct err_text err = {0};
	struct bus_options o = {
		.loop = &k->loop,
		.budget = &k->budget,
		.instance = "host-1-test",
		.on_stopped = kit_on_stopped,
		.on_drained = kit_on_drained,
		.ctx = k,
	};

	memset(k, 0, sizeof(*k));
	ck_assert_int_eq(uv_loop_init(&k->loop), 0);
	budget_init(&k->budget, NULL, (size_t)256 << 20);
	k->config = kit_config(config);
	o.config = k->config;
	ck_assert_msg(bus_create(&o, &k->bus, &err) == 0, "%s", err.s);
	ck_assert_msg(bus_start(k->bus, &err) == 0, "%s", err.s);
	k->fake = the_fake;
	if (k->fake) {
		adapter_tell_up(&k->fake->a);
	}
	kit_turns(k);
}

static inline void kit_finish(struct kit *k)
{
	bus_stop(k->bus, false);
	kit_until(k, k->stopped);
	bus_destroy(k->bus);
	ck_assert_int_eq(uv_loop_close(&k->loop), 0);
	ck_assert_uint_eq(k->budget.used, 0);
	config_free(k->config);
}

static inline void kit_told(struct publish *p, uint32_t i)
{
	struct kit *k = p->owner;

	k->told++;
	k->last_answer = p->items[i].answer;
	event_unref(p->items[i].event);
	if (p->untold == 0) {
		free(p);
	}
}

static inline struct publish *kit_batch(struct kit *k, uint32_t n)
{
	struct publish *p = xcalloc(1, sizeof(*p) + n * sizeof(p->items[0]));

	p->owner = k;
	p->told = kit_told;
	p->n = n;
	return p;
}

/* Publishes one event and goes on at once. */
static inline void kit_publish(struct kit *k, const char *topic, const char *key, const char *id)
{
	struct publish *p = kit_batch(k, 1);

	p->items[0].event = event_build(&(struct event_fields){.id = slice_str(id),
							       .topic = slice_str(topic),
							       .payload = slice_str("payload"),
							       .key = slice_str(key),
							       .published_at_ms = clock_unix_ms()},
					&k->budget);
	bus_publish(k->bus, p);
}

static inline json_int_t kit_total(struct kit *k, const char *name)
{
	json_t *s = bus_status(k->bus);
	const json_int_t v =
		json_integer_value(json_object_get(json_object_get(s, "totals"), name));

	json_decref(s);
	return v;
}

/* ---- clients ------------------------------------------------------------------------ */

enum { KIT_MAX_GOT = 4096, KIT_MAX_NOTES = 64 };

struct kit_got {
	uint64_t tag;
	uint32_t subscription, attempt;
	char id[64], topic[64], position[64];
	struct event *event; /* a reference */
};

struct kit_note {
	enum subscription_event event;
	char why[128];
	uint64_t lost, epoch, revoked;
};

struct kit_client {
	struct kit *k;
	struct client *c;
	struct kit_got got[KIT_MAX_GOT];
	uint32_t n_got, n_ready, n_subscribed, n_unsubscribed, n_refused, n_notes;
	struct kit_note notes[KIT_MAX_NOTES];
	struct answer refusal;
	struct subscribed subscribed; /* the last, without flows */
	char dlq_topic[256];
	uint64_t offset;
	bool hold;  /* does not take what is ready */
	bool stuck; /* takes, but its socket writes nothing */
};

static inline void kit_take(struct kit_client *kc)
{
	struct outgoing out[64];
	uint32_t n;

	while ((n = client_next(kc->c, out, 64)) > 0) {
		for (uint32_t i = 0; i < n; i++) {
			struct kit_got *g = &kc->got[kc->n_got++];

			ck_assert_uint_lt(kc->n_got, KIT_MAX_GOT);
			g->tag = out[i].tag;
			g->subscription = out[i].subscription;
			g->attempt = out[i].attempt;
			snprintf(g->id, sizeof(g->id), "%.*s", SLICE_ARG(out[i].event->id));
			snprintf(g->topic, sizeof(g->topic), "%.*s",
				 SLICE_ARG(out[i].event->topic));
			snprintf(g->position, sizeof(g->position), "%.*s",
				 SLICE_ARG(out[i].position));
			g->event = event_ref((struct event *)out[i].event);
		}
		kc->offset += 100 * n;
		client_wrote(kc->c, out[n - 1].tag, kc->offset);
		if (!kc->stuck) {
			client_flushed(kc->c, kc->offset);
		}
	}
}

static inline void kit_on_subscribed(void *ctx, const struct subscribed *s)
{
	struct kit_client *kc = ctx;

	kc->n_subscribed++;
	kc->subscribed = *s;
	snprintf(kc->dlq_topic, sizeof(kc->dlq_topic), "%s",
		 s->flows[0].dlq_topic ? s->flows[0].dlq_topic : "");
}

static inline void kit_on_refused(void *ctx, uint32_t subscription, const struct answer *why)
{
	struct kit_client *kc = ctx;

	(void)subscription;
	kc->n_refused++;
	kc->refusal = *why;
}

static inline void kit_on_note(void *ctx, const struct subscription_note *n)
{
	struct kit_client *kc = ctx;
	struct kit_note *note = &kc->notes[kc->n_notes++];

	ck_assert_uint_lt(kc->n_notes, KIT_MAX_NOTES);
	note->event = n->event;
	note->lost = n->lost;
	note->epoch = n->epoch;
	snprintf(note->why, sizeof(note->why), "%s", n->why);
	for (size_t i = 0; n->revoked && i < n->revoked->n; i++) {
		note->revoked += n->revoked->v[i].last - n->revoked->v[i].first + 1;
	}
}

static inline void kit_on_unsubscribed(void *ctx, uint32_t subscription)
{
	(void)subscription;
	((struct kit_client *)ctx)->n_unsubscribed++;
}

static inline void kit_on_ready(void *ctx)
{
	((struct kit_client *)ctx)->n_ready++;
}

static const struct client_ops kit_client_ops = {
	.on_subscribed = kit_on_subscribed,
	.on_refused = kit_on_refused,
	.on_note = kit_on_note,
	.on_unsubscribed = kit_on_unsubscribed,
	.on_ready = kit_on_ready,
};

static inline struct kit_client *kit_connect(struct kit *k, const char *name)
{
	struct kit_client *kc = xcalloc(1, sizeof(*kc));

	kc->k = k;
	kc->c = client_create(k->bus, name, &kit_client_ops, kc);
	return kc;
}

static inline void kit_disconnect(struct kit_client *kc)
{
	client_destroy(kc->c, kc->stuck ? 0 : kc->offset);
	for (uint32_t i = 0; i < kc->n_got; i++) {
		event_unref(kc->got[i].event);
	}
	free(kc);
}

/* A subscription to one pattern; change what the test is about, then kit_ask. */
static inline struct subscribe_request kit_request(uint32_t subscription,
						   const struct slice *pattern, const char *group)
{
	return (struct subscribe_request){.subscription = subscription,
					  .patterns = pattern,
					  .n_patterns = 1,
					  .group = slice_str(group),
					  .concurrency = 100};
}

static inline void kit_ask(struct kit_client *kc, const struct subscribe_request *r)
{
	struct answer why = {0};
	const uint32_t before = kc->n_subscribed;

	ck_assert_msg(client_subscribe(kc->c, r, &why) == 0, "%s", why.text);
	ck_assert_uint_eq(kc->n_subscribed, before); /* never from inside a call */
	kit_until(kc->k, kc->n_subscribed > before);
}

static inline void kit_subscribe(struct kit_client *kc, uint32_t subscription, const char *pattern,
				 const char *group)
{
	const struct slice p = slice_str(pattern);
	const struct subscribe_request r = kit_request(subscription, &p, group);

	kit_ask(kc, &r);
}

static inline void kit_settle(struct kit_client *kc, uint32_t i, enum verdict v, const char *reason)
{
	const struct settle s = {.verdict = v, .reason = slice_str(reason)};

	client_settle(kc->c, kc->got[i].tag, kc->got[i].tag, &s, NULL, NULL);
}

static inline void kit_ack(struct kit_client *kc, uint32_t i)
{
	kit_settle(kc, i, VERDICT_ACK, "");
}

/* Waits until n deliveries came in all. */
#define kit_got(kc, n)                                                                             \
	do {                                                                                       \
		kit_take(kc);                                                                      \
		while ((kc)->n_got < (n)) {                                                        \
			ck_assert_msg(uv_loop_alive(&(kc)->k->loop),                               \
				      "no delivery can come any more");                            \
			uv_run(&(kc)->k->loop, UV_RUN_ONCE);                                       \
			kit_take(kc);                                                              \
		}                                                                                  \
		ck_assert_uint_eq((kc)->n_got, (n));                                               \
	} while (0)

static inline bool kit_noted(const struct kit_client *kc, enum subscription_event event,
			     const char *why)
{
	for (uint32_t i = 0; i < kc->n_notes; i++) {
		if (kc->notes[i].event == event && strstr(kc->notes[i].why, why)) {
			return true;
		}
	}
	return false;
}

static inline struct slice kit_metadata(const struct event *e, const char *key)
{
	struct slice v = {0};

	ck_assert_msg(event_metadata_get(e, key, &v), "no metadata %s", key);
	return v;
}

#endif
