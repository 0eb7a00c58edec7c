/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack/posix/real.h - the C library's own functions, behind the symbols this library takes over.
 *
 * R(read)(fd, buf, n) calls the next `read` in the search order, never ours. The pointers are
 * looked up together on first use, which may be before our constructor (constructors of other
 * libraries): no allocation, no lock; racing threads write the same values. After that they are
 * read-only.
 *
 * A name the C library does not have stays NULL: only call what this release of it has, or test.
 */
#ifndef STACK_POSIX_REAL_H
#define STACK_POSIX_REAL_H

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define uvp_likely(x)   __builtin_expect(!!(x), 1)
#define uvp_unlikely(x) __builtin_expect(!!(x), 0)

/* Everything here is declared by the headers above; the pointers take their types from there. */
#define UVP_REAL_LIST(X)          \
	X(socket)                 \
	X(socketpair)             \
	X(connect)                \
	X(bind)                   \
	X(listen)                 \
	X(accept)                 \
	X(accept4)                \
	X(getsockname)            \
	X(getpeername)            \
	X(getsockopt)             \
	X(setsockopt)             \
	X(shutdown)               \
	X(sockatmark)             \
	X(read)                   \
	X(write)                  \
	X(readv)                  \
	X(writev)                 \
	X(recv)                   \
	X(recvfrom)               \
	X(recvmsg)                \
	X(recvmmsg)               \
	X(send)                   \
	X(sendto)                 \
	X(sendmsg)                \
	X(sendmmsg)               \
	X(sendfile)               \
	X(splice)                 \
	X(pread)                  \
	X(preadv2)                \
	X(pwritev2)               \
	X(poll)                   \
	X(ppoll)                  \
	X(select)                 \
	X(pselect)                \
	X(epoll_create)           \
	X(epoll_create1)          \
	X(epoll_ctl)              \
	X(epoll_wait)             \
	X(epoll_pwait)            \
	X(epoll_pwait2)           \
	X(fcntl)                  \
	X(ioctl)                  \
	X(dup)                    \
	X(dup2)                   \
	X(dup3)                   \
	X(close)                  \
	X(close_range)            \
	X(closefrom)              \
	X(fstat)                  \
	X(fstat64)                \
	X(open)                   \
	X(open64)                 \
	X(openat)                 \
	X(openat64)               \
	X(creat)                  \
	X(creat64)                \
	X(pipe)                   \
	X(pipe2)                  \
	X(eventfd)                \
	X(timerfd_create)         \
	X(signalfd)               \
	X(inotify_init)           \
	X(inotify_init1)          \
	X(memfd_create)           \
	X(fdopen)                 \
	X(fileno)                 \
	X(fileno_unlocked)        \
	X(vdprintf)               \
	X(fork)                   \
	X(_Fork)                  \
	X(execve)                 \
	X(execvpe)                \
	X(fexecve)                \
	X(_exit)                  \
	X(quick_exit)             \
	X(pthread_create)         \
	X(pthread_cancel)         \
	X(sigaction)              \
	X(clock_gettime)          \
	X(gettimeofday)           \
	X(time)                   \
	X(timespec_get)           \
	X(nanosleep)              \
	X(clock_nanosleep)        \
	X(usleep)                 \
	X(sleep)                  \
	X(timerfd_settime)        \
	X(timerfd_gettime)        \
	X(setitimer)              \
	X(getitimer)              \
	X(alarm)                  \
	X(pthread_cond_timedwait) \
	X(pthread_cond_clockwait) \
	X(sem_timedwait)          \
	X(sem_clockwait)

struct uvp_real {
#define UVP_REAL_FIELD(name) __typeof__(name) *(name);
	UVP_REAL_LIST(UVP_REAL_FIELD)
#undef UVP_REAL_FIELD
};

extern struct uvp_real uvp_real;
const struct uvp_real *uvp_real_resolve(void);

#define R(name) (uvp_likely(uvp_real.name) ? uvp_real.name : uvp_real_resolve()->name)

/* The system call itself, for what the C library has no function for. Result or -errno. */
long uvp_raw_syscall(long nr, long a, long b, long c, long d, long e, long f);

#endif /* STACK_POSIX_REAL_H */
