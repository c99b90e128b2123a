/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Intrusive doubly linked list with a sentinel head. An item that is on no list
 * has next == NULL (list_item_init) so that list_remove of it does nothing.
 */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
	struct list *next, *prev;
};

#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

static inline void list_init(struct list *head)
{
	head->next = head->prev = head;
}

static inline void list_item_init(struct list *item)
{
	item->next = item->prev = NULL;
}

static inline bool list_empty(const struct list *head)
{
	return head->next == head;
}

static inline bool list_linked(const struct list *item)
{
	return item->next != NULL;
}

static inline void list_insert_before(struct list *pos, struct list *item)
{
	item->prev = pos->prev;
	item->next = pos;
	pos->prev->next = item;
	pos->prev = item;
}

static inline void list_push_back(struct list *head, struct list *item)
{
	list_insert_before(head, item);
}

static inline void list_push_front(struct list *head, struct list *item)
{
	list_insert_before(head->next, item);
}

static inline void list_remove(struct list *item)
{
	if (item->next) {
		item->prev->next = item->next;
		item->next->prev = item->prev;
		item->next = item->prev = NULL;
	}
}

/* First item or NULL; the caller wraps it in container_of. */
static inline struct list *list_first(const struct list *head)
{
	return list_empty(head) ? NULL : head->next;
}

static inline struct list *list_pop_front(struct list *head)
{
	struct list *item = list_first(head);

	if (item) {
		head->next = item->next;
		item->next->prev = head;
		list_item_init(item);
	}
	return item;
}

/* Moves everything from src to the (initialised) back of dst; src is empty then. */
static inline void list_splice_back(struct list *dst, struct list *src)
{
	if (!list_empty(src)) {
		src->next->prev = dst->prev;
		dst->prev->next = src->next;
		src->prev->next = dst;
		dst->prev = src->prev;
		list_init(src);
	}
}

/* Safe against removal of the current item only. Splice first when calling out. */
#define list_for_each_safe(it, tmp, head)                                                          \
	for ((it) = (head)->next, (tmp) = (it)->next; (it) != (head);                              \
	     (it) = (tmp), (tmp) = (it)->next)

#endif
