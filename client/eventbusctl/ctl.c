/* SPDX-License-Identifier: Apache-2.0 */
#include "client/eventbusctl/ctl.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

static const char *const codes[] = {
	[PLAIN] = "\033[0m",  [BOLD] = "\033[1m",    [DIM] = "\033[2m",	  [RED] = "\033[31m",
	[GREEN] = "\033[32m", [YELLOW] = "\033[33m", [CYAN] = "\033[36m",
};

const char *ctl_paint(const struct ctl *ctl, enum paint p)
{
	return ctl->color ? codes[p] : "";
}

const char *ctl_paint_err(const struct ctl *ctl, enum paint p)
{
	return ctl->color_err ? codes[p] : "";
}

/* ---- options --------------------------------------------------------------------- */

int ctl_option(struct ctl *ctl, int opt)
{
	switch (opt) {
	case CTL_SOCKET:
		ctl->socket = optarg;
		return -1;
	case CTL_JSON:
		ctl->json = true;
		return -1;
	case CTL_WAIT: {
		int status = ctl_duration(ctl, "--wait", optarg, &ctl->wait_ms);

		return status ? status : -1;
	}
	case 'h':
		fputs(ctl->usage, stdout);
		return 0;
	default: /* getopt said what is wrong */
		fputs(ctl->usage, stderr);
		return EX_USAGE;
	}
}

int ctl_misused(const struct ctl *ctl, const char *fmt, ...)
{
	va_list args;

	fprintf(stderr, "eventbusctl %s: ", ctl->command);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fprintf(stderr, "\n%s", ctl->usage);
	return EX_USAGE;
}

struct unit {
	const char *name;
	double factor;
};

/* A number and one of the units, the first of which is meant when none is there. */
static int quantity(const char *text, const struct unit *units, int64_t *out)
{
	char *end;
	double v;

	errno = 0;
	v = strtod(text, &end);
	if (errno || end == text || !(v >= 0)) {
		return -1;
	}
	for (const struct unit *u = units; u->name; u++) {
		if (strcmp(end, u->name) == 0 || *end == '\0') {
			v *= u->factor;
			if (v > 9e15) {
				return -1;
			}
			*out = (int64_t)(v + 0.5);
			return 0;
		}
	}
	return -1;
}

int ctl_duration(const struct ctl *ctl, const char *option, const char *text, int64_t *ms)
{
	static const struct unit units[] = {{"s", 1e3},	  {"ms", 1},	 {"m", 6e4},
					    {"h", 3.6e6}, {"d", 8.64e7}, {NULL, 0}};

	return quantity(text, units, ms) == 0
		       ? 0
		       : ctl_misused(ctl, "%s: \"%s\" is no time: write 250ms, 5s or 2m", option,
				     text);
}

int ctl_size(const struct ctl *ctl, const char *option, const char *text, int64_t *bytes)
{
	static const struct unit units[] = {{"", 1},	  {"KiB", 1024},   {"MiB", 1048576},
					    {"kB", 1000}, {"MB", 1000000}, {NULL, 0}};

	return quantity(text, units, bytes) == 0
		       ? 0
		       : ctl_misused(ctl, "%s: \"%s\" is no size: write 512, 64KiB or 4MiB", option,
				     text);
}

int ctl_number(const struct ctl *ctl, const char *option, const char *text, int64_t min,
	       int64_t max, int64_t *out)
{
	char *end;
	long long v;

	errno = 0;
	v = strtoll(text, &end, 10);
	if (errno || end == text || *end || v < min || v > max) {
		return ctl_misused(ctl, "%s: \"%s\" is no number from %lld to %lld", option, text,
				   (long long)min, (long long)max);
	}
	*out = v;
	return 0;
}

/* ---- saying ------------------------------------------------------------------------ */

static void say(const struct ctl *ctl, const char *key, enum paint p, const char *fmt, va_list args)
{
	char text[1024];

	vsnprintf(text, sizeof(text), fmt, args);
	if (ctl->json) {
		ctl_print_json(stderr, json_pack("{s:s%}", key, text, strlen(text)));
	} else {
		fprintf(stderr, "%seventbusctl %s:%s %s\n", ctl_paint_err(ctl, p), ctl->command,
			ctl_paint_err(ctl, PLAIN), text);
	}
}

int ctl_fail(const struct ctl *ctl, int status, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	say(ctl, "error", RED, fmt, args);
	va_end(args);
	return status;
}

void ctl_warn(const struct ctl *ctl, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	say(ctl, "warning", YELLOW, fmt, args);
	va_end(args);
}

bool ctl_print_json(FILE *out, json_t *json)
{
	bool ok = json && json_dumpf(json, out, JSON_COMPACT) == 0 && putc('\n', out) != EOF;

	json_decref(json);
	return fflush(out) == 0 && ok;
}

void ctl_print_bytes(FILE *out, const void *bytes, size_t n)
{
	const uint8_t *p = bytes, *end = p + n;

	while (p < end) {
		size_t one = utf8_char(p, (size_t)(end - p));

		if (one == 0 || !utf8_printable(slice_of(p, one))) {
			fprintf(out, *p == '\t' ? "\t" : *p == '\n' ? "\\n" : "\\x%02x", *p);
			p++;
		} else {
			fwrite(p, 1, one, out);
			p += one;
		}
	}
}

/* ---- the daemon ----------------------------------------------------------------------- */

struct eventbus *ctl_connect(const struct ctl *ctl, const struct eventbus_options *o, int *status)
{
	struct eventbus_options options = o ? *o : (struct eventbus_options){0};
	struct eventbus *c;
	int rc;

	options.socket = ctl->socket;
	options.name = options.name ? options.name : "eventbusctl";
	rc = eventbus_create(&options, &c);
	if (rc) {
		*status = ctl_fail(ctl, EX_USAGE, "the socket's path is empty or too long");
		return NULL;
	}
	rc = eventbus_connect_wait(c, ctl->wait_ms > INT32_MAX ? -1 : (int)ctl->wait_ms);
	if (rc) {
		*status = ctl_fail(ctl, EX_UNAVAILABLE, "%s", eventbus_error_text(c));
		eventbus_destroy(c);
		return NULL;
	}
	return c;
}

int ctl_outcome_status(enum eventbus_outcome o)
{
	switch (o) {
	case EVENTBUS_STORED:
		return 0;
	case EVENTBUS_PERMANENT:
		return 1;
	default:
		return EX_TEMPFAIL;
	}
}
