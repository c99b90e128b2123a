/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench: rates and latencies through a running daemon.
 *
 * The payload begins with the time of its publish (CLOCK_MONOTONIC, ns), so that a subscriber on
 * the same machine knows how long it travelled. --both runs the subscriber in a child and starts
 * when it is subscribed.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/random.h"
#include "client/eventbusctl/ctl.h"
#include "client/eventbusctl/histogram.h"

#define MAX_SIZE  (1 << 20)
#define IDLE_MS	  30000 /* a side that makes no progress for so long gives up */
#define TIME_SIZE sizeof(uint64_t)

enum mode { BOTH, PUBLISHER, SUBSCRIBER };

struct bench {
	struct ctl *ctl;
	enum mode mode;
	const char *topic, *group;
	int64_t size, count, batch, window;
	char own_topic[64];
};

/* What one side measured; crosses a pipe. */
struct measured {
	uint64_t events, failed;
	uint64_t first_ns, last_ns;
	struct histogram latency;
};

struct side {
	const struct bench *b;
	struct eventbus *client;
	struct measured m;
	int64_t done;
	int64_t again; /* publishes that failed and are to be made up for */
	bool subscribed;
	int status;
};

/* A publish on its way. Sequences without an answer span at most the window, so slots do too. */
struct slot {
	struct side *side;
	uint64_t sent_ns;
};

static const char usage[] =
	"usage: eventbusctl bench [options]\n"
	"\n"
	"  --both, --publisher, --subscriber   which side this is (default both)\n"
	"  --size BYTES      payload, 8 at least (default 128)\n"
	"  --count N         events (default 1000000)\n"
	"  --batch N         publish this many before each write (default 64)\n"
	"  --window N        at most this many without a confirm (default 8192)\n"
	"  --topic TOPIC     default: a random one under bench\n"
	"  --group GROUP     the subscriber's group (default none)\n"
	"  --json\n"
	"\n"
	"Prints events per second, and the latency from publish to confirm and to delivery.\n";

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void arrived(struct side *s, uint64_t sent_ns)
{
	struct measured *m = &s->m;
	uint64_t now = now_ns();

	m->first_ns = m->first_ns ? m->first_ns : now;
	m->last_ns = now;
	m->events++;
	histogram_add(&m->latency, now > sent_ns ? now - sent_ns : 0);
}

/* One turn; a side that stands still has failed. */
static void turn(struct side *s)
{
	int64_t was = s->done;
	uint64_t begin = now_ns();

	eventbus_run_once(s->client, IDLE_MS);
	if (s->done == was && now_ns() - begin >= IDLE_MS * 1000000ull) {
		s->status = ctl_fail(s->b->ctl, EX_TEMPFAIL,
				     "no progress for 30 s after %" PRId64 " of %" PRId64 " events",
				     s->done, s->b->count);
	}
}

/* ---- publisher --------------------------------------------------------------------- */

static void on_published(void *ctx, const struct eventbus_result *r)
{
	struct slot *slot = ctx;

	if (r->outcome == EVENTBUS_STORED) {
		slot->side->done++;
		arrived(slot->side, slot->sent_ns);
		return;
	}
	slot->side->again++;
	if (slot->side->m.failed++ == 0) {
		ctl_warn(slot->side->b->ctl, "%s: %s", eventbus_outcome_name(r->outcome), r->text);
	}
	if (r->outcome == EVENTBUS_PERMANENT) {
		slot->side->status = 1;
	}
}

static void publish_one(struct side *s, struct eventbus_message *m, struct slot *slot)
{
	int rc;

	slot->side = s;
	slot->sent_ns = now_ns();
	memcpy((char *)(uintptr_t)m->payload, &slot->sent_ns, TIME_SIZE);
	while (s->status == 0) {
		rc = eventbus_publish(s->client, m, on_published, slot);
		if (rc == 0) {
			return;
		}
		if (rc != EVENTBUS_EAGAIN) {
			s->status = ctl_fail(s->b->ctl, 1, "%s", eventbus_error_text(s->client));
			return;
		}
		turn(s);
	}
}

static int run_publisher(struct side *s)
{
	const struct bench *b = s->b;
	struct eventbus_options o = {.queue_events = (size_t)b->window,
				     .queue_bytes = (size_t)256 << 20};
	struct slot *slots = xcalloc((size_t)b->window, sizeof(*slots));
	char *payload = xcalloc(1, (size_t)b->size);
	struct eventbus_message m = {
		.topic = b->topic, .payload = payload, .payload_size = (size_t)b->size};
	int64_t i = 0;

	s->client = ctl_connect(b->ctl, &o, &s->status);
	s->m.first_ns = now_ns();
	while (s->status == 0 && s->done < b->count) {
		if (i - s->again < b->count) {
			publish_one(s, &m, &slots[i % b->window]);
			if (++i % b->batch == 0) {
				eventbus_process(s->client);
			}
		} else {
			turn(s);
		}
	}
	eventbus_destroy(s->client);
	free(payload);
	free(slots);
	return s->status;
}

/* ---- subscriber ---------------------------------------------------------------------- */

static int on_event(void *ctx, struct eventbus_event *e)
{
	struct side *s = ctx;
	uint64_t sent_ns = 0;

	if (e->payload_size >= TIME_SIZE) {
		memcpy(&sent_ns, e->payload, TIME_SIZE);
	}
	arrived(s, sent_ns);
	if (++s->done == s->b->count) {
		eventbus_stop(s->client);
	}
	return 0;
}

static void on_state(void *ctx, struct eventbus_subscription *sub, const struct eventbus_note *n)
{
	struct side *s = ctx;

	(void)sub;
	if (n->state == EVENTBUS_SUBSCRIBED) {
		s->subscribed = true;
	} else if (n->state == EVENTBUS_REFUSED) {
		s->status = ctl_fail(s->b->ctl, 1, "refused: %s", n->why);
	}
}

/* ready: a descriptor that hears of the subscription, or -1. */
static int run_subscriber(struct side *s, int ready)
{
	const struct bench *b = s->b;
	struct eventbus_subscribe o = {
		.pattern = b->topic,
		.group = b->group,
		.handler = on_event,
		.on_state = on_state,
		.ctx = s,
		.max_in_flight_events = (uint32_t)b->window,
	};

	s->client = ctl_connect(b->ctl, NULL, &s->status);
	if (s->client && eventbus_subscribe(s->client, &o, NULL) != 0) {
		s->status = ctl_fail(b->ctl, 1, "%s", eventbus_error_text(s->client));
	}
	while (s->status == 0 && !s->subscribed) {
		turn(s);
	}
	if (ready >= 0 && s->status == 0 && write(ready, "", 1) != 1) {
		s->status = EX_OSERR;
	}
	while (s->status == 0 && s->done < b->count) {
		turn(s);
	}
	if (s->status == 0) {
		eventbus_flush(s->client, IDLE_MS);
	}
	eventbus_destroy(s->client);
	return s->status;
}

/* ---- results -------------------------------------------------------------------------- */

static double rate(const struct measured *m)
{
	uint64_t ns = m->last_ns - m->first_ns;

	return ns ? (double)m->events * 1e9 / (double)ns : 0;
}

static double us(const struct measured *m, double p)
{
	return (double)histogram_percentile(&m->latency, p) / 1e3;
}

static void report(const struct bench *b, const char *what, const struct measured *m)
{
	const struct ctl *ctl = b->ctl;

	if (ctl->json) {
		ctl_print_json(stdout,
			       json_pack("{s:s,s:I,s:I,s:f,s:I,s:{s:f,s:f,s:f,s:f}}", "side", what,
					 "events", (json_int_t)m->events, "failed",
					 (json_int_t)m->failed, "events_per_second", rate(m),
					 "size", (json_int_t)b->size, "latency_us", "p50",
					 us(m, 0.5), "p99", us(m, 0.99), "p999", us(m, 0.999),
					 "max", (double)m->latency.max / 1e3));
		return;
	}
	printf("%s%-10s%s %10.0f events/s  %8.1f MB/s   latency p50 %.0f  p99 %.0f  p99.9 %.0f  "
	       "max %.0f us\n",
	       ctl_paint(ctl, BOLD), what, ctl_paint(ctl, PLAIN), rate(m),
	       rate(m) * (double)b->size / 1e6, us(m, 0.5), us(m, 0.99), us(m, 0.999),
	       (double)m->latency.max / 1e3);
	if (m->failed) {
		printf("           %" PRIu64
		       " publishes were refused for the moment and made again\n",
		       m->failed);
	}
}

/* ---- both ------------------------------------------------------------------------------- */

static bool read_whole(int fd, void *to, size_t n)
{
	size_t have = 0;

	while (have < n) {
		ssize_t got = read(fd, (char *)to + have, n - have);

		if (got == 0 || (got < 0 && errno != EINTR)) {
			return false;
		}
		have += got > 0 ? (size_t)got : 0;
	}
	return true;
}

_Noreturn static void child(struct side *s, int fd)
{
	int status = run_subscriber(s, fd);
	size_t done = 0;

	while (status == 0 && done < sizeof(s->m)) {
		ssize_t n = write(fd, (char *)&s->m + done, sizeof(s->m) - done);

		if (n <= 0) {
			status = EX_OSERR;
		} else {
			done += (size_t)n;
		}
	}
	free(s);
	exit(status);
}

static struct side *side_create(const struct bench *b)
{
	struct side *s = xcalloc(1, sizeof(*s));

	s->b = b;
	return s;
}

static int run_both(const struct bench *b)
{
	struct side *publisher = side_create(b), *subscriber = side_create(b);
	int fds[2], status, wstatus;
	pid_t pid;
	char ready;

	if (pipe(fds) != 0 || (pid = fork()) < 0) {
		free(publisher);
		free(subscriber);
		return ctl_fail(b->ctl, EX_OSERR, "pipe and fork: %s", strerror(errno));
	}
	if (pid == 0) {
		close(fds[0]);
		free(publisher);
		child(subscriber, fds[1]);
	}
	close(fds[1]);
	status = read_whole(fds[0], &ready, 1) ? run_publisher(publisher) : EX_UNAVAILABLE;
	if (status == 0) {
		report(b, "publish", &publisher->m);
	}
	if (status == 0 && read_whole(fds[0], &subscriber->m, sizeof(subscriber->m))) {
		report(b, "deliver", &subscriber->m);
	}
	close(fds[0]);
	if (waitpid(pid, &wstatus, 0) == pid && status == 0) {
		status = WIFEXITED(wstatus) ? WEXITSTATUS(wstatus) : 1;
	}
	free(publisher);
	free(subscriber);
	return status;
}

static int run_one(const struct bench *b)
{
	struct side *s = side_create(b);
	int status = b->mode == PUBLISHER ? run_publisher(s) : run_subscriber(s, -1);

	if (s->m.events) {
		report(b, b->mode == PUBLISHER ? "publish" : "deliver", &s->m);
	}
	free(s);
	return status;
}

/* ---- arguments ----------------------------------------------------------------------------- */

enum { SIZE = 1, COUNT, BATCH, WINDOW, TOPIC, GROUP, MODE = 100 };

static const struct option options[] = {
	{"both", no_argument, NULL, MODE + BOTH},
	{"publisher", no_argument, NULL, MODE + PUBLISHER},
	{"subscriber", no_argument, NULL, MODE + SUBSCRIBER},
	{"size", required_argument, NULL, SIZE},
	{"count", required_argument, NULL, COUNT},
	{"batch", required_argument, NULL, BATCH},
	{"window", required_argument, NULL, WINDOW},
	{"topic", required_argument, NULL, TOPIC},
	{"group", required_argument, NULL, GROUP},
	CTL_OPTIONS,
	{NULL, 0, NULL, 0},
};

/* -1: go on. */
static int set(struct bench *b, int opt)
{
	int status = 0;

	switch (opt) {
	case MODE + BOTH:
	case MODE + PUBLISHER:
	case MODE + SUBSCRIBER:
		b->mode = (enum mode)(opt - MODE);
		break;
	case SIZE:
		status = ctl_size(b->ctl, "--size", optarg, &b->size);
		if (status == 0 && (b->size < (int64_t)TIME_SIZE || b->size > MAX_SIZE)) {
			status = ctl_misused(b->ctl, "--size: 8 bytes to 1 MiB");
		}
		break;
	case COUNT:
		status = ctl_number(b->ctl, "--count", optarg, 1, INT64_MAX, &b->count);
		break;
	case BATCH:
		status = ctl_number(b->ctl, "--batch", optarg, 1, 1 << 20, &b->batch);
		break;
	case WINDOW:
		status = ctl_number(b->ctl, "--window", optarg, 1, 1 << 20, &b->window);
		break;
	case TOPIC:
		b->topic = optarg;
		break;
	case GROUP:
		b->group = optarg;
		break;
	default:
		return ctl_option(b->ctl, opt);
	}
	return status ? status : -1;
}

int bench_main(struct ctl *ctl, int argc, char **argv)
{
	struct bench b = {.ctl = ctl, .size = 128, .count = 1000000, .batch = 64, .window = 8192};
	int opt, status;

	ctl->usage = usage;
	snprintf(b.own_topic, sizeof(b.own_topic), "bench.%08" PRIx32, (uint32_t)random_u64());
	b.topic = b.own_topic;
	while ((opt = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		status = set(&b, opt);
		if (status >= 0) {
			return status;
		}
	}
	if (optind < argc) {
		return ctl_misused(ctl, "unexpected argument \"%s\"", argv[optind]);
	}
	return b.mode == BOTH ? run_both(&b) : run_one(&b);
}
