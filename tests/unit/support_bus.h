/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For test_bus_*.c: a bus on a loop, over the memory adapter or a fake one that does what the test
 * says, and clients that note what they are told. A test ends with kit_finish, which stops
 * everything and proves uv_loop_close() == 0.
 */
#ifndef TESTS_UNIT_SUPPORT_BUS_H
#define TESTS_UNIT_SUPPORT_BUS_H

#include "daemon/bus.h"
#include "suite.h"
#include "support_fake.h"

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

	client_settle(kc->c, &(struct range){kc->got[i].tag, kc->got[i].tag}, 1, &s, NULL, NULL);
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
