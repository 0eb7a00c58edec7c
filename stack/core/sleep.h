/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack/core/sleep.h - one uvs_wait() from the inside, as far as the models do not differ: the
 * kernel's descriptors, the sleep in ppoll(), what ends a wait; and the lot, the list of threads
 * that sleep without a clock of their own.
 *
 * Signals. A handler that runs while the thread polls is told of by uvs_wait_interrupt(), one that
 * runs while it sleeps by ppoll() as well; no system call is spent on masks. The mask that ppoll(2)
 * or epoll_pwait(2) asked for is in force inside our ppoll() only: what it lets through is heard of
 * at the next look at the kernel.
 *
 * A struct uvs_sleep lives on the stack of the waiting thread, which alone touches it.
 */
#ifndef STACK_CORE_SLEEP_H
#define STACK_CORE_SLEEP_H

#include <poll.h>

#include "stack/core/clock.h"
#include "stack/core/lock.h"
#include "stack/core/waiter.h"

/* Not finished: neither a result of uvs_wait() nor an errno. */
#define UVS_SLEEP_AGAIN (-1000)

/* How often a thread that polls looks at the kernel's descriptors. */
#define UVS_KERNEL_LOOK_NS (30 * UVS_NS_PER_US)

/* Caller's descriptors that need no allocation; ports' descriptors at most. */
#define UVS_SLEEP_FEW   64
#define UVS_SLEEP_PORTS 16

struct uvs_sleep {
	struct uvs_waiter *w;
	struct uvs_kwait *k; /* never NULL */
	uint64_t deadline;
	uint64_t now; /* the caller keeps it fresh */
	/* own eventfd, [the ports'], the caller's */
	struct pollfd few[UVS_SLEEP_FEW + UVS_SLEEP_PORTS + 1], *fds;
};

/* 0 or -ENOMEM. k may be NULL. */
int uvs_sleep_begin(struct uvs_sleep *s, struct uvs_waiter *w, struct uvs_kwait *k,
		    uint64_t deadline);
/* Hands r back. */
int uvs_sleep_end(struct uvs_sleep *s, int r);

/* The kernel's descriptors, without waiting: 2, 0 or -EINTR. */
int uvs_sleep_look(struct uvs_sleep *s);

/* In the kernel until the eventfd is rung, one of n port descriptors or of the caller's is ready,
 * or `until`. Fills the caller's revents. 2, 0 or -EINTR. */
int uvs_sleep_in_kernel(struct uvs_sleep *s, const int *ports, unsigned int n, uint64_t until);

/* After a round; kernel: what the kernel said, UVS_SLEEP_AGAIN if it was not asked. What ends the
 * wait, UVS_SLEEP_AGAIN if nothing. */
int uvs_sleep_finished(struct uvs_sleep *s, int kernel);

/* A whole wait for wake-ups and the kernel alone. */
int uvs_sleep_for_kernel_only(struct uvs_sleep *s);

/* A whole wait in a signal handler that interrupted a wait: in small naps, since that one holds the
 * waiter's roles, running `progress` (NULL: nothing) in between; the interrupted wait then finds
 * something to look at. */
int uvs_sleep_nested(struct uvs_sleep *s, void (*progress)(void));

/* ------------------------------------------------------------------------------------ the lot */

struct uvs_lot {
	struct uvs_lock lock;
	struct uvs_waiter *head; /* changed under the lock; may be looked at without it */
};

void uvs_lot_add(struct uvs_lot *l, struct uvs_waiter *w, uint64_t deadline);
/* Harmless if it is not in. */
void uvs_lot_remove(struct uvs_lot *l, struct uvs_waiter *w);
/* Take out whoever came last and post `bits`; without effect if nobody is there. */
void uvs_lot_pick(struct uvs_lot *l, uint32_t bits);
/* A timer was fired: everybody in it looks at the kernel's descriptors and for signals. */
void uvs_lot_interrupt(struct uvs_lot *l);
/* The earliest deadline in the lot; UINT64_MAX: none; 0: somebody was called and has not run since.
 * Whose time has come is woken. */
uint64_t uvs_lot_deadline(struct uvs_lot *l, uint64_t now);

#endif /* STACK_CORE_SLEEP_H */
