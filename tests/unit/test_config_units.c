/* SPDX-License-Identifier: Apache-2.0 */
/* Sizes, durations and numbers, from text and back; words that are nearly right. */
#include <check.h>
#include <stdlib.h>

#include "config/nearest.h"
#include "config/tables.h"
#include "config/units.h"
#include "tests/unit/suite.h"

#define REFUSED INT64_MIN

struct sample {
	const char *text;
	int64_t want; /* REFUSED: EB_EINVAL */
};

static void try_all(const struct sample *v, size_t n,
		    int (*read)(const char *, int64_t *, struct err_text *))
{
	for (size_t i = 0; i < n; i++) {
		struct err_text err = {.s = ""};
		int64_t got = 0;
		int rc = read(v[i].text, &got, &err);

		ck_assert_msg(rc == (v[i].want == REFUSED ? EB_EINVAL : 0), "%s: %d", v[i].text,
			      rc);
		ck_assert_msg(rc ? err.s[0] != '\0' : got == v[i].want, "%s: %lld", v[i].text,
			      (long long)got);
	}
}
#define TRY_ALL(samples, read) try_all((samples), sizeof(samples) / sizeof((samples)[0]), (read))

START_TEST(sizes)
{
	static const struct sample v[] = {
		{"0", 0},
		{"512", 512},
		{"512B", 512},
		{"1KiB", 1024},
		{"10kB", 10000},
		{"4MiB", 4 << 20},
		{"4 MiB", 4 << 20},
		{"3MB", 3000000},
		{"2GiB", INT64_C(2) << 30},
		{"1TiB", INT64_C(1) << 40},
		{"1_000_000", 1000000},
		{"9223372036854775807", INT64_MAX},
		{"9223372036854775808", REFUSED},
		{"8388608TiB", REFUSED},
		{"", REFUSED},
		{"4M", REFUSED},
		{"4mib", REFUSED},
		{"-1", REFUSED},
		{"+1", REFUSED},
		{"1.5GiB", REFUSED},
		{"MiB", REFUSED},
		{"1  KiB", REFUSED},
		{"1_", REFUSED},
		{" 1", REFUSED},
		{"1 ", REFUSED},
		{"0x10", REFUSED},
	};

	TRY_ALL(v, units_size);
}
END_TEST

START_TEST(durations)
{
	static const struct sample v[] = {
		{"0", 0},
		{"0s", 0},
		{"250ms", 250},
		{"5s", 5000},
		{"2m", 120000},
		{"1h", 3600000},
		{"7d", 604800000},
		{"5", REFUSED},
		{"5sec", REFUSED},
		{"1m30s", REFUSED},
		{"-5s", REFUSED},
		{"5us", REFUSED},
		{"s", REFUSED},
		{"", REFUSED},
		{"106751991168d", REFUSED},
		{"9223372036854775807", REFUSED},
		{"99999999999999999999s", REFUSED},
	};

	TRY_ALL(v, units_duration);
}
END_TEST

START_TEST(integers_and_modes)
{
	static const struct sample ints[] = {
		{"0", 0},	  {"-3", -3},	    {"10_000", 10000},
		{"007", 7},	  {"1.0", REFUSED}, {"1e3", REFUSED},
		{"0x1", REFUSED}, {"--1", REFUSED}, {"", REFUSED},
		{"-", REFUSED},	  {"_1", REFUSED},  {"9223372036854775808", REFUSED},
	};
	static const struct sample modes[] = {
		{"0660", 0660},	   {"660", 0660},      {"0777", 0777},	   {"000", 0},
		{"1777", REFUSED}, {"0o660", REFUSED}, {"0680", REFUSED},  {"66", REFUSED},
		{"", REFUSED},	   {"-660", REFUSED},  {"00660", REFUSED},
	};

	TRY_ALL(ints, units_int);
	TRY_ALL(modes, units_mode);
}
END_TEST

START_TEST(numbers)
{
	static const char *const bad[] = {"",	   "x",	  "1e3", "0x1p3",
					  "nan",   "inf", " 1",	 "1 ",
					  "1.2.3", "-",	  ".",	 "1111111111111111111111111111111"};
	struct err_text err;
	double v;

	ck_assert_int_eq(units_number("0.25", &v, &err), 0);
	ck_assert(v == 0.25);
	ck_assert_int_eq(units_number("-2", &v, &err), 0);
	ck_assert(v == -2);
	ck_assert_int_eq(units_number(".5", &v, &err), 0);
	ck_assert(v == 0.5);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		ck_assert_msg(units_number(bad[i], &v, &err) == EB_EINVAL, "%s", bad[i]);
	}
}
END_TEST

START_TEST(truth)
{
	static const char *const yes[] = {"true", "True", "YES", "on"};
	static const char *const no[] = {"false", "No", "off"};
	struct err_text err;
	bool v;

	for (size_t i = 0; i < 4; i++) {
		ck_assert(units_bool(yes[i], &v, &err) == 0 && v);
	}
	for (size_t i = 0; i < 3; i++) {
		ck_assert(units_bool(no[i], &v, &err) == 0 && !v);
	}
	ck_assert_int_eq(units_bool("1", &v, &err), EB_EINVAL);
	ck_assert_int_eq(units_bool("y", &v, &err), EB_EINVAL);
}
END_TEST

START_TEST(a_value_is_written_as_it_is_read)
{
	static const char *const lengths[] = {"0B",   "511B", "1KiB", "1025B",
					      "10kB", "4MiB", "3GB",  "1TiB"};
	static const char *const times[] = {"0s", "1ms", "5s", "90s", "2m", "1h", "7d", "5001ms"};
	struct err_text err;
	int64_t v;

	for (size_t i = 0; i < 8; i++) {
		ck_assert_int_eq(units_size(lengths[i], &v, &err), 0);
		ck_assert_str_eq(units_size_text(v).s, lengths[i]);
		ck_assert_int_eq(units_duration(times[i], &v, &err), 0);
		ck_assert_str_eq(units_duration_text(v).s, times[i]);
	}
}
END_TEST

START_TEST(the_nearest_key_is_found)
{
	static const char *const words[] = {"exponential", "linear", "fixed", NULL};
	char out[NEAREST_MAX];

	ck_assert(nearest_key(config_options, "limit", out));
	ck_assert_str_eq(out, "limits");
	ck_assert(nearest_key(config_options, "memroy", out));
	ck_assert_str_eq(out, "limits.memory");
	ck_assert(nearest_key(topic_options, "maxRetries", out));
	ck_assert_str_eq(out, "retry.max_retries");
	ck_assert(!nearest_key(config_options, "something-else-entirely", out));
	ck_assert(!nearest_key(config_options, "x", out));
	ck_assert(!nearest_key(config_options, "", out));
	ck_assert(!nearest_key(config_options,
			       "a-key-that-is-longer-than-any-key-that-there-could-ever-be", out));
	ck_assert_str_eq(nearest_word(words, "lineal"), "linear");
	ck_assert_str_eq(nearest_word(words, "ilnear"), "linear");
	ck_assert_ptr_null(nearest_word(words, "quadratic"));
}
END_TEST

int main(void)
{
	const TTest *tests[] = {sizes,
				durations,
				integers_and_modes,
				numbers,
				truth,
				a_value_is_written_as_it_is_read,
				the_nearest_key_is_found};

	return suite_run("config_units", tests, sizeof(tests) / sizeof(tests[0]));
}
