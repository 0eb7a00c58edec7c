/* SPDX-License-Identifier: BSD-3-Clause
 *
 * uveth_intr.c - receive interrupts, and the link.
 *
 * A receive queue's interrupt is its bell (uvbridge/abi.h): a descriptor that becomes readable when
 * a sender rings it. EAL adds it to an epoll set as it would an eventfd of VFIO, but never reads
 * it: the counter size is 0. Disabling the interrupt takes what rang.
 *
 * A port ends when its fabric does, or an administrator unplugs it; the switch may put its link
 * down (`uvbridge vf`). Nothing in this process happens at that moment. So if the application wants
 * to be told that the link went down (intr_conf.lsc), and that the device is gone (intr_conf.rmv),
 * an alarm looks ten times a second.
 *
 * Both are made in each process that uses the port: descriptors, epoll sets and callbacks are its
 * own.
 */
#include <errno.h>
#include <unistd.h>

#include <rte_alarm.h>
#include <rte_interrupts.h>

#include "uveth/uveth.h"

#define WATCH_US 100000

/* ---------------------------------------------------------------------------------------- link */

int
uveth_link_update(struct rte_eth_dev *eth, int wait __rte_unused)
{
	struct rte_eth_link link = {
		.link_speed = RTE_ETH_SPEED_NUM_100G,
		.link_duplex = RTE_ETH_LINK_FULL_DUPLEX,
		.link_autoneg = RTE_ETH_LINK_FIXED,
	};
	const struct uveth_port *port = uveth_port(eth); /* NULL: just closed by the primary */
	bool up = port != NULL && port->started && !port->admin_down &&
		  uvb_carrier(uveth_local(eth)->dev);

	link.link_status = up ? RTE_ETH_LINK_UP : RTE_ETH_LINK_DOWN;
	return rte_eth_linkstatus_set(eth, &link);
}

/* Look, and tell the application if it wants to be told. The link's state is shared: another
 * process may have seen the change first. */
void
uveth_link_changed(struct rte_eth_dev *eth)
{
	struct uveth_local *local = uveth_local(eth);
	bool up;

	uveth_link_update(eth, 0);
	up = eth->data->dev_link.link_status == RTE_ETH_LINK_UP;
	if (up == local->seen_up)
		return;
	local->seen_up = up;
	if (eth->data->dev_conf.intr_conf.lsc)
		rte_eth_dev_callback_process(eth, RTE_ETH_EVENT_INTR_LSC, NULL);
}

/* An attachment that is gone does not come back: there is nothing to watch any more. What the
 * application is told last, it may answer by closing the port. */
static void
watch(void *arg)
{
	struct rte_eth_dev *eth = arg;

	uveth_link_changed(eth);
	if (uvb_link(uveth_local(eth)->dev)) {
		rte_eal_alarm_set(WATCH_US, watch, eth);
		return;
	}
	uveth_local(eth)->watching = false;
	if (eth->data->dev_conf.intr_conf.rmv)
		rte_eth_dev_callback_process(eth, RTE_ETH_EVENT_INTR_RMV, NULL);
}

static int
watch_start(struct rte_eth_dev *eth)
{
	int rc;

	if (!eth->data->dev_conf.intr_conf.lsc && !eth->data->dev_conf.intr_conf.rmv)
		return 0;
	rc = rte_eal_alarm_set(WATCH_US, watch, eth);
	uveth_local(eth)->watching = rc == 0;
	return rc;
}

static void
watch_stop(struct rte_eth_dev *eth)
{
	if (uveth_local(eth)->watching)
		rte_eal_alarm_cancel(watch, eth);
	uveth_local(eth)->watching = false;
}

/* -------------------------------------------------------------------------- receive interrupts */

static int
fill_handle(struct rte_eth_dev *eth, struct rte_intr_handle *handle)
{
	uint16_t n = eth->data->nb_rx_queues;

	if (rte_intr_type_set(handle, RTE_INTR_HANDLE_VDEV) != 0 ||
	    rte_intr_efd_counter_size_set(handle, 0) != 0 ||
	    rte_intr_vec_list_alloc(handle, "uveth_vec", n) != 0 ||
	    rte_intr_nb_efd_set(handle, n) != 0)
		return -ENOMEM;
	for (uint16_t q = 0; q < n; q++) {
		int fd = uvb_bell_fd(uveth_local(eth)->dev, q);

		if (rte_intr_efds_index_set(handle, q, fd) != 0 ||
		    rte_intr_vec_list_index_set(handle, q, RTE_INTR_VEC_RXTX_OFFSET + q) != 0)
			return -ENOMEM;
	}
	return 0;
}

static void
rx_intr_stop(struct rte_eth_dev *eth)
{
	struct rte_intr_handle *handle = eth->intr_handle;

	if (handle == NULL)
		return;
	rte_intr_free_epoll_fd(handle);
	rte_intr_vec_list_free(handle);
	rte_intr_instance_free(handle);
	eth->intr_handle = NULL;
}

static int
rx_intr_start(struct rte_eth_dev *eth)
{
	int rc;

	if (!eth->data->dev_conf.intr_conf.rxq || eth->data->nb_rx_queues == 0)
		return 0;
	eth->intr_handle = rte_intr_instance_alloc(RTE_INTR_INSTANCE_F_PRIVATE);
	if (eth->intr_handle == NULL)
		return -ENOMEM;
	rc = fill_handle(eth, eth->intr_handle);
	if (rc != 0)
		rx_intr_stop(eth);
	return rc;
}

int
uveth_intr_start(struct rte_eth_dev *eth)
{
	int rc = rx_intr_start(eth);

	if (rc == 0)
		rc = watch_start(eth);
	if (rc != 0) {
		UVETH_LOG(ERR, "%s: no memory for interrupts", eth->data->name);
		rx_intr_stop(eth);
	}
	return rc;
}

bool
uveth_intr_fits(const struct rte_eth_dev *eth)
{
	const struct rte_eth_intr_conf *conf = &eth->data->dev_conf.intr_conf;
	int want = conf->rxq ? eth->data->nb_rx_queues : 0;
	int have = eth->intr_handle != NULL ? rte_intr_nb_efd_get(eth->intr_handle) : 0;

	return have == want && uveth_local(eth)->watching == (conf->lsc != 0);
}

void
uveth_intr_stop(struct rte_eth_dev *eth)
{
	watch_stop(eth);
	rx_intr_stop(eth);
}

/* For the thread that polls the queue, be it on or off at the moment. */
static struct uvb_rxq *
polled(struct rte_eth_dev *eth, uint16_t id)
{
	struct uveth_local *local = uveth_local(eth);

	if (eth->intr_handle == NULL || eth->data->rx_queues[id] == NULL)
		return NULL;
	if (uveth_rxq_handle(eth->data->rx_queues[id]) == NULL && local->rxq[id] == NULL)
		local->rxq[id] = uvb_rxq_take(local->dev, id);
	return local->rxq[id];
}

/* If frames are waiting already the bell is rung by ourselves, so that whoever sleeps on it after
 * this call does not miss them. */
int
uveth_rx_intr_enable(struct rte_eth_dev *eth, uint16_t id)
{
	struct uvb_rxq *q = polled(eth, id);

	if (q == NULL)
		return -ENOTSUP;
	uvb_rx_arm(q, true);
	return 0;
}

int
uveth_rx_intr_disable(struct rte_eth_dev *eth, uint16_t id)
{
	struct uvb_rxq *q = polled(eth, id);

	if (q == NULL)
		return -ENOTSUP;
	uvb_rx_disarm(q);
	return 0;
}
