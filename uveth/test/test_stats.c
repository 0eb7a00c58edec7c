/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_stats.c - statistics: every frame is in one of them, and only in one.
 */
#include <rte_dev_info.h>
#include <rte_flow.h>

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

#define CSUM_RX (RTE_ETH_RX_OFFLOAD_IPV4_CKSUM | RTE_ETH_RX_OFFLOAD_TCP_CKSUM)

/* What the receiver is at the moment; queues, RSS and pool are the same always. */
static struct setup
random_receiver(void)
{
	struct setup s = {.queues = 4,
			  .rss_hf = RTE_ETH_RSS_IPV4,
			  .mtu = 1000 + rand() % 3000,
			  .mbufs = 600,
			  .lro_max = UVB_FRAME_MAX,
			  .tx_offloads = RTE_ETH_TX_OFFLOAD_MULTI_SEGS};

	if (rand() % 2)
		s.rx_offloads |= RTE_ETH_RX_OFFLOAD_TCP_LRO | CSUM_RX;
	if (rand() % 2)
		s.rx_offloads |= RTE_ETH_RX_OFFLOAD_VLAN_STRIP;
	if (rand() % 4)
		s.rx_offloads |= RTE_ETH_RX_OFFLOAD_VLAN_FILTER;
	return s;
}

static void
change_receiver(struct port *b)
{
	struct setup s = random_receiver();

	CHECK_EQ(rte_eth_dev_stop(b->id), 0);
	port_configure(b, &s);
	if (s.rx_offloads & RTE_ETH_RX_OFFLOAD_VLAN_FILTER)
		CHECK_EQ(rte_eth_dev_vlan_filter(b->id, 1 + rand() % 4, rand() % 2), 0);
}

/* A TCP super-frame of three segments' payload, more or less. */
static struct rte_mbuf *
random_super(const struct port *a, const struct port *b)
{
	struct flow f = flow_number(rand(), V4, IPPROTO_TCP);
	struct rte_mbuf *m = flow_frame(a, b, &f, 200 + rand() % 1600), *more;

	more = plain_frame(a, &b->mac, 200 + rand() % 1600);
	CHECK_EQ(rte_pktmbuf_chain(m, more), 0);
	m->ol_flags |= RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IP_CKSUM;
	m->tso_segsz = 300 + rand() % 1100;
	return m;
}

/* How many frames were sent: one, or the segments of a super-frame that was cut. */
static uint64_t
send_random(const struct port *a, const struct port *b)
{
	struct rte_ether_addr nobody = {{0x02, 0xee, 0, 0, 0, 9}};
	const struct rte_ether_addr *to = rand() % 8 == 0    ? &nobody
					  : rand() % 16 == 0 ? &a->mac
							     : &b->mac;
	struct flow f = flow_number(rand(), V4, IPPROTO_UDP);
	uint64_t segs, cut;
	struct rte_mbuf *m;

	switch (rand() % 8) {
	case 0:
		m = random_super(a, b);
		segs = (m->pkt_len - 54 + m->tso_segsz - 1) / m->tso_segsz;
		cut = xstat(a, "tx_tso_cut");
		if (!send_one(a, rand() % 4, m))
			return 0;
		return xstat(a, "tx_tso_cut") != cut ? segs : 1;
	case 1:
	case 2:
		m = flow_frame(a, b, &f, rand() % 1000);
		m->ol_flags |= RTE_MBUF_F_TX_VLAN;
		m->vlan_tci = rand() % 6;
		break;
	case 3:
	case 4:
		m = flow_frame(a, b, &f, rand() % 1000);
		break;
	default:
		m = plain_frame(a, to, 14 + rand() % 4200);
	}
	return send_one(a, rand() % 4, m);
}

/* Over all queues: the names that begin so, one by one. */
static uint64_t
sum_xstats(const struct port *p, const char *prefix)
{
	struct rte_eth_xstat_name names[1500];
	struct rte_eth_xstat values[1500];
	int n = rte_eth_xstats_get_names(p->id, names, RTE_DIM(names));
	uint64_t sum = 0;

	CHECK(n > 0 && n <= (int)RTE_DIM(names));
	CHECK_EQ(rte_eth_xstats_get(p->id, values, n), n);
	for (int i = 0; i < n; i++)
		if (strncmp(names[i].name, prefix, strlen(prefix)) == 0)
			sum += values[i].value;
	return sum;
}

/* Of what a sender had, what it or somebody's NIC dropped; and of what a receiver had. */
static uint64_t
dropped_between(const struct port *a, const struct port *b)
{
	static const char *const rx_drops[] = {"rx_drop_no_mbuf",       "rx_drop_no_mbuf_chain",
					       "rx_drop_too_long",      "rx_drop_stale",
					       "rx_drop_bad_reference", "rx_drop_flushed"};
	uint64_t sum = sum_xstats(a, "tx_drop_") + sum_xstats(a, "tx_far_");

	/* These never were the fabric's. */
	sum -= xstat(a, "tx_drop_too_many_segs") + xstat(a, "tx_drop_bad_offload");
	for (size_t i = 0; i < RTE_DIM(rx_drops); i++)
		sum += xstat(b, rx_drops[i]);
	return sum;
}

/* A rule that drops datagrams to odd ports, made or destroyed. */
static struct rte_flow *
toggle_odd_ports(const struct port *p, struct rte_flow *flow)
{
	static const struct rte_flow_item_udp bit = {.hdr.dst_port = RTE_BE16(1)};
	const struct rte_flow_attr attr = {.ingress = 1};
	const struct rte_flow_item items[] = {
		{.type = RTE_FLOW_ITEM_TYPE_UDP, .spec = &bit, .mask = &bit},
		{.type = RTE_FLOW_ITEM_TYPE_END}};
	const struct rte_flow_action actions[] = {{.type = RTE_FLOW_ACTION_TYPE_DROP},
						  {.type = RTE_FLOW_ACTION_TYPE_END}};

	if (flow != NULL) {
		CHECK_EQ(rte_flow_destroy(p->id, flow, NULL), 0);
		return NULL;
	}
	flow = rte_flow_create(p->id, &attr, items, actions, NULL);
	CHECK(flow != NULL);
	return flow;
}

/* Everything at once, at random: what was sent is what was received and what was dropped by name.
 */
static void
conservation(void)
{
	struct setup sender = {.queues = 4, .tx_offloads = RTE_ETH_TX_OFFLOAD_MULTI_SEGS};
	const char *replay = getenv("UVETH_TEST_SEED");
	unsigned int seed = replay != NULL ? (unsigned int)strtoul(replay, NULL, 0) : 1;
	uint64_t sent = 0, received = 0, dropped;
	struct rte_flow *odd = NULL;
	struct setup receiver;
	struct port a, b;

	srand(seed);
	printf("replay with UVETH_TEST_SEED=%u\n", seed);
	receiver = random_receiver();
	port_open(&a, &sender);
	port_open(&b, &receiver);
	sent += send_one(&b, 0, plain_frame(&b, &a.mac, 60));
	CHECK_EQ(receive_all(&a), 1);
	sent = 0;
	for (int i = 0; i < 20000; i++) {
		sent += send_random(&a, &b);
		/* First many changes, then time for rings and pools to run full. */
		if (rand() % (i < 10000 ? 300 : 3000) == 0)
			received += receive_all(&b);
		if (rand() % 2000 == 0)
			CHECK_EQ(rte_eth_dev_set_mtu(b.id, 1000 + rand() % 3000), 0);
		if (i < 10000 && rand() % 250 == 0)
			change_receiver(&b);
		if (rand() % 500 == 0)
			odd = toggle_odd_ports(&b, odd);
	}
	received += receive_all(&b);
	dropped = dropped_between(&a, &b);
	CHECK_EQ(basic(&a).opackets + basic(&a).oerrors, sent);
	CHECK_EQ(basic(&b).ipackets, received + xstat(&b, "rx_lro_joined"));
	CHECK_EQ(basic(&b).ipackets + dropped, sent);
	CHECK(received > 0 && xstat(&a, "tx_far_ring_full") > 0 && xstat(&a, "tx_tso_cut") > 0 &&
	      xstat(&a, "tx_far_flow") > 0);
	CHECK(xstat(&b, "rx_drop_too_long") > 0 && xstat(&b, "rx_drop_vlan_filter") > 0 &&
	      xstat(&a, "tx_tso_whole") > 0 && xstat(&b, "rx_drop_flushed") > 0);
	pair_close(&a, &b);
}

/* Queues counted together, as an application with few counters does. */
static void
mapping(void)
{
	struct setup s = {.queues = 4, .rss_hf = RTE_ETH_RSS_NONFRAG_IPV4_UDP};
	struct rte_eth_stats st;
	struct port a, b;

	pair_open(&a, &b, &s);
	for (uint16_t q = 0; q < 4; q++) {
		CHECK_EQ(rte_eth_dev_set_rx_queue_stats_mapping(b.id, q, 7), 0);
		CHECK_EQ(rte_eth_dev_set_tx_queue_stats_mapping(a.id, q, q / 2), 0);
	}
	for (uint32_t i = 0; i < 100; i++) {
		struct flow f = flow_number(i, V4, IPPROTO_UDP);

		CHECK(send_one(&a, i % 4, flow_frame(&a, &b, &f, 58)));
	}
	CHECK_EQ(receive_all(&b), 100);
	st = basic(&a);
	CHECK(st.q_opackets[0] == 50 && st.q_opackets[1] == 50 && st.q_opackets[2] == 0);
	CHECK_EQ(st.q_obytes[1], 5000);
	CHECK_EQ(st.opackets, 100);
	st = basic(&b);
	CHECK(st.q_ipackets[7] == 100 && st.q_ipackets[0] == 0 && st.q_ibytes[7] == 10000);
	CHECK_EQ(st.ipackets, 100);
	CHECK(rte_eth_dev_set_rx_queue_stats_mapping(b.id, 4, 0) != 0); /* there is none */
	CHECK(rte_eth_dev_set_rx_queue_stats_mapping(b.id, 0, 16) != 0);
	pair_close(&a, &b);
}

/* The dump has every extended statistic, and is not reset with them. */
static void
registers(void)
{
	enum { LINK = 2, NB_RXQ = 5, MTU = 6, COUNTERS = 16 }; /* docs/uveth.md */
	struct setup s = {.queues = 2, .mtu = 1400};
	struct rte_dev_reg_info info = {.data = NULL};
	struct rte_eth_xstat_name names[1500];
	uint64_t reg[1600];
	struct port a, b;
	int n, seen = 0;

	pair_open(&a, &b, &s);
	CHECK_EQ(rte_eth_dev_get_reg_info(b.id, &info), 0);
	CHECK(info.width == 8 && info.version == 1 && info.length <= RTE_DIM(reg));
	n = rte_eth_xstats_get_names(b.id, NULL, 0);
	for (int i = 0; i < 3; i++)
		CHECK(send_one(&a, 0, plain_frame(&a, &b.mac, i == 0 ? 1500 : 60)));
	rte_eth_xstats_reset(b.id);
	info.data = reg;
	CHECK_EQ(rte_eth_dev_get_reg_info(b.id, &info), 0);
	CHECK(reg[LINK] == 1 && reg[NB_RXQ] == 2 && reg[MTU] == 1400);
	/* Frames waiting on the two queues in use of the eight there are. */
	CHECK_EQ(reg[info.length - 16] + reg[info.length - 15], 2);
	/* ethdev has basic statistics of its own in front of the driver's names. */
	CHECK_EQ(rte_eth_xstats_get_names(b.id, names, RTE_DIM(names)), n);
	for (int i = 0; i < n; i++)
		if (strcmp(names[i].name, "rx_drop_mac_filter") == 0)
			seen = i;
	CHECK(strcmp(names[seen + 2].name, "rx_drop_oversize") == 0);
	CHECK(reg[COUNTERS + 2] >= 1); /* too long for b */
	CHECK_EQ(xstat(&b, "rx_drop_oversize"), 0);
	info.offset = 1;
	CHECK(rte_eth_dev_get_reg_info(b.id, &info) != 0);
	CHECK_EQ(receive_all(&b), 2);
	pair_close(&a, &b);
}

const struct test stats_tests[] = {
	{"stats: mapping", mapping},
	{"stats: registers", registers},
	{"stats: basic and per queue", basic_and_per_queue},
	{"stats: reset", reset},
	{"stats: names", names},
	{"stats: drops by the switch", switch_drops},
	{"stats: conservation", conservation},
	{NULL, NULL},
};
