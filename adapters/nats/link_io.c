/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An open connection on the loop: reads, writes, messages. See link.c for how it opens and ends.
 *
 * Happy path: on_poll -> the library reads -> conn_on_message for each -> conn_on_messages_end;
 * what was sent in a turn is written by link_flush.
 *
 * Failure modes: the library detaches inside a read or a write: link_check tells conn_on_lost,
 * from a poll or a tick.
 */
#include <stdio.h>

#include "adapters/nats/link_impl.h"
#include "base/clock.h"

static void on_poll(uv_poll_t *poll, int status, int events);

void link_poll(struct link *l, bool writes)
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
		link_poll(l, !l->poll_writes);
	}
}

static void take_messages(struct link *l, enum link_inbox kind)
{
	natsMsg *msg;
	natsStatus s;

	while (l->polling && l->sub[kind]) {
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
		for (unsigned i = 0; i <= LINK_NEWS; i++) {
			take_messages(l, i);
		}
		conn_on_messages_end(l->adapter);
	}
	if (l->polling && (events & UV_WRITABLE)) {
		link_flush(l);
	}
	if (l->polling && status < 0) {
		link_poll(l,
			  l->poll_writes); /* libuv stopped it; what was left to read comes again */
	}
	link_check(l);
}

natsStatus link_open_inbox(struct link *l)
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

void link_watch(struct link *l, const char *subject)
{
	if (link_nc(l) && !l->sub[LINK_NEWS]) {
		/* Without it what is watched is still looked at from time to time. */
		(void)natsConnection_SubscribeSync(&l->sub[LINK_NEWS], l->nc, subject);
	}
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
