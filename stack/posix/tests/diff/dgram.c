/* SPDX-License-Identifier: BSD-3-Clause
 * What UDP sockets can do beyond sending and receiving, over IPv4 and IPv6: the error queue,
 * control messages, segments, datagrams in pieces, ports that are shared. */
#include "diff.h"

#include <linux/errqueue.h>
#include <linux/udp.h>
#include <sys/time.h>

#define SHOWN 512

static char buf[70000];

struct name {
	union {
		struct sockaddr sa;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	};
	socklen_t len;
};

static struct name
name_of(int family, uint16_t port)
{
	struct name n = {.in = diff_addr(port), .len = sizeof(n.in)};

	if (family == AF_INET6) {
		n.in6 = (struct sockaddr_in6){.sin6_family = AF_INET6,
					      .sin6_addr = in6addr_loopback,
					      .sin6_port = htons(port)};
		n.len = sizeof(n.in6);
	}
	return n;
}

static int
opened(int family, struct name *n)
{
	int s = socket(family, SOCK_DGRAM, 0);

	*n = name_of(family, 0);
	if (s < 0 || bind(s, &n->sa, n->len) < 0 || getsockname(s, &n->sa, &n->len) < 0)
		diff_die("udp socket");
	return s;
}

/* A port that nobody has any more. */
static struct name
nobody(int family)
{
	struct name n;

	close(opened(family, &n));
	return n;
}

static void
set(int s, int level, int name, int v)
{
	printf("option %d/%d = %d: ", level, name, v);
	CALL(setsockopt(s, level, name, &v, sizeof(v)));
}

static const char *
text_of(const void *sa, int *port)
{
	static char text[INET6_ADDRSTRLEN];
	const struct sockaddr_in *in = sa;
	const struct sockaddr_in6 *in6 = sa;

	*port = ntohs(in->sin_port);
	if (in->sin_family == AF_INET)
		return inet_ntop(AF_INET, &in->sin_addr, text, sizeof(text));
	if (in->sin_family == AF_INET6)
		return inet_ntop(AF_INET6, &in6->sin6_addr, text, sizeof(text));
	return "nobody";
}

static void
show_error(const struct cmsghdr *c)
{
	struct {
		struct sock_extended_err ee;
		struct sockaddr_in6 offender;
	} e = {0};
	int port;

	memcpy(&e, CMSG_DATA(c), c->cmsg_len - CMSG_LEN(0));
	printf("  error %s origin %u type %u code %u info %u from %s, %zu bytes\n",
	       strerrorname_np((int)e.ee.ee_errno), e.ee.ee_origin, e.ee.ee_type, e.ee.ee_code,
	       e.ee.ee_info, text_of(&e.offender, &port), c->cmsg_len - CMSG_LEN(0));
}

static void
show_pktinfo4(const struct cmsghdr *c)
{
	struct in_pktinfo info;
	char spec[INET_ADDRSTRLEN], addr[INET_ADDRSTRLEN];

	memcpy(&info, CMSG_DATA(c), sizeof(info));
	printf("  at %s for %s\n", inet_ntop(AF_INET, &info.ipi_spec_dst, spec, sizeof(spec)),
	       inet_ntop(AF_INET, &info.ipi_addr, addr, sizeof(addr)));
}

static void
show_pktinfo6(const struct cmsghdr *c)
{
	struct in6_pktinfo info;
	char addr[INET6_ADDRSTRLEN];

	memcpy(&info, CMSG_DATA(c), sizeof(info));
	printf("  for %s\n", inet_ntop(AF_INET6, &info.ipi6_addr, addr, sizeof(addr)));
}

static void
show_number(const struct cmsghdr *c)
{
	int v = 0;

	memcpy(&v, CMSG_DATA(c), c->cmsg_len - CMSG_LEN(0) < sizeof(v) ? 1 : sizeof(v));
	printf("  %d/%d = %d, %zu bytes\n", c->cmsg_level, c->cmsg_type, v,
	       c->cmsg_len - CMSG_LEN(0));
}

static void
show_time(const struct cmsghdr *c)
{
	struct timeval now, then;

	gettimeofday(&now, NULL);
	memcpy(&then, CMSG_DATA(c), sizeof(then));
	printf("  %d/%d: %s, %zu bytes\n", c->cmsg_level, c->cmsg_type,
	       now.tv_sec - then.tv_sec < 20 ? "now" : "another time", c->cmsg_len - CMSG_LEN(0));
}

static void
show_control(struct msghdr *m)
{
	struct cmsghdr *c;

	for (c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		if ((c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR) ||
		    (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR))
			show_error(c);
		else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO)
			show_pktinfo4(c);
		else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO)
			show_pktinfo6(c);
		else if (c->cmsg_level == SOL_SOCKET)
			show_time(c);
		else
			show_number(c);
	}
}

/* recvmsg() with all that it says; port: the one that the name is to have. */
static void
receive(int s, int flags, size_t room, const struct name *from)
{
	char control[SHOWN];
	struct name n = {.len = sizeof(n.in6)};
	struct iovec iov = {buf, room};
	struct msghdr m = {.msg_name = &n.sa,
			   .msg_namelen = n.len,
			   .msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = control,
			   .msg_controllen = sizeof(control)};
	int port;

	memset(buf, 0, 64);
	if (CALL(recvmsg(s, &m, flags)) < 0)
		return;
	printf(" flags %#x, name %s", m.msg_flags, text_of(&n.sa, &port));
	printf(" of %u bytes, %s port, \"%.20s\"\n", m.msg_namelen,
	       from && port == ntohs(from->in.sin_port) ? "the right" : "another", buf);
	show_control(&m);
}

/* ------------------------------------------------------------------------------------ error queue
 */

static void
errors(int family)
{
	struct name me, to = nobody(family);
	int s = opened(family, &me), err;
	socklen_t len = sizeof(err);
	bool v6 = family == AF_INET6;

	/* Not connected, and not asked for: nobody hears of it. */
	CALL(sendto(s, "lost", 4, 0, &to.sa, to.len));
	diff_settle();
	POLL(s, POLLIN | POLLOUT, 0);
	CALL(recv(s, buf, 10, MSG_DONTWAIT));
	receive(s, MSG_ERRQUEUE, 100, &to);

	set(s, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_RECVERR : IP_RECVERR, 1);
	CALL(sendto(s, "first datagram", 14, 0, &to.sa, to.len));
	diff_until(s, POLLIN);
	POLL(s, POLLIN | POLLOUT, 0);
	CALL(getsockopt(s, SOL_SOCKET, SO_ERROR, &err, &len));
	printf("%s\n", strerrorname_np(err));
	POLL(s, POLLIN | POLLOUT, 0);
	CALL(sendto(s, "second", 6, 0, &to.sa, to.len));
	diff_settle();
	receive(s, MSG_ERRQUEUE, 5, &to);
	POLL(s, POLLIN | POLLOUT, 0);
	CALL(recv(s, buf, 10, MSG_DONTWAIT));
	CALL(recv(s, buf, 10, MSG_DONTWAIT));
	receive(s, MSG_ERRQUEUE | MSG_DONTWAIT, 100, &to);
	receive(s, MSG_ERRQUEUE, 100, &to);
	POLL(s, POLLIN | POLLOUT, 0);

	CALL(connect(s, &to.sa, to.len));
	set(s, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_RECVPKTINFO : IP_PKTINFO, 1);
	CALL(send(s, "third", 5, 0));
	diff_until(s, POLLIN);
	CALL(send(s, "told", 4, 0));
	receive(s, MSG_ERRQUEUE, 100, &to);
}

CASE(udp_errqueue)
{
	errors(AF_INET);
}

CASE(udp6_errqueue)
{
	errors(AF_INET6);
}

/* ---------------------------------------------------------------------------------------- control
 */

CASE(udp_control)
{
	struct name a, b;
	int s = opened(AF_INET, &a), r = opened(AF_INET, &b);

	set(r, IPPROTO_IP, IP_PKTINFO, 1);
	set(r, IPPROTO_IP, IP_RECVTTL, 1);
	set(r, IPPROTO_IP, IP_RECVTOS, 1);
	set(s, IPPROTO_IP, IP_TTL, 7);
	set(s, IPPROTO_IP, IP_TOS, 0x10);
	CALL(sendto(s, "one", 3, 0, &b.sa, b.len));
	receive(r, 0, 100, &a);
	set(r, SOL_SOCKET, SO_TIMESTAMP, 1);
	CALL(sendto(s, "two", 3, 0, &b.sa, b.len));
	receive(r, MSG_PEEK, 100, &a);
	set(r, SOL_SOCKET, SO_TIMESTAMPNS, 1);
	receive(r, 0, 100, &a);
}

CASE(udp6_control)
{
	struct name a, b;
	int s = opened(AF_INET6, &a), r = opened(AF_INET6, &b);

	set(r, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
	set(r, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1);
	set(r, IPPROTO_IPV6, IPV6_RECVTCLASS, 1);
	set(s, IPPROTO_IPV6, IPV6_UNICAST_HOPS, 9);
	set(s, IPPROTO_IPV6, IPV6_TCLASS, 0x20);
	CALL(sendto(s, "six", 3, 0, &b.sa, b.len));
	receive(r, 0, 100, &a);
}

/* --------------------------------------------------------------------------------------- segments
 */

static void
send_with_segment(int s, size_t len, uint16_t segment)
{
	char control[CMSG_SPACE(sizeof(segment))] = "";
	struct iovec iov = {buf, len};
	struct msghdr m = {.msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = control,
			   .msg_controllen = sizeof(control)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	c->cmsg_level = IPPROTO_UDP;
	c->cmsg_type = UDP_SEGMENT;
	c->cmsg_len = CMSG_LEN(sizeof(segment));
	memcpy(CMSG_DATA(c), &segment, sizeof(segment));
	printf("%zu bytes by %u: ", len, segment);
	CALL(sendmsg(s, &m, 0));
}

static void
segments(int family)
{
	int v = -1, i, s, r;
	socklen_t len = sizeof(v);
	struct name a, b;

	s = opened(family, &a);
	r = opened(family, &b);
	CALL(connect(s, &b.sa, b.len));
	set(s, IPPROTO_UDP, UDP_SEGMENT, -1);
	set(s, IPPROTO_UDP, UDP_SEGMENT, 65536);
	set(s, IPPROTO_UDP, UDP_SEGMENT, 1000);
	CALL(getsockopt(s, IPPROTO_UDP, UDP_SEGMENT, &v, &len));
	printf("%d\n", v);
	CALL(send(s, buf, 3500, 0));
	for (i = 0; i < 4; i++)
		receive(r, 0, sizeof(buf), &a);
	CALL(send(s, buf, 900, 0));
	receive(r, 0, sizeof(buf), &a);
	send_with_segment(s, 700, 300);
	for (i = 0; i < 3; i++)
		receive(r, 0, sizeof(buf), &a);
	send_with_segment(s, 65000, 10);
	send_with_segment(s, 500, 0);
	receive(r, 0, sizeof(buf), &a);
	CALL(recv(r, buf, 10, MSG_DONTWAIT));
}

CASE(udp_segments)
{
	segments(AF_INET);
}

CASE(udp6_segments)
{
	segments(AF_INET6);
}

/* What is handed over as control messages, of which `room` bytes count. */
static void
send_with_control(int s, const void *control, size_t room)
{
	struct iovec iov = {buf, 10};
	struct msghdr m = {.msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = (void *)(uintptr_t)control,
			   .msg_controllen = room};

	CALL(sendmsg(s, &m, 0));
}

/* A message that is longer than its room, or shorter than its header; a rest that is none. */
CASE(udp_control_lengths)
{
	char control[48] __attribute__((aligned(8))) = "";
	struct cmsghdr *c = (struct cmsghdr *)(void *)control;
	size_t lengths[] = {0, 15, 16, 17, 19, 20, 21, 24, 1000, SIZE_MAX}, i;
	struct name a, b;
	int s = opened(AF_INET, &a), ttl = 5;

	opened(AF_INET, &b);
	CALL(connect(s, &b.sa, b.len));
	*c = (struct cmsghdr){.cmsg_level = IPPROTO_IP, .cmsg_type = IP_TTL};
	memcpy(CMSG_DATA(c), &ttl, sizeof(ttl));
	for (i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		c->cmsg_len = lengths[i];
		printf("a length of %zu: ", lengths[i]);
		send_with_control(s, control, 24);
	}
	c->cmsg_len = CMSG_LEN(sizeof(ttl));
	for (i = 0; i <= sizeof(control); i += 6) {
		printf("room of %zu: ", i);
		send_with_control(s, control, i);
	}
}

CASE(udp_rows)
{
	struct name a, b;
	int s = opened(AF_INET, &a), r = opened(AF_INET, &b);

	CALL(connect(s, &b.sa, b.len));
	set(r, IPPROTO_UDP, UDP_GRO, 1);
	set(s, IPPROTO_UDP, UDP_SEGMENT, 1000);
	CALL(send(s, buf, 3500, 0));
	receive(r, 0, sizeof(buf), &a);
	CALL(send(s, buf, 800, 0));
	receive(r, 0, sizeof(buf), &a);
	CALL(send(s, buf, 2000, 0));
	receive(r, 0, 1500, &a);
	CALL(recv(r, buf, 10, MSG_DONTWAIT));
}

/* ------------------------------------------------------------------------------------- in pieces
 */

CASE(udp_pieces)
{
	struct name a, b;
	int s = opened(AF_INET, &a), r = opened(AF_INET, &b);

	CALL(send(s, "x", 1, MSG_MORE));
	CALL(sendto(s, "one ", 4, MSG_MORE, &b.sa, b.len));
	CALL(recv(r, buf, 10, MSG_DONTWAIT));
	CALL(send(s, "two ", 4, MSG_MORE));
	CALL(send(s, "three", 5, 0));
	receive(r, 0, 100, &a);
	CALL(connect(s, &b.sa, b.len));
	set(s, IPPROTO_UDP, UDP_CORK, 1);
	CALL(write(s, "held", 4));
	CALL(write(s, " back", 5));
	CALL(recv(r, buf, 10, MSG_DONTWAIT));
	set(s, IPPROTO_UDP, UDP_CORK, 0);
	receive(r, 0, 100, &a);
	CALL(send(s, buf, 40000, MSG_MORE));
	CALL(send(s, buf, 40000, MSG_MORE));
	CALL(send(s, "end", 3, 0));
	diff_until(r, POLLIN);
	CALL(recv(r, buf, sizeof(buf), 0));
}

/* ---------------------------------------------------------------------------------- shared ports
 */

#define SHARERS 3
#define SENDERS 60

/* Each flow stays with one of them, and all get some. */
CASE(udp_reuseport)
{
	int s[SHARERS], got[SHARERS] = {0}, i, j, one = 1, total = 0, idle = 0;
	struct name n, from;

	for (i = 0; i < SHARERS; i++) {
		s[i] = socket(AF_INET, SOCK_DGRAM, 0);
		setsockopt(s[i], SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
		if (i == 0)
			n = name_of(AF_INET, 0);
		CALL(bind(s[i], &n.sa, n.len));
		n.len = sizeof(n.in);
		getsockname(s[i], &n.sa, &n.len);
	}
	for (j = 0; j < SENDERS; j++) {
		int c = opened(AF_INET, &from);

		for (i = 0; i < 2; i++)
			if (sendto(c, "x", 1, 0, &n.sa, n.len) != 1)
				diff_die("sendto");
		close(c);
	}
	diff_settle();
	for (i = 0; i < SHARERS; i++) {
		while (recv(s[i], buf, 10, MSG_DONTWAIT) == 1)
			got[i]++;
		total += got[i];
		idle += got[i] == 0 || got[i] % 2 != 0;
	}
	printf("%d arrived; %d got none or half a flow\n", total, idle);
}

/* The connected one goes first, then the one with the address, then the newest. */
CASE(udp_precedence)
{
	struct name any = name_of(AF_INET, 0), peer, n;
	int c = opened(AF_INET, &peer), s[4], i, one = 1;

	any.in.sin_addr.s_addr = INADDR_ANY;
	for (i = 0; i < 4; i++) {
		s[i] = socket(AF_INET, SOCK_DGRAM, 0);
		setsockopt(s[i], SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
		if (i == 0) {
			n = name_of(AF_INET, 0);
			CALL(bind(s[i], &n.sa, n.len));
			getsockname(s[i], &n.sa, &n.len);
			any.in.sin_port = n.in.sin_port;
		} else {
			CALL(bind(s[i], i == 2 ? &any.sa : &n.sa, n.len));
		}
	}
	CALL(connect(s[1], &peer.sa, peer.len));
	CALL(sendto(c, "to the connected", 16, 0, &n.sa, n.len));
	diff_until(s[1], POLLIN);
	CALL(recv(s[1], buf, 20, MSG_DONTWAIT));
	CALL(close(s[1]));
	CALL(sendto(c, "to the newest", 13, 0, &n.sa, n.len));
	diff_until(s[3], POLLIN);
	CALL(recv(s[3], buf, 20, MSG_DONTWAIT));
	CALL(recv(s[0], buf, 20, MSG_DONTWAIT));
	CALL(recv(s[2], buf, 20, MSG_DONTWAIT));
}
