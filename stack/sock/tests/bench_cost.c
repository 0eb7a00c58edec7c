/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What a TCP request and its answer, or a connection for each, cost, in instructions: two hosts in
 * one process, no waiting, no clock, so that the same build counts the same each time. ci/cost runs
 * it under callgrind, with and without what can be seen from outside, and compares builds.
 *
 * Usage: bench_cost ROUNDS plain | latency | trace | connect
 *   latency  measured
 *   trace    all of the stack's trace points recorded
 *   connect  connect, a request and its answer, close
 */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>

#include "stack/sock/tests/pair.h"

#define BYTES 100

static void
until_read(struct uvs_sock *s, char *buf)
{
	ssize_t n;

	while ((n = pair_recv(s, buf, BYTES)) == -EAGAIN)
		pair_poll();
	CHECK_EQ(n, BYTES);
}

static void
ask(struct uvs_sock *client, struct uvs_sock *server)
{
	char buf[BYTES] = "";

	CHECK_EQ(pair_send(client, buf, BYTES), BYTES);
	until_read(server, buf);
	CHECK_EQ(pair_send(server, buf, BYTES), BYTES);
	until_read(client, buf);
}

static void
ask_many(unsigned long rounds)
{
	struct uvs_sock *client, *server;

	pair_connect(&client, &server);
	for (unsigned long i = 0; i < rounds; i++)
		ask(client, server);
	uvs_sock_put(client);
	uvs_sock_put(server);
}

/* The client closes first, and keeps TIME_WAIT. */
static void
connect_and_ask(struct uvs_sock *listener)
{
	struct uvs_sock *client = pair_socket(0, SOCK_STREAM), *server;
	struct sockaddr_in a = pair_addr(1, 5000);

	CHECK_EQ(uvs_sock_connect(client, (struct sockaddr *)&a, sizeof(a)), -EINPROGRESS);
	while ((uvs_sock_events(listener) & EPOLLIN) == 0 ||
	       (uvs_sock_events(client) & EPOLLOUT) == 0)
		pair_poll();
	CHECK_EQ(uvs_sock_accept(listener, &server, NULL, NULL), 0);
	ask(client, server);
	uvs_sock_put(client);
	pair_poll();
	uvs_sock_put(server);
	pair_poll();
}

static void
connect_many(unsigned long rounds)
{
	struct uvs_sock *listener = pair_listener(5000, 8);

	for (unsigned long i = 0; i < rounds; i++)
		connect_and_ask(listener);
	uvs_sock_put(listener);
}

int
main(int argc, char **argv)
{
	unsigned long rounds = argc > 2 ? strtoul(argv[1], NULL, 10) : 0;

	CHECK(rounds > 0);
	if (strcmp(argv[2], "trace") == 0)
		pair_trace("uvstack.*");
	pair_start(0);
	for (int h = 0; h < 2; h++)
		hosts[h]->seen->latency = strcmp(argv[2], "latency") == 0;
	if (strcmp(argv[2], "connect") == 0)
		connect_many(rounds);
	else
		ask_many(rounds);
	pair_stop();
	return 0;
}
