/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pub: publish and wait for the confirms.
 *
 * Happy path: the payload (or each line of stdin as it comes) is published, answers are printed as
 * they arrive, the exit status is that of the worst one.
 * Failure modes: no daemon -> 69; no answer in --timeout -> told per event, 75; the queue is full
 * -> stdin waits.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "client/eventbusctl/ctl.h"

#define MAX_PAYLOAD ((size_t)64 << 20)
#define MAX_META    64
#define READ_BYTES  65536

struct pub {
	struct ctl *ctl;
	struct eventbus *client;
	struct eventbus_message m;
	struct eventbus_pair meta[MAX_META];
	const char *file;
	bool lines, quiet, every; /* every: one line per confirm, though there are many */
	int64_t count, timeout_ms;
	struct buf input; /* the payload, or what was read of stdin */
	bool ended;	  /* stdin */
	int64_t published, stored, failed;
	int status;
};

static const char usage[] =
	"usage: eventbusctl pub TOPIC [PAYLOAD | - | --file FILE] [options]\n"
	"\n"
	"  -                     the payload is all of stdin\n"
	"  --file FILE           the payload is this file\n"
	"  --lines               one event per line of stdin, as they come\n"
	"  --count N             publish it N times\n"
	"  --key KEY             for order: key\n"
	"  --id ID               publish again with the same id: stored once\n"
	"  --meta KEY=VALUE      metadata; may be repeated\n"
	"  --content-type TYPE, --message-type TYPE\n"
	"  --timeout TIME        wait this long for each confirm (default 10s)\n"
	"  --verbose, --quiet    print every confirm; print only failures\n"
	"  --json                one JSON object per confirm\n"
	"\n"
	"Prints the id and the position of each event. Exit status 75: some events were not\n"
	"confirmed, sending again is safe (with the same --id where it says unknown).\n";

/* ---- answers --------------------------------------------------------------------- */

static json_t *text_json(struct eventbus_text t)
{
	return json_stringn(t.p ? t.p : "", t.n);
}

static void print_stored(const struct pub *p, const struct eventbus_result *r)
{
	const struct ctl *ctl = p->ctl;

	if (ctl->json) {
		ctl_print_json(stdout, json_pack("{s:s,s:o,s:s,s:s,s:b}", "outcome", "stored", "id",
						 text_json(r->id), "topic", p->m.topic, "position",
						 r->position, "duplicate", (int)r->duplicate));
		return;
	}
	printf("%sstored%s  %.*s  %s%s%s%s\n", ctl_paint(ctl, GREEN), ctl_paint(ctl, PLAIN),
	       (int)r->id.n, r->id.p, ctl_paint(ctl, DIM), r->position,
	       r->duplicate ? "  (the broker had it already)" : "", ctl_paint(ctl, PLAIN));
}

static void print_failed(const struct pub *p, const struct eventbus_result *r)
{
	const struct ctl *ctl = p->ctl;

	if (ctl->json) {
		ctl_print_json(stdout, json_pack("{s:s,s:s,s:s,s:o,s:s}", "outcome",
						 eventbus_outcome_name(r->outcome), "reason",
						 eventbus_reason_name(r->reason), "error", r->text,
						 "id", text_json(r->id), "topic", p->m.topic));
		return;
	}
	fprintf(stderr, "%s%s%s  %.*s  %s: %s\n", ctl_paint_err(ctl, RED),
		eventbus_outcome_name(r->outcome), ctl_paint_err(ctl, PLAIN), (int)r->id.n, r->id.p,
		eventbus_reason_name(r->reason), r->text);
}

static void on_published(void *ctx, const struct eventbus_result *r)
{
	struct pub *p = ctx;
	int status = ctl_outcome_status(r->outcome);

	if (status == 0) {
		p->stored++;
		if (!p->quiet && (p->ctl->json || p->every)) {
			print_stored(p, r);
		}
		return;
	}
	p->failed++;
	p->status = p->status == 1 ? 1 : status; /* what is worth no second try wins */
	print_failed(p, r);
}

/* ---- input ------------------------------------------------------------------------- */

static int read_all(struct pub *p, int fd, const char *name)
{
	ssize_t n;

	do {
		n = read(fd, buf_reserve(&p->input, READ_BYTES), READ_BYTES);
		if (n > 0) {
			buf_added(&p->input, (size_t)n);
		}
		if (p->input.len > MAX_PAYLOAD) {
			return ctl_fail(p->ctl, 1, "%s: over 64 MiB, which no daemon takes", name);
		}
	} while (n > 0 || (n < 0 && errno == EINTR));
	if (n < 0) {
		return ctl_fail(p->ctl, EX_NOINPUT, "%s: %s", name, strerror(errno));
	}
	p->m.payload = p->input.len ? buf_data(&p->input) : NULL;
	p->m.payload_size = p->input.len;
	return 0;
}

static int read_file(struct pub *p)
{
	int fd = open(p->file, O_RDONLY | O_CLOEXEC), status;

	if (fd < 0) {
		return ctl_fail(p->ctl, EX_NOINPUT, "%s: %s", p->file, strerror(errno));
	}
	status = read_all(p, fd, p->file);
	close(fd);
	return status;
}

/* ---- publishing ---------------------------------------------------------------------- */

/* True: taken. False: the queue is full, or p->status says what is wrong. */
static bool publish(struct pub *p)
{
	int rc = eventbus_publish(p->client, &p->m, on_published, p);

	if (rc == 0) {
		p->published++;
	} else if (rc != EVENTBUS_EAGAIN) {
		p->status = ctl_fail(p->ctl, 1, "%s", eventbus_error_text(p->client));
	}
	return rc == 0;
}

/* Takes whole lines out of what was read; the last one needs no newline. */
static void publish_lines(struct pub *p)
{
	while (p->status != 1 && p->input.len) {
		const uint8_t *start = buf_data(&p->input);
		const uint8_t *end = memchr(start, '\n', p->input.len);

		if (!end && !p->ended) {
			if (p->input.len > MAX_PAYLOAD) {
				p->status = ctl_fail(p->ctl, 1, "a line of over 64 MiB");
			}
			return;
		}
		p->m.payload = start;
		p->m.payload_size = end ? (size_t)(end - start) : p->input.len;
		if (!publish(p)) {
			return;
		}
		buf_consume(&p->input, p->m.payload_size + (end ? 1 : 0));
	}
}

static void read_lines(struct pub *p)
{
	ssize_t n = read(STDIN_FILENO, buf_reserve(&p->input, READ_BYTES), READ_BYTES);

	if (n > 0) {
		buf_added(&p->input, (size_t)n);
	} else if (n == 0 || (errno != EINTR && errno != EAGAIN)) {
		p->ended = true;
	}
}

static bool has_line(const struct pub *p)
{
	return p->input.len && memchr(buf_data(&p->input), '\n', p->input.len);
}

static void run_lines(struct pub *p)
{
	struct pollfd fds[2] = {{.fd = eventbus_fd(p->client), .events = POLLIN},
				{.fd = STDIN_FILENO, .events = POLLIN}};

	while (p->status != 1 && (!p->ended || p->input.len)) {
		/* While lines wait for room in the queue, stdin waits too. */
		bool full = p->ended || has_line(p);

		poll(fds, full ? 1 : 2, -1);
		if (!full && fds[1].revents) {
			read_lines(p);
		}
		publish_lines(p);
		eventbus_process(p->client);
	}
}

static void run_count(struct pub *p)
{
	while (p->status != 1 && p->published < p->count) {
		if (!publish(p) && p->status != 1) {
			eventbus_run_once(p->client, -1);
		}
	}
}

static void summary(const struct pub *p, int64_t ms)
{
	if (p->ctl->json || p->quiet || p->every) {
		return;
	}
	printf("%s%" PRId64 " stored%s, %" PRId64 " failed in %.2f s (%.0f/s)\n",
	       ctl_paint(p->ctl, p->failed ? RED : GREEN), p->stored, ctl_paint(p->ctl, PLAIN),
	       p->failed, (double)ms / 1e3, (double)p->stored * 1e3 / (double)(ms ? ms : 1));
}

static int run(struct pub *p)
{
	struct eventbus_options o = {.publish_timeout_ms = p->timeout_ms};
	int64_t start;

	/* The same id N times is one event N times: positions show it. */
	o.positions = p->every || p->ctl->json;
	p->client = ctl_connect(p->ctl, &o, &p->status);
	if (!p->client) {
		return p->status;
	}
	start = clock_mono_ms();
	if (p->lines) {
		run_lines(p);
	} else {
		run_count(p);
	}
	while (eventbus_unconfirmed(p->client)) { /* the publish timeout ends it */
		eventbus_run_once(p->client, -1);
	}
	summary(p, clock_mono_ms() - start);
	eventbus_destroy(p->client);
	return fflush(stdout) == 0 ? p->status : 1;
}

/* ---- arguments --------------------------------------------------------------------------- */

static int add_meta(struct pub *p, char *pair)
{
	char *value = strchr(pair, '=');

	if (!value || value == pair) {
		return ctl_misused(p->ctl, "--meta: \"%s\" is not KEY=VALUE", pair);
	}
	if (p->m.metadata_count == MAX_META) {
		return ctl_misused(p->ctl, "--meta: at most %d", MAX_META);
	}
	*value = '\0';
	p->meta[p->m.metadata_count++] = (struct eventbus_pair){pair, value + 1};
	return 0;
}

enum {
	FILE_ = 1,
	LINES,
	COUNT,
	KEY,
	ID,
	META,
	CONTENT_TYPE,
	MESSAGE_TYPE,
	TIMEOUT,
	VERBOSE,
	QUIET
};

static const struct option options[] = {
	{"file", required_argument, NULL, FILE_},
	{"lines", no_argument, NULL, LINES},
	{"count", required_argument, NULL, COUNT},
	{"key", required_argument, NULL, KEY},
	{"id", required_argument, NULL, ID},
	{"meta", required_argument, NULL, META},
	{"content-type", required_argument, NULL, CONTENT_TYPE},
	{"message-type", required_argument, NULL, MESSAGE_TYPE},
	{"timeout", required_argument, NULL, TIMEOUT},
	{"verbose", no_argument, NULL, VERBOSE},
	{"quiet", no_argument, NULL, QUIET},
	CTL_OPTIONS,
	{NULL, 0, NULL, 0},
};

/* -1: go on. */
static int set(struct pub *p, int opt)
{
	int status = 0;

	switch (opt) {
	case FILE_:
		p->file = optarg;
		break;
	case LINES:
		p->lines = true;
		break;
	case COUNT:
		status = ctl_number(p->ctl, "--count", optarg, 1, INT64_MAX, &p->count);
		break;
	case KEY:
		p->m.key = optarg;
		break;
	case ID:
		p->m.id = optarg;
		break;
	case META:
		status = add_meta(p, optarg);
		break;
	case CONTENT_TYPE:
		p->m.content_type = optarg;
		break;
	case MESSAGE_TYPE:
		p->m.message_type = optarg;
		break;
	case TIMEOUT:
		status = ctl_duration(p->ctl, "--timeout", optarg, &p->timeout_ms);
		break;
	case VERBOSE:
		p->every = true;
		break;
	case QUIET:
		p->quiet = true;
		break;
	default:
		return ctl_option(p->ctl, opt);
	}
	return status ? status : -1;
}

static int arguments(struct pub *p, int argc, char **argv)
{
	const char *payload = optind + 1 < argc ? argv[optind + 1] : NULL;

	if (optind == argc) {
		return ctl_misused(p->ctl, "a topic is needed");
	}
	if (argc - optind > 2) {
		return ctl_misused(p->ctl, "unexpected argument \"%s\"", argv[optind + 2]);
	}
	if ((payload != NULL) + (p->file != NULL) + p->lines > 1) {
		return ctl_misused(p->ctl, "only one of PAYLOAD, --file and --lines");
	}
	if (p->lines && p->count > 1) {
		return ctl_misused(p->ctl, "only one of --lines and --count");
	}
	p->m.topic = argv[optind];
	p->m.metadata = p->meta;
	p->every = p->every || (!p->lines && p->count == 1);
	if (p->file) {
		return read_file(p);
	}
	if (payload && strcmp(payload, "-") == 0) {
		return read_all(p, STDIN_FILENO, "stdin");
	}
	p->m.payload = payload;
	p->m.payload_size = payload ? strlen(payload) : 0;
	return 0;
}

int pub_main(struct ctl *ctl, int argc, char **argv)
{
	struct pub p = {.ctl = ctl, .count = 1, .timeout_ms = 10000};
	int opt, status;

	ctl->usage = usage;
	setvbuf(stdout, NULL, _IOLBF, 0); /* who reads the answers may wait for each */
	buf_init(&p.input);
	while ((opt = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		status = set(&p, opt);
		if (status >= 0) {
			return status;
		}
	}
	status = arguments(&p, argc, argv);
	if (status == 0) {
		status = run(&p);
	}
	buf_finish(&p.input);
	return status;
}
