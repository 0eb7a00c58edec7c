/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Conditions and semaphores with a time limit, while time is virtual (time.c). The thread sleeps in
 * the C library, for short whiles of real time, as a nap of the process (core/nap.h): the fabric's
 * clock knows when its time is over, and is held until it is awake.
 *
 * A wait on a condition may end for no reason (POSIX), and after a while it does: gone through
 * again in here, a signal between two whiles would be lost. Limits of up to SHORT_NS are the
 * processor's time and not the network's, as Python's of 5 ms for its interpreter lock: they stay
 * real.
 */
#include "stack/core/clock.h"
#include "stack/core/nap.h"
#include "stack/posix/posix.h"

#define SHORT_NS (10 * UVS_NS_PER_MS)
#define WHILE_NS (5 * UVS_NS_PER_MS)

/* Bit of a condition's __wrefs: its clock is CLOCK_MONOTONIC (pthread_condattr_setclock). */
#define COND_MONOTONIC 2

/* True if the limit `at` of that clock is to be one of virtual time; *until: on the stack's clock.
 */
static bool
is_ours(clockid_t clock, const struct timespec *at, uint64_t *until)
{
	uint64_t ahead;

	if (!at || at->tv_nsec < 0 || at->tv_nsec > 999999999 || !uvp_time_offset(clock, &ahead) ||
	    !uvp_time_virtual())
		return false;
	*until = uvp_time_at(clock, at);
	return true;
}

static struct timespec
kernel_after(uint64_t ns)
{
	return uvs_clock_timespec(uvs_clock_kernel_ns() + ns);
}

static void
end_nap(void *nap)
{
	uvs_nap_end(nap);
}

static int
cond_until(pthread_cond_t *c, pthread_mutex_t *m, uint64_t until)
{
	uint64_t now = uvs_clock_ns(), left = until > now ? until - now : 0;
	struct timespec at = kernel_after(left <= SHORT_NS ? left : WHILE_NS);
	struct uvs_nap nap = {0};
	int r;

	if (left <= SHORT_NS)
		return R(pthread_cond_clockwait)(c, m, CLOCK_MONOTONIC, &at);
	pthread_cleanup_push(end_nap, &nap);
	uvs_nap_begin(&nap, until);
	r = R(pthread_cond_clockwait)(c, m, CLOCK_MONOTONIC, &at);
	pthread_cleanup_pop(1);
	return r == ETIMEDOUT && uvs_clock_ns() < until ? 0 : r;
}

UVP_EXPORT int
pthread_cond_timedwait(pthread_cond_t *restrict c, pthread_mutex_t *restrict m,
		       const struct timespec *restrict at)
{
	bool monotonic = __atomic_load_n(&c->__data.__wrefs, __ATOMIC_RELAXED) & COND_MONOTONIC;
	uint64_t until;

	if (!is_ours(monotonic ? CLOCK_MONOTONIC : CLOCK_REALTIME, at, &until))
		return R(pthread_cond_timedwait)(c, m, at);
	return cond_until(c, m, until);
}

UVP_EXPORT int
pthread_cond_clockwait(pthread_cond_t *restrict c, pthread_mutex_t *restrict m, clockid_t clock,
		       const struct timespec *restrict at)
{
	uint64_t until;

	if (!is_ours(clock, at, &until))
		return R(pthread_cond_clockwait)(c, m, clock, at);
	return cond_until(c, m, until);
}

static int
sem_until(sem_t *s, uint64_t until)
{
	struct uvs_nap nap = {0};
	struct timespec at;
	int r;

	pthread_cleanup_push(end_nap, &nap);
	uvs_nap_begin(&nap, until);
	do {
		at = kernel_after(WHILE_NS);
		r = R(sem_clockwait)(s, CLOCK_MONOTONIC, &at);
	} while (r < 0 && errno == ETIMEDOUT && uvs_clock_ns() < until);
	pthread_cleanup_pop(1);
	return r;
}

UVP_EXPORT int
sem_clockwait(sem_t *restrict s, clockid_t clock, const struct timespec *restrict at)
{
	uint64_t until;

	if (!is_ours(clock, at, &until))
		return R(sem_clockwait)(s, clock, at);
	return sem_until(s, until);
}

UVP_EXPORT int
sem_timedwait(sem_t *restrict s, const struct timespec *restrict at)
{
	uint64_t until;

	if (!is_ours(CLOCK_REALTIME, at, &until))
		return R(sem_timedwait)(s, at);
	return sem_until(s, until);
}
