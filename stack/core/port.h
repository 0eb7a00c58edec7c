/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack/core/port.h - an instance's ethdev port: what it can do, its queues, transmit buffer and
 * interrupts. Knows rte_ethdev and nothing of any driver; what is used is what
 * rte_eth_dev_info_get() offers.
 *
 * Transmit: frames gather in a buffer and go out in one burst at the end of the call or poll that
 * made them; segments that a NIC with TSO would make out of one frame become one there (tso.h).
 * What the NIC does not take stays for the next burst; a full buffer drops, counted. It is full by
 * its mbufs: what waits there may be copies, which may take what is kept for receiving
 * (netif.c), and a chain has many. All of it under the instance.
 */
#ifndef STACK_CORE_PORT_H
#define STACK_CORE_PORT_H

#include "stack/core/clock.h"
#include "stack/core/rte.h"
#include "stack/core/tso.h"

#include "stack/conf/conf.h"
#include "stack/seen/seen.h"

#define UVS_TX_BUFFER 256 /* mbufs */
#define UVS_RX_BURST  32
#define UVS_MC_GROUPS 64 /* Ethernet multicast addresses heard one by one; with more, all */

struct uvs_share;

struct uvs_port {
	uint16_t id;
	uint16_t queues;         /* receive queues of this instance, from rxq on */
	uint16_t rxq, txq;       /* the first receive queue; the transmit queue */
	bool no_tx;              /* has none: somebody else sends (share.h) */
	bool joined;             /* another process configured and started it, and stops it */
	struct uvs_share *share; /* soft queues that wake it, too; NULL: none */
	uint16_t mtu;
	uint32_t lro_most; /* bytes of a frame that the NIC joins of segments; 0: it does not */
	uint16_t rx_desc, tx_desc;
	uint64_t rx_offloads, tx_offloads; /* RTE_ETH_RX_OFFLOAD_*, RTE_ETH_TX_OFFLOAD_* in use */
	uint64_t rss_hf;
	bool copy_tx;      /* the driver gives our very mbuf to the receiver */
	const char *alone; /* why no other process can poll its queues; NULL: it may be tried */
	bool intr;         /* RX interrupts work */
	int epfd;          /* readable when an armed queue has something; -1 */
	struct rte_ether_addr mac;
	char driver[32];
	uint64_t stamp_flag;    /* of frames with a time stamp by that clock; 0: there are none */
	int stamp_offset;       /* of it, in the mbuf */
	struct uvb_clock clock; /* of a uveth port; else idle is NULL */

	struct uvs_mc_group {
		struct rte_ether_addr mac;
		uint16_t users;
	} groups[UVS_MC_GROUPS];
	uint16_t ngroups, groups_unlisted; /* the latter: joined when the table was full */

	struct rte_mbuf *tx[UVS_TX_BUFFER];
	uint16_t tx_n;      /* frames in it */
	uint16_t tx_mbufs;  /* of all of them */
	struct uvs_tso tso; /* the last of them, if it may grow */
	/* latency.h: when the oldest write was made that no burst has followed yet; 0: there is
	 * none. */
	uint64_t write_ns;
	struct uvs_seen *seen; /* the instance's */
};

struct uvs_mem;

/* Ask the device and choose: queues, descriptors, offloads. 0 or a negative errno, logged. */
int uvs_port_probe(struct uvs_port *p, uint16_t id, const struct uvs_conf *c);

/* mbufs the receive queues may hold, so that the pool can be made before the port. */
uint32_t uvs_port_rx_mbufs(const struct uvs_port *p);

/* Configure, set up each queue on its pool, start. 0 or a negative errno, logged. */
int uvs_port_start(struct uvs_port *p, const struct uvs_conf *c, struct rte_mempool *const pool[]);
/* The same without interrupts and clock: its queues are others', by uvs_port_join(). */
int uvs_port_open(struct uvs_port *p, const struct uvs_conf *c, struct rte_mempool *const pool[]);
void uvs_port_stop(struct uvs_port *p);

/* The redirection table: entries, 0 if the port does not hash or does not tell. reta has room for
 * RTE_ETH_RSS_RETA_SIZE_512. */
uint32_t uvs_port_reta(const struct uvs_port *p, uint16_t *reta);
/* The hash's key: its length, 0 if the port does not tell or it is longer than room. */
uint32_t uvs_port_rss_key(const struct uvs_port *p, uint8_t *key, uint32_t room);

/* Hear an Ethernet multicast address; as often to be unheard. A port that several processes share
 * hears all of them: each process has its groups, the port has one list. */
void uvs_port_hear(struct uvs_port *p, const struct rte_ether_addr *mac);
void uvs_port_unhear(struct uvs_port *p, const struct rte_ether_addr *mac);

/* Use a port that another process has configured and started, with what it says of it in *p: id,
 * queues, offloads, address. Interrupts and clock are this process's own. 0; -ENOTSUP, logged: the
 * driver works in the process alone that has started the port. */
int uvs_port_join(struct uvs_port *p, const struct uvs_conf *c);

/* Takes the mbuf over. */
void uvs_port_send(struct uvs_port *p, struct rte_mbuf *m);
void uvs_port_flush(struct uvs_port *p);

/* Interrupts on all queues on: an arriving packet makes epfd readable. Look at the queues once more
 * afterwards. False: not now, sleep by time. */
bool uvs_port_arm(struct uvs_port *p);
void uvs_port_disarm(struct uvs_port *p);

/* Follow the port's clock, if it has one: armed and about to sleep, nothing to do until then; or
 * UVB_BUSY. One thread at a time. */
static inline void
uvs_port_idle(struct uvs_port *p, uint64_t until)
{
	if (p->clock.idle != NULL)
		p->clock.idle(p->clock.port, until);
}

#endif /* STACK_CORE_PORT_H */
