/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Reclaim: what the daemon does in place of a port that cannot. Everything here can be interrupted
 * and done again.
 */
#include <stdlib.h>
#include <unistd.h>

#include "uvbridge/internal.h"

/* Which voqs into (dst, rxq) exist. */
struct existing {
	uint64_t *pages;
	uint64_t first; /* offset into the voqs of page 0 */
};

static struct existing
existing_voqs(const struct uvb_map *map, uint32_t dst, uint32_t rxq)
{
	uint64_t from = map->off_voqs + uvb_map_voq_off(map, dst, rxq, 0);
	uint64_t to =
		map->off_voqs + uvb_map_voq_off(map, dst, rxq, map->nb_ports * map->nb_queues);
	struct existing e;

	e.first = from & ~(uint64_t)(UVB_PAGE - 1);
	e.pages = uvb_map_resident(map, e.first, to - e.first);
	return e;
}

/* Its head and tail, that is. Without memory for the list every voq exists. */
static bool
exists(const struct uvb_map *map, const struct existing *e, uint32_t dst, uint32_t rxq,
       uint32_t source)
{
	uint64_t page =
		(map->off_voqs + uvb_map_voq_off(map, dst, rxq, source) - e->first) / UVB_PAGE;

	return e->pages == NULL || (e->pages[page / 64] >> (page & 63) & 1) != 0;
}

/* References in a voq; one that claims more than it has room for is read in full. */
static uint32_t
waiting(const struct uvb_map *map, const struct uvb_voq_shm *v, uint32_t *tail)
{
	uint32_t n;

	*tail = atomic_load_explicit(&v->tail, memory_order_acquire);
	n = atomic_load_explicit(&v->head, memory_order_acquire) - *tail;
	return n <= map->voq_depth ? n : map->voq_depth;
}

static uint32_t
reference(const struct uvb_map *map, const struct uvb_voq_shm *v, uint32_t i)
{
	return atomic_load_explicit(&v->slot[i & (map->voq_depth - 1)], memory_order_relaxed);
}

/* ----------------------------------------------------------------------------- as the receiver */

/* Free the frame that starts at cell `ref`, if it is for this queue, whatever the generation. */
static uint64_t
free_frame(const struct uvb_map *map, uint32_t source, uint32_t ref, uint32_t dst, uint32_t rxq)
{
	struct uvb_cell *cells =
		uvb_map_cells(map, source / map->nb_queues, source % map->nb_queues);
	uint32_t idx[UVB_CHAIN_MAX], total, n;
	uint64_t owner;

	if (ref >= map->cells_per_txq)
		return 0;
	owner = atomic_load_explicit(&cells[ref].owner, memory_order_acquire);
	if (owner == UVB_OWNER_FREE || (uint32_t)owner != (uint32_t)UVB_OWNER(0, dst, rxq))
		return 0;
	n = uvb_chain_walk(cells, map->cells_per_txq, ref, owner, idx, &total);
	if (n == 0) {
		n = 1;
		idx[0] = ref;
	}
	for (uint32_t i = n; i-- > 0;)
		atomic_store_explicit(&cells[idx[i]].owner, UVB_OWNER_FREE, memory_order_release);
	return n;
}

static uint64_t
drain_voq(const struct uvb_map *map, uint32_t dst, uint32_t rxq, uint32_t source)
{
	struct uvb_voq_shm *v =
		uvb_map_voq(map, dst, rxq, source / map->nb_queues, source % map->nb_queues);
	uint32_t tail, n = waiting(map, v, &tail);
	uint32_t head = atomic_load_explicit(&v->head, memory_order_acquire);
	uint64_t freed = 0;

	for (uint32_t i = 0; i < n; i++)
		freed += free_frame(map, source, reference(map, v, tail + i), dst, rxq);
	/* A sender may have added more since: the pending bits tell of it again. */
	if (head - tail > map->voq_depth)
		atomic_store_explicit(&v->tail, head, memory_order_release);
	else
		atomic_store_explicit(&v->tail, tail + n, memory_order_release);
	return freed;
}

uint64_t
uvb_drain_port(const struct uvb_map *map, uint32_t port, uint32_t first_rxq)
{
	uint32_t sources = map->nb_ports * map->nb_queues;
	uint64_t freed = 0;

	for (uint32_t q = first_rxq; q < map->nb_queues; q++) {
		struct uvb_rxq_shm *rxq = uvb_map_rxq(map, port, q);
		struct existing e;

		/* Bits first, then heads: a sender that finds its bit set has its head seen. */
		atomic_exchange(&rxq->summary, 0);
		for (uint32_t w = 0; w <= (sources - 1) / 64; w++)
			if (uvb_load(&rxq->leaf[w]) != 0)
				atomic_exchange(&rxq->leaf[w], 0);
		if (uvb_load(&rxq->armed) & 1)
			atomic_fetch_add(&rxq->armed, 1);
		atomic_thread_fence(memory_order_seq_cst);
		e = existing_voqs(map, port, q);
		for (uint32_t s = 0; s < sources; s++)
			if (exists(map, &e, port, q, s))
				freed += drain_voq(map, port, q, s);
		free(e.pages);
	}
	return freed;
}

uint64_t
uvb_drain_pending(const struct uvb_map *map, uint32_t port, uint32_t first_rxq)
{
	uint32_t sources = map->nb_ports * map->nb_queues;
	uint64_t freed = 0;

	for (uint32_t q = first_rxq; q < map->nb_queues; q++) {
		struct uvb_rxq_shm *rxq = uvb_map_rxq(map, port, q);
		uint64_t words;

		if (uvb_load(&rxq->summary) == 0)
			continue;
		for (words = atomic_exchange(&rxq->summary, 0); words != 0; words &= words - 1) {
			uint32_t w = (uint32_t)__builtin_ctzll(words);
			uint64_t bits = atomic_exchange(&rxq->leaf[w], 0);

			for (; bits != 0; bits &= bits - 1) {
				uint32_t s = w * 64 + (uint32_t)__builtin_ctzll(bits);

				if (s < sources)
					freed += drain_voq(map, port, q, s);
			}
		}
	}
	return freed;
}

/* ------------------------------------------------------------------------------- as the sender */

struct sender {
	const struct uvb_map *map;
	uint64_t *standing; /* a bit for each cell of the txq that stands in a voq */
	const struct uvb_cell *cells;
	int dirfd;
	uint32_t port;
	uint32_t txq;
};

/* Every cell of a chain, as far as it goes. */
static void
mark_frame(struct sender *s, uint32_t ref)
{
	for (uint32_t n = 0; n < UVB_CHAIN_MAX && ref < s->map->cells_per_txq; n++) {
		s->standing[ref / 64] |= 1ULL << (ref & 63);
		ref = s->cells[ref].next;
	}
}

static void
announce(struct sender *s, uint32_t dst, uint32_t rxq)
{
	struct uvb_rxq_shm *q = uvb_map_rxq(s->map, dst, rxq);
	uint32_t source = uvb_map_queue_index(s->map, s->port, s->txq);
	int bell;

	/* Both bits, without looking: the dead sender may have set one of them. */
	atomic_fetch_or(&q->leaf[source >> 6], 1ULL << (source & 63));
	atomic_fetch_or(&q->summary, 1ULL << (source >> 6));
	if (!(atomic_load(&q->armed) & 1))
		return;
	bell = uvb_bell_open(s->dirfd, dst, rxq, false);
	if (bell >= 0) {
		uvb_bell_ring(bell);
		close(bell);
	}
}

static void
mark_voq(struct sender *s, uint32_t dst, uint32_t rxq)
{
	const struct uvb_voq_shm *v = uvb_map_voq(s->map, dst, rxq, s->port, s->txq);
	uint32_t tail, n = waiting(s->map, v, &tail);

	for (uint32_t i = 0; i < n; i++)
		mark_frame(s, reference(s->map, v, tail + i));
	if (n != 0)
		announce(s, dst, rxq);
}

static void
mark_all(struct sender *s)
{
	uint32_t source = uvb_map_queue_index(s->map, s->port, s->txq);

	for (uint32_t dst = 0; dst < s->map->nb_ports; dst++) {
		if (UVB_LIFE_GEN(atomic_load(&uvb_map_port(s->map, dst)->life)) == 0)
			continue;
		for (uint32_t q = 0; q < s->map->nb_queues; q++) {
			uint64_t off = s->map->off_voqs + uvb_map_voq_off(s->map, dst, q, source);
			struct existing e = {.first = off & ~(uint64_t)(UVB_PAGE - 1)};

			e.pages = uvb_map_resident(s->map, e.first, UVB_PAGE);
			if (exists(s->map, &e, dst, q, source))
				mark_voq(s, dst, q);
			free(e.pages);
		}
	}
}

static uint64_t
free_unmarked(struct sender *s)
{
	struct uvb_cell *cells = (struct uvb_cell *)s->cells;
	uint64_t from = (uint64_t)((const uint8_t *)cells - s->map->base), freed = 0;
	uint64_t *pages = uvb_map_resident(s->map, from, s->map->cells_per_txq * sizeof(*cells));

	for (uint32_t i = 0; i < s->map->cells_per_txq; i++) {
		uint32_t page = (uint32_t)(i * sizeof(*cells) / UVB_PAGE);

		if (pages != NULL && !(pages[page / 64] >> (page & 63) & 1))
			continue;
		if (s->standing[i / 64] >> (i & 63) & 1)
			continue;
		if (atomic_load_explicit(&cells[i].owner, memory_order_relaxed) == UVB_OWNER_FREE)
			continue;
		atomic_store_explicit(&cells[i].owner, UVB_OWNER_FREE, memory_order_release);
		freed++;
	}
	free(pages);
	return freed;
}

uint64_t
uvb_finish_sender(const struct uvb_map *map, int dirfd, uint32_t port)
{
	uint64_t freed = 0;

	for (uint32_t t = 0; t < map->nb_queues; t++) {
		struct sender s = {.map = map, .dirfd = dirfd, .port = port, .txq = t};

		s.cells = uvb_map_cells(map, port, t);
		s.standing = calloc(map->cells_per_txq / 64, sizeof(*s.standing));
		if (s.standing == NULL)
			return freed; /* nothing freed too early; the next attach sweeps again */
		mark_all(&s);
		freed += free_unmarked(&s);
		free(s.standing);
	}
	return freed;
}
