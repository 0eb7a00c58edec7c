/* SPDX-License-Identifier: BSD-3-Clause
 *
 * An echo server by the native interface: what comes in on a connection goes out on it again.
 *
 *   uvrun -c host.conf uvnet_native_echo ADDRESS PORT [PORTS]
 */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "stack/uvstack.h"

#define READY 256
#define BATCH 16

struct conn {
	struct uvstack_sock *sock;
	bool listens;
	struct uvstack_seg seg[BATCH]; /* received, and not yet sent */
	int n;
};

static struct uvstack_poll *poll_;

static void
check(int r, const char *what)
{
	if (r < 0)
		errx(1, "%s: %s", what, strerror(-r));
}

static void
watch(struct uvstack_sock *s, bool listens)
{
	struct conn *c = calloc(1, sizeof(*c));

	if (c == NULL)
		err(1, "memory");
	c->sock = s;
	c->listens = listens;
	check(uvstack_poll_add(poll_, s, EPOLLIN, c), "poll");
}

static void
listen_on(const char *address, int port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	struct uvstack_sock *s;
	int one = 1;

	if (inet_pton(AF_INET, address, &a.sin_addr) != 1)
		errx(2, "%s is no IPv4 address", address);
	check(uvstack_socket(AF_INET, SOCK_STREAM, &s), "socket");
	check(uvstack_setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)), "SO_REUSEADDR");
	check(uvstack_bind(s, (struct sockaddr *)&a, sizeof(a)), "bind");
	check(uvstack_listen(s, 4096), "listen");
	watch(s, true);
}

static void
take_connections(struct uvstack_sock *listener)
{
	struct uvstack_sock *s;
	int one = 1;

	while (uvstack_accept(listener, &s, NULL, NULL) == 0) {
		uvstack_setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		watch(s, false);
		uvstack_close(s); /* the poll has a reference */
	}
}

static void
end(struct conn *c)
{
	uvstack_put(c->sock, c->seg, (unsigned int)c->n);
	uvstack_poll_del(poll_, c->sock);
	free(c);
}

/* What cannot be sent now is kept. Answers to one round of requests leave together. */
static void
send_back(struct conn *c)
{
	int r = uvstack_send(c->sock, c->seg, (unsigned int)c->n, NULL, 0, UVSTACK_SOON);

	if (r == -EAGAIN)
		return;
	if (r != -ENOMEM && r < 0)
		uvstack_put(c->sock, c->seg, (unsigned int)c->n);
	c->n = 0;
}

/* False: the connection is over. */
static bool
take_batch(struct conn *c)
{
	int n = uvstack_recv(c->sock, c->seg, BATCH);

	c->n = n > 0 ? n : 0;
	return n > 0 || n == -EAGAIN;
}

/* One batch, then the others have their turn: whoever reads until nothing is left serves a peer
 * that never stops, and nobody else. The level tells of what is left. */
static void
echo(struct conn *c)
{
	bool waited = c->n > 0;

	if (!waited && !take_batch(c)) {
		end(c);
		return;
	}
	if (c->n > 0)
		send_back(c);
	/* With something to send, nothing more is read: the peer's window closes. */
	if ((c->n > 0) != waited)
		uvstack_poll_mod(poll_, c->sock, c->n > 0 ? EPOLLOUT : EPOLLIN);
}

int
main(int argc, char **argv)
{
	struct uvstack_ready ready[READY];
	int ports = argc == 4 ? atoi(argv[3]) : 1;

	if (argc < 3)
		errx(2, "usage: uvnet_native_echo ADDRESS PORT [PORTS]");
	check(uvstack_poll_new(&poll_), "poll");
	for (int i = 0; i < ports; i++)
		listen_on(argv[1], atoi(argv[2]) + i);
	printf("listening\n");
	fflush(stdout);
	for (;;) {
		int n = uvstack_poll_wait(poll_, ready, READY, -1);

		for (int i = 0; i < n; i++) {
			struct conn *c = ready[i].cookie;

			if (ready[i].cookie == UVSTACK_MEMORY)
				continue; /* nothing is kept here that could be given back */
			if (c->listens)
				take_connections(c->sock);
			else
				echo(c);
		}
	}
}
