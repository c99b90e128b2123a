/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connection to the daemon.
 *
 * Happy path: connect, Hello, Welcome, then frames both ways until the client is destroyed.
 * Failure modes: connect fails, no Welcome in time, the daemon closes, bytes that are no protocol:
 * each ends in ebus_link_lost, which tells everybody and plans the next attempt with back-off. The
 * back-off begins anew after a connection that held for a while, so that a daemon that accepts
 * and closes at once is not stormed. A write error is only noted while frames are being read and
 * ends the turn.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/backoff.h"
#include "base/clock.h"
#include "base/random.h"
#include "client/internal.h"

#define MAX_FRAME	 ((size_t)64 << 20) /* from the daemon: far above any setting in use */
#define HELLO_TIMEOUT_MS 10000
#define STABLE_MS	 5000
#define TURN_BYTES	 ((size_t)1 << 20) /* read in one turn, so that others get theirs */
#define KEEP_BYTES	 ((size_t)1 << 20) /* of the output buffer, between bursts */

void ebus_link_init(struct link *l)
{
	*l = (struct link){.fd = -1};
	framer_init(&l->in, MAX_FRAME, NULL);
	buf_init(&l->out);
}

static void close_socket(struct link *l)
{
	if (l->fd >= 0) {
		close(l->fd);
		l->fd = -1;
	}
}

void ebus_link_finish(struct link *l)
{
	close_socket(l);
	framer_finish(&l->in);
	buf_finish(&l->out);
}

/* ---- down -------------------------------------------------------------------- */

static void plan_retry(struct eventbus *c)
{
	struct link *l = &c->link;
	const struct backoff b = {
		.kind = BACKOFF_EXPONENTIAL,
		.initial_ms = 50,
		.max_ms = c->o.reconnect_max_ms,
		.multiplier = 2,
		.jitter = 0.3,
	};

	if (l->state == LINK_READY && c->now_ms - l->ready_at_ms >= STABLE_MS) {
		l->attempts = 0;
	}
	l->attempts++;
	l->retry_at_ms = c->now_ms + backoff_delay_ms(&b, l->attempts, random_unit());
}

void ebus_link_lost(struct eventbus *c, const char *fmt, ...)
{
	struct link *l = &c->link;
	char why[256];
	va_list args;

	va_start(args, fmt);
	vsnprintf(why, sizeof(why), fmt, args);
	va_end(args);
	plan_retry(c);
	close_socket(l);
	framer_finish(&l->in);
	framer_init(&l->in, MAX_FRAME, NULL);
	buf_reset(&l->out, KEEP_BYTES);
	l->state = LINK_DOWN;
	l->broken = false;
	l->why[0] = '\0';
	c->draining = false;
	ebus_fail(c, EVENTBUS_EIO, "%s", why);
	ebus_settle_lost(c);
	ebus_outbox_lost(c);
	ebus_subs_lost(c);
	ebus_requests_lost(c);
	if (strcmp(c->told, why) != 0) {
		snprintf(c->told, sizeof(c->told), "%s", why);
		ebus_tell_connection(c, EVENTBUS_DISCONNECTED, why, -1);
	}
}

/* ---- up ---------------------------------------------------------------------- */

static void say_hello(struct eventbus *c)
{
	Eventbus__V1__Frame f = EVENTBUS__V1__FRAME__INIT;
	Eventbus__V1__Hello hello = EVENTBUS__V1__HELLO__INIT;

	hello.version = 1;
	hello.client = c->name;
	f.kind_case = EVENTBUS__V1__FRAME__KIND_HELLO;
	f.hello = &hello;
	codec_write(&c->link.out, &f);
}

static const char *remedy(int error)
{
	switch (error) {
	case ENOENT:
	case ECONNREFUSED:
		return " (is eventbusd running?)";
	case EACCES:
	case EPERM:
		return " (may this user open the socket? see socket.mode and socket.group)";
	case EAGAIN:
		return " (the daemon is busy)";
	default:
		return "";
	}
}

static void connect_now(struct eventbus *c)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	struct link *l = &c->link;
	int error = 0;

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", c->socket);
	l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (l->fd < 0 || connect(l->fd, (struct sockaddr *)&addr, sizeof(addr)) != 0) {
		error = errno;
		ebus_link_lost(c, "cannot connect to %s: %s%s", c->socket, strerror(error),
			       remedy(error));
		return;
	}
	l->state = LINK_HELLO;
	l->connection++;
	l->hello_end_ms = c->now_ms + HELLO_TIMEOUT_MS;
	say_hello(c);
	ebus_link_write(c);
}

/* ---- moving bytes -------------------------------------------------------------- */

void ebus_link_write(struct eventbus *c)
{
	struct link *l = &c->link;

	while (l->out.len && !l->broken && l->fd >= 0) {
		ssize_t n = send(l->fd, buf_data(&l->out), l->out.len, MSG_NOSIGNAL);

		if (n > 0) {
			buf_consume(&l->out, (size_t)n);
		} else if (n < 0 && errno == EAGAIN) {
			return;
		} else if (n < 0 && errno != EINTR) {
			/* The daemon may have said why before it closed: reading finds out. */
			l->broken = true;
		}
	}
	if (l->out.len == 0) {
		buf_reset(&l->out, KEEP_BYTES);
	}
}

static int read_frames(struct eventbus *c)
{
	struct shared_bytes *source;
	struct slice body;
	int rc;

	while (!c->destroyed && (rc = framer_next(&c->link.in, &body, &source)) != 0) {
		if (rc < 0) {
			return ebus_fail(c, EVENTBUS_EPROTO, "a frame of impossible length");
		}
		rc = ebus_frame_read(c, body);
		if (rc) {
			return rc;
		}
	}
	return 0;
}

static void ended(struct eventbus *c, const char *how)
{
	char why[sizeof(c->link.why)];

	snprintf(why, sizeof(why), "%s", c->link.why);
	ebus_link_lost(c, "%s%s%s", how, why[0] ? ": " : "", why);
}

/* One read and what it brought. True when more may be waiting. */
static bool read_some(struct eventbus *c, size_t *total)
{
	struct link *l = &c->link;
	size_t room;
	uint8_t *space = framer_space(&l->in, &room);
	ssize_t n = recv(l->fd, space, room, 0);
	int error = errno;

	framer_filled(&l->in, n > 0 ? (size_t)n : 0);
	if (n > 0) {
		*total += (size_t)n;
		if (read_frames(c) != 0) {
			ebus_link_lost(c, "protocol error: %s", c->error);
			return false;
		}
		return (size_t)n == room;
	}
	if (n == 0) {
		ended(c, "the daemon closed the connection");
	} else if (error != EAGAIN && error != EINTR) {
		ebus_link_lost(c, "reading from the daemon: %s", strerror(error));
	} else if (l->broken) {
		ended(c, "the connection broke");
	}
	return false;
}

void ebus_link_turn(struct eventbus *c)
{
	struct link *l = &c->link;
	size_t total = 0;

	if (l->state == LINK_DOWN && c->now_ms >= l->retry_at_ms) {
		connect_now(c);
	}
	while (l->fd >= 0 && read_some(c, &total) && total < TURN_BYTES && !c->destroyed &&
	       !c->stopping) {
		ebus_send(c);
	}
}

void ebus_link_timers(struct eventbus *c)
{
	if (c->link.state == LINK_HELLO && c->now_ms >= c->link.hello_end_ms) {
		ebus_link_lost(c, "no Welcome within %d s: is %s the socket of eventbusd?",
			       HELLO_TIMEOUT_MS / 1000, c->socket);
	}
}

int64_t ebus_link_due_ms(const struct link *l)
{
	switch (l->state) {
	case LINK_DOWN:
		return l->retry_at_ms;
	case LINK_HELLO:
		return l->hello_end_ms;
	default:
		return NEVER;
	}
}
