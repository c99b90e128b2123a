/* SPDX-License-Identifier: Apache-2.0 */
/* Private to owner.c (the record: read, kept, lost) and takeover.c (from a claim to a consumer). */
#ifndef ADAPTERS_NATS_OWNER_IMPL_H
#define ADAPTERS_NATS_OWNER_IMPL_H

#include "adapters/nats/flow.h"
#include "adapters/nats/lease.h"

enum owner_state {
	OWNER_NONE,
	OWNER_READING,
	OWNER_CLAIMING,
	OWNER_LOOKING,
	OWNER_MAKING,
	OWNER_WRITING,
	OWNER_HELD,
	OWNER_STANDBY,
};

struct owner {
	struct nats_flow *flow;
	enum owner_state state;
	struct api_call *call;
	bool waits_for_bucket, told_standby;
	struct lease at; /* the record as it is at the server, as far as we know */
	/* ours */
	bool ours;		      /* valid_until_ms means something */
	bool continuous;	      /* nobody else had it since what we hold came */
	int64_t valid_until_ms;	      /* boot clock */
	int64_t asked_ms;	      /* boot clock, when the write under way was sent */
	char next[NATS_NAME_MAX];     /* the consumer being made */
	char previous[NATS_NAME_MAX]; /* to be deleted when that is in use */
	/* somebody else's */
	uint64_t watched; /* its revision */
	int64_t watched_since_ms;
	uint32_t ticks;
};

/* Reads the record, and claims it when it is free. */
void owner_read(struct owner *o);
/* Writes the record with compare-and-set. cb NULL: whether it worked does not matter. */
void owner_write(struct owner *o, const char *holder, api_cb cb);
/* The answer to owner_write. False: it did not work, and that was dealt with. */
bool owner_written(struct owner *o, const struct api_reply *r);
/* Takes over from what the record says. */
void owner_claim(struct owner *o);
/* Everything held is void; stands by. */
void owner_lose(struct owner *o, const char *why);
/* Begins anew after a pause. */
void owner_again(struct owner *o, const char *why);

#endif
