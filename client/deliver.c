/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Deliveries to handlers, and settling.
 *
 * Happy path: each delivery of a frame goes to its subscription's handler as views into the read
 * buffer; what the handler returned is collected as ranges of tags and leaves as few frames
 * when the turn ends. A slow handler must not keep the acks of those before it: after
 * FLUSH_MS they are written between two deliveries.
 * Failure modes: the subscription is gone or going -> the delivery is released; the connection is
 * lost -> what was collected means nothing any more and is forgotten.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "client/internal.h"

#define FLUSH_MS	20
#define FRAME_RANGES	2048 /* fits the smallest max_frame that can be configured, 64 KiB */
#define MAX_DELAY_MS	((int64_t)24 * 3600 * 1000)
#define MAX_PENDING_OUT ((size_t)4 << 20)

/* A few ns; as fine as the kernel's tick. */
static int64_t coarse_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- settling: collected ------------------------------------------------------------ */

static void write_acks(struct eventbus *c)
{
	if (c->acks.n) {
		codec_write_ack(&c->link.out, &c->acks, false, 0);
		ranges_clear(&c->acks);
	}
}

/* The array of pointers and the messages behind it, as protobuf-c wants them; one free(). */
static Eventbus__V1__Range **range_messages(const struct ranges *r)
{
	Eventbus__V1__Range **p = xmalloc(r->n * (sizeof(*p) + sizeof(**p)));
	Eventbus__V1__Range *messages = (Eventbus__V1__Range *)(void *)(p + r->n);

	for (size_t i = 0; i < r->n; i++) {
		eventbus__v1__range__init(&messages[i]);
		messages[i].first = r->v[i].first;
		messages[i].last = r->v[i].last;
		p[i] = &messages[i];
	}
	return p;
}

static void write_nacks(struct eventbus *c)
{
	Eventbus__V1__Frame f = EVENTBUS__V1__FRAME__INIT;
	Eventbus__V1__Nack nack = EVENTBUS__V1__NACK__INIT;

	if (c->nack.tags.n == 0) {
		return;
	}
	nack.n_tags = c->nack.tags.n;
	nack.tags = range_messages(&c->nack.tags);
	nack.kind = (Eventbus__V1__NackClass)c->nack.how;
	nack.reason = c->nack.reason;
	if (c->nack.delay_ms >= 0) {
		nack.delay_case = EVENTBUS__V1__NACK__DELAY_DELAY_MS;
		nack.delay_ms = (uint64_t)c->nack.delay_ms;
	}
	f.kind_case = EVENTBUS__V1__FRAME__KIND_NACK;
	f.nack = &nack;
	codec_write(&c->link.out, &f);
	free(nack.tags);
	ranges_clear(&c->nack.tags);
}

static void write_extends(struct eventbus *c)
{
	Eventbus__V1__Frame f = EVENTBUS__V1__FRAME__INIT;
	Eventbus__V1__Extend extend = EVENTBUS__V1__EXTEND__INIT;

	if (c->extends.n == 0) {
		return;
	}
	extend.n_tags = c->extends.n;
	extend.tags = range_messages(&c->extends);
	f.kind_case = EVENTBUS__V1__FRAME__KIND_EXTEND;
	f.extend = &extend;
	codec_write(&c->link.out, &f);
	free(extend.tags);
	ranges_clear(&c->extends);
}

void ebus_settle_ack(struct eventbus *c, uint64_t tag)
{
	ranges_add(&c->acks, tag, tag);
	if (c->acks.n == FRAME_RANGES) {
		write_acks(c);
	}
}

/* The text as the daemon takes it: UTF-8 without NUL, at most REASON_MAX bytes. */
static void copy_reason(char out[REASON_MAX + 1], const char *reason)
{
	size_t n = 0;

	for (const char *p = reason; p && *p && n < REASON_MAX;) {
		size_t one = utf8_char((const uint8_t *)p, strnlen(p, 4));

		if (one == 0) {
			out[n++] = '?';
			p++;
		} else if (n + one > REASON_MAX) {
			break;
		} else {
			memcpy(out + n, p, one);
			n += one;
			p += one;
		}
	}
	out[n] = '\0';
}

void ebus_settle_nack(struct eventbus *c, uint64_t tag, enum eventbus_class how, int64_t delay_ms,
		      const char *reason)
{
	struct pending_nack *p = &c->nack;
	char text[REASON_MAX + 1];

	delay_ms = how != EVENTBUS_RETRY ? -1 : delay_ms > MAX_DELAY_MS ? MAX_DELAY_MS : delay_ms;
	copy_reason(text, reason);
	if (p->tags.n == FRAME_RANGES || p->how != how || p->delay_ms != delay_ms ||
	    strcmp(p->reason, text) != 0) {
		write_nacks(c);
		p->how = how;
		p->delay_ms = delay_ms;
		memcpy(p->reason, text, sizeof(text));
	}
	ranges_add(&p->tags, tag, tag);
}

int ebus_settle_extend(struct eventbus *c, uint64_t tag)
{
	if (c->link.out.len > MAX_PENDING_OUT) {
		return ebus_fail(c, EVENTBUS_EAGAIN, "the daemon does not read");
	}
	ranges_add(&c->extends, tag, tag);
	if (c->extends.n == FRAME_RANGES) {
		write_extends(c);
	}
	return 0;
}

void ebus_settle_pump(struct eventbus *c)
{
	write_acks(c);
	write_nacks(c);
	write_extends(c);
	c->flushed_ms = coarse_ms();
}

void ebus_settle_lost(struct eventbus *c)
{
	ranges_clear(&c->acks);
	ranges_clear(&c->nack.tags);
	ranges_clear(&c->extends);
}

/* ---- delivering ------------------------------------------------------------------------ */

static struct eventbus_text text_of(struct slice s)
{
	return (struct eventbus_text){(const char *)s.p, s.n};
}

static void views(struct eventbus_event *out, const struct delivery_view *d)
{
	const struct event *e = &d->views;

	*out = (struct eventbus_event){
		.id = text_of(e->id),
		.topic = text_of(e->topic),
		.key = text_of(e->key),
		.content_type = text_of(e->content_type),
		.message_type = text_of(e->message_type),
		.payload = e->payload.p,
		.payload_size = e->payload.n,
		.published_at_ms = e->published_at_ms,
		.attempt = d->attempt,
		.metadata_count = e->metadata_count,
		.method = text_of(d->method),
		.position = text_of(d->position),
		.epoch = d->epoch,
		.tag = d->tag,
		.encoded = text_of(d->event),
	};
}

static void settle(struct eventbus *c, uint64_t tag, int rc)
{
	const struct running *r = &c->running;

	if (r->taken) {
		return;
	}
	if (rc == 0) {
		ebus_settle_ack(c, tag);
	} else if (r->failed) {
		ebus_settle_nack(c, tag, r->how, r->delay_ms, r->reason);
	} else {
		ebus_settle_nack(c, tag, EVENTBUS_RETRY, -1, "");
	}
}

static void run_handler(struct eventbus *c, struct eventbus_subscription *s,
			struct eventbus_event *e)
{
	int rc;

	c->running.event = e;
	c->running.taken = NULL;
	c->running.failed = false;
	rc = s->o.handler(s->o.ctx, e);
	c->running.event = NULL;
	settle(c, e->tag, rc);
}

static void flush_if_slow(struct eventbus *c)
{
	if (coarse_ms() - c->flushed_ms >= FLUSH_MS) {
		ebus_settle_pump(c);
		ebus_link_write(c);
	}
}

static int on_delivery(void *ctx, const struct delivery_view *d)
{
	struct eventbus *c = ctx;
	struct eventbus_subscription *s = ebus_sub_find(c, d->subscription);
	struct eventbus_event e;

	if (!s || (s->state != SUB_ACTIVE && s->state != SUB_ASKED)) {
		ebus_settle_nack(c, d->tag, EVENTBUS_RELEASE, -1, "unsubscribed");
		return 0;
	}
	views(&e, d);
	e.subscription = s;
	run_handler(c, s, &e);
	flush_if_slow(c);
	return c->destroyed;
}

int ebus_deliver_read(struct eventbus *c, struct slice body, struct err_text *err)
{
	return codec_read_deliver(body, on_delivery, c, err);
}

/* ---- what a handler may say --------------------------------------------------------------- */

static int fail(struct eventbus_event *e, enum eventbus_class how, int64_t delay_ms,
		const char *reason)
{
	struct running *r = &e->subscription->client->running;

	if (r->event == e) {
		r->failed = true;
		r->how = how >= EVENTBUS_RETRY && how <= EVENTBUS_DROP ? how : EVENTBUS_RETRY;
		r->delay_ms = delay_ms;
		copy_reason(r->reason, reason);
	}
	return 1;
}

int eventbus_fail(struct eventbus_event *e, enum eventbus_class how, const char *reason)
{
	return fail(e, how, -1, reason);
}

int eventbus_fail_after(struct eventbus_event *e, int64_t delay_ms, const char *reason)
{
	return fail(e, EVENTBUS_RETRY, delay_ms < 0 ? 0 : delay_ms, reason);
}

bool eventbus_metadata_next(const struct eventbus_event *e, size_t *pos, struct eventbus_text *key,
			    struct eventbus_text *value)
{
	const struct event view = {.raw = slice_of(e->encoded.p, e->encoded.n),
				   .metadata_count = e->metadata_count};
	struct metadata_pair pair;

	if (!event_metadata_next(&view, pos, &pair)) {
		return false;
	}
	*key = text_of(pair.key);
	*value = text_of(pair.value);
	return true;
}

bool eventbus_metadata_get(const struct eventbus_event *e, const char *key,
			   struct eventbus_text *value)
{
	size_t pos = 0, n = strlen(key);
	struct eventbus_text k;

	while (eventbus_metadata_next(e, &pos, &k, value)) {
		if (k.n == n && memcmp(k.p, key, n) == 0) {
			return true;
		}
	}
	return false;
}
