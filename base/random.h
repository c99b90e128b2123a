/* SPDX-License-Identifier: Apache-2.0 */
/* Random numbers and UUIDs, drawn from getrandom() in blocks. Loop thread only. */
#ifndef BASE_RANDOM_H
#define BASE_RANDOM_H

#include <stdint.h>

void random_bytes(void *out, unsigned n);
uint64_t random_u64(void);
/* [0,1) */
double random_unit(void);

#define UUID_TEXT_SIZE 36
/* A version 4 UUID in lower case; 36 characters, NOT terminated. */
void uuid_make(char out[UUID_TEXT_SIZE]);
/*
 * A UUID made of the SHA-256 of the parts (each followed by NUL), marked as version 8: the
 * same parts give the same id. Not terminated. parts: n strings.
 */
void uuid_derive(char out[UUID_TEXT_SIZE], const char *const *parts, unsigned n);

#endif
