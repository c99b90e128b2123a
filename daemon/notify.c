/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/notify.h"

#include <systemd/sd-daemon.h>
#include <time.h>

static void with_status(const char *state, const char *status)
{
	if (status) {
		sd_notifyf(0, "%s\nSTATUS=%s", state, status);
	} else {
		sd_notify(0, state);
	}
}

void notify_ready(const char *status)
{
	with_status("READY=1", status);
}

void notify_reloading(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%lld",
		   (long long)t.tv_sec * 1000000 + t.tv_nsec / 1000);
}

void notify_stopping(const char *status)
{
	with_status("STOPPING=1", status);
}

void notify_status(const char *status)
{
	sd_notifyf(0, "STATUS=%s", status);
}

void notify_watchdog(void)
{
	sd_notify(0, "WATCHDOG=1");
}

uint64_t notify_watchdog_ms(void)
{
	uint64_t us = 0;

	if (sd_watchdog_enabled(0, &us) <= 0) {
		return 0;
	}
	return us / 2000 > 0 ? us / 2000 : 1;
}
