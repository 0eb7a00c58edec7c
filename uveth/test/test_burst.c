/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_burst.c - frames of every size and shape, from one port to the other.
 */
#include <pthread.h>

#include "uveth/test/test.h"

static void
every_length(void)
{
	struct setup s = {0};
	struct port a, b;

	pair_open(&a, &b, &s);
	for (uint32_t len = 14; len <= 1518; len++) {
		struct rte_mbuf *m;

		CHECK(send_one(&a, 0, plain_frame(&a, &b.mac, len)));
		m = receive_one(&b);
		CHECK(pattern_ok(m, len));
		CHECK_EQ(m->port, b.id);
		CHECK_EQ(m->ol_flags, 0);
		rte_pktmbuf_free(m);
	}
	CHECK_EQ(basic(&b).ipackets, 1505);
	pair_close(&a, &b);
}

/* Bursts longer than the driver hands on at once, in order. */
static void
long_bursts(void)
{
	struct setup s = {0};
	struct port a, b;

	pair_open(&a, &b, &s);
	for (uint16_t n = 1; n <= 200; n += 13) {
		struct rte_mbuf *out[200], *in[201];

		for (uint16_t i = 0; i < n; i++)
			out[i] = plain_frame(&a, &b.mac, 60 + i);
		CHECK_EQ(rte_eth_tx_burst(a.id, 0, out, n), n);
		CHECK_EQ(receive(&b, 0, in, n + 1), n);
		for (uint16_t i = 0; i < n; i++)
			CHECK(pattern_ok(in[i], 60 + i));
		rte_pktmbuf_free_bulk(in, n);
	}
	CHECK_EQ(rte_eth_tx_burst(a.id, 0, NULL, 0), 0);
	CHECK_EQ(rte_eth_rx_burst(a.id, 0, NULL, 0), 0);
	pair_close(&a, &b);
}

static void
jumbo(const struct setup *s, bool scatter)
{
	struct port a, b;

	pair_open(&a, &b, s);
	for (uint32_t len = 1519; len <= 9234; len += 257) {
		struct rte_mbuf *m;
		uint16_t room = rte_pktmbuf_data_room_size(b.pool) - RTE_PKTMBUF_HEADROOM;

		CHECK(send_one(&a, 0, plain_frame(&a, &b.mac, len)));
		m = receive_one(&b);
		CHECK(pattern_ok(m, len));
		CHECK_EQ(m->nb_segs, scatter ? (len + room - 1) / room : 1);
		rte_pktmbuf_free(m);
	}
	pair_close(&a, &b);
}

static void
jumbo_scattered(void)
{
	struct setup s = {.mtu = 9216,
			  .rx_offloads = RTE_ETH_RX_OFFLOAD_SCATTER,
			  .tx_offloads = RTE_ETH_TX_OFFLOAD_MULTI_SEGS};

	jumbo(&s, true);
	s.data_room = 128 + RTE_PKTMBUF_HEADROOM; /* even small frames need several */
	jumbo(&s, true);
}

static void
jumbo_in_one_mbuf(void)
{
	struct setup s = {.mtu = 9216, .data_room = 9400 + RTE_PKTMBUF_HEADROOM, .mbufs = 511};

	jumbo(&s, false);
}

/* Longer than an mbuf and no leave to scatter: dropped, counted, and the others come through. */
static void
too_long_for_an_mbuf(void)
{
	struct setup s = {.mtu = 9216};
	struct rte_mbuf *m[3];
	struct port a, b;

	pair_open(&a, &b, &s);
	m[0] = plain_frame(&a, &b.mac, 100);
	m[1] = plain_frame(&a, &b.mac, 3000);
	m[2] = plain_frame(&a, &b.mac, 200);
	CHECK_EQ(rte_eth_tx_burst(a.id, 0, m, 3), 3);
	CHECK_EQ(receive(&b, 0, m, 3), 2);
	CHECK(pattern_ok(m[0], 100) && pattern_ok(m[1], 200));
	rte_pktmbuf_free_bulk(m, 2);
	CHECK_EQ(xstat(&b, "rx_drop_too_long"), 1);
	CHECK_EQ(xstat(&b, "rx_q0_drop_too_long"), 1);
	CHECK_EQ(basic(&b).ipackets, 2);
	CHECK_EQ(basic(&b).ibytes, 300);
	CHECK_EQ(basic(&b).ierrors, 1);
	pair_close(&a, &b);
}

/* A frame in `n` segments of one byte (and the rest in the last), empty ones among them. */
static struct rte_mbuf *
shredded(const struct port *p, const struct rte_ether_addr *to, uint32_t len, uint16_t n)
{
	struct rte_mbuf *whole = plain_frame(p, to, len), *head = NULL, **tail = &head;
	uint32_t off = 0;

	for (uint16_t i = 0; i < n; i++) {
		uint32_t take = i == n - 1 ? len - off : i % 5 == 4 ? 0 : 1;
		struct rte_mbuf *seg = rte_pktmbuf_alloc(p->pool);

		CHECK(seg != NULL);
		memcpy(rte_pktmbuf_append(seg, take), rte_pktmbuf_mtod_offset(whole, void *, off),
		       take);
		off += take;
		*tail = seg;
		tail = &seg->next;
	}
	head->nb_segs = n;
	head->pkt_len = len;
	rte_pktmbuf_free(whole);
	return head;
}

static void
gather(void)
{
	static const uint16_t segs[] = {1, 2, 3, 17, 64, 127, 128};
	struct setup s = {.tx_offloads = RTE_ETH_TX_OFFLOAD_MULTI_SEGS};
	struct port a, b;
	struct rte_mbuf *out[RTE_DIM(segs)], *in[RTE_DIM(segs)];

	pair_open(&a, &b, &s);
	for (size_t i = 0; i < RTE_DIM(segs); i++)
		out[i] = shredded(&a, &b.mac, 400 + i, segs[i]);
	CHECK_EQ(rte_eth_tx_burst(a.id, 0, out, RTE_DIM(segs)), RTE_DIM(segs));
	CHECK_EQ(receive(&b, 0, in, RTE_DIM(segs)), RTE_DIM(segs));
	for (size_t i = 0; i < RTE_DIM(segs); i++)
		CHECK(pattern_ok(in[i], 400 + i));
	rte_pktmbuf_free_bulk(in, RTE_DIM(segs));
	pair_close(&a, &b);
}

/* More segments than the limit in dev_info: that frame alone is dropped. */
static void
too_many_segments(void)
{
	struct setup s = {.tx_offloads = RTE_ETH_TX_OFFLOAD_MULTI_SEGS};
	struct rte_eth_dev_info info;
	struct rte_mbuf *m[3];
	struct port a, b;

	pair_open(&a, &b, &s);
	CHECK_EQ(rte_eth_dev_info_get(a.id, &info), 0);
	m[0] = plain_frame(&a, &b.mac, 100);
	m[1] = shredded(&a, &b.mac, 500, info.tx_desc_lim.nb_seg_max + 1);
	m[2] = plain_frame(&a, &b.mac, 200);
	CHECK_EQ(rte_eth_tx_prepare(a.id, 0, m, 3), 1);
	CHECK_EQ(rte_errno, EINVAL);
	CHECK_EQ(rte_eth_tx_burst(a.id, 0, m, 3), 3);
	CHECK_EQ(receive(&b, 0, m, 3), 2);
	CHECK(pattern_ok(m[0], 100) && pattern_ok(m[1], 200));
	rte_pktmbuf_free_bulk(m, 2);
	CHECK_EQ(xstat(&a, "tx_drop_too_many_segs"), 1);
	CHECK_EQ(basic(&a).oerrors, 1);
	CHECK_EQ(basic(&a).opackets, 2);
	pair_close(&a, &b);
}

/* The receiver's pool runs dry: what has no mbuf is dropped and counted, and it recovers. */
static void
pool_exhausted(void)
{
	struct setup s = {.mbufs = 15}, plenty = {0};
	struct rte_mbuf *out[BURST], *in[BURST];
	struct port a, b;

	port_open(&a, &plenty);
	port_open(&b, &s);
	CHECK(send_one(&b, 0, plain_frame(&b, &a.mac, 60)));
	CHECK_EQ(receive_all(&a), 1);
	for (int i = 0; i < BURST; i++)
		out[i] = plain_frame(&a, &b.mac, 60);
	CHECK_EQ(rte_eth_tx_burst(a.id, 0, out, BURST), BURST);
	CHECK_EQ(receive(&b, 0, in, BURST), 15);
	CHECK_EQ(receive(&b, 0, in + 15, BURST - 15), 0);
	CHECK_EQ(basic(&b).rx_nombuf, BURST - 15);
	CHECK_EQ(basic(&b).ipackets, 15);
	CHECK_EQ(xstat(&b, "rx_q0_drop_no_mbuf"), BURST - 15);
	rte_pktmbuf_free_bulk(in, 15);
	CHECK(send_one(&a, 0, plain_frame(&a, &b.mac, 61)));
	rte_pktmbuf_free(receive_one(&b));
	pair_close(&a, &b);
}

/* The same in the middle of a frame that needs several. */
static void
pool_exhausted_in_a_chain(void)
{
	struct setup s = {.mbufs = 3, .mtu = 9216, .rx_offloads = RTE_ETH_RX_OFFLOAD_SCATTER};
	struct setup plenty = {.mtu = 9216, .tx_offloads = RTE_ETH_TX_OFFLOAD_MULTI_SEGS};
	struct port a, b;
	struct rte_mbuf *m;

	port_open(&a, &plenty);
	port_open(&b, &s);
	CHECK(send_one(&b, 0, plain_frame(&b, &a.mac, 60)));
	CHECK_EQ(receive_all(&a), 1);
	CHECK(send_one(&a, 0, plain_frame(&a, &b.mac, 9000)));
	CHECK_EQ(receive_all(&b), 0);
	CHECK_EQ(rte_mempool_in_use_count(b.pool), 0);
	CHECK_EQ(basic(&b).rx_nombuf, 1);
	CHECK_EQ(basic(&b).ipackets, 0);
	CHECK_EQ(basic(&b).ibytes, 0);
	CHECK_EQ(xstat(&b, "rx_drop_no_mbuf_chain"), 1);
	CHECK(send_one(&a, 0, plain_frame(&a, &b.mac, 6000)));
	m = receive_one(&b);
	CHECK(pattern_ok(m, 6000));
	rte_pktmbuf_free(m);
	pair_close(&a, &b);
}

/* Nobody receives: the ring to that queue fills, and what it does not take is counted there. */
static void
ring_full(void)
{
	struct setup s = {0};
	uint64_t received, sent = 0;
	struct port a, b;

	pair_open(&a, &b, &s);
	while (sent < 2000 && send_one(&a, 0, plain_frame(&a, &b.mac, 60)))
		sent++;
	CHECK_EQ(rte_eth_rx_queue_count(b.id, 0), 256); /* the fabric's voq depth */
	received = receive_all(&b);
	CHECK_EQ(received, 256);
	CHECK_EQ(basic(&b).imissed, sent - received);
	CHECK_EQ(xstat(&b, "rx_q0_drop_ring_full"), sent - received);
	CHECK_EQ(xstat(&a, "tx_far_ring_full"), sent - received);
	CHECK_EQ(basic(&a).opackets, sent);
	pair_close(&a, &b);
}

/* Every cell in flight (1,024 of them, five for a frame): the burst is cut short and the rest stays
 * the application's. */
static void
cells_run_out(void)
{
	struct setup s = {.mtu = 9216,
			  .rx_offloads = RTE_ETH_RX_OFFLOAD_SCATTER,
			  .tx_offloads = RTE_ETH_TX_OFFLOAD_MULTI_SEGS};
	struct port a, b;
	struct rte_mbuf *m[BURST];
	uint16_t sent = 0, n;

	pair_open(&a, &b, &s);
	do {
		for (int i = 0; i < BURST; i++)
			m[i] = plain_frame(&a, &b.mac, 9000);
		n = rte_eth_tx_burst(a.id, 0, m, BURST);
		for (int i = n; i < BURST; i++)
			CHECK(pattern_ok(m[i], 9000));
		rte_pktmbuf_free_bulk(m + n, BURST - n);
		sent += n;
	} while (n == BURST);
	CHECK_EQ(sent, 1024 / 5);
	CHECK_EQ(xstat(&a, "tx_q0_bursts_cut_short"), 1);
	CHECK_EQ(receive_all(&b), sent);
	CHECK(send_one(&a, 0, plain_frame(&a, &b.mac, 60)));
	CHECK_EQ(receive_all(&b), 1);
	pair_close(&a, &b);
}

static void
fast_free(void)
{
	struct setup s = {.tx_offloads = RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE};
	struct rte_mbuf *out[BURST];
	struct port a, b;

	pair_open(&a, &b, &s);
	for (int i = 0; i < BURST; i++)
		out[i] = plain_frame(&a, &b.mac, 64);
	CHECK_EQ(rte_eth_tx_burst(a.id, 0, out, BURST), BURST);
	CHECK_EQ(rte_mempool_in_use_count(a.pool), 0);
	CHECK_EQ(receive_all(&b), BURST);
	pair_close(&a, &b);
}

/* Threads that share a transmit queue: each numbers its frames behind the Ethernet header. */
enum { SENDERS = 4, EACH = 4000 };

struct stamp {
	uint32_t sender, number;
};

struct sender {
	pthread_t thread;
	const struct port *from;
	const struct rte_ether_addr *to;
	uint32_t me;
};

static void *
send_numbered(void *arg)
{
	const struct sender *s = arg;
	struct rte_mbuf *m[4];

	for (uint32_t i = 0; i < EACH; i += RTE_DIM(m)) {
		uint16_t sent = 0;

		for (uint32_t k = 0; k < RTE_DIM(m); k++) {
			m[k] = plain_frame(s->from, s->to, 64);
			memcpy(rte_pktmbuf_mtod_offset(m[k], void *, RTE_ETHER_HDR_LEN),
			       &(struct stamp){s->me, i + k}, sizeof(struct stamp));
		}
		while (sent < RTE_DIM(m))
			sent += rte_eth_tx_burst(s->from->id, 0, m + sent, RTE_DIM(m) - sent);
	}
	return NULL;
}

/* Each thread's frames arrive whole, once, and in the order in which it sent them. */
static void
many_threads(void)
{
	struct setup s = {.tx_offloads = RTE_ETH_TX_OFFLOAD_MT_LOCKFREE};
	uint32_t next[SENDERS] = {0}, total = 0;
	struct sender sender[SENDERS];
	struct rte_mbuf *in[BURST];
	struct port a, b;

	pair_open(&a, &b, &s);
	for (uint32_t i = 0; i < SENDERS; i++) {
		sender[i] = (struct sender){.from = &a, .to = &b.mac, .me = i};
		CHECK_EQ(pthread_create(&sender[i].thread, NULL, send_numbered, &sender[i]), 0);
	}
	while (total + xstat(&b, "rx_drop_ring_full") < SENDERS * EACH) {
		uint16_t n = receive(&b, 0, in, BURST);

		for (uint16_t i = 0; i < n; i++) {
			struct stamp st;

			memcpy(&st, rte_pktmbuf_mtod_offset(in[i], void *, RTE_ETHER_HDR_LEN),
			       sizeof(st));
			CHECK(st.sender < SENDERS && st.number >= next[st.sender]);
			next[st.sender] = st.number + 1;
			rte_pktmbuf_free(in[i]);
		}
		total += n;
	}
	for (uint32_t i = 0; i < SENDERS; i++)
		CHECK_EQ(pthread_join(sender[i].thread, NULL), 0);
	CHECK_EQ(basic(&a).opackets, SENDERS * EACH);
	pair_close(&a, &b);
}

/* A clone is sent, and its data is still there for the other holder. */
static void
cloned(void)
{
	struct setup s = {0};
	struct port a, b;
	struct rte_mbuf *m, *c, *in;

	pair_open(&a, &b, &s);
	m = plain_frame(&a, &b.mac, 300);
	c = rte_pktmbuf_clone(m, a.pool);
	CHECK(send_one(&a, 0, c));
	CHECK_EQ(rte_mbuf_refcnt_read(m), 1);
	CHECK(pattern_ok(m, 300));
	in = receive_one(&b);
	CHECK(pattern_ok(in, 300));
	rte_pktmbuf_free(in);
	rte_pktmbuf_free(m);
	pair_close(&a, &b);
}

/* Not a frame at all. */
static void
runt(void)
{
	struct setup s = {0};
	struct port a, b;
	struct rte_mbuf *m;

	pair_open(&a, &b, &s);
	m = plain_frame(&a, &b.mac, 14);
	rte_pktmbuf_trim(m, 1);
	CHECK(send_one(&a, 0, m));
	m = plain_frame(&a, &b.mac, 14);
	rte_pktmbuf_trim(m, 14);
	CHECK(send_one(&a, 0, m));
	CHECK_EQ(xstat(&a, "tx_drop_runt"), 2);
	CHECK_EQ(basic(&a).oerrors, 2);
	CHECK_EQ(basic(&a).opackets, 0);
	CHECK_EQ(receive_all(&b), 0);
	pair_close(&a, &b);
}

const struct test burst_tests[] = {
	{"burst: every length", every_length},
	{"burst: long bursts", long_bursts},
	{"burst: jumbo, scattered", jumbo_scattered},
	{"burst: jumbo, in one mbuf", jumbo_in_one_mbuf},
	{"burst: too long for an mbuf", too_long_for_an_mbuf},
	{"burst: gather", gather},
	{"burst: too many segments", too_many_segments},
	{"burst: pool exhausted", pool_exhausted},
	{"burst: pool exhausted in a chain", pool_exhausted_in_a_chain},
	{"burst: ring full", ring_full},
	{"burst: cells run out", cells_run_out},
	{"burst: fast free", fast_free},
	{"burst: many threads, one queue", many_threads},
	{"burst: clone", cloned},
	{"burst: runt", runt},
	{NULL, NULL},
};
