/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What ICMP tells sockets. lwIP keeps errors to itself: a raw PCB looks at all ICMP before it does,
 * and ICMPv6 has a hook (uvl.h). RFC 792, RFC 4443; what each code means to a socket is Linux's. */
#include "stack/sock/dgram.h"

#include "lwip/inet_chksum.h"
#include "lwip/prot/icmp.h"
#include "lwip/prot/icmp6.h"
#include "lwip/prot/ip4.h"
#include "lwip/prot/ip6.h"

/* Of a message, what is looked at: a router may quote up to 1,280 bytes, header included (RFC 4443,
 * 3), and a neighbour on a link of ours no more than fits. */
#define ENOUGH 1500

struct meaning {
	int err;
	bool hard; /* a connected socket hears of it without asking */
};

static struct meaning
of_unreachable4(uint8_t code)
{
	static const struct meaning by_code[] = {
		{ENETUNREACH, false},  {EHOSTUNREACH, false}, {ENOPROTOOPT, true},
		{ECONNREFUSED, true},  {EMSGSIZE, true},      {EOPNOTSUPP, false},
		{ENETUNREACH, true},   {EHOSTDOWN, true},     {ENONET, true},
		{ENETUNREACH, true},   {EHOSTUNREACH, true},  {ENETUNREACH, false},
		{EHOSTUNREACH, false}, {EHOSTUNREACH, true},  {EHOSTUNREACH, true},
		{EHOSTUNREACH, true},
	};

	return code < RTE_DIM(by_code) ? by_code[code] : (struct meaning){EHOSTUNREACH, false};
}

static struct meaning
of_unreachable6(uint8_t code)
{
	static const struct meaning by_code[] = {
		{ENETUNREACH, false}, {EACCES, true}, {EHOSTUNREACH, false}, {EHOSTUNREACH, false},
		{ECONNREFUSED, true}, {EACCES, true}, {EACCES, true},
	};

	return code < RTE_DIM(by_code) ? by_code[code] : (struct meaning){EPROTO, true};
}

/* To the sockets of the protocol that sent the datagram. */
static void
hand_on(struct uvs_instance *in, struct uvs_icmp_error *e, struct meaning m)
{
	e->err = m.err;
	e->hard = m.hard;
	uvs_raw_error(e);
	if (e->proto == IP_PROTO_UDP)
		uvs_udp_error(in, e);
	else if (e->proto == IP_PROTO_TCP)
		uvs_tcp_error(e);
	else if (e->proto == (IP_IS_V6_VAL(e->local.ip) ? IP6_NEXTH_ICMP6 : IP_PROTO_ICMP))
		uvs_ping_error(in, e);
}

/* ------------------------------------------------------------------------------------------ IPv4
 */

static bool
means4(uint8_t type, uint8_t code, struct meaning *m)
{
	switch (type) {
	case ICMP_DUR:
		*m = of_unreachable4(code);
		return true;
	case ICMP_TE:
		*m = (struct meaning){EHOSTUNREACH, false};
		return true;
	case ICMP_PP:
		*m = (struct meaning){EPROTO, true};
		return true;
	default:
		return false;
	}
}

/* The packet that caused the error: an IP header and at least eight bytes. */
static bool
quoted4(struct uvs_icmp_error *e, const uint8_t *inner, size_t len)
{
	struct ip_hdr ip;

	if (len < sizeof(ip))
		return false;
	memcpy(&ip, inner, sizeof(ip));
	e->header = IPH_HL_BYTES(&ip);
	if (IPH_V(&ip) != 4 || e->header < sizeof(ip) || len < e->header ||
	    (ntohs(IPH_OFFSET(&ip)) & IP_OFFMASK) != 0)
		return false;
	e->proto = IPH_PROTO(&ip);
	e->local.ip = (ip_addr_t)IPADDR4_INIT(ip.src.addr);
	e->remote.ip = (ip_addr_t)IPADDR4_INIT(ip.dest.addr);
	e->quoted = inner + e->header;
	e->len = len - e->header;
	return true;
}

static void
heard4(struct uvs_instance *in, const uint8_t *icmp, size_t len)
{
	struct uvs_icmp_error e = {.origin = SO_EE_ORIGIN_ICMP, .type = icmp[0], .code = icmp[1]};
	struct meaning m;

	if (len < UVS_ICMP_HEADER || !means4(e.type, e.code, &m))
		return;
	if (e.type == ICMP_PP)
		e.info = icmp[4];
	if (e.type == ICMP_DUR && e.code == ICMP_DUR_FRAG) {
		e.info = (uint32_t)icmp[6] << 8 | icmp[7];
		uvl_ip4_too_big(icmp + UVS_ICMP_HEADER, len - UVS_ICMP_HEADER, (u16_t)e.info);
	}
	if (quoted4(&e, icmp + UVS_ICMP_HEADER, len - UVS_ICMP_HEADER))
		hand_on(in, &e, m);
}

/* lwIP has not looked at it yet. What the host sends to itself may have none. */
static bool
sum_holds(struct pbuf *p, size_t off)
{
	u16_t sum;

	if (!(ip_current_input_netif()->chksum_flags & NETIF_CHECKSUM_CHECK_ICMP))
		return true;
	pbuf_remove_header(p, off);
	sum = inet_chksum_pbuf(p);
	pbuf_add_header_force(p, off);
	return sum == 0;
}

static u8_t
on_icmp(void *arg, struct raw_pcb *pcb, struct pbuf *p, const ip_addr_t *addr)
{
	uint8_t bytes[ENOUGH];
	size_t off = ip_current_header_tot_len(), n;

	(void)pcb;
	(void)addr;
	n = pbuf_copy_partial(p, bytes, sizeof(bytes), (u16_t)off);
	if (n < UVS_ICMP_HEADER || bytes[0] == ICMP_ECHO || !sum_holds(p, off))
		return 0;
	if (bytes[0] == ICMP_ER)
		uvs_ping_answer(arg, p, off);
	else
		heard4(arg, bytes, n);
	return 0; /* not eaten: lwIP answers echoes */
}

/* ------------------------------------------------------------------------------------------ IPv6
 */

static bool
means6(uint8_t type, uint8_t code, struct meaning *m)
{
	switch (type) {
	case ICMP6_TYPE_DUR:
		*m = of_unreachable6(code);
		return true;
	case ICMP6_TYPE_PTB:
		*m = (struct meaning){EMSGSIZE, true};
		return true;
	case ICMP6_TYPE_TE:
		*m = (struct meaning){EHOSTUNREACH, false};
		return true;
	case ICMP6_TYPE_PP:
		*m = (struct meaning){EPROTO, true};
		return true;
	default:
		return false;
	}
}

static void
address_of(ip_addr_t *out, const ip6_addr_p_t *packed)
{
	ip_addr_copy_from_ip6_packed(*out, *packed);
	ip6_addr_assign_zone(ip_2_ip6(out), IP6_UNICAST, ip_current_input_netif());
}

/* This host puts no header between IP's and the transport's but the one of fragments. */
static bool
quoted6(struct uvs_icmp_error *e, const uint8_t *inner, size_t len)
{
	struct ip6_frag_hdr frag;
	struct ip6_hdr ip;

	if (len < sizeof(ip))
		return false;
	memcpy(&ip, inner, sizeof(ip));
	e->header = sizeof(ip);
	e->proto = IP6H_NEXTH(&ip);
	if (e->proto == IP6_NEXTH_FRAGMENT) {
		if (len < sizeof(ip) + sizeof(frag))
			return false;
		memcpy(&frag, inner + sizeof(ip), sizeof(frag));
		if ((ntohs(frag._fragment_offset) & IP6_FRAG_OFFSET_MASK) != 0)
			return false;
		e->header += sizeof(frag);
		e->proto = frag._nexth;
	}
	address_of(&e->local.ip, &ip.src);
	address_of(&e->remote.ip, &ip.dest);
	e->quoted = inner + e->header;
	e->len = len - e->header;
	return true;
}

void
uvl_icmp6_heard(const struct pbuf *p)
{
	uint8_t icmp[ENOUGH];
	size_t n = pbuf_copy_partial(p, icmp, sizeof(icmp), 0);
	struct uvs_icmp_error e = {.origin = SO_EE_ORIGIN_ICMP6, .type = icmp[0], .code = icmp[1]};
	struct meaning m;

	if (n >= UVS_ICMP_HEADER && e.type == ICMP6_TYPE_EREP)
		uvs_ping_answer(uvs_self, p, 0);
	if (n < UVS_ICMP_HEADER || !means6(e.type, e.code, &m))
		return;
	if (e.type == ICMP6_TYPE_PTB || e.type == ICMP6_TYPE_PP) {
		memcpy(&e.info, icmp + 4, sizeof(e.info));
		e.info = ntohl(e.info);
	}
	if (quoted6(&e, icmp + UVS_ICMP_HEADER, n - UVS_ICMP_HEADER))
		hand_on(uvs_self, &e, m);
}

int
uvs_icmp_start(struct uvs_instance *in)
{
	struct raw_pcb *pcb = raw_new(IP_PROTO_ICMP);

	if (pcb == NULL)
		return -ENOBUFS;
	raw_recv(pcb, on_icmp, in);
	uvs_tables(in)->icmp = pcb;
	return 0;
}
