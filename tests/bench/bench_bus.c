/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clients of eventbusd for the benchmark, through libeventbus.
 *
 *   bench_bus publish SOCKET TOPIC SIZE COUNT BATCH WINDOW    confirmed; nobody subscribes
 *   bench_bus both SOCKET TOPIC SIZE COUNT BATCH WINDOW [GROUP]  confirmed, delivered and acked
 *   bench_bus hold SOCKET TOPIC SIZE COUNT BATCH WINDOW       delivered, not acked; ends on stdin's
 * end bench_bus clients SOCKET TOPIC SIZE COUNT BATCH N         N connections publish batches in
 * turn bench_bus subs SOCKET TOPIC SIZE COUNT BATCH N            N subscriptions, events spread
 * over them bench_bus patterns SOCKET TOPIC SIZE COUNT BATCH N        N patterns beside the one
 * that matches bench_bus latency SOCKET TOPIC SIZE COUNT                 one at a time, p50 in
 * nanoseconds bench_bus echo SIZE COUNT CPU_SERVER CPU_CLIENT           a bare Unix socket, p50 in
 * nanoseconds
 *
 * Prints events per second unless it says otherwise.
 */
#include "tests/bench/bench.h"

#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>

#include "client/eventbus.h"

struct run {
	const char *socket, *topic, *group;
	size_t size, batch, window;
	uint64_t count;
	struct bench_shared *shared;
	bool ack;
	int subscribed;
};

static void die(const char *what, const char *why)
{
	fprintf(stderr, "bench_bus: %s: %s\n", what, why);
	exit(1);
}

static struct eventbus *client(const struct run *r, size_t queue)
{
	struct eventbus_options o = {.socket = r->socket, .name = "bench", .queue_events = queue};
	struct eventbus *c = NULL;

	if (eventbus_create(&o, &c) != 0 || eventbus_connect_wait(c, 30000) != 0) {
		die("connect", c ? eventbus_error_text(c) : "no client");
	}
	return c;
}

static int on_event(void *ctx, struct eventbus_event *e)
{
	struct run *r = ctx;

	if (!r->ack) {
		(void)eventbus_take(e);
	}
	bench_received(r->shared, r->count);
	return 0;
}

static void on_state(void *ctx, struct eventbus_subscription *s, const struct eventbus_note *n)
{
	struct run *r = ctx;

	(void)s;
	if (n->state == EVENTBUS_SUBSCRIBED) {
		r->subscribed++;
	} else if (n->state == EVENTBUS_REFUSED) {
		die("subscribe", n->why);
	}
}

static void subscribe(struct run *r, struct eventbus *c, const char *pattern)
{
	struct eventbus_subscribe s = {
		.pattern = pattern,
		.group = r->group,
		.handler = on_event,
		.on_state = on_state,
		.ctx = r,
		.max_in_flight_events = r->ack ? 8192 : (uint32_t)r->count,
		.max_in_flight_bytes = r->ack ? 32 << 20 : 240u << 20,
	};
	int want = r->subscribed + 1;

	if (eventbus_subscribe(c, &s, NULL) != 0) {
		die("subscribe", eventbus_error_text(c));
	}
	while (r->subscribed < want) {
		eventbus_run_once(c, 1000);
	}
}

static void on_published(void *ctx, const struct eventbus_result *res)
{
	(void)ctx;
	if (res->outcome != EVENTBUS_STORED) {
		die("publish", res->text);
	}
}

/* As on the other side: no more than the window between what was sent and what was received. */
static void keep_window(const struct run *r, struct eventbus *c, uint64_t sent)
{
	struct pollfd p[2] = {{.fd = eventbus_fd(c), .events = POLLIN},
			      {.fd = r->shared->pipe[0], .events = POLLIN}};

	while (sent - atomic_load(&r->shared->received) >= r->window) {
		eventbus_process(c);
		poll(p, 2, 1000);
		if (p[1].revents != 0) {
			bench_wait_tick(r->shared);
		}
	}
}

/* n events of `topic`, `batch` to a frame, at most `window` without an answer. */
static void publish(const struct run *r, struct eventbus *c, const char *topic, uint64_t from,
		    uint64_t n)
{
	static char payload[1 << 20];
	char id[37];
	struct eventbus_message m = {
		.topic = topic, .payload = payload, .payload_size = r->size, .id = id};

	for (uint64_t i = 0; i < n; i++) {
		bench_id(id, from + i);
		while (eventbus_publish(c, &m, on_published, NULL) == EVENTBUS_EAGAIN) {
			eventbus_run_once(c, 1000);
		}
		if ((i + 1) % r->batch == 0) {
			eventbus_process(c);
		}
		if (r->shared && r->ack) {
			keep_window(r, c, from + i + 1);
		}
	}
}

static void flush(struct eventbus *c)
{
	if (eventbus_flush(c, 120000) != 0) {
		die("flush", eventbus_error_text(c));
	}
}

static void start_subscriber(struct run *r, int n, bool patterns)
{
	struct eventbus *c;
	char pattern[100];

	if (fork() != 0) {
		while (!r->shared->ready) {
			bench_wait_tick(r->shared);
		}
		return;
	}
	c = client(r, 0);
	for (int i = 0; i < n; i++) {
		snprintf(pattern, sizeof(pattern), patterns ? "%s.other%d.*" : "%s.s%d", r->topic,
			 i);
		subscribe(r, c, pattern);
	}
	if (n == 0 || patterns) {
		subscribe(r, c, r->topic);
	}
	r->shared->ready = 1;
	bench_tick(r->shared);
	while (atomic_load(&r->shared->received) < r->count) {
		eventbus_run_once(c, 1000);
	}
	if (r->ack) {
		flush(c);
	} else {
		struct pollfd p = {.fd = 0, .events = POLLIN};

		while (poll(&p, 1, 0) == 0) {
			eventbus_run_once(c, 200);
		}
	}
	exit(0);
}

static void report(const struct run *r, int64_t start)
{
	int64_t end = bench_now_ns();

	while (r->shared && atomic_load(&r->shared->received) < r->count) {
		bench_wait_tick(r->shared);
	}
	if (r->shared && r->shared->last_ns > end) {
		end = r->shared->last_ns;
	}
	printf("%.0f\n", (double)r->count * 1e9 / (double)(end - start));
	fflush(stdout);
}

static void run_publish(struct run *r)
{
	struct eventbus *c = client(r, r->window);
	int64_t start = bench_now_ns();

	publish(r, c, r->topic, 0, r->count);
	flush(c);
	report(r, start);
}

static void run_both(struct run *r)
{
	r->shared = bench_share();
	start_subscriber(r, 0, false);
	run_publish(r);
	wait(NULL);
}

static void run_clients(struct run *r, int n)
{
	struct eventbus **c = calloc((size_t)n, sizeof(*c));
	uint64_t sent = 0;
	int64_t start;

	for (int i = 0; i < n; i++) {
		c[i] = client(r, 0);
	}
	start = bench_now_ns();
	for (int i = 0; sent < r->count; i = (i + 1) % n, sent += r->batch) {
		publish(r, c[i], r->topic, sent, r->batch);
		while (eventbus_unconfirmed(c[i]) >= 8 * r->batch) {
			eventbus_run_once(c[i], 1000);
		}
	}
	for (int i = 0; i < n; i++) {
		flush(c[i]);
	}
	report(r, start);
	free((void *)c);
}

static void run_spread(struct run *r, int n, bool patterns)
{
	struct eventbus *c;
	int64_t start;
	char topic[100];

	r->shared = bench_share();
	start_subscriber(r, n, patterns);
	r->window = 8192;
	c = client(r, r->window);
	start = bench_now_ns();
	for (uint64_t sent = 0, k = 0; sent < r->count; sent += r->batch, k++) {
		snprintf(topic, sizeof(topic), "%s.s%d", r->topic, (int)(k % (uint64_t)n));
		publish(r, c, patterns ? r->topic : topic, sent, r->batch);
	}
	flush(c);
	report(r, start);
	wait(NULL);
}

static int compare(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

static void report_median(int64_t *v, size_t n)
{
	qsort(v, n, sizeof(*v), compare);
	printf("%lld\n", (long long)v[n / 2]);
}

static void run_latency(struct run *r)
{
	struct eventbus *c = client(r, 16);
	int64_t *took = calloc(r->count, sizeof(*took));

	for (uint64_t i = 0; i < r->count; i++) {
		int64_t start = bench_now_ns();

		publish(r, c, r->topic, i, 1);
		while (eventbus_unconfirmed(c) > 0) {
			eventbus_run_once(c, 1000);
		}
		took[i] = bench_now_ns() - start;
	}
	report_median(took, r->count);
}

static void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

static void full(int fd, char *p, size_t n, bool writing)
{
	while (n > 0) {
		ssize_t k = writing ? write(fd, p, n) : read(fd, p, n);

		if (k <= 0) {
			exit(0);
		}
		p += k;
		n -= (size_t)k;
	}
}

static void run_echo(size_t size, size_t count, int cpu_server, int cpu_client)
{
	int64_t *took = calloc(count, sizeof(*took));
	char *bytes = calloc(1, size);
	int fd[2];

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, fd) != 0) {
		die("echo", "socketpair");
	}
	if (fork() == 0) {
		pin(cpu_server);
		close(fd[0]);
		for (;;) {
			full(fd[1], bytes, size, false);
			full(fd[1], bytes, size, true);
		}
	}
	close(fd[1]);
	pin(cpu_client);
	for (size_t i = 0; i < count; i++) {
		int64_t start = bench_now_ns();

		full(fd[0], bytes, size, true);
		full(fd[0], bytes, size, false);
		took[i] = bench_now_ns() - start;
	}
	report_median(took, count);
}

static int usage(void)
{
	fprintf(stderr, "usage: see the head of tests/bench/bench_bus.c\n");
	return 64;
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";
	struct run r = {.ack = true};
	int n;

	if (strcmp(mode, "echo") == 0 && argc == 6) {
		run_echo(strtoul(argv[2], NULL, 10), strtoul(argv[3], NULL, 10), atoi(argv[4]),
			 atoi(argv[5]));
		return 0;
	}
	if (argc < 6) {
		return usage();
	}
	r.socket = argv[2];
	r.topic = argv[3];
	r.size = strtoul(argv[4], NULL, 10);
	r.count = strtoull(argv[5], NULL, 10);
	r.batch = 1;
	if (strcmp(mode, "latency") == 0) {
		run_latency(&r);
		return 0;
	}
	if (argc < 8) {
		return usage();
	}
	r.batch = strtoul(argv[6], NULL, 10);
	r.window = strtoul(argv[7], NULL, 10);
	r.group = argc > 8 ? argv[8] : NULL;
	n = atoi(argv[7]);
	if (strcmp(mode, "publish") == 0) {
		run_publish(&r);
	} else if (strcmp(mode, "both") == 0) {
		run_both(&r);
	} else if (strcmp(mode, "hold") == 0) {
		r.ack = false;
		run_both(&r);
	} else if (strcmp(mode, "clients") == 0) {
		run_clients(&r, n);
	} else if (strcmp(mode, "subs") == 0 || strcmp(mode, "patterns") == 0) {
		run_spread(&r, n, mode[0] == 'p');
	} else {
		return usage();
	}
	return 0;
}
