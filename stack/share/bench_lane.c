/* SPDX-License-Identifier: BSD-3-Clause */
#include "stack/share/bench_lane.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#define ETH     14
#define IP4     20
#define HEADERS 54
#define SECRET  0x5eed5eed5eedULL

/* ----------------------------------------------------------------------------------------- time */

void
durations_add(struct durations *d, uint64_t ns)
{
	d->count[ns < HISTOGRAM ? ns : HISTOGRAM - 1]++;
	d->n++;
}

double
durations_median(const struct durations *d)
{
	uint64_t below = 0;

	for (uint32_t i = 0; i < HISTOGRAM; i++) {
		below += d->count[i];
		if (below * 2 > d->n)
			return i;
	}
	return 0;
}

static uint64_t
kernel_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static double ns_per_tick;

void
bench_calibrate(void)
{
	uint64_t ns = kernel_ns(), ticks = __rdtsc();

	while (kernel_ns() - ns < 20000000)
		;
	ns_per_tick = (double)(kernel_ns() - ns) / (double)(__rdtsc() - ticks);
}

uint64_t
bench_ns(void)
{
	return (uint64_t)((double)__rdtsc() * ns_per_tick);
}

void
bench_pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((size_t)(cpu % sysconf(_SC_NPROCESSORS_ONLN)), &set);
	sched_setaffinity(0, sizeof(set), &set);
}

/* ----------------------------------------------------------------------------------------- host */

static void *
memory(size_t len)
{
	void *at = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED) {
		perror("mmap");
		exit(1);
	}
	madvise(at, len, MADV_HUGEPAGE);
	return at;
}

static uint16_t *
bucket(struct lane *l, const struct uvs_flow *f)
{
	return &l->bucket[uvs_flow_hash(f, SECRET) % LANE_BUCKETS];
}

static uint8_t *
own(void *arg, const struct uvs_flow *f)
{
	struct lane *l = arg;

	for (uint16_t i = *bucket(l, f); i != 0; i = l->conn[i - 1].next)
		if (memcmp(&l->conn[i - 1].flow, f, sizeof(*f)) == 0)
			return &l->conn[i - 1].state;
	return NULL;
}

void
host_connect(struct host *h, uint32_t slot, const struct uvs_flow *f)
{
	struct lane *l = &h->lane[slot];
	uint16_t *first = bucket(l, f);

	if (l->nb_conns == LANE_CONNS)
		abort();
	l->conn[l->nb_conns].flow = *f;
	l->conn[l->nb_conns].state = 1; /* has its rule, or needs none */
	l->conn[l->nb_conns].next = *first;
	*first = ++l->nb_conns;
}

void
host_hold(struct host *h, uint32_t slot, uint16_t port, bool open)
{
	if (uvs_claim_take(h->map.claims, UVS_CLAIM_TCP4, port, uvs_claimant_alone(slot),
			   UVS_CLAIM_REUSEPORT) < 0 ||
	    (open &&
	     uvs_claim_open(h->map.claims, UVS_CLAIM_TCP4, port, uvs_claimant_alone(slot)) < 0))
		abort();
}

static void
open_pools(struct host *h)
{
	uint64_t *at = memory(LANES * LANE_BUFFERS * sizeof(*at));

	h->data = memory((size_t)LANES * LANE_BUFFERS * LANE_BUFFER);
	h->trail = memory(LANES * LANE_BUFFERS * sizeof(*h->trail));
	h->label = memory(LANES * LANE_BUFFERS * sizeof(*h->label));
	for (uint32_t i = 0; i < LANES * LANE_BUFFERS; i++)
		at[i] = (uintptr_t)&h->label[i];
	for (uint32_t slot = 0; slot < LANES; slot++) {
		h->x.pool[slot].count = slot == UVS_SLOT_BOSS ? 0 : LANE_BUFFERS;
		h->x.pool[slot].label_at = &at[slot * LANE_BUFFERS];
	}
}

static void
open_lane(struct host *h, uint32_t slot)
{
	struct lane *l = &h->lane[slot];

	l->slot = slot;
	l->seed = slot;
	l->nb_free = LANE_BUFFERS;
	for (uint32_t i = 0; i < LANE_BUFFERS; i++)
		l->free[i] = i;
	atomic_store(&h->x.inbox[slot].life, 1u << 8 | UVS_LIFE_UP);
	uvs_softq_open(&l->end, &h->x, slot);
	uvs_steer_open(&l->steer, &h->map, &l->end, own, l);
}

void
host_open(struct host *h, uint32_t lanes, uint32_t rules)
{
	struct uvs_steer_size size = {.nb_slots = LANES, .rules = rules, .secret = SECRET};

	bench_calibrate();
	*h = (struct host){.lanes = lanes};
	uvs_crossbar_init(&h->x, LANES, memory(uvs_crossbar_size(LANES)));
	if (uvs_steer_map(&h->map, &size, memory(uvs_steer_size(&size))) < 0 ||
	    uvs_rules_adopt(&h->writer, &h->map.rules, h->map.claims) < 0)
		abort();
	open_pools(h);
	h->lane = memory(LANES * sizeof(*h->lane));
	for (uint32_t slot = 1; slot <= lanes; slot++)
		open_lane(h, slot);
}

void
host_close(struct host *h)
{
	for (uint32_t slot = 1; slot <= h->lanes; slot++)
		uvs_steer_close(&h->lane[slot].steer);
	uvs_rules_close(&h->writer); /* the rest goes with the process */
}

/* -------------------------------------------------------------------------------------- traffic */

struct uvs_flow
bench_flow(uint16_t port, uint32_t n)
{
	return (struct uvs_flow){.local = {htonl(0x0a000001)},
				 .remote = {htonl(0x0b000000 + (n >> 10))},
				 .lport = port,
				 .rport = (uint16_t)(1024 + (n & 1023)),
				 .proto = IPPROTO_TCP,
				 .family = 4};
}

static void
put16(uint8_t *at, uint32_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static void
put_headers(uint8_t *to, const struct uvs_flow *f, const struct traffic *t)
{
	memset(to, 0, HEADERS);
	to[0] = 2;
	put16(to + 12, 0x0800);
	to += ETH;
	to[0] = 0x45;
	to[9] = f->proto;
	memcpy(to + 12, f->remote, 4);
	memcpy(to + 16, f->local, 4);
	to += IP4;
	put16(to, f->rport);
	put16(to + 2, f->lport);
	to[13] = t->tcp_flags;
}

static uint32_t
random_below(struct lane *l, uint32_t n)
{
	l->seed = l->seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return (uint32_t)((l->seed >> 32) * n >> 32);
}

struct uvs_frame
host_frame(const struct host *h, uvs_ref ref)
{
	size_t b = UVS_REF_POOL(ref) * (size_t)LANE_BUFFERS + UVS_REF_INDEX(ref);

	return (struct uvs_frame){.data = h->data + b * LANE_BUFFER,
				  .len = HEADERS,
				  .ref = ref,
				  .trail = &h->trail[b]};
}

uint8_t *
host_data(const struct host *h, const struct uvs_frame *f)
{
	return h->data + (f->data - h->data);
}

struct uvs_frame
lane_buffer(const struct host *h, struct lane *l)
{
	return host_frame(h, UVS_REF(l->slot, l->free[l->oldest++ % LANE_BUFFERS]));
}

struct uvs_frame
lane_answer(const struct host *h, struct lane *l, const struct traffic *t)
{
	struct uvs_flow peer = bench_flow(t->port, random_below(l, t->flows));
	struct uvs_frame f = lane_buffer(h, l);

	put_headers(host_data(h, &f), &peer, t);
	return f;
}

bool
lane_rx(struct host *h, struct lane *l, const struct traffic *t, struct uvs_frame *frame)
{
	if (l->nb_free < LANE_BURST)
		return false;
	for (uint32_t i = 0; i < LANE_BURST; i++) {
		struct uvs_flow f = bench_flow(t->port, random_below(l, t->flows));

		frame[i] = lane_buffer(h, l);
		put_headers(host_data(h, &frame[i]), &f, t);
	}
	l->nb_free -= LANE_BURST;
	return true;
}

void
lane_process(struct lane *l, const struct uvs_frame *f)
{
	l->sum += f->data[ETH] + f->data[ETH + IP4 + 13];
}

void
lane_home(struct lane *l, uvs_ref ref)
{
	l->free[(l->oldest + l->nb_free++) % LANE_BUFFERS] = UVS_REF_INDEX(ref);
}
