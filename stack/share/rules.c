/* SPDX-License-Identifier: BSD-3-Clause */
#include "stack/share/rules.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#define UNLIKELY(x) __builtin_expect(!!(x), 0)

#define PER_LINE 8u
#define EMPTY    0u
#define USED     1u
#define PASSED   2u

/* word = signature 56 | slot 6 | state 2, from the top */
#define STATE(w)  ((uint32_t)(w)&3u)
#define SLOT(w)   ((uint32_t)((w) >> 2) & 0x3fu)
#define SLOT_BITS (0x3fULL << 2)

_Static_assert(UVS_CLAIM_SLOTS <= 64, "a slot is six bits of a word");

/* -------------------------------------------------------------------------------------- layout */

static uint32_t
lines_for(uint32_t rules)
{
	return rules * 2 / PER_LINE;
}

static size_t
words_bytes(uint32_t rules)
{
	return (size_t)rules * 2 * sizeof(uint64_t);
}

static size_t
flows_bytes(uint32_t rules)
{
	return (size_t)rules * 2 * sizeof(struct uvs_flow);
}

size_t
uvs_rules_size(uint32_t rules, uint32_t nb_slots)
{
	return words_bytes(rules) + flows_bytes(rules) + nb_slots * sizeof(struct uvs_requests);
}

void
uvs_rules_map(struct uvs_rules *r, uint32_t rules, uint32_t nb_slots, uint64_t secret, void *memory)
{
	char *at = memory;

	r->word = (void *)at;
	at += words_bytes(rules);
	r->flow = (void *)at;
	at += flows_bytes(rules);
	r->ring = (void *)at;
	r->lines = lines_for(rules);
	r->nb_slots = nb_slots;
	r->secret = secret;
}

static uint32_t
line_at(const struct uvs_rules *r, uint64_t line)
{
	return (uint32_t)(line & (r->lines - 1));
}

static _Atomic uint64_t *
words_of(const struct uvs_rules *r, uint64_t line)
{
	return &r->word[(size_t)line_at(r, line) * PER_LINE];
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

/* ------------------------------------------------------------------------------------- readers */

/* The bits of the hash that do not say which line. */
static uint64_t
word_of(uint64_t hash, uint32_t slot)
{
	return (hash & ~0xffULL) | (uint64_t)slot << 2 | USED;
}

/* Which words of a line have the signature, a bit each. No branch depends on where it stands. */
static uint32_t
matches(const _Atomic uint64_t *word, uint64_t want)
{
	uint32_t match = 0;

	for (uint32_t i = 0; i < PER_LINE; i++)
		match |= (uint32_t)(((load(&word[i]) ^ want) & ~SLOT_BITS) == 0) << i;
	return match;
}

static bool
is_open(const _Atomic uint64_t *word)
{
	for (uint32_t i = 0; i < PER_LINE; i++)
		if (load(&word[i]) == EMPTY)
			return true;
	return false;
}

void
uvs_rules_prefetch(const struct uvs_rules *r, uint64_t hash)
{
	__builtin_prefetch((const void *)words_of(r, hash));
}

uint32_t
uvs_rules_find(const struct uvs_rules *r, uint64_t hash)
{
	uint64_t want = word_of(hash, 0);

	for (uint32_t probe = 0; probe < UVS_RULE_PROBES; probe++) {
		const _Atomic uint64_t *word = words_of(r, hash + probe);
		uint32_t match = matches(word, want);

		/* It may have gone meanwhile. */
		if (match != 0) {
			uint64_t found = load(&word[__builtin_ctz(match)]);

			return ((found ^ want) & ~SLOT_BITS) == 0 ? SLOT(found) : 0;
		}
		if (is_open(word))
			return 0;
	}
	return 0;
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

/* A place in the table: of its word, and of its flow. */
#define NOWHERE UINT32_MAX

static uint64_t
hash_of(const struct uvs_rules_writer *w, const struct uvs_flow *f)
{
	return uvs_flow_hash(f, w->r->secret);
}

static void
publish(const struct uvs_rules_writer *w, uint32_t at, uint64_t word)
{
	atomic_store_explicit(&w->r->word[at], word, memory_order_release);
}

/* Where the flow's rule stands. A signature that is another flow's as well is told apart here. */
static uint32_t
seek(const struct uvs_rules *r, const struct uvs_flow *f, uint64_t hash)
{
	for (uint32_t probe = 0; probe < UVS_RULE_PROBES; probe++) {
		const _Atomic uint64_t *word = words_of(r, hash + probe);
		uint32_t match = matches(word, word_of(hash, 0));

		for (; match != 0; match &= match - 1) {
			uint32_t at = (uint32_t)(word - r->word) + (uint32_t)__builtin_ctz(match);

			if (memcmp(&r->flow[at], f, sizeof(*f)) == 0)
				return at;
		}
		if (is_open(word))
			return NOWHERE;
	}
	return NOWHERE;
}

/* Lines that a rule there was put through; more than PROBES: it is not where it belongs. */
static uint32_t
distance(const struct uvs_rules *r, uint32_t at, uint64_t hash)
{
	return line_at(r, at / PER_LINE - hash);
}

/* Nothing goes through this line any more: what was left for readers to pass is empty. */
static void
tidy_line(const struct uvs_rules *r, uint64_t line)
{
	_Atomic uint64_t *word = words_of(r, line);

	for (uint32_t i = 0; i < PER_LINE; i++)
		if (STATE(load(&word[i])) == PASSED)
			atomic_store_explicit(&word[i], EMPTY, memory_order_release);
}

static void
put_through(struct uvs_rules_writer *w, uint64_t hash, uint32_t far)
{
	for (uint32_t i = 0; i < far; i++)
		w->passed[line_at(w->r, hash + i)]++;
}

static void
taken_back(struct uvs_rules_writer *w, uint64_t hash, uint32_t far)
{
	for (uint32_t i = 0; i < far; i++) {
		uint16_t *n = &w->passed[line_at(w->r, hash + i)];

		if (*n != 0 && --*n == 0)
			tidy_line(w->r, hash + i);
	}
}

static void
erase(struct uvs_rules_writer *w, uint32_t at, uint64_t hash)
{
	uint32_t far = distance(w->r, at, hash), slot = SLOT(load(&w->r->word[at]));

	publish(w, at, w->passed[at / PER_LINE] != 0 ? PASSED : EMPTY);
	if (far < UVS_RULE_PROBES)
		taken_back(w, hash, far);
	if (slot < UVS_CLAIM_SLOTS && w->nb_rules[slot] != 0)
		w->nb_rules[slot]--;
}

/* The first place that nothing stands at. */
static uint32_t
vacant(const struct uvs_rules *r, uint64_t hash)
{
	for (uint32_t probe = 0; probe < UVS_RULE_PROBES; probe++) {
		const _Atomic uint64_t *word = words_of(r, hash + probe);

		for (uint32_t i = 0; i < PER_LINE; i++)
			if (STATE(load(&word[i])) != USED)
				return (uint32_t)(word - r->word) + i;
	}
	return NOWHERE;
}

static void
tell(const struct uvs_rules_writer *w, const struct uvs_flow *f, uint32_t slot, bool there)
{
	if (w->changed != NULL)
		w->changed(w->changed_arg, f, slot, there);
}

int
uvs_rules_add(struct uvs_rules_writer *w, const struct uvs_flow *f, uint32_t slot)
{
	uint64_t hash = hash_of(w, f);
	uint32_t at = seek(w->r, f, hash);

	if (at != NOWHERE) {
		uint32_t before = SLOT(load(&w->r->word[at]));

		if (before == slot)
			return 0;
		tell(w, f, before, false);
		w->nb_rules[before] -= w->nb_rules[before] != 0;
	} else {
		at = vacant(w->r, hash);
		if (at == NOWHERE)
			return -ENOSPC;
		put_through(w, hash, distance(w->r, at, hash));
		w->r->flow[at] = *f;
	}
	publish(w, at, word_of(hash, slot));
	w->nb_rules[slot]++;
	tell(w, f, slot, true);
	return 0;
}

int
uvs_rules_delete(struct uvs_rules_writer *w, const struct uvs_flow *f, uint32_t slot)
{
	uint64_t hash = hash_of(w, f);
	uint32_t at = seek(w->r, f, hash);

	if (at == NOWHERE || SLOT(load(&w->r->word[at])) != slot)
		return -ENOENT;
	erase(w, at, hash);
	tell(w, f, slot, false);
	return 0;
}

/* -------------------------------------------------------------------------------- whole tables */

void
uvs_rules_walk(const struct uvs_rules *r,
	       void (*fn)(void *arg, const struct uvs_flow *f, uint32_t slot), void *arg)
{
	for (uint32_t at = 0; at < r->lines * PER_LINE; at++) {
		uint64_t word = atomic_load_explicit(&r->word[at], memory_order_acquire);

		if (STATE(word) == USED)
			fn(arg, &r->flow[at], SLOT(word));
	}
}

/* A rule that the one before left: known, or, if it makes no sense, no more. */
static void
adopt(struct uvs_rules_writer *w, uint32_t at)
{
	uint64_t word = atomic_load_explicit(&w->r->word[at], memory_order_acquire);
	uint64_t hash = hash_of(w, &w->r->flow[at]);
	uint32_t far = distance(w->r, at, hash);

	if (STATE(word) != USED)
		return;
	if (word != word_of(hash, SLOT(word)) || far >= UVS_RULE_PROBES || SLOT(word) == 0 ||
	    SLOT(word) >= w->r->nb_slots) {
		publish(w, at, PASSED);
		return;
	}
	put_through(w, hash, far);
	w->nb_rules[SLOT(word)]++;
}

int
uvs_rules_adopt(struct uvs_rules_writer *w, const struct uvs_rules *r,
		const struct uvs_claims *claims)
{
	*w = (struct uvs_rules_writer){.r = r, .claims = claims};
	w->passed = calloc(r->lines, sizeof(*w->passed));
	if (w->passed == NULL)
		return -ENOMEM;
	for (uint32_t at = 0; at < r->lines * PER_LINE; at++)
		adopt(w, at);
	for (uint32_t line = 0; line < r->lines; line++)
		if (w->passed[line] == 0)
			tidy_line(r, line);
	return 0;
}

void
uvs_rules_close(struct uvs_rules_writer *w)
{
	free(w->passed);
	w->passed = NULL;
}

uint32_t
uvs_rules_reclaim(struct uvs_rules_writer *w, uint32_t slot)
{
	struct uvs_requests *ring = &w->r->ring[slot];
	uint32_t found = 0;

	atomic_store_explicit(&ring->tail, atomic_load(&ring->head), memory_order_release);
	for (uint32_t at = 0; at < w->r->lines * PER_LINE; at++) {
		uint64_t word = load(&w->r->word[at]);

		if (STATE(word) != USED || SLOT(word) != slot)
			continue;
		erase(w, at, hash_of(w, &w->r->flow[at]));
		tell(w, &w->r->flow[at], slot, false);
		found++;
	}
	w->nb_rules[slot] = 0;
	return found;
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
