/* SPDX-License-Identifier: Apache-2.0 */
/* What the file may say below broker.nats. */
#ifndef ADAPTERS_NATS_OPTIONS_H
#define ADAPTERS_NATS_OPTIONS_H

#include <stdbool.h>

#include "base/err.h"
#include "base/option.h"

enum nats_storage { NATS_STORAGE_DEFAULT, NATS_STORAGE_FILE, NATS_STORAGE_MEMORY };

struct nats_tls_options {
	bool enabled;
	char *ca, *cert, *key, *server_name, *ciphers;
	bool insecure;
};

/* Used when the stream is created; a stream that exists is left as it is. Zero: not said. */
struct nats_stream_options {
	struct option_strings subjects;
	int storage; /* enum nats_storage */
	int64_t replicas;
	int64_t max_age_ms;
	int64_t max_bytes;
	int64_t duplicate_window_ms;
};

struct nats_options {
	struct option_strings servers;
	char *connection_name;
	char *user, *password, *token, *creds, *nkey, *nkey_seed;
	struct nats_tls_options tls;
	char *stream, *domain;
	bool create;
	struct nats_stream_options stream_config;
	int64_t in_flight;
	int64_t connect_timeout_ms, ping_interval_ms, reconnect_wait_ms, reconnect_max_wait_ms;
	int64_t ack_wait_ms, owner_lease_ms, failures_max_age_ms;
};

extern const struct option nats_option_table[];
/* As adapter_kind.check. */
int nats_options_check(const void *options, const char **key, struct err_text *err);
/* As adapter_kind.warn. */
void nats_options_warn(const void *options, void (*say)(void *ctx, const char *text), void *ctx);

#endif
