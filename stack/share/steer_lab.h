/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack/share/steer_lab.h - stacks that share a NIC, without NIC and stack: for tests.
 *
 * Slots 1.. of a lab (lab.h), each with its steering. A frame is bytes and a buffer's number; a
 * connection is a flow in a list; whatever a slot gets is noted.
 */
#ifndef STACK_SHARE_STEER_LAB_H
#define STACK_SHARE_STEER_LAB_H

#include "stack/share/lab.h"
#include "stack/share/steer.h"

#define STEER_FRAME 256 /* bytes of a frame here, at most */
#define STEER_CONNS 128

struct steer_conn {
	struct uvs_flow flow;
	uint8_t state;
};

/* What a slot has received: references of frames, the last ones. */
struct steer_got {
	uint32_t n;
	uvs_ref ref[64];
};

/* The connections of a slot. */
struct steer_conns {
	uint32_t n;
	struct steer_conn conn[STEER_CONNS];
};

struct steer_lab {
	struct lab lab;
	struct uvs_steer_map map;
	/* Shared with children: what steering has, claims first; `private` bytes of the lab's own.
	 */
	void *memory;
	size_t size, private;
	uint64_t absent;     /* slots that steer_lab_settle() does not serve */
	uint64_t *trail;     /* [slot][buffer], shared */
	uint8_t *frame;      /* [slot][buffer][STEER_FRAME], shared */
	uint32_t *frame_len; /* [slot][buffer] */
	struct uvs_steer steer[LAB_SLOTS];
	struct uvs_rules_writer writer;
	struct steer_conns conns[LAB_SLOTS];
	struct steer_got got[LAB_SLOTS];
	uint32_t copied[LAB_SLOTS]; /* buffers of the slot used for copies, from the end */
};

void steer_lab_open(struct steer_lab *l);
void steer_lab_close(struct steer_lab *l);

/* A fresh stack in a slot that lab_lease() has made. */
void steer_lab_start(struct steer_lab *l, uint32_t slot);

/* A frame in buffer `index` of slot `at`, as the NIC or the stack would hand it in. */
struct uvs_frame steer_lab_frame(struct steer_lab *l, uint32_t at, uint32_t index,
				 const uint8_t *data, uint32_t len);

/* Slot `at` decides n frames of its NIC, makes the copies, publishes; what is for it is in got[at].
 * What it drops is at home. */
void steer_lab_receive(struct steer_lab *l, uint32_t at, struct uvs_frame *frame, uint32_t n);

/* Slot `at` serves its soft queue; what it keeps is in got[at] and goes home at once. Returns
 * frames taken. */
uint32_t steer_lab_serve(struct steer_lab *l, uint32_t at);

/* All slots serve until nothing moves. Returns hops. */
uint32_t steer_lab_settle(struct steer_lab *l);

/* One frame arrives at `at`; who has it in the end? 0: nobody or several. */
uint32_t steer_lab_where(struct steer_lab *l, uint32_t at, const uint8_t *data, uint32_t len);
/* The same, with the NIC's hash. */
uint32_t steer_lab_where_hashed(struct steer_lab *l, uint32_t at, const uint8_t *data, uint32_t len,
				uint32_t hash);

void steer_lab_connect(struct steer_lab *l, uint32_t slot, const struct uvs_flow *f);

uint64_t steer_lab_count(const struct steer_lab *l, uint32_t slot, enum uvs_steer_count c);

/* ---- frames: from remote to local; return lengths ---- */

#define STEER_SYN 2u
#define STEER_ACK 16u

/* IPv4 or IPv6 by f->family; TCP with these flags, or UDP. */
uint32_t steer_frame(uint8_t *to, const struct uvs_flow *f, uint8_t tcp_flags);
/* To the group or broadcast address with this Ethernet address. */
uint32_t steer_frame_group(uint8_t *to, const struct uvs_flow *f, const uint8_t mac[6]);
/* A fragment of a datagram; offset in bytes. */
uint32_t steer_frame_fragment(uint8_t *to, const struct uvs_flow *f, uint32_t id, uint32_t offset,
			      bool more);
/* An ICMP or ICMPv6 error about a packet of that flow. */
uint32_t steer_frame_error(uint8_t *to, const struct uvs_flow *f, uint8_t type);
uint32_t steer_frame_arp(uint8_t *to);

/* A flow of that family from 10.0.0.<host>:rport to lport here. */
struct uvs_flow steer_flow(uint8_t family, uint8_t proto, uint16_t lport, uint8_t host,
			   uint16_t rport);

#endif /* STACK_SHARE_STEER_LAB_H */
