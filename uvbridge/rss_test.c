/* SPDX-License-Identifier: BSD-3-Clause
 *
 * RSS against rte_softrss() of DPDK, on random packets, keys and hash types.
 */
#include <rte_thash.h>

#include "uvbridge/test.h"

#define ROUNDS 20000

struct packet {
	uint8_t bytes[256];
	uint32_t len;
	bool v6, fragment;
	int proto;         /* 6, 17, 132 or something else */
	uint32_t tuple[9]; /* as rte_softrss() wants it */
	uint32_t l3_words;
};

static void
put16(struct packet *p, uint32_t v)
{
	p->bytes[p->len++] = (uint8_t)(v >> 8);
	p->bytes[p->len++] = (uint8_t)v;
}

static void
put_random(struct packet *p, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		p->bytes[p->len++] = (uint8_t)rnd();
}

static void
take_words(struct packet *p, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		const uint8_t *b = p->bytes + p->len - 4 * (n - i);

		p->tuple[i] =
			(uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
	}
	p->l3_words = n;
}

static void
put_ipv4(struct packet *p)
{
	uint32_t options = (uint32_t)(rnd() % 11) * 4;
	uint32_t at = p->len;

	put_random(p, 12);
	p->bytes[at] = (uint8_t)(0x45 + options / 4);
	p->bytes[at + 6] = p->fragment ? (uint8_t)(rnd() & 1 ? 0x20 : 0x01) : 0x40;
	p->bytes[at + 7] = 0;
	p->bytes[at + 9] = (uint8_t)p->proto;
	put_random(p, 8);
	take_words(p, 2);
	put_random(p, options);
}

/* An extension header; returns where its "next header" is. */
static uint32_t
put_extension(struct packet *p, uint32_t next_at, int type)
{
	uint32_t at = p->len, units = (uint32_t)(rnd() % 3);

	p->bytes[next_at] = (uint8_t)type;
	put_random(p, type == 51 ? 4 * (units + 2) : type == 44 ? 8 : 8 * (units + 1));
	p->bytes[at + 1] = (uint8_t)units;
	return at;
}

static void
put_ipv6(struct packet *p)
{
	static const int types[] = {0, 43, 60, 51};
	uint32_t at = p->len, next_at = at + 6;

	put_random(p, 8);
	p->bytes[at] = 0x60;
	put_random(p, 32);
	take_words(p, 8);
	for (uint32_t n = (uint32_t)(rnd() % 3); n > 0; n--)
		next_at = put_extension(p, next_at, types[rnd() % 4]);
	if (p->fragment)
		next_at = put_extension(p, next_at, 44);
	p->bytes[next_at] = (uint8_t)p->proto;
}

static void
make_packet(struct packet *p)
{
	static const int protos[] = {6, 17, 132, 1};

	p->len = 0;
	p->v6 = rnd() & 1;
	p->fragment = rnd() % 8 == 0;
	p->proto = protos[rnd() % 4];
	put_random(p, 12);
	for (uint32_t tags = (uint32_t)(rnd() % 3); tags > 0; tags--) {
		put16(p, tags == 2 ? 0x88a8 : 0x8100);
		put_random(p, 2);
	}
	put16(p, p->v6 ? 0x86dd : 0x0800);
	if (p->v6)
		put_ipv6(p);
	else
		put_ipv4(p);
	put_random(p, 12);
	p->tuple[p->l3_words] = (uint32_t)p->bytes[p->len - 12] << 24 |
				(uint32_t)p->bytes[p->len - 11] << 16 |
				(uint32_t)p->bytes[p->len - 10] << 8 | p->bytes[p->len - 9];
}

static uint32_t
l4_type(const struct packet *p)
{
	uint32_t type = p->proto == 6    ? UVB_RSS_IPV4_TCP
			: p->proto == 17 ? UVB_RSS_IPV4_UDP
					 : UVB_RSS_IPV4_SCTP;

	if (p->fragment || p->proto == 1)
		return 0;
	return p->v6 ? type << 4 : type;
}

static void
check_packet(const struct packet *p, const struct uvb_rss *rss, const uint8_t *key)
{
	uint32_t l3 = p->v6 ? UVB_RSS_IPV6 : UVB_RSS_IPV4, words = 0, hash = 0, tuple[9];
	struct uvb_flow flow;
	bool hashed;

	if (l4_type(p) & rss->types)
		words = p->l3_words + 1;
	else if (l3 & rss->types)
		words = p->l3_words;
	uvb_flow_parse(&flow, p->bytes, p->len);
	hashed = uvb_rss_hash(rss, &flow, &hash);
	CHECK_EQ(hashed, words != 0);
	memcpy(tuple, p->tuple, sizeof(tuple));
	if (hashed)
		CHECK_EQ(hash, rte_softrss(tuple, words, key));
}

static void
test_against_softrss(void)
{
	static struct uvb_rss rss;
	_Alignas(4) uint8_t key[UVB_KEY_MAX];
	struct packet p;

	for (int i = 0; i < ROUNDS; i++) {
		if (i % 100 == 0) {
			for (size_t k = 0; k < sizeof(key); k++)
				key[k] = (uint8_t)rnd();
			uvb_rss_compile(&rss, (uint32_t)rnd() & 0xff, key, rnd() & 1 ? 40 : 52);
		}
		make_packet(&p);
		check_packet(&p, &rss, key);
	}
}

/* The verification suite of the Microsoft specification. */
static void
test_known_answers(void)
{
	static const uint8_t tcp4[] = {66, 9, 149, 187, 161, 142, 100, 80, 0x0a, 0xea, 0x06, 0xe6};
	static const uint8_t mac[6] = {2};
	static struct uvb_rss rss;
	struct uvb_flow flow = {UVB_RSS_IPV4, UVB_RSS_IPV4_TCP, 8, {0}};
	struct uvb_conf conf;
	uint32_t hash = 0;

	uvb_conf_fill(&conf, 1, mac);
	memcpy(flow.in, tcp4, sizeof(tcp4));
	uvb_rss_compile(&rss, UVB_RSS_IPV4_TCP, conf.key, conf.key_len);
	CHECK(uvb_rss_hash(&rss, &flow, &hash));
	CHECK_EQ(hash, 0x51ccc178);
	uvb_rss_compile(&rss, UVB_RSS_IPV4, conf.key, conf.key_len);
	CHECK(uvb_rss_hash(&rss, &flow, &hash));
	CHECK_EQ(hash, 0x323e8fc2);
}

/* Cut short anywhere, or random: no byte beyond is read (under ASan), and what is whole is hashed.
 */
static void
test_truncated(void)
{
	struct uvb_flow flow;
	struct packet p;

	for (int i = 0; i < 2000; i++) {
		uint32_t len;
		uint8_t *exact;

		make_packet(&p);
		len = (uint32_t)(rnd() % (p.len + 1));
		exact = malloc(len != 0 ? len : 1);
		CHECK(exact != NULL);
		memcpy(exact, p.bytes, len);
		if (len > 14 && rnd() % 4 == 0)
			exact[14 + rnd() % (len - 14)] ^= (uint8_t)rnd();
		uvb_flow_parse(&flow, exact, len);
		CHECK(flow.l3_len == 0 || flow.l3_len == 8 || flow.l3_len == 32);
		free(exact);
	}
}

int
main(void)
{
	seed_init();
	RUN(test_known_answers);
	RUN(test_against_softrss);
	RUN(test_truncated);
	return 0;
}
