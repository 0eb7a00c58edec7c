/* SPDX-License-Identifier: BSD-3-Clause
 * What a child does with its parent's sockets. Every case holds on the kernel's sockets as well. */
#include "stress.h"

#include <netinet/tcp.h>
#include <sys/wait.h>

#define BULK (1 << 20)

static void
wait_for(pid_t pid)
{
	int status = 0;

	while (waitpid(pid, &status, 0) < 0)
		CHECK(errno == EINTR);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void
echo_until_end(int fd)
{
	char buf[8192];
	ssize_t n;

	while ((n = read(fd, buf, sizeof(buf))) > 0)
		write_all(fd, buf, (size_t)n);
	CHECK(n == 0);
}

static void *
send_bulk(void *arg)
{
	char buf[8192];
	uint32_t state = 3;
	int fd = *(int *)arg, i;
	size_t sent;

	for (sent = 0; sent < BULK; sent += sizeof(buf)) {
		for (i = 0; i < (int)sizeof(buf); i++)
			buf[i] = (char)rnd(&state);
		write_all(fd, buf, sizeof(buf));
	}
	CHECK(shutdown(fd, SHUT_WR) == 0);
	return NULL;
}

static void
check_bulk(int fd)
{
	uint32_t state = 3;
	size_t got = 0;
	char buf[8192];
	ssize_t n, i;

	while ((n = read(fd, buf, sizeof(buf))) > 0) {
		for (i = 0; i < n; i++)
			CHECK(buf[i] == (char)rnd(&state));
		got += (size_t)n;
	}
	CHECK(n == 0 && got == BULK);
}

static void
check_echo(int fd)
{
	pthread_t writer = start(send_bulk, &fd);

	check_bulk(fd);
	pthread_join(writer, NULL);
}

/* A server that forks for each connection: the child has it, the parent closes it. */
CASE(inherit_connection)
{
	pid_t pid;
	int c, s;

	pair(&c, &s);
	pid = fork();
	if (pid == 0) {
		close(c);
		echo_until_end(s);
		_exit(0);
	}
	close(s);
	check_echo(c); /* to the end: nobody else holds it open */
	wait_for(pid);
}

/* The same, by a grandchild whose parent is gone. */
CASE(inherit_grandchild)
{
	pid_t pid;
	int c, s;

	pair(&c, &s);
	pid = fork();
	if (pid == 0) {
		pid = fork();
		if (pid != 0)
			_exit(pid < 0);
		close(c);
		echo_until_end(s);
		_exit(0);
	}
	close(s);
	wait_for(pid);
	check_echo(c);
}

/* Standard input and output of a program that knows nothing. */
CASE(inherit_exec)
{
	pid_t pid;
	int c, s;

	pair(&c, &s);
	pid = fork();
	if (pid == 0) {
		dup2(s, 0);
		dup2(s, 1);
		closefrom(3);
		execlp("cat", "cat", NULL);
		_exit(1);
	}
	close(s);
	check_echo(c);
	wait_for(pid);
}

static int
int_option(int fd, int level, int name)
{
	socklen_t len = sizeof(int);
	int value = -1;

	CHECK(getsockopt(fd, level, name, &value, &len) == 0 && len == sizeof(int));
	return value;
}

static void
check_names(int fd, const struct sockaddr_in *self, const struct sockaddr_in *peer)
{
	struct sockaddr_in sin;
	socklen_t len = sizeof(sin);

	CHECK(getsockname(fd, (struct sockaddr *)&sin, &len) == 0 && len == sizeof(sin));
	CHECK(!memcmp(&sin, self, sizeof(sin)));
	memset(&sin, 0, sizeof(sin));
	len = 6; /* cut off, and the whole length said */
	CHECK(getpeername(fd, (struct sockaddr *)&sin, &len) == 0 && len == sizeof(sin));
	CHECK(!memcmp(&sin, peer, 6) && sin.sin_zero[0] == 0);
	len = sizeof(sin);
	CHECK(getpeername(fd, (struct sockaddr *)&sin, &len) == 0);
	CHECK(!memcmp(&sin, peer, sizeof(sin)));
}

static void
check_options(int fd)
{
	struct timeval tv = {.tv_usec = 20000};
	int on = 1, idle = 77;
	char x;

	CHECK(int_option(fd, SOL_SOCKET, SO_TYPE) == SOCK_STREAM);
	CHECK(int_option(fd, SOL_SOCKET, SO_DOMAIN) == AF_INET);
	CHECK(int_option(fd, SOL_SOCKET, SO_PROTOCOL) == IPPROTO_TCP);
	CHECK(int_option(fd, SOL_SOCKET, SO_ACCEPTCONN) == 0);
	CHECK(int_option(fd, SOL_SOCKET, SO_ERROR) == 0);
	CHECK(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) == 0);
	CHECK(int_option(fd, IPPROTO_TCP, TCP_NODELAY) == 1);
	CHECK(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on)) == 0);
	CHECK(setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle)) == 0);
	CHECK(int_option(fd, IPPROTO_TCP, TCP_KEEPIDLE) == 77);
	CHECK(setsockopt(fd, IPPROTO_TCP, 9999, &on, sizeof(on)) == -1 && errno == ENOPROTOOPT);
	CHECK(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)) == 0);
	CHECK(read(fd, &x, 1) == -1 && errno == EAGAIN);
}

/* Names, options, modes are those of the socket. */
CASE(inherit_properties)
{
	struct sockaddr_in self, peer;
	socklen_t len = sizeof(self);
	pid_t pid;
	int c, s;
	char x;

	pair(&c, &s);
	CHECK(getsockname(s, (struct sockaddr *)&self, &len) == 0);
	CHECK(getpeername(s, (struct sockaddr *)&peer, &len) == 0);
	pid = fork();
	if (pid == 0) {
		check_names(s, &self, &peer);
		check_names(dup(s), &self, &peer);
		check_options(s);
		CHECK(fcntl(s, F_SETFL, O_RDWR | O_NONBLOCK) == 0);
		CHECK(recv(s, &x, 1, 0) == -1 && errno == EAGAIN);
		CHECK(send(s, "a", 1, 0) == 1);
		_exit(0);
	}
	CHECK(read(c, &x, 1) == 1 && x == 'a');
	wait_for(pid);
	close(c);
	CHECK(read(s, &x, 1) == 0); /* still the parent's */
	close(s);
}

/* The connection ends when the last process that has it closes it, not before. */
CASE(inherit_last_close)
{
	struct pollfd p;
	int c, s, go[2];
	pid_t pid;
	char x;

	pair(&c, &s);
	CHECK(pipe(go) == 0);
	pid = fork();
	if (pid == 0) {
		close(go[1]);
		CHECK(read(go[0], &x, 1) == 1);
		close(s); /* never used */
		close(c);
		CHECK(read(go[0], &x, 1) == 0); /* lives on */
		_exit(0);
	}
	close(s);
	p = (struct pollfd){.fd = c, .events = POLLIN | POLLRDHUP};
	CHECK(poll(&p, 1, 50) == 0);
	CHECK(write(go[1], "x", 1) == 1);
	CHECK(poll(&p, 1, 5000) == 1);
	CHECK(read(c, &x, 1) == 0);
	close(go[1]);
	wait_for(pid);
	close(c);
}

enum how { BLOCKING, POLLING, EPOLLING };

static void
wait_readable(int fd, enum how how)
{
	struct epoll_event ev = {.events = EPOLLIN | EPOLLEXCLUSIVE};
	struct pollfd p = {.fd = fd, .events = POLLIN};
	static int ep = -1;

	if (how == POLLING)
		CHECK(poll(&p, 1, -1) == 1);
	if (how != EPOLLING)
		return;
	if (ep < 0) {
		ep = epoll_create1(0);
		CHECK(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev) == 0);
	}
	CHECK(epoll_wait(ep, &ev, 1, -1) == 1);
}

/* One worker of a server that forks beforehand: a line back for each connection, "q" ends it. */
static void
work(int l, enum how how)
{
	struct sockaddr_in peer;
	char line[2] = "";
	int fd;

	CHECK(int_option(l, SOL_SOCKET, SO_ACCEPTCONN) == 1);
	fcntl(l, F_SETFL, O_RDWR | (how == BLOCKING ? 0 : O_NONBLOCK));
	while (line[0] != 'q') {
		socklen_t len = sizeof(peer);

		wait_readable(l, how);
		fd = accept4(l, (struct sockaddr *)&peer, &len, SOCK_CLOEXEC);
		if (fd < 0) {
			CHECK(errno == EAGAIN); /* another one was faster */
			continue;
		}
		CHECK(len == sizeof(peer) && peer.sin_family == AF_INET && peer.sin_port != 0);
		CHECK(read_all(fd, line, 2) == 2);
		write_all(fd, line, 2);
		close(fd);
	}
	_exit(0);
}

static void
request(int port, const char *line)
{
	char back[3] = "";
	int fd = dial(port);

	write_all(fd, line, 2);
	CHECK(read_all(fd, back, 3) == 2 && !memcmp(back, line, 2));
	close(fd);
}

static void
serve_with(enum how how)
{
	int port, l = listener(&port), i;
	pid_t workers[3];

	for (i = 0; i < 3; i++) {
		workers[i] = fork();
		if (workers[i] == 0)
			work(l, how);
	}
	close(l);
	for (i = 0; i < 40; i++)
		request(port, "x\n");
	for (i = 0; i < 3; i++)
		request(port, "q\n");
	for (i = 0; i < 3; i++)
		wait_for(workers[i]);
}

CASE(inherit_listener_blocking)
{
	serve_with(BLOCKING);
}
CASE(inherit_listener_poll)
{
	serve_with(POLLING);
}
CASE(inherit_listener_epoll)
{
	serve_with(EPOLLING);
}

/* A listener on every address has a half in the kernel: the child hears both. */
CASE(inherit_listener_on_any)
{
	struct sockaddr_in sin = {.sin_family = AF_INET};
	socklen_t len = sizeof(sin);
	int l = socket(AF_INET, SOCK_STREAM, 0), port;
	char command[160];
	pid_t pid;

	CHECK(bind(l, (struct sockaddr *)&sin, len) == 0 && listen(l, 8) == 0);
	CHECK(getsockname(l, (struct sockaddr *)&sin, &len) == 0);
	port = ntohs(sin.sin_port);
	pid = fork();
	if (pid == 0)
		work(l, POLLING);
	close(l);
	request(port, "x\n");
	snprintf(
		command, sizeof(command),
		"env -u LD_PRELOAD bash -c 'exec 3<>/dev/tcp/127.0.0.1/%d; echo y >&3; read a <&3; "
		"[ \"$a\" = y ]'",
		port);
	CHECK(system(command) == 0);
	request(port, "q\n");
	wait_for(pid);
}

/* Workers that are killed at any moment leave the others at work. */
CASE(inherit_workers_die)
{
	int port, l = listener(&port), i;
	pid_t worker, victim;

	worker = fork();
	if (worker == 0)
		work(l, BLOCKING);
	for (i = 0; i < 20; i++) {
		victim = fork();
		if (victim == 0)
			work(l, i % 2 ? POLLING : EPOLLING);
		request(port, "x\n");
		kill(victim, SIGKILL);
		CHECK(waitpid(victim, NULL, 0) == victim);
	}
	close(l);
	kill(worker, SIGKILL);
	CHECK(waitpid(worker, NULL, 0) == worker);
}
