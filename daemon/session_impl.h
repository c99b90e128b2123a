/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside sessions: shared by session*.c and admin.c only.
 *
 *	session.c            life: open, Hello, read, dispatch, end
 *	session_set.c        all of them: accept, the loop turn, drain, stop
 *	session_publish.c    Publish in, Published out
 *	session_subscribe.c  Subscribe and the bus's answers
 *	session_names.c      the subscriptions in use, access after a reload
 *	session_settle.c     Ack, Nack, Extend
 *	session_out.c        the output stream and the deliveries
 *	session_time.c       what has taken too long
 *	admin.c              status and explain
 */
#ifndef DAEMON_SESSION_IMPL_H
#define DAEMON_SESSION_IMPL_H

#include <sys/types.h>
#include <uv.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/log.h"
#include "base/ranges.h"
#include "daemon/credit.h"
#include "daemon/session.h"
#include "proto/codec.h"
#include "proto/framer.h"

/* Work one session may cause in one turn, in bytes read and replies queued. */
#define SESSION_TURN_BYTES ((size_t)256 * 1024)
/* The same of all sessions together: the answers to what was read come before more is read. */
#define SESSION_TURN_TOTAL ((size_t)2 * 1024 * 1024)
/* Read buffers of a session, by how many share the memory. */
#define SESSION_READ_MIN ((size_t)16 * 1024)
#define SESSION_READ_MAX ((size_t)256 * 1024)
/* What a status or explain request costs of it. */
#define SESSION_ADMIN_COST ((size_t)64 * 1024)
/* Deliveries are taken from the bus while less than this waits to be written. */
#define SESSION_OUT_TARGET ((size_t)128 * 1024)
/* A Deliver frame holds at most this much, or one event. */
#define SESSION_DELIVER_BYTES ((size_t)64 * 1024)
#define SESSION_DELIVER_MAX   256
/* Unfinished frames that hold less than this are nobody's trouble. */
#define SESSION_FRAME_SMALL ((size_t)128 * 1024)
/* How long a session that has failed may take to read why. */
#define SESSION_LINGER_MS 1000
/* Output buffers that are kept for the next turn, by all sessions together. */
#define SESSION_SPARE_BUFFERS 4
#define SESSION_SPARE_BYTES   ((size_t)320 * 1024)

enum session_state {
	SESSION_HELLO, /* waits for Hello */
	SESSION_OPEN,
	SESSION_ENDING,	 /* the last frames are written; what still arrives is thrown away */
	SESSION_CLOSING, /* the handles are closing */
};

struct sessions {
	uv_loop_t *loop;
	struct bus *bus;
	const struct config *config;
	struct budget *budget;
	const char *instance, *socket;
	uv_prepare_t prepare;
	uv_check_t check;
	uv_idle_t idle; /* started while a session has more to do than one turn allows */
	unsigned handles;
	struct list all;
	uint32_t count;	     /* on all */
	uint32_t active;     /* of them before their end */
	uint32_t open;	     /* of them past Hello */
	struct list dirty;   /* sessions with something to write or to take from the bus */
	struct list waiting; /* sessions that used their turn up while there was more to read */
	uint64_t turn;
	size_t turn_bytes;   /* work done in this turn */
	uint64_t round;	     /* of turns: nobody is read twice before everybody was read once */
	bool long_round;     /* it takes more than one turn */
	bool left_out;	     /* somebody was not read in this turn */
	size_t read_ceiling; /* largest read buffer of a session */
	uint64_t next_id;
	int64_t started_ms;
	bool draining, quiet, stopping, closing, stopped;
	struct credit_pool credit;
	struct buf spare[SESSION_SPARE_BUFFERS];
	uint32_t n_spare;
	struct log_repeat fault_log, short_log;
	void (*on_stopped)(void *ctx);
	void *ctx;
	/* Scratch of one call. */
	struct ack_frame ack;
	struct ranges settled, stale;
	struct outgoing outgoing[SESSION_DELIVER_MAX];
	struct deliver_item items[SESSION_DELIVER_MAX];
};

/* A failure not yet told; the text is owned. */
struct pending_failure {
	struct range range;
	uint32_t outcome, reason;
	char *text;
};

/* A position not yet told; the texts stand in published.text. */
struct pending_position {
	uint64_t sequence;
	bool duplicate;
	size_t position, id, id_size; /* offsets into text */
};

struct session_names;

/* What Published will say. */
struct pending_published {
	struct ranges confirmed;
	struct pending_failure *failures;
	struct pending_position *positions;
	uint32_t n_failures, n_positions;
	struct buf text;
};

struct session {
	struct sessions *set;
	struct list link;    /* set->all */
	struct list dirty;   /* set->dirty */
	struct list waiting; /* set->waiting */
	enum session_state state;
	uint64_t id;
	char tag[32];
	char *name; /* from Hello; NULL before */
	pid_t pid;
	uid_t uid;
	gid_t gid;
	struct client *client; /* NULL unless SESSION_OPEN */

	uv_pipe_t pipe;
	uv_timer_t timer;
	uv_write_t write;
	uv_shutdown_t shutdown;
	unsigned handles; /* not closed yet */
	bool reading, shut;

	/* in */
	struct framer framer;
	uint64_t round; /* that it was read in */
	uint64_t turn;	/* that turn_bytes counts */
	size_t turn_bytes;

	/* out */
	struct buf out;	      /* queued in this turn */
	struct buf writing;   /* owned by the uv_write in flight; len 0 = none */
	size_t charged;	      /* memory of both that the budget knows of */
	uint64_t submitted;   /* stream offset where out begins */
	size_t delivery_hint; /* size of a recent delivery, to guess how many fit */
	bool ready;	      /* client_next may have something */

	/* publish */
	uint64_t last_sequence;
	struct list batches; /* not answered completely */
	struct credit_use credit;
	struct pending_published published;

	struct session_names **subscriptions; /* in use */
	uint32_t n_subscriptions;

	/* Loop time since when each of these has been waited for, 0 = it is not. */
	uint64_t hello_since, frame_since, over_since, stuck_since, ending_since;
	size_t stuck_left; /* unwritten bytes at stuck_since */
	uint64_t timer_due;
};

/* ---- session.c ------------------------------------------------------------ */

struct session *session_open(struct sessions *set);
/* The pipe is connected. */
void session_begin(struct session *s);
/* Frames that are buffered, then reading on. */
void session_resume(struct session *s);
/* Structure errors and other ends that are told: one closing Error, then the end. */
void session_fail(struct session *s, enum outcome o, enum reason r, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* Ends what it has in the bus and lets what is queued be written. */
void session_end(struct session *s);
/* Ends it now. why may be NULL (already said). */
void session_cut(struct session *s, const char *why);
/* Spends the work allowance of this turn. */
void session_spend(struct session *s, size_t bytes);

/* ---- session_set.c --------------------------------------------------------- */

/* Looks how much publish credit there is to give now. */
void sessions_update_credit(struct sessions *set);
/* Memory is nearly used up, much of it by unfinished frames: the largest goes, with its session. */
void sessions_shed(struct sessions *set);
/* A session is gone. */
void sessions_maybe_stopped(struct sessions *set);

/* ---- session_hello.c ------------------------------------------------------- */

void session_hello(struct session *s, struct slice body);

/* ---- session_out.c --------------------------------------------------------- */

/* The output buffer, with memory from the spare ones. The session is flushed at the end of the
 * turn. */
struct buf *session_out(struct session *s);
void session_touch(struct session *s); /* flush me at the end of the turn */
void session_send(struct session *s, Eventbus__V1__Frame *frame);
void session_send_error(struct session *s, Eventbus__V1__Error *re, const struct answer *why);
void session_refuse_request(struct session *s, uint64_t request, const struct answer *why);
void session_refuse_subscription(struct session *s, uint32_t subscription,
				 const struct answer *why);
size_t session_unwritten(const struct session *s);
uint64_t session_flushed(const struct session *s); /* stream offset that the socket took */
void session_flush(struct session *s);		   /* one turn's worth */
void session_out_finish(struct session *s);

/* ---- session_publish.c ----------------------------------------------------- */

void session_publish(struct session *s, struct slice body, struct shared_bytes *source);
void session_write_published(struct session *s);
/* The batches go on without the session. */
void session_publish_detach(struct session *s);

/* ---- session_subscribe.c --------------------------------------------------- */

extern const struct client_ops session_client_ops;
void session_subscribe(struct session *s, const Eventbus__V1__Subscribe *r);
void session_unsubscribe(struct session *s, uint32_t subscription);
void session_pause(struct session *s, uint32_t subscription, bool paused);

/* ---- session_names.c ------------------------------------------------------- */

bool session_names_has(const struct session *s, uint32_t number);
void session_names_add(struct session *s, const Eventbus__V1__Subscribe *r);
void session_names_remove(struct session *s, uint32_t number);
void session_names_finish(struct session *s);
/* After a reload: ends what is not allowed any more, as if the client had unsubscribed. */
void session_names_recheck(struct session *s);

/* ---- session_settle.c ------------------------------------------------------ */

void session_ack(struct session *s, struct slice body);
void session_nack(struct session *s, const Eventbus__V1__Nack *r);
void session_extend(struct session *s, const Eventbus__V1__Extend *r);

/* ---- session_time.c -------------------------------------------------------- */

void session_watch(struct session *s); /* after a *_since changed */
void session_on_timer(uv_timer_t *timer);

/* ---- admin.c --------------------------------------------------------------- */

void session_admin(struct session *s, const Eventbus__V1__Admin *r);

#endif
