/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Faults on a frame's way through the switch: steps 1 and 5 of tx.h.
 */
#include "uvbridge/fault.h"
#include "uvbridge/tx.h"

void
uvb_fault_refresh(struct uvb_txq *q)
{
	if (q->faults == NULL)
		q->faults = uvb_faults_new(&q->dev->map,
					   uvb_map_decisions(&q->dev->map, q->port, q->txq));
	if (q->faults == NULL || !uvb_faults_load(q->faults))
		return;
	q->fault_seq = q->faults->seq;
	q->faults_out = uvb_faults_of(q->faults, q->port, UVB_FAULT_TX);
	q->special &= ~UVB_SPECIAL_FAULT;
	q->special |= q->faults_out != 0 ? UVB_SPECIAL_FAULT : 0;
}

void
uvb_fault_dest(const struct uvb_txq *q, struct dest *d)
{
	d->faults = uvb_faults_of(q->faults, d->id, UVB_FAULT_RX);
	d->special &= ~UVB_SPECIAL_FAULT;
	d->special |= d->faults != 0 ? UVB_SPECIAL_FAULT : 0;
}

static void
gather(const struct uvb_frame *f, uint8_t *to)
{
	for (uint16_t i = 0; i < f->nb_seg; to += f->seg[i].len, i++)
		memcpy(to, f->seg[i].base, f->seg[i].len);
}

/* A frame while faults look at it, and may change it. */
struct patient {
	const struct uvb_frame *before;
	struct uvb_frame *frame; /* if it is changed; good until the next one is */
	struct uvb_seg *seg;
	uint8_t *scratch;
	struct uvb_fate fate;
};

static struct patient
admit(const struct uvb_txq *q, const struct passage *p, enum uvb_fault_dir dir)
{
	return (struct patient){.before = p->frame,
				.frame = &q->faults->frame[dir],
				.seg = &q->faults->seg[dir],
				.scratch = q->faults->scratch[dir]};
}

/* The frame in one piece. */
static const uint8_t *
whole(struct patient *t)
{
	if (t->before->nb_seg == 1)
		return t->before->seg->base;
	gather(t->before, t->scratch);
	return t->scratch;
}

/* Nobody vouches for the checksums of what is changed here. They were right (abi.h), so the
 * receiver finds the damage. */
static void
change(struct patient *t, struct passage *p)
{
	gather(t->before, t->scratch);
	if (t->fate.flip != UINT32_MAX)
		t->scratch[t->fate.flip / 8] ^= (uint8_t)(1u << (t->fate.flip % 8));
	*t->seg = (struct uvb_seg){t->scratch, t->fate.len};
	*t->frame = (struct uvb_frame){t->seg, 1, t->before->flags, t->fate.len};
	t->frame->flags &= (uint16_t)~UVB_CELL_CSUM_OK;
	p->frame = t->frame;
	p->parsed = false;
	uvb_tx_head(p);
}

/* false: the frame is dropped. */
static bool
treat(struct uvb_txq *q, uint64_t set, struct patient *t, struct passage *p)
{
	uvb_faults_decide(q->faults, set, whole(t), t->before->len, uvb_tx_now(q), p->deliver_at,
			  &t->fate);
	if (t->fate.handle != 0)
		p->fault = t->fate.handle;
	if (t->fate.drop != 0)
		return false;
	p->deliver_at = t->fate.deliver_at;
	if (t->fate.overtake != 0)
		p->overtake = t->fate.overtake;
	if (t->fate.flip != UINT32_MAX || t->fate.len != t->before->len)
		change(t, p);
	return true;
}

static void
count_copy(const struct uvb_txq *q)
{
	uvb_add(&q->shm->fault_dups, 1);
}

enum outcome
uvb_fault_out(struct uvb_txq *q, struct passage *p)
{
	static const enum uvb_tx_drop why[UVB_FAULT_VERDICTS] = {
		[UVB_FAULT_DROP] = UVB_TXD_FAULT,
		[UVB_FAULT_LOSS] = UVB_TXD_LOSS,
		[UVB_FAULT_QUEUE] = UVB_TXD_QUEUE,
	};
	struct patient t = admit(q, p, UVB_FAULT_TX);
	enum outcome out;

	/* A frame that is not taken will come again; its fate is decided once. */
	if (!uvb_tx_room(q, p->frame->len))
		return OUT_NO_CELL;
	if (!treat(q, q->faults_out, &t, p)) {
		out = uvb_tx_drop(q, p, why[t.fate.drop]);
		p->verdict = UVB_V_FAULT;
		return out;
	}
	out = uvb_tx_forward(q, p);
	for (uint32_t i = 0; i < t.fate.copies; i++)
		if (uvb_tx_forward(q, p) != OUT_NO_CELL)
			count_copy(q);
	return out;
}

enum outcome
uvb_fault_in(struct uvb_txq *q, struct dest *d, struct passage *p)
{
	static const enum uvb_pair_drop why[UVB_FAULT_VERDICTS] = {
		[UVB_FAULT_DROP] = UVB_PD_FAULT,
		[UVB_FAULT_LOSS] = UVB_PD_LOSS,
		[UVB_FAULT_QUEUE] = UVB_PD_QUEUE,
	};
	struct patient t = admit(q, p, UVB_FAULT_RX);
	uint64_t deliver_at = p->deliver_at;
	uint8_t overtake = p->overtake;
	enum outcome out;

	if (!uvb_tx_room(q, p->frame->len))
		return OUT_NO_CELL;
	if (!treat(q, d->faults, &t, p)) {
		out = uvb_tx_drop_for(d, p, why[t.fate.drop]);
		p->verdict = UVB_V_FAULT;
		return out;
	}
	out = uvb_tx_deliver(q, d, p);
	for (uint32_t i = 0; i < t.fate.copies; i++)
		if (uvb_tx_deliver(q, d, p) != OUT_NO_CELL)
			count_copy(q);
	/* The next destination of a flooded frame has a cable of its own. */
	p->deliver_at = deliver_at;
	p->overtake = overtake;
	if (p->frame != t.before) {
		p->frame = t.before;
		p->parsed = false;
		uvb_tx_head(p);
	}
	return out;
}
