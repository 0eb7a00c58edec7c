/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Moving the virtual clock. The protocol and why it is right: abi.h, "Clock".
 */
#include <unistd.h>

#include "uvbridge/internal.h"

/* What one reading of all queues says. */
struct reading {
	bool busy;
	uint64_t next;   /* earliest time at which anybody has something to do */
	uint64_t sleeps; /* sum of all `armed`: the same only if none has changed */
};

static bool
is_armed(const struct uvb_rxq_shm *q)
{
	return atomic_load(&q->armed) & 1;
}

static bool
has_pending(const struct uvb_map *map, const struct uvb_rxq_shm *q)
{
	if (atomic_load(&q->summary) != 0)
		return true;
	for (uint32_t w = 0; w <= (map->nb_ports * map->nb_queues - 1) / 64; w++)
		if (atomic_load(&q->leaf[w]) != 0)
			return true;
	return false;
}

/* Asleep, and its time has come: rung, or to be rung. */
static bool
is_due(const struct uvb_rxq_shm *q, uint64_t now)
{
	uint64_t idle = atomic_load(&q->idle_until), due = atomic_load(&q->due);

	return (idle > UVB_BUSY && idle <= now) || (due != 0 && due <= now);
}

static void
read_queue(const struct uvb_map *map, const struct uvb_rxq_shm *q, uint64_t now, struct reading *r)
{
	uint64_t idle = atomic_load(&q->idle_until), due = atomic_load(&q->due);

	r->sleeps += atomic_load(&q->armed);
	if (!is_armed(q)) {
		r->busy |= idle != 0;
		return;
	}
	r->busy |= idle == UVB_BUSY || is_due(q, now) || has_pending(map, q);
	if (idle > now && idle < r->next)
		r->next = idle;
	if (due > now && due < r->next)
		r->next = due;
}

/* Call visit for every receive queue that takes part in switching. */
static void
each_queue(const struct uvb_map *map, void (*visit)(uint32_t port, uint32_t rxq, void *arg),
	   void *arg)
{
	for (uint32_t i = 0; i < map->nb_ports; i++) {
		const struct uvb_port_shm *p = uvb_map_port(map, i);

		if (UVB_LIFE_STATE(atomic_load(&p->life)) != UVB_PORT_UP ||
		    atomic_load(&p->kind) == UVB_KIND_CAPTURE)
			continue;
		for (uint32_t q = 0; q < p->nb_rxq && q < map->nb_queues; q++)
			visit(i, q, arg);
	}
}

struct look {
	const struct uvb_map *map;
	int dirfd;
	uint64_t now;
	struct reading reading;
};

static void
visit_read(uint32_t port, uint32_t rxq, void *arg)
{
	struct look *l = arg;

	if (!l->reading.busy)
		read_queue(l->map, uvb_map_rxq(l->map, port, rxq), l->now, &l->reading);
}

static struct reading
read_all(struct look *l)
{
	l->reading = (struct reading){.next = UINT64_MAX};
	each_queue(l->map, visit_read, l);
	return l->reading;
}

static void
visit_ring(uint32_t port, uint32_t rxq, void *arg)
{
	const struct look *l = arg;
	const struct uvb_rxq_shm *q = uvb_map_rxq(l->map, port, rxq);
	int bell;

	if (!is_armed(q) || !is_due(q, l->now))
		return;
	bell = uvb_bell_open(l->dirfd, port, rxq, false);
	uvb_bell_ring(bell);
	if (bell >= 0)
		close(bell);
}

void
uvb_clock_ring(const struct uvb_map *map, int dirfd)
{
	struct look l = {.map = map, .dirfd = dirfd, .now = uvb_clock_ns(uvb_map_hdr(map))};

	each_queue(map, visit_ring, &l);
}

bool
uvb_clock_turn(const struct uvb_map *map, int dirfd)
{
	struct uvb_hdr *hdr = uvb_map_hdr(map);
	uint64_t until = atomic_load(&hdr->clock_until), next;
	struct look l = {.map = map, .dirfd = dirfd, .now = atomic_load(&hdr->clock_ns)};
	struct reading first, second;

	if (l.now == 0 || until <= l.now)
		return false;
	first = read_all(&l);
	if (first.busy)
		return false;
	second = read_all(&l);
	if (second.busy || second.sleeps != first.sleeps)
		return false;
	next = second.next < until ? second.next : until;
	if (next == UVB_CLOCK_FREE)
		return false;
	if (!atomic_compare_exchange_strong(&hdr->clock_ns, &l.now, next))
		return false;
	uvb_clock_ring(map, dirfd);
	return true;
}

void
uvb_idle(struct uvb_dev *dev, uint64_t until)
{
	const struct uvb_hdr *hdr = uvb_map_hdr(&dev->map);

	atomic_store(&dev->follows, true);
	for (uint16_t i = 0; i < dev->nb_rxq; i++) {
		struct uvb_rxq_shm *q = uvb_map_rxq(&dev->map, dev->id, i);

		if (dev->rxq[i] == NULL)
			continue;
		/* Arming fails where something waits: then its owner is about to look at it. */
		atomic_store(&q->idle_until, is_armed(q) ? until : UVB_BUSY);
	}
	if (until != UVB_BUSY && UVB_UNLIKELY(uvb_load(&hdr->clock_until) != 0))
		uvb_clock_turn(&dev->map, dev->dirfd);
}
