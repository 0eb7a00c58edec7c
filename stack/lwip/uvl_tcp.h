/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * TCP's loss recovery and congestion control, in place of lwIP's own (UVL_TCP_RECOVERY in
 * lwipopts.h; without it lwIP is as it was, which is what its own unit tests expect).
 *
 * What it does, and where it is written down
 *  - scoreboard (tcp_score.c): RFC 6675 with RFC 2883. A segment stays in pcb->unacked, in order,
 *    until it is acknowledged cumulatively; marks on it say what is known. Sent again, it stays
 *    there as well.
 *  - detection (tcp_rack.c): RACK-TLP, RFC 8985. By time and not by counting, so that a lost
 *    retransmission and the loss of a tail are found without the retransmission timer.
 *  - reaction (tcp_recovery.c): recovery and loss states, PRR (RFC 6937), round-trip times and the
 *    retransmission time-out (RFC 6298), spurious recoveries undone by timestamps (RFC 4015), by
 *    DSACK (RFC 3708) and by what is acknowledged after a time-out (RFC 5682).
 *  - marks instead of losses (tcp_ecn.c): RFC 3168.
 *  - congestion control (tcp_cc.c): what the window does between losses, and how far it shrinks.
 * A peer without SACK is served by the same code: each duplicate acknowledgment says that some
 * segment has arrived (RFC 6582).
 *
 * The four sums: bytes sent and not acknowledged (snd_nxt - lastack), of them selectively
 * acknowledged (sacked), taken for lost (lost), and sent again since they were (retrans). Pipe,
 * what is thought to be on its way, is the first less the second less the third plus the fourth;
 * new data and retransmissions leave while it is below cwnd.
 *
 * All of it belongs to the instance, like the PCB it is part of; nothing here allocates.
 */
#ifndef UVL_TCP_H
#define UVL_TCP_H

#include <stdbool.h>
#include <stdint.h>

#include "lwip/ip_addr.h"
#include "lwip/opt.h"

#ifndef UVL_TCP_RECOVERY
#define UVL_TCP_RECOVERY 0
#endif

struct tcp_pcb;
struct tcp_seg;

/* Marks on a segment: what is known of it. */
enum {
	UVL_SEG_SACKED = 1,  /* selectively acknowledged */
	UVL_SEG_LOST = 2,    /* taken for lost */
	UVL_SEG_RETRANS = 4, /* a retransmission is on its way */
	UVL_SEG_AGAIN = 8,   /* has been sent more than once: says nothing about round-trip times */
};

enum uvl_tcp_state {
	UVL_TCP_OPEN,     /* nothing is known to be lost */
	UVL_TCP_REPAIR,   /* fast recovery: until `until` is acknowledged */
	UVL_TCP_TIMEDOUT, /* the retransmission timer has run out: likewise */
};

struct uvl_tcp_range {
	u32_t left, right; /* the sequence numbers left ... right - 1 */
};

#define UVL_TCP_SACKS 4 /* as many fit into a header */

/* struct uvl's tcp_ecn, as Linux numbers them: who uses explicit congestion notification. */
enum { UVL_ECN_NEVER, UVL_ECN_ALWAYS, UVL_ECN_IF_ASKED };

/* What a connection knows of it: rec.ecn. */
enum {
	UVL_ECN_OK = 1,       /* both ends use it */
	UVL_ECN_ASKED = 2,    /* our SYN has asked for it */
	UVL_ECN_ECHO = 4,     /* a mark has come: tell the peer until it says CWR */
	UVL_ECN_CWR = 8,      /* the window has shrunk: tell the peer */
	UVL_ECN_REDUCED = 16, /* because the peer said so: not again up to ecn_until */
	UVL_ECN_SEEN = 32,    /* a mark has come, once */
};

/* Flags of a segment without data. */
#define UVL_TCP_ACK_FLAGS(pcb) (u8_t)(TCP_ACK | ((pcb)->rec.ecn & UVL_ECN_ECHO ? TCP_ECE : 0))

struct uvl_tcp_cc;

/* A connection's share: pcb->rec. All zero is the state of a new one. Times are microseconds. */
struct uvl_tcp_rec {
	/* scoreboard */
	u32_t sacked, lost, retrans, todo; /* bytes; todo: lost and not yet sent again */
	u16_t sacked_segs;
	u8_t state;                               /* enum uvl_tcp_state */
	bool begun;                               /* until, fack and reo_round mean something */
	u32_t until;                              /* snd_nxt when the state was entered */
	u32_t fack;                               /* end of the highest segment that arrived */
	struct uvl_tcp_range seen[UVL_TCP_SACKS]; /* SACK blocks of before */
	struct tcp_seg *sack_hint;  /* in unacked, where SACK was last at work; or NULL */
	struct tcp_seg *todo_hint;  /* in unacked, nothing to do before it; or NULL */
	struct uvl_tcp_range dsack; /* to be reported to the peer; empty if equal */

	/* timestamps (milliseconds) */
	u32_t ts_offset;    /* of what we send against sys_now() */
	u32_t ts_recent_at; /* sys_now() when ts_recent was set */

	/* round-trip time */
	u32_t srtt, rttvar;           /* smoothed, and its variation; srtt 0: never measured */
	u32_t min_rtt, min_rtt_since; /* of the last ten seconds */

	/* RACK */
	u32_t rack_xmit, rack_end, rack_rtt; /* of the segment sent last among those that arrived */
	bool rack_valid;
	bool rack_again;  /* that was a retransmission */
	bool reordered;   /* segments have arrived out of order */
	u8_t reo_mult;    /* reordering window in quarters of min_rtt, less one */
	u8_t reo_persist; /* recoveries until it shrinks again */
	u32_t reo_round;  /* it grows once per round trip: this one ends here */
	/* TLP */
	bool probing, probe_again; /* a probe is out; it was a retransmission */
	u32_t probe_end;           /* acknowledged, it has been of use */
	u32_t probe_since,
		probe_answer; /* what it repeats: sent when; acknowledged how much later */
	u8_t probes_wasted;   /* in a row */
	u32_t ack_delay;      /* what the peer may wait before it acknowledges */
	u16_t probe_room;     /* bytes beyond cwnd, for a probe of new data */

	/* PRR, and taking back what was done for nothing */
	u32_t prr_delivered, prr_out;
	u32_t prior_cwnd, prior_ssthresh, undo_from;
	bool may_undo;
	s32_t undo_left;   /* retransmissions that DSACK has not shown to be needless */
	u32_t again_since; /* timestamp clock at the first retransmission of this recovery */
	bool again_timed;
	bool spurious_test; /* RFC 5682: this time-out may have been for nothing */

	/* congestion control */
	const struct uvl_tcp_cc *cc; /* NULL: the default */
	u32_t cc_data[14];           /* its own */

	/* explicit congestion notification: tcp_ecn.c */
	u32_t ecn_until;
	u8_t ecn;

	/* statistics, and what getsockopt(TCP_INFO) tells */
	u32_t delivered;            /* bytes acknowledged in any way, wrapping */
	u32_t delivered_at;         /* when that was */
	u64_t rate;                 /* of the last measurement, bytes per second */
	u32_t retrans_segs, undone; /* so many in all */

	/* fine timer: tcp_rack.c */
	struct tcp_pcb *fine_next, **fine_prev; /* in a slot, or fine_prev is NULL */
	u32_t fine_slot, fine_due;              /* ms: when it is looked at; when it is due */
	u8_t fine_what;                         /* enum uvl_tcp_fine; 0: nothing */
};

/* What the acknowledgment that is being processed says. In struct uvl: one at a time. */
struct uvl_tcp_ack {
	struct uvl_tcp_range sack[UVL_TCP_SACKS]; /* from the options of the segment */
	u8_t sacks;
	bool stamped;       /* it has a timestamp option */
	u32_t tsval, tsecr; /* tsecr by sys_now() */

	bool useless;          /* acknowledges what was never sent */
	u32_t una, pipe, fack; /* before it */
	u32_t wnd;             /* before it: acknowledged and window, which makes its edge */
	u32_t delivered;       /* bytes it reports for the first time */
	u32_t lost;            /* bytes found lost by it */
	s32_t rtt, rtt_last;   /* of the first and of the last segment it reports; -1: none */
	bool first_sendings;   /* reports something sent only once, and not yet reported by SACK */
	bool dsack;
	bool gap;                 /* data is waiting for what comes before it */
	struct uvl_tcp_range dup; /* that */
};

/* ---- called from lwIP, by the rules of 82-tcp-recovery.toml -----------------------------------*/

/* Around tcp_receive()'s processing of an acknowledgment; in between, each segment it takes off. */
void uvl_tcp_ack_begin(struct tcp_pcb *pcb, u32_t ackno);
void uvl_tcp_seg_acked(struct tcp_pcb *pcb, const struct tcp_seg *seg);
void uvl_tcp_ack_end(struct tcp_pcb *pcb, u32_t ackno, bool data);
/* The SYN was acknowledged: a clean start. */
void uvl_tcp_syn_acked(struct tcp_pcb *pcb, const struct tcp_seg *seg);
/* Timestamps: remember the peer's; is the segment from long ago; where ours begin. */
void uvl_tcp_stamp(struct tcp_pcb *pcb, u32_t seqno);
bool uvl_tcp_is_old(const struct tcp_pcb *pcb);
u32_t uvl_tcp_ts_offset(const ip_addr_t *local, const ip_addr_t *remote);
/* A segment with data has come: is it one we have? */
void uvl_tcp_duplicate(struct tcp_pcb *pcb, u32_t left, u32_t right);

/* Before anything else is sent: what is lost, as far as cwnd allows. */
void uvl_tcp_resend_lost(struct tcp_pcb *pcb);
/* Up to where cwnd allows new data, as an offset from pcb->lastack. */
u32_t uvl_tcp_window(const struct tcp_pcb *pcb);
/* A segment leaves, for the first time or again. */
void uvl_tcp_sent(struct tcp_pcb *pcb, struct tcp_seg *seg);
/* After output: see that a timer runs. */
void uvl_tcp_output_done(struct tcp_pcb *pcb);

/* The SYN at hand, of which pcb has been made, may ask for it; a segment of the peer's may be
 * marked, or tell that ours were. */
void uvl_ecn_asked(struct tcp_pcb *pcb);
void uvl_ecn_heard(struct tcp_pcb *pcb);
/* A segment leaves, again or not: sets its flags; its traffic class. */
u8_t uvl_ecn_segment(struct tcp_pcb *pcb, struct tcp_seg *seg, bool again);

/* The retransmission timer has run out. Not ERR_OK: there is nothing to send, or not now. */
s8_t uvl_tcp_timed_out(struct tcp_pcb *pcb);
/* The first segment is to go again at once. */
s8_t uvl_tcp_again(struct tcp_pcb *pcb);
/* Ticks of the slow timer until the retransmission timer runs out, without back-off. */
s16_t uvl_tcp_rto(const struct tcp_pcb *pcb);
/* The PCB leaves its list. */
void uvl_tcp_fine_cancel(struct tcp_pcb *pcb);

/* In tcp_out.c: no more than the sending. Not ERR_OK: no route, or something holds its buffer. */
s8_t uvl_tcp_xmit_again(struct tcp_pcb *pcb, struct tcp_seg *seg);

/* ---- between the files ------------------------------------------------------------------------*/

u32_t uvl_tcp_pipe(const struct tcp_pcb *pcb);
void uvl_tcp_mark_lost(struct tcp_pcb *pcb, struct tcp_seg *seg);
void uvl_tcp_sack_blocks(struct tcp_pcb *pcb, u32_t ackno);
void uvl_tcp_forget_sacks(struct tcp_pcb *pcb);
void uvl_tcp_unmark_lost(struct tcp_pcb *pcb);
/* Send a segment of unacked again, and mark it. */
s8_t uvl_tcp_send_again(struct tcp_pcb *pcb, struct tcp_seg *seg);

/* Marks what RACK takes for lost; microseconds until there may be more, or 0. */
u32_t uvl_tcp_rack_detect(struct tcp_pcb *pcb);
/* A segment has arrived: the one sent last so far? */
void uvl_tcp_rack_arrived(struct tcp_pcb *pcb, const struct tcp_seg *seg);
/* The peer has reported a duplicate: reordering is larger than thought. */
void uvl_tcp_rack_dsack(struct tcp_pcb *pcb);
/* A recovery is over. */
void uvl_tcp_rack_recovered(struct tcp_pcb *pcb);
/* An acknowledgment while a probe is out; true if the probe has repaired a loss. */
bool uvl_tcp_probe_acked(struct tcp_pcb *pcb, u32_t ackno, bool data);
/* Set the fine timer for what is needed next; detect: as uvl_tcp_rack_detect() returned. */
void uvl_tcp_fine_arm(struct tcp_pcb *pcb, u32_t detect);

/* The acknowledgment at hand says that packets were marked, and the window is to shrink for it. */
bool uvl_ecn_congested(struct tcp_pcb *pcb, u32_t ackno);

/* Something was found lost, in state open or not. */
void uvl_tcp_react(struct tcp_pcb *pcb);
void uvl_tcp_reduce(struct tcp_pcb *pcb);

/* ---- congestion control -----------------------------------------------------------------------*/

struct uvl_tcp_cc {
	char name[16]; /* as TCP_CONGESTION has it */
	/* Bytes were delivered and the window was in use. */
	void (*grow)(struct tcp_pcb *pcb, u32_t acked);
	/* The window after a loss, bytes. */
	u32_t (*shrink)(struct tcp_pcb *pcb);
	/* The reduction was for nothing. May be NULL. */
	void (*undo)(struct tcp_pcb *pcb);
};

/* By name; NULL: there is none. */
const struct uvl_tcp_cc *uvl_tcp_cc_find(const char *name);
const struct uvl_tcp_cc *uvl_tcp_cc(const struct tcp_pcb *pcb);
/* From now on; the window stays as it is. */
void uvl_tcp_cc_set(struct tcp_pcb *pcb, const struct uvl_tcp_cc *cc);

#endif /* UVL_TCP_H */
