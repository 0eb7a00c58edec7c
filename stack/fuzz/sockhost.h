/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack/fuzz/sockhost.h - the host of host.h with sockets on it: stack/sock as it is, over an
 * instance that has no port and no pool, but memory of its own for each packet.
 */
#ifndef STACK_FUZZ_SOCKHOST_H
#define STACK_FUZZ_SOCKHOST_H

#include "stack/core/instance.h"

extern struct uvs_instance sockhost;

void sockhost_up(void);
/* The sockets are closed. Ends the run if an allocation of lwIP's is left. */
void sockhost_down(void);

/* How packet memory stands from now on: 0 plenty, 1 tight, 2 full. */
void sockhost_memory(unsigned int level);

/* What the host has sent to itself arrives. */
void sockhost_settle(void);

#endif /* STACK_FUZZ_SOCKHOST_H */
