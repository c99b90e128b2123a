/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection to a server, from a connect to its close; it never reconnects, conn.c opens the
 * next one. The library is told not to start threads that touch the socket: no reconnect, no
 * flusher, no ping timer. So each moment has one owner, and no lock is needed:
 *   connecting	a thread of ours runs natsConnection_Connect, which blocks
 *   open	the loop polls a dup() of the socket, so that the descriptor it polls cannot be
 *		closed and reused behind its back, and lets the library read and write
 *   closing	a thread of ours runs natsConnection_Destroy, which may block
 * Each hand-over goes through the mailbox or through the creation of the thread.
 *
 * Happy path: link_open -> connect_main -> post -> on_connected (poll, inbox) -> conn_on_opened;
 * on_poll -> conn_on_message for each -> conn_on_messages_end; link_close -> close_main -> post ->
 * conn_on_closed -> link_free.
 * Failure modes: connect fails: conn_on_opened says why. The peer goes: the library detaches inside
 * a read or write, conn_on_lost comes. The library's own thread reports an error: posted as text.
 * A stop while connecting: link_abandon, the thread cleans up alone when it wakes. The library may
 * call back until its closed callback, later than everything else: it holds a reference.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "adapters/nats/link_impl.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/worker.h"

#define HANG_UP_READS 64 /* of what may still lie in the socket */

static void unref(struct link *l)
{
	if (atomic_fetch_sub(&l->refs, 1) != 1) {
		return;
	}
	natsOptions_Destroy(l->opts);
	pthread_mutex_destroy(&l->lock);
	if (l->seed) {
		explicit_bzero(l->seed, strlen(l->seed));
		free(l->seed);
	}
	free(l);
}

/* False: nobody listens, the post stays the caller's. */
static bool post(struct link *l, struct link_post *p)
{
	bool taken;

	pthread_mutex_lock(&l->lock);
	taken = l->mailbox && mailbox_post(l->mailbox, &p->link);
	l->posted = l->posted || (taken && p == &l->done);
	pthread_mutex_unlock(&l->lock);
	return taken;
}

static void silence(struct link *l)
{
	pthread_mutex_lock(&l->lock);
	l->mailbox = NULL;
	pthread_mutex_unlock(&l->lock);
}

/* ---- called by the library --------------------------------------------------- */

static natsStatus on_attach(void **user, void *loop, natsConnection *nc, natsSock socket)
{
	struct link *l = loop;

	(void)nc;
	*user = l;
	l->fd = dup(socket); /* not F_DUPFD_CLOEXEC, which ThreadSanitizer does not see */
	return l->fd < 0 || fcntl(l->fd, F_SETFD, FD_CLOEXEC) != 0 ? NATS_SYS_ERROR : NATS_OK;
}

static natsStatus on_read_wanted(void *user, bool add)
{
	(void)user;
	(void)add; /* always, from attach to detach */
	return NATS_OK;
}

/* Mostly on the loop; the next link_flush finds the mark, a tick later at the latest. */
static natsStatus on_write_wanted(void *user, bool add)
{
	struct link *l = user;

	atomic_store(&l->want_write, add);
	return NATS_OK;
}

static natsStatus on_detach(void *user)
{
	struct link *l = user;

	l->detached = true;
	return NATS_OK;
}

/* A thread of the library. */
static void on_error(natsConnection *nc, natsSubscription *sub, natsStatus status, void *closure)
{
	struct link *l = closure;
	struct link_post *p = xcalloc(1, sizeof(*p));
	const char *text = NULL;

	(void)sub;
	p->kind = POST_ERROR;
	p->owner = l;
	natsConnection_GetLastError(nc, &text);
	snprintf(p->text, sizeof(p->text), "%s",
		 text && text[0] ? text : natsStatus_GetText(status));
	if (!post(l, p)) {
		free(p);
	}
}

/* A thread of the library; its last call for this connection. */
static void on_library_done(natsConnection *nc, void *closure)
{
	(void)nc;
	unref(closure);
}

/* ---- options ------------------------------------------------------------------- */

static natsStatus make_options(struct nats_adapter *a, struct link *l)
{
	natsStatus s = natsOptions_Create(&l->opts);

	if (s == NATS_OK) {
		s = dial_options(a, l->opts, &l->seed);
	}
	if (s == NATS_OK) {
		s = natsOptions_SetErrorHandler(l->opts, on_error, l);
	}
	if (s == NATS_OK) {
		s = natsOptions_SetClosedCB(l->opts, on_library_done, l);
	}
	if (s == NATS_OK) {
		s = natsOptions_SetEventLoop(l->opts, l, on_attach, on_read_wanted, on_write_wanted,
					     on_detach);
	}
	return s;
}

/* ---- connecting ---------------------------------------------------------------- */

static void connect_now(struct link *l)
{
	atomic_fetch_add(&l->refs, 1); /* the library's, until on_library_done */
	l->status = natsConnection_Connect(&l->nc, l->opts);
	if (l->status == NATS_OK && l->fd < 0) {
		l->status = NATS_ERR;
	}
	if (l->status != NATS_OK) {
		dial_explain(l->status, l->why, sizeof(l->why));
	}
	if (!l->nc) {
		atomic_fetch_sub(&l->refs, 1); /* never the last: our thread has one */
	}
}

/* Nobody wanted it after all. */
static void discard(struct link *l)
{
	natsConnection_Destroy(l->nc);
	if (l->fd >= 0) {
		close(l->fd);
	}
}

static void *connect_main(void *arg)
{
	struct link *l = arg;

	if (l->status == NATS_OK) {
		connect_now(l);
	}
	nats_ReleaseThreadMemory();
	if (!post(l, &l->done)) {
		discard(l);
		nats_ReleaseThreadMemory();
	}
	unref(l);
	return NULL;
}

static void start_thread(struct link *l, void *(*run)(void *arg))
{
	int rc;

	atomic_fetch_add(&l->refs, 1);
	rc = pthread_create(&l->thread, NULL, run, l);
	if (rc != 0) {
		log_error(l->adapter->base.tag, "cannot start a thread: %s", strerror(rc));
		abort();
	}
}

struct link *link_open(struct nats_adapter *a)
{
	struct link *l = xcalloc(1, sizeof(*l));

	l->adapter = a;
	l->fd = -1;
	l->mailbox = a->mailbox;
	l->done = (struct link_post){.kind = POST_CONNECTED, .owner = l};
	atomic_init(&l->refs, 1);
	pthread_mutex_init(&l->lock, NULL);
	l->status = make_options(a, l);
	if (l->status != NATS_OK) {
		dial_explain(l->status, l->why, sizeof(l->why));
	}
	start_thread(l, connect_main);
	return l;
}

void link_abandon(struct link *l)
{
	bool posted;

	pthread_mutex_lock(&l->lock);
	l->mailbox = NULL;
	posted = l->posted;
	pthread_mutex_unlock(&l->lock);
	if (posted) {
		l->abandoned = true; /* it has ended; its post is still to come */
	} else {
		worker_leave_behind();
		pthread_detach(l->thread);
		unref(l);
	}
}

/* ---- open ------------------------------------------------------------------------ */

/* The thread has ended: poll, or say what went wrong. */
static void on_connected(struct link *l)
{
	struct nats_adapter *a = l->adapter;

	if (l->status == NATS_OK) {
		l->status = link_open_inbox(l);
		if (l->status != NATS_OK) {
			dial_explain(l->status, l->why, sizeof(l->why));
		}
	}
	if (l->fd >= 0) {
		int rc = uv_poll_init(a->base.env.loop, &l->poll, l->fd);

		if (rc != 0) {
			log_error(a->base.tag, "uv_poll_init: %s", uv_strerror(rc));
			abort();
		}
		l->poll.data = l;
		l->polling = true;
		l->heard_ms = clock_mono_ms();
		link_poll(l, false);
	}
	conn_on_opened(a, l, l->status == NATS_OK ? 0 : EB_EIO, l->why);
}

/* ---- closing ------------------------------------------------------------------------ */

static void *close_main(void *arg)
{
	struct link *l = arg;

	for (unsigned i = 0; i <= LINK_NEWS; i++) {
		natsSubscription_Destroy(l->sub[i]);
		l->sub[i] = NULL;
	}
	natsConnection_Destroy(l->nc);
	l->nc = NULL;
	nats_ReleaseThreadMemory();
	if (!post(l, &l->done)) {
		/* link_free comes only after this post. */
		abort();
	}
	unref(l);
	return NULL;
}

static void on_poll_closed(uv_handle_t *handle)
{
	struct link *l = handle->data;

	close(l->fd);
	l->fd = -1;
	start_thread(l, close_main);
}

/* Closed by us, the library would wait for a last answer that nobody reads; by the peer, it does
 * not. */
static void hang_up(struct link *l)
{
	shutdown(l->fd, SHUT_RDWR);
	for (int i = 0; i < HANG_UP_READS && !l->detached; i++) {
		natsConnection_ProcessReadEvent(l->nc);
	}
}

void link_close(struct link *l)
{
	if (l->fd >= 0 && !l->detached) {
		hang_up(l);
	}
	l->polling = false;
	l->done = (struct link_post){.kind = POST_CLOSED, .owner = l};
	if (l->fd >= 0) {
		uv_close((uv_handle_t *)&l->poll, on_poll_closed);
	} else {
		start_thread(l, close_main);
	}
}

void link_free(struct link *l)
{
	silence(l);
	unref(l);
}

/* ---- posts ---------------------------------------------------------------------------- */

void link_on_post(struct list *item)
{
	struct link_post *p = container_of(item, struct link_post, link);
	struct link *l = p->owner;

	switch (p->kind) {
	case POST_CONNECTED:
		pthread_join(l->thread, NULL);
		if (l->abandoned) {
			discard(l);
			unref(l);
		} else {
			on_connected(l);
		}
		return;
	case POST_CLOSED:
		pthread_join(l->thread, NULL);
		conn_on_closed(l->adapter, l);
		return;
	case POST_ERROR:
		conn_on_async_error(l->adapter, p->text);
		free(p);
		return;
	}
}
