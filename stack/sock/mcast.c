/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Multicast groups of a socket, with source filters (RFC 3678; ip(7), ipv6(7)). The host is in a
 * group as long as one of its sockets is: lwIP counts and tells the routers (IGMPv2, MLDv1) and the
 * port. Which sources a socket wants is decided here, when a datagram has arrived. */
#include "stack/sock/dgram.h"

#include <stdlib.h>

#include "lwip/igmp.h"
#include "lwip/mld6.h"

/* Linux: net.ipv4.igmp_max_memberships, net.ipv4.igmp_max_msf. */
#define MAX_GROUPS4 20
#define MAX_SOURCES 10

struct uvs_membership {
	struct uvs_membership *next;
	struct netif *netif;
	ip_addr_t group;
	bool include;  /* from these sources alone; else from all but these */
	bool filtered; /* there has been a source: the sense of the filter stays */
	unsigned int n;
	ip_addr_t source[MAX_SOURCES];
};

/* What an option asks for. */
struct request {
	struct netif *netif;
	ip_addr_t group, source;
};

/* ---------------------------------------------------------------------------------- memberships */

static struct uvs_membership **
find(struct uvs_sock *s, const struct netif *n, const ip_addr_t *group)
{
	struct uvs_membership **m = &s->dgram.groups;

	while (*m != NULL && ((*m)->netif != n || !ip_addr_cmp(&(*m)->group, group)))
		m = &(*m)->next;
	return m;
}

static unsigned int
count4(const struct uvs_sock *s)
{
	unsigned int n = 0;

	for (const struct uvs_membership *m = s->dgram.groups; m != NULL; m = m->next)
		n += IP_IS_V4_VAL(m->group);
	return n;
}

static int
host_joins(struct netif *n, const ip_addr_t *group)
{
	err_t err = IP_IS_V6(group) ? mld6_joingroup_netif(n, ip_2_ip6(group))
				    : igmp_joingroup_netif(n, ip_2_ip4(group));

	return uvs_errno(err);
}

static void
host_leaves(const struct uvs_membership *m)
{
	if (IP_IS_V6_VAL(m->group))
		mld6_leavegroup_netif(m->netif, ip_2_ip6(&m->group));
	else
		igmp_leavegroup_netif(m->netif, ip_2_ip4(&m->group));
}

/* The host is always in 224.0.0.1 and ff02::1. */
static bool
is_all_hosts(const ip_addr_t *group)
{
	return IP_IS_V6(group) ? ip6_addr_isallnodes_linklocal(ip_2_ip6(group))
			       : ip4_addr_cmp(ip_2_ip4(group), &uvl_self->allsystems_);
}

static int
join(struct uvs_sock *s, const struct request *r, bool include)
{
	struct uvs_membership *m;
	int e = 0;

	if (*find(s, r->netif, &r->group) != NULL)
		return -EADDRINUSE;
	if (IP_IS_V4_VAL(r->group) && count4(s) >= MAX_GROUPS4)
		return -ENOBUFS;
	m = calloc(1, sizeof(*m));
	if (m == NULL)
		return -ENOBUFS;
	*m = (struct uvs_membership){
		.next = s->dgram.groups, .netif = r->netif, .group = r->group, .include = include};
	if (!is_all_hosts(&m->group))
		e = host_joins(r->netif, &m->group);
	if (e < 0) {
		free(m);
		return e;
	}
	s->dgram.groups = m;
	return 0;
}

static void
drop(struct uvs_membership **at)
{
	struct uvs_membership *m = *at;

	*at = m->next;
	if (!is_all_hosts(&m->group))
		host_leaves(m);
	free(m);
}

static int
leave(struct uvs_sock *s, const struct request *r)
{
	struct uvs_membership **m = find(s, r->netif, &r->group);

	if (*m == NULL)
		return -EADDRNOTAVAIL;
	drop(m);
	return 0;
}

void
uvs_mcast_close(struct uvs_sock *s)
{
	while (s->dgram.groups != NULL)
		drop(&s->dgram.groups);
}

/* ------------------------------------------------------------------------------ source filters */

static unsigned int
place_of(const struct uvs_membership *m, const ip_addr_t *source)
{
	unsigned int i = 0;

	while (i < m->n && !ip_addr_cmp(&m->source[i], source))
		i++;
	return i;
}

static int
add_source(struct uvs_membership *m, const ip_addr_t *source)
{
	if (place_of(m, source) < m->n)
		return -EADDRNOTAVAIL; /* as the kernel says it */
	if (m->n == MAX_SOURCES)
		return -ENOBUFS;
	m->source[m->n++] = *source;
	m->filtered = true;
	return 0;
}

/* The last source that was wanted takes the membership with it. */
static int
remove_source(struct uvs_membership **at, const ip_addr_t *source)
{
	struct uvs_membership *m = *at;
	unsigned int i = place_of(m, source);

	if (i == m->n)
		return -EADDRNOTAVAIL;
	m->source[i] = m->source[--m->n];
	if (m->include && m->n == 0)
		drop(at);
	return 0;
}

/* A filter that was never used may change its sense. */
static int
change_source(struct uvs_sock *s, const struct request *r, bool include, bool add)
{
	struct uvs_membership **m = find(s, r->netif, &r->group);

	if (*m == NULL || ((*m)->include != include && (*m)->filtered))
		return -EINVAL;
	(*m)->include = include;
	return add ? add_source(*m, &r->source) : remove_source(m, &r->source);
}

static int
join_source(struct uvs_sock *s, const struct request *r)
{
	int e = join(s, r, true);

	return e < 0 && e != -EADDRINUSE ? e : change_source(s, r, true, true);
}

bool
uvs_mcast_wants(struct uvs_sock *s, const ip_addr_t *group, const ip_addr_t *source,
		struct netif *n)
{
	const struct uvs_membership *m;

	if (!ip_addr_ismulticast(group))
		return true;
	m = *find(s, n, group);
	if (m == NULL)
		return IP_IS_V6(group) ? s->opt.v6_mcast_all : s->opt.mcast_all;
	return (place_of(m, source) < m->n) == m->include;
}

/* -------------------------------------------------------------------------------------- options */

static struct netif *
by_index(uint32_t index)
{
	struct netif *n = index <= UINT8_MAX ? netif_get_by_index((u8_t)index) : NULL;

	return n != NULL && (n->flags & NETIF_FLAG_IGMP) != 0 ? n : NULL;
}

/* 0: the one that everything leaves by. */
static struct netif *
interface(const struct uvs_sock *s, uint32_t index)
{
	return index == 0 ? &s->in->netif : by_index(index);
}

static struct netif *
by_address(const struct uvs_sock *s, uint32_t addr)
{
	const ip_addr_t ip = IPADDR4_INIT(addr);

	return addr == 0 || uvs_addr_is_local(&ip) ? &s->in->netif : NULL;
}

static int
take_mreq(const struct uvs_sock *s, const void *val, socklen_t len, struct request *r)
{
	struct ip_mreqn m = {.imr_ifindex = 0};

	if (len < (socklen_t)sizeof(struct ip_mreq))
		return -EINVAL;
	memcpy(&m, val, LWIP_MIN((size_t)len, sizeof(m)));
	r->group = (ip_addr_t)IPADDR4_INIT(m.imr_multiaddr.s_addr);
	r->netif = m.imr_ifindex != 0 ? by_index((uint32_t)m.imr_ifindex)
				      : by_address(s, m.imr_address.s_addr);
	return 0;
}

static int
take_mreq_source(const struct uvs_sock *s, const void *val, socklen_t len, struct request *r)
{
	struct ip_mreq_source m;

	if (len != (socklen_t)sizeof(m))
		return -EINVAL;
	memcpy(&m, val, sizeof(m));
	r->group = (ip_addr_t)IPADDR4_INIT(m.imr_multiaddr.s_addr);
	r->source = (ip_addr_t)IPADDR4_INIT(m.imr_sourceaddr.s_addr);
	r->netif = by_address(s, m.imr_interface.s_addr);
	return 0;
}

static int
take_mreq6(const struct uvs_sock *s, const void *val, socklen_t len, struct request *r)
{
	struct ipv6_mreq m;

	if (len < (socklen_t)sizeof(m))
		return -EINVAL;
	memcpy(&m, val, sizeof(m));
	memset(&r->group, 0, sizeof(r->group));
	memcpy(ip_2_ip6(&r->group)->addr, &m.ipv6mr_multiaddr, sizeof(m.ipv6mr_multiaddr));
	IP_SET_TYPE(&r->group, IPADDR_TYPE_V6);
	r->netif = interface(s, m.ipv6mr_interface);
	return 0;
}

static int
take_address(const struct uvs_sock *s, const struct sockaddr_storage *from, ip_addr_t *to)
{
	struct uvs_addr a;
	int r = uvs_addr_from(&a, s->domain, true, (const struct sockaddr *)from, sizeof(*from));

	*to = a.ip;
	return r < 0 ? -EINVAL : 0;
}

static int
take_group(const struct uvs_sock *s, const void *val, socklen_t len, struct request *r)
{
	struct group_req g;

	if (len < (socklen_t)sizeof(g))
		return -EINVAL;
	memcpy(&g, val, sizeof(g));
	r->netif = interface(s, g.gr_interface);
	return take_address(s, &g.gr_group, &r->group);
}

static int
take_group_source(const struct uvs_sock *s, const void *val, socklen_t len, struct request *r)
{
	struct group_source_req g;
	int e;

	if (len < (socklen_t)sizeof(g))
		return -EINVAL;
	memcpy(&g, val, sizeof(g));
	r->netif = interface(s, g.gsr_interface);
	e = take_address(s, &g.gsr_group, &r->group);
	return e == 0 ? take_address(s, &g.gsr_source, &r->source) : e;
}

enum change { JOIN, LEAVE, JOIN_SOURCE, LEAVE_SOURCE, BLOCK, UNBLOCK };

static const struct option {
	int level, name;
	enum change change;
	int (*take)(const struct uvs_sock *s, const void *val, socklen_t len, struct request *r);
} options[] = {
	{IPPROTO_IP, IP_ADD_MEMBERSHIP, JOIN, take_mreq},
	{IPPROTO_IP, IP_DROP_MEMBERSHIP, LEAVE, take_mreq},
	{IPPROTO_IP, IP_ADD_SOURCE_MEMBERSHIP, JOIN_SOURCE, take_mreq_source},
	{IPPROTO_IP, IP_DROP_SOURCE_MEMBERSHIP, LEAVE_SOURCE, take_mreq_source},
	{IPPROTO_IP, IP_BLOCK_SOURCE, BLOCK, take_mreq_source},
	{IPPROTO_IP, IP_UNBLOCK_SOURCE, UNBLOCK, take_mreq_source},
	{IPPROTO_IP, MCAST_JOIN_GROUP, JOIN, take_group},
	{IPPROTO_IP, MCAST_LEAVE_GROUP, LEAVE, take_group},
	{IPPROTO_IP, MCAST_JOIN_SOURCE_GROUP, JOIN_SOURCE, take_group_source},
	{IPPROTO_IP, MCAST_LEAVE_SOURCE_GROUP, LEAVE_SOURCE, take_group_source},
	{IPPROTO_IP, MCAST_BLOCK_SOURCE, BLOCK, take_group_source},
	{IPPROTO_IP, MCAST_UNBLOCK_SOURCE, UNBLOCK, take_group_source},
	{IPPROTO_IPV6, IPV6_JOIN_GROUP, JOIN, take_mreq6},
	{IPPROTO_IPV6, IPV6_LEAVE_GROUP, LEAVE, take_mreq6},
	{IPPROTO_IPV6, MCAST_JOIN_GROUP, JOIN, take_group},
	{IPPROTO_IPV6, MCAST_LEAVE_GROUP, LEAVE, take_group},
	{IPPROTO_IPV6, MCAST_JOIN_SOURCE_GROUP, JOIN_SOURCE, take_group_source},
	{IPPROTO_IPV6, MCAST_LEAVE_SOURCE_GROUP, LEAVE_SOURCE, take_group_source},
	{IPPROTO_IPV6, MCAST_BLOCK_SOURCE, BLOCK, take_group_source},
	{IPPROTO_IPV6, MCAST_UNBLOCK_SOURCE, UNBLOCK, take_group_source},
};

static const struct option *
option(int level, int name)
{
	for (size_t i = 0; i < RTE_DIM(options); i++)
		if (options[i].level == level && options[i].name == name)
			return &options[i];
	return NULL;
}

bool
uvs_mcast_option(int level, int name)
{
	return option(level, name) != NULL;
}

static int
carry_out(struct uvs_sock *s, enum change change, const struct request *r)
{
	switch (change) {
	case JOIN:
		return join(s, r, false);
	case LEAVE:
		return leave(s, r);
	case JOIN_SOURCE:
		return join_source(s, r);
	case LEAVE_SOURCE:
		return change_source(s, r, true, false);
	case BLOCK:
		return change_source(s, r, false, true);
	case UNBLOCK:
		return change_source(s, r, false, false);
	}
	return -EINVAL;
}

int
uvs_mcast_set(struct uvs_sock *s, int level, int name, const void *val, socklen_t len)
{
	const struct option *o = option(level, name);
	struct request r = {.netif = NULL};
	int e;

	if (s->in->lwip == NULL)
		return -ENODEV;
	e = o->take(s, val, len, &r);
	if (e < 0)
		return e;
	if (!ip_addr_ismulticast(&r.group) || IP_IS_V6_VAL(r.group) != (level == IPPROTO_IPV6))
		return -EINVAL;
	if (r.netif == NULL)
		return -ENODEV;
	if (IP_IS_V6_VAL(r.group))
		ip6_addr_assign_zone(ip_2_ip6(&r.group), IP6_MULTICAST, r.netif);
	return carry_out(s, o->change, &r);
}
