/* SPDX-License-Identifier: Apache-2.0 */
#include "adapters/nats/stored.h"

#include <openssl/evp.h>
#include <string.h>

#define VALUE_MAX 512

json_t *stored_value(json_t *message)
{
	const char *text = json_string_value(json_object_get(message, "data"));
	unsigned char value[VALUE_MAX];
	size_t n = text ? strlen(text) : 0;
	int len;

	if (n == 0 || n % 4 != 0 || n / 4 * 3 > sizeof(value)) {
		return NULL;
	}
	len = EVP_DecodeBlock(value, (const unsigned char *)text, (int)n);
	for (size_t i = n; len > 0 && i > n - 2 && text[i - 1] == '='; i--) {
		len--; /* EVP_DecodeBlock counts the padding */
	}
	return len > 0 ? json_loadb((const char *)value, (size_t)len, 0, NULL) : NULL;
}

uint64_t stored_number(json_t *object, const char *key)
{
	const json_int_t v = json_integer_value(json_object_get(object, key));

	return v < 0 ? 0 : (uint64_t)v;
}
