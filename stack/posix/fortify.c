/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What programs compiled with _FORTIFY_SOURCE call instead, and the old double-underscore names.
 */
#include "stack/posix/posix.h"

void __chk_fail(void) __attribute__((noreturn));

UVP_EXPORT ssize_t __read_chk(int fd, void *buf, size_t n, size_t size);
UVP_EXPORT ssize_t
__read_chk(int fd, void *buf, size_t n, size_t size)
{
	if (n > size)
		__chk_fail();
	return read(fd, buf, n);
}

UVP_EXPORT ssize_t __recv_chk(int fd, void *buf, size_t n, size_t size, int flags);
UVP_EXPORT ssize_t
__recv_chk(int fd, void *buf, size_t n, size_t size, int flags)
{
	if (n > size)
		__chk_fail();
	return recv(fd, buf, n, flags);
}

UVP_EXPORT ssize_t __recvfrom_chk(int fd, void *buf, size_t n, size_t size, int flags,
				  struct sockaddr *addr, socklen_t *len);
UVP_EXPORT ssize_t
__recvfrom_chk(int fd, void *buf, size_t n, size_t size, int flags, struct sockaddr *addr,
	       socklen_t *len)
{
	if (n > size)
		__chk_fail();
	return recvfrom(fd, buf, n, flags, addr, len);
}

UVP_EXPORT int __poll_chk(struct pollfd *fds, nfds_t n, int timeout, size_t size);
UVP_EXPORT int
__poll_chk(struct pollfd *fds, nfds_t n, int timeout, size_t size)
{
	if (size / sizeof(*fds) < n)
		__chk_fail();
	return poll(fds, n, timeout);
}

UVP_EXPORT int __ppoll_chk(struct pollfd *fds, nfds_t n, const struct timespec *ts,
			   const sigset_t *mask, size_t size);
UVP_EXPORT int
__ppoll_chk(struct pollfd *fds, nfds_t n, const struct timespec *ts, const sigset_t *mask,
	    size_t size)
{
	if (size / sizeof(*fds) < n)
		__chk_fail();
	return ppoll(fds, n, ts, mask);
}

/* open without a mode, checked at compile time not to need one. */
#define OPEN_2(name, target)                                             \
	UVP_EXPORT int name(const char *path, int flags);                \
	UVP_EXPORT int name(const char *path, int flags)                 \
	{                                                                \
		if (flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE) \
			__chk_fail();                                    \
		return target(path, flags);                              \
	}
OPEN_2(__open_2, open)
OPEN_2(__open64_2, open64)

#define OPENAT_2(name, target)                                           \
	UVP_EXPORT int name(int dir, const char *path, int flags);       \
	UVP_EXPORT int name(int dir, const char *path, int flags)        \
	{                                                                \
		if (flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE) \
			__chk_fail();                                    \
		return target(dir, path, flags);                         \
	}
OPENAT_2(__openat_2, openat)
OPENAT_2(__openat64_2, openat64)

#define OLD_NAME(ret, name, target, params, args) \
	UVP_EXPORT ret name params;               \
	UVP_EXPORT ret name params                \
	{                                         \
		return target args;               \
	}
OLD_NAME(ssize_t, __read, read, (int fd, void *b, size_t n), (fd, b, n))
OLD_NAME(ssize_t, __write, write, (int fd, const void *b, size_t n), (fd, b, n))
OLD_NAME(int, __close, close, (int fd), (fd))
OLD_NAME(int, __connect, connect, (int fd, const struct sockaddr *a, socklen_t l), (fd, a, l))
OLD_NAME(ssize_t, __send, send, (int fd, const void *b, size_t n, int f), (fd, b, n, f))
OLD_NAME(int, __dup2, dup2, (int a, int b), (a, b))
OLD_NAME(int, __poll, poll, (struct pollfd * p, nfds_t n, int t), (p, n, t))
OLD_NAME(int, __select, select, (int n, fd_set *r, fd_set *w, fd_set *x, struct timeval *t),
	 (n, r, w, x, t))
OLD_NAME(pid_t, __vfork, uvp_vfork, (void), ())
OLD_NAME(int, __sigaction, sigaction, (int s, const struct sigaction *a, struct sigaction *o),
	 (s, a, o))

UVP_EXPORT int __fcntl(int fd, int cmd, ...);
UVP_EXPORT int
__fcntl(int fd, int cmd, ...)
{
	va_list ap;
	long arg;

	va_start(ap, cmd);
	arg = va_arg(ap, long);
	va_end(ap);
	return fcntl(fd, cmd, arg);
}
