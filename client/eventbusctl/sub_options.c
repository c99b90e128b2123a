/* SPDX-License-Identifier: Apache-2.0 */
#include "client/eventbusctl/sub_options.h"

#include <fcntl.h>
#include <string.h>

#include "base/clock.h"

static const char usage[] =
	"usage: eventbusctl sub PATTERN... [options]\n"
	"\n"
	"  --group GROUP         share the events with the other members of the group; without it\n"
	"                        this is a copy of one's own\n"
	"  --start WHERE         where a new group begins: new (default), earliest, time:ISO,\n"
	"                        position:P\n"
	"  --order ORDER         key, topic or none: over the whole group\n"
	"  --count N             end after N events that do not come again\n"
	"  --timeout TIME        end after this time; with --count: exit status 75\n"
	"  --exec COMMAND        run it with /bin/sh for each event, see below\n"
	"  --concurrency N       work on N events at once (default 1)\n"
	"  --lease TIME          how long the daemon waits for a sign of life of each\n"
	"  --max-in-flight N     take at most N events that are not settled\n"
	"  --max-retries N       lower the policy's number of retries\n"
	"  --dead-letter TOPIC   another dead letter topic\n"
	"  --ack WHAT            for printed events: ack (default), none, retry, reject, release,\n"
	"                        drop; --reason TEXT says why\n"
	"  --positions           show positions\n"
	"  --payload             print nothing but the payload\n"
	"  --ready-fd N          write \"subscribed\" to this descriptor when it is so\n"
	"  --quiet               say no states on stderr\n"
	"  --json                one JSON object per event\n"
	"\n"
	"With --exec the payload is the command's stdin; its environment has EVENTBUS_ID, _TOPIC,\n"
	"_KEY, _ATTEMPT, _PUBLISHED_AT, _CONTENT_TYPE, _MESSAGE_TYPE, _GROUP, _POSITION, _EPOCH,\n"
	"_SOCKET and EVENTBUS_METADATA_<KEY>. Its exit status settles the event:\n"
	"  0 acknowledge   65 (EX_DATAERR) reject: to the dead letters now\n"
	"  69 (EX_UNAVAILABLE) give back, does not count   75 (EX_TEMPFAIL) and all others: retry\n"
	"Leases are extended while it runs. SIGINT and SIGTERM let running commands finish; a\n"
	"second one ends them and gives their events back.\n";

enum {
	GROUP = 1,
	START,
	ORDER,
	COUNT,
	TIMEOUT,
	EXEC,
	CONCURRENCY,
	LEASE,
	IN_FLIGHT,
	RETRIES,
	DEAD_LETTER,
	ACK,
	REASON,
	POSITIONS,
	PAYLOAD,
	READY_FD,
	QUIET,
};

static const struct option options[] = {
	{"group", required_argument, NULL, GROUP},
	{"start", required_argument, NULL, START},
	{"order", required_argument, NULL, ORDER},
	{"count", required_argument, NULL, COUNT},
	{"timeout", required_argument, NULL, TIMEOUT},
	{"exec", required_argument, NULL, EXEC},
	{"concurrency", required_argument, NULL, CONCURRENCY},
	{"lease", required_argument, NULL, LEASE},
	{"max-in-flight", required_argument, NULL, IN_FLIGHT},
	{"max-retries", required_argument, NULL, RETRIES},
	{"dead-letter", required_argument, NULL, DEAD_LETTER},
	{"ack", required_argument, NULL, ACK},
	{"reason", required_argument, NULL, REASON},
	{"positions", no_argument, NULL, POSITIONS},
	{"payload", no_argument, NULL, PAYLOAD},
	{"ready-fd", required_argument, NULL, READY_FD},
	{"quiet", no_argument, NULL, QUIET},
	CTL_OPTIONS,
	{NULL, 0, NULL, 0},
};

static int start(const struct ctl *ctl, struct eventbus_subscribe *s, const char *text)
{
	if (strcmp(text, "new") == 0) {
		s->start = EVENTBUS_START_NEW;
	} else if (strcmp(text, "earliest") == 0) {
		s->start = EVENTBUS_START_EARLIEST;
	} else if (strncmp(text, "position:", 9) == 0) {
		s->start = EVENTBUS_START_POSITION;
		s->start_position = text + 9;
	} else if (strncmp(text, "time:", 5) == 0 &&
		   clock_parse_iso(text + 5, &s->start_time_ms) == 0) {
		s->start = EVENTBUS_START_TIME;
	} else {
		return ctl_misused(ctl,
				   "--start: \"%s\": write new, earliest, "
				   "time:2026-01-31T12:00:00Z or position:P",
				   text);
	}
	return 0;
}

struct word {
	const char *name;
	int value;
};

static int word(const struct ctl *ctl, const char *option, const char *text,
		const struct word *words, int *out)
{
	for (const struct word *w = words; w->name; w++) {
		if (strcmp(w->name, text) == 0) {
			*out = w->value;
			return 0;
		}
	}
	return ctl_misused(ctl, "%s: \"%s\" is unknown", option, text);
}

static int order(const struct ctl *ctl, struct eventbus_subscribe *s, const char *text)
{
	static const struct word words[] = {{"none", EVENTBUS_ORDER_NONE},
					    {"key", EVENTBUS_ORDER_KEY},
					    {"topic", EVENTBUS_ORDER_TOPIC},
					    {NULL, 0}};
	int value = 0, status = word(ctl, "--order", text, words, &value);

	s->order = (enum eventbus_order)value;
	return status;
}

static int ack(const struct ctl *ctl, struct sub_options *o, const char *text)
{
	static const struct word words[] = {{"ack", SUB_ACK},
					    {"none", SUB_ACK_NONE},
					    {"retry", EVENTBUS_RETRY},
					    {"reject", EVENTBUS_REJECT},
					    {"release", EVENTBUS_RELEASE},
					    {"drop", EVENTBUS_DROP},
					    {NULL, 0}};

	return word(ctl, "--ack", text, words, &o->ack);
}

static int number32(const struct ctl *ctl, const char *option, int64_t min, int64_t max,
		    uint32_t *out)
{
	int64_t v = 0;
	int status = ctl_number(ctl, option, optarg, min, max, &v);

	*out = (uint32_t)v;
	return status;
}

static int ready_fd(const struct ctl *ctl, struct sub_options *o)
{
	int64_t v = -1;
	int status = ctl_number(ctl, "--ready-fd", optarg, 0, 1 << 20, &v);

	if (status == 0 && fcntl((int)v, F_SETFD, FD_CLOEXEC) != 0) {
		return ctl_misused(ctl, "--ready-fd: %s is not open", optarg);
	}
	o->ready_fd = (int)v;
	return status;
}

/* -1: go on. */
static int set(struct ctl *ctl, struct sub_options *o, int opt)
{
	struct eventbus_subscribe *s = &o->subscribe;
	int status = 0;

	switch (opt) {
	case GROUP:
		s->group = optarg;
		break;
	case START:
		status = start(ctl, s, optarg);
		break;
	case ORDER:
		status = order(ctl, s, optarg);
		break;
	case COUNT:
		status = ctl_number(ctl, "--count", optarg, 1, INT64_MAX, &o->count);
		break;
	case TIMEOUT:
		status = ctl_duration(ctl, "--timeout", optarg, &o->timeout_ms);
		break;
	case EXEC:
		o->command = optarg;
		break;
	case CONCURRENCY:
		status = number32(ctl, "--concurrency", 1, 1024, &s->concurrency);
		break;
	case LEASE:
		status = ctl_duration(ctl, "--lease", optarg, &s->lease_ms);
		break;
	case IN_FLIGHT:
		status = number32(ctl, "--max-in-flight", 1, UINT32_MAX, &s->max_in_flight_events);
		break;
	case RETRIES:
		s->set_max_retries = true;
		status = number32(ctl, "--max-retries", 0, UINT32_MAX, &s->max_retries);
		break;
	case DEAD_LETTER:
		s->dead_letter_topic = optarg;
		break;
	case ACK:
		status = ack(ctl, o, optarg);
		break;
	case REASON:
		o->reason = optarg;
		break;
	case POSITIONS:
		s->positions = true;
		break;
	case PAYLOAD:
		o->payload_only = true;
		break;
	case READY_FD:
		status = ready_fd(ctl, o);
		break;
	case QUIET:
		o->quiet = true;
		break;
	default:
		return ctl_option(ctl, opt);
	}
	return status ? status : -1;
}

int sub_options_read(struct ctl *ctl, struct sub_options *o, int argc, char **argv)
{
	int opt, status;

	*o = (struct sub_options){.ready_fd = -1};
	ctl->usage = usage;
	while ((opt = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		status = set(ctl, o, opt);
		if (status >= 0) {
			return status;
		}
	}
	if (optind == argc) {
		return ctl_misused(ctl, "a pattern is needed");
	}
	if (o->command && (o->ack != SUB_ACK || o->payload_only)) {
		return ctl_misused(ctl, "--exec settles by exit status: no --ack, no --payload");
	}
	o->subscribe.patterns = (const char *const *)(argv + optind);
	o->subscribe.pattern_count = (size_t)(argc - optind);
	return -1;
}
