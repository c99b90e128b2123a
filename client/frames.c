/* SPDX-License-Identifier: Apache-2.0 */
/* One frame from the daemon: each kind to the function that knows it. */
#include <inttypes.h>
#include <stdio.h>

#include "client/internal.h"

#define PROTOCOL_VERSION 1

static int on_welcome(struct eventbus *c, const Eventbus__V1__Welcome *w)
{
	struct link *l = &c->link;

	if (l->state != LINK_HELLO) {
		return ebus_fail(c, EVENTBUS_EPROTO, "a second Welcome");
	}
	if (w->version != PROTOCOL_VERSION) {
		return ebus_fail(c, EVENTBUS_EPROTO,
				 "the daemon speaks protocol version %" PRIu32 ", this library %d",
				 w->version, PROTOCOL_VERSION);
	}
	snprintf(c->server, sizeof(c->server), "%s", w->server);
	if (w->limits && w->limits->max_events_per_publish) {
		c->max_events = w->limits->max_events_per_publish;
	}
	if (w->limits && w->limits->max_frame_bytes > OUTBOX_FRAME_OVERHEAD) {
		c->max_frame = w->limits->max_frame_bytes;
	}
	l->state = LINK_READY;
	l->ready_at_ms = c->now_ms;
	c->told[0] = '\0';
	c->draining = false;
	ebus_outbox_welcome(c, w);
	ebus_subs_welcome(c);
	ebus_requests_welcome(c);
	ebus_tell_connection(c, EVENTBUS_CONNECTED, c->server, -1);
	return 0;
}

static void on_drain(struct eventbus *c, const Eventbus__V1__Drain *d)
{
	int64_t deadline_ms = d->deadline_ms > INT32_MAX ? INT32_MAX : (int64_t)d->deadline_ms;

	c->draining = true;
	snprintf(c->link.why, sizeof(c->link.why), "the daemon stops");
	ebus_tell_connection(c, EVENTBUS_DRAINING, c->link.why, deadline_ms);
	ebus_taken_drain(c, deadline_ms);
}

static void on_error(struct eventbus *c, const Eventbus__V1__Error *e)
{
	struct eventbus_result why = {
		.outcome = (enum eventbus_outcome)e->outcome,
		.reason = (enum eventbus_reason)e->reason,
		.text = e->text,
		.position = "",
	};

	if (e->closing || e->re_case == EVENTBUS__V1__ERROR__RE__NOT_SET) {
		snprintf(c->link.why, sizeof(c->link.why), "%s", e->text);
		ebus_fail(c, EVENTBUS_EIO, "%s", e->text);
	}
	switch (e->re_case) {
	case EVENTBUS__V1__ERROR__RE_SUBSCRIPTION:
		ebus_sub_error(c, e->subscription, e);
		break;
	case EVENTBUS__V1__ERROR__RE_REQUEST:
		ebus_request_answer(c, e->request, EVENTBUS_EIO, NULL, e->text);
		break;
	case EVENTBUS__V1__ERROR__RE_SEQUENCE:
		ebus_outbox_refused(c, e->sequence, &why);
		break;
	default:
		break;
	}
}

static int dispatch(struct eventbus *c, const Eventbus__V1__Frame *f)
{
	if (c->link.state == LINK_HELLO && f->kind_case != EVENTBUS__V1__FRAME__KIND_WELCOME &&
	    f->kind_case != EVENTBUS__V1__FRAME__KIND_ERROR) {
		return ebus_fail(c, EVENTBUS_EPROTO, "a frame before Welcome");
	}
	switch (f->kind_case) {
	case EVENTBUS__V1__FRAME__KIND_WELCOME:
		return on_welcome(c, f->welcome);
	case EVENTBUS__V1__FRAME__KIND_PUBLISHED:
		ebus_outbox_published(c, f->published);
		break;
	case EVENTBUS__V1__FRAME__KIND_SUBSCRIBED:
		ebus_sub_subscribed(c, f->subscribed);
		break;
	case EVENTBUS__V1__FRAME__KIND_SUBSCRIPTION_STATE:
		ebus_sub_state(c, f->subscription_state);
		break;
	case EVENTBUS__V1__FRAME__KIND_UNSUBSCRIBED:
		ebus_sub_unsubscribed(c, f->unsubscribed->subscription);
		break;
	case EVENTBUS__V1__FRAME__KIND_DRAIN:
		on_drain(c, f->drain);
		break;
	case EVENTBUS__V1__FRAME__KIND_ERROR:
		on_error(c, f->error);
		break;
	case EVENTBUS__V1__FRAME__KIND_PONG:
		ebus_request_answer(c, f->pong->request, 0, "", "");
		break;
	case EVENTBUS__V1__FRAME__KIND_ADMIN_REPLY:
		ebus_request_answer(c, f->admin_reply->request, 0, f->admin_reply->json, "");
		break;
	default: /* a later daemon may say more than we know */
		break;
	}
	return 0;
}

int ebus_frame_read(struct eventbus *c, struct slice body)
{
	struct arena arena;
	Eventbus__V1__Frame *frame;
	struct err_text err;
	int rc;

	if (c->link.state == LINK_READY && codec_kind(body) == EVENTBUS__V1__FRAME__KIND_DELIVER) {
		rc = ebus_deliver_read(c, body, &err);
		return rc ? ebus_fail(c, EVENTBUS_EPROTO, "%s", err.s) : 0;
	}
	rc = codec_read(CODEC_CLIENT, body, &arena, &frame, &err);
	if (rc) {
		ebus_fail(c, EVENTBUS_EPROTO, "%s", err.s);
	} else {
		rc = dispatch(c, frame);
	}
	arena_finish(&arena);
	return rc;
}
