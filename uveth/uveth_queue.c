/* SPDX-License-Identifier: BSD-3-Clause
 *
 * uveth_queue.c - queues: set-up, start and stop, and what can be asked about them.
 *
 * The rings are the fabric's and have the fabric's depth: nb_desc is checked against the limits and
 * reported back, but makes no ring smaller or larger.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <rte_malloc.h>

#include "uveth/uveth.h"

/* ---------------------------------------------------------------------------------------- rx */

/* The mbuf's rearm_data as it is to be after allocation: everything in one word that is the same
 * for all mbufs of a queue. */
static uint64_t
rearm_word(uint16_t port_id)
{
	struct rte_mbuf m = {
		.data_off = RTE_PKTMBUF_HEADROOM, .refcnt = 1, .nb_segs = 1, .port = port_id};
	uint64_t word;

	memcpy(&word, &m.rearm_data, sizeof(word));
	return word;
}

/* What is to be done to each frame, from what is asked of the queue. */
void
uveth_rxq_update(struct uveth_rxq *q)
{
	const uint64_t csum = RTE_ETH_RX_OFFLOAD_IPV4_CKSUM | RTE_ETH_RX_OFFLOAD_UDP_CKSUM |
			      RTE_ETH_RX_OFFLOAD_TCP_CKSUM;
	const uint64_t strip = RTE_ETH_RX_OFFLOAD_VLAN_STRIP | RTE_ETH_RX_OFFLOAD_QINQ_STRIP;

	q->strip = (q->offloads & strip) != 0;
	q->verify = (q->offloads & csum) != 0;
	q->inspect = q->ptypes != 0 || q->verify;
	q->extra = q->strip || q->inspect || q->stamp_flag != 0 || q->timesync != NULL;
}

int
uveth_rx_queue_setup(struct rte_eth_dev *eth, uint16_t id, uint16_t nb_desc, unsigned int socket,
		     const struct rte_eth_rxconf *conf, struct rte_mempool *pool)
{
	uint16_t room = rte_pktmbuf_data_room_size(pool);
	struct uveth_rxq *q;

	if (id >= uveth_port(eth)->max_rxq)
		return -EINVAL;
	q = rte_zmalloc_socket("uveth_rxq", sizeof(*q), RTE_CACHE_LINE_SIZE, socket);
	if (q == NULL)
		return -ENOMEM;
	q->pool = pool;
	q->count = &uveth_port(eth)->rx_count[id];
	q->port_id = eth->data->port_id;
	q->id = id;
	q->rearm = rearm_word(q->port_id);
	q->room = room - RTE_PKTMBUF_HEADROOM;
	q->nb_desc = nb_desc;
	q->offloads = conf->offloads | eth->data->dev_conf.rxmode.offloads;
	q->deferred = conf->rx_deferred_start;
	q->ptypes = uveth_port(eth)->ptypes;
	uveth_vlan_rxq(eth, q);
	if (uveth_time_rxq(eth, q) != 0) {
		UVETH_LOG(ERR, "%s: mbufs have no room left for a timestamp", eth->data->name);
		rte_free(q);
		return -ENOSPC;
	}
	uveth_rxq_update(q);
	eth->data->rx_queues[id] = q;
	return 0;
}

void
uveth_rx_queue_release(struct rte_eth_dev *eth, uint16_t id)
{
	rte_free(eth->data->rx_queues[id]);
	eth->data->rx_queues[id] = NULL;
}

/* What arrived while the queue was stopped is not delivered late: a NIC's ring starts empty. The
 * fabric knows no word for this and counts it as dropped for want of a buffer. */
static void
rxq_flush(const struct rte_eth_dev *eth, const struct uveth_rxq *q)
{
	const struct uveth_local *local = uveth_local(eth);
	struct uvb_rxq_stats before, after;

	uvb_rxq_stats(local->dev, q->id, &before);
	uvb_rx_flush(local->rxq[q->id]);
	uvb_rxq_stats(local->dev, q->id, &after);
	uveth_count(&q->count->flushed, after.nombuf - before.nombuf);
}

int
uveth_rx_queue_start(struct rte_eth_dev *eth, uint16_t id)
{
	struct uveth_rxq *q = eth->data->rx_queues[id];

	rxq_flush(eth, q);
	eth->data->rx_queue_state[id] = RTE_ETH_QUEUE_STATE_STARTED;
	q->on = !uveth_port(eth)->admin_down;
	return 0;
}

int
uveth_rx_queue_stop(struct rte_eth_dev *eth, uint16_t id)
{
	struct uveth_rxq *q = eth->data->rx_queues[id];

	q->on = false;
	eth->data->rx_queue_state[id] = RTE_ETH_QUEUE_STATE_STOPPED;
	return 0;
}

/* ---------------------------------------------------------------------------------------- tx */

int
uveth_tx_queue_setup(struct rte_eth_dev *eth, uint16_t id, uint16_t nb_desc, unsigned int socket,
		     const struct rte_eth_txconf *conf)
{
	struct uveth_txq *q;

	if (id >= uveth_port(eth)->max_txq)
		return -EINVAL;
	q = rte_zmalloc_socket("uveth_txq", sizeof(*q), RTE_CACHE_LINE_SIZE, socket);
	if (q == NULL)
		return -ENOMEM;
	q->count = &uveth_port(eth)->tx_count[id];
	q->port_id = eth->data->port_id;
	q->id = id;
	q->nb_desc = nb_desc;
	q->offloads = conf->offloads | eth->data->dev_conf.txmode.offloads;
	q->deferred = conf->tx_deferred_start;
	uveth_vlan_txq(eth, q);
	eth->data->tx_queues[id] = q;
	return 0;
}

void
uveth_tx_queue_release(struct rte_eth_dev *eth, uint16_t id)
{
	rte_free(eth->data->tx_queues[id]);
	eth->data->tx_queues[id] = NULL;
}

int
uveth_tx_queue_start(struct rte_eth_dev *eth, uint16_t id)
{
	struct uveth_txq *q = eth->data->tx_queues[id];

	eth->data->tx_queue_state[id] = RTE_ETH_QUEUE_STATE_STARTED;
	q->on = !uveth_port(eth)->admin_down;
	return 0;
}

int
uveth_tx_queue_stop(struct rte_eth_dev *eth, uint16_t id)
{
	struct uveth_txq *q = eth->data->tx_queues[id];

	q->on = false;
	eth->data->tx_queue_state[id] = RTE_ETH_QUEUE_STATE_STOPPED;
	return 0;
}

/* ------------------------------------------------------------------------------ all of a port */

/* A configured queue may not be there yet: it can be set up while the port runs. */
void
uveth_queues_start(struct rte_eth_dev *eth)
{
	for (uint16_t i = 0; i < eth->data->nb_rx_queues; i++) {
		const struct uveth_rxq *q = eth->data->rx_queues[i];

		if (q != NULL && !q->deferred)
			uveth_rx_queue_start(eth, i);
	}
	for (uint16_t i = 0; i < eth->data->nb_tx_queues; i++) {
		const struct uveth_txq *q = eth->data->tx_queues[i];

		if (q != NULL && !q->deferred)
			uveth_tx_queue_start(eth, i);
	}
}

void
uveth_queues_stop(struct rte_eth_dev *eth)
{
	for (uint16_t i = 0; i < eth->data->nb_rx_queues; i++)
		if (eth->data->rx_queues[i] != NULL)
			uveth_rx_queue_stop(eth, i);
	for (uint16_t i = 0; i < eth->data->nb_tx_queues; i++)
		if (eth->data->tx_queues[i] != NULL)
			uveth_tx_queue_stop(eth, i);
}

/* The link was taken down or put up again: the started queues follow. */
void
uveth_queues_gate(struct rte_eth_dev *eth)
{
	bool up = !uveth_port(eth)->admin_down;

	for (uint16_t i = 0; i < eth->data->nb_rx_queues; i++) {
		struct uveth_rxq *q = eth->data->rx_queues[i];

		if (q != NULL)
			q->on = up && eth->data->rx_queue_state[i] == RTE_ETH_QUEUE_STATE_STARTED;
	}
	for (uint16_t i = 0; i < eth->data->nb_tx_queues; i++) {
		struct uveth_txq *q = eth->data->tx_queues[i];

		if (q != NULL)
			q->on = up && eth->data->tx_queue_state[i] == RTE_ETH_QUEUE_STATE_STARTED;
	}
}

/* -------------------------------------------------------------------------------- information */

void
uveth_rxq_info(struct rte_eth_dev *eth, uint16_t id, struct rte_eth_rxq_info *info)
{
	const struct uveth_rxq *q = eth->data->rx_queues[id];

	info->mp = q->pool;
	info->scattered_rx = (q->offloads & RTE_ETH_RX_OFFLOAD_SCATTER) != 0;
	info->nb_desc = q->nb_desc;
	info->rx_buf_size = q->room;
	info->conf.offloads = q->offloads;
	info->conf.rx_deferred_start = q->deferred;
	info->conf.rx_drop_en = 1; /* a full ring drops for itself and stops nobody else */
}

void
uveth_txq_info(struct rte_eth_dev *eth, uint16_t id, struct rte_eth_txq_info *info)
{
	const struct uveth_txq *q = eth->data->tx_queues[id];

	info->nb_desc = q->nb_desc;
	info->conf.offloads = q->offloads;
	info->conf.tx_deferred_start = q->deferred;
}

int
uveth_rx_burst_mode(struct rte_eth_dev *eth, uint16_t id, struct rte_eth_burst_mode *mode)
{
	const struct uveth_rxq *q = eth->data->rx_queues[id];
	bool scatter = (q->offloads & RTE_ETH_RX_OFFLOAD_SCATTER) != 0;

	snprintf(mode->info, sizeof(mode->info), "Scalar copy%s%s%s", scatter ? ", scattered" : "",
		 q->strip ? ", tags stripped" : "", q->inspect ? ", headers parsed" : "");
	return 0;
}

int
uveth_tx_burst_mode(struct rte_eth_dev *eth, uint16_t id, struct rte_eth_burst_mode *mode)
{
	const struct uveth_txq *q = eth->data->tx_queues[id];
	bool fast = (q->offloads & RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE) != 0;

	snprintf(mode->info, sizeof(mode->info), "Scalar copy%s", fast ? ", fast free" : "");
	return 0;
}

/* The burst has copied: it holds no mbuf that could be asked back. */
int
uveth_tx_done_cleanup(void *txq __rte_unused, uint32_t n __rte_unused)
{
	return 0;
}

uint32_t
uveth_rx_queue_count(void *rxq)
{
	const struct uveth_rxq *q = rxq;

	return uvb_rx_count(uveth_local(&rte_eth_devices[q->port_id])->rxq[q->id]);
}

int
uveth_rx_descriptor_status(void *rxq, uint16_t offset)
{
	const struct uveth_rxq *q = rxq;
	uint32_t waiting = uveth_rx_queue_count(rxq);

	if (offset < waiting)
		return RTE_ETH_RX_DESC_DONE;
	return offset < q->nb_desc ? RTE_ETH_RX_DESC_AVAIL : -EINVAL;
}

/* Offset 0 is the next descriptor to be used, so descriptor k is usable while more than k cells are
 * free. */
int
uveth_tx_descriptor_status(void *txq, uint16_t offset)
{
	const struct uveth_txq *q = txq;
	const struct uveth_local *local = uveth_local(&rte_eth_devices[q->port_id]);
	uint32_t cells = uvb_hdr(local->dev)->cells_per_txq;

	if (offset >= cells)
		return -EINVAL;
	return offset < uvb_tx_free(local->txq[q->id]) ? RTE_ETH_TX_DESC_DONE
						       : RTE_ETH_TX_DESC_FULL;
}

/* ------------------------------------------------------------------------------- packet types */

const uint32_t *
uveth_ptypes_get(struct rte_eth_dev *eth __rte_unused)
{
	static const uint32_t ptypes[] = {
		RTE_PTYPE_L2_ETHER,    RTE_PTYPE_L2_ETHER_VLAN, RTE_PTYPE_L2_ETHER_QINQ,
		RTE_PTYPE_L3_IPV4,     RTE_PTYPE_L3_IPV4_EXT,   RTE_PTYPE_L3_IPV6,
		RTE_PTYPE_L3_IPV6_EXT, RTE_PTYPE_L4_FRAG,       RTE_PTYPE_L4_UDP,
		RTE_PTYPE_L4_TCP,      RTE_PTYPE_L4_SCTP,       RTE_PTYPE_UNKNOWN,
	};

	return ptypes;
}

int
uveth_ptypes_set(struct rte_eth_dev *eth, uint32_t mask)
{
	uveth_port(eth)->ptypes = mask & UVETH_PTYPES;
	for (uint16_t i = 0; i < eth->data->nb_rx_queues; i++) {
		struct uveth_rxq *q = eth->data->rx_queues[i];

		if (q == NULL)
			continue;
		q->ptypes = mask & UVETH_PTYPES;
		uveth_rxq_update(q);
	}
	return 0;
}
