/* SPDX-License-Identifier: Apache-2.0 */
/* Load for fault tests: a publisher with its ids, a group that acknowledges, what must be true. */
#ifndef TESTS_INTEGRATION_NATS_LOAD_H
#define TESTS_INTEGRATION_NATS_LOAD_H

#include "tests/integration/nats_setup.h"

struct load {
	struct probe *probe;
	struct probe_flow *flow;
	struct probe_batch *batch[400];
	uint32_t n_batches;
	uint32_t sent;
};

enum { LOAD_BATCH = 20 };

static inline void load_send(struct load *l, const char *topic)
{
	struct probe_batch *b = probe_batch(l->probe, LOAD_BATCH);
	char id[32];

	for (uint32_t i = 0; i < LOAD_BATCH; i++) {
		snprintf(id, sizeof(id), "%08u", l->sent++);
		b->p->items[i].event = probe_event(topic, id, id, 8);
	}
	l->batch[l->n_batches++] = b;
	adapter_publish(l->probe->a, b->p);
}

static inline uint32_t load_unanswered(const struct load *l)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < l->n_batches; i++) {
		n += LOAD_BATCH - l->batch[i]->told;
	}
	return n;
}

static inline void load_settle(struct load *l)
{
	struct probe_flow *f = l->flow;
	struct settlement s[64];

	while (f->settled < f->n) {
		uint32_t n = 0;

		for (; n < 64 && f->settled < f->n; n++, f->settled++) {
			s[n] = (struct settlement){.handle = f->got[f->settled].handle,
						   .kind = SETTLE_ACK};
		}
		flow_settle(&f->f, s, n);
	}
	flow_credit(&f->f, (struct credit){200, 1 << 20});
}

static inline void load_turn(struct load *l)
{
	uv_run(&l->probe->loop, UV_RUN_ONCE);
	load_settle(l);
	if (l->n_batches < 300 && load_unanswered(l) < 400) {
		load_send(l, "a");
	}
}

/* Every number up to sent came, and the first time in order. */
static inline bool load_complete(const struct load *l, bool *in_order)
{
	uint8_t *seen = xcalloc(l->sent, 1);
	uint32_t distinct = 0, expect = 0;

	*in_order = true;
	for (uint32_t i = 0; i < l->flow->n; i++) {
		const uint32_t n =
			(uint32_t)strtoul((const char *)l->flow->got[i].event->payload.p, NULL, 10);

		ck_assert_uint_lt(n, l->sent);
		if (!seen[n]) {
			*in_order = *in_order && n == expect;
			expect = n + 1;
			seen[n] = 1;
			distinct++;
		}
	}
	free(seen);
	return distinct == l->sent;
}

#endif
