/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All sessions: accept, the turn, drain, stop.
 *
 * The turn runs behind everything else before and after the loop polls (prepare, check).
 * It flushes the sessions that have something (dirty) and lets those read on that used up their
 * last turn (waiting). While any of them has still more to do the idle handle keeps the
 * loop from sleeping; otherwise nothing runs.
 *
 * Stop: nothing is read any more (quiet), the bus has answered everything, what is queued is
 * written, every session is cut, the handles close; the last one calls on_stopped.
 */
#include "daemon/session_impl.h"

#include <assert.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

/* ---- the turn -------------------------------------------------------------- */

static void flush_dirty(struct sessions *set)
{
	struct list now;
	struct list *it;

	list_init(&now);
	list_splice_back(&now, &set->dirty);
	while ((it = list_pop_front(&now))) {
		session_flush(container_of(it, struct session, dirty));
	}
}

static void resume_waiting(struct sessions *set)
{
	struct list now;
	struct list *it;

	list_init(&now);
	list_splice_back(&now, &set->waiting);
	while ((it = list_pop_front(&now))) {
		session_resume(container_of(it, struct session, waiting));
	}
}

static void next_turn(struct sessions *set)
{
	set->turn++;
	set->turn_bytes = 0;
	if (!set->left_out) {
		set->round++;
		set->long_round = false;
	}
	set->left_out = false;
}

static void idle_turn(uv_idle_t *idle)
{
	(void)idle; /* its being active is what matters */
}

static void set_idle(struct sessions *set)
{
	bool more = !list_empty(&set->dirty) || !list_empty(&set->waiting);

	if (set->closing) {
		return;
	}
	if (more) {
		uv_idle_start(&set->idle, idle_turn);
	} else {
		uv_idle_stop(&set->idle);
	}
}

static void touch_all(struct sessions *set)
{
	struct list *it, *tmp;

	list_for_each_safe (it, tmp, &set->all) {
		session_touch(container_of(it, struct session, link));
	}
}

/* A sixteenth of the memory may lie in read buffers when every session has one. */
static void update_read_ceiling(struct sessions *set)
{
	size_t share = set->budget->limit / 16 / (set->open + 1);

	set->read_ceiling = share < SESSION_READ_MIN   ? SESSION_READ_MIN
			    : share > SESSION_READ_MAX ? SESSION_READ_MAX
						       : share;
}

void sessions_update_credit(struct sessions *set)
{
	update_read_ceiling(set);
	if (set->bus && set->open > 0 &&
	    credit_pool_update(&set->credit, set->open, bus_publish_room(set->bus))) {
		log_debug("sessions", "publish credit of a session changed bytes=%llu sessions=%u",
			  (unsigned long long)set->credit.level, set->open);
		touch_all(set);
	}
}

/* Whoever sends long frames and does not finish them gives way before the others feel it. */
void sessions_shed(struct sessions *set)
{
	const size_t limit = set->budget->limit;
	struct session *largest = NULL;
	struct list *it;
	size_t most = SESSION_FRAME_SMALL, sum = 0;

	if (set->budget->used <= limit - limit / 8) {
		return;
	}
	for (it = set->all.next; it != &set->all; it = it->next) {
		struct session *s = container_of(it, struct session, link);

		if (s->state < SESSION_ENDING) {
			sum += framer_held(&s->framer);
		}
		if (s->state < SESSION_ENDING && framer_held(&s->framer) > most) {
			most = framer_held(&s->framer);
			largest = s;
		}
	}
	if (largest && sum > limit / 8) {
		session_fail(largest, OUTCOME_NOT_STORED, REASON_OVERLOADED,
			     "frame: unfinished while the daemon is short of memory "
			     "(limits.memory); send it again later, in smaller frames");
	}
}

static void after_poll(uv_check_t *check)
{
	struct sessions *set = check->data;

	sessions_update_credit(set);
	flush_dirty(set);
	set_idle(set);
}

static void before_poll(uv_prepare_t *prepare)
{
	struct sessions *set = prepare->data;

	next_turn(set);
	resume_waiting(set);
	flush_dirty(set);
	set_idle(set);
}

/* ---- life ------------------------------------------------------------------ */

struct sessions *sessions_create(const struct sessions_options *o)
{
	struct sessions *set = xcalloc(1, sizeof(*set));
	const struct config_limits *l = &o->config->limits;

	set->loop = o->loop;
	set->config = o->config;
	set->budget = o->budget;
	set->instance = o->instance;
	set->socket = o->socket;
	set->started_ms = clock_mono_ms();
	list_init(&set->all);
	list_init(&set->dirty);
	list_init(&set->waiting);
	update_read_ceiling(set);
	ranges_init(&set->ack.tags);
	ranges_init(&set->settled);
	ranges_init(&set->stale);
	credit_pool_init(&set->credit, (uint32_t)l->publish_events, (uint64_t)l->publish_bytes);
	uv_prepare_init(o->loop, &set->prepare);
	uv_check_init(o->loop, &set->check);
	uv_idle_init(o->loop, &set->idle);
	set->prepare.data = set->check.data = set->idle.data = set;
	set->handles = 3;
	uv_prepare_start(&set->prepare, before_poll);
	uv_check_start(&set->check, after_poll);
	return set;
}

void sessions_attach(struct sessions *set, struct bus *bus)
{
	set->bus = bus;
}

void sessions_accept(struct sessions *set, uv_stream_t *server)
{
	struct session *s = session_open(set);

	if (uv_accept(server, (uv_stream_t *)&s->pipe) != 0) {
		session_cut(s, NULL);
		return;
	}
	session_begin(s);
}

int sessions_adopt(struct sessions *set, int fd)
{
	struct session *s = session_open(set);

	if (uv_pipe_open(&s->pipe, fd) != 0) {
		close(fd);
		session_cut(s, NULL);
		return EB_EIO;
	}
	session_begin(s);
	return 0;
}

void sessions_reload(struct sessions *set, const struct config *next)
{
	struct list *it, *tmp;

	set->config = next;
	credit_pool_limit(&set->credit, (uint32_t)next->limits.publish_events,
			  (uint64_t)next->limits.publish_bytes);
	list_for_each_safe (it, tmp, &set->all) {
		struct session *s = container_of(it, struct session, link);

		if (s->client) {
			session_names_recheck(s);
		}
	}
	touch_all(set);
}

void sessions_drain(struct sessions *set, int64_t deadline_ms)
{
	Eventbus__V1__Frame f = EVENTBUS__V1__FRAME__INIT;
	Eventbus__V1__Drain m = EVENTBUS__V1__DRAIN__INIT;
	struct list *it, *tmp;

	set->draining = true;
	m.deadline_ms = (uint64_t)deadline_ms;
	f.kind_case = EVENTBUS__V1__FRAME__KIND_DRAIN;
	f.drain = &m;
	list_for_each_safe (it, tmp, &set->all) {
		struct session *s = container_of(it, struct session, link);

		if (s->state == SESSION_OPEN) {
			session_send(s, &f);
		}
	}
}

void sessions_quiet(struct sessions *set)
{
	struct list *it, *tmp;

	set->quiet = true;
	list_for_each_safe (it, tmp, &set->all) {
		session_resume(container_of(it, struct session, link));
	}
}

static void on_handle_closed(uv_handle_t *handle)
{
	struct sessions *set = handle->data;

	if (--set->handles == 0) {
		set->stopped = true;
		set->on_stopped(set->ctx);
	}
}

void sessions_maybe_stopped(struct sessions *set)
{
	if (!set->stopping || set->closing || !list_empty(&set->all)) {
		return;
	}
	set->closing = true;
	uv_close((uv_handle_t *)&set->prepare, on_handle_closed);
	uv_close((uv_handle_t *)&set->check, on_handle_closed);
	uv_close((uv_handle_t *)&set->idle, on_handle_closed);
}

void sessions_stop(struct sessions *set, bool force, void (*stopped)(void *ctx), void *ctx)
{
	struct list *it, *tmp;

	if (!set->stopping) {
		set->stopping = true;
		set->on_stopped = stopped;
		set->ctx = ctx;
	}
	list_for_each_safe (it, tmp, &set->all) {
		struct session *s = container_of(it, struct session, link);

		if (force) {
			session_cut(s, NULL);
		} else {
			session_end(s);
			session_touch(s);
		}
	}
	sessions_maybe_stopped(set);
}

void sessions_destroy(struct sessions *set)
{
	if (!set) {
		return;
	}
	assert(set->stopped && list_empty(&set->all));
	ranges_finish(&set->ack.tags);
	ranges_finish(&set->settled);
	ranges_finish(&set->stale);
	while (set->n_spare > 0) {
		buf_finish(&set->spare[--set->n_spare]);
	}
	free(set);
}

/* ---- status ---------------------------------------------------------------- */

uint32_t sessions_count(const struct sessions *set)
{
	return set->open;
}

json_t *sessions_status(const struct sessions *set)
{
	json_t *list = json_array();
	const struct list *it;

	for (it = set->all.next; it != &set->all; it = it->next) {
		const struct session *s = container_of(it, struct session, link);
		json_t *c, *held;

		if (!s->client) {
			continue;
		}
		held = client_status(s->client);
		c = json_pack("{s:I,s:s,s:i,s:I,s:I,s:I,s:I,s:I,s:O?}", "session",
			      (json_int_t)s->id, "name", s->name, "pid", (int)s->pid, "uid",
			      (json_int_t)s->uid, "unwritten_bytes",
			      (json_int_t)session_unwritten(s), "publishing_events",
			      (json_int_t)s->credit.events, "publishing_bytes",
			      (json_int_t)s->credit.bytes, "outstanding",
			      (json_int_t)client_outstanding(s->client), "subscriptions",
			      json_object_get(held, "subscriptions"));
		json_decref(held);
		json_array_append_new(list, c);
	}
	return list;
}
