/* SPDX-License-Identifier: Apache-2.0 */
#include "base/option.h"

#include <stdbool.h>

#include "base/mem.h"
#include "tests/unit/suite.h"

struct inner {
	char *secret;
	int64_t size;
};

struct outer {
	bool on;
	char *name, *absent;
	struct option_strings list, none;
	struct inner inner;
};

static const struct option inner_table[] = {
	{.key = "size", .kind = OPTION_SIZE, .offset = offsetof(struct inner, size)},
	{.key = "secret", .kind = OPTION_SECRET, .offset = offsetof(struct inner, secret)},
	{.key = NULL},
};

static const struct option outer_table[] = {
	{.key = "on", .kind = OPTION_BOOL, .offset = offsetof(struct outer, on)},
	{.key = "name", .kind = OPTION_STRING, .offset = offsetof(struct outer, name)},
	{.key = "absent", .kind = OPTION_STRING, .offset = offsetof(struct outer, absent)},
	{.key = "list", .kind = OPTION_STRINGS, .offset = offsetof(struct outer, list)},
	{.key = "none", .kind = OPTION_STRINGS, .offset = offsetof(struct outer, none)},
	{.key = "later", .kind = OPTION_UNSUPPORTED},
	{.key = "inner",
	 .kind = OPTION_TABLE,
	 .offset = offsetof(struct outer, inner),
	 .table = inner_table},
	{.key = NULL},
};

START_TEST(every_string_is_freed_and_forgotten)
{
	struct outer o = {.on = true, .name = xstrdup("n"), .inner = {xstrdup("s"), 7}};

	o.list.n = 2;
	o.list.v = xcalloc(2, sizeof(*o.list.v));
	o.list.v[0] = xstrdup("a");
	o.list.v[1] = xstrdup("b");
	option_free(outer_table, &o);
	ck_assert_ptr_null(o.name);
	ck_assert_ptr_null(o.list.v);
	ck_assert_uint_eq(o.list.n, 0);
	ck_assert_ptr_null(o.inner.secret);
	ck_assert(o.on);
	ck_assert_int_eq(o.inner.size, 7);
	option_free(outer_table, &o);
}
END_TEST

int main(void)
{
	const TTest *tests[] = {every_string_is_freed_and_forgotten};

	return suite_run("option", tests, sizeof(tests) / sizeof(tests[0]));
}
