/* SPDX-License-Identifier: BSD-3-Clause
 *
 * uveth_ops.c - the port's life (configure, start, stop, close, reset), its addresses and modes.
 *
 * Everything the fabric must know of this NIC is in one struct uvb_conf. An operation changes a
 * copy of it and publishes the copy: senders see the old configuration or the new, never a mixture,
 * and if the fabric refuses it nothing has changed.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_malloc.h>

#include "uveth/uveth.h"

int
uveth_publish(struct rte_eth_dev *eth, const struct uvb_conf *next)
{
	struct uveth_port *port = uveth_port(eth);
	char err[UVB_ERR_LEN] = "";
	struct uvb_dev *dev;
	int rc = uveth_control(eth, &dev, err);

	if (rc == 0)
		rc = uvb_conf_set(dev, next, err);
	if (rc != 0) {
		UVETH_LOG(ERR, "%s: %s", eth->data->name, err);
		return rc;
	}
	if (next != &port->conf)
		port->conf = *next;
	return 0;
}

static int
publish_flag(struct rte_eth_dev *eth, uint32_t flag, bool on)
{
	struct uvb_conf next = uveth_port(eth)->conf;

	if (on)
		next.flags |= flag;
	else
		next.flags &= ~flag;
	return uveth_publish(eth, &next);
}

/* ---------------------------------------------------------------------------------------- life */

/* How long a super-frame the fabric may hand us. */
static uint32_t
gso_max(const struct rte_eth_dev *eth)
{
	const struct rte_eth_rxmode *rx = &eth->data->dev_conf.rxmode;

	return (rx->offloads & RTE_ETH_RX_OFFLOAD_TCP_LRO) != 0 ? rx->max_lro_pkt_size : 0;
}

static int
dev_configure(struct rte_eth_dev *eth)
{
	struct uvb_conf next = uveth_port(eth)->conf;
	int rc;

	next.nb_rxq = RTE_MAX(eth->data->nb_rx_queues, 1); /* transmit only: nothing is received */
	next.mtu = eth->data->mtu;
	uveth_vlan_configure(eth, &next);
	uveth_time_configure(eth, &next);
	next.gso_max = gso_max(eth);
	rc = uveth_flow_queues_ok(eth, next.nb_rxq);
	if (rc == 0)
		rc = uveth_rss_configure(eth, &next);
	return rc == 0 ? uveth_publish(eth, &next) : rc;
}

/* Receives: started, has a receive queue, and its link was not taken down. */
static int
publish_started(struct rte_eth_dev *eth)
{
	const struct uveth_port *port = uveth_port(eth);
	bool receives = port->started && !port->admin_down && eth->data->nb_rx_queues > 0;

	return publish_flag(eth, UVB_CONF_STARTED, receives);
}

static int
dev_start(struct rte_eth_dev *eth)
{
	int rc = uveth_intr_start(eth);

	if (rc != 0)
		return rc;
	uveth_port(eth)->started = true;
	uveth_port(eth)->admin_down = false;
	uveth_queues_start(eth);
	rc = publish_started(eth);
	if (rc != 0) {
		uveth_dev_stop(eth);
		return rc;
	}
	uveth_link_changed(eth);
	uveth_tell_started(eth);
	return 0;
}

int
uveth_dev_stop(struct rte_eth_dev *eth)
{
	uveth_intr_stop(eth);
	uveth_port(eth)->started = false;
	publish_started(eth);
	uveth_queues_stop(eth);
	uveth_link_update(eth, 0);
	return 0;
}

static int
dev_close(struct rte_eth_dev *eth)
{
	bool held = uveth_tell_closing(eth);

	if (uveth_port(eth)->started)
		uveth_dev_stop(eth);
	for (uint16_t q = 0; q < eth->data->nb_rx_queues && !held; q++)
		uveth_rx_queue_release(eth, q);
	for (uint16_t q = 0; q < eth->data->nb_tx_queues && !held; q++)
		uveth_tx_queue_release(eth, q);
	uveth_flow_forget(eth);
	uveth_detach(eth);
	free(eth->process_private);
	eth->process_private = NULL;
	if (held)
		uveth_bury(eth);
	return 0;
}

/* A new attachment under the old terms: how a port comes back after its fabric was restarted. The
 * application configures and starts it again, as after any device reset; what ethdev does not tell
 * us again then, is kept here. */
static int
dev_reset(struct rte_eth_dev *eth)
{
	struct uveth_port *port = uveth_port(eth);
	struct uvb_conf next, was = port->conf;
	int rc;

	uveth_flow_forget(eth);
	uveth_detach(eth);
	rc = uveth_attach(eth);
	if (rc != 0)
		return rc;
	uvb_conf_default(uveth_local(eth)->dev, &next);
	next.reta_size = was.reta_size;
	next.key_len = was.key_len;
	next.flags |= was.flags & UVB_CONF_ISOLATED;
	next.nb_mc = was.nb_mc;
	memcpy(next.mc, was.mc, sizeof(next.mc));
	memcpy(next.vlan, was.vlan, sizeof(next.vlan));
	memcpy(next.tpid, was.tpid, sizeof(next.tpid));
	memcpy(next.mac[0], eth->data->mac_addrs[0].addr_bytes, RTE_ETHER_ADDR_LEN);
	port->conf = next;
	port->rss_nb_rxq = 0;
	return uveth_stats_reset(eth);
}

static int
is_removed(struct rte_eth_dev *eth)
{
	return !uvb_link(uveth_local(eth)->dev);
}

/* ---------------------------------------------------------------------------------------- link */

static int
set_link(struct rte_eth_dev *eth, bool up)
{
	int rc;

	uveth_port(eth)->admin_down = !up;
	uveth_queues_gate(eth);
	rc = publish_started(eth);
	uveth_link_changed(eth);
	return rc;
}

static int
dev_set_link_up(struct rte_eth_dev *eth)
{
	return set_link(eth, true);
}

static int
dev_set_link_down(struct rte_eth_dev *eth)
{
	return set_link(eth, false);
}

/* --------------------------------------------------------------------------- addresses, modes */

static int
promiscuous_enable(struct rte_eth_dev *eth)
{
	return publish_flag(eth, UVB_CONF_PROMISC, true);
}

static int
promiscuous_disable(struct rte_eth_dev *eth)
{
	return publish_flag(eth, UVB_CONF_PROMISC, false);
}

static int
allmulticast_enable(struct rte_eth_dev *eth)
{
	return publish_flag(eth, UVB_CONF_ALLMULTI, true);
}

static int
allmulticast_disable(struct rte_eth_dev *eth)
{
	return publish_flag(eth, UVB_CONF_ALLMULTI, false);
}

/* The fabric's list has no holes, ethdev's has: entry `index` is `mac` now, or gone if that is
 * NULL; all the others as they are. ethdev changes its list only after we have succeeded. */
static int
publish_mac(struct rte_eth_dev *eth, uint32_t index, const struct rte_ether_addr *mac)
{
	struct uvb_conf next = uveth_port(eth)->conf;

	next.nb_mac = 0;
	for (uint32_t i = 0; i < UVB_MAC_MAX; i++) {
		const struct rte_ether_addr *a = &eth->data->mac_addrs[i];

		if (i == index)
			a = mac;
		if (a != NULL && !rte_is_zero_ether_addr(a))
			memcpy(next.mac[next.nb_mac++], a->addr_bytes, RTE_ETHER_ADDR_LEN);
	}
	return uveth_publish(eth, &next);
}

static int
mac_addr_add(struct rte_eth_dev *eth, struct rte_ether_addr *mac, uint32_t index,
	     uint32_t pool __rte_unused)
{
	return publish_mac(eth, index, mac);
}

static void
mac_addr_remove(struct rte_eth_dev *eth, uint32_t index)
{
	publish_mac(eth, index, NULL);
}

static int
mac_addr_set(struct rte_eth_dev *eth, struct rte_ether_addr *mac)
{
	return publish_mac(eth, 0, mac);
}

static int
set_mc_addr_list(struct rte_eth_dev *eth, struct rte_ether_addr *list, uint32_t n)
{
	struct uvb_conf next = uveth_port(eth)->conf;

	if (n > UVB_MC_MAX)
		return -ENOSPC;
	next.nb_mc = n;
	for (uint32_t i = 0; i < n; i++)
		memcpy(next.mc[i], list[i].addr_bytes, RTE_ETHER_ADDR_LEN);
	return uveth_publish(eth, &next);
}

static int
mtu_set(struct rte_eth_dev *eth, uint16_t mtu)
{
	struct uvb_conf next = uveth_port(eth)->conf;

	next.mtu = mtu;
	return uveth_publish(eth, &next);
}

/* A receiver that is slow loses frames of its own and holds up nobody: there is no PAUSE here. */
static int
flow_ctrl_get(struct rte_eth_dev *eth __rte_unused, struct rte_eth_fc_conf *fc)
{
	*fc = (struct rte_eth_fc_conf){.mode = RTE_ETH_FC_NONE};
	return 0;
}

static int
flow_ctrl_set(struct rte_eth_dev *eth, struct rte_eth_fc_conf *fc)
{
	if (fc->mode == RTE_ETH_FC_NONE)
		return 0;
	UVETH_LOG(ERR,
		  "%s: there is no Ethernet flow control in a fabric, a full ring drops for its "
		  "receiver alone: leave it at RTE_ETH_FC_NONE",
		  eth->data->name);
	return -ENOTSUP;
}

/* ---------------------------------------------------------------------------------- capability */

static uint16_t
mtu_max(const struct rte_eth_dev *eth)
{
	uint32_t frame = uvb_frame_max(uveth_local(eth)->dev);

	return RTE_MIN(frame - UVETH_OVERHEAD, (uint32_t)UVETH_MTU_MAX);
}

static int
dev_infos_get(struct rte_eth_dev *eth, struct rte_eth_dev_info *info)
{
	const struct uvb_hdr *hdr = uvb_hdr(uveth_local(eth)->dev);
	const struct uveth_port *port = uveth_port(eth);
	/* What can wait for one receive queue: a voq for every queue of every port. */
	uint32_t rx_room = hdr->voq_depth * hdr->nb_ports * hdr->nb_queues;

	info->min_mtu = RTE_ETHER_MIN_MTU;
	info->max_mtu = mtu_max(eth);
	info->max_rx_pktlen = info->max_mtu + UVETH_OVERHEAD;
	info->min_rx_bufsize = 64;
	info->max_lro_pkt_size = UVB_FRAME_MAX;
	info->max_rx_queues = port->max_rxq;
	info->max_tx_queues = port->max_txq;
	info->max_mac_addrs = UVB_MAC_MAX;
	info->rx_offload_capa = UVETH_RX_OFFLOADS;
	info->tx_offload_capa = UVETH_TX_OFFLOADS;
	info->rx_queue_offload_capa = UVETH_RXQ_OFFLOADS;
	info->tx_queue_offload_capa = UVETH_TX_OFFLOADS;
	info->reta_size = port->conf.reta_size;
	info->hash_key_size = port->conf.key_len;
	info->flow_type_rss_offloads = uveth_rss_types();
	info->speed_capa = RTE_ETH_LINK_SPEED_100G;
	info->rx_desc_lim = (struct rte_eth_desc_lim){
		.nb_max = RTE_MIN(rx_room, 32768u), .nb_min = 1, .nb_align = 1};
	info->tx_desc_lim = (struct rte_eth_desc_lim){.nb_max = RTE_MIN(hdr->cells_per_txq, 32768u),
						      .nb_min = 1,
						      .nb_align = 1,
						      .nb_seg_max = UVETH_TX_SEGS,
						      .nb_mtu_seg_max = UVETH_TX_SEGS};
	info->default_rxportconf =
		(struct rte_eth_dev_portconf){.burst_size = UVETH_CHUNK,
					      .ring_size = RTE_MIN(hdr->voq_depth, 32768u),
					      .nb_queues = 1};
	info->default_txportconf = (struct rte_eth_dev_portconf){
		.burst_size = UVETH_CHUNK, .ring_size = info->tx_desc_lim.nb_max, .nb_queues = 1};
	info->dev_capa = RTE_ETH_DEV_CAPA_RUNTIME_RX_QUEUE_SETUP |
			 RTE_ETH_DEV_CAPA_RUNTIME_TX_QUEUE_SETUP | RTE_ETH_DEV_CAPA_FLOW_RULE_KEEP;
	info->err_handle_mode = RTE_ETH_ERROR_HANDLE_MODE_PASSIVE;
	return 0;
}

static int
fw_version_get(struct rte_eth_dev *eth, char *text, size_t size)
{
	int n = snprintf(text, size, "uvbridge ABI %u",
			 uvb_hdr(uveth_local(eth)->dev)->abi_version);

	return n < 0 ? -EINVAL : (size_t)n < size ? 0 : n + 1;
}

/* rte_eth_dev_priv_dump(), testpmd's "show port N": what ethdev has no words for. */
static int
priv_dump(struct rte_eth_dev *eth, FILE *f)
{
	const struct uveth_port *port = uveth_port(eth);
	const struct uvb_dev *dev = uveth_local(eth)->dev;
	const struct uvb_hdr *hdr = uvb_hdr(dev);

	fprintf(f, "fabric %s (%s), port %u '%s', link %s\n", hdr->name, port->args.fabric,
		uvb_id(dev), uvb_name(dev), uvb_link(dev) ? "up" : "gone");
	fprintf(f, "cells per tx queue %u, voq depth %u, up to %u ports of %u queues\n",
		hdr->cells_per_txq, hdr->voq_depth, hdr->nb_ports, hdr->nb_queues);
	fprintf(f,
		"published: flags 0x%x, rx queues %u, mtu %u, rss types 0x%x, reta %u, "
		"addresses %u unicast %u multicast\n",
		port->conf.flags, port->conf.nb_rxq, port->conf.mtu, port->conf.rss_types,
		port->conf.reta_size, port->conf.nb_mac, port->conf.nb_mc);
	return 0;
}

const struct eth_dev_ops uveth_ops = {
	.dev_configure = dev_configure,
	.dev_start = dev_start,
	.dev_stop = uveth_dev_stop,
	.dev_close = dev_close,
	.dev_reset = dev_reset,
	.is_removed = is_removed,
	.dev_set_link_up = dev_set_link_up,
	.dev_set_link_down = dev_set_link_down,
	.link_update = uveth_link_update,

	.promiscuous_enable = promiscuous_enable,
	.promiscuous_disable = promiscuous_disable,
	.allmulticast_enable = allmulticast_enable,
	.allmulticast_disable = allmulticast_disable,
	.mac_addr_add = mac_addr_add,
	.mac_addr_remove = mac_addr_remove,
	.mac_addr_set = mac_addr_set,
	.set_mc_addr_list = set_mc_addr_list,
	.mtu_set = mtu_set,
	.flow_ctrl_get = flow_ctrl_get,
	.flow_ctrl_set = flow_ctrl_set,

	.vlan_filter_set = uveth_vlan_filter_set,
	.vlan_tpid_set = uveth_vlan_tpid_set,
	.vlan_strip_queue_set = uveth_vlan_strip_queue_set,
	.vlan_offload_set = uveth_vlan_offload_set,

	.read_clock = uveth_read_clock,
	.timesync_enable = uveth_timesync_enable,
	.timesync_disable = uveth_timesync_disable,
	.timesync_read_rx_timestamp = uveth_timesync_read_rx,
	.timesync_read_tx_timestamp = uveth_timesync_read_tx,
	.timesync_adjust_time = uveth_timesync_adjust,
	.timesync_read_time = uveth_timesync_read_time,
	.timesync_write_time = uveth_timesync_write_time,

	.dev_infos_get = dev_infos_get,
	.fw_version_get = fw_version_get,
	.eth_dev_priv_dump = priv_dump,
	.dev_supported_ptypes_get = uveth_ptypes_get,
	.dev_ptypes_set = uveth_ptypes_set,

	.rx_queue_setup = uveth_rx_queue_setup,
	.rx_queue_release = uveth_rx_queue_release,
	.rx_queue_start = uveth_rx_queue_start,
	.rx_queue_stop = uveth_rx_queue_stop,
	.tx_queue_setup = uveth_tx_queue_setup,
	.tx_queue_release = uveth_tx_queue_release,
	.tx_queue_start = uveth_tx_queue_start,
	.tx_queue_stop = uveth_tx_queue_stop,
	.rxq_info_get = uveth_rxq_info,
	.txq_info_get = uveth_txq_info,
	.rx_burst_mode_get = uveth_rx_burst_mode,
	.tx_burst_mode_get = uveth_tx_burst_mode,
	.tx_done_cleanup = uveth_tx_done_cleanup,
	.rx_queue_intr_enable = uveth_rx_intr_enable,
	.rx_queue_intr_disable = uveth_rx_intr_disable,

	.rss_hash_update = uveth_rss_hash_update,
	.rss_hash_conf_get = uveth_rss_hash_conf_get,
	.reta_update = uveth_reta_update,
	.reta_query = uveth_reta_query,

	.flow_ops_get = uveth_flow_ops_get,
	.rx_metadata_negotiate = uveth_rx_metadata_negotiate,

	.stats_get = uveth_stats_get,
	.stats_reset = uveth_stats_reset,
	.queue_stats_mapping_set = uveth_queue_stats_mapping_set,
	.get_reg = uveth_get_reg,
	.xstats_get = uveth_xstats_get,
	.xstats_get_names = uveth_xstats_get_names,
	.xstats_reset = uveth_stats_reset,
};

/* In a secondary: what can be asked, its own interrupts, its own leaving; and, for one that takes
 * the control over when the primary has died, what directs traffic while the port runs: queues
 * stopped and started, redirection table, flow rules. As everywhere in ethdev, one process controls
 * a port at a time. Everything else that changes the port is the primary's (ethdev answers
 * ENOTSUP). */
const struct eth_dev_ops uveth_secondary_ops = {
	.dev_close = uveth_secondary_close,
	.is_removed = is_removed,
	.link_update = uveth_link_update,

	.dev_infos_get = dev_infos_get,
	.fw_version_get = fw_version_get,
	.eth_dev_priv_dump = priv_dump,
	.dev_supported_ptypes_get = uveth_ptypes_get,

	.rxq_info_get = uveth_rxq_info,
	.txq_info_get = uveth_txq_info,
	.rx_burst_mode_get = uveth_rx_burst_mode,
	.tx_burst_mode_get = uveth_tx_burst_mode,
	.tx_done_cleanup = uveth_tx_done_cleanup,
	.rx_queue_intr_enable = uveth_rx_intr_enable,
	.rx_queue_intr_disable = uveth_rx_intr_disable,
	.read_clock = uveth_read_clock,
	.rx_queue_start = uveth_rx_queue_start,
	.rx_queue_stop = uveth_rx_queue_stop,
	.tx_queue_start = uveth_tx_queue_start,
	.tx_queue_stop = uveth_tx_queue_stop,

	.rss_hash_conf_get = uveth_rss_hash_conf_get,
	.reta_update = uveth_reta_update,
	.reta_query = uveth_reta_query,

	.flow_ops_get = uveth_flow_ops_get,

	.stats_get = uveth_stats_get,
	.stats_reset = uveth_stats_reset,
	.xstats_get = uveth_xstats_get,
	.xstats_get_names = uveth_xstats_get_names,
	.xstats_reset = uveth_stats_reset,
};
