/* SPDX-License-Identifier: Apache-2.0 */
/*
 * main() of a unit test:
 *	const TTest *tests[] = {this, that};
 *	return suite_run("noun", tests, sizeof(tests) / sizeof(tests[0]));
 * Each test runs in a process of its own (check's fork mode), before which no thread was started.
 */
#ifndef TESTS_UNIT_SUITE_H
#define TESTS_UNIT_SUITE_H

#include <check.h>

/* One case with fixtures or loops of its own; the exit status: 0 when every test passed. */
static inline int suite_run_case(const char *name, TCase *tcase)
{
	Suite *suite = suite_create(name);
	SRunner *runner = srunner_create(suite);
	int failed;

	suite_add_tcase(suite, tcase);
	srunner_set_fork_status(runner, CK_FORK);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}

static inline int suite_run(const char *name, const TTest *const *tests, size_t n)
{
	TCase *tcase = tcase_create(name);

	for (size_t i = 0; i < n; i++) {
		tcase_add_test(tcase, tests[i]);
	}
	return suite_run_case(name, tcase);
}

#endif
