/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * IPv4 addresses that somebody else may have (RFC 5227): asked for before they are used, if that is
 * wanted, and defended as long as they are. uvl.h has the interface.
 *
 * Of the three ways to answer a conflict (2.4) this is the third: the address is kept and defended,
 * once in ten seconds. A server's address is what its clients know it by; given up for two forged
 * packets, it would be anybody's to take away, with all connections.
 */
#include "uvl.h"

#include <string.h>

#include "lwip/etharp.h"

/* RFC 5227, 1.1; milliseconds. */
#define PROBE_WAIT        1000u
#define PROBE_NUM         3
#define PROBE_MIN         1000u
#define PROBE_MAX         2000u
#define ANNOUNCE_WAIT     2000u
#define ANNOUNCE_INTERVAL 2000u
#define DEFEND_INTERVAL   10000u

/* etharp.c, by rule. */
err_t uvl_etharp_ask(struct netif *netif, const ip4_addr_t *from, const ip4_addr_t *about);

static struct uvl_claim *
claim_of(const ip4_addr_t *addr)
{
	struct uvl_claims *c = &uvl_self->claims;

	for (unsigned int i = 0; i < c->n; i++)
		if (ip4_addr_cmp(&c->claim[i].addr, addr))
			return &c->claim[i];
	return NULL;
}

/* One more; leases come and go, so that the oldest makes room. */
static struct uvl_claim *
new_claim(const ip4_addr_t *addr)
{
	struct uvl_claims *c = &uvl_self->claims;

	if (c->n == UVL_CLAIMS) {
		memmove(&c->claim[0], &c->claim[1], (UVL_CLAIMS - 1) * sizeof(c->claim[0]));
		c->n--;
	}
	c->claim[c->n] = (struct uvl_claim){.addr = *addr};
	return &c->claim[c->n++];
}

/* ------------------------------------------------------------------------------- before it is used
 */

static void
ask_for_all(const struct uvl_claims *c)
{
	for (unsigned int i = 0; i < c->n; i++)
		if (!c->claim[i].taken)
			uvl_claim_ask(c->netif, &c->claim[i].addr);
}

static void
announce_all(void *arg)
{
	struct uvl_claims *c = arg;

	for (unsigned int i = 0; i < c->n; i++)
		if (!c->claim[i].taken)
			uvl_etharp_ask(c->netif, &c->claim[i].addr, &c->claim[i].addr);
}

static void
probe(void *arg)
{
	struct uvl_claims *c = arg;

	if (c->probes == 0) {
		c->probing = false;
		c->done(c->netif); /* announces them */
		sys_timeout(ANNOUNCE_INTERVAL, announce_all, c);
		return;
	}
	ask_for_all(c);
	c->probes--;
	sys_timeout(c->probes == 0 ? ANNOUNCE_WAIT
				   : PROBE_MIN + uvl_rand() % (PROBE_MAX - PROBE_MIN + 1),
		    probe, c);
}

void
uvl_claims_probe(struct netif *netif, const ip4_addr_t *addr, unsigned int n,
		 void (*done)(struct netif *netif))
{
	struct uvl_claims *c = &uvl_self->claims;

	*c = (struct uvl_claims){
		.netif = netif, .done = done, .probing = true, .probes = PROBE_NUM};
	for (unsigned int i = 0; i < n; i++)
		new_claim(&addr[i]);
	sys_timeout(uvl_rand() % (PROBE_WAIT + 1), probe, c);
}

bool
uvl_claims_probing(void)
{
	return uvl_self->claims.probing;
}

bool
uvl_claim_lost(const ip4_addr_t *addr)
{
	const struct uvl_claim *claim = claim_of(addr);

	return claim != NULL && claim->taken;
}

void
uvl_claim_ask(struct netif *netif, const ip4_addr_t *addr)
{
	const ip4_addr_t nobody = {0};

	uvl_etharp_ask(netif, &nobody, addr);
}

/* 2.1.1: he has it, or would like to have it as we do. */
static void
hear_while_probing(const ip4_addr_t *from, const ip4_addr_t *about, const u8_t *mac)
{
	struct uvl_claim *claim = claim_of(ip4_addr_isany_val(*from) ? about : from);

	if (claim == NULL || claim->taken)
		return;
	claim->taken = true;
	uvl_on_conflict(&claim->addr, mac, false);
}

/* ------------------------------------------------------------------------------------ while it is
 */

static void
defend(struct netif *netif, const ip4_addr_t *addr, const u8_t *mac)
{
	struct uvl_claim *claim = claim_of(addr);

	if (claim == NULL)
		claim = new_claim(addr);
	if (claim->defended && sys_now() - claim->defended_at < DEFEND_INTERVAL)
		return;
	claim->defended = true;
	claim->defended_at = sys_now();
	uvl_on_conflict(addr, mac, true);
	uvl_etharp_ask(netif, addr, addr);
}

bool
uvl_arp_conflicts(struct netif *netif, const ip4_addr_t *from, const ip4_addr_t *about,
		  const u8_t *mac)
{
	if (memcmp(mac, netif->hwaddr, ETH_HWADDR_LEN) == 0)
		return false;
	if (uvl_self->claims.probing)
		hear_while_probing(from, about, mac);
	if (ip4_addr_isany_val(*from) ||
	    (!ip4_addr_cmp(from, netif_ip4_addr(netif)) && !uvl_ip4_is_local(netif, from)))
		return false;
	defend(netif, from, mac);
	return true;
}
