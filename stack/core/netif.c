/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Between lwIP's netif and the ethdev port: mbufs in, pbufs out, checksums left to the NIC. */
#include "stack/core/instance.h"
#include "stack/core/share.h"
#include "stack/core/sums.h"

#include <errno.h>
#include <string.h>

#include "lwip/etharp.h"
#include "lwip/ethip6.h"
#include "lwip/prot/ethernet.h"
#include "netif/ethernet.h"

/* ------------------------------------------------------------------------------------ receive */

/* What lwIP still has to check, by what the NIC says. One flag word per packet; no branch on the
 * protocol, since lwIP asks for the bit it needs. */
static uint16_t
checks_left(const struct rte_mbuf *m)
{
	uint16_t left = NETIF_CHECKSUM_CHECK_ICMP | NETIF_CHECKSUM_CHECK_ICMP6;

	if (!uvs_sums_ip_vouched(m->ol_flags))
		left |= NETIF_CHECKSUM_CHECK_IP;
	if (!uvs_sums_l4_vouched(m->ol_flags))
		left |= NETIF_CHECKSUM_CHECK_TCP | NETIF_CHECKSUM_CHECK_UDP;
	return left;
}

#define ALL_CHECKS                                                                       \
	(NETIF_CHECKSUM_CHECK_IP | NETIF_CHECKSUM_CHECK_UDP | NETIF_CHECKSUM_CHECK_TCP | \
	 NETIF_CHECKSUM_CHECK_ICMP | NETIF_CHECKSUM_CHECK_ICMP6)

/* Of a frame that the NIC has joined the length in its IP header becomes that of a packet of the
 * wire: IP gives back the mbufs behind it at once. What TCP says of the end is no longer true. */
static void
cut_joined(const struct uvs_instance *in, struct rte_mbuf *m)
{
	struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, struct rte_ether_hdr *);
	struct rte_ipv4_hdr *ip4 = (void *)(eth + 1);
	struct rte_ipv6_hdr *ip6 = (void *)(eth + 1);
	struct rte_tcp_hdr *tcp;

	if (eth->ether_type == rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4)) {
		ip4->total_length = rte_cpu_to_be_16(in->port.mtu);
		tcp = (void *)((char *)ip4 + rte_ipv4_hdr_len(ip4));
	} else if (eth->ether_type == rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV6)) {
		ip6->payload_len = rte_cpu_to_be_16((uint16_t)(in->port.mtu - sizeof(*ip6)));
		tcp = (void *)(ip6 + 1);
	} else {
		return; /* not for IP */
	}
	tcp->tcp_flags &= (uint8_t) ~(RTE_TCP_FIN_FLAG | RTE_TCP_PSH_FLAG);
	in->seen->mem.rx_cut++;
}

/* Each of many connections that nobody reads may keep one frame, whatever is full: of a joined one
 * it would be dozens of mbufs. The rest comes again. */
static void
spare_memory(const struct uvs_instance *in, struct rte_mbuf *m)
{
	if (m->nb_segs > 1 && m->pkt_len > in->port.mtu + sizeof(struct rte_ether_hdr) &&
	    uvs_mem_pins(&in->mem, m->pkt_len))
		cut_joined(in, m);
}

void
uvs_netif_receive(struct uvs_instance *in, struct rte_mbuf *m)
{
	struct netif *n = in->nvlans == 0 ? &in->netif : uvs_vlan_netif(in, m);
	struct pbuf *p;

	in->seen->port.rx_packets++;
	in->seen->port.rx_bytes += m->pkt_len;
	if (unlikely(uvs_sums_bad(m->ol_flags))) {
		uvs_inst_lost(in, UVS_LOST_RX_BAD_CHECKSUM, m);
		rte_pktmbuf_free(m);
		return;
	}
	if (unlikely(n == NULL)) {
		uvs_inst_lost(in, UVS_LOST_RX_VLAN, m);
		rte_pktmbuf_free(m);
		return;
	}
	in->lwip->rx_joined = (m->ol_flags & RTE_MBUF_F_RX_LRO) != 0;
	in->seen->port.rx_joined += in->lwip->rx_joined;
	if (unlikely(in->lwip->rx_joined))
		spare_memory(in, m);
	n->chksum_flags = (uint16_t)((n->chksum_flags & ~ALL_CHECKS) | checks_left(m));
	p = uvs_pbuf_wrap(m);
	in->rx_frame = m;
	if (n->input(p, n) != ERR_OK) {
		uvs_inst_lost(in, UVS_LOST_RX_REFUSED, m);
		pbuf_free(p);
	}
}

/* Frames to oneself never met a NIC: sums that were left to it are missing, and nothing could have
 * changed them. lwIP empties the queue, what is answered meanwhile included; the windows bound it.
 */
static bool
hairpin(struct netif *n)
{
	if (n->loop_first == NULL)
		return false;
	uvl_self->rx_joined = false;
	n->chksum_flags &= (uint16_t)~ALL_CHECKS;
	netif_poll(n);
	return true;
}

/* One of them that another instance of this process has sent. */
void
uvs_netif_receive_lo(struct uvs_instance *in, struct rte_mbuf *m)
{
	struct pbuf *p = uvs_pbuf_wrap(m);

	in->lwip->rx_joined = false;
	pbuf_remove_header(p, sizeof(struct rte_ether_hdr));
	if (ip_input(p, &in->lo) != ERR_OK)
		pbuf_free(p);
}

/* From lwIP: one of them. It may be for another process. */
err_t
uvl_loop_input(struct pbuf *p, struct netif *n)
{
	struct uvs_instance *in = n->state;

	bool lo = n == &in->lo;

	if (likely(in->share == NULL) || (lo && !uvs_share_has_lo(in->share)))
		return ip_input(p, n);
	uvs_share_loop(in, p, lo);
	pbuf_free(p);
	return ERR_OK;
}

bool
uvs_netif_hairpin(struct uvs_instance *in)
{
	unsigned int n = hairpin(&in->netif);

	n += hairpin(&in->lo);
	for (unsigned int i = 0; i < in->nvlans; i++)
		n += hairpin(&in->vlan[i].netif);
	return n != 0;
}

/* ----------------------------------------------------------------------------------- transmit */

/* The NIC wants lengths, flags and, in the L4 checksum field, the sum of the pseudo header. Only
 * for what lwIP left undone: the IPv4 header always, L4 unless it is a fragment or (UDP) already
 * has a checksum. */
static void
offload_ipv4(const struct uvs_port *port, struct rte_mbuf *m, struct rte_ipv4_hdr *ip, bool summed)
{
	bool fragment = (ip->fragment_offset & rte_cpu_to_be_16(0x3fff)) != 0;
	unsigned int l3 = rte_ipv4_hdr_len(ip);
	void *l4 = (char *)ip + l3;

	m->l2_len = sizeof(struct rte_ether_hdr);
	m->l3_len = l3;
	if (port->tx_offloads & RTE_ETH_TX_OFFLOAD_IPV4_CKSUM) {
		m->ol_flags |= RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IP_CKSUM;
		ip->hdr_checksum = 0;
	}
	if (fragment || summed)
		return;
	if (ip->next_proto_id == IPPROTO_TCP &&
	    (port->tx_offloads & RTE_ETH_TX_OFFLOAD_TCP_CKSUM)) {
		m->ol_flags |= RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_TCP_CKSUM;
		((struct rte_tcp_hdr *)l4)->cksum = rte_ipv4_phdr_cksum(ip, m->ol_flags);
	} else if (ip->next_proto_id == IPPROTO_UDP &&
		   (port->tx_offloads & RTE_ETH_TX_OFFLOAD_UDP_CKSUM) &&
		   ((struct rte_udp_hdr *)l4)->dgram_cksum == 0) {
		m->ol_flags |= RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_UDP_CKSUM;
		((struct rte_udp_hdr *)l4)->dgram_cksum = rte_ipv4_phdr_cksum(ip, m->ol_flags);
	}
}

static void
offload_ipv6(const struct uvs_port *port, struct rte_mbuf *m, struct rte_ipv6_hdr *ip)
{
	void *l4 = ip + 1;

	m->l2_len = sizeof(struct rte_ether_hdr);
	m->l3_len = sizeof(*ip);
	if (ip->proto == IPPROTO_TCP && (port->tx_offloads & RTE_ETH_TX_OFFLOAD_TCP_CKSUM)) {
		m->ol_flags |= RTE_MBUF_F_TX_IPV6 | RTE_MBUF_F_TX_TCP_CKSUM;
		((struct rte_tcp_hdr *)l4)->cksum = rte_ipv6_phdr_cksum(ip, m->ol_flags);
	} else if (ip->proto == IPPROTO_UDP && (port->tx_offloads & RTE_ETH_TX_OFFLOAD_UDP_CKSUM) &&
		   ((struct rte_udp_hdr *)l4)->dgram_cksum == 0) {
		m->ol_flags |= RTE_MBUF_F_TX_IPV6 | RTE_MBUF_F_TX_UDP_CKSUM;
		((struct rte_udp_hdr *)l4)->dgram_cksum = rte_ipv6_phdr_cksum(ip, m->ol_flags);
	}
}

#define TX_CHECKSUMS                                                    \
	(RTE_ETH_TX_OFFLOAD_IPV4_CKSUM | RTE_ETH_TX_OFFLOAD_UDP_CKSUM | \
	 RTE_ETH_TX_OFFLOAD_TCP_CKSUM)

static void
offload(const struct uvs_port *port, struct rte_mbuf *m, bool summed)
{
	struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, struct rte_ether_hdr *);

	if ((port->tx_offloads & TX_CHECKSUMS) == 0)
		return;
	if (eth->ether_type == rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4))
		offload_ipv4(port, m, (struct rte_ipv4_hdr *)(eth + 1), summed);
	else if (!summed && eth->ether_type == rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV6))
		offload_ipv6(port, m, (struct rte_ipv6_hdr *)(eth + 1));
}

/* Copies are for frames that are not one whole mbuf of ours: rare, but for net_ring. Takes from the
 * receive reserve if it must, since it gives the frame its only chance and is freed soon. */
static struct rte_mbuf *
copy_frame(struct uvs_instance *in, const struct pbuf *p)
{
	/* What the NIC receives into is not for sending. */
	bool room = uvs_mem_avail(&in->mem) > in->mem.reserve / 2;
	struct rte_mbuf *m = room ? rte_pktmbuf_alloc(in->mem.pool) : NULL;
	char *to;

	in->seen->port.tx_copied++;
	if (m == NULL || (to = rte_pktmbuf_append(m, p->tot_len)) == NULL) {
		rte_pktmbuf_free(m);
		uvs_inst_lost(in, UVS_LOST_TX_NO_MBUF, NULL);
		return NULL;
	}
	pbuf_copy_partial(p, to, p->tot_len, 0);
	return m;
}

/* The pbuf's own mbuf, with a reference for the NIC; NULL if the frame must be copied: it is in no
 * mbuf of ours, in several, or the NIC still holds it from the last time. */
static struct rte_mbuf *
share_frame(struct uvs_instance *in, const struct pbuf *p)
{
	struct rte_mbuf *m;

	if (p->next != NULL || in->port.copy_tx)
		return NULL;
	m = uvs_pbuf_mbuf(&in->mem, p);
	if (m == NULL || rte_mbuf_refcnt_read(m) != 1)
		return NULL;
	rte_mbuf_refcnt_set(m, 2);
	m->data_off = (uint16_t)((char *)p->payload - (char *)m->buf_addr);
	m->data_len = p->len;
	m->pkt_len = p->len;
	m->ol_flags = 0;
	/* It may have been sent before, in a chain. */
	m->next = NULL;
	m->nb_segs = 1;
	return m;
}

static err_t
link_output(struct netif *n, struct pbuf *p)
{
	struct uvs_instance *in = n->state;
	struct rte_mbuf *m = share_frame(in, p);

	if (m == NULL)
		m = copy_frame(in, p);
	if (m == NULL)
		return ERR_MEM;
	offload(&in->port, m, p->flags & UVS_PBUF_SUMMED);
	if (n != &in->netif)
		uvs_vlan_tag(&in->port, m, container_of(n, struct uvs_vlan, netif)->id);
	uvs_port_send(&in->port, m);
	return ERR_OK;
}

/* ----------------------------------------------------------------------------------- the netif */

static uint16_t
sums_to_make(const struct uvs_port *p)
{
	uint16_t flags = NETIF_CHECKSUM_ENABLE_ALL;

	if (p->tx_offloads & RTE_ETH_TX_OFFLOAD_IPV4_CKSUM)
		flags &= (uint16_t)~NETIF_CHECKSUM_GEN_IP;
	if (p->tx_offloads & RTE_ETH_TX_OFFLOAD_TCP_CKSUM)
		flags &= (uint16_t)~NETIF_CHECKSUM_GEN_TCP;
	if (p->tx_offloads & RTE_ETH_TX_OFFLOAD_UDP_CKSUM)
		flags &= (uint16_t)~NETIF_CHECKSUM_GEN_UDP;
	return flags;
}

/* The port hears what the host has joined. IGMP and MLD tell of every group; several may share an
 * Ethernet address (RFC 1112, 6.4; RFC 2464, 7). */
static err_t
filter(struct netif *n, const struct rte_ether_addr *mac, enum netif_mac_filter_action action)
{
	struct uvs_instance *in = n->state;

	if (action == NETIF_ADD_MAC_FILTER)
		uvs_port_hear(&in->port, mac);
	else
		uvs_port_unhear(&in->port, mac);
	return ERR_OK;
}

static err_t
filter_ip4(struct netif *n, const ip4_addr_t *group, enum netif_mac_filter_action action)
{
	struct rte_ether_addr mac = {
		{0x01, 0x00, 0x5e, ip4_addr2(group) & 0x7f, ip4_addr3(group), ip4_addr4(group)}};

	return filter(n, &mac, action);
}

static err_t
filter_ip6(struct netif *n, const ip6_addr_t *group, enum netif_mac_filter_action action)
{
	struct rte_ether_addr mac = {{0x33, 0x33}};

	memcpy(&mac.addr_bytes[2], &group->addr[3], 4);
	return filter(n, &mac, action);
}

static err_t
netif_init_port(struct netif *n)
{
	struct uvs_instance *in = n->state;

	n->name[0] = 'u';
	n->name[1] = 'v';
	n->mtu = in->port.mtu;
	n->hwaddr_len = ETH_HWADDR_LEN;
	memcpy(n->hwaddr, in->port.mac.addr_bytes, ETH_HWADDR_LEN);
	n->flags = NETIF_FLAG_BROADCAST | NETIF_FLAG_ETHARP | NETIF_FLAG_ETHERNET |
		   NETIF_FLAG_IGMP | NETIF_FLAG_MLD6 | NETIF_FLAG_LINK_UP;
	n->output = etharp_output;
	n->output_ip6 = ethip6_output;
	n->linkoutput = link_output;
	n->num = UVS_IFINDEX_PORT - 1;
	n->igmp_mac_filter = filter_ip4;
	n->mld_mac_filter = filter_ip6;
	NETIF_SET_CHECKSUM_CTRL(n, sums_to_make(&in->port));
	return ERR_OK;
}

static err_t
netif_init_vlan(struct netif *n)
{
	const struct uvs_instance *in = n->state;
	const struct uvs_vlan *v = container_of(n, struct uvs_vlan, netif);
	err_t e = netif_init_port(n);

	n->num = (uint8_t)(UVS_IFINDEX_VLAN - 1 + (v - in->vlan));
	return e;
}

static int
add_vlans(struct uvs_instance *in)
{
	for (unsigned int i = 0; i < in->conf->vlans.n; i++) {
		struct uvs_vlan *v = &in->vlan[i];

		v->id = in->conf->vlans.vlan[i].id;
		if (netif_add(&v->netif, NULL, NULL, NULL, in, netif_init_vlan, ethernet_input) ==
		    NULL)
			return -ENOMEM;
		netif_set_up(&v->netif);
		in->nvlans++;
	}
	return 0;
}

static err_t
lo_output(struct netif *n, struct pbuf *p, const ip4_addr_t *to)
{
	(void)to;
	return netif_loop_output(n, p);
}

static err_t
lo_output_ip6(struct netif *n, struct pbuf *p, const ip6_addr_t *to)
{
	(void)to;
	return netif_loop_output(n, p);
}

static err_t
netif_init_lo(struct netif *n)
{
	n->name[0] = 'l';
	n->name[1] = 'o';
	n->mtu = 1500; /* as the port's: one MSS for all */
	n->num = UVS_IFINDEX_LO - 1;
	n->flags = NETIF_FLAG_LINK_UP;
	n->output = lo_output;
	n->output_ip6 = lo_output_ip6;
	/* Nothing can change a frame between the two ends. */
	NETIF_SET_CHECKSUM_CTRL(n, NETIF_CHECKSUM_DISABLE_ALL);
	return ERR_OK;
}

static int
add_lo(struct uvs_instance *in)
{
	ip4_addr_t addr, mask, gw = {0};

	IP4_ADDR(&addr, 127, 0, 0, 1);
	IP4_ADDR(&mask, 255, 0, 0, 0);
	if (netif_add(&in->lo, &addr, &mask, &gw, in, netif_init_lo, ip_input) == NULL)
		return -ENOMEM;
	netif_set_up(&in->lo);
	if (uvs_conf_has_ipv6(in->conf)) {
		IP_ADDR6_HOST(&in->lo.ip6_addr[0], 0, 0, 0, 1);
		netif_ip6_addr_set_state(&in->lo, 0, IP6_ADDR_PREFERRED);
	}
	return 0;
}

int
uvs_netif_add(struct uvs_instance *in)
{
	if (netif_add(&in->netif, NULL, NULL, NULL, in, netif_init_port, ethernet_input) == NULL)
		return -ENOMEM;
	netif_set_default(&in->netif);
	netif_set_up(&in->netif);
	if (add_vlans(in) < 0)
		return -ENOMEM;
	uvs_addresses_add(in);
	return in->conf->loopback == UVS_LOOPBACK_STACK ? add_lo(in) : 0;
}
