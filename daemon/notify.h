/* SPDX-License-Identifier: Apache-2.0 */
/* What the service manager is told (sd_notify). Without $NOTIFY_SOCKET every call does nothing. */
#ifndef DAEMON_NOTIFY_H
#define DAEMON_NOTIFY_H

#include <stdint.h>

/* Status may be NULL: then only the state changes. */
void notify_ready(const char *status);
void notify_reloading(void); /* with MONOTONIC_USEC, for Type=notify-reload */
void notify_stopping(const char *status);
void notify_status(const char *status);
void notify_watchdog(void);
/* How often notify_watchdog is wanted, in ms (half of WatchdogSec); 0: not at all. */
uint64_t notify_watchdog_ms(void);

#endif
