/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack/core/nap.h - what the process waits for without the stack: threads on a condition or a
 * semaphore, timers of the application. Whoever drives tells the fabric's clock when the earliest
 * of them is over (core/clock.h), so that virtual time neither stands still for it nor passes it
 * by.
 *
 * A nap without `fire` is a thread that sleeps elsewhere. Once `until` has come the clock is held
 * until the thread has ended the nap: it is then awake. A nap with `fire` is a timer: it is taken
 * off the list and then called, by whoever drives, inside the stack and with nothing held; it may
 * begin again. Naps are few, and there are none unless the clock is virtual: one list, one lock.
 *
 * A nap is its caller's memory, and from begin to end the list's; a timer that may have been fired
 * is somebody else's for as long as that takes, so it stays. After fork() the child has none.
 */
#ifndef STACK_CORE_NAP_H
#define STACK_CORE_NAP_H

#include <stdbool.h>
#include <stdint.h>

struct uvs_nap {
	uint64_t until; /* ns of the stack's clock */
	void (*fire)(struct uvs_nap *n);
	struct uvs_nap *next, **prev; /* prev NULL: not on the list */
};

/* Any thread. Whoever sleeps on behalf of the process is made to look, if it is the earliest. */
void uvs_nap_begin(struct uvs_nap *n, uint64_t until);
/* Any thread. False: it was not on the list, so it has been fired, or is about to be. */
bool uvs_nap_end(struct uvs_nap *n);

/* By whoever drives, about to sleep: fires what is over, and tells the earliest end of those that
 * are left; UINT64_MAX: there is none. One that is not later than `now` is a thread's; 0: something
 * was fired, and whoever waits in the kernel for what that did is to look (uvs_lot_interrupt()). */
uint64_t uvs_naps_next(uint64_t now);
/* Some thread naps: the application waits, though not for the stack. */
bool uvs_naps_of_threads(void);

void uvs_naps_forget(void);

/* Has whoever sleeps on behalf of the process for longer than that look again. Any thread. Written
 * by the model when it starts, atomic; NULL: nobody does. */
extern void (*uvs_naps_look)(uint64_t until);

#endif /* STACK_CORE_NAP_H */
