/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/suite.h"

/* stderr as a packet socket: one packet is one write(2). */
static int capture[2];

static void begin(enum log_level level, enum log_format format)
{
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, capture), 0);
	ck_assert_int_eq(dup2(capture[1], STDERR_FILENO), STDERR_FILENO);
	log_setup(level, format);
}

static const char *line(void)
{
	static char s[8192];
	const ssize_t n = recv(capture[0], s, sizeof(s) - 1, MSG_DONTWAIT);

	if (n <= 0) {
		return NULL;
	}
	s[n] = '\0';
	ck_assert_int_eq(s[n - 1], '\n');
	ck_assert_ptr_eq(strchr(s, '\n'), &s[n - 1]);
	s[n - 1] = '\0';
	return s;
}

/* What stands behind the time of a text line. */
static const char *text_line(void)
{
	const char *s = line();

	ck_assert_ptr_nonnull(s);
	ck_assert_uint_gt(strlen(s), 25);
	ck_assert_int_eq(s[10], 'T');
	ck_assert_int_eq(s[23], 'Z');
	ck_assert_int_eq(s[24], ' ');
	return s + 25;
}

START_TEST(text_has_time_level_tag_and_text)
{
	begin(LOG_LEVEL_DEBUG, LOG_FORMAT_TEXT);
	log_error("daemon", "no socket path=%s", "/x");
	ck_assert_str_eq(text_line(), "error daemon: no socket path=/x");
	log_warn("nats:default", "away");
	ck_assert_str_eq(text_line(), "warn nats:default: away");
	log_info("session 17", "hello");
	ck_assert_str_eq(text_line(), "info session 17: hello");
	log_debug("session 17", "n=%d", 3);
	ck_assert_str_eq(text_line(), "debug session 17: n=3");
}
END_TEST

START_TEST(levels_above_the_limit_are_silent)
{
	begin(LOG_LEVEL_WARN, LOG_FORMAT_TEXT);
	log_info("t", "not this");
	log_debug("t", "nor this");
	ck_assert_ptr_null(line());
	ck_assert(log_enabled(LOG_LEVEL_WARN));
	ck_assert(!log_enabled(LOG_LEVEL_INFO));
	log_warn("t", "but this");
	ck_assert_str_eq(text_line(), "warn t: but this");
	log_setup(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	log_info("t", "and now this");
	ck_assert_str_eq(text_line(), "info t: and now this");
}
END_TEST

START_TEST(the_journal_gets_priorities)
{
	begin(LOG_LEVEL_DEBUG, LOG_FORMAT_JOURNAL);
	log_error("t", "a");
	ck_assert_str_eq(line(), "<3>t: a");
	log_warn("t", "b");
	ck_assert_str_eq(line(), "<4>t: b");
	log_info("t", "c");
	ck_assert_str_eq(line(), "<6>t: c");
	log_debug("t", "d");
	ck_assert_str_eq(line(), "<7>t: d");
}
END_TEST

START_TEST(auto_is_journal_only_when_it_is_this_stderr)
{
	char name[64];
	struct stat st;

	begin(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	ck_assert_int_eq(fstat(STDERR_FILENO, &st), 0);
	snprintf(name, sizeof(name), "%llu:%llu", (unsigned long long)st.st_dev,
		 (unsigned long long)st.st_ino);
	setenv("JOURNAL_STREAM", name, 1);
	log_setup(LOG_LEVEL_INFO, LOG_FORMAT_AUTO);
	log_info("t", "x");
	ck_assert_str_eq(line(), "<6>t: x");
	setenv("JOURNAL_STREAM", "1:1", 1);
	log_setup(LOG_LEVEL_INFO, LOG_FORMAT_AUTO);
	log_info("t", "x");
	ck_assert_str_eq(text_line(), "info t: x");
	setenv("JOURNAL_STREAM", "nonsense", 1);
	log_setup(LOG_LEVEL_INFO, LOG_FORMAT_AUTO);
	log_info("t", "x");
	ck_assert_str_eq(text_line(), "info t: x");
	unsetenv("JOURNAL_STREAM");
	log_setup(LOG_LEVEL_INFO, LOG_FORMAT_AUTO);
	log_info("t", "x");
	ck_assert_str_eq(text_line(), "info t: x");
}
END_TEST

START_TEST(what_a_terminal_would_obey_is_escaped)
{
	begin(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	log_info("a\nb", "x\r\n\x1b[31m\x7f\t\"q\" \\ caf\xc3\xa9 \xff \xc2\x9b");
	ck_assert_str_eq(text_line(), "info a\\x0ab: x\\x0d\\x0a\\x1b[31m\\x7f\\x09\"q\" \\ "
				      "caf\xc3\xa9 \\xff \\xc2\\x9b");
}
END_TEST

START_TEST(json_lines_are_json_whatever_is_said)
{
	char all[256];
	json_t *o;

	for (int i = 0; i < 255; i++) {
		all[i] = (char)(i + 1);
	}
	all[255] = '\0';
	begin(LOG_LEVEL_INFO, LOG_FORMAT_JSON);
	log_warn("session \"1\"", "a\nb \\ caf\xc3\xa9 \xc2\x9b\xff");
	o = json_loads(line(), JSON_REJECT_DUPLICATES, NULL);
	ck_assert_ptr_nonnull(o);
	ck_assert_str_eq(json_string_value(json_object_get(o, "level")), "warn");
	ck_assert_str_eq(json_string_value(json_object_get(o, "tag")), "session \"1\"");
	ck_assert_str_eq(json_string_value(json_object_get(o, "message")),
			 "a\nb \\ caf\xc3\xa9 \xc2\x9b\xc3\xbf");
	ck_assert_uint_eq(strlen(json_string_value(json_object_get(o, "time"))), 24);
	json_decref(o);
	log_warn(all, "%s%s%s", all, all, all);
	o = json_loads(line(), 0, NULL);
	ck_assert_ptr_nonnull(o);
	json_decref(o);
}
END_TEST

START_TEST(long_lines_are_cut_and_stay_whole)
{
	static char big[10000], bad[10000];
	const enum log_format formats[] = {LOG_FORMAT_TEXT, LOG_FORMAT_JOURNAL, LOG_FORMAT_JSON};

	memset(big, 'x', sizeof(big) - 1);
	memset(bad, '\n', sizeof(bad) - 1);
	begin(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	for (int i = 0; i < 3; i++) {
		const char *s;

		log_setup(LOG_LEVEL_INFO, formats[i]);
		log_info("t", "%s", big);
		s = line();
		ck_assert_uint_le(strlen(s), 4096);
		ck_assert_ptr_nonnull(strstr(s, "xxx..."));
		log_info(bad, "%s", bad);
		s = line();
		ck_assert_uint_le(strlen(s), 4096);
		ck_assert_ptr_nonnull(strstr(s, "..."));
		if (formats[i] == LOG_FORMAT_JSON) {
			json_t *o = json_loads(s, 0, NULL);

			ck_assert_ptr_nonnull(o);
			json_decref(o);
		}
	}
}
END_TEST

START_TEST(repeats_are_counted_and_told_after_ten_seconds)
{
	struct log_repeat r = {0};

	begin(LOG_LEVEL_INFO, LOG_FORMAT_JOURNAL);
	for (int i = 0; i < 42; i++) {
		log_repeated(&r, LOG_LEVEL_WARN, "t", "failed i=%d", i);
	}
	ck_assert_str_eq(line(), "<4>t: failed i=0");
	ck_assert_ptr_null(line());
	r.last_ms -= 10000;
	log_repeated(&r, LOG_LEVEL_WARN, "t", "failed i=%d", 42);
	ck_assert_str_eq(line(), "<4>t: failed i=42 (repeated 41 times)");
	r.last_ms -= 10000;
	log_repeated(&r, LOG_LEVEL_WARN, "t", "failed i=%d", 43);
	ck_assert_str_eq(line(), "<4>t: failed i=43");
	log_repeated(&r, LOG_LEVEL_DEBUG, "t", "not logged, not counted");
	ck_assert_uint_eq(r.suppressed, 0);
}
END_TEST

START_TEST(errno_survives_a_log_line)
{
	begin(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	close(STDERR_FILENO);
	errno = ENOTTY;
	log_info("t", "nobody hears");
	ck_assert_int_eq(errno, ENOTTY);
}
END_TEST

#define THREADS 4
#define LINES	500

static void *talk(void *arg)
{
	const long who = (long)arg;

	for (int i = 0; i < LINES; i++) {
		log_info("worker", "who=%ld i=%d", who, i);
		if (i % 100 == 0) {
			log_setup(LOG_LEVEL_INFO, LOG_FORMAT_JOURNAL);
		}
	}
	return NULL;
}

START_TEST(lines_of_several_threads_stay_whole)
{
	pthread_t threads[THREADS];
	int next[THREADS] = {0};

	begin(LOG_LEVEL_INFO, LOG_FORMAT_JOURNAL);
	for (long i = 0; i < THREADS; i++) {
		ck_assert_int_eq(pthread_create(&threads[i], NULL, talk, (void *)i), 0);
	}
	for (int n = 0; n < THREADS * LINES; n++) {
		struct pollfd p = {.fd = capture[0], .events = POLLIN};
		long who;
		int i;

		ck_assert_int_eq(poll(&p, 1, 20000), 1);
		ck_assert_int_eq(sscanf(line(), "<6>worker: who=%ld i=%d", &who, &i), 2);
		ck_assert_int_eq(next[who]++, i);
	}
	for (int i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		ck_assert_int_eq(next[i], LINES);
	}
}
END_TEST

int main(void)
{
	const TTest *tests[] = {
		text_has_time_level_tag_and_text,
		levels_above_the_limit_are_silent,
		the_journal_gets_priorities,
		auto_is_journal_only_when_it_is_this_stderr,
		what_a_terminal_would_obey_is_escaped,
		json_lines_are_json_whatever_is_said,
		long_lines_are_cut_and_stay_whole,
		repeats_are_counted_and_told_after_ten_seconds,
		errno_survives_a_log_line,
		lines_of_several_threads_stay_whole,
	};

	return suite_run("log", tests, sizeof(tests) / sizeof(tests[0]));
}
