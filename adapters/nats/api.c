/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests with one answer, without blocking: the JetStream JSON API, and single messages whose
 * confirmation matters (failure records, leases).
 *
 * Happy path: api_request publishes with the reply subject <inbox>a.<id>; api_on_reply finds the
 * call by the id and tells it.
 * Failure modes: no connection, or the library refuses: told EB_ECANCELED at the next turn. No
 * answer in NATS_REQUEST_MS: EB_ETIMEDOUT. The server says that nobody listens, without saying
 * for which request: all that are open get EB_EAGAIN. Connection lost: all get EB_ECANCELED.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapters/nats/nats.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"

struct api_call {
	struct table_entry entry; /* of api->calls, by id */
	struct list link;	  /* on api->waiting or api->failed */
	uint64_t id;
	int64_t deadline_ms;
	api_cb cb; /* NULL: nobody wants to know */
	void *ctx;
};

void api_init(struct api *api)
{
	table_init(&api->calls);
	list_init(&api->waiting);
	list_init(&api->failed);
}

void api_finish(struct api *api)
{
	table_finish(&api->calls);
}

static void drop(struct nats_adapter *a, struct api_call *c)
{
	table_remove(&a->api.calls, &c->entry);
	list_remove(&c->link);
	free(c);
}

static void tell(struct nats_adapter *a, struct api_call *c, const struct api_reply *reply)
{
	const api_cb cb = c->cb;
	void *ctx = c->ctx;

	drop(a, c);
	if (cb) {
		cb(ctx, reply);
	}
}

static void tell_rc(struct nats_adapter *a, struct api_call *c, int rc)
{
	const struct api_reply reply = {.rc = rc, .description = ""};

	tell(a, c, &reply);
}

static natsStatus send_request(natsConnection *nc, const struct api_request *r, const char *reply)
{
	natsMsg *msg = NULL;
	natsStatus s;

	if (!r->header.key) {
		return natsConnection_PublishRequest(nc, r->subject, reply, r->body.p,
						     (int)r->body.n);
	}
	s = natsMsg_Create(&msg, r->subject, reply, (const char *)r->body.p, (int)r->body.n);
	if (s == NATS_OK) {
		s = natsMsgHeader_Set(msg, r->header.key, r->header.value);
	}
	if (s == NATS_OK) {
		s = natsConnection_PublishMsg(nc, msg);
	}
	natsMsg_Destroy(msg);
	return s;
}

struct api_call *api_request(struct nats_adapter *a, const struct api_request *r)
{
	struct api_call *c = xcalloc(1, sizeof(*c));
	natsConnection *nc = link_nc(a->link);
	char reply[96];

	c->id = ++a->api.next_id;
	c->cb = r->cb;
	c->ctx = r->ctx;
	c->deadline_ms = clock_mono_ms() + NATS_REQUEST_MS;
	table_insert(&a->api.calls, &c->entry, hash_u64(c->id));
	list_item_init(&c->link);
	if (nc) {
		snprintf(reply, sizeof(reply), "%sa.%" PRIu64, link_inbox(a->link), c->id);
	}
	if (nc && send_request(nc, r, reply) == NATS_OK) {
		list_push_back(&a->api.waiting, &c->link);
	} else {
		list_push_back(&a->api.failed, &c->link);
	}
	return c;
}

static struct api_call *json_request(struct nats_adapter *a, json_t *body, api_cb cb, void *ctx,
				     const char *fmt, va_list ap)
{
	char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
	char subject[NATS_SUBJECT_MAX + NATS_NAME_MAX];
	struct api_request r = {.subject = subject, .cb = cb, .ctx = ctx};
	struct api_call *c;
	int n = snprintf(subject, sizeof(subject), "%s.", a->api_prefix);

	vsnprintf(subject + n, sizeof(subject) - (size_t)n, fmt, ap);
	r.body = slice_str(text);
	c = api_request(a, &r);
	free(text);
	json_decref(body);
	return c;
}

struct api_call *api_json(struct nats_adapter *a, json_t *body, api_cb cb, void *ctx,
			  const char *fmt, ...)
{
	struct api_call *c;
	va_list ap;

	va_start(ap, fmt);
	c = json_request(a, body, cb, ctx, fmt, ap);
	va_end(ap);
	return c;
}

void api_tell(struct nats_adapter *a, json_t *body, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	json_request(a, body, NULL, NULL, fmt, ap);
	va_end(ap);
}

void api_cancel(struct nats_adapter *a, struct api_call **call)
{
	if (*call) {
		drop(a, *call);
		*call = NULL;
	}
}

static struct api_call *find(struct nats_adapter *a, struct slice token)
{
	uint64_t id = 0;

	for (size_t i = 0; i < token.n; i++) {
		if (token.p[i] < '0' || token.p[i] > '9' || i > 18) {
			return NULL;
		}
		id = id * 10 + (uint64_t)(token.p[i] - '0');
	}
	for (struct table_entry *e = table_first(&a->api.calls, hash_u64(id)); e;
	     e = table_next(e)) {
		struct api_call *c = container_of(e, struct api_call, entry);

		if (c->id == id) {
			return c;
		}
	}
	return NULL;
}

void api_on_reply(struct nats_adapter *a, struct slice token, struct slice data)
{
	struct api_call *c = find(a, token);
	struct api_reply reply = {.data = data, .description = ""};
	json_t *error;

	if (!c) {
		return;
	}
	if (!c->cb) {
		drop(a, c);
		return;
	}
	reply.json = json_loadb((const char *)data.p, data.n, 0, NULL);
	error = json_object_get(reply.json, "error");
	if (error) {
		const char *text = json_string_value(json_object_get(error, "description"));

		reply.code = (int)json_integer_value(json_object_get(error, "code"));
		reply.err_code = (int)json_integer_value(json_object_get(error, "err_code"));
		reply.description = text ? text : "error without a description";
		if (reply.code == 0) {
			reply.code = 500;
		}
	}
	tell(a, c, &reply);
	json_decref(reply.json);
}

/* Those that are open now; what the callbacks add stays. */
static void fail_list(struct nats_adapter *a, struct list *calls, int rc)
{
	struct list now, *item;

	list_init(&now);
	list_splice_back(&now, calls);
	while ((item = list_pop_front(&now))) {
		tell_rc(a, container_of(item, struct api_call, link), rc);
	}
}

void api_on_nobody(struct nats_adapter *a)
{
	fail_list(a, &a->api.waiting, EB_EAGAIN);
}

void api_fail_all(struct nats_adapter *a)
{
	fail_list(a, &a->api.waiting, EB_ECANCELED);
	fail_list(a, &a->api.failed, EB_ECANCELED);
}

void api_turn(struct nats_adapter *a, int64_t now_ms)
{
	fail_list(a, &a->api.failed, EB_ECANCELED);
	while (!list_empty(&a->api.waiting)) {
		struct api_call *c =
			container_of(list_first(&a->api.waiting), struct api_call, link);

		if (c->deadline_ms > now_ms) {
			break;
		}
		tell_rc(a, c, EB_ETIMEDOUT);
	}
}
