/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Finishing checksums and cutting super-frames, for what the kernel sends.
 */
#include <string.h>

#include "uvbridge/gso.h"
#include "uvbridge/ports/offload.h"

static enum uvp_refusal
check_tso(const struct virtio_net_hdr *vnet, const uint8_t *frame, uint32_t frame_max,
	  struct uvp_job *job)
{
	uint32_t l3, l4, header, payload;
	uint16_t type;

	l3 = uvp_ether_parse(frame, job->len, &type);
	if (l3 == 0 || type != (job->ipv6 ? ETHERTYPE_IPV6 : ETHERTYPE_IP))
		return UVP_GSO_HEADERS;
	l4 = job->ipv6 ? uvp_ip6_tcp(frame, job->len, l3) : uvp_ip4_tcp(frame, job->len, l3);
	/* What the headers say and what the virtio header says has to be the same. */
	if (l4 == 0 || l4 != vnet->csum_start || vnet->csum_offset != UVP_TCP_CSUM ||
	    job->len < l4 + UVP_TCP_MIN || job->len - l4 > UINT16_MAX)
		return UVP_GSO_HEADERS;
	header = l4 + (frame[l4 + UVP_TCP_OFFSET] >> 4) * 4u;
	if (header < l4 + UVP_TCP_MIN || header > job->len || header > UVP_HEADER_MAX)
		return UVP_GSO_HEADERS;
	payload = job->len - header;
	if (vnet->gso_size == 0 || payload == 0 ||
	    header - (l3 - UVP_ETH_LEN) + vnet->gso_size > frame_max)
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
		if (vnet->csum_start < UVP_ETH_LEN || (vnet->csum_offset & 1))
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
	if (sum == 0 && job->csum_at - job->l4 == UVP_UDP_CSUM)
		sum = 0xffff;
	memcpy(frame + job->csum_at, &sum, 2);
}

void
uvp_offload_segment(const struct uvp_job *job, const uint8_t *frame, uint32_t i, uint8_t *header,
		    uint32_t *off, uint32_t *len)
{
	const struct uvb_gso gso = {.size = job->seg_size,
				    .header_len = job->header_len,
				    .l3 = job->l3,
				    .l4 = job->l4,
				    .ipv6 = job->ipv6};

	*off = job->header_len + i * job->seg_size;
	*len = job->len - *off < job->seg_size ? job->len - *off : job->seg_size;
	memcpy(header, frame, job->header_len);
	uvb_gso_header(&gso, job->len, i, uvp_sum(frame + *off, *len, 0), header);
}
