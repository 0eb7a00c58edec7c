/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A managed switch, and the switch inside an SR-IOV adapter: what is asked of a frame because of
 * the policies of the ports it comes from and goes to (struct uvb_policy in abi.h).
 *
 * VLANs are those of IEEE 802.1Q. A port without a mode carries every VLAN, as one that was given
 * no VLANs does in Open vSwitch: what comes with a tag is in the tag's VLAN and goes out with it,
 * what comes without is in none. As long as no port has a mode nobody looks at tags at all.
 *
 * The sender of a frame enforces what its port may send, and what its receiver may receive, both
 * from words that only the daemon writes. What a receiver says of itself (promiscuous, its
 * addresses) counts only as far as its policy allows; so a VF that lies gets nothing it was
 * refused.
 */
#include <stdlib.h>

#include "uvbridge/tx.h"

#define TAG_LEN       4
#define TPID          0x8100u
#define NS            1000000000ULL
#define STORM_NS      (NS / 10)   /* how much of a storm's limit may come at once */
#define RATE_NS       (NS / 1000) /* the same of a VF's rate, and of the uplink outward */
#define UPLINK_IN_NS  (NS / 100)  /* what queues in front of an uplink */
#define WIRE_OVERHEAD 24          /* bytes of preamble, FCS and gap that each frame has on a wire */

enum { RATE_MAX, RATE_MIN };

static bool
in_set(const uint32_t *set, uint32_t n)
{
	return (set[n / 32] >> n % 32) & 1;
}

/* ---------------------------------------------------------------------------------- compiled
 * copies */

static bool
source_special(const struct uvb_policy *p)
{
	return p->adapter != 0 || p->mirror_tx != 0 || p->rate_max != 0 ||
	       (p->flags & (UVB_POL_LINK_DOWN | UVB_POL_SPOOFCHK)) != 0 ||
	       (p->storm[UVB_STORM_BROADCAST] | p->storm[UVB_STORM_MULTICAST] |
		p->storm[UVB_STORM_UNKNOWN]) != 0;
}

static bool
dest_special(const struct uvb_policy *p)
{
	return p->adapter != 0 || p->mirror_rx != 0 || p->isolation != 0 ||
	       (p->flags & UVB_POL_LINK_DOWN) != 0;
}

static void
set_special(uint32_t *special, bool on)
{
	*special = (*special & ~UVB_SPECIAL_SWITCH) | (on ? UVB_SPECIAL_SWITCH : 0);
}

void
uvb_switch_refresh(struct uvb_txq *q, uint32_t gen)
{
	const struct uvb_hdr *hdr = uvb_map_hdr(&q->dev->map);
	struct uvb_policy policy;

	if (!uvb_policy_read(&q->dev->map, q->port, &policy))
		return; /* it changes at this moment: go on as it was, look again with the next
			   burst */
	q->policy = policy;
	q->policy_gen = gen;
	q->vlan_aware = atomic_load_explicit(&hdr->vlan_aware, memory_order_relaxed) != 0;
	q->own_seq = 1; /* no stable configuration has an odd one */
	set_special(&q->special, q->vlan_aware || source_special(&policy));
}

void
uvb_switch_refresh_dest(struct uvb_txq *q, struct dest *d)
{
	struct uvb_policy policy;

	if (!uvb_policy_read(&q->dev->map, d->id, &policy))
		return;
	d->policy = policy;
	d->policy_gen = q->policy_gen;
	set_special(&d->special, q->vlan_aware || dest_special(&policy));
}

void
uvb_switch_restrict(struct dest *d)
{
	if (UVB_LIKELY(!(d->policy.flags & UVB_POL_UNTRUSTED)))
		return;
	d->flags &= ~(UVB_CONF_PROMISC | UVB_CONF_ALLMULTI);
	if (!(d->policy.flags & UVB_POL_MAC))
		return;
	d->nb_mac = 1;
	d->mac[0] = uvb_mac48(d->policy.mac);
}

/* -------------------------------------------------------------------------------------- ingress */

/* The port's own addresses, as it has published them. */
static void
refresh_own(struct uvb_txq *q)
{
	struct uvb_conf conf;
	uint32_t seq;

	if (!uvb_conf_read(q->dev->shm, &conf, &seq))
		return;
	q->own_seq = seq;
	q->nb_own = conf.nb_mac < UVB_MAC_MAX ? conf.nb_mac : UVB_MAC_MAX;
	for (uint32_t i = 0; i < q->nb_own; i++)
		q->own_mac[i] = uvb_mac48(conf.mac[i]);
}

static bool
source_is_own(struct uvb_txq *q, uint64_t src)
{
	const struct uvb_policy *policy = &q->policy;

	if (policy->flags & UVB_POL_MAC) {
		if (src == uvb_mac48(policy->mac))
			return true;
		if (policy->flags & UVB_POL_UNTRUSTED)
			return false;
	}
	if (atomic_load_explicit(&q->dev->shm->conf_seq, memory_order_relaxed) != q->own_seq)
		refresh_own(q);
	for (uint32_t i = 0; i < q->nb_own; i++)
		if (q->own_mac[i] == src)
			return true;
	return false;
}

static void
read_tag(struct passage *p)
{
	p->x.tagged = p->head_len >= UVB_FRAME_MIN + TAG_LEN &&
		      ((uint32_t)p->head[12] << 8 | p->head[13]) == TPID;
	p->x.tci = p->x.tagged ? (uint16_t)(p->head[14] << 8 | p->head[15]) : 0;
}

/* Into which VLAN? false: into none that the port may use. */
static bool
classify(const struct uvb_policy *policy, struct passage *p)
{
	uint16_t of_tag;

	read_tag(p);
	of_tag = p->x.tci & 0xfff; /* 0: a priority, but no VLAN */
	p->x.vlan = of_tag != 0 ? of_tag : policy->vlan;
	if (!p->x.tagged)
		p->x.tci = (uint16_t)(policy->vlan_pcp << 13);
	switch (policy->vlan_mode) {
	case UVB_VLAN_ACCESS:
		return of_tag == 0;
	case UVB_VLAN_TRUNK:
		return p->x.vlan != 0 && in_set(policy->vlan_allowed, p->x.vlan);
	default:
		p->x.vlan = of_tag;
		return true;
	}
}

enum uvb_tx_drop
uvb_switch_ingress(struct uvb_txq *q, struct passage *p)
{
	if (UVB_UNLIKELY(q->policy.flags & UVB_POL_LINK_DOWN))
		return UVB_TXD_LINK_DOWN;
	if ((q->policy.flags & UVB_POL_SPOOFCHK) && !source_is_own(q, p->src))
		return UVB_TXD_SPOOF;
	if (q->vlan_aware && !classify(&q->policy, p))
		return UVB_TXD_VLAN_INGRESS;
	return UVB_TXD_MAX;
}

/* --------------------------------------------------------------------------------------- limits */

static uint64_t
wire_ns(uint32_t len, uint64_t bits_per_s)
{
	return (len + WIRE_OVERHEAD) * 8 * NS / bits_per_s;
}

static enum uvb_storm
storm_of(const struct passage *p)
{
	if (p->dst == UVB_MAC_BROADCAST)
		return UVB_STORM_BROADCAST;
	return UVB_MAC_MULTICAST(p->dst) ? UVB_STORM_MULTICAST : UVB_STORM_UNKNOWN;
}

static enum uvb_tx_drop
storm_limit(struct uvb_txq *q, struct passage *p)
{
	struct uvb_policy_shm *shm = uvb_map_policy(&q->dev->map, q->port);
	enum uvb_storm storm = storm_of(p);

	if (q->policy.storm[storm] == 0)
		return UVB_TXD_MAX;
	if (!uvb_gcra_ready(&shm->storm[storm], uvb_tx_now(q), STORM_NS))
		return (enum uvb_tx_drop)(UVB_TXD_STORM_BROADCAST + (uint32_t)storm);
	p->x.storm = (uint8_t)(1 + storm);
	return UVB_TXD_MAX;
}

static struct uvb_adapter_shm *
adapter_of(const struct uvb_txq *q, const struct uvb_policy *policy)
{
	return uvb_map_adapter(&q->dev->map, policy->adapter - 1u);
}

/* What is promised to a function goes before what the others would like. */
static bool
uplink_ready(struct uvb_txq *q)
{
	const struct uvb_policy_shm *shm = uvb_map_policy(&q->dev->map, q->port);

	if (q->policy.rate_min != 0 && uvb_gcra_ready(&shm->rate[RATE_MIN], uvb_tx_now(q), RATE_NS))
		return true;
	return uvb_gcra_ready(&adapter_of(q, &q->policy)->uplink[UVB_UPLINK_OUT], uvb_tx_now(q),
			      RATE_NS);
}

/* Will it leave its adapter, as far as can be told? */
static bool
leaves(const struct uvb_txq *q, struct passage *p)
{
	uint32_t port;

	if (UVB_MAC_MULTICAST(p->dst))
		return true;
	if (q->vlan_aware)
		classify(&q->policy, p);
	port = uvb_fdb_lookup(&q->fdb, UVB_FDB_KEY(p->x.vlan, p->dst));
	return port == UVB_FDB_NONE || uvb_policy_adapter(&q->dev->map, port) != q->policy.adapter;
}

bool
uvb_switch_must_wait(struct uvb_txq *q, struct passage *p)
{
	const struct uvb_policy_shm *shm = uvb_map_policy(&q->dev->map, q->port);
	const struct uvb_policy *policy = &q->policy;

	if (policy->rate_max != 0 && !uvb_gcra_ready(&shm->rate[RATE_MAX], uvb_tx_now(q), RATE_NS))
		return true;
	return policy->uplink != 0 && !(policy->flags & UVB_POL_UPLINK_DOWN) && leaves(q, p) &&
	       !uplink_ready(q);
}

enum uvb_tx_drop
uvb_switch_limits(struct uvb_txq *q, struct passage *p, const struct dest *d)
{
	const struct uvb_policy *policy = &q->policy;
	enum uvb_tx_drop why = d == NULL ? storm_limit(q, p) : UVB_TXD_MAX;

	if (why != UVB_TXD_MAX)
		return why;
	if (policy->adapter != 0 && (d == NULL || d->policy.adapter != policy->adapter)) {
		p->x.uplink_out = !(policy->flags & UVB_POL_UPLINK_DOWN);
		if (!p->x.uplink_out && d != NULL)
			return UVB_TXD_UPLINK_DOWN;
	}
	p->x.passed = true;
	return UVB_TXD_MAX;
}

static void
pay_rates(struct uvb_txq *q, const struct passage *p)
{
	struct uvb_policy_shm *shm = uvb_map_policy(&q->dev->map, q->port);
	const struct uvb_policy *policy = &q->policy;
	uint32_t len = p->frame->len;

	if (policy->rate_max != 0)
		uvb_gcra_charge(&shm->rate[RATE_MAX], uvb_tx_now(q),
				wire_ns(len, policy->rate_max));
	if (!p->x.uplink_out || policy->uplink == 0)
		return;
	if (policy->rate_min != 0)
		uvb_gcra_charge(&shm->rate[RATE_MIN], uvb_tx_now(q),
				wire_ns(len, policy->rate_min));
	uvb_gcra_charge(&adapter_of(q, policy)->uplink[UVB_UPLINK_OUT], uvb_tx_now(q),
			wire_ns(len, policy->uplink));
}

/* What enters an adapter enters it once, for however many of its functions. */
static void
pay_uplinks_in(struct uvb_txq *q, const struct passage *p)
{
	for (uint32_t set = p->x.uplinks_in; set != 0; set &= set - 1) {
		struct uvb_adapter_shm *a =
			uvb_map_adapter(&q->dev->map, (uint32_t)__builtin_ctz(set));
		uint64_t rate = uvb_load(&a->rate);

		if (rate != 0)
			uvb_gcra_charge(&a->uplink[UVB_UPLINK_IN], uvb_tx_now(q),
					wire_ns(p->frame->len, rate));
	}
}

void
uvb_switch_taken(struct uvb_txq *q, const struct passage *p)
{
	struct uvb_policy_shm *shm = uvb_map_policy(&q->dev->map, q->port);

	if (p->x.passed)
		pay_rates(q, p);
	if (p->x.storm != 0)
		uvb_gcra_charge(&shm->storm[p->x.storm - 1], uvb_tx_now(q),
				NS / q->policy.storm[p->x.storm - 1]);
	pay_uplinks_in(q, p);
}

/* --------------------------------------------------------------------------------------- egress */

static bool
carries(const struct uvb_policy *policy, uint16_t vlan)
{
	switch (policy->vlan_mode) {
	case UVB_VLAN_ACCESS:
		return vlan == policy->vlan;
	case UVB_VLAN_TRUNK:
		return vlan != 0 && in_set(policy->vlan_allowed, vlan);
	default:
		return true;
	}
}

static bool
isolated(const struct uvb_txq *q, const struct dest *d)
{
	return d->policy.isolation != 0 && d->policy.isolation == q->policy.isolation;
}

/* Would the frame go out of one adapter, or into one, whose uplink is down? */
static bool
cut_off(const struct uvb_txq *q, const struct dest *d)
{
	const struct uvb_policy *s = &q->policy, *r = &d->policy;

	return s->adapter != r->adapter && ((s->adapter != 0 && (s->flags & UVB_POL_UPLINK_DOWN)) ||
					    (r->adapter != 0 && (r->flags & UVB_POL_UPLINK_DOWN)));
}

bool
uvb_switch_member(const struct uvb_txq *q, const struct dest *d, const struct passage *p)
{
	return !(d->policy.flags & UVB_POL_LINK_DOWN) && !isolated(q, d) && !cut_off(q, d) &&
	       (!q->vlan_aware || carries(&d->policy, p->x.vlan));
}

/* Through the uplink of the receiver's adapter. */
static bool
enters(struct uvb_txq *q, const struct dest *d, struct passage *p)
{
	uint32_t bit;

	if (d->policy.adapter == 0 || d->policy.adapter == q->policy.adapter)
		return true;
	if (d->policy.flags & UVB_POL_UPLINK_DOWN)
		return false;
	bit = 1u << (d->policy.adapter - 1);
	if (d->policy.uplink == 0 || (p->x.uplinks_in & bit) != 0)
		return true;
	if (!uvb_gcra_ready(&adapter_of(q, &d->policy)->uplink[UVB_UPLINK_IN], uvb_tx_now(q),
			    UPLINK_IN_NS))
		return false;
	p->x.uplinks_in |= bit;
	return true;
}

enum uvb_pair_drop
uvb_switch_egress(struct uvb_txq *q, const struct dest *d, struct passage *p)
{
	if (d->policy.flags & UVB_POL_LINK_DOWN)
		return UVB_PD_LINK_DOWN;
	if (isolated(q, d))
		return UVB_PD_GROUP;
	if (q->vlan_aware && !carries(&d->policy, p->x.vlan))
		return UVB_PD_VLAN_EGRESS;
	if (!enters(q, d, p))
		return UVB_PD_UPLINK;
	return UVB_PD_MAX;
}

/* ----------------------------------------------------------------------------------------- tags */

/* Segments for a frame of n: its own array as a rule. */
static struct uvb_seg *
edit_segs(struct tag_edit *e, uint32_t n)
{
	struct uvb_seg *more;

	if (n <= UVB_TX_SEG_MAX)
		return e->own;
	if (n > e->nb_seg) {
		more = realloc(e->seg, n * sizeof(*more));
		if (more == NULL)
			return NULL;
		e->seg = more;
		e->nb_seg = n;
	}
	return e->seg;
}

/* The frame's bytes from `skip` on, behind a new beginning of `len` bytes. */
static bool
replace_beginning(struct tag_edit *e, struct passage *p, uint32_t len, uint32_t skip)
{
	const struct uvb_frame *f = p->frame;
	struct uvb_seg *to = edit_segs(e, f->nb_seg + 1u);
	uint32_t left = skip;

	if (to == NULL)
		return false;
	e->frame = (struct uvb_frame){to, 0, f->flags, f->len + len - skip};
	to[e->frame.nb_seg++] = (struct uvb_seg){e->head, len};
	for (uint32_t i = 0; i < f->nb_seg; i++) {
		uint32_t drop = left < f->seg[i].len ? left : f->seg[i].len;

		left -= drop;
		if (f->seg[i].len > drop)
			to[e->frame.nb_seg++] = (struct uvb_seg){
				(const uint8_t *)f->seg[i].base + drop, f->seg[i].len - drop};
	}
	/* For those who look at headers: the bytes that follow, too. */
	memcpy(e->head + len, p->head + skip, p->head_len - skip);
	p->frame = &e->frame;
	p->head = e->head;
	p->head_len = p->head_len - skip + len;
	if (p->head_len > UVB_TX_HEAD_MAX)
		p->head_len = UVB_TX_HEAD_MAX;
	return true;
}

static bool
put_tag(struct tag_edit *e, struct passage *p)
{
	uint16_t tci = (uint16_t)((p->x.tci & 0xf000) | p->x.vlan);
	const uint8_t tag[TAG_LEN] = {TPID >> 8, TPID & 0xff, (uint8_t)(tci >> 8), (uint8_t)tci};

	memcpy(e->head, p->head, 12);
	memcpy(e->head + 12, tag, TAG_LEN);
	return replace_beginning(e, p, 12 + TAG_LEN, p->x.tagged ? 12 + TAG_LEN : 12);
}

static bool
strip_tag(struct tag_edit *e, struct passage *p)
{
	memcpy(e->head, p->head, 12);
	return replace_beginning(e, p, 12, 12 + TAG_LEN);
}

bool
uvb_switch_retag(struct uvb_txq *q, const struct dest *d, struct passage *p)
{
	bool has = p->x.tagged && (p->x.tci & 0xfff) == p->x.vlan, wants;

	if (!q->vlan_aware || (d->policy.vlan_mode == UVB_VLAN_NONE && p->x.vlan == 0))
		return true;
	wants = d->policy.vlan_mode == UVB_VLAN_NONE ||
		(d->policy.vlan_mode == UVB_VLAN_TRUNK && p->x.vlan != d->policy.vlan);
	if (wants)
		return has || put_tag(&q->edit, p);
	return !p->x.tagged || strip_tag(&q->edit, p);
}

void
uvb_switch_free(struct uvb_txq *q)
{
	free(q->edit.seg);
}
