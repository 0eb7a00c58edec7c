/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack/core/share.h - an instance in a slot of a shared host (stack/share/host.h).
 *
 * The port is the manager's; the instance has at most one receive queue of it, one transmit queue,
 * the pool of its slot, and soft queues from and to every other slot. In the loop: the receive
 * burst is looked through for frames of others, which are handed over; then comes what others have
 * handed over, and buffers that come home. What was staged is published, and who sleeps is woken,
 * at the end of each poll and each call.
 *
 * Nothing here asks the manager for anything while packets flow, and nothing waits for anybody.
 * Once started, the process takes no lock that another process can hold.
 *
 * Threads: under the instance, but for uvs_share_attach().
 */
#ifndef STACK_CORE_SHARE_H
#define STACK_CORE_SHARE_H

#include "stack/conf/conf.h"
#include "stack/core/rte.h"
#include "stack/share/host.h"

struct uvs_claims;
struct uvs_home;
struct uvs_instance;
struct uvs_port;
struct uvs_share;
struct pbuf;
struct udp_pcb;

/* The process becomes one of the host: asks the manager, starts EAL beside it, checks what it
 * finds, and is given a slot for each of n instances; share[] are they. Once in a process. 0 or a
 * negative errno, logged. */
int uvs_share_attach(const struct uvs_conf *c, struct uvs_share **share, uint32_t n);

/* The host in EAL's shared memory; NULL, logged: there is none, or one of another build. */
struct uvs_host *uvs_share_host(void);

/* The process has its port to itself and n instances on it, each with a receive and a transmit
 * queue if the device has so many (alone.c): a host in its own memory, without a manager.
 * Configures and starts the port. 0 or a negative errno, logged. */
int uvs_share_alone(const struct uvs_conf *c, uint16_t port_id, struct uvs_share **share,
		    uint32_t n);
/* After the instances have stopped: the port of such a host, too. */
void uvs_share_end(void);

/* By who makes a host: what its stacks have to know of the port, which is started; and, in an array
 * for the slot's pool, where they find its buffers. */
void uvs_share_describe(struct uvs_host *h, const struct uvs_port *p);
void uvs_share_show_pool(struct uvs_host *h, uint32_t slot, uint64_t *label_at);

/* Port, pool and soft queues of the slot become the instance's. */
int uvs_share_start(struct uvs_share *s, struct uvs_instance *in);
/* The instance polls: let traffic come. */
int uvs_share_ready(struct uvs_share *s);
/* Let it go elsewhere, take out what is left, and give the slot back. */
void uvs_share_leave(struct uvs_share *s, struct uvs_instance *in);
void uvs_share_close(struct uvs_share *s, struct uvs_instance *in);

/* Wake whoever runs the instance. Any thread. */
void uvs_share_ring(const struct uvs_share *s);

uint32_t uvs_share_slot(const struct uvs_share *s);
/* Of the ports of all processes of the host. */
struct uvs_claims *uvs_share_claims(const struct uvs_share *s);
/* Which source ports bring answers to the slot's own queue. */
const struct uvs_home *uvs_share_home(const struct uvs_share *s);
/* Memory for lwIP's state, which tools can read. */
void *uvs_share_lwip(const struct uvs_share *s);

/* The slot's counters. */
struct uvs_view;
void uvs_share_view(const struct uvs_share *s, struct uvs_view *v);

/* TCP PCBs in the slot's table. */
void *uvs_share_pcb(struct uvs_share *s, size_t size);
void uvs_share_pcb_free(struct uvs_share *s, void *pcb);

/* The stack is, or no longer is, a member of the groups that have this Ethernet address. Its first
 * and its last one: the caller counts. */
void uvs_share_join(struct uvs_share *s, const struct rte_ether_addr *mac);
void uvs_share_quit(struct uvs_share *s, const struct rte_ether_addr *mac);

/* A UDP socket has a peer; and, before anything of it changes, has it no longer. Nothing to do on a
 * host that is not shared. */
void uvs_share_connected(struct uvs_instance *in, struct udp_pcb *pcb);
void uvs_share_disconnected(struct uvs_instance *in, struct udp_pcb *pcb);

/* May the slot's own queue be polled? Once per burst. */
bool uvs_share_mine(const struct uvs_share *s);
/* A burst from the slot's own queue: to lwIP, or to whose it is. */
void uvs_share_receive(struct uvs_instance *in, struct rte_mbuf **m, uint32_t n);
/* What others have handed over. Returns how many frames. */
uint32_t uvs_share_poll(struct uvs_instance *in);
/* Do the slots have the loopback interface in common? Those of one process. */
bool uvs_share_has_lo(const struct uvs_share *s);
/* A packet that the host sends to its own address, by the loopback interface or the port; the
 * caller keeps p. */
void uvs_share_loop(struct uvs_instance *in, const struct pbuf *p, bool lo);

/* A free buffer of another slot's pool. */
void uvs_share_send_home(struct uvs_share *s, struct rte_mbuf *m);

/* Transmit what was made - a slot without transmit queue through another one's - and let others see
 * what was staged for them. */
void uvs_share_flush(struct uvs_instance *in);

/* As uvs_port_arm() and uvs_port_disarm(), for the soft queues. */
bool uvs_share_arm(struct uvs_share *s);
void uvs_share_disarm(struct uvs_share *s);

#endif /* STACK_CORE_SHARE_H */
