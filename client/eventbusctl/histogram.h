/* SPDX-License-Identifier: Apache-2.0 */
/* Counts of values in buckets whose width is 1/32 of the value: percentiles within 3 %. Pure. */
#ifndef CLIENT_EVENTBUSCTL_HISTOGRAM_H
#define CLIENT_EVENTBUSCTL_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_BITS	  5
#define HISTOGRAM_BUCKETS ((64 - HISTOGRAM_BITS) << HISTOGRAM_BITS)

struct histogram {
	uint64_t total, max;
	uint64_t bucket[HISTOGRAM_BUCKETS];
};

void histogram_add(struct histogram *h, uint64_t value);
/* The value that p (0..1) of all values do not exceed; 0 when there are none. */
uint64_t histogram_percentile(const struct histogram *h, double p);

#endif
