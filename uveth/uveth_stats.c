/* SPDX-License-Identifier: BSD-3-Clause
 *
 * uveth_stats.c - statistics: basic, per queue, extended, reset.
 *
 * Most counters live in the segment, where each has one writer, often another port: so a reset
 * cannot clear them. It remembers them, and everything shown is the difference.
 *
 * Frames sent are frames received and every drop that has a name here, on one side or the other:
 *
 *   sender's tx_*    dropped before a destination was found, or unfit to be sent
 *   sender's far_*   dropped on behalf of a destination (each also shows up over there)
 *   receiver's rx_*  dropped for this port by its senders (filters, ring), and by this driver
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "uveth/uveth.h"

/* ------------------------------------------------------------------------------------- collect */

/* From counters that other threads are writing. */
static void
load(void *to, const void *from, size_t size)
{
	for (size_t i = 0; i < size / sizeof(uint64_t); i++)
		((uint64_t *)to)[i] = __atomic_load_n((const uint64_t *)from + i, __ATOMIC_RELAXED);
}

static void
collect(struct rte_eth_dev *eth, struct uveth_counters *c)
{
	const struct uveth_port *port = uveth_port(eth);
	const struct uvb_dev *dev = uveth_local(eth)->dev;

	memset(c, 0, sizeof(*c));
	for (uint16_t q = 0; q < port->max_rxq; q++) {
		uvb_rxq_stats(dev, q, &c->rxq[q].fabric);
		load(&c->rxq[q].own, &port->rx_count[q], sizeof(port->rx_count[q]));
	}
	for (uint16_t q = 0; q < port->max_txq; q++) {
		uvb_txq_stats(dev, q, &c->txq[q].fabric);
		load(&c->txq[q].own, &port->tx_count[q], sizeof(port->tx_count[q]));
	}
	uvb_rx_drops(dev, c->drops);
}

/* What has been counted since the last reset. */
static void
since_reset(struct rte_eth_dev *eth, struct uveth_counters *c)
{
	const uint64_t *base = (const uint64_t *)&uveth_port(eth)->base;
	uint64_t *now = (uint64_t *)c;

	collect(eth, c);
	for (size_t i = 0; i < sizeof(*c) / sizeof(*now); i++)
		now[i] -= base[i];
}

int
uveth_stats_reset(struct rte_eth_dev *eth)
{
	collect(eth, &uveth_port(eth)->base);
	return 0;
}

/* --------------------------------------------------------------------------------------- basic */

/* `at`: the counter of rte_eth_stats that the queue is mapped to, several to one if need be. */
static void
basic_rxq(struct rte_eth_stats *s, uint8_t at, const struct uveth_rxq_counters *c)
{
	uint64_t packets = c->fabric.packets - c->own.too_long - c->own.nombuf;
	uint64_t bytes = c->fabric.bytes - c->own.too_long_bytes - c->own.nombuf_bytes;

	s->q_ipackets[at] += packets;
	s->q_ibytes[at] += bytes;
	s->q_errors[at] += c->fabric.full + c->own.too_long + c->fabric.bad;
	s->ipackets += packets;
	s->ibytes += bytes;
	s->imissed += c->fabric.full;
	s->ierrors += c->own.too_long + c->fabric.bad;
	s->rx_nombuf += c->fabric.nombuf + c->own.nombuf;
}

/* The fabric counts what it took; what no wire would have carried is an error here. Bytes of those
 * few are not told apart. */
static void
basic_txq(struct rte_eth_stats *s, uint8_t at, const struct uveth_txq_counters *c)
{
	uint64_t unfit = c->fabric.drops[UVB_TXD_RUNT] + c->fabric.drops[UVB_TXD_OVERSIZE] +
			 c->fabric.drops[UVB_TXD_NO_CELL];

	s->q_opackets[at] += c->fabric.packets - unfit;
	s->q_obytes[at] += c->fabric.bytes;
	s->opackets += c->fabric.packets - unfit;
	s->obytes += c->fabric.bytes;
	s->oerrors += unfit + c->own.too_many_segs + c->own.bad_offload;
}

int
uveth_stats_get(struct rte_eth_dev *eth, struct rte_eth_stats *stats)
{
	const struct uveth_port *port = uveth_port(eth);
	struct uveth_counters c;

	since_reset(eth, &c);
	for (uint16_t q = 0; q < port->max_rxq; q++)
		basic_rxq(stats, port->rx_stat[q], &c.rxq[q]);
	for (uint16_t q = 0; q < port->max_txq; q++)
		basic_txq(stats, port->tx_stat[q], &c.txq[q]);
	stats->ierrors += c.drops[UVB_PD_OVERSIZE];
	return 0;
}

int
uveth_queue_stats_mapping_set(struct rte_eth_dev *eth, uint16_t id, uint8_t stat, uint8_t is_rx)
{
	struct uveth_port *port = uveth_port(eth);

	if (id >= (is_rx ? port->max_rxq : port->max_txq) || stat >= RTE_ETHDEV_QUEUE_STAT_CNTRS)
		return -EINVAL;
	*(is_rx ? &port->rx_stat[id] : &port->tx_stat[id]) = stat;
	return 0;
}

/* ------------------------------------------------------------------------------------ extended */

struct name {
	const char *text;
	size_t offset;
};
/* One name, one line: */
/* clang-format off */
#define RX(name, member)  {name, offsetof(struct uveth_rxq_counters, member)}
#define TX(name, member)  {name, offsetof(struct uveth_txq_counters, member)}
#define TXD(name, reason) TX("drop_" name, fabric.drops[UVB_TXD_##reason])
#define FAR(name, reason) TX("far_" name, fabric.pair_drops[UVB_PD_##reason])

/* Per queue as "rx_q0_...", and over all queues as "rx_...". */
static const struct name rx_names[] = {
	RX("drop_ring_full", fabric.full),
	RX("drop_no_mbuf", fabric.nombuf),
	RX("drop_no_mbuf_chain", own.nombuf),
	RX("drop_too_long", own.too_long),
	RX("drop_flushed", fabric.lost),
	RX("drop_stale", fabric.stale),
	RX("drop_bad_reference", fabric.bad),
	RX("lro_joined", own.lro_joined),
	RX("bad_l3_csum", own.bad_l3_csum),
	RX("bad_l4_csum", own.bad_l4_csum),
	RX("sleeps", fabric.sleeps),
	RX("wakes", fabric.wakes),
};

static const struct name tx_names[] = {
	TXD("runt", RUNT),
	TXD("oversize", OVERSIZE),
	TXD("hairpin", HAIRPIN),
	TXD("no_port", NO_PORT),
	TXD("bad_source", BAD_SRC),
	TXD("no_cell", NO_CELL),
	TX("drop_too_many_segs", own.too_many_segs),
	TX("drop_bad_offload", own.bad_offload),
	FAR("mac_filter", MAC_FILTER),
	FAR("stopped", STOPPED),
	FAR("oversize", OVERSIZE),
	FAR("down", DOWN),
	FAR("vlan_filter", VLAN_FILTER),
	FAR("flow", FLOW),
	FAR("isolated", ISOLATED),
	FAR("vlan_egress", VLAN_EGRESS),
	FAR("group", GROUP),
	FAR("link_down", LINK_DOWN),
	FAR("uplink", UPLINK),
	FAR("fault", FAULT),
	FAR("link_loss", LOSS),
	FAR("link_queue_full", QUEUE),
	TXD("fault", FAULT),
	TXD("link_loss", LOSS),
	TXD("link_queue_full", QUEUE),
	TXD("vlan_ingress", VLAN_INGRESS),
	TXD("spoof", SPOOF),
	TXD("link_down", LINK_DOWN),
	TXD("uplink_down", UPLINK_DOWN),
	TXD("storm_broadcast", STORM_BROADCAST),
	TXD("storm_multicast", STORM_MULTICAST),
	TXD("storm_unknown", STORM_UNKNOWN),
	TX("copies", fabric.copies),
	TX("bursts_rate_limited", fabric.limited),
	TX("fault_duplicates", fabric.fault_dups),
	TX("far_ring_full", fabric.full),
	TX("tso_whole", own.tso_whole),
	TX("tso_cut", own.tso_cut),
	TX("flooded", fabric.flooded),
	TX("bursts_cut_short", fabric.no_cell),
	TX("bells", fabric.bells),
};
/* clang-format on */

static const struct name port_names[] = {
	{"rx_drop_mac_filter", UVB_PD_MAC_FILTER}, {"rx_drop_stopped", UVB_PD_STOPPED},
	{"rx_drop_oversize", UVB_PD_OVERSIZE},     {"rx_drop_vlan_filter", UVB_PD_VLAN_FILTER},
	{"rx_drop_fault", UVB_PD_FAULT},           {"rx_drop_link_loss", UVB_PD_LOSS},
	{"rx_drop_link_queue_full", UVB_PD_QUEUE}, {"rx_drop_flow", UVB_PD_FLOW},
	{"rx_drop_isolated", UVB_PD_ISOLATED},     {"rx_drop_vlan_egress", UVB_PD_VLAN_EGRESS},
	{"rx_drop_group", UVB_PD_GROUP},           {"rx_drop_link_down", UVB_PD_LINK_DOWN},
	{"rx_drop_uplink", UVB_PD_UPLINK},         {"rx_drop_link_delay_full", UVB_PD_DELAY},
};

static uint64_t
value(const void *queue, const struct name *name)
{
	return *(const uint64_t *)((const char *)queue + name->offset);
}

static unsigned int
nb_xstats(const struct uveth_port *port)
{
	return RTE_DIM(port_names) + RTE_DIM(rx_names) * (1 + port->max_rxq) +
	       RTE_DIM(tx_names) * (1 + port->max_txq);
}

/* The names of one direction: totals, then queue by queue. Returns the next free place. */
static struct rte_eth_xstat_name *
put_names(struct rte_eth_xstat_name *out, const char *dir, const struct name *names, size_t n,
	  uint16_t nb_queues)
{
	for (size_t i = 0; i < n; i++, out++)
		snprintf(out->name, sizeof(out->name), "%s_%s", dir, names[i].text);
	for (uint16_t q = 0; q < nb_queues; q++)
		for (size_t i = 0; i < n; i++, out++)
			snprintf(out->name, sizeof(out->name), "%s_q%u_%s", dir, q, names[i].text);
	return out;
}

/* The values in the same order; `queues` is an array of counters `stride` bytes apart. */
static struct rte_eth_xstat *
put_values(struct rte_eth_xstat *out, const void *queues, size_t stride, const struct name *names,
	   size_t n, uint16_t nb_queues)
{
	struct rte_eth_xstat *total = out;

	for (size_t i = 0; i < n; i++)
		(out++)->value = 0;
	for (uint16_t q = 0; q < nb_queues; q++) {
		for (size_t i = 0; i < n; i++, out++) {
			out->value = value((const char *)queues + q * stride, &names[i]);
			total[i].value += out->value;
		}
	}
	return out;
}

int
uveth_xstats_get_names(struct rte_eth_dev *eth, struct rte_eth_xstat_name *names, unsigned int n)
{
	const struct uveth_port *port = uveth_port(eth);

	if (names == NULL || n < nb_xstats(port))
		return nb_xstats(port);
	for (size_t i = 0; i < RTE_DIM(port_names); i++, names++)
		snprintf(names->name, sizeof(names->name), "%s", port_names[i].text);
	names = put_names(names, "rx", rx_names, RTE_DIM(rx_names), port->max_rxq);
	put_names(names, "tx", tx_names, RTE_DIM(tx_names), port->max_txq);
	return nb_xstats(port);
}

/* All values, in the order of their names. */
static void
put_all(const struct uveth_port *port, const struct uveth_counters *c, struct rte_eth_xstat *out)
{
	for (size_t i = 0; i < RTE_DIM(port_names); i++, out++)
		out->value = c->drops[port_names[i].offset];
	out = put_values(out, c->rxq, sizeof(c->rxq[0]), rx_names, RTE_DIM(rx_names),
			 port->max_rxq);
	put_values(out, c->txq, sizeof(c->txq[0]), tx_names, RTE_DIM(tx_names), port->max_txq);
}

int
uveth_xstats_get(struct rte_eth_dev *eth, struct rte_eth_xstat *xstats, unsigned int n)
{
	const struct uveth_port *port = uveth_port(eth);
	struct uveth_counters c;

	if (xstats == NULL || n < nb_xstats(port))
		return nb_xstats(port);
	since_reset(eth, &c);
	put_all(port, &c, xstats);
	for (unsigned int i = 0; i < nb_xstats(port); i++)
		xstats[i].id = i;
	return nb_xstats(port);
}

/* ------------------------------------------------------------------------- for the register dump
 */

uint32_t
uveth_nb_counters(struct rte_eth_dev *eth)
{
	return nb_xstats(uveth_port(eth));
}

#define XSTATS_MAX                                                        \
	(RTE_DIM(port_names) + RTE_DIM(rx_names) * (1 + UVB_MAX_QUEUES) + \
	 RTE_DIM(tx_names) * (1 + UVB_MAX_QUEUES))

/* As they stand, never reset. */
void
uveth_counter_words(struct rte_eth_dev *eth, uint64_t *out)
{
	const struct uveth_port *port = uveth_port(eth);
	struct rte_eth_xstat values[XSTATS_MAX];
	struct uveth_counters c;

	collect(eth, &c);
	put_all(port, &c, values);
	for (unsigned int i = 0; i < nb_xstats(port); i++)
		out[i] = values[i].value;
}
