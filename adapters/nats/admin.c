/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stream, and the buckets that we keep beside it.
 *
 * Happy path: STREAM.INFO -> (404) STREAM.CREATE -> the view and the capabilities are filled ->
 * conn_on_stream(NULL). Again at every ping interval, to see what retention removed.
 * Failure modes: the server refuses or does not answer: conn_on_stream says why and conn.c tries
 * again; another daemon created it meanwhile: looked up once more. A stream that differs from the
 * file is used as it is and the difference is logged.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapters/nats/nats.h"
#include "base/mem.h"

#define ERR_STREAM_NOT_FOUND 10059
#define ERR_STREAM_EXISTS    10058

static void look_up(struct nats_adapter *a, api_cb cb);

/* ---- what the server says ----------------------------------------------------- */

static void free_subjects(struct stream_view *v)
{
	for (size_t i = 0; i < v->n_subjects; i++) {
		free(v->subjects[i]);
	}
	free(v->subjects);
	v->subjects = NULL;
	v->n_subjects = 0;
}

static int64_t number(json_t *object, const char *key)
{
	return (int64_t)json_integer_value(json_object_get(object, key));
}

static bool covered(const struct nats_adapter *a, struct slice pattern)
{
	char subject[NATS_SUBJECT_MAX];
	const int n = snprintf(subject, sizeof(subject), "%s.%.*s", a->options->stream,
			       SLICE_ARG(pattern));

	for (size_t i = 0; i < a->stream.n_subjects; i++) {
		if (nats_subject_covers(slice_str(a->stream.subjects[i]),
					slice_of(subject, (size_t)n))) {
			return true;
		}
	}
	return false;
}

static void take_subjects(struct nats_adapter *a, json_t *config)
{
	struct stream_view *v = &a->stream;
	json_t *subjects = json_object_get(config, "subjects"), *s;
	size_t i;

	free_subjects(v);
	v->subjects = xcalloc(json_array_size(subjects) + 1, sizeof(*v->subjects));
	json_array_foreach(subjects, i, s)
	{
		if (json_is_string(s)) {
			v->subjects[v->n_subjects++] = xstrdup(json_string_value(s));
		}
	}
	v->whole = covered(a, slice_str(">"));
}

static void take_capabilities(struct nats_adapter *a, json_t *config)
{
	struct capabilities *caps = &a->base.caps;
	size_t max = a->max_payload;

	caps->dedupe_window_ms = number(config, "duplicate_window") / 1000000;
	if (a->stream.max_msg_size > 0 && (uint64_t)a->stream.max_msg_size < max) {
		max = (size_t)a->stream.max_msg_size;
	}
	caps->max_event_bytes = max > NATS_EVENT_ROOM ? max - NATS_EVENT_ROOM : 1;
}

static void report(struct nats_adapter *a, const char *what, const char *wanted, const char *is)
{
	log_warn(a->base.tag,
		 "stream %s differs from the configuration and is left as it is: %s "
		 "configured=%s stream=%s",
		 a->options->stream, what, wanted, is);
}

static void compare_number(struct nats_adapter *a, json_t *config, const char *key, int64_t wanted,
			   int64_t unit)
{
	char w[32], is[32];
	const int64_t now = number(config, key);

	if (wanted == 0 || now == wanted * unit) {
		return;
	}
	snprintf(w, sizeof(w), "%lld", (long long)wanted);
	snprintf(is, sizeof(is), "%lld", (long long)(now < 0 ? now : now / unit));
	report(a, key, w, is);
}

static bool has_subject(const struct stream_view *v, const char *subject)
{
	for (size_t i = 0; i < v->n_subjects; i++) {
		if (strcmp(v->subjects[i], subject) == 0) {
			return true;
		}
	}
	return false;
}

static void compare_subjects(struct nats_adapter *a)
{
	const struct option_strings *s = &a->options->stream_config.subjects;
	char all[80];

	snprintf(all, sizeof(all), "%s.>", a->options->stream);
	for (size_t i = 0; i < s->n; i++) {
		if (!has_subject(&a->stream, s->v[i])) {
			report(a, "subjects", s->v[i], "not among them");
		}
	}
	if (s->n == 0 && !has_subject(&a->stream, all)) {
		report(a, "subjects", all, "not among them");
	}
}

static void compare(struct nats_adapter *a, json_t *config)
{
	static const char *const names[] = {NULL, "file", "memory"};
	const struct nats_stream_options *o = &a->options->stream_config;
	const char *storage = json_string_value(json_object_get(config, "storage"));

	compare_subjects(a);
	if (names[o->storage] && storage && strcmp(storage, names[o->storage]) != 0) {
		report(a, "storage", names[o->storage], storage);
	}
	if (storage && strcmp(storage, "memory") == 0) {
		log_warn(a->base.tag,
			 "confirmed events do not survive a restart of the server: stream=%s "
			 "storage=memory",
			 a->options->stream);
	}
	compare_number(a, config, "num_replicas", o->replicas, 1);
	compare_number(a, config, "max_age", o->max_age_ms, 1000000);
	compare_number(a, config, "max_bytes", o->max_bytes, 1);
	compare_number(a, config, "duplicate_window", o->duplicate_window_ms, 1000000);
}

/* NULL, or why this stream cannot be used. */
static const char *take_view(struct nats_adapter *a, json_t *info)
{
	json_t *config = json_object_get(info, "config"), *state = json_object_get(info, "state");
	const char *created = json_string_value(json_object_get(info, "created"));
	struct stream_view *v = &a->stream;
	const bool first = !v->known;

	if (!config || !state || !created) {
		return "the server's answer is not understood";
	}
	if (json_is_true(json_object_get(config, "no_ack"))) {
		return "the stream has no_ack set: nothing is ever confirmed";
	}
	take_subjects(a, config);
	v->first_seq = (uint64_t)number(state, "first_seq");
	v->last_seq = (uint64_t)number(state, "last_seq");
	v->max_msg_size = number(config, "max_msg_size");
	snprintf(v->created, sizeof(v->created), "%s", created);
	v->known = true;
	take_capabilities(a, config);
	if (first) {
		compare(a, config);
	}
	return NULL;
}

/* ---- finding and creating ------------------------------------------------------- */

static void explain(const struct api_reply *r, char *out, size_t size)
{
	if (r->rc == 0 && r->code) {
		snprintf(out, size, "%s", r->description);
	} else if (r->rc == 0) {
		snprintf(out, size, "the server's answer is not understood");
	} else if (r->rc == EB_EAGAIN) {
		snprintf(out, size, "jetstream is not available at this server or account");
	} else {
		snprintf(out, size, "no answer to a jetstream request");
	}
}

static void give_up(struct nats_adapter *a, const struct api_reply *r, const char *doing)
{
	char what[160], why[240];

	explain(r, what, sizeof(what));
	snprintf(why, sizeof(why), "%s stream %s: %s", doing, a->options->stream, what);
	conn_on_stream(a, why);
}

static void set_number(json_t *config, const char *key, int64_t value)
{
	if (value) {
		json_object_set_new(config, key, json_integer(value));
	}
}

/* Exactly {"name":S,"subjects":["S.>"]} when the file says nothing more, as Connectum does it. */
static json_t *stream_config(const struct nats_options *o)
{
	const struct nats_stream_options *s = &o->stream_config;
	json_t *config = json_object(), *subjects = json_array();

	for (size_t i = 0; i < s->subjects.n; i++) {
		json_array_append_new(subjects, json_string(s->subjects.v[i]));
	}
	if (s->subjects.n == 0) {
		json_array_append_new(subjects, json_sprintf("%s.>", o->stream));
	}
	json_object_set_new(config, "name", json_string(o->stream));
	json_object_set_new(config, "subjects", subjects);
	if (s->storage != NATS_STORAGE_DEFAULT) {
		const char *name = s->storage == NATS_STORAGE_FILE ? "file" : "memory";

		json_object_set_new(config, "storage", json_string(name));
	}
	set_number(config, "num_replicas", s->replicas);
	set_number(config, "max_age", s->max_age_ms * 1000000);
	set_number(config, "max_bytes", s->max_bytes);
	set_number(config, "duplicate_window", s->duplicate_window_ms * 1000000);
	return config;
}

static void on_info(void *ctx, const struct api_reply *r);

static void on_created(void *ctx, const struct api_reply *r)
{
	struct nats_adapter *a = ctx;

	if (r->rc == EB_ECANCELED) {
		return;
	}
	if (r->rc == 0 && (r->err_code == 0 || r->err_code == ERR_STREAM_EXISTS) && r->json) {
		if (r->err_code == 0) {
			log_info(a->base.tag, "stream %s created", a->options->stream);
		}
		look_up(a, on_info);
		return;
	}
	give_up(a, r, "cannot create");
}

static void on_info(void *ctx, const struct api_reply *r)
{
	struct nats_adapter *a = ctx;

	if (r->rc == EB_ECANCELED) {
		return;
	}
	if (r->rc == 0 && r->err_code == ERR_STREAM_NOT_FOUND && a->options->create) {
		api_json(a, stream_config(a->options), on_created, a, "STREAM.CREATE.%s",
			 a->options->stream);
	} else if (r->rc != 0 || r->code || !r->json) {
		give_up(a, r, "cannot use");
	} else {
		conn_on_stream(a, take_view(a, r->json));
	}
}

/* A look while all is well: only news matter. */
static void on_look(void *ctx, const struct api_reply *r)
{
	struct nats_adapter *a = ctx;

	if (r->rc == 0 && r->code == 0 && r->json && !take_view(a, r->json)) {
		pub_on_looked(a);
		return;
	}
	if (r->rc == EB_EAGAIN || (r->rc == 0 && r->err_code == ERR_STREAM_NOT_FOUND)) {
		give_up(a, r, "lost");
	}
}

static void look_up(struct nats_adapter *a, api_cb cb)
{
	api_json(a, NULL, cb, a, "STREAM.INFO.%s", a->options->stream);
}

void admin_set_up(struct nats_adapter *a)
{
	look_up(a, on_info);
}

void admin_look(struct nats_adapter *a)
{
	look_up(a, on_look);
}

void admin_finish(struct nats_adapter *a)
{
	free_subjects(&a->stream);
}

/* ---- what the stream can carry ---------------------------------------------------- */

bool admin_topic_ok(struct nats_adapter *a, struct slice topic, struct answer *why)
{
	if (!a->stream.known || a->stream.whole || covered(a, topic)) {
		return true;
	}
	answer_set(why, OUTCOME_PERMANENT, REASON_UNROUTABLE,
		   "topic %.*s: stream %s has no subject for it", SLICE_ARG(topic),
		   a->options->stream);
	return false;
}

bool admin_pattern_ok(struct nats_adapter *a, struct slice pattern, struct answer *why)
{
	if (!a->stream.known || covered(a, pattern)) {
		return true;
	}
	answer_set(why, OUTCOME_PERMANENT, REASON_UNROUTABLE,
		   "pattern %.*s: the subjects of stream %s do not cover it", SLICE_ARG(pattern),
		   a->options->stream);
	return false;
}

/* ---- buckets ------------------------------------------------------------------------ */

struct bucket_wait {
	struct list link;
	void (*cb)(void *ctx, int rc);
	void *ctx;
};

struct bucket_create {
	struct nats_adapter *adapter;
	struct bucket *bucket;
};

static void on_bucket(void *ctx, const struct api_reply *r)
{
	struct bucket_create *c = ctx;
	struct bucket *b = c->bucket;
	struct nats_adapter *a = c->adapter;
	struct list now;
	int rc = r->rc;

	free(c);
	list_init(&now);
	list_splice_back(&now, &b->waiting);
	b->creating = false;
	if (rc == 0 && r->code && r->err_code != ERR_STREAM_EXISTS) {
		log_warn(a->base.tag, "cannot create a bucket: %s", r->description);
		rc = EB_EIO;
	}
	b->ready = rc == 0;
	while (!list_empty(&now)) {
		struct bucket_wait *w =
			container_of(list_pop_front(&now), struct bucket_wait, link);

		w->cb(w->ctx, rc);
		free(w);
	}
}

/* One value a key, kept until max_age; deleting by sequence is what removes a record for good. */
static json_t *bucket_config(const struct nats_adapter *a, const char *name, int64_t max_age_ms)
{
	json_t *c =
		json_pack("{s:o, s:[o], s:i, s:s, s:b, s:b}", "name", json_sprintf("KV_%s", name),
			  "subjects", json_sprintf("$KV.%s.>", name), "max_msgs_per_subject", 1,
			  "discard", "new", "allow_rollup_hdrs", 1, "allow_direct", 1);

	set_number(c, "max_age", max_age_ms * 1000000);
	set_number(c, "num_replicas", a->options->stream_config.replicas);
	return c;
}

void admin_bucket(struct nats_adapter *a, struct bucket *b, const char *name, int64_t max_age_ms,
		  void (*cb)(void *ctx, int rc), void *ctx)
{
	struct bucket_wait *w;
	struct bucket_create *c;

	w = xcalloc(1, sizeof(*w));
	w->cb = cb;
	w->ctx = ctx;
	list_push_back(&b->waiting, &w->link);
	if (b->creating) {
		return;
	}
	b->creating = true;
	c = xcalloc(1, sizeof(*c));
	c->adapter = a;
	c->bucket = b;
	api_json(a, bucket_config(a, name, max_age_ms), on_bucket, c, "STREAM.CREATE.KV_%s", name);
}

void admin_bucket_forget(struct bucket *b, void *ctx)
{
	struct list *it, *tmp;

	list_for_each_safe (it, tmp, &b->waiting) {
		struct bucket_wait *w = container_of(it, struct bucket_wait, link);

		if (w->ctx == ctx) {
			list_remove(it);
			free(w);
		}
	}
}
