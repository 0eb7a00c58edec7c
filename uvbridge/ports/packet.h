/* SPDX-License-Identifier: BSD-3-Clause
 *
 * uvbridge/ports/packet.h - bytes of frames. Headers stand where somebody else has put them,
 * aligned to nothing: all access is by bytes or by memcpy.
 */
#ifndef UVBRIDGE_PORTS_PACKET_H
#define UVBRIDGE_PORTS_PACKET_H

#include <net/ethernet.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UVP_ETH_LEN      14
#define UVP_IP6_LEN      40
#define UVP_TCP_MIN      20
#define UVP_TCP_OFFSET   12 /* where the length of the header is */
#define UVP_TCP_FLAGS    13
#define UVP_TCP_CSUM     16
#define UVP_UDP_CSUM     6
#define UVP_FIN          0x01
#define UVP_PSH          0x08
#define UVP_ACK          0x10
#define UVP_CWR          0x80
#define UVP_IP4_FRAGMENT 0x3fff /* more-fragments bit and offset */
#define UVP_SVLAN        0x88a8

#define UVP_HEADER_MAX 256 /* Ethernet to TCP, options and extension headers included */

static inline uint16_t
uvp_get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static inline void
uvp_put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static inline uint32_t
uvp_get32(const uint8_t *p)
{
	return (uint32_t)uvp_get16(p) << 16 | uvp_get16(p + 2);
}

static inline void
uvp_put32(uint8_t *p, uint32_t v)
{
	uvp_put16(p, v >> 16);
	uvp_put16(p + 2, v);
}

/* Internet checksum arithmetic on words as they stand in memory. */
uint64_t uvp_sum(const void *data, size_t len, uint64_t sum);
uint16_t uvp_fold(uint64_t sum);

/* Checksum of an IPv4 header, in place. */
void uvp_ip4_checksum(uint8_t *ip);

/* Offset of what follows Ethernet and VLAN tags, and its type. 0: cut short. */
uint32_t uvp_ether_parse(const uint8_t *frame, uint32_t len, uint16_t *type);
/* Offset of the TCP header behind the IPv4 header at l3. 0: there is none. */
uint32_t uvp_ip4_tcp(const uint8_t *frame, uint32_t len, uint32_t l3);
/* The same behind an IPv6 header and the extension headers a segment can repeat. */
uint32_t uvp_ip6_tcp(const uint8_t *frame, uint32_t len, uint32_t l3);

#endif /* UVBRIDGE_PORTS_PACKET_H */
