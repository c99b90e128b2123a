/* SPDX-License-Identifier: Apache-2.0 */
/* What `access:` allows to whom. */
#include "tests/unit/config_kit.h"
#include "tests/unit/suite.h"

static bool allows(const struct config *c, int64_t uid, enum config_right right, const char *name)
{
	return config_allows(c, uid, right, slice_str(name));
}

START_TEST(access_is_what_the_lists_name)
{
	struct config *c =
		kit_load("access:\n"
			 "  - {user: root, publish: [\"orders.>\", \"a.*\"]}\n"
			 "  - {user: 77, subscribe: \">\", groups: [\"orders-*\", \"x.?\"]}\n"
			 "  - {user: \"*\", publish: [public]}\n");

	ck_assert_uint_eq(c->n_access, 3);
	ck_assert_int_eq(c->access[0].uid, 0);
	ck_assert_int_eq(c->access[2].uid, -1);
	ck_assert(allows(c, 0, CONFIG_PUBLISH, "orders.a.b"));
	ck_assert(allows(c, 0, CONFIG_PUBLISH, "a.b"));
	ck_assert(allows(c, 0, CONFIG_PUBLISH, "public"));
	ck_assert(!allows(c, 0, CONFIG_PUBLISH, "orders"));
	ck_assert(!allows(c, 0, CONFIG_SUBSCRIBE, "orders.a"));
	ck_assert(!allows(c, 0, CONFIG_GROUP, "orders-1"));
	ck_assert(allows(c, 77, CONFIG_SUBSCRIBE, "a.*"));
	ck_assert(allows(c, 77, CONFIG_SUBSCRIBE, ">"));
	ck_assert(!allows(c, 77, CONFIG_SUBSCRIBE, "dlq.orders"));
	ck_assert(allows(c, 77, CONFIG_GROUP, "orders-1"));
	ck_assert(allows(c, 77, CONFIG_GROUP, "x.1"));
	ck_assert(!allows(c, 77, CONFIG_GROUP, "x.12"));
	ck_assert(!allows(c, 77, CONFIG_PUBLISH, "orders.a"));
	ck_assert(allows(c, 78, CONFIG_PUBLISH, "public"));
	ck_assert(!allows(c, 78, CONFIG_SUBSCRIBE, "public"));
	config_free(c);
	c = kit_load("");
	ck_assert(allows(c, 78, CONFIG_PUBLISH, "anything"));
	ck_assert(allows(c, 78, CONFIG_GROUP, "g"));
	config_free(c);
}
END_TEST

START_TEST(a_group_name_of_any_length_is_answered)
{
	struct config *c = kit_load("access: [{user: 7, groups: [\"*\"]}]\n");
	char longest[200];

	memset(longest, 'g', sizeof(longest));
	ck_assert(config_allows(c, 7, CONFIG_GROUP, slice_of(longest, 64)));
	ck_assert(!config_allows(c, 7, CONFIG_GROUP, slice_of(longest, sizeof(longest))));
	config_free(c);
}
END_TEST

int main(void)
{
	const TTest *tests[] = {access_is_what_the_lists_name,
				a_group_name_of_any_length_is_answered};

	return suite_run("config_access", tests, sizeof(tests) / sizeof(tests[0]));
}
