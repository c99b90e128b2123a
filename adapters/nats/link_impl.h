/* SPDX-License-Identifier: Apache-2.0 */
/* Private to link.c (threads, opening and closing) and link_io.c (the loop's reads and writes). */
#ifndef ADAPTERS_NATS_LINK_IMPL_H
#define ADAPTERS_NATS_LINK_IMPL_H

#include <pthread.h>
#include <stdatomic.h>

#include "adapters/nats/nats.h"

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
	natsSubscription *sub[LINK_INBOXES + 1]; /* and LINK_NEWS, or NULL */
	char inbox[64];
	int64_t heard_ms;
	/* any thread */
	atomic_bool want_write;
	atomic_uint refs; /* loop, thread, library */
	pthread_mutex_t lock;
	struct mailbox *mailbox; /* under lock; NULL: nobody listens any more */
	bool posted;		 /* under lock: `done` was, at least once */
};

/* Subscribes to the inboxes of a connection that has just opened. */
natsStatus link_open_inbox(struct link *l);
/* Polls for reads, and for writes when the library has some. */
void link_poll(struct link *l, bool writes);

#endif
