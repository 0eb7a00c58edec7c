/* SPDX-License-Identifier: BSD-3-Clause
 *
 * ports.c - ports for the tests, and frames to send between them.
 */
#include <rte_bus_vdev.h>
#include <rte_dev.h>
#include <rte_thash.h>

#include "uveth/test/test.h"

/* ---------------------------------------------------------------------------------------- ports */

void
port_create(struct port *p, const char *args)
{
	static unsigned int serial;
	char text[256];

	snprintf(p->name, sizeof(p->name), "net_uveth%u", serial++);
	snprintf(text, sizeof(text), "fabric=%s%s%s", test_fabric, args != NULL ? "," : "",
		 args != NULL ? args : "");
	CHECK_EQ(rte_eal_hotplug_add("vdev", p->name, text), 0);
	CHECK_EQ(rte_eth_dev_get_port_by_name(p->name, &p->id), 0);
	CHECK_EQ(rte_eth_macaddr_get(p->id, &p->mac), 0);
	p->pool = NULL;
}

static void
pool_create(struct port *p, const struct setup *s)
{
	static unsigned int serial;
	char name[32];

	if (p->pool != NULL)
		return;
	snprintf(name, sizeof(name), "pool%u", serial++);
	p->pool = rte_pktmbuf_pool_create(
		name, s->mbufs != 0 ? s->mbufs : 4095, 0, 0,
		s->data_room != 0 ? s->data_room : RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	CHECK(p->pool != NULL);
}

static void
queues_setup(struct port *p, const struct setup *s)
{
	struct rte_eth_dev_info info;
	struct rte_eth_rxconf rx;
	struct rte_eth_txconf tx;

	CHECK_EQ(rte_eth_dev_info_get(p->id, &info), 0);
	rx = info.default_rxconf;
	tx = info.default_txconf;
	rx.offloads = s->rx_offloads & ~RTE_ETH_RX_OFFLOAD_RSS_HASH;
	tx.offloads = s->tx_offloads;
	rx.rx_deferred_start = s->deferred;
	tx.tx_deferred_start = s->deferred;
	for (uint16_t q = 0; q < p->nb_queues; q++) {
		CHECK_EQ(rte_eth_rx_queue_setup(p->id, q, 256, SOCKET_ID_ANY, &rx, p->pool), 0);
		CHECK_EQ(rte_eth_tx_queue_setup(p->id, q, 256, SOCKET_ID_ANY, &tx), 0);
	}
}

void
port_configure(struct port *p, const struct setup *s)
{
	struct rte_eth_conf conf = {
		.rxmode = {.mq_mode = s->rss_hf != 0 ? RTE_ETH_MQ_RX_RSS : RTE_ETH_MQ_RX_NONE,
			   .mtu = s->mtu,
			   .max_lro_pkt_size = s->lro_max,
			   .offloads = s->rx_offloads},
		.txmode = {.offloads = s->tx_offloads},
		.rx_adv_conf.rss_conf.rss_hf = s->rss_hf,
		.intr_conf = {.lsc = s->lsc, .rxq = s->rxq_intr},
	};

	p->nb_queues = s->queues != 0 ? s->queues : 1;
	pool_create(p, s);
	CHECK_EQ(rte_eth_dev_configure(p->id, p->nb_queues, p->nb_queues, &conf), 0);
	queues_setup(p, s);
	CHECK_EQ(rte_eth_dev_start(p->id), 0);
}

void
port_open(struct port *p, const struct setup *s)
{
	port_create(p, s->args);
	port_configure(p, s);
}

void
port_close(struct port *p)
{
	struct rte_eth_dev_info info;

	CHECK_EQ(rte_eth_dev_info_get(p->id, &info), 0);
	CHECK_EQ(rte_dev_remove(info.device), 0);
	if (p->pool != NULL)
		CHECK_EQ(rte_mempool_in_use_count(p->pool), 0);
	rte_mempool_free(p->pool);
	p->pool = NULL;
}

void
pair_open(struct port *a, struct port *b, const struct setup *s)
{
	port_open(a, s);
	port_open(b, s);
	CHECK(send_one(a, 0, plain_frame(a, &b->mac, 60)));
	CHECK(send_one(b, 0, plain_frame(b, &a->mac, 60)));
	receive_all(a);
	receive_all(b);
	rte_eth_stats_reset(a->id);
	rte_eth_stats_reset(b->id);
}

void
pair_close(struct port *a, struct port *b)
{
	port_close(a);
	port_close(b);
}

uint64_t
xstat(const struct port *p, const char *name)
{
	uint64_t id, value;

	if (rte_eth_xstats_get_id_by_name(p->id, name, &id) != 0)
		test_fail(__FILE__, __LINE__, "there is no xstat '%s'", name);
	CHECK_EQ(rte_eth_xstats_get_by_id(p->id, &id, &value, 1), 1);
	return value;
}

struct rte_eth_stats
basic(const struct port *p)
{
	struct rte_eth_stats s;

	CHECK_EQ(rte_eth_stats_get(p->id, &s), 0);
	return s;
}

/* --------------------------------------------------------------------------------------- frames */

struct flow
flow_number(uint32_t n, int version, uint8_t proto)
{
	struct flow f = {.version = version, .proto = proto};
	uint64_t x = (n + 1) * 0x9e3779b97f4a7c15ULL;

	for (int i = 0; i < 16; i++) {
		x ^= x >> 29;
		x *= 0xbf58476d1ce4e5b9ULL;
		f.src[i] = x >> 56;
		f.dst[i] = x >> 48;
	}
	f.sport = x >> 32;
	f.dport = x >> 16;
	return f;
}

static uint16_t
l3_write(const struct flow *f, void *at, uint16_t l4_len)
{
	struct rte_ipv4_hdr *ip4 = at;
	struct rte_ipv6_hdr *ip6 = at;

	if (f->version == V6) {
		*ip6 = (struct rte_ipv6_hdr){.vtc_flow = RTE_BE32(6u << 28),
					     .payload_len = rte_cpu_to_be_16(l4_len),
					     .proto = f->proto,
					     .hop_limits = 64};
		memcpy(ip6->src_addr, f->src, 16);
		memcpy(ip6->dst_addr, f->dst, 16);
		return sizeof(*ip6);
	}
	*ip4 = (struct rte_ipv4_hdr){.version_ihl = RTE_IPV4_VHL_DEF,
				     .total_length = rte_cpu_to_be_16(sizeof(*ip4) + l4_len),
				     .time_to_live = 64,
				     .next_proto_id = f->proto};
	memcpy(&ip4->src_addr, f->src, 4);
	memcpy(&ip4->dst_addr, f->dst, 4);
	ip4->hdr_checksum = rte_ipv4_cksum(ip4);
	return sizeof(*ip4);
}

static void
l4_write(const struct flow *f, void *at, const void *l3, uint16_t l4_len)
{
	bool tcp = f->proto == IPPROTO_TCP;
	size_t field = tcp ? offsetof(struct rte_tcp_hdr, cksum)
			   : offsetof(struct rte_udp_hdr, dgram_cksum);
	uint16_t csum;

	if (tcp)
		*(struct rte_tcp_hdr *)at =
			(struct rte_tcp_hdr){.src_port = rte_cpu_to_be_16(f->sport),
					     .dst_port = rte_cpu_to_be_16(f->dport),
					     .data_off = 5 << 4,
					     .tcp_flags = RTE_TCP_ACK_FLAG};
	else
		*(struct rte_udp_hdr *)at =
			(struct rte_udp_hdr){.src_port = rte_cpu_to_be_16(f->sport),
					     .dst_port = rte_cpu_to_be_16(f->dport),
					     .dgram_len = rte_cpu_to_be_16(l4_len)};
	csum = f->version == V6 ? rte_ipv6_udptcp_cksum(l3, at) : rte_ipv4_udptcp_cksum(l3, at);
	memcpy((char *)at + field, &csum, sizeof(csum));
}

struct rte_mbuf *
flow_frame(const struct port *from, const struct port *to, const struct flow *f, uint16_t payload)
{
	uint16_t l4_hdr =
		f->proto == IPPROTO_TCP ? sizeof(struct rte_tcp_hdr) : sizeof(struct rte_udp_hdr);
	struct rte_mbuf *m = rte_pktmbuf_alloc(from->pool);
	struct rte_ether_hdr *eth;
	uint8_t *l3, *l4;

	CHECK(m != NULL);
	eth = (struct rte_ether_hdr *)rte_pktmbuf_append(m, sizeof(*eth));
	eth->dst_addr = to->mac;
	eth->src_addr = from->mac;
	eth->ether_type =
		f->version == V6 ? RTE_BE16(RTE_ETHER_TYPE_IPV6) : RTE_BE16(RTE_ETHER_TYPE_IPV4);
	l3 = (uint8_t *)(eth + 1);
	m->l2_len = sizeof(*eth);
	m->l3_len = l3_write(f, l3, l4_hdr + payload);
	l4 = l3 + m->l3_len;
	CHECK(rte_pktmbuf_append(m, m->l3_len + l4_hdr + payload) != NULL);
	for (uint16_t i = 0; i < payload; i++)
		l4[l4_hdr + i] = i * 7 + 3;
	l4_write(f, l4, l3, l4_hdr + payload);
	m->l4_len = l4_hdr;
	return m;
}

/* rte_softrss wants the tuple as words in host order. */
uint32_t
flow_hash(const struct flow *f, const uint8_t *key)
{
	unsigned int addr = f->version == V6 ? 16 : 4, n = addr / 2 + 1;
	uint8_t tuple[36];
	uint32_t words[9];

	memcpy(tuple, f->src, addr);
	memcpy(tuple + addr, f->dst, addr);
	for (size_t i = 0; i < 2 * addr / 4; i++) {
		memcpy(&words[i], &tuple[i * 4], 4);
		words[i] = rte_be_to_cpu_32(words[i]);
	}
	words[n - 1] = (uint32_t)f->sport << 16 | f->dport;
	return rte_softrss(words, n, key);
}

struct rte_mbuf *
plain_frame(const struct port *from, const struct rte_ether_addr *to, uint32_t len)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(from->pool), *last = m;
	struct rte_ether_hdr *eth;
	uint32_t done = 0;

	CHECK(m != NULL);
	while (done < len) {
		uint16_t n = RTE_MIN(len - done, rte_pktmbuf_tailroom(last));
		uint8_t *at = (uint8_t *)rte_pktmbuf_append(last, n);

		for (uint16_t i = 0; i < n; i++, done++)
			at[i] = done * 31 + (done >> 8);
		if (last != m) {
			m->pkt_len += n;
			m->nb_segs++;
		}
		if (done < len)
			last = last->next = rte_pktmbuf_alloc(from->pool);
		CHECK(last != NULL);
	}
	eth = rte_pktmbuf_mtod(m, struct rte_ether_hdr *);
	eth->dst_addr = *to;
	eth->src_addr = from->mac;
	eth->ether_type = RTE_BE16(0x88b5); /* for local experiments */
	return m;
}

bool
pattern_ok(const struct rte_mbuf *m, uint32_t len)
{
	uint32_t done = 0;
	uint16_t segs = 0;

	if (m->pkt_len != len)
		return false;
	for (const struct rte_mbuf *s = m; s != NULL; s = s->next, segs++) {
		const uint8_t *at = rte_pktmbuf_mtod(s, const uint8_t *);

		for (uint16_t i = 0; i < s->data_len; i++, done++)
			if (done >= sizeof(struct rte_ether_hdr) &&
			    at[i] != (uint8_t)(done * 31 + (done >> 8)))
				return false;
	}
	return done == len && segs == m->nb_segs;
}

bool
send_one(const struct port *p, uint16_t queue, struct rte_mbuf *m)
{
	if (rte_eth_tx_burst(p->id, queue, &m, 1) == 1)
		return true;
	rte_pktmbuf_free(m);
	return false;
}

uint16_t
receive(const struct port *p, uint16_t queue, struct rte_mbuf **m, uint16_t n)
{
	return rte_eth_rx_burst(p->id, queue, m, n);
}

struct rte_mbuf *
receive_one(const struct port *p)
{
	struct rte_mbuf *m[2];

	CHECK_EQ(receive(p, 0, m, 2), 1);
	return m[0];
}

uint32_t
receive_all(const struct port *p)
{
	struct rte_mbuf *m[BURST];
	uint32_t total = 0;
	uint16_t n;

	for (uint16_t q = 0; q < p->nb_queues; q++) {
		while ((n = receive(p, q, m, BURST)) > 0) {
			rte_pktmbuf_free_bulk(m, n);
			total += n;
		}
	}
	return total;
}
