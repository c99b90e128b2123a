/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "adapters/nats/header_block.h"
#include "tests/unit/suite.h"

#define BLOCK(text) slice_of(text, sizeof(text) - 1)

/* "key=value;" for each header. */
static const char *all(struct slice block)
{
	static char out[256];
	struct slice key, value;
	size_t pos = 0, n = 0;

	out[0] = '\0';
	while (header_block_next(block, &pos, &key, &value)) {
		n += (size_t)snprintf(out + n, sizeof(out) - n, "%.*s=%.*s;", SLICE_ARG(key),
				      SLICE_ARG(value));
	}
	ck_assert(!header_block_next(block, &pos, &key, &value));
	return out;
}

START_TEST(lines_in_their_order)
{
	ck_assert_str_eq(all(BLOCK("NATS/1.0\r\na: 1\r\nb:2\r\na:  3 \r\n\r\n")), "a=1;b=2;a=3;");
	ck_assert_str_eq(all(BLOCK("NATS/1.0 503 No Responders\r\n\r\n")), "");
	ck_assert_str_eq(all(BLOCK("NATS/1.0\r\nurl: http://x:1\r\n\r\n")), "url=http://x:1;");
}
END_TEST

START_TEST(an_empty_value_takes_no_other_line)
{
	ck_assert_str_eq(all(BLOCK("NATS/1.0\r\ne:\r\nf: \r\na: 1\r\n\r\n")), "e=;f=;a=1;");
	ck_assert_str_eq(all(BLOCK("NATS/1.0\r\na: 1\r\ne:\r\n\r\n")), "a=1;e=;");
}
END_TEST

START_TEST(what_the_library_has_read_before)
{
	ck_assert_str_eq(all(BLOCK("NATS/1.0\0\na\0 1\0\nb\0 2\0\0\n\r\n")), "a=1;b=2;");
	ck_assert_str_eq(all(BLOCK("NATS/1.0\0\ne\0\r\na: 1\0\n\r\n")), "e=;a=1;");
}
END_TEST

START_TEST(lines_that_are_no_headers)
{
	ck_assert_str_eq(all(BLOCK("NATS/1.0\r\n folded: 1\r\nnothing\r\n: x\r\na: 1\r\n\r\n")),
			 "a=1;");
	ck_assert_str_eq(all(BLOCK("")), "");
	ck_assert_str_eq(all(BLOCK("NATS/1.0\r\na: no end")), "a=no end;");
}
END_TEST

int main(void)
{
	const TTest *tests[] = {
		lines_in_their_order,
		an_empty_value_takes_no_other_line,
		what_the_library_has_read_before,
		lines_that_are_no_headers,
	};

	return suite_run("header_block", tests, sizeof(tests) / sizeof(tests[0]));
}
