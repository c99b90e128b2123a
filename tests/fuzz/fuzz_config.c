/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any text as a configuration file: it loads, or it is refused with lines of the promised form;
 * what loaded is used the way the daemon uses it.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "adapters/adapter.h"
#include "base/topic.h"
#include "config/config.h"

#define NAME	  "f.yaml"
#define KINDS_MAX 16

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct config_broker_kind store[KINDS_MAX];
static const struct config_broker_kind *kinds[KINDS_MAX + 1];

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	const struct adapter_kind *const *a = adapter_kinds();

	(void)argc;
	(void)argv;
	for (size_t i = 0; a[i] && i < KINDS_MAX; i++) {
		store[i] = (struct config_broker_kind){a[i]->name, a[i]->options,
						       a[i]->options_size, a[i]->check};
		kinds[i] = &store[i];
	}
	setenv("NATS_TOKEN", "from the environment", 1);
	return 0;
}

static void check_lines(const struct config_errors *e)
{
	assert(e->n >= 1 && e->n <= 101);
	for (size_t i = 0; i < e->n; i++) {
		assert(strncmp(e->v[i], NAME ":", sizeof(NAME)) == 0);
		for (const char *s = e->v[i]; *s; s++) {
			assert((unsigned char)*s >= 0x20);
		}
	}
}

static void use(const struct config *c)
{
	static const char *const topics[] = {"a", "a.b", "orders.x.y", "dlq.g", ">", "orders.*"};
	struct config_errors none = {0}, changes = {0}, errors = {0};
	struct config *built_in;
	int rc = config_load(NULL, kinds, &built_in, &none);

	assert(rc == 0 && none.n == 0);
	(void)config_diff(built_in, c, &changes, &errors);
	(void)config_diff(c, built_in, &changes, &errors);
	config_errors_free(&changes);
	config_errors_free(&errors);
	config_free(built_in);
	for (size_t i = 0; i < sizeof(topics) / sizeof(topics[0]); i++) {
		char dlq[TOPIC_MAX + 1];
		struct policy p;

		policy_resolve(c, slice_str(topics[i]), i & 1 ? "g" : NULL, &p);
		assert(p.dlq_off == !p.dlq_topic && p.lease_ms <= c->limits.max_lease_ms);
		(void)policy_dlq_topic(&p, slice_str(topics[i]), "g", dlq);
		(void)policy_reason_retries(&p, slice_str("timeout: declined"));
		(void)config_allows(c, 0, CONFIG_SUBSCRIBE, slice_str(topics[i]));
		(void)config_allows(c, 7, CONFIG_GROUP, slice_str("orders-1"));
	}
	free(config_socket_path(c));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct config_errors errors = {0};
	struct config *c;
	int rc = config_load_text(NAME, (const char *)data, size, kinds, &c, &errors);

	if (rc == 0) {
		assert(c && errors.n == 0);
		use(c);
	} else {
		assert(!c);
		check_lines(&errors);
	}
	config_free(c);
	config_errors_free(&errors);
	return 0;
}
