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

uint32_t
uvb_chain_free(struct uvb_cell *cells, uint32_t nb_cells, uint32_t first, uint64_t place)
{
	uint32_t idx[UVB_CHAIN_MAX], n = 0, at = first;

	while (n < UVB_CHAIN_MAX && at < nb_cells &&
	       UVB_OWNER_ANY_GEN(atomic_load_explicit(&cells[at].owner, memory_order_acquire)) ==
		       place) {
		idx[n++] = at;
		at = cells[at].next;
	}
	for (uint32_t i = n; i-- > 0;)
		atomic_store_explicit(&cells[idx[i]].owner, UVB_OWNER_FREE, memory_order_release);
	return n;
}

static bool
in_chain(const struct uvb_map *map, const struct uvb_cell *cells, uint32_t ref, uint32_t cell)
{
	for (uint32_t n = 0; n < UVB_CHAIN_MAX && ref < map->cells_per_txq; n++) {
		if (ref == cell)
			return true;
		ref = cells[ref].next;
	}
	return false;
}

bool
uvb_cell_stands(const struct uvb_map *map, uint32_t source, uint32_t cell, uint64_t owner)
{
	uint32_t port = source / map->nb_queues, txq = source % map->nb_queues;
	const struct uvb_voq_shm *v;
	uint32_t head, tail, at;

	if (UVB_OWNER_PORT(owner) >= map->nb_ports || UVB_OWNER_RXQ(owner) >= map->nb_queues)
		return false;
	v = uvb_map_voq(map, UVB_OWNER_PORT(owner), UVB_OWNER_RXQ(owner), port, txq);
	/* Tail first: what is consumed meanwhile then still counts as standing. */
	tail = atomic_load_explicit(&v->tail, memory_order_acquire);
	head = atomic_load_explicit(&v->head, memory_order_acquire);
	at = (UVB_OWNER_POS(owner) - tail) & 0xffffff; /* how far behind tail */
	if (at >= map->voq_depth || at >= head - tail)
		return false;
	return in_chain(map, uvb_map_cells(map, port, txq),
			atomic_load_explicit(&v->slot[(tail + at) & (map->voq_depth - 1)],
					     memory_order_relaxed),
			cell);
}
