/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>

#include "tests/unit/fake_daemon.h"
#include "tests/unit/suite.h"

struct seen {
	int connected, disconnected, draining, told;
	char text[256];
	struct eventbus *client;
	int rc[4];
	int outcome;
};

static void on_connection(void *ctx, enum eventbus_connection now, const char *text,
			  int64_t deadline_ms)
{
	struct seen *s = ctx;

	(void)deadline_ms;
	s->connected += now == EVENTBUS_CONNECTED;
	s->disconnected += now == EVENTBUS_DISCONNECTED;
	s->draining += now == EVENTBUS_DRAINING;
	snprintf(s->text, sizeof(s->text), "%s", text);
}

static struct eventbus *client(struct fake *f, struct seen *s)
{
	struct eventbus_options o = {
		.socket = f->path, .name = "test\n", .on_connection = on_connection, .ctx = s};
	struct eventbus *c;

	ck_assert_int_eq(eventbus_create(&o, &c), 0);
	s->client = c;
	return c;
}

/* Process once if the descriptor says so within the time. */
static bool polled(struct eventbus *c, int timeout_ms)
{
	struct pollfd p = {.fd = eventbus_fd(c), .events = POLLIN};

	if (poll(&p, 1, timeout_ms) != 1) {
		return false;
	}
	ck_assert_int_eq(eventbus_process(c), 0);
	return true;
}

START_TEST(hello_says_who_we_are)
{
	struct seen s = {0};
	struct fake f;
	struct eventbus *c;
	Eventbus__V1__Hello *h;

	fake_start(&f);
	c = client(&f, &s);
	ck_assert_int_eq(eventbus_process(c), 0);
	fake_accept(&f);
	h = FAKE_EXPECT(&f, HELLO)->hello;
	ck_assert_uint_eq(h->version, 1);
	ck_assert_str_eq(h->client, "test?");
	ck_assert(!eventbus_is_connected(c));
	fake_welcome(&f);
	fake_turns(c, &s.connected, 1);
	ck_assert(eventbus_is_connected(c));
	ck_assert_str_eq(eventbus_server(c), "fake 1");
	eventbus_destroy(c);
	fake_stop(&f);
}
END_TEST

START_TEST(no_daemon_is_told_once_with_a_remedy_and_tried_again)
{
	struct seen s = {0};
	struct fake f;
	struct eventbus *c;

	fake_start(&f);
	close(f.listener);
	unlink(f.path);
	c = client(&f, &s);
	ck_assert_int_eq(eventbus_connect_wait(c, 300), EVENTBUS_ETIMEDOUT);
	ck_assert_int_eq(s.disconnected, 1); /* the same text is not told again */
	ck_assert_ptr_nonnull(strstr(eventbus_error_text(c), "is eventbusd running?"));
	ck_assert_ptr_nonnull(strstr(eventbus_error_text(c), f.path));
	fake_listen(&f);
	fake_meet(&f, c);
	ck_assert_int_eq(s.connected, 1);
	eventbus_destroy(c);
	fake_stop(&f);
}
END_TEST

START_TEST(one_descriptor_over_all_connections)
{
	struct eventbus_message m = {.topic = "a"};
	struct seen s = {0};
	struct fake f;
	struct eventbus *c;
	int fd;

	fake_start(&f);
	c = client(&f, &s);
	fd = eventbus_fd(c);
	ck_assert_int_ge(fd, 0);
	for (int i = 1; i <= 3; i++) {
		while (s.connected < i) {
			struct pollfd p = {.fd = f.listener, .events = POLLIN};

			ck_assert(polled(c, FAKE_WAIT_MS));
			if (f.fd < 0 && poll(&p, 1, 0) == 1) {
				fake_accept(&f);
				FAKE_EXPECT(&f, HELLO);
				fake_welcome(&f);
			}
		}
		ck_assert_int_eq(eventbus_fd(c), fd);
		/* A publish outside a turn makes it readable. */
		ck_assert_int_eq(eventbus_publish(c, &m, NULL, NULL), 0);
		ck_assert(polled(c, 0));
		FAKE_EXPECT(&f, PUBLISH);
		ck_assert(!polled(c, 0)); /* and then it is quiet */
		fake_hang_up(&f);
		while (s.disconnected < i) {
			ck_assert(polled(c, FAKE_WAIT_MS));
		}
	}
	eventbus_destroy(c);
	fake_stop(&f);
}
END_TEST

START_TEST(a_full_socket_is_written_when_it_drains)
{
	static char payload[60000], room[65536];
	const struct eventbus_message m = {
		.topic = "a", .payload = payload, .payload_size = sizeof(payload)};
	struct seen s = {0};
	struct fake f;
	struct eventbus *c;
	size_t got = 0;

	fake_start(&f);
	f.credit_events = 1000;
	f.credit_bytes = 1 << 30;
	c = client(&f, &s);
	eventbus_fd(c);
	fake_meet(&f, c);
	for (int i = 0; i < 100; i++) {
		ck_assert_int_eq(eventbus_publish(c, &m, NULL, NULL), 0);
	}
	while (polled(c, 0)) { /* until the socket is full */
	}
	while (got < 100 * sizeof(payload)) {
		ssize_t n = recv(f.fd, room, sizeof(room), MSG_DONTWAIT);

		ck_assert(n > 0 || errno == EAGAIN);
		got += n > 0 ? (size_t)n : 0;
		polled(c, n > 0 ? 0 : FAKE_WAIT_MS);
	}
	eventbus_destroy(c);
	fake_stop(&f);
}
END_TEST

static void lost_after(const void *bytes, size_t n, const char *why)
{
	struct seen s = {0};
	struct fake f;
	struct eventbus *c;

	fake_start(&f);
	c = client(&f, &s);
	fake_meet(&f, c);
	ck_assert_int_eq(send(f.fd, bytes, n, MSG_NOSIGNAL), (ssize_t)n);
	fake_turns(c, &s.disconnected, 1);
	ck_assert_msg(strstr(s.text, why) != NULL, "%s", s.text);
	fake_hang_up(&f);
	fake_meet(&f, c);
	ck_assert_int_eq(s.connected, 2);
	eventbus_destroy(c);
	fake_stop(&f);
}

START_TEST(bytes_that_are_no_protocol_end_the_connection_only)
{
	lost_after("\0\0\0\0", 4, "impossible length");
	lost_after("\xff\xff\xff\xff", 4, "impossible length");
	lost_after("\0\0\0\x03xyz", 7, "protocol error");
	lost_after("\0\0\0\x03\x2a\x7fz", 7, "protocol error"); /* Deliver, cut short */
}
END_TEST

START_TEST(a_frame_in_pieces_is_put_together)
{
	struct seen s = {0};
	struct fake f;
	struct eventbus *c;
	Eventbus__V1__Pong pong = EVENTBUS__V1__PONG__INIT;
	FAKE_FRAME(frame, pong, PONG, &pong);
	struct buf b;

	fake_start(&f);
	c = client(&f, &s);
	fake_meet(&f, c);
	pong.request = 77;
	buf_init(&b);
	codec_write(&b, &frame);
	while (b.len) {
		ck_assert_int_eq(send(f.fd, buf_data(&b), 1, 0), 1);
		buf_consume(&b, 1);
		ck_assert_int_eq(eventbus_process(c), 0);
	}
	buf_finish(&b);
	ck_assert(eventbus_is_connected(c));
	eventbus_destroy(c);
	fake_stop(&f);
}
END_TEST

START_TEST(what_the_daemon_said_before_it_closed_is_told)
{
	Eventbus__V1__Error e = EVENTBUS__V1__ERROR__INIT;
	FAKE_FRAME(frame, error, ERROR, &e);
	char text[] = "overran its credit";
	struct seen s = {0};
	struct fake f;
	struct eventbus *c;

	fake_start(&f);
	c = client(&f, &s);
	fake_meet(&f, c);
	e.text = text;
	e.closing = true;
	fake_write(&f, &frame);
	fake_hang_up(&f);
	fake_turns(c, &s.disconnected, 1);
	ck_assert_ptr_nonnull(strstr(s.text, text));
	eventbus_destroy(c);
	fake_stop(&f);
}
END_TEST

START_TEST(another_protocol_version_is_told)
{
	Eventbus__V1__Welcome w = EVENTBUS__V1__WELCOME__INIT;
	FAKE_FRAME(frame, welcome, WELCOME, &w);
	struct seen s = {0};
	struct fake f;
	struct eventbus *c;

	fake_start(&f);
	c = client(&f, &s);
	eventbus_process(c);
	fake_accept(&f);
	w.version = 2;
	fake_write(&f, &frame);
	fake_turns(c, &s.disconnected, 1);
	ck_assert_ptr_nonnull(strstr(s.text, "version 2"));
	eventbus_destroy(c);
	fake_stop(&f);
}
END_TEST

static void reenter(void *ctx, enum eventbus_connection now, const char *text, int64_t deadline_ms)
{
	struct seen *s = ctx;
	char *json;

	on_connection(ctx, now, text, deadline_ms);
	s->rc[0] = eventbus_process(s->client);
	s->rc[1] = eventbus_run_once(s->client, 0);
	s->rc[2] = eventbus_flush(s->client, 0);
	s->rc[3] = eventbus_status_wait(s->client, 0, &json);
}

START_TEST(turns_do_not_nest)
{
	struct seen s = {0};
	struct eventbus_options o = {.on_connection = reenter, .ctx = &s};
	struct fake f;
	struct eventbus *c;

	fake_start(&f);
	o.socket = f.path;
	ck_assert_int_eq(eventbus_create(&o, &c), 0);
	s.client = c;
	fake_meet(&f, c);
	for (int i = 0; i < 4; i++) {
		ck_assert_int_eq(s.rc[i], EVENTBUS_ESTATE);
	}
	eventbus_destroy(c);
	fake_stop(&f);
}
END_TEST

static void destroy_on_lost(void *ctx, enum eventbus_connection now, const char *text,
			    int64_t deadline_ms)
{
	struct seen *s = ctx;

	on_connection(ctx, now, text, deadline_ms);
	if (now == EVENTBUS_DISCONNECTED) {
		eventbus_destroy(s->client);
	}
}

static void on_told(void *ctx, const struct eventbus_result *r)
{
	struct seen *s = ctx;
	const struct eventbus_message m = {.topic = "a"};

	s->told++;
	s->outcome = (int)r->outcome;
	s->rc[0] = eventbus_publish(s->client, &m, NULL, NULL);
}

START_TEST(destroyed_when_the_connection_goes)
{
	const struct eventbus_message m = {.topic = "a"};
	struct seen s = {0};
	struct eventbus_options o = {.on_connection = destroy_on_lost, .ctx = &s};
	struct fake f;
	struct eventbus *c;
	int rc = 0;

	fake_start(&f);
	o.socket = f.path;
	ck_assert_int_eq(eventbus_create(&o, &c), 0);
	s.client = c;
	fake_meet(&f, c);
	ck_assert_int_eq(eventbus_publish(c, &m, on_told, &s), 0);
	eventbus_process(c);
	fake_hang_up(&f);
	while (rc == 0) {
		rc = eventbus_run_once(c, FAKE_WAIT_MS);
	}
	ck_assert_int_eq(rc, EVENTBUS_ECANCELED);
	ck_assert_int_eq(s.told, 1);
	ck_assert_int_eq(s.outcome, EVENTBUS_UNKNOWN);
	ck_assert_int_eq(s.rc[0], EVENTBUS_ESTATE);
	fake_stop(&f);
}
END_TEST

START_TEST(the_default_socket_follows_the_environment)
{
	char *path;

	unsetenv("EVENTBUS_SOCKET");
	unsetenv("RUNTIME_DIRECTORY");
	unsetenv("XDG_RUNTIME_DIR");
	path = eventbus_default_socket();
	ck_assert_str_eq(path, "/run/eventbusd/eventbusd.sock");
	free(path);
	setenv("XDG_RUNTIME_DIR", "/run/user/7", 1);
	path = eventbus_default_socket();
	ck_assert_str_eq(path, "/run/user/7/eventbusd.sock");
	free(path);
	setenv("RUNTIME_DIRECTORY", "/run/a:/run/b", 1);
	path = eventbus_default_socket();
	ck_assert_str_eq(path, "/run/a/eventbusd.sock");
	free(path);
	setenv("EVENTBUS_SOCKET", "/x", 1);
	path = eventbus_default_socket();
	ck_assert_str_eq(path, "/x");
	free(path);
}
END_TEST

START_TEST(a_socket_path_that_does_not_fit_is_refused)
{
	char path[200];
	struct eventbus_options o = {.socket = path};
	struct eventbus *c;

	memset(path, 'x', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	ck_assert_int_eq(eventbus_create(&o, &c), EVENTBUS_EINVAL);
	ck_assert_ptr_null(c);
	eventbus_destroy(NULL);
}
END_TEST

int main(void)
{
	const TTest *tests[] = {
		hello_says_who_we_are,
		no_daemon_is_told_once_with_a_remedy_and_tried_again,
		one_descriptor_over_all_connections,
		a_full_socket_is_written_when_it_drains,
		bytes_that_are_no_protocol_end_the_connection_only,
		a_frame_in_pieces_is_put_together,
		what_the_daemon_said_before_it_closed_is_told,
		another_protocol_version_is_told,
		turns_do_not_nest,
		destroyed_when_the_connection_goes,
		the_default_socket_follows_the_environment,
		a_socket_path_that_does_not_fit_is_refused,
	};

	return suite_run("client link", tests, sizeof(tests) / sizeof(tests[0]));
}
