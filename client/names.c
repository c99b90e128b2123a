/* SPDX-License-Identifier: Apache-2.0 */
#include "client/eventbus.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/outcome.h"

_Static_assert((int)EVENTBUS_EINVAL == (int)EB_EINVAL, "one set of numbers");
_Static_assert((int)EVENTBUS_ETOOBIG == (int)EB_ETOOBIG, "one set of numbers");
_Static_assert((int)EVENTBUS_EPROTO == (int)EB_EPROTO, "one set of numbers");
_Static_assert((int)EVENTBUS_EAGAIN == (int)EB_EAGAIN, "one set of numbers");
_Static_assert((int)EVENTBUS_ETIMEDOUT == (int)EB_ETIMEDOUT, "one set of numbers");
_Static_assert((int)EVENTBUS_PERMANENT == (int)OUTCOME_PERMANENT, "one set of numbers");
_Static_assert((int)EVENTBUS_REASON_NOT_FOUND == (int)REASON_NOT_FOUND, "one set of numbers");

const char *eventbus_version(void)
{
	return EVENTBUS_VERSION;
}

const char *eventbus_strerror(int rc)
{
	return rc == EVENTBUS_ESTALE ? "stale" : eb_strerror(rc);
}

const char *eventbus_outcome_name(enum eventbus_outcome o)
{
	return o == EVENTBUS_STORED ? "stored" : outcome_name((enum outcome)o);
}

const char *eventbus_reason_name(enum eventbus_reason r)
{
	return reason_name((enum reason)r);
}

const char *eventbus_state_name(enum eventbus_state s)
{
	static const char *const names[] = {
		[EVENTBUS_SUBSCRIBED] = "subscribed",
		[EVENTBUS_LIVE] = "live",
		[EVENTBUS_DEGRADED] = "degraded",
		[EVENTBUS_GAP] = "gap",
		[EVENTBUS_LOST] = "lost",
		[EVENTBUS_REVOKED] = "revoked",
		[EVENTBUS_STANDBY] = "standby",
		[EVENTBUS_REFUSED] = "refused",
		[EVENTBUS_UNSUBSCRIBED] = "unsubscribed",
	};

	return (unsigned)s < sizeof(names) / sizeof(names[0]) ? names[s] : "unknown";
}

char *eventbus_default_socket(void)
{
	const char *path = getenv("EVENTBUS_SOCKET");
	const char *dir;

	if (path && *path) {
		return xstrdup(path);
	}
	dir = getenv("RUNTIME_DIRECTORY");
	if (dir && *dir) {
		return xasprintf("%.*s/eventbusd.sock", (int)strcspn(dir, ":"), dir);
	}
	dir = getenv("XDG_RUNTIME_DIR");
	if (dir && *dir) {
		return xasprintf("%s/eventbusd.sock", dir);
	}
	return xstrdup("/run/eventbusd/eventbusd.sock");
}
