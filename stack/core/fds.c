/* SPDX-License-Identifier: BSD-3-Clause */
#include "stack/core/fds.h"
#include "stack/core/sys.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define BITS     (CHAR_BIT * sizeof(unsigned long))
#define MAX_FD   (1024 * (int)BITS)
#define FD_FLOOR 900 /* below select()'s limit on purpose: numbers above belong to big servers */

static unsigned long internal[1024];

bool
uvs_fd_internal(int fd)
{
	if (fd < 0 || fd >= MAX_FD)
		return false;
	return __atomic_load_n(&internal[fd / BITS], __ATOMIC_RELAXED) >> (fd % BITS) & 1;
}

void
uvs_fd_set_internal(int fd, bool yes)
{
	unsigned long bit;

	if (fd < 0 || fd >= MAX_FD)
		return;
	bit = 1ul << (fd % BITS);
	if (yes)
		__atomic_fetch_or(&internal[fd / BITS], bit, __ATOMIC_RELAXED);
	else
		__atomic_fetch_and(&internal[fd / BITS], ~bit, __ATOMIC_RELAXED);
}

static int
raw_fcntl(int fd, int cmd, long arg)
{
	return (int)uvs_syscall5(SYS_fcntl, fd, cmd, arg, 0, 0);
}

int
uvs_fd_adopt(int fd)
{
	int high;

	if (fd < 0)
		return fd;
	high = raw_fcntl(fd, F_DUPFD_CLOEXEC, FD_FLOOR);
	if (high >= 0) {
		uvs_sys_close(fd);
		fd = high;
	}
	uvs_fd_set_internal(fd, true);
	return fd;
}

void
uvs_fd_close(int fd)
{
	if (fd < 0)
		return;
	uvs_fd_set_internal(fd, false);
	uvs_sys_close(fd);
}

void
uvs_fd_snapshot(struct uvs_fd_snapshot *s)
{
	DIR *d = opendir("/proc/self/fd");
	struct dirent *e;

	memset(s, 0, sizeof(*s));
	if (d == NULL)
		return;
	while ((e = readdir(d)) != NULL) {
		char *end;
		long fd = strtol(e->d_name, &end, 10);

		if (*end == '\0' && end != e->d_name && fd < MAX_FD && fd != dirfd(d))
			s->open[(unsigned long)fd / BITS] |= 1ul << ((unsigned long)fd % BITS);
	}
	closedir(d);
}

void
uvs_fd_adopt_since(const struct uvs_fd_snapshot *before)
{
	struct uvs_fd_snapshot now;

	uvs_fd_snapshot(&now);
	for (int fd = 0; fd < MAX_FD; fd++) {
		unsigned long bit = 1ul << ((unsigned long)fd % BITS);

		if ((now.open[(unsigned long)fd / BITS] & ~before->open[(unsigned long)fd / BITS]) &
		    bit) {
			uvs_fd_set_internal(fd, true);
			raw_fcntl(fd, F_SETFD, FD_CLOEXEC);
		}
	}
}
