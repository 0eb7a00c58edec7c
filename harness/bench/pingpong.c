/* SPDX-License-Identifier: BSD-3-Clause
 *
 * uvnet_pingpong - the time of one frame to another process and back, over any ethdev.
 *
 * Sends one frame at a time and polls for its return; whoever is at the other end sends back what
 * it gets (dpdk-testpmd --forward-mode=macswap --burst=1). No burst to share a cost with: this is
 * what a request pays.
 *
 * Usage: uvnet_pingpong EAL-ARGUMENT... -- COUNT SIZE DESTINATION-MAC
 * Prints one JSON object: round trips in ns, as percentiles, and how many frames were lost. A frame
 * that is not back in 100 ms is lost. Exit status 0 if none was lost after the first hundred.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_ether.h>
#include <rte_mbuf.h>

#define WARM_UP 100
#define RING    256
#define LOST_MS 100

struct options {
	uint32_t count;
	uint16_t size;
	struct rte_ether_addr peer;
};

static int
fail(const char *what, int code)
{
	fprintf(stderr, "uvnet_pingpong: %s: %s\n", what, rte_strerror(code < 0 ? -code : code));
	return 1;
}

static int
port_start(struct rte_mempool **pool)
{
	struct rte_eth_conf conf = {0};
	int rc;

	*pool = rte_pktmbuf_pool_create("pingpong", 4095, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE,
					(int)rte_socket_id());
	if (*pool == NULL)
		return -rte_errno;
	rc = rte_eth_dev_configure(0, 1, 1, &conf);
	if (rc == 0)
		rc = rte_eth_rx_queue_setup(0, 0, RING, rte_socket_id(), NULL, *pool);
	if (rc == 0)
		rc = rte_eth_tx_queue_setup(0, 0, RING, rte_socket_id(), NULL);
	if (rc == 0)
		rc = rte_eth_dev_start(0);
	if (rc == 0)
		rte_eth_promiscuous_enable(0); /* ports without the call receive everything */
	return rc;
}

static struct rte_mbuf *
make_frame(struct rte_mempool *pool, const struct options *o)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool);
	struct rte_ether_hdr *eth;

	if (m == NULL)
		return NULL;
	eth = (struct rte_ether_hdr *)rte_pktmbuf_append(m, o->size);
	memset(eth, 0, o->size);
	rte_ether_addr_copy(&o->peer, &eth->dst_addr);
	rte_eth_macaddr_get(0, &eth->src_addr);
	eth->ether_type = rte_cpu_to_be_16(0x88b5); /* for local experiments (IEEE 802) */
	return m;
}

/* Cycles of one round trip; 0: the frame was lost. */
static uint64_t
trip(struct rte_mempool *pool, const struct options *o)
{
	struct rte_mbuf *m = make_frame(pool, o), *back;
	uint64_t start = rte_rdtsc(), now, limit = start + rte_get_tsc_hz() / 1000 * LOST_MS;

	/* A port whose other end is still coming up takes nothing. */
	while (m != NULL && rte_eth_tx_burst(0, 0, &m, 1) != 1)
		if (rte_rdtsc() > limit) {
			rte_pktmbuf_free(m);
			return 0;
		}
	while (m != NULL && rte_eth_rx_burst(0, 0, &back, 1) == 0)
		if (rte_rdtsc() > limit)
			return 0;
	now = rte_rdtsc();
	rte_pktmbuf_free(back);
	return now - start;
}

static int
ascending(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static double
percentile(const uint64_t *sorted, uint32_t n, double p)
{
	return (double)sorted[(uint32_t)(p * (n - 1))] * 1e9 / (double)rte_get_tsc_hz();
}

static int
measure(struct rte_mempool *pool, const struct options *o)
{
	uint64_t *cycles = calloc(o->count, sizeof(*cycles));
	uint32_t n = 0, lost = 0;

	if (cycles == NULL)
		return fail("samples", ENOMEM);
	for (uint32_t i = 0; i < WARM_UP; i++)
		trip(pool, o);
	for (uint32_t i = 0; i < o->count; i++) {
		uint64_t c = trip(pool, o);

		if (c == 0)
			lost++;
		else
			cycles[n++] = c;
	}
	if (n == 0) {
		free(cycles);
		return fail("no frame came back", ETIMEDOUT);
	}
	qsort(cycles, n, sizeof(*cycles), ascending);
	printf("{\"trips\": %" PRIu32 ", \"lost\": %" PRIu32 ", \"p50\": %.0f, \"p99\": %.0f, "
	       "\"p999\": %.0f}\n",
	       n, lost, percentile(cycles, n, 0.5), percentile(cycles, n, 0.99),
	       percentile(cycles, n, 0.999));
	free(cycles);
	return lost != 0;
}

int
main(int argc, char **argv)
{
	struct rte_mempool *pool;
	struct options o;
	int used = rte_eal_init(argc, argv), rc;

	if (used < 0)
		return fail("EAL", rte_errno);
	argc -= used;
	argv += used;
	if (argc != 4 || rte_ether_unformat_addr(argv[3], &o.peer) != 0 || atoi(argv[1]) < 1 ||
	    atoi(argv[2]) < 60 || atoi(argv[2]) > 1514) {
		fprintf(stderr, "Usage: uvnet_pingpong EAL-ARGUMENT... -- COUNT SIZE MAC\n"
				"  COUNT round trips of frames of SIZE bytes (60 to 1514)\n");
		return 2;
	}
	o.count = (uint32_t)atoi(argv[1]);
	o.size = (uint16_t)atoi(argv[2]);
	rc = port_start(&pool);
	if (rc != 0)
		return fail("port 0", rc);
	rc = measure(pool, &o);
	rte_eth_dev_stop(0);
	rte_eth_dev_close(0);
	rte_eal_cleanup();
	return rc;
}
