/* SPDX-License-Identifier: BSD-3-Clause
 *
 * uveth.c - the device comes and goes: devargs, probe, remove, attach, detach.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <bus_vdev_driver.h>
#include <dev_driver.h>
#include <ethdev_vdev.h>
#include <rte_kvargs.h>
#include <rte_log.h>
#include <rte_malloc.h>
#include <rte_string_fns.h>

#include "uveth/uveth.h"

/* ------------------------------------------------------------------------------------- devargs */

static int
arg_number(const char *key, const char *value, unsigned long min, unsigned long max, uint16_t *out)
{
	char *end;
	unsigned long n;

	errno = 0;
	n = strtoul(value, &end, 10);
	if (errno != 0 || end == value || *end != '\0' || *value == '-' || n < min || n > max) {
		UVETH_LOG(ERR, "%s=%s: must be a number from %lu to %lu", key, value, min, max);
		return -EINVAL;
	}
	*out = n;
	return 0;
}

static int
arg_queues(const char *key, const char *value, void *out)
{
	return arg_number(key, value, 1, UVB_MAX_QUEUES, out);
}

static int
arg_reta(const char *key, const char *value, void *out)
{
	uint16_t *size = out;

	if (arg_number(key, value, RTE_ETH_RETA_GROUP_SIZE, UVB_RETA_MAX, size) != 0)
		return -EINVAL;
	if (rte_is_power_of_2(*size))
		return 0;
	UVETH_LOG(ERR, "%s=%s: must be a power of two (64, 128, 256 or 512)", key, value);
	return -EINVAL;
}

static int
arg_key(const char *key, const char *value, void *out)
{
	uint16_t *len = out;

	if (arg_number(key, value, UVETH_KEY_DEF, UVB_KEY_MAX, len) != 0)
		return -EINVAL;
	if (*len == UVETH_KEY_DEF || *len == UVB_KEY_MAX)
		return 0;
	UVETH_LOG(ERR, "%s=%s: an RSS key has %u or %u bytes", key, value, UVETH_KEY_DEF,
		  UVB_KEY_MAX);
	return -EINVAL;
}

static int
arg_string(const char *key, const char *value, char *out, size_t size)
{
	if (*value == '\0') {
		UVETH_LOG(ERR, "%s=: the value is empty", key);
		return -EINVAL;
	}
	if (rte_strscpy(out, value, size) < 0) {
		UVETH_LOG(ERR, "%s=%s: longer than %zu characters", key, value, size - 1);
		return -EINVAL;
	}
	return 0;
}

static int
arg_fabric(const char *key, const char *value, void *out)
{
	return arg_string(key, value, out, PATH_MAX);
}

static int
arg_name(const char *key, const char *value, void *out)
{
	return arg_string(key, value, out, UVB_NAME_LEN);
}

static int
arg_mac(const char *key, const char *value, void *out)
{
	struct rte_ether_addr *mac = out;

	if (rte_ether_unformat_addr(value, mac) == 0 && rte_is_valid_assigned_ether_addr(mac))
		return 0;
	UVETH_LOG(ERR, "%s=%s: must be a unicast MAC address such as 02:00:00:00:00:01", key,
		  value);
	return -EINVAL;
}

static int
arg_life(const char *key, const char *value, void *out)
{
	bool *any = out;

	*any = strcmp(value, "any") == 0;
	if (*any || strcmp(value, "primary") == 0)
		return 0;
	UVETH_LOG(ERR, "%s=%s: must be 'primary' or 'any': whose end is the port's", key, value);
	return -EINVAL;
}

struct arg {
	const char *key;
	arg_handler_t parse;
	void *out;
};

/* One key, at most once: rte_kvargs would silently let the last of several win. */
static int
arg_process(const struct rte_kvargs *list, const struct arg *arg)
{
	switch (rte_kvargs_count(list, arg->key)) {
	case 0:
		return 0;
	case 1:
		return rte_kvargs_process(list, arg->key, arg->parse, arg->out) == 0 ? 0 : -EINVAL;
	default:
		UVETH_LOG(ERR, "%s= is given more than once", arg->key);
		return -EINVAL;
	}
}

static int
args_unknown(const struct rte_kvargs *list, const struct arg *arg, size_t n)
{
	for (unsigned int i = 0; i < list->count; i++) {
		size_t k = 0;

		while (k < n && strcmp(arg[k].key, list->pairs[i].key) != 0)
			k++;
		if (k < n && list->pairs[i].value != NULL)
			continue;
		UVETH_LOG(ERR,
			  "%s '%s': the keys are fabric=, name=, mac=, rxq=, txq=, reta=, key=, "
			  "life=",
			  k < n ? "no value for key" : "unknown key", list->pairs[i].key);
		return -EINVAL;
	}
	return 0;
}

static int
args_parse(const char *text, struct uveth_args *args)
{
	const struct arg arg[] = {
		{"fabric", arg_fabric, args->fabric}, {"name", arg_name, args->name},
		{"mac", arg_mac, &args->mac},         {"rxq", arg_queues, &args->rxq},
		{"txq", arg_queues, &args->txq},      {"reta", arg_reta, &args->reta},
		{"key", arg_key, &args->key},         {"life", arg_life, &args->any},
	};
	struct rte_kvargs *list;
	int rc;

	*args = (struct uveth_args){.reta = UVETH_RETA_DEF, .key = UVETH_KEY_DEF};
	list = rte_kvargs_parse(text != NULL ? text : "", NULL);
	if (list == NULL) {
		UVETH_LOG(ERR, "cannot read the device arguments '%s': key=value,... is expected",
			  text);
		return -EINVAL;
	}
	rc = args_unknown(list, arg, RTE_DIM(arg));
	for (size_t i = 0; i < RTE_DIM(arg) && rc == 0; i++)
		rc = arg_process(list, &arg[i]);
	rte_kvargs_free(list);
	if (rc == 0 && args->fabric[0] == '\0') {
		UVETH_LOG(ERR, "which fabric? Give fabric=NAME, as in 'uvbridge up NAME'");
		rc = -EINVAL;
	}
	return rc;
}

/* ------------------------------------------------------------------------------ attach, detach */

static void
local_init(struct uveth_local *local)
{
	*local = (struct uveth_local){0};
	for (uint16_t q = 0; q < UVB_MAX_QUEUES; q++) {
		local->rx_turn[q] = UVETH_TURN_NEVER;
		local->tx_turn[q] = UVETH_TURN_NEVER;
	}
}

struct uveth_local *
uveth_local_new(void)
{
	struct uveth_local *local = malloc(sizeof(*local));

	if (local != NULL)
		local_init(local);
	return local;
}

/* Become a port of the fabric. All that lives in the segment, and the handles into it. */
int
uveth_attach(struct rte_eth_dev *eth)
{
	struct uveth_local *local = uveth_local(eth);
	struct uveth_port *port = uveth_port(eth);
	struct uvb_attach req = {
		.fabric = port->args.fabric,
		.name = port->args.name,
		.nb_rxq = port->args.rxq,
		.nb_txq = port->args.txq,
		.kind = UVB_KIND_UVETH,
		.joinable = true,
		.shared = port->args.any,
	};
	char err[UVB_ERR_LEN] = "";
	int rc;

	memcpy(req.mac, port->args.mac.addr_bytes, sizeof(req.mac));
	rc = uvb_open(&req, &local->dev, err);
	if (rc != 0) {
		UVETH_LOG(ERR, "%s: %s", eth->data->name, err);
		/* EAL takes EEXIST from a probe for "probed already", which is no failure. */
		return rc == -EEXIST ? -EADDRINUSE : rc;
	}
	port->max_rxq = uvb_nb_rxq(local->dev);
	port->max_txq = uvb_nb_txq(local->dev);
	port->ident = (struct uveth_ident){.abi = UVB_ABI_VERSION,
					   .size = sizeof(*port),
					   .epoch = uvb_hdr(local->dev)->epoch,
					   .gen = uvb_gen(local->dev),
					   .port = uvb_id(local->dev)};
	rte_strscpy(port->ident.path, uvb_path(local->dev), sizeof(port->ident.path));
	UVETH_LOG(INFO, "%s is port %u, '%s', of fabric %s", eth->data->name, uvb_id(local->dev),
		  uvb_name(local->dev), port->args.fabric);
	return 0;
}

void
uveth_detach(struct rte_eth_dev *eth)
{
	struct uveth_local *local = uveth_local(eth);

	if (local->control != NULL)
		uvb_close(local->control);
	if (local->dev != NULL)
		uvb_close(local->dev);
	local_init(local);
}

/* ------------------------------------------------------------------------------ probe, remove */

/* Functions are at other addresses in other processes. */
void
uveth_bursts(struct rte_eth_dev *eth)
{
	eth->rx_pkt_burst = uveth_rx_burst;
	eth->tx_pkt_burst = uveth_tx_burst;
	eth->tx_pkt_prepare = uveth_tx_prepare;
	eth->rx_queue_count = uveth_rx_queue_count;
	eth->rx_descriptor_status = uveth_rx_descriptor_status;
	eth->tx_descriptor_status = uveth_tx_descriptor_status;
}

static int
port_init(struct rte_eth_dev *eth)
{
	struct uveth_local *local = uveth_local(eth);
	struct uveth_port *port = uveth_port(eth);

	eth->data->mac_addrs =
		rte_calloc("uveth_mac", UVB_MAC_MAX, sizeof(struct rte_ether_addr), 0);
	if (eth->data->mac_addrs == NULL)
		return -ENOMEM;
	memcpy(eth->data->mac_addrs[0].addr_bytes, uvb_mac(local->dev), RTE_ETHER_ADDR_LEN);
	uvb_conf_default(local->dev, &port->conf);
	port->conf.reta_size = port->args.reta;
	port->conf.key_len = port->args.key;
	port->ptypes = UVETH_PTYPES;
	for (uint8_t q = 0; q < UVB_MAX_QUEUES; q++)
		port->rx_stat[q] = port->tx_stat[q] = q;

	eth->data->dev_flags = RTE_ETH_DEV_INTR_LSC | RTE_ETH_DEV_INTR_RMV |
			       RTE_ETH_DEV_AUTOFILL_QUEUE_XSTATS | RTE_ETH_DEV_FLOW_OPS_THREAD_SAFE;
	eth->data->dev_link = (struct rte_eth_link){
		.link_speed = RTE_ETH_SPEED_NUM_100G,
		.link_duplex = RTE_ETH_LINK_FULL_DUPLEX,
		.link_autoneg = RTE_ETH_LINK_FIXED,
		.link_status = RTE_ETH_LINK_DOWN,
	};
	eth->dev_ops = &uveth_ops;
	uveth_bursts(eth);
	return uveth_stats_reset(eth); /* the segment's counters outlive the ports they count for */
}

static int
create(struct rte_vdev_device *vdev, const struct uveth_args *args)
{
	struct rte_eth_dev *eth;
	int rc;

	uveth_unearth();
	eth = rte_eth_vdev_allocate(vdev, sizeof(struct uveth_port));
	if (eth == NULL) {
		UVETH_LOG(ERR, "%s: no ethdev port or no memory left", rte_vdev_device_name(vdev));
		return -ENOMEM;
	}
	uveth_port(eth)->args = *args;
	eth->process_private = uveth_local_new();
	rc = eth->process_private != NULL ? uveth_attach(eth) : -ENOMEM;
	if (rc == 0)
		rc = port_init(eth);
	if (rc == 0) {
		rte_eth_dev_probing_finish(eth);
		return 0;
	}
	if (eth->process_private != NULL)
		uveth_detach(eth);
	free(eth->process_private);
	eth->process_private = NULL;
	rte_eth_dev_release_port(eth);
	return rc;
}

static int
uveth_probe(struct rte_vdev_device *vdev)
{
	struct uveth_args args;
	int rc;

	if (rte_eal_process_type() != RTE_PROC_PRIMARY)
		return uveth_secondary_probe(vdev);
	rc = args_parse(rte_vdev_device_args(vdev), &args);
	return rc == 0 ? create(vdev, &args) : rc;
}

/* rte_eal_cleanup() comes here in every process: a secondary leaves the port, and that is all. */
static int
uveth_remove(struct rte_vdev_device *vdev)
{
	struct rte_eth_dev *eth = rte_eth_dev_allocated(rte_vdev_device_name(vdev));

	if (eth == NULL)
		return 0; /* closed already */
	if (rte_eal_process_type() == RTE_PROC_PRIMARY && eth->data->dev_started)
		rte_eth_dev_stop(eth->data->port_id);
	return rte_eth_dev_close(eth->data->port_id);
}

static struct rte_vdev_driver uveth_driver = {
	.probe = uveth_probe,
	.remove = uveth_remove,
};

RTE_PMD_REGISTER_VDEV(net_uveth, uveth_driver);
RTE_PMD_REGISTER_PARAM_STRING(net_uveth, "fabric=<string> name=<string> mac=<mac> "
					 "rxq=<1-16> txq=<1-16> reta=<64|128|256|512> key=<40|52> "
					 "life=<primary|any>");
RTE_LOG_REGISTER(uveth_logtype, pmd.net.uveth, NOTICE);
