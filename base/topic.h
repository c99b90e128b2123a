/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one grammar of topics, patterns and groups (PROTOCOL.md, "Names"). Pure.
 *   topic   = segment *("." segment), segment = 1*[A-Za-z0-9_-], at most 200 bytes
 *   pattern = a topic in which "*" may stand for one segment and a last ">" for one or more
 *   group   = a topic of at most 64 bytes
 */
#ifndef BASE_TOPIC_H
#define BASE_TOPIC_H

#include <stdbool.h>

#include "base/err.h"
#include "base/slice.h"

#define TOPIC_MAX 200
#define GROUP_MAX 64

/* 0 or EB_EINVAL with a text that names what is wrong and where ("byte 7: ' ' is not allowed"). */
int topic_check(struct slice topic, struct err_text *err);
int pattern_check(struct slice pattern, struct err_text *err);
int group_check(struct slice group, struct err_text *err);
/* The fast path: true when topic_check would be 0. */
bool topic_valid(struct slice topic);

/* Whether there are no bytes but [A-Za-z0-9_.-] in s. */
bool name_chars(struct slice s);

bool pattern_is_literal(struct slice pattern);
/*
 * Whether a (checked) pattern matches a (checked) topic. Wildcards match topics
 * under "dlq." only if the pattern spells "dlq." itself.
 */
bool pattern_matches(struct slice pattern, struct slice topic);
/* Whether every topic that b (a pattern or a topic) matches is matched by a. */
bool pattern_covers(struct slice a, struct slice b);
/* Whether some topic is matched by both. */
bool patterns_overlap(struct slice a, struct slice b);
/*
 * Orders patterns by how specific they are, segment by segment from the left: literal before "*"
 * before ">". < 0: a is the more specific one. 0 only for equal patterns, since of two different
 * patterns that match one topic one is always more specific; the others are ordered by their text.
 */
int pattern_compare(struct slice a, struct slice b);

#endif
