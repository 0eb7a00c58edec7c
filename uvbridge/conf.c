/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Receive configurations: defaults, checks, and the sequence lock they are published under.
 */
#include <errno.h>

#include "uvbridge/internal.h"

/* Of the Microsoft RSS specification's verification suite. */
static const uint8_t default_key[40] = {
	0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3,
	0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3,
	0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
};

#define DEFAULT_RETA 128

void
uvb_conf_fill(struct uvb_conf *conf, uint16_t nb_rxq, const uint8_t mac[6])
{
	memset(conf, 0, sizeof(*conf));
	conf->nb_rxq = nb_rxq;
	conf->mtu = 1500;
	conf->rss_types = UVB_RSS_DEFAULT;
	conf->key_len = sizeof(default_key);
	memcpy(conf->key, default_key, sizeof(default_key));
	conf->reta_size = DEFAULT_RETA;
	for (uint16_t i = 0; i < DEFAULT_RETA; i++)
		conf->reta[i] = i % nb_rxq;
	conf->nb_mac = 1;
	memcpy(conf->mac[0], mac, 6);
	conf->tpid[0] = 0x88a8;
	conf->tpid[1] = 0x8100;
}

static const char *
check_addresses(const struct uvb_conf *c)
{
	if (c->nb_mac < 1 || c->nb_mac > UVB_MAC_MAX)
		return "a port has 1 to 64 MAC addresses";
	if (c->nb_mc > UVB_MC_MAX)
		return "a port has at most 64 multicast addresses";
	for (uint16_t i = 0; i < c->nb_mac; i++)
		if (c->mac[i][0] & 1)
			return "one of the MAC addresses is a multicast address";
	for (uint16_t i = 0; i < c->nb_mc; i++)
		if (!(c->mc[i][0] & 1))
			return "one of the multicast addresses is none";
	return NULL;
}

const char *
uvb_conf_check(const struct uvb_conf *c, uint16_t nb_rxq)
{
	if (c->nb_rxq < 1 || c->nb_rxq > nb_rxq)
		return "more receive queues than the port was attached with, or none";
	if (c->key_len < 40 || c->key_len > UVB_KEY_MAX)
		return "the RSS key has 40 to 52 bytes";
	if (c->reta_size < 1 || c->reta_size > UVB_RETA_MAX || (c->reta_size & (c->reta_size - 1)))
		return "the size of the RETA is a power of two up to 512";
	for (uint16_t i = 0; i < c->reta_size; i++)
		if (c->reta[i] >= c->nb_rxq)
			return "a RETA entry names a queue that is not in use";
	if (c->rss_types & ~UVB_RSS_KNOWN)
		return "an unknown RSS hash type";
	if (c->mtu < 68)
		return "an MTU below 68";
	if (c->gso_max > UVB_FRAME_MAX)
		return "a super-frame longer than the fabric carries";
	return check_addresses(c);
}

/* Word by word and atomically: the other side may be looking. */
_Static_assert(sizeof(struct uvb_conf) % sizeof(uint32_t) == 0, "copied in words");
_Static_assert(_Alignof(struct uvb_conf) == _Alignof(uint32_t), "copied in words");

void
uvb_conf_write(struct uvb_port_shm *port, const struct uvb_conf *conf)
{
	uint32_t seq = (atomic_load_explicit(&port->conf_seq, memory_order_relaxed) & ~1u) + 2;

	/* Who reads the words of this one now has to see that another is in force since. */
	atomic_thread_fence(memory_order_release);
	uvb_copy_words(&port->conf[UVB_CONF_INDEX(seq)], conf, sizeof(*conf));
	UVB_KILL_POINT(UVB_KILL_CONF);
	atomic_store_explicit(&port->conf_seq, seq, memory_order_release);
}

bool
uvb_conf_read(struct uvb_port_shm *port, struct uvb_conf *conf, uint32_t *seq)
{
	uint32_t before = atomic_load_explicit(&port->conf_seq, memory_order_acquire);

	if (before & 1)
		return false;
	uvb_copy_words(conf, &port->conf[UVB_CONF_INDEX(before)], sizeof(*conf));
	atomic_thread_fence(memory_order_acquire);
	*seq = before;
	return atomic_load_explicit(&port->conf_seq, memory_order_relaxed) == before;
}

void
uvb_conf_default(const struct uvb_dev *dev, struct uvb_conf *conf)
{
	uvb_conf_fill(conf, dev->nb_rxq, dev->mac);
}

void
uvb_conf_offer(const struct uvb_fdb *fdb, const struct uvb_conf *conf,
	       const struct uvb_policy *policy, uint32_t port, uint32_t now_s)
{
	if (!(conf->flags & UVB_CONF_STARTED))
		return;
	for (uint32_t i = 0; i < conf->nb_mac && i < UVB_MAC_MAX; i++)
		uvb_fdb_offer(fdb, UVB_FDB_KEY(policy->vlan, uvb_mac48(conf->mac[i])), port, now_s);
}

int
uvb_conf_get(const struct uvb_dev *dev, struct uvb_conf *conf)
{
	uint32_t seq;

	return uvb_conf_read(dev->shm, conf, &seq) ? 0 : -EAGAIN;
}

int
uvb_conf_set(struct uvb_dev *dev, const struct uvb_conf *conf, char err[UVB_ERR_LEN])
{
	const char *why = uvb_conf_check(conf, dev->nb_rxq);
	struct uvb_policy policy = {0};
	struct uvb_conf before = {0};
	struct uvb_fdb fdb;
	uint32_t seq;

	if (why != NULL)
		return uvb_fail(err, -EINVAL, "port %s: %s", dev->name, why);
	if (!uvb_dev_up(dev))
		return uvb_fail(err, -ENODEV, "port %s is no longer attached: its fabric went down",
				dev->name);
	if (dev->member != UVB_OWNER_SLOT)
		return uvb_fail(err, -EPERM, "port %s is configured by its owner, process %u, only",
				dev->name, dev->shm->member[UVB_OWNER_SLOT].pid);
	uvb_conf_read(dev->shm, &before, &seq); /* its own: it cannot meet a writer */
	if (uvb_policy_read(&dev->map, dev->id, &policy) &&
	    (why = uvb_policy_forbids(&policy, conf, &before)) != NULL)
		return uvb_fail(err, -EPERM, "port %s: %s", dev->name, why);
	uvb_conf_write(dev->shm, conf);
	uvb_fdb_init(&fdb, &dev->map);
	if (dev->kind != UVB_KIND_CAPTURE) /* it takes no part in switching */
		uvb_conf_offer(&fdb, conf, &policy, dev->id,
			       (uint32_t)(uvb_clock(dev) / 1000000000ULL));
	return 0;
}
