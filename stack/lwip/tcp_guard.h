/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What keeps an instance of lwIP standing when its peers are many or hostile: listeners found by
 * port, separate counts of half-open and of waiting connections, SYN cookies, limits and their
 * counters. Part of struct uvl; everything is under the instance, like all of lwIP.
 *
 * A listener's connections
 *
 *   SYN -> half_open -> (handshake complete) -> accepts_pending -> accept()
 *
 * half_open counts PCBs in SYN_RCVD; when there are `backlog` of them, or limits.half_open in the
 * instance, a SYN is answered by a cookie: a sequence number that says what its ACK must say, and
 * nothing is kept. accepts_pending counts connections that nobody has accepted; when there are
 * `backlog` of them, SYNs are dropped, and an ACK that would complete a handshake is ignored: the
 * SYN-ACK is sent again later. All PCBs of both counts are in the listener's list `waiting`, so
 * that closing it finds them without a walk along all connections.
 *
 * The cookie (32 bits): a keyed hash of the four-tuple, plus the peer's first sequence number, plus
 * five bits of a minute counter, three of the segment size and 24 of a keyed hash of all of these.
 * Accepted for two to three minutes, and only if cookies were sent lately.
 *
 * RFC 5961: a segment that might be a blind attack is answered by an acknowledgment that its peer,
 * if there is one, corrects: at most one per connection and half second, and in the instance a
 * number per second that is drawn anew each second, so that nobody can count what is left of it.
 */
#ifndef UVL_TCP_GUARD_H
#define UVL_TCP_GUARD_H

#include <stdbool.h>
#include <stdint.h>

#include "lwip/ip_addr.h"

struct netif;
struct tcp_pcb;
struct tcp_seg;
struct tcp_pcb_listen;

#define UVL_LISTEN_HASH 256

/* Any time, under the instance. 0: no limit, unless said otherwise. */
struct uvl_limits {
	uint32_t pcbs;          /* TCP connections of any state; TIME_WAIT makes room */
	uint32_t half_open;     /* in SYN_RCVD; more get cookies */
	uint32_t time_wait;     /* the oldest goes */
	uint8_t synack_retries; /* 0: as lwIP, by time */
};

/* Grow only. */
struct uvl_guard_stats {
	uint64_t cookies_sent, cookies_accepted, cookies_refused;
	uint64_t accept_queue_full;               /* SYNs and handshakes that found no room */
	uint64_t pcbs_full;                       /* connections refused by limits.pcbs */
	uint64_t time_wait_full;                  /* cut short by limits.time_wait or limits.pcbs */
	uint64_t ooseq_dropped;                   /* connections whose out-of-order data went */
	uint64_t challenges, challenges_left_out; /* RFC 5961 */
	uint64_t timer_visits;                    /* connections that timers looked at */
};

struct uvl_guard {
	struct tcp_pcb_listen *listeners[UVL_LISTEN_HASH]; /* by port */
	struct tcp_pcb *tw_oldest;                         /* the end of lwIP's list */
	uint32_t pcbs, half_open, time_wait;
	uint32_t cookie_sent_at; /* sys_now() */
	bool cookies;            /* cookie_sent_at means something */
	uint32_t challenge_second, challenges_left;
	bool no_ooseq; /* receive buffers are short: out-of-order data is not kept */
	struct uvl_limits limits;
	struct uvl_guard_stats stats;
};

/* Drop all out-of-order data: its senders have it still. A walk along all connections. */
void uvl_ooseq_drop(void);

/* ---- called by lwIP: see rules/72-tcp-listen.toml, 74-tcp-blind.toml and 76-tcp-limits.toml
 * ----------------------
 */

void uvl_listen_reg(struct tcp_pcb_listen *l);
void uvl_listen_rmv(struct tcp_pcb_listen *l);
struct tcp_pcb_listen **uvl_listen_slot(uint16_t port);
/* The best listener for a segment to this address and port: the address itself before any. */
struct tcp_pcb_listen *uvl_listen_find(const ip_addr_t *to, uint16_t port,
				       const struct netif *netif);

/* Of a connection in SYN_RCVD. */
enum uvl_defer {
	UVL_DEFER_MAY,   /* nothing was heard but the SYN */
	UVL_DEFER_ACKED, /* the handshake is complete, the listener wants data */
	UVL_DEFER_NEVER, /* made from a cookie: there is no timer to wait with */
};

enum uvl_syn { UVL_SYN_DROP, UVL_SYN_QUEUE, UVL_SYN_COOKIE };
/* What to do with the SYN at hand. */
enum uvl_syn uvl_listen_syn(const struct tcp_pcb_listen *l);
/* pcb is in SYN_RCVD, of l. */
void uvl_listen_half_open(struct tcp_pcb_listen *l, struct tcp_pcb *pcb);
/* The ACK at hand would complete pcb's handshake: may it? */
bool uvl_listen_may_open(struct tcp_pcb *pcb);
/* pcb counts no longer, for whatever reason; idempotent. */
void uvl_listen_leave(struct tcp_pcb *pcb);
/* The handshake is complete, the application has not accepted yet. */
void uvl_listen_wait(struct tcp_pcb *pcb);
/* The application knows of it: unless it waits, it counts no longer. */
void uvl_listen_opened(struct tcp_pcb *pcb);
/* The listener goes: its connections have none any more. */
void uvl_listen_closed(struct tcp_pcb_listen *l);

/* TCP_DEFER_ACCEPT: the ACK at hand brings no data and does not count yet. */
bool uvl_tcp_defers(struct tcp_pcb *pcb);

/* TCP_CORK, MSG_MORE: before something is written: shall the last segment wait to be full? */
#define UVL_TCP_HOLD_TICKS (200 / TCP_SLOW_INTERVAL) /* no longer, as Linux */
void uvl_tcp_hold(struct tcp_pcb *pcb, bool on);
/* tcp_output(), of a connection that is held: is this the segment, and is it still early? */
bool uvl_tcp_holds_back(const struct tcp_pcb *pcb, const struct tcp_seg *seg);
/* Nagle: is a segment that was not full still unacknowledged? The segment is sent now. */
bool uvl_tcp_small_out(struct tcp_pcb *pcb);
void uvl_tcp_note_small(struct tcp_pcb *pcb, const struct tcp_seg *seg);
/* ... and the SYN-ACK's timer has run out: wait on? */
bool uvl_tcp_holds_synack(struct tcp_pcb *pcb);

/* Answer the SYN at hand by a cookie and free pcb, which has been set up from that SYN but not
 * registered. */
void uvl_cookie_reply(struct tcp_pcb *pcb);
/* The segment at hand is for a listener. False: its ACK is of no cookie. Else *pcb is a PCB in
 * SYN_RCVD, registered, that can go on with that segment; or NULL: there is no room, drop it. */
bool uvl_cookie_open(struct tcp_pcb_listen *l, struct tcp_pcb **pcb);

/* Acknowledge soon, within the limits. */
void uvl_tcp_challenge(struct tcp_pcb *pcb);
/* The segment at hand is of no connection, or of none that is open: RFC 9293's reset. pcb: whose
 * options and route it takes, or NULL. */
void uvl_tcp_refuse(const struct tcp_pcb *pcb);
/* May the segment at hand be the peer's? Challenges it if not. */
bool uvl_tcp_plausible(struct tcp_pcb *pcb);

/* TCP_SYNCNT */
uint8_t uvl_tcp_syn_retries(const struct tcp_pcb *pcb);
/* TCP_USER_TIMEOUT: looked at in every tick while something is under way. */
bool uvl_tcp_user_gives_up(struct tcp_pcb *pcb);
/* How long after keep_idle keepalive gives up, ms. */
uint32_t uvl_tcp_keep_duration(const struct tcp_pcb *pcb, uint32_t by_count, uint32_t interval);

/* Is the retransmission timer's event that pcb gives up? */
bool uvl_tcp_gives_up(const struct tcp_pcb *pcb);

/* pbufs of out-of-order data that a connection may keep. */
uint16_t uvl_ooseq_limit(uint16_t most);

/* Room for another PCB: at the limit, the oldest one in TIME_WAIT goes. */
bool uvl_pcb_room(void);
void uvl_pcb_made(void);
void uvl_pcb_freed(void);
void uvl_time_wait_reg(struct tcp_pcb *pcb);
void uvl_time_wait_rmv(struct tcp_pcb *pcb);
void uvl_time_wait_again(struct tcp_pcb *pcb);
/* Twice a second: those whose time is over. */
void uvl_time_wait_expire(void);

#endif /* UVL_TCP_GUARD_H */
