/* SPDX-License-Identifier: Apache-2.0 */
#include "adapters/nats/header_block.h"

#include <string.h>

static bool blank(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\0';
}

static struct slice trimmed(const uint8_t *p, const uint8_t *end)
{
	while (p < end && blank(*p)) {
		p++;
	}
	while (p < end && blank(end[-1])) {
		end--;
	}
	return slice_of(p, (size_t)(end - p));
}

/* Behind the key: a colon, or the zero that the library put there. */
static const uint8_t *find_colon(const uint8_t *p, const uint8_t *end)
{
	while (p < end && *p != ':' && *p != '\0') {
		p++;
	}
	return p;
}

bool header_block_next(struct slice block, size_t *pos, struct slice *key, struct slice *value)
{
	while (*pos < block.n) {
		const uint8_t *line = block.p + *pos;
		const uint8_t *end = memchr(line, '\n', block.n - *pos), *colon;
		const bool first = *pos == 0;

		end = end ? end : block.p + block.n;
		*pos = (size_t)(end - block.p) + 1;
		colon = find_colon(line, end);
		if (!first && colon < end && colon > line && !blank(line[0])) {
			*key = slice_of(line, (size_t)(colon - line));
			*value = trimmed(colon + 1, end);
			return true;
		}
	}
	return false;
}
