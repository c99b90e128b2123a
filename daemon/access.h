/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the `access:` rules say to one user, as answers that a client can read. The user is
 * the uid of the process that connected (SO_PEERCRED). Pure. True when allowed; else why is filled
 * (PERMANENT, DENIED).
 */
#ifndef DAEMON_ACCESS_H
#define DAEMON_ACCESS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/outcome.h"
#include "base/slice.h"
#include "config/config.h"

bool access_publish(const struct config *c, int64_t uid, struct slice topic, struct answer *why);
/* group: empty for a subscription without one. */
bool access_subscribe(const struct config *c, int64_t uid, struct slice pattern, struct slice group,
		      struct answer *why);

#endif
