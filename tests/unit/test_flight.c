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
	flight_extra(&p, a);
	ra = flight_ref(a);
	ck_assert_ptr_nonnull(ra);
	ck_assert_ptr_eq(flight_find(&p, ra), a);
	flight_free(&p, a);
	ck_assert_ptr_null(flight_find(&p, ra));
	b = flight_alloc(&p);
	ck_assert_ptr_eq(a, b); /* the same place, another name */
	ck_assert_ptr_null(flight_find(&p, ra));
	flight_extra(&p, b);
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

static void each(uint64_t first, uint64_t last, void (*gap)(void *, uint64_t, uint64_t))
{
	const struct tags_walk w = {on_found, gap, NULL};

	tags_each(&tags, &(struct range){first, last}, 1, &w);
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

START_TEST(an_extra_stays_while_there_is_something_in_it)
{
	struct budget budget;
	struct flight_pool p;
	struct flight *f, *other;
	struct wheel wheel;
	size_t without;

	wheel_init(&wheel, 0);
	budget_init(&budget, NULL, SIZE_MAX);
	flight_pool_init(&p, &budget);
	f = flight_alloc(&p);
	other = flight_alloc(&p);
	without = budget.used;
	flight_set_failures(&p, f, &(struct failures){0});
	ck_assert_ptr_null(f->extra);
	ck_assert_uint_eq(flight_failures(f).count, 0);

	wheel_add(&wheel, &flight_extra(&p, f)->timer, 5);
	ck_assert_ptr_eq(f->extra->flight, f);
	ck_assert_uint_gt(budget.used, without);
	flight_trim(&p, f);
	ck_assert_ptr_nonnull(f->extra);
	flight_set_failures(&p, f, &(struct failures){2, 10, 20});
	wheel_remove(&wheel, &f->extra->timer);
	flight_trim(&p, f);
	ck_assert_uint_eq(flight_failures(f).count, 2);
	flight_set_failures(&p, f, &(struct failures){0});
	flight_trim(&p, f);
	ck_assert_ptr_null(f->extra);

	ck_assert_uint_eq(flight_extra(&p, other)->failures.last_ms, 0);
	flight_set_failures(&p, other, &(struct failures){1, 1, 1});
	flight_free(&p, f);
	flight_free(&p, other);
	flight_pool_finish(&p);
	ck_assert_uint_eq(budget.used, 0);
}
END_TEST

START_TEST(an_exact_range)
{
	static struct flight f[100];

	setup(f, 100, 1000);
	each(1010, 1019, on_gap);
	ck_assert_uint_eq(found.n, 1);
	ck_range(&found, 0, 1010, 1019);
	ck_assert_uint_eq(gaps.n, 0);
	each(1015, 1024, on_gap);
	ck_range(&found, 0, 1010, 1024);
	ck_range(&gaps, 0, 1015, 1019);
	each(0, UINT64_MAX, NULL);
	finish();
}
END_TEST

START_TEST(a_range_of_everything)
{
	static struct flight f[10];

	setup(f, 10, 50);
	tags_remove(&tags, &f[4]);
	each(0, UINT64_MAX, on_gap);
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
	each(1, 99, on_gap);
	each(103, 1ULL << 60, on_gap);
	each(5, 4, on_gap);
	ck_assert_uint_eq(found.n, 0);
	ck_assert_uint_eq(gaps.n, 2);
	each(99, 103, on_gap);
	ck_range(&found, 0, 100, 102);
	ck_range(&gaps, 2, 99, 99);
	ck_range(&gaps, 3, 103, 103);
	each(0, UINT64_MAX, on_gap);
	ck_range(&gaps, 4, 0, UINT64_MAX);
	finish();
}
END_TEST

START_TEST(wide_ranges_in_one_walk)
{
	static const struct range v[] = {{0, 10}, {52, 53}, {56, 56}, {58, 900}, {902, UINT64_MAX}};
	static struct flight f[10];
	const struct tags_walk w = {on_found, on_gap, NULL};

	setup(f, 10, 50);
	tags_remove(&tags, &f[3]);
	tags_each(&tags, v, 5, &w);
	ck_assert_uint_eq(found.n, 3);
	ck_range(&found, 0, 52, 52);
	ck_range(&found, 1, 56, 56);
	ck_range(&found, 2, 58, 59);
	ck_assert_uint_eq(gaps.n, 4);
	ck_range(&gaps, 0, 0, 10);
	ck_range(&gaps, 1, 53, 53);
	ck_range(&gaps, 2, 60, 900);
	ck_range(&gaps, 3, 902, UINT64_MAX);
	tags_each(&tags, NULL, 0, &w);
	ck_assert_uint_eq(tags.count, 5);
	each(0, UINT64_MAX, NULL);
	finish();
}
END_TEST

START_TEST(narrow_ranges_up_to_the_last_tag)
{
	static const struct range v[] = {{50, 51}, {53, 53}, {UINT64_MAX - 1, UINT64_MAX}};
	static struct flight f[10];
	const struct tags_walk w = {on_found, on_gap, NULL};

	setup(f, 10, 50);
	tags_each(&tags, v, 3, &w);
	ck_assert_uint_eq(found.n, 2);
	ck_range(&found, 0, 50, 51);
	ck_range(&found, 1, 53, 53);
	ck_assert_uint_eq(gaps.n, 1);
	ck_range(&gaps, 0, UINT64_MAX - 1, UINT64_MAX);
	each(0, UINT64_MAX, NULL);
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
	each(8, UINT64_MAX, on_gap);
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
		an_extra_stays_while_there_is_something_in_it,
		an_exact_range,
		a_range_of_everything,
		ranges_beside_what_was_given,
		wide_ranges_in_one_walk,
		narrow_ranges_up_to_the_last_tag,
		many_tags_and_an_old_one_that_stays,
	};

	return suite_run("flight", tests, sizeof(tests) / sizeof(tests[0]));
}
