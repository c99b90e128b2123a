/* SPDX-License-Identifier: Apache-2.0 */
#include "base/option.h"

#include <stdlib.h>

static void free_strings(struct option_strings *s)
{
	for (size_t i = 0; i < s->n; i++) {
		free(s->v[i]);
	}
	free(s->v);
	*s = (struct option_strings){0};
}

void option_free(const struct option *table, void *target)
{
	for (const struct option *o = table; o->key; o++) {
		void *at = (char *)target + o->offset;

		if (o->kind == OPTION_STRING || o->kind == OPTION_SECRET) {
			char **s = at;

			free(*s);
			*s = NULL;
		} else if (o->kind == OPTION_STRINGS) {
			free_strings(at);
		} else if (o->kind == OPTION_TABLE) {
			option_free(o->table, at);
		}
	}
}
