/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Frames and buffers between the slots of a host. */
#include "stack/core/instance.h"
#include "stack/core/share_priv.h"

#include <string.h>

#include "lwip/udp.h"

/* ------------------------------------------------------------------------------------- buffers */

static struct rte_mbuf *
mbuf_of(const struct uvs_share *s, uvs_ref ref)
{
	return uvs_mbuf_of_owner(s->host->x.pool[UVS_REF_POOL(ref)].owner_at[UVS_REF_INDEX(ref)]);
}

/* As it has to be in a pool. */
static void
make_raw(struct rte_mbuf *m)
{
	m->next = NULL;
	m->nb_segs = 1;
	rte_mbuf_refcnt_set(m, 1);
}

void
uvs_share_send_home(struct uvs_share *s, struct rte_mbuf *m)
{
	uvs_ref ref = uvs_mbuf_priv(m)->ref;

	make_raw(m);
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

static uint8_t *
own_udp(const ip_addr_t *local, const ip_addr_t *remote, const struct uvs_flow *f)
{
	for (struct udp_pcb *p = udp_pcbs; p != NULL; p = p->next)
		if ((p->flags & UDP_FLAGS_CONNECTED) != 0 && p->local_port == f->lport &&
		    p->remote_port == f->rport && ip_addr_cmp(&p->remote_ip, remote) &&
		    (ip_addr_isany(&p->local_ip) || ip_addr_cmp(&p->local_ip, local)))
			return &p->uvl_steer;
	return NULL;
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

/* A whole frame in a buffer of ours; NULL: there is none. */
static struct rte_mbuf *
copy_of(struct uvs_share *s, const struct rte_mbuf *m)
{
	struct rte_mbuf *copy = rte_pktmbuf_alloc(s->me->pool);

	if (copy == NULL) {
		uvs_count(&s->me->c.copy_nombuf, 1);
		return NULL;
	}
	copy->data_off = m->data_off;
	copy->data_len = m->data_len;
	copy->pkt_len = m->pkt_len;
	copy->ol_flags = m->ol_flags;
	memcpy(rte_pktmbuf_mtod(copy, void *), rte_pktmbuf_mtod(m, void *), m->data_len);
	uvs_mbuf_priv(copy)->trail = 0;
	return copy;
}

/* An ARP request is a question to the host: one answer is enough. */
static bool
is_arp_request(const struct rte_mbuf *m)
{
	const struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, const struct rte_ether_hdr *);
	const uint8_t *arp = (const uint8_t *)(eth + 1);

	return m->data_len >= sizeof(*eth) + 8 &&
	       eth->ether_type == rte_cpu_to_be_16(RTE_ETHER_TYPE_ARP) && arp[6] == 0 &&
	       arp[7] == 1;
}

static void
copy_to_others(struct uvs_share *s, const struct uvs_frame *f)
{
	struct rte_mbuf *m = f->tag, *copy;

	if (is_arp_request(m))
		return;
	for (uint64_t left = f->copies; left != 0; left &= left - 1) {
		copy = copy_of(s, m);
		if (copy == NULL)
			return;
		if (!uvs_steer_copy(&s->steer, (uint32_t)__builtin_ctzll(left),
				    uvs_mbuf_priv(copy)->ref, &uvs_mbuf_priv(copy)->trail))
			rte_pktmbuf_free(copy);
	}
}

static void
carry_out(struct uvs_instance *in, const struct uvs_frame *f)
{
	bool here = f->verdict == UVS_HERE;

	if (f->verdict == UVS_GONE || f->verdict == UVS_HELD_BACK)
		return;
	if (f->verdict == UVS_COPY) {
		copy_to_others(in->share, f);
		here = f->here;
	}
	if (here)
		uvs_netif_receive(in, f->tag);
	else
		rte_pktmbuf_free(f->tag);
}

static void
describe(struct uvs_frame *f, struct rte_mbuf *m, uint32_t flags)
{
	struct uvs_mbuf_priv *priv = uvs_mbuf_priv(m);

	*f = (struct uvs_frame){
		.data = rte_pktmbuf_mtod(m, const uint8_t *),
		.len = m->data_len,
		.hash = m->hash.rss,
		.ref = priv->ref,
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
		uvs_mbuf_priv(m[i])->proxy = 0;
		describe(&f[i], m[i], 0);
	}
	decide(in, f, n);
}

/* One that came by a soft queue: ours that comes home, one to be sent, or one to be decided. */
static bool
is_frame(struct uvs_instance *in, uvs_ref ref, struct uvs_frame *f)
{
	struct uvs_share *s = in->share;
	struct rte_mbuf *m = mbuf_of(s, ref);

	if (UVS_REF_POOL(ref) == s->slot) {
		rte_mbuf_raw_free(m);
		return false;
	}
	if (uvs_mbuf_priv(m)->proxy == 0) {
		describe(f, m, UVS_FRAME_FORWARDED);
		return true;
	}
	uvs_mbuf_priv(m)->proxy = 0;
	uvs_count(&s->me->c.proxied, 1);
	uvs_port_send(&in->port, m);
	return false;
}

uint32_t
uvs_share_poll(struct uvs_instance *in)
{
	struct uvs_share *s = in->share;
	struct uvs_frame f[UVS_RX_BURST];
	uvs_ref ref[UVS_RX_BURST];
	uint32_t n, k, total = 0;

	if (unlikely(s->homeless != NULL))
		try_homeless(s);
	for (int round = 0; round < UVS_BUDGET_RX; round++) {
		n = uvs_softq_take(&s->end, ref, UVS_RX_BURST);
		for (uint32_t i = 0; i < n; i++)
			rte_prefetch0(mbuf_of(s, ref[i]));
		k = 0;
		for (uint32_t i = 0; i < n; i++)
			k += is_frame(in, ref[i], &f[k]);
		if (k != 0 || s->steer.nb_held != 0)
			decide(in, f, k);
		total += n;
		if (n < UVS_RX_BURST)
			break;
	}
	return total;
}

/* -------------------------------------------------------------------- to the host's own address */

/* Nothing could have changed it since its sums were left to the NIC. */
#define GOOD_SUMS (RTE_MBUF_F_RX_IP_CKSUM_GOOD | RTE_MBUF_F_RX_L4_CKSUM_GOOD)

/* The packet in a buffer of ours, as if it had come from the wire. */
static struct rte_mbuf *
frame_of(struct uvs_instance *in, const struct pbuf *p)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(in->mem.pool);
	struct rte_ether_hdr *eth;

	if (m == NULL)
		return NULL;
	eth = (void *)rte_pktmbuf_append(m, (uint16_t)(sizeof(*eth) + p->tot_len));
	if (eth == NULL) {
		rte_pktmbuf_free(m);
		return NULL;
	}
	eth->dst_addr = eth->src_addr = in->port.mac;
	pbuf_copy_partial(p, eth + 1, p->tot_len, 0);
	eth->ether_type = rte_cpu_to_be_16(
		*(const uint8_t *)(eth + 1) >> 4 == 6 ? RTE_ETHER_TYPE_IPV6 : RTE_ETHER_TYPE_IPV4);
	m->ol_flags = GOOD_SUMS;
	uvs_mbuf_priv(m)->trail = 0;
	uvs_mbuf_priv(m)->proxy = 0;
	return m;
}

void
uvs_share_loop(struct uvs_instance *in, const struct pbuf *p)
{
	struct uvs_share *s = in->share;
	struct rte_mbuf *m = frame_of(in, p);
	struct uvs_frame f;

	if (m == NULL) {
		uvs_count(&s->me->c.copy_nombuf, 1);
		return;
	}
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

	priv->proxy = 1;
	if (uvs_softq_stage(&s->end, to, priv->ref))
		return true;
	priv->proxy = 0;
	return false;
}

void
uvs_share_proxy(struct uvs_share *s, struct uvs_port *p)
{
	uint32_t to = sender_for(s);

	for (uint16_t i = 0; i < p->tx_n; i++) {
		if (to != 0 && proxy_one(s, to, p->tx[i]))
			continue;
		uvs_count(to == 0 ? &s->me->c.proxy_none : &s->me->c.proxy_full, 1);
		rte_pktmbuf_free(p->tx[i]);
	}
	p->stats.tx_packets += p->tx_n;
	p->tx_n = 0;
}
