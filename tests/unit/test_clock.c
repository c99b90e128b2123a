/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"

#include <string.h>
#include <time.h>

#include "base/err.h"
#include "tests/unit/suite.h"

static int64_t parsed(const char *s)
{
	int64_t ms = -1;

	ck_assert_msg(clock_parse_iso(s, &ms) == 0, "refused: %s", s);
	return ms;
}

START_TEST(times_are_written_as_iso)
{
	char s[CLOCK_ISO_SIZE];

	clock_format_iso(0, s);
	ck_assert_str_eq(s, "1970-01-01T00:00:00.000Z");
	clock_format_iso(1795437296789, s);
	ck_assert_str_eq(s, "2026-11-23T12:34:56.789Z");
	clock_format_iso(-1, s);
	ck_assert_str_eq(s, "1969-12-31T23:59:59.999Z");
	clock_format_iso(951782400000, s);
	ck_assert_str_eq(s, "2000-02-29T00:00:00.000Z");
}
END_TEST

START_TEST(times_outside_four_digit_years_are_clamped)
{
	char s[CLOCK_ISO_SIZE];

	clock_format_iso(INT64_MAX, s);
	ck_assert_str_eq(s, "9999-12-31T23:59:59.999Z");
	clock_format_iso(INT64_MIN, s);
	ck_assert_str_eq(s, "0000-01-01T00:00:00.000Z");
	ck_assert_int_eq(parsed("9999-12-31T23:59:59.999Z"), 253402300799999);
	ck_assert_int_eq(parsed("0000-01-01T00:00:00.000Z"), -62167219200000);
}
END_TEST

START_TEST(iso_agrees_with_the_c_library_and_comes_back)
{
	for (int64_t ms = -62135596800000; ms < 253402300799000; ms += 987654321987) {
		const time_t t = (time_t)((ms - (ms % 1000 + 1000) % 1000) / 1000);
		char s[CLOCK_ISO_SIZE], want[80];
		struct tm tm;
		size_t n;

		ck_assert_ptr_nonnull(gmtime_r(&t, &tm));
		n = strftime(want, sizeof(want), "-%m-%dT%H:%M:%S", &tm);
		clock_format_iso(ms, s);
		ck_assert_int_eq(strncmp(s + 4, want, n), 0);
		ck_assert_int_eq(parsed(s), ms);
	}
}
END_TEST

START_TEST(fractions_and_offsets_are_read)
{
	ck_assert_int_eq(parsed("1970-01-01T00:00:01Z"), 1000);
	ck_assert_int_eq(parsed("1970-01-01T00:00:00.5Z"), 500);
	ck_assert_int_eq(parsed("1970-01-01T00:00:00.05Z"), 50);
	ck_assert_int_eq(parsed("1970-01-01T00:00:00.123456789Z"), 123);
	ck_assert_int_eq(parsed("1970-01-01T01:00:00.000+01:00"), 0);
	ck_assert_int_eq(parsed("1969-12-31T18:30:00-05:30"), 0);
}
END_TEST

START_TEST(what_is_not_iso_is_refused)
{
	static const char *const bad[] = {
		"",
		"2026",
		"2026-11-23",
		"2026-11-23T12:34:56",
		"2026-11-23 12:34:56Z",
		"2026-11-23T12:34:56.Z",
		"2026-11-23T12:34:56.1234567890Z",
		"2026-11-23T12:34:56Z ",
		"2026-11-23T12:34:56z",
		"2026-13-01T00:00:00Z",
		"2026-00-01T00:00:00Z",
		"2026-02-29T00:00:00Z",
		"1900-02-29T00:00:00Z",
		"2026-04-31T00:00:00Z",
		"2026-04-00T00:00:00Z",
		"2026-01-01T24:00:00Z",
		"2026-01-01T00:60:00Z",
		"2026-01-01T00:00:60Z",
		"2026-01-01T00:00:00+0100",
		"2026-01-01T00:00:00+24:00",
		"2026-01-01T00:00:00+01:60",
		"+026-01-01T00:00:00Z",
		" 026-01-01T00:00:00Z",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		int64_t ms = 42;

		ck_assert_msg(clock_parse_iso(bad[i], &ms) == EB_EINVAL, "taken: %s", bad[i]);
		ck_assert_int_eq(ms, 42);
	}
}
END_TEST

START_TEST(clocks_move_forward)
{
	const int64_t mono = clock_mono_ms(), boot = clock_boot_ms();

	ck_assert_int_ge(clock_mono_ms(), mono);
	ck_assert_int_ge(boot, mono);
	ck_assert_int_gt(clock_unix_ms(), 1700000000000);
}
END_TEST

START_TEST(a_stall_clock_follows_normal_ticks)
{
	struct stall_clock c;

	stall_clock_init(&c, 1000, 100, 50);
	for (int64_t t = 1010; t <= 3000; t += 10) {
		ck_assert_int_eq(stall_clock_tick(&c, t), 0);
		ck_assert_int_eq(stall_clock_now(&c), t);
	}
	ck_assert_int_eq(stall_clock_tick(&c, 3150), 0);
	ck_assert_int_eq(stall_clock_now(&c), 3150);
}
END_TEST

START_TEST(a_stall_is_left_out_but_for_one_tick)
{
	struct stall_clock c;

	stall_clock_init(&c, 0, 100, 50);
	ck_assert_int_eq(stall_clock_tick(&c, 151), 51);
	ck_assert_int_eq(stall_clock_now(&c), 100);
	ck_assert_int_eq(stall_clock_tick(&c, 60151), 59900);
	ck_assert_int_eq(stall_clock_now(&c), 200);
	ck_assert_int_eq(stall_clock_tick(&c, 60161), 0);
	ck_assert_int_eq(stall_clock_now(&c), 210);
}
END_TEST

START_TEST(a_stall_clock_never_goes_back)
{
	struct stall_clock c;

	stall_clock_init(&c, 500, 100, 50);
	ck_assert_int_eq(stall_clock_tick(&c, 400), 0);
	ck_assert_int_eq(stall_clock_now(&c), 500);
	ck_assert_int_eq(stall_clock_tick(&c, 500), 0);
	ck_assert_int_eq(stall_clock_now(&c), 500);
}
END_TEST

START_TEST(stalls_hardly_shorten_what_is_watched)
{
	struct stall_clock c;

	stall_clock_init(&c, 0, 250, 150);
	stall_clock_watch(&c, 400);
	stall_clock_watch(&c, 30000);
	for (int64_t t = 600; t <= 1800; t += 600) {
		ck_assert_int_eq(stall_clock_tick(&c, t), 550);
	}
	ck_assert_int_eq(stall_clock_now(&c), 150);
}
END_TEST

START_TEST(a_tick_is_neither_too_short_nor_too_long)
{
	struct stall_clock c;

	stall_clock_init(&c, 0, 250, 150);
	stall_clock_watch(&c, 30000);
	ck_assert_int_eq(c.tick_ms, 250);
	stall_clock_watch(&c, 1);
	ck_assert_int_eq(c.tick_ms, 10);
}
END_TEST

START_TEST(a_resting_stall_clock_loses_nothing_and_ticks_slowly_again)
{
	struct stall_clock c;

	stall_clock_init(&c, 0, 250, 150);
	stall_clock_watch(&c, 80);
	stall_clock_rest(&c, 60000);
	ck_assert_int_eq(stall_clock_now(&c), 60000);
	ck_assert_int_eq(c.tick_ms, 250);
	stall_clock_rest(&c, 50000);
	ck_assert_int_eq(stall_clock_now(&c), 60000);
}
END_TEST

int main(void)
{
	const TTest *tests[] = {
		times_are_written_as_iso,
		times_outside_four_digit_years_are_clamped,
		iso_agrees_with_the_c_library_and_comes_back,
		fractions_and_offsets_are_read,
		what_is_not_iso_is_refused,
		clocks_move_forward,
		a_stall_clock_follows_normal_ticks,
		a_stall_is_left_out_but_for_one_tick,
		a_stall_clock_never_goes_back,
		stalls_hardly_shorten_what_is_watched,
		a_tick_is_neither_too_short_nor_too_long,
		a_resting_stall_clock_loses_nothing_and_ticks_slowly_again,
	};

	return suite_run("clock", tests, sizeof(tests) / sizeof(tests[0]));
}
