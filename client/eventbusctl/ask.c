/* SPDX-License-Identifier: Apache-2.0 */
/* status and explain: ask the daemon, show the answer. */
#include <stdlib.h>

#include "client/eventbusctl/ctl.h"

#define ANSWER_MS 10000

typedef void (*show_cb)(const struct ctl *ctl, json_t *json);

static int show(const struct ctl *ctl, struct eventbus *c, int rc, char *text, show_cb print)
{
	json_error_t error;
	json_t *json;
	int status = 0;

	if (rc) {
		status = ctl_fail(ctl, rc == EVENTBUS_EIO ? 1 : EX_TEMPFAIL, "%s",
				  rc == EVENTBUS_ETIMEDOUT ? "the daemon did not answer within 10 s"
							   : eventbus_error_text(c));
		eventbus_destroy(c);
		return status;
	}
	json = json_loads(text, 0, &error);
	if (!json) {
		status = ctl_fail(ctl, 1, "the daemon's answer is no JSON: %s", error.text);
	} else if (ctl->json) {
		status = ctl_print_json(stdout, json_incref(json)) ? 0 : 1;
	} else {
		print(ctl, json);
	}
	json_decref(json);
	free(text);
	eventbus_destroy(c);
	return status;
}

/* Values with their origin: the line of the file, where there is one. */
static void ctl_show_explain(const struct ctl *ctl, json_t *json)
{
	json_t *row;
	size_t i;

	json_array_foreach(json_object_get(json, "values"), i, row)
	{
		if (json_integer_value(json_object_get(row, "line")) == 0) {
			json_object_del(row, "line");
		}
	}
	ctl_render(ctl, json);
}

int status_main(struct ctl *ctl, int argc, char **argv)
{
	static const struct option options[] = {CTL_OPTIONS, {NULL, 0, NULL, 0}};
	struct eventbus *c;
	char *text;
	int opt, status, rc;

	ctl->usage = "usage: eventbusctl status [--json]\n\n"
		     "Brokers, groups with their flows, and clients of the daemon.\n";
	while ((opt = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		status = ctl_option(ctl, opt);
		if (status >= 0) {
			return status;
		}
	}
	if (optind < argc) {
		return ctl_misused(ctl, "unexpected argument \"%s\"", argv[optind]);
	}
	c = ctl_connect(ctl, NULL, &status);
	if (!c) {
		return status;
	}
	rc = eventbus_status_wait(c, ANSWER_MS, &text);
	return show(ctl, c, rc, text, ctl_show_status);
}

int explain_main(struct ctl *ctl, int argc, char **argv)
{
	static const struct option options[] = {
		{"group", required_argument, NULL, 'g'}, CTL_OPTIONS, {NULL, 0, NULL, 0}};
	const char *group = NULL;
	struct eventbus *c;
	char *text;
	int opt, status, rc;

	ctl->usage = "usage: eventbusctl explain TOPIC|PATTERN [--group GROUP] [--json]\n\n"
		     "The policy that is in force, and which line of the file each value comes "
		     "from.\n";
	while ((opt = getopt_long(argc, argv, "g:h", options, NULL)) != -1) {
		if (opt == 'g') {
			group = optarg;
			continue;
		}
		status = ctl_option(ctl, opt);
		if (status >= 0) {
			return status;
		}
	}
	if (argc - optind != 1) {
		return ctl_misused(ctl, "one topic or pattern is needed");
	}
	c = ctl_connect(ctl, NULL, &status);
	if (!c) {
		return status;
	}
	rc = eventbus_explain_wait(c, argv[optind], group, ANSWER_MS, &text);
	return show(ctl, c, rc, text, ctl_show_explain);
}
