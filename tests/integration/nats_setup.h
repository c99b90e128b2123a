/* SPDX-License-Identifier: Apache-2.0 */
/* A nats-server, and one or two adapters that talk to it. */
#ifndef TESTS_INTEGRATION_NATS_SETUP_H
#define TESTS_INTEGRATION_NATS_SETUP_H

#include <nats/nats.h>
#include <poll.h>

#include "adapters/nats/options.h"
#include "tests/integration/nats_server.h"
#include "base/clock.h"
#include "tests/unit/suite.h"
#include "tests/unit/support_adapter.h"

static const struct start from_new = {.kind = START_NEW};
static const struct start from_first = {.kind = START_EARLIEST};

struct setup {
	struct nats_server server;
	struct nats_options options;
	char *servers[1];
	struct probe probe, other;
};

static inline void setup_options(struct setup *s)
{
	memset(&s->options, 0, sizeof(s->options));
	s->servers[0] = s->server.url;
	s->options.servers = (struct option_strings){s->servers, 1};
	s->options.connection_name = (char *)"test";
	s->options.stream = (char *)"events";
	s->options.create = true;
	s->options.in_flight = 256;
	s->options.connect_timeout_ms = 2000;
	s->options.ping_interval_ms = 500;
	s->options.reconnect_wait_ms = 20;
	s->options.reconnect_max_wait_ms = 100;
	s->options.ack_wait_ms = 2000;
	s->options.owner_lease_ms = 1000;
	s->options.failures_max_age_ms = 3600000;
}

static inline void setup_probe(struct setup *s, struct probe *probe)
{
	probe_start(probe, &adapter_kind_nats, &s->options, (size_t)64 << 20);
}

static inline void setup_begin(struct setup *s)
{
	signal(SIGPIPE, SIG_IGN);
	server_start(&s->server);
	setup_options(s);
	setup_probe(s, &s->probe);
}

static inline void setup_end(struct setup *s)
{
	probe_stop(&s->probe, false);
	server_end(&s->server);
}

/* One turn of two loops: waits for what comes first. */
static inline void setup_turn(struct probe *a, struct probe *b)
{
	struct pollfd fds[2] = {{uv_backend_fd(&a->loop), POLLIN, 0},
				{uv_backend_fd(&b->loop), POLLIN, 0}};
	int wait;

	uv_run(&a->loop, UV_RUN_NOWAIT);
	uv_run(&b->loop, UV_RUN_NOWAIT);
	wait = uv_backend_timeout(&a->loop);
	wait = uv_backend_timeout(&b->loop) < wait ? uv_backend_timeout(&b->loop) : wait;
	poll(fds, 2, wait);
}
#define setup_until2(a, b, condition)                                                              \
	while (!(condition)) {                                                                     \
		setup_turn(a, b);                                                                  \
	}

/* A plain client, for what a foreign producer or an operator would do. */
struct foreign {
	natsConnection *nc;
	jsCtx *js;
};

static inline void foreign_open(struct foreign *f, const struct setup *s)
{
	ck_assert_int_eq(natsConnection_ConnectTo(&f->nc, s->server.url), NATS_OK);
	ck_assert_int_eq(natsConnection_JetStream(&f->js, f->nc, NULL), NATS_OK);
}

static inline void foreign_close(struct foreign *f)
{
	jsCtx_Destroy(f->js);
	natsConnection_Destroy(f->nc);
}

/* headers: key, value, key, value, NULL; may be NULL. */
static inline void foreign_publish(struct foreign *f, const char *subject, const char *payload,
				   const char *const *headers)
{
	natsMsg *msg;

	ck_assert_int_eq(natsMsg_Create(&msg, subject, NULL, payload, (int)strlen(payload)),
			 NATS_OK);
	for (; headers && headers[0]; headers += 2) {
		natsMsgHeader_Set(msg, headers[0], headers[1]);
	}
	ck_assert_int_eq(js_PublishMsg(NULL, f->js, msg, NULL, NULL), NATS_OK);
	natsMsg_Destroy(msg);
}

static inline uint64_t foreign_messages(struct foreign *f, const char *stream)
{
	jsStreamInfo *info = NULL;
	uint64_t n = UINT64_MAX;

	if (js_GetStreamInfo(&info, f->js, stream, NULL, NULL) == NATS_OK) {
		n = info->State.Msgs;
	}
	jsStreamInfo_Destroy(info);
	return n;
}

static inline struct slice got_payload(const struct probe_flow *f, uint32_t i)
{
	return f->got[i].event->payload;
}

#define assert_note(flow, i, kind)                                                                 \
	do {                                                                                       \
		ck_assert_uint_gt((flow)->n_notes, (i));                                           \
		ck_assert_int_eq((flow)->notes[i].event, (kind));                                  \
	} while (0)

#endif
