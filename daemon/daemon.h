/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon: what is started in which order, and stopped in the opposite one. Signals: SIGTERM and
 * SIGINT drain and stop, a second one ends at once; SIGHUP reloads.
 */
#ifndef DAEMON_DAEMON_H
#define DAEMON_DAEMON_H

#include "config/config.h"

/* The kinds of broker that were built in, as config_load wants them. */
const struct config_broker_kind *const *daemon_broker_kinds(void);

/* Says each setting that is allowed and weakens a promise of the daemon. */
void daemon_warn(const struct config *c, void (*say)(void *ctx, const char *text), void *ctx);

/* Runs until it is stopped. Takes config over. Returns an exit status of sysexits.h. */
int daemon_run(struct config *config);

#endif
