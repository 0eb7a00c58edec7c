/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack/fuzz/host.h - one lwIP instance on an Ethernet that the fuzzer writes: every allocation is
 * its own, so that the sanitizers see each byte too far; time is a number; allocations fail when
 * told to. A failed LWIP_ASSERT ends the run.
 */
#ifndef STACK_FUZZ_HOST_H
#define STACK_FUZZ_HOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "stack/lwip/uvl.h"

/* 10.0.0.2 and fe80::2; its peers are the rest of 10.0.0.0/24, all behind one Ethernet address. */
#define FUZZ_HOST_IP 0x0a000002u
#define FUZZ_PEER_IP 0x0a000001u

/* Before the memory of a PBUF_RAM. */
struct host_packet {
	size_t size;
	char note[120]; /* of whoever queues it */
} __attribute__((aligned(16)));

/* Bytes free behind a frame that arrives. */
extern size_t host_spare;

extern struct uvl *fuzz_uvl;

/* Everything as new, on that interface. */
void host_up(struct netif *n);
/* Everything back; ends the run if something is not. */
void host_down(void);

/* The n-th allocation from now fails; 0: none. */
void host_fail(unsigned int n);
/* An allocation of somebody else's than lwIP's: is it to fail? */
bool host_fails(void);

/* Time passes. */
void host_wait(uint32_t ms);

/* A frame arrives, cut into two buffers behind `split` bytes if that is inside it. */
void host_frame(const void *frame, size_t length, size_t split);

/* An IPv4 packet from a peer, its header made here. */
void host_ipv4(uint32_t from, uint8_t protocol, uint16_t id, uint16_t offset, const void *payload,
	       size_t length, size_t split);

/* The first sequence number of the last SYN-ACK that was sent. */
extern uint32_t host_isn;

#endif /* STACK_FUZZ_HOST_H */
