/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log. Any thread. The tag is the object's name for life ("session 17",
 * "nats:default"). Text is lower case, facts as key=value at the end; payloads
 * and secrets never appear; control characters are escaped here.
 *   error = an operator must act; warn = degraded, healing itself;
 *   info = state changes; debug = per event.
 * Formats: text (time level tag: text), journal (<N>tag: text, for systemd on
 * stderr), json (one object a line). auto = journal when $JOURNAL_STREAM names
 * stderr, else text.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };
enum log_format { LOG_FORMAT_AUTO, LOG_FORMAT_TEXT, LOG_FORMAT_JOURNAL, LOG_FORMAT_JSON };

void log_setup(enum log_level level, enum log_format format);
bool log_enabled(enum log_level level);
void log_write(enum log_level level, const char *tag, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#define log_error(tag, ...) log_write(LOG_LEVEL_ERROR, tag, __VA_ARGS__)
#define log_warn(tag, ...)  log_write(LOG_LEVEL_WARN, tag, __VA_ARGS__)
#define log_info(tag, ...)  log_write(LOG_LEVEL_INFO, tag, __VA_ARGS__)
#define log_debug(tag, ...)                                                                        \
	do {                                                                                       \
		if (log_enabled(LOG_LEVEL_DEBUG)) {                                                \
			log_write(LOG_LEVEL_DEBUG, tag, __VA_ARGS__);                              \
		}                                                                                  \
	} while (0)

/*
 * Reports the first occurrence at once, then counts, and says the count at most
 * every 10 s ("... (repeated 41 times)"). One static struct per call site and object.
 */
struct log_repeat {
	unsigned long long suppressed;
	long long last_ms;
	bool ever;
};
void log_repeated(struct log_repeat *r, enum log_level level, const char *tag, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

#endif
