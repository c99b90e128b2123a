/* SPDX-License-Identifier: Apache-2.0 */
/* eventbusd: arguments and the configuration file. Everything else is daemon.c's. */
#include <malloc.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/worker.h"
#include "daemon/daemon.h"

#define DEFAULT_FILE "/etc/eventbusd/eventbusd.yaml"

static const char usage[] =
	"usage: eventbusd [--config FILE] [--check [FILE]] [--version] [--help]\n"
	"\n"
	"  -c, --config FILE  the configuration; without it " DEFAULT_FILE "\n"
	"                     if that exists, else built-in values (memory broker)\n"
	"      --check        load and check the configuration, say what is wrong or weak, exit\n"
	"      --version      print the version and exit\n"
	"  -h, --help         this text\n"
	"\n"
	"Signals: TERM and INT drain and stop (a second one stops at once), HUP reloads.\n";

struct arguments {
	const char *file; /* NULL: built-in values */
	bool check;
};

static bool is(const char *arg, const char *name, const char *short_name)
{
	return strcmp(arg, name) == 0 || (short_name && strcmp(arg, short_name) == 0);
}

static int misused(const char *what, const char *arg)
{
	fprintf(stderr, "eventbusd: %s%s\n%s", what, arg, usage);
	return EX_USAGE;
}

/* -1: go on; otherwise the exit status. */
static int parse(int argc, char **argv, struct arguments *a)
{
	int i;

	for (i = 1; i < argc; i++) {
		const char *arg = argv[i];

		if (is(arg, "--version", NULL)) {
			puts("eventbusd " EVENTBUS_VERSION);
			return EX_OK;
		}
		if (is(arg, "--help", "-h")) {
			fputs(usage, stdout);
			return EX_OK;
		}
		if (is(arg, "--check", NULL)) {
			a->check = true;
		} else if (strncmp(arg, "--config=", 9) == 0) {
			a->file = arg + 9;
		} else if (is(arg, "--config", "-c")) {
			if (++i == argc) {
				return misused("a file is missing behind ", arg);
			}
			a->file = argv[i];
		} else if (a->check && !a->file && arg[0] != '-') {
			a->file = arg;
		} else {
			return misused("unknown argument ", arg);
		}
	}
	if (!a->file && access(DEFAULT_FILE, F_OK) == 0) {
		a->file = DEFAULT_FILE;
	}
	return -1;
}

static int load(const char *file, struct config **out)
{
	struct config_errors errors = {NULL, 0};
	int rc = config_load(file, daemon_broker_kinds(), out, &errors);
	size_t i;

	for (i = 0; i < errors.n; i++) {
		fprintf(stderr, "%s\n", errors.v[i]);
	}
	config_errors_free(&errors);
	return rc == 0 ? EX_OK : rc == EB_EIO ? EX_NOINPUT : EX_CONFIG;
}

static void print_warning(void *ctx, const char *text)
{
	const struct config *c = ctx;

	fprintf(stderr, "%s: warning: %s\n", c->file ? c->file : "(built in)", text);
}

/* A small daemon that hands memory back: few arenas, no hoarding. */
static void tame_malloc(void)
{
	mallopt(M_ARENA_MAX, 2);
	mallopt(M_MMAP_THRESHOLD, 1 << 20);
	mallopt(M_TRIM_THRESHOLD, 2 << 20);
	mallopt(M_TOP_PAD, 1 << 20);
}

int main(int argc, char **argv)
{
	struct arguments a = {NULL, false};
	struct config *config = NULL;
	int rc;

	tame_malloc();
	rc = parse(argc, argv, &a);
	if (rc != -1) {
		return rc;
	}
	rc = load(a.file, &config);
	if (rc != EX_OK) {
		return rc;
	}
	if (a.check) {
		daemon_warn(config, print_warning, config);
		puts("ok");
		config_free(config);
		return EX_OK;
	}
	rc = daemon_run(config);
	if (worker_left_behind()) {
		_exit(rc);
	}
	return rc;
}
