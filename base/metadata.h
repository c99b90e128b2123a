/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules for an event's content, the same for every broker (PROTOCOL.md,
 * "Events"), and the repair of foreign events that break them. Pure.
 */
#ifndef BASE_METADATA_H
#define BASE_METADATA_H

#include <stdbool.h>

#include "base/event.h"
#include "base/outcome.h"
#include "base/utf8.h"

#define METADATA_MAX_PAIRS 64
#define METADATA_MAX_BYTES 16384
#define METADATA_KEY_MAX   128
#define EVENT_ID_MAX	   200
#define EVENT_KEY_MAX	   1024
#define EVENT_TYPE_MAX	   256 /* content_type, message_type */

/* A key that a broker or the daemon gives meaning to: refused from clients, in any case. */
bool metadata_key_reserved(struct slice key);

/*
 * Everything that may be wrong with the content of an event from a client: topic,
 * id, key, types, metadata grammar, reserved keys. True, or false with the answer filled.
 */
bool event_check(const struct event *e, struct answer *why);

/*
 * Writes a repaired copy of a foreign metadata pair to out (at least 3 * (key.n +
 * value.n) bytes): bytes that are not UTF-8, control characters and illegal key characters escaped
 * as %XX, outer blanks trimmed. Returns false when no key or no value is left to keep.
 * *repaired is set to true when the pair changed or went, and left alone otherwise. A key that is
 * too long is cut.
 */
bool metadata_repair(struct slice key, struct slice value, uint8_t *out, struct metadata_pair *pair,
		     bool *repaired);

#endif
