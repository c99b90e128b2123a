/* SPDX-License-Identifier: Apache-2.0 */
#include "config/access.h"

#include <errno.h>
#include <fnmatch.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/topic.h"
#include "config/bind.h"
#include "config/tables.h"

#define ACCESS(field) offsetof(struct config_access, field)
#define UID_MAX	      (INT64_C(0xffffffff) - 1)

/* 0 with *uid, or EB_EINVAL. */
static int find_user(const char *user, int64_t *uid, struct err_text *err)
{
	const struct passwd *pw;
	char *end;
	unsigned long long n;

	if (strcmp(user, "*") == 0) {
		*uid = -1;
		return 0;
	}
	if (user[strspn(user, "0123456789")] == '\0') {
		errno = 0;
		n = strtoull(user, &end, 10);
		if (errno || n > UID_MAX) {
			return err_set(err, EB_EINVAL, "no user has so large a number");
		}
		*uid = (int64_t)n;
		return 0;
	}
	pw = getpwnam(user);
	if (!pw) {
		return err_set(err, EB_EINVAL,
			       "no user \"%s\" on this machine; create it or give "
			       "its number",
			       show(user).s);
	}
	*uid = pw->pw_uid;
	return 0;
}

/* A shell pattern over the characters of groups. */
static int glob_check(struct slice glob, struct err_text *err)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				      "0123456789_-.*?";

	if (glob.n > GROUP_MAX) {
		return err_set(err, EB_EINVAL, "longer than %d bytes", GROUP_MAX);
	}
	for (size_t i = 0; i < glob.n; i++) {
		if (!memchr(allowed, glob.p[i], sizeof(allowed) - 1)) {
			return err_set(err, EB_EINVAL,
				       "byte %zu: only letters, digits, '_', '-', '.', and the "
				       "wildcards '*' and '?' are allowed",
				       i + 1);
		}
	}
	return 0;
}

static void check_list(const struct option_strings *l, const char *key,
		       int (*check)(struct slice, struct err_text *), struct mark at,
		       const struct path *path, struct report *report)
{
	struct path list = {.up = path, .key = key}, item = {.up = &list};
	struct err_text err;

	for (; item.index < l->n; item.index++) {
		if (check(slice_str(l->v[item.index]), &err)) {
			report_add(report, at, &item, "%s", err.s);
		}
	}
}

static void bind_entry(struct config_access *a, struct report *report, const struct path *path,
		       const struct node *node)
{
	struct path user = {.up = path, .key = "user"};
	struct config_marks marks = {0};
	struct bind b = {.report = report, .target = a, .marks = &marks};
	struct err_text err;

	a->line = node->at.line;
	bind_map(&b, path, node, access_options, 0);
	if (!a->user) {
		report_add(report, node->at, &user,
			   "is missing; name a user, or \"*\" for every user");
	} else if (find_user(a->user, &a->uid, &err)) {
		report_add(report, marks_find(&marks, ACCESS(user)), &user, "%s", err.s);
	}
	check_list(&a->publish, "publish", pattern_check, marks_find(&marks, ACCESS(publish)), path,
		   report);
	check_list(&a->subscribe, "subscribe", pattern_check, marks_find(&marks, ACCESS(subscribe)),
		   path, report);
	check_list(&a->groups, "groups", glob_check, marks_find(&marks, ACCESS(groups)), path,
		   report);
	marks_finish(&marks);
}

void access_bind(struct config *c, struct report *report, const struct path *path,
		 const struct node *node)
{
	struct path item = {.up = path};
	uint32_t n = 0;

	if (node->kind == NODE_BAD) {
		return;
	}
	/* Left empty it would mean everybody, which nobody means who writes it. */
	if (node->kind != NODE_LIST || !node->first) {
		report_add(report, node->at, path,
			   "must be a list of users, such as [{user: orders, publish: "
			   "[\"orders.>\"]}]; without the key everybody may do everything");
		return;
	}
	for (const struct node *i = node->first; i; i = i->next) {
		n++;
	}
	c->access = xcalloc(n, sizeof(*c->access));
	c->n_access = n;
	for (const struct node *i = node->first; i; i = i->next, item.index++) {
		bind_entry(&c->access[item.index], report, &item, i);
	}
}

void access_free(struct config *c)
{
	for (uint32_t i = 0; i < c->n_access; i++) {
		option_free(access_options, &c->access[i]);
	}
	free(c->access);
}

static bool entry_allows(const struct config_access *a, enum config_right right, struct slice name)
{
	const struct option_strings *l = right == CONFIG_PUBLISH     ? &a->publish
					 : right == CONFIG_SUBSCRIBE ? &a->subscribe
								     : &a->groups;
	char group[GROUP_MAX + 1];

	if (right == CONFIG_GROUP) {
		if (name.n > GROUP_MAX) {
			return false;
		}
		memcpy(group, name.p, name.n);
		group[name.n] = '\0';
	}
	for (size_t i = 0; i < l->n; i++) {
		if (right == CONFIG_GROUP ? fnmatch(l->v[i], group, 0) == 0
					  : pattern_covers(slice_str(l->v[i]), name)) {
			return true;
		}
	}
	return false;
}

bool config_allows(const struct config *c, int64_t uid, enum config_right right, struct slice name)
{
	for (uint32_t i = 0; i < c->n_access; i++) {
		const struct config_access *a = &c->access[i];

		if ((a->uid == -1 || a->uid == uid) && entry_allows(a, right, name)) {
			return true;
		}
	}
	return c->n_access == 0;
}
