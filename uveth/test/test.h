/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test.h - the unit tests of net_uveth: one process, EAL without huge pages, ports over a fabric
 * that the program raises for itself.
 */
#ifndef UVETH_TEST_H
#define UVETH_TEST_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_ethdev.h>
#include <rte_ip.h>
#include <rte_mbuf.h>
#include <rte_tcp.h>
#include <rte_udp.h>

#include "uvbridge/abi.h"

_Noreturn void test_fail(const char *file, int line, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#define CHECK(cond)                                                 \
	do {                                                        \
		if (!(cond))                                        \
			test_fail(__FILE__, __LINE__, "%s", #cond); \
	} while (0)
#define CHECK_EQ(a, b)                                                                             \
	do {                                                                                       \
		long long a_ = (long long)(a), b_ = (long long)(b);                                \
		if (a_ != b_)                                                                      \
			test_fail(__FILE__, __LINE__,                                              \
				  "%s is %lld (0x%llx) and not %s, %lld (0x%llx)", #a, a_, a_, #b, \
				  b_, b_);                                                         \
	} while (0)

struct test {
	const char *name;
	void (*run)(void);
};

/* Each file of tests has one table, ended by an entry without a name. */
extern const struct test burst_tests[], control_tests[], csum_tests[], devargs_tests[],
	flow_tests[], intr_tests[], rss_tests[], stats_tests[], time_tests[], tso_tests[],
	vlan_tests[];

/* ---------------------------------------------------------------------------------------- ports */

#define BURST 32

struct port {
	uint16_t id;
	char name[RTE_ETH_NAME_MAX_LEN];
	struct rte_ether_addr mac;
	struct rte_mempool *pool;
	uint16_t nb_queues;
};

/* How a port is configured; zeros are sensible. */
struct setup {
	uint16_t queues; /* of each direction; 0: 1 */
	uint64_t rx_offloads;
	uint64_t tx_offloads;
	uint64_t rss_hf;    /* 0: no RSS */
	uint16_t mtu;       /* 0: 1500 */
	uint32_t lro_max;   /* longest frame of LRO; 0: as the driver has it */
	uint16_t data_room; /* of an mbuf, headroom included; 0: RTE_MBUF_DEFAULT_BUF_SIZE */
	uint32_t mbufs;     /* 0: plenty */
	bool lsc, rxq_intr;
	bool deferred;    /* queues are started by hand */
	const char *args; /* more device arguments */
};

extern const char *test_fabric;

void port_create(struct port *p, const char *args);         /* probe only */
void port_open(struct port *p, const struct setup *s);      /* probe, configure, start */
void port_configure(struct port *p, const struct setup *s); /* what follows the probe */
void port_close(struct port *p);

/* A pair that knows each other's addresses: an unknown address would be flooded. */
void pair_open(struct port *a, struct port *b, const struct setup *s);
void pair_close(struct port *a, struct port *b);

uint64_t xstat(const struct port *p, const char *name);
struct rte_eth_stats basic(const struct port *p);

/* ---------------------------------------------------------------------------------------- flows */

enum { V4, V6 };

struct flow {
	int version;
	uint8_t proto; /* IPPROTO_TCP, IPPROTO_UDP */
	uint8_t src[16], dst[16];
	uint16_t sport, dport;
};

/* The same flow for the same number. */
struct flow flow_number(uint32_t n, int version, uint8_t proto);

/* A frame of that flow with `payload` bytes of data, all checksums right. */
struct rte_mbuf *flow_frame(const struct port *from, const struct port *to, const struct flow *f,
			    uint16_t payload);
uint32_t flow_hash(const struct flow *f, const uint8_t *key);

/* A frame of `len` bytes with a counting pattern behind the Ethernet header. */
struct rte_mbuf *plain_frame(const struct port *from, const struct rte_ether_addr *to,
			     uint32_t len);
bool pattern_ok(const struct rte_mbuf *m, uint32_t len);

/* Send one; true if the driver took it. */
bool send_one(const struct port *p, uint16_t queue, struct rte_mbuf *m);
/* Receive what is there on one queue, up to n. */
uint16_t receive(const struct port *p, uint16_t queue, struct rte_mbuf **m, uint16_t n);
/* The one frame that waits on queue 0; fails if there is none or more. */
struct rte_mbuf *receive_one(const struct port *p);
/* All queues: how many frames; freed. */
uint32_t receive_all(const struct port *p);

#endif
