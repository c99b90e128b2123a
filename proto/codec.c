/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/codec.h"

#include <assert.h>

#include "proto/framer.h"
#include "proto/scan.h"
#include "proto/wire.h"

/*
 * protobuf-c needs more room for what the daemon sends (long lists of short ranges), and a client
 * trusts its daemon more than the daemon trusts it.
 */
#define DAEMON_FACTOR 8
#define CLIENT_FACTOR 32
#define MEMORY_BASE   65536

bool codec_known_kind(uint32_t field)
{
	return protobuf_c_message_descriptor_get_field(&eventbus__v1__frame__descriptor, field);
}

int codec_kind(struct slice body)
{
	struct wire w = wire_of(body);
	uint32_t tag;

	if (wire_tag(&w, &tag) != 0 || (tag & 7) != WIRE_LENGTH) {
		return 0;
	}
	return (int)(tag >> 3);
}

static uint32_t max_elements(enum codec_side side, int kind)
{
	if (side == CODEC_CLIENT) {
		return UINT32_MAX; /* the memory cap bounds it */
	}
	switch (kind) {
	case EVENTBUS__V1__FRAME__KIND_PUBLISH:
		return CODEC_MAX_EVENTS;
	case EVENTBUS__V1__FRAME__KIND_SUBSCRIBE:
	case EVENTBUS__V1__FRAME__KIND_REGISTER:
		return CODEC_MAX_PATTERNS;
	default:
		return CODEC_MAX_RANGES;
	}
}

/* Hello alone may hold fields of a later version: a client says hello before it knows ours. */
static int scan_hello(struct slice body, struct scan_rules *rules, struct err_text *err)
{
	struct wire w = wire_of(body);
	struct slice hello;
	uint32_t tag;

	if (wire_tag(&w, &tag) != 0 || wire_bytes(&w, &hello) != 0) {
		return err_set(err, EB_EPROTO, "hello: %s", w.why);
	}
	if (w.p != w.end) {
		return err_set(err, EB_EPROTO, "frame: more than one message");
	}
	rules->allow_unknown = true;
	return scan_message(&eventbus__v1__frame__descriptor, body, rules, err);
}

static void *arena_cb_alloc(void *arena, size_t n)
{
	return arena_alloc(arena, n);
}

static void arena_cb_free(void *arena, void *p)
{
	/* All of it goes with the arena. */
	(void)arena;
	(void)p;
}

int codec_read(enum codec_side side, struct slice body, struct arena *arena,
	       Eventbus__V1__Frame **out, struct err_text *err)
{
	ProtobufCAllocator allocator = {arena_cb_alloc, arena_cb_free, arena};
	int kind = codec_kind(body), rc;
	struct scan_rules rules = {
		.allow_unknown = side == CODEC_CLIENT,
		.max_elements = max_elements(side, kind),
		.max_pairs = side == CODEC_CLIENT ? UINT32_MAX : METADATA_MAX_PAIRS,
		.max_memory = body.n * (side == CODEC_CLIENT ? CLIENT_FACTOR : DAEMON_FACTOR) +
			      MEMORY_BASE,
	};

	arena_init(arena, rules.max_memory);
	*out = NULL;
	if (side == CODEC_DAEMON && kind == EVENTBUS__V1__FRAME__KIND_HELLO) {
		rc = scan_hello(body, &rules, err);
	} else {
		rc = scan_message(&eventbus__v1__frame__descriptor, body, &rules, err);
	}
	if (rc != 0) {
		return rc;
	}
	*out = eventbus__v1__frame__unpack(&allocator, body.n, body.p);
	if (!*out) {
		return arena->exhausted ? err_set(err, EB_ETOOBIG,
						  "frame: too many small parts for its size")
					: err_set(err, EB_EPROTO, "frame: not a message");
	}
	if (side == CODEC_DAEMON && (*out)->kind_case == EVENTBUS__V1__FRAME__KIND__NOT_SET) {
		return err_set(err, EB_EPROTO, "frame: empty");
	}
	return 0;
}

void codec_write(struct buf *out, const Eventbus__V1__Frame *frame)
{
	size_t n = eventbus__v1__frame__get_packed_size(frame);
	uint8_t *p = buf_reserve(out, FRAME_HEADER + n);

	assert(n <= UINT32_MAX);
	p[0] = (uint8_t)(n >> 24);
	p[1] = (uint8_t)(n >> 16);
	p[2] = (uint8_t)(n >> 8);
	p[3] = (uint8_t)n;
	eventbus__v1__frame__pack(frame, p + FRAME_HEADER);
	scan_repair(&eventbus__v1__frame__descriptor, p + FRAME_HEADER, n);
	buf_added(out, FRAME_HEADER + n);
}
