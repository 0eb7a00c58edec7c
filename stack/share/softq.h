/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack/share/softq.h - soft queues: packet buffers from one stack to another, without a copy.
 *
 * Processes that share a NIC receive frames that belong to each other. The one that has a frame
 * hands its buffer over: it says in the buffer's owner word whose it is now, and puts a reference
 * on the soft queue from it to that stack. When the other has done with it, the buffer goes home
 * the same way. It is the crossbar of the fabric (uvbridge/abi.h) with references in place of
 * copies: one ring for each pair of stacks, with one writer at each end, so that nobody waits for
 * anybody, alive or dead.
 *
 * Who is who
 * ----------
 *  slot      the place of a stack thread in the host: its soft queues, and its pool. 0 is the
 *            manager's, who stands in for those that are gone.
 *  pool      of a slot: buffers that its NIC queue receives into and its sockets send from.
 *  home      a buffer is at home when it is its slot's: free, in the NIC, or in use there. Most
 *            never leave. The owner word of a buffer at home is never written: sharing costs
 * nothing where nothing is shared.
 *
 * The life of a buffer, by its owner word
 * ---------------------------------------
 *
 *      HOME ----stage----> RING(to, from, position) ----take----> HELD(to)
 *        ^                                                          |
 *        '-- take, at home -- RING(home, from, position) <--stage---'
 *
 *  - stage writes owner, then slot[], and with publish head. Killed before head: the word names a
 *    place in a ring where the buffer does not stand; uvs_softq_reclaim() of the sender finds it.
 *  - take writes owner for each buffer, then tail. Killed before tail: the references in
 *    [tail, head) whose buffers do not say RING(this place) are not in the ring any more.
 *  - The position, modulo 2^32, is what makes "stands there" certain, as in the fabric.
 *
 * A frame of several buffers is as many references, one behind the other, and `rest` of each says
 * which the next one is; it is staged whole or not at all, and taken whole. Whoever has the buffers
 * writes `rest`; it is 0 wherever a buffer is not part of such a frame on its way.
 *
 * A reference is a pool and an index, never a pointer: whoever takes one checks both before use, so
 * that a process that scribbles over its rings loses its own frames.
 *
 * Words
 * -----
 *  word            writer                          order    reader                     order
 *  inbox.life      manager                         release  senders, once per burst    acquire
 *  buffer owner    who has it: see above           relaxed  who takes it, after head   relaxed
 *  buffer rest     who has it                      relaxed  who takes it, after head   relaxed
 *  softq.head      sender (manager: if it is dead) release  receiver, manager          acquire
 *  softq.tail      receiver (same)                 release  sender, only when full     acquire
 *  softq.slot[]    sender, before head             relaxed  receiver, after head       relaxed
 *  inbox.pending   senders set, receiver clears    atomic or / exchange, seq_cst
 *  inbox.armed     receiver                        seq_cst  senders after the fence    relaxed
 *  counters        their one writer                relaxed  anyone                     relaxed
 *
 * Sleeping: as in the fabric. The sender stores head, fences, sets its bit, looks at `armed`; the
 * receiver arms, fences, looks at `pending`.
 *
 * Costs of a frame that is forwarded: two stores and a sixteenth of a cache line for the reference
 * (twice, with the way home), the line of the owner word, which is the one of the pbuf the receiver
 * fills anyway. A fence for each burst that forwards something. No locked instruction while the
 * receiver polls, no system call.
 */
#ifndef STACK_SHARE_SOFTQ_H
#define STACK_SHARE_SOFTQ_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UVS_LINE        64
#define UVS_SLOTS_MAX   64 /* one bit each in inbox.pending */
#define UVS_SLOT_BOSS   0  /* the manager's */
#define UVS_SOFTQ_DEPTH 1024
#define UVS_POOL_MAX    (1u << 24) /* buffers of a pool */
#define UVS_SEGS_MAX    40         /* buffers of a frame: 64 KiB in 2 KiB each, and some */

/* -------------------------------------------------------------------------------- owner word */

#define UVS_OWNER_HOME       0ULL
#define UVS_OWNER_HELD(slot) (1ULL << 62 | (uint64_t)(slot))
#define UVS_OWNER_RING(to, from, pos) \
	(1ULL << 63 | (uint64_t)(to) << 40 | (uint64_t)(from) << 32 | (uint32_t)(pos))
#define UVS_OWNER_IN_RING(o) ((o) >> 63)
#define UVS_OWNER_TO(o)      ((uint32_t)((o) >> 40 & 0xff))
#define UVS_OWNER_FROM(o)    ((uint32_t)((o) >> 32 & 0xff))
#define UVS_OWNER_POS(o)     ((uint32_t)(o))

/* A buffer: pool << 24 | index. */
typedef uint32_t uvs_ref;
#define UVS_REF(pool, index) ((uvs_ref)(pool) << 24 | (index))
#define UVS_REF_POOL(ref)    ((ref) >> 24)
#define UVS_REF_INDEX(ref)   ((ref)&0xffffff)

/* ------------------------------------------------------------------------------ shared memory */

enum uvs_life {
	UVS_LIFE_FREE = 0, /* nobody's; the manager stands in */
	UVS_LIFE_UP = 1,
	UVS_LIFE_DOWN = 2, /* being reclaimed */
};

/* In each buffer, in a cache line of it that is not written while it is at home. */
struct uvs_label {
	_Atomic uint64_t owner;
	_Atomic uvs_ref rest; /* buffer that the frame goes on in; 0: none, it is the manager's */
	uvs_ref ref;          /* its own name; constant */
};

/* life = generation << 8 | enum uvs_life */
struct uvs_inbox {
	alignas(UVS_LINE) _Atomic uint32_t life;
	/* A bit for each slot that has put something on its ring to this one. */
	alignas(UVS_LINE) _Atomic uint64_t pending;
	/* Odd: asleep, or about to be. As in struct uvb_rxq_shm. */
	_Atomic uint64_t armed;
	/* Counters. Writer: the receiver, or who stands in. */
	_Atomic uint64_t taken; /* frames from others */
	_Atomic uint64_t returned;
	_Atomic uint64_t bad; /* references that made no sense */
};

struct uvs_softq {
	/* Writer: the sender. */
	alignas(UVS_LINE) _Atomic uint32_t head;
	_Atomic uint64_t frames;
	_Atomic uint64_t full; /* frames that were not taken: the receiver does not keep up */
	/* Writer: the receiver. */
	alignas(UVS_LINE) _Atomic uint32_t tail;
	/* Writer: the sender. */
	alignas(UVS_LINE) _Atomic uint32_t slot[UVS_SOFTQ_DEPTH];
};

/* The buffers of a slot's pool. Writer: the manager, before the pool is used; then constant. */
struct uvs_pool_view {
	uint32_t count;
	uint32_t pad;
	const uint64_t *label_at; /* [count] address of each label, the same in every process */
};

/* Everything, mapped at one address in all processes. Writer: the manager, at the start. */
struct uvs_crossbar {
	uint32_t nb_slots;
	uint32_t pad;
	struct uvs_inbox *inbox;    /* [nb_slots] */
	struct uvs_softq *softq;    /* [to][from] */
	struct uvs_pool_view *pool; /* [nb_slots] */
};

/* Bytes of memory that inboxes, rings and pool views take. */
size_t uvs_crossbar_size(uint32_t nb_slots);
/* Lay them out in zeroed memory, aligned to UVS_LINE, that lives as long as x. */
void uvs_crossbar_init(struct uvs_crossbar *x, uint32_t nb_slots, void *memory);

/* ------------------------------------------------------------------------------------ ends */

/* A stack's own idea of its soft queues. Private to the process; one thread. */
struct uvs_softq_end {
	const struct uvs_crossbar *x;
	uint32_t self;
	uint32_t turn;    /* slot to be served next */
	uint64_t touched; /* slots something is staged for */
	uint64_t to_ring; /* slots asleep at the last publish: the caller wakes them */
	uint32_t head[UVS_SLOTS_MAX];
	uint32_t tail[UVS_SLOTS_MAX]; /* of the receiver, as last read */
	uint64_t rang[UVS_SLOTS_MAX]; /* value of `armed` when the slot was last to be woken */
};

/* Be the stack of `self`, whose slot the manager has just handed out. */
void uvs_softq_open(struct uvs_softq_end *e, const struct uvs_crossbar *x, uint32_t self);

/* Is that slot's stack up? Once per burst. */
bool uvs_softq_up(const struct uvs_softq_end *e, uint32_t to);

/* Hand `ref`, which is at home here or held here, to slot `to`: forward a frame, with all that is
 * the rest of it, or bring a buffer home. It is seen with the next publish. false: the ring has no
 * room for all of it; it is still the caller's (a frame that was to be forwarded counts as `full`).
 */
bool uvs_softq_stage(struct uvs_softq_end *e, uint32_t to, uvs_ref ref);

/* Let the receivers see what was staged. Afterwards to_ring has the slots that sleep. */
void uvs_softq_publish(struct uvs_softq_end *e);

/* Up to n references that others have put here, from all of them in turn. A buffer of another's
 * pool is a frame, held here from now on; one of this slot's own has come home. Frames of several
 * buffers are there as one reference after the other, and only if n is UVS_SEGS_MAX or more. */
uint32_t uvs_softq_take(struct uvs_softq_end *e, uvs_ref *ref, uint32_t n);

/* About to sleep: false if something waits, and then nothing is armed. */
bool uvs_softq_arm(struct uvs_softq_end *e);
void uvs_softq_disarm(struct uvs_softq_end *e);

/* --------------------------------------------------------------------------------- reclaim */

/* Be the manager after one that has died, wherever it was. *wake has the slots to be woken. What it
 * held is brought home by the next tick; slots it was burying are DOWN, and to be buried again. */
void uvs_softq_take_over(struct uvs_softq_end *boss, const struct uvs_crossbar *x, uint64_t *wake);

/* By the manager only, `boss` being its own end, for a slot whose process is dead and whose life is
 * DOWN. Every buffer the dead slot had of others is on its way home, every ring to it is empty,
 * what it had published is announced, and of its own pool everything it had is at home (free:
 * whoever gets the slot next builds its free list from what is at home). Idempotent. Returns how
 * many buffers were taken from the dead; *wake has the slots to be woken. */
uint32_t uvs_softq_reclaim(struct uvs_softq_end *boss, uint32_t dead, uint64_t *wake);

/* The manager's tick: bring home what it holds (a ring was full), and empty the rings to slots that
 * nobody has. Returns how many buffers it still holds. */
uint32_t uvs_softq_tick(struct uvs_softq_end *boss, uint64_t *wake);

struct uvs_softq_ledger {
	uint32_t total, home, in_ring, held, lost; /* lost: in no place; none at rest */
};
/* Where the buffers of slot `pool` are. */
void uvs_softq_ledger(const struct uvs_crossbar *x, uint32_t pool, struct uvs_softq_ledger *l);

#endif /* STACK_SHARE_SOFTQ_H */
