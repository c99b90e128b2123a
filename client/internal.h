/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of libeventbus share. Internal functions are called ebus_noun_verb, so that they
 * never meet a name of a program that links the static library.
 *
 *	client.c     create, destroy, one turn, timers
 *	link.c	     the socket: connect, hello, read, write, back-off
 *	frames.c     a frame from the daemon to who knows it
 *	outbox.c     publishes: queue, answers; outbox_send.c their frames
 *	encode.c     struct eventbus_message -> bytes
 *	subscribe.c  subscriptions: the calls; sub_state.c what becomes of them
 *	deliver.c    deliveries to handlers; settling
 *	taken.c	     deliveries that a handler took: leases, cancelling
 *	request.c    ping and admin requests
 *	wait.c	     the blocking calls
 */
#ifndef CLIENT_INTERNAL_H
#define CLIENT_INTERNAL_H

#include "base/buf.h"
#include "base/err.h"
#include "base/list.h"
#include "base/ranges.h"
#include "client/eventbus.h"
#include "proto/codec.h"
#include "proto/framer.h"

#define NEVER INT64_MAX

/* ---- publishes ------------------------------------------------------------- */

struct outbox_chunk;

enum outbox_state {
	OUTBOX_QUEUED, /* to be sent (again) */
	OUTBOX_SENT,   /* on this connection, no answer yet: uses up credit */
	OUTBOX_DONE,   /* answered; leaves when it is the oldest */
};

struct outbox_entry {
	uint8_t *bytes; /* field of Publish.events: tag, length, Event; inside the chunk */
	struct outbox_chunk *chunk;
	eventbus_published_cb cb;
	void *ctx;
	int64_t queued_ms;
	uint32_t size;	     /* of bytes */
	uint32_t event_size; /* of the Event alone: what credit counts */
	uint8_t state;	     /* enum outbox_state */
	bool told;	     /* cb was called */
	bool was_sent;	     /* on any connection */
	bool opens_frame;    /* first of its Publish frame on this connection */
};

/* Sequence numbers rise for the life of the client; entry i of the ring has head_sequence + i. */
struct outbox {
	struct outbox_entry *ring;
	size_t cap, head, count;
	uint64_t head_sequence;
	size_t next;	/* offset from head of the first entry that may have to be sent */
	size_t untold;	/* entries whose cb has not come */
	size_t bytes;	/* of all entries */
	size_t expired; /* entries before this offset were told */
	struct outbox_chunk *tail, *spare;
	/* This connection. */
	uint32_t credit_events, sent_events;
	uint64_t credit_bytes, sent_bytes, full_bytes; /* full: the first grant */
	bool held; /* the daemon drains: wait for the next connection */
};

/* ---- subscriptions ----------------------------------------------------------- */

enum sub_state {
	SUB_WAITING,	   /* to be sent when connected, or at retry_at */
	SUB_ASKED,	   /* Subscribe was sent */
	SUB_ACTIVE,	   /* Subscribed came */
	SUB_UNSUBSCRIBING, /* Unsubscribe was sent */
	SUB_REFUSED,
	SUB_ENDED, /* to be freed at the end of the turn */
};

struct eventbus_subscription {
	struct eventbus *client; /* NULL after the client is gone */
	uint32_t refs;		 /* the client's, and one per taken delivery */
	uint32_t id;
	enum sub_state state;
	int64_t retry_at_ms;
	bool paused;
	bool was_active; /* on an earlier connection: start anew would repeat or miss events */
	char **patterns;
	char *service, *group, *dead_letter_topic, *start_position;
	struct eventbus_subscribe o; /* strings in it are not used */
	struct eventbus_subscription_info info;
	struct list taken; /* struct eventbus_delivery.link, oldest first */
};

struct eventbus_delivery {
	struct list link;
	struct eventbus *client; /* NULL: stale */
	struct eventbus_subscription *sub;
	struct eventbus_event event;
	void *user;
	int64_t lease_start_ms; /* 0: it does not run yet */
	bool lease_told;	/* CANCEL_LEASE, for this run of the lease */
	enum eventbus_cancel cancelled;
	uint8_t bytes[]; /* what event points into */
};

/* ---- settling ---------------------------------------------------------------- */

#define REASON_MAX 1024

/* Nacks of the same kind that wait to become one frame. */
struct pending_nack {
	struct ranges tags;
	enum eventbus_class how;
	int64_t delay_ms; /* < 0: none */
	char reason[REASON_MAX + 1];
};

/* What eventbus_fail and eventbus_take say about the event whose handler runs. */
struct running {
	struct eventbus_event *event; /* NULL: none runs */
	struct eventbus_delivery *taken;
	bool failed;
	enum eventbus_class how;
	int64_t delay_ms;
	char reason[REASON_MAX + 1];
};

/* ---- the client --------------------------------------------------------------- */

enum link_state {
	LINK_DOWN,  /* until retry_at_ms */
	LINK_HELLO, /* Hello was sent */
	LINK_READY, /* Welcome came */
};

struct link {
	enum link_state state;
	int fd;		     /* -1 when down */
	uint64_t connection; /* counts them */
	struct framer in;
	struct buf out;
	bool broken;	      /* found while writing: torn down at the end of the turn */
	int64_t retry_at_ms;  /* LINK_DOWN */
	int64_t hello_end_ms; /* LINK_HELLO */
	int64_t ready_at_ms;  /* LINK_READY: since when */
	uint32_t attempts;    /* that failed in a row */
	char why[256];	      /* what the daemon said before it closed, or "" */
};

struct eventbus {
	char *socket, *name;
	struct eventbus_options o; /* strings in it are not used */
	struct link link;
	struct outbox outbox;
	struct eventbus_subscription **subs; /* slot i has id i + 1; may be NULL */
	uint32_t n_subs, next_slot;
	struct ranges acks, extends;
	struct pending_nack nack;
	struct running running;
	struct list requests; /* struct request.link, oldest first */
	uint64_t next_request;
	uint32_t max_events;	   /* per Publish */
	size_t max_frame;	   /* bytes */
	int64_t now_ms;		   /* of this turn */
	int64_t flushed_ms;	   /* coarse clock, when settles were last written */
	int64_t lease_check_at_ms; /* NEVER when nothing is taken */
	bool draining;
	bool in_turn, stopping, destroyed;
	int epoll, timer;    /* -1 until eventbus_fd() */
	int64_t timer_at_ms; /* what the timer is set to; NEVER: not set */
	bool watched;	     /* epoll has the socket of watched_connection, */
	bool wants_write;    /* with EPOLLOUT */
	uint64_t watched_connection;
	char server[128];
	char told[256]; /* last text given with DISCONNECTED */
	char error[512];
};

/* Keeps the text for eventbus_error_text; returns rc. */
int ebus_fail(struct eventbus *c, int rc, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* Something waits to be written: makes the fd readable when we are outside a turn. */
void ebus_wake(struct eventbus *c);
/* Writes what waits, as far as the socket takes it. Inside a turn: it may call out. */
void ebus_send(struct eventbus *c);
/* A turn that only sends: 0, or EVENTBUS_ECANCELED when a callback destroyed the client. */
int ebus_send_turn(struct eventbus *c);
int64_t ebus_next_due_ms(const struct eventbus *c);
void ebus_tell_connection(struct eventbus *c, enum eventbus_connection now, const char *text,
			  int64_t deadline_ms);

/* link.c */
void ebus_link_init(struct link *l);
void ebus_link_finish(struct link *l);
/* Connects when it is time, reads, dispatches, writes; bounded. */
void ebus_link_turn(struct eventbus *c);
void ebus_link_write(struct eventbus *c);
/* Closes, tells everybody, plans the next attempt. */
void ebus_link_lost(struct eventbus *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void ebus_link_timers(struct eventbus *c);
int64_t ebus_link_due_ms(const struct link *l);

/* frames.c: one frame from the daemon. 0, or negative with the error text when it is no protocol.
 */
int ebus_frame_read(struct eventbus *c, struct slice body);

/* outbox.c */
#define OUTBOX_FRAME_OVERHEAD 32 /* header, tags, first sequence, positions */
static inline struct outbox_entry *ebus_outbox_entry(const struct outbox *o, size_t i)
{
	return &o->ring[(o->head + i) & (o->cap - 1)];
}
/* The oldest entries that are answered leave. Not while a caller holds an index. */
void ebus_outbox_shed(struct outbox *o);
/* Calls out, once per entry: the ring may grow meanwhile, so e is void afterwards. */
void ebus_outbox_tell(struct eventbus *c, struct outbox_entry *e, const struct eventbus_result *r);
void ebus_outbox_init(struct outbox *o);
void ebus_outbox_finish(struct outbox *o);
void ebus_outbox_welcome(struct eventbus *c, const Eventbus__V1__Welcome *w);
void ebus_outbox_published(struct eventbus *c, const Eventbus__V1__Published *p);
/* The Publish frame that begins with sequence was refused as a whole. */
void ebus_outbox_refused(struct eventbus *c, uint64_t sequence, const struct eventbus_result *why);
void ebus_outbox_lost(struct eventbus *c);
void ebus_outbox_timers(struct eventbus *c);
int64_t ebus_outbox_due_ms(const struct eventbus *c);
/* Tells every publish that is left. */
void ebus_outbox_give_up(struct eventbus *c);

/* outbox_send.c: appends Publish frames to out within credit. True when something was appended. */
bool ebus_outbox_pump(struct eventbus *c);

/* encode.c */
struct message_sizes {
	size_t event; /* of the Event */
	size_t field; /* with tag and length in Publish.events */
	size_t n[5];  /* id, topic, key, content type, message type */
};
#define MESSAGE_EVENT_FIELD 0x12 /* Publish.events: field 2, length-delimited */
/* Checks m and finds the sizes: 0, or EVENTBUS_EINVAL / ETOOBIG with a text. */
int ebus_message_measure(const struct eventbus_message *m, struct message_sizes *out,
			 struct err_text *err);
/* Writes s->field bytes; returns the end. An empty id becomes a UUID, time 0 becomes now. */
uint8_t *ebus_message_write(const struct eventbus_message *m, const struct message_sizes *s,
			    uint8_t *p);
/* Of what ebus_message_write wrote: bytes of the Event alone, and its id. */
uint32_t ebus_message_event_size(const uint8_t *field, uint32_t size);
struct eventbus_text ebus_message_id(const uint8_t *field);

/* subscribe.c */
void ebus_sub_ask(struct eventbus *c, struct eventbus_subscription *s);
void ebus_sub_say_pause(struct eventbus_subscription *s);
void ebus_sub_unref(struct eventbus_subscription *s);

/* sub_state.c */
void ebus_subs_welcome(struct eventbus *c);
void ebus_subs_lost(struct eventbus *c);
void ebus_subs_timers(struct eventbus *c);
int64_t ebus_subs_due_ms(const struct eventbus *c);
void ebus_subs_finish(struct eventbus *c);
void ebus_sub_subscribed(struct eventbus *c, const Eventbus__V1__Subscribed *s);
void ebus_sub_state(struct eventbus *c, const Eventbus__V1__SubscriptionState *s);
void ebus_sub_unsubscribed(struct eventbus *c, uint32_t id);
void ebus_sub_error(struct eventbus *c, uint32_t id, const Eventbus__V1__Error *e);
static inline struct eventbus_subscription *ebus_sub_find(struct eventbus *c, uint32_t id)
{
	return id - 1 < c->n_subs ? c->subs[id - 1] : NULL;
}

/* deliver.c */
int ebus_deliver_read(struct eventbus *c, struct slice body, struct err_text *err);
void ebus_settle_ack(struct eventbus *c, uint64_t tag);
void ebus_settle_nack(struct eventbus *c, uint64_t tag, enum eventbus_class how, int64_t delay_ms,
		      const char *reason);
int ebus_settle_extend(struct eventbus *c, uint64_t tag);
/* Appends the frames for what was settled to out. */
void ebus_settle_pump(struct eventbus *c);
void ebus_settle_lost(struct eventbus *c);

/* taken.c */
void ebus_taken_drain(struct eventbus *c, int64_t deadline_ms);
void ebus_taken_revoked(struct eventbus_subscription *s, const Eventbus__V1__SubscriptionState *n);
/* All of the subscription's are stale; tells on_cancel. */
void ebus_taken_lost(struct eventbus_subscription *s, bool tell);
void ebus_taken_timers(struct eventbus *c);

/* request.c */
struct request;
void ebus_requests_welcome(struct eventbus *c);
void ebus_requests_lost(struct eventbus *c);
void ebus_requests_finish(struct eventbus *c);
void ebus_request_answer(struct eventbus *c, uint64_t id, int rc, const char *json,
			 const char *text);
int ebus_request_ping(struct eventbus *c, eventbus_reply_cb cb, void *ctx);

/* wait.c */
/* Turns until *done or the time is over: 0, EVENTBUS_ETIMEDOUT, or what eventbus_process said. */
int ebus_wait_until(struct eventbus *c, const bool *done, int timeout_ms);

#endif
