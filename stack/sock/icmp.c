/* SPDX-License-Identifier: BSD-3-Clause
 *
 * ICMP errors for UDP sockets: lwIP drops them, so a raw PCB looks at all ICMP before it does.
 * RFC 792; what each code means to a socket: Linux's icmp_err_convert. */
#include "stack/sock/sock_priv.h"

#include "lwip/inet_chksum.h"
#include "lwip/prot/icmp.h"
#include "lwip/prot/ip4.h"
#include "lwip/prot/udp.h"

static int
errno_of_code(uint8_t code)
{
	static const int by_code[] = {ENETUNREACH,  EHOSTUNREACH, ENOPROTOOPT,  ECONNREFUSED,
				      EMSGSIZE,     EOPNOTSUPP,   ENETUNREACH,  EHOSTDOWN,
				      ENONET,       ENETUNREACH,  EHOSTUNREACH, ENETUNREACH,
				      EHOSTUNREACH, EHOSTUNREACH, EHOSTUNREACH, EHOSTUNREACH};

	return code < sizeof(by_code) / sizeof(by_code[0]) ? by_code[code] : EHOSTUNREACH;
}

/* The packet that caused the error: an IP header and at least eight bytes. */
static void
hand_on(struct uvs_instance *in, const uint8_t *inner, size_t len, uint8_t code)
{
	struct ip_hdr ip;
	struct udp_hdr udp;
	size_t header;

	if (len < sizeof(ip))
		return;
	memcpy(&ip, inner, sizeof(ip));
	header = IPH_HL_BYTES(&ip);
	if (IPH_V(&ip) != 4 || IPH_PROTO(&ip) != IP_PROTO_UDP || header < sizeof(ip) ||
	    len < header + sizeof(udp))
		return;
	memcpy(&udp, inner + header, sizeof(udp));
	struct uvs_addr local = {IPADDR4_INIT(ip.src.addr), ntohs(udp.src)};
	struct uvs_addr remote = {IPADDR4_INIT(ip.dest.addr), ntohs(udp.dest)};
	uvs_udp_unreachable(in, &local, &remote, errno_of_code(code));
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

#define ENOUGH (60 + sizeof(struct icmp_echo_hdr) + 60 + sizeof(struct udp_hdr))

static u8_t
on_icmp(void *arg, struct raw_pcb *pcb, struct pbuf *p, const ip_addr_t *addr)
{
	uint8_t bytes[ENOUGH];
	size_t n = pbuf_copy_partial(p, bytes, sizeof(bytes), 0), off;

	(void)pcb;
	(void)addr;
	if (n < sizeof(struct ip_hdr))
		return 0;
	off = (size_t)(bytes[0] & 0xf) * 4;
	if (n < off + sizeof(struct icmp_echo_hdr) || bytes[off] != ICMP_DUR || !sum_holds(p, off))
		return 0;
	if (bytes[off + 1] == ICMP_DUR_FRAG)
		uvl_ip4_too_big(bytes + off + 8, n - off - 8,
				(u16_t)(bytes[off + 6] << 8 | bytes[off + 7]));
	else
		hand_on(arg, bytes + off + 8, n - off - 8, bytes[off + 1]);
	return 0; /* not eaten: lwIP answers echoes */
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
