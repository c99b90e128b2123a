/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/scan.h"

#include <stdio.h>

#include "base/arena.h"
#include "proto/eventbus/v1/eventbus.pb-c.h"
#include "proto/wire.h"
#include "tests/unit/bytes.h"
#include "tests/unit/suite.h"

#define FRAME	(&eventbus__v1__frame__descriptor)
#define KIND(x) EVENTBUS__V1__FRAME__KIND_##x

static struct buf outer, inner;
static struct err_text err;

static void setup(void)
{
	buf_init(&outer);
	buf_init(&inner);
	err.s[0] = '\0';
}

static int scan_with(bool lenient, size_t memory)
{
	const struct scan_rules rules = {lenient, 100, 64, memory};
	int rc = scan_message(FRAME, buf_slice(&outer), &rules, &err);

	buf_reset(&outer, SIZE_MAX);
	return rc;
}

/* Scans what is in outer as a client's frame; the text must be that. */
static void refused(int rc, const char *text)
{
	ck_assert_int_eq(scan_with(false, 0), rc);
	ck_assert_str_eq(err.s, text);
}

static void refused_in(uint32_t kind, int rc, const char *text)
{
	add_inner(&outer, kind, &inner);
	refused(rc, text);
}

static void accepted_in(uint32_t kind)
{
	add_inner(&outer, kind, &inner);
	ck_assert_int_eq(scan_with(false, 0), 0);
}

START_TEST(unknown_fields_are_named_by_number)
{
	setup();
	add_uint(&inner, 99, 1);
	refused_in(KIND(SUBSCRIBE), EB_EPROTO,
		   "subscribe: unknown field 99 (not supported by this version)");
	add_uint(&outer, 77, 1);
	refused(EB_EPROTO, "frame: unknown field 77 (not supported by this version)");
	add_uint(&inner, 1, 3);
	add_bytes(&inner, 12, "\x30\x01", 2);
	refused_in(KIND(SUBSCRIBE), EB_EPROTO,
		   "subscribe.start: unknown field 6 (not supported by this version)");
	add_uint(&inner, 99, 1);
	add_inner(&outer, KIND(WELCOME), &inner);
	ck_assert_int_eq(scan_with(true, 0), 0);
}
END_TEST

START_TEST(unknown_enum_values_are_named)
{
	setup();
	add_uint(&inner, 11, 9);
	refused_in(KIND(SUBSCRIBE), EB_EPROTO,
		   "subscribe.order: unknown value 9 (not supported by this version)");
	add_uint(&inner, 11, 9);
	add_inner(&outer, KIND(SUBSCRIBE), &inner);
	ck_assert_int_eq(scan_with(true, 0), 0);
	add_uint(&inner, 11, UINT64_C(1) << 32 | 1);
	refused_in(KIND(SUBSCRIBE), EB_EPROTO, "subscribe.order: over 32 bits");
	add_uint(&inner, 11, (uint64_t)-1);
	refused_in(KIND(SUBSCRIBE), EB_EPROTO,
		   "subscribe.order: unknown value -1 (not supported by this version)");
}
END_TEST

START_TEST(singular_fields_and_choices_come_once)
{
	setup();
	add_uint(&inner, 1, 1);
	add_uint(&inner, 1, 1);
	refused_in(KIND(PING), EB_EPROTO, "ping.request: more than once");
	add_bytes(&outer, KIND(PING), "", 0);
	add_bytes(&outer, KIND(PING), "", 0);
	refused(EB_EPROTO, "ping: more than once");
	add_bytes(&outer, KIND(PING), "", 0);
	add_bytes(&outer, KIND(HELLO), "", 0);
	refused(EB_EPROTO, "hello: more than one of this choice");
	add_bytes(&inner, 12, "\x08\x01\x10\x01", 4); /* start: new and earliest */
	refused_in(KIND(SUBSCRIBE), EB_EPROTO,
		   "subscribe.start.earliest: more than one of this choice");
}
END_TEST

START_TEST(wire_types_must_fit)
{
	setup();
	add_uint(&inner, 2, 1);
	refused_in(KIND(SUBSCRIBE), EB_EPROTO, "subscribe.patterns[0]: wrong wire type");
	add_text(&inner, 1, "x");
	refused_in(KIND(PING), EB_EPROTO, "ping.request: wrong wire type");
	add_bytes(&inner, 99, "", 0);
	buf_append(&outer, "\x0b", 1); /* a group */
	refused(EB_EPROTO, "publish: wrong wire type");
}
END_TEST

START_TEST(text_is_utf8_without_nul)
{
	setup();
	add_text(&inner, 2, "fine");
	add_text(&inner, 2, "b\xff");
	refused_in(KIND(SUBSCRIBE), EB_EPROTO, "subscribe.patterns[1]: not UTF-8 without NUL");
	add_bytes(&inner, 4, "a\0b", 3);
	refused_in(KIND(SUBSCRIBE), EB_EPROTO, "subscribe.group: not UTF-8 without NUL");
	add_text(&inner, 4, "\xed\xa0\x80"); /* a surrogate */
	refused_in(KIND(SUBSCRIBE), EB_EPROTO, "subscribe.group: not UTF-8 without NUL");
	add_text(&inner, 4, "gr\xc3\xbc\xc3\x9f");
	accepted_in(KIND(SUBSCRIBE));
}
END_TEST

START_TEST(numbers_fit_their_type)
{
	setup();
	add_uint(&inner, 1, UINT64_C(1) << 32);
	refused_in(KIND(PAUSE), EB_EPROTO, "pause.subscription: over 32 bits");
	add_uint(&inner, 1, UINT32_MAX);
	accepted_in(KIND(PAUSE));
	add_uint(&inner, 14, 2);
	refused_in(KIND(SUBSCRIBE), EB_EPROTO, "subscribe.positions: not 0 or 1");
	add_uint(&inner, 1, UINT64_MAX);
	accepted_in(KIND(PING));
	buf_append(&inner, "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 11);
	refused_in(KIND(PING), EB_EPROTO, "ping.request: over 64 bits");
	buf_append(&inner, "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 12);
	refused_in(KIND(PING), EB_EPROTO, "ping.request: over 64 bits");
}
END_TEST

START_TEST(bytes_cut_short_are_refused)
{
	setup();
	buf_append(&outer, "\x6a\x05\x08", 3);
	refused(EB_EPROTO, "ping: longer than the bytes around it");
	buf_append(&outer, "\xea", 1);
	refused(EB_EPROTO, "frame: cut short");
	buf_append(&inner, "\x08\x80", 2);
	refused_in(KIND(PING), EB_EPROTO, "ping.request: cut short");
	buf_append(&inner, "\x08", 1);
	refused_in(KIND(PING), EB_EPROTO, "ping.request: cut short");
	buf_append(&inner, "\x00\x01", 2); /* field 0 */
	refused_in(KIND(PING), EB_EPROTO, "ping: field number out of range");
	buf_append(&outer, "\x6a\xff\xff\xff\xff\x7f", 6);
	refused(EB_EPROTO, "ping: longer than the bytes around it");
}
END_TEST

START_TEST(lists_and_maps_are_limited)
{
	struct buf event;

	setup();
	buf_init(&event);
	for (int i = 0; i < 101; i++) {
		add_text(&inner, 2, "p");
	}
	refused_in(KIND(SUBSCRIBE), EB_ETOOBIG, "subscribe.patterns[100]: more than 100");
	add_pair(&event, 8, "a", "1");
	add_pair(&event, 8, "b", "1");
	add_pair(&event, 8, "a", "2");
	add_inner(&inner, 2, &event);
	refused_in(KIND(PUBLISH), EB_EPROTO, "publish.events[0].metadata[2]: a key twice");
	for (int i = 0; i < 65; i++) {
		char key[16];

		snprintf(key, sizeof(key), "k%d", i);
		add_pair(&event, 8, key, "v");
	}
	add_inner(&inner, 2, &event);
	refused_in(KIND(PUBLISH), EB_ETOOBIG, "publish.events[0].metadata[64]: more than 64");
	add_bytes(&event, 8, "\x18\x01", 2);
	add_inner(&inner, 2, &event);
	refused_in(KIND(PUBLISH), EB_EPROTO,
		   "publish.events[0].metadata[0]: unknown field 3 (not supported by this "
		   "version)");
	add_bytes(&event, 8, "", 0); /* neither key nor value: both empty */
	add_inner(&inner, 2, &event);
	accepted_in(KIND(PUBLISH));
	buf_finish(&event);
}
END_TEST

/* The scan's estimate must cover what protobuf-c really takes. */
static void *count_alloc(void *arena, size_t n)
{
	return arena_alloc(arena, n);
}

static void count_free(void *arena, void *p)
{
	(void)arena;
	(void)p;
}

START_TEST(memory_is_known_before_it_is_taken)
{
	struct scan_rules rules = {true, UINT32_MAX, 64, 0};
	ProtobufCAllocator allocator = {count_alloc, count_free, NULL};
	struct arena arena;
	Eventbus__V1__Frame *frame;

	setup();
	for (int i = 0; i < 1000; i++) {
		add_bytes(&inner, 2, "", 0); /* an empty range: 2 bytes that cost 80 */
		add_uint(&inner, 77, 1);
	}
	add_inner(&outer, KIND(SETTLED), &inner);
	arena_init(&arena, SIZE_MAX / 2);
	allocator.allocator_data = &arena;
	frame = eventbus__v1__frame__unpack(&allocator, outer.len, buf_data(&outer));
	ck_assert_ptr_nonnull(frame);
	rules.max_memory = arena.used;
	ck_assert_int_eq(scan_message(FRAME, buf_slice(&outer), &rules, &err), 0);
	rules.max_memory = arena.used - 1;
	ck_assert_int_eq(scan_message(FRAME, buf_slice(&outer), &rules, &err), EB_ETOOBIG);
	ck_assert_str_eq(err.s, "settled: too many small parts for a frame of this size");
	arena_finish(&arena);
}
END_TEST

/* What scan.c takes for granted. */
static void check_type(const ProtobufCMessageDescriptor *type, int depth)
{
	ck_assert_int_lt(depth, 8);
	ck_assert_uint_le(type->n_fields, 64);
	for (unsigned i = 0; i < type->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &type->fields[i];

		if (f->label == PROTOBUF_C_LABEL_REPEATED) {
			ck_assert(f->type == PROTOBUF_C_TYPE_STRING ||
				  f->type == PROTOBUF_C_TYPE_MESSAGE);
		}
		if (f->type == PROTOBUF_C_TYPE_MESSAGE) {
			check_type(f->descriptor, depth + 1);
		}
	}
}

START_TEST(the_schema_is_one_that_the_scan_can_read)
{
	check_type(FRAME, 0);
}
END_TEST

START_TEST(text_of_others_is_repaired)
{
	char text[] = "a\xff"
		      "b\xc3\xbc\xc3";
	Eventbus__V1__Error error = EVENTBUS__V1__ERROR__INIT;
	Eventbus__V1__Frame frame = EVENTBUS__V1__FRAME__INIT;
	uint8_t bytes[64];
	size_t n;

	setup();
	error.text = text;
	frame.kind_case = KIND(ERROR);
	frame.error = &error;
	n = eventbus__v1__frame__pack(&frame, bytes);
	scan_repair(FRAME, bytes, n);
	buf_append(&outer, bytes, n);
	ck_assert_int_eq(scan_with(false, 0), 0);
	ck_assert_mem_eq(bytes + n - 6, "a?b\xc3\xbc?", 6);
}
END_TEST

int main(void)
{
	const TTest *tests[] = {
		unknown_fields_are_named_by_number,
		unknown_enum_values_are_named,
		singular_fields_and_choices_come_once,
		wire_types_must_fit,
		text_is_utf8_without_nul,
		numbers_fit_their_type,
		bytes_cut_short_are_refused,
		lists_and_maps_are_limited,
		memory_is_known_before_it_is_taken,
		the_schema_is_one_that_the_scan_can_read,
		text_of_others_is_repaired,
	};

	return suite_run("scan", tests, sizeof(tests) / sizeof(tests[0]));
}
