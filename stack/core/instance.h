/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack/core/instance.h - an instance: one lwIP on one ethdev port, and the loop that runs it.
 *
 * Threads: everything here is under the instance - the caller entered it with uvs_inst_enter() (the
 * shared model: takes `lock`; the separate model: is the instance's thread) - except what is marked
 * atomic. One thread at a time; different instances share nothing.
 *
 * The loop (uvs_inst_poll), in this order: RX burst of every queue, its frames through lwIP; frames
 * the host sent to itself; timers that are due; refused senders when mbufs came back; TX burst.
 * Each queue, and the soft queues together, have a budget (uvs_conf.budget); running into it is
 * counted (time_squeeze) and the rest is for the next poll.
 *
 * Hot path costs of a call: two atomic exchanges (lock), one clock read, one TX burst if frames
 * were made. No system call, no allocation here.
 */
#ifndef STACK_CORE_INSTANCE_H
#define STACK_CORE_INSTANCE_H

#include "stack/conf/conf.h"
#include "stack/core/lock.h"
#include "stack/core/mem.h"
#include "stack/core/port.h"
#include "stack/core/vlan.h"
#include "stack/seen/seen.h"

#include "lwip/netif.h"

/* Interfaces as applications number them, and zones of IPv6 addresses. */
#define UVS_IFINDEX_LO   1
#define UVS_IFINDEX_PORT 2
#define UVS_IFINDEX_VLAN 3 /* of the first */

/* Of a socket, which sock/ knows; not less. */
#define UVS_SOCK_SIZE 640u

/* Something to be run when mbufs are there again; in a list of the instance. */
struct uvs_starved {
	struct uvs_starved *next, **prev;
	void (*fed)(struct uvs_starved *s);
};

struct uvs_share;

struct uvs_instance {
	struct uvs_lock lock;
	struct uvl *lwip;    /* NULL until started */
	uint64_t now_ns;     /* clock at the last enter or poll */
	uint64_t next_timer; /* atomic: uvs_inst_timer() at the last leave */
	bool tx_later;       /* what this call makes may wait for the next one, or a poll */
	const struct uvs_conf *conf;

	struct uvs_port port;
	struct uvs_mem mem;
	struct netif netif; /* the port */
	struct uvs_vlan vlan[UVS_CONF_VLANS];
	uint8_t nvlans;
	struct netif lo;                /* 127.0.0.1 and ::1, with loopback = stack */
	netif_ext_callback_t on_change; /* addresses.c */
	struct uvs_starved *starved;
	uint64_t pruned_ns; /* when out-of-order data was dropped last */

	/* The frame that lwIP is being given, whole as it came; NULL: none. It may have been freed,
	 * but its memory is the pool's, and stays readable. */
	const struct rte_mbuf *rx_frame;

	uint64_t rx_ns; /* latency.h: when the frames at hand came */

	/* Where it counts: its page, or before it has one, in here. port.seen and mem.seen are the
	 * same. */
	struct uvs_seen *seen;
	struct uvs_seen unseen;

	struct uvs_share *share; /* the slot it has in a shared host; NULL: the port is its own */

	void *sock; /* of sock/: its tables for this instance */

	/* Deferred work of any thread that could not enter (a signal handler): a stack of
	 * struct uvs_deferred, pushed atomically, run by whoever leaves the instance. */
	struct uvs_deferred *deferred;

	/* The thread that runs it, if there is such a thread (separate.c). Atomic; set and cleared
	 * by the model's start and stop. */
	struct uvs_runner *runner;
};

/* Of a round of whoever drives, from *since until now, that handled n. */
static inline void
uvs_inst_account(struct uvs_instance *in, uint64_t *since, uint64_t now, unsigned int n)
{
	*(n != 0 ? &in->seen->loop.busy_ns : &in->seen->loop.spin_ns) += now - *since;
	*since = now;
}

struct uvs_deferred {
	struct uvs_deferred *next;
	void (*run)(struct uvs_deferred *d);
};

/* The instance this thread is inside; NULL: none. */
extern __thread struct uvs_instance *uvs_self
	__attribute__((visibility("hidden"), tls_model("initial-exec")));

/* Count in that page from now on; before the start, by the thread that starts. A page of a process
 * has room for struct uvl behind it. */
void uvs_inst_show(struct uvs_instance *in, struct uvs_seen *page);

/* Prepare the object: usable for sockets that need no packets yet. */
void uvs_inst_init(struct uvs_instance *in, const struct uvs_conf *c);

/* Pool, port, netif. EAL must be up. In a slot of a shared host, or with share NULL on a port of
 * its own. 0 or a negative errno, logged. */
int uvs_inst_start(struct uvs_instance *in, uint16_t port_id, struct uvs_share *share);

/* Entered: all connections dropped without a word, port and pool back. */
void uvs_inst_stop(struct uvs_instance *in);

/* Become the thread that runs the instance. False: this thread is inside already - a signal handler
 * interrupted it - and must not touch anything. */
bool uvs_inst_enter(struct uvs_instance *in);
/* The same if nobody is inside. */
bool uvs_inst_try_enter(struct uvs_instance *in);
/* Send what was made, run what was deferred, let go. */
void uvs_inst_leave(struct uvs_instance *in);
/* Let go of one that was stopped, for this thread; nobody enters it again. */
void uvs_inst_seal(struct uvs_instance *in);

/* Send what was made, unless it may wait. Under the instance. */
void uvs_inst_send(struct uvs_instance *in);

/* One round of the loop. Returns the number of frames handled. */
unsigned int uvs_inst_poll(struct uvs_instance *in);

/* When the next timer is due, ns; UINT64_MAX: none. Under the instance. */
uint64_t uvs_inst_timer(const struct uvs_instance *in);

/* Any thread: run d under the instance as soon as somebody leaves it. */
void uvs_inst_defer(struct uvs_instance *in, struct uvs_deferred *d);
/* Under the instance: run what is there, in the order in which it came. */
void uvs_inst_run_deferred(struct uvs_instance *in);

/* separate.c: somebody left something for the thread to do. Any thread, from handlers too. */
void uvs_runner_wake(struct uvs_runner *r);

/* Under the instance. */
void uvs_starve(struct uvs_instance *in, struct uvs_starved *s);
void uvs_unstarve(struct uvs_starved *s);
/* All of them hear that there are mbufs again. */
void uvs_feed(struct uvs_instance *in);

/* Under the instance: a frame ends here, and the last one of each reason can be seen. m may be
 * NULL; the second counts nothing, for who counts elsewhere. */
void uvs_inst_lost(struct uvs_instance *in, enum uvs_lost why, const struct rte_mbuf *m);
void uvs_inst_note(struct uvs_instance *in, enum uvs_lost why, const struct rte_mbuf *m);

/* Where tools find what it counts. */
struct uvs_view;
void uvs_inst_view(const struct uvs_instance *in, struct uvs_view *v);

/* netif.c */
int uvs_netif_add(struct uvs_instance *in);
void uvs_netif_receive(struct uvs_instance *in, struct rte_mbuf *m);
void uvs_netif_receive_lo(struct uvs_instance *in, struct rte_mbuf *m);
/* Deliver what the host sent to itself; false: there was nothing. */
bool uvs_netif_hairpin(struct uvs_instance *in);

/* addresses.c: what the configuration says about addresses and routes. Under the instance. */
void uvs_addresses_add(struct uvs_instance *in);
/* What was leased is given back. */
void uvs_addresses_remove(struct uvs_instance *in);
/* Everything that is found out on the network (DHCP, router advertisements) is there. */
bool uvs_addresses_ready(const struct uvs_instance *in);

#endif /* STACK_CORE_INSTANCE_H */
