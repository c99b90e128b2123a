/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/credit.h"

#include <assert.h>

void credit_pool_init(struct credit_pool *p, uint32_t max_events, uint64_t max_bytes)
{
	p->outstanding = 0;
	p->level = UINT64_MAX;
	credit_pool_limit(p, max_events, max_bytes);
}

void credit_pool_limit(struct credit_pool *p, uint32_t max_events, uint64_t max_bytes)
{
	p->max_events = max_events;
	p->max_bytes = max_bytes < CREDIT_MIN_BYTES ? CREDIT_MIN_BYTES : max_bytes;
	if (p->level > p->max_bytes) {
		p->level = p->max_bytes;
	}
}

/* The highest of max, max/2, max/4... that is not above share. */
static uint64_t step_down(uint64_t max, uint64_t share)
{
	uint64_t level = max;

	while (level > share && level > CREDIT_MIN_BYTES) {
		level /= 2;
	}
	return level < CREDIT_MIN_BYTES ? CREDIT_MIN_BYTES : level;
}

bool credit_pool_update(struct credit_pool *p, uint32_t sessions, size_t room)
{
	uint64_t usable = room / CREDIT_OVERHEAD + p->outstanding;
	uint64_t share = sessions > 0 ? usable / sessions : p->max_bytes;
	uint64_t level = step_down(p->max_bytes, share);

	/* Rising needs a quarter to spare, or the level would swing around a step. */
	if (level > p->level && level < p->max_bytes && share < level + level / 4) {
		level /= 2;
	}
	if (level == p->level || (level < CREDIT_MIN_BYTES)) {
		return false;
	}
	p->level = level;
	return true;
}

bool credit_untold(const struct credit_pool *p, const struct credit_use *u)
{
	return u->told_bytes != p->level || u->told_events != p->max_events;
}

void credit_tell(const struct credit_pool *p, struct credit_use *u, uint64_t now_ms)
{
	bool grace = now_ms < u->grace_until_ms;

	if (p->level < u->told_bytes || p->max_events < u->told_events) {
		u->grace_bytes =
			grace && u->grace_bytes > u->told_bytes ? u->grace_bytes : u->told_bytes;
		u->grace_events = grace && u->grace_events > u->told_events ? u->grace_events
									    : u->told_events;
		u->grace_until_ms = now_ms + CREDIT_GRACE_MS;
	}
	u->told_bytes = p->level;
	u->told_events = p->max_events;
}

bool credit_take(struct credit_pool *p, struct credit_use *u, size_t bytes, uint64_t now_ms)
{
	bool grace = now_ms < u->grace_until_ms;
	uint64_t max_bytes = u->told_bytes;
	uint32_t max_events = u->told_events;

	if (grace && u->grace_bytes > max_bytes) {
		max_bytes = u->grace_bytes;
	}
	if (grace && u->grace_events > max_events) {
		max_events = u->grace_events;
	}
	if (u->events >= max_events) {
		return false;
	}
	if (u->events > 0 && (bytes > max_bytes || u->bytes > max_bytes - bytes)) {
		return false;
	}
	u->events++;
	u->bytes += bytes;
	p->outstanding += bytes;
	return true;
}

void credit_give(struct credit_pool *p, struct credit_use *u, uint32_t events, size_t bytes)
{
	assert(events <= u->events && bytes <= u->bytes && bytes <= p->outstanding);
	u->events -= events;
	u->bytes -= bytes;
	p->outstanding -= bytes;
}

bool credit_overran(const struct credit_pool *p, const struct credit_use *u, size_t bytes)
{
	return u->events >= p->max_events || bytes > p->max_bytes ||
	       u->bytes > p->max_bytes - bytes;
}

bool credit_judge(struct credit_use *u, bool overran)
{
	u->strikes = overran ? u->strikes + 1 : 0;
	return u->strikes < CREDIT_MAX_STRIKES;
}
