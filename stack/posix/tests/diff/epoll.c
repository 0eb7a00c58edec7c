/* SPDX-License-Identifier: BSD-3-Clause
 * epoll: level, edge, one-shot, exclusive, nested, several instances, dups. */
#include "diff.h"

#define ADD(ep, fd, ev, data) CALL(diff_ctl(ep, EPOLL_CTL_ADD, fd, ev, data))
#define MOD(ep, fd, ev, data) CALL(diff_ctl(ep, EPOLL_CTL_MOD, fd, ev, data))
#define DEL(ep, fd)           CALL(epoll_ctl(ep, EPOLL_CTL_DEL, fd, NULL))

static char buf[65536];

/* Send and wait until it has arrived. */
static void
put(int from, int to, int n, int total)
{
	if (send(from, buf, (size_t)n, 0) != n)
		diff_die("send");
	diff_readable(to, total);
}

CASE(epoll_level)
{
	int c, s, ep = epoll_create1(EPOLL_CLOEXEC);

	diff_pair(&c, &s);
	ADD(ep, s, EPOLLIN, 1);
	WAIT(ep, 8, 0);
	WAIT(ep, 8, 20);
	put(c, s, 10, 10);
	WAIT(ep, 8, 1000);
	WAIT(ep, 8, 1000);
	recv(s, buf, 4, 0);
	WAIT(ep, 8, 1000);
	recv(s, buf, 100, 0);
	WAIT(ep, 8, 0);
	MOD(ep, s, EPOLLIN | EPOLLOUT, 2);
	WAIT(ep, 8, 1000);
	WAIT(ep, 8, 1000);
	MOD(ep, s, 0, 3);
	WAIT(ep, 8, 0);
	close(c);
	diff_until(s, POLLIN);
	WAIT(ep, 8, 0);
	MOD(ep, s, EPOLLIN | EPOLLRDHUP, 4);
	WAIT(ep, 8, 1000);
	shutdown(s, SHUT_WR);
	diff_until(s, POLLHUP);
	MOD(ep, s, 0, 5);
	WAIT(ep, 8, 1000);
	DEL(ep, s);
	WAIT(ep, 8, 0);
}

CASE(epoll_edge)
{
	int c, s, ep = epoll_create1(0);

	diff_pair(&c, &s);
	ADD(ep, s, EPOLLIN | EPOLLET, 1);
	WAIT(ep, 8, 0);
	put(c, s, 10, 10);
	WAIT(ep, 8, 1000);
	WAIT(ep, 8, 30);
	recv(s, buf, 2, 0);
	WAIT(ep, 8, 30);
	put(c, s, 10, 18);
	WAIT(ep, 8, 1000);
	WAIT(ep, 8, 30);
	MOD(ep, s, EPOLLIN | EPOLLET, 2);
	WAIT(ep, 8, 1000);
	WAIT(ep, 8, 30);
	recv(s, buf, 100, 0);
	put(c, s, 1, 1);
	WAIT(ep, 8, 1000);
	MOD(ep, s, EPOLLIN | EPOLLOUT | EPOLLET, 3);
	WAIT(ep, 8, 1000);
	WAIT(ep, 8, 30);
	MOD(ep, s, EPOLLOUT | EPOLLET, 4);
	WAIT(ep, 8, 1000);
	put(c, s, 1, 2);
	WAIT(ep, 8, 30);
	close(c);
	diff_until(s, POLLRDHUP);
	WAIT(ep, 8, 30);
}

CASE(epoll_edge_out)
{
	int c, s, ep = epoll_create1(0);
	size_t n;
	ssize_t r;

	diff_pair(&c, &s);
	ADD(ep, c, EPOLLIN | EPOLLOUT | EPOLLET, 1);
	WAIT(ep, 8, 1000);
	WAIT(ep, 8, 30);
	n = diff_fill(c);
	printf("full %d\n", n > 0);
	while (n > 0 && (r = read(s, buf, sizeof(buf))) > 0)
		n -= (size_t)r;
	WAIT(ep, 8, 1000);
	while (epoll_wait(ep, (struct epoll_event[4]){0}, 4, 50) > 0)
		;
	put(s, c, 5, 5);
	WAIT(ep, 8, 1000);
}

CASE(epoll_oneshot)
{
	int c, s, ep = epoll_create1(0);

	diff_pair(&c, &s);
	ADD(ep, s, EPOLLIN | EPOLLONESHOT, 1);
	put(c, s, 10, 10);
	WAIT(ep, 8, 1000);
	WAIT(ep, 8, 30);
	put(c, s, 10, 20);
	WAIT(ep, 8, 30);
	ADD(ep, s, EPOLLIN, 2);
	MOD(ep, s, EPOLLIN | EPOLLONESHOT, 3);
	WAIT(ep, 8, 1000);
	WAIT(ep, 8, 30);
	close(c);
	diff_until(s, POLLRDHUP);
	WAIT(ep, 8, 30);
	MOD(ep, s, EPOLLIN | EPOLLET | EPOLLONESHOT | EPOLLRDHUP, 4);
	WAIT(ep, 8, 1000);
	WAIT(ep, 8, 30);
}

CASE(epoll_ctl_errors)
{
	int c, s, ep = epoll_create1(0), e = eventfd(0, 0);

	diff_pair(&c, &s);
	MOD(ep, s, EPOLLIN, 1);
	DEL(ep, s);
	ADD(ep, s, EPOLLIN, 1);
	ADD(ep, s, EPOLLIN, 1);
	ADD(ep, ep, EPOLLIN, 1);
	ADD(ep, 777, EPOLLIN, 1);
	ADD(777, s, EPOLLIN, 1);
	ADD(e, s, EPOLLIN, 1);
	ADD(s, c, EPOLLIN, 1);
	CALL(diff_ctl(ep, 99, s, EPOLLIN, 1));
	CALL(epoll_ctl(ep, EPOLL_CTL_ADD, c, NULL));
	MOD(ep, s, EPOLLIN | EPOLLEXCLUSIVE, 1);
	DEL(ep, s);
	ADD(ep, s, EPOLLIN | EPOLLEXCLUSIVE | EPOLLRDHUP, 1);
	ADD(ep, s, EPOLLIN | EPOLLEXCLUSIVE, 1);
	MOD(ep, s, EPOLLIN, 1);
	CALL(epoll_wait(ep, NULL, 0, 0));
	CALL(epoll_wait(ep, (struct epoll_event[1]){0}, -1, 0));
	CALL(epoll_wait(s, (struct epoll_event[1]){0}, 1, 0));
	CALL(epoll_wait(e, (struct epoll_event[1]){0}, 1, 0));
	CALL(epoll_wait(-1, (struct epoll_event[1]){0}, 1, 0));
	CALL(read(ep, buf, 8));
	CALL(recv(ep, buf, 8, 0));
	CALL(epoll_create(0));
	CALL(epoll_create1(12345));
}

CASE(epoll_mixed)
{
	int c, s, pp[2], e = eventfd(0, 0), ep = epoll_create1(0);

	diff_pair(&c, &s);
	if (pipe(pp) < 0)
		diff_die("pipe");
	ADD(ep, s, EPOLLIN, 1);
	ADD(ep, pp[0], EPOLLIN, 2);
	ADD(ep, e, EPOLLIN | EPOLLET, 3);
	WAIT(ep, 8, 0);
	put(c, s, 1, 1);
	WAIT(ep, 8, 1000);
	CALL(write(pp[1], "x", 1));
	CALL(eventfd_write(e, 1));
	/* The kernel is looked at now and then while the stack keeps us busy: give it three calls.
	 */
	for (int i = 0, seen = 0; i < 40 && seen != 7; i++) {
		struct epoll_event ev[8];
		int k, n = epoll_wait(ep, ev, 8, 0);

		for (k = 0; k < n; k++)
			seen |= 1 << (ev[k].data.u32 - 1);
		if (seen == 7)
			printf("all three\n");
	}
	for (int i = 0, seen = 0; i < 40 && seen != 3; i++) {
		struct epoll_event ev[1];

		if (epoll_wait(ep, ev, 1, 0) == 1)
			seen |= 1 << (ev[0].data.u32 - 1);
		if (seen == 3)
			printf("both, one at a time\n");
	}
	recv(s, buf, 1, 0);
	CALL(read(pp[0], buf, 1));
	WAIT(ep, 8, 0);
}

CASE(epoll_two_instances)
{
	int c, s, a = epoll_create1(0), b = epoll_create1(0);

	diff_pair(&c, &s);
	ADD(a, s, EPOLLIN, 1);
	ADD(b, s, EPOLLIN | EPOLLET, 2);
	put(c, s, 1, 1);
	WAIT(a, 8, 1000);
	WAIT(b, 8, 1000);
	WAIT(b, 8, 0);
	WAIT(a, 8, 1000);
	DEL(a, s);
	put(c, s, 1, 2);
	WAIT(b, 8, 1000);
	WAIT(a, 8, 0);
	close(b);
	ADD(a, s, EPOLLIN, 3);
	WAIT(a, 8, 1000);
}

CASE(epoll_nested)
{
	int c, s, in = epoll_create1(0), out = epoll_create1(0);

	diff_pair(&c, &s);
	ADD(in, s, EPOLLIN, 1);
	ADD(out, in, EPOLLIN, 2);
	WAIT(out, 8, 0);
	POLL(in, POLLIN, 0);
	put(c, s, 1, 1);
	WAIT(out, 8, 1000);
	POLL(in, POLLIN, 1000);
	POLL(out, POLLIN, 1000);
	WAIT(in, 8, 1000);
	recv(s, buf, 10, 0);
	WAIT(out, 8, 0);
	POLL(in, POLLIN, 0);
	POLL(out, POLLIN, 0);
	WAIT(in, 8, 0);
	put(c, s, 1, 1);
	WAIT(out, 8, 1000);
	WAIT(in, 8, 1000);
	DEL(out, in);
	WAIT(out, 8, 0);
	ADD(in, out, EPOLLIN, 3);
	ADD(out, in, EPOLLIN, 3);
}

static void *
later(void *arg)
{
	wait_asleep(getpid());
	if (send(*(int *)arg, "y", 1, 0) != 1)
		diff_die("send");
	return NULL;
}

CASE(epoll_nested_sleep)
{
	int c, s, in = epoll_create1(0), out = epoll_create1(0);
	pthread_t t;

	diff_pair(&c, &s);
	ADD(in, s, EPOLLIN | EPOLLET, 1);
	ADD(out, in, EPOLLIN, 2);
	pthread_create(&t, NULL, later, &c);
	WAIT(out, 8, 5000);
	pthread_join(t, NULL);
	WAIT(in, 8, 0);
	WAIT(out, 8, 0);
	pthread_create(&t, NULL, later, &c);
	POLL(in, POLLIN, 5000);
	pthread_join(t, NULL);
	pthread_create(&t, NULL, later, &c);
	WAIT(in, 8, 5000);
	WAIT(in, 8, 5000);
	pthread_join(t, NULL);
}

CASE(epoll_dups)
{
	int c, s, d, ep = epoll_create1(0), ep2;

	diff_pair(&c, &s);
	d = CALL(dup(s));
	ADD(ep, s, EPOLLIN, 1);
	ADD(ep, d, EPOLLIN, 2);
	put(c, s, 1, 1);
	WAIT(ep, 8, 1000);
	CALL(close(s));
	WAIT(ep, 8, 1000);
	ep2 = CALL(dup(ep));
	WAIT(ep2, 8, 1000);
	DEL(ep2, d);
	WAIT(ep, 8, 1000);
	CALL(close(d));
	WAIT(ep2, 8, 0);
	CALL(close(ep));
	WAIT(ep2, 8, 0);
}

CASE(epoll_reused_number)
{
	int c, s, c2, s2, ep = epoll_create1(0);

	diff_pair(&c, &s);
	ADD(ep, s, EPOLLIN, 1);
	put(c, s, 1, 1);
	close(s);
	WAIT(ep, 8, 0);
	close(c);
	diff_pair(&c2, &s2);
	printf("%d %d\n", c == c2, s == s2);
	put(c2, s2, 1, 1);
	WAIT(ep, 8, 30);
	ADD(ep, s2, EPOLLIN, 2);
	WAIT(ep, 8, 1000);
	CALL(dup2(0, s2));
	WAIT(ep, 8, 30);
}

CASE(epoll_before_connect)
{
	int port, l = diff_listen(&port), s = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	struct sockaddr_in sin = diff_addr(port);
	int ep = epoll_create1(0), r;

	ADD(ep, s, EPOLLIN | EPOLLOUT | EPOLLRDHUP, 1);
	WAIT(ep, 8, 1000);
	WAIT(ep, 8, 1000);
	ADD(ep, l, EPOLLIN, 2);
	r = connect(s, (struct sockaddr *)&sin, sizeof(sin));
	if (r < 0 && errno != EINPROGRESS)
		diff_die("connect");
	diff_until(l, POLLIN);
	diff_until(s, POLLOUT);
	WAIT(ep, 8, 1000);
	r = CALL(accept(l, NULL, NULL));
	put(r, s, 3, 3);
	WAIT(ep, 8, 1000);
}

CASE(epoll_fresh_listener)
{
	int l = socket(AF_INET, SOCK_STREAM, 0), c = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in sin = diff_addr(0);
	socklen_t len = sizeof(sin);
	int ep = epoll_create1(0);

	ADD(ep, l, EPOLLIN | EPOLLET, 1);
	WAIT(ep, 8, 0);
	CALL(bind(l, (struct sockaddr *)&sin, sizeof(sin)));
	CALL(listen(l, 4));
	getsockname(l, (struct sockaddr *)&sin, &len);
	CALL(connect(c, (struct sockaddr *)&sin, sizeof(sin)));
	diff_until(l, POLLIN);
	WAIT(ep, 8, 1000);
	WAIT(ep, 8, 0);
	CALL(accept(l, NULL, NULL));
	WAIT(ep, 8, 0);
}

struct sleeper {
	int ep, timeout, got;
	_Atomic pid_t tid;
	pthread_t t;
};

static void *
sleep_in(void *arg)
{
	struct sleeper *s = arg;
	struct epoll_event ev;

	s->tid = gettid();
	s->got = epoll_wait(s->ep, &ev, 1, s->timeout);
	return NULL;
}

static void
let_sleep(struct sleeper *s)
{
	pthread_create(&s->t, NULL, sleep_in, s);
	while (s->tid == 0)
		sched_yield();
	wait_asleep(s->tid);
}

/* One event, several threads on one instance: one of them gets it. */
CASE(epoll_threads)
{
	struct sleeper t[4];
	int c, s, ep = epoll_create1(0), i, sum = 0;

	diff_pair(&c, &s);
	ADD(ep, s, EPOLLIN | EPOLLET, 1);
	for (i = 0; i < 4; i++) {
		t[i] = (struct sleeper){.ep = ep, .timeout = 1000};
		let_sleep(&t[i]);
	}
	put(c, s, 1, 1);
	for (i = 0; i < 4; i++) {
		pthread_join(t[i].t, NULL);
		sum += t[i].got;
	}
	printf("%d woken with an event\n", sum);
}

/* ADD by another thread while one sleeps in the empty instance. */
CASE(epoll_add_to_sleeper)
{
	struct sleeper t = {.ep = epoll_create1(0), .timeout = 10000};
	int c, s;

	let_sleep(&t);
	diff_pair(&c, &s);
	put(c, s, 1, 1);
	ADD(t.ep, s, EPOLLIN, 1);
	pthread_join(t.t, NULL);
	printf("%d\n", t.got);
}

CASE(epoll_fairness)
{
	int c[8], s[8], i, k, n, ep = epoll_create1(0), seen[8] = {0};
	struct epoll_event ev[2];

	for (i = 0; i < 8; i++) {
		diff_pair(&c[i], &s[i]);
		diff_ctl(ep, EPOLL_CTL_ADD, s[i], EPOLLIN, (uint32_t)i);
		put(c[i], s[i], 1, 1);
	}
	for (k = 0; k < 4; k++) {
		n = epoll_wait(ep, ev, 2, 1000);
		for (i = 0; i < n; i++)
			seen[ev[i].data.u32]++;
	}
	for (i = 0; i < 8; i++)
		printf("%d", seen[i]);
	printf("\n");
}

CASE(epoll_udp)
{
	int a, b, ep = epoll_create1(0);

	diff_udp_pair(&a, &b);
	ADD(ep, b, EPOLLIN | EPOLLOUT | EPOLLET, 1);
	WAIT(ep, 8, 1000);
	WAIT(ep, 8, 0);
	send(a, "1", 1, 0);
	diff_until(b, POLLIN);
	WAIT(ep, 8, 1000);
	send(a, "2", 1, 0);
	diff_settle();
	WAIT(ep, 8, 1000);
	recv(b, buf, 10, 0);
	WAIT(ep, 8, 30);
	recv(b, buf, 10, 0);
	MOD(ep, b, EPOLLIN, 2);
	WAIT(ep, 8, 0);
}
