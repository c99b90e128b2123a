/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Happy path: session_open -> session_begin -> on_read -> session_input cuts frames ->
 * session_frame dispatches -> replies gather in session_out -> the turn flushes them.
 *
 * Failure modes:
 * - a structure error: session_fail queues one Error, session_end gives the client's events back,
 *   the output is flushed and shut, what still arrives is thrown away for SESSION_LINGER_MS;
 * - the peer goes, or a deadline of session_time.c passes: session_cut;
 * - it has more to say than a turn allows: it goes on set->waiting and reads on in the next
 *   turn, so a flood costs its sender, not the others; when many together have, some are read in a
 *   later turn (must_wait);
 * - publishes outlive the session: session_publish_detach.
 * Memory goes when both handles are closed.
 */
#include "daemon/session_impl.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/mem.h"

static void session_free(struct session *s)
{
	struct sessions *set = s->set;

	assert(!s->client && list_empty(&s->batches));
	session_out_finish(s);
	framer_finish(&s->framer);
	list_remove(&s->link);
	set->count--;
	session_names_finish(s);
	free(s->name);
	free(s);
	sessions_maybe_stopped(set);
}

static void on_handle_closed(uv_handle_t *handle)
{
	struct session *s = handle->data;

	if (--s->handles == 0) {
		session_free(s);
	}
}

static void stop_reading(struct session *s)
{
	if (s->reading) {
		uv_read_stop((uv_stream_t *)&s->pipe);
		s->reading = false;
	}
}

/* Ends what the client has in the bus; written offsets are final from here. */
static void leave_bus(struct session *s)
{
	struct client *c = s->client;

	session_publish_detach(s);
	if (c) {
		s->client = NULL;
		s->set->open--;
		log_info(s->tag, "left client=%s outstanding=%" PRIu64, s->name,
			 client_outstanding(c));
		client_destroy(c, session_flushed(s));
	}
}

static void close_handles(struct session *s)
{
	s->state = SESSION_CLOSING;
	stop_reading(s);
	list_remove(&s->dirty);
	list_remove(&s->waiting);
	uv_close((uv_handle_t *)&s->pipe, on_handle_closed);
	uv_close((uv_handle_t *)&s->timer, on_handle_closed);
}

void session_cut(struct session *s, const char *why)
{
	if (s->state == SESSION_CLOSING) {
		return;
	}
	if (why) {
		log_repeated(&s->set->fault_log, LOG_LEVEL_WARN, s->tag, "cut: %s", why);
	}
	s->set->active -= s->state < SESSION_ENDING;
	leave_bus(s);
	close_handles(s);
}

void session_end(struct session *s)
{
	if (s->state >= SESSION_ENDING) {
		return;
	}
	s->state = SESSION_ENDING;
	s->set->active--;
	s->hello_since = s->frame_since = 0;
	s->ending_since = uv_now(s->set->loop);
	leave_bus(s);
	framer_finish(&s->framer);
	list_remove(&s->waiting);
	session_touch(s);
	session_watch(s);
	session_resume(s);
}

void session_fail(struct session *s, enum outcome o, enum reason r, const char *fmt, ...)
{
	Eventbus__V1__Error e = EVENTBUS__V1__ERROR__INIT;
	struct answer why;
	struct err_text text;
	va_list ap;

	if (s->state >= SESSION_ENDING) {
		return;
	}
	va_start(ap, fmt);
	vsnprintf(text.s, sizeof(text.s), fmt, ap);
	va_end(ap);
	answer_set(&why, o, r, "%s", text.s);
	log_repeated(&s->set->fault_log, LOG_LEVEL_WARN, s->tag, "refused: %s pid=%d uid=%u",
		     why.text, (int)s->pid, (unsigned)s->uid);
	session_write_published(s);
	e.closing = 1;
	session_send_error(s, &e, &why);
	session_end(s);
}

/* ---- frames ---------------------------------------------------------------- */

static void not_supported(struct session *s, uint64_t request, const char *what)
{
	struct answer why;

	session_refuse_request(s, request,
			       answer_set(&why, OUTCOME_PERMANENT, REASON_NOT_SUPPORTED,
					  "%s: not supported by this version", what));
}

static void session_ping(struct session *s, const Eventbus__V1__Ping *r)
{
	Eventbus__V1__Frame f = EVENTBUS__V1__FRAME__INIT;
	Eventbus__V1__Pong pong = EVENTBUS__V1__PONG__INIT;

	pong.request = r->request;
	f.kind_case = EVENTBUS__V1__FRAME__KIND_PONG;
	f.pong = &pong;
	session_send(s, &f);
}

static void dispatch(struct session *s, const Eventbus__V1__Frame *f)
{
	switch (f->kind_case) {
	case EVENTBUS__V1__FRAME__KIND_NACK:
		session_nack(s, f->nack);
		break;
	case EVENTBUS__V1__FRAME__KIND_EXTEND:
		session_extend(s, f->extend);
		break;
	case EVENTBUS__V1__FRAME__KIND_SUBSCRIBE:
		session_subscribe(s, f->subscribe);
		break;
	case EVENTBUS__V1__FRAME__KIND_UNSUBSCRIBE:
		session_unsubscribe(s, f->unsubscribe->subscription);
		break;
	case EVENTBUS__V1__FRAME__KIND_PAUSE:
		session_pause(s, f->pause->subscription, true);
		break;
	case EVENTBUS__V1__FRAME__KIND_RESUME:
		session_pause(s, f->resume->subscription, false);
		break;
	case EVENTBUS__V1__FRAME__KIND_PING:
		session_ping(s, f->ping);
		break;
	case EVENTBUS__V1__FRAME__KIND_ADMIN:
		session_admin(s, f->admin);
		break;
	case EVENTBUS__V1__FRAME__KIND_REGISTER:
		not_supported(s, f->register_->request, "register");
		break;
	case EVENTBUS__V1__FRAME__KIND_HELLO:
		session_fail(s, OUTCOME_PERMANENT, REASON_INVALID,
			     "hello: sent twice; a session has one");
		break;
	default:
		session_fail(s, OUTCOME_PERMANENT, REASON_INVALID,
			     "frame: kind %d is sent by the daemon only", (int)f->kind_case);
		break;
	}
}

static void read_and_dispatch(struct session *s, struct slice body)
{
	Eventbus__V1__Frame *f;
	struct arena arena;
	struct err_text err;

	if (codec_read(CODEC_DAEMON, body, &arena, &f, &err) != 0) {
		session_fail(s, OUTCOME_PERMANENT, REASON_INVALID, "%s", err.s);
	} else {
		dispatch(s, f);
	}
	arena_finish(&arena);
}

static void session_frame(struct session *s, struct slice body, struct shared_bytes *source)
{
	int kind = codec_kind(body);

	if (s->state == SESSION_HELLO && kind != EVENTBUS__V1__FRAME__KIND_HELLO) {
		session_fail(s, OUTCOME_PERMANENT, REASON_INVALID,
			     kind == 0 ? "frame: not a Frame message" : "hello: must come first");
		return;
	}
	switch (kind) {
	case EVENTBUS__V1__FRAME__KIND_PUBLISH:
		session_publish(s, body, source);
		break;
	case EVENTBUS__V1__FRAME__KIND_ACK:
		session_ack(s, body);
		break;
	case EVENTBUS__V1__FRAME__KIND_HELLO:
		if (s->state == SESSION_HELLO) {
			session_hello(s, body);
			break;
		}
		/* fall through */
	default:
		read_and_dispatch(s, body);
		break;
	}
}

/* ---- reading --------------------------------------------------------------- */

void session_spend(struct session *s, size_t bytes)
{
	if (s->turn != s->set->turn) {
		s->turn = s->set->turn;
		s->turn_bytes = 0;
	}
	s->turn_bytes += bytes;
	s->set->turn_bytes += bytes;
}

static bool spent(const struct session *s)
{
	return s->turn == s->set->turn && s->turn_bytes >= SESSION_TURN_BYTES;
}

/* Every whole frame that is buffered, as far as the turn allows. True when there may be more. */
static bool session_input(struct session *s)
{
	struct shared_bytes *source;
	struct slice body;
	uint64_t now = uv_now(s->set->loop);
	int rc;

	while (!spent(s)) {
		rc = framer_next(&s->framer, &body, &source);
		if (rc == 0) {
			break;
		}
		if (rc < 0) {
			session_fail(s, OUTCOME_PERMANENT, REASON_INVALID,
				     rc == EB_ETOOBIG ? "frame: longer than %zu bytes"
						      : "frame: length 0 (at most %zu)",
				     s->framer.max_frame);
			return false;
		}
		s->frame_since = 0;
		session_spend(s, FRAME_HEADER + body.n);
		session_frame(s, body, source);
		if (s->state >= SESSION_ENDING) {
			return false;
		}
	}
	if (spent(s)) {
		return true;
	}
	if (!framer_midway(&s->framer)) {
		s->frame_since = 0;
		return false;
	}
	if (s->frame_since == 0) {
		s->frame_since = now;
		session_watch(s);
	}
	sessions_shed(s->set);
	return false;
}

/*
 * Whether to leave the bytes with the kernel for a later turn. When a turn could not serve
 * everybody, those it served stand back until the others had theirs: that is one round.
 */
static bool must_wait(struct session *s)
{
	struct sessions *set = s->set;

	if (set->long_round && s->round == set->round) {
		return true;
	}
	if (set->turn_bytes >= SESSION_TURN_TOTAL) {
		set->long_round = set->left_out = true;
		return true;
	}
	s->round = set->round;
	return false;
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	/* What a failed session still sends is read and thrown away, so that it can get to
	 * reading our Error. */
	static uint8_t sink[4096];
	struct session *s = handle->data;
	size_t n = 0;
	uint8_t *p;

	(void)suggested;
	if (s->state == SESSION_ENDING) {
		*buf = uv_buf_init((char *)sink, sizeof(sink));
		return;
	}
	if (must_wait(s)) {
		*buf = uv_buf_init(NULL, 0);
		return;
	}
	s->framer.ceiling = s->set->read_ceiling;
	p = framer_space(&s->framer, &n);
	*buf = uv_buf_init((char *)p, (unsigned)n);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct session *s = stream->data;

	(void)buf;
	if (n == UV_ENOBUFS) {
		return; /* on_alloc had it wait; the loop tells of it again */
	}
	if (n < 0) {
		session_cut(s, n == UV_EOF || n == UV_ECONNRESET ? NULL : uv_strerror((int)n));
		return;
	}
	if (s->state != SESSION_ENDING) {
		framer_filled(&s->framer, (size_t)n);
	}
	if (n > 0) {
		session_resume(s);
	}
}

void session_resume(struct session *s)
{
	bool more;

	if (s->state == SESSION_CLOSING) {
		return;
	}
	more = s->state < SESSION_ENDING && !s->set->quiet && session_input(s);
	if (s->state == SESSION_CLOSING) {
		return;
	}
	if (more || s->set->quiet) {
		stop_reading(s);
		if (more && !list_linked(&s->waiting)) {
			list_push_back(&s->set->waiting, &s->waiting);
		}
	} else if (!s->reading) {
		s->reading = true;
		uv_read_start((uv_stream_t *)&s->pipe, on_alloc, on_read);
	}
}

/* ---- life ------------------------------------------------------------------ */

struct session *session_open(struct sessions *set)
{
	struct session *s = xcalloc(1, sizeof(*s));

	s->set = set;
	s->id = ++set->next_id;
	snprintf(s->tag, sizeof(s->tag), "session %" PRIu64, s->id);
	list_item_init(&s->dirty);
	list_item_init(&s->waiting);
	list_init(&s->batches);
	list_push_back(&set->all, &s->link);
	set->count++;
	set->active++;
	framer_init(&s->framer, (size_t)set->config->socket.max_frame, set->budget);
	buf_init(&s->out);
	buf_init(&s->writing);
	buf_init(&s->published.text);
	ranges_init(&s->published.confirmed);
	uv_pipe_init(set->loop, &s->pipe, 0);
	uv_timer_init(set->loop, &s->timer);
	s->pipe.data = s->timer.data = s;
	s->handles = 2;
	return s;
}

static void read_peer(struct session *s)
{
	struct ucred cred = {.uid = (uid_t)-1, .gid = (gid_t)-1};
	socklen_t n = sizeof(cred);
	uv_os_fd_t fd;

	/* A uid that cannot be read matches no rule but "*". */
	if (uv_fileno((uv_handle_t *)&s->pipe, &fd) == 0) {
		getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &n);
	}
	s->pid = cred.pid;
	s->uid = cred.uid;
	s->gid = cred.gid;
}

void session_begin(struct session *s)
{
	struct sessions *set = s->set;
	int size = (int)SESSION_OUT_TARGET * 2;

	read_peer(s);
	/* Fewer wake-ups for a reader that falls behind; the kernel takes what it allows. */
	uv_send_buffer_size((uv_handle_t *)&s->pipe, &size);
	log_debug(s->tag, "connected pid=%d uid=%u gid=%u", (int)s->pid, (unsigned)s->uid,
		  (unsigned)s->gid);
	if (set->count > 2 * (uint32_t)set->config->socket.max_clients) {
		session_cut(s, "far more connections than socket.max_clients");
		return;
	}
	if (set->active > (uint32_t)set->config->socket.max_clients) {
		session_fail(s, OUTCOME_NOT_STORED, REASON_OVERLOADED,
			     "socket.max_clients: %lld clients are connected already",
			     (long long)set->config->socket.max_clients);
		return;
	}
	s->hello_since = uv_now(set->loop);
	session_watch(s);
	session_resume(s);
}
