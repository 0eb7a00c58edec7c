/* SPDX-License-Identifier: BSD-3-Clause */
/* The scoreboard: what has become of each segment, and what is to be sent again. See uvl_tcp.h. */
#include "uvl.h"

#include <string.h>

#include "lwip/tcp.h"

static u32_t
seg_begin(const struct tcp_seg *seg)
{
	return lwip_ntohl(seg->tcphdr->seqno);
}

static u32_t
seg_len(const struct tcp_seg *seg)
{
	return TCP_TCPLEN(seg);
}

static u32_t
seg_end(const struct tcp_seg *seg)
{
	return seg_begin(seg) + seg_len(seg);
}

u32_t
uvl_tcp_pipe(const struct tcp_pcb *pcb)
{
	const struct uvl_tcp_rec *r = &pcb->rec;
	/* An acknowledgment in the middle of a segment counts it in part here and whole there. */
	s32_t pipe = (s32_t)(pcb->snd_nxt - pcb->lastack - r->sacked - r->lost + r->retrans);

	return pipe > 0 ? (u32_t)pipe : 0;
}

u32_t
uvl_tcp_window(const struct tcp_pcb *pcb)
{
	u32_t pipe = uvl_tcp_pipe(pcb), allowed = pcb->cwnd + pcb->rec.probe_room;

	return pcb->snd_nxt - pcb->lastack + (allowed > pipe ? allowed - pipe : 0);
}

/* ---- marks ------------------------------------------------------------------------------------*/

void
uvl_tcp_mark_lost(struct tcp_pcb *pcb, struct tcp_seg *seg)
{
	struct uvl_tcp_rec *r = &pcb->rec;
	u32_t len = seg_len(seg);
	bool known = (seg->mark & UVL_SEG_LOST) != 0, again = (seg->mark & UVL_SEG_RETRANS) != 0;

	if (known && !again)
		return;
	if (again)
		r->retrans -= len;
	if (!known)
		r->lost += len;
	r->todo += len;
	seg->mark = (u8_t)((seg->mark | UVL_SEG_LOST) & ~UVL_SEG_RETRANS);
	uvl_self->tcp_ack_.lost += len;
	if (r->todo_hint != NULL && TCP_SEQ_LT(seg_begin(seg), seg_begin(r->todo_hint)))
		r->todo_hint = NULL;
}

static void
mark_again(struct tcp_pcb *pcb, struct tcp_seg *seg)
{
	struct uvl_tcp_rec *r = &pcb->rec;
	u32_t len = seg_len(seg);

	if ((seg->mark & UVL_SEG_RETRANS) == 0) {
		r->retrans += len;
		if (seg->mark & UVL_SEG_LOST)
			r->todo -= len;
	}
	seg->mark |= UVL_SEG_RETRANS | UVL_SEG_AGAIN;
	r->retrans_segs++;
	if (r->may_undo)
		r->undo_left = r->undo_left < 0 ? 1 : r->undo_left + 1;
	if (!r->again_timed) {
		r->again_timed = true;
		r->again_since = sys_now();
	}
}

/* Take a segment's length out of the sums that its marks put it into. */
static void
uncount(struct uvl_tcp_rec *r, const struct tcp_seg *seg)
{
	u32_t len = seg_len(seg);

	if (seg->mark & UVL_SEG_SACKED) {
		r->sacked -= len;
		r->sacked_segs--;
	}
	if (seg->mark & UVL_SEG_LOST) {
		r->lost -= len;
		if ((seg->mark & UVL_SEG_RETRANS) == 0)
			r->todo -= len;
	}
	if (seg->mark & UVL_SEG_RETRANS)
		r->retrans -= len;
}

/* A segment is reported to have arrived, for the first time. */
static void
arrived(struct tcp_pcb *pcb, const struct tcp_seg *seg)
{
	struct uvl_tcp_ack *a = &uvl_self->tcp_ack_;
	struct uvl_tcp_rec *r = &pcb->rec;
	u32_t end = seg_end(seg), now = uvl_now_us();

	a->delivered += seg_len(seg);
	if ((seg->mark & UVL_SEG_AGAIN) == 0) {
		a->rtt_last = (s32_t)(now - seg->xmit_us);
		if (a->rtt < 0)
			a->rtt = a->rtt_last;
		a->first_sendings = true;
		if (TCP_SEQ_LT(end, a->fack))
			r->reordered = true;
	}
	if (seg->delivered_us != 0 && now != seg->delivered_us)
		r->rate = (u64_t)(r->delivered + a->delivered - seg->delivered) * 1000000 /
			  (u32_t)(now - seg->delivered_us);
	if (TCP_SEQ_GT(end, r->fack))
		r->fack = end;
	uvl_tcp_rack_arrived(pcb, seg);
}

void
uvl_tcp_seg_acked(struct tcp_pcb *pcb, const struct tcp_seg *seg)
{
	if ((seg->mark & UVL_SEG_SACKED) == 0)
		arrived(pcb, seg);
	uncount(&pcb->rec, seg);
}

void
uvl_tcp_unmark_lost(struct tcp_pcb *pcb)
{
	for (struct tcp_seg *seg = pcb->unacked; seg != NULL; seg = seg->next)
		seg->mark &= (u8_t)~UVL_SEG_LOST;
	pcb->rec.lost = pcb->rec.todo = 0;
}

/* The peer may throw away what it has only acknowledged selectively (RFC 2018, section 8). */
void
uvl_tcp_forget_sacks(struct tcp_pcb *pcb)
{
	struct uvl_tcp_rec *r = &pcb->rec;

	for (struct tcp_seg *seg = pcb->unacked; seg != NULL; seg = seg->next)
		seg->mark &= (u8_t)~UVL_SEG_SACKED;
	r->sacked = 0;
	r->sacked_segs = 0;
	memset(r->seen, 0, sizeof(r->seen));
}

/* ---- SACK -------------------------------------------------------------------------------------*/

static void
seg_sacked(struct tcp_pcb *pcb, struct tcp_seg *seg)
{
	struct uvl_tcp_rec *r = &pcb->rec;

	arrived(pcb, seg);
	uncount(r, seg);
	seg->mark = (u8_t)((seg->mark & UVL_SEG_AGAIN) | UVL_SEG_SACKED);
	r->sacked += seg_len(seg);
	r->sacked_segs++;
}

/* All segments that lie within a block. Those before `from` are marked already. */
static void
sack_range(struct tcp_pcb *pcb, struct uvl_tcp_range b, u32_t from)
{
	struct uvl_tcp_rec *r = &pcb->rec;
	struct tcp_seg *seg = pcb->unacked;

	if (r->sack_hint != NULL && TCP_SEQ_LEQ(seg_begin(r->sack_hint), from))
		seg = r->sack_hint;
	for (; seg != NULL && TCP_SEQ_LT(seg_begin(seg), b.right); seg = seg->next) {
		if ((seg->mark & UVL_SEG_SACKED) == 0 && TCP_SEQ_GEQ(seg_begin(seg), b.left) &&
		    TCP_SEQ_LEQ(seg_end(seg), b.right))
			seg_sacked(pcb, seg);
		r->sack_hint = seg;
	}
}

/* Where in a block what is new begins; its end, if nothing is. */
static u32_t
unseen_from(const struct uvl_tcp_rec *r, struct uvl_tcp_range b)
{
	for (int i = 0; i < UVL_TCP_SACKS; i++) {
		struct uvl_tcp_range s = r->seen[i];

		if (s.left != s.right && TCP_SEQ_LEQ(s.left, b.left) && TCP_SEQ_GT(s.right, b.left))
			return TCP_SEQ_GEQ(s.right, b.right) ? b.right : s.right;
	}
	return b.left;
}

static bool
makes_sense(const struct tcp_pcb *pcb, struct uvl_tcp_range b)
{
	return TCP_SEQ_LT(b.left, b.right) && TCP_SEQ_GEQ(b.left, pcb->lastack) &&
	       TCP_SEQ_LEQ(b.right, pcb->snd_nxt);
}

/* RFC 2883: the first block is below the acknowledgment, or inside the second one. */
static bool
is_dsack(const struct uvl_tcp_ack *a, u32_t ackno)
{
	return TCP_SEQ_LT(a->sack[0].left, a->sack[0].right) &&
	       (TCP_SEQ_LEQ(a->sack[0].right, ackno) ||
		(a->sacks > 1 && TCP_SEQ_GEQ(a->sack[0].left, a->sack[1].left) &&
		 TCP_SEQ_LEQ(a->sack[0].right, a->sack[1].right)));
}

void
uvl_tcp_sack_blocks(struct tcp_pcb *pcb, u32_t ackno)
{
	struct uvl_tcp_ack *a = &uvl_self->tcp_ack_;
	struct uvl_tcp_rec *r = &pcb->rec;
	int first = 0;

	if (a->sacks == 0)
		return;
	if (is_dsack(a, ackno)) {
		a->dsack = true;
		a->dup = a->sack[0];
		first = 1;
	}
	for (int i = first; i < a->sacks; i++) {
		u32_t from;

		if (!makes_sense(pcb, a->sack[i]))
			continue;
		from = unseen_from(r, a->sack[i]);
		if (from != a->sack[i].right)
			sack_range(pcb, a->sack[i], from);
	}
	memset(r->seen, 0, sizeof(r->seen));
	for (int i = first; i < a->sacks; i++)
		if (makes_sense(pcb, a->sack[i]))
			r->seen[i - first] = a->sack[i];
}

/* ---- what we have twice ------------------------------------------------------------------------
 */

void
uvl_tcp_duplicate(struct tcp_pcb *pcb, u32_t left, u32_t right)
{
	struct uvl_tcp_range *d = &pcb->rec.dsack;

	uvl_self->tcp_ack_.gap = pcb->ooseq != NULL;
	if ((pcb->flags & TF_SACK) == 0)
		return;
	if (TCP_SEQ_LT(left, pcb->rcv_nxt)) {
		*d = (struct uvl_tcp_range){left,
					    TCP_SEQ_LT(right, pcb->rcv_nxt) ? right : pcb->rcv_nxt};
		return;
	}
	for (int i = 0; i < LWIP_TCP_MAX_SACK_NUM && LWIP_TCP_SACK_VALID(pcb, i); i++)
		if (TCP_SEQ_GEQ(left, pcb->rcv_sacks[i].left) &&
		    TCP_SEQ_LEQ(right, pcb->rcv_sacks[i].right))
			*d = (struct uvl_tcp_range){left, right};
}

/* ---- sending again ----------------------------------------------------------------------------*/

s8_t
uvl_tcp_send_again(struct tcp_pcb *pcb, struct tcp_seg *seg)
{
	err_t err = uvl_tcp_xmit_again(pcb, seg);

	if (err != ERR_OK)
		return err;
	MIB2_STATS_INC(mib2.tcpretranssegs);
	uvl_on_tcp_retransmit(pcb, lwip_ntohl(seg->tcphdr->seqno), seg->len);
	mark_again(pcb, seg);
	if (seg == pcb->unacked)
		uvl_tcp_rtime_start(pcb);
	return ERR_OK;
}

static struct tcp_seg *
next_todo(struct tcp_pcb *pcb)
{
	struct uvl_tcp_rec *r = &pcb->rec;
	struct tcp_seg *seg = r->todo_hint != NULL ? r->todo_hint : pcb->unacked;

	while (seg != NULL && (seg->mark & (UVL_SEG_LOST | UVL_SEG_RETRANS)) != UVL_SEG_LOST)
		seg = seg->next;
	r->todo_hint = seg;
	return seg;
}

void
uvl_tcp_resend_lost(struct tcp_pcb *pcb)
{
	struct uvl_tcp_rec *r = &pcb->rec;

	while (r->todo > 0) {
		struct tcp_seg *seg = next_todo(pcb);
		u32_t pipe = uvl_tcp_pipe(pcb);

		if (seg == NULL || (pipe > 0 && pipe + seg_len(seg) > pcb->cwnd))
			return;
		if (uvl_tcp_send_again(pcb, seg) != ERR_OK)
			return;
	}
}
