/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client's life and its turns.
 *
 * Happy path: eventbus_process reads what the daemon said, calls the callbacks, lets the timers
 * run, and writes all that came of it in as few writes as possible; then it sets the descriptor
 * that the user polls: an epoll instance with the socket of the moment and one timer inside, so
 * that it stays the same over reconnects. The timer also stands for "something waits to be
 * written", when a call was made outside a turn.
 * Failure modes: callbacks may destroy the client; that is done when the turn is over.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "client/internal.h"

#define NAME_MAX_BYTES	 64
#define QUEUE_EVENTS	 65536
#define QUEUE_BYTES	 ((size_t)16 << 20)
#define RECONNECT_MAX_MS 5000
#define FIRST_MAX_FRAME	 ((size_t)4 << 20) /* until Welcome says it */

int ebus_fail(struct eventbus *c, int rc, const char *fmt, ...)
{
	char text[sizeof(c->error)]; /* fmt may print c->error itself */
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	memcpy(c->error, text, sizeof(text));
	return rc;
}

void ebus_tell_connection(struct eventbus *c, enum eventbus_connection now, const char *text,
			  int64_t deadline_ms)
{
	if (c->o.on_connection) {
		c->o.on_connection(c->o.ctx, now, text, deadline_ms);
	}
}

/* ---- create, destroy ------------------------------------------------------------ */

/* 1 to 64 printable characters, as Hello wants it. */
static char *client_name(const char *name)
{
	char *copy = xstrndup(name, strnlen(name, NAME_MAX_BYTES));

	for (char *p = copy; *p; p++) {
		if (*p < ' ' || *p > '~') {
			*p = '?';
		}
	}
	return copy;
}

static void defaults(struct eventbus_options *o)
{
	o->queue_events = o->queue_events ? o->queue_events : QUEUE_EVENTS;
	o->queue_bytes = o->queue_bytes ? o->queue_bytes : QUEUE_BYTES;
	o->reconnect_max_ms = o->reconnect_max_ms > 0 ? o->reconnect_max_ms : RECONNECT_MAX_MS;
}

int eventbus_create(const struct eventbus_options *o, struct eventbus **out)
{
	const struct eventbus_options none = {0};
	char *socket = o && o->socket ? xstrdup(o->socket) : eventbus_default_socket();
	const char *name = o && o->name && *o->name ? o->name : program_invocation_short_name;
	struct eventbus *c;

	*out = NULL;
	if (*socket == '\0' || strlen(socket) >= sizeof(((struct sockaddr_un *)0)->sun_path)) {
		free(socket);
		return EVENTBUS_EINVAL;
	}
	c = xcalloc(1, sizeof(*c));
	c->o = o ? *o : none;
	defaults(&c->o);
	c->socket = socket;
	c->name = client_name(name && *name ? name : "libeventbus");
	c->epoll = c->timer = -1;
	c->timer_at_ms = NEVER;
	c->max_events = 1;
	c->max_frame = FIRST_MAX_FRAME;
	c->lease_check_at_ms = NEVER;
	ebus_link_init(&c->link);
	ebus_outbox_init(&c->outbox);
	list_init(&c->requests);
	*out = c;
	return 0;
}

static void client_free(struct eventbus *c)
{
	/* Callbacks come from here: they find a client that takes nothing more. */
	c->in_turn = c->destroyed = true;
	if (c->link.state == LINK_READY) {
		ebus_settle_pump(c);
		ebus_link_write(c);
	}
	ebus_outbox_give_up(c);
	ebus_requests_finish(c);
	ebus_subs_finish(c);
	ebus_link_finish(&c->link);
	ebus_outbox_finish(&c->outbox);
	ranges_finish(&c->acks);
	ranges_finish(&c->extends);
	ranges_finish(&c->nack.tags);
	if (c->epoll >= 0) {
		close(c->epoll);
		close(c->timer);
	}
	free(c->socket);
	free(c->name);
	free(c);
}

void eventbus_destroy(struct eventbus *c)
{
	if (!c) {
		return;
	}
	if (c->in_turn) {
		c->destroyed = true;
		return;
	}
	client_free(c);
}

const char *eventbus_error_text(const struct eventbus *c)
{
	return c->error;
}

bool eventbus_is_connected(const struct eventbus *c)
{
	return c->link.state == LINK_READY;
}

const char *eventbus_server(const struct eventbus *c)
{
	return c->server;
}

/* ---- the descriptor ---------------------------------------------------------------- */

static void set_timer(struct eventbus *c, int64_t at_ms)
{
	struct itimerspec at = {0};

	if (at_ms == c->timer_at_ms) {
		return;
	}
	c->timer_at_ms = at_ms;
	if (at_ms != NEVER) {
		at.it_value.tv_sec = at_ms / 1000;
		at.it_value.tv_nsec = at_ms % 1000 * 1000000;
		if (at_ms <= 0) {
			at.it_value.tv_nsec = 1; /* zero would disarm it */
		}
	}
	timerfd_settime(c->timer, TFD_TIMER_ABSTIME, &at, NULL);
}

/* The socket of the moment; a closed one left the epoll instance by itself. */
static void watch_socket(struct eventbus *c)
{
	bool wants_write = c->link.out.len > 0;
	struct epoll_event e = {.events = EPOLLIN | (wants_write ? (uint32_t)EPOLLOUT : 0)};

	if (c->link.fd < 0) {
		c->watched = false;
		return;
	}
	if (c->watched && c->watched_connection == c->link.connection) {
		if (wants_write != c->wants_write) {
			epoll_ctl(c->epoll, EPOLL_CTL_MOD, c->link.fd, &e);
		}
	} else {
		epoll_ctl(c->epoll, EPOLL_CTL_ADD, c->link.fd, &e);
	}
	c->watched = true;
	c->watched_connection = c->link.connection;
	c->wants_write = wants_write;
}

static void set_descriptor(struct eventbus *c)
{
	if (c->epoll < 0) {
		return;
	}
	watch_socket(c);
	set_timer(c, ebus_next_due_ms(c));
}

int eventbus_fd(struct eventbus *c)
{
	struct epoll_event e = {.events = EPOLLIN};

	if (c->epoll >= 0) {
		return c->epoll;
	}
	c->epoll = epoll_create1(EPOLL_CLOEXEC);
	c->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (c->epoll < 0 || c->timer < 0 || epoll_ctl(c->epoll, EPOLL_CTL_ADD, c->timer, &e) != 0) {
		ebus_fail(c, EVENTBUS_EIO, "epoll and timerfd: %s", strerror(errno));
		if (c->epoll >= 0) {
			close(c->epoll);
		}
		if (c->timer >= 0) {
			close(c->timer);
		}
		c->epoll = c->timer = -1;
		return EVENTBUS_EIO;
	}
	c->timer_at_ms = NEVER;
	ebus_wake(c); /* for what was called before */
	return c->epoll;
}

void ebus_wake(struct eventbus *c)
{
	if (c->epoll >= 0 && !c->in_turn) {
		set_timer(c, 0);
	}
}

/* ---- turns ------------------------------------------------------------------------- */

static int64_t earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

int64_t ebus_next_due_ms(const struct eventbus *c)
{
	int64_t due = ebus_link_due_ms(&c->link);

	due = earlier(due, ebus_outbox_due_ms(c));
	due = earlier(due, ebus_subs_due_ms(c));
	return earlier(due, c->lease_check_at_ms);
}

int eventbus_next_timeout_ms(const struct eventbus *c)
{
	int64_t due = ebus_next_due_ms(c), left;

	if (due == NEVER) {
		return -1;
	}
	left = due - clock_mono_ms();
	return left <= 0 ? 0 : left > INT32_MAX ? INT32_MAX : (int)left;
}

void ebus_send(struct eventbus *c)
{
	bool more;

	if (c->link.state == LINK_DOWN) {
		return;
	}
	do {
		more = false;
		if (c->link.state == LINK_READY) {
			ebus_settle_pump(c);
			more = ebus_outbox_pump(c);
		}
		ebus_link_write(c);
	} while (more && c->link.out.len == 0 && !c->link.broken);
}

static int end_turn(struct eventbus *c)
{
	if (c->destroyed) {
		client_free(c);
		return EVENTBUS_ECANCELED;
	}
	c->in_turn = false;
	return 0;
}

int ebus_send_turn(struct eventbus *c)
{
	c->in_turn = true;
	ebus_send(c);
	return end_turn(c);
}

int eventbus_process(struct eventbus *c)
{
	if (c->in_turn) {
		return ebus_fail(c, EVENTBUS_ESTATE, "not allowed inside a callback");
	}
	c->in_turn = true;
	c->now_ms = clock_mono_ms();
	ebus_link_turn(c);
	if (!c->destroyed) {
		ebus_link_timers(c);
		ebus_outbox_timers(c);
		ebus_subs_timers(c);
		ebus_taken_timers(c);
		ebus_send(c);
	}
	if (!c->destroyed) {
		set_descriptor(c);
	}
	return end_turn(c);
}
