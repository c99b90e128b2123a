/* SPDX-License-Identifier: Apache-2.0 */
/* The `access:` section; config_allows of config.h reads it. */
#ifndef CONFIG_ACCESS_H
#define CONFIG_ACCESS_H

#include "config/config.h"
#include "config/document.h"
#include "config/report.h"

void access_bind(struct config *c, struct report *report, const struct path *path,
		 const struct node *node);
void access_free(struct config *c);

#endif
