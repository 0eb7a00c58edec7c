/* SPDX-License-Identifier: BSD-3-Clause */
#include "stack/sock/addr.h"

#include "stack/core/instance.h"
#include "stack/sock/stack.h"

#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "lwip/nd6.h"

static int
from_in(struct uvs_addr *out, const struct sockaddr *addr, socklen_t len)
{
	struct sockaddr_in in;

	if (len < (socklen_t)sizeof(in))
		return -EINVAL;
	memcpy(&in, addr, sizeof(in));
	out->ip = (ip_addr_t)IPADDR4_INIT(in.sin_addr.s_addr);
	out->port = ntohs(in.sin_port);
	return 0;
}

static int
set_zone(ip6_addr_t *ip, uint32_t scope)
{
	if (ip6_addr_islinklocal(ip)) {
		if (scope == 0 || scope > UINT8_MAX)
			return -EINVAL;
		ip6_addr_set_zone(ip, (u8_t)scope);
	} else if (ip6_addr_ismulticast_linklocal(ip) || ip6_addr_ismulticast_iflocal(ip)) {
		ip6_addr_set_zone(ip, (u8_t)(scope != 0 ? scope : UVS_IFINDEX_PORT));
	}
	return 0;
}

static int
from_in6(struct uvs_addr *out, bool v6only, const struct sockaddr *addr, socklen_t len)
{
	struct sockaddr_in6 in;

	if (len < (socklen_t)(sizeof(in) - sizeof(in.sin6_scope_id)))
		return -EINVAL;
	memcpy(&in, addr, LWIP_MIN(sizeof(in), (size_t)len));
	out->port = ntohs(in.sin6_port);
	if (IN6_IS_ADDR_V4MAPPED(&in.sin6_addr)) {
		uint32_t v4;

		memcpy(&v4, &in.sin6_addr.s6_addr[12], sizeof(v4));
		out->ip = (ip_addr_t)IPADDR4_INIT(v4);
		return v6only ? -EINVAL : 0;
	}
	memset(&out->ip, 0, sizeof(out->ip));
	memcpy(ip_2_ip6(&out->ip)->addr, &in.sin6_addr, sizeof(in.sin6_addr));
	out->ip.type = !v6only && IN6_IS_ADDR_UNSPECIFIED(&in.sin6_addr) ? IPADDR_TYPE_ANY
									 : IPADDR_TYPE_V6;
	return set_zone(ip_2_ip6(&out->ip), len >= (socklen_t)sizeof(in) ? in.sin6_scope_id : 0);
}

int
uvs_addr_from(struct uvs_addr *out, int domain, bool v6only, const struct sockaddr *addr,
	      socklen_t len)
{
	if (addr == NULL || len < (socklen_t)sizeof(addr->sa_family))
		return -EINVAL;
	if (domain == AF_INET && addr->sa_family == AF_INET)
		return from_in(out, addr, len);
	if (domain == AF_INET6 && addr->sa_family == AF_INET6)
		return from_in6(out, v6only, addr, len);
	return -EAFNOSUPPORT;
}

static void
to_in6(const struct uvs_addr *a, struct sockaddr_in6 *out)
{
	memset(out, 0, sizeof(*out));
	out->sin6_family = AF_INET6;
	out->sin6_port = htons(a->port);
	if (IP_IS_V6_VAL(a->ip)) {
		memcpy(&out->sin6_addr, ip_2_ip6(&a->ip)->addr, sizeof(out->sin6_addr));
		out->sin6_scope_id = ip6_addr_zone(ip_2_ip6(&a->ip));
	} else if (IP_IS_V4_VAL(a->ip)) {
		out->sin6_addr.s6_addr[10] = out->sin6_addr.s6_addr[11] = 0xff;
		memcpy(&out->sin6_addr.s6_addr[12], &ip_2_ip4(&a->ip)->addr, 4);
	}
}

static void
to_in(const struct uvs_addr *a, struct sockaddr_in *out)
{
	memset(out, 0, sizeof(*out));
	out->sin_family = AF_INET;
	out->sin_port = htons(a->port);
	out->sin_addr.s_addr = IP_IS_V4_VAL(a->ip) ? ip_2_ip4(&a->ip)->addr : 0;
}

void
uvs_addr_to(const struct uvs_addr *a, int domain, struct sockaddr *addr, socklen_t *len)
{
	union {
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	} full;
	socklen_t size = domain == AF_INET6 ? sizeof(full.in6) : sizeof(full.in);

	if (addr == NULL || len == NULL)
		return;
	if (domain == AF_INET6)
		to_in6(a, &full.in6);
	else
		to_in(a, &full.in);
	memcpy(addr, &full, LWIP_MIN(*len, size));
	*len = size;
}

bool
uvs_addr_overlap(const ip_addr_t *a, const ip_addr_t *b)
{
	if (IP_IS_ANY_TYPE_VAL(*a) || IP_IS_ANY_TYPE_VAL(*b))
		return true;
	if (IP_GET_TYPE(a) != IP_GET_TYPE(b))
		return false;
	return ip_addr_isany(a) || ip_addr_isany(b) || ip_addr_cmp(a, b);
}

/* ------------------------------------------------------------------------------- of this host
 */

static bool
has_ip4(const struct netif *n, const ip4_addr_t *ip)
{
	return ip4_addr_cmp(ip, netif_ip4_addr(n)) || uvl_ip4_is_local(n, ip);
}

bool
uvs_addr_is_local(const ip_addr_t *ip)
{
	struct netif *n;

	if (uvs_addr_is_any(ip) || ip_addr_ismulticast(ip))
		return true;
	NETIF_FOREACH(n)
	{
		if (IP_IS_V6(ip) ? netif_get_ip6_addr_match(n, ip_2_ip6(ip)) >= 0
				 : has_ip4(n, ip_2_ip4(ip)))
			return true;
	}
	return false;
}

void
uvs_addr_interface_name(const struct netif *n, char *name)
{
	const struct uvs_instance *in = n->state;

	if (n == &in->lo)
		snprintf(name, IFNAMSIZ, "lo");
	else if (n == &in->netif)
		snprintf(name, IFNAMSIZ, UVS_IFNAME);
	else
		snprintf(name, IFNAMSIZ, UVS_IFNAME ".%u",
			 ((const struct uvs_vlan *)(const void *)n)->id);
}

struct netif *
uvs_addr_interface_named(const char *name)
{
	char other[IFNAMSIZ];
	struct netif *n;

	NETIF_FOREACH(n)
	{
		uvs_addr_interface_name(n, other);
		if (strncmp(name, other, IFNAMSIZ) == 0)
			return n;
	}
	return NULL;
}

struct netif *
uvs_addr_interface(int index)
{
	return index > 0 && index <= UINT8_MAX ? netif_get_by_index((u8_t)index) : NULL;
}

int
uvs_addr_source(int device, const ip_addr_t *local, const ip_addr_t *to, struct netif **out,
		ip_addr_t *from)
{
	bool any = uvs_addr_is_any(local) || ip_addr_ismulticast(local);
	struct netif *n = device != 0 ? uvs_addr_interface(device) : ip_route(any ? to : local, to);
	const ip_addr_t *ip6;

	if (n == NULL)
		return -ENETUNREACH;
	*out = n;
	if (!any) {
		*from = *local;
	} else if (IP_IS_V6(to)) {
		ip6 = ip6_select_source_address(n, ip_2_ip6(to));
		if (ip6 == NULL)
			return -ENETUNREACH;
		*from = *ip6;
	} else {
		ip_addr_copy_from_ip4(*from, *uvl_ip4_source(n, ip_2_ip4(to)));
	}
	return 0;
}

uint16_t
uvs_addr_mtu(const struct netif *n, const ip_addr_t *to)
{
	struct netif *out = (struct netif *)(uintptr_t)n;

	return IP_IS_V6(to) ? nd6_get_destination_mtu(ip_2_ip6(to), out)
			    : uvl_ip4_mtu(n, ip_2_ip4(to));
}

static bool
own_ip6(struct netif *n, ip_addr_t *out)
{
	/* The link-local one only if there is no other. */
	for (int i = LWIP_IPV6_NUM_ADDRESSES - 1; i >= 0; i--) {
		if (ip6_addr_isvalid(netif_ip6_addr_state(n, i))) {
			*out = *netif_ip_addr6(n, i);
			return true;
		}
	}
	return false;
}

ip_addr_t
uvs_addr_self(int domain, bool v6only)
{
	struct uvs_instance *in = uvs_self;
	struct netif *n = in->lo.output != NULL ? &in->lo : &in->netif;
	ip_addr_t self;

	if (domain == AF_INET6 && (own_ip6(n, &self) || v6only))
		return self;
	ip_addr_copy_from_ip4(self, *netif_ip4_addr(n));
	return self;
}
