/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What a NIC says of the checksums of a received frame (rte_mbuf_core.h,
 * RTE_MBUF_F_RX_*_CKSUM_MASK). Each of the two has four states in two bits: unknown, bad, good, and
 * none, which is as good as good: the sum in the frame is not a sum, and the NIC vouches for what
 * it would have protected. virtio has that of every segment of a kernel that is its neighbour,
 * since nobody has made a sum on the way. */
#ifndef UVS_SUMS_H
#define UVS_SUMS_H

#include <rte_mbuf_core.h>
#include <stdbool.h>
#include <stdint.h>

static inline bool
uvs_sums_ip_vouched(uint64_t ol_flags)
{
	uint64_t state = ol_flags & RTE_MBUF_F_RX_IP_CKSUM_MASK;

	return state == RTE_MBUF_F_RX_IP_CKSUM_GOOD || state == RTE_MBUF_F_RX_IP_CKSUM_NONE;
}

static inline bool
uvs_sums_l4_vouched(uint64_t ol_flags)
{
	uint64_t state = ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK;

	return state == RTE_MBUF_F_RX_L4_CKSUM_GOOD || state == RTE_MBUF_F_RX_L4_CKSUM_NONE;
}

/* The frame is worth nothing. */
static inline bool
uvs_sums_bad(uint64_t ol_flags)
{
	return (ol_flags & RTE_MBUF_F_RX_IP_CKSUM_MASK) == RTE_MBUF_F_RX_IP_CKSUM_BAD ||
	       (ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_BAD;
}

#endif
