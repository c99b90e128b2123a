/* SPDX-License-Identifier: Apache-2.0 */
/* Messages as $JS.API.STREAM.MSG.GET answers them, and numbers in JSON. Pure. */
#ifndef ADAPTERS_NATS_STORED_H
#define ADAPTERS_NATS_STORED_H

#include <jansson.h>
#include <stdint.h>

/* The JSON object in message.data (base64, at most 512 bytes), a new reference; NULL when there is
 * none. */
json_t *stored_value(json_t *message);
/* 0 for what is absent, no integer or negative. object may be NULL. */
uint64_t stored_number(json_t *object, const char *key);

#endif
