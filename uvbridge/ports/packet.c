/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Checksums, and finding TCP in a frame.
 */
#include <string.h>

#include "uvbridge/ports/packet.h"

#define VLAN_LEN    4
#define VLAN_MAX    2
#define IP6_EXT_MAX 8

/* Sixteen-bit words in the halves of 32-bit lanes, two vectors at a time: no lane overflows before
 * two megabytes, and a frame is no longer than 64 KiB. */
uint64_t
uvp_sum(const void *data, size_t len, uint64_t sum)
{
	typedef uint32_t lanes __attribute__((vector_size(16), aligned(1), may_alias));
	const uint8_t *p = data;
	lanes low[2] = {{0}, {0}}, high[2] = {{0}, {0}}, all;
	uint16_t word;

	for (; len >= 2 * sizeof(lanes); p += 2 * sizeof(lanes), len -= 2 * sizeof(lanes)) {
		const lanes *v = (const lanes *)p;

		low[0] += v[0] & 0xffff;
		high[0] += v[0] >> 16;
		low[1] += v[1] & 0xffff;
		high[1] += v[1] >> 16;
	}
	all = low[0] + low[1] + high[0] + high[1];
	sum += (uint64_t)all[0] + all[1] + all[2] + all[3];
	for (; len >= sizeof(word); len -= sizeof(word), p += sizeof(word)) {
		memcpy(&word, p, sizeof(word));
		sum += word;
	}
	return len > 0 ? sum + *p : sum; /* little-endian: the low byte of a word */
}

uint16_t
uvp_fold(uint64_t sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

void
uvp_ip4_checksum(uint8_t *ip)
{
	uint16_t sum = 0;

	memcpy(ip + 10, &sum, 2);
	sum = (uint16_t)~uvp_fold(uvp_sum(ip, (size_t)(ip[0] & 15) * 4, 0));
	memcpy(ip + 10, &sum, 2);
}

uint32_t
uvp_ether_parse(const uint8_t *frame, uint32_t len, uint16_t *type)
{
	uint32_t off = UVP_ETH_LEN;

	if (len < UVP_ETH_LEN)
		return 0;
	*type = uvp_get16(frame + 12);
	for (int i = 0; i < VLAN_MAX && (*type == ETHERTYPE_VLAN || *type == UVP_SVLAN); i++) {
		if (len < off + VLAN_LEN)
			return 0;
		*type = uvp_get16(frame + off + 2);
		off += VLAN_LEN;
	}
	return off;
}

uint32_t
uvp_ip4_tcp(const uint8_t *frame, uint32_t len, uint32_t l3)
{
	const uint8_t *ip = frame + l3;
	uint32_t ihl;

	if (len < l3 + 20 || ip[0] >> 4 != 4)
		return 0;
	ihl = (ip[0] & 15u) * 4;
	if (ihl < 20 || len < l3 + ihl || ip[9] != IPPROTO_TCP ||
	    (uvp_get16(ip + 6) & UVP_IP4_FRAGMENT))
		return 0;
	return l3 + ihl;
}

uint32_t
uvp_ip6_tcp(const uint8_t *frame, uint32_t len, uint32_t l3)
{
	uint32_t off = l3 + UVP_IP6_LEN;
	uint8_t next;

	if (len < off || frame[l3] >> 4 != 6)
		return 0;
	next = frame[l3 + 6];
	for (int i = 0; i < IP6_EXT_MAX && next != IPPROTO_TCP; i++) {
		if (next != IPPROTO_HOPOPTS && next != IPPROTO_ROUTING && next != IPPROTO_DSTOPTS)
			return 0;
		if (len < off + 8)
			return 0;
		next = frame[off];
		off += (frame[off + 1] + 1u) * 8;
	}
	return next == IPPROTO_TCP ? off : 0;
}
