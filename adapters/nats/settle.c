/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Held events: what the server waits for, how it is answered, and what keeps it waiting.
 *
 * Happy path: held_create -> delivered -> ACK: "+ACK" on the reply subject -> held_free. Every
 * third of ack_wait that passes, what is still held is answered "+WPI", the longest untouched
 * first.
 *
 * Failure modes: no connection: acks of a shared flow wait until there is one; those of an
 * exclusive flow need not, its next consumer is told when the event comes again. An ack lost on
 * the way: the event is delivered again, which is no loss. A record being written when the event
 * is settled: the event lives on, without a handle, until it is written.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapters/nats/flow.h"
#include "base/clock.h"
#include "base/mem.h"

#define ACK_TEXT_MAX   64
#define TOUCH_AT_ONCE  4096
#define TOUCH_MAX_WAIT 30000 /* Connectum's ack_wait: no consumer that we share has less */

/* ---- life ---------------------------------------------------------------------------- */

void prefix_unref(struct ack_prefix *p)
{
	if (p && --p->refs == 0) {
		free(p);
	}
}

static struct ack_prefix *prefix_for(struct nats_flow *nf, struct slice text)
{
	struct ack_prefix *p = nf->prefix;

	if (!p || p->n != text.n || memcmp(p->text, text.p, text.n) != 0) {
		prefix_unref(p);
		p = xmalloc(sizeof(*p) + text.n);
		p->refs = 1;
		p->n = (uint32_t)text.n;
		memcpy(p->text, text.p, text.n);
		nf->prefix = p;
	}
	p->refs++;
	return p;
}

struct held *held_find(const struct nats_flow *nf, uint64_t seq)
{
	for (struct table_entry *e = table_first(&nf->held, hash_u64(seq)); e; e = table_next(e)) {
		struct held *h = container_of(e, struct held, entry);

		if (h->seq == seq) {
			return h;
		}
	}
	return NULL;
}

void held_refresh(struct held *h, const struct nats_ack_subject *ack)
{
	struct ack_prefix *old = h->prefix;

	h->prefix = prefix_for(h->flow, ack->prefix);
	prefix_unref(old);
	h->consumer_seq = ack->consumer_seq;
	h->stored_ns = ack->time_ns;
	h->delivered = (uint32_t)ack->delivered;
	h->touched_ms = clock_mono_ms();
	if (h->state == HELD_OUT) {
		list_remove(&h->link);
		list_push_back(&h->flow->adapter->touched, &h->link);
	}
}

struct held *held_create(struct nats_flow *nf, const struct nats_ack_subject *ack)
{
	struct held *h = xcalloc(1, sizeof(*h));

	h->flow = nf;
	h->seq = ack->stream_seq;
	h->state = HELD_READY;
	h->in_table = true;
	list_item_init(&h->link);
	held_refresh(h, ack);
	table_insert(&nf->held, &h->entry, hash_u64(h->seq));
	nf->adapter->n_held++;
	budget_charge(nf->adapter->base.env.budget, sizeof(*h));
	return h;
}

static void leave_table(struct held *h)
{
	if (h->in_table) {
		table_remove(&h->flow->held, &h->entry);
		h->in_table = false;
	}
}

/* Out of the flow's sight: its number may come again as another event, its flow may end. */
static void forget(struct held *h)
{
	struct nats_flow *nf = h->flow;

	if (h->state == HELD_READY && list_linked(&h->link)) {
		nf->n_ready--;
	}
	list_remove(&h->link);
	leave_table(h);
	event_unref(h->event);
	h->event = NULL;
	api_cancel(nf->adapter, &h->call);
	h->state = HELD_DONE;
}

void held_orphan(struct held *h)
{
	leave_table(h);
	prefix_unref(h->prefix);
	h->prefix = NULL;
}

static void destroy(struct nats_adapter *a, struct held *h)
{
	prefix_unref(h->prefix);
	free(h->last_word);
	a->n_held--;
	budget_release(a->base.env.budget, sizeof(*h));
	free(h);
}

void held_free(struct held *h)
{
	forget(h);
	if (h->records == 0) {
		destroy(h->flow->adapter, h);
	}
}

/* ---- saying it -------------------------------------------------------------------------- */

void ack_directly(struct nats_adapter *a, const char *reply, const char *what)
{
	natsConnection *nc = link_nc(a->link);

	if (nc) {
		natsConnection_PublishString(nc, reply, what);
	}
}

static size_t put_token(char *out, uint64_t v)
{
	const size_t n = nats_put_number(out, v);

	out[n] = '.';
	return n + 1;
}

/* False: there is no connection. */
static bool say(struct nats_adapter *a, const struct held *h, const char *what)
{
	natsConnection *nc = link_nc(a->link);
	char subject[NATS_SUBJECT_MAX + NATS_NAME_MAX];
	size_t n = h->prefix ? h->prefix->n : 0;

	if (n == 0) {
		return true; /* an orphan */
	}
	if (!nc || !conn_up(a) || n + 120 > sizeof(subject)) {
		return false;
	}
	memcpy(subject, h->prefix->text, n);
	n += put_token(subject + n, h->delivered);
	n += put_token(subject + n, h->seq);
	n += put_token(subject + n, h->consumer_seq);
	n += put_token(subject + n, (uint64_t)h->stored_ns);
	subject[n++] = '0';
	subject[n] = '\0';
	return natsConnection_Publish(nc, subject, what, (int)strlen(what)) == NATS_OK;
}

/* The last word about h, which is gone then, or waits for its record or for a connection. */
static void say_last(struct nats_flow *nf, struct held *h, const char *what)
{
	struct nats_adapter *a = nf->adapter;

	forget(h);
	if (h->records == 0 && (say(a, h, what) || nf->exclusive)) {
		destroy(a, h);
		return;
	}
	h->last_word = xstrdup(what);
	if (h->records == 0) {
		h->flow = NULL; /* may be gone before there is a connection */
		list_push_back(&a->unsent_acks, &h->link);
	}
}

void held_recorded(struct held *h)
{
	struct nats_flow *nf = h->flow;
	char *what;

	nf->n_records--;
	if (--h->records > 0 || h->state != HELD_DONE) {
		return;
	}
	what = h->last_word;
	h->last_word = NULL;
	if (what && what[0] == '+' && h->record_seq) {
		failures_remove(nf->adapter, h->record_seq);
	}
	if (what) {
		say_last(nf, h, what);
	} else {
		destroy(nf->adapter, h);
	}
	free(what);
	flow_mark(nf);
}

static void nak_text(char out[ACK_TEXT_MAX], int64_t delay_ms)
{
	if (delay_ms > 0) {
		snprintf(out, ACK_TEXT_MAX, "-NAK {\"delay\":%" PRId64 "}", delay_ms * 1000000);
	} else {
		snprintf(out, ACK_TEXT_MAX, "-NAK");
	}
}

void held_nak(struct held *h, int64_t delay_ms)
{
	char text[ACK_TEXT_MAX];

	nak_text(text, delay_ms);
	say_last(h->flow, h, text);
}

/* ---- settling ---------------------------------------------------------------------------- */

/* It comes again over the consumer of this flow, or over its next one. */
static void release_exclusive(struct held *h, int64_t delay_ms)
{
	char text[ACK_TEXT_MAX];

	nak_text(text, delay_ms);
	list_remove(&h->link);
	h->state = HELD_RELEASED;
	say(h->flow->adapter, h, text);
}

/*
 * Nothing may overtake what is given back: the consumer is made anew in front of it, and what stood
 * ready behind it comes again with it.
 */
static void release_ordered(struct nats_flow *nf, struct held *h)
{
	struct list *item;

	list_remove(&h->link);
	h->state = HELD_RELEASED;
	while ((item = list_pop_front(&nf->ready))) {
		struct held *behind = container_of(item, struct held, link);

		api_cancel(nf->adapter, &behind->call);
		event_unref(behind->event);
		behind->event = NULL;
		behind->state = HELD_RELEASED;
	}
	nf->n_ready = 0;
	nf->reset = true;
	flow_mark(nf);
}

static void release(struct nats_flow *nf, struct held *h)
{
	/* With a pull of ours open that nobody wants, it would come back to us at once. */
	const int64_t delay_ms = nf->pull.open && nf->credit.events == 0 ? 200 : 0;

	if (nf->ordered) {
		release_ordered(nf, h);
	} else if (nf->exclusive) {
		release_exclusive(h, delay_ms);
	} else {
		held_nak(h, delay_ms);
	}
}

static void acknowledge(struct nats_flow *nf, struct held *h)
{
	const uint64_t record = h->records == 0 ? h->record_seq : 0;

	say_last(nf, h, "+ACK");
	if (record) {
		failures_remove(nf->adapter, record); /* last: a crash between keeps the count */
	}
}

static void park(struct nats_flow *nf, struct held *h, const struct settlement *s)
{
	h->failures = s->failures;
	failures_write(h, s->ctx);
	if (nf->exclusive) {
		release_exclusive(h, s->delay_ms);
	} else {
		held_nak(h, s->delay_ms);
	}
}

static void settle(struct nats_flow *nf, const struct settlement *s)
{
	struct held *h = s->handle;

	assert(h->flow == nf && h->state == HELD_OUT);
	switch (s->kind) {
	case SETTLE_ACK:
		acknowledge(nf, h);
		break;
	case SETTLE_RELEASE:
		release(nf, h);
		break;
	case SETTLE_RETRY:
		h->failures = s->failures;
		failures_write(h, s->ctx);
		break;
	case SETTLE_PARK:
		park(nf, h, s);
		break;
	}
}

void flow_settle_items(struct nats_flow *nf, const struct settlement *items, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		settle(nf, &items[i]);
	}
}

/* ---- connection and time ------------------------------------------------------------------- */

void acks_on_up(struct nats_adapter *a)
{
	struct list *item;

	while ((item = list_pop_front(&a->unsent_acks))) {
		struct held *h = container_of(item, struct held, link);

		if (!say(a, h, h->last_word)) {
			list_push_front(&a->unsent_acks, item);
			return;
		}
		destroy(a, h);
	}
}

void acks_tick(struct nats_adapter *a, int64_t now_ms)
{
	const int64_t wait =
		a->options->ack_wait_ms < TOUCH_MAX_WAIT ? a->options->ack_wait_ms : TOUCH_MAX_WAIT;

	for (uint32_t i = 0; i < TOUCH_AT_ONCE && !list_empty(&a->touched); i++) {
		struct held *h = container_of(list_first(&a->touched), struct held, link);

		if (now_ms - h->touched_ms < wait / 3 || !say(a, h, "+WPI")) {
			return;
		}
		h->touched_ms = now_ms;
		list_remove(&h->link);
		list_push_back(&a->touched, &h->link);
	}
}

void acks_finish(struct nats_adapter *a)
{
	while (!list_empty(&a->unsent_acks)) {
		struct list *item = list_pop_front(&a->unsent_acks);

		destroy(a, container_of(item, struct held, link));
	}
}
