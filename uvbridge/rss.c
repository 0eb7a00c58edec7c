/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Receive side scaling: what of a frame is hashed, and the Toeplitz hash by tables.
 */
#include "uvbridge/internal.h"

#define ETH_VLAN 0x8100
#define ETH_QINQ 0x88a8
#define ETH_IPV4 0x0800
#define ETH_IPV6 0x86dd

#define IP_TCP     6
#define IP_UDP     17
#define IP_SCTP    132
#define IP6_HOPOPT 0
#define IP6_ROUTE  43
#define IP6_FRAG   44
#define IP6_AUTH   51
#define IP6_DSTOPT 60

#define EXT_HEADERS_MAX 8 /* of one packet; more is nobody's honest packet */

/* The 32 bits of the key from bit `bit` on; beyond its end the key is zero. */
static uint32_t
key_window(const uint8_t *key, uint32_t key_len, uint32_t bit)
{
	uint64_t w = 0;

	for (uint32_t i = 0; i < 5; i++)
		w = w << 8 | (bit / 8 + i < key_len ? key[bit / 8 + i] : 0);
	return (uint32_t)(w >> (8 - bit % 8));
}

void
uvb_rss_compile(struct uvb_rss *rss, uint32_t types, const uint8_t *key, uint32_t key_len)
{
	uint32_t window[8];

	rss->types = types;
	for (uint32_t i = 0; i < UVB_RSS_INPUT_MAX; i++) {
		for (uint32_t b = 0; b < 8; b++)
			window[b] = key_window(key, key_len, 8 * i + b);
		rss->table[i][0] = 0;
		/* Each value is one with a bit fewer, and that bit's window. */
		for (uint32_t v = 1; v < 256; v++) {
			uint32_t low = (uint32_t)__builtin_ctz(v);

			rss->table[i][v] = rss->table[i][v & (v - 1)] ^ window[7 - low];
		}
	}
}

static uint32_t
be16(const uint8_t *p)
{
	return (uint32_t)p[0] << 8 | p[1];
}

static uint32_t
l4_type(uint32_t proto, uint32_t tcp, uint32_t udp, uint32_t sctp)
{
	switch (proto) {
	case IP_TCP:
		return tcp;
	case IP_UDP:
		return udp;
	case IP_SCTP:
		return sctp;
	default:
		return 0;
	}
}

/* The ports, if all of them are there. */
static void
take_ports(struct uvb_flow *flow, const uint8_t *l4, uint32_t avail, uint32_t type)
{
	if (type == 0 || avail < 4)
		return;
	memcpy(flow->in + flow->l3_len, l4, 4);
	flow->l4_type = type;
}

static void
parse_ipv4(struct uvb_flow *flow, const uint8_t *ip, uint32_t avail)
{
	uint32_t ihl;

	if (avail < 20 || ip[0] >> 4 != 4)
		return;
	ihl = (ip[0] & 15u) * 4;
	if (ihl < 20)
		return;
	memcpy(flow->in, ip + 12, 8);
	flow->l3_type = UVB_RSS_IPV4;
	flow->l3_len = 8;
	/* A fragment, the first one too: all of one datagram must land on one queue. */
	if ((be16(ip + 6) & 0x3fff) != 0 || avail < ihl)
		return;
	take_ports(flow, ip + ihl, avail - ihl,
		   l4_type(ip[9], UVB_RSS_IPV4_TCP, UVB_RSS_IPV4_UDP, UVB_RSS_IPV4_SCTP));
}

/* Length of the extension header at p, 0 if it is none to skip. */
static uint32_t
ext_len(uint32_t proto, const uint8_t *p)
{
	switch (proto) {
	case IP6_HOPOPT:
	case IP6_ROUTE:
	case IP6_DSTOPT:
		return (p[1] + 1u) * 8;
	case IP6_AUTH:
		return (p[1] + 2u) * 4;
	default:
		return 0;
	}
}

static void
parse_ipv6(struct uvb_flow *flow, const uint8_t *ip, uint32_t avail)
{
	uint32_t proto, off = 40;

	if (avail < 40 || ip[0] >> 4 != 6)
		return;
	memcpy(flow->in, ip + 8, 32);
	flow->l3_type = UVB_RSS_IPV6;
	flow->l3_len = 32;
	proto = ip[6];
	for (int i = 0; i < EXT_HEADERS_MAX && off + 8 <= avail; i++) {
		uint32_t len = ext_len(proto, ip + off);

		if (len == 0)
			break;
		proto = ip[off];
		off += len;
	}
	/* IP6_FRAG is no L4 type either: fragments are hashed by their addresses. */
	if (off <= avail)
		take_ports(flow, ip + off, avail - off,
			   l4_type(proto, UVB_RSS_IPV6_TCP, UVB_RSS_IPV6_UDP, UVB_RSS_IPV6_SCTP));
}

void
uvb_flow_parse(struct uvb_flow *flow, const uint8_t *frame, uint32_t avail)
{
	uint32_t off = 12, type;

	flow->l3_type = 0;
	flow->l4_type = 0;
	flow->l3_len = 0;
	if (avail < 14)
		return;
	type = be16(frame + off);
	for (int tags = 0; tags < 2 && (type == ETH_VLAN || type == ETH_QINQ); tags++) {
		off += 4;
		if (off + 2 > avail)
			return;
		type = be16(frame + off);
	}
	off += 2;
	if (type == ETH_IPV4)
		parse_ipv4(flow, frame + off, avail - off);
	else if (type == ETH_IPV6)
		parse_ipv6(flow, frame + off, avail - off);
}
