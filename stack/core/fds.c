/* SPDX-License-Identifier: BSD-3-Clause */
#include "stack/core/fds.h"
#include "stack/core/sys.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/resource.h>

#define BITS     (CHAR_BIT * sizeof(unsigned long))
#define WORDS    1024
#define MAX_FD   (WORDS * (int)BITS)
#define RESERVED 512 /* numbers at the end of the range */

static unsigned long internal[WORDS];
static unsigned long taken[WORDS];

static bool
get(const unsigned long *map, int fd)
{
	if (fd < 0 || fd >= MAX_FD)
		return false;
	return __atomic_load_n(&map[(unsigned int)fd / BITS], __ATOMIC_RELAXED) >>
		       ((unsigned int)fd % BITS) &
	       1;
}

static void
set(unsigned long *map, int fd, bool yes)
{
	unsigned long bit;

	if (fd < 0 || fd >= MAX_FD)
		return;
	bit = 1ul << ((unsigned int)fd % BITS);
	if (yes)
		__atomic_fetch_or(&map[(unsigned int)fd / BITS], bit, __ATOMIC_RELAXED);
	else
		__atomic_fetch_and(&map[(unsigned int)fd / BITS], ~bit, __ATOMIC_RELAXED);
}

bool
uvs_fd_internal(int fd)
{
	return get(internal, fd);
}

static int
raw_fcntl(int fd, int cmd, long arg)
{
	return (int)uvs_syscall5(SYS_fcntl, fd, cmd, arg, 0, 0);
}

/* From here to the end of the range. uvrun raises the limit by as much, where it may, so that the
 * application loses nothing. The limit is looked at once: a smaller one later would not move us. */
static int
first_number(void)
{
	static int floor; /* atomic; the same whoever computes it */
	struct rlimit rl;
	int n = __atomic_load_n(&floor, __ATOMIC_RELAXED);

	if (n != 0)
		return n;
	n = getrlimit(RLIMIT_NOFILE, &rl) == 0 && rl.rlim_cur < MAX_FD ? (int)rl.rlim_cur : MAX_FD;
	n -= n > 2 * RESERVED ? RESERVED : n / 2;
	__atomic_store_n(&floor, n, __ATOMIC_RELAXED);
	return n;
}

static int
move_away(int fd, bool with_the_port)
{
	int floor = first_number(), high;

	if (fd < 0)
		return fd;
	high = fd >= floor ? fd : raw_fcntl(fd, F_DUPFD_CLOEXEC, floor);
	if (high >= 0 && high != fd)
		uvs_sys_close(fd);
	if (high < 0)
		high = fd; /* no room: guarded where it is */
	if (high == fd)
		raw_fcntl(fd, F_SETFD, FD_CLOEXEC);
	set(taken, high, with_the_port);
	set(internal, high, true);
	return high;
}

int
uvs_fd_adopt(int fd)
{
	return move_away(fd, false);
}

int
uvs_fd_take(int fd)
{
	return move_away(fd, true);
}

void
uvs_fd_closed(int fd)
{
	set(internal, fd, false);
	set(taken, fd, false);
}

void
uvs_fd_close(int fd)
{
	if (fd < 0)
		return;
	uvs_fd_closed(fd);
	uvs_sys_close(fd);
}

static int
highest_of(const unsigned long *map)
{
	for (int i = WORDS - 1; i >= 0; i--) {
		unsigned long w = __atomic_load_n(&map[i], __ATOMIC_RELAXED);

		if (w != 0)
			return i * (int)BITS + (int)BITS - 1 - __builtin_clzl(w);
	}
	return -1;
}

int
uvs_fd_highest(void)
{
	return highest_of(internal);
}

void
uvs_fd_forget(void)
{
	for (int fd; (fd = highest_of(taken)) >= 0;)
		uvs_fd_close(fd);
}
