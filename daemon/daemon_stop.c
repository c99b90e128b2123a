/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way down, by stages (daemon_impl.h). Happy path: on_term -> begin_stop -> on_drained ->
 * stop_bus -> on_bus_stopped -> on_sessions_stopped -> the loop runs empty.
 *
 * Failure modes:
 * - clients do not finish: drain.timeout ends the drain, what is unsettled goes back uncounted;
 * - a broker does not let go: the stop is forced after FORCE_MS, and after LAST_MS the process
 *   ends and names the handles that are left (EX_TEMPFAIL);
 * - the loop itself hangs in a library call: SIGALRM ends the process;
 * - a second SIGTERM forces everything at once;
 * - a start that failed goes the same way from stop_bus on, by force.
 */
#include "daemon/daemon_impl.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#define FORCE_MS 3000
#define LAST_MS	 5000
#define ALARM_S	 7

static void name_handle(uv_handle_t *handle, void *arg)
{
	const char *when = arg;

	if (!uv_is_closing(handle)) {
		log_error(DAEMON_TAG, "%s: handle left type=%s active=%d", when,
			  uv_handle_type_name(handle->type), uv_is_active(handle));
	}
}

void daemon_name_handles(struct daemon *d, const char *when)
{
	uv_walk(&d->loop, name_handle, (void *)when);
}

static void on_last_moment(uv_timer_t *timer)
{
	struct daemon *d = timer->data;

	log_error(DAEMON_TAG, "the stop takes too long: ending all the same stage=%d",
		  (int)d->stage);
	daemon_name_handles(d, "at the last moment");
	_exit(EX_TEMPFAIL);
}

/* The loop itself hangs in a library call: only what a signal handler may do. */
void daemon_on_alarm(int sig)
{
	static const char text[] =
		"eventbusd: a library call does not return: ending all the same\n";
	ssize_t n = write(STDERR_FILENO, text, sizeof(text) - 1);

	(void)sig;
	(void)n;
	_exit(EX_TEMPFAIL);
}

static void close_own_handles(struct daemon *d)
{
	d->stage = STAGE_DONE;
	alarm(0);
	uv_close((uv_handle_t *)&d->sigterm, NULL);
	uv_close((uv_handle_t *)&d->sigint, NULL);
	uv_close((uv_handle_t *)&d->sighup, NULL);
	uv_close((uv_handle_t *)&d->watchdog, NULL);
	uv_close((uv_handle_t *)&d->tidy, NULL);
	uv_close((uv_handle_t *)&d->stop_timer, NULL);
}

static void on_sessions_stopped(void *ctx)
{
	struct daemon *d = ctx;

	sessions_destroy(d->sessions);
	bus_destroy(d->bus);
	close_own_handles(d);
}

static void on_force(uv_timer_t *timer)
{
	struct daemon *d = timer->data;

	log_warn(DAEMON_TAG, "the stop is forced stage=%d", (int)d->stage);
	d->forced = true;
	uv_timer_start(&d->stop_timer, on_last_moment, LAST_MS - FORCE_MS, 0);
	if (d->stage == STAGE_BUS) {
		bus_stop(d->bus, true);
	} else if (d->stage == STAGE_SESSIONS) {
		sessions_stop(d->sessions, true, on_sessions_stopped, d);
	}
}

static void report(struct daemon *d)
{
	struct drain_report r = {0, 0, 0};
	char text[128];

	bus_drain_report(d->bus, &r);
	snprintf(text, sizeof(text),
		 "drained %" PRIu64 ", returned %" PRIu64 ", unconfirmed %" PRIu64, r.drained,
		 r.returned, r.unconfirmed);
	log_info(DAEMON_TAG, "%s", text);
	notify_status(text);
}

void daemon_on_bus_stopped(void *ctx)
{
	struct daemon *d = ctx;

	report(d);
	d->stage = STAGE_SESSIONS;
	sessions_stop(d->sessions, d->forced, on_sessions_stopped, d);
}

/* Nothing more is expected from clients. */
static void stop_bus(struct daemon *d)
{
	d->stage = STAGE_BUS;
	alarm(ALARM_S);
	uv_timer_start(&d->stop_timer, on_force, FORCE_MS, 0);
	sessions_quiet(d->sessions);
	bus_stop(d->bus, d->forced);
}

void daemon_on_drained(void *ctx)
{
	struct daemon *d = ctx;

	if (d->stage == STAGE_DRAIN) {
		stop_bus(d);
	}
}

static void on_drain_deadline(uv_timer_t *timer)
{
	struct daemon *d = timer->data;

	log_warn(DAEMON_TAG,
		 "drain.timeout passed: what is unsettled goes back timeout_ms=%" PRId64,
		 d->config->drain.timeout_ms);
	stop_bus(d);
}

static void begin_stop(struct daemon *d)
{
	d->stage = STAGE_DRAIN;
	log_info(DAEMON_TAG, "stopping: draining clients=%u timeout_ms=%" PRId64,
		 sessions_count(d->sessions), d->config->drain.timeout_ms);
	notify_stopping("draining");
	listener_close(d->listener);
	d->listener = NULL;
	alarm((unsigned)(d->config->drain.timeout_ms / 1000) + ALARM_S);
	uv_timer_start(&d->stop_timer, on_drain_deadline, (uint64_t)d->config->drain.timeout_ms, 0);
	sessions_drain(d->sessions, d->config->drain.timeout_ms);
	bus_drain(d->bus);
}

static void force_stop(struct daemon *d)
{
	log_warn(DAEMON_TAG, "second signal: stopping at once");
	d->forced = true;
	if (d->stage == STAGE_DRAIN) {
		stop_bus(d);
	} else if (d->stage == STAGE_BUS) {
		bus_stop(d->bus, true);
	} else if (d->stage == STAGE_SESSIONS) {
		sessions_stop(d->sessions, true, on_sessions_stopped, d);
	}
}

void daemon_on_term(uv_signal_t *handle, int sig)
{
	struct daemon *d = handle->data;

	(void)sig;
	if (d->stage == STAGE_RUN) {
		begin_stop(d);
	} else if (!d->forced) {
		force_stop(d);
	}
}

/* What was started before the failure is stopped on the loop as always, by force. */
void daemon_abandon(struct daemon *d)
{
	d->forced = true;
	if (d->bus) {
		stop_bus(d);
	} else {
		d->stage = STAGE_SESSIONS;
		sessions_stop(d->sessions, true, on_sessions_stopped, d);
	}
}
