/* SPDX-License-Identifier: BSD-3-Clause
 *
 * uveth_lro.c - large receive offload.
 *
 * A super-frame of a sender with TSO arrives whole (UVB_CELL_GSO). What was cut for the wire, or
 * never was whole, is joined here: TCP segments of one burst that follow each other become one mbuf
 * chain. Nothing is copied: the headers of all but the first are skipped over, and the checksum of
 * the whole is made of theirs. Only frames whose checksums are known to be good are joined, so the
 * application has to ask for the checksum offloads, too.
 */
#include <rte_mbuf.h>

#include "uvbridge/ports/merge.h"
#include "uveth/uveth.h"

#define FLOWS 4 /* that can be joined side by side in one burst */

struct flow {
	struct rte_mbuf *head, *tail; /* head NULL: free */
	struct uvp_merge merge;
};

static bool
checked(const struct rte_mbuf *m)
{
	uint64_t l3 = m->ol_flags & RTE_MBUF_F_RX_IP_CKSUM_MASK;

	return (m->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_GOOD &&
	       (l3 == RTE_MBUF_F_RX_IP_CKSUM_GOOD ||
		(m->packet_type & RTE_PTYPE_L3_MASK) != RTE_PTYPE_L3_IPV4);
}

static bool
parse(struct rte_mbuf *m, struct uvp_merge *merge)
{
	return m->nb_segs == 1 && (m->ol_flags & RTE_MBUF_F_RX_LRO) == 0 && checked(m) &&
	       uvp_merge_begin(merge, rte_pktmbuf_mtod(m, const uint8_t *), m->data_len);
}

/* What an mbuf says of its frame beside the bytes is the same of both. */
static bool
alike(const struct rte_mbuf *a, const struct rte_mbuf *b)
{
	return a->ol_flags == b->ol_flags && a->packet_type == b->packet_type &&
	       a->vlan_tci == b->vlan_tci && a->vlan_tci_outer == b->vlan_tci_outer;
}

static bool
join(const struct uveth_rxq *q, struct flow *f, struct rte_mbuf *m, const struct uvp_merge *next)
{
	if (!alike(f->head, m) || f->head->pkt_len + next->payload > q->lro_max ||
	    !uvp_merge_join(&f->merge, next))
		return false;
	rte_pktmbuf_adj(m, next->header_len);
	f->head->pkt_len += m->data_len;
	f->head->nb_segs++;
	f->tail->next = m;
	f->tail = m;
	return true;
}

static void
finish(struct flow *f)
{
	struct rte_mbuf *m = f->head;

	f->head = NULL;
	if (f->merge.nb_segs == 1)
		return;
	uvp_merge_finish(&f->merge);
	memcpy(rte_pktmbuf_mtod(m, uint8_t *), f->merge.header, f->merge.header_len);
	m->ol_flags |= RTE_MBUF_F_RX_LRO;
	m->tso_segsz = f->merge.seg_size;
}

static void
begin(struct flow *f, struct rte_mbuf *m, const struct uvp_merge *merge)
{
	f->merge = *merge;
	f->head = m;
	f->tail = m;
}

/* The flow that m continues takes it: true. One that it does not continue is over. */
static bool
offer(const struct uveth_rxq *q, struct flow flow[FLOWS], struct rte_mbuf *m,
      const struct uvp_merge *next)
{
	for (int i = 0; i < FLOWS; i++) {
		if (flow[i].head == NULL || !uvp_merge_same_flow(&flow[i].merge, next))
			continue;
		if (join(q, &flow[i], m, next))
			return true;
		finish(&flow[i]);
	}
	return false;
}

/* Join what can be joined of n mbufs. Returns how many are left. */
uint16_t
uveth_lro(struct uveth_rxq *q, struct rte_mbuf **pkts, uint16_t n)
{
	struct flow flow[FLOWS] = {{.head = NULL}};
	struct uvp_merge next;
	uint16_t kept = 0, turn = 0;

	for (uint16_t i = 0; i < n; i++) {
		struct rte_mbuf *m = pkts[i];

		if (parse(m, &next)) {
			if (offer(q, flow, m, &next))
				continue;
			if (flow[turn].head != NULL)
				finish(&flow[turn]);
			begin(&flow[turn], m, &next);
			turn = (turn + 1) % FLOWS;
		}
		pkts[kept++] = m;
	}
	for (int i = 0; i < FLOWS; i++)
		if (flow[i].head != NULL)
			finish(&flow[i]);
	uveth_count(&q->count->lro_joined, n - kept);
	return kept;
}
