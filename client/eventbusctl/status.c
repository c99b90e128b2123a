/* SPDX-License-Identifier: Apache-2.0 */
/*
 * status: the daemon's answer, cut down to what a person looks for first. --json has all of it.
 */
#include <inttypes.h>
#include <string.h>

#include "client/eventbusctl/ctl.h"

/* What is shown of each flow, under which heading. */
struct column {
	const char *key, *title;
};

static const struct column flow_columns[] = {
	{"pattern", "pattern"},	    {"broker", "broker"},
	{"state", "state"},	    {"why", "why"},
	{"members", "members"},	    {"lag", "lag"},
	{"in_flight", "in flight"}, {"waiting", "in retry"},
	{"acked", "acked"},	    {"retried", "retried"},
	{"dead_lettered", "dead"},  {"dropped", "dropped"},
	{"lost", "lost"},	    {NULL, NULL},
};
static const struct column broker_columns[] = {
	{"name", "name"}, {"kind", "kind"}, {"state", "state"}, {"why", "why"}, {NULL, NULL}};
static const struct column client_columns[] = {{"session", "session"},
					       {"name", "name"},
					       {"pid", "pid"},
					       {"uid", "uid"},
					       {"outstanding", "in hand"},
					       {"publishing_events", "publishing"},
					       {"unwritten_bytes", "unwritten bytes"},
					       {NULL, NULL}};

static bool is_blank(const json_t *v)
{
	return !v || json_is_null(v) || (json_is_string(v) && json_string_length(v) == 0);
}

/* A column that is empty in every row is left out. */
static bool is_used(const json_t *rows, const char *key)
{
	const json_t *row;
	size_t i;

	json_array_foreach(rows, i, row)
	{
		if (!is_blank(json_object_get(row, key))) {
			return true;
		}
	}
	return false;
}

static json_t *pick(const json_t *rows, const struct column *columns)
{
	json_t *out = json_array();
	const json_t *row;
	size_t i;

	json_array_foreach(rows, i, row)
	{
		json_t *o = json_object();

		for (const struct column *c = columns; c->key; c++) {
			json_t *v = json_object_get(row, c->key);

			if (is_used(rows, c->key)) {
				json_object_set_new(o, c->title, v ? json_incref(v) : json_null());
			}
		}
		json_array_append_new(out, o);
	}
	return out;
}

static json_t *brokers(const json_t *status)
{
	const json_t *rows = json_object_get(status, "brokers");
	json_t *row;
	size_t i;

	json_array_foreach(rows, i, row)
	{
		bool up = json_is_true(json_object_get(row, "connected"));

		json_object_set_new(row, "state", json_string(up ? "connected" : "away"));
	}
	return pick(rows, broker_columns);
}

/* One row per flow, with its group in front. */
static json_t *groups(const json_t *status)
{
	const json_t *all = json_object_get(status, "groups"), *group;
	json_t *out = json_array();
	size_t i, k;

	json_array_foreach(all, i, group)
	{
		json_t *rows = pick(json_object_get(group, "flows"), flow_columns), *row;

		json_array_foreach(rows, k, row)
		{
			json_t *o = json_pack("{s:O,s:O}", "group", json_object_get(group, "name"),
					      "order", json_object_get(group, "order"));

			if (o) {
				json_object_update(o, row);
				json_array_append_new(out, o);
			}
		}
		json_decref(rows);
	}
	return out;
}

static void print_totals(const struct ctl *ctl, const json_t *totals)
{
	const char *key, *comma = "";
	json_t *v;

	json_object_foreach((json_t *)(uintptr_t)totals, key, v)
	{
		if (json_is_integer(v) && json_integer_value(v) != 0) {
			printf("%s%s%s%s %" JSON_INTEGER_FORMAT, comma, ctl_paint(ctl, DIM), key,
			       ctl_paint(ctl, PLAIN), json_integer_value(v));
			comma = ", ";
		}
	}
	puts(*comma ? "" : "nothing published yet");
}

static double mib(const json_t *daemon, const char *key)
{
	return json_number_value(json_object_get(daemon, key)) / 1048576;
}

static void print_head(const struct ctl *ctl, const json_t *daemon)
{
	const char *version = json_string_value(json_object_get(daemon, "version"));
	const char *socket = json_string_value(json_object_get(daemon, "socket"));

	printf("%seventbusd %s%s%s, pid %" JSON_INTEGER_FORMAT ", up %.0f s, %s\n",
	       ctl_paint(ctl, BOLD), version ? version : "?", ctl_paint(ctl, PLAIN),
	       json_is_true(json_object_get(daemon, "draining")) ? ", draining" : "",
	       json_integer_value(json_object_get(daemon, "pid")),
	       json_number_value(json_object_get(daemon, "uptime_ms")) / 1e3,
	       socket ? socket : "?");
	printf("memory %.1f of %.0f MiB, clients %" JSON_INTEGER_FORMAT "\n",
	       mib(daemon, "memory_used"), mib(daemon, "memory_limit"),
	       json_integer_value(json_object_get(daemon, "clients")));
}

static void print_section(const struct ctl *ctl, const char *title, json_t *rows)
{
	printf("\n%s%s%s\n", ctl_paint(ctl, CYAN), title, ctl_paint(ctl, PLAIN));
	if (json_array_size(rows) == 0) {
		puts("none");
	} else {
		ctl_render(ctl, rows);
	}
	json_decref(rows);
}

void ctl_show_status(const struct ctl *ctl, json_t *status)
{
	const json_t *daemon = json_object_get(status, "daemon");

	if (!daemon) { /* not an answer that we know */
		ctl_render(ctl, status);
		return;
	}
	print_head(ctl, daemon);
	print_totals(ctl, json_object_get(status, "totals"));
	print_section(ctl, "brokers", brokers(status));
	print_section(ctl, "groups", groups(status));
	print_section(ctl, "clients", pick(json_object_get(status, "clients"), client_columns));
}
