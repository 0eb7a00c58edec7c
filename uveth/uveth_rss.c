/* SPDX-License-Identifier: BSD-3-Clause
 *
 * uveth_rss.c - RSS: hash types, key and redirection table, between ethdev's form and the fabric's.
 *
 * The hash itself is computed by the sender of a frame, from what is published here, so a change
 * takes effect on the first burst that is sent after it.
 */
#include <errno.h>
#include <string.h>

#include "uveth/uveth.h"

static const struct {
	uint64_t eth;
	uint32_t uvb;
} types[] = {
	{RTE_ETH_RSS_IPV4, UVB_RSS_IPV4},
	{RTE_ETH_RSS_FRAG_IPV4, UVB_RSS_IPV4_FRAG},
	{RTE_ETH_RSS_NONFRAG_IPV4_TCP, UVB_RSS_IPV4_TCP},
	{RTE_ETH_RSS_NONFRAG_IPV4_UDP, UVB_RSS_IPV4_UDP},
	{RTE_ETH_RSS_NONFRAG_IPV4_SCTP, UVB_RSS_IPV4_SCTP},
	{RTE_ETH_RSS_NONFRAG_IPV4_OTHER, UVB_RSS_IPV4_OTHER},
	{RTE_ETH_RSS_IPV6, UVB_RSS_IPV6},
	{RTE_ETH_RSS_FRAG_IPV6, UVB_RSS_IPV6_FRAG},
	{RTE_ETH_RSS_NONFRAG_IPV6_TCP, UVB_RSS_IPV6_TCP},
	{RTE_ETH_RSS_NONFRAG_IPV6_UDP, UVB_RSS_IPV6_UDP},
	{RTE_ETH_RSS_NONFRAG_IPV6_SCTP, UVB_RSS_IPV6_SCTP},
	{RTE_ETH_RSS_NONFRAG_IPV6_OTHER, UVB_RSS_IPV6_OTHER},
	{RTE_ETH_RSS_IPV6_EX, UVB_RSS_IPV6_EX},
	{RTE_ETH_RSS_IPV6_TCP_EX, UVB_RSS_IPV6_TCP_EX},
	{RTE_ETH_RSS_IPV6_UDP_EX, UVB_RSS_IPV6_UDP_EX},
	{RTE_ETH_RSS_ETH, UVB_RSS_L2},
	{RTE_ETH_RSS_L2_SRC_ONLY, UVB_RSS_L2_SRC},
	{RTE_ETH_RSS_L2_DST_ONLY, UVB_RSS_L2_DST},
	{RTE_ETH_RSS_L3_SRC_ONLY, UVB_RSS_L3_SRC},
	{RTE_ETH_RSS_L3_DST_ONLY, UVB_RSS_L3_DST},
	{RTE_ETH_RSS_L4_SRC_ONLY, UVB_RSS_L4_SRC},
	{RTE_ETH_RSS_L4_DST_ONLY, UVB_RSS_L4_DST},
};

uint32_t
uveth_rss_to_uvb(uint64_t hf)
{
	uint32_t out = 0;

	for (size_t i = 0; i < RTE_DIM(types); i++)
		out |= (hf & types[i].eth) != 0 ? types[i].uvb : 0;
	return out;
}

static uint64_t
types_to_eth(uint32_t rss_types)
{
	uint64_t out = 0;

	for (size_t i = 0; i < RTE_DIM(types); i++)
		out |= (rss_types & types[i].uvb) != 0 ? types[i].eth : 0;
	return out;
}

uint64_t
uveth_rss_types(void)
{
	return types_to_eth(UVB_RSS_KNOWN);
}

static int
apply(struct uvb_conf *conf, const struct rte_eth_rss_conf *rss)
{
	if ((rss->rss_hf & ~uveth_rss_types()) != 0) {
		UVETH_LOG(ERR, "RSS hash types 0x%" PRIx64 " are not supported, of those asked for",
			  rss->rss_hf & ~uveth_rss_types());
		return -EINVAL;
	}
	if (rss->rss_key != NULL) {
		if (rss->rss_key_len != conf->key_len) {
			UVETH_LOG(ERR, "an RSS key has %u bytes, not %u", conf->key_len,
				  rss->rss_key_len);
			return -EINVAL;
		}
		memcpy(conf->key, rss->rss_key, conf->key_len);
	}
	/* Symmetry is not a type to ethdev, and not its to change. */
	conf->rss_types = uveth_rss_to_uvb(rss->rss_hf) | (conf->rss_types & UVB_RSS_SYMMETRIC);
	return 0;
}

/* At rte_eth_dev_configure(). The table is kept when the same number of queues is configured
 * again; with another number it could name queues that are not there, and starts afresh. */
int
uveth_rss_configure(struct rte_eth_dev *eth, struct uvb_conf *conf)
{
	const struct rte_eth_conf *dev = &eth->data->dev_conf;
	struct uveth_port *port = uveth_port(eth);

	if (port->rss_nb_rxq != conf->nb_rxq) {
		for (uint16_t i = 0; i < conf->reta_size; i++)
			conf->reta[i] = i % conf->nb_rxq;
		port->rss_nb_rxq = conf->nb_rxq;
	}
	if ((dev->rxmode.mq_mode & RTE_ETH_MQ_RX_RSS_FLAG) == 0) {
		conf->rss_types = 0;
		return 0;
	}
	return apply(conf, &dev->rx_adv_conf.rss_conf);
}

int
uveth_rss_hash_update(struct rte_eth_dev *eth, struct rte_eth_rss_conf *rss)
{
	struct uvb_conf next = uveth_port(eth)->conf;
	int rc = apply(&next, rss);

	return rc == 0 ? uveth_publish(eth, &next) : rc;
}

int
uveth_rss_hash_conf_get(struct rte_eth_dev *eth, struct rte_eth_rss_conf *rss)
{
	const struct uvb_conf *conf = &uveth_port(eth)->conf;

	if (rss->rss_key != NULL && rss->rss_key_len >= conf->key_len)
		memcpy(rss->rss_key, conf->key, conf->key_len);
	rss->rss_key_len = conf->key_len;
	rss->rss_hf = types_to_eth(conf->rss_types);
	return 0;
}

static int
reta_check(const struct uvb_conf *conf, uint16_t size)
{
	if (size == conf->reta_size)
		return 0;
	UVETH_LOG(ERR, "the redirection table has %u entries, not %u", conf->reta_size, size);
	return -EINVAL;
}

int
uveth_reta_update(struct rte_eth_dev *eth, struct rte_eth_rss_reta_entry64 *reta, uint16_t size)
{
	struct uvb_conf next = uveth_port(eth)->conf;
	int rc = reta_check(&next, size);

	for (uint16_t i = 0; i < size && rc == 0; i++) {
		const struct rte_eth_rss_reta_entry64 *group = &reta[i / RTE_ETH_RETA_GROUP_SIZE];
		uint16_t k = i % RTE_ETH_RETA_GROUP_SIZE;

		if ((group->mask & RTE_BIT64(k)) != 0)
			next.reta[i] = group->reta[k];
	}
	return rc == 0 ? uveth_publish(eth, &next) : rc;
}

int
uveth_reta_query(struct rte_eth_dev *eth, struct rte_eth_rss_reta_entry64 *reta, uint16_t size)
{
	const struct uvb_conf *conf = &uveth_port(eth)->conf;
	int rc = reta_check(conf, size);

	for (uint16_t i = 0; i < size && rc == 0; i++) {
		struct rte_eth_rss_reta_entry64 *group = &reta[i / RTE_ETH_RETA_GROUP_SIZE];
		uint16_t k = i % RTE_ETH_RETA_GROUP_SIZE;

		if ((group->mask & RTE_BIT64(k)) != 0)
			group->reta[k] = conf->reta[i];
	}
	return rc;
}
