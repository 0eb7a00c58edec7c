/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_time.c - receive timestamps and the PTP clock.
 */
#include <time.h>

#include <rte_mbuf_dyn.h>
#include <rte_time.h>

#include "uveth/test/test.h"

static uint64_t
now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return rte_timespec_to_ns(&ts);
}

/* The time of arrival is when it was sent, not when it was asked for. */
static void
receive_timestamp(void)
{
	struct setup s = {.rx_offloads = RTE_ETH_RX_OFFLOAD_TIMESTAMP};
	uint64_t flag, before, after, clock, last = 0;
	struct rte_mbuf *m[4];
	struct port a, b;
	int offset;

	pair_open(&a, &b, &s);
	CHECK_EQ(rte_mbuf_dyn_rx_timestamp_register(&offset, &flag), 0);
	before = now();
	for (int i = 0; i < 4; i++)
		CHECK(send_one(&a, 0, plain_frame(&a, &b.mac, i == 3 ? 1500 : 60)));
	after = now();
	CHECK_EQ(rte_eth_read_clock(b.id, &clock), 0);
	CHECK(clock >= after && clock <= now());
	CHECK_EQ(receive(&b, 0, m, 4), 4);
	for (int i = 0; i < 4; i++) {
		uint64_t ns = *RTE_MBUF_DYNFIELD(m[i], offset, rte_mbuf_timestamp_t *);

		CHECK(m[i]->ol_flags & flag);
		CHECK(ns >= before && ns <= after && ns >= last);
		last = ns;
	}
	rte_pktmbuf_free_bulk(m, 4);
	pair_close(&a, &b);
}

/* Several frames in one burst, and not asked for: no flag. */
static void
without_timestamp(void)
{
	struct setup s = {0};
	uint64_t flag;
	struct port a, b;
	struct rte_mbuf *m;
	int offset;

	CHECK_EQ(rte_mbuf_dyn_rx_timestamp_register(&offset, &flag), 0);
	pair_open(&a, &b, &s);
	CHECK(send_one(&a, 0, plain_frame(&a, &b.mac, 60)));
	m = receive_one(&b);
	CHECK_EQ(m->ol_flags & flag, 0);
	rte_pktmbuf_free(m);
	pair_close(&a, &b);
}

static struct rte_mbuf *
ptp_frame(const struct port *from, const struct port *to)
{
	struct rte_mbuf *m = plain_frame(from, &to->mac, 60);

	rte_pktmbuf_mtod(m, struct rte_ether_hdr *)->ether_type = RTE_BE16(RTE_ETHER_TYPE_1588);
	m->ol_flags |= RTE_MBUF_F_TX_IEEE1588_TMST;
	return m;
}

static void
timesync(void)
{
	const uint64_t ptp = RTE_MBUF_F_RX_IEEE1588_PTP | RTE_MBUF_F_RX_IEEE1588_TMST;
	struct setup s = {0};
	struct timespec sent, received, second, t;
	struct port a, b;
	struct rte_mbuf *m;
	uint64_t before;

	pair_open(&a, &b, &s);
	CHECK_EQ(rte_eth_timesync_enable(a.id), 0);
	CHECK_EQ(rte_eth_timesync_enable(b.id), 0);
	CHECK(rte_eth_timesync_read_rx_timestamp(b.id, &t, 0) != 0); /* nothing has come yet */
	CHECK(rte_eth_timesync_read_tx_timestamp(a.id, &t) != 0);
	before = now();
	m = ptp_frame(&a, &b);
	CHECK_EQ(rte_eth_tx_prepare(a.id, 0, &m, 1), 1);
	CHECK(send_one(&a, 0, m));
	CHECK(send_one(&a, 0, plain_frame(&a, &b.mac, 60)));
	CHECK(send_one(&a, 0, ptp_frame(&a, &b)));
	for (int i = 0; i < 3; i++) {
		CHECK_EQ(receive(&b, 0, &m, 1), 1);
		CHECK_EQ(m->ol_flags, i == 1 ? 0 : ptp);
		rte_pktmbuf_free(m);
	}
	/* The registers hold the first frame's times until they are read, then nothing. */
	CHECK_EQ(rte_eth_timesync_read_tx_timestamp(a.id, &sent), 0);
	CHECK_EQ(rte_eth_timesync_read_rx_timestamp(b.id, &received, 0), 0);
	CHECK(rte_timespec_to_ns(&sent) >= before && rte_timespec_to_ns(&received) >= before);
	CHECK(rte_timespec_to_ns(&sent) <= now() && rte_timespec_to_ns(&received) <= now());
	CHECK(rte_eth_timesync_read_rx_timestamp(b.id, &t, 0) != 0);
	CHECK(rte_eth_timesync_read_tx_timestamp(a.id, &t) != 0);
	CHECK(send_one(&a, 0, ptp_frame(&a, &b)));
	CHECK_EQ(receive_all(&b), 1);
	CHECK_EQ(rte_eth_timesync_read_rx_timestamp(b.id, &second, 0), 0);
	CHECK(rte_timespec_to_ns(&second) > rte_timespec_to_ns(&received));

	CHECK_EQ(rte_eth_timesync_disable(b.id), 0);
	CHECK(send_one(&a, 0, ptp_frame(&a, &b)));
	m = receive_one(&b);
	CHECK_EQ(m->ol_flags, 0);
	rte_pktmbuf_free(m);
	pair_close(&a, &b);
}

/* The port's clock is set and adjusted; the fabric's is not, nor another port's. */
static void
timesync_clock(void)
{
	const uint64_t second = 1000000000;
	struct timespec t = {.tv_sec = 5, .tv_nsec = 7};
	struct setup s = {0};
	struct port a, b;
	uint64_t ns;

	pair_open(&a, &b, &s);
	CHECK_EQ(rte_eth_timesync_enable(a.id), 0);
	CHECK_EQ(rte_eth_timesync_enable(b.id), 0);
	CHECK_EQ(rte_eth_timesync_write_time(a.id, &t), 0);
	CHECK_EQ(rte_eth_timesync_adjust_time(a.id, -(int64_t)second), 0);
	CHECK_EQ(rte_eth_timesync_read_time(a.id, &t), 0);
	ns = rte_timespec_to_ns(&t);
	CHECK(ns >= 4 * second + 7 && ns < 60 * second);
	CHECK(send_one(&b, 0, ptp_frame(&b, &a)));
	CHECK_EQ(receive_all(&a), 1);
	CHECK_EQ(rte_eth_timesync_read_rx_timestamp(a.id, &t, 0), 0);
	CHECK(rte_timespec_to_ns(&t) >= ns && rte_timespec_to_ns(&t) < 60 * second);
	ns = now();
	CHECK_EQ(rte_eth_timesync_read_time(b.id, &t), 0);
	CHECK(rte_timespec_to_ns(&t) >= ns);
	pair_close(&a, &b);
}

const struct test time_tests[] = {
	{"time: receive timestamp", receive_timestamp},
	{"time: without timestamp", without_timestamp},
	{"time: PTP registers", timesync},
	{"time: PTP clock", timesync_clock},
	{NULL, NULL},
};
