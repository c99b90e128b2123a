/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way out: replies gather in s->out while a turn runs; at its end session_flush adds
 * Published and deliveries and gives it all to the socket in one write.
 *
 * Happy path: the socket takes everything, the buffer goes back to the spare ones.
 *
 * Failure modes:
 * - the socket takes a part: the rest becomes a uv_write; until it is through, buffers are charged
 *   to the budget, replies gather behind it and no delivery is taken from the bus once
 *   SESSION_OUT_TARGET waits (a slow reader pauses itself);
 * - too much stays unwritten for too long: session_time.c cuts; replies beyond the hard
 *   bound: cut at once, they cannot be paused;
 * - the peer is gone: cut, bytes not written go back uncounted.
 */
#include "daemon/session_impl.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define MIN_DELIVERY_BYTES 32

/* ---- queueing -------------------------------------------------------------- */

void session_touch(struct session *s)
{
	if (s->state != SESSION_CLOSING && !list_linked(&s->dirty)) {
		list_push_back(&s->set->dirty, &s->dirty);
	}
}

struct buf *session_out(struct session *s)
{
	struct sessions *set = s->set;

	if (!s->out.p && set->n_spare > 0) {
		s->out = set->spare[--set->n_spare];
	}
	session_touch(s);
	return &s->out;
}

static void give_back(struct sessions *set, struct buf *b)
{
	if (b->p && b->cap <= SESSION_SPARE_BYTES && set->n_spare < SESSION_SPARE_BUFFERS) {
		buf_reset(b, b->cap);
		set->spare[set->n_spare++] = *b;
		buf_init(b);
	} else {
		buf_finish(b);
		buf_init(b);
	}
}

void session_send(struct session *s, Eventbus__V1__Frame *frame)
{
	struct buf *out = session_out(s);
	size_t before = out->len;

	codec_write(out, frame);
	session_spend(s, out->len - before);
}

void session_send_error(struct session *s, Eventbus__V1__Error *e, const struct answer *why)
{
	Eventbus__V1__Frame f = EVENTBUS__V1__FRAME__INIT;

	e->outcome = (Eventbus__V1__Outcome)why->outcome;
	e->reason = (Eventbus__V1__Reason)why->reason;
	e->text = (char *)why->text;
	f.kind_case = EVENTBUS__V1__FRAME__KIND_ERROR;
	f.error = e;
	session_send(s, &f);
}

void session_refuse_request(struct session *s, uint64_t request, const struct answer *why)
{
	Eventbus__V1__Error e = EVENTBUS__V1__ERROR__INIT;

	e.re_case = EVENTBUS__V1__ERROR__RE_REQUEST;
	e.request = request;
	session_send_error(s, &e, why);
}

void session_refuse_subscription(struct session *s, uint32_t subscription, const struct answer *why)
{
	Eventbus__V1__Error e = EVENTBUS__V1__ERROR__INIT;

	e.re_case = EVENTBUS__V1__ERROR__RE_SUBSCRIPTION;
	e.subscription = subscription;
	session_send_error(s, &e, why);
}

/* ---- offsets --------------------------------------------------------------- */

static size_t in_kernel_queue(const struct session *s)
{
	return s->writing.len > 0 ? uv_stream_get_write_queue_size((const uv_stream_t *)&s->pipe)
				  : 0;
}

size_t session_unwritten(const struct session *s)
{
	return s->out.len + in_kernel_queue(s);
}

uint64_t session_flushed(const struct session *s)
{
	return s->submitted - in_kernel_queue(s);
}

/* ---- deliveries ------------------------------------------------------------ */

/* Writes n taken deliveries as frames of bounded size. */
static void write_deliveries(struct session *s, struct buf *out, uint32_t n)
{
	struct sessions *set = s->set;
	uint32_t first = 0, i;
	size_t frame = 0, size, largest = 0;

	for (i = 0; i < n; i++) {
		const struct outgoing *o = &set->outgoing[i];

		set->items[i] = (struct deliver_item){.subscription = o->subscription,
						      .attempt = o->attempt,
						      .tag = o->tag,
						      .epoch = o->epoch,
						      .event = o->event,
						      .position = o->position};
		size = codec_deliver_item_size(&set->items[i]);
		largest = size > largest ? size : largest;
		if (i > first && frame + size > SESSION_DELIVER_BYTES) {
			codec_write_deliver(out, &set->items[first], i - first);
			client_wrote(s->client, set->outgoing[i - 1].tag, s->submitted + out->len);
			first = i;
			frame = 0;
		}
		frame += size;
	}
	codec_write_deliver(out, &set->items[first], n - first);
	client_wrote(s->client, set->outgoing[n - 1].tag, s->submitted + out->len);
	s->delivery_hint = largest;
}

static void take_deliveries(struct session *s)
{
	size_t unwritten, size;
	uint32_t want, n;

	while (s->ready && (unwritten = session_unwritten(s)) < SESSION_OUT_TARGET) {
		size = s->delivery_hint > MIN_DELIVERY_BYTES ? s->delivery_hint
							     : MIN_DELIVERY_BYTES;
		want = (uint32_t)((SESSION_OUT_TARGET - unwritten) / size);
		want = want < 1 ? 1 : want > SESSION_DELIVER_MAX ? SESSION_DELIVER_MAX : want;
		n = client_next(s->client, s->set->outgoing, want);
		if (n > 0) {
			write_deliveries(s, session_out(s), n);
		}
		s->ready = n == want;
	}
}

/* ---- writing --------------------------------------------------------------- */

/* Buffers that stay from one turn to the next count as memory in use. */
static void charge(struct session *s)
{
	budget_release(s->set->budget, s->charged);
	s->charged = s->out.cap + s->writing.cap;
	budget_charge(s->set->budget, s->charged);
}

static void on_written(uv_write_t *req, int status)
{
	struct session *s = req->data;

	give_back(s->set, &s->writing);
	charge(s);
	if (s->state == SESSION_CLOSING) {
		return;
	}
	if (status != 0) {
		session_cut(s, NULL);
		return;
	}
	if (s->client) {
		client_flushed(s->client, s->submitted);
	}
	session_touch(s);
}

/* The socket took n bytes of out; the rest is left to libuv. */
static int write_rest(struct session *s, size_t n)
{
	uv_buf_t b;
	int rc;

	s->writing = s->out;
	buf_init(&s->out);
	buf_consume(&s->writing, n);
	b = uv_buf_init((char *)s->writing.p + s->writing.off, (unsigned)s->writing.len);
	s->write.data = s;
	rc = uv_write(&s->write, (uv_stream_t *)&s->pipe, &b, 1, on_written);
	if (rc != 0) {
		give_back(s->set, &s->writing);
	}
	return rc;
}

/* False when the session is gone. */
static bool write_out(struct session *s)
{
	uv_buf_t b = uv_buf_init((char *)s->out.p + s->out.off, (unsigned)s->out.len);
	size_t total = s->out.len;
	int n = uv_try_write((uv_stream_t *)&s->pipe, &b, 1);

	if (n < 0 && n != UV_EAGAIN) {
		session_cut(s, NULL);
		return false;
	}
	n = n < 0 ? 0 : n;
	if ((size_t)n == total) {
		give_back(s->set, &s->out);
	} else if (write_rest(s, (size_t)n) != 0) {
		session_cut(s, NULL);
		return false;
	}
	s->submitted += total;
	if (s->client) {
		client_flushed(s->client, session_flushed(s));
	}
	return true;
}

static void on_shutdown(uv_shutdown_t *req, int status)
{
	(void)req;
	(void)status; /* the peer closes now, or the linger timer does it */
}

/* Everything was written to a session that ends: the peer reads it and closes. */
static void shut(struct session *s)
{
	if (s->set->stopping) {
		session_cut(s, NULL);
	} else if (!s->shut) {
		s->shut = true;
		if (uv_shutdown(&s->shutdown, (uv_stream_t *)&s->pipe, on_shutdown) != 0) {
			session_cut(s, NULL);
		}
	}
}

/* Starts and ends the waits that depend on how much is unwritten. False when it was cut. */
static bool judge(struct session *s)
{
	const struct config_limits *l = &s->set->config->limits;
	size_t unwritten = session_unwritten(s);
	uint64_t now = uv_now(s->set->loop);

	charge(s);
	if (unwritten > 2 * ((size_t)l->unwritten_bytes + s->framer.max_frame)) {
		session_cut(s, "does not read its answers");
		return false;
	}
	if (unwritten > SESSION_OUT_TARGET * 2 + s->delivery_hint &&
	    budget_free(s->set->budget) == 0) {
		session_cut(s, "does not read while memory is short");
		return false;
	}
	if (unwritten <= (size_t)l->unwritten_bytes) {
		s->over_since = 0;
	} else if (s->over_since == 0) {
		s->over_since = now;
	}
	if (s->writing.len == 0) {
		s->stuck_since = 0;
	} else if (s->stuck_since == 0) {
		s->stuck_since = now;
		s->stuck_left = unwritten;
	}
	session_watch(s);
	return true;
}

void session_flush(struct session *s)
{
	session_write_published(s);
	if (s->client && !s->set->quiet) {
		take_deliveries(s);
	}
	if (s->out.len > 0 && s->writing.len == 0 && !write_out(s)) {
		return;
	}
	if (!judge(s)) {
		return;
	}
	if (s->state == SESSION_ENDING && s->writing.len == 0 && s->out.len == 0) {
		shut(s);
		return;
	}
	if (s->client && s->ready && session_unwritten(s) < SESSION_OUT_TARGET) {
		session_touch(s);
	}
}

void session_out_finish(struct session *s)
{
	give_back(s->set, &s->out);
	give_back(s->set, &s->writing);
	charge(s);
	buf_finish(&s->published.text);
	ranges_finish(&s->published.confirmed);
	free(s->published.positions);
	while (s->published.n_failures > 0) {
		free(s->published.failures[--s->published.n_failures].text);
	}
	free(s->published.failures);
}
