/* SPDX-License-Identifier: BSD-3-Clause
 *
 * syscall(): programs that go round the C library's functions (libuv closes and accepts that way)
 * meet the same table. io_uring works on kernel descriptors behind everyone's back and cannot be
 * followed: it is not there.
 */
#include "stack/posix/posix.h"

#include <sys/syscall.h>

struct args {
	long a, b, c, d, e, f;
};

/* Arguments are words here: what is a pointer only the call's number tells. */
/* NOLINTBEGIN(performance-no-int-to-ptr) */
#define P(type, x) ((type)(uintptr_t)(x))

static long
sys_data(long nr, const struct args *g, bool *done)
{
	switch (nr) {
	case SYS_read:
		return read((int)g->a, P(void *, g->b), (size_t)g->c);
	case SYS_write:
		return write((int)g->a, P(void *, g->b), (size_t)g->c);
	case SYS_readv:
		return readv((int)g->a, P(struct iovec *, g->b), (int)g->c);
	case SYS_writev:
		return writev((int)g->a, P(struct iovec *, g->b), (int)g->c);
	case SYS_preadv2: /* the offset comes in two words, of which x86-64 uses the first */
		return preadv2((int)g->a, P(struct iovec *, g->b), (int)g->c, g->d, (int)g->f);
	case SYS_pwritev2:
		return pwritev2((int)g->a, P(struct iovec *, g->b), (int)g->c, g->d, (int)g->f);
	case SYS_recvfrom:
		return recvfrom((int)g->a, P(void *, g->b), (size_t)g->c, (int)g->d,
				P(struct sockaddr *, g->e), P(socklen_t *, g->f));
	case SYS_sendto:
		return sendto((int)g->a, P(void *, g->b), (size_t)g->c, (int)g->d,
			      P(struct sockaddr *, g->e), (socklen_t)g->f);
	case SYS_recvmsg:
		return recvmsg((int)g->a, P(struct msghdr *, g->b), (int)g->c);
	case SYS_sendmsg:
		return sendmsg((int)g->a, P(struct msghdr *, g->b), (int)g->c);
	case SYS_recvmmsg:
		return recvmmsg((int)g->a, P(struct mmsghdr *, g->b), (unsigned int)g->c, (int)g->d,
				P(struct timespec *, g->e));
	case SYS_sendmmsg:
		return sendmmsg((int)g->a, P(struct mmsghdr *, g->b), (unsigned int)g->c,
				(int)g->d);
	case SYS_sendfile:
		return sendfile((int)g->a, (int)g->b, P(off_t *, g->c), (size_t)g->d);
	case SYS_splice:
		return splice((int)g->a, P(off64_t *, g->b), (int)g->c, P(off64_t *, g->d),
			      (size_t)g->e, (unsigned int)g->f);
	default:
		*done = false;
		return 0;
	}
}

static long
sys_socket(long nr, const struct args *g, bool *done)
{
	switch (nr) {
	case SYS_socket:
		return socket((int)g->a, (int)g->b, (int)g->c);
	case SYS_socketpair:
		return socketpair((int)g->a, (int)g->b, (int)g->c, P(int *, g->d));
	case SYS_connect:
		return connect((int)g->a, P(struct sockaddr *, g->b), (socklen_t)g->c);
	case SYS_bind:
		return bind((int)g->a, P(struct sockaddr *, g->b), (socklen_t)g->c);
	case SYS_listen:
		return listen((int)g->a, (int)g->b);
	case SYS_accept:
		return accept((int)g->a, P(struct sockaddr *, g->b), P(socklen_t *, g->c));
	case SYS_accept4:
		return accept4((int)g->a, P(struct sockaddr *, g->b), P(socklen_t *, g->c),
			       (int)g->d);
	case SYS_getsockname:
		return getsockname((int)g->a, P(struct sockaddr *, g->b), P(socklen_t *, g->c));
	case SYS_getpeername:
		return getpeername((int)g->a, P(struct sockaddr *, g->b), P(socklen_t *, g->c));
	case SYS_getsockopt:
		return getsockopt((int)g->a, (int)g->b, (int)g->c, P(void *, g->d),
				  P(socklen_t *, g->e));
	case SYS_setsockopt:
		return setsockopt((int)g->a, (int)g->b, (int)g->c, P(void *, g->d),
				  (socklen_t)g->e);
	case SYS_shutdown:
		return shutdown((int)g->a, (int)g->b);
	default:
		*done = false;
		return 0;
	}
}

/* The kernel's masks are 8 bytes, the C library's longer: only the first 8 count. */
static const sigset_t *
mask_of(long addr, sigset_t *set)
{
	if (!addr)
		return NULL;
	sigemptyset(set);
	memcpy(set, P(void *, addr), 8);
	return set;
}

static long
sys_pselect(const struct args *g)
{
	const struct {
		long mask, size;
	} *arg = P(void *, g->f);
	sigset_t set;

	return pselect((int)g->a, P(fd_set *, g->b), P(fd_set *, g->c), P(fd_set *, g->d),
		       P(struct timespec *, g->e), mask_of(arg ? arg->mask : 0, &set));
}

static long
sys_wait(long nr, const struct args *g, bool *done)
{
	sigset_t set;

	switch (nr) {
	case SYS_poll:
		return poll(P(struct pollfd *, g->a), (nfds_t)g->b, (int)g->c);
	case SYS_ppoll:
		return ppoll(P(struct pollfd *, g->a), (nfds_t)g->b, P(struct timespec *, g->c),
			     mask_of(g->d, &set));
	case SYS_select:
		return select((int)g->a, P(fd_set *, g->b), P(fd_set *, g->c), P(fd_set *, g->d),
			      P(struct timeval *, g->e));
	case SYS_pselect6:
		return sys_pselect(g);
	case SYS_epoll_create:
		return epoll_create((int)g->a);
	case SYS_epoll_create1:
		return epoll_create1((int)g->a);
	case SYS_epoll_ctl:
		return epoll_ctl((int)g->a, (int)g->b, (int)g->c, P(struct epoll_event *, g->d));
	case SYS_epoll_wait:
		return epoll_wait((int)g->a, P(struct epoll_event *, g->b), (int)g->c, (int)g->d);
	case SYS_epoll_pwait:
		return epoll_pwait((int)g->a, P(struct epoll_event *, g->b), (int)g->c, (int)g->d,
				   mask_of(g->e, &set));
	case SYS_epoll_pwait2:
		return epoll_pwait2((int)g->a, P(struct epoll_event *, g->b), (int)g->c,
				    P(struct timespec *, g->d), mask_of(g->e, &set));
	default:
		*done = false;
		return 0;
	}
}

static long
sys_number(long nr, const struct args *g, bool *done)
{
	switch (nr) {
	case SYS_close:
		return close((int)g->a);
	case SYS_close_range:
		return close_range((unsigned int)g->a, (unsigned int)g->b, (int)g->c);
	case SYS_dup:
		return dup((int)g->a);
	case SYS_dup2:
		return dup2((int)g->a, (int)g->b);
	case SYS_dup3:
		return dup3((int)g->a, (int)g->b, (int)g->c);
	case SYS_fcntl:
		return fcntl((int)g->a, (int)g->b, g->c);
	case SYS_ioctl:
		return ioctl((int)g->a, (unsigned long)g->b, P(void *, g->c));
	case SYS_open:
		return open(P(char *, g->a), (int)g->b, (mode_t)g->c);
	case SYS_openat:
		return openat((int)g->a, P(char *, g->b), (int)g->c, (mode_t)g->d);
	case SYS_pipe:
		return pipe(P(int *, g->a));
	case SYS_pipe2:
		return pipe2(P(int *, g->a), (int)g->b);
	case SYS_eventfd2:
		return eventfd((unsigned int)g->a, (int)g->b);
	case SYS_timerfd_create:
		return timerfd_create((int)g->a, (int)g->b);
	case SYS_memfd_create:
		return memfd_create(P(char *, g->a), (unsigned int)g->b);
	default:
		*done = false;
		return 0;
	}
}

static long
sys_time(long nr, const struct args *g, bool *done)
{
	switch (nr) {
	case SYS_clock_gettime:
		return clock_gettime((clockid_t)g->a, P(struct timespec *, g->b));
	case SYS_gettimeofday:
		return gettimeofday(P(struct timeval *, g->a), P(void *, g->b));
	case SYS_time:
		return time(P(time_t *, g->a));
	case SYS_nanosleep:
		return nanosleep(P(struct timespec *, g->a), P(struct timespec *, g->b));
	case SYS_clock_nanosleep:
		return uvp_ret(-clock_nanosleep((clockid_t)g->a, (int)g->b,
						P(struct timespec *, g->c),
						P(struct timespec *, g->d)));
	case SYS_timerfd_settime:
		return timerfd_settime((int)g->a, (int)g->b, P(struct itimerspec *, g->c),
				       P(struct itimerspec *, g->d));
	case SYS_timerfd_gettime:
		return timerfd_gettime((int)g->a, P(struct itimerspec *, g->b));
	case SYS_alarm:
		return alarm((unsigned int)g->a);
	default:
		*done = false;
		return 0;
	}
}

static long
sys_process(long nr, const struct args *g, bool *done)
{
	switch (nr) {
	case SYS_exit_group:
		_exit((int)g->a);
	case SYS_execve:
		return execve(P(char *, g->a), P(char **, g->b), P(char **, g->c));
	case SYS_fork:
		return fork();
	case SYS_vfork:
		return uvp_vfork();
	case SYS_io_uring_setup:
	case SYS_io_uring_enter:
	case SYS_io_uring_register:
		return uvp_ret(-ENOSYS);
	default:
		*done = false;
		return 0;
	}
}

/* NOLINTEND(performance-no-int-to-ptr) */

static long
dispatch(long nr, const struct args *g, bool *done)
{
	static long (*const groups[])(long, const struct args *, bool *) = {
		sys_data, sys_socket, sys_wait, sys_number, sys_time, sys_process};
	size_t i;
	long r;

	for (i = 0; i < sizeof(groups) / sizeof(groups[0]); i++) {
		*done = true;
		r = groups[i](nr, g, done);
		if (*done)
			return r;
	}
	return 0;
}

UVP_EXPORT long
syscall(long nr, ...)
{
	struct args g;
	bool done = false;
	va_list ap;
	long r;

	va_start(ap, nr);
	g.a = va_arg(ap, long);
	g.b = va_arg(ap, long);
	g.c = va_arg(ap, long);
	g.d = va_arg(ap, long);
	g.e = va_arg(ap, long);
	g.f = va_arg(ap, long);
	va_end(ap);
	if (uvp_table_size != 0 && !uvp_inside()) {
		r = dispatch(nr, &g, &done);
		if (done)
			return r;
	}
	return uvp_ret(uvp_raw_syscall(nr, g.a, g.b, g.c, g.d, g.e, g.f));
}
