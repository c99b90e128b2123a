/* SPDX-License-Identifier: Apache-2.0 */
/* SIGHUP: load, check, compare, apply. A file that is wrong or needs a restart changes nothing. */
#include "daemon/daemon_impl.h"

static void log_errors(const char *what, struct config_errors *errors)
{
	size_t i;

	for (i = 0; i < errors->n; i++) {
		log_error("config", "%s: %s", what, errors->v[i]);
	}
	config_errors_free(errors);
}

static void on_old_config_free(void *ctx)
{
	config_free(ctx);
}

static void apply(struct daemon *d, struct config *next)
{
	struct config *old = d->config;

	d->config = next;
	d->budget.limit = (size_t)next->limits.memory;
	log_setup((enum log_level)next->log.level, (enum log_format)next->log.format);
	sessions_reload(d->sessions, next);
	bus_reload(d->bus, next, on_old_config_free, old);
}

static void reload(struct daemon *d)
{
	struct config_errors errors = {NULL, 0}, changes = {NULL, 0};
	struct config *next = NULL;
	size_t i;

	if (!d->config->file) {
		log_warn("config", "reload: there is no configuration file");
		return;
	}
	if (config_load(d->config->file, daemon_broker_kinds(), &next, &errors) != 0) {
		log_errors("reload refused, nothing changed", &errors);
		return;
	}
	if (config_diff(d->config, next, &changes, &errors) != 0) {
		log_errors("reload refused, needs a restart", &errors);
		config_errors_free(&changes);
		config_free(next);
		return;
	}
	for (i = 0; i < changes.n; i++) {
		log_info("config", "changed: %s", changes.v[i]);
	}
	log_info("config", "reloaded file=%s changes=%zu", next->file, changes.n);
	config_errors_free(&changes);
	config_errors_free(&errors);
	apply(d, next);
}

void daemon_on_hup(uv_signal_t *handle, int sig)
{
	struct daemon *d = handle->data;

	(void)sig;
	if (d->stage != STAGE_RUN) {
		return;
	}
	notify_reloading();
	reload(d);
	notify_ready(NULL);
}
