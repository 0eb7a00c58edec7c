/* SPDX-License-Identifier: BSD-3-Clause */
/* TCP_USER_TIMEOUT, TCP_SYNCNT, TCP_DEFER_ACCEPT, TCP_CORK: what Linux does, in lwIP's ticks. */
#include "uvl.h"

#include "lwip/priv/tcp_priv.h"
#include "lwip/tcp.h"

uint8_t
uvl_tcp_syn_retries(const struct tcp_pcb *pcb)
{
	return pcb->syn_retries != 0 ? pcb->syn_retries : TCP_SYNMAXRTX;
}

/* Something was sent and is not acknowledged, or waits for a window that stays closed. */
static bool
waits(const struct tcp_pcb *pcb)
{
	return pcb->unacked != NULL || pcb->persist_backoff > 0 ||
	       (pcb->rtime >= 0 && pcb->unsent != NULL);
}

bool
uvl_tcp_user_gives_up(struct tcp_pcb *pcb)
{
	if (!waits(pcb)) {
		pcb->stalled = 0;
		return false;
	}
	if (!pcb->stalled || pcb->stalled_at != pcb->lastack) {
		pcb->stalled = 1;
		pcb->stalled_at = pcb->lastack;
		pcb->stalled_since = tcp_ticks;
		return false;
	}
	return tcp_ticks - pcb->stalled_since >= pcb->user_timeout;
}

uint32_t
uvl_tcp_keep_duration(const struct tcp_pcb *pcb, uint32_t by_count, uint32_t interval)
{
	uint32_t total = pcb->user_timeout * TCP_SLOW_INTERVAL;

	if (pcb->user_timeout == 0)
		return by_count;
	/* at least one probe has to go unanswered */
	return total > pcb->keep_idle + interval ? total - pcb->keep_idle : interval;
}

bool
uvl_tcp_defers(struct tcp_pcb *pcb)
{
	const struct tcp_pcb_listen *l = pcb->listener;

	if (l == NULL || pcb->nrtx >= l->defer_accept || pcb->defer == UVL_DEFER_NEVER ||
	    uvl_self->tcplen_ > 0)
		return false;
	pcb->defer = UVL_DEFER_ACKED;
	return true;
}

bool
uvl_tcp_holds_synack(struct tcp_pcb *pcb)
{
	const struct tcp_pcb_listen *l = pcb->listener;

	if (pcb->state != SYN_RCVD || pcb->defer != UVL_DEFER_ACKED || l == NULL ||
	    pcb->nrtx + 1 >= l->defer_accept)
		return false;
	pcb->nrtx++;
	pcb->rto = (s16_t)LWIP_MIN(pcb->rto * 2, UVL_TCP_RTO_MAX / TCP_SLOW_INTERVAL);
	uvl_tcp_rtime_start(pcb);
	return true;
}

void
uvl_tcp_hold(struct tcp_pcb *pcb, bool on)
{
	if (on && (!pcb->held || pcb->unsent == NULL)) {
		UVL_TCP_CLOCK_SYNC();
		pcb->held_since = tcp_ticks;
	}
	pcb->held = on;
}

bool
uvl_tcp_holds_back(const struct tcp_pcb *pcb, const struct tcp_seg *seg)
{
	return seg->next == NULL && seg->len < uvl_tcp_room(pcb) && !(pcb->flags & TF_FIN) &&
	       tcp_ticks - pcb->held_since < UVL_TCP_HOLD_TICKS;
}

bool
uvl_tcp_small_out(struct tcp_pcb *pcb)
{
	if (pcb->small_out && TCP_SEQ_LEQ(pcb->small_end, pcb->lastack))
		pcb->small_out = 0;
	return pcb->small_out;
}

void
uvl_tcp_note_small(struct tcp_pcb *pcb, const struct tcp_seg *seg)
{
	if (seg->len == 0 || seg->len >= uvl_tcp_room(pcb))
		return;
	pcb->small_out = 1;
	pcb->small_end = lwip_ntohl(seg->tcphdr->seqno) + seg->len;
}
