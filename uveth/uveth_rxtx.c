/* SPDX-License-Identifier: BSD-3-Clause
 *
 * uveth_rxtx.c - the bursts.
 *
 * Both directions copy: a frame is copied once into a cell by its sender, and once out of it by its
 * receiver. No mbuf crosses, so no pool is shared between processes and none can be lost with one.
 *
 * What a burst costs here, beyond the fabric's own work (see uvb_tx_burst, uvb_rx_peek):
 *
 *  receive    per burst  one mempool get (the lcore's cache: no atomic), one peek, one done
 *             per frame  one copy (len bytes in, len bytes out: ceil(len / 64) lines read that
 *                        another core wrote, as many written), one line of the mbuf written;
 *                        no atomic, no system call
 *  transmit   per burst  one uvb_tx_burst, one mempool put
 *             per frame  one line of the mbuf read, 32 bytes of descriptor written to the stack;
 *                        the copy is the fabric's; no atomic (mbufs with a reference count above
 *                        one excepted, as in any driver)
 *             MT_LOCKFREE  per burst, if asked for: one exchange, one more release store
 *             checksum   per frame that asks for it, the payload is read once more; it is then in
 *                        the cache for the copy
 */
#include <rte_branch_prediction.h>
#include <rte_mbuf.h>
#include <rte_memcpy.h>
#include <rte_pause.h>
#include <rte_prefetch.h>

#include "uveth/uveth.h"
#include "uveth/uveth_trace.h"

/* ---------------------------------------------------------------------------------------- rx */

/* Take n mbufs, or what is left of the pool. Raw: rx_frame() sets what must be set. */
static inline uint16_t
rx_alloc(struct rte_mempool *pool, struct rte_mbuf **m, uint16_t n)
{
	uint16_t i = 0;

	if (likely(rte_mempool_get_bulk(pool, (void **)m, n) == 0))
		return n;
	while (i < n && rte_mempool_get(pool, (void **)&m[i]) == 0)
		i++;
	return i;
}

static inline void
rx_prepare(const struct uveth_rxq *q, struct rte_mbuf *m)
{
	memcpy(&m->rearm_data, &q->rearm, sizeof(q->rearm));
	m->ol_flags = 0;
	m->packet_type = 0;
	m->vlan_tci = 0;
}

/* Beyond copying. Tags go first: the rest reads the frame as the application will. */
static void
rx_extra(struct uveth_rxq *q, struct rte_mbuf *m, const struct uvb_rx_frame *f)
{
	if (q->strip)
		uveth_vlan_strip(q, m);
	if (q->inspect)
		uveth_rx_inspect(q, m, (f->flags & UVB_CELL_CSUM_OK) != 0);
	if (q->lro && (f->flags & UVB_CELL_GSO) != 0) {
		m->ol_flags |= RTE_MBUF_F_RX_LRO;
		m->tso_segsz = f->cell->gso_size;
	}
	if (q->stamp_flag != 0 || q->timesync != NULL)
		uveth_rx_time(q, m, f);
}

/* What a flow rule of ours has put on it. */
static void
rx_mark(struct rte_mbuf *m, const struct uvb_rx_frame *f)
{
	m->ol_flags |= RTE_MBUF_F_RX_FDIR;
	if ((f->flags & UVB_CELL_MARK) == 0)
		return;
	m->ol_flags |= RTE_MBUF_F_RX_FDIR_ID;
	m->hash.fdir.hi = f->cell->mark;
}

static inline void
rx_finish(struct uveth_rxq *q, struct rte_mbuf *m, const struct uvb_rx_frame *f)
{
	if ((f->flags & UVB_CELL_HASH) != 0 && (q->offloads & RTE_ETH_RX_OFFLOAD_RSS_HASH) != 0) {
		m->hash.rss = f->hash;
		m->ol_flags = RTE_MBUF_F_RX_RSS_HASH;
	}
	if (unlikely(f->flags & UVB_CELL_FLAG))
		rx_mark(m, f);
	if (unlikely(q->extra))
		rx_extra(q, m, f);
}

/* Spread a frame that exceeds one mbuf over a chain that begins with `head`. On failure the chain
 * but for its head is given back. */
static bool
rx_scatter(struct uveth_rxq *q, const struct uvb_rxq *u, struct rte_mbuf *head,
	   const struct uvb_rx_frame *f)
{
	struct rte_mbuf *m = head;
	uint32_t off = 0;

	for (;;) {
		uint32_t len = RTE_MIN(f->len - off, q->room);

		if (uvb_rx_read(u, f, off, rte_pktmbuf_mtod(m, void *), len) != len)
			break; /* its sender scribbles; counted with those that found no buffer */
		m->data_len = len;
		off += len;
		if (off == f->len) {
			head->pkt_len = off;
			return true;
		}
		m->next = rte_pktmbuf_alloc(q->pool);
		if (m->next == NULL)
			break;
		m = m->next;
		head->nb_segs++;
	}
	rte_pktmbuf_free(head->next);
	head->next = NULL;
	head->nb_segs = 1;
	uveth_count(&q->count->nombuf, 1);
	uveth_count(&q->count->nombuf_bytes, f->len);
	return false;
}

static bool
rx_long(struct uveth_rxq *q, const struct uvb_rxq *u, struct rte_mbuf *m,
	const struct uvb_rx_frame *f)
{
	if (f->len <= q->room) { /* several cells, one mbuf */
		m->data_len = uvb_rx_read(u, f, 0, rte_pktmbuf_mtod(m, void *), f->len);
		m->pkt_len = m->data_len;
		return true;
	}
	if ((q->offloads & (RTE_ETH_RX_OFFLOAD_SCATTER | RTE_ETH_RX_OFFLOAD_TCP_LRO)) != 0)
		return rx_scatter(q, u, m, f);
	uveth_count(&q->count->too_long, 1);
	uveth_count(&q->count->too_long_bytes, f->len);
	return false;
}

/* One frame into one mbuf. The bound on len is what makes the copy safe whatever the sender does to
 * the cell meanwhile: so many bytes are there behind `data`. */
static inline bool
rx_frame(struct uveth_rxq *q, const struct uvb_rxq *u, struct rte_mbuf *m,
	 const struct uvb_rx_frame *f)
{
	rx_prepare(q, m);
	if (likely(f->len <= q->room && f->len <= UVB_CELL_ROOM)) {
		rte_memcpy((char *)m->buf_addr + RTE_PKTMBUF_HEADROOM, f->data, f->len);
		m->data_len = f->len;
		m->pkt_len = f->len;
	} else if (!rx_long(q, u, m, f)) {
		return false;
	}
	rx_finish(q, m, f);
	return true;
}

/* Returns how many mbufs came of the n frames; pkts has room for n. */
static inline uint16_t
rx_chunk(struct uveth_rxq *q, struct uvb_rxq *u, struct rte_mbuf **pkts,
	 const struct uvb_rx_frame *f, uint16_t n)
{
	struct rte_mbuf *m[UVETH_CHUNK];
	uint16_t have = rx_alloc(q->pool, m, n);
	uint16_t used = 0;

	for (uint16_t i = 0; i < have; i++) {
		if (i + 1 < have) {
			rte_prefetch0(f[i + 1].data);
			rte_prefetch0(m[i + 1]);
		}
		/* A frame that is dropped leaves its mbuf to the next one. */
		if (likely(rx_frame(q, u, m[used], &f[i]))) {
			pkts[used] = m[used];
			used++;
		}
	}
	uvb_rx_done(u, n - have);
	if (unlikely(used < have))
		rte_mempool_put_bulk(q->pool, (void **)&m[used], have - used);
	if (unlikely(q->lro))
		used = uveth_lro(q, pkts, used);
	return used;
}

uint16_t
uveth_rx_burst(void *rxq, struct rte_mbuf **pkts, uint16_t n)
{
	struct uveth_rxq *q = rxq;
	struct uvb_rx_frame f[UVETH_CHUNK];
	uint16_t want, got, received = 0;
	struct uvb_rxq *u;

	if (unlikely(q == NULL)) /* released under a process that polls it */
		return 0;
	u = uveth_rxq_handle(q);
	if (unlikely(u == NULL))
		return 0;
	do {
		want = RTE_MIN((uint16_t)(n - received), UVETH_CHUNK);
		got = want > 0 ? uvb_rx_peek(u, f, want) : 0;
		if (got > 0)
			received += rx_chunk(q, u, pkts + received, f, got);
	} while (got == UVETH_CHUNK);
	if (received != 0)
		uveth_trace_rx(q->port_id, q->id, received);
	return received;
}

/* ---------------------------------------------------------------------------------------- tx */

#define TX_CSUM (RTE_MBUF_F_TX_IP_CKSUM | RTE_MBUF_F_TX_L4_MASK)
/* What makes a frame more than its bytes. */
#define TX_WORK (TX_CSUM | UVETH_TX_TAGS | UVETH_TX_SEG | RTE_MBUF_F_TX_IEEE1588_TMST)

/* Frames on their way to the fabric, described by segments that lie in the mbufs, or in hdr[] where
 * headers are not sent as the mbuf has them. */
struct tx_chunk {
	uint16_t nb_frame, nb_seg;
	struct uvb_frame frame[UVETH_CHUNK];
	struct uvb_seg seg[UVETH_TX_SEGS];
	bool stamp; /* one of them wants its time to be known */
	uint8_t hdr[UVETH_CHUNK][UVETH_TAGS_MAX + UVETH_HDR_MAX];
};

/* The mbuf chain from `skip` bytes on, as segments appended to those of frame f, which begin at seg
 * and have so much room. */
int
uveth_tx_segments(struct uvb_seg *seg, uint16_t room, struct uvb_frame *f, const struct rte_mbuf *m,
		  uint32_t skip)
{
	for (; m != NULL; m = m->next) {
		if (skip >= m->data_len && skip > 0) {
			skip -= m->data_len;
			continue;
		}
		if (f->nb_seg == room)
			return -ENOBUFS;
		seg[f->nb_seg++] = (struct uvb_seg){rte_pktmbuf_mtod_offset(m, const void *, skip),
						    m->data_len - skip};
		f->len += m->data_len - skip;
		skip = 0;
	}
	return 0;
}

/* Headers that are not sent as the mbuf has them: the first segment. Returns how many bytes of the
 * mbuf it stands for, or a negative errno. */
static int
tx_headers(const struct uveth_txq *q, struct uvb_seg *seg, uint8_t *hdr, const struct rte_mbuf *m,
	   uint16_t *flags)
{
	uint32_t tags = 0;
	int len = 0;

	if ((m->ol_flags & TX_CSUM) != 0)
		len = uveth_tx_csum(m, hdr, flags);
	if (len >= 0 && (m->ol_flags & UVETH_TX_TAGS) != 0)
		len = uveth_vlan_insert(q, m, hdr, len, &tags);
	*seg = (struct uvb_seg){hdr - tags, len + tags};
	return len;
}

/* Everything that is not one plain segment. -EAGAIN: a super-frame, which goes by itself. */
static int
tx_describe(const struct uveth_txq *q, struct tx_chunk *c, struct uvb_frame *f,
	    const struct rte_mbuf *m)
{
	struct uvb_seg *seg = &c->seg[c->nb_seg];
	uint16_t room = UVETH_TX_SEGS - c->nb_seg;
	int len;

	if ((m->ol_flags & UVETH_TX_SEG) != 0)
		return -EAGAIN;
	*f = (struct uvb_frame){.seg = seg};
	c->stamp |= (m->ol_flags & RTE_MBUF_F_TX_IEEE1588_TMST) != 0;
	if ((m->ol_flags & (TX_CSUM | UVETH_TX_TAGS)) == 0)
		return uveth_tx_segments(seg, room, f, m, 0);
	if (room == 0)
		return -ENOBUFS;
	len = tx_headers(q, seg, c->hdr[c->nb_frame] + UVETH_TAGS_MAX, m, &f->flags);
	if (len < 0)
		return len;
	f->nb_seg = 1;
	f->len = seg->len;
	return uveth_tx_segments(seg, room, f, m, len);
}

/* As many of the n mbufs as fit the chunk, up to the first that cannot be sent: the return value
 * says why it stopped there. */
static int
tx_gather(const struct uveth_txq *q, struct tx_chunk *c, struct rte_mbuf **pkts, uint16_t n)
{
	int rc = 0;

	c->nb_frame = 0;
	c->nb_seg = 0;
	c->stamp = false;
	for (uint16_t i = 0; i < n; i++) {
		const struct rte_mbuf *m = pkts[i];
		struct uvb_frame *f = &c->frame[c->nb_frame];

		if (likely(m->nb_segs == 1 && (m->ol_flags & TX_WORK) == 0 &&
			   c->nb_seg < UVETH_TX_SEGS)) {
			c->seg[c->nb_seg] =
				(struct uvb_seg){rte_pktmbuf_mtod(m, void *), m->data_len};
			*f = (struct uvb_frame){&c->seg[c->nb_seg], 1, 0, m->data_len};
		} else {
			rc = tx_describe(q, c, f, m);
			if (rc != 0)
				break;
		}
		c->nb_seg += f->nb_seg;
		c->nb_frame++;
	}
	return rc;
}

static void
tx_drop(struct uveth_txq *q, struct rte_mbuf *m, int why)
{
	uveth_count(why == -ENOBUFS ? &q->count->too_many_segs : &q->count->bad_offload, 1);
	rte_pktmbuf_free(m);
}

static inline void
tx_free(const struct uveth_txq *q, struct rte_mbuf **pkts, uint16_t n)
{
	/* The application has promised: one pool, one reference, one segment. */
	if ((q->offloads & RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE) != 0 && n > 0)
		rte_mempool_put_bulk(pkts[0]->pool, (void **)pkts, n);
	else
		rte_pktmbuf_free_bulk(pkts, n);
}

/* One super-frame. Returns 1: sent; 0: no cell; or why not. */
static int
tx_super(struct uveth_txq *q, struct uvb_txq *u, struct rte_mbuf *m)
{
	int rc = uveth_tx_super(q, u, m);

	if (rc <= 0)
		return rc;
	if ((m->ol_flags & RTE_MBUF_F_TX_IEEE1588_TMST) != 0)
		uveth_tx_time(q);
	rte_pktmbuf_free(m);
	return rc;
}

static uint16_t
tx_burst(struct uveth_txq *q, struct rte_mbuf **pkts, uint16_t n)
{
	struct tx_chunk c;
	uint16_t taken, sent = 0;
	struct uvb_txq *u;
	int why;

	u = uveth_txq_handle(q);
	if (unlikely(u == NULL))
		return 0;
	while (sent < n) {
		why = tx_gather(q, &c, pkts + sent, RTE_MIN((uint16_t)(n - sent), UVETH_CHUNK));
		if (unlikely(c.nb_frame == 0)) {
			if (why == -EAGAIN)
				why = tx_super(q, u, pkts[sent]);
			if (why == 0)
				break;
			if (why < 0)
				tx_drop(q, pkts[sent], why);
			sent++;
			continue;
		}
		taken = uvb_tx_burst(u, c.frame, c.nb_frame);
		if (unlikely(c.stamp) && taken > 0)
			uveth_tx_time(q);
		tx_free(q, pkts + sent, taken);
		sent += taken;
		if (taken < c.nb_frame)
			break; /* every cell is in flight: the application decides what to do */
	}
	uveth_trace_tx(q->port_id, q->id, n, sent);
	return sent;
}

/* How often a thread looks whether the other one has left the queue: some ten microseconds, several
 * bursts. One that was put off its processor takes longer, and is not waited for. */
#define TX_BUSY_LOOKS 256

/* One of several threads (RTE_ETH_TX_OFFLOAD_MT_LOCKFREE). A queue that stays busy is, for this
 * burst, a full one. */
static uint16_t
tx_burst_of_many(struct uveth_txq *q, struct rte_mbuf **pkts, uint16_t n)
{
	bool *busy = &uveth_local(&rte_eth_devices[q->port_id])->tx_busy[q->id];
	uint16_t sent;

	for (unsigned int looks = 0; __atomic_exchange_n(busy, true, __ATOMIC_ACQUIRE); looks++) {
		if (looks == TX_BUSY_LOOKS)
			return 0;
		rte_pause();
	}
	sent = tx_burst(q, pkts, n);
	__atomic_store_n(busy, false, __ATOMIC_RELEASE);
	return sent;
}

uint16_t
uveth_tx_burst(void *txq, struct rte_mbuf **pkts, uint16_t n)
{
	struct uveth_txq *q = txq;

	if (unlikely(q == NULL))
		return 0;
	if (unlikely((q->offloads & RTE_ETH_TX_OFFLOAD_MT_LOCKFREE) != 0))
		return tx_burst_of_many(q, pkts, n);
	return tx_burst(q, pkts, n);
}
