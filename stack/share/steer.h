/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack/share/steer.h - how a packet finds its process.
 *
 * Several stacks share a NIC and an address. The NIC spreads what arrives by its hash and its
 * redirection table (RETA); the stack that receives a frame says here, for a burst at a time, whose
 * it is. What is another's is handed over on a soft queue (softq.h): the very buffer, no copy,
 * nobody in between.
 *
 * Where in the receive path
 * -------------------------
 *
 *     n = rte_eth_rx_burst()              -> uvs_frame{data, len, hash, ref, trail, tag}
 *     uvs_steer_burst(s, frame, n)        -> frame.verdict
 *         HERE    to lwIP, as ever
 *         GONE    on its way: touch it no more
 *         DROP    free it; frame.reason says why, and it is counted already
 *         COPY    a copy for each slot of frame.copies, by uvs_steer_copy(); then HERE if
 * frame.here, else free it HELD    a fragment that waits for the first one of its datagram: kept by
 * steering while (n = uvs_steer_late(s, frame, 32))   frames that were HELD: HERE or DROP
 *     uvs_softq_publish(end)              once, after all of the burst
 *
 * The same for frames that uvs_softq_take() brings (UVS_FRAME_FORWARDED set), and for frames the
 * stack sends to the host's own address (UVS_FRAME_LOCAL; buffer at home; HERE is the loop that
 * lwIP would have taken; a forwarded one must be marked in the mbuf as having good checksums).
 *
 * How a frame finds its stack
 * ---------------------------
 * Each local port has a word that says which slots hold it (claims.h). The first that fits:
 *
 *   nobody holds the port        HERE: lwIP answers, with RST or "port unreachable"
 *   only we do                   HERE
 *   only one other does          to it
 *   several: our own connection? HERE                              (one look into lwIP's table)
 *   a SYN, and we listen         HERE, unless somebody listens whom no queue leads to (see below)
 *   a flow rule (rules.h)?       to the slot it names
 *   a datagram, somebody has     to the others that hold the port, one after the other; it is
 *   connected on the port        nobody's: to one of those who want anybody's
 *   a SYN, a datagram            HERE if we want it; else to one who does, by rendezvous hash
 *   the middle of a connection   to whom the hash led before the RETA was changed; else to the
 *                                others that hold the port, one after the other
 *   all of them have seen it     HERE: lwIP answers with RST
 *
 * So a connection is found whatever the tables say: claims decide, rules only make it quick where a
 * port is shared. A rule that is late, stale, or was never there because the table was full costs
 * hops, not connections; and nothing waits for the manager. A frame carries the set of slots that
 * have seen it (its trail), so it visits each at most once.
 *
 * A listener set that changes moves no connection: only SYNs go by it. Where each listener has a
 * queue the NIC spreads the SYNs, and each keeps its own; where one has none (more stacks than
 * queues), all of them are spread by rendezvous hash.
 *
 *   ARP, neighbour discovery, IGMP, MLD,  to every live slot (a copy each)
 *   echo replies, other protocols, ICMP
 *   errors about either
 *   group addresses, broadcast            to the members that hold the port
 *   ICMP errors                           to the owner of the packet they quote
 *   echo requests, nonsense               HERE
 *   fragments                             where the datagram's first fragment went; the NIC sends
 * all of a datagram to one queue, since it cannot hash ports that are not there, so the receiver
 * can remember
 *
 * A slot gets frames while its life word says UP, looked at once per burst; frames for one that is
 * not are treated as if it did not hold the port.
 *
 * Shared memory
 * -------------
 * Mapped in all processes, made and zeroed by the manager; zero is empty everywhere. Where the
 * parts lie is computed by each process for itself (struct uvs_steer_map is private), so that no
 * pointer is read from it; every other thing read from it is checked before it is used.
 *
 *  word            writer                                   order    reader                  order
 *  claims          any slot, its own bit; manager           CAS/and  receivers relaxed group[] any
 * slot, its own bit; manager           CAS      receivers               relaxed reta[] manager
 * relaxed  receivers               relaxed rules           manager see rules.h requests        a
 * slot, the manager: a ring              see rules.h stats[slot]     that slot relaxed  anyone
 * relaxed
 *
 * If a process dies at any point here: its claims and groups are words the manager clears
 * (uvs_steer_reclaim, idempotent); a half-written request was not published; frames it had staged
 * are the soft queues' business.
 *
 * Threads: struct uvs_steer belongs to one stack thread.
 */
#ifndef STACK_SHARE_STEER_H
#define STACK_SHARE_STEER_H

#include "stack/share/claims.h"
#include "stack/share/flow.h"
#include "stack/share/rules.h"
#include "stack/share/softq.h"

#define UVS_STEER_BURST 64  /* frames of a call, at most */
#define UVS_RETA_MAX    512 /* RTE_ETH_RSS_RETA_SIZE_512 */
#define UVS_GROUPS      1024
#define UVS_TRAIL_END   (~0ULL) /* the receiver keeps it: a copy */
#define UVS_HELD        32      /* fragments that wait */
#define UVS_DATAGRAMS   64      /* whose first fragment is remembered */
#define UVS_HOLD_NS     1000000000ULL
#define UVS_DATAGRAM_NS 30000000000ULL /* lwIP's reassembly gives up before */

/* ------------------------------------------------------------------------------ shared memory */

enum uvs_drop {
	UVS_DROP_FULL,     /* the owner's soft queue: it does not keep up */
	UVS_DROP_FRAGMENT, /* its first fragment did not come in time, or too many wait */
	UVS_DROP_STALE,    /* datagram: a rule out of date led it away from who wants it */
	UVS_DROPS,
};

/* How the frames of a slot were decided. Each frame counts once in the first block. */
enum uvs_steer_count {
	UVS_STEER_OWN,         /* the only holder, or our connection */
	UVS_STEER_NOBODY,      /* no live slot holds the port: answered here */
	UVS_STEER_LISTENER,    /* SYN or datagram: our listener */
	UVS_STEER_OTHER,       /* neither TCP nor UDP, answered by whoever receives it */
	UVS_STEER_TO_HOLDER,   /* forwarded: the only holder */
	UVS_STEER_TO_RULE,     /* forwarded by a rule */
	UVS_STEER_TO_LISTENER, /* forwarded: SYN or datagram, one of the listeners */
	UVS_STEER_TO_BEFORE,   /* forwarded to whom the RETA led before */
	UVS_STEER_TO_NEXT,     /* forwarded: looking for its owner among the holders */
	UVS_STEER_STRAY,       /* nobody's connection, everybody asked: answered here */
	UVS_STEER_EVERYONE,    /* a copy for every live slot */
	UVS_STEER_GROUP,       /* multicast, broadcast */
	UVS_STEER_DROPPED,     /* by reason below */
	/* apart */
	UVS_STEER_COPIES,    /* made for others */
	UVS_STEER_HELD_BACK, /* fragments that waited */
	UVS_STEER_ARRIVED,   /* of all the above, those that another had forwarded */
	UVS_STEER_COUNTS,
};

struct uvs_steer_stats {
	alignas(UVS_LINE) _Atomic uint64_t count[UVS_STEER_COUNTS];
	_Atomic uint64_t drop[UVS_DROPS];
};

const char *uvs_steer_count_name(enum uvs_steer_count c);
const char *uvs_drop_name(enum uvs_drop d);

/* Members of a group by its Ethernet address, as in a NIC's filter: IPv6 groups that share one are
 * one. key: 0, or the address with bit 48 set; set once, for ever. */
struct uvs_group {
	_Atomic uint64_t key;
	_Atomic uint64_t members; /* slot bits */
};

/* What all processes have to agree on; the manager says it. */
struct uvs_steer_size {
	uint32_t nb_slots; /* 2..UVS_CLAIM_SLOTS, the manager's included */
	uint32_t rules;    /* flow rules there is room for; a power of two, 64 or more */
	uint64_t secret;   /* random: of the hashes that peers could otherwise choose to collide */
};

/* Where everything is. Private to a process, constant. */
struct uvs_steer_map {
	struct uvs_steer_size size;
	struct uvs_claims *claims;
	struct uvs_rules rules;
	struct uvs_group *group;       /* [UVS_GROUPS] */
	_Atomic uint64_t *everything;  /* slots that get every group: the table was full */
	_Atomic uint32_t *reta_size;   /* 0: the NIC does not hash */
	_Atomic uint64_t *queued;      /* slots that the table leads to */
	_Atomic uint16_t *reta;        /* [UVS_RETA_MAX] slot now | slot before << 8; 0: none */
	struct uvs_steer_stats *stats; /* [nb_slots] */
};

/* Bytes of shared memory; and the map of such memory, aligned to UVS_LINE. -EINVAL: sizes out of
 * range. */
size_t uvs_steer_size(const struct uvs_steer_size *size);
int uvs_steer_map(struct uvs_steer_map *m, const struct uvs_steer_size *size, void *memory);

/* ----------------------------------------------------------------------------------- receiving */

enum uvs_verdict {
	UVS_HERE,
	UVS_GONE,
	UVS_DROP,
	UVS_COPY,
	UVS_HELD_BACK,
};

#define UVS_FRAME_HASHED    1u /* hash is the NIC's */
#define UVS_FRAME_FORWARDED 2u /* came by a soft queue */
#define UVS_FRAME_LOCAL     4u /* the stack sends it to the host's own address */

struct uvs_frame {
	/* in */
	const uint8_t *data; /* the frame from its Ethernet header; all headers in one piece */
	uint32_t len;        /* bytes at data */
	uint32_t hash;       /* of RSS */
	uvs_ref ref;         /* the buffer */
	uint32_t flags;      /* UVS_FRAME_ */
	uint64_t *trail;     /* word in the buffer's memory: slots that have seen it; else 0 */
	void *tag;           /* the caller's */
	/* out */
	uint8_t verdict; /* enum uvs_verdict */
	uint8_t reason;  /* DROP: enum uvs_drop */
	uint8_t to;      /* GONE: the slot it went to */
	bool here;       /* COPY */
	uint64_t copies; /* COPY: slots */
};

/* Is this flow a connection (TCP, TIME_WAIT included; UDP: a connected socket) of this stack? Then
 * a byte that is the connection's, 0 at first, where steering notes that it has asked for a rule
 * (see uvs_steer_ended). NULL: no. Must not change anything. */
typedef uint8_t *(*uvs_own_fn)(void *arg, const struct uvs_flow *f);

/* What makes fragments one datagram. */
struct uvs_frag_key {
	uint32_t local[4], remote[4];
	uint32_t id;
	uint32_t proto; /* and family << 8; 0: none */
};

struct uvs_datagram {
	struct uvs_frag_key key;
	uint64_t when;
	uint64_t copies;
	uint8_t verdict; /* HERE, GONE, COPY */
	uint8_t to;
	bool here;
};

struct uvs_held {
	struct uvs_frame frame;
	struct uvs_frag_key key;
	uint64_t when;
};

/* A stack's own state. */
struct uvs_steer {
	const struct uvs_steer_map *map;
	struct uvs_softq_end *end;
	uint32_t self;
	uvs_own_fn own;
	void *own_arg;
	uint64_t now;    /* ns; the caller sets it before each burst */
	uint64_t looked; /* slots whose life was looked at in this burst ... */
	uint64_t up;     /* ... and was UP */
	struct uvs_requester asks;
	uint32_t nb_held, nb_late;
	struct uvs_held held[UVS_HELD];
	struct uvs_frame late[UVS_HELD];
	struct uvs_datagram datagram[UVS_DATAGRAMS];
};

/* Be the stack of end->self. own may be NULL: no connections. */
void uvs_steer_open(struct uvs_steer *s, const struct uvs_steer_map *m, struct uvs_softq_end *end,
		    uvs_own_fn own, void *own_arg);
void uvs_steer_close(struct uvs_steer *s);

/* Decide n <= UVS_STEER_BURST frames; stages what goes to others. */
void uvs_steer_burst(struct uvs_steer *s, struct uvs_frame *frame, uint32_t n);

/* Up to n frames that were held back and are no longer: HERE, DROP or COPY (GONE ones are not
 * shown). After each burst, and now and then: those that have waited too long are among them. */
uint32_t uvs_steer_late(struct uvs_steer *s, struct uvs_frame *frame, uint32_t n);

/* Hand a copy, made in a buffer of this stack's, to a slot of frame.copies. false: free it. `trail`
 * is the copy's: it is not copied again. */
bool uvs_steer_copy(struct uvs_steer *s, uint32_t to, uvs_ref ref, uint64_t *trail);

/* A UDP socket was connected: others that hold the port pass its peer's datagrams on to it, and if
 * its port is shared already a rule is asked for, so that they come by the short way. (TCP
 * connections ask by themselves, when a segment has taken the long way: that alone says that a rule
 * would help.) *state is the byte of uvs_own_fn. Never blocks, never fails. */
void uvs_steer_connected(struct uvs_steer *s, const struct uvs_flow *f, uint8_t *state);
/* A connection is over, TIME_WAIT included: *state tells whether there is a rule to be revoked. */
void uvs_steer_ended(struct uvs_steer *s, const struct uvs_flow *f, uint8_t *state);

/* After anything above: is the manager to be woken for requests (it sleeps)? Clears the wish. */
bool uvs_steer_wake_manager(struct uvs_steer *s);

/* ---------------------------------------------------------------------------------- the NIC's */

/* By the manager, after it has written the NIC's table: slot[i] polls the queue of entry i. */
void uvs_steer_reta(const struct uvs_steer_map *m, const uint8_t *slot, uint32_t size);

/* The slot that a hash leads to now; 0: unknown. */
uint32_t uvs_steer_home(const struct uvs_steer_map *m, uint32_t hash);

/* --------------------------------------------------------------------------------- multicast */

/* By a slot: join or leave the group with this Ethernet address. The caller counts its sockets. */
void uvs_steer_join(const struct uvs_steer_map *m, uint32_t slot, const uint8_t mac[6]);
void uvs_steer_leave(const struct uvs_steer_map *m, uint32_t slot, const uint8_t mac[6]);

/* ----------------------------------------------------------------------------------- reclaim */

/* By the manager, for a slot whose life is DOWN: claims, groups and rules are gone, requests are
 * forgotten. Idempotent. Returns how many things it had. */
uint32_t uvs_steer_reclaim(struct uvs_rules_writer *w, const struct uvs_steer_map *m,
			   uint32_t slot);

#endif /* STACK_SHARE_STEER_H */
