/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"

#include <stdbool.h>
#include <time.h>

#include "base/err.h"

#define DAY_MS	     86400000LL
#define YEAR_0_MS    (-62167219200000LL) /* 0000-01-01T00:00:00.000Z */
#define YEAR_9999_MS 253402300799999LL	 /* 9999-12-31T23:59:59.999Z */

#define TICKS_PER_SPAN	 8
#define SHORTEST_TICK_MS 10

static int64_t read_ms(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int64_t clock_mono_ms(void)
{
	return read_ms(CLOCK_MONOTONIC);
}

int64_t clock_boot_ms(void)
{
	return read_ms(CLOCK_BOOTTIME);
}

int64_t clock_unix_ms(void)
{
	return read_ms(CLOCK_REALTIME);
}

/* Division that rounds down, so that times before 1970 come out right. */
static int64_t floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

struct date {
	int64_t year;
	int month, day; /* from 1 */
};

/* Days since 1970-01-01 <-> date, proleptic Gregorian, in eras of 400 years from March 1st. */
static struct date date_of_days(int64_t days)
{
	const int64_t z = days + 719468;
	const int64_t era = floor_div(z, 146097);
	const int doe = (int)(z - era * 146097);
	const int yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	const int doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	const int mp = (5 * doy + 2) / 153;
	const int month = mp < 10 ? mp + 3 : mp - 9;

	return (struct date){era * 400 + yoe + (month <= 2), month, doy - (153 * mp + 2) / 5 + 1};
}

static int64_t days_of_date(struct date d)
{
	const int64_t year = d.year - (d.month <= 2);
	const int64_t era = floor_div(year, 400);
	const int yoe = (int)(year - era * 400);
	const int doy = (153 * (d.month > 2 ? d.month - 3 : d.month + 9) + 2) / 5 + d.day - 1;
	const int doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;

	return era * 146097 + doe - 719468;
}

static char *put_digits(char *out, int v, int n, char end)
{
	for (int i = n - 1; i >= 0; i--, v /= 10) {
		out[i] = (char)('0' + v % 10);
	}
	out[n] = end;
	return out + n + 1;
}

void clock_format_iso(int64_t unix_ms, char out[CLOCK_ISO_SIZE])
{
	const int64_t clamped = unix_ms < YEAR_0_MS	 ? YEAR_0_MS
				: unix_ms > YEAR_9999_MS ? YEAR_9999_MS
							 : unix_ms;
	const int64_t days = floor_div(clamped, DAY_MS);
	const int ms = (int)(clamped - days * DAY_MS);
	const struct date d = date_of_days(days);

	/* By hand: this is in the path of every event that an adapter writes. */
	out = put_digits(out, (int)d.year, 4, '-');
	out = put_digits(out, d.month, 2, '-');
	out = put_digits(out, d.day, 2, 'T');
	out = put_digits(out, ms / 3600000, 2, ':');
	out = put_digits(out, ms / 60000 % 60, 2, ':');
	out = put_digits(out, ms / 1000 % 60, 2, '.');
	out = put_digits(out, ms % 1000, 3, 'Z');
	*out = '\0';
}

/* Reads n digits as a number in min..max and moves *s behind them. */
static bool take_number(const char **s, int n, int min, int max, int *out)
{
	int v = 0;

	for (int i = 0; i < n; i++, (*s)++) {
		if (**s < '0' || **s > '9') {
			return false;
		}
		v = v * 10 + (**s - '0');
	}
	*out = v;
	return v >= min && v <= max;
}

static bool take_char(const char **s, char c)
{
	if (**s != c) {
		return false;
	}
	(*s)++;
	return true;
}

static int days_in_month(int64_t year, int month)
{
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	const bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

	return month == 2 && leap ? 29 : days[month - 1];
}

/* "2026-11-23" */
static bool take_date(const char **s, int64_t *days)
{
	int year, month, day;

	if (!take_number(s, 4, 0, 9999, &year) || !take_char(s, '-') ||
	    !take_number(s, 2, 1, 12, &month) || !take_char(s, '-') ||
	    !take_number(s, 2, 1, days_in_month(year, month), &day)) {
		return false;
	}
	*days = days_of_date((struct date){year, month, day});
	return true;
}

/* 1 to 9 digits behind the point, as milliseconds; what is finer is cut off. */
static bool take_fraction(const char **s, int *ms)
{
	int digits = 0;

	*ms = 0;
	for (int weight = 100; **s >= '0' && **s <= '9' && digits < 9; weight /= 10, digits++) {
		*ms += (*(*s)++ - '0') * weight;
	}
	return digits > 0;
}

/* "12:34:56" or "12:34:56.789" */
static bool take_time(const char **s, int64_t *ms)
{
	int h, m, sec, fraction = 0;

	if (!take_number(s, 2, 0, 23, &h) || !take_char(s, ':') || !take_number(s, 2, 0, 59, &m) ||
	    !take_char(s, ':') || !take_number(s, 2, 0, 59, &sec)) {
		return false;
	}
	if (take_char(s, '.') && !take_fraction(s, &fraction)) {
		return false;
	}
	*ms = ((int64_t)h * 3600 + m * 60 + sec) * 1000 + fraction;
	return true;
}

/* "Z" or "+01:00" */
static bool take_zone(const char **s, int64_t *offset_ms)
{
	int h, m, sign = 1;

	*offset_ms = 0;
	if (take_char(s, 'Z')) {
		return true;
	}
	if (take_char(s, '-')) {
		sign = -1;
	} else if (!take_char(s, '+')) {
		return false;
	}
	if (!take_number(s, 2, 0, 23, &h) || !take_char(s, ':') || !take_number(s, 2, 0, 59, &m)) {
		return false;
	}
	*offset_ms = (int64_t)sign * (h * 60 + m) * 60000;
	return true;
}

int clock_parse_iso(const char *s, int64_t *unix_ms)
{
	int64_t days, ms, offset_ms;

	if (!take_date(&s, &days) || !take_char(&s, 'T') || !take_time(&s, &ms) ||
	    !take_zone(&s, &offset_ms) || *s != '\0') {
		return EB_EINVAL;
	}
	*unix_ms = days * DAY_MS + ms - offset_ms;
	return 0;
}

void stall_clock_init(struct stall_clock *c, int64_t mono_ms, int64_t tick_ms, int64_t slack_ms)
{
	*c = (struct stall_clock){
		.last_mono_ms = mono_ms,
		.tick_ms = tick_ms,
		.longest_tick_ms = tick_ms,
		.slack_ms = slack_ms,
	};
}

int64_t stall_clock_tick(struct stall_clock *c, int64_t mono_ms)
{
	const int64_t gap = mono_ms - c->last_mono_ms;
	int64_t stall = 0;

	if (gap <= 0) {
		return 0;
	}
	if (gap > c->tick_ms + c->slack_ms) {
		/* One tick would have passed anyway; the rest is time that nobody could use. */
		stall = gap - c->tick_ms;
	}
	c->last_mono_ms = mono_ms;
	c->stalled_ms += stall;
	return stall;
}

void stall_clock_watch(struct stall_clock *c, int64_t span_ms)
{
	const int64_t part = span_ms / TICKS_PER_SPAN;
	const int64_t tick_ms = part > SHORTEST_TICK_MS ? part : SHORTEST_TICK_MS;

	if (tick_ms < c->tick_ms) {
		c->tick_ms = tick_ms;
	}
}

void stall_clock_rest(struct stall_clock *c, int64_t mono_ms)
{
	c->tick_ms = c->longest_tick_ms;
	if (mono_ms > c->last_mono_ms) {
		c->last_mono_ms = mono_ms;
	}
}

int64_t stall_clock_now(const struct stall_clock *c)
{
	return c->last_mono_ms - c->stalled_ms;
}
