/* SPDX-License-Identifier: BSD-3-Clause
 *
 * uvbridge/ports/merge.h - what a network card does for a kernel that receives, in software: TCP
 * segments that follow each other become one super-frame (as with LRO, but so that cutting it again
 * gives the segments it was made of), and checksums that are known to be good need no second look.
 *
 * Linux ignores VIRTIO_NET_HDR_F_DATA_VALID on what is written to a tap interface. What it does
 * understand is a frame whose checksum is still to be finished: such a frame comes from this
 * machine, as far as it knows, and is not checked. So a good checksum is replaced by the sum of its
 * pseudo header, in a copy of the headers; the payload is not touched.
 */
#ifndef UVBRIDGE_PORTS_MERGE_H
#define UVBRIDGE_PORTS_MERGE_H

#include <linux/virtio_net.h>

#include "uvbridge/ports/packet.h"

#define UVP_MERGE_HEADER 128   /* Ethernet to TCP: two tags, IPv6 and all options fit */
#define UVP_MERGE_MAX    65535 /* bytes from the IP header on */

/* Segments joined so far. */
struct uvp_merge {
	uint32_t nb_segs;
	uint32_t payload;    /* bytes, of all of them */
	uint32_t seg_size;   /* payload of each but the last */
	uint64_t sum;        /* of the payload, as the checksums of the frames say */
	uint16_t header_len; /* Ethernet to TCP */
	uint16_t l3, l4;
	bool ipv6;
	bool closed;                      /* the last one was the last */
	uint8_t header[UVP_MERGE_HEADER]; /* of the first one */
};

/* Begin with a frame whose checksums are good. False: no TCP data; it goes as it is. */
bool uvp_merge_begin(struct uvp_merge *m, const uint8_t *frame, uint32_t len);

/* Join the next frame; the payload begins at m->header_len of it. False: it does not continue. */
bool uvp_merge_add(struct uvp_merge *m, const uint8_t *frame, uint32_t len);

/* The same with a frame that uvp_merge_begin() has parsed. */
bool uvp_merge_join(struct uvp_merge *m, const struct uvp_merge *next);

/* Are these of one connection and direction? */
bool uvp_merge_same_flow(const struct uvp_merge *a, const struct uvp_merge *b);

/* All are joined: make m->header the header of the super-frame, and finish its checksums, from
 * those of the frames that were joined. */
void uvp_merge_finish(struct uvp_merge *m);

/* All are joined: make m->header the header of the super-frame, and describe it. */
void uvp_merge_end(struct uvp_merge *m, struct virtio_net_hdr *vnet);

#endif /* UVBRIDGE_PORTS_MERGE_H */
