/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sending super-frames: whole to whoever takes them whole, else cut as a network card would.
 *
 * Whole, a super-frame is one chain of cells and one reference: of all that is done for a frame,
 * but the copy, it costs both sides a fortieth. Its checksums are those of one long packet, so it
 * is right for the capture and for a receiver that sends it on. Where it would meet what works
 * frame by frame - faults, mirrors, flow rules, several receivers - it is cut first.
 */
#include <string.h>

#include "uvbridge/gso.h"
#include "uvbridge/ports/packet.h"
#include "uvbridge/tx.h"

#define CUT_EACH 16 /* segments that are made and handed over at once */

/* Where in the payload we are. */
struct payload {
	const struct uvb_seg *seg;
	uint32_t off;  /* in seg */
	uint32_t left; /* of all */
};

struct cut {
	uint16_t nb_frame, nb_seg;
	struct uvb_frame frame[CUT_EACH];
	struct uvb_seg seg[2 * CUT_EACH + UVB_GSO_SEGS];
	uint8_t header[CUT_EACH][UVB_GSO_HEADER];
};

static struct payload
payload_of(const struct uvb_frame *f, const struct uvb_gso *gso)
{
	return (struct payload){f->seg, gso->header_len, f->len - gso->header_len};
}

/* The next n bytes, appended to the segments of a frame; returns their sum. */
static uint64_t
take_payload(struct payload *p, uint32_t n, struct uvb_frame *f, struct uvb_seg *seg)
{
	uint64_t sum = 0;
	uint32_t done = 0;

	p->left -= n;
	while (done < n) {
		uint32_t k = p->seg->len - p->off;
		uint16_t part;

		if (k == 0) {
			p->seg++;
			p->off = 0;
			continue;
		}
		k = k < n - done ? k : n - done;
		seg[f->nb_seg] = (struct uvb_seg){(const uint8_t *)p->seg->base + p->off, k};
		part = uvp_fold(uvp_sum(seg[f->nb_seg++].base, k, 0));
		/* On an odd byte the halves of all words that follow change places. */
		sum += done & 1 ? __builtin_bswap16(part) : part;
		p->off += k;
		done += k;
	}
	f->len += n;
	return sum;
}

static void
cut_segment(struct cut *c, const struct uvb_frame *super, const struct uvb_gso *gso, uint32_t i,
	    struct payload *p)
{
	struct uvb_frame *f = &c->frame[c->nb_frame];
	uint8_t *header = c->header[c->nb_frame++];
	uint32_t n = p->left < gso->size ? p->left : gso->size;
	uint64_t sum;

	memcpy(header, super->seg->base, gso->header_len);
	*f = (struct uvb_frame){&c->seg[c->nb_seg], 1, UVB_CELL_CSUM_OK, gso->header_len};
	c->seg[c->nb_seg] = (struct uvb_seg){header, gso->header_len};
	sum = take_payload(p, n, f, &c->seg[c->nb_seg]);
	c->nb_seg += f->nb_seg;
	uvb_gso_header(gso, super->len, i, sum, header);
}

static void
drop_rest(struct uvb_txq *q, uint32_t n)
{
	uvb_add(&q->shm->drops[UVB_TXD_NO_CELL], n);
	q->packets += n;
	atomic_store_explicit(&q->shm->packets, q->packets, memory_order_relaxed);
}

/* One receiver taken for granted; and more cells than half of them might never be free at once. */
static bool
room_for(const struct uvb_txq *q, const struct uvb_gso *gso, uint32_t nb_segs)
{
	uint32_t seg_len = (uint32_t)gso->header_len + gso->size;
	uint32_t cells = nb_segs * ((seg_len + UVB_CELL_ROOM - 1) / UVB_CELL_ROOM);

	return uvb_tx_cells(q, cells < q->cells.nb / 2 ? cells : q->cells.nb / 2);
}

static enum uvb_gso_sent
send_cut(struct uvb_txq *q, const struct uvb_frame *f, const struct uvb_gso *gso)
{
	uint32_t n = uvb_gso_segments(gso, f->len), sent = 0;
	struct payload p = payload_of(f, gso);
	struct cut c;

	if (!room_for(q, gso, n)) {
		uvb_add(&q->shm->no_cell, 1);
		return UVB_GSO_NO_CELL;
	}
	if (uvb_tx_must_wait(q, f))
		return UVB_GSO_NO_CELL;
	q->committed = true; /* what was begun is not held back in the middle */
	while (sent < n) {
		uint32_t taken;

		c.nb_frame = 0;
		c.nb_seg = 0;
		while (c.nb_frame < CUT_EACH && sent + c.nb_frame < n)
			cut_segment(&c, f, gso, sent + c.nb_frame, &p);
		taken = uvb_tx_burst(q, c.frame, c.nb_frame);
		sent += taken;
		if (taken == c.nb_frame)
			continue;
		if (sent != 0)
			drop_rest(q, n - sent);
		break;
	}
	q->committed = false;
	return sent != 0 ? UVB_GSO_CUT : UVB_GSO_NO_CELL;
}

static enum uvb_gso_sent
send_whole(struct uvb_txq *q, const struct uvb_frame *f, const struct uvb_gso *gso)
{
	struct payload p = payload_of(f, gso);
	struct uvb_seg seg[UVB_GSO_SEGS + 1];
	uint8_t header[UVB_GSO_HEADER];
	struct uvb_frame whole = {seg, 1, UVB_CELL_CSUM_OK | UVB_CELL_GSO, gso->header_len};
	uint64_t sum;

	memcpy(header, f->seg->base, gso->header_len);
	seg[0] = (struct uvb_seg){header, gso->header_len};
	sum = take_payload(&p, p.left, &whole, seg);
	uvb_gso_header_whole(gso, f->len, sum, header);
	q->gso_size = gso->size;
	return uvb_tx_burst(q, &whole, 1) == 1 ? UVB_GSO_WHOLE : UVB_GSO_NO_CELL;
}

enum uvb_gso_sent
uvb_tx_gso(struct uvb_txq *q, const struct uvb_frame *frame, const struct uvb_gso *gso)
{
	if (!uvb_dev_up(q->dev))
		return UVB_GSO_NO_CELL;
	if (!gso->udp && uvb_gso_segments(gso, frame->len) > 1 &&
	    uvb_tx_whole(q, frame->seg->base, frame->len, (uint32_t)gso->header_len + gso->size))
		return send_whole(q, frame, gso);
	return send_cut(q, frame, gso);
}
