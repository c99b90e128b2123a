/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A daemon that does only what a test tells it, in the test's own thread: a listening socket
 * whose backlog and buffers hold what the client sends until the test looks at it.
 */
#ifndef TESTS_UNIT_FAKE_DAEMON_H
#define TESTS_UNIT_FAKE_DAEMON_H

#include <check.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/outcome.h"
#include "client/eventbus.h"
#include "proto/codec.h"
#include "proto/framer.h"

#define FAKE_WAIT_MS 10000

struct fake {
	char dir[64], path[96];
	int listener, fd;
	struct framer in;
	struct arena arena;
	bool has_frame;
	uint32_t credit_events, max_events;
	uint64_t credit_bytes;
	uint32_t max_frame;
};

static inline void fake_listen(struct fake *f)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", f->path);
	f->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_ge(f->listener, 0);
	ck_assert_int_eq(bind(f->listener, (struct sockaddr *)&addr, sizeof(addr)), 0);
	ck_assert_int_eq(listen(f->listener, 8), 0);
}

static inline void fake_start(struct fake *f)
{
	*f = (struct fake){.fd = -1, .credit_events = 64, .max_events = 8, .credit_bytes = 65536};
	f->max_frame = 1 << 20;
	snprintf(f->dir, sizeof(f->dir), "/tmp/fake-daemon-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(f->dir));
	snprintf(f->path, sizeof(f->path), "%s/s", f->dir);
	fake_listen(f);
}

static inline void fake_hang_up(struct fake *f)
{
	if (f->has_frame) {
		arena_finish(&f->arena);
		f->has_frame = false;
	}
	if (f->fd >= 0) {
		framer_finish(&f->in);
		close(f->fd);
		f->fd = -1;
	}
}

static inline void fake_stop(struct fake *f)
{
	fake_hang_up(f);
	close(f->listener);
	unlink(f->path);
	rmdir(f->dir);
}

static inline void fake_wait(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	ck_assert_msg(poll(&p, 1, FAKE_WAIT_MS) == 1, "the client sent nothing");
}

static inline void fake_accept(struct fake *f)
{
	fake_wait(f->listener);
	f->fd = accept(f->listener, NULL, NULL);
	ck_assert_int_ge(f->fd, 0);
	framer_init(&f->in, 64 << 20, NULL);
}

/* The next frame; valid until the next call. */
static inline Eventbus__V1__Frame *fake_read(struct fake *f)
{
	struct shared_bytes *source;
	Eventbus__V1__Frame *frame;
	struct err_text err;
	struct slice body;

	if (f->has_frame) {
		arena_finish(&f->arena);
	}
	while (framer_next(&f->in, &body, &source) == 0) {
		size_t room;
		uint8_t *space = framer_space(&f->in, &room);
		ssize_t n;

		fake_wait(f->fd);
		n = read(f->fd, space, room);
		ck_assert_msg(n > 0, "the client closed the connection");
		framer_filled(&f->in, (size_t)n);
	}
	ck_assert_msg(codec_read(CODEC_CLIENT, body, &f->arena, &frame, &err) == 0, "%s", err.s);
	f->has_frame = true;
	return frame;
}

static inline Eventbus__V1__Frame *fake_expect(struct fake *f, Eventbus__V1__Frame__KindCase kind)
{
	Eventbus__V1__Frame *frame = fake_read(f);

	ck_assert_int_eq(frame->kind_case, kind);
	return frame;
}
#define FAKE_EXPECT(f, KIND) fake_expect(f, EVENTBUS__V1__FRAME__KIND_##KIND)

static inline bool fake_nothing_to_read(struct fake *f)
{
	struct pollfd p = {.fd = f->fd, .events = POLLIN};

	return !framer_midway(&f->in) && poll(&p, 1, 0) == 0;
}

static inline void fake_write_bytes(struct fake *f, struct buf *b)
{
	while (b->len) {
		ssize_t n = send(f->fd, buf_data(b), b->len, MSG_NOSIGNAL);

		ck_assert_int_gt(n, 0);
		buf_consume(b, (size_t)n);
	}
	buf_finish(b);
}

static inline void fake_write(struct fake *f, const Eventbus__V1__Frame *frame)
{
	struct buf b;

	buf_init(&b);
	codec_write(&b, frame);
	fake_write_bytes(f, &b);
}

#define FAKE_FRAME(f, name, KIND, message)                                                         \
	Eventbus__V1__Frame f = EVENTBUS__V1__FRAME__INIT;                                         \
	(f).kind_case = EVENTBUS__V1__FRAME__KIND_##KIND;                                          \
	(f).name = (message)

static inline void fake_welcome(struct fake *f)
{
	Eventbus__V1__Welcome w = EVENTBUS__V1__WELCOME__INIT;
	Eventbus__V1__Credit credit = EVENTBUS__V1__CREDIT__INIT;
	Eventbus__V1__Limits limits = EVENTBUS__V1__LIMITS__INIT;
	char server[] = "fake 1";
	FAKE_FRAME(frame, welcome, WELCOME, &w);

	w.version = 1;
	w.server = server;
	credit.events = f->credit_events;
	credit.bytes = f->credit_bytes;
	limits.max_events_per_publish = f->max_events;
	limits.max_frame_bytes = f->max_frame;
	w.credit = &credit;
	w.limits = &limits;
	fake_write(f, &frame);
}

/* A client that is connected: Hello read, Welcome sent and taken. */
static inline void fake_meet(struct fake *f, struct eventbus *c)
{
	while (!eventbus_is_connected(c)) {
		struct pollfd p = {.fd = f->listener, .events = POLLIN};

		ck_assert_int_eq(eventbus_run_once(c, 10), 0);
		if (f->fd < 0 && poll(&p, 1, 0) == 1) {
			fake_accept(f);
			FAKE_EXPECT(f, HELLO);
			fake_welcome(f);
		}
	}
}

static inline struct eventbus *fake_client(struct fake *f, const struct eventbus_options *options)
{
	struct eventbus_options o = options ? *options : (struct eventbus_options){0};
	struct eventbus *c;

	o.socket = f->path;
	ck_assert_int_eq(eventbus_create(&o, &c), 0);
	fake_meet(f, c);
	return c;
}

/* Published: confirms first to last (0: nothing) and grants credit when events > 0. */
static inline void fake_confirm(struct fake *f, uint64_t first, uint64_t last, uint32_t events)
{
	struct published_frame p = {0};
	struct ranges r;
	struct buf b;

	ranges_init(&r);
	if (first) {
		ranges_add(&r, first, last);
	}
	p.confirmed = &r;
	if (events) {
		p.has_credit = true;
		p.credit_events = events;
		p.credit_bytes = f->credit_bytes;
	}
	buf_init(&b);
	codec_write_published(&b, &p);
	fake_write_bytes(f, &b);
	ranges_finish(&r);
}

static inline void fake_fail(struct fake *f, uint64_t first, uint64_t last, enum outcome outcome,
			     enum reason reason, const char *text)
{
	struct published_failure failure = {{first, last}, outcome, reason, text};
	struct published_frame p = {.failures = &failure, .n_failures = 1};
	struct buf b;

	buf_init(&b);
	codec_write_published(&b, &p);
	fake_write_bytes(f, &b);
}

static inline void fake_subscribed(struct fake *f, uint32_t id, uint32_t concurrency,
				   uint64_t lease_ms)
{
	Eventbus__V1__Subscribed s = EVENTBUS__V1__SUBSCRIBED__INIT;
	FAKE_FRAME(frame, subscribed, SUBSCRIBED, &s);

	s.subscription = id;
	s.concurrency = concurrency;
	s.lease_ms = lease_ms;
	s.max_in_flight_events = 256;
	fake_write(f, &frame);
}

/* One Deliver frame with tags first..last; payload "event N", one pair of metadata. */
static inline void fake_deliver(struct fake *f, uint32_t subscription, uint64_t first,
				uint64_t last)
{
	struct metadata_pair pair = {slice_str("colour"), slice_str("green")};
	struct deliver_item items[64];
	uint32_t n = (uint32_t)(last - first + 1);
	char payload[32], id[32];
	struct buf b;

	ck_assert_uint_le(n, 64);
	for (uint32_t i = 0; i < n; i++) {
		struct event_fields e = {
			.topic = slice_str("orders.created"),
			.key = slice_str("k"),
			.published_at_ms = 1234567890123,
			.metadata = &pair,
			.metadata_count = 1,
		};

		snprintf(payload, sizeof(payload), "event %llu", (unsigned long long)(first + i));
		snprintf(id, sizeof(id), "id-%llu", (unsigned long long)(first + i));
		e.payload = slice_str(payload);
		e.id = slice_str(id);
		items[i] = (struct deliver_item){.subscription = subscription,
						 .attempt = 1,
						 .tag = first + i,
						 .event = event_build(&e, NULL),
						 .position = slice_str("memory/1/7")};
	}
	buf_init(&b);
	codec_write_deliver(&b, items, n);
	fake_write_bytes(f, &b);
	for (uint32_t i = 0; i < n; i++) {
		event_unref((struct event *)(uintptr_t)items[i].event);
	}
}

/* Turns of the client until *n reaches want. */
static inline void fake_turns(struct eventbus *c, const int *n, int want)
{
	for (int i = 0; i < 1000 && *n < want; i++) {
		ck_assert_int_eq(eventbus_run_once(c, FAKE_WAIT_MS), 0);
	}
	ck_assert_int_eq(*n, want);
}

#endif
