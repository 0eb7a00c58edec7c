/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the kernel does when a process is killed: its peers hear RST at once, rather than wait for
 * their retransmissions to end.
 *
 * The PCB table and the neighbour table of the dead lie in shared memory. It may have died in the
 * middle of a write, and may have been wrong or wicked before: every field is checked, no pointer
 * is followed, and no more frames are sent than there are entries. A peer whose sequence numbers do
 * not fit ignores what we say, as it would any stray segment (RFC 5961). */
#include "stack/core/instance.h"
#include "stack/core/log.h"
#include "stack/mgr/mgr.h"
#include "stack/mgr/pcbs.h"

#include <string.h>

#define BURST 32

struct sender {
	struct mgr *m;
	int queue;      /* that nobody has; -1: there is none ... */
	uint32_t proxy; /* ... and a living stack that has one sends; 0: none */
	struct rte_mempool *pool;
	struct rte_mbuf *frame[BURST];
	uint16_t n;
	uint32_t sent;
};

/* As a stack without transmit queue does it. Returns how many. */
static uint16_t
hand_over(struct sender *s)
{
	struct uvs_softq_end *boss = &s->m->boss;
	uint16_t i;

	for (i = 0; i < s->n; i++) {
		struct uvs_mbuf_priv *priv = uvs_mbuf_priv(s->frame[i]);

		priv->way = UVS_WAY_OUT;
		if (!uvs_softq_stage(boss, s->proxy, priv->label.ref))
			break;
	}
	uvs_softq_publish(boss);
	slots_wake(s->m, boss->to_ring);
	return i;
}

static void
flush(struct sender *s)
{
	uint16_t sent =
		s->queue < 0 ? hand_over(s)
			     : rte_eth_tx_burst(s->m->port.id, (uint16_t)s->queue, s->frame, s->n);

	s->sent += sent;
	rte_pktmbuf_free_bulk(s->frame + sent, s->n - sent);
	s->n = 0;
}

#define TTL 64

static void
put_ether(const struct mgr *m, struct rte_ether_hdr *eth, const uint8_t mac[6], uint16_t type)
{
	memcpy(eth->dst_addr.addr_bytes, mac, 6);
	memcpy(eth->src_addr.addr_bytes, m->host->mac, 6);
	eth->ether_type = rte_cpu_to_be_16(type);
}

static void
put_ip4(struct rte_ipv4_hdr *ip, const struct pcb_view *v)
{
	*ip = (struct rte_ipv4_hdr){
		.version_ihl = RTE_IPV4_VHL_DEF,
		.total_length = rte_cpu_to_be_16(sizeof(*ip) + sizeof(struct rte_tcp_hdr)),
		.time_to_live = TTL,
		.next_proto_id = IPPROTO_TCP,
		.src_addr = v->local,
		.dst_addr = v->remote,
	};
	ip->hdr_checksum = rte_ipv4_cksum(ip);
}

static void
put_ip6(struct rte_ipv6_hdr *ip, const struct pcb_view *v)
{
	*ip = (struct rte_ipv6_hdr){
		.vtc_flow = rte_cpu_to_be_32(6u << 28),
		.payload_len = rte_cpu_to_be_16(sizeof(struct rte_tcp_hdr)),
		.proto = IPPROTO_TCP,
		.hop_limits = TTL,
	};
	memcpy(ip->src_addr, v->local6, sizeof(ip->src_addr));
	memcpy(ip->dst_addr, v->remote6, sizeof(ip->dst_addr));
}

/* <SEQ=snd_nxt><ACK=rcv_nxt><CTL=RST,ACK>: acceptable wherever the connection is synchronised. */
static void
put_tcp(struct rte_tcp_hdr *tcp, const struct pcb_view *v)
{
	*tcp = (struct rte_tcp_hdr){
		.src_port = rte_cpu_to_be_16(v->lport),
		.dst_port = rte_cpu_to_be_16(v->rport),
		.sent_seq = rte_cpu_to_be_32(v->snd_nxt),
		.recv_ack = rte_cpu_to_be_32(v->rcv_nxt),
		.data_off = sizeof(*tcp) / 4 << 4,
		.tcp_flags = RTE_TCP_RST_FLAG | RTE_TCP_ACK_FLAG,
	};
}

static void
put_reset4(const struct mgr *m, struct rte_ether_hdr *eth, const struct pcb_view *v,
	   const uint8_t mac[6])
{
	struct rte_ipv4_hdr *ip = (void *)(eth + 1);
	struct rte_tcp_hdr *tcp = (void *)(ip + 1);

	put_ether(m, eth, mac, RTE_ETHER_TYPE_IPV4);
	put_ip4(ip, v);
	put_tcp(tcp, v);
	tcp->cksum = rte_ipv4_udptcp_cksum(ip, tcp);
}

static void
put_reset6(const struct mgr *m, struct rte_ether_hdr *eth, const struct pcb_view *v,
	   const uint8_t mac[6])
{
	struct rte_ipv6_hdr *ip = (void *)(eth + 1);
	struct rte_tcp_hdr *tcp = (void *)(ip + 1);

	put_ether(m, eth, mac, RTE_ETHER_TYPE_IPV6);
	put_ip6(ip, v);
	put_tcp(tcp, v);
	tcp->cksum = rte_ipv6_udptcp_cksum(ip, tcp);
}

static void
send_reset(struct sender *s, const struct pcb_view *v, const uint8_t mac[6])
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(s->pool);
	size_t ip = v->is_v4 ? sizeof(struct rte_ipv4_hdr) : sizeof(struct rte_ipv6_hdr);
	struct rte_ether_hdr *eth;

	if (m == NULL)
		return;
	eth = (void *)rte_pktmbuf_append(
		m, (uint16_t)(sizeof(*eth) + ip + sizeof(struct rte_tcp_hdr)));
	if (v->is_v4)
		put_reset4(s->m, eth, v, mac);
	else
		put_reset6(s->m, eth, v, mac);
	s->frame[s->n++] = m;
	if (s->n == BURST)
		flush(s);
}

/* Does the prefix of `net` cover the address? */
static bool
covers4(const struct uvs_conf_net *net, uint32_t addr)
{
	uint32_t mask = net->prefix == 0 ? 0 : htonl(0xffffffffu << (32 - net->prefix));

	return ((addr ^ net->v4.s_addr) & mask) == 0;
}

/* One of the host's addresses, as far as its configuration says: nothing is sent from another. */
static bool
is_local(const struct mgr *m, const struct pcb_view *v)
{
	const struct uvs_conf_nets *nets = v->is_v4 ? &m->conf.addresses : &m->conf.addresses6;

	for (unsigned int i = 0; i < nets->n; i++)
		if (v->is_v4 ? nets->net[i].v4.s_addr == v->local
			     : memcmp(&nets->net[i].v6, v->local6, sizeof(v->local6)) == 0)
			return true;
	return !v->is_v4 &&
	       (nets->automatic || IN6_IS_ADDR_LINKLOCAL((const struct in6_addr *)v->local6));
}

/* Synchronised, or on the way there; not one that is over. */
static bool
wants_reset(const struct mgr *m, const struct pcb_view *v)
{
	return v->lport != 0 && v->rport != 0 && v->state >= SYN_RCVD && v->state <= CLOSING &&
	       is_local(m, v);
}

/* The next hop to an IPv4 peer: itself, or a router. */
static uint32_t
next_hop4(const struct mgr *m, uint32_t remote)
{
	const struct uvs_conf_route *best = NULL;

	for (unsigned int i = 0; i < m->conf.addresses.n; i++)
		if (covers4(&m->conf.addresses.net[i], remote))
			return remote;
	for (unsigned int i = 0; i < m->conf.routes.n; i++) {
		const struct uvs_conf_route *r = &m->conf.routes.route[i];

		if (r->dest.family == AF_INET && covers4(&r->dest, remote) &&
		    (best == NULL || r->dest.prefix > best->dest.prefix))
			best = r;
	}
	return best != NULL ? best->via.v4.s_addr : m->host->gateway;
}

static bool
find_mac(const struct mgr *m, uint32_t slot, const struct pcb_view *v, uint8_t mac[6])
{
	if (v->is_v4)
		return neighbour_find(m->host, slot, next_hop4(m, v->remote), mac);
	return next_hop6_find(m->host, slot, v->remote6, mac);
}

/* The queue of a dead slot has been reset and is nobody's; one without uses that of any other such
 * slot. -1: all are somebody's. */
static int
free_queue(const struct mgr *m, uint32_t slot)
{
	if (uvs_slot_queue(m->host, slot) >= 0)
		return uvs_slot_queue(m->host, slot);
	for (uint32_t i = 1; i <= m->host->nb_queues; i++)
		if ((m->used >> i & 1) == 0)
			return uvs_slot_queue(m->host, i);
	return -1;
}

static uint32_t
stack_with_queue(const struct mgr *m)
{
	for (uint32_t i = 1; i <= m->host->nb_queues; i++)
		if (uvs_softq_up(&m->boss, i))
			return i;
	return 0;
}

uint32_t
reset_peers(struct mgr *m, uint32_t slot)
{
	const struct uvs_slot *dead = &m->host->slot[slot];
	struct sender s = {.m = m, .pool = dead->pool, .queue = free_queue(m, slot)};
	uint8_t mac[6];

	if (s.queue < 0)
		s.proxy = stack_with_queue(m);
	for (uint32_t i = 0; i < m->host->nb_pcbs && (s.queue >= 0 || s.proxy != 0); i++) {
		struct pcb_view v;

		if (pcb_read(m->host, slot, i, &v) && wants_reset(m, &v) &&
		    find_mac(m, slot, &v, mac))
			send_reset(&s, &v, mac);
	}
	if (s.n > 0)
		flush(&s);
	return s.sent;
}
