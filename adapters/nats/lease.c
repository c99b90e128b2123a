/* SPDX-License-Identifier: Apache-2.0 */
#include "adapters/nats/lease.h"

#include <stdio.h>

#include "adapters/nats/stored.h"

static void copy_text(char *out, size_t size, json_t *object, const char *key)
{
	const char *s = json_string_value(json_object_get(object, key));

	snprintf(out, size, "%s", s ? s : "");
}

void lease_read(struct lease *l, json_t *message)
{
	json_t *value = stored_value(message);
	const uint64_t epoch = stored_number(value, "epoch");

	l->revision = stored_number(message, "seq");
	l->epoch = epoch > l->epoch ? epoch : l->epoch;
	l->floor = stored_number(value, "floor");
	l->floor_known = json_is_integer(json_object_get(value, "floor"));
	l->lease_ms = (int64_t)stored_number(value, "lease_ms");
	copy_text(l->holder, sizeof(l->holder), value, "holder");
	copy_text(l->consumer, sizeof(l->consumer), value, "consumer");
	json_decref(value);
}

char *lease_write(const struct lease *l)
{
	json_t *value = json_pack("{s:s, s:I, s:s, s:I}", "holder", l->holder, "epoch",
				  (json_int_t)l->epoch, "consumer", l->consumer, "lease_ms",
				  (json_int_t)l->lease_ms);
	char *text;

	if (l->floor_known) {
		json_object_set_new(value, "floor", json_integer((json_int_t)l->floor));
	}
	text = json_dumps(value, JSON_COMPACT);
	json_decref(value);
	return text;
}
