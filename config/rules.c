/* SPDX-License-Identifier: Apache-2.0 */
#include "config/rules.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/topic.h"
#include "config/tables.h"

#define RULE(field) offsetof(struct rule, field)

static const struct {
	const char *name;
	size_t offset;
} fields[POLICY_FIELDS] = {
	[POLICY_ORDER] = {"order", RULE(order)},
	[POLICY_LEASE] = {"lease", RULE(lease_ms)},
	[POLICY_MAX_RETRIES] = {"retry.max_retries", RULE(retry.max_retries)},
	[POLICY_BACKOFF] = {"retry.backoff", RULE(retry.backoff)},
	[POLICY_INITIAL_DELAY] = {"retry.initial_delay", RULE(retry.initial_delay_ms)},
	[POLICY_MAX_DELAY] = {"retry.max_delay", RULE(retry.max_delay_ms)},
	[POLICY_MULTIPLIER] = {"retry.multiplier", RULE(retry.multiplier)},
	[POLICY_JITTER] = {"retry.jitter", RULE(retry.jitter)},
	[POLICY_MAX_AGE] = {"retry.max_age", RULE(retry.max_age_ms)},
	[POLICY_RETRY_ON] = {"retry.retry_on", RULE(retry.retry_on)},
	[POLICY_NEVER_ON] = {"retry.never_on", RULE(retry.never_on)},
	[POLICY_WINDOW_EVENTS] = {"retry.window_events", RULE(retry.window_events)},
	[POLICY_WINDOW_BYTES] = {"retry.window_bytes", RULE(retry.window_bytes)},
	[POLICY_DLQ_TOPIC] = {"dlq.topic", RULE(dlq.topic)},
	[POLICY_ON_EXHAUSTED] = {"on_exhausted", RULE(on_exhausted)},
	[POLICY_UNMATCHED] = {"unmatched", RULE(unmatched)},
	[POLICY_INTEROP] = {"interop", RULE(interop)},
};

const char *policy_field_name(enum policy_field f)
{
	return fields[f].name;
}

static struct mark mark_in_file(const struct rule *r, enum policy_field f)
{
	struct mark at = marks_find(&r->marks, fields[f].offset);

	if (!at.line && f == POLICY_DLQ_TOPIC) {
		at = marks_find(&r->marks, RULE(dlq.off));
	}
	return at;
}

struct mark rule_mark(const struct rule *r, enum policy_field f)
{
	struct mark at = mark_in_file(r, f);

	return at.line ? at : r->at;
}

/* Which values the rule says, and where. */
static void note_lines(struct rule *r)
{
	for (int f = 0; f < POLICY_FIELDS; f++) {
		r->line[f] = mark_in_file(r, (enum policy_field)f).line;
		r->set |= r->line[f] ? 1u << f : 0;
	}
}

static void rule_finish(struct rule *r)
{
	option_free(topic_options, r);
	marks_finish(&r->marks);
	free(r->label);
}

struct config_rules *rules_create(void)
{
	struct config_rules *r = xcalloc(1, sizeof(*r));

	bind_defaults(defaults_options, &r->defaults);
	r->defaults.set = (1u << POLICY_FIELDS) - 1;
	return r;
}

void rules_destroy(struct config_rules *r)
{
	if (!r) {
		return;
	}
	for (uint32_t i = 0; i < r->n_topics; i++) {
		rule_finish(&r->topics[i]);
	}
	free(r->topics);
	rule_finish(&r->defaults);
	free(r);
}

void rules_bind_defaults(struct config_rules *r, struct report *report, const struct path *path,
			 const struct node *node)
{
	struct bind b = {.report = report, .target = &r->defaults, .marks = &r->defaults.marks};

	bind_map(&b, path, node, defaults_options, 0);
	r->defaults.at = node->at;
	note_lines(&r->defaults);
}

/* The patterns of an entry; false: reported. */
static bool names_valid(const struct rule *r, struct report *report, const struct path *path)
{
	struct path match = {.up = path, .key = "match"}, group = {.up = path, .key = "group"};
	struct err_text err;
	struct mark at;
	bool valid = true;

	if (pattern_check(slice_str(r->match), &err)) {
		at = marks_find(&r->marks, RULE(match));
		report_add(report, at, &match, "%s", err.s);
		valid = false;
	}
	if (r->group && group_check(slice_str(r->group), &err)) {
		at = marks_find(&r->marks, RULE(group));
		report_add(report, at, &group, "%s", err.s);
		valid = false;
	}
	return valid;
}

static void bind_topic(struct config_rules *rules, struct report *report, const struct path *path,
		       const struct node *node)
{
	const struct option match_only[] = {*option_find(topic_options, "match"), {0}};
	struct rule r = {.at = node->at, .index = path->index};
	struct bind b = {.report = report, .target = &r, .marks = &r.marks};

	bind_defaults(match_only, &r);
	bind_map(&b, path, node, topic_options, 0);
	if (!names_valid(&r, report, path)) {
		rule_finish(&r);
		return;
	}
	note_lines(&r);
	r.label = xasprintf("topics[%u] match=%s%s%s", (unsigned)r.index, r.match,
			    r.group ? " group=" : "", r.group ? r.group : "");
	rules->topics[rules->n_topics++] = r;
}

/* The most specific first: match, then with a group before without. */
static int compare_rules(const void *a, const void *b)
{
	const struct rule *x = a, *y = b;
	int d = pattern_compare(slice_str(x->match), slice_str(y->match));

	if (d) {
		return d;
	}
	if (!x->group != !y->group) {
		return x->group ? -1 : 1;
	}
	d = x->group ? strcmp(x->group, y->group) : 0;
	return d ? d : (int)x->index - (int)y->index;
}

void rules_bind_topics(struct config_rules *r, struct report *report, const struct path *path,
		       const struct node *node)
{
	struct path item = {.up = path};
	uint32_t n = 0;

	if (node->kind != NODE_LIST) {
		if (node->kind == NODE_SCALAR || node->kind == NODE_MAP) {
			report_add(report, node->at, path,
				   "must be a list of maps, such as [{match: \"orders.>\"}]");
		}
		return;
	}
	for (const struct node *i = node->first; i; i = i->next) {
		n++;
	}
	r->topics = xcalloc(n, sizeof(*r->topics));
	for (const struct node *i = node->first; i; i = i->next, item.index++) {
		bind_topic(r, report, &item, i);
	}
	if (r->n_topics) {
		qsort(r->topics, r->n_topics, sizeof(*r->topics), compare_rules);
	}
}
