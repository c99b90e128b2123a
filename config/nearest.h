/* SPDX-License-Identifier: Apache-2.0 */
/* "did you mean ...?": the known word that is the fewest typing mistakes away. Pure. */
#ifndef CONFIG_NEAREST_H
#define CONFIG_NEAREST_H

#include <stdbool.h>

#include "base/option.h"

#define NEAREST_MAX 128

/* Fills out with the path of the key that was meant, nested tables included: "retry.max_retries".
 * False when none is near. */
bool nearest_key(const struct option *table, const char *word, char out[NEAREST_MAX]);
/* The same in a NULL-terminated list of words; NULL when none is near. */
const char *nearest_word(const char *const *words, const char *word);

#endif
