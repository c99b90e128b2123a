/* SPDX-License-Identifier: Apache-2.0 */
#include "base/utf8.h"

#include "tests/unit/suite.h"

/* The character as RFC 3629 writes it; surrogates too, which it forbids. */
static size_t encode(uint32_t c, uint8_t out[4])
{
	if (c < 0x80) {
		out[0] = (uint8_t)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (uint8_t)(0xc0 | c >> 6);
		out[1] = (uint8_t)(0x80 | (c & 63));
		return 2;
	}
	if (c < 0x10000) {
		out[0] = (uint8_t)(0xe0 | c >> 12);
		out[1] = (uint8_t)(0x80 | (c >> 6 & 63));
		out[2] = (uint8_t)(0x80 | (c & 63));
		return 3;
	}
	out[0] = (uint8_t)(0xf0 | c >> 18);
	out[1] = (uint8_t)(0x80 | (c >> 12 & 63));
	out[2] = (uint8_t)(0x80 | (c >> 6 & 63));
	out[3] = (uint8_t)(0x80 | (c & 63));
	return 4;
}

START_TEST(every_character_is_taken_and_every_surrogate_refused)
{
	for (uint32_t c = 0; c <= 0x110000; c++) {
		uint8_t p[4];
		const size_t n = encode(c, p);
		const bool surrogate = c >= 0xd800 && c <= 0xdfff;
		const bool good = !surrogate && c <= 0x10ffff;
		const bool control = c < 0x20 || (c >= 0x7f && c < 0xa0);

		ck_assert_uint_eq(utf8_char(p, n), good ? n : 0);
		ck_assert_int_eq(utf8_valid(slice_of(p, n)), good && c != 0);
		ck_assert_int_eq(utf8_printable(slice_of(p, n)), good && !control);
		if (n > 1) {
			ck_assert_uint_eq(utf8_char(p, n - 1), 0);
		}
	}
}
END_TEST

/* Three bytes decide: all 2^24 of them, against the table of RFC 3629, section 4. */
START_TEST(every_three_bytes_agree_with_the_table)
{
	for (uint32_t v = 0; v < 1u << 24; v++) {
		const uint8_t p[3] = {(uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v};
		const bool c1 = p[1] >= 0x80 && p[1] <= 0xbf, c2 = p[2] >= 0x80 && p[2] <= 0xbf;
		size_t want = 0;

		if (p[0] <= 0x7f) {
			want = 1;
		} else if (p[0] >= 0xc2 && p[0] <= 0xdf && c1) {
			want = 2;
		} else if (p[0] >= 0xe0 && p[0] <= 0xef && c1 && c2 &&
			   !(p[0] == 0xe0 && p[1] < 0xa0) && !(p[0] == 0xed && p[1] > 0x9f)) {
			want = 3;
		}
		if (utf8_char(p, 3) != want) {
			ck_abort_msg("%02x %02x %02x", p[0], p[1], p[2]);
		}
	}
}
END_TEST

START_TEST(one_bad_byte_is_found_wherever_it_is)
{
	static const uint8_t bad[] = {0x00, 0x80, 0xbf, 0xc0, 0xc1, 0xf5, 0xff, 0xe2};
	uint8_t p[40];

	for (size_t n = 1; n <= sizeof(p); n++) {
		for (size_t at = 0; at < n; at++) {
			for (size_t k = 0; k < sizeof(bad); k++) {
				memset(p, 'a', sizeof(p));
				ck_assert(utf8_valid(slice_of(p, n)));
				ck_assert(utf8_printable(slice_of(p, n)));
				p[at] = bad[k];
				ck_assert(!utf8_valid(slice_of(p, n)));
				ck_assert(!utf8_printable(slice_of(p, n)));
			}
		}
	}
}
END_TEST

START_TEST(controls_are_valid_but_not_printable_wherever_they_are)
{
	static const char *const controls[] = {"\x01", "\t",   "\r",	   "\n",
					       "\x1f", "\x7f", "\xc2\x80", "\xc2\x9f"};
	char p[64];

	for (size_t k = 0; k < sizeof(controls) / sizeof(controls[0]); k++) {
		const size_t n = strlen(controls[k]);

		for (size_t at = 0; at < 30; at++) {
			memset(p, 0x7e, sizeof(p));
			memcpy(p + at, controls[k], n);
			ck_assert(utf8_valid(slice_of(p, 33)));
			ck_assert(!utf8_printable(slice_of(p, 33)));
		}
	}
	ck_assert(utf8_printable(slice_str("\xc2\xa0 caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x90\x98")));
	ck_assert(utf8_valid(slice_of(NULL, 0)));
	ck_assert(utf8_printable(slice_of(NULL, 0)));
}
END_TEST

int main(void)
{
	const TTest *tests[] = {
		every_character_is_taken_and_every_surrogate_refused,
		every_three_bytes_agree_with_the_table,
		one_bad_byte_is_found_wherever_it_is,
		controls_are_valid_but_not_printable_wherever_they_are,
	};

	return suite_run("utf8", tests, sizeof(tests) / sizeof(tests[0]));
}
