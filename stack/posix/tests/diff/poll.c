/* SPDX-License-Identifier: BSD-3-Clause
 * poll, ppoll, select, pselect. */
#include "diff.h"

static char buf[100];

static void
show(const struct pollfd *p, int n, int r)
{
	int i;

	printf("%d:", r);
	for (i = 0; i < n; i++)
		printf(" %s", diff_events((uint16_t)p[i].revents));
	printf("\n");
}

CASE(poll_mixed)
{
	int c, s, e = eventfd(0, 0), pp[2], i;
	struct pollfd p[6];

	diff_pair(&c, &s);
	if (pipe(pp) < 0)
		diff_die("pipe");
	p[0] = (struct pollfd){.fd = s, .events = POLLIN};
	p[1] = (struct pollfd){.fd = e, .events = POLLIN};
	p[2] = (struct pollfd){.fd = -1, .events = POLLIN, .revents = 77};
	p[3] = (struct pollfd){.fd = pp[0], .events = POLLIN};
	p[4] = (struct pollfd){.fd = 777, .events = POLLIN};
	p[5] = (struct pollfd){.fd = c, .events = POLLOUT};
	show(p, 6, poll(p, 6, 1000));
	p[4].fd = -1;
	show(p, 5, poll(p, 5, 0));
	show(p, 5, poll(p, 5, 30));
	i = eventfd_write(e, 1);
	show(p, 5, poll(p, 5, 1000));
	send(c, "x", 1, 0);
	diff_until(s, POLLIN);
	show(p, 6, poll(p, 6, i));
	p[0].events = 0;
	show(p, 1, poll(p, 1, 0));
	close(c);
	diff_until(s, POLLRDHUP);
	show(p, 1, poll(p, 1, 0));
	CALL(poll(NULL, 0, 10));
	CALL(poll(p, 1u << 30, 0));
}

CASE(poll_many)
{
	struct pollfd p[200];
	int fd[200], i, c, s;

	diff_pair(&c, &s);
	for (i = 0; i < 200; i++) {
		fd[i] = i % 2 ? eventfd(0, 0) : dup(s);
		p[i] = (struct pollfd){.fd = fd[i], .events = POLLIN};
	}
	CALL(poll(p, 200, 20));
	if (write(c, "x", 1) != 1)
		diff_die("write");
	diff_until(s, POLLIN);
	CALL(poll(p, 200, 1000));
	eventfd_write(fd[151], 1);
	CALL(poll(p, 200, 1000));
	show(p + 150, 4, 0);
}

static void *
later(void *arg)
{
	wait_asleep(getpid());
	if (write(*(int *)arg, "y", 1) != 1)
		diff_die("write");
	return NULL;
}

CASE(poll_woken)
{
	int c, s, e = eventfd(0, 0);
	struct pollfd p[2];
	pthread_t t;

	diff_pair(&c, &s);
	p[0] = (struct pollfd){.fd = e, .events = POLLIN};
	p[1] = (struct pollfd){.fd = s, .events = POLLIN};
	pthread_create(&t, NULL, later, &c);
	show(p, 2, poll(p, 2, 5000));
	pthread_join(t, NULL);
	CALL(read(s, buf, 10));
	pthread_create(&t, NULL, later, &c);
	CALL(read(s, buf, 10));
	pthread_join(t, NULL);
}

static void
sets(const char *what, int n, fd_set *r, fd_set *w, fd_set *x, int rc)
{
	int i;

	printf("%s = %d:", what, rc);
	for (i = 0; i < n; i++)
		if (FD_ISSET(i, r) || FD_ISSET(i, w) || FD_ISSET(i, x))
			printf(" %d%s%s%s", i, FD_ISSET(i, r) ? "r" : "", FD_ISSET(i, w) ? "w" : "",
			       FD_ISSET(i, x) ? "x" : "");
	printf("\n");
}

static int
try_select(int c, int s, int e, int ms)
{
	fd_set r, w, x;
	struct timeval tv = {ms / 1000, ms % 1000 * 1000};
	int rc;

	FD_ZERO(&r);
	FD_ZERO(&w);
	FD_ZERO(&x);
	FD_SET(s, &r);
	FD_SET(e, &r);
	if (c >= 0) {
		FD_SET(c, &r);
		FD_SET(c, &w);
		FD_SET(c, &x);
	}
	rc = select(64, &r, &w, &x, &tv);
	sets("select", 64, &r, &w, &x, rc);
	return rc;
}

CASE(select_mixed)
{
	int c, s, e = eventfd(0, 0);
	struct timespec ts = {0, 1000000};
	struct timeval tv = {1, 0};
	fd_set r;

	diff_pair(&c, &s);
	try_select(c, s, e, 100);
	try_select(-1, s, e, 30);
	send(c, "x", 1, 0);
	diff_until(s, POLLIN);
	eventfd_write(e, 2);
	try_select(c, s, e, 0);
	shutdown(s, SHUT_WR);
	diff_until(c, POLLIN);
	try_select(c, s, e, 0);
	FD_ZERO(&r);
	FD_SET(s, &r);
	CALL(select(s + 1, &r, NULL, NULL, &tv));
	printf("time left %d\n", tv.tv_sec > 0 || tv.tv_usec > 900000);
	CALL(pselect(s + 1, &r, NULL, NULL, &ts, NULL));
	CALL(select(0, NULL, NULL, NULL, &(struct timeval){0, 1000}));
	CALL(select(-1, NULL, NULL, NULL, NULL));
	tv.tv_sec = -1;
	CALL(select(s + 1, &r, NULL, NULL, &tv));
	ts.tv_nsec = -1;
	CALL(pselect(s + 1, &r, NULL, NULL, &ts, NULL));
	close(e);
	try_select(-1, s, e, 0);
}

CASE(poll_peer_states)
{
	struct linger hard = {1, 0};
	int c, s, port, l;

	diff_pair(&c, &s);
	POLL(c, POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM | POLLWRBAND | POLLRDHUP, 0);
	close(s);
	diff_until(c, POLLIN);
	POLL(c, POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM | POLLWRBAND | POLLRDHUP, 0);
	shutdown(c, SHUT_WR);
	diff_until(c, POLLHUP);
	POLL(c, POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM | POLLRDHUP, 0);
	POLL(c, 0, 0);
	diff_pair(&c, &s);
	setsockopt(s, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
	close(s);
	diff_until(c, POLLIN);
	POLL(c, POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM | POLLRDHUP, 0);
	POLL(c, 0, 0);
	l = diff_listen(&port);
	POLL(l, POLLIN | POLLOUT | POLLRDHUP, 0);
	shutdown(l, SHUT_RD);
	POLL(l, POLLIN | POLLOUT | POLLRDHUP, 0);
	CALL(accept(l, NULL, NULL));
}
