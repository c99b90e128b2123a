/* SPDX-License-Identifier: Apache-2.0 */
/* Values that are right one by one and cannot go together. */
#include "config/check.h"

#include <errno.h>
#include <grp.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/topic.h"
#include "config/rules.h"
#include "config/units.h"

#define LIMIT(field) offsetof(struct config, limits.field)

/* One value must not be above another. */
struct above {
	size_t low, high;
	const char *low_name, *high_name;
	bool bytes;
	bool given; /* only when the file sets the low one: its default gives way */
};

static const struct above limits[] = {
	{LIMIT(per_client), LIMIT(memory), "per_client", "memory", true, false},
	{LIMIT(in_flight_events), LIMIT(max_in_flight_events), "in_flight_events",
	 "max_in_flight_events", false, false},
	{LIMIT(in_flight_bytes), LIMIT(max_in_flight_bytes), "in_flight_bytes",
	 "max_in_flight_bytes", true, false},
	{LIMIT(max_in_flight_bytes), LIMIT(per_client), "max_in_flight_bytes", "per_client", true,
	 true},
	{LIMIT(publish_bytes), LIMIT(memory), "publish_bytes", "memory", true, true},
};

static struct unit_text amount(bool bytes, int64_t v)
{
	struct unit_text t;

	if (bytes) {
		return units_size_text(v);
	}
	snprintf(t.s, sizeof(t.s), "%" PRId64, v);
	return t;
}

static void check_limit(const struct config *c, const struct above *a, struct report *report)
{
	const struct path section = {.key = "limits"};
	struct path here = {.up = &section, .key = a->low_name};
	int64_t low = *(const int64_t *)(const void *)((const char *)c + a->low);
	int64_t high = *(const int64_t *)(const void *)((const char *)c + a->high);
	struct mark at = marks_find(c->marks, a->low);

	if (low <= high || (a->given && !at.line) || marks_refused(c->marks, a->low) ||
	    marks_refused(c->marks, a->high)) {
		return;
	}
	report_add(report, at.line ? at : marks_find(c->marks, a->high), &here,
		   "%s%s is above %s %s; lower it to %s or less", amount(a->bytes, low).s,
		   at.line ? "" : " (the default)", a->high_name, amount(a->bytes, high).s,
		   amount(a->bytes, high).s);
}

bool config_group_id(const char *group, uint32_t *gid)
{
	const struct group *g;
	char *end;
	unsigned long long n;

	if (group[strspn(group, "0123456789")] == '\0') {
		errno = 0;
		n = strtoull(group, &end, 10);
		*gid = (uint32_t)n;
		return group[0] && !errno && n < UINT32_MAX;
	}
	g = getgrnam(group);
	*gid = g ? (uint32_t)g->gr_gid : 0;
	return g != NULL;
}

static void check_group(const struct config *c, const struct path *section, struct report *report)
{
	const struct path here = {.up = section, .key = "group"};
	uint32_t gid;

	if (c->socket.group && !config_group_id(c->socket.group, &gid)) {
		report_add(report, marks_find(c->marks, offsetof(struct config, socket.group)),
			   &here, "no group \"%s\" on this machine; create it or give its number",
			   show(c->socket.group).s);
	}
}

static void check_socket(const struct config *c, struct report *report)
{
	const struct path section = {.key = "socket"};
	struct path path = {.up = &section, .key = "path"};
	struct path frame = {.up = &section, .key = "max_frame"};
	struct mark at = marks_find(c->marks, offsetof(struct config, socket.path));

	/* sockaddr_un.sun_path, less the terminator. */
	if (c->socket.path && (c->socket.path[0] != '/' || strlen(c->socket.path) > 107)) {
		report_add(report, at, &path, "%s",
			   c->socket.path[0] != '/' ? "must be absolute: begin it with /"
						    : "longer than the 107 bytes of a Unix socket");
	}
	check_group(c, &section, report);
	at = marks_find(c->marks, offsetof(struct config, socket.max_frame));
	if (at.line && !marks_refused(c->marks, LIMIT(per_client)) &&
	    c->socket.max_frame > c->limits.per_client) {
		report_add(report, at, &frame, "%s is above limits.per_client %s",
			   amount(true, c->socket.max_frame).s,
			   amount(true, c->limits.per_client).s);
	}
}

/* ---- rules ----------------------------------------------------------------- */

/* A rule, with what it comes to where nothing more specific speaks. */
struct checked {
	const struct rule *rule;
	const struct policy *p;
	const struct config *config;
	const struct path *path;
	struct report *report;
};

static void complain(const struct checked *k, enum policy_field f, const char *text)
{
	struct path here = {.up = k->path, .key = policy_field_name(f)};

	report_add(k->report, rule_mark(k->rule, f), &here, "%s", text);
}

static bool says(const struct checked *k, enum policy_field f)
{
	return k->rule->line[f] != 0;
}

static void check_lease(const struct checked *k)
{
	const struct path here = {.up = k->path, .key = "lease"};
	int64_t most = k->config->limits.max_lease_ms;
	bool said = says(k, POLICY_LEASE);

	/* A rule that leaves the lease out has that of a rule which is checked itself. */
	if (k->p->lease_ms > most && (said || !k->rule->label)) {
		report_add(k->report,
			   said ? rule_mark(k->rule, POLICY_LEASE)
				: marks_find(k->config->marks, LIMIT(max_lease_ms)),
			   &here, "%s%s is above limits.max_lease %s",
			   units_duration_text(k->p->lease_ms).s, said ? "" : " (the default)",
			   units_duration_text(most).s);
	}
}

static void check_delays(const struct checked *k)
{
	struct err_text t;
	enum policy_field f =
		says(k, POLICY_INITIAL_DELAY) ? POLICY_INITIAL_DELAY : POLICY_MAX_DELAY;

	if (k->p->backoff.initial_ms > k->p->backoff.max_ms && says(k, f)) {
		err_set(&t, 0,
			"initial_delay %s is above max_delay %s; lower the one or raise the other",
			units_duration_text(k->p->backoff.initial_ms).s,
			units_duration_text(k->p->backoff.max_ms).s);
		complain(k, f, t.s);
	}
	if (says(k, POLICY_MULTIPLIER) && k->p->backoff.kind != BACKOFF_EXPONENTIAL) {
		complain(k, POLICY_MULTIPLIER,
			 "has no meaning unless backoff is exponential; remove it");
	}
}

static void check_sizes(const struct checked *k)
{
	if (says(k, POLICY_WINDOW_BYTES) && k->p->window_bytes > k->config->limits.memory) {
		complain(k, POLICY_WINDOW_BYTES, "is above limits.memory");
	}
	for (int never = 0; never < 2; never++) {
		const struct option_strings *l =
			never ? &k->rule->retry.never_on : &k->rule->retry.retry_on;
		for (size_t i = 0; i < l->n; i++) {
			if (strlen(l->v[i]) > 256) {
				complain(k, never ? POLICY_NEVER_ON : POLICY_RETRY_ON,
					 "a pattern is longer than 256 bytes");
			}
		}
	}
}

static void check_dead_letters(const struct checked *k)
{
	char topic[TOPIC_MAX + 1];
	const char *t = k->rule->dlq.topic;
	/* Names that stand for any; a real one may still be too long, which subscribe finds. */
	struct policy p = {.dlq_topic = t};

	if (k->p->dlq_off && k->p->unmatched == UNMATCHED_DEAD_LETTER &&
	    (says(k, POLICY_UNMATCHED) || says(k, POLICY_DLQ_TOPIC))) {
		complain(k, says(k, POLICY_UNMATCHED) ? POLICY_UNMATCHED : POLICY_DLQ_TOPIC,
			 "unmatched: dead_letter cannot go with dlq: off");
	}
	if (!says(k, POLICY_DLQ_TOPIC) || k->rule->dlq.off) {
		return;
	}
	if (policy_dlq_topic(&p, slice_str("t"), "g", topic)) {
		complain(k, POLICY_DLQ_TOPIC,
			 "must be a topic, with {group} and {topic} as the only placeholders; say "
			 "\"dlq.{group}\"");
	} else if (strcmp(t, "{topic}") == 0 ||
		   (k->rule->match && strcmp(t, k->rule->match) == 0)) {
		complain(k, POLICY_DLQ_TOPIC,
			 "would send dead letters back to the topic they come from");
	}
}

static void check_rule(const struct checked *k)
{
	check_delays(k);
	check_lease(k);
	check_sizes(k);
	check_dead_letters(k);
	if (k->rule->interop != POLICY_INTEROP_NONE && !k->rule->group) {
		complain(k, POLICY_INTEROP, "needs a group: it changes the names of one group");
	}
}

/* Without any `dlq: off` in the file `on_exhausted` could never act. */
static void check_exhausted(const struct checked *k, bool any_dlq_off)
{
	if (!any_dlq_off && says(k, POLICY_ON_EXHAUSTED) &&
	    k->rule->on_exhausted != EXHAUSTED_KEEP) {
		complain(k, POLICY_ON_EXHAUSTED, "acts only with dlq: off, which no rule says");
	}
}

static bool same_names(const struct rule *a, const struct rule *b)
{
	if (strcmp(a->match, b->match) != 0) {
		return false;
	}
	return a->group ? b->group && strcmp(a->group, b->group) == 0 : !b->group;
}

/* Sorted as they are, only neighbours can be equally specific for some topic. */
static void check_tie(const struct checked *k, const struct rule *before)
{
	if (same_names(before, k->rule)) {
		report_add(k->report, k->rule->at, k->path,
			   "same match and group as topics[%u] on line %u, so neither wins; merge "
			   "them",
			   (unsigned)before->index, (unsigned)before->at.line);
	}
}

/* Ties, and values of a rule that cannot go together. */
static void check_rules(const struct config *c, struct report *report)
{
	const struct config_rules *r = c->rules;
	const struct config_rules only_defaults = {.defaults = r->defaults};
	struct path section = {.key = "defaults"}, item = {.up = &section};
	struct policy p;
	struct checked k = {&r->defaults, &p, c, &section, report};
	bool any_dlq_off = r->defaults.dlq.off;

	for (uint32_t i = 0; i < r->n_topics; i++) {
		any_dlq_off |= r->topics[i].dlq.off != 0;
	}
	rules_resolve(&only_defaults, slice_str("any"), NULL, &p);
	check_rule(&k);
	check_exhausted(&k, any_dlq_off);
	section.key = "topics";
	k.path = &item;
	for (uint32_t i = 0; i < r->n_topics; i++) {
		k.rule = &r->topics[i];
		item.index = k.rule->index;
		rules_resolve(r, slice_str(k.rule->match), k.rule->group, &p);
		check_rule(&k);
		check_exhausted(&k, any_dlq_off);
		if (i > 0) {
			check_tie(&k, &r->topics[i - 1]);
		}
	}
}

void config_check(const struct config *c, bool rules_ok, struct report *report)
{
	check_socket(c, report);
	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
		check_limit(c, &limits[i], report);
	}
	if (rules_ok && !marks_refused(c->marks, LIMIT(max_lease_ms)) &&
	    !marks_refused(c->marks, LIMIT(memory))) {
		check_rules(c, report);
	}
}

static bool drops(const struct rule *r, const struct policy *p)
{
	return p->dlq_off && p->on_exhausted == EXHAUSTED_DROP &&
	       (r->line[POLICY_DLQ_TOPIC] || r->line[POLICY_ON_EXHAUSTED]);
}

void config_warn(const struct config *c, void (*say)(void *ctx, const char *text), void *ctx)
{
	const struct config_rules *r = c->rules;
	const struct config_rules only_defaults = {.defaults = r->defaults};
	struct policy p;
	struct err_text t;

	rules_resolve(&only_defaults, slice_str("any"), NULL, &p);
	if (drops(&r->defaults, &p)) {
		say(ctx, "defaults: exhausted events are dropped: dlq: off, on_exhausted: drop");
	}
	for (uint32_t i = 0; i < r->n_topics; i++) {
		const struct rule *rule = &r->topics[i];

		rules_resolve(r, slice_str(rule->match), rule->group, &p);
		if (drops(rule, &p)) {
			err_set(&t, 0,
				"%.300s: exhausted events are dropped: dlq: off, on_exhausted: "
				"drop (line %u)",
				rule->label, (unsigned)rule->at.line);
			say(ctx, t.s);
		}
	}
}
