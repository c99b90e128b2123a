/* SPDX-License-Identifier: Apache-2.0 */
#include "config/nearest.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define WORD_MAX 40

static size_t min3(size_t a, size_t b, size_t c)
{
	size_t m = a < b ? a : b;

	return m < c ? m : c;
}

/* Insertions, deletions, changes and swaps of neighbours (optimal string alignment). */
static size_t distance(const char *a, const char *b)
{
	size_t na = strlen(a), nb = strlen(b);
	size_t row[3][WORD_MAX + 1];

	if (na > WORD_MAX || nb > WORD_MAX) {
		return SIZE_MAX;
	}
	for (size_t j = 0; j <= nb; j++) {
		row[0][j] = j;
	}
	for (size_t i = 1; i <= na; i++) {
		size_t *now = row[i % 3], *up = row[(i + 2) % 3], *up2 = row[(i + 1) % 3];
		now[0] = i;
		for (size_t j = 1; j <= nb; j++) {
			bool same = a[i - 1] == b[j - 1];
			now[j] = min3(up[j] + 1, now[j - 1] + 1, up[j - 1] + !same);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
			    up2[j - 2] + 1 < now[j]) {
				now[j] = up2[j - 2] + 1;
			}
		}
	}
	return row[na % 3][nb];
}

/* How many mistakes a word of this length may hold. */
static size_t tolerance(const char *word)
{
	size_t n = strlen(word);

	return n <= 3 ? 1 : n <= 6 ? 2 : 3;
}

static void search(const struct option *table, const char *word, const char *prefix, size_t *best,
		   char out[NEAREST_MAX])
{
	for (const struct option *o = table; o->key; o++) {
		char path[NEAREST_MAX];
		size_t d = distance(o->key, word);

		snprintf(path, sizeof(path), "%s%s%s", prefix, prefix[0] ? "." : "", o->key);
		/* A key of this very table wins over an equally near one further down. */
		if (d < *best) {
			*best = d;
			memcpy(out, path, sizeof(path));
		}
		if (o->kind == OPTION_TABLE && o->table) {
			search(o->table, word, path, best, out);
		}
	}
}

bool nearest_key(const struct option *table, const char *word, char out[NEAREST_MAX])
{
	size_t best = tolerance(word) + 1;

	out[0] = '\0';
	search(table, word, "", &best, out);
	return out[0] != '\0';
}

const char *nearest_word(const char *const *words, const char *word)
{
	size_t best = tolerance(word) + 1;
	const char *found = NULL;

	for (size_t i = 0; words[i]; i++) {
		size_t d = distance(words[i], word);
		if (d < best) {
			best = d;
			found = words[i];
		}
	}
	return found;
}
