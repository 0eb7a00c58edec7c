/* SPDX-License-Identifier: BSD-3-Clause
 *
 * uveth_vlan.c - VLAN tags as a NIC handles them: strip, insert, filter.
 *
 * A tag is what has one of the port's two TPIDs, 0x88a8 (outer) and 0x8100 (inner) unless changed
 * by rte_eth_dev_set_vlan_ether_type(). The filter is the fabric's: senders drop what it does not
 * let in. Stripping is done here, in the mbuf the frame was copied to; the twelve bytes of
 * addresses move, nothing else. Inserting changes no mbuf: the addresses and the tag are sent from
 * a copy.
 */
#include <errno.h>
#include <string.h>

#include <rte_ether.h>
#include <rte_mbuf.h>

#include "uveth/uveth.h"

#define MACS_LEN (2 * RTE_ETHER_ADDR_LEN)

/* ---------------------------------------------------------------------------------------- rx */

static bool
is_tag(const struct uveth_rxq *q, const struct rte_mbuf *m, uint32_t off)
{
	uint16_t tpid;

	if (m->data_len < off + RTE_VLAN_HLEN + sizeof(tpid))
		return false;
	memcpy(&tpid, rte_pktmbuf_mtod_offset(m, const char *, off), sizeof(tpid));
	return tpid == q->tpid[0] || tpid == q->tpid[1];
}

static uint16_t
tci_at(const struct rte_mbuf *m, uint32_t off)
{
	uint16_t tci;

	memcpy(&tci, rte_pktmbuf_mtod_offset(m, const char *, off + 2), sizeof(tci));
	return rte_be_to_cpu_16(tci);
}

static void
cut(struct rte_mbuf *m, uint16_t len)
{
	char *frame = rte_pktmbuf_mtod(m, char *);

	memmove(frame + len, frame, MACS_LEN);
	rte_pktmbuf_adj(m, len);
}

/* As the flags in rte_mbuf_core.h have it: QinQ stripping alone takes the outer of two tags and
 * reports both, together with VLAN stripping both go; a single tag is VLAN stripping's. */
void
uveth_vlan_strip(const struct uveth_rxq *q, struct rte_mbuf *m)
{
	bool strip = (q->offloads & RTE_ETH_RX_OFFLOAD_VLAN_STRIP) != 0;
	bool qinq = (q->offloads & RTE_ETH_RX_OFFLOAD_QINQ_STRIP) != 0;

	if (!is_tag(q, m, MACS_LEN))
		return;
	if (qinq && is_tag(q, m, MACS_LEN + RTE_VLAN_HLEN)) {
		m->vlan_tci_outer = tci_at(m, MACS_LEN);
		m->vlan_tci = tci_at(m, MACS_LEN + RTE_VLAN_HLEN);
		m->ol_flags |= RTE_MBUF_F_RX_QINQ | RTE_MBUF_F_RX_QINQ_STRIPPED |
			       RTE_MBUF_F_RX_VLAN | (strip ? RTE_MBUF_F_RX_VLAN_STRIPPED : 0);
		cut(m, strip ? 2 * RTE_VLAN_HLEN : RTE_VLAN_HLEN);
	} else if (strip) {
		m->vlan_tci = tci_at(m, MACS_LEN);
		m->ol_flags |= RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED;
		cut(m, RTE_VLAN_HLEN);
	}
}

/* ---------------------------------------------------------------------------------------- tx */

static uint8_t *
put_tag(uint8_t *at, uint16_t tpid, uint16_t tci)
{
	tci = rte_cpu_to_be_16(tci);
	memcpy(at, &tpid, sizeof(tpid));
	memcpy(at + 2, &tci, sizeof(tci));
	return at + RTE_VLAN_HLEN;
}

/* In front of the `len` bytes of the frame that are copied to hdr already (0: none) there is room
 * for two tags. Make the frame begin in that room. Returns how many bytes of the frame hdr stands
 * for now, tags not counted, or a negative errno. */
int
uveth_vlan_insert(const struct uveth_txq *q, const struct rte_mbuf *m, uint8_t *hdr, int len,
		  uint32_t *tags_len)
{
	bool qinq = (m->ol_flags & RTE_MBUF_F_TX_QINQ) != 0;
	uint8_t *at;

	*tags_len = qinq ? 2 * RTE_VLAN_HLEN : RTE_VLAN_HLEN;
	if (len < MACS_LEN) {
		const void *macs = rte_pktmbuf_read(m, 0, MACS_LEN, hdr);

		if (macs == NULL)
			return -EINVAL;
		if (macs != hdr)
			memcpy(hdr, macs, MACS_LEN);
		len = MACS_LEN;
	}
	memmove(hdr - *tags_len, hdr, MACS_LEN);
	at = hdr - *tags_len + MACS_LEN;
	if (qinq)
		at = put_tag(at, q->tpid[0], m->vlan_tci_outer);
	put_tag(at, q->tpid[1], m->vlan_tci);
	return len;
}

/* ----------------------------------------------------------------------------------- control */

static void
queue_tpids(const struct uvb_conf *conf, uint16_t tpid[2])
{
	tpid[0] = rte_cpu_to_be_16(conf->tpid[0]);
	tpid[1] = rte_cpu_to_be_16(conf->tpid[1]);
}

/* A queue learns what it cannot look up while it polls. */
void
uveth_vlan_rxq(const struct rte_eth_dev *eth, struct uveth_rxq *q)
{
	queue_tpids(&uveth_port(eth)->conf, q->tpid);
}

void
uveth_vlan_txq(const struct rte_eth_dev *eth, struct uveth_txq *q)
{
	queue_tpids(&uveth_port(eth)->conf, q->tpid);
}

/* The filter, as the offloads of the port have it now. */
void
uveth_vlan_configure(const struct rte_eth_dev *eth, struct uvb_conf *conf)
{
	conf->flags &= ~UVB_CONF_VLAN_FILTER;
	if ((eth->data->dev_conf.rxmode.offloads & RTE_ETH_RX_OFFLOAD_VLAN_FILTER) != 0)
		conf->flags |= UVB_CONF_VLAN_FILTER;
}

int
uveth_vlan_filter_set(struct rte_eth_dev *eth, uint16_t vlan, int on)
{
	struct uvb_conf next = uveth_port(eth)->conf;
	uint32_t bit = 1u << vlan % 32;

	if (on)
		next.vlan[vlan / 32] |= bit;
	else
		next.vlan[vlan / 32] &= ~bit;
	return uveth_publish(eth, &next);
}

int
uveth_vlan_tpid_set(struct rte_eth_dev *eth, enum rte_vlan_type type, uint16_t tpid)
{
	struct uvb_conf next = uveth_port(eth)->conf;
	int rc;

	if (type != RTE_ETH_VLAN_TYPE_OUTER && type != RTE_ETH_VLAN_TYPE_INNER)
		return -EINVAL;
	next.tpid[type == RTE_ETH_VLAN_TYPE_OUTER ? 0 : 1] = tpid;
	rc = uveth_publish(eth, &next);
	for (uint16_t i = 0; i < eth->data->nb_rx_queues && rc == 0; i++)
		if (eth->data->rx_queues[i] != NULL)
			uveth_vlan_rxq(eth, eth->data->rx_queues[i]);
	for (uint16_t i = 0; i < eth->data->nb_tx_queues && rc == 0; i++)
		if (eth->data->tx_queues[i] != NULL)
			uveth_vlan_txq(eth, eth->data->tx_queues[i]);
	return rc;
}

static void
queue_offload(struct uveth_rxq *q, uint64_t offload, bool on)
{
	if (on)
		q->offloads |= offload;
	else
		q->offloads &= ~offload;
	uveth_rxq_update(q);
}

void
uveth_vlan_strip_queue_set(struct rte_eth_dev *eth, uint16_t id, int on)
{
	if (eth->data->rx_queues[id] != NULL)
		queue_offload(eth->data->rx_queues[id], RTE_ETH_RX_OFFLOAD_VLAN_STRIP, on);
}

/* rte_eth_dev_set_vlan_offload(): ethdev has changed the offloads of the port already, and takes
 * them back if we fail. `mask` says which ones it has changed. */
int
uveth_vlan_offload_set(struct rte_eth_dev *eth, int mask)
{
	const uint64_t strip = RTE_ETH_RX_OFFLOAD_VLAN_STRIP, qinq = RTE_ETH_RX_OFFLOAD_QINQ_STRIP;
	uint64_t port = eth->data->dev_conf.rxmode.offloads;
	struct uvb_conf next = uveth_port(eth)->conf;
	int rc;

	uveth_vlan_configure(eth, &next);
	rc = uveth_publish(eth, &next);
	for (uint16_t i = 0; i < eth->data->nb_rx_queues && rc == 0; i++) {
		struct uveth_rxq *q = eth->data->rx_queues[i];

		if (q != NULL && (mask & RTE_ETH_VLAN_STRIP_MASK) != 0)
			queue_offload(q, strip, (port & strip) != 0);
		if (q != NULL && (mask & RTE_ETH_QINQ_STRIP_MASK) != 0)
			queue_offload(q, qinq, (port & qinq) != 0);
	}
	return rc;
}
