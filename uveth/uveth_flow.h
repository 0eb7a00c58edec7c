/* SPDX-License-Identifier: BSD-3-Clause
 *
 * uveth_flow.h - rte_flow: its rules in the fabric's terms.
 *
 * A rule of an application (attributes, pattern, actions) becomes one struct uvb_rule, which the
 * senders of frames apply (uvbridge/abi.h, "flow rules"). uveth_flow_pattern.c translates items,
 * uveth_flow_action.c actions; uveth_flow.c has the operations and the rules there are.
 */
#ifndef UVETH_FLOW_H
#define UVETH_FLOW_H

#include <rte_flow.h>

#include "uveth/uveth.h"

/* What the application holds: an entry of uveth_port.flows, of the slot with its index. */
struct rte_flow {
	bool used;
	uint64_t frames, bytes; /* what the slot had counted when the counters were at 0 */
};

/* Both fill in their part of a rule that is all zero. On failure *error is set, with a sentence. */
int uveth_flow_pattern(const struct rte_flow_item *pattern, struct uvb_rule *rule,
		       struct rte_flow_error *error);
int uveth_flow_actions(const struct rte_eth_dev *eth, const struct rte_flow_action *actions,
		       struct uvb_rule *rule, struct rte_flow_error *error);

#endif /* UVETH_FLOW_H */
