/* SPDX-License-Identifier: BSD-3-Clause */
#include "stack/share/flow.h"

#include <netinet/in.h>
#include <string.h>

#define LIKELY(x)   __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

#define ETH_LEN      14u
#define IP4_LEN      20u
#define IP6_LEN      40u
#define ICMP_LEN     8u
#define EXTENSIONS   8 /* IPv6 extension headers looked through */
#define PORTS_LEN    4u
#define TCP_FLAGS_AT 13u
#define TCP_SYN      2u
#define TCP_ACK      16u

#define ETHERTYPE_IP4 0x0800
#define ETHERTYPE_ARP 0x0806
#define ETHERTYPE_IP6 0x86dd

/* Bytes not looked at yet. */
struct rest {
	const uint8_t *at;
	uint32_t len;
};

static uint16_t
be16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static uint32_t
be32(const uint8_t *at)
{
	return (uint32_t)be16(at) << 16 | be16(at + 2);
}

static void
skip(struct rest *r, uint32_t n)
{
	r->at += n;
	r->len -= n;
}

/* --------------------------------------------------------------------------------- transport */

/* Source and destination port; to whom the frame goes is local. */
static bool
ports(struct uvs_flow *f, const struct rest *r)
{
	if (UNLIKELY(r->len < PORTS_LEN))
		return false;
	f->rport = be16(r->at);
	f->lport = be16(r->at + 2);
	return true;
}

static bool
opens(const struct uvs_flow *f, const struct rest *r)
{
	return f->proto == IPPROTO_UDP || (r->at[TCP_FLAGS_AT] & (TCP_SYN | TCP_ACK)) == TCP_SYN;
}

static void
transport(struct uvs_parsed *p, const struct rest *r, bool group)
{
	if (UNLIKELY(!ports(&p->flow, r)))
		return;
	if (p->flow.proto == IPPROTO_TCP && (group || r->len <= TCP_FLAGS_AT))
		return;
	p->opens = opens(&p->flow, r);
	p->kind = group ? UVS_KIND_GROUP : UVS_KIND_FLOW;
}

/* ---------------------------------------------------------------------------------- addresses */

static bool
ip4_header(const struct rest *r, uint32_t *header)
{
	if (r->len < IP4_LEN || r->at[0] >> 4 != 4)
		return false;
	*header = (r->at[0] & 0xfu) * 4;
	return *header >= IP4_LEN && *header <= r->len;
}

static void
ip4_flow(struct uvs_flow *f, const uint8_t *ip)
{
	f->family = 4;
	f->proto = ip[9];
	memcpy(&f->remote[0], ip + 12, 4);
	memcpy(&f->local[0], ip + 16, 4);
}

static void
ip6_flow(struct uvs_flow *f, const uint8_t *ip)
{
	f->family = 6;
	memcpy(f->remote, ip + 8, 16);
	memcpy(f->local, ip + 24, 16);
}

static bool
is_transport(uint8_t proto)
{
	return proto == IPPROTO_TCP || proto == IPPROTO_UDP;
}

struct ip6_walk {
	uint8_t proto;
	bool fragment; /* there was a fragment header ... */
	bool more;     /* ... that says so */
	uint16_t offset;
	uint32_t id;
};

/* Length of the extension header at r, 0: it is none, or is cut short. */
static uint32_t
extension(const struct rest *r, struct ip6_walk *w)
{
	uint32_t len;

	if (r->len < 8)
		return 0;
	switch (w->proto) {
	case IPPROTO_HOPOPTS:
	case IPPROTO_ROUTING:
	case IPPROTO_DSTOPTS:
		len = (r->at[1] + 1u) * 8;
		break;
	case IPPROTO_AH:
		len = (r->at[1] + 2u) * 4;
		break;
	case IPPROTO_FRAGMENT:
		w->fragment = true;
		w->offset = be16(r->at + 2) >> 3;
		w->more = (r->at[3] & 1) != 0;
		w->id = be32(r->at + 4);
		len = 8;
		break;
	default:
		return 0;
	}
	return len <= r->len ? len : 0;
}

/* Past an IPv6 header and what follows it up to the payload, or to the data of a later fragment. */
static bool
ip6_walk(struct rest *r, struct ip6_walk *w)
{
	uint32_t len;

	if (r->len < IP6_LEN || r->at[0] >> 4 != 6)
		return false;
	*w = (struct ip6_walk){.proto = r->at[6]};
	skip(r, IP6_LEN);
	for (int i = 0; i < EXTENSIONS && w->offset == 0 && (len = extension(r, w)) != 0; i++) {
		w->proto = r->at[0];
		skip(r, len);
	}
	return true;
}

/* --------------------------------------------------------------------------------------- ICMP */

/* A quoted packet is one of ours: its source is local. */
static void
turn_round(struct uvs_flow *f)
{
	uint32_t was[4];
	uint16_t port = f->lport;

	memcpy(was, f->local, sizeof(was));
	memcpy(f->local, f->remote, sizeof(was));
	memcpy(f->remote, was, sizeof(was));
	f->lport = f->rport;
	f->rport = port;
}

static void
quoted(struct uvs_parsed *p, struct uvs_flow *f, const struct rest *r)
{
	if (!is_transport(f->proto)) {
		p->kind = UVS_KIND_EVERYONE; /* whoever has sent an echo request, or has a raw
						socket */
		return;
	}
	if (!ports(f, r))
		return;
	turn_round(f);
	p->flow = *f;
	p->kind = UVS_KIND_ERROR;
}

#define ICMP4_ECHO_REPLY 0
#define ICMP6_ECHO_REPLY 129

/* RFC 792: destination unreachable, source quench, redirect, time exceeded, parameter problem. */
static void
icmp4(struct uvs_parsed *p, struct rest r)
{
	struct uvs_flow f = {0};
	uint32_t header;

	if (r.len >= ICMP_LEN && r.at[0] == ICMP4_ECHO_REPLY)
		p->kind = UVS_KIND_EVERYONE;
	if (r.len < ICMP_LEN ||
	    !(r.at[0] == 3 || r.at[0] == 4 || r.at[0] == 5 || r.at[0] == 11 || r.at[0] == 12))
		return;
	skip(&r, ICMP_LEN);
	if (!ip4_header(&r, &header) || (be16(r.at + 6) & 0x1fff) != 0)
		return;
	ip4_flow(&f, r.at);
	skip(&r, header);
	quoted(p, &f, &r);
}

/* RFC 4443 errors are types 1 to 4; RFC 2710, 3810 and 4861 are 130 to 137 and 143. */
static void
icmp6(struct uvs_parsed *p, struct rest r)
{
	struct uvs_flow f = {0};
	struct ip6_walk w;
	const uint8_t *ip;

	if (r.len < ICMP_LEN)
		return;
	if ((r.at[0] >= ICMP6_ECHO_REPLY && r.at[0] <= 137) || r.at[0] == 143) {
		p->kind = UVS_KIND_EVERYONE;
		return;
	}
	if (r.at[0] < 1 || r.at[0] > 4)
		return;
	skip(&r, ICMP_LEN);
	ip = r.at;
	if (!ip6_walk(&r, &w) || w.offset != 0)
		return;
	ip6_flow(&f, ip);
	f.proto = w.proto;
	quoted(p, &f, &r);
}

/* ---------------------------------------------------------------------------------- the frame */

/* Returns false for a fragment that has no ports. */
static bool
fragments(struct uvs_parsed *p, uint32_t id, uint16_t offset, bool more)
{
	p->frag_id = id;
	p->frag_proto = p->flow.proto;
	p->first = more && offset == 0;
	if (LIKELY(offset == 0))
		return true;
	p->kind = UVS_KIND_FRAGMENT;
	return false;
}

static void
ip4(struct uvs_parsed *p, struct rest r, bool group)
{
	const uint8_t *ip = r.at;
	uint16_t fragment;
	uint32_t header;

	if (UNLIKELY(!ip4_header(&r, &header)))
		return;
	ip4_flow(&p->flow, ip);
	fragment = be16(ip + 6);
	if (UNLIKELY((fragment & 0x3fff) != 0) &&
	    !fragments(p, be16(ip + 4), fragment & 0x1fff, (fragment & 0x2000) != 0))
		return;
	skip(&r, header);
	if (LIKELY(is_transport(p->flow.proto)))
		transport(p, &r, group);
	else if (p->flow.proto == IPPROTO_ICMP)
		icmp4(p, r);
	else
		p->kind = UVS_KIND_EVERYONE; /* IGMP, and what only raw sockets know */
}

static void
ip6(struct uvs_parsed *p, struct rest r, bool group)
{
	const uint8_t *ip = r.at;
	struct ip6_walk w;

	if (UNLIKELY(!ip6_walk(&r, &w)))
		return;
	ip6_flow(&p->flow, ip);
	p->flow.proto = w.proto;
	if (UNLIKELY(w.fragment) && !fragments(p, w.id, w.offset, w.more))
		return;
	if (LIKELY(is_transport(w.proto)))
		transport(p, &r, group);
	else if (w.proto == IPPROTO_ICMPV6)
		icmp6(p, r);
	else if (w.proto != IPPROTO_NONE)
		p->kind = UVS_KIND_EVERYONE;
}

void
uvs_flow_parse(struct uvs_parsed *p, const uint8_t *data, uint32_t len)
{
	struct rest r = {data, len};
	bool group;
	uint16_t type;

	*p = (struct uvs_parsed){.kind = UVS_KIND_OTHER};
	if (UNLIKELY(len < ETH_LEN))
		return;
	group = (data[0] & 1) != 0;
	type = be16(data + 12);
	skip(&r, ETH_LEN);
	if (LIKELY(type == ETHERTYPE_IP4))
		ip4(p, r, group);
	else if (type == ETHERTYPE_IP6)
		ip6(p, r, group);
	else if (type == ETHERTYPE_ARP)
		p->kind = UVS_KIND_EVERYONE;
}

/* --------------------------------------------------------------------------------------- hashes */

uint64_t
uvs_flow_hash(const struct uvs_flow *f, uint64_t secret)
{
	uint64_t ends = (uint64_t)f->lport << 48 | (uint64_t)f->rport << 32 | (uint64_t)f->proto;
	uint64_t h;

	if (LIKELY(f->family == 4)) {
		h = uvs_mix(ends ^ secret, ((uint64_t)f->local[0] << 32 | f->remote[0]) ^ ~secret);
	} else {
		uint64_t a[4];

		memcpy(a, f->local, 16);
		memcpy(a + 2, f->remote, 16);
		h = uvs_mix(ends ^ secret, a[0] ^ ~secret) ^ uvs_mix(a[1] ^ secret, a[2] ^ ~secret);
		h = uvs_mix(h ^ secret, a[3] ^ ~secret);
	}
	return uvs_mix(h ^ 0x9e3779b97f4a7c15ULL, secret | 1);
}

uint32_t
uvs_flow_rendezvous(uint64_t hash, uint64_t slots)
{
	uint64_t best = 0;

	/* The slot in the low bits of its weight: the greatest of all without a branch. */
	for (; slots != 0; slots &= slots - 1) {
		uint64_t slot = (uint64_t)__builtin_ctzll(slots);
		uint64_t weight = (hash ^ slot * 0xd6e8feb86659fd93ULL) * 0xa0761d6478bd642fULL;

		weight = ((weight ^ weight >> 32) * 0xe7037ed1a0b428dbULL & ~63ULL) | slot;
		best = weight > best ? weight : best;
	}
	return (uint32_t)(best & 63);
}
