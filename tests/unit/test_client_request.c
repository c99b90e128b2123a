/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/fake_daemon.h"
#include "tests/unit/suite.h"

static struct eventbus *client(struct fake *f)
{
	struct eventbus_options o = {.socket = f->path};
	struct eventbus *c;

	ck_assert_int_eq(eventbus_create(&o, &c), 0);
	return c;
}

struct reply {
	int told, rc;
	char text[128];
};

static void on_reply(void *ctx, int rc, const char *json, const char *text)
{
	struct reply *r = ctx;

	r->told++;
	r->rc = rc;
	snprintf(r->text, sizeof(r->text), "%s", rc ? text : json);
}

START_TEST(requests_are_answered_by_number)
{
	Eventbus__V1__AdminReply a = EVENTBUS__V1__ADMIN_REPLY__INIT;
	FAKE_FRAME(frame, admin_reply, ADMIN_REPLY, &a);
	char json[] = "{}";
	struct reply one = {0}, two = {0};
	struct fake f;
	struct eventbus *c;
	Eventbus__V1__Admin *m;

	fake_start(&f);
	c = client(&f);
	ck_assert_int_eq(eventbus_status(c, on_reply, &one), 0); /* before it is connected */
	ck_assert_int_eq(eventbus_explain(c, "a.b", "g", on_reply, &two), 0);
	ck_assert_int_eq(eventbus_explain(c, "\xff", NULL, on_reply, &two), EVENTBUS_EINVAL);
	fake_meet(&f, c);
	ck_assert_int_eq(FAKE_EXPECT(&f, ADMIN)->admin->what_case,
			 EVENTBUS__V1__ADMIN__WHAT_STATUS);
	m = FAKE_EXPECT(&f, ADMIN)->admin;
	ck_assert_str_eq(m->explain->topic, "a.b");
	ck_assert_str_eq(m->explain->group, "g");
	a.request = m->request;
	a.json = json;
	fake_write(&f, &frame);
	fake_turns(c, &two.told, 1);
	ck_assert_int_eq(two.rc, 0);
	ck_assert_str_eq(two.text, "{}");
	fake_hang_up(&f);
	fake_turns(c, &one.told, 1);
	ck_assert_int_eq(one.rc, EVENTBUS_EIO);
	eventbus_destroy(c);
	fake_stop(&f);
}
END_TEST

START_TEST(requests_left_are_cancelled)
{
	struct reply r = {0};
	struct fake f;
	struct eventbus *c;

	fake_start(&f);
	c = client(&f);
	ck_assert_int_eq(eventbus_status(c, on_reply, &r), 0);
	eventbus_destroy(c);
	ck_assert_int_eq(r.told, 1);
	ck_assert_int_eq(r.rc, EVENTBUS_ECANCELED);
	fake_stop(&f);
}
END_TEST

START_TEST(waiting_gives_up_and_what_comes_later_does_no_harm)
{
	const struct eventbus_message m = {.topic = "a"};
	struct eventbus_receipt r;
	struct fake f;
	struct eventbus *c;
	char *json;

	fake_start(&f);
	c = client(&f);
	fake_meet(&f, c);
	ck_assert_int_eq(eventbus_publish_wait(c, &m, 20, &r), EVENTBUS_ETIMEDOUT);
	ck_assert_int_eq(r.outcome, EVENTBUS_UNKNOWN);
	ck_assert_int_eq(eventbus_flush(c, 20), EVENTBUS_ETIMEDOUT);
	ck_assert_int_eq(eventbus_status_wait(c, 20, &json), EVENTBUS_ETIMEDOUT);
	ck_assert_ptr_null(json);
	fake_confirm(&f, 1, 1, 0);
	while (eventbus_unconfirmed(c)) {
		eventbus_run_once(c, FAKE_WAIT_MS);
	}
	ck_assert_int_eq(eventbus_publish_wait(c, &(struct eventbus_message){0}, 20, &r),
			 EVENTBUS_EINVAL);
	eventbus_destroy(c);
	fake_stop(&f);
}
END_TEST

int main(void)
{
	const TTest *tests[] = {
		requests_are_answered_by_number,
		requests_left_are_cancelled,
		waiting_gives_up_and_what_comes_later_does_no_harm,
	};

	return suite_run("client request", tests, sizeof(tests) / sizeof(tests[0]));
}
