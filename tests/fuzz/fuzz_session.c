/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole conversation: any bytes, cut in any way, into a session on a real loop above the memory
 * bus. What comes back must be frames that a strict client reads; afterwards everything stops,
 * uv_loop_close() is 0 and the budget is empty. The first byte says how the stream is cut and
 * whether the client reads, the second how it ends.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "adapters/adapter.h"
#include "base/log.h"
#include "daemon/bus.h"
#include "daemon/daemon.h"
#include "daemon/session.h"
#include "proto/codec.h"
#include "proto/framer.h"

#define INPUT_MAX 65536
/* Turns after each piece: enough for an answer to come back. */
#define TURNS 3

enum { CUT_MASK = 0x3f, READS = 0x40 };	       /* first byte */
enum { DRAINS = 1, FORCED = 2, HANGS_UP = 4 }; /* second byte */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct talk {
	uv_loop_t loop;
	struct budget budget;
	struct bus *bus;
	struct sessions *sessions;
	struct framer in; /* what the client reads */
	int fd;
	bool bus_stopped, stopped;
};

static struct config *config;

/* Stops the fuzzer and says which promise was broken. */
static void require(bool holds, const char *what)
{
	if (!holds) {
		fprintf(stderr, "broken: %s\n", what);
		abort();
	}
}

static void on_bus_stopped(void *ctx)
{
	((struct talk *)ctx)->bus_stopped = true;
}

static void on_stopped(void *ctx)
{
	((struct talk *)ctx)->stopped = true;
}

static void load_config(void)
{
	/* Small limits, so that they are reached. */
	static const char text[] = "limits: {memory: 64MiB, publish_events: 64,"
				   " publish_bytes: 64KiB, hello_timeout: 1m}\n"
				   "socket: {max_frame: 64KiB}\n";
	struct config_errors errors = {NULL, 0};

	if (config) {
		return;
	}
	signal(SIGPIPE, SIG_IGN);
	config_load_text("fuzz", text, sizeof(text) - 1, daemon_broker_kinds(), &config, &errors);
	require(config != NULL, errors.n ? errors.v[0] : "the configuration loads");
	log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
}

static void start(struct talk *t)
{
	struct err_text err;
	const struct bus_options b = {.loop = &t->loop,
				      .config = config,
				      .budget = &t->budget,
				      .instance = "fuzz",
				      .on_stopped = on_bus_stopped,
				      .ctx = t};
	const struct sessions_options s = {.loop = &t->loop,
					   .config = config,
					   .budget = &t->budget,
					   .instance = "fuzz",
					   .socket = "fuzz"};
	int fd[2];

	uv_loop_init(&t->loop);
	budget_init(&t->budget, NULL, (size_t)config->limits.memory);
	framer_init(&t->in, (size_t)1 << 24, NULL);
	t->sessions = sessions_create(&s);
	require(bus_create(&b, &t->bus, &err) == 0, "the bus is made");
	sessions_attach(t->sessions, t->bus);
	require(bus_start(t->bus, &err) == 0, "the bus starts");
	require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd) == 0, "a socketpair");
	t->fd = fd[0];
	require(sessions_adopt(t->sessions, fd[1]) == 0, "a session");
}

/* Every frame of the daemon must pass the strict scan of a client. */
static void read_answers(struct talk *t)
{
	struct shared_bytes *source;
	struct slice body;
	ssize_t n;

	do {
		size_t room;
		uint8_t *p = framer_space(&t->in, &room);

		n = recv(t->fd, p, room, 0);
		framer_filled(&t->in, n > 0 ? (size_t)n : 0);
		while (framer_next(&t->in, &body, &source) == 1) {
			Eventbus__V1__Frame *f;
			struct arena arena;
			struct err_text err;

			require(codec_read(CODEC_CLIENT, body, &arena, &f, &err) == 0,
				"a strict client reads it");
			arena_finish(&arena);
		}
	} while (n > 0);
}

static void turns(struct talk *t)
{
	int i;

	for (i = 0; i < TURNS; i++) {
		uv_run(&t->loop, UV_RUN_NOWAIT);
	}
}

static void say(struct talk *t, const uint8_t *p, size_t n, size_t piece, bool reads)
{
	while (n > 0) {
		size_t k = piece < n ? piece : n;
		ssize_t did = send(t->fd, p, k, MSG_NOSIGNAL);

		if (did < 0 && errno != EAGAIN) {
			return; /* it has hung up */
		}
		if (did > 0) {
			p += did;
			n -= (size_t)did;
		}
		turns(t);
		if (reads || did < 0) {
			read_answers(t);
		}
	}
}

static void stop(struct talk *t, uint8_t how)
{
	if (how & DRAINS) {
		sessions_drain(t->sessions, 1000);
		bus_drain(t->bus);
		turns(t);
	}
	if (how & HANGS_UP) {
		shutdown(t->fd, SHUT_RDWR);
		turns(t);
	}
	sessions_quiet(t->sessions);
	bus_stop(t->bus, (how & FORCED) != 0);
	while (!t->bus_stopped) {
		uv_run(&t->loop, UV_RUN_ONCE);
	}
	sessions_stop(t->sessions, (how & FORCED) != 0, on_stopped, t);
	read_answers(t);
	close(t->fd);
	while (!t->stopped) {
		uv_run(&t->loop, UV_RUN_ONCE);
	}
	sessions_destroy(t->sessions);
	bus_destroy(t->bus);
	framer_finish(&t->in);
	uv_run(&t->loop, UV_RUN_DEFAULT);
	require(uv_loop_close(&t->loop) == 0, "uv_loop_close is 0");
	require(t->budget.used == 0, "the budget is empty");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct talk t = {.fd = -1};
	size_t cut;

	if (size < 2 || size > INPUT_MAX) {
		return 0;
	}
	load_config();
	cut = data[0] & CUT_MASK;
	start(&t);
	say(&t, data + 2, size - 2, cut == CUT_MASK ? size : 1 + cut * cut, (data[0] & READS) != 0);
	stop(&t, data[1]);
	return 0;
}
