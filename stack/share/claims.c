/* SPDX-License-Identifier: BSD-3-Clause */
#include "stack/share/claims.h"

#include <errno.h>

#define FLAGS (UVS_CLAIM_REUSEPORT | UVS_CLAIM_REUSEADDR)

/* Both words, as they were when something was decided by them. */
struct words {
	uint64_t held, open;
};

static struct words
read_words(struct uvs_claim *w)
{
	return (struct words){
		.held = atomic_load_explicit(&w->held, memory_order_acquire),
		.open = atomic_load_explicit(&w->open, memory_order_acquire),
	};
}

/* If neither has changed: by one word alone it could not be seen that its holder has closed the
 * port, bound it with other flags, and listens again. False: not done. */
static bool
swap_words(struct uvs_claim *w, struct words from, struct words to)
{
	unsigned __int128 expected = (unsigned __int128)from.open << 64 | from.held;
	unsigned __int128 wanted = (unsigned __int128)to.open << 64 | to.held;

	return __sync_bool_compare_and_swap((unsigned __int128 *)(void *)w, expected, wanted);
}

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
	struct words is, to;

	do {
		uint64_t holders, others;

		is = to = read_words(w);
		holders = is.held & UVS_CLAIM_MASK;
		others = holders & ~who.kin;
		if (others != 0 &&
		    !admits(is.held, is_tcp(space) && (is.open & others) != 0, flags))
			return -EADDRINUSE;
		/* Flags of holders that are all gone mean nothing. */
		to.held = holders | 1ULL << who.slot |
			  (holders != 0 ? is.held & (flags | UVS_CLAIM_CONNECTED) : flags & FLAGS);
	} while (!swap_words(w, is, to));
	return 0;
}

int
uvs_claim_open(struct uvs_claims *c, enum uvs_claim_space space, uint16_t port,
	       struct uvs_claimant who)
{
	struct uvs_claim *w = &c->port[space][port];
	struct words is, to;

	do {
		is = to = read_words(w);
		if (is_tcp(space) && (is.open & is.held & UVS_CLAIM_MASK & ~who.kin) != 0 &&
		    !(is.held & UVS_CLAIM_REUSEPORT))
			return -EADDRINUSE;
		to.open |= 1ULL << who.slot;
	} while (!swap_words(w, is, to));
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
