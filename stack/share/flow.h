/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack/share/flow.h - what a frame says about whose it is.
 *
 * Reads nothing but the bytes it is given, whatever they are; a frame that is cut short, or is
 * nothing it knows, is UVS_KIND_OTHER, and lwIP's to refuse.
 */
#ifndef STACK_SHARE_FLOW_H
#define STACK_SHARE_FLOW_H

#include <stdbool.h>
#include <stdint.h>

/* A connection as its local end sees it. Unused parts are 0, so that flows compare as bytes. */
struct uvs_flow {
	uint32_t local[4], remote[4]; /* as on the wire; IPv4: [0] */
	uint16_t lport, rport;        /* host order */
	uint8_t proto;                /* IPPROTO_TCP, IPPROTO_UDP */
	uint8_t family;               /* 4, 6 */
	uint16_t zero;
};

enum uvs_kind {
	UVS_KIND_OTHER,    /* answered by whoever receives it: echo requests, nonsense */
	UVS_KIND_FLOW,     /* TCP or UDP to one host */
	UVS_KIND_ERROR,    /* an ICMP error; `flow` is the one it is about */
	UVS_KIND_EVERYONE, /* ARP, neighbour discovery, IGMP, MLD; echo replies, other protocols and
			    * errors about either, for raw sockets are in no table */
	UVS_KIND_GROUP,    /* UDP to a multicast or broadcast address */
	UVS_KIND_FRAGMENT, /* not the first one: no ports */
};

struct uvs_parsed {
	enum uvs_kind kind;
	bool opens; /* a SYN without ACK, or a datagram: for who listens */
	bool first; /* the first fragment of several */
	struct uvs_flow flow;
	uint32_t frag_id; /* FRAGMENT, or first */
	uint8_t frag_proto;
};

void uvs_flow_parse(struct uvs_parsed *p, const uint8_t *data, uint32_t len);

/* Mixes; not for secrets' sake but so that peers who do not know `secret` cannot choose. */
uint64_t uvs_flow_hash(const struct uvs_flow *f, uint64_t secret);

static inline uint64_t
uvs_mix(uint64_t a, uint64_t b)
{
	unsigned __int128 product = (unsigned __int128)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* The slot of `slots` (a bit each, not 0) that this hash goes to. A slot that leaves moves only
 * what was its own, one that comes takes its share from all (rendezvous, or highest-random-weight,
 * hashing). */
uint32_t uvs_flow_rendezvous(uint64_t hash, uint64_t slots);

#endif /* STACK_SHARE_FLOW_H */
