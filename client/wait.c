/* SPDX-License-Identifier: Apache-2.0 */
/* The blocking calls: turns with a poll between them, on the socket itself. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "client/internal.h"

static int refuse(struct eventbus *c)
{
	return ebus_fail(c, EVENTBUS_ESTATE, "not allowed inside a callback");
}

/* At most timeout_ms (-1: no limit), and never past what is due. */
static void poll_socket(struct eventbus *c, int timeout_ms)
{
	struct pollfd p = {.fd = c->link.fd, .events = POLLIN};
	int due = eventbus_next_timeout_ms(c);

	if (c->link.out.len) {
		p.events |= POLLOUT;
	}
	if (due >= 0 && (timeout_ms < 0 || due < timeout_ms)) {
		timeout_ms = due;
	}
	poll(&p, c->link.fd >= 0, timeout_ms);
}

int eventbus_run_once(struct eventbus *c, int timeout_ms)
{
	int rc;

	if (c->in_turn) {
		return refuse(c);
	}
	rc = ebus_send_turn(c);
	if (rc) {
		return rc;
	}
	poll_socket(c, timeout_ms);
	return eventbus_process(c);
}

int eventbus_run(struct eventbus *c)
{
	int rc = 0;

	if (c->in_turn) {
		return refuse(c);
	}
	c->stopping = false;
	while (rc == 0 && !c->stopping) {
		rc = eventbus_run_once(c, -1);
	}
	return rc;
}

void eventbus_stop(struct eventbus *c)
{
	c->stopping = true;
	ebus_wake(c);
}

int ebus_wait_until(struct eventbus *c, const bool *done, int timeout_ms)
{
	int64_t end = timeout_ms < 0 ? NEVER : clock_mono_ms() + timeout_ms;
	int rc = 0;

	while (!*done && rc == 0) {
		int64_t left = end == NEVER ? -1 : end - clock_mono_ms();

		if (end != NEVER && left <= 0) {
			return EVENTBUS_ETIMEDOUT;
		}
		rc = eventbus_run_once(c, (int)left);
	}
	return rc;
}

int eventbus_connect_wait(struct eventbus *c, int timeout_ms)
{
	int64_t end = timeout_ms < 0 ? NEVER : clock_mono_ms() + timeout_ms;
	int rc = 0;

	if (c->in_turn) {
		return refuse(c);
	}
	while (rc == 0 && c->link.state != LINK_READY) {
		int64_t left = end == NEVER ? -1 : end - clock_mono_ms();

		if (end != NEVER && left <= 0) {
			return EVENTBUS_ETIMEDOUT; /* the error text is the link's */
		}
		rc = eventbus_run_once(c, (int)left);
	}
	return rc;
}

/* ---- flush ----------------------------------------------------------------------------- */

struct reply {
	uint32_t refs; /* the waiting call's and the request's: either may be gone first */
	bool done;
	int rc;
	char *json, *text;
};

static void reply_unref(struct reply *r)
{
	if (--r->refs == 0) {
		free(r->json);
		free(r->text);
		free(r);
	}
}

static struct reply *reply_create(void)
{
	struct reply *r = xcalloc(1, sizeof(*r));

	r->refs = 2;
	return r;
}

static void on_reply(void *ctx, int rc, const char *json, const char *text)
{
	struct reply *r = ctx;

	r->done = true;
	r->rc = rc;
	r->json = json ? xstrdup(json) : NULL;
	r->text = xstrdup(text ? text : "");
	reply_unref(r);
}

static int remaining(int64_t end)
{
	int64_t left = end - clock_mono_ms();

	return end == NEVER ? -1 : left < 0 ? 0 : (int)left;
}

int eventbus_flush(struct eventbus *c, int timeout_ms)
{
	int64_t end = timeout_ms < 0 ? NEVER : clock_mono_ms() + timeout_ms;
	struct reply *r;
	int rc = 0;

	if (c->in_turn) {
		return refuse(c);
	}
	while (rc == 0 && c->outbox.untold) {
		if (remaining(end) == 0) {
			return ebus_fail(c, EVENTBUS_ETIMEDOUT, "%zu publishes without an answer",
					 c->outbox.untold);
		}
		rc = eventbus_run_once(c, remaining(end));
	}
	if (rc) {
		return rc;
	}
	r = reply_create();
	rc = ebus_request_ping(c, on_reply, r);
	rc = rc ? rc : ebus_wait_until(c, &r->done, remaining(end));
	reply_unref(r);
	return rc;
}

/* ---- publish ------------------------------------------------------------------------------ */

struct waiting {
	uint32_t refs;
	bool done;
	struct eventbus_receipt receipt;
};

static void waiting_unref(struct waiting *w)
{
	if (--w->refs == 0) {
		free(w);
	}
}

static void on_published(void *ctx, const struct eventbus_result *r)
{
	struct waiting *w = ctx;

	w->done = true;
	w->receipt.outcome = r->outcome;
	w->receipt.reason = r->reason;
	w->receipt.duplicate = r->duplicate;
	snprintf(w->receipt.text, sizeof(w->receipt.text), "%s", r->text);
	snprintf(w->receipt.position, sizeof(w->receipt.position), "%s", r->position);
	snprintf(w->receipt.id, sizeof(w->receipt.id), "%.*s", (int)r->id.n, r->id.p);
	waiting_unref(w);
}

int eventbus_publish_wait(struct eventbus *c, const struct eventbus_message *m, int timeout_ms,
			  struct eventbus_receipt *receipt)
{
	struct waiting *w;
	int rc;

	if (c->in_turn) {
		return refuse(c);
	}
	w = xcalloc(1, sizeof(*w));
	w->refs = 1;
	w->receipt.outcome = EVENTBUS_UNKNOWN;
	rc = eventbus_publish(c, m, on_published, w);
	if (rc == 0) {
		w->refs++;
		rc = ebus_wait_until(c, &w->done, timeout_ms);
	}
	if (rc == 0 && w->receipt.outcome != EVENTBUS_STORED) {
		rc = ebus_fail(c, EVENTBUS_EIO, "%s", w->receipt.text);
	}
	if (receipt) {
		*receipt = w->receipt;
	}
	waiting_unref(w);
	return rc;
}

/* ---- admin ---------------------------------------------------------------------------------- */

static int take_reply(struct eventbus *c, struct reply *r, int asked, int timeout_ms, char **json)
{
	int rc = asked;

	if (asked) {
		r->refs--; /* no callback will come */
	} else {
		rc = ebus_wait_until(c, &r->done, timeout_ms);
	}
	if (rc == 0) {
		rc = r->rc ? ebus_fail(c, r->rc, "%s", r->text) : 0;
	}
	if (rc == 0) {
		*json = r->json;
		r->json = NULL;
	}
	reply_unref(r);
	return rc;
}

int eventbus_status_wait(struct eventbus *c, int timeout_ms, char **json)
{
	struct reply *r;

	*json = NULL;
	if (c->in_turn) {
		return refuse(c);
	}
	r = reply_create();
	return take_reply(c, r, eventbus_status(c, on_reply, r), timeout_ms, json);
}

int eventbus_explain_wait(struct eventbus *c, const char *topic, const char *group, int timeout_ms,
			  char **json)
{
	struct reply *r;

	*json = NULL;
	if (c->in_turn) {
		return refuse(c);
	}
	r = reply_create();
	return take_reply(c, r, eventbus_explain(c, topic, group, on_reply, r), timeout_ms, json);
}
