/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>

const char *eb_strerror(int rc)
{
	switch (rc) {
	case EB_OK:
		return "ok";
	case EB_EINVAL:
		return "invalid";
	case EB_ENOMEM:
		return "no memory left in the budget";
	case EB_ETOOBIG:
		return "too big";
	case EB_EPROTO:
		return "protocol error";
	case EB_ESTATE:
		return "wrong state";
	case EB_EIO:
		return "input/output error";
	case EB_ENOTFOUND:
		return "not found";
	case EB_EEXIST:
		return "exists already";
	case EB_EAGAIN:
		return "try again";
	case EB_ENOTSUP:
		return "not supported";
	case EB_ECANCELED:
		return "canceled";
	case EB_ETIMEDOUT:
		return "timed out";
	default:
		return "unknown error";
	}
}

int err_set(struct err_text *t, int rc, const char *fmt, ...)
{
	va_list ap;

	if (t) {
		va_start(ap, fmt);
		vsnprintf(t->s, sizeof(t->s), fmt, ap);
		va_end(ap);
	}
	return rc;
}
