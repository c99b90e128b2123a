/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A command per event.
 *
 * Happy path: the event's payload goes into a memory file that becomes the child's stdin, what is
 * known of it into the environment; the child ends; its exit status settles the event.
 * Failure modes: the child is killed or cannot be started -> the event is nacked for retry, with
 * the reason; the connection is lost meanwhile -> the child goes on, its result is stale, and the
 * event comes again.
 *
 * Children run in process groups of their own, so that Ctrl-C on the terminal ends eventbusctl
 * gently and not them.
 */
#include "client/eventbusctl/sub.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/mem.h"

struct job {
	struct list link; /* on waiting or running */
	struct eventbus_delivery *delivery;
	pid_t pid; /* 0: waits */
	bool killed;
};

struct exec {
	const struct ctl *ctl;
	const char *command, *group;
	char *socket; /* so that the command may call eventbusctl */
	uint32_t concurrency, n_running;
	int64_t limit; /* children that may still be started; < 0: no limit */
	struct list waiting, running;
	exec_done_cb done;
	void *ctx;
};

struct exec *exec_create(const struct ctl *ctl, const char *command, uint32_t concurrency,
			 const char *group, exec_done_cb done, void *ctx)
{
	struct exec *x = xcalloc(1, sizeof(*x));

	x->ctl = ctl;
	x->command = command;
	x->concurrency = concurrency;
	x->group = group;
	x->socket = ctl->socket ? xstrdup(ctl->socket) : eventbus_default_socket();
	x->limit = -1;
	x->done = done;
	x->ctx = ctx;
	list_init(&x->waiting);
	list_init(&x->running);
	return x;
}

static struct job *job_of(struct list *link)
{
	return container_of(link, struct job, link);
}

static void job_free(struct job *j)
{
	list_remove(&j->link);
	free(j);
}

/* ---- what the child is told ------------------------------------------------------------ */

struct environment {
	char **v;
	size_t n, cap;
};

static void env_add(struct environment *env, char *entry)
{
	if (env->n + 1 >= env->cap) {
		env->cap = env->cap ? env->cap * 2 : 64;
		env->v = xrealloc(env->v, env->cap * sizeof(char *));
	}
	env->v[env->n++] = entry;
	env->v[env->n] = NULL;
}

static void env_text(struct environment *env, const char *name, struct eventbus_text t)
{
	env_add(env, xasprintf("EVENTBUS_%s=%.*s", name, (int)t.n, t.p ? t.p : ""));
}

/* "dlq.original-topic" -> EVENTBUS_METADATA_DLQ_ORIGINAL_TOPIC */
static void env_metadata(struct environment *env, struct eventbus_text key,
			 struct eventbus_text value)
{
	char *entry =
		xasprintf("EVENTBUS_METADATA_%.*s=%.*s", (int)key.n, key.p, (int)value.n, value.p);

	for (char *c = entry; *c != '='; c++) {
		*c = (char)(isalnum((unsigned char)*c) ? toupper((unsigned char)*c) : '_');
	}
	env_add(env, entry);
}

static void env_free(struct environment *env)
{
	for (size_t i = 0; i < env->n; i++) {
		free(env->v[i]);
	}
	free(env->v);
}

/* Ours without former EVENTBUS_ variables, then the event's. */
static struct environment make_env(const struct exec *x, const struct eventbus_event *e)
{
	struct environment env = {0};
	struct eventbus_text key, value;
	char at[CLOCK_ISO_SIZE];
	size_t pos = 0;

	for (char **p = environ; *p; p++) {
		if (strncmp(*p, "EVENTBUS_", 9) != 0) {
			env_add(&env, xstrdup(*p));
		}
	}
	env_add(&env, xasprintf("EVENTBUS_SOCKET=%s", x->socket));
	env_text(&env, "ID", e->id);
	env_text(&env, "TOPIC", e->topic);
	env_text(&env, "KEY", e->key);
	env_text(&env, "CONTENT_TYPE", e->content_type);
	env_text(&env, "MESSAGE_TYPE", e->message_type);
	env_text(&env, "METHOD", e->method);
	env_text(&env, "POSITION", e->position);
	clock_format_iso(e->published_at_ms, at);
	env_add(&env, xasprintf("EVENTBUS_PUBLISHED_AT=%s", at));
	env_add(&env, xasprintf("EVENTBUS_ATTEMPT=%" PRIu32, e->attempt));
	env_add(&env, xasprintf("EVENTBUS_EPOCH=%" PRIu64, e->epoch));
	env_add(&env, xasprintf("EVENTBUS_GROUP=%s", x->group ? x->group : ""));
	while (eventbus_metadata_next(e, &pos, &key, &value)) {
		env_metadata(&env, key, value);
	}
	return env;
}

/* The payload as a file that is read from its beginning. */
static int payload_file(const struct eventbus_event *e)
{
	int fd = memfd_create("event", MFD_CLOEXEC);
	size_t done = 0;

	while (fd >= 0 && done < e->payload_size) {
		ssize_t n = write(fd, (const char *)e->payload + done, e->payload_size - done);

		if (n <= 0) {
			close(fd);
			return -1;
		}
		done += (size_t)n;
	}
	if (fd >= 0) {
		lseek(fd, 0, SEEK_SET);
	}
	return fd;
}

/* ---- starting ------------------------------------------------------------------------------ */

static int spawn(const struct exec *x, int in, char *const *env, pid_t *pid)
{
	char *argv[] = {(char *)(uintptr_t) "sh", (char *)(uintptr_t) "-c",
			(char *)(uintptr_t)x->command, NULL};
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	sigset_t none, all;
	int rc;

	sigemptyset(&none);
	sigfillset(&all);
	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_adddup2(&files, in, STDIN_FILENO);
	if (x->ctl->json) { /* stdout is for JSON */
		posix_spawn_file_actions_adddup2(&files, STDERR_FILENO, STDOUT_FILENO);
	}
	posix_spawnattr_init(&attr);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &all);
	posix_spawnattr_setpgroup(&attr, 0);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
						POSIX_SPAWN_SETPGROUP);
	rc = posix_spawn(pid, "/bin/sh", &files, &attr, argv, env);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&files);
	return rc;
}

static void start_job(struct exec *x, struct job *j)
{
	const struct eventbus_event *e = eventbus_delivery_event(j->delivery);
	struct environment env = make_env(x, e);
	int in = payload_file(e);
	int rc = in < 0 ? errno : spawn(x, in, env.v, &j->pid);
	char reason[128];

	env_free(&env);
	if (in >= 0) {
		close(in);
	}
	if (rc == 0) {
		list_push_back(&x->running, &j->link);
		x->n_running++;
		return;
	}
	snprintf(reason, sizeof(reason), "cannot run /bin/sh: %s", strerror(rc));
	ctl_warn(x->ctl, "%s", reason);
	eventbus_nack(j->delivery, EVENTBUS_RETRY, reason, -1);
	job_free(j);
	x->done(x->ctx, false);
}

static void start_waiting(struct exec *x)
{
	struct list *it;

	while (x->n_running < x->concurrency && x->limit != 0 &&
	       (it = list_pop_front(&x->waiting)) != NULL) {
		if (x->limit > 0) {
			x->limit--;
		}
		start_job(x, job_of(it));
	}
}

void exec_add(struct exec *x, struct eventbus_delivery *d)
{
	struct job *j = xcalloc(1, sizeof(*j));

	j->delivery = d;
	eventbus_delivery_set_user(d, j);
	list_push_back(&x->waiting, &j->link);
	start_waiting(x);
}

static void give_back_waiting(struct exec *x)
{
	struct list *it;

	while ((it = list_pop_front(&x->waiting)) != NULL) {
		eventbus_delivery_free(job_of(it)->delivery);
		job_free(job_of(it));
	}
}

void exec_limit(struct exec *x, int64_t n)
{
	x->limit = n;
	start_waiting(x);
}

void exec_stop(struct exec *x)
{
	x->limit = 0;
	give_back_waiting(x);
}

void exec_cancel(struct exec *x, struct eventbus_delivery *d, enum eventbus_cancel why)
{
	struct job *j = eventbus_delivery_user(d);

	if (j->pid == 0) {
		eventbus_delivery_free(d);
		job_free(j);
	} else if (why == EVENTBUS_CANCEL_STALE) {
		ctl_warn(x->ctl,
			 "the event that process %d works on was taken away: it comes again",
			 (int)j->pid);
	}
}

/* ---- ending ---------------------------------------------------------------------------------- */

struct verdict {
	enum eventbus_class how;
	char reason[64];
};

/* False: acknowledge. */
static bool failed(const struct job *j, int wstatus, struct verdict *v)
{
	int code = WIFEXITED(wstatus) ? WEXITSTATUS(wstatus) : -1;

	if (j->killed) {
		v->how = EVENTBUS_RELEASE;
		snprintf(v->reason, sizeof(v->reason), "eventbusctl was stopped");
		return true;
	}
	if (code == 0) {
		return false;
	}
	v->how = code == EX_DATAERR	  ? EVENTBUS_REJECT
		 : code == EX_UNAVAILABLE ? EVENTBUS_RELEASE
					  : EVENTBUS_RETRY;
	if (code >= 0) {
		snprintf(v->reason, sizeof(v->reason), "exit status %d", code);
	} else {
		snprintf(v->reason, sizeof(v->reason), "killed by signal %d", WTERMSIG(wstatus));
	}
	return true;
}

static void finish(struct exec *x, struct job *j, int wstatus)
{
	struct verdict v = {0};
	int rc;

	x->n_running--;
	if (failed(j, wstatus, &v)) {
		rc = eventbus_nack(j->delivery, v.how, v.reason, -1);
	} else {
		rc = eventbus_ack(j->delivery);
	}
	job_free(j);
	x->done(x->ctx, rc == 0 && (v.how == 0 || v.how == EVENTBUS_REJECT));
}

void exec_reap(struct exec *x)
{
	struct list all, *it;

	list_init(&all);
	list_splice_back(&all, &x->running);
	while ((it = list_pop_front(&all)) != NULL) {
		struct job *j = job_of(it);
		int wstatus;

		if (waitpid(j->pid, &wstatus, WNOHANG) == j->pid) {
			finish(x, j, wstatus);
		} else {
			list_push_back(&x->running, it);
		}
	}
	start_waiting(x);
}

void exec_kill(struct exec *x)
{
	struct list *it, *next;

	list_for_each_safe (it, next, &x->running) {
		job_of(it)->killed = true;
		kill(-job_of(it)->pid, SIGTERM);
	}
}

uint32_t exec_running(const struct exec *x)
{
	return x->n_running;
}

void exec_destroy(struct exec *x)
{
	if (x) {
		give_back_waiting(x);
		free(x->socket);
		free(x);
	}
}
