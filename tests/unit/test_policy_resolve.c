/* SPDX-License-Identifier: Apache-2.0 */
/* Which rule says what for a topic and group, and the combinations that are refused. */
#include "tests/unit/config_kit.h"
#include "tests/unit/suite.h"

#include <stdio.h>

#include "base/topic.h"
#include "config/policy.h"

static struct policy resolve(const struct config *c, const char *topic, const char *group)
{
	struct policy p;

	policy_resolve(c, slice_str(topic), group, &p);
	return p;
}

START_TEST(built_in_values_say_so)
{
	struct config *c = kit_load("");
	struct policy p = resolve(c, "a.b", "g");

	ck_assert_int_eq(p.order, POLICY_ORDER_NONE);
	ck_assert_int_eq(p.lease_ms, 30000);
	ck_assert_uint_eq(p.max_retries, 3);
	ck_assert_int_eq(p.backoff.kind, BACKOFF_EXPONENTIAL);
	ck_assert_int_eq(p.backoff.initial_ms, 1000);
	ck_assert_int_eq(p.backoff.max_ms, 30000);
	ck_assert(p.backoff.multiplier == 2);
	ck_assert(p.backoff.jitter == 0.2);
	ck_assert_int_eq(p.max_age_ms, 0);
	ck_assert_uint_eq(p.retry_on.n + p.never_on.n, 0);
	ck_assert_uint_eq(p.window_events, 10000);
	ck_assert_int_eq(p.window_bytes, 16 << 20);
	ck_assert(!p.dlq_off);
	ck_assert_str_eq(p.dlq_topic, "dlq.{group}");
	ck_assert_int_eq(p.on_exhausted, EXHAUSTED_KEEP);
	ck_assert_int_eq(p.unmatched, UNMATCHED_KEEP);
	ck_assert_int_eq(p.interop, POLICY_INTEROP_NONE);
	for (int f = 0; f < POLICY_FIELDS; f++) {
		ck_assert_uint_eq(p.line[f], 0);
		ck_assert_str_eq(p.rule[f], "built in");
		ck_assert_ptr_nonnull(policy_field_name((enum policy_field)f));
	}
	ck_assert_str_eq(policy_field_name(POLICY_MAX_RETRIES), "retry.max_retries");
	config_free(c);
}
END_TEST

/* Every field once in a rule, to catch one that is taken from the wrong place. */
START_TEST(every_field_is_taken_from_the_rule)
{
	struct config *c = kit_load("topics:\n"
				    "  - match: \"a.*\"\n"
				    "    group: g\n"
				    "    order: topic\n"
				    "    lease: 7s\n"
				    "    retry:\n"
				    "      max_retries: 8\n"
				    "      backoff: exponential\n"
				    "      initial_delay: 9s\n"
				    "      max_delay: 10s\n"
				    "      multiplier: 11\n"
				    "      jitter: 0.5\n"
				    "      max_age: 12s\n"
				    "      retry_on: [x, y]\n"
				    "      never_on: z\n"
				    "      window_events: 13\n"
				    "      window_bytes: 14KiB\n"
				    "    dlq: {topic: \"dead.{topic}\"}\n"
				    "    unmatched: dead_letter\n"
				    "    interop: connectum\n"
				    "    on_exhausted: keep\n");
	struct policy p = resolve(c, "a.b", "g");
	static const uint32_t lines[POLICY_FIELDS] = {4,  5,  7,  8,  9,  10, 11, 12, 13,
						      14, 15, 16, 17, 18, 21, 19, 20};

	ck_assert_int_eq(p.order, POLICY_ORDER_TOPIC);
	ck_assert_int_eq(p.lease_ms, 7000);
	ck_assert_uint_eq(p.max_retries, 8);
	ck_assert_int_eq(p.backoff.initial_ms, 9000);
	ck_assert_int_eq(p.backoff.max_ms, 10000);
	ck_assert(p.backoff.multiplier == 11);
	ck_assert(p.backoff.jitter == 0.5);
	ck_assert_int_eq(p.max_age_ms, 12000);
	ck_assert_uint_eq(p.retry_on.n, 2);
	ck_assert_str_eq(p.never_on.v[0], "z");
	ck_assert_uint_eq(p.window_events, 13);
	ck_assert_int_eq(p.window_bytes, 14336);
	ck_assert_str_eq(p.dlq_topic, "dead.{topic}");
	ck_assert_int_eq(p.unmatched, UNMATCHED_DEAD_LETTER);
	ck_assert_int_eq(p.interop, POLICY_INTEROP_CONNECTUM);
	for (int f = 0; f < POLICY_FIELDS; f++) {
		ck_assert_msg(p.line[f] == lines[f], "%s: line %u",
			      policy_field_name((enum policy_field)f), p.line[f]);
		ck_assert_str_eq(p.rule[f], "topics[0] match=a.* group=g");
	}
	p = resolve(c, "a.b", "other");
	ck_assert_str_eq(p.rule[POLICY_ORDER], "built in");
	p = resolve(c, "a.b.c", "g");
	ck_assert_str_eq(p.rule[POLICY_ORDER], "built in");
	config_free(c);
}
END_TEST

static const char layers[] = "defaults:\n"
			     "  retry: {max_retries: 1, max_delay: 1m}\n"
			     "topics:\n"
			     "  - {match: \">\", retry: {max_retries: 2}}\n"
			     "  - {match: \"a.>\", retry: {max_retries: 3, max_delay: 2m}}\n"
			     "  - {match: \"a.*\", retry: {max_retries: 4}}\n"
			     "  - {match: \"a.*\", group: g, retry: {max_retries: 5}}\n"
			     "  - {match: \"a.b\", retry: {max_retries: 6}}\n"
			     "  - {match: \"*.b\", retry: {max_retries: 7}, lease: 3s}\n"
			     "  - {group: h, retry: {max_retries: 8}}\n"
			     "  - {match: \"dlq.>\", retry: {max_retries: 9}}\n";

START_TEST(the_most_specific_rule_wins_value_by_value)
{
	static const struct {
		const char *topic, *group;
		uint32_t max_retries;
		int64_t max_delay_ms, lease_ms;
	} cases[] = {
		{"x", NULL, 2, 60000, 30000},
		{"x", "g", 2, 60000, 30000},
		{"x", "h", 8, 60000, 30000},
		{"a.x.y", "g", 3, 120000, 30000},
		{"a.x.y", "h", 3, 120000, 30000},
		{"a.x", NULL, 4, 120000, 30000},
		{"a.x", "g", 5, 120000, 30000},
		{"a.b", NULL, 6, 120000, 3000},
		{"a.b", "g", 6, 120000, 3000},
		{"x.b", "g", 7, 60000, 3000},
		{"dlq.g", "g", 9, 60000, 30000},
		{"dlq.g", "h", 9, 60000, 30000},
		/* patterns of flows: a rule applies when it covers all of them */
		{"a.>", "g", 3, 120000, 30000},
		{"a.*", "g", 5, 120000, 30000},
		{">", "g", 2, 60000, 30000},
		{"*.*", NULL, 2, 60000, 30000},
	};
	struct config *c = kit_load(layers);

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct policy p = resolve(c, cases[i].topic, cases[i].group);

		ck_assert_msg(p.max_retries == cases[i].max_retries, "%s %s: %u", cases[i].topic,
			      cases[i].group ? cases[i].group : "-", p.max_retries);
		ck_assert_int_eq(p.backoff.max_ms, cases[i].max_delay_ms);
		ck_assert_int_eq(p.lease_ms, cases[i].lease_ms);
	}
	config_free(c);
}
END_TEST

START_TEST(a_value_tells_its_rule_and_line)
{
	struct config *c = kit_load(layers);
	struct policy p = resolve(c, "a.b", "g");

	ck_assert_str_eq(p.rule[POLICY_MAX_RETRIES], "topics[4] match=a.b");
	ck_assert_uint_eq(p.line[POLICY_MAX_RETRIES], 8);
	ck_assert_str_eq(p.rule[POLICY_MAX_DELAY], "topics[1] match=a.>");
	ck_assert_uint_eq(p.line[POLICY_MAX_DELAY], 5);
	ck_assert_str_eq(p.rule[POLICY_LEASE], "topics[5] match=*.b");
	ck_assert_str_eq(p.rule[POLICY_ORDER], "built in");
	p = resolve(c, "dlq.x", NULL);
	ck_assert_str_eq(p.rule[POLICY_MAX_DELAY], "defaults");
	ck_assert_uint_eq(p.line[POLICY_MAX_DELAY], 2);
	config_free(c);
}
END_TEST

START_TEST(dead_letters_can_be_turned_off_and_on_again)
{
	static const char *const offs[] = {"off", "\"off\"", "false", "False"};

	for (size_t i = 0; i < 4; i++) {
		char text[256];
		struct config *c;
		struct policy p;

		snprintf(text, sizeof(text),
			 "defaults: {dlq: %s, on_exhausted: drop}\n"
			 "topics:\n"
			 "  - {match: a, dlq: {topic: \"dead.{group}\"}}\n"
			 "  - {match: b, dlq: {}}\n",
			 offs[i]);
		c = kit_load(text);
		p = resolve(c, "x", "g");
		ck_assert(p.dlq_off);
		ck_assert_ptr_null(p.dlq_topic);
		ck_assert_int_eq(p.on_exhausted, EXHAUSTED_DROP);
		ck_assert_uint_eq(p.line[POLICY_DLQ_TOPIC], 1);
		p = resolve(c, "a", "g");
		ck_assert(!p.dlq_off);
		ck_assert_str_eq(p.dlq_topic, "dead.{group}");
		p = resolve(c, "b", "g");
		ck_assert(p.dlq_off);
		config_free(c);
	}
	struct config *c = kit_load("topics: [{match: a, dlq: off}]\n");
	ck_assert(resolve(c, "a", NULL).dlq_off);
	ck_assert(!resolve(c, "b", NULL).dlq_off);
	config_free(c);
}
END_TEST

START_TEST(the_dead_letter_topic_is_filled_in)
{
	char out[TOPIC_MAX + 1], longest[TOPIC_MAX + 1];
	struct policy p = {.dlq_topic = "dlq.{group}"};

	ck_assert_int_eq(policy_dlq_topic(&p, slice_str("a.b"), "my.g", out), 0);
	ck_assert_str_eq(out, "dlq.my.g");
	ck_assert_int_eq(policy_dlq_topic(&p, slice_str("a.b"), NULL, out), EB_EINVAL);
	p.dlq_topic = "dlq.{topic}.of.{group}.{topic}";
	ck_assert_int_eq(policy_dlq_topic(&p, slice_str("a.b"), "g", out), 0);
	ck_assert_str_eq(out, "dlq.a.b.of.g.a.b");
	p.dlq_topic = "graveyard";
	ck_assert_int_eq(policy_dlq_topic(&p, slice_str("a.b"), NULL, out), 0);
	ck_assert_str_eq(out, "graveyard");
	/* The longest that fits, and one more. */
	memset(longest, 'x', TOPIC_MAX);
	longest[TOPIC_MAX] = '\0';
	p.dlq_topic = "{topic}";
	ck_assert_int_eq(policy_dlq_topic(&p, slice_str(longest), NULL, out), 0);
	p.dlq_topic = "{topic}x";
	ck_assert_int_eq(policy_dlq_topic(&p, slice_str(longest), NULL, out), EB_EINVAL);
	/* A flow's pattern is no topic. */
	p.dlq_topic = "dlq.{topic}";
	ck_assert_int_eq(policy_dlq_topic(&p, slice_str("a.*"), "g", out), EB_EINVAL);
	p.dlq_topic = NULL;
	ck_assert_int_eq(policy_dlq_topic(&p, slice_str("a"), "g", out), EB_EINVAL);
}
END_TEST

START_TEST(reasons_decide_about_retries)
{
	struct config *c = kit_load("topics:\n"
				    "  - {match: a, retry: {never_on: [\"declined*\", fatal]}}\n"
				    "  - {match: b, retry: {retry_on: [\"timeout*\"], never_on: "
				    "[\"timeout: never\"]}}\n");
	struct policy p = resolve(c, "x", NULL);
	char longest[2000];

	memset(longest, 'x', sizeof(longest));
	ck_assert(policy_reason_retries(&p, slice_str("anything")));
	ck_assert(policy_reason_retries(&p, slice_of(NULL, 0)));
	p = resolve(c, "a", NULL);
	ck_assert(policy_reason_retries(&p, slice_str("timeout")));
	ck_assert(policy_reason_retries(&p, slice_of(NULL, 0)));
	ck_assert(policy_reason_retries(&p, slice_of(longest, sizeof(longest))));
	ck_assert(!policy_reason_retries(&p, slice_str("declined: no money")));
	ck_assert(!policy_reason_retries(&p, slice_str("fatal")));
	ck_assert(policy_reason_retries(&p, slice_str("not fatal")));
	p = resolve(c, "b", NULL);
	ck_assert(policy_reason_retries(&p, slice_str("timeout: later")));
	ck_assert(!policy_reason_retries(&p, slice_str("timeout: never")));
	ck_assert(!policy_reason_retries(&p, slice_str("other")));
	config_free(c);
}
END_TEST

static const struct {
	const char *text, *want;
} refused[] = {
	{"topics: {match: a}\n",
	 "1:9: topics: must be a list of maps, such as [{match: \"orders.>\"}]"},
	{"topics: [a]\n", "1:10: topics[0]: must be a map; its keys: match, group, interop, order, "
			  "lease, retry, dlq, on_exhausted, unmatched"},
	{"topics: [{match: \"a.>.b\"}]\n",
	 "1:18: topics[0].match: byte 3: '>' must be the last segment"},
	{"topics: [{group: \"a*\"}]\n",
	 "1:18: topics[0].group: byte 2: '*' is not allowed (use A-Z a-z 0-9 _ - and dots)"},
	{"topics: [{match: a}, {match: b}, {match: a, lease: 3s}]\n",
	 "1:34: topics[2]: same match and group as topics[0] on line 1, so neither wins; merge "
	 "them"},
	{"topics:\n- {group: g}\n- {match: \">\", group: g}\n",
	 "3:3: topics[1]: same match and group as topics[0] on line 2, so neither wins; merge "
	 "them"},
	{"topics: [{max_retries: 3}]\n",
	 "1:11: topics[0].max_retries: unknown key; did you mean retry.max_retries?"},
	{"defaults: {match: a}\n", "1:12: defaults.match: unknown key; known here: order, lease, "
				   "retry, dlq, on_exhausted, unmatched"},
	{"defaults: {interop: connectum}\n", "1:12: defaults.interop: unknown key; known here: "
					     "order, lease, retry, dlq, on_exhausted, unmatched"},
	{"topics: [{interop: connectum}]\n",
	 "1:20: topics[0].interop: needs a group: it changes the names of one group"},
	{"defaults: {retry: {initial_delay: 1m}}\n",
	 "1:35: defaults.retry.initial_delay: initial_delay 1m is above max_delay 30s; lower the "
	 "one or raise the other"},
	{"topics: [{match: a, retry: {max_delay: 500ms}}]\n",
	 "1:40: topics[0].retry.max_delay: initial_delay 1s is above max_delay 500ms; lower the "
	 "one or raise the other"},
	{"topics: [{match: a, retry: {backoff: fixed, multiplier: 3}}]\n",
	 "1:57: topics[0].retry.multiplier: has no meaning unless backoff is exponential; remove "
	 "it"},
	{"topics: [{match: a, lease: 2h}]\n",
	 "1:28: topics[0].lease: 2h is above limits.max_lease 1h"},
	{"topics: [{match: a, retry: {window_bytes: 1GiB}}]\n",
	 "1:43: topics[0].retry.window_bytes: is above limits.memory"},
	{"topics: [{match: a, dlq: \"dlq.x\"}]\n", "1:26: topics[0].dlq: must be a map, or off"},
	{"topics: [{match: a, dlq: {topic: \"dlq.{grp}\"}}]\n",
	 "1:34: topics[0].dlq.topic: must be a topic, with {group} and {topic} as the only "
	 "placeholders; say \"dlq.{group}\""},
	{"topics: [{match: a, dlq: {topic: \"dlq.*\"}}]\n",
	 "1:34: topics[0].dlq.topic: must be a topic, with {group} and {topic} as the only "
	 "placeholders; say \"dlq.{group}\""},
	{"defaults: {dlq: {topic: \"{topic}\"}}\n",
	 "1:25: defaults.dlq.topic: would send dead letters back to the topic they come from"},
	{"topics: [{match: a.b, dlq: {topic: a.b}}]\n",
	 "1:36: topics[0].dlq.topic: would send dead letters back to the topic they come from"},
	{"topics: [{match: a, dlq: off, unmatched: dead_letter}]\n",
	 "1:42: topics[0].unmatched: unmatched: dead_letter cannot go with dlq: off"},
	{"defaults: {unmatched: dead_letter}\ntopics: [{match: a, dlq: off}]\n",
	 "2:26: topics[0].dlq.topic: unmatched: dead_letter cannot go with dlq: off"},
	{"defaults: {on_exhausted: drop}\n",
	 "1:26: defaults.on_exhausted: acts only with dlq: off, which no rule says"},
};

START_TEST(combinations_that_cannot_work_are_refused)
{
	char want[512];

	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		snprintf(want, sizeof(want), "f.yaml:%s", refused[i].want);
		kit_refuse(refused[i].text, want);
	}
}
END_TEST

START_TEST(a_thousand_rules_are_resolved)
{
	size_t n = 0, cap = 1 << 20;
	char *text = malloc(cap);
	struct config_errors e;
	struct config *c;

	n += (size_t)snprintf(text + n, cap - n, "topics:\n");
	for (int i = 0; i < 1000; i++) {
		n += (size_t)snprintf(text + n, cap - n,
				      "  - {match: \"a.b%d.*\", retry: {max_retries: %d}}\n", i, i);
	}
	ck_assert_int_eq(kit_load_n(text, n, &c, &e), 0);
	ck_assert_uint_eq(resolve(c, "a.b777.x", NULL).max_retries, 777);
	config_free(c);
	free(text);
}
END_TEST

int main(void)
{
	const TTest *tests[] = {built_in_values_say_so,
				every_field_is_taken_from_the_rule,
				the_most_specific_rule_wins_value_by_value,
				a_value_tells_its_rule_and_line,
				dead_letters_can_be_turned_off_and_on_again,
				the_dead_letter_topic_is_filled_in,
				reasons_decide_about_retries,
				combinations_that_cannot_work_are_refused,
				a_thousand_rules_are_resolved};

	return suite_run("policy_resolve", tests, sizeof(tests) / sizeof(tests[0]));
}
