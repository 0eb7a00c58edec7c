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
 * Polling. The driver polls for `spin` ns after the last packet, then arms the interrupts and
 * sleeps in ppoll() together with the kernel's descriptors, at most until the next timer. spin
 * grows when packets come soon after it fell asleep and shrinks when they do not. Between rounds it
 * yields; a yield that took long means that others need this core - perhaps the very peer that is
 * to answer - and for a while it sleeps at once.
 *
 * Signals. A handler that runs while this thread polls is told of by uvs_wait_interrupt(), one that
 * runs while it sleeps by ppoll() as well; no system call is spent on masks. The mask that ppoll(2)
 * or epoll_pwait(2) asked for is in force inside our ppoll() only: what it lets through is heard of
 * at the next look at the kernel.
 *
 * Lock order: an instance, then `lot`. Wake-ups (eventfd) may be sent under both. */
#include "stack/core/clock.h"
#include "stack/core/fds.h"
#include "stack/core/log.h"
#include "stack/core/model.h"
#include "stack/core/waiter.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define MAX_INSTANCES    8
#define TICK_NS          (10 * UVS_NS_PER_MS)
#define KERNEL_LOOK_NS   (30 * UVS_NS_PER_US)
#define SPIN_FLOOR_NS    (2 * UVS_NS_PER_US)
#define SOON_NS          (150 * UVS_NS_PER_US)
#define LONG_YIELD_NS    (30 * UVS_NS_PER_US)
#define NO_INTERRUPT_NAP (1 * UVS_NS_PER_MS)
#define CROWDED_WAITS    32
#define MAX_STACK_FDS    64

static struct {
	struct uvs_instance *in[MAX_INSTANCES];
	unsigned int n;
	bool running;

	/* NULL: nobody; &ticker: the ticker; else a thread in uvs_wait(). Atomic. */
	struct uvs_waiter *driver;
	uint64_t driven_ns; /* atomic; when somebody last polled */
	uint32_t sleeps;    /* atomic; grows with every sleep of the driver */

	struct uvs_lock lock; /* of lot */
	struct uvs_waiter *lot;

	/* Poll policy; the driver's. */
	uint64_t spin_ns;
	uint32_t crowded; /* waits for which to sleep at once */

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

static long
shared_call(struct uvs_instance *in, uvs_call_fn fn, void *arg)
{
	long r;

	if (unlikely(!uvs_inst_enter(in))) {
		__atomic_fetch_add(&in->stats.reentered, 1, __ATOMIC_RELAXED);
		return -EDEADLK;
	}
	r = fn(arg);
	in->stats.calls++;
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
		drive.in[i]->stats.sleeps++;
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
lot_remove(struct uvs_waiter *w)
{
	if (w->prev == NULL)
		return;
	/* `lot` itself is read without the lock (leave_role). */
	__atomic_store_n(w->prev, w->next, __ATOMIC_SEQ_CST);
	if (w->next != NULL)
		w->next->prev = w->prev;
	w->prev = NULL;
}

static void
lot_add(struct uvs_waiter *w)
{
	w->next = drive.lot;
	w->prev = &drive.lot;
	if (w->next != NULL)
		w->next->prev = &w->next;
	__atomic_store_n(&drive.lot, w, __ATOMIC_SEQ_CST);
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
	struct uvs_waiter *heir;

	__atomic_store_n(&drive.driver, NULL, __ATOMIC_SEQ_CST);
	unpark_ticker();
	if (__atomic_load_n(&drive.lot, __ATOMIC_SEQ_CST) == NULL)
		return;
	uvs_lock_take(&drive.lock);
	heir = drive.lot;
	if (heir != NULL) {
		lot_remove(heir);
		uvs_waiter_post(heir, UVS_W_PROMOTED);
	}
	uvs_lock_give(&drive.lock);
}

/* -------------------------------------------------------------------------------- one wait's state
 */

struct wait {
	struct uvs_waiter *w;
	struct uvs_kwait *k; /* never NULL */
	uint64_t deadline;
	uint64_t now;
	/* own eventfd, [the port's], the caller's */
	struct pollfd few[MAX_STACK_FDS + MAX_INSTANCES + 1], *fds;
	unsigned int own;
};

#define AGAIN (-1000) /* inside this file: not finished */

static int
wait_begin(struct wait *wt, struct uvs_waiter *w, struct uvs_kwait *k, uint64_t deadline)
{
	wt->w = w;
	wt->k = k;
	wt->deadline = deadline;
	wt->fds = wt->few;
	if (k->nfds > MAX_STACK_FDS)
		wt->fds = malloc((k->nfds + MAX_INSTANCES + 1) * sizeof(wt->fds[0]));
	return wt->fds == NULL ? -ENOMEM : 0;
}

static int
wait_end(struct wait *wt, int r)
{
	if (wt->fds != wt->few)
		free(wt->fds);
	return r;
}

/* The kernel's descriptors, without waiting: 2, 0 or -EINTR. */
static int
look_at_kernel(struct wait *wt)
{
	static const struct timespec zero;
	int r;

	if (wt->k->nfds == 0 && wt->k->sigmask == NULL)
		return 0;
	r = uvs_sys_ppoll(wt->k->fds, wt->k->nfds, &zero, wt->k->sigmask);

	if (r == -EINTR)
		return r;
	return r > 0 ? 2 : 0;
}

/* How long the kernel is to let us sleep. Virtual time is not its to know: look again soon. */
static uint64_t
sleep_ns(const struct wait *wt, uint64_t until)
{
	uint64_t ns = until > wt->now ? until - wt->now : 0;

	if (uvs_clock_is_virtual())
		return RTE_MIN(ns, UVS_VIRTUAL_LOOK_NS);
	return until == UINT64_MAX ? UINT64_MAX : ns;
}

/* Sleep until rung, a descriptor, or `until`. Fills the caller's revents. 2, 0 or -EINTR. */
static int
sleep_in_kernel(struct wait *wt, bool ports, uint64_t until)
{
	uint64_t ns = sleep_ns(wt, until);
	struct timespec t = uvs_clock_timespec(ns);
	struct pollfd *f = wt->fds;
	unsigned int n = 0;
	int r;

	f[n++] = (struct pollfd){.fd = wt->w->efd, .events = POLLIN};
	for (unsigned int i = 0; ports && i < drive.n; i++)
		f[n++] = (struct pollfd){.fd = drive.in[i]->port.epfd, .events = POLLIN};
	memcpy(f + n, wt->k->fds, wt->k->nfds * sizeof(*f));
	r = uvs_sys_ppoll(f, n + wt->k->nfds, ns == UINT64_MAX ? NULL : &t, wt->k->sigmask);
	wt->now = uvs_clock_ns();
	if (r == -EINTR)
		return r;
	r = 0;
	for (unsigned int i = 0; i < wt->k->nfds; i++) {
		wt->k->fds[i].revents = f[n + i].revents;
		if (f[n + i].revents != 0)
			r = 2;
	}
	return r;
}

/* ---------------------------------------------------------------------------------- poll policy */

static uint64_t
spin_budget(const struct uvs_conf *c)
{
	if (uvs_clock_is_virtual())
		return 0; /* it stands still while anybody polls */
	if (c->poll == UVS_POLL_BUSY)
		return UINT64_MAX / 2;
	if (c->poll == UVS_POLL_INTERRUPT)
		return 0;
	if (drive.crowded > 0) {
		drive.crowded--;
		return 0;
	}
	return drive.spin_ns;
}

static void
learn_from_sleep(const struct wait *wt, const struct uvs_conf *c, uint64_t slept)
{
	uint64_t most = c->spin_us * UVS_NS_PER_US;

	if (wt->w == &drive.ticker)
		return;
	if (slept < SOON_NS)
		drive.spin_ns = RTE_MIN(RTE_MAX(drive.spin_ns * 2, SPIN_FLOOR_NS), most);
	else if (slept > 4 * SOON_NS)
		drive.spin_ns = RTE_MAX(drive.spin_ns / 2, RTE_MIN(SPIN_FLOOR_NS, most));
}

/* Between two empty rounds. */
static void
relax(struct wait *wt)
{
	uint64_t before = wt->now;

	uvs_sys_yield();
	wt->now = uvs_clock_ns();
	if (wt->now - before > LONG_YIELD_NS)
		drive.crowded = CROWDED_WAITS;
}

/* ------------------------------------------------------------------------------------ as driver */

static void
asleep_until(struct wait *wt, uint64_t ns)
{
	__atomic_store_n(&wt->w->asleep_until, ns, __ATOMIC_SEQ_CST);
}

/* Virtual time: the earliest deadline of those in the lot, who sleep without a clock of their own;
 * whose time has come is woken. */
static uint64_t
lot_deadline(uint64_t now)
{
	uint64_t first = UINT64_MAX;

	uvs_lock_take(&drive.lock);
	for (struct uvs_waiter *w = drive.lot; w != NULL; w = w->next) {
		first = RTE_MIN(first, w->deadline);
		if (w->deadline <= now)
			uvs_waiter_post(w, UVS_W_KICKED);
	}
	uvs_lock_give(&drive.lock);
	return first;
}

/* Tell the clocks that there is nothing to do until then. Not the ticker: it drives because the
 * application computes, and for as long as it does time is to stand still. */
static void
idle_all(const struct wait *wt, uint64_t until)
{
	if (wt->w == &drive.ticker || until <= wt->now)
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

/* Arm, look once more, sleep. AGAIN: woken by packets or timers, or there was something. */
static int
driver_sleep(struct wait *wt)
{
	bool armed = arm_all();
	uint64_t began, until;
	int r = AGAIN;

	/* From here on a call that sets any timer kicks; only then look at the timers. */
	asleep_until(wt, UINT64_MAX);
	if (poll_all(&wt->now) == 0 &&
	    uvs_waiter_doze(wt->w, UVS_W_WOKEN | UVS_W_KICKED | UVS_W_INTERRUPTED)) {
		wt->now = began = uvs_clock_ns();
		until = RTE_MIN(wt->deadline, next_timer());
		if (uvs_clock_is_virtual())
			until = RTE_MIN(until, lot_deadline(wt->now));
		if (!armed)
			until = RTE_MIN(until, wt->now + NO_INTERRUPT_NAP);
		asleep_until(wt, until);
		__atomic_fetch_add(&drive.sleeps, 1, __ATOMIC_RELAXED);
		/* Not armed: something waits. Whoever said to be idle now would not be asked when
		 * the clock moves on. */
		if (armed)
			idle_all(wt, until);
		r = sleep_in_kernel(wt, armed, until);
		busy_all();
		uvs_waiter_rouse(wt->w);
		learn_from_sleep(wt, drive.in[0]->conf, wt->now - began);
		r = r == 0 ? AGAIN : r;
	}
	asleep_until(wt, 0);
	disarm_all(wt->w);
	uvs_waiter_take(wt->w, UVS_W_KICKED);
	return r;
}

/* After a round: what ends the wait? AGAIN if nothing. */
static int
finished(struct wait *wt, int kernel)
{
	int r = kernel > 0 ? kernel : 0;

	if (uvs_waiter_take(wt->w, UVS_W_WOKEN))
		return r | 1;
	if (kernel != AGAIN && kernel != 0)
		return kernel;
	if (uvs_waiter_take(wt->w, UVS_W_INTERRUPTED))
		return -EINTR;
	return wt->now >= wt->deadline ? 0 : AGAIN;
}

static int
drive_until_finished(struct wait *wt)
{
	const struct uvs_conf *c = drive.in[0]->conf;
	uint64_t spin = spin_budget(c), active, looked;
	int r;

	wt->now = active = looked = uvs_clock_ns();
	for (;;) {
		int kernel = AGAIN;
		unsigned int n = poll_all(&wt->now);

		if (n > 0)
			active = wt->now;
		if (wt->now - looked > KERNEL_LOOK_NS) {
			looked = wt->now;
			kernel = look_at_kernel(wt);
		}
		r = finished(wt, kernel);
		if (r != AGAIN)
			return r;
		let_in();
		if (n > 0)
			continue;
		if (wt->now - active < spin) {
			relax(wt);
			continue;
		}
		kernel = driver_sleep(wt);
		looked = wt->now;
		r = finished(wt, kernel);
		if (r != AGAIN)
			return r;
		spin = spin_budget(c);
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

/* Somebody else drives: sleep until woken or promoted. AGAIN: try for the role. */
static int
doze(struct wait *wt)
{
	int r = AGAIN;

	uvs_lock_take(&drive.lock);
	wt->w->deadline = wt->deadline;
	lot_add(wt->w);
	uvs_lock_give(&drive.lock);
	wt->now = uvs_clock_ns();
	kick_for_deadline(wt->deadline);
	/* The driver may have left before it could see us in the lot: both words are sequentially
	 * consistent, so that one of us two sees the other. */
	if (__atomic_load_n(&drive.driver, __ATOMIC_SEQ_CST) != NULL &&
	    uvs_waiter_doze(wt->w, UVS_W_WOKEN | UVS_W_PROMOTED | UVS_W_INTERRUPTED)) {
		r = sleep_in_kernel(wt, false, wt->deadline);
		uvs_waiter_rouse(wt->w);
		r = r == 0 ? AGAIN : r;
	}
	uvs_lock_take(&drive.lock);
	lot_remove(wt->w);
	uvs_lock_give(&drive.lock);
	uvs_waiter_take(wt->w, UVS_W_KICKED);
	return finished(wt, r);
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
wait_in_turns(struct wait *wt)
{
	int r;

	do {
		if (take_role(wt->w)) {
			uvs_waiter_take(wt->w, UVS_W_PROMOTED);
			r = drive_until_finished(wt);
			leave_role();
		} else {
			r = doze(wt);
		}
	} while (r == AGAIN);
	pass_promotion(wt->w);
	return r;
}

/* The stack is not running (nothing needed packets yet), or a signal handler interrupted it: only
 * the kernel's descriptors and the eventfd. */
static int
wait_for_kernel_only(struct wait *wt)
{
	int r = AGAIN;

	while (r == AGAIN) {
		int kernel = AGAIN;

		wt->now = uvs_clock_ns();
		if (uvs_waiter_doze(wt->w, UVS_W_WOKEN | UVS_W_INTERRUPTED)) {
			kernel = sleep_in_kernel(wt, false, wt->deadline);
			uvs_waiter_rouse(wt->w);
			kernel = kernel == 0 ? AGAIN : kernel;
		}
		r = finished(wt, kernel);
	}
	return r;
}

static int
wait_not(struct wait *wt)
{
	int kernel;

	shared_progress();
	kernel = look_at_kernel(wt);
	wt->now = UINT64_MAX;
	return finished(wt, kernel);
}

/* A signal handler waits while the wait it interrupted holds a role or a place in the lot: poll in
 * small naps, take neither, and leave the interrupted wait something to look at. */
static int
wait_nested(struct wait *wt)
{
	int r = AGAIN;

	while (r == AGAIN) {
		shared_progress();
		wt->now = uvs_clock_ns();
		r = finished(wt, sleep_in_kernel(wt, false,
						 RTE_MIN(wt->deadline, wt->now + UVS_NS_PER_MS)));
	}
	__atomic_fetch_or(&wt->w->state, UVS_W_WOKEN, __ATOMIC_SEQ_CST);
	return r;
}

static int
wait_somehow(struct wait *wt)
{
	static __thread bool inside __attribute__((tls_model("initial-exec")));
	int r;

	if (unlikely(uvs_self != NULL))
		return -EINTR; /* a signal handler inside the stack must not wait for it */
	if (unlikely(inside))
		return wait_nested(wt);
	if (uvs_waiter_take(wt->w, UVS_W_WOKEN))
		return 1;
	uvs_waiter_take(wt->w, UVS_W_INTERRUPTED); /* of before the wait */
	inside = true;
	r = drive.running ? wait_in_turns(wt) : wait_for_kernel_only(wt);
	inside = false;
	return r;
}

static int
shared_wait(struct uvs_waiter *w, struct uvs_kwait *k, uint64_t deadline_ns)
{
	static struct uvs_kwait none;
	struct wait wt;
	int r = wait_begin(&wt, w, k != NULL ? k : &none, deadline_ns);

	if (r < 0)
		return r;
	return wait_end(&wt, deadline_ns == 0 ? wait_not(&wt) : wait_somehow(&wt));
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
	struct uvs_kwait none = {0};
	struct wait wt;

	wait_begin(&wt, &drive.ticker, &none, UINT64_MAX);
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
	drive.spin_ns = in[0]->conf->spin_us * UVS_NS_PER_US;
	drive.driven_ns = uvs_clock_kernel_ns();
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
	__atomic_store_n(&uvs_clock_fabric, NULL, __ATOMIC_RELAXED);
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
