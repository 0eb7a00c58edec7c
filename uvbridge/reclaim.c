/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Reclaim: what the daemon does in place of a port that cannot, and the owner of a living port in
 * place of the process that used a queue of it. Everything here can be interrupted and done again.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "uvbridge/internal.h"

/* References in a voq; one that claims more than it has room for is read in full. */
static uint32_t
waiting(const struct uvb_map *map, const struct uvb_voq_shm *v, uint32_t *tail)
{
	uint32_t n;

	*tail = atomic_load_explicit(&v->tail, memory_order_acquire);
	n = uvb_voq_head(v) - *tail;
	return n <= map->voq_depth ? n : map->voq_depth;
}

static uint32_t
reference(const struct uvb_map *map, const struct uvb_voq_shm *v, uint32_t i)
{
	return atomic_load_explicit(&v->slot[i & (map->voq_depth - 1)], memory_order_relaxed);
}

/* ----------------------------------------------------------------------------- as the receiver */

/* Returns cells freed; the frames they held are added to *lost. */
static uint64_t
drain_voq(const struct uvb_map *map, uint32_t dst, uint32_t rxq, uint32_t source, uint64_t *lost)
{
	struct uvb_voq_shm *v =
		uvb_map_voq(map, dst, rxq, source / map->nb_queues, source % map->nb_queues);
	struct uvb_cells cells = uvb_map_source_cells(map, source);
	uint32_t tail, n = waiting(map, v, &tail);
	uint32_t head = uvb_voq_head(v);
	uint64_t freed = 0;

	for (uint32_t i = 0; i < n; i++) {
		uint32_t k = uvb_chain_free(&cells, reference(map, v, tail + i),
					    UVB_OWNER(0, dst, rxq, tail + i));

		freed += k;
		*lost += k != 0;
	}
	/* A sender may have added more since: the pending bits tell of it again. */
	if (head - tail > map->voq_depth)
		atomic_store_explicit(&v->tail, head, memory_order_release);
	else
		atomic_store_explicit(&v->tail, tail + n, memory_order_release);
	return freed;
}

static uint64_t
drain_queue(const struct uvb_map *map, uint32_t port, uint32_t q)
{
	uint32_t sources = map->nb_ports * map->nb_queues;
	struct uvb_rxq_shm *rxq = uvb_map_rxq(map, port, q);
	struct uvb_voq_pages e;
	uint64_t freed = 0, lost = 0;

	/* Bits first, then heads: a sender that finds its bit set has its head seen. */
	atomic_exchange(&rxq->summary, 0);
	for (uint32_t w = 0; w <= (sources - 1) / 64; w++)
		if (uvb_load(&rxq->leaf[w]) != 0)
			atomic_exchange(&rxq->leaf[w], 0);
	atomic_thread_fence(memory_order_seq_cst);
	e = uvb_voq_pages(map, port, q);
	for (uint32_t s = 0; s < sources; s++) {
		if (uvb_voq_exists(map, &e, port, q, s))
			freed += drain_voq(map, port, q, s, &lost);
		UVB_KILL_POINT(UVB_KILL_RESET_VOQ);
	}
	free(e.pages);
	uvb_add(&rxq->lost, lost);
	return freed;
}

uint64_t
uvb_drain_port(const struct uvb_map *map, uint32_t port, uint32_t first_rxq)
{
	uint64_t freed = 0;

	for (uint32_t q = first_rxq; q < uvb_map_ever_rxq(map, port); q++) {
		struct uvb_rxq_shm *rxq = uvb_map_rxq(map, port, q);

		freed += drain_queue(map, port, q);
		if (uvb_load(&rxq->armed) & 1)
			atomic_fetch_add(&rxq->armed, 1); /* nobody is there to be woken */
	}
	return freed;
}

uint64_t
uvb_drain_pending(const struct uvb_map *map, uint32_t port, uint32_t first_rxq)
{
	uint32_t sources = map->nb_ports * map->nb_queues;
	uint64_t freed = 0;

	for (uint32_t q = first_rxq; q < uvb_map_ever_rxq(map, port); q++) {
		struct uvb_rxq_shm *rxq = uvb_map_rxq(map, port, q);
		uint64_t words, lost = 0;

		if (uvb_load(&rxq->summary) == 0)
			continue;
		for (words = atomic_exchange(&rxq->summary, 0); words != 0; words &= words - 1) {
			uint32_t w = (uint32_t)__builtin_ctzll(words);
			uint64_t bits = atomic_exchange(&rxq->leaf[w], 0);

			for (; bits != 0; bits &= bits - 1) {
				uint32_t s = w * 64 + (uint32_t)__builtin_ctzll(bits);

				if (s < sources)
					freed += drain_voq(map, port, q, s, &lost);
			}
		}
		uvb_add(&rxq->lost, lost);
	}
	return freed;
}

/* ------------------------------------------------------------------------------- as the sender */

static void
announce(const struct uvb_map *map, int dirfd, uint32_t source, uint32_t dst, uint32_t rxq)
{
	struct uvb_rxq_shm *q = uvb_map_rxq(map, dst, rxq);
	int bell;

	/* Both bits, without looking: the dead sender may have set one of them. */
	atomic_fetch_or(&q->leaf[source >> 6], 1ULL << (source & 63));
	atomic_fetch_or(&q->summary, 1ULL << (source >> 6));
	if (!(atomic_load(&q->armed) & 1))
		return;
	bell = uvb_bell_open(dirfd, dst, rxq, false);
	if (bell >= 0) {
		uvb_bell_ring(bell);
		close(bell);
	}
}

/* Steps 3 and 4 for every voq of some transmit queues of a port that is not empty. */
static void
announce_all(const struct uvb_map *map, int dirfd, uint32_t port, uint32_t first, uint32_t nb)
{
	uint32_t source = uvb_map_queue_index(map, port, first), tail;

	for (uint32_t dst = 0; nb != 0 && dst < map->nb_ports; dst++)
		for (uint32_t q = 0; q < uvb_map_ever_rxq(map, dst); q++) {
			struct uvb_voq_pages e = uvb_voq_pages_from(map, dst, q, source, nb);

			for (uint32_t t = first; t < first + nb; t++)
				if (uvb_voq_exists(map, &e, dst, q, source + t - first) &&
				    waiting(map, uvb_map_voq(map, dst, q, port, t), &tail) != 0)
					announce(map, dirfd, source + t - first, dst, q);
			free(e.pages);
		}
}

/* Cells that were given an owner and never published. */
static uint64_t
free_leaked(const struct uvb_map *map, uint32_t port, uint32_t txq)
{
	uint32_t source = uvb_map_queue_index(map, port, txq);
	struct uvb_desc *desc = uvb_map_source_cells(map, source).desc;
	uint64_t from = (uint64_t)((const uint8_t *)desc - map->base), freed = 0;
	uint64_t *pages = uvb_map_resident(map, from, map->cells_per_txq * sizeof(*desc));

	for (uint32_t i = 0; i < map->cells_per_txq; i++) {
		uint64_t owner;

		if (!uvb_page_exists(pages, i * sizeof(*desc)))
			continue;
		owner = atomic_load_explicit(&desc[i].owner, memory_order_relaxed);
		if (owner == UVB_OWNER_FREE || uvb_cell_stands(map, source, i, owner))
			continue;
		atomic_store_explicit(&desc[i].owner, UVB_OWNER_FREE, memory_order_release);
		freed++;
	}
	free(pages);
	return freed;
}

static uint64_t
finish_queues(const struct uvb_map *map, int dirfd, uint32_t port, uint32_t first, uint32_t nb)
{
	uint64_t freed = 0;

	announce_all(map, dirfd, port, first, nb);
	UVB_KILL_POINT(UVB_KILL_RESET_ANNOUNCED);
	for (uint32_t t = first; t < first + nb; t++)
		freed += free_leaked(map, port, t);
	return freed;
}

uint64_t
uvb_finish_sender(const struct uvb_map *map, int dirfd, uint32_t port)
{
	return finish_queues(map, dirfd, port, 0, uvb_map_ever_txq(map, port));
}

/* ---------------------------------------------------------------------- one queue of a living port
 */

/* Which pages exist is asked of the file. A port keeps no descriptor of it, and the one of the
 * directory may not be what it was (an application that closes everything): then every page exists,
 * as far as we know. */
static struct uvb_map
map_with_file(const struct uvb_dev *dev)
{
	struct uvb_map map = dev->map;
	uint64_t epoch;

	map.fd = openat(dev->dirfd, "segment", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (map.fd < 0)
		return map;
	if (pread(map.fd, &epoch, sizeof(epoch), offsetof(struct uvb_hdr, epoch)) ==
		    (ssize_t)sizeof(epoch) &&
	    epoch == map.epoch)
		return map;
	close(map.fd);
	map.fd = -1;
	return map;
}

static void
map_without_file(const struct uvb_map *map)
{
	if (map->fd >= 0)
		close(map->fd);
}

static int
may_reset(const struct uvb_dev *dev, uint16_t queue, uint16_t nb_queues)
{
	if (queue >= nb_queues)
		return -EINVAL;
	if (dev->member == UVB_MEMBER_NONE)
		return -EPERM;
	return uvb_dev_up(dev) ? 0 : -ENODEV;
}

int
uvb_rxq_reset(struct uvb_dev *dev, uint16_t rxq)
{
	int rc = may_reset(dev, rxq, dev->nb_rxq);
	struct uvb_map map;

	if (rc != 0)
		return rc;
	map = map_with_file(dev);
	drain_queue(&map, dev->id, rxq);
	map_without_file(&map);
	/* The bits were cleared under whoever sleeps on it. */
	if (uvb_load(&uvb_map_rxq(&dev->map, dev->id, rxq)->armed) & 1)
		uvb_bell_ring(dev->bell[rxq]);
	return 0;
}

int
uvb_txq_reset(struct uvb_dev *dev, uint16_t txq)
{
	int rc = may_reset(dev, txq, dev->nb_txq);
	struct uvb_map map;

	if (rc != 0)
		return rc;
	map = map_with_file(dev);
	finish_queues(&map, dev->dirfd, dev->id, txq, 1);
	map_without_file(&map);
	return 0;
}
