/* SPDX-License-Identifier: Apache-2.0 */
#include "base/event.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "tests/unit/suite.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static struct slice s(const char *text)
{
	return slice_str(text);
}

static const struct metadata_pair pairs[] = {
	{{(const uint8_t *)"tenant", 6}, {(const uint8_t *)"blue", 4}},
	{{(const uint8_t *)"x-trace", 7}, {(const uint8_t *)"00-1", 4}},
	{{(const uint8_t *)"Tenant", 6},
	 {(const uint8_t *)"r\xc3\xa9"
			   "d",
	  4}},
};

static struct event_fields full(void)
{
	return (struct event_fields){
		.id = s("id-1"),
		.topic = s("orders.created"),
		.payload = slice_of("\0\x01\xff", 3),
		.key = s("k"),
		.content_type = s("application/json"),
		.message_type = s("shop.v1.Order"),
		.published_at_ms = 1795437296789,
		.metadata = pairs,
		.metadata_count = COUNT(pairs),
	};
}

static void check_full(const struct event *e)
{
	struct metadata_pair m;
	struct slice v;
	size_t pos = 0;

	ck_assert(slice_eq_str(e->id, "id-1"));
	ck_assert(slice_eq_str(e->topic, "orders.created"));
	ck_assert(slice_eq(e->payload, slice_of("\0\x01\xff", 3)));
	ck_assert(slice_eq_str(e->key, "k"));
	ck_assert(slice_eq_str(e->content_type, "application/json"));
	ck_assert(slice_eq_str(e->message_type, "shop.v1.Order"));
	ck_assert_int_eq(e->published_at_ms, 1795437296789);
	ck_assert_uint_eq(e->metadata_count, 3);
	ck_assert_uint_eq(e->metadata_bytes, 6 + 4 + 7 + 4 + 6 + 4);
	for (size_t i = 0; i < COUNT(pairs); i++) {
		ck_assert(event_metadata_next(e, &pos, &m));
		ck_assert(slice_eq(m.key, pairs[i].key));
		ck_assert(slice_eq(m.value, pairs[i].value));
	}
	ck_assert(!event_metadata_next(e, &pos, &m));
	ck_assert(event_metadata_get(e, "x-trace", &v));
	ck_assert(slice_eq_str(v, "00-1"));
	ck_assert(event_metadata_get(e, "Tenant", &v));
	ck_assert_uint_eq(v.n, 4);
	ck_assert(!event_metadata_get(e, "TENANT", &v));
}

START_TEST(what_is_built_reads_back)
{
	const struct event_fields f = full();
	struct budget budget;
	struct event *e;

	budget_init(&budget, NULL, 1000);
	e = event_build(&f, &budget);
	check_full(e);
	ck_assert_int_eq(event_parse(e), 0);
	check_full(e);
	ck_assert_uint_gt(budget.used, event_size(e));
	event_unref(e);
	ck_assert_uint_eq(budget.used, 0);
}
END_TEST

START_TEST(the_encoding_is_that_of_the_schema)
{
	const struct metadata_pair m = {s("a"), s("b")};
	const struct event_fields f = {
		.id = s("i"),
		.topic = s("t"),
		.payload = s("p"),
		.published_at_ms = 300,
		.key = s("k"),
		.content_type = s("c"),
		.message_type = s("m"),
		.metadata = &m,
		.metadata_count = 1,
	};
	static const uint8_t want[] = {0x0a, 1,	   'i',	 0x12, 1,   't',  0x1a, 1,   'p',  0x20,
				       0xac, 2,	   0x2a, 1,    'k', 0x32, 1,	'c', 0x3a, 1,
				       'm',  0x42, 6,	 0x0a, 1,   'a',  0x12, 1,   'b'};
	struct event *e = event_build(&f, NULL);

	ck_assert_uint_eq(e->raw.n, sizeof(want));
	ck_assert_mem_eq(e->raw.p, want, sizeof(want));
	event_unref(e);
}
END_TEST

START_TEST(an_empty_event_has_no_bytes)
{
	const struct event_fields f = {.published_at_ms = 0};
	struct event *e = event_build(&f, NULL), *copy;
	struct metadata_pair m;
	size_t pos = 0;

	ck_assert_uint_eq(event_size(e), 0);
	ck_assert_int_eq(event_parse(e), 0);
	ck_assert(!event_metadata_next(e, &pos, &m));
	copy = event_copy(e, NULL);
	ck_assert_uint_eq(event_size(copy), 0);
	event_unref(copy);
	event_unref(e);
	event_unref(NULL);
}
END_TEST

/* Lengths around each size of a varint, and times of both signs. */
START_TEST(every_length_and_time_reads_back)
{
	static const size_t sizes[] = {1, 127, 128, 129, 16383, 16384, 2097151, 2097152};
	static const int64_t times[] = {1, -1, 127, 128, INT64_MAX, INT64_MIN};
	uint8_t *big = calloc(1, 2097152);

	for (size_t i = 0; i < COUNT(sizes); i++) {
		struct metadata_pair m = {s("k"), slice_of(big, sizes[i])};
		struct event_fields f = {
			.topic = s("t"),
			.payload = slice_of(big, sizes[i]),
			.published_at_ms = times[i % COUNT(times)],
			.metadata = &m,
			.metadata_count = 1,
		};
		struct event *e = event_build(&f, NULL);
		struct slice v;

		ck_assert_int_eq(event_parse(e), 0);
		ck_assert_uint_eq(e->payload.n, sizes[i]);
		ck_assert_int_eq(e->published_at_ms, f.published_at_ms);
		ck_assert(event_metadata_get(e, "k", &v));
		ck_assert_uint_eq(v.n, sizes[i]);
		event_unref(e);
	}
	free(big);
}
END_TEST

START_TEST(a_copy_holds_raw_and_tail_and_outlives_the_source)
{
	struct budget budget;
	struct shared_bytes *bytes;
	struct event_block *block;
	struct event *e, *copy;

	budget_init(&budget, NULL, 1 << 20);
	bytes = shared_bytes_create(5, &budget);
	memcpy(bytes->bytes, "\x12\x03x.y", 5);
	block = event_block_create(1, 4, bytes, &budget);
	shared_bytes_unref(bytes);
	e = event_block_events(block);
	e->raw = slice_of(bytes->bytes, 5);
	memcpy(event_block_extra(block), "\x0a\x02id", 4);
	e->tail = slice_of(event_block_extra(block), 4);
	ck_assert_int_eq(event_parse(e), 0);
	ck_assert(slice_eq_str(e->topic, "x.y"));
	ck_assert_uint_eq(event_size(e), 9);
	copy = event_copy(e, &budget);
	event_unref(e);
	ck_assert(slice_eq_str(copy->topic, "x.y"));
	ck_assert(slice_eq_str(copy->id, "id"));
	ck_assert_uint_eq(copy->raw.n, 9);
	ck_assert_uint_eq(copy->tail.n, 0);
	event_unref(copy);
	ck_assert_uint_eq(budget.used, 0);
}
END_TEST

START_TEST(a_block_lives_as_long_as_its_last_event)
{
	struct budget budget;
	struct shared_bytes *bytes;
	struct event_block *block;
	struct event *e;
	size_t full_size;

	budget_init(&budget, NULL, 1 << 20);
	bytes = shared_bytes_create(100, &budget);
	ck_assert_uint_eq(budget.used, 100);
	block = event_block_create(3, 36 * 3, bytes, &budget);
	shared_bytes_unref(bytes);
	full_size = budget.used;
	ck_assert_uint_ge(full_size, 100 + 3 * sizeof(struct event) + 36 * 3);
	e = event_block_events(block);
	for (int i = 0; i < 3; i++) {
		ck_assert_ptr_eq(e[i].block, block);
		ck_assert_uint_eq(e[i].raw.n, 0);
		event_ref(&e[i]);
	}
	memset(event_block_extra(block), 7, 36 * 3);
	event_block_unref(block);
	event_unref(&e[1]);
	event_unref(&e[0]);
	ck_assert_uint_eq(budget.used, full_size);
	event_unref(&e[2]);
	ck_assert_uint_eq(budget.used, 0);
	event_block_unref(NULL);
	shared_bytes_unref(NULL);
}
END_TEST

static int parse(struct event *e, const void *bytes, size_t n)
{
	*e = (struct event){.raw = slice_of(bytes, n)};
	return event_parse(e);
}

#define PARSE(e, literal) parse(e, literal, sizeof(literal) - 1)

START_TEST(malformed_bytes_are_refused)
{
	struct event e;

	ck_assert_int_eq(PARSE(&e, "\x0a"), EB_EPROTO);	     /* no length */
	ck_assert_int_eq(PARSE(&e, "\x0a\x02x"), EB_EPROTO); /* cut */
	ck_assert_int_eq(PARSE(&e, "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), EB_EPROTO);
	ck_assert_int_eq(PARSE(&e, "\x0a\x80"), EB_EPROTO); /* cut in the length */
	ck_assert_int_eq(PARSE(&e, "\x80"), EB_EPROTO);	    /* cut in the key */
	ck_assert_int_eq(PARSE(&e, "\x02\x00"), EB_EPROTO); /* field 0 */
	ck_assert_int_eq(PARSE(&e, "\x0b"), EB_EPROTO);	    /* group */
	ck_assert_int_eq(PARSE(&e, "\x0c"), EB_EPROTO);
	ck_assert_int_eq(PARSE(&e, "\x0e"), EB_EPROTO);		     /* wire type 6 */
	ck_assert_int_eq(PARSE(&e, "\x08\x01"), EB_EPROTO);	     /* id as a number */
	ck_assert_int_eq(PARSE(&e, "\x22\x01x"), EB_EPROTO);	     /* time as bytes */
	ck_assert_int_eq(PARSE(&e, "\x40\x01"), EB_EPROTO);	     /* metadata as a number */
	ck_assert_int_eq(PARSE(&e, "\x42\x02\x08\x01"), EB_EPROTO);  /* its key as a number */
	ck_assert_int_eq(PARSE(&e, "\x42\x03\x0a\x05x"), EB_EPROTO); /* its key cut */
	ck_assert_int_eq(PARSE(&e, "\x20\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"), EB_EPROTO);
	ck_assert_int_eq(PARSE(&e, "\x20\xff\xff\xff\xff\xff\xff\xff\xff\xff\x80\x01"), EB_EPROTO);
	ck_assert_int_eq(PARSE(&e, "\x79\x01\x02\x03"), EB_EPROTO);	/* 8 bytes cut */
	ck_assert_int_eq(PARSE(&e, "\x7d\x01\x02\x03"), EB_EPROTO);	/* 4 bytes cut */
	ck_assert_int_eq(PARSE(&e, "\x8a\x80\x80\x80\x10"), EB_EPROTO); /* key above 32 bits */
}
END_TEST

START_TEST(unknown_fields_are_skipped_and_the_last_of_a_field_counts)
{
	struct event e;
	struct slice v;

	ck_assert_int_eq(PARSE(&e, "\x78\x05\x79"
				   "12345678"
				   "\x7d"
				   "1234"
				   "\x7a\x02zz\x82\x06\x01z\x12\x01t"),
			 0);
	ck_assert(slice_eq_str(e.topic, "t"));
	ck_assert_int_eq(PARSE(&e, "\x12\x01t\x12\x01u\x20\x05\x20\x06"), 0);
	ck_assert(slice_eq_str(e.topic, "u"));
	ck_assert_int_eq(e.published_at_ms, 6);
	/* an entry without a value, one without anything, one with a field more */
	ck_assert_int_eq(PARSE(&e, "\x42\x03\x0a\x01"
				   "a\x42\x00\x42\x08\x0a\x01"
				   "b\x12\x01w\x18\x01"),
			 0);
	ck_assert_uint_eq(e.metadata_count, 3);
	ck_assert_uint_eq(e.metadata_bytes, 3);
	ck_assert(event_metadata_get(&e, "a", &v));
	ck_assert_uint_eq(v.n, 0);
	ck_assert(event_metadata_get(&e, "", &v));
	ck_assert(event_metadata_get(&e, "b", &v));
	ck_assert(slice_eq_str(v, "w"));
}
END_TEST

START_TEST(parsing_again_starts_anew)
{
	struct event e;

	ck_assert_int_eq(PARSE(&e, "\x0a\x01i\x42\x03\x0a\x01k"), 0);
	ck_assert_int_eq(event_parse(&e), 0);
	ck_assert_uint_eq(e.metadata_count, 1);
	e.raw = slice_of("\x12\x01t", 3);
	ck_assert_int_eq(event_parse(&e), 0);
	ck_assert_uint_eq(e.id.n, 0);
	ck_assert_uint_eq(e.metadata_count, 0);
}
END_TEST

/* Whatever the bytes are: no read outside them (the sanitizers watch), and views lie inside. */
START_TEST(mangled_bytes_never_harm)
{
	const struct event_fields f = full();
	struct event *good = event_build(&f, NULL);
	uint32_t seed = 11;

	for (int round = 0; round < 200000; round++) {
		const size_t n = (seed >> 4) % (good->raw.n + 1);
		uint8_t *bytes = malloc(n + 1);
		struct metadata_pair m;
		struct event e;

		memcpy(bytes, good->raw.p, n);
		for (int k = 0; n && k < 3; k++) {
			seed = seed * 1664525 + 1013904223;
			bytes[(seed >> 16) % n] = (uint8_t)(seed >> 8);
		}
		bytes = realloc(bytes, n ? n : 1);
		if (parse(&e, bytes, n) == 0 && e.payload.n) {
			ck_assert(e.payload.p >= bytes);
			ck_assert(e.payload.p + e.payload.n <= bytes + n);
		}
		for (size_t pos = 0; event_metadata_next(&e, &pos, &m);) {
			ck_assert_uint_le(pos, n);
		}
		free(bytes);
		seed = seed * 1664525 + 1013904223;
	}
	event_unref(good);
}
END_TEST

int main(void)
{
	const TTest *tests[] = {
		what_is_built_reads_back,
		the_encoding_is_that_of_the_schema,
		an_empty_event_has_no_bytes,
		every_length_and_time_reads_back,
		a_copy_holds_raw_and_tail_and_outlives_the_source,
		a_block_lives_as_long_as_its_last_event,
		malformed_bytes_are_refused,
		unknown_fields_are_skipped_and_the_last_of_a_field_counts,
		parsing_again_starts_anew,
		mangled_bytes_never_harm,
	};

	return suite_run("event", tests, COUNT(tests));
}
