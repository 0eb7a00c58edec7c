/* SPDX-License-Identifier: BSD-3-Clause */
#include "stack/share/rules.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#define UNLIKELY(x) __builtin_expect(!!(x), 0)

#define LINE_WORDS 8u
#define EMPTY      0u
#define USED       1u
#define PASSED     2u
#define BODY_MAX   4u
#define GENERATION 0x3fffffu

/* head = ports 32 | generation 22 | proto 1 | slot 6 | state 2, from the top; bit 63 is free */
#define HEAD_STATE(h) ((uint32_t)(h)&3u)
#define HEAD_SLOT(h)  ((uint32_t)((h) >> 2) & 0x3fu)
#define HEAD_GEN(h)   ((uint32_t)((h) >> 9) & GENERATION)
#define HEAD_FLOW     (0xffffffffULL << 31 | 1ULL << 8)

_Static_assert(UVS_CLAIM_SLOTS <= 64, "a slot is six bits of a head");

/* -------------------------------------------------------------------------------------- layout */

static size_t
table_bytes(uint32_t rules, uint32_t per_line)
{
	return (size_t)rules * 2 / per_line * LINE_WORDS * sizeof(uint64_t);
}

size_t
uvs_rules_size(uint32_t rules4, uint32_t rules6, uint32_t nb_slots)
{
	return table_bytes(rules4, 4) + table_bytes(rules6, 1) +
	       nb_slots * sizeof(struct uvs_requests);
}

static void
table_map(struct uvs_rule_table *t, uint32_t rules, uint32_t per_line, void *memory)
{
	t->word = memory;
	t->lines = rules * 2 / per_line;
	t->per_line = per_line;
	t->stride = LINE_WORDS / per_line;
}

void
uvs_rules_map(struct uvs_rules *r, uint32_t rules4, uint32_t rules6, uint32_t nb_slots,
	      uint64_t secret, void *memory)
{
	char *at = memory;

	table_map(&r->v4, rules4, 4, at);
	at += table_bytes(rules4, 4);
	table_map(&r->v6, rules6, 1, at);
	at += table_bytes(rules6, 1);
	r->ring = (void *)at;
	r->nb_slots = nb_slots;
	r->secret = secret;
}

static const struct uvs_rule_table *
table_of(const struct uvs_rules *r, const struct uvs_flow *f)
{
	return f->family == 6 ? &r->v6 : &r->v4;
}

static _Atomic uint64_t *
line_at(const struct uvs_rule_table *t, uint64_t line)
{
	return &t->word[(line & (t->lines - 1)) * LINE_WORDS];
}

static uint64_t
load(const _Atomic uint64_t *word)
{
	return atomic_load_explicit(word, memory_order_relaxed);
}

static void
store(_Atomic uint64_t *word, uint64_t value)
{
	atomic_store_explicit(word, value, memory_order_relaxed);
}

/* ------------------------------------------------------------------------------------- entries */

static uint64_t
head_of(const struct uvs_flow *f)
{
	return ((uint64_t)f->lport << 16 | f->rport) << 31 |
	       (f->proto == IPPROTO_TCP ? 1ULL << 8 : 0) | USED;
}

static uint32_t
body_of(const struct uvs_flow *f, uint64_t body[BODY_MAX])
{
	if (f->family == 6) {
		memcpy(body, f->local, 16);
		memcpy(body + 2, f->remote, 16);
		return 4;
	}
	body[0] = (uint64_t)f->local[0] << 32 | f->remote[0];
	return 1;
}

static void
flow_of(struct uvs_flow *f, uint64_t head, const uint64_t *body, bool v6)
{
	*f = (struct uvs_flow){
		.lport = (uint16_t)(head >> 47),
		.rport = (uint16_t)(head >> 31),
		.proto = head >> 8 & 1 ? IPPROTO_TCP : IPPROTO_UDP,
		.family = v6 ? 6 : 4,
	};
	if (v6) {
		memcpy(f->local, body, 16);
		memcpy(f->remote, body + 2, 16);
	} else {
		f->local[0] = (uint32_t)(body[0] >> 32);
		f->remote[0] = (uint32_t)body[0];
	}
}

static bool
body_is(const _Atomic uint64_t *entry, const uint64_t *body, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		if (load(&entry[1 + i]) != body[i])
			return false;
	return true;
}

/* Which entries of a line say that they are this flow, a bit each; *open: one of them is empty. No
 * branch depends on where in the line a flow stands. */
static uint32_t
matches(const struct uvs_rule_table *t, const _Atomic uint64_t *entry, uint64_t want, bool *open)
{
	uint32_t match = 0, empty = 0;

	for (uint32_t i = 0; i < t->per_line; i++, entry += t->stride) {
		uint64_t head = atomic_load_explicit(entry, memory_order_acquire);

		match |= (uint32_t)(((head ^ want) & (HEAD_FLOW | 3)) == 0) << i;
		empty |= head == EMPTY;
	}
	*open = empty != 0;
	return match;
}

/* Is the entry that of the flow? *head: what its head said. */
static bool
verify(const _Atomic uint64_t *entry, uint64_t want, const uint64_t *body, uint32_t n,
       uint64_t *head)
{
	*head = atomic_load_explicit(entry, memory_order_acquire);
	if (((*head ^ want) & (HEAD_FLOW | 3)) != 0 || !body_is(entry, body, n))
		return false;
	/* The body that was read is this head's, if it still is there. */
	atomic_thread_fence(memory_order_acquire);
	return load(entry) == *head;
}

/* The entry of a flow; NULL. *head: what its head said. */
static _Atomic uint64_t *
seek(const struct uvs_rule_table *t, const struct uvs_flow *f, uint64_t hash, uint64_t *head)
{
	uint64_t want = head_of(f), body[BODY_MAX];
	uint32_t n = body_of(f, body);

	for (uint32_t probe = 0; probe < UVS_RULE_PROBES; probe++) {
		_Atomic uint64_t *line = line_at(t, hash + probe);
		bool open;
		uint32_t match = matches(t, line, want, &open);

		for (; match != 0; match &= match - 1) {
			_Atomic uint64_t *entry = line + (uint32_t)__builtin_ctz(match) * t->stride;

			if (verify(entry, want, body, n, head))
				return entry;
		}
		if (open)
			return NULL;
	}
	return NULL;
}

void
uvs_rules_prefetch(const struct uvs_rules *r, const struct uvs_flow *f, uint64_t hash)
{
	__builtin_prefetch((const void *)line_at(table_of(r, f), hash));
}

uint32_t
uvs_rules_find(const struct uvs_rules *r, const struct uvs_flow *f, uint64_t hash)
{
	uint64_t head;

	return seek(table_of(r, f), f, hash, &head) != NULL ? HEAD_SLOT(head) : 0;
}

/* ------------------------------------------------------------------------------------ requests */

void
uvs_rules_open(struct uvs_requester *q, const struct uvs_rules *r, uint32_t slot)
{
	*q = (struct uvs_requester){.ring = &r->ring[slot]};
	q->head = atomic_load_explicit(&q->ring->head, memory_order_relaxed);
	q->tail = atomic_load_explicit(&q->ring->tail, memory_order_acquire);
}

void
uvs_rules_shut(struct uvs_requester *q)
{
	free(q->owed);
	*q = (struct uvs_requester){0};
}

static bool
request(struct uvs_requester *q, const struct uvs_flow *f, bool add)
{
	struct uvs_request *e = &q->ring->entry[q->head % UVS_REQUESTS];

	if (q->head - q->tail >= UVS_REQUESTS) {
		q->tail = atomic_load_explicit(&q->ring->tail, memory_order_acquire);
		if (q->head - q->tail >= UVS_REQUESTS) {
			store(&q->ring->full, load(&q->ring->full) + 1);
			return false;
		}
	}
	e->flow = *f;
	e->add = add;
	atomic_store_explicit(&q->ring->head, ++q->head, memory_order_release);
	q->asked = true;
	return true;
}

void
uvs_rules_settle(struct uvs_requester *q)
{
	uint32_t done = 0;

	while (done < q->nb_owed && request(q, &q->owed[done], false))
		done++;
	if (done == 0)
		return;
	q->nb_owed -= done;
	memmove(q->owed, q->owed + done, q->nb_owed * sizeof(*q->owed));
}

static void
owe(struct uvs_requester *q, const struct uvs_flow *f)
{
	if (q->nb_owed == q->room) {
		uint32_t room = q->room != 0 ? q->room * 2 : 64;
		struct uvs_flow *grown = realloc(q->owed, room * sizeof(*grown));

		if (grown == NULL)
			return; /* a rule that leads here for nothing, until the slot ends */
		q->owed = grown;
		q->room = room;
	}
	q->owed[q->nb_owed++] = *f;
}

bool
uvs_rules_ask(struct uvs_requester *q, const struct uvs_flow *f)
{
	if (UNLIKELY(q->nb_owed != 0))
		uvs_rules_settle(q);
	return q->nb_owed == 0 && request(q, f, true);
}

void
uvs_rules_revoke(struct uvs_requester *q, const struct uvs_flow *f)
{
	if (UNLIKELY(q->nb_owed != 0))
		uvs_rules_settle(q);
	if (q->nb_owed != 0 || !request(q, f, false))
		owe(q, f);
}

/* ------------------------------------------------------------------------------------- writing */

static uint16_t *
passed_of(const struct uvs_rules_writer *w, const struct uvs_rule_table *t)
{
	return t == &w->r->v6 ? w->passed6 : w->passed4;
}

static uint64_t
line_of(const struct uvs_rule_table *t, const _Atomic uint64_t *entry)
{
	return (uint64_t)(entry - t->word) / LINE_WORDS;
}

/* Lines that a rule at `entry` was put through; more than PROBES: it is not where it belongs. */
static uint32_t
distance(const struct uvs_rule_table *t, const _Atomic uint64_t *entry, uint64_t hash)
{
	return (uint32_t)((line_of(t, entry) - hash) & (t->lines - 1));
}

/* Nothing goes through this line any more: what was left for readers to pass is empty. */
static void
tidy_line(const struct uvs_rule_table *t, uint64_t line)
{
	_Atomic uint64_t *entry = line_at(t, line);

	for (uint32_t i = 0; i < t->per_line; i++, entry += t->stride)
		if (HEAD_STATE(load(entry)) == PASSED)
			atomic_store_explicit(entry, EMPTY, memory_order_release);
}

static void
put_through(struct uvs_rules_writer *w, const struct uvs_rule_table *t, uint64_t hash, uint32_t far)
{
	uint16_t *passed = passed_of(w, t);

	for (uint32_t i = 0; i < far; i++)
		passed[(hash + i) & (t->lines - 1)]++;
}

static void
taken_back(struct uvs_rules_writer *w, const struct uvs_rule_table *t, uint64_t hash, uint32_t far)
{
	uint16_t *passed = passed_of(w, t);

	for (uint32_t i = 0; i < far; i++) {
		uint16_t *n = &passed[(hash + i) & (t->lines - 1)];

		if (*n != 0 && --*n == 0)
			tidy_line(t, hash + i);
	}
}

static void
erase(struct uvs_rules_writer *w, const struct uvs_rule_table *t, _Atomic uint64_t *entry,
      uint64_t hash)
{
	bool passed = passed_of(w, t)[line_of(t, entry)] != 0;
	uint32_t far = distance(t, entry, hash), slot = HEAD_SLOT(load(entry));

	atomic_store_explicit(entry, passed ? PASSED : EMPTY, memory_order_release);
	if (far < UVS_RULE_PROBES)
		taken_back(w, t, hash, far);
	if (slot < UVS_CLAIM_SLOTS && w->nb_rules[slot] != 0)
		w->nb_rules[slot]--;
}

/* The first place that nothing stands at. */
static _Atomic uint64_t *
vacant(const struct uvs_rule_table *t, uint64_t hash)
{
	for (uint32_t probe = 0; probe < UVS_RULE_PROBES; probe++) {
		_Atomic uint64_t *entry = line_at(t, hash + probe);

		for (uint32_t i = 0; i < t->per_line; i++, entry += t->stride)
			if (HEAD_STATE(load(entry)) != USED)
				return entry;
	}
	return NULL;
}

static void
tell(const struct uvs_rules_writer *w, const struct uvs_flow *f, uint32_t slot, bool there)
{
	if (w->changed != NULL)
		w->changed(w->changed_arg, f, slot, there);
}

static uint64_t
new_head(struct uvs_rules_writer *w, const struct uvs_flow *f, uint32_t slot)
{
	w->generation = (w->generation + 1) & GENERATION;
	return head_of(f) | (uint64_t)w->generation << 9 | (uint64_t)slot << 2;
}

int
uvs_rules_add(struct uvs_rules_writer *w, const struct uvs_flow *f, uint32_t slot)
{
	const struct uvs_rule_table *t = table_of(w->r, f);
	uint64_t hash = uvs_flow_hash(f, w->r->secret), head, body[BODY_MAX];
	_Atomic uint64_t *entry = seek(t, f, hash, &head);
	uint32_t n = body_of(f, body);

	if (entry != NULL) {
		if (HEAD_SLOT(head) == slot)
			return 0;
		tell(w, f, HEAD_SLOT(head), false);
		w->nb_rules[HEAD_SLOT(head)] -= w->nb_rules[HEAD_SLOT(head)] != 0;
	} else {
		entry = vacant(t, hash);
		if (entry == NULL)
			return -ENOSPC;
		put_through(w, t, hash, distance(t, entry, hash));
		for (uint32_t i = 0; i < n; i++)
			store(&entry[1 + i], body[i]);
	}
	atomic_store_explicit(entry, new_head(w, f, slot), memory_order_release);
	w->nb_rules[slot]++;
	tell(w, f, slot, true);
	return 0;
}

int
uvs_rules_delete(struct uvs_rules_writer *w, const struct uvs_flow *f, uint32_t slot)
{
	const struct uvs_rule_table *t = table_of(w->r, f);
	uint64_t hash = uvs_flow_hash(f, w->r->secret), head;
	_Atomic uint64_t *entry = seek(t, f, hash, &head);

	if (entry == NULL || HEAD_SLOT(head) != slot)
		return -ENOENT;
	erase(w, t, entry, hash);
	tell(w, f, slot, false);
	return 0;
}

/* ------------------------------------------------------------------------------- whole tables */

struct found {
	const struct uvs_rule_table *t;
	_Atomic uint64_t *entry;
	struct uvs_flow flow;
	uint32_t slot;
};

typedef void (*found_fn)(void *arg, const struct found *at);

static void
walk_table(const struct uvs_rule_table *t, bool v6, found_fn fn, void *arg)
{
	_Atomic uint64_t *entry = t->word;

	for (uint32_t i = 0; i < t->lines * t->per_line; i++, entry += t->stride) {
		uint64_t head = atomic_load_explicit(entry, memory_order_acquire), body[BODY_MAX];
		struct found at = {.t = t, .entry = entry, .slot = HEAD_SLOT(head)};

		if (HEAD_STATE(head) != USED)
			continue;
		for (uint32_t n = 0; n < (v6 ? 4u : 1u); n++)
			body[n] = load(&entry[1 + n]);
		flow_of(&at.flow, head, body, v6);
		fn(arg, &at);
	}
}

static void
walk(const struct uvs_rules *r, found_fn fn, void *arg)
{
	walk_table(&r->v4, false, fn, arg);
	walk_table(&r->v6, true, fn, arg);
}

struct outside {
	void (*fn)(void *arg, const struct uvs_flow *f, uint32_t slot);
	void *arg;
};

static void
show(void *arg, const struct found *at)
{
	const struct outside *o = arg;

	o->fn(o->arg, &at->flow, at->slot);
}

void
uvs_rules_walk(const struct uvs_rules *r,
	       void (*fn)(void *arg, const struct uvs_flow *f, uint32_t slot), void *arg)
{
	struct outside o = {fn, arg};

	walk(r, show, &o);
}

/* A rule that the one before left: known, or, if it makes no sense, no more. */
static void
adopt(void *arg, const struct found *at)
{
	struct uvs_rules_writer *w = arg;
	uint64_t hash = uvs_flow_hash(&at->flow, w->r->secret);
	uint32_t far = distance(at->t, at->entry, hash), gen = HEAD_GEN(load(at->entry));

	if (far >= UVS_RULE_PROBES || at->slot == 0 || at->slot >= w->r->nb_slots) {
		atomic_store_explicit(at->entry, PASSED, memory_order_release);
		return;
	}
	put_through(w, at->t, hash, far);
	w->nb_rules[at->slot]++;
	if (gen > w->generation)
		w->generation = gen;
}

static void
tidy(const struct uvs_rule_table *t, const uint16_t *passed)
{
	for (uint32_t line = 0; line < t->lines; line++)
		if (passed[line] == 0)
			tidy_line(t, line);
}

int
uvs_rules_adopt(struct uvs_rules_writer *w, const struct uvs_rules *r,
		const struct uvs_claims *claims)
{
	*w = (struct uvs_rules_writer){.r = r, .claims = claims};
	w->passed4 = calloc(r->v4.lines, sizeof(*w->passed4));
	w->passed6 = calloc(r->v6.lines, sizeof(*w->passed6));
	if (w->passed4 == NULL || w->passed6 == NULL) {
		uvs_rules_close(w);
		return -ENOMEM;
	}
	walk(r, adopt, w);
	tidy(&r->v4, w->passed4);
	tidy(&r->v6, w->passed6);
	return 0;
}

void
uvs_rules_close(struct uvs_rules_writer *w)
{
	free(w->passed4);
	free(w->passed6);
	w->passed4 = w->passed6 = NULL;
}

struct burial {
	struct uvs_rules_writer *w;
	uint32_t slot, found;
};

static void
bury(void *arg, const struct found *at)
{
	struct burial *b = arg;

	if (at->slot != b->slot)
		return;
	erase(b->w, at->t, at->entry, uvs_flow_hash(&at->flow, b->w->r->secret));
	tell(b->w, &at->flow, at->slot, false);
	b->found++;
}

uint32_t
uvs_rules_reclaim(struct uvs_rules_writer *w, uint32_t slot)
{
	struct uvs_requests *ring = &w->r->ring[slot];
	struct burial b = {w, slot, 0};

	atomic_store_explicit(&ring->tail, atomic_load(&ring->head), memory_order_release);
	walk(w->r, bury, &b);
	w->nb_rules[slot] = 0;
	return b.found;
}

/* ------------------------------------------------------------------------------------- serving */

/* As uvs_flow_parse() would have made it, and about a port that the slot has. */
static bool
sensible(const struct uvs_rules_writer *w, const struct uvs_request *q, uint32_t slot)
{
	const struct uvs_flow *f = &q->flow;

	if ((f->proto != IPPROTO_TCP && f->proto != IPPROTO_UDP) || q->add > 1 ||
	    (f->family != 4 && f->family != 6))
		return false;
	return q->add == 0 ||
	       (uvs_claim_held(w->claims, uvs_claim_space(f->proto, f->family), f->lport) >> slot &
		1) != 0;
}

static void
carry_out(struct uvs_rules_writer *w, struct uvs_requests *ring, const struct uvs_request *q,
	  uint32_t slot)
{
	if (!sensible(w, q, slot))
		store(&ring->refused, load(&ring->refused) + 1);
	else if (q->add == 0)
		uvs_rules_delete(w, &q->flow, slot);
	else if (uvs_rules_add(w, &q->flow, slot) < 0)
		store(&ring->no_room, load(&ring->no_room) + 1);
}

static uint32_t
serve(struct uvs_rules_writer *w, uint32_t slot, uint32_t budget)
{
	struct uvs_requests *ring = &w->r->ring[slot];
	uint32_t head = atomic_load_explicit(&ring->head, memory_order_acquire);
	uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed), done;

	if (head - tail > UVS_REQUESTS) { /* its writer scribbles: all of it is given up */
		store(&ring->refused, load(&ring->refused) + 1);
		atomic_store_explicit(&ring->tail, head, memory_order_release);
		return 0;
	}
	for (done = 0; done < budget && tail != head; done++) {
		struct uvs_request q = ring->entry[tail % UVS_REQUESTS];

		carry_out(w, ring, &q, slot);
		atomic_store_explicit(&ring->tail, ++tail, memory_order_release);
	}
	return done;
}

uint32_t
uvs_rules_serve(struct uvs_rules_writer *w, uint32_t budget)
{
	uint32_t done = 0;

	for (uint32_t slot = 1; slot < w->r->nb_slots; slot++)
		done += serve(w, slot, budget);
	return done;
}

bool
uvs_rules_waiting(const struct uvs_rules *r)
{
	for (uint32_t slot = 1; slot < r->nb_slots; slot++)
		if (atomic_load(&r->ring[slot].head) != atomic_load(&r->ring[slot].tail))
			return true;
	return false;
}
