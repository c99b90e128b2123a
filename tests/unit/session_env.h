/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For test_session*.c: sessions on a real loop and socketpairs, above a bus that does only what
 * the test says. Its functions take the place of daemon/bus.c's in the test program. A test
 * ends with env_finish, which stops everything and proves uv_loop_close() == 0.
 */
#ifndef TESTS_UNIT_SESSION_ENV_H
#define TESTS_UNIT_SESSION_ENV_H

#include <check.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "base/mem.h"
#include "daemon/session_impl.h"
#include "tests/unit/session_bus.h"
#include "tests/unit/suite.h"

/* ---- the environment ---------------------------------------------------------- */

struct env {
	uv_loop_t loop;
	uv_timer_t guard;
	struct config config;
	struct config_broker broker;
	struct budget budget;
	struct sessions *set;
	int fd[64]; /* the clients' ends */
	uint32_t n_fds;
	bool stopped;
};

/* What a test client has read of its socket. */
struct reader {
	struct buf in;
	struct arena arena;
	bool has_frame, eof;
};

static struct env env;
static struct reader reader[64];

static void env_guard(uv_timer_t *t)
{
	(void)t;
	ck_abort_msg("nothing happened for 10 s");
}

static inline void env_init(void)
{
	struct config_limits *l = &env.config.limits;

	memset(&env, 0, sizeof(env));
	memset(&the_bus, 0, sizeof(the_bus));
	memset(reader, 0, sizeof(reader));
	log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
	signal(SIGPIPE, SIG_IGN); /* as the daemon does */
	uv_loop_init(&env.loop);
	uv_timer_init(&env.loop, &env.guard);
	uv_timer_start(&env.guard, env_guard, 10000, 0);
	env.broker.name = (char *)"default";
	env.config.brokers = &env.broker;
	env.config.n_brokers = 1;
	env.config.socket.max_clients = 8;
	env.config.socket.max_frame = 1 << 20;
	*l = (struct config_limits){
		.memory = 64 << 20,
		.per_client = 32 << 20,
		.in_flight_events = 256,
		.in_flight_bytes = 4 << 20,
		.max_in_flight_events = 1000,
		.max_in_flight_bytes = 8 << 20,
		.max_concurrency = 100,
		.publish_events = 64,
		.publish_bytes = 64 << 10,
		.subscriptions = 4,
		.hello_timeout_ms = 5000,
		.frame_timeout_ms = 10000,
		.publish_timeout_ms = 5000,
		.max_lease_ms = 3600000,
		.unwritten_bytes = 4 << 20,
		.unwritten_timeout_ms = 60000,
	};
	budget_init(&env.budget, NULL, 64 << 20);
	the_bus.room = 64 << 20;
}

static inline void env_start(void)
{
	const struct sessions_options o = {.loop = &env.loop,
					   .config = &env.config,
					   .budget = &env.budget,
					   .instance = "test",
					   .socket = "/nowhere"};

	env.set = sessions_create(&o);
	sessions_attach(env.set, &the_bus);
}

/* A client connects; returns its number. */
static inline uint32_t env_connect(void)
{
	int fd[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
	env.fd[env.n_fds] = fd[0];
	ck_assert_int_eq(sessions_adopt(env.set, fd[1]), 0);
	return env.n_fds++;
}

/* One turn of the loop that waits for something. */
static inline void env_turn(void)
{
	uv_run(&env.loop, UV_RUN_ONCE);
}

/* A turn, then a wait for the loop or for bytes at client c. */
static inline void env_turn_for(uint32_t c)
{
	struct pollfd p[2] = {{.fd = env.fd[c], .events = POLLIN},
			      {.fd = uv_backend_fd(&env.loop), .events = POLLIN}};

	uv_run(&env.loop, UV_RUN_NOWAIT);
	poll(p, 2, uv_backend_timeout(&env.loop));
}

/* Turns until nothing is left to do at once. */
static inline void env_settle(void)
{
	int i;

	for (i = 0; i < 20; i++) {
		uv_run(&env.loop, UV_RUN_NOWAIT);
	}
}

static inline void env_write(uint32_t c, const void *p, size_t n)
{
	const uint8_t *q = p;

	while (n > 0) {
		ssize_t did = send(env.fd[c], q, n, MSG_NOSIGNAL);

		if (did < 0 && errno == EAGAIN) {
			env_turn();
			continue;
		}
		if (did < 0) {
			return; /* the daemon hung up: the test looks at what it said */
		}
		q += did;
		n -= (size_t)did;
	}
}

static inline void env_send(uint32_t c, Eventbus__V1__Frame__KindCase kind, void *message)
{
	Eventbus__V1__Frame f = EVENTBUS__V1__FRAME__INIT;
	struct buf out;

	buf_init(&out);
	f.kind_case = kind;
	f.hello = message; /* a union of pointers */
	codec_write(&out, &f);
	env_write(c, buf_data(&out), out.len);
	buf_finish(&out);
}

static inline void env_send_publish(uint32_t c, uint64_t first, bool positions,
				    struct event *const *events, uint32_t n)
{
	struct buf out;

	buf_init(&out);
	codec_write_publish(&out, first, positions, events, n);
	env_write(c, buf_data(&out), out.len);
	buf_finish(&out);
}

static inline size_t env_frame_size(const struct buf *b)
{
	const uint8_t *p = buf_data(b);

	return b->len < 4 ? SIZE_MAX
			  : 4 + ((size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 |
				 (size_t)p[3]);
}

/* The next frame to client c, or NULL at the end of the stream. Valid until the next call. */
static inline Eventbus__V1__Frame *env_read(uint32_t c)
{
	struct reader *r = &reader[c];
	Eventbus__V1__Frame *f;
	struct err_text err;
	size_t size;

	if (r->has_frame) {
		arena_finish(&r->arena);
		r->has_frame = false;
	}
	while ((size = env_frame_size(&r->in)) > r->in.len) {
		ssize_t n = recv(env.fd[c], buf_reserve(&r->in, 65536), 65536, 0);

		if (n > 0) {
			buf_added(&r->in, (size_t)n);
		} else if (n == 0 || errno != EAGAIN) {
			r->eof = true;
			return NULL;
		} else {
			env_turn_for(c);
		}
	}
	ck_assert_msg(codec_read(CODEC_CLIENT, slice_of(buf_data(&r->in) + 4, size - 4), &r->arena,
				 &f, &err) == 0,
		      "%s", err.s);
	r->has_frame = true;
	buf_consume(&r->in, size);
	return f;
}

/* The next frame, which must be of this kind. */
static inline Eventbus__V1__Frame *env_expect(uint32_t c, Eventbus__V1__Frame__KindCase kind)
{
	Eventbus__V1__Frame *f = env_read(c);

	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(f->kind_case, kind);
	return f;
}

/* One closing Error whose text has the words, then the end of the stream. */
static inline void env_expect_refusal(uint32_t c, Eventbus__V1__Reason reason, const char *words)
{
	Eventbus__V1__Frame *f = env_expect(c, EVENTBUS__V1__FRAME__KIND_ERROR);

	ck_assert(f->error->closing);
	ck_assert_int_eq(f->error->reason, reason);
	ck_assert_ptr_nonnull(f->error->text);
	ck_assert_msg(strstr(f->error->text, words) != NULL, "%s", f->error->text);
	ck_assert_ptr_null(env_read(c));
}

static inline void env_hello(uint32_t c)
{
	Eventbus__V1__Hello h = EVENTBUS__V1__HELLO__INIT;

	h.version = 1;
	h.client = (char *)"test";
	env_send(c, EVENTBUS__V1__FRAME__KIND_HELLO, &h);
	env_expect(c, EVENTBUS__V1__FRAME__KIND_WELCOME);
}

/* Connects and says hello; the client of the bus is the_bus.clients[the number]. */
static inline uint32_t env_client(void)
{
	uint32_t c = env_connect();

	env_hello(c);
	return c;
}

static inline struct event *env_event(const char *topic, size_t payload)
{
	uint8_t *p = xcalloc(1, payload + 1);
	struct event_fields f = {.topic = slice_str(topic), .payload = slice_of(p, payload)};
	struct event *e = event_build(&f, NULL);

	free(p);
	return e;
}

static void env_on_stopped(void *ctx)
{
	(void)ctx;
	env.stopped = true;
}

static inline void env_finish(void)
{
	uint32_t i;

	while (the_bus.n_batches > 0) {
		fake_tell(OUTCOME_UNKNOWN, REASON_DRAINING, "stopped");
	}
	if (!env.stopped) {
		sessions_stop(env.set, false, env_on_stopped, NULL);
		sessions_stop(env.set, false, env_on_stopped, NULL);
	}
	for (i = 0; i < env.n_fds; i++) {
		close(env.fd[i]);
		if (reader[i].has_frame) {
			arena_finish(&reader[i].arena);
		}
		buf_finish(&reader[i].in);
	}
	while (!env.stopped) {
		env_turn();
	}
	sessions_destroy(env.set);
	uv_close((uv_handle_t *)&env.guard, NULL);
	uv_run(&env.loop, UV_RUN_DEFAULT);
	ck_assert_int_eq(uv_loop_close(&env.loop), 0);
	ck_assert_uint_eq(env.budget.used, 0);
	for (i = 0; i < the_bus.n_clients; i++) {
		ck_assert(the_bus.clients[i]->destroyed);
		free(the_bus.clients[i]);
	}
}

#endif
