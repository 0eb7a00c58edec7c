/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Signal handlers, wrapped for two reasons.
 *
 * 1. A handler may call send() or close(), and it may leave by longjmp. Were it to run while its
 *    thread is inside the stack, it would find the stack's locks held, or leave them so. Handlers
 *    that come while the thread is inside are kept until it is outside again, an instant later: a
 *    sleeping thread is woken by the signal and leaves.
 * 2. Whether an interrupted call starts again depends on the SA_RESTART of the handler that ran,
 *    and only the handler knows that it ran.
 *
 * Signals that a fault raises are never held back.
 */
#include "stack/posix/posix.h"

#define HISTORY                                                                          \
	8 /* of actions per signal: a handler that starts reads one while another is set \
	   */

static struct sigaction actions[NSIG][HISTORY];
static _Atomic(struct sigaction *) current[NSIG];
static unsigned char turn[NSIG];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static bool
wrapped(int sig)
{
	switch (sig) {
	case SIGSEGV:
	case SIGBUS:
	case SIGFPE:
	case SIGILL:
	case SIGTRAP:
	case SIGSYS:
	case SIGABRT:
		return false;
	default:
		return sig > 0 && sig < NSIG && uvp_table_size != 0 && !uvp_inside();
	}
}

static void
call(const struct sigaction *sa, int sig, siginfo_t *info, void *uc)
{
	if (sa->sa_flags & SA_SIGINFO)
		sa->sa_sigaction(sig, info, uc);
	else
		sa->sa_handler(sig);
}

/* False: no room. A standard signal that is kept already is one signal, as in the kernel. */
static bool
keep(int sig, const siginfo_t *info)
{
	struct uvp_thread *t = &uvp_self;
	unsigned int i;

	for (i = 0; i < t->sig_pending && sig < SIGRTMIN; i++)
		if (t->kept[i].si_signo == sig)
			return true;
	if (t->sig_pending == UVP_KEPT)
		return false;
	t->kept[t->sig_pending] = *info;
	t->kept[t->sig_pending++].si_signo = sig;
	return true;
}

static void
on_signal(int sig, siginfo_t *info, void *uc)
{
	const struct sigaction *sa = atomic_load(&current[sig]);
	int saved = errno;

	if (!sa)
		return;
	if (uvp_self.depth > 0 && !(sa->sa_flags & SA_RESTART))
		uvp_self.sig_interrupts = true;
	if (uvp_self.depth == 0 || !keep(sig, info))
		call(sa, sig, info, uc);
	else
		uvs_wait_interrupt();
	errno = saved;
}

static void
deliver_one(siginfo_t *info, const sigset_t *before)
{
	const struct sigaction *sa = atomic_load(&current[info->si_signo]);
	sigset_t mask = *before;
	ucontext_t uc;

	if (!sa)
		return;
	memset(&uc, 0, sizeof(uc));
	sigorset(&mask, before, &sa->sa_mask);
	if (!(sa->sa_flags & SA_NODEFER))
		sigaddset(&mask, info->si_signo);
	pthread_sigmask(SIG_SETMASK, &mask, NULL);
	call(sa, info->si_signo, info, &uc);
}

void
uvp_sig_deliver(void)
{
	struct uvp_thread *t = &uvp_self;
	int saved = errno;
	sigset_t all, before;
	siginfo_t info;

	t->sig_interrupts = false;
	sigfillset(&all);
	while (t->sig_pending > 0) {
		pthread_sigmask(SIG_SETMASK, &all, &before);
		if (t->sig_pending > 0) {
			info = t->kept[0];
			t->sig_pending--;
			memmove(&t->kept[0], &t->kept[1], t->sig_pending * sizeof(t->kept[0]));
			deliver_one(&info, &before);
		}
		pthread_sigmask(SIG_SETMASK, &before, NULL);
	}
	errno = saved;
}

int
uvp_sig_interrupted(void)
{
	const struct uvp_thread *t = &uvp_self;

	if (t->sig_interrupts)
		return -EINTR;
	return t->sig_pending > 0 ? -UVP_AGAIN : 0; /* 0: stopped and continued */
}

/* ----------------------------------------------------------------------------------- sigaction */

static struct sigaction *
store(int sig, const struct sigaction *act)
{
	struct sigaction *slot = &actions[sig][turn[sig]++ % HISTORY];

	*slot = *act;
	return slot;
}

static bool
is_function(const struct sigaction *sa)
{
	return sa->sa_handler != SIG_DFL && sa->sa_handler != SIG_IGN;
}

static int
set_wrapped(int sig, const struct sigaction *act, struct sigaction *old)
{
	struct sigaction *before = atomic_load(&current[sig]), wrap, was;
	int r;

	if (act && is_function(act)) {
		wrap = *act;
		wrap.sa_sigaction = on_signal;
		wrap.sa_flags |= SA_SIGINFO;
		atomic_store(&current[sig], store(sig, act));
		act = &wrap;
	}
	r = R(sigaction)(sig, act, &was);
	if (r < 0) {
		atomic_store(&current[sig], before);
		return r;
	}
	if (old) {
		*old = was;
		if ((was.sa_flags & SA_SIGINFO) && was.sa_sigaction == on_signal && before)
			*old = *before;
	}
	return r;
}

UVP_EXPORT int
sigaction(int sig, const struct sigaction *act, struct sigaction *old)
{
	struct sigaction copy;
	sigset_t all, before;
	int r;

	if (!wrapped(sig))
		return R(sigaction)(sig, act, old);
	if (act) {
		copy = *act; /* act and old may be the same memory */
		act = &copy;
	}
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pthread_mutex_lock(&lock);
	r = set_wrapped(sig, act, old);
	pthread_mutex_unlock(&lock);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return r;
}

/* The C library's own versions of these would go round us. */

static _Atomic uint64_t interrupting; /* signals that siginterrupt() made so */

static __sighandler_t
set_handler(int sig, __sighandler_t handler, int flags)
{
	struct sigaction act = {.sa_handler = handler, .sa_flags = flags}, old;

	if (handler == SIG_ERR || sig < 1 || sig >= NSIG) {
		errno = EINVAL;
		return SIG_ERR;
	}
	if (!(flags & SA_NODEFER))
		sigaddset(&act.sa_mask, sig);
	return sigaction(sig, &act, &old) < 0 ? SIG_ERR : old.sa_handler;
}

UVP_EXPORT __sighandler_t
signal(int sig, __sighandler_t handler)
{
	bool interrupt = sig > 0 && sig < 64 && (atomic_load(&interrupting) >> sig & 1);

	return set_handler(sig, handler, interrupt ? 0 : SA_RESTART);
}

UVP_EXPORT __sighandler_t
ssignal(int sig, __sighandler_t handler)
{
	return signal(sig, handler);
}

UVP_EXPORT __sighandler_t bsd_signal(int sig, __sighandler_t handler);
UVP_EXPORT __sighandler_t
bsd_signal(int sig, __sighandler_t handler)
{
	return signal(sig, handler);
}

UVP_EXPORT __sighandler_t
sysv_signal(int sig, __sighandler_t handler)
{
	return set_handler(sig, handler, SA_RESETHAND | SA_NODEFER);
}

UVP_EXPORT __sighandler_t __sysv_signal(int sig, __sighandler_t handler);
UVP_EXPORT __sighandler_t
__sysv_signal(int sig, __sighandler_t handler)
{
	return sysv_signal(sig, handler);
}

UVP_EXPORT int
siginterrupt(int sig, int on)
{
	struct sigaction act;

	if (sigaction(sig, NULL, &act) < 0)
		return -1;
	if (sig < 64) {
		if (on)
			atomic_fetch_or(&interrupting, 1ull << sig);
		else
			atomic_fetch_and(&interrupting, ~(1ull << sig));
	}
	if (on)
		act.sa_flags &= ~SA_RESTART;
	else
		act.sa_flags |= SA_RESTART;
	return sigaction(sig, &act, NULL);
}
