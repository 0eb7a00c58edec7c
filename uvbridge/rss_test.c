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
	bool v6, fragment, has_ex;
	int proto;         /* 6, 17, 132 or something else */
	uint32_t tuple[9]; /* as rte_softrss() wants it */
	uint32_t l3_words;
	uint32_t ex[8]; /* the addresses in tuple[], or those of extension headers */
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
words(uint32_t *to, const uint8_t *b, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++, b += 4)
		to[i] = (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static void
take_words(struct packet *p, uint32_t n)
{
	words(p->tuple, p->bytes + p->len - 4 * n, n);
	memcpy(p->ex, p->tuple, sizeof(p->ex));
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
	if (type == 60) /* one option that fills it, and is not a home address */
		p->bytes[at + 2] = 1, p->bytes[at + 3] = (uint8_t)(8 * (units + 1) - 4);
	if (type == 43)
		p->bytes[at + 2] = 0;
	return at;
}

/* A destination options header with a Home Address option after some padding. */
static uint32_t
put_home_address(struct packet *p, uint32_t next_at)
{
	uint32_t at = p->len;

	p->bytes[next_at] = 60;
	put_random(p, 24);
	p->bytes[at + 1] = 2;
	p->bytes[at + 2] = 0; /* Pad1 */
	p->bytes[at + 3] = 1; /* PadN of 2 */
	p->bytes[at + 4] = 0;
	p->bytes[at + 5] = 201;
	p->bytes[at + 6] = 16;
	words(p->ex, p->bytes + at + 7, 4);
	p->bytes[at + 23] = 0;
	p->has_ex = true;
	return at;
}

static uint32_t
put_home_route(struct packet *p, uint32_t next_at)
{
	uint32_t at = p->len;

	p->bytes[next_at] = 43;
	put_random(p, 24);
	p->bytes[at + 1] = 2;
	p->bytes[at + 2] = 2;
	words(p->ex + 4, p->bytes + at + 8, 4);
	p->has_ex = true;
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
	if (rnd() % 4 == 0)
		next_at = put_home_address(p, next_at);
	if (rnd() % 4 == 0)
		next_at = put_home_route(p, next_at);
	if (p->fragment)
		next_at = put_extension(p, next_at, 44);
	p->bytes[next_at] = (uint8_t)p->proto;
}

static void
make_packet(struct packet *p)
{
	static const int protos[] = {6, 17, 132, 1};

	p->len = 0;
	p->has_ex = false;
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

/* The types that hash ports, or only addresses, of this packet. */
static uint32_t
l4_types(const struct packet *p)
{
	if (p->fragment)
		return 0;
	switch (p->proto) {
	case 6:
		return p->v6 ? UVB_RSS_IPV6_TCP | UVB_RSS_IPV6_TCP_EX : UVB_RSS_IPV4_TCP;
	case 17:
		return p->v6 ? UVB_RSS_IPV6_UDP | UVB_RSS_IPV6_UDP_EX : UVB_RSS_IPV4_UDP;
	case 132:
		return p->v6 ? UVB_RSS_IPV6_SCTP : UVB_RSS_IPV4_SCTP;
	default:
		return 0;
	}
}

static uint32_t
l3_types(const struct packet *p)
{
	uint32_t any = p->v6 ? UVB_RSS_IPV6 | UVB_RSS_IPV6_EX : UVB_RSS_IPV4;

	if (p->fragment)
		return any | (p->v6 ? UVB_RSS_IPV6_FRAG : UVB_RSS_IPV4_FRAG);
	if (l4_types(p) == 0)
		return any | (p->v6 ? UVB_RSS_IPV6_OTHER : UVB_RSS_IPV4_OTHER);
	return any;
}

/* The tuple as DPDK's documentation has it: what is not asked for is zero, and symmetric means that
 * source and destination are replaced by their exclusive or. */
static uint32_t
expected_tuple(const struct packet *p, uint32_t types, uint32_t tuple[9])
{
	uint32_t half = p->l3_words / 2, only = types & (0x3fu << 16);
	bool ports = l4_types(p) & types;

	if (!ports && !(l3_types(p) & types))
		return 0;
	memcpy(tuple, p->tuple, sizeof(p->tuple));
	if (p->has_ex && (types & (UVB_RSS_IPV6_EX | UVB_RSS_IPV6_TCP_EX | UVB_RSS_IPV6_UDP_EX) &
			  (ports ? l4_types(p) : UVB_RSS_IPV6_EX)))
		memcpy(tuple, p->ex, sizeof(p->ex));
	only &= ports ? 0x3cu << 16 : 0x0cu << 16;
	for (uint32_t i = 0; i < half && only != 0; i++) {
		tuple[i] *= (only & UVB_RSS_L3_SRC) != 0;
		tuple[half + i] *= (only & UVB_RSS_L3_DST) != 0;
	}
	if (only != 0)
		tuple[2 * half] &= (only & UVB_RSS_L4_SRC ? 0xffff0000u : 0) |
				   (only & UVB_RSS_L4_DST ? 0xffffu : 0);
	for (uint32_t i = 0; i < half && (types & UVB_RSS_SYMMETRIC); i++)
		tuple[i] = tuple[half + i] = tuple[i] ^ tuple[half + i];
	if (types & UVB_RSS_SYMMETRIC)
		tuple[2 * half] = (tuple[2 * half] >> 16 ^ (tuple[2 * half] & 0xffff)) * 0x10001u;
	return 2 * half + ports;
}

static uint32_t
expected_l2(const struct packet *p, uint32_t types, uint32_t tuple[9])
{
	uint8_t in[12];

	if (!(types & UVB_RSS_L2))
		return 0;
	memcpy(in, p->bytes + 6, 6);
	memcpy(in + 6, p->bytes, 6);
	if (types & (UVB_RSS_L2_SRC | UVB_RSS_L2_DST)) {
		memset(in, 0, types & UVB_RSS_L2_SRC ? 0 : 6);
		memset(in + 6, 0, types & UVB_RSS_L2_DST ? 0 : 6);
	}
	for (int i = 0; i < 6 && (types & UVB_RSS_SYMMETRIC); i++)
		in[i] = in[6 + i] = in[i] ^ in[6 + i];
	words(tuple, in, 3);
	return 3;
}

static void
check_packet(const struct packet *p, const struct uvb_rss *rss, const uint8_t *key)
{
	uint32_t hash = 0, tuple[9], n = expected_tuple(p, rss->types, tuple);
	struct uvb_flow flow;
	bool hashed;

	if (n == 0)
		n = expected_l2(p, rss->types, tuple);
	uvb_flow_parse(&flow, p->bytes, p->len);
	hashed = uvb_rss_hash(rss, &flow, &hash);
	CHECK_EQ(hashed, n != 0);
	if (hashed)
		CHECK_EQ(hash, rte_softrss(tuple, n, key));
}

/* All types alike; often without those that change the input, and seldom many at once. */
static uint32_t
random_types(void)
{
	uint32_t types = (uint32_t)rnd() & UVB_RSS_KNOWN;

	if (rnd() & 1)
		types &= (uint32_t)rnd();
	return rnd() & 1 ? types & 0xffff : types;
}

static void
test_against_softrss(void)
{
	static struct uvb_rss rss;
	_Alignas(4) uint8_t key[UVB_KEY_MAX];
	struct packet p;

	for (int i = 0; i < ROUNDS; i++) {
		if (i % 20 == 0) {
			for (size_t k = 0; k < sizeof(key); k++)
				key[k] = (uint8_t)rnd();
			uvb_rss_compile(&rss, random_types(), key, rnd() & 1 ? 40 : 52);
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
	struct uvb_flow flow = {.l3_type = UVB_RSS_IPV4, .l4_type = UVB_RSS_IPV4_TCP, .l3_len = 8};
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
