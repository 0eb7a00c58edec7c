/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The layers of a frame, as flow rules see them.
 */
#include "uvbridge/rules.h"

#define ETH_VLAN 0x8100
#define ETH_QINQ 0x88a8
#define ETH_IPV4 0x0800
#define ETH_IPV6 0x86dd

#define IP6_FRAG 44
#define IP6_AUTH 51
#define IP6_ESP  50

#define EXT_HEADERS_MAX 8 /* of one packet; more is nobody's honest packet */

static uint32_t
be16(const uint8_t *p)
{
	return (uint32_t)p[0] << 8 | p[1];
}

/* What stands at L4, by IP's protocol number. */
static uint32_t
l4_layer(uint32_t layers, uint32_t proto)
{
	switch (proto) {
	case 1:
		return layers & UVB_LAYER_IPV4 ? UVB_LAYER_ICMP : 0;
	case 6:
		return UVB_LAYER_TCP;
	case 17:
		return UVB_LAYER_UDP;
	case 58:
		return layers & UVB_LAYER_IPV6 ? UVB_LAYER_ICMP6 : 0;
	case 132:
		return UVB_LAYER_SCTP;
	default:
		return 0;
	}
}

/* Length of the fixed header; TCP's as it says. 0: it cannot be so. */
static uint32_t
l4_length(uint32_t layer, const uint8_t *l4, uint32_t avail)
{
	switch (layer) {
	case UVB_LAYER_TCP:
		if (avail < 20 || l4[12] >> 4 < 5)
			return 0;
		return (l4[12] >> 4) * 4u;
	case UVB_LAYER_SCTP:
		return 12;
	case UVB_LAYER_ICMP6:
		return 4;
	default:
		return 8;
	}
}

static void
parse_l4(struct uvb_layers *l, const uint8_t *head, uint32_t avail, uint32_t off, uint32_t proto)
{
	uint32_t layer = l4_layer(l->bits, proto), len;

	if (off > avail)
		return;
	l->at[UVB_AT_L4] = (int32_t)off;
	if (layer == 0)
		return;
	len = l4_length(layer, head + off, avail - off);
	if (len == 0 || (layer == UVB_LAYER_TCP ? 20 : len) > avail - off)
		return;
	l->bits |= layer;
	l->at[UVB_AT_PAYLOAD] = (int32_t)(off + len);
}

static void
parse_ipv4(struct uvb_layers *l, const uint8_t *head, uint32_t avail, uint32_t off)
{
	const uint8_t *ip = head + off;
	uint32_t ihl;

	if (avail - off < 20 || ip[0] >> 4 != 4 || (ip[0] & 15) < 5)
		return;
	ihl = (ip[0] & 15u) * 4;
	l->bits |= UVB_LAYER_IPV4;
	l->at[UVB_AT_L3] = (int32_t)off;
	/* A fragment, the first one too: all of one datagram must meet the same rules. */
	if ((be16(ip + 6) & 0x3fff) == 0)
		parse_l4(l, head, avail, off + ihl, ip[9]);
}

static uint32_t
extension(uint32_t proto)
{
	switch (proto) {
	case 0:
		return UVB_LAYER_IP6_HOP;
	case 43:
		return UVB_LAYER_IP6_ROUTE;
	case IP6_FRAG:
		return UVB_LAYER_IP6_FRAG;
	case IP6_ESP:
		return UVB_LAYER_IP6_ESP;
	case IP6_AUTH:
		return UVB_LAYER_IP6_AUTH;
	case 60:
		return UVB_LAYER_IP6_DEST;
	case 135:
		return UVB_LAYER_IP6_MOBILE;
	case 139:
		return UVB_LAYER_IP6_HIP;
	case 140:
		return UVB_LAYER_IP6_SHIM6;
	default:
		return 0;
	}
}

static void
parse_ipv6(struct uvb_layers *l, const uint8_t *head, uint32_t avail, uint32_t off)
{
	uint32_t proto, layer;

	if (avail - off < 40 || head[off] >> 4 != 6)
		return;
	l->bits |= UVB_LAYER_IPV6;
	l->at[UVB_AT_L3] = (int32_t)off;
	proto = head[off + 6];
	off += 40;
	for (int i = 0; i < EXT_HEADERS_MAX && (layer = extension(proto)) != 0; i++) {
		l->bits |= layer;
		/* Behind these there is nothing to be read, or only a part of it. */
		if (layer == UVB_LAYER_IP6_FRAG || layer == UVB_LAYER_IP6_ESP || off + 8 > avail)
			return;
		proto = head[off];
		off += layer == UVB_LAYER_IP6_AUTH ? (head[off + 1] + 2u) * 4
						   : (head[off + 1] + 1u) * 8;
	}
	parse_l4(l, head, avail, off, proto);
}

void
uvb_layers_parse(struct uvb_layers *l, const uint8_t *head, uint32_t avail)
{
	static const uint32_t tag_bit[] = {UVB_LAYER_VLAN, UVB_LAYER_VLAN2, UVB_LAYER_VLAN3};
	uint32_t off = 12, type = be16(head + off);

	*l = (struct uvb_layers){0, {0, -1, -1, -1}};
	for (uint32_t tags = 0; type == ETH_VLAN || type == ETH_QINQ; tags++) {
		if (off + 6 > avail)
			return;
		l->bits |= tag_bit[tags];
		if (tags == 2)
			return;
		off += 4;
		type = be16(head + off);
	}
	off += 2;
	if (type == ETH_IPV4)
		parse_ipv4(l, head, avail, off);
	else if (type == ETH_IPV6)
		parse_ipv6(l, head, avail, off);
}
