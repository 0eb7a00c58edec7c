/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Headers of the segments of a super-frame: what a network card with TSO writes.
 */
#include <arpa/inet.h>
#include <string.h>

#include "uvbridge/gso.h"
#include "uvbridge/ports/packet.h"

#define UDP_LENGTH 4 /* where the length is */

uint32_t
uvb_gso_segments(const struct uvb_gso *gso, uint32_t len)
{
	uint32_t payload = len - gso->header_len;

	return payload <= gso->size ? 1 : (payload + gso->size - 1) / gso->size;
}

static void
l3_header(const struct uvb_gso *gso, uint8_t *ip, uint32_t l4_len, uint32_t i)
{
	if (gso->ipv6) {
		uvp_put16(ip + 4, gso->l4 - gso->l3 - UVP_IP6_LEN + l4_len);
		return;
	}
	uvp_put16(ip + 2, gso->l4 - gso->l3 + l4_len);
	uvp_put16(ip + 4, uvp_get16(ip + 4) + i); /* each packet has an identification of its own */
	uvp_ip4_checksum(ip);
}

/* The field holds the sum of the pseudo header with the length of all that follows; the length of
 * this segment takes its place. Subtracting is adding the complement. */
static void
l4_checksum(const struct uvb_gso *gso, uint8_t *l4, uint32_t super_len, uint32_t l4_len,
	    uint64_t payload_sum)
{
	uint8_t *field = l4 + (gso->udp ? UVP_UDP_CSUM : UVP_TCP_CSUM);
	uint64_t sum = payload_sum;
	uint16_t word;

	memcpy(&word, field, sizeof(word));
	sum += word;
	word = htons((uint16_t)~super_len);
	sum += word;
	word = htons((uint16_t)l4_len);
	sum += word;
	memset(field, 0, sizeof(word));
	word = (uint16_t)~uvp_fold(uvp_sum(l4, (size_t)gso->header_len - gso->l4, sum));
	if (word == 0 && gso->udp)
		word = 0xffff; /* 0 says that there is none; this says the same number */
	memcpy(field, &word, sizeof(word));
}

/* What ends the stream or asks for its delivery belongs to the last segment; what answers a
 * congestion mark, to the first. */
static uint8_t
segment_flags(uint8_t flags, bool first, bool last)
{
	if (!first)
		flags &= (uint8_t)~UVP_CWR;
	if (!last)
		flags &= (uint8_t) ~(UVP_FIN | UVP_PSH);
	return flags;
}

/* `done` bytes of payload before this segment, `n` in it. */
static void
make_header(const struct uvb_gso *gso, uint32_t len, uint32_t i, uint32_t done, uint32_t n,
	    uint64_t payload_sum, uint8_t *header)
{
	uint8_t *l4 = header + gso->l4;
	uint32_t l4_len = (uint32_t)gso->header_len - gso->l4 + n;

	l3_header(gso, header + gso->l3, l4_len, i);
	if (gso->udp) {
		uvp_put16(l4 + UDP_LENGTH, l4_len);
	} else {
		uvp_put32(l4 + 4, uvp_get32(l4 + 4) + done);
		l4[UVP_TCP_FLAGS] = segment_flags(l4[UVP_TCP_FLAGS], done == 0,
						  gso->header_len + done + n == len);
	}
	l4_checksum(gso, l4, len - gso->l4, l4_len, payload_sum);
}

void
uvb_gso_header(const struct uvb_gso *gso, uint32_t len, uint32_t i, uint64_t payload_sum,
	       uint8_t *header)
{
	uint32_t done = i * gso->size, left = len - gso->header_len - done;

	make_header(gso, len, i, done, left < gso->size ? left : gso->size, payload_sum, header);
}

void
uvb_gso_header_whole(const struct uvb_gso *gso, uint32_t len, uint64_t payload_sum, uint8_t *header)
{
	make_header(gso, len, 0, 0, len - gso->header_len, payload_sum, header);
}
