/* SPDX-License-Identifier: Apache-2.0 */
#include "base/table.h"

#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/random.h"

#define FIRST_SIZE 16

void table_init(struct table *t)
{
	*t = (struct table){0};
}

void table_finish(struct table *t)
{
	free(t->bucket);
	table_init(t);
}

static void resize(struct table *t, size_t size)
{
	struct table_entry **bucket = xcalloc(size, sizeof(struct table_entry *));
	const size_t old = t->bucket ? t->mask + 1 : 0;

	for (size_t i = 0; i < old; i++) {
		struct table_entry *e = t->bucket[i];

		while (e) {
			struct table_entry *next = e->next;
			struct table_entry **to = &bucket[e->hash & (size - 1)];

			e->next = *to;
			*to = e;
			e = next;
		}
	}
	free(t->bucket);
	t->bucket = bucket;
	t->mask = size - 1;
}

void table_insert(struct table *t, struct table_entry *e, uint64_t hash)
{
	struct table_entry **to;

	assert(!t->walking);
	if (!t->bucket) {
		resize(t, FIRST_SIZE);
	} else if (t->count > t->mask) {
		resize(t, (t->mask + 1) * 2);
	}
	to = &t->bucket[hash & t->mask];
	e->hash = hash;
	e->next = *to;
	*to = e;
	t->count++;
}

static void maybe_shrink(struct table *t)
{
	const size_t size = t->mask + 1;

	if (!t->walking && size > FIRST_SIZE && t->count < size / 4) {
		resize(t, size / 2);
	}
}

void table_remove(struct table *t, struct table_entry *e)
{
	struct table_entry **at;

	assert(t->count > 0);
	at = &t->bucket[e->hash & t->mask];
	while (*at != e) {
		assert(*at);
		at = &(*at)->next;
	}
	*at = e->next;
	e->next = NULL;
	t->count--;
	maybe_shrink(t);
}

static struct table_entry *same_hash(struct table_entry *e, uint64_t hash)
{
	while (e && e->hash != hash) {
		e = e->next;
	}
	return e;
}

struct table_entry *table_first(const struct table *t, uint64_t hash)
{
	return t->bucket ? same_hash(t->bucket[hash & t->mask], hash) : NULL;
}

struct table_entry *table_next(const struct table_entry *e)
{
	return same_hash(e->next, e->hash);
}

void table_each(struct table *t, void (*fn)(struct table_entry *e, void *ctx), void *ctx)
{
	if (t->count == 0) {
		return;
	}
	assert(!t->walking);
	t->walking = true;
	for (size_t i = 0; i <= t->mask; i++) {
		struct table_entry *e = t->bucket[i];

		while (e) {
			struct table_entry *next = e->next;

			fn(e, ctx);
			e = next;
		}
	}
	t->walking = false;
	maybe_shrink(t);
}

/* ---- hashing: multiply 64x64, fold the halves, after wyhash ---------------- */

#define K0 0xa0761d6478bd642fULL
#define K1 0xe7037ed1a0b428dbULL

static uint64_t seed[2];

/* Before main, so that no thread has to ask whether it is done. */
__attribute__((constructor)) static void draw_seed(void)
{
	random_bytes(seed, sizeof(seed));
}

static uint64_t fold(uint64_t a, uint64_t b)
{
	const unsigned __int128 r = (unsigned __int128)a * b;

	return (uint64_t)r ^ (uint64_t)(r >> 64);
}

static uint64_t load64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static uint64_t load32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

uint64_t hash_bytes(const void *bytes, size_t n)
{
	const uint8_t *p = bytes;
	uint64_t h = seed[0] ^ n, a = 0, b = 0;
	size_t left = n;

	for (; left > 16; left -= 16, p += 16) {
		h = fold(load64(p) ^ K0 ^ seed[1], load64(p + 8) ^ h);
	}
	/* The last 1..16 bytes as two words, which overlap where they must. */
	if (left >= 8) {
		a = load64(p);
		b = load64(p + left - 8);
	} else if (left >= 4) {
		a = load32(p);
		b = load32(p + left - 4);
	} else if (left > 0) {
		a = (uint64_t)p[0] << 16 | (uint64_t)p[left / 2] << 8 | p[left - 1];
	}
	return fold(K1 ^ n, fold(a ^ K0 ^ seed[1], b ^ h));
}

uint64_t hash_u64(uint64_t v)
{
	return fold(fold(v ^ seed[0], K0 ^ seed[1]) ^ seed[1], K1);
}
