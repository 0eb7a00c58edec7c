/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack/core/family.h - what a process that has the stack knows of the children it has forked, for
 * the fabric's clock: whether each of them runs, and until when it waits. A child cannot tell the
 * clock itself, since the port is its parent's.
 *
 * One page of shared memory, made before the first fork() of a process that follows a fabric's
 * clock, and inherited. A place in it is a thread's: it takes one, by compare and swap of `tid`, as
 * a fresh child or when it first waits in a child; it alone writes `until`, before it sleeps
 * (release). Who has the stack reads both (acquire), and frees the places of threads that are no
 * more. Nobody waits for anybody; who finds no place is unknown to the clock.
 */
#ifndef STACK_CORE_FAMILY_H
#define STACK_CORE_FAMILY_H

#include <stdint.h>

/* About to fork. */
void uvs_family_prepare(void);
/* In the child, by its only thread. */
void uvs_family_join(void);
/* Instead of this program the process becomes another: it is no longer waited for. */
void uvs_family_leave(void);

/* This thread of a child is about to wait until then (ns of the clock; UINT64_MAX: until something
 * happens). Nothing in a process that is no child. */
void uvs_family_waits(uint64_t until);

/* By who has the stack, about to say that it is idle: `now` if a child runs, else when the first of
 * them has waited long enough; UINT64_MAX: none waits for a time. */
uint64_t uvs_family_next(uint64_t now);

#endif /* STACK_CORE_FAMILY_H */
