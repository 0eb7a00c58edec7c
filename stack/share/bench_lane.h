/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack/share/bench_lane.h - a host with up to 16 stacks and a NIC that costs next to nothing, for
 * measuring what steering costs.
 *
 * A lane is a stack's slot: buffers of 2 KiB, more of them than the caches near a core hold, a free
 * list, its soft queues, its steering, its connections. Its NIC writes a header into the next free
 * buffer. What "the stack" does with a frame is to read its header.
 */
#ifndef STACK_SHARE_BENCH_LANE_H
#define STACK_SHARE_BENCH_LANE_H

#include "stack/share/steer.h"

#define LANES        17 /* slots: the manager's and 16 stacks */
#define LANE_BUFFERS 2048
#define LANE_BUFFER                                                                  \
	2176 /* bytes: no power of two, which would fall into few sets of the caches \
	      */
#define LANE_BURST   32
#define LANE_CONNS   1024
#define LANE_BUCKETS 16384 /* as lwIP has here */
#define HISTOGRAM    20000

/* What durations of bursts were; the median is what a frame costs also where others take the
 * processor away in between. */
struct durations {
	uint32_t count[HISTOGRAM]; /* of so many ns */
	uint64_t n;
};

void durations_add(struct durations *d, uint64_t ns);
double durations_median(const struct durations *d);

/* ns, quickly: the TSC, calibrated first (host_open does). */
void bench_calibrate(void);
uint64_t bench_ns(void);
void bench_pin(int cpu);

struct lane {
	uint32_t slot;
	struct uvs_softq_end end;
	struct uvs_steer steer;
	uint32_t free[LANE_BUFFERS], nb_free,
		oldest;                /* a ring: the buffer that is longest at home */
	uint16_t bucket[LANE_BUCKETS]; /* first connection + 1 */
	struct {
		struct uvs_flow flow;
		uint16_t next;
		uint8_t state;
	} conn[LANE_CONNS];
	uint16_t nb_conns;
	uint64_t seed;
	uint64_t sum; /* of what was read, so that it is */
};

struct host {
	uint32_t lanes; /* slots in use: 1..lanes */
	struct uvs_crossbar x;
	struct uvs_steer_map map;
	struct uvs_rules_writer writer;
	uint8_t *data;   /* [slot][LANE_BUFFERS][LANE_BUFFER] */
	uint64_t *trail; /* [slot][LANE_BUFFERS] */
	struct uvs_label *label;
	struct lane *lane; /* [LANES] */
};

/* `lanes` stacks, a table of `rules` places. */
void host_open(struct host *h, uint32_t lanes, uint32_t rules);
void host_close(struct host *h);

/* Slot holds the port, open for SYNs or not. */
void host_hold(struct host *h, uint32_t slot, uint16_t port, bool open);
void host_connect(struct host *h, uint32_t slot, const struct uvs_flow *f);

/* TCP, from the n-th peer to this port. */
struct uvs_flow bench_flow(uint16_t port, uint32_t n);

/* What arrives. */
struct traffic {
	uint16_t port;
	uint32_t flows; /* of so many, at random */
	uint8_t tcp_flags;
	uint32_t len; /* bytes of a frame */
};

/* A burst from the lane's NIC; false: it has not enough buffers at home. */
bool lane_rx(struct host *h, struct lane *l, const struct traffic *t, struct uvs_frame *frame);
/* The stack looks at a frame. */
void lane_process(struct lane *l, const struct uvs_frame *f);
/* A buffer of this lane's is free again. */
void lane_home(struct lane *l, uvs_ref ref);
/* The buffer that is longest at home, still there. */
struct uvs_frame lane_buffer(const struct host *h, struct lane *l);
/* The same with the headers of an answer to one of the peers. */
struct uvs_frame lane_answer(const struct host *h, struct lane *l, const struct traffic *t);
/* The frame of a reference, and its bytes to be written. */
struct uvs_frame host_frame(const struct host *h, uvs_ref ref);
uint8_t *host_data(const struct host *h, const struct uvs_frame *f);

#endif /* STACK_SHARE_BENCH_LANE_H */
