/* SPDX-License-Identifier: BSD-3-Clause
 * Signals: EINTR, restart, masks. */
#include "diff.h"

#include <setjmp.h>

static char buf[100];
static volatile sig_atomic_t hits;
static pthread_t sleeper;
static int wake_fd = -1;

static void
hit(int sig)
{
	(void)sig;
	hits++;
}

/* Signals the sleeper, which is the main thread, and lets it go with a byte when it sleeps again.
 */
static void *
disturb(void *arg)
{
	(void)arg;
	wait_asleep(getpid());
	pthread_kill(sleeper, SIGUSR1);
	if (wake_fd >= 0) {
		while (hits == 0)
			sched_yield();
		wait_asleep(getpid());
		if (write(wake_fd, "w", 1) != 1)
			diff_die("write");
	}
	return NULL;
}

static void
handler(int flags)
{
	struct sigaction sa = {.sa_handler = hit, .sa_flags = flags};

	sigaction(SIGUSR1, &sa, NULL);
	hits = 0;
}

#define DISTURBED(wake, expr)                            \
	do {                                             \
		pthread_t t;                             \
		sleeper = pthread_self();                \
		wake_fd = wake;                          \
		pthread_create(&t, NULL, disturb, NULL); \
		CALL(expr);                              \
		pthread_join(t, NULL);                   \
		printf("%d hits\n", hits);               \
	} while (0)

CASE(signal_recv)
{
	struct timeval tv = {5, 0};
	int c, s;

	diff_pair(&c, &s);
	handler(0);
	DISTURBED(-1, recv(s, buf, 10, 0));
	handler(SA_RESTART);
	DISTURBED(c, recv(s, buf, 10, 0));
	handler(SA_RESTART | SA_SIGINFO);
	setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	DISTURBED(-1, recv(s, buf, 10, 0));
	handler(0);
	if (write(c, "abc", 3) != 3)
		diff_die("write");
	diff_readable(s, 3);
	DISTURBED(-1, recv(s, buf, 10, MSG_WAITALL));
}

CASE(signal_accept_and_connect)
{
	int port, l = diff_listen(&port);

	handler(0);
	DISTURBED(-1, accept(l, NULL, NULL));
}

CASE(signal_send)
{
	static char big[8 << 20];
	int c, s;
	ssize_t r;

	diff_pair(&c, &s);
	handler(0);
	sleeper = pthread_self();
	wake_fd = -1;
	pthread_t t;
	pthread_create(&t, NULL, disturb, NULL);
	r = send(c, big, sizeof(big), 0);
	pthread_join(t, NULL);
	printf("part of it %d, hits %d\n", r > 0 && r < (ssize_t)sizeof(big), hits);
}

CASE(signal_poll)
{
	struct pollfd p = {.events = POLLIN};
	struct epoll_event ev;
	int c, s, ep = epoll_create1(0);
	fd_set set;

	diff_pair(&c, &s);
	p.fd = s;
	diff_ctl(ep, EPOLL_CTL_ADD, s, EPOLLIN, 1);
	handler(SA_RESTART);
	DISTURBED(-1, poll(&p, 1, 5000));
	DISTURBED(-1, poll(&p, 1, -1));
	DISTURBED(-1, epoll_wait(ep, &ev, 1, 5000));
	DISTURBED(-1, epoll_wait(ep, &ev, 1, -1));
	FD_ZERO(&set);
	FD_SET(s, &set);
	DISTURBED(-1, select(s + 1, &set, NULL, NULL, NULL));
}

CASE(signal_masks)
{
	struct pollfd p = {.events = POLLIN};
	struct timespec zero = {0, 0};
	struct epoll_event ev;
	int c, s, ep = epoll_create1(0);
	sigset_t block, none, now;
	fd_set set;

	diff_pair(&c, &s);
	p.fd = s;
	diff_ctl(ep, EPOLL_CTL_ADD, s, EPOLLIN, 1);
	handler(0);
	sigemptyset(&none);
	sigemptyset(&block);
	sigaddset(&block, SIGUSR1);
	sigprocmask(SIG_BLOCK, &block, NULL);
	raise(SIGUSR1);
	CALL(poll(&p, 1, 10));
	printf("%d hits\n", hits);
	CALL(ppoll(&p, 1, &zero, &none));
	printf("%d hits\n", hits);
	raise(SIGUSR1);
	CALL(epoll_pwait(ep, &ev, 1, 0, &none));
	printf("%d hits\n", hits);
	raise(SIGUSR1);
	CALL(epoll_pwait(ep, &ev, 1, 1000, &none));
	printf("%d hits\n", hits);
	raise(SIGUSR1);
	FD_ZERO(&set);
	FD_SET(s, &set);
	CALL(pselect(s + 1, &set, NULL, NULL, &zero, &none));
	printf("%d hits\n", hits);
	if (write(c, "x", 1) != 1)
		diff_die("write");
	diff_readable(s, 1);
	raise(SIGUSR1);
	CALL(ppoll(&p, 1, NULL, &none));
	printf("%d hits\n", hits);
	CALL(epoll_pwait(ep, &ev, 1, -1, &none));
	printf("%d hits\n", hits);
	sigprocmask(SIG_BLOCK, NULL, &now);
	printf("blocked %d\n", sigismember(&now, SIGUSR1));
	read(s, buf, 1);
	CALL(ppoll(&p, 1, NULL, &none));
	printf("%d hits\n", hits);
	sigprocmask(SIG_BLOCK, NULL, &now);
	printf("blocked %d\n", sigismember(&now, SIGUSR1));
}

CASE(signal_actions)
{
	struct sigaction sa = {.sa_handler = hit, .sa_flags = SA_NODEFER}, old;

	CALL(sigaction(SIGUSR2, NULL, &old));
	printf("default %d\n", old.sa_handler == SIG_DFL);
	sigaddset(&sa.sa_mask, SIGHUP);
	CALL(sigaction(SIGUSR2, &sa, &old));
	CALL(sigaction(SIGUSR2, NULL, &old));
	printf("mine %d, flags %#x, mask %d\n", old.sa_handler == hit, old.sa_flags & ~0x04000000,
	       sigismember(&old.sa_mask, SIGHUP));
	printf("mine %d\n", signal(SIGUSR2, SIG_IGN) == hit);
	printf("ignored %d\n", signal(SIGUSR2, hit) == SIG_IGN);
	CALL(sigaction(SIGUSR2, NULL, &old));
	printf("restart %d\n", !!(old.sa_flags & SA_RESTART));
	CALL(siginterrupt(SIGUSR2, 1));
	CALL(sigaction(SIGUSR2, NULL, &old));
	printf("restart %d, mine %d\n", !!(old.sa_flags & SA_RESTART), old.sa_handler == hit);
	sa.sa_flags = SA_RESETHAND;
	CALL(sigaction(SIGUSR2, &sa, NULL));
	hits = 0;
	raise(SIGUSR2);
	printf("%d hits\n", hits);
	CALL(sigaction(SIGUSR2, NULL, &old));
	printf("default %d\n", old.sa_handler == SIG_DFL);
	CALL(sigaction(SIGKILL, &sa, NULL));
	CALL(sigaction(0, &sa, NULL));
	CALL(sigaction(500, &sa, NULL));
}

static int in_handler = -1;

static void
talk(int sig)
{
	(void)sig;
	if (write(in_handler, "from a handler", 14) != 14)
		diff_die("write");
}

/* A handler that writes to the very connection that is being waited on. */
CASE(signal_handler_writes)
{
	struct sigaction sa = {.sa_handler = talk, .sa_flags = SA_RESTART};
	int c, s;

	diff_pair(&c, &s);
	in_handler = c;
	sigaction(SIGUSR1, &sa, NULL);
	DISTURBED(-1, recv(s, buf, 100, 0));
	printf("%.14s\n", buf);
}

static sigjmp_buf away;

static void
jump(int sig)
{
	(void)sig;
	siglongjmp(away, 1);
}

/* A handler that does not come back, as resolvers with alarm() had. */
CASE(signal_longjmp)
{
	struct sigaction sa = {.sa_handler = jump};
	pthread_t t;
	int c, s;

	diff_pair(&c, &s);
	sigaction(SIGUSR1, &sa, NULL);
	sleeper = pthread_self();
	wake_fd = -1;
	pthread_create(&t, NULL, disturb, NULL);
	if (sigsetjmp(away, 1) == 0)
		printf("recv = %zd\n", recv(s, buf, 100, 0));
	else
		printf("jumped\n");
	pthread_join(t, NULL);
	CALL(write(c, "on", 2));
	CALL(recv(s, buf, 100, 0));
}
