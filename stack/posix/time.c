/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The application's clocks and sleeps.
 *
 * A host on a fabric has the fabric's time, from the start of the process on. As long as that is
 * the kernel's nothing is done here: every call goes on to the C library. Once a test has made it
 * virtual, CLOCK_MONOTONIC is the fabric's clock, the other clocks of time keep the distance from
 * it that they had when the process began, and who sleeps waits in the stack, so that the fabric's
 * clock knows until when.
 *
 * Out of reach are programs that read the vDSO or the TSC by themselves, and what the C library
 * does inside one of its functions.
 */
#include "stack/core/clock.h"
#include "stack/posix/inherit.h"

#define CLOCKS (CLOCK_TAI + 1)

/* Real time becomes virtual while somebody sleeps in it: a look, now and then. */
#define REAL_LOOK_NS (200 * UVS_NS_PER_MS)

/* Ahead of CLOCK_MONOTONIC, ns. Written by the constructor. */
static uint64_t ahead[CLOCKS];

static uint64_t
ns_of(const struct timespec *t)
{
	return (uint64_t)t->tv_sec * UVS_NS_PER_S + (uint64_t)t->tv_nsec;
}

static bool
is_clock_of_time(clockid_t clock)
{
	switch (clock) {
	case CLOCK_REALTIME:
	case CLOCK_MONOTONIC:
	case CLOCK_MONOTONIC_RAW:
	case CLOCK_REALTIME_COARSE:
	case CLOCK_MONOTONIC_COARSE:
	case CLOCK_BOOTTIME:
	case CLOCK_TAI:
		return true;
	default:
		return false;
	}
}

void
uvp_time_init(void)
{
	struct timespec t;

	uvs_clock_gettime = R(clock_gettime);
	UVP_IN_VOID(uvs_stack_watch_clock());
	for (clockid_t clock = 0; uvs_clock_watched && clock < CLOCKS; clock++)
		if (is_clock_of_time(clock) && R(clock_gettime)(clock, &t) == 0)
			ahead[clock] = ns_of(&t) - uvs_clock_kernel_ns();
	ahead[CLOCK_MONOTONIC] = ahead[CLOCK_MONOTONIC_COARSE] = 0;
	ahead[CLOCK_REALTIME_COARSE] = ahead[CLOCK_REALTIME];
}

/* Nobody else's: the stack within has the kernel's. */
static bool
differs(void)
{
	return uvp_unlikely(uvs_clock_watched && uvb_clock_differs(uvs_clock_watched)) &&
	       !uvp_inside();
}

bool
uvp_time_offset(clockid_t clock, uint64_t *ns)
{
	if (!is_clock_of_time(clock))
		return false;
	*ns = ahead[clock];
	return true;
}

uint64_t
uvp_time_at(clockid_t clock, const struct timespec *t)
{
	uint64_t at = ns_of(t), ns = 0;

	uvp_time_offset(clock, &ns);
	return t->tv_sec < 0 || at < ns ? 0 : at - ns;
}

bool
uvp_time_virtual(void)
{
	if (uvp_likely(!uvs_clock_watched) || uvp_inside() ||
	    !uvb_clock_is_virtual(uvs_clock_watched))
		return false;
	if (!uvs_stack_running() && !uvp_heir)
		UVP_IN_VOID(uvs_stack_join_clock());
	return true;
}

bool
uvp_time_joins(const struct timespec *ts)
{
	return ts && (ts->tv_sec > 0 || (ts->tv_sec == 0 && ts->tv_nsec > 0)) && uvp_time_virtual();
}

/* ------------------------------------------------------------------------------------- clocks */

UVP_EXPORT int
clock_gettime(clockid_t clock, struct timespec *t)
{
	if (!differs() || !is_clock_of_time(clock))
		return R(clock_gettime)(clock, t);
	*t = uvs_clock_timespec(uvs_clock_ns() + ahead[clock]);
	return 0;
}

UVP_EXPORT int
gettimeofday(struct timeval *restrict tv, void *restrict zone)
{
	struct timespec t;

	if (!differs() || zone)
		return R(gettimeofday)(tv, zone);
	clock_gettime(CLOCK_REALTIME, &t);
	*tv = (struct timeval){.tv_sec = t.tv_sec, .tv_usec = t.tv_nsec / 1000};
	return 0;
}

UVP_EXPORT time_t
time(time_t *out)
{
	struct timespec t;

	if (!differs())
		return R(time)(out);
	clock_gettime(CLOCK_REALTIME, &t);
	if (out)
		*out = t.tv_sec;
	return t.tv_sec;
}

UVP_EXPORT int
timespec_get(struct timespec *t, int base)
{
	if (!differs() || base != TIME_UTC)
		return R(timespec_get)(t, base);
	clock_gettime(CLOCK_REALTIME, t);
	return base;
}

/* ------------------------------------------------------------------------------------- sleeps */

/* In the stack, until then on its clock. 0 or -EINTR. */
static int
sleep_virtual(uint64_t until)
{
	struct uvs_waiter *w = uvp_waiter();
	int r = w ? 1 : -ENOMEM;

	uvp_hold();
	while (r > 0 && !uvp_cancelled()) {
		r = UVP_IN(uvs_wait(w, NULL, until));
		if (r == -EINTR && uvp_sig_interrupted() == 0)
			r = 1;
	}
	uvp_leave();
	return r < 0 ? -EINTR : 0;
}

/* In the kernel for as long as time is real: 1 when it no longer is. 0, -EINTR. */
static int
sleep_real(uint64_t until)
{
	for (;;) {
		uint64_t now = uvs_clock_ns();
		struct timespec t;
		int r;

		if (until <= now)
			return 0;
		if (uvp_time_virtual())
			return 1;
		t = uvs_clock_timespec(until - now < REAL_LOOK_NS ? until - now : REAL_LOOK_NS);
		r = UVP_REAL(R(clock_nanosleep)(CLOCK_MONOTONIC, 0, &t, NULL));
		if (r != 0)
			return -r;
	}
}

static int
sleep_until(uint64_t until)
{
	int r = sleep_real(until);

	return r == 1 ? sleep_virtual(until) : r;
}

/* Sleeps that a change of clocks could not reach in time are left to the C library. */
static bool
is_ours(const struct timespec *t)
{
	return uvs_clock_watched && !uvp_inside() && t && t->tv_nsec >= 0 &&
	       t->tv_nsec < 1000000000l && t->tv_sec >= 0 && (differs() || ns_of(t) > REAL_LOOK_NS);
}

/* Result as clock_nanosleep()'s. */
static int
sleep_for(const struct timespec *t, struct timespec *left)
{
	uint64_t until, now;
	int r;

	uvp_deadline_ts(t, &until);
	r = until ? sleep_until(until) : 0;
	now = uvs_clock_ns();
	if (r < 0 && left)
		*left = uvs_clock_timespec(until > now ? until - now : 0);
	return -r;
}

UVP_EXPORT int
clock_nanosleep(clockid_t clock, int flags, const struct timespec *t, struct timespec *left)
{
	if (!is_ours(t) || !is_clock_of_time(clock))
		return UVP_REAL(R(clock_nanosleep)(clock, flags, t, left));
	if (flags & TIMER_ABSTIME)
		return -sleep_until(uvp_time_at(clock, t));
	return sleep_for(t, left);
}

UVP_EXPORT int
nanosleep(const struct timespec *t, struct timespec *left)
{
	if (!is_ours(t))
		return UVP_REAL(R(nanosleep)(t, left));
	return (int)uvp_ret(-sleep_for(t, left));
}

UVP_EXPORT int
usleep(useconds_t us)
{
	struct timespec t = {.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000l};

	if (!is_ours(&t))
		return UVP_REAL(R(usleep)(us));
	return (int)uvp_ret(-sleep_for(&t, NULL));
}

UVP_EXPORT unsigned int
sleep(unsigned int seconds)
{
	struct timespec t = {.tv_sec = seconds}, left;

	if (!is_ours(&t))
		return UVP_REAL(R(sleep)(seconds));
	if (sleep_for(&t, &left) == 0)
		return 0;
	return (unsigned int)left.tv_sec + (left.tv_nsec >= 500000000);
}
