/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/metadata.h"
#include "base/random.h"
#include "daemon/pipeline/deadletter.h"

#define ADDED_MAX 9
/* What a broker's headers cost beyond our encoding, at most: per pair, and for the ones it adds. */
#define PAIR_OVERHEAD  32
#define EVENT_OVERHEAD 512

struct pairs {
	struct metadata_pair *v;
	uint32_t n;
	uint8_t *space[ADDED_MAX]; /* of repaired values */
	uint32_t n_space;
};

/* key: static. The value is made legal; an empty one is left out. */
static void add(struct pairs *p, const char *key, struct slice value)
{
	struct metadata_pair *pair = &p->v[p->n];
	uint8_t *space = xmalloc(4 * value.n + 512);
	bool repaired = false;

	p->space[p->n_space++] = space;
	if (metadata_repair(slice_str(key), value, space, pair, &repaired)) {
		p->n++;
	}
}

static void add_time(struct pairs *p, const char *key, int64_t unix_ms)
{
	char text[CLOCK_ISO_SIZE];

	clock_format_iso(unix_ms, text);
	add(p, key, slice_str(text));
}

static void keep_metadata(struct pairs *p, const struct event *e)
{
	struct metadata_pair pair;

	for (size_t pos = 0; event_metadata_next(e, &pos, &pair);) {
		if (pair.key.n < 4 || memcmp(pair.key.p, "dlq.", 4) != 0) {
			p->v[p->n++] = pair;
		}
	}
}

static void add_failure(struct pairs *p, const struct dead_letter_spec *s)
{
	const struct failures *f = &s->failures;
	char attempt[16];

	snprintf(attempt, sizeof(attempt), "%u", f->count ? f->count : 1);
	add(p, "dlq.original-topic", s->event->topic);
	add(p, "dlq.original-id", s->event->id);
	add(p, "dlq.error", slice_str(s->error && s->error[0] ? s->error : s->why));
	add(p, "dlq.attempt", slice_str(attempt));
	add(p, "dlq.reason", slice_str(s->why));
	add(p, "dlq.group", slice_str(s->group ? s->group : ""));
	add_time(p, "dlq.first-failed-at", f->first_ms ? f->first_ms : s->now_ms);
	add_time(p, "dlq.last-failed-at", f->last_ms ? f->last_ms : s->now_ms);
}

static size_t size_at_broker(const struct event *e)
{
	return event_size(e) + EVENT_OVERHEAD + (size_t)e->metadata_count * PAIR_OVERHEAD;
}

static struct event *build(const struct dead_letter_spec *s, const char *id, bool truncate)
{
	const struct event *e = s->event;
	struct pairs p = {.v = xcalloc(e->metadata_count + ADDED_MAX, sizeof(*p.v))};
	struct event *out;

	if (!truncate) {
		keep_metadata(&p, e);
	}
	add_failure(&p, s);
	if (truncate) {
		add(&p, "dlq.truncated", slice_str("true"));
	}
	out = event_build(&(struct event_fields){.id = slice_of(id, UUID_TEXT_SIZE),
						 .topic = slice_str(s->topic),
						 .payload = e->payload,
						 .key = e->key,
						 .content_type = e->content_type,
						 .message_type = e->message_type,
						 .published_at_ms = s->now_ms,
						 .metadata = p.v,
						 .metadata_count = p.n},
			  s->budget);
	for (uint32_t i = 0; i < p.n_space; i++) {
		free(p.space[i]);
	}
	free(p.v);
	return out;
}

/* Of what the event is, not of this try: a second try within a dedupe window is stored once. */
static void make_id(const struct dead_letter_spec *s, char id[UUID_TEXT_SIZE])
{
	char *topic = xstrndup(s->event->topic.p, s->event->topic.n);
	char *own = xstrndup(s->event->id.p, s->event->id.n);
	const char *parts[] = {s->group ? s->group : "", topic, s->position[0] ? s->position : own,
			       "dlq"};

	uuid_derive(id, parts, sizeof(parts) / sizeof(parts[0]));
	free(topic);
	free(own);
}

struct event *deadletter_build(const struct dead_letter_spec *s)
{
	char id[UUID_TEXT_SIZE];
	struct event *e;

	make_id(s, id);
	e = build(s, id, s->truncate);
	if (!s->truncate && s->max_bytes > 0 && size_at_broker(e) > s->max_bytes) {
		event_unref(e);
		e = build(s, id, true);
	}
	return e;
}
