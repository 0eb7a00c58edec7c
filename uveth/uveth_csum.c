/* SPDX-License-Identifier: BSD-3-Clause
 *
 * uveth_csum.c - reading and finishing headers: checksum offloads and packet types.
 *
 * Transmit. Memory does not corrupt frames, so between two uveth ports a checksum could be left
 * undone and merely vouched for, as virtio does. It is computed nevertheless: a frame in the fabric
 * must be right for whoever gets it - a capture, a tap, a program that sends it on - and none of
 * them can be told afterwards. The pass over the payload is the price, and it is small: the copy
 * into the cell that follows finds the payload in the cache. What the receiver does save is the
 * second pass: the cell says that the checksums were computed from these very bytes
 * (UVB_CELL_CSUM_OK).
 *
 * The mbuf is not written to. It may be a clone whose data other queues are sending at this moment,
 * or lie in memory that is not ours; a NIC would not write to it either. The headers are finished
 * in a copy, and the frame is gathered from the copy and the rest of the mbuf.
 *
 * Receive. Frames that are vouched for are GOOD by that word. Others are checked here, so that an
 * application that relies on the offload also learns of the bad ones.
 */
#include <errno.h>
#include <netinet/in.h>

#include <rte_errno.h>
#include <rte_ip.h>
#include <rte_mbuf.h>
#include <rte_net.h>
#include <rte_tcp.h>
#include <rte_udp.h>

#include "uvbridge/ports/packet.h"
#include "uveth/uveth.h"

#define TX_CSUM (RTE_MBUF_F_TX_IP_CKSUM | RTE_MBUF_F_TX_L4_MASK)
#define TX_OFFLOADS_REFUSED                                                                   \
	(RTE_MBUF_F_TX_OFFLOAD_MASK &                                                         \
	 ~(TX_CSUM | RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IPV6 | UVETH_TX_TAGS | UVETH_TX_SEG | \
	   RTE_MBUF_F_TX_IEEE1588_TMST))

/* Where a checksum belongs: parsed from the frame on receive, told by the mbuf on transmit. */
struct l4_place {
	const void *l3;  /* the IP header, in one piece */
	uint32_t l3_len; /* extensions included */
	uint32_t l4_off; /* of the L4 header, in the frame */
	uint8_t proto;   /* IPPROTO_TCP or IPPROTO_UDP */
	bool v6;
};

/* Ones' complement sum of 16-bit words as they lie, an odd byte last. */
static uint16_t
sum_bytes(const void *data, uint32_t len)
{
	return uvp_fold(uvp_sum(data, len, 0));
}

/* The same over bytes [off, off + len) of a chain, which are there. (rte_raw_cksum_mbuf() of this
 * release loses carries when a segment ends on an odd byte.) */
static uint16_t
sum_mbuf(const struct rte_mbuf *m, uint32_t off, uint32_t len)
{
	uint64_t total = 0;
	uint32_t done = 0;

	for (; len > done; m = m->next) {
		uint32_t n;
		uint16_t sum;

		if (off >= m->data_len) {
			off -= m->data_len;
			continue;
		}
		n = RTE_MIN(m->data_len - off, len - done);
		sum = sum_bytes(rte_pktmbuf_mtod_offset(m, const void *, off), n);
		total += done & 1 ? rte_bswap16(sum) : sum;
		done += n;
		off = 0;
	}
	return uvp_fold(total);
}

/* Bytes of L4 as the IP header has it (the frame may be longer: padding), or 0 if that is not what
 * is there. */
static uint32_t
l4_len(const struct rte_mbuf *m, const struct l4_place *p)
{
	const struct rte_ipv4_hdr *ip4 = p->l3;
	const struct rte_ipv6_hdr *ip6 = p->l3;
	uint32_t len = p->v6 ? rte_be_to_cpu_16(ip6->payload_len) + sizeof(*ip6)
			     : rte_be_to_cpu_16(ip4->total_length);

	if (p->l4_off > m->pkt_len || len <= p->l3_len || len - p->l3_len > m->pkt_len - p->l4_off)
		return 0;
	return len - p->l3_len;
}

/* Ones' complement sum of pseudo-header and L4, checksum field included; 0 if L4 is not all there
 * (a true sum is never 0: the protocol number is in it). */
static uint16_t
l4_sum(const struct rte_mbuf *m, const struct l4_place *p)
{
	const struct rte_ipv4_hdr *ip4 = p->l3;
	const struct rte_ipv6_hdr *ip6 = p->l3;
	uint32_t len = l4_len(m, p);
	uint32_t least =
		p->proto == IPPROTO_UDP ? sizeof(struct rte_udp_hdr) : sizeof(struct rte_tcp_hdr);
	uint64_t sum;

	if (len < least)
		return 0;
	sum = p->v6 ? sum_bytes(ip6->src_addr, sizeof(ip6->src_addr) * 2)
		    : sum_bytes(&ip4->src_addr, sizeof(ip4->src_addr) * 2);
	sum += sum_mbuf(m, p->l4_off, len);
	return uvp_fold(sum + rte_cpu_to_be_16(len) + rte_cpu_to_be_16(p->proto));
}

/* ---------------------------------------------------------------------------------------- tx */

/* Offset of the checksum in the L4 header, 0 if none is asked for, negative if it is none we do. */
static int
l4_csum_at(uint64_t ol_flags)
{
	switch (ol_flags & RTE_MBUF_F_TX_L4_MASK) {
	case 0:
		return 0;
	case RTE_MBUF_F_TX_TCP_CKSUM:
		return offsetof(struct rte_tcp_hdr, cksum);
	case RTE_MBUF_F_TX_UDP_CKSUM:
		return offsetof(struct rte_udp_hdr, dgram_cksum);
	default:
		return -ENOTSUP;
	}
}

/* How many bytes of header must be copied so that all that changes is in the copy. */
static int
hdr_len(const struct rte_mbuf *m)
{
	bool v6 = (m->ol_flags & RTE_MBUF_F_TX_IPV6) != 0;
	uint32_t len = m->l2_len + m->l3_len;
	int at = l4_csum_at(m->ol_flags);

	if (at < 0 || m->l3_len < (v6 ? sizeof(struct rte_ipv6_hdr) : sizeof(struct rte_ipv4_hdr)))
		return -EINVAL;
	if (at > 0)
		len += at + sizeof(uint16_t);
	return len <= UVETH_HDR_MAX && len <= m->pkt_len ? (int)len : -EINVAL;
}

static int
tx_l4(const struct rte_mbuf *m, const struct l4_place *p, uint8_t *field)
{
	uint16_t sum = l4_sum(m, p);
	uint16_t was, csum;

	if (sum == 0)
		return -EINVAL;
	/* The sum has what the mbuf holds in the field, which some applications set to that of the
	 * pseudo-header and others leave alone: take it out. */
	memcpy(&was, field, sizeof(was));
	csum = ~uvp_fold((uint64_t)sum + (uint16_t)~was);
	if (csum == 0 && p->proto == IPPROTO_UDP)
		csum = 0xffff; /* zero says "not computed"; ones' complement has another zero */
	memcpy(field, &csum, sizeof(csum));
	return 0;
}

static void
tx_l3(struct rte_ipv4_hdr *ip, uint32_t len)
{
	ip->hdr_checksum = 0;
	ip->hdr_checksum = ~sum_bytes(ip, len);
}

/* Copy the headers to hdr and finish the checksums there. Returns how many bytes of the frame hdr
 * stands for, or a negative errno if the mbuf is not what it says. */
int
uveth_tx_csum(const struct rte_mbuf *m, uint8_t hdr[UVETH_HDR_MAX], uint16_t *flags)
{
	uint64_t l4 = m->ol_flags & RTE_MBUF_F_TX_L4_MASK;
	struct l4_place p = {
		.l3 = hdr + m->l2_len,
		.l3_len = m->l3_len,
		.l4_off = m->l2_len + m->l3_len,
		.proto = l4 == RTE_MBUF_F_TX_UDP_CKSUM ? IPPROTO_UDP : IPPROTO_TCP,
		.v6 = (m->ol_flags & RTE_MBUF_F_TX_IPV6) != 0,
	};
	bool ip4 = !p.v6 && (m->ol_flags & RTE_MBUF_F_TX_IP_CKSUM) != 0;
	int len = hdr_len(m);
	const void *from;

	if (len < 0)
		return len;
	from = rte_pktmbuf_read(m, 0, len, hdr);
	if (from == NULL)
		return -EINVAL;
	if (from != hdr)
		memcpy(hdr, from, len);
	if (ip4)
		tx_l3((struct rte_ipv4_hdr *)(hdr + m->l2_len), m->l3_len);
	if (l4 != 0 && tx_l4(m, &p, hdr + len - sizeof(uint16_t)) != 0)
		return -EINVAL;
	*flags = l4 != 0 && (ip4 || p.v6) ? UVB_CELL_CSUM_OK : 0;
	return len;
}

static bool
prepared(const struct rte_mbuf *m)
{
	if (m->nb_segs > UVETH_TX_SEGS)
		return false;
	if ((m->ol_flags & UVETH_TX_SEG) != 0)
		return uveth_tso_check(m) == 0;
	return (m->ol_flags & TX_CSUM) == 0 || hdr_len(m) >= 0;
}

/* rte_eth_tx_prepare(): say beforehand what the burst would drop. */
uint16_t
uveth_tx_prepare(void *txq __rte_unused, struct rte_mbuf **pkts, uint16_t n)
{
	for (uint16_t i = 0; i < n; i++) {
		const struct rte_mbuf *m = pkts[i];

		if ((m->ol_flags & TX_OFFLOADS_REFUSED) != 0) {
			rte_errno = ENOTSUP;
			return i;
		}
		if (!prepared(m)) {
			rte_errno = EINVAL;
			return i;
		}
	}
	return n;
}

/* ---------------------------------------------------------------------------------------- rx */

static bool
udp_without_csum(const struct rte_mbuf *m, const struct l4_place *p)
{
	struct rte_udp_hdr buf;
	const struct rte_udp_hdr *uh;

	if (p->proto != IPPROTO_UDP || p->v6)
		return false;
	uh = rte_pktmbuf_read(m, p->l4_off, sizeof(buf), &buf);
	return uh != NULL && uh->dgram_cksum == 0;
}

static uint64_t
rx_l4(struct uveth_rxq *q, const struct rte_mbuf *m, const struct l4_place *p)
{
	uint64_t offload = p->proto == IPPROTO_UDP ? RTE_ETH_RX_OFFLOAD_UDP_CKSUM
						   : RTE_ETH_RX_OFFLOAD_TCP_CKSUM;

	if ((q->offloads & offload) == 0)
		return 0;
	if (udp_without_csum(m, p))
		return RTE_MBUF_F_RX_L4_CKSUM_NONE;
	if (l4_sum(m, p) == 0xffff)
		return RTE_MBUF_F_RX_L4_CKSUM_GOOD;
	uveth_count(&q->count->bad_l4_csum, 1);
	return RTE_MBUF_F_RX_L4_CKSUM_BAD;
}

static uint64_t
rx_l3(struct uveth_rxq *q, const struct l4_place *p)
{
	if (p->v6 || (q->offloads & RTE_ETH_RX_OFFLOAD_IPV4_CKSUM) == 0)
		return 0;
	if (sum_bytes(p->l3, p->l3_len) == 0xffff)
		return RTE_MBUF_F_RX_IP_CKSUM_GOOD;
	uveth_count(&q->count->bad_l3_csum, 1);
	return RTE_MBUF_F_RX_IP_CKSUM_BAD;
}

static void
rx_verify(struct uveth_rxq *q, struct rte_mbuf *m, uint32_t ptype,
	  const struct rte_net_hdr_lens *lens)
{
	uint8_t buf[UVETH_HDR_MAX];
	struct l4_place p = {
		.l3_len = lens->l3_len,
		.l4_off = lens->l2_len + lens->l3_len,
		.v6 = RTE_ETH_IS_IPV6_HDR(ptype) != 0,
	};

	if ((ptype & RTE_PTYPE_L3_MASK) == 0 || lens->l3_len > sizeof(buf))
		return;
	p.l3 = rte_pktmbuf_read(m, lens->l2_len, lens->l3_len, buf);
	if (p.l3 == NULL)
		return; /* the header claims to be longer than the frame */
	m->ol_flags |= rx_l3(q, &p);
	switch (ptype & RTE_PTYPE_L4_MASK) {
	case RTE_PTYPE_L4_TCP:
		p.proto = IPPROTO_TCP;
		break;
	case RTE_PTYPE_L4_UDP:
		p.proto = IPPROTO_UDP;
		break;
	default:
		return;
	}
	m->ol_flags |= rx_l4(q, m, &p);
}

static uint64_t
vouched_flags(const struct uveth_rxq *q)
{
	uint64_t flags = 0;

	if ((q->offloads & RTE_ETH_RX_OFFLOAD_IPV4_CKSUM) != 0)
		flags |= RTE_MBUF_F_RX_IP_CKSUM_GOOD;
	if ((q->offloads & (RTE_ETH_RX_OFFLOAD_UDP_CKSUM | RTE_ETH_RX_OFFLOAD_TCP_CKSUM)) != 0)
		flags |= RTE_MBUF_F_RX_L4_CKSUM_GOOD;
	return flags;
}

/* Packet type and checksum flags of a received frame. A frame that is vouched for need not even be
 * parsed, unless its type is asked for. */
void
uveth_rx_inspect(struct uveth_rxq *q, struct rte_mbuf *m, bool vouched)
{
	struct rte_net_hdr_lens lens = {0};
	uint32_t ptype;

	if (vouched)
		m->ol_flags |= vouched_flags(q);
	if (vouched && q->ptypes == 0)
		return;
	ptype = rte_net_get_ptype(m, &lens, UVETH_PTYPES);
	m->packet_type = ptype & q->ptypes;
	if (!vouched && q->verify)
		rx_verify(q, m, ptype, &lens);
}
