/* SPDX-License-Identifier: BSD-3-Clause
 *
 * uveth_regs.c - the register dump: what the port is told to be, and every counter as it stands.
 *
 * Words of 64 bits, in this order (docs/uveth.md has it as a table):
 *   the port     UVETH_REG_* below
 *   counters     one for each extended statistic, in their order, never reset
 *   rx queues    for each of the port's: frames waiting
 *   tx queues    for each of the port's: cells free
 */
#include <errno.h>

#include <rte_dev_info.h>

#include "uveth/uveth.h"

#define REGS_VERSION 1

enum {
	REG_EPOCH, /* of the fabric: which one of that name it is */
	REG_PORT,  /* number in the fabric */
	REG_LINK,  /* attached: 1 */
	REG_CLOCK, /* the fabric's, ns */
	REG_FLAGS, /* UVB_CONF_*, and what follows as struct uvb_conf has it */
	REG_NB_RXQ,
	REG_MTU,
	REG_RSS_TYPES,
	REG_KEY_LEN,
	REG_RETA_SIZE,
	REG_NB_MAC,
	REG_NB_MC,
	REG_TPID_OUTER,
	REG_TPID_INNER,
	REG_GSO_MAX,
	REG_MAX_QUEUES, /* rx << 16 | tx, attached with */
	REG_PORT_WORDS
};

static void
port_words(struct rte_eth_dev *eth, uint64_t reg[REG_PORT_WORDS])
{
	const struct uveth_port *port = uveth_port(eth);
	const struct uvb_dev *dev = uveth_local(eth)->dev;
	const struct uvb_conf *conf = &port->conf;

	reg[REG_EPOCH] = uvb_hdr(dev)->epoch;
	reg[REG_PORT] = uvb_id(dev);
	reg[REG_LINK] = uvb_link(dev);
	reg[REG_CLOCK] = uvb_clock(dev);
	reg[REG_FLAGS] = conf->flags;
	reg[REG_NB_RXQ] = conf->nb_rxq;
	reg[REG_MTU] = conf->mtu;
	reg[REG_RSS_TYPES] = conf->rss_types;
	reg[REG_KEY_LEN] = conf->key_len;
	reg[REG_RETA_SIZE] = conf->reta_size;
	reg[REG_NB_MAC] = conf->nb_mac;
	reg[REG_NB_MC] = conf->nb_mc;
	reg[REG_TPID_OUTER] = conf->tpid[0];
	reg[REG_TPID_INNER] = conf->tpid[1];
	reg[REG_GSO_MAX] = conf->gso_max;
	reg[REG_MAX_QUEUES] = (uint64_t)port->max_rxq << 16 | port->max_txq;
}

/* A queue that this process does not hold shows nothing of what only its handle knows. */
static void
queue_words(struct rte_eth_dev *eth, uint64_t *reg)
{
	const struct uveth_port *port = uveth_port(eth);
	const struct uveth_local *local = uveth_local(eth);

	for (uint16_t q = 0; q < port->max_rxq; q++)
		*reg++ = local->rxq[q] != NULL ? uvb_rx_count(local->rxq[q]) : 0;
	for (uint16_t q = 0; q < port->max_txq; q++)
		*reg++ = local->txq[q] != NULL ? uvb_tx_free(local->txq[q]) : 0;
}

/* ethdev asks twice: for the size, with no buffer, and for the words. All of them or none. */
int
uveth_get_reg(struct rte_eth_dev *eth, struct rte_dev_reg_info *info)
{
	const struct uveth_port *port = uveth_port(eth);
	uint32_t counters = uveth_nb_counters(eth);
	uint32_t n = REG_PORT_WORDS + counters + port->max_rxq + port->max_txq;
	uint64_t *reg = info->data;

	info->version = REGS_VERSION;
	if (reg == NULL) {
		info->length = n;
		info->width = sizeof(*reg);
		return 0;
	}
	if (info->offset != 0 || (info->length != 0 && info->length != n))
		return -ENOTSUP;
	port_words(eth, reg);
	uveth_counter_words(eth, reg + REG_PORT_WORDS);
	queue_words(eth, reg + REG_PORT_WORDS + counters);
	return 0;
}
