/* SPDX-License-Identifier: Apache-2.0 */
#include "base/backoff.h"

#include <math.h>

static double wanted(const struct backoff *b, uint32_t n)
{
	const double initial = (double)b->initial_ms;

	switch (b->kind) {
	case BACKOFF_EXPONENTIAL:
		/* pow() saturates at infinity, which the caller cuts to max_ms. */
		return initial * pow(b->multiplier > 1 ? b->multiplier : 1, n - 1);
	case BACKOFF_LINEAR:
		return initial * n;
	case BACKOFF_FIXED:
		break;
	}
	return initial;
}

int64_t backoff_delay_ms(const struct backoff *b, uint32_t n, double unit)
{
	int64_t d = b->max_ms;
	double ms;

	if (b->initial_ms <= 0 || b->max_ms <= 0) {
		return 0;
	}
	ms = wanted(b, n ? n : 1);
	if (ms < (double)b->max_ms) {
		d = (int64_t)ms;
	}
	if (b->jitter > 0) {
		const double cut = (double)d * (b->jitter < 1 ? b->jitter : 1) * unit;

		d = cut < (double)d ? d - (int64_t)cut : 0;
	}
	return d;
}
