/* SPDX-License-Identifier: Apache-2.0 */
#include "base/worker.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/err.h"
#include "tests/unit/suite.h"

struct job {
	pthread_t loop_thread;
	uv_sem_t *started, *gate; /* may be NULL */
	bool ran, elsewhere;
	int dones, rc;
};

static void run(void *arg)
{
	struct job *j = arg;

	j->elsewhere = !pthread_equal(pthread_self(), j->loop_thread);
	j->ran = true;
	if (j->started) {
		uv_sem_post(j->started);
	}
	if (j->gate) {
		uv_sem_wait(j->gate);
	}
}

static void on_done(void *arg, int rc)
{
	struct job *j = arg;

	ck_assert(pthread_equal(pthread_self(), j->loop_thread));
	j->dones++;
	j->rc = rc;
}

static void finish(uv_loop_t *loop)
{
	ck_assert_int_eq(uv_run(loop, UV_RUN_DEFAULT), 0);
	ck_assert_int_eq(uv_loop_close(loop), 0);
}

START_TEST(work_runs_elsewhere_and_is_done_here)
{
	struct job jobs[50];
	uv_loop_t loop;

	ck_assert_int_eq(uv_loop_init(&loop), 0);
	for (int i = 0; i < 50; i++) {
		jobs[i] = (struct job){.loop_thread = pthread_self(), .rc = 1};
		ck_assert_ptr_nonnull(work_start(&loop, run, on_done, &jobs[i]));
		ck_assert_int_eq(jobs[i].dones, 0);
	}
	finish(&loop);
	for (int i = 0; i < 50; i++) {
		ck_assert(jobs[i].ran && jobs[i].elsewhere);
		ck_assert_int_eq(jobs[i].dones, 1);
		ck_assert_int_eq(jobs[i].rc, 0);
	}
}
END_TEST

/* One pool thread, held by the first job: the second waits and is canceled, the first cannot be. */
START_TEST(canceled_work_never_runs_but_is_done)
{
	struct job first = {.loop_thread = pthread_self()}, second = first;
	uv_sem_t started, gate;
	uv_loop_t loop;
	struct work *a, *b;

	setenv("UV_THREADPOOL_SIZE", "1", 1);
	ck_assert_int_eq(uv_sem_init(&started, 0), 0);
	ck_assert_int_eq(uv_sem_init(&gate, 0), 0);
	ck_assert_int_eq(uv_loop_init(&loop), 0);
	first.started = &started;
	first.gate = &gate;
	a = work_start(&loop, run, on_done, &first);
	b = work_start(&loop, run, on_done, &second);
	uv_sem_wait(&started);
	work_cancel(a);
	work_cancel(b);
	ck_assert_int_eq(second.dones, 0);
	uv_sem_post(&gate);
	finish(&loop);
	ck_assert(first.ran);
	ck_assert_int_eq(first.rc, 0);
	ck_assert_int_eq(first.dones, 1);
	ck_assert(!second.ran);
	ck_assert_int_eq(second.rc, EB_ECANCELED);
	ck_assert_int_eq(second.dones, 1);
	uv_sem_destroy(&started);
	uv_sem_destroy(&gate);
}
END_TEST

struct chain {
	uv_loop_t *loop;
	int left;
};

static void nothing(void *arg)
{
	(void)arg;
}

static void on_link(void *arg, int rc)
{
	struct chain *c = arg;

	ck_assert_int_eq(rc, 0);
	if (--c->left > 0) {
		work_start(c->loop, nothing, on_link, c);
	}
}

START_TEST(done_may_start_more_work)
{
	uv_loop_t loop;
	struct chain c = {&loop, 20};

	ck_assert_int_eq(uv_loop_init(&loop), 0);
	work_start(&loop, nothing, on_link, &c);
	finish(&loop);
	ck_assert_int_eq(c.left, 0);
}
END_TEST

int main(void)
{
	const TTest *tests[] = {
		work_runs_elsewhere_and_is_done_here,
		canceled_work_never_runs_but_is_done,
		done_may_start_more_work,
	};

	return suite_run("worker", tests, sizeof(tests) / sizeof(tests[0]));
}
