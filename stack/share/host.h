/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack/share/host.h - what the processes of one host share: the layout of the memory that the
 * manager, uvstackd, makes before anybody comes.
 *
 * A host is one NIC port with one address, and slots. A slot is the place of one stack thread: its
 * soft queues (softq.h), its pool of mbufs, its arena with lwIP's state and the table of its TCP
 * PCBs; and, for as many slots as the NIC has queues, receive queue and transmit queue slot - 1.
 * Slot 0 is the manager's, who has a small pool and nothing else.
 *
 * Everything lies in memory of EAL that the manager reserved, at one address in all processes.
 * After it is made, nobody allocates, so nobody needs EAL's locks; and whoever dies leaves nothing
 * but what is in his slot, which the manager clears.
 *
 *  word                 writer                                 reader
 *  all but what follows manager, before the first attach       everybody
 *  slot.pid, .name      manager, with the slot                 everybody
 *  slot.reclaim_ns      manager                                everybody
 *  counters (slot.c)    the stack of the slot, relaxed         everybody
 *  seen                 see stack/seen/seen.h
 *  arena, PCB table     the stack of the slot; the manager     the manager, tools: as untrusted
 *                       once that is dead
 *
 * What dies if a process dies here: nothing that others read. Its counters stay; its PCB table
 * stays until the slot has another stack, so that tools can show the connections of one that has
 * died.
 */
#ifndef STACK_SHARE_HOST_H
#define STACK_SHARE_HOST_H

#include "stack/share/lease.h"
#include "stack/share/softq.h"
#include "stack/share/steer.h"

#define UVS_HOST_ZONE    "uvs_host"
#define UVS_HOST_MAGIC   0x74736f6873767500ULL
#define UVS_HOST_VERSION 3

#define UVS_COMM_LEN 16 /* as the kernel's */

#define UVS_SLOT_MBUFS 4096 /* of a slot, unless the configuration says otherwise */

/* Sizes and names that have to be the same in all processes, or memory is misread. */
struct uvs_host_shape {
	uint32_t version;
	uint32_t host_size, slot_size;
	uint32_t lwip_size; /* of an instance, uvl_size() */
	uint32_t pcb_size;
	uint32_t priv_size; /* of an mbuf */
	uint32_t seen_size;
};

/* Of the manager, in its own memory. */
struct uvs_manager_stats {
	uint64_t attaches, refused, deaths, exits, resets, attach_killed, bad_messages;
	uint64_t returned; /* buffers taken from the dead */
	uint64_t locks;    /* of EAL, freed of the dead */
};

/* Written by a stack; one writer each. */
struct uvs_slot_counters {
	_Atomic uint64_t direct; /* frames from the slot's own receive queue */
	_Atomic uint64_t
		copy_nombuf;         /* not copied for another slot, or looped: there was no mbuf */
	_Atomic uint64_t proxied;    /* sent for a slot without transmit queue */
	_Atomic uint64_t proxy_full; /* of such a slot: dropped, the soft queue was full */
	_Atomic uint64_t proxy_none; /* of such a slot: dropped, no slot with a queue has a stack */
	_Atomic uint64_t pcb_none;   /* the PCB table was full */
};

struct uvs_slot {
	/* Made at the start. */
	void *pool;                 /* struct rte_mempool */
	void *lwip;                 /* struct uvl, lwip_size bytes */
	void *seen;                 /* struct uvs_seen, seen_size bytes */
	void *pcb;                  /* [nb_pcbs], pcb_size bytes each */
	_Atomic uint32_t *pcb_used; /* [nb_pcbs] 0 or 1 */

	/* By the manager: who has it; of the last one while it is free. */
	_Atomic int32_t pid; /* 0: nobody yet */
	char name[UVS_COMM_LEN];
	uint32_t leases;     /* so far */
	uint32_t reclaims;   /* after a death */
	uint64_t reclaim_ns; /* the last one took */

	alignas(UVS_LINE) struct uvs_slot_counters c;
};

struct uvs_host {
	uint64_t magic; /* written last */
	struct uvs_host_shape shape;

	uint32_t nb_slots;  /* with slot 0 */
	uint32_t nb_queues; /* of the NIC, both directions; slot q + 1 has queue q */
	uint32_t nb_pcbs;   /* of a slot */
	uint16_t port_id;
	uint16_t mtu;
	uint16_t rx_desc, tx_desc;
	uint64_t rx_offloads, tx_offloads, rss_hf;
	uint32_t rss_key_len; /* 0: the NIC does not hash, or does not tell its key */
	uint8_t rss_key[64];
	uint8_t mac[6];
	uint8_t prefix;
	uint8_t intr;              /* receive interrupts were asked for and the driver has them */
	uint8_t by_manager;        /* who alone polls the port's queue, in slot 1 */
	uint32_t address, gateway; /* network order */

	struct uvs_crossbar x;
	struct uvs_steer_size steer;
	void *steer_memory;
	struct uvs_lease *lease; /* [nb_queues] */
	struct uvs_slot *slot;   /* [nb_slots] */
};

/* The queue of a slot; -1: it has none. */
static inline int
uvs_slot_queue(const struct uvs_host *h, uint32_t slot)
{
	return slot >= 1 && slot <= h->nb_queues ? (int)slot - 1 : -1;
}

#endif /* STACK_SHARE_HOST_H */
