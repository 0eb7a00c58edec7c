/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack/share/lease.h - who has a hardware queue of the shared NIC.
 *
 * The manager is the only writer of every word here. A stack asks over its control connection, and
 * looks at its queue's word before each burst: while the generation is the one it was given, the
 * queue is its own.
 *
 *                grant           ready            park
 *        FREE ---------> GRANTED -----> LIVE ---------------> PARKED
 *         ^                 |          |  ^ |                  |  |
 *         |            park,|     stall|  | |death      emptied|  |death
 *         |            death|          v  |resume              |  |
 *         |                 |      STALLED|                    |  |
 *         |                 |          |death                  |  |
 *         |   reset         v          v                       v  v
 *        FREE <--------- RESETTING <----------------------------
 *
 *  - FREE: nobody's, empty, nothing of anyone's in it.
 *  - GRANTED: its stack is setting itself up. No traffic is directed to it.
 *  - LIVE: its stack polls it; it has its share of the redirection table (RETA).
 *  - PARKED: its share has gone to the others; its stack takes out what is still in it.
 *  - STALLED: its process has been stopped for too long, and its share has gone to the others. The
 *    queue is still its own: a stopped process may stand in the middle of a burst.
 *  - RESETTING: its process has gone, or has said that it does not touch it any more. Nobody polls
 *    it; the manager empties it and brings the buffers home.
 *
 * Forbidden, whatever happens: a queue with two stacks; a share of the RETA for a queue nobody
 * polls, for longer than it takes to notice; a grant of a queue that has not been reset. All that
 * is not in the table is refused.
 *
 * A manager that dies leaves words that are each true by themselves: its successor goes on from
 * them, and works the RETA out anew. Every step is idempotent: a grant whose answer was lost is
 * answered again, a reset is done again. Checked with a death at every step by model/lease.pml.
 *
 *  word         writer   order    reader                       order
 *  lease.word   manager  release  its stack, once per burst    acquire
 *  lease.slot   manager  before word                           after word
 */
#ifndef STACK_SHARE_LEASE_H
#define STACK_SHARE_LEASE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define UVS_QUEUES_MAX 64

enum uvs_lease_state {
	UVS_LEASE_FREE,
	UVS_LEASE_GRANTED,
	UVS_LEASE_LIVE,
	UVS_LEASE_PARKED,
	UVS_LEASE_STALLED,
	UVS_LEASE_RESETTING,
	UVS_LEASE_STATES,
	UVS_LEASE_REFUSED = UVS_LEASE_STATES,
};

enum uvs_lease_event {
	UVS_LEASE_GRANT,   /* a stack asked, and gets it */
	UVS_LEASE_READY,   /* its stack polls */
	UVS_LEASE_PARK,    /* its stack leaves, or an administrator wants it to */
	UVS_LEASE_EMPTIED, /* its stack does not touch it any more */
	UVS_LEASE_STALL,   /* its process was found stopped for too long */
	UVS_LEASE_RESUME,  /* it runs again */
	UVS_LEASE_DEATH,   /* its process is gone */
	UVS_LEASE_RESET,   /* emptied, its buffers at home */
	UVS_LEASE_EVENTS,
};

/* word = generation << 8 | state; the generation grows with every grant. */
struct uvs_lease {
	_Atomic uint32_t word;
	uint32_t slot; /* of the stack that has it; of the last one while FREE */
};
#define UVS_LEASE_WORD(gen, state) ((uint32_t)(gen) << 8 | (uint32_t)(state))
#define UVS_LEASE_GEN(word)        ((word) >> 8)
#define UVS_LEASE_STATE(word)      ((enum uvs_lease_state)((word)&0xff))

/* Where the event leads from the state; UVS_LEASE_REFUSED: it must not happen there. */
enum uvs_lease_state uvs_lease_next(enum uvs_lease_state state, enum uvs_lease_event event);

/* Has a queue in this state a share of the RETA? */
bool uvs_lease_in_reta(enum uvs_lease_state state);

/* By the manager: let the event happen. -EPROTO: refused, nothing changed. */
int uvs_lease_move(struct uvs_lease *l, enum uvs_lease_event event);

/* By the manager: give a FREE queue to a stack. The generation, or -EPROTO. Asking again, for a
 * queue that was granted to the same slot and is not live yet, gives the same answer. */
int64_t uvs_lease_grant(struct uvs_lease *l, uint32_t slot);

/* By the stack, once per burst: may it go on? */
static inline bool
uvs_lease_mine(const struct uvs_lease *l, uint32_t gen)
{
	uint32_t word = atomic_load_explicit(&l->word, memory_order_acquire);

	return UVS_LEASE_GEN(word) == gen && UVS_LEASE_STATE(word) != UVS_LEASE_FREE &&
	       UVS_LEASE_STATE(word) != UVS_LEASE_RESETTING;
}

const char *uvs_lease_state_name(enum uvs_lease_state state);
const char *uvs_lease_event_name(enum uvs_lease_event event);

/* The redirection table for the queues that have a share now: every queue the same number of
 * entries, give or take one, and no entry moved that need not be (its flows would change stacks).
 * reta[size] is what is in force; entries that name no such queue are moved. Returns how many were
 * changed. With no queue live it is left as it is. */
uint32_t uvs_reta_follow(uint16_t *reta, uint32_t size, const struct uvs_lease *lease,
			 uint32_t nb_queues);

#endif /* STACK_SHARE_LEASE_H */
