/* SPDX-License-Identifier: Apache-2.0 */
/* Blocking work off the loop: uv_queue_work with ownership spelled out. */
#ifndef BASE_WORKER_H
#define BASE_WORKER_H

#include <stdbool.h>
#include <uv.h>

struct work;
/*
 * run(arg) on a pool thread, then done(arg, rc) on the loop thread, exactly
 * once, rc = 0 or EB_ECANCELED when it never ran. arg stays the caller's and must live until done.
 */
struct work *work_start(uv_loop_t *loop, void (*run)(void *arg), void (*done)(void *arg, int rc),
			void *arg);
/* Loop thread, before done. Tries to keep it from starting; done comes all the same, later. */
void work_cancel(struct work *w);

/* Any thread: one is left running because it hangs in a library. The process must then end by
 * _exit: what libraries do at exit would pull the ground from under it. */
void worker_leave_behind(void);
bool worker_left_behind(void);

#endif
