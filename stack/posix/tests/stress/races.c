/* SPDX-License-Identifier: BSD-3-Clause
 * Wake-ups, reuse of numbers, cancellation. */
#include "stress.h"
#include "../asleep.h"

#include <sys/syscall.h>

/* ------------------------------------------------------------------- 1: lost wake-ups */

enum how { RECV, POLL, EPOLL_LEVEL, EPOLL_EDGE, SELECT, NB_HOW };

struct player {
	int fd, ep;
	enum how how;
	uint32_t seed;
	long n;
};

static void
wait_for(struct player *p)
{
	struct pollfd pfd = {.fd = p->fd, .events = POLLIN};
	struct epoll_event ev;
	fd_set set;

	switch (p->how) {
	case POLL:
		CHECK(poll(&pfd, 1, -1) == 1);
		break;
	case EPOLL_LEVEL:
	case EPOLL_EDGE:
		CHECK(epoll_wait(p->ep, &ev, 1, -1) == 1);
		break;
	case SELECT:
		FD_ZERO(&set);
		FD_SET(p->fd, &set);
		CHECK(select(p->fd + 1, &set, NULL, NULL, NULL) == 1);
		break;
	default:
		break;
	}
}

static void
dawdle(struct player *p)
{
	uint32_t n = rnd(&p->seed) % 64;
	volatile uint32_t i;

	if (n == 0)
		sched_yield();
	for (i = 0; i < n * n; i++)
		;
}

static void *
play(void *arg)
{
	struct player *p = arg;
	long i;
	char c;

	for (i = 0; i < p->n; i++) {
		wait_for(p);
		CHECK(read(p->fd, &c, 1) == 1);
		CHECK(c == (char)i);
		dawdle(p);
		CHECK(write(p->fd, &c, 1) == 1);
	}
	return NULL;
}

static void
ping_pong(enum how how, long n)
{
	struct epoll_event ev = {.events = EPOLLIN | (how == EPOLL_EDGE ? EPOLLET : 0)};
	struct player p = {.how = how, .seed = (uint32_t)how + 1, .n = n, .ep = epoll_create1(0)};
	struct player me = {.seed = 99};
	pthread_t t;
	long i;
	char c;

	pair(&me.fd, &p.fd);
	CHECK(epoll_ctl(p.ep, EPOLL_CTL_ADD, p.fd, &ev) == 0);
	t = start(play, &p);
	for (i = 0; i < n; i++) {
		c = (char)i;
		CHECK(write(me.fd, &c, 1) == 1);
		CHECK(read(me.fd, &c, 1) == 1);
		CHECK(c == (char)i);
		dawdle(&me);
	}
	pthread_join(t, NULL);
	close(me.fd);
	close(p.fd);
	close(p.ep);
}

CASE(lost_wakeups)
{
	enum how how;

	for (how = RECV; how < NB_HOW; how++)
		ping_pong(how, (rounds ? rounds : 20000) / NB_HOW);
}

/* ------------------------------------------------------------------- 4: reuse of numbers */

static atomic_bool stop_reuse;

/* Reset, it leaves no port in TIME_WAIT: a fast stack would soon have used them all, and bind()
 * would find none, as in the kernel. */
static void
close_at_once(int fd)
{
	struct linger now = {.l_onoff = 1};

	CHECK(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)) == 0);
	CHECK(close(fd) == 0);
}

/* Every connection carries its maker's tag: a byte that arrives anywhere else is found. */
static void *
reuse(void *arg)
{
	uint32_t tag = (uint32_t)(uintptr_t)arg, seed = tag + 1, word, i, n = 0;
	int c, s, d, e, base = 200 + 20 * (int)tag;

	while (!atomic_load(&stop_reuse)) {
		pair(&c, &s);
		d = rnd(&seed) % 2 ? dup(s) : dup2(s, base + (int)(rnd(&seed) % 8));
		CHECK(d >= 0);
		e = rnd(&seed) % 2 ? eventfd(0, 0) : open("/dev/null", O_RDWR);
		CHECK(e >= 0);
		word = tag << 24 | (n++ & 0xffffff);
		for (i = 0; i < 4; i++)
			write_all(c, &word, sizeof(word));
		for (i = 0; i < 4; i++) {
			uint32_t got = 0;

			CHECK(read_all(i % 2 ? s : d, &got, sizeof(got)) == sizeof(got));
			if (got != word)
				fail("thread %u read %#x for %#x", tag, got, word);
		}
		if (rnd(&seed) % 2)
			CHECK(dup2(e, d) == d);
		if (rnd(&seed) % 2)
			CHECK(syscall(SYS_close, s) == 0);
		else
			CHECK(close(s) == 0);
		CHECK(close(d) == 0);
		CHECK(close(e) == 0);
		CHECK(read(c, &word, 1) == 0);
		close_at_once(c);
	}
	return (void *)(uintptr_t)n;
}

CASE(fd_reuse)
{
	pthread_t t[8];
	void *n;
	size_t i;

	for (i = 0; i < 8; i++)
		t[i] = start(reuse, (void *)i);
	usleep(rounds ? (useconds_t)rounds * 1000 : 1500000);
	atomic_store(&stop_reuse, true);
	for (i = 0; i < 8; i++) {
		pthread_join(t[i], &n);
		CHECK((uintptr_t)n > 0);
	}
	CHECK(open("/dev/null", O_RDONLY) == 3); /* nothing leaked */
}

/* ------------------------------------------------------------------- 9: cancellation */

static int victim;
static _Atomic pid_t victim_tid; /* who uses it; 0: not yet */
static atomic_int cleaned;

static void
clean(void *arg)
{
	(void)arg;
	atomic_fetch_add(&cleaned, 1);
}

static void
do_read(void)
{
	char c;

	read(victim, &c, 1);
}

static void
do_poll(void)
{
	struct pollfd p = {.fd = victim, .events = POLLIN};

	poll(&p, 1, -1);
}

static void
do_select(void)
{
	fd_set set;

	FD_ZERO(&set);
	FD_SET(victim, &set);
	select(victim + 1, &set, NULL, NULL, NULL);
}

static void
do_epoll(void)
{
	struct epoll_event ev = {.events = EPOLLIN};
	static int ep;

	ep = epoll_create1(0);
	epoll_ctl(ep, EPOLL_CTL_ADD, victim, &ev);
	epoll_wait(ep, &ev, 1, -1);
}

static void
do_timed(void)
{
	struct timeval tv = {30, 0};
	char c;

	setsockopt(victim, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	recv(victim, &c, 1, MSG_PEEK);
}

static void *
cancelled(void *arg)
{
	pthread_cleanup_push(clean, NULL);
	atomic_store(&victim_tid, gettid());
	(*(void (**)(void))arg)();
	pthread_cleanup_pop(0);
	return NULL;
}

CASE(cancellation)
{
	static void (*const calls[])(void) = {do_read, do_poll, do_select, do_epoll, do_timed};
	int c, s, i, n = sizeof(calls) / sizeof(calls[0]);
	pthread_t t;
	void *how;
	char x;

	for (i = 0; i < 2 * n; i++) {
		pair(&c, &s);
		victim = s;
		atomic_store(&victim_tid, 0);
		t = start(cancelled, (void *)&calls[i / 2]);
		if (i % 2) {
			while (atomic_load(&victim_tid) == 0)
				sched_yield();
			wait_asleep(victim_tid);
		}
		CHECK(pthread_cancel(t) == 0);
		CHECK(pthread_join(t, &how) == 0);
		CHECK(how == PTHREAD_CANCELED);
		CHECK(cleaned == i + 1 || i % 2 == 0); /* may have ended before the push */
		cleaned = i + 1;
		/* Nothing is held: the connection works, and ends when it is closed. */
		write_all(c, "x", 1);
		CHECK(read(s, &x, 1) == 1);
		close(s);
		CHECK(read(c, &x, 1) == 0);
		close(c);
	}
}

/* ------------------------------------------------------------------- exclusive */

struct worker {
	int ep;
	pthread_t t;
	long wakes, taken;
};

static atomic_bool stop_workers;
static int shared_listener;

static void *
work(void *arg)
{
	struct worker *w = arg;
	struct epoll_event ev;
	int fd;

	while (!atomic_load(&stop_workers)) {
		if (epoll_wait(w->ep, &ev, 1, 200) != 1)
			continue;
		w->wakes++;
		fd = accept4(shared_listener, NULL, NULL, SOCK_NONBLOCK);
		if (fd < 0)
			continue;
		w->taken++;
		close(fd);
	}
	return NULL;
}

/* Four workers on one listener: a connection wakes one or two of them, not all. */
CASE(exclusive)
{
	struct epoll_event ev = {.events = EPOLLIN | EPOLLEXCLUSIVE};
	struct worker w[4] = {0};
	long wakes = 0, taken = 0;
	int port, i, c;
	char x;

	shared_listener = listener(&port);
	fcntl(shared_listener, F_SETFL, O_NONBLOCK);
	for (i = 0; i < 4; i++) {
		w[i].ep = epoll_create1(0);
		CHECK(epoll_ctl(w[i].ep, EPOLL_CTL_ADD, shared_listener, &ev) == 0);
		w[i].t = start(work, &w[i]);
	}
	for (i = 0; i < 200; i++) {
		usleep(1000);
		c = dial(port);
		CHECK(read(c, &x, 1) == 0);
		close(c);
	}
	atomic_store(&stop_workers, true);
	for (i = 0; i < 4; i++) {
		pthread_join(w[i].t, NULL);
		wakes += w[i].wakes;
		taken += w[i].taken;
		close(w[i].ep);
	}
	CHECK(taken == 200);
	if (wakes > 500)
		fail("%ld wake-ups for 200 connections", wakes);
}

/* ------------------------------------------------------------------- 9: signals */

static int other;
static atomic_long ticks;

static void
tick(int sig)
{
	(void)sig;
	if (write(other, "t", 1) == 1)
		ticks++;
}

static void *
drain(void *arg)
{
	char buf[256];

	while (read(*(int *)arg, buf, sizeof(buf)) > 0)
		;
	return NULL;
}

/* A timer that interrupts everything, with a handler that uses the stack itself. */
CASE(signal_storm)
{
	struct sigaction sa = {.sa_handler = tick};
	struct itimerspec its = {{0, 700000}, {0, 700000}};
	struct sigevent sev = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR2};
	long n = rounds ? rounds : 20000, i;
	int c, s, o;
	pthread_t echo_thread, drain_thread;
	struct player p;
	timer_t timer;
	sigset_t block;
	char x;

	pair(&c, &s);
	pair(&other, &o);
	fcntl(other, F_SETFL, O_NONBLOCK);
	sigemptyset(&block);
	sigaddset(&block, SIGUSR2);
	pthread_sigmask(SIG_BLOCK, &block, NULL); /* the helpers inherit it */
	p = (struct player){.fd = s, .how = RECV, .n = n, .seed = 5};
	echo_thread = start(play, &p);
	drain_thread = start(drain, &o);
	pthread_sigmask(SIG_UNBLOCK, &block, NULL);
	sigaction(SIGUSR2, &sa, NULL);
	CHECK(timer_create(CLOCK_MONOTONIC, &sev, &timer) == 0);
	CHECK(timer_settime(timer, 0, &its, NULL) == 0);
	for (i = 0; i < n; i++) {
		x = (char)i;
		write_all(c, &x, 1);
		CHECK(read_all(c, &x, 1) == 1 && x == (char)i);
	}
	timer_delete(timer);
	pthread_join(echo_thread, NULL);
	shutdown(other, SHUT_WR);
	pthread_join(drain_thread, NULL);
	CHECK(ticks > 0);
}
