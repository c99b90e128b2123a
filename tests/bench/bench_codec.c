/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one event costs in the codec, on one core: read a Publish, write the Deliver that relays
 * it, read that. Prints ns per event and events/s. bench_codec [BYTES [EVENTS_PER_FRAME]]
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/mem.h"
#include "proto/codec.h"
#include "proto/framer.h"

#define ROUNDS	 5
#define SECONDS_ 0.3

struct fixture {
	uint32_t n;
	struct buf publish, deliver, published;
	struct shared_bytes *source;
	struct slice body;
	struct ranges tags;
	struct publish_frame frame;
	struct deliver_item *items;
};

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void read_publish(struct fixture *f)
{
	struct publish_frame p;

	if (codec_read_publish(f->body, f->source, 64, NULL, &p, NULL) != 0) {
		abort();
	}
	event_block_unref(p.block);
}

static void write_deliver(struct fixture *f)
{
	buf_reset(&f->deliver, SIZE_MAX);
	codec_write_deliver(&f->deliver, f->items, f->n);
}

static int count(void *ctx, const struct delivery_view *d)
{
	*(uint64_t *)ctx += d->tag;
	return 0;
}

static void read_deliver(struct fixture *f)
{
	struct slice s = buf_slice(&f->deliver);
	uint64_t sum = 0;

	if (codec_read_deliver(slice_of(s.p + FRAME_HEADER, s.n - FRAME_HEADER), count, &sum,
			       NULL) != 0) {
		abort();
	}
}

static void write_published(struct fixture *f)
{
	struct published_frame p = {.confirmed = &f->tags, .has_credit = true, .credit_events = 9};

	buf_reset(&f->published, SIZE_MAX);
	codec_write_published(&f->published, &p);
}

static void measure(struct fixture *f, const char *name, void (*fn)(struct fixture *f))
{
	double best = 1e9;

	for (int i = 0; i < ROUNDS; i++) {
		double begin = now_s(), end = begin;
		uint64_t frames = 0;

		while (end - begin < SECONDS_) {
			for (int k = 0; k < 256; k++) {
				fn(f);
			}
			frames += 256;
			end = now_s();
		}
		if ((end - begin) / (double)(frames * f->n) < best) {
			best = (end - begin) / (double)(frames * f->n);
		}
	}
	printf("%-16s %8.1f ns/event %8.2f M events/s\n", name, best * 1e9, 1e-6 / best);
}

static struct event *make_event(size_t payload)
{
	struct metadata_pair pairs[] = {{slice_str("trace-id"), slice_str("4bf92f3577b34da6")}};
	uint8_t *bytes = xcalloc(1, payload);
	struct event_fields fields = {
		.id = slice_str("0d2f8c1e-5f5b-4d06-9f0e-6a3d1a1a4c3b"),
		.topic = slice_str("orders.v1.created"),
		.payload = slice_of(bytes, payload),
		.published_at_ms = 1764000000000,
		.metadata = pairs,
		.metadata_count = 1,
	};
	struct event *e = event_build(&fields, NULL);

	free(bytes);
	return e;
}

static void fixture_init(struct fixture *f, size_t payload, uint32_t n)
{
	struct event **events = xcalloc(n, sizeof(*events));
	size_t size;

	*f = (struct fixture){.n = n, .items = xcalloc(n, sizeof(*f->items))};
	for (uint32_t i = 0; i < n; i++) {
		events[i] = make_event(payload);
	}
	codec_write_publish(&f->publish, 1, false, events, n);
	size = f->publish.len - FRAME_HEADER;
	f->source = shared_bytes_create(size, NULL);
	buf_consume(&f->publish, FRAME_HEADER);
	memcpy(f->source->bytes, buf_data(&f->publish), size);
	f->body = slice_of(f->source->bytes, size);
	if (codec_read_publish(f->body, f->source, 64, NULL, &f->frame, NULL) != 0) {
		abort();
	}
	for (uint32_t i = 0; i < n; i++) {
		f->items[i] = (struct deliver_item){
			.subscription = 1,
			.tag = UINT32_MAX + (uint64_t)i,
			.attempt = 1,
			.event = &event_block_events(f->frame.block)[i],
		};
		event_unref(events[i]);
	}
	free(events);
	ranges_add(&f->tags, 1, n);
}

static void fixture_finish(struct fixture *f)
{
	event_block_unref(f->frame.block);
	shared_bytes_unref(f->source);
	buf_finish(&f->publish);
	buf_finish(&f->deliver);
	buf_finish(&f->published);
	ranges_finish(&f->tags);
	free(f->items);
}

int main(int argc, char **argv)
{
	size_t payload = argc > 1 ? (size_t)strtoul(argv[1], NULL, 10) : 128;
	uint32_t n = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 64;
	struct fixture f;

	if (n < 1 || n > CODEC_MAX_EVENTS) {
		fprintf(stderr, "bench_codec: 1 to %d events per frame\n", CODEC_MAX_EVENTS);
		return 64;
	}
	fixture_init(&f, payload, n);
	printf("%zu byte payloads, %u events per frame\n", payload, n);
	measure(&f, "read publish", read_publish);
	measure(&f, "write deliver", write_deliver);
	measure(&f, "read deliver", read_deliver);
	measure(&f, "write published", write_published);
	fixture_finish(&f);
	return 0;
}
