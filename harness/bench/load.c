/* SPDX-License-Identifier: BSD-3-Clause
 *
 * uvnet_load - requests over any number of TCP connections by plain sockets, for ci/bench: the same
 * program on the kernel and, preloaded, on the stack.
 *
 *   uvnet_load serve ADDRESS PORT PORTS
 *       echo what comes on PORTS ports from PORT on
 *   uvnet_load ask ADDRESS PORT PORTS CONNECTIONS OUTSTANDING SECONDS REQUEST LENGTH [FIRST LENGTH]
 *       open all connections, then for so long send REQUEST, wait for LENGTH bytes of answer, and
 * go on with another connection, OUTSTANDING at a time, so that each has its turn; FIRST once
 *       before
 *   uvnet_load connect ADDRESS PORT PORTS OUTSTANDING SECONDS REQUEST LENGTH
 *       a connection for each request
 *
 * Prints one JSON object: per_second, p50_us, p99_us, p999_us, connect_per_second.
 */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define EVENTS  256
#define SAMPLES (1u << 20)

struct conn {
	int fd;
	uint32_t left; /* bytes of the answer still to come */
	uint64_t sent_ns;
};

static struct {
	struct sockaddr_in addr;
	unsigned int ports, connections, outstanding;
	double seconds;
	const char *request;
	uint32_t answer;
	int ep;
	struct conn *conn;
	uint64_t requests;
	uint32_t *sample_ns;
} o;

static uint64_t
now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void
watch(int fd, uint32_t events, uint64_t data)
{
	struct epoll_event e = {.events = events, .data.u64 = data};

	if (epoll_ctl(o.ep, EPOLL_CTL_ADD, fd, &e) < 0)
		err(1, "epoll_ctl");
}

static void
no_delay(int fd)
{
	int one = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

/* -------------------------------------------------------------------------------------- serve */

#define LISTENER (1ull << 32)

static void
listen_on(unsigned int port)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
	struct sockaddr_in a = o.addr;

	a.sin_port = htons((uint16_t)port);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 4096) < 0)
		err(1, "port %u", port);
	watch(fd, EPOLLIN, LISTENER | (uint32_t)fd);
}

static void
take_all(int listener)
{
	int fd;

	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
		no_delay(fd);
		watch(fd, EPOLLIN, (uint32_t)fd);
	}
}

static void
echo(int fd)
{
	char buf[65536];
	ssize_t n = read(fd, buf, sizeof(buf));

	if (n > 0 && write(fd, buf, (size_t)n) == n)
		return;
	if (n < 0 && errno == EAGAIN)
		return;
	close(fd);
}

static void
serve(void)
{
	struct epoll_event e[EVENTS];

	for (unsigned int i = 0; i < o.ports; i++)
		listen_on(ntohs(o.addr.sin_port) + i);
	printf("listening\n");
	fflush(stdout);
	for (;;) {
		int n = epoll_wait(o.ep, e, EVENTS, -1);

		for (int i = 0; i < n; i++) {
			if (e[i].data.u64 & LISTENER)
				take_all((int)(uint32_t)e[i].data.u64);
			else
				echo((int)e[i].data.u64);
		}
	}
}

/* ------------------------------------------------------------------------------------ one request
 */

static void
note(uint64_t ns)
{
	o.sample_ns[o.requests++ % SAMPLES] = ns < UINT32_MAX ? (uint32_t)ns : UINT32_MAX;
}

static void
begin_connect(struct conn *c, unsigned int i)
{
	struct sockaddr_in a = o.addr;

	a.sin_port = htons((uint16_t)(ntohs(o.addr.sin_port) + i % o.ports));
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	if (c->fd < 0)
		err(1, "socket %u", i);
	no_delay(c->fd);
	if (connect(c->fd, (struct sockaddr *)&a, sizeof(a)) < 0 && errno != EINPROGRESS)
		err(1, "connection %u", i);
}

static void
send_request(struct conn *c, const char *request, uint32_t answer)
{
	size_t len = strlen(request);

	c->left = answer;
	c->sent_ns = now_ns();
	if (write(c->fd, request, len) != (ssize_t)len)
		err(1, "write");
}

/* True: the answer is whole. */
static bool
take_answer(struct conn *c)
{
	char buf[65536];
	ssize_t n = read(c->fd, buf, sizeof(buf));

	if (n < 0 && errno == EAGAIN)
		return false;
	if (n <= 0 || (uint32_t)n > c->left)
		errx(1,
		     n == 0 ? "the server closed a connection"
			    : "an answer is not as long as expected: %s",
		     n < 0 ? strerror(errno) : "");
	c->left -= (uint32_t)n;
	return c->left == 0;
}

static int
by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/* Of n sorted samples, us. */
static double
percentile(uint64_t n, unsigned int per_mille)
{
	uint64_t at = n * per_mille / 1000;

	return o.sample_ns[at] / 1e3;
}

static void
report(uint64_t ns, uint64_t connect_ns)
{
	uint64_t n = o.requests < SAMPLES ? o.requests : SAMPLES;

	if (n == 0)
		errx(1, "no answer at all");
	qsort(o.sample_ns, n, sizeof(o.sample_ns[0]), by_value);
	printf("{\"per_second\": %.1f, \"p50_us\": %.2f, \"p99_us\": %.2f, \"p999_us\": %.2f, "
	       "\"connect_per_second\": %.1f}\n",
	       (double)o.requests * 1e9 / (double)ns, percentile(n, 500), percentile(n, 990),
	       percentile(n, 999),
	       connect_ns != 0 ? o.connections * 1e9 / (double)connect_ns : 0.0);
}

/* ---------------------------------------------------------------------------------------- ask */

#define CONNECTING 128u

/* A bounded number at a time, so that no backlog overflows. Each is made when it is writable. */
static void
connect_all(void)
{
	unsigned int begun = 0, made = 0;
	struct epoll_event e[EVENTS];

	while (made < o.connections) {
		while (begun < o.connections && begun - made < CONNECTING) {
			begin_connect(&o.conn[begun], begun);
			watch(o.conn[begun].fd, EPOLLOUT | EPOLLONESHOT, begun);
			begun++;
		}
		int n = epoll_wait(o.ep, e, EVENTS, 10000);

		if (n <= 0)
			errx(1, "%u of %u connections are not made after 10 s",
			     o.connections - made, o.connections);
		for (int i = 0; i < n; i++) {
			struct epoll_event in = {.events = EPOLLIN, .data.u64 = e[i].data.u64};

			if (e[i].events & (EPOLLERR | EPOLLHUP))
				errx(1, "connection %u is refused", (unsigned int)e[i].data.u64);
			epoll_ctl(o.ep, EPOLL_CTL_MOD, o.conn[e[i].data.u64].fd, &in);
			made++;
		}
	}
}

static void
say_first(const char *request, uint32_t answer)
{
	struct epoll_event e;

	send_request(&o.conn[0], request, answer);
	do {
		if (epoll_wait(o.ep, &e, 1, 10000) != 1)
			errx(1, "the first request is not answered");
	} while (!take_answer(&o.conn[0]));
}

static void
ask(void)
{
	uint64_t begun, until;
	struct epoll_event e[EVENTS];

	begun = now_ns();
	until = begun + (uint64_t)(o.seconds * 1e9);
	for (unsigned int i = 0; i < o.outstanding; i++)
		send_request(&o.conn[i], o.request, o.answer);
	while (now_ns() < until) {
		int n = epoll_wait(o.ep, e, EVENTS, 10000);

		if (n <= 0)
			errx(1, "no answer for 10 s");
		for (int i = 0; i < n; i++) {
			unsigned int at = (unsigned int)e[i].data.u64;

			if (!take_answer(&o.conn[at]))
				continue;
			note(now_ns() - o.conn[at].sent_ns);
			send_request(&o.conn[(at + o.outstanding) % o.connections], o.request,
				     o.answer);
		}
	}
}

/* ------------------------------------------------------------------------------------ connect */

static void
start_one(unsigned int i)
{
	begin_connect(&o.conn[i], i);
	o.conn[i].left = 0;
	o.conn[i].sent_ns = now_ns();
	watch(o.conn[i].fd, EPOLLOUT | EPOLLONESHOT, i);
}

static void
go_on(unsigned int i, uint32_t events)
{
	struct epoll_event in = {.events = EPOLLIN, .data.u64 = i};
	struct conn *c = &o.conn[i];
	uint64_t begun = c->sent_ns;

	if (events & EPOLLERR)
		errx(1, "a connection is refused");
	if (c->left == 0) {
		send_request(c, o.request, o.answer);
		c->sent_ns = begun;
		epoll_ctl(o.ep, EPOLL_CTL_MOD, c->fd, &in);
	} else if (take_answer(c)) {
		note(now_ns() - begun);
		close(c->fd);
		start_one(i);
	}
}

static void
connect_each(void)
{
	uint64_t until = now_ns() + (uint64_t)(o.seconds * 1e9);
	struct epoll_event e[EVENTS];

	for (unsigned int i = 0; i < o.outstanding; i++)
		start_one(i);
	while (now_ns() < until) {
		int n = epoll_wait(o.ep, e, EVENTS, 10000);

		if (n <= 0)
			errx(1, "nothing happens for 10 s");
		for (int i = 0; i < n; i++)
			go_on((unsigned int)e[i].data.u64, e[i].events);
	}
}

/* --------------------------------------------------------------------------------------- main */

static unsigned int
number(const char *text)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (*end != '\0' || n == 0 || n > 1u << 24)
		errx(2, "%s is no number for this", text);
	return (unsigned int)n;
}

static void
usage(void)
{
	errx(2, "usage: uvnet_load serve ADDRESS PORT PORTS | ask ADDRESS PORT PORTS CONNECTIONS "
		"OUTSTANDING SECONDS REQUEST LENGTH [FIRST LENGTH] | connect ADDRESS PORT PORTS "
		"OUTSTANDING SECONDS REQUEST LENGTH");
}

static void
prepare(char **argv)
{
	o.addr.sin_family = AF_INET;
	o.addr.sin_port = htons((uint16_t)number(argv[3]));
	o.ports = number(argv[4]);
	o.ep = epoll_create1(0);
	if (inet_pton(AF_INET, argv[2], &o.addr.sin_addr) != 1 || o.ep < 0)
		usage();
}

/* OUTSTANDING SECONDS REQUEST LENGTH; the connections are counted already. */
static void
prepare_requests(char **argv)
{
	o.outstanding = number(argv[0]);
	o.seconds = strtod(argv[1], NULL);
	o.request = argv[2];
	o.answer = number(argv[3]);
	if (o.connections < o.outstanding)
		o.connections = o.outstanding;
	o.conn = calloc(o.connections, sizeof(o.conn[0]));
	o.sample_ns = calloc(SAMPLES, sizeof(o.sample_ns[0]));
	if (o.conn == NULL || o.sample_ns == NULL)
		err(1, "memory");
}

int
main(int argc, char **argv)
{
	uint64_t begun, connected;

	if (argc < 5)
		usage();
	prepare(argv);
	if (strcmp(argv[1], "serve") == 0 && argc == 5)
		serve();
	if (strcmp(argv[1], "connect") == 0 && argc == 9) {
		prepare_requests(argv + 5);
		begun = now_ns();
		connect_each();
		report(now_ns() - begun, 0);
		return 0;
	}
	if (strcmp(argv[1], "ask") != 0 || (argc != 10 && argc != 12))
		usage();
	o.connections = number(argv[5]);
	prepare_requests(argv + 6);
	begun = now_ns();
	connect_all();
	connected = now_ns();
	if (argc == 12)
		say_first(argv[10], number(argv[11]));
	begun = connected - begun;
	connected = now_ns();
	ask();
	report(now_ns() - connected, begun);
	return 0;
}
