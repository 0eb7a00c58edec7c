/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Faults: checking definitions, compiling them, deciding about frames.
 */
#include <stdlib.h>

#include "uvbridge/bpf.h"
#include "uvbridge/clock.h"
#include "uvbridge/fault.h"

/* ---------------------------------------------------------------------------------------- check */

static bool
text_ends(const char *text, size_t room)
{
	return memchr(text, '\0', room) != NULL;
}

static const char *
check_rule(const struct uvb_fault_def *d)
{
	switch (d->verdict) {
	case UVB_FAULT_DROP:
	case UVB_FAULT_DUPLICATE:
	case UVB_FAULT_CORRUPT:
	case UVB_FAULT_HOLD:
		return NULL;
	case UVB_FAULT_DELAY:
		return d->delay_ns != 0 ? NULL : "a delay wants a time";
	case UVB_FAULT_REORDER:
		if (d->length < 1 || d->length > UINT8_MAX)
			return "a frame can be overtaken by 1 to 255 others";
		return d->delay_ns != 0 ? NULL : "reordering wants a time after which it gives up";
	case UVB_FAULT_TRUNCATE:
		return d->length >= UVB_FRAME_MIN && d->length < UVB_FRAME_MAX
			       ? NULL
			       : "a frame can be truncated to 14 bytes or more";
	default:
		return "an unknown verdict";
	}
}

static const char *
check_model(const struct uvb_fault_def *d)
{
	if (d->verdict != 0)
		return "a model has no verdict";
	if (d->flags & ~(UVB_FAULT_REORDERS | UVB_FAULT_NORMAL))
		return "an unknown flag";
	if (d->rate_bps == 0 && (d->queue_bytes != 0 || d->burst_bytes != 0))
		return "a queue or a burst wants a rate";
	if (d->rate_bps != 0 && d->rate_bps < 1000)
		return "a rate below 1000 bits per second";
	if (d->queue_bytes > UINT32_MAX || d->burst_bytes > UINT32_MAX)
		return "a queue or a burst of 4 GiB or more";
	return NULL;
}

const char *
uvb_fault_check(const struct uvb_fault_def *d)
{
	if (!text_ends(d->port, sizeof(d->port)) || !uvb_name_ok(d->port))
		return "not a name of a port";
	if (!text_ends(d->text, sizeof(d->text)))
		return "a text without an end";
	if (d->dir > UVB_FAULT_RX)
		return "an unknown direction";
	if (d->delay_ns > UVB_FAULT_NS_MAX || d->jitter_ns > UVB_FAULT_NS_MAX)
		return "a time of more than an hour";
	if (d->nb_insns != 0 && !uvb_bpf_check(d->insn, d->nb_insns))
		return "the filter is not a program that can be run";
	if (d->kind == UVB_FAULT_RULE)
		return check_rule(d);
	return d->kind == UVB_FAULT_MODEL ? check_model(d) : "an unknown kind of fault";
}

/* -------------------------------------------------------------------------------------- compile */

_Static_assert(sizeof(struct uvb_fault_def) % sizeof(uint32_t) == 0, "copied in words");

/* A finaliser with good avalanche (splitmix64's). */
static uint64_t
mix(uint64_t z)
{
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

/* The same for the same port, direction and seed, in every fabric. */
static uint64_t
make_key(const struct uvb_fault_def *d)
{
	uint64_t h = mix(d->seed + 0x9e3779b97f4a7c15ULL * (1 + d->dir));

	for (const char *p = d->port; *p != '\0'; p++)
		h = mix(h ^ (uint8_t)*p);
	return h;
}

static bool
can_delay(const struct uvb_fault_def *d)
{
	if (d->kind == UVB_FAULT_MODEL)
		return (d->rate_bps | d->delay_ns | d->jitter_ns) != 0;
	return d->verdict == UVB_FAULT_DELAY || d->verdict == UVB_FAULT_REORDER ||
	       d->verdict == UVB_FAULT_HOLD;
}

static struct uvb_fault *
compile(struct uvb_fault_shm *shm, uint32_t handle)
{
	struct uvb_fault *c = malloc(sizeof(*c));

	if (c == NULL)
		return NULL;
	c->shm = shm;
	c->handle = handle;
	uvb_copy_words(&c->def, &shm->def, sizeof(struct uvb_fault_def));
	if (uvb_fault_check(&c->def) != NULL) {
		free(c); /* met while it is written: the sequence number has moved, too */
		return NULL;
	}
	c->key = make_key(&c->def);
	c->delays = can_delay(&c->def);
	return c;
}

static struct uvb_fault *
find(const struct uvb_faults *f, uint32_t handle)
{
	for (uint32_t i = 0; i < f->n; i++)
		if (f->fault[i]->handle == handle)
			return f->fault[i];
	return NULL;
}

static int
by_kind_and_age(const void *a, const void *b)
{
	const struct uvb_fault *x = *(struct uvb_fault *const *)a;
	const struct uvb_fault *y = *(struct uvb_fault *const *)b;

	if (x->def.kind != y->def.kind)
		return x->def.kind < y->def.kind ? -1 : 1;
	return x->handle < y->handle ? -1 : x->handle > y->handle;
}

/* Free those of `list` that are not in f. */
static void
free_others(const struct uvb_faults *f, struct uvb_fault *const *list, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		if (find(f, list[i]->handle) == NULL)
			free(list[i]);
}

bool
uvb_faults_load(struct uvb_faults *f)
{
	const struct uvb_hdr *hdr = uvb_map_hdr(f->map);
	uint32_t seq = atomic_load_explicit(&hdr->fault_seq, memory_order_acquire), n = 0, old_n;
	struct uvb_fault *list[UVB_FAULTS_MAX], *old[UVB_FAULTS_MAX];

	if (seq & 1)
		return false;
	for (uint32_t slot = 0; slot < UVB_FAULTS_MAX; slot++) {
		struct uvb_fault_shm *shm = uvb_map_fault(f->map, slot);
		uint32_t handle = atomic_load_explicit(&shm->handle, memory_order_acquire);

		if (handle == 0)
			continue;
		list[n] = find(f, handle);
		if (list[n] == NULL)
			list[n] = compile(shm, handle);
		n += list[n] != NULL;
	}
	atomic_thread_fence(memory_order_acquire);
	if (atomic_load_explicit(&hdr->fault_seq, memory_order_relaxed) != seq) {
		free_others(f, list, n);
		return false;
	}
	qsort(list, n, sizeof(list[0]), by_kind_and_age);
	old_n = f->n;
	memcpy(old, f->fault, sizeof(old));
	memcpy(f->fault, list, n * sizeof(list[0]));
	f->n = n;
	f->seq = seq;
	free_others(f, old, old_n);
	f->delaying = 0;
	for (uint32_t i = 0; i < n; i++) {
		f->port[i] = atomic_load_explicit(&list[i]->shm->port, memory_order_relaxed);
		f->delaying |= (uint64_t)list[i]->delays << i;
	}
	return true;
}

uint64_t
uvb_faults_of(const struct uvb_faults *f, uint32_t port, enum uvb_fault_dir dir)
{
	uint64_t set = 0;

	for (uint32_t i = 0; i < f->n; i++)
		if (f->port[i] == port && f->fault[i]->def.dir == dir)
			set |= 1ULL << i;
	return set;
}

struct uvb_faults *
uvb_faults_new(const struct uvb_map *map, struct uvb_decisions_shm *log)
{
	struct uvb_faults *f = malloc(sizeof(*f));

	if (f == NULL)
		return NULL;
	f->map = map;
	f->log = log;
	f->seq = 0;
	f->n = 0;
	f->delaying = 0;
	return f;
}

void
uvb_faults_free(struct uvb_faults *f)
{
	for (uint32_t i = 0; f != NULL && i < f->n; i++)
		free(f->fault[i]);
	free(f);
}

/* --------------------------------------------------------------------------------------- decide */

/* What a frame has met so far. */
struct verdict {
	struct uvb_faults *faults;
	const struct uvb_fault *fault; /* that is deciding */
	struct uvb_fate *fate;
	uint64_t n; /* the frame's number there */
	uint64_t now;
	uint32_t len; /* of the frame as it came */
};

static void
log_decision(const struct verdict *v, enum uvb_fault_verdict what, uint64_t arg)
{
	struct uvb_hdr *hdr = uvb_map_hdr(v->faults->map);
	struct uvb_decisions_shm *log = v->faults->log;
	uint32_t head = atomic_load_explicit(&log->head, memory_order_relaxed);

	if (head - atomic_load_explicit(&log->tail, memory_order_acquire) >= UVB_DECISIONS) {
		uvb_add(&log->lost, 1);
		return;
	}
	log->entry[head % UVB_DECISIONS] = (struct uvb_decision){
		.number = atomic_fetch_add_explicit(&hdr->decisions, 1, memory_order_relaxed),
		.time = uvb_load(&hdr->clock_ns) != 0 ? v->now - uvb_load(&hdr->clock_base)
						      : UVB_NO_TIME,
		.n = v->n,
		.arg = arg,
		.handle = v->fault->handle,
		.len = v->len,
		.verdict = what,
	};
	atomic_store_explicit(&log->head, head + 1, memory_order_release);
}

/* Something is done to the frame. */
static void
decided(const struct verdict *v, enum uvb_fault_verdict what, uint64_t arg)
{
	v->fate->handle = v->fault->handle;
	log_decision(v, what, arg);
}

/* The n-th number of the fault's stream for one purpose. */
enum purpose {
	CHANCE_LOSS,
	CHANCE_GE_LOSS,
	CHANCE_GE_MOVE,
	CHANCE_DUPLICATE,
	CHANCE_CORRUPT,
	CHANCE_BIT,
	CHANCE_JITTER, /* and the following 11 */
	CHANCES = CHANCE_JITTER + 12,
};

static uint64_t
chance(const struct uvb_fault *f, uint64_t n, uint32_t purpose)
{
	return mix(f->key + (n * CHANCES + purpose + 1) * 0x9e3779b97f4a7c15ULL);
}

static bool
happens(const struct uvb_fault *f, uint64_t n, uint32_t purpose, uint32_t probability)
{
	return probability == UVB_CERTAIN || chance(f, n, purpose) >> 32 < probability;
}

static void
corrupt(struct verdict *v)
{
	uint32_t bits = v->fate->len > UVB_FRAME_MIN ? (v->fate->len - UVB_FRAME_MIN) * 8 : 0;

	if (bits == 0)
		return;
	v->fate->flip = UVB_FRAME_MIN * 8 + (uint32_t)(chance(v->fault, v->n, CHANCE_BIT) % bits);
	decided(v, UVB_FAULT_CORRUPT, v->fate->flip);
}

/* When the frame comes by: now, or at the end of the delay it has already. */
static uint64_t
arrival(const struct verdict *v)
{
	return v->fate->deliver_at > v->now && !UVB_HELD_IS(v->fate->deliver_at)
		       ? v->fate->deliver_at
		       : v->now;
}

static void
delay_until(struct uvb_fate *fate, uint64_t at)
{
	if (!UVB_HELD_IS(fate->deliver_at))
		fate->deliver_at = at;
}

static void
hold(struct verdict *v)
{
	uint64_t n = atomic_fetch_add_explicit(&v->fault->shm->held, 1, memory_order_relaxed);

	v->fate->deliver_at = UVB_HELD(v->fault->handle, n);
	decided(v, UVB_FAULT_HOLD, n);
}

static void
truncate_frame(struct verdict *v)
{
	if (v->fate->len <= v->fault->def.length)
		return;
	v->fate->len = v->fault->def.length;
	/* A bit that an earlier rule flips may be gone. */
	if (v->fate->flip != UINT32_MAX && v->fate->flip / 8 >= v->fate->len)
		v->fate->flip = UINT32_MAX;
	decided(v, UVB_FAULT_TRUNCATE, v->fate->len);
}

static void
apply_rule(struct verdict *v)
{
	const struct uvb_fault_def *d = &v->fault->def;

	switch ((enum uvb_fault_verdict)d->verdict) {
	case UVB_FAULT_DROP:
		v->fate->drop = UVB_FAULT_DROP;
		decided(v, UVB_FAULT_DROP, 0);
		return;
	case UVB_FAULT_DUPLICATE:
		v->fate->copies++;
		decided(v, UVB_FAULT_DUPLICATE, 0);
		return;
	case UVB_FAULT_DELAY:
		delay_until(v->fate, arrival(v) + d->delay_ns);
		decided(v, UVB_FAULT_DELAY, d->delay_ns);
		return;
	case UVB_FAULT_REORDER:
		delay_until(v->fate, arrival(v) + d->delay_ns);
		v->fate->overtake = (uint8_t)d->length;
		decided(v, UVB_FAULT_REORDER, d->length);
		return;
	case UVB_FAULT_CORRUPT:
		corrupt(v);
		return;
	case UVB_FAULT_TRUNCATE:
		truncate_frame(v);
		return;
	default:
		hold(v);
		return;
	}
}

static void
count_hit(const struct uvb_fault *f)
{
	atomic_fetch_add_explicit(&f->shm->hits, 1, memory_order_relaxed);
}

static void
meet_rule(struct verdict *v)
{
	const struct uvb_fault_def *d = &v->fault->def;

	if (v->n < d->skip || (d->count != 0 && v->n - d->skip >= d->count))
		return;
	count_hit(v->fault);
	apply_rule(v);
}

/* ---------------------------------------------------------------------------------------- models
 */

/* The state and the number of the frame are one word: a move is one compare-and-swap. Loss goes by
 * the state before it, as in tc-netem(8). */
static bool
gilbert_elliott(const struct uvb_fault *f)
{
	const struct uvb_fault_def *d = &f->def;
	uint64_t old = uvb_load(&f->shm->ge), next;
	bool bad, moves;

	if ((d->ge_p | d->ge_r | d->ge_bad | d->ge_good) == 0)
		return false;
	do {
		bad = old & 1;
		moves = happens(f, old >> 1, CHANCE_GE_MOVE, bad ? d->ge_r : d->ge_p);
		next = ((old >> 1) + 1) << 1 | (bad != moves);
	} while (!atomic_compare_exchange_weak_explicit(
		&f->shm->ge, &old, next, memory_order_relaxed, memory_order_relaxed));
	return happens(f, old >> 1, CHANCE_GE_LOSS, bad ? d->ge_bad : d->ge_good);
}

static bool
lost(const struct verdict *v)
{
	const struct uvb_fault_def *d = &v->fault->def;

	return (d->nth != 0 && (v->n + 1) % d->nth == 0) ||
	       happens(v->fault, v->n, CHANCE_LOSS, d->loss) || gilbert_elliott(v->fault);
}

static uint64_t
ns_of(uint64_t bytes, uint64_t bps)
{
	return (uint64_t)((unsigned __int128)bytes * 8 * 1000000000 / bps);
}

/* Virtual scheduling (GCRA, ITU-T I.371): tat is when the line has sent all that was taken so far.
 * *at: when this frame has left. false: the queue is full. */
static bool
take_rate(const struct verdict *v, uint64_t *at)
{
	const struct uvb_fault_def *d = &v->fault->def;
	uint64_t cost = ns_of(v->fate->len, d->rate_bps),
		 burst = ns_of(d->burst_bytes, d->rate_bps);
	uint64_t room = ns_of(d->queue_bytes, d->rate_bps);
	uint64_t old = uvb_load(&v->fault->shm->tat), from, now = *at;

	do {
		from = old > now ? old : now;
		if (d->queue_bytes != 0 && from - now > burst && from - now - burst + cost > room)
			return false;
	} while (!atomic_compare_exchange_weak_explicit(&v->fault->shm->tat, &old, from + cost,
							memory_order_relaxed,
							memory_order_relaxed));
	*at = from + cost > now + burst ? from + cost - burst : now;
	return true;
}

/* -jitter .. jitter, or about a normal distribution with that sigma: the sum of twelve uniform
 * numbers, in integers, so that every machine draws the same. */
static int64_t
draw_jitter(const struct verdict *v)
{
	const struct uvb_fault_def *d = &v->fault->def;
	int64_t sum = 0;

	if (d->jitter_ns == 0)
		return 0;
	if (!(d->flags & UVB_FAULT_NORMAL))
		return (int64_t)(chance(v->fault, v->n, CHANCE_JITTER) % (2 * d->jitter_ns + 1)) -
		       (int64_t)d->jitter_ns;
	for (uint32_t i = 0; i < 12; i++)
		sum += (int64_t)(chance(v->fault, v->n, CHANCE_JITTER + i) >> 32);
	sum -= 6LL << 32;
	return (int64_t)((__int128)sum * (__int128)d->jitter_ns / (1LL << 32));
}

/* Not before the frame before it. */
static uint64_t
in_order(const struct uvb_fault *f, uint64_t at)
{
	uint64_t last = uvb_load(&f->shm->last_at);

	do {
		if (last >= at)
			return last;
	} while (!atomic_compare_exchange_weak_explicit(
		&f->shm->last_at, &last, at, memory_order_relaxed, memory_order_relaxed));
	return at;
}

/* false: the queue is full. */
static bool
take_time(struct verdict *v)
{
	const struct uvb_fault_def *d = &v->fault->def;
	uint64_t came = arrival(v), at = came;
	int64_t delay;

	if ((d->rate_bps | d->delay_ns | d->jitter_ns) == 0)
		return true;
	if (d->rate_bps != 0 && !take_rate(v, &at))
		return false;
	delay = (int64_t)d->delay_ns + draw_jitter(v);
	at += delay > 0 ? (uint64_t)delay : 0;
	if (d->jitter_ns != 0 && !(d->flags & UVB_FAULT_REORDERS))
		at = in_order(v->fault, at);
	if (at > came)
		delay_until(v->fate, at);
	/* What was drawn. How long the line was busy is real time's, and different in every run. */
	if (delay > 0)
		decided(v, UVB_FAULT_DELAY, (uint64_t)delay);
	return true;
}

static void
drop(struct verdict *v, enum uvb_fault_verdict why, _Atomic uint64_t *counter)
{
	atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
	count_hit(v->fault);
	v->fate->drop = why;
	decided(v, why, 0);
}

static void
meet_model(struct verdict *v)
{
	const struct uvb_fault_def *d = &v->fault->def;
	bool dup = happens(v->fault, v->n, CHANCE_DUPLICATE, d->duplicate);
	bool bad = happens(v->fault, v->n, CHANCE_CORRUPT, d->corrupt);

	if (lost(v)) {
		drop(v, UVB_FAULT_LOSS, &v->fault->shm->lost);
		return;
	}
	if (!take_time(v)) {
		drop(v, UVB_FAULT_QUEUE, &v->fault->shm->full);
		return;
	}
	if (dup) {
		v->fate->copies++;
		decided(v, UVB_FAULT_DUPLICATE, 0);
	}
	if (bad)
		corrupt(v);
	if (dup || bad)
		count_hit(v->fault);
}

void
uvb_faults_decide(struct uvb_faults *f, uint64_t set, const uint8_t *frame, uint32_t len,
		  uint64_t now, uint64_t deliver_at, struct uvb_fate *fate)
{
	struct verdict v = {.faults = f, .fate = fate, .now = now, .len = len};
	uint64_t all = set;

	*fate = (struct uvb_fate){.flip = UINT32_MAX, .len = len, .deliver_at = deliver_at};
	for (; set != 0 && fate->drop == 0; set &= set - 1) {
		v.fault = f->fault[__builtin_ctzll(set)];
		if (v.fault->def.nb_insns != 0 && uvb_bpf_run(v.fault->def.insn, frame, len) == 0)
			continue;
		v.n = atomic_fetch_add_explicit(&v.fault->shm->matched, 1, memory_order_relaxed);
		if (v.fault->def.kind == UVB_FAULT_RULE)
			meet_rule(&v);
		else
			meet_model(&v);
	}
	/* Frames that are not delayed keep their place among those that are. */
	if (fate->deliver_at == 0 && (all & f->delaying) != 0)
		fate->deliver_at = now;
}
