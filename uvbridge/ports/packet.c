/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Checksums, and finding TCP in a frame.
 */
#include <string.h>

#include "uvbridge/ports/packet.h"

#define VLAN_LEN    4
#define VLAN_MAX    2
#define IP6_EXT_MAX 8

/* Ones' complement sums do not care how wide the words are that are added, as long as the carries
 * come back in: 32-bit words into 64-bit accumulators, several at a time, and fold at the end. */
uint64_t
uvp_sum(const void *data, size_t len, uint64_t sum)
{
	const uint8_t *p = data;
	uint64_t acc[4] = {0, 0, 0, 0};
	uint32_t w[8];

	for (; len >= sizeof(w); len -= sizeof(w), p += sizeof(w)) {
		memcpy(w, p, sizeof(w));
		for (int i = 0; i < 4; i++)
			acc[i] += (uint64_t)w[i] + w[i + 4];
	}
	sum += acc[0] + acc[1] + acc[2] + acc[3];
	for (; len >= 4; len -= 4, p += 4) {
		memcpy(w, p, 4);
		sum += w[0];
	}
	if (len > 0) { /* the rest of a word is zero */
		w[0] = 0;
		memcpy(w, p, len);
		sum += w[0];
	}
	return sum;
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
