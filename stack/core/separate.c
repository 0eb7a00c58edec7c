/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The separate model: threads of their own run the stack, the application's threads only ask them.
 *
 * One runner, a thread with its signals blocked, for each instance; nobody else touches an instance
 * while its runner lives. A round: the calls that came (call.h), frames the host sent to itself,
 * the callers told, then the instance's own round (instance.h). A runner that finds nothing polls
 * for a while (spin.h), then arms its port's interrupts and sleeps in ppoll() on them and on its
 * eventfd, at most until its next timer; it never waits for a thread of the application.
 *
 * Waiting is only sleeping: on the thread's waiter and the kernel's descriptors.
 *
 * Asleep or not: a caller pushes its call and then looks at the runner's ASLEEP bit; the runner
 * sets the bit and then looks at its calls. Both words are sequentially consistent, so that one of
 * the two sees the other.
 *
 * Virtual time. The clock may move when all runners sleep and at least one thread of the
 * application waits, none of them woken but not yet running; until the earliest of their timers and
 * deadlines. Every thread that sleeps is in the lot, and a runner is kicked when one enters it.
 * The port's word of the clock is written under the lot's lock. */
#include "stack/core/call.h"
#include "stack/core/family.h"
#include "stack/core/fds.h"
#include "stack/core/log.h"
#include "stack/core/nap.h"
#include "stack/core/place.h"
#include "stack/core/sleep.h"
#include "stack/core/trace.h"
#include "stack/share/proto.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define NO_INTERRUPT_NAP (1 * UVS_NS_PER_MS)
#define CALL_LOOK_NS     (100 * UVS_NS_PER_MS)

struct uvs_runner {
	/* written by callers */
	struct uvs_calls calls __attribute__((aligned(64)));
	struct uvs_waiter w; /* state: atomic; the rest the runner's */

	/* the runner's */
	struct uvs_instance *in __attribute__((aligned(64)));
	struct uvs_spin spin;
	bool alone;          /* on a CPU of its own: no need to yield it */
	uint64_t idle_until; /* virtual time: asleep, nothing to do until then; 0. Under lot.lock */
	pthread_t thread;
	uint32_t stop; /* atomic; by who ends the model */
};

static struct {
	struct uvs_runner *runner[UVS_STACKS_MAX];
	unsigned int n;
	bool running; /* atomic */
	struct uvs_lot lot;
} sep;

void
uvs_runner_wake(struct uvs_runner *r)
{
	if (__atomic_load_n(&r->w.state, __ATOMIC_SEQ_CST) & UVS_W_ASLEEP)
		uvs_waiter_post(&r->w, UVS_W_KICKED);
}

/* ----------------------------------------------------------------------------------- a call */

/* Before the runners start and after they have ended: by the lock, as in the shared model. */
static long
call_directly(struct uvs_instance *in, uvs_call_fn fn, void *arg)
{
	long r;

	if (!uvs_inst_enter(in))
		return -EDEADLK;
	r = fn(arg);
	in->seen->loop.calls++;
	uvs_inst_leave(in);
	return r;
}

/* The runner has ended, or does not answer. True: the call will never run. */
static bool
give_up(struct uvs_runner *r, struct uvs_call *c, uint64_t begun)
{
	if (uvs_clock_kernel_ns() - begun < UVS_CALL_LATE_NS &&
	    __atomic_load_n(&r->stop, __ATOMIC_ACQUIRE) == 0) {
		uvs_runner_wake(r);
		return false;
	}
	if (!uvs_call_withdraw(c))
		return false;
	uvs_log(UVS_LOG_ERROR, "a thread of the stack does not answer: a call is given up");
	return true;
}

static long
call_runner(struct uvs_runner *r, uvs_call_fn fn, void *arg)
{
	struct uvs_call *c = uvs_call_new(fn, arg);
	struct uvs_spin *spin = &uvs_waiter_self()->call_spin;
	const struct uvs_conf *conf = r->in->conf;
	uint64_t begun, spin_ns;

	if (c == NULL)
		return -EDEADLK;
	uvs_call_push(&r->calls, c);
	uvs_runner_wake(r);
	/* Not longer, whatever the policy: the runner may be behind us on this very core. */
	spin_ns = RTE_MIN(uvs_spin_budget(spin, conf), conf->spin_us * UVS_NS_PER_US);
	if (uvs_call_wait(c, spin_ns, 0))
		return uvs_call_end(c);
	begun = uvs_clock_kernel_ns();
	while (!uvs_call_wait(c, 0, CALL_LOOK_NS)) {
		if (give_up(r, c, begun)) {
			uvs_call_lost();
			return -EIO;
		}
	}
	uvs_spin_learn(spin, conf, uvs_clock_kernel_ns() - begun);
	return uvs_call_end(c);
}

static long
separate_call(struct uvs_instance *in, uvs_call_fn fn, void *arg)
{
	struct uvs_runner *r = __atomic_load_n(&in->runner, __ATOMIC_ACQUIRE);

	if (unlikely(r == NULL))
		return call_directly(in, fn, arg);
	if (unlikely(uvs_self != NULL))
		return -EDEADLK;
	return call_runner(r, fn, arg);
}

/* ------------------------------------------------------------------------------- virtual time */

/* Waiting threads that have not been woken. Under the lot's lock. */
static bool
application_waits(void)
{
	if (sep.lot.head == NULL)
		return uvs_naps_of_threads();
	for (struct uvs_waiter *w = sep.lot.head; w != NULL; w = w->next)
		if (uvs_waiter_called(w))
			return false;
	return true;
}

static uint64_t
all_idle_until(void)
{
	uint64_t until = UINT64_MAX;

	for (unsigned int i = 0; i < sep.n; i++)
		until = RTE_MIN(until, sep.runner[i]->idle_until);
	return until;
}

/* About to sleep, armed; nothing to do before `until`. */
static void
tell_clock(struct uvs_runner *r, uint64_t now, uint64_t until)
{
	uint64_t first = uvs_naps_next(now);

	if (first == 0)
		uvs_lot_interrupt(&sep.lot);
	first = RTE_MIN(first, uvs_family_next(now));
	first = RTE_MIN(first, uvs_lot_deadline(&sep.lot, now));
	uvs_lock_take(&sep.lot.lock);
	r->idle_until = until;
	first = RTE_MIN(first, all_idle_until());
	if (first > now && application_waits())
		uvs_port_idle(&r->in->port, first);
	uvs_lock_give(&sep.lot.lock);
}

static void
tell_clock_busy(struct uvs_runner *r)
{
	uvs_lock_take(&sep.lot.lock);
	r->idle_until = 0;
	uvs_port_idle(&r->in->port, UVB_BUSY);
	uvs_lock_give(&sep.lot.lock);
}

/* A thread sleeps, or a timer runs: the first runner looks when. */
static void
separate_look(uint64_t until)
{
	(void)until;
	if (uvs_clock_is_virtual() && __atomic_load_n(&sep.running, __ATOMIC_ACQUIRE))
		uvs_waiter_post(&sep.runner[0]->w, UVS_W_KICKED);
}

static void
enter_lot(struct uvs_waiter *w, uint64_t deadline)
{
	uvs_lot_add(&sep.lot, w, deadline);
	separate_look(deadline);
}

/* The thread goes on: time stands still until it waits again. */
static void
leave_lot(struct uvs_waiter *w)
{
	uvs_lot_remove(&sep.lot, w);
	if (!uvs_clock_is_virtual() || !__atomic_load_n(&sep.running, __ATOMIC_ACQUIRE))
		return;
	uvs_lock_take(&sep.lot.lock);
	uvs_port_idle(&sep.runner[0]->in->port, UVB_BUSY);
	uvs_lock_give(&sep.lot.lock);
}

/* --------------------------------------------------------------------------------- the runner */

static unsigned int
go_round(struct uvs_runner *r)
{
	struct uvs_instance *in = r->in;
	struct uvs_call *calls;
	unsigned int n = 0;

	uvs_inst_enter(in);
	/* What was deferred before a call was made is done before it: in this order. */
	calls = uvs_calls_take(&r->calls);
	uvs_inst_run_deferred(in);
	if (calls != NULL) {
		n = uvs_calls_run(&calls);
		in->seen->loop.calls += n;
		uvs_netif_hairpin(in);
		uvs_calls_finish(calls);
	}
	n += uvs_inst_poll(in);
	uvs_inst_leave(in);
	return n;
}

static bool
has_work(const struct uvs_runner *r)
{
	return uvs_calls_waiting(&r->calls) ||
	       __atomic_load_n(&r->in->deferred, __ATOMIC_SEQ_CST) != NULL ||
	       __atomic_load_n(&r->stop, __ATOMIC_SEQ_CST) != 0;
}

/* The ports' interrupts are on, the ASLEEP bit is set, nothing is there. */
static void
doze(struct uvs_runner *r, struct uvs_sleep *s, bool armed)
{
	uint64_t until = __atomic_load_n(&r->in->next_timer, __ATOMIC_RELAXED), began;
	bool is_virtual;

	s->now = began = uvs_clock_ns();
	is_virtual = uvs_clock_is_virtual();
	if (!armed)
		until = RTE_MIN(until, s->now + NO_INTERRUPT_NAP);
	if (is_virtual && armed)
		tell_clock(r, s->now, until);
	UVS_TRACE(sleep, until - began);
	uvs_sleep_in_kernel(s, &r->in->port.epfd, armed, until);
	UVS_TRACE(wake, s->now - began);
	if (is_virtual)
		tell_clock_busy(r);
	r->in->seen->loop.sleeps++;
	r->in->seen->loop.asleep_ns += s->now - began;
	r->in->seen->loop.wakeups += s->now < until;
	if (armed) /* a nap's length says nothing */
		uvs_spin_learn(&r->spin, r->in->conf, s->now - began);
}

static void
sleep_a_while(struct uvs_runner *r, struct uvs_sleep *s)
{
	bool armed = uvs_port_arm(&r->in->port);

	if (go_round(r) == 0 && uvs_waiter_doze(&r->w, UVS_W_KICKED)) {
		if (!has_work(r))
			doze(r, s, armed);
		uvs_waiter_rouse(&r->w);
	}
	uvs_port_disarm(&r->in->port);
	uvs_waiter_take(&r->w, UVS_W_KICKED);
	s->now = uvs_clock_ns();
}

static uint64_t
relax(struct uvs_runner *r, uint64_t now)
{
	if (!r->alone)
		return uvs_spin_relax(&r->spin, now);
	__builtin_ia32_pause();
	return now;
}

static void
run(struct uvs_runner *r)
{
	const struct uvs_conf *c = r->in->conf;
	uint64_t spin = uvs_spin_budget(&r->spin, c), active, since;
	struct uvs_sleep s;

	uvs_sleep_begin(&s, &r->w, NULL, UINT64_MAX);
	s.now = active = since = uvs_clock_ns();
	while (__atomic_load_n(&r->stop, __ATOMIC_RELAXED) == 0) {
		unsigned int n = go_round(r);

		s.now = r->in->now_ns;
		uvs_inst_account(r->in, &since, s.now, n);
		if (n > 0) {
			active = s.now;
		} else if (s.now - active < spin) {
			s.now = relax(r, s.now);
		} else {
			sleep_a_while(r, &s);
			spin = uvs_spin_budget(&r->spin, c);
			active = since = s.now;
		}
	}
}

static void *
runner_main(void *arg)
{
	char name[16];
	unsigned int i = 0;

	while (sep.runner[i] != arg)
		i++;
	snprintf(name, sizeof(name), "uvs-stack%u", i);
	pthread_setname_np(pthread_self(), name);
	run(arg);
	return NULL;
}

/* -------------------------------------------------------------------------------- the waiting */

/* Poll the waiter's word for a while. UVS_SLEEP_AGAIN: nothing came. */
static int
poll_a_while(struct uvs_sleep *s, const struct uvs_conf *c)
{
	uint64_t spin, looked, begun;
	int r;

	s->now = looked = begun = uvs_clock_ns();
	/* A thread that waits would poll for ever; it is the stack's threads that are to. */
	spin = RTE_MIN(uvs_spin_budget(&s->w->wait_spin, c), c->spin_us * UVS_NS_PER_US);
	for (;;) {
		int kernel = UVS_SLEEP_AGAIN;

		if (s->now - looked > UVS_KERNEL_LOOK_NS) {
			looked = s->now;
			kernel = uvs_sleep_look(s);
		}
		r = uvs_sleep_finished(s, kernel);
		if (r != UVS_SLEEP_AGAIN || s->now - begun >= spin)
			return r;
		s->now = uvs_spin_relax(&s->w->wait_spin, s->now);
	}
}

/* What the kernel said; UVS_SLEEP_AGAIN: nothing. */
static int
sleep_once(struct uvs_sleep *s, const struct uvs_conf *c)
{
	int r = UVS_SLEEP_AGAIN;
	uint64_t begun;

	s->now = begun = uvs_clock_ns();
	uvs_waiter_take(s->w, UVS_W_KICKED);
	if (uvs_waiter_doze(s->w, UVS_W_WOKEN | UVS_W_INTERRUPTED)) {
		r = uvs_sleep_in_kernel(s, NULL, 0, s->deadline);
		uvs_waiter_rouse(s->w);
		r = r == 0 ? UVS_SLEEP_AGAIN : r;
		uvs_spin_learn(&s->w->wait_spin, c, s->now - begun);
	}
	return r;
}

static bool
nothing_came(const struct uvs_sleep *s, int kernel)
{
	return kernel == UVS_SLEEP_AGAIN && s->now < s->deadline && !uvs_waiter_called(s->w);
}

/* Time that is real now may be virtual before we wake: in the lot in any case. What woke us is
 * taken only outside: a waiter in the lot without a wake-up counts as asleep. */
static int
sleep_in_lot(struct uvs_sleep *s, const struct uvs_conf *c)
{
	int kernel;

	enter_lot(s->w, s->deadline);
	do
		kernel = sleep_once(s, c);
	while (uvs_clock_is_virtual() && nothing_came(s, kernel));
	leave_lot(s->w);
	return uvs_sleep_finished(s, kernel);
}

static int
wait_alone(struct uvs_sleep *s)
{
	const struct uvs_conf *c = sep.runner[0]->in->conf;
	int r = UVS_SLEEP_AGAIN;

	while (r == UVS_SLEEP_AGAIN) {
		r = poll_a_while(s, c);
		if (r == UVS_SLEEP_AGAIN)
			r = sleep_in_lot(s, c);
	}
	return r;
}

static int
wait_somehow(struct uvs_sleep *s)
{
	static __thread bool inside __attribute__((tls_model("initial-exec")));
	int r;

	if (unlikely(inside))
		return uvs_sleep_nested(s, NULL);
	if (uvs_waiter_take(s->w, UVS_W_WOKEN))
		return 1;
	uvs_waiter_take(s->w, UVS_W_INTERRUPTED); /* of before the wait */
	inside = true;
	r = __atomic_load_n(&sep.running, __ATOMIC_ACQUIRE) ? wait_alone(s)
							    : uvs_sleep_for_kernel_only(s);
	inside = false;
	return r;
}

static int
wait_not(struct uvs_sleep *s)
{
	int kernel = uvs_sleep_look(s);

	s->now = UINT64_MAX;
	return uvs_sleep_finished(s, kernel);
}

static int
separate_wait(struct uvs_waiter *w, struct uvs_kwait *k, uint64_t deadline_ns)
{
	struct uvs_sleep s;
	int r = uvs_sleep_begin(&s, w, k, deadline_ns);

	if (r < 0)
		return r;
	return uvs_sleep_end(&s, deadline_ns == 0 ? wait_not(&s) : wait_somehow(&s));
}

/* The runners do not wait to be asked. */
static void
separate_progress(void)
{
}

/* ------------------------------------------------------------------------------ start and stop */

static struct uvs_runner *
runner_new(struct uvs_instance *in)
{
	struct uvs_runner *r = aligned_alloc(64, sizeof(*r));

	if (r == NULL)
		return NULL;
	memset(r, 0, sizeof(*r));
	r->in = in;
	r->w.efd = uvs_waiter_eventfd();
	uvs_spin_init(&r->spin, in->conf);
	if (r->w.efd >= 0)
		return r;
	free(r);
	return NULL;
}

/* Calls reach it from the moment the instance names it; what they leave there waits for it. */
static int
runner_start(struct uvs_runner *r, const struct uvs_place *place, unsigned int i)
{
	pthread_attr_t attr;
	int e;

	pthread_attr_init(&attr);
	r->alone = uvs_place_thread(place, i, &attr);
	e = pthread_create(&r->thread, &attr, runner_main, r);
	pthread_attr_destroy(&attr);
	if (e != 0) {
		uvs_log(UVS_LOG_ERROR, "no thread for the stack: %s (cpus)", strerror(e));
		uvs_fd_close(r->w.efd);
		return -e;
	}
	__atomic_store_n(&r->in->runner, r, __ATOMIC_RELEASE);
	return 0;
}

/* The runner's memory stays: a caller may be looking at its words this very moment. */
static void
runner_stop(struct uvs_runner *r)
{
	__atomic_store_n(&r->in->runner, NULL, __ATOMIC_RELEASE);
	__atomic_store_n(&r->stop, 1, __ATOMIC_SEQ_CST);
	uvs_runner_wake(r);
	pthread_join(r->thread, NULL);
	/* Calls that came too late to be taken. */
	go_round(r);
}

static int
start_runners(struct uvs_instance **in, unsigned int n, const struct uvs_place *place)
{
	int r = 0;

	for (unsigned int i = 0; r == 0 && i < n; i++) {
		sep.runner[i] = runner_new(in[i]);
		if (sep.runner[i] == NULL)
			return -ENOMEM;
		r = runner_start(sep.runner[i], place, i);
		sep.n += r == 0;
	}
	return r;
}

static void
separate_stop(void)
{
	__atomic_store_n(&sep.running, false, __ATOMIC_RELEASE);
	while (sep.n > 0)
		runner_stop(sep.runner[--sep.n]);
}

static int
separate_start(struct uvs_instance **in, unsigned int n)
{
	struct uvs_place place;
	sigset_t all, before;
	int r = uvs_place_init(&place, in[0]->conf);

	if (r < 0 || n > UVS_STACKS_MAX)
		return r < 0 ? r : -EINVAL;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = start_runners(in, n, &place);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	__atomic_store_n(&uvs_naps_look, separate_look, __ATOMIC_RELEASE);
	if (r == 0)
		__atomic_store_n(&sep.running, true, __ATOMIC_RELEASE);
	else
		separate_stop();
	return r;
}

static void
separate_kick(struct uvs_instance *in)
{
	struct uvs_runner *r = __atomic_load_n(&in->runner, __ATOMIC_ACQUIRE);

	if (r != NULL)
		uvs_runner_wake(r);
}

static void
separate_forget(void)
{
	memset(&sep, 0, sizeof(sep));
	uvs_clock_follow(NULL);
	uvs_naps_forget();
	uvs_waiter_forget();
}

const struct uvs_model uvs_model_separate = {
	.name = "separate",
	.start = separate_start,
	.stop = separate_stop,
	.call = separate_call,
	.progress = separate_progress,
	.wait = separate_wait,
	.kick = separate_kick,
	.forget = separate_forget,
};
