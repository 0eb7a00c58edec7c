/* SPDX-License-Identifier: BSD-3-Clause */
/* Listeners: found by port, with two counts, answering by cookies when the first one is full. */
#include "uvl.h"

#include <string.h>

#include "lwip/tcp.h"

#include "siphash.h"

static struct uvl_guard *
guard(void)
{
	return &uvl_self->guard;
}

/* ---- by port ----------------------------------------------------------------------------------
 */

struct tcp_pcb_listen **
uvl_listen_slot(uint16_t port)
{
	return &guard()->listeners[port % UVL_LISTEN_HASH];
}

void
uvl_listen_reg(struct tcp_pcb_listen *l)
{
	struct tcp_pcb_listen **head = uvl_listen_slot(l->local_port);

	l->waiting = NULL;
	l->half_open = 0;
	l->defer_accept = 0;
	l->port_next = *head;
	if (l->port_next != NULL)
		l->port_next->port_prev = &l->port_next;
	l->port_prev = head;
	*head = l;
}

void
uvl_listen_rmv(struct tcp_pcb_listen *l)
{
	*l->port_prev = l->port_next;
	if (l->port_next != NULL)
		l->port_next->port_prev = l->port_prev;
}

static bool
on_netif(const struct tcp_pcb_listen *l, const struct netif *netif)
{
	return l->netif_idx == NETIF_NO_INDEX || l->netif_idx == netif_get_index(netif);
}

/* 0: not for this address; 1: any address will do; 2: this one. */
static int
fits(const struct tcp_pcb_listen *l, const ip_addr_t *to)
{
	if (IP_IS_ANY_TYPE_VAL(l->local_ip))
		return 1;
	if (!IP_ADDR_PCB_VERSION_MATCH_EXACT(l, to))
		return 0;
	if (ip_addr_cmp(&l->local_ip, to))
		return 2;
	return ip_addr_isany(&l->local_ip) ? 1 : 0;
}

struct tcp_pcb_listen *
uvl_listen_find(const ip_addr_t *to, uint16_t port, const struct netif *netif)
{
	struct tcp_pcb_listen *any = NULL;

	for (struct tcp_pcb_listen *l = *uvl_listen_slot(port); l != NULL; l = l->port_next) {
		int fit = l->local_port == port && on_netif(l, netif) ? fits(l, to) : 0;

		if (fit == 2)
			return l;
		/* as lwIP's walk: of several, the one that listened first */
		if (fit == 1)
			any = l;
	}
	return any;
}

/* ---- the two counts ---------------------------------------------------------------------------
 */

enum uvl_syn
uvl_listen_syn(const struct tcp_pcb_listen *l)
{
	struct uvl_guard *g = guard();

	if (l->accepts_pending >= l->backlog) {
		g->stats.accept_queue_full++;
		return UVL_SYN_DROP;
	}
	if (l->half_open >= l->backlog ||
	    (g->limits.half_open != 0 && g->half_open >= g->limits.half_open))
		return UVL_SYN_COOKIE;
	return UVL_SYN_QUEUE;
}

static void
join(struct tcp_pcb_listen *l, struct tcp_pcb *pcb)
{
	pcb->wait_next = l->waiting;
	if (pcb->wait_next != NULL)
		pcb->wait_next->wait_prev = &pcb->wait_next;
	pcb->wait_prev = &l->waiting;
	l->waiting = pcb;
}

void
uvl_listen_half_open(struct tcp_pcb_listen *l, struct tcp_pcb *pcb)
{
	pcb->listener = l;
	pcb->is_half_open = 1;
	l->half_open++;
	guard()->half_open++;
	join(l, pcb);
}

static bool
has_room(const struct tcp_pcb_listen *l)
{
	if (l->accepts_pending < l->backlog)
		return true;
	guard()->stats.accept_queue_full++;
	return false;
}

bool
uvl_listen_may_open(struct tcp_pcb *pcb)
{
	return pcb->listener == NULL || (!uvl_tcp_defers(pcb) && has_room(pcb->listener));
}

static void
uncount(struct tcp_pcb *pcb)
{
	if (pcb->is_half_open) {
		pcb->is_half_open = 0;
		pcb->listener->half_open--;
		guard()->half_open--;
	} else {
		pcb->listener->accepts_pending--;
	}
}

void
uvl_listen_leave(struct tcp_pcb *pcb)
{
	if (pcb->wait_prev == NULL)
		return;
	uncount(pcb);
	*pcb->wait_prev = pcb->wait_next;
	if (pcb->wait_next != NULL)
		pcb->wait_next->wait_prev = pcb->wait_prev;
	pcb->wait_prev = NULL;
	pcb->wait_next = NULL;
	pcb->listener = NULL;
}

void
uvl_listen_wait(struct tcp_pcb *pcb)
{
	struct tcp_pcb_listen *l = pcb->listener;

	if (l == NULL || !pcb->is_half_open)
		return;
	uncount(pcb);
	l->accepts_pending++;
}

void
uvl_listen_opened(struct tcp_pcb *pcb)
{
	if (pcb->is_half_open)
		uvl_listen_leave(pcb);
}

void
uvl_listen_closed(struct tcp_pcb_listen *l)
{
	while (l->waiting != NULL)
		uvl_listen_leave(l->waiting);
}

/* ---- cookies ----------------------------------------------------------------------------------
 */

#define COOKIE_PERIOD_MS 64000u
#define COOKIE_PERIODS   2u /* accepted in this period and the one before */
#define COOKIE_DOMAIN    0x434f4f4bu

#if LWIP_TCP_SACK_OUT
#define NOT_IN_COOKIE (TF_WND_SCALE | TF_SACK | TF_TIMESTAMP)
#else
#define NOT_IN_COOKIE TF_WND_SCALE
#endif

static const uint16_t cookie_mss[8] = {216, 536, 1024, 1200, 1360, 1400, 1440, 1460};

static uint64_t
keyed(const struct tcp_pcb *pcb, uint32_t peer_isn, uint32_t extra)
{
	struct {
		uint32_t local[4], remote[4];
		uint16_t local_port, remote_port;
		uint32_t peer_isn, extra, domain;
	} in = {
		.local_port = pcb->local_port,
		.remote_port = pcb->remote_port,
		.peer_isn = peer_isn,
		.extra = extra,
		.domain = COOKIE_DOMAIN,
	};

	if (IP_IS_V6_VAL(pcb->local_ip)) {
		memcpy(in.local, ip_2_ip6(&pcb->local_ip)->addr, sizeof(in.local));
		memcpy(in.remote, ip_2_ip6(&pcb->remote_ip)->addr, sizeof(in.remote));
	} else {
		in.local[0] = ip_2_ip4(&pcb->local_ip)->addr;
		in.remote[0] = ip_2_ip4(&pcb->remote_ip)->addr;
	}
	return uvl_siphash(uvl_self->secret.k0, uvl_self->secret.k1, &in, sizeof(in));
}

/* Added to the cookie's bits, so that the guessable ones among them are not seen. */
static uint32_t
cookie_base(const struct tcp_pcb *pcb, uint32_t peer_isn)
{
	return (uint32_t)(keyed(pcb, 0, 0) >> 16) + peer_isn;
}

static uint32_t
cookie_bits(const struct tcp_pcb *pcb, uint32_t peer_isn, uint32_t period, uint32_t mss)
{
	uint32_t head = (period & 31) << 3 | mss;

	return head << 24 |
	       (uint32_t)(keyed(pcb, peer_isn, period << 3 | mss | 1u << 31) & 0xffffff);
}

static uint32_t
cookie_make(const struct tcp_pcb *pcb, uint32_t peer_isn)
{
	uint32_t mss = 7;

	while (mss > 0 && cookie_mss[mss] > pcb->mss)
		mss--;
	return cookie_base(pcb, peer_isn) +
	       cookie_bits(pcb, peer_isn, sys_now() / COOKIE_PERIOD_MS, mss);
}

/* The segment size that the cookie tells; 0: it is none of ours. */
static uint16_t
cookie_check(const struct tcp_pcb *pcb, uint32_t peer_isn, uint32_t cookie)
{
	uint32_t bits = cookie - cookie_base(pcb, peer_isn), now = sys_now() / COOKIE_PERIOD_MS;
	uint32_t mss = bits >> 24 & 7;

	for (uint32_t back = 0; back < COOKIE_PERIODS; back++)
		if (cookie_bits(pcb, peer_isn, now - back, mss) == bits)
			return cookie_mss[mss];
	return 0;
}

static void
set_sequence(struct tcp_pcb *pcb, uint32_t isn, uint32_t next)
{
	pcb->snd_wl2 = isn;
	pcb->lastack = isn;
	pcb->snd_nxt = next;
	pcb->snd_lbb = next;
}

void
uvl_cookie_reply(struct tcp_pcb *pcb)
{
	struct uvl_guard *g = guard();
	uint32_t isn = cookie_make(pcb, uvl_self->tcpin_seqno_);

	/* What the cookie cannot carry must not be promised. */
	tcp_clear_flags(pcb, NOT_IN_COOKIE);
	pcb->rcv_wnd = pcb->rcv_ann_wnd = TCPWND_MIN16(TCP_WND);
	set_sequence(pcb, isn, isn);
	if (tcp_enqueue_flags(pcb, TCP_SYN | TCP_ACK) == ERR_OK)
		tcp_output(pcb);
	tcp_pcb_purge(pcb);
	tcp_free(pcb);
	g->stats.cookies_sent++;
	g->cookie_sent_at = sys_now();
	g->cookies = true;
}

/* The PCB as the SYN would have made it. */
static struct tcp_pcb *
revive(struct tcp_pcb_listen *l, uint32_t isn, uint32_t peer_isn, const struct tcp_pcb *tuple,
       uint16_t mss)
{
	const struct tcp_hdr *hdr = uvl_self->tcpin_hdr_;
	struct tcp_pcb *pcb = tcp_alloc(l->prio);

	if (pcb == NULL)
		return NULL;
	ip_addr_copy(pcb->local_ip, tuple->local_ip);
	ip_addr_copy(pcb->remote_ip, tuple->remote_ip);
	pcb->local_port = tuple->local_port;
	pcb->remote_port = tuple->remote_port;
	uvl_tcp_enter(pcb, SYN_RCVD);
	pcb->rcv_nxt = pcb->rcv_ann_right_edge = peer_isn + 1;
	set_sequence(pcb, isn, isn + 1);
	pcb->snd_wl1 = peer_isn - 1;
	pcb->snd_wnd = pcb->snd_wnd_max = hdr->wnd;
	pcb->mss = mss;
	pcb->defer = UVL_DEFER_NEVER;
	pcb->callback_arg = l->callback_arg;
	pcb->so_options = l->so_options & SOF_INHERITED;
	pcb->netif_idx = l->netif_idx;
	TCP_REG_ACTIVE(pcb);
	uvl_listen_half_open(l, pcb);
	MIB2_STATS_INC(mib2.tcppassiveopens);
	return pcb;
}

/* Long enough ago that none of them can still be good. */
static bool
all_stale(const struct uvl_guard *g)
{
	return !g->cookies || sys_now() - g->cookie_sent_at > COOKIE_PERIODS * COOKIE_PERIOD_MS;
}

bool
uvl_cookie_open(struct tcp_pcb_listen *l, struct tcp_pcb **pcb)
{
	struct uvl_guard *g = guard();
	struct tcp_pcb tuple;
	uint32_t isn = uvl_self->tcpin_ackno_ - 1, peer_isn = uvl_self->tcpin_seqno_ - 1;
	uint16_t mss;

	if ((uvl_self->tcpin_flags_ & (TCP_SYN | TCP_ACK | TCP_RST)) != TCP_ACK || all_stale(g))
		return false;
	ip_addr_copy(tuple.local_ip, *ip_current_dest_addr());
	ip_addr_copy(tuple.remote_ip, *ip_current_src_addr());
	tuple.local_port = l->local_port;
	tuple.remote_port = uvl_self->tcpin_hdr_->src;
	mss = cookie_check(&tuple, peer_isn, isn);
	if (mss == 0) {
		g->stats.cookies_refused++;
		return false;
	}
	/* The peer believes that it is connected: it will send again, and find room. */
	*pcb = has_room(l) ? revive(l, isn, peer_isn, &tuple, mss) : NULL;
	g->stats.cookies_accepted += *pcb != NULL;
	return true;
}
