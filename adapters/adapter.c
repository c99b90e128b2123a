/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The checked wrapper around every adapter: what adapter.h promises and demands is asserted here,
 * with counters and flags only, so that a bug of an adapter (or of its caller) is found where
 * it happens and not three turns later.
 */
#include "adapters/adapter_impl.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

void adapter_init(struct adapter *a, const struct adapter_ops *ops, const struct adapter_kind *kind,
		  const struct adapter_env *env)
{
	memset(a, 0, sizeof(*a));
	a->ops = ops;
	a->kind = kind;
	a->env = *env;
	a->env.name = xstrdup(env->name);
	a->env.instance = xstrdup(env->instance);
	snprintf(a->tag, sizeof(a->tag), "%s:%s", kind->name, env->name);
}

void adapter_finish(struct adapter *a)
{
	free((char *)a->env.name);
	free((char *)a->env.instance);
	a->env.name = a->env.instance = NULL;
}

const struct capabilities *adapter_capabilities(const struct adapter *a)
{
	return &a->caps;
}

const char *adapter_tag(const struct adapter *a)
{
	return a->tag;
}

/* ---- calls --------------------------------------------------------------- */

static void op_begin(struct adapter *a)
{
	assert(!a->in_op);
	a->in_op = true;
}

static void op_end(struct adapter *a)
{
	a->in_op = false;
}

int adapter_start(struct adapter *a, struct err_text *err)
{
	assert(!a->started);
	op_begin(a);
	int rc = a->ops->start(a, err);
	op_end(a);
	a->started = rc == 0;
	return rc;
}

void adapter_publish(struct adapter *a, struct publish *p)
{
	assert(a->started && !a->stopping);
	assert(p->n > 0);
	for (uint32_t i = 0; i < p->n; i++) {
		p->items[i].answered = false;
	}
	p->untold = p->n;
	if (p->timeout_ms <= 0) {
		p->timeout_ms = a->env.publish_timeout_ms;
	}
	a->untold += p->n;
	op_begin(a);
	a->ops->publish(a, p);
	op_end(a);
}

bool adapter_topic_ok(struct adapter *a, struct slice topic, struct answer *why)
{
	return a->ops->topic_ok ? a->ops->topic_ok(a, topic, why) : true;
}

bool adapter_flow_ok(struct adapter *a, const struct flow_spec *spec, struct answer *why)
{
	return a->ops->flow_ok ? a->ops->flow_ok(a, spec, why) : true;
}

void flow_subscribe(struct adapter *a, struct flow *f)
{
	assert(a->started && !a->stopping);
	assert(!f->subscribed);
	f->adapter = a;
	f->impl = NULL;
	f->subscribed = true;
	f->held = 0;
	f->lag = 0;
	f->lag_known = false;
	a->flows++;
	op_begin(a);
	a->ops->subscribe(a, f);
	op_end(a);
}

void flow_credit(struct flow *f, struct credit now)
{
	struct adapter *a = f->adapter;

	assert(f->subscribed && !a->stopping);
	op_begin(a);
	a->ops->credit(a, f, now);
	op_end(a);
}

void flow_settle(struct flow *f, const struct settlement *items, uint32_t n)
{
	struct adapter *a = f->adapter;
	uint32_t given_back = 0;

	assert(f->subscribed && !a->stopping);
	if (n == 0) {
		return;
	}
	for (uint32_t i = 0; i < n; i++) {
		assert(items[i].handle);
		given_back += items[i].kind != SETTLE_RETRY;
	}
	assert(given_back <= f->held);
	f->held -= given_back;
	op_begin(a);
	a->ops->settle(a, f, items, n);
	op_end(a);
}

void flow_unsubscribe(struct flow *f)
{
	struct adapter *a = f->adapter;

	assert(f->subscribed && f->held == 0 && !a->stopping);
	f->subscribed = false;
	op_begin(a);
	a->ops->unsubscribe(a, f);
	op_end(a);
}

int adapter_format_position(struct adapter *a, struct slice topic, struct position p,
			    char out[POSITION_TEXT_MAX])
{
	return a->ops->format_position(a, topic, p, out);
}

int adapter_parse_position(struct adapter *a, const char *text, struct position *out,
			   struct err_text *err)
{
	return a->ops->parse_position(a, text, out, err);
}

void adapter_stop(struct adapter *a, bool force)
{
	assert(a->started);
	if (a->stopped) {
		return;
	}
	a->stopping = true;
	op_begin(a);
	a->ops->stop(a, force);
	op_end(a);
}

void adapter_destroy(struct adapter *a)
{
	if (!a) {
		return;
	}
	assert(!a->started || a->stopped);
	a->ops->destroy(a);
}

/* ---- upcalls: each is the last thing that its caller may rely on ------------ */

static void upcall_check(const struct adapter *a)
{
	assert(a->started && !a->stopped && !a->in_op);
}

void adapter_tell_up(struct adapter *a)
{
	upcall_check(a);
	assert(!a->up);
	a->up = true;
	a->env.up->on_up(a->env.ctx, a);
}

void adapter_tell_down(struct adapter *a, const char *why)
{
	upcall_check(a);
	assert(a->up);
	a->up = false;
	a->env.up->on_down(a->env.ctx, a, why);
}

void adapter_tell_deliver(struct flow *f, struct delivery *items, uint32_t n)
{
	struct adapter *a = f->adapter;

	upcall_check(a);
	assert(f->subscribed && n > 0);
	f->held += n;
	a->env.up->on_deliver(a->env.ctx, f, items, n);
}

void adapter_tell_flow(struct flow *f, const struct flow_note *note)
{
	struct adapter *a = f->adapter;

	upcall_check(a);
	assert(f->subscribed);
	a->env.up->on_flow(a->env.ctx, f, note);
}

void adapter_tell_revoked(struct flow *f, void *const *handles, uint32_t n)
{
	struct adapter *a = f->adapter;

	upcall_check(a);
	assert(f->subscribed && n <= f->held);
	f->held = n == 0 ? 0 : f->held - n;
	a->env.up->on_revoked(a->env.ctx, f, handles, n);
}

void adapter_tell_recorded(struct flow *f, void *item, int rc)
{
	struct adapter *a = f->adapter;

	upcall_check(a);
	assert(item && rc <= 0);
	a->env.up->on_recorded(a->env.ctx, f, item, rc);
}

void adapter_tell_flow_gone(struct flow *f)
{
	struct adapter *a = f->adapter;

	upcall_check(a);
	assert(!f->subscribed && a->flows > 0);
	a->flows--;
	f->impl = NULL;
	a->env.up->on_flow_gone(a->env.ctx, f);
}

void adapter_tell_stopped(struct adapter *a)
{
	upcall_check(a);
	assert(a->stopping && a->untold == 0 && a->flows == 0);
	a->stopped = true;
	a->up = false;
	a->env.up->on_stopped(a->env.ctx, a);
}

void adapter_tell(struct adapter *a, struct publish *p, uint32_t i)
{
	upcall_check(a);
	assert(i < p->n && !p->items[i].answered && p->untold > 0 && a->untold > 0);
	p->items[i].answered = true;
	p->untold--;
	a->untold--;
	p->told(p, i);
}

void adapter_tell_ok(struct adapter *a, struct publish *p, uint32_t i, struct position pos,
		     bool duplicate)
{
	struct publish_item *item = &p->items[i];

	item->position = pos;
	item->duplicate = duplicate;
	item->answer.outcome = OUTCOME_OK;
	item->answer.reason = REASON_NONE;
	item->answer.text[0] = '\0';
	adapter_tell(a, p, i);
}

void adapter_tell_failed(struct adapter *a, struct publish *p, uint32_t i, enum outcome o,
			 enum reason r, const char *text)
{
	struct publish_item *item = &p->items[i];

	assert(o != OUTCOME_OK);
	item->duplicate = false;
	answer_set(&item->answer, o, r, "%s", text);
	adapter_tell(a, p, i);
}
