/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to adapters/nats: what its files share. The seam is adapters/adapter_impl.h, what is left
 * at the server is in names.h. One file per noun:
 *
 * - options.c: the table of options; dial.c: what of it the library is told
 * - link.c: one connection's life: threads connect and close, the loop drives it (link_io.c)
 * - conn.c: which connection we have, and that there is always a next one
 * - admin.c: the stream: looked up, created, watched
 * - api.c: requests with an answer (the JetStream JSON API), never blocking
 * - publish.c: batches out, confirmations in
 * - flow.c: desired flows, their state and what the daemon is told of them
 * - consumer.c: the consumer of a flow at the server: found, created, created again
 * - pull.c: pull requests within the credit, and what they bring
 * - settle.c: acks, and what keeps the server's deadline alive
 * - failures.c: failure records (P4)
 * - owner.c: the owner lease of an ordered flow (P7): kept and lost; takeover.c: from a claim to a
 *   consumer; lease.c: the lease's record
 * - stored.c: single messages as the API answers them
 * - headers.c: event <-> NATS message; header_block.c: header lines from their bytes
 *
 * Everything runs on the loop thread, but for what link.c marks.
 */
#ifndef ADAPTERS_NATS_NATS_H
#define ADAPTERS_NATS_NATS_H

#include <jansson.h>
#include <nats/nats.h>
#include <uv.h>

#include "adapters/adapter_impl.h"
#include "adapters/nats/names.h"
#include "adapters/nats/options.h"
#include "base/log.h"
#include "base/mailbox.h"
#include "base/table.h"
#include "base/wheel.h"

struct link;
struct nats_flow;

/* ---- requests (api.c) ------------------------------------------------------- */

/*
 * The answer to a request. rc 0: data is the server's answer, json its parsed form or NULL when it
 * is none. Otherwise EB_ETIMEDOUT, EB_EAGAIN (nobody answers there now) or EB_ECANCELED (connection
 * lost, adapter stopping). Comes once, from the loop, never from inside api_request.
 */
struct api_reply {
	int rc;
	struct slice data;
	json_t *json;
	int code, err_code;	 /* of {"error":{}}; 0: none */
	const char *description; /* of the error, "" otherwise */
};
typedef void (*api_cb)(void *ctx, const struct api_reply *reply);

struct api_call;
struct api {
	struct table calls;  /* by id */
	struct list waiting; /* oldest first: they all wait equally long */
	struct list failed;  /* could not be sent: told at the next turn */
	uint64_t next_id;
};

struct api_header {
	const char *key, *value;
};
struct api_request {
	const char *subject;
	struct slice body;
	struct api_header header; /* key NULL: none */
	api_cb cb;
	void *ctx;
};

/* ---- publishing (publish.c) --------------------------------------------------- */

struct pub_batch;
struct pub_slot {
	struct pub_batch *batch; /* NULL: answered */
	uint32_t item;
	bool out;  /* sent over this connection, no answer yet */
	bool lost; /* sent over one that broke before an answer came */
};
struct publisher {
	struct pub_slot *ring; /* in flight, by sequence & (size - 1) */
	uint32_t size, limit;
	uint64_t head, tail;  /* [head, tail) wait for an answer, or had one */
	uint64_t resend;      /* < tail: from here on those that are not out go out again */
	struct list batches;  /* with something untold, oldest first */
	struct list queued;   /* with something never sent, oldest first */
	struct wheel wheel;   /* of the batches' deadlines */
	int64_t paused_ticks; /* nothing goes out before: the stream is short of something */
	char trouble[160];    /* of what */
	bool nobody;	      /* a publish may have found nobody listening */
};

/* ---- the adapter -------------------------------------------------------------- */

enum conn_state {
	CONN_IDLE,    /* no link; the retry timer runs, or not started */
	CONN_OPENING, /* a thread connects */
	CONN_SETUP,   /* connected, the stream is looked up */
	CONN_UP,
	CONN_CLOSING, /* a thread closes what we gave up */
};

#define NATS_SPENT 256

/* What we know of the stream. */
struct stream_view {
	bool known;
	char **subjects;
	size_t n_subjects;
	bool whole; /* <stream>.> is covered: every topic can be carried */
	uint64_t first_seq, last_seq;
	char created[40]; /* another one: another stream of the same name */
	int64_t max_msg_size;
};

struct nats_adapter {
	struct adapter base;
	const struct nats_options *options;
	struct mailbox *mailbox;
	uv_prepare_t prepare; /* before each poll: what the turn collected goes out */
	uv_timer_t tick;      /* every NATS_TICK_MS */
	uv_timer_t retry;     /* the next attempt to connect or to set up */
	unsigned handles;     /* open ones */

	enum conn_state state;
	struct link *link;
	uint32_t attempts; /* in a row that failed */
	struct log_repeat connect_log, stream_log, server_log, publish_log, foreign_log, record_log;
	int64_t asked_ms; /* when the stream was last looked at */
	uint32_t ask_ticks;
	char why[200];	   /* the last reason for not being up */
	char **discovered; /* servers that the cluster told us of */
	int n_discovered;

	natsMsg *spent[NATS_SPENT]; /* see nats_discard */
	unsigned n_spent;
	size_t spent_bytes;

	char api_prefix[80]; /* "$JS.API" */
	size_t max_payload;  /* the server's, headers included; 0 while never connected */
	struct stream_view stream;
	struct api api;
	struct publisher pub;

	struct table consumers;	 /* flows by the name of their consumer */
	struct table flow_ids;	 /* flows by their id */
	struct list flows;	 /* every flow until it is gone */
	struct list dirty;	 /* flows with something to deliver, pull or say this turn */
	struct list unsent_acks; /* settled while there was no connection */
	struct list touched;	 /* held events, the least recently kept alive first */
	uint64_t n_held;
	uint64_t unrepresentable; /* foreign events that no Deliver can carry: terminated */
	uint64_t repaired;	  /* foreign events that were changed to fit the grammar */
	struct list records;	  /* failure records that wait for a connection */
	struct list recorded;	  /* written or given up: told at the next turn */

	struct bucket {
		bool ready; /* exists */
		bool creating;
		struct list waiting; /* struct bucket_wait */
	} failures, owners;

	bool finishing; /* the connection and every handle are being closed */
	bool stop_asked, stop_force, closing_handles;
	bool stop_flushed; /* the server has seen all that we said */
	uint32_t stop_ticks;
};

#define NATS_TICK_MS 100
#define NATS_WRITE_MAX                                                                             \
	((size_t)1 << 20) /* publishes wait while the library holds more unwritten                 \
			   */
#define NATS_IO_BUFFER	     (128 * 1024)
#define NATS_REQUEST_MS	     5000
#define NATS_STOP_GRACE_MS   2000
#define NATS_EVENT_ROOM	     512 /* what headers may add to an event's own size, see headers.c */
#define NATS_PULL_EXPIRES_MS 6000
#define NATS_PULL_BEAT_MS    2500

static inline struct nats_adapter *nats_of(struct adapter *a)
{
	return container_of(a, struct nats_adapter, base);
}

/* ---- link.c ------------------------------------------------------------------- */

/* One subscription for each: "<inbox>p.>" and so on. */
enum link_inbox { LINK_PUBLISH, LINK_API, LINK_FLOWS, LINK_INBOXES, LINK_NEWS = LINK_INBOXES };
#define LINK_INBOX_LETTERS "paf"

/* Starts a thread that connects; conn_on_opened follows. */
struct link *link_open(struct nats_adapter *a);
/* The connection while it can be written to, or NULL. */
natsConnection *link_nc(struct link *l);
/* "_INBOX.xyz." of this connection: what is subscribed. */
const char *link_inbox(const struct link *l);
/* Lets the library write what it has; arms the poll for what is left. */
void link_flush(struct link *l);
/* Tells conn_on_lost when the library gave the connection up. From a callback of the loop. */
void link_check(struct link *l);
/* Bytes that the library has and the socket has not. */
size_t link_unwritten(struct link *l);
/* Monotonic time of the last bytes from the server. */
int64_t link_heard_ms(const struct link *l);
/* Messages to this subject come too, as LINK_NEWS; the first call decides. */
void link_watch(struct link *l, const char *subject);
/* No event comes any more after those already on their way; answers do. */
void link_mute(struct link *l);
/* A thread closes it; conn_on_closed follows. */
void link_close(struct link *l);
/* While it connects: nobody waits for it, no callback comes, it cleans up behind itself. */
void link_abandon(struct link *l);
/* After conn_on_closed or a failed conn_on_opened. */
void link_free(struct link *l);
/* Servers that this connection was told of; a new array or NULL. */
char **link_discovered(struct link *l, int *n);
/* For the mailbox of the adapter: one post that came. */
void link_on_post(struct list *post);

/* ---- dial.c --------------------------------------------------------------------- */

/* Servers, credentials, TLS, timeouts. *seed: a copy of the NKey seed for as long as opts lives,
 * the caller's to wipe and free, on failure too; NULL when there is none. Reads a's configuration
 * only. */
natsStatus dial_options(struct nats_adapter *a, natsOptions *opts, char **seed);
/* The status and this thread's last error of the library. */
void dial_explain(natsStatus s, char *out, size_t size);

/* ---- conn.c ------------------------------------------------------------------- */

void conn_start(struct nats_adapter *a);
void conn_on_opened(struct nats_adapter *a, struct link *l, int rc, const char *why);
void conn_on_lost(struct nats_adapter *a, struct link *l, const char *why);
void conn_on_closed(struct nats_adapter *a, struct link *l);
/* A message; the callee destroys it. NULL: what was sent with a reply subject of this inbox found
 * nobody. */
void conn_on_message(struct nats_adapter *a, enum link_inbox inbox, natsMsg *msg);
/* After the messages of one read. */
void conn_on_messages_end(struct nats_adapter *a);
void conn_on_async_error(struct nats_adapter *a, const char *text);
/* From admin.c: the stream is there, or why it is not. */
void conn_on_stream(struct nats_adapter *a, const char *problem);
/* Gives the connection up for this reason; a new one follows. */
void conn_drop(struct nats_adapter *a, const char *why);
void conn_tick(struct nats_adapter *a, int64_t now_ms);
void conn_stop(struct nats_adapter *a);
static inline bool conn_up(const struct nats_adapter *a)
{
	return a->state == CONN_UP;
}

/* ---- admin.c ------------------------------------------------------------------ */

/* Finds or creates the stream; conn_on_stream follows unless the link is lost before. */
void admin_set_up(struct nats_adapter *a);
/* Looks again; conn_on_stream only when something is wrong. */
void admin_look(struct nats_adapter *a);
void admin_finish(struct nats_adapter *a);
bool admin_topic_ok(struct nats_adapter *a, struct slice topic, struct answer *why);
bool admin_pattern_ok(struct nats_adapter *a, struct slice pattern, struct answer *why);
/* Sees that a KV bucket (its stream "KV_<name>") exists, then cb(ctx, 0); or a negative code. The
 * bucket is created with max_age_ms (0: none). */
void admin_bucket(struct nats_adapter *a, struct bucket *b, const char *name, int64_t max_age_ms,
		  void (*cb)(void *ctx, int rc), void *ctx);
/* No callback with this ctx any more. */
void admin_bucket_forget(struct bucket *b, void *ctx);

/* ---- api.c -------------------------------------------------------------------- */

void api_init(struct api *api);
void api_finish(struct api *api);
/* Sends; the callback always comes unless cancelled. */
struct api_call *api_request(struct nats_adapter *a, const struct api_request *r);
/* subject below the API prefix; body may be NULL. Takes the reference to body. */
struct api_call *api_json(struct nats_adapter *a, json_t *body, api_cb cb, void *ctx,
			  const char *fmt, ...) __attribute__((format(printf, 5, 6)));
/* The same without an interest in the answer. */
void api_tell(struct nats_adapter *a, json_t *body, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* No callback any more. Clears the pointer; accepts a NULL in it. */
void api_cancel(struct nats_adapter *a, struct api_call **call);
void api_on_reply(struct nats_adapter *a, struct slice token, struct slice data);
void api_on_nobody(struct nats_adapter *a);
void api_fail_all(struct nats_adapter *a);
/* Tells what could not be sent, and what waited too long. */
void api_turn(struct nats_adapter *a, int64_t now_ms);

/* ---- publish.c ---------------------------------------------------------------- */

void pub_init(struct nats_adapter *a);
void pub_finish(struct nats_adapter *a);
void pub_add(struct nats_adapter *a, struct publish *p);
/* Sends what there is room for. */
void pub_turn(struct nats_adapter *a);
/* Tells what timed out. */
void pub_tick(struct nats_adapter *a, int64_t now_ms);
bool pub_idle(const struct nats_adapter *a);
void pub_on_reply(struct nats_adapter *a, struct slice token, struct slice data);
void pub_on_nobody(struct nats_adapter *a);
/* The stream was looked at, and it is there. */
void pub_on_looked(struct nats_adapter *a);
/* Everything unconfirmed goes out again, in order, once there is a connection. */
void pub_on_down(struct nats_adapter *a);
/* The server refused us this subject. */
void pub_on_denied(struct nats_adapter *a, const char *text);
/* Answers what was never sent as draining; with all: what was sent as unknown. */
void pub_abort(struct nats_adapter *a, bool all);

/* ---- nats.c --------------------------------------------------------------------- */

/*
 * Destroys a message, not at once: the library hands each to a thread of its own and wakes it when
 * it sleeps, which costs more than all the rest when they come one by one.
 */
void nats_discard(struct nats_adapter *a, natsMsg *msg);
void nats_discard_all(struct nats_adapter *a);
/* Goes on with a stop that waited for the connection. */
void nats_maybe_stopped(struct nats_adapter *a);

/* ---- headers.c ---------------------------------------------------------------- */

/*
 * The message for an event, to be destroyed by the caller. NULL with *why filled when it does not
 * fit max_payload (0: not known).
 */
natsMsg *headers_message(struct nats_adapter *a, const struct event *e, const char *reply,
			 struct answer *why);
/* The event that a message carries, a new reference; NULL when its topic breaks the grammar.
 * *repaired: something of it was changed. */
struct event *headers_event(struct nats_adapter *a, natsMsg *msg,
			    const struct nats_ack_subject *ack, bool *repaired);

#endif
