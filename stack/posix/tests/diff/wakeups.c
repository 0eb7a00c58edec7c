/* SPDX-License-Identifier: BSD-3-Clause
 * Who wakes whom: a blocked call, and another thread that shuts down or sends. */
#include "diff.h"

static char buf[100];
static int target;

static void *
shut(void *arg)
{
	wait_asleep(getpid());
	shutdown(target, *(int *)arg);
	return NULL;
}

static void *
peer_closes(void *arg)
{
	wait_asleep(getpid());
	close(*(int *)arg);
	return NULL;
}

#define WHILE(fn, arg, expr)                       \
	do {                                       \
		pthread_t t;                       \
		pthread_create(&t, NULL, fn, arg); \
		CALL(expr);                        \
		pthread_join(t, NULL);             \
	} while (0)

CASE(wake_recv_by_shutdown)
{
	int c, s, how = SHUT_RD;

	diff_pair(&c, &s);
	target = s;
	WHILE(shut, &how, recv(s, buf, 10, 0));
	diff_pair(&c, &s);
	target = s;
	how = SHUT_RDWR;
	WHILE(shut, &how, recv(s, buf, 10, 0));
}

CASE(wake_accept_by_shutdown)
{
	int port, l = diff_listen(&port), how = SHUT_RDWR;

	target = l;
	WHILE(shut, &how, accept(l, NULL, NULL));
	CALL(accept(l, NULL, NULL));
}

CASE(wake_poll_by_shutdown)
{
	int port, l = diff_listen(&port), how = SHUT_RDWR, c, s;
	struct pollfd p = {.fd = l, .events = POLLIN};

	target = l;
	WHILE(shut, &how, poll(&p, 1, 3000));
	printf("%s\n", diff_events((uint16_t)p.revents));
	diff_pair(&c, &s);
	target = s;
	p.fd = s;
	WHILE(shut, &how, poll(&p, 1, 3000));
	printf("%s\n", diff_events((uint16_t)p.revents));
}

CASE(wake_recv_by_peer)
{
	int c, s;

	diff_pair(&c, &s);
	WHILE(peer_closes, &c, recv(s, buf, 10, 0));
}

/* close() of the number another thread sleeps on wakes nobody: data still does. */
static int other_end;

static void *
close_then_send(void *arg)
{
	wait_asleep(getpid());
	close(*(int *)arg);
	wait_asleep(getpid());
	if (write(other_end, "late", 4) != 4)
		diff_die("write");
	return NULL;
}

CASE(wake_recv_not_by_close)
{
	int c, s;

	diff_pair(&c, &s);
	other_end = c;
	WHILE(close_then_send, &s, recv(s, buf, 10, 0));
	CALL(recv(s, buf, 10, 0));
	CALL(recv(c, buf, 10, 0));
}

static void *
many_echo(void *arg)
{
	int s = *(int *)arg;
	ssize_t r;
	char b[64];

	while ((r = read(s, b, sizeof(b))) > 0)
		if (write(s, b, (size_t)r) != r)
			break;
	return NULL;
}

CASE(wake_ping_pong)
{
	int c, s, i, bad = 0;
	pthread_t t;
	char b[8];

	diff_pair(&c, &s);
	pthread_create(&t, NULL, many_echo, &s);
	for (i = 0; i < 5000; i++)
		if (write(c, "ping", 4) != 4 || recv(c, b, 4, MSG_WAITALL) != 4)
			bad++;
	printf("%d bad\n", bad);
	shutdown(c, SHUT_WR);
	pthread_join(t, NULL);
	close(s);
	CALL(read(c, b, 1));
}
