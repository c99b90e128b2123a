/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/wire.h"

static int pair_member(struct wire *w, bool *seen, struct slice *out)
{
	if (*seen) {
		return wire_fail(w, "key or value twice in one entry");
	}
	*seen = true;
	return wire_text(w, out);
}

/* One field of an entry that is neither a string key nor a string value. */
static int pair_other(struct wire *w, uint32_t tag, bool lenient, uint32_t *unknown)
{
	if (tag >> 3 == 1 || tag >> 3 == 2) {
		return wire_fail(w, "wrong wire type");
	}
	if (!lenient) {
		*unknown = tag >> 3;
		return wire_fail(w, "unknown field");
	}
	return wire_skip(w, tag & 7);
}

int wire_pair(struct slice entry, bool lenient, struct metadata_pair *out, uint32_t *unknown,
	      const char **why)
{
	struct wire w = wire_of(entry);
	bool key = false, value = false;
	int rc = 0;

	*out = (struct metadata_pair){{NULL, 0}, {NULL, 0}};
	*unknown = 0;
	while (rc == 0 && w.p < w.end) {
		uint32_t tag;

		rc = wire_tag(&w, &tag);
		if (rc != 0) {
			break;
		}
		if (tag == WIRE_TAG(1, WIRE_LENGTH)) {
			rc = pair_member(&w, &key, &out->key);
		} else if (tag == WIRE_TAG(2, WIRE_LENGTH)) {
			rc = pair_member(&w, &value, &out->value);
		} else {
			rc = pair_other(&w, tag, lenient, unknown);
		}
	}
	*why = w.why;
	return rc;
}

int wire_keys_add(struct wire_keys *k, struct slice key)
{
	unsigned mix = (unsigned)key.n * 7u;
	uint64_t bit;

	if (key.n > 0) {
		mix += key.p[0] * 31u + key.p[key.n - 1] * 17u + key.p[key.n / 2];
	}
	bit = UINT64_C(1) << (mix & 63);
	if (k->seen & bit) {
		for (uint32_t i = 0; i < k->n; i++) {
			if (slice_eq(k->key[i], key)) {
				return EB_EEXIST;
			}
		}
	}
	if (k->n < WIRE_KEYS) {
		k->seen |= bit;
		k->key[k->n++] = key;
	}
	return 0;
}

void wire_text_repair(uint8_t *p, size_t n)
{
	if (wire_text_valid(slice_of(p, n))) {
		return;
	}
	for (size_t i = 0; i < n;) {
		size_t len = p[i] == '\0' ? 0 : utf8_char(p + i, n - i);

		if (len == 0) {
			p[i] = '?';
			len = 1;
		}
		i += len;
	}
}
