/* SPDX-License-Identifier: BSD-3-Clause */
#include "stack/share/lease.h"

#include <errno.h>
#include <string.h>

/* What is not written here is refused. Plus one, so that nothing is zero. */
#define TO(state) (UVS_LEASE_##state + 1)
static const uint8_t table[UVS_LEASE_STATES][UVS_LEASE_EVENTS] = {
	[UVS_LEASE_FREE] = {[UVS_LEASE_GRANT] = TO(GRANTED)},
	[UVS_LEASE_GRANTED] = {[UVS_LEASE_READY] = TO(LIVE),
			       [UVS_LEASE_PARK] = TO(RESETTING),
			       [UVS_LEASE_DEATH] = TO(RESETTING)},
	[UVS_LEASE_LIVE] = {[UVS_LEASE_PARK] = TO(PARKED),
			    [UVS_LEASE_STALL] = TO(STALLED),
			    [UVS_LEASE_DEATH] = TO(RESETTING)},
	[UVS_LEASE_PARKED] =
		{[UVS_LEASE_EMPTIED] = TO(RESETTING), [UVS_LEASE_DEATH] = TO(RESETTING)},
	[UVS_LEASE_STALLED] = {[UVS_LEASE_RESUME] = TO(LIVE), [UVS_LEASE_DEATH] = TO(RESETTING)},
	[UVS_LEASE_RESETTING] = {[UVS_LEASE_RESET] = TO(FREE)},
};

enum uvs_lease_state
uvs_lease_next(enum uvs_lease_state state, enum uvs_lease_event event)
{
	if (state >= UVS_LEASE_STATES || event >= UVS_LEASE_EVENTS || table[state][event] == 0)
		return UVS_LEASE_REFUSED;
	return (enum uvs_lease_state)(table[state][event] - 1);
}

bool
uvs_lease_in_reta(enum uvs_lease_state state)
{
	return state == UVS_LEASE_LIVE;
}

static uint32_t
word_of(const struct uvs_lease *l)
{
	return atomic_load_explicit(&l->word, memory_order_relaxed);
}

int
uvs_lease_move(struct uvs_lease *l, enum uvs_lease_event event)
{
	uint32_t word = word_of(l);
	enum uvs_lease_state next = uvs_lease_next(UVS_LEASE_STATE(word), event);

	/* A grant says to whom. */
	if (next == UVS_LEASE_REFUSED || event == UVS_LEASE_GRANT)
		return -EPROTO;
	atomic_store_explicit(&l->word, UVS_LEASE_WORD(UVS_LEASE_GEN(word), next),
			      memory_order_release);
	return 0;
}

int64_t
uvs_lease_grant(struct uvs_lease *l, uint32_t slot)
{
	uint32_t word = word_of(l), gen = (UVS_LEASE_GEN(word) + 1) & 0xffffff;

	if (UVS_LEASE_STATE(word) == UVS_LEASE_GRANTED && l->slot == slot)
		return UVS_LEASE_GEN(word);
	if (uvs_lease_next(UVS_LEASE_STATE(word), UVS_LEASE_GRANT) == UVS_LEASE_REFUSED)
		return -EPROTO;
	l->slot = slot;
	atomic_store_explicit(&l->word, UVS_LEASE_WORD(gen, UVS_LEASE_GRANTED),
			      memory_order_release);
	return gen;
}

const char *
uvs_lease_state_name(enum uvs_lease_state state)
{
	static const char *const name[UVS_LEASE_STATES] = {"free",   "granted", "live",
							   "parked", "stalled", "resetting"};

	return state < UVS_LEASE_STATES ? name[state] : "refused";
}

const char *
uvs_lease_event_name(enum uvs_lease_event event)
{
	static const char *const name[UVS_LEASE_EVENTS] = {"grant", "ready",  "park",  "emptied",
							   "stall", "resume", "death", "reset"};

	return event < UVS_LEASE_EVENTS ? name[event] : "?";
}

/* --------------------------------------------------------------------------------------- RETA */

static uint64_t
live_queues(const struct uvs_lease *lease, uint32_t nb_queues)
{
	uint64_t live = 0;

	for (uint32_t q = 0; q < nb_queues; q++)
		if (uvs_lease_in_reta(UVS_LEASE_STATE(word_of(&lease[q]))))
			live |= 1ULL << q;
	return live;
}

/* The live queue with the fewest entries. */
static uint32_t
poorest(const uint32_t *has, uint64_t live)
{
	uint32_t best = (uint32_t)__builtin_ctzll(live);

	for (; live != 0; live &= live - 1) {
		uint32_t q = (uint32_t)__builtin_ctzll(live);

		if (has[q] < has[best])
			best = q;
	}
	return best;
}

static bool
is_live(uint32_t queue, uint64_t live)
{
	return queue < UVS_QUEUES_MAX && (live >> queue & 1);
}

/* Entries of queues that have gone. */
static uint32_t
house_homeless(uint16_t *reta, uint32_t size, uint64_t live, uint32_t *has)
{
	uint32_t changed = 0;

	for (uint32_t i = 0; i < size; i++) {
		if (is_live(reta[i], live))
			continue;
		reta[i] = (uint16_t)poorest(has, live);
		has[reta[i]]++;
		changed++;
	}
	return changed;
}

/* The live queue that has most, of those that `rest` still names. */
static uint32_t
richest(const uint32_t *has, uint64_t rest)
{
	uint32_t best = (uint32_t)__builtin_ctzll(rest);

	for (; rest != 0; rest &= rest - 1) {
		uint32_t q = (uint32_t)__builtin_ctzll(rest);

		if (has[q] > has[best])
			best = q;
	}
	return best;
}

/* How many each is to have. What does not divide stays with those who have most anyway. */
static void
set_shares(uint32_t *share, uint32_t size, uint64_t live, const uint32_t *has)
{
	uint32_t n = (uint32_t)__builtin_popcountll(live), more = size % n;

	for (uint64_t rest = live; rest != 0;) {
		uint32_t q = richest(has, rest);

		share[q] = size / n + (more > 0);
		more -= more > 0;
		rest &= ~(1ULL << q);
	}
}

/* From those who have more than their share to those who have come. */
static uint32_t
level(uint16_t *reta, uint32_t size, uint64_t live, uint32_t *has)
{
	uint32_t share[UVS_QUEUES_MAX], changed = 0;

	set_shares(share, size, live, has);
	for (uint32_t i = 0; i < size; i++) {
		uint32_t from = reta[i], to = poorest(has, live);

		if (has[from] <= share[from])
			continue;
		has[from]--;
		reta[i] = (uint16_t)to;
		has[to]++;
		changed++;
	}
	return changed;
}

uint32_t
uvs_reta_follow(uint16_t *reta, uint32_t size, const struct uvs_lease *lease, uint32_t nb_queues)
{
	uint64_t live = live_queues(lease, nb_queues);
	uint32_t has[UVS_QUEUES_MAX] = {0}, changed;

	if (live == 0)
		return 0;
	for (uint32_t i = 0; i < size; i++)
		if (is_live(reta[i], live))
			has[reta[i]]++;
	changed = house_homeless(reta, size, live, has);
	return changed + level(reta, size, live, has);
}
