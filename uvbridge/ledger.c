/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The ledger: where every cell is. Clean when each cell that is not FREE stands in the voq that its
 * owner word names, and that owner is attached.
 *
 * Taken while traffic flows. A cell that a sender has just filled, or that was freed and used again
 * while we looked, seems lost for a moment; so what seems lost is looked at again, several times.
 */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "uvbridge/internal.h"

#define ROUNDS      8
#define ROUND_PAUSE 2000000 /* ns */

enum finding {
	FREE_CELL,
	IN_FLIGHT,
	LEAKED,
	STALE,
};

struct suspect {
	uint32_t source;
	uint32_t cell;
};

struct suspects {
	struct suspect *list;
	size_t n, room;
};

static enum finding
look(const struct uvb_map *map, uint32_t source, uint32_t cell)
{
	const struct uvb_desc *desc = &uvb_map_source_cells(map, source).desc[cell];
	uint64_t owner = atomic_load_explicit(&desc->owner, memory_order_acquire);
	uint32_t life;

	if (owner == UVB_OWNER_FREE)
		return FREE_CELL;
	if (UVB_OWNER_PORT(owner) >= map->nb_ports || UVB_OWNER_RXQ(owner) >= map->nb_queues)
		return LEAKED;
	life = atomic_load_explicit(&uvb_map_port(map, UVB_OWNER_PORT(owner))->life,
				    memory_order_acquire);
	if (life != UVB_LIFE(UVB_OWNER_GEN(owner), UVB_PORT_UP))
		return STALE;
	return uvb_cell_stands(map, source, cell, owner) ? IN_FLIGHT : LEAKED;
}

static int
suspect_add(struct suspects *s, uint32_t source, uint32_t cell)
{
	if (s->n == s->room) {
		size_t room = s->room != 0 ? 2 * s->room : 64;
		struct suspect *list = realloc(s->list, room * sizeof(*list));

		if (list == NULL)
			return -ENOMEM;
		s->list = list;
		s->room = room;
	}
	s->list[s->n++] = (struct suspect){source, cell};
	return 0;
}

static void
count(struct uvb_ledger *l, enum finding f)
{
	l->free += f == FREE_CELL;
	l->in_flight += f == IN_FLIGHT;
}

static int
scan_txq(const struct uvb_map *map, uint32_t source, struct uvb_ledger *l, struct suspects *s)
{
	uint64_t size = map->cells_per_txq * sizeof(struct uvb_desc);
	uint64_t *pages = uvb_map_resident(map, map->off_descs + source * size, size);
	int rc = pages != NULL ? 0 : -ENOMEM;

	for (uint32_t i = 0; rc == 0 && i < map->cells_per_txq; i++) {
		enum finding f;

		if (!uvb_page_exists(pages, i * sizeof(struct uvb_desc)))
			continue; /* never used */
		l->cells++;
		f = look(map, source, i);
		count(l, f);
		if (f == LEAKED || f == STALE)
			rc = suspect_add(s, source, i);
	}
	free(pages);
	return rc;
}

static void
look_again(const struct uvb_map *map, struct uvb_ledger *l, struct suspects *s)
{
	size_t kept = 0;

	for (size_t i = 0; i < s->n; i++) {
		enum finding f = look(map, s->list[i].source, s->list[i].cell);

		count(l, f);
		if (f == LEAKED || f == STALE)
			s->list[kept++] = s->list[i];
	}
	s->n = kept;
}

static void
convict(const struct uvb_map *map, struct uvb_ledger *l, const struct suspects *s)
{
	for (size_t i = 0; i < s->n; i++) {
		uint32_t port = s->list[i].source / map->nb_queues;
		uint32_t txq = s->list[i].source % map->nb_queues;
		uint64_t owner =
			uvb_load(&uvb_map_cells(map, port, txq).desc[s->list[i].cell].owner);
		enum finding f = look(map, s->list[i].source, s->list[i].cell);

		count(l, f);
		l->leaked += f == LEAKED;
		l->stale += f == STALE;
		if (l->offenders == NULL || f == FREE_CELL || f == IN_FLIGHT)
			continue;
		fprintf(l->offenders,
			"%s cell %u of %.31s txq %u: owned by port %u rxq %u, generation %u\n",
			f == LEAKED ? "leaked" : "stale", s->list[i].cell,
			uvb_map_port(map, port)->name, txq, UVB_OWNER_PORT(owner),
			UVB_OWNER_RXQ(owner), UVB_OWNER_GEN(owner));
	}
}

int
uvb_ledger(const struct uvb_map *map, struct uvb_ledger *l)
{
	struct suspects s = {0};
	int rc = 0;

	for (uint32_t p = 0; rc == 0 && p < map->nb_ports; p++)
		for (uint32_t t = 0; rc == 0 && t < uvb_map_ever_txq(map, p); t++)
			rc = scan_txq(map, uvb_map_queue_index(map, p, t), l, &s);
	for (int i = 0; rc == 0 && s.n != 0 && i < ROUNDS; i++) {
		nanosleep(&(struct timespec){0, ROUND_PAUSE}, NULL);
		look_again(map, l, &s);
	}
	if (rc == 0)
		convict(map, l, &s);
	free(s.list);
	return rc;
}
