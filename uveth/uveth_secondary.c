/* SPDX-License-Identifier: BSD-3-Clause
 *
 * uveth_secondary.c - the port in processes that did not make it.
 *
 * A secondary finds the port in ethdev's shared memory, maps the fabric's segment itself and
 * becomes a member of the port (uvb_join), so that nobody reclaims its queues before it is gone.
 * From then on it needs nobody: neither the primary nor the daemon is asked for anything by a
 * burst. A secondary that the daemon does not answer attaches all the same, but may only look: a
 * tool that shows statistics is of use exactly then.
 *
 * What EAL keeps in each process by itself - the table of burst functions, interrupt handles - is
 * made at the probe if the port has been started by then. If it is started later the primary tells
 * the secondaries, over EAL's own channel; and when it closes the port, whose memory goes then.
 * Without that channel (--in-memory, --no-shconf) there are no secondaries either.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <bus_vdev_driver.h>
#include <dev_driver.h>
#include <ethdev_vdev.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_string_fns.h>

#include "uveth/uveth.h"

#define CHANNEL "net_uveth"
#define WAIT_S  1 /* for the answers of the secondaries: one may be stopped */

enum news {
	NEWS_STARTED,
	NEWS_CLOSING,
};

struct message {
	enum news news;
	uint16_t port_id;
};

/* ----------------------------------------------------------------------------------- primary */

/* A secondary says that it is there and then looks whether the port is started; we do it the other
 * way round. So one of us sees the other. */
static void
tell(const struct rte_eth_dev *eth, enum news news)
{
	struct message m = {.news = news, .port_id = eth->data->port_id};
	struct timespec wait = {.tv_sec = WAIT_S};
	struct rte_mp_reply reply = {0};
	struct rte_mp_msg msg = {.len_param = sizeof(m)};

	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!__atomic_load_n(&uveth_port(eth)->secondaries, __ATOMIC_RELAXED))
		return;
	rte_strscpy(msg.name, CHANNEL, sizeof(msg.name));
	memcpy(msg.param, &m, sizeof(m));
	if (rte_mp_request_sync(&msg, &reply, &wait) != 0)
		UVETH_LOG(WARNING, "%s: a secondary process does not answer: %s", eth->data->name,
			  rte_strerror(rte_errno));
	free(reply.msgs);
}

void
uveth_tell_started(struct rte_eth_dev *eth)
{
	tell(eth, NEWS_STARTED);
}

void
uveth_tell_closing(struct rte_eth_dev *eth)
{
	tell(eth, NEWS_CLOSING);
}

/* --------------------------------------------------------------------------------- secondary */

/* The port is no more: ethdev's shared data of it are about to be. Whatever the application asks of
 * it is refused from now on; leaving it works. */
static const struct eth_dev_ops closed_ops = {
	.dev_close = uveth_secondary_close,
};

static uint16_t
no_burst(void *queue __rte_unused, struct rte_mbuf **pkts __rte_unused, uint16_t n __rte_unused)
{
	return 0;
}

/* What EAL's table of fast-path functions has to have; it is per process. */
static void
publish_bursts(const struct rte_eth_dev *eth)
{
	struct rte_eth_fp_ops *fp = &rte_eth_fp_ops[eth->data->port_id];

	fp->rxq.data = eth->data->rx_queues;
	fp->txq.data = eth->data->tx_queues;
	rte_wmb();
	fp->rx_pkt_burst = eth->rx_pkt_burst;
	fp->tx_pkt_burst = eth->tx_pkt_burst;
}

/* Descriptors that the application has put into its epoll sets stay, if they are still the right
 * ones. */
static void
started(struct rte_eth_dev *eth)
{
	publish_bursts(eth);
	uveth_local(eth)->seen_up = uvb_link(uveth_local(eth)->dev);
	if (uvb_bell_fd(uveth_local(eth)->dev, 0) < 0 || uveth_intr_fits(eth))
		return;
	uveth_intr_stop(eth);
	uveth_intr_start(eth);
}

static void
closing(struct rte_eth_dev *eth)
{
	uveth_intr_stop(eth);
	eth->rx_pkt_burst = no_burst;
	eth->tx_pkt_burst = no_burst;
	eth->dev_ops = &closed_ops;
	publish_bursts(eth);
}

static int
hear(const struct rte_mp_msg *msg, const void *peer)
{
	struct rte_mp_msg answer = {0};
	struct rte_eth_dev *eth;
	struct message m;

	memcpy(&m, msg->param, sizeof(m));
	eth = m.port_id < RTE_MAX_ETHPORTS ? &rte_eth_devices[m.port_id] : NULL;
	if (msg->len_param == sizeof(m) && eth != NULL && eth->state != RTE_ETH_DEV_UNUSED &&
	    eth->dev_ops == &uveth_secondary_ops) {
		if (m.news == NEWS_STARTED)
			started(eth);
		else
			closing(eth);
	}
	rte_strscpy(answer.name, CHANNEL, sizeof(answer.name));
	return rte_mp_reply(&answer, peer);
}

/* Is the shared memory what this build takes it for? */
static int
check_ident(const struct rte_eth_dev *eth)
{
	const struct uveth_port *port = uveth_port(eth);

	if (port->ident.abi == UVB_ABI_VERSION && port->ident.size == sizeof(*port))
		return 0;
	UVETH_LOG(ERR,
		  "%s: the primary process has the driver of another build (ABI %u, %u bytes; here "
		  "%u, %zu): use one librte_net_uveth.so in all of them",
		  eth->data->name, port->ident.abi, port->ident.size, UVB_ABI_VERSION,
		  sizeof(*port));
	return -EPROTO;
}

static int
join(struct rte_eth_dev *eth)
{
	const struct uveth_ident *id = &uveth_port(eth)->ident;
	struct uvb_join req = {
		.fabric = id->path, .epoch = id->epoch, .gen = id->gen, .port = id->port};
	char err[UVB_ERR_LEN] = "";
	int rc = uvb_join(&req, &uveth_local(eth)->dev, err);

	if (rc == -ETIMEDOUT || rc == -ECONNREFUSED) {
		UVETH_LOG(WARNING,
			  "%s: %s; this process can look at the port, but not use its queues",
			  eth->data->name, err);
		req.look = true;
		rc = uvb_join(&req, &uveth_local(eth)->dev, err);
	}
	if (rc != 0)
		UVETH_LOG(ERR, "%s: cannot join port %u of %s: %s", eth->data->name, id->port,
			  id->path, err);
	return rc;
}

static int
port_join(struct rte_eth_dev *eth)
{
	int rc = check_ident(eth);

	if (rc != 0)
		return rc;
	eth->process_private = uveth_local_new();
	if (eth->process_private == NULL)
		return -ENOMEM;
	rc = join(eth);
	if (rc == 0)
		return 0;
	free(eth->process_private);
	eth->process_private = NULL;
	return rc;
}

int
uveth_secondary_probe(struct rte_vdev_device *vdev)
{
	const char *name = rte_vdev_device_name(vdev);
	struct rte_eth_dev *eth = rte_eth_dev_attach_secondary(name);
	int rc;

	if (eth == NULL) {
		UVETH_LOG(ERR, "%s: the primary process has no such port (any more)", name);
		return -ENODEV;
	}
	rc = port_join(eth);
	if (rc != 0) {
		rte_eth_dev_release_port(eth);
		return rc;
	}
	eth->device = &vdev->device;
	eth->dev_ops = &uveth_secondary_ops;
	uveth_bursts(eth);
	if (rte_mp_action_register(CHANNEL, hear) != 0 && rte_errno != EEXIST)
		UVETH_LOG(WARNING, "%s: will not hear of the port being started or closed: %s",
			  name, rte_strerror(rte_errno));
	rte_eth_dev_probing_finish(eth);
	__atomic_store_n(&uveth_port(eth)->secondaries, true, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (uveth_port(eth)->started)
		started(eth);
	return 0;
}

/* Leave. The port, and what of it is shared, stays as it is. */
int
uveth_secondary_close(struct rte_eth_dev *eth)
{
	uveth_intr_stop(eth);
	uveth_detach(eth);
	free(eth->process_private);
	eth->process_private = NULL;
	return 0;
}
