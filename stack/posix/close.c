/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What is done to numbers: close, dup, fcntl, ioctl, fstat.
 */
#include "stack/posix/inherit.h"

#include <linux/sockios.h>
#include <linux/vfio.h>
#include <net/if.h>

UVP_EXPORT int
close(int fd)
{
	uvp_timer_forget(fd);
	return (int)uvp_ret(uvp_close(fd));
}

UVP_EXPORT int
dup(int fd)
{
	return (int)uvp_ret(uvp_dup_from(fd, F_DUPFD, 0));
}

UVP_EXPORT int
dup2(int from, int to)
{
	return (int)uvp_ret(uvp_dup_to(from, to, 0, true));
}

UVP_EXPORT int
dup3(int from, int to, int flags)
{
	return (int)uvp_ret(uvp_dup_to(from, to, flags, false));
}

UVP_EXPORT int
close_range(unsigned int first, unsigned int last, int flags)
{
	if (uvp_table_size == 0 || uvp_inside() || first > last ||
	    (flags & ~(int)(CLOSE_RANGE_CLOEXEC | CLOSE_RANGE_UNSHARE)))
		return R(close_range)(first, last, flags);
	if (flags & CLOSE_RANGE_UNSHARE)
		return (int)uvp_ret(-EINVAL); /* a table of its own: not with a stack beside it */
	uvp_close_range(first, last, flags & CLOSE_RANGE_CLOEXEC);
	return 0;
}

UVP_EXPORT void
closefrom(int low)
{
	if (uvp_table_size == 0 || uvp_inside())
		R(closefrom)(low);
	else
		uvp_close_range(low < 0 ? 0 : (unsigned int)low, UINT_MAX, false);
}

/* --------------------------------------------------------------------------------------- fcntl */

static int
set_flags(struct uvp_file *f, int fd, int flags)
{
	if (uvp_state(f) == UVP_KERNEL || f->kind != UVP_SOCKET)
		return (int)uvp_neg(R(fcntl)(fd, F_SETFL, flags));
	if (flags & O_ASYNC)
		uvp_log_once("O_ASYNC: sockets of the stack send no SIGIO");
	atomic_store(&f->flags, flags & (O_NONBLOCK | O_ASYNC));
	return 0;
}

static int
file_fcntl(struct uvp_file *f, int fd, int cmd, long arg)
{
	if (f->kind != UVP_SOCKET)
		return (int)uvp_neg(R(fcntl)(fd, cmd, arg));
	switch (cmd) {
	case F_GETFL:
		if (uvp_state(f) == UVP_KERNEL)
			return (int)uvp_neg(R(fcntl)(fd, cmd));
		return O_RDWR | atomic_load(&f->flags);
	case F_SETFL:
		return set_flags(f, fd, (int)arg);
	default: /* of the number (FD_CLOEXEC), or answered by any socket alike */
		return (int)uvp_neg(R(fcntl)(fd, cmd, arg));
	}
}

static int
any_fcntl(int fd, int cmd, long arg)
{
	if (cmd == F_DUPFD || cmd == F_DUPFD_CLOEXEC)
		return (int)uvp_ret(uvp_dup_from(fd, cmd, (int)arg));
	UVP_ON(fd, R(fcntl)(fd, cmd, arg), file_fcntl(f, fd, cmd, arg));
}

UVP_EXPORT int
fcntl(int fd, int cmd, ...)
{
	va_list ap;
	long arg;

	va_start(ap, cmd);
	arg = va_arg(ap, long);
	va_end(ap);
	return any_fcntl(fd, cmd, arg);
}

UVP_EXPORT int
fcntl64(int fd, int cmd, ...)
{
	va_list ap;
	long arg;

	va_start(ap, cmd);
	arg = va_arg(ap, long);
	va_end(ap);
	return any_fcntl(fd, cmd, arg);
}

/* --------------------------------------------------------------------------------------- ioctl */

static int
set_nonblock(struct uvp_file *f, const int *on)
{
	if (!on)
		return -EFAULT;
	if (*on)
		atomic_fetch_or(&f->flags, O_NONBLOCK);
	else
		atomic_fetch_and(&f->flags, ~O_NONBLOCK);
	return 0;
}

static int
file_ioctl(struct uvp_file *f, int fd, unsigned long req, void *arg)
{
	int r;

	if (f->kind != UVP_SOCKET || uvp_state(f) == UVP_KERNEL)
		return (int)uvp_neg(R(ioctl)(fd, req, arg));
	if (req == FIONBIO)
		return set_nonblock(f, arg);
	if (req == FIOCLEX || req == FIONCLEX)
		return (int)uvp_neg(R(ioctl)(fd, req));
	if (uvp_dead(f))
		return uvp_inherit(f);
	if (uvp_state(f) == UVP_UNDECIDED)
		return (int)uvp_neg(R(ioctl)(fd, req, arg)); /* a fresh socket answers */
	r = UVP_IN(uvs_sock_ioctl(f->sock, req, arg));
	if (r == -ENOTTY) /* interfaces, routes, ARP: the kernel's */
		r = (int)uvp_neg(R(ioctl)(fd, req, arg));
	return r;
}

UVP_EXPORT int
ioctl(int fd, unsigned long req, ...)
{
	va_list ap;
	void *arg;

	va_start(ap, req);
	arg = va_arg(ap, void *);
	va_end(ap);
	if (uvp_unlikely(req == VFIO_GROUP_GET_DEVICE_FD))
		return uvp_opened(
			R(ioctl)(fd, req, arg)); /* the only request that opens one here */
	UVP_ON(fd, R(ioctl)(fd, req, arg), file_ioctl(f, fd, req, arg));
}

/* --------------------------------------------------------------------------------------- fstat */

/* All placeholders are one kernel socket; two sockets must not look like one. */
UVP_EXPORT int
fstat(int fd, struct stat *st)
{
	int r = R(fstat)(fd, st);
	struct uvp_file *f = r == 0 ? uvp_get(fd) : NULL;

	if (f) {
		if (f->kind == UVP_SOCKET && uvp_state(f) != UVP_KERNEL)
			st->st_ino = f->ino;
		uvp_put(f);
	}
	return r;
}

UVP_EXPORT int
fstat64(int fd, struct stat64 *st)
{
	int r = R(fstat64)(fd, st);
	struct uvp_file *f = r == 0 ? uvp_get(fd) : NULL;

	if (f) {
		if (f->kind == UVP_SOCKET && uvp_state(f) != UVP_KERNEL)
			st->st_ino = f->ino;
		uvp_put(f);
	}
	return r;
}

/* What programs built against older C libraries call. */
#define STAT_VERSION 1

UVP_EXPORT int __fxstat(int ver, int fd, struct stat *st);
UVP_EXPORT int
__fxstat(int ver, int fd, struct stat *st)
{
	return ver == STAT_VERSION || ver == 0 ? fstat(fd, st) : (int)uvp_ret(-EINVAL);
}

UVP_EXPORT int __fxstat64(int ver, int fd, struct stat64 *st);
UVP_EXPORT int
__fxstat64(int ver, int fd, struct stat64 *st)
{
	return ver == STAT_VERSION || ver == 0 ? fstat64(fd, st) : (int)uvp_ret(-EINVAL);
}

/* Old name, declared nowhere any more: type 0 means any. */
UVP_EXPORT int isfdtype(int fd, int type);
UVP_EXPORT int
isfdtype(int fd, int type)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -1;
	return (st.st_mode & S_IFMT) == (mode_t)type;
}
