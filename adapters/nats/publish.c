/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Publishing: batches wait in the order of the calls, events go out in that order, at most
 * in_flight of them unconfirmed. What is in flight sits in a ring by its sequence number, which is
 * also the last token of its reply subject.
 *
 * Happy path: pub_add -> (pub_turn, before the next poll) send_new -> headers_message -> library;
 * pub_on_reply parses the confirmation and tells the item.
 * Failure modes: connection lost: what is in the ring goes out again, in order, with the same
 * Nats-Msg-Id, before anything new. The server is short of something (storage, a leader): the
 * same after a pause, and nothing new overtakes. The event itself is refused: told alone. Nobody
 * listens on the subject: the stream is looked at, then unroutable or sent again. No answer until
 * the batch's deadline: unknown if it was ever sent and not refused, else not stored.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapters/nats/nats.h"
#include "base/clock.h"
#include "base/mem.h"

#define PAUSE_MS 100

#define ERR_MESSAGE_TOO_LARGE 10054
#define ERR_STORE_FAILED      10077

struct pub_batch {
	struct list link;	/* publisher.batches, until every item was told */
	struct list queue;	/* publisher.queued, while next < p->n */
	struct wheel_entry due; /* publisher.wheel */
	struct publish *p;
	uint32_t next;	    /* the first item that was never sent */
	uint64_t first_seq; /* of its first item in the ring; the others follow closely */
	bool in_ring;
};

void pub_init(struct nats_adapter *a)
{
	struct publisher *pub = &a->pub;

	pub->limit = (uint32_t)a->options->in_flight;
	for (pub->size = 1; pub->size < pub->limit;) {
		pub->size *= 2;
	}
	pub->ring = xcalloc(pub->size, sizeof(*pub->ring));
	list_init(&pub->batches);
	list_init(&pub->queued);
	wheel_init(&pub->wheel, clock_mono_ms());
}

void pub_finish(struct nats_adapter *a)
{
	free(a->pub.ring);
}

bool pub_idle(const struct nats_adapter *a)
{
	return list_empty(&a->pub.batches);
}

void pub_add(struct nats_adapter *a, struct publish *p)
{
	struct pub_batch *b = xcalloc(1, sizeof(*b));
	/* The wheel turns at ticks: one earlier keeps the promise. */
	const int64_t wait = p->timeout_ms > NATS_TICK_MS ? p->timeout_ms - NATS_TICK_MS : 0;

	b->p = p;
	p->impl = b;
	wheel_entry_init(&b->due);
	list_push_back(&a->pub.batches, &b->link);
	list_push_back(&a->pub.queued, &b->queue);
	wheel_add(&a->pub.wheel, &b->due, clock_mono_ms() + wait);
}

/* ---- telling ----------------------------------------------------------------------- */

/* Before an item is told: with the last one p may be gone afterwards, and ours goes now. */
static void let_go(struct nats_adapter *a, struct publish *p)
{
	struct pub_batch *b = p->impl;

	if (p->untold == 1) {
		list_remove(&b->link);
		list_remove(&b->queue);
		wheel_remove(&a->pub.wheel, &b->due);
		free(b);
		p->impl = NULL;
	}
}

static void fail(struct nats_adapter *a, struct publish *p, uint32_t i, const struct answer *why)
{
	let_go(a, p);
	p->items[i].answer = *why;
	p->items[i].duplicate = false;
	adapter_tell(&a->base, p, i);
}

static struct pub_slot *slot_at(struct nats_adapter *a, uint64_t seq)
{
	return &a->pub.ring[seq & (a->pub.size - 1)];
}

static void free_slot(struct nats_adapter *a, struct pub_slot *s)
{
	struct publisher *pub = &a->pub;

	s->batch = NULL;
	while (pub->head < pub->tail && !slot_at(a, pub->head)->batch) {
		pub->head++;
	}
	if (pub->resend < pub->head) {
		pub->resend = pub->head;
	}
}

static void fail_slot(struct nats_adapter *a, struct pub_slot *s, const struct answer *why)
{
	struct publish *p = s->batch->p;
	const uint32_t i = s->item;

	free_slot(a, s);
	fail(a, p, i, why);
}

/* ---- sending ------------------------------------------------------------------------ */

/* 0, EB_EAGAIN when the library takes nothing now, EB_EINVAL with why when this event is refused.
 */
static int send_event(struct nats_adapter *a, const struct event *e, uint64_t seq,
		      struct answer *why)
{
	char reply[96], *p;
	natsMsg *msg;
	natsStatus s;

	if (!admin_topic_ok(a, e->topic, why)) {
		return EB_EINVAL;
	}
	p = stpcpy(stpcpy(reply, link_inbox(a->link)), "p.");
	p[nats_put_number(p, seq)] = '\0';
	msg = headers_message(a, e, reply, why);
	if (!msg) {
		return EB_EINVAL;
	}
	s = natsConnection_PublishMsg(link_nc(a->link), msg);
	nats_discard(a, msg);
	if (s == NATS_MAX_PAYLOAD) {
		answer_set(why, OUTCOME_PERMANENT, REASON_TOO_LARGE,
			   "larger than the server takes (%zu bytes)", a->max_payload);
		return EB_EINVAL;
	}
	return s == NATS_OK ? 0 : EB_EAGAIN;
}

static bool room_to_write(struct nats_adapter *a, uint64_t sent)
{
	return link_nc(a->link) && (sent % 16 != 0 || link_unwritten(a->link) < NATS_WRITE_MAX);
}

/* What was sent before and has no answer, in its order. True when all of it is out. */
static bool send_again(struct nats_adapter *a)
{
	struct publisher *pub = &a->pub;
	struct answer why;

	for (; pub->resend < pub->tail; pub->resend++) {
		struct pub_slot *s = slot_at(a, pub->resend);
		const uint64_t seq = pub->resend;

		if (!s->batch || s->out) {
			continue;
		}
		if (!room_to_write(a, seq)) {
			return false;
		}
		switch (send_event(a, s->batch->p->items[s->item].event, seq, &why)) {
		case 0:
			s->out = true;
			break;
		case EB_EINVAL:
			fail_slot(a, s, &why); /* moves resend no further than behind itself */
			pub->resend = seq;
			break;
		default:
			return false;
		}
	}
	return true;
}

/* The next item of the oldest batch that has one. */
static int send_next(struct nats_adapter *a, struct pub_batch *b)
{
	struct publisher *pub = &a->pub;
	const uint32_t i = b->next;
	struct answer why;
	int rc = send_event(a, b->p->items[i].event, pub->tail, &why);

	if (rc == EB_EAGAIN) {
		return rc;
	}
	if (++b->next == b->p->n) {
		list_remove(&b->queue);
	}
	if (rc == 0) {
		b->first_seq = b->in_ring ? b->first_seq : pub->tail;
		b->in_ring = true;
		*slot_at(a, pub->tail) = (struct pub_slot){.batch = b, .item = i, .out = true};
		if (pub->resend == pub->tail++) {
			pub->resend = pub->tail;
		}
	} else {
		fail(a, b->p, i, &why);
	}
	return 0;
}

static void send_new(struct nats_adapter *a)
{
	struct publisher *pub = &a->pub;
	uint64_t sent = 0;

	while (!list_empty(&pub->queued) && pub->tail - pub->head < pub->limit) {
		if (!room_to_write(a, sent++) ||
		    send_next(a, container_of(list_first(&pub->queued), struct pub_batch, queue))) {
			return;
		}
	}
}

void pub_turn(struct nats_adapter *a)
{
	struct publisher *pub = &a->pub;

	if (!conn_up(a) || !link_nc(a->link) || pub->paused_ticks > 0) {
		return;
	}
	if ((pub->resend == pub->tail || send_again(a)) && !a->base.stopping) {
		send_new(a);
	}
}

/* ---- answers of the server ------------------------------------------------------------ */

/* Nothing of what is out will be answered any more: it goes out again, in its order. */
static void all_again(struct nats_adapter *a)
{
	struct publisher *pub = &a->pub;

	for (uint64_t seq = pub->head; seq < pub->tail; seq++) {
		struct pub_slot *s = slot_at(a, seq);

		s->lost = s->lost || s->out;
		s->out = false;
	}
	pub->resend = pub->head;
}

static void on_refused(struct nats_adapter *a, uint64_t seq, const struct nats_pub_ack *ack)
{
	struct publisher *pub = &a->pub;
	struct pub_slot *s = slot_at(a, seq);
	struct answer why;

	if (ack->err_code == ERR_MESSAGE_TOO_LARGE) {
		answer_set(&why, OUTCOME_PERMANENT, REASON_TOO_LARGE, "the stream says: %s",
			   ack->text);
		fail_slot(a, s, &why);
	} else if (ack->code == 503 || ack->err_code == ERR_STORE_FAILED || ack->code >= 500) {
		s->out = false;
		pub->resend = seq < pub->resend ? seq : pub->resend;
		pub->paused_ticks = PAUSE_MS / NATS_TICK_MS + 1;
		snprintf(pub->trouble, sizeof(pub->trouble), "%s", ack->text);
		log_repeated(&a->publish_log, LOG_LEVEL_WARN, a->base.tag,
			     "the stream takes no events: %s", ack->text);
	} else {
		answer_set(&why, OUTCOME_PERMANENT, REASON_BROKER, "the stream says: %s",
			   ack->text);
		fail_slot(a, s, &why);
	}
}

static bool parse_seq(struct slice token, uint64_t *out)
{
	*out = 0;
	for (size_t i = 0; i < token.n; i++) {
		if (token.p[i] < '0' || token.p[i] > '9' || i > 18) {
			return false;
		}
		*out = *out * 10 + (uint64_t)(token.p[i] - '0');
	}
	return token.n > 0;
}

void pub_on_reply(struct nats_adapter *a, struct slice token, struct slice data)
{
	struct publisher *pub = &a->pub;
	struct nats_pub_ack ack;
	struct pub_slot *s;
	uint64_t seq;

	if (!parse_seq(token, &seq) || seq < pub->head || seq >= pub->tail) {
		return;
	}
	s = slot_at(a, seq);
	if (!s->batch || nats_pub_ack_parse(data, &ack) != 0) {
		return;
	}
	if (!ack.ok) {
		on_refused(a, seq, &ack);
	} else {
		struct publish *p = s->batch->p;
		const uint32_t i = s->item;

		free_slot(a, s);
		let_go(a, p);
		adapter_tell_ok(&a->base, p, i, (struct position){ack.seq, 0}, ack.duplicate);
	}
}

void pub_on_nobody(struct nats_adapter *a)
{
	if (a->pub.head < a->pub.tail && !a->pub.nobody) {
		a->pub.nobody = true;
		admin_look(a);
	}
}

void pub_on_looked(struct nats_adapter *a)
{
	if (a->pub.nobody) {
		/* Either not routable any more, which sending finds out, or it was a short outage.
		 */
		a->pub.nobody = false;
		all_again(a);
	}
}

void pub_on_down(struct nats_adapter *a)
{
	a->pub.nobody = false;
	a->pub.paused_ticks = 0;
	all_again(a);
}

void pub_on_denied(struct nats_adapter *a, const char *text)
{
	const char *begin = strchr(text, '"'), *end = begin ? strrchr(text, '"') : NULL;
	const size_t prefix = strlen(a->options->stream) + 1;
	struct answer why;
	struct slice topic;

	if (!begin || end <= begin + prefix) {
		return;
	}
	topic = slice_of(begin + 1 + prefix, (size_t)(end - begin - 1) - prefix);
	answer_set(&why, OUTCOME_PERMANENT, REASON_DENIED,
		   "the server does not allow us to publish to topic %.*s", SLICE_ARG(topic));
	for (uint64_t seq = a->pub.head; seq < a->pub.tail; seq++) {
		struct pub_slot *s = slot_at(a, seq);

		if (s->batch && slice_eq(s->batch->p->items[s->item].event->topic, topic)) {
			fail_slot(a, s, &why);
		}
	}
}

/* ---- the end of waiting ------------------------------------------------------------------ */

static void answer_sent(struct nats_adapter *a, const struct pub_slot *s, struct answer *why)
{
	if (s->out || s->lost) {
		answer_set(why, OUTCOME_UNKNOWN, REASON_NOT_CONNECTED,
			   "sent, and no confirmation came: send it again with the same id");
	} else {
		answer_set(why, OUTCOME_NOT_STORED, REASON_OVERLOADED, "the stream says: %s",
			   a->pub.trouble);
	}
}

static void answer_unsent(struct nats_adapter *a, struct answer *why)
{
	if (a->base.stopping) {
		answer_set(why, OUTCOME_NOT_STORED, REASON_DRAINING, "the daemon is stopping");
	} else if (!conn_up(a)) {
		answer_set(why, OUTCOME_NOT_STORED, REASON_NOT_CONNECTED, "not connected%s%s",
			   a->why[0] ? ": " : "", a->why);
	} else {
		answer_set(why, OUTCOME_NOT_STORED, REASON_OVERLOADED,
			   "the server did not take it in time");
	}
}

static void end_unsent(struct nats_adapter *a, struct pub_batch *b)
{
	struct publish *p = b->p;
	const uint32_t first = b->next, n = p->n;
	struct answer why;

	if (first == n) {
		return;
	}
	b->next = n;
	list_remove(&b->queue);
	answer_unsent(a, &why);
	for (uint32_t i = first; i < n; i++) {
		fail(a, p, i, &why);
	}
}

/* What is in the ring of batch b; with b NULL of all. b may be gone afterwards. */
static void end_sent(struct nats_adapter *a, const struct pub_batch *b)
{
	uint64_t seq = a->pub.head, end = a->pub.tail;
	struct answer why;

	if (b) {
		seq = b->first_seq > seq ? b->first_seq : seq;
		end = b->first_seq + b->p->n < end ? b->first_seq + b->p->n : end;
	}
	for (; seq < end; seq++) {
		struct pub_slot *s = slot_at(a, seq);

		if (s->batch && (!b || s->batch == b)) {
			answer_sent(a, s, &why);
			fail_slot(a, s, &why);
		}
	}
}

static void expire(struct nats_adapter *a, struct pub_batch *b)
{
	const uint32_t unsent = b->p->n - b->next;

	if (b->p->untold > unsent) {
		end_sent(a, b);
	}
	if (unsent > 0) {
		end_unsent(a, b); /* b lives: it had something left to tell */
	}
}

void pub_tick(struct nats_adapter *a, int64_t now_ms)
{
	struct list due;

	a->pub.paused_ticks -= a->pub.paused_ticks > 0;
	list_init(&due);
	wheel_advance(&a->pub.wheel, now_ms, &due);
	while (!list_empty(&due)) {
		struct list *item = list_pop_front(&due);

		expire(a, container_of(item, struct pub_batch, due.link));
	}
}

void pub_abort(struct nats_adapter *a, bool all)
{
	if (all) {
		end_sent(a, NULL);
	}
	while (!list_empty(&a->pub.queued)) {
		end_unsent(a, container_of(list_first(&a->pub.queued), struct pub_batch, queue));
	}
}
