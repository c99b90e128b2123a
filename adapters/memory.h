/* SPDX-License-Identifier: Apache-2.0 */
/* Options of the memory bus, as bound from `broker: memory:` in the file. */
#ifndef ADAPTERS_MEMORY_H
#define ADAPTERS_MEMORY_H

#include <stdint.h>

enum memory_overflow { MEMORY_REFUSE, MEMORY_DROP_OLDEST };

struct memory_options {
	int64_t history;	  /* bytes of events and their bookkeeping, needed or not */
	int overflow;		  /* enum memory_overflow: when needed events fill the history */
	int64_t dedupe_window_ms; /* 0: an id published twice is stored twice */
	int64_t flow_expiry_ms;	  /* how long a group's flow lives without members */
	int64_t max_flows;
};

#endif
