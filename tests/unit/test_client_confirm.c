/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/fake_publisher.h"
#include "tests/unit/suite.h"

START_TEST(unanswered_ones_are_sent_again_in_order_with_the_same_id)
{
	struct seen s = {0};
	struct fake f;
	struct eventbus *c;
	Eventbus__V1__Publish *p;
	char ids[4][64];

	fake_start(&f);
	c = fake_client(&f, NULL);
	publish_n(c, 4, &s);
	eventbus_process(c);
	p = FAKE_EXPECT(&f, PUBLISH)->publish;
	for (int i = 0; i < 4; i++) {
		snprintf(ids[i], sizeof(ids[i]), "%s", p->events[i]->id);
	}
	fake_confirm(&f, 2, 2, 0); /* a hole */
	fake_turns(c, &s.told, 1);
	fake_hang_up(&f);
	eventbus_process(c);
	ck_assert(!eventbus_is_connected(c));
	fake_meet(&f, c);
	p = FAKE_EXPECT(&f, PUBLISH)->publish;
	ck_assert_uint_eq(p->first_sequence, 1);
	ck_assert_uint_eq(p->n_events, 1);
	ck_assert_str_eq(p->events[0]->id, ids[0]);
	p = FAKE_EXPECT(&f, PUBLISH)->publish;
	ck_assert_uint_eq(p->first_sequence, 3);
	ck_assert_uint_eq(p->n_events, 2);
	ck_assert_str_eq(p->events[0]->id, ids[2]);
	ck_assert_str_eq(p->events[1]->id, ids[3]);
	fake_confirm(&f, 1, 4, 0);
	fake_turns(c, &s.told, 4);
	ck_assert_str_eq(s.order, "0000");
	eventbus_destroy(c);
	fake_stop(&f);
}
END_TEST

START_TEST(failures_are_told_with_what_to_do)
{
	struct seen s = {0};
	struct fake f;
	struct eventbus *c;

	fake_start(&f);
	c = fake_client(&f, NULL);
	publish_n(c, 3, &s);
	eventbus_process(c);
	fake_fail(&f, 2, 2, OUTCOME_PERMANENT, REASON_DENIED, "not for you");
	fake_confirm(&f, 1, 3, 0);
	fake_turns(c, &s.told, 3);
	ck_assert_str_eq(s.order, "300");
	ck_assert_uint_eq(eventbus_unconfirmed(c), 0);
	eventbus_destroy(c);
	fake_stop(&f);
}
END_TEST

START_TEST(an_answer_for_what_was_never_sent_does_nothing)
{
	struct seen s = {0};
	struct fake f;
	struct eventbus *c;

	fake_start(&f);
	c = fake_client(&f, NULL);
	publish_n(c, 1, &s);
	eventbus_process(c);
	fake_confirm(&f, 2, UINT64_MAX, 0);
	fake_confirm(&f, 1, 1, 0);
	fake_confirm(&f, 1, 1, 0);
	fake_turns(c, &s.told, 1);
	ck_assert(eventbus_is_connected(c));
	eventbus_destroy(c);
	ck_assert_int_eq(s.told, 1);
	fake_stop(&f);
}
END_TEST

START_TEST(what_a_draining_daemon_refuses_waits_for_the_next)
{
	struct seen s = {0};
	struct fake f;
	struct eventbus *c;
	Eventbus__V1__Publish *p;

	fake_start(&f);
	c = fake_client(&f, NULL);
	publish_n(c, 2, &s);
	eventbus_process(c);
	FAKE_EXPECT(&f, PUBLISH);
	fake_fail(&f, 1, 2, OUTCOME_NOT_STORED, REASON_DRAINING, "draining");
	eventbus_run_once(c, FAKE_WAIT_MS);
	publish_n(c, 1, &s);
	eventbus_process(c);
	ck_assert(fake_nothing_to_read(&f));
	ck_assert_int_eq(s.told, 0);
	fake_hang_up(&f);
	eventbus_process(c);
	fake_meet(&f, c);
	p = FAKE_EXPECT(&f, PUBLISH)->publish;
	ck_assert_uint_eq(p->first_sequence, 1);
	ck_assert_uint_eq(p->n_events, 3);
	eventbus_destroy(c);
	fake_stop(&f);
}
END_TEST

START_TEST(a_frame_that_is_refused_fails_as_a_whole_and_alone)
{
	Eventbus__V1__Error e = EVENTBUS__V1__ERROR__INIT;
	FAKE_FRAME(frame, error, ERROR, &e);
	char text[] = "publish.events[0]: no";
	struct seen s = {0};
	struct fake f;
	struct eventbus *c;

	fake_start(&f);
	c = fake_client(&f, NULL);
	publish_n(c, 20, &s); /* 8 + 8 + 4 */
	eventbus_process(c);
	e.outcome = EVENTBUS__V1__OUTCOME__OUTCOME_PERMANENT;
	e.text = text;
	e.re_case = EVENTBUS__V1__ERROR__RE_SEQUENCE;
	e.sequence = 9;
	fake_write(&f, &frame);
	fake_turns(c, &s.told, 8);
	ck_assert_str_eq(s.order, "33333333");
	fake_hang_up(&f);
	eventbus_process(c);
	fake_meet(&f, c);
	ck_assert_uint_eq(FAKE_EXPECT(&f, PUBLISH)->publish->first_sequence, 1);
	ck_assert_uint_eq(FAKE_EXPECT(&f, PUBLISH)->publish->first_sequence, 17);
	eventbus_destroy(c);
	fake_stop(&f);
}
END_TEST

START_TEST(the_publish_timeout_gives_up)
{
	const struct eventbus_options o = {.publish_timeout_ms = 30};
	struct seen s = {0};
	struct fake f;
	struct eventbus *c;

	fake_start(&f);
	f.credit_events = 1;
	c = fake_client(&f, &o);
	publish_n(c, 2, &s);
	fake_turns(c, &s.told, 2);
	ck_assert_str_eq(s.order, "21"); /* unknown: it was sent; not stored: it was not */
	ck_assert_uint_eq(eventbus_unconfirmed(c), 0);
	publish_n(c, 1, &s); /* the first still uses up the credit */
	eventbus_process(c);
	FAKE_EXPECT(&f, PUBLISH);
	ck_assert(fake_nothing_to_read(&f));
	fake_confirm(&f, 1, 1, 0);
	eventbus_run_once(c, FAKE_WAIT_MS);
	ck_assert_uint_eq(FAKE_EXPECT(&f, PUBLISH)->publish->first_sequence, 3);
	eventbus_destroy(c);
	fake_stop(&f);
}
END_TEST

START_TEST(positions_are_told)
{
	const struct eventbus_options o = {.positions = true};
	struct published_position at = {.sequence = 1, .position = "memory/1/9", .duplicate = true};
	struct published_frame p = {.positions = &at, .n_positions = 1};
	struct seen s = {0};
	struct fake f;
	struct eventbus *c;
	struct buf b;

	fake_start(&f);
	c = fake_client(&f, &o);
	publish_n(c, 1, &s);
	eventbus_process(c);
	ck_assert(FAKE_EXPECT(&f, PUBLISH)->publish->positions);
	buf_init(&b);
	codec_write_published(&b, &p);
	fake_write_bytes(&f, &b);
	fake_confirm(&f, 1, 1, 0);
	fake_turns(c, &s.told, 1);
	ck_assert_str_eq(s.last.position, "memory/1/9");
	ck_assert(s.last.duplicate);
	eventbus_destroy(c);
	ck_assert_int_eq(s.told, 1);
	fake_stop(&f);
}
END_TEST

int main(void)
{
	const TTest *tests[] = {
		unanswered_ones_are_sent_again_in_order_with_the_same_id,
		failures_are_told_with_what_to_do,
		an_answer_for_what_was_never_sent_does_nothing,
		what_a_draining_daemon_refuses_waits_for_the_next,
		a_frame_that_is_refused_fails_as_a_whole_and_alone,
		the_publish_timeout_gives_up,
		positions_are_told,
	};

	return suite_run("client confirm", tests, sizeof(tests) / sizeof(tests[0]));
}
