/* SPDX-License-Identifier: Apache-2.0 */
/*
 * YAML text as a tree with the place of every node. A small, safe part of YAML: one document of
 * maps, lists and scalars. Anchors, aliases, merge keys, tags other than !file, and whatever
 * goes beyond the bounds below are refused with a text of their own.
 */
#ifndef CONFIG_DOCUMENT_H
#define CONFIG_DOCUMENT_H

#include <stdbool.h>

#include "base/arena.h"
#include "config/report.h"

#define DOCUMENT_MAX_BYTES (1024 * 1024)
#define DOCUMENT_MAX_DEPTH 16
#define DOCUMENT_MAX_KEYS  256	/* of one map: no option table is longer */
#define DOCUMENT_MAX_ITEMS 1024 /* of one list */

/* BAD: reported already, to be skipped without a word. */
enum node_kind { NODE_NULL, NODE_SCALAR, NODE_LIST, NODE_MAP, NODE_BAD };

struct node {
	enum node_kind kind;
	struct mark at;
	const char *text;   /* SCALAR: terminated; n may be above strlen when it holds a NUL */
	size_t n;	    /* SCALAR: bytes */
	bool file;	    /* SCALAR: tagged !file */
	struct node *first; /* LIST: items; MAP: keys, SCALAR or BAD */
	struct node *next;  /* the next item, or the next key */
	struct node *value; /* of a key: never NULL in a finished document */
};

struct document {
	struct arena arena;
	struct node *root; /* NULL: an empty file */
};

/*
 * 0: the tree is complete, though report may hold problems (anchors, tags) found on the way.
 * EB_EINVAL: it ends where the last problem of report is. Finish it in both cases.
 */
int document_parse(struct document *d, const char *text, size_t n, struct report *report);
void document_finish(struct document *d);

#endif
