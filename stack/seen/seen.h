/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack/seen/seen.h - what can be seen of a stack from outside, alive or dead, without asking it.
 *
 * Each stack counts in a page of its own, struct uvs_seen, beside its struct uvl. Tools map it and
 * read; nothing is copied, published or answered by the stack, so nobody who looks is noticed.
 *
 *   a process with its own NIC   $UVSTACK_RUNDIR/.seen/PID: struct uvs_seen, then struct uvl at
 *                                UVS_SEEN_LWIP. Made when the stack starts, removed by an orderly
 *                                end. Who is killed leaves it; the newest UVS_SEEN_DEAD are kept.
 *   a shared host                memory of the slot (stack/share/host.h); the manager hands a copy
 *                                out, also of a slot whose process has died, until it is leased
 *                                again.
 *
 *  word                 writer                                reader
 *  head                 whoever makes it, before `magic`      tools
 *  .magic               the same, last, release               tools, acquire
 *  .latency             tools, the manager; at first, the     the stack, relaxed, once per burst or
 *                       stack (configuration)                 call
 *  everything else      the stack, under its instance: plain  tools, relaxed: each word is true by
 *                       words of 64 bits                      itself, a table of them is no
 * snapshot .lost[].last         the same; .turn is odd while it is    tools, twice: a copy with two
 * even written (release)                     equal turns around it is whole
 *
 * What dies if the process dies at any instruction here: a dropped frame that was being noted has
 * an odd turn for ever and is shown without the frame. Counters stay as they are.
 *
 * Everything read here by tools is untrusted: lengths are checked, no pointer is followed.
 */
#ifndef STACK_SEEN_SEEN_H
#define STACK_SEEN_SEEN_H

#include <stdatomic.h>
#include <stdint.h>

#include "stack/seen/histogram.h"

#define UVS_SEEN_MAGIC  0x6e6565732d737675ULL /* "uvs-seen" */
#define UVS_SEEN_DIR    ".seen"
#define UVS_SEEN_DEAD   16 /* pages of processes that were killed */
#define UVS_SEEN_QUEUES 64 /* UVS_QUEUES_MAX */
#define UVS_SEEN_NAME   16 /* as the kernel's */
#define UVS_SEEN_NIC    128
#define UVS_SEEN_HEADER 128 /* bytes of a dropped frame */

/* Of the loop, and of calls into it. */
struct uvs_loop_stats {
	uint64_t polls, work_polls, calls;
	uint64_t processed;    /* frames given to lwIP */
	uint64_t time_squeeze; /* a budget was used up with more waiting */
	/* Of the thread that drives, ns of the stack's clock: in rounds that found something, in
	 * rounds that did not, asleep. What it costs is busy_ns + spin_ns. */
	uint64_t busy_ns, spin_ns, asleep_ns;
	uint64_t sleeps;    /* times it slept */
	uint64_t wakeups;   /* sleeps that ended before their time: a packet, a call, a kick */
	uint64_t reentered; /* calls refused: from a signal handler inside the stack */
	uint64_t asserts;   /* of lwIP, that did not hold */
};

struct uvs_port_stats {
	uint64_t rx_packets, rx_bytes, tx_packets, tx_bytes;
	uint64_t tx_bursts;
	uint64_t tx_copied; /* frames that could not go as they were */
	uint64_t tx_joined; /* segments that went as part of the frame before (TSO) */
	uint64_t rx_joined; /* frames that are several segments of the wire (LRO) */
};

struct uvs_mem_stats {
	uint64_t mbufs, mbufs_reserve; /* of the pool, and of them for receiving alone */
	uint64_t mbufs_free;           /* at the last poll */
	uint64_t heap_bytes;           /* of plain memory, at the last poll */
	uint64_t depot_bytes;          /* that it may take */
	uint64_t alloc_failed, big_allocs, unpinned, depot_allocs, depot_full;
	uint64_t starved;        /* senders that wait for mbufs */
	uint64_t tcp_rx_refused; /* segments kept back, memory being full */
	uint64_t rx_cut;         /* joined frames of which one packet was taken, likewise */
};

/* Of a receive queue, as /proc/net/softnet_stat has them. */
struct uvs_queue_stats {
	uint64_t polls, packets, time_squeeze;
};

/* Why a frame ended here. Those of lwIP count in its own statistics; the last frame of each is
 * noted all the same. */
enum uvs_lost {
	UVS_LOST_RX_BAD_CHECKSUM,
	UVS_LOST_RX_REFUSED,
	UVS_LOST_RX_VLAN,
	UVS_LOST_TX_FULL,
	UVS_LOST_TX_NO_MBUF,
	UVS_LOST_UDP_RCVBUF_FULL,
	UVS_LOST_UDP_NO_MEMORY,
	/* in a shared host */
	UVS_LOST_COPY_NO_MBUF,
	UVS_LOST_PROXY_FULL,
	UVS_LOST_PROXY_NONE,
	UVS_LOST_STEER_FULL,
	UVS_LOST_STEER_FRAGMENT,
	UVS_LOST_STEER_STALE,
	/* by lwIP */
	UVS_LOST_ARP,
	UVS_LOST_IP,
	UVS_LOST_IP_FRAG,
	UVS_LOST_ICMP,
	UVS_LOST_UDP,
	UVS_LOST_TCP,
	UVS_LOST_IP6,
	UVS_LOST_ICMP6,
	UVS_LOST_IP6_FRAG,
	UVS_LOST_ND6,
	UVS_LOST_REASONS,
};

struct uvs_lost_frame {
	_Atomic uint32_t turn; /* 0: none so far */
	uint32_t len;          /* of the frame */
	uint64_t when_ns;      /* by the stack's clock */
	uint8_t header[UVS_SEEN_HEADER];
};

struct uvs_lost_stats {
	uint64_t count; /* of reasons that are counted nowhere else */
	struct uvs_lost_frame last;
};

/* Where a packet waits. Each is sampled, never two at a time: see stack/core/latency.h. */
enum uvs_stage {
	UVS_STAGE_NIC,   /* the NIC's time stamp -> receive burst */
	UVS_STAGE_RX,    /* receive burst -> socket's queue */
	UVS_STAGE_QUEUE, /* socket's queue -> read by the application */
	UVS_STAGE_TX,    /* write by the application -> transmit burst */
	UVS_STAGES,
};

struct uvs_seen {
	_Atomic uint64_t magic;
	/* Of the build: a tool of another one would misread the page. */
	uint32_t seen_size, lwip_size, nb_counters;

	int32_t pid;
	uint32_t queues, first_queue;
	uint64_t started_s; /* CLOCK_REALTIME */
	char name[UVS_SEEN_NAME];
	char nic[UVS_SEEN_NIC];

	_Atomic uint32_t latency; /* 1: measure */

	struct uvs_loop_stats loop;
	struct uvs_port_stats port;
	struct uvs_mem_stats mem;
	struct uvs_queue_stats queue[UVS_SEEN_QUEUES];
	struct uvs_lost_stats lost[UVS_LOST_REASONS];
	struct uvs_histogram stage[UVS_STAGES];
};

/* Where struct uvl is in the file: a page boundary. */
#define UVS_SEEN_LWIP ((sizeof(struct uvs_seen) + 4095) & ~(size_t)4095)

/* Fill the head of a zeroed page, magic last. */
struct uvs_conf;
void uvs_seen_begin(struct uvs_seen *s, const struct uvs_conf *c);

/* Under the instance: a frame that ends here. frame may be NULL. */
void uvs_seen_last(struct uvs_seen *s, enum uvs_lost why, const void *frame, uint32_t len,
		   uint32_t readable, uint64_t now_ns);

#endif /* STACK_SEEN_SEEN_H */
