/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Bells: a named FIFO per receive queue. Any sender can ring one without having been handed a
 * descriptor, and a name outlives both ends, so a descriptor once opened stays good however often
 * the port behind it changes hands.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "uvbridge/internal.h"

int
uvb_bell_open(int dirfd, uint32_t port, uint32_t rxq, bool receiver)
{
	char name[32];
	int fd;

	snprintf(name, sizeof(name), "bell.%u.%u", port, rxq);
	if (receiver && mkfifoat(dirfd, name, 0600) != 0 && errno != EEXIST)
		return -errno;
	/* Both ends open it for both directions: a writer then never meets SIGPIPE or ENXIO because
	 * the receiver has just died, and a reader never meets EOF. */
	fd = openat(dirfd, name, O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW);
	return fd < 0 ? -errno : uvb_fd_high(fd);
}

int
uvb_bell_wake(int bell)
{
	struct epoll_event ev = {.events = EPOLLIN};
	int rc, fd = uvb_fd_high(epoll_create1(EPOLL_CLOEXEC));

	if (fd < 0)
		return -errno;
	if (epoll_ctl(fd, EPOLL_CTL_ADD, bell, &ev) == 0)
		return fd;
	rc = -errno;
	close(fd);
	return rc;
}

void
uvb_bell_ring(int fd)
{
	/* EAGAIN: full of rings nobody took yet, so it is readable, which is all that is wanted. */
	if (fd >= 0 && write(fd, "", 1) < 0)
		return;
}

bool
uvb_bell_drain(int fd)
{
	char sink[4096];
	ssize_t n;
	bool any = false;

	do {
		n = read(fd, sink, sizeof(sink));
		any |= n > 0;
	} while (n == (ssize_t)sizeof(sink));
	return any;
}
