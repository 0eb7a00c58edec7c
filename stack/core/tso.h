/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack/core/tso.h - TCP segments that a port with TSO cuts by itself.
 *
 * lwIP makes segments, each with its headers, and one by one they come to the port's transmit
 * buffer. Those of one connection that follow each other there become one chain, whose head is the
 * first segment and whose other buffers are the payloads alone; the port makes of it the very
 * segments it was made of. Nothing is copied: a segment's buffer keeps the bytes of its headers,
 * and whoever sends it again uses them.
 *
 * Joined is only what a port's headers would say again: the same tag, addresses, TOS, TTL, fragment
 * bits and following identifications; the same ports, acknowledgment, window and options; full
 * segments before the last. SYN, FIN, RST, URG and CWR go by themselves. PSH of any is PSH of the
 * last.
 *
 * Threads: all under the instance.
 */
#ifndef STACK_CORE_TSO_H
#define STACK_CORE_TSO_H

#include "stack/core/rte.h"

/* Of a frame, its Ethernet header included: what a pbuf can count. */
#define UVS_SUPER_FRAME 65535u

/* mbufs of a chain, where the driver names no limit. */
#define UVS_TSO_SEGS 40

/* Offloads that it takes, all of them. */
#define UVS_TSO_OFFLOADS                                              \
	(RTE_ETH_TX_OFFLOAD_TCP_TSO | RTE_ETH_TX_OFFLOAD_MULTI_SEGS | \
	 RTE_ETH_TX_OFFLOAD_IPV4_CKSUM | RTE_ETH_TX_OFFLOAD_TCP_CKSUM)

/* The last frame in the transmit buffer, if more can be joined to it. */
struct uvs_tso {
	struct rte_mbuf *head, *tail; /* head NULL: there is no such frame */
	uint32_t next_seq;
	uint16_t payload; /* of each segment */
	uint16_t segments;
	uint16_t most; /* mbufs of a chain; 0: the port has no TSO */
};

/* There is a last frame, which m continues: it has become part of it. */
bool uvs_tso_join(struct uvs_tso *t, struct rte_mbuf *m);

/* m is the last frame now; before it there is none that anything could be joined to. */
void uvs_tso_begin(struct uvs_tso *t, struct rte_mbuf *m);

/* There is a last frame, and it is complete. */
void uvs_tso_finish(struct uvs_tso *t);

static inline void
uvs_tso_end(struct uvs_tso *t)
{
	if (t->head != NULL)
		uvs_tso_finish(t);
}

#endif /* STACK_CORE_TSO_H */
