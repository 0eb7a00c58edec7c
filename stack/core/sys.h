/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack/core/sys.h - the few system calls the stack makes while packets flow, made directly.
 *
 * Not through libc's symbols: stack/posix interposes those in this very library, and libc's
 * versions are cancellation points, at which a thread could vanish with the driver role in hand.
 * All return a negative errno.
 */
#ifndef STACK_CORE_SYS_H
#define STACK_CORE_SYS_H

#include <linux/futex.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>

#ifndef __x86_64__
#error "written for x86-64"
#endif

static inline long
uvs_syscall5(long nr, long a, long b, long c, long d, long e)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
			 : "rcx", "r11", "memory");
	return ret;
}

static inline int
uvs_sys_ppoll(struct pollfd *fds, unsigned int n, const struct timespec *timeout,
	      const sigset_t *mask)
{
	struct timespec copy, *t = NULL; /* the kernel writes what is left */

	if (timeout != NULL) {
		copy = *timeout;
		t = &copy;
	}
	return (int)uvs_syscall5(SYS_ppoll, (long)fds, n, (long)t, (long)mask,
				 mask != NULL ? 8 : 0);
}

static inline long
uvs_sys_read(int fd, void *buf, size_t len)
{
	return uvs_syscall5(SYS_read, fd, (long)buf, (long)len, 0, 0);
}

static inline long
uvs_sys_write(int fd, const void *buf, size_t len)
{
	return uvs_syscall5(SYS_write, fd, (long)buf, (long)len, 0, 0);
}

static inline long
uvs_sys_close(int fd)
{
	return uvs_syscall5(SYS_close, fd, 0, 0, 0, 0);
}

static inline int
uvs_sys_yield(void)
{
	return (int)uvs_syscall5(SYS_sched_yield, 0, 0, 0, 0, 0);
}

static inline int
uvs_sys_sigmask(int how, const sigset_t *set, sigset_t *old)
{
	return (int)uvs_syscall5(SYS_rt_sigprocmask, how, (long)set, (long)old, 8, 0);
}

static inline int
uvs_sys_futex_wait(const void *word, uint32_t expected, const struct timespec *timeout)
{
	return (int)uvs_syscall5(SYS_futex, (long)word, FUTEX_WAIT_PRIVATE, expected, (long)timeout,
				 0);
}

static inline int
uvs_sys_futex_wake(const void *word, int n)
{
	return (int)uvs_syscall5(SYS_futex, (long)word, FUTEX_WAKE_PRIVATE, n, 0, 0);
}

#endif /* STACK_CORE_SYS_H */
