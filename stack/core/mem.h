/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack/core/mem.h - packet memory of an instance: pbuf and mbuf are one allocation.
 *
 *   struct rte_mbuf | struct uvs_mbuf_priv | data room
 *
 * Received: the pbuf is a pbuf_custom in the private area, its payload the mbuf's data. Freeing the
 * pbuf frees that segment. Made here (PBUF_RAM): struct pbuf, headroom and payload lie at the start
 * of the data room, and the pbuf holds one reference to the mbuf; while the NIC holds a second one
 * the bytes may not change (see port.c). A PBUF_RAM too large for the data room is plain memory
 * behind a struct uvs_big.
 *
 * One pool per instance, a last-in-first-out array without atomics (the hottest buffer is the next
 * one): whoever takes or gives must hold the instance. `reserve` mbufs are kept for receiving:
 * allocations made here fail below it, and the sockets that were refused hear when there is room.
 *
 * Costs: one pool get and one put for a packet, no copy in between, no atomics.
 */
#ifndef STACK_CORE_MEM_H
#define STACK_CORE_MEM_H

#include "stack/core/rte.h"

#include "stack/lwip/uvl.h"
#include "lwip/pbuf.h"

struct uvs_instance;

/* What a socket notes about a packet it queues; belongs to whoever holds the pbuf. */
struct uvs_packet_note {
	struct pbuf *next;  /* in a socket's queue */
	ip_addr_t src, dst; /* datagrams */
	uint16_t sport;
	uint16_t len; /* payload bytes of the whole chain */
	uint8_t if_idx;
	uint8_t tos, ttl;
};

struct uvs_mbuf_priv {
	struct pbuf_custom custom;
	struct uvs_packet_note note;
};

/* Before the memory of a PBUF_RAM that is no mbuf. */
struct uvs_big {
	struct uvs_packet_note note;
	size_t size;
} __attribute__((aligned(16)));

struct uvs_mem {
	struct rte_mempool *pool;
	uintptr_t first, last; /* addresses of the pool's objects: is this pbuf in an mbuf? */
	uint32_t reserve;      /* mbufs that only receiving may use, but for small control frames */
	uint32_t total;
	uint32_t data_room;
	/* counters; written under the instance */
	uint64_t alloc_failed, big_allocs, heap_bytes, unpinned;
};

#define UVS_MBUF_DATA_ROOM 2048

/* EAL must be up. name is unique in the process. 0 or a negative errno. */
int uvs_mem_init(struct uvs_mem *m, const char *name, uint32_t mbufs, uint32_t reserve);
void uvs_mem_fini(struct uvs_mem *m);

/* mbufs free now. */
uint32_t uvs_mem_avail(const struct uvs_mem *m);

/* The mbuf a pbuf lives in; NULL: in none. */
struct rte_mbuf *uvs_pbuf_mbuf(const struct uvs_mem *m, const struct pbuf *p);

/* Always there, for every pbuf that arrives from the port or from the hairpin. */
struct uvs_packet_note *uvs_pbuf_note(const struct uvs_mem *m, struct pbuf *p);

/* Wrap a received chain, taking it over. Never fails. */
struct pbuf *uvs_pbuf_wrap(struct rte_mbuf *mbuf);

/* Bytes that may be written behind the payload of a single, unshared pbuf. */
uint32_t uvs_pbuf_tailroom(const struct uvs_mem *m, const struct pbuf *p);

/* A packet that a socket will keep for who knows how long: when mbufs are short, its bytes move to
 * plain memory and the mbufs go back. Returns p or its replacement; never fails. */
struct pbuf *uvs_pbuf_unpin(struct uvs_mem *m, struct pbuf *p);

#endif /* STACK_CORE_MEM_H */
