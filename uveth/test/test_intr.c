/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_intr.c - receive interrupts and link events.
 */
#include <poll.h>
#include <unistd.h>

#include <rte_interrupts.h>

#include "uveth/test/test.h"

static uint16_t queue_id[] = {0, 1, 2, 3};

static int
wait_epoll(int timeout_ms, uint16_t *queue)
{
	struct rte_epoll_event ev[8];
	int n = rte_epoll_wait(RTE_EPOLL_PER_THREAD, ev, 8, timeout_ms);

	if (n > 0)
		*queue = *(uint16_t *)ev[0].epdata.data;
	return n;
}

/* A flow that lands on this queue of a port with the default key. */
static struct flow
flow_for(const struct port *b, uint16_t queue)
{
	uint8_t key[40];
	struct rte_eth_rss_conf conf = {.rss_key = key, .rss_key_len = sizeof(key)};
	struct flow f;
	uint32_t i = 0;

	CHECK_EQ(rte_eth_dev_rss_hash_conf_get(b->id, &conf), 0);
	do {
		f = flow_number(i++, V4, IPPROTO_TCP);
	} while (flow_hash(&f, key) % 128 % b->nb_queues != queue);
	return f;
}

static void
per_queue(void)
{
	struct setup s = {.queues = 4, .rxq_intr = true, .rss_hf = RTE_ETH_RSS_NONFRAG_IPV4_TCP};
	struct port a, b;
	uint16_t rung;

	pair_open(&a, &b, &s);
	for (uint16_t q = 0; q < 4; q++)
		CHECK_EQ(rte_eth_dev_rx_intr_ctl_q(b.id, q, RTE_EPOLL_PER_THREAD,
						   RTE_INTR_EVENT_ADD, &queue_id[q]),
			 0);
	for (int round = 0; round < 20; round++) {
		uint16_t q = round % 4;
		struct flow f = flow_for(&b, q);

		for (uint16_t i = 0; i < 4; i++)
			CHECK_EQ(rte_eth_dev_rx_intr_enable(b.id, i), 0);
		CHECK_EQ(wait_epoll(0, &rung), 0);
		CHECK(send_one(&a, 0, flow_frame(&a, &b, &f, 0)));
		CHECK_EQ(wait_epoll(1000, &rung), 1);
		CHECK_EQ(rung, q);
		for (uint16_t i = 0; i < 4; i++)
			CHECK_EQ(rte_eth_dev_rx_intr_disable(b.id, i), 0);
		CHECK_EQ(receive_all(&b), 1);
	}
	CHECK_EQ(xstat(&b, "rx_sleeps"), 80);
	CHECK_EQ(xstat(&b, "rx_wakes"), 20);
	CHECK_EQ(xstat(&a, "tx_bells"), 20);
	for (uint16_t q = 0; q < 4; q++)
		CHECK_EQ(rte_eth_dev_rx_intr_ctl_q(b.id, q, RTE_EPOLL_PER_THREAD,
						   RTE_INTR_EVENT_DEL, NULL),
			 0);
	pair_close(&a, &b);
}

/* The frame was there before the interrupt was enabled: it must ring nevertheless. */
static void
no_lost_wake_up(void)
{
	struct setup s = {.rxq_intr = true};
	struct port a, b;
	struct pollfd fd = {.events = POLLIN};

	pair_open(&a, &b, &s);
	fd.fd = rte_eth_dev_rx_intr_ctl_q_get_fd(b.id, 0);
	CHECK(fd.fd >= 0);
	CHECK_EQ(poll(&fd, 1, 0), 0);
	CHECK(send_one(&a, 0, plain_frame(&a, &b.mac, 60)));
	CHECK_EQ(poll(&fd, 1, 0), 0); /* nobody is rung who polls */
	CHECK_EQ(rte_eth_dev_rx_intr_enable(b.id, 0), 0);
	CHECK_EQ(poll(&fd, 1, 1000), 1);
	CHECK_EQ(rte_eth_dev_rx_intr_disable(b.id, 0), 0);
	CHECK_EQ(poll(&fd, 1, 0), 0);
	CHECK_EQ(receive_all(&b), 1);
	pair_close(&a, &b);
}

/* Not asked for at configuration: refused. */
static void
not_configured(void)
{
	struct setup s = {0};
	struct port a;

	port_open(&a, &s);
	CHECK(rte_eth_dev_rx_intr_enable(a.id, 0) != 0);
	CHECK(rte_eth_dev_rx_intr_ctl_q_get_fd(a.id, 0) < 0);
	port_close(&a);
}

static unsigned int link_events;

static int
on_link(uint16_t port_id, enum rte_eth_event_type type, void *arg, void *ret)
{
	(void)port_id;
	(void)type;
	(void)arg;
	(void)ret;
	__atomic_add_fetch(&link_events, 1, __ATOMIC_SEQ_CST);
	return 0;
}

static void
link_event(void)
{
	struct setup s = {.lsc = true};
	struct rte_eth_link link;
	struct port a;

	port_create(&a, NULL);
	link_events = 0;
	CHECK_EQ(rte_eth_dev_callback_register(a.id, RTE_ETH_EVENT_INTR_LSC, on_link, NULL), 0);
	port_configure(&a, &s);
	CHECK_EQ(rte_eth_link_get_nowait(a.id, &link), 0);
	CHECK_EQ(link.link_status, RTE_ETH_LINK_UP);
	CHECK_EQ(link_events, 1);
	CHECK_EQ(rte_eth_dev_set_link_down(a.id), 0);
	CHECK_EQ(link_events, 2);
	CHECK_EQ(rte_eth_link_get_nowait(a.id, &link), 0);
	CHECK_EQ(link.link_status, RTE_ETH_LINK_DOWN);
	CHECK_EQ(rte_eth_dev_set_link_up(a.id), 0);
	CHECK_EQ(link_events, 3);
	CHECK_EQ(rte_eth_dev_callback_unregister(a.id, RTE_ETH_EVENT_INTR_LSC, on_link, NULL), 0);
	port_close(&a);
}

const struct test intr_tests[] = {
	{"intr: per queue", per_queue},
	{"intr: no lost wake-up", no_lost_wake_up},
	{"intr: not configured", not_configured},
	{"intr: link event", link_event},
	{NULL, NULL},
};
