/* SPDX-License-Identifier: BSD-3-Clause
 *
 * uveth_flow_action.c - the actions of a flow rule. One says where the frame goes; marking and
 * counting go with any of them.
 */
#include <errno.h>
#include <string.h>

#include "uveth/uveth_flow.h"

#define XOR_TYPES                                                                       \
	(UVB_RSS_DEFAULT | UVB_RSS_IPV4_FRAG | UVB_RSS_IPV4_OTHER | UVB_RSS_IPV6_FRAG | \
	 UVB_RSS_IPV6_OTHER)

struct builder {
	const struct rte_eth_dev *eth;
	struct uvb_rule *rule;
	struct rte_flow_error *error;
	const struct rte_flow_action *action;
};

static int
refuse(const struct builder *b, int code, enum rte_flow_error_type type, const char *why)
{
	return rte_flow_error_set(b->error, code, type, b->action, why);
}

static int
refuse_conf(const struct builder *b, int code, const char *why)
{
	return refuse(b, code, RTE_FLOW_ERROR_TYPE_ACTION_CONF, why);
}

static int
set_fate(struct builder *b, enum uvb_rule_fate fate)
{
	if (b->rule->fate != UVB_FATE_NONE)
		return refuse(b, ENOTSUP, RTE_FLOW_ERROR_TYPE_ACTION,
			      "one of queue, rss, drop, jump and passthru: a frame goes one way");
	b->rule->fate = fate;
	return 0;
}

/* An action without effect on the second of its kind. */
static int
set_flag(struct builder *b, uint32_t flag)
{
	if (b->rule->flags & flag)
		return refuse(b, ENOTSUP, RTE_FLOW_ERROR_TYPE_ACTION,
			      "the same action twice: a rule has one mark and one counter");
	b->rule->flags |= flag;
	return 0;
}

static int
add_queue(struct builder *b, uint16_t queue)
{
	if (queue >= b->eth->data->nb_rx_queues)
		return refuse_conf(b, EINVAL,
				   "there is no such receive queue: rules come after "
				   "rte_eth_dev_configure(), and name its queues");
	b->rule->queue[b->rule->nb_queue++] = queue;
	return 0;
}

static int
action_queue(struct builder *b)
{
	const struct rte_flow_action_queue *conf = b->action->conf;
	int rc = set_fate(b, UVB_FATE_QUEUE);

	return rc == 0 ? add_queue(b, conf->index) : rc;
}

static int
action_drop(struct builder *b)
{
	return set_fate(b, UVB_FATE_DROP);
}

static int
action_passthru(struct builder *b)
{
	return set_fate(b, UVB_FATE_PASS);
}

static int
action_jump(struct builder *b)
{
	const struct rte_flow_action_jump *conf = b->action->conf;

	if (conf->group >= UVB_RULE_GROUPS)
		return refuse_conf(b, ENOTSUP, "groups are 0 to 255");
	if (conf->group <= b->rule->group)
		return refuse_conf(b, ENOTSUP,
				   "a jump goes to a group with a higher number: nothing can loop");
	b->rule->jump = conf->group;
	return set_fate(b, UVB_FATE_JUMP);
}

static int
action_mark(struct builder *b)
{
	const struct rte_flow_action_mark *conf = b->action->conf;

	b->rule->mark = conf->id;
	return set_flag(b, UVB_RULE_MARK);
}

static int
action_flag(struct builder *b)
{
	return set_flag(b, UVB_RULE_FLAG);
}

static int
action_count(struct builder *b)
{
	return set_flag(b, UVB_RULE_COUNT);
}

static int
rss_function(struct builder *b, enum rte_eth_hash_function func)
{
	switch (func) {
	case RTE_ETH_HASH_FUNCTION_DEFAULT:
	case RTE_ETH_HASH_FUNCTION_TOEPLITZ:
		return 0;
	case RTE_ETH_HASH_FUNCTION_SIMPLE_XOR:
		if (b->rule->rss_types & ~XOR_TYPES)
			return refuse_conf(b, ENOTSUP,
					   "simple_xor takes addresses and ports as they are: no "
					   "MAC addresses, single fields or extension headers");
		b->rule->flags |= UVB_RULE_XOR;
		return 0;
	case RTE_ETH_HASH_FUNCTION_SYMMETRIC_TOEPLITZ:
		b->rule->rss_types |= UVB_RSS_SYMMETRIC;
		return 0;
	default:
		return refuse_conf(b, ENOTSUP,
				   "the hash functions are default, toeplitz, symmetric_toeplitz "
				   "and simple_xor");
	}
}

/* Without one, the port's as it is now. */
static int
rss_key(struct builder *b, const struct rte_flow_action_rss *conf)
{
	const struct uvb_conf *port = &uveth_port(b->eth)->conf;

	if (conf->key_len != 0 && conf->key_len != port->key_len)
		return refuse_conf(b, EINVAL, "an RSS key has as many bytes as the port's: 40");
	b->rule->key_len = port->key_len;
	memcpy(b->rule->key, conf->key_len != 0 && conf->key != NULL ? conf->key : port->key,
	       port->key_len);
	return 0;
}

static int
action_rss(struct builder *b)
{
	const struct rte_flow_action_rss *conf = b->action->conf;
	int rc = set_fate(b, UVB_FATE_RSS);

	if (rc != 0)
		return rc;
	if (conf->level > 1)
		return refuse_conf(b, ENOTSUP,
				   "nothing inside of a tunnel is hashed: the level is 0 or 1");
	if ((conf->types & ~uveth_rss_types()) != 0)
		return refuse_conf(b, ENOTSUP,
				   "a hash type that the port does not have: see its "
				   "flow_type_rss_offloads");
	if (conf->queue_num < 1 || conf->queue_num > UVB_RULE_QUEUES)
		return refuse_conf(b, EINVAL, "rss wants 1 to 128 queues");
	b->rule->rss_types = conf->types != 0 ? uveth_rss_to_uvb(conf->types) : UVB_RSS_DEFAULT;
	rc = rss_function(b, conf->func);
	if (rc == 0)
		rc = rss_key(b, conf);
	for (uint32_t i = 0; i < conf->queue_num && rc == 0; i++)
		rc = add_queue(b, conf->queue[i]);
	return rc;
}

static int
action_void(struct builder *b)
{
	(void)b;
	return 0;
}

static const struct {
	enum rte_flow_action_type type;
	bool conf; /* must have one */
	int (*add)(struct builder *b);
} kinds[] = {
	{RTE_FLOW_ACTION_TYPE_VOID, false, action_void},
	{RTE_FLOW_ACTION_TYPE_PASSTHRU, false, action_passthru},
	{RTE_FLOW_ACTION_TYPE_JUMP, true, action_jump},
	{RTE_FLOW_ACTION_TYPE_MARK, true, action_mark},
	{RTE_FLOW_ACTION_TYPE_FLAG, false, action_flag},
	{RTE_FLOW_ACTION_TYPE_QUEUE, true, action_queue},
	{RTE_FLOW_ACTION_TYPE_DROP, false, action_drop},
	{RTE_FLOW_ACTION_TYPE_COUNT, false, action_count},
	{RTE_FLOW_ACTION_TYPE_RSS, true, action_rss},
};

static int
action_add(struct builder *b)
{
	for (size_t i = 0; i < RTE_DIM(kinds); i++) {
		if (kinds[i].type != b->action->type)
			continue;
		if (kinds[i].conf && b->action->conf == NULL)
			return refuse_conf(b, EINVAL, "an action without its configuration");
		return kinds[i].add(b);
	}
	return refuse(b, ENOTSUP, RTE_FLOW_ERROR_TYPE_ACTION,
		      "an action that uveth does not know: it has queue, rss, drop, mark, flag, "
		      "count, jump, passthru and void");
}

int
uveth_flow_actions(const struct rte_eth_dev *eth, const struct rte_flow_action *actions,
		   struct uvb_rule *rule, struct rte_flow_error *error)
{
	struct builder b = {eth, rule, error, actions};
	int rc = 0;

	for (; b.action->type != RTE_FLOW_ACTION_TYPE_END && rc == 0; b.action++)
		rc = action_add(&b);
	if (rc == 0 && rule->fate == UVB_FATE_NONE)
		return refuse(&b, EINVAL, RTE_FLOW_ERROR_TYPE_ACTION_NUM,
			      "the rule does not say where the frame goes: add queue, rss, drop, "
			      "jump or passthru");
	return rc;
}
