/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Calls that may block: try, look again with a watch in place, sleep, try again.
 */
#include "stack/core/clock.h"
#include "stack/posix/posix.h"

uint64_t
uvp_now(void)
{
	return uvs_clock_ns();
}

uint64_t
uvp_deadline_ms(int timeout_ms)
{
	if (timeout_ms < 0)
		return UVP_FOREVER;
	return timeout_ms == 0 ? 0 : uvp_now() + (uint64_t)timeout_ms * 1000000u;
}

int
uvp_deadline_ts(const struct timespec *ts, uint64_t *deadline)
{
	uint64_t now;

	if (!ts) {
		*deadline = UVP_FOREVER;
		return 0;
	}
	if (ts->tv_sec < 0 || ts->tv_nsec < 0 || ts->tv_nsec > 999999999)
		return -EINVAL;
	if (ts->tv_sec == 0 && ts->tv_nsec == 0) {
		*deadline = 0;
		return 0;
	}
	now = uvp_now();
	if ((uint64_t)ts->tv_sec > (UVP_FOREVER - now) / 1000000000u - 1)
		*deadline = UVP_FOREVER;
	else
		*deadline = now + (uint64_t)ts->tv_sec * 1000000000u + (uint64_t)ts->tv_nsec;
	return 0;
}

static void
wake_fire(struct uvs_watch *watch, uint32_t events)
{
	struct uvp_wake *w = (struct uvp_wake *)watch;

	if (events & w->mask)
		uvs_waiter_wake(w->waiter);
}

void
uvp_wake_add(struct uvp_wake *w, struct uvs_sock *s, struct uvs_waiter *waiter, uint32_t mask)
{
	w->watch.fire = wake_fire;
	w->waiter = waiter;
	w->mask = mask | EPOLLERR | EPOLLHUP;
	if (mask & EPOLLRDNORM)
		w->mask |= EPOLLIN;
	if (mask & (EPOLLWRNORM | EPOLLWRBAND))
		w->mask |= EPOLLOUT;
	w->linked = true;
	UVP_IN_VOID(uvs_watch_add(s, &w->watch));
}

void
uvp_wake_del(struct uvp_wake *w)
{
	if (!w->linked)
		return;
	w->linked = false;
	UVP_IN_VOID(uvs_watch_del(&w->watch));
}

uint32_t
uvp_level(const struct uvp_file *f)
{
	uint32_t ev = uvs_sock_events(f->sock);

	if (ev & EPOLLIN)
		ev |= EPOLLRDNORM;
	if (ev & EPOLLOUT)
		ev |= EPOLLWRNORM | (f->type != SOCK_STREAM ? EPOLLWRBAND : 0);
	return ev;
}

/* One sleep. 0: look again; -EAGAIN: out of time; -EINTR, -UVP_AGAIN. */
static int
sleep_once(struct uvs_waiter *waiter, int kernel_fd, short dir, uint64_t deadline)
{
	struct pollfd pfd = {.fd = kernel_fd, .events = dir};
	struct uvs_kwait k = {.fds = &pfd, .nfds = 1, .sigmask = NULL};
	int r;

	r = UVP_IN(uvs_wait(waiter, kernel_fd >= 0 ? &k : NULL, deadline));
	if (uvp_cancelled())
		return -UVP_AGAIN;
	if (r > 0)
		return 0;
	if (r == 0)
		return -EAGAIN;
	if (r == -EINTR)
		r = uvp_sig_interrupted();
	if (r == -UVP_AGAIN && deadline != UVP_FOREVER)
		r = -EINTR; /* as the kernel: a call with a timeout is not restarted */
	return r;
}

static ssize_t
run_blocking(struct uvp_file *f, short dir, int kernel_fd, uvp_op op, void *arg)
{
	uint32_t mask = dir == POLLIN ? EPOLLIN | EPOLLRDHUP : EPOLLOUT;
	uint64_t timeout = uvs_sock_timeout(f->sock, dir);
	uint64_t deadline = timeout ? uvp_now() + timeout : UVP_FOREVER;
	struct uvs_waiter *waiter = uvp_waiter();
	struct uvp_wake wake;
	ssize_t r;
	int w = 0;

	if (!waiter)
		return -ENOMEM;
	if (uvp_cancelled())
		return -UVP_AGAIN;
	uvp_wake_add(&wake, f->sock, waiter, mask);
	for (;;) {
		r = op(f, arg);
		if (r != -EAGAIN || w < 0)
			break;
		w = sleep_once(waiter, kernel_fd, dir, deadline);
	}
	uvp_wake_del(&wake);
	/* Data beats a signal or a timeout that came with it, as in the kernel. */
	return r == -EAGAIN ? w : r;
}

ssize_t
uvp_run(struct uvp_file *f, bool nonblock, short dir, int kernel_fd, uvp_op op, void *arg)
{
	ssize_t r = op(f, arg);

	if (r != -EAGAIN)
		return r;
	UVP_IN_VOID(uvs_progress());
	r = op(f, arg);
	if (r != -EAGAIN || nonblock)
		return r;
	return run_blocking(f, dir, kernel_fd, op, arg);
}
