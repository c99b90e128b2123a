/* SPDX-License-Identifier: Apache-2.0 */
/* Clocks. Pure code takes the time as an argument; only daemon/ and adapters/ read it here. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

/* CLOCK_MONOTONIC in milliseconds. */
int64_t clock_mono_ms(void);
/* CLOCK_BOOTTIME in milliseconds: counts suspend; for leases that others can see. */
int64_t clock_boot_ms(void);
/* Unix time in milliseconds. */
int64_t clock_unix_ms(void);

/* "2026-11-23T12:34:56.789Z" and its NUL: 25 bytes at least. What is not in the years
 * 0000..9999 becomes the nearest time that is. */
#define CLOCK_ISO_SIZE 32
void clock_format_iso(int64_t unix_ms, char out[CLOCK_ISO_SIZE]);
/* The same format back, 0..9 fractional digits, 'Z' or an offset; EB_EINVAL otherwise. */
int clock_parse_iso(const char *s, int64_t *unix_ms);

/*
 * A clock that stands still while this process could not run. Feed it the
 * monotonic time once per loop turn and at a regular tick; a gap beyond
 * tick_ms + slack_ms is a stall and is left out of stall_clock_now(), but for
 * one tick.
 */
struct stall_clock {
	int64_t last_mono_ms;
	int64_t stalled_ms;	 /* total so far */
	int64_t tick_ms;	 /* now: shorter while a short span is watched */
	int64_t longest_tick_ms; /* as it was made */
	int64_t slack_ms;
};
void stall_clock_init(struct stall_clock *c, int64_t mono_ms, int64_t tick_ms, int64_t slack_ms);
/* Returns the stall found now in ms, 0 if none. */
int64_t stall_clock_tick(struct stall_clock *c, int64_t mono_ms);
/* From now on one stall takes at most an eighth of span_ms (or 10 ms): ticks come closer. */
void stall_clock_watch(struct stall_clock *c, int64_t span_ms);
/* Nothing is watched any more: the time up to mono_ms passed, stall or not. */
void stall_clock_rest(struct stall_clock *c, int64_t mono_ms);
int64_t stall_clock_now(const struct stall_clock *c);

#endif
