/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Frames that a NIC does not hash arrive at its queue 0: of what a host needs, ARP. While nobody
 * polls that queue a flow rule directs them to one that somebody does. */
#include "stack/core/log.h"
#include "stack/mgr/mgr.h"

#include <rte_flow.h>

static uint16_t
first_live(const struct mgr *m)
{
	for (uint32_t q = 0; q < m->host->nb_queues; q++)
		if (uvs_lease_in_reta(UVS_LEASE_STATE(atomic_load(&m->host->lease[q].word))))
			return (uint16_t)q;
	return m->arp_queue; /* nobody is there: whoever comes is told */
}

static struct rte_flow *
make_rule(const struct mgr *m, uint16_t queue, struct rte_flow_error *error)
{
	struct rte_flow_attr attr = {.ingress = 1};
	struct rte_flow_item_eth spec = {.type = rte_cpu_to_be_16(RTE_ETHER_TYPE_ARP)};
	struct rte_flow_item_eth mask = {.type = 0xffff};
	struct rte_flow_item pattern[] = {
		{.type = RTE_FLOW_ITEM_TYPE_ETH, .spec = &spec, .mask = &mask},
		{.type = RTE_FLOW_ITEM_TYPE_END},
	};
	struct rte_flow_action_queue to = {.index = queue};
	struct rte_flow_action actions[] = {
		{.type = RTE_FLOW_ACTION_TYPE_QUEUE, .conf = &to},
		{.type = RTE_FLOW_ACTION_TYPE_END},
	};

	return rte_flow_create(m->port.id, &attr, pattern, actions, error);
}

void
unhashed_follow(struct mgr *m)
{
	uint16_t queue = first_live(m);
	struct rte_flow_error error = {.message = NULL};

	if (queue == m->arp_queue)
		return;
	if (m->arp_rule != NULL)
		rte_flow_destroy(m->port.id, m->arp_rule, &error);
	m->arp_rule = queue != 0 ? make_rule(m, queue, &error) : NULL;
	if (queue != 0 && m->arp_rule == NULL && uvs_nicrules_yield(&m->nic_rules))
		m->arp_rule = make_rule(m, queue, &error);
	m->arp_queue = queue;
	if (queue != 0 && m->arp_rule == NULL)
		uvs_log(UVS_LOG_WARNING,
			"nobody polls queue 0, and %s has no flow rule that directs ARP to queue "
			"%u (%s): new peers do not find the host until a process has it again",
			m->port.driver, queue, error.message != NULL ? error.message : "no reason");
}
