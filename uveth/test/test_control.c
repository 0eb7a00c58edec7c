/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_control.c - the control operations: addresses, modes, MTU, link, queues, life.
 */
#include <rte_dev.h>

#include "uveth/test/test.h"

static struct rte_ether_addr other = {{0x02, 0xaa, 0, 0, 0, 0x01}};
static const struct rte_ether_addr group = {{0x01, 0x00, 0x5e, 0, 0, 0x01}};
static const struct rte_ether_addr group2 = {{0x33, 0x33, 0, 0, 0, 0x01}};
static const struct rte_ether_addr all = {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};

/* Does a frame to this address get through? What does not is counted as filtered. */
static bool
gets(const struct port *a, const struct port *b, const struct rte_ether_addr *to)
{
	uint64_t filtered = xstat(b, "rx_drop_mac_filter");
	bool got;

	CHECK(send_one(a, 0, plain_frame(a, to, 60)));
	got = receive_all(b) == 1;
	CHECK_EQ(xstat(b, "rx_drop_mac_filter") - filtered, got ? 0 : 1);
	return got;
}

static void
promiscuous(void)
{
	struct setup s = {0};
	struct port a, b;

	pair_open(&a, &b, &s);
	CHECK_EQ(rte_eth_promiscuous_get(b.id), 0);
	CHECK(gets(&a, &b, &b.mac));
	CHECK(gets(&a, &b, &all));
	CHECK(!gets(&a, &b, &other));
	CHECK_EQ(rte_eth_promiscuous_enable(b.id), 0);
	CHECK(gets(&a, &b, &other) && gets(&a, &b, &group));
	CHECK_EQ(rte_eth_promiscuous_disable(b.id), 0);
	CHECK(!gets(&a, &b, &other));
	CHECK_EQ(xstat(&a, "tx_far_mac_filter"), xstat(&b, "rx_drop_mac_filter"));
	pair_close(&a, &b);
}

static void
multicast(void)
{
	struct rte_ether_addr list[UVB_MC_MAX + 1];
	struct setup s = {0};
	struct port a, b;

	pair_open(&a, &b, &s);
	CHECK(!gets(&a, &b, &group));
	CHECK_EQ(rte_eth_allmulticast_enable(b.id), 0);
	CHECK(gets(&a, &b, &group) && gets(&a, &b, &group2) && !gets(&a, &b, &other));
	CHECK_EQ(rte_eth_allmulticast_disable(b.id), 0);
	CHECK(!gets(&a, &b, &group));

	list[0] = group;
	CHECK_EQ(rte_eth_dev_set_mc_addr_list(b.id, list, 1), 0);
	CHECK(gets(&a, &b, &group) && !gets(&a, &b, &group2));
	for (int i = 0; i < UVB_MC_MAX + 1; i++) {
		list[i] = group2;
		list[i].addr_bytes[5] = i;
	}
	CHECK_EQ(rte_eth_dev_set_mc_addr_list(b.id, list, UVB_MC_MAX), 0);
	CHECK(gets(&a, &b, &group2) && !gets(&a, &b, &group));
	CHECK_EQ(rte_eth_dev_set_mc_addr_list(b.id, list, UVB_MC_MAX + 1), -ENOSPC);
	CHECK(gets(&a, &b, &group2));
	CHECK_EQ(rte_eth_dev_set_mc_addr_list(b.id, NULL, 0), 0);
	CHECK(!gets(&a, &b, &group2));
	pair_close(&a, &b);
}

static void
mac_addresses(void)
{
	struct rte_ether_addr was, many = other, set = {{0x02, 0xbb, 0, 0, 0, 1}};
	struct setup s = {0};
	struct port a, b;

	pair_open(&a, &b, &s);
	was = b.mac;
	CHECK_EQ(rte_eth_dev_mac_addr_add(b.id, &other, 0), 0);
	CHECK(gets(&a, &b, &other) && gets(&a, &b, &was));
	CHECK_EQ(rte_eth_dev_default_mac_addr_set(b.id, &set), 0);
	CHECK(gets(&a, &b, &set) && gets(&a, &b, &other) && !gets(&a, &b, &was));
	CHECK_EQ(rte_eth_dev_mac_addr_remove(b.id, &other), 0);
	CHECK(gets(&a, &b, &set) && !gets(&a, &b, &other));

	for (int i = 1; i < UVB_MAC_MAX; i++) {
		many.addr_bytes[5] = i;
		CHECK_EQ(rte_eth_dev_mac_addr_add(b.id, &many, 0), 0);
	}
	CHECK(gets(&a, &b, &many) && gets(&a, &b, &set));
	many.addr_bytes[5] = UVB_MAC_MAX;
	CHECK_EQ(rte_eth_dev_mac_addr_add(b.id, &many, 0), -ENOSPC);
	/* A hole in the list hides nothing behind it. */
	many.addr_bytes[5] = 10;
	CHECK_EQ(rte_eth_dev_mac_addr_remove(b.id, &many), 0);
	CHECK(!gets(&a, &b, &many));
	many.addr_bytes[5] = UVB_MAC_MAX - 1;
	CHECK(gets(&a, &b, &many));
	pair_close(&a, &b);
}

static void
mtu(void)
{
	struct setup s = {0};
	struct rte_eth_dev_info info;
	struct port a, b;
	uint16_t now;

	pair_open(&a, &b, &s);
	CHECK_EQ(rte_eth_dev_info_get(b.id, &info), 0);
	CHECK_EQ(info.max_mtu, 9216);
	CHECK(send_one(&a, 0, plain_frame(&a, &b.mac, 1500 + 18)));
	CHECK(send_one(&a, 0, plain_frame(&a, &b.mac, 1500 + 19)));
	CHECK_EQ(receive_all(&b), 1);
	CHECK_EQ(xstat(&b, "rx_drop_oversize"), 1);
	CHECK_EQ(xstat(&a, "tx_far_oversize"), 1);
	CHECK_EQ(basic(&b).ierrors, 1);
	CHECK_EQ(rte_eth_dev_set_mtu(b.id, 1700), 0);
	CHECK(send_one(&a, 0, plain_frame(&a, &b.mac, 1700 + 18)));
	CHECK_EQ(receive_all(&b), 1);
	CHECK_EQ(rte_eth_dev_set_mtu(b.id, 600), 0);
	CHECK_EQ(rte_eth_dev_get_mtu(b.id, &now), 0);
	CHECK_EQ(now, 600);
	CHECK(send_one(&a, 0, plain_frame(&a, &b.mac, 619)));
	CHECK_EQ(receive_all(&b), 0);
	CHECK(rte_eth_dev_set_mtu(b.id, 9217) != 0);
	CHECK(rte_eth_dev_set_mtu(b.id, 67) != 0);
	pair_close(&a, &b);
}

static void
link_state(void)
{
	struct setup s = {0};
	struct rte_eth_link link;
	struct port a, b;

	pair_open(&a, &b, &s);
	CHECK_EQ(rte_eth_link_get(b.id, &link), 0);
	CHECK_EQ(link.link_status, RTE_ETH_LINK_UP);
	CHECK_EQ(link.link_speed, RTE_ETH_SPEED_NUM_100G);
	CHECK_EQ(link.link_duplex, RTE_ETH_LINK_FULL_DUPLEX);

	CHECK_EQ(rte_eth_dev_set_link_down(b.id), 0);
	CHECK_EQ(rte_eth_link_get_nowait(b.id, &link), 0);
	CHECK_EQ(link.link_status, RTE_ETH_LINK_DOWN);
	CHECK(send_one(&a, 0, plain_frame(&a, &b.mac, 60)));
	CHECK(!send_one(&b, 0, plain_frame(&b, &a.mac, 60)));
	CHECK_EQ(receive_all(&b), 0);
	CHECK_EQ(xstat(&b, "rx_drop_stopped"), 1);

	CHECK_EQ(rte_eth_dev_set_link_up(b.id), 0);
	CHECK_EQ(rte_eth_link_get_nowait(b.id, &link), 0);
	CHECK_EQ(link.link_status, RTE_ETH_LINK_UP);
	CHECK(send_one(&a, 0, plain_frame(&a, &b.mac, 60)));
	CHECK(send_one(&b, 0, plain_frame(&b, &a.mac, 60)));
	CHECK_EQ(receive_all(&b), 1);
	CHECK_EQ(receive_all(&a), 1);
	pair_close(&a, &b);
}

/* Frames for a port that is stopped are dropped by that name, and none turns up later. */
static void
stop_and_start(void)
{
	struct setup s = {0};
	struct rte_eth_link link;
	struct port a, b;

	pair_open(&a, &b, &s);
	CHECK(send_one(&a, 0, plain_frame(&a, &b.mac, 60))); /* waits in the ring */
	CHECK_EQ(rte_eth_dev_stop(b.id), 0);
	CHECK_EQ(rte_eth_link_get_nowait(b.id, &link), 0);
	CHECK_EQ(link.link_status, RTE_ETH_LINK_DOWN);
	CHECK(send_one(&a, 0, plain_frame(&a, &b.mac, 60)));
	CHECK_EQ(xstat(&b, "rx_drop_stopped"), 1);
	CHECK_EQ(rte_eth_dev_start(b.id), 0);
	CHECK_EQ(receive_all(&b), 0);
	CHECK_EQ(xstat(&b, "rx_drop_flushed"), 1);
	CHECK_EQ(basic(&b).rx_nombuf, 0);
	CHECK(send_one(&a, 0, plain_frame(&a, &b.mac, 60)));
	CHECK_EQ(receive_all(&b), 1);
	pair_close(&a, &b);
}

static void
queue_start_stop(void)
{
	struct setup s = {.queues = 2};
	struct rte_eth_rxq_info rx;
	struct port a, b;

	pair_open(&a, &b, &s);
	CHECK_EQ(rte_eth_dev_rx_queue_stop(b.id, 0), 0);
	CHECK_EQ(rte_eth_rx_queue_info_get(b.id, 0, &rx), 0);
	CHECK_EQ(rx.queue_state, RTE_ETH_QUEUE_STATE_STOPPED);
	CHECK(send_one(&a, 0, plain_frame(&a, &b.mac, 60)));
	CHECK_EQ(receive_all(&b), 0);
	CHECK_EQ(rte_eth_dev_rx_queue_start(b.id, 0), 0);
	CHECK_EQ(receive_all(&b), 0); /* a ring starts empty */
	CHECK_EQ(xstat(&b, "rx_q0_drop_flushed"), 1);
	CHECK(send_one(&a, 0, plain_frame(&a, &b.mac, 60)));
	CHECK_EQ(receive_all(&b), 1);

	CHECK_EQ(rte_eth_dev_tx_queue_stop(a.id, 1), 0);
	CHECK(!send_one(&a, 1, plain_frame(&a, &b.mac, 60)));
	CHECK(send_one(&a, 0, plain_frame(&a, &b.mac, 60)));
	CHECK_EQ(rte_eth_dev_tx_queue_start(a.id, 1), 0);
	CHECK(send_one(&a, 1, plain_frame(&a, &b.mac, 60)));
	CHECK_EQ(receive_all(&b), 2);
	pair_close(&a, &b);
}

static void
deferred_start(void)
{
	struct setup s = {.deferred = true}, now = {0};
	struct rte_eth_txq_info tx;
	struct rte_eth_rxq_info rx;
	struct port a, b;

	port_open(&a, &s);
	port_open(&b, &now);
	CHECK_EQ(rte_eth_rx_queue_info_get(a.id, 0, &rx), 0);
	CHECK_EQ(rte_eth_tx_queue_info_get(a.id, 0, &tx), 0);
	CHECK(rx.conf.rx_deferred_start && rx.queue_state == RTE_ETH_QUEUE_STATE_STOPPED);
	CHECK(tx.conf.tx_deferred_start && tx.queue_state == RTE_ETH_QUEUE_STATE_STOPPED);
	CHECK(!send_one(&a, 0, plain_frame(&a, &b.mac, 60)));
	CHECK_EQ(rte_eth_dev_tx_queue_start(a.id, 0), 0);
	CHECK(send_one(&a, 0, plain_frame(&a, &b.mac, 60)));
	CHECK_EQ(receive_all(&b), 1);
	CHECK(send_one(&b, 0, plain_frame(&b, &a.mac, 60)));
	CHECK_EQ(receive_all(&a), 0);
	CHECK_EQ(rte_eth_dev_rx_queue_start(a.id, 0), 0);
	CHECK(send_one(&b, 0, plain_frame(&b, &a.mac, 60)));
	CHECK_EQ(receive_all(&a), 1);
	pair_close(&a, &b);
}

/* A queue is set up again, with another pool, while the port runs. */
static void
queue_setup_at_run_time(void)
{
	struct setup s = {.queues = 2};
	struct rte_mempool *pool = rte_pktmbuf_pool_create("rt", 63, 0, 0, 512, SOCKET_ID_ANY);
	struct rte_eth_rxq_info rx;
	struct port a, b;
	struct rte_mbuf *m;

	pair_open(&a, &b, &s);
	CHECK(send_one(&a, 0, plain_frame(&a, &b.mac, 60)));
	CHECK_EQ(receive_all(&b), 1);
	CHECK_EQ(rte_eth_dev_rx_queue_stop(b.id, 0), 0);
	CHECK_EQ(rte_eth_rx_queue_setup(b.id, 0, 128, SOCKET_ID_ANY, NULL, pool), 0);
	CHECK_EQ(rte_eth_dev_rx_queue_start(b.id, 0), 0);
	CHECK_EQ(rte_eth_rx_queue_info_get(b.id, 0, &rx), 0);
	CHECK(rx.mp == pool && rx.nb_desc == 128 && rx.rx_buf_size == 512 - RTE_PKTMBUF_HEADROOM);
	CHECK(send_one(&a, 0, plain_frame(&a, &b.mac, 60)));
	m = receive_one(&b);
	CHECK(m->pool == pool);
	rte_pktmbuf_free(m);
	CHECK_EQ(basic(&b).ipackets, 2); /* the counters go on */
	pair_close(&a, &b);
	rte_mempool_free(pool);
}

/* A queue that is set up for the first time when the port runs already. */
static void
late_queue(void)
{
	struct rte_eth_conf conf = {0};
	struct setup s = {0};
	struct port a, b;

	pair_open(&a, &b, &s);
	CHECK_EQ(rte_eth_dev_stop(b.id), 0);
	CHECK_EQ(rte_eth_dev_configure(b.id, 2, 2, &conf), 0);
	CHECK_EQ(rte_eth_dev_start(b.id), 0); /* with queue 0 from before */
	CHECK(send_one(&a, 0, plain_frame(&a, &b.mac, 60)));
	CHECK_EQ(receive_all(&b), 1);
	CHECK_EQ(rte_eth_dev_set_link_down(b.id), 0);
	CHECK_EQ(rte_eth_dev_set_link_up(b.id), 0);
	CHECK_EQ(rte_eth_tx_queue_setup(b.id, 1, 256, SOCKET_ID_ANY, NULL), 0);
	CHECK_EQ(rte_eth_dev_tx_queue_start(b.id, 1), 0);
	CHECK(send_one(&b, 0, plain_frame(&b, &a.mac, 60)));
	CHECK(send_one(&b, 1, plain_frame(&b, &a.mac, 60)));
	CHECK_EQ(receive_all(&a), 2);
	pair_close(&a, &b);
}

static void
descriptors(void)
{
	struct setup s = {0};
	struct rte_eth_dev_info info;
	struct port a, b;

	pair_open(&a, &b, &s);
	CHECK_EQ(rte_eth_dev_info_get(a.id, &info), 0);
	CHECK_EQ(info.tx_desc_lim.nb_max, 1024);
	CHECK_EQ(info.rx_desc_lim.nb_max, 256 * 8 * 8);
	CHECK_EQ(info.default_rxportconf.burst_size, 32);
	CHECK_EQ(rte_eth_rx_queue_count(b.id, 0), 0);
	CHECK_EQ(rte_eth_rx_descriptor_status(b.id, 0, 0), RTE_ETH_RX_DESC_AVAIL);
	CHECK_EQ(rte_eth_tx_descriptor_status(a.id, 0, 1023), RTE_ETH_TX_DESC_DONE);
	for (int i = 0; i < 5; i++)
		CHECK(send_one(&a, 0, plain_frame(&a, &b.mac, 60)));
	CHECK_EQ(rte_eth_rx_queue_count(b.id, 0), 5);
	CHECK_EQ(rte_eth_rx_descriptor_status(b.id, 0, 4), RTE_ETH_RX_DESC_DONE);
	CHECK_EQ(rte_eth_rx_descriptor_status(b.id, 0, 5), RTE_ETH_RX_DESC_AVAIL);
	CHECK_EQ(rte_eth_rx_descriptor_status(b.id, 0, 256), -EINVAL);
	CHECK_EQ(rte_eth_tx_descriptor_status(a.id, 0, 1023 - 5), RTE_ETH_TX_DESC_DONE);
	CHECK_EQ(rte_eth_tx_descriptor_status(a.id, 0, 1024 - 5), RTE_ETH_TX_DESC_FULL);
	CHECK_EQ(rte_eth_tx_descriptor_status(a.id, 0, 1024), -EINVAL);
	CHECK_EQ(receive_all(&b), 5);
	CHECK_EQ(rte_eth_tx_descriptor_status(a.id, 0, 1023), RTE_ETH_TX_DESC_DONE);
	pair_close(&a, &b);
}

static void
information(void)
{
	struct setup s = {.rx_offloads = RTE_ETH_RX_OFFLOAD_SCATTER,
			  .tx_offloads = RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE};
	struct rte_eth_burst_mode mode;
	struct rte_eth_txq_info tx;
	struct rte_eth_rxq_info rx;
	uint32_t ptypes[32];
	char fw[32], want[32];
	struct port a, b;

	pair_open(&a, &b, &s);
	CHECK_EQ(rte_eth_rx_burst_mode_get(a.id, 0, &mode), 0);
	CHECK(strstr(mode.info, "scattered") != NULL);
	CHECK_EQ(rte_eth_tx_burst_mode_get(a.id, 0, &mode), 0);
	CHECK(strstr(mode.info, "fast free") != NULL);
	CHECK_EQ(rte_eth_rx_queue_info_get(a.id, 0, &rx), 0);
	CHECK(rx.mp == a.pool && rx.scattered_rx == 1 && rx.nb_desc == 256);
	CHECK_EQ(rte_eth_tx_queue_info_get(a.id, 0, &tx), 0);
	CHECK_EQ(tx.nb_desc, 256);
	CHECK_EQ(tx.conf.offloads, RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE);
	CHECK_EQ(rte_eth_dev_fw_version_get(a.id, fw, sizeof(fw)), 0);
	snprintf(want, sizeof(want), "uvbridge ABI %u", UVB_ABI_VERSION);
	CHECK(strcmp(fw, want) == 0);
	CHECK_EQ(rte_eth_dev_fw_version_get(a.id, fw, 4), (int)strlen(want) + 1);
	CHECK(rte_eth_dev_get_supported_ptypes(a.id, RTE_PTYPE_L4_MASK, ptypes, 32) == 4);
	CHECK_EQ(rte_eth_dev_is_removed(a.id), 0);
	CHECK_EQ(rte_eth_tx_done_cleanup(a.id, 0, 0), 0);
	pair_close(&a, &b);
}

static void
packet_types(void)
{
	static const struct {
		int version;
		uint8_t proto;
		uint32_t ptype;
	} c[] = {
		{V4, IPPROTO_TCP, RTE_PTYPE_L2_ETHER | RTE_PTYPE_L3_IPV4 | RTE_PTYPE_L4_TCP},
		{V4, IPPROTO_UDP, RTE_PTYPE_L2_ETHER | RTE_PTYPE_L3_IPV4 | RTE_PTYPE_L4_UDP},
		{V6, IPPROTO_TCP, RTE_PTYPE_L2_ETHER | RTE_PTYPE_L3_IPV6 | RTE_PTYPE_L4_TCP},
		{V6, IPPROTO_UDP, RTE_PTYPE_L2_ETHER | RTE_PTYPE_L3_IPV6 | RTE_PTYPE_L4_UDP},
	};
	struct setup s = {0};
	struct port a, b;
	struct rte_mbuf *m;

	pair_open(&a, &b, &s);
	for (int wanted = 1; wanted >= 0; wanted--) {
		uint32_t mask = wanted ? RTE_PTYPE_ALL_MASK : 0;

		CHECK(rte_eth_dev_set_ptypes(b.id, mask, NULL, 0) == 0);
		for (size_t i = 0; i < RTE_DIM(c); i++) {
			struct flow f = flow_number(i, c[i].version, c[i].proto);

			CHECK(send_one(&a, 0, flow_frame(&a, &b, &f, 10)));
			m = receive_one(&b);
			CHECK_EQ(m->packet_type, wanted ? c[i].ptype : 0);
			rte_pktmbuf_free(m);
		}
	}
	pair_close(&a, &b);
}

/* There is no flow control, and whoever asks for it is told. */
static void
flow_control(void)
{
	struct rte_eth_fc_conf fc = {.mode = RTE_ETH_FC_FULL};
	struct setup s = {0};
	struct port a, b;

	pair_open(&a, &b, &s);
	CHECK_EQ(rte_eth_dev_flow_ctrl_get(a.id, &fc), 0);
	CHECK_EQ(fc.mode, RTE_ETH_FC_NONE);
	CHECK_EQ(rte_eth_dev_flow_ctrl_set(a.id, &fc), 0);
	fc.mode = RTE_ETH_FC_FULL;
	rte_log_set_level_pattern("pmd.net.uveth", RTE_LOG_CRIT);
	CHECK_EQ(rte_eth_dev_flow_ctrl_set(a.id, &fc), -ENOTSUP);
	rte_log_set_level_pattern("pmd.net.uveth", RTE_LOG_NOTICE);
	pair_close(&a, &b);
}

/* Configured again with more queues, and fewer. */
static void
reconfigure(void)
{
	struct setup s = {0};
	struct port a, b;

	pair_open(&a, &b, &s);
	for (uint16_t n = 8; n > 2; n -= 3) {
		s.queues = n;
		CHECK_EQ(rte_eth_dev_stop(b.id), 0);
		port_configure(&b, &s);
		CHECK(send_one(&b, n - 1, plain_frame(&b, &a.mac, 60)));
		CHECK_EQ(receive_all(&a), 1);
		CHECK(send_one(&a, 0, plain_frame(&a, &b.mac, 60)));
		CHECK_EQ(receive_all(&b), 1);
	}
	pair_close(&a, &b);
}

/* Addresses and modes are as before, counters and table as new. */
static void
reset(void)
{
	struct rte_ether_addr list = group, mac;
	struct setup s = {0};
	struct port a, b;

	pair_open(&a, &b, &s);
	CHECK_EQ(rte_eth_dev_mac_addr_add(b.id, &other, 0), 0);
	CHECK_EQ(rte_eth_dev_set_mc_addr_list(b.id, &list, 1), 0);
	CHECK_EQ(rte_eth_dev_reset(b.id), 0);
	port_configure(&b, &s);
	CHECK_EQ(rte_eth_macaddr_get(b.id, &mac), 0);
	CHECK(rte_is_same_ether_addr(&mac, &b.mac));
	CHECK_EQ(basic(&b).ipackets, 0);
	CHECK(gets(&a, &b, &b.mac) && gets(&a, &b, &other) && gets(&a, &b, &group));
	CHECK(!gets(&a, &b, &group2));
	CHECK_EQ(basic(&b).ipackets, 3);
	pair_close(&a, &b);
}

/* Closed by the application first, removed afterwards: the order of most programs. */
static void
close_then_remove(void)
{
	struct setup s = {0};
	struct rte_eth_dev_info info;
	struct port a;

	port_open(&a, &s);
	CHECK_EQ(rte_eth_dev_info_get(a.id, &info), 0);
	CHECK_EQ(rte_eth_dev_stop(a.id), 0);
	CHECK_EQ(rte_eth_dev_close(a.id), 0);
	CHECK_EQ(rte_eth_dev_count_avail(), 0);
	CHECK_EQ(rte_dev_remove(info.device), 0);
	rte_mempool_free(a.pool);
}

const struct test control_tests[] = {
	{"control: promiscuous", promiscuous},
	{"control: multicast", multicast},
	{"control: MAC addresses", mac_addresses},
	{"control: MTU", mtu},
	{"control: link", link_state},
	{"control: stop and start", stop_and_start},
	{"control: queue start and stop", queue_start_stop},
	{"control: deferred start", deferred_start},
	{"control: queue set-up at run time", queue_setup_at_run_time},
	{"control: late queue", late_queue},
	{"control: descriptors", descriptors},
	{"control: information", information},
	{"control: packet types", packet_types},
	{"control: flow control", flow_control},
	{"control: reconfigure", reconfigure},
	{"control: reset", reset},
	{"control: close, then remove", close_then_remove},
	{NULL, NULL},
};
