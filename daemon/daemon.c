/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way up: log, budget, loop, signals, sessions, bus, listener, READY. The way down
 * is daemon_stop.c's; a start that fails midway takes it as well.
 */
#include "daemon/daemon_impl.h"

#include <assert.h>
#include <inttypes.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sysexits.h>
#include <unistd.h>

#include "adapters/adapter.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/random.h"

#define MAX_KINDS     16
#define TIDY_EVERY_MS 5000
#define TIDY_BYTES    ((size_t)32 * 1024 * 1024)

const struct config_broker_kind *const *daemon_broker_kinds(void)
{
	static struct config_broker_kind kinds[MAX_KINDS];
	static const struct config_broker_kind *list[MAX_KINDS + 1];
	const struct adapter_kind *const *k = adapter_kinds();
	size_t i;

	for (i = 0; k[i] && !list[0]; i++) {
		assert(i < MAX_KINDS);
		kinds[i] = (struct config_broker_kind){k[i]->name, k[i]->options,
						       k[i]->options_size, k[i]->check};
	}
	while (i > 0) {
		i--;
		list[i] = &kinds[i];
	}
	return list;
}

void daemon_warn(const struct config *c, void (*say)(void *ctx, const char *text), void *ctx)
{
	for (uint32_t i = 0; i < c->n_brokers; i++) {
		const struct adapter_kind *kind = adapter_kind_find(c->brokers[i].kind->name);

		if (kind->warn) {
			kind->warn(c->brokers[i].options, say, ctx);
		}
	}
	config_warn(c, say, ctx);
}

static void log_warning(void *ctx, const char *text)
{
	(void)ctx;
	log_warn("config", "%s", text);
}

/* host-pid-random, of [A-Za-z0-9_-], at most 64 characters. */
static void make_instance(char out[65])
{
	char host[40] = "";
	char *p;

	gethostname(host, sizeof(host) - 1);
	for (p = host; *p; p++) {
		if (!strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-",
			    *p)) {
			*p = '_';
		}
	}
	snprintf(out, 65, "%s-%d-%08" PRIx32, host, (int)getpid(), (uint32_t)random_u64());
}

/* Every client is a descriptor, and the brokers want some. */
static void raise_descriptors(const struct config *c)
{
	struct rlimit l;
	rlim_t want = (rlim_t)c->socket.max_clients * 2 + 256;

	if (getrlimit(RLIMIT_NOFILE, &l) != 0 || l.rlim_cur >= want) {
		return;
	}
	l.rlim_cur = l.rlim_max == RLIM_INFINITY || l.rlim_max > want ? want : l.rlim_max;
	setrlimit(RLIMIT_NOFILE, &l);
	if (l.rlim_cur < (rlim_t)c->socket.max_clients + 64) {
		log_warn(DAEMON_TAG,
			 "the limit of open files is below socket.max_clients limit=%llu",
			 (unsigned long long)l.rlim_cur);
	}
}

static void watch_signals(struct daemon *d)
{
	struct sigaction alarmed = {.sa_handler = daemon_on_alarm};

	signal(SIGPIPE, SIG_IGN);
	sigaction(SIGALRM, &alarmed, NULL);
	uv_signal_init(&d->loop, &d->sigterm);
	uv_signal_init(&d->loop, &d->sigint);
	uv_signal_init(&d->loop, &d->sighup);
	d->sigterm.data = d->sigint.data = d->sighup.data = d;
	uv_signal_start(&d->sigterm, daemon_on_term, SIGTERM);
	uv_signal_start(&d->sigint, daemon_on_term, SIGINT);
	uv_signal_start(&d->sighup, daemon_on_hup, SIGHUP);
}

void daemon_tell_status(struct daemon *d)
{
	struct broker_view view;
	struct buf text;
	uint32_t i;

	if (d->stage != STAGE_RUN) {
		return; /* the stop tells its own */
	}
	buf_init(&text);
	buf_printf(&text, "serving %u clients", sessions_count(d->sessions));
	for (i = 0; bus_broker(d->bus, i, &view); i++) {
		buf_printf(&text, ", %s:%s %s", view.kind, view.name,
			   view.connected ? "up" : "down");
	}
	buf_append(&text, "", 1);
	notify_status((const char *)buf_data(&text));
	buf_finish(&text);
}

static void on_broker(void *ctx, const char *broker, bool up)
{
	(void)broker;
	(void)up;
	daemon_tell_status(ctx);
}

static void on_watchdog(uv_timer_t *timer)
{
	notify_watchdog();
	daemon_tell_status(timer->data);
}

/*
 * What was freed between live blocks stays with malloc: after a burst the process would look as
 * large as it ever was. Looked at seldom, done only when at least half of the burst is over.
 */
static void on_tidy(uv_timer_t *timer)
{
	struct daemon *d = timer->data;
	struct budget *b = &d->budget;

	if (b->used < b->peak / 2 && b->peak - b->used > TIDY_BYTES) {
		malloc_trim(0);
		b->peak = b->used;
	}
}

static void start_timers(struct daemon *d)
{
	uint64_t every = notify_watchdog_ms();

	uv_timer_init(&d->loop, &d->stop_timer);
	uv_timer_init(&d->loop, &d->watchdog);
	uv_timer_init(&d->loop, &d->tidy);
	d->stop_timer.data = d->watchdog.data = d->tidy.data = d;
	uv_timer_start(&d->tidy, on_tidy, TIDY_EVERY_MS, TIDY_EVERY_MS);
	if (every > 0) {
		uv_timer_start(&d->watchdog, on_watchdog, every, every);
	}
}

static int start_bus(struct daemon *d, struct err_text *err)
{
	const struct bus_options o = {
		.loop = &d->loop,
		.config = d->config,
		.budget = &d->budget,
		.instance = d->instance,
		.on_broker = on_broker,
		.on_stopped = daemon_on_bus_stopped,
		.on_drained = daemon_on_drained,
		.ctx = d,
	};
	const struct sessions_options s = {
		.loop = &d->loop,
		.config = d->config,
		.budget = &d->budget,
		.instance = d->instance,
		.socket = d->socket_path,
	};
	int rc;

	d->sessions = sessions_create(&s);
	rc = bus_create(&o, &d->bus, err);
	if (rc != 0) {
		return rc;
	}
	sessions_attach(d->sessions, d->bus);
	return bus_start(d->bus, err);
}

static void on_connection(void *ctx, uv_stream_t *server)
{
	struct daemon *d = ctx;

	sessions_accept(d->sessions, server);
}

static int start_listener(struct daemon *d, struct err_text *err)
{
	const struct listener_options o = {
		.loop = &d->loop,
		.path = d->socket_path,
		.mode = (uint32_t)d->config->socket.mode,
		.group = d->config->socket.group,
		.on_connection = on_connection,
		.ctx = d,
	};

	return listener_create(&o, &d->listener, err);
}

static void announce(const struct daemon *d)
{
	const struct config *c = d->config;
	char text[160];

	log_info(DAEMON_TAG, "eventbusd %s broker=%s kind=%s%s socket=%s config=%s instance=%s",
		 EVENTBUS_VERSION, c->brokers[0].name, c->brokers[0].kind->name,
		 c->n_brokers > 1 ? " (and more)" : "", d->socket_path,
		 c->file ? c->file : "(built in)", d->instance);
	snprintf(text, sizeof(text), "starting, broker %s", c->brokers[0].kind->name);
	notify_status(text);
}

static int daemon_start(struct daemon *d)
{
	struct err_text err;
	char text[200];
	int rc;

	log_setup((enum log_level)d->config->log.level, (enum log_format)d->config->log.format);
	make_instance(d->instance);
	d->socket_path = listener_inherited_path();
	if (!d->socket_path) {
		d->socket_path = config_socket_path(d->config);
	}
	announce(d);
	daemon_warn(d->config, log_warning, NULL);
	raise_descriptors(d->config);
	budget_init(&d->budget, NULL, (size_t)d->config->limits.memory);
	uv_loop_init(&d->loop);
	watch_signals(d);
	start_timers(d);
	if (start_bus(d, &err) != 0) {
		log_error(DAEMON_TAG, "%s", err.s);
		return EX_UNAVAILABLE;
	}
	rc = start_listener(d, &err);
	if (rc != 0) {
		log_error(DAEMON_TAG, "%s", err.s);
		return rc == EB_EEXIST	 ? EX_UNAVAILABLE
		       : rc == EB_EINVAL ? EX_CONFIG
					 : EX_CANTCREAT;
	}
	snprintf(text, sizeof(text), "serving on %s", listener_path(d->listener));
	notify_ready(text);
	return EX_OK;
}

int daemon_run(struct config *config)
{
	struct daemon *d = xcalloc(1, sizeof(*d));
	int status, rc;

	d->config = config;
	d->status = daemon_start(d);
	if (d->status != EX_OK) {
		daemon_abandon(d);
	}
	uv_run(&d->loop, UV_RUN_DEFAULT);
	rc = uv_loop_close(&d->loop);
	if (rc != 0) {
		daemon_name_handles(d, "at the end");
	}
	assert(rc == 0);
	status = d->status;
	if (status == EX_OK) {
		log_info(DAEMON_TAG, "stopped");
	}
	free(d->socket_path);
	config_free(d->config);
	free(d);
	return status;
}
