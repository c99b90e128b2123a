/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the subcommands of eventbusctl share. A subcommand is `int name_main(struct ctl *, int argc,
 * char **argv)`, argv[0] is its name, and returns the exit status: 0 done, 1 refused or failed for
 * good, 64 (EX_USAGE) called wrongly, 69 (EX_UNAVAILABLE) no daemon, 75 (EX_TEMPFAIL) worth trying
 * again. Results go to stdout, everything else to stderr.
 */
#ifndef CLIENT_EVENTBUSCTL_CTL_H
#define CLIENT_EVENTBUSCTL_CTL_H

#include <getopt.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sysexits.h>

#include "client/eventbus.h"

struct ctl {
	const char *command;
	const char *socket; /* NULL: the default */
	bool json;	    /* one JSON object a line on stdout, for scripts */
	bool color, color_err;
	int64_t wait_ms;   /* how long to try for the first connection */
	const char *usage; /* of the subcommand, set by it */
};

enum paint { PLAIN, BOLD, DIM, RED, GREEN, YELLOW, CYAN };
/* Escape sequences for stdout and for stderr; "" when colours are off. */
const char *ctl_paint(const struct ctl *ctl, enum paint p);
const char *ctl_paint_err(const struct ctl *ctl, enum paint p);

/* ---- options ------------------------------------------------------------------- */

/* The options that every subcommand knows; put it before the table's end. */
#define CTL_OPTIONS                                                                                \
	{"socket", required_argument, NULL, CTL_SOCKET}, {"json", no_argument, NULL, CTL_JSON},    \
		{"wait", required_argument, NULL, CTL_WAIT},                                       \
	{                                                                                          \
		"help", no_argument, NULL, 'h'                                                     \
	}
enum { CTL_SOCKET = 1000, CTL_JSON, CTL_WAIT };

/*
 * For the default of a getopt switch: -1 when opt was one of CTL_OPTIONS and was fine, else the
 * exit status (a wrong option, or 0 after --help).
 */
int ctl_option(struct ctl *ctl, int opt);
/* "usage: ..." on stderr; returns EX_USAGE. */
int ctl_misused(const struct ctl *ctl, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* 250ms, 5s, 2m, 1h, 7d; a bare number means seconds. 0, or the exit status after saying so. */
int ctl_duration(const struct ctl *ctl, const char *option, const char *text, int64_t *ms);
int ctl_number(const struct ctl *ctl, const char *option, const char *text, int64_t min,
	       int64_t max, int64_t *out);
int ctl_size(const struct ctl *ctl, const char *option, const char *text, int64_t *bytes);

/* ---- saying --------------------------------------------------------------------- */

/* "eventbusctl pub: text" on stderr, or {"error": text}; returns status. */
int ctl_fail(const struct ctl *ctl, int status, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void ctl_warn(const struct ctl *ctl, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* One line; takes the reference. False when stdout is gone. */
bool ctl_print_json(FILE *out, json_t *json);
/* Bytes with control characters and what is not UTF-8 as \xHH: safe on a terminal. */
void ctl_print_bytes(FILE *out, const void *bytes, size_t n);
/* JSON as key: value lines and tables, for people. */
void ctl_render(const struct ctl *ctl, const json_t *json);
/* The daemon's status, the most important of it. */
void ctl_show_status(const struct ctl *ctl, json_t *status);

/* ---- the daemon ------------------------------------------------------------------- */

/* A client that is connected, or NULL after saying why; *status is the exit status then. */
struct eventbus *ctl_connect(const struct ctl *ctl, const struct eventbus_options *o, int *status);
/* The exit status for an answer. */
int ctl_outcome_status(enum eventbus_outcome o);

int pub_main(struct ctl *ctl, int argc, char **argv);
int sub_main(struct ctl *ctl, int argc, char **argv);
int status_main(struct ctl *ctl, int argc, char **argv);
int explain_main(struct ctl *ctl, int argc, char **argv);
int check_main(struct ctl *ctl, int argc, char **argv);
int bench_main(struct ctl *ctl, int argc, char **argv);

#endif
