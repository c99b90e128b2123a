/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Happy path: build, publish, OK: the original is acknowledged.
 *
 * Failure modes:
 * - too large with its metadata: built again without it, marked dlq.truncated;
 * - not stored, unknown, refused: the feed is degraded ("dlq: why"), tried again after 1 s doubling
 *   to 30 s, with the same id, so that a broker that dedupes stores it once;
 * - the original is revoked or given back meanwhile: the answer is ignored.
 */
#include "daemon/pipeline/deadletter.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "daemon/feed.h"
#include "daemon/pipeline/step.h"

struct dead_letter {
	struct bus *bus;
	void *flight; /* flight_ref; NULL: forgotten */
	const char *why;
	char *reason;
	uint32_t tries;
	bool publishing, truncate, failing;
};

static int topic_of(const struct flight *fl, char out[TOPIC_MAX + 1])
{
	return policy_dlq_topic(&fl->policy->policy, fl->event->topic, fl->feed->group->name, out);
}

/* Where it came from, when it is a dead letter; else empty. */
static struct slice original_topic(const struct event *e)
{
	struct metadata_pair pair;

	for (size_t pos = 0; event_metadata_next(e, &pos, &pair);) {
		if (slice_eq_str(pair.key, "dlq.original-topic")) {
			return pair.value;
		}
	}
	return slice_of(NULL, 0);
}

/* With {topic} in it, the dead letter topic of a dead letter is that of its original. */
static bool is_there(const struct flight *fl, const char *topic)
{
	const struct slice from = original_topic(fl->event);
	char first[TOPIC_MAX + 1];

	return slice_eq_str(fl->event->topic, topic) ||
	       (from.n > 0 &&
		policy_dlq_topic(&fl->policy->policy, from, fl->feed->group->name, first) == 0 &&
		slice_eq_str(fl->event->topic, first));
}

bool deadletter_wanted(const struct flight *fl)
{
	char topic[TOPIC_MAX + 1];

	if (fl->policy->policy.dlq_off) {
		return false;
	}
	if (topic_of(fl, topic) < 0) {
		return fl->feed->group->name != NULL;
	}
	return !is_there(fl, topic);
}

/* ---- tries ------------------------------------------------------------------- */

static void dead_letter_free(struct dead_letter *d)
{
	free(d->reason);
	free(d);
}

static void set_failing(struct flight *fl, bool failing, const char *why)
{
	struct feed *f = fl->feed;
	struct dead_letter *d = fl->extra->dead;

	if (failing) {
		snprintf(f->why_dlq, sizeof(f->why_dlq), "dlq: %s", why);
	}
	if (d->failing != failing) {
		d->failing = failing;
		f->n_dlq_failing += failing ? 1u : -1u;
	}
	feed_problem(f, FEED_DLQ, f->n_dlq_failing > 0);
}

static void try_later(struct flight *fl, const char *why)
{
	static const struct backoff waits = {
		.kind = BACKOFF_EXPONENTIAL, .initial_ms = 1000, .max_ms = 30000, .multiplier = 2};
	struct bus *b = fl->feed->bus;

	set_failing(fl, true, why);
	fl->extra->dead->tries++;
	bus_arm(b, fl, bus_now(b) + backoff_delay_ms(&waits, fl->extra->dead->tries, 0));
}

static void answered(struct dead_letter *d, struct flight *fl, const struct answer *a)
{
	if (a->outcome == OUTCOME_OK) {
		step_dead_lettered(fl);
	} else if (a->reason == REASON_TOO_LARGE && !d->truncate) {
		d->truncate = true;
		deadletter_publish(fl);
	} else {
		try_later(fl, a->text[0] ? a->text : reason_name(a->reason));
		if (feed_deserted(fl->feed)) {
			step_give_back(fl);
		}
	}
}

static void on_told(struct publish *p, uint32_t i)
{
	struct dead_letter *d = p->owner;
	struct bus *b = d->bus;
	struct flight *fl = d->flight ? flight_find(&b->flights, d->flight) : NULL;
	const struct answer answer = p->items[i].answer;

	d->publishing = false;
	b->n_publishing--;
	event_unref(p->items[i].event);
	free(p);
	if (fl) {
		feed_mark(fl->feed);
		answered(d, fl, &answer);
	} else {
		dead_letter_free(d);
	}
	bus_mark(b);
}

static struct event *build(const struct flight *fl, const char *topic, const struct broker *to)
{
	const struct bus *b = fl->feed->bus;
	const struct dead_letter *d = fl->extra->dead;
	char position[POSITION_TEXT_MAX] = "";

	if (adapter_format_position(fl->feed->broker->adapter, fl->event->topic, fl->position,
				    position) < 0) {
		position[0] = '\0';
	}
	return deadletter_build(&(struct dead_letter_spec){
		.event = fl->event,
		.topic = topic,
		.group = fl->feed->group->name,
		.why = d->why,
		.error = d->reason,
		.position = position,
		.failures = flight_failures(fl),
		.max_bytes = broker_event_max(to, true),
		.truncate = d->truncate,
		.now_ms = clock_unix_ms(),
		.budget = b->o.budget,
	});
}

void deadletter_publish(struct flight *fl)
{
	struct bus *b = fl->feed->bus;
	struct dead_letter *d = fl->extra->dead;
	char topic[TOPIC_MAX + 1];
	struct broker *to;
	struct publish *p;

	if (topic_of(fl, topic) < 0) {
		try_later(fl, "the topic that the file gives is not legal for this event");
		return;
	}
	to = bus_route(b, slice_str(topic));
	p = xcalloc(1, sizeof(*p) + sizeof(p->items[0]));
	p->owner = d;
	p->told = on_told;
	p->n = 1;
	p->timeout_ms = b->config->limits.publish_timeout_ms;
	p->items[0].event = build(fl, topic, to);
	d->publishing = true;
	b->n_publishing++;
	adapter_publish(to->adapter, p);
}

/* ---- from and to the pipeline --------------------------------------------------- */

void deadletter_start(struct flight *fl, const char *why, struct slice reason)
{
	struct dead_letter *d = xcalloc(1, sizeof(*d));

	assert(!flight_dead(fl));
	d->bus = fl->feed->bus;
	flight_extra(&d->bus->flights, fl)->dead = d;
	d->flight = flight_ref(fl);
	d->why = why;
	d->reason = xstrndup(reason.p, reason.n);
	fl->state = FLIGHT_DEAD;
	deadletter_publish(fl);
}

bool deadletter_publishing(const struct flight *fl)
{
	const struct dead_letter *d = flight_dead(fl);

	return d && d->publishing;
}

void deadletter_forget(struct flight *fl)
{
	struct dead_letter *d = fl->extra->dead;

	set_failing(fl, false, "");
	fl->extra->dead = NULL;
	d->flight = NULL;
	if (!d->publishing) {
		dead_letter_free(d);
	}
}
