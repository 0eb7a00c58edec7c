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
 * Two levels. L1 is the pool. When it is down to its low mark, packets made here come from L2, the
 * depot: ordinary memory up to a limit, copied into an mbuf when they are sent; and what a socket
 * keeps unread moves there, so that its mbufs go back. When that pressure ends, all that is new is
 * in the pool again. When half of the depot is taken, too, each socket may hold but little unsent
 * (uvs_mem_tight), so that some thousands that nobody reads from leave room for the others.
 *
 * L1 is one pool per instance, a last-in-first-out array without atomics (the hottest buffer is the
 * next one): whoever takes or gives must hold the instance. Where processes share a NIC the pools
 * and their arrays lie in shared memory, one for each slot (stack/share/host.h): the stack of the
 * slot alone takes from its pool; who frees a buffer of another slot's sends it home (share.h).
 * `reserve` mbufs are kept for receiving: allocations made here fail below it, and the sockets that
 * were refused hear when there is room.
 *
 * Costs: one pool get and one put for a packet, no copy in between, no atomics.
 */
#ifndef STACK_CORE_MEM_H
#define STACK_CORE_MEM_H

#include "stack/core/rte.h"

#include "stack/lwip/uvl.h"
#include "stack/seen/seen.h"
#include "stack/share/softq.h"
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
	uint8_t extra;    /* datagrams behind the first one (UDP_GRO) ... */
	uint16_t segment; /* ... and the bytes of each but the last */
	uint64_t when_ns; /* of the wall clock; 0: nobody asked */
};

/* What is to be done with a frame. */
enum uvs_way {
	UVS_WAY_IN,   /* received by the port */
	UVS_WAY_OUT,  /* to be sent, for one without a transmit queue */
	UVS_WAY_LOOP, /* received by the loopback interface */
};

struct uvs_mbuf_priv {
	/* Of buffers that may change hands (stack/share/softq.h, steer.h). */
	struct uvs_label label;
	uint64_t trail;
	uint32_t way; /* enum uvs_way; of frames that others hand over */

	struct pbuf_custom custom;
	struct uvs_packet_note note;
};

/* A flag of pbufs: no sum behind the IP header is left to the port. lwIP's own are below it. */
#define UVS_PBUF_SUMMED 0x40u

/* Before the memory of a PBUF_RAM that is no mbuf. */
struct uvs_big {
	struct uvs_packet_note note;
	size_t size;
} __attribute__((aligned(16)));

struct uvs_mem {
	struct rte_mempool *pool;
	uintptr_t first, last; /* addresses of the pool's objects: is this pbuf in an mbuf? */
	uint32_t reserve;      /* mbufs that only receiving may use, but for small control frames */
	uint32_t low;          /* down to here packets made here are mbufs */
	uint32_t total;
	uint32_t data_room;
	uint64_t depot;        /* bytes of plain memory that packets may take */
	uint64_t heap_bytes;   /* of it, and what is larger than an mbuf */
	struct uvs_seen *seen; /* the instance's, who counts */
	bool joined;           /* the pool is the manager's */
};

#define UVS_MBUF_DATA_ROOM 2048

/* Bytes of a buffer behind the headroom: any frame of an interface with that MTU fits into one, and
 * so does any packet that is made here, struct pbuf included. */
uint32_t uvs_mem_room(uint32_t mtu);

/* What a pool of so many takes of DPDK's memory. Needs no EAL. */
size_t uvs_mem_bytes(uint32_t mbufs, uint32_t mtu);

/* EAL must be up. name is unique in the process. 0 or a negative errno. */
int uvs_mem_init(struct uvs_mem *m, const char *name, uint32_t mbufs, uint32_t mtu,
		 uint32_t reserve);
void uvs_mem_fini(struct uvs_mem *m);

/* ------------------------------------------------------- pools of slots, in shared memory */

/* By the manager, at the start: an mbuf pool for a slot. NULL, rte_errno. */
struct rte_mempool *uvs_mem_make(const char *name, uint32_t mbufs, uint32_t mtu, uint32_t slot);

/* By the manager, for a slot that nobody has: what is at home is free again, as new; nothing else
 * is. Returns how many. */
uint32_t uvs_mem_refill(struct rte_mempool *pool);

/* A process that is no stack, the manager, sends frames of others: what becomes of a buffer that is
 * freed meanwhile. NULL: it goes into its pool, whose slot is nobody's. */
extern void (*uvs_mem_freed)(struct rte_mbuf *mbuf) __attribute__((visibility("hidden")));

/* Use the pool of a slot, which the manager made. -EPROTO: its operations are others here. */
int uvs_mem_join(struct uvs_mem *m, struct rte_mempool *pool, uint32_t reserve);

/* Of pools that were made so. */
static inline struct uvs_mbuf_priv *
uvs_mbuf_priv(const struct rte_mbuf *mbuf)
{
	return (struct uvs_mbuf_priv *)(uintptr_t)(mbuf + 1);
}

static inline struct rte_mbuf *
uvs_mbuf_of_label(uint64_t label_at)
{
	return (struct rte_mbuf *)(uintptr_t)(label_at - offsetof(struct uvs_mbuf_priv, label)) - 1;
}

/* Neither pool nor depot have much left: who holds something unsent gets no more. */
bool uvs_mem_tight(const struct uvs_mem *m);

/* Nothing more can be kept: the pool is down to its reserve and the depot is full. */
bool uvs_mem_full(const struct uvs_mem *m);

/* A received frame of so many bytes would stay in its mbufs, and those are from the reserve. */
bool uvs_mem_pins(const struct uvs_mem *m, size_t bytes);

/* There is enough again for those that were refused. */
bool uvs_mem_relaxed(const struct uvs_mem *m);

/* mbufs free now. */
uint32_t uvs_mem_avail(const struct uvs_mem *m);

/* The mbuf a pbuf lives in; NULL: in none. */
struct rte_mbuf *uvs_pbuf_mbuf(const struct uvs_mem *m, const struct pbuf *p);

/* Always there, for every pbuf that arrives from the port or from the hairpin. */
struct uvs_packet_note *uvs_pbuf_note(const struct uvs_mem *m, struct pbuf *p);

/* Wrap a received chain, taking it over. Never fails. */
struct pbuf *uvs_pbuf_wrap(struct rte_mbuf *mbuf);

/* A received packet of one buffer, of ours and in nobody else's hands, may be sent as it lies: from
 * now on headers can be put before its payload, in the place of those it came with. False, and it
 * is to be copied: it is none, or mbufs are short, which receiving has the first claim to. */
bool uvs_pbuf_adopt(const struct uvs_mem *m, struct pbuf *p);
bool uvs_pbuf_adopted(const struct pbuf *p);

/* Bytes that may be written behind the payload of a single, unshared pbuf. */
uint32_t uvs_pbuf_tailroom(const struct uvs_mem *m, const struct pbuf *p);

/* A packet that a socket will keep for who knows how long: when mbufs are short, its bytes move to
 * plain memory and the mbufs go back. Returns p or its replacement; never fails. */
struct pbuf *uvs_pbuf_unpin(struct uvs_mem *m, struct pbuf *p);

#endif /* STACK_CORE_MEM_H */
