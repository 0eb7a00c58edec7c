/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Frames between lwIP and the port: segments that a port with TSO gets as one, and tags that a port
 * cannot make or take off.
 */
#include <string.h>

#include "stack/core/tso.h"
#include "stack/core/vlan.h"
#include "uvbridge/test.h"

#define BUF     2048
#define HEADERS (14 + 20 + 20)

static struct frame {
	struct rte_mbuf m;
	char buf[BUF];
} frames[4];

/* Segment i of a stream, of `payload` bytes, each of the value i. */
static struct rte_mbuf *
segment(unsigned int i, uint32_t seq, uint16_t payload)
{
	struct frame *f = &frames[i];
	struct rte_ether_hdr *eth;
	struct rte_ipv4_hdr *ip;
	struct rte_tcp_hdr *tcp;

	memset(f, 0, sizeof(*f));
	f->m.buf_addr = f->buf;
	f->m.buf_len = BUF;
	f->m.data_off = 128;
	f->m.nb_segs = 1;
	f->m.data_len = (uint16_t)(HEADERS + payload);
	f->m.pkt_len = f->m.data_len;
	f->m.l2_len = 14;
	f->m.l3_len = 20;
	f->m.ol_flags = RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IP_CKSUM | RTE_MBUF_F_TX_TCP_CKSUM;
	eth = rte_pktmbuf_mtod(&f->m, struct rte_ether_hdr *);
	eth->ether_type = rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4);
	ip = (struct rte_ipv4_hdr *)(eth + 1);
	ip->version_ihl = 0x45;
	ip->next_proto_id = 6;
	ip->packet_id = rte_cpu_to_be_16((uint16_t)i);
	tcp = (struct rte_tcp_hdr *)(ip + 1);
	tcp->data_off = 5 << 4;
	tcp->tcp_flags = RTE_TCP_ACK_FLAG;
	tcp->sent_seq = rte_cpu_to_be_32(seq);
	memset(tcp + 1, (int)i, payload);
	return &f->m;
}

static struct rte_tcp_hdr *
tcp_of(struct rte_mbuf *m)
{
	return rte_pktmbuf_mtod_offset(m, struct rte_tcp_hdr *, 34);
}

static void
test_segments_become_one(void)
{
	struct uvs_tso t = {.most = 8};
	struct rte_mbuf *head = segment(0, 100, 1000), *m;

	uvs_tso_begin(&t, head);
	m = segment(1, 1100, 1000);
	tcp_of(m)->tcp_flags |= RTE_TCP_PSH_FLAG;
	CHECK(uvs_tso_join(&t, m));
	CHECK(uvs_tso_join(&t, segment(2, 2100, 10)));
	CHECK(t.head == NULL); /* a short one is the last */
	CHECK(head->nb_segs == 3 && head->pkt_len == HEADERS + 2010 && head->tso_segsz == 1000);
	CHECK((head->ol_flags & RTE_MBUF_F_TX_TCP_SEG) != 0 && head->l4_len == 20);
	CHECK(tcp_of(head)->tcp_flags == (RTE_TCP_ACK_FLAG | RTE_TCP_PSH_FLAG));
	CHECK(m->data_len == 1000 && *rte_pktmbuf_mtod(m, char *) == 1 && m->next != NULL);
}

/* What a port's headers would not say, each by itself. */
static void
test_what_goes_alone(void)
{
	for (int what = 0; what < 9; what++) {
		struct uvs_tso t = {.most = (uint16_t)(what == 8 ? 1 : 8)};
		struct rte_mbuf *head = segment(0, 100, 1000), *m = segment(1, 1100, 1000);
		struct rte_ipv4_hdr *ip = rte_pktmbuf_mtod_offset(m, struct rte_ipv4_hdr *, 14);

		if (what == 0)
			tcp_of(m)->tcp_flags |= RTE_TCP_FIN_FLAG;
		else if (what == 1)
			tcp_of(m)->sent_seq = rte_cpu_to_be_32(1101);
		else if (what == 2)
			tcp_of(m)->recv_ack = 1;
		else if (what == 3)
			tcp_of(m)->dst_port = 1;
		else if (what == 4)
			ip->packet_id = 0;
		else if (what == 5)
			ip->type_of_service = 1;
		else if (what == 6)
			m->data_len = (uint16_t)(m->pkt_len = HEADERS + 1001);
		else if (what == 7)
			tcp_of(m)->rx_win = 1;
		uvs_tso_begin(&t, head);
		CHECK(t.head == head);
		CHECK(!uvs_tso_join(&t, m));
		CHECK(head->nb_segs == 1 && head->pkt_len == HEADERS + 1000);
	}
}

static void
test_tags_differ(void)
{
	struct uvs_tso t = {.most = 8};
	struct rte_mbuf *head = segment(0, 100, 1000), *m = segment(1, 1100, 1000);

	head->ol_flags |= RTE_MBUF_F_TX_VLAN;
	m->ol_flags |= RTE_MBUF_F_TX_VLAN;
	head->vlan_tci = 100;
	m->vlan_tci = 200;
	uvs_tso_begin(&t, head);
	CHECK(!uvs_tso_join(&t, m));
	m->vlan_tci = 100;
	CHECK(uvs_tso_join(&t, m));
}

static void
test_tags_in_software(void)
{
	const struct uvs_port port = {.id = 0};
	struct rte_mbuf *m = segment(0, 100, 10);
	char before[HEADERS + 10];
	const uint8_t tag[] = {0x81, 0, 0, 100, 0x08, 0};

	memcpy(before, rte_pktmbuf_mtod(m, char *), sizeof(before));
	uvs_vlan_tag(&port, m, 100);
	CHECK(m->pkt_len == sizeof(before) + 4 && m->l2_len == 18);
	CHECK(memcmp(rte_pktmbuf_mtod(m, char *), before, 12) == 0);
	CHECK(memcmp(rte_pktmbuf_mtod_offset(m, char *, 12), tag, sizeof(tag)) == 0);
	m->ol_flags = 0;
	uvs_vlan_strip(&port, &m, 1);
	CHECK((m->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED) != 0 && m->vlan_tci == 100);
	CHECK(m->pkt_len == sizeof(before));
	CHECK(memcmp(rte_pktmbuf_mtod(m, char *), before, sizeof(before)) == 0);
	m->ol_flags = 0;
	uvs_vlan_strip(&port, &m, 1);
	CHECK(m->ol_flags == 0 && m->pkt_len == sizeof(before));
}

static void
test_tags_by_the_port(void)
{
	const struct uvs_port port = {.tx_offloads = RTE_ETH_TX_OFFLOAD_VLAN_INSERT};
	struct rte_mbuf *m = segment(0, 100, 10);

	uvs_vlan_tag(&port, m, 100);
	CHECK(m->pkt_len == HEADERS + 10 && m->vlan_tci == 100);
	CHECK((m->ol_flags & RTE_MBUF_F_TX_VLAN) != 0);
}

int
main(void)
{
	RUN(test_segments_become_one);
	RUN(test_what_goes_alone);
	RUN(test_tags_differ);
	RUN(test_tags_in_software);
	RUN(test_tags_by_the_port);
	return 0;
}
