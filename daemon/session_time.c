/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a session may take too long for: Hello, the rest of a frame, reading what we write, and
 * reading why it was refused. One timer, armed for the earliest; it is not re-armed when a
 * wait ends, but looks again when it fires. A timer that fires late means that the daemon
 * stood still: then every wait is prolonged by that, for the peer could not be heard.
 */
#include "daemon/session_impl.h"

#define STALL_MS 200
/* Output that makes no progress at all for this many unwritten_timeouts ends the session also below
 * unwritten_bytes: what it holds must not be held for ever. */
#define STUCK_TIMEOUTS 10

static uint64_t earlier(uint64_t due, uint64_t since, int64_t timeout_ms)
{
	uint64_t at = since + (uint64_t)timeout_ms;

	return since != 0 && at < due ? at : due;
}

static uint64_t next_due(const struct session *s)
{
	const struct config_limits *l = &s->set->config->limits;
	uint64_t due = UINT64_MAX;

	due = earlier(due, s->hello_since, l->hello_timeout_ms);
	due = earlier(due, s->frame_since, l->frame_timeout_ms);
	due = earlier(due, s->over_since, l->unwritten_timeout_ms);
	due = earlier(due, s->stuck_since, l->unwritten_timeout_ms * STUCK_TIMEOUTS);
	due = earlier(due, s->ending_since, SESSION_LINGER_MS);
	return due;
}

void session_watch(struct session *s)
{
	uint64_t due = next_due(s), now = uv_now(s->set->loop);

	if (s->state == SESSION_CLOSING || due == UINT64_MAX ||
	    (uv_is_active((uv_handle_t *)&s->timer) && s->timer_due <= due)) {
		return;
	}
	s->timer_due = due;
	uv_timer_start(&s->timer, session_on_timer, due > now ? due - now : 0, 0);
}

static void prolong(uint64_t *since, uint64_t ms)
{
	*since += *since ? ms : 0;
}

static void prolong_all(struct session *s, uint64_t ms)
{
	prolong(&s->hello_since, ms);
	prolong(&s->frame_since, ms);
	prolong(&s->over_since, ms);
	prolong(&s->stuck_since, ms);
	prolong(&s->ending_since, ms);
}

static bool past(const struct session *s, uint64_t since, int64_t timeout_ms)
{
	return since != 0 && since + (uint64_t)timeout_ms <= uv_now(s->set->loop);
}

static void look(struct session *s)
{
	const struct config_limits *l = &s->set->config->limits;

	if (past(s, s->ending_since, SESSION_LINGER_MS)) {
		session_cut(s, NULL);
	} else if (past(s, s->hello_since, l->hello_timeout_ms)) {
		session_fail(s, OUTCOME_PERMANENT, REASON_INVALID,
			     "hello: did not come within %lld ms", (long long)l->hello_timeout_ms);
	} else if (past(s, s->frame_since, l->frame_timeout_ms)) {
		session_fail(s, OUTCOME_PERMANENT, REASON_INVALID,
			     "frame: was not complete within %lld ms",
			     (long long)l->frame_timeout_ms);
	} else if (past(s, s->over_since, l->unwritten_timeout_ms)) {
		session_cut(s, "does not read: more than unwritten_bytes waited too long");
	} else if (past(s, s->stuck_since, l->unwritten_timeout_ms * STUCK_TIMEOUTS)) {
		session_cut(s, "does not read: nothing was taken for too long");
	}
}

void session_on_timer(uv_timer_t *timer)
{
	struct session *s = timer->data;
	uint64_t now = uv_now(s->set->loop);
	uint64_t late = now > s->timer_due ? now - s->timer_due : 0;

	if (s->stuck_since && session_unwritten(s) < s->stuck_left) {
		s->stuck_since = now;
		s->stuck_left = session_unwritten(s);
	}
	if (late > STALL_MS) {
		prolong_all(s, late + STALL_MS);
	} else {
		look(s);
	}
	session_watch(s);
}
