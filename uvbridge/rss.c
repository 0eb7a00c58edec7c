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

#define OPT_PAD1         0
#define OPT_HOME_ADDRESS 201 /* RFC 6275, 6.3 */
#define ROUTE_HOME       2   /* RFC 6275, 6.4: a type 2 routing header */

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

	uvb_rss_types(rss, types);
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
	flow->l3_len = 8;
	/* A fragment, the first one too: all of one datagram must land on one queue. */
	if ((be16(ip + 6) & 0x3fff) != 0) {
		flow->l3_type = UVB_RSS_IPV4 | UVB_RSS_IPV4_FRAG;
		return;
	}
	flow->l3_type = UVB_RSS_IPV4;
	if (avail >= ihl)
		take_ports(flow, ip + ihl, avail - ihl,
			   l4_type(ip[9], UVB_RSS_IPV4_TCP, UVB_RSS_IPV4_UDP, UVB_RSS_IPV4_SCTP));
	if (flow->l4_type == 0)
		flow->l3_type |= UVB_RSS_IPV4_OTHER;
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

/* Where to write an address that an extension header has in place of the IPv6 header's. */
static uint8_t *
take_ex(struct uvb_flow *flow)
{
	if (!flow->has_ex)
		memcpy(flow->ex, flow->in, sizeof(flow->ex));
	flow->has_ex = true;
	return flow->ex;
}

/* The Home Address option among those of a destination options header of `len` bytes. */
static void
parse_dstopt(struct uvb_flow *flow, const uint8_t *p, uint32_t len)
{
	uint32_t at = 2;

	while (at + 2 <= len) {
		if (p[at] == OPT_PAD1) {
			at++;
			continue;
		}
		if (p[at] == OPT_HOME_ADDRESS && p[at + 1] == 16 && at + 18 <= len) {
			memcpy(take_ex(flow), p + at + 2, 16);
			return;
		}
		at += 2u + p[at + 1];
	}
}

static void
parse_extension(struct uvb_flow *flow, uint32_t proto, const uint8_t *p, uint32_t len)
{
	if (proto == IP6_DSTOPT)
		parse_dstopt(flow, p, len);
	else if (proto == IP6_ROUTE && len == 24 && p[2] == ROUTE_HOME)
		memcpy(take_ex(flow) + 16, p + 8, 16);
}

static void
parse_ipv6(struct uvb_flow *flow, const uint8_t *ip, uint32_t avail)
{
	uint32_t proto, off = 40;

	if (avail < 40 || ip[0] >> 4 != 6)
		return;
	memcpy(flow->in, ip + 8, 32);
	flow->l3_type = UVB_RSS_IPV6 | UVB_RSS_IPV6_EX;
	flow->l3_len = 32;
	proto = ip[6];
	for (int i = 0; i < EXT_HEADERS_MAX && off + 8 <= avail; i++) {
		uint32_t len = ext_len(proto, ip + off);

		if (len == 0)
			break;
		if (off + len <= avail)
			parse_extension(flow, proto, ip + off, len);
		proto = ip[off];
		off += len;
	}
	if (proto == IP6_FRAG) {
		flow->l3_type |= UVB_RSS_IPV6_FRAG;
		return;
	}
	if (off <= avail)
		take_ports(flow, ip + off, avail - off,
			   l4_type(proto, UVB_RSS_IPV6_TCP | UVB_RSS_IPV6_TCP_EX,
				   UVB_RSS_IPV6_UDP | UVB_RSS_IPV6_UDP_EX, UVB_RSS_IPV6_SCTP));
	if (flow->l4_type == 0)
		flow->l3_type |= UVB_RSS_IPV6_OTHER;
}

void
uvb_flow_parse(struct uvb_flow *flow, const uint8_t *frame, uint32_t avail)
{
	uint32_t off = 12, type;

	flow->l3_type = 0;
	flow->l4_type = 0;
	flow->l3_len = 0;
	flow->has_ex = false;
	memset(flow->l2, 0, sizeof(flow->l2));
	if (avail < 14)
		return;
	memcpy(flow->l2, frame + 6, 6);
	memcpy(flow->l2 + 6, frame, 6);
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

/* ------------------------------------------------------------------------- other than as it lies
 */

/* A pair of fields, each of n bytes: keep those that count, and make the two alike if asked to. */
static void
choose(uint8_t *pair, uint32_t n, bool src, bool dst, bool symmetric)
{
	if (!src)
		memset(pair, 0, n);
	if (!dst)
		memset(pair + n, 0, n);
	for (uint32_t i = 0; symmetric && i < n; i++) {
		pair[i] ^= pair[n + i];
		pair[n + i] = pair[i];
	}
}

static uint32_t
choose_l2(uint32_t types, const struct uvb_flow *flow, uint8_t in[UVB_RSS_INPUT_MAX])
{
	bool all = (types & (UVB_RSS_L2_SRC | UVB_RSS_L2_DST)) == 0;

	memcpy(in, flow->l2, sizeof(flow->l2));
	choose(in, 6, all || (types & UVB_RSS_L2_SRC), all || (types & UVB_RSS_L2_DST),
	       types & UVB_RSS_SYMMETRIC);
	return sizeof(flow->l2);
}

static uint32_t
choose_l3(uint32_t types, const struct uvb_flow *flow, bool ports, uint8_t in[UVB_RSS_INPUT_MAX])
{
	uint32_t named = types & (ports ? UVB_RSS_L3_ONLY | UVB_RSS_L4_ONLY : UVB_RSS_L3_ONLY);
	uint32_t ex = ports ? flow->l4_type : UVB_RSS_IPV6_EX;
	bool all = named == 0, symmetric = types & UVB_RSS_SYMMETRIC;

	memcpy(in, flow->in, UVB_RSS_INPUT_MAX);
	if (flow->has_ex && (types & ex & UVB_RSS_EX))
		memcpy(in, flow->ex, sizeof(flow->ex));
	choose(in, flow->l3_len / 2, all || (named & UVB_RSS_L3_SRC),
	       all || (named & UVB_RSS_L3_DST), symmetric);
	if (!ports)
		return flow->l3_len;
	choose(in + flow->l3_len, 2, all || (named & UVB_RSS_L4_SRC),
	       all || (named & UVB_RSS_L4_DST), symmetric);
	return flow->l3_len + 4;
}

bool
uvb_rss_hash_chosen(const struct uvb_rss *rss, const struct uvb_flow *flow, uint32_t *hash)
{
	uint8_t in[UVB_RSS_INPUT_MAX];
	bool ports = flow->l4_type & rss->types;
	uint32_t n;

	if (ports || (flow->l3_type & rss->types))
		n = choose_l3(rss->types, flow, ports, in);
	else if (rss->types & UVB_RSS_L2)
		n = choose_l2(rss->types, flow, in);
	else
		return false;
	*hash = uvb_rss_toeplitz(rss, in, n);
	return true;
}
