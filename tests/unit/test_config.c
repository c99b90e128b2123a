/* SPDX-License-Identifier: Apache-2.0 */
/* From text to structs, and every kind of mistake on the way. */
#include "tests/unit/config_kit.h"
#include "tests/unit/suite.h"

#include <stdio.h>
#include <unistd.h>

START_TEST(no_file_gives_the_built_in_values)
{
	struct config_errors e = {0};
	struct config *c;

	ck_assert_int_eq(config_load(NULL, kit_kinds, &c, &e), 0);
	ck_assert_ptr_null(c->file);
	ck_assert_ptr_null(c->socket.path);
	ck_assert_int_eq(c->socket.mode, 0660);
	ck_assert_int_eq(c->socket.max_frame, 4 << 20);
	ck_assert_int_eq(c->limits.memory, 256 << 20);
	ck_assert_int_eq(c->limits.publish_events, 4096);
	ck_assert_int_eq(c->limits.hello_timeout_ms, 5000);
	ck_assert_int_eq(c->limits.unwritten_timeout_ms, 60000);
	ck_assert_int_eq(c->drain.timeout_ms, 25000);
	ck_assert_int_eq(c->log.level, LOG_LEVEL_INFO);
	ck_assert_int_eq(c->log.format, LOG_FORMAT_AUTO);
	ck_assert_uint_eq(c->n_brokers, 1);
	ck_assert_ptr_eq(c->brokers[0].kind, &kit_memory);
	ck_assert_str_eq(c->brokers[0].name, "default");
	const struct kit_options *o = c->brokers[0].options;
	ck_assert_int_eq(o->history, 64 << 20);
	ck_assert_uint_eq(o->servers.n, 1);
	ck_assert(o->create);
	config_free(c);
	config_free(NULL);
}
END_TEST

START_TEST(an_empty_file_is_the_same)
{
	static const char *const texts[] = {"",	     "# nothing\n",
					    "---\n", "~\n",
					    "{}\n",  "limits:\nbroker:\ntopics:\nsocket: {}\n"};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct config_errors changes = {0}, errors = {0};
		struct config *a, *b = kit_load(texts[i]);

		ck_assert_int_eq(config_load(NULL, kit_kinds, &a, &errors), 0);
		ck_assert_int_eq(config_diff(a, b, &changes, &errors), 0);
		ck_assert_uint_eq(changes.n, 0);
		config_free(a);
		config_free(b);
	}
}
END_TEST

START_TEST(values_reach_their_structs)
{
	struct config *c =
		kit_load("socket: {path: /run/x.sock, mode: 0600, group: daemon, max_clients: 7}\n"
			 "broker:\n"
			 "  nats:\n"
			 "    servers: [nats://a:1, \"nats://b:2\"]\n"
			 "    history: 10kB\n"
			 "    create: off\n"
			 "    name: 'it''s'\n"
			 "    token: plain\n"
			 "    tls: {enabled: True, ca: /x}\n"
			 "limits:\n"
			 "  memory: 1GiB\n"
			 "  hello_timeout: 250ms\n"
			 "log: {level: debug, format: json}\n"
			 "drain: {timeout: 0}\n");
	const struct kit_options *o = c->brokers[0].options;

	ck_assert_str_eq(c->file, "f.yaml");
	ck_assert_str_eq(c->socket.path, "/run/x.sock");
	ck_assert_int_eq(c->socket.mode, 0600);
	ck_assert_str_eq(c->socket.group, "daemon");
	ck_assert_int_eq(c->socket.max_clients, 7);
	ck_assert_ptr_eq(c->brokers[0].kind, &kit_nats);
	ck_assert_uint_eq(c->brokers[0].line, 3);
	ck_assert_uint_eq(o->servers.n, 2);
	ck_assert_str_eq(o->servers.v[1], "nats://b:2");
	ck_assert_int_eq(o->history, 10000);
	ck_assert(!o->create);
	ck_assert_str_eq(o->name, "it's");
	ck_assert_str_eq(o->token, "plain");
	ck_assert(o->tls.enabled);
	ck_assert_int_eq(c->limits.memory, 1 << 30);
	ck_assert_int_eq(c->limits.hello_timeout_ms, 250);
	ck_assert_int_eq(c->log.level, LOG_LEVEL_DEBUG);
	ck_assert_int_eq(c->log.format, LOG_FORMAT_JSON);
	ck_assert_int_eq(c->drain.timeout_ms, 0);
	config_free(c);
}
END_TEST

START_TEST(every_mistake_is_told_at_its_place)
{
	kit_refuse("socket: {mode: 9999, path: foo}\n"
		   "defaults:\n"
		   "  retry: {max_retries: -1, initial_dely: 1s, jitter: 2}\n"
		   "  lease: 30\n"
		   "  lease: 31\n"
		   "limits: {memory: 12, memroy: 1GiB}\n"
		   "brokers: {a: {memory: {}}}\n"
		   "nonsense: 1\n"
		   "drain: 5s\n"
		   "log: {level: inof, format: []}\n",
		   "f.yaml:1:16: socket.mode: \"9999\" is not a file mode; say \"0660\"\n"
		   "f.yaml:1:28: socket.path: must be absolute: begin it with /\n"
		   "f.yaml:3:24: defaults.retry.max_retries: must be 0..1000, is -1\n"
		   "f.yaml:3:28: defaults.retry.initial_dely: unknown key; did you mean "
		   "initial_delay?\n"
		   "f.yaml:3:54: defaults.retry.jitter: must be 0..1, is 2\n"
		   "f.yaml:4:10: defaults.lease: a duration needs a unit; say 30s or 30000ms\n"
		   "f.yaml:5:3: defaults.lease: duplicate key, first on line 4; remove one\n"
		   "f.yaml:6:18: limits.memory: must be 1MiB..1TiB, is 12\n"
		   "f.yaml:6:22: limits.memroy: unknown key; did you mean memory?\n"
		   "f.yaml:7:1: brokers: not supported by this version; remove it\n"
		   "f.yaml:8:1: nonsense: unknown key; known here: socket, broker, defaults, "
		   "topics, access, limits, drain, log\n"
		   "f.yaml:9:8: drain: must be a map; its keys: timeout\n"
		   "f.yaml:10:14: log.level: \"inof\" is not one of error, warn, info, debug; did "
		   "you mean info?\n"
		   "f.yaml:10:28: log.format: must be one value, not a list\n");
}
END_TEST

/* text, what is said; f.yaml: is put before it. */
static const struct {
	const char *text, *want;
} mistakes[] = {
	/* YAML that is none, and YAML that goes too far */
	{"a: [1, 2\nb: 3\n", "2:2: not YAML: did not find expected ',' or ']', while parsing a "
			     "flow sequence"},
	{"broker: {memory: {token: ${A}, history: 1MiB}}\n",
	 "1:27: not YAML: a secret within {} or [] needs quotes: \"${NAME}\", while parsing a "
	 "flow mapping"},
	{"log:\n\tlevel: info\n",
	 "2:1: not YAML: a character that cannot start a value; if it is a tab, indent with "
	 "spaces, while scanning for the next token"},
	{"log: {level: info}\n\xff\xfe\n", "2:1: not YAML: invalid leading UTF-8 octet"},
	{"log: \x01\n", "1:6: not YAML: control characters are not allowed"},
	{"log: {level: &a info}\n",
	 "1:14: anchors and aliases are not supported; write the value out"},
	{"log: *a\n", "1:6: anchors and aliases are not supported; write the value out"},
	{"log: {<<: {level: info}}\n",
	 "1:7: merge keys (<<) are not supported; write the values out"},
	{"log: {level: !!str info}\n",
	 "1:14: tags are not supported, except !file PATH for secrets; remove it"},
	{"log: !x {level: info}\n",
	 "1:6: tags are not supported, except !file PATH for secrets; remove it"},
	{"log: {level: info}\n--- {}\n", "2:1: a second document; the file must hold one"},
	{"log: {[a]: 1}\n", "1:7: a key must be a plain word"},
	{"log: {~: 1}\n", "1:7: a key must be a plain word"},
	{"a: {a: {a: {a: {a: {a: {a: {a: {a: {a: {a: {a: {a: {a: {a: {a: {}}}}}}}}}}}}}}}}\n",
	 "1:64: nested deeper than 16 levels"},
	{"hello\n",
	 "1:1: must be a map; its keys: socket, broker, defaults, topics, access, limits, "
	 "drain, log"},
	{"\"log\\0x\": {}\n", "1:1: a key holds a zero byte"},
	/* kinds of value */
	{"log: {level: }\n", "1:14: log.level: has no value; give one or remove the key"},
	{"log: {level: null}\n", "1:14: log.level: has no value; give one or remove the key"},
	{"log: {level: {}}\n", "1:14: log.level: must be one value, not a map"},
	{"log: {level: \"\"}\n",
	 "1:14: log.level: must not be empty; remove the key to leave it out"},
	{"socket: {path: \"/a\\nb\"}\n", "1:16: socket.path: holds a control character"},
	{"socket: {path: \"/a\\0b\"}\n", "1:16: socket.path: holds a control character"},
	{"socket: {max_clients: many}\n",
	 "1:23: socket.max_clients: \"many\" is not a whole number; say 10"},
	{"socket: {max_clients: 0}\n", "1:23: socket.max_clients: must be 1..65536, is 0"},
	{"socket: {max_clients: 99999999999999999999}\n",
	 "1:23: socket.max_clients: 99999999999999999999 is too large"},
	{"socket: {max_frame: 4M}\n",
	 "1:21: socket.max_frame: \"4M\" is not a size; say 512, 64KiB, 4MiB, 1GiB or 10kB"},
	{"socket: {max_frame: 1GiB}\n", "1:21: socket.max_frame: must be 64KiB..64MiB, is 1GiB"},
	{"socket: {mode: 660}\nbroker: {memory: {create: 2}}\n",
	 "2:27: broker.memory.create: \"2\" is neither true nor false"},
	{"drain: {timeout: 5}\n", "1:18: drain.timeout: a duration needs a unit; say 5s or 5000ms"},
	{"drain: {timeout: 5 sec}\n",
	 "1:18: drain.timeout: \"5 sec\" is not a duration; say 250ms, "
	 "5s, 2m, 1h or 7d"},
	{"drain: {timeout: 2h}\n", "1:18: drain.timeout: must be 0s..1h, is 2h"},
	{"defaults: {retry: {jitter: lots}}\n",
	 "1:28: defaults.retry.jitter: \"lots\" is not a number; say 0.5"},
	{"broker: {memory: {servers: {a: b}}}\n",
	 "1:28: broker.memory.servers: must be a list of strings, not a map"},
	{"broker: {memory: {servers: [a, [b]]}}\n",
	 "1:32: broker.memory.servers[1]: must be a string"},
	{"socket: {path: a\xc3\xa9"
	 "bcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz}\n",
	 "1:16: socket.path: must be absolute: begin it with /"},
	/* secrets only where they belong */
	{"socket: {path: \"${HOME}/x\"}\n", "1:16: socket.path: ${...} is for secrets only, and "
					    "this is none; write the value out"},
	{"socket: {path: !file /etc/hostname}\n",
	 "1:16: socket.path: !file is for secrets only, and this is none; write the value out"},
	{"broker: {memory: {token: \"${EVENTBUS_NO_SUCH}\"}}\n",
	 "1:26: broker.memory.token: environment variable EVENTBUS_NO_SUCH is not set"},
	{"broker: {memory: {token: \"${A B}\"}}\n",
	 "1:26: broker.memory.token: ${...} must hold the name of an environment variable, such "
	 "as ${NATS_TOKEN}"},
	{"broker: {memory: {token: \"x${HOME}\"}}\n",
	 "1:26: broker.memory.token: ${NAME} must be the whole value"},
	{"broker: {memory: {token: !file /nowhere/at/all}}\n",
	 "1:26: broker.memory.token: /nowhere/at/all: No such file or directory"},
	{"broker: {memory: {token: !file /dev/null}}\n",
	 "1:26: broker.memory.token: /dev/null: not a regular file"},
	/* the broker */
	{"broker: memory\n", "1:9: broker: must be a map with one kind, such as {memory: {}}"},
	{"broker: {kafka: {}}\n",
	 "1:10: broker.kafka: no such kind of broker in this version; there is: memory, nats"},
	{"broker:\n  memory: {}\n  nats: {}\n",
	 "3:3: broker.nats: a second broker; this version runs one, remove the other"},
	{"broker: {nats: {tls: {ca: /x}}}\n", "1:27: broker.nats.tls.ca: needs tls.enabled"},
	{"broker: {nats: {tls: yes}}\n",
	 "1:22: broker.nats.tls: must be a map; its keys: enabled, ca"},
	{"broker: {\"memory\\0x\": {}}\n", "1:10: a key holds a zero byte"},
	{"metrics: {listen: \"127.0.0.1:9464\"}\n",
	 "1:1: metrics: not supported by this version; remove it"},
	/* access */
	{"access:\n", "1:8: access: must be a list of users, such as [{user: orders, publish: "
		      "[\"orders.>\"]}]; without the key everybody may do everything"},
	{"access: [{publish: [a]}]\n",
	 "1:10: access[0].user: is missing; name a user, or \"*\" for every user"},
	{"access: [{user: no-such-user-here}]\n",
	 "1:17: access[0].user: no user \"no-such-user-here\" on this machine; create it or give "
	 "its number"},
	{"socket: {group: no-such-group-here}\n",
	 "1:17: socket.group: no group \"no-such-group-here\" on this machine; create it or give "
	 "its number"},
	{"socket: {group: 4294967295}\n",
	 "1:17: socket.group: no group \"4294967295\" on this machine; create it or give its "
	 "number"},
	{"access: [{user: 4294967295}]\n", "1:17: access[0].user: no user has so large a number"},
	{"access: [{user: root, publish: [\"a b\"]}]\n",
	 "1:32: access[0].publish[0]: byte 2: 0x20 is not allowed (use A-Z a-z 0-9 _ - and dots)"},
	{"access: [{user: root, groups: [\"a[b]\"]}]\n",
	 "1:31: access[0].groups[0]: byte 2: only letters, digits, '_', '-', '.', and the "
	 "wildcards '*' and '?' are allowed"},
	/* values that cannot go together */
	{"limits: {per_client: 512MiB}\n",
	 "1:22: limits.per_client: 512MiB is above memory 256MiB; "
	 "lower it to 256MiB or less"},
	{"limits: {memory: 16MiB}\n",
	 "1:18: limits.per_client: 32MiB (the default) is above memory "
	 "16MiB; lower it to 16MiB or less"},
	{"limits: {max_in_flight_events: 100}\n",
	 "1:32: limits.in_flight_events: 256 (the default) is above max_in_flight_events 100; "
	 "lower it to 100 or less"},
	{"limits: {max_lease: 10s}\n",
	 "1:21: defaults.lease: 30s (the default) is above limits.max_lease 10s"},
};

START_TEST(each_mistake_has_its_own_text)
{
	char want[512];

	for (size_t i = 0; i < sizeof(mistakes) / sizeof(mistakes[0]); i++) {
		snprintf(want, sizeof(want), "f.yaml:%s", mistakes[i].want);
		kit_refuse(mistakes[i].text, want);
	}
}
END_TEST

START_TEST(secrets_come_from_the_environment_and_from_files)
{
	char dir[] = "/tmp/config-secret-XXXXXX", file[64], text[256];
	struct config_errors e = {0};
	struct config *c;
	FILE *f;

	setenv("EVENTBUS_TEST_SECRET", "from env", 1);
	c = kit_load("broker: {memory: {token: \"${EVENTBUS_TEST_SECRET}\"}}\n");
	ck_assert_str_eq(((struct kit_options *)c->brokers[0].options)->token, "from env");
	config_free(c);

	ck_assert_ptr_nonnull(mkdtemp(dir));
	setenv("EVENTBUS_TEST_DIR", dir, 1);
	snprintf(file, sizeof(file), "%s/token", dir);
	f = fopen(file, "w");
	fputs("from file\n\n", f);
	fclose(f);
	c = kit_load("broker: {memory: {token: !file \"${EVENTBUS_TEST_DIR}/token\"}}\n");
	ck_assert_str_eq(((struct kit_options *)c->brokers[0].options)->token, "from file\n");
	config_free(c);

	/* Relative: next to the configuration. */
	snprintf(text, sizeof(text), "%s/eventbusd.yaml", dir);
	f = fopen(text, "w");
	fputs("broker: {memory: {token: !file token}}\n", f);
	fclose(f);
	ck_assert_int_eq(config_load(text, kit_kinds, &c, &e), 0);
	ck_assert_str_eq(((struct kit_options *)c->brokers[0].options)->token, "from file\n");
	config_free(c);
	ck_assert_int_eq(unlink(text) + unlink(file) + rmdir(dir), 0);
}
END_TEST

START_TEST(a_secret_is_in_no_message)
{
	/* Everything around the secret is wrong. */
	static const char text[] = "broker:\n"
				   "  memory: {token: hunter2, history: x, tls: {ca: /x}}\n"
				   "  nats: {token: [hunter2]}\n"
				   "log: {level: x}\n";
	struct config_errors e, changes = {0};
	struct config *a, *b;

	ck_assert_int_eq(kit_load_n(text, strlen(text), &a, &e), EB_EINVAL);
	for (size_t i = 0; i < e.n; i++) {
		ck_assert_ptr_null(strstr(e.v[i], "hunter2"));
	}
	config_errors_free(&e);
	a = kit_load("broker: {memory: {token: hunter2}}\n");
	b = kit_load("broker: {memory: {token: hunter3}}\n");
	ck_assert_int_eq(config_diff(a, b, &changes, &e), EB_ENOTSUP);
	ck_assert_uint_eq(e.n, 1);
	ck_assert_str_eq(e.v[0], "broker.memory.token: changed (line 1); needs a restart");
	config_errors_free(&e);
	config_free(a);
	config_free(b);
}
END_TEST

START_TEST(problems_are_counted_beyond_a_hundred)
{
	struct config_errors e;
	struct config *c;
	char *text = malloc(200 * 16);
	size_t n = 0;

	for (int i = 0; i < 200; i++) {
		n += (size_t)sprintf(text + n, "zzzzz%03d: 1\n", i);
	}
	ck_assert_int_eq(kit_load_n(text, n, &c, &e), EB_EINVAL);
	ck_assert_uint_eq(e.n, 101);
	ck_assert_str_eq(e.v[100], "f.yaml: and 100 more problems");
	config_errors_free(&e);
	free(text);
}
END_TEST

/* n copies of a piece between head and tail. */
static char *repeat(const char *head, const char *piece, size_t n, const char *tail, size_t *len)
{
	size_t h = strlen(head), p = strlen(piece), t = strlen(tail);
	char *s = malloc(h + n * p + t + 1);

	memcpy(s, head, h);
	for (size_t i = 0; i < n; i++) {
		memcpy(s + h + i * p, piece, p);
	}
	memcpy(s + h + n * p, tail, t + 1);
	*len = h + n * p + t;
	return s;
}

START_TEST(what_is_too_large_is_refused)
{
	static const struct {
		const char *head, *piece;
		size_t n;
		const char *tail, *want;
	} large[] = {
		{"# ", "x", 1024 * 1024, "", "f.yaml: larger than 1 MiB"},
		{"topics: [", "{},", 5000, "]", "f.yaml:1:3082: more than 1024 items in one list"},
		{"log: {", "a: 1,", 300, "}", "f.yaml:1:1287: more than 256 keys in one map"},
		{"", "[", 100000, "", "f.yaml:1:17: nested deeper than 16 levels"},
	};

	for (size_t i = 0; i < sizeof(large) / sizeof(large[0]); i++) {
		struct config_errors e;
		struct config *c;
		size_t n;
		char *s = repeat(large[i].head, large[i].piece, large[i].n, large[i].tail, &n);

		ck_assert_int_eq(kit_load_n(s, n, &c, &e), EB_EINVAL);
		ck_assert_uint_eq(e.n, 1);
		ck_assert_str_eq(e.v[0], large[i].want);
		config_errors_free(&e);
		free(s);
	}
}
END_TEST

START_TEST(the_largest_file_loads)
{
	struct config_errors e;
	struct config *c;
	size_t n;
	char *s = repeat("# ", "x", 1024 * 1024 - 2, "", &n);

	ck_assert_int_eq(kit_load_n(s, n, &c, &e), 0);
	config_free(c);
	free(s);
}
END_TEST

START_TEST(a_file_that_cannot_be_read_is_an_error)
{
	struct config_errors e = {0};
	struct config *c;

	ck_assert_int_eq(config_load("/nowhere/x.yaml", kit_kinds, &c, &e), EB_EIO);
	ck_assert_ptr_null(c);
	ck_assert_str_eq(e.v[0], "/nowhere/x.yaml: cannot be read: No such file or directory");
	config_errors_free(&e);
	ck_assert_int_eq(config_load("/tmp", kit_kinds, &c, &e), EB_EIO);
	ck_assert_str_eq(e.v[0], "/tmp: cannot be read: Is a directory");
	config_errors_free(&e);
}
END_TEST

static void expect_path(const struct config *c, const char *want)
{
	char *path = config_socket_path(c);

	ck_assert_str_eq(path, want);
	free(path);
}

START_TEST(the_socket_has_a_place_without_a_file)
{
	struct config *c = kit_load("");

	setenv("RUNTIME_DIRECTORY", "/run/one:/run/two", 1);
	setenv("XDG_RUNTIME_DIR", "/run/user/7", 1);
	expect_path(c, "/run/one/eventbusd.sock");
	unsetenv("RUNTIME_DIRECTORY");
	expect_path(c, "/run/user/7/eventbusd.sock");
	unsetenv("XDG_RUNTIME_DIR");
	expect_path(c, "/run/eventbusd/eventbusd.sock");
	config_free(c);
	c = kit_load("socket: {path: /a/b}\n");
	setenv("RUNTIME_DIRECTORY", "/run/one", 1);
	expect_path(c, "/a/b");
	config_free(c);
}
END_TEST

int main(void)
{
	const TTest *tests[] = {no_file_gives_the_built_in_values,
				an_empty_file_is_the_same,
				values_reach_their_structs,
				every_mistake_is_told_at_its_place,
				each_mistake_has_its_own_text,
				secrets_come_from_the_environment_and_from_files,
				a_secret_is_in_no_message,
				problems_are_counted_beyond_a_hundred,
				what_is_too_large_is_refused,
				the_largest_file_loads,
				a_file_that_cannot_be_read_is_an_error,
				the_socket_has_a_place_without_a_file};

	return suite_run("config", tests, sizeof(tests) / sizeof(tests[0]));
}
