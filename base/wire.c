/* SPDX-License-Identifier: Apache-2.0 */
#include "base/wire.h"

int wire_varint_slow(struct wire *w, unsigned max_bytes, uint64_t *v)
{
	const uint8_t *p = w->p; /* a local: w need not be written for every byte */
	uint64_t value = 0;

	for (unsigned i = 0; i < max_bytes; i++) {
		uint8_t b;

		if (p == w->end) {
			return wire_fail(w, "cut short");
		}
		b = *p++;
		if (i == 9 && b > 1) {
			return wire_fail(w, "over 64 bits");
		}
		value |= (uint64_t)(b & 0x7f) << (7 * i);
		if (b < 0x80) {
			w->p = p;
			*v = value;
			return 0;
		}
	}
	return wire_fail(w, "a number has too many bytes");
}

int wire_skip(struct wire *w, unsigned type)
{
	size_t left = (size_t)(w->end - w->p);
	struct slice s;
	uint64_t v;

	switch (type) {
	case WIRE_VARINT:
		return wire_varint(w, &v);
	case WIRE_LENGTH:
		return wire_bytes(w, &s);
	case WIRE_64:
	case WIRE_32:
		if (left < (type == WIRE_64 ? 8u : 4u)) {
			return wire_fail(w, "cut short");
		}
		w->p += type == WIRE_64 ? 8 : 4;
		return 0;
	default:
		return wire_fail(w, "a wire type that proto3 does not use");
	}
}
