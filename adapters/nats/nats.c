/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The adapter: its table of operations, its handles, its start and its stop.
 *
 * Everything that one turn of the loop asks for goes out together: operations only queue, and
 * on_prepare, right before the loop polls, sends publishes, acks and pulls and lets the library
 * write. What comes in is told from the poll.
 *
 * Stop, happy path: nothing new is fetched, the server is told so (link_mute) and asked for a last
 * answer, which means that it has seen every ack; what is unconfirmed may still be confirmed; then
 * the connection goes, then the handles, then adapter_tell_stopped.
 * Failure modes: no connection, or force: without waiting. The server is silent: after
 * NATS_STOP_GRACE_MS. A connect is under way: abandoned.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapters/nats/flow.h"
#include "base/clock.h"
#include "base/mem.h"

/* What the library may hold for us beside what is counted elsewhere. */
#define LIBRARY_BYTES (2 * NATS_WRITE_MAX + 2 * NATS_IO_BUFFER)

/* ---- turns -------------------------------------------------------------------------- */

void nats_discard_all(struct nats_adapter *a)
{
	for (unsigned i = 0; i < a->n_spent; i++) {
		natsMsg_Destroy(a->spent[i]);
	}
	a->n_spent = 0;
	a->spent_bytes = 0;
}

void nats_discard(struct nats_adapter *a, natsMsg *msg)
{
	a->spent[a->n_spent++] = msg;
	a->spent_bytes += (size_t)natsMsg_GetDataLength(msg);
	if (a->n_spent == NATS_SPENT || a->spent_bytes > NATS_IO_BUFFER) {
		nats_discard_all(a);
	}
}

static void maybe_finish(struct nats_adapter *a);

static void on_prepare(uv_prepare_t *prepare)
{
	struct nats_adapter *a = prepare->data;

	api_turn(a, clock_mono_ms());
	failures_turn(a);
	pub_turn(a);
	flows_turn(a);
	if (a->link && (a->state == CONN_SETUP || a->state == CONN_UP)) {
		link_flush(a->link);
	}
	nats_discard_all(a);
	if (a->base.stopping) {
		maybe_finish(a);
	}
}

static void on_tick(uv_timer_t *timer)
{
	struct nats_adapter *a = timer->data;
	const int64_t now_ms = clock_mono_ms();

	a->stop_ticks += a->base.stopping;
	conn_tick(a, now_ms);
	pub_tick(a, now_ms);
	failures_tick(a);
	flows_tick(a, now_ms);
}

static void on_posts(void *ctx, struct list *posts)
{
	(void)ctx;
	while (!list_empty(posts)) {
		link_on_post(list_pop_front(posts));
	}
}

/* ---- start ---------------------------------------------------------------------------- */

static int op_start(struct adapter *base, struct err_text *err)
{
	struct nats_adapter *a = nats_of(base);
	uv_loop_t *loop = base->env.loop;

	(void)err;
	a->mailbox = mailbox_create(loop, on_posts, a);
	uv_prepare_init(loop, &a->prepare);
	uv_timer_init(loop, &a->tick);
	uv_timer_init(loop, &a->retry);
	a->prepare.data = a->tick.data = a->retry.data = a;
	a->handles = 4; /* the mailbox among them */
	uv_prepare_start(&a->prepare, on_prepare);
	uv_timer_start(&a->tick, on_tick, NATS_TICK_MS, NATS_TICK_MS);
	budget_charge(base->env.budget, LIBRARY_BYTES);
	conn_start(a);
	return 0;
}

/* ---- stop ------------------------------------------------------------------------------ */

static void on_handle_gone(struct nats_adapter *a)
{
	if (--a->handles == 0) {
		budget_release(a->base.env.budget, LIBRARY_BYTES);
		adapter_tell_stopped(&a->base);
	}
}

static void on_closed(uv_handle_t *handle)
{
	on_handle_gone(handle->data);
}

static void on_mailbox_closed(void *ctx)
{
	on_handle_gone(ctx);
}

void nats_maybe_stopped(struct nats_adapter *a)
{
	if (!a->finishing || a->state != CONN_IDLE || a->closing_handles) {
		return;
	}
	a->closing_handles = true;
	uv_close((uv_handle_t *)&a->prepare, on_closed);
	uv_close((uv_handle_t *)&a->tick, on_closed);
	uv_close((uv_handle_t *)&a->retry, on_closed);
	mailbox_close(a->mailbox, on_mailbox_closed);
}

static void finish(struct nats_adapter *a)
{
	a->finishing = true;
	pub_abort(a, true);
	conn_stop(a);
	api_fail_all(a);
	nats_maybe_stopped(a);
}

/* From a turn of its own: answers of publishes are told here. */
static void maybe_finish(struct nats_adapter *a)
{
	if (a->finishing) {
		return;
	}
	pub_abort(a, false);
	if (a->stop_force || !conn_up(a) || a->stop_ticks > NATS_STOP_GRACE_MS / NATS_TICK_MS ||
	    (a->stop_flushed && pub_idle(a) && link_unwritten(a->link) == 0)) {
		finish(a);
	}
}

static void on_flushed(void *ctx, const struct api_reply *reply)
{
	struct nats_adapter *a = ctx;

	(void)reply;
	a->stop_flushed = true;
}

static void op_stop(struct adapter *base, bool force)
{
	struct nats_adapter *a = nats_of(base);

	a->stop_force = a->stop_force || force;
	if (a->stop_asked) {
		return;
	}
	a->stop_asked = true;
	if (conn_up(a) && !force) {
		link_mute(a->link);
		api_json(a, NULL, on_flushed, a, "STREAM.INFO.%s", a->options->stream);
	}
}

/* ---- the other operations ------------------------------------------------------------------ */

static void op_publish(struct adapter *base, struct publish *p)
{
	pub_add(nats_of(base), p);
}

static bool op_topic_ok(struct adapter *base, struct slice topic, struct answer *why)
{
	return admin_topic_ok(nats_of(base), topic, why);
}

static bool op_flow_ok(struct adapter *base, const struct flow_spec *spec, struct answer *why)
{
	if (spec->interop == INTEROP_CONNECTUM && spec->group && spec->order != ORDER_NONE) {
		answer_set(why, OUTCOME_PERMANENT, REASON_NOT_SUPPORTED,
			   "order: %s cannot be kept with interop: connectum",
			   spec->order == ORDER_KEY ? "key" : "topic");
		return false;
	}
	return admin_pattern_ok(nats_of(base), slice_str(spec->pattern), why);
}

static void op_subscribe(struct adapter *base, struct flow *f)
{
	flow_add(nats_of(base), f);
}

static void op_credit(struct adapter *base, struct flow *f, struct credit now)
{
	struct nats_flow *nf = f->impl;

	(void)base;
	nf->credit = now;
	nf->fresh_credit = true;
	nf->stalled = false;
	flow_mark(nf);
}

static void op_settle(struct adapter *base, struct flow *f, const struct settlement *items,
		      uint32_t n)
{
	(void)base;
	flow_settle_items(f->impl, items, n);
}

static void op_unsubscribe(struct adapter *base, struct flow *f)
{
	(void)base;
	flow_end(f->impl);
}

/* "nats1/<broker>/<stream>/<topic>/<sequence>" */
static int op_format_position(struct adapter *base, struct slice topic, struct position p,
			      char out[POSITION_TEXT_MAX])
{
	const int n = snprintf(out, POSITION_TEXT_MAX, "nats1/%s/%s/%.*s/%" PRIu64, base->env.name,
			       nats_of(base)->options->stream, SLICE_ARG(topic), p.a);

	return n > 0 && n < POSITION_TEXT_MAX ? 0 : EB_ETOOBIG;
}

static int op_parse_position(struct adapter *base, const char *text, struct position *out,
			     struct err_text *err)
{
	char prefix[200];
	const char *last = strrchr(text, '/');
	const int n = snprintf(prefix, sizeof(prefix), "nats1/%s/%s/", base->env.name,
			       nats_of(base)->options->stream);
	char *end;

	if (n <= 0 || (size_t)n >= sizeof(prefix) || strncmp(text, prefix, (size_t)n) != 0 ||
	    !last || last < text + n || last[1] < '0' || last[1] > '9' || strlen(last + 1) > 19) {
		return err_set(err, EB_EINVAL,
			       "not a position of broker %s, stream %s: it looks like "
			       "%s<topic>/<sequence>",
			       base->env.name, nats_of(base)->options->stream, prefix);
	}
	out->a = strtoull(last + 1, &end, 10);
	out->b = 0;
	if (*end || out->a >= INT64_MAX) {
		return err_set(err, EB_EINVAL, "not a sequence number: %.40s", last + 1);
	}
	return 0;
}

static void op_destroy(struct adapter *base)
{
	struct nats_adapter *a = nats_of(base);

	nats_discard_all(a);
	pub_finish(a);
	api_finish(&a->api);
	acks_finish(a);
	admin_finish(a);
	table_finish(&a->consumers);
	table_finish(&a->flow_ids);
	for (int i = 0; i < a->n_discovered; i++) {
		free(a->discovered[i]);
	}
	free(a->discovered);
	adapter_finish(base);
	free(a);
}

static const struct adapter_ops ops = {
	.start = op_start,
	.publish = op_publish,
	.topic_ok = op_topic_ok,
	.flow_ok = op_flow_ok,
	.subscribe = op_subscribe,
	.credit = op_credit,
	.settle = op_settle,
	.unsubscribe = op_unsubscribe,
	.format_position = op_format_position,
	.parse_position = op_parse_position,
	.stop = op_stop,
	.destroy = op_destroy,
};

/* Until the server has told: what a server has by default. */
static const struct capabilities first_caps = {
	.dedupe_window_ms = 120000,
	.wildcards = true,
	.start_earliest = true,
	.start_time = true,
	.start_position = true,
	.order_key = true,
	.order_topic = true,
	.attempts_durable = true,
	.park = true,
	.lag = true,
	.durable = true,
	.max_event_bytes = ((size_t)1 << 20) - NATS_EVENT_ROOM,
};

static int nats_create(const struct adapter_env *env, const void *options, struct adapter **out,
		       struct err_text *err)
{
	struct nats_adapter *a = xcalloc(1, sizeof(*a));

	(void)err;
	adapter_init(&a->base, &ops, &adapter_kind_nats, env);
	a->base.caps = first_caps;
	a->options = options;
	if (a->options->domain) {
		snprintf(a->api_prefix, sizeof(a->api_prefix), "$JS.%s.API", a->options->domain);
	} else {
		snprintf(a->api_prefix, sizeof(a->api_prefix), "$JS.API");
	}
	if (a->options->stream_config.duplicate_window_ms) {
		a->base.caps.dedupe_window_ms = a->options->stream_config.duplicate_window_ms;
	}
	api_init(&a->api);
	pub_init(a);
	table_init(&a->consumers);
	table_init(&a->flow_ids);
	list_init(&a->flows);
	list_init(&a->dirty);
	list_init(&a->unsent_acks);
	list_init(&a->touched);
	list_init(&a->records);
	list_init(&a->recorded);
	list_init(&a->failures.waiting);
	list_init(&a->owners.waiting);
	*out = &a->base;
	return 0;
}

const struct adapter_kind adapter_kind_nats = {
	.name = "nats",
	.options = nats_option_table,
	.options_size = sizeof(struct nats_options),
	.check = nats_options_check,
	.warn = nats_options_warn,
	.create = nats_create,
};
