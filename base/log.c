/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/utf8.h"

/*
 * A line is built on the stack and leaves in one write(2): lines of several
 * threads do not mix, and nothing is allocated when memory is short. LINE_SIZE
 * is PIPE_BUF, up to which a pipe keeps a write in one piece.
 */
#define LINE_SIZE    4096
#define MESSAGE_SIZE 2048
#define TAG_MAX	     200
#define REPEAT_MS    10000

static atomic_int max_level = LOG_LEVEL_INFO;
static atomic_int line_format = LOG_FORMAT_TEXT;

struct line {
	size_t n;
	char s[LINE_SIZE];
};

/* Whether stderr is the journal's socket: $JOURNAL_STREAM is "device:inode" (systemd.exec(5)). */
static bool stderr_is_journal(void)
{
	const char *env = getenv("JOURNAL_STREAM");
	unsigned long long device, inode;
	struct stat st;

	return env && sscanf(env, "%llu:%llu", &device, &inode) == 2 &&
	       fstat(STDERR_FILENO, &st) == 0 && st.st_dev == device && st.st_ino == inode;
}

void log_setup(enum log_level level, enum log_format format)
{
	if (format == LOG_FORMAT_AUTO) {
		format = stderr_is_journal() ? LOG_FORMAT_JOURNAL : LOG_FORMAT_TEXT;
	}
	atomic_store_explicit(&max_level, (int)level, memory_order_relaxed);
	atomic_store_explicit(&line_format, (int)format, memory_order_relaxed);
}

bool log_enabled(enum log_level level)
{
	return (int)level <= atomic_load_explicit(&max_level, memory_order_relaxed);
}

/* Adds s as it is, as far as it fits before the last reserve bytes. */
static bool put(struct line *l, const char *s, size_t n, size_t reserve)
{
	if (l->n + n + reserve > sizeof(l->s)) {
		return false;
	}
	memcpy(l->s + l->n, s, n);
	l->n += n;
	return true;
}

static void put_str(struct line *l, const char *s)
{
	put(l, s, strlen(s), 0);
}

/* The character at p as it may appear in a line; returns the bytes read. */
static size_t escape(const uint8_t *p, size_t n, bool json, char out[8], size_t *written)
{
	const size_t size = utf8_char(p, n);

	if (json && (p[0] == '"' || p[0] == '\\')) {
		*written = (size_t)snprintf(out, 8, "\\%c", p[0]);
	} else if (size && utf8_printable(slice_of(p, size))) {
		memcpy(out, p, size);
		*written = size;
	} else if (json) {
		/* A byte that is not UTF-8 has no place in JSON: show the Latin-1 character. */
		const unsigned c = size == 2 ? p[1] : p[0];

		*written = (size_t)snprintf(out, 8, "\\u%04x", c);
	} else {
		*written = (size_t)snprintf(out, 8, "\\x%02x", p[0]);
		return 1;
	}
	return size ? size : 1;
}

/* Adds text with whatever a terminal or a parser could obey made harmless. */
static void put_escaped(struct line *l, const char *s, size_t n, bool json)
{
	const uint8_t *p = (const uint8_t *)s;

	while (n) {
		char out[8];
		size_t written;
		const size_t used = escape(p, n, json, out, &written);

		if (!put(l, out, written, sizeof("...\"}\n"))) {
			put_str(l, "...");
			return;
		}
		p += used;
		n -= used;
	}
}

static const char *level_name(enum log_level level)
{
	static const char *const names[] = {"error", "warn", "info", "debug"};

	return names[level];
}

static void build(struct line *l, enum log_level level, const char *tag, const char *message)
{
	static const char *const priorities[] = {"<3>", "<4>", "<6>", "<7>"};
	const int format = atomic_load_explicit(&line_format, memory_order_relaxed);
	const bool json = format == LOG_FORMAT_JSON;
	char now[CLOCK_ISO_SIZE];

	l->n = 0;
	if (format == LOG_FORMAT_JOURNAL) {
		put_str(l, priorities[level]);
	} else {
		clock_format_iso(clock_unix_ms(), now);
		put_str(l, json ? "{\"time\":\"" : "");
		put_str(l, now);
		put_str(l, json ? "\",\"level\":\"" : " ");
		put_str(l, level_name(level));
		put_str(l, json ? "\",\"tag\":\"" : " ");
	}
	put_escaped(l, tag, strnlen(tag, TAG_MAX), json);
	put_str(l, json ? "\",\"message\":\"" : ": ");
	put_escaped(l, message, strlen(message), json);
	put_str(l, json ? "\"}\n" : "\n");
}

static void emit(enum log_level level, const char *tag, const char *message)
{
	const int saved = errno;
	struct line l;

	build(&l, level, tag, message);
	/* A log that cannot be written must not stop the daemon: there is nobody to tell. */
	while (write(STDERR_FILENO, l.s, l.n) < 0 && errno == EINTR) {
	}
	errno = saved;
}

static void write_va(enum log_level level, const char *tag, unsigned long long repeated,
		     const char *fmt, va_list ap)
{
	char message[MESSAGE_SIZE];
	int n = vsnprintf(message, sizeof(message), fmt, ap);

	if (n < 0) {
		return;
	}
	if (repeated) {
		const size_t end =
			(size_t)n < sizeof(message) - 64 ? (size_t)n : sizeof(message) - 64;

		snprintf(message + end, sizeof(message) - end, " (repeated %llu times)", repeated);
	} else if ((size_t)n >= sizeof(message)) {
		memcpy(message + sizeof(message) - 4, "...", 4);
	}
	emit(level, tag, message);
}

void log_write(enum log_level level, const char *tag, const char *fmt, ...)
{
	va_list ap;

	if (!log_enabled(level)) {
		return;
	}
	va_start(ap, fmt);
	write_va(level, tag, 0, fmt, ap);
	va_end(ap);
}

void log_repeated(struct log_repeat *r, enum log_level level, const char *tag, const char *fmt, ...)
{
	const long long now = clock_mono_ms();
	va_list ap;

	if (!log_enabled(level)) {
		return;
	}
	if (r->ever && now - r->last_ms < REPEAT_MS) {
		r->suppressed++;
		return;
	}
	va_start(ap, fmt);
	write_va(level, tag, r->suppressed, fmt, ap);
	va_end(ap);
	*r = (struct log_repeat){.last_ms = now, .ever = true};
}
