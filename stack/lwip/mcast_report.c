/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What routers are told of the host's groups: IGMPv3 (RFC 3376) and MLDv2 (RFC 3810), which know
 * sources. lwIP keeps the groups and the times at which something is to be said about one; what is
 * said is made here. While an older querier is about, lwIP says it in the older language, which
 * knows no sources. uvl.h has the interface.
 */
#include "uvl.h"

#include <string.h>

#include "lwip/icmp6.h"
#include "lwip/igmp.h"
#include "lwip/inet_chksum.h"
#include "lwip/mem.h"
#include "lwip/mld6.h"
#include "lwip/prot/icmp6.h"
#include "lwip/prot/igmp.h"

/* 8.12, and 9.12 of RFC 3810: two query intervals of 125 s and a response interval of 10 s. */
#define OLD_QUERIER_MS 260000u

#define REPORT4      0x22
#define REPORT6      143
#define TTL          1
#define TOS          0xc0 /* RFC 3376, 4: internetwork control */
#define HOP_BY_HOP   8
#define CHANGE_TICKS 10 /* unsolicited reports come again within a second, in ticks of 100 ms */

/* Kinds of record. */
enum { IS_INCLUDE = 1, IS_EXCLUDE, TO_INCLUDE, TO_EXCLUDE, ALLOW_NEW, BLOCK_OLD };

/* One report has one record. IGMP's header is like MLD's, but for its type and place of the sum. */
struct head {
	u8_t type, code;
	u16_t sum, reserved, records;
	u8_t kind, aux;
	u16_t sources;
} __attribute__((packed));

/* ------------------------------------------------------------------------------------- filters */

static struct uvl_mcast_filter **
find(const struct netif *netif, const ip_addr_t *group)
{
	struct uvl_mcast_filter **f = &uvl_self->mcast.filters;

	while (*f != NULL && ((*f)->netif != netif || !ip_addr_cmp(&(*f)->group, group)))
		f = &(*f)->next;
	return f;
}

static bool
has(const ip_addr_t *source, unsigned int n, const ip_addr_t *one)
{
	for (unsigned int i = 0; i < n; i++)
		if (ip_addr_cmp(&source[i], one))
			return true;
	return false;
}

/* Those of a that are not in b; how many. */
static unsigned int
without(ip_addr_t *to, const ip_addr_t *a, unsigned int na, const ip_addr_t *b, unsigned int nb)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < na; i++)
		if (!has(b, nb, &a[i]))
			to[n++] = a[i];
	return n;
}

/* ------------------------------------------------------------------------------------- reports */

static void
put_address(u8_t **at, const ip_addr_t *a)
{
	size_t n = IP_IS_V6(a) ? 16 : 4;

	memcpy(*at, IP_IS_V6(a) ? (const void *)ip_2_ip6(a)->addr : &ip_2_ip4(a)->addr, n);
	*at += n;
}

static void
send4(struct netif *netif, struct pbuf *p)
{
	struct head *h = p->payload;
	u16_t alert[2] = {PP_HTONS(ROUTER_ALERT), 0};
	ip4_addr_t to;

	IP4_ADDR(&to, 224, 0, 0, 22);
	h->sum = inet_chksum_pbuf(p);
	IGMP_STATS_INC(igmp.xmit);
	ip4_output_if_opt(p, netif_ip4_addr(netif), &to, TTL, TOS, IP_PROTO_IGMP, netif, alert,
			  ROUTER_ALERTLEN);
}

/* From the link-local address, or from none while it is not valid yet (RFC 3590). */
static void
send6(struct netif *netif, struct pbuf *p)
{
	struct head *h = p->payload;
	bool valid = ip6_addr_isvalid(netif_ip6_addr_state(netif, 0));
	const ip6_addr_t *from = valid ? netif_ip6_addr(netif, 0) : IP6_ADDR_ANY6;
	ip6_addr_t to;

	IP6_ADDR(&to, PP_HTONL(0xff020000), 0, 0, PP_HTONL(0x16));
	ip6_addr_assign_zone(&to, IP6_MULTICAST, netif);
	h->sum = ip6_chksum_pseudo(p, IP6_NEXTH_ICMP6, p->tot_len, from, &to);
	ip6_options_add_hbh_ra(p, IP6_NEXTH_ICMP6, IP6_ROUTER_ALERT_VALUE_MLD);
	MLD6_STATS_INC(mld6.xmit);
	ip6_output_if(p, valid ? from : NULL, &to, TTL, 0, IP6_NEXTH_HOPBYHOP, netif);
}

static void
report(struct netif *netif, const ip_addr_t *group, u8_t kind, const ip_addr_t *source,
       unsigned int n)
{
	bool v6 = IP_IS_V6(group);
	size_t length = sizeof(struct head) + (n + 1) * (v6 ? 16 : 4);
	struct pbuf *p = pbuf_alloc(PBUF_IP, (u16_t)(length + HOP_BY_HOP), PBUF_RAM);
	u8_t *at;

	if (p == NULL)
		return; /* it is said again, by the timer or to the next query */
	pbuf_remove_header(p, HOP_BY_HOP);
	*(struct head *)p->payload = (struct head){.type = v6 ? REPORT6 : REPORT4,
						   .records = PP_HTONS(1),
						   .kind = kind,
						   .sources = lwip_htons((u16_t)n)};
	at = (u8_t *)p->payload + sizeof(struct head);
	put_address(&at, group);
	for (unsigned int i = 0; i < n; i++)
		put_address(&at, &source[i]);
	if (v6)
		send6(netif, p);
	else
		send4(netif, p);
	pbuf_free(p);
}

/* The host's state at the interface; a group without a filter is one whose sources are all wanted.
 */
static void
report_state(struct netif *netif, const ip_addr_t *group, bool change)
{
	const struct uvl_mcast_filter *f = *find(netif, group);
	bool include = f != NULL && f->include;
	u8_t kind = include ? IS_INCLUDE : IS_EXCLUDE;

	if (change)
		kind = include ? TO_INCLUDE : TO_EXCLUDE;
	report(netif, group, kind, f != NULL ? f->source : NULL, f != NULL ? f->n : 0);
}

bool
uvl_mcast_is_old(bool v6)
{
	const struct uvl_mcast *m = &uvl_self->mcast;

	return m->old[v6] && sys_now() - m->old_since[v6] < OLD_QUERIER_MS;
}

void
uvl_mcast_queried(bool v6, bool old)
{
	struct uvl_mcast *m = &uvl_self->mcast;

	if (!old)
		return;
	m->old[v6] = true;
	m->old_since[v6] = sys_now();
}

bool
uvl_mcast_say(struct netif *netif, const ip_addr_t *group, enum uvl_mcast_word word)
{
	if (uvl_mcast_is_old(IP_IS_V6(group)))
		return false;
	if (word == UVL_MCAST_LEFT)
		report(netif, group, TO_INCLUDE, NULL, 0);
	else
		report_state(netif, group, word == UVL_MCAST_JOINED);
	return true;
}

/* ---------------------------------------------------------------------------- filters that change
 */

/* What was said is said again, as the host's state is then. */
static void
again_soon(struct netif *netif, const ip_addr_t *group)
{
	u8_t ticks = (u8_t)(1 + uvl_rand() % CHANGE_TICKS);

	if (IP_IS_V6(group)) {
		struct mld_group *g = mld6_lookfor_group(netif, ip_2_ip6(group));

		if (g != NULL) {
			g->timer = ticks;
			g->group_state = UVL_MLD_DELAYING;
		}
	} else {
		struct igmp_group *g = igmp_lookfor_group(netif, ip_2_ip4(group));

		if (g != NULL) {
			g->timer = ticks;
			g->group_state = UVL_IGMP_DELAYING;
		}
	}
}

/* RFC 3376, 5.1: a change of the mode, or of the list. */
static void
tell(const struct uvl_mcast_filter *was, const struct uvl_mcast_filter *is)
{
	ip_addr_t list[UVL_MCAST_SOURCES];
	unsigned int n;

	if (was->include != is->include) {
		report(is->netif, &is->group, is->include ? TO_INCLUDE : TO_EXCLUDE, is->source,
		       is->n);
		return;
	}
	n = without(list, is->source, is->n, was->source, was->n);
	if (n != 0)
		report(is->netif, &is->group, is->include ? ALLOW_NEW : BLOCK_OLD, list, n);
	n = without(list, was->source, was->n, is->source, is->n);
	if (n != 0)
		report(is->netif, &is->group, is->include ? BLOCK_OLD : ALLOW_NEW, list, n);
}

static bool
same(const struct uvl_mcast_filter *a, const struct uvl_mcast_filter *b)
{
	ip_addr_t list[UVL_MCAST_SOURCES];

	return a->include == b->include && a->n == b->n &&
	       without(list, a->source, a->n, b->source, b->n) == 0;
}

/* Kept, or not, if all sources are wanted. */
static void
keep(const struct uvl_mcast_filter *is)
{
	struct uvl_mcast_filter **at = find(is->netif, &is->group), *f = *at;

	if (!is->include && is->n == 0) {
		if (f != NULL) {
			*at = f->next;
			mem_free(f);
		}
		return;
	}
	if (f == NULL) {
		f = mem_malloc(sizeof(*f));
		if (f == NULL)
			return; /* more is forwarded to this host than it wants, and dropped here */
		f->next = NULL;
		*at = f;
	}
	struct uvl_mcast_filter *next = f->next;
	*f = *is;
	f->next = next;
}

void
uvl_mcast_filter(const struct uvl_mcast_filter *is, bool silently)
{
	struct uvl_mcast_filter was = {.netif = is->netif, .group = is->group};
	const struct uvl_mcast_filter *f = *find(is->netif, &is->group);

	if (f != NULL)
		was = *f;
	if (same(&was, is))
		return;
	keep(is);
	if (silently || uvl_mcast_is_old(IP_IS_V6_VAL(is->group)))
		return;
	tell(&was, is);
	again_soon(is->netif, &is->group);
}

void
uvl_mcast_forget_all(void)
{
	while (uvl_self->mcast.filters != NULL) {
		struct uvl_mcast_filter *f = uvl_self->mcast.filters;

		uvl_self->mcast.filters = f->next;
		mem_free(f);
	}
}

/* Time to answer within, from RFC 3376's code or RFC 3810's: a number, or a floating point one. */
u16_t
uvl_mcast_delay(u16_t code, unsigned int bits)
{
	unsigned int limit = 1u << (bits - 1), mantissa_bits = bits - 4;
	unsigned int mantissa, exponent;

	if (code < limit)
		return code;
	mantissa = code & ((1u << mantissa_bits) - 1);
	exponent = code >> mantissa_bits & 7;
	return (u16_t)LWIP_MIN((mantissa | 1u << mantissa_bits) << (exponent + 3), 0xffffu);
}
