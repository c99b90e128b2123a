/* SPDX-License-Identifier: Apache-2.0 */
/* The last step of loading: values that are right one by one and cannot go together. */
#ifndef CONFIG_CHECK_H
#define CONFIG_CHECK_H

#include "config/config.h"
#include "config/report.h"

/* rules_ok: `defaults:` and `topics:` were bound without a problem. Values that were refused are
 * not compared. */
void config_check(const struct config *c, bool rules_ok, struct report *report);

#endif
