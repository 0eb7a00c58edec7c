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
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "uvbridge/clock.h"
#include "uvbridge/delay.h"
#include "uvbridge/internal.h"

#define QUANTUM   6072 /* bytes a source may send in its turn, times its weight: four full frames */
#define IDLE_MAX  64   /* polls in vain before a source is active no more */
#define PEEK_MAX  256  /* frames that can be out at once */
#define CELLS_MAX 1024 /* cells, the same */
#define BATCH     32   /* references read, and prefetched, together */

/* One voq into this queue. */
struct source {
	struct uvb_voq_shm *voq;
	struct uvb_cells cells; /* of its sender */
	uint32_t pos;           /* next reference to look at */
	uint32_t tail;          /* as published: everything before it is free */
	uint32_t head;          /* as last read, */
	uint32_t last;          /* with the reference before it */
	uint32_t idle;          /* polls in vain */
	int32_t deficit;        /* bytes it may still send in this turn */
	int32_t quantum;        /* that a turn adds */
	uint16_t id;            /* port x nb_queues + txq */
	uint16_t port;
	bool touched; /* pos is ahead of tail, stands in q->touched */
	/* Places between tail and pos whose frames are parked: tail goes no further than the first
	 * of them. A bit each, modulo the depth; NULL: there never was one. */
	uint32_t nb_parked;
	uint64_t *parked;
};

/* A frame that is out. */
struct held {
	uint32_t len;
	uint16_t first; /* its cells in q->desc[] */
	uint16_t nb_cells;
	uint16_t source;
};

/* One of them that was parked: its place. */
struct shown {
	uint32_t pos;
	uint16_t source;
};

struct uvb_rxq {
	struct uvb_dev *dev;
	struct uvb_rxq_shm *shm;
	uint64_t owner; /* what the owner word of a cell for us says, but for the position */
	uint16_t rxq;
	int timer; /* in the queue's bell; -1: not needed so far */
	bool timer_set;
	struct uvb_delay delay;
	uint32_t depth;
	uint32_t nb_sources;
	uint32_t policy_gen; /* that the sources' quanta are of */

	uint32_t nb_active;
	uint32_t turn;                            /* index in active[]: whose turn it is */
	uint64_t is_active[UVB_MAX_SOURCES / 64]; /* their bits */
	uint8_t busy[UVB_MAX_PORTS];              /* sources of a port that are not idle */
	uint16_t *active;                         /* [nb_sources] */
	struct source *source;                    /* [nb_sources] */

	uint32_t nb_held;
	uint32_t nb_out; /* cells that are out */
	uint32_t nb_touched;
	uint32_t nb_shown;
	uint64_t out_bytes; /* of the frames that are out */
	struct held held[PEEK_MAX];
	struct shown shown[PEEK_MAX];
	struct uvb_desc *desc[CELLS_MAX]; /* of the cells that are out */
	uint16_t touched[PEEK_MAX];

	uint64_t packets, bytes, nombuf, stale, bad; /* counters as they will be stored */
};

/* ------------------------------------------------------------------------------ active sources */

static int32_t
quantum_of(const struct uvb_rxq *q, const struct source *s)
{
	return QUANTUM * (int32_t)uvb_policy_weight(&q->dev->map, s->port);
}

/* Some port's policy has changed, its weight perhaps. */
static void
reweigh(struct uvb_rxq *q, uint32_t gen)
{
	q->policy_gen = gen;
	for (uint32_t i = 0; i < q->nb_sources; i++)
		if (q->source[i].voq != NULL)
			q->source[i].quantum = quantum_of(q, &q->source[i]);
}

/* What is added to its deficit at its turn: a port has one weight, however many queues it sends
 * from. */
static int32_t
share_of(const struct uvb_rxq *q, const struct source *s)
{
	return q->busy[s->port] > 1 ? s->quantum / q->busy[s->port] : s->quantum;
}

static void
source_busy(struct uvb_rxq *q, struct source *s)
{
	if (s->idle != 0)
		q->busy[s->port]++;
	s->idle = 0;
}

/* Polled in vain. Is it active no more? */
static bool
source_idle(struct uvb_rxq *q, struct source *s)
{
	if (s->idle++ == 0)
		q->busy[s->port]--;
	return s->idle > IDLE_MAX;
}

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
		s->quantum = quantum_of(q, s);
	}
	s->idle = 0;
	q->busy[port]++;
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

/* ---------------------------------------------------------------------- references not in order */

static uint64_t
place_bit(const struct uvb_rxq *q, uint32_t pos, uint32_t *word)
{
	*word = (pos & (q->depth - 1)) / 64;
	return 1ULL << (pos & (q->depth - 1) & 63);
}

static bool
is_parked(const struct uvb_rxq *q, const struct source *s, uint32_t pos)
{
	uint32_t w;
	uint64_t bit = place_bit(q, pos, &w);

	return s->nb_parked != 0 && (s->parked[w] & bit) != 0;
}

static void
mark_parked(const struct uvb_rxq *q, struct source *s, uint32_t pos)
{
	uint32_t w;
	uint64_t bit = place_bit(q, pos, &w);

	s->parked[w] |= bit;
	s->nb_parked++;
}

static void
mark_done(const struct uvb_rxq *q, struct source *s, uint32_t pos)
{
	uint32_t w;
	uint64_t bit = place_bit(q, pos, &w);

	if (!is_parked(q, s, pos))
		return;
	s->parked[w] &= ~bit;
	s->nb_parked--;
}

/* A source that talks nonsense: its places mean nothing any more. */
static void
forget_parked(const struct uvb_rxq *q, struct source *s)
{
	if (s->nb_parked == 0)
		return;
	memset(s->parked, 0, (q->depth + 63) / 64 * sizeof(*s->parked));
	s->nb_parked = 0;
}

/* How far tail may go. */
static uint32_t
done_until(const struct uvb_rxq *q, const struct source *s)
{
	uint32_t tail = s->tail;

	if (UVB_LIKELY(s->nb_parked == 0))
		return s->pos;
	while (tail != s->pos && !is_parked(q, s, tail))
		tail++;
	return tail;
}

static inline void
take_head(struct source *s)
{
	uint64_t head = atomic_load_explicit(&s->voq->head, memory_order_acquire);

	s->head = UVB_HEAD_POS(head);
	s->last = UVB_HEAD_LAST(head);
}

/* The reference at a place before s->head. The last one came with it: a frame that comes alone
 * costs no look at the ring. */
static inline uint32_t
reference(const struct uvb_rxq *q, const struct source *s, uint32_t pos)
{
	if (pos + 1 == s->head)
		return s->last;
	return atomic_load_explicit(&s->voq->slot[pos & (q->depth - 1)], memory_order_relaxed);
}

/* How many references wait. A head that is further than the ring is long is nonsense: skip it all.
 */
static uint32_t
source_avail(struct uvb_rxq *q, struct source *s)
{
	uint32_t n = s->head - s->pos;

	if (n != 0)
		return n;
	take_head(s);
	n = s->head - s->pos;
	if (UVB_LIKELY(n <= q->depth && s->head - s->tail <= q->depth))
		return n;
	q->bad++;
	s->pos = s->head;
	forget_parked(q, s);
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
	if (UVB_HEAD_POS(atomic_load(&s->voq->head)) != s->pos) {
		atomic_fetch_or(leaf, bit);
		source_busy(q, s);
		return false;
	}
	q->is_active[s->id >> 6] &= ~bit;
	q->active[index] = q->active[--q->nb_active];
	return true;
}

/* ---------------------------------------------------------------------------------------- peek */

/* Does a reference name a frame for us? Else counts why not. */
static bool
check_cell(struct uvb_rxq *q, struct source *s, uint32_t ref, uint64_t want)
{
	uint64_t owner;

	if (UVB_UNLIKELY(ref >= s->cells.nb)) {
		q->bad++;
		return false;
	}
	owner = atomic_load_explicit(&s->cells.desc[ref].owner, memory_order_relaxed);
	if (UVB_LIKELY(owner == want))
		return true;
	if (UVB_OWNER_ANY_GEN(owner) == UVB_OWNER_ANY_GEN(want)) {
		/* To somebody who had our number before us: ours to free, not to read. */
		uvb_chain_free(&s->cells, ref, UVB_OWNER_ANY_GEN(want));
		q->stale++;
	} else {
		q->bad++;
	}
	return false;
}

/* Put a chain's cells on the list of what is out. 0: it makes no sense, or there is no room. */
static uint32_t
hold_chain(struct uvb_rxq *q, const struct source *s, uint32_t ref, uint64_t owner, uint32_t *total)
{
	uint32_t idx[UVB_CHAIN_MAX];
	uint32_t n = uvb_chain_walk(&s->cells, ref, owner, idx, total);

	for (uint32_t i = 0; i < n; i++)
		q->desc[q->nb_out + i] = &s->cells.desc[idx[i]];
	return n;
}

/* When a frame is to be seen, 0: at once. */
static uint64_t
deliver_at(const struct source *s, uint32_t ref)
{
	return s->cells.desc[ref].flags & UVB_CELL_EXTRA ? s->cells.cell[ref].deliver_at : 0;
}

/* Its time is not now: remember it for later. */
static void
park(struct uvb_rxq *q, struct source *s, uint32_t ref, uint32_t pos)
{
	const struct uvb_cell *c = &s->cells.cell[ref];
	struct uvb_parked p = {.at = c->deliver_at,
			       .pos = pos,
			       .cell = ref,
			       .source = s->id,
			       .overtake = c->overtake};

	if (s->parked == NULL)
		s->parked = calloc((q->depth + 63) / 64, sizeof(*s->parked));
	if (s->parked != NULL && uvb_delay_park(&q->delay, p)) {
		mark_parked(q, s, pos);
		return;
	}
	uvb_chain_free(&s->cells, ref, UVB_OWNER_ANY_GEN(q->owner | UVB_OWNER_PLACE(pos)));
	q->nombuf++;
}

/* A frame whose cells are on the list of what is out. */
static void
show(struct uvb_rxq *q, struct source *s, uint32_t ref, struct uvb_rx_frame *f, uint32_t len,
     uint32_t nb_cells)
{
	const struct uvb_desc *e = &s->cells.desc[ref];
	const struct uvb_cell *c = &s->cells.cell[ref];

	q->held[q->nb_held] = (struct held){.len = len,
					    .first = (uint16_t)q->nb_out,
					    .nb_cells = (uint16_t)nb_cells,
					    .source = s->id};
	*f = (struct uvb_rx_frame){.cell = c,
				   .data = c->data,
				   .len = len,
				   .hash = e->hash,
				   .flags = e->flags,
				   .src_port = s->port,
				   .index = (uint16_t)q->nb_held,
				   .nb_cells = (uint16_t)nb_cells};
	q->nb_out += nb_cells;
	q->nb_held++;
	q->out_bytes += len;
	s->deficit -= (int32_t)len;
}

/* A frame that is shown: fill it in, or count what is wrong. Everything is read once. */
static bool
hold_cells(struct uvb_rxq *q, struct source *s, uint32_t ref, uint64_t owner,
	   struct uvb_rx_frame *f)
{
	uint32_t len = 0, n = hold_chain(q, s, ref, owner, &len);

	if (UVB_UNLIKELY(n == 0 || len < UVB_FRAME_MIN)) {
		q->bad++;
		/* The first cell is ours by its owner word; what else it claims is its sender's
		 * loss. */
		atomic_store_explicit(&s->cells.desc[ref].owner, UVB_OWNER_FREE,
				      memory_order_release);
		return false;
	}
	show(q, s, ref, f, len, n);
	return true;
}

/* The next reference. */
static bool
hold_frame(struct uvb_rxq *q, struct source *s, uint32_t ref, struct uvb_rx_frame *f)
{
	uint32_t pos = s->pos++;
	uint64_t owner = q->owner | UVB_OWNER_PLACE(pos);

	if (UVB_UNLIKELY(!check_cell(q, s, ref, owner)))
		return false;
	if (UVB_UNLIKELY(deliver_at(s, ref) != 0)) {
		park(q, s, ref, pos);
		return false;
	}
	return hold_cells(q, s, ref, owner, f);
}

/* Up to k references of the commonest kind: frames of one cell, to be seen at once, in order. As
 * hold_frame() and show() would, without going to memory for what a loop can keep. Stops at the
 * first that is different in any way, or when the turn is over. */
static uint32_t
hold_plain(struct uvb_rxq *q, struct source *s, const uint32_t *ref, uint32_t k,
	   struct uvb_rx_frame *f)
{
	const struct uvb_cells cells = s->cells;
	const uint64_t owner = q->owner;
	uint32_t i, out = q->nb_out, held = q->nb_held, bytes = 0;
	int32_t deficit = s->deficit;

	if (k > CELLS_MAX - out)
		k = CELLS_MAX - out;
	for (i = 0; i < k && deficit > 0; i++) {
		struct uvb_desc *e = &cells.desc[ref[i]];
		uint32_t len;

		if (UVB_UNLIKELY(ref[i] >= cells.nb ||
				 atomic_load_explicit(&e->owner, memory_order_relaxed) !=
					 (owner | UVB_OWNER_PLACE(s->pos + i))))
			break;
		len = e->len;
		if (UVB_UNLIKELY((e->flags & UVB_CELL_EXTRA) || len < UVB_FRAME_MIN ||
				 len > UVB_CELL_ROOM))
			break;
		q->desc[out] = e;
		q->held[held] = (struct held){len, (uint16_t)out, 1, s->id};
		f[i] = (struct uvb_rx_frame){.cell = &cells.cell[ref[i]],
					     .data = cells.cell[ref[i]].data,
					     .len = len,
					     .hash = e->hash,
					     .flags = e->flags,
					     .src_port = s->port,
					     .index = (uint16_t)held,
					     .nb_cells = 1};
		out++;
		held++;
		bytes += len;
		deficit -= (int32_t)len;
	}
	s->pos += i;
	s->deficit = deficit;
	q->nb_out = out;
	q->nb_held = held;
	q->out_bytes += bytes;
	return i;
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
			uint32_t at;

			ref[i] = reference(q, s, s->pos + i);
			at = ref[i] & (s->cells.nb - 1);
			uvb_prefetch_write(&s->cells.desc[at]);
			__builtin_prefetch(s->cells.cell[at].data);
		}
		for (i = 0; i < k && s->deficit > 0;) {
			uint32_t plain = hold_plain(q, s, &ref[i], k - i, &f[got]);

			i += plain;
			got += plain;
			if (UVB_LIKELY(i == k || s->deficit <= 0))
				break;
			if (UVB_UNLIKELY(q->nb_out + UVB_CHAIN_MAX > CELLS_MAX))
				return got;
			got += hold_frame(q, s, ref[i++], &f[got]);
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

/* The only source has nobody to be fair to. */
static uint32_t
serve_alone(struct uvb_rxq *q, struct uvb_rx_frame *f, uint32_t n)
{
	struct source *s = &q->source[q->active[0]];
	uint32_t got;

	s->deficit = INT32_MAX;
	got = serve(q, s, f, n);
	s->deficit = 0;
	if (got != 0)
		source_busy(q, s);
	else if (s->head == s->pos && source_idle(q, s))
		source_retire(q, 0);
	return got;
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
			s->deficit = q->nb_active == 1 ? s->quantum : s->deficit + share_of(q, s);
		k = serve(q, s, f + got, n - got);
		got += k;
		/* One that still pays for a long frame is looked at until it has. */
		in_vain = k != 0 || s->deficit <= 0 ? 0 : in_vain + 1;
		if (k != 0)
			source_busy(q, s);
		if (got == n && s->deficit > 0)
			break;
		if (s->deficit > 0 && source_avail(q, s) == 0) {
			s->deficit = 0;
			if (k == 0 && source_idle(q, s) && source_retire(q, q->turn)) {
				in_vain--; /* one fewer to look at */
				continue;
			}
		}
		q->turn++;
	}
	return got;
}

/* ------------------------------------------------------------------------------- parked frames */

static uint64_t
clock_ns(const struct uvb_rxq *q)
{
	return uvb_clock_ns(uvb_map_hdr(&q->dev->map));
}

/* Park what the source has sent, up to the first frame that may be shown at once: those that are
 * shown then come in the order of their times, however late we look. */
static void
park_ahead(struct uvb_rxq *q, struct source *s)
{
	while (source_avail(q, s) != 0 && touch(q, s)) {
		uint32_t ref = reference(q, s, s->pos);
		uint64_t owner = q->owner | UVB_OWNER_PLACE(s->pos);
		bool good = check_cell(q, s, ref, owner);

		if (good && deliver_at(s, ref) == 0)
			return;
		if (good)
			park(q, s, ref, s->pos);
		s->pos++;
		source_busy(q, s);
	}
}

static bool
is_released(const struct uvb_rxq *q, const struct uvb_parked *p, uint64_t now)
{
	uint32_t handle = UVB_HELD_HANDLE(p->at);
	struct uvb_fault_shm *fault = uvb_map_fault(&q->dev->map, handle % UVB_FAULTS_MAX);

	if (!UVB_HELD_IS(p->at))
		return p->at <= now;
	if (atomic_load_explicit(&fault->handle, memory_order_acquire) != handle)
		return true;
	return UVB_HELD_NUMBER(p->at) <
	       atomic_load_explicit(&fault->released, memory_order_acquire);
}

/* Those that waited for something which has happened. */
static void
release(struct uvb_rxq *q, uint64_t now)
{
	for (uint32_t i = 0, n; i < q->delay.nb_waiting;) {
		n = q->delay.nb_waiting;
		if (is_released(q, &q->delay.waiting[i], now))
			uvb_delay_release(&q->delay, i);
		i += n == q->delay.nb_waiting;
	}
}

/* p is shown before those of its source that were sent earlier and wait to be overtaken. */
static void
overtake(struct uvb_rxq *q, const struct uvb_parked *p)
{
	for (uint32_t i = 0, n; i < q->delay.nb_waiting;) {
		struct uvb_parked *w = &q->delay.waiting[i];

		n = q->delay.nb_waiting;
		if (!UVB_HELD_IS(w->at) && w->source == p->source && w->overtake != 0 &&
		    (int32_t)(w->pos - p->pos) < 0 && --w->overtake == 0)
			uvb_delay_release(&q->delay, i);
		i += n == q->delay.nb_waiting;
	}
}

static bool
show_parked(struct uvb_rxq *q, const struct uvb_parked *p, struct uvb_rx_frame *f)
{
	struct source *s = &q->source[p->source];
	uint64_t owner = q->owner | UVB_OWNER_PLACE(p->pos);

	touch(q, s);
	if (!check_cell(q, s, p->cell, owner) || !hold_cells(q, s, p->cell, owner, f)) {
		mark_done(q, s, p->pos);
		return false;
	}
	overtake(q, p);
	q->shown[q->nb_shown++] = (struct shown){.pos = p->pos, .source = p->source};
	return true;
}

static uint32_t
show_due(struct uvb_rxq *q, struct uvb_rx_frame *f, uint32_t n)
{
	uint64_t now = clock_ns(q);
	struct uvb_parked p;
	uint32_t got = 0;

	release(q, now);
	while (got < n && q->nb_out + UVB_CHAIN_MAX <= CELLS_MAX && q->nb_touched < PEEK_MAX &&
	       uvb_delay_due(&q->delay, now, &p))
		got += show_parked(q, &p, &f[got]);
	return got;
}

static uint32_t
peek_delayed(struct uvb_rxq *q, struct uvb_rx_frame *f, uint32_t n)
{
	uint32_t got;

	for (uint32_t i = 0; i < q->nb_active; i++)
		park_ahead(q, &q->source[q->active[i]]);
	got = show_due(q, f, n);
	if (got < n && q->nb_active != 0)
		got += round_robin(q, f + got, n - got);
	return got;
}

uint16_t
uvb_rx_peek(struct uvb_rxq *q, struct uvb_rx_frame *frame, uint16_t n)
{
	const struct uvb_hdr *hdr = uvb_map_hdr(&q->dev->map);
	uint32_t got = 0, gen = atomic_load_explicit(&hdr->policy_gen, memory_order_acquire);

	if (UVB_UNLIKELY(!uvb_dev_up(q->dev)))
		return 0;
	if (UVB_UNLIKELY(gen != q->policy_gen))
		reweigh(q, gen);
	collect(q);
	if (n > PEEK_MAX)
		n = PEEK_MAX;
	if (UVB_LIKELY(uvb_delay_count(&q->delay) == 0)) {
		if (q->nb_active == 0)
			return 0;
		got = q->nb_active == 1 ? serve_alone(q, frame, n) : round_robin(q, frame, n);
	}
	if (UVB_UNLIKELY(uvb_delay_count(&q->delay) != 0))
		got += peek_delayed(q, frame + got, n - got);
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
	const struct uvb_cells *cells = &q->source[h->source].cells;
	uint32_t done = 0;

	/* All but the last are full. */
	for (uint32_t i = off / UVB_CELL_ROOM; i < h->nb_cells && done < len; i++) {
		const struct uvb_cell *c = &cells->cell[q->desc[h->first + i] - cells->desc];
		uint32_t in_cell = i + 1 < h->nb_cells ? UVB_CELL_ROOM : h->len - i * UVB_CELL_ROOM;
		uint32_t n;

		off %= UVB_CELL_ROOM;
		if (off >= in_cell)
			break;
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
free_chain(struct uvb_rxq *q, const struct held *h)
{
	for (uint32_t i = h->nb_cells; i-- > 0;) {
		atomic_store_explicit(&q->desc[h->first + i]->owner, UVB_OWNER_FREE,
				      memory_order_release);
		UVB_KILL_POINT(i == 0 ? UVB_KILL_RX_FREED : UVB_KILL_RX_TAIL_CELL);
	}
}

static void
free_cells(struct uvb_rxq *q)
{
	if (UVB_UNLIKELY(q->nb_out != q->nb_held)) {
		for (uint32_t i = 0; i < q->nb_held; i++)
			free_chain(q, &q->held[i]);
		return;
	}
	for (uint32_t i = 0; i < q->nb_out; i++) {
		atomic_store_explicit(&q->desc[i]->owner, UVB_OWNER_FREE, memory_order_release);
		UVB_KILL_POINT(UVB_KILL_RX_FREED);
	}
}

/* Those the receiver had no buffer for are the last ones. */
static void
count_frames(struct uvb_rxq *q, uint32_t nombuf)
{
	uint32_t good = nombuf < q->nb_held ? q->nb_held - nombuf : 0;

	q->bytes += q->out_bytes;
	for (uint32_t i = good; i < q->nb_held; i++)
		q->bytes -= q->held[i].len;
	q->packets += good;
	q->nombuf += q->nb_held - good;
}

void
uvb_rx_done(struct uvb_rxq *q, uint16_t nombuf)
{
	/* A port reclaimed while it held frames: the cells are the daemon's business now. */
	if (UVB_UNLIKELY(!uvb_dev_up(q->dev)))
		goto forget;
	free_cells(q);
	for (uint32_t i = 0; i < q->nb_shown; i++)
		mark_done(q, &q->source[q->shown[i].source], q->shown[i].pos);
	count_frames(q, nombuf);
	store_counters(q);
	for (uint32_t i = 0; i < q->nb_touched; i++) {
		struct source *s = &q->source[q->touched[i]];

		s->tail = done_until(q, s);
		atomic_store_explicit(&s->voq->tail, s->tail, memory_order_release);
		UVB_KILL_POINT(UVB_KILL_RX_TAIL);
	}
forget:
	for (uint32_t i = 0; i < q->nb_touched; i++)
		q->source[q->touched[i]].touched = false;
	q->nb_touched = 0;
	q->nb_held = 0;
	q->nb_out = 0;
	q->nb_shown = 0;
	q->out_bytes = 0;
}

/* References before this place are not waiting: they are done, or parked, which only the process
 * knows that has the queue. */
static uint32_t
waiting_from(const struct uvb_rxq *q, uint32_t source, const struct uvb_voq_shm *v)
{
	const struct source *s = q != NULL ? &q->source[source] : NULL;

	if (s != NULL && s->nb_parked != 0)
		return s->pos;
	return atomic_load_explicit(&v->tail, memory_order_relaxed);
}

/* By the pending bits: an active source has its bit set. */
uint32_t
uvb_rxq_waiting(const struct uvb_dev *dev, uint16_t rxq)
{
	const struct uvb_map *map = &dev->map;
	const struct uvb_rxq_shm *q = uvb_map_rxq(map, dev->id, rxq);
	uint32_t n = 0, waiting, nb_sources = map->nb_ports * map->nb_queues;

	for (uint32_t w = 0; w <= (nb_sources - 1) / 64; w++) {
		uint64_t bits = uvb_load(&q->leaf[w]);

		for (; bits != 0; bits &= bits - 1) {
			uint32_t id = w * 64 + (uint32_t)__builtin_ctzll(bits);
			const struct uvb_voq_shm *v;

			if (id >= nb_sources)
				break;
			v = uvb_map_voq(map, dev->id, rxq, id / map->nb_queues,
					id % map->nb_queues);
			waiting = uvb_voq_head(v) - waiting_from(dev->rxq[rxq], id, v);
			n += waiting <= map->voq_depth ? waiting : 0;
		}
	}
	return n;
}

uint32_t
uvb_rx_count(const struct uvb_rxq *q)
{
	return uvb_rxq_waiting(q->dev, q->rxq);
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
	return q->dev->wake[q->rxq];
}

static int
open_timer(struct uvb_rxq *q)
{
	struct epoll_event ev = {.events = EPOLLIN};

	if (q->timer >= 0)
		return 0;
	q->timer = uvb_fd_high(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
	if (q->timer >= 0 && epoll_ctl(uvb_rxq_fd(q), EPOLL_CTL_ADD, q->timer, &ev) == 0)
		return 0;
	if (q->timer >= 0)
		close(q->timer);
	q->timer = -1;
	return -errno;
}

/* 0: off, and nothing of it left to be read. */
static int
set_timer(struct uvb_rxq *q, uint64_t at)
{
	struct itimerspec when = {.it_value = {.tv_sec = (time_t)(at / 1000000000ULL),
					       .tv_nsec = (long)(at % 1000000000ULL)}};

	if (open_timer(q) != 0 || timerfd_settime(q->timer, TFD_TIMER_ABSTIME, &when, NULL) != 0)
		return -errno;
	q->timer_set = at != 0;
	return 0;
}

/* Be woken when the next parked frame is due. false: one is now, or there can be no timer. */
static bool
await_parked(struct uvb_rxq *q)
{
	const struct uvb_hdr *hdr = uvb_map_hdr(&q->dev->map);
	uint64_t now = clock_ns(q), next;

	release(q, now);
	next = uvb_delay_next(&q->delay);
	if (next <= now)
		return false;
	atomic_store(&q->shm->due, next);
	if (next == UINT64_MAX || uvb_load(&hdr->clock_ns) != 0)
		return true; /* whoever releases, or moves the clock, rings */
	return set_timer(q, next - uvb_load(&hdr->clock_offset)) == 0;
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
		if (uvb_load(&q->shm->summary) == 0 &&
		    (UVB_LIKELY(uvb_delay_count(&q->delay) == 0) || await_parked(q))) {
			uvb_add(&q->shm->sleeps, 1);
			if (UVB_UNLIKELY(uvb_load(&uvb_map_hdr(&q->dev->map)->clock_until) != 0))
				uvb_clock_turn(&q->dev->map, q->dev->dirfd);
			return true;
		}
		uvb_rx_disarm(q);
	}
	if (ring)
		uvb_bell_ring(q->dev->bell[q->rxq]);
	return false;
}

void
uvb_rx_disarm(struct uvb_rxq *q)
{
	uint64_t armed = uvb_load(&q->shm->armed);

	if (armed & 1)
		atomic_store(&q->shm->armed, armed + 1);
	if (UVB_UNLIKELY(uvb_load(&q->shm->due) != 0))
		atomic_store(&q->shm->due, 0);
	if (uvb_bell_drain(q->dev->bell[q->rxq]))
		uvb_add(&q->shm->wakes, 1);
	if (UVB_UNLIKELY(q->timer_set))
		set_timer(q, 0);
}

/* --------------------------------------------------------------------------------------- handle */

static void
forget_all_parked(struct uvb_rxq *q)
{
	for (uint32_t i = 0; q->source != NULL && i < q->nb_sources; i++)
		free(q->source[i].parked);
	uvb_delay_free(&q->delay);
}

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
	q->nb_sources = dev->map.nb_ports * dev->map.nb_queues;
	q->timer = -1;
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
	q->nb_shown = 0;
	q->out_bytes = 0;
	q->nb_touched = 0;
	memset(q->is_active, 0, sizeof(q->is_active));
	forget_all_parked(q);
	memset(q->source, 0, q->nb_sources * sizeof(*q->source));
	/* Taken by somebody who runs, whenever that is: the first poll of a driver's queue. */
	atomic_store(&q->shm->idle_until, atomic_load(&q->dev->follows) ? UVB_BUSY : 0);
	atomic_store(&q->shm->due, 0);
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
	if (q->timer >= 0)
		close(q->timer);
	forget_all_parked(q);
	free(q->active);
	free(q->source);
	free(q);
}
