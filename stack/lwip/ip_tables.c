/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What lwIP's IP layer asks of us (rules/85-ip.toml, rules/86-nd6.toml): further IPv4 addresses of
 * an interface, routes by the longest prefix, path MTUs of IPv4, and whether an ICMP error is about
 * something that this host has sent. uvl.h has the interface.
 */
#include "uvl.h"

#include <string.h>

#include "lwip/icmp6.h"
#include "lwip/inet_chksum.h"
#include "lwip/prot/icmp6.h"
#include "lwip/prot/ip4.h"
#include "lwip/prot/ip6.h"
#include "lwip/prot/tcp.h"
#include "lwip/prot/udp.h"
#include "lwip/tcp.h"

/* ------------------------------------------------------------------------------- IPv4 addresses */

bool
uvl_ip4_add(struct netif *netif, const ip4_addr_t *addr, const ip4_addr_t *mask)
{
	struct uvl *self = uvl_self;

	if (self->ip4_aliases_ == UVL_IP4_ALIASES)
		return false;
	self->ip4_alias_[self->ip4_aliases_++] =
		(struct uvl_ip4_alias){.netif = netif, .addr = *addr, .mask = *mask};
	return true;
}

void
uvl_ip4_remove(const ip4_addr_t *addr)
{
	struct uvl *self = uvl_self;

	for (unsigned int i = 0; i < self->ip4_aliases_; i++) {
		if (ip4_addr_cmp(&self->ip4_alias_[i].addr, addr)) {
			self->ip4_alias_[i] = self->ip4_alias_[--self->ip4_aliases_];
			return;
		}
	}
}

static bool
is_alias(const struct netif *netif, const ip4_addr_t *addr)
{
	for (unsigned int i = 0; i < uvl_self->ip4_aliases_; i++) {
		const struct uvl_ip4_alias *a = &uvl_self->ip4_alias_[i];

		if (a->netif == netif && ip4_addr_cmp(&a->addr, addr))
			return true;
	}
	return false;
}

bool
uvl_ip4_is_local(const struct netif *netif, const ip4_addr_t *addr)
{
	/* All of 127.0.0.0/8 is the loopback interface's. */
	if (ip4_addr_isloopback(addr))
		return ip4_addr_isloopback(netif_ip4_addr(netif));
	return is_alias(netif, addr);
}

/* The address of the interface in whose network addr is. NULL: none but the interface's first may.
 */
static const struct uvl_ip4_alias *
alias_for(const struct netif *netif, u32_t addr)
{
	for (unsigned int i = 0; i < uvl_self->ip4_aliases_; i++) {
		const struct uvl_ip4_alias *a = &uvl_self->ip4_alias_[i];

		if (a->netif == netif && ((a->addr.addr ^ addr) & a->mask.addr) == 0)
			return a;
	}
	return NULL;
}

bool
uvl_ip4_on_link(const struct netif *netif, const ip4_addr_t *addr)
{
	return alias_for(netif, addr->addr) != NULL;
}

u8_t
uvl_ip4_is_broadcast(const struct netif *netif, u32_t addr)
{
	const struct uvl_ip4_alias *a = alias_for(netif, addr);

	return a != NULL && addr != a->addr.addr && (addr | a->mask.addr) == IPADDR_BROADCAST;
}

const ip4_addr_t *
uvl_ip4_source(const struct netif *netif, const ip4_addr_t *dest)
{
	const struct uvl_ip4_alias *a;

	if (ip4_addr_netcmp(dest, netif_ip4_addr(netif), netif_ip4_netmask(netif)))
		return netif_ip4_addr(netif);
	a = alias_for(netif, dest->addr);
	return a != NULL ? &a->addr : netif_ip4_addr(netif);
}

/* --------------------------------------------------------------------------------------- routes */

/* Longest prefix first, so that the first that matches is the one. */
bool
uvl_route_add(struct netif *netif, const ip_addr_t *dest, u8_t prefix, const ip_addr_t *via)
{
	struct uvl *self = uvl_self;
	unsigned int at = 0;

	if (self->nroutes_ == UVL_ROUTES)
		return false;
	while (at < self->nroutes_ && self->routes_[at].prefix >= prefix)
		at++;
	memmove(&self->routes_[at + 1], &self->routes_[at],
		(self->nroutes_ - at) * sizeof(self->routes_[0]));
	self->nroutes_++;
	self->routes_[at] = (struct uvl_route){.netif = netif, .dest = *dest, .prefix = prefix};
	if (via != NULL) {
		self->routes_[at].via = *via;
		self->routes_[at].gateway = true;
	}
	return true;
}

static bool
within(const u32_t *a, const u32_t *b, unsigned int prefix)
{
	unsigned int words = prefix / 32, bits = prefix % 32;

	for (unsigned int i = 0; i < words; i++)
		if (a[i] != b[i])
			return false;
	return bits == 0 || ((a[words] ^ b[words]) & lwip_htonl(0xffffffffu << (32 - bits))) == 0;
}

static const struct uvl_route *
find_route(u8_t type, const u32_t *dest, const struct netif *netif)
{
	for (unsigned int i = 0; i < uvl_self->nroutes_; i++) {
		const struct uvl_route *r = &uvl_self->routes_[i];

		if (IP_GET_TYPE(&r->dest) != type || (netif != NULL && r->netif != netif))
			continue;
		if (within(type == IPADDR_TYPE_V6 ? ip_2_ip6(&r->dest)->addr
						  : &ip_2_ip4(&r->dest)->addr,
			   dest, r->prefix))
			return r;
	}
	return NULL;
}

/* The interface that has a network with dest. */
static struct netif *
link_of(const ip4_addr_t *dest)
{
	struct netif *n;

	for (unsigned int i = 0; i < uvl_self->ip4_aliases_; i++) {
		const struct uvl_ip4_alias *a = &uvl_self->ip4_alias_[i];

		if (((a->addr.addr ^ dest->addr) & a->mask.addr) == 0)
			return a->netif;
	}
	NETIF_FOREACH(n)
	{
		if (!ip4_addr_isany_val(*netif_ip4_addr(n)) &&
		    ip4_addr_netcmp(dest, netif_ip4_addr(n), netif_ip4_netmask(n)))
			return n;
	}
	return NULL;
}

/* The interface, but for the default one, that has this address. */
static struct netif *
owner_of(const ip4_addr_t *addr)
{
	struct netif *n;

	if (ip4_addr_isany(addr)) /* NULL is, too */
		return NULL;
	NETIF_FOREACH(n)
	{
		if (n != netif_default &&
		    (ip4_addr_cmp(addr, netif_ip4_addr(n)) || is_alias(n, addr)))
			return n;
	}
	return NULL;
}

/* What is on no link goes by a router of the interface whose address it comes from, if that has
 * one; else as the routes say, the default interface's own router before those of others. */
struct netif *
uvl_ip4_route(const ip4_addr_t *src, const ip4_addr_t *dest)
{
	const struct uvl_route *r;
	struct netif *n;

	if (uvl_self->ip4_aliases_ == 0 && uvl_self->nroutes_ == 0)
		return NULL;
	n = link_of(dest);
	if (n != NULL)
		return n;
	n = owner_of(src);
	if (n != NULL && find_route(IPADDR_TYPE_V4, &dest->addr, n) != NULL)
		return n;
	r = find_route(IPADDR_TYPE_V4, &dest->addr, NULL);
	if (r == NULL || (r->prefix == 0 && r->netif != netif_default && netif_default != NULL &&
			  !ip4_addr_isany_val(*netif_ip4_gw(netif_default))))
		return NULL;
	return r->netif;
}

const ip4_addr_t *
uvl_ip4_gateway(const struct netif *netif, const ip4_addr_t *dest)
{
	const struct uvl_route *r = find_route(IPADDR_TYPE_V4, &dest->addr, netif);

	return r != NULL && r->gateway ? ip_2_ip4(&r->via) : NULL;
}

bool
uvl_ip6_on_link(const struct netif *netif, const ip6_addr_t *dest)
{
	const struct uvl_route *r = find_route(IPADDR_TYPE_V6, dest->addr, netif);

	return r != NULL && !r->gateway;
}

struct netif *
uvl_ip6_route(const ip6_addr_t *src, const ip6_addr_t *dest)
{
	const struct uvl_route *r = find_route(IPADDR_TYPE_V6, dest->addr, NULL);
	struct netif *n;

	if (r == NULL || !r->gateway)
		return r != NULL ? r->netif : NULL;
	NETIF_FOREACH(n)
	{
		if (netif_get_ip6_addr_match(n, src) >= 0 &&
		    find_route(IPADDR_TYPE_V6, dest->addr, n) != NULL)
			return n;
	}
	return r->netif;
}

const ip6_addr_t *
uvl_ip6_gateway(const struct netif *netif, const ip6_addr_t *dest)
{
	const struct uvl_route *r = find_route(IPADDR_TYPE_V6, dest->addr, netif);

	return r != NULL && r->gateway ? ip_2_ip6(&r->via) : NULL;
}

/* ------------------------------------------------------------------------------------- path MTU */

static struct uvl_pmtu *
pmtu_slot(const ip4_addr_t *dest)
{
	uint64_t h = (dest->addr ^ uvl_self->secret.k0) * 0x9e3779b97f4a7c15u;

	return &uvl_self->pmtu_[h >> 32 & (UVL_PMTUS - 1)];
}

u16_t
uvl_ip4_mtu(const struct netif *netif, const ip4_addr_t *dest)
{
	const struct uvl_pmtu *p;

	if (uvl_self->pmtus_ == 0)
		return netif->mtu;
	p = pmtu_slot(dest);
	if (p->mtu == 0 || !ip4_addr_cmp(&p->dest, dest) || p->mtu >= netif->mtu ||
	    sys_now() - p->since >= UVL_PMTU_LIFE_MS)
		return netif->mtu;
	return p->mtu;
}

u16_t
uvl_ip4_df(const struct netif *netif, const ip4_addr_t *dest, u16_t len)
{
	if (uvl_self->ip4_df_ == UVL_DF_NEVER || ip4_addr_ismulticast(dest))
		return 0;
	if (uvl_self->ip4_df_ == UVL_DF_IF_IT_FITS && len > uvl_ip4_mtu(netif, dest))
		return 0;
	return PP_HTONS(IP_DF);
}

/* One slot by a keyed hash: two paths that meet there take turns, which costs some round trips. */
static void
learn_pmtu(const ip4_addr_t *dest, u16_t mtu)
{
	struct uvl_pmtu *p = pmtu_slot(dest);

	*p = (struct uvl_pmtu){.dest = *dest, .mtu = mtu, .since = sys_now()};
	uvl_self->pmtus_ = 1;
}

/* ----------------------------------------------------------- is an ICMP error about one of ours?
 */

/* The first bytes of a transport header, as quoted. */
struct quoted {
	ip_addr_t local, remote;
	u8_t proto;
	u16_t local_port, remote_port;
	u32_t seqno;
};

static void
quote_ports(struct quoted *q, const u8_t *l4)
{
	struct tcp_hdr tcp; /* the eight bytes that are there: ports and, of TCP, seqno */

	memcpy(&tcp, l4, 8);
	q->local_port = lwip_ntohs(tcp.src);
	q->remote_port = lwip_ntohs(tcp.dest);
	q->seqno = lwip_ntohl(tcp.seqno);
}

static bool
quote6(struct quoted *q, const struct pbuf *p)
{
	u8_t bytes[sizeof(struct icmp6_hdr) + IP6_HLEN + 8];
	struct ip6_hdr ip;

	if (pbuf_copy_partial(p, bytes, sizeof(bytes), 0) < sizeof(bytes))
		return false;
	memcpy(&ip, bytes + sizeof(struct icmp6_hdr), sizeof(ip));
	ip_addr_copy_from_ip6_packed(q->local, ip.src);
	ip_addr_copy_from_ip6_packed(q->remote, ip.dest);
	ip6_addr_assign_zone(ip_2_ip6(&q->local), IP6_UNICAST, ip_current_input_netif());
	ip6_addr_assign_zone(ip_2_ip6(&q->remote), IP6_UNICAST, ip_current_input_netif());
	q->proto = IP6H_NEXTH(&ip);
	quote_ports(q, bytes + sizeof(struct icmp6_hdr) + IP6_HLEN);
	return netif_get_ip6_addr_match(ip_current_input_netif(), ip_2_ip6(&q->local)) >= 0;
}

static struct tcp_pcb *
connection(const struct quoted *q)
{
	return uvl_tcp_find(&q->local, q->local_port, &q->remote, q->remote_port,
			    ip_current_input_netif());
}

static bool
in_flight(const struct quoted *q)
{
	const struct tcp_pcb *pcb;

	if (q->proto != IP_PROTO_TCP)
		return true;
	pcb = connection(q);
	return pcb != NULL && TCP_SEQ_GEQ(q->seqno, pcb->lastack) &&
	       TCP_SEQ_LT(q->seqno, pcb->snd_nxt);
}

/* What is queued already is cut up by IP when it is sent (again); what is written from now on fits.
 */
static void
lower_mss(const struct quoted *q, u16_t mss)
{
	struct tcp_pcb *pcb = q->proto == IP_PROTO_TCP ? connection(q) : NULL;

	if (pcb == NULL || pcb->mss <= mss)
		return;
	pcb->mss = mss;
	tcp_rexmit_rto(pcb);
}

bool
uvl_ip6_sent(const struct pbuf *p)
{
	struct quoted q;

	return quote6(&q, p) && in_flight(&q);
}

void
uvl_ip6_lower_mss(const struct pbuf *p, u16_t pmtu)
{
	struct quoted q;

	if (quote6(&q, p))
		lower_mss(&q, (u16_t)(pmtu - IP6_HLEN - TCP_HLEN));
}

/* RFC 1191: routers older than it name no MTU; then the next lower of the usual ones is tried. */
static u16_t
plateau(u16_t len)
{
	static const u16_t usual[] = {8166, 4352, 2002, 1492, 1006, 576};

	for (size_t i = 0; i < sizeof(usual) / sizeof(usual[0]); i++)
		if (usual[i] < len)
			return usual[i];
	return UVL_IP4_MTU_LEAST;
}

bool
uvl_ip4_too_big(const u8_t *inner, size_t len, u16_t mtu)
{
	struct netif *netif = ip_current_input_netif();
	struct quoted q = {0};
	struct ip_hdr ip;
	ip4_addr_t dest;
	size_t header;

	if (len < sizeof(ip))
		return false;
	memcpy(&ip, inner, sizeof(ip));
	header = IPH_HL_BYTES(&ip);
	if (header < sizeof(ip) || len < header + 8 || netif == NULL)
		return false;
	ip_addr_copy_from_ip4(q.local, ip.src);
	ip_addr_copy_from_ip4(q.remote, ip.dest);
	ip4_addr_copy(dest, ip.dest);
	q.proto = IPH_PROTO(&ip);
	quote_ports(&q, inner + header);
	if (!in_flight(&q))
		return false;
	if (mtu == 0)
		mtu = plateau(lwip_ntohs(IPH_LEN(&ip)));
	/* Least of what is believed, as Linux does: smaller ones are attacks or dial-up lines. */
	mtu = LWIP_MAX(mtu, (u16_t)UVL_IP4_MTU_LEAST);
	if (mtu >= uvl_ip4_mtu(netif, &dest))
		return false;
	learn_pmtu(&dest, mtu);
	lower_mss(&q, (u16_t)(mtu - IP_HLEN - TCP_HLEN));
	return true;
}

/* ------------------------------------------------------------------------------------ checksums */

static u16_t
sum_behind(struct pbuf *p, u16_t header, u8_t proto, const ip_addr_t *src, const ip_addr_t *dest)
{
	u16_t sum;

	pbuf_remove_header(p, header);
	sum = ip_chksum_pseudo(p, proto, p->tot_len, src, dest);
	pbuf_add_header(p, header);
	return sum;
}

static u8_t
addresses(const void *packet, ip_addr_t *src, ip_addr_t *dest, u16_t *header)
{
	if (*(const u8_t *)packet >> 4 == 6) {
		const struct ip6_hdr *ip = packet;

		ip_addr_copy_from_ip6_packed(*src, ip->src);
		ip_addr_copy_from_ip6_packed(*dest, ip->dest);
		*header = IP6_HLEN;
		return IP6H_NEXTH(ip);
	}
	const struct ip_hdr *ip = packet;

	ip_addr_copy_from_ip4(*src, ip->src);
	ip_addr_copy_from_ip4(*dest, ip->dest);
	*header = IPH_HL_BYTES(ip);
	return IPH_PROTO(ip);
}

/* Offset of the sum in its header, if lwIP has left it to the port. */
static u16_t
missing_sum(const struct netif *netif, u8_t proto)
{
#if LWIP_CHECKSUM_CTRL_PER_NETIF
	if (proto == IP_PROTO_TCP && !(netif->chksum_flags & NETIF_CHECKSUM_GEN_TCP))
		return offsetof(struct tcp_hdr, chksum);
	if (proto == IP_PROTO_UDP && !(netif->chksum_flags & NETIF_CHECKSUM_GEN_UDP))
		return offsetof(struct udp_hdr, chksum);
#else
	(void)netif;
	(void)proto;
#endif
	return 0;
}

void
uvl_sum_in_software(struct pbuf *p, const struct netif *netif)
{
	ip_addr_t src, dest;
	u16_t header, at, sum = 0;
	u8_t proto = addresses(p->payload, &src, &dest, &header);

	at = missing_sum(netif, proto);
	if (at == 0)
		return;
	at = (u16_t)(at + header);
	pbuf_take_at(p, &sum, sizeof(sum), at);
	sum = sum_behind(p, header, proto, &src, &dest);
	if (sum == 0 && proto == IP_PROTO_UDP)
		sum = 0xffff;
	pbuf_take_at(p, &sum, sizeof(sum), at);
}

bool
uvl_nd6_waiting(void)
{
	for (unsigned int i = 0; i < LWIP_ND6_NUM_NEIGHBORS; i++)
		if (uvl_self->neighbor_cache_[i].state == ND6_INCOMPLETE &&
		    uvl_self->neighbor_cache_[i].q != NULL)
			return true;
	return false;
}

/* --------------------------------------------------------------------------- rationing of errors
 */

bool
uvl_icmp_may_complain(void)
{
	struct uvl *self = uvl_self;
	u32_t now = sys_now(), earned = now - self->icmp_since_;

	if (self->silent)
		return false;
	/* One a millisecond, and a burst. */
	self->icmp_since_ = now;
	self->icmp_left_ = (u16_t)LWIP_MIN(self->icmp_left_ + (u64_t)earned, UVL_ICMP_BURST);
	if (self->icmp_left_ == 0)
		return false;
	self->icmp_left_--;
	return true;
}
