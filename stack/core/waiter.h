/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack/core/waiter.h - the inside of a waiter (sock.h, "waiting").
 *
 * One per thread, made on first use, passed on to another thread when its thread ends and never
 * freed: whoever comes late with a wake-up still finds a waiter, and at worst wakes it for nothing.
 * `state` is one atomic word of bits; the eventfd is written only by whoever finds ASLEEP set and
 * its own bit clear, so that a waiter that polls costs its wakers one atomic or.
 */
#ifndef STACK_CORE_WAITER_H
#define STACK_CORE_WAITER_H

#include "stack/core/spin.h"
#include "stack/sock/sock.h"

#define UVS_CALL_DEPTH 4

#define UVS_W_WOKEN       1u  /* uvs_waiter_wake(); consumed by uvs_wait() */
#define UVS_W_ASLEEP      2u  /* in ppoll, or about to be: ring the eventfd */
#define UVS_W_PROMOTED    4u  /* shared model: the driver left, take over */
#define UVS_W_KICKED      8u  /* whoever drives looks at timers, calls and deadlines again */
#define UVS_W_INTERRUPTED 16u /* uvs_wait_interrupt() */

struct uvs_waiter {
	uint32_t state; /* atomic */
	int efd;
	uint32_t epoch; /* of the process: a fork makes waiters anew */

	/* shared.c: while it sleeps as the driver, until when at most; else 0. Atomic, its own. */
	uint64_t asleep_until;
	uint64_t deadline; /* of its wait, while it is in a lot (sleep.h); under its lock */
	/* in a lot; under its lock. Unused ones: waiter.c's. */
	struct uvs_waiter *next, **prev;

	/* separate.c: of the thread alone. Calls under way, a handler's above those of the thread
	 * it interrupted; how long it polls. */
	struct uvs_call *calls[UVS_CALL_DEPTH];
	unsigned int call_depth;
	struct uvs_spin wait_spin, call_spin;
};

/* Sets bits; rings if it sleeps. Any thread. */
void uvs_waiter_post(struct uvs_waiter *w, uint32_t bits);

/* Its wait is over, whether it has noticed or not. Any thread. */
static inline bool
uvs_waiter_called(const struct uvs_waiter *w)
{
	return __atomic_load_n(&w->state, __ATOMIC_SEQ_CST) & (UVS_W_WOKEN | UVS_W_INTERRUPTED);
}

/* Clears and returns those of `bits` that were set. The owner. */
uint32_t uvs_waiter_take(struct uvs_waiter *w, uint32_t bits);

/* About to sleep: false if one of `bits` is set already. The owner. */
bool uvs_waiter_doze(struct uvs_waiter *w, uint32_t bits);
/* Awake again; the eventfd is emptied if it was rung. */
void uvs_waiter_rouse(struct uvs_waiter *w);

/* An internal, non-blocking eventfd, or -1. */
int uvs_waiter_eventfd(void);

/* After fork(), in the child. */
void uvs_waiter_forget(void);

#endif /* STACK_CORE_WAITER_H */
