/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_rss.c - where flows land: predicted from rte_softrss, key and table, never a distribution.
 */
#include "uveth/test/test.h"

#define ALL_TYPES                                                                         \
	(RTE_ETH_RSS_IPV4 | RTE_ETH_RSS_NONFRAG_IPV4_TCP | RTE_ETH_RSS_NONFRAG_IPV4_UDP | \
	 RTE_ETH_RSS_IPV6 | RTE_ETH_RSS_NONFRAG_IPV6_TCP | RTE_ETH_RSS_NONFRAG_IPV6_UDP)
#define NB_FLOWS 1000
#define QUEUES   4

/* What the driver says is in force. */
struct rss {
	uint64_t hf;
	uint8_t key[40];
	uint16_t reta[512];
	uint16_t reta_size;
	uint16_t zero[3]; /* no padding: two can be compared whole */
};

static void
rss_get(const struct port *p, struct rss *r)
{
	struct rte_eth_rss_reta_entry64 reta[8];
	struct rte_eth_rss_conf conf = {.rss_key_len = sizeof(r->key)};
	struct rte_eth_dev_info info;

	memset(r, 0, sizeof(*r));
	conf.rss_key = r->key;
	CHECK_EQ(rte_eth_dev_info_get(p->id, &info), 0);
	CHECK_EQ(info.hash_key_size, sizeof(r->key));
	r->reta_size = info.reta_size;
	memset(reta, 0xff, sizeof(reta)); /* all masks set */
	CHECK_EQ(rte_eth_dev_rss_reta_query(p->id, reta, r->reta_size), 0);
	for (uint16_t i = 0; i < r->reta_size; i++)
		r->reta[i] = reta[i / 64].reta[i % 64];
	CHECK_EQ(rte_eth_dev_rss_hash_conf_get(p->id, &conf), 0);
	CHECK_EQ(conf.rss_key_len, sizeof(r->key));
	r->hf = conf.rss_hf;
}

static void
check_flow(const struct port *a, const struct port *b, const struct rss *r, const struct flow *f)
{
	uint32_t hash = flow_hash(f, r->key);
	uint16_t queue = r->reta[hash & (r->reta_size - 1)];
	struct rte_mbuf *m;

	CHECK(send_one(a, 0, flow_frame(a, b, f, 20)));
	if (receive(b, queue, &m, 1) != 1)
		test_fail(__FILE__, __LINE__, "a flow of hash 0x%08x did not land on queue %u",
			  hash, queue);
	CHECK_EQ(m->hash.rss, hash);
	CHECK(m->ol_flags & RTE_MBUF_F_RX_RSS_HASH);
	rte_pktmbuf_free(m);
}

static void
check_flows(const struct port *a, const struct port *b)
{
	struct rss r;

	rss_get(b, &r);
	for (uint32_t i = 0; i < NB_FLOWS; i++) {
		struct flow f[] = {
			flow_number(4 * i, V4, IPPROTO_TCP),
			flow_number(4 * i + 1, V4, IPPROTO_UDP),
			flow_number(4 * i + 2, V6, IPPROTO_TCP),
			flow_number(4 * i + 3, V6, IPPROTO_UDP),
		};

		for (size_t k = 0; k < RTE_DIM(f); k++)
			check_flow(a, b, &r, &f[k]);
	}
}

static void
open_rss(struct port *a, struct port *b, const char *args)
{
	struct setup s = {.queues = QUEUES,
			  .rss_hf = ALL_TYPES,
			  .rx_offloads = RTE_ETH_RX_OFFLOAD_RSS_HASH,
			  .args = args};

	pair_open(a, b, &s);
}

static void
default_key(void)
{
	static const uint8_t microsoft[] = {0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2};
	struct port a, b;
	struct rss r;

	open_rss(&a, &b, NULL);
	rss_get(&b, &r);
	CHECK(memcmp(r.key, microsoft, sizeof(microsoft)) == 0);
	CHECK_EQ(r.hf, ALL_TYPES);
	CHECK_EQ(r.reta_size, 128);
	for (uint16_t i = 0; i < r.reta_size; i++)
		CHECK_EQ(r.reta[i], i % QUEUES);
	check_flows(&a, &b);
	pair_close(&a, &b);
}

static void
reta_set(const struct port *p, uint16_t size, uint16_t mul, uint64_t mask)
{
	struct rte_eth_rss_reta_entry64 reta[8];

	memset(reta, 0, sizeof(reta));
	for (uint16_t i = 0; i < size; i++) {
		reta[i / 64].mask = mask;
		reta[i / 64].reta[i % 64] = (i * mul + i / 7) % QUEUES;
	}
	CHECK_EQ(rte_eth_dev_rss_reta_update(p->id, reta, size), 0);
}

/* Key and table changed while the port runs: the very next frame obeys. */
static void
changed_at_run_time(void)
{
	struct rte_eth_rss_conf conf = {.rss_hf = ALL_TYPES};
	uint8_t key[40];
	struct port a, b;
	struct rss before, after;

	open_rss(&a, &b, NULL);
	rss_get(&b, &before);
	for (size_t i = 0; i < sizeof(key); i++)
		key[i] = i * 37 + 11;
	conf.rss_key = key;
	conf.rss_key_len = sizeof(key);
	CHECK_EQ(rte_eth_dev_rss_hash_update(b.id, &conf), 0);
	rss_get(&b, &after);
	CHECK(memcmp(after.key, key, sizeof(key)) == 0);
	CHECK(memcmp(after.reta, before.reta, sizeof(uint16_t) * after.reta_size) == 0);
	check_flows(&a, &b);
	reta_set(&b, 128, 3, UINT64_MAX);
	rss_get(&b, &before);
	CHECK(memcmp(after.reta, before.reta, sizeof(uint16_t) * after.reta_size) != 0);
	check_flows(&a, &b);
	pair_close(&a, &b);
}

static void
large_table(void)
{
	struct port a, b;

	open_rss(&a, &b, "reta=512");
	reta_set(&b, 512, 5, UINT64_MAX);
	check_flows(&a, &b);
	pair_close(&a, &b);
}

/* Entries without their mask bit stay. */
static void
table_update_masked(void)
{
	struct port a, b;
	struct rss before, after;

	open_rss(&a, &b, NULL);
	rss_get(&b, &before);
	reta_set(&b, 128, 3, 0x5555555555555555);
	rss_get(&b, &after);
	for (uint16_t i = 0; i < 128; i++)
		CHECK_EQ(after.reta[i], i % 2 == 1 ? before.reta[i] : (i * 3 + i / 7) % QUEUES);
	pair_close(&a, &b);
}

/* Hash types: what is not hashed goes to queue 0 and carries no hash. */
static void
hash_types(void)
{
	struct rte_eth_rss_conf conf = {.rss_hf = RTE_ETH_RSS_NONFRAG_IPV4_TCP};
	struct flow tcp = flow_number(1, V4, IPPROTO_TCP), udp = flow_number(2, V4, IPPROTO_UDP);
	struct port a, b;
	struct rte_mbuf *m;
	struct rss r;

	open_rss(&a, &b, NULL);
	CHECK_EQ(rte_eth_dev_rss_hash_update(b.id, &conf), 0);
	rss_get(&b, &r);
	CHECK_EQ(r.hf, RTE_ETH_RSS_NONFRAG_IPV4_TCP);
	check_flow(&a, &b, &r, &tcp);
	CHECK(send_one(&a, 0, flow_frame(&a, &b, &udp, 20)));
	m = receive_one(&b);
	CHECK_EQ(m->ol_flags & RTE_MBUF_F_RX_RSS_HASH, 0);
	rte_pktmbuf_free(m);

	conf.rss_hf = 0; /* none at all */
	CHECK_EQ(rte_eth_dev_rss_hash_update(b.id, &conf), 0);
	CHECK(send_one(&a, 0, flow_frame(&a, &b, &tcp, 20)));
	rte_pktmbuf_free(receive_one(&b));
	pair_close(&a, &b);
}

static void
nonsense_is_refused(void)
{
	struct rte_eth_rss_reta_entry64 reta[8] = {{.mask = 1, .reta = {QUEUES}}};
	struct rte_eth_rss_conf conf = {.rss_hf = RTE_ETH_RSS_L2_PAYLOAD};
	uint8_t key[52] = {0};
	struct port a, b;
	struct rss before, after;

	open_rss(&a, &b, NULL);
	rss_get(&b, &before);
	rte_log_set_level_pattern("pmd.net.uveth", RTE_LOG_CRIT);
	CHECK(rte_eth_dev_rss_hash_update(b.id, &conf) != 0);
	conf = (struct rte_eth_rss_conf){.rss_key = key, .rss_key_len = 52, .rss_hf = ALL_TYPES};
	CHECK(rte_eth_dev_rss_hash_update(b.id, &conf) != 0);
	CHECK(rte_eth_dev_rss_reta_update(b.id, reta, 128) != 0); /* there is no such queue */
	CHECK(rte_eth_dev_rss_reta_update(b.id, reta, 256) != 0);
	CHECK(rte_eth_dev_rss_reta_query(b.id, reta, 64) != 0);
	rte_log_set_level_pattern("pmd.net.uveth", RTE_LOG_NOTICE);
	rss_get(&b, &after);
	CHECK(memcmp(&before, &after, sizeof(after)) == 0);
	pair_close(&a, &b);
}

/* Kept over stop and start and configuration with as many queues; made anew for another number. */
static void
life_of_the_table(void)
{
	struct setup s = {.queues = QUEUES, .rss_hf = ALL_TYPES};
	struct port a, b;
	struct rss before, after;

	open_rss(&a, &b, NULL);
	reta_set(&b, 128, 3, UINT64_MAX);
	rss_get(&b, &before);
	CHECK_EQ(rte_eth_dev_stop(b.id), 0);
	port_configure(&b, &s);
	rss_get(&b, &after);
	CHECK(memcmp(&before, &after, sizeof(after)) == 0);
	CHECK_EQ(rte_eth_dev_stop(b.id), 0);
	s.queues = 2;
	port_configure(&b, &s);
	rss_get(&b, &after);
	for (uint16_t i = 0; i < 128; i++)
		CHECK_EQ(after.reta[i], i % 2);
	pair_close(&a, &b);
}

/* Without RSS in the configuration everything goes to queue 0. */
static void
no_rss(void)
{
	struct setup s = {.queues = QUEUES};
	struct port a, b;

	pair_open(&a, &b, &s);
	for (uint32_t i = 0; i < 50; i++) {
		struct flow f = flow_number(i, V4, IPPROTO_TCP);

		CHECK(send_one(&a, 0, flow_frame(&a, &b, &f, 0)));
		rte_pktmbuf_free(receive_one(&b));
	}
	pair_close(&a, &b);
}

const struct test rss_tests[] = {
	{"rss: default key and table", default_key},
	{"rss: key and table changed at run time", changed_at_run_time},
	{"rss: table of 512", large_table},
	{"rss: table update by mask", table_update_masked},
	{"rss: hash types", hash_types},
	{"rss: nonsense is refused", nonsense_is_refused},
	{"rss: life of the table", life_of_the_table},
	{"rss: none", no_rss},
	{NULL, NULL},
};
