/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to adapters/nats: flows and the events they hold. See nats.h for who does what.
 *
 * An exclusive flow is the only reader of its consumer: one without a group, or an ordered one
 * while it owns the lease. Its consumer is made anew at every connection, behind the last event
 * below which everything is settled, so that nothing that a broken connection swallowed is
 * overtaken; what was settled above that place is recognised and not delivered again.
 */
#ifndef ADAPTERS_NATS_FLOW_H
#define ADAPTERS_NATS_FLOW_H

#include "adapters/nats/nats.h"

/* "$JS.ACK.<stream>.<consumer>.", shared by what came from one consumer. */
struct ack_prefix {
	uint32_t refs;
	uint32_t n;
	char text[];
};

enum held_state {
	HELD_READY,    /* to be delivered, after what stands before it */
	HELD_OUT,      /* the daemon has it */
	HELD_RELEASED, /* exclusive: given back, comes again from the server */
	HELD_DONE,     /* settled; lives until its record is written, or its ack sent */
};

/* One event of a flow that the server waits for. The handle of a delivery. */
struct held {
	struct table_entry entry; /* flow.held, by stream sequence */
	struct list link;	  /* READY: flow.ready; OUT: adapter.touched; unsent: unsent_acks */
	struct nats_flow *flow;
	struct ack_prefix *prefix;
	struct event *event;   /* READY only */
	struct api_call *call; /* its record is read */
	char *last_word;       /* DONE: what the server is still to be told */
	uint64_t seq, consumer_seq;
	int64_t stored_ns, touched_ms;
	uint64_t record_seq; /* of the failure record at the server; 0: none known */
	struct failures failures;
	uint32_t delivered;
	uint8_t state;	 /* enum held_state */
	uint8_t records; /* of it being written */
	bool lookup;	 /* the record must be read before it is delivered */
	bool in_table;
};

enum flow_step {
	FLOW_STEP_IDLE,	   /* no connection */
	FLOW_STEP_OWNING,  /* ordered: owner.c asks for the lease, or stands by */
	FLOW_STEP_LOOKING, /* a request about the consumer is out */
	FLOW_STEP_LIVE,
	FLOW_STEP_WAITING, /* something failed: again in wait_ticks */
	FLOW_STEP_REFUSED,
	FLOW_STEP_GONE, /* unsubscribed */
};

struct nats_flow {
	struct list link;	  /* adapter.flows */
	struct table_entry by_id; /* adapter.flow_ids */
	struct list dirty;	  /* adapter.dirty */
	struct table_entry entry; /* adapter.consumers, by name, while listed */
	bool listed;
	struct nats_adapter *adapter;
	struct flow *flow;
	uint64_t id; /* in the reply subjects of its pulls */
	bool exclusive, ordered;
	char hash[NATS_FLOW_HASH + 1];
	char durable[NATS_NAME_MAX];  /* "" without a group */
	char consumer[NATS_NAME_MAX]; /* in use; "" none */
	char filter[NATS_SUBJECT_MAX];

	enum flow_step step;
	struct api_call *call;
	uint32_t attempts, wait_ticks;
	bool told_live, told_degraded, existed, existed_known;
	struct log_repeat log;

	/* positions */
	bool floor_known;
	uint64_t floor;	       /* everything up to here is settled: a lower bound */
	uint64_t last;	       /* exclusive: the highest sequence that came */
	const char *find_name; /* consumer_find: whom it looks for, and whom it tells */
	api_cb find_cb;
	uint64_t suspect_until; /* up to here records may exist although delivered says 1 */
	char created[40];	/* of the stream that the positions belong to */
	struct flow_seen {	/* from the last look at the consumer, for what retention took */
		bool valid;
		uint64_t pending, consumer_seq, stream_seq, last;
	} seen;
	uint32_t look_ticks;

	/* delivery */
	struct credit credit;
	bool fresh_credit; /* nothing came since it was given */
	bool stalled;	   /* the next event does not fit what is left of it */
	struct {
		bool open;
		uint64_t id;
		uint32_t left; /* events it may still bring */
		bool single;   /* asked for one event of any size */
		uint32_t ticks, silent_ticks;
		uint32_t wait_ticks; /* before the next one */
	} pull;
	bool pull_single; /* the next one must be */
	bool reset;	  /* exclusive: make the consumer anew before the next pull */
	struct table held;
	struct list ready;
	uint32_t n_ready;
	uint32_t n_records; /* being written: on_flow_gone waits for them */
	struct ack_prefix *prefix;
	struct owner *owner; /* ordered only */
};

/* ---- flow.c ------------------------------------------------------------------ */

void flow_add(struct nats_adapter *a, struct flow *f);
void flow_end(struct nats_flow *nf);
void flows_on_up(struct nats_adapter *a);
void flows_on_down(struct nats_adapter *a, const char *why);
void flows_tick(struct nats_adapter *a, int64_t now_ms);
/* Before each poll: pulls, flows that are gone. */
void flows_turn(struct nats_adapter *a);
/* What came in is handed up, in its order. */
void flows_deliver(struct nats_adapter *a);
/* Looked at before the next poll. */
void flow_mark(struct nats_flow *nf);
/* Begins (again) with the connection that we have. */
void flow_begin(struct nats_flow *nf);
void flow_live(struct nats_flow *nf);
void flow_degraded(struct nats_flow *nf, const char *why);
/* Degraded, and begun again after a pause. */
void flow_again(struct nats_flow *nf, const char *why);
void flow_refused(struct nats_flow *nf, enum reason reason, const char *why);
void flow_lost(struct nats_flow *nf, uint64_t n);
void flow_gap(struct nats_flow *nf, const char *why);
/* Ordered: everything held is void, another daemon owns the flow. */
void flow_revoke(struct nats_flow *nf, const char *why);
struct nats_flow *flow_by_consumer(struct nats_adapter *a, struct slice name);
struct nats_flow *flow_by_id(struct nats_adapter *a, uint64_t id);

/* ---- consumer.c ---------------------------------------------------------------- */

/* Finds or makes the consumer; flow_live, flow_again or flow_refused follows. */
void consumer_begin(struct nats_flow *nf);
/* Looks at it: lag, and what retention took. */
void consumer_look(struct nats_flow *nf);
/* Learns where failure records exist (suspect_until), then asks about the consumer of that name,
 * which lives as long as the flow, and gives found(nf, answer). */
void consumer_find(struct nats_flow *nf, const char *name, api_cb found);
/* The lowest sequence above which something is not settled, minus one. Exclusive flows. */
uint64_t consumer_floor(const struct nats_flow *nf);
/* Uses this consumer from now on ("": none). */
void consumer_use(struct nats_flow *nf, const char *name);
/* Request body for a consumer of this flow behind `floor`. durable NULL: ephemeral. */
json_t *consumer_config(const struct nats_flow *nf, const char *durable, bool at_floor,
			uint64_t floor);
void consumer_create(struct nats_flow *nf, const char *name, json_t *config, api_cb cb);
void consumer_delete(struct nats_flow *nf, const char *name);
/* The answer is no consumer's: dealt with (flow_again, flow_refused), true. */
bool consumer_failed(struct nats_flow *nf, const struct api_reply *r);
/* Looks whether the stream is still the one that the positions belong to. */
bool consumer_stream_replaced(struct nats_flow *nf);

/* ---- pull.c ---------------------------------------------------------------------- */

void pull_turn(struct nats_flow *nf);
void pull_tick(struct nats_flow *nf);
void pull_close(struct nats_flow *nf);
void flows_on_event(struct nats_adapter *a, natsMsg *msg);
void flows_on_status(struct nats_adapter *a, struct slice token, natsMsg *msg);

/* ---- settle.c -------------------------------------------------------------------- */

struct held *held_find(const struct nats_flow *nf, uint64_t seq);
struct held *held_create(struct nats_flow *nf, const struct nats_ack_subject *ack);
/* The server delivered it once more: this is the one that it wants acked. */
void held_refresh(struct held *h, const struct nats_ack_subject *ack);
/* Nothing is said to the server. */
void held_free(struct held *h);
/* "-NAK": given back, to be delivered again after delay_ms; the handle is void. */
void held_nak(struct held *h, int64_t delay_ms);
void flow_settle_items(struct nats_flow *nf, const struct settlement *items, uint32_t n);
/* Its sequence number means something else now: nothing is said about it to the server any more. */
void held_orphan(struct held *h);
/* "+ACK" and the like for an event that nobody holds. */
void ack_directly(struct nats_adapter *a, const char *reply, const char *what);
/* After its record was written, or could not be. */
void held_recorded(struct held *h);
void acks_on_up(struct nats_adapter *a);
void acks_tick(struct nats_adapter *a, int64_t now_ms);
void acks_finish(struct nats_adapter *a);
void prefix_unref(struct ack_prefix *p);

/* ---- failures.c ------------------------------------------------------------------ */

/* Reads the record of h, sets h->failures, clears h->lookup and marks the flow. */
void failures_read(struct held *h);
/* Asks which records of the flow exist; failures_newest makes of the answer (rc 0) the stream
 * sequence up to which a record may exist, 0 for none. */
struct api_call *failures_list(struct nats_flow *nf, api_cb cb);
uint64_t failures_newest(const struct nats_flow *nf, const struct api_reply *r);
/* Writes h->failures; then on_recorded(ctx) when ctx is given, then held_recorded. Without a group
 * there is nothing to write, and the same calls come. */
void failures_write(struct held *h, void *ctx);
/* Removes a record by its sequence. */
void failures_remove(struct nats_adapter *a, uint64_t record_seq);
/* What waits for a connection is given up: the flow ends. */
void failures_give_up(struct nats_flow *nf);
void failures_on_up(struct nats_adapter *a);
void failures_turn(struct nats_adapter *a);
void failures_tick(struct nats_adapter *a);

/* ---- owner.c ----------------------------------------------------------------------- */

void owner_create(struct nats_flow *nf);
void owner_destroy(struct nats_flow *nf);
/* Asks for the lease; consumer of the flow is made when we have it. */
void owner_begin(struct nats_flow *nf);
void owner_on_down(struct nats_flow *nf);
void owner_tick(struct nats_flow *nf);
/* We may hand out: by the clock that counts suspend. */
bool owner_valid(const struct nats_flow *nf);
uint64_t owner_epoch(const struct nats_flow *nf);
/* Gives the lease back, so that the next one takes it at once. */
void owner_release(struct nats_flow *nf);
/* A record was written by somebody. */
void owners_on_news(struct nats_adapter *a, const char *subject);

#endif
