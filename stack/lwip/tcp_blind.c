/* SPDX-License-Identifier: BSD-3-Clause */
/* RFC 5961: what a peer can say, and answers to what it may not have said. */
#include "uvl.h"

#include "lwip/tcp.h"

/* Linux' tcp_invalid_ratelimit, 500 ms. */
#define CHALLENGE_TICKS (500u / TCP_SLOW_INTERVAL)
#define SECOND_TICKS    (1000u / TCP_SLOW_INTERVAL)

static uint32_t
ticks_now(void)
{
	UVL_TCP_CLOCK_SYNC();
	return tcp_ticks;
}

/* An answer out of this second's budget, which nobody can know: a fixed one can be counted down by
 * one's own connection to learn whether another one was challenged (CVE-2016-5696). */
static bool
in_budget(struct uvl_guard *g)
{
	uint32_t second = ticks_now() / SECOND_TICKS + 1; /* 0: none yet */

	if (g->challenge_second != second) {
		g->challenge_second = second;
		g->challenges_left = 500 + uvl_rand() % 1000;
	}
	if (g->challenges_left == 0)
		return false;
	g->challenges_left--;
	return true;
}

void
uvl_tcp_challenge(struct tcp_pcb *pcb)
{
	struct uvl_guard *g = &uvl_self->guard;

	if ((pcb->challenged && ticks_now() - pcb->challenged_at < CHALLENGE_TICKS) ||
	    !in_budget(g)) {
		g->stats.challenges_left_out++;
		return;
	}
	pcb->challenged = 1;
	pcb->challenged_at = ticks_now();
	g->stats.challenges++;
	tcp_ack_now(pcb);
}

/* Somewhere in the window, or not further before it than the window is wide: an old segment that
 * comes late or again. */
static bool
near_window(const struct tcp_pcb *pcb, uint32_t seqno, uint32_t length)
{
	return TCP_SEQ_LEQ(seqno, pcb->rcv_nxt + pcb->rcv_wnd) &&
	       TCP_SEQ_GEQ(seqno + length, pcb->rcv_nxt - TCP_WND_MAX(pcb));
}

bool
uvl_tcp_plausible(struct tcp_pcb *pcb)
{
	const struct uvl *self = uvl_self;
	uint32_t ack = self->tcpin_ackno_, length = self->tcplen_;

	if (!near_window(pcb, self->tcpin_seqno_, length)) {
		/* Data is acknowledged without a limit: a peer that lost our acknowledgments must
		 * hear of it, and it does not answer them. */
		if (length > 0)
			tcp_ack_now(pcb);
		else
			uvl_tcp_challenge(pcb);
		return false;
	}
	if (!(self->tcpin_flags_ & TCP_ACK))
		return false;
	if (TCP_SEQ_LEQ(ack, pcb->snd_nxt) && TCP_SEQ_GEQ(ack, pcb->lastack - pcb->snd_wnd_max))
		return true;
	uvl_tcp_challenge(pcb);
	return false;
}

/* RFC 9293, 3.10.7.1: <SEQ=SEG.ACK><CTL=RST>, or <SEQ=0><ACK=SEG.SEQ+SEG.LEN><CTL=RST,ACK>. */
void
uvl_tcp_refuse(const struct tcp_pcb *pcb)
{
	const struct uvl *self = uvl_self;
	bool acks = self->tcpin_flags_ & TCP_ACK;

	uvl_tcp_rst(pcb, acks ? TCP_RST : TCP_RST | TCP_ACK, acks ? self->tcpin_ackno_ : 0,
		    acks ? 0 : self->tcpin_seqno_ + self->tcplen_, ip_current_dest_addr(),
		    ip_current_src_addr(), self->tcpin_hdr_->dest, self->tcpin_hdr_->src);
}
