/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "client/eventbusctl/sub.h"

static json_t *text_json(struct eventbus_text t)
{
	return json_stringn(t.p ? t.p : "", t.n);
}

static void set_text(json_t *o, const char *key, struct eventbus_text t)
{
	if (t.n) {
		json_object_set_new(o, key, text_json(t));
	}
}

static json_t *base64(const uint8_t *p, size_t n)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char *out = xmalloc((n + 2) / 3 * 4 + 1), *q = out;
	json_t *json;

	for (size_t i = 0; i < n; i += 3) {
		uint32_t v = (uint32_t)p[i] << 16;

		v |= i + 1 < n ? (uint32_t)p[i + 1] << 8 : 0;
		v |= i + 2 < n ? p[i + 2] : 0;
		*q++ = digits[v >> 18];
		*q++ = digits[v >> 12 & 63];
		*q++ = i + 1 < n ? digits[v >> 6 & 63] : '=';
		*q++ = i + 2 < n ? digits[v & 63] : '=';
	}
	json = json_stringn(out, (size_t)(q - out));
	free(out);
	return json;
}

static void set_payload(json_t *o, const struct eventbus_event *e)
{
	if (utf8_valid(slice_of(e->payload, e->payload_size))) {
		json_object_set_new(o, "payload",
				    json_stringn(e->payload ? e->payload : "", e->payload_size));
	} else {
		json_object_set_new(o, "payload_base64", base64(e->payload, e->payload_size));
	}
}

static bool print_json(const struct eventbus_event *e)
{
	struct eventbus_text key, value;
	json_t *o = json_object(), *metadata = json_object();
	char name[256], at[CLOCK_ISO_SIZE];
	size_t pos = 0;

	set_text(o, "id", e->id);
	set_text(o, "topic", e->topic);
	set_text(o, "key", e->key);
	set_payload(o, e);
	set_text(o, "content_type", e->content_type);
	set_text(o, "message_type", e->message_type);
	clock_format_iso(e->published_at_ms, at);
	json_object_set_new(o, "published_at", json_string(at));
	json_object_set_new(o, "attempt", json_integer(e->attempt));
	while (eventbus_metadata_next(e, &pos, &key, &value)) {
		snprintf(name, sizeof(name), "%.*s", (int)key.n, key.p);
		json_object_set_new(metadata, name, text_json(value));
	}
	json_object_set_new(o, "metadata", metadata);
	set_text(o, "method", e->method);
	set_text(o, "position", e->position);
	if (e->epoch) {
		json_object_set_new(o, "epoch", json_integer((json_int_t)e->epoch));
	}
	return ctl_print_json(stdout, o);
}

static void print_field(const struct ctl *ctl, const char *name, struct eventbus_text t)
{
	if (t.n) {
		printf(" %s%s=%s", ctl_paint(ctl, DIM), name, ctl_paint(ctl, PLAIN));
		ctl_print_bytes(stdout, t.p, t.n);
	}
}

static bool print_text(const struct ctl *ctl, const struct eventbus_event *e)
{
	struct eventbus_text key, value;
	char at[CLOCK_ISO_SIZE], name[256];
	size_t pos = 0;

	clock_format_iso(e->published_at_ms, at);
	printf("%s%s%s %s", ctl_paint(ctl, DIM), at, ctl_paint(ctl, PLAIN), ctl_paint(ctl, CYAN));
	ctl_print_bytes(stdout, e->topic.p, e->topic.n);
	fputs(ctl_paint(ctl, PLAIN), stdout);
	if (e->attempt > 1) {
		printf(" %sattempt=%" PRIu32 "%s", ctl_paint(ctl, YELLOW), e->attempt,
		       ctl_paint(ctl, PLAIN));
	}
	print_field(ctl, "key", e->key);
	while (eventbus_metadata_next(e, &pos, &key, &value)) {
		snprintf(name, sizeof(name), "%.*s", (int)key.n, key.p);
		print_field(ctl, name, value);
	}
	print_field(ctl, "position", e->position);
	fputs("  ", stdout);
	ctl_print_bytes(stdout, e->payload, e->payload_size);
	putchar('\n');
	return fflush(stdout) == 0 && !ferror(stdout);
}

bool print_event(const struct ctl *ctl, const struct eventbus_event *e, bool payload_only)
{
	if (payload_only) {
		fwrite(e->payload_size ? e->payload : "", 1, e->payload_size, stdout);
		putchar('\n');
		return fflush(stdout) == 0 && !ferror(stdout);
	}
	return ctl->json ? print_json(e) : print_text(ctl, e);
}
