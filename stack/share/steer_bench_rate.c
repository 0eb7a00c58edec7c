/* SPDX-License-Identifier: BSD-3-Clause
 *
 * steer_bench rate - what a frame costs at each end of the ways to get it from a NIC to a process,
 * two threads on two processors:
 *
 *   hardware   the NIC brings it to the right process, nothing looks again: a flow director
 *   direct     the same, steered: it is ours
 *   forwarded  it is another's: receiver and owner
 *   central    one process receives for all, looks the owner up, copies each frame into a ring in
 *              memory that only it and the owner share; the owner copies it out. The old scheme.
 *
 * The same with an answer for each frame ("answered"): the owner writes it and gives it to a queue
 * of its own, which costs next to nothing; with the central forwarder it has none, and what it
 * sends is copied into a second ring and out of it again.
 *
 * A contender's ends run at the same time, each measures its own bursts; the median is not moved by
 * what else the machine does. An end that waits is not measured.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stack/share/bench_lane.h"
#include "stack/share/steer_bench.h"

#define ACK          16
#define PORT_OWN     80
#define PORT_OTHER   81
#define CENTRAL_RING 1024
#define SLICE_NS     20000000
#define ENOUGH       100 /* bursts */

/* ------------------------------------------------------------------------- the central forwarder
 */

struct parcel {
	uint32_t len;
	uint8_t data[LANE_BUFFER - 4];
};

/* One writer at each end, as our own rings. */
struct ring {
	alignas(64) _Atomic uint32_t head;
	alignas(64) _Atomic uint32_t tail;
	alignas(64) struct parcel parcel[CENTRAL_RING];
};

struct central {
	struct ring in, out; /* as the owner sees it */
};

/* The parcels of a burst start at *at; the other end sees them, or their places, when it ends. */
static bool
ring_put_begin(const struct ring *r, uint32_t *at)
{
	*at = atomic_load_explicit(&r->head, memory_order_relaxed);
	return CENTRAL_RING - (*at - atomic_load_explicit(&r->tail, memory_order_acquire)) >=
	       LANE_BURST;
}

static void
ring_put_end(struct ring *r, uint32_t at)
{
	atomic_store_explicit(&r->head, at + LANE_BURST, memory_order_release);
}

static bool
ring_take_begin(const struct ring *r, uint32_t *at)
{
	*at = atomic_load_explicit(&r->tail, memory_order_relaxed);
	return atomic_load_explicit(&r->head, memory_order_acquire) - *at >= LANE_BURST;
}

static void
ring_take_end(struct ring *r, uint32_t at)
{
	atomic_store_explicit(&r->tail, at + LANE_BURST, memory_order_release);
}

static void
pack(struct ring *r, uint32_t at, const uint8_t *data, uint32_t len)
{
	struct parcel *to = &r->parcel[at % CENTRAL_RING];

	to->len = len;
	memcpy(to->data, data, len);
}

static void
unpack(const struct ring *r, uint32_t at, uint8_t *data)
{
	const struct parcel *from = &r->parcel[at % CENTRAL_RING];

	memcpy(data, from->data, from->len);
}

/* ---------------------------------------------------------------------------------------- ends */

struct bench {
	struct host host;
	struct central *central;
	struct traffic traffic;
	_Atomic bool stop;
};

/* One burst; how many frames it had. */
typedef uint32_t (*end_fn)(struct bench *b, struct lane *l);

struct end {
	struct bench *bench;
	struct lane *lane;
	end_fn burst;
	int cpu;
	struct durations d;
};

struct contender {
	const char *name;
	end_fn receiver, owner; /* owner NULL: the receiver's process is it */
	uint16_t port;
	struct end end[2];
};

static void
process_and_keep(struct lane *l, const struct uvs_frame *frame, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		if (frame[i].verdict == UVS_HERE) {
			lane_process(l, &frame[i]);
			lane_home(l, frame[i].ref);
		}
}

static uint32_t
hardware(struct bench *b, struct lane *l)
{
	struct uvs_frame frame[LANE_BURST];

	if (!lane_rx(&b->host, l, &b->traffic, frame))
		return 0;
	for (uint32_t i = 0; i < LANE_BURST; i++)
		frame[i].verdict = UVS_HERE;
	process_and_keep(l, frame, LANE_BURST);
	return LANE_BURST;
}

static void
buffers_come_home(struct lane *l)
{
	uvs_ref ref[LANE_BURST];
	uint32_t n = uvs_softq_take(&l->end, ref, LANE_BURST);

	while (n-- > 0)
		lane_home(l, ref[n]);
}

/* Direct, or the receiver's end of forwarded. */
static uint32_t
receive(struct bench *b, struct lane *l)
{
	struct uvs_frame frame[LANE_BURST];

	buffers_come_home(l);
	if (!lane_rx(&b->host, l, &b->traffic, frame))
		return 0;
	uvs_steer_burst(&l->steer, frame, LANE_BURST);
	process_and_keep(l, frame, LANE_BURST);
	for (uint32_t i = 0; i < LANE_BURST; i++)
		if (frame[i].verdict == UVS_DROP)
			lane_home(l, frame[i].ref);
	uvs_softq_publish(&l->end);
	return LANE_BURST;
}

/* The owner's end of forwarded. */
static uint32_t
serve(struct bench *b, struct lane *l)
{
	struct uvs_frame frame[LANE_BURST];
	uvs_ref ref[LANE_BURST];
	uint32_t n = uvs_softq_take(&l->end, ref, LANE_BURST);

	for (uint32_t i = 0; i < n; i++) {
		frame[i] = host_frame(&b->host, ref[i]);
		frame[i].flags = UVS_FRAME_FORWARDED;
		__builtin_prefetch(frame[i].data);
	}
	uvs_steer_burst(&l->steer, frame, n);
	for (uint32_t i = 0; i < n; i++) {
		lane_process(l, &frame[i]);
		uvs_softq_stage(&l->end, UVS_REF_POOL(ref[i]), ref[i]);
	}
	uvs_softq_publish(&l->end);
	return n;
}

static uint32_t
central_forward(struct bench *b, struct lane *l)
{
	struct ring *in = &b->central->in;
	struct uvs_frame frame[LANE_BURST];
	uint32_t at;

	if (!ring_put_begin(in, &at) || !lane_rx(&b->host, l, &b->traffic, frame))
		return 0;
	for (uint32_t i = 0; i < LANE_BURST; i++) {
		struct uvs_parsed p;

		uvs_flow_parse(&p, frame[i].data, frame[i].len);
		/* It does know the owners of ports; with connections to look up it would be more.
		 */
		if (uvs_claim_held(b->host.map.claims, UVS_CLAIM_TCP4, p.flow.lport) != 0)
			pack(in, at + i, frame[i].data, b->traffic.len);
		lane_home(l, frame[i].ref);
	}
	ring_put_end(in, at);
	return LANE_BURST;
}

static uint32_t
central_owner(struct bench *b, struct lane *l)
{
	struct ring *in = &b->central->in;
	uint32_t at;

	if (!ring_take_begin(in, &at))
		return 0;
	for (uint32_t i = 0; i < LANE_BURST; i++) {
		struct uvs_frame f = lane_buffer(&b->host, l);

		unpack(in, at + i, host_data(&b->host, &f));
		lane_process(l, &f);
		l->nb_free--;
		lane_home(l, f.ref);
	}
	ring_take_end(in, at);
	return LANE_BURST;
}

/* -------------------------------------------------------------------------------------- answers */

/* A queue that costs next to nothing has sent it. */
static void
lane_sent(struct lane *l, const struct uvs_frame *f)
{
	l->nb_free--;
	lane_home(l, f->ref);
}

static void
answer(struct bench *b, struct lane *l, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		struct uvs_frame f = lane_answer(&b->host, l, &b->traffic);

		lane_sent(l, &f);
	}
}

static uint32_t
receive_answered(struct bench *b, struct lane *l)
{
	uint32_t n = receive(b, l);

	answer(b, l, n);
	return n;
}

static uint32_t
serve_answered(struct bench *b, struct lane *l)
{
	uint32_t n = serve(b, l);

	answer(b, l, n);
	return n;
}

static bool
central_send(struct bench *b, struct lane *l)
{
	struct ring *out = &b->central->out;
	uint32_t at;

	if (!ring_take_begin(out, &at))
		return false;
	for (uint32_t i = 0; i < LANE_BURST; i++) {
		struct uvs_frame f = lane_buffer(&b->host, l);

		unpack(out, at + i, host_data(&b->host, &f));
		lane_sent(l, &f);
	}
	ring_take_end(out, at);
	return true;
}

/* A turn in which there was nothing to send is not measured. */
static uint32_t
central_forward_answered(struct bench *b, struct lane *l)
{
	bool sent = central_send(b, l);
	uint32_t n = central_forward(b, l);

	return sent ? n : 0;
}

static uint32_t
central_owner_answered(struct bench *b, struct lane *l)
{
	struct ring *out = &b->central->out;
	uint32_t at;

	if (!ring_put_begin(out, &at) || central_owner(b, l) == 0)
		return 0;
	for (uint32_t i = 0; i < LANE_BURST; i++) {
		struct uvs_frame f = lane_answer(&b->host, l, &b->traffic);

		pack(out, at + i, f.data, b->traffic.len);
		lane_sent(l, &f);
	}
	ring_put_end(out, at);
	return LANE_BURST;
}

/* --------------------------------------------------------------------------------------- slices */

static void *
end_main(void *arg)
{
	struct end *e = arg;

	bench_pin(e->cpu);
	while (!atomic_load_explicit(&e->bench->stop, memory_order_relaxed)) {
		uint64_t start = bench_ns();
		uint32_t n = e->burst(e->bench, e->lane);

		if (n >= LANE_BURST / 4)
			durations_add(&e->d, (bench_ns() - start) * LANE_BURST / n);
	}
	return NULL;
}

/* Let what is on its way arrive, so that the next contender finds all buffers at home. */
static void
settle(struct bench *b)
{
	struct lane *l = b->host.lane;
	uint32_t before;

	do {
		before = l[1].nb_free + l[2].nb_free;
		serve(b, &l[2]);
		buffers_come_home(&l[1]);
	} while (l[1].nb_free + l[2].nb_free != before);
	atomic_store(&b->central->in.tail, atomic_load(&b->central->in.head));
	atomic_store(&b->central->out.tail, atomic_load(&b->central->out.head));
}

static void
slice(struct bench *b, struct contender *c)
{
	pthread_t thread[2];
	uint32_t n = c->owner != NULL ? 2 : 1;
	uint64_t end;

	b->traffic.port = c->port;
	atomic_store(&b->stop, false);
	for (uint32_t i = 0; i < n; i++) {
		struct end *e = &c->end[i];

		e->bench = b;
		e->lane = &b->host.lane[i + 1];
		e->burst = i == 0 ? c->receiver : c->owner;
		e->cpu = (int)i;
		if (pthread_create(&thread[i], NULL, end_main, e) != 0)
			abort();
	}
	end = bench_ns() + SLICE_NS;
	while (bench_ns() < end)
		sched_yield();
	atomic_store(&b->stop, true);
	for (uint32_t i = 0; i < n; i++)
		pthread_join(thread[i], NULL);
	settle(b);
}

/* On a machine that is busy an end may not have had its turn yet. */
static bool
enough(const struct contender *c, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		if (c[i].end[0].d.n < ENOUGH || (c[i].owner != NULL && c[i].end[1].d.n < ENOUGH))
			return false;
	return true;
}

int
bench_rate(uint32_t bytes, double seconds)
{
	static struct bench b;
	static struct contender c[] = {
		{.name = "hardware", .receiver = hardware, .port = PORT_OWN},
		{.name = "direct", .receiver = receive, .port = PORT_OWN},
		{.name = "forwarded", .receiver = receive, .owner = serve, .port = PORT_OTHER},
		{.name = "central",
		 .receiver = central_forward,
		 .owner = central_owner,
		 .port = PORT_OTHER},
		{.name = "direct_answered", .receiver = receive_answered, .port = PORT_OWN},
		{.name = "forwarded_answered",
		 .receiver = receive,
		 .owner = serve_answered,
		 .port = PORT_OTHER},
		{.name = "central_answered",
		 .receiver = central_forward_answered,
		 .owner = central_owner_answered,
		 .port = PORT_OTHER},
	};
	uint32_t n = sizeof(c) / sizeof(c[0]);
	uint64_t end;

	host_open(&b.host, 2, 1024);
	host_hold(&b.host, 1, PORT_OWN, true);
	host_hold(&b.host, 2, PORT_OTHER, true);
	b.central = aligned_alloc(64, sizeof(*b.central));
	memset(b.central, 0, sizeof(*b.central));
	b.traffic = (struct traffic){.flows = 1000, .tcp_flags = ACK, .len = bytes};
	end = bench_ns() + (uint64_t)(seconds * 1e9);
	while (bench_ns() < end || !enough(c, n))
		for (uint32_t i = 0; i < n; i++)
			slice(&b, &c[i]);
	printf("{");
	for (uint32_t i = 0; i < n; i++)
		printf("%s\"%s\": [%.2f, %.2f]", i == 0 ? "" : ", ", c[i].name,
		       durations_median(&c[i].end[0].d) / LANE_BURST,
		       durations_median(&c[i].end[1].d) / LANE_BURST);
	printf("}\n");
	free(b.central);
	host_close(&b.host);
	return 0;
}
