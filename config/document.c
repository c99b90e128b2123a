/* SPDX-License-Identifier: Apache-2.0 */
#include "config/document.h"

#include <assert.h>
#include <string.h>
#include <yaml.h>

/* What the largest file that is allowed can need, bound before a node is made. */
#define ARENA_BYTES (64u * 1024 * 1024)

/* One open map or list. */
struct frame {
	struct node *container;
	struct node *key; /* MAP: waits for its value */
	struct node *last;
	size_t count;
};

struct builder {
	struct document *d;
	struct report *report;
	struct frame stack[DOCUMENT_MAX_DEPTH];
	size_t depth;
	bool done; /* the one document has ended */
};

static struct mark mark_of(yaml_mark_t m)
{
	return (struct mark){(uint32_t)m.line + 1, (uint32_t)m.column + 1};
}

static int refuse(struct builder *b, struct mark at, const char *what)
{
	report_add(b->report, at, NULL, "%s", what);
	return EB_EINVAL;
}

static struct node *node_new(struct builder *b, enum node_kind kind, struct mark at)
{
	struct node *n = arena_alloc(&b->d->arena, sizeof(*n));

	if (!n) {
		refuse(b, at, "the file holds too much; the limit is 1 MiB of plain configuration");
		return NULL;
	}
	*n = (struct node){.kind = kind, .at = at};
	return n;
}

static void check_key(struct builder *b, struct node *key)
{
	const char *what = NULL;

	if (strcmp(key->text, "<<") == 0) {
		what = "merge keys (<<) are not supported; write the values out";
	} else if (strlen(key->text) != key->n) {
		what = "a key holds a zero byte";
	}
	if (what) {
		report_add(b->report, key->at, NULL, "%s", what);
		key->kind = NODE_BAD;
	}
}

/* Puts a finished key, value or item where it belongs. */
static int place(struct builder *b, struct node *n)
{
	struct frame *f;

	if (b->depth == 0) {
		b->d->root = n;
		return 0;
	}
	f = &b->stack[b->depth - 1];
	assert(f->container);
	if (f->container->kind == NODE_MAP && f->key) {
		f->key->value = n;
		f->key = NULL;
		return 0;
	}
	if (f->container->kind == NODE_MAP) {
		if (n->kind != NODE_SCALAR || n->file) {
			return refuse(b, n->at, "a key must be a plain word");
		}
		check_key(b, n);
		f->key = n;
	}
	if (++f->count >
	    (f->container->kind == NODE_MAP ? DOCUMENT_MAX_KEYS : DOCUMENT_MAX_ITEMS)) {
		return refuse(b, n->at,
			      f->container->kind == NODE_MAP ? "more than 256 keys in one map"
							     : "more than 1024 items in one list");
	}
	if (f->last) {
		f->last->next = n;
	} else {
		f->container->first = n;
	}
	f->last = n;
	return 0;
}

static int on_open(struct builder *b, enum node_kind kind, struct mark at)
{
	struct node *n;

	if (b->depth == DOCUMENT_MAX_DEPTH) {
		return refuse(b, at, "nested deeper than 16 levels");
	}
	n = node_new(b, kind, at);
	if (!n || place(b, n)) {
		return EB_EINVAL;
	}
	b->stack[b->depth++] = (struct frame){.container = n};
	return 0;
}

static bool is_null(const yaml_event_t *e)
{
	const char *s = (const char *)e->data.scalar.value;

	return e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE && !e->data.scalar.tag &&
	       (*s == '\0' || strcmp(s, "~") == 0 || strcasecmp(s, "null") == 0) &&
	       e->data.scalar.length == strlen(s);
}

static int on_scalar(struct builder *b, const yaml_event_t *e)
{
	struct mark at = mark_of(e->start_mark);
	const char *tag = (const char *)e->data.scalar.tag;
	struct node *n = node_new(b, is_null(e) ? NODE_NULL : NODE_SCALAR, at);
	char *text = n ? arena_alloc(&b->d->arena, e->data.scalar.length + 1) : NULL;

	if (!n) {
		return EB_EINVAL;
	}
	if (!text) {
		return refuse(b, at, "the file holds too much");
	}
	memcpy(text, e->data.scalar.value, e->data.scalar.length);
	text[e->data.scalar.length] = '\0';
	n->text = text;
	n->n = e->data.scalar.length;
	n->file = tag && strcmp(tag, "!file") == 0;
	return place(b, n);
}

/* Anchors and tags, which three kinds of event may carry. The value itself is still bound. */
static void check_decoration(struct builder *b, struct mark at, const yaml_char_t *anchor,
			     const yaml_char_t *tag, bool scalar)
{
	if (anchor) {
		report_add(b->report, at, NULL,
			   "anchors and aliases are not supported; write the value out");
	}
	if (tag && !(scalar && strcmp((const char *)tag, "!file") == 0)) {
		report_add(b->report, at, NULL,
			   "tags are not supported, except !file PATH for secrets; remove it");
	}
}

static int on_alias(struct builder *b, struct mark at)
{
	struct node *n = node_new(b, NODE_BAD, at);

	report_add(b->report, at, NULL,
		   "anchors and aliases are not supported; write the value out");
	return n ? place(b, n) : EB_EINVAL;
}

static int on_event(struct builder *b, const yaml_event_t *e)
{
	struct mark at = mark_of(e->start_mark);

	switch (e->type) {
	case YAML_DOCUMENT_START_EVENT:
		return b->done ? refuse(b, at, "a second document; the file must hold one") : 0;
	case YAML_DOCUMENT_END_EVENT:
		b->done = true;
		return 0;
	case YAML_ALIAS_EVENT:
		return on_alias(b, at);
	case YAML_SCALAR_EVENT:
		check_decoration(b, at, e->data.scalar.anchor, e->data.scalar.tag, true);
		return on_scalar(b, e);
	case YAML_MAPPING_START_EVENT:
		check_decoration(b, at, e->data.mapping_start.anchor, e->data.mapping_start.tag,
				 false);
		return on_open(b, NODE_MAP, at);
	case YAML_SEQUENCE_START_EVENT:
		check_decoration(b, at, e->data.sequence_start.anchor, e->data.sequence_start.tag,
				 false);
		return on_open(b, NODE_LIST, at);
	case YAML_MAPPING_END_EVENT:
	case YAML_SEQUENCE_END_EVENT:
		b->depth--;
		return 0;
	default:
		return 0;
	}
}

/* A reader error has an offset instead of a mark. */
static struct mark mark_of_offset(const char *text, size_t n, size_t offset)
{
	struct mark at = {1, 1};

	for (size_t i = 0; i < n && i < offset; i++) {
		at.column++;
		if (text[i] == '\n') {
			at.line++;
			at.column = 1;
		}
	}
	return at;
}

static int syntax_error(struct builder *b, const yaml_parser_t *p, const char *text, size_t n)
{
	const char *problem = p->problem ? p->problem : "cannot be read";
	const size_t mark = p->problem_mark.index;
	struct mark at = p->error == YAML_READER_ERROR ? mark_of_offset(text, n, p->problem_offset)
						       : mark_of(p->problem_mark);

	if (mark > 0 && mark < n && text[mark - 1] == '$' && text[mark] == '{') {
		problem = "a secret within {} or [] needs quotes: \"${NAME}\"";
	}
	if (p->error == YAML_SCANNER_ERROR && strstr(problem, "cannot start any token") &&
	    mark < n && memchr(text, '\t', n)) {
		problem = "a character that cannot start a value; if it is a tab, indent with "
			  "spaces";
	}
	report_add(b->report, at, NULL, "not YAML: %s%s%s", problem, p->context ? ", " : "",
		   p->context ? p->context : "");
	return EB_EINVAL;
}

static int parse_events(struct builder *b, yaml_parser_t *p, const char *text, size_t n)
{
	for (;;) {
		yaml_event_t e;
		bool end;
		int rc;

		if (!yaml_parser_parse(p, &e)) {
			return syntax_error(b, p, text, n);
		}
		end = e.type == YAML_STREAM_END_EVENT;
		rc = on_event(b, &e);
		yaml_event_delete(&e);
		if (rc || end) {
			return rc;
		}
	}
}

int document_parse(struct document *d, const char *text, size_t n, struct report *report)
{
	struct builder b = {.d = d, .report = report};
	yaml_parser_t p;
	int rc;

	d->root = NULL;
	arena_init(&d->arena, ARENA_BYTES);
	if (n > DOCUMENT_MAX_BYTES) {
		return refuse(&b, (struct mark){0}, "larger than 1 MiB");
	}
	if (!yaml_parser_initialize(&p)) {
		return refuse(&b, (struct mark){0}, "out of memory");
	}
	yaml_parser_set_encoding(&p, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&p, (const unsigned char *)text, n);
	rc = parse_events(&b, &p, text, n);
	yaml_parser_delete(&p);
	return rc;
}

void document_finish(struct document *d)
{
	arena_finish(&d->arena);
	d->root = NULL;
}
