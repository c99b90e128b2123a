/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Happy path: a thread posts; the first post into an empty list wakes the loop;
 * on_wake takes the whole list and calls out without the lock.
 * Failure modes: posts after mailbox_close are refused; what was posted before is
 * handed out by mailbox_close itself, so nothing is lost or leaked; cb may post
 * again or close the mailbox.
 */
#include "base/mailbox.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"

struct mailbox {
	/* set before start */
	mailbox_cb cb;
	void *ctx;
	/* loop only */
	uv_async_t async;
	void (*closed_cb)(void *ctx);
	/* under lock */
	pthread_mutex_t lock;
	struct list posts;
	bool closing;
};

static void hand_over(struct mailbox *m)
{
	struct list posts;

	list_init(&posts);
	pthread_mutex_lock(&m->lock);
	list_splice_back(&posts, &m->posts);
	pthread_mutex_unlock(&m->lock);
	if (!list_empty(&posts)) {
		m->cb(m->ctx, &posts);
	}
}

static void on_wake(uv_async_t *async)
{
	hand_over(async->data);
}

struct mailbox *mailbox_create(uv_loop_t *loop, mailbox_cb cb, void *ctx)
{
	struct mailbox *m = xcalloc(1, sizeof(*m));
	const int rc = uv_async_init(loop, &m->async, on_wake);

	if (rc != 0) {
		log_error("mailbox", "uv_async_init: %s", uv_strerror(rc));
		abort();
	}
	m->async.data = m;
	m->cb = cb;
	m->ctx = ctx;
	pthread_mutex_init(&m->lock, NULL);
	list_init(&m->posts);
	return m;
}

bool mailbox_post(struct mailbox *m, struct list *post)
{
	bool taken;

	pthread_mutex_lock(&m->lock);
	taken = !m->closing;
	if (taken) {
		const bool wake = list_empty(&m->posts);

		list_push_back(&m->posts, post);
		if (wake) {
			/* Under the lock, so that it cannot hit a handle that is closed meanwhile.
			 */
			uv_async_send(&m->async);
		}
	}
	pthread_mutex_unlock(&m->lock);
	return taken;
}

static void on_closed(uv_handle_t *handle)
{
	struct mailbox *m = handle->data;
	void (*closed)(void *ctx) = m->closed_cb;
	void *ctx = m->ctx;

	pthread_mutex_destroy(&m->lock);
	free(m);
	if (closed) {
		closed(ctx);
	}
}

void mailbox_close(struct mailbox *m, void (*closed)(void *ctx))
{
	pthread_mutex_lock(&m->lock);
	assert(!m->closing);
	m->closing = true;
	pthread_mutex_unlock(&m->lock);
	m->closed_cb = closed;
	hand_over(m);
	uv_close((uv_handle_t *)&m->async, on_closed);
}
