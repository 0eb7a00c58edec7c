/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_stats.c - statistics: every frame is in one of them, and only in one.
 */
#include "uveth/test/test.h"

static void
basic_and_per_queue(void)
{
	struct setup s = {.queues = 4, .rss_hf = RTE_ETH_RSS_NONFRAG_IPV4_UDP};
	struct rte_eth_stats tx, rx;
	uint64_t per_queue[4] = {0};
	struct port a, b;
	struct rte_mbuf *m[BURST];
	uint16_t n;

	pair_open(&a, &b, &s);
	for (uint32_t i = 0; i < 200; i++) {
		struct flow f = flow_number(i, V4, IPPROTO_UDP);

		CHECK(send_one(&a, i % 4, flow_frame(&a, &b, &f, 58))); /* 100 bytes */
	}
	for (uint16_t q = 0; q < 4; q++) {
		while ((n = receive(&b, q, m, BURST)) > 0) {
			rte_pktmbuf_free_bulk(m, n);
			per_queue[q] += n;
		}
	}
	tx = basic(&a);
	rx = basic(&b);
	CHECK_EQ(tx.opackets, 200);
	CHECK_EQ(tx.obytes, 20000);
	CHECK_EQ(rx.ipackets, 200);
	CHECK_EQ(rx.ibytes, 20000);
	CHECK_EQ(rx.imissed + rx.ierrors + rx.rx_nombuf + tx.oerrors, 0);
	for (uint16_t q = 0; q < 4; q++) {
		CHECK_EQ(tx.q_opackets[q], 50);
		CHECK_EQ(rx.q_ipackets[q], per_queue[q]);
		CHECK_EQ(rx.q_ibytes[q], per_queue[q] * 100);
	}
	CHECK_EQ(xstat(&b, "rx_q2_packets"), per_queue[2]); /* ethdev's own names, too */
	pair_close(&a, &b);
}

static void
reset(void)
{
	struct setup s = {0};
	struct rte_eth_stats st;
	struct port a, b;

	pair_open(&a, &b, &s);
	CHECK(send_one(&a, 0, plain_frame(&a, &b.mac, 100)));
	CHECK_EQ(receive_all(&b), 1);
	CHECK_EQ(basic(&b).ipackets, 1);
	CHECK_EQ(rte_eth_stats_reset(b.id), 0);
	st = basic(&b);
	CHECK_EQ(st.ipackets + st.ibytes + st.q_ipackets[0] + st.q_ibytes[0], 0);
	CHECK_EQ(basic(&a).opackets, 1);
	CHECK_EQ(rte_eth_xstats_reset(a.id), 0);
	CHECK_EQ(basic(&a).opackets, 0);
	CHECK(send_one(&a, 0, plain_frame(&a, &b.mac, 100)));
	CHECK_EQ(receive_all(&b), 1);
	CHECK_EQ(basic(&a).opackets, 1);
	CHECK_EQ(basic(&b).ibytes, 100);
	/* Neither does a port begin with what the one before it in the fabric has counted. */
	pair_close(&a, &b);
	port_open(&a, &s);
	st = basic(&a);
	CHECK_EQ(st.ipackets + st.opackets + st.imissed + st.ierrors + st.oerrors, 0);
	port_close(&a);
}

static void
names(void)
{
	struct setup s = {.queues = 2};
	struct rte_eth_xstat_name *n;
	struct rte_eth_xstat *v;
	struct port a, b;
	int count;

	pair_open(&a, &b, &s);
	count = rte_eth_xstats_get_names(a.id, NULL, 0);
	CHECK(count > 0);
	n = calloc(count, sizeof(*n));
	v = calloc(count, sizeof(*v));
	CHECK_EQ(rte_eth_xstats_get_names(a.id, n, count), count);
	CHECK_EQ(rte_eth_xstats_get(a.id, v, count), count);
	for (int i = 0; i < count; i++) {
		CHECK(n[i].name[0] != '\0');
		CHECK_EQ(v[i].id, i);
		for (int k = 0; k < i; k++)
			CHECK(strcmp(n[i].name, n[k].name) != 0);
	}
	CHECK_EQ(rte_eth_xstats_get(a.id, v, 3), count); /* too small: how many there are */
	free(n);
	free(v);
	pair_close(&a, &b);
}

static void
switch_drops(void)
{
	struct rte_ether_addr group = {{0x01, 0, 0x5e, 0, 0, 1}}, zero = {{0}};
	struct rte_ether_addr nobody = {{0x02, 0xee, 0, 0, 0, 9}};
	struct rte_ether_hdr *eth;
	struct setup s = {0};
	struct port a, b;
	struct rte_mbuf *m;

	pair_open(&a, &b, &s);
	CHECK(send_one(&a, 0, plain_frame(&a, &a.mac, 60)));
	CHECK_EQ(xstat(&a, "tx_drop_hairpin"), 1);
	for (int i = 0; i < 2; i++) {
		m = plain_frame(&a, &b.mac, 60);
		eth = rte_pktmbuf_mtod(m, struct rte_ether_hdr *);
		eth->src_addr = i == 0 ? group : zero;
		CHECK(send_one(&a, 0, m));
	}
	CHECK_EQ(xstat(&a, "tx_drop_bad_source"), 2);
	CHECK(send_one(&a, 0, plain_frame(&a, &nobody, 60))); /* flooded to b, which filters it */
	CHECK_EQ(xstat(&a, "tx_far_mac_filter"), 1);
	CHECK_EQ(receive_all(&b), 0);
	port_close(&b);
	CHECK(send_one(&a, 0, plain_frame(&a, &nobody, 60)));
	CHECK_EQ(xstat(&a, "tx_drop_no_port"), 1);
	port_close(&a);
}

/* Everything at once, at random: what was sent is what was received and what was dropped by name.
 */
static void
conservation(void)
{
	static const char *const tx_drops[] = {
		"tx_drop_runt",       "tx_drop_hairpin",   "tx_drop_no_port",
		"tx_drop_bad_source", "tx_far_mac_filter", "tx_far_stopped",
		"tx_far_oversize",    "tx_far_down",       "tx_far_ring_full"};
	static const char *const rx_drops[] = {"rx_drop_no_mbuf",       "rx_drop_no_mbuf_chain",
					       "rx_drop_too_long",      "rx_drop_stale",
					       "rx_drop_bad_reference", "rx_drop_flushed"};
	struct setup s = {.queues = 4, .rss_hf = RTE_ETH_RSS_IPV4, .mtu = 4000, .mbufs = 600};
	struct rte_ether_addr nobody = {{0x02, 0xee, 0, 0, 0, 9}};
	uint64_t sent = 0, received = 0, dropped = 0;
	struct port a, b;

	pair_open(&a, &b, &s);
	srand(1);
	for (int i = 0; i < 20000; i++) {
		const struct rte_ether_addr *to = rand() % 8 == 0    ? &nobody
						  : rand() % 16 == 0 ? &a.mac
								     : &b.mac;
		struct flow f = flow_number(rand(), V4, IPPROTO_UDP);
		struct rte_mbuf *m = rand() % 2 ? plain_frame(&a, to, 14 + rand() % 4200)
						: flow_frame(&a, &b, &f, rand() % 1000);

		sent += send_one(&a, rand() % 4, m);
		if (rand() % 3000 == 0)
			received += receive_all(&b);
		if (rand() % 2000 == 0)
			CHECK_EQ(rte_eth_dev_set_mtu(b.id, 1000 + rand() % 3000), 0);
	}
	received += receive_all(&b);
	for (size_t i = 0; i < RTE_DIM(tx_drops); i++)
		dropped += xstat(&a, tx_drops[i]);
	for (size_t i = 0; i < RTE_DIM(rx_drops); i++)
		dropped += xstat(&b, rx_drops[i]);
	CHECK_EQ(basic(&a).opackets + basic(&a).oerrors, sent);
	CHECK_EQ(basic(&b).ipackets, received);
	CHECK_EQ(received + dropped, sent);
	CHECK(received > 0 && xstat(&a, "tx_far_ring_full") > 0 &&
	      xstat(&b, "rx_drop_too_long") > 0);
	pair_close(&a, &b);
}

const struct test stats_tests[] = {
	{"stats: basic and per queue", basic_and_per_queue},
	{"stats: reset", reset},
	{"stats: names", names},
	{"stats: drops by the switch", switch_drops},
	{"stats: conservation", conservation},
	{NULL, NULL},
};
