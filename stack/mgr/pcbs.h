/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack/mgr/pcbs.h - reading what a stack, alive or dead, has in its slot's arena: as bytes that
 * may be anything. No pointer in them is followed.
 */
#ifndef STACK_MGR_PCBS_H
#define STACK_MGR_PCBS_H

#include "stack/share/host.h"

struct pcb_view {
	bool is_v4;
	uint32_t local, remote; /* network order */
	uint32_t local6[4], remote6[4];
	uint16_t lport, rport; /* host order */
	uint8_t state;         /* enum tcp_state, or 255: none of them */
	uint32_t snd_nxt, rcv_nxt;
	uint32_t unacked; /* bytes in flight */
};

/* Entry i of a slot's PCB table; false: not in use. */
bool pcb_read(const struct uvs_host *h, uint32_t slot, uint32_t i, struct pcb_view *v);

const char *pcb_state_name(uint8_t state);

/* The Ethernet address that the slot's stack had for a neighbour, or for the next hop to an IPv6
 * destination. */
bool neighbour_find(const struct uvs_host *h, uint32_t slot, uint32_t addr, uint8_t mac[6]);
bool next_hop6_find(const struct uvs_host *h, uint32_t slot, const uint32_t addr[4],
		    uint8_t mac[6]);

#endif /* STACK_MGR_PCBS_H */
