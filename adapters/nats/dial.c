/* SPDX-License-Identifier: Apache-2.0 */
/* What the library is told before it connects, and what it says when that fails, in plain words. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "adapters/nats/nats.h"
#include "base/mem.h"

/* A thread of the library, while it connects. It frees *custom_error. */
static natsStatus on_sign(char **custom_error, unsigned char **signature, int *n, const char *nonce,
			  void *closure)
{
	const char *seed = closure;
	const natsStatus s = nats_Sign(seed, nonce, signature, n);

	if (s != NATS_OK) {
		*custom_error = xstrdup("nkey_seed is not an NKey seed (SU...)");
	}
	return s;
}

static natsStatus set_servers(struct nats_adapter *a, natsOptions *opts)
{
	const struct option_strings *s = &a->options->servers;
	const size_t n = s->n + (size_t)a->n_discovered;
	const char **v = xcalloc(n, sizeof(*v));
	natsStatus rc;

	for (size_t i = 0; i < n; i++) {
		v[i] = i < s->n ? s->v[i] : a->discovered[i - s->n];
	}
	rc = natsOptions_SetServers(opts, v, (int)n);
	free(v);
	return rc;
}

static bool wants_tls(const struct nats_options *o)
{
	for (size_t i = 0; i < o->servers.n; i++) {
		if (strncmp(o->servers.v[i], "tls://", 6) == 0) {
			return true;
		}
	}
	return o->tls.enabled;
}

static natsStatus set_tls(const struct nats_options *o, natsOptions *opts)
{
	const struct nats_tls_options *t = &o->tls;
	natsStatus s = NATS_OK;

	if (!wants_tls(o)) {
		return s;
	}
	s = natsOptions_SetSecure(opts, true);
	if (s == NATS_OK && t->ca) {
		s = natsOptions_LoadCATrustedCertificates(opts, t->ca);
	}
	if (s == NATS_OK && t->cert) {
		s = natsOptions_LoadCertificatesChain(opts, t->cert, t->key);
	}
	if (s == NATS_OK && t->server_name) {
		s = natsOptions_SetExpectedHostname(opts, t->server_name);
	}
	if (s == NATS_OK && t->ciphers) {
		s = natsOptions_SetCiphers(opts, t->ciphers);
	}
	if (s == NATS_OK && t->insecure) {
		s = natsOptions_SkipServerVerification(opts, true);
	}
	return s;
}

static natsStatus set_credentials(const struct nats_options *o, natsOptions *opts, char **seed)
{
	if (o->creds) {
		return natsOptions_SetUserCredentialsFromFiles(opts, o->creds, NULL);
	}
	if (o->nkey) {
		*seed = xstrdup(o->nkey_seed);
		return natsOptions_SetNKey(opts, o->nkey, on_sign, *seed);
	}
	if (o->token) {
		return natsOptions_SetToken(opts, o->token);
	}
	return o->user ? natsOptions_SetUserInfo(opts, o->user, o->password) : NATS_OK;
}

/* The library neither reconnects nor pings: conn.c does, see there. */
static natsStatus set_behaviour(const struct nats_options *o, natsOptions *opts)
{
	natsStatus s = natsOptions_SetAllowReconnect(opts, false);

	if (s == NATS_OK) {
		s = natsOptions_SetPingInterval(opts, 0);
	}
	if (s == NATS_OK) {
		s = natsOptions_SetSendAsap(opts, true);
	}
	if (s == NATS_OK) {
		s = natsOptions_SetIOBufSize(opts, NATS_IO_BUFFER);
	}
	if (s == NATS_OK) {
		s = natsOptions_SetTimeout(opts, o->connect_timeout_ms);
	}
	if (s == NATS_OK) {
		s = natsOptions_SetName(opts, o->connection_name);
	}
	return s;
}

natsStatus dial_options(struct nats_adapter *a, natsOptions *opts, char **seed)
{
	natsStatus s = set_servers(a, opts);

	if (s == NATS_OK) {
		s = set_behaviour(a->options, opts);
	}
	if (s == NATS_OK) {
		s = set_tls(a->options, opts);
	}
	return s == NATS_OK ? set_credentials(a->options, opts, seed) : s;
}

/* "(conn.c:1905): what" -> "what": where in the library it happened helps nobody. */
static const char *without_place(const char *text)
{
	const char *p = text;

	if (*p != '(') {
		return text;
	}
	while (*p && *p != ')' && !isspace((unsigned char)*p)) {
		p++;
	}
	return strncmp(p, "): ", 3) == 0 ? p + 3 : text;
}

void dial_explain(natsStatus s, char *out, size_t size)
{
	const char *status = natsStatus_GetText(s), *last = nats_GetLastError(NULL);
	const char *more = last ? without_place(last) : status;

	if (strcmp(more, status) == 0) {
		snprintf(out, size, "%s", status);
	} else {
		snprintf(out, size, "%s: %s", status, more);
	}
}
