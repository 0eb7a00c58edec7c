/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Frames of several cells.
 */
#include "uvbridge/internal.h"

static uint32_t
next_of(const struct uvb_cells *c, uint32_t at)
{
	return c->desc[at].flags & UVB_CELL_EXTRA ? c->cell[at].next : UVB_CELL_END;
}

uint32_t
uvb_chain_walk(const struct uvb_cells *c, uint32_t first, uint64_t owner, uint32_t *idx,
	       uint32_t *total)
{
	uint32_t n = 0, at = first, sum = 0, len;

	/* Bounded by its length: a loop is too long, a short frame in many cells too. */
	while (at != UVB_CELL_END) {
		if (n == UVB_CHAIN_MAX || at >= c->nb ||
		    atomic_load_explicit(&c->desc[at].owner, memory_order_relaxed) != owner)
			return 0;
		len = c->desc[at].len;
		idx[n++] = at;
		at = next_of(c, at);
		/* All but the last are full, so that a length says which byte is where. */
		if (len == 0 || len > UVB_CELL_ROOM || (at != UVB_CELL_END && len != UVB_CELL_ROOM))
			return 0;
		sum += len;
	}
	*total = sum;
	return n;
}

uint32_t
uvb_chain_free(const struct uvb_cells *c, uint32_t first, uint64_t place)
{
	uint32_t idx[UVB_CHAIN_MAX], n = 0, at = first;

	while (n < UVB_CHAIN_MAX && at < c->nb &&
	       UVB_OWNER_ANY_GEN(atomic_load_explicit(&c->desc[at].owner, memory_order_acquire)) ==
		       place) {
		idx[n++] = at;
		at = next_of(c, at);
	}
	for (uint32_t i = n; i-- > 0;)
		atomic_store_explicit(&c->desc[idx[i]].owner, UVB_OWNER_FREE, memory_order_release);
	return n;
}

static bool
in_chain(const struct uvb_cells *c, uint32_t ref, uint32_t cell)
{
	for (uint32_t n = 0; n < UVB_CHAIN_MAX && ref < c->nb; n++) {
		if (ref == cell)
			return true;
		ref = next_of(c, ref);
	}
	return false;
}

bool
uvb_cell_stands(const struct uvb_map *map, uint32_t source, uint32_t cell, uint64_t owner)
{
	const struct uvb_cells c = uvb_map_source_cells(map, source);
	const struct uvb_voq_shm *v;
	uint32_t head, tail, at;

	if (UVB_OWNER_PORT(owner) >= map->nb_ports || UVB_OWNER_RXQ(owner) >= map->nb_queues)
		return false;
	v = uvb_map_voq(map, UVB_OWNER_PORT(owner), UVB_OWNER_RXQ(owner), source / map->nb_queues,
			source % map->nb_queues);
	/* Tail first: what is consumed meanwhile then still counts as standing. */
	tail = atomic_load_explicit(&v->tail, memory_order_acquire);
	head = uvb_voq_head(v);
	at = (UVB_OWNER_POS(owner) - tail) & 0xffffff; /* how far behind tail */
	if (at >= map->voq_depth || at >= head - tail)
		return false;
	return in_chain(&c,
			atomic_load_explicit(&v->slot[(tail + at) & (map->voq_depth - 1)],
					     memory_order_relaxed),
			cell);
}
