/* SPDX-License-Identifier: Apache-2.0 */
#include "base/random.h"

#include <errno.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/types.h>

#include "base/log.h"

/* One system call costs as much as ten ids, so they are drawn in blocks. */
#define POOL_SIZE 4096

struct pool {
	unsigned left;	     /* unused bytes at the end of bytes */
	unsigned generation; /* of the process that drew them */
	uint8_t bytes[POOL_SIZE];
};

static _Thread_local struct pool pool;
static atomic_uint generation = 1;

static void on_fork_child(void)
{
	atomic_fetch_add(&generation, 1);
}

/* A child must not repeat the numbers that its parent is about to use. */
__attribute__((constructor)) static void watch_forks(void)
{
	pthread_atfork(NULL, NULL, on_fork_child);
}

static void draw(uint8_t *out, size_t n)
{
	while (n) {
		const ssize_t got = getrandom(out, n, 0);

		if (got < 0 && errno == EINTR) {
			continue;
		}
		if (got <= 0) {
			log_error("random", "getrandom: %s", strerror(errno));
			abort();
		}
		out += got;
		n -= (size_t)got;
	}
}

void random_bytes(void *out, unsigned n)
{
	const unsigned now = atomic_load_explicit(&generation, memory_order_relaxed);
	struct pool *p = &pool;

	if (n > POOL_SIZE) {
		draw(out, n);
		return;
	}
	if (n > p->left || p->generation != now) {
		draw(p->bytes, POOL_SIZE);
		p->left = POOL_SIZE;
		p->generation = now;
	}
	memcpy(out, p->bytes + POOL_SIZE - p->left, n);
	p->left -= n;
}

uint64_t random_u64(void)
{
	uint64_t v;

	random_bytes(&v, sizeof(v));
	return v;
}

double random_unit(void)
{
	return (double)(random_u64() >> 11) * 0x1p-53;
}

static char *put_hex(char *out, const uint8_t *p, size_t n)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < n; i++) {
		*out++ = digits[p[i] >> 4];
		*out++ = digits[p[i] & 15];
	}
	return out;
}

/* Text of RFC 9562: 8-4-4-4-12. */
static void format_uuid(char out[UUID_TEXT_SIZE], uint8_t bytes[16], unsigned version)
{
	bytes[6] = (uint8_t)((bytes[6] & 0x0f) | (version << 4));
	bytes[8] = (uint8_t)((bytes[8] & 0x3f) | 0x80);
	out = put_hex(out, bytes, 4);
	*out++ = '-';
	out = put_hex(out, bytes + 4, 2);
	*out++ = '-';
	out = put_hex(out, bytes + 6, 2);
	*out++ = '-';
	out = put_hex(out, bytes + 8, 2);
	*out++ = '-';
	put_hex(out, bytes + 10, 6);
}

void uuid_make(char out[UUID_TEXT_SIZE])
{
	uint8_t bytes[16];

	random_bytes(bytes, sizeof(bytes));
	format_uuid(out, bytes, 4);
}

void uuid_derive(char out[UUID_TEXT_SIZE], const char *const *parts, unsigned n)
{
	uint8_t digest[EVP_MAX_MD_SIZE];
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	bool ok = ctx && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL);

	for (unsigned i = 0; ok && i < n; i++) {
		ok = EVP_DigestUpdate(ctx, parts[i], strlen(parts[i]) + 1);
	}
	ok = ok && EVP_DigestFinal_ex(ctx, digest, NULL);
	EVP_MD_CTX_free(ctx);
	if (!ok) {
		log_error("random", "openssl cannot compute SHA-256");
		abort();
	}
	format_uuid(out, digest, 8);
}
