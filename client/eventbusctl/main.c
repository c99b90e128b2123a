/* SPDX-License-Identifier: Apache-2.0 */
/* eventbusctl: finds the subcommand. */
#include <string.h>
#include <stdlib.h>
#include <unistd.h>

#include "client/eventbusctl/ctl.h"

static const char usage[] =
	"usage: eventbusctl [--socket PATH] [--json] COMMAND [...]\n"
	"\n"
	"  pub TOPIC [PAYLOAD]   publish and wait for the confirm\n"
	"  sub PATTERN...        subscribe; print events or run a command for each\n"
	"  status                brokers, groups and clients of the daemon\n"
	"  explain TOPIC         the policy in force and where each value comes from\n"
	"  check [FILE]          check a configuration file\n"
	"  bench                 measure\n"
	"\n"
	"  --socket PATH   the daemon's socket (default: $EVENTBUS_SOCKET, then eventbusd.sock in\n"
	"                  $RUNTIME_DIRECTORY, $XDG_RUNTIME_DIR or /run/eventbusd)\n"
	"  --json          one JSON object a line, for scripts\n"
	"  --wait TIME     try this long for the first connection (default 2s)\n"
	"  --version, --help\n"
	"\n"
	"eventbusctl COMMAND --help says more. Exit status: 0 done, 1 failed, 64 called wrongly,\n"
	"69 no daemon, 75 try again.\n";

static const struct command {
	const char *name;
	int (*run)(struct ctl *ctl, int argc, char **argv);
} commands[] = {
	{"pub", pub_main},	   {"sub", sub_main},	  {"status", status_main},
	{"explain", explain_main}, {"check", check_main}, {"bench", bench_main},
};

static bool wants_color(int fd)
{
	const char *no = getenv("NO_COLOR"), *term = getenv("TERM");

	return !(no && *no) && term && strcmp(term, "dumb") != 0 && isatty(fd);
}

/* Named in the interface and not built yet. */
static const char *const later[] = {"top", "lag", "dlq"};

static int unknown(const char *name)
{
	for (size_t i = 0; i < sizeof(later) / sizeof(later[0]); i++) {
		if (strcmp(name, later[i]) == 0) {
			fprintf(stderr, "eventbusctl: %s: not supported by this version\n", name);
			return EX_USAGE;
		}
	}
	fprintf(stderr, "eventbusctl: unknown command \"%s\"; eventbusctl --help lists them\n",
		name);
	return EX_USAGE;
}

static int run(struct ctl *ctl, int argc, char **argv)
{
	char name[40]; /* as getopt says it */

	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (strcmp(argv[0], commands[i].name) == 0) {
			ctl->command = commands[i].name;
			snprintf(name, sizeof(name), "eventbusctl %s", commands[i].name);
			argv[0] = name;
			optind = 0; /* glibc: scan anew */
			return commands[i].run(ctl, argc, argv);
		}
	}
	return unknown(argv[0]);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		CTL_OPTIONS, {"version", no_argument, NULL, 'v'}, {NULL, 0, NULL, 0}};
	struct ctl ctl = {.command = "", .wait_ms = 2000, .usage = usage};
	int opt, status;

	ctl.color = wants_color(STDOUT_FILENO);
	ctl.color_err = wants_color(STDERR_FILENO);
	while ((opt = getopt_long(argc, argv, "+hv", options, NULL)) != -1) {
		if (opt == 'v') {
			printf("eventbusctl %s\n", eventbus_version());
			return 0;
		}
		status = ctl_option(&ctl, opt);
		if (status >= 0) {
			return status;
		}
	}
	if (optind < argc && strcmp(argv[optind], "help") == 0) {
		fputs(usage, stdout);
		return 0;
	}
	if (optind == argc) {
		fputs(usage, stderr);
		return EX_USAGE;
	}
	return run(&ctl, argc - optind, argv + optind);
}
