/* SPDX-License-Identifier: Apache-2.0 */
#include "base/wire.h"

#include "tests/unit/suite.h"

static struct wire reader(const char *bytes, size_t n)
{
	return wire_of(slice_of(bytes, n));
}

#define READER(literal) reader(literal, sizeof(literal) - 1)

START_TEST(numbers_of_every_size_come_back)
{
	for (unsigned bit = 0; bit < 64; bit++) {
		for (int less = 0; less < 2; less++) {
			const uint64_t v = (1ULL << bit) - (uint64_t)less;
			uint8_t bytes[10];
			const size_t n = (size_t)(wire_varint_put(bytes, v) - bytes);
			struct wire w = wire_of(slice_of(bytes, n));
			uint64_t got;

			ck_assert_uint_eq(n, wire_varint_size(v));
			ck_assert_int_eq(wire_varint(&w, &got), 0);
			ck_assert_uint_eq(got, v);
			ck_assert_ptr_eq(w.p, w.end);
			w = wire_of(slice_of(bytes, n - 1));
			ck_assert_int_eq(wire_varint(&w, &got), EB_EPROTO);
			ck_assert_str_eq(w.why, "cut short");
		}
	}
	ck_assert_uint_eq(wire_varint_size(UINT64_MAX), 10);
}
END_TEST

START_TEST(numbers_that_are_too_large_or_too_long_are_refused)
{
	struct wire w = READER("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02");
	uint64_t v;

	ck_assert_int_eq(wire_varint(&w, &v), EB_EPROTO);
	ck_assert_str_eq(w.why, "over 64 bits");
	w = READER("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01");
	ck_assert_int_eq(wire_varint(&w, &v), EB_EPROTO);
	/* longer than it need be, but legal */
	w = READER("\x81\x80\x00");
	ck_assert_int_eq(wire_varint(&w, &v), 0);
	ck_assert_uint_eq(v, 1);
}
END_TEST

START_TEST(tags_have_a_field_number_of_29_bits)
{
	uint32_t tag;
	struct wire w = READER("\x0a");

	ck_assert_int_eq(wire_tag(&w, &tag), 0);
	ck_assert_uint_eq(tag, WIRE_TAG(1, WIRE_LENGTH));
	w = READER("\xff\xff\xff\xff\x0f");
	ck_assert_int_eq(wire_tag(&w, &tag), 0);
	ck_assert_uint_eq(tag, UINT32_MAX);
	w = READER("\xff\xff\xff\xff\x1f");
	ck_assert_int_eq(wire_tag(&w, &tag), EB_EPROTO);
	w = READER("\x07");
	ck_assert_int_eq(wire_tag(&w, &tag), EB_EPROTO);
	w = READER("\x8a\x80\x80\x80\x80\x00");
	ck_assert_int_eq(wire_tag(&w, &tag), EB_EPROTO);
	w = wire_of(slice_of(NULL, 0));
	ck_assert_int_eq(wire_tag(&w, &tag), EB_EPROTO);
}
END_TEST

START_TEST(lengths_stay_inside_the_bytes)
{
	struct wire w = READER("\x03xyz");
	struct slice s;

	ck_assert_int_eq(wire_bytes(&w, &s), 0);
	ck_assert(slice_eq_str(s, "xyz"));
	w = READER("\x00");
	ck_assert_int_eq(wire_bytes(&w, &s), 0);
	ck_assert_uint_eq(s.n, 0);
	w = READER("\x04xyz");
	ck_assert_int_eq(wire_bytes(&w, &s), EB_EPROTO);
	w = READER("\xff\xff\xff\xff\x7fxyz");
	ck_assert_int_eq(wire_bytes(&w, &s), EB_EPROTO);
	w = READER("\xff\xff\xff\xff\xff\x01xyz");
	ck_assert_int_eq(wire_bytes(&w, &s), EB_EPROTO);
}
END_TEST

START_TEST(every_wire_type_is_skipped_or_refused)
{
	static const size_t taken[8] = {2, 8, 3, 0, 0, 4, 0, 0};

	for (unsigned type = 0; type < 8; type++) {
		static const char number[] = "\x81\x01 45678", length[] = "\x02xyz5678";
		const char *bytes = type == WIRE_LENGTH ? length : number;
		struct wire w = reader(bytes, 8);

		ck_assert_int_eq(wire_skip(&w, type), taken[type] ? 0 : EB_EPROTO);
		if (taken[type]) {
			ck_assert_int_eq(w.end - w.p, (long)(8 - taken[type]));
			w = reader(bytes, taken[type] - 1);
			ck_assert_int_eq(wire_skip(&w, type), EB_EPROTO);
		}
	}
}
END_TEST

int main(void)
{
	const TTest *tests[] = {
		numbers_of_every_size_come_back,
		numbers_that_are_too_large_or_too_long_are_refused,
		tags_have_a_field_number_of_29_bits,
		lengths_stay_inside_the_bytes,
		every_wire_type_is_skipped_or_refused,
	};

	return suite_run("wire", tests, sizeof(tests) / sizeof(tests[0]));
}
