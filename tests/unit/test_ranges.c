/* SPDX-License-Identifier: Apache-2.0 */
#include "base/ranges.h"

#include <stdbool.h>

#include "tests/unit/suite.h"

START_TEST(what_touches_the_end_is_merged)
{
	struct ranges r;

	ranges_init(&r);
	ranges_add(&r, 1, 1);
	ranges_add(&r, 2, 5);
	ranges_add(&r, 7, 7);
	ck_assert_uint_eq(r.n, 2);
	ck_assert_uint_eq(r.v[0].last, 5);
	ranges_finish(&r);
}
END_TEST

START_TEST(overlapping_ranges_become_one)
{
	struct ranges r;

	ranges_init(&r);
	ranges_add(&r, 10, 20);
	ranges_add(&r, 1, UINT64_MAX);
	ranges_add(&r, 15, 15);
	ranges_add(&r, UINT64_MAX, UINT64_MAX);
	ranges_normalize(&r);
	ck_assert_uint_eq(r.n, 1);
	ck_assert_uint_eq(r.v[0].first, 1);
	ck_assert_uint_eq(r.v[0].last, UINT64_MAX);
	ranges_clear(&r);
	ranges_normalize(&r);
	ck_assert_uint_eq(r.n, 0);
	ranges_finish(&r);
}
END_TEST

static unsigned draw(unsigned *seed, unsigned below)
{
	*seed = *seed * 1664525 + 1013904223;
	return (*seed >> 16) % below;
}

/* Against a set of flags. */
START_TEST(any_ranges_keep_their_numbers_and_no_others)
{
	unsigned seed = 7;

	for (int round = 0; round < 300; round++) {
		bool in[64] = {false};
		struct ranges r;

		ranges_init(&r);
		for (unsigned n = draw(&seed, 12); n > 0; n--) {
			const uint64_t first = draw(&seed, 50);
			const uint64_t last = first + draw(&seed, 10);

			ranges_add(&r, first, last);
			for (uint64_t i = first; i <= last; i++) {
				in[i] = true;
			}
		}
		ranges_normalize(&r);
		for (size_t i = 0; i < r.n; i++) {
			ck_assert(i == 0 || r.v[i].first > r.v[i - 1].last + 1);
			for (uint64_t k = r.v[i].first; k <= r.v[i].last; k++) {
				ck_assert(in[k]);
				in[k] = false;
			}
		}
		for (int i = 0; i < 64; i++) {
			ck_assert(!in[i]);
		}
		ranges_finish(&r);
	}
}
END_TEST

int main(void)
{
	const TTest *tests[] = {
		what_touches_the_end_is_merged,
		overlapping_ranges_become_one,
		any_ranges_keep_their_numbers_and_no_others,
	};

	return suite_run("ranges", tests, sizeof(tests) / sizeof(tests[0]));
}
