/* SPDX-License-Identifier: BSD-3-Clause
 * Multicast groups and source filters. The host has one interface that groups are reached by. */
#include "diff.h"

#define GROUP4 "239.1.2.3"
#define GROUP6 "ff15::1234"

static char buf[100];

struct group {
	int family, level;
	socklen_t len;
	struct sockaddr_storage addr, self;
};

static void
put(int family, const char *text, struct sockaddr_storage *out)
{
	struct sockaddr_in *in = (void *)out;
	struct sockaddr_in6 *in6 = (void *)out;

	memset(out, 0, sizeof(*out));
	out->ss_family = (sa_family_t)family;
	if (inet_pton(family, text,
		      family == AF_INET ? (void *)&in->sin_addr : (void *)&in6->sin6_addr) != 1)
		diff_die("address");
}

static void
set_port(struct sockaddr_storage *a, uint16_t port)
{
	((struct sockaddr_in *)(void *)a)->sin_port = port; /* the same place in both families */
}

/* The group, and the address that this host has to those in it. */
static struct group
group_of(int family)
{
	struct group g = {.family = family,
			  .level = family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6,
			  .len = family == AF_INET ? sizeof(struct sockaddr_in)
						   : sizeof(struct sockaddr_in6)};
	socklen_t len = sizeof(g.self);
	int s = socket(family, SOCK_DGRAM, 0);

	put(family, family == AF_INET ? GROUP4 : GROUP6, &g.addr);
	set_port(&g.addr, htons(9));
	if (connect(s, (struct sockaddr *)&g.addr, g.len) < 0 ||
	    getsockname(s, (struct sockaddr *)&g.self, &len) < 0)
		diff_die("no way to the group");
	close(s);
	set_port(&g.self, 0);
	set_port(&g.addr, 0);
	return g;
}

static int
hearer(struct group *g, bool shared)
{
	struct sockaddr_storage any = {.ss_family = (sa_family_t)g->family};
	socklen_t len = sizeof(any);
	int s = socket(g->family, SOCK_DGRAM, 0), one = 1;

	if (shared)
		any = g->addr;
	set_port(&any, ((struct sockaddr_in *)(void *)&g->addr)->sin_port);
	setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(s, (struct sockaddr *)&any, g->len) < 0 ||
	    getsockname(s, (struct sockaddr *)&any, &len) < 0)
		diff_die("bind");
	set_port(&g->addr, ((struct sockaddr_in *)(void *)&any)->sin_port);
	return s;
}

static void
change(int s, const struct group *g, const char *what, int name)
{
	struct group_req r = {.gr_group = g->addr};

	printf("%s: ", what);
	CALL(setsockopt(s, g->level, name, &r, sizeof(r)));
}

static void
change_source(int s, const struct group *g, const char *what, int name,
	      const struct sockaddr_storage *source)
{
	struct group_source_req r = {.gsr_group = g->addr, .gsr_source = *source};

	printf("%s: ", what);
	CALL(setsockopt(s, g->level, name, &r, sizeof(r)));
}

static void
say(const struct group *g, const char *text)
{
	int s = socket(g->family, SOCK_DGRAM, 0);

	if (sendto(s, text, strlen(text), 0, (const struct sockaddr *)&g->addr, g->len) < 0)
		diff_die("sendto");
	close(s);
}

static void
hears(const char *who, int s)
{
	struct pollfd p = {.fd = s, .events = POLLIN};
	ssize_t n = poll(&p, 1, 30) == 1 ? recv(s, buf, sizeof(buf) - 1, MSG_DONTWAIT) : -1;

	buf[n < 0 ? 0 : n] = '\0';
	printf("%s hears %s\n", who, n < 0 ? "nothing" : buf);
}

static void
memberships(int family)
{
	struct group g = group_of(family), none = g;
	int s = hearer(&g, false);

	put(family, family == AF_INET ? "192.0.2.1" : "2001:db8::1", &none.addr);
	change(s, &g, "leave", MCAST_LEAVE_GROUP);
	change(s, &g, "join", MCAST_JOIN_GROUP);
	change(s, &g, "join", MCAST_JOIN_GROUP);
	change(s, &none, "join no group", MCAST_JOIN_GROUP);
	change_source(s, &g, "wish for a source", MCAST_LEAVE_SOURCE_GROUP, &g.self);
	change_source(s, &g, "unblock", MCAST_UNBLOCK_SOURCE, &g.self);
	change_source(s, &g, "block", MCAST_BLOCK_SOURCE, &g.self);
	change_source(s, &g, "block", MCAST_BLOCK_SOURCE, &g.self);
	change_source(s, &g, "join from it", MCAST_JOIN_SOURCE_GROUP, &g.self);
	change_source(s, &g, "unblock", MCAST_UNBLOCK_SOURCE, &g.self);
	change_source(s, &g, "join from it", MCAST_JOIN_SOURCE_GROUP, &g.self);
	change_source(s, &g, "block", MCAST_BLOCK_SOURCE, &g.self);
	change_source(s, &g, "leave it", MCAST_LEAVE_SOURCE_GROUP, &g.self);
	change(s, &g, "leave", MCAST_LEAVE_GROUP);
	printf("too short: ");
	CALL(setsockopt(s, g.level, MCAST_JOIN_GROUP, &g, 20));
}

CASE(mcast_memberships)
{
	memberships(AF_INET);
}

CASE(mcast6_memberships)
{
	memberships(AF_INET6);
}

static void
delivery(int family)
{
	struct group g = group_of(family);
	int a = hearer(&g, false), b = hearer(&g, true), c = hearer(&g, false), off = 0;
	struct sockaddr_storage stranger;

	put(family, family == AF_INET ? "192.0.2.1" : "2001:db8::1", &stranger);
	change(a, &g, "a joins", MCAST_JOIN_GROUP);
	say(&g, "one");
	hears("a", a);
	hears("b", b); /* bound to the group, joined by another */
	hears("c", c); /* IP_MULTICAST_ALL */
	CALL(setsockopt(c, g.level, family == AF_INET ? IP_MULTICAST_ALL : 29, &off, sizeof(off)));
	change_source(b, &g, "b joins a stranger", MCAST_JOIN_SOURCE_GROUP, &stranger);
	say(&g, "two");
	hears("a", a);
	hears("b", b);
	hears("c", c);
	change_source(b, &g, "b joins us", MCAST_JOIN_SOURCE_GROUP, &g.self);
	change_source(a, &g, "a blocks us", MCAST_BLOCK_SOURCE, &g.self);
	say(&g, "three");
	hears("a", a);
	hears("b", b);
	change_source(a, &g, "a unblocks us", MCAST_UNBLOCK_SOURCE, &g.self);
	CALL(close(b));
	say(&g, "four");
	hears("a", a);
	change(a, &g, "a leaves", MCAST_LEAVE_GROUP);
	say(&g, "five");
	hears("a", a);
}

CASE(mcast_delivery)
{
	delivery(AF_INET);
}

CASE(mcast6_delivery)
{
	delivery(AF_INET6);
}

/* The older options of IPv4. */
CASE(mcast_by_address)
{
	struct group g = group_of(AF_INET);
	const struct sockaddr_in *group = (void *)&g.addr, *self = (void *)&g.self;
	struct ip_mreq m = {.imr_multiaddr = group->sin_addr, .imr_interface = self->sin_addr};
	struct ip_mreqn n = {.imr_multiaddr = group->sin_addr, .imr_ifindex = 77};
	struct ip_mreq_source r = {.imr_multiaddr = group->sin_addr,
				   .imr_sourceaddr = self->sin_addr,
				   .imr_interface = self->sin_addr};
	struct in_addr out = {0};
	socklen_t len = sizeof(out);
	int s = hearer(&g, false), v = -1;

	CALL(setsockopt(s, IPPROTO_IP, IP_ADD_MEMBERSHIP, &m, sizeof(m)));
	CALL(setsockopt(s, IPPROTO_IP, IP_ADD_MEMBERSHIP, &n, sizeof(n)));
	CALL(setsockopt(s, IPPROTO_IP, IP_ADD_MEMBERSHIP, &m, 7));
	CALL(setsockopt(s, IPPROTO_IP, IP_BLOCK_SOURCE, &r, sizeof(r)));
	say(&g, "blocked");
	hears("s", s);
	CALL(setsockopt(s, IPPROTO_IP, IP_DROP_MEMBERSHIP, &m, sizeof(m)));
	CALL(setsockopt(s, IPPROTO_IP, IP_ADD_SOURCE_MEMBERSHIP, &r, sizeof(r)));
	say(&g, "wanted");
	hears("s", s);
	CALL(setsockopt(s, IPPROTO_IP, IP_DROP_SOURCE_MEMBERSHIP, &r, sizeof(r)));
	CALL(setsockopt(s, IPPROTO_IP, IP_DROP_MEMBERSHIP, &m, sizeof(m)));
	CALL(getsockopt(s, IPPROTO_IP, IP_MULTICAST_ALL, &v, &len));
	printf("%d\n", v);
	CALL(setsockopt(s, IPPROTO_IP, IP_MULTICAST_IF, &self->sin_addr, sizeof(out)));
	CALL(getsockopt(s, IPPROTO_IP, IP_MULTICAST_IF, &out, &len));
	printf("%s\n", out.s_addr == self->sin_addr.s_addr ? "ours" : inet_ntoa(out));
	out.s_addr = inet_addr("192.0.2.77");
	CALL(setsockopt(s, IPPROTO_IP, IP_MULTICAST_IF, &out, sizeof(out)));
}
