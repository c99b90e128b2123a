/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/clock.h"
#include "daemon/pipeline/deadletter.h"
#include "suite.h"

static struct event *original(const struct metadata_pair *metadata, uint32_t n)
{
	return event_build(&(struct event_fields){.id = slice_str("o-1"),
						  .topic = slice_str("orders.new"),
						  .payload = slice_str("hello"),
						  .key = slice_str("k"),
						  .content_type = slice_str("text/plain"),
						  .message_type = slice_str("a.B"),
						  .published_at_ms = 5,
						  .metadata = metadata,
						  .metadata_count = n},
			   NULL);
}

static struct dead_letter_spec spec(const struct event *e)
{
	return (struct dead_letter_spec){
		.event = e,
		.topic = "dlq.g",
		.group = "g",
		.why = "rejected",
		.error = "bad input",
		.position = "memory:1",
		.failures = {2, 1000, 2000},
		.now_ms = 3000,
	};
}

static void ck_meta(const struct event *e, const char *key, const char *value)
{
	struct slice v = {0};

	ck_assert_msg(event_metadata_get(e, key, &v), "no %s", key);
	ck_assert_msg(slice_eq_str(v, value), "%s is %.*s", key, SLICE_ARG(v));
}

START_TEST(it_keeps_the_event_and_says_what_happened)
{
	const struct metadata_pair m[] = {{slice_str("x-tenant"), slice_str("7")},
					  {slice_str("dlq.group"), slice_str("older")},
					  {slice_str("trace"), slice_str("abc")}};
	struct event *e = original(m, 3), *d;
	const struct dead_letter_spec s = spec(e);

	d = deadletter_build(&s);
	ck_assert(slice_eq_str(d->topic, "dlq.g"));
	ck_assert(slice_eq_str(d->payload, "hello"));
	ck_assert(slice_eq_str(d->key, "k"));
	ck_assert(slice_eq_str(d->content_type, "text/plain"));
	ck_assert(slice_eq_str(d->message_type, "a.B"));
	ck_assert_int_eq(d->published_at_ms, 3000);
	ck_assert_uint_eq(d->id.n, 36);
	ck_meta(d, "x-tenant", "7");
	ck_meta(d, "trace", "abc");
	ck_meta(d, "dlq.group", "g");
	ck_meta(d, "dlq.original-topic", "orders.new");
	ck_meta(d, "dlq.original-id", "o-1");
	ck_meta(d, "dlq.error", "bad input");
	ck_meta(d, "dlq.reason", "rejected");
	ck_meta(d, "dlq.attempt", "2");
	ck_meta(d, "dlq.first-failed-at", "1970-01-01T00:00:01.000Z");
	ck_meta(d, "dlq.last-failed-at", "1970-01-01T00:00:02.000Z");
	ck_assert_uint_eq(d->metadata_count, 10); /* the older one is replaced */
	event_unref(d);
	event_unref(e);
}
END_TEST

START_TEST(the_same_event_gives_the_same_id_and_another_does_not)
{
	struct event *e = original(NULL, 0), *a, *b;
	struct dead_letter_spec s = spec(e);

	a = deadletter_build(&s);
	s.now_ms = 9999;
	s.failures.count = 7;
	s.truncate = true;
	b = deadletter_build(&s);
	ck_assert(slice_eq(a->id, b->id));
	event_unref(b);
	s.position = "memory:2";
	b = deadletter_build(&s);
	ck_assert(!slice_eq(a->id, b->id));
	event_unref(b);
	s = spec(e);
	s.group = "h";
	b = deadletter_build(&s);
	ck_assert(!slice_eq(a->id, b->id));
	event_unref(b);
	s = spec(e);
	s.position = ""; /* a broker without positions: the event's own id */
	b = deadletter_build(&s);
	ck_assert(!slice_eq(a->id, b->id));
	event_unref(b);
	event_unref(a);
	event_unref(e);
}
END_TEST

START_TEST(what_does_not_fit_loses_its_metadata_first)
{
	static char big[4000];
	struct metadata_pair m = {slice_str("big"), {0}};
	struct event *e, *d;
	struct dead_letter_spec s;
	struct slice v;

	memset(big, 'x', sizeof(big));
	m.value = slice_of(big, sizeof(big));
	e = original(&m, 1);
	s = spec(e);
	s.max_bytes = 4096;
	d = deadletter_build(&s);
	ck_assert(!event_metadata_get(d, "big", &v));
	ck_meta(d, "dlq.truncated", "true");
	ck_meta(d, "dlq.original-id", "o-1");
	ck_assert(slice_eq_str(d->payload, "hello"));
	event_unref(d);
	s.max_bytes = 65536;
	d = deadletter_build(&s);
	ck_assert(event_metadata_get(d, "big", &v));
	ck_assert(!event_metadata_get(d, "dlq.truncated", &v));
	event_unref(d);
	event_unref(e);
}
END_TEST

START_TEST(whatever_a_client_says_becomes_legal_metadata)
{
	struct event *e = original(NULL, 0), *d;
	struct dead_letter_spec s = spec(e);

	s.error = " two\nlines\xff ";
	d = deadletter_build(&s);
	ck_meta(d, "dlq.error", "two%0Alines%FF");
	event_unref(d);
	s.error = "";
	d = deadletter_build(&s);
	ck_meta(d, "dlq.error", "rejected");
	event_unref(d);
	s.group = NULL;
	s.failures = (struct failures){0};
	d = deadletter_build(&s);
	ck_meta(d, "dlq.attempt", "1");
	ck_meta(d, "dlq.first-failed-at", "1970-01-01T00:00:03.000Z");
	ck_assert(!event_metadata_get(d, "dlq.group", &(struct slice){0}));
	event_unref(d);
	event_unref(e);
}
END_TEST

int main(void)
{
	const TTest *tests[] = {
		it_keeps_the_event_and_says_what_happened,
		the_same_event_gives_the_same_id_and_another_does_not,
		what_does_not_fit_loses_its_metadata_first,
		whatever_a_client_says_becomes_legal_metadata,
	};

	return suite_run("deadletter", tests, sizeof(tests) / sizeof(tests[0]));
}
