/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Slots: handed out, taken back in order, reclaimed from the dead. Every step may be done again. */
#include "stack/core/log.h"
#include "stack/core/mem.h"
#include "stack/mgr/mgr.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define ALL_SLOTS(m) (((1ULL << (m)->host->nb_slots) - 1) & ~1ULL)

static struct uvs_lease *
lease_of(const struct mgr *m, uint32_t slot)
{
	int q = uvs_slot_queue(m->host, slot);

	return q >= 0 ? &m->host->lease[q] : NULL;
}

static void
set_life(struct mgr *m, uint32_t slot, enum uvs_life life, bool next)
{
	_Atomic uint32_t *word = &m->host->x.inbox[slot].life;
	uint32_t gen = atomic_load_explicit(word, memory_order_relaxed) >> 8;

	atomic_store_explicit(word, (gen + next) << 8 | (uint32_t)life, memory_order_release);
}

void
slots_wake(struct mgr *m, uint64_t slots)
{
	for (; slots != 0; slots &= slots - 1)
		if (write(m->bells[__builtin_ctzll(slots)], "", 1) < 0 && errno != EAGAIN)
			uvs_log(UVS_LOG_WARNING, "a slot's bell: %s", strerror(errno));
}

/* ----------------------------------------------------------------------------------------- RETA */

/* Receivers find by it where a connection went before. */
static void
tell_receivers(struct mgr *m)
{
	uint8_t slot[RTE_ETH_RSS_RETA_SIZE_512];

	for (uint32_t i = 0; i < m->reta_size; i++)
		slot[i] = (uint8_t)(m->reta[i] + 1);
	uvs_steer_reta(&m->map, slot, m->reta_size);
}

int
reta_write(struct mgr *m)
{
	struct rte_eth_rss_reta_entry64 group[RTE_ETH_RSS_RETA_SIZE_512 / RTE_ETH_RETA_GROUP_SIZE];

	memset(group, 0xff, sizeof(group));
	for (uint32_t i = 0; i < m->reta_size; i++)
		group[i / RTE_ETH_RETA_GROUP_SIZE].reta[i % RTE_ETH_RETA_GROUP_SIZE] = m->reta[i];
	return rte_eth_dev_rss_reta_update(m->port.id, group, (uint16_t)m->reta_size);
}

/* What arrives goes to the queues that somebody polls. */
static void
follow_reta(struct mgr *m)
{
	int rc;

	if (m->reta_size == 0 ||
	    uvs_reta_follow(m->reta, m->reta_size, m->host->lease, m->host->nb_queues) == 0)
		return;
	rc = reta_write(m);
	if (rc != 0)
		uvs_log(UVS_LOG_ERROR, "the NIC does not take its redirection table: %s",
			strerror(-rc));
	tell_receivers(m);
}

static int
move(struct mgr *m, uint32_t slot, enum uvs_lease_event event)
{
	struct uvs_lease *l = lease_of(m, slot);
	int rc = l != NULL ? uvs_lease_move(l, event) : 0;

	if (rc == 0 && l != NULL) {
		follow_reta(m);
		unhashed_follow(m);
		uvs_nicrules_follow(&m->nic_rules, slot);
	}
	return rc;
}

/* ---------------------------------------------------------------------------------------- lease */

/* The manager's own gives way, unless it has the card for good. */
uint32_t
slots_free(const struct mgr *m)
{
	return (uint32_t)__builtin_popcountll(ALL_SLOTS(m) & ~m->used) +
	       (m->standin.slot != 0 && !m->host->by_manager);
}

bool
slot_is_up(const struct mgr *m, uint32_t slot)
{
	return uvs_softq_up(&m->boss, slot);
}

/* What the NIC had is found by its owner word: at home, or held by the slot. */
static void
leave(struct rte_mbuf *mbuf)
{
	(void)mbuf;
}

/* Nobody polls it: what is in it is lost, what a dead process had begun is ended, and the NIC has
 * no buffer any more. */
static void
stop_queue(struct mgr *m, uint32_t slot)
{
	int q = uvs_slot_queue(m->host, slot);

	uvs_mem_freed = leave;
	if (q >= 0 && (rte_eth_dev_rx_queue_stop(m->port.id, (uint16_t)q) != 0 ||
		       rte_eth_dev_tx_queue_stop(m->port.id, (uint16_t)q) != 0))
		uvs_log(UVS_LOG_ERROR, "queue %d does not stop", q);
	uvs_mem_freed = NULL;
}

static void
start_queue(struct mgr *m, uint32_t slot)
{
	int q = uvs_slot_queue(m->host, slot);

	if (q >= 0 && (rte_eth_dev_rx_queue_start(m->port.id, (uint16_t)q) != 0 ||
		       rte_eth_dev_tx_queue_start(m->port.id, (uint16_t)q) != 0))
		uvs_log(UVS_LOG_ERROR, "queue %d does not restart", q);
}

/* All that is at home is free again. The NIC must have none of it meanwhile: what it receives into
 * is at home, too. The pool of a queue that the manager polls for good was filled when it was made,
 * and what the driver has of it stays the driver's. */
static void
refill(struct mgr *m, uint32_t slot)
{
	if (m->host->by_manager && uvs_slot_queue(m->host, slot) >= 0)
		return;
	stop_queue(m, slot);
	uvs_mem_refill(m->host->slot[slot].pool);
	start_queue(m, slot);
}

/* Returns the generation of its queue's lease. */
static uint32_t
lease_one(struct mgr *m, uint32_t slot, pid_t pid, const char name[UVS_COMM_LEN])
{
	struct uvs_lease *l = lease_of(m, slot);
	struct uvs_slot *s = &m->host->slot[slot];
	uint32_t gen = l != NULL ? (uint32_t)uvs_lease_grant(l, slot) : 0;

	refill(m, slot);
	memset(s->pcb_used, 0, m->host->nb_pcbs * sizeof(s->pcb_used[0]));
	atomic_store(&s->pid, pid);
	memcpy(s->name, name, sizeof(s->name));
	s->leases++;
	set_life(m, slot, UVS_LIFE_UP, true);
	m->used |= 1ULL << slot;
	return gen;
}

void
slot_take(struct mgr *m, uint32_t slot)
{
	static const char name[UVS_COMM_LEN] = "uvstackd";

	lease_one(m, slot, getpid(), name);
	move(m, slot, UVS_LEASE_READY);
}

int
slots_lease(struct mgr *m, struct client *c, uint32_t n, struct uvs_msg_slots *msg)
{
	if (n > slots_free(m))
		return -EBUSY;
	standin_end(m);
	for (uint32_t slot = 1; slot < m->host->nb_slots && msg->n < n; slot++) {
		if ((m->used >> slot & 1) != 0)
			continue;
		msg->s[msg->n].slot = slot;
		msg->s[msg->n++].gen = lease_one(m, slot, c->pid, c->name);
		c->slots |= 1ULL << slot;
	}
	standin_follow(m);
	return 0;
}

/* What was not answered is said again to the next manager, which may have seen it from the words.
 */

int
slot_ready(struct mgr *m, struct client *c, uint32_t slot)
{
	if ((c->ready >> slot & 1) != 0)
		return 0;
	c->ready |= 1ULL << slot;
	if (c->ready == c->slots && c->turn != 0)
		span_note(&m->attach, mgr_now() - c->turn);
	return move(m, slot, UVS_LEASE_READY);
}

int
slot_park(struct mgr *m, struct client *c, uint32_t slot)
{
	if ((c->parked >> slot & 1) != 0)
		return 0;
	c->parked |= 1ULL << slot;
	return move(m, slot, UVS_LEASE_PARK);
}

void
slot_stall(struct mgr *m, uint32_t slot, bool stalled)
{
	/* Refused in states that have no share of the RETA: nothing to move then. */
	move(m, slot, stalled ? UVS_LEASE_STALL : UVS_LEASE_RESUME);
}

/* -------------------------------------------------------------------------------------- reclaim */

static void
bring_home(struct mgr *m, uint32_t slot)
{
	uint64_t wake = 0;

	m->stats.returned += uvs_softq_reclaim(&m->boss, slot, &wake);
	slots_wake(m, wake & ALL_SLOTS(m));
	m->held = true; /* look at it in the next tick */
}

/* From the moment on at which nobody of it runs any more. */
static void
reclaim_one(struct mgr *m, uint32_t slot, bool died)
{
	struct uvs_slot *s = &m->host->slot[slot];
	uint64_t began = mgr_now();

	set_life(m, slot, UVS_LIFE_DOWN, false);
	move(m, slot, died ? UVS_LEASE_DEATH : UVS_LEASE_EMPTIED);
	uvs_steer_reclaim(&m->rules, &m->map, slot);
	stop_queue(m, slot); /* at once: what a process had begun there ends before others see it */
	bring_home(m, slot);
	refill(m, slot);
	m->stats.resets += uvs_slot_queue(m->host, slot) >= 0;
	reset_peers(m, slot);
	move(m, slot, UVS_LEASE_RESET);
	set_life(m, slot, UVS_LIFE_FREE, false);
	m->used &= ~(1ULL << slot);
	s->reclaims += died;
	s->reclaim_ns = mgr_now() - began;
	if (died)
		span_note(&m->reclaim, s->reclaim_ns);
}

int
slot_emptied(struct mgr *m, struct client *c, uint32_t slot)
{
	if ((c->parked >> slot & 1) == 0)
		return -EPROTO;
	reclaim_one(m, slot, false);
	c->slots &= ~(1ULL << slot);
	m->stats.exits++;
	standin_follow(m);
	return 0;
}

void
slots_reclaim(struct mgr *m, struct client *c)
{
	for (uint64_t left = c->slots; left != 0; left &= left - 1)
		reclaim_one(m, (uint32_t)__builtin_ctzll(left), true);
	c->slots = 0;
	standin_follow(m);
}

void
slot_give(struct mgr *m, uint32_t slot)
{
	move(m, slot, UVS_LEASE_PARK);
	reclaim_one(m, slot, false);
}

/* ------------------------------------------------------------------------------------ take-over */

static enum uvs_life
life_of(const struct mgr *m, uint32_t slot)
{
	return (enum uvs_life)(atomic_load(&m->host->x.inbox[slot].life) & 0xff);
}

/* Was it being given to somebody, or taken back? */
static bool
is_unfinished(const struct mgr *m, uint32_t slot)
{
	const struct uvs_lease *l = lease_of(m, slot);
	bool leased = l != NULL && UVS_LEASE_STATE(atomic_load(&l->word)) != UVS_LEASE_FREE;

	return life_of(m, slot) == UVS_LIFE_DOWN || (life_of(m, slot) == UVS_LIFE_FREE && leased);
}

void
slots_finish(struct mgr *m)
{
	for (uint32_t slot = 1; slot < m->host->nb_slots; slot++)
		if (is_unfinished(m, slot))
			reclaim_one(m, slot, true);
}

/* What its stack had said, and the answer, may have been lost: it is ready, or will see that its
 * manager has gone. */
static void
adopt_one(struct mgr *m, struct client *c, uint32_t slot)
{
	struct uvs_lease *l = lease_of(m, slot);
	enum uvs_lease_state state =
		l != NULL ? UVS_LEASE_STATE(atomic_load(&l->word)) : UVS_LEASE_LIVE;

	c->slots |= 1ULL << slot;
	m->used |= 1ULL << slot;
	c->stopped |= state == UVS_LEASE_STALLED;
	if (state == UVS_LEASE_PARKED)
		c->parked |= 1ULL << slot;
	slot_ready(m, c, slot); /* refused where it was ready before */
}

void
slots_adopt(struct mgr *m, struct client *c)
{
	for (uint32_t slot = 1; slot < m->host->nb_slots; slot++)
		if (life_of(m, slot) == UVS_LIFE_UP &&
		    atomic_load(&m->host->slot[slot].pid) == c->pid)
			adopt_one(m, c, slot);
	follow_reta(m);
	unhashed_follow(m);
	for (uint64_t left = c->slots; left != 0; left &= left - 1)
		uvs_nicrules_follow(&m->nic_rules, (uint32_t)__builtin_ctzll(left));
	standin_follow(m);
}

#define RULES_BUDGET 64

void
slots_tick(struct mgr *m)
{
	uint64_t wake = 0;

	uvs_softq_disarm(&m->boss);
	m->held = uvs_softq_tick(&m->boss, &wake) != 0;
	slots_wake(m, wake & ALL_SLOTS(m));
	do
		while (uvs_rules_serve(&m->rules, RULES_BUDGET) != 0)
			;
	while (uvs_softq_arm(&m->boss) && uvs_rules_waiting(&m->map.rules));
}
