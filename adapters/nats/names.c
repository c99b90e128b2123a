/* SPDX-License-Identifier: Apache-2.0 */
#include "adapters/nats/names.h"

#include <assert.h>
#include <ctype.h>
#include <jansson.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/topic.h"

#define PART_MAX                                                                                   \
	64 /* of a group or a pattern in our own durable names: the server's limit is 255 */

/* ---- names ----------------------------------------------------------------- */

void nats_flow_hash(const char *group, const char *pattern, char out[NATS_FLOW_HASH + 1])
{
	uint8_t text[GROUP_MAX + TOPIC_MAX + 1], digest[SHA256_DIGEST_LENGTH];
	const size_t g = strlen(group), p = strlen(pattern);

	assert(g + 1 + p <= sizeof(text));
	memcpy(text, group, g + 1);
	memcpy(text + g + 1, pattern, p);
	SHA256(text, g + 1 + p, digest);
	for (size_t i = 0; i < NATS_FLOW_HASH / 2; i++) {
		snprintf(out + 2 * i, 3, "%02x", digest[i]);
	}
}

static char *put_sanitized(char *out, const char *s, size_t max)
{
	for (size_t i = 0; s[i] && i < max; i++) {
		const unsigned char c = (unsigned char)s[i];

		*out++ = isalnum(c) || c == '_' || c == '-' ? (char)c : '_';
	}
	return out;
}

void nats_durable_name(const char *group, const char *pattern, enum interop interop,
		       char out[NATS_NAME_MAX])
{
	const bool ours = interop == INTEROP_NONE;
	const size_t max = ours ? PART_MAX : SIZE_MAX;
	char hash[NATS_FLOW_HASH + 1], *p = out;

	assert(strlen(group) + strlen(pattern) + 16 < NATS_NAME_MAX);
	nats_flow_hash(group, pattern, hash);
	if (ours) {
		p = stpcpy(p, "eb-");
	}
	p = put_sanitized(p, group, max);
	p = stpcpy(p, "--");
	p = put_sanitized(p, pattern, max);
	snprintf(p, 11, "--%.8s", hash);
}

size_t nats_message_id(struct slice topic, struct slice id, char *out)
{
	memcpy(out, topic.p, topic.n);
	out[topic.n] = ':';
	memcpy(out + topic.n + 1, id.p, id.n);
	out[topic.n + 1 + id.n] = '\0';
	return topic.n + 1 + id.n;
}

size_t nats_put_number(char *out, uint64_t v)
{
	char digits[20];
	size_t n = 0;

	do {
		digits[n++] = (char)('0' + v % 10);
		v /= 10;
	} while (v);
	for (size_t i = 0; i < n; i++) {
		out[i] = digits[n - 1 - i];
	}
	return n;
}

/* ---- subjects -------------------------------------------------------------- */

/* Cuts the next token off s. False when nothing is left. */
static bool next_token(struct slice *s, struct slice *token)
{
	const uint8_t *dot;

	if (!s->p) {
		return false;
	}
	dot = s->n ? memchr(s->p, '.', s->n) : NULL;
	if (dot) {
		*token = slice_of(s->p, (size_t)(dot - s->p));
		*s = slice_of(dot + 1, s->n - token->n - 1);
	} else {
		*token = *s;
		*s = slice_of(NULL, 0);
	}
	return true;
}

bool nats_subject_covers(struct slice a, struct slice b)
{
	struct slice ta, tb;

	while (next_token(&a, &ta)) {
		if (!next_token(&b, &tb)) {
			return false;
		}
		if (slice_eq_str(ta, ">")) {
			return true;
		}
		if (slice_eq_str(tb, ">")) {
			return false;
		}
		if (!slice_eq_str(ta, "*") && !slice_eq(ta, tb)) {
			return false;
		}
	}
	return !next_token(&b, &tb);
}

static bool parse_u64(struct slice s, uint64_t *out)
{
	uint64_t v = 0;

	if (s.n == 0 || s.n > 20) {
		return false;
	}
	for (size_t i = 0; i < s.n; i++) {
		const uint8_t c = s.p[i];

		if (c < '0' || c > '9' || v > (UINT64_MAX - (uint64_t)(c - '0')) / 10) {
			return false;
		}
		v = v * 10 + (uint64_t)(c - '0');
	}
	*out = v;
	return true;
}

#define ACK_TOKENS 12

bool nats_ack_subject_parse(struct slice subject, struct nats_ack_subject *out)
{
	struct slice rest = subject, token[ACK_TOKENS];
	uint64_t ns;
	size_t n = 0, at;

	while (n < ACK_TOKENS && next_token(&rest, &token[n])) {
		n++;
	}
	if (n < 9 || n == 10 || !slice_eq_str(token[0], "$JS") || !slice_eq_str(token[1], "ACK")) {
		return false;
	}
	at = n == 9 ? 2 : 4;
	out->stream = token[at];
	out->consumer = token[at + 1];
	out->prefix = slice_of(subject.p, (size_t)(token[at + 2].p - subject.p));
	if (!parse_u64(token[at + 2], &out->delivered) ||
	    !parse_u64(token[at + 3], &out->stream_seq) ||
	    !parse_u64(token[at + 4], &out->consumer_seq) || !parse_u64(token[at + 5], &ns) ||
	    !parse_u64(token[at + 6], &out->pending)) {
		return false;
	}
	out->time_ns = ns > INT64_MAX ? INT64_MAX : (int64_t)ns;
	return out->stream_seq > 0;
}

/* ---- confirmations --------------------------------------------------------- */

/* Past `text` at *s, or false and *s untouched. */
static bool skip(struct slice *s, const char *text)
{
	const size_t n = strlen(text);

	if (s->n < n || memcmp(s->p, text, n) != 0) {
		return false;
	}
	*s = slice_of(s->p + n, s->n - n);
	return true;
}

/* {"stream":"S", "seq":N} and {"stream":"S", "seq":N,"duplicate": true}, as servers write it. */
static bool parse_plain(struct slice s, struct nats_pub_ack *out)
{
	const uint8_t *quote;
	size_t digits = 0;

	if (!skip(&s, "{\"stream\":\"")) {
		return false;
	}
	quote = memchr(s.p, '"', s.n);
	if (!quote) {
		return false;
	}
	s = slice_of(quote + 1, s.n - (size_t)(quote + 1 - s.p));
	if (!skip(&s, ", \"seq\":") && !skip(&s, ",\"seq\":")) {
		return false;
	}
	while (digits < s.n && s.p[digits] >= '0' && s.p[digits] <= '9') {
		digits++;
	}
	if (!parse_u64(slice_of(s.p, digits), &out->seq)) {
		return false;
	}
	s = slice_of(s.p + digits, s.n - digits);
	out->duplicate = skip(&s, ",\"duplicate\": true") || skip(&s, ",\"duplicate\":true");
	out->ok = skip(&s, "}") && s.n == 0;
	return out->ok;
}

static int parse_json(struct slice json, struct nats_pub_ack *out)
{
	json_t *root = json_loadb((const char *)json.p, json.n, 0, NULL);
	json_t *error = json_object_get(root, "error"), *seq = json_object_get(root, "seq");
	const char *text = json_string_value(json_object_get(error, "description"));
	int rc = 0;

	if (error) {
		out->code = (int)json_integer_value(json_object_get(error, "code"));
		out->err_code = (int)json_integer_value(json_object_get(error, "err_code"));
		snprintf(out->text, sizeof(out->text), "%s", text ? text : "no description");
	} else if (json_is_integer(seq) && json_integer_value(seq) > 0) {
		out->ok = true;
		out->seq = (uint64_t)json_integer_value(seq);
		out->duplicate = json_is_true(json_object_get(root, "duplicate"));
	} else {
		rc = EB_EPROTO;
	}
	json_decref(root);
	return rc;
}

int nats_pub_ack_parse(struct slice json, struct nats_pub_ack *out)
{
	*out = (struct nats_pub_ack){0};
	if (parse_plain(json, out)) {
		return 0;
	}
	*out = (struct nats_pub_ack){0};
	return parse_json(json, out);
}
