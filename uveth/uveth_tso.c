/* SPDX-License-Identifier: BSD-3-Clause
 *
 * uveth_tso.c - segmentation offload: an mbuf that is many packets.
 *
 * The fabric does the work (uvb_tx_gso()): a receiver with LRO gets the super-frame whole, as one
 * chain of cells; for all others it is cut. Here an mbuf's flags become the fabric's words, and the
 * headers are copied, so that the mbuf is not written to.
 */
#include <errno.h>
#include <netinet/in.h>

#include <rte_ip.h>
#include <rte_tcp.h>
#include <rte_udp.h>

#include "uvbridge/ports/packet.h"
#include "uveth/uveth.h"

static bool
ip_fits(const struct rte_mbuf *m, const uint8_t *ip)
{
	if ((m->ol_flags & RTE_MBUF_F_TX_IPV6) != 0)
		return ip[0] >> 4 == 6 && m->l3_len >= sizeof(struct rte_ipv6_hdr);
	return ip[0] >> 4 == 4 && m->l3_len == (ip[0] & RTE_IPV4_HDR_IHL_MASK) * 4u &&
	       m->l3_len >= sizeof(struct rte_ipv4_hdr);
}

static bool
l4_fits(const struct rte_mbuf *m, const uint8_t *l4)
{
	const struct rte_tcp_hdr *tcp = (const void *)l4;

	if ((m->ol_flags & RTE_MBUF_F_TX_UDP_SEG) != 0)
		return m->l4_len == sizeof(struct rte_udp_hdr);
	return m->l4_len >= sizeof(*tcp) && m->l4_len == (tcp->data_off >> 4) * 4u;
}

/* Copy the headers to hdr and say what they are. Returns their length, or a negative errno if the
 * mbuf is not the super-frame it says it is. */
static int
describe(const struct rte_mbuf *m, uint8_t hdr[UVETH_HDR_MAX], struct uvb_gso *gso)
{
	uint32_t len = (uint32_t)m->l2_len + m->l3_len + m->l4_len;
	const void *from;

	if (m->tso_segsz == 0 || m->l2_len < RTE_ETHER_HDR_LEN || len > UVETH_HDR_MAX ||
	    len >= m->pkt_len || m->pkt_len - m->l2_len > UVB_GSO_L3_MAX)
		return -EINVAL;
	from = rte_pktmbuf_read(m, 0, len, hdr);
	if (from == NULL)
		return -EINVAL;
	if (from != hdr)
		memcpy(hdr, from, len);
	if (!ip_fits(m, hdr + m->l2_len) || !l4_fits(m, hdr + m->l2_len + m->l3_len))
		return -EINVAL;
	*gso = (struct uvb_gso){
		.size = m->tso_segsz,
		.header_len = len,
		.l3 = m->l2_len,
		.l4 = m->l2_len + m->l3_len,
		.ipv6 = (m->ol_flags & RTE_MBUF_F_TX_IPV6) != 0,
		.udp = (m->ol_flags & RTE_MBUF_F_TX_UDP_SEG) != 0,
	};
	return len;
}

int
uveth_tso_check(const struct rte_mbuf *m)
{
	uint8_t hdr[UVETH_HDR_MAX];
	struct uvb_gso gso;
	int len = describe(m, hdr, &gso);

	return len < 0 ? len : 0;
}

/* The field holds the sum of the pseudo header, of whatever length the mbuf said. */
static void
pseudo_header(const struct uvb_gso *gso, uint8_t *hdr, uint32_t len)
{
	const struct rte_ipv4_hdr *ip4 = (const void *)(hdr + gso->l3);
	const struct rte_ipv6_hdr *ip6 = (const void *)(hdr + gso->l3);
	size_t field = gso->udp ? offsetof(struct rte_udp_hdr, dgram_cksum)
				: offsetof(struct rte_tcp_hdr, cksum);
	uint64_t sum = (uint64_t)rte_cpu_to_be_16(len - gso->l4) +
		       rte_cpu_to_be_16(gso->udp ? IPPROTO_UDP : IPPROTO_TCP);
	uint16_t word;

	sum = gso->ipv6 ? uvp_sum(ip6->src_addr, sizeof(ip6->src_addr) * 2, sum)
			: uvp_sum(&ip4->src_addr, sizeof(ip4->src_addr) * 2, sum);
	word = uvp_fold(sum);
	memcpy(hdr + gso->l4 + field, &word, sizeof(word));
}

/* Send one. Returns 1, 0 if every cell is in flight, or a negative errno if it cannot be sent. */
int
uveth_tx_super(struct uveth_txq *q, struct uvb_txq *u, const struct rte_mbuf *m)
{
	uint8_t room[UVETH_TAGS_MAX + UVETH_HDR_MAX], *hdr = room + UVETH_TAGS_MAX;
	struct uvb_seg seg[UVETH_TX_SEGS];
	struct uvb_frame f = {.seg = seg, .nb_seg = 1};
	struct uvb_gso gso;
	uint32_t tags = 0;
	int len = describe(m, hdr, &gso), rc;

	if (len < 0)
		return len;
	pseudo_header(&gso, hdr, m->pkt_len);
	if ((m->ol_flags & UVETH_TX_TAGS) != 0)
		uveth_vlan_insert(q, m, hdr, len, &tags);
	gso.header_len += tags;
	gso.l3 += tags;
	gso.l4 += tags;
	seg[0] = (struct uvb_seg){hdr - tags, gso.header_len};
	f.len = gso.header_len;
	rc = uveth_tx_segments(seg, UVETH_TX_SEGS, &f, m, len);
	if (rc != 0)
		return rc;
	switch (uvb_tx_gso(u, &f, &gso)) {
	case UVB_GSO_WHOLE:
		uveth_count(&q->count->tso_whole, 1);
		return 1;
	case UVB_GSO_CUT:
		uveth_count(&q->count->tso_cut, 1);
		return 1;
	default:
		return 0;
	}
}
