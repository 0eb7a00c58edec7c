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
	uint16_t queue;
	struct rte_mempool *pool;
	struct rte_mbuf *frame[BURST];
	uint16_t n;
	uint32_t sent;
};

static void
flush(struct sender *s)
{
	uint16_t sent = rte_eth_tx_burst(s->m->port.id, s->queue, s->frame, s->n);

	s->sent += sent;
	rte_pktmbuf_free_bulk(s->frame + sent, s->n - sent);
	s->n = 0;
}

static void
put_ether(const struct mgr *m, struct rte_ether_hdr *eth, const uint8_t mac[6])
{
	memcpy(eth->dst_addr.addr_bytes, mac, 6);
	memcpy(eth->src_addr.addr_bytes, m->host->mac, 6);
	eth->ether_type = rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4);
}

static void
put_ip(struct rte_ipv4_hdr *ip, const struct pcb_view *v)
{
	*ip = (struct rte_ipv4_hdr){
		.version_ihl = RTE_IPV4_VHL_DEF,
		.total_length = rte_cpu_to_be_16(sizeof(*ip) + sizeof(struct rte_tcp_hdr)),
		.time_to_live = 64,
		.next_proto_id = IPPROTO_TCP,
		.src_addr = v->local,
		.dst_addr = v->remote,
	};
	ip->hdr_checksum = rte_ipv4_cksum(ip);
}

/* <SEQ=snd_nxt><ACK=rcv_nxt><CTL=RST,ACK>: acceptable wherever the connection is synchronised. */
static void
put_tcp(struct rte_tcp_hdr *tcp, const struct rte_ipv4_hdr *ip, const struct pcb_view *v)
{
	*tcp = (struct rte_tcp_hdr){
		.src_port = rte_cpu_to_be_16(v->lport),
		.dst_port = rte_cpu_to_be_16(v->rport),
		.sent_seq = rte_cpu_to_be_32(v->snd_nxt),
		.recv_ack = rte_cpu_to_be_32(v->rcv_nxt),
		.data_off = sizeof(*tcp) / 4 << 4,
		.tcp_flags = RTE_TCP_RST_FLAG | RTE_TCP_ACK_FLAG,
	};
	tcp->cksum = rte_ipv4_udptcp_cksum(ip, tcp);
}

static void
send_reset(struct sender *s, const struct pcb_view *v, const uint8_t mac[6])
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(s->pool);
	struct rte_ether_hdr *eth;
	struct rte_ipv4_hdr *ip;

	if (m == NULL)
		return;
	eth = (void *)rte_pktmbuf_append(m,
					 sizeof(*eth) + sizeof(*ip) + sizeof(struct rte_tcp_hdr));
	ip = (void *)(eth + 1);
	put_ether(s->m, eth, mac);
	put_ip(ip, v);
	put_tcp((void *)(ip + 1), ip, v);
	s->frame[s->n++] = m;
	if (s->n == BURST)
		flush(s);
}

/* Synchronised, or on the way there; not one that is over. */
static bool
wants_reset(const struct mgr *m, const struct pcb_view *v)
{
	return v->is_v4 && v->local == m->host->address && v->lport != 0 && v->rport != 0 &&
	       v->state >= SYN_RCVD && v->state <= CLOSING;
}

/* The next hop: the peer, or the gateway. */
static uint32_t
next_hop(const struct mgr *m, uint32_t remote)
{
	uint32_t mask = htonl(0xffffffffu << (32 - m->host->prefix));

	return ((remote ^ m->host->address) & mask) == 0 ? remote : m->host->gateway;
}

/* The queue of a dead slot has been reset and is nobody's; one without uses that of any other such
 * slot. */
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

uint32_t
reset_peers(struct mgr *m, uint32_t slot)
{
	const struct uvs_slot *dead = &m->host->slot[slot];
	struct sender s = {.m = m, .pool = dead->pool};
	int queue = free_queue(m, slot);
	uint8_t mac[6];

	s.queue = (uint16_t)queue;
	for (uint32_t i = 0; i < m->host->nb_pcbs && queue >= 0; i++) {
		struct pcb_view v;

		if (pcb_read(m->host, slot, i, &v) && wants_reset(m, &v) &&
		    neighbour_find(m->host, slot, next_hop(m, v.remote), mac))
			send_reset(&s, &v, mac);
	}
	if (s.n > 0)
		flush(&s);
	return s.sent;
}
