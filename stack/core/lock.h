/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack/core/lock.h - the lock of an instance: a futex that knows how many wait, so that a polling
 * thread can let them in, and which thread holds it, so that a signal handler that interrupted the
 * holder is refused instead of waiting for itself.
 *
 * word: 0 free, 1 held, 2 held and somebody may sleep. Uncontended: one atomic exchange to take it,
 * one to give it back. Private to the process; after fork() the child makes it anew.
 */
#ifndef STACK_CORE_LOCK_H
#define STACK_CORE_LOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "stack/core/sys.h"

struct uvs_lock {
	uint32_t word;    /* atomic; as above */
	uint32_t waiters; /* atomic; threads inside the slow path of uvs_lock() */
};

static inline void
uvs_lock_init(struct uvs_lock *l)
{
	l->word = 0;
	l->waiters = 0;
}

static inline bool
uvs_lock_try(struct uvs_lock *l)
{
	uint32_t expected = 0;

	return __atomic_compare_exchange_n(&l->word, &expected, 1, false, __ATOMIC_ACQUIRE,
					   __ATOMIC_RELAXED);
}

/* Spins for about as long as a call holds the lock, then sleeps. */
static inline void
uvs_lock_slow(struct uvs_lock *l)
{
	__atomic_fetch_add(&l->waiters, 1, __ATOMIC_RELAXED);
	for (int i = 0; i < 200; i++) {
		if (__atomic_load_n(&l->word, __ATOMIC_RELAXED) == 0 && uvs_lock_try(l))
			goto out;
		__builtin_ia32_pause();
	}
	while (__atomic_exchange_n(&l->word, 2, __ATOMIC_ACQUIRE) != 0)
		uvs_sys_futex_wait(&l->word, 2, NULL);
out:
	__atomic_fetch_sub(&l->waiters, 1, __ATOMIC_RELAXED);
}

static inline void
uvs_lock_take(struct uvs_lock *l)
{
	if (!uvs_lock_try(l))
		uvs_lock_slow(l);
}

static inline void
uvs_lock_give(struct uvs_lock *l)
{
	if (__atomic_exchange_n(&l->word, 0, __ATOMIC_RELEASE) == 2)
		uvs_sys_futex_wake(&l->word, 1);
}

/* Somebody wants it: a thread that polls lets go for a moment. */
static inline bool
uvs_lock_wanted(const struct uvs_lock *l)
{
	return __atomic_load_n(&l->waiters, __ATOMIC_RELAXED) != 0;
}

#endif /* STACK_CORE_LOCK_H */
