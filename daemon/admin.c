/* SPDX-License-Identifier: Apache-2.0 */
/* Admin requests: what the daemon knows about itself, as JSON (PROTOCOL.md, "Admin"). */
#include "daemon/session_impl.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/topic.h"

static void reply(struct session *s, uint64_t request, json_t *json)
{
	Eventbus__V1__Frame f = EVENTBUS__V1__FRAME__INIT;
	Eventbus__V1__AdminReply m = EVENTBUS__V1__ADMIN_REPLY__INIT;
	struct answer why;
	char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;

	json_decref(json);
	if (!text) {
		session_refuse_request(s, request,
				       answer_set(&why, OUTCOME_NOT_STORED, REASON_OVERLOADED,
						  "admin: no memory for the answer"));
		return;
	}
	m.request = request;
	m.json = text;
	f.kind_case = EVENTBUS__V1__FRAME__KIND_ADMIN_REPLY;
	f.admin_reply = &m;
	session_send(s, &f);
	free(text);
}

static json_t *daemon_status(const struct sessions *set)
{
	return json_pack("{s:s,s:s,s:i,s:s,s:I,s:b,s:I,s:I,s:I}", "version", EVENTBUS_VERSION,
			 "instance", set->instance, "pid", (int)getpid(), "socket", set->socket,
			 "uptime_ms", (json_int_t)(clock_mono_ms() - set->started_ms), "draining",
			 (int)set->draining, "memory_used", (json_int_t)set->budget->used,
			 "memory_limit", (json_int_t)set->budget->limit, "clients",
			 (json_int_t)set->open);
}

/* {"daemon": {...}, "clients": [...], and what bus_status says: "brokers", "groups"...} */
static json_t *status(struct session *s)
{
	json_t *all = bus_status(s->set->bus);

	if (all) {
		json_object_set_new(all, "daemon", daemon_status(s->set));
		json_object_set_new(all, "clients", sessions_status(s->set));
	}
	return all;
}

static json_t *explain(struct session *s, uint64_t request, const Eventbus__V1__ExplainRequest *r)
{
	struct err_text err;
	struct answer why;
	int rc = pattern_check(slice_str(r->topic), &err);

	if (rc == 0 && r->group[0]) {
		rc = group_check(slice_str(r->group), &err);
	}
	if (rc != 0) {
		session_refuse_request(s, request,
				       answer_set(&why, OUTCOME_PERMANENT, REASON_INVALID,
						  "admin.explain: %s", err.s));
		return NULL;
	}
	return bus_explain(s->set->bus, r->topic, r->group[0] ? r->group : NULL);
}

void session_admin(struct session *s, const Eventbus__V1__Admin *r)
{
	struct answer why;
	json_t *json;

	session_spend(s, SESSION_ADMIN_COST);
	if (session_unwritten(s) > (size_t)s->set->config->limits.unwritten_bytes) {
		session_refuse_request(s, r->request,
				       answer_set(&why, OUTCOME_NOT_STORED, REASON_OVERLOADED,
						  "admin: read the answers first"));
		return;
	}
	switch (r->what_case) {
	case EVENTBUS__V1__ADMIN__WHAT_STATUS:
		reply(s, r->request, status(s));
		break;
	case EVENTBUS__V1__ADMIN__WHAT_EXPLAIN:
		json = explain(s, r->request, r->explain);
		if (json) {
			reply(s, r->request, json);
		}
		break;
	default:
		session_refuse_request(s, r->request,
				       answer_set(&why, OUTCOME_PERMANENT, REASON_INVALID,
						  "admin: asks for nothing"));
		break;
	}
}
