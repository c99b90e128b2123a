/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What became of a publish or a request, in the words of the protocol. The
 * numbers are those of eventbus.v1.Outcome and eventbus.v1.Reason; the session
 * asserts that at compile time.
 */
#ifndef BASE_OUTCOME_H
#define BASE_OUTCOME_H

enum outcome {
	OUTCOME_OK = 0,		/* the broker has it (P1) */
	OUTCOME_NOT_STORED = 1, /* certainly not stored: sending again is safe */
	OUTCOME_UNKNOWN = 2,	/* may be stored: send again with the same id */
	OUTCOME_PERMANENT = 3,	/* will never be accepted as it is: do not send again */
};

enum reason {
	REASON_NONE = 0,
	REASON_NOT_CONNECTED = 1,
	REASON_OVERLOADED = 2,
	REASON_DRAINING = 3,
	REASON_TOO_LARGE = 4,
	REASON_UNROUTABLE = 5,
	REASON_UNRESOLVED_TOPIC = 6,
	REASON_DENIED = 7,
	REASON_INVALID = 8,
	REASON_NOT_SUPPORTED = 9, /* known to the protocol, not built into this version or broker */
	REASON_CONFLICT = 10,	  /* differs from what is in force, which the text names */
	REASON_BROKER = 11,	  /* the broker refused; the text is its own, shortened */
	REASON_NOT_FOUND = 12,
};

/* "not stored", "overloaded"; never NULL. */
const char *outcome_name(enum outcome o);
const char *reason_name(enum reason r);

/* A complete answer. text: what and the remedy, no payload, always terminated. */
struct answer {
	enum outcome outcome;
	enum reason reason;
	char text[240];
};

/* Fills a; returns a. */
struct answer *answer_set(struct answer *a, enum outcome o, enum reason r, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

#endif
