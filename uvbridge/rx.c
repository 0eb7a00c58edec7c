/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Receive: serve the rings of all sources, fairly, and believe none of them.
 *
 * A source that has sent something is active: its pending bit stays set and its head is polled,
 * until it has been empty for a while. So a steady sender finds the bit set and neither side
 * executes a locked instruction; a source that is silent costs nothing.
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "uvbridge/internal.h"

#define QUANTUM   6072 /* bytes a source may send in its turn: four full frames */
#define IDLE_MAX  64   /* polls in vain before a source is active no more */
#define PEEK_MAX  256  /* frames that can be out at once */
#define CELLS_MAX 1024 /* cells, the same */
#define BATCH     32   /* references read, and prefetched, together */

/* One voq into this queue. */
struct source {
	struct uvb_voq_shm *voq;
	struct uvb_cell *cells; /* of its sender */
	uint32_t pos;           /* next reference to look at */
	uint32_t tail;          /* as published: everything before it is free */
	uint32_t head;          /* as last read */
	uint32_t idle;          /* polls in vain */
	int32_t deficit;        /* bytes it may still send in this turn */
	uint16_t id;            /* port x nb_queues + txq */
	uint16_t port;
	bool touched; /* pos is ahead of tail, stands in q->touched */
};

/* A frame that is out. */
struct held {
	uint32_t len;
	uint16_t first; /* its cells in q->cell[] */
	uint16_t nb_cells;
};

struct uvb_rxq {
	struct uvb_dev *dev;
	struct uvb_rxq_shm *shm;
	uint64_t owner; /* what the owner word of a cell for us says, but for the position */
	uint16_t rxq;
	uint32_t depth;
	uint32_t nb_cells; /* of each sender */
	uint32_t nb_sources;

	uint32_t nb_active;
	uint32_t turn;                            /* index in active[]: whose turn it is */
	uint64_t is_active[UVB_MAX_SOURCES / 64]; /* their bits */
	uint16_t *active;                         /* [nb_sources] */
	struct source *source;                    /* [nb_sources] */

	uint32_t nb_held;
	uint32_t nb_out; /* cells that are out */
	uint32_t nb_touched;
	struct held held[PEEK_MAX];
	struct uvb_cell *cell[CELLS_MAX];
	uint16_t touched[PEEK_MAX];

	uint64_t packets, bytes, nombuf, stale, bad; /* counters as they will be stored */
};

/* ------------------------------------------------------------------------------ active sources */

static void
source_activate(struct uvb_rxq *q, uint32_t id)
{
	const struct uvb_map *map = &q->dev->map;
	struct source *s = &q->source[id];
	uint32_t port = id / map->nb_queues, txq = id % map->nb_queues;

	if (s->voq == NULL) {
		s->voq = uvb_map_voq(map, q->dev->id, q->rxq, port, txq);
		s->cells = uvb_map_cells(map, port, txq);
		s->id = (uint16_t)id;
		s->port = (uint16_t)port;
		/* The daemon was the receiver until now: it left tail where we go on. */
		s->tail = atomic_load_explicit(&s->voq->tail, memory_order_relaxed);
		s->pos = s->tail;
		s->head = s->tail;
	}
	s->idle = 0;
	s->deficit = 0;
	q->is_active[id >> 6] |= 1ULL << (id & 63);
	q->active[q->nb_active++] = (uint16_t)id;
}

/* Take in the sources that have announced themselves. Summary first, then the leaves: a bit of
 * summary may then be set in vain, but none is missed. */
static void
collect(struct uvb_rxq *q)
{
	uint64_t words;

	if (UVB_LIKELY(uvb_load(&q->shm->summary) == 0))
		return;
	words = atomic_exchange(&q->shm->summary, 0);
	UVB_KILL_POINT(UVB_KILL_RX_SUMMARY);
	for (; words != 0; words &= words - 1) {
		uint32_t w = (uint32_t)__builtin_ctzll(words);
		uint64_t bits = atomic_load(&q->shm->leaf[w]) & ~q->is_active[w];

		for (; bits != 0; bits &= bits - 1) {
			uint32_t id = w * 64 + (uint32_t)__builtin_ctzll(bits);

			if (id < q->nb_sources)
				source_activate(q, id);
		}
	}
}

/* How many references wait. A head that is further than the ring is long is nonsense: skip it all.
 */
static uint32_t
source_avail(struct uvb_rxq *q, struct source *s)
{
	uint32_t n = s->head - s->pos;

	if (n != 0)
		return n;
	s->head = atomic_load_explicit(&s->voq->head, memory_order_acquire);
	n = s->head - s->pos;
	if (UVB_LIKELY(n <= q->depth && s->head - s->tail <= q->depth))
		return n;
	q->bad++;
	s->pos = s->head;
	if (!s->touched) {
		s->tail = s->head;
		atomic_store_explicit(&s->voq->tail, s->tail, memory_order_release);
	}
	return 0;
}

/* Active no more, unless something has come in the meantime: then false. */
static bool
source_retire(struct uvb_rxq *q, uint32_t index)
{
	struct source *s = &q->source[q->active[index]];
	uint64_t bit = 1ULL << (s->id & 63);
	_Atomic uint64_t *leaf = &q->shm->leaf[s->id >> 6];

	if (s->touched)
		return false;
	atomic_fetch_and(leaf, ~bit);
	UVB_KILL_POINT(UVB_KILL_RX_CLEARED);
	if (atomic_load(&s->voq->head) != s->pos) {
		atomic_fetch_or(leaf, bit);
		s->idle = 0;
		return false;
	}
	q->is_active[s->id >> 6] &= ~bit;
	q->active[index] = q->active[--q->nb_active];
	return true;
}

/* ---------------------------------------------------------------------------------------- peek */

/* The cell that a reference names, if it is a frame for us; else counts why not. */
static struct uvb_cell *
check_cell(struct uvb_rxq *q, struct source *s, uint32_t ref, uint64_t want)
{
	uint64_t owner;

	if (UVB_UNLIKELY(ref >= q->nb_cells)) {
		q->bad++;
		return NULL;
	}
	owner = atomic_load_explicit(&s->cells[ref].owner, memory_order_relaxed);
	if (UVB_LIKELY(owner == want))
		return &s->cells[ref];
	if (UVB_OWNER_ANY_GEN(owner) == UVB_OWNER_ANY_GEN(want)) {
		/* To somebody who had our number before us: ours to free, not to read. */
		uvb_chain_free(s->cells, q->nb_cells, ref, UVB_OWNER_ANY_GEN(want));
		q->stale++;
	} else {
		q->bad++;
	}
	return NULL;
}

/* Put a chain's cells on the list of what is out. 0: it makes no sense, or there is no room. */
static uint32_t
hold_chain(struct uvb_rxq *q, const struct source *s, uint32_t ref, uint64_t owner, uint32_t *total)
{
	uint32_t idx[UVB_CHAIN_MAX];
	uint32_t n = uvb_chain_walk(s->cells, q->nb_cells, ref, owner, idx, total);

	for (uint32_t i = 0; i < n; i++)
		q->cell[q->nb_out + i] = &s->cells[idx[i]];
	return n;
}

/* The next reference: fill in the frame, or count why there is none. Everything is read once. */
static bool
hold_frame(struct uvb_rxq *q, struct source *s, uint32_t ref, struct uvb_rx_frame *f)
{
	uint64_t owner = q->owner | UVB_OWNER(0, 0, 0, s->pos++);
	struct uvb_cell *c = check_cell(q, s, ref, owner);
	uint32_t n = 1, len;

	if (UVB_UNLIKELY(c == NULL))
		return false;
	len = c->len;
	if (UVB_UNLIKELY(c->next != UVB_CELL_END))
		n = hold_chain(q, s, ref, owner, &len);
	else
		q->cell[q->nb_out] = c;
	if (UVB_UNLIKELY(n == 0 || len < UVB_FRAME_MIN || (n == 1 && len > UVB_CELL_ROOM))) {
		q->bad++;
		/* The first cell is ours by its owner word; what else it claims is its sender's
		 * loss. */
		atomic_store_explicit(&c->owner, UVB_OWNER_FREE, memory_order_release);
		return false;
	}
	q->held[q->nb_held] = (struct held){len, (uint16_t)q->nb_out, (uint16_t)n};
	f->cell = c;
	f->data = c->data;
	f->len = len;
	f->hash = c->hash;
	f->flags = c->flags;
	f->src_port = s->port;
	f->index = (uint16_t)q->nb_held;
	f->nb_cells = (uint16_t)n;
	q->nb_out += n;
	q->nb_held++;
	s->deficit -= (int32_t)len;
	return true;
}

static bool
touch(struct uvb_rxq *q, struct source *s)
{
	if (s->touched)
		return true;
	if (q->nb_touched == PEEK_MAX)
		return false;
	s->touched = true;
	q->touched[q->nb_touched++] = s->id;
	return true;
}

/* Up to n frames of one source, as long as its turn lasts. */
static uint32_t
serve(struct uvb_rxq *q, struct source *s, struct uvb_rx_frame *f, uint32_t n)
{
	uint32_t ref[BATCH], got = 0, k, i;

	while (got < n && s->deficit > 0) {
		k = source_avail(q, s);
		if (k == 0)
			break;
		if (k > n - got)
			k = n - got;
		if (k > BATCH)
			k = BATCH;
		if (!touch(q, s))
			return got;
		for (i = 0; i < k; i++) {
			ref[i] = atomic_load_explicit(&s->voq->slot[(s->pos + i) & (q->depth - 1)],
						      memory_order_relaxed);
			uvb_prefetch_write(&s->cells[ref[i] & (q->nb_cells - 1)]);
			__builtin_prefetch(s->cells[ref[i] & (q->nb_cells - 1)].data);
		}
		for (i = 0; i < k && s->deficit > 0; i++) {
			if (UVB_UNLIKELY(q->nb_out + UVB_CHAIN_MAX > CELLS_MAX))
				return got;
			got += hold_frame(q, s, ref[i], &f[got]);
		}
	}
	return got;
}

static void
store_counters(struct uvb_rxq *q)
{
	atomic_store_explicit(&q->shm->packets, q->packets, memory_order_relaxed);
	atomic_store_explicit(&q->shm->bytes, q->bytes, memory_order_relaxed);
	atomic_store_explicit(&q->shm->nombuf, q->nombuf, memory_order_relaxed);
	atomic_store_explicit(&q->shm->stale, q->stale, memory_order_relaxed);
	atomic_store_explicit(&q->shm->bad, q->bad, memory_order_relaxed);
}

/* Deficit round robin. A source whose turn is cut short by a full burst goes on next time with what
 * it has left; one that runs empty loses it. */
static uint32_t
round_robin(struct uvb_rxq *q, struct uvb_rx_frame *f, uint32_t n)
{
	uint32_t got = 0, in_vain = 0, k;

	while (got < n && in_vain < q->nb_active) {
		struct source *s;

		if (q->turn >= q->nb_active)
			q->turn = 0;
		s = &q->source[q->active[q->turn]];
		if (s->deficit <= 0)
			s->deficit = q->nb_active == 1 ? QUANTUM : s->deficit + QUANTUM;
		k = serve(q, s, f + got, n - got);
		got += k;
		in_vain = k != 0 ? 0 : in_vain + 1;
		if (k != 0)
			s->idle = 0;
		if (got == n && s->deficit > 0)
			break;
		if (s->deficit > 0 && source_avail(q, s) == 0) {
			s->deficit = 0;
			if (k == 0 && ++s->idle > IDLE_MAX && source_retire(q, q->turn)) {
				in_vain--; /* one fewer to look at */
				continue;
			}
		}
		q->turn++;
	}
	return got;
}

uint16_t
uvb_rx_peek(struct uvb_rxq *q, struct uvb_rx_frame *frame, uint16_t n)
{
	uint32_t got;

	if (UVB_UNLIKELY(!uvb_dev_up(q->dev)))
		return 0;
	collect(q);
	if (q->nb_active == 0)
		return 0;
	got = round_robin(q, frame, n < PEEK_MAX ? n : PEEK_MAX);
	UVB_KILL_POINT(UVB_KILL_RX_PEEKED);
	/* Only nonsense: nobody will call uvb_rx_done() for it. */
	if (got == 0 && q->nb_touched != 0)
		uvb_rx_done(q, 0);
	return (uint16_t)got;
}

uint32_t
uvb_rx_read(const struct uvb_rxq *q, const struct uvb_rx_frame *f, uint32_t off, void *dst,
	    uint32_t len)
{
	const struct held *h = &q->held[f->index];
	uint32_t done = 0;

	for (uint32_t i = 0; i < h->nb_cells && done < len; i++) {
		const struct uvb_cell *c = q->cell[h->first + i];
		uint32_t in_cell = i + 1 < h->nb_cells ? UVB_CELL_ROOM : h->len - i * UVB_CELL_ROOM;
		uint32_t n;

		if (off >= in_cell) {
			off -= in_cell;
			continue;
		}
		n = in_cell - off < len - done ? in_cell - off : len - done;
		memcpy((uint8_t *)dst + done, c->data + off, n);
		done += n;
		off = 0;
	}
	return done;
}

/* ---------------------------------------------------------------------------------------- done */

/* The first cell last: as long as it is ours, its chain can be followed (by the daemon, if we die).
 */
static void
free_cells(struct uvb_rxq *q, const struct held *h)
{
	for (uint32_t i = h->nb_cells; i-- > 0;) {
		atomic_store_explicit(&q->cell[h->first + i]->owner, UVB_OWNER_FREE,
				      memory_order_release);
		UVB_KILL_POINT(i == 0 ? UVB_KILL_RX_FREED : UVB_KILL_RX_TAIL_CELL);
	}
}

void
uvb_rx_done(struct uvb_rxq *q, uint16_t nombuf)
{
	uint32_t good = nombuf < q->nb_held ? q->nb_held - nombuf : 0;

	/* A port reclaimed while it held frames: the cells are the daemon's business now. */
	if (UVB_UNLIKELY(!uvb_dev_up(q->dev)))
		goto forget;
	for (uint32_t i = 0; i < q->nb_held; i++) {
		free_cells(q, &q->held[i]);
		if (i < good)
			q->bytes += q->held[i].len;
	}
	q->packets += good;
	q->nombuf += q->nb_held - good;
	store_counters(q);
	for (uint32_t i = 0; i < q->nb_touched; i++) {
		struct source *s = &q->source[q->touched[i]];

		s->tail = s->pos;
		atomic_store_explicit(&s->voq->tail, s->tail, memory_order_release);
		UVB_KILL_POINT(UVB_KILL_RX_TAIL);
	}
forget:
	for (uint32_t i = 0; i < q->nb_touched; i++)
		q->source[q->touched[i]].touched = false;
	q->nb_touched = 0;
	q->nb_held = 0;
	q->nb_out = 0;
}

/* By the pending bits: an active source has its bit set. */
uint32_t
uvb_rx_count(const struct uvb_rxq *q)
{
	const struct uvb_map *map = &q->dev->map;
	uint32_t n = 0, waiting;

	for (uint32_t w = 0; w <= (q->nb_sources - 1) / 64; w++) {
		uint64_t bits = uvb_load(&q->shm->leaf[w]);

		for (; bits != 0; bits &= bits - 1) {
			uint32_t id = w * 64 + (uint32_t)__builtin_ctzll(bits);
			const struct uvb_voq_shm *v;

			if (id >= q->nb_sources)
				break;
			v = uvb_map_voq(map, q->dev->id, q->rxq, id / map->nb_queues,
					id % map->nb_queues);
			waiting = atomic_load_explicit(&v->head, memory_order_acquire) -
				  atomic_load_explicit(&v->tail, memory_order_relaxed);
			n += waiting <= q->depth ? waiting : 0;
		}
	}
	return n;
}

void
uvb_rx_flush(struct uvb_rxq *q)
{
	struct uvb_rx_frame f[BATCH];
	uint32_t left = uvb_rx_count(q); /* what comes meanwhile is not ours to chase */

	for (;;) {
		uint16_t n = uvb_rx_peek(q, f, BATCH);

		uvb_rx_done(q, n);
		if (n == 0 || n >= left)
			return;
		left -= n;
	}
}

/* ------------------------------------------------------------------------------------- sleeping */

int
uvb_rxq_fd(const struct uvb_rxq *q)
{
	return q->dev->bell[q->rxq];
}

static bool
anything_active(struct uvb_rxq *q)
{
	for (uint32_t i = q->nb_active; i-- > 0;)
		if (source_avail(q, &q->source[q->active[i]]) != 0 || !source_retire(q, i))
			return true;
	return false;
}

bool
uvb_rx_arm(struct uvb_rxq *q, bool ring)
{
	uint64_t armed = uvb_load(&q->shm->armed);

	if (!anything_active(q)) {
		atomic_store(&q->shm->armed, (armed | 1) + (armed & 1) * 2);
		/* Pairs with the sender's fence between head and its look at `armed`. */
		atomic_thread_fence(memory_order_seq_cst);
		UVB_KILL_POINT(UVB_KILL_RX_ARMED);
		if (uvb_load(&q->shm->summary) == 0) {
			uvb_add(&q->shm->sleeps, 1);
			return true;
		}
		uvb_rx_disarm(q);
	}
	if (ring)
		uvb_bell_ring(uvb_rxq_fd(q));
	return false;
}

void
uvb_rx_disarm(struct uvb_rxq *q)
{
	uint64_t armed = uvb_load(&q->shm->armed);

	if (armed & 1)
		atomic_store(&q->shm->armed, armed + 1);
	if (uvb_bell_drain(uvb_rxq_fd(q)))
		uvb_add(&q->shm->wakes, 1);
}

/* --------------------------------------------------------------------------------------- handle */

struct uvb_rxq *
uvb_rxq_new(struct uvb_dev *dev, uint16_t rxq)
{
	struct uvb_rxq *q = calloc(1, sizeof(*q));

	if (q == NULL)
		return NULL;
	q->dev = dev;
	q->rxq = rxq;
	q->shm = uvb_map_rxq(&dev->map, dev->id, rxq);
	q->owner = UVB_OWNER(dev->gen, dev->id, rxq, 0);
	q->depth = dev->map.voq_depth;
	q->nb_cells = dev->map.cells_per_txq;
	q->nb_sources = dev->map.nb_ports * dev->map.nb_queues;
	q->active = calloc(q->nb_sources, sizeof(*q->active));
	q->source = calloc(q->nb_sources, sizeof(*q->source));
	if (q->active != NULL && q->source != NULL) {
		uvb_rxq_renew(q);
		return q;
	}
	uvb_rxq_free(q);
	return NULL;
}

/* Sources that are active without our knowing it have their bits in `leaf` and perhaps not in
 * `summary`: whoever received before has taken those. */
void
uvb_rxq_renew(struct uvb_rxq *q)
{
	q->nb_active = 0;
	q->turn = 0;
	q->nb_held = 0;
	q->nb_out = 0;
	q->nb_touched = 0;
	memset(q->is_active, 0, sizeof(q->is_active));
	memset(q->source, 0, q->nb_sources * sizeof(*q->source));
	q->packets = uvb_load(&q->shm->packets);
	q->bytes = uvb_load(&q->shm->bytes);
	q->nombuf = uvb_load(&q->shm->nombuf);
	q->stale = uvb_load(&q->shm->stale);
	q->bad = uvb_load(&q->shm->bad);
	for (uint32_t w = 0; w <= (q->nb_sources - 1) / 64; w++)
		if (uvb_load(&q->shm->leaf[w]) != 0)
			atomic_fetch_or(&q->shm->summary, 1ULL << w);
}

void
uvb_rxq_free(struct uvb_rxq *q)
{
	if (q == NULL)
		return;
	free(q->active);
	free(q->source);
	free(q);
}
