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
 * the secondaries, over EAL's own channel; and when it closes the port. Without that channel
 * (--in-memory, --no-shconf) there are no secondaries either.
 *
 * A secondary may be stopped (SIGSTOP) while the primary closes the port, or be in the middle of a
 * burst. So the port's shared memory stays where it is, and its number taken, until every secondary
 * has closed it or has ended; the primary asks when it makes its next port.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bus_vdev_driver.h>
#include <dev_driver.h>
#include <ethdev_vdev.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_malloc.h>
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

/* What stands in a slot of the port table in place of ethdev's shared data, once the port is
 * closed: of this process alone, and never unmapped. */
static struct husk {
	struct rte_eth_dev_data data;
	struct rte_ether_addr mac[UVB_MAC_MAX];
} husks[RTE_MAX_ETHPORTS];

/* ----------------------------------------------------------------------------------- primary */

/* Shared data of ports that are closed here, and that some secondary has not given back yet; by
 * port. Writer: the control thread. */
static struct rte_eth_dev_data *graves[RTE_MAX_ETHPORTS];

/* Returns how many secondaries have the port open, or negative: one did not answer. */
static int
tell(uint16_t port_id, const char *name, enum news news)
{
	struct message m = {.news = news, .port_id = port_id};
	struct timespec wait = {.tv_sec = WAIT_S};
	struct rte_mp_reply reply = {0};
	struct rte_mp_msg msg = {.len_param = sizeof(m)};
	int held = 0;

	rte_strscpy(msg.name, CHANNEL, sizeof(msg.name));
	memcpy(msg.param, &m, sizeof(m));
	if (rte_mp_request_sync(&msg, &reply, &wait) != 0) {
		UVETH_LOG(WARNING, "%s: a secondary process does not answer: %s", name,
			  rte_strerror(rte_errno));
		held = -1;
	}
	for (int i = 0; i < reply.nb_received && held >= 0; i++)
		held += reply.msgs[i].param[0];
	free(reply.msgs);
	return held;
}

/* A secondary says that it is there and then looks whether the port is started; we do it the other
 * way round. So one of us sees the other. */
static bool
has_secondaries(const struct rte_eth_dev *eth)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return __atomic_load_n(&uveth_port(eth)->secondaries, __ATOMIC_RELAXED);
}

void
uveth_tell_started(struct rte_eth_dev *eth)
{
	if (has_secondaries(eth))
		tell(eth->data->port_id, eth->data->name, NEWS_STARTED);
}

bool
uveth_tell_closing(struct rte_eth_dev *eth)
{
	return has_secondaries(eth) && tell(eth->data->port_id, eth->data->name, NEWS_CLOSING) != 0;
}

/* ethdev is about to free what the port's shared data lead to, and to clear them. It is given a
 * husk instead. The grave has no port's name: it is found neither by who attaches, nor in the way
 * of a port of that name. */
void
uveth_bury(struct rte_eth_dev *eth)
{
	struct rte_eth_dev_data *data = eth->data;
	struct husk *husk = &husks[data->port_id];

	husk->data = (struct rte_eth_dev_data){.port_id = data->port_id};
	graves[data->port_id] = data;
	eth->data = &husk->data;
	snprintf(data->name, sizeof(data->name), "closed port %u", data->port_id);
}

static void
unearth(struct rte_eth_dev_data *data)
{
	for (uint16_t q = 0; q < data->nb_rx_queues; q++)
		rte_free(data->rx_queues[q]);
	for (uint16_t q = 0; q < data->nb_tx_queues; q++)
		rte_free(data->tx_queues[q]);
	rte_free(data->rx_queues);
	rte_free(data->tx_queues);
	rte_free(data->mac_addrs);
	rte_free(data->dev_private);
	memset(data, 0, sizeof(*data)); /* without a name: another port may have it */
}

void
uveth_unearth(void)
{
	for (uint16_t id = 0; id < RTE_MAX_ETHPORTS; id++) {
		if (graves[id] == NULL || tell(id, graves[id]->name, NEWS_CLOSING) != 0)
			continue;
		unearth(graves[id]);
		graves[id] = NULL;
	}
}

/* --------------------------------------------------------------------------------- secondary */

/* Whatever the application asks of a port that its primary has closed is refused; leaving it works.
 */
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
publish_bursts(const struct rte_eth_dev *eth, void **rx_queues, void **tx_queues)
{
	struct rte_eth_fp_ops *fp = &rte_eth_fp_ops[eth->data->port_id];

	fp->rxq.data = rx_queues;
	fp->txq.data = tx_queues;
	rte_wmb();
	fp->rx_pkt_burst = eth->rx_pkt_burst;
	fp->tx_pkt_burst = eth->tx_pkt_burst;
}

/* Descriptors that the application has put into its epoll sets stay, if they are still the right
 * ones. */
static void
started(struct rte_eth_dev *eth)
{
	publish_bursts(eth, eth->data->rx_queues, eth->data->tx_queues);
	uveth_local(eth)->seen_up = uvb_link(uveth_local(eth)->dev);
	if (uvb_bell_fd(uveth_local(eth)->dev, 0) < 0 || uveth_intr_fits(eth))
		return;
	uveth_intr_stop(eth);
	uveth_intr_start(eth);
}

/* The port is no more. Threads of this process may be in the middle of a burst or of a question:
 * what they hold stays until we have closed it, too. New ones find a husk without queues. */
static void
closing(struct rte_eth_dev *eth)
{
	static void *none[RTE_MAX_QUEUES_PER_PORT];
	struct rte_eth_fp_ops *fp = &rte_eth_fp_ops[eth->data->port_id];
	struct husk *husk = &husks[eth->data->port_id];

	uveth_intr_stop(eth);
	eth->rx_pkt_burst = no_burst;
	eth->tx_pkt_burst = no_burst;
	eth->dev_ops = &closed_ops;
	fp->rx_queue_count = NULL;
	fp->rx_descriptor_status = NULL;
	fp->tx_descriptor_status = NULL;
	publish_bursts(eth, none, none);
	memcpy(husk->mac, eth->data->mac_addrs, sizeof(husk->mac));
	husk->data = (struct rte_eth_dev_data){.port_id = eth->data->port_id,
					       .numa_node = eth->data->numa_node,
					       .mac_addrs = husk->mac};
	rte_strscpy(husk->data.name, eth->device->name, sizeof(husk->data.name));
	__atomic_store_n(&eth->data, &husk->data, __ATOMIC_RELEASE);
}

/* Answers whether this process has the port open. */
static int
hear(const struct rte_mp_msg *msg, const void *peer)
{
	struct rte_mp_msg answer = {.len_param = 1};
	struct rte_eth_dev *eth;
	struct message m;
	bool ours;

	memcpy(&m, msg->param, sizeof(m));
	eth = m.port_id < RTE_MAX_ETHPORTS ? &rte_eth_devices[m.port_id] : NULL;
	ours = msg->len_param == sizeof(m) && eth != NULL && eth->state != RTE_ETH_DEV_UNUSED &&
	       (eth->dev_ops == &uveth_secondary_ops || eth->dev_ops == &closed_ops);
	if (ours && eth->dev_ops == &uveth_secondary_ops) {
		if (m.news == NEWS_STARTED)
			started(eth);
		else
			closing(eth);
	}
	answer.param[0] = ours;
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

int
uveth_control(struct rte_eth_dev *eth, struct uvb_dev **dev, char err[UVB_ERR_LEN])
{
	struct uveth_local *local = uveth_local(eth);
	const struct uveth_port *port = uveth_port(eth);
	struct uvb_attach req = {.fabric = port->ident.path,
				 .name = port->args.name,
				 .kind = UVB_KIND_UVETH,
				 .joinable = true,
				 .shared = true,
				 .adopt = true};
	int rc = 0;

	if (rte_eal_process_type() != RTE_PROC_PRIMARY && local->control == NULL)
		rc = uvb_open(&req, &local->control, err);
	*dev = local->control != NULL ? local->control : local->dev;
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
