/* SPDX-License-Identifier: Apache-2.0 */
#include "base/metadata.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/suite.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static struct slice s(const char *text)
{
	return slice_str(text);
}

START_TEST(keys_with_a_meaning_are_reserved_in_any_case)
{
	static const char *const keys[] = {
		"nats-",
		"nats-msg-id",
		"nats-expected-stream",
		"nats-rollup",
		"cc",
		"bcc",
		"x-event-id",
		"x-published-at",
		"x-connectum-",
		"x-connectum-anything",
		"x-death",
		"x-delivery-count",
		"x-first-death-queue",
		"dlq.",
		"dlq.error",
		"eventbus-key",
		"eventbus-new",
	};

	for (size_t i = 0; i < COUNT(keys); i++) {
		char up[64] = {0}, mixed[64] = {0};

		for (size_t k = 0; keys[i][k]; k++) {
			up[k] = (char)toupper(keys[i][k]);
			mixed[k] = k % 2 ? up[k] : keys[i][k];
		}
		ck_assert_msg(metadata_key_reserved(s(keys[i])), "%s", keys[i]);
		ck_assert_msg(metadata_key_reserved(s(up)), "%s", up);
		ck_assert_msg(metadata_key_reserved(s(mixed)), "%s", mixed);
	}
}
END_TEST

START_TEST(keys_that_only_look_alike_are_the_users)
{
	static const char *const keys[] = {
		"",
		"n",
		"nats",
		"natsx",
		"c",
		"ccc",
		"cc-x",
		"bc",
		"bccx",
		"x-event-ids",
		"x-event",
		"x-published-att",
		"x-connectum",
		"x-deaths",
		"x-delivery",
		"x-first-death",
		"dlq",
		"dlqx",
		"dlq-error",
		"eventbus",
		"eventbusx",
		"x-tenant",
		"x-request-id",
		"xnats-msg-id",
		"traceparent",
	};

	for (size_t i = 0; i < COUNT(keys); i++) {
		ck_assert_msg(!metadata_key_reserved(s(keys[i])), "%s", keys[i]);
	}
	/* a byte that becomes a letter only by setting bit 5 */
	ck_assert(!metadata_key_reserved(slice_of("\x0e"
						  "ats-",
						  5)));
}
END_TEST

static struct event_fields good(void)
{
	return (struct event_fields){.id = s("0001"),
				     .topic = s("orders.created"),
				     .payload = s("x"),
				     .key = s("customer 7"),
				     .content_type = s("text/plain; charset=utf-8"),
				     .message_type = s("shop.v1.Order")};
}

static void check(const struct event_fields *f, enum reason reason, const char *text)
{
	struct event *e = event_build(f, NULL);
	struct answer why = {.reason = REASON_NONE};
	const bool ok = event_check(e, &why);

	if (text) {
		ck_assert(!ok);
		ck_assert_int_eq(why.outcome, OUTCOME_PERMANENT);
		ck_assert_int_eq(why.reason, reason);
		ck_assert_msg(strstr(why.text, text) != NULL, "'%s' does not say '%s'", why.text,
			      text);
	} else {
		ck_assert_msg(ok, "refused: %s", why.text);
	}
	event_unref(e);
}

START_TEST(a_legal_event_passes)
{
	struct event_fields f = good();
	const struct metadata_pair m[] = {{s("x-tenant"), s("bl\xc3\xbc")},
					  {s("A.b_c-9"), s("1 2")}};

	check(&f, REASON_NONE, NULL);
	f.metadata = m;
	f.metadata_count = 2;
	check(&f, REASON_NONE, NULL);
	f = (struct event_fields){.topic = s("t")};
	check(&f, REASON_NONE, NULL);
}
END_TEST

START_TEST(topics_are_checked)
{
	struct event_fields f = good();

	f.topic = s("a b");
	check(&f, REASON_INVALID, "topic: byte 2");
	f.topic = s("a.*");
	check(&f, REASON_INVALID, "topic: byte 3");
	f.topic = slice_of(NULL, 0);
	check(&f, REASON_NOT_SUPPORTED, "by message type");
	f.message_type = slice_of(NULL, 0);
	check(&f, REASON_INVALID, "topic: empty");
}
END_TEST

START_TEST(texts_are_checked)
{
	char big[EVENT_KEY_MAX + 1];
	struct event_fields f;

	memset(big, 'x', sizeof(big));
	f = good();
	f.id = s(" a");
	check(&f, REASON_INVALID, "id: begins or ends with a blank");
	f.id = s("a\nb");
	check(&f, REASON_INVALID, "id: has a control character");
	f.id = s("a\xff");
	check(&f, REASON_INVALID, "id: is not UTF-8");
	f.id = slice_of(big, EVENT_ID_MAX);
	check(&f, REASON_NONE, NULL);
	f.id = slice_of(big, EVENT_ID_MAX + 1);
	check(&f, REASON_INVALID, "id: 201 bytes long, at most 200");
	f = good();
	f.key = s("a\t");
	check(&f, REASON_INVALID, "key: begins or ends with a blank");
	f.key = slice_of(big, EVENT_KEY_MAX);
	check(&f, REASON_NONE, NULL);
	f.key = slice_of(big, EVENT_KEY_MAX + 1);
	check(&f, REASON_INVALID, "key: 1025 bytes long");
	f = good();
	f.content_type = s("a\rb");
	check(&f, REASON_INVALID, "content_type:");
	f = good();
	f.message_type = slice_of(big, EVENT_TYPE_MAX + 1);
	check(&f, REASON_INVALID, "message_type: 257 bytes long");
}
END_TEST

static void check_pair(struct slice key, struct slice value, const char *text)
{
	const struct metadata_pair m[] = {{s("fine"), s("too")}, {key, value}};
	struct event_fields f = good();

	f.metadata = m;
	f.metadata_count = 2;
	check(&f, REASON_INVALID, text);
}

START_TEST(metadata_pairs_are_checked)
{
	char big[METADATA_KEY_MAX + 1];

	memset(big, 'k', sizeof(big));
	check_pair(slice_of(big, METADATA_KEY_MAX), s("v"), NULL);
	check_pair(slice_of(big, METADATA_KEY_MAX + 1), s("v"), "longer than 128");
	check_pair(s(""), s("v"), "a key is empty");
	check_pair(s("a b"), s("v"), "characters other than");
	check_pair(s("a\n"), s("v"), "characters other than");
	check_pair(s("a:b"), s("v"), "characters other than");
	check_pair(s("Nats-Rollup"), s("all"), "'Nats-Rollup': reserved");
	check_pair(s("CC"), s("q"), "'CC': reserved");
	check_pair(s("k"), s(""), "'k': the value is empty");
	check_pair(s("k"), s("a\r\nb"), "'k': the value has a control character");
	check_pair(s("k"), s("\xc2\x85 nel"), "'k': the value has a control character");
	check_pair(s("k"), s("\xc3("), "'k': the value is not UTF-8");
	check_pair(s("k"), slice_of("a\0b", 3), "'k': the value is not UTF-8 without NUL");
	check_pair(s("k"), s(" v"), "'k': the value begins or ends with a blank");
	check_pair(s("k"), s("v "), "'k': the value begins or ends with a blank");
	check_pair(s("k"), s("\tv"), "'k': the value begins or ends with a blank");
}
END_TEST

START_TEST(metadata_is_bounded)
{
	static char names[METADATA_MAX_PAIRS + 1][4];
	struct metadata_pair m[METADATA_MAX_PAIRS + 1];
	struct event_fields f = good();
	char *big = malloc(METADATA_MAX_BYTES + 1);

	for (int i = 0; i <= METADATA_MAX_PAIRS; i++) {
		names[i][0] = 'k';
		names[i][1] = (char)('0' + i / 10);
		names[i][2] = (char)('0' + i % 10);
		m[i] = (struct metadata_pair){s(names[i]), s("v")};
	}
	f.metadata = m;
	f.metadata_count = METADATA_MAX_PAIRS;
	check(&f, REASON_NONE, NULL);
	f.metadata_count++;
	check(&f, REASON_TOO_LARGE, "more than 64 pairs");
	memset(big, 'v', METADATA_MAX_BYTES + 1);
	m[0] = (struct metadata_pair){s("k"), slice_of(big, METADATA_MAX_BYTES - 1)};
	f.metadata_count = 1;
	check(&f, REASON_NONE, NULL);
	m[0].value.n++;
	check(&f, REASON_TOO_LARGE, "more than 16384 bytes");
	free(big);
}
END_TEST

/* Repairs into a block of exactly the promised size, so that the sanitizers see one byte more. */
static void repair(struct slice key, struct slice value, const char *want_key,
		   const char *want_value, bool want_repaired)
{
	uint8_t *out = malloc(3 * (key.n + value.n) + (key.n + value.n == 0));
	struct metadata_pair pair;
	bool repaired = false;
	const bool kept = metadata_repair(key, value, out, &pair, &repaired);

	ck_assert_int_eq(kept, want_key != NULL);
	ck_assert_int_eq(repaired, want_repaired);
	if (kept) {
		ck_assert_msg(slice_eq_str(pair.key, want_key), "%.*s", SLICE_ARG(pair.key));
		ck_assert_msg(slice_eq_str(pair.value, want_value), "%.*s", SLICE_ARG(pair.value));
	}
	free(out);
}

START_TEST(foreign_pairs_are_repaired)
{
	repair(s("k"), s("v"), "k", "v", false);
	repair(s("A.b_c-9"), s("100% caf\xc3\xa9"), "A.b_c-9", "100% caf\xc3\xa9", false);
	repair(s("k"), s("  v \t"), "k", "v", true);
	repair(s(" k\t"), s("v"), "k", "v", true);
	repair(s("a b"), s("v"), "a%20b", "v", true);
	repair(s("a%b"), s("v"), "a%25b", "v", true);
	repair(s("\xc3\xa9"), s("v"), "%C3%A9", "v", true);
	repair(s("k"), s("a\r\nb"), "k", "a%0D%0Ab", true);
	repair(s("k"), s("\xff\xfe"), "k", "%FF%FE", true);
	repair(s("k"), s("x\xe2\x82"), "k", "x%E2%82", true);
	repair(s("k"), s("\xc2\x9bm"), "k", "%C2%9Bm", true);
	repair(s("k"), slice_of("a\0b", 3), "k", "a%00b", true);
	repair(s("k"), s("\n"), "k", "%0A", true);
}
END_TEST

START_TEST(pairs_of_which_nothing_is_left_go)
{
	repair(s(""), s("v"), NULL, NULL, true);
	repair(s("k"), s(""), NULL, NULL, true);
	repair(s("k"), s(" \t "), NULL, NULL, true);
	repair(s("  "), s("v"), NULL, NULL, true);
	repair(slice_of(NULL, 0), slice_of(NULL, 0), NULL, NULL, true);
}
END_TEST

START_TEST(long_keys_are_cut_but_never_in_an_escape)
{
	char key[300], want[METADATA_KEY_MAX + 1] = {0};

	memset(key, 'k', sizeof(key));
	memset(want, 'k', METADATA_KEY_MAX);
	repair(slice_of(key, sizeof(key)), s("v"), want, "v", true);
	repair(slice_of(key, METADATA_KEY_MAX), s("v"), want, "v", false);
	key[126] = ' ';
	want[126] = '\0';
	repair(slice_of(key, sizeof(key)), s("v"), want, "v", true);
}
END_TEST

/* What repair makes of any bytes passes the check, but for '%' in keys and reserved names. */
START_TEST(repaired_values_are_legal)
{
	uint32_t seed = 3;

	for (int round = 0; round < 20000; round++) {
		uint8_t value[24], out[3 * 25];
		struct metadata_pair pair;
		bool repaired = false;

		for (size_t i = 0; i < sizeof(value); i++) {
			seed = seed * 1664525 + 1013904223;
			value[i] = (uint8_t)(seed >> 24);
		}
		if (metadata_repair(s("k"), slice_of(value, seed % 25), out, &pair, &repaired)) {
			ck_assert(utf8_printable(pair.value));
			ck_assert_int_ne(pair.value.p[0], ' ');
			ck_assert_int_ne(pair.value.p[pair.value.n - 1], ' ');
		}
	}
}
END_TEST

int main(void)
{
	const TTest *tests[] = {
		keys_with_a_meaning_are_reserved_in_any_case,
		keys_that_only_look_alike_are_the_users,
		a_legal_event_passes,
		topics_are_checked,
		texts_are_checked,
		metadata_pairs_are_checked,
		metadata_is_bounded,
		foreign_pairs_are_repaired,
		pairs_of_which_nothing_is_left_go,
		long_keys_are_cut_but_never_in_an_escape,
		repaired_values_are_legal,
	};

	return suite_run("metadata", tests, COUNT(tests));
}
