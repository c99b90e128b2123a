/* SPDX-License-Identifier: Apache-2.0 */
/* The policy of a topic and a group, value by value, with the line of the file each came from. */
#include <stdio.h>

#include "base/topic.h"
#include "config/units.h"
#include "daemon/bus_impl.h"

static json_t *strings(const struct option_strings *s)
{
	json_t *list = json_array();

	for (size_t i = 0; i < s->n; i++) {
		json_array_append_new(list, json_string(s->v[i]));
	}
	return list;
}

static json_t *duration(int64_t ms)
{
	return json_string(units_duration_text(ms).s);
}

static json_t *value_of(const struct policy *p, enum policy_field f)
{
	static const char *const orders[] = {"none", "key", "topic"};
	static const char *const kinds[] = {"exponential", "linear", "fixed"};

	switch (f) {
	case POLICY_ORDER:
		return json_string(orders[p->order]);
	case POLICY_LEASE:
		return duration(p->lease_ms);
	case POLICY_MAX_RETRIES:
		return json_integer(p->max_retries);
	case POLICY_BACKOFF:
		return json_string(kinds[p->backoff.kind]);
	case POLICY_INITIAL_DELAY:
		return duration(p->backoff.initial_ms);
	case POLICY_MAX_DELAY:
		return duration(p->backoff.max_ms);
	case POLICY_MULTIPLIER:
		return json_real(p->backoff.multiplier);
	case POLICY_JITTER:
		return json_real(p->backoff.jitter);
	case POLICY_MAX_AGE:
		return duration(p->max_age_ms);
	case POLICY_RETRY_ON:
		return strings(&p->retry_on);
	case POLICY_NEVER_ON:
		return strings(&p->never_on);
	case POLICY_WINDOW_EVENTS:
		return json_integer(p->window_events);
	case POLICY_WINDOW_BYTES:
		return json_string(units_size_text(p->window_bytes).s);
	case POLICY_DLQ_TOPIC:
		return json_string(p->dlq_off ? "off" : p->dlq_topic);
	case POLICY_ON_EXHAUSTED:
		return json_string(p->on_exhausted == EXHAUSTED_DROP ? "drop" : "keep");
	case POLICY_UNMATCHED:
		return json_string(p->unmatched == UNMATCHED_DEAD_LETTER ? "dead_letter" : "keep");
	case POLICY_INTEROP:
		return json_string(p->interop == POLICY_INTEROP_CONNECTUM ? "connectum" : "none");
	case POLICY_FIELDS:
		break;
	}
	return json_null();
}

static json_t *explain_field(const struct policy *p, enum policy_field f)
{
	json_t *o = json_object();

	json_object_set_new(o, "name", json_string(policy_field_name(f)));
	json_object_set_new(o, "value", value_of(p, f));
	json_object_set_new(o, "line", json_integer(p->line[f]));
	json_object_set_new(o, "rule", json_string(p->rule[f] ? p->rule[f] : "built in"));
	return o;
}

json_t *bus_explain(const struct bus *b, const char *topic, const char *group)
{
	const char *name = group && group[0] ? group : NULL;
	json_t *o = json_object(), *values = json_array();
	char dlq[TOPIC_MAX + 1];
	struct policy p;

	policy_resolve(b->config, slice_str(topic), name, &p);
	json_object_set_new(o, "topic", json_string(topic));
	json_object_set_new(o, "group", name ? json_string(name) : json_null());
	for (int f = 0; f < POLICY_FIELDS; f++) {
		json_array_append_new(values, explain_field(&p, (enum policy_field)f));
	}
	json_object_set_new(o, "values", values);
	if (p.dlq_off || policy_dlq_topic(&p, slice_str(topic), name, dlq) < 0) {
		json_object_set_new(o, "dlq_topic", json_null());
	} else {
		json_object_set_new(o, "dlq_topic", json_string(dlq));
	}
	return o;
}
