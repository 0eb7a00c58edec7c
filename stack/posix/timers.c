/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Timers of the application that are set while time is virtual (time.c): timerfd, alarm() and
 * setitimer(ITIMER_REAL). The kernel's timer stays off; a nap of the process (core/nap.h) runs in
 * its place, and when it is over the kernel's expires at once, or the signal is sent.
 *
 * A timerfd that expires again before it was read counts once. Timers that were set in real time
 * expire in real time.
 */
#include "stack/core/clock.h"
#include "stack/core/nap.h"
#include "stack/posix/posix.h"

struct timer {
	struct uvs_nap nap; /* first: fire() gets it */
	struct timer *next;
	int fd; /* of a timerfd; -1: the process's ITIMER_REAL */
	clockid_t clock;
	bool set;
	uint64_t until, interval; /* ns of the stack's clock; interval 0: once */
};

/* Under lock. Timers stay in the list when their number is closed, for the next with that number.
 */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic(struct timer *) timers;
static struct timer itimer = {.fd = -1, .clock = CLOCK_MONOTONIC};

/* A handler that interrupts us comes back only when the lock is free: it may set timers, too. */
static void
take(void)
{
	uvp_hold();
	pthread_mutex_lock(&lock);
}

static void
give(void)
{
	pthread_mutex_unlock(&lock);
	uvp_leave();
}

static void
expire(const struct timer *t)
{
	static const struct itimerspec at_once = {.it_value.tv_nsec = 1};

	if (t->fd >= 0)
		R(timerfd_settime)(t->fd, 0, &at_once, NULL);
	else
		kill(getpid(), SIGALRM);
}

/* It may have been set anew since it was taken off the list. */
static void
fire(struct uvs_nap *nap)
{
	struct timer *t = (struct timer *)nap;

	take();
	if (t->set && t->until <= uvs_clock_ns()) {
		expire(t);
		t->until += t->interval;
		t->set = t->interval != 0;
		uvs_nap_end(nap);
		if (t->set)
			uvs_nap_begin(nap, t->until);
	}
	give();
}

static void
stop(struct timer *t)
{
	uvs_nap_end(&t->nap);
	t->set = false;
}

static void
set(struct timer *t, uint64_t until, uint64_t interval)
{
	stop(t);
	t->set = true;
	t->until = until;
	t->interval = interval;
	t->nap.fire = fire;
	uvs_nap_begin(&t->nap, until);
}

static struct timer *
find(int fd)
{
	struct timer *t = atomic_load(&timers);

	while (t && t->fd != fd)
		t = t->next;
	return t;
}

static uint64_t
left(const struct timer *t)
{
	uint64_t now = uvs_clock_ns();

	if (!t->set)
		return 0;
	return t->until > now ? t->until - now : 1;
}

void
uvp_timers_fork_child(void)
{
	pthread_mutex_init(&lock, NULL);
	itimer.set = false;
	itimer.nap.prev = NULL;
	for (struct timer *t = atomic_load(&timers); t; t = t->next) {
		t->set = false;
		t->nap.prev = NULL;
	}
}

/* ------------------------------------------------------------------------------------ timerfd */

void
uvp_timer_new(int fd, clockid_t clock)
{
	struct timer *t;

	if (!uvs_clock_watched || uvp_inside())
		return;
	take();
	t = find(fd);
	if (!t) {
		t = calloc(1, sizeof(*t));
		if (t) {
			t->fd = fd;
			t->next = atomic_load(&timers);
			atomic_store(&timers, t);
		}
	}
	if (t) {
		stop(t);
		t->clock = clock;
	}
	give();
}

void
uvp_timer_forget(int fd)
{
	struct timer *t;

	if (uvp_likely(!atomic_load_explicit(&timers, memory_order_relaxed)) || uvp_inside())
		return;
	take();
	t = find(fd);
	if (t)
		stop(t);
	give();
}

static uint64_t
ns_of(const struct timespec *t)
{
	return (uint64_t)t->tv_sec * UVS_NS_PER_S + (uint64_t)t->tv_nsec;
}

static void
tell(const struct timer *t, struct itimerspec *out)
{
	out->it_value = uvs_clock_timespec(left(t));
	out->it_interval = uvs_clock_timespec(t->interval);
}

static bool
is_good(const struct itimerspec *s)
{
	return s->it_value.tv_sec >= 0 && s->it_value.tv_nsec >= 0 &&
	       s->it_value.tv_nsec <= 999999999 && s->it_interval.tv_sec >= 0 &&
	       s->it_interval.tv_nsec >= 0 && s->it_interval.tv_nsec <= 999999999;
}

/* The kernel's is turned off with it, also what has expired: as a timer that is set anew. */
static int
set_virtual(struct timer *t, int flags, const struct itimerspec *s, struct itimerspec *old)
{
	static const struct itimerspec off;
	uint64_t value = ns_of(&s->it_value);

	if (old)
		tell(t, old);
	R(timerfd_settime)(t->fd, 0, &off, NULL);
	if (value == 0)
		stop(t);
	else
		set(t,
		    flags & TFD_TIMER_ABSTIME ? uvp_time_at(t->clock, &s->it_value)
					      : uvs_clock_ns() + value,
		    ns_of(&s->it_interval));
	return 0;
}

UVP_EXPORT int
timerfd_settime(int fd, int flags, const struct itimerspec *s, struct itimerspec *old)
{
	struct timer *t;
	bool ours;
	int r;

	if (!uvs_clock_watched || uvp_inside() || !s || !is_good(s))
		return R(timerfd_settime)(fd, flags, s, old);
	ours = uvp_time_virtual();
	take();
	t = find(fd);
	if (t && !ours)
		stop(t);
	r = t && ours ? set_virtual(t, flags, s, old) : R(timerfd_settime)(fd, flags, s, old);
	give();
	return r;
}

UVP_EXPORT int
timerfd_gettime(int fd, struct itimerspec *out)
{
	struct timer *t;
	int r = 0;

	if (!uvs_clock_watched || uvp_inside())
		return R(timerfd_gettime)(fd, out);
	take();
	t = find(fd);
	if (t && t->set)
		tell(t, out);
	else
		r = R(timerfd_gettime)(fd, out);
	give();
	return r;
}

/* --------------------------------------------------------------------------- alarm, setitimer */

static uint64_t
ns_of_tv(const struct timeval *t)
{
	return (uint64_t)t->tv_sec * UVS_NS_PER_S + (uint64_t)t->tv_usec * UVS_NS_PER_US;
}

static struct timeval
tv_of(uint64_t ns)
{
	return (struct timeval){.tv_sec = (time_t)(ns / UVS_NS_PER_S),
				.tv_usec = (suseconds_t)(ns % UVS_NS_PER_S / UVS_NS_PER_US)};
}

static void
tell_itimer(struct itimerval *out)
{
	out->it_value = tv_of(left(&itimer));
	out->it_interval = tv_of(itimer.interval);
}

UVP_EXPORT int
setitimer(__itimer_which_t which, const struct itimerval *restrict s,
	  struct itimerval *restrict old)
{
	static const struct itimerval off;
	bool ours = s && which == ITIMER_REAL && s->it_value.tv_sec >= 0 &&
		    s->it_value.tv_usec >= 0 && s->it_value.tv_usec <= 999999 && uvp_time_virtual();
	bool was;
	int r;

	if (which != ITIMER_REAL || !uvs_clock_watched || uvp_inside())
		return R(setitimer)(which, s, old);
	take();
	was = itimer.set;
	if (was && old)
		tell_itimer(old);
	stop(&itimer);
	r = R(setitimer)(which, ours ? &off : s, was ? NULL : old);
	if (r == 0 && ours && ns_of_tv(&s->it_value) != 0)
		set(&itimer, uvs_clock_ns() + ns_of_tv(&s->it_value), ns_of_tv(&s->it_interval));
	give();
	return r;
}

UVP_EXPORT int
getitimer(__itimer_which_t which, struct itimerval *out)
{
	bool ours;

	if (which != ITIMER_REAL || !uvs_clock_watched || uvp_inside())
		return R(getitimer)(which, out);
	take();
	ours = itimer.set;
	if (ours)
		tell_itimer(out);
	give();
	return ours ? 0 : R(getitimer)(which, out);
}

UVP_EXPORT unsigned int
alarm(unsigned int seconds)
{
	struct itimerval s = {.it_value.tv_sec = seconds}, old;

	if (!uvs_clock_watched || uvp_inside())
		return R(alarm)(seconds);
	if (setitimer(ITIMER_REAL, &s, &old) < 0)
		return 0;
	return (unsigned int)old.it_value.tv_sec +
	       (old.it_value.tv_usec >= 500000 ||
		(old.it_value.tv_sec == 0 && old.it_value.tv_usec));
}
