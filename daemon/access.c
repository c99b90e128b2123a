/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/access.h"

static bool denied(struct answer *why, int64_t uid, const char *verb, struct slice name)
{
	answer_set(why, OUTCOME_PERMANENT, REASON_DENIED,
		   "access: user %lld may not %s \"%.*s\"; see access: in the configuration",
		   (long long)uid, verb, SLICE_ARG(name));
	return false;
}

bool access_publish(const struct config *c, int64_t uid, struct slice topic, struct answer *why)
{
	return config_allows(c, uid, CONFIG_PUBLISH, topic) ||
	       denied(why, uid, "publish to", topic);
}

bool access_subscribe(const struct config *c, int64_t uid, struct slice pattern, struct slice group,
		      struct answer *why)
{
	if (!config_allows(c, uid, CONFIG_SUBSCRIBE, pattern)) {
		return denied(why, uid, "subscribe to", pattern);
	}
	return group.n == 0 || config_allows(c, uid, CONFIG_GROUP, group) ||
	       denied(why, uid, "join the group", group);
}
