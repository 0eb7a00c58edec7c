/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack/share/claims.h - which processes hold which local ports.
 *
 * For each protocol, family and port two atomic words:
 *
 *   held     a bit for each slot that holds the port (a socket bound to it, or a connection from or
 *            to it, TIME_WAIT included), and two flags:
 *              REUSEPORT  every socket on it has set SO_REUSEPORT
 *              REUSEADDR  every socket on it has set SO_REUSEADDR
 *              CONNECTED  UDP: there is or was a socket on it that has a peer, whose datagrams it
 *                         must get whoever else wants the port's
 *   open     a bit for each slot that wants its SYNs (TCP: somebody listens, and SO_REUSEADDR does
 *            not help any more) or anybody's datagrams (UDP: a socket without peer)
 *
 * A bind and a listen are one compare-and-swap of both words, a close is an `and` of each; the
 * manager is not asked. EADDRINUSE comes as
 * from the kernel's inet_csk_bind_conflict(), for one user and with these limits:
 *  - by port, not by address: two processes cannot hold one port on different local addresses of
 *    one family. IPv4 and IPv6 are apart; a dual-stack socket claims both.
 *  - flags are of a port, not of a socket: what the strictest holder said stays until the port is
 *    free of all.
 *
 * Within a process stack/sock/ports.c decides, with all its rules; it claims the port for its slot
 * with the first use of it and releases it with the last. A connect() that chooses its port takes,
 * without flags, one that no other slot holds, so no two processes ever choose one four-tuple: each
 * such port has one process, and each process its own table. (Two processes that bind() one port
 * with SO_REUSEADDR and then connect to one and the same remote port are not told, as the kernel
 * would.)
 *
 * If a process dies between any two steps: its bits stay until uvs_claims_reclaim(). `open` is a
 * subset of what was claimed: set after, cleared before; a bit without its claim is ignored.
 * Checked with a death at every step, and a second binder in the middle, by model/claims.pml.
 *
 * Words: claimed and opened by compare-and-swap of the pair, a full barrier; cleared acq_rel; read
 * by receivers, relaxed.
 */
#ifndef STACK_SHARE_CLAIMS_H
#define STACK_SHARE_CLAIMS_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Slots 1..60: the others' bits are flags. */
#define UVS_CLAIM_SLOTS 61
#define UVS_CLAIM_MASK  (((1ULL << UVS_CLAIM_SLOTS) - 1) & ~1ULL)

#define UVS_CLAIM_REUSEPORT (1ULL << 0)
#define UVS_CLAIM_REUSEADDR (1ULL << 61)
#define UVS_CLAIM_CONNECTED (1ULL << 62)

enum uvs_claim_space {
	UVS_CLAIM_TCP4,
	UVS_CLAIM_UDP4,
	UVS_CLAIM_TCP6,
	UVS_CLAIM_UDP6,
	UVS_CLAIM_SPACES,
};

struct uvs_claim {
	alignas(16) _Atomic uint64_t held;
	_Atomic uint64_t open;
};

struct uvs_claims {
	struct uvs_claim port[UVS_CLAIM_SPACES][65536];
};

/* proto: IPPROTO_TCP or anything else, which is UDP. family: 4, 6. */
static inline enum uvs_claim_space
uvs_claim_space(uint8_t proto, uint8_t family)
{
	return (enum uvs_claim_space)((family == 6 ? 2 : 0) + (proto == 6 ? 0 : 1));
}

/* Who claims: a slot, and the bits of all slots of its process, its own among them. They do not
 * exclude each other here: that process's own table of ports does (stack/sock/ports.h). */
struct uvs_claimant {
	uint32_t slot;
	uint64_t kin;
};

/* The only slot of its process. */
static inline struct uvs_claimant
uvs_claimant_alone(uint32_t slot)
{
	return (struct uvs_claimant){slot, 1ULL << slot};
}

/* Bind: hold the port, with the flags REUSEPORT and REUSEADDR as its socket has them. Claiming
 * again narrows the flags. 0, or -EADDRINUSE. */
int uvs_claim_take(struct uvs_claims *c, enum uvs_claim_space space, uint16_t port,
		   struct uvs_claimant who, uint64_t flags);

/* listen(), or a UDP bind: SYNs or datagrams of the port may come to this slot, which holds it.
 * Where another listens with TCP already: only by REUSEPORT. 0, or -EADDRINUSE. */
int uvs_claim_open(struct uvs_claims *c, enum uvs_claim_space space, uint16_t port,
		   struct uvs_claimant who);

/* The slot holds the UDP port, and a socket of it has a peer. Until the port is free of all. */
void uvs_claim_connect(struct uvs_claims *c, enum uvs_claim_space space, uint16_t port);

/* Is there, or was there? */
static inline bool
uvs_claim_connected(const struct uvs_claims *c, enum uvs_claim_space space, uint16_t port)
{
	return (atomic_load_explicit(&c->port[space][port].held, memory_order_relaxed) &
		UVS_CLAIM_CONNECTED) != 0;
}

/* The last listener of this slot closes; connections may stay. */
void uvs_claim_shut(struct uvs_claims *c, enum uvs_claim_space space, uint16_t port, uint32_t slot);

/* The last use of the port in this slot is gone. */
void uvs_claim_drop(struct uvs_claims *c, enum uvs_claim_space space, uint16_t port, uint32_t slot);

/* Slots that hold the port. */
static inline uint64_t
uvs_claim_held(const struct uvs_claims *c, enum uvs_claim_space space, uint16_t port)
{
	return atomic_load_explicit(&c->port[space][port].held, memory_order_relaxed) &
	       UVS_CLAIM_MASK;
}

/* Slots that want what opens a connection there. */
static inline uint64_t
uvs_claim_opened(const struct uvs_claims *c, enum uvs_claim_space space, uint16_t port)
{
	return atomic_load_explicit(&c->port[space][port].open, memory_order_relaxed) &
	       UVS_CLAIM_MASK;
}

/* By the manager, for a dead slot: a sweep over all words, 4 MiB. Returns how many ports it held.
 */
uint32_t uvs_claims_reclaim(struct uvs_claims *c, uint32_t slot);

#endif /* STACK_SHARE_CLAIMS_H */
