/* SPDX-License-Identifier: BSD-3-Clause */
/* RACK-TLP, RFC 8985: finding losses by time. See uvl_tcp.h; names in comments are the RFC's. */
#include "uvl.h"

#include "lwip/tcp.h"

/* Three segments that have overtaken others: no need to wait (RACK_detect_loss, DupThresh). */
#define DUP_THRESH 3
/* Recoveries without a DSACK after which the reordering window is small again. */
#define REO_PERSIST 16
/* What a peer may wait before it acknowledges a single segment (WCDelAckT): first guess and most.
 * A probe sent too early costs a segment. It was if first what it repeats is acknowledged, and then
 * DSACK reports it: that time, and a quarter more, is the guess from then on. (If DSACK comes with
 * the first acknowledgment, one was lost, and nothing is said about delays.) Twice in a row, that
 * is: when an answer is lost, its own probe and that of the request cross. */
#define PROBES_WASTED   2
#define ACK_DELAY_FIRST 10000u
#define ACK_DELAY_MOST  200000u

static bool
later(u32_t a, u32_t a_end, u32_t b, u32_t b_end)
{
	return (s32_t)(a - b) > 0 || (a == b && TCP_SEQ_GT(a_end, b_end));
}

static u32_t
seg_end(const struct tcp_seg *seg)
{
	return lwip_ntohl(seg->tcphdr->seqno) + TCP_TCPLEN(seg);
}

/* RACK_update() */
void
uvl_tcp_rack_arrived(struct tcp_pcb *pcb, const struct tcp_seg *seg)
{
	struct uvl_tcp_rec *r = &pcb->rec;
	u32_t rtt = (u32_t)uvl_now_us() - seg->xmit_us;

	/* Which of its sendings? Not the last one, if that is too short ago. (A timestamp would
	 * only tell of a segment that came in order.) */
	if ((seg->mark & UVL_SEG_AGAIN) != 0 && rtt < r->min_rtt)
		return;
	r->rack_rtt = rtt;
	if (r->rack_valid && !later(seg->xmit_us, seg_end(seg), r->rack_xmit, r->rack_end))
		return;
	r->rack_valid = true;
	r->rack_again = (seg->mark & UVL_SEG_AGAIN) != 0;
	r->rack_xmit = seg->xmit_us;
	r->rack_end = seg_end(seg);
}

/* RACK_update_reo_wnd() */
static u32_t
reordering_window(const struct tcp_pcb *pcb)
{
	const struct uvl_tcp_rec *r = &pcb->rec;

	if (!r->reordered && (r->state != UVL_TCP_OPEN || r->sacked_segs >= DUP_THRESH))
		return 0;
	return LWIP_MIN(r->min_rtt / 4 * (1u + r->reo_mult), r->srtt / 8);
}

void
uvl_tcp_rack_dsack(struct tcp_pcb *pcb)
{
	struct uvl_tcp_rec *r = &pcb->rec;

	r->reo_persist = REO_PERSIST;
	if (r->reo_mult > 0 && TCP_SEQ_LT(pcb->lastack, r->reo_round))
		return;
	r->reo_round = pcb->snd_nxt;
	if (r->reo_mult < UINT8_MAX)
		r->reo_mult++;
}

void
uvl_tcp_rack_recovered(struct tcp_pcb *pcb)
{
	struct uvl_tcp_rec *r = &pcb->rec;

	if (r->reo_persist > 0 && --r->reo_persist == 0)
		r->reo_mult = 0;
}

/* RACK_detect_loss(). The walk ends where all that follows was sent later, or arrived. */
u32_t
uvl_tcp_rack_detect(struct tcp_pcb *pcb)
{
	struct uvl_tcp_rec *r = &pcb->rec;
	u32_t now = uvl_now_us(), wait = 0, window = reordering_window(pcb);
	s32_t holes = (s32_t)(r->fack - pcb->lastack - r->sacked);

	if (!r->rack_valid || (pcb->flags & TF_SACK) == 0)
		return 0;
	for (struct tcp_seg *seg = pcb->unacked; seg != NULL; seg = seg->next) {
		s32_t left;

		if (holes <= 0 && !r->rack_again)
			break;
		if (seg->mark & UVL_SEG_SACKED)
			continue;
		holes -= TCP_TCPLEN(seg);
		if ((seg->mark & (UVL_SEG_LOST | UVL_SEG_RETRANS)) == UVL_SEG_LOST)
			continue;
		if (!later(r->rack_xmit, r->rack_end, seg->xmit_us, seg_end(seg))) {
			if ((seg->mark & UVL_SEG_AGAIN) == 0)
				break;
			continue;
		}
		left = (s32_t)(seg->xmit_us + r->rack_rtt + window - now);
		if (left <= 0)
			uvl_tcp_mark_lost(pcb, seg);
		else
			wait = LWIP_MAX(wait, (u32_t)left);
	}
	return wait;
}

/* ---- probes -----------------------------------------------------------------------------------*/

/* TLP_process_ack() */
bool
uvl_tcp_probe_acked(struct tcp_pcb *pcb, u32_t ackno, bool data)
{
	const struct uvl_tcp_ack *a = &uvl_self->tcp_ack_;
	struct uvl_tcp_rec *r = &pcb->rec;

	if (!r->probing) {
		if (ackno != a->una)
			r->probes_wasted = 0;
		return false;
	}
	if (TCP_SEQ_LT(ackno, r->probe_end))
		return false;
	if (!r->probe_again) {
		r->probing = false;
		return false;
	}
	if (a->dsack && TCP_SEQ_GEQ(a->dup.right, r->probe_end)) {
		r->probing = false;
		if (r->probe_answer != 0 && ++r->probes_wasted >= PROBES_WASTED) {
			r->probes_wasted = 0;
			r->ack_delay =
				LWIP_MAX(r->ack_delay, LWIP_MIN(r->probe_answer, ACK_DELAY_MOST));
		}
		return false;
	}
	if (r->probe_answer == 0 && a->una != ackno)
		r->probe_answer = ((u32_t)uvl_now_us() - r->probe_since) / 4 * 5;
	if (TCP_SEQ_GT(ackno, r->probe_end)) {
		r->probing = false;
		return true;
	}
	/* A plain duplicate: both of them have arrived. */
	if (ackno == a->una && !data && a->sacks == 0)
		r->probing = false;
	return false;
}

/* TLP_send_probe(): something new if there is, else the last segment again. */
static void
probe(struct tcp_pcb *pcb)
{
	struct uvl_tcp_rec *r = &pcb->rec;
	u32_t before = pcb->snd_nxt;
	struct tcp_seg *last = uvl_seg_last(pcb->unacked, &pcb->unacked_end);

	if (last == NULL || r->state != UVL_TCP_OPEN || r->probing)
		return;
	if (pcb->unsent != NULL) {
		r->probe_room = pcb->mss;
		tcp_output(pcb);
		r->probe_room = 0;
	}
	r->probe_again = before == pcb->snd_nxt;
	r->probe_since = last->xmit_us;
	r->probe_answer = 0;
	if (r->probe_again && uvl_tcp_send_again(pcb, last) != ERR_OK)
		return;
	r->probing = true;
	r->probe_end = pcb->snd_nxt;
	uvl_tcp_rtime_start(pcb);
}

/* PTO; 0: none is to be sent. */
static u32_t
probe_timeout(const struct tcp_pcb *pcb)
{
	const struct uvl_tcp_rec *r = &pcb->rec;
	u32_t pto = r->srtt / 8 * 2,
	      rto = (u32_t)(pcb->rto - uvl_tcp_rtime(pcb)) * TCP_SLOW_INTERVAL * 1000;

	if ((pcb->flags & TF_SACK) == 0 || r->state != UVL_TCP_OPEN || r->probing ||
	    r->sacked != 0 || r->srtt == 0 || pcb->unacked == NULL || pcb->nrtx != 0)
		return 0;
	if (pcb->unacked->next == NULL)
		pto += LWIP_MAX(r->ack_delay, ACK_DELAY_FIRST);
	return pto < rto ? LWIP_MAX(pto, 1u) : 0;
}

/* ---- the fine timer ---------------------------------------------------------------------------
 *
 * A wheel of milliseconds. Each acknowledgment moves a PCB's time, and that must cost nothing: a
 * PCB stays in its slot as long as that does not come too late, and is put where it belongs when it
 * is looked at.
 */

enum uvl_tcp_fine { NOTHING, DETECT, PROBE };

static void fine_tick(void *arg);

static void
wake_at(u32_t ms)
{
	struct uvl *self = uvl_self;
	u32_t now = sys_now();

	if (self->fine_armed_ && (s32_t)(self->fine_at_ - ms) <= 0)
		return;
	if (self->fine_armed_)
		sys_untimeout(fine_tick, NULL);
	self->fine_armed_ = true;
	self->fine_at_ = ms;
	sys_timeout((s32_t)(ms - now) > 0 ? ms - now : 0, fine_tick, NULL);
}

static void
put_in(struct tcp_pcb *pcb)
{
	struct uvl_tcp_rec *r = &pcb->rec;
	u32_t now = sys_now(), ahead = r->fine_due - now;
	struct tcp_pcb **head;

	r->fine_slot = now + LWIP_MIN(LWIP_MAX(ahead, 1u), UVL_FINE_SLOTS - 1u);
	head = &uvl_self->fine_[r->fine_slot % UVL_FINE_SLOTS];
	r->fine_next = *head;
	if (r->fine_next != NULL)
		r->fine_next->rec.fine_prev = &r->fine_next;
	r->fine_prev = head;
	*head = pcb;
	wake_at(r->fine_slot);
}

static void
take_out(struct uvl_tcp_rec *r)
{
	*r->fine_prev = r->fine_next;
	if (r->fine_next != NULL)
		r->fine_next->rec.fine_prev = r->fine_prev;
	r->fine_prev = NULL;
}

void
uvl_tcp_fine_cancel(struct tcp_pcb *pcb)
{
	pcb->rec.fine_what = NOTHING;
	if (pcb->rec.fine_prev != NULL)
		take_out(&pcb->rec);
}

/* In us from now, on the wheel's milliseconds: not before it is time. */
static void
set(struct tcp_pcb *pcb, enum uvl_tcp_fine what, u32_t us)
{
	struct uvl_tcp_rec *r = &pcb->rec;

	r->fine_what = (u8_t)what;
	r->fine_due = (u32_t)((uvl_now_us() + us + 999) / 1000);
	if (r->fine_prev != NULL && (s32_t)(r->fine_slot - r->fine_due) <= 0)
		return;
	if (r->fine_prev != NULL)
		take_out(r);
	put_in(pcb);
}

void
uvl_tcp_fine_arm(struct tcp_pcb *pcb, u32_t detect)
{
	u32_t pto;

	if (detect != 0)
		set(pcb, DETECT, detect);
	else if ((pto = probe_timeout(pcb)) != 0)
		set(pcb, PROBE, pto);
	else
		pcb->rec.fine_what = NOTHING;
}

static void
expired(struct tcp_pcb *pcb)
{
	u8_t what = pcb->rec.fine_what;

	pcb->rec.fine_what = NOTHING;
	if (what == PROBE) {
		probe(pcb);
	} else if (what == DETECT) {
		uvl_self->tcp_ack_ = (struct uvl_tcp_ack){.una = pcb->lastack};
		uvl_tcp_react(pcb);
		tcp_output(pcb);
	}
}

static void
visit(struct tcp_pcb *pcb, u32_t now)
{
	take_out(&pcb->rec);
	if (pcb->rec.fine_what == NOTHING)
		return;
	if ((s32_t)(pcb->rec.fine_due - now) > 0)
		put_in(pcb);
	else
		expired(pcb);
}

static void
fine_tick(void *arg)
{
	struct uvl *self = uvl_self;
	u32_t now = sys_now(), slot = self->fine_at_;

	(void)arg;
	self->fine_armed_ = false;
	/* More than a turn late: once around is everything. */
	if (now - slot >= UVL_FINE_SLOTS)
		slot = now - (UVL_FINE_SLOTS - 1);
	for (; (s32_t)(now - slot) >= 0; slot++) {
		struct tcp_pcb **head = &self->fine_[slot % UVL_FINE_SLOTS];

		while (*head != NULL && (s32_t)(now - (*head)->rec.fine_slot) >= 0)
			visit(*head, now);
	}
	for (u32_t i = 1; i < UVL_FINE_SLOTS; i++)
		if (self->fine_[(now + i) % UVL_FINE_SLOTS] != NULL) {
			wake_at(now + i);
			return;
		}
}
