/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names and texts of the NATS adapter: what is left at the server (PROTOCOL.md, "NATS JetStream")
 * and what comes back in subjects. Pure: no connection, no loop, no clock.
 *
 * - subject of a topic: <stream>.<topic>
 * - durable of a flow: eb-<group>--<pattern>--<h8>, other characters as "_", each part cut at 64
 * - durable of an ordered flow: the same and -<epoch>
 * - durable with interop connectum: <group>--<pattern>--<h8>, not cut
 * - failure record: bucket eb-failures-<stream>, key <h16>.<stream sequence>
 * - owner lease: bucket eb-owners-<stream>, key <h16>
 * - Nats-Msg-Id: <topic>:<id>; a topic has no colon, so no two pairs share one
 *
 * h8 and h16 are the first hex digits of the SHA-256 of group, NUL, pattern.
 */
#ifndef ADAPTERS_NATS_NAMES_H
#define ADAPTERS_NATS_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "adapters/adapter.h"
#include "base/slice.h"

#define NATS_NAME_MAX	 352 /* the longest durable and its NUL */
#define NATS_SUBJECT_MAX 512
#define NATS_FLOW_HASH	 16

/* Lower-case hex of SHA-256(group NUL pattern), NATS_FLOW_HASH digits and NUL. */
void nats_flow_hash(const char *group, const char *pattern, char out[NATS_FLOW_HASH + 1]);
void nats_durable_name(const char *group, const char *pattern, enum interop interop,
		       char out[NATS_NAME_MAX]);

/* Token for token: "*" is one token, a last ">" one or more. A subject is a filter without either.
 * True when every subject that filter b matches is matched by a. */
bool nats_subject_covers(struct slice a, struct slice b);

/* What the server says of a delivery in its reply subject. */
struct nats_ack_subject {
	struct slice stream, consumer;
	struct slice prefix; /* up to and with the dot before delivered */
	uint64_t delivered;  /* 1: the first time */
	uint64_t stream_seq, consumer_seq;
	int64_t time_ns; /* when it was stored */
	uint64_t pending;
};
/*
 * "$JS.ACK.<stream>.<consumer>.<delivered>.<sseq>.<cseq>.<ns>.<pending>", or with <domain>.<account
 * hash> behind ACK and perhaps more tokens at the end. False for anything else.
 */
bool nats_ack_subject_parse(struct slice subject, struct nats_ack_subject *out);

/* What the server answers to a publish. */
struct nats_pub_ack {
	bool ok;
	uint64_t seq;
	bool duplicate;
	int code, err_code; /* !ok */
	char text[160];	    /* !ok: the server's description */
};
/* 0, or EB_EPROTO when it is neither a confirmation nor an error. */
int nats_pub_ack_parse(struct slice json, struct nats_pub_ack *out);

/* Decimal digits of v into out, not terminated; returns how many, at most 20. */
size_t nats_put_number(char *out, uint64_t v);

/* "<topic>:<id>" into out, at least topic.n + id.n + 2 bytes; returns its length. */
size_t nats_message_id(struct slice topic, struct slice id, char *out);

#endif
