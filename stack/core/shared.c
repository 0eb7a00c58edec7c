/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The shared model: the application's threads run the stack, whoever waits drives it.
 *
 * Roles. At any moment at most one thread is the driver of the process: it polls the instances and,
 * when there is nothing for a while, sleeps on their interrupts. It is a thread inside uvs_wait(),
 * or the ticker. A waiting thread that finds a driver sleeps on its own eventfd and the descriptors
 * it asked for. A driver that leaves hands the role to a sleeping waiter; if there is none, nobody
 * drives until somebody waits again - or, after TICK_NS of an application that computes, the ticker
 * steps in, so that acknowledgements and retransmissions go on. A waiting thread takes the role
 * from the ticker at any time, since the role is one word and the ticker checks it before every
 * round.
 *
 * Polling. The driver polls for a while after the last packet (spin.h), then arms the interrupts
 * and sleeps in ppoll() together with the kernel's descriptors, at most until the next timer.
 *
 * Lock order: an instance, then `lot`. Wake-ups (eventfd) may be sent under both. */
#include "stack/core/clock.h"
#include "stack/core/family.h"
#include "stack/core/fds.h"
#include "stack/core/log.h"
#include "stack/core/model.h"
#include "stack/core/nap.h"
#include "stack/core/sleep.h"
#include "stack/core/spin.h"
#include "stack/core/trace.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#define MAX_INSTANCES    UVS_SLEEP_PORTS
#define TICK_NS          (10 * UVS_NS_PER_MS)
#define NO_INTERRUPT_NAP (1 * UVS_NS_PER_MS)

static struct {
	struct uvs_instance *in[MAX_INSTANCES];
	unsigned int n;
	bool running;

	/* NULL: nobody; &ticker: the ticker; else a thread in uvs_wait(). Atomic. */
	struct uvs_waiter *driver;
	uint64_t driven_ns; /* atomic; when somebody last polled */
	uint32_t sleeps;    /* atomic; grows with every sleep of the driver */

	struct uvs_lot lot;   /* threads that wait without driving */
	struct uvs_spin spin; /* the driver's */

	struct uvs_waiter ticker;
	pthread_t ticker_thread;
	uint32_t ticker_parked; /* atomic, futex */
	uint32_t ticker_stop;   /* atomic */
} drive;

/* -------------------------------------------------------------------------------- calls and polls
 */

/* A waiter may end as we look at it, but its memory stays a waiter's (waiter.h). */
static void
shared_kick(struct uvs_instance *in)
{
	struct uvs_waiter *d = __atomic_load_n(&drive.driver, __ATOMIC_ACQUIRE);

	if (d != NULL && uvs_inst_timer(in) < __atomic_load_n(&d->asleep_until, __ATOMIC_RELAXED))
		uvs_waiter_post(d, UVS_W_KICKED);
}

/* What it comes to (ci/cost: both ends together, sums made in software): a request of 100 bytes and
 * its answer 16,700 instructions, one malloc() and one burst at each end, no system call while
 * somebody polls. A connection with one request 70,800 instructions, 12 allocations, and at each
 * end two system calls, for its number: a dup and a close. */
static long
shared_call(struct uvs_instance *in, uvs_call_fn fn, void *arg)
{
	long r;

	if (unlikely(!uvs_inst_enter(in))) {
		__atomic_fetch_add(&in->seen->loop.reentered, 1, __ATOMIC_RELAXED);
		return -EDEADLK;
	}
	uvs_inst_run_deferred(in); /* what came before the call */
	r = fn(arg);
	in->seen->loop.calls++;
	/* First: frames that have left are no reason to wake whoever sleeps. */
	if (in->lwip != NULL)
		uvs_inst_send(in);
	shared_kick(in);
	uvs_inst_leave(in);
	return r;
}

/* Real time, of which a moment is told by the stack's clock: they are the same but for an offset.
 */
static uint64_t
kernel_time(uint64_t now)
{
	const struct uvb_hdr *fabric = uvs_clock_source();

	if (uvs_clock_is_virtual())
		return uvs_clock_kernel_ns();
	return fabric != NULL ? now - fabric->clock_offset : now;
}

static void
drove(uint64_t now)
{
	__atomic_store_n(&drive.driven_ns, kernel_time(now), __ATOMIC_RELAXED);
}

/* Also tells the time at which it was done, which the round had to read anyway. */
static unsigned int
poll_all(uint64_t *now)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < drive.n; i++) {
		if (!uvs_inst_enter(drive.in[i]))
			continue;
		n += uvs_inst_poll(drive.in[i]);
		*now = drive.in[i]->now_ns;
		uvs_inst_leave(drive.in[i]);
	}
	drove(*now);
	return n;
}

static void
shared_progress(void)
{
	for (unsigned int i = 0; i < drive.n; i++) {
		if (!uvs_inst_try_enter(drive.in[i]))
			continue;
		uvs_inst_poll(drive.in[i]);
		drove(drive.in[i]->now_ns);
		uvs_inst_leave(drive.in[i]);
	}
}

static uint64_t
next_timer(void)
{
	uint64_t next = UINT64_MAX;

	for (unsigned int i = 0; i < drive.n; i++)
		next = RTE_MIN(next, __atomic_load_n(&drive.in[i]->next_timer, __ATOMIC_RELAXED));
	return next;
}

/* A thread that wants to call gets its turn between two rounds of polling. */
static void
let_in(void)
{
	for (unsigned int i = 0; i < drive.n; i++)
		if (uvs_lock_wanted(&drive.in[i]->lock))
			uvs_sys_yield();
}

/* ---------------------------------------------------------------------------------- interrupts */

static bool
arm_all(void)
{
	bool armed = true;

	for (unsigned int i = 0; i < drive.n; i++) {
		if (!uvs_inst_enter(drive.in[i]))
			return false;
		armed &= uvs_port_arm(&drive.in[i]->port);
		uvs_inst_leave(drive.in[i]);
	}
	return armed;
}

/* By a driver that slept. The role may have been taken from the ticker meanwhile, and the new
 * driver may have armed: under the instance the question and the act are one. */
static void
disarm_all(const struct uvs_waiter *w)
{
	for (unsigned int i = 0; i < drive.n; i++) {
		if (!uvs_inst_enter(drive.in[i]))
			continue;
		drive.in[i]->seen->loop.sleeps++;
		if (__atomic_load_n(&drive.driver, __ATOMIC_RELAXED) == w)
			uvs_port_disarm(&drive.in[i]->port);
		uvs_inst_leave(drive.in[i]);
	}
}

/* ------------------------------------------------------------------------------------- the role */

static bool
take_role(struct uvs_waiter *w)
{
	struct uvs_waiter *held = __atomic_load_n(&drive.driver, __ATOMIC_RELAXED);

	while (held == NULL || held == &drive.ticker)
		if (__atomic_compare_exchange_n(&drive.driver, &held, w, false, __ATOMIC_ACQ_REL,
						__ATOMIC_RELAXED))
			return true;
	return false;
}

static void
unpark_ticker(void)
{
	if (__atomic_load_n(&drive.ticker_parked, __ATOMIC_RELAXED) == 0)
		return;
	__atomic_store_n(&drive.ticker_parked, 0, __ATOMIC_RELEASE);
	uvs_sys_futex_wake(&drive.ticker_parked, 1);
}

/* Give the role up and wake one waiter to take it. The order matters: a waiter that goes to sleep
 * enters the lot and only then looks at the role once more. */
static void
leave_role(void)
{
	__atomic_store_n(&drive.driver, NULL, __ATOMIC_SEQ_CST);
	unpark_ticker();
	uvs_lot_pick(&drive.lot, UVS_W_PROMOTED);
}

/* ------------------------------------------------------------------------------------ as driver */

static void
asleep_until(struct uvs_sleep *wt, uint64_t ns)
{
	__atomic_store_n(&wt->w->asleep_until, ns, __ATOMIC_SEQ_CST);
}

/* Tell the clocks that there is nothing to do until then. Not the ticker: it drives because the
 * application computes, and for as long as it does time is to stand still; unless a thread of it
 * naps. */
static void
idle_all(const struct uvs_sleep *wt, uint64_t until)
{
	if (until <= wt->now || (wt->w == &drive.ticker && !uvs_naps_of_threads()))
		return;
	for (unsigned int i = 0; i < drive.n; i++)
		uvs_port_idle(&drive.in[i]->port, until);
}

static void
busy_all(void)
{
	for (unsigned int i = 0; i < drive.n; i++)
		uvs_port_idle(&drive.in[i]->port, UVB_BUSY);
}

static int
sleep_on_ports(struct uvs_sleep *wt, bool ports, uint64_t until)
{
	int fds[MAX_INSTANCES];

	for (unsigned int i = 0; i < drive.n; i++)
		fds[i] = drive.in[i]->port.epfd;
	return uvs_sleep_in_kernel(wt, fds, ports ? drive.n : 0, until);
}

/* When a thread's nap or a timer of the application ends. */
static uint64_t
nearest_nap(uint64_t now)
{
	uint64_t first = uvs_naps_next(now);

	if (first == 0)
		uvs_lot_interrupt(&drive.lot);
	return RTE_MIN(first, uvs_family_next(now));
}

/* Arm, look once more, sleep. UVS_SLEEP_AGAIN: woken by packets or timers, or there was something.
 */
static int
driver_sleep(struct uvs_sleep *wt)
{
	bool armed = arm_all();
	uint64_t began, until;
	int r = UVS_SLEEP_AGAIN;

	/* From here on a call that sets any timer kicks; only then look at the timers. */
	asleep_until(wt, UINT64_MAX);
	if (poll_all(&wt->now) == 0 &&
	    uvs_waiter_doze(wt->w, UVS_W_WOKEN | UVS_W_KICKED | UVS_W_INTERRUPTED)) {
		wt->now = began = uvs_clock_ns();
		until = RTE_MIN(wt->deadline, next_timer());
		if (uvs_clock_is_virtual())
			until = RTE_MIN(until, uvs_lot_deadline(&drive.lot, wt->now));
		until = RTE_MIN(until, nearest_nap(wt->now));
		if (!armed)
			until = RTE_MIN(until, wt->now + NO_INTERRUPT_NAP);
		asleep_until(wt, until);
		__atomic_fetch_add(&drive.sleeps, 1, __ATOMIC_RELAXED);
		/* Not armed: something waits. Whoever said to be idle now would not be asked when
		 * the clock moves on. */
		if (armed)
			idle_all(wt, until);
		UVS_TRACE(sleep, until - wt->now);
		r = sleep_on_ports(wt, armed, until);
		UVS_TRACE(wake, wt->now - began);
		busy_all();
		uvs_waiter_rouse(wt->w);
		drive.in[0]->seen->loop.asleep_ns += wt->now - began;
		drive.in[0]->seen->loop.wakeups += wt->now < until;
		if (wt->w != &drive.ticker)
			uvs_spin_learn(&drive.spin, drive.in[0]->conf, wt->now - began);
		r = r == 0 ? UVS_SLEEP_AGAIN : r;
	}
	asleep_until(wt, 0);
	disarm_all(wt->w);
	uvs_waiter_take(wt->w, UVS_W_KICKED);
	return r;
}

static int
drive_until_finished(struct uvs_sleep *wt)
{
	const struct uvs_conf *c = drive.in[0]->conf;
	uint64_t spin = uvs_spin_budget(&drive.spin, c), active, looked;
	uint64_t since;
	int r;

	wt->now = active = looked = since = uvs_clock_ns();
	for (;;) {
		int kernel = UVS_SLEEP_AGAIN;
		unsigned int n = poll_all(&wt->now);

		uvs_inst_account(drive.in[0], &since, wt->now, n);
		if (n > 0)
			active = wt->now;
		if (wt->now - looked > UVS_KERNEL_LOOK_NS) {
			looked = wt->now;
			kernel = uvs_sleep_look(wt);
		}
		r = uvs_sleep_finished(wt, kernel);
		if (r != UVS_SLEEP_AGAIN)
			return r;
		let_in();
		if (n > 0)
			continue;
		if (wt->now - active < spin) {
			wt->now = uvs_spin_relax(&drive.spin, wt->now);
			continue;
		}
		kernel = driver_sleep(wt);
		looked = since = wt->now;
		r = uvs_sleep_finished(wt, kernel);
		if (r != UVS_SLEEP_AGAIN)
			return r;
		spin = uvs_spin_budget(&drive.spin, c);
		active = wt->now;
	}
}

/* ------------------------------------------------------------------------------------ as guest */

/* Virtual time: the driver has told the clock until when nobody has anything to do. */
static void
kick_for_deadline(uint64_t deadline)
{
	struct uvs_waiter *d = __atomic_load_n(&drive.driver, __ATOMIC_ACQUIRE);

	if (d != NULL && uvs_clock_is_virtual() &&
	    deadline < __atomic_load_n(&d->asleep_until, __ATOMIC_SEQ_CST))
		uvs_waiter_post(d, UVS_W_KICKED);
}

/* Somebody else drives: sleep until woken or promoted. UVS_SLEEP_AGAIN: try for the role. */
static int
doze(struct uvs_sleep *wt)
{
	int r = UVS_SLEEP_AGAIN;

	uvs_lot_add(&drive.lot, wt->w, wt->deadline);
	wt->now = uvs_clock_ns();
	kick_for_deadline(wt->deadline);
	/* The driver may have left before it could see us in the lot: both words are sequentially
	 * consistent, so that one of us two sees the other. */
	if (__atomic_load_n(&drive.driver, __ATOMIC_SEQ_CST) != NULL &&
	    uvs_waiter_doze(wt->w, UVS_W_WOKEN | UVS_W_PROMOTED | UVS_W_INTERRUPTED)) {
		r = uvs_sleep_in_kernel(wt, NULL, 0, wt->deadline);
		uvs_waiter_rouse(wt->w);
		r = r == 0 ? UVS_SLEEP_AGAIN : r;
	}
	uvs_lot_remove(&drive.lot, wt->w);
	uvs_waiter_take(wt->w, UVS_W_KICKED);
	return uvs_sleep_finished(wt, r);
}

/* A promotion that came as we were leaving goes to the next one. */
static void
pass_promotion(struct uvs_waiter *w)
{
	if (uvs_waiter_take(w, UVS_W_PROMOTED) &&
	    __atomic_load_n(&drive.driver, __ATOMIC_SEQ_CST) == NULL)
		leave_role();
}

static int
wait_in_turns(struct uvs_sleep *wt)
{
	int r;

	do {
		if (take_role(wt->w)) {
			uvs_waiter_take(wt->w, UVS_W_PROMOTED);
			r = drive_until_finished(wt);
			leave_role();
		} else {
			/* A promotion that somebody was faster to take is void: that one promotes
			 * when it leaves. Kept, it would keep us from sleeping, and from looking at
			 * the kernel's descriptors. */
			uvs_waiter_take(wt->w, UVS_W_PROMOTED);
			r = doze(wt);
		}
	} while (r == UVS_SLEEP_AGAIN);
	pass_promotion(wt->w);
	return r;
}

static int
wait_not(struct uvs_sleep *wt)
{
	int kernel;

	shared_progress();
	kernel = uvs_sleep_look(wt);
	wt->now = UINT64_MAX;
	return uvs_sleep_finished(wt, kernel);
}

static int
wait_somehow(struct uvs_sleep *wt)
{
	static __thread bool inside __attribute__((tls_model("initial-exec")));
	int r;

	if (unlikely(uvs_self != NULL))
		return -EINTR; /* a signal handler inside the stack must not wait for it */
	if (unlikely(inside))
		return uvs_sleep_nested(wt, shared_progress);
	if (uvs_waiter_take(wt->w, UVS_W_WOKEN))
		return 1;
	uvs_waiter_take(wt->w, UVS_W_INTERRUPTED); /* of before the wait */
	inside = true;
	r = drive.running ? wait_in_turns(wt) : uvs_sleep_for_kernel_only(wt);
	inside = false;
	return r;
}

static int
shared_wait(struct uvs_waiter *w, struct uvs_kwait *k, uint64_t deadline_ns)
{
	struct uvs_sleep wt;
	int r = uvs_sleep_begin(&wt, w, k, deadline_ns);

	if (r < 0)
		return r;
	return uvs_sleep_end(&wt, deadline_ns == 0 ? wait_not(&wt) : wait_somehow(&wt));
}

/* ----------------------------------------------------------------------------------- the ticker */

static bool
ticker_holds_role(void)
{
	return __atomic_load_n(&drive.driver, __ATOMIC_RELAXED) == &drive.ticker;
}

/* Nobody polls: do it in their place, asleep between packets, until somebody waits. */
static void
ticker_drives(void)
{
	struct uvs_waiter *me = &drive.ticker;
	struct uvs_sleep wt;

	uvs_sleep_begin(&wt, &drive.ticker, NULL, UINT64_MAX);
	while (ticker_holds_role() && !__atomic_load_n(&drive.ticker_stop, __ATOMIC_RELAXED)) {
		wt.now = uvs_clock_ns();
		wt.deadline = wt.now + 10 * TICK_NS;
		driver_sleep(&wt);
	}
	__atomic_compare_exchange_n(&drive.driver, &me, NULL, false, __ATOMIC_ACQ_REL,
				    __ATOMIC_RELAXED);
}

static void
ticker_nap(void)
{
	struct timespec t = uvs_clock_timespec(TICK_NS);

	uvs_sys_futex_wait(&drive.ticker_stop, 0, &t);
}

/* The driver sleeps since the last tick: it will see to everything. Do not tick until it leaves. */
static void
ticker_park(uint32_t sleeps)
{
	__atomic_store_n(&drive.ticker_parked, 1, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&drive.sleeps, __ATOMIC_SEQ_CST) == sleeps &&
	    __atomic_load_n(&drive.driver, __ATOMIC_SEQ_CST) != NULL)
		uvs_sys_futex_wait(&drive.ticker_parked, 1, NULL);
	__atomic_store_n(&drive.ticker_parked, 0, __ATOMIC_RELAXED);
}

static bool
nobody_drives(void)
{
	uint64_t idle = uvs_clock_kernel_ns() - __atomic_load_n(&drive.driven_ns, __ATOMIC_RELAXED);
	struct uvs_waiter *nobody = NULL;

	return idle > TICK_NS && idle < UINT64_MAX / 2 &&
	       __atomic_compare_exchange_n(&drive.driver, &nobody, &drive.ticker, false,
					   __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

static bool
driver_asleep(void)
{
	struct uvs_waiter *d = __atomic_load_n(&drive.driver, __ATOMIC_ACQUIRE);

	return d != NULL && __atomic_load_n(&d->asleep_until, __ATOMIC_RELAXED) != 0;
}

static void *
ticker_main(void *arg)
{
	uint32_t sleeps = 0;

	(void)arg;
	pthread_setname_np(pthread_self(), "uvs-ticker");
	while (!__atomic_load_n(&drive.ticker_stop, __ATOMIC_RELAXED)) {
		uint32_t now = __atomic_load_n(&drive.sleeps, __ATOMIC_RELAXED);

		if (nobody_drives())
			ticker_drives();
		else if (now == sleeps && driver_asleep())
			ticker_park(now);
		else
			ticker_nap();
		sleeps = now;
	}
	return NULL;
}

static int
start_ticker(void)
{
	sigset_t all, before;
	int r;

	drive.ticker = (struct uvs_waiter){.efd = uvs_waiter_eventfd()};
	if (drive.ticker.efd < 0)
		return -EMFILE;
	drive.ticker_stop = 0;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(&drive.ticker_thread, NULL, ticker_main, NULL);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -r;
}

static void
stop_ticker(void)
{
	__atomic_store_n(&drive.ticker_stop, 1, __ATOMIC_SEQ_CST);
	uvs_sys_futex_wake(&drive.ticker_stop, 1);
	unpark_ticker();
	uvs_waiter_post(&drive.ticker, UVS_W_KICKED);
	pthread_join(drive.ticker_thread, NULL);
	uvs_fd_close(drive.ticker.efd);
}

/* ------------------------------------------------------------------------------- start and stop */

static int
shared_start(struct uvs_instance **in, unsigned int n)
{
	int r;

	if (n > MAX_INSTANCES)
		return -EINVAL;
	memcpy(drive.in, in, n * sizeof(in[0]));
	drive.n = n;
	uvs_spin_init(&drive.spin, in[0]->conf);
	drive.driven_ns = uvs_clock_kernel_ns();
	__atomic_store_n(&uvs_naps_look, kick_for_deadline, __ATOMIC_RELEASE);
	r = start_ticker();
	if (r == 0)
		__atomic_store_n(&drive.running, true, __ATOMIC_RELEASE);
	return r;
}

static void
shared_stop(void)
{
	if (!drive.running)
		return;
	stop_ticker();
	__atomic_store_n(&drive.running, false, __ATOMIC_RELEASE);
	drive.n = 0;
}

static void
shared_forget(void)
{
	memset(&drive, 0, sizeof(drive));
	uvs_clock_follow(NULL);
	uvs_naps_forget();
	uvs_waiter_forget();
}

const struct uvs_model uvs_model_shared = {
	.name = "shared",
	.start = shared_start,
	.stop = shared_stop,
	.call = shared_call,
	.progress = shared_progress,
	.wait = shared_wait,
	.kick = shared_kick,
	.forget = shared_forget,
};
