/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the hand-written readers of codec.h share. They accept exactly the bytes that
 * scan.h accepts for the same message. Pure.
 */
#ifndef PROTO_READER_H
#define PROTO_READER_H

#include "base/event.h"
#include "proto/wire.h"

/* The element of a list that is being read, for the error text: "publish.events[3]". */
struct place {
	const char *list; /* "publish.events" */
	uint32_t index;
	bool lenient; /* skip unknown fields */
	struct err_text *err;
};

/* Writes "list[index].field: why" and returns rc; field may be NULL. */
int place_bad(const struct place *at, const char *field, int rc, const char *why);
/* A tag that the caller does not know; fields 1..known exist. Skips it if that is allowed. */
int place_other(const struct place *at, struct wire *w, uint32_t tag, uint32_t known);

/* Fails when the (singular) field was seen before. Fields below 32. */
static inline int read_once(struct wire *w, uint32_t *seen, uint32_t tag)
{
	uint32_t bit = UINT32_C(1) << (tag >> 3);

	if (*seen & bit) {
		return wire_fail(w, "more than once");
	}
	*seen |= bit;
	return 0;
}

/*
 * The message of the one kind (as WIRE_TAG(kind, WIRE_LENGTH)) that a frame must carry. What
 * else it may hold is for clients (lenient): fields of a later version.
 */
int read_frame(struct slice body, uint32_t kind, const char *name, bool lenient, struct slice *out,
	       struct err_text *err);

/*
 * Checks an encoded Event and fills the views of e, which are zero. *idle gets the bytes of
 * an id or a time that is there and says nothing; p == NULL when there is none.
 */
int read_event(const struct place *at, struct slice raw, struct event *e, struct slice *idle);

#endif
