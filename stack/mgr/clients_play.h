/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack/mgr/clients_play.h - what clients say to the manager, whatever they say: any bytes, in any
 * state, from several at once. Slots are played: one is only ever handed to a client that attaches,
 * taken back from the one that has it, and a message that makes no sense changes nothing. Aborts
 * where that does not hold.
 */
#ifndef STACK_MGR_CLIENTS_PLAY_H
#define STACK_MGR_CLIENTS_PLAY_H

#include "stack/mgr/mgr.h"

/* One play, from nobody to nobody; below(n) chooses a number smaller than n. */
void clients_play(uint32_t (*below)(uint32_t n));

/* Processes that got as far as having slots, in all plays. */
uint64_t clients_played(void);

#endif /* STACK_MGR_CLIENTS_PLAY_H */
