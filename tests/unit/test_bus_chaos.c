/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clients that do anything at any time, from a seed, over the memory adapter. Whatever they do: an
 * event that was settled for good never comes again, an attempt never counts more failures than
 * there were, order holds per key, and in the end every event was settled (P2, P4, P7).
 */
#include "support_bus.h"

#define CONFIG                                                                                     \
	"broker: {memory: {}}\n"                                                                   \
	"defaults: {lease: 30s, retry: {max_retries: 1000, initial_delay: 1ms, max_delay: 3ms}}\n"

enum { CLIENTS = 6, EVENTS = 1500, GROUPS = 2, STEPS = 4000 };

struct fate {
	bool done;	   /* settled for good */
	uint32_t failures; /* that may have been counted */
};

struct actor {
	struct kit_client *c;
	int group;
	bool subscribed, paused;
	uint32_t looked_at;		  /* of c->got */
	uint32_t out[KIT_MAX_GOT], n_out; /* indices into c->got, not settled by us */
};

static struct kit kit;
static struct actor actors[CLIENTS];
static struct fate fates[GROUPS][EVENTS];
static uint32_t n_published, seed, n_done[GROUPS];
/* The last event of each key that each group finished or was handed. */
static uint32_t reached[GROUPS][4];

static uint32_t pick(uint32_t n)
{
	seed = seed * 1664525u + 1013904223u;
	return (seed >> 8) % n;
}

static const char *const group_names[] = {"ordered", "plain"};
static const char *const keys[] = {"", "a", "b", "c"};

static uint32_t number_of(const struct kit_got *g)
{
	return (uint32_t)atoi(g->id);
}

static void subscribe(struct actor *a)
{
	const struct slice p[] = {slice_str("t.*"), slice_str("t.1")};
	struct subscribe_request r = kit_request(1, p, group_names[a->group]);

	r.n_patterns = 2;
	r.has_order = true;
	r.order = a->group == 0 ? ORDER_KEY : ORDER_NONE;
	r.concurrency = 1 + pick(5);
	r.max_events = 1 + pick(20);
	kit_ask(a->c, &r);
	a->subscribed = true;
	a->paused = false;
}

static void connect_actor(struct actor *a)
{
	a->c = kit_connect(&kit, "actor");
	a->looked_at = a->n_out = 0;
	subscribe(a);
}

static void publish_some(void)
{
	const uint32_t n = 1 + pick(5);
	struct publish *p;
	char id[16];

	if (n_published + n > EVENTS) {
		return;
	}
	p = kit_batch(&kit, n);
	for (uint32_t i = 0; i < n; i++, n_published++) {
		snprintf(id, sizeof(id), "%u", n_published);
		p->items[i].event = event_build(
			&(struct event_fields){.id = slice_str(id),
					       .topic = slice_str(n_published % 3 ? "t.1" : "t.2"),
					       .key = slice_str(keys[n_published % 4]),
					       .published_at_ms = clock_unix_ms()},
			&kit.budget);
	}
	bus_publish(kit.bus, p);
}

/* Keys are ordered within a pattern: a topic stands for its pattern here. */
static void check_order(const struct actor *a, uint32_t n)
{
	const uint32_t key = n % 4;

	if (a->group != 0 || key == 0 || n % 3 == 0) {
		return;
	}
	ck_assert_msg(n >= reached[a->group][key], "seed %u: %u came after %u", seed, n,
		      reached[a->group][key]);
	reached[a->group][key] = n;
}

static void look(struct actor *a)
{
	kit_take(a->c);
	for (; a->looked_at < a->c->n_got; a->looked_at++) {
		const struct kit_got *g = &a->c->got[a->looked_at];
		const uint32_t n = number_of(g);

		ck_assert_msg(!fates[a->group][n].done, "%u came again", n);
		ck_assert_uint_le(g->attempt, 1 + fates[a->group][n].failures);
		check_order(a, n);
		a->out[a->n_out++] = a->looked_at;
	}
}

static enum verdict some_verdict(void)
{
	switch (pick(20)) {
	case 0:
	case 1:
		return VERDICT_RETRY;
	case 2:
		return VERDICT_RELEASE;
	case 3:
		return VERDICT_DROP;
	case 4:
		return VERDICT_REJECT;
	default:
		return VERDICT_ACK;
	}
}

static void settle(struct actor *a, uint32_t at, enum verdict v)
{
	const struct kit_got *g = &a->c->got[a->out[at]];
	struct fate *f = &fates[a->group][number_of(g)];
	const struct settle s = {.verdict = v,
				 .reason = slice_str("chaos"),
				 .has_delay = v == VERDICT_RETRY,
				 .delay_ms = pick(3)};
	struct ranges settled;

	ranges_init(&settled);
	a->out[at] = a->out[--a->n_out];
	client_settle(a->c->c, &(struct range){g->tag, g->tag}, 1, &s, &settled, NULL);
	ck_assert_uint_eq(settled.n, 1);
	ranges_finish(&settled);
	f->failures += v == VERDICT_RETRY;
	if (v == VERDICT_ACK || v == VERDICT_DROP || v == VERDICT_REJECT) {
		f->done = true;
		n_done[a->group]++;
	}
}

static void die(struct actor *a)
{
	for (uint32_t i = 0; i < a->n_out; i++) {
		fates[a->group][number_of(&a->c->got[a->out[i]])].failures++;
	}
	kit_disconnect(a->c);
	connect_actor(a);
}

static void act(struct actor *a)
{
	switch (pick(40)) {
	case 0:
		die(a);
		return;
	case 1:
		a->paused = !a->paused;
		ck_assert_int_eq(client_pause(a->c->c, 1, a->paused), 0);
		return;
	case 2:
		ck_assert_int_eq(client_unsubscribe(a->c->c, 1), 0);
		while (a->n_out > 0) {
			settle(a, 0, some_verdict());
		}
		kit_until(&kit, a->c->n_unsubscribed > 0);
		a->c->n_unsubscribed = 0;
		subscribe(a);
		return;
	case 3:
		a->c->stuck = !a->c->stuck;
		return;
	case 4:
		client_extend(a->c->c, &(struct range){0, UINT64_MAX}, 1, NULL, NULL);
		return;
	default:
		look(a);
		while (a->n_out > 0 && pick(4)) {
			settle(a, pick(a->n_out), some_verdict());
		}
	}
}

static void finish_all(void)
{
	uint32_t goal = n_published;

	for (int i = 0; i < CLIENTS; i++) {
		client_pause(actors[i].c->c, 1, false);
		actors[i].c->stuck = false;
	}
	while (n_done[0] < goal || n_done[1] < goal) {
		for (int i = 0; i < CLIENTS; i++) {
			look(&actors[i]);
			while (actors[i].n_out > 0) {
				settle(&actors[i], 0, VERDICT_ACK);
			}
		}
		ck_assert(uv_loop_alive(&kit.loop));
		uv_run(&kit.loop, UV_RUN_ONCE);
	}
}

START_TEST(nothing_is_lost_or_comes_again)
{
	seed = (uint32_t)_i * 7919u + 1;
	log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
	kit_start(&kit, CONFIG);
	for (int i = 0; i < CLIENTS; i++) {
		actors[i].group = i % GROUPS;
		connect_actor(&actors[i]);
	}
	for (int i = 0; i < STEPS; i++) {
		if (pick(3) == 0) {
			publish_some();
		}
		act(&actors[pick(CLIENTS)]);
		if (pick(2)) {
			uv_run(&kit.loop, UV_RUN_NOWAIT);
		}
	}
	finish_all();
	kit_turns(&kit);
	ck_assert_int_eq(kit_total(&kit, "held"), 0);
	ck_assert_int_eq(kit_total(&kit, "outstanding"), 0);
	for (int i = 0; i < CLIENTS; i++) {
		kit_disconnect(actors[i].c);
	}
	kit_finish(&kit);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("bus_chaos");
	TCase *tcase = tcase_create("bus_chaos");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_set_timeout(tcase, 60);
	suite_add_tcase(suite, tcase);
	tcase_add_loop_test(tcase, nothing_is_lost_or_comes_again, 0, 12);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
