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

#include "base/err.h"
#include "base/slice.h"

struct scan_rules {
	bool allow_unknown;    /* skip unknown fields and keep unknown enum values */
	uint32_t max_elements; /* of one repeated field */
	uint32_t max_pairs;    /* of one map */
};

/*
 * 0, or EB_EPROTO / EB_ETOOBIG with the path and remedy in err ("subscribe.patterns[2]: not UTF-8",
 * "subscribe: unknown field 99 (not supported by this version)").
 */
int scan_message(const ProtobufCMessageDescriptor *type, struct slice bytes,
		 const struct scan_rules *rules, struct err_text *err);

#endif
