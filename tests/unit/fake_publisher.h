/* SPDX-License-Identifier: Apache-2.0 */
/* A publisher that writes down its answers, for tests against the fake daemon. */
#ifndef TESTS_UNIT_FAKE_PUBLISHER_H
#define TESTS_UNIT_FAKE_PUBLISHER_H

#include "tests/unit/fake_daemon.h"

#define TOPIC "orders.created"

struct seen {
	int told;
	struct eventbus *client;
	struct eventbus_receipt last;
	char order[256]; /* one letter per answer: outcome as a digit */
};

static inline void on_published(void *ctx, const struct eventbus_result *r)
{
	struct seen *s = ctx;

	s->order[s->told++] = (char)('0' + r->outcome);
	s->last.outcome = r->outcome;
	s->last.reason = r->reason;
	s->last.duplicate = r->duplicate;
	snprintf(s->last.text, sizeof(s->last.text), "%s", r->text);
	snprintf(s->last.position, sizeof(s->last.position), "%s", r->position);
	snprintf(s->last.id, sizeof(s->last.id), "%.*s", (int)r->id.n, r->id.p);
}

static inline int publish(struct eventbus *c, const char *payload, struct seen *s)
{
	const struct eventbus_message m = {
		.topic = TOPIC, .payload = payload, .payload_size = strlen(payload)};

	return eventbus_publish(c, &m, on_published, s);
}

static inline void publish_n(struct eventbus *c, int n, struct seen *s)
{
	for (int i = 0; i < n; i++) {
		ck_assert_int_eq(publish(c, "x", s), 0);
	}
}

#endif
