/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One strict pass over the bytes of a protobuf message, driven by the descriptor
 * that protoc-c generated. It accepts a subset of what protobuf-c accepts, and whatever it
 * accepts protobuf-c unpacks in memory proportional to the bytes, the same way as every other
 * library. Pure, allocates nothing, recursion bounded by the schema's depth.
 */
#ifndef PROTO_SCAN_H
#define PROTO_SCAN_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

struct scan_rules {
	bool allow_unknown;    /* skip unknown fields and keep unknown enum values */
	uint32_t max_elements; /* of one repeated field */
	uint32_t max_pairs;    /* of one map */
	size_t max_memory;     /* that protobuf-c may need to unpack it; 0: no limit */
};

/*
 * 0, or EB_EPROTO / EB_ETOOBIG with the path and remedy in err ("subscribe.patterns[2]: not UTF-8",
 * "subscribe: unknown field 99 (not supported by this version)").
 */
int scan_message(const ProtobufCMessageDescriptor *type, struct slice bytes,
		 const struct scan_rules *rules, struct err_text *err);

/*
 * Makes every string of a well-formed message valid UTF-8 in place, '?' for each byte that is not:
 * for what the daemon is about to send, so that no text of a broker can break a strict decoder.
 */
void scan_repair(const ProtobufCMessageDescriptor *type, uint8_t *bytes, size_t n);

#endif
