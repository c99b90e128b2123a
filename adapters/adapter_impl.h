/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The seam for those who implement it. Embed struct adapter first in your own
 * struct. adapter.c checks the contract on both sides with assert: each publish item told
 * once, each handle settled once, nothing after stop.
 *
 * Every op is mandatory unless it says otherwise. No op may call up from inside
 * itself: defer to a later turn (adapter_defer, a completion, a timer).
 */
#ifndef ADAPTERS_ADAPTER_IMPL_H
#define ADAPTERS_ADAPTER_IMPL_H

#include "adapters/adapter.h"

struct adapter_ops {
	int (*start)(struct adapter *a, struct err_text *err);
	void (*publish)(struct adapter *a, struct publish *p);
	bool (*topic_ok)(struct adapter *a, struct slice topic, struct answer *why); /* NULL: all */
	bool (*flow_ok)(struct adapter *a, const struct flow_spec *spec,
			struct answer *why); /* NULL: all */
	void (*subscribe)(struct adapter *a, struct flow *f);
	void (*credit)(struct adapter *a, struct flow *f, struct credit now);
	void (*settle)(struct adapter *a, struct flow *f, const struct settlement *items,
		       uint32_t n);
	void (*unsubscribe)(struct adapter *a, struct flow *f);
	int (*format_position)(struct adapter *a, struct slice topic, struct position p,
			       char out[POSITION_TEXT_MAX]);
	int (*parse_position)(struct adapter *a, const char *text, struct position *out,
			      struct err_text *err);
	void (*stop)(struct adapter *a, bool force);
	void (*destroy)(struct adapter *a);
};

struct adapter {
	const struct adapter_ops *ops;
	const struct adapter_kind *kind;
	struct adapter_env env; /* name and instance are owned copies */
	struct capabilities caps;
	char tag[80];
	bool started, stopping, stopped;
	bool up;	 /* between on_up and on_down */
	bool in_op;	 /* adapter.c's: an op runs, so no upcall may */
	uint32_t flows;	 /* subscribed and not gone */
	uint64_t untold; /* publish items not yet told */
};

/* Fills the base; finish frees what init made. */
void adapter_init(struct adapter *a, const struct adapter_ops *ops, const struct adapter_kind *kind,
		  const struct adapter_env *env);
void adapter_finish(struct adapter *a);

/* The upcalls, checked. Use these, never env.up directly. */
void adapter_tell_up(struct adapter *a);
void adapter_tell_down(struct adapter *a, const char *why);
void adapter_tell_deliver(struct flow *f, struct delivery *items, uint32_t n);
void adapter_tell_flow(struct flow *f, const struct flow_note *note);
void adapter_tell_revoked(struct flow *f, void *const *handles, uint32_t n);
void adapter_tell_recorded(struct flow *f, void *item, int rc);
void adapter_tell_flow_gone(struct flow *f);
void adapter_tell_stopped(struct adapter *a);

/* Item i is answered: answer (and position, duplicate) was filled. The batch may be gone after the
 * last. */
void adapter_tell(struct adapter *a, struct publish *p, uint32_t i);
void adapter_tell_ok(struct adapter *a, struct publish *p, uint32_t i, struct position pos,
		     bool duplicate);
void adapter_tell_failed(struct adapter *a, struct publish *p, uint32_t i, enum outcome o,
			 enum reason r, const char *text);

/* The kinds, for the registry in registry.c. */
extern const struct adapter_kind adapter_kind_memory;
extern const struct adapter_kind adapter_kind_nats;

#endif
