/* SPDX-License-Identifier: BSD-3-Clause
 * TCP: life of a connection, errors, flags, options. */
#include "diff.h"

#include <linux/sockios.h>

static char buf[1 << 16];

CASE(tcp_life)
{
	struct sockaddr_in sin = diff_addr(0), peer;
	socklen_t len = sizeof(sin);
	int l, c, s;

	l = CALL(socket(AF_INET, SOCK_STREAM, 0));
	CALL(bind(l, (struct sockaddr *)&sin, len));
	CALL(listen(l, 5));
	CALL(getsockname(l, (struct sockaddr *)&sin, &len));
	printf("port %s, length %u\n", sin.sin_port ? "given" : "missing", len);
	c = CALL(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP));
	CALL(connect(c, (struct sockaddr *)&sin, sizeof(sin)));
	len = sizeof(peer);
	s = CALL(accept(l, (struct sockaddr *)&peer, &len));
	printf("from %s, length %u\n", inet_ntoa(peer.sin_addr), len);
	len = sizeof(sin);
	CALL(getsockname(c, (struct sockaddr *)&sin, &len));
	printf("ports %s\n", sin.sin_port == peer.sin_port ? "agree" : "differ");
	CALL(send(c, "hello", 5, 0));
	CALL(recv(s, buf, sizeof(buf), 0));
	CALL(write(s, "world!", 6));
	CALL(read(c, buf, 3));
	CALL(read(c, buf, sizeof(buf)));
	CALL(close(c));
	CALL(read(s, buf, sizeof(buf)));
	CALL(read(s, buf, sizeof(buf)));
	CALL(close(s));
	CALL(close(s));
	CALL(read(s, buf, 1));
	CALL(close(l));
	CALL(socket(AF_INET, SOCK_STREAM, 0));
}

CASE(tcp_accept)
{
	int port, l = diff_listen(&port), c[4], i;
	struct sockaddr_in sin = diff_addr(port);
	socklen_t len = 4;

	CALL(accept4(l, NULL, NULL, 0x1234567));
	diff_nonblock(l);
	CALL(accept(l, NULL, NULL));
	for (i = 0; i < 4; i++) {
		c[i] = socket(AF_INET, SOCK_STREAM, 0);
		CALL(connect(c[i], (struct sockaddr *)&sin, sizeof(sin)));
	}
	diff_until(l, POLLIN);
	CALL(accept(l, NULL, NULL));
	diff_until(l, POLLIN);
	i = CALL(accept4(l, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC));
	CALL(fcntl(i, F_GETFL));
	CALL(fcntl(i, F_GETFD));
	diff_until(l, POLLIN);
	i = CALL(accept(l, (struct sockaddr *)&sin, &len));
	printf("length %u\n", len);
	CALL(fcntl(i, F_GETFL));
	CALL(fcntl(i, F_GETFD));
	diff_until(l, POLLIN);
	CALL(accept(l, NULL, NULL));
	CALL(accept(l, NULL, NULL));
	CALL(accept(c[0], NULL, NULL));
	CALL(listen(c[0], 1));
	CALL(accept(-1, NULL, NULL));
	CALL(accept(9999, NULL, NULL));
	CALL(accept(0, NULL, NULL));
}

CASE(tcp_fresh)
{
	int s = CALL(socket(AF_INET, SOCK_STREAM, 0)), v = -1;
	struct sockaddr_in sin;
	socklen_t len = sizeof(sin);

	signal(SIGPIPE, SIG_IGN);
	POLL(s, POLLIN | POLLOUT | POLLRDHUP, 0);
	CALL(recv(s, buf, 1, 0));
	CALL(recv(s, buf, 1, MSG_DONTWAIT));
	CALL(send(s, buf, 1, 0));
	CALL(getpeername(s, (struct sockaddr *)&sin, &len));
	len = sizeof(sin);
	CALL(getsockname(s, (struct sockaddr *)&sin, &len));
	printf("%s:%d\n", inet_ntoa(sin.sin_addr), sin.sin_port);
	CALL(shutdown(s, SHUT_RD));
	CALL(shutdown(s, SHUT_WR));
	CALL(shutdown(s, SHUT_RDWR));
	CALL(shutdown(s, 7));
	CALL(accept(s, NULL, NULL));
	CALL(ioctl(s, FIONREAD, &v));
	CALL(ioctl(s, 0x12345678, &v));
	CALL(listen(s, 3));
	POLL(s, POLLIN | POLLOUT, 0);
	CALL(listen(s, 4));
	len = sizeof(sin);
	CALL(getsockname(s, (struct sockaddr *)&sin, &len));
	printf("port %s\n", sin.sin_port ? "given" : "missing");
}

CASE(tcp_like_a_file)
{
	int s = socket(AF_INET, SOCK_STREAM, 0), t = socket(AF_INET, SOCK_STREAM, 0);
	struct iovec iov = {buf, 1};
	struct stat a, b;

	CALL(fstat(s, &a));
	CALL(fstat(t, &b));
	printf("socket %d, same inode %d\n", S_ISSOCK(a.st_mode), a.st_ino == b.st_ino);
	CALL(isatty(s));
	CALL(lseek(s, 0, SEEK_SET));
	CALL(pread(s, buf, 1, 0));
	CALL(pwrite(s, buf, 1, 0));
	CALL(preadv(s, &iov, 1, 0));
	CALL(ftruncate(s, 0));
	CALL(fsync(s));
	CALL(fcntl(s, F_GETFD));
	CALL(fcntl(s, F_SETFD, FD_CLOEXEC));
	CALL(fcntl(s, F_GETFD));
	CALL(ioctl(s, FIONCLEX));
	CALL(fcntl(s, F_GETFD));
	CALL(fcntl(s, F_GETFL));
	CALL(fcntl(s, 4711));
}

CASE(tcp_numbers)
{
	int a = CALL(socket(AF_INET, SOCK_STREAM, 0)), b = CALL(open("/dev/null", O_RDONLY));
	int c = CALL(socket(AF_INET, SOCK_DGRAM, 0)), d = CALL(eventfd(0, 0));

	CALL(close(a));
	CALL(open("/dev/null", O_RDONLY));
	CALL(close(c));
	CALL(socket(AF_INET, SOCK_STREAM, 0));
	CALL(close(b));
	CALL(close(d));
	CALL(epoll_create1(0));
	CALL(socket(AF_INET, SOCK_STREAM, 0));
	CALL(socket(AF_UNIX, SOCK_STREAM, 0));
	CALL(socket(AF_INET, 99, 0));
	CALL(socket(AF_INET, SOCK_STREAM, IPPROTO_UDP));
	CALL(socket(AF_INET, SOCK_DGRAM, IPPROTO_TCP));
	CALL(socket(AF_INET, SOCK_STREAM | 0x40000, 0));
	CALL(socket(12345, SOCK_STREAM, 0));
}

CASE(tcp_bad_addresses)
{
	int s = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in sin = diff_addr(0);
	struct sockaddr un = {.sa_family = AF_UNSPEC};

	CALL(bind(s, (struct sockaddr *)&sin, 4));
	sin.sin_family = AF_UNIX;
	CALL(bind(s, (struct sockaddr *)&sin, sizeof(sin)));
	CALL(connect(s, (struct sockaddr *)&sin, sizeof(sin)));
	CALL(connect(s, (struct sockaddr *)&sin, 1));
	sin = diff_addr(1);
	CALL(connect(s, (struct sockaddr *)&sin, 8));
	CALL(connect(s, &un, sizeof(un)));
	sin = diff_addr(0);
	CALL(bind(s, (struct sockaddr *)&sin, sizeof(sin)));
	CALL(bind(s, (struct sockaddr *)&sin, sizeof(sin)));
	CALL(connect(-1, (struct sockaddr *)&sin, sizeof(sin)));
	CALL(connect(0, (struct sockaddr *)&sin, sizeof(sin)));
}

CASE(tcp_in_use)
{
	int port, l = diff_listen(&port), s = socket(AF_INET, SOCK_STREAM, 0), one = 1;
	struct sockaddr_in sin = diff_addr(port);

	CALL(bind(s, (struct sockaddr *)&sin, sizeof(sin)));
	CALL(setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)));
	CALL(bind(s, (struct sockaddr *)&sin, sizeof(sin)));
	CALL(close(l));
	CALL(bind(s, (struct sockaddr *)&sin, sizeof(sin)));
	CALL(listen(s, 1));
}

CASE(tcp_refused)
{
	int port, l = diff_listen(&port), s = socket(AF_INET, SOCK_STREAM, 0), err = 0;
	struct sockaddr_in sin = diff_addr(port);
	socklen_t len = sizeof(err);

	close(l);
	CALL(connect(s, (struct sockaddr *)&sin, sizeof(sin)));
	CALL(connect(s, (struct sockaddr *)&sin, sizeof(sin)));
	close(s);
	s = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	if (connect(s, (struct sockaddr *)&sin, sizeof(sin)) == 0 ||
	    (errno != EINPROGRESS && errno != ECONNREFUSED))
		printf("connect: %s\n", strerrorname_np(errno));
	diff_until(s, POLLOUT);
	POLL(s, POLLIN | POLLOUT | POLLRDHUP, 0);
	CALL(getsockopt(s, SOL_SOCKET, SO_ERROR, &err, &len));
	printf("error %s\n", strerrorname_np(err));
	CALL(getsockopt(s, SOL_SOCKET, SO_ERROR, &err, &len));
	printf("error %d\n", err);
}

CASE(tcp_connect_nonblocking)
{
	int port, l = diff_listen(&port), s = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	struct sockaddr_in sin = diff_addr(port);
	int err = -1, r;
	socklen_t len = sizeof(err);

	r = connect(s, (struct sockaddr *)&sin, sizeof(sin));
	if (r < 0 && errno != EINPROGRESS)
		printf("connect: %s\n", strerrorname_np(errno));
	diff_until(s, POLLOUT);
	POLL(s, POLLIN | POLLOUT | POLLRDHUP, 0);
	CALL(getsockopt(s, SOL_SOCKET, SO_ERROR, &err, &len));
	printf("error %d\n", err);
	r = connect(s, (struct sockaddr *)&sin, sizeof(sin));
	if (r < 0 && errno != EISCONN)
		printf("connect again: %s\n", strerrorname_np(errno));
	CALL(connect(s, (struct sockaddr *)&sin, sizeof(sin)));
	diff_until(l, POLLIN);
	CALL(accept(l, NULL, NULL));
	CALL(send(s, "x", 1, 0));
}

CASE(tcp_peek_and_waitall)
{
	int c, s;

	diff_pair(&c, &s);
	CALL(recv(s, buf, 10, MSG_DONTWAIT));
	CALL(recv(s, buf, 10, MSG_PEEK | MSG_DONTWAIT));
	send(c, "abcdef", 6, 0);
	diff_readable(s, 6);
	CALL(recv(s, buf, 4, MSG_PEEK));
	CALL(recv(s, buf, 10, MSG_PEEK));
	CALL(recv(s, buf, 2, 0));
	printf("%.2s\n", buf);
	CALL(recv(s, buf, 100, MSG_WAITALL | MSG_DONTWAIT));
	send(c, "ghij", 4, 0);
	CALL(recv(s, buf, 4, MSG_WAITALL));
	CALL(recv(s, buf, 0, MSG_DONTWAIT));
	CALL(read(s, buf, 0));
	send(c, "klm", 3, 0);
	close(c);
	CALL(recv(s, buf, 100, MSG_WAITALL | MSG_PEEK));
	CALL(recv(s, buf, 100, MSG_WAITALL));
	CALL(recv(s, buf, 100, MSG_WAITALL));
}

CASE(tcp_half_close)
{
	int c, s;

	signal(SIGPIPE, SIG_IGN);
	diff_pair(&c, &s);
	POLL(s, POLLIN | POLLOUT | POLLRDHUP, 0);
	CALL(shutdown(c, SHUT_WR));
	diff_until(s, POLLIN);
	POLL(s, POLLIN | POLLOUT | POLLRDHUP, 0);
	POLL(s, POLLIN, 0);
	POLL(s, POLLPRI, 0);
	POLL(c, POLLIN | POLLOUT | POLLRDHUP, 0);
	CALL(read(s, buf, 10));
	CALL(write(c, "x", 1));
	CALL(write(s, "back", 4));
	CALL(recv(c, buf, 4, MSG_WAITALL));
	CALL(shutdown(c, SHUT_WR));
	CALL(shutdown(s, SHUT_WR));
	diff_until(c, POLLIN | POLLHUP);
	POLL(c, POLLIN | POLLOUT | POLLRDHUP, 0);
	POLL(s, POLLIN | POLLOUT | POLLRDHUP, 0);
	CALL(read(c, buf, 4));
}

CASE(tcp_shut_rd)
{
	int c, s;

	diff_pair(&c, &s);
	CALL(shutdown(s, SHUT_RD));
	POLL(s, POLLIN | POLLOUT | POLLRDHUP, 0);
	CALL(read(s, buf, 1));
	CALL(write(s, "x", 1));
	CALL(recv(c, buf, 1, 0));
}

CASE(tcp_reset)
{
	struct linger hard = {1, 0};
	int c, s;

	signal(SIGPIPE, SIG_IGN);
	diff_pair(&c, &s);
	CALL(setsockopt(c, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard)));
	CALL(close(c));
	diff_until(s, POLLIN);
	POLL(s, POLLIN | POLLOUT | POLLRDHUP | POLLPRI, 0);
	CALL(read(s, buf, 1));
	POLL(s, POLLIN | POLLOUT | POLLRDHUP, 0);
	CALL(read(s, buf, 1));
	CALL(write(s, buf, 1));
}

CASE(tcp_reset_by_unread)
{
	int c, s;

	signal(SIGPIPE, SIG_IGN);
	diff_pair(&c, &s);
	CALL(write(s, "unread", 6));
	diff_readable(c, 6);
	CALL(close(c));
	diff_until(s, POLLIN);
	CALL(read(s, buf, 1));
	CALL(write(s, buf, 1));
}

static volatile sig_atomic_t pipes;

static void
on_pipe(int sig)
{
	(void)sig;
	pipes++;
}

CASE(tcp_sigpipe)
{
	int c, s;

	signal(SIGPIPE, on_pipe);
	diff_pair(&c, &s);
	shutdown(c, SHUT_WR);
	CALL(send(c, "x", 1, MSG_NOSIGNAL));
	printf("%d signals\n", pipes);
	CALL(send(c, "x", 1, 0));
	printf("%d signals\n", pipes);
	CALL(write(c, "x", 1));
	printf("%d signals\n", pipes);
	s = socket(AF_INET, SOCK_STREAM, 0);
	CALL(write(s, "x", 1));
	printf("%d signals\n", pipes);
}

CASE(tcp_queues)
{
	int c, s, v = -1;

	diff_pair(&c, &s);
	CALL(ioctl(s, FIONREAD, &v));
	printf("%d\n", v);
	send(c, "12345", 5, 0);
	diff_readable(s, 5);
	CALL(ioctl(s, FIONREAD, &v));
	printf("%d\n", v);
	CALL(ioctl(c, SIOCOUTQ, &v));
	CALL(ioctl(s, SIOCATMARK, &v));
	printf("%d\n", v);
	recv(s, buf, 2, 0);
	CALL(ioctl(s, FIONREAD, &v));
	printf("%d\n", v);
}

CASE(tcp_nonblock_shared_by_dup)
{
	int c, s, d, on = 1, off = 0;

	diff_pair(&c, &s);
	d = CALL(dup(s));
	CALL(fcntl(d, F_SETFL, fcntl(d, F_GETFL) | O_NONBLOCK));
	CALL(fcntl(s, F_GETFL));
	CALL(recv(s, buf, 1, 0));
	CALL(ioctl(s, FIONBIO, &off));
	CALL(fcntl(d, F_GETFL));
	CALL(ioctl(d, FIONBIO, &on));
	CALL(fcntl(s, F_GETFL));
	CALL(close(s));
	CALL(recv(d, buf, 1, 0));
	CALL(send(c, "z", 1, 0));
	diff_until(d, POLLIN);
	CALL(recv(d, buf, 5, 0));
	CALL(close(d));
	CALL(read(c, buf, 5));
}

CASE(tcp_fill_and_drain)
{
	size_t sent, got = 0;
	ssize_t r;
	int c, s;

	diff_pair(&c, &s);
	sent = diff_fill(c);
	CALL(send(c, buf, sizeof(buf), 0));
	POLL(c, POLLOUT, 0);
	diff_nonblock(s);
	while (got < sent) {
		r = recv(s, buf, sizeof(buf), 0);
		if (r > 0)
			got += (size_t)r;
		else if (errno == EAGAIN)
			diff_until(s, POLLIN);
		else
			break;
	}
	printf("drained: %d\n", got == sent);
	diff_until(c, POLLOUT);
	POLL(c, POLLOUT | POLLIN, 0);
}

static void *
reader(void *arg)
{
	static char in[100000];
	int s = *(int *)arg;
	uint64_t sum = 0;
	ssize_t r, i, n = 0;

	while ((r = read(s, in, sizeof(in))) > 0) {
		for (i = 0; i < r; i++)
			sum += (uint64_t)(uint8_t)in[i] * (uint64_t)((n + i) % 251 + 1);
		n += r;
	}
	printf("read %zd, sum %lu\n", n, sum);
	return NULL;
}

CASE(tcp_big_blocking_write)
{
	size_t n = 5000000, i;
	char *data = malloc(n);
	struct iovec iov[3];
	pthread_t t;
	int c, s;

	for (i = 0; i < n; i++)
		data[i] = (char)(i * 7 + i / 4096);
	diff_pair(&c, &s);
	pthread_create(&t, NULL, reader, &s);
	CALL(write(c, data, n));
	iov[0] = (struct iovec){data, 1000000};
	iov[1] = (struct iovec){data, 0};
	iov[2] = (struct iovec){data + 1000000, n - 1000000};
	CALL(writev(c, iov, 3));
	close(c);
	pthread_join(t, NULL);
	free(data);
}

CASE(tcp_vectors)
{
	char a[3], b[5], ctl[64];
	struct iovec in[2] = {{a, 3}, {b, 5}}, out[2] = {{"12", 2}, {"34567", 5}};
	struct msghdr m = {.msg_iov = in, .msg_iovlen = 2};
	struct sockaddr_in name;
	int c, s;

	diff_pair(&c, &s);
	CALL(writev(c, out, 2));
	diff_readable(s, 7);
	CALL(readv(s, in, 2));
	printf("%.3s %.4s\n", a, b);
	CALL(readv(s, in, -1));
	CALL(readv(s, in, 2000));
	CALL(writev(c, out, 0));
	m.msg_iov = out;
	CALL(sendmsg(c, &m, 0));
	diff_readable(s, 7);
	m = (struct msghdr){.msg_iov = in,
			    .msg_iovlen = 2,
			    .msg_name = &name,
			    .msg_namelen = sizeof(name),
			    .msg_control = ctl,
			    .msg_controllen = sizeof(ctl)};
	CALL(recvmsg(s, &m, 0));
	printf("name %u, control %zu, flags %#x\n", m.msg_namelen, m.msg_controllen, m.msg_flags);
	CALL(sendto(c, "q", 1, 0, NULL, 0));
	{
		socklen_t len = sizeof(name);
		CALL(recvfrom(s, buf, 5, 0, (struct sockaddr *)&name, &len));
		printf("length %u\n", len);
	}
}

CASE(tcp_timeouts)
{
	struct timeval tv = {0, 120000}, back;
	socklen_t len = sizeof(back);
	uint64_t t0;
	int c, s, l, port;

	diff_pair(&c, &s);
	CALL(setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)));
	CALL(getsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &back, &len));
	printf("%ld.%03ld\n", back.tv_sec, back.tv_usec / 1000);
	t0 = diff_ms();
	CALL(recv(s, buf, 1, 0));
	t0 = diff_ms() - t0;
	printf("in time %d\n", t0 >= 100 && t0 < 1000);
	send(c, "abc", 3, 0);
	CALL(recv(s, buf, 10, MSG_WAITALL));
	l = diff_listen(&port);
	CALL(setsockopt(l, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)));
	t0 = diff_ms();
	CALL(accept(l, NULL, NULL));
	t0 = diff_ms() - t0;
	printf("in time %d\n", t0 >= 100 && t0 < 1000);
	tv.tv_usec = 2000000;
	CALL(setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)));
	CALL(setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &tv, 3));
}

#define GET(fd, level, name)                                 \
	do {                                                 \
		int v = -77;                                 \
		socklen_t len = sizeof(v);                   \
		CALL(getsockopt(fd, level, name, &v, &len)); \
		printf(#name " %d, length %u\n", v, len);    \
	} while (0)

static void
options(int s)
{
	GET(s, SOL_SOCKET, SO_TYPE);
	GET(s, SOL_SOCKET, SO_DOMAIN);
	GET(s, SOL_SOCKET, SO_PROTOCOL);
	GET(s, SOL_SOCKET, SO_ERROR);
	GET(s, SOL_SOCKET, SO_ACCEPTCONN);
	GET(s, SOL_SOCKET, SO_REUSEADDR);
	GET(s, SOL_SOCKET, SO_REUSEPORT);
	GET(s, SOL_SOCKET, SO_KEEPALIVE);
	GET(s, SOL_SOCKET, SO_BROADCAST);
	GET(s, IPPROTO_TCP, TCP_NODELAY);
	GET(s, SOL_SOCKET, 9999);
	GET(s, 4711, 1);
}

CASE(tcp_options)
{
	int c, s, one = 1, big = 5;
	struct linger l = {0};
	socklen_t len = sizeof(l);

	s = socket(AF_INET, SOCK_STREAM, 0);
	options(s);
	CALL(setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)));
	CALL(setsockopt(s, SOL_SOCKET, SO_KEEPALIVE, &big, sizeof(big)));
	CALL(setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)));
	CALL(setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, 2));
	CALL(setsockopt(s, SOL_SOCKET, 9999, &one, sizeof(one)));
	CALL(setsockopt(s, SOL_SOCKET, SO_TYPE, &one, sizeof(one)));
	options(s);
	CALL(getsockopt(s, SOL_SOCKET, SO_LINGER, &l, &len));
	printf("linger %d %d\n", l.l_onoff, l.l_linger);
	l = (struct linger){1, 7};
	CALL(setsockopt(s, SOL_SOCKET, SO_LINGER, &l, sizeof(l)));
	l = (struct linger){0};
	CALL(getsockopt(s, SOL_SOCKET, SO_LINGER, &l, &len));
	printf("linger %d %d\n", l.l_onoff, l.l_linger);
	CALL(listen(s, 1));
	options(s);
	diff_pair(&c, &s);
	options(c);
	CALL(setsockopt(c, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one)));
	CALL(setsockopt(c, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)));
	options(c);
}

CASE(tcp_options_kept)
{
	int port, l = diff_listen(&port), s = socket(AF_INET, SOCK_STREAM, 0), one = 1;
	struct sockaddr_in sin = diff_addr(port);
	struct timeval tv = {3, 0};

	CALL(setsockopt(s, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one)));
	CALL(setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)));
	CALL(setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)));
	CALL(connect(s, (struct sockaddr *)&sin, sizeof(sin)));
	GET(s, SOL_SOCKET, SO_KEEPALIVE);
	GET(s, IPPROTO_TCP, TCP_NODELAY);
	GET(s, SOL_SOCKET, SO_RCVTIMEO);
	CALL(accept(l, NULL, NULL));
}

CASE(tcp_sendfile)
{
	char path[] = "/tmp/diff.XXXXXX";
	int f = mkstemp(path), c, s, i;
	off_t off = 1000;

	unlink(path);
	for (i = 0; i < 5000; i++)
		if (write(f, &i, 4) != 4)
			diff_die("write");
	diff_pair(&c, &s);
	CALL(sendfile(c, f, &off, 100));
	printf("offset %ld\n", off);
	diff_readable(s, 100);
	CALL(read(s, buf, 1000));
	memcpy(&i, buf, 4);
	printf("first %d\n", i);
	lseek(f, 19990, SEEK_SET);
	CALL(sendfile(c, f, NULL, 100));
	CALL(sendfile(c, f, NULL, 100));
	CALL(lseek(f, 0, SEEK_CUR));
	CALL(sendfile(f, c, NULL, 1));
	CALL(sendfile(c, -1, NULL, 1));
}

CASE(tcp_splice)
{
	int c, s, p[2];
	loff_t off = 0;

	diff_pair(&c, &s);
	if (pipe(p) < 0)
		diff_die("pipe");
	CALL(write(p[1], "into the socket", 15));
	CALL(splice(p[0], NULL, c, NULL, 4, 0));
	CALL(splice(p[0], NULL, c, NULL, 100, SPLICE_F_NONBLOCK));
	CALL(splice(p[0], NULL, c, NULL, 100, SPLICE_F_NONBLOCK));
	diff_readable(s, 15);
	CALL(splice(s, NULL, p[1], NULL, 7, 0));
	CALL(splice(s, NULL, p[1], NULL, 100, 0));
	CALL(read(p[0], buf, 100));
	printf("%.15s\n", buf);
	diff_nonblock(s);
	CALL(splice(s, NULL, p[1], NULL, 100, 0));
	CALL(splice(s, &off, p[1], NULL, 100, 0));
	CALL(splice(c, NULL, s, NULL, 100, 0));
	close(c);
	diff_until(s, POLLIN);
	CALL(splice(s, NULL, p[1], NULL, 100, 0));
}

CASE(tcp_streams)
{
	int c, s;
	FILE *f;

	diff_pair(&c, &s);
	f = fdopen(c, "r+");
	printf("stream %d, number %d\n", f != NULL, f && fileno(f) == c);
	CALL(fprintf(f, "line %d\n", 1));
	CALL(fflush(f));
	CALL(dprintf(s, "answer %s\n", "two"));
	diff_readable(s, 7);
	CALL(read(s, buf, 100));
	printf("%d\n", fgets(buf, 100, f) != NULL);
	printf("%s", buf);
	CALL(fclose(f));
	CALL(read(s, buf, 100));
	CALL(read(c, buf, 100));
}
