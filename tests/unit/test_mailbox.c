/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mailbox.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#include "tests/unit/suite.h"

#define THREADS	   4
#define PER_THREAD 20000

struct post {
	struct list link;
	int thread, n;
};

struct box {
	uv_loop_t loop;
	struct mailbox *mailbox;
	int next[THREADS];
	int calls, taken, expected;
	bool close_inside, closed, in_close;
};

static void on_closed(void *ctx)
{
	struct box *b = ctx;

	ck_assert(!b->closed);
	ck_assert(!b->in_close);
	b->closed = true;
}

static void close_box(struct box *b)
{
	b->in_close = true;
	mailbox_close(b->mailbox, on_closed);
	b->in_close = false;
}

static void on_posts(void *ctx, struct list *posts)
{
	struct box *b = ctx;
	struct list *link;

	ck_assert(!list_empty(posts));
	b->calls++;
	while ((link = list_pop_front(posts))) {
		struct post *p = container_of(link, struct post, link);

		ck_assert_int_eq(p->n, b->next[p->thread]++);
		b->taken++;
		free(p);
	}
	if (b->taken == b->expected && b->close_inside) {
		close_box(b);
	}
}

static void begin(struct box *b, int expected)
{
	*b = (struct box){.expected = expected};
	ck_assert_int_eq(uv_loop_init(&b->loop), 0);
	b->mailbox = mailbox_create(&b->loop, on_posts, b);
}

static void end(struct box *b)
{
	ck_assert_int_eq(uv_run(&b->loop, UV_RUN_DEFAULT), 0);
	ck_assert(b->closed);
	ck_assert_int_eq(b->taken, b->expected);
	ck_assert_int_eq(uv_loop_close(&b->loop), 0);
}

/* No check in here: check's own bookkeeping is not for several threads. */
static bool post_from(struct box *b, int thread, int n)
{
	struct post *p = malloc(sizeof(*p));

	list_item_init(&p->link);
	p->thread = thread;
	p->n = n;
	return mailbox_post(b->mailbox, &p->link);
}

static void post(struct box *b, int n)
{
	ck_assert(post_from(b, 0, n));
}

START_TEST(posts_arrive_in_order_in_one_batch)
{
	struct box b;

	begin(&b, 100);
	b.close_inside = true;
	for (int i = 0; i < 100; i++) {
		post(&b, i);
	}
	ck_assert_int_eq(b.calls, 0);
	end(&b);
	ck_assert_int_eq(b.calls, 1);
}
END_TEST

START_TEST(an_empty_mailbox_closes)
{
	struct box b;

	begin(&b, 0);
	close_box(&b);
	ck_assert(!b.closed);
	end(&b);
	ck_assert_int_eq(b.calls, 0);
}
END_TEST

START_TEST(close_hands_over_what_is_left)
{
	struct box b;

	begin(&b, 3);
	for (int i = 0; i < 3; i++) {
		post(&b, i);
	}
	close_box(&b);
	ck_assert_int_eq(b.taken, 3);
	end(&b);
	ck_assert_int_eq(b.calls, 1);
}
END_TEST

START_TEST(a_closed_mailbox_takes_nothing)
{
	struct post p = {.n = 0};
	struct box b;

	begin(&b, 0);
	mailbox_close(b.mailbox, NULL);
	ck_assert(!mailbox_post(b.mailbox, &p.link));
	ck_assert(!list_linked(&p.link));
	b.closed = true;
	end(&b);
}
END_TEST

/* Posts one more from inside the callback, until five came. */
static void on_posts_again(void *ctx, struct list *posts)
{
	struct box *b = ctx;

	while (!list_empty(posts)) {
		free(container_of(list_pop_front(posts), struct post, link));
		b->taken++;
	}
	if (++b->calls < 5) {
		post(b, b->calls);
	} else {
		close_box(b);
	}
}

START_TEST(the_callback_may_post)
{
	struct box b = {.expected = 5};

	ck_assert_int_eq(uv_loop_init(&b.loop), 0);
	b.mailbox = mailbox_create(&b.loop, on_posts_again, &b);
	post(&b, 0);
	end(&b);
	ck_assert_int_eq(b.calls, 5);
}
END_TEST

struct poster {
	pthread_t thread;
	struct box *box;
	int number, refused;
};

static void *post_many(void *arg)
{
	struct poster *me = arg;

	for (int i = 0; i < PER_THREAD; i++) {
		me->refused += !post_from(me->box, me->number, i);
	}
	return NULL;
}

static void start_posters(struct poster posters[THREADS], struct box *b)
{
	for (int i = 0; i < THREADS; i++) {
		posters[i] = (struct poster){.box = b, .number = i};
		ck_assert_int_eq(pthread_create(&posters[i].thread, NULL, post_many, &posters[i]),
				 0);
	}
}

static void join_posters(struct poster posters[THREADS])
{
	for (int i = 0; i < THREADS; i++) {
		pthread_join(posters[i].thread, NULL);
		ck_assert_int_eq(posters[i].refused, 0);
	}
}

START_TEST(many_threads_lose_nothing_and_keep_their_order)
{
	struct poster posters[THREADS];
	struct box b;

	begin(&b, THREADS * PER_THREAD);
	start_posters(posters, &b);
	while (b.taken < b.expected) {
		uv_run(&b.loop, UV_RUN_ONCE);
	}
	join_posters(posters);
	ck_assert_int_lt(b.calls, b.expected);
	close_box(&b);
	end(&b);
}
END_TEST

/* The way an adapter stops: join the threads first, then close; nothing they said is lost. */
START_TEST(what_threads_posted_before_they_ended_survives_the_close)
{
	struct poster posters[THREADS];
	struct box b;

	begin(&b, THREADS * PER_THREAD);
	start_posters(posters, &b);
	join_posters(posters);
	close_box(&b);
	end(&b);
	ck_assert_int_eq(b.calls, 1);
}
END_TEST

int main(void)
{
	const TTest *tests[] = {
		posts_arrive_in_order_in_one_batch,
		an_empty_mailbox_closes,
		close_hands_over_what_is_left,
		a_closed_mailbox_takes_nothing,
		the_callback_may_post,
		many_threads_lose_nothing_and_keep_their_order,
		what_threads_posted_before_they_ended_survives_the_close,
	};

	return suite_run("mailbox", tests, sizeof(tests) / sizeof(tests[0]));
}
