/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one event costs in the memory bus, on one core: publish, told, delivered, acknowledged.
 * Prints ns and events/s for one setting; the median and the least of nine runs.
 * bench_memory [BYTES [BATCH [FLOWS [PATTERNS [PENDING]]]]]: FLOWS get every event, PATTERNS are
 * other flows that get none, PENDING events wait in one more flow all the time.
 */
#include <assert.h>
#include <string.h>

#include "adapters/adapter_impl.h"
#include "adapters/memory.h"
#include "base/mem.h"
#include "tests/bench/bench.h"

enum { WINDOW = 8192, TURN = 256, ROUNDS = 9 };

/* Acknowledges what it got half a window ago, as a client at the other end of a socket would. */
struct sink {
	struct flow f;
	struct settlement acks[WINDOW]; /* a ring */
	uint64_t got, acked;
};

static uv_loop_t loop;
static struct adapter *bus;
static struct sink *sinks;
static uint32_t n_sinks, batch_n, payload_n;
static struct publish **batches;
static uint8_t **ids; /* of every event of every batch: 36 characters */
static uint32_t n_batches;
static uint64_t serial, told;

static void on_up(void *ctx, struct adapter *a)
{
	(void)ctx;
	(void)a;
}

static void on_deliver(void *ctx, struct flow *f, struct delivery *items, uint32_t n)
{
	struct sink *s = f->owner;

	(void)ctx;
	for (uint32_t i = 0; i < n; i++) {
		s->acks[s->got++ % WINDOW] =
			(struct settlement){.handle = items[i].handle, .kind = SETTLE_ACK};
		event_unref(items[i].event);
	}
}

static void on_flow(void *ctx, struct flow *f, const struct flow_note *note)
{
	(void)ctx;
	(void)f;
	(void)note;
}

static const struct adapter_upcalls up = {
	.on_up = on_up, .on_deliver = on_deliver, .on_flow = on_flow};

static void on_told(struct publish *p, uint32_t i)
{
	assert(p->items[i].answer.outcome == OUTCOME_OK && !p->items[i].duplicate);
	told++;
}

static void make_batches(const char *topic)
{
	char *payload = xcalloc(1, payload_n + 1);
	char id[37] = "00000000-0000-4000-8000-000000000000";

	n_batches = 2 * TURN / batch_n; /* as hot as a session's read buffer */
	batches = xcalloc(n_batches, sizeof(struct publish *));
	ids = xcalloc((size_t)n_batches * batch_n, sizeof(uint8_t *));
	for (uint32_t b = 0; b < n_batches; b++) {
		batches[b] =
			xcalloc(1, sizeof(struct publish) + batch_n * sizeof(struct publish_item));
		batches[b]->n = batch_n;
		batches[b]->told = on_told;
		for (uint32_t i = 0; i < batch_n; i++) {
			const struct event_fields f = {.topic = slice_str(topic),
						       .id = slice_of(id, 36),
						       .payload = slice_of(payload, payload_n),
						       .published_at_ms = 1700000000000};
			struct event *e = event_build(&f, NULL);

			batches[b]->items[i].event = e;
			ids[b * batch_n + i] = (uint8_t *)e->id.p;
		}
	}
	free(payload);
}

static void publish_batch(uint32_t b)
{
	for (uint32_t i = 0; i < batch_n; i++) {
		serial++;
		memcpy(ids[b * batch_n + i], &serial, sizeof(serial));
	}
	adapter_publish(bus, batches[b]);
}

static void settle(uint32_t keep)
{
	for (uint32_t i = 0; i < n_sinks; i++) {
		struct sink *s = &sinks[i];

		while (s->got - s->acked > keep) {
			const uint64_t at = s->acked % WINDOW;
			const uint64_t left = s->got - s->acked - keep;
			const uint32_t n = (uint32_t)(left < WINDOW - at ? left : WINDOW - at);

			flow_settle(&s->f, &s->acks[at], n);
			s->acked += n;
		}
		flow_credit(&s->f, (struct credit){WINDOW - (uint32_t)(s->got - s->acked),
						   (size_t)1 << 30});
	}
}

/* CPU, not wall: what others do on this machine is not the bus's. */
static int64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static double run(uint64_t events)
{
	const int64_t begin = cpu_ns();
	uint64_t sent = 0;

	while (sent < events) {
		const uint32_t first = (uint32_t)(serial / batch_n % n_batches);

		for (uint32_t n = 0; n < TURN; n += batch_n) {
			publish_batch((first + n / batch_n) % n_batches);
		}
		sent += TURN;
		uv_run(&loop, UV_RUN_NOWAIT);
		settle(WINDOW / 2);
	}
	while (told < serial || sinks[n_sinks - 1].got < sinks[0].got) {
		uv_run(&loop, UV_RUN_NOWAIT);
	}
	return (double)(cpu_ns() - begin) / (double)sent;
}

static void add_flow(struct flow *f, const char *pattern, void *owner)
{
	f->spec.pattern = xstrdup(pattern);
	f->owner = owner;
	flow_subscribe(bus, f);
}

static int by_value(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
	struct memory_options options = {.history = 64 << 20,
					 .dedupe_window_ms = 120000,
					 .flow_expiry_ms = 300000,
					 .max_flows = 1000000};
	uint32_t arg[6] = {0, 128, 64, 1, 0, 0};
	struct budget budget;
	double ns[ROUNDS];
	char pattern[64];

	for (int i = 1; i < argc && i < 6; i++) {
		arg[i] = (uint32_t)strtoul(argv[i], NULL, 10);
	}
	payload_n = arg[1];
	options.history += (int64_t)arg[5] * (payload_n + 512);
	batch_n = arg[2];
	n_sinks = arg[3];
	budget_init(&budget, NULL, (size_t)8 << 30);
	uv_loop_init(&loop);
	const struct adapter_env env = {.loop = &loop,
					.name = "bench",
					.instance = "bench",
					.up = &up,
					.budget = &budget,
					.publish_timeout_ms = 5000,
					.max_event_bytes = 4 << 20};
	adapter_kind_memory.create(&env, &options, &bus, NULL);
	adapter_start(bus, NULL);
	sinks = xcalloc(n_sinks, sizeof(*sinks));
	for (uint32_t i = 0; i < n_sinks; i++) {
		add_flow(&sinks[i].f, "orders.created", &sinks[i]);
	}
	struct flow *others = xcalloc(arg[4] + 1, sizeof(*others));
	for (uint32_t i = 0; i < arg[4]; i++) {
		snprintf(pattern, sizeof(pattern), i % 2 ? "*.none.%u" : "orders.none%u.>", i);
		add_flow(&others[i], pattern, NULL);
	}
	if (arg[5]) {
		add_flow(&others[arg[4]], "waiting", NULL);
		make_batches("waiting");
		for (uint64_t sent = 0; sent < arg[5]; sent += batch_n) {
			publish_batch((uint32_t)(sent / batch_n % n_batches));
			uv_run(&loop, UV_RUN_NOWAIT);
		}
	}
	make_batches("orders.created");
	uv_run(&loop, UV_RUN_NOWAIT);
	settle(0);
	run(500000);
	for (int i = 0; i < ROUNDS; i++) {
		ns[i] = run(500000);
	}
	qsort(ns, ROUNDS, sizeof(ns[0]), by_value);
	printf("memory_bus_%uB_batch%u_flows%u_patterns%u_pending%u\t%.1f ns\t%.2f M/s\n",
	       payload_n, batch_n, n_sinks, arg[4], arg[5], ns[ROUNDS / 2], 1e3 / ns[ROUNDS / 2]);
	return 0;
}
