/* SPDX-License-Identifier: Apache-2.0 */
/* The arguments of sub. */
#ifndef CLIENT_EVENTBUSCTL_SUB_OPTIONS_H
#define CLIENT_EVENTBUSCTL_SUB_OPTIONS_H

#include "client/eventbusctl/ctl.h"

/* What becomes of an event that was printed; the others are enum eventbus_class. */
enum { SUB_ACK = 0, SUB_ACK_NONE = -1 };

struct sub_options {
	struct eventbus_subscribe subscribe; /* everything but the callbacks; borrows argv */
	const char *command;		     /* --exec, or NULL: print */
	int ack;
	const char *reason; /* for a nack */
	bool payload_only, quiet;
	int64_t count, timeout_ms; /* 0: no end */
	int ready_fd;		   /* -1: none */
};

/* -1: go on, else the exit status. */
int sub_options_read(struct ctl *ctl, struct sub_options *o, int argc, char **argv);

#endif
