/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack/core/share_priv.h - the inside of share.h: share.c attaches, starts and stops; share_rx.c
 * moves frames.
 */
#ifndef STACK_CORE_SHARE_PRIV_H
#define STACK_CORE_SHARE_PRIV_H

#include <rte_epoll.h>

#include "stack/core/port.h"
#include "stack/core/share.h"
#include "stack/share/proto.h"
#include "stack/share/home.h"
#include "stack/share/steer.h"

struct uvs_share {
	struct uvs_host *host;
	struct uvs_slot *me;
	uint32_t slot;
	int queue; /* -1: none */
	uint32_t gen;
	struct uvs_softq_end end;
	struct uvs_steer_map map;
	struct uvs_steer steer;
	struct uvs_home home;

	/* Buffers of others, as many as did not fit into a ring on the way home. */
	struct rte_mbuf *homeless;

	uint32_t *free_pcb; /* [nb_pcbs] */
	uint32_t nb_free_pcbs;

	struct rte_epoll_event bell;
};

/* The process's connection to the manager, and how the others are woken. Written before the first
 * instance starts. */
struct uvs_link {
	struct uvs_host *host;
	char name[UVS_CONF_STR]; /* of the host */
	int control;
	int efd[UVS_PROTO_FDS_MAX]; /* of each slot; slot 0 is the manager's */
};
extern struct uvs_link uvs_link_up __attribute__((visibility("hidden")));

static inline void
uvs_count(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
			      memory_order_relaxed);
}

/* A slot of a host in the process's own memory (alone.c): there is no manager to be told, and
 * lwIP's PCBs are ordinary memory. */
static inline bool
uvs_share_is_alone(const struct uvs_share *s)
{
	return s->me->pcb == NULL;
}

/* The slot `slot` of h, leased with generation gen. NULL: it cannot be one, or no memory. */
struct uvs_share *uvs_share_new(struct uvs_host *h, uint32_t slot, uint32_t gen);

/* Of a slot without transmit queue: what was made goes out through another one's. */
void uvs_share_proxy(struct uvs_share *s, struct uvs_port *p);

/* A connection of this stack's by its ends; steering's byte of it. */
uint8_t *uvs_share_own(void *arg, const struct uvs_flow *f);

#endif /* STACK_CORE_SHARE_PRIV_H */
