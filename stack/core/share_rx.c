/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Frames and buffers between the slots of a host. */
#include "stack/core/instance.h"
#include "stack/core/latency.h"
#include "stack/core/share_priv.h"
#include "stack/core/trace.h"

#include <string.h>

#include "lwip/udp.h"

/* ------------------------------------------------------------------------------------- buffers */

static struct rte_mbuf *
mbuf_of(const struct uvs_share *s, uvs_ref ref)
{
	return uvs_mbuf_of_label(s->host->x.pool[UVS_REF_POOL(ref)].label_at[UVS_REF_INDEX(ref)]);
}

static uvs_ref
rest_of(const struct rte_mbuf *m)
{
	return atomic_load_explicit(&uvs_mbuf_priv(m)->label.rest, memory_order_relaxed);
}

static void
set_rest(struct rte_mbuf *m, uvs_ref rest)
{
	atomic_store_explicit(&uvs_mbuf_priv(m)->label.rest, rest, memory_order_relaxed);
}

/* A frame of several buffers, before and after steering: the soft queues know of them. */
static void
tie(struct rte_mbuf *m)
{
	for (; m->next != NULL; m = m->next)
		set_rest(m, uvs_mbuf_priv(m->next)->label.ref);
}

static void
untie(struct rte_mbuf *m)
{
	for (; m != NULL; m = m->next)
		set_rest(m, 0);
}

/* A buffer of ours that has come home, as it has to be in the pool: whoever had it may have died.
 */
static void
put_back(struct rte_mbuf *m)
{
	if (unlikely(m->next != NULL))
		m->next = NULL;
	if (unlikely(rest_of(m) != 0))
		set_rest(m, 0);
	uvs_mbuf_priv(m)->way = UVS_WAY_IN;
	m->nb_segs = 1;
	rte_mbuf_refcnt_set(m, 1);
	rte_mbuf_raw_free(m);
}

void
uvs_share_send_home(struct uvs_share *s, struct rte_mbuf *m)
{
	uvs_ref ref = uvs_mbuf_priv(m)->label.ref;

	if (likely(uvs_softq_stage(&s->end, UVS_REF_POOL(ref), ref)))
		return;
	m->next = s->homeless;
	s->homeless = m;
}

static void
try_homeless(struct uvs_share *s)
{
	struct rte_mbuf *m = s->homeless, *next;

	s->homeless = NULL;
	for (; m != NULL; m = next) {
		next = m->next;
		uvs_share_send_home(s, m);
	}
}

/* ------------------------------------------------------------------------- whose connection? */

static void
address(ip_addr_t *ip, const uint32_t *words, bool v6)
{
	memset(ip, 0, sizeof(*ip));
	IP_SET_TYPE(ip, v6 ? IPADDR_TYPE_V6 : IPADDR_TYPE_V4);
	memcpy(ip, words, v6 ? 4 * sizeof(*words) : sizeof(*words));
}

/* A connected one: what others of its port get is settled by the claims. */
static uint8_t *
own_udp(const ip_addr_t *local, const ip_addr_t *remote, const struct uvs_flow *f)
{
	struct udp_pcb *p = uvl_udp_find(local, f->lport, remote, f->rport);

	return p != NULL && (p->flags & UDP_FLAGS_CONNECTED) != 0 ? &p->uvl_steer : NULL;
}

uint8_t *
uvs_share_own(void *arg, const struct uvs_flow *f)
{
	struct tcp_pcb *pcb;
	ip_addr_t local, remote;

	(void)arg; /* the instance is entered */
	address(&local, f->local, f->family == 6);
	address(&remote, f->remote, f->family == 6);
	if (f->proto != IPPROTO_TCP)
		return own_udp(&local, &remote, f);
	pcb = uvl_tcp_find(&local, f->lport, &remote, f->rport, NULL);
	return pcb != NULL ? &pcb->uvl_steer : NULL;
}

/* ------------------------------------------------------------------------------------- receive */

bool
uvs_share_mine(const struct uvs_share *s)
{
	return uvs_lease_mine(&s->host->lease[s->queue], s->gen);
}

static void
no_copy(struct uvs_share *s, const struct rte_mbuf *m)
{
	uvs_count(&s->me->c.copy_nombuf, 1);
	uvs_inst_note(uvs_self, UVS_LOST_COPY_NO_MBUF, m);
}

/* A whole frame in buffers of ours; NULL: there are none. */
static struct rte_mbuf *
copy_of(struct uvs_share *s, const struct rte_mbuf *m)
{
	struct rte_mbuf *copy = rte_pktmbuf_copy(m, s->me->pool, 0, UINT32_MAX);

	if (copy == NULL)
		no_copy(s, m);
	else if (unlikely(copy->nb_segs > 1))
		tie(copy);
	if (copy != NULL)
		uvs_mbuf_priv(copy)->way = uvs_mbuf_priv(m)->way;
	return copy;
}

static void
drop_copy(struct rte_mbuf *copy)
{
	untie(copy);
	rte_pktmbuf_free(copy);
}

#define ARP_OPERATION 7u /* low byte of it */
#define ARP_REQUEST   1u
#define ICMP6_SOLICIT 135u

/* ARP request or neighbour solicitation: a question to the host, and one answer is enough. */
static bool
is_question(const struct rte_mbuf *m)
{
	const struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, const struct rte_ether_hdr *);
	const uint8_t *at = (const uint8_t *)(eth + 1);
	const struct rte_ipv6_hdr *ip = (const void *)at;

	if (eth->ether_type == rte_cpu_to_be_16(RTE_ETHER_TYPE_ARP))
		return m->data_len > sizeof(*eth) + ARP_OPERATION &&
		       at[ARP_OPERATION] == ARP_REQUEST;
	return m->data_len > sizeof(*eth) + sizeof(*ip) &&
	       eth->ether_type == rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV6) &&
	       ip->proto == IPPROTO_ICMPV6 && *(const uint8_t *)(ip + 1) == ICMP6_SOLICIT;
}

static void
copy_to_others(struct uvs_share *s, const struct uvs_frame *f)
{
	struct rte_mbuf *m = f->tag, *copy;

	if (is_question(m))
		return;
	for (uint64_t left = f->copies; left != 0; left &= left - 1) {
		copy = copy_of(s, m);
		if (copy == NULL)
			return;
		if (!uvs_steer_copy(&s->steer, (uint32_t)__builtin_ctzll(left),
				    uvs_mbuf_priv(copy)->label.ref, &uvs_mbuf_priv(copy)->trail))
			drop_copy(copy);
	}
}

_Static_assert(UVS_LOST_STEER_STALE - UVS_LOST_STEER_FULL == UVS_DROP_STALE - UVS_DROP_FULL,
	       "as steering names them");

static void
throw_away(struct uvs_instance *in, const struct uvs_frame *f)
{
	if (f->verdict == UVS_DROP)
		uvs_inst_note(in, (enum uvs_lost)(UVS_LOST_STEER_FULL + f->reason), f->tag);
	rte_pktmbuf_free(f->tag);
}

/* Who has received a frame says what is wrong with it; who has a copy does not say it again. */
static void
receive(struct uvs_instance *in, struct rte_mbuf *m)
{
	uvl_self->silent = uvs_mbuf_priv(m)->trail == UVS_TRAIL_END;
	if (unlikely(uvs_mbuf_priv(m)->way == UVS_WAY_LOOP))
		uvs_netif_receive_lo(in, m);
	else
		uvs_netif_receive(in, m);
	uvl_self->silent = false;
}

static void
carry_out(struct uvs_instance *in, const struct uvs_frame *f)
{
	bool here = f->verdict == UVS_HERE;
	struct rte_mbuf *m = f->tag;

	if (f->verdict == UVS_GONE)
		UVS_TRACE(steer_forward, f->to, f->len);
	if (f->verdict == UVS_GONE || f->verdict == UVS_HELD_BACK)
		return;
	if (unlikely(m->nb_segs > 1))
		untie(m);
	if (f->verdict == UVS_COPY) {
		copy_to_others(in->share, f);
		here = f->here;
	}
	if (!here)
		throw_away(in, f);
	else
		receive(in, m);
}

static void
describe(struct uvs_frame *f, struct rte_mbuf *m, uint32_t flags)
{
	struct uvs_mbuf_priv *priv = uvs_mbuf_priv(m);

	if (unlikely(m->nb_segs > 1))
		tie(m);
	*f = (struct uvs_frame){
		.data = rte_pktmbuf_mtod(m, const uint8_t *),
		.len = m->data_len,
		.hash = m->hash.rss,
		.ref = priv->label.ref,
		.flags = flags |
			 ((m->ol_flags & RTE_MBUF_F_RX_RSS_HASH) != 0 ? UVS_FRAME_HASHED : 0),
		.trail = &priv->trail,
		.tag = m,
	};
}

/* n <= UVS_RX_BURST frames, decided and carried out. */
static void
decide(struct uvs_instance *in, struct uvs_frame *f, uint32_t n)
{
	struct uvs_share *s = in->share;

	s->steer.now = in->now_ns;
	uvs_steer_burst(&s->steer, f, n);
	for (uint32_t i = 0; i < n; i++)
		carry_out(in, &f[i]);
	while (unlikely((n = uvs_steer_late(&s->steer, f, UVS_RX_BURST)) != 0))
		for (uint32_t i = 0; i < n; i++)
			carry_out(in, &f[i]);
}

void
uvs_share_receive(struct uvs_instance *in, struct rte_mbuf **m, uint32_t n)
{
	struct uvs_frame f[UVS_RX_BURST];

	uvs_count(&in->share->me->c.direct, n);
	for (uint32_t i = 0; i < n; i++) {
		uvs_mbuf_priv(m[i])->trail = 0;
		uvs_mbuf_priv(m[i])->way = UVS_WAY_IN;
		describe(&f[i], m[i], 0);
	}
	decide(in, f, n);
}

/* The buffers of a frame, one behind the other in ref[], as its sender said; how many. What he
 * wrote into them is not believed. */
static uint32_t
join_segments(const struct uvs_share *s, struct rte_mbuf *head, const uvs_ref *ref, uint32_t n)
{
	struct rte_mbuf *last = head;
	uint32_t used = 1;

	if (likely(rest_of(head) == 0))
		return 1;
	head->pkt_len = head->data_len;
	for (; used < n && rest_of(last) == ref[used]; used++) {
		last->next = mbuf_of(s, ref[used]);
		last = last->next;
		head->pkt_len += last->data_len;
	}
	last->next = NULL;
	set_rest(last, 0);
	head->nb_segs = (uint16_t)used;
	return used;
}

/* One that came by a soft queue: ours that comes home, one to be sent, or one to be decided. */
static bool
is_frame(struct uvs_instance *in, struct rte_mbuf *m, uvs_ref ref, struct uvs_frame *f)
{
	struct uvs_share *s = in->share;

	if (UVS_REF_POOL(ref) == s->slot) {
		put_back(m);
		return false;
	}
	if (uvs_mbuf_priv(m)->way != UVS_WAY_OUT) {
		describe(f, m, UVS_FRAME_FORWARDED);
		return true;
	}
	uvs_count(&s->me->c.proxied, 1);
	uvs_port_send(&in->port, m);
	return false;
}

static void
take_frames(struct uvs_instance *in, struct uvs_frame *f, const uvs_ref *ref, uint32_t n)
{
	struct uvs_share *s = in->share;
	uint32_t k = 0;

	for (uint32_t i = 0; i < n; i++)
		rte_prefetch0(mbuf_of(s, ref[i]));
	for (uint32_t i = 0; i < n;) {
		struct rte_mbuf *m = mbuf_of(s, ref[i]);
		uint32_t segs =
			UVS_REF_POOL(ref[i]) == s->slot ? 1 : join_segments(s, m, &ref[i], n - i);

		k += is_frame(in, m, ref[i], &f[k]);
		i += segs;
	}
	if (k != 0 || s->steer.nb_held != 0)
		decide(in, f, k);
}

/* Room for frames of several buffers, and for a burst of others beside. */
#define TAKE UVS_STEER_BURST
_Static_assert(TAKE >= UVS_SEGS_MAX, "a whole frame");

uint32_t
uvs_share_poll(struct uvs_instance *in)
{
	struct uvs_share *s = in->share;
	struct uvs_frame f[TAKE];
	uvs_ref ref[TAKE];
	uint32_t n, total = 0;

	if (unlikely(s->homeless != NULL))
		try_homeless(s);
	do {
		n = uvs_softq_take(&s->end, ref, TAKE);
		if (uvs_latency_on(in) && n != 0)
			uvs_latency_received(in, NULL, 0);
		take_frames(in, f, ref, n);
		total += n;
	} while (n >= TAKE / 2 && total < in->conf->budget);
	in->seen->loop.time_squeeze += n >= TAKE / 2;
	return total;
}

/* -------------------------------------------------------------------- to the host's own address */

/* Nothing could have changed it since its sums were left to the NIC. */
#define GOOD_SUMS (RTE_MBUF_F_RX_IP_CKSUM_GOOD | RTE_MBUF_F_RX_L4_CKSUM_GOOD)

/* Where the wire would take an IP packet of ours: to ourselves, or to a group (RFC 1112, 6.4; RFC
 * 2464, 7). */
static void
put_ether(const struct uvs_instance *in, struct rte_ether_hdr *eth, const uint8_t *ip)
{
	bool v6 = ip[0] >> 4 == 6;

	eth->ether_type = rte_cpu_to_be_16(v6 ? RTE_ETHER_TYPE_IPV6 : RTE_ETHER_TYPE_IPV4);
	eth->dst_addr = eth->src_addr = in->port.mac;
	if (v6 && ip[24] == 0xff)
		eth->dst_addr =
			(struct rte_ether_addr){{0x33, 0x33, ip[36], ip[37], ip[38], ip[39]}};
	else if (!v6 && ip[16] >> 4 == 0xe)
		eth->dst_addr =
			(struct rte_ether_addr){{1, 0, 0x5e, ip[17] & 0x7f, ip[18], ip[19]}};
}

/* Grow the frame by bytes of p from `from` on: as many as fit into one buffer more. 0: no buffer.
 */
static uint16_t
add_segment(struct uvs_instance *in, struct rte_mbuf *m, const struct pbuf *p, uint16_t from)
{
	struct rte_mbuf *seg =
		m->pkt_len == sizeof(struct rte_ether_hdr) ? m : rte_pktmbuf_alloc(in->mem.pool);
	uint16_t n;

	if (seg == NULL || (seg != m && rte_pktmbuf_chain(m, seg) != 0)) {
		rte_pktmbuf_free(seg);
		return 0;
	}
	n = RTE_MIN(rte_pktmbuf_tailroom(seg), (uint16_t)(p->tot_len - from));
	return pbuf_copy_partial(p, rte_pktmbuf_append(m, n), n, from);
}

/* The packet in buffers of ours, as if it had come from the wire: it may be larger than any that
 * could. */
static struct rte_mbuf *
frame_of(struct uvs_instance *in, const struct pbuf *p)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(in->mem.pool);
	struct rte_ether_hdr *eth;
	uint16_t n;

	if (m == NULL)
		return NULL;
	eth = (void *)rte_pktmbuf_append(m, sizeof(*eth));
	for (uint16_t done = 0; done < p->tot_len; done = (uint16_t)(done + n)) {
		n = add_segment(in, m, p, done);
		if (n == 0) {
			rte_pktmbuf_free(m);
			return NULL;
		}
	}
	put_ether(in, eth, (const uint8_t *)(eth + 1));
	m->ol_flags = GOOD_SUMS;
	uvs_mbuf_priv(m)->trail = 0;
	return m;
}

bool
uvs_share_has_lo(const struct uvs_share *s)
{
	return uvs_share_is_alone(s);
}

void
uvs_share_loop(struct uvs_instance *in, const struct pbuf *p, bool lo)
{
	struct uvs_share *s = in->share;
	struct rte_mbuf *m = frame_of(in, p);
	struct uvs_frame f;

	if (m == NULL) {
		uvs_count(&s->me->c.copy_nombuf, 1);
		return;
	}
	uvs_mbuf_priv(m)->way = lo ? UVS_WAY_LOOP : UVS_WAY_IN;
	describe(&f, m, UVS_FRAME_LOCAL);
	decide(in, &f, 1);
}

/* ------------------------------------------------------------------------------------ transmit */

/* A living slot with a transmit queue; 0: there is none. */
static uint32_t
sender_for(struct uvs_share *s)
{
	for (uint32_t slot = 1; slot <= s->host->nb_queues; slot++)
		if (uvs_softq_up(&s->end, slot))
			return slot;
	return 0;
}

static bool
proxy_one(struct uvs_share *s, uint32_t to, struct rte_mbuf *m)
{
	struct uvs_mbuf_priv *priv = uvs_mbuf_priv(m);

	priv->way = UVS_WAY_OUT;
	return uvs_softq_stage(&s->end, to, priv->label.ref);
}

void
uvs_share_proxy(struct uvs_share *s, struct uvs_port *p)
{
	uint32_t to = sender_for(s);

	for (uint16_t i = 0; i < p->tx_n; i++) {
		if (to != 0 && proxy_one(s, to, p->tx[i]))
			continue;
		uvs_count(to == 0 ? &s->me->c.proxy_none : &s->me->c.proxy_full, 1);
		uvs_inst_note(uvs_self, to == 0 ? UVS_LOST_PROXY_NONE : UVS_LOST_PROXY_FULL,
			      p->tx[i]);
		rte_pktmbuf_free(p->tx[i]);
	}
	p->seen->port.tx_packets += p->tx_n;
	p->tx_n = p->tx_mbufs = 0;
}
