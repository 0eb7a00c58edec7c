/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_rss.c - where flows land: predicted from rte_softrss, key and table, never a distribution.
 */
#include <rte_thash.h>

#include "uveth/test/test.h"

#define ALL_TYPES                                                                         \
	(RTE_ETH_RSS_IPV4 | RTE_ETH_RSS_NONFRAG_IPV4_TCP | RTE_ETH_RSS_NONFRAG_IPV4_UDP | \
	 RTE_ETH_RSS_IPV6 | RTE_ETH_RSS_NONFRAG_IPV6_TCP | RTE_ETH_RSS_NONFRAG_IPV6_UDP)
#define NB_FLOWS 1000
#define QUEUES   4

/* What the driver says is in force. */
struct rss {
	uint64_t hf;
	uint8_t key[52];
	uint16_t key_len;
	uint16_t reta[512];
	uint16_t reta_size;
	uint16_t zero[4]; /* no padding: two can be compared whole */
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
	r->key_len = info.hash_key_size;
	r->reta_size = info.reta_size;
	memset(reta, 0xff, sizeof(reta)); /* all masks set */
	CHECK_EQ(rte_eth_dev_rss_reta_query(p->id, reta, r->reta_size), 0);
	for (uint16_t i = 0; i < r->reta_size; i++)
		r->reta[i] = reta[i / 64].reta[i % 64];
	CHECK_EQ(rte_eth_dev_rss_hash_conf_get(p->id, &conf), 0);
	CHECK_EQ(conf.rss_key_len, r->key_len);
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
	CHECK_EQ(before.key_len, sizeof(key));
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

static void
long_key(void)
{
	struct rte_eth_rss_conf conf = {.rss_hf = ALL_TYPES, .rss_key_len = 52};
	struct port a, b;
	uint8_t key[52];
	struct rss r;

	open_rss(&a, &b, "key=52");
	rss_get(&b, &r);
	CHECK_EQ(r.key_len, 52);
	check_flows(&a, &b);
	for (size_t i = 0; i < sizeof(key); i++)
		key[i] = i * 41 + 3;
	conf.rss_key = key;
	CHECK_EQ(rte_eth_dev_rss_hash_update(b.id, &conf), 0);
	rss_get(&b, &r);
	CHECK(memcmp(r.key, key, sizeof(key)) == 0);
	check_flows(&a, &b);
	conf.rss_key_len = 40;
	rte_log_set_level_pattern("pmd.net.uveth", RTE_LOG_CRIT);
	CHECK(rte_eth_dev_rss_hash_update(b.id, &conf) != 0);
	rte_log_set_level_pattern("pmd.net.uveth", RTE_LOG_NOTICE);
	pair_close(&a, &b);
}

/* The tuple a hash type makes of a flow: fields that do not count are zero. */
struct input {
	uint64_t hf;
	uint8_t proto;
	bool src, dst, ports, sport, dport;
};

static uint32_t
input_hash(const struct input *in, const struct flow *f, const uint8_t *key)
{
	uint32_t words = f->version == V6 ? 4 : 1, tuple[9] = {0}, w;

	for (uint32_t i = 0; i < words; i++) {
		memcpy(&w, f->src + 4 * i, 4);
		tuple[i] = in->src ? rte_be_to_cpu_32(w) : 0;
		memcpy(&w, f->dst + 4 * i, 4);
		tuple[words + i] = in->dst ? rte_be_to_cpu_32(w) : 0;
	}
	tuple[2 * words] = (in->sport ? (uint32_t)f->sport << 16 : 0) | (in->dport ? f->dport : 0);
	return rte_softrss(tuple, 2 * words + in->ports, key);
}

static void
every_hash_type(void)
{
	static const struct input inputs[] = {
		{RTE_ETH_RSS_IPV4 | RTE_ETH_RSS_IPV6, 6, true, true, false, false, false},
		{RTE_ETH_RSS_IPV4 | RTE_ETH_RSS_IPV6 | RTE_ETH_RSS_L3_SRC_ONLY, 17, true, false,
		 false, false, false},
		{RTE_ETH_RSS_IPV4 | RTE_ETH_RSS_IPV6 | RTE_ETH_RSS_L3_DST_ONLY, 17, false, true,
		 false, false, false},
		{RTE_ETH_RSS_TCP, 6, true, true, true, true, true},
		{RTE_ETH_RSS_UDP | RTE_ETH_RSS_L4_SRC_ONLY, 17, false, false, true, true, false},
		{RTE_ETH_RSS_UDP | RTE_ETH_RSS_L4_DST_ONLY, 17, false, false, true, false, true},
		{RTE_ETH_RSS_TCP | RTE_ETH_RSS_L3_SRC_ONLY | RTE_ETH_RSS_L4_DST_ONLY, 6, true,
		 false, true, false, true},
		{RTE_ETH_RSS_TCP | RTE_ETH_RSS_L3_DST_ONLY, 6, false, true, true, false, false},
		/* Of packets without extension headers the addresses are those of the header. */
		{RTE_ETH_RSS_IPV4 | RTE_ETH_RSS_IPV6_EX, 17, true, true, false, false, false},
		{RTE_ETH_RSS_NONFRAG_IPV4_TCP | RTE_ETH_RSS_IPV6_TCP_EX, 6, true, true, true, true,
		 true},
		{RTE_ETH_RSS_NONFRAG_IPV4_UDP | RTE_ETH_RSS_IPV6_UDP_EX, 17, true, true, true, true,
		 true},
	};
	struct port a, b;
	struct rss r;

	open_rss(&a, &b, NULL);
	rss_get(&b, &r);
	for (size_t i = 0; i < RTE_DIM(inputs); i++) {
		struct rte_eth_rss_conf conf = {.rss_hf = inputs[i].hf};

		CHECK_EQ(rte_eth_dev_rss_hash_update(b.id, &conf), 0);
		for (uint32_t n = 0; n < 40; n++) {
			struct flow f = flow_number(n, n % 2 ? V6 : V4, inputs[i].proto);
			uint32_t hash = input_hash(&inputs[i], &f, r.key);
			struct rte_mbuf *m;

			CHECK(send_one(&a, 0, flow_frame(&a, &b, &f, 20)));
			CHECK_EQ(receive(&b, r.reta[hash % 128], &m, 1), 1);
			CHECK_EQ(m->hash.rss, hash);
			rte_pktmbuf_free(m);
		}
		CHECK_EQ(receive_all(&b), 0);
	}
	pair_close(&a, &b);
}

/* What is no IP at all, by its MAC addresses. */
static void
by_mac_addresses(void)
{
	static const struct {
		uint64_t only;
		bool src, dst;
	} c[] = {{0, true, true},
		 {RTE_ETH_RSS_L2_SRC_ONLY, true, false},
		 {RTE_ETH_RSS_L2_DST_ONLY, false, true}};
	struct port a, b;
	struct rss r;

	open_rss(&a, &b, NULL);
	rss_get(&b, &r);
	for (size_t i = 0; i < RTE_DIM(c); i++) {
		struct rte_eth_rss_conf conf = {.rss_hf = RTE_ETH_RSS_ETH | c[i].only};
		uint32_t tuple[3], hash;
		uint8_t in[12] = {0};
		struct rte_mbuf *m;

		CHECK_EQ(rte_eth_dev_rss_hash_update(b.id, &conf), 0);
		if (c[i].src)
			memcpy(in, &a.mac, 6);
		if (c[i].dst)
			memcpy(in + 6, &b.mac, 6);
		memcpy(tuple, in, 12);
		for (int w = 0; w < 3; w++)
			tuple[w] = rte_be_to_cpu_32(tuple[w]);
		hash = rte_softrss(tuple, 3, r.key);
		CHECK(send_one(&a, 0, plain_frame(&a, &b.mac, 60)));
		CHECK_EQ(receive(&b, r.reta[hash % 128], &m, 1), 1);
		CHECK_EQ(m->hash.rss, hash);
		rte_pktmbuf_free(m);
	}
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
	{"rss: key of 52 bytes", long_key},
	{"rss: every hash type", every_hash_type},
	{"rss: by MAC addresses", by_mac_addresses},
	{"rss: table update by mask", table_update_masked},
	{"rss: hash types", hash_types},
	{"rss: nonsense is refused", nonsense_is_refused},
	{"rss: life of the table", life_of_the_table},
	{"rss: none", no_rss},
	{NULL, NULL},
};
