/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests with an answer of their own: ping and admin.
 *
 * Happy path: queued, sent when connected, answered, told.
 * Failure modes: the connection is lost -> admin requests that were sent are told EVENTBUS_EIO; a
 * ping is sent again, since it only asks whether the daemon has read what came before.
 */
#include <stdlib.h>

#include "base/list.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "client/internal.h"

enum request_kind { REQUEST_PING, REQUEST_STATUS, REQUEST_EXPLAIN };

struct request {
	struct list link;
	uint64_t id;
	enum request_kind kind;
	bool sent;
	char *topic, *group;
	eventbus_reply_cb cb;
	void *ctx;
};

static struct request *request_of(struct list *link)
{
	return container_of(link, struct request, link);
}

static void finish(struct request *r, int rc, const char *json, const char *text)
{
	list_remove(&r->link);
	r->cb(r->ctx, rc, json, text);
	free(r->topic);
	free(r->group);
	free(r);
}

static void send_request(struct eventbus *c, struct request *r)
{
	Eventbus__V1__Frame f = EVENTBUS__V1__FRAME__INIT;
	Eventbus__V1__Ping ping = EVENTBUS__V1__PING__INIT;
	Eventbus__V1__Admin admin = EVENTBUS__V1__ADMIN__INIT;
	Eventbus__V1__StatusRequest status = EVENTBUS__V1__STATUS_REQUEST__INIT;
	Eventbus__V1__ExplainRequest explain = EVENTBUS__V1__EXPLAIN_REQUEST__INIT;

	ebus_settle_pump(c); /* what was settled before it goes before it */
	ping.request = admin.request = r->id;
	f.kind_case = EVENTBUS__V1__FRAME__KIND_ADMIN;
	f.admin = &admin;
	switch (r->kind) {
	case REQUEST_PING:
		f.kind_case = EVENTBUS__V1__FRAME__KIND_PING;
		f.ping = &ping;
		break;
	case REQUEST_STATUS:
		admin.what_case = EVENTBUS__V1__ADMIN__WHAT_STATUS;
		admin.status = &status;
		break;
	case REQUEST_EXPLAIN:
		admin.what_case = EVENTBUS__V1__ADMIN__WHAT_EXPLAIN;
		admin.explain = &explain;
		explain.topic = r->topic;
		explain.group = r->group;
		break;
	}
	codec_write(&c->link.out, &f);
	r->sent = true;
}

static int start(struct eventbus *c, struct request *r, eventbus_reply_cb cb, void *ctx)
{
	r->id = ++c->next_request;
	r->cb = cb;
	r->ctx = ctx;
	list_push_back(&c->requests, &r->link);
	if (c->link.state == LINK_READY) {
		send_request(c, r);
	}
	ebus_wake(c);
	return 0;
}

static int simple(struct eventbus *c, enum request_kind kind, eventbus_reply_cb cb, void *ctx)
{
	struct request *r;

	if (c->destroyed) {
		return ebus_fail(c, EVENTBUS_ESTATE, "the client is being destroyed");
	}
	r = xcalloc(1, sizeof(*r));
	r->kind = kind;
	return start(c, r, cb, ctx);
}

int ebus_request_ping(struct eventbus *c, eventbus_reply_cb cb, void *ctx)
{
	return simple(c, REQUEST_PING, cb, ctx);
}

int eventbus_status(struct eventbus *c, eventbus_reply_cb cb, void *ctx)
{
	return simple(c, REQUEST_STATUS, cb, ctx);
}

int eventbus_explain(struct eventbus *c, const char *topic, const char *group, eventbus_reply_cb cb,
		     void *ctx)
{
	struct request *r;

	group = group ? group : "";
	if (c->destroyed) {
		return ebus_fail(c, EVENTBUS_ESTATE, "the client is being destroyed");
	}
	if (!topic || !utf8_valid(slice_str(topic)) || !utf8_valid(slice_str(group))) {
		return ebus_fail(c, EVENTBUS_EINVAL, "topic or group: missing or not UTF-8");
	}
	r = xcalloc(1, sizeof(*r));
	r->kind = REQUEST_EXPLAIN;
	r->topic = xstrdup(topic);
	r->group = xstrdup(group);
	return start(c, r, cb, ctx);
}

void ebus_request_answer(struct eventbus *c, uint64_t id, int rc, const char *json,
			 const char *text)
{
	struct list *it, *next;

	list_for_each_safe (it, next, &c->requests) {
		if (request_of(it)->id == id) {
			finish(request_of(it), rc, json, text);
			return;
		}
	}
}

void ebus_requests_welcome(struct eventbus *c)
{
	struct list *it, *next;

	list_for_each_safe (it, next, &c->requests) {
		if (!request_of(it)->sent) {
			send_request(c, request_of(it));
		}
	}
}

void ebus_requests_lost(struct eventbus *c)
{
	struct list all, *it;

	list_init(&all);
	list_splice_back(&all, &c->requests);
	while ((it = list_pop_front(&all)) != NULL) {
		struct request *r = request_of(it);

		if (r->sent && r->kind != REQUEST_PING) {
			finish(r, EVENTBUS_EIO, NULL, c->error);
		} else {
			r->sent = false;
			list_push_back(&c->requests, it);
		}
	}
}

void ebus_requests_finish(struct eventbus *c)
{
	struct list *it;

	while ((it = list_pop_front(&c->requests)) != NULL) {
		finish(request_of(it), EVENTBUS_ECANCELED, NULL, "the client was closed");
	}
}
