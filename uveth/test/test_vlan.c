/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_vlan.c - VLAN offloads: strip, insert, filter, with one tag and two.
 */
#include "uveth/test/test.h"

#define STRIP  RTE_ETH_RX_OFFLOAD_VLAN_STRIP
#define QINQ   RTE_ETH_RX_OFFLOAD_QINQ_STRIP
#define FILTER RTE_ETH_RX_OFFLOAD_VLAN_FILTER
#define INSERT (RTE_ETH_TX_OFFLOAD_VLAN_INSERT | RTE_ETH_TX_OFFLOAD_QINQ_INSERT)

#define FLAG_VLAN (RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED)
#define FLAG_QINQ (RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_QINQ | RTE_MBUF_F_RX_QINQ_STRIPPED)

/* A tag in front of what stands behind the addresses. */
static struct rte_mbuf *
tag(struct rte_mbuf *m, uint16_t tpid, uint16_t tci)
{
	char *frame = rte_pktmbuf_prepend(m, 4);

	CHECK(frame != NULL);
	memmove(frame, frame + 4, 12);
	tpid = rte_cpu_to_be_16(tpid);
	tci = rte_cpu_to_be_16(tci);
	memcpy(frame + 12, &tpid, 2);
	memcpy(frame + 14, &tci, 2);
	return m;
}

static uint16_t
be16_at(const struct rte_mbuf *m, uint32_t off)
{
	uint16_t v;

	memcpy(&v, rte_pktmbuf_mtod_offset(m, const char *, off), 2);
	return rte_be_to_cpu_16(v);
}

/* Send it and look at what comes out: as long as this, with these flags. */
static struct rte_mbuf *
pass(const struct port *a, const struct port *b, struct rte_mbuf *m, uint32_t len, uint64_t flags)
{
	CHECK(send_one(a, 0, m));
	m = receive_one(b);
	CHECK_EQ(m->ol_flags, flags);
	CHECK_EQ(m->pkt_len, len);
	CHECK_EQ(m->data_len, len);
	return m;
}

static void
strip_one(void)
{
	struct setup s = {.rx_offloads = STRIP};
	struct port a, b;
	struct rte_mbuf *m;

	pair_open(&a, &b, &s);
	m = pass(&a, &b, tag(plain_frame(&a, &b.mac, 60), 0x8100, 0x6123), 60, FLAG_VLAN);
	CHECK_EQ(m->vlan_tci, 0x6123);
	CHECK(pattern_ok(m, 60));
	CHECK(rte_is_same_ether_addr(rte_pktmbuf_mtod(m, struct rte_ether_addr *), &b.mac));
	rte_pktmbuf_free(m);
	/* Untagged: as it is. */
	m = pass(&a, &b, plain_frame(&a, &b.mac, 60), 60, 0);
	CHECK_EQ(m->vlan_tci, 0);
	rte_pktmbuf_free(m);
	/* Of two tags the outer one. */
	m = tag(tag(plain_frame(&a, &b.mac, 60), 0x8100, 7), 0x88a8, 9);
	m = pass(&a, &b, m, 64, FLAG_VLAN);
	CHECK_EQ(m->vlan_tci, 9);
	CHECK_EQ(be16_at(m, 12), 0x8100);
	CHECK_EQ(be16_at(m, 14), 7);
	rte_pktmbuf_free(m);
	/* Too short to have a tag, whatever the type says. */
	m = plain_frame(&a, &b.mac, 14);
	rte_pktmbuf_mtod(m, uint8_t *)[12] = 0x81;
	rte_pktmbuf_mtod(m, uint8_t *)[13] = 0x00;
	rte_pktmbuf_free(pass(&a, &b, m, 14, 0));
	pair_close(&a, &b);
}

static void
strip_two(void)
{
	struct setup s = {.rx_offloads = STRIP | QINQ};
	struct port a, b;
	struct rte_mbuf *m;

	pair_open(&a, &b, &s);
	m = tag(tag(plain_frame(&a, &b.mac, 60), 0x8100, 7), 0x88a8, 9);
	m = pass(&a, &b, m, 60, FLAG_QINQ | RTE_MBUF_F_RX_VLAN_STRIPPED);
	CHECK(m->vlan_tci == 7 && m->vlan_tci_outer == 9);
	CHECK(pattern_ok(m, 60));
	rte_pktmbuf_free(m);
	m = pass(&a, &b, tag(plain_frame(&a, &b.mac, 60), 0x8100, 5), 60, FLAG_VLAN);
	CHECK_EQ(m->vlan_tci, 5);
	rte_pktmbuf_free(m);
	/* QinQ stripping alone takes the outer tag, reports both, and leaves a single one. */
	CHECK_EQ(rte_eth_dev_set_vlan_offload(b.id, RTE_ETH_QINQ_STRIP_OFFLOAD), 0);
	m = tag(tag(plain_frame(&a, &b.mac, 60), 0x8100, 7), 0x88a8, 9);
	m = pass(&a, &b, m, 64, FLAG_QINQ);
	CHECK(m->vlan_tci == 7 && m->vlan_tci_outer == 9);
	CHECK_EQ(be16_at(m, 12), 0x8100);
	rte_pktmbuf_free(m);
	m = pass(&a, &b, tag(plain_frame(&a, &b.mac, 60), 0x8100, 5), 64, 0);
	rte_pktmbuf_free(m);
	pair_close(&a, &b);
}

/* Changed while the port runs: of the port, of one queue; and in a scattered frame. */
static void
strip_at_run_time(void)
{
	struct setup s = {.mtu = 4000,
			  .rx_offloads = RTE_ETH_RX_OFFLOAD_SCATTER,
			  .data_room = 512 + RTE_PKTMBUF_HEADROOM};
	struct setup plain = {.mtu = 4000, .tx_offloads = RTE_ETH_TX_OFFLOAD_MULTI_SEGS};
	struct port a, b;
	struct rte_mbuf *m;

	port_open(&a, &plain);
	port_open(&b, &s);
	CHECK_EQ(rte_eth_dev_get_vlan_offload(b.id), 0);
	m = pass(&a, &b, tag(plain_frame(&a, &b.mac, 60), 0x8100, 5), 64, 0);
	rte_pktmbuf_free(m);
	CHECK_EQ(rte_eth_dev_set_vlan_offload(b.id, RTE_ETH_VLAN_STRIP_OFFLOAD), 0);
	CHECK_EQ(rte_eth_dev_get_vlan_offload(b.id), RTE_ETH_VLAN_STRIP_OFFLOAD);
	CHECK(send_one(&a, 0, tag(plain_frame(&a, &b.mac, 2000), 0x8100, 5)));
	m = receive_one(&b);
	CHECK(pattern_ok(m, 2000) && m->vlan_tci == 5 && m->nb_segs > 1);
	rte_pktmbuf_free(m);
	CHECK_EQ(rte_eth_dev_set_vlan_strip_on_queue(b.id, 0, 0), 0);
	m = pass(&a, &b, tag(plain_frame(&a, &b.mac, 60), 0x8100, 5), 64, 0);
	rte_pktmbuf_free(m);
	CHECK_EQ(rte_eth_dev_set_vlan_strip_on_queue(b.id, 0, 1), 0);
	m = pass(&a, &b, tag(plain_frame(&a, &b.mac, 60), 0x8100, 5), 60, FLAG_VLAN);
	rte_pktmbuf_free(m);
	CHECK_EQ(rte_eth_dev_set_vlan_offload(b.id, 0), 0);
	m = pass(&a, &b, tag(plain_frame(&a, &b.mac, 60), 0x8100, 5), 64, 0);
	rte_pktmbuf_free(m);
	pair_close(&a, &b);
}

static void
tpids(void)
{
	struct setup s = {.rx_offloads = STRIP | QINQ, .tx_offloads = INSERT};
	struct port a, b;
	struct rte_mbuf *m;

	pair_open(&a, &b, &s);
	m = tag(tag(plain_frame(&a, &b.mac, 60), 0x8100, 7), 0x9100, 9);
	rte_pktmbuf_free(pass(&a, &b, m, 68, 0)); /* 0x9100 is no tag */
	CHECK_EQ(rte_eth_dev_set_vlan_ether_type(b.id, RTE_ETH_VLAN_TYPE_OUTER, 0x9100), 0);
	CHECK_EQ(rte_eth_dev_set_vlan_ether_type(a.id, RTE_ETH_VLAN_TYPE_OUTER, 0x9100), 0);
	m = plain_frame(&a, &b.mac, 60);
	m->ol_flags |= RTE_MBUF_F_TX_VLAN | RTE_MBUF_F_TX_QINQ;
	m->vlan_tci = 7;
	m->vlan_tci_outer = 9;
	m = pass(&a, &b, m, 60, FLAG_QINQ | RTE_MBUF_F_RX_VLAN_STRIPPED);
	CHECK(m->vlan_tci == 7 && m->vlan_tci_outer == 9);
	rte_pktmbuf_free(m);
	/* Neither a restart nor a reset forgets it. */
	CHECK_EQ(rte_eth_dev_reset(b.id), 0);
	port_configure(&b, &s);
	m = tag(tag(plain_frame(&a, &b.mac, 60), 0x8100, 7), 0x9100, 9);
	rte_pktmbuf_free(pass(&a, &b, m, 60, FLAG_QINQ | RTE_MBUF_F_RX_VLAN_STRIPPED));
	pair_close(&a, &b);
}

/* Inserted on the way; the mbuf is not written to, even if somebody else reads it. */
static void
insert(void)
{
	struct setup s = {.tx_offloads = INSERT};
	struct port a, b;
	struct rte_mbuf *m, *in;

	pair_open(&a, &b, &s);
	for (int qinq = 0; qinq < 2; qinq++) {
		m = plain_frame(&a, &b.mac, 60);
		m->ol_flags |= qinq ? RTE_MBUF_F_TX_QINQ : RTE_MBUF_F_TX_VLAN;
		m->vlan_tci = 0x2005;
		m->vlan_tci_outer = 0x4006;
		rte_pktmbuf_refcnt_update(m, 1);
		CHECK_EQ(rte_eth_tx_prepare(a.id, 0, &m, 1), 1);
		in = pass(&a, &b, m, qinq ? 68 : 64, 0);
		CHECK(pattern_ok(m, 60));
		rte_pktmbuf_free(m);
		if (qinq) {
			CHECK_EQ(be16_at(in, 12), 0x88a8);
			CHECK_EQ(be16_at(in, 14), 0x4006);
		}
		CHECK_EQ(be16_at(in, qinq ? 16 : 12), 0x8100);
		CHECK_EQ(be16_at(in, qinq ? 18 : 14), 0x2005);
		rte_pktmbuf_adj(in, qinq ? 8 : 4);
		CHECK(pattern_ok(in, 60));
		rte_pktmbuf_free(in);
	}
	m = plain_frame(&a, &b.mac, 14);
	rte_pktmbuf_trim(m, 3); /* not even two addresses */
	m->ol_flags |= RTE_MBUF_F_TX_VLAN;
	CHECK(send_one(&a, 0, m));
	CHECK_EQ(xstat(&a, "tx_drop_bad_offload"), 1);
	pair_close(&a, &b);
}

/* Together with checksums, which are right behind the tag, too. */
static void
insert_with_checksum(void)
{
	const uint64_t csum = RTE_ETH_RX_OFFLOAD_TCP_CKSUM | RTE_ETH_RX_OFFLOAD_IPV4_CKSUM;
	struct setup s = {.rx_offloads = STRIP | csum,
			  .tx_offloads = INSERT | RTE_ETH_TX_OFFLOAD_TCP_CKSUM |
					 RTE_ETH_TX_OFFLOAD_IPV4_CKSUM};
	struct flow f = flow_number(3, V4, IPPROTO_TCP);
	struct port a, b;
	struct rte_mbuf *m, *right;

	pair_open(&a, &b, &s);
	right = flow_frame(&a, &b, &f, 333);
	m = flow_frame(&a, &b, &f, 333);
	m->ol_flags |= RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IP_CKSUM | RTE_MBUF_F_TX_TCP_CKSUM |
		       RTE_MBUF_F_TX_VLAN;
	m->vlan_tci = 77;
	rte_pktmbuf_mtod_offset(m, struct rte_tcp_hdr *, 34)->cksum = 0x1111;
	m = pass(&a, &b, m, right->pkt_len,
		 FLAG_VLAN | RTE_MBUF_F_RX_L4_CKSUM_GOOD | RTE_MBUF_F_RX_IP_CKSUM_GOOD);
	CHECK_EQ(m->vlan_tci, 77);
	CHECK_EQ(memcmp(rte_pktmbuf_mtod(m, void *), rte_pktmbuf_mtod(right, void *), m->pkt_len),
		 0);
	rte_pktmbuf_free(m);
	rte_pktmbuf_free(right);
	pair_close(&a, &b);
}

/* Does a frame with this VLAN get in? What does not is counted, on both sides. */
static bool
gets_vlan(const struct port *a, const struct port *b, uint16_t vlan)
{
	uint64_t filtered = xstat(b, "rx_drop_vlan_filter");
	bool got;

	CHECK(send_one(a, 0, tag(plain_frame(a, &b->mac, 60), 0x8100, 0xe000 | vlan)));
	got = receive_all(b) == 1;
	CHECK_EQ(xstat(b, "rx_drop_vlan_filter") - filtered, got ? 0 : 1);
	return got;
}

static void
filter(void)
{
	struct setup s = {.rx_offloads = FILTER};
	struct port a, b;

	pair_open(&a, &b, &s);
	CHECK(!gets_vlan(&a, &b, 5));
	CHECK_EQ(rte_eth_dev_vlan_filter(b.id, 5, 1), 0);
	CHECK_EQ(rte_eth_dev_vlan_filter(b.id, 4095, 1), 0);
	CHECK(gets_vlan(&a, &b, 5) && gets_vlan(&a, &b, 4095));
	CHECK(!gets_vlan(&a, &b, 6) && !gets_vlan(&a, &b, 0) && !gets_vlan(&a, &b, 37));
	CHECK(send_one(&a, 0, plain_frame(&a, &b.mac, 60))); /* untagged */
	CHECK_EQ(receive_all(&b), 1);
	/* Frames of one burst and one pair of addresses, of two VLANs. */
	struct rte_mbuf *m[3] = {tag(plain_frame(&a, &b.mac, 60), 0x8100, 5),
				 tag(plain_frame(&a, &b.mac, 60), 0x8100, 6),
				 tag(plain_frame(&a, &b.mac, 60), 0x88a8, 5)};
	CHECK_EQ(rte_eth_tx_burst(a.id, 0, m, 3), 3);
	CHECK_EQ(receive_all(&b), 2);
	CHECK_EQ(rte_eth_promiscuous_enable(b.id), 0);
	CHECK(!gets_vlan(&a, &b, 6)); /* promiscuous is about addresses */
	/* What was asked for survives a reset of the device. */
	CHECK_EQ(rte_eth_dev_reset(b.id), 0);
	port_configure(&b, &s);
	CHECK(gets_vlan(&a, &b, 5) && !gets_vlan(&a, &b, 6));
	CHECK_EQ(rte_eth_dev_vlan_filter(b.id, 5, 0), 0);
	CHECK(!gets_vlan(&a, &b, 5));
	CHECK_EQ(rte_eth_dev_set_vlan_offload(b.id, 0), 0);
	CHECK(gets_vlan(&a, &b, 5) && gets_vlan(&a, &b, 6));
	CHECK_EQ(xstat(&b, "rx_drop_vlan_filter"), 2);
	CHECK_EQ(xstat(&a, "tx_far_vlan_filter"), 8);
	CHECK(rte_eth_dev_vlan_filter(b.id, 5, 1) != 0); /* the filter is off */
	pair_close(&a, &b);
}

const struct test vlan_tests[] = {
	{"vlan: strip", strip_one},
	{"vlan: strip two", strip_two},
	{"vlan: strip, at run time", strip_at_run_time},
	{"vlan: TPIDs", tpids},
	{"vlan: insert", insert},
	{"vlan: insert with checksum", insert_with_checksum},
	{"vlan: filter", filter},
	{NULL, NULL},
};
