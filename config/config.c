/* SPDX-License-Identifier: Apache-2.0 */
#include "config/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "config/access.h"
#include "config/bind.h"
#include "config/broker.h"
#include "config/check.h"
#include "config/document.h"
#include "config/rules.h"
#include "config/tables.h"

/* What a load carries about. */
struct load {
	struct config *config;
	const struct config_broker_kind *const *kinds;
	struct report report;
	size_t rule_problems;
};

static struct config *config_create(const char *file)
{
	struct config *c = xcalloc(1, sizeof(*c));

	c->file = file ? xstrdup(file) : NULL;
	bind_defaults(config_options, c);
	c->rules = rules_create();
	return c;
}

void config_free(struct config *c)
{
	if (!c) {
		return;
	}
	broker_free(c);
	access_free(c);
	rules_destroy(c->rules);
	option_free(option_find(config_options, "socket")->table, &c->socket);
	if (c->marks) {
		marks_finish(c->marks);
	}
	free(c->marks);
	free(c->file);
	free(c);
}

/* The sections that are more than a table. */
static void on_section(struct bind *b, const struct path *path, const struct option *o,
		       const struct node *node)
{
	struct load *l = b->ctx;
	size_t before = l->report.n;

	if (strcmp(o->key, "broker") == 0) {
		broker_bind(l->config, l->kinds, b->report, path, node);
	} else if (strcmp(o->key, "defaults") == 0) {
		rules_bind_defaults(l->config->rules, b->report, path, node);
		l->rule_problems += l->report.n - before;
	} else if (strcmp(o->key, "topics") == 0) {
		rules_bind_topics(l->config->rules, b->report, path, node);
		l->rule_problems += l->report.n - before;
	} else {
		access_bind(l->config, b->report, path, node);
	}
}

/* Hands the configuration or the problems out. */
static int finish(struct load *l, struct config **out, struct config_errors *errors, int rc)
{
	*out = NULL;
	if (!rc && l->report.n == 0) {
		*out = l->config;
	} else {
		report_take(&l->report, errors);
		config_free(l->config);
		rc = rc ? rc : EB_EINVAL;
	}
	report_finish(&l->report);
	return rc;
}

int config_load_text(const char *name, const char *text, size_t n,
		     const struct config_broker_kind *const *kinds, struct config **out,
		     struct config_errors *errors)
{
	struct load l = {.config = config_create(name), .kinds = kinds};
	struct bind b = {.report = &l.report, .target = l.config, .custom = on_section, .ctx = &l};
	struct document d;
	int rc;

	report_init(&l.report, name);
	b.marks = l.config->marks = xcalloc(1, sizeof(*l.config->marks));
	rc = document_parse(&d, text, n, &l.report);
	if (!rc && d.root) {
		bind_map(&b, NULL, d.root, config_options, 0);
	}
	document_finish(&d);
	if (!rc && !l.config->brokers) {
		broker_default(l.config, kinds[0]);
	}
	if (!rc) {
		config_check(l.config, l.rule_problems == 0, &l.report);
	}
	return finish(&l, out, errors, rc);
}

/* The file, at most one byte more than is allowed. 0, or EB_EIO with errno. */
static int read_file(const char *file, char **text, size_t *n)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	ssize_t got = -1;

	if (fd < 0) {
		return EB_EIO;
	}
	*text = xmalloc(DOCUMENT_MAX_BYTES + 1);
	*n = 0;
	while (*n <= DOCUMENT_MAX_BYTES) {
		got = read(fd, *text + *n, DOCUMENT_MAX_BYTES + 1 - *n);
		if (got == 0 || (got < 0 && errno != EINTR)) {
			break;
		}
		*n += got > 0 ? (size_t)got : 0;
	}
	int saved = errno;
	close(fd);
	errno = saved;
	if (got < 0) {
		free(*text);
		return EB_EIO;
	}
	return 0;
}

int config_load(const char *file, const struct config_broker_kind *const *kinds,
		struct config **out, struct config_errors *errors)
{
	char *text;
	size_t n;
	int rc;

	if (!file) {
		*out = config_create(NULL);
		broker_default(*out, kinds[0]);
		return 0;
	}
	if (read_file(file, &text, &n)) {
		*out = NULL;
		lines_add(errors, "%s: cannot be read: %s", file, strerror(errno));
		return EB_EIO;
	}
	rc = config_load_text(file, text, n, kinds, out, errors);
	explicit_bzero(text, n);
	free(text);
	return rc;
}

char *config_socket_path(const struct config *c)
{
	const char *dir = getenv("RUNTIME_DIRECTORY");
	int n;

	if (c->socket.path) {
		return xstrdup(c->socket.path);
	}
	if (!dir || !*dir) {
		dir = getenv("XDG_RUNTIME_DIR");
	}
	if (!dir || !*dir) {
		dir = "/run/eventbusd";
	}
	/* systemd separates several runtime directories by colons. */
	n = (int)strcspn(dir, ":");
	return xasprintf("%.*s/eventbusd.sock", n, dir);
}
