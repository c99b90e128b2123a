/* SPDX-License-Identifier: Apache-2.0 */
/* The option tables of the file: every key, its bounds, and the one place of its default. */
#ifndef CONFIG_TABLES_H
#define CONFIG_TABLES_H

#include "base/option.h"

/* The file itself; tables of struct config, or custom sections. */
extern const struct option config_options[];
/* An `access:` entry: struct config_access. */
extern const struct option access_options[];
/* `defaults:` and a `topics:` entry: struct rule. */
extern const struct option defaults_options[];
extern const struct option topic_options[];

#endif
