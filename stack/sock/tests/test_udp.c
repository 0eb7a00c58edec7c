/* SPDX-License-Identifier: BSD-3-Clause
 *
 * UDP sockets between two hosts. */
#include "stack/sock/tests/pair.h"

#include <linux/errqueue.h>
#include <linux/udp.h>
#include <sys/ioctl.h>

static bool
readable(void *s)
{
	return uvs_sock_events(s) & EPOLLIN;
}

static bool
failed(void *s)
{
	return uvs_sock_events(s) & EPOLLERR;
}

static void
set(struct uvs_sock *s, int level, int name, int v)
{
	CHECK_EQ(uvs_sock_setsockopt(s, level, name, &v, sizeof(v)), 0);
}

static struct uvs_sock *
bound(int host, uint16_t port)
{
	struct uvs_sock *s = pair_socket(host, SOCK_DGRAM);
	struct sockaddr_in a = pair_addr(host, port);

	CHECK_EQ(uvs_sock_bind(s, (struct sockaddr *)&a, sizeof(a)), 0);
	return s;
}

static ssize_t
send_to(struct uvs_sock *s, struct sockaddr_in a, const void *data, size_t len)
{
	struct iovec iov = {(void *)(uintptr_t)data, len};
	struct msghdr m = {
		.msg_name = &a, .msg_namelen = sizeof(a), .msg_iov = &iov, .msg_iovlen = 1};

	return uvs_sock_sendmsg(s, &m, 0);
}

static ssize_t
recv_from(struct uvs_sock *s, void *buf, size_t len, struct sockaddr_in *a, int flags)
{
	struct iovec iov = {buf, len};
	struct msghdr m = {.msg_name = a,
			   .msg_namelen = a != NULL ? sizeof(*a) : 0,
			   .msg_iov = &iov,
			   .msg_iovlen = 1};

	return uvs_sock_recvmsg(s, &m, flags);
}

static void
test_levels(void)
{
	struct uvs_sock *s = bound(1, 600), *c = pair_socket(0, SOCK_DGRAM);
	struct sockaddr_in from;
	char buf[16];
	uint32_t seq;

	CHECK_EQ(uvs_sock_events(c), EPOLLOUT);
	CHECK_EQ(pair_send(c, "x", 1), -EDESTADDRREQ);
	CHECK_EQ(pair_recv(c, buf, 1), -EAGAIN);
	CHECK_EQ(uvs_sock_listen(c, 1), -EOPNOTSUPP);
	seq = uvs_sock_seq(s);
	CHECK_EQ(send_to(c, pair_addr(1, 600), "one", 3), 3);
	CHECK(pair_until(readable, s));
	CHECK_EQ(uvs_sock_events(s), EPOLLIN | EPOLLOUT);
	CHECK_EQ(send_to(c, pair_addr(1, 600), "", 0), 0);
	pair_run(2);
	CHECK_EQ(uvs_sock_seq(s), seq + 2);
	CHECK_EQ(recv_from(s, buf, sizeof(buf), &from, 0), 3);
	CHECK_EQ(from.sin_addr.s_addr, inet_addr("10.0.0.1"));
	CHECK_EQ(uvs_sock_events(s), EPOLLIN | EPOLLOUT);
	CHECK_EQ(recv_from(s, buf, sizeof(buf), NULL, 0), 0); /* an empty datagram */
	CHECK_EQ(uvs_sock_events(s), EPOLLOUT);
	CHECK_EQ(send_to(s, from, "back", 4), 4);
	CHECK(pair_until(readable, c));
	CHECK_EQ(uvs_sock_shutdown(c, SHUT_RD), -ENOTCONN);
	uvs_sock_put(c);
	uvs_sock_put(s);
}

static void
test_truncation(void)
{
	struct uvs_sock *s = bound(1, 601), *c = pair_socket(0, SOCK_DGRAM);
	char buf[4];
	struct iovec iov = {buf, sizeof(buf)};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
	int n;

	CHECK_EQ(send_to(c, pair_addr(1, 601), "0123456789", 10), 10);
	CHECK_EQ(send_to(c, pair_addr(1, 601), "ab", 2), 2);
	CHECK(pair_until(readable, s));
	pair_run(1);
	CHECK_EQ(uvs_sock_ioctl(s, FIONREAD, &n), 0);
	CHECK_EQ(n, 10);
	CHECK_EQ(uvs_sock_recvmsg(s, &m, MSG_PEEK | MSG_TRUNC), 10);
	CHECK(m.msg_flags & MSG_TRUNC);
	CHECK_EQ(uvs_sock_recvmsg(s, &m, 0), 4);
	CHECK(memcmp(buf, "0123", 4) == 0 && (m.msg_flags & MSG_TRUNC));
	CHECK_EQ(uvs_sock_recvmsg(s, &m, 0), 2); /* the rest of the first is gone */
	CHECK_EQ(m.msg_flags & MSG_TRUNC, 0);
	uvs_sock_put(c);
	uvs_sock_put(s);
}

/* A connected socket hears its peer only, and of the peer's port being closed. */
static void
test_connected(void)
{
	struct uvs_sock *s = bound(1, 602), *other = bound(1, 603), *c = pair_socket(0, SOCK_DGRAM);
	struct sockaddr_in a = pair_addr(1, 602), me;
	socklen_t len = sizeof(me);
	char buf[8];

	CHECK_EQ(uvs_sock_getpeername(c, (struct sockaddr *)&me, &len), -ENOTCONN);
	CHECK_EQ(uvs_sock_connect(c, (struct sockaddr *)&a, sizeof(a)), 0);
	CHECK_EQ(uvs_sock_getpeername(c, (struct sockaddr *)&me, &len), 0);
	CHECK_EQ(ntohs(me.sin_port), 602);
	CHECK_EQ(uvs_sock_getsockname(c, (struct sockaddr *)&me, &len), 0);
	CHECK_EQ(me.sin_addr.s_addr, inet_addr("10.0.0.1"));
	CHECK_EQ(send_to(other, me, "stray", 5), 5);
	pair_run(2);
	CHECK(!readable(c));
	CHECK_EQ(send_to(s, me, "mine", 4), 4);
	CHECK(pair_until(readable, c));
	CHECK_EQ(pair_recv(c, buf, sizeof(buf)), 4);
	CHECK_EQ(pair_send(c, "x", 1), 1);
	CHECK(pair_until(readable, s));

	uvs_sock_put(s);
	CHECK_EQ(pair_send(c, "x", 1), 1);
	CHECK(pair_until(failed, c));
	CHECK_EQ(pair_recv(c, buf, 1), -ECONNREFUSED);
	CHECK_EQ(uvs_sock_events(c), EPOLLOUT);
	CHECK_EQ(pair_send(c, "x", 1), 1);
	CHECK(pair_until(failed, c));
	CHECK_EQ(pair_send(c, "x", 1), -ECONNREFUSED);
	a.sin_family = AF_UNSPEC;
	CHECK_EQ(uvs_sock_connect(c, (struct sockaddr *)&a, sizeof(a)), 0);
	CHECK_EQ(pair_send(c, "x", 1), -EDESTADDRREQ);
	uvs_sock_put(c);
	uvs_sock_put(other);
}

static void
test_large(void)
{
	struct uvs_sock *s = bound(1, 604), *c = pair_socket(0, SOCK_DGRAM);
	static uint8_t out[65508], in[65508];
	static const size_t sizes[] = {1472, 1473, 3000, 8192, 65507};

	set(s, SOL_SOCKET, SO_RCVBUF, 1 << 20);
	for (size_t i = 0; i < sizeof(out); i++)
		out[i] = (uint8_t)(i * 7 + (i >> 8));
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		CHECK_EQ(send_to(c, pair_addr(1, 604), out, sizes[i]), (ssize_t)sizes[i]);
		CHECK(pair_until(readable, s));
		CHECK_EQ(recv_from(s, in, sizeof(in), NULL, 0), (ssize_t)sizes[i]);
		CHECK(memcmp(in, out, sizes[i]) == 0);
	}
	CHECK_EQ(send_to(c, pair_addr(1, 604), out, 65508), -EMSGSIZE);
	uvs_sock_put(c);
	uvs_sock_put(s);
}

/* Fragments of which one is lost are forgotten in time. */
static void
test_lost_fragment(void)
{
	struct uvs_sock *s = bound(1, 605), *c = pair_socket(0, SOCK_DGRAM);
	static uint8_t out[8000];

	pair_drop(0, 1);
	CHECK_EQ(send_to(c, pair_addr(1, 605), out, sizeof(out)), (ssize_t)sizeof(out));
	pair_run(2);
	CHECK(!readable(s));
	pair_warp(20000);
	uvs_sock_put(c);
	uvs_sock_put(s);
}

static void
test_buffer_limit(void)
{
	struct uvs_sock *s = bound(1, 606), *c = pair_socket(0, SOCK_DGRAM);
	uint64_t before = hosts[1]->seen->lost[UVS_LOST_UDP_RCVBUF_FULL].count;
	unsigned int got = 0;
	char buf[1000] = "";

	set(s, SOL_SOCKET, SO_RCVBUF, 10000); /* holds 20000 */
	for (int i = 0; i < 100; i++) {
		CHECK_EQ(send_to(c, pair_addr(1, 606), buf, sizeof(buf)), (ssize_t)sizeof(buf));
		pair_poll();
	}
	pair_run(2);
	while (pair_recv(s, buf, sizeof(buf)) > 0)
		got++;
	CHECK(got >= 10 && got <= 20);
	CHECK_EQ(hosts[1]->seen->lost[UVS_LOST_UDP_RCVBUF_FULL].count - before, 100 - got);
	CHECK_EQ(send_to(c, pair_addr(1, 606), buf, 1), 1);
	CHECK(pair_until(readable, s));
	uvs_sock_put(c);
	uvs_sock_put(s);
}

static void
test_broadcast(void)
{
	struct uvs_sock *s = pair_socket(1, SOCK_DGRAM), *c = pair_socket(0, SOCK_DGRAM);
	struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(607)};
	struct sockaddr_in all = pair_addr(0, 607);
	char buf[8];

	CHECK_EQ(uvs_sock_bind(s, (struct sockaddr *)&any, sizeof(any)), 0);
	all.sin_addr.s_addr = inet_addr("10.0.0.255");
	CHECK_EQ(send_to(c, all, "x", 1), -EACCES);
	CHECK_EQ(uvs_sock_connect(c, (struct sockaddr *)&all, sizeof(all)), -EACCES);
	set(c, SOL_SOCKET, SO_BROADCAST, 1);
	CHECK_EQ(send_to(c, all, "x", 1), 1);
	CHECK(pair_until(readable, s));
	CHECK_EQ(pair_recv(s, buf, sizeof(buf)), 1);
	all.sin_addr.s_addr = INADDR_BROADCAST;
	CHECK_EQ(send_to(c, all, "yy", 2), 2);
	CHECK(pair_until(readable, s));
	CHECK_EQ(pair_recv(s, buf, sizeof(buf)), 2);
	uvs_sock_put(c);
	uvs_sock_put(s);
}

static void
test_pktinfo(void)
{
	struct uvs_sock *s = pair_socket(1, SOCK_DGRAM), *c = pair_socket(0, SOCK_DGRAM);
	struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(608)};
	char buf[8], control[CMSG_SPACE(sizeof(struct in_pktinfo))];
	struct iovec iov = {buf, sizeof(buf)};
	struct msghdr m = {.msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = control,
			   .msg_controllen = sizeof(control)};
	struct in_pktinfo info;
	struct cmsghdr *h;

	set(s, IPPROTO_IP, IP_PKTINFO, 1);
	CHECK_EQ(uvs_sock_bind(s, (struct sockaddr *)&any, sizeof(any)), 0);
	CHECK_EQ(send_to(c, pair_addr(1, 608), "x", 1), 1);
	CHECK_EQ(send_to(c, pair_addr(1, 608), "y", 1), 1);
	CHECK(pair_until(readable, s));
	pair_run(1);
	CHECK_EQ(uvs_sock_recvmsg(s, &m, 0), 1);
	h = CMSG_FIRSTHDR(&m);
	CHECK(h != NULL && h->cmsg_level == IPPROTO_IP && h->cmsg_type == IP_PKTINFO);
	memcpy(&info, CMSG_DATA(h), sizeof(info));
	CHECK_EQ(info.ipi_addr.s_addr, inet_addr("10.0.0.2"));
	CHECK_EQ(info.ipi_ifindex, UVS_IFINDEX);
	m.msg_controllen = 4;
	CHECK_EQ(uvs_sock_recvmsg(s, &m, 0), 1);
	CHECK(m.msg_flags & MSG_CTRUNC);
	CHECK_EQ(m.msg_controllen, 0);
	uvs_sock_put(c);
	uvs_sock_put(s);
}

static void
test_ports(void)
{
	struct uvs_sock *a = bound(1, 609), *b = pair_socket(1, SOCK_DGRAM);
	struct sockaddr_in in = pair_addr(1, 609);
	socklen_t len = sizeof(in);

	CHECK_EQ(uvs_sock_bind(b, (struct sockaddr *)&in, sizeof(in)), -EADDRINUSE);
	set(a, SOL_SOCKET, SO_REUSEADDR, 1);
	CHECK_EQ(uvs_sock_bind(b, (struct sockaddr *)&in, sizeof(in)), -EADDRINUSE);
	set(b, SOL_SOCKET, SO_REUSEADDR, 1);
	CHECK_EQ(uvs_sock_bind(b, (struct sockaddr *)&in, sizeof(in)), 0);
	uvs_sock_put(b);
	b = pair_socket(1, SOCK_DGRAM);
	in.sin_port = 0;
	CHECK_EQ(uvs_sock_bind(b, (struct sockaddr *)&in, sizeof(in)), 0);
	CHECK_EQ(uvs_sock_getsockname(b, (struct sockaddr *)&in, &len), 0);
	CHECK(ntohs(in.sin_port) >= 32768);
	uvs_sock_put(a);
	uvs_sock_put(b);
}

static void
test_hairpin(void)
{
	struct uvs_sock *a = bound(1, 610), *b = pair_socket(1, SOCK_DGRAM);
	static uint8_t out[30000], in[30000];

	out[29999] = 9;
	CHECK_EQ(send_to(b, pair_addr(1, 610), out, sizeof(out)), (ssize_t)sizeof(out));
	CHECK(readable(a)); /* within the call */
	CHECK_EQ(pair_recv(a, in, sizeof(in)), (ssize_t)sizeof(in));
	CHECK(memcmp(in, out, sizeof(in)) == 0);
	CHECK_EQ(send_to(b, pair_addr(1, 610), out, 2), 2);
	uvs_sock_put(a);
	uvs_sock_put(b);
}

/* UDP_GRO: so many of one flow and one length come together, and no more. */
static void
test_rows(void)
{
	struct uvs_sock *s = bound(1, 611), *c = bound(0, 612);
	static uint8_t out[100], in[65536];

	set(s, IPPROTO_UDP, UDP_GRO, 1);
	for (int i = 0; i < 70; i++)
		CHECK_EQ(send_to(c, pair_addr(1, 611), out, sizeof(out)), sizeof(out));
	CHECK_EQ(send_to(c, pair_addr(1, 611), out, 10), 10);
	CHECK_EQ(send_to(c, pair_addr(1, 611), out, 10), 10);
	pair_run(2);
	CHECK_EQ(pair_recv(s, in, sizeof(in)), 6400);
	CHECK_EQ(pair_recv(s, in, sizeof(in)), 610);
	CHECK_EQ(pair_recv(s, in, sizeof(in)), 10);
	CHECK_EQ(pair_recv(s, in, sizeof(in)), -EAGAIN);
	for (int i = 0; i < 50; i++)
		CHECK_EQ(send_to(c, pair_addr(1, 611), in, 1472), 1472);
	pair_run(2);
	CHECK_EQ(pair_recv(s, in, sizeof(in)), 44 * 1472);
	CHECK_EQ(pair_recv(s, in, sizeof(in)), 6 * 1472);
	uvs_sock_put(c);
	uvs_sock_put(s);
}

/* IP_MTU_DISCOVER: what would be cut up is refused, and the error queue says what would fit. */
static void
test_not_to_be_cut(void)
{
	struct uvs_sock *s = pair_socket(0, SOCK_DGRAM);
	struct sockaddr_in to = pair_addr(1, 613);
	static uint8_t out[1473];
	char control[128];
	struct msghdr m = {.msg_control = control, .msg_controllen = sizeof(control)};
	struct sock_extended_err e;
	int mtu = 0;
	socklen_t len = sizeof(mtu);

	set(s, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO);
	CHECK_EQ(send_to(s, to, out, 1472), 1472);
	CHECK_EQ(send_to(s, to, out, 1473), -EMSGSIZE);
	CHECK_EQ(uvs_sock_recvmsg(s, &m, MSG_ERRQUEUE), -EAGAIN);
	set(s, IPPROTO_IP, IP_RECVERR, 1);
	CHECK_EQ(send_to(s, to, out, 1473), -EMSGSIZE);
	CHECK_EQ(uvs_sock_events(s), EPOLLOUT | EPOLLERR);
	CHECK_EQ(uvs_sock_recvmsg(s, &m, MSG_ERRQUEUE), 0);
	CHECK_EQ(CMSG_FIRSTHDR(&m)->cmsg_type, IP_RECVERR);
	memcpy(&e, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(e));
	CHECK_EQ(e.ee_errno, EMSGSIZE);
	CHECK_EQ(e.ee_origin, SO_EE_ORIGIN_LOCAL);
	CHECK_EQ(e.ee_info, 1500);
	CHECK_EQ(uvs_sock_getsockopt(s, IPPROTO_IP, IP_MTU, &mtu, &len), -ENOTCONN);
	CHECK_EQ(uvs_sock_connect(s, (struct sockaddr *)&to, sizeof(to)), 0);
	CHECK_EQ(uvs_sock_getsockopt(s, IPPROTO_IP, IP_MTU, &mtu, &len), 0);
	CHECK_EQ(mtu, 1500);
	uvs_sock_put(s);
	pair_run(1);
}

/* Errors that nobody fetches share the receive buffer's limit, and go with the socket. */
static void
test_errors_are_bounded(void)
{
	struct uvs_sock *s = pair_socket(0, SOCK_DGRAM);
	unsigned int n = 0;
	struct msghdr m = {0};

	set(s, SOL_SOCKET, SO_RCVBUF, 2000);
	set(s, IPPROTO_IP, IP_RECVERR, 1);
	for (int i = 0; i < 45; i++) { /* a burst of ICMP errors is 50 */
		while (send_to(s, pair_addr(1, 614), "x", 1) != 1)
			;
		pair_run(1);
	}
	while (uvs_sock_recvmsg(s, &m, MSG_ERRQUEUE) >= 0)
		n++;
	CHECK(n > 5 && n < 45);
	CHECK_EQ(send_to(s, pair_addr(1, 614), "x", 1), 1);
	pair_run(1);
	CHECK(failed(s));
	uvs_sock_put(s);
}

/* One entry into the stack, one burst of frames, for many datagrams. */
static void
test_many_at_once(void)
{
	struct uvs_sock *s = bound(1, 615), *c = bound(0, 616);
	struct sockaddr_in to = pair_addr(1, 615);
	struct mmsghdr v[16] = {0};
	char buf[16][8];
	struct iovec iov[16];
	uint64_t bursts;

	CHECK_EQ(uvs_sock_connect(c, (struct sockaddr *)&to, sizeof(to)), 0);
	CHECK_EQ(pair_send(c, "x", 1), 1);
	pair_run(1);
	CHECK_EQ(pair_recv(s, buf[0], 1), 1);
	for (int i = 0; i < 16; i++) {
		iov[i] = (struct iovec){buf[i], (size_t)i % 8 + 1};
		v[i].msg_hdr.msg_iov = &iov[i];
		v[i].msg_hdr.msg_iovlen = 1;
	}
	bursts = hosts[0]->seen->port.tx_bursts;
	CHECK_EQ(uvs_sock_sendmmsg(c, v, 16, 0), 16);
	CHECK_EQ(hosts[0]->seen->port.tx_bursts, bursts + 1);
	pair_run(1);
	for (int i = 0; i < 16; i++)
		iov[i].iov_len = 8;
	CHECK_EQ(uvs_sock_recvmmsg(s, v, 10, 0), 10);
	CHECK_EQ(v[9].msg_len, 2);
	CHECK_EQ(uvs_sock_recvmmsg(s, v, 10, 0), 6);
	CHECK_EQ(uvs_sock_recvmmsg(s, v, 10, 0), -EAGAIN);
	uvs_sock_put(c);
	uvs_sock_put(s);
}

/* A round of the host that receives: how many frames it has handled. */
static unsigned int
round_of_receiver(void)
{
	unsigned int n;

	CHECK(uvs_inst_enter(hosts[1]));
	n = uvs_inst_poll(hosts[1]);
	uvs_inst_leave(hosts[1]);
	return n;
}

#define FLOOD 200

/* One sender floods, another sends one datagram behind it: a round does no more than its budget, so
 * that who reads has his turn in between, and what waits behind the flood comes with the rounds. */
static void
test_budget(void)
{
	struct uvs_sock *flooded = bound(1, 7100), *other = bound(1, 7101);
	struct uvs_sock *flood = bound(0, 0), *single = bound(0, 0);
	uint64_t squeezed;
	char buf[10];
	int read = 0;

	CHECK_EQ(send_to(flood, pair_addr(1, 7100), "arp", 3), 3);
	CHECK(pair_until(readable, flooded));
	CHECK_EQ(recv_from(flooded, buf, sizeof(buf), NULL, 0), 3);
	pair_budget(64);
	squeezed = hosts[1]->seen->loop.time_squeeze;
	for (int i = 0; i < FLOOD; i++)
		CHECK_EQ(send_to(flood, pair_addr(1, 7100), "flood", 5), 5);
	CHECK_EQ(send_to(single, pair_addr(1, 7101), "one", 3), 3);
	for (int i = 1; i <= 4; i++) {
		CHECK_EQ(round_of_receiver(), i < 4 ? 64 : FLOOD + 1 - 3 * 64);
		CHECK_EQ(hosts[1]->seen->loop.time_squeeze - squeezed, i < 4 ? i : 3);
		CHECK_EQ(readable(other), i == 4);
		while (recv_from(flooded, buf, sizeof(buf), NULL, 0) == 5)
			read++;
	}
	CHECK_EQ(read, FLOOD);
	pair_budget(128);
	uvs_sock_put(flooded);
	uvs_sock_put(other);
	uvs_sock_put(flood);
	uvs_sock_put(single);
}

static const struct {
	const char *name;
	void (*run)(void);
} tests[] = {
	{"levels", test_levels},
	{"truncation", test_truncation},
	{"connected", test_connected},
	{"large", test_large},
	{"lost_fragment", test_lost_fragment},
	{"buffer_limit", test_buffer_limit},
	{"broadcast", test_broadcast},
	{"pktinfo", test_pktinfo},
	{"ports", test_ports},
	{"hairpin", test_hairpin},
	{"rows", test_rows},
	{"not_to_be_cut", test_not_to_be_cut},
	{"errors_are_bounded", test_errors_are_bounded},
	{"many_at_once", test_many_at_once},
	{"budget", test_budget},
};

int
main(int argc, char **argv)
{
	pair_start(0);
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		if (argc > 1 && strcmp(argv[1], tests[i].name) != 0)
			continue;
		fprintf(stderr, "%s", tests[i].name);
		tests[i].run();
		pair_run(1);
		for (int h = 0; h < 2; h++) {
			CHECK_EQ(uvs_mem_avail(&hosts[h]->mem), hosts[h]->mem.total);
			CHECK_EQ(hosts[h]->mem.heap_bytes, 0);
		}
		fprintf(stderr, " ok\n");
	}
	pair_stop();
	return 0;
}
