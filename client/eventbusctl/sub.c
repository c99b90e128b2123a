/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sub: print events, or run a command for each.
 *
 * Happy path: subscribed (said on stderr and on --ready-fd), events, and in the end
 * (--count, --timeout, SIGINT, SIGTERM) unsubscribe, finish what runs, give back the rest, flush.
 * Failure modes: refused -> exit status 1; the connection is lost -> said, and on it goes; stdout
 * is gone -> what was not printed is given back; a second signal ends the running commands.
 */
#include "client/eventbusctl/sub.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "client/eventbusctl/sub_options.h"

#define FLUSH_MS 5000

struct sub {
	struct ctl *ctl;
	struct sub_options o;
	struct eventbus *client;
	struct eventbus_subscription *subscription;
	struct exec *exec;
	struct eventbus_delivery **kept; /* --ack none */
	size_t n_kept;
	int signals;
	int64_t done, end_ms;
	bool ready, stopping, ended;
	int status;
};

/* ---- ending ---------------------------------------------------------------------- */

static void give_back_kept(struct sub *s)
{
	for (size_t i = 0; i < s->n_kept; i++) {
		eventbus_delivery_free(s->kept[i]);
	}
	s->n_kept = 0;
}

static void stop(struct sub *s)
{
	if (s->stopping) {
		return;
	}
	s->stopping = true;
	if (s->exec) {
		exec_stop(s->exec);
	}
	give_back_kept(s);
	eventbus_unsubscribe(s->subscription);
}

static void count(struct sub *s)
{
	s->done++;
	if (s->o.count && s->done >= s->o.count) {
		stop(s);
	}
}

/* ---- events ------------------------------------------------------------------------ */

static int settle(struct sub *s, struct eventbus_event *e)
{
	count(s);
	switch (s->o.ack) {
	case SUB_ACK:
		return 0;
	case SUB_ACK_NONE:
		s->kept = xrealloc(s->kept, (s->n_kept + 1) * sizeof(struct eventbus_delivery *));
		s->kept[s->n_kept++] = eventbus_take(e);
		if (s->stopping) {
			give_back_kept(s);
		}
		return 0;
	default:
		return eventbus_fail(e, (enum eventbus_class)s->o.ack, s->o.reason);
	}
}

static int on_event(void *ctx, struct eventbus_event *e)
{
	struct sub *s = ctx;

	if (s->stopping) {
		return eventbus_fail(e, EVENTBUS_RELEASE, "eventbusctl ends");
	}
	if (s->exec) {
		exec_add(s->exec, eventbus_take(e));
		return 0;
	}
	if (!print_event(s->ctl, e, s->o.payload_only)) {
		s->status = ctl_fail(s->ctl, 1, "stdout: %s", strerror(errno));
		stop(s);
		return eventbus_fail(e, EVENTBUS_RELEASE, "stdout is gone");
	}
	return settle(s, e);
}

static void on_command_done(void *ctx, bool done)
{
	struct sub *s = ctx;

	if (done) {
		count(s);
	}
	if (s->o.count && !s->stopping) {
		exec_limit(s->exec, s->o.count - s->done - exec_running(s->exec));
	}
}

static void on_cancel(void *ctx, struct eventbus_delivery *d, enum eventbus_cancel why,
		      int64_t deadline_ms)
{
	struct sub *s = ctx;

	(void)deadline_ms;
	if (s->exec) {
		exec_cancel(s->exec, d, why);
	}
}

/* ---- states --------------------------------------------------------------------------- */

static void tell_ready(struct sub *s)
{
	if (!s->ready && s->o.ready_fd >= 0) {
		if (write(s->o.ready_fd, "subscribed\n", 11) != 11) {
			ctl_warn(s->ctl, "--ready-fd: %s", strerror(errno));
		}
		close(s->o.ready_fd);
	}
	s->ready = true;
}

static void say_state(const struct sub *s, const char *state, const char *why, uint64_t lost)
{
	const struct ctl *ctl = s->ctl;

	if (ctl->json) {
		ctl_print_json(stderr, json_pack("{s:s,s:s,s:I}", "state", state, "why", why,
						 "lost", (json_int_t)lost));
	} else if (!s->o.quiet) {
		fprintf(stderr, "%s%s%s%s%s", ctl_paint_err(ctl, DIM), state, *why ? ": " : "", why,
			ctl_paint_err(ctl, PLAIN));
		if (lost) {
			fprintf(stderr, ", %" PRIu64 " events", lost);
		}
		fputc('\n', stderr);
	}
}

static void on_state(void *ctx, struct eventbus_subscription *sub, const struct eventbus_note *n)
{
	struct sub *s = ctx;

	(void)sub;
	switch (n->state) {
	case EVENTBUS_SUBSCRIBED:
		say_state(s, "subscribed", "", 0);
		tell_ready(s);
		break;
	case EVENTBUS_REFUSED:
		s->status = ctl_fail(s->ctl, 1, "refused (%s): %s", eventbus_reason_name(n->reason),
				     n->why);
		stop(s);
		break;
	case EVENTBUS_UNSUBSCRIBED:
		s->ended = true;
		s->subscription = NULL;
		break;
	case EVENTBUS_LIVE:
		if (!s->ready) {
			break;
		}
		/* fall through */
	default:
		say_state(s, eventbus_state_name(n->state), n->why, n->lost);
		break;
	}
}

static void on_connection(void *ctx, enum eventbus_connection now, const char *text,
			  int64_t deadline_ms)
{
	struct sub *s = ctx;

	(void)deadline_ms;
	if (now == EVENTBUS_DRAINING) {
		say_state(s, "draining", text, 0);
	} else if (s->client && now == EVENTBUS_DISCONNECTED) {
		say_state(s, "disconnected", text, 0);
	} else if (s->client && now == EVENTBUS_CONNECTED) {
		say_state(s, "connected", "", 0);
	}
}

/* ---- the loop ------------------------------------------------------------------------------ */

static void on_signal(struct sub *s, uint32_t signo)
{
	if (signo == SIGCHLD) {
		if (s->exec) {
			exec_reap(s->exec);
		}
	} else if (!s->stopping) {
		stop(s);
	} else if (s->exec) {
		exec_kill(s->exec);
	}
}

static void read_signals(struct sub *s)
{
	struct signalfd_siginfo info;

	while (read(s->signals, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		on_signal(s, info.ssi_signo);
	}
}

static int open_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int time_left(const struct sub *s)
{
	int64_t left;

	if (s->stopping || s->o.timeout_ms == 0) {
		return -1;
	}
	left = s->end_ms - clock_mono_ms();
	return left < 0 ? 0 : left > INT32_MAX ? INT32_MAX : (int)left;
}

static void loop(struct sub *s)
{
	struct pollfd fds[2] = {{.fd = eventbus_fd(s->client), .events = POLLIN},
				{.fd = s->signals, .events = POLLIN}};

	while (!s->ended || (s->exec && exec_running(s->exec))) {
		poll(fds, 2, time_left(s));
		read_signals(s);
		eventbus_process(s->client);
		if (time_left(s) == 0) {
			s->status = s->o.count ? EX_TEMPFAIL : s->status;
			stop(s);
		}
	}
	if (eventbus_is_connected(s->client)) {
		eventbus_flush(s->client, FLUSH_MS);
	}
}

static int subscribe(struct sub *s)
{
	struct eventbus_subscribe *o = &s->o.subscribe;

	o->handler = on_event;
	o->on_state = on_state;
	o->on_cancel = on_cancel;
	o->ctx = s;
	o->auto_extend = true;
	if (s->o.command) {
		o->concurrency = o->concurrency ? o->concurrency : 1;
		/* What waits here cannot be worked on by another member. */
		if (o->max_in_flight_events == 0) {
			o->max_in_flight_events = o->concurrency * 2;
		}
		s->exec = exec_create(s->ctl, s->o.command, o->concurrency, o->group,
				      on_command_done, s);
		if (s->o.count) {
			exec_limit(s->exec, s->o.count);
		}
	}
	if (eventbus_subscribe(s->client, o, &s->subscription) != 0) {
		return ctl_misused(s->ctl, "%s", eventbus_error_text(s->client));
	}
	return 0;
}

static int run(struct sub *s)
{
	struct eventbus_options o = {.on_connection = on_connection, .ctx = s};
	int status = 0;

	s->signals = open_signals();
	if (s->signals < 0) {
		return ctl_fail(s->ctl, EX_OSERR, "signalfd: %s", strerror(errno));
	}
	s->client = ctl_connect(s->ctl, &o, &status);
	if (!s->client) {
		return status;
	}
	s->end_ms = clock_mono_ms() + s->o.timeout_ms;
	status = subscribe(s);
	if (status == 0) {
		loop(s);
		status = s->status;
	}
	exec_destroy(s->exec);
	eventbus_destroy(s->client);
	free(s->kept);
	close(s->signals);
	return status;
}

int sub_main(struct ctl *ctl, int argc, char **argv)
{
	struct sub s = {.ctl = ctl};
	int status = sub_options_read(ctl, &s.o, argc, argv);

	return status >= 0 ? status : run(&s);
}
