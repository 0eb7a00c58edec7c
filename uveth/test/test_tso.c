/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_tso.c - super-frames: cut, sent whole, joined.
 */
#include <rte_errno.h>

#include "uveth/test/test.h"

#define RX_CSUM (RTE_ETH_RX_OFFLOAD_IPV4_CKSUM | RTE_ETH_RX_OFFLOAD_TCP_CKSUM)
#define LRO     (RTE_ETH_RX_OFFLOAD_TCP_LRO | RX_CSUM)
#define TSO                                                                                        \
	(RTE_ETH_TX_OFFLOAD_TCP_TSO | RTE_ETH_TX_OFFLOAD_UDP_TSO | RTE_ETH_TX_OFFLOAD_MULTI_SEGS | \
	 RTE_ETH_TX_OFFLOAD_VLAN_INSERT | RTE_ETH_TX_OFFLOAD_IPV4_CKSUM |                          \
	 RTE_ETH_TX_OFFLOAD_TCP_CKSUM)

static const struct setup cutting = {.tx_offloads = TSO, .rx_offloads = RX_CSUM};
static const struct setup joining = {
	.tx_offloads = TSO, .rx_offloads = LRO, .lro_max = UVB_FRAME_MAX};

static uint8_t
byte_at(uint32_t i)
{
	return i * 131 + (i >> 7);
}

/* A super-frame of `payload` bytes, its data in pieces of up to `piece`. Lengths and checksums are
 * what no receiver should see. */
static struct rte_mbuf *
super_frame(const struct port *from, const struct port *to, const struct flow *f, uint32_t payload,
	    uint16_t size, uint16_t piece)
{
	bool tcp = f->proto == IPPROTO_TCP;
	struct rte_mbuf *m = flow_frame(from, to, f, 0), *last = m;
	struct rte_tcp_hdr *th = rte_pktmbuf_mtod_offset(m, void *, m->l2_len + m->l3_len);

	for (uint32_t done = 0; done < payload;) {
		uint16_t n = RTE_MIN(payload - done, piece);
		uint8_t *at;

		last = last->next = rte_pktmbuf_alloc(from->pool);
		CHECK(last != NULL);
		at = (uint8_t *)rte_pktmbuf_append(last, n);
		for (uint16_t i = 0; i < n; i++)
			at[i] = byte_at(done + i);
		m->nb_segs++;
		m->pkt_len += n;
		done += n;
	}
	if (tcp) {
		th->tcp_flags = RTE_TCP_ACK_FLAG | RTE_TCP_PSH_FLAG | RTE_TCP_CWR_FLAG;
		th->sent_seq = RTE_BE32(0xfffff000); /* wraps on the way */
		th->cksum = 0x1234;
	}
	m->tso_segsz = size;
	m->ol_flags |= tcp ? RTE_MBUF_F_TX_TCP_SEG : RTE_MBUF_F_TX_UDP_SEG;
	m->ol_flags |=
		f->version == V6 ? RTE_MBUF_F_TX_IPV6 : RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IP_CKSUM;
	return m;
}

/* A received frame in one piece. */
struct seen {
	uint32_t len, payload;
	uint16_t id;
	const struct rte_tcp_hdr *tcp;
	const uint8_t *data;
	uint8_t bytes[70000];
};

/* Is everything the headers say of this flow's frame right? */
static void
look(struct seen *s, const struct rte_mbuf *m, const struct flow *f)
{
	const struct rte_ether_hdr *eth = (const void *)s->bytes;
	const void *l3 = eth + 1, *bytes = rte_pktmbuf_read(m, 0, m->pkt_len, s->bytes);
	const struct rte_ipv4_hdr *ip4 = l3;
	const struct rte_ipv6_hdr *ip6 = l3;
	uint32_t l3_len = f->version == V6 ? 40 : 20, hdr;
	const void *l4 = (const uint8_t *)l3 + l3_len;

	CHECK(bytes != NULL);
	if (bytes != s->bytes)
		memcpy(s->bytes, bytes, m->pkt_len);
	s->len = m->pkt_len;
	s->tcp = l4;
	hdr = f->proto == IPPROTO_TCP ? (s->tcp->data_off >> 4) * 4u : 8;
	s->data = (const uint8_t *)l4 + hdr;
	s->payload = m->pkt_len - (uint32_t)(s->data - s->bytes);
	if (f->version == V6) {
		CHECK_EQ(rte_be_to_cpu_16(ip6->payload_len), m->pkt_len - 54);
		CHECK_EQ(rte_ipv6_udptcp_cksum_verify(ip6, l4), 0);
	} else {
		s->id = rte_be_to_cpu_16(ip4->packet_id);
		CHECK_EQ(rte_be_to_cpu_16(ip4->total_length), m->pkt_len - 14);
		CHECK_EQ(rte_raw_cksum(ip4, 20), 0xffff);
		CHECK_EQ(rte_ipv4_udptcp_cksum_verify(ip4, l4), 0);
	}
	if (f->proto == IPPROTO_UDP)
		CHECK_EQ(rte_be_to_cpu_16(((const struct rte_udp_hdr *)l4)->dgram_len),
			 s->payload + 8);
}

/* Receive the payload in order, in frames of `size` each but the last. Returns how many frames. */
static uint32_t
check_segments(const struct port *b, const struct flow *f, uint32_t payload, uint32_t size)
{
	static struct seen s;
	uint32_t done = 0, n = 0;
	struct rte_mbuf *m;

	while (receive(b, 0, &m, 1) == 1) {
		look(&s, m, f);
		CHECK_EQ(s.payload, RTE_MIN(size, payload - done));
		for (uint32_t i = 0; i < s.payload; i++)
			CHECK_EQ(s.data[i], byte_at(done + i));
		if (f->version == V4)
			CHECK_EQ(s.id, n);
		if (f->proto == IPPROTO_TCP) {
			CHECK_EQ(rte_be_to_cpu_32(s.tcp->sent_seq), 0xfffff000u + done);
			CHECK_EQ((s.tcp->tcp_flags & RTE_TCP_CWR_FLAG) != 0, done == 0);
			CHECK_EQ((s.tcp->tcp_flags & RTE_TCP_PSH_FLAG) != 0,
				 done + s.payload == payload);
		}
		CHECK_EQ(m->ol_flags & RTE_MBUF_F_RX_LRO, 0);
		CHECK_EQ(m->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK, RTE_MBUF_F_RX_L4_CKSUM_GOOD);
		done += s.payload;
		n++;
		rte_pktmbuf_free(m);
	}
	CHECK_EQ(done, payload);
	return n;
}

static void
cut(void)
{
	static const uint32_t payloads[] = {1, 999, 1000, 1001, 5000, 40000, 65440};
	static const uint16_t pieces[] = {2000, 1000, 777, 511};
	struct port a, b;
	uint32_t supers = 0;

	pair_open(&a, &b, &cutting);
	for (uint32_t i = 0; i < 8 * RTE_DIM(payloads); i++) {
		struct flow f = flow_number(i, i & 1 ? V6 : V4, i & 2 ? IPPROTO_UDP : IPPROTO_TCP);
		uint32_t payload = payloads[i / 8], n = (payload + 999) / 1000;
		struct rte_mbuf *m;

		m = super_frame(&a, &b, &f, payload, 1000, pieces[payload > 60000 ? 0 : i / 2 % 4]);
		CHECK_EQ(rte_eth_tx_prepare(a.id, 0, &m, 1), 1);
		CHECK(send_one(&a, 0, m));
		CHECK_EQ(check_segments(&b, &f, payload, 1000), n);
		supers++;
	}
	CHECK_EQ(xstat(&a, "tx_tso_cut"), supers);
	CHECK_EQ(xstat(&a, "tx_tso_whole"), 0);
	CHECK_EQ(basic(&a).opackets, basic(&b).ipackets);
	CHECK_EQ(basic(&a).obytes, basic(&b).ibytes);
	pair_close(&a, &b);
}

/* Among other frames of a burst, in order; and the mbuf is not written to. */
static void
in_a_burst(void)
{
	struct flow f = flow_number(1, V4, IPPROTO_TCP);
	struct rte_mbuf *m[5], *keep;
	struct port a, b;

	pair_open(&a, &b, &cutting);
	for (int i = 0; i < 5; i += 2)
		m[i] = plain_frame(&a, &b.mac, 100 + i);
	m[1] = super_frame(&a, &b, &f, 2000, 1000, 500);
	m[3] = super_frame(&a, &b, &f, 3000, 1000, 500);
	rte_pktmbuf_refcnt_update(m[1], 1);
	keep = rte_pktmbuf_copy(m[1], a.pool, 0, UINT32_MAX);
	CHECK_EQ(rte_eth_tx_burst(a.id, 0, m, 5), 5);
	CHECK_EQ(memcmp(rte_pktmbuf_mtod(m[1], void *), rte_pktmbuf_mtod(keep, void *), 54), 0);
	rte_pktmbuf_free(keep);
	rte_pktmbuf_free(m[1]);
	for (int i = 0; i < 5; i++) {
		struct rte_mbuf *in[5];
		uint16_t n = i % 2 == 0 ? 1 : i == 1 ? 2 : 3;

		CHECK_EQ(receive(&b, 0, in, n), n);
		CHECK_EQ(in[0]->pkt_len, i % 2 == 0 ? 100 + i : 1054);
		rte_pktmbuf_free_bulk(in, n);
	}
	pair_close(&a, &b);
}

/* To a port with LRO the super-frame goes as one. */
static void
whole(void)
{
	static const uint32_t payloads[] = {3000, 9000, 40000, 65440};
	static struct seen s;
	struct port a, b;
	uint32_t n = 0;

	pair_open(&a, &b, &joining);
	for (uint32_t i = 0; i < 16; i++) {
		struct flow f = flow_number(i, i & 1 ? V6 : V4, IPPROTO_TCP);
		uint32_t payload = payloads[i / 4];
		struct rte_mbuf *m = super_frame(&a, &b, &f, payload, 1400, 1999);

		CHECK(send_one(&a, 0, m));
		m = receive_one(&b);
		look(&s, m, &f);
		CHECK_EQ(s.payload, payload);
		for (uint32_t k = 0; k < payload; k++)
			CHECK_EQ(s.data[k], byte_at(k));
		CHECK_EQ(m->ol_flags & RTE_MBUF_F_RX_LRO, RTE_MBUF_F_RX_LRO);
		CHECK_EQ(m->tso_segsz, 1400);
		CHECK_EQ(m->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK, RTE_MBUF_F_RX_L4_CKSUM_GOOD);
		CHECK_EQ(rte_be_to_cpu_32(s.tcp->sent_seq), 0xfffff000u);
		CHECK_EQ(s.tcp->tcp_flags, RTE_TCP_ACK_FLAG | RTE_TCP_PSH_FLAG | RTE_TCP_CWR_FLAG);
		rte_pktmbuf_free(m);
		n++;
	}
	CHECK_EQ(xstat(&a, "tx_tso_whole"), n);
	CHECK_EQ(basic(&a).opackets, n);
	CHECK_EQ(basic(&b).ipackets, n);
	pair_close(&a, &b);
}

/* Only as long as the receiver wants it, only if its segments fit the MTU, and not while it is
 * configured without LRO: each time it learns what is right in the next burst. */
static void
whole_if_it_fits(void)
{
	struct setup s = joining;
	struct flow f = flow_number(2, V4, IPPROTO_TCP);
	struct port a, b;

	s.lro_max = 10000;
	pair_open(&a, &b, &s);
	CHECK(send_one(&a, 0, super_frame(&a, &b, &f, 9000, 1400, 2000)));
	CHECK_EQ(receive_all(&b), 1);
	CHECK(send_one(&a, 0, super_frame(&a, &b, &f, 12000, 1400, 2000)));
	CHECK_EQ(xstat(&a, "tx_tso_cut"), 1);
	CHECK_EQ(xstat(&b, "rx_lro_joined"), 0);
	/* The first has CWR and stands alone, seven make 9,854 bytes, and one is left. */
	CHECK_EQ(receive_all(&b), 3);
	CHECK_EQ(xstat(&b, "rx_lro_joined"), 6);
	CHECK_EQ(rte_eth_dev_set_mtu(b.id, 1000), 0);
	CHECK(send_one(&a, 0, super_frame(&a, &b, &f, 9000, 1400, 2000)));
	CHECK_EQ(receive_all(&b), 1); /* the last one, of 600 bytes */
	CHECK_EQ(xstat(&b, "rx_drop_oversize"), 6);
	CHECK_EQ(rte_eth_dev_stop(b.id), 0);
	port_configure(&b, &cutting);
	CHECK(send_one(&a, 0, super_frame(&a, &b, &f, 9000, 900, 2000)));
	CHECK_EQ(receive_all(&b), 10);
	pair_close(&a, &b);
}

/* Flooded, a super-frame is cut, and each receiver makes of it what it wants. */
static void
flooded(void)
{
	struct flow f = flow_number(3, V6, IPPROTO_TCP);
	struct port a, b, c, nobody = {.mac = {{0x02, 0xee, 0, 0, 0, 7}}};
	struct rte_mbuf *m[BURST];
	static struct seen s;

	pair_open(&a, &b, &cutting);
	port_open(&c, &joining);
	CHECK_EQ(rte_eth_promiscuous_enable(b.id), 0);
	CHECK_EQ(rte_eth_promiscuous_enable(c.id), 0);
	CHECK(send_one(&a, 0, super_frame(&a, &nobody, &f, 9000, 1000, 2000)));
	CHECK_EQ(xstat(&a, "tx_tso_cut"), 1);
	CHECK_EQ(xstat(&a, "tx_flooded"), 9);
	CHECK_EQ(check_segments(&b, &f, 9000, 1000), 9);
	/* CWR is on the first only, so that one stands alone. */
	CHECK_EQ(receive(&c, 0, m, BURST), 2);
	CHECK_EQ(m[0]->pkt_len, 1074);
	look(&s, m[1], &f);
	CHECK_EQ(s.payload, 8000);
	CHECK_EQ(m[1]->tso_segsz, 1000);
	rte_pktmbuf_free_bulk(m, 2);
	port_close(&c);
	pair_close(&a, &b);
}

static void
with_a_tag(void)
{
	struct setup s = joining;
	struct flow f = flow_number(4, V4, IPPROTO_TCP);
	static struct seen seen;
	struct port a, b;
	struct rte_mbuf *m;

	s.rx_offloads |= RTE_ETH_RX_OFFLOAD_VLAN_STRIP;
	pair_open(&a, &b, &s);
	for (int i = 0; i < 2; i++) { /* whole, then cut */
		m = super_frame(&a, &b, &f, 5000, 1000, 999);
		m->ol_flags |= RTE_MBUF_F_TX_VLAN;
		m->vlan_tci = 42;
		CHECK(send_one(&a, 0, m));
		CHECK_EQ(xstat(&a, i == 0 ? "tx_tso_whole" : "tx_tso_cut"), 1);
		CHECK_EQ(receive(&b, 0, &m, 1), 1);
		look(&seen, m, &f);
		CHECK_EQ(seen.payload, i == 0 ? 5000 : 1000);
		CHECK_EQ(m->vlan_tci, 42);
		CHECK(m->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED);
		rte_pktmbuf_free(m);
		receive_all(&b);
		CHECK_EQ(rte_eth_dev_stop(b.id), 0);
		port_configure(&b, &(struct setup){.rx_offloads = RTE_ETH_RX_OFFLOAD_VLAN_STRIP});
	}
	pair_close(&a, &b);
}

static void
bad_supers(void)
{
	struct flow f = flow_number(5, V4, IPPROTO_TCP);
	struct port a, b;
	struct rte_mbuf *m[6];

	pair_open(&a, &b, &cutting);
	for (int i = 0; i < 6; i++)
		m[i] = super_frame(&a, &b, &f, i == 5 ? 66000 : 3000, 1000, 2000);
	m[0]->tso_segsz = 0;
	m[1]->l4_len = 24; /* the header says 20 */
	m[2]->l3_len = 24;
	m[3]->ol_flags ^= RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IPV6;
	m[4]->l2_len = 100;
	for (int i = 0; i < 6; i++) {
		CHECK_EQ(rte_eth_tx_prepare(a.id, 0, &m[i], 1), 0);
		CHECK_EQ(rte_errno, EINVAL);
	}
	CHECK_EQ(rte_eth_tx_burst(a.id, 0, m, 6), 6);
	CHECK_EQ(receive_all(&b), 0);
	CHECK_EQ(xstat(&a, "tx_drop_bad_offload"), 6);
	CHECK_EQ(basic(&a).oerrors, 6);
	pair_close(&a, &b);
}

/* Nobody receives, and the cells go: a super-frame waits until there is room for all of it.
 * Flooded, it may need more than that, and what finds no cell is counted, segment by segment. */
static void
no_cells(void)
{
	struct port a, b, c, nobody = {.mac = {{0x02, 0xee, 0, 0, 0, 7}}};
	struct flow f = flow_number(6, V4, IPPROTO_TCP);
	struct setup s = cutting;
	const uint32_t cells = 7 * ((9054 + UVB_CELL_ROOM - 1) / UVB_CELL_ROOM);
	uint64_t taken = 0, received;

	s.mtu = 9216;
	s.rx_offloads |= RTE_ETH_RX_OFFLOAD_SCATTER;
	pair_open(&a, &b, &s);
	while (taken < 1000 && send_one(&a, 0, super_frame(&a, &b, &f, 63000, 9000, 2000)))
		taken++;
	CHECK_EQ(taken, 1024 / cells);
	CHECK_EQ(xstat(&a, "tx_bursts_cut_short"), 1);
	CHECK_EQ(receive_all(&b), taken * 7);
	CHECK_EQ(xstat(&a, "tx_drop_no_cell"), 0);

	port_open(&c, &s);
	CHECK_EQ(rte_eth_promiscuous_enable(b.id), 0);
	CHECK_EQ(rte_eth_promiscuous_enable(c.id), 0);
	for (taken = 0; taken < 1000; taken++)
		if (!send_one(&a, 0, super_frame(&a, &nobody, &f, 63000, 9000, 2000)))
			break;
	received = receive_all(&b);
	CHECK_EQ(receive_all(&c) + xstat(&c, "rx_drop_ring_full"), received);
	CHECK(xstat(&a, "tx_drop_no_cell") > 0);
	CHECK_EQ(received + xstat(&a, "tx_drop_no_cell"), taken * 7);
	CHECK_EQ(basic(&a).oerrors, xstat(&a, "tx_drop_no_cell"));
	port_close(&c);
	pair_close(&a, &b);
}

/* ----------------------------------------------------------------------------------------- LRO */

static struct rte_mbuf *
segment(const struct port *a, const struct port *b, const struct flow *f, uint32_t seq,
	uint16_t payload, uint8_t flags)
{
	struct rte_mbuf *m = flow_frame(a, b, f, payload);
	struct rte_tcp_hdr *tcp = rte_pktmbuf_mtod_offset(m, void *, m->l2_len + m->l3_len);
	const void *l3 = rte_pktmbuf_mtod_offset(m, const void *, m->l2_len);

	tcp->sent_seq = rte_cpu_to_be_32(seq);
	tcp->tcp_flags = flags;
	for (uint16_t i = 0; i < payload; i++)
		((uint8_t *)(tcp + 1))[i] = byte_at(seq + i);
	if (f->version == V4) {
		struct rte_ipv4_hdr *ip = rte_pktmbuf_mtod_offset(m, void *, m->l2_len);

		ip->fragment_offset = RTE_BE16(RTE_IPV4_HDR_DF_FLAG);
		ip->hdr_checksum = 0;
		ip->hdr_checksum = rte_ipv4_cksum(ip);
	}
	tcp->cksum = 0;
	tcp->cksum =
		f->version == V6 ? rte_ipv6_udptcp_cksum(l3, tcp) : rte_ipv4_udptcp_cksum(l3, tcp);
	return m;
}

/* Two flows at once, of segments of every length, in one burst: one super-frame of each. */
static void
joined(void)
{
	static struct seen s;
	struct flow f[2] = {flow_number(7, V4, IPPROTO_TCP), flow_number(8, V6, IPPROTO_TCP)};
	struct rte_mbuf *out[20], *in[20];
	struct port a, b;

	pair_open(&a, &b, &joining);
	for (uint16_t size = 1; size < 1400; size += 133) {
		uint64_t before = xstat(&b, "rx_lro_joined");

		for (uint32_t i = 0; i < 20; i++)
			out[i] = segment(&a, &b, &f[i % 2], i / 2 * size, size, RTE_TCP_ACK_FLAG);
		CHECK_EQ(rte_eth_tx_burst(a.id, 0, out, 20), 20);
		CHECK_EQ(receive(&b, 0, in, 20), 2);
		for (int k = 0; k < 2; k++) {
			look(&s, in[k], &f[k]);
			CHECK_EQ(s.payload, 10 * size);
			for (uint32_t i = 0; i < s.payload; i++)
				CHECK_EQ(s.data[i], byte_at(i));
			CHECK(in[k]->ol_flags & RTE_MBUF_F_RX_LRO);
			CHECK_EQ(in[k]->tso_segsz, size);
			CHECK_EQ(in[k]->nb_segs, 10);
		}
		rte_pktmbuf_free_bulk(in, 2);
		CHECK_EQ(xstat(&b, "rx_lro_joined") - before, 18);
	}
	CHECK_EQ(basic(&b).ipackets, basic(&a).opackets);
	pair_close(&a, &b);
}

/* What must not be joined stays as it is, and in order. */
static void
not_joined(void)
{
	struct flow f = flow_number(9, V4, IPPROTO_TCP), g = flow_number(10, V4, IPPROTO_TCP);
	struct rte_mbuf *m[8], *in[8];
	struct port a, b;

	pair_open(&a, &b, &joining);
	m[0] = segment(&a, &b, &f, 0, 100, RTE_TCP_ACK_FLAG);
	m[1] = segment(&a, &b, &f, 200, 100, RTE_TCP_ACK_FLAG); /* a gap */
	m[2] = segment(&a, &b, &f, 300, 100, RTE_TCP_ACK_FLAG | RTE_TCP_FIN_FLAG);
	m[3] = segment(&a, &b, &f, 401, 100, RTE_TCP_ACK_FLAG);
	m[4] = segment(&a, &b, &f, 501, 100, RTE_TCP_ACK_FLAG);
	*rte_pktmbuf_mtod_offset(m[4], uint8_t *, 60) ^= 1; /* a bad checksum */
	m[5] = segment(&a, &b, &g, 501, 100, RTE_TCP_ACK_FLAG);
	m[6] = segment(&a, &b, &f, 501, 0, RTE_TCP_ACK_FLAG);
	m[7] = plain_frame(&a, &b.mac, 100);
	CHECK_EQ(rte_eth_tx_burst(a.id, 0, m, 8), 8);
	CHECK_EQ(receive(&b, 0, in, 8), 8);
	for (int i = 0; i < 8; i++)
		CHECK_EQ(in[i]->ol_flags & RTE_MBUF_F_RX_LRO, 0);
	CHECK_EQ(in[4]->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK, RTE_MBUF_F_RX_L4_CKSUM_BAD);
	rte_pktmbuf_free_bulk(in, 8);
	/* A push ends a super-frame. */
	m[0] = segment(&a, &b, &f, 0, 100, RTE_TCP_ACK_FLAG);
	m[1] = segment(&a, &b, &f, 100, 100, RTE_TCP_ACK_FLAG | RTE_TCP_PSH_FLAG);
	m[2] = segment(&a, &b, &f, 200, 100, RTE_TCP_ACK_FLAG);
	CHECK_EQ(rte_eth_tx_burst(a.id, 0, m, 3), 3);
	CHECK_EQ(receive(&b, 0, in, 8), 2);
	CHECK_EQ(in[0]->pkt_len, 254);
	CHECK_EQ(in[1]->pkt_len, 154);
	rte_pktmbuf_free_bulk(in, 2);
	pair_close(&a, &b);
}

const struct test tso_tests[] = {
	{"tso: cut", cut},
	{"tso: in a burst", in_a_burst},
	{"tso: whole", whole},
	{"tso: whole if it fits", whole_if_it_fits},
	{"tso: flooded", flooded},
	{"tso: with a tag", with_a_tag},
	{"tso: bad super-frames", bad_supers},
	{"tso: no cells", no_cells},
	{"lro: joined", joined},
	{"lro: not joined", not_joined},
	{NULL, NULL},
};
