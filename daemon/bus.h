/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bus: between sessions above and adapters below. It routes publishes, owns groups
 * and their flows, hands events to clients within their credit, runs leases and retries through
 * the pipeline, and settles at the broker. This header is what a session sees; it knows no
 * socket and no frame. Loop thread only. Nothing calls up from inside a call down
 * except where said: upcalls come in a later turn, or at bus_turn().
 *
 * Words: a client is a session's side in the bus; a subscription has one member in
 * each feed (feed = a flow inside the daemon); a flight is one event of one feed in the daemon.
 */
#ifndef DAEMON_BUS_H
#define DAEMON_BUS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "adapters/adapter.h"
#include "base/ranges.h"
#include "config/config.h"

struct bus;
struct client;

/* ---- life ---------------------------------------------------------------- */

struct bus_options {
	uv_loop_t *loop;
	const struct config *config; /* outlives the bus or is replaced by bus_reload */
	struct budget *budget;	     /* the daemon's memory */
	const char *instance;
	/* A broker went up or down, or was found: the session layer tells nobody, the log and
	 * status do. May be NULL. */
	void (*on_broker)(void *ctx, const char *broker, bool up);
	void (*on_stopped)(
		void *ctx); /* after bus_stop: every handle of bus and adapters is closed */
	/* Unsettled deliveries and unanswered publishes both reached zero while draining. */
	void (*on_drained)(void *ctx);
	void *ctx;
};
int bus_create(const struct bus_options *o, struct bus **out, struct err_text *err);
int bus_start(struct bus *b, struct err_text *err);

/* Applies policies and limits of a new configuration (config_diff said 0). Events in hand keep the
 * old policy until settled: the old configuration must live until on_old_free(ctx). */
void bus_reload(struct bus *b, const struct config *next, void (*on_old_free)(void *ctx),
		void *ctx);

/* P5: fetching stops, waiting retries go back with their failures; what clients hold stays theirs.
 */
void bus_drain(struct bus *b);
struct drain_report {
	uint64_t drained;     /* settled by clients since the drain began */
	uint64_t returned;    /* given back to the broker uncounted */
	uint64_t unconfirmed; /* publishes answered unknown */
};
/* Releases what is still held, flushes, stops the adapters. force: do not wait for brokers. Twice
 * is fine. */
void bus_stop(struct bus *b, bool force);
void bus_drain_report(const struct bus *b, struct drain_report *out);
void bus_destroy(struct bus *b);

/* ---- clients --------------------------------------------------------------- */

/* Effective values, for Subscribed. Strings are borrowed for the call. */
struct subscribed_flow {
	const char *pattern, *broker;
	uint32_t max_retries;
	const char *dlq_topic; /* NULL: off */
	bool position_existed;
};
struct subscribed {
	uint32_t subscription;
	bool position_existed; /* of every flow */
	uint32_t max_events, concurrency;
	uint64_t max_bytes;
	int64_t lease_ms;
	enum order order;
	const struct subscribed_flow *flows;
	uint32_t n_flows;
};

enum subscription_event { SUB_LIVE, SUB_DEGRADED, SUB_GAP, SUB_LOST, SUB_REVOKED, SUB_STANDBY };

struct subscription_note {
	uint32_t subscription;
	enum subscription_event event;
	const char *why, *broker, *pattern; /* borrowed; may be "" */
	uint64_t lost, epoch;
	const struct ranges *revoked; /* SUB_REVOKED: tags that are void */
};

/* Implemented by the session. May queue frames, must not call the bus. */
struct client_ops {
	void (*on_subscribed)(void *ctx, const struct subscribed *s);
	void (*on_refused)(void *ctx, uint32_t subscription, const struct answer *why);
	void (*on_note)(void *ctx, const struct subscription_note *n);
	void (*on_unsubscribed)(void *ctx, uint32_t subscription);
	/* client_next has something; called when it becomes non-empty. Take it at the end of the
	 * turn. */
	void (*on_ready)(void *ctx);
};

/* name: for log and status. max_bytes: the client's share of memory for deliveries. */
struct client *client_create(struct bus *b, const char *name, const struct client_ops *ops,
			     void *ctx);

/* Never written to the socket, or cut: what it worked on (oldest `concurrency` per subscription,
 * and written up to written_bytes, see client_wrote) counts one failure, the rest goes back
 * uncounted. No upcall comes any more. */
void client_destroy(struct client *c, uint64_t written_bytes);

struct subscribe_request {
	uint32_t subscription;
	const struct slice *patterns; /* checked by the bus */
	uint32_t n_patterns;
	struct slice group;		  /* empty: none */
	uint32_t max_events, concurrency; /* 0 = default */
	uint64_t max_bytes;
	int64_t lease_ms;
	bool has_max_retries;
	uint32_t max_retries;
	int64_t max_age_ms, max_delay_ms; /* 0 = the file's */
	bool has_order;
	enum order order;
	bool has_start;
	enum start_kind start;
	int64_t start_time_ms;
	struct slice start_position;
	bool positions;
};
/* 0: on_subscribed or on_refused comes. Negative: refused now, why is filled. Access was checked by
 * the caller. */
int client_subscribe(struct client *c, const struct subscribe_request *r, struct answer *why);
/* EB_ENOTFOUND: no such subscription. Otherwise what is outstanding stays valid until settled; what
 * was not yet handed out goes back; on_unsubscribed comes when nothing is outstanding. */
int client_unsubscribe(struct client *c, uint32_t subscription);
int client_pause(struct client *c, uint32_t subscription, bool paused);

/* One delivery for the wire. Borrowed until the end of the turn. */
struct outgoing {
	uint32_t subscription, attempt;
	uint64_t tag, epoch;
	const struct event *event;
	struct slice position; /* empty unless asked for */
};
/* Takes up to max deliveries that are ready to be written; they get their tags now. Returns how
 * many. */
uint32_t client_next(struct client *c, struct outgoing *out, uint32_t max);
/* The deliveries up to tag (both included) end at this offset of the session's output stream. */
void client_wrote(struct client *c, uint64_t tag, uint64_t end_offset);
/* The socket took everything up to this offset: leases of what is worked on begin. */
void client_flushed(struct client *c, uint64_t offset);

enum verdict { VERDICT_ACK, VERDICT_RETRY, VERDICT_REJECT, VERDICT_RELEASE, VERDICT_DROP };
struct settle {
	enum verdict verdict;
	struct slice reason; /* copied; <= 1024 bytes, checked by the caller */
	bool has_delay;
	int64_t delay_ms;
};
/* The ranges are as ranges_normalize leaves them; all together cost what is outstanding, not their
 * width. settled and stale may be NULL, else get ranges appended. */
void client_settle(struct client *c, const struct range *v, size_t n, const struct settle *s,
		   struct ranges *settled, struct ranges *stale);
void client_extend(struct client *c, const struct range *v, size_t n, struct ranges *extended,
		   struct ranges *stale);
/* Deliveries handed out and not settled. */
uint64_t client_outstanding(const struct client *c);
json_t *client_status(const struct client *c); /* new reference */

/* ---- publish --------------------------------------------------------------- */

/* Routes the batch (struct publish of adapter.h); told comes per item, in a later turn. */
void bus_publish(struct bus *b, struct publish *p);
/* The limits of the broker that topic goes to: false and the answer when it can never be carried.
 */
bool bus_topic_ok(struct bus *b, struct slice topic, size_t event_bytes, struct answer *why);
/* How many more bytes sessions may be granted as publish credit now. */
size_t bus_publish_room(const struct bus *b);

/* ---- the rest -------------------------------------------------------------- */

struct broker_view {
	const char *name, *kind;
	bool connected;
	const struct capabilities *caps;
	size_t max_event_bytes; /* the largest that clients may publish */
};
/* i from 0; false past the end. */
bool bus_broker(const struct bus *b, uint32_t i, struct broker_view *out);
int bus_format_position(struct bus *b, struct slice topic, struct position p,
			char out[POSITION_TEXT_MAX]);

/* Status of brokers, groups and flows; new reference. */
json_t *bus_status(const struct bus *b);
/* The resolved policy of topic and group, with the origin of every value; new reference. */
json_t *bus_explain(const struct bus *b, const char *topic, const char *group);

#endif
