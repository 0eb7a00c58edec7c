/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Transmit: what a NIC, a switch and the receiving NIC do between a burst of frames and the
 * receiver's ring.
 *
 * What a frame costs that goes to one port, in the steady state (receiver polling, addresses
 * known, the frame before it went the same way: run_frames()):
 *  - one copy, of its bytes;
 *  - no locked instruction; one full fence per burst and no system call;
 *  - lines taken from the receiver: a quarter of a line of descriptors (it wrote FREE there) and
 * the lines of the data (it read them), prefetched for writing 32 frames ahead; the voq's head once
 *    per burst and one line of slots per 16 frames, none for a frame that comes alone.
 *  - lines read that are nearly always in the cache: two FDB entries, life and conf_seq (once per
 *    burst), leaf word of the receiver (once per burst and voq).
 *  - instructions: about 160 in a burst of 32, 60 more for the hash of another flow than the last
 *    one's; 500 for a frame that comes alone, 800 if it goes elsewhere than the last.
 */
#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "uvbridge/clock.h"
#include "uvbridge/fault.h"
#include "uvbridge/tx.h"

#define SCAN_MAX   512  /* cells looked at for a free one, per call: a burst is bounded work */
#define AHEAD      32   /* cells from now one is prefetched; see cell_at() for why not fewer */
#define CONF_NEVER 1u   /* a conf_seq that no stable configuration has: odd */
#define WINDOW     1024 /* cells are taken in rounds of this many, see cells_turn() */

/* ------------------------------------------------------------------------------- destinations */

static struct dest *
dest_new(struct uvb_txq *q, uint32_t port)
{
	const struct uvb_map *map = &q->dev->map;
	struct dest *d = calloc(1, sizeof(*d));

	if (d == NULL)
		return NULL;
	d->id = (uint16_t)port;
	d->shm = uvb_map_port(map, port);
	d->pair = uvb_map_pair(map, q->port, q->txq, port);
	d->checked = q->burst - 1;
	d->conf_seq = CONF_NEVER;
	for (uint32_t i = 0; i < UVB_MAX_QUEUES; i++)
		d->lane[i].bell = -1;
	q->dest[port] = d;
	return d;
}

/* The first frame to a queue: go on where the voq stands. It may be the earlier owner's. */
static void
lane_init(struct uvb_txq *q, struct dest *d, uint32_t rxq)
{
	const struct uvb_map *map = &q->dev->map;
	struct lane *l = &d->lane[rxq];

	l->voq = uvb_map_voq(map, d->id, rxq, q->port, q->txq);
	l->rxq = uvb_map_rxq(map, d->id, rxq);
	l->rxq_id = (uint8_t)rxq;
	l->head = uvb_voq_head(l->voq);
	l->published = l->head;
	l->tail = atomic_load_explicit(&l->voq->tail, memory_order_acquire);
}

static void
compile_special(struct dest *d, const struct uvb_conf *c)
{
	d->special &= ~(UVB_SPECIAL_VLAN_FILTER | UVB_SPECIAL_SENT_AT | UVB_SPECIAL_RULES);
	if (c->flags & UVB_CONF_SENT_AT)
		d->special |= UVB_SPECIAL_SENT_AT;
	if (c->flags & (UVB_CONF_RULES | UVB_CONF_ISOLATED))
		d->special |= UVB_SPECIAL_RULES;
	/* Its rules decide, not its addresses: as far as its place in the switch allows that. */
	if (c->flags & UVB_CONF_ISOLATED)
		d->flags |= UVB_CONF_PROMISC | UVB_CONF_ALLMULTI;
	if (!(c->flags & UVB_CONF_VLAN_FILTER))
		return;
	d->special |= UVB_SPECIAL_VLAN_FILTER;
	memcpy(d->vlan, c->vlan, sizeof(d->vlan));
	memcpy(d->tpid, c->tpid, sizeof(d->tpid));
}

static void
compile_conf(struct dest *d, const struct uvb_conf *c)
{
	d->flags = c->flags;
	d->len_max = c->mtu + 18u;
	d->gso_max = c->gso_max;
	d->reta_mask = c->reta_size - 1u;
	for (uint32_t i = 0; i < c->reta_size; i++)
		d->reta[i] = (uint8_t)c->reta[i];
	d->nb_mac = c->nb_mac;
	for (uint32_t i = 0; i < c->nb_mac; i++)
		d->mac[i] = uvb_mac48(c->mac[i]);
	d->nb_mc = c->nb_mc;
	for (uint32_t i = 0; i < c->nb_mc; i++)
		d->mc[i] = uvb_mac48(c->mc[i]);
	compile_special(d, c);
	uvb_rss_types(&d->rss, c->rss_types);
	/* The tables take microseconds; most changes leave the key alone. */
	if (d->key_len == c->key_len && memcmp(d->key, c->key, c->key_len) == 0)
		return;
	uvb_rss_compile(&d->rss, c->rss_types, c->key, c->key_len);
	d->flow_valid = false;
	d->key_len = c->key_len;
	memcpy(d->key, c->key, c->key_len);
}

/* Take over a configuration that has changed. Met in the middle of a change, go on with the one we
 * have; without one from this generation the port counts as stopped. */
static void
refresh_conf(struct uvb_txq *q, struct dest *d, bool new_life)
{
	struct uvb_conf conf;
	uint32_t seq;
	uint16_t nb_rxq = d->shm->nb_rxq;

	if (new_life) {
		d->conf_valid = false;
		d->conf_seq = CONF_NEVER;
	}
	if (!uvb_conf_read(d->shm, &conf, &seq))
		return;
	d->conf_seq = seq;
	d->conf_valid = nb_rxq <= q->dev->map.nb_queues && uvb_conf_check(&conf, nb_rxq) == NULL;
	if (!d->conf_valid)
		return;
	compile_conf(d, &conf);
	uvb_switch_restrict(d);
}

/* Flow rules that have changed. Without memory for them nothing can be delivered as they say. */
static void
refresh_rules(struct uvb_txq *q, struct dest *d)
{
	if (!d->conf_valid || !(d->flags & UVB_CONF_RULES))
		return;
	if (d->rules == NULL)
		d->rules = uvb_rules_new(uvb_map_rules(&q->dev->map, d->id));
	if (d->rules == NULL)
		d->conf_valid = false;
	else
		uvb_rules_refresh(d->rules, d->life, d->shm->nb_rxq);
}

static void
refresh(struct uvb_txq *q, struct dest *d)
{
	uint32_t life = atomic_load_explicit(&d->shm->life, memory_order_acquire);
	uint32_t seq = atomic_load_explicit(&d->shm->conf_seq, memory_order_acquire);
	bool new_life = life != d->life;

	if (UVB_UNLIKELY(d->policy_gen != q->policy_gen)) {
		uvb_switch_refresh_dest(q, d);
		d->conf_seq = CONF_NEVER; /* what it may have of its configuration has changed */
	}
	d->checked = q->burst;
	d->life = life;
	d->up = UVB_LIFE_STATE(life) == UVB_PORT_UP;
	if (d->up && (new_life || seq != d->conf_seq))
		refresh_conf(q, d, new_life);
	if (UVB_UNLIKELY(d->special & UVB_SPECIAL_RULES) && d->up)
		refresh_rules(q, d);
	if (UVB_UNLIKELY(q->faults != NULL))
		uvb_fault_dest(q, d);
}

/* A destination, looked at once per burst. NULL only when there is no memory. */
static struct dest *
dest_get(struct uvb_txq *q, uint32_t port)
{
	struct dest *d = q->dest[port];

	if (UVB_UNLIKELY(d == NULL))
		d = dest_new(q, port);
	if (d != NULL && d->checked != q->burst)
		refresh(q, d);
	return d;
}

/* How many of the frames sent to d are gone. Reads each tail: a line that the receiver writes. */
static void
dest_settle(struct uvb_txq *q, struct dest *d)
{
	uint32_t waiting = 0;

	for (uint32_t i = 0; i < q->dev->map.nb_queues; i++) {
		struct lane *l = &d->lane[i];

		if (l->voq == NULL)
			continue;
		l->tail = atomic_load_explicit(&l->voq->tail, memory_order_acquire);
		/* More than fit: the receiver scribbles, and has all of the voq against it. */
		waiting += l->head - l->tail <= q->depth ? l->head - l->tail : q->depth;
	}
	q->held -= d->sent - d->done - waiting;
	d->done = d->sent - waiting;
}

/* No destination may hold more cells than are left for the others: receivers that stand still
 * cannot take the queue's last cell, so traffic to everyone else goes on (dynamic threshold).
 * Frames are counted, not cells; sent and done are settled only when the limit seems to be met. */
static bool
over_threshold(struct uvb_txq *q, struct dest *d)
{
	if (UVB_LIKELY(d->sent - d->done + q->held < q->cells.nb))
		return false;
	dest_settle(q, d);
	if (d->sent - d->done + q->held < q->cells.nb)
		return false;
	for (uint32_t i = 0; i < q->dev->map.nb_ports; i++)
		if (q->dest[i] != NULL)
			dest_settle(q, q->dest[i]);
	return d->sent - d->done + q->held >= q->cells.nb;
}

static bool
lane_full(const struct uvb_txq *q, struct lane *l, uint32_t head)
{
	if (UVB_LIKELY(head - l->tail < q->depth))
		return false;
	l->tail = atomic_load_explicit(&l->voq->tail, memory_order_acquire);
	return head - l->tail >= q->depth;
}

/* -------------------------------------------------------------------------------------- cells */

static uint32_t
frame_cells(uint32_t len)
{
	return (len + UVB_CELL_ROOM - 1) / UVB_CELL_ROOM;
}

/* At the end of a round of cells: go back to where it began if its cells are free again. A round is
 * more than the receiver's second-level cache holds of full frames, so that a cell has left it when
 * its turn comes: to take lines from another core's cache costs two to three times what it costs to
 * take them from the one they share. It is not all cells there may be, because then they would not
 * even be there. When many cells of the round were taken, somebody sits on them: move on. */
static void
cells_turn(struct uvb_txq *q)
{
	const struct uvb_desc *first = &q->cells.desc[q->warm], *last = first + q->window - 1;

	if (q->skipped > q->window / 4) {
		q->warm = q->cursor & (q->cells.nb - 1);
	} else if (atomic_load_explicit(&first->owner, memory_order_relaxed) == UVB_OWNER_FREE &&
		   atomic_load_explicit(&last->owner, memory_order_relaxed) == UVB_OWNER_FREE) {
		q->cursor = q->warm;
	}
	q->skipped = 0;
}

/* The n-th cell in the order in which they are taken. Four descriptors share a line: neighbours in
 * time are eight lines apart, so that who sends single frames does not wait for the line its
 * receiver has just written FREE to, while a burst still takes four of each line. */
static inline uint32_t
cell_at(const struct uvb_txq *q, uint32_t n)
{
	return ((n & ~31u) | (n & 7) << 2 | (n >> 3 & 3)) & (q->cells.nb - 1);
}

/* The cell we shall most likely want AHEAD frames from now: its receiver has the lines. */
static inline void
prefetch_cell(const struct uvb_txq *q, uint32_t at)
{
	at = (at + AHEAD) & (q->cells.nb - 1);
	if (UVB_UNLIKELY(((at ^ q->warm) & ~(q->window - 1)) != 0))
		at = q->warm + (at & (q->window - 1));
	uvb_prefetch_write(&q->cells.desc[at]);
	uvb_prefetch_write(q->cells.cell[at].data);
}

bool
uvb_tx_cells(const struct uvb_txq *q, uint32_t n)
{
	uint32_t in_vain = 0;

	for (uint32_t i = 0; n > 0 && i < q->cells.nb; i++) {
		const struct uvb_desc *e = &q->cells.desc[cell_at(q, q->cursor + i)];

		if (atomic_load_explicit(&e->owner, memory_order_relaxed) == UVB_OWNER_FREE)
			n--;
		else if (++in_vain == SCAN_MAX)
			return false;
	}
	return n == 0;
}

bool
uvb_tx_room(const struct uvb_txq *q, uint32_t len)
{
	return uvb_tx_cells(q, frame_cells(len));
}

/* A free cell, by its descriptor, or NULL. It is ours until its owner word is stored. */
static inline struct uvb_desc *
cell_take(struct uvb_txq *q)
{
	struct uvb_desc *e;
	uint32_t at;

	for (;;) {
		if ((q->cursor & (q->window - 1)) == 0)
			cells_turn(q);
		at = cell_at(q, q->cursor++);
		e = &q->cells.desc[at];
		/* Acquire: the receiver's reads of the last frame are over before we write. */
		if (UVB_LIKELY(atomic_load_explicit(&e->owner, memory_order_acquire) ==
			       UVB_OWNER_FREE))
			break;
		q->skipped++;
		if (q->scan_left == 0)
			return NULL;
		q->scan_left--;
	}
	prefetch_cell(q, at);
	return e;
}

static inline uint32_t
cell_number(const struct uvb_txq *q, const struct uvb_desc *e)
{
	return (uint32_t)(e - q->cells.desc);
}

static inline struct uvb_cell *
cell_of(const struct uvb_txq *q, const struct uvb_desc *e)
{
	return &q->cells.cell[cell_number(q, e)];
}

/* Where in a scattered frame the copy stands. */
struct reader {
	const struct uvb_seg *seg;
	uint32_t off;
};

static void
read_bytes(struct reader *r, uint8_t *to, uint32_t len)
{
	while (len > 0) {
		uint32_t n = r->seg->len - r->off;

		if (n > len)
			n = len;
		memcpy(to, (const uint8_t *)r->seg->base + r->off, n);
		to += n;
		len -= n;
		r->off += n;
		if (r->off == r->seg->len) {
			r->seg++;
			r->off = 0;
		}
	}
}

static inline void
describe(struct uvb_desc *e, uint32_t len, uint16_t flags, uint32_t hash)
{
	e->len = (uint16_t)len;
	e->flags = flags;
	e->hash = hash;
}

/* What a frame needs that is more than its bytes. */
static void
fill_extra(const struct uvb_txq *q, struct uvb_cell *c, const struct passage *p)
{
	c->deliver_at = p->deliver_at;
	c->sent_at = 0;
	c->next = UVB_CELL_END;
	c->total = p->frame->len;
	c->overtake = p->overtake;
	c->mark = p->mark;
	if (!(p->cell_flags & UVB_CELL_COPY))
		return;
	c->cap_src = q->port;
	c->cap_txq = (uint8_t)q->txq;
	c->cap_dst = p->out_port;
	c->cap_rxq = p->cap_rxq;
	c->cap_verdict = p->cap_verdict;
	c->cap_fault = p->fault;
	c->deliver_at = 0;
	c->sent_at = q->now_ns;
}

static inline void
cell_fill(const struct uvb_txq *q, struct uvb_desc *e, const struct passage *p, uint32_t len)
{
	describe(e, len, p->cell_flags, p->hash);
	if (UVB_UNLIKELY(p->cell_flags & UVB_CELL_EXTRA))
		fill_extra(q, cell_of(q, e), p);
}

static void
give_back(struct uvb_desc *const *cell, uint32_t n)
{
	while (n-- > 0)
		atomic_store_explicit(&cell[n]->owner, UVB_OWNER_FREE, memory_order_relaxed);
}

/* A frame longer than a cell. Its cells are owned as soon as they are taken, so that none of them
 * is found free again on the way to the next. */
static struct uvb_desc *
fill_chain(struct uvb_txq *q, const struct passage *p, uint64_t owner)
{
	struct uvb_desc *cell[UVB_CHAIN_MAX];
	struct reader r = {p->frame->seg, 0};
	uint32_t n = frame_cells(p->frame->len), left = p->frame->len, i = 0;

	do {
		cell[i] = cell_take(q);
		if (cell[i] == NULL) {
			give_back(cell, i);
			return NULL;
		}
		atomic_store_explicit(&cell[i]->owner, owner, memory_order_relaxed);
		UVB_KILL_POINT(UVB_KILL_TX_CHAINED);
	} while (++i < n);
	for (i = 0; i < n; i++) {
		uint32_t len = left < UVB_CELL_ROOM ? left : UVB_CELL_ROOM;

		cell_fill(q, cell[i], p, len);
		if (i + 1 < n)
			cell_of(q, cell[i])->next = cell_number(q, cell[i + 1]);
		read_bytes(&r, cell_of(q, cell[i])->data, len);
		left -= len;
	}
	if (p->cell_flags & UVB_CELL_GSO)
		cell_of(q, cell[0])->gso_size = q->gso_size;
	return cell[0];
}

struct block16 {
	uint64_t a, b;
};

static inline void
copy16(uint8_t *to, const uint8_t *from)
{
	struct block16 b;

	memcpy(&b, from, sizeof(b));
	memcpy(to, &b, sizeof(b));
}

/* Small frames without a call: blocks of 16 bytes, the last ones overlapping. */
static inline void
copy_frame(uint8_t *to, const uint8_t *from, uint32_t len)
{
	if (UVB_UNLIKELY(len > 128 || len < 32)) {
		memcpy(to, from, len);
		return;
	}
	for (uint32_t at = 0; at + 32 < len; at += 32) {
		copy16(to + at, from + at);
		copy16(to + at + 16, from + at + 16);
	}
	copy16(to + len - 32, from + len - 32);
	copy16(to + len - 16, from + len - 16);
}

static struct uvb_desc *
fill_one(struct uvb_txq *q, const struct passage *p)
{
	const struct uvb_frame *f = p->frame;
	struct uvb_desc *e = cell_take(q);
	struct reader r = {f->seg, 0};

	if (UVB_UNLIKELY(e == NULL))
		return NULL;
	cell_fill(q, e, p, f->len);
	if (UVB_LIKELY(f->nb_seg == 1))
		copy_frame(cell_of(q, e)->data, f->seg->base, f->len);
	else
		read_bytes(&r, cell_of(q, e)->data, f->len);
	return e;
}

/* ------------------------------------------------------------------------------------ publish */

static void
ring(struct uvb_txq *q, struct lane *l, uint64_t armed)
{
	const struct uvb_dev *dev = q->dev;

	if (l->bell < 0) {
		uint32_t port =
			(uint32_t)(l->rxq - uvb_map_rxq(&dev->map, 0, 0)) / dev->map.nb_queues;

		l->bell = uvb_bell_open(dev->dirfd, port, l->rxq_id, false);
	}
	l->rang = armed;
	uvb_bell_ring(l->bell);
	uvb_add(&q->shm->bells, 1);
	UVB_KILL_POINT(UVB_KILL_TX_RUNG);
}

/* Steps 2 to 4 for everything that is staged. */
static void
publish(struct uvb_txq *q)
{
	for (uint32_t i = 0; i < q->nb_touched; i++) {
		struct lane *l = q->touched[i];

		atomic_store_explicit(&l->voq->head, UVB_HEAD(l->head, l->last),
				      memory_order_release);
		UVB_KILL_POINT(UVB_KILL_TX_HEAD);
		uvb_add(&l->voq->packets, l->head - l->published);
		uvb_add(&l->voq->bytes, l->staged_bytes);
		l->published = l->head;
		l->staged_bytes = 0;
	}
	if (q->nb_touched == 0)
		return;
	/* Pairs with the receiver's clearing of the bit and with its arming, see abi.h. */
	atomic_thread_fence(memory_order_seq_cst);
	UVB_KILL_POINT(UVB_KILL_TX_FENCED);
	for (uint32_t i = 0; i < q->nb_touched; i++) {
		struct lane *l = q->touched[i];
		uint64_t armed;

		uvb_pending_set(l->rxq, q->source);
		UVB_KILL_POINT(UVB_KILL_TX_PENDING);
		armed = uvb_load(&l->rxq->armed);
		if (UVB_UNLIKELY((armed & 1) != 0 && armed != l->rang))
			ring(q, l, armed);
	}
	q->nb_touched = 0;
}

/* Step 1, and the slot of step 2. */
static inline void
place(struct uvb_txq *q, struct lane *l, uint32_t head, struct uvb_desc *e, uint64_t owner)
{
	UVB_KILL_POINT(UVB_KILL_TX_FILLED);
	atomic_store_explicit(&e->owner, owner, memory_order_relaxed);
	UVB_KILL_POINT(UVB_KILL_TX_OWNED);
	atomic_store_explicit(&l->voq->slot[head & (q->depth - 1)], cell_number(q, e),
			      memory_order_relaxed);
	UVB_KILL_POINT(UVB_KILL_TX_STAGED);
}

static void
stage(struct uvb_txq *q, struct dest *d, struct lane *l, struct uvb_desc *e, uint32_t bytes,
      uint64_t owner)
{
	place(q, l, l->head, e, owner);
	if (l->head == l->published)
		q->touched[q->nb_touched++] = l;
	l->head++;
	l->last = cell_number(q, e);
	l->staged_bytes += bytes;
	d->sent++;
	q->held++;
	if (q->nb_touched == UVB_TX_PUBLISH_EACH)
		publish(q);
}

/* ------------------------------------------------------------------------------------- switch */

static bool
listed(const uint64_t *list, uint32_t n, uint64_t mac)
{
	for (uint32_t i = 0; i < n; i++)
		if (list[i] == mac)
			return true;
	return false;
}

/* What the receiver's NIC would let in. */
static bool
mac_passes(const struct dest *d, uint64_t mac)
{
	if (!UVB_MAC_MULTICAST(mac))
		return (d->nb_mac > 0 && d->mac[0] == mac) || (d->flags & UVB_CONF_PROMISC) ||
		       listed(d->mac, d->nb_mac, mac);
	return mac == UVB_MAC_BROADCAST || (d->flags & (UVB_CONF_ALLMULTI | UVB_CONF_PROMISC)) ||
	       listed(d->mc, d->nb_mc, mac);
}

static bool
vlan_passes(const struct dest *d, const struct passage *p)
{
	uint32_t type = (uint32_t)p->head[12] << 8 | p->head[13], vlan;

	if ((type != d->tpid[0] && type != d->tpid[1]) || p->head_len < 16)
		return true;
	vlan = (p->head[14] & 15u) << 8 | p->head[15];
	return (d->vlan[vlan / 32] >> vlan % 32) & 1;
}

/* Longer than its MTU, but a super-frame, and it asked for such. */
static bool
takes_whole(const struct dest *d, const struct uvb_frame *f)
{
	return (f->flags & UVB_CELL_GSO) && f->len <= d->gso_max;
}

/* Why the receiver's NIC drops it; UVB_PD_MAX: it does not. */
static enum uvb_pair_drop
nic_filter(const struct dest *d, const struct passage *p)
{
	if (UVB_UNLIKELY(!d->up))
		return UVB_PD_DOWN;
	if (UVB_UNLIKELY(!d->conf_valid || !(d->flags & UVB_CONF_STARTED)))
		return UVB_PD_STOPPED;
	if (UVB_UNLIKELY(p->frame->len > d->len_max) && !takes_whole(d, p->frame))
		return UVB_PD_OVERSIZE;
	if (UVB_UNLIKELY(!mac_passes(d, p->dst)))
		return UVB_PD_MAC_FILTER;
	if (UVB_UNLIKELY(d->special & UVB_SPECIAL_VLAN_FILTER) && !vlan_passes(d, p))
		return UVB_PD_VLAN_FILTER;
	return UVB_PD_MAX;
}

/* The hash of the commonest frames, straight from their bytes: TCP or UDP over IPv4 without
 * options, where addresses and ports lie side by side. Frames come in trains: the last flow's hash
 * is kept. */
static inline bool
hash_plain_ipv4(struct dest *d, const uint8_t *head, uint32_t len, uint32_t *hash)
{
	const struct uvb_rss *rss = &d->rss;
	const uint8_t *in = head + 26;
	uint32_t type, ports;
	uint64_t addresses;

	if (len < 38 || head[12] != 8 || head[13] != 0 || head[14] != 0x45 ||
	    (head[20] & 0x3f) != 0 || head[21] != 0)
		return false;
	type = head[23] == 6 ? UVB_RSS_IPV4_TCP : head[23] == 17 ? UVB_RSS_IPV4_UDP : 0;
	if (!(type & rss->plain))
		return false;
	memcpy(&addresses, in, sizeof(addresses));
	memcpy(&ports, in + sizeof(addresses), sizeof(ports));
	if (addresses != d->flow_addresses || ports != d->flow_ports || !d->flow_valid) {
		d->flow_addresses = addresses;
		d->flow_ports = ports;
		d->flow_hash = rss->table[0][in[0]] ^ rss->table[1][in[1]] ^ rss->table[2][in[2]] ^
			       rss->table[3][in[3]] ^ rss->table[4][in[4]] ^ rss->table[5][in[5]] ^
			       rss->table[6][in[6]] ^ rss->table[7][in[7]] ^ rss->table[8][in[8]] ^
			       rss->table[9][in[9]] ^ rss->table[10][in[10]] ^
			       rss->table[11][in[11]];
		d->flow_valid = true;
	}
	*hash = d->flow_hash;
	return true;
}

static bool
hash_any(const struct dest *d, struct passage *p)
{
	if (d->rss.types == 0)
		return false;
	if (!p->parsed) {
		uvb_flow_parse(&p->flow, p->head, p->head_len);
		p->parsed = true;
	}
	return uvb_rss_hash(&d->rss, &p->flow, &p->hash);
}

static inline uint32_t
pick_rxq(struct dest *d, struct passage *p)
{
	p->cell_flags = p->frame->flags & (UVB_CELL_CSUM_OK | UVB_CELL_GSO);
	p->hash = 0;
	p->mark = 0;
	if (!hash_plain_ipv4(d, p->head, p->head_len, &p->hash) && !hash_any(d, p))
		return 0;
	p->cell_flags |= UVB_CELL_HASH;
	return d->reta[p->hash & d->reta_mask];
}

static enum outcome
drop_full(struct lane *l, struct passage *p)
{
	uvb_add(&l->voq->full, 1);
	p->verdict = UVB_V_VOQ_FULL;
	return OUT_DROPPED;
}

uint64_t
uvb_tx_now(struct uvb_txq *q)
{
	if (q->now_burst != q->burst)
		q->now_ns = uvb_clock_ns(uvb_map_hdr(&q->dev->map));
	q->now_burst = q->burst;
	return q->now_ns;
}

/* The same for want of a cell, perhaps before anybody has looked at the lane. */
static void
drop_no_cell(struct uvb_txq *q, struct dest *d, uint32_t rxq, struct passage *p)
{
	if (d->lane[rxq].voq == NULL)
		lane_init(q, d, rxq);
	drop_full(&d->lane[rxq], p);
}

/* The ring, or the destination's share of cells, is full: of delayed frames if this one has to keep
 * its place among such. A patient sender waits as long as the
 * receiver goes on. What a fault has decided of is not decided again: that frame does not wait. */
static enum outcome
no_room(struct uvb_txq *q, struct dest *d, struct lane *l, struct passage *p)
{
	uint64_t now;

	if (p->deliver_at != 0)
		return uvb_tx_drop_for(d, p, UVB_PD_DELAY);
	if (q->patience_ns == 0 || ((q->special | d->special) & UVB_SPECIAL_FAULT))
		return drop_full(l, p);
	now = uvb_now_ns();
	if (l->full_since == 0 || l->full_tail != l->tail) {
		l->full_since = now;
		l->full_tail = l->tail;
	}
	return now - l->full_since < q->patience_ns ? OUT_NO_CELL : drop_full(l, p);
}

void
uvb_tx_patience(struct uvb_txq *q, uint32_t us)
{
	q->patience_ns = us * 1000ULL;
}

/* Is it more than its bytes, length and hash? */
static inline bool
needs_extra(const struct dest *d, const struct passage *p)
{
	const uint32_t more = UVB_CELL_COPY | UVB_CELL_GSO | UVB_CELL_FLAG | UVB_CELL_MARK;

	return p->deliver_at != 0 || (p->cell_flags & more) != 0 ||
	       (d->special & UVB_SPECIAL_SENT_AT) != 0 || p->frame->len > UVB_CELL_ROOM;
}

/* Into one voq. */
static enum outcome
enqueue(struct uvb_txq *q, struct dest *d, uint32_t rxq, struct passage *p)
{
	uint64_t owner;
	struct lane *l = &d->lane[rxq];
	struct uvb_desc *e;

	p->out_rxq = (uint8_t)rxq;
	if (UVB_UNLIKELY(l->voq == NULL))
		lane_init(q, d, rxq);
	if (UVB_UNLIKELY(lane_full(q, l, l->head) || over_threshold(q, d)))
		return no_room(q, d, l, p);
	owner = UVB_OWNER(UVB_LIFE_GEN(d->life), d->id, rxq, l->head);
	if (UVB_UNLIKELY(needs_extra(d, p)))
		p->cell_flags |= UVB_CELL_EXTRA;
	e = p->frame->len <= UVB_CELL_ROOM ? fill_one(q, p) : fill_chain(q, p, owner);
	if (UVB_UNLIKELY(e == NULL))
		return OUT_NO_CELL;
	if (UVB_UNLIKELY(d->special & UVB_SPECIAL_SENT_AT))
		cell_of(q, e)->sent_at = uvb_tx_now(q);
	p->verdict = UVB_V_DELIVERED;
	stage(q, d, l, e, p->frame->len, owner);
	return OUT_SENT;
}

/* What follows may be more of the same: see run_frames(). */
static void
run_begin(struct uvb_txq *q, struct dest *d, const struct passage *p)
{
	q->run = d;
	q->run_watched = false;
	q->run_max = d->len_max < UVB_CELL_ROOM ? d->len_max : UVB_CELL_ROOM;
	memcpy(q->run_addresses, p->head, sizeof(q->run_addresses));
}

enum outcome
uvb_tx_drop_for(struct dest *d, struct passage *p, enum uvb_pair_drop why)
{
	uvb_add(&d->pair->drops[why], 1);
	p->verdict = why == UVB_PD_DOWN ? UVB_V_NO_DST : UVB_V_FILTERED;
	return OUT_DROPPED;
}

/* What the receiver's flow rules say in place of its RSS, or in addition. */
static void
obey(struct passage *p, const struct uvb_ruling *r, uint32_t *rxq)
{
	if (r->hashed) {
		p->cell_flags &= ~UVB_CELL_HASH;
		p->cell_flags |= r->has_hash ? UVB_CELL_HASH : 0;
		p->hash = r->hash;
	}
	if (r->flags & (UVB_RULE_FLAG | UVB_RULE_MARK))
		p->cell_flags |= UVB_CELL_FLAG;
	if (r->flags & UVB_RULE_MARK)
		p->cell_flags |= UVB_CELL_MARK;
	p->mark = r->mark;
	if (r->steered)
		*rxq = r->rxq;
}

/* To a port with flow rules, or one that takes nothing without. */
static enum outcome
send_ruled(struct uvb_txq *q, struct dest *d, struct passage *p)
{
	struct uvb_ruling r = {.drop = false};
	uint32_t rxq = pick_rxq(d, p);
	enum outcome out;

	if (d->flags & UVB_CONF_RULES)
		uvb_rules_apply(d->rules, p->head, p->head_len, &r);
	if (r.drop) {
		out = uvb_tx_drop_for(d, p, UVB_PD_FLOW);
	} else if (!r.steered && (d->flags & UVB_CONF_ISOLATED)) {
		out = uvb_tx_drop_for(d, p, UVB_PD_ISOLATED);
	} else {
		obey(p, &r, &rxq);
		out = enqueue(q, d, rxq, p);
	}
	if (out != OUT_NO_CELL && r.nb_counted > 0)
		uvb_rules_count(d->rules, &r, p->frame->len);
	return out;
}

enum outcome
uvb_tx_deliver(struct uvb_txq *q, struct dest *d, struct passage *p)
{
	enum uvb_pair_drop why = nic_filter(d, p);

	if (UVB_UNLIKELY(why != UVB_PD_MAX))
		return uvb_tx_drop_for(d, p, why);
	if (UVB_UNLIKELY(d->special & UVB_SPECIAL_RULES))
		return send_ruled(q, d, p);
	if (UVB_LIKELY((q->special | d->special) == 0))
		run_begin(q, d, p);
	return enqueue(q, d, pick_rxq(d, p), p);
}

/* Steps 5 and 6. */
static inline enum outcome
over_cable(struct uvb_txq *q, struct dest *d, struct passage *p)
{
	if (UVB_UNLIKELY(d->special & UVB_SPECIAL_FAULT))
		return uvb_fault_in(q, d, p);
	return uvb_tx_deliver(q, d, p);
}

/* A copy, as it is, for the port of a mirror. Lost without a fuss, but counted, when that port does
 * not keep up: the frame itself does not notice. */
static void
mirror(struct uvb_txq *q, uint32_t port, const struct passage *original)
{
	struct dest *d = dest_get(q, port);
	struct passage p = *original;

	if (d == NULL || !d->up || port == q->port)
		return;
	q->copies++;
	if (uvb_tx_deliver(q, d, &p) == OUT_NO_CELL)
		drop_no_cell(q, d, 0, &p);
	q->run = NULL; /* not the way of what follows */
}

/* To a port of which the switch is asked something. */
static enum outcome
send_switched(struct uvb_txq *q, struct dest *d, struct passage *p)
{
	enum uvb_pair_drop why = uvb_switch_egress(q, d, p);
	const struct uvb_frame *frame = p->frame;
	const uint8_t *head = p->head;
	uint32_t head_len = p->head_len;
	enum outcome out = OUT_NO_CELL;

	if (why != UVB_PD_MAX)
		return uvb_tx_drop_for(d, p, why);
	if (uvb_switch_retag(q, d, p)) {
		out = over_cable(q, d, p);
		if (out == OUT_SENT && d->policy.mirror_rx != 0)
			mirror(q, d->policy.mirror_rx - 1u, p);
	}
	p->frame = frame;
	p->head = head;
	p->head_len = head_len;
	return out;
}

static enum outcome
send_to(struct uvb_txq *q, struct dest *d, struct passage *p)
{
	p->out_port = d->id;
	if (UVB_UNLIKELY(d->special & UVB_SPECIAL_SWITCH))
		return send_switched(q, d, p);
	return over_cable(q, d, p);
}

enum outcome
uvb_tx_drop(struct uvb_txq *q, struct passage *p, enum uvb_tx_drop why)
{
	uvb_add(&q->shm->drops[why], 1);
	p->verdict = UVB_V_NO_DST;
	p->out_port = UINT16_MAX;
	return OUT_DROPPED;
}

/* A copy for every port but the source. When cells run out in the middle, the rest is dropped in
 * the name of the ports that miss it; a frame that reached anyone is not sent again. */
static enum outcome
flood(struct uvb_txq *q, struct passage *p)
{
	const struct uvb_hdr *hdr = uvb_map_hdr(&q->dev->map);
	uint32_t reached = 0, met = 0, port;
	struct dest *d;

	for (uint32_t w = 0; w <= (q->dev->map.nb_ports - 1) / 64; w++) {
		uint64_t bits = uvb_load(&hdr->flood[w]);

		for (; bits != 0; bits &= bits - 1) {
			enum outcome out;

			port = w * 64 + (uint32_t)__builtin_ctzll(bits);
			if (port == q->port || port >= q->dev->map.nb_ports)
				continue;
			d = dest_get(q, port);
			if (UVB_UNLIKELY(q->policy_gen != 0) && d != NULL &&
			    !uvb_switch_member(q, d, p))
				continue;
			out = d != NULL ? send_to(q, d, p) : OUT_NO_CELL;
			if (out == OUT_NO_CELL && met == 0)
				return OUT_NO_CELL;
			if (d == NULL)
				continue;
			if (out == OUT_NO_CELL)
				drop_no_cell(q, d, p->out_rxq, p);
			met++;
			reached += out == OUT_SENT;
		}
	}
	q->flooded++;
	q->run = NULL;
	if (met == 0)
		return uvb_tx_drop(q, p, UVB_TXD_NO_PORT);
	q->copies += met - 1;
	p->out_port = UINT16_MAX;
	if (reached > 0)
		p->verdict = UVB_V_DELIVERED;
	return OUT_SENT;
}

/* One look at the FDB for a run of frames with the same addresses in one burst. An address comes
 * with its VLAN: UVB_FDB_KEY(). */
static void
learn(struct uvb_txq *q, uint64_t src)
{
	if (UVB_LIKELY(q->src_known && src == q->src_mac))
		return;
	uvb_fdb_learn(&q->fdb, src, q->port, q->now_s);
	q->src_mac = src;
	q->src_known = true;
}

static uint32_t
lookup(struct uvb_txq *q, uint64_t dst)
{
	if (UVB_LIKELY(q->dst_known && dst == q->dst_mac))
		return q->dst_port;
	q->dst_port = uvb_fdb_lookup(&q->fdb, dst);
	q->dst_mac = dst;
	q->dst_known = true;
	return q->dst_port;
}

/* The way of a frame of whose sender the switch is asked something. */
static enum outcome
forward_switched(struct uvb_txq *q, struct passage *p)
{
	enum uvb_tx_drop why = uvb_switch_ingress(q, p);
	uint32_t port = UVB_FDB_NONE;
	struct dest *d = NULL;

	if (why != UVB_TXD_MAX)
		return uvb_tx_drop(q, p, why);
	learn(q, UVB_FDB_KEY(p->x.vlan, p->src));
	if (!UVB_MAC_MULTICAST(p->dst))
		port = lookup(q, UVB_FDB_KEY(p->x.vlan, p->dst));
	if (port == q->port)
		return uvb_tx_drop(q, p, UVB_TXD_HAIRPIN);
	if (port != UVB_FDB_NONE && (d = dest_get(q, port)) == NULL)
		return OUT_NO_CELL;
	why = uvb_switch_limits(q, p, d);
	if (why != UVB_TXD_MAX)
		return uvb_tx_drop(q, p, why);
	return d != NULL ? send_to(q, d, p) : flood(q, p);
}

enum outcome
uvb_tx_forward(struct uvb_txq *q, struct passage *p)
{
	struct dest *d;
	uint32_t port;

	/* The same addresses as the frame before, which went to one port: all but its length has
	 * been looked at. */
	if (q->run != NULL && p->dst == q->dst_mac && p->src == q->src_mac &&
	    p->frame->len <= q->run->len_max) {
		p->out_port = q->run->id;
		return enqueue(q, q->run, pick_rxq(q->run, p), p);
	}
	q->run = NULL;
	if (UVB_UNLIKELY(UVB_MAC_MULTICAST(p->src) || p->src == 0))
		return uvb_tx_drop(q, p, UVB_TXD_BAD_SRC);
	if (UVB_UNLIKELY(q->special & UVB_SPECIAL_SWITCH))
		return forward_switched(q, p);
	learn(q, p->src);
	if (UVB_MAC_MULTICAST(p->dst))
		return flood(q, p);
	port = lookup(q, p->dst);
	if (UVB_UNLIKELY(port == UVB_FDB_NONE))
		return flood(q, p);
	if (UVB_UNLIKELY(port == q->port))
		return uvb_tx_drop(q, p, UVB_TXD_HAIRPIN);
	d = dest_get(q, port);
	return UVB_LIKELY(d != NULL) ? send_to(q, d, p) : OUT_NO_CELL;
}

/* A copy of the frame, and of what became of it, for whoever records. Lost without a fuss, counted
 * as `full` of that voq, when the recorder does not keep up. */
static void
capture(struct uvb_txq *q, struct passage *p)
{
	uint32_t port = q->capture - 1;
	struct dest *d = port < q->dev->map.nb_ports ? dest_get(q, port) : NULL;

	if (d == NULL || !d->up || port == q->port)
		return;
	q->copies++;
	p->cell_flags |= UVB_CELL_COPY;
	p->cap_rxq = p->out_rxq;
	p->cap_verdict = p->verdict;
	if (enqueue(q, d, 0, p) == OUT_NO_CELL)
		drop_no_cell(q, d, 0, p);
}

/* --------------------------------------------------------------------------------------- entry */

/* In place if the first segment has them. */
void
uvb_tx_head(struct passage *p)
{
	const struct uvb_frame *f = p->frame;
	struct reader r = {f->seg, 0};

	p->head_len = f->len < UVB_TX_HEAD_MAX ? f->len : UVB_TX_HEAD_MAX;
	if (UVB_LIKELY(f->seg->len >= p->head_len)) {
		p->head = f->seg->base;
		return;
	}
	read_bytes(&r, p->scratch, p->head_len);
	p->head = p->scratch;
}

/* uvb_mac48() in one load; there are 14 bytes of header. */
static inline uint64_t
load_mac(const uint8_t *p)
{
	uint64_t word;

	memcpy(&word, p, sizeof(word));
	return __builtin_bswap64(word) >> 16;
}

/* What else a frame that was taken entails in a switch that is asked something. */
static void
taken_switched(struct uvb_txq *q, const struct passage *p)
{
	uvb_switch_taken(q, p);
	if (q->policy.mirror_tx != 0 && p->head_len != 0)
		mirror(q, q->policy.mirror_tx - 1u, p);
}

static bool
held_back(struct uvb_txq *q, struct passage *p)
{
	if (q->committed || !uvb_switch_must_wait(q, p))
		return false;
	uvb_add(&q->shm->limited, 1);
	return true;
}

/* One frame. false: no cell is free, or it has to wait; the frame was not taken. */
static bool
take_frame(struct uvb_txq *q, const struct uvb_frame *f)
{
	struct passage p;
	enum outcome out;

	p.frame = f;
	p.parsed = false;
	p.hash = 0;
	p.mark = 0;
	p.cell_flags = 0;
	p.out_rxq = 0;
	p.head_len = 0;
	p.overtake = 0;
	p.fault = 0;
	p.deliver_at = 0;
	p.x = (struct crossing){0};
	if (UVB_UNLIKELY(f->len < UVB_FRAME_MIN)) {
		out = uvb_tx_drop(q, &p, UVB_TXD_RUNT);
	} else if (UVB_UNLIKELY(f->len > UVB_FRAME_MAX)) {
		out = uvb_tx_drop(q, &p, UVB_TXD_OVERSIZE);
	} else {
		uvb_tx_head(&p);
		p.dst = load_mac(p.head);
		p.src = load_mac(p.head + 6);
		if (UVB_UNLIKELY(q->special & UVB_SPECIAL_SWITCH) && held_back(q, &p))
			return false;
		out = UVB_UNLIKELY(q->special & UVB_SPECIAL_FAULT) ? uvb_fault_out(q, &p)
								   : uvb_tx_forward(q, &p);
	}
	if (UVB_UNLIKELY(out == OUT_NO_CELL)) {
		uvb_add(&q->shm->no_cell, 1);
		return false;
	}
	q->packets++;
	q->bytes += f->len;
	if (UVB_UNLIKELY(q->policy_gen != 0))
		taken_switched(q, &p);
	if (UVB_UNLIKELY(q->capture != 0) && p.head_len != 0)
		capture(q, &p);
	return true;
}

/* -------------------------------------------------------------------------------- the short way */

/* Where the frames of a run go, in words of its own: the compiler cannot know that what is written
 * to the fabric is not the queue. Opened at the first frame to a lane, closed at the last. */
struct stretch {
	struct lane *l; /* NULL: closed */
	uint64_t owner; /* of its cells, but for the place */
	uint32_t head, last, n, bytes;
};

static inline void
stretch_close(struct uvb_txq *q, struct dest *d, struct stretch *s)
{
	struct lane *l = s->l;

	if (s->n == 0)
		return;
	if (l->head == l->published)
		q->touched[q->nb_touched++] = l;
	l->head = s->head;
	l->last = s->last;
	l->staged_bytes += s->bytes;
	q->bytes += s->bytes;
	d->sent += s->n;
	q->held += s->n;
	s->n = 0;
	s->bytes = 0;
	if (q->nb_touched == UVB_TX_PUBLISH_EACH)
		publish(q);
}

static inline void
stretch_open(struct uvb_txq *q, struct dest *d, struct stretch *s, struct lane *l)
{
	stretch_close(q, d, s);
	s->l = l;
	s->head = l->head;
	s->owner = UVB_OWNER(UVB_LIFE_GEN(d->life), d->id, l->rxq_id, 0);
}

/* Twelve bytes, as two words that overlap. */
static inline bool
run_addressed(const struct uvb_txq *q, const uint8_t *head)
{
	uint64_t a[2], b[2];

	memcpy(&a[0], head, 8);
	memcpy(&a[1], head + 4, 8);
	memcpy(&b[0], q->run_addresses, 8);
	memcpy(&b[1], q->run_addresses + 4, 8);
	return ((a[0] ^ b[0]) | (a[1] ^ b[1])) == 0;
}

/* The lane of a frame of the run, and its hash. NULL: not to be told from the first bytes. */
static inline struct lane *
run_pick(struct dest *d, const struct uvb_frame *f, uint16_t *flags, uint32_t *hash)
{
	*hash = 0;
	*flags = f->flags & UVB_CELL_CSUM_OK;
	if (d->rss.types == 0)
		return &d->lane[0];
	if (UVB_UNLIKELY(!hash_plain_ipv4(d, f->seg->base, f->len, hash)))
		return NULL;
	*flags |= UVB_CELL_HASH;
	return &d->lane[d->reta[*hash & d->reta_mask]];
}

static inline bool
run_frame(struct uvb_txq *q, struct dest *d, const struct uvb_frame *f, struct stretch *s)
{
	struct uvb_desc *e;
	struct lane *l;
	uint32_t hash;
	uint16_t flags;

	if (UVB_UNLIKELY(f->len > q->run_max || f->len < UVB_FRAME_MIN || f->nb_seg != 1 ||
			 !run_addressed(q, f->seg->base)))
		return false;
	l = run_pick(d, f, &flags, &hash);
	if (UVB_UNLIKELY(l == NULL || l->voq == NULL))
		return false;
	if (l != s->l)
		stretch_open(q, d, s, l);
	if (UVB_UNLIKELY(lane_full(q, l, s->head)))
		return false;
	e = cell_take(q);
	if (UVB_UNLIKELY(e == NULL))
		return false;
	describe(e, f->len, flags, hash);
	copy_frame(cell_of(q, e)->data, f->seg->base, f->len);
	s->last = cell_number(q, e);
	place(q, l, s->head, e, s->owner | UVB_OWNER_PLACE(s->head));
	s->head++;
	s->n++;
	s->bytes += f->len;
	return true;
}

/* How many of n frames to d certainly stay below the limit of over_threshold(): each takes one cell
 * and counts towards `sent` and `held`. */
static inline uint16_t
run_allowance(const struct uvb_txq *q, const struct dest *d, uint16_t n)
{
	uint32_t taken = d->sent - d->done + q->held;
	uint32_t left = taken < q->cells.nb ? (q->cells.nb - taken + 1) / 2 : 0;

	return n < left ? n : (uint16_t)left;
}

/* Frames that go where the one before them went: same addresses, one segment, one cell, and nobody
 * watches. Returns how many of the n were sent; the first that is different in any way, or meets a
 * difficulty, is left to take_frame(). */
static uint16_t
run_frames(struct uvb_txq *q, const struct uvb_frame *frame, uint16_t n)
{
	struct dest *d = q->run;
	struct stretch s = {.l = NULL};
	uint16_t i;

	n = run_allowance(q, d, n);
	for (i = 0; i < n; i++) {
		if (i + 4 < n)
			__builtin_prefetch(frame[i + 4].seg->base);
		if (UVB_UNLIKELY(!run_frame(q, d, &frame[i], &s)))
			break;
	}
	stretch_close(q, d, &s);
	q->packets += i;
	return i;
}

/* Coarse: to the tick of the kernel, from the vdso; ageing wants seconds. */
static uint32_t
coarse_s(const struct uvb_hdr *hdr)
{
	uint64_t ns = atomic_load_explicit(&hdr->clock_ns, memory_order_acquire);
	struct timespec now;

	if (UVB_LIKELY(ns == 0)) {
		clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
		ns = (uint64_t)now.tv_sec * 1000000000ULL + (uint64_t)now.tv_nsec +
		     atomic_load_explicit(&hdr->clock_offset, memory_order_relaxed);
	}
	return (uint32_t)(ns / 1000000000ULL);
}

/* May this burst go on where the last one stopped? What the long way would look at, it would find
 * as it was. */
static inline bool
run_goes_on(const struct uvb_txq *q)
{
	const struct dest *d = q->run;

	return d != NULL && q->run_watched && q->run_s == q->now_s &&
	       atomic_load_explicit(&d->shm->life, memory_order_acquire) == d->life &&
	       atomic_load_explicit(&d->shm->conf_seq, memory_order_acquire) == d->conf_seq &&
	       uvb_fdb_unmoved(&q->run_src) && uvb_fdb_unmoved(&q->run_dst);
}

/* Faults ask anew in each burst. */
static void
run_watch(struct uvb_txq *q)
{
	q->run_s = q->now_s;
	q->run_watched = q->faults == NULL && q->policy_gen == 0 &&
			 uvb_fdb_watch(&q->fdb, q->src_mac, q->port, &q->run_src) &&
			 uvb_fdb_watch(&q->fdb, q->dst_mac, q->run->id, &q->run_dst);
}

static void
run_end(struct uvb_txq *q)
{
	q->run = NULL;
	q->src_known = false;
	q->dst_known = false;
}

static void
burst_begin(struct uvb_txq *q)
{
	const struct uvb_hdr *hdr = uvb_map_hdr(&q->dev->map);
	uint32_t gen = atomic_load_explicit(&hdr->policy_gen, memory_order_acquire);

	q->now_s = coarse_s(hdr);
	q->burst++;
	if (UVB_UNLIKELY(gen != q->policy_gen)) {
		uvb_switch_refresh(q, gen);
		q->run = NULL;
	}
	if (UVB_LIKELY(run_goes_on(q)))
		q->run->checked = q->burst;
	else
		run_end(q);
	q->scan_left = q->cells.nb < SCAN_MAX ? q->cells.nb : SCAN_MAX;
	q->capture = atomic_load_explicit(&hdr->capture_port, memory_order_relaxed);
	if (UVB_UNLIKELY(q->capture != 0))
		uvb_tx_now(q);
	if (UVB_UNLIKELY(atomic_load_explicit(&hdr->fault_seq, memory_order_relaxed) !=
			 q->fault_seq)) {
		uvb_fault_refresh(q);
		run_end(q);
	}
}

static void
burst_end(struct uvb_txq *q)
{
	if (q->run != NULL && !q->run_watched)
		run_watch(q);
	atomic_store_explicit(&q->shm->packets, q->packets, memory_order_relaxed);
	atomic_store_explicit(&q->shm->bytes, q->bytes, memory_order_relaxed);
	atomic_store_explicit(&q->shm->flooded, q->flooded, memory_order_relaxed);
	atomic_store_explicit(&q->shm->copies, q->copies, memory_order_relaxed);
}

/* Up to n frames, the first of a run by the long way. Adds to *taken; false: no more can be taken.
 */
static bool
take_burst(struct uvb_txq *q, const struct uvb_frame *frame, uint16_t n, uint16_t *taken)
{
	uint16_t i = 0;

	while (i < n) {
		if (UVB_LIKELY(q->run != NULL && q->capture == 0))
			i += run_frames(q, &frame[i], n - i);
		if (i == n)
			break;
		if (UVB_UNLIKELY(!take_frame(q, &frame[i]))) {
			*taken += i;
			return false;
		}
		i++;
	}
	*taken += n;
	return true;
}

uint16_t
uvb_tx_burst(struct uvb_txq *q, const struct uvb_frame *frame, uint16_t n)
{
	uint16_t i = 0;

	if (UVB_UNLIKELY(!uvb_dev_up(q->dev)))
		return 0;
	burst_begin(q);
	while (i < n) {
		uint16_t part = n - i < UVB_TX_PUBLISH_EACH ? n - i : UVB_TX_PUBLISH_EACH;

		if (!take_burst(q, &frame[i], part, &i))
			break;
		publish(q);
	}
	publish(q); /* what was staged before the cells ran out */
	burst_end(q);
	return i;
}

bool
uvb_tx_must_wait(struct uvb_txq *q, const struct uvb_frame *f)
{
	struct passage p = {.frame = f};

	burst_begin(q); /* what is asked now, not in the burst before */
	if (UVB_LIKELY(!(q->special & UVB_SPECIAL_SWITCH)))
		return false;
	uvb_tx_head(&p);
	p.dst = load_mac(p.head);
	return held_back(q, &p);
}

bool
uvb_tx_whole(struct uvb_txq *q, const uint8_t *head, uint32_t len, uint32_t seg_len)
{
	const uint32_t harmless = UVB_SPECIAL_VLAN_FILTER | UVB_SPECIAL_SENT_AT;
	uint64_t mac = load_mac(head);
	uint32_t port;
	struct dest *d;

	burst_begin(q); /* what is asked now, not in the burst before */
	if (q->special != 0 || len <= UVB_CELL_ROOM || UVB_MAC_MULTICAST(mac))
		return false;
	port = uvb_fdb_lookup(&q->fdb, mac);
	if (port == UVB_FDB_NONE || port == q->port)
		return false;
	d = dest_get(q, port);
	return d != NULL && d->up && d->conf_valid && (d->special & ~harmless) == 0 &&
	       len <= d->gso_max && seg_len <= d->len_max;
}

uint32_t
uvb_txq_free_cells(const struct uvb_dev *dev, uint16_t txq)
{
	const struct uvb_cells cells = uvb_map_cells(&dev->map, dev->id, txq);
	uint32_t n = 0;

	for (uint32_t i = 0; i < cells.nb; i++)
		n += atomic_load_explicit(&cells.desc[i].owner, memory_order_relaxed) ==
		     UVB_OWNER_FREE;
	return n;
}

uint32_t
uvb_tx_free(const struct uvb_txq *q)
{
	return uvb_txq_free_cells(q->dev, q->txq);
}

struct uvb_txq *
uvb_txq_new(struct uvb_dev *dev, uint16_t txq)
{
	struct uvb_txq *q = calloc(1, sizeof(*q));

	if (q == NULL)
		return NULL;
	q->dev = dev;
	q->port = dev->id;
	q->txq = txq;
	q->cells = uvb_map_cells(&dev->map, dev->id, txq);
	q->window = q->cells.nb < WINDOW ? q->cells.nb : WINDOW;
	q->depth = dev->map.voq_depth;
	q->source = uvb_map_queue_index(&dev->map, dev->id, txq);
	q->shm = uvb_map_txq(&dev->map, dev->id, txq);
	uvb_fdb_init(&q->fdb, &dev->map);
	uvb_txq_renew(q);
	return q;
}

/* Another process may have sent on it since we did. */
void
uvb_txq_renew(struct uvb_txq *q)
{
	q->packets = uvb_load(&q->shm->packets);
	q->bytes = uvb_load(&q->shm->bytes);
	q->flooded = uvb_load(&q->shm->flooded);
	q->copies = uvb_load(&q->shm->copies);
	q->held = 0;
	q->nb_touched = 0;
	q->run = NULL;
	for (uint32_t i = 0; i < q->dev->map.nb_ports; i++) {
		struct dest *d = q->dest[i];

		if (d == NULL)
			continue;
		d->sent = 0;
		d->done = 0;
		for (uint32_t k = 0; k < UVB_MAX_QUEUES; k++)
			d->lane[k].voq = NULL; /* lane_init() reads it anew */
	}
}

static void
dest_free(struct dest *d)
{
	if (d == NULL)
		return;
	for (uint32_t i = 0; i < UVB_MAX_QUEUES; i++)
		if (d->lane[i].bell >= 0)
			close(d->lane[i].bell);
	uvb_rules_free(d->rules);
	free(d);
}

void
uvb_txq_free(struct uvb_txq *q)
{
	if (q == NULL)
		return;
	for (uint32_t i = 0; i < UVB_MAX_PORTS; i++)
		dest_free(q->dest[i]);
	uvb_switch_free(q);
	free(q);
}
