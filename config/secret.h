/* SPDX-License-Identifier: Apache-2.0 */
/* Values that come from outside the file: ${NAME} and !file PATH. Only for OPTION_SECRET. */
#ifndef CONFIG_SECRET_H
#define CONFIG_SECRET_H

#include <stdbool.h>

#include "base/err.h"

#define SECRET_MAX_BYTES (64 * 1024)

/*
 * text as written; from_file: it was tagged !file. ${NAME} is the whole value, or any part of a
 * path. A relative path starts at the folder of config_file. One newline at the end of a file is
 * dropped. 0 with *out (the caller's), or EB_EINVAL with a text that holds no secret.
 */
int secret_read(const char *config_file, const char *text, bool from_file, char **out,
		struct err_text *err);

/* Whether the text asks for the environment: holds "${". */
bool secret_is_reference(const char *text);

#endif
