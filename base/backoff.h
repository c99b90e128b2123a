/* SPDX-License-Identifier: Apache-2.0 */
/* Back-off delays: a pure function, no state. */
#ifndef BASE_BACKOFF_H
#define BASE_BACKOFF_H

#include <stdint.h>

enum backoff_kind { BACKOFF_EXPONENTIAL, BACKOFF_LINEAR, BACKOFF_FIXED };

struct backoff {
	enum backoff_kind kind;
	int64_t initial_ms, max_ms;
	double multiplier; /* exponential only, >= 1 */
	double jitter;	   /* 0..1: the part of the delay that is random; never past max_ms */
};

/*
 * Delay before retry n (1-based): exponential initial*multiplier^(n-1), linear
 * initial*n, fixed initial; each at most max_ms. unit is a random number in
 * [0,1): the result lies in [d*(1-jitter), d]. Saturates, never overflows.
 */
int64_t backoff_delay_ms(const struct backoff *b, uint32_t n, double unit);

#endif
