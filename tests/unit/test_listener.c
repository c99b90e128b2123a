/* SPDX-License-Identifier: Apache-2.0 */
/* The socket: mode whatever the umask, stale files, files of others, socket activation. */
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "daemon/listener.h"
#include "tests/unit/suite.h"

static uv_loop_t loop;
static char folder[64], path[128];
static int connections;

static void on_connection(void *ctx, uv_stream_t *server)
{
	uv_pipe_t *p = malloc(sizeof(*p));

	(void)ctx;
	uv_pipe_init(server->loop, p, 0);
	ck_assert_int_eq(uv_accept(server, (uv_stream_t *)p), 0);
	uv_close((uv_handle_t *)p, (uv_close_cb)free);
	connections++;
}

static void setup(void)
{
	log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
	snprintf(folder, sizeof(folder), "/tmp/listener-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/s.sock", folder);
	connections = 0;
	uv_loop_init(&loop);
}

static void teardown(void)
{
	uv_run(&loop, UV_RUN_DEFAULT);
	ck_assert_int_eq(uv_loop_close(&loop), 0);
	unlink(path);
	rmdir(folder);
}

static int listen_on(const char *where, uint32_t mode, const char *group, struct listener **l,
		     struct err_text *err)
{
	const struct listener_options o = {.loop = &loop,
					   .path = where,
					   .mode = mode,
					   .group = group,
					   .on_connection = on_connection};

	return listener_create(&o, l, err);
}

static int connect_to(const char *where)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%.100s", where);
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) != 0) {
		close(fd);
		return -1;
	}
	return fd;
}

/* A bound socket; kept open it answers, closed it is stale. */
static int make_socket(bool listening)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%.100s", path);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	if (listening) {
		ck_assert_int_eq(listen(fd, 1), 0);
	}
	return fd;
}

static bool exists(void)
{
	return access(path, F_OK) == 0;
}

START_TEST(test_mode_whatever_the_umask)
{
	struct listener *l;
	struct err_text err;
	struct stat st;
	int fd;

	umask(0);
	ck_assert_int_eq(listen_on(path, 0640, NULL, &l, &err), 0);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0640);
	ck_assert_uint_eq(umask(077), 0);
	ck_assert_str_eq(listener_path(l), path);
	fd = connect_to(path);
	ck_assert_int_ge(fd, 0);
	while (connections == 0) {
		uv_run(&loop, UV_RUN_ONCE);
	}
	close(fd);
	listener_close(l);
	ck_assert(!exists());
}
END_TEST

START_TEST(test_stale_socket_is_replaced)
{
	struct listener *l;
	struct err_text err;

	close(make_socket(true));
	ck_assert(exists());
	ck_assert_msg(listen_on(path, 0600, NULL, &l, &err) == 0, "%s", err.s);
	listener_close(l);
	ck_assert(!exists());
}
END_TEST

START_TEST(test_socket_in_use_is_refused)
{
	struct listener *l;
	struct err_text err;
	int fd = make_socket(true);

	ck_assert_int_eq(listen_on(path, 0600, NULL, &l, &err), EB_EEXIST);
	ck_assert_ptr_nonnull(strstr(err.s, "another daemon"));
	ck_assert(exists());
	close(fd);
}
END_TEST

START_TEST(test_file_that_is_no_socket_is_left_alone)
{
	struct listener *l;
	struct err_text err;

	close(open(path, O_CREAT | O_WRONLY, 0600));
	ck_assert_int_eq(listen_on(path, 0600, NULL, &l, &err), EB_EEXIST);
	ck_assert_ptr_nonnull(strstr(err.s, "not a socket"));
	ck_assert(exists());
}
END_TEST

START_TEST(test_file_of_a_successor_is_left_alone)
{
	struct listener *l;
	struct err_text err;
	int fd;

	ck_assert_int_eq(listen_on(path, 0600, NULL, &l, &err), 0);
	unlink(path);
	fd = make_socket(true);
	listener_close(l);
	ck_assert(exists());
	close(fd);
}
END_TEST

START_TEST(test_impossible_places)
{
	char far[256], deep[160];
	struct listener *l;
	struct err_text err;

	memset(far, 'x', sizeof(far) - 1);
	far[0] = '/';
	far[sizeof(far) - 1] = '\0';
	ck_assert_int_eq(listen_on(far, 0600, NULL, &l, &err), EB_EINVAL);
	ck_assert_ptr_nonnull(strstr(err.s, "longer than 107"));
	snprintf(deep, sizeof(deep), "%s/a/b/c.sock", folder);
	ck_assert_int_eq(listen_on(deep, 0600, NULL, &l, &err), EB_EIO);
	ck_assert_int_eq(listen_on(path, 0600, "no-such-group", &l, &err), EB_EINVAL);
	ck_assert_ptr_nonnull(strstr(err.s, "no-such-group"));
	ck_assert(!exists());
}
END_TEST

START_TEST(test_one_missing_folder_is_made)
{
	char deep[160], sub[160];
	struct listener *l;
	struct err_text err;

	snprintf(sub, sizeof(sub), "%s/run", folder);
	snprintf(deep, sizeof(deep), "%s/run/c.sock", folder);
	ck_assert_msg(listen_on(deep, 0600, NULL, &l, &err) == 0, "%s", err.s);
	listener_close(l);
	ck_assert_int_eq(rmdir(sub), 0);
}
END_TEST

START_TEST(test_socket_activation)
{
	struct listener *l;
	struct err_text err;
	char pid[32];
	int fd = make_socket(true), client;

	ck_assert_int_eq(dup2(fd, 3), 3);
	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	setenv("LISTEN_PID", pid, 1);
	setenv("LISTEN_FDS", "1", 1);
	ck_assert_msg(listen_on("/nowhere/at/all", 0600, NULL, &l, &err) == 0, "%s", err.s);
	client = connect_to(path);
	while (connections == 0) {
		uv_run(&loop, UV_RUN_ONCE);
	}
	close(client);
	listener_close(l);
	/* The file is the service manager's. */
	ck_assert(exists());
	if (fd != 3) {
		close(fd);
	}
}
END_TEST

START_TEST(test_wrong_sockets_from_the_manager)
{
	struct listener *l;
	struct err_text err;
	char pid[32];

	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	setenv("LISTEN_PID", pid, 1);
	setenv("LISTEN_FDS", "2", 1);
	dup2(open("/dev/null", O_RDONLY), 3);
	dup2(3, 4);
	ck_assert_int_eq(listen_on(path, 0600, NULL, &l, &err), EB_EINVAL);
	ck_assert_ptr_nonnull(strstr(err.s, "exactly one"));
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("listener");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_mode_whatever_the_umask);
	tcase_add_test(tc, test_stale_socket_is_replaced);
	tcase_add_test(tc, test_socket_in_use_is_refused);
	tcase_add_test(tc, test_file_that_is_no_socket_is_left_alone);
	tcase_add_test(tc, test_file_of_a_successor_is_left_alone);
	tcase_add_test(tc, test_impossible_places);
	tcase_add_test(tc, test_one_missing_folder_is_made);
	tcase_add_test(tc, test_socket_activation);
	tcase_add_test(tc, test_wrong_sockets_from_the_manager);
	return suite_run_case("listener", tc);
}
