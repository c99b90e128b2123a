/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Publish in, Published out.
 *
 * Happy path: codec_read_publish makes a block of events that point into the read buffer;
 * each is checked, completed (id, time) and charged to the credit; what passed goes to the bus
 * as one batch; on_told notes each answer; session_write_published writes them once per turn.
 *
 * Failure modes:
 * - a structure error ends the session; a content error refuses that event alone, at once;
 * - over the credit: that event is NOT_STORED, OVERLOADED; a client that goes on so is cut;
 * - the session ends first: the batch goes on without it (session_publish_detach), the
 *   event block lives until the last item is told.
 */
#include "daemon/session_impl.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/metadata.h"
#include "base/random.h"
#include "daemon/access.h"

/* Answers gathered for one Published frame before it is written early. */
#define PUBLISHED_MAX_RANGES	1024
#define PUBLISHED_MAX_FAILURES	128
#define PUBLISHED_MAX_POSITIONS 128

/* The schema's numbers are ours. */
_Static_assert((int)OUTCOME_NOT_STORED == EVENTBUS__V1__OUTCOME__OUTCOME_NOT_STORED &&
		       (int)OUTCOME_UNKNOWN == EVENTBUS__V1__OUTCOME__OUTCOME_UNKNOWN &&
		       (int)OUTCOME_PERMANENT == EVENTBUS__V1__OUTCOME__OUTCOME_PERMANENT,
	       "outcomes");
_Static_assert((int)REASON_NOT_CONNECTED == EVENTBUS__V1__REASON__REASON_NOT_CONNECTED &&
		       (int)REASON_OVERLOADED == EVENTBUS__V1__REASON__REASON_OVERLOADED &&
		       (int)REASON_DRAINING == EVENTBUS__V1__REASON__REASON_DRAINING &&
		       (int)REASON_TOO_LARGE == EVENTBUS__V1__REASON__REASON_TOO_LARGE &&
		       (int)REASON_UNROUTABLE == EVENTBUS__V1__REASON__REASON_UNROUTABLE &&
		       (int)REASON_UNRESOLVED_TOPIC ==
			       EVENTBUS__V1__REASON__REASON_UNRESOLVED_TOPIC &&
		       (int)REASON_DENIED == EVENTBUS__V1__REASON__REASON_DENIED &&
		       (int)REASON_INVALID == EVENTBUS__V1__REASON__REASON_INVALID &&
		       (int)REASON_NOT_SUPPORTED == EVENTBUS__V1__REASON__REASON_NOT_SUPPORTED &&
		       (int)REASON_CONFLICT == EVENTBUS__V1__REASON__REASON_CONFLICT &&
		       (int)REASON_BROKER == EVENTBUS__V1__REASON__REASON_BROKER &&
		       (int)REASON_NOT_FOUND == EVENTBUS__V1__REASON__REASON_NOT_FOUND,
	       "reasons");

/* The events of one Publish frame that went to the bus. */
struct batch {
	struct list link;  /* session->batches; unlinked once the session is gone */
	struct session *s; /* NULL once the session is gone */
	struct event_block *block;
	struct budget *budget; /* charged size for this struct */
	size_t size;
	uint64_t first_sequence;
	uint16_t *index; /* item -> place in the frame; NULL: the same */
	bool positions;
	struct publish p; /* last: its items follow */
};

/* One frame on its way through the checks. */
struct intake {
	struct session *s;
	struct publish_frame frame;
	struct batch *batch;
	int64_t now_ms;	  /* unix */
	uint64_t loop_ms; /* of the loop */
	size_t room;	  /* bytes that the bus could accept in all */
	bool overran;	  /* an event lay beyond the highest credit */
	bool draining;
	/* The last topic that passed, so that a run of one topic is looked up once. */
	struct slice topic;
	size_t topic_bytes;
};

/* ---- answers --------------------------------------------------------------- */

static void note_failure(struct session *s, uint64_t sequence, const struct answer *why)
{
	struct pending_published *p = &s->published;
	struct pending_failure *last = p->n_failures ? &p->failures[p->n_failures - 1] : NULL;

	if (last && last->range.last + 1 == sequence && last->outcome == (uint32_t)why->outcome &&
	    last->reason == (uint32_t)why->reason && strcmp(last->text, why->text) == 0) {
		last->range.last = sequence;
		return;
	}
	if (p->n_failures == PUBLISHED_MAX_FAILURES) {
		session_write_published(s);
	}
	if (!p->failures) {
		p->failures = xmalloc(PUBLISHED_MAX_FAILURES * sizeof(*p->failures));
	}
	p->failures[p->n_failures++] = (struct pending_failure){
		.range = {sequence, sequence},
		.outcome = (uint32_t)why->outcome,
		.reason = (uint32_t)why->reason,
		.text = xstrdup(why->text),
	};
}

static void note_position(struct session *s, uint64_t sequence, const struct publish_item *item)
{
	struct pending_published *p = &s->published;
	struct pending_position *q;
	char text[POSITION_TEXT_MAX];

	if (p->n_positions == PUBLISHED_MAX_POSITIONS) {
		session_write_published(s);
	}
	if (!p->positions) {
		p->positions = xmalloc(PUBLISHED_MAX_POSITIONS * sizeof(*p->positions));
	}
	if (bus_format_position(s->set->bus, item->event->topic, item->position, text) != 0) {
		text[0] = '\0';
	}
	q = &p->positions[p->n_positions++];
	q->sequence = sequence;
	q->duplicate = item->duplicate;
	q->position = p->text.len;
	buf_append(&p->text, text, strlen(text) + 1);
	q->id = p->text.len;
	q->id_size = item->event->id.n;
	buf_append(&p->text, item->event->id.p, item->event->id.n);
}

static void note_ok(struct session *s, uint64_t sequence)
{
	if (s->published.confirmed.n == PUBLISHED_MAX_RANGES) {
		session_write_published(s);
	}
	ranges_add(&s->published.confirmed, sequence, sequence);
}

static void batch_free(struct batch *b)
{
	list_remove(&b->link);
	event_block_unref(b->block);
	budget_release(b->budget, b->size);
	free(b->index);
	free(b);
}

static void on_told(struct publish *p, uint32_t i)
{
	struct batch *b = p->owner;
	struct session *s = b->s;
	const struct publish_item *item = &p->items[i];
	uint64_t sequence = b->first_sequence + (b->index ? b->index[i] : i);

	if (s) {
		credit_give(&s->set->credit, &s->credit, 1, event_size(item->event));
		if (item->answer.outcome == OUTCOME_OK) {
			note_ok(s, sequence);
			if (b->positions) {
				note_position(s, sequence, item);
			}
		} else {
			note_failure(s, sequence, &item->answer);
		}
		session_touch(s);
	}
	if (p->untold == 0) {
		batch_free(b);
	}
}

void session_publish_detach(struct session *s)
{
	struct list *it, *tmp;

	credit_give(&s->set->credit, &s->credit, s->credit.events, s->credit.bytes);
	list_for_each_safe (it, tmp, &s->batches) {
		struct batch *b = container_of(it, struct batch, link);

		b->s = NULL;
		list_remove(&b->link);
	}
}

/* ---- intake ---------------------------------------------------------------- */

static bool credit_ok(struct intake *in, size_t bytes, struct answer *why)
{
	struct session *s = in->s;
	struct credit_pool *pool = &s->set->credit;

	if (bytes > in->room) {
		log_repeated(&s->set->short_log, LOG_LEVEL_WARN, "sessions",
			     "publishes are refused: limits.memory is used up used=%zu limit=%zu "
			     "publishing=%" PRIu64,
			     s->set->budget->used, s->set->budget->limit, pool->outstanding);
		answer_set(why, OUTCOME_NOT_STORED, REASON_OVERLOADED,
			   "the daemon is short of memory; send again later");
		return false;
	}
	if (!credit_take(pool, &s->credit, bytes, in->loop_ms)) {
		in->overran |= credit_overran(pool, &s->credit, bytes);
		answer_set(why, OUTCOME_NOT_STORED, REASON_OVERLOADED,
			   "beyond the publish credit of %u events, %" PRIu64 " bytes",
			   s->credit.told_events, s->credit.told_bytes);
		return false;
	}
	in->room -= bytes;
	return true;
}

static bool topic_ok(struct intake *in, const struct event *e, struct answer *why)
{
	struct session *s = in->s;

	if (slice_eq(e->topic, in->topic) && event_size(e) <= in->topic_bytes) {
		return true;
	}
	if (!access_publish(s->set->config, (int64_t)s->uid, e->topic, why) ||
	    !bus_topic_ok(s->set->bus, e->topic, event_size(e), why)) {
		return false;
	}
	in->topic = e->topic;
	in->topic_bytes = event_size(e);
	return true;
}

/* Everything that may keep event i of the frame from the bus. */
static bool admit(struct intake *in, struct event *e, uint32_t i, struct answer *why)
{
	char id[UUID_TEXT_SIZE];
	uint8_t *space = event_block_extra(in->frame.block) + (size_t)i * CODEC_TAIL_MAX;

	if (in->draining) {
		answer_set(why, OUTCOME_NOT_STORED, REASON_DRAINING, "the daemon is stopping");
		return false;
	}
	if (e->topic.n == 0 && e->message_type.n > 0) {
		answer_set(why, OUTCOME_PERMANENT, REASON_UNRESOLVED_TOPIC,
			   "no schema names a topic for message type \"%.*s\"; set topic",
			   (int)(e->message_type.n > 100 ? 100 : e->message_type.n),
			   (const char *)e->message_type.p);
		return false;
	}
	if (!event_check(e, why)) {
		return false;
	}
	if (e->id.n == 0 || e->published_at_ms == 0) {
		if (e->id.n == 0) {
			uuid_make(id);
		}
		codec_complete_event(e, id, in->now_ms, space);
	}
	return topic_ok(in, e, why) && credit_ok(in, event_size(e), why);
}

static struct batch *batch_create(struct intake *in)
{
	const struct publish_frame *f = &in->frame;
	const size_t size = sizeof(struct batch) + f->n * sizeof(struct publish_item);
	struct batch *b = xmalloc(size);

	list_item_init(&b->link);
	b->s = in->s;
	b->block = f->block;
	b->budget = in->s->set->budget;
	b->size = size;
	budget_charge(b->budget, size);
	b->first_sequence = f->first_sequence;
	b->index = NULL;
	b->positions = f->positions;
	list_item_init(&b->p.link);
	b->p.impl = NULL;
	b->p.owner = b;
	b->p.told = on_told;
	b->p.timeout_ms = in->s->set->config->limits.publish_timeout_ms;
	b->p.n = b->p.untold = 0;
	return b;
}

/* Item k of the batch is event i of the frame: from the first gap on that is written down. */
static void batch_add(struct intake *in, struct event *e, uint32_t i)
{
	struct batch *b = in->batch;
	uint32_t k = b->p.n++, j;
	struct publish_item *item = &b->p.items[k];

	if (i != k && !b->index) {
		b->index = xmalloc(in->frame.n * sizeof(*b->index));
		for (j = 0; j < k; j++) {
			b->index[j] = (uint16_t)j;
		}
	}
	if (b->index) {
		b->index[k] = (uint16_t)i;
	}
	item->event = e;
	item->position = (struct position){0, 0};
	item->duplicate = false;
	item->answered = false;
	item->answer.outcome = OUTCOME_OK;
	item->answer.reason = REASON_NONE;
	item->answer.text[0] = '\0';
}

static void take_events(struct intake *in)
{
	struct event *events = event_block_events(in->frame.block);
	struct answer why;
	uint32_t i;

	for (i = 0; i < in->frame.n; i++) {
		if (admit(in, &events[i], i, &why)) {
			batch_add(in, &events[i], i);
		} else {
			note_failure(in->s, in->frame.first_sequence + i, &why);
			session_touch(in->s);
		}
	}
}

static bool sequence_ok(struct session *s, const struct publish_frame *f)
{
	if (f->first_sequence <= s->last_sequence) {
		session_fail(s, OUTCOME_PERMANENT, REASON_INVALID,
			     "publish.first_sequence: %" PRIu64 " must be above %" PRIu64,
			     f->first_sequence, s->last_sequence);
		return false;
	}
	if (f->first_sequence > UINT64_MAX - f->n) {
		session_fail(s, OUTCOME_PERMANENT, REASON_INVALID,
			     "publish.first_sequence: %" PRIu64 " is too large", f->first_sequence);
		return false;
	}
	s->last_sequence = f->first_sequence + f->n - 1;
	return true;
}

void session_publish(struct session *s, struct slice body, struct shared_bytes *source)
{
	struct intake in = {.s = s};
	struct err_text err;

	if (codec_read_publish(body, source, CODEC_TAIL_MAX, s->set->budget, &in.frame, &err) !=
	    0) {
		session_fail(s, OUTCOME_PERMANENT, REASON_INVALID, "%s", err.s);
		return;
	}
	if (in.frame.n == 0) {
		session_fail(s, OUTCOME_PERMANENT, REASON_INVALID, "publish.events: is empty");
	}
	if (in.frame.n == 0 || !sequence_ok(s, &in.frame)) {
		event_block_unref(in.frame.block);
		return;
	}
	in.now_ms = clock_unix_ms();
	in.loop_ms = uv_now(s->set->loop);
	in.room = bus_publish_room(s->set->bus);
	in.draining = s->set->draining && client_outstanding(s->client) == 0;
	in.batch = batch_create(&in);
	take_events(&in);
	if (in.batch->p.n == 0) {
		batch_free(in.batch);
	} else {
		in.batch->p.untold = in.batch->p.n;
		list_push_back(&s->batches, &in.batch->link);
		bus_publish(s->set->bus, &in.batch->p);
	}
	if (!credit_judge(&s->credit, in.overran)) {
		session_fail(s, OUTCOME_NOT_STORED, REASON_OVERLOADED,
			     "the publish credit was overrun in %d frames in a row",
			     CREDIT_MAX_STRIKES);
	}
}

/* ---- Published ------------------------------------------------------------- */

static void clear_published(struct session *s)
{
	struct pending_published *p = &s->published;

	ranges_clear(&p->confirmed);
	while (p->n_failures > 0) {
		free(p->failures[--p->n_failures].text);
	}
	if (p->failures) {
		free(p->failures);
		p->failures = NULL;
	}
	if (p->positions) {
		free(p->positions);
		p->positions = NULL;
		buf_reset(&p->text, 0);
	}
	p->n_positions = 0;
}

void session_write_published(struct session *s)
{
	struct pending_published *p = &s->published;
	struct published_failure failures[PUBLISHED_MAX_FAILURES];
	struct published_position positions[PUBLISHED_MAX_POSITIONS];
	struct published_frame f = {.confirmed = &p->confirmed,
				    .failures = failures,
				    .positions = positions,
				    .n_failures = p->n_failures,
				    .n_positions = p->n_positions,
				    .has_credit = s->state == SESSION_OPEN &&
						  credit_untold(&s->set->credit, &s->credit)};
	const char *text = (const char *)buf_data(&p->text);
	uint32_t i;

	if (p->confirmed.n == 0 && p->n_failures == 0 && p->n_positions == 0 && !f.has_credit) {
		return;
	}
	assert(p->failures || p->n_failures == 0);
	for (i = 0; i < p->n_failures; i++) {
		const struct pending_failure *q = &p->failures[i];

		failures[i] = (struct published_failure){q->range, q->outcome, q->reason, q->text};
	}
	for (i = 0; i < p->n_positions; i++) {
		const struct pending_position *q = &p->positions[i];

		positions[i] = (struct published_position){q->sequence, text + q->position,
							   slice_of(text + q->id, q->id_size),
							   q->duplicate};
	}
	if (f.has_credit) {
		credit_tell(&s->set->credit, &s->credit, uv_now(s->set->loop));
		f.credit_events = s->credit.told_events;
		f.credit_bytes = s->credit.told_bytes;
	}
	codec_write_published(session_out(s), &f);
	clear_published(s);
}
