/* SPDX-License-Identifier: BSD-3-Clause */
#include "stack/core/tso.h"

#include <string.h>

#define ONE_BY_ONE                                                                   \
	(RTE_TCP_SYN_FLAG | RTE_TCP_FIN_FLAG | RTE_TCP_RST_FLAG | RTE_TCP_URG_FLAG | \
	 RTE_TCP_CWR_FLAG)

/* A frame that lwIP has made: its headers lie in one piece. */
struct segment {
	struct rte_ether_hdr *eth;
	struct rte_tcp_hdr *tcp;
	uint16_t headers, payload;
};

static inline bool
is_ipv4(const struct rte_mbuf *m)
{
	return (m->ol_flags & RTE_MBUF_F_TX_IPV4) != 0;
}

static inline unsigned int
tcp_length(const struct rte_tcp_hdr *tcp)
{
	return (tcp->data_off >> 4) * 4u;
}

/* False: no TCP, nothing in it, or something that goes alone. */
static bool
parse(struct segment *s, const struct rte_mbuf *m)
{
	struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, struct rte_ether_hdr *);

	if ((m->ol_flags & RTE_MBUF_F_TX_L4_MASK) != RTE_MBUF_F_TX_TCP_CKSUM)
		return false;
	s->eth = eth;
	s->tcp = (struct rte_tcp_hdr *)((char *)eth + m->l2_len + m->l3_len);
	s->headers = (uint16_t)(m->l2_len + m->l3_len + tcp_length(s->tcp));
	s->payload = (uint16_t)(m->pkt_len - s->headers);
	return m->nb_segs == 1 && m->pkt_len > s->headers && (s->tcp->tcp_flags & ONE_BY_ONE) == 0;
}

/* b, of IPv4, would be packet n behind a. */
static bool
follows_ipv4(const struct rte_ipv4_hdr *a, const struct rte_ipv4_hdr *b, uint16_t n)
{
	uint16_t id = (uint16_t)(rte_be_to_cpu_16(a->packet_id) + n);

	return a->version_ihl == b->version_ihl && a->type_of_service == b->type_of_service &&
	       a->fragment_offset == b->fragment_offset && a->time_to_live == b->time_to_live &&
	       a->src_addr == b->src_addr && a->dst_addr == b->dst_addr &&
	       id == rte_be_to_cpu_16(b->packet_id);
}

static bool
follows_ipv6(const struct rte_ipv6_hdr *a, const struct rte_ipv6_hdr *b)
{
	return a->vtc_flow == b->vtc_flow && a->hop_limits == b->hop_limits &&
	       memcmp(a->src_addr, b->src_addr, 2 * sizeof(a->src_addr)) == 0;
}

static bool
follows_tcp(const struct rte_tcp_hdr *a, const struct rte_tcp_hdr *b)
{
	return a->src_port == b->src_port && a->dst_port == b->dst_port &&
	       a->recv_ack == b->recv_ack && a->data_off == b->data_off && a->rx_win == b->rx_win &&
	       ((a->tcp_flags ^ b->tcp_flags) & ~RTE_TCP_PSH_FLAG) == 0 &&
	       memcmp(a + 1, b + 1, tcp_length(a) - sizeof(*a)) == 0;
}

/* One that the NIC is to make. */
static bool
same_tag(const struct rte_mbuf *a, const struct rte_mbuf *b)
{
	return (a->ol_flags & RTE_MBUF_F_TX_VLAN) == 0 || a->vlan_tci == b->vlan_tci;
}

static bool
follows(const struct uvs_tso *t, const struct segment *b)
{
	struct rte_ether_hdr *eth = rte_pktmbuf_mtod(t->head, struct rte_ether_hdr *);
	const void *ip_a = (char *)eth + t->head->l2_len, *ip_b = (char *)b->eth + t->head->l2_len;
	const struct rte_tcp_hdr *tcp = (const void *)((const char *)ip_a + t->head->l3_len);

	return rte_be_to_cpu_32(b->tcp->sent_seq) == t->next_seq && b->payload <= t->payload &&
	       memcmp(eth, b->eth, t->head->l2_len) == 0 &&
	       (is_ipv4(t->head) ? follows_ipv4(ip_a, ip_b, t->segments)
				 : follows_ipv6(ip_a, ip_b)) &&
	       follows_tcp(tcp, b->tcp);
}

/* What the NIC wants to see in the headers that it repeats. */
static void
describe(struct rte_mbuf *head, uint16_t payload)
{
	struct rte_ether_hdr *eth = rte_pktmbuf_mtod(head, struct rte_ether_hdr *);
	void *ip = (char *)eth + head->l2_len;
	struct rte_tcp_hdr *tcp = (struct rte_tcp_hdr *)((char *)ip + head->l3_len);
	uint32_t len = head->pkt_len - head->l2_len;

	head->ol_flags |= RTE_MBUF_F_TX_TCP_SEG;
	head->tso_segsz = payload;
	head->l4_len = tcp_length(tcp);
	if (is_ipv4(head)) {
		((struct rte_ipv4_hdr *)ip)->total_length = rte_cpu_to_be_16((uint16_t)len);
		tcp->cksum = rte_ipv4_phdr_cksum(ip, head->ol_flags);
	} else {
		((struct rte_ipv6_hdr *)ip)->payload_len =
			rte_cpu_to_be_16((uint16_t)(len - sizeof(struct rte_ipv6_hdr)));
		tcp->cksum = rte_ipv6_phdr_cksum(ip, head->ol_flags);
	}
}

void
uvs_tso_finish(struct uvs_tso *t)
{
	if (t->segments > 1)
		describe(t->head, t->payload);
	t->head = NULL;
}

static void
append(struct uvs_tso *t, struct rte_mbuf *m, const struct segment *s)
{
	struct rte_tcp_hdr *tcp =
		rte_pktmbuf_mtod_offset(t->head, void *, t->head->l2_len + t->head->l3_len);

	tcp->tcp_flags |= s->tcp->tcp_flags & RTE_TCP_PSH_FLAG;
	m->data_off = (uint16_t)(m->data_off + s->headers);
	m->data_len = s->payload;
	m->pkt_len = s->payload;
	m->ol_flags = 0;
	t->tail->next = m;
	t->tail = m;
	t->head->nb_segs++;
	t->head->pkt_len += s->payload;
	t->segments++;
	t->next_seq += s->payload;
}

bool
uvs_tso_join(struct uvs_tso *t, struct rte_mbuf *m)
{
	struct segment s;

	if (!parse(&s, m) || t->head->ol_flags != m->ol_flags || !same_tag(t->head, m) ||
	    t->head->pool != m->pool || !follows(t, &s) ||
	    t->head->pkt_len + s.payload > UVS_SUPER_FRAME || t->head->nb_segs == t->most)
		return false;
	append(t, m, &s);
	if (s.payload < t->payload)
		uvs_tso_finish(t);
	return true;
}

void
uvs_tso_begin(struct uvs_tso *t, struct rte_mbuf *m)
{
	struct segment s;

	if (t->most == 0 || !parse(&s, m))
		return;
	t->head = t->tail = m;
	t->payload = s.payload;
	t->segments = 1;
	t->next_seq = rte_be_to_cpu_32(s.tcp->sent_seq) + s.payload;
}
