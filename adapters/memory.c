/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bus inside the daemon: life, turns, options.
 *
 * Happy path: a call stores or settles at once and leaves what there is to say for a later
 * turn; an idle handle, which runs only while there is something, says it before the loop polls
 * again: answers of publishes first, then notices, then deliveries, within a bound per turn.
 *
 * Failure modes: stop says what is left to say and closes the two handles, then frees
 * everything; what was pending is lost with the daemon, as the capabilities say.
 */
#include <assert.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapters/memory_impl.h"
#include "base/mem.h"
#include "base/topic.h"

#define POSITION_PREFIX "m1:"

/* ---- turns ----------------------------------------------------------------- */

void memory_account(struct memory_bus *b)
{
	const size_t now = memory_log_footprint(&b->log) + memory_holds_footprint(b) +
			   b->queue_bytes + b->n_flows * sizeof(struct memory_flow) +
			   b->routes.cache_bytes + b->routes.node_bytes;

	if (now > b->charged) {
		budget_charge(b->base.env.budget, now - b->charged);
	} else if (now < b->charged) {
		budget_release(b->base.env.budget, b->charged - now);
	}
	b->charged = now;
}

static void tell_answers(struct memory_bus *b)
{
	struct list batches, *item;

	list_init(&batches);
	list_splice_back(&batches, &b->answered);
	while ((item = list_pop_front(&batches))) {
		struct publish *p = container_of(item, struct publish, link);
		const uint32_t n = p->n;

		for (uint32_t i = 0; i < n; i++) {
			adapter_tell(&b->base, p, i);
		}
	}
}

static void tell_refused(struct memory_bus *b, struct flow *f)
{
	struct flow_note note = {.event = FLOW_REFUSED, .reason = REASON_OVERLOADED};

	if (f->subscribed) {
		snprintf(note.why, sizeof(note.why),
			 "the memory bus has as many flows as it may have (max_flows: %" PRId64 ")",
			 b->opt->max_flows);
		adapter_tell_flow(f, &note);
	}
}

static void tell_notices(struct memory_bus *b)
{
	struct memory_notice *notices = b->notices;
	const size_t n = b->n_notices;

	b->notices = NULL;
	b->n_notices = b->notices_cap = 0;
	for (size_t i = 0; i < n; i++) {
		switch (notices[i].kind) {
		case NOTICE_RECORDED:
			adapter_tell_recorded(notices[i].f, notices[i].item, 0);
			break;
		case NOTICE_REFUSED:
			tell_refused(b, notices[i].f);
			break;
		case NOTICE_GONE:
			adapter_tell_flow_gone(notices[i].f);
			break;
		}
	}
	free(notices);
}

static void run_flows(struct memory_bus *b)
{
	struct list ready, *item;
	uint32_t delivered = 0;

	list_init(&ready);
	list_splice_back(&ready, &b->ready);
	while (delivered < MEMORY_TURN_EVENTS && (item = list_pop_front(&ready))) {
		delivered += memory_flow_step(container_of(item, struct memory_flow, ready));
		if (list_empty(&ready)) {
			list_splice_back(&ready, &b->ready);
		}
	}
	/* What was not visited goes first next time. */
	list_splice_back(&ready, &b->ready);
	list_splice_back(&b->ready, &ready);
}

static bool has_work(const struct memory_bus *b)
{
	return !list_empty(&b->answered) || b->n_notices > 0 || !list_empty(&b->ready) ||
	       !list_empty(&b->replaying) || !list_empty(&b->dying) || !list_empty(&b->expired);
}

static void begin_close(struct memory_bus *b);

static void on_turn(uv_idle_t *idle)
{
	struct memory_bus *b = container_of(idle, struct memory_bus, idle);
	const int64_t now = (int64_t)uv_now(b->base.env.loop);

	b->turn++;
	if (b->tell_up) {
		b->tell_up = false;
		adapter_tell_up(&b->base);
	}
	tell_answers(b);
	tell_notices(b);
	if (b->base.stopping) {
		if (list_empty(&b->answered) && b->n_notices == 0) {
			begin_close(b);
		}
		return;
	}
	wheel_advance(&b->wheel, now, &b->expired);
	memory_parked_return(b);
	memory_flows_expire(b, now);
	memory_flows_replay(b);
	memory_flows_bury(b);
	run_flows(b);
	memory_account(b);
	if (wheel_next_ms(&b->wheel) >= 0) {
		memory_timer(b, wheel_next_ms(&b->wheel));
	}
	if (!has_work(b) && !b->base.stopping) {
		uv_idle_stop(&b->idle);
		b->working = false;
	}
}

void memory_work(struct memory_bus *b)
{
	if (!b->working) {
		b->working = true;
		uv_idle_start(&b->idle, on_turn);
	}
}

static void on_timer(uv_timer_t *timer)
{
	struct memory_bus *b = container_of(timer, struct memory_bus, timer);

	b->timer_due_ms = -1;
	memory_work(b);
}

void memory_timer(struct memory_bus *b, int64_t due_ms)
{
	const int64_t now = (int64_t)uv_now(b->base.env.loop);

	if (b->timer_due_ms >= 0 && b->timer_due_ms <= due_ms) {
		return;
	}
	b->timer_due_ms = due_ms;
	uv_timer_start(&b->timer, on_timer, due_ms > now ? (uint64_t)(due_ms - now) : 0, 0);
}

void memory_notice(struct memory_bus *b, enum memory_notice_kind kind, struct flow *f, void *item)
{
	if (b->n_notices == b->notices_cap) {
		b->notices_cap = b->notices_cap ? b->notices_cap * 2 : 64;
		b->notices = xrealloc(b->notices, b->notices_cap * sizeof(*b->notices));
	}
	b->notices[b->n_notices++] = (struct memory_notice){kind, f, item};
	memory_work(b);
}

static void publish(struct adapter *a, struct publish *p)
{
	struct memory_bus *b = memory_bus_of(a);

	memory_store(b, p);
	list_push_back(&b->answered, &p->link);
	memory_account(b);
	memory_work(b);
}

/* ---- positions: m1:<instance>:<topic>:<sequence> ------------------------------ */

static int format_position(struct adapter *a, struct slice topic, struct position p,
			   char out[POSITION_TEXT_MAX])
{
	const int n = snprintf(out, POSITION_TEXT_MAX, POSITION_PREFIX "%s:%.*s:%" PRIu64,
			       a->env.instance, SLICE_ARG(topic), p.a);

	return n > 0 && n < POSITION_TEXT_MAX ? 0 : EB_ETOOBIG;
}

/* Digits only, no sign, no blank, at least 1. */
static bool parse_sequence(const char *s, uint64_t *out)
{
	uint64_t v = 0;

	if (*s == '\0' || *s == '0' || strlen(s) > 19) {
		return false;
	}
	for (; *s; s++) {
		if (*s < '0' || *s > '9') {
			return false;
		}
		v = v * 10 + (uint64_t)(*s - '0');
	}
	*out = v;
	return true;
}

static int parse_position(struct adapter *a, const char *text, struct position *out,
			  struct err_text *err)
{
	const struct memory_bus *b = memory_bus_of(a);
	const size_t prefix = strlen(POSITION_PREFIX), instance = strlen(a->env.instance);
	uint64_t seq;

	if (strncmp(text, POSITION_PREFIX, prefix) != 0) {
		return err_set(err, EB_EINVAL, "not a position of a memory bus");
	}
	text += prefix;
	if (strncmp(text, a->env.instance, instance) != 0 || text[instance] != ':') {
		return err_set(err, EB_EINVAL,
			       "the position is of another run: a memory bus forgets at its end");
	}
	text += instance + 1;
	const char *colon = strchr(text, ':');
	if (!colon || !topic_valid(slice_of(text, (size_t)(colon - text))) ||
	    !parse_sequence(colon + 1, &seq) || seq >= b->log.next_seq) {
		return err_set(err, EB_EINVAL, "malformed position");
	}
	*out = (struct position){.a = seq};
	return 0;
}

/* ---- life ------------------------------------------------------------------ */

static bool flow_ok(struct adapter *a, const struct flow_spec *spec, struct answer *why)
{
	(void)a;
	if (spec->interop == INTEROP_NONE) {
		return true;
	}
	answer_set(why, OUTCOME_PERMANENT, REASON_NOT_SUPPORTED,
		   "interop needs a broker that others reach; the memory bus is inside the daemon");
	return false;
}

static int start(struct adapter *a, struct err_text *err)
{
	struct memory_bus *b = memory_bus_of(a);
	int rc = uv_idle_init(a->env.loop, &b->idle);

	if (rc == 0) {
		rc = uv_timer_init(a->env.loop, &b->timer);
	}
	if (rc < 0) { /* libuv's two cannot fail */
		return err_set(err, EB_EIO, "%s", uv_strerror(rc));
	}
	b->open_handles = 2;
	b->timer_due_ms = -1;
	wheel_init(&b->wheel, (int64_t)uv_now(a->env.loop));
	b->tell_up = true;
	memory_work(b);
	return 0;
}

static void on_closed(uv_handle_t *handle)
{
	struct memory_bus *b = handle->data;

	if (--b->open_handles == 0) {
		adapter_tell_stopped(&b->base);
	}
}

static void begin_close(struct memory_bus *b)
{
	b->idle.data = b->timer.data = b;
	uv_close((uv_handle_t *)&b->idle, on_closed);
	uv_close((uv_handle_t *)&b->timer, on_closed);
}

static void stop(struct adapter *a, bool force)
{
	(void)force; /* it waits for nobody */
	struct memory_bus *b = memory_bus_of(a);
	if (!uv_is_closing((uv_handle_t *)&b->idle)) {
		memory_work(b);
	}
}

static void destroy(struct adapter *a)
{
	struct memory_bus *b = memory_bus_of(a);

	memory_flows_finish(b);
	memory_holds_finish(b);
	memory_routes_finish(&b->routes);
	memory_log_finish(b);
	memory_account(b);
	assert(b->charged == 0);
	free(b->notices);
	adapter_finish(a);
	free(b);
}

static const struct adapter_ops ops = {
	.start = start,
	.publish = publish,
	.flow_ok = flow_ok,
	.subscribe = memory_subscribe,
	.credit = memory_credit,
	.settle = memory_settle,
	.unsubscribe = memory_unsubscribe,
	.format_position = format_position,
	.parse_position = parse_position,
	.stop = stop,
	.destroy = destroy,
};

static int create(const struct adapter_env *env, const void *options, struct adapter **out,
		  struct err_text *err)
{
	struct memory_bus *b = xcalloc(1, sizeof(*b));
	const size_t room = (size_t)((const struct memory_options *)options)->history;

	(void)err;
	adapter_init(&b->base, &ops, &adapter_kind_memory, env);
	b->opt = options;
	b->base.caps = (struct capabilities){
		.dedupe_window_ms = b->opt->dedupe_window_ms,
		.wildcards = true,
		.start_earliest = true,
		.start_time = true,
		.start_position = true,
		.order_key = true,
		.order_topic = true,
		.park = true,
		.lag = true,
		.max_event_bytes =
			room < env->max_event_bytes + MEMORY_OVERHEAD ? room - MEMORY_OVERHEAD : 0,
	};
	list_init(&b->answered);
	list_init(&b->flows);
	list_init(&b->ready);
	list_init(&b->memberless);
	list_init(&b->replaying);
	list_init(&b->dying);
	list_init(&b->expired);
	list_init(&b->free_holds);
	list_init(&b->tombs_by_age);
	table_init(&b->names);
	table_init(&b->tombs);
	memory_routes_init(&b->routes);
	memory_log_init(b);
	memory_account(b);
	*out = &b->base;
	return 0;
}

static const char *const overflow_names[] = {"refuse", "drop_oldest", NULL};

#define AT(field) offsetof(struct memory_options, field)
static const struct option options_table[] = {
	{.key = "history",
	 .kind = OPTION_SIZE,
	 .offset = AT(history),
	 .def = "64MiB",
	 .min = 1 << 20,
	 .max = (int64_t)1 << 40,
	 .doc = "bytes of events that are kept, delivered or not"},
	{.key = "overflow",
	 .kind = OPTION_ENUM,
	 .offset = AT(overflow),
	 .def = "refuse",
	 .choices = overflow_names,
	 .doc = "when undelivered events fill the history: refuse new ones, or drop_oldest"},
	{.key = "dedupe_window",
	 .kind = OPTION_DURATION,
	 .offset = AT(dedupe_window_ms),
	 .def = "2m",
	 .min = 0,
	 .max = (int64_t)7 * 24 * 3600 * 1000,
	 .doc = "an id published again to its topic within this time is stored once; 0s = off"},
	{.key = "flow_expiry",
	 .kind = OPTION_DURATION,
	 .offset = AT(flow_expiry_ms),
	 .def = "5m",
	 .min = 1,
	 .max = (int64_t)30 * 24 * 3600 * 1000,
	 .doc = "how long a group without members keeps its events"},
	{.key = "max_flows",
	 .kind = OPTION_INT,
	 .offset = AT(max_flows),
	 .def = "10000",
	 .min = 1,
	 .max = 1000000,
	 .doc = "most (group, pattern) pairs, with members or not"},
	{.key = NULL},
};

const struct adapter_kind adapter_kind_memory = {
	.name = "memory",
	.options = options_table,
	.options_size = sizeof(struct memory_options),
	.create = create,
};
