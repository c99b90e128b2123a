/* SPDX-License-Identifier: Apache-2.0 */
/* Hello in, Welcome out. */
#include "daemon/session_impl.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/utf8.h"

#define NAME_MAX_CHARS 64
#define MAX_BROKERS    64
#define MAX_CAPS       12

/* What a client of this version may ask for. */
static char *const features[] = {
	(char *)"admin.status",	       (char *)"admin.explain",	  (char *)"publish.positions",
	(char *)"subscribe.patterns",  (char *)"subscribe.start", (char *)"subscribe.retry",
	(char *)"subscribe.positions", (char *)"settle.answers",  (char *)"nack.delay",
};

struct broker_frame {
	Eventbus__V1__Broker msg;
	char *caps[MAX_CAPS];
};

static void add_cap(struct broker_frame *b, bool has, const char *name)
{
	if (has && b->msg.n_capabilities < MAX_CAPS) {
		b->caps[b->msg.n_capabilities++] = (char *)name;
	}
}

static void fill_broker(const struct broker_view *v, struct broker_frame *b)
{
	const struct capabilities *c = v->caps;

	eventbus__v1__broker__init(&b->msg);
	b->msg.name = (char *)v->name;
	b->msg.kind = (char *)v->kind;
	b->msg.connected = v->connected;
	b->msg.dedupe_window_ms = (uint64_t)c->dedupe_window_ms;
	b->msg.max_event_bytes = v->max_event_bytes;
	b->msg.capabilities = b->caps;
	add_cap(b, c->wildcards, "wildcards");
	add_cap(b, c->start_earliest, "start.earliest");
	add_cap(b, c->start_time, "start.time");
	add_cap(b, c->start_position, "start.position");
	add_cap(b, c->order_key, "order.key");
	add_cap(b, c->order_topic, "order.topic");
	add_cap(b, c->attempts_durable, "attempts.durable");
	add_cap(b, c->park, "park");
	add_cap(b, c->lag, "lag");
	add_cap(b, c->durable, "durable");
}

static void fill_limits(const struct session *s, Eventbus__V1__Limits *l)
{
	const struct config_limits *c = &s->set->config->limits;

	l->max_frame_bytes = (uint32_t)s->framer.max_frame;
	l->max_events_per_publish = CODEC_MAX_EVENTS;
	l->max_subscriptions = (uint32_t)c->subscriptions;
	l->max_in_flight_events = (uint32_t)c->max_in_flight_events;
	l->max_in_flight_bytes = (uint64_t)c->max_in_flight_bytes;
	l->max_concurrency = (uint32_t)c->max_concurrency;
	l->max_lease_ms = (uint64_t)c->max_lease_ms;
	l->max_patterns_per_subscription = CODEC_MAX_PATTERNS;
}

static void send_welcome(struct session *s)
{
	Eventbus__V1__Frame f = EVENTBUS__V1__FRAME__INIT;
	Eventbus__V1__Welcome w = EVENTBUS__V1__WELCOME__INIT;
	Eventbus__V1__Limits limits = EVENTBUS__V1__LIMITS__INIT;
	Eventbus__V1__Credit credit = EVENTBUS__V1__CREDIT__INIT;
	struct broker_frame *brokers = xcalloc(MAX_BROKERS, sizeof(*brokers));
	Eventbus__V1__Broker *list[MAX_BROKERS];
	struct broker_view view;
	char id[128];

	fill_limits(s, &limits);
	credit_tell(&s->set->credit, &s->credit, uv_now(s->set->loop));
	credit.events = s->credit.told_events;
	credit.bytes = s->credit.told_bytes;
	while (w.n_brokers < MAX_BROKERS && bus_broker(s->set->bus, (uint32_t)w.n_brokers, &view)) {
		fill_broker(&view, &brokers[w.n_brokers]);
		list[w.n_brokers] = &brokers[w.n_brokers].msg;
		w.n_brokers++;
	}
	snprintf(id, sizeof(id), "%s.%" PRIu64, s->set->instance, s->id);
	w.version = 1;
	w.server = (char *)"eventbusd " EVENTBUS_VERSION;
	w.session = id;
	w.limits = &limits;
	w.credit = &credit;
	w.brokers = list;
	w.capabilities = (char **)features;
	w.n_capabilities = sizeof(features) / sizeof(features[0]);
	f.kind_case = EVENTBUS__V1__FRAME__KIND_WELCOME;
	f.welcome = &w;
	session_send(s, &f);
	free(brokers);
}

/* 1 to 64 characters, none of them a control character. */
static bool name_ok(const char *name)
{
	size_t chars = 0;
	const unsigned char *p;

	for (p = (const unsigned char *)name; *p; p++) {
		chars += (*p & 0xc0) != 0x80;
	}
	return chars >= 1 && chars <= NAME_MAX_CHARS && utf8_printable(slice_str(name));
}

static void accept_hello(struct session *s, const Eventbus__V1__Hello *h)
{
	if (h->version != 1) {
		session_fail(s, OUTCOME_PERMANENT, REASON_NOT_SUPPORTED,
			     "hello.version: %u is not spoken here; supported: 1", h->version);
	} else if (!name_ok(h->client)) {
		session_fail(s, OUTCOME_PERMANENT, REASON_INVALID,
			     "hello.client: must be 1 to %d printable characters", NAME_MAX_CHARS);
	} else if (h->token[0]) {
		session_fail(s, OUTCOME_PERMANENT, REASON_NOT_SUPPORTED,
			     "hello.token: not supported by this version");
	} else if (s->set->draining) {
		session_fail(s, OUTCOME_NOT_STORED, REASON_DRAINING, "the daemon is stopping");
	} else {
		s->hello_since = 0;
		s->state = SESSION_OPEN;
		s->name = xstrdup(h->client);
		s->client = client_create(s->set->bus, s->name, &session_client_ops, s);
		s->set->open++;
		sessions_update_credit(s->set);
		log_info(s->tag, "hello client=%s pid=%d uid=%u gid=%u", s->name, (int)s->pid,
			 (unsigned)s->uid, (unsigned)s->gid);
		send_welcome(s);
	}
}

void session_hello(struct session *s, struct slice body)
{
	Eventbus__V1__Frame *f;
	struct arena arena;
	struct err_text err;

	/* A Hello, and it alone, may carry fields that later versions know: see codec_read. */
	if (codec_read(CODEC_DAEMON, body, &arena, &f, &err) != 0) {
		session_fail(s, OUTCOME_PERMANENT, REASON_INVALID, "%s", err.s);
	} else if (f->kind_case != EVENTBUS__V1__FRAME__KIND_HELLO) {
		session_fail(s, OUTCOME_PERMANENT, REASON_INVALID, "hello: must come first");
	} else {
		accept_hello(s, f->hello);
	}
	arena_finish(&arena);
}
