/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scan against protobuf-c. Whatever the scan accepts protobuf-c must unpack, in no more
 * memory than the scan allowed, and pack into bytes that the scan accepts again and that unpack to
 * the same message. And the readers by hand must accept exactly what the scan accepts.
 */
#include <stdlib.h>
#include <string.h>

#include "base/metadata.h"
#include "proto/codec.h"
#include "proto/scan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FRAME (&eventbus__v1__frame__descriptor)
/* Close to what is needed, closer than the codec's: a part that is not charged shows at once. */
#define MEMORY_BASE 256

static void require(int holds)
{
	if (!holds) {
		abort();
	}
}

static void *take(void *arena, size_t n)
{
	return arena_alloc(arena, n);
}

static void forget(void *arena, void *p)
{
	(void)arena;
	(void)p;
}

static ProtobufCMessage *unpack(struct arena *arena, size_t cap, struct slice bytes)
{
	ProtobufCAllocator allocator = {take, forget, arena};

	arena_init(arena, cap);
	return protobuf_c_message_unpack(FRAME, &allocator, bytes.n, bytes.p);
}

static struct slice pack(const ProtobufCMessage *m)
{
	size_t n = protobuf_c_message_get_packed_size(m);
	uint8_t *p = malloc(n + 1);

	require(p != NULL && protobuf_c_message_pack(m, p) == n);
	return slice_of(p, n);
}

/* Packing twice gives the same bytes: protobuf-c has no comparison of messages. */
static void check_round_trip(const struct scan_rules *rules, struct slice bytes)
{
	struct arena first, second;
	struct err_text err;
	ProtobufCMessage *m = unpack(&first, rules->max_memory, bytes);
	struct slice packed, again;
	struct scan_rules repeat = *rules;

	require(m != NULL && !first.exhausted);
	packed = pack(m);
	/* The cap follows the length of the input, which may have shrunk. */
	repeat.max_memory = 0;
	require(scan_message(FRAME, packed, &repeat, &err) == 0);
	m = unpack(&second, SIZE_MAX / 2, packed);
	require(m != NULL);
	again = pack(m);
	require(slice_eq(packed, again));
	arena_finish(&first);
	arena_finish(&second);
	free((void *)packed.p);
	free((void *)again.p);
}

/* What the readers by hand check beyond the scan. */
static int publish_fits(struct slice body)
{
	Eventbus__V1__Frame *f = eventbus__v1__frame__unpack(NULL, body.n, body.p);
	const Eventbus__V1__Publish *p = f->publish;
	int fits = p->n_events > 0 && p->first_sequence <= UINT64_MAX - p->n_events;

	eventbus__v1__frame__free_unpacked(f, NULL);
	return fits;
}

static int ack_fits(struct slice body)
{
	Eventbus__V1__Frame *f = eventbus__v1__frame__unpack(NULL, body.n, body.p);
	int fits = 1;

	for (size_t i = 0; i < f->ack->n_tags; i++) {
		fits = fits && f->ack->tags[i]->first <= f->ack->tags[i]->last;
	}
	eventbus__v1__frame__free_unpacked(f, NULL);
	return fits;
}

static int keep_going(void *ctx, const struct delivery_view *d)
{
	(void)ctx;
	(void)d;
	return 0;
}

static int read_publish(struct slice body, struct err_text *err)
{
	struct shared_bytes *source = shared_bytes_create(body.n, NULL);
	struct publish_frame p;
	int rc;

	memcpy(source->bytes, body.p, body.n);
	rc = codec_read_publish(slice_of(source->bytes, body.n), source, 0, NULL, &p, err);
	event_block_unref(p.block);
	shared_bytes_unref(source);
	return rc;
}

static void compare_with_hand(int kind, struct slice body)
{
	struct scan_rules rules = {false, CODEC_MAX_EVENTS, METADATA_MAX_PAIRS, 0};
	struct ack_frame ack = {0};
	struct err_text err;
	int scanned, read;

	switch (kind) {
	case EVENTBUS__V1__FRAME__KIND_PUBLISH:
		scanned = scan_message(FRAME, body, &rules, &err);
		read = read_publish(body, &err);
		require((read == 0) == (scanned == 0 && publish_fits(body)));
		break;
	case EVENTBUS__V1__FRAME__KIND_ACK:
		rules.max_elements = CODEC_MAX_RANGES;
		scanned = scan_message(FRAME, body, &rules, &err);
		read = codec_read_ack(body, &ack, &err);
		require((read == 0) == (scanned == 0 && ack_fits(body)));
		ranges_finish(&ack.tags);
		break;
	case EVENTBUS__V1__FRAME__KIND_DELIVER:
		rules.max_elements = UINT32_MAX;
		rules.allow_unknown = true;
		rules.max_pairs = UINT32_MAX;
		scanned = scan_message(FRAME, body, &rules, &err);
		read = codec_read_deliver(body, keep_going, NULL, &err);
		require((read == 0) == (scanned == 0));
		break;
	default:
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice body = slice_of(data, size);

	for (int lenient = 0; lenient < 2; lenient++) {
		struct scan_rules rules = {lenient, CODEC_MAX_RANGES, METADATA_MAX_PAIRS,
					   20 * size + MEMORY_BASE};
		struct err_text err = {""};

		if (scan_message(FRAME, body, &rules, &err) == 0) {
			check_round_trip(&rules, body);
		} else {
			require(err.s[0] != '\0');
		}
	}
	compare_with_hand(codec_kind(body), body);
	return 0;
}
