/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The subscriptions that a session has: their numbers, so that none is used twice, and their
 * names, so that a reload that withdraws a right ends them.
 */
#include "daemon/session_impl.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "daemon/access.h"

struct session_names {
	uint32_t number;
	uint32_t n_patterns;
	bool withdrawn; /* a reload ended it; the last deliveries are being settled */
	char names[];	/* the group (may be empty), then the patterns, each with its NUL */
};

static uint32_t find(const struct session *s, uint32_t number)
{
	uint32_t i = 0;

	while (i < s->n_subscriptions && s->subscriptions[i]->number != number) {
		i++;
	}
	return i;
}

bool session_names_has(const struct session *s, uint32_t number)
{
	return find(s, number) < s->n_subscriptions;
}

void session_names_add(struct session *s, const Eventbus__V1__Subscribe *r)
{
	size_t size = strlen(r->group) + 1, i;
	struct session_names *n;
	char *p;

	for (i = 0; i < r->n_patterns; i++) {
		size += strlen(r->patterns[i]) + 1;
	}
	n = xmalloc(sizeof(*n) + size);
	n->number = r->subscription;
	n->n_patterns = (uint32_t)r->n_patterns;
	n->withdrawn = false;
	p = stpcpy(n->names, r->group) + 1;
	for (i = 0; i < r->n_patterns; i++) {
		p = stpcpy(p, r->patterns[i]) + 1;
	}
	s->subscriptions = xrealloc((void *)s->subscriptions,
				    (s->n_subscriptions + 1) * sizeof(*s->subscriptions));
	s->subscriptions[s->n_subscriptions++] = n;
}

void session_names_remove(struct session *s, uint32_t number)
{
	uint32_t i = find(s, number);

	if (i < s->n_subscriptions) {
		free(s->subscriptions[i]);
		s->subscriptions[i] = s->subscriptions[--s->n_subscriptions];
	}
}

void session_names_finish(struct session *s)
{
	while (s->n_subscriptions > 0) {
		free(s->subscriptions[--s->n_subscriptions]);
	}
	free((void *)s->subscriptions);
	s->subscriptions = NULL;
}

static bool still_allowed(const struct session *s, const struct session_names *n,
			  struct answer *why)
{
	const char *p = n->names + strlen(n->names) + 1;
	uint32_t i;

	for (i = 0; i < n->n_patterns; i++) {
		if (!access_subscribe(s->set->config, (int64_t)s->uid, slice_str(p),
				      slice_str(n->names), why)) {
			return false;
		}
		p += strlen(p) + 1;
	}
	return true;
}

void session_names_recheck(struct session *s)
{
	struct answer why;
	uint32_t i;

	for (i = 0; i < s->n_subscriptions; i++) {
		struct session_names *n = s->subscriptions[i];

		if (!n->withdrawn && !still_allowed(s, n, &why)) {
			n->withdrawn = true;
			log_warn(s->tag, "subscription ended by the reload: %s subscription=%u",
				 why.text, n->number);
			session_refuse_subscription(s, n->number, &why);
			client_unsubscribe(s->client, n->number);
		}
	}
}
