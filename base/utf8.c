/* SPDX-License-Identifier: Apache-2.0 */
#include "base/utf8.h"

#define ONES  0x0101010101010101ULL
#define HIGHS 0x8080808080808080ULL

static bool continues(uint8_t b)
{
	return (b & 0xc0) == 0x80;
}

size_t utf8_char(const uint8_t *p, size_t n)
{
	const uint8_t b = p[0];

	if (b < 0x80) {
		return 1;
	}
	if (b < 0xc2 || n < 2 || !continues(p[1])) {
		return 0;
	}
	if (b < 0xe0) {
		return 2;
	}
	if (n < 3 || !continues(p[2])) {
		return 0;
	}
	if (b < 0xf0) {
		const bool overlong = b == 0xe0 && p[1] < 0xa0;
		const bool surrogate = b == 0xed && p[1] >= 0xa0;

		return overlong || surrogate ? 0 : 3;
	}
	if (b > 0xf4 || n < 4 || !continues(p[3])) {
		return 0;
	}
	if ((b == 0xf0 && p[1] < 0x90) || (b == 0xf4 && p[1] >= 0x90)) {
		return 0;
	}
	return 4;
}

static uint64_t load(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

/* Non-zero when a byte of v is below low (<= 0x80) or above 0x7f. */
static uint64_t outside(uint64_t v, uint64_t low)
{
	return ((v - ONES * low) | v) & HIGHS;
}

bool utf8_valid(struct slice s)
{
	size_t i = 0;

	while (i < s.n) {
		size_t n;

		if (i + 8 <= s.n && !outside(load(s.p + i), 1)) {
			i += 8;
			continue;
		}
		n = s.p[i] ? utf8_char(s.p + i, s.n - i) : 0;
		if (n == 0) {
			return false;
		}
		i += n;
	}
	return true;
}

static bool is_control(const uint8_t *p)
{
	return p[0] < 0x20 || p[0] == 0x7f || (p[0] == 0xc2 && p[1] < 0xa0);
}

/* Whether the 8 bytes of v are all in 0x20..0x7e. */
static bool all_plain(uint64_t v)
{
	return !outside(v, 0x20) && !((v + ONES) & HIGHS);
}

bool utf8_printable(struct slice s)
{
	size_t i = 0;

	while (i < s.n) {
		size_t n;

		if (i + 8 <= s.n && all_plain(load(s.p + i))) {
			i += 8;
			continue;
		}
		n = utf8_char(s.p + i, s.n - i);
		if (n == 0 || is_control(s.p + i)) {
			return false;
		}
		i += n;
	}
	return true;
}
