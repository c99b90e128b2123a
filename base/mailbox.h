/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one place where threads meet the loop: a locked list and a uv_async_t.
 * Posting wakes the loop only when the list was empty; the loop takes the whole
 * list at once and calls out without the lock.
 */
#ifndef BASE_MAILBOX_H
#define BASE_MAILBOX_H

#include <uv.h>

#include "base/list.h"

struct mailbox;

/* Loop thread; all that was posted since the last call, oldest first, in posts (embedded links). */
typedef void (*mailbox_cb)(void *ctx, struct list *posts);

/* Loop thread. Aborts only if uv_async_init does. */
struct mailbox *mailbox_create(uv_loop_t *loop, mailbox_cb cb, void *ctx);
/* Any thread. Takes ownership of *post until the callback hands it over. False after mailbox_close.
 */
bool mailbox_post(struct mailbox *m, struct list *post);
/*
 * Loop thread, after every posting thread was joined or promised silence: what is
 * still inside is handed to cb first; then closed(ctx) comes, in a later turn, and m is gone.
 */
void mailbox_close(struct mailbox *m, void (*closed)(void *ctx));

#endif
