/* SPDX-License-Identifier: Apache-2.0 */
#include "config/tables.h"

#include "config/config.h"
#include "config/rules.h"

#define SECOND INT64_C(1000)
#define HOUR   (3600 * SECOND)
#define DAY    (24 * HOUR)
#define KIB    INT64_C(1024)
#define TIB    (KIB * KIB * KIB * KIB)

#define SOCKET(field) offsetof(struct config_socket, field)
#define LIMIT(field)  offsetof(struct config_limits, field)
#define RULE(field)   offsetof(struct rule, field)
#define RETRY(field)  (offsetof(struct rule, retry.field) - offsetof(struct rule, retry))
#define DLQ(field)    (offsetof(struct rule, dlq.field) - offsetof(struct rule, dlq))

static const struct option socket_options[] = {
	{"path", OPTION_STRING, SOCKET(path), .doc = "the Unix socket that clients open"},
	{"mode", OPTION_MODE, SOCKET(mode), "\"0660\"", .doc = "its file mode"},
	{"group", OPTION_STRING, SOCKET(group),
	 .doc = "its group, name or number; without one it stays as it is"},
	{"max_clients", OPTION_INT, SOCKET(max_clients), "1024", 1, 65536,
	 .doc = "clients connected at once"},
	{"max_frame", OPTION_SIZE, SOCKET(max_frame), "4MiB", 64 * KIB, 64 * KIB *KIB,
	 .doc = "largest frame in either direction"},
	{0},
};

static const struct option limits_options[] = {
	{"memory", OPTION_SIZE, LIMIT(memory), "256MiB", KIB *KIB, TIB,
	 .doc = "events held in memory, of all clients and brokers"},
	{"per_client", OPTION_SIZE, LIMIT(per_client), "32MiB", 64 * KIB, TIB,
	 .doc = "one client's share of it"},
	{"in_flight_events", OPTION_INT, LIMIT(in_flight_events), "256", 1, 10000000,
	 .doc = "unsettled deliveries of a subscription that asks for no number"},
	{"in_flight_bytes", OPTION_SIZE, LIMIT(in_flight_bytes), "4MiB", KIB, TIB,
	 .doc = "the same in bytes"},
	{"max_in_flight_events", OPTION_INT, LIMIT(max_in_flight_events), "65536", 1, 10000000,
	 .doc = "most unsettled deliveries that a subscription may ask for"},
	{"max_in_flight_bytes", OPTION_SIZE, LIMIT(max_in_flight_bytes), "32MiB", KIB, TIB,
	 .doc = "the same in bytes"},
	{"max_concurrency", OPTION_INT, LIMIT(max_concurrency), "65536", 1, 10000000,
	 .doc = "most events that a subscription may say it works on at once"},
	{"publish_events", OPTION_INT, LIMIT(publish_events), "4096", 1, 10000000,
	 .doc = "unanswered publishes of a client"},
	{"publish_bytes", OPTION_SIZE, LIMIT(publish_bytes), "4MiB", KIB, TIB,
	 .doc = "the same in bytes"},
	{"subscriptions", OPTION_INT, LIMIT(subscriptions), "256", 1, 65536,
	 .doc = "subscriptions of a client"},
	{"hello_timeout", OPTION_DURATION, LIMIT(hello_timeout_ms), "5s", 10, HOUR,
	 .doc = "from connect to the client's Hello"},
	{"frame_timeout", OPTION_DURATION, LIMIT(frame_timeout_ms), "10s", 10, HOUR,
	 .doc = "from a frame's first byte to its last"},
	{"publish_timeout", OPTION_DURATION, LIMIT(publish_timeout_ms), "5s", 10, HOUR,
	 .doc = "how long a publish waits for its broker before it is answered"},
	{"max_lease", OPTION_DURATION, LIMIT(max_lease_ms), "1h", SECOND, DAY,
	 .doc = "longest lease that a policy or a subscription may ask for"},
	{"unwritten_bytes", OPTION_SIZE, LIMIT(unwritten_bytes), "4MiB", 4 * KIB, TIB,
	 .doc = "a client that leaves this much unread..."},
	{"unwritten_timeout", OPTION_DURATION, LIMIT(unwritten_timeout_ms), "60s", 10, DAY,
	 .doc = "...for this long is cut"},
	{0},
};

static const struct option drain_options[] = {
	{"timeout", OPTION_DURATION, 0, "25s", 0, HOUR,
	 .doc = "how long SIGTERM waits for clients to finish; keep it below the service "
		"manager's"},
	{0},
};

static const char *const levels[] = {"error", "warn", "info", "debug", NULL};
static const char *const formats[] = {"auto", "text", "journal", "json", NULL};
static const struct option log_options[] = {
	{"level", OPTION_ENUM, offsetof(struct config_log, level), "info", .choices = levels,
	 .doc = "error, warn, info or debug (every event)"},
	{"format", OPTION_ENUM, offsetof(struct config_log, format), "auto", .choices = formats,
	 .doc = "text, journal, json; auto: journal under systemd, else text"},
	{0},
};

const struct option config_options[] = {
	{"socket", OPTION_TABLE, offsetof(struct config, socket), .table = socket_options},
	{"broker", OPTION_TABLE, 0, .doc = "the broker: its kind as the only key"},
	{"defaults", OPTION_TABLE, 0, .doc = "policies of every topic"},
	{"topics", OPTION_TABLE, 0, .doc = "policies by topic pattern and group"},
	{"access", OPTION_TABLE, 0, .doc = "what users may do"},
	{"limits", OPTION_TABLE, offsetof(struct config, limits), .table = limits_options},
	{"drain", OPTION_TABLE, offsetof(struct config, drain), .table = drain_options},
	{"log", OPTION_TABLE, offsetof(struct config, log), .table = log_options},
	{"brokers", OPTION_UNSUPPORTED, .doc = NULL},
	{"routes", OPTION_UNSUPPORTED, .doc = NULL},
	{"schemas", OPTION_UNSUPPORTED, .doc = NULL},
	{"metrics", OPTION_UNSUPPORTED, .doc = NULL},
	{0},
};

const struct option access_options[] = {
	{"user", OPTION_STRING, offsetof(struct config_access, user),
	 .doc = "name or number of the client's user; \"*\": every user"},
	{"publish", OPTION_STRINGS, offsetof(struct config_access, publish),
	 .doc = "topic patterns it may publish to"},
	{"subscribe", OPTION_STRINGS, offsetof(struct config_access, subscribe),
	 .doc = "topic patterns it may subscribe to"},
	{"groups", OPTION_STRINGS, offsetof(struct config_access, groups),
	 .doc = "groups it may join, as shell patterns (orders-*)"},
	{0},
};

static const char *const backoffs[] = {"exponential", "linear", "fixed", NULL};
static const struct option retry_options[] = {
	{"max_retries", OPTION_INT, RETRY(max_retries), "3", 0, 1000,
	 .doc = "retries after the first attempt"},
	{"backoff", OPTION_ENUM, RETRY(backoff), "exponential", .choices = backoffs,
	 .doc = "exponential, linear or fixed"},
	{"initial_delay", OPTION_DURATION, RETRY(initial_delay_ms), "1s", 1, DAY,
	 .doc = "before the first retry"},
	{"max_delay", OPTION_DURATION, RETRY(max_delay_ms), "30s", 1, DAY,
	 .doc = "no retry waits longer"},
	{"multiplier", OPTION_NUMBER, RETRY(multiplier), "2", 1, 100,
	 .doc = "exponential: from one delay to the next"},
	{"jitter", OPTION_NUMBER, RETRY(jitter), "0.2", 0, 1,
	 .doc = "the part of each delay that is random, 0..1"},
	{"max_age", OPTION_DURATION, RETRY(max_age_ms), "0", 0, 365 * DAY,
	 .doc = "no retry once the event failed first this long ago; 0: no such limit"},
	{"retry_on", OPTION_STRINGS, RETRY(retry_on), "[]",
	 .doc = "retry only reasons that match one of these (timeout*); empty: all"},
	{"never_on", OPTION_STRINGS, RETRY(never_on), "[]",
	 .doc = "never retry reasons that match one of these"},
	{"window_events", OPTION_INT, RETRY(window_events), "10000", 1, 10000000,
	 .doc = "events of a subscription that may wait for a retry; then it stops fetching"},
	{"window_bytes", OPTION_SIZE, RETRY(window_bytes), "16MiB", KIB, TIB,
	 .doc = "the same in bytes"},
	{0},
};

static const struct option dlq_options[] = {
	{"topic", OPTION_STRING, DLQ(topic), "dlq.{group}",
	 .doc = "where exhausted events go; {group} and {topic} are filled in"},
	{0},
};

static const char *const orders[] = {"none", "key", "topic", NULL};
static const char *const dlq_words[] = {"off", NULL};
static const char *const exhausted[] = {"keep", "drop", NULL};
static const char *const unmatched[] = {"keep", "dead_letter", NULL};
static const char *const interops[] = {"none", "connectum", NULL};

/* What `defaults:` and a `topics:` entry have in common. */
#define DELIVERY_OPTIONS                                                                           \
	{"order",                                                                                  \
	 OPTION_ENUM,                                                                              \
	 RULE(order),                                                                              \
	 "none",                                                                                   \
	 .choices = orders,                                                                        \
	 .doc = "none, key or topic: what is delivered in order, over the whole group"},           \
		{"lease",                                                                          \
		 OPTION_DURATION,                                                                  \
		 RULE(lease_ms),                                                                   \
		 "30s",                                                                            \
		 10,                                                                               \
		 DAY,                                                                              \
		 .doc = "how long a client may work on an event before it counts as failed"},      \
		{"retry", OPTION_TABLE, RULE(retry), .table = retry_options},                      \
		{"dlq",                                                                            \
		 OPTION_TABLE,                                                                     \
		 RULE(dlq),                                                                        \
		 .choices = dlq_words,                                                             \
		 .table = dlq_options,                                                             \
		 .doc = "dead letters; `dlq: off` for none"},                                      \
		{"on_exhausted",                                                                   \
		 OPTION_ENUM,                                                                      \
		 RULE(on_exhausted),                                                               \
		 "keep",                                                                           \
		 .choices = exhausted,                                                             \
		 .doc = "with dlq off: keep (redeliver at max_delay) or drop"},                    \
	{                                                                                          \
		"unmatched", OPTION_ENUM, RULE(unmatched), "keep",                                 \
			.choices = unmatched,                                                      \
			.doc = "events that no pattern of the subscription matches: keep or "      \
			       "dead_letter"                                                       \
	}

const struct option defaults_options[] = {DELIVERY_OPTIONS, {0}};

const struct option topic_options[] = {
	{"match", OPTION_STRING, RULE(match), "\">\"", .doc = "topic pattern"},
	{"group", OPTION_STRING, RULE(group), .doc = "only for this group; without it: for all"},
	{"interop", OPTION_ENUM, RULE(interop), "none", .choices = interops,
	 .doc = "connectum: share the group with Connectum services, by their names at the broker"},
	DELIVERY_OPTIONS,
	{0},
};
