/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory bus against a model of it: random calls from a seed, and after each delivery the
 * question whether this event was owed to this flow now. The model knows sets and counts, no
 * rings, heaps or chunks.
 */
#include "base/topic.h"
#include "tests/unit/support_memory.h"

enum { FLOWS = 8, TOPICS = 6, EVENTS_MAX = 40000, STEPS = 3000 };

static const char *const topics[TOPICS] = {"a", "a.b", "a.c", "b.c", "b.c.d", "dlq.a"};
static const char *const patterns[FLOWS] = {"a", "a.*", "*.c", ">", "b.>", "dlq.>", "a.b", "*"};

enum { OWED = 1, OUT = 2, PARKED = 4 };

struct model_flow {
	struct probe_flow pf;
	bool here, exists, grouped;
	uint8_t state[EVENTS_MAX]; /* by sequence */
	uint8_t failures[EVENTS_MAX];
	uint32_t looked_at; /* deliveries */
	uint64_t owed, lost;
	uint64_t low; /* the oldest that waits, or before it */
	uint32_t notes;
};

static struct model_flow flows[FLOWS];
static uint32_t topic_of[EVENTS_MAX];
static uint64_t last_seq, serial;
static uint32_t seed;

static uint32_t dice(uint32_t n)
{
	seed = seed * 1664525u + 1013904223u;
	return (seed >> 8) % n;
}

/* Every delivery is owed, complete, and the oldest of those that wait and are not parked. */
static void look(struct model_flow *m)
{
	for (; m->looked_at < m->pf.n; m->looked_at++) {
		const struct delivery *d = &m->pf.got[m->looked_at];
		const uint64_t seq = d->position.a;

		ck_assert_uint_le(seq, last_seq);
		ck_assert_msg((m->state[seq] & OWED) && !(m->state[seq] & OUT),
			      "%s: %u is not owed (state %d)", m->pf.f.spec.pattern, (unsigned)seq,
			      m->state[seq]);
		ck_assert(slice_eq_str(d->event->topic, topics[topic_of[seq]]));
		ck_assert(slice_eq(d->event->id, d->event->payload));
		ck_assert_uint_eq(d->failures.count, m->failures[seq]);
		while (m->low < seq && m->state[m->low] != OWED) {
			m->low++;
		}
		/* What was lost was told, but not which. */
		ck_assert(m->low >= seq || options.overflow == MEMORY_DROP_OLDEST);
		m->state[seq] = OWED | OUT;
	}
	for (; m->notes < m->pf.n_notes; m->notes++) {
		if (m->pf.notes[m->notes].event == FLOW_LOST) {
			m->lost += m->pf.notes[m->notes].lost;
		}
	}
	if (m->pf.n_notes > PROBE_NOTES - 4) {
		m->pf.n_notes = m->notes = 0;
	}
}

static void look_at_all(void)
{
	for (int i = 0; i < FLOWS; i++) {
		look(&flows[i]);
	}
}

static void turn(void)
{
	uv_run(&probe.loop, UV_RUN_NOWAIT);
	look_at_all();
}

static void publish_some(void)
{
	const uint32_t n = 1 + dice(dice(4) ? 20 : 150);
	struct probe_batch *batch = probe_batch(&probe, n);
	uint32_t topic[200], k = 0;
	char id[400];

	for (uint32_t i = 0; i < n; i++) {
		k = dice(3) ? k : dice(TOPICS);
		topic[i] = k;
		/* Ids of all lengths are the payload too; some come twice. */
		const uint64_t number = dice(20) ? serial++ : serial - (serial > 5 ? dice(5) : 0);
		snprintf(id, sizeof(id), "%0*u", 1 + (int)(number * 7919 % 190), (unsigned)number);
		batch->p->items[i].event = probe_event(topics[k], id, id, strlen(id));
	}
	adapter_publish(probe.a, batch->p);
	for (uint32_t i = 0; i < n; i++) { /* stored already, told later */
		const struct publish_item *item = &batch->p->items[i];

		if (item->answer.outcome != OUTCOME_OK || item->duplicate) {
			continue;
		}
		ck_assert_uint_eq(item->position.a, ++last_seq);
		topic_of[last_seq] = topic[i];
		for (int f = 0; f < FLOWS; f++) {
			if (flows[f].exists &&
			    pattern_matches(slice_str(patterns[f]), slice_str(topics[topic[i]]))) {
				flows[f].state[last_seq] = OWED;
				flows[f].owed++;
			}
		}
	}
	probe_until(&probe, batch->told == n);
	probe_release(batch);
	look_at_all();
}

static void settle_some(struct model_flow *m, uint32_t n)
{
	for (; n > 0 && m->pf.settled < m->looked_at; n--) {
		struct delivery *d = &m->pf.got[m->pf.settled++];
		const uint64_t seq = d->position.a;
		struct settlement s = {.handle = d->handle, .kind = SETTLE_ACK};

		event_unref(d->event);
		d->event = NULL;
		if (dice(4) == 0) {
			s.kind = SETTLE_RETRY;
			s.failures.count = ++m->failures[seq];
			flow_settle(&m->pf.f, &s, 1);
			s.kind = dice(3) ? SETTLE_RELEASE : SETTLE_PARK;
			s.delay_ms = dice(4);
			m->state[seq] = s.kind == SETTLE_PARK ? OWED | PARKED : OWED;
			m->low = m->low < seq ? m->low : seq;
		} else {
			m->state[seq] = 0;
			m->owed--;
		}
		flow_settle(&m->pf.f, &s, 1);
	}
}

static void come_or_go(int f)
{
	struct model_flow *m = &flows[f];

	if (!m->here) {
		m->grouped = f % 3 != 0;
		probe_subscribe(&probe, &m->pf, m->grouped ? "g" : NULL, patterns[f], from_new);
		m->looked_at = m->notes = 0;
		m->here = m->exists = true;
		return;
	}
	turn();
	settle_some(m, m->pf.n);
	flow_unsubscribe(&m->pf.f);
	probe_until(&probe, m->pf.gone);
	look_at_all(); /* a loss told at last */
	probe_forget(&m->pf);
	m->looked_at = 0;
	m->here = false;
	if (!m->grouped) {
		m->exists = false;
		memset(m->state, 0, sizeof(m->state));
		memset(m->failures, 0, sizeof(m->failures));
		m->owed = m->lost = m->low = 0;
	}
}

static void step(void)
{
	struct model_flow *m = &flows[dice(FLOWS)];

	switch (dice(8)) {
	case 0:
	case 1:
		publish_some();
		break;
	case 2:
	case 3:
		if (m->here) {
			flow_credit(&m->pf.f, (struct credit){dice(100), 200 + dice(20000)});
		}
		break;
	case 4:
	case 5:
		if (m->here) {
			settle_some(m, dice(100));
		}
		break;
	case 6:
		turn();
		break;
	default:
		if (dice(10) == 0) {
			come_or_go((int)(m - flows));
		}
	}
}

/* Everything owed arrives, but for what was told as lost. */
static void finish(void)
{
	for (int f = 0; f < FLOWS; f++) {
		struct model_flow *m = &flows[f];

		if (!m->here) {
			come_or_go(f);
		}
		turn();
		while (m->owed > m->lost) {
			flow_credit(&m->pf.f, (struct credit){1000, 1 << 20});
			settle_some(m, m->pf.n);
			turn(); /* what is parked comes within 3 ms */
		}
		ck_assert_uint_eq(m->owed, m->lost);
		ck_assert_uint_eq(m->pf.f.lag, 0);
		probe_leave(&probe, &m->pf);
		probe_forget(&m->pf);
	}
}

static void run_model(uint32_t with_seed, int overflow, int64_t history)
{
	memset(flows, 0, sizeof(flows));
	seed = with_seed;
	last_seq = serial = 0;
	options.overflow = overflow;
	options.history = history;
	begin();
	for (int i = 0; i < STEPS && last_seq < EVENTS_MAX - 200; i++) {
		step();
	}
	finish();
	probe_stop(&probe, false);
}

START_TEST(what_is_owed_arrives_when_there_is_room)
{
	for (uint32_t s = 1; s <= 3; s++) {
		run_model(s, MEMORY_REFUSE, 64 << 20);
	}
}
END_TEST

START_TEST(what_is_owed_arrives_when_others_are_refused)
{
	for (uint32_t s = 11; s <= 13; s++) {
		run_model(s, MEMORY_REFUSE, 100 << 10);
	}
}
END_TEST

START_TEST(what_does_not_arrive_was_told_as_lost)
{
	for (uint32_t s = 21; s <= 23; s++) {
		run_model(s, MEMORY_DROP_OLDEST, 100 << 10);
	}
}
END_TEST

int main(void)
{
	const TTest *tests[] = {
		what_is_owed_arrives_when_there_is_room,
		what_is_owed_arrives_when_others_are_refused,
		what_does_not_arrive_was_told_as_lost,
	};

	return suite_run("memory model", tests, sizeof(tests) / sizeof(tests[0]));
}
