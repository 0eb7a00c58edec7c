/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Addresses and routes of the interface, as the configuration says. */
#include "stack/core/instance.h"
#include "stack/core/log.h"

#include <arpa/inet.h>
#include <string.h>

#include "lwip/dhcp.h"
#include "lwip/etharp.h"
#include "lwip/nd6.h"

/* ------------------------------------------------------------------------------------------ IPv4
 */

static ip4_addr_t
mask_of(unsigned int prefix)
{
	return (ip4_addr_t){prefix == 0 ? 0 : htonl(0xffffffffu << (32 - prefix))};
}

/* Another host has it, which only an administrator can mend. */
void
uvl_on_conflict(const ip4_addr_t *addr, const u8_t *mac, bool kept)
{
	char text[INET_ADDRSTRLEN];

	inet_ntop(AF_INET, addr, text, sizeof(text));
	uvs_log(kept ? UVS_LOG_WARNING : UVS_LOG_ERROR,
		"address: another host, %02x:%02x:%02x:%02x:%02x:%02x, has %s as well: %s (give it "
		"to one of them only)",
		mac[0], mac[1], mac[2], mac[3], mac[4], mac[5], text,
		kept ? "it is kept and defended here" : "it is not used here");
}

/* The first of those that nobody else has is the interface's own. ask: whether somebody has them.
 */
static void
use_nets(struct netif *n, const struct uvs_conf_nets *nets, struct in_addr router, bool ask)
{
	ip4_addr_t gw = {router.s_addr};
	bool first = true;

	for (unsigned int i = 0; i < nets->n; i++) {
		ip4_addr_t addr = {nets->net[i].v4.s_addr};
		ip4_addr_t mask = mask_of(nets->net[i].prefix);

		if (uvl_claim_lost(&addr))
			continue;
		if (ask)
			uvl_claim_ask(n, &addr);
		if (first) {
			/* Announces the address, the interface being up: gratuitous ARP. */
			netif_set_addr(n, &addr, &mask, &gw);
		} else {
			uvl_ip4_add(n, &addr, &mask);
			etharp_request(n, &addr);
		}
		first = false;
	}
}

static void
use_ip4(struct netif *n)
{
	const struct uvs_instance *in = n->state;
	const struct uvs_conf *c = in->conf;

	use_nets(n, &c->addresses, c->gateway.addr, !c->address_probe);
}

static void
add_ip4(struct uvs_instance *in)
{
	const struct uvs_conf *c = in->conf;
	ip4_addr_t addr[UVL_CLAIMS];

	if (c->addresses.automatic && dhcp_start(&in->netif) != ERR_OK)
		uvs_log(UVS_LOG_ERROR, "address: no memory to ask for one by DHCP");
	if (!c->address_probe) {
		use_ip4(&in->netif);
		return;
	}
	for (unsigned int i = 0; i < c->addresses.n; i++)
		addr[i].addr = c->addresses.net[i].v4.s_addr;
	uvl_claims_probe(&in->netif, addr, c->addresses.n, use_ip4);
}

/* ------------------------------------------------------------------------------------------ IPv6
 */

static ip_addr_t
ip6_of(const struct in6_addr *a, struct netif *n)
{
	ip_addr_t ip = IPADDR6_INIT(0, 0, 0, 0);

	memcpy(ip_2_ip6(&ip)->addr, a, sizeof(*a));
	ip6_addr_assign_zone(ip_2_ip6(&ip), IP6_UNICAST, n);
	return ip;
}

/* RFC 4429: used at once, and probed. */
static void
use_ip6(struct netif *n, s8_t i)
{
	netif_ip6_addr_set_state(n, i, IP6_ADDR_PREFERRED);
	uvl_nd6_probe(n, i);
}

static void
add_ip6_address(struct netif *n, const struct uvs_conf_net *net)
{
	ip_addr_t ip = ip6_of(&net->v6, n);
	s8_t i;

	if (netif_add_ip6_address(n, ip_2_ip6(&ip), &i) != ERR_OK)
		return; /* there are as many places as addresses: it was the link-local one */
	use_ip6(n, i);
	uvl_route_add(n, &ip, net->prefix, NULL);
}

static void
on_lease(const struct netif *n)
{
	char address[INET_ADDRSTRLEN], mask[INET_ADDRSTRLEN], router[INET_ADDRSTRLEN];

	if (ip4_addr_isany(netif_ip4_addr(n))) {
		uvs_log(UVS_LOG_NOTICE, "address: the lease has ended");
		return;
	}
	inet_ntop(AF_INET, netif_ip4_addr(n), address, sizeof(address));
	inet_ntop(AF_INET, netif_ip4_netmask(n), mask, sizeof(mask));
	inet_ntop(AF_INET, netif_ip4_gw(n), router, sizeof(router));
	uvs_log(UVS_LOG_NOTICE, "address: %s leased, mask %s, router %s", address, mask, router);
}

/* A duplicate is of no use, and nobody else will tell. */
static void
on_change(struct netif *n, netif_nsc_reason_t reason, const netif_ext_callback_args_t *args)
{
	const struct uvs_instance *in = n->state;
	char text[INET6_ADDRSTRLEN];
	s8_t i;

	if ((reason & LWIP_NSC_IPV4_ADDRESS_CHANGED) && in->conf->addresses.automatic)
		on_lease(n);
	if (!(reason & LWIP_NSC_IPV6_ADDR_STATE_CHANGED))
		return;
	i = args->ipv6_addr_state_changed.addr_index;
	if (!ip6_addr_isduplicated(netif_ip6_addr_state(n, i)))
		return;
	inet_ntop(AF_INET6, netif_ip6_addr(n, i)->addr, text, sizeof(text));
	uvs_log(UVS_LOG_WARNING,
		"address6: another host has %s already: it is not used here (give it to one of "
		"them "
		"only)",
		text);
}

static void
add_ip6_addresses(struct netif *n, const struct uvs_conf_nets *nets)
{
	netif_create_ip6_linklocal_address(n, 1);
	use_ip6(n, 0);
	n->rs_count = 0;
	for (unsigned int i = 0; i < nets->n; i++)
		add_ip6_address(n, &nets->net[i]);
}

static void
add_ip6(struct uvs_instance *in)
{
	const struct uvs_conf *c = in->conf;
	struct netif *n = &in->netif;
	/* ff02::1 is never joined: every node is in it. */
	static const struct rte_ether_addr all_nodes = {{0x33, 0x33, 0, 0, 0, 1}};

	if (!uvs_conf_has_ipv6(c))
		return;
	uvs_port_hear(&in->port, &all_nodes);
	add_ip6_addresses(n, &c->addresses6);
	if (c->addresses6.automatic || c->gateway6.family == 0) {
		netif_set_ip6_autoconfig_enabled(n, c->addresses6.automatic);
		n->rs_count = LWIP_ND6_MAX_MULTICAST_SOLICIT;
		nd6_tmr(); /* asks for routers now, not in a second */
	}
}

void
uvs_addresses_remove(struct uvs_instance *in)
{
	if (!in->conf->addresses.automatic)
		return;
	dhcp_release_and_stop(&in->netif);
	dhcp_cleanup(&in->netif);
}

static bool
has_advertised(const struct netif *n)
{
	for (s8_t i = 1; i < LWIP_IPV6_NUM_ADDRESSES; i++)
		if (ip6_addr_isvalid(netif_ip6_addr_state(n, i)) && !netif_ip6_addr_isstatic(n, i))
			return true;
	return n->rs_count == 0; /* nobody answers: there is no router */
}

bool
uvs_addresses_ready(const struct uvs_instance *in)
{
	const struct uvs_conf *c = in->conf;

	if (uvl_claims_probing() || (c->addresses.automatic && !dhcp_supplied_address(&in->netif)))
		return false;
	return !c->addresses6.automatic || has_advertised(&in->netif);
}

/* ---------------------------------------------------------------------------------------- routes
 */

static ip_addr_t
ip_of(const struct uvs_conf_net *net, struct netif *n)
{
	return net->family == AF_INET6 ? ip6_of(&net->v6, n)
				       : (ip_addr_t)IPADDR4_INIT(net->v4.s_addr);
}

/* For all that is on no link. */
static void
add_router(struct netif *n, const struct uvs_conf_net *router)
{
	struct uvs_conf_net all = {.family = router->family};
	ip_addr_t dest = ip_of(&all, n), via = ip_of(router, n);

	if (router->family != 0)
		uvl_route_add(n, &dest, 0, &via);
}

static void
add_routes(struct uvs_instance *in)
{
	const struct uvs_conf *c = in->conf;
	struct netif *n = &in->netif;

	for (unsigned int i = 0; i < c->routes.n; i++) {
		ip_addr_t dest = ip_of(&c->routes.route[i].dest, n);
		ip_addr_t via = ip_of(&c->routes.route[i].via, n);

		uvl_route_add(n, &dest, c->routes.route[i].dest.prefix, &via);
	}
	add_router(n, &c->gateway6);
}

/* Behind those of the port itself, which go first where both would do. */
static void
add_vlan(struct netif *n, const struct uvs_conf_vlan *v)
{
	use_nets(n, &v->addresses, v->via.v4, true);
	add_router(n, &v->via);
	if (v->addresses6.n == 0)
		return;
	add_ip6_addresses(n, &v->addresses6);
	add_router(n, &v->via6);
}

void
uvs_addresses_add(struct uvs_instance *in)
{
	uvl_self->ip4_df_ = UVL_DF_IF_IT_FITS;
	netif_add_ext_callback(&in->on_change, on_change);
	add_ip4(in);
	add_ip6(in);
	add_routes(in);
	for (unsigned int i = 0; i < in->nvlans; i++)
		add_vlan(&in->vlan[i].netif, &in->conf->vlans.vlan[i]);
}
