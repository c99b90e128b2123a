/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which connection the adapter has, and that there is always a next one.
 *
 *	IDLE -retry-> OPENING -opened-> SETUP -stream found-> UP
 *	any but IDLE -lost, dropped or refused-> CLOSING -closed-> IDLE, and the retry timer
 *
 * Failure modes: no server: tried again for ever, waiting longer each time up to
 * reconnect_max_wait. A server without JetStream, or a stream that is missing and may not be
 * created: the connection stays, the stream is looked for again. A server that is silent for two
 * ping intervals is left. A stop in any state: conn_stop, see there.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapters/nats/flow.h"
#include "adapters/nats/nats.h"
#include "base/backoff.h"
#include "base/clock.h"
#include "base/random.h"

static void on_retry(uv_timer_t *timer);

static void wait_and_retry(struct nats_adapter *a)
{
	const struct nats_options *o = a->options;
	const struct backoff b = {.kind = BACKOFF_EXPONENTIAL,
				  .initial_ms = o->reconnect_wait_ms,
				  .max_ms = o->reconnect_max_wait_ms > o->reconnect_wait_ms
						    ? o->reconnect_max_wait_ms
						    : o->reconnect_wait_ms,
				  .multiplier = 2,
				  .jitter = 0.2};
	const int64_t delay = backoff_delay_ms(&b, a->attempts, random_unit());

	uv_timer_start(&a->retry, on_retry, (uint64_t)delay, 0);
}

static void problem(struct nats_adapter *a, struct log_repeat *repeat, const char *why)
{
	snprintf(a->why, sizeof(a->why), "%s", why);
	log_repeated(repeat, LOG_LEVEL_WARN, a->base.tag, "%s attempt=%u", why, a->attempts);
}

static void on_retry(uv_timer_t *timer)
{
	struct nats_adapter *a = timer->data;

	if (a->state == CONN_IDLE) {
		a->state = CONN_OPENING;
		a->link = link_open(a);
	} else if (a->state == CONN_SETUP) {
		admin_set_up(a);
	}
}

void conn_start(struct nats_adapter *a)
{
	on_retry(&a->retry);
}

/* ---- up ------------------------------------------------------------------------- */

void conn_on_opened(struct nats_adapter *a, struct link *l, int rc, const char *why)
{
	int64_t max;

	assert(l == a->link && a->state == CONN_OPENING);
	if (rc != 0) {
		a->attempts++;
		problem(a, &a->connect_log, why);
		a->state = CONN_CLOSING;
		link_close(l);
		return;
	}
	max = natsConnection_GetMaxPayload(link_nc(l));
	a->max_payload = max > 0 ? (size_t)max : (size_t)1 << 20;
	a->state = CONN_SETUP;
	admin_set_up(a);
}

/* For as long as a request may take: the connection itself may be dead. */
static bool link_silent(const struct nats_adapter *a)
{
	return clock_mono_ms() - link_heard_ms(a->link) >= NATS_REQUEST_MS;
}

void conn_on_stream(struct nats_adapter *a, const char *why)
{
	char url[200] = "";

	if (why) {
		a->attempts++;
		problem(a, &a->stream_log, why);
		if (a->state == CONN_UP || link_silent(a)) {
			conn_drop(a, why);
		} else {
			wait_and_retry(a);
		}
		return;
	}
	if (a->state != CONN_SETUP) {
		return;
	}
	natsConnection_GetConnectedUrl(link_nc(a->link), url, sizeof(url));
	log_info(a->base.tag, "connected server=%s stream=%s", url, a->options->stream);
	a->state = CONN_UP;
	a->attempts = 0;
	a->asked_ms = 0;
	a->ask_ticks = 0;
	a->why[0] = '\0';
	adapter_tell_up(&a->base);
	flows_on_up(a);
}

/* ---- down ------------------------------------------------------------------------- */

static void remember_servers(struct nats_adapter *a, struct link *l)
{
	int n;
	char **v = link_discovered(l, &n);

	if (!v) {
		return;
	}
	for (int i = 0; i < a->n_discovered; i++) {
		free(a->discovered[i]);
	}
	free(a->discovered);
	a->discovered = v;
	a->n_discovered = n;
}

static void go_down(struct nats_adapter *a, const char *why)
{
	const bool was_up = a->state == CONN_UP;

	remember_servers(a, a->link);
	a->state = CONN_CLOSING;
	uv_timer_stop(&a->retry);
	link_close(a->link);
	pub_on_down(a);
	api_fail_all(a);
	if (was_up) {
		snprintf(a->why, sizeof(a->why), "%s", why);
		log_warn(a->base.tag, "connection lost: %s", why);
		flows_on_down(a, why);
		adapter_tell_down(&a->base, a->why);
	}
}

void conn_on_lost(struct nats_adapter *a, struct link *l, const char *why)
{
	assert(l == a->link);
	if (a->state == CONN_SETUP) {
		a->attempts++;
		problem(a, &a->connect_log, why);
	}
	if (a->state == CONN_SETUP || a->state == CONN_UP) {
		go_down(a, why);
	}
}

void conn_drop(struct nats_adapter *a, const char *why)
{
	if (a->state == CONN_SETUP || a->state == CONN_UP) {
		go_down(a, why);
	}
}

void conn_on_closed(struct nats_adapter *a, struct link *l)
{
	assert(l == a->link && a->state == CONN_CLOSING);
	link_free(l);
	a->link = NULL;
	a->state = CONN_IDLE;
	if (a->base.stopping) {
		nats_maybe_stopped(a);
	} else {
		wait_and_retry(a);
	}
}

/* ---- messages ----------------------------------------------------------------------- */

/* Behind "<inbox>x.", or an empty slice for any other subject. */
static struct slice below_inbox(const struct nats_adapter *a, const char *subject)
{
	const char *inbox = link_inbox(a->link);
	const size_t n = strlen(inbox);

	if (strncmp(subject, inbox, n) != 0 || strlen(subject) < n + 2) {
		return slice_of(NULL, 0);
	}
	return slice_str(subject + n + 2);
}

static void on_nobody(struct nats_adapter *a, enum link_inbox inbox)
{
	if (inbox == LINK_PUBLISH) {
		pub_on_nobody(a);
	} else if (inbox == LINK_API) {
		api_on_nobody(a);
	}
}

void conn_on_message(struct nats_adapter *a, enum link_inbox inbox, natsMsg *msg)
{
	struct slice token, data;

	if (!msg) {
		on_nobody(a, inbox);
		return;
	}
	if (inbox == LINK_NEWS) {
		owners_on_news(a, natsMsg_GetSubject(msg));
		nats_discard(a, msg);
		return;
	}
	token = below_inbox(a, natsMsg_GetSubject(msg));
	data = slice_of(natsMsg_GetData(msg), (size_t)natsMsg_GetDataLength(msg));
	if (inbox == LINK_PUBLISH) {
		pub_on_reply(a, token, data);
	} else if (inbox == LINK_API) {
		api_on_reply(a, token, data);
	} else if (token.n > 0) {
		flows_on_status(a, token, msg);
	} else {
		flows_on_event(a, msg); /* the subject of an event is its own */
	}
	nats_discard(a, msg);
}

void conn_on_messages_end(struct nats_adapter *a)
{
	flows_deliver(a);
}

void conn_on_async_error(struct nats_adapter *a, const char *text)
{
	log_repeated(&a->server_log, LOG_LEVEL_WARN, a->base.tag, "the server says: %s", text);
	if (strstr(text, "ermissions Violation for Publish")) {
		pub_on_denied(a, text);
	}
}

/* ---- time ------------------------------------------------------------------------------ */

void conn_tick(struct nats_adapter *a, int64_t now_ms)
{
	const uint32_t interval = (uint32_t)(a->options->ping_interval_ms / NATS_TICK_MS);

	if (a->state != CONN_SETUP && a->state != CONN_UP) {
		return;
	}
	link_check(a->link);
	/* Ticks and not time: when this process was stopped, the answer may lie in the socket. */
	if (a->state != CONN_UP || ++a->ask_ticks < interval) {
		return;
	}
	if (link_heard_ms(a->link) < a->asked_ms) {
		conn_drop(a, "the server is silent");
		return;
	}
	a->asked_ms = now_ms;
	a->ask_ticks = 0;
	admin_look(a);
}

/* ---- stop ------------------------------------------------------------------------------- */

/* The connection goes, in whatever state it is; nats_maybe_stopped follows when it is gone. */
void conn_stop(struct nats_adapter *a)
{
	uv_timer_stop(&a->retry);
	switch (a->state) {
	case CONN_IDLE:
	case CONN_CLOSING:
		return;
	case CONN_OPENING:
		link_abandon(a->link);
		a->link = NULL;
		a->state = CONN_IDLE;
		return;
	case CONN_SETUP:
	case CONN_UP:
		a->state = CONN_CLOSING;
		link_close(a->link);
		return;
	}
}
