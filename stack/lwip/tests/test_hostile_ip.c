/* SPDX-License-Identifier: BSD-3-Clause */
/* Packets that are not what they say, below TCP: what 2.1.3 read, took or told that it should not
 * have. */
#include "simtest.h"

#include <stdlib.h>
#include <string.h>

#include "lwip/etharp.h"
#include "lwip/prot/etharp.h"
#include "lwip/prot/iana.h"
#include "lwip/prot/icmp6.h"
#include "lwip/prot/ip4.h"
#include "lwip/prot/ip6.h"
#include "lwip/prot/nd6.h"
#include "lwip/prot/udp.h"
#include "lwip/udp.h"

static bool no_memory; /* for whoever asks for it */

void *__wrap_uvl_malloc(size_t size);
void *__real_uvl_malloc(size_t size);

void *
__wrap_uvl_malloc(size_t size)
{
	return no_memory ? NULL : __real_uvl_malloc(size);
}

/* What the victim has sent last, and what its socket at port 9 was given. */
static struct {
	unsigned char sent[2000];
	uint32_t length;
	unsigned int frames, datagrams;
} seen;

static struct sim sim;

static struct sim_host *
victim(void)
{
	return &sim.host[1];
}

static err_t
keep_frame(struct netif *netif, struct pbuf *p)
{
	(void)netif;
	seen.length = LWIP_MIN(p->tot_len, (uint32_t)sizeof(seen.sent));
	pbuf_copy_partial(p, seen.sent, (u16_t)seen.length, 0);
	seen.frames++;
	return ERR_OK;
}

static err_t
keep_packet6(struct netif *netif, struct pbuf *p, const ip6_addr_t *to)
{
	(void)to;
	return keep_frame(netif, p);
}

static void
on_datagram(void *arg, struct udp_pcb *pcb, struct pbuf *p, const ip_addr_t *from, u16_t port)
{
	(void)arg;
	(void)pcb;
	(void)from;
	(void)port;
	seen.datagrams++;
	pbuf_free(p);
}

static void
host_up(void)
{
	struct netif *n;
	struct udp_pcb *pcb;

	sim_init(&sim, 1);
	sim_enter(victim());
	n = &victim()->netif;
	n->hwaddr_len = ETH_HWADDR_LEN;
	memset(n->hwaddr, 2, ETH_HWADDR_LEN);
	n->linkoutput = keep_frame;
	n->output_ip6 = keep_packet6;
	netif_create_ip6_linklocal_address(n, 1);
	netif_ip6_addr_set_state(n, 0, IP6_ADDR_PREFERRED);
	pcb = udp_new_ip_type(IPADDR_TYPE_ANY);
	udp_bind(pcb, IP_ANY_TYPE, 9);
	udp_recv(pcb, on_datagram, NULL);
	memset(&seen, 0, sizeof(seen));
}

static void
host_down(void)
{
	simtest_no_asserts(&sim);
	sim_exit(&sim);
}

/* ---- frames that end too early ------------------------------------------------------------------
 */

static void
test_short_ip4(void)
{
	static const unsigned char packet[] = {0x45, 0};

	host_up();
	simtest_at_edge(victim(), ip_input, packet, sizeof(packet));
	CHECK(victim()->uvl->lwip_stats_.ip.lenerr == 1, "not counted");
	host_down();
}

static void
test_short_ip6(void)
{
	static const unsigned char packet[] = {0x60, 0, 0};

	host_up();
	simtest_at_edge(victim(), ip_input, packet, sizeof(packet));
	CHECK(victim()->uvl->lwip_stats_.ip6.lenerr == 1, "not counted");
	host_down();
}

static err_t
arp_input(struct pbuf *p, struct netif *netif)
{
	etharp_input(p, netif);
	return ERR_OK;
}

static struct etharp_hdr
arp_request(void)
{
	struct etharp_hdr arp = {.hwtype = PP_HTONS(LWIP_IANA_HWTYPE_ETHERNET),
				 .proto = PP_HTONS(ETHTYPE_IP),
				 .hwlen = ETH_HWADDR_LEN,
				 .protolen = 4,
				 .opcode = PP_HTONS(ARP_REQUEST)};
	ip4_addr_t from = *ip_2_ip4(&sim.host[0].address), to = *ip_2_ip4(&victim()->address);

	memset(&arp.shwaddr, 4, ETH_HWADDR_LEN);
	memcpy(&arp.sipaddr, &from, 4);
	memcpy(&arp.dipaddr, &to, 4);
	return arp;
}

static bool
knows_the_asker(void)
{
	struct eth_addr *mac;
	const ip4_addr_t *ip;

	sim_enter(victim());
	return etharp_find_addr(&victim()->netif, ip_2_ip4(&sim.host[0].address), &mac, &ip) >= 0;
}

static void
test_short_arp(void)
{
	struct etharp_hdr arp;

	host_up();
	arp = arp_request();
	simtest_at_edge(victim(), arp_input, &arp, sizeof(arp) - 1);
	CHECK(!knows_the_asker() && seen.frames == 0, "taken");
	simtest_at_edge(victim(), arp_input, &arp, sizeof(arp));
	CHECK(knows_the_asker() && seen.frames == 1, "a whole one was not taken");
	host_down();
}

static void
test_arp_from_a_group(void)
{
	struct etharp_hdr arp;

	host_up();
	arp = arp_request();
	arp.shwaddr.addr[0] = 1;
	simtest_at_edge(victim(), arp_input, &arp, sizeof(arp));
	CHECK(!knows_the_asker() && seen.frames == 0, "believed");
	host_down();
}

static void
datagram(uint16_t says)
{
	struct {
		struct ip_hdr ip;
		struct udp_hdr udp;
		char data[4];
	} __attribute__((packed)) packet = {0};

	IPH_VHL_SET(&packet.ip, 4, 5);
	IPH_LEN_SET(&packet.ip, lwip_htons(sizeof(packet)));
	IPH_TTL_SET(&packet.ip, 64);
	IPH_PROTO_SET(&packet.ip, IP_PROTO_UDP);
	packet.ip.src.addr = ip_2_ip4(&sim.host[0].address)->addr;
	packet.ip.dest.addr = ip_2_ip4(&victim()->address)->addr;
	packet.udp.dest = PP_HTONS(9);
	packet.udp.len = lwip_htons(says);
	sim_inject(victim(), &packet, sizeof(packet));
}

static void
test_udp_length(void)
{
	static const uint16_t lies[] = {0, 7, 13, 2000, 65535};

	host_up();
	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		datagram(lies[i]);
		CHECK(seen.datagrams == 0, "a length of %u was believed", lies[i]);
	}
	datagram(12);
	CHECK(seen.datagrams == 1, "the true length was not");
	host_down();
}

/* ---- IPv6 ---------------------------------------------------------------------------------------
 */

struct packet6 {
	struct ip6_hdr ip;
	unsigned char payload[1000];
} __attribute__((packed));

/* To the victim's link-local address, from a neighbour's. */
static void
head6(struct packet6 *packet, uint8_t next, uint16_t payload)
{
	memset(packet, 0, sizeof(*packet));
	IP6H_VTCFL_SET(&packet->ip, 6, 0, 0);
	IP6H_PLEN_SET(&packet->ip, payload);
	IP6H_NEXTH_SET(&packet->ip, next);
	IP6H_HOPLIM_SET(&packet->ip, 255);
	packet->ip.src.addr[0] = PP_HTONL(0xfe800000);
	packet->ip.src.addr[3] = PP_HTONL(77);
	memcpy(&packet->ip.dest, netif_ip6_addr(&victim()->netif, 0), sizeof(packet->ip.dest));
}

static void
test_ip6_option_at_the_edge(void)
{
	/* PadN of three bytes, and the type of another one. */
	static const unsigned char options[] = {IP6_NEXTH_NONE, 0, 1, 3, 0, 0, 0, 1};
	static const uint8_t headers[] = {IP6_NEXTH_HOPBYHOP, IP6_NEXTH_DESTOPTS};
	struct packet6 packet;

	host_up();
	for (size_t i = 0; i < sizeof(headers); i++) {
		head6(&packet, headers[i], sizeof(options));
		memcpy(packet.payload, options, sizeof(options));
		simtest_at_edge(victim(), ip_input, &packet, IP6_HLEN + sizeof(options));
		CHECK(victim()->uvl->lwip_stats_.ip6.lenerr == i + 1, "header %u", headers[i]);
	}
	host_down();
}

/* An option of length 0 for the asker's link-layer address: lwIP took six bytes from behind it. */
static void
test_nd_option_at_the_edge(void)
{
	struct packet6 packet;
	struct ns_header *ns = (struct ns_header *)packet.payload;
	uint16_t length = sizeof(*ns) + 2;

	host_up();
	head6(&packet, IP6_NEXTH_ICMP6, length);
	ns->type = ICMP6_TYPE_NS;
	memcpy(&ns->target_address, &packet.ip.dest, sizeof(ns->target_address));
	packet.payload[sizeof(*ns)] = ND6_OPTION_TYPE_SOURCE_LLADDR;
	simtest_at_edge(victim(), ip_input, &packet, IP6_HLEN + length);
	CHECK(seen.frames == 0, "answered");
	host_down();
}

/* Returns what was sent. */
static const struct packet6 *
fragment(unsigned int number, bool more, const void *data, uint16_t length)
{
	static struct packet6 packet;
	struct ip6_frag_hdr *frag = (struct ip6_frag_hdr *)packet.payload;

	head6(&packet, IP6_NEXTH_FRAGMENT, IP6_FRAG_HLEN + length);
	frag->_nexth = IP6_NEXTH_UDP;
	frag->_fragment_offset = lwip_htons((u16_t)(number * 8 | more));
	frag->_identification = 0x12345678;
	memcpy(frag + 1, data, length);
	sim_inject(victim(), &packet, IP6_HLEN + IP6_FRAG_HLEN + length);
	return &packet;
}

/* 3 of seven has not come. */
static void
test_ip6_gap(void)
{
	static const unsigned int order[] = {0, 2, 1, 5, 6, 4, 3};
	struct {
		struct udp_hdr udp;
		char data[48];
	} __attribute__((packed)) whole = {{0, PP_HTONS(9), PP_HTONS(56), 1}, {0}};

	host_up();
	for (size_t i = 0; i < 7; i++) {
		CHECK(seen.datagrams == 0, "delivered after %zu fragments of seven", i);
		fragment(order[i], order[i] != 6, (char *)&whole + order[i] * 8, 8);
	}
	CHECK(seen.datagrams == 1, "not delivered when all had come");
	host_down();
}

/* The time of a datagram runs out: what its sender is told is what it had sent. */
static void
test_ip6_quote(void)
{
	unsigned char data[64];
	const uint32_t quoted = IP6_HLEN + IP6_FRAG_HLEN + sizeof(data);
	const struct packet6 *sent;

	host_up();
	memset(data, 0x55, sizeof(data));
	sent = fragment(0, true, data, sizeof(data));
	sim_run(&sim, 70000000, NULL, NULL);
	CHECK(seen.length == IP6_HLEN + sizeof(struct icmp6_hdr) + quoted, "%u bytes", seen.length);
	CHECK(memcmp(seen.sent + seen.length - quoted, sent, quoted) == 0, "something else");
	host_down();
}

/* A fragment in more buffers than all datagrams together may have: nothing of it is kept. */
static void
test_ip6_many_buffers(void)
{
	struct packet6 packet;
	struct ip6_frag_hdr *frag = (struct ip6_frag_hdr *)packet.payload;
	uint16_t buffers = IP_REASS_MAX_PBUFS + 1;
	struct pbuf *p;

	host_up();
	head6(&packet, IP6_NEXTH_FRAGMENT, (uint16_t)(IP6_FRAG_HLEN + buffers * 8));
	frag->_nexth = IP6_NEXTH_UDP;
	frag->_fragment_offset = PP_HTONS(1);
	p = pbuf_alloc(PBUF_RAW, IP6_HLEN + IP6_FRAG_HLEN, PBUF_RAM);
	pbuf_take(p, &packet, IP6_HLEN + IP6_FRAG_HLEN);
	for (uint16_t i = 0; i < buffers; i++)
		pbuf_cat(p, pbuf_alloc(PBUF_RAW, 8, PBUF_RAM));
	ip_input(p, &victim()->netif);
	sim_run(&sim, 70000000, NULL, NULL);
	CHECK(victim()->uvl->ip6_reassdatagrams_ == NULL, "still there");
	host_down();
}

/* ---- timers -------------------------------------------------------------------------------------
 */

static unsigned int
timers(void)
{
	unsigned int n = 0;

	for (const struct sys_timeo *t = victim()->uvl->next_timeout_; t != NULL; t = t->next)
		n++;
	return n;
}

/* They come again though there was no memory when they went off. */
static void
test_timers_without_memory(void)
{
	unsigned int before;

	host_up();
	before = timers();
	no_memory = true;
	sim_run(&sim, 5000000, NULL, NULL);
	no_memory = false;
	CHECK(timers() == before && before > 3, "%u of %u are left", timers(), before);
	host_down();
}

#define TEST(name)                 \
	{                          \
#name, test_##name \
	}
static const struct simtest tests[] = {
	TEST(short_ip4),
	TEST(short_ip6),
	TEST(short_arp),
	TEST(arp_from_a_group),
	TEST(udp_length),
	TEST(ip6_option_at_the_edge),
	TEST(nd_option_at_the_edge),
	TEST(ip6_gap),
	TEST(ip6_quote),
	TEST(ip6_many_buffers),
	TEST(timers_without_memory),
};

int
main(int argc, char **argv)
{
	return simtest_main(argc, argv, tests, sizeof(tests) / sizeof(tests[0]));
}
