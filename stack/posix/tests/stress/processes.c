/* SPDX-License-Identifier: BSD-3-Clause
 * Children, exec, and what they close. Run with the argument of CHILD in the environment, this very
 * program is the child that was executed. */
#include "stress.h"

#include <sched.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

extern char **environ;

static int
status_of(pid_t pid)
{
	int status = 0;

	while (waitpid(pid, &status, 0) < 0)
		CHECK(errno == EINTR);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void
try_spawn(void)
{
	char *argv[] = {"sh", "-c", "exit 7", NULL};
	posix_spawn_file_actions_t fa;
	pid_t pid;

	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_addclose(&fa, 3);
	posix_spawn_file_actions_adddup2(&fa, 2, 4);
	CHECK(posix_spawn(&pid, "/bin/sh", &fa, NULL, argv, environ) == 0);
	CHECK(status_of(pid) == 7);
	posix_spawn_file_actions_destroy(&fa);
}

static void
try_vfork(void)
{
	volatile int i;
	pid_t pid = vfork();

	CHECK(pid >= 0);
	if (pid == 0) {
		for (i = 3; i < 40; i++)
			syscall(SYS_close, i);
		dup2(2, 5);
		close_range(3, ~0u, 0);
		execl("/bin/sh", "sh", "-c", "exit 9", NULL);
		_exit(1);
	}
	CHECK(status_of(pid) == 9);
}

static void
try_fork_exec(void)
{
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid == 0) {
		closefrom(3);
		execlp("sh", "sh", "-c", "exit 11", NULL);
		_exit(1);
	}
	CHECK(status_of(pid) == 11);
}

static void
try_popen(void)
{
	char line[16] = "";
	FILE *f = popen("echo out", "r");

	CHECK(f && fgets(line, sizeof(line), f));
	CHECK(strcmp(line, "out\n") == 0);
	CHECK(pclose(f) == 0);
	CHECK(system("exit 3") == 3 << 8);
}

/* 6: children of every kind while data flows */
CASE(spawn_while_streaming)
{
	struct stream s;
	int i;

	stream_start(&s);
	for (i = 0; i < (rounds ? rounds : 8); i++) {
		try_spawn();
		try_vfork();
		try_fork_exec();
		try_popen();
	}
	stream_end(&s);
}

/* 7: a child's closing and exiting is not the connection's end */
CASE(fork_while_streaming)
{
	struct stream s;
	int i, p[2];
	pid_t pid;
	char c;

	stream_start(&s);
	for (i = 0; i < (rounds ? rounds : 12); i++) {
		CHECK(pipe(p) == 0);
		pid = fork();
		CHECK(pid >= 0);
		if (pid == 0) {
			close(s.from);
			close(s.to);
			CHECK(write(p[1], "k", 1) == 1); /* a kernel descriptor works */
			if (i % 3 == 0)
				exit(0); /* with destructors */
			_exit(0);
		}
		close(p[1]);
		CHECK(read(p[0], &c, 1) == 1);
		CHECK(read(p[0], &c, 1) == 0);
		close(p[0]);
		CHECK(status_of(pid) == 0);
	}
	stream_end(&s);
}

/* A child looks, writes, closes; the parent goes on with the same. */
CASE(fork_child_view)
{
	int c, s, fresh = socket(AF_INET, SOCK_STREAM, 0);
	pid_t pid;
	char x;

	pair(&c, &s);
	write_all(c, "x", 1);
	pid = fork();
	if (pid == 0) {
		CHECK(send(c, "y", 1, 0) == 1);
		CHECK(fcntl(c, F_GETFD) == 0);
		CHECK(close(c) == 0);
		CHECK(close(s) == 0);
		CHECK(close(fresh) == 0);
		CHECK(socket(AF_UNIX, SOCK_STREAM, 0) == fresh);
		_exit(0);
	}
	CHECK(status_of(pid) == 0);
	CHECK(read(s, &x, 1) == 1 && x == 'x');
	CHECK(read(s, &x, 1) == 1 && x == 'y');
	write_all(s, "z", 1);
	CHECK(read(c, &x, 1) == 1 && x == 'z');
	close(c);
	CHECK(read(s, &x, 1) == 0);
}

/* The parent runs on only when the child of vfork() has called exec or exit. */
CASE(vfork_waits)
{
	_Atomic bool *exiting = mmap(NULL, sizeof(*exiting), PROT_READ | PROT_WRITE,
				     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pid = vfork();

	if (pid == 0) {
		for (int i = 0; i < 1000; i++) /* the parent could run, if it might */
			sched_yield();
		*exiting = true;
		_exit(5);
	}
	CHECK(*exiting);
	CHECK(status_of(pid) == 5);
}

/* 8: all descriptors closed or overwritten, then on we go */
CASE(close_everything)
{
	struct rlimit rl;
	int c, s, i, top;
	char x;

	pair(&c, &s);
	closefrom(3);
	CHECK(fcntl(c, F_GETFD) == -1 && errno == EBADF);
	pair(&c, &s);
	CHECK(c == 4 && s == 5);
	getrlimit(RLIMIT_NOFILE, &rl);
	top = rl.rlim_cur > 4096 ? 4096 : (int)rl.rlim_cur;
	for (i = 3; i < top; i++)
		if (i != c && i != s)
			CHECK(dup2(2, i) == i || errno == EBADF);
	write_all(c, "x", 1);
	CHECK(read(s, &x, 1) == 1);
	for (i = top - 1; i >= 3; i--)
		if (i != c && i != s)
			close(i);
	for (i = 3; i < (int)rl.rlim_cur; i++) /* as daemons used to do it */
		close(i);
	pair(&c, &s);
	write_all(c, "y", 1);
	CHECK(read(s, &x, 1) == 1 && x == 'y');
	CHECK(syscall(SYS_close_range, 3, ~0u, 0) == 0);
	pair(&c, &s);
	CHECK(c == 4);
	write_all(s, "z", 1);
	CHECK(read(c, &x, 1) == 1 && x == 'z');
}

/* daemon() before the first socket: the stack starts in the child. */
CASE(daemonize)
{
	int p[2], c, s;
	pid_t pid;
	char x;

	CHECK(pipe(p) == 0);
	pid = fork();
	if (pid == 0) {
		CHECK(daemon(1, 1) == 0);
		pair(&c, &s);
		write_all(c, "d", 1);
		CHECK(read(s, &x, 1) == 1);
		CHECK(write(p[1], &x, 1) == 1);
		_exit(0);
	}
	CHECK(status_of(pid) == 0);
	close(p[1]);
	CHECK(read(p[0], &x, 1) == 1 && x == 'd');
	CHECK(read(p[0], &x, 1) == 0);
}

/* The descriptors of the library are none of the application's business, nor of a child's. */
CASE(nothing_inherited)
{
	int c, s, status;
	char command[256];

	closefrom(20); /* of whoever runs the test */
	pair(&c, &s);
	fcntl(c, F_SETFD, FD_CLOEXEC);
	fcntl(s, F_SETFD, FD_CLOEXEC);
	snprintf(command, sizeof(command),
		 "for f in /proc/self/fd/*; do n=${f##*/}; [ -e $f ] && [ $n -gt 20 ] && echo $n "
		 "$(readlink $f); done | grep . && exit 1; exit 0");
	status = system(command);
	CHECK(status == 0);
}
