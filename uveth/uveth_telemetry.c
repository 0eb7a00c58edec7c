/* SPDX-License-Identifier: BSD-3-Clause
 *
 * uveth_telemetry.c - ports for DPDK's telemetry socket, in every process that loads the driver:
 *
 *   /net_uveth/list          ports of this driver
 *   /net_uveth/info,PORT     fabric, name in it, link, clock
 *   /net_uveth/queues,PORT   frames waiting and cells free
 *   /net_uveth/drops,PORT    the extended statistics that tell of losses and are not 0
 *
 * /ethdev/xstats,PORT has all of them. EAL's telemetry thread answers, and reads as any control
 * operation does: no burst is stopped or waited for.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <rte_telemetry.h>

#include "uveth/uveth.h"

#define DRIVER_NAME "net_uveth"

static bool
is_ours(uint16_t port_id)
{
	const struct rte_eth_dev *eth = &rte_eth_devices[port_id];

	return rte_eth_dev_is_valid_port(port_id) && eth->device->driver != NULL &&
	       strcmp(eth->device->driver->name, DRIVER_NAME) == 0 && uveth_local(eth) != NULL;
}

static struct rte_eth_dev *
find(const char *params)
{
	unsigned long id;
	char *end;

	if (params == NULL || params[0] == '\0')
		return NULL;
	id = strtoul(params, &end, 10);
	if (*end != '\0' || id >= RTE_MAX_ETHPORTS || !is_ours((uint16_t)id))
		return NULL;
	return &rte_eth_devices[id];
}

static int
list(const char *cmd, const char *params, struct rte_tel_data *d)
{
	(void)cmd;
	(void)params;
	rte_tel_data_start_array(d, RTE_TEL_INT_VAL);
	for (uint16_t id = 0; id < RTE_MAX_ETHPORTS; id++)
		if (is_ours(id))
			rte_tel_data_add_array_int(d, id);
	return 0;
}

static int
info(const char *cmd, const char *params, struct rte_tel_data *d)
{
	struct rte_eth_dev *eth = find(params);
	const struct uvb_dev *dev;

	(void)cmd;
	if (eth == NULL)
		return -ENODEV;
	dev = uveth_local(eth)->dev;
	rte_tel_data_start_dict(d);
	rte_tel_data_add_dict_string(d, "fabric", uvb_path(dev));
	rte_tel_data_add_dict_string(d, "port", uvb_name(dev));
	rte_tel_data_add_dict_u64(d, "number", uvb_id(dev));
	rte_tel_data_add_dict_string(d, "link", uvb_link(dev) ? "up" : "down");
	rte_tel_data_add_dict_string(d, "started", uveth_port(eth)->started ? "yes" : "no");
	return rte_tel_data_add_dict_u64(d, "clock_ns", uvb_clock(dev));
}

static int
queues(const char *cmd, const char *params, struct rte_tel_data *d)
{
	struct rte_eth_dev *eth = find(params);
	const struct uveth_local *local;
	char name[32];

	(void)cmd;
	if (eth == NULL)
		return -ENODEV;
	local = uveth_local(eth);
	rte_tel_data_start_dict(d);
	for (uint16_t q = 0; q < uveth_port(eth)->max_rxq; q++) {
		snprintf(name, sizeof(name), "rx_q%u_waiting", q);
		if (local->rxq[q] != NULL)
			rte_tel_data_add_dict_u64(d, name, uvb_rx_count(local->rxq[q]));
	}
	for (uint16_t q = 0; q < uveth_port(eth)->max_txq; q++) {
		snprintf(name, sizeof(name), "tx_q%u_cells_free", q);
		if (local->txq[q] != NULL)
			rte_tel_data_add_dict_u64(d, name, uvb_tx_free(local->txq[q]));
	}
	return 0;
}

/* Of the port, not once more for each queue. */
static bool
is_loss(const char *name)
{
	return (strstr(name, "_drop_") != NULL || strstr(name, "_far_") != NULL) &&
	       strncmp(name + 2, "_q", 2) != 0;
}

static int
drops(const char *cmd, const char *params, struct rte_tel_data *d)
{
	struct rte_eth_dev *eth = find(params);
	unsigned int n = eth != NULL ? uveth_nb_counters(eth) : 0;
	struct rte_eth_xstat_name *names = calloc(n + 1, sizeof(*names));
	struct rte_eth_xstat *values = calloc(n + 1, sizeof(*values));
	int rc = eth != NULL ? 0 : -ENODEV;

	(void)cmd;
	if (names == NULL || values == NULL)
		rc = -ENOMEM;
	if (rc == 0) {
		uveth_xstats_get_names(eth, names, n);
		uveth_xstats_get(eth, values, n);
		rte_tel_data_start_dict(d);
		for (unsigned int i = 0; i < n; i++)
			if (values[i].value != 0 && is_loss(names[i].name))
				rte_tel_data_add_dict_u64(d, names[i].name, values[i].value);
	}
	free(names);
	free(values);
	return rc;
}

RTE_INIT(uveth_telemetry_init)
{
	rte_telemetry_register_cmd("/net_uveth/list", list,
				   "Returns the ports of this driver. Takes no parameters");
	rte_telemetry_register_cmd("/net_uveth/info", info,
				   "Returns a port's place in its fabric. Parameters: port");
	rte_telemetry_register_cmd("/net_uveth/queues", queues,
				   "Returns frames waiting and cells free. Parameters: port");
	rte_telemetry_register_cmd("/net_uveth/drops", drops,
				   "Returns what was lost, by reason. Parameters: port");
}
