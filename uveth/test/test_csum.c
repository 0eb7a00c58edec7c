/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_csum.c - checksum offloads, both ways.
 */
#include <rte_errno.h>

#include "uveth/test/test.h"

#define TX_CSUM                                                         \
	(RTE_ETH_TX_OFFLOAD_IPV4_CKSUM | RTE_ETH_TX_OFFLOAD_TCP_CKSUM | \
	 RTE_ETH_TX_OFFLOAD_UDP_CKSUM | RTE_ETH_TX_OFFLOAD_MULTI_SEGS)
#define RX_CSUM                                                         \
	(RTE_ETH_RX_OFFLOAD_IPV4_CKSUM | RTE_ETH_RX_OFFLOAD_TCP_CKSUM | \
	 RTE_ETH_RX_OFFLOAD_UDP_CKSUM)

static struct rte_ipv4_hdr *
ip4_of(struct rte_mbuf *m)
{
	return rte_pktmbuf_mtod_offset(m, struct rte_ipv4_hdr *, sizeof(struct rte_ether_hdr));
}

static uint16_t *
l4_csum_of(struct rte_mbuf *m, const struct flow *f)
{
	size_t l4 = sizeof(struct rte_ether_hdr) + (f->version == V6 ? 40 : 20);

	return rte_pktmbuf_mtod_offset(m, uint16_t *, l4 + (f->proto == IPPROTO_TCP ? 16 : 6));
}

/* Ask for all the checksums, and leave something else in their place. */
static void
ask(struct rte_mbuf *m, const struct flow *f, uint16_t garbage)
{
	m->ol_flags |= f->proto == IPPROTO_TCP ? RTE_MBUF_F_TX_TCP_CKSUM : RTE_MBUF_F_TX_UDP_CKSUM;
	*l4_csum_of(m, f) = garbage;
	if (f->version == V4) {
		m->ol_flags |= RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IP_CKSUM;
		ip4_of(m)->hdr_checksum = garbage;
	} else {
		m->ol_flags |= RTE_MBUF_F_TX_IPV6;
	}
}

static void
check_sent_right(const struct port *a, const struct port *b, const struct flow *f, uint16_t len,
		 uint16_t garbage)
{
	struct rte_mbuf *right = flow_frame(a, b, f, len), *m = flow_frame(a, b, f, len), *keep,
			*in;
	const uint64_t good = RTE_MBUF_F_RX_L4_CKSUM_GOOD | RTE_MBUF_F_RX_IP_CKSUM_GOOD;

	ask(m, f, garbage);
	keep = rte_pktmbuf_copy(m, a->pool, 0, UINT32_MAX);
	rte_pktmbuf_refcnt_update(m, 1);
	CHECK_EQ(rte_eth_tx_prepare(a->id, 0, &m, 1), 1);
	CHECK(send_one(a, 0, m));
	/* The mbuf is as it was: somebody else may be sending the same data. */
	CHECK_EQ(
		memcmp(rte_pktmbuf_mtod(m, void *), rte_pktmbuf_mtod(keep, void *), keep->data_len),
		0);
	in = receive_one(b);
	CHECK_EQ(in->pkt_len, right->pkt_len);
	CHECK_EQ(memcmp(rte_pktmbuf_mtod(in, void *), rte_pktmbuf_mtod(right, void *), in->pkt_len),
		 0);
	CHECK_EQ(in->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK, RTE_MBUF_F_RX_L4_CKSUM_GOOD);
	CHECK(f->version == V6 || (in->ol_flags & good) == good);
	rte_pktmbuf_free(m);
	rte_pktmbuf_free(keep);
	rte_pktmbuf_free(right);
	rte_pktmbuf_free(in);
}

static void
open_csum(struct port *a, struct port *b)
{
	struct setup s = {.rx_offloads = RX_CSUM, .tx_offloads = TX_CSUM};

	pair_open(a, b, &s);
}

static void
sent_right(void)
{
	static const uint16_t lens[] = {0, 1, 2, 17, 100, 1001, 1400};
	struct port a, b;

	open_csum(&a, &b);
	for (uint32_t i = 0; i < 400; i++) {
		struct flow f = flow_number(i, i & 1 ? V6 : V4, i & 2 ? IPPROTO_UDP : IPPROTO_TCP);

		check_sent_right(&a, &b, &f, lens[i % RTE_DIM(lens)], i * 0x1234);
	}
	pair_close(&a, &b);
}

/* A UDP checksum that comes out as zero is sent as 0xffff. */
static void
udp_zero(void)
{
	struct flow f = flow_number(3, V4, IPPROTO_UDP);
	struct port a, b;
	struct rte_mbuf *m;

	open_csum(&a, &b);
	m = flow_frame(&a, &b, &f, 2);
	f.sport = 0;
	rte_pktmbuf_free(m);
	/* With the source port as the complement of the rest the sum is all ones. */
	m = flow_frame(&a, &b, &f, 2);
	f.sport = rte_be_to_cpu_16(*l4_csum_of(m, &f));
	rte_pktmbuf_free(m);
	m = flow_frame(&a, &b, &f, 2);
	CHECK_EQ(*l4_csum_of(m, &f), 0xffff);
	rte_pktmbuf_free(m);
	check_sent_right(&a, &b, &f, 2, 0x5555);
	pair_close(&a, &b);
}

/* Headers split over segments, and Ethernet padding behind the packet. */
static void
awkward_frames(void)
{
	struct flow f = flow_number(9, V4, IPPROTO_TCP);
	struct port a, b;

	open_csum(&a, &b);
	for (uint16_t cut = 1; cut < 54; cut++) {
		struct rte_mbuf *right = flow_frame(&a, &b, &f, 31),
				*m = flow_frame(&a, &b, &f, 31);
		struct rte_mbuf *rest, *in;

		memset(rte_pktmbuf_append(m, 5), 0xaa, 5);
		ask(m, &f, 0x7777);
		rest = rte_pktmbuf_copy(m, a.pool, cut, UINT32_MAX);
		rte_pktmbuf_trim(m, m->pkt_len - cut);
		CHECK_EQ(rte_pktmbuf_chain(m, rest), 0);
		CHECK(send_one(&a, 0, m));
		in = receive_one(&b);
		CHECK_EQ(in->pkt_len, right->pkt_len + 5);
		CHECK_EQ(memcmp(rte_pktmbuf_mtod(in, void *), rte_pktmbuf_mtod(right, void *),
				right->pkt_len),
			 0);
		rte_pktmbuf_free(right);
		rte_pktmbuf_free(in);
	}
	pair_close(&a, &b);
}

/* The receiver checks what nobody vouches for. */
static void
receiver_checks(void)
{
	struct port a, b;

	open_csum(&a, &b);
	for (uint32_t i = 0; i < 64; i++) {
		struct flow f = flow_number(i, i & 1 ? V6 : V4, i & 2 ? IPPROTO_UDP : IPPROTO_TCP);
		struct rte_mbuf *m = flow_frame(&a, &b, &f, i * 11), *in;
		bool bad_l4 = i & 4, bad_l3 = (i & 8) && f.version == V4;

		if (bad_l4)
			*rte_pktmbuf_mtod_offset(m, uint8_t *, m->pkt_len - 1) ^= 0x10;
		if (bad_l3)
			ip4_of(m)->time_to_live ^= 1;
		CHECK(send_one(&a, 0, m));
		in = receive_one(&b);
		CHECK_EQ(in->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK,
			 bad_l4 ? RTE_MBUF_F_RX_L4_CKSUM_BAD : RTE_MBUF_F_RX_L4_CKSUM_GOOD);
		if (f.version == V4)
			CHECK_EQ(in->ol_flags & RTE_MBUF_F_RX_IP_CKSUM_MASK,
				 bad_l3 ? RTE_MBUF_F_RX_IP_CKSUM_BAD : RTE_MBUF_F_RX_IP_CKSUM_GOOD);
		rte_pktmbuf_free(in);
	}
	CHECK_EQ(xstat(&b, "rx_bad_l4_csum"), 32);
	CHECK_EQ(xstat(&b, "rx_bad_l3_csum"), 16);
	pair_close(&a, &b);
}

static void
without_checksum(void)
{
	struct flow f = flow_number(5, V4, IPPROTO_UDP);
	struct port a, b;
	struct rte_mbuf *m;

	open_csum(&a, &b);
	m = flow_frame(&a, &b, &f, 10);
	*l4_csum_of(m, &f) = 0;
	CHECK(send_one(&a, 0, m));
	m = receive_one(&b);
	CHECK_EQ(m->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK, RTE_MBUF_F_RX_L4_CKSUM_NONE);
	rte_pktmbuf_free(m);
	pair_close(&a, &b);
}

/* Not asked: no flags. */
static void
offload_off(void)
{
	struct setup s = {.tx_offloads = TX_CSUM};
	struct flow f = flow_number(6, V4, IPPROTO_TCP);
	struct port a, b;
	struct rte_mbuf *m;

	pair_open(&a, &b, &s);
	m = flow_frame(&a, &b, &f, 10);
	ask(m, &f, 0);
	CHECK(send_one(&a, 0, m));
	m = receive_one(&b);
	CHECK_EQ(m->ol_flags, 0);
	rte_pktmbuf_free(m);
	pair_close(&a, &b);
}

/* Frames cut short or lying about themselves, checked by the receiver: whatever it says, it lives,
 * and never calls them good. */
static void
mangled(void)
{
	struct port a, b;

	open_csum(&a, &b);
	for (uint32_t i = 0; i < 4000; i++) {
		struct flow f = flow_number(i, i & 1 ? V6 : V4, i & 2 ? IPPROTO_UDP : IPPROTO_TCP);
		struct rte_mbuf *m = flow_frame(&a, &b, &f, 40), *in;
		uint32_t keep = 14 + i % (m->pkt_len - 14);

		rte_pktmbuf_trim(m, m->pkt_len - keep);
		if (keep > 20)
			rte_pktmbuf_mtod(m, uint8_t *)[14 + (i * 7) % 6] ^= i >> 3;
		CHECK(send_one(&a, 0, m));
		in = receive_one(&b);
		CHECK((in->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) != RTE_MBUF_F_RX_L4_CKSUM_GOOD);
		rte_pktmbuf_free(in);
	}
	pair_close(&a, &b);
}

/* Offload requests that do not fit the frame are refused beforehand, and dropped by name. */
static void
bad_requests(void)
{
	struct flow f = flow_number(7, V4, IPPROTO_TCP);
	struct port a, b;
	struct rte_mbuf *m[4];

	open_csum(&a, &b);
	for (int i = 0; i < 4; i++) {
		m[i] = flow_frame(&a, &b, &f, 10);
		ask(m[i], &f, 0);
	}
	m[0]->l3_len = 300; /* beyond the frame */
	m[1]->l3_len = 12;
	m[2]->ol_flags = (m[2]->ol_flags & ~RTE_MBUF_F_TX_L4_MASK) | RTE_MBUF_F_TX_SCTP_CKSUM;
	for (int i = 0; i < 3; i++) {
		CHECK_EQ(rte_eth_tx_prepare(a.id, 0, &m[i], 1), 0);
		CHECK_EQ(rte_errno, EINVAL);
	}
	ip4_of(m[3])->total_length = RTE_BE16(2000); /* only the burst looks as far as this */
	CHECK_EQ(rte_eth_tx_burst(a.id, 0, m, 4), 4);
	CHECK_EQ(receive_all(&b), 0);
	CHECK_EQ(xstat(&a, "tx_drop_bad_offload"), 4);
	m[0] = flow_frame(&a, &b, &f, 10);
	m[0]->ol_flags |= RTE_MBUF_F_TX_OUTER_IP_CKSUM;
	CHECK_EQ(rte_eth_tx_prepare(a.id, 0, m, 1), 0);
	CHECK_EQ(rte_errno, ENOTSUP);
	rte_pktmbuf_free(m[0]);
	pair_close(&a, &b);
}

const struct test csum_tests[] = {
	{"csum: sent right", sent_right},
	{"csum: UDP zero", udp_zero},
	{"csum: awkward frames", awkward_frames},
	{"csum: the receiver checks", receiver_checks},
	{"csum: without checksum", without_checksum},
	{"csum: offload off", offload_off},
	{"csum: mangled", mangled},
	{"csum: bad requests", bad_requests},
	{NULL, NULL},
};
