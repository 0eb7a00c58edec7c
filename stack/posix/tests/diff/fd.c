/* SPDX-License-Identifier: BSD-3-Clause
 * Numbers: dup, close_range, closefrom, close-on-exec. */
#include "diff.h"

#include <linux/close_range.h>
#include <sys/syscall.h>

static char buf[100];

CASE(fd_dup)
{
	int c, s, d;

	diff_pair(&c, &s);
	d = CALL(dup(s));
	CALL(fcntl(d, F_GETFD));
	CALL(fcntl(s, F_DUPFD, 20));
	CALL(fcntl(s, F_DUPFD_CLOEXEC, 20));
	CALL(fcntl(21, F_GETFD));
	CALL(fcntl(s, F_DUPFD, -1));
	CALL(fcntl(s, F_DUPFD, 100000000));
	CALL(dup2(s, s));
	CALL(dup3(s, s, 0));
	CALL(dup3(s, 30, 12345));
	CALL(dup3(s, 30, O_CLOEXEC));
	CALL(fcntl(30, F_GETFD));
	CALL(dup2(s, 31));
	CALL(dup2(s, -1));
	CALL(dup2(777, 31));
	CALL(write(c, "abcdef", 6));
	diff_readable(s, 6);
	CALL(read(31, buf, 1));
	CALL(read(30, buf, 1));
	CALL(read(20, buf, 1));
	CALL(read(d, buf, 1));
	close(s);
	close(d);
	close(20);
	close(21);
	close(30);
	CALL(write(31, "still", 5));
	CALL(read(c, buf, 10));
	close(31);
	CALL(read(c, buf, 10));
}

CASE(fd_dup_over)
{
	int c, s, c2, s2, n = open("/dev/null", O_RDONLY), pp[2];

	signal(SIGPIPE, SIG_IGN);
	diff_pair(&c, &s);
	diff_pair(&c2, &s2);
	CALL(dup2(n, s));
	CALL(read(c, buf, 1));
	CALL(read(s, buf, 1));
	CALL(dup2(s2, n));
	CALL(write(c2, "via n", 5));
	CALL(read(n, buf, 10));
	CALL(dup2(c2, s2));
	CALL(write(s2, "x", 1));
	CALL(read(n, buf, 10));
	if (pipe(pp) < 0)
		diff_die("pipe");
	CALL(dup2(n, pp[0]));
	CALL(write(c2, "pipe", 4));
	CALL(read(pp[0], buf, 10));
	CALL(write(pp[1], "x", 1));
}

CASE(fd_close_range)
{
	int c, s, i;

	signal(SIGPIPE, SIG_IGN);
	diff_pair(&c, &s);
	CALL(dup2(s, 40));
	CALL(dup2(c, 41));
	CALL(dup2(0, 42));
	CALL(close_range(40, 42, CLOSE_RANGE_CLOEXEC));
	for (i = 40; i <= 42; i++)
		CALL(fcntl(i, F_GETFD));
	CALL(close_range(40, 41, 0));
	for (i = 40; i <= 42; i++)
		CALL(fcntl(i, F_GETFD));
	CALL(close_range(42, 41, 0));
	CALL(close_range(42, 43, 64));
	CALL(write(c, "x", 1));
	CALL(read(s, buf, 1));
	closefrom(3);
	CALL(fcntl(c, F_GETFD));
	CALL(fcntl(42, F_GETFD));
	diff_pair(&c, &s);
	printf("%d %d\n", c, s);
	CALL(write(c, "x", 1));
	CALL(read(s, buf, 1));
	CALL(close_range(3, ~0u, 0));
	diff_pair(&c, &s);
	CALL(write(c, "x", 1));
	CALL(read(s, buf, 1));
}

CASE(fd_syscall)
{
	int c, s, e = eventfd(0, 0);

	diff_pair(&c, &s);
	CALL(syscall(SYS_write, c, "abc", 3));
	diff_readable(s, 3);
	CALL(syscall(SYS_read, s, buf, 100));
	CALL(syscall(SYS_sendto, c, "de", 2, 0, NULL, 0));
	diff_readable(s, 2);
	CALL(syscall(SYS_recvfrom, s, buf, 100, 0, NULL, NULL));
	CALL(syscall(SYS_dup, s));
	CALL(syscall(SYS_close, s));
	CALL(syscall(SYS_close, s));
	CALL(read(s, buf, 1));
	CALL(syscall(SYS_dup2, e, c));
	CALL(syscall(SYS_getpid) == getpid());
	CALL(syscall(SYS_socket, AF_INET, SOCK_STREAM, 0));
	CALL(syscall(99999));
}

CASE(fd_closed_while_sleeping_elsewhere)
{
	int c, s, d;

	diff_pair(&c, &s);
	d = dup(s);
	CALL(close(s));
	CALL(write(c, "x", 1));
	CALL(read(d, buf, 1));
}
