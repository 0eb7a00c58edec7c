/* SPDX-License-Identifier: BSD-3-Clause */
#include "stack/share/softq.h"

#include <string.h>

#define LIKELY(x)   __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)
#define AT(pos)     ((pos) & (UVS_SOFTQ_DEPTH - 1))

_Static_assert((UVS_SOFTQ_DEPTH & (UVS_SOFTQ_DEPTH - 1)) == 0, "a power of two");

/* ------------------------------------------------------------------------------------- labels */

static struct uvs_softq *
softq(const struct uvs_crossbar *x, uint32_t to, uint32_t from)
{
	return &x->softq[to * x->nb_slots + from];
}

/* The label of a buffer; NULL: there is no such buffer. */
static struct uvs_label *
label_of(const struct uvs_crossbar *x, uvs_ref ref)
{
	const struct uvs_pool_view *p;

	if (UNLIKELY(UVS_REF_POOL(ref) >= x->nb_slots))
		return NULL;
	p = &x->pool[UVS_REF_POOL(ref)];
	if (UNLIKELY(UVS_REF_INDEX(ref) >= p->count))
		return NULL;
	return (struct uvs_label *)(uintptr_t)p->label_at[UVS_REF_INDEX(ref)];
}

static uint64_t
owner_read(const struct uvs_label *p)
{
	return atomic_load_explicit(&p->owner, memory_order_relaxed);
}

static void
owner_write(struct uvs_label *p, uint64_t value)
{
	atomic_store_explicit(&p->owner, value, memory_order_relaxed);
}

static uvs_ref
rest_of(const struct uvs_label *p)
{
	return atomic_load_explicit(&p->rest, memory_order_relaxed);
}

static void
count(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
			      memory_order_relaxed);
}

static size_t
round_up(size_t n)
{
	return (n + UVS_LINE - 1) / UVS_LINE * UVS_LINE;
}

size_t
uvs_crossbar_size(uint32_t nb_slots)
{
	return nb_slots * sizeof(struct uvs_inbox) +
	       (size_t)nb_slots * nb_slots * sizeof(struct uvs_softq) +
	       round_up(nb_slots * sizeof(struct uvs_pool_view));
}

void
uvs_crossbar_init(struct uvs_crossbar *x, uint32_t nb_slots, void *memory)
{
	x->nb_slots = nb_slots;
	x->inbox = memory;
	x->softq = (void *)(x->inbox + nb_slots);
	x->pool = (void *)(x->softq + (size_t)nb_slots * nb_slots);
}

/* --------------------------------------------------------------------------------------- send */

void
uvs_softq_open(struct uvs_softq_end *e, const struct uvs_crossbar *x, uint32_t self)
{
	memset(e, 0, sizeof(*e));
	e->x = x;
	e->self = self;
	for (uint32_t to = 0; to < x->nb_slots; to++) {
		const struct uvs_softq *q = softq(x, to, self);

		e->head[to] = atomic_load_explicit(&q->head, memory_order_relaxed);
		e->tail[to] = atomic_load_explicit(&q->tail, memory_order_acquire);
	}
}

bool
uvs_softq_up(const struct uvs_softq_end *e, uint32_t to)
{
	return to < e->x->nb_slots &&
	       (atomic_load_explicit(&e->x->inbox[to].life, memory_order_acquire) & 0xff) ==
		       UVS_LIFE_UP;
}

/* Is there room for n? */
static bool
has_room(struct uvs_softq_end *e, const struct uvs_softq *q, uint32_t to, uint32_t n)
{
	if (LIKELY(e->head[to] - e->tail[to] <= UVS_SOFTQ_DEPTH - n))
		return true;
	/* Acquire: the receiver has read the slots that we are going to write. */
	e->tail[to] = atomic_load_explicit(&q->tail, memory_order_acquire);
	return e->head[to] - e->tail[to] <= UVS_SOFTQ_DEPTH - n;
}

static void
put(struct uvs_softq_end *e, struct uvs_softq *q, uint32_t to, struct uvs_label *p, uvs_ref ref)
{
	owner_write(p, UVS_OWNER_RING(to, e->self, e->head[to]));
	atomic_store_explicit(&q->slot[AT(e->head[to])], ref, memory_order_relaxed);
	e->head[to]++;
}

/* The buffers of a frame, in order. 0: too many, or one that there is not. */
static uint32_t
segments(const struct uvs_crossbar *x, uvs_ref ref, struct uvs_label *seg[UVS_SEGS_MAX])
{
	struct uvs_label *p = label_of(x, ref);
	uint32_t n = 0;

	while (p != NULL && n < UVS_SEGS_MAX) {
		seg[n++] = p;
		if (rest_of(p) == 0)
			return n;
		p = label_of(x, rest_of(p));
	}
	return 0;
}

static bool
stage_all(struct uvs_softq_end *e, struct uvs_softq *q, uint32_t to, uvs_ref ref)
{
	struct uvs_label *seg[UVS_SEGS_MAX];
	uint32_t n = segments(e->x, ref, seg);

	if (n == 0 || !has_room(e, q, to, n))
		return false;
	for (uint32_t i = 0; i < n; i++) {
		uvs_ref next = rest_of(seg[i]);

		put(e, q, to, seg[i], ref);
		ref = next;
	}
	return true;
}

bool
uvs_softq_stage(struct uvs_softq_end *e, uint32_t to, uvs_ref ref)
{
	struct uvs_softq *q = softq(e->x, to, e->self);
	struct uvs_label *p = label_of(e->x, ref);
	bool staged;

	if (LIKELY(rest_of(p) == 0)) {
		staged = has_room(e, q, to, 1);
		if (LIKELY(staged))
			put(e, q, to, p, ref);
	} else {
		staged = stage_all(e, q, to, ref);
	}
	if (LIKELY(staged))
		e->touched |= 1ULL << to;
	else if (UVS_REF_POOL(ref) != to)
		count(&q->full, 1);
	return staged;
}

/* Tell the receiver that slot `from` has something for it. Returns `armed`: odd, it is asleep. */
static uint64_t
announce(struct uvs_inbox *inbox, uint32_t from)
{
	if (!(atomic_load_explicit(&inbox->pending, memory_order_relaxed) >> from & 1))
		atomic_fetch_or(&inbox->pending, 1ULL << from);
	return atomic_load_explicit(&inbox->armed, memory_order_relaxed);
}

void
uvs_softq_publish(struct uvs_softq_end *e)
{
	uint64_t left;

	e->to_ring = 0;
	if (LIKELY(e->touched == 0))
		return;
	for (left = e->touched; left != 0; left &= left - 1) {
		uint32_t to = (uint32_t)__builtin_ctzll(left);
		struct uvs_softq *q = softq(e->x, to, e->self);

		count(&q->frames,
		      e->head[to] - atomic_load_explicit(&q->head, memory_order_relaxed));
		atomic_store_explicit(&q->head, e->head[to], memory_order_release);
	}
	/* Pairs with the receiver's taking of `pending`, and with its arming. */
	atomic_thread_fence(memory_order_seq_cst);
	for (left = e->touched; left != 0; left &= left - 1) {
		uint32_t to = (uint32_t)__builtin_ctzll(left);
		uint64_t armed = announce(&e->x->inbox[to], e->self);

		if ((armed & 1) != 0 && armed != e->rang[to])
			e->to_ring |= 1ULL << to;
		e->rang[to] = armed;
	}
	e->touched = 0;
}

/* ------------------------------------------------------------------------------------ receive */

/* Whose it is when slot `taker` has taken it. */
static uint64_t
owner_taken(uvs_ref ref, uint32_t taker)
{
	return UVS_REF_POOL(ref) == taker ? UVS_OWNER_HOME : UVS_OWNER_HELD(taker);
}

/* The buffer at a place of a ring; NULL: the reference there is not a buffer that stands there. */
static struct uvs_label *
standing(const struct uvs_crossbar *x, uint32_t to, uint32_t from, uint32_t pos, uvs_ref *ref)
{
	const struct uvs_softq *q = softq(x, to, from);
	struct uvs_label *p;

	*ref = atomic_load_explicit(&q->slot[AT(pos)], memory_order_relaxed);
	p = label_of(x, *ref);
	return p != NULL && owner_read(p) == UVS_OWNER_RING(to, from, pos) ? p : NULL;
}

/* References waiting on a ring. More than fit: its sender scribbles, and they are all given up. */
static uint32_t
waiting(const struct uvs_crossbar *x, uint32_t to, uint32_t from, uint32_t *tail)
{
	struct uvs_softq *q = softq(x, to, from);
	uint32_t head = atomic_load_explicit(&q->head, memory_order_acquire);

	*tail = atomic_load_explicit(&q->tail, memory_order_relaxed);
	if (LIKELY(head - *tail <= UVS_SOFTQ_DEPTH))
		return head - *tail;
	count(&x->inbox[to].bad, 1);
	atomic_store_explicit(&q->tail, head, memory_order_release);
	*tail = head;
	return 0;
}

/* Take up to n from one ring, in the place of slot `to`, for slot `taker`. What is not there is
 * bad, or was taken by one who died before it could say so. */
static uint32_t
take_from(const struct uvs_crossbar *x, uint32_t to, uint32_t from, uint32_t taker, uvs_ref *ref,
	  uint32_t n)
{
	struct uvs_softq *q = softq(x, to, from);
	uint32_t tail, got = 0, i, there = waiting(x, to, from, &tail);
	uvs_ref rest = 0;

	for (i = 0; i < there && got < n; i++) {
		struct uvs_label *p = standing(x, to, from, tail + i, &ref[got]);

		if (UNLIKELY(p == NULL)) {
			if (taker == to)
				count(&x->inbox[to].bad, 1);
			continue;
		}
		/* The first of several: not unless all of them fit. */
		if (UNLIKELY(rest_of(p) != 0 && rest == 0 && n - got < UVS_SEGS_MAX))
			break;
		rest = rest_of(p);
		owner_write(p, owner_taken(ref[got], taker));
		got++;
	}
	if (i != 0)
		atomic_store_explicit(&q->tail, tail + i, memory_order_release);
	return got;
}

/* Is the ring empty? Its bit is then cleared, and the ring looked at once more. */
static bool
retire(const struct uvs_crossbar *x, uint32_t to, uint32_t from)
{
	struct uvs_softq *q = softq(x, to, from);
	_Atomic uint64_t *pending = &x->inbox[to].pending;

	if (atomic_load_explicit(&q->head, memory_order_acquire) !=
	    atomic_load_explicit(&q->tail, memory_order_relaxed))
		return false;
	atomic_fetch_and(pending, ~(1ULL << from));
	if (atomic_load(&q->head) == atomic_load_explicit(&q->tail, memory_order_relaxed))
		return true;
	atomic_fetch_or(pending, 1ULL << from);
	return false;
}

static uint32_t
homecomers(const uvs_ref *ref, uint32_t n, uint32_t self)
{
	uint32_t home = 0;

	for (uint32_t i = 0; i < n; i++)
		home += UVS_REF_POOL(ref[i]) == self;
	return home;
}

/* Slots with their bit set, from `turn` on. */
static uint32_t
next_slot(uint64_t pending, uint32_t turn)
{
	uint64_t later = pending & ~0ULL << turn;

	return (uint32_t)__builtin_ctzll(later != 0 ? later : pending);
}

uint32_t
uvs_softq_take(struct uvs_softq_end *e, uvs_ref *ref, uint32_t n)
{
	struct uvs_inbox *inbox = &e->x->inbox[e->self];
	uint64_t pending = atomic_load_explicit(&inbox->pending, memory_order_relaxed);
	uint32_t got = 0, home;

	if (e->x->nb_slots < 64)
		pending &= (1ULL << e->x->nb_slots) - 1;
	while (pending != 0 && got < n) {
		uint32_t from = next_slot(pending, e->turn);
		uint32_t k = take_from(e->x, e->self, from, e->self, &ref[got], n - got);

		got += k;
		pending &= ~(1ULL << from);
		e->turn = (from + 1) % e->x->nb_slots;
		if (k == 0)
			retire(e->x, e->self, from);
	}
	if (got != 0) {
		home = homecomers(ref, got, e->self);
		count(&inbox->returned, home);
		count(&inbox->taken, got - home);
	}
	return got;
}

bool
uvs_softq_arm(struct uvs_softq_end *e)
{
	struct uvs_inbox *inbox = &e->x->inbox[e->self];
	uint64_t armed = atomic_load_explicit(&inbox->armed, memory_order_relaxed);

	for (uint64_t left = atomic_load(&inbox->pending); left != 0; left &= left - 1)
		if ((uint32_t)__builtin_ctzll(left) < e->x->nb_slots &&
		    !retire(e->x, e->self, (uint32_t)__builtin_ctzll(left)))
			return false;
	atomic_store(&inbox->armed, (armed | 1) + (armed & 1) * 2);
	/* Pairs with the sender's fence between head and its look at `armed`. */
	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load_explicit(&inbox->pending, memory_order_relaxed) == 0)
		return true;
	uvs_softq_disarm(e);
	return false;
}

void
uvs_softq_disarm(struct uvs_softq_end *e)
{
	struct uvs_inbox *inbox = &e->x->inbox[e->self];
	uint64_t armed = atomic_load_explicit(&inbox->armed, memory_order_relaxed);

	if (armed & 1)
		atomic_store(&inbox->armed, armed + 1);
}

/* ------------------------------------------------------------------------------------ reclaim */

static bool
slot_is(const struct uvs_crossbar *x, uint32_t slot, enum uvs_life life)
{
	return (atomic_load_explicit(&x->inbox[slot].life, memory_order_acquire) & 0xff) ==
	       (uint32_t)life;
}

/* A buffer that the manager has in its hands goes home: at once if nobody is there, else by the
 * manager's ring; if that is full the manager holds it until its next tick. */
static void
send_home(struct uvs_softq_end *boss, uvs_ref ref)
{
	uint32_t home = UVS_REF_POOL(ref);
	struct uvs_label *label = label_of(boss->x, ref);

	atomic_store_explicit(&label->rest, 0, memory_order_relaxed); /* it goes alone */
	if (home == boss->self || !slot_is(boss->x, home, UVS_LIFE_UP))
		owner_write(label, UVS_OWNER_HOME);
	else if (!uvs_softq_stage(boss, home, ref))
		owner_write(label, UVS_OWNER_HELD(boss->self));
}

/* As the receiver of a slot that nobody has: empty its rings. */
static uint32_t
drain(struct uvs_softq_end *boss, uint32_t slot)
{
	uvs_ref ref[UVS_SEGS_MAX];
	uint32_t n, total = 0;

	for (uint32_t from = 0; from < boss->x->nb_slots; from++)
		while ((n = take_from(boss->x, slot, from, boss->self, ref, UVS_SEGS_MAX)) != 0) {
			total += n;
			while (n-- > 0)
				send_home(boss, ref[n]);
		}
	return total;
}

/* Does the buffer stand where its owner word says? */
static bool
stands(const struct uvs_crossbar *x, uvs_ref ref, uint64_t owner)
{
	uint32_t to = UVS_OWNER_TO(owner), from = UVS_OWNER_FROM(owner);
	uint32_t pos = UVS_OWNER_POS(owner), tail, head;
	const struct uvs_softq *q;

	if (to >= x->nb_slots || from >= x->nb_slots)
		return false;
	q = softq(x, to, from);
	head = atomic_load_explicit(&q->head, memory_order_acquire);
	tail = atomic_load_explicit(&q->tail, memory_order_acquire);
	return pos - tail < head - tail &&
	       atomic_load_explicit(&q->slot[AT(pos)], memory_order_relaxed) == ref;
}

/* Did the dead have it in its hands: taken from a ring, or on the way to one? A living receiver may
 * take it while we look: it says so in the owner word before it moves the tail, so a word that has
 * not changed after a look at the tail is the dead's. */
static bool
in_hands_of(const struct uvs_crossbar *x, uvs_ref ref, uint32_t dead)
{
	const struct uvs_label *label = label_of(x, ref);
	uint64_t owner = owner_read(label);

	if (owner == UVS_OWNER_HELD(dead))
		return true;
	return UVS_OWNER_IN_RING(owner) && UVS_OWNER_FROM(owner) == dead &&
	       !stands(x, ref, owner) && owner_read(label) == owner;
}

static uint32_t
sweep(struct uvs_softq_end *boss, uint32_t dead)
{
	const struct uvs_crossbar *x = boss->x;
	uint32_t found = 0;

	for (uint32_t pool = 0; pool < x->nb_slots; pool++)
		for (uint32_t i = 0; i < x->pool[pool].count; i++) {
			uvs_ref ref = UVS_REF(pool, i);

			if (!in_hands_of(x, ref, dead))
				continue;
			send_home(boss, ref);
			found++;
		}
	return found;
}

/* What the dead had published, and perhaps not announced. */
static uint64_t
announce_for(const struct uvs_crossbar *x, uint32_t dead)
{
	uint64_t wake = 0;

	for (uint32_t to = 0; to < x->nb_slots; to++) {
		const struct uvs_softq *q = softq(x, to, dead);

		if (atomic_load(&q->head) != atomic_load(&q->tail) &&
		    (announce(&x->inbox[to], dead) & 1) != 0)
			wake |= 1ULL << to;
	}
	return wake;
}

void
uvs_softq_take_over(struct uvs_softq_end *boss, const struct uvs_crossbar *x, uint64_t *wake)
{
	uvs_softq_open(boss, x, UVS_SLOT_BOSS);
	*wake = announce_for(x, UVS_SLOT_BOSS);
}

static void
wake_also(struct uvs_softq_end *boss, uint64_t *wake)
{
	uvs_softq_publish(boss);
	*wake |= boss->to_ring;
}

uint32_t
uvs_softq_reclaim(struct uvs_softq_end *boss, uint32_t dead, uint64_t *wake)
{
	struct uvs_inbox *inbox = &boss->x->inbox[dead];
	uint32_t found = drain(boss, dead);

	found += sweep(boss, dead);
	*wake = announce_for(boss->x, dead);
	/* It does not sleep any more; who comes next starts polling. */
	if (atomic_load(&inbox->armed) & 1)
		atomic_fetch_add(&inbox->armed, 1);
	atomic_store(&inbox->pending, 0);
	wake_also(boss, wake);
	return found;
}

uint32_t
uvs_softq_tick(struct uvs_softq_end *boss, uint64_t *wake)
{
	const struct uvs_crossbar *x = boss->x;
	uint32_t held = 0;

	*wake = 0;
	drain(boss, boss->self);
	for (uint32_t slot = 0; slot < x->nb_slots; slot++)
		if (slot != boss->self && slot_is(x, slot, UVS_LIFE_FREE))
			drain(boss, slot);
	wake_also(boss, wake); /* before the sweep: what is only staged looks lost */
	sweep(boss, boss->self);
	wake_also(boss, wake);
	for (uint32_t pool = 0; pool < x->nb_slots; pool++)
		for (uint32_t i = 0; i < x->pool[pool].count; i++)
			held += owner_read(label_of(x, UVS_REF(pool, i))) ==
				UVS_OWNER_HELD(boss->self);
	return held;
}

void
uvs_softq_ledger(const struct uvs_crossbar *x, uint32_t pool, struct uvs_softq_ledger *l)
{
	memset(l, 0, sizeof(*l));
	l->total = x->pool[pool].count;
	for (uint32_t i = 0; i < l->total; i++) {
		uvs_ref ref = UVS_REF(pool, i);
		uint64_t owner = owner_read(label_of(x, ref));

		if (owner == UVS_OWNER_HOME)
			l->home++;
		else if (UVS_OWNER_IN_RING(owner))
			*(stands(x, ref, owner) ? &l->in_ring : &l->lost) += 1;
		else if (slot_is(x, (uint32_t)owner & 0xff, UVS_LIFE_UP))
			l->held++;
		else
			l->lost++;
	}
}
