/* SPDX-License-Identifier: Apache-2.0 */
/* A session's side in the bus: tags, what was written, settling. */
#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/random.h"
#include "daemon/client_impl.h"
#include "daemon/feed.h"
#include "daemon/pipeline/step.h"

#define TAKE_IN_TURN 64u

/* ---- life ---------------------------------------------------------------------- */

struct client *client_create(struct bus *b, const char *name, const struct client_ops *ops,
			     void *ctx)
{
	struct client *c = xcalloc(1, sizeof(*c));

	c->bus = b;
	c->ops = ops;
	c->ctx = ctx;
	c->name = xstrdup(name);
	c->max_bytes = (uint64_t)b->config->limits.per_client;
	list_init(&c->subscriptions);
	list_init(&c->ready);
	list_init(&c->starved);
	list_init(&c->unwritten);
	/* Never 0, and below 2^32: tags of another session are most likely stale here. */
	tags_init(&c->tags, 1 + (random_u64() & 0x7fffffff));
	list_push_back(&b->clients, &c->link);
	return c;
}

static void note_flushed(struct client *c, uint64_t offset)
{
	while (c->written_n > 0 && c->written[c->written_first].end_offset <= offset) {
		c->flushed_tag = c->written[c->written_first].tag;
		c->written_first = (c->written_first + 1) & (c->written_cap - 1);
		c->written_n--;
	}
}

void client_destroy(struct client *c, uint64_t written_bytes)
{
	struct bus *b = c->bus;

	note_flushed(c, written_bytes);
	while (!list_empty(&c->subscriptions)) {
		subscription_die(container_of(c->subscriptions.next, struct subscription, link));
	}
	assert(c->held == 0 && list_empty(&c->ready));
	list_remove(&c->link);
	list_remove(&c->woken);
	list_remove(&c->tell_ready);
	tags_finish(&c->tags);
	free(c->written);
	free(c->name);
	free(c);
	bus_mark(b);
}

struct subscription *client_find(const struct client *c, uint32_t subscription)
{
	for (struct list *it = c->subscriptions.next; it != &c->subscriptions; it = it->next) {
		struct subscription *s = container_of(it, struct subscription, link);

		if (s->id == subscription) {
			return s;
		}
	}
	return NULL;
}

int client_unsubscribe(struct client *c, uint32_t subscription)
{
	struct subscription *s = client_find(c, subscription);

	if (!s || s->state == SUBSCRIPTION_CLOSING || s->state == SUBSCRIPTION_REFUSED) {
		return EB_ENOTFOUND;
	}
	subscription_close(s);
	return 0;
}

int client_pause(struct client *c, uint32_t subscription, bool paused)
{
	struct subscription *s = client_find(c, subscription);

	if (!s || s->state == SUBSCRIPTION_CLOSING || s->state == SUBSCRIPTION_REFUSED) {
		return EB_ENOTFOUND;
	}
	subscription_pause(s, paused);
	return 0;
}

/* ---- handing out ------------------------------------------------------------------ */

void client_ready(struct client *c, struct member *m)
{
	list_push_back(&c->ready, &m->ready);
	if (!c->told_ready) {
		c->told_ready = true;
		list_push_back(&c->bus->ready, &c->tell_ready);
		bus_mark(c->bus);
	}
}

static struct slice position_text(struct bus *b, const struct flight *fl)
{
	char *text = arena_alloc(&b->scratch, POSITION_TEXT_MAX);

	b->scratch_used = true;
	if (!text || adapter_format_position(fl->feed->broker->adapter, fl->event->topic,
					     fl->position, text) < 0) {
		return slice_of(NULL, 0);
	}
	return slice_str(text);
}

static void hand_out(struct flight *fl, struct outgoing *out)
{
	struct subscription *s = fl->member->sub;
	struct client *c = s->client;
	struct policy_entry *old = fl->policy;

	fl->policy = feed_policy(fl->feed, fl->event->topic);
	policy_entry_unref(old);
	fl->state = FLIGHT_OUT;
	tags_add(&c->tags, fl);
	c->bus->n_out++;
	list_push_back(&s->out, &fl->link);
	if (!s->next) {
		s->next = fl;
	}
	*out = (struct outgoing){
		.subscription = s->id,
		.attempt = flight_failures(fl).count + 1,
		.tag = fl->tag,
		.epoch = fl->feed->epoch,
		.event = fl->event,
	};
	if (s->positions) {
		out->position = position_text(c->bus, fl);
	}
}

uint32_t client_next(struct client *c, struct outgoing *out, uint32_t max)
{
	uint32_t n = 0;
	struct list *it;

	while (n < max && (it = list_pop_front(&c->ready))) {
		struct member *m = container_of(it, struct member, ready);
		const uint32_t end = max - n < TAKE_IN_TURN ? max : n + TAKE_IN_TURN;

		while (n < end && (it = list_pop_front(&m->queue))) {
			hand_out(container_of(it, struct flight, link), &out[n++]);
		}
		if (!list_empty(&m->queue)) {
			list_push_back(&c->ready, &m->ready);
		}
		subscription_lease(m->sub);
	}
	if (list_empty(&c->ready)) {
		c->told_ready = false;
		list_remove(&c->tell_ready);
	}
	return n;
}

void client_wrote(struct client *c, uint64_t tag, uint64_t end_offset)
{
	if (c->written_n == c->written_cap) {
		const uint32_t cap = c->written_cap ? c->written_cap * 2 : 16;
		struct written *w = xmalloc(cap * sizeof(*w));

		for (uint32_t i = 0; i < c->written_n; i++) {
			w[i] = c->written[(c->written_first + i) & (c->written_cap - 1)];
		}
		free(c->written);
		c->written = w;
		c->written_cap = cap;
		c->written_first = 0;
	}
	c->written[(c->written_first + c->written_n++) & (c->written_cap - 1)] =
		(struct written){tag, end_offset};
}

void client_flushed(struct client *c, uint64_t offset)
{
	struct list all, *it;

	note_flushed(c, offset);
	list_init(&all);
	list_splice_back(&all, &c->unwritten);
	while ((it = list_pop_front(&all))) {
		subscription_lease(container_of(it, struct subscription, unwritten));
	}
}

/* ---- settling ---------------------------------------------------------------------- */

struct settling {
	struct ending ending;
	struct ranges *settled, *stale;
	struct bus *bus;
};

static void settle_one(void *ctx, struct flight *fl)
{
	struct settling *s = ctx;

	if (s->settled) {
		ranges_add(s->settled, fl->tag, fl->tag);
	}
	s->bus->report.drained += s->bus->draining;
	s->ending.limits = fl->member->sub->limits;
	s->ending.by = fl->member->sub;
	flight_detach(fl);
	step_end(fl, &s->ending);
}

static void stale(void *ctx, uint64_t first, uint64_t last)
{
	struct settling *s = ctx;

	ranges_add(s->stale, first, last);
}

void client_settle(struct client *c, const struct range *v, size_t n, const struct settle *how,
		   struct ranges *settled, struct ranges *stale_out)
{
	static const enum ended ends[] = {
		[VERDICT_ACK] = ENDED_ACK,	 [VERDICT_RETRY] = ENDED_RETRY,
		[VERDICT_REJECT] = ENDED_REJECT, [VERDICT_RELEASE] = ENDED_RELEASE,
		[VERDICT_DROP] = ENDED_DROP,
	};
	struct settling s = {
		.ending = {.ended = ends[how->verdict],
			   .reason = how->reason,
			   .has_delay = how->has_delay,
			   .delay_ms = how->delay_ms},
		.settled = settled,
		.stale = stale_out,
		.bus = c->bus,
	};
	const struct tags_walk w = {settle_one, stale_out ? stale : NULL, &s};

	tags_each(&c->tags, v, n, &w);
}

static void extend_one(void *ctx, struct flight *fl)
{
	struct settling *s = ctx;

	flight_extend(fl);
	if (s->settled) {
		ranges_add(s->settled, fl->tag, fl->tag);
	}
}

void client_extend(struct client *c, const struct range *v, size_t n, struct ranges *extended,
		   struct ranges *stale_out)
{
	struct settling s = {.settled = extended, .stale = stale_out, .bus = c->bus};
	const struct tags_walk w = {extend_one, stale_out ? stale : NULL, &s};

	tags_each(&c->tags, v, n, &w);
}

uint64_t client_outstanding(const struct client *c)
{
	return c->tags.count;
}
