/* SPDX-License-Identifier: Apache-2.0 */
/* The header lines of a NATS message, read from their bytes (ADR-4 of
 * nats-architecture-and-design). */
#ifndef ADAPTERS_NATS_HEADER_BLOCK_H
#define ADAPTERS_NATS_HEADER_BLOCK_H

#include <stdbool.h>
#include <stddef.h>

#include "base/slice.h"

/*
 * From *pos (0 first) the next line that is a header, in its order: false at the end. key and value
 * point into block, without blanks around the value; an empty value is one. Lines that are none
 * (the version, the empty line at the end, continuations) are skipped.
 *
 * The library may have been there before: it ends keys and values with a zero byte, in place.
 */
bool header_block_next(struct slice block, size_t *pos, struct slice *key, struct slice *value);

#endif
