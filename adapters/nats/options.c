/* SPDX-License-Identifier: Apache-2.0 */
#include "adapters/nats/options.h"

#include <string.h>

#include "base/slice.h"

#define AT(field) offsetof(struct nats_options, field)

static const char *const storage_choices[] = {"default", "file", "memory", NULL};

static const struct option tls_table[] = {
	{.key = "enabled",
	 .kind = OPTION_BOOL,
	 .offset = offsetof(struct nats_tls_options, enabled),
	 .def = "false",
	 .doc = "encrypt the connection; a tls:// server turns it on as well"},
	{.key = "ca",
	 .kind = OPTION_STRING,
	 .offset = offsetof(struct nats_tls_options, ca),
	 .doc = "file with the certificates to trust; absent: the system's"},
	{.key = "cert",
	 .kind = OPTION_STRING,
	 .offset = offsetof(struct nats_tls_options, cert),
	 .doc = "file with our certificate chain, for servers that verify clients"},
	{.key = "key",
	 .kind = OPTION_STRING,
	 .offset = offsetof(struct nats_tls_options, key),
	 .doc = "file with the key of that certificate"},
	{.key = "server_name",
	 .kind = OPTION_STRING,
	 .offset = offsetof(struct nats_tls_options, server_name),
	 .doc = "name that the server's certificate must carry; absent: the host's in servers"},
	{.key = "ciphers",
	 .kind = OPTION_STRING,
	 .offset = offsetof(struct nats_tls_options, ciphers),
	 .doc = "OpenSSL cipher list for TLS 1.2; absent: the library's"},
	{.key = "insecure",
	 .kind = OPTION_BOOL,
	 .offset = offsetof(struct nats_tls_options, insecure),
	 .def = "false",
	 .doc = "accept any certificate: for tests only"},
	{.key = NULL},
};

static const struct option stream_table[] = {
	{.key = "subjects",
	 .kind = OPTION_STRINGS,
	 .offset = offsetof(struct nats_stream_options, subjects),
	 .doc = "subjects of the stream; absent: <stream>.>"},
	{.key = "storage",
	 .kind = OPTION_ENUM,
	 .offset = offsetof(struct nats_stream_options, storage),
	 .def = "default",
	 .choices = storage_choices,
	 .doc = "default (the server's: file), file or memory"},
	{.key = "replicas",
	 .kind = OPTION_INT,
	 .offset = offsetof(struct nats_stream_options, replicas),
	 .def = "0",
	 .min = 0,
	 .max = 5,
	 .doc = "copies in a cluster; 0: the server's default, 1"},
	{.key = "max_age",
	 .kind = OPTION_DURATION,
	 .offset = offsetof(struct nats_stream_options, max_age_ms),
	 .def = "0s",
	 .min = 0,
	 .max = INT64_MAX / 1000000,
	 .doc = "events older than this are removed; 0s: never"},
	{.key = "max_bytes",
	 .kind = OPTION_SIZE,
	 .offset = offsetof(struct nats_stream_options, max_bytes),
	 .def = "0",
	 .min = 0,
	 .max = INT64_MAX,
	 .doc = "the oldest events are removed beyond this size; 0: no limit"},
	{.key = "duplicate_window",
	 .kind = OPTION_DURATION,
	 .offset = offsetof(struct nats_stream_options, duplicate_window_ms),
	 .def = "0s",
	 .min = 0,
	 .max = INT64_MAX / 1000000,
	 .doc = "an id published twice within it is stored once; 0s: the server's default, 2m"},
	{.key = NULL},
};

const struct option nats_option_table[] = {
	{.key = "servers",
	 .kind = OPTION_STRINGS,
	 .offset = AT(servers),
	 .def = "nats://127.0.0.1:4222",
	 .doc = "one or more servers of one cluster: nats://host:port or tls://host:port"},
	{.key = "connection_name",
	 .kind = OPTION_STRING,
	 .offset = AT(connection_name),
	 .def = "eventbusd",
	 .doc = "how the server lists our connection"},
	{.key = "user", .kind = OPTION_STRING, .offset = AT(user), .doc = "user name"},
	{.key = "password",
	 .kind = OPTION_SECRET,
	 .offset = AT(password),
	 .doc = "password of that user"},
	{.key = "token",
	 .kind = OPTION_SECRET,
	 .offset = AT(token),
	 .doc = "token, instead of a user"},
	{.key = "creds",
	 .kind = OPTION_STRING,
	 .offset = AT(creds),
	 .doc = "credentials file (JWT and seed), instead of a user"},
	{.key = "nkey",
	 .kind = OPTION_STRING,
	 .offset = AT(nkey),
	 .doc = "public user NKey (U...), instead of a user"},
	{.key = "nkey_seed",
	 .kind = OPTION_SECRET,
	 .offset = AT(nkey_seed),
	 .doc = "seed (SU...) of that NKey"},
	{.key = "tls",
	 .kind = OPTION_TABLE,
	 .offset = AT(tls),
	 .table = tls_table,
	 .doc = "encryption"},
	{.key = "stream",
	 .kind = OPTION_STRING,
	 .offset = AT(stream),
	 .def = "events",
	 .doc = "JetStream stream; topic t is its subject <stream>.t"},
	{.key = "domain",
	 .kind = OPTION_STRING,
	 .offset = AT(domain),
	 .doc = "JetStream domain; absent: the server's own"},
	{.key = "create",
	 .kind = OPTION_BOOL,
	 .offset = AT(create),
	 .def = "true",
	 .doc = "create the stream when it does not exist"},
	{.key = "stream_config",
	 .kind = OPTION_TABLE,
	 .offset = AT(stream_config),
	 .table = stream_table,
	 .doc = "how it is created; a stream that exists is kept, a difference is logged"},
	{.key = "in_flight",
	 .kind = OPTION_INT,
	 .offset = AT(in_flight),
	 .def = "4096",
	 .min = 1,
	 .max = 65536,
	 .doc = "most publishes that wait for the server's confirmation at a time"},
	{.key = "connect_timeout",
	 .kind = OPTION_DURATION,
	 .offset = AT(connect_timeout_ms),
	 .def = "2s",
	 .min = 50,
	 .max = 60000,
	 .doc = "longest wait for one server to accept us"},
	{.key = "ping_interval",
	 .kind = OPTION_DURATION,
	 .offset = AT(ping_interval_ms),
	 .def = "10s",
	 .min = 100,
	 .max = 600000,
	 .doc = "the stream is looked at so often; a server silent for two of them is left"},
	{.key = "reconnect_wait",
	 .kind = OPTION_DURATION,
	 .offset = AT(reconnect_wait_ms),
	 .def = "250ms",
	 .min = 10,
	 .max = 60000,
	 .doc = "first pause between attempts to connect; it doubles"},
	{.key = "reconnect_max_wait",
	 .kind = OPTION_DURATION,
	 .offset = AT(reconnect_max_wait_ms),
	 .def = "2s",
	 .min = 10,
	 .max = 600000,
	 .doc = "longest pause between attempts to connect"},
	{.key = "ack_wait",
	 .kind = OPTION_DURATION,
	 .offset = AT(ack_wait_ms),
	 .def = "30s",
	 .min = 1000,
	 .max = 3600000,
	 .doc = "the server hands an event out again when the daemon is silent about it so long"},
	{.key = "owner_lease",
	 .kind = OPTION_DURATION,
	 .offset = AT(owner_lease_ms),
	 .def = "10s",
	 .min = 1000,
	 .max = 600000,
	 .doc = "another daemon takes an ordered group over when its owner is silent so long"},
	{.key = "failures_max_age",
	 .kind = OPTION_DURATION,
	 .offset = AT(failures_max_age_ms),
	 .def = "7d",
	 .min = 60000,
	 .max = INT64_MAX / 1000000,
	 .doc = "recorded failures that nobody removed are forgotten after this"},
	{.key = NULL},
};

static bool name_ok(const char *s)
{
	for (const char *p = s; *p; p++) {
		if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-",
			    *p)) {
			return false;
		}
	}
	return s[0] && strlen(s) <= 64;
}

static int bad(const char **key, const char *which, struct err_text *err, const char *what)
{
	*key = which;
	return err_set(err, EB_EINVAL, "%s", what);
}

/* One of: none, user and password, token, creds, nkey and nkey_seed. */
static int check_credentials(const struct nats_options *o, const char **key, struct err_text *err)
{
	if (!o->user != !o->password) {
		return bad(key, o->user ? "user" : "password", err,
			   "user and password belong together");
	}
	if (!o->nkey != !o->nkey_seed) {
		return bad(key, o->nkey ? "nkey" : "nkey_seed", err,
			   "nkey and nkey_seed belong together");
	}
	if (!!o->user + !!o->token + !!o->creds + !!o->nkey > 1) {
		return bad(key,
			   o->creds  ? "creds"
			   : o->nkey ? "nkey"
				     : "token",
			   err, "only one of user, token, creds and nkey can be used");
	}
	return 0;
}

static int check_servers(const struct nats_options *o, const char **key, struct err_text *err)
{
	if (o->servers.n == 0 || o->servers.n > 64) {
		return bad(key, "servers", err, "must name 1..64 servers");
	}
	for (size_t i = 0; i < o->servers.n; i++) {
		const char *s = o->servers.v[i], *host = strstr(s, "://");

		host = host ? host + 3 : s;
		if (!host[0] || strpbrk(s, " \t\r\n,")) {
			return bad(key, "servers", err, "each must look like nats://host:port");
		}
		if (strchr(host, '@')) {
			return bad(
				key, "servers", err,
				"a server must not carry credentials: it is logged; use user and "
				"password, or token");
		}
		if (host != s && strncmp(s, "nats://", 7) != 0 && strncmp(s, "tls://", 6) != 0) {
			return bad(key, "servers", err, "only nats:// and tls:// are understood");
		}
	}
	return 0;
}

int nats_options_check(const void *options, const char **key, struct err_text *err)
{
	const struct nats_options *o = options;
	int rc = check_servers(o, key, err);

	if (rc == 0) {
		rc = check_credentials(o, key, err);
	}
	if (rc != 0) {
		return rc;
	}
	if (!o->stream || !name_ok(o->stream)) {
		return bad(key, "stream", err, "must be 1..64 letters, digits, _ and -");
	}
	if (o->domain && !name_ok(o->domain)) {
		return bad(key, "domain", err, "must be 1..64 letters, digits, _ and -");
	}
	if (!o->tls.cert != !o->tls.key) {
		return bad(key, o->tls.cert ? "tls.cert" : "tls.key", err,
			   "tls.cert and tls.key belong together");
	}
	if (o->stream_config.duplicate_window_ms && o->stream_config.max_age_ms &&
	    o->stream_config.duplicate_window_ms > o->stream_config.max_age_ms) {
		return bad(key, "stream_config.duplicate_window", err,
			   "must not be longer than stream_config.max_age");
	}
	return 0;
}

void nats_options_warn(const void *options, void (*say)(void *ctx, const char *text), void *ctx)
{
	const struct nats_options *o = options;

	if (o->stream_config.storage == NATS_STORAGE_MEMORY) {
		say(ctx, "broker.nats.stream_config.storage: memory: confirmed events do not "
			 "survive a restart of the server");
	}
}
