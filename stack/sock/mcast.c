/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Multicast groups of a socket, with source filters (RFC 3678; ip(7), ipv6(7)). The host is in a
 * group as long as one of its sockets is, and wants what one of them does: routers and the port
 * hear of that. Which sources a socket wants is decided here, when a datagram has arrived. */
#include "stack/sock/dgram.h"

#include <stdlib.h>

#include "lwip/igmp.h"
#include "lwip/mld6.h"

/* Linux: net.ipv4.igmp_max_memberships, net.ipv4.igmp_max_msf. */
#define MAX_GROUPS4 20
#define MAX_SOURCES 10

/* A group of an instance, with all sockets that are in it. */
struct uvs_mcast_group {
	struct uvs_mcast_group *next;
	struct netif *netif;
	ip_addr_t addr;
	struct uvs_membership *members;
	bool joined; /* with lwIP */
};

struct uvs_membership {
	struct uvs_membership *next;
	struct uvs_mcast_group *of;
	struct uvs_membership *beside; /* of the same group */
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

static err_t
host_joins(const struct uvs_mcast_group *g)
{
	return IP_IS_V6_VAL(g->addr) ? mld6_joingroup_netif(g->netif, ip_2_ip6(&g->addr))
				     : igmp_joingroup_netif(g->netif, ip_2_ip4(&g->addr));
}

static void
host_leaves(const struct uvs_mcast_group *g)
{
	if (IP_IS_V6_VAL(g->addr))
		mld6_leavegroup_netif(g->netif, ip_2_ip6(&g->addr));
	else
		igmp_leavegroup_netif(g->netif, ip_2_ip4(&g->addr));
}

/* The host is always in 224.0.0.1 and ff02::1. */
static bool
is_all_hosts(const ip_addr_t *group)
{
	return IP_IS_V6(group) ? ip6_addr_isallnodes_linklocal(ip_2_ip6(group))
			       : ip4_addr_cmp(ip_2_ip4(group), &uvl_self->allsystems_);
}

/* ----------------------------------------------------------- what all sockets of a group want */

static unsigned int
place_of(const ip_addr_t *source, unsigned int n, const ip_addr_t *one)
{
	unsigned int i = 0;

	while (i < n && !ip_addr_cmp(&source[i], one))
		i++;
	return i;
}

static bool
wants(const struct uvs_membership *m, const ip_addr_t *source)
{
	return (place_of(m->source, m->n, source) < m->n) == m->include;
}

static bool
anybody_wants(const struct uvs_mcast_group *g, const ip_addr_t *source)
{
	for (const struct uvs_membership *m = g->members; m != NULL; m = m->beside)
		if (wants(m, source))
			return true;
	return false;
}

static bool
all_include(const struct uvs_mcast_group *g)
{
	for (const struct uvs_membership *m = g->members; m != NULL; m = m->beside)
		if (!m->include)
			return false;
	return true;
}

/* RFC 3376, 3.2: who wants all but some makes the host one that does; of sources that any socket
 * has named, those are on the list that are wanted, or those that nobody wants. Too many: all are
 * wanted, and dropped here. */
static struct uvl_mcast_filter
together(const struct uvs_mcast_group *g)
{
	struct uvl_mcast_filter f = {
		.netif = g->netif, .group = g->addr, .include = all_include(g)};

	for (const struct uvs_membership *m = g->members; m != NULL; m = m->beside)
		for (unsigned int i = 0; i < m->n; i++) {
			if (anybody_wants(g, &m->source[i]) != f.include ||
			    place_of(f.source, f.n, &m->source[i]) < f.n)
				continue;
			if (f.n == UVL_MCAST_SOURCES)
				return (struct uvl_mcast_filter){.netif = g->netif,
								 .group = g->addr};
			f.source[f.n++] = m->source[i];
		}
	return f;
}

/* Tell the routers, and join or leave, when something has changed. */
static int
update(struct uvs_mcast_group *g)
{
	struct uvl_mcast_filter f = together(g), all = {.netif = g->netif, .group = g->addr};
	bool member = !f.include || f.n != 0;
	err_t err;

	if (member && !g->joined) {
		uvl_mcast_filter(&f, true);
		err = host_joins(g);
		if (err != ERR_OK)
			return uvs_errno(err);
	} else if (member) {
		uvl_mcast_filter(&f, false);
	} else if (g->joined) {
		host_leaves(g);
		uvl_mcast_filter(&all, true);
	}
	g->joined = member;
	return 0;
}

/* ------------------------------------------------------------------------------ join and leave */

static struct uvs_mcast_group **
groups(struct uvs_sock *s)
{
	return &uvs_tables(s->in)->groups;
}

static struct uvs_mcast_group *
group_of(struct uvs_sock *s, const struct request *r)
{
	struct uvs_mcast_group *g = *groups(s);

	while (g != NULL && (g->netif != r->netif || !ip_addr_cmp(&g->addr, &r->group)))
		g = g->next;
	if (g != NULL)
		return g;
	g = calloc(1, sizeof(*g));
	if (g == NULL)
		return NULL;
	*g = (struct uvs_mcast_group){.next = *groups(s), .netif = r->netif, .addr = r->group};
	*groups(s) = g;
	return g;
}

static void
forget_group(struct uvs_sock *s, const struct uvs_mcast_group *g)
{
	struct uvs_mcast_group **at = groups(s);

	while (*at != g)
		at = &(*at)->next;
	*at = g->next;
}

static int
tell_host(struct uvs_mcast_group *g)
{
	return is_all_hosts(&g->addr) ? 0 : update(g);
}

static void
drop(struct uvs_sock *s, struct uvs_membership **at)
{
	struct uvs_membership *m = *at, **beside = &m->of->members;
	struct uvs_mcast_group *g = m->of;

	*at = m->next;
	while (*beside != m)
		beside = &(*beside)->beside;
	*beside = m->beside;
	free(m);
	tell_host(g);
	if (g->members == NULL) {
		forget_group(s, g);
		free(g);
	}
}

/* With the first source, if there is one: routers hear of both at once. */
static int
join(struct uvs_sock *s, const struct request *r, bool include)
{
	struct uvs_membership *m;
	struct uvs_mcast_group *g;
	int e;

	if (*find(s, r->netif, &r->group) != NULL)
		return -EADDRINUSE;
	if (IP_IS_V4_VAL(r->group) && count4(s) >= MAX_GROUPS4)
		return -ENOBUFS;
	m = calloc(1, sizeof(*m));
	g = m != NULL ? group_of(s, r) : NULL;
	if (g == NULL) {
		free(m);
		return -ENOBUFS;
	}
	*m = (struct uvs_membership){.next = s->dgram.groups,
				     .of = g,
				     .beside = g->members,
				     .netif = r->netif,
				     .group = r->group,
				     .include = include};
	if (include) {
		m->source[m->n++] = r->source;
		m->filtered = true;
	}
	g->members = m;
	s->dgram.groups = m;
	e = tell_host(g);
	if (e < 0)
		drop(s, &s->dgram.groups);
	return e;
}

static int
leave(struct uvs_sock *s, const struct request *r)
{
	struct uvs_membership **m = find(s, r->netif, &r->group);

	if (*m == NULL)
		return -EADDRNOTAVAIL;
	drop(s, m);
	return 0;
}

void
uvs_mcast_close(struct uvs_sock *s)
{
	while (s->dgram.groups != NULL)
		drop(s, &s->dgram.groups);
}

/* ------------------------------------------------------------------------------ source filters */

static int
add_source(struct uvs_membership *m, const ip_addr_t *source)
{
	if (place_of(m->source, m->n, source) < m->n)
		return -EADDRNOTAVAIL; /* as the kernel says it */
	if (m->n == MAX_SOURCES)
		return -ENOBUFS;
	m->source[m->n++] = *source;
	m->filtered = true;
	return tell_host(m->of);
}

/* The last source that was wanted takes the membership with it. */
static int
remove_source(struct uvs_sock *s, struct uvs_membership **at, const ip_addr_t *source)
{
	struct uvs_membership *m = *at;
	unsigned int i = place_of(m->source, m->n, source);

	if (i == m->n)
		return -EADDRNOTAVAIL;
	m->source[i] = m->source[--m->n];
	if (!m->include || m->n != 0)
		return tell_host(m->of);
	drop(s, at);
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
	return add ? add_source(*m, &r->source) : remove_source(s, m, &r->source);
}

static int
join_source(struct uvs_sock *s, const struct request *r)
{
	int e = join(s, r, true);

	return e == -EADDRINUSE ? change_source(s, r, true, true) : e;
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
	return wants(m, source);
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
