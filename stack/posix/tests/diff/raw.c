/* SPDX-License-Identifier: BSD-3-Clause
 * Raw sockets, and those of ICMP echo. */
#include "diff.h"

#include <linux/icmp.h>
#include <netinet/icmp6.h>
#include <netinet/ip.h>
#include <netinet/udp.h>

#define MINE 0x4321

static unsigned char buf[4096];

static struct sockaddr_in6
here6(void)
{
	return (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback};
}

static uint16_t
sum_of(const void *data, size_t len)
{
	const uint8_t *b = data;
	uint32_t sum = 0;

	for (size_t i = 0; i < len; i++)
		sum += i % 2 ? b[i] : (uint32_t)b[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons((uint16_t)~sum);
}

struct echo {
	struct icmphdr h;
	char text[8];
};

static struct echo
request(uint8_t type)
{
	struct echo e = {.h = {.type = type, .un.echo = {htons(MINE), htons(7)}}, .text = "hello"};

	e.h.checksum = sum_of(&e, sizeof(e));
	return e;
}

static void
show_ip(const unsigned char *p, long n)
{
	struct iphdr ip;

	memcpy(&ip, p, sizeof(ip));
	printf(" IP %u, %u words, length %s, ttl %u, protocol %u, tos %u\n", ip.version, ip.ihl,
	       ntohs(ip.tot_len) == n ? "right" : "wrong", ip.ttl, ip.protocol, ip.tos);
	printf(" from %s", inet_ntoa((struct in_addr){ip.saddr}));
	printf(" to %s, sum %s\n", inet_ntoa((struct in_addr){ip.daddr}),
	       sum_of(p, sizeof(ip)) == 0 ? "right" : "wrong");
}

static void
show_echo(const unsigned char *p)
{
	struct echo e;

	memcpy(&e, p, sizeof(e));
	printf(" type %u, sequence %u, id %s, \"%s\"\n", e.h.type, ntohs(e.h.un.echo.sequence),
	       ntohs(e.h.un.echo.id) == MINE ? "mine" : "another", e.text);
}

static void
receive_ip(int s)
{
	struct sockaddr_in from;
	socklen_t len = sizeof(from);
	long n = CALL(recvfrom(s, buf, sizeof(buf), 0, (struct sockaddr *)&from, &len));

	if (n < (long)sizeof(struct iphdr))
		return;
	printf(" name %s port %u\n", inet_ntoa(from.sin_addr), ntohs(from.sin_port));
	show_ip(buf, n);
	show_echo(buf + sizeof(struct iphdr));
}

static int
opened(int domain, int type, int protocol)
{
	struct timeval tv = {5, 0};
	int s = socket(domain, type, protocol);

	if (s < 0)
		diff_die("raw socket");
	setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	return s;
}

/* ------------------------------------------------------------------------------------------- raw
 */

CASE(raw_names)
{
	int s, v;
	socklen_t len = sizeof(v);
	struct sockaddr_in n = diff_addr(0);

	CALL(socket(AF_INET, SOCK_RAW, 0));
	CALL(socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMPV6));
	CALL(socket(AF_INET, SOCK_STREAM, IPPROTO_ICMP));
	s = opened(AF_INET, SOCK_RAW, IPPROTO_ICMP);
	CALL(getsockopt(s, SOL_SOCKET, SO_TYPE, &v, &len));
	printf("%d\n", v);
	CALL(getsockopt(s, SOL_SOCKET, SO_PROTOCOL, &v, &len));
	printf("%d\n", v);
	CALL(send(s, buf, 8, 0));
	CALL(listen(s, 1));
	CALL(accept(s, NULL, NULL));
	CALL(recv(s, buf, 10, MSG_DONTWAIT));
	POLL(s, POLLIN | POLLOUT | POLLWRNORM | POLLWRBAND, 0);
	CALL(bind(s, (struct sockaddr *)&n, sizeof(n)));
	len = sizeof(n);
	CALL(getsockname(s, (struct sockaddr *)&n, &len));
	printf("%s port %u\n", inet_ntoa(n.sin_addr), ntohs(n.sin_port));
	n = diff_addr(0);
	CALL(getpeername(s, (struct sockaddr *)&n, &len));
	n = diff_addr(77);
	CALL(connect(s, (struct sockaddr *)&n, sizeof(n)));
	CALL(getpeername(s, (struct sockaddr *)&n, &len));
	printf("%s port %u\n", inet_ntoa(n.sin_addr), ntohs(n.sin_port));
	CALL(shutdown(s, SHUT_RDWR));
}

CASE(raw_echo)
{
	int s = opened(AF_INET, SOCK_RAW, IPPROTO_ICMP), ttl = 9, tos = 0x10;
	struct sockaddr_in to = diff_addr(0);
	struct echo e = request(ICMP_ECHO);

	CALL(setsockopt(s, IPPROTO_IP, IP_TTL, &ttl, sizeof(ttl)));
	CALL(setsockopt(s, IPPROTO_IP, IP_TOS, &tos, sizeof(tos)));
	CALL(sendto(s, &e, sizeof(e), 0, (struct sockaddr *)&to, sizeof(to)));
	receive_ip(s); /* the request itself */
	receive_ip(s);
	CALL(recv(s, buf, sizeof(buf), MSG_DONTWAIT));
}

CASE(raw_filter)
{
	int s = opened(AF_INET, SOCK_RAW, IPPROTO_ICMP);
	struct icmp_filter f = {.data = ~(1u << ICMP_ECHOREPLY)}, got = {0};
	struct sockaddr_in to = diff_addr(0);
	struct echo e = request(ICMP_ECHO);
	socklen_t len = sizeof(got);

	CALL(setsockopt(s, SOL_RAW, ICMP_FILTER, &f, sizeof(f)));
	CALL(getsockopt(s, SOL_RAW, ICMP_FILTER, &got, &len));
	printf("%#x, %u bytes\n", got.data, len);
	CALL(sendto(s, &e, sizeof(e), 0, (struct sockaddr *)&to, sizeof(to)));
	receive_ip(s);
	CALL(recv(s, buf, sizeof(buf), MSG_DONTWAIT));
	s = opened(AF_INET, SOCK_RAW, IPPROTO_UDP);
	CALL(setsockopt(s, SOL_RAW, ICMP_FILTER, &f, sizeof(f)));
}

struct datagram {
	struct iphdr ip;
	struct udphdr udp;
	char text[8];
};

/* What is left out of the header is filled in. */
CASE(raw_header)
{
	int port, u = diff_udp(&port), s = opened(AF_INET, SOCK_RAW, IPPROTO_RAW), v = 0;
	struct sockaddr_in to = diff_addr(0), from;
	socklen_t len = sizeof(v);
	struct datagram d = {.ip = {.version = 4, .ihl = 5, .ttl = 3, .protocol = IPPROTO_UDP},
			     .text = "by hand"};

	CALL(getsockopt(s, IPPROTO_IP, IP_HDRINCL, &v, &len));
	printf("%d\n", v);
	d.ip.daddr = to.sin_addr.s_addr;
	d.udp.source = htons(MINE);
	d.udp.dest = htons((uint16_t)port);
	d.udp.len = htons(sizeof(d.udp) + sizeof(d.text));
	CALL(sendto(s, &d, sizeof(d), 0, (struct sockaddr *)&to, sizeof(to)));
	diff_until(u, POLLIN);
	len = sizeof(from);
	CALL(recvfrom(u, buf, sizeof(buf), 0, (struct sockaddr *)&from, &len));
	printf("\"%s\" from %s, port %x\n", buf, inet_ntoa(from.sin_addr), ntohs(from.sin_port));
	CALL(sendto(s, &d, 10, 0, (struct sockaddr *)&to, sizeof(to)));
	d.ip.ihl = 15;
	CALL(sendto(s, &d, sizeof(d), 0, (struct sockaddr *)&to, sizeof(to)));
}

CASE(raw_protocol_unreachable)
{
	int s = opened(AF_INET, SOCK_RAW, 200), t = opened(AF_INET, SOCK_RAW, IPPROTO_RAW), one = 1;
	struct sockaddr_in to = diff_addr(0);
	char control[200];
	struct iovec iov = {buf, sizeof(buf)};
	struct msghdr m = {.msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = control,
			   .msg_controllen = sizeof(control)};
	struct iphdr ip = {.version = 4, .ihl = 5, .ttl = 3, .protocol = 201};

	CALL(sendto(s, "self", 4, 0, (struct sockaddr *)&to, sizeof(to)));
	diff_until(s, POLLIN);
	CALL(recv(s, buf, sizeof(buf), 0));
	CALL(setsockopt(t, IPPROTO_IP, IP_RECVERR, &one, sizeof(one)));
	ip.daddr = to.sin_addr.s_addr;
	CALL(sendto(t, &ip, sizeof(ip), 0, (struct sockaddr *)&to, sizeof(to)));
	diff_settle();
	CALL(recvmsg(t, &m, MSG_ERRQUEUE)); /* it is another protocol's */
}

CASE(raw6_echo)
{
	int s = opened(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6), v = 4;
	struct sockaddr_in6 to = here6(), from;
	struct icmp6_filter f;
	struct echo e = request(ICMP6_ECHO_REQUEST);
	socklen_t len = sizeof(from);
	char text[INET6_ADDRSTRLEN];

	ICMP6_FILTER_SETBLOCKALL(&f);
	ICMP6_FILTER_SETPASS(ICMP6_ECHO_REPLY, &f);
	CALL(setsockopt(s, IPPROTO_ICMPV6, ICMP6_FILTER, &f, sizeof(f)));
	CALL(setsockopt(s, IPPROTO_IPV6, IPV6_CHECKSUM, &v, sizeof(v)));
	e.h.checksum = 0xabcd;
	CALL(sendto(s, &e, sizeof(e), 0, (struct sockaddr *)&to, sizeof(to)));
	diff_until(s, POLLIN);
	CALL(recvfrom(s, buf, sizeof(buf), 0, (struct sockaddr *)&from, &len));
	show_echo(buf);
	printf("from %s port %u\n", inet_ntop(AF_INET6, &from.sin6_addr, text, sizeof(text)),
	       from.sin6_port);
	CALL(recv(s, buf, sizeof(buf), MSG_DONTWAIT));
}

/* ------------------------------------------------------------------------------------ ICMP echo */

static void
echo(int domain, const struct sockaddr *to, socklen_t len)
{
	bool v6 = domain == AF_INET6;
	int s = opened(domain, SOCK_DGRAM, v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP), v;
	struct echo e = request(v6 ? ICMP6_ECHO_REQUEST : ICMP_ECHO);
	struct sockaddr_in6 name;
	socklen_t size = sizeof(v);

	CALL(getsockopt(s, SOL_SOCKET, SO_TYPE, &v, &size));
	printf("%d\n", v);
	CALL(getsockopt(s, SOL_SOCKET, SO_PROTOCOL, &v, &size));
	printf("%d\n", v);
	CALL(send(s, &e, sizeof(e), 0));
	CALL(sendto(s, &e, sizeof(e), 0, to, len));
	diff_until(s, POLLIN);
	size = sizeof(name);
	CALL(recvfrom(s, buf, sizeof(buf), 0, (struct sockaddr *)&name, &size));
	printf("port %u\n", ntohs(name.sin6_port));
	show_echo(buf);
	CALL(recv(s, buf, sizeof(buf), MSG_DONTWAIT));
	CALL(sendto(s, &e, 7, 0, to, len));
	e.h.type++;
	CALL(sendto(s, &e, sizeof(e), 0, to, len));
	e.h.type--;
	CALL(connect(s, to, len));
	CALL(send(s, &e, sizeof(e), 0));
	diff_until(s, POLLIN);
	CALL(recv(s, buf, sizeof(buf), 0));
	CALL(close(s));
}

CASE(echo_ipv4)
{
	struct sockaddr_in to = diff_addr(0);

	echo(AF_INET, (struct sockaddr *)&to, sizeof(to));
}

CASE(echo_ipv6)
{
	struct sockaddr_in6 to = here6();

	echo(AF_INET6, (struct sockaddr *)&to, sizeof(to));
}

CASE(echo_idents)
{
	struct sockaddr_in n = diff_addr(MINE), to = diff_addr(0);
	int s = opened(AF_INET, SOCK_DGRAM, IPPROTO_ICMP);
	int t = opened(AF_INET, SOCK_DGRAM, IPPROTO_ICMP);
	struct echo e = request(ICMP_ECHO);
	socklen_t len = sizeof(n);

	CALL(bind(s, (struct sockaddr *)&n, sizeof(n)));
	CALL(bind(t, (struct sockaddr *)&n, sizeof(n)));
	CALL(getsockname(s, (struct sockaddr *)&n, &len));
	printf("%x\n", ntohs(n.sin_port));
	CALL(sendto(s, &e, sizeof(e), 0, (struct sockaddr *)&to, sizeof(to)));
	diff_until(t, POLLIN); /* they share it, and the newer one hears */
	CALL(recv(t, buf, sizeof(buf), 0));
	show_echo(buf);
	CALL(recv(s, buf, sizeof(buf), MSG_DONTWAIT));
}
