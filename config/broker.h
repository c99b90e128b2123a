/* SPDX-License-Identifier: Apache-2.0 */
/* The `broker:` section: the kind of broker as its only key, and that kind's own options. */
#ifndef CONFIG_BROKER_H
#define CONFIG_BROKER_H

#include "config/config.h"
#include "config/document.h"
#include "config/report.h"

void broker_bind(struct config *c, const struct config_broker_kind *const *kinds,
		 struct report *report, const struct path *path, const struct node *node);
/* The broker of a file that names none. */
void broker_default(struct config *c, const struct config_broker_kind *kind);
void broker_free(struct config *c);

#endif
