/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration file, checked and bound. Loading never exits and never prints:
 * every problem becomes one line "FILE:LINE:COLUMN: dotted.path: what and the remedy".
 * The key list, with every default, is config/eventbusd.yaml.
 */
#ifndef CONFIG_CONFIG_H
#define CONFIG_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/log.h"
#include "base/option.h"
#include "config/policy.h"

/* What the daemon tells the loader about the kinds of broker that were built in. */
struct config_broker_kind {
	const char *name;
	const struct option *options;
	size_t options_size;
	/* As adapter_kind.check; may be NULL. */
	int (*check)(const void *options, const char **key, struct err_text *err);
};

struct config_broker {
	char *name;			       /* "default" */
	const struct config_broker_kind *kind; /* borrowed */
	void *options;			       /* options_size bytes, owned */
	uint32_t line;
};

struct config_socket {
	char *path;   /* NULL: built-in default, see config_socket_path */
	int64_t mode; /* from "0660" */
	char *group;  /* NULL: no chgrp */
	int64_t max_clients;
	int64_t max_frame; /* bytes */
};

struct config_limits {
	int64_t memory, per_client;			   /* bytes */
	int64_t in_flight_events, in_flight_bytes;	   /* default of a subscription */
	int64_t max_in_flight_events, max_in_flight_bytes; /* most it may ask for */
	int64_t max_concurrency;
	int64_t publish_events, publish_bytes; /* publish credit of a session */
	int64_t subscriptions;		       /* per client */
	int64_t hello_timeout_ms, frame_timeout_ms, publish_timeout_ms;
	int64_t max_lease_ms;
	int64_t unwritten_bytes, unwritten_timeout_ms; /* a client that stops reading is cut */
};

/* One `access:` entry. Without any entry everybody who can open the socket may do everything. */
struct config_access {
	char *user;					  /* name or number, "*" for all */
	int64_t uid;					  /* resolved at load; -1 for "*" */
	struct option_strings publish, subscribe, groups; /* patterns */
	uint32_t line;
};

struct config_log {
	int level;  /* enum log_level */
	int format; /* enum log_format */
};

struct config_rules; /* defaults and topics, for policy_resolve */
struct config_marks; /* where the values stand in the file */

struct config {
	char *file; /* NULL: built-in values */
	struct config_socket socket;
	struct config_broker *brokers;
	uint32_t n_brokers; /* >= 1 */
	struct config_limits limits;
	struct config_access *access;
	uint32_t n_access;
	struct {
		int64_t timeout_ms;
	} drain;
	struct config_log log;
	struct config_rules *rules;
	struct config_marks *marks; /* NULL without a file */
};

/* Problems found, in the order of the file. */
struct config_errors {
	char **v;
	size_t n;
};
void config_errors_free(struct config_errors *e);

/*
 * file: NULL = built-in values only. kinds: NULL-terminated; kinds[0] is the default broker kind
 * (memory). 0 with *out, or EB_EINVAL / EB_EIO with every problem in errors. Environment and !file
 * secrets are read now.
 */
int config_load(const char *file, const struct config_broker_kind *const *kinds,
		struct config **out, struct config_errors *errors);
/* The same from memory; name stands for the file in messages. For tests and fuzzing. */
int config_load_text(const char *name, const char *text, size_t n,
		     const struct config_broker_kind *const *kinds, struct config **out,
		     struct config_errors *errors);
void config_free(struct config *c); /* accepts NULL */

/* socket.path, else $RUNTIME_DIRECTORY/eventbusd.sock (first entry), else
 * $XDG_RUNTIME_DIR/eventbusd.sock, else /run/eventbusd/eventbusd.sock. The caller frees it. */
char *config_socket_path(const struct config *c);
/* The number of a group given by name or number (socket.group); false when there is none. */
bool config_group_id(const char *group, uint32_t *gid);

/* Says each rule of a loaded configuration that is allowed and gives events up. */
void config_warn(const struct config *c, void (*say)(void *ctx, const char *text), void *ctx);

enum config_right { CONFIG_PUBLISH, CONFIG_SUBSCRIBE, CONFIG_GROUP };
/*
 * What `access:` allows the user of a session: name is a checked topic, pattern or group. Entries
 * of the same user (and "*") add up; a list that is absent allows nothing; one pattern of the list
 * must cover the whole name. groups are shell patterns ("orders-*").
 */
bool config_allows(const struct config *c, int64_t uid, enum config_right right, struct slice name);

/*
 * Compares two loaded configurations for SIGHUP. 0: `next` can be applied; changes gets one line
 * per changed value
 * ("limits.memory: 256MiB -> 512MiB (line 12)", secrets as "changed"). EB_ENOTSUP: a broker or the
 * socket changed; errors says which value needs a restart.
 */
int config_diff(const struct config *now, const struct config *next, struct config_errors *changes,
		struct config_errors *errors);

#endif
