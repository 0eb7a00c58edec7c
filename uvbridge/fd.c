/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Descriptors and errors.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "uvbridge/internal.h"

#define HIGH_ROOM 512 /* how far below the limit the library's own descriptors start */

/* Programs assume that open() returns the lowest number they have not used themselves, and close
 * ranges of numbers they think are theirs. Ours live where neither looks. */
int
uvb_fd_high(int fd)
{
	struct rlimit lim;
	int high;

	if (fd < 0 || getrlimit(RLIMIT_NOFILE, &lim) != 0 || lim.rlim_cur > 1 << 20)
		lim.rlim_cur = 1 << 20;
	if (fd < 0 || lim.rlim_cur <= 2 * HIGH_ROOM)
		return fd;
	high = fcntl(fd, F_DUPFD_CLOEXEC, (int)lim.rlim_cur - HIGH_ROOM);
	if (high < 0)
		return fd;
	close(fd);
	return high;
}

int
uvb_fail(char err[UVB_ERR_LEN], int code, const char *fmt, ...)
{
	va_list ap;

	if (err == NULL)
		return code;
	va_start(ap, fmt);
	vsnprintf(err, UVB_ERR_LEN, fmt, ap);
	va_end(ap);
	return code;
}

uint64_t
uvb_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ULL + (uint64_t)ts.tv_nsec;
}
