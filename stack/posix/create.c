/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Calls that open descriptors which are none of ours: their numbers tell that whatever the table
 * still says about them is stale. Called from inside the stack, what they open is moved away from
 * the application's numbers and guarded.
 */
#include "stack/posix/posix.h"

static mode_t
mode_of(int flags, va_list ap)
{
	return flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(ap, mode_t) : 0;
}

#define OPEN(name, real)                                                 \
	UVP_EXPORT int name(const char *path, int flags, ...)            \
	{                                                                \
		va_list ap;                                              \
		mode_t mode;                                             \
                                                                         \
		va_start(ap, flags);                                     \
		mode = mode_of(flags, ap);                               \
		va_end(ap);                                              \
		return uvp_opened(UVP_REAL(R(real)(path, flags, mode))); \
	}

#define OPENAT(name, real)                                                    \
	UVP_EXPORT int name(int dir, const char *path, int flags, ...)        \
	{                                                                     \
		va_list ap;                                                   \
		mode_t mode;                                                  \
                                                                              \
		va_start(ap, flags);                                          \
		mode = mode_of(flags, ap);                                    \
		va_end(ap);                                                   \
		return uvp_opened(UVP_REAL(R(real)(dir, path, flags, mode))); \
	}

OPEN(open, open)
OPEN(open64, open64)
OPENAT(openat, openat)
OPENAT(openat64, openat64)

UVP_EXPORT int
creat(const char *path, mode_t mode)
{
	return uvp_opened(UVP_REAL(R(creat)(path, mode)));
}

UVP_EXPORT int
creat64(const char *path, mode_t mode)
{
	return uvp_opened(UVP_REAL(R(creat64)(path, mode)));
}

UVP_EXPORT int
pipe2(int fds[2], int flags)
{
	int r = R(pipe2)(fds, flags);

	if (r == 0) {
		fds[0] = uvp_opened(fds[0]);
		fds[1] = uvp_opened(fds[1]);
	}
	return r;
}

UVP_EXPORT int
pipe(int fds[2])
{
	return pipe2(fds, 0);
}

UVP_EXPORT int
eventfd(unsigned int value, int flags)
{
	return uvp_opened(R(eventfd)(value, flags));
}

UVP_EXPORT int
timerfd_create(clockid_t clock, int flags)
{
	int fd = uvp_opened(R(timerfd_create)(clock, flags));

	if (fd >= 0)
		uvp_timer_new(fd, clock);
	return fd;
}

UVP_EXPORT int
signalfd(int fd, const sigset_t *mask, int flags)
{
	int r = R(signalfd)(fd, mask, flags);

	return fd == -1 ? uvp_opened(r) : r;
}

UVP_EXPORT int
inotify_init(void)
{
	return uvp_opened(R(inotify_init)());
}

UVP_EXPORT int
inotify_init1(int flags)
{
	return uvp_opened(R(inotify_init1)(flags));
}

UVP_EXPORT int
memfd_create(const char *name, unsigned int flags)
{
	return uvp_opened(R(memfd_create)(name, flags));
}
