/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the driver says of a port, and what the stack makes of it: opened as the stack does. */
#include "stack/core/eal.h"
#include "stack/core/port.h"
#include "stack/nic/nic.h"

#include <errno.h>
#include <rte_flow.h>
#include <string.h>

#define SPARE_MBUFS 256
#define CACHE       0
#define KEY_MAX     64

/* ---------------------------------------------------------------------------------- capabilities
 */

static const struct {
	uint64_t bits;
	const char *name;
} rss_types[] = {
	{RTE_ETH_RSS_IPV4, "ipv4"},
	{RTE_ETH_RSS_NONFRAG_IPV4_TCP, "ipv4-tcp"},
	{RTE_ETH_RSS_NONFRAG_IPV4_UDP, "ipv4-udp"},
	{RTE_ETH_RSS_NONFRAG_IPV4_SCTP, "ipv4-sctp"},
	{RTE_ETH_RSS_IPV6, "ipv6"},
	{RTE_ETH_RSS_NONFRAG_IPV6_TCP, "ipv6-tcp"},
	{RTE_ETH_RSS_NONFRAG_IPV6_UDP, "ipv6-udp"},
	{RTE_ETH_RSS_NONFRAG_IPV6_SCTP, "ipv6-sctp"},
};

static void
describe_queues(struct facts *f, const struct uvs_conf *c, const struct rte_eth_dev_info *info)
{
	uint32_t most = RTE_MIN(info->max_rx_queues, info->max_tx_queues);

	fact_number(f, "rx_queues", info->max_rx_queues);
	if (c->queues > most)
		fact_note(f, "uses %u: queues = %u is more than there are", most, c->queues);
	else
		fact_note(f, "uses %u (queues = %u)", c->queues, c->queues);
	fact_number(f, "tx_queues", info->max_tx_queues);
}

static void
describe_rss(struct facts *f, const struct rte_eth_dev_info *info)
{
	fact_list(f, "rss_types");
	for (size_t i = 0; i < RTE_DIM(rss_types); i++)
		if (info->flow_type_rss_offloads & rss_types[i].bits)
			fact_word(f, rss_types[i].name);
	if (info->flow_type_rss_offloads == 0) {
		fact_note(f, "everything arrives on queue 0: queues = 1, and with mode = shared "
			     "the processes forward to each other");
		return;
	}
	fact_note(f, "with several queues: addresses and ports of TCP and UDP choose one");
	fact_number(f, "rss_table", info->reta_size);
	fact_number(f, "rss_key_bytes", info->hash_key_size);
}

static void
list_offloads(struct facts *f, const char *key, uint64_t offloads, const char *(*name)(uint64_t))
{
	fact_list(f, key);
	for (unsigned int bit = 0; bit < 64; bit++)
		if (offloads & RTE_BIT64(bit))
			fact_word(f, name(RTE_BIT64(bit)));
}

static const char *
used(uint64_t offload)
{
	return offload != 0 ? "used" : "not used";
}

static void
describe_offloads(struct facts *f, const struct uvs_port *p, const struct rte_eth_dev_info *info)
{
	list_offloads(f, "rx_offloads", info->rx_offload_capa, rte_eth_dev_rx_offload_name);
	fact_note(f, "checksums: %s; LRO: %s",
		  p->rx_offloads & RTE_ETH_RX_OFFLOAD_TCP_CKSUM ? "the device verifies them"
								: "verified in software",
		  used(p->rx_offloads & RTE_ETH_RX_OFFLOAD_TCP_LRO));
	list_offloads(f, "tx_offloads", info->tx_offload_capa, rte_eth_dev_tx_offload_name);
	fact_note(f, "checksums: %s; chains of buffers: %s; TSO: %s",
		  p->tx_offloads & RTE_ETH_TX_OFFLOAD_TCP_CKSUM ? "the device makes them"
								: "made in software",
		  p->tx_offloads & RTE_ETH_TX_OFFLOAD_MULTI_SEGS ? "sent as they are" : "copied",
		  used(p->tx_offloads & RTE_ETH_TX_OFFLOAD_TCP_TSO));
}

static void
describe_capabilities(struct facts *f, const struct uvs_conf *c, const struct uvs_port *p)
{
	struct rte_eth_dev_info info;

	if (rte_eth_dev_info_get(p->id, &info) != 0)
		return;
	fact_text(f, "driver", p->driver);
	describe_queues(f, c, &info);
	describe_rss(f, &info);
	describe_offloads(f, p, &info);
	fact_number(f, "mtu_max", info.max_mtu);
	fact_note(f, "mtu = %u", c->mtu);
	if (p->copy_tx)
		fact_note(f, "frames are copied before they are sent: the receiver gets our "
			     "very buffers");
}

/* ------------------------------------------------------------------------------ a port that runs
 */

static void
describe_address(struct facts *f, const struct uvs_port *p)
{
	struct rte_eth_link link = {.link_status = RTE_ETH_LINK_DOWN};
	const uint8_t *b = p->mac.addr_bytes;
	char mac[24];

	snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3], b[4],
		 b[5]);
	fact_text(f, "mac", mac);
	rte_eth_link_get_nowait(p->id, &link);
	fact_text(f, "link", link.link_status == RTE_ETH_LINK_UP ? "up" : "down");
	if (link.link_status != RTE_ETH_LINK_UP)
		fact_note(f, "right after the start: it may take seconds to come up");
}

static void
describe_key(struct facts *f, const struct uvs_port *p)
{
	uint8_t key[KEY_MAX];
	struct rte_eth_rss_conf conf = {.rss_key = key, .rss_key_len = sizeof(key)};
	struct rte_eth_dev_info info;
	char text[2 * KEY_MAX + 1] = "";

	if (p->rss_hf == 0 || rte_eth_dev_info_get(p->id, &info) != 0 ||
	    info.hash_key_size > sizeof(key) || rte_eth_dev_rss_hash_conf_get(p->id, &conf) != 0)
		return;
	for (uint8_t i = 0; i < info.hash_key_size; i++)
		snprintf(text + (size_t)2 * i, 3, "%02x", key[i]);
	fact_text(f, "rss_key", text);
	fact_note(f, "chooses source ports by it");
}

/* One rule of the kind that mode = shared wants: ARP to a queue. */
static bool
takes_rules(uint16_t port)
{
	struct rte_flow_attr attr = {.ingress = 1};
	struct rte_flow_item_eth spec = {.type = rte_cpu_to_be_16(RTE_ETHER_TYPE_ARP)};
	struct rte_flow_item_eth mask = {.type = 0xffff};
	struct rte_flow_item pattern[] = {
		{.type = RTE_FLOW_ITEM_TYPE_ETH, .spec = &spec, .mask = &mask},
		{.type = RTE_FLOW_ITEM_TYPE_END},
	};
	struct rte_flow_action_queue to = {.index = 0};
	struct rte_flow_action actions[] = {
		{.type = RTE_FLOW_ACTION_TYPE_QUEUE, .conf = &to},
		{.type = RTE_FLOW_ACTION_TYPE_END},
	};
	struct rte_flow_error error;
	struct rte_flow *rule = rte_flow_create(port, &attr, pattern, actions, &error);

	return rule != NULL && rte_flow_destroy(port, rule, &error) == 0;
}

static bool
restarts_queues(uint16_t port)
{
	return rte_eth_dev_rx_queue_stop(port, 0) == 0 && rte_eth_dev_rx_queue_start(port, 0) == 0;
}

static void
describe_running(struct facts *f, struct uvs_port *p)
{
	bool intr, restarts;

	describe_address(f, p);
	describe_key(f, p);
	intr = uvs_port_arm(p);
	if (intr)
		uvs_port_disarm(p);
	fact_bool(f, "rx_interrupts", intr);
	fact_note(f, "%s",
		  intr ? "idle threads sleep until a frame comes"
		       : "idle threads sleep by a timer, 1 ms");
	fact_bool(f, "flow_rules", takes_rules(p->id));
	fact_note(f, "mode = shared directs ARP by one when queue 0 has no process");
	fact_bool(f, "multicast_filter", rte_eth_dev_set_mc_addr_list(p->id, NULL, 0) == 0);
	fact_note(f, "without: all multicast is received, if the device can");
	restarts = restarts_queues(p->id);
	fact_bool(f, "queue_restart", restarts);
	fact_note(f,
		  "mode = shared has the buffers of a process that died back when its queue stops");
	fact_bool(f, "shared", p->alone != NULL || restarts);
	if (p->alone != NULL)
		fact_note(f, "mode = shared: the manager polls it for all processes, for %s",
			  p->alone);
	else
		fact_note(f, "mode = shared: %s",
			  restarts ? "may be used" : "its queues cannot be stopped one by one");
}

/* ------------------------------------------------------------------------------------- open, close
 */

static void
run_port(struct facts *f, const struct uvs_conf *c, struct uvs_port *p)
{
	struct rte_mempool *pool[RTE_MAX_QUEUES_PER_PORT];
	struct rte_mempool *one =
		rte_pktmbuf_pool_create("uvstack_nic", uvs_port_rx_mbufs(p) + SPARE_MBUFS, CACHE, 0,
					RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	int r;

	if (one == NULL) {
		fact_problem(f, "no memory for its buffers (%s): memory_mb, or free huge pages",
			     rte_strerror(rte_errno));
		return;
	}
	for (uint16_t q = 0; q < p->queues; q++)
		pool[q] = one;
	r = uvs_port_start(p, c, pool);
	if (r < 0) {
		fact_problem(f, "it does not start: %s", strerror(-r));
		return;
	}
	describe_running(f, p);
	uvs_port_stop(p);
}

void
nic_ethdev(struct facts *f, const struct uvs_conf *c)
{
	struct uvs_port p;
	int id;

	if (uvs_eal_start(c, NULL) < 0) {
		fact_problem(f, "DPDK cannot open it: the lines above say why");
		return;
	}
	id = uvs_eal_port(c);
	if (id < 0)
		fact_problem(f, "none of DPDK's drivers is for it");
	else if (uvs_port_probe(&p, (uint16_t)id, c) < 0)
		fact_problem(f, "it has no queues");
	else {
		describe_capabilities(f, c, &p);
		run_port(f, c, &p);
	}
	rte_eal_cleanup();
}
