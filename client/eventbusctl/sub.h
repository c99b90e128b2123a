/* SPDX-License-Identifier: Apache-2.0 */
/* sub and its runner of commands. */
#ifndef CLIENT_EVENTBUSCTL_SUB_H
#define CLIENT_EVENTBUSCTL_SUB_H

#include "client/eventbusctl/ctl.h"

/* ---- print.c: an event on stdout. False when stdout is gone. ---------------------- */

bool print_event(const struct ctl *ctl, const struct eventbus_event *e, bool payload_only);

/* ---- exec.c: a command per event ---------------------------------------------------- */

struct exec;

/* How an event ended, for --count: done is everything that does not come again. */
typedef void (*exec_done_cb)(void *ctx, bool done);

/* command is borrowed; at most concurrency children at once. group may be NULL. */
struct exec *exec_create(const struct ctl *ctl, const char *command, uint32_t concurrency,
			 const char *group, exec_done_cb done, void *ctx);
/* Everything was settled or given back before. Accepts NULL. */
void exec_destroy(struct exec *x);
/* Takes the delivery over and runs it when there is room. */
void exec_add(struct exec *x, struct eventbus_delivery *d);
/* No more than n further children are started. */
void exec_limit(struct exec *x, int64_t n);
/* No more at all: what waits is given back. Running ones go on. */
void exec_stop(struct exec *x);
/* The delivery should end: what waits is let go, a running child is left alone. */
void exec_cancel(struct exec *x, struct eventbus_delivery *d, enum eventbus_cancel why);
/* After SIGCHLD: settles what ended, starts what waits. */
void exec_reap(struct exec *x);
/* Ends the children that run now; they are given back. */
void exec_kill(struct exec *x);
uint32_t exec_running(const struct exec *x);

#endif
