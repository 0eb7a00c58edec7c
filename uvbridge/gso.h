/* SPDX-License-Identifier: BSD-3-Clause
 *
 * uvbridge/gso.h - headers of the segments of a super-frame. Bytes in, bytes out.
 */
#ifndef UVBRIDGE_GSO_H
#define UVBRIDGE_GSO_H

#include "uvbridge/port.h"

/* How many segments a super-frame of `len` bytes has: at least one. */
uint32_t uvb_gso_segments(const struct uvb_gso *gso, uint32_t len);

/* Make `header`, a copy of the super-frame's, that of segment i. `payload_sum` is the sum
 * (uvp_sum()) of the segment's payload. */
void uvb_gso_header(const struct uvb_gso *gso, uint32_t len, uint32_t i, uint64_t payload_sum,
		    uint8_t *header);

/* Make it that of the super-frame as one packet, right in length and checksums. */
void uvb_gso_header_whole(const struct uvb_gso *gso, uint32_t len, uint64_t payload_sum,
			  uint8_t *header);

#endif /* UVBRIDGE_GSO_H */
