/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside the daemon: shared by daemon.c (start), daemon_stop.c and daemon_reload.c only.
 */
#ifndef DAEMON_DAEMON_IMPL_H
#define DAEMON_DAEMON_IMPL_H

#include <stdbool.h>
#include <uv.h>

#include "base/log.h"
#include "daemon/bus.h"
#include "daemon/daemon.h"
#include "daemon/listener.h"
#include "daemon/notify.h"
#include "daemon/session.h"

#define DAEMON_TAG "eventbusd"

enum stage {
	STAGE_RUN,	/* serving */
	STAGE_DRAIN,	/* nobody can connect, clients finish: until the bus says that nothing is
			   left, or drain.timeout */
	STAGE_BUS,	/* nothing is read any more; the bus releases, flushes, closes */
	STAGE_SESSIONS, /* the last answers are written, sessions close */
	STAGE_DONE,	/* the loop runs empty */
};

struct daemon {
	struct config *config;
	char *socket_path;
	char instance[65];
	uv_loop_t loop;
	struct budget budget;
	struct sessions *sessions;
	struct bus *bus;
	struct listener *listener;
	uv_signal_t sigterm, sigint, sighup;
	uv_timer_t watchdog;
	uv_timer_t tidy;       /* gives memory back to the machine */
	uv_timer_t stop_timer; /* the end of the present stage's patience */
	enum stage stage;
	bool forced;
	int status; /* exit status */
};

/* Tells the service manager in one line how things are. */
void daemon_tell_status(struct daemon *d);

/* The upcalls of the bus. */
void daemon_on_bus_stopped(void *ctx);
void daemon_on_drained(void *ctx);
/* SIGTERM and SIGINT: drain, then stop; the second time at once. */
void daemon_on_term(uv_signal_t *handle, int sig);
/* SIGALRM: the loop hangs in a stop. */
void daemon_on_alarm(int sig);
/* After a start that failed: stops what was started. */
void daemon_abandon(struct daemon *d);
/* Logs every handle that is not closing; when: for the text. */
void daemon_name_handles(struct daemon *d, const char *when);

/* SIGHUP. */
void daemon_on_hup(uv_signal_t *handle, int sig);

#endif
