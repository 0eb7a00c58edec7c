/* SPDX-License-Identifier: BSD-3-Clause
 *
 * uvbridge/ports/offload.h - what the kernel leaves to a network card that sends, in software.
 *
 * A tap interface with IFF_VNET_HDR hands out frames whose L4 checksum is not finished, and TCP
 * super-frames of up to 64 KiB that the card is to cut into segments (TSO). On the fabric are only
 * frames as they would be on a wire. Nothing here knows of taps or fabrics: bytes in, bytes out.
 *
 *     refusal = uvp_offload_check(vnet, frame, len, frame_max, &job);     any input is safe
 *     if (job.nb_segs == 0)  uvp_offload_finish(&job, frame);             an ordinary frame
 *     else  for i < job.nb_segs: uvp_offload_segment(&job, frame, i, header, &payload);
 */
#ifndef UVBRIDGE_PORTS_OFFLOAD_H
#define UVBRIDGE_PORTS_OFFLOAD_H

#include <linux/virtio_net.h>

#include "uvbridge/ports/packet.h"

/* Why a frame is refused. */
enum uvp_refusal {
	UVP_OK,
	UVP_VNET_SHORT,  /* no room for a virtio header, or nothing after it */
	UVP_VNET_CSUM,   /* csum_start or csum_offset point out of the frame */
	UVP_GSO_TYPE,    /* a kind of super-frame we have not asked for */
	UVP_GSO_HEADERS, /* its headers are not those of what it says it is */
	UVP_GSO_SIZE,    /* its segments are empty, or longer than the fabric's MTU */
	UVP_REFUSALS
};

/* What is to be done with a frame. */
struct uvp_job {
	uint32_t len;        /* of the frame as it came */
	uint32_t nb_segs;    /* of a super-frame; 0: it is an ordinary frame */
	uint16_t seg_size;   /* payload of each segment but the last */
	uint16_t header_len; /* Ethernet to TCP: offset of the payload */
	uint16_t l3;         /* offset of the IP header */
	uint16_t l4;         /* offset of what the checksum covers */
	uint16_t csum_at;    /* offset of the checksum field; 0: nothing to finish */
	bool ipv6;
	bool csum_good; /* with this job done, the L4 checksum is right */
};

/* Look at a frame of `len` bytes and its virtio header. No segment will be longer than `frame_max`
 * bytes (VLAN tags not counted). Reads nothing outside of the frame, whatever is in it. */
enum uvp_refusal uvp_offload_check(const struct virtio_net_hdr *vnet, const uint8_t *frame,
				   uint32_t len, uint32_t frame_max, struct uvp_job *job);

/* Finish the checksum of an ordinary frame in place, if it has to be. */
void uvp_offload_finish(const struct uvp_job *job, uint8_t *frame);

/* Write the header of segment i, job->header_len bytes. Its payload stands in the frame at *off,
 * *len bytes. */
void uvp_offload_segment(const struct uvp_job *job, const uint8_t *frame, uint32_t i,
			 uint8_t *header, uint32_t *off, uint32_t *len);

#endif /* UVBRIDGE_PORTS_OFFLOAD_H */
