/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libeventbus: publish and subscribe through eventbusd.
 *
 *	struct eventbus *c;
 *	eventbus_create(NULL, &c);
 *	eventbus_publish_wait(c, &(struct eventbus_message){.topic = "orders.created",
 *			      .payload = "hello", .payload_size = 5}, 5000, NULL);
 *
 *	static int on_order(void *ctx, struct eventbus_event *e)
 *	{
 *		return work(e->payload, e->payload_size) == 0
 *			? 0 : eventbus_fail(e, EVENTBUS_RETRY, "database is away");
 *	}
 *	eventbus_subscribe(c, &(struct eventbus_subscribe){.pattern = "orders.>",
 *			   .group = "billing", .handler = on_order}, NULL);
 *	eventbus_run(c);
 *
 * Two ways to drive it. In a loop of your own: poll eventbus_fd() for reading and call
 * eventbus_process() when it is ready. Or blocking: eventbus_run(), eventbus_run_once() and
 * the calls that end in _wait.
 *
 * The library connects by itself and again for ever. What was subscribed is subscribed
 * again; publishes without an answer are sent again in order with the same id, so that
 * a broker with a dedupe window stores them once. Deliveries do not outlive a connection: the
 * daemon gives them out anew, and settling an old one says EVENTBUS_ESTALE.
 *
 * Threads: a client object and everything made from it belongs to one thread at a time.
 * Callbacks come only from inside eventbus_process() and the blocking calls. Inside a callback
 * every call is allowed except eventbus_process() and the blocking ones (EVENTBUS_ESTATE).
 *
 * Structs for options are zeroed first; zero means the default. Strings that are passed in are
 * copied unless it says otherwise.
 */
#ifndef EVENTBUS_H
#define EVENTBUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define EVENTBUS_EXPORT __attribute__((visibility("default")))
#else
#define EVENTBUS_EXPORT
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Every fallible call returns 0 or one of these; eventbus_error_text() says more. */
enum eventbus_error {
	EVENTBUS_OK = 0,
	EVENTBUS_EINVAL = -1,
	EVENTBUS_ENOMEM = -2,
	EVENTBUS_ETOOBIG = -3,
	EVENTBUS_EPROTO = -4,
	EVENTBUS_ESTATE = -5,
	EVENTBUS_EIO = -6, /* the connection was lost before the answer */
	EVENTBUS_ENOTFOUND = -7,
	EVENTBUS_EEXIST = -8,
	EVENTBUS_EAGAIN = -9, /* the publish queue is full: process, then try again */
	EVENTBUS_ENOTSUP = -10,
	EVENTBUS_ECANCELED = -11,
	EVENTBUS_ETIMEDOUT = -12,
	EVENTBUS_ESTALE = -13, /* the delivery is not outstanding any more: nothing was done */
};

struct eventbus;	      /* a client */
struct eventbus_subscription; /* valid until eventbus_unsubscribe or eventbus_destroy */
struct eventbus_delivery;     /* a delivery that a handler took; see eventbus_take */

/* Text that is not terminated: printf("%.*s", (int)t.n, t.p). p may be NULL when n is 0. */
struct eventbus_text {
	const char *p;
	size_t n;
};

struct eventbus_pair {
	const char *key, *value;
};

EVENTBUS_EXPORT const char *eventbus_version(void);
EVENTBUS_EXPORT const char *eventbus_strerror(int rc);

/* ---- a client ---------------------------------------------------------------- */

enum eventbus_connection {
	EVENTBUS_CONNECTED,    /* first time or again */
	EVENTBUS_DISCONNECTED, /* text says why; the next attempt is under way */
	EVENTBUS_DRAINING,     /* the daemon stops in deadline_ms: finish and settle */
};

struct eventbus_options {
	const char *socket; /* NULL: eventbus_default_socket() */
	const char *name;   /* for the daemon's log; NULL: the program's name */

	/* Most that may wait for an answer; beyond it eventbus_publish says EVENTBUS_EAGAIN. */
	size_t queue_events; /* 0: 65536 */
	size_t queue_bytes;  /* 0: 16 MiB */
	/* A publish without an answer for this long is given up: not stored, or unknown if it
	 * was sent. 0: never. */
	int64_t publish_timeout_ms;
	bool positions; /* ask for the position of every publish; costs an answer per event */
	int64_t reconnect_max_ms; /* longest pause between attempts; 0: 5000 */

	/* text is borrowed for the call. deadline_ms from now, with EVENTBUS_DRAINING. May be
	 * NULL. */
	void (*on_connection)(void *ctx, enum eventbus_connection now, const char *text,
			      int64_t deadline_ms);
	void *ctx;
};

/* o may be NULL. Nothing is connected before the first process or blocking call. */
EVENTBUS_EXPORT int eventbus_create(const struct eventbus_options *o, struct eventbus **out);
/*
 * Closes the connection at once; unanswered publishes are told as EVENTBUS_UNKNOWN or NOT_STORED
 * with reason NOT_CONNECTED, deliveries go back to the daemon uncounted unless worked on. For a
 * gentle end call eventbus_flush first. Deliveries that were taken stay valid to settle
 * (EVENTBUS_ESTALE). Accepts NULL; inside a callback it takes effect when the callback is over.
 */
EVENTBUS_EXPORT void eventbus_destroy(struct eventbus *c);
/* Text of the last error returned by a call on c, or of the last connection problem. Never NULL. */
EVENTBUS_EXPORT const char *eventbus_error_text(const struct eventbus *c);
EVENTBUS_EXPORT bool eventbus_is_connected(const struct eventbus *c);
/* What the daemon said of itself ("eventbusd 0.1.0"), "" before the first connection. */
EVENTBUS_EXPORT const char *eventbus_server(const struct eventbus *c);
/* $EVENTBUS_SOCKET, else eventbusd.sock in the first entry of $RUNTIME_DIRECTORY, in
 * $XDG_RUNTIME_DIR, in /run/eventbusd: the daemon's own rule. The caller frees it. */
EVENTBUS_EXPORT char *eventbus_default_socket(void);

/* ---- driving it from a loop -------------------------------------------------- */

/*
 * One descriptor for the life of the client, over all reconnects: whenever it polls
 * readable call eventbus_process(). Level-triggered; do not read, write or close it. Negative
 * errno-free enum eventbus_error when it cannot be made.
 */
EVENTBUS_EXPORT int eventbus_fd(struct eventbus *c);
/*
 * Does what is ready and calls the callbacks; never blocks; bounded work per call. 0, or
 * EVENTBUS_ESTATE inside a callback, EVENTBUS_ECANCELED when a callback destroyed the client.
 * Connection trouble is no error here: on_connection tells it.
 */
EVENTBUS_EXPORT int eventbus_process(struct eventbus *c);
/* For loops that do not use eventbus_fd(): when eventbus_process() is due, in ms from now; -1: only
 * when the socket moves. The fd wakes up by itself. */
EVENTBUS_EXPORT int eventbus_next_timeout_ms(const struct eventbus *c);

/* ---- driving it blocking ------------------------------------------------------ */

/* Until eventbus_stop(): 0. */
EVENTBUS_EXPORT int eventbus_run(struct eventbus *c);
/* Sends what waits, waits for something to happen at most timeout_ms (-1: as long as it takes) and
 * does it once. 0, also when nothing happened or a signal interrupted it. */
EVENTBUS_EXPORT int eventbus_run_once(struct eventbus *c, int timeout_ms);
/* Ends eventbus_run when what was read is dispatched: handlers may still be called until then. */
EVENTBUS_EXPORT void eventbus_stop(struct eventbus *c);
/* Until connected: 0, or EVENTBUS_ETIMEDOUT; the error text says why it could not. */
EVENTBUS_EXPORT int eventbus_connect_wait(struct eventbus *c, int timeout_ms);
/*
 * Until every publish is answered and the daemon has read every settle so far: 0, or
 * EVENTBUS_ETIMEDOUT.
 */
EVENTBUS_EXPORT int eventbus_flush(struct eventbus *c, int timeout_ms);

/* ---- publishing ---------------------------------------------------------------- */

enum eventbus_outcome {
	EVENTBUS_STORED = 0,	 /* the broker has it */
	EVENTBUS_NOT_STORED = 1, /* certainly not stored: sending again is safe */
	EVENTBUS_UNKNOWN = 2,	 /* may be stored: send again with the same id */
	EVENTBUS_PERMANENT = 3,	 /* do not send again */
};

enum eventbus_reason {
	EVENTBUS_REASON_NONE = 0,
	EVENTBUS_REASON_NOT_CONNECTED = 1,
	EVENTBUS_REASON_OVERLOADED = 2,
	EVENTBUS_REASON_DRAINING = 3,
	EVENTBUS_REASON_TOO_LARGE = 4,
	EVENTBUS_REASON_UNROUTABLE = 5,
	EVENTBUS_REASON_UNRESOLVED_TOPIC = 6,
	EVENTBUS_REASON_DENIED = 7,
	EVENTBUS_REASON_INVALID = 8,
	EVENTBUS_REASON_NOT_SUPPORTED = 9,
	EVENTBUS_REASON_CONFLICT = 10,
	EVENTBUS_REASON_BROKER = 11,
	EVENTBUS_REASON_NOT_FOUND = 12,
};
/* "not stored", "overloaded"; never NULL. */
EVENTBUS_EXPORT const char *eventbus_outcome_name(enum eventbus_outcome o);
EVENTBUS_EXPORT const char *eventbus_reason_name(enum eventbus_reason r);

struct eventbus_message {
	const char *topic;
	const void *payload;
	size_t payload_size;
	const char *id;	 /* NULL: a UUID is made */
	const char *key; /* NULL: none */
	const char *content_type, *message_type;
	int64_t published_at_ms; /* unix; 0: now */
	const struct eventbus_pair *metadata;
	size_t metadata_count;
};

/* What became of a publish. All borrowed for the call. */
struct eventbus_result {
	enum eventbus_outcome outcome;
	enum eventbus_reason reason;
	const char *text;	 /* "" when stored */
	struct eventbus_text id; /* the caller's or the UUID made */
	const char *position;	 /* "" unless options.positions */
	bool duplicate;		 /* with options.positions: the broker had it already */
};
typedef void (*eventbus_published_cb)(void *ctx, const struct eventbus_result *r);

/*
 * Queues one event. 0: cb (may be NULL) comes exactly once, in a later turn, or from
 * eventbus_destroy. Negative: nothing was taken and no callback comes; EVENTBUS_EAGAIN: the queue
 * is full. Events leave in the order of the calls, as many in one frame and one write as
 * wait together. While the daemon drains or is away they stay queued.
 */
EVENTBUS_EXPORT int eventbus_publish(struct eventbus *c, const struct eventbus_message *m,
				     eventbus_published_cb cb, void *ctx);
/* Publishes that were queued and have no answer yet. */
EVENTBUS_EXPORT size_t eventbus_unconfirmed(const struct eventbus *c);

struct eventbus_receipt {
	enum eventbus_outcome outcome;
	enum eventbus_reason reason;
	bool duplicate;
	char text[256], position[336], id[208];
};
/*
 * Publishes and waits for the answer. 0: stored. EVENTBUS_EIO: refused, receipt says what
 * to do. EVENTBUS_ETIMEDOUT: no answer in time (outcome UNKNOWN); it is still queued and may be
 * stored later. Or an error of eventbus_publish. receipt may be NULL.
 */
EVENTBUS_EXPORT int eventbus_publish_wait(struct eventbus *c, const struct eventbus_message *m,
					  int timeout_ms, struct eventbus_receipt *receipt);

/* ---- receiving ----------------------------------------------------------------- */

/* An event as a handler sees it. Everything is borrowed for the call; see eventbus_take. */
struct eventbus_event {
	struct eventbus_text id, topic, key, content_type, message_type;
	const void *payload;
	size_t payload_size;
	int64_t published_at_ms;       /* unix */
	uint32_t attempt;	       /* 1 + failures recorded before */
	uint32_t metadata_count;       /* pairs; see eventbus_metadata_next */
	struct eventbus_text method;   /* for a service's subscription */
	struct eventbus_text position; /* when the subscription asks for it */
	uint64_t epoch;		       /* of the owner, for ordered groups: fence with it */
	struct eventbus_subscription *subscription;
	uint64_t tag;		      /* the daemon's number of this delivery, for logs */
	struct eventbus_text encoded; /* the library's own */
};

/* Walks the metadata in the order it was written; start with *pos = 0. False at the end. */
EVENTBUS_EXPORT bool eventbus_metadata_next(const struct eventbus_event *e, size_t *pos,
					    struct eventbus_text *key, struct eventbus_text *value);
/* Case-sensitive; false if absent. */
EVENTBUS_EXPORT bool eventbus_metadata_get(const struct eventbus_event *e, const char *key,
					   struct eventbus_text *value);

/*
 * 0: the event is acknowledged. Not 0: it failed, as eventbus_fail said, else EVENTBUS_RETRY
 * without a reason. After eventbus_take the value is ignored. A handler that works for long holds
 * back everything else of this client: take the event and go on.
 */
typedef int (*eventbus_handler)(void *ctx, struct eventbus_event *e);

enum eventbus_class {
	EVENTBUS_RETRY = 1,   /* a failure: counts, comes again after the back-off */
	EVENTBUS_REJECT = 2,  /* to the dead letters now */
	EVENTBUS_RELEASE = 3, /* give it back, does not count */
	EVENTBUS_DROP = 4,    /* forget it */
};

/* Says how the event of this handler failed and returns 1, for `return eventbus_fail(...)`. reason
 * is cut at 1024 bytes, may be NULL. */
EVENTBUS_EXPORT int eventbus_fail(struct eventbus_event *e, enum eventbus_class how,
				  const char *reason);
/* EVENTBUS_RETRY after delay_ms instead of the policy's back-off. At most 24 hours. */
EVENTBUS_EXPORT int eventbus_fail_after(struct eventbus_event *e, int64_t delay_ms,
					const char *reason);

/*
 * Inside a handler: takes the delivery over to settle it later, with a copy of the event. The
 * handle is the caller's until it settles it or calls eventbus_delivery_free. Twice for one event:
 * NULL.
 */
EVENTBUS_EXPORT struct eventbus_delivery *eventbus_take(struct eventbus_event *e);
/* The copy; lives as long as the handle. */
EVENTBUS_EXPORT const struct eventbus_event *
eventbus_delivery_event(const struct eventbus_delivery *d);
/* A pointer of the caller's own. */
EVENTBUS_EXPORT void eventbus_delivery_set_user(struct eventbus_delivery *d, void *user);
EVENTBUS_EXPORT void *eventbus_delivery_user(const struct eventbus_delivery *d);

/* Settling consumes the handle whatever is returned. 0, or EVENTBUS_ESTALE. It is sent with the
 * next eventbus_process. */
EVENTBUS_EXPORT int eventbus_ack(struct eventbus_delivery *d);
/* delay_ms < 0: the policy's back-off; only EVENTBUS_RETRY may have one. reason may be NULL. */
EVENTBUS_EXPORT int eventbus_nack(struct eventbus_delivery *d, enum eventbus_class how,
				  const char *reason, int64_t delay_ms);
/* Releases what was not settled. Accepts NULL. */
EVENTBUS_EXPORT void eventbus_delivery_free(struct eventbus_delivery *d);
/* Starts the lease anew; the handle stays. 0 or EVENTBUS_ESTALE. */
EVENTBUS_EXPORT int eventbus_extend(struct eventbus_delivery *d);

/* Why work on a delivery should end. */
enum eventbus_cancel {
	EVENTBUS_NOT_CANCELLED = 0,
	EVENTBUS_CANCEL_DRAIN, /* the daemon stops: settle before the deadline */
	EVENTBUS_CANCEL_LEASE, /* the lease is about to end: extend or settle */
	EVENTBUS_CANCEL_STALE, /* revoked, or the connection was lost: others have it now */
};
EVENTBUS_EXPORT enum eventbus_cancel eventbus_cancelled(const struct eventbus_delivery *d);

enum eventbus_state {
	EVENTBUS_SUBSCRIBED, /* the position exists at the broker; see eventbus_subscription_info */
	EVENTBUS_LIVE,	     /* events flow (again) */
	EVENTBUS_DEGRADED,   /* not now; why; heals itself */
	EVENTBUS_GAP,	  /* events may have been missed: no group, and the connection or broker was
			     lost */
	EVENTBUS_LOST,	  /* lost events fell out of the broker's retention */
	EVENTBUS_REVOKED, /* deliveries were taken away; eventbus_cancelled says which */
	EVENTBUS_STANDBY, /* another daemon owns this ordered group now */
	EVENTBUS_REFUSED, /* the daemon will not have it: reason and why; final */
	EVENTBUS_UNSUBSCRIBED, /* the last call for this subscription */
};
EVENTBUS_EXPORT const char *eventbus_state_name(enum eventbus_state s);

struct eventbus_note {
	enum eventbus_state state;
	const char *why, *broker, *pattern; /* borrowed, "" when it does not apply */
	enum eventbus_reason reason;	    /* EVENTBUS_REFUSED */
	uint64_t lost, epoch;
};

enum eventbus_order {
	EVENTBUS_ORDER_DEFAULT = 0, /* as the daemon's file says */
	EVENTBUS_ORDER_NONE = 1,
	EVENTBUS_ORDER_KEY = 2,
	EVENTBUS_ORDER_TOPIC = 3,
};

enum eventbus_start {
	EVENTBUS_START_NEW = 0, /* what is published after EVENTBUS_SUBSCRIBED */
	EVENTBUS_START_EARLIEST = 1,
	EVENTBUS_START_TIME = 2,     /* start_time_ms */
	EVENTBUS_START_POSITION = 3, /* behind start_position */
};

struct eventbus_subscribe {
	const char *pattern;	     /* one pattern, or */
	const char *const *patterns; /* several, or */
	size_t pattern_count;
	const char *service; /* all methods of a proto service */
	const char *group;   /* NULL: a copy of one's own */

	eventbus_handler handler; /* mandatory */
	/* A taken delivery should end; deadline_ms from now, -1 if there is none. May be NULL. */
	void (*on_cancel)(void *ctx, struct eventbus_delivery *d, enum eventbus_cancel why,
			  int64_t deadline_ms);
	void (*on_state)(void *ctx, struct eventbus_subscription *s,
			 const struct eventbus_note *n); /* may be NULL */
	void *ctx;

	/* The member's own; 0 = the daemon's default. */
	uint32_t max_in_flight_events;
	uint64_t max_in_flight_bytes;
	uint32_t concurrency; /* how many are worked on at once: only these run a lease */
	int64_t lease_ms;
	bool set_max_retries; /* max_retries is meant; it may only lower the file's */
	uint32_t max_retries;
	int64_t max_age_ms, max_delay_ms;
	const char *dead_letter_topic;
	bool auto_extend; /* extend the lease of taken deliveries until they are settled */
	bool positions;	  /* fill eventbus_event.position */

	/* The group's: a member that differs is refused. */
	enum eventbus_order order;
	/* Acts only where no position exists yet. */
	enum eventbus_start start;
	int64_t start_time_ms;
	const char *start_position;
};

/*
 * Desired state from here on: sent now or when connected, and again after every reconnect. out may
 * be NULL. EVENTBUS_EINVAL when something is missing; the daemon's answer comes through on_state.
 */
EVENTBUS_EXPORT int eventbus_subscribe(struct eventbus *c, const struct eventbus_subscribe *s,
				       struct eventbus_subscription **out);
/*
 * No handler is called for it any more; deliveries taken may still be settled. on_state
 * gets EVENTBUS_UNSUBSCRIBED when the daemon has let go; the pointer is void after this call
 * otherwise.
 */
EVENTBUS_EXPORT void eventbus_unsubscribe(struct eventbus_subscription *s);
/* No new deliveries until resumed; what was sent already still comes. */
EVENTBUS_EXPORT void eventbus_pause(struct eventbus_subscription *s);
EVENTBUS_EXPORT void eventbus_resume(struct eventbus_subscription *s);

/* What is in force; zero before EVENTBUS_SUBSCRIBED. */
struct eventbus_subscription_info {
	bool subscribed;
	bool position_existed;
	uint32_t max_in_flight_events, concurrency;
	uint64_t max_in_flight_bytes;
	int64_t lease_ms;
	enum eventbus_order order;
};
EVENTBUS_EXPORT void eventbus_subscription_info(const struct eventbus_subscription *s,
						struct eventbus_subscription_info *out);
/* The ctx of struct eventbus_subscribe. */
EVENTBUS_EXPORT void *eventbus_subscription_ctx(const struct eventbus_subscription *s);

/* ---- asking the daemon ---------------------------------------------------------- */

/* rc 0: json is the reply; else text says why. Both borrowed for the call. */
typedef void (*eventbus_reply_cb)(void *ctx, int rc, const char *json, const char *text);

/* 0: cb comes exactly once; EVENTBUS_EIO in it: the connection was lost, ask again. Asked when
 * connected. */
EVENTBUS_EXPORT int eventbus_status(struct eventbus *c, eventbus_reply_cb cb, void *ctx);
/* group may be NULL. */
EVENTBUS_EXPORT int eventbus_explain(struct eventbus *c, const char *topic, const char *group,
				     eventbus_reply_cb cb, void *ctx);
/* The same, blocking. *json is the caller's to free. */
EVENTBUS_EXPORT int eventbus_status_wait(struct eventbus *c, int timeout_ms, char **json);
EVENTBUS_EXPORT int eventbus_explain_wait(struct eventbus *c, const char *topic, const char *group,
					  int timeout_ms, char **json);

#ifdef __cplusplus
}
#endif

#endif
