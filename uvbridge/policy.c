/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the switch asks of a port: reading and writing it, does it make sense; and limits.
 */
#include "uvbridge/internal.h"

#define READ_TRIES 3
/* A word this far ahead of what its limit allows was not put there by the limit: the clock was set
 * back, or somebody scribbled. */
#define TAT_MAX_NS 60000000000ULL

/* ----------------------------------------------------------------------------------- the two
 * copies */

_Static_assert(sizeof(struct uvb_policy) % sizeof(uint32_t) == 0, "copied in words");

/* Whoever can write the segment could have written it. */
static void
put_right(const struct uvb_map *map, struct uvb_policy *p)
{
	p->vlan &= 0xfff;
	p->vlan_pcp &= 7;
	if (p->mirror_tx > map->nb_ports)
		p->mirror_tx = 0;
	if (p->mirror_rx > map->nb_ports)
		p->mirror_rx = 0;
	if (p->adapter > UVB_ADAPTERS_MAX)
		p->adapter = 0;
	if (p->adapter == 0)
		p->uplink = 0;
}

bool
uvb_policy_read(const struct uvb_map *map, uint32_t port, struct uvb_policy *policy)
{
	struct uvb_policy_shm *shm = uvb_map_policy(map, port);

	for (int i = 0; i < READ_TRIES; i++) {
		uint32_t seq = atomic_load_explicit(&shm->seq, memory_order_acquire);

		uvb_copy_words(policy, &shm->copy[seq & 1], sizeof(*policy));
		atomic_thread_fence(memory_order_acquire);
		if (atomic_load_explicit(&shm->seq, memory_order_relaxed) == seq) {
			put_right(map, policy);
			return true;
		}
	}
	return false;
}

void
uvb_policy_write(const struct uvb_map *map, uint32_t port, const struct uvb_policy *policy)
{
	struct uvb_policy_shm *shm = uvb_map_policy(map, port);
	uint32_t seq = atomic_load_explicit(&shm->seq, memory_order_relaxed) + 1;

	uvb_copy_words(&shm->copy[seq & 1], policy, sizeof(*policy));
	atomic_store_explicit(&shm->seq, seq, memory_order_release);
	/* Before the other copy is written again, nobody is to see it as the one in force. */
	atomic_thread_fence(memory_order_seq_cst);
}

static bool
any_vlan(const struct uvb_map *map)
{
	struct uvb_policy p;

	for (uint32_t i = 0; i < map->nb_ports; i++)
		if (uvb_policy_read(map, i, &p) && p.vlan_mode != UVB_VLAN_NONE)
			return true;
	return false;
}

void
uvb_policy_announce(const struct uvb_map *map)
{
	struct uvb_hdr *h = uvb_map_hdr(map);
	uint32_t gen = atomic_load_explicit(&h->policy_gen, memory_order_relaxed) + 1;

	atomic_store_explicit(&h->vlan_aware, any_vlan(map), memory_order_relaxed);
	atomic_store_explicit(&h->policy_gen, gen + (gen == 0), memory_order_release);
}

/* One field alone is read in one piece. */
static const struct uvb_policy *
in_force(const struct uvb_map *map, uint32_t port)
{
	struct uvb_policy_shm *shm = uvb_map_policy(map, port);

	return &shm->copy[atomic_load_explicit(&shm->seq, memory_order_acquire) & 1];
}

uint32_t
uvb_policy_weight(const struct uvb_map *map, uint32_t port)
{
	uint32_t w = __atomic_load_n(&in_force(map, port)->weight, __ATOMIC_RELAXED);

	return w == 0 ? 1 : w > UVB_WEIGHT_MAX ? UVB_WEIGHT_MAX : w;
}

uint32_t
uvb_policy_adapter(const struct uvb_map *map, uint32_t port)
{
	return __atomic_load_n(&in_force(map, port)->adapter, __ATOMIC_RELAXED);
}

/* ------------------------------------------------------------------------------------------ checks
 */

bool
uvb_policy_is_zero(const struct uvb_policy *p)
{
	static const struct uvb_policy zero;

	return memcmp(p, &zero, sizeof(zero)) == 0;
}

static bool
bit(const uint32_t *set, uint32_t n)
{
	return (set[n / 32] >> n % 32) & 1;
}

static const char *
check_vlan(const struct uvb_policy *p)
{
	if (p->vlan_mode > UVB_VLAN_TRUNK)
		return "a port's VLAN mode is access, trunk or none";
	if (p->vlan > 4094 || (p->vlan_mode == UVB_VLAN_ACCESS && p->vlan == 0))
		return "a VLAN is a number from 1 to 4094";
	if (p->vlan_pcp > 7)
		return "a priority (qos) is a number from 0 to 7";
	if (bit(p->vlan_allowed, 0) || bit(p->vlan_allowed, 4095))
		return "VLANs are numbers from 1 to 4094";
	if (p->vlan_mode == UVB_VLAN_TRUNK && p->vlan != 0 && !bit(p->vlan_allowed, p->vlan))
		return "the native VLAN is not among those the trunk allows";
	return NULL;
}

const char *
uvb_policy_check(const struct uvb_policy *p)
{
	if (p->weight > UVB_WEIGHT_MAX)
		return "a weight is a number from 1 to 64";
	if (p->vf_state > UVB_VF_DISABLE)
		return "a VF's state is auto, enable or disable";
	if ((p->flags & UVB_POL_MAC) && (p->mac[0] & 1))
		return "a VF's MAC address cannot be a multicast address";
	if (p->rate_max != 0 && p->rate_min > p->rate_max)
		return "min_tx_rate is more than max_tx_rate";
	return check_vlan(p);
}

const char *
uvb_policy_forbids(const struct uvb_policy *p, const struct uvb_conf *conf,
		   const struct uvb_conf *before)
{
	if (!(p->flags & UVB_POL_UNTRUSTED))
		return NULL;
	if (conf->flags & ~before->flags & (UVB_CONF_PROMISC | UVB_CONF_ALLMULTI))
		return "a VF that its PF does not trust cannot be promiscuous or allmulticast: "
		       "`uvbridge vf … trust on`";
	if (!(p->flags & UVB_POL_MAC) || (conf->nb_mac == before->nb_mac &&
					  memcmp(conf->mac, before->mac, sizeof(conf->mac)) == 0))
		return NULL;
	for (uint16_t i = 0; i < conf->nb_mac; i++)
		if (memcmp(conf->mac[i], p->mac, 6) != 0)
			return "the PF has set this VF's MAC address, and does not trust it to "
			       "have "
			       "another: `uvbridge vf … trust on`";
	return NULL;
}

/* ------------------------------------------------------------------------------------------ limits
 */

bool
uvb_gcra_ready(const _Atomic uint64_t *tat, uint64_t now, uint64_t tolerance)
{
	uint64_t t = uvb_load(tat);

	return t <= now + tolerance || t > now + TAT_MAX_NS;
}

void
uvb_gcra_charge(_Atomic uint64_t *tat, uint64_t now, uint64_t cost)
{
	uint64_t t = uvb_load(tat), from;

	/* Who fails has been overtaken by somebody who got on: no lock, and no two can wait for
	 * each other. */
	do {
		from = t < now || t > now + TAT_MAX_NS ? now : t;
	} while (!atomic_compare_exchange_weak_explicit(tat, &t, from + cost, memory_order_relaxed,
							memory_order_relaxed));
}
