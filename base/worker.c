/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Happy path: work_start queues; run on a pool thread; done on the loop; freed.
 * Failure modes: canceled before it ran: done(EB_ECANCELED), run never called;
 * canceled while it runs or after: done(0) as if nothing was asked.
 */
#include "base/worker.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"

struct work {
	uv_work_t req;
	void (*run)(void *arg);
	void (*done)(void *arg, int rc);
	void *arg;
};

static void on_run(uv_work_t *req)
{
	struct work *w = req->data;

	w->run(w->arg);
}

static void on_done(uv_work_t *req, int status)
{
	struct work *w = req->data;
	void (*done)(void *arg, int rc) = w->done;
	void *arg = w->arg;

	free(w);
	done(arg, status == UV_ECANCELED ? EB_ECANCELED : 0);
}

struct work *work_start(uv_loop_t *loop, void (*run)(void *arg), void (*done)(void *arg, int rc),
			void *arg)
{
	struct work *w = xcalloc(1, sizeof(*w));
	int rc;

	w->req.data = w;
	w->run = run;
	w->done = done;
	w->arg = arg;
	rc = uv_queue_work(loop, &w->req, on_run, on_done);
	if (rc != 0) {
		log_error("worker", "uv_queue_work: %s", uv_strerror(rc));
		abort();
	}
	return w;
}

void work_cancel(struct work *w)
{
	/* Refused when it runs already: then done comes by itself. */
	(void)uv_cancel((uv_req_t *)&w->req);
}

static atomic_bool left_behind;

void worker_leave_behind(void)
{
	atomic_store(&left_behind, true);
}

bool worker_left_behind(void)
{
	return atomic_load(&left_behind);
}
