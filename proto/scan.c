/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/scan.h"

#include <assert.h>
#include <stdio.h>

#include "proto/wire.h"

#define MAX_FIELDS 64 /* of one message type: bits of level.seen */
#define DEPTH_MAX  8  /* of our schema it is 4 */

struct scan {
	const struct scan_rules *rules;
	struct err_text *err;
	size_t memory; /* that protobuf-c will allocate, at most */
};

/* One message on the way from the root to where we are. */
struct level {
	const struct level *up;
	const ProtobufCMessageDescriptor *type;
	const ProtobufCFieldDescriptor *field; /* being read; NULL: none yet */
	uint64_t seen;
	uint32_t count[MAX_FIELDS]; /* elements of each repeated field */
	uint32_t members, unknown;
	struct wire_keys keys; /* of the one map that a message may have */
};

/* "subscribe.patterns[2]"; Frame itself has no name unless it is all there is. */
static void write_path(const struct level *l, char *out, size_t size)
{
	const struct level *stack[DEPTH_MAX];
	int depth = 0, used = 0;

	for (; l && depth < DEPTH_MAX; l = l->up) {
		stack[depth++] = l;
	}
	out[0] = '\0';
	while (depth-- > 0 && stack[depth]->field && (size_t)used < size) {
		const ProtobufCFieldDescriptor *f = stack[depth]->field;

		used += snprintf(out + used, size - (size_t)used, "%s%s", used ? "." : "", f->name);
		if (f->label == PROTOBUF_C_LABEL_REPEATED && (size_t)used < size) {
			used += snprintf(out + used, size - (size_t)used, "[%u]",
					 stack[depth]->count[f - stack[depth]->type->fields] - 1);
		}
	}
	if (used == 0) {
		snprintf(out, size, "frame");
	}
}

static int fail(struct scan *s, const struct level *l, int rc, const char *why)
{
	char path[256];

	write_path(l, path, sizeof(path));
	return err_set(s->err, rc, "%s: %s", path, why);
}

static int fail_unknown(struct scan *s, const struct level *l, const char *what, int64_t number)
{
	char path[256];

	write_path(l, path, sizeof(path));
	return err_set(s->err, EB_EPROTO, "%s: unknown %s %lld (not supported by this version)",
		       path, what, (long long)number);
}

/* What an allocation of n bytes costs in the arena. */
static int charge(struct scan *s, const struct level *l, size_t n)
{
	s->memory += n ? (n + 15) & ~(size_t)15 : 16;
	if (s->rules->max_memory && s->memory > s->rules->max_memory) {
		return fail(s, l, EB_ETOOBIG, "too many small parts for a frame of this size");
	}
	return 0;
}

static bool is_map(const ProtobufCFieldDescriptor *f)
{
	const ProtobufCMessageDescriptor *d = f->descriptor;
	size_t n;

	if (f->type != PROTOBUF_C_TYPE_MESSAGE || f->label != PROTOBUF_C_LABEL_REPEATED) {
		return false;
	}
	n = strlen(d->short_name);
	return n > 5 && strcmp(d->short_name + n - 5, "Entry") == 0 && d->n_fields == 2 &&
	       strcmp(d->fields[0].name, "key") == 0 && strcmp(d->fields[1].name, "value") == 0;
}

static unsigned wire_type_of(ProtobufCType type)
{
	switch (type) {
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_BYTES:
	case PROTOBUF_C_TYPE_MESSAGE:
		return WIRE_LENGTH;
	case PROTOBUF_C_TYPE_FIXED64:
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_DOUBLE:
		return WIRE_64;
	case PROTOBUF_C_TYPE_FIXED32:
	case PROTOBUF_C_TYPE_SFIXED32:
	case PROTOBUF_C_TYPE_FLOAT:
		return WIRE_32;
	default:
		return WIRE_VARINT;
	}
}

/* Counts the field just met: singular ones and members of a oneof once, others within limits. */
static int count_field(struct scan *s, struct level *l, unsigned i)
{
	const ProtobufCFieldDescriptor *f = &l->type->fields[i];

	if (f->label == PROTOBUF_C_LABEL_REPEATED) {
		uint32_t max = is_map(f) ? s->rules->max_pairs : s->rules->max_elements;

		if (++l->count[i] > max) {
			char path[256];

			write_path(l, path, sizeof(path));
			return err_set(s->err, EB_ETOOBIG, "%s: more than %u", path, max);
		}
		return 0;
	}
	if (l->seen & UINT64_C(1) << i) {
		return fail(s, l, EB_EPROTO, "more than once");
	}
	l->seen |= UINT64_C(1) << i;
	if (!(f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)) {
		return 0;
	}
	for (unsigned k = 0; k < l->type->n_fields; k++) {
		const ProtobufCFieldDescriptor *other = &l->type->fields[k];

		if (k != i && (l->seen & UINT64_C(1) << k) &&
		    (other->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) &&
		    other->quantifier_offset == f->quantifier_offset) {
			return fail(s, l, EB_EPROTO, "more than one of this choice");
		}
	}
	return 0;
}

static int scan_number(struct scan *s, const struct level *l, struct wire *w)
{
	const ProtobufCFieldDescriptor *f = l->field;
	uint64_t v;
	uint32_t u;
	bool b;
	int rc;

	switch (f->type) {
	case PROTOBUF_C_TYPE_BOOL:
		rc = wire_bool(w, &b);
		break;
	case PROTOBUF_C_TYPE_UINT32:
		rc = wire_u32(w, &u);
		break;
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_INT64:
		rc = wire_varint(w, &v);
		break;
	case PROTOBUF_C_TYPE_ENUM:
		rc = wire_varint(w, &v);
		if (rc != 0) {
			break;
		}
		if ((int64_t)v < INT32_MIN || (int64_t)v > INT32_MAX) {
			rc = wire_fail(w, "over 32 bits");
		} else if (!s->rules->allow_unknown &&
			   !protobuf_c_enum_descriptor_get_value(f->descriptor, (int)(int64_t)v)) {
			return fail_unknown(s, l, "value", (int64_t)v);
		}
		break;
	default:
		rc = wire_skip(w, wire_type_of(f->type));
	}
	return rc ? fail(s, l, rc, w->why) : 0;
}

static int scan_level(struct scan *s, const struct level *up,
		      const ProtobufCMessageDescriptor *type, struct slice bytes);

static int scan_map_entry(struct scan *s, struct level *l, struct slice entry)
{
	const ProtobufCMessageDescriptor *d = l->field->descriptor;
	struct metadata_pair pair;
	const char *why;
	uint32_t unknown;
	int rc;

	assert(d->fields[0].type == PROTOBUF_C_TYPE_STRING);
	assert(d->fields[1].type == PROTOBUF_C_TYPE_STRING);
	rc = wire_pair(entry, s->rules->allow_unknown, &pair, &unknown, &why);
	if (rc != 0) {
		return unknown ? fail_unknown(s, l, "field", unknown) : fail(s, l, rc, why);
	}
	rc = wire_keys_add(&l->keys, pair.key);
	if (rc != 0) {
		return fail(s, l, EB_EPROTO, "a key twice");
	}
	/* Charges what it costs; the rest was checked already. */
	return scan_level(s, l, d, entry);
}

static int scan_length(struct scan *s, struct level *l, struct wire *w)
{
	const ProtobufCFieldDescriptor *f = l->field;
	struct slice v;
	int rc = f->type == PROTOBUF_C_TYPE_STRING ? wire_text(w, &v) : wire_bytes(w, &v);

	if (rc != 0) {
		return fail(s, l, rc, w->why);
	}
	if (is_map(f)) {
		return scan_map_entry(s, l, v);
	}
	if (f->type == PROTOBUF_C_TYPE_MESSAGE) {
		return scan_level(s, l, f->descriptor, v);
	}
	return charge(s, l, v.n + 1);
}

static int scan_unknown(struct scan *s, struct level *l, struct wire *w, uint32_t tag)
{
	const uint8_t *begin = w->p;
	int rc;

	l->field = NULL;
	if (!s->rules->allow_unknown) {
		return fail_unknown(s, l->up ? l->up : l, "field", tag >> 3);
	}
	rc = wire_skip(w, tag & 7);
	if (rc != 0) {
		return fail(s, l->up ? l->up : l, rc, w->why);
	}
	l->unknown++;
	return charge(s, l, (size_t)(w->p - begin));
}

static int scan_field(struct scan *s, struct level *l, struct wire *w, uint32_t tag)
{
	const ProtobufCFieldDescriptor *f =
		protobuf_c_message_descriptor_get_field(l->type, tag >> 3);
	int rc;

	if (!f) {
		return scan_unknown(s, l, w, tag);
	}
	l->field = f;
	rc = count_field(s, l, (unsigned)(f - l->type->fields));
	if (rc != 0) {
		return rc;
	}
	if ((tag & 7) != wire_type_of(f->type)) {
		return fail(s, l, EB_EPROTO, "wrong wire type");
	}
	if ((tag & 7) == WIRE_LENGTH) {
		return scan_length(s, l, w);
	}
	/* A repeated number comes packed too, which nothing in the schema needs. */
	assert(f->label != PROTOBUF_C_LABEL_REPEATED);
	return scan_number(s, l, w);
}

/* What protobuf-c takes for this message itself: the struct, its arrays, its list of members. */
static int charge_level(struct scan *s, struct level *l)
{
	int rc = charge(s, l->up ? l->up : l, l->type->sizeof_message);
	uint32_t slab = 16, room = 16;

	for (unsigned i = 0; rc == 0 && i < l->type->n_fields; i++) {
		if (l->count[i] > 0) {
			/* Repeated fields of our schema are strings and messages: pointers. */
			rc = charge(s, l, l->count[i] * sizeof(void *));
		}
	}
	if (rc == 0 && l->unknown > 0) {
		rc = charge(s, l, l->unknown * sizeof(ProtobufCMessageUnknownField));
	}
	/* 32 bytes a member, the first 16 on the stack, then in pieces that double. */
	while (rc == 0 && room < l->members) {
		slab *= 2;
		room += slab;
		rc = charge(s, l, (size_t)slab * 32);
	}
	return rc;
}

static int scan_level(struct scan *s, const struct level *up,
		      const ProtobufCMessageDescriptor *type, struct slice bytes)
{
	struct wire w = wire_of(bytes);
	struct level l;

	assert(type->n_fields <= MAX_FIELDS);
	l.up = up;
	l.type = type;
	l.field = NULL;
	l.seen = 0;
	l.members = l.unknown = 0;
	memset(l.count, 0, type->n_fields * sizeof(l.count[0]));
	l.keys.n = 0;
	l.keys.seen = 0;
	while (w.p < w.end) {
		uint32_t tag;
		int rc = wire_tag(&w, &tag);

		if (rc != 0) {
			return fail(s, l.up ? l.up : &l, rc, w.why);
		}
		l.members++;
		rc = scan_field(s, &l, &w, tag);
		if (rc != 0) {
			return rc;
		}
	}
	return charge_level(s, &l);
}

int scan_message(const ProtobufCMessageDescriptor *type, struct slice bytes,
		 const struct scan_rules *rules, struct err_text *err)
{
	struct scan s = {.rules = rules, .err = err};

	return scan_level(&s, NULL, type, bytes);
}

void scan_repair(const ProtobufCMessageDescriptor *type, uint8_t *bytes, size_t n)
{
	struct wire w = wire_of(slice_of(bytes, n));
	uint32_t tag;

	while (w.p < w.end && wire_tag(&w, &tag) == 0) {
		const ProtobufCFieldDescriptor *f =
			protobuf_c_message_descriptor_get_field(type, tag >> 3);
		struct slice v;

		if ((tag & 7) != WIRE_LENGTH || !f) {
			if (wire_skip(&w, tag & 7) != 0) {
				return;
			}
		} else if (wire_bytes(&w, &v) != 0) {
			return;
		} else if (f->type == PROTOBUF_C_TYPE_STRING) {
			wire_text_repair(bytes + (v.p - bytes), v.n);
		} else if (f->type == PROTOBUF_C_TYPE_MESSAGE) {
			scan_repair(f->descriptor, bytes + (v.p - bytes), v.n);
		}
	}
}
