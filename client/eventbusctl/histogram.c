/* SPDX-License-Identifier: Apache-2.0 */
#include "client/eventbusctl/histogram.h"

#define STEPS (1u << HISTOGRAM_BITS)

/* Values below 2 * STEPS have a bucket each; above, the top HISTOGRAM_BITS + 1 bits count. */
static unsigned bucket_of(uint64_t v)
{
	unsigned shift;

	if (v < 2 * STEPS) {
		return (unsigned)v;
	}
	shift = 63 - (unsigned)__builtin_clzll(v) - HISTOGRAM_BITS;
	return (shift << HISTOGRAM_BITS) + (unsigned)(v >> shift);
}

/* The largest value of a bucket. */
static uint64_t top_of(unsigned bucket)
{
	unsigned shift = bucket >> HISTOGRAM_BITS;

	if (shift < 2) {
		return bucket;
	}
	shift--;
	return ((uint64_t)(bucket - (shift << HISTOGRAM_BITS)) + 1) * ((uint64_t)1 << shift) - 1;
}

void histogram_add(struct histogram *h, uint64_t value)
{
	h->bucket[bucket_of(value)]++;
	h->total++;
	h->max = value > h->max ? value : h->max;
}

uint64_t histogram_percentile(const struct histogram *h, double p)
{
	uint64_t want = (uint64_t)(p * (double)h->total), seen = 0;

	if (h->total == 0) {
		return 0;
	}
	want = want < 1 ? 1 : want;
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
		seen += h->bucket[i];
		if (seen >= want) {
			return top_of(i) < h->max ? top_of(i) : h->max;
		}
	}
	return h->max;
}
