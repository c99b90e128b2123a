/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other side of the comparison: nats.c alone, doing what eventbusd does for a client.
 *
 *   bench_nats core URL SIZE COUNT WINDOW             pub/sub without acks
 *   bench_nats publish URL STREAM SIZE COUNT WINDOW   js_PublishMsgAsync, confirmed
 *   bench_nats both URL STREAM SIZE COUNT WINDOW      the same, and a durable pull consumer that
 * acks
 *
 * Every message carries x-event-id; JetStream ones Nats-Msg-Id too, as eventbusd's do. Prints
 * messages per second.
 */
#include "tests/bench/bench.h"

#include <nats/nats.h>
#include <string.h>

static void check(natsStatus s, const char *what)
{
	if (s != NATS_OK) {
		fprintf(stderr, "bench_nats: %s: %s\n", what, natsStatus_GetText(s));
		exit(1);
	}
}

static natsConnection *connect_to(const char *url)
{
	natsConnection *nc = NULL;

	check(natsConnection_ConnectTo(&nc, url), "connect");
	return nc;
}

static natsMsg *message(const char *subject, const void *payload, int size, uint64_t n,
			bool jetstream)
{
	natsMsg *m = NULL;
	char id[37], unique[100];

	bench_id(id, n);
	check(natsMsg_Create(&m, subject, NULL, payload, size), "message");
	natsMsgHeader_Set(m, "x-event-id", id);
	if (jetstream) {
		snprintf(unique, sizeof(unique), "bench:%s", id);
		natsMsgHeader_Set(m, "Nats-Msg-Id", unique);
	}
	return m;
}

struct core {
	struct bench_shared *shared;
	uint64_t count;
};

static void on_message(natsConnection *nc, natsSubscription *sub, natsMsg *m, void *arg)
{
	struct core *c = arg;
	const char *id = NULL;

	(void)nc;
	(void)sub;
	natsMsgHeader_Get(m, "x-event-id", &id);
	natsMsg_Destroy(m);
	bench_received(c->shared, c->count);
}

static void core_subscriber(const char *url, struct bench_shared *shared, uint64_t count)
{
	natsConnection *nc = connect_to(url);
	natsSubscription *sub = NULL;
	struct core c = {shared, count};

	check(natsConnection_Subscribe(&sub, nc, "bench", on_message, &c), "subscribe");
	natsSubscription_SetPendingLimits(sub, -1, -1);
	check(natsConnection_Flush(nc), "flush");
	shared->ready = 1;
	bench_tick(shared);
	while (atomic_load(&shared->received) < count) {
		nats_Sleep(20);
	}
	exit(0);
}

static void run_core(char **argv)
{
	int size = atoi(argv[3]);
	uint64_t count = strtoull(argv[4], NULL, 10), window = strtoull(argv[5], NULL, 10);
	struct bench_shared *shared = bench_share();
	char *payload = calloc(1, (size_t)size + 1);
	natsConnection *nc;
	int64_t start;

	if (fork() == 0) {
		core_subscriber(argv[2], shared, count);
	}
	while (!shared->ready) {
		bench_wait_tick(shared);
	}
	nc = connect_to(argv[2]);
	start = bench_now_ns();
	for (uint64_t n = 0; n < count; n++) {
		natsMsg *m = message("bench", payload, size, n, false);

		check(natsConnection_PublishMsg(nc, m), "publish");
		natsMsg_Destroy(m);
		while (n + 1 - atomic_load(&shared->received) >= window) {
			bench_wait_tick(shared);
		}
	}
	natsConnection_Flush(nc);
	while (atomic_load(&shared->received) < count) {
		bench_wait_tick(shared);
	}
	printf("%.0f\n", (double)count * 1e9 / (double)(shared->last_ns - start));
	free(payload);
	wait(NULL);
}

static void jetstream(natsConnection *nc, jsCtx **js, int64_t window)
{
	jsOptions o;

	jsOptions_Init(&o);
	o.PublishAsync.MaxPending = window;
	o.PublishAsync.StallWait = 60000;
	check(natsConnection_JetStream(js, nc, &o), "jetstream");
}

static void make_stream(jsCtx *js, const char *stream)
{
	jsStreamConfig c;
	jsErrCode err = 0;
	char subjects[100];
	const char *list[1] = {subjects};

	snprintf(subjects, sizeof(subjects), "%s.>", stream);
	jsStreamConfig_Init(&c);
	c.Name = stream;
	c.Subjects = list;
	c.SubjectsLen = 1;
	check(js_AddStream(NULL, js, &c, NULL, &err), "stream");
}

static void consume(const char *url, const char *stream, struct bench_shared *shared,
		    uint64_t count)
{
	natsConnection *nc = connect_to(url);
	natsSubscription *sub = NULL;
	jsErrCode err = 0;
	jsCtx *js = NULL;
	char subject[100];
	jsSubOptions o;

	snprintf(subject, sizeof(subject), "%s.bench", stream);
	jetstream(nc, &js, 4096);
	jsSubOptions_Init(&o);
	o.Stream = stream;
	o.Config.MaxAckPending = 8192;
	check(js_PullSubscribe(&sub, js, subject, "bench", NULL, &o, &err), "pull subscribe");
	shared->ready = 1;
	bench_tick(shared);
	while (atomic_load(&shared->received) < count) {
		natsMsgList list;
		natsStatus s = natsSubscription_Fetch(&list, sub, 1024, 2000, NULL);

		if (s != NATS_OK) {
			continue;
		}
		for (int i = 0; i < list.Count; i++) {
			natsMsg_Ack(list.Msgs[i], NULL);
			bench_received(shared, count);
		}
		natsMsgList_Destroy(&list);
	}
	natsConnection_Flush(nc);
	exit(0);
}

static void run_jetstream(char **argv, bool both)
{
	const char *stream = argv[3];
	int size = atoi(argv[4]);
	uint64_t count = strtoull(argv[5], NULL, 10), window = strtoull(argv[6], NULL, 10);
	struct bench_shared *shared = bench_share();
	char *payload = calloc(1, (size_t)size + 1), subject[100];
	natsConnection *nc;
	jsCtx *js = NULL;
	int64_t start, end;

	snprintf(subject, sizeof(subject), "%s.bench", stream);
	if (fork() == 0) {
		nc = connect_to(argv[2]);
		jetstream(nc, &js, (int64_t)window);
		make_stream(js, stream);
		exit(0);
	}
	wait(NULL);
	if (both && fork() == 0) {
		consume(argv[2], stream, shared, count);
	}
	while (both && !shared->ready) {
		bench_wait_tick(shared);
	}
	nc = connect_to(argv[2]);
	jetstream(nc, &js, (int64_t)window);
	start = bench_now_ns();
	for (uint64_t n = 0; n < count; n++) {
		natsMsg *m = message(subject, payload, size, n, true);

		check(js_PublishMsgAsync(js, &m, NULL), "publish");
		/* The publish window; with a consumer it is the window of the whole, as there. */
		while (both && n + 1 - atomic_load(&shared->received) >= window) {
			bench_wait_tick(shared);
		}
	}
	check(js_PublishAsyncComplete(js, NULL), "complete");
	end = bench_now_ns();
	while (both && atomic_load(&shared->received) < count) {
		bench_wait_tick(shared);
	}
	if (both && shared->last_ns > end) {
		end = shared->last_ns;
	}
	printf("%.0f\n", (double)count * 1e9 / (double)(end - start));
	free(payload);
	wait(NULL);
}

int main(int argc, char **argv)
{
	if (argc == 6 && strcmp(argv[1], "core") == 0) {
		run_core(argv);
		return 0;
	}
	if (argc == 7 && (strcmp(argv[1], "publish") == 0 || strcmp(argv[1], "both") == 0)) {
		run_jetstream(argv, argv[1][0] == 'b');
		return 0;
	}
	fprintf(stderr, "usage: bench_nats core URL SIZE COUNT WINDOW\n"
			"       bench_nats publish|both URL STREAM SIZE COUNT WINDOW\n");
	return 64;
}
