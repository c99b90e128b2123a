/* SPDX-License-Identifier: Apache-2.0 */
/* UTF-8 as RFC 3629 has it: no surrogates, no overlong forms, nothing above U+10FFFF. Pure. */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

/* Length of the character at p (1..4), or 0 when the n > 0 bytes there do not begin with one. */
size_t utf8_char(const uint8_t *p, size_t n);
/* Valid UTF-8 without NUL. */
bool utf8_valid(struct slice s);
/* Valid UTF-8 without control characters (C0, DEL, C1). */
bool utf8_printable(struct slice s);

#endif
