/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_flow.c - rte_flow: what is refused and with which words, what rules do, how long they live.
 */
#include <rte_errno.h>
#include <rte_flow.h>

#include "uveth/test/test.h"

#define QUEUES 4
#define END                                    \
	{                                      \
		.type = RTE_FLOW_ITEM_TYPE_END \
	}

static const struct rte_flow_attr ingress = {.ingress = 1};
static const struct rte_flow_item_udp port53 = {.hdr.dst_port = RTE_BE16(53)},
				      dst_port = {.hdr.dst_port = RTE_BE16(0xffff)};
static const struct rte_flow_item dns[] = {
	{.type = RTE_FLOW_ITEM_TYPE_ETH},
	{.type = RTE_FLOW_ITEM_TYPE_IPV4},
	{.type = RTE_FLOW_ITEM_TYPE_UDP, .spec = &port53, .mask = &dst_port},
	END,
};
static const struct rte_flow_item anything[] = {END};
static const struct rte_flow_action_queue queue2 = {.index = 2};
static const struct rte_flow_action to_queue2[] = {
	{.type = RTE_FLOW_ACTION_TYPE_QUEUE, .conf = &queue2},
	{.type = RTE_FLOW_ACTION_TYPE_END},
};
static const struct rte_flow_action drop[] = {
	{.type = RTE_FLOW_ACTION_TYPE_DROP},
	{.type = RTE_FLOW_ACTION_TYPE_END},
};

static void
open_queues(struct port *a, struct port *b)
{
	struct setup s = {.queues = QUEUES,
			  .rss_hf = RTE_ETH_RSS_NONFRAG_IPV4_UDP,
			  .rx_offloads = RTE_ETH_RX_OFFLOAD_RSS_HASH};

	pair_open(a, b, &s);
}

static struct rte_flow *
create(const struct port *p, const struct rte_flow_attr *attr, const struct rte_flow_item *items,
       const struct rte_flow_action *actions)
{
	struct rte_flow_error error = {.message = "no word"};
	struct rte_flow *flow = rte_flow_create(p->id, attr, items, actions, &error);

	if (flow == NULL)
		test_fail(__FILE__, __LINE__, "a rule is refused: %s", error.message);
	return flow;
}

/* A frame to a UDP port; whether and where it arrives. The mbuf is the caller's. */
static int
arrives(const struct port *a, const struct port *b, uint16_t dport, struct rte_mbuf **m)
{
	struct flow f = flow_number(1, V4, IPPROTO_UDP);
	int queue = -1;

	f.dport = dport;
	CHECK(send_one(a, 0, flow_frame(a, b, &f, 20)));
	for (uint16_t q = 0; q < b->nb_queues; q++)
		if (receive(b, q, m, 1) == 1) {
			CHECK_EQ(queue, -1);
			queue = q;
		}
	return queue;
}

static int
queue_of(const struct port *a, const struct port *b, uint16_t dport)
{
	struct rte_mbuf *m = NULL;
	int queue = arrives(a, b, dport, &m);

	rte_pktmbuf_free(m);
	return queue;
}

/* ------------------------------------------------------------------------------------- refusals */

static void
refused(const struct port *p, const struct rte_flow_attr *attr, const struct rte_flow_item *items,
	const struct rte_flow_action *actions, int code, enum rte_flow_error_type type,
	const char *word)
{
	struct rte_flow_error error = {.message = ""};

	CHECK_EQ(rte_flow_validate(p->id, attr, items, actions, &error), -code);
	if (strstr(error.message, word) == NULL)
		test_fail(__FILE__, __LINE__, "'%s' is not in: %s", word, error.message);
	CHECK_EQ(error.type, type);
	CHECK(rte_flow_create(p->id, attr, items, actions, &error) == NULL);
	CHECK_EQ(rte_errno, code);
}

static void
attributes(void)
{
	struct rte_flow_attr none = {0}, egress = {.egress = 1}, transfer = {.transfer = 1},
			     both = {.ingress = 1, .egress = 1},
			     group = {.ingress = 1, .group = 256};
	struct port a, b;

	open_queues(&a, &b);
	CHECK_EQ(rte_flow_validate(b.id, &ingress, dns, to_queue2, NULL), 0);
	refused(&b, &none, dns, drop, ENOTSUP, RTE_FLOW_ERROR_TYPE_ATTR_INGRESS, "ingress");
	refused(&b, &egress, dns, drop, ENOTSUP, RTE_FLOW_ERROR_TYPE_ATTR_EGRESS, "egress");
	refused(&b, &both, dns, drop, ENOTSUP, RTE_FLOW_ERROR_TYPE_ATTR_EGRESS, "egress");
	refused(&b, &transfer, dns, drop, ENOTSUP, RTE_FLOW_ERROR_TYPE_ATTR_TRANSFER, "transfer");
	refused(&b, &group, dns, drop, ENOTSUP, RTE_FLOW_ERROR_TYPE_ATTR_GROUP, "255");
	pair_close(&a, &b);
}

static void
refused_items(const struct port *p, const struct rte_flow_item *items, int code,
	      enum rte_flow_error_type type, const char *word)
{
	refused(p, &ingress, items, drop, code, type, word);
}

#define ITEM(t)                                \
	{                                      \
		.type = RTE_FLOW_ITEM_TYPE_##t \
	}

static void
order_of_items(void)
{
	static const struct rte_flow_item no_l3[] = {ITEM(ETH), ITEM(UDP), END},
					  upside[] = {ITEM(UDP), ITEM(IPV4), END},
					  two_eth[] = {ITEM(ETH), ITEM(ETH), END},
					  tunnel[] = {ITEM(IPV4), ITEM(IPV6), END},
					  late_vlan[] = {ITEM(IPV4), ITEM(VLAN), END},
					  tags[] = {ITEM(VLAN), ITEM(VLAN), ITEM(VLAN), END},
					  icmp[] = {ITEM(IPV6), ITEM(ICMP), END},
					  icmp6[] = {ITEM(IPV4), ITEM(ICMP6), END},
					  vxlan[] = {ITEM(VXLAN), END},
					  invert[] = {ITEM(INVERT), ITEM(ETH), END};
	struct port a, b;

	open_queues(&a, &b);
	refused_items(&b, no_l3, EINVAL, RTE_FLOW_ERROR_TYPE_ITEM, "IP header is missing");
	refused_items(&b, upside, EINVAL, RTE_FLOW_ERROR_TYPE_ITEM, "below the transport");
	refused_items(&b, two_eth, EINVAL, RTE_FLOW_ERROR_TYPE_ITEM, "comes first");
	refused_items(&b, tunnel, EINVAL, RTE_FLOW_ERROR_TYPE_ITEM, "once");
	refused_items(&b, late_vlan, EINVAL, RTE_FLOW_ERROR_TYPE_ITEM, "below the IP header");
	refused_items(&b, tags, ENOTSUP, RTE_FLOW_ERROR_TYPE_ITEM, "two VLAN tags");
	refused_items(&b, icmp, EINVAL, RTE_FLOW_ERROR_TYPE_ITEM, "no frame can match");
	refused_items(&b, icmp6, EINVAL, RTE_FLOW_ERROR_TYPE_ITEM, "no frame can match");
	refused_items(&b, vxlan, ENOTSUP, RTE_FLOW_ERROR_TYPE_ITEM, "does not know");
	refused_items(&b, invert, ENOTSUP, RTE_FLOW_ERROR_TYPE_ITEM, "does not know");
	pair_close(&a, &b);
}

static void
refused_item(const struct port *p, enum rte_flow_item_type type, const void *spec, const void *last,
	     const void *mask, int code, enum rte_flow_error_type error, const char *word)
{
	struct rte_flow_item items[] = {{type, spec, last, mask}, END};

	refused_items(p, items, code, error, word);
}

static void
values_of_items(void)
{
	static const struct rte_flow_item_tcp low = {.hdr.src_port = RTE_BE16(10)},
					      high = {.hdr.src_port = RTE_BE16(20)};
	static const uint8_t bytes[130];
	const struct rte_flow_item_any two = {.num = 2}, all = {.num = UINT32_MAX};
	struct rte_flow_item_raw search = {.search = 1, .length = 1, .pattern = bytes},
				 far = {.offset = 190, .length = 3, .pattern = bytes},
				 before = {.offset = -1, .length = 3, .pattern = bytes},
				 wide = {.length = 130, .pattern = bytes}, none = {.length = 3},
				 fine = {.length = 3, .pattern = bytes}, other = {.length = 4};
	struct port a, b;

	open_queues(&a, &b);
#define REFUSED(type, ...) refused_item(&b, RTE_FLOW_ITEM_TYPE_##type, __VA_ARGS__)
	REFUSED(TCP, NULL, NULL, &low, EINVAL, RTE_FLOW_ERROR_TYPE_ITEM_SPEC, "no spec");
	REFUSED(TCP, NULL, &low, NULL, EINVAL, RTE_FLOW_ERROR_TYPE_ITEM_SPEC, "no spec");
	REFUSED(TCP, &high, &low, NULL, EINVAL, RTE_FLOW_ERROR_TYPE_ITEM_LAST, "lower than spec");
	REFUSED(ANY, &two, NULL, &all, ENOTSUP, RTE_FLOW_ERROR_TYPE_ITEM_SPEC, "one layer");
	REFUSED(RAW, NULL, NULL, NULL, EINVAL, RTE_FLOW_ERROR_TYPE_ITEM_SPEC, "without a spec");
	REFUSED(RAW, &search, NULL, NULL, ENOTSUP, RTE_FLOW_ERROR_TYPE_ITEM_SPEC, "search");
	REFUSED(RAW, &far, NULL, NULL, ENOTSUP, RTE_FLOW_ERROR_TYPE_ITEM_SPEC, "192");
	REFUSED(RAW, &before, NULL, NULL, ENOTSUP, RTE_FLOW_ERROR_TYPE_ITEM_SPEC, "192");
	REFUSED(RAW, &wide, NULL, NULL, ENOTSUP, RTE_FLOW_ERROR_TYPE_ITEM_SPEC, "128 bytes");
	REFUSED(RAW, &none, NULL, NULL, EINVAL, RTE_FLOW_ERROR_TYPE_ITEM_SPEC, "no pattern");
	REFUSED(RAW, &fine, &other, NULL, ENOTSUP, RTE_FLOW_ERROR_TYPE_ITEM_LAST, "range");
#undef REFUSED
	pair_close(&a, &b);
}

static void
refused_actions(const struct port *p, enum rte_flow_action_type first, const void *first_conf,
		enum rte_flow_action_type second, const void *second_conf, int code,
		enum rte_flow_error_type type, const char *word)
{
	struct rte_flow_action actions[] = {
		{first, first_conf}, {second, second_conf}, {RTE_FLOW_ACTION_TYPE_END, NULL}};

	refused(p, &ingress, dns, actions, code, type, word);
}

static void
actions(void)
{
	static const uint16_t queues[] = {0, 1, QUEUES};
	const struct rte_flow_action_queue beyond = {.index = QUEUES};
	const struct rte_flow_action_jump home = {.group = 0}, far = {.group = 256};
	const struct rte_flow_action_mark mark = {.id = 1};
	struct rte_flow_action_rss rss = {.queue_num = 3, .queue = queues},
				   level = {.queue_num = 1, .queue = queues, .level = 2},
				   type = {.queue_num = 1,
					   .queue = queues,
					   .types = RTE_ETH_RSS_ESP},
				   func = {.queue_num = 1,
					   .queue = queues,
					   .func = RTE_ETH_HASH_FUNCTION_MAX},
				   nowhere = {.queue_num = 0, .queue = queues},
				   key = {.queue_num = 1,
					  .queue = queues,
					  .key_len = 39,
					  .key = (const uint8_t *)queues};
	struct port a, b;

	open_queues(&a, &b);
#define A(type)      RTE_FLOW_ACTION_TYPE_##type
#define REFUSED(...) refused_actions(&b, __VA_ARGS__)
#define REFUSED_CONF(t, c, code, word) \
	REFUSED(A(t), c, A(VOID), NULL, code, RTE_FLOW_ERROR_TYPE_ACTION_CONF, word)
	REFUSED(A(VOID), NULL, A(COUNT), NULL, EINVAL, RTE_FLOW_ERROR_TYPE_ACTION_NUM,
		"where the frame goes");
	REFUSED(A(DROP), NULL, A(QUEUE), &queue2, ENOTSUP, RTE_FLOW_ERROR_TYPE_ACTION, "one way");
	REFUSED(A(PASSTHRU), NULL, A(QUEUE), &queue2, ENOTSUP, RTE_FLOW_ERROR_TYPE_ACTION,
		"one way");
	REFUSED(A(MARK), &mark, A(MARK), &mark, ENOTSUP, RTE_FLOW_ERROR_TYPE_ACTION, "twice");
	REFUSED(A(COUNT), NULL, A(COUNT), NULL, ENOTSUP, RTE_FLOW_ERROR_TYPE_ACTION, "twice");
	REFUSED(A(PF), NULL, A(VOID), NULL, ENOTSUP, RTE_FLOW_ERROR_TYPE_ACTION, "does not know");
	REFUSED_CONF(QUEUE, NULL, EINVAL, "without its configuration");
	REFUSED_CONF(QUEUE, &beyond, EINVAL, "no such receive queue");
	REFUSED_CONF(JUMP, &home, ENOTSUP, "higher number");
	REFUSED_CONF(JUMP, &far, ENOTSUP, "255");
	REFUSED_CONF(RSS, &rss, EINVAL, "no such receive queue");
	REFUSED_CONF(RSS, &level, ENOTSUP, "tunnel");
	REFUSED_CONF(RSS, &type, ENOTSUP, "hash type");
	REFUSED_CONF(RSS, &func, ENOTSUP, "hash functions");
	REFUSED_CONF(RSS, &nowhere, EINVAL, "1 to 128 queues");
	REFUSED_CONF(RSS, &key, EINVAL, "40");
#undef REFUSED_CONF
#undef REFUSED
#undef A
	pair_close(&a, &b);
}

/* --------------------------------------------------------------------------------------- effects
 */

static void
queue_mark_count(void)
{
	const struct rte_flow_action_mark mark = {.id = 0xfedcba98};
	const struct rte_flow_action list[] = {
		{.type = RTE_FLOW_ACTION_TYPE_MARK, .conf = &mark},
		{.type = RTE_FLOW_ACTION_TYPE_COUNT},
		{.type = RTE_FLOW_ACTION_TYPE_QUEUE, .conf = &queue2},
		{.type = RTE_FLOW_ACTION_TYPE_END}};
	struct rte_flow_query_count count = {.reset = 1};
	struct port a, b;
	struct rte_flow *flow;
	struct rte_mbuf *m;

	open_queues(&a, &b);
	flow = create(&b, &ingress, dns, list);
	CHECK_EQ(arrives(&a, &b, 53, &m), 2);
	CHECK(m->ol_flags & RTE_MBUF_F_RX_FDIR);
	CHECK(m->ol_flags & RTE_MBUF_F_RX_FDIR_ID);
	CHECK_EQ(m->hash.fdir.hi, 0xfedcba98);
	CHECK(m->ol_flags & RTE_MBUF_F_RX_RSS_HASH); /* the port's, as well */
	rte_pktmbuf_free(m);
	CHECK(arrives(&a, &b, 54, &m) >= 0);
	CHECK_EQ(m->ol_flags & (RTE_MBUF_F_RX_FDIR | RTE_MBUF_F_RX_FDIR_ID), 0);
	rte_pktmbuf_free(m);
	for (int round = 0; round < 2; round++) {
		CHECK_EQ(rte_flow_query(b.id, flow, &list[1], &count, NULL), 0);
		CHECK(count.hits_set && count.bytes_set);
		CHECK_EQ(count.hits, round == 0 ? 1 : 0);
		CHECK_EQ(count.bytes, round == 0 ? 62 : 0);
	}
	CHECK(rte_flow_query(b.id, flow, &list[0], &count, NULL) != 0);
	CHECK_EQ(rte_flow_destroy(b.id, flow, NULL), 0);
	CHECK(arrives(&a, &b, 53, &m) >= 0);
	CHECK_EQ(m->ol_flags & RTE_MBUF_F_RX_FDIR, 0);
	rte_pktmbuf_free(m);
	pair_close(&a, &b);
}

static void
dropped_by_name(void)
{
	struct port a, b;

	open_queues(&a, &b);
	create(&b, &ingress, dns, drop);
	for (int i = 0; i < 5; i++)
		CHECK_EQ(queue_of(&a, &b, 53), -1);
	CHECK(queue_of(&a, &b, 54) >= 0);
	CHECK_EQ(xstat(&b, "rx_drop_flow"), 5);
	CHECK_EQ(xstat(&a, "tx_far_flow"), 5);
	CHECK_EQ(basic(&b).ipackets, 1);
	pair_close(&a, &b);
}

/* Key, types, function and queues of a rule; the hash is the one of rte_softrss. */
static void
rss_of_a_rule(void)
{
	static const uint16_t queues[] = {3, 1, 2};
	uint8_t key[40];
	struct rte_flow_action_rss rss = {.types = RTE_ETH_RSS_NONFRAG_IPV4_UDP,
					  .queue_num = 3,
					  .queue = queues,
					  .key = key,
					  .key_len = sizeof(key)};
	const struct rte_flow_action list[] = {{RTE_FLOW_ACTION_TYPE_RSS, &rss},
					       {RTE_FLOW_ACTION_TYPE_END, NULL}};
	struct rte_flow *flow;
	struct port a, b;

	for (size_t i = 0; i < sizeof(key); i++)
		key[i] = i * 41 + 7;
	open_queues(&a, &b);
	flow = create(&b, &ingress, anything, list);
	for (uint32_t i = 0; i < 200; i++) {
		struct flow f = flow_number(i, V4, IPPROTO_UDP);
		uint32_t hash = flow_hash(&f, key);
		struct rte_mbuf *m;

		CHECK(send_one(&a, 0, flow_frame(&a, &b, &f, 20)));
		CHECK_EQ(receive(&b, queues[hash % 3], &m, 1), 1);
		CHECK_EQ(m->hash.rss, hash);
		rte_pktmbuf_free(m);
	}
	CHECK_EQ(rte_flow_destroy(b.id, flow, NULL), 0);
	pair_close(&a, &b);
}

/* The hash of a flow by a rule with this function. */
static uint32_t
hash_by(const struct port *a, const struct port *b, enum rte_eth_hash_function func,
	const struct flow *f)
{
	static const uint16_t queues[] = {0};
	struct rte_flow_action_rss rss = {.types = RTE_ETH_RSS_NONFRAG_IPV4_UDP,
					  .queue_num = 1,
					  .queue = queues,
					  .func = func};
	const struct rte_flow_action list[] = {{RTE_FLOW_ACTION_TYPE_RSS, &rss},
					       {RTE_FLOW_ACTION_TYPE_END, NULL}};
	struct rte_flow *flow = create(b, &ingress, anything, list);
	struct rte_mbuf *m;
	uint32_t hash;

	CHECK(send_one(a, 0, flow_frame(a, b, f, 20)));
	m = receive_one(b);
	CHECK(m->ol_flags & RTE_MBUF_F_RX_RSS_HASH);
	hash = m->hash.rss;
	rte_pktmbuf_free(m);
	CHECK_EQ(rte_flow_destroy(b->id, flow, NULL), 0);
	return hash;
}

static void
hash_functions(void)
{
	struct flow there = flow_number(7, V4, IPPROTO_UDP), back = there;
	uint32_t src, dst;
	struct port a, b;

	memcpy(back.src, there.dst, 16);
	memcpy(back.dst, there.src, 16);
	back.sport = there.dport;
	back.dport = there.sport;
	memcpy(&src, there.src, 4);
	memcpy(&dst, there.dst, 4);
	open_queues(&a, &b);
	CHECK(hash_by(&a, &b, RTE_ETH_HASH_FUNCTION_TOEPLITZ, &there) !=
	      hash_by(&a, &b, RTE_ETH_HASH_FUNCTION_TOEPLITZ, &back));
	CHECK_EQ(hash_by(&a, &b, RTE_ETH_HASH_FUNCTION_SYMMETRIC_TOEPLITZ, &there),
		 hash_by(&a, &b, RTE_ETH_HASH_FUNCTION_SYMMETRIC_TOEPLITZ, &back));
	CHECK_EQ(hash_by(&a, &b, RTE_ETH_HASH_FUNCTION_SIMPLE_XOR, &there),
		 rte_be_to_cpu_32(src ^ dst) ^ ((uint32_t)there.sport << 16 | there.dport));
	pair_close(&a, &b);
}

static void
isolated(void)
{
	struct rte_ether_addr other = {.addr_bytes = {2, 9, 9, 9, 9, 9}};
	struct port a, b;
	struct rte_flow *flow;

	open_queues(&a, &b);
	CHECK_EQ(rte_flow_isolate(b.id, 1, NULL), 0);
	CHECK_EQ(queue_of(&a, &b, 53), -1);
	flow = create(&b, &ingress, dns, to_queue2);
	CHECK_EQ(queue_of(&a, &b, 53), 2);
	CHECK_EQ(queue_of(&a, &b, 54), -1);
	CHECK_EQ(xstat(&b, "rx_drop_isolated"), 2);
	CHECK_EQ(xstat(&a, "tx_far_isolated"), 2);
	/* Addresses are no matter now. */
	b.mac = other;
	CHECK_EQ(queue_of(&a, &b, 53), 2);
	CHECK_EQ(rte_flow_destroy(b.id, flow, NULL), 0);
	CHECK_EQ(rte_flow_isolate(b.id, 0, NULL), 0);
	CHECK_EQ(queue_of(&a, &b, 53), -1);
	CHECK_EQ(xstat(&b, "rx_drop_mac_filter"), 1);
	pair_close(&a, &b);
}

/* ------------------------------------------------------------------------------------------ life
 */

static void
kept_over_stop_and_start(void)
{
	struct setup s = {.queues = QUEUES};
	struct rte_eth_dev_info info;
	struct port a, b;

	open_queues(&a, &b);
	CHECK_EQ(rte_eth_dev_info_get(b.id, &info), 0);
	CHECK(info.dev_capa & RTE_ETH_DEV_CAPA_FLOW_RULE_KEEP);
	/* By a lock that dies with its process, not by ethdev's. */
	CHECK(*info.dev_flags & RTE_ETH_DEV_FLOW_OPS_THREAD_SAFE);
	CHECK_EQ(rte_eth_dev_stop(b.id), 0);
	create(&b, &ingress, dns, to_queue2); /* while it is stopped */
	CHECK_EQ(queue_of(&a, &b, 53), -1);
	CHECK_EQ(rte_eth_dev_start(b.id), 0);
	CHECK_EQ(queue_of(&a, &b, 53), 2);
	CHECK_EQ(rte_eth_dev_stop(b.id), 0);
	port_configure(&b, &s);
	CHECK_EQ(queue_of(&a, &b, 53), 2);
	pair_close(&a, &b);
}

/* Fewer queues than the rules name: flush them first. */
static void
reconfigured(void)
{
	struct setup s = {.queues = 2};
	struct rte_eth_conf conf = {0};
	struct port a, b;

	open_queues(&a, &b);
	create(&b, &ingress, dns, to_queue2);
	CHECK_EQ(rte_eth_dev_stop(b.id), 0);
	rte_log_set_level_pattern("pmd.net.uveth", RTE_LOG_CRIT);
	CHECK_EQ(rte_eth_dev_configure(b.id, 2, 2, &conf), -EBUSY);
	rte_log_set_level_pattern("pmd.net.uveth", RTE_LOG_NOTICE);
	CHECK_EQ(rte_flow_flush(b.id, NULL), 0);
	port_configure(&b, &s);
	CHECK_EQ(queue_of(&a, &b, 53), 0);
	pair_close(&a, &b);
}

/* Handles that are none any more are refused, whoever has their slot now. */
static void
stale_handles(void)
{
	struct rte_flow_error error;
	struct port a, b;
	struct rte_flow *flow, *next;

	open_queues(&a, &b);
	CHECK_EQ(rte_flow_destroy(b.id, (struct rte_flow *)&a, &error), -ENOENT);
	flow = create(&b, &ingress, dns, to_queue2);
	CHECK_EQ(rte_flow_destroy(b.id, (struct rte_flow *)((char *)flow + 1), &error), -ENOENT);
	CHECK_EQ(rte_flow_destroy(b.id, flow, &error), 0);
	CHECK_EQ(rte_flow_destroy(b.id, flow, &error), -ENOENT);
	CHECK_EQ(error.type, RTE_FLOW_ERROR_TYPE_HANDLE);
	next = create(&b, &ingress, dns, to_queue2);
	CHECK_EQ(rte_flow_flush(b.id, &error), 0);
	CHECK_EQ(rte_flow_destroy(b.id, next, &error), -ENOENT);
	CHECK_EQ(rte_eth_dev_stop(b.id), 0);
	next = create(&b, &ingress, dns, to_queue2);
	CHECK_EQ(rte_eth_dev_reset(b.id), 0);
	CHECK_EQ(rte_flow_destroy(b.id, next, &error), -ENOENT);
	pair_close(&a, &b);
}

/* One rule for each of 4,096 flows, and no more. */
static void
four_thousand(void)
{
	struct port a, b;
	struct rte_flow_error error;
	struct rte_flow_item_udp udp = {0};
	struct rte_flow_action_queue to = {0};
	const struct rte_flow_item items[] = {
		ITEM(ETH), ITEM(IPV4), {.type = RTE_FLOW_ITEM_TYPE_UDP, .spec = &udp}, END};
	const struct rte_flow_action list[] = {{RTE_FLOW_ACTION_TYPE_QUEUE, &to},
					       {RTE_FLOW_ACTION_TYPE_END, NULL}};
	struct rte_flow *last = NULL;

	open_queues(&a, &b);
	for (uint16_t i = 0; i < UVB_RULE_MAX; i++) {
		udp.hdr.dst_port = rte_cpu_to_be_16(i);
		udp.hdr.src_port = rte_cpu_to_be_16(flow_number(1, V4, IPPROTO_UDP).sport);
		to.index = i % QUEUES;
		last = create(&b, &ingress, items, list);
	}
	CHECK(rte_flow_create(b.id, &ingress, items, list, &error) == NULL);
	CHECK_EQ(rte_errno, ENOSPC);
	for (uint16_t i = 0; i < UVB_RULE_MAX; i++)
		CHECK_EQ(queue_of(&a, &b, i), i % QUEUES);
	CHECK_EQ(rte_flow_destroy(b.id, last, NULL), 0);
	create(&b, &ingress, items, list);
	CHECK_EQ(rte_flow_flush(b.id, NULL), 0);
	pair_close(&a, &b);
}

const struct test flow_tests[] = {
	{"flow: attributes", attributes},
	{"flow: order of items", order_of_items},
	{"flow: values of items", values_of_items},
	{"flow: actions", actions},
	{"flow: queue, mark, count", queue_mark_count},
	{"flow: dropped by name", dropped_by_name},
	{"flow: rss of a rule", rss_of_a_rule},
	{"flow: hash functions", hash_functions},
	{"flow: isolated", isolated},
	{"flow: kept over stop and start", kept_over_stop_and_start},
	{"flow: reconfigured", reconfigured},
	{"flow: stale handles", stale_handles},
	{"flow: four thousand", four_thousand},
	{NULL, NULL},
};
