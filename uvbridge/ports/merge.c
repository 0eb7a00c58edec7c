/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Joining TCP segments. Frames stand in memory that their sender can still write to: their headers
 * are copied once and only the copy is looked at.
 */
#include <arpa/inet.h>
#include <string.h>

#include "uvbridge/ports/merge.h"

#define IP4_MIN 20
#define IP4_DF  0x4000

/* Where things are in a header; false: not a TCP segment with data that fills the frame. */
static bool
parse(struct uvp_merge *m, uint32_t len)
{
	uint32_t avail = len < UVP_MERGE_HEADER ? len : UVP_MERGE_HEADER;
	uint32_t l3, l4, end, header_len;
	uint16_t type;

	l3 = uvp_ether_parse(m->header, avail, &type);
	m->ipv6 = type == ETHERTYPE_IPV6;
	if (l3 == 0 || (type != ETHERTYPE_IP && !m->ipv6))
		return false;
	l4 = m->ipv6 ? uvp_ip6_tcp(m->header, avail, l3) : uvp_ip4_tcp(m->header, avail, l3);
	if (l4 == 0 || l4 + UVP_TCP_MIN > avail)
		return false;
	end = l3 + (m->ipv6 ? UVP_IP6_LEN + uvp_get16(m->header + l3 + 4)
			    : uvp_get16(m->header + l3 + 2));
	header_len = l4 + (m->header[l4 + UVP_TCP_OFFSET] >> 4) * 4u;
	if (end != len || header_len < l4 + UVP_TCP_MIN || header_len > avail || header_len >= len)
		return false;
	m->l3 = (uint16_t)l3;
	m->l4 = (uint16_t)l4;
	m->header_len = (uint16_t)header_len;
	return true;
}

/* Segments of one stream in the middle of it: nothing but data, which a push may end. */
static bool
plain(const struct uvp_merge *m)
{
	const uint8_t *tcp = m->header + m->l4;
	bool options = m->ipv6 ? m->l4 != m->l3 + UVP_IP6_LEN : m->l4 != m->l3 + IP4_MIN;

	return !options && (tcp[UVP_TCP_FLAGS] & ~UVP_PSH) == UVP_ACK && uvp_get16(tcp + 18) == 0;
}

/* Sum of the pseudo header of a segment with so many bytes of TCP. */
static uint64_t
pseudo_sum(const struct uvp_merge *m, uint32_t tcp_len)
{
	uint64_t pseudo = (uint64_t)htons(IPPROTO_TCP) + htons((uint16_t)tcp_len);

	return m->ipv6 ? uvp_sum(m->header + m->l3 + 8, 32, pseudo)
		       : uvp_sum(m->header + m->l3 + 12, 8, pseudo);
}

/* The sum of the payload without reading it: the checksum is good, so all of it sums up to minus
 * zero. */
static uint16_t
payload_sum(const struct uvp_merge *m)
{
	uint32_t tcp_hdr = (uint32_t)m->header_len - m->l4;
	uint64_t sum = pseudo_sum(m, tcp_hdr + m->payload);

	return (uint16_t)~uvp_fold(uvp_sum(m->header + m->l4, tcp_hdr, sum));
}

bool
uvp_merge_begin(struct uvp_merge *m, const uint8_t *frame, uint32_t len)
{
	memcpy(m->header, frame, len < UVP_MERGE_HEADER ? len : UVP_MERGE_HEADER);
	if (!parse(m, len))
		return false;
	m->nb_segs = 1;
	m->payload = len - m->header_len;
	m->seg_size = m->payload;
	m->sum = payload_sum(m);
	m->closed = !plain(m) || (m->header[m->l4 + UVP_TCP_FLAGS] & UVP_PSH) != 0;
	return true;
}

static bool
same(const struct uvp_merge *a, const struct uvp_merge *b, uint32_t from, uint32_t to)
{
	return memcmp(a->header + from, b->header + from, to - from) == 0;
}

/* IP headers that cutting the super-frame would make from each other. */
static bool
same_ip(const struct uvp_merge *a, const struct uvp_merge *b)
{
	uint32_t ip = a->l3;
	uint16_t id, expected;

	if (a->ipv6)
		return same(a, b, 0, ip + 4) && same(a, b, ip + 6, a->l4);
	id = uvp_get16(b->header + ip + 4);
	expected = (uint16_t)(uvp_get16(a->header + ip + 4) + a->nb_segs);
	/* Where fragments are forbidden, the identification says nothing. */
	if (id != expected && !(uvp_get16(a->header + ip + 6) & IP4_DF))
		return false;
	return same(a, b, 0, ip + 2) && same(a, b, ip + 6, ip + 10) && same(a, b, ip + 12, a->l4);
}

/* Same connection, next bytes, and nothing said on the way that would be lost. */
static bool
same_tcp(const struct uvp_merge *a, const struct uvp_merge *b)
{
	uint32_t tcp = a->l4;

	return same(a, b, tcp, tcp + 4) &&
	       uvp_get32(b->header + tcp + 4) == uvp_get32(a->header + tcp + 4) + a->payload &&
	       same(a, b, tcp + 8, tcp + 13) && same(a, b, tcp + 14, tcp + 16) &&
	       same(a, b, tcp + 18, a->header_len);
}

bool
uvp_merge_same_flow(const struct uvp_merge *a, const struct uvp_merge *b)
{
	uint32_t addresses = a->l3 + (a->ipv6 ? 8u : 12u), len = a->ipv6 ? 32 : 8;

	return a->l3 == b->l3 && a->ipv6 == b->ipv6 && same(a, b, addresses, addresses + len) &&
	       a->l4 == b->l4 && same(a, b, a->l4, a->l4 + 4u);
}

bool
uvp_merge_join(struct uvp_merge *m, const struct uvp_merge *next)
{
	if (m->closed || m->header_len - m->l3 + m->payload + next->payload > UVP_MERGE_MAX ||
	    next->ipv6 != m->ipv6 || next->l3 != m->l3 || next->l4 != m->l4 ||
	    next->header_len != m->header_len || !plain(next) || next->payload > m->seg_size ||
	    !same_ip(m, next) || !same_tcp(m, next))
		return false;
	m->sum += m->payload & 1 ? __builtin_bswap16((uint16_t)next->sum) : next->sum;
	m->nb_segs++;
	m->payload += next->payload;
	m->closed =
		next->payload < m->seg_size || (next->header[m->l4 + UVP_TCP_FLAGS] & UVP_PSH) != 0;
	m->header[m->l4 + UVP_TCP_FLAGS] |= next->header[m->l4 + UVP_TCP_FLAGS] & UVP_PSH;
	return true;
}

bool
uvp_merge_add(struct uvp_merge *m, const uint8_t *frame, uint32_t len)
{
	struct uvp_merge next;

	return !m->closed && len > m->header_len && uvp_merge_begin(&next, frame, len) &&
	       uvp_merge_join(m, &next);
}

/* The lengths of the super-frame; returns the sum of its pseudo header. */
static uint16_t
super_lengths(struct uvp_merge *m)
{
	uint8_t *ip = m->header + m->l3;
	uint32_t tcp_len = (uint32_t)m->header_len - m->l4 + m->payload;
	uint32_t total = (uint32_t)m->l4 - m->l3 + tcp_len;

	if (m->ipv6) {
		uvp_put16(ip + 4, total - UVP_IP6_LEN);
	} else {
		uvp_put16(ip + 2, total);
		uvp_ip4_checksum(ip);
	}
	return uvp_fold(pseudo_sum(m, tcp_len));
}

void
uvp_merge_finish(struct uvp_merge *m)
{
	uint8_t *tcp = m->header + m->l4;
	uint64_t sum = (uint64_t)super_lengths(m) + uvp_fold(m->sum);
	uint16_t word;

	memset(tcp + UVP_TCP_CSUM, 0, sizeof(word));
	word = (uint16_t)~uvp_fold(uvp_sum(tcp, (size_t)m->header_len - m->l4, sum));
	memcpy(tcp + UVP_TCP_CSUM, &word, sizeof(word));
}

void
uvp_merge_end(struct uvp_merge *m, struct virtio_net_hdr *vnet)
{
	uint16_t sum = super_lengths(m);

	*vnet = (struct virtio_net_hdr){.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
					.csum_start = m->l4,
					.csum_offset = UVP_TCP_CSUM};
	memcpy(m->header + m->l4 + UVP_TCP_CSUM, &sum, sizeof(sum));
	if (m->nb_segs == 1)
		return;
	vnet->gso_type = m->ipv6 ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4;
	vnet->gso_size = (uint16_t)m->seg_size;
	vnet->hdr_len = m->header_len;
}
