/* SPDX-License-Identifier: BSD-3-Clause
 *
 * uveth_flow.c - rte_flow: the operations, and the rules there are.
 *
 * Senders obey a change from their next burst on. Rules outlive stop and start
 * (RTE_ETH_DEV_CAPA_FLOW_RULE_KEEP), and configuring the port as long as the queues they name stay;
 * closing the port, and resetting it, ends them.
 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <string.h>

#include <rte_flow_driver.h>
#include <rte_malloc.h>

#include "uveth/uveth_flow.h"

/* ------------------------------------------------------------------------------------- one at a
 * time
 *
 * By a lock of this process (RTE_ETH_DEV_FLOW_OPS_THREAD_SAFE), since one process at a time has the
 * rules. ethdev's own stands in the port's shared memory: held by a primary that is killed in here,
 * it would stop the secondary that has the rules next for ever. */

static pthread_mutex_t flow_lock = PTHREAD_MUTEX_INITIALIZER;

static pthread_mutex_t *
enter(void)
{
	pthread_mutex_lock(&flow_lock);
	return &flow_lock;
}

static void
leave(pthread_mutex_t **lock)
{
	pthread_mutex_unlock(*lock);
}

/* Until the end of the block. */
#define ONE_AT_A_TIME __attribute__((cleanup(leave), unused)) pthread_mutex_t *held_ = enter()

/* --------------------------------------------------------------------------------- the handles */

/* A slot that is free: after the one used last, so that what is late finds no other rule there. */
static int
slot_find(const struct uveth_port *port)
{
	for (uint32_t i = 0; i < UVB_RULE_MAX; i++) {
		uint32_t slot = (port->flow_cursor + i) % port->flow_high;

		if (!port->flows[slot].used)
			return (int)slot;
	}
	return -1;
}

static int
slot_take(struct uveth_port *port)
{
	int slot;

	if (port->nb_flows == port->flow_high && port->flow_high < UVB_RULE_MAX)
		return (int)port->flow_high++;
	slot = port->flow_high > 0 ? slot_find(port) : -1;
	if (slot >= 0)
		port->flow_cursor = (uint32_t)slot + 1;
	return slot;
}

/* Whatever the application hands us for a rule: the slot if it is one. */
static int
slot_of(const struct uveth_port *port, const struct rte_flow *flow)
{
	uintptr_t off = (uintptr_t)flow - (uintptr_t)port->flows;

	if (port->flows == NULL || off % sizeof(*flow) != 0 ||
	    off / sizeof(*flow) >= UVB_RULE_MAX || !flow->used)
		return -1;
	return (int)(off / sizeof(*flow));
}

static int
no_such_rule(const struct rte_flow *flow, struct rte_flow_error *error)
{
	return rte_flow_error_set(error, ENOENT, RTE_FLOW_ERROR_TYPE_HANDLE, flow,
				  "there is no such rule: it was destroyed, or its port reset");
}

/* What the fabric says is kept with the port: the application reads it later. */
static int
fabric_refuses(struct rte_eth_dev *eth, int rc, struct rte_flow_error *error)
{
	return rte_flow_error_set(error, -rc, RTE_FLOW_ERROR_TYPE_UNSPECIFIED, NULL,
				  uveth_port(eth)->flow_error);
}

static int
rule_write(struct rte_eth_dev *eth, int slot, const struct uvb_rule *rule)
{
	struct uvb_dev *dev;
	int rc = uveth_control(eth, &dev, uveth_port(eth)->flow_error);

	return rc != 0 ? rc : uvb_rule_set(dev, (uint16_t)slot, rule, uveth_port(eth)->flow_error);
}

/* --------------------------------------------------------------------------------------- create */

static int
check_attr(const struct rte_flow_attr *attr, struct uvb_rule *rule, struct rte_flow_error *error)
{
	const char *why = NULL;
	enum rte_flow_error_type type = RTE_FLOW_ERROR_TYPE_ATTR;

	if (attr->transfer) {
		type = RTE_FLOW_ERROR_TYPE_ATTR_TRANSFER;
		why = "transfer rules are not supported: a port rules what it receives itself";
	} else if (attr->egress) {
		type = RTE_FLOW_ERROR_TYPE_ATTR_EGRESS;
		why = "egress rules are not supported: a port rules what it receives";
	} else if (!attr->ingress) {
		type = RTE_FLOW_ERROR_TYPE_ATTR_INGRESS;
		why = "the rule has no direction: say ingress";
	} else if (attr->group >= UVB_RULE_GROUPS) {
		type = RTE_FLOW_ERROR_TYPE_ATTR_GROUP;
		why = "groups are 0 to 255";
	}
	if (why != NULL)
		return rte_flow_error_set(error, ENOTSUP, type, attr, why);
	rule->group = attr->group;
	rule->priority = attr->priority;
	return 0;
}

static int
translate(const struct rte_eth_dev *eth, const struct rte_flow_attr *attr,
	  const struct rte_flow_item *pattern, const struct rte_flow_action *actions,
	  struct uvb_rule *rule, struct rte_flow_error *error)
{
	int rc;

	memset(rule, 0, sizeof(*rule));
	rc = check_attr(attr, rule, error);
	if (rc == 0)
		rc = uveth_flow_pattern(pattern, rule, error);
	if (rc == 0)
		rc = uveth_flow_actions(eth, actions, rule, error);
	return rc;
}

static int
flow_validate(struct rte_eth_dev *eth, const struct rte_flow_attr *attr,
	      const struct rte_flow_item pattern[], const struct rte_flow_action actions[],
	      struct rte_flow_error *error)
{
	struct uvb_rule rule;

	return translate(eth, attr, pattern, actions, &rule, error);
}

/* Tell senders whether there are rules to look for. */
static int
publish_rules(struct rte_eth_dev *eth)
{
	struct uveth_port *port = uveth_port(eth);
	struct uvb_conf next = port->conf;

	next.flags &= ~UVB_CONF_RULES;
	next.flags |= port->nb_flows > 0 ? UVB_CONF_RULES : 0;
	return next.flags == port->conf.flags ? 0 : uveth_publish(eth, &next);
}

static int
flows_begin(struct uveth_port *port)
{
	if (port->flows == NULL)
		port->flows = rte_calloc("uveth_flows", UVB_RULE_MAX, sizeof(*port->flows), 0);
	return port->flows != NULL ? 0 : -ENOMEM;
}

static struct rte_flow *
install(struct rte_eth_dev *eth, struct uvb_rule *rule, struct rte_flow_error *error)
{
	struct uveth_port *port = uveth_port(eth);
	int rc, slot = flows_begin(port) == 0 ? slot_take(port) : -1;
	struct rte_flow *flow;

	if (slot < 0) {
		rte_flow_error_set(error, port->flows != NULL ? ENOSPC : ENOMEM,
				   RTE_FLOW_ERROR_TYPE_UNSPECIFIED, NULL,
				   "the port has 4096 rules already, or there is no memory");
		return NULL;
	}
	flow = &port->flows[slot];
	rule->serial = ++port->flow_serial;
	uvb_rule_count(uveth_local(eth)->dev, (uint16_t)slot, &flow->frames, &flow->bytes);
	rc = rule_write(eth, slot, rule);
	if (rc != 0) {
		fabric_refuses(eth, rc, error);
		return NULL;
	}
	flow->used = true;
	port->nb_flows++;
	publish_rules(eth);
	return flow;
}

static struct rte_flow *
flow_create(struct rte_eth_dev *eth, const struct rte_flow_attr *attr,
	    const struct rte_flow_item pattern[], const struct rte_flow_action actions[],
	    struct rte_flow_error *error)
{
	struct uvb_rule rule;
	ONE_AT_A_TIME;

	if (translate(eth, attr, pattern, actions, &rule, error) != 0)
		return NULL;
	return install(eth, &rule, error);
}

/* -------------------------------------------------------------------------------------- destroy */

/* A fabric that is gone has no rules any more: as wanted. */
static int
uninstall(struct rte_eth_dev *eth, int slot)
{
	struct uveth_port *port = uveth_port(eth);
	int rc = rule_write(eth, slot, NULL);

	if (rc != 0 && rc != -ENODEV)
		return rc;
	port->flows[slot].used = false;
	port->nb_flows--;
	return 0;
}

static int
flow_destroy(struct rte_eth_dev *eth, struct rte_flow *flow, struct rte_flow_error *error)
{
	ONE_AT_A_TIME;
	int rc, slot = slot_of(uveth_port(eth), flow);

	if (slot < 0)
		return no_such_rule(flow, error);
	rc = uninstall(eth, slot);
	if (rc != 0)
		return fabric_refuses(eth, rc, error);
	publish_rules(eth);
	return 0;
}

static int
flow_flush(struct rte_eth_dev *eth, struct rte_flow_error *error)
{
	struct uveth_port *port = uveth_port(eth);
	int rc = 0;
	ONE_AT_A_TIME;

	for (uint32_t i = 0; i < port->flow_high && rc == 0; i++)
		if (port->flows[i].used)
			rc = uninstall(eth, (int)i);
	if (rc != 0)
		return fabric_refuses(eth, rc, error);
	port->nb_flows = 0; /* whoever had them before may have been killed before he counted */
	publish_rules(eth);
	return 0;
}

void
uveth_flow_forget(struct rte_eth_dev *eth)
{
	struct uveth_port *port = uveth_port(eth);

	rte_free(port->flows);
	port->flows = NULL;
	port->nb_flows = 0;
	port->flow_high = 0;
	port->flow_cursor = 0;
}

/* ---------------------------------------------------------------------------------------- query */

static int
flow_query(struct rte_eth_dev *eth, struct rte_flow *flow, const struct rte_flow_action *action,
	   void *data, struct rte_flow_error *error)
{
	ONE_AT_A_TIME;
	struct rte_flow_query_count *query = data;
	int slot = slot_of(uveth_port(eth), flow);
	uint64_t frames, bytes;
	struct uvb_rule rule;

	if (slot < 0)
		return no_such_rule(flow, error);
	uvb_rule_get(uveth_local(eth)->dev, (uint16_t)slot, &rule);
	if (action->type != RTE_FLOW_ACTION_TYPE_COUNT || (rule.flags & UVB_RULE_COUNT) == 0)
		return rte_flow_error_set(error, ENOTSUP, RTE_FLOW_ERROR_TYPE_ACTION, action,
					  "count can be queried, of a rule that has it");
	uvb_rule_count(uveth_local(eth)->dev, (uint16_t)slot, &frames, &bytes);
	query->hits_set = 1;
	query->bytes_set = 1;
	query->hits = frames - flow->frames;
	query->bytes = bytes - flow->bytes;
	if (query->reset) {
		flow->frames = frames;
		flow->bytes = bytes;
	}
	return 0;
}

static int
flow_isolate(struct rte_eth_dev *eth, int set, struct rte_flow_error *error)
{
	ONE_AT_A_TIME;
	struct uvb_conf next = uveth_port(eth)->conf;
	int rc;

	next.flags &= ~UVB_CONF_ISOLATED;
	next.flags |= set ? UVB_CONF_ISOLATED : 0;
	rc = uveth_publish(eth, &next);
	return rc == 0 ? 0
		       : rte_flow_error_set(error, -rc, RTE_FLOW_ERROR_TYPE_UNSPECIFIED, NULL,
					    "the port is no longer attached to its fabric");
}

/* ----------------------------------------------------------------------------------------- dump */

static void
dump_slot(struct rte_eth_dev *eth, int slot, FILE *f)
{
	struct uveth_port *port = uveth_port(eth);
	uint64_t frames, bytes;
	struct uvb_rule rule;

	uvb_rule_get(uveth_local(eth)->dev, (uint16_t)slot, &rule);
	fprintf(f, "slot %u ", slot);
	uvb_rule_print(f, &rule);
	fputc('\n', f);
	if ((rule.flags & UVB_RULE_COUNT) == 0)
		return;
	uvb_rule_count(uveth_local(eth)->dev, (uint16_t)slot, &frames, &bytes);
	fprintf(f, "  counted: %" PRIu64 " frames, %" PRIu64 " bytes\n",
		frames - port->flows[slot].frames, bytes - port->flows[slot].bytes);
}

static int
flow_dev_dump(struct rte_eth_dev *eth, struct rte_flow *flow, FILE *f, struct rte_flow_error *error)
{
	ONE_AT_A_TIME;
	struct uveth_port *port = uveth_port(eth);
	int slot = flow != NULL ? slot_of(port, flow) : 0;

	if (slot < 0)
		return no_such_rule(flow, error);
	if (flow != NULL) {
		dump_slot(eth, slot, f);
		return 0;
	}
	fprintf(f, "%u flow rules%s\n", port->nb_flows,
		port->conf.flags & UVB_CONF_ISOLATED ? ", isolated" : "");
	for (uint32_t i = 0; i < port->flow_high; i++)
		if (port->flows[i].used)
			dump_slot(eth, (int)i, f);
	return 0;
}

/* ---------------------------------------------------------------------------------- with ethdev */

/* May so many queues be configured? Not if there are rules for others. */
int
uveth_flow_queues_ok(struct rte_eth_dev *eth, uint16_t nb_rxq)
{
	struct uveth_port *port = uveth_port(eth);
	struct uvb_rule rule;

	for (uint32_t i = 0; i < port->flow_high; i++) {
		if (!port->flows[i].used)
			continue;
		uvb_rule_get(uveth_local(eth)->dev, (uint16_t)i, &rule);
		for (uint32_t q = 0; q < rule.nb_queue; q++) {
			if (rule.queue[q] < nb_rxq)
				continue;
			UVETH_LOG(ERR,
				  "%s: a flow rule names receive queue %u: flush the rules before "
				  "configuring %u queues",
				  eth->data->name, rule.queue[q], nb_rxq);
			return -EBUSY;
		}
	}
	return 0;
}

int
uveth_flow_ops_get(struct rte_eth_dev *eth, const struct rte_flow_ops **ops)
{
	static const struct rte_flow_ops flow_ops = {
		.validate = flow_validate,
		.create = flow_create,
		.destroy = flow_destroy,
		.flush = flow_flush,
		.query = flow_query,
		.isolate = flow_isolate,
		.dev_dump = flow_dev_dump,
	};

	(void)eth;
	*ops = &flow_ops;
	return 0;
}

/* Marks are always delivered. */
int
uveth_rx_metadata_negotiate(struct rte_eth_dev *eth, uint64_t *features)
{
	(void)eth;
	*features &= RTE_ETH_RX_METADATA_USER_FLAG | RTE_ETH_RX_METADATA_USER_MARK;
	return 0;
}
