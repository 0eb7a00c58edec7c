/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Checksums and TCP segmentation in software. Plain loads through memcpy: headers stand where the
 * kernel has put them, aligned to nothing.
 */
#include <arpa/inet.h>
#include <net/ethernet.h>
#include <netinet/in.h>
#include <string.h>

#include "uvbridge/ports/offload.h"

#define ETH_LEN         14
#define VLAN_LEN        4
#define VLAN_MAX        2
#define TCP_MIN         20
#define TCP_CSUM        16 /* offset of the checksum in the header */
#define TCP_FLAGS       13
#define UDP_CSUM        6
#define FLAG_FIN        0x01
#define FLAG_PSH        0x08
#define FLAG_CWR        0x80
#define IP4_FRAGMENT    0x3fff /* more-fragments bit and offset */
#define IP6_HEADER      40
#define IP6_EXT_MAX     8
#define ETHERTYPE_SVLAN 0x88a8

const char *const uvp_refusal_name[UVP_REFUSALS] = {
	[UVP_OK] = "ok",
	[UVP_VNET_SHORT] = "vnet_short",
	[UVP_VNET_CSUM] = "vnet_csum",
	[UVP_GSO_TYPE] = "gso_type",
	[UVP_GSO_HEADERS] = "gso_headers",
	[UVP_GSO_SIZE] = "gso_size",
};

/* ------------------------------------------------------------------------------------ arithmetic
 */

static inline uint16_t
get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static inline void
put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static inline uint32_t
get32(const uint8_t *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static inline void
put32(uint8_t *p, uint32_t v)
{
	put16(p, v >> 16);
	put16(p + 2, v);
}

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

/* ---------------------------------------------------------------------------------------- checks
 */

/* Offset of what follows Ethernet and VLAN tags, and its type. 0: cut short. */
static uint32_t
ether_parse(const uint8_t *frame, uint32_t len, uint16_t *type)
{
	uint32_t off = ETH_LEN;

	if (len < ETH_LEN)
		return 0;
	*type = get16(frame + 12);
	for (int i = 0; i < VLAN_MAX && (*type == ETHERTYPE_VLAN || *type == ETHERTYPE_SVLAN);
	     i++) {
		if (len < off + VLAN_LEN)
			return 0;
		*type = get16(frame + off + 2);
		off += VLAN_LEN;
	}
	return off;
}

/* Offset of the TCP header behind the IPv4 header at l3. 0: there is none. */
static uint32_t
ip4_tcp(const uint8_t *frame, uint32_t len, uint32_t l3)
{
	const uint8_t *ip = frame + l3;
	uint32_t ihl;

	if (len < l3 + 20 || ip[0] >> 4 != 4)
		return 0;
	ihl = (ip[0] & 15u) * 4;
	if (ihl < 20 || len < l3 + ihl || ip[9] != IPPROTO_TCP || (get16(ip + 6) & IP4_FRAGMENT))
		return 0;
	return l3 + ihl;
}

/* The same behind an IPv6 header and the extension headers a segment can repeat. */
static uint32_t
ip6_tcp(const uint8_t *frame, uint32_t len, uint32_t l3)
{
	uint32_t off = l3 + IP6_HEADER;
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

static enum uvp_refusal
check_tso(const struct virtio_net_hdr *vnet, const uint8_t *frame, uint32_t frame_max,
	  struct uvp_job *job)
{
	uint32_t l3, l4, header, payload;
	uint16_t type;

	l3 = ether_parse(frame, job->len, &type);
	if (l3 == 0 || type != (job->ipv6 ? ETHERTYPE_IPV6 : ETHERTYPE_IP))
		return UVP_GSO_HEADERS;
	l4 = job->ipv6 ? ip6_tcp(frame, job->len, l3) : ip4_tcp(frame, job->len, l3);
	/* What the headers say and what the virtio header says has to be the same. */
	if (l4 == 0 || l4 != vnet->csum_start || vnet->csum_offset != TCP_CSUM ||
	    job->len < l4 + TCP_MIN || job->len - l4 > UINT16_MAX)
		return UVP_GSO_HEADERS;
	header = l4 + (frame[l4 + 12] >> 4) * 4u;
	if (header < l4 + TCP_MIN || header > job->len || header > UVP_HEADER_MAX)
		return UVP_GSO_HEADERS;
	payload = job->len - header;
	if (vnet->gso_size == 0 || payload == 0 ||
	    header - (l3 - ETH_LEN) + vnet->gso_size > frame_max)
		return UVP_GSO_SIZE;
	job->l3 = (uint16_t)l3;
	job->header_len = (uint16_t)header;
	job->seg_size = vnet->gso_size;
	job->nb_segs = (payload + vnet->gso_size - 1) / vnet->gso_size;
	return UVP_OK;
}

enum uvp_refusal
uvp_offload_check(const struct virtio_net_hdr *vnet, const uint8_t *frame, uint32_t len,
		  uint32_t frame_max, struct uvp_job *job)
{
	/* ECN needs nothing special: CWR goes into the first segment only, see segment_flags(). */
	uint8_t gso = vnet->gso_type & (uint8_t)~VIRTIO_NET_HDR_GSO_ECN;
	bool partial = vnet->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM;

	*job = (struct uvp_job){
		.len = len,
		.ipv6 = gso == VIRTIO_NET_HDR_GSO_TCPV6,
		.csum_good = partial || (vnet->flags & VIRTIO_NET_HDR_F_DATA_VALID),
	};
	if (len == 0)
		return UVP_VNET_SHORT;
	if (partial) {
		if ((uint32_t)vnet->csum_start + vnet->csum_offset + 2 > len)
			return UVP_VNET_CSUM;
		job->l4 = vnet->csum_start;
		job->csum_at = (uint16_t)(vnet->csum_start + vnet->csum_offset);
		if (vnet->csum_start < ETH_LEN || (vnet->csum_offset & 1))
			return UVP_VNET_CSUM;
	}
	if (gso == VIRTIO_NET_HDR_GSO_NONE)
		return UVP_OK;
	if (gso != VIRTIO_NET_HDR_GSO_TCPV4 && gso != VIRTIO_NET_HDR_GSO_TCPV6)
		return UVP_GSO_TYPE;
	return partial ? check_tso(vnet, frame, frame_max, job) : UVP_VNET_CSUM;
}

/* ------------------------------------------------------------------------------------------ work
 */

void
uvp_offload_finish(const struct uvp_job *job, uint8_t *frame)
{
	uint16_t sum;

	if (job->csum_at == 0)
		return;
	/* The field holds the sum of the pseudo header: it is added with the rest. */
	sum = (uint16_t)~uvp_fold(uvp_sum(frame + job->l4, job->len - job->l4, 0));
	/* In UDP 0 says that there is no checksum; its other spelling says the same number. */
	if (sum == 0 && job->csum_at - job->l4 == UDP_CSUM)
		sum = 0xffff;
	memcpy(frame + job->csum_at, &sum, 2);
}

static void
segment_ip4(uint8_t *ip, uint32_t total, uint32_t i)
{
	uint16_t sum = 0;

	put16(ip + 2, total);
	put16(ip + 4, get16(ip + 4) + i); /* each packet has an identification of its own */
	memcpy(ip + 10, &sum, 2);
	sum = (uint16_t)~uvp_fold(uvp_sum(ip, (size_t)(ip[0] & 15) * 4, 0));
	memcpy(ip + 10, &sum, 2);
}

/* What ends the stream or asks for its delivery belongs to the last segment; what answers a
 * congestion mark, to the first. */
static uint8_t
segment_flags(uint8_t flags, uint32_t i, uint32_t nb_segs)
{
	if (i > 0)
		flags &= (uint8_t)~FLAG_CWR;
	if (i + 1 < nb_segs)
		flags &= (uint8_t) ~(FLAG_FIN | FLAG_PSH);
	return flags;
}

void
uvp_offload_segment(const struct uvp_job *job, const uint8_t *frame, uint32_t i, uint8_t *header,
		    uint32_t *off, uint32_t *len)
{
	uint8_t *ip = header + job->l3, *tcp = header + job->l4;
	uint32_t done = i * job->seg_size, tcp_len = (uint32_t)job->header_len - job->l4;
	uint64_t sum;
	uint16_t word;

	*off = job->header_len + done;
	*len = job->len - *off < job->seg_size ? job->len - *off : job->seg_size;
	memcpy(header, frame, job->header_len);
	if (job->ipv6)
		put16(ip + 4, job->header_len - job->l3 - IP6_HEADER + *len);
	else
		segment_ip4(ip, job->header_len - job->l3 + *len, i);
	put32(tcp + 4, get32(tcp + 4) + done);
	tcp[TCP_FLAGS] = segment_flags(tcp[TCP_FLAGS], i, job->nb_segs);

	/* The field holds the sum of the pseudo header with the length of all that follows; the
	 * length of this segment takes its place. Subtracting is adding the complement. */
	memcpy(&word, tcp + TCP_CSUM, 2);
	sum = word;
	word = htons((uint16_t) ~(job->len - job->l4));
	sum += word;
	word = htons((uint16_t)(tcp_len + *len));
	sum += word;
	memset(tcp + TCP_CSUM, 0, 2);
	sum = uvp_sum(frame + *off, *len, uvp_sum(tcp, tcp_len, sum));
	word = (uint16_t)~uvp_fold(sum);
	memcpy(tcp + TCP_CSUM, &word, 2);
}
