/* SPDX-License-Identifier: BSD-3-Clause
 *
 * uvnet_echo ADDRESS PORT - echo over TCP and UDP, in one thread, until SIGTERM.
 *
 * Says "listening" when it does. What a peer sends is sent back before anything else of it is read;
 * one that does not read holds up the others, as befits a service for tests.
 */
#include <arpa/inet.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG 512
#define EVENTS  64

static volatile sig_atomic_t ended;

static void
end(int number)
{
	(void)number;
	ended = true;
}

static int
fail(const char *what)
{
	perror(what);
	return 1;
}

static int
watch(int epfd, int fd)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.fd = fd};

	return fd < 0 ? -1 : epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &ev);
}

static int
bound(int type, const struct sockaddr_in *to)
{
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0), one = 1;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) != 0 ||
	    bind(fd, (const struct sockaddr *)to, sizeof(*to)) != 0 ||
	    (type == SOCK_STREAM && listen(fd, BACKLOG) != 0))
		return -1;
	return fd;
}

static void
echo_datagram(int fd)
{
	static char data[65536];
	struct sockaddr_in from;
	socklen_t len = sizeof(from);
	ssize_t n = recvfrom(fd, data, sizeof(data), MSG_DONTWAIT, (struct sockaddr *)&from, &len);

	if (n >= 0)
		sendto(fd, data, (size_t)n, 0, (struct sockaddr *)&from, len);
}

static bool
send_all(int fd, const char *data, ssize_t n)
{
	while (n > 0) {
		ssize_t sent = send(fd, data, (size_t)n, MSG_NOSIGNAL);

		if (sent < 0)
			return false;
		data += sent;
		n -= sent;
	}
	return true;
}

static void
echo_stream(int fd)
{
	static char data[65536];
	ssize_t n = recv(fd, data, sizeof(data), 0);

	if (n <= 0 || !send_all(fd, data, n))
		close(fd);
}

int
main(int argc, char **argv)
{
	struct sockaddr_in to = {.sin_family = AF_INET};
	struct sigaction on_term = {.sa_handler = end};
	int epfd = epoll_create1(EPOLL_CLOEXEC), tcp, udp;

	if (argc != 3 || inet_pton(AF_INET, argv[1], &to.sin_addr) != 1) {
		fputs("Usage: uvnet_echo ADDRESS PORT\n", stderr);
		return 2;
	}
	to.sin_port = htons((uint16_t)atoi(argv[2]));
	sigaction(SIGTERM, &on_term, NULL);
	tcp = bound(SOCK_STREAM, &to);
	udp = bound(SOCK_DGRAM, &to);
	if (watch(epfd, tcp) != 0 || watch(epfd, udp) != 0)
		return fail("uvnet_echo");
	puts("listening");
	fflush(stdout);
	while (!ended) {
		struct epoll_event ev[EVENTS];
		int n = epoll_wait(epfd, ev, EVENTS, -1);

		for (int i = 0; i < n; i++) {
			if (ev[i].data.fd == udp)
				echo_datagram(udp);
			else if (ev[i].data.fd == tcp)
				watch(epfd, accept4(tcp, NULL, NULL, SOCK_CLOEXEC));
			else
				echo_stream(ev[i].data.fd);
		}
	}
	return 0;
}
