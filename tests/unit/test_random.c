/* SPDX-License-Identifier: Apache-2.0 */
#include "base/random.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/suite.h"

static void check_uuid(const char *s, char version)
{
	for (int i = 0; i < UUID_TEXT_SIZE; i++) {
		if (i == 8 || i == 13 || i == 18 || i == 23) {
			ck_assert_int_eq(s[i], '-');
		} else {
			ck_assert_ptr_nonnull(strchr("0123456789abcdef", s[i]));
		}
	}
	ck_assert_int_eq(s[14], version);
	ck_assert_ptr_nonnull(strchr("89ab", s[19]));
}

static int by_text(const void *a, const void *b)
{
	return memcmp(a, b, UUID_TEXT_SIZE);
}

START_TEST(uuids_are_well_formed_and_differ)
{
	enum { N = 20000 };
	char(*ids)[UUID_TEXT_SIZE] = malloc(N * sizeof(*ids));

	ck_assert_ptr_nonnull(ids);
	for (int i = 0; i < N; i++) {
		uuid_make(ids[i]);
		check_uuid(ids[i], '4');
	}
	qsort(ids, N, sizeof(*ids), by_text);
	for (int i = 1; i < N; i++) {
		ck_assert_int_ne(memcmp(ids[i - 1], ids[i], UUID_TEXT_SIZE), 0);
	}
	free(ids);
}
END_TEST

START_TEST(a_derived_uuid_depends_on_every_part_and_its_borders)
{
	const char *one[] = {"orders", "dlq", "17"}, *two[] = {"ordersd", "lq", "17"},
		   *three[] = {"orders", "dlq", "18"};
	char a[UUID_TEXT_SIZE], b[UUID_TEXT_SIZE];

	uuid_derive(a, one, 3);
	uuid_derive(b, one, 3);
	check_uuid(a, '8');
	ck_assert_mem_eq(a, b, UUID_TEXT_SIZE);
	/* as any other program computes it from SHA-256 of "orders", "dlq" and "17" with their NULs
	 */
	ck_assert_mem_eq(a, "83e5beea-bf8f-84a3-927d-d6137b55c5b9", UUID_TEXT_SIZE);
	uuid_derive(b, two, 3);
	ck_assert_mem_ne(a, b, UUID_TEXT_SIZE);
	uuid_derive(b, three, 3);
	ck_assert_mem_ne(a, b, UUID_TEXT_SIZE);
	uuid_derive(b, one, 2);
	ck_assert_mem_ne(a, b, UUID_TEXT_SIZE);
	uuid_derive(b, one, 0);
	check_uuid(b, '8');
}
END_TEST

START_TEST(random_units_fill_the_interval)
{
	double least = 1, most = 0;

	for (int i = 0; i < 100000; i++) {
		const double u = random_unit();

		least = u < least ? u : least;
		most = u > most ? u : most;
	}
	ck_assert(least >= 0 && least < 0.001);
	ck_assert(most < 1 && most > 0.999);
}
END_TEST

START_TEST(requests_larger_than_a_block_are_served)
{
	static unsigned char big[100001];
	unsigned seen[256] = {0};

	random_bytes(big, sizeof(big) - 1);
	for (size_t i = 0; i < sizeof(big) - 1; i++) {
		seen[big[i]]++;
	}
	for (int i = 0; i < 256; i++) {
		ck_assert_uint_gt(seen[i], 0);
	}
	ck_assert_uint_eq(big[sizeof(big) - 1], 0);
	random_bytes(big, 0);
}
END_TEST

START_TEST(a_forked_child_draws_other_numbers)
{
	uint64_t mine, theirs;
	int fds[2], status;
	pid_t pid;

	random_u64();
	ck_assert_int_eq(pipe(fds), 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		const uint64_t v = random_u64();

		_exit(write(fds[1], &v, sizeof(v)) == sizeof(v) ? 0 : 1);
	}
	mine = random_u64();
	ck_assert_int_eq(read(fds[0], &theirs, sizeof(theirs)), sizeof(theirs));
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	ck_assert_uint_ne(mine, theirs);
	close(fds[0]);
	close(fds[1]);
}
END_TEST

int main(void)
{
	const TTest *tests[] = {
		uuids_are_well_formed_and_differ,
		a_derived_uuid_depends_on_every_part_and_its_borders,
		random_units_fill_the_interval,
		requests_larger_than_a_block_are_served,
		a_forked_child_draws_other_numbers,
	};

	return suite_run("random", tests, sizeof(tests) / sizeof(tests[0]));
}
