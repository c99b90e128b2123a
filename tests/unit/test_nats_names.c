/* SPDX-License-Identifier: Apache-2.0 */
/* Names, subjects and confirmations of the NATS adapter. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapters/nats/lease.h"
#include "adapters/nats/names.h"
#include "adapters/nats/stored.h"
#include "base/err.h"
#include "tests/unit/suite.h"

START_TEST(connectum_durables_are_exact)
{
	char name[NATS_NAME_MAX];

	nats_durable_name("my.group", "orders.created", INTEROP_CONNECTUM, name);
	ck_assert_str_eq(name, "my_group--orders_created--5cd7b545");
	nats_durable_name("my.group", "orders.*", INTEROP_CONNECTUM, name);
	ck_assert_str_eq(name, "my_group--orders__--c113afd9");
	nats_durable_name("inventory-service", "orders.v1.OrderCreated", INTEROP_CONNECTUM, name);
	ck_assert_str_eq(name, "inventory-service--orders_v1_OrderCreated--2a906d97");
}
END_TEST

START_TEST(our_durables_are_their_own_and_short)
{
	char name[NATS_NAME_MAX], other[NATS_NAME_MAX], pattern[201], hash[NATS_FLOW_HASH + 1];

	nats_durable_name("my.group", "orders.*", INTEROP_NONE, name);
	ck_assert_str_eq(name, "eb-my_group--orders__--c113afd9");
	memset(pattern, 'a', 200);
	pattern[200] = '\0';
	nats_durable_name("g", pattern, INTEROP_NONE, name);
	pattern[199] = 'b';
	nats_durable_name("g", pattern, INTEROP_NONE, other);
	ck_assert_uint_lt(strlen(name), 200);
	ck_assert_str_ne(name, other);
	nats_flow_hash("my.group", "orders.created", hash);
	ck_assert_int_eq(strncmp(hash, "5cd7b545", 8), 0);
	ck_assert_uint_eq(strlen(hash), 16);
}
END_TEST

static bool covers(const char *a, const char *b)
{
	return nats_subject_covers(slice_str(a), slice_str(b));
}

START_TEST(subjects_cover_token_by_token)
{
	ck_assert(covers("events.>", "events.a"));
	ck_assert(covers("events.>", "events.a.b"));
	ck_assert(covers("events.>", "events.>"));
	ck_assert(covers("events.*", "events.*"));
	ck_assert(covers("events.a.*", "events.a.b"));
	ck_assert(covers("a", "a"));
	ck_assert(!covers("events.>", "events"));
	ck_assert(!covers("events.*", "events.>"));
	ck_assert(!covers("events.*", "events.a.b"));
	ck_assert(!covers("events.a", "events.*"));
	ck_assert(!covers("events.a.b", "events.a"));
	ck_assert(!covers("other.>", "events.a"));
}
END_TEST

static bool parse(const char *s, struct nats_ack_subject *out)
{
	return nats_ack_subject_parse(slice_str(s), out);
}

START_TEST(ack_subjects_of_both_forms)
{
	struct nats_ack_subject a;

	ck_assert(parse("$JS.ACK.events.eb-g.2.31.17.1700000000123456789.5", &a));
	ck_assert(slice_eq_str(a.stream, "events") && slice_eq_str(a.consumer, "eb-g"));
	ck_assert(slice_eq_str(a.prefix, "$JS.ACK.events.eb-g."));
	ck_assert_uint_eq(a.delivered, 2);
	ck_assert_uint_eq(a.stream_seq, 31);
	ck_assert_uint_eq(a.consumer_seq, 17);
	ck_assert_int_eq(a.time_ns, 1700000000123456789);
	ck_assert_uint_eq(a.pending, 5);
	ck_assert(parse("$JS.ACK.hub.AbC.events.eb-g.1.2.3.4.5", &a));
	ck_assert(slice_eq_str(a.consumer, "eb-g"));
	ck_assert(slice_eq_str(a.prefix, "$JS.ACK.hub.AbC.events.eb-g."));
	ck_assert(parse("$JS.ACK.hub.AbC.events.eb-g.1.2.3.4.5.random", &a));
	ck_assert_uint_eq(a.pending, 5);
}
END_TEST

START_TEST(anything_else_is_no_ack_subject)
{
	static const char *const bad[] = {
		"",
		".",
		"$JS.ACK",
		"$JS.ACK.s.c.1.2.3.4",
		"$JS.ACK.s.c.1.2.3.4.x",
		"$JS.ACK.s.c.1.0.3.4.5",
		"$JS.ACK.s.c.-1.2.3.4.5",
		"$JS.ACK.s.c.1.99999999999999999999.3.4.5",
		"$JS.ACK.s.c.1.2.3..5",
		"$JS.ACK.d.s.c.1.2.3.4.5",
		"_INBOX.a.b.c.d.e.f.g.h",
	};
	struct nats_ack_subject a;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		ck_assert_msg(!parse(bad[i], &a), "%s", bad[i]);
	}
}
END_TEST

static int ack(const char *json, struct nats_pub_ack *out)
{
	return nats_pub_ack_parse(slice_str(json), out);
}

START_TEST(confirmations_as_servers_write_them)
{
	struct nats_pub_ack a;

	ck_assert_int_eq(ack("{\"stream\":\"events\", \"seq\":17}", &a), 0);
	ck_assert(a.ok && !a.duplicate);
	ck_assert_uint_eq(a.seq, 17);
	ck_assert_int_eq(ack("{\"stream\":\"events\", \"seq\":17,\"duplicate\": true}", &a), 0);
	ck_assert(a.ok && a.duplicate);
	ck_assert_int_eq(ack("{\"stream\":\"e\",\"domain\":\"hub\",\"seq\":18}", &a), 0);
	ck_assert(a.ok);
	ck_assert_uint_eq(a.seq, 18);
	ck_assert_int_eq(ack(" { \"seq\" : 3, \"duplicate\": true }", &a), 0);
	ck_assert(a.ok && a.duplicate);
	ck_assert_int_eq(ack("{\"error\":{\"code\":503,\"err_code\":10023,\"description\":"
			     "\"insufficient resources\"},\"stream\":\"e\",\"seq\":0}",
			     &a),
			 0);
	ck_assert(!a.ok);
	ck_assert_int_eq(a.code, 503);
	ck_assert_int_eq(a.err_code, 10023);
	ck_assert_str_eq(a.text, "insufficient resources");
	ck_assert_int_eq(ack("{\"error\":{}}", &a), 0);
	ck_assert(!a.ok);
}
END_TEST

START_TEST(what_is_no_confirmation_is_said_to_be_none)
{
	static const char *const bad[] = {
		"",
		"{",
		"{}",
		"[]",
		"x",
		"{\"stream\":\"e\", \"seq\":}",
		"{\"seq\":-1}",
		"{\"seq\":\"1\"}",
		"{\"stream\":\"e",
		"{\"stream\":\"e\", \"seq\":1",
		"{\"stream\":\"e\", \"seq\":99999999999999999999999}",
	};
	struct nats_pub_ack a;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		ck_assert_msg(ack(bad[i], &a) == EB_EPROTO, "%s", bad[i]);
	}
}
END_TEST

START_TEST(message_ids_keep_topics_apart)
{
	char a[64], b[64];

	ck_assert_uint_eq(nats_message_id(slice_str("a.b"), slice_str("c:d"), a), 7);
	ck_assert_str_eq(a, "a.b:c:d");
	nats_message_id(slice_str("a"), slice_str("b"), a);
	nats_message_id(slice_str("a.b"), slice_str(""), b);
	ck_assert_str_ne(a, b);
}
END_TEST

START_TEST(numbers_are_written_whole)
{
	static const uint64_t values[] = {0, 9, 10, 12345, UINT64_MAX};
	char text[24], expect[24];

	for (size_t i = 0; i < 5; i++) {
		text[nats_put_number(text, values[i])] = '\0';
		snprintf(expect, sizeof(expect), "%llu", (unsigned long long)values[i]);
		ck_assert_str_eq(text, expect);
	}
}
END_TEST

/* {"seq":seq,"data":base64(value)} */
static json_t *message(json_int_t seq, const char *base64)
{
	return json_pack("{s:I, s:s}", "seq", seq, "data", base64);
}

START_TEST(a_lease_is_read_as_written)
{
	struct lease l = {.epoch = 7, .floor = 12, .floor_known = true, .lease_ms = 10000};
	struct lease back = {.epoch = 3};
	char *text;
	json_t *m;

	strcpy(l.holder, "host-1-a");
	strcpy(l.consumer, "eb-g-7");
	text = lease_write(&l);
	ck_assert_str_eq(text, "{\"holder\":\"host-1-a\",\"epoch\":7,\"consumer\":\"eb-g-7\","
			       "\"lease_ms\":10000,\"floor\":12}");
	free(text);
	m = message(5, "eyJob2xkZXIiOiJob3N0LTEtYSIsImVwb2NoIjo3LCJjb25zdW1lciI6ImViLWctNyIsImxlY"
		       "XNlX21zIjoxMDAwMCwiZmxvb3IiOjEyfQ==");
	lease_read(&back, m);
	json_decref(m);
	ck_assert_uint_eq(back.revision, 5);
	ck_assert_uint_eq(back.epoch, 7);
	ck_assert_str_eq(back.holder, "host-1-a");
	ck_assert_str_eq(back.consumer, "eb-g-7");
	ck_assert(back.floor_known && back.floor == 12);
}
END_TEST

START_TEST(a_broken_lease_belongs_to_nobody)
{
	static const char *const data[] = {"", "e30=", "!!!!", "bm90IGpzb24=", "W10=", "abc", NULL};

	for (size_t i = 0; i < sizeof(data) / sizeof(data[0]); i++) {
		struct lease l = {.epoch = 4};
		json_t *m = data[i] ? message(9, data[i]) : json_object();

		strcpy(l.holder, "x");
		lease_read(&l, m);
		json_decref(m);
		ck_assert_str_eq(l.holder, "");
		ck_assert(!l.floor_known);
		ck_assert_uint_eq(l.epoch, 4);
	}
}
END_TEST

START_TEST(a_stored_value_is_bounded)
{
	char big[1025];
	json_t *m;

	memset(big, 'A', 1024);
	big[1024] = '\0';
	m = message(1, big);
	ck_assert_ptr_null(stored_value(m));
	json_decref(m);
	ck_assert_ptr_null(stored_value(NULL));
	ck_assert_uint_eq(stored_number(NULL, "x"), 0);
}
END_TEST

int main(void)
{
	const TTest *tests[] = {
		connectum_durables_are_exact,
		our_durables_are_their_own_and_short,
		subjects_cover_token_by_token,
		ack_subjects_of_both_forms,
		anything_else_is_no_ack_subject,
		confirmations_as_servers_write_them,
		what_is_no_confirmation_is_said_to_be_none,
		message_ids_keep_topics_apart,
		numbers_are_written_whole,
		a_lease_is_read_as_written,
		a_broken_lease_belongs_to_nobody,
		a_stored_value_is_bounded,
	};

	return suite_run("nats_names", tests, sizeof(tests) / sizeof(tests[0]));
}
