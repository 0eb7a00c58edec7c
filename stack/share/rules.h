/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack/share/rules.h - flow rules: a connection -> the slot that has it.
 *
 * The manager writes, every receiver reads. A table of cache lines, linear probing by lines:
 *
 *   word[]  8 bytes a rule, eight to a line: signature 56 | slot 6 | state 2
 *   flow[]  whose rule that is, for the manager alone
 *   state: EMPTY (the whole word is 0): nothing here, and nothing beyond this line was put through
 * it USED PASSED: nothing here, but look further
 *
 * The signature is the hash of the flow but for its low bits, which say in which line it belongs.
 * A reader believes it: one line is all that it looks at, and there is nothing to be read that
 * might not belong together. Two flows with one signature in neighbouring lines (once in 2^40
 * rules; who does not know the secret cannot choose them) mean that frames of one go to the other's
 * slot, which passes them on: a rule costs hops, never a connection (steer.h). The manager keeps
 * whose each rule is, and tells them apart.
 *
 * A rule is written flow first, then word (release). There are no moves and there is no lock, no
 * state in between that anybody waits for: a manager that is killed at any instruction leaves a
 * table in which every rule is there or is not, and its successor goes on from it
 * (uvs_rules_adopt). No reader registers itself, so none that dies or is stopped holds anything up.
 *
 * (Why not rte_hash: docs/steering.md. Its writer cannot be killed and followed by another.)
 *
 * Requests come over a ring for each slot, so that nobody waits: a ring of which the slot writes
 * head and entries, the manager tail. A slot can only ask for rules that lead to itself, for ports
 * that it holds; what else it asks is refused and counted.
 *
 *  word            writer   order              reader        order
 *  flow[]          manager  before word        the manager   after word
 *  word[]          manager  release            receivers     relaxed
 *  ring.head       slot     release            manager       acquire
 *  ring.entry[]    slot     before head        manager       after head
 *  ring.tail       manager  release            slot, if full acquire
 *  ring counters   as tail
 */
#ifndef STACK_SHARE_RULES_H
#define STACK_SHARE_RULES_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "stack/share/claims.h"
#include "stack/share/flow.h"

#define UVS_REQUESTS    256 /* of a ring; a power of two */
#define UVS_RULE_PROBES 16  /* lines that a rule may be away from where it belongs */

struct uvs_request {
	struct uvs_flow flow;
	uint32_t add; /* 1: add, 0: delete */
};

struct uvs_requests {
	alignas(64) _Atomic uint32_t head;
	_Atomic uint64_t full; /* requests not made: the manager does not keep up */
	alignas(64) _Atomic uint32_t tail;
	_Atomic uint64_t refused; /* requests that made no sense */
	_Atomic uint64_t no_room; /* the table is full there */
	struct uvs_request entry[UVS_REQUESTS];
};

/* Private map of the shared memory. */
struct uvs_rules {
	_Atomic uint64_t *word;    /* [lines * 8] */
	struct uvs_flow *flow;     /* [lines * 8] */
	uint32_t lines;            /* a power of two */
	struct uvs_requests *ring; /* [nb_slots] */
	uint32_t nb_slots;
	uint64_t secret;
};

/* Bytes; and the map. rules: a power of two, 64 or more. The memory starts zeroed. */
size_t uvs_rules_size(uint32_t rules, uint32_t nb_slots);
void uvs_rules_map(struct uvs_rules *r, uint32_t rules, uint32_t nb_slots, uint64_t secret,
		   void *memory);

/* ------------------------------------------------------------------------------------- readers */

/* hash: uvs_flow_hash(flow, secret). */
void uvs_rules_prefetch(const struct uvs_rules *r, uint64_t hash);
/* The slot, below 64; 0: there is no rule. */
uint32_t uvs_rules_find(const struct uvs_rules *r, uint64_t hash);

/* A slot's end of its ring. */
struct uvs_requester {
	struct uvs_requests *ring;
	uint32_t head, tail;
	bool asked;             /* since uvs_steer_wake_manager() */
	struct uvs_flow *owed;  /* deletes that wait for room, oldest first; from malloc */
	uint32_t nb_owed, room; /* of owed */
};

void uvs_rules_open(struct uvs_requester *q, const struct uvs_rules *r, uint32_t slot);
void uvs_rules_shut(struct uvs_requester *q);
/* Ask for a rule. false: the ring is full, or deletes wait before it. */
bool uvs_rules_ask(struct uvs_requester *q, const struct uvs_flow *f);
/* Say that it is over. Kept and said later if the ring is full. */
void uvs_rules_revoke(struct uvs_requester *q, const struct uvs_flow *f);
/* Make requests that are owed. */
void uvs_rules_settle(struct uvs_requester *q);

/* -------------------------------------------------------------------------------------- manager */

/* Writer's private state. */
struct uvs_rules_writer {
	const struct uvs_rules *r;
	const struct uvs_claims *claims;
	uint16_t *passed; /* [lines] rules that lie beyond this line, put through it */
	uint64_t nb_rules[UVS_CLAIM_SLOTS];
	/* A rule came or went, after the table was changed: for NICs that have rules of their own.
	 * May be NULL. */
	void (*changed)(void *arg, const struct uvs_flow *f, uint32_t slot, bool there);
	void *changed_arg;
};

/* Be the writer of a table, new or left by one who died. -ENOMEM. */
int uvs_rules_adopt(struct uvs_rules_writer *w, const struct uvs_rules *r,
		    const struct uvs_claims *claims);
void uvs_rules_close(struct uvs_rules_writer *w);

/* 0; -ENOSPC. An existing rule for the flow is replaced. */
int uvs_rules_add(struct uvs_rules_writer *w, const struct uvs_flow *f, uint32_t slot);
/* 0; -ENOENT: there is none, or it is not slot's. */
int uvs_rules_delete(struct uvs_rules_writer *w, const struct uvs_flow *f, uint32_t slot);

/* Carry out up to `budget` requests of each slot. Returns how many. */
uint32_t uvs_rules_serve(struct uvs_rules_writer *w, uint32_t budget);
/* Does anything wait? After the manager has armed (uvs_softq_arm): if so it must not sleep. */
bool uvs_rules_waiting(const struct uvs_rules *r);

/* All rules of a dead slot, and its requests. Returns how many rules. */
uint32_t uvs_rules_reclaim(struct uvs_rules_writer *w, uint32_t slot);

/* Call fn for every rule: for `uvstack rules`. */
void uvs_rules_walk(const struct uvs_rules *r,
		    void (*fn)(void *arg, const struct uvs_flow *f, uint32_t slot), void *arg);

#endif /* STACK_SHARE_RULES_H */
