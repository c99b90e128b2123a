/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Unix socket that clients connect to: made by us, or handed over by the service manager
 * (socket activation). A socket file that nobody listens on any more is replaced; one that answers
 * is another daemon and an error. The file has its mode and group before anyone can connect.
 */
#ifndef DAEMON_LISTENER_H
#define DAEMON_LISTENER_H

#include <stdint.h>
#include <uv.h>

#include "base/err.h"

struct listener;

struct listener_options {
	uv_loop_t *loop;
	const char *path;  /* with socket activation only for messages */
	uint32_t mode;	   /* 0660 */
	const char *group; /* NULL: as the process */
	/* Someone connects: uv_accept(server, ...) now. */
	void (*on_connection)(void *ctx, uv_stream_t *server);
	void *ctx;
};

/* Where the socket from the service manager is, the caller's to free; NULL when there is none.
 * Before listener_create. */
char *listener_inherited_path(void);
/* 0, or EB_EIO / EB_EEXIST (another daemon has it) / EB_EINVAL with the text filled. */
int listener_create(const struct listener_options *o, struct listener **out, struct err_text *err);
/* Where it listens, for the log. */
const char *listener_path(const struct listener *l);
/* Nobody can connect any more; removes the file if it is still ours. l is gone afterwards; its
 * handle closes in a later turn. Accepts NULL. */
void listener_close(struct listener *l);

#endif
