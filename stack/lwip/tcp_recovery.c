/* SPDX-License-Identifier: BSD-3-Clause */
/* What a connection does about losses, and what it knows of time. See uvl_tcp.h. */
#include "uvl.h"

#include <string.h>

#include "lwip/tcp.h"

#include "siphash.h"

#define MIN_RTT_LIFE 10000000u

/* ---- round-trip times -------------------------------------------------------------------------*/

/* RFC 6298 with the variation's part at least the minimum, as Linux: the floor is there for
 * acknowledgments that are delayed, whatever the round trip. */
s16_t
uvl_tcp_rto(const struct tcp_pcb *pcb)
{
	const struct uvl_tcp_rec *r = &pcb->rec;
	u32_t us = UVL_TCP_RTO_INITIAL * 1000u, ticks;

	if (r->srtt != 0)
		us = r->srtt / 8 + LWIP_MAX(r->rttvar, UVL_TCP_RTO_MIN * 1000u);
	ticks = (us + TCP_SLOW_INTERVAL * 1000u - 1) / (TCP_SLOW_INTERVAL * 1000u);
	return (s16_t)LWIP_MIN(ticks, UVL_TCP_RTO_MAX / TCP_SLOW_INTERVAL);
}

/* srtt in eighths, rttvar in quarters: as Jacobson's paper has them. */
/* It may be shorter than before. */
static void
set_rto(struct tcp_pcb *pcb)
{
	pcb->rto = uvl_tcp_rto(pcb);
	if (pcb->rtime >= 0 && (s32_t)(pcb->due_tick - pcb->rtime_at) > pcb->rto)
		uvl_tcp_due(pcb);
}

static void
rtt_sample(struct tcp_pcb *pcb, u32_t rtt)
{
	struct uvl_tcp_rec *r = &pcb->rec;
	s32_t error;

	rtt = LWIP_MAX(rtt, 1u);
	if (r->srtt == 0) {
		r->srtt = rtt * 8;
		r->rttvar = rtt * 2;
	} else {
		error = (s32_t)(rtt - r->srtt / 8);
		r->srtt = LWIP_MAX(r->srtt + (u32_t)error, 8u);
		if (error < 0)
			error = -error;
		r->rttvar = (u32_t)((s32_t)r->rttvar + error - (s32_t)(r->rttvar / 4));
	}
	set_rto(pcb);
}

static void
min_rtt_sample(struct uvl_tcp_rec *r, u32_t rtt)
{
	u32_t now = uvl_now_us();

	if (r->min_rtt == 0 || rtt <= r->min_rtt || now - r->min_rtt_since > MIN_RTT_LIFE) {
		r->min_rtt = LWIP_MAX(rtt, 1u);
		r->min_rtt_since = now;
	}
}

/* Karn: of segments sent once. By timestamp of all, as finely as the peer's answer is. */
static void
measure(struct tcp_pcb *pcb, bool advanced)
{
	const struct uvl_tcp_ack *a = &uvl_self->tcp_ack_;

	if (a->rtt >= 0) {
		rtt_sample(pcb, (u32_t)a->rtt);
		min_rtt_sample(&pcb->rec, (u32_t)a->rtt_last);
	} else if (advanced && a->stamped && a->tsecr != 0 && sys_now() - a->tsecr < 0x7fffff) {
		rtt_sample(pcb, LWIP_MAX(sys_now() - a->tsecr, 1u) * 1000);
	}
}

void
uvl_tcp_sent(struct tcp_pcb *pcb, struct tcp_seg *seg)
{
	struct uvl_tcp_rec *r = &pcb->rec;

	seg->xmit_us = (u32_t)uvl_now_us();
	if (pcb->lastack == pcb->snd_nxt)
		r->delivered_at = seg->xmit_us; /* nothing was on its way: the clock starts here */
	seg->delivered = r->delivered;
	seg->delivered_us = r->delivered_at;
	r->prr_out += TCP_TCPLEN(seg);
}

/* ---- timestamps -------------------------------------------------------------------------------*/

/* RFC 7323, 5.5: after so long without a segment, what is remembered says nothing any more. */
#define STAMP_LIFE_MS (24u * 24 * 3600 * 1000)

static bool
remembers(const struct tcp_pcb *pcb)
{
	return sys_now() - pcb->rec.ts_recent_at < STAMP_LIFE_MS;
}

void
uvl_tcp_stamp(struct tcp_pcb *pcb, u32_t seqno)
{
	u32_t tsval = uvl_self->tcp_ack_.tsval;

	/* Not before the window, which is where the blind would try. */
	if (TCP_SEQ_GT(seqno, pcb->ts_lastacksent) ||
	    TCP_SEQ_LT(seqno, pcb->ts_lastacksent - TCP_WND) ||
	    ((s32_t)(tsval - pcb->ts_recent) < 0 && remembers(pcb)))
		return;
	pcb->ts_recent = tsval;
	pcb->rec.ts_recent_at = sys_now();
}

bool
uvl_tcp_is_old(const struct tcp_pcb *pcb)
{
	const struct uvl_tcp_ack *a = &uvl_self->tcp_ack_;

	return (pcb->flags & TF_TIMESTAMP) && a->stamped && pcb->state >= ESTABLISHED &&
	       (s32_t)(a->tsval - pcb->ts_recent) < 0 && remembers(pcb);
}

/* The same for all connections to a peer: it compares those that follow one another. */
u32_t
uvl_tcp_ts_offset(const ip_addr_t *local, const ip_addr_t *remote)
{
	struct {
		u32_t local[4], remote[4], domain;
	} pair = {.domain = 0x54535031};

	if (IP_IS_V6(local)) {
		memcpy(pair.local, ip_2_ip6(local)->addr, sizeof(pair.local));
		memcpy(pair.remote, ip_2_ip6(remote)->addr, sizeof(pair.remote));
	} else {
		pair.local[0] = ip_2_ip4(local)->addr;
		pair.remote[0] = ip_2_ip4(remote)->addr;
	}
	return (u32_t)uvl_siphash(uvl_self->secret.k0, uvl_self->secret.k1, &pair, sizeof(pair));
}

/* ---- entering and leaving ---------------------------------------------------------------------*/

static void
remember(struct tcp_pcb *pcb)
{
	struct uvl_tcp_rec *r = &pcb->rec;

	r->prior_cwnd = pcb->cwnd;
	r->prior_ssthresh = pcb->ssthresh;
	r->undo_from = pcb->lastack;
	r->may_undo = true;
	r->undo_left = -1;
	r->again_timed = false;
}

/* Congestion, once per window. */
void
uvl_tcp_reduce(struct tcp_pcb *pcb)
{
	pcb->ssthresh = LWIP_MAX(uvl_tcp_cc(pcb)->shrink(pcb), 2u * pcb->mss);
}

static void
enter(struct tcp_pcb *pcb, enum uvl_tcp_state state)
{
	struct uvl_tcp_rec *r = &pcb->rec;

	r->state = (u8_t)state;
	r->until = pcb->snd_nxt;
	r->prr_delivered = r->prr_out = 0;
	r->probing = false;
	pcb->bytes_acked = 0;
}

static void
leave(struct tcp_pcb *pcb)
{
	pcb->rec.state = UVL_TCP_OPEN;
	pcb->rec.spurious_test = false;
	uvl_tcp_rack_recovered(pcb);
}

static void
undo(struct tcp_pcb *pcb)
{
	struct uvl_tcp_rec *r = &pcb->rec;
	const struct uvl_tcp_cc *cc = uvl_tcp_cc(pcb);

	pcb->cwnd = LWIP_MAX(pcb->cwnd, r->prior_cwnd);
	pcb->ssthresh = LWIP_MAX(pcb->ssthresh, r->prior_ssthresh);
	if (cc->undo != NULL)
		cc->undo(pcb);
	uvl_tcp_unmark_lost(pcb);
	r->may_undo = false;
	r->undone++;
	pcb->nrtx = 0;
	if (r->state != UVL_TCP_OPEN)
		leave(pcb);
}

/* All that was sent again was needless; or what is acknowledged was sent before it was. */
static bool
was_needless(const struct tcp_pcb *pcb, bool advanced)
{
	const struct uvl_tcp_ack *a = &uvl_self->tcp_ack_;
	const struct uvl_tcp_rec *r = &pcb->rec;

	if (!r->may_undo)
		return false;
	if (r->undo_left == 0)
		return true;
	return advanced && r->state != UVL_TCP_OPEN && a->stamped && a->tsecr != 0 &&
	       r->again_timed && (s32_t)(a->tsecr - r->again_since) < 0;
}

/* ---- the states -------------------------------------------------------------------------------*/

static void
in_repair(struct tcp_pcb *pcb, u32_t ackno, bool advanced)
{
	struct uvl_tcp_rec *r = &pcb->rec;

	if (TCP_SEQ_GEQ(ackno, r->until)) {
		pcb->cwnd = pcb->ssthresh;
		leave(pcb);
	} else if (advanced && (pcb->flags & TF_SACK) == 0 && pcb->unacked != NULL) {
		/* RFC 6582: a partial acknowledgment shows the next loss. */
		uvl_tcp_mark_lost(pcb, pcb->unacked);
	}
}

/* RFC 5682: acknowledged, and never sent again: the time-out was too early. */
static void
in_time_out(struct tcp_pcb *pcb, u32_t ackno)
{
	struct uvl_tcp_rec *r = &pcb->rec;

	if (r->spurious_test && uvl_self->tcp_ack_.first_sendings && r->may_undo)
		undo(pcb);
	else if (TCP_SEQ_GEQ(ackno, r->until))
		leave(pcb);
}

static void
dsack(struct tcp_pcb *pcb)
{
	const struct uvl_tcp_ack *a = &uvl_self->tcp_ack_;
	struct uvl_tcp_rec *r = &pcb->rec;
	s32_t segs = (s32_t)LWIP_MAX((a->dup.right - a->dup.left) / LWIP_MAX(pcb->mss, 1), 1u);

	/* Not of a probe, which is a guess. */
	if (!r->probing) {
		r->reordered = true;
		uvl_tcp_rack_dsack(pcb);
	}
	if (r->may_undo && r->undo_left > 0 && TCP_SEQ_GEQ(a->dup.left, r->undo_from))
		r->undo_left = LWIP_MAX(r->undo_left - segs, 0);
}

/* Without SACK: each duplicate stands for a segment that has arrived (and three for a loss). */
static void
count_duplicates(struct tcp_pcb *pcb, u32_t ackno, bool advanced, bool data)
{
	struct uvl_tcp_ack *a = &uvl_self->tcp_ack_;
	struct uvl_tcp_rec *r = &pcb->rec;
	u32_t acked = ackno - a->una, flight = pcb->snd_nxt - ackno;

	if (advanced) {
		u32_t others = acked > pcb->mss ? acked - pcb->mss : 0;

		r->sacked = r->state == UVL_TCP_OPEN || r->sacked < others ? 0 : r->sacked - others;
	} else if (!data && ackno == a->una && pcb->unacked != NULL &&
		   pcb->snd_wl2 + pcb->snd_wnd == a->wnd &&
		   r->sacked + r->lost + pcb->mss <= flight) {
		r->sacked += pcb->mss;
		a->delivered += pcb->mss;
		if (r->state == UVL_TCP_OPEN && r->sacked >= 3u * pcb->mss &&
		    TCP_SEQ_GEQ(ackno, r->until))
			uvl_tcp_mark_lost(pcb, pcb->unacked);
	}
}

/* PRR, RFC 6937: as much leaves as arrives, and less of it as far as the window has to shrink. */
static void
pace(struct tcp_pcb *pcb, bool advanced)
{
	const struct uvl_tcp_ack *a = &uvl_self->tcp_ack_;
	struct uvl_tcp_rec *r = &pcb->rec;
	u32_t pipe = uvl_tcp_pipe(pcb), n;

	r->prr_delivered += a->delivered;
	if (pipe > pcb->ssthresh) {
		u64_t goal = ((u64_t)pcb->ssthresh * r->prr_delivered + r->prior_cwnd - 1) /
			     LWIP_MAX(r->prior_cwnd, 1u);

		n = goal > r->prr_out ? (u32_t)goal - r->prr_out : 0;
	} else {
		n = r->prr_delivered > r->prr_out ? r->prr_delivered - r->prr_out : 0;
		n = LWIP_MAX(n, a->delivered);
		if (advanced && a->lost == 0)
			n += pcb->mss;
		n = LWIP_MIN(n, pcb->ssthresh - pipe);
	}
	if (r->prr_out == 0)
		n = LWIP_MAX(n, (u32_t)pcb->mss);
	pcb->cwnd = pipe + n;
}

void
uvl_tcp_react(struct tcp_pcb *pcb)
{
	struct uvl_tcp_rec *r = &pcb->rec;
	u32_t wait = uvl_tcp_rack_detect(pcb);

	if (r->lost > 0 && r->state == UVL_TCP_OPEN) {
		remember(pcb);
		uvl_tcp_reduce(pcb);
		enter(pcb, UVL_TCP_REPAIR);
		if (pcb->rtime >= 0)
			uvl_tcp_rtime_start(pcb);
	}
	if (r->state == UVL_TCP_REPAIR)
		pace(pcb, TCP_SEQ_GT(pcb->lastack, uvl_self->tcp_ack_.una));
	uvl_tcp_fine_arm(pcb, wait);
}

/* ---- an acknowledgment ------------------------------------------------------------------------*/

void
uvl_tcp_ack_begin(struct tcp_pcb *pcb, u32_t ackno)
{
	struct uvl_tcp_ack *a = &uvl_self->tcp_ack_;

	if (!pcb->rec.begun) {
		pcb->rec.begun = true;
		pcb->rec.fack = pcb->rec.until = pcb->rec.reo_round = pcb->lastack;
	}
	/* The first members are from the options. */
	a->wnd = pcb->snd_wnd + pcb->snd_wl2;
	a->useless =
		TCP_SEQ_GT(ackno, pcb->snd_nxt) || TCP_SEQ_LT(ackno, pcb->lastack - 0x40000000);
	a->una = pcb->lastack;
	a->pipe = uvl_tcp_pipe(pcb);
	a->fack = pcb->rec.fack;
	a->delivered = a->lost = 0;
	a->rtt = a->rtt_last = -1;
	a->first_sendings = a->dsack = false;
	if (a->sacks != 0 && !a->useless && (pcb->flags & TF_SACK))
		uvl_tcp_sack_blocks(pcb, ackno);
}

/* RFC 3168, 6.1.2: as for a loss, but nothing is to be sent again. */
static void
shrink_for_marks(struct tcp_pcb *pcb)
{
	uvl_tcp_reduce(pcb);
	pcb->cwnd = LWIP_MIN(pcb->cwnd, pcb->ssthresh);
	pcb->bytes_acked = 0;
	pcb->rec.may_undo = false;
}

/* Was the window what kept more from being on its way? Only then it may grow (RFC 7661). */
static bool
window_in_use(const struct tcp_pcb *pcb, u32_t pipe)
{
	if (pcb->cwnd < pcb->ssthresh)
		return pipe >= pcb->cwnd / 2;
	return pipe + 3u * pcb->mss >= pcb->cwnd;
}

/* The common case, nothing lost and nothing out of order, comes through here quickly. */
void
uvl_tcp_ack_end(struct tcp_pcb *pcb, u32_t ackno, bool data)
{
	struct uvl_tcp_ack *a = &uvl_self->tcp_ack_;
	struct uvl_tcp_rec *r = &pcb->rec;
	bool advanced = pcb->lastack != a->una;

	if (a->useless)
		return;
	if ((pcb->flags & TF_SACK) == 0)
		count_duplicates(pcb, ackno, advanced, data);
	if (advanced || a->delivered > 0) {
		measure(pcb, advanced);
		r->delivered += a->delivered;
		r->delivered_at = (u32_t)uvl_now_us();
	}
	if (pcb->snd_wnd == 0)
		pcb->nrtx = 0; /* it is there, it just has no room */
	if (pcb->unacked != NULL && (pcb->unacked->mark & UVL_SEG_SACKED) && advanced)
		uvl_tcp_forget_sacks(pcb);
	if (uvl_tcp_probe_acked(pcb, ackno, data)) {
		uvl_tcp_reduce(pcb);
		pcb->cwnd = LWIP_MIN(pcb->cwnd, pcb->ssthresh);
	}
	if (a->dsack)
		dsack(pcb);
	if (was_needless(pcb, advanced))
		undo(pcb);
	if (r->state == UVL_TCP_REPAIR)
		in_repair(pcb, ackno, advanced);
	else if (r->state == UVL_TCP_TIMEDOUT)
		in_time_out(pcb, ackno);
	if (uvl_ecn_congested(pcb, ackno))
		shrink_for_marks(pcb);
	else if (r->state != UVL_TCP_REPAIR && advanced && window_in_use(pcb, a->pipe))
		uvl_tcp_cc(pcb)->grow(pcb, ackno - a->una);
	uvl_tcp_react(pcb);
}

void
uvl_tcp_syn_acked(struct tcp_pcb *pcb, const struct tcp_seg *seg)
{
	struct uvl_tcp_rec *r = &pcb->rec;

	if ((seg->mark & UVL_SEG_AGAIN) == 0) {
		rtt_sample(pcb, (u32_t)uvl_now_us() - seg->xmit_us);
		min_rtt_sample(r, (u32_t)uvl_now_us() - seg->xmit_us);
	}
	r->sacked = r->lost = r->retrans = r->todo = 0;
	r->state = UVL_TCP_OPEN;
	r->may_undo = false;
	r->begun = false;
	pcb->nrtx = 0;
	set_rto(pcb);
}

void
uvl_tcp_output_done(struct tcp_pcb *pcb)
{
	/* Not of a connection that is in no list: nobody would take it out of the wheel. */
	if (pcb->rec.fine_what == 0 && pcb->unacked != NULL && pcb->hash_prev != NULL)
		uvl_tcp_fine_arm(pcb, 0);
}

/* ---- time-outs --------------------------------------------------------------------------------*/

s8_t
uvl_tcp_again(struct tcp_pcb *pcb)
{
	if (pcb->unacked == NULL || pcb->unacked->p->ref != 1)
		return ERR_VAL;
	uvl_tcp_mark_lost(pcb, pcb->unacked);
	return ERR_OK;
}

/* RFC 6298, 5.4 to 5.6, and RFC 5681, section 3.1: all that has not arrived goes again, beginning
 * with one segment. How long the next time-out is, tcp_slowtmr() says. */
s8_t
uvl_tcp_timed_out(struct tcp_pcb *pcb)
{
	struct uvl_tcp_rec *r = &pcb->rec;
	bool open = r->state == UVL_TCP_OPEN, first = open || TCP_SEQ_GEQ(pcb->lastack, r->until);

	if (pcb->unacked == NULL || pcb->unacked->p->ref != 1)
		return ERR_VAL;
	if (pcb->state != SYN_SENT && pcb->state != SYN_RCVD &&
	    (first || r->state == UVL_TCP_REPAIR)) {
		if (open)
			remember(pcb);
		uvl_tcp_reduce(pcb);
	}
	r->spurious_test = open && pcb->nrtx == 0;
	if ((pcb->unacked->mark & UVL_SEG_SACKED) || (pcb->flags & TF_SACK) == 0)
		uvl_tcp_forget_sacks(pcb);
	for (struct tcp_seg *seg = pcb->unacked; seg != NULL; seg = seg->next)
		if ((seg->mark & UVL_SEG_SACKED) == 0)
			uvl_tcp_mark_lost(pcb, seg);
	pcb->cwnd = pcb->mss;
	enter(pcb, UVL_TCP_TIMEDOUT);
	return ERR_OK;
}
