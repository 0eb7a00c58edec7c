/* SPDX-License-Identifier: BSD-3-Clause
 * UDP. */
#include "diff.h"

static char buf[70000];

CASE(udp_life)
{
	int pa, pb, a = diff_udp(&pa), b = diff_udp(&pb);
	struct sockaddr_in to = diff_addr(pb), from;
	socklen_t len = sizeof(from);

	POLL(a, POLLIN | POLLOUT | POLLRDHUP, 0);
	CALL(sendto(a, "one", 3, 0, (struct sockaddr *)&to, sizeof(to)));
	CALL(recvfrom(b, buf, sizeof(buf), 0, (struct sockaddr *)&from, &len));
	printf("from %s, right port %d, length %u\n", inet_ntoa(from.sin_addr),
	       ntohs(from.sin_port) == pa, len);
	CALL(sendto(a, "", 0, 0, (struct sockaddr *)&to, sizeof(to)));
	CALL(recvfrom(b, buf, sizeof(buf), 0, NULL, NULL));
	CALL(send(a, "x", 1, 0));
	CALL(sendto(a, "x", 1, 0, (struct sockaddr *)&to, 3));
	CALL(recv(b, buf, 1, MSG_DONTWAIT));
	CALL(listen(a, 1));
	CALL(accept(a, NULL, NULL));
	CALL(getpeername(a, (struct sockaddr *)&from, &len));
	CALL(shutdown(a, SHUT_WR));
}

CASE(udp_fresh)
{
	int s = CALL(socket(AF_INET, SOCK_DGRAM, 0)), port, b = diff_udp(&port);
	struct sockaddr_in sin = diff_addr(port);
	socklen_t len = sizeof(sin);

	POLL(s, POLLIN | POLLOUT | POLLWRNORM | POLLRDHUP, 0);
	CALL(recv(s, buf, 1, MSG_DONTWAIT));
	CALL(send(s, buf, 1, 0));
	CALL(sendto(s, "auto", 4, 0, (struct sockaddr *)&sin, sizeof(sin)));
	CALL(recv(b, buf, sizeof(buf), 0));
	CALL(getsockname(s, (struct sockaddr *)&sin, &len));
	printf("port %s\n", sin.sin_port ? "given" : "missing");
}

CASE(udp_truncation)
{
	int a, b, v = -1;
	struct iovec iov = {buf, 2};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};

	diff_udp_pair(&a, &b);
	send(a, "abcdef", 6, 0);
	diff_until(b, POLLIN);
	CALL(ioctl(b, FIONREAD, &v));
	printf("%d\n", v);
	CALL(recv(b, buf, 2, MSG_PEEK));
	CALL(recv(b, buf, 2, MSG_PEEK | MSG_TRUNC));
	CALL(recvmsg(b, &m, MSG_PEEK));
	printf("flags %#x\n", m.msg_flags);
	CALL(recv(b, buf, 2, MSG_TRUNC));
	CALL(recv(b, buf, 2, MSG_DONTWAIT));
	send(a, "12", 2, 0);
	send(a, "345", 3, 0);
	diff_until(b, POLLIN);
	CALL(recv(b, buf, 100, MSG_WAITALL));
	CALL(recv(b, buf, 0, 0));
	CALL(recv(b, buf, 2, MSG_DONTWAIT));
}

CASE(udp_connected)
{
	struct sockaddr un = {.sa_family = AF_UNSPEC};
	struct sockaddr_in peer;
	socklen_t len = sizeof(peer);
	int a, b, port, other = diff_udp(&port), err;
	struct sockaddr_in to = diff_addr(port), back;

	diff_udp_pair(&a, &b);
	CALL(getpeername(a, (struct sockaddr *)&peer, &len));
	CALL(write(a, "hi", 2));
	CALL(read(b, buf, 10));
	CALL(sendto(a, "there", 5, 0, (struct sockaddr *)&to, sizeof(to)));
	CALL(recv(other, buf, 10, 0));
	len = sizeof(back);
	getsockname(b, (struct sockaddr *)&back, &len);
	CALL(sendto(other, "no", 2, 0, (struct sockaddr *)&back, sizeof(back)));
	CALL(write(a, "yes", 3));
	CALL(read(b, buf, 10));
	CALL(connect(a, &un, sizeof(un)));
	CALL(getpeername(a, (struct sockaddr *)&peer, &len));
	CALL(write(a, "hi", 2));
	CALL(close(other));
	CALL(connect(a, (struct sockaddr *)&to, sizeof(to)));
	CALL(write(a, "refused", 7));
	diff_until(a, POLLIN);
	POLL(a, POLLIN | POLLOUT, 0);
	CALL(recv(a, buf, 10, MSG_DONTWAIT));
	CALL(recv(a, buf, 10, MSG_DONTWAIT));
	CALL(write(a, "again", 5));
	diff_until(a, POLLIN);
	len = sizeof(err);
	CALL(getsockopt(a, SOL_SOCKET, SO_ERROR, &err, &len));
	printf("%s\n", strerrorname_np(err));
}

CASE(udp_sizes)
{
	int a, b;

	diff_udp_pair(&a, &b);
	CALL(send(a, buf, 1472, 0));
	CALL(recv(b, buf, sizeof(buf), 0));
	CALL(send(a, buf, 65508, 0));
	CALL(send(a, buf, 70000, 0));
	CALL(recv(b, buf, sizeof(buf), MSG_DONTWAIT));
}

CASE(udp_many)
{
	struct iovec iov[4];
	struct mmsghdr m[4];
	struct timespec ts = {0, 50000000};
	int a, b, i;

	diff_udp_pair(&a, &b);
	memset(m, 0, sizeof(m));
	for (i = 0; i < 4; i++) {
		iov[i] = (struct iovec){buf + 100 * i, (size_t)i + 1};
		m[i].msg_hdr.msg_iov = &iov[i];
		m[i].msg_hdr.msg_iovlen = 1;
	}
	CALL(sendmmsg(a, m, 3, 0));
	printf("%u %u %u\n", m[0].msg_len, m[1].msg_len, m[2].msg_len);
	for (i = 0; i < 4; i++)
		iov[i].iov_len = 100;
	diff_settle();
	CALL(recvmmsg(b, m, 2, 0, NULL));
	printf("%u %u\n", m[0].msg_len, m[1].msg_len);
	CALL(recvmmsg(b, m, 4, MSG_WAITFORONE, NULL));
	printf("%u\n", m[0].msg_len);
	CALL(recvmmsg(b, m, 4, MSG_DONTWAIT, NULL));
	ts.tv_nsec = 2000000000;
	CALL(recvmmsg(b, m, 4, MSG_DONTWAIT, &ts));
}
