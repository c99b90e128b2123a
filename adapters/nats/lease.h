/* SPDX-License-Identifier: Apache-2.0 */
/* The record of an owner lease, as it lies at the server (see owner.c). Pure. */
#ifndef ADAPTERS_NATS_LEASE_H
#define ADAPTERS_NATS_LEASE_H

#include <jansson.h>

#include "adapters/nats/names.h"

#define LEASE_HOLDER_MAX 72

struct lease {
	uint64_t revision; /* of the record; 0: there is none */
	uint64_t epoch;
	char holder[LEASE_HOLDER_MAX]; /* "": nobody */
	char consumer[NATS_NAME_MAX];  /* that has the position; "": none yet */
	bool floor_known;
	uint64_t floor;	  /* where that consumer began, minus one */
	int64_t lease_ms; /* the holder's */
};

/*
 * The lease in a message as the API answers it ({"subject","seq","data":base64}). Whatever is no
 * record of ours reads as one without a holder; the epoch never falls below the one that l had.
 */
void lease_read(struct lease *l, json_t *message);
/* The value to store; the caller frees it. */
char *lease_write(const struct lease *l);

#endif
