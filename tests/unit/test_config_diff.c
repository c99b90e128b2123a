/* SPDX-License-Identifier: Apache-2.0 */
/* What a reload changes, and what it cannot change. */
#include "tests/unit/config_kit.h"
#include "tests/unit/suite.h"

#include "config/report.h"

/* Both lists must be exactly these (NULL-terminated). */
static void expect(const char *from, const char *to, const char *const *want_changes,
		   const char *const *want_errors)
{
	struct config *a = kit_load(from), *b = kit_load(to);
	struct config_errors got[2] = {{0}, {0}};
	const char *const *want[2] = {want_changes, want_errors};
	int rc = config_diff(a, b, &got[0], &got[1]);

	ck_assert_int_eq(rc, want_errors[0] ? EB_ENOTSUP : 0);
	for (int l = 0; l < 2; l++) {
		size_t i = 0;

		for (; want[l][i]; i++) {
			ck_assert_msg(i < got[l].n, "missing: %s", want[l][i]);
			ck_assert_str_eq(got[l].v[i], want[l][i]);
		}
		ck_assert_msg(i == got[l].n, "unexpected: %s", got[l].v[i]);
		config_errors_free(&got[l]);
	}
	config_free(a);
	config_free(b);
}
#define LIST(...)                                                                                  \
	(const char *const[])                                                                      \
	{                                                                                          \
		__VA_ARGS__, NULL                                                                  \
	}
static const char *const nothing[] = {NULL};

START_TEST(the_same_file_changes_nothing)
{
	static const char text[] =
		"broker: {nats: {servers: [a, b], token: x, tls: {enabled: true, ca: /x}}}\n"
		"topics: [{match: a, dlq: off}, {match: b, group: g, retry: {retry_on: [x]}}]\n"
		"access: [{user: root, publish: [\">\"]}]\n";

	expect(text, text, nothing, nothing);
	expect("", "# moved\n\n", nothing, nothing);
	/* Their order means nothing. */
	expect("topics: [{match: a, order: key}, {match: b}]\n",
	       "topics: [{match: b}, {match: a, order: key}]\n", nothing, nothing);
}
END_TEST

START_TEST(values_that_can_be_applied_are_told)
{
	expect("limits: {memory: 512MiB, hello_timeout: 1s}\n",
	       "# x\nlimits:\n  memory: 1GiB\nlog: {level: debug}\ndrain: {timeout: 1m}\n",
	       LIST("limits.memory: 512MiB -> 1GiB (line 3)",
		    "limits.hello_timeout: 1s -> 5s (built in)",
		    "drain.timeout: 25s -> 1m (line 5)", "log.level: info -> debug (line 4)"),
	       nothing);
}
END_TEST

START_TEST(policies_are_told_value_by_value)
{
	expect("defaults: {lease: 10s, dlq: off}\n"
	       "topics:\n"
	       "  - {match: gone}\n"
	       "  - {match: a, group: g, order: key, retry: {max_retries: 7, never_on: [x]}}\n",
	       "defaults: {retry: {jitter: 0.5}, dlq: {topic: dead}}\n"
	       "topics:\n"
	       "  - {match: new, order: key}\n"
	       "  - {match: a, group: g, lease: 3s, retry: {never_on: [x, y]}, dlq: off}\n",
	       LIST("defaults.lease: 10s -> 30s (built in)",
		    "defaults.retry.jitter: 0.2 -> 0.5 (line 1)", "defaults.dlq: off -> on",
		    "topics[0] match=gone: removed",
		    "topics[1] match=a group=g: order: key -> (not set)",
		    "topics[1] match=a group=g: lease: (not set) -> 3s (line 4)",
		    "topics[1] match=a group=g: retry.max_retries: 7 -> (not set)",
		    "topics[1] match=a group=g: retry.never_on: [x] -> [x, y] (line 4)",
		    "topics[1] match=a group=g: dlq: on -> off",
		    "topics[0] match=new: added (line 3)"),
	       nothing);
	/* Said and built in are two things: the one hides `defaults`, the other does not. */
	expect("topics: [{match: a}]\n", "topics: [{match: a, order: none}]\n",
	       LIST("topics[0] match=a: order: (not set) -> none (line 1)"), nothing);
}
END_TEST

START_TEST(access_is_compared_entry_by_entry)
{
	expect("access: [{user: root}, {user: 7, publish: [a]}, {user: 8}]\n",
	       "access: [{user: root}, {user: 7, publish: [b]}]\n",
	       LIST("access[1] user=7: changed (line 1)", "access[2] user=8: removed"), nothing);
	expect("", "access: [{user: root}]\n", LIST("access[0] user=root: added (line 1)"),
	       nothing);
}
END_TEST

START_TEST(socket_and_broker_need_a_restart)
{
	expect("socket: {mode: 0600}\nlog: {level: warn}\n", "socket: {path: /x, group: daemon}\n",
	       LIST("log.level: warn -> info (built in)"),
	       LIST("socket.path: (none) -> /x (line 1); needs a restart",
		    "socket.mode: 0600 -> 0660 (built in); needs a restart",
		    "socket.group: (none) -> daemon (line 1); needs a restart"));
	expect("", "broker: {nats: {}}\n", nothing,
	       LIST("broker: memory -> nats; needs a restart"));
	/* Their values stay unsaid: an address may hold a password. */
	expect("broker: {nats: {servers: [a]}}\n",
	       "broker:\n  nats: {servers: [\"nats://me:pw@b\"], tls: {enabled: true}}\n", nothing,
	       LIST("broker.nats.servers: changed (line 2); needs a restart",
		    "broker.nats.tls.enabled: changed (line 2); needs a restart"));
}
END_TEST

int main(void)
{
	const TTest *tests[] = {the_same_file_changes_nothing, values_that_can_be_applied_are_told,
				policies_are_told_value_by_value, access_is_compared_entry_by_entry,
				socket_and_broker_need_a_restart};

	return suite_run("config_diff", tests, sizeof(tests) / sizeof(tests[0]));
}
