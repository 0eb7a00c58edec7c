/* SPDX-License-Identifier: BSD-3-Clause
 *
 * uvbridge/abi.h - the fabric segment: layout and protocol.
 *
 * This header is the specification. Everything two processes share is declared here, each word
 * with the one party that may write it. Sizes and offsets are part of the ABI: change them only
 * together with UVB_ABI_VERSION.
 *
 * The idea
 * --------
 * A fabric is one file of shared memory, mapped by every port. There is no forwarding process:
 * the sender's transmit function does what NIC and switch hardware would do. It looks the MAC
 * address up, applies the receiver's filters and RSS, copies the frame into one of its *own*
 * cells, and publishes a reference on the ring that belongs to exactly this pair of queues.
 *
 *     sender (port s, txq t)                     receiver (port d, rxq q)
 *     ----------------------                     ------------------------
 *     desc[s][t][i].owner == FREE ?
 *     fill cell i, desc i
 *     desc.owner = (gen d, d, q, head) --1-->
 *     voq[d][q][s][t].slot[head] = i
 *     voq.head = head + 1 (release)   --2-->     head (acquire), slot, desc.owner checked
 *     full fence                                 copy the frame out
 *     rxq[d][q].leaf |= bit(s, t)     --3-->     desc.owner = FREE (release)
 *     rxq[d][q].armed ? ring the bell --4-->     voq.tail = tail + 1 (release)
 *
 * A process may be killed between any two instructions, because:
 *  - killed before 1: nothing happened;
 *  - killed between 1 and 2: the cell has an owner that will never see it. The daemon finds it: it
 *    has an owner but stands in no ring (see "Reclaim");
 *  - killed between 2 and 4: published. The daemon completes steps 3 and 4 for the dead sender;
 *  - a receiver killed anywhere: its rings stop at tail; the daemon drains them in its place. A
 *    frame whose cell is FREE but whose tail was not advanced is recognised by its owner word: it
 *    names the ring position too, so even a cell that its sender has taken again meanwhile cannot
 *    be mistaken for the one that stood there.
 *
 * Who is who
 * ----------
 *  daemon    uvbridged. Writes the header, port life words and names, and - only while a port is
 *            not attached - every word of which that port would be the writer. Control only:
 *            traffic flows while it is stopped or dead.
 *  owner     the process that attached a port. It alone writes the port's configuration.
 *  member    the owner, or another process that joined: any of them may use any queue of the port,
 *            one thread of one of them per queue at a time. Who uses which, they settle themselves.
 *  sender    the member that transmits on that txq, on the thread that does.
 *  receiver  the member that receives on that rxq, on the thread that does.
 *
 * Trust
 * -----
 * Whatever is read from words that another port writes is validated before it is used as an index
 * or a length: a port that scribbles loses its own frames. Sizes are copied out of the header once,
 * at attach, checked, and never read again. (All ports of one fabric map it writable; the fabric
 * directory's permissions, mode 0700, say who may be a port at all.)
 *
 * Life and death of a port
 * ------------------------
 * The daemon watches every member (its control connection and a pidfd). The link goes down with the
 * owner, or, if the port was attached as shared, with its last member. The words of its queues are
 * the members' until the last of them is gone: only then is the port reclaimed, because a process
 * that has not yet seen the link go down may be in the middle of a burst.
 *
 * Of a port that lives on, the queue of a dead member is repaired by whoever hands it out next
 * (uvb_rxq_reset, uvb_txq_reset): steps 2 and 3 below, for that queue alone. A configuration its
 * owner was writing when it died is the one before: it is written beside it.
 *
 * Reclaim
 * -------
 * Of port x:
 *  1. life(x) = DOWN (release). Senders stop on their next burst.
 *  2. As the *receiver* x: for each voq into x and each position p in [tail, head), the cell there
 *     is set FREE if its owner word says (any gen, x, q, p); tail = head.
 *  3. As the *sender* x: every cell of its txqs that is not FREE, and whose owner word (d, q, p)
 * does not name a place in a ring - p within [tail, head) of voq[d][q][x][txq] and slot[p] this
 * cell - is set FREE (leaked between steps 1 and 2 above). For each non-empty voq steps 3 and 4 are
 * done again. The rest will be freed by their living receivers, at their pace; nobody waits for
 * them. All of it is idempotent, and checked with every interleaving of deaths by model/voq.pml. A
 * sender that was between "life is UP" and "publish" while x died leaves references behind in x's
 * rings; they carry x's old generation: the daemon's tick drains them while x is down, and a new
 * owner of x frees them without delivering.
 *
 * Long frames
 * -----------
 * A frame longer than a cell is a chain: every cell but the last is full, all have the same owner
 * word, the ring names the first. The receiver frees a chain from its end: as long as the first
 * cell is owned, what is left of the chain can be followed from it.
 *
 * Memory orders (C11, all shared words are _Atomic and accessed explicitly)
 * ------------------------------------------------------------------------
 *  word           writer                     order    reader                   order
 *  port.life      daemon                     release  senders, once per burst  acquire
 *  port.conf_seq  owner                      release  senders, once per burst  acquire
 *  policy.seq     daemon, after the copy     release  senders, when            acquire
 *                 it names                            hdr.policy_gen moved
 *  hdr.policy_gen daemon, after policy.seq   release  senders and receivers,   acquire
 *                                                     once per burst
 *  policy.storm[], .rate[], adapter.uplink[]: senders, one compare-and-swap each, relaxed: a word
 *                 says how far its limit is used up, and nothing else hangs on it
 *  fdb entry      senders, daemon: compare-  relaxed  senders                  relaxed
 *                 and-swap
 *  desc.owner     sender FREE->x             relaxed  receiver (after head)    relaxed
 *                 receiver/daemon x->FREE    release  sender, seeking          acquire
 *  voq.head       sender                     release  receiver, daemon         acquire
 *  voq.tail       receiver                   release  sender, only when full   acquire
 *  voq.slot[]     sender, before head        relaxed  receiver, after head     relaxed
 *  rxq.leaf[]     senders set, receiver clears: atomic or / and, seq_cst; see below
 *  rxq.summary    the same
 *  rxq.armed      receiver sets and clears   seq_cst  senders after the fence  relaxed
 *  rules.version  owner                      release  senders, once per burst  acquire
 *  rules.slot.seq owner                      release  senders                  acquire
 *  rules.count    senders: atomic add        relaxed  owner                    relaxed
 *  counters       their one writer           relaxed  anyone                   relaxed
 *  fault_seq      daemon                     release  senders, once per burst  acquire
 *  fault.released daemon                     release  receivers that hold      acquire
 *  decisions.head sender                     release  daemon                   acquire
 *  decisions.tail daemon                     release  sender, before it writes acquire
 *
 * Sleeping (store-buffering pattern, both sides have a full fence):
 *   sender:    head = ...;   fence;   bit set? else set it;   armed? ring
 *   receiver:  clear bit;    (rmw);   head again: not empty? set the bit and go on
 *              armed = 1;    fence;   any bit set? then do not sleep
 * So either the sender sees the bit cleared / armed set, or the receiver sees the new head.
 */
#ifndef UVBRIDGE_ABI_H
#define UVBRIDGE_ABI_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdint.h>

#define UVB_ABI_MAGIC   0x6567646972627675ULL /* "uvbridge", little-endian */
#define UVB_ABI_VERSION 3u

#define UVB_CACHE_LINE 64
#define UVB_PAGE       4096

/* Hard bounds of the layout; the numbers in force are in the header. */
#define UVB_MAX_PORTS   256
#define UVB_MAX_QUEUES  16
#define UVB_MAX_SOURCES 4096 /* ports x queues: one bit each in a two-level bitmap of 64 x 64 */

#define UVB_NAME_LEN 32 /* with the terminating NUL; [A-Za-z0-9_.-]+ */
/* 2 KiB and two cache lines: at a power of two, the first lines of all cells would share a few sets
 * of the caches. */
#define UVB_CELL_SIZE 2176
#define UVB_CELL_ROOM (UVB_CELL_SIZE - 64) /* bytes of frame in one cell */
#define UVB_FRAME_MIN 14                   /* an Ethernet header; there is no FCS in the fabric */
#define UVB_CHAIN_MAX 34                   /* cells of one frame */
#define UVB_FRAME_MAX 65553                /* 64 KiB - 1 and an Ethernet header with one tag */
#define UVB_FDB_WAYS  8
#define UVB_RETA_MAX  512
#define UVB_KEY_MAX   52
#define UVB_MAC_MAX   64 /* unicast addresses of a port, the primary one included */
#define UVB_MC_MAX    64 /* multicast addresses of a port */

#define UVB_FDB_MIN      64 /* buckets: fewer leave no room for an address in an entry's word */
#define UVB_ADAPTERS_MAX 16
#define UVB_VFS_MAX      64 /* of one adapter */

#define UVB_MEMBERS_MAX 64 /* processes of a port */
#define UVB_OWNER_SLOT  0

/* Shape of a fabric unless told otherwise. Memory is used where it is touched. */
#define UVB_DEFAULT_PORTS  32
#define UVB_DEFAULT_QUEUES 8
#define UVB_DEFAULT_CELLS  2048
#define UVB_DEFAULT_VOQ    512
#define UVB_DEFAULT_FDB    1024 /* buckets */
#define UVB_DEFAULT_AGE    300  /* seconds */

/* ------------------------------------------------------------------------------------- header */

/* Writer: the daemon, before the first attach; constant afterwards but for the words marked. */
struct uvb_hdr {
	uint64_t magic;
	uint32_t abi_version;
	uint32_t hdr_size;
	uint64_t epoch; /* random, differs between two fabrics of the same name */
	uint64_t size;  /* of the file, bytes */
	char name[UVB_NAME_LEN];

	uint32_t nb_ports;      /* 2 .. UVB_MAX_PORTS */
	uint32_t nb_queues;     /* 1 .. UVB_MAX_QUEUES, of each direction, for every port */
	uint32_t cells_per_txq; /* power of two, 64 .. 65536 */
	uint32_t voq_depth;     /* references a voq holds; power of two, 32 .. 32768 */
	uint32_t fdb_buckets;   /* power of two; UVB_FDB_WAYS entries each */
	uint32_t fdb_age_s;     /* seconds until an unused dynamic entry may go */

	/* Offsets from the start of the file, page-aligned. Index rules are at each structure. */
	uint64_t off_ports;    /* struct uvb_port_shm [nb_ports] */
	uint64_t off_rxqs;     /* struct uvb_rxq_shm  [port][rxq] */
	uint64_t off_txqs;     /* struct uvb_txq_shm  [port][txq] */
	uint64_t off_pairs;    /* struct uvb_pair_shm [source port][txq][destination port] */
	uint64_t off_fdb;      /* struct uvb_fdb_bucket [fdb_buckets] */
	uint64_t off_policies; /* struct uvb_policy_shm [nb_ports] */
	uint64_t off_adapters; /* struct uvb_adapter_shm [UVB_ADAPTERS_MAX] */
	uint64_t
		off_voqs; /* struct uvb_voq_shm  [dst port][rxq][src port][txq], voq_stride apart */
	uint64_t off_descs; /* struct uvb_desc     [src port][txq][cells_per_txq] */
	uint64_t off_cells; /* struct uvb_cell     the same */
	uint64_t off_rules; /* struct uvb_rules_shm [nb_ports] */
	uint64_t voq_stride;
	uint64_t off_faults;    /* struct uvb_fault_shm [UVB_FAULTS_MAX] */
	uint64_t off_decisions; /* struct uvb_decisions_shm [port][txq] */

	/* Words that change. Writer of each: the daemon. */
	alignas(UVB_CACHE_LINE) _Atomic uint32_t daemon_pid; /* of the daemon in charge, or last */
	_Atomic uint32_t capture_port; /* 1 + id of the port that gets a copy of all frames, or 0 */
	_Atomic uint64_t daemon_start; /* field 22 of /proc/PID/stat, as for ports */
	_Atomic uint64_t daemon_beat;  /* ns, CLOCK_MONOTONIC: last tick of the daemon */
	_Atomic uint64_t reclaims;     /* ports reclaimed after a death, since the fabric began */
	_Atomic uint64_t reclaimed_cells; /* cells set FREE for the dead */
	_Atomic uint64_t reclaim_ns_max;  /* longest reclaim */
	_Atomic uint64_t clock_ns; /* virtual time, ns, moved by anybody ("Clock"); 0: it is real */
	_Atomic uint32_t fault_seq;    /* odd while the fault table is written; "Faults" */
	_Atomic uint32_t fault_last;   /* handle of the last fault that was made */
	_Atomic uint64_t clock_offset; /* real time is CLOCK_MONOTONIC and this many ns (clock.h) */
	_Atomic uint64_t clock_base;   /* clock_ns when time became virtual */
	_Atomic uint32_t policy_gen;   /* grows with every change of any policy; 0: never any */
	_Atomic uint32_t vlan_aware;   /* 1: some port has a VLAN mode, so frames are classified */
	_Atomic uint64_t clock_until;  /* how far it may go by itself; 0: it stands still */
	/* Ports to flood to: UP and switching. A hint that spares a look at every port; life
	 * decides. */
	_Atomic uint64_t flood[UVB_MAX_PORTS / 64];
	/* Writers: senders, fetch_add: how many decisions of faults there were. Numbers them. */
	alignas(UVB_CACHE_LINE) _Atomic uint64_t decisions;
};

/* --------------------------------------------------------------------------------------- port */

enum uvb_port_state {
	UVB_PORT_FREE = 0, /* nobody; name and counters are those of the last owner */
	UVB_PORT_UP = 1,   /* attached */
	UVB_PORT_DOWN = 2, /* being detached or reclaimed */
};

/* life = generation << 8 | enum uvb_port_state; the generation grows with every attach. */
#define UVB_LIFE(gen, state) (((uint32_t)(gen) << 8) | (uint32_t)(state))
#define UVB_LIFE_GEN(life)   ((uint32_t)(life) >> 8)
#define UVB_LIFE_STATE(life) ((enum uvb_port_state)((life)&0xff))

enum uvb_port_kind {
	UVB_KIND_UVETH = 1,   /* the DPDK driver */
	UVB_KIND_WIRE = 2,    /* a test program's raw port */
	UVB_KIND_CAPTURE = 3, /* receives copies of all frames; takes no part in switching */
	UVB_KIND_TAP = 4,
	UVB_KIND_SOCKET = 5,
	UVB_KIND_PCAP = 6,
	UVB_KIND_ETHDEV = 7,
};

/* What the NIC hashes; the bits of uvb_conf.rss_types. Hash input as in the Microsoft RSS
 * specification and rte_thash.h (rte_softrss on the big-endian tuple read as words). */
#define UVB_RSS_IPV4      (1u << 0) /* addresses of any IPv4 packet, fragments included */
#define UVB_RSS_IPV4_TCP  (1u << 1)
#define UVB_RSS_IPV4_UDP  (1u << 2)
#define UVB_RSS_IPV4_SCTP (1u << 3)
#define UVB_RSS_IPV6      (1u << 4)
#define UVB_RSS_IPV6_TCP  (1u << 5)
#define UVB_RSS_IPV6_UDP  (1u << 6)
#define UVB_RSS_IPV6_SCTP (1u << 7)
#define UVB_RSS_DEFAULT   0xffu
#define UVB_RSS_IPV4_FRAG (1u << 8) /* addresses of fragments only */
#define UVB_RSS_IPV4_OTHER \
	(1u << 9) /* addresses of what is neither a fragment nor has ports that are hashed */
#define UVB_RSS_IPV6_FRAG  (1u << 10)
#define UVB_RSS_IPV6_OTHER (1u << 11)
/* With the addresses that extension headers have in place of those of the IPv6 header: source from
 * the Home Address option, destination from a type 2 routing header, where there are such
 * (Microsoft RSS, RFC 6275). */
#define UVB_RSS_IPV6_EX     (1u << 12)
#define UVB_RSS_IPV6_TCP_EX (1u << 13)
#define UVB_RSS_IPV6_UDP_EX (1u << 14)
#define UVB_RSS_L2          (1u << 15) /* MAC addresses, source first, of what fits no type above */
/* Of the input chosen by type, only these fields; the others count as zero. None of a layer's two:
 * both, unless the other of L3 and L4 names one (of a type with ports): then neither. */
#define UVB_RSS_L2_SRC (1u << 16)
#define UVB_RSS_L2_DST (1u << 17)
#define UVB_RSS_L3_SRC (1u << 18)
#define UVB_RSS_L3_DST (1u << 19)
#define UVB_RSS_L4_SRC (1u << 20)
#define UVB_RSS_L4_DST (1u << 21)
/* Source and destination are each replaced by their exclusive or: both directions of a connection
 * hash alike (RTE_ETH_HASH_FUNCTION_SYMMETRIC_TOEPLITZ). */
#define UVB_RSS_SYMMETRIC (1u << 22)
#define UVB_RSS_KNOWN     0x7fffffu

#define UVB_CONF_STARTED  (1u << 0) /* receives; otherwise frames to it drop as "rx_stopped" */
#define UVB_CONF_PROMISC  (1u << 1)
#define UVB_CONF_ALLMULTI (1u << 2)
/* Frames whose outermost tag has a VLAN that is not in vlan[] are dropped, promiscuous or not.
 * Untagged ones pass. */
#define UVB_CONF_VLAN_FILTER (1u << 3)
#define UVB_CONF_SENT_AT     (1u << 4) /* wants to know when frames were sent: cell.sent_at */
#define UVB_CONF_RULES       (1u << 8) /* has flow rules */
#define UVB_CONF_ISOLATED    (1u << 9) /* takes only what its flow rules let in; no MAC filter */

/* What the NIC does on receive. Writer: the owner, who writes the one of two that is not in force
 * and then says so in conf_seq. A sender keeps a compiled copy (Toeplitz tables) and compiles again
 * when conf_seq has moved; if it moves while it reads, it goes on with the copy it has: it never
 * waits. An owner that dies while it writes leaves the other one in force. */
struct uvb_conf {
	uint32_t flags;     /* UVB_CONF_* */
	uint16_t nb_rxq;    /* queues in use, 1 .. the number attached with */
	uint16_t mtu;       /* frames longer than mtu + 18 (Ethernet header, one tag) are dropped */
	uint32_t rss_types; /* UVB_RSS_*; 0: everything to queue 0 */
	uint16_t key_len;   /* bytes, 40 .. UVB_KEY_MAX */
	uint16_t reta_size; /* power of two, up to UVB_RETA_MAX */
	uint16_t nb_mac;    /* 1 .. UVB_MAC_MAX */
	uint16_t nb_mc;     /* 0 .. UVB_MC_MAX */
	uint8_t key[UVB_KEY_MAX];
	uint8_t pad[4];
	uint16_t reta[UVB_RETA_MAX];
	uint8_t mac[UVB_MAC_MAX][8]; /* 6 bytes used */
	uint8_t mc[UVB_MC_MAX][8];
	uint32_t vlan[4096 / 32]; /* bit vlan % 32 of word vlan / 32 */
	uint16_t tpid[2];         /* what is a tag to the VLAN filter: EtherType, outer and inner */
	uint32_t gso_max; /* bytes of the longest TCP super-frame it takes whole; 0: cut them */
};

/* A process that may use the port's queues. */
struct uvb_member {
	uint32_t pid; /* 0: nobody */
	uint32_t uid;
	uint64_t start; /* field 22 of /proc/PID/stat: tells a reused pid from the old one */
};

#define UVB_PORT_SHARED   (1u << 0) /* outlives its owner, as long as another member lives */
#define UVB_PORT_JOINABLE (1u << 1) /* others may join it */

struct uvb_port_shm {
	/* Writer: the daemon. */
	alignas(UVB_PAGE) _Atomic uint32_t life;
	_Atomic uint32_t kind; /* enum uvb_port_kind */
	uint16_t nb_rxq;       /* receive queues its members hold; the others are the daemon's */
	uint16_t nb_txq;
	uint32_t flags;       /* UVB_PORT_* */
	uint64_t attached_ns; /* CLOCK_MONOTONIC */
	char name[UVB_NAME_LEN];
	/* The most queues it was ever attached with: what concerns the others was never touched,
	 * and a look at it would make memory of it. */
	_Atomic uint16_t ever_rxq, ever_txq;
	struct uvb_member member[UVB_MEMBERS_MAX]; /* [UVB_OWNER_SLOT]: the owner */
	/* Writer: the owner. In force: conf[UVB_CONF_INDEX(conf_seq)]; an odd number is nonsense.
	 */
	alignas(UVB_CACHE_LINE) _Atomic uint32_t conf_seq;
	uint32_t pad2;
	struct uvb_conf conf[2];
};
#define UVB_CONF_INDEX(seq) ((seq) >> 1 & 1)

/* ------------------------------------------------------------------------------------- queues */

/* Receive side of (port, rxq); a bit per source (source = port x nb_queues + txq) that may have
 * something. leaf[source / 64], and a bit of summary per leaf word. */
struct uvb_rxq_shm {
	alignas(UVB_CACHE_LINE) _Atomic uint64_t summary;
	/* Odd: the receiver sleeps (or is about to) and wants the bell. Grows by one with each arm
	 * and each disarm, so that a sender rings once for each sleep, however many bursts it sends
	 * until the receiver has woken. */
	_Atomic uint64_t armed;
	alignas(UVB_CACHE_LINE) _Atomic uint64_t leaf[UVB_MAX_SOURCES / 64];
	/* Counters. Writer: the receiver, or who stands in for one that is gone. */
	alignas(UVB_CACHE_LINE) _Atomic uint64_t packets;
	_Atomic uint64_t bytes;
	_Atomic uint64_t nombuf; /* the receiver had nowhere to put them */
	_Atomic uint64_t stale;  /* sent to an earlier generation of this port */
	_Atomic uint64_t bad;    /* references or indices that made no sense */
	_Atomic uint64_t sleeps; /* times armed without anything pending */
	_Atomic uint64_t wakes;  /* times the bell was taken */
	/* Writer: the receiver. Read by who moves the clock, see "Clock". */
	alignas(UVB_CACHE_LINE) _Atomic uint64_t idle_until; /* 0, UVB_BUSY, or a time */
	_Atomic uint64_t due; /* when the first parked frame is; good while armed; 0: none */
	_Atomic uint64_t
		lost; /* thrown away by a reset or a reclaim: nobody was there to receive */
};

/* Why a sender drops a frame that no single destination is to blame for. */
enum uvb_tx_drop {
	UVB_TXD_RUNT,            /* shorter than an Ethernet header */
	UVB_TXD_OVERSIZE,        /* longer than the fabric carries */
	UVB_TXD_HAIRPIN,         /* the FDB says the destination is the sender itself */
	UVB_TXD_NO_PORT,         /* flooded, and there was no other port */
	UVB_TXD_BAD_SRC,         /* source address is multicast or all-zero */
	UVB_TXD_FAULT,           /* a fault rule of the sender's cable said so */
	UVB_TXD_LOSS,            /* its link model lost it */
	UVB_TXD_QUEUE,           /* its link's queue was full */
	UVB_TXD_VLAN_INGRESS,    /* tagged, or not, as its port does not allow */
	UVB_TXD_SPOOF,           /* from an address that is not the VF's */
	UVB_TXD_LINK_DOWN,       /* the VF's link was put down */
	UVB_TXD_UPLINK_DOWN,     /* out of the adapter, whose uplink is down */
	UVB_TXD_STORM_BROADCAST, /* more per second than the port may send */
	UVB_TXD_STORM_MULTICAST,
	UVB_TXD_STORM_UNKNOWN, /* unicast to an address that is not in the FDB */
	UVB_TXD_NO_CELL,       /* end of a super-frame whose beginning took the last cells */
	UVB_TXD_MAX = 24
};

/* Transmit side of (port, txq). Writer: the sender. */
struct uvb_txq_shm {
	alignas(UVB_CACHE_LINE) _Atomic uint64_t packets; /* accepted from the owner */
	_Atomic uint64_t bytes;
	_Atomic uint64_t flooded;    /* of these, for no port in particular */
	_Atomic uint64_t no_cell;    /* times a burst was cut short, see uvb_tx_burst() */
	_Atomic uint64_t bells;      /* receivers woken */
	_Atomic uint64_t fault_dups; /* frames more than were sent: duplicated by faults */
	_Atomic uint64_t copies; /* made beyond the frame itself: flood to more than one, mirrors */
	_Atomic uint64_t limited; /* times a burst was cut short: a VF's or an uplink's rate */
	_Atomic uint64_t drops[UVB_TXD_MAX];
};

/* Why a frame for one destination is dropped: what its NIC or its port would have done. */
enum uvb_pair_drop {
	UVB_PD_MAC_FILTER,  /* not for it, and it is not promiscuous */
	UVB_PD_STOPPED,     /* not started ("rx_stopped") */
	UVB_PD_OVERSIZE,    /* longer than its MTU allows */
	UVB_PD_DOWN,        /* the FDB names a port that is no longer attached */
	UVB_PD_VLAN_FILTER, /* tagged with a VLAN that is not in its filter */
	UVB_PD_FAULT,       /* a fault rule of the receiver's cable said so */
	UVB_PD_LOSS,        /* its link model lost it */
	UVB_PD_QUEUE,       /* its link's queue was full */
	UVB_PD_VLAN_EGRESS, /* not in the frame's VLAN */
	UVB_PD_GROUP,       /* in the same isolation group as the sender */
	UVB_PD_LINK_DOWN,   /* a VF whose link was put down */
	UVB_PD_UPLINK,      /* its adapter's uplink is down, or has no bandwidth left */
	UVB_PD_FLOW,        /* one of its flow rules says so */
	UVB_PD_ISOLATED,    /* isolated, and none of its flow rules wants it */
	UVB_PD_DELAY,       /* behind delayed frames, which take all of the voq or all cells */
	UVB_PD_MAX = 16
};

/* Writer: the sender. Index [source port x nb_queues + txq][destination port]. */
struct uvb_pair_shm {
	alignas(UVB_CACHE_LINE) _Atomic uint64_t drops[UVB_PD_MAX];
};

/* Virtual output queue: single producer, single consumer. head and tail run freely, modulo 2^32;
 * head - tail <= voq_depth. slot[i & (voq_depth - 1)] is a cell number of the source's array. */
struct uvb_voq_shm {
	/* Writer: the sender. The place behind the last reference, and that reference again:
	 * whoever polls for single frames reads this line and none of slot[]. See UVB_HEAD(). */
	alignas(UVB_CACHE_LINE) _Atomic uint64_t head;
	/* Writer: the sender. Not on the line that the receiver polls. */
	alignas(UVB_CACHE_LINE) _Atomic uint64_t packets; /* published */
	_Atomic uint64_t bytes;
	_Atomic uint64_t full; /* dropped: the receiver has voq_depth frames waiting ("imissed") */
	/* Writer: the receiver. */
	alignas(UVB_CACHE_LINE) _Atomic uint32_t tail;
	uint32_t pad2;
	/* Writer: the sender. */
	alignas(UVB_CACHE_LINE) _Atomic uint32_t slot[];
};
#define UVB_HEAD(pos, ref)  ((uint64_t)(ref) << 32 | (uint32_t)(pos))
#define UVB_HEAD_POS(head)  ((uint32_t)(head))
#define UVB_HEAD_LAST(head) ((uint32_t)((head) >> 32)) /* what stands at position - 1 */

/* --------------------------------------------------------------------------------------- cell */

#define UVB_OWNER_FREE 0ULL
/* Owner word: generation (24 bits) | position in the ring, modulo 2^24 | port (8) | 1 | rxq (7).
 * The constant bit keeps it from being FREE. The position ties the cell to one place in one ring:
 * without it, a cell freed by a receiver that has not advanced its tail yet, and taken again by a
 * sender that dies before publishing, would look as if it stood in the ring and leak
 * (model/voq.pml, -DNO_POSITION). */
#define UVB_OWNER(gen, port, rxq, pos)                                                     \
	(((uint64_t)(gen) << 40) | UVB_OWNER_PLACE(pos) | ((uint64_t)(port) << 8) | 0x80 | \
	 (uint64_t)(rxq))
#define UVB_OWNER_PLACE(pos) (((uint64_t)(pos)&0xffffff) << 16)
#define UVB_OWNER_ANY_GEN(o) ((uint64_t)(o)&0xffffffffffULL) /* all but the generation */
#define UVB_OWNER_GEN(o)     ((uint32_t)((o) >> 40))
#define UVB_OWNER_POS(o)     ((uint32_t)(((o) >> 16) & 0xffffff))
#define UVB_OWNER_PORT(o)    ((uint32_t)(((o) >> 8) & 0xff))
#define UVB_OWNER_RXQ(o)     ((uint32_t)((o)&0x7f))

#define UVB_CELL_HASH    (1u << 0) /* hash is valid */
#define UVB_CELL_CSUM_OK (1u << 1) /* the sender vouches for IP and L4 checksums */
#define UVB_CELL_GSO     (1u << 3) /* a TCP super-frame; gso_size is valid. In the first cell */
#define UVB_CELL_COPY    (1u << 2) /* a copy for the capture port; cap_* are valid */
#define UVB_CELL_FLAG    (1u << 8) /* a flow rule of the receiver flagged it */
#define UVB_CELL_MARK    (1u << 9) /* and gave it a mark */
#define UVB_CELL_EXTRA   (1u << 4) /* what stands before the cell's data is valid */

enum uvb_verdict {
	UVB_V_DELIVERED,
	UVB_V_VOQ_FULL,
	UVB_V_FILTERED, /* MAC filter, stopped, oversize */
	UVB_V_NO_DST,   /* down, hairpin, no port */
	UVB_V_FAULT,    /* a rule, a lossy link or its queue */
};

/* Owned by whom the owner word names; everything else in it is written by the sender while FREE. */
/* What a receiver looks at before it copies, apart from the bytes: four to a cache line, so that
 * the frames of a burst take a line and a quarter each from core to core, not two. */
struct uvb_desc {
	_Atomic uint64_t owner;
	uint16_t len;   /* bytes of frame in the cell, 1 .. UVB_CELL_ROOM */
	uint16_t flags; /* UVB_CELL_* */
	uint32_t hash;  /* RSS hash */
};

/* A cell. All before data is for frames that are more than their bytes: it is written, and may be
 * read, only with UVB_CELL_EXTRA. */
struct uvb_cell {
	alignas(UVB_CACHE_LINE) uint64_t deliver_at; /* ns of the fabric's clock before which nobody
						      * sees it; 0: at once; UVB_HELD(): when it is
						      * released */
	uint64_t sent_at;                            /* ns of the fabric's clock; 0: nobody asked */
	uint32_t next;  /* number of the next cell of a longer frame, or UVB_CELL_END */
	uint32_t total; /* bytes of the whole frame; in the first cell */
	/* Of copies for the capture port: where the original went. */
	uint16_t cap_src; /* port */
	uint16_t cap_dst; /* port, or 0xffff */
	uint8_t cap_txq;
	uint8_t cap_rxq;
	uint8_t cap_verdict; /* enum uvb_verdict */
	uint8_t overtake;    /* with deliver_at: or when so many later frames have passed it */
	uint32_t cap_fault;  /* handle of the last fault that did something to it, or 0 */
	uint32_t mark;       /* with UVB_CELL_MARK: of the receiver's flow rule */
	uint16_t gso_size;   /* payload of each segment of a super-frame but the last */
	uint8_t pad[14];     /* data starts on a cache line of its own */
	uint8_t data[UVB_CELL_ROOM];
};
#define UVB_CELL_END 0xffffffffu

_Static_assert(sizeof(struct uvb_cell) == UVB_CELL_SIZE, "a cell is UVB_CELL_SIZE bytes");
_Static_assert(sizeof(struct uvb_desc) == 16, "four descriptors share a cache line");
_Static_assert(sizeof(struct uvb_hdr) <= UVB_PAGE, "the header fits its page");
_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "64-bit atomics must be lock-free between processes");

/* ---------------------------------------------------------------------------------------- FDB */

/* An entry is one word, so learning, moving and forgetting are one compare-and-swap each and a
 * lookup needs no lock. VLAN (12 bits), MAC (48), port (8) and two flags are 70 bits; so the word
 * has only what the bucket's number does not say already (quotienting, Knuth vol. 3, 6.4 exercise
 * 13): key = VLAN << 48 | MAC is put through a permutation of 60-bit numbers (uvb_fdb_mix() in
 * fdb.c); its low bits choose the bucket, the rest is the entry's tag. That is exact, and an entry
 * can be read back. It wants at least UVB_FDB_MIN buckets.
 *
 *   tag (54 bits) | port (8) | static (1) | valid (1); 0: empty
 *
 * VLAN is 0 for untagged frames of ports without VLANs, and in a fabric where no port has any.
 * Writers: any sender (learns and moves dynamic entries, its own), any owner as it publishes its
 * configuration (its addresses, if nobody has them), the daemon (ages, flushes, static entries).
 * Static entries are the daemon's alone: never moved, never aged, never displaced.
 * `seen` beside it is the second (of the fabric's clock) it was last used as a source; relaxed,
 * last writer wins, only ageing and eviction read it.
 *
 * A new address in a full bucket displaces the oldest dynamic entry of the port that has the most
 * entries there, the new one counted; the learner itself if it is among those. So a port that
 * floods the table with addresses displaces its own, and no port is left with less than its fair
 * share. */
struct uvb_fdb_bucket {
	alignas(UVB_CACHE_LINE) _Atomic uint64_t entry[UVB_FDB_WAYS];
	_Atomic uint32_t seen[UVB_FDB_WAYS];
	_Atomic uint32_t evictions; /* an address displaced another one of a full bucket */
};
#define UVB_FDB_VALID            1ULL
#define UVB_FDB_STATIC           2ULL
#define UVB_FDB_PORT(e)          ((uint32_t)((e) >> 2) & 0xff)
#define UVB_FDB_KEY(vlan, mac48) (((uint64_t)(vlan) << 48) | (mac48))

/* ------------------------------------------------------------------------------------- policies */

/* What the switch asks of a port: its place in VLANs, limits, mirrors; and, of a function of an
 * adapter, what its PF asks. It belongs to the port's *name*: as long as a slot has a policy that
 * is not all zero, or static addresses, nobody of another name gets the slot.
 *
 * Writer: the daemon, in the copy that is not in force; then seq names that copy (seq & 1), then
 * hdr.policy_gen grows. A daemon that dies in between has changed nothing or everything. Readers
 * keep a copy of their own and look again when policy_gen has moved; a copy that was met while it
 * changed is looked at again with the next burst. All zero is a port that nothing is asked of. */
enum uvb_vlan_mode {
	UVB_VLAN_NONE = 0,   /* untagged is no VLAN, tagged is the tag's; sent out as it came in */
	UVB_VLAN_ACCESS = 1, /* untagged, in one VLAN */
	UVB_VLAN_TRUNK =
		2, /* tagged, in those allowed; untagged in the native one if there is one */
};

enum uvb_storm {
	UVB_STORM_BROADCAST,
	UVB_STORM_MULTICAST,
	UVB_STORM_UNKNOWN, /* unicast to an address that is not in the FDB */
	UVB_STORM_MAX
};

enum uvb_vf_state {                  /* as `ip link set dev PF vf N state` */
		    UVB_VF_AUTO = 0, /* as the uplink */
		    UVB_VF_ENABLE = 1,
		    UVB_VF_DISABLE = 2,
};

#define UVB_WEIGHT_MAX 64

#define UVB_POL_RESERVED    (1u << 0) /* keeps the slot, whatever else: a function of an adapter */
#define UVB_POL_MAC         (1u << 1) /* mac is set: the VF has this address and no other */
#define UVB_POL_SPOOFCHK    (1u << 2) /* sends from its own addresses only */
#define UVB_POL_UNTRUSTED   (1u << 3) /* may not be promiscuous, nor allmulticast */
#define UVB_POL_LINK_DOWN   (1u << 4) /* by state, and the uplink for those who follow it */
#define UVB_POL_UPLINK_DOWN (1u << 5) /* nothing leaves or enters the adapter */

struct uvb_policy {
	uint32_t flags;                   /* UVB_POL_* */
	uint8_t vlan_mode;                /* enum uvb_vlan_mode */
	uint8_t vlan_pcp;                 /* priority of tags put on untagged frames, 0..7 */
	uint16_t vlan;                    /* access: its VLAN; trunk: the native one, 0: none */
	uint32_t vlan_allowed[4096 / 32]; /* trunk: bit vlan % 32 of word vlan / 32 */
	uint32_t storm[UVB_STORM_MAX];    /* frames per second, 0: no limit */
	uint16_t weight;                  /* share of a receive queue, 1..UVB_WEIGHT_MAX; 0 is 1 */
	uint16_t isolation; /* ports of one group do not see each other; 0: no group */
	uint16_t mirror_tx; /* 1 + port that gets a copy of what this one sends */
	uint16_t mirror_rx; /* 1 + port that gets a copy of what is delivered to this one */
	uint16_t adapter;   /* 1 + number of the adapter it is a function of */
	uint16_t function;  /* 0: PF; n: VF n - 1 */
	uint8_t mac[6];
	uint8_t vf_state; /* enum uvb_vf_state */
	uint8_t pad[9];
	uint64_t rate_max; /* of what it sends, bit/s on the wire; 0: no limit */
	uint64_t rate_min; /* of this, always a part of the uplink */
	uint64_t uplink;   /* of its adapter, bit/s each way; 0: no limit */
};

/* Limits are GCRA (ITU-T I.371): a word is the time (ns of the fabric's clock) by which all that
 * was let through would have gone at exactly the rate. */
struct uvb_policy_shm {
	alignas(UVB_CACHE_LINE) _Atomic uint32_t seq;
	uint32_t pad;
	struct uvb_policy copy[2];
	/* Writers: the senders of this port. */
	alignas(UVB_CACHE_LINE) _Atomic uint64_t storm[UVB_STORM_MAX];
	_Atomic uint64_t rate[2]; /* max, min */
};

enum uvb_uplink_way { UVB_UPLINK_OUT, UVB_UPLINK_IN };

/* An adapter: a PF and its VFs, which share an uplink. Writer but for uplink[]: the daemon, and
 * nobody reads it but the daemon and who looks: its functions' policies say it all. */
struct uvb_adapter_shm {
	alignas(UVB_CACHE_LINE) char name[UVB_NAME_LEN]; /* empty: none */
	_Atomic uint32_t nb_vfs;
	_Atomic uint32_t link_down; /* of the uplink */
	_Atomic uint64_t rate;      /* of the uplink, bit/s each way; 0: no limit */
	/* Writers: senders of its functions (out), senders to them (in). */
	alignas(UVB_CACHE_LINE) _Atomic uint64_t uplink[2]; /* enum uvb_uplink_way */
};

/* -------------------------------------------------------------------------------------- clock
 *
 * hdr.clock_ns, when it is not 0, is the time: it stands still until it is moved. The daemon moves
 * it when told to; and as long as it is below hdr.clock_until anybody may, with one
 * compare-and-swap, to the earliest moment at which somebody has something to do, once nobody has
 * anything to do now. Then whoever is due is rung. Who moves it may die before it rings: the
 * daemon's tick rings those that are due and still asleep.
 *
 * A receive queue whose owner follows the clock has idle_until: UVB_BUSY while the owner runs, the
 * time until which it has nothing to do once it has armed and is about to sleep. 0: the owner does
 * not follow, and is not waited for (a test program's wire while it does not sleep, a tap).
 * A queue is busy if it follows and does not sleep (armed is even), or if it sleeps and has been,
 * or is to be, woken: a pending bit, a time that has come.
 *
 * Why no frame can be jumped over. Who moves the clock reads all queues twice and goes on only if
 * both times all were idle and armed had not changed in between. armed grows with every arm and
 * disarm, so each of them slept from its first reading to its second; there is a moment t between
 * the two rounds at which all slept. A frame sent by one that follows was sent before t: its
 * pending bit was set before the sender slept, and is there in the second round - unless its
 * receiver took it, which was before that went to sleep, so what it made of it is in its
 * idle_until. Frames that are delayed are parked by their receivers and in `due`. All stores and
 * loads of these words are sequentially consistent.
 */
#define UVB_BUSY       1ULL
#define UVB_CLOCK_FREE UINT64_MAX /* clock_until: as far as anybody has something to do */

/* ------------------------------------------------------------------------------------- faults
 *
 * What is wrong with a port's cable: rules (a classic BPF filter, skip, count, a verdict) and
 * models (rate, delay, jitter, loss, ...), each for one direction of one port: tx is the way from
 * the port into the fabric, rx from the fabric to the port. There is no agent: the sender's
 * transmit function applies them, those of its own port's tx before switching, those of the
 * destination's rx after it (tx.h).
 *
 * Definitions are written by the daemon alone: fault_seq odd, then handle = 0, the words, handle,
 * then fault_seq even (release). A handle is never used for anything else afterwards, so whoever
 * has compiled the fault of a handle need not look at its words again. Senders compare fault_seq
 * once per burst with the number of their private, checked, compiled copy; while it is odd they go
 * on with the copy they have. A daemon that dies while it is odd leaves at most one entry without a
 * handle; its successor makes the number even.
 *
 * State that frames change is, word by word, one atomic: counters and the number of a matching
 * frame by fetch_add, the rest by compare-and-swap. A sender killed in between has counted a frame
 * that nobody sees, and that is all. Chance needs no state: the n-th frame that a fault looks at
 * meets the n-th number of a stream made from seed, port and direction, whoever sends it.
 *
 * Delay costs no agent either. The cell carries deliver_at, and the voq is the delay line: the
 * receiver reads the reference as always, but keeps it in a private list until it is time, and
 * tail advances only past frames that are done. Nothing in the protocol above changes: that cells
 * between tail and head are FREE already, or taken again for another place, is what reclaim expects
 * after the death of a receiver in the middle of a burst, too. A receiver that dies loses what it
 * had parked, as its NIC would. A link can so hold back voq_depth frames for each pair of queues;
 * more are dropped there as "link_delay_full".
 */
#define UVB_FAULTS_MAX  64
#define UVB_FAULT_INSNS 480 /* instructions of a filter */
#define UVB_FAULT_TEXT  256 /* of a filter as the user gave it, with its NUL */

enum uvb_fault_kind {
	UVB_FAULT_RULE = 1,
	UVB_FAULT_MODEL = 2,
};

enum uvb_fault_dir {
	UVB_FAULT_TX = 0,
	UVB_FAULT_RX = 1,
};

/* What a rule does, and what a decision in the log was. */
enum uvb_fault_verdict {
	UVB_FAULT_DROP = 1,
	UVB_FAULT_DUPLICATE,
	UVB_FAULT_DELAY,    /* by delay_ns; frames behind it overtake it */
	UVB_FAULT_REORDER,  /* until `length` frames have overtaken it, or delay_ns passed */
	UVB_FAULT_CORRUPT,  /* one bit, behind the Ethernet header */
	UVB_FAULT_TRUNCATE, /* to `length` bytes */
	UVB_FAULT_HOLD,     /* until it is released by hand */
	UVB_FAULT_LOSS,     /* log: of a model */
	UVB_FAULT_QUEUE,    /* log: a model's queue was full */
	UVB_FAULT_VERDICTS
};

#define UVB_FAULT_REORDERS (1u << 0) /* flags: jitter may change the order */
#define UVB_FAULT_NORMAL   (1u << 1) /* flags: jitter is normally distributed, not uniformly */

/* A probability: of 2^32; UVB_CERTAIN is always. */
#define UVB_CERTAIN UINT32_MAX

/* Classic BPF, as libpcap compiles it. */
struct uvb_bpf_insn {
	uint16_t code;
	uint8_t jt, jf;
	uint32_t k;
};

struct uvb_fault_def {
	char port[UVB_NAME_LEN]; /* need not be attached */
	uint8_t kind;            /* enum uvb_fault_kind */
	uint8_t dir;             /* enum uvb_fault_dir */
	uint8_t verdict;         /* rule: enum uvb_fault_verdict, up to HOLD */
	uint8_t flags;           /* model: UVB_FAULT_* */
	uint32_t nb_insns;       /* 0: every frame */
	uint64_t skip, count;    /* rule: of the frames that match; count 0: all from then on */
	uint64_t delay_ns;       /* up to UVB_FAULT_NS_MAX */
	uint64_t jitter_ns;      /* uniform: at most so much more or less; normal: sigma */
	uint64_t rate_bps;       /* bits of frame per second; 0: as fast as they come */
	uint64_t queue_bytes;    /* that may wait for the rate; 0: any number */
	uint64_t burst_bytes;    /* that pass without waiting after a pause */
	uint64_t seed;
	uint32_t length; /* rule: see verdicts */
	uint32_t nth;    /* model: every nth frame is lost; 0: none */
	uint32_t loss;   /* probabilities */
	uint32_t duplicate;
	uint32_t corrupt;
	/* Gilbert and Elliott: good to bad, bad to good, loss while bad, loss while good. All 0:
	 * off. */
	uint32_t ge_p, ge_r, ge_bad, ge_good;
	uint32_t pad;
	char text[UVB_FAULT_TEXT];
	struct uvb_bpf_insn insn[UVB_FAULT_INSNS];
};
#define UVB_FAULT_NS_MAX 3600000000000ULL /* an hour */

struct uvb_fault_shm {
	/* Writer: the daemon. */
	alignas(UVB_CACHE_LINE) _Atomic uint32_t handle; /* 0: none here; handle % MAX: its slot */
	_Atomic uint32_t port; /* id of the port that has def.port's name, or UVB_FAULT_NO_PORT */
	_Atomic uint64_t released; /* frames let go, of those held; release */
	/* Writers: senders, one atomic operation each; relaxed. */
	alignas(UVB_CACHE_LINE) _Atomic uint64_t matched; /* frames, those skipped included */
	_Atomic uint64_t hits;                            /* of these, something was done to */
	_Atomic uint64_t held;                            /* frames held, ever */
	_Atomic uint64_t tat;     /* rate: when the line is free again, ns (GCRA) */
	_Atomic uint64_t ge;      /* frames looked at << 1 | bad */
	_Atomic uint64_t last_at; /* jitter in order: delivery of the frame before */
	_Atomic uint64_t lost;    /* of the hits: lost by chance, and */
	_Atomic uint64_t full;    /* because the queue was full */
	struct uvb_fault_def def; /* writer: the daemon */
};
#define UVB_FAULT_NO_PORT UINT32_MAX

/* deliver_at of a frame that is held: fault (24 bits of handle), and the how-manyth it holds. It is
 * released when the fault's `released` is greater, or there is no fault of that handle any more. */
#define UVB_HELD(handle, n) \
	(1ULL << 63 | ((uint64_t)(handle)&0xffffff) << 39 | ((uint64_t)(n)&0x7fffffffff))
#define UVB_HELD_IS(at)     ((at) >> 63)
#define UVB_HELD_HANDLE(at) ((uint32_t)((at) >> 39) & 0xffffff)
#define UVB_HELD_NUMBER(at) ((at)&0x7fffffffff)

/* What faults decided, on its way to the daemon, who writes RUNDIR/NAME/decisions.log. SPSC; full:
 * counted as lost. */
#define UVB_DECISIONS 4096
#define UVB_NO_TIME   UINT64_MAX
struct uvb_decision {
	uint64_t number; /* over all senders */
	uint64_t time;   /* ns since time became virtual; UVB_NO_TIME: it was real */
	uint64_t n;      /* the frame's number among those the fault matched */
	uint64_t arg;    /* ns of delay, bytes left, bit flipped, number held */
	uint32_t handle;
	uint32_t len; /* of the frame, bytes */
	uint32_t verdict;
	uint32_t pad;
};
struct uvb_decisions_shm {
	/* Writer: the sender. */
	alignas(UVB_CACHE_LINE) _Atomic uint32_t head; /* release */
	_Atomic uint64_t lost;
	/* Writer: the daemon. */
	alignas(UVB_CACHE_LINE) _Atomic uint32_t tail; /* release */
	/* Writer: the sender, before head. */
	alignas(UVB_CACHE_LINE) struct uvb_decision entry[UVB_DECISIONS];
};

/* ------------------------------------------------------------------------------------ flow rules
 *
 * What a NIC calls flow rules (DPDK's rte_flow): which frames go to which queue, are marked,
 * counted, dropped. They are the receiver's; its senders apply them, after the filters of its
 * configuration and before its RSS, while UVB_CONF_RULES is set.
 *
 * A rule stands in a slot. The owner writes it under the slot's sequence number (odd meanwhile),
 * notes the slot in the log and then raises the version. A sender that is a few versions behind
 * reads the slots in the log; one that is far behind, or new, all slots below `high`. It keeps a
 * compiled copy of each and never waits: a slot met in the middle of a change is looked at again in
 * the next burst. What is found in a slot is checked like everything another process writes; a rule
 * that makes no sense is none. The slots of an earlier owner are forgotten by the first rule of the
 * next: `high` begins at 0.
 *
 * Rules of one group are tried by priority, then by serial (age); the first that fits decides. */
#define UVB_RULE_MAX     4096 /* rules of one port */
#define UVB_RULE_LOG     1024 /* changes a sender can be behind; a power of two */
#define UVB_RULE_GROUPS  256
#define UVB_RULE_FIELDS  16
#define UVB_RULE_BYTES   128 /* of a frame that a rule can look at */
#define UVB_RULE_QUEUES  128 /* entries of an RSS action's table */
#define UVB_RULE_REACH   192 /* bytes at the start of a frame that rules see */
#define UVB_RULE_SHAPES  64  /* different sets of fields and masks among the rules of a port */
#define UVB_RULE_RANGES  256 /* rules of a port that look at ranges */
#define UVB_RULE_HASHES  16  /* different combinations of key, types and function for RSS */
#define UVB_RULE_APPLIED 16  /* rules that one frame meets, by way of PASSTHRU and JUMP */

/* What a frame has, as far as its first bytes show; bits of uvb_rule.layers. A layer above L2
 * counts if its fixed header is there in full, one of L4 if the packet is no fragment. */
#define UVB_LAYER_VLAN       (1u << 0) /* a tag */
#define UVB_LAYER_VLAN2      (1u << 1) /* two */
#define UVB_LAYER_VLAN3      (1u << 2) /* more: nothing behind them is looked at */
#define UVB_LAYER_IPV4       (1u << 3)
#define UVB_LAYER_IPV6       (1u << 4)
#define UVB_LAYER_TCP        (1u << 5)
#define UVB_LAYER_UDP        (1u << 6)
#define UVB_LAYER_SCTP       (1u << 7)
#define UVB_LAYER_ICMP       (1u << 8)
#define UVB_LAYER_ICMP6      (1u << 9)
#define UVB_LAYER_IP6_HOP    (1u << 10) /* IPv6 extension headers */
#define UVB_LAYER_IP6_ROUTE  (1u << 11)
#define UVB_LAYER_IP6_FRAG   (1u << 12)
#define UVB_LAYER_IP6_AUTH   (1u << 13)
#define UVB_LAYER_IP6_ESP    (1u << 14)
#define UVB_LAYER_IP6_DEST   (1u << 15)
#define UVB_LAYER_IP6_MOBILE (1u << 16)
#define UVB_LAYER_IP6_HIP    (1u << 17)
#define UVB_LAYER_IP6_SHIM6  (1u << 18)
#define UVB_LAYER_KNOWN      0x7ffffu

enum uvb_anchor {
	UVB_AT_FRAME,   /* its first byte */
	UVB_AT_L3,      /* of an IPv4 or IPv6 header */
	UVB_AT_L4,      /* behind the IP header, its options and extension headers; no fragments */
	UVB_AT_PAYLOAD, /* behind a TCP (with options), UDP, SCTP, ICMP or ICMPv6 header */
	UVB_AT_MAX
};

/* (byte & mask) of each byte is value's, or the bytes, masked, are a number between value and
 * last, both included. Value and last are masked already. A frame that is too short does not fit.
 */
enum uvb_compare { UVB_EQUAL, UVB_RANGE };

struct uvb_rule_field {
	uint8_t anchor;  /* enum uvb_anchor */
	uint8_t compare; /* enum uvb_compare */
	int16_t off;     /* from the anchor */
	uint8_t at;      /* of its bytes in value, mask and last */
	uint8_t len;
	uint8_t pad[2];
};

enum uvb_rule_fate {
	UVB_FATE_NONE, /* no rule */
	UVB_FATE_DROP,
	UVB_FATE_QUEUE, /* to queue[0] */
	UVB_FATE_RSS,   /* to queue[hash % nb_queue], queue[0] if it has no hash */
	UVB_FATE_JUMP,  /* go on with the rules of group jump */
	UVB_FATE_PASS,  /* go on with the rules that come after this one */
	UVB_FATE_MAX
};

#define UVB_RULE_COUNT (1u << 0) /* count[] of its slot */
#define UVB_RULE_FLAG  (1u << 1)
#define UVB_RULE_MARK  (1u << 2)
#define UVB_RULE_XOR   (1u << 3) /* the hash is the exclusive or of the input's 32-bit words */
#define UVB_RULE_FLAGS 0xfu

struct uvb_rule {
	uint32_t group;
	uint32_t priority; /* lower numbers first */
	uint32_t serial;   /* then the older one */
	uint32_t layers;   /* the bits in layers_mask that a frame must have, or must not */
	uint32_t layers_mask;
	uint32_t flags; /* UVB_RULE_* */
	uint32_t mark;
	uint32_t jump; /* a group with a higher number */
	uint32_t rss_types;
	uint8_t fate; /* enum uvb_rule_fate */
	uint8_t nb_field;
	uint8_t nb_queue;
	uint8_t key_len; /* of an RSS key, bytes */
	struct uvb_rule_field field[UVB_RULE_FIELDS];
	uint8_t value[UVB_RULE_BYTES];
	uint8_t mask[UVB_RULE_BYTES];
	uint8_t last[UVB_RULE_BYTES];
	uint8_t queue[UVB_RULE_QUEUES];
	uint8_t key[UVB_KEY_MAX];
};

struct uvb_rule_slot {
	_Atomic uint32_t seq;
	struct uvb_rule rule;
};

struct uvb_rule_count {
	_Atomic uint64_t frames;
	_Atomic uint64_t bytes;
};

struct uvb_rules_shm {
	/* Writer: the owner. */
	alignas(UVB_PAGE) _Atomic uint32_t version; /* grows by one with each change */
	_Atomic uint32_t high;                      /* slots in use are below */
	_Atomic uint32_t nb_rules;
	uint32_t pad;
	_Atomic uint32_t log[UVB_RULE_LOG]; /* of version v, the slot at v % UVB_RULE_LOG */
	/* Writers: all senders, by atomic addition. Only grow. */
	alignas(UVB_CACHE_LINE) struct uvb_rule_count count[UVB_RULE_MAX];
	/* Writer: the owner. */
	alignas(UVB_CACHE_LINE) struct uvb_rule_slot slot[UVB_RULE_MAX];
};

/* -------------------------------------------------------------------------------- directory
 * RUNDIR/NAME/ (RUNDIR: $UVNET_RUNDIR, else /dev/shm/uvnet-UID; a tmpfs, so that the segment
 * outlives a crash of the daemon, which then adopts it):
 *   segment          the memory described here, mode 0600
 *   control          AF_UNIX SEQPACKET socket of the daemon (control.h)
 *   bell.PORT.RXQ    FIFO; one byte wakes the receiver of that queue, any number means one
 *   log              what the daemon has to say
 *   decisions.log    what faults decided, a JSON object a line (docs/uvbridge.md)
 */

#endif /* UVBRIDGE_ABI_H */
