/* SPDX-License-Identifier: Apache-2.0 */
/* The kinds of broker that were built in. The first is the default. */
#include <string.h>

#include "adapters/adapter_impl.h"

static const struct adapter_kind *const kinds[] = {
	&adapter_kind_memory,
	&adapter_kind_nats,
	NULL,
};

const struct adapter_kind *const *adapter_kinds(void)
{
	return kinds;
}

const struct adapter_kind *adapter_kind_find(const char *name)
{
	for (size_t i = 0; kinds[i]; i++) {
		if (strcmp(kinds[i]->name, name) == 0) {
			return kinds[i];
		}
	}
	return NULL;
}
