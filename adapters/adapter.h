/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The seam between the daemon and a broker, for those who call it. Those who
 * implement it read adapter_impl.h. Everything happens on the loop thread of
 * adapter_env.loop; no call blocks; every upcall comes in a later turn than the
 * call that causes it, never from inside it.
 *
 * An adapter moves batches, keeps the broker's own deadlines alive for all it
 * has handed out, keeps trying for ever when the broker is away, and classifies.
 * It decides nothing: retry, dead letters and drops are the pipeline's.
 */
#ifndef ADAPTERS_ADAPTER_H
#define ADAPTERS_ADAPTER_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/budget.h"
#include "base/err.h"
#include "base/event.h"
#include "base/list.h"
#include "base/option.h"
#include "base/outcome.h"

struct adapter;

/* ---- what a broker can do: data, shown in Welcome and by status ---------- */

struct capabilities {
	int64_t dedupe_window_ms; /* 0: an id published twice is stored twice */
	bool wildcards;
	bool start_earliest, start_time, start_position;
	bool order_key, order_topic;
	bool attempts_durable; /* failures survive kill -9 of the daemon (P4) */
	bool park;	       /* SETTLE_PARK works */
	bool lag;
	bool durable;		/* events survive the end of this process */
	size_t max_event_bytes; /* payload and headers; 0: only the daemon's own limit */
};

/* ---- publishing ---------------------------------------------------------- */

/* A place in a topic at this broker; format_position makes text of it. */
struct position {
	uint64_t a, b; /* adapter's: stream sequence; partition and offset; ms and counter */
};

struct publish_item {
	struct event *event; /* referenced by the batch's owner until told */
	/* filled by the adapter, valid in told() */
	struct position position; /* only with OUTCOME_OK */
	bool duplicate;		  /* OK, but the broker had it already */
	bool answered;		  /* adapter.c's: each item is told once */
	struct answer answer;
};

/*
 * n events, oldest first. Owned by whoever made it; the adapter only borrows it
 * from publish() until the last item is told, and may use `link` and `impl`.
 */
struct publish {
	struct list link;
	void *impl;
	void *owner;
	/* Item i was answered. After the last item's call the adapter has let go of the batch. */
	void (*told)(struct publish *p, uint32_t i);
	int64_t timeout_ms; /* from publish() to an answer, at the latest */
	uint32_t n, untold;
	void *router; /* for whoever stands between owner and adapter: bus_publish */
	void (*router_told)(struct publish *p, uint32_t i);
	struct publish_item items[];
};

/* ---- flows --------------------------------------------------------------- */

enum order { ORDER_NONE, ORDER_KEY, ORDER_TOPIC };
enum start_kind { START_NEW, START_EARLIEST, START_TIME, START_POSITION };

/* Where a flow begins if it has no position yet. */
struct start {
	enum start_kind kind;
	int64_t time_ms; /* START_TIME, unix */
	struct position
		position; /* START_POSITION: the first event delivered is the one behind it */
};

enum interop { INTEROP_NONE, INTEROP_CONNECTUM };

struct flow_spec {
	char *group;   /* NULL: a member's own copy, nothing left behind at the broker */
	char *pattern; /* checked */
	enum order order;
	struct start start;
	enum interop interop;
	int64_t lease_ms; /* longest lease of a member now: a hint, deadlines are kept alive anyway
			   */
	uint32_t max_events; /* most that will ever be held at once, retries waiting included */
};

/* (group, pattern) at one broker. Owned by the daemon from flow_subscribe until on_flow_gone. */
struct flow {
	struct flow_spec spec;
	struct adapter *adapter;
	void *owner;  /* the daemon's side */
	void *impl;   /* the adapter's side */
	uint64_t lag; /* events not yet delivered, when lag_known; kept up to date by the adapter */
	bool lag_known;
	bool subscribed; /* adapter.c's */
	uint64_t held;	 /* adapter.c's: handed out and not settled */
};

/*
 * How much more the daemon will take for this flow from now on; it replaces what
 * was said before. Each event delivered uses it up. What was already on its way from the
 * broker when the credit shrank may still be delivered.
 */
struct credit {
	uint32_t events;
	size_t bytes; /* one event always fits when events > 0 */
};

struct failures {
	uint32_t count;
	int64_t first_ms, last_ms; /* unix; 0 when count is 0 or the broker forgot */
};

struct delivery {
	struct event *event; /* the reference passes to the receiver */
	void *handle; /* the adapter's, valid until settled other than by RETRY, or revoked */
	struct failures failures; /* as recorded at the broker */
	struct position position;
	uint64_t epoch; /* of the owner, for ordered flows; 0 otherwise */
};

enum settle_kind {
	SETTLE_ACK,	/* done with it for good (acknowledged, dead-lettered, dropped) */
	SETTLE_RELEASE, /* give it back, to be delivered again at once, to anyone */
	SETTLE_RETRY,	/* record the failures, keep holding it; the handle stays valid */
	SETTLE_PARK,	/* record the failures, give it back, not to be delivered before delay_ms */
};

struct settlement {
	void *handle;
	enum settle_kind kind;
	int64_t delay_ms;	  /* PARK */
	struct failures failures; /* RETRY, PARK */
	void *ctx; /* RETRY, PARK: for on_recorded; RETRY and PARK only, may be NULL: no answer
		      wanted */
};

enum flow_event {
	FLOW_LIVE,     /* the position exists at the broker and events flow; first time or again */
	FLOW_STANDBY,  /* ordered: another daemon owns it now, we wait */
	FLOW_DEGRADED, /* does not flow now; why; heals itself, then FLOW_LIVE comes */
	FLOW_GAP,      /* events may have been missed (no group, after a reconnect); why */
	FLOW_LOST,     /* n events fell out of the broker's retention before they were delivered */
	FLOW_REFUSED,  /* the broker will never accept this flow; why; the daemon unsubscribes */
};

struct flow_note {
	enum flow_event event;
	bool position_existed; /* with the first FLOW_LIVE */
	uint64_t lost;
	uint64_t epoch; /* ordered, with FLOW_LIVE */
	enum reason reason;
	char why[200];
};

/* ---- upcalls ------------------------------------------------------------- */

struct adapter_upcalls {
	/* The broker can be talked to; publishes and flows move. Comes again after each down. */
	void (*on_up)(void *ctx, struct adapter *a);
	void (*on_down)(void *ctx, struct adapter *a, const char *why);
	/* n >= 1 events of one flow, oldest first; within the credit. */
	void (*on_deliver)(void *ctx, struct flow *f, struct delivery *items, uint32_t n);
	void (*on_flow)(void *ctx, struct flow *f, const struct flow_note *note);
	/* These handles are void now (owner lease or partition lost): settle nothing of them. n =
	 * 0: all. */
	void (*on_revoked)(void *ctx, struct flow *f, void *const *handles, uint32_t n);
	/* A RETRY or PARK with this ctx was recorded as durably as the broker can (rc 0), or could
	 * not be. */
	void (*on_recorded)(void *ctx, struct flow *f, void *item, int rc);
	/* After flow_unsubscribe: the adapter has let go of the flow. */
	void (*on_flow_gone)(void *ctx, struct flow *f);
	/* After adapter_stop; every handle of the adapter is closed. Destroy it now or later. */
	void (*on_stopped)(void *ctx, struct adapter *a);
};

/* What every adapter is given. Copied. */
struct adapter_env {
	uv_loop_t *loop;
	const char *name; /* broker name in the configuration: "default" */
	const char *
		instance; /* unique for this daemon's life: host-pid-random, [A-Za-z0-9_-], <= 64 */
	const struct adapter_upcalls *up;
	void *ctx;
	struct budget *budget;	    /* memory of the whole daemon */
	int64_t publish_timeout_ms; /* default of struct publish.timeout_ms */
	size_t max_event_bytes;	    /* largest event the daemon accepts */
};

/* ---- calls --------------------------------------------------------------- */

/* A kind of broker that was built in. */
struct adapter_kind {
	const char *name;	      /* "memory", "nats" */
	const struct option *options; /* its table under broker: in the file */
	size_t options_size;
	/* Problems the option table cannot say. 0, or EB_EINVAL with *key (an option's path) and
	 * the text. */
	int (*check)(const void *options, const char **key, struct err_text *err);
	/* NULL, or says each setting that is allowed and weakens a promise, with its path. */
	void (*warn)(const void *options, void (*say)(void *ctx, const char *text), void *ctx);
	/* options: borrowed until destroyed. */
	int (*create)(const struct adapter_env *env, const void *options, struct adapter **out,
		      struct err_text *err);
};

/* NULL-terminated list of all kinds; adapter_kind_find gives NULL for an unknown name. */
const struct adapter_kind *const *adapter_kinds(void);
const struct adapter_kind *adapter_kind_find(const char *name);

const struct capabilities *adapter_capabilities(const struct adapter *a);
const char *adapter_tag(const struct adapter *a); /* "nats:default" for the log */

/* Begins to connect, for ever. 0, or negative when it can never work (then nothing was started). */
int adapter_start(struct adapter *a, struct err_text *err);

/*
 * Takes every event of the batch; the events of one topic and key reach the
 * broker in the order of these calls. Each item is told exactly once.
 */
void adapter_publish(struct adapter *a, struct publish *p);

/*
 * Whether this broker could carry the topic or pattern (true) or never (false, answer filled):
 * lets a subscribe or a publish be refused at once.
 */
bool adapter_topic_ok(struct adapter *a, struct slice topic, struct answer *why);
bool adapter_flow_ok(struct adapter *a, const struct flow_spec *spec, struct answer *why);

/* Desired state: from here until flow_unsubscribe the adapter keeps it alive. Credit starts at 0.
 */
void flow_subscribe(struct adapter *a, struct flow *f);
void flow_credit(struct flow *f, struct credit now);
/* Items of one flow. Handles of ACK, RELEASE and PARK are void afterwards. Never fails: what cannot
 * be said to the broker leads to a redelivery, which is not a loss. */
void flow_settle(struct flow *f, const struct settlement *items, uint32_t n);
/* Everything held was settled before. No delivery comes after this call; on_flow_gone does.
 * keep_position = false only for flows without a group. */
void flow_unsubscribe(struct flow *f);

/* Text <-> position. parse: 0, or EB_EINVAL with text for a foreign or malformed one. */
#define POSITION_TEXT_MAX 320
int adapter_format_position(struct adapter *a, struct slice topic, struct position p,
			    char out[POSITION_TEXT_MAX]);
int adapter_parse_position(struct adapter *a, const char *text, struct position *out,
			   struct err_text *err);

/* Flushes what was settled, answers every publish that is left, closes. Flows were unsubscribed
 * before. Twice is fine. force: do not wait for the broker any more (second SIGTERM, or the
 * deadline). */
void adapter_stop(struct adapter *a, bool force);
/* After on_stopped, or when never started. Accepts NULL. */
void adapter_destroy(struct adapter *a);

#endif
