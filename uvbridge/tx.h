/* SPDX-License-Identifier: BSD-3-Clause
 *
 * uvbridge/tx.h - a transmit queue as the files that make a frame's way through the switch see it.
 *
 * tx.c has the way of a frame that nobody treats specially, from the burst to the receiver's ring.
 * Whatever a port asks for beyond that - VLANs, faults, flow rules - has a file of its own and two
 * places to hang on:
 *
 *  - special of the queue: something is asked of what its port sends. Set at the start of a burst.
 *  - special of a destination: something is asked of what that port receives. Set when the
 *    destination is looked at, once per burst.
 *
 * While both are 0 and one frame's addresses are those of the frame before, tx.c does not look at
 * either again (q->run): that is what a frame costs nobody asked anything of.
 *
 * The order in which a frame meets them:
 *   1. faults of the source port, on the way out           (the cable of the sender)
 *   2. the source port's place in the switch: who may send what, which VLAN it is in, storms
 *   3. learning and look-up, mirrors; then for each destination
 *   4. the destination port's place in the switch: may it have the frame, and with which tag
 *   5. faults of the destination port, on the way in       (the cable of the receiver)
 *   6. the receiving NIC: link, filters, flow rules, RSS
 *   7. the voq
 *
 * Everything here is private to the process and to the thread that transmits on the queue.
 */
#ifndef UVBRIDGE_TX_H
#define UVBRIDGE_TX_H

#include "uvbridge/rules.h"

#define UVB_TX_HEAD_MAX 192 /* bytes of a frame that are parsed */
#define UVB_TX_SEG_MAX \
	16 /* segments of a frame whose tag can be changed without asking for memory */
#define UVB_TX_PUBLISH_EACH 64 /* frames at most that wait, filled, for the end of a long burst */

/* What makes a destination special, or a queue. */
#define UVB_SPECIAL_VLAN_FILTER (1u << 0)
#define UVB_SPECIAL_SENT_AT     (1u << 1)
#define UVB_SPECIAL_FAULT       (1u << 2) /* of a queue, too */
#define UVB_SPECIAL_SWITCH      (1u << 8) /* and a queue: its place in the switch, tx_switch.c */
#define UVB_SPECIAL_RULES       (1u << 4)

/* To one receive queue: the sender's own idea of the voq. */
struct lane {
	struct uvb_voq_shm *voq;
	struct uvb_rxq_shm *rxq;
	uint32_t head;      /* with what is staged */
	uint32_t last;      /* reference before it */
	uint32_t published; /* as the receiver knows it */
	uint32_t tail;      /* as last read */
	uint32_t staged_bytes;
	uint64_t full_since; /* ns; a patient sender waits since then, */
	uint32_t full_tail;  /* and the receiver had come so far; 0, 0: nobody waits */
	uint64_t rang;       /* value of `armed` when the bell was last rung */
	int bell;            /* -1: not opened yet */
	uint8_t rxq_id;
};

/* To one port: its receive configuration, compiled. */
struct dest {
	uint32_t checked; /* number of the burst in which life and conf were looked at */
	uint32_t life;
	uint32_t conf_seq;
	bool up;
	bool conf_valid;
	uint32_t special;    /* not 0: frames to it take no short cut */
	uint64_t faults;     /* on the way to it: a set of q->faults */
	uint32_t policy_gen; /* of what policy is a copy */
	uint32_t flags;
	uint32_t len_max;
	uint32_t gso_max;
	uint32_t reta_mask;
	uint32_t nb_mac, nb_mc;
	uint16_t key_len; /* of what rss was compiled from */
	uint8_t key[UVB_KEY_MAX];
	uint16_t tpid[2];
	uint32_t vlan[4096 / 32];
	uint32_t sent; /* frames ever staged towards the port, modulo 2^32 */
	uint32_t done; /* of these, known to be consumed */
	struct uvb_port_shm *shm;
	struct uvb_pair_shm *pair;
	uint16_t id;
	uint8_t reta[UVB_RETA_MAX];
	bool flow_valid; /* the last flow that was hashed, see hash_plain_ipv4() */
	uint32_t flow_ports;
	uint32_t flow_hash;
	uint64_t flow_addresses;
	uint64_t mac[UVB_MAC_MAX];
	uint64_t mc[UVB_MC_MAX];
	struct uvb_policy policy;
	struct uvb_rules *rules; /* NULL: none yet */
	struct lane lane[UVB_MAX_QUEUES];
	struct uvb_rss rss;
};

/* What a frame needs whose tag is changed on its way into the cell: other segments, no other copy.
 */
struct tag_edit {
	struct uvb_frame frame;
	struct uvb_seg *seg;
	uint32_t nb_seg; /* there is room for */
	struct uvb_seg own[UVB_TX_SEG_MAX];
	uint8_t head[UVB_TX_HEAD_MAX + 4]; /* as the receiver will see it */
};

struct uvb_txq {
	struct uvb_dev *dev;
	struct uvb_cells cells;
	uint32_t cursor;    /* next cell to look at */
	uint32_t window;    /* cells of a round */
	uint32_t warm;      /* where the round began */
	uint32_t skipped;   /* cells found taken in the current block */
	uint32_t scan_left; /* cells this call may still look at in vain */
	uint32_t burst;     /* number of the current burst */
	uint32_t held;      /* cells believed in flight, over all destinations */
	uint32_t depth;     /* of a voq */
	uint32_t source;    /* bit number at the receivers */
	uint32_t now_s;
	uint32_t special;  /* not 0: frames from it take no short cut */
	uint32_t capture;  /* 1 + port, or 0 */
	uint16_t gso_size; /* of the frame that is UVB_CELL_GSO, see tx_gso.c */
	uint64_t patience_ns;
	uint64_t now_ns; /* see uvb_tx_now() */
	uint32_t now_burst;
	uint32_t fault_seq;        /* of the table that faults were copied from */
	uint64_t faults_out;       /* on the way out of the port: a set of faults */
	struct uvb_faults *faults; /* NULL: there never was one */
	uint16_t port;
	uint16_t txq;
	uint32_t nb_touched;
	uint64_t src_mac, dst_mac; /* last looked up in this burst */
	uint32_t dst_port;
	bool src_known, dst_known;
	/* Where the last frame went, while nothing but its flow can change; the addresses in it as
	 * they stand in a frame, and the longest frame that goes there in one cell. */
	struct dest *run;
	uint8_t run_addresses[12];
	uint32_t run_max;
	uint32_t run_s; /* second in which its source was last learned */
	/* What the run hangs on besides the destination's words, so that the next burst can go on
	 * with it. */
	bool run_watched;
	struct uvb_fdb_watch run_src, run_dst;
	struct uvb_fdb fdb;
	struct uvb_txq_shm *shm;
	uint64_t packets, bytes, flooded, copies; /* this queue's counters as they will be stored */
	uint32_t
		policy_gen; /* of what policy is a copy; 0: nobody has asked anything of any port */
	bool vlan_aware;
	uint32_t own_seq; /* conf_seq that own_mac is from, while sources are checked */
	uint32_t nb_own;
	uint64_t own_mac[UVB_MAC_MAX];
	struct uvb_policy policy;
	bool committed; /* frames that belong to one that was taken: no rate holds them back */
	struct tag_edit edit;
	struct lane *touched[UVB_TX_PUBLISH_EACH];
	struct dest *dest[UVB_MAX_PORTS];
};

/* Where a frame stands in a switch that is asked something. All zero to begin with. */
struct crossing {
	uint16_t vlan;       /* it is in; 0: none */
	uint16_t tci;        /* of its tag, or of the one it would get */
	bool tagged;         /* it came with an 802.1Q tag, perhaps of VLAN 0 */
	bool passed;         /* it was let through the sender's limits, and pays when it is taken */
	bool uplink_out;     /* it leaves its sender's adapter */
	uint8_t storm;       /* 1 + enum uvb_storm that it counts for */
	uint32_t uplinks_in; /* adapters it enters, a bit each */
};

/* A frame on its way through the switch. */
struct passage {
	const struct uvb_frame *frame;
	const uint8_t *head; /* its first bytes in one piece */
	uint32_t head_len;
	bool parsed;
	struct uvb_flow flow;
	uint64_t dst, src;
	struct crossing x;
	/* What became of it, for the capture port. */
	uint32_t hash;
	uint32_t mark;
	uint16_t cell_flags;
	uint16_t out_port;
	uint8_t out_rxq;
	uint8_t verdict;
	uint8_t overtake;    /* as in the cell */
	uint32_t fault;      /* handle of the last that did something to it */
	uint64_t deliver_at; /* as in the cell */
	uint8_t cap_rxq;
	uint8_t cap_verdict;
	uint8_t scratch[UVB_TX_HEAD_MAX];
};

enum outcome {
	OUT_SENT,
	OUT_DROPPED,
	OUT_NO_CELL,
};

/* ---------------------------------------------------------------------------------------- tx.c */

/* The rest of a frame's way, from step 2 and from step 6 on. */
enum outcome uvb_tx_forward(struct uvb_txq *q, struct passage *p);
enum outcome uvb_tx_deliver(struct uvb_txq *q, struct dest *d, struct passage *p);
/* Dropped, and no destination is to blame. */
enum outcome uvb_tx_drop(struct uvb_txq *q, struct passage *p, enum uvb_tx_drop why);
/* Dropped on behalf of d. */
enum outcome uvb_tx_drop_for(struct dest *d, struct passage *p, enum uvb_pair_drop why);
/* The first bytes of p->frame in one piece. */
void uvb_tx_head(struct passage *p);
/* Would a frame of so many bytes find free cells? */
bool uvb_tx_room(const struct uvb_txq *q, uint32_t len);
/* The fabric's clock as it was in this burst when somebody first asked. */
uint64_t uvb_tx_now(struct uvb_txq *q);

/* ---------------------------------------------------------------------------------- fault_tx.c */

/* The fault table has changed. */
void uvb_fault_refresh(struct uvb_txq *q);
/* Which of the faults concern frames to d. */
void uvb_fault_dest(const struct uvb_txq *q, struct dest *d);
/* Steps 1 and 5, and what follows. */
enum outcome uvb_fault_out(struct uvb_txq *q, struct passage *p);
enum outcome uvb_fault_in(struct uvb_txq *q, struct dest *d, struct passage *p);

/* ------------------------------------------------------------------------------------ tx_switch.c
 * Steps 2 and 4 for ports with a policy. */

/* hdr.policy_gen has moved: look at this port's policy again. */
void uvb_switch_refresh(struct uvb_txq *q, uint32_t gen);
/* The same for a destination. */
void uvb_switch_refresh_dest(struct uvb_txq *q, struct dest *d);
/* Of a destination's configuration, strike what its policy does not let stand. */
void uvb_switch_restrict(struct dest *d);

/* Why the port may not send the frame, or UVB_TXD_MAX. Finds its VLAN. */
enum uvb_tx_drop uvb_switch_ingress(struct uvb_txq *q, struct passage *p);
/* Has the port no rate left for the frame? Then it is not taken, before anything is decided. */
bool uvb_switch_must_wait(struct uvb_txq *q, struct passage *p);
/* The port's limits, for a frame to d, or to all (NULL): why it may not go, or UVB_TXD_MAX. */
enum uvb_tx_drop uvb_switch_limits(struct uvb_txq *q, struct passage *p, const struct dest *d);
/* It was taken: it counts for the limits that it passed. */
void uvb_switch_taken(struct uvb_txq *q, const struct passage *p);
/* Is d a port to flood the frame to? */
bool uvb_switch_member(const struct uvb_txq *q, const struct dest *d, const struct passage *p);
/* Why d may not have it, or UVB_PD_MAX. */
enum uvb_pair_drop uvb_switch_egress(struct uvb_txq *q, const struct dest *d, struct passage *p);
/* Have p->frame and p->head be as d is to see them, until the queue's next call; the caller puts
 * them back. false: no memory. */
bool uvb_switch_retag(struct uvb_txq *q, const struct dest *d, struct passage *p);
void uvb_switch_free(struct uvb_txq *q);

/* ---------------------------------------------------------------------------------- tx_gso.c */

/* Would a super-frame of `len` bytes, in segments of `seg_len`, go to one port, and that one take
 * it whole? The next burst may find otherwise: the frame is then dropped as too long. */
bool uvb_tx_whole(struct uvb_txq *q, const uint8_t *head, uint32_t len, uint32_t seg_len);

/* Has the port no rate left for the frame, of whatever length? Counts it if so. */
bool uvb_tx_must_wait(struct uvb_txq *q, const struct uvb_frame *f);

/* Are n cells free? Looks at no more cells than a burst would. */
bool uvb_tx_cells(const struct uvb_txq *q, uint32_t n);

#endif /* UVBRIDGE_TX_H */
