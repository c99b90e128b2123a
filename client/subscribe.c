/* SPDX-License-Identifier: Apache-2.0 */
/* Subscriptions: the calls of the user, and what is said to the daemon. See sub_state.c. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/topic.h"
#include "base/utf8.h"
#include "client/internal.h"

#define FIRST_SLOTS 16

/* ---- memory ------------------------------------------------------------------------ */

static char *copy(const char *s)
{
	return s && *s ? xstrdup(s) : NULL;
}

void ebus_sub_unref(struct eventbus_subscription *s)
{
	if (--s->refs) {
		return;
	}
	for (size_t i = 0; i < s->o.pattern_count; i++) {
		free(s->patterns[i]);
	}
	free(s->patterns);
	free(s->service);
	free(s->group);
	free(s->dead_letter_topic);
	free(s->start_position);
	free(s);
}

static struct eventbus_subscription *sub_create(struct eventbus *c,
						const struct eventbus_subscribe *o)
{
	struct eventbus_subscription *s = xcalloc(1, sizeof(*s));
	const char *const *patterns = o->pattern ? &o->pattern : o->patterns;

	s->client = c;
	s->refs = 1;
	s->o = *o;
	s->o.pattern_count = o->pattern ? 1 : o->patterns ? o->pattern_count : 0;
	s->patterns = xcalloc(s->o.pattern_count + 1, sizeof(*s->patterns));
	for (size_t i = 0; i < s->o.pattern_count; i++) {
		s->patterns[i] = xstrdup(patterns[i]);
	}
	s->service = copy(o->service);
	s->group = copy(o->group);
	s->dead_letter_topic = copy(o->dead_letter_topic);
	s->start_position = copy(o->start_position);
	list_init(&s->taken);
	return s;
}

/* Slots are used in turn, so that a late answer for an old number does not meet a new owner. */
static void give_slot(struct eventbus *c, struct eventbus_subscription *s)
{
	uint32_t old = c->n_subs, i = 0;

	while (i < old && c->subs[(c->next_slot + i) % old]) {
		i++;
	}
	if (i == old) {
		c->n_subs = old ? old * 2 : FIRST_SLOTS;
		c->subs = xrealloc(c->subs, c->n_subs * sizeof(struct eventbus_subscription *));
		memset(c->subs + old, 0, (c->n_subs - old) * sizeof(c->subs[0]));
		c->next_slot = old;
		i = 0;
	}
	i = (c->next_slot + i) % c->n_subs;
	c->next_slot = i + 1;
	c->subs[i] = s;
	s->id = i + 1;
}

/* ---- asking -------------------------------------------------------------------------- */

static char *text(char *s)
{
	return s ? s : (char *)protobuf_c_empty_string;
}

static void fill_start(const struct eventbus_subscription *s, Eventbus__V1__Start *at)
{
	enum eventbus_start start = s->o.start;

	if (!s->group && s->was_active) {
		start = EVENTBUS_START_NEW; /* what it had been given must not come again */
	}
	switch (start) {
	case EVENTBUS_START_EARLIEST:
		at->at_case = EVENTBUS__V1__START__AT_EARLIEST;
		at->earliest = 1;
		break;
	case EVENTBUS_START_TIME:
		at->at_case = EVENTBUS__V1__START__AT_TIME_MS;
		at->time_ms = s->o.start_time_ms;
		break;
	case EVENTBUS_START_POSITION:
		at->at_case = EVENTBUS__V1__START__AT_POSITION;
		at->position = text(s->start_position);
		break;
	default:
		at->at_case = EVENTBUS__V1__START__AT_NEW;
		at->new_ = 1;
		break;
	}
}

void ebus_sub_ask(struct eventbus *c, struct eventbus_subscription *s)
{
	Eventbus__V1__Frame f = EVENTBUS__V1__FRAME__INIT;
	Eventbus__V1__Subscribe sub = EVENTBUS__V1__SUBSCRIBE__INIT;
	Eventbus__V1__RetryOverride retry = EVENTBUS__V1__RETRY_OVERRIDE__INIT;
	Eventbus__V1__DeadLetterOverride dlq = EVENTBUS__V1__DEAD_LETTER_OVERRIDE__INIT;
	Eventbus__V1__Start start = EVENTBUS__V1__START__INIT;

	sub.subscription = s->id;
	sub.n_patterns = s->o.pattern_count;
	sub.patterns = s->patterns;
	sub.service = text(s->service);
	sub.group = text(s->group);
	sub.max_in_flight_events = s->o.max_in_flight_events;
	sub.max_in_flight_bytes = s->o.max_in_flight_bytes;
	sub.concurrency = s->o.concurrency;
	sub.lease_ms = s->o.lease_ms > 0 ? (uint64_t)s->o.lease_ms : 0;
	sub.order = (Eventbus__V1__Order)s->o.order;
	sub.positions = s->o.positions;
	retry.max_age_ms = s->o.max_age_ms > 0 ? (uint64_t)s->o.max_age_ms : 0;
	retry.max_delay_ms = s->o.max_delay_ms > 0 ? (uint64_t)s->o.max_delay_ms : 0;
	if (s->o.set_max_retries) {
		retry.retries_case = EVENTBUS__V1__RETRY_OVERRIDE__RETRIES_MAX_RETRIES;
		retry.max_retries = s->o.max_retries;
	}
	if (s->o.set_max_retries || retry.max_age_ms || retry.max_delay_ms) {
		sub.retry = &retry;
	}
	if (s->dead_letter_topic) {
		dlq.topic = s->dead_letter_topic;
		sub.dead_letter = &dlq;
	}
	fill_start(s, &start);
	sub.start = &start;
	f.kind_case = EVENTBUS__V1__FRAME__KIND_SUBSCRIBE;
	f.subscribe = &sub;
	codec_write(&c->link.out, &f);
	s->state = SUB_ASKED;
}

static void say_unsubscribe(struct eventbus_subscription *s)
{
	Eventbus__V1__Frame f = EVENTBUS__V1__FRAME__INIT;
	Eventbus__V1__Unsubscribe u = EVENTBUS__V1__UNSUBSCRIBE__INIT;

	u.subscription = s->id;
	f.kind_case = EVENTBUS__V1__FRAME__KIND_UNSUBSCRIBE;
	f.unsubscribe = &u;
	codec_write(&s->client->link.out, &f);
}

void ebus_sub_say_pause(struct eventbus_subscription *s)
{
	Eventbus__V1__Frame f = EVENTBUS__V1__FRAME__INIT;
	Eventbus__V1__Pause pause = EVENTBUS__V1__PAUSE__INIT;
	Eventbus__V1__Resume resume = EVENTBUS__V1__RESUME__INIT;

	pause.subscription = resume.subscription = s->id;
	if (s->paused) {
		f.kind_case = EVENTBUS__V1__FRAME__KIND_PAUSE;
		f.pause = &pause;
	} else {
		f.kind_case = EVENTBUS__V1__FRAME__KIND_RESUME;
		f.resume = &resume;
	}
	codec_write(&s->client->link.out, &f);
}

/* ---- the calls ------------------------------------------------------------------------- */

static int check_pattern(const char *pattern, struct err_text *err)
{
	struct err_text why;

	if (pattern_check(slice_str(pattern), &why) != 0) {
		return err_set(err, EVENTBUS_EINVAL, "pattern: %s", why.s);
	}
	return 0;
}

static bool is_text(const char *s)
{
	return !s || utf8_valid(slice_str(s));
}

/* What the daemon would end the session for must not leave: it would end the next one too. */
static int check(const struct eventbus_subscribe *o, struct err_text *err)
{
	struct err_text why;
	int rc = 0;

	if (!o->handler) {
		return err_set(err, EVENTBUS_EINVAL, "a subscription needs a handler");
	}
	if (!o->pattern && !(o->patterns && o->pattern_count) && !o->service) {
		return err_set(err, EVENTBUS_EINVAL, "a subscription needs a pattern or a service");
	}
	if (!o->pattern && o->pattern_count > CODEC_MAX_PATTERNS) {
		return err_set(err, EVENTBUS_ETOOBIG, "%zu patterns, at most %d are allowed",
			       o->pattern_count, CODEC_MAX_PATTERNS);
	}
	if (o->pattern) {
		rc = check_pattern(o->pattern, err);
	}
	for (size_t i = 0; !o->pattern && o->patterns && rc == 0 && i < o->pattern_count; i++) {
		rc = check_pattern(o->patterns[i], err);
	}
	if (rc == 0 && o->group && *o->group && group_check(slice_str(o->group), &why) != 0) {
		rc = err_set(err, EVENTBUS_EINVAL, "group: %s", why.s);
	}
	if (rc == 0 && (!is_text(o->service) || !is_text(o->dead_letter_topic) ||
			!is_text(o->start_position))) {
		rc = err_set(err, EVENTBUS_EINVAL, "service, topic or position: not UTF-8");
	}
	if (rc == 0 && ((unsigned)o->order > EVENTBUS_ORDER_TOPIC ||
			(o->start == EVENTBUS_START_POSITION && !o->start_position))) {
		rc = err_set(err, EVENTBUS_EINVAL,
			     "order: unknown, or start: without the position");
	}
	return rc;
}

int eventbus_subscribe(struct eventbus *c, const struct eventbus_subscribe *o,
		       struct eventbus_subscription **out)
{
	struct eventbus_subscription *s;
	struct err_text err;
	int rc;

	if (c->destroyed) {
		return ebus_fail(c, EVENTBUS_ESTATE, "the client is being destroyed");
	}
	rc = check(o, &err);
	if (rc) {
		return ebus_fail(c, rc, "%s", err.s);
	}
	s = sub_create(c, o);
	give_slot(c, s);
	if (c->link.state == LINK_READY) {
		ebus_sub_ask(c, s);
	}
	ebus_wake(c);
	if (out) {
		*out = s;
	}
	return 0;
}

void eventbus_unsubscribe(struct eventbus_subscription *s)
{
	if (s->state == SUB_ASKED || s->state == SUB_ACTIVE) {
		say_unsubscribe(s);
		s->state = SUB_UNSUBSCRIBING;
	} else if (s->state != SUB_UNSUBSCRIBING) {
		s->state = SUB_ENDED;
	}
	ebus_wake(s->client);
}

static void set_paused(struct eventbus_subscription *s, bool paused)
{
	if (s->paused == paused) {
		return;
	}
	s->paused = paused;
	if (s->state == SUB_ACTIVE) {
		ebus_sub_say_pause(s);
		ebus_wake(s->client);
	}
}

void eventbus_pause(struct eventbus_subscription *s)
{
	set_paused(s, true);
}

void eventbus_resume(struct eventbus_subscription *s)
{
	set_paused(s, false);
}

void eventbus_subscription_info(const struct eventbus_subscription *s,
				struct eventbus_subscription_info *out)
{
	*out = s->info;
}

void *eventbus_subscription_ctx(const struct eventbus_subscription *s)
{
	return s->o.ctx;
}
