/* SPDX-License-Identifier: Apache-2.0 */
/* The pool of flights, and the tags that name them. */
#include <stdlib.h>

#include "base/mem.h"
#include "base/ranges.h"
#include "daemon/tags.h"
#include "suite.h"

enum { MANY = 20000 };

START_TEST(a_ref_finds_its_flight_while_it_lives_and_no_other)
{
	struct flight_pool p;
	struct flight *a, *b;
	void *ra;

	flight_pool_init(&p, NULL);
	a = flight_alloc(&p);
	ra = flight_ref(a);
	ck_assert_ptr_nonnull(ra);
	ck_assert_ptr_eq(flight_find(&p, ra), a);
	flight_free(&p, a);
	ck_assert_ptr_null(flight_find(&p, ra));
	b = flight_alloc(&p);
	ck_assert_ptr_eq(a, b); /* the same place, another name */
	ck_assert_ptr_null(flight_find(&p, ra));
	ck_assert_ptr_eq(flight_find(&p, flight_ref(b)), b);
	flight_free(&p, b);
	flight_pool_finish(&p);
}
END_TEST

START_TEST(memory_of_a_peak_goes_back)
{
	static struct flight *all[MANY];
	struct budget budget;
	struct flight_pool p;
	size_t peak;

	budget_init(&budget, NULL, SIZE_MAX);
	flight_pool_init(&p, &budget);
	for (int i = 0; i < MANY; i++) {
		all[i] = flight_alloc(&p);
	}
	peak = budget.used;
	ck_assert_uint_ge(peak, MANY * sizeof(struct flight));
	for (int i = 0; i < MANY; i++) {
		flight_free(&p, all[i]);
	}
	ck_assert_uint_lt(budget.used, peak / 8);
	for (int i = 0; i < MANY; i++) {
		all[i] = flight_alloc(&p);
	}
	ck_assert_uint_eq(budget.used, peak);
	for (int i = MANY - 1; i >= 0; i--) {
		flight_free(&p, all[i]);
	}
	flight_pool_finish(&p);
	ck_assert_uint_eq(budget.used, 0);
}
END_TEST

static struct tags tags;
static struct ranges found, gaps;

static void on_found(void *ctx, struct flight *f)
{
	(void)ctx;
	ranges_add(&found, f->tag, f->tag);
	tags_remove(&tags, f);
}

static void on_gap(void *ctx, uint64_t first, uint64_t last)
{
	(void)ctx;
	ranges_add(&gaps, first, last);
}

static void setup(struct flight *f, int n, uint64_t base)
{
	tags_init(&tags, base);
	ranges_init(&found);
	ranges_init(&gaps);
	memset(f, 0, (size_t)n * sizeof(*f));
	for (int i = 0; i < n; i++) {
		tags_add(&tags, &f[i]);
		ck_assert_uint_eq(f[i].tag, base + (uint64_t)i);
	}
}

static void finish(void)
{
	tags_finish(&tags);
	ranges_finish(&found);
	ranges_finish(&gaps);
}

static void ck_range(const struct ranges *r, size_t i, uint64_t first, uint64_t last)
{
	ck_assert_uint_lt(i, r->n);
	ck_assert_uint_eq(r->v[i].first, first);
	ck_assert_uint_eq(r->v[i].last, last);
}

START_TEST(an_exact_range)
{
	static struct flight f[100];

	setup(f, 100, 1000);
	tags_each(&tags, 1010, 1019, on_found, on_gap, NULL);
	ck_assert_uint_eq(found.n, 1);
	ck_range(&found, 0, 1010, 1019);
	ck_assert_uint_eq(gaps.n, 0);
	tags_each(&tags, 1015, 1024, on_found, on_gap, NULL);
	ck_range(&found, 0, 1010, 1024);
	ck_range(&gaps, 0, 1015, 1019);
	tags_each(&tags, 0, UINT64_MAX, on_found, NULL, NULL);
	finish();
}
END_TEST

START_TEST(a_range_of_everything)
{
	static struct flight f[10];

	setup(f, 10, 50);
	tags_remove(&tags, &f[4]);
	tags_each(&tags, 0, UINT64_MAX, on_found, on_gap, NULL);
	ck_assert_uint_eq(found.n, 2);
	ck_range(&found, 0, 50, 53);
	ck_range(&found, 1, 55, 59);
	ck_assert_uint_eq(gaps.n, 3);
	ck_range(&gaps, 0, 0, 49);
	ck_range(&gaps, 1, 54, 54);
	ck_range(&gaps, 2, 60, UINT64_MAX);
	finish();
}
END_TEST

START_TEST(ranges_beside_what_was_given)
{
	static struct flight f[3];

	setup(f, 3, 100);
	tags_each(&tags, 1, 99, on_found, on_gap, NULL);
	tags_each(&tags, 103, 1ULL << 60, on_found, on_gap, NULL);
	tags_each(&tags, 5, 4, on_found, on_gap, NULL);
	ck_assert_uint_eq(found.n, 0);
	ck_assert_uint_eq(gaps.n, 2);
	tags_each(&tags, 99, 103, on_found, on_gap, NULL);
	ck_range(&found, 0, 100, 102);
	ck_range(&gaps, 2, 99, 99);
	ck_range(&gaps, 3, 103, 103);
	tags_each(&tags, 0, UINT64_MAX, on_found, on_gap, NULL);
	ck_range(&gaps, 4, 0, UINT64_MAX);
	finish();
}
END_TEST

START_TEST(many_tags_and_an_old_one_that_stays)
{
	struct flight *f = xcalloc(MANY, sizeof(*f));

	setup(f, 1, 7);
	for (int i = 1; i < MANY; i++) {
		tags_add(&tags, &f[i]);
		ck_assert_ptr_eq(tags_find(&tags, 7 + (uint64_t)i), &f[i]);
		if (i % 2) {
			tags_remove(&tags, &f[i]);
			ck_assert_ptr_null(tags_find(&tags, 7 + (uint64_t)i));
		}
	}
	ck_assert_uint_eq(tags.count, MANY / 2);
	ck_assert_ptr_eq(tags_find(&tags, 7), &f[0]);
	tags_each(&tags, 8, UINT64_MAX, on_found, on_gap, NULL);
	ck_assert_uint_eq(found.n, MANY / 2 - 1);
	ck_assert_uint_eq(tags.count, 1);
	tags_remove(&tags, &f[0]);
	finish();
	free(f);
}
END_TEST

int main(void)
{
	const TTest *tests[] = {
		a_ref_finds_its_flight_while_it_lives_and_no_other,
		memory_of_a_peak_goes_back,
		an_exact_range,
		a_range_of_everything,
		ranges_beside_what_was_given,
		many_tags_and_an_old_one_that_stays,
	};

	return suite_run("flight", tests, sizeof(tests) / sizeof(tests[0]));
}
