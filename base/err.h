/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Error numbers of every fallible function in this project: 0 is success, a
 * negative enum eb_err is failure. A broker's own codes never leave its adapter.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

enum eb_err {
	EB_OK = 0,
	EB_EINVAL = -1,	 /* the input breaks a documented rule */
	EB_ENOMEM = -2,	 /* a budget or a limit does not allow it (not malloc: see xcalloc) */
	EB_ETOOBIG = -3, /* a size beyond its limit */
	EB_EPROTO = -4,	 /* bytes that are not the protocol */
	EB_ESTATE = -5,	 /* right call, wrong moment: closing, not started, already done */
	EB_EIO = -6,	 /* the operating system or a peer failed; the text says how */
	EB_ENOTFOUND = -7,
	EB_EEXIST = -8,
	EB_EAGAIN = -9,	  /* not now; a documented event tells when */
	EB_ENOTSUP = -10, /* not supported by this version, or by this broker */
	EB_ECANCELED = -11,
	EB_ETIMEDOUT = -12,
};

/* A short, lower-case name ("invalid"), never NULL. */
const char *eb_strerror(int rc);

/* One error text, filled by whoever can explain a failure. Always terminated. */
struct err_text {
	char s[512];
};

/* Writes the text and returns rc, so that a caller can `return err_set(...)`. t may be NULL. */
int err_set(struct err_text *t, int rc, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#endif
