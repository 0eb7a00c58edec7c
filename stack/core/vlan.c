/* SPDX-License-Identifier: BSD-3-Clause */
#include "stack/core/vlan.h"
#include "stack/core/instance.h"

#include <string.h>

void
uvs_vlan_tag(const struct uvs_port *p, struct rte_mbuf *m, uint16_t id)
{
	struct rte_ether_hdr *eth;
	struct rte_vlan_hdr *tag;

	if (p->tx_offloads & RTE_ETH_TX_OFFLOAD_VLAN_INSERT) {
		m->ol_flags |= RTE_MBUF_F_TX_VLAN;
		m->vlan_tci = id;
		return;
	}
	/* There is room: PBUF_LINK_ENCAPSULATION_HLEN. */
	m->data_off = (uint16_t)(m->data_off - sizeof(*tag));
	m->data_len = (uint16_t)(m->data_len + sizeof(*tag));
	m->pkt_len += sizeof(*tag);
	eth = rte_pktmbuf_mtod(m, struct rte_ether_hdr *);
	memmove(eth, (char *)eth + sizeof(*tag), 2 * RTE_ETHER_ADDR_LEN);
	eth->ether_type = rte_cpu_to_be_16(RTE_ETHER_TYPE_VLAN);
	tag = (struct rte_vlan_hdr *)(eth + 1);
	tag->vlan_tci = rte_cpu_to_be_16(id);
	m->l2_len += sizeof(*tag);
}

void
uvs_vlan_strip(const struct uvs_port *p, struct rte_mbuf **m, uint16_t n)
{
	if (p->rx_offloads & RTE_ETH_RX_OFFLOAD_VLAN_STRIP)
		return;
	for (uint16_t i = 0; i < n; i++)
		if (m[i]->data_len >= sizeof(struct rte_ether_hdr) + sizeof(struct rte_vlan_hdr))
			rte_vlan_strip(m[i]);
}

/* A tag of VLAN 0 says a priority and nothing else. */
struct netif *
uvs_vlan_netif(struct uvs_instance *in, const struct rte_mbuf *m)
{
	bool tagged = (m->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED) != 0;
	uint16_t id = tagged ? m->vlan_tci & UVS_VLAN_ID : 0;

	if (id == 0)
		return &in->netif;
	for (unsigned int i = 0; i < in->nvlans; i++)
		if (in->vlan[i].id == id)
			return &in->vlan[i].netif;
	return NULL;
}
