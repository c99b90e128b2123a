/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An event as a NATS message and back, as PROTOCOL.md ("NATS JetStream") says.
 *
 * Out: subject <stream>.<topic>, payload as it is, headers x-event-id, Nats-Msg-Id, the metadata,
 * and eventbus-key, -content-type, -message-type, -published-at for what NATS has no place for; the
 * time only when the stream's own does not say the same.
 * The library writes headers in the order of its own hash table; nobody may rely on the order.
 *
 * In: whatever a foreign producer wrote, from its bytes: the library's own reading (3.4.1) takes
 * the next line for the value of a header that has none, or fails for all of them. No x-event-id,
 * or one that breaks our rules: an id made of the stream and the sequence, the same at every
 * redelivery. Metadata that breaks the grammar is repaired, beyond its limits left out; Nats-*
 * headers are the server's and not passed on.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "adapters/nats/header_block.h"
#include "adapters/nats/nats.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/metadata.h"
#include "base/random.h"
#include "base/topic.h"

#define STORED_TIME_MS 1000
#define HEADER_FIXED   12 /* "NATS/1.0\r\n" and the empty line */
#define HEADER_PAIR    4  /* ": " and "\r\n" */

/* What is read back: a client's metadata and what a dead letter adds to it. */
#define PAIRS_MAX (METADATA_MAX_PAIRS + 16)
#define BYTES_MAX (METADATA_MAX_BYTES + 8192)

/* ---- out ------------------------------------------------------------------------ */

/* One header line on its way into a message. */
struct line_writer {
	natsMsg *msg; /* NULL: only count */
	size_t bytes;
	natsStatus status;
};

static bool plain(struct slice v)
{
	if (v.n == 0 || v.p[0] == ' ' || v.p[v.n - 1] == ' ') {
		return false;
	}
	for (size_t i = 0; i < v.n; i++) {
		if (v.p[i] < 0x20 || v.p[i] == 0x7f) {
			return false;
		}
	}
	return true;
}

/* Both texts terminated, in buffers of this size. */
struct line_text {
	char key[METADATA_KEY_MAX + 1];
	char value[METADATA_MAX_BYTES + 1];
};

static void put_line(struct line_writer *w, const char *key, const char *value, size_t n)
{
	w->bytes += strlen(key) + n + HEADER_PAIR;
	if (w->msg && w->status == NATS_OK) {
		w->status = natsMsgHeader_Set(w->msg, key, value);
	}
}

static void put_field(struct line_writer *w, const char *key, struct slice value)
{
	char text[EVENT_KEY_MAX + 1];

	if (value.n == 0 || value.n > EVENT_KEY_MAX) {
		return;
	}
	memcpy(text, value.p, value.n);
	text[value.n] = '\0';
	put_line(w, key, text, value.n);
}

/* Clients are checked long before; what the daemon itself adds (reasons) may need repair. */
static void put_pair(struct line_writer *w, struct metadata_pair pair)
{
	struct line_text t;
	uint8_t *room = NULL;
	bool repaired = false, keep = true;

	if (pair.key.n == 0 ||
	    (pair.key.n > 5 && strncasecmp((const char *)pair.key.p, "nats-", 5) == 0)) {
		return; /* the server would obey it */
	}
	if (!plain(pair.value) || pair.key.n > METADATA_KEY_MAX) {
		room = xmalloc(2 * (pair.key.n + pair.value.n) + 64 + 2 * pair.value.n);
		keep = metadata_repair(pair.key, pair.value, room, &pair, &repaired);
	}
	if (keep && pair.key.n <= METADATA_KEY_MAX && pair.value.n <= METADATA_MAX_BYTES) {
		memcpy(t.key, pair.key.p, pair.key.n);
		t.key[pair.key.n] = '\0';
		memcpy(t.value, pair.value.p, pair.value.n);
		t.value[pair.value.n] = '\0';
		put_line(w, t.key, t.value, pair.value.n);
	}
	free(room);
}

/*
 * The daemon made the time itself (it is in the tail, behind the id if that is there too) and the
 * event goes out now: the stream's own time says the same, and every event is 48 bytes smaller.
 */
static bool stored_time_will_do(const struct event *e)
{
	const uint8_t id = EVENT_ID << 3 | 2, time = EVENT_PUBLISHED_AT_MS << 3;
	size_t at = 0;

	if (e->tail.n > 1 && e->tail.p[0] == id && e->tail.p[1] < 0x80) {
		at = 2 + (size_t)e->tail.p[1];
	}
	return at < e->tail.n && e->tail.p[at] == time &&
	       clock_unix_ms() - e->published_at_ms < STORED_TIME_MS;
}

static void put_headers(struct line_writer *w, const struct event *e)
{
	char id[EVENT_ID_MAX + TOPIC_MAX + 2], iso[CLOCK_ISO_SIZE];
	struct metadata_pair pair;
	size_t pos = 0, n;

	put_field(w, "x-event-id", e->id);
	n = nats_message_id(e->topic, e->id, id);
	put_line(w, "Nats-Msg-Id", id, n);
	while (event_metadata_next(e, &pos, &pair)) {
		put_pair(w, pair);
	}
	put_field(w, "eventbus-key", e->key);
	put_field(w, "eventbus-content-type", e->content_type);
	put_field(w, "eventbus-message-type", e->message_type);
	if (e->published_at_ms > 0 && !stored_time_will_do(e)) {
		clock_format_iso(e->published_at_ms, iso);
		put_line(w, "eventbus-published-at", iso, strlen(iso));
	}
}

static bool refuse(struct answer *why, enum outcome o, enum reason r, const char *text)
{
	answer_set(why, o, r, "%s", text);
	return false;
}

static bool event_fits(const struct nats_adapter *a, const struct event *e, struct answer *why)
{
	struct line_writer w = {.bytes = HEADER_FIXED};

	if (e->topic.n > TOPIC_MAX || e->id.n > EVENT_ID_MAX) {
		return refuse(why, OUTCOME_PERMANENT, REASON_INVALID, "topic or id too long");
	}
	if (a->max_payload == 0 || event_size(e) <= a->base.caps.max_event_bytes) {
		return true;
	}
	put_headers(&w, e);
	if (w.bytes + e->payload.n <= a->max_payload) {
		return true;
	}
	answer_set(why, OUTCOME_PERMANENT, REASON_TOO_LARGE,
		   "%zu bytes with its headers; the server takes at most %zu",
		   w.bytes + e->payload.n, a->max_payload);
	return false;
}

natsMsg *headers_message(struct nats_adapter *a, const struct event *e, const char *reply,
			 struct answer *why)
{
	char subject[NATS_SUBJECT_MAX], *p;
	struct line_writer w = {0};

	if (!event_fits(a, e, why)) {
		return NULL;
	}
	p = stpcpy(stpcpy(subject, a->options->stream), ".");
	memcpy(p, e->topic.p, e->topic.n);
	p[e->topic.n] = '\0';
	w.status = natsMsg_Create(&w.msg, subject, reply, (const char *)e->payload.p,
				  (int)e->payload.n);
	if (w.status == NATS_OK) {
		put_headers(&w, e);
	}
	if (w.status != NATS_OK) {
		natsMsg_Destroy(w.msg);
		answer_set(why, OUTCOME_NOT_STORED, REASON_BROKER, "cannot be written: %s",
			   natsStatus_GetText(w.status));
		return NULL;
	}
	return w.msg;
}

/* ---- in --------------------------------------------------------------------------- */

/* Collects what an event is made of; text of repaired metadata lives in room. */
struct reader {
	struct event_fields fields;
	struct metadata_pair pairs[PAIRS_MAX];
	size_t metadata_bytes;
	uint8_t *room[PAIRS_MAX];
	uint32_t n_rooms;
	bool repaired;
};

/* An id, a key or a type: as it is or not at all. The first one counts. */
static void take_text(struct reader *r, struct slice *field, struct slice v, size_t max)
{
	if (v.n == 0 || field->n > 0) {
		return;
	}
	if (v.n > max || !plain(v) || !utf8_valid(v)) {
		r->repaired = true;
		return;
	}
	*field = v;
}

static void take_time(struct reader *r, struct slice v)
{
	char text[CLOCK_ISO_SIZE + 16];

	if (v.n >= sizeof(text)) {
		r->repaired = true;
		return;
	}
	memcpy(text, v.p, v.n);
	text[v.n] = '\0';
	if (clock_parse_iso(text, &r->fields.published_at_ms) != 0) {
		r->repaired = true;
	}
}

static bool has_metadata(const struct reader *r, struct slice key)
{
	for (uint32_t i = 0; i < r->fields.metadata_count; i++) {
		if (slice_eq(r->pairs[i].key, key)) {
			return true;
		}
	}
	return false;
}

/* Of a key that comes twice the first value counts. An empty value means nothing to anybody,
 * Connectum leaves it out too. */
static void take_metadata(struct reader *r, struct slice k, struct slice v)
{
	struct metadata_pair pair;
	uint8_t *room;

	if (v.n == 0 || has_metadata(r, k)) {
		return;
	}
	if (r->fields.metadata_count == PAIRS_MAX || r->metadata_bytes + k.n + v.n > BYTES_MAX) {
		r->repaired = true;
		return;
	}
	room = xmalloc(4 * (k.n + v.n) + 64);
	if (!metadata_repair(k, v, room, &pair, &r->repaired)) {
		free(room);
		return;
	}
	if (r->metadata_bytes + pair.key.n + pair.value.n > BYTES_MAX) {
		r->repaired = true;
		free(room);
		return;
	}
	r->room[r->n_rooms++] = room;
	r->metadata_bytes += pair.key.n + pair.value.n;
	r->pairs[r->fields.metadata_count++] = pair;
}

static void take_header(struct reader *r, struct slice key, struct slice value)
{
	struct event_fields *f = &r->fields;

	if (slice_eq_str(key, "x-event-id")) {
		take_text(r, &f->id, value, EVENT_ID_MAX);
	} else if (key.n > 5 && strncasecmp((const char *)key.p, "nats-", 5) == 0) {
		return;
	} else if (slice_eq_str(key, "eventbus-key")) {
		take_text(r, &f->key, value, EVENT_KEY_MAX);
	} else if (slice_eq_str(key, "eventbus-content-type")) {
		take_text(r, &f->content_type, value, EVENT_TYPE_MAX);
	} else if (slice_eq_str(key, "eventbus-message-type")) {
		take_text(r, &f->message_type, value, EVENT_TYPE_MAX);
	} else if (slice_eq_str(key, "eventbus-published-at")) {
		take_time(r, value);
	} else {
		take_metadata(r, key, value);
	}
}

/*
 * The header bytes of a received message. The library has no call for them, but its 3.4 keeps a
 * message in one piece: subject, reply, headers, payload, with a zero byte behind each.
 */
static bool header_bytes(natsMsg *msg, struct slice *block)
{
	const char *reply = natsMsg_GetReply(msg), *data = natsMsg_GetData(msg);
	const char *p = reply ? reply + strlen(reply) + 1 : NULL;

	if (NATS_VERSION_NUMBER >> 8 != 0x0304 || !p || p > data) {
		return false;
	}
	*block = slice_of(p, (size_t)(data - p));
	return block->n == 0 || (block->n > HEADER_FIXED && memcmp(p, "NATS/1.0", 8) == 0);
}

static void read_headers(struct reader *r, natsMsg *msg)
{
	const char **keys = NULL, *text;
	struct slice block, key, value;
	size_t pos = 0;
	int n = 0;

	if (header_bytes(msg, &block)) {
		while (header_block_next(block, &pos, &key, &value)) {
			take_header(r, key, value);
		}
		return;
	}
	if (natsMsgHeader_Keys(msg, &keys, &n) != NATS_OK) {
		return;
	}
	for (int i = 0; i < n; i++) {
		if (natsMsgHeader_Get(msg, keys[i], &text) == NATS_OK && text) {
			take_header(r, slice_str(keys[i]), slice_str(text));
		}
	}
	free((void *)keys);
}

/* Two metadata keys that repair made the same: the wire allows each key once. */
static void drop_twins(struct reader *r)
{
	struct event_fields *f = &r->fields;

	if (!r->repaired) {
		return;
	}
	for (uint32_t i = 1; i < f->metadata_count; i++) {
		for (uint32_t j = 0; j < i; j++) {
			if (slice_eq(r->pairs[i].key, r->pairs[j].key)) {
				r->pairs[i--] = r->pairs[--f->metadata_count];
				break;
			}
		}
	}
}

struct event *headers_event(struct nats_adapter *a, natsMsg *msg,
			    const struct nats_ack_subject *ack, bool *repaired)
{
	const char *subject = natsMsg_GetSubject(msg), *stream = a->options->stream;
	const size_t n = strlen(stream);
	struct reader r = {0};
	struct event *e = NULL;
	char id[UUID_TEXT_SIZE], name[80], seq[24];

	if (strncmp(subject, stream, n) != 0 || subject[n] != '.' ||
	    !topic_valid(slice_str(subject + n + 1))) {
		return NULL;
	}
	r.fields.topic = slice_str(subject + n + 1);
	r.fields.payload = slice_of(natsMsg_GetData(msg), (size_t)natsMsg_GetDataLength(msg));
	r.fields.published_at_ms = 0;
	read_headers(&r, msg);
	drop_twins(&r);
	if (r.fields.id.n == 0) {
		snprintf(name, sizeof(name), "nats:%s", stream);
		snprintf(seq, sizeof(seq), "%llu", (unsigned long long)ack->stream_seq);
		uuid_derive(id, (const char *const[]){name, seq}, 2);
		r.fields.id = slice_of(id, sizeof(id));
	}
	if (r.fields.published_at_ms <= 0) {
		r.fields.published_at_ms = ack->time_ns / 1000000;
	}
	r.fields.metadata = r.pairs;
	e = event_build(&r.fields, a->base.env.budget);
	for (uint32_t i = 0; i < r.n_rooms; i++) {
		free(r.room[i]);
	}
	*repaired = r.repaired;
	return e;
}
