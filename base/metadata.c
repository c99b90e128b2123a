/* SPDX-License-Identifier: Apache-2.0 */
#include "base/metadata.h"

#include <strings.h>

#include "base/topic.h"

/* ---- keys ------------------------------------------------------------------ */

struct reserved {
	const char *name;
	size_t n;
	bool prefix; /* every key that begins so */
};

#define WHOLE(s)                                                                                   \
	{                                                                                          \
		s, sizeof(s) - 1, false                                                            \
	}
#define PREFIX(s)                                                                                  \
	{                                                                                          \
		s, sizeof(s) - 1, true                                                             \
	}

static const struct reserved reserved_keys[] = {
	PREFIX("nats-"),
	WHOLE("cc"),
	WHOLE("bcc"),
	WHOLE("x-event-id"),
	WHOLE("x-published-at"),
	PREFIX("x-connectum-"),
	WHOLE("x-death"),
	PREFIX("x-delivery-"),
	PREFIX("x-first-death-"),
	PREFIX("dlq."),
	PREFIX("eventbus-"),
};

bool metadata_key_reserved(struct slice key)
{
	/* Few keys begin with a letter that a reserved one begins with. */
	if (key.n == 0 || !strchr("nbcdex", key.p[0] | 0x20)) {
		return false;
	}
	for (size_t i = 0; i < sizeof(reserved_keys) / sizeof(reserved_keys[0]); i++) {
		const struct reserved *r = &reserved_keys[i];

		if ((r->prefix ? key.n >= r->n : key.n == r->n) &&
		    strncasecmp((const char *)key.p, r->name, r->n) == 0) {
			return true;
		}
	}
	return false;
}

/* ---- checking -------------------------------------------------------------- */

static bool refuse(struct answer *why, enum reason reason, const char *what, const char *rule)
{
	answer_set(why, OUTCOME_PERMANENT, reason, "%s: %s", what, rule);
	return false;
}

static bool blank(uint8_t c)
{
	return c == ' ' || c == '\t';
}

/* The rule that a text breaks, or NULL. An empty one breaks none. */
static const char *text_rule(struct slice s)
{
	if (s.n == 0) {
		return NULL;
	}
	if (blank(s.p[0]) || blank(s.p[s.n - 1])) {
		return "begins or ends with a blank";
	}
	if (!utf8_printable(s)) {
		return utf8_valid(s) ? "has a control character" : "is not UTF-8 without NUL";
	}
	return NULL;
}

static bool text_check(const char *what, struct slice s, size_t max, struct answer *why)
{
	const char *rule = text_rule(s);

	if (rule) {
		return refuse(why, REASON_INVALID, what, rule);
	}
	if (s.n > max) {
		answer_set(why, OUTCOME_PERMANENT, REASON_INVALID,
			   "%s: %zu bytes long, at most %zu are allowed", what, s.n, max);
		return false;
	}
	return true;
}

static bool check_topic(const struct event *e, struct answer *why)
{
	struct err_text err;

	if (topic_valid(e->topic)) {
		return true;
	}
	if (e->topic.n == 0 && e->message_type.n > 0) {
		return refuse(why, REASON_NOT_SUPPORTED, "topic",
			      "publishing by message type alone is not supported by this version");
	}
	topic_check(e->topic, &err);
	return refuse(why, REASON_INVALID, "topic", err.s);
}

static bool pair_refused(struct answer *why, struct slice key, const char *rule)
{
	answer_set(why, OUTCOME_PERMANENT, REASON_INVALID, "metadata key '%.*s': %s",
		   SLICE_ARG(key), rule);
	return false;
}

static bool check_pair(const struct metadata_pair *m, struct answer *why)
{
	const char *rule;

	if (m->key.n == 0) {
		return refuse(why, REASON_INVALID, "metadata", "a key is empty");
	}
	if (m->key.n > METADATA_KEY_MAX) {
		return refuse(why, REASON_INVALID, "metadata", "a key is longer than 128 bytes");
	}
	if (!name_chars(m->key)) {
		return refuse(why, REASON_INVALID, "metadata",
			      "a key has characters other than A-Z a-z 0-9 . _ -");
	}
	if (metadata_key_reserved(m->key)) {
		return pair_refused(why, m->key, "reserved for the broker and the daemon");
	}
	if (m->value.n == 0) {
		return pair_refused(why, m->key, "the value is empty");
	}
	rule = text_rule(m->value);
	if (rule) {
		answer_set(why, OUTCOME_PERMANENT, REASON_INVALID,
			   "metadata key '%.*s': the value %s", SLICE_ARG(m->key), rule);
		return false;
	}
	return true;
}

static bool check_metadata(const struct event *e, struct answer *why)
{
	struct metadata_pair pair;

	if (e->metadata_count > METADATA_MAX_PAIRS) {
		return refuse(why, REASON_TOO_LARGE, "metadata", "more than 64 pairs");
	}
	if (e->metadata_bytes > METADATA_MAX_BYTES) {
		return refuse(why, REASON_TOO_LARGE, "metadata",
			      "keys and values are more than 16384 bytes");
	}
	for (size_t pos = 0; event_metadata_next(e, &pos, &pair);) {
		if (!check_pair(&pair, why)) {
			return false;
		}
	}
	return true;
}

bool event_check(const struct event *e, struct answer *why)
{
	return check_topic(e, why) && text_check("id", e->id, EVENT_ID_MAX, why) &&
	       text_check("key", e->key, EVENT_KEY_MAX, why) &&
	       text_check("content_type", e->content_type, EVENT_TYPE_MAX, why) &&
	       text_check("message_type", e->message_type, EVENT_TYPE_MAX, why) &&
	       (e->metadata_count == 0 || check_metadata(e, why));
}

/* ---- repairing ------------------------------------------------------------- */

static struct slice trim(struct slice s)
{
	while (s.n && blank(s.p[0])) {
		s = slice_of(s.p + 1, s.n - 1);
	}
	while (s.n && blank(s.p[s.n - 1])) {
		s.n--;
	}
	return s;
}

static uint8_t *put_escape(uint8_t *out, uint8_t c)
{
	static const char digits[] = "0123456789ABCDEF";

	*out++ = '%';
	*out++ = (uint8_t)digits[c >> 4];
	*out++ = (uint8_t)digits[c & 15];
	return out;
}

/* Cut where an escape does not fit any more, so that the key stays a legal length. */
static uint8_t *repair_key(struct slice key, uint8_t *out)
{
	const uint8_t *limit = out + METADATA_KEY_MAX;

	for (size_t i = 0; i < key.n; i++) {
		const bool legal = name_chars(slice_of(key.p + i, 1));

		if (out + (legal ? 1 : 3) > limit) {
			break;
		}
		if (legal) {
			*out++ = key.p[i];
		} else {
			out = put_escape(out, key.p[i]);
		}
	}
	return out;
}

static uint8_t *repair_value(struct slice value, uint8_t *out)
{
	for (size_t i = 0; i < value.n;) {
		const size_t n = utf8_char(value.p + i, value.n - i);

		if (n && utf8_printable(slice_of(value.p + i, n))) {
			memcpy(out, value.p + i, n);
			out += n;
			i += n;
		} else {
			out = put_escape(out, value.p[i++]);
		}
	}
	return out;
}

bool metadata_repair(struct slice key, struct slice value, uint8_t *out, struct metadata_pair *pair,
		     bool *repaired)
{
	const struct slice k = trim(key), v = trim(value);
	uint8_t *end;

	end = repair_key(k, out);
	pair->key = slice_of(out, (size_t)(end - out));
	out = end;
	end = repair_value(v, out);
	pair->value = slice_of(out, (size_t)(end - out));
	if (pair->key.n == 0 || pair->value.n == 0) {
		*repaired = true;
		return false;
	}
	if (!slice_eq(pair->key, key) || !slice_eq(pair->value, value)) {
		*repaired = true;
	}
	return true;
}
