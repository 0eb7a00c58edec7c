/* SPDX-License-Identifier: BSD-3-Clause
 *
 * l2fwd - what comes in by port 0 goes out by port 1, and the other way round; ports 2 and 3
 * likewise.
 *
 * An example of a DPDK application that somebody else wrote: it knows nothing of uvnet. Built by
 *
 *     cc -O2 -march=native l2fwd.c $(pkg-config --cflags --libs libdpdk) -o l2fwd
 */
#include <inttypes.h>
#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <signal.h>
#include <stdio.h>

#define BURST   32
#define RX_DESC 256
#define TX_DESC 256
#define MBUFS   2047
#define CACHE   128

static volatile sig_atomic_t stop;
static struct {
	uint64_t rx, tx, dropped; /* frames; dropped: the other port did not take them */
} count[RTE_MAX_ETHPORTS];

static void
on_signal(int number)
{
	(void)number;
	stop = 1;
}

static int
start_port(uint16_t port, struct rte_mempool *pool)
{
	const struct rte_eth_conf conf = {.rxmode.mq_mode = RTE_ETH_MQ_RX_NONE};
	int r = rte_eth_dev_configure(port, 1, 1, &conf);

	if (r == 0)
		r = rte_eth_rx_queue_setup(port, 0, RX_DESC, SOCKET_ID_ANY, NULL, pool);
	if (r == 0)
		r = rte_eth_tx_queue_setup(port, 0, TX_DESC, SOCKET_ID_ANY, NULL);
	if (r == 0)
		r = rte_eth_promiscuous_enable(port);
	return r == 0 ? rte_eth_dev_start(port) : r;
}

static void
forward(uint16_t from)
{
	struct rte_mbuf *burst[BURST];
	uint16_t n = rte_eth_rx_burst(from, 0, burst, BURST);
	uint16_t sent = rte_eth_tx_burst(from ^ 1, 0, burst, n);

	count[from].rx += n;
	count[from ^ 1].tx += sent;
	count[from ^ 1].dropped += n - sent;
	rte_pktmbuf_free_bulk(burst + sent, n - sent);
}

static void
report(uint16_t ports)
{
	for (uint16_t port = 0; port < ports; port++)
		printf("port %u: rx %" PRIu64 " tx %" PRIu64 " dropped %" PRIu64 "\n", port,
		       count[port].rx, count[port].tx, count[port].dropped);
}

int
main(int argc, char **argv)
{
	struct rte_mempool *pool;
	uint16_t ports;

	if (rte_eal_init(argc, argv) < 0)
		return 1;
	ports = rte_eth_dev_count_avail();
	if (ports == 0 || ports % 2 != 0) {
		fprintf(stderr, "l2fwd: an even number of ports is needed, there are %u\n", ports);
		return 1;
	}
	pool = rte_pktmbuf_pool_create("frames", MBUFS * ports, CACHE, 0, RTE_MBUF_DEFAULT_BUF_SIZE,
				       SOCKET_ID_ANY);
	if (pool == NULL)
		return 1;
	for (uint16_t port = 0; port < ports; port++) {
		if (start_port(port, pool) != 0) {
			fprintf(stderr, "l2fwd: port %u does not start\n", port);
			return 1;
		}
	}
	signal(SIGINT, on_signal);
	signal(SIGTERM, on_signal);
	puts("l2fwd: forwarding");
	fflush(stdout);
	while (!stop)
		for (uint16_t port = 0; port < ports; port++)
			forward(port);
	report(ports);
	return rte_eal_cleanup() == 0 ? 0 : 1;
}
