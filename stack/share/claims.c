/* SPDX-License-Identifier: BSD-3-Clause */
#include "stack/share/claims.h"

#include <errno.h>

#define FLAGS (UVS_CLAIM_REUSEPORT | UVS_CLAIM_REUSEADDR)

static bool
is_tcp(enum uvs_claim_space space)
{
	return space == UVS_CLAIM_TCP4 || space == UVS_CLAIM_TCP6;
}

/* May one with these flags join those who hold it? */
static bool
admits(uint64_t held, bool listening, uint64_t flags)
{
	uint64_t common = held & flags;

	return (common & UVS_CLAIM_REUSEPORT) != 0 ||
	       ((common & UVS_CLAIM_REUSEADDR) != 0 && !listening);
}

int
uvs_claim_take(struct uvs_claims *c, enum uvs_claim_space space, uint16_t port,
	       struct uvs_claimant who, uint64_t flags)
{
	struct uvs_claim *w = &c->port[space][port];
	uint64_t me = 1ULL << who.slot, held = atomic_load_explicit(&w->held, memory_order_relaxed);
	uint64_t wanted;

	do {
		uint64_t others = held & UVS_CLAIM_MASK & ~who.kin;
		bool listening = is_tcp(space) && (atomic_load(&w->open) & others) != 0;

		if (others != 0 && !admits(held, listening, flags))
			return -EADDRINUSE;
		/* Flags of holders that are all gone mean nothing. */
		wanted = (held & UVS_CLAIM_MASK) | me |
			 ((held & UVS_CLAIM_MASK) != 0 ? held & (flags | UVS_CLAIM_CONNECTED)
						       : flags & FLAGS);
	} while (!atomic_compare_exchange_weak_explicit(
		&w->held, &held, wanted, memory_order_acq_rel, memory_order_relaxed));
	return 0;
}

int
uvs_claim_open(struct uvs_claims *c, enum uvs_claim_space space, uint16_t port,
	       struct uvs_claimant who)
{
	struct uvs_claim *w = &c->port[space][port];
	uint64_t me = 1ULL << who.slot, open = atomic_load_explicit(&w->open, memory_order_relaxed);

	do {
		uint64_t held = atomic_load_explicit(&w->held, memory_order_acquire);

		if (is_tcp(space) && (open & held & UVS_CLAIM_MASK & ~who.kin) != 0 &&
		    !(held & UVS_CLAIM_REUSEPORT))
			return -EADDRINUSE;
	} while (!atomic_compare_exchange_weak_explicit(
		&w->open, &open, open | me, memory_order_acq_rel, memory_order_relaxed));
	return 0;
}

void
uvs_claim_connect(struct uvs_claims *c, enum uvs_claim_space space, uint16_t port)
{
	if (!uvs_claim_connected(c, space, port))
		atomic_fetch_or_explicit(&c->port[space][port].held, UVS_CLAIM_CONNECTED,
					 memory_order_acq_rel);
}

static bool
clear(_Atomic uint64_t *word, uint32_t slot)
{
	uint64_t bit = 1ULL << slot;

	return (atomic_load_explicit(word, memory_order_relaxed) & bit) != 0 &&
	       (atomic_fetch_and_explicit(word, ~bit, memory_order_acq_rel) & bit) != 0;
}

void
uvs_claim_shut(struct uvs_claims *c, enum uvs_claim_space space, uint16_t port, uint32_t slot)
{
	clear(&c->port[space][port].open, slot);
}

void
uvs_claim_drop(struct uvs_claims *c, enum uvs_claim_space space, uint16_t port, uint32_t slot)
{
	clear(&c->port[space][port].open, slot);
	clear(&c->port[space][port].held, slot);
}

uint32_t
uvs_claims_reclaim(struct uvs_claims *c, uint32_t slot)
{
	struct uvs_claim *w = &c->port[0][0];
	uint32_t found = 0;

	for (uint32_t i = 0; i < UVS_CLAIM_SPACES * 65536u; i++) {
		clear(&w[i].open, slot);
		found += clear(&w[i].held, slot);
	}
	return found;
}
