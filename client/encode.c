/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A message becomes one field of Publish.events, in a single pass over memory that the outbox
 * reserved. It is checked here as strictly as the daemon does, because a frame whose structure is
 * wrong (text that is not UTF-8, a metadata key twice) would cost the whole session.
 */
#include <string.h>
#include <time.h>

#include "base/metadata.h"
#include "base/random.h"
#include "base/topic.h"
#include "base/wire.h"
#include "client/internal.h"

#define MAX_PAYLOAD ((size_t)1 << 30) /* far above any frame; keeps sums from overflowing */

enum { ID, TOPIC, KEY, CONTENT_TYPE, MESSAGE_TYPE };

static size_t field_size(size_t n)
{
	return 1 + wire_varint_size(n) + n;
}

static uint8_t *field_write(uint8_t *p, unsigned field, const void *bytes, size_t n)
{
	*p++ = (uint8_t)(field << 3 | 2);
	p = wire_varint_put(p, n);
	memcpy(p, bytes, n);
	return p + n;
}

static size_t length(const char *s)
{
	return s ? strlen(s) : 0;
}

static size_t optional_size(size_t n)
{
	return n ? field_size(n) : 0;
}

static uint8_t *optional_write(uint8_t *p, unsigned field, const char *s, size_t n)
{
	return n ? field_write(p, field, s, n) : p;
}

static size_t pair_size(const struct eventbus_pair *m)
{
	return field_size(length(m->key)) + field_size(length(m->value));
}

static void measure(const struct eventbus_message *m, struct message_sizes *out)
{
	out->event = 1 + 10; /* the time, at its longest: the real size is known when written */
	for (size_t i = 0; i < 5; i++) {
		out->event += optional_size(out->n[i]);
	}
	out->event += optional_size(m->payload_size);
	for (size_t i = 0; i < m->metadata_count; i++) {
		out->event += field_size(pair_size(&m->metadata[i]));
	}
	out->field = field_size(out->event);
}

uint32_t ebus_message_event_size(const uint8_t *field, uint32_t size)
{
	uint32_t head = 2; /* the tag, and the last byte of the length */

	while (field[head - 1] & 0x80) {
		head++;
	}
	return size - head;
}

struct eventbus_text ebus_message_id(const uint8_t *field)
{
	struct eventbus_text id = {NULL, 0};
	unsigned shift = 0;

	field++; /* the tag, then the length of the Event */
	while (*field++ & 0x80) {
	}
	field++; /* the tag of the id, which comes first */
	do {
		id.n |= (size_t)(*field & 0x7f) << shift;
		shift += 7;
	} while (*field++ & 0x80);
	id.p = (const char *)field;
	return id;
}

static uint8_t *metadata_write(uint8_t *p, const struct eventbus_pair *m)
{
	*p++ = EVENT_METADATA << 3 | 2;
	p = wire_varint_put(p, pair_size(m));
	p = field_write(p, 1, m->key, length(m->key));
	return field_write(p, 2, m->value ? m->value : "", length(m->value));
}

/* As fine as the kernel's tick, at a fifth of the price of the exact time. */
static int64_t coarse_unix_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME_COARSE, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

uint8_t *ebus_message_write(const struct eventbus_message *m, const struct message_sizes *s,
			    uint8_t *p)
{
	int64_t at = m->published_at_ms ? m->published_at_ms : coarse_unix_ms();
	size_t event = s->event - 10 + wire_varint_size((uint64_t)at);

	*p++ = MESSAGE_EVENT_FIELD;
	p = wire_varint_put(p, event);
	if (m->id && *m->id) {
		p = field_write(p, EVENT_ID, m->id, s->n[ID]);
	} else {
		*p++ = EVENT_ID << 3 | 2;
		*p++ = UUID_TEXT_SIZE;
		uuid_make((char *)p);
		p += UUID_TEXT_SIZE;
	}
	p = optional_write(p, EVENT_TOPIC, m->topic, s->n[TOPIC]);
	if (m->payload_size) {
		p = field_write(p, EVENT_PAYLOAD, m->payload, m->payload_size);
	}
	*p++ = EVENT_PUBLISHED_AT_MS << 3;
	p = wire_varint_put(p, (uint64_t)at);
	p = optional_write(p, EVENT_KEY, m->key, s->n[KEY]);
	p = optional_write(p, EVENT_CONTENT_TYPE, m->content_type, s->n[CONTENT_TYPE]);
	p = optional_write(p, EVENT_MESSAGE_TYPE, m->message_type, s->n[MESSAGE_TYPE]);
	for (size_t i = 0; i < m->metadata_count; i++) {
		p = metadata_write(p, &m->metadata[i]);
	}
	return p;
}

static int check_text(const char *what, const char *s, size_t n, size_t max, struct err_text *err)
{
	if (n > max) {
		return err_set(err, EVENTBUS_ETOOBIG, "%s: %zu bytes, at most %zu are allowed",
			       what, n, max);
	}
	if (n && !utf8_valid(slice_of(s, n))) {
		return err_set(err, EVENTBUS_EINVAL, "%s: not UTF-8", what);
	}
	return 0;
}

static bool key_again(const struct eventbus_message *m, size_t i)
{
	for (size_t j = 0; j < i; j++) {
		if (strcmp(m->metadata[i].key, m->metadata[j].key) == 0) {
			return true;
		}
	}
	return false;
}

static int check_metadata(const struct eventbus_message *m, struct err_text *err)
{
	size_t total = 0;
	int rc;

	for (size_t i = 0; i < m->metadata_count; i++) {
		const struct eventbus_pair *pair = &m->metadata[i];

		total += length(pair->key) + length(pair->value);
		if (length(pair->key) == 0) {
			return err_set(err, EVENTBUS_EINVAL, "metadata: an empty key");
		}
		rc = check_text("metadata key", pair->key, strlen(pair->key), METADATA_KEY_MAX,
				err);
		if (rc == 0) {
			rc = check_text("metadata value", pair->value, length(pair->value),
					METADATA_MAX_BYTES, err);
		}
		if (rc) {
			return rc;
		}
		if (key_again(m, i)) {
			return err_set(err, EVENTBUS_EINVAL, "metadata: key \"%s\" is there twice",
				       pair->key);
		}
	}
	if (total > METADATA_MAX_BYTES) {
		return err_set(err, EVENTBUS_ETOOBIG, "metadata: %zu bytes, at most %d are allowed",
			       total, METADATA_MAX_BYTES);
	}
	return 0;
}

static int check_texts(const struct eventbus_message *m, const struct message_sizes *s,
		       struct err_text *err)
{
	struct err_text why;
	int rc = 0;

	if (s->n[TOPIC] && !topic_valid(slice_of(m->topic, s->n[TOPIC]))) {
		topic_check(slice_of(m->topic, s->n[TOPIC]), &why);
		return err_set(err, EVENTBUS_EINVAL, "topic: %s", why.s);
	}
	if (m->id && *m->id) {
		rc = check_text("id", m->id, s->n[ID], EVENT_ID_MAX, err);
	}
	if (rc == 0) {
		rc = check_text("key", m->key, s->n[KEY], EVENT_KEY_MAX, err);
	}
	if (rc == 0) {
		rc = check_text("content type", m->content_type, s->n[CONTENT_TYPE], EVENT_TYPE_MAX,
				err);
	}
	if (rc == 0) {
		rc = check_text("message type", m->message_type, s->n[MESSAGE_TYPE], EVENT_TYPE_MAX,
				err);
	}
	return rc ? rc : check_metadata(m, err);
}

int ebus_message_measure(const struct eventbus_message *m, struct message_sizes *out,
			 struct err_text *err)
{
	int rc;

	out->n[ID] = m->id && *m->id ? strlen(m->id) : UUID_TEXT_SIZE;
	out->n[TOPIC] = length(m->topic);
	out->n[KEY] = length(m->key);
	out->n[CONTENT_TYPE] = length(m->content_type);
	out->n[MESSAGE_TYPE] = length(m->message_type);
	if (out->n[TOPIC] == 0 && out->n[MESSAGE_TYPE] == 0) {
		return err_set(err, EVENTBUS_EINVAL, "topic: missing");
	}
	if (m->payload_size && !m->payload) {
		return err_set(err, EVENTBUS_EINVAL, "payload: NULL with a size");
	}
	if (m->payload_size > MAX_PAYLOAD) {
		return err_set(err, EVENTBUS_ETOOBIG, "payload: %zu bytes", m->payload_size);
	}
	if (m->published_at_ms < 0) {
		return err_set(err, EVENTBUS_EINVAL, "published_at_ms: before 1970");
	}
	if (m->metadata_count > METADATA_MAX_PAIRS) {
		return err_set(err, EVENTBUS_ETOOBIG, "metadata: %zu pairs, at most %d are allowed",
			       m->metadata_count, METADATA_MAX_PAIRS);
	}
	rc = check_texts(m, out, err);
	if (rc == 0) {
		measure(m, out);
	}
	return rc;
}
