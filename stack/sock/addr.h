/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack/sock/addr.h - sockaddr and lwIP's ip_addr_t.
 *
 * An AF_INET6 socket speaks IPv4 through mapped addresses (RFC 4291, 2.5.5.2): inside they are
 * plain IPv4. Its "::" is lwIP's ANY type, both families at once, unless IPV6_V6ONLY.
 */
#ifndef STACK_SOCK_ADDR_H
#define STACK_SOCK_ADDR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "stack/lwip/uvl.h"

struct uvs_addr {
	ip_addr_t ip;
	uint16_t port; /* host order */
};

/* 0, -EINVAL (too short; a link-local address without its scope id), -EAFNOSUPPORT. For a socket of
 * `domain`. Zones of IPv6 addresses are interface indices; a multicast address of link scope
 * without one is on the port's. */
int uvs_addr_from(struct uvs_addr *out, int domain, bool v6only, const struct sockaddr *addr,
		  socklen_t len);

/* As the kernel does: copies what fits, sets *len to what there is. */
void uvs_addr_to(const struct uvs_addr *a, int domain, struct sockaddr *addr, socklen_t *len);

/* Could a packet for one be for the other? Equal, or one of them stands for all. */
bool uvs_addr_overlap(const ip_addr_t *a, const ip_addr_t *b);

/* Under the instance. Is it an address of this host, or a group? */
bool uvs_addr_is_local(const ip_addr_t *ip);

/* Under the instance. Which way to `to`, and with which address of this host; device: index of the
 * interface to take, 0 any; local: the address asked for, or any. 0 or -ENETUNREACH. */
int uvs_addr_source(int device, const ip_addr_t *local, const ip_addr_t *to, struct netif **out,
		    ip_addr_t *from);

/* Under the instance. Interfaces by index, NULL: there is none; and by name, which need not end
 * within IFNAMSIZ. Those of VLANs have their number in their name: uv0.100. */
struct netif *uvs_addr_interface(int index);
struct netif *uvs_addr_interface_named(const char *name);
/* name: IFNAMSIZ bytes */
void uvs_addr_interface_name(const struct netif *n, char *name);

/* Under the instance. The largest packet that fits the way to `to`. */
uint16_t uvs_addr_mtu(const struct netif *n, const ip_addr_t *to);

/* Under the instance. What connect() to "any" means: this host; v6 first, if the family may. */
ip_addr_t uvs_addr_self(int domain, bool v6only);

static inline bool
uvs_addr_is_any(const ip_addr_t *a)
{
	return IP_IS_ANY_TYPE_VAL(*a) || ip_addr_isany(a);
}

#endif /* STACK_SOCK_ADDR_H */
