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
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "adapters/nats/nats.h"
#include "base/clock.h"
#include "base/mem.h"

#define HANG_UP_READS 64 /* of what may still lie in the socket */

enum post_kind { POST_CONNECTED, POST_CLOSED, POST_ERROR };

struct link_post {
	struct list link;
	enum post_kind kind;
	struct link *owner;
	char text[256]; /* POST_ERROR */
};

struct link {
	/* set before a thread starts */
	natsOptions *opts;
	char *seed;
	/* the thread's while it runs, then the loop's */
	natsConnection *nc;
	natsStatus status;
	char why[200];
	int fd; /* our dup of the socket; -1: not attached */
	bool detached;
	/* loop only */
	struct nats_adapter *adapter;
	struct link_post done; /* posted by the thread that ends */
	pthread_t thread;
	uv_poll_t poll;
	bool polling, poll_writes, abandoned;
	natsSubscription *sub[LINK_INBOXES];
	char inbox[64];
	int64_t heard_ms;
	/* any thread */
	atomic_bool want_write;
	atomic_uint refs; /* loop, thread, library */
	pthread_mutex_t lock;
	struct mailbox *mailbox; /* under lock; NULL: nobody listens any more */
	bool posted;		 /* under lock: `done` was, at least once */
};

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
	l->fd = fcntl(socket, F_DUPFD_CLOEXEC, 3);
	return l->fd < 0 ? NATS_SYS_ERROR : NATS_OK;
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

static natsStatus on_sign(char **custom_error, unsigned char **signature, int *n, const char *nonce,
			  void *closure)
{
	struct link *l = closure;

	(void)custom_error;
	return nats_Sign(l->seed, nonce, signature, n);
}

/* ---- options ------------------------------------------------------------------- */

static natsStatus set_servers(struct nats_adapter *a, natsOptions *opts)
{
	const struct option_strings *s = &a->options->servers;
	const size_t n = s->n + (size_t)a->n_discovered;
	const char **v = xcalloc(n, sizeof(*v));
	natsStatus rc;

	for (size_t i = 0; i < n; i++) {
		v[i] = i < s->n ? s->v[i] : a->discovered[i - s->n];
	}
	rc = natsOptions_SetServers(opts, v, (int)n);
	free(v);
	return rc;
}

static bool wants_tls(const struct nats_options *o)
{
	for (size_t i = 0; i < o->servers.n; i++) {
		if (strncmp(o->servers.v[i], "tls://", 6) == 0) {
			return true;
		}
	}
	return o->tls.enabled;
}

static natsStatus set_tls(const struct nats_options *o, natsOptions *opts)
{
	const struct nats_tls_options *t = &o->tls;
	natsStatus s = NATS_OK;

	if (!wants_tls(o)) {
		return s;
	}
	s = natsOptions_SetSecure(opts, true);
	if (s == NATS_OK && t->ca) {
		s = natsOptions_LoadCATrustedCertificates(opts, t->ca);
	}
	if (s == NATS_OK && t->cert) {
		s = natsOptions_LoadCertificatesChain(opts, t->cert, t->key);
	}
	if (s == NATS_OK && t->server_name) {
		s = natsOptions_SetExpectedHostname(opts, t->server_name);
	}
	if (s == NATS_OK && t->ciphers) {
		s = natsOptions_SetCiphers(opts, t->ciphers);
	}
	if (s == NATS_OK && t->insecure) {
		s = natsOptions_SkipServerVerification(opts, true);
	}
	return s;
}

static natsStatus set_credentials(struct link *l, const struct nats_options *o, natsOptions *opts)
{
	if (o->creds) {
		return natsOptions_SetUserCredentialsFromFiles(opts, o->creds, NULL);
	}
	if (o->nkey) {
		l->seed = xstrdup(o->nkey_seed);
		return natsOptions_SetNKey(opts, o->nkey, on_sign, l);
	}
	if (o->token) {
		return natsOptions_SetToken(opts, o->token);
	}
	return o->user ? natsOptions_SetUserInfo(opts, o->user, o->password) : NATS_OK;
}

static natsStatus set_behaviour(struct link *l, const struct nats_options *o, natsOptions *opts)
{
	natsStatus s = natsOptions_SetAllowReconnect(opts, false);

	if (s == NATS_OK) {
		s = natsOptions_SetPingInterval(opts, 0);
	}
	if (s == NATS_OK) {
		s = natsOptions_SetSendAsap(opts, true);
	}
	if (s == NATS_OK) {
		s = natsOptions_SetIOBufSize(opts, NATS_IO_BUFFER);
	}
	if (s == NATS_OK) {
		s = natsOptions_SetTimeout(opts, o->connect_timeout_ms);
	}
	if (s == NATS_OK) {
		s = natsOptions_SetName(opts, o->connection_name);
	}
	if (s == NATS_OK) {
		s = natsOptions_SetErrorHandler(opts, on_error, l);
	}
	if (s == NATS_OK) {
		s = natsOptions_SetClosedCB(opts, on_library_done, l);
	}
	if (s == NATS_OK) {
		s = natsOptions_SetEventLoop(opts, l, on_attach, on_read_wanted, on_write_wanted,
					     on_detach);
	}
	return s;
}

static natsStatus make_options(struct nats_adapter *a, struct link *l)
{
	natsStatus s = natsOptions_Create(&l->opts);

	if (s == NATS_OK) {
		s = set_servers(a, l->opts);
	}
	if (s == NATS_OK) {
		s = set_behaviour(l, a->options, l->opts);
	}
	if (s == NATS_OK) {
		s = set_tls(a->options, l->opts);
	}
	if (s == NATS_OK) {
		s = set_credentials(l, a->options, l->opts);
	}
	return s;
}

/* ---- connecting ---------------------------------------------------------------- */

static void explain(struct link *l, natsStatus s)
{
	const char *last = nats_GetLastError(NULL);

	snprintf(l->why, sizeof(l->why), "%s%s%s", natsStatus_GetText(s), last ? ": " : "",
		 last ? last : "");
}

static void connect_now(struct link *l)
{
	atomic_fetch_add(&l->refs, 1); /* the library's, until on_library_done */
	l->status = natsConnection_Connect(&l->nc, l->opts);
	if (l->status == NATS_OK && l->fd < 0) {
		l->status = NATS_ERR;
	}
	if (l->status != NATS_OK) {
		explain(l, l->status);
	}
	if (!l->nc) {
		unref(l);
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
		explain(l, l->status);
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
		pthread_detach(l->thread);
		unref(l);
	}
}

/* ---- open ------------------------------------------------------------------------ */

static void on_poll(uv_poll_t *poll, int status, int events);

static void poll_for(struct link *l, bool writes)
{
	l->poll_writes = writes;
	uv_poll_start(&l->poll, UV_READABLE | (writes ? UV_WRITABLE : 0), on_poll);
}

void link_check(struct link *l)
{
	const char *last = NULL;

	if (!l->detached || !l->polling) {
		return;
	}
	uv_poll_stop(&l->poll);
	l->polling = false;
	natsConnection_GetLastError(l->nc, &last);
	snprintf(l->why, sizeof(l->why), "%s", last && last[0] ? last : "connection closed");
	conn_on_lost(l->adapter, l, l->why);
}

void link_flush(struct link *l)
{
	if (!l->polling || l->detached) {
		return;
	}
	if (atomic_load(&l->want_write)) {
		natsConnection_ProcessWriteEvent(l->nc);
	}
	if (l->detached) {
		/* Told by link_check, from a poll or a tick: never from inside a call down. */
		return;
	}
	if (atomic_load(&l->want_write) != l->poll_writes) {
		poll_for(l, !l->poll_writes);
	}
}

static void take_messages(struct link *l, enum link_inbox kind)
{
	natsMsg *msg;
	natsStatus s;

	while (l->polling) {
		s = natsSubscription_NextMsg(&msg, l->sub[kind], 0);
		if (s == NATS_OK) {
			conn_on_message(l->adapter, kind, msg);
		} else if (s == NATS_NO_RESPONDERS) {
			conn_on_message(l->adapter, kind, NULL);
		} else {
			break;
		}
	}
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct link *l = poll->data;

	if (status < 0 || (events & UV_READABLE)) {
		l->heard_ms = clock_mono_ms();
		natsConnection_ProcessReadEvent(l->nc);
		for (unsigned i = 0; i < LINK_INBOXES; i++) {
			take_messages(l, i);
		}
		conn_on_messages_end(l->adapter);
	}
	if (l->polling && (events & UV_WRITABLE)) {
		link_flush(l);
	}
	if (l->polling && status < 0) {
		poll_for(l,
			 l->poll_writes); /* libuv stopped it; what was left to read comes again */
	}
	link_check(l);
}

static natsStatus open_inbox(struct link *l)
{
	natsInbox *inbox = NULL;
	char all[sizeof(l->inbox) + 4];
	natsStatus s = natsInbox_Create(&inbox);

	if (s != NATS_OK) {
		return s;
	}
	snprintf(l->inbox, sizeof(l->inbox), "%s.", inbox);
	natsInbox_Destroy(inbox);
	for (unsigned i = 0; i < LINK_INBOXES && s == NATS_OK; i++) {
		snprintf(all, sizeof(all), "%s%c.>", l->inbox, LINK_INBOX_LETTERS[i]);
		s = natsConnection_SubscribeSync(&l->sub[i], l->nc, all);
		if (s == NATS_OK) {
			s = natsSubscription_SetPendingLimits(l->sub[i], -1, -1);
		}
	}
	return s;
}

/* The thread has ended: poll, or say what went wrong. */
static void on_connected(struct link *l)
{
	struct nats_adapter *a = l->adapter;

	if (l->status == NATS_OK) {
		l->status = open_inbox(l);
		if (l->status != NATS_OK) {
			explain(l, l->status);
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
		poll_for(l, false);
	}
	conn_on_opened(a, l, l->status == NATS_OK ? 0 : EB_EIO, l->why);
}

natsConnection *link_nc(struct link *l)
{
	return l && l->polling && !l->detached ? l->nc : NULL;
}

const char *link_inbox(const struct link *l)
{
	return l->inbox;
}

size_t link_unwritten(struct link *l)
{
	const int n = link_nc(l) ? natsConnection_Buffered(l->nc) : 0;

	return n > 0 ? (size_t)n : 0;
}

int64_t link_heard_ms(const struct link *l)
{
	return l->heard_ms;
}

char **link_discovered(struct link *l, int *n)
{
	char **v = NULL;

	*n = 0;
	if (natsConnection_GetDiscoveredServers(l->nc, &v, n) != NATS_OK) {
		return NULL;
	}
	return v;
}

void link_mute(struct link *l)
{
	if (link_nc(l)) {
		natsSubscription_DrainTimeout(l->sub[LINK_FLOWS], NATS_STOP_GRACE_MS);
	}
}

/* ---- closing ------------------------------------------------------------------------ */

static void *close_main(void *arg)
{
	struct link *l = arg;

	for (unsigned i = 0; i < LINK_INBOXES; i++) {
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
