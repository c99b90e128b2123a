/* SPDX-License-Identifier: Apache-2.0 */
#include "base/outcome.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

const char *outcome_name(enum outcome o)
{
	switch (o) {
	case OUTCOME_OK:
		return "ok";
	case OUTCOME_NOT_STORED:
		return "not stored";
	case OUTCOME_UNKNOWN:
		return "unknown";
	case OUTCOME_PERMANENT:
		return "permanent";
	}
	return "other";
}

const char *reason_name(enum reason r)
{
	static const char *const names[] = {
		[REASON_NONE] = "none",
		[REASON_NOT_CONNECTED] = "not connected",
		[REASON_OVERLOADED] = "overloaded",
		[REASON_DRAINING] = "draining",
		[REASON_TOO_LARGE] = "too large",
		[REASON_UNROUTABLE] = "unroutable",
		[REASON_UNRESOLVED_TOPIC] = "unresolved topic",
		[REASON_DENIED] = "denied",
		[REASON_INVALID] = "invalid",
		[REASON_NOT_SUPPORTED] = "not supported",
		[REASON_CONFLICT] = "conflict",
		[REASON_BROKER] = "broker",
		[REASON_NOT_FOUND] = "not found",
	};
	const unsigned i = (unsigned)r;

	return i < sizeof(names) / sizeof(names[0]) ? names[i] : "other";
}

/* A text that was cut may end, or break a name, in the middle of a character: clients must still
 * be able to read it as a string. */
static void keep_utf8(char *s)
{
	size_t left = strlen(s), n;

	for (; left > 0; s += n, left -= n) {
		n = utf8_char((const uint8_t *)s, left);
		if (n == 0) {
			*s = '?';
			n = 1;
		}
	}
}

struct answer *answer_set(struct answer *a, enum outcome o, enum reason r, const char *fmt, ...)
{
	va_list ap;

	a->outcome = o;
	a->reason = r;
	va_start(ap, fmt);
	vsnprintf(a->text, sizeof(a->text), fmt, ap);
	va_end(ap);
	keep_utf8(a->text);
	return a;
}
