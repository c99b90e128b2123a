/* SPDX-License-Identifier: Apache-2.0 */
/* What the benchmark programs share: a clock, ids, and a window between two processes. */
#ifndef TESTS_BENCH_BENCH_H
#define TESTS_BENCH_BENCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static inline int64_t bench_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* A UUID-shaped id of a number: the same cost and length on both sides of a comparison. */
static inline void bench_id(char out[37], uint64_t n)
{
	static const char hex[] = "0123456789abcdef";
	uint64_t x = n * 0x9e3779b97f4a7c15u;

	for (int i = 0; i < 36; i++) {
		if (i == 8 || i == 13 || i == 18 || i == 23) {
			out[i] = '-';
			continue;
		}
		out[i] = hex[x & 15];
		x = i == 16 ? n ^ 0x5bd1e995u : (x >> 4) | (x << 60);
	}
	out[36] = 0;
}

/* Shared between a publishing and a subscribing process. */
struct bench_shared {
	_Atomic uint64_t received;
	_Atomic int64_t first_ns, last_ns;
	_Atomic int ready;
	int pipe[2]; /* the subscriber writes a byte now and then: what the publisher blocks on */
};

static inline struct bench_shared *bench_share(void)
{
	struct bench_shared *s =
		mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (s == MAP_FAILED || pipe(s->pipe) != 0) {
		perror("bench");
		exit(1);
	}
	return s;
}

static inline void bench_tick(struct bench_shared *s)
{
	char c = 0;

	if (write(s->pipe[1], &c, 1) != 1) {
		exit(1);
	}
}

static inline void bench_wait_tick(struct bench_shared *s)
{
	char c[256];

	if (read(s->pipe[0], c, sizeof(c)) <= 0) {
		exit(1);
	}
}

static inline void bench_received(struct bench_shared *s, uint64_t count)
{
	uint64_t n = atomic_fetch_add_explicit(&s->received, 1, memory_order_relaxed) + 1;

	if (n == count) {
		s->last_ns = bench_now_ns();
	}
	if (n % 512 == 0 || n == count) {
		bench_tick(s);
	}
}

static inline double bench_cpu_s(int who)
{
	struct rusage u;

	getrusage(who, &u);
	return (double)u.ru_utime.tv_sec + (double)u.ru_stime.tv_sec +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

#endif
