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
	q->lro = (q->offloads & RTE_ETH_RX_OFFLOAD_TCP_LRO) != 0;
	q->extra = q->lro || q->strip || q->inspect || q->stamp_flag != 0 || q->timesync != NULL;
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
	q->lro_max = eth->data->dev_conf.rxmode.max_lro_pkt_size;
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

/* Release: who sees the new number sees the queue as it is now. */
static void
turn_set(uint32_t *turn, uint32_t value)
{
	__atomic_store_n(turn, value, __ATOMIC_RELEASE);
}

/* A new number for a queue, and open it if the link is up. */
static void
turn_next(const struct rte_eth_dev *eth, uint32_t *starts, uint32_t *turn)
{
	*starts = *starts + 1 == UVETH_TURN_NEVER ? 1 : *starts + 1;
	turn_set(turn, uveth_port(eth)->admin_down ? UVETH_TURN_OFF : *starts);
}

/* What arrived while the queue was stopped is not delivered late: a NIC's ring starts empty. And
 * what a process left half done that polled it and died, is brought to an end. */
int
uveth_rx_queue_start(struct rte_eth_dev *eth, uint16_t id)
{
	struct uveth_rxq *q = eth->data->rx_queues[id];
	int rc = uvb_rxq_reset(uveth_local(eth)->dev, id);

	if (rc != 0)
		return rc;
	eth->data->rx_queue_state[id] = RTE_ETH_QUEUE_STATE_STARTED;
	turn_next(eth, &uveth_port(eth)->rx_starts[id], &q->turn);
	return 0;
}

/* The queue is off, or has been started since we took it. */
bool
uveth_rxq_turn(const struct uveth_rxq *q, struct uveth_local *local)
{
	uint32_t turn = __atomic_load_n(&q->turn, __ATOMIC_ACQUIRE);

	if (turn == UVETH_TURN_OFF)
		return false;
	local->rxq[q->id] = uvb_rxq_take(local->dev, q->id);
	if (local->rxq[q->id] == NULL)
		return false;
	local->rx_turn[q->id] = turn;
	return true;
}

int
uveth_rx_queue_stop(struct rte_eth_dev *eth, uint16_t id)
{
	struct uveth_rxq *q = eth->data->rx_queues[id];

	turn_set(&q->turn, UVETH_TURN_OFF);
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
	int rc = uvb_txq_reset(uveth_local(eth)->dev, id);

	if (rc != 0)
		return rc;
	eth->data->tx_queue_state[id] = RTE_ETH_QUEUE_STATE_STARTED;
	turn_next(eth, &uveth_port(eth)->tx_starts[id], &q->turn);
	return 0;
}

bool
uveth_txq_turn(const struct uveth_txq *q, struct uveth_local *local)
{
	uint32_t turn = __atomic_load_n(&q->turn, __ATOMIC_ACQUIRE);

	if (turn == UVETH_TURN_OFF)
		return false;
	local->txq[q->id] = uvb_txq_take(local->dev, q->id);
	if (local->txq[q->id] == NULL)
		return false;
	local->tx_turn[q->id] = turn;
	return true;
}

int
uveth_tx_queue_stop(struct rte_eth_dev *eth, uint16_t id)
{
	struct uveth_txq *q = eth->data->tx_queues[id];

	turn_set(&q->turn, UVETH_TURN_OFF);
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
	const struct uveth_port *port = uveth_port(eth);
	bool up = !port->admin_down;

	for (uint16_t i = 0; i < eth->data->nb_rx_queues; i++) {
		struct uveth_rxq *q = eth->data->rx_queues[i];

		if (q != NULL && eth->data->rx_queue_state[i] == RTE_ETH_QUEUE_STATE_STARTED)
			turn_set(&q->turn, up ? port->rx_starts[i] : UVETH_TURN_OFF);
	}
	for (uint16_t i = 0; i < eth->data->nb_tx_queues; i++) {
		struct uveth_txq *q = eth->data->tx_queues[i];

		if (q != NULL && eth->data->tx_queue_state[i] == RTE_ETH_QUEUE_STATE_STARTED)
			turn_set(&q->turn, up ? port->tx_starts[i] : UVETH_TURN_OFF);
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

	snprintf(mode->info, sizeof(mode->info), "Scalar copy%s%s%s%s",
		 scatter ? ", scattered" : "", q->lro ? ", LRO" : "",
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

	return uvb_rxq_waiting(uveth_local(&rte_eth_devices[q->port_id])->dev, q->id);
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
	return offset < uvb_txq_free_cells(local->dev, q->id) ? RTE_ETH_TX_DESC_DONE
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
