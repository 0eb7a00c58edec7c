/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Frames of several cells.
 */
#include "uvbridge/internal.h"

uint32_t
uvb_chain_walk(const struct uvb_cell *cells, uint32_t nb_cells, uint32_t first, uint64_t owner,
	       uint32_t *idx, uint32_t *total)
{
	uint32_t n = 0, at = first, sum = 0, len;

	/* Bounded by its length: a loop is too long, a short frame in many cells too. */
	while (at != UVB_CELL_END) {
		if (n == UVB_CHAIN_MAX || at >= nb_cells ||
		    atomic_load_explicit(&cells[at].owner, memory_order_relaxed) != owner)
			return 0;
		len = cells[at].len;
		idx[n++] = at;
		at = cells[at].next;
		/* All but the last are full, so that a length says which byte is where. */
		if (len == 0 || len > UVB_CELL_ROOM || (at != UVB_CELL_END && len != UVB_CELL_ROOM))
			return 0;
		sum += len;
	}
	*total = sum;
	return n;
}
