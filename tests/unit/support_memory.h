/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of the memory bus share: one probe, one set of options. */
#ifndef TESTS_UNIT_SUPPORT_MEMORY_H
#define TESTS_UNIT_SUPPORT_MEMORY_H

#include "adapters/memory.h"
#include "tests/unit/suite.h"
#include "tests/unit/support_adapter.h"

static struct probe probe;
static struct memory_options options = {
	.history = 1 << 20,
	.dedupe_window_ms = 120000,
	.flow_expiry_ms = 300000,
	.max_flows = 10000,
};

static const struct start from_new = {.kind = START_NEW};

static inline void begin(void)
{
	probe_start(&probe, &adapter_kind_memory, &options, (size_t)256 << 20);
}

/* The i-th delivery has this id. */
static inline void expect_id(const struct probe_flow *pf, uint32_t i, const char *id)
{
	ck_assert_uint_lt(i, pf->n);
	ck_assert_msg(slice_eq_str(pf->got[i].event->id, id), "delivery %u is %.*s, not %s", i,
		      SLICE_ARG(pf->got[i].event->id), id);
}

#endif
