/* SPDX-License-Identifier: BSD-3-Clause */
/* Segments from somebody who does not see the connection, malformed ones, and what else 2.1.3 took
 * or did that it should not have. */
#include "simtest.h"

#include <stdlib.h>
#include <string.h>

#include "lwip/icmp.h"
#include "lwip/prot/icmp.h"
#include "lwip/prot/ip4.h"
#include "lwip/prot/tcp.h"
#include "lwip/tcp.h"
#include "lwip/udp.h"

/* A stream from host 0 to host 1, and an ear at its receiver. */
struct line {
	struct sim sim;
	struct sim_stream s;
	struct ear ear;
};

static struct sim_host *
victim(struct line *line)
{
	return &line->sim.host[1];
}

static void
line_open(struct line *line)
{
	memset(line, 0, sizeof(*line));
	sim_init(&line->sim, 1);
	sim_stream_open(&line->s, &line->sim.host[0], &line->sim.host[1], 0);
	sim_run(&line->sim, 2000000, NULL, NULL);
	simtest_listen_in(victim(line), &line->ear);
}

static void
line_close(struct line *line)
{
	simtest_no_asserts(&line->sim);
	sim_stream_close(&line->s);
	sim_exit(&line->sim);
}

/* As if from the stream's sender; seqno and ackno by their distance from the right ones. */
static void
inject(struct line *line, uint32_t seqno, uint32_t ackno, uint8_t flags, uint16_t length)
{
	struct segment segment = {
		.from = line->s.server->remote_port,
		.to = line->s.server->local_port,
		.seqno = line->s.server->rcv_nxt + seqno,
		.ackno = line->s.server->snd_nxt + ackno,
		.flags = flags,
		.window = 1000,
		.length = length,
	};

	simtest_segment(victim(line), &segment);
}

/* ---- RFC 5961 ---------------------------------------------------------------------------------
 */

/* In the window, but not exact: challenged once, and never believed. Then exact: believed. */
static void
test_blind_reset(void)
{
	struct line line;
	uint32_t window;

	line_open(&line);
	window = line.s.server->rcv_wnd;
	for (uint32_t guess = 1; guess < window && line.s.server != NULL; guess += window / 100)
		inject(&line, guess, 0, TCP_RST, 0);
	CHECK(line.s.server != NULL, "a reset that is not exact was believed");
	CHECK(line.ear.acks == 1, "%u answers to guessed resets at one time", line.ear.acks);
	sim_run(&line.sim, 600000, NULL, NULL);
	inject(&line, 1, 0, TCP_RST, 0);
	CHECK(line.ear.acks == 2, "%u answers a while later", line.ear.acks);
	inject(&line, window + 1000, 0, TCP_RST, 0);
	CHECK(line.s.server != NULL, "a reset outside the window was believed");
	inject(&line, 0, 0, TCP_RST, 0);
	CHECK(line.s.server == NULL, "the true reset was not");
	line_close(&line);
}

static void
test_blind_syn(void)
{
	struct line line;

	line_open(&line);
	for (uint32_t guess = 0; guess < 100; guess++)
		inject(&line, guess * 1000, 0, TCP_SYN, 0);
	CHECK(line.s.server != NULL && line.s.server->state == ESTABLISHED, "a SYN ended it");
	CHECK(line.ear.acks == 1 && line.ear.resets == 0, "%u answers, %u resets", line.ear.acks,
	      line.ear.resets);
	line_close(&line);
}

/* Data in the window, with an acknowledgment of what was never sent, or long ago, or with none. */
static void
test_blind_data(void)
{
	struct line line;

	line_open(&line);
	for (uint32_t guess = 1u << 31; guess >= 1; guess /= 2)
		inject(&line, 0, guess, TCP_ACK, 10);
	for (uint32_t guess = 1u << 30; guess > line.s.server->snd_wnd_max; guess /= 2)
		inject(&line, 0, -guess, TCP_ACK, 10);
	inject(&line, 0, 0, TCP_PSH, 10);
	inject(&line, 0, 0, 0, 10);
	CHECK(line.s.received == 0, "%u bytes were believed", (unsigned int)line.s.received);
	CHECK(line.ear.acks == 1, "%u answers at one time", line.ear.acks);
	/* what is right goes on */
	inject(&line, 0, 0, TCP_ACK, 10);
	CHECK(line.s.received == 10, "%u bytes of the true segment", (unsigned int)line.s.received);
	line_close(&line);
}

/* A window from a segment that is nowhere near the receive window: not the peer's. */
static void
test_blind_window(void)
{
	struct line line;
	tcpwnd_size_t before;

	line_open(&line);
	before = line.s.server->snd_wnd;
	inject(&line, 0x30000000, 0, TCP_ACK, 0);
	inject(&line, -0x30000000u, 0, TCP_ACK, 0);
	CHECK(line.s.server->snd_wnd == before, "the window was set from afar");
	line_close(&line);
}

/* Two hosts that each think the other wrong must not answer each other for ever. */
static void
test_ack_storm(void)
{
	struct line line;

	line_open(&line);
	sim_enter(&line.sim.host[0]);
	line.s.client->snd_nxt += 5000000;
	line.s.client->lastack = line.s.client->snd_lbb = line.s.client->snd_nxt;
	for (int i = 0; i < 10; i++)
		inject(&line, 70000000, 0, TCP_ACK, 0);
	sim_run(&line.sim, 1000000, NULL, NULL);
	CHECK(line.ear.all <= 4, "%u segments in a second", line.ear.all);
	line_close(&line);
}

/* What a keepalive probe looks like is answered, but not as often as somebody likes. */
static void
test_probe_storm(void)
{
	struct line line;

	line_open(&line);
	for (int i = 0; i < 100; i++)
		inject(&line, -1u, 0, TCP_ACK, 0);
	CHECK(line.ear.acks == 1, "%u answers at one time", line.ear.acks);
	sim_run(&line.sim, 1000000, NULL, NULL);
	inject(&line, -1u, 0, TCP_ACK, 0);
	CHECK(line.ear.acks == 2, "a probe a second later was not answered");
	line_close(&line);
}

/* However many connections there are, a second's challenges have a limit, which is not always the
 * same. */
static void
test_challenge_budget(void)
{
	struct line line;
	unsigned int sent[5];

	line_open(&line);
	for (int second = 0; second < 5; second++) {
		sim_run(&line.sim, 1000000, NULL, NULL);
		sim_enter(victim(&line));
		sent[second] = 0;
		for (int i = 0; i < 3000; i++) {
			struct tcp_pcb pcb = {0};

			uvl_tcp_challenge(&pcb);
			sent[second] += (pcb.flags & TF_ACK_NOW) != 0;
		}
		CHECK(sent[second] >= 500 && sent[second] < 1500, "%u challenges", sent[second]);
	}
	CHECK(sent[0] != sent[1] || sent[1] != sent[2], "always %u challenges", sent[0]);
	line_close(&line);
}

static void
test_time_wait_syn(void)
{
	struct line line;
	struct tcp_pcb *pcb;
	struct segment syn;

	line_open(&line);
	pcb = line.s.server;
	syn = (struct segment){.from = pcb->remote_port,
			       .to = pcb->local_port,
			       .flags = TCP_SYN | TCP_ACK,
			       .window = 1};
	sim_enter(victim(&line));
	tcp_recv(pcb, NULL);
	tcp_err(pcb, NULL);
	line.s.server = NULL;
	tcp_close(pcb);
	line.s.client = NULL; /* closes when it sees the FIN, nobody having asked for its data */
	sim_run(&line.sim, 300000, NULL, NULL);
	CHECK(pcb->state == TIME_WAIT, "not in TIME_WAIT");
	line.ear.resets = line.ear.acks = 0;
	for (uint32_t i = 0; i < 50; i++) {
		syn.seqno = pcb->rcv_nxt + i;
		simtest_segment(victim(&line), &syn);
	}
	CHECK(line.ear.resets == 0, "%u resets to SYNs in the window", line.ear.resets);
	CHECK(line.ear.acks == 1, "%u answers at one time", line.ear.acks);
	CHECK(pcb->state == TIME_WAIT, "TIME_WAIT was cut short");
	line_close(&line);
}

/* ---- 2.1.3's mistakes -------------------------------------------------------------------------
 */

/* An option's length behind the end of the header. */
static void
test_option_at_the_edge(void)
{
	static const uint8_t kinds[] = {2, 3, 4, 5, 8, 200};

	for (size_t i = 0; i < sizeof(kinds); i++) {
		struct line line;
		struct {
			struct ip_hdr ip;
			struct tcp_hdr tcp;
			uint8_t options[4];
		} __attribute__((packed)) packet = {.options = {1, 1, 1, kinds[i]}};

		line_open(&line);
		IPH_VHL_SET(&packet.ip, 4, 5);
		IPH_LEN_SET(&packet.ip, lwip_htons(sizeof(packet)));
		IPH_TTL_SET(&packet.ip, 64);
		IPH_PROTO_SET(&packet.ip, IP_PROTO_TCP);
		packet.ip.src.addr = ip_2_ip4(&line.s.from->address)->addr;
		packet.ip.dest.addr = ip_2_ip4(&line.s.to->address)->addr;
		packet.tcp.src = lwip_htons(line.s.server->remote_port);
		packet.tcp.dest = lwip_htons(line.s.server->local_port);
		packet.tcp.seqno = lwip_htonl(line.s.server->rcv_nxt);
		packet.tcp.ackno = lwip_htonl(line.s.server->snd_nxt);
		TCPH_HDRLEN_FLAGS_SET(&packet.tcp, 6, TCP_ACK);
		simtest_at_edge(victim(&line), ip_input, &packet, sizeof(packet));
		CHECK(line.s.server != NULL, "option %u", kinds[i]);
		line_close(&line);
	}
}

/* At a distance of 2^31 no number is before or equal to the other. */
static void
test_sequence_comparison(void)
{
	for (uint32_t a = 1; a != 0; a <<= 1) {
		uint32_t far = a + 0x80000000u;

		CHECK(!TCP_SEQ_LEQ(a, far) && !TCP_SEQ_GEQ(a, far), "%u and %u", a, far);
		CHECK(TCP_SEQ_LT(a, a + 1) && TCP_SEQ_GT(a, a - 1), "%u and its neighbours", a);
		CHECK(TCP_SEQ_LEQ(a, a) && TCP_SEQ_GEQ(a, a), "%u and itself", a);
	}
}

/* A SYN with an ACK is no end of a handshake. */
static void
test_stray_syn(void)
{
	struct line line;
	struct segment syn = {.from = 9, .to = 7, .seqno = 100, .flags = TCP_SYN, .window = 100};

	line_open(&line);
	line.s.server = NULL;
	line.ear.deaf = true;
	simtest_segment(victim(&line), &syn);
	syn.flags = TCP_SYN | TCP_ACK;
	syn.seqno = 101;
	syn.ackno = line.ear.last.seqno + 1;
	simtest_segment(victim(&line), &syn);
	CHECK(line.s.server == NULL, "accepted");
	syn.flags = TCP_ACK;
	simtest_segment(victim(&line), &syn);
	CHECK(line.s.server != NULL, "not accepted");
	line.s.server = NULL;
	line_close(&line);
}

/* RFC 9293, 3.10.7.1: what answers an acknowledgment has its number and no ACK; the rest, the other
 * way round. */
static void
test_reset_flags(void)
{
	struct line line;
	struct segment stray = {
		.from = 9, .to = 9999, .seqno = 100, .ackno = 4711, .flags = TCP_ACK, .length = 5};

	line_open(&line);
	line.ear.deaf = true;
	simtest_segment(victim(&line), &stray);
	CHECK(line.ear.last.flags == TCP_RST && line.ear.last.seqno == 4711, "flags %#x, number %u",
	      line.ear.last.flags, line.ear.last.seqno);
	stray.flags = TCP_SYN;
	simtest_segment(victim(&line), &stray);
	CHECK(line.ear.last.flags == (TCP_RST | TCP_ACK) && line.ear.last.seqno == 0 &&
		      line.ear.last.ackno == 106,
	      "flags %#x, number %u, acknowledges %u", line.ear.last.flags, line.ear.last.seqno,
	      line.ear.last.ackno);
	line_close(&line);
}

static err_t
count_output(struct netif *netif, struct pbuf *p, const ip4_addr_t *to)
{
	(void)p;
	(void)to;
	++*(unsigned int *)netif->state;
	return ERR_OK;
}

static err_t
second_up(struct netif *netif)
{
	netif->mtu = 1500;
	netif->name[0] = 'o';
	netif->name[1] = 't';
	netif->output = count_output;
	return ERR_OK;
}

/* Two networks: a segment for no connection is refused on the one that it came from. */
static void
test_reset_goes_back(void)
{
	struct line line;
	struct netif other;
	ip4_addr_t address, mask, gateway = {0};
	unsigned int sent = 0;
	struct ip_hdr *ip;
	struct tcp_hdr *tcp;
	struct pbuf *p;

	line_open(&line);
	sim_enter(victim(&line));
	IP4_ADDR(&address, 192, 168, 7, 2);
	IP4_ADDR(&mask, 255, 255, 255, 0);
	netif_add(&other, &address, &mask, &gateway, &sent, second_up, ip_input);
	netif_set_up(&other);
	netif_set_link_up(&other);
	NETIF_SET_CHECKSUM_CTRL(&other, 0);
	sent = 0; /* IGMP */

	p = pbuf_alloc(PBUF_RAW, 40, PBUF_RAM);
	ip = p->payload;
	tcp = (struct tcp_hdr *)(void *)((char *)p->payload + IP_HLEN);
	memset(ip, 0, 40);
	IPH_VHL_SET(ip, 4, 5);
	IPH_LEN_SET(ip, lwip_htons(40));
	IPH_TTL_SET(ip, 64);
	IPH_PROTO_SET(ip, IP_PROTO_TCP);
	IP4_ADDR(&ip->src, 172, 16, 0, 9); /* behind a router of that network */
	ip4_addr_copy(ip->dest, address);
	tcp->src = tcp->dest = lwip_htons(9);
	TCPH_HDRLEN_FLAGS_SET(tcp, 5, TCP_ACK);
	line.ear.resets = 0;
	other.input(p, &other);
	CHECK(sent == 1 && line.ear.resets == 0, "%u answers there, %u elsewhere", sent,
	      line.ear.resets);
	netif_remove(&other);
	line_close(&line);
}

/* Out-of-order data is queued, the application makes its window smaller, the hole is filled. */
static void
test_window_shrinks(void)
{
	struct line line;

	line_open(&line);
	line.s.keep = true;
	for (uint16_t i = 1; i < 30; i++)
		inject(&line, i * 1000u, 0, TCP_ACK, 1000);
	line.s.server->rcv_wnd = 5000;
	inject(&line, 0, 0, TCP_ACK, 1000);
	CHECK(line.s.server->rcv_wnd <= 5000, "a window of %u", line.s.server->rcv_wnd);
	line_close(&line);
}

/* Buffers are short: what is out of order goes, comes again in order, and is kept no more. */
static void
test_out_of_order_dropped(void)
{
	struct line line;

	line_open(&line);
	for (uint16_t i = 1; i < 30; i++)
		inject(&line, i * 1000u, 0, TCP_ACK, 1000);
	CHECK(line.s.server->ooseq != NULL, "out-of-order data is not kept at all");
	sim_enter(victim(&line));
	victim(&line)->uvl->guard.no_ooseq = true;
	uvl_ooseq_drop();
	CHECK(line.s.server->ooseq == NULL && victim(&line)->uvl->guard.stats.ooseq_dropped == 1,
	      "not dropped");
	inject(&line, 5000, 0, TCP_ACK, 1000);
	CHECK(line.s.server->ooseq == NULL, "kept though buffers are short");
	for (int i = 0; i < 6; i++)
		inject(&line, 0, 0, TCP_ACK, 1000);
	CHECK(line.s.received == 6000, "%u bytes in order", (unsigned int)line.s.received);
	line_close(&line);
}

struct ids {
	uint16_t id[100];
	unsigned int n;
};

static bool
collect_ids(struct sim_host *host, const unsigned char *packet, uint32_t length, void *arg)
{
	struct ids *ids = arg;

	(void)host;
	(void)length;
	if (ids->n < 100)
		ids->id[ids->n++] = lwip_ntohs(IPH_ID((const struct ip_hdr *)packet));
	return true;
}

/* Who counts the identifications that come to him learns nothing of what others get. */
static void
test_identification(void)
{
	struct line line;
	struct ids ids = {.n = 0};
	struct segment stray = {.from = 1, .to = 9999, .flags = TCP_ACK};
	unsigned int followed = 0;

	line_open(&line);
	victim(&line)->filter = collect_ids;
	victim(&line)->filter_arg = &ids;
	for (uint32_t i = 0; i < 100; i++) {
		stray.address = lwip_htonl(0x0a000020 + i % 50 * 4);
		simtest_segment(victim(&line), &stray);
	}
	for (unsigned int i = 1; i < 100; i++)
		followed += (uint16_t)(ids.id[i] - ids.id[i - 1]) == 1;
	CHECK(ids.n == 100 && followed < 5, "%u of %u follow each other", followed, ids.n);
	for (unsigned int i = 50; i < 100; i++)
		CHECK(ids.id[i] != ids.id[i - 50], "the same identification twice");
	line_close(&line);
}

/* A packet of an unknown protocol, its header in one buffer and its data in another. */
static void
arrive_in_two(struct line *line, uint32_t first)
{
	struct pbuf *head, *tail;
	struct ip_hdr *ip;

	sim_enter(victim(line));
	head = pbuf_alloc(PBUF_RAW, (u16_t)first, PBUF_RAM);
	tail = pbuf_alloc(PBUF_RAW, (u16_t)(28 - first), PBUF_RAM);
	memset(head->payload, 0, first);
	memset(tail->payload, 0x55, 28 - first);
	ip = head->payload;
	IPH_VHL_SET(ip, 4, 5);
	IPH_LEN_SET(ip, lwip_htons(28));
	IPH_TTL_SET(ip, 64);
	IPH_PROTO_SET(ip, 99);
	ip->src.addr = ip_2_ip4(&line->s.from->address)->addr;
	ip->dest.addr = ip_2_ip4(&line->s.to->address)->addr;
	pbuf_cat(head, tail);
	NETIF_SET_CHECKSUM_CTRL(&victim(line)->netif, 0);
	victim(line)->netif.input(head, &victim(line)->netif);
	NETIF_SET_CHECKSUM_CTRL(&victim(line)->netif, NETIF_CHECKSUM_ENABLE_ALL);
}

struct answer {
	unsigned char packet[100];
	uint32_t length;
};

static bool
keep_answer(struct sim_host *host, const unsigned char *packet, uint32_t length, void *arg)
{
	struct answer *answer = arg;

	(void)host;
	answer->length = length < sizeof(answer->packet) ? length : sizeof(answer->packet);
	memcpy(answer->packet, packet, answer->length);
	return true;
}

/* An ICMP error quotes the packet, and not what lies behind its first buffer. */
static void
test_quote_of_several_buffers(void)
{
	struct line line;
	struct answer answer = {.length = 0};

	line_open(&line);
	victim(&line)->filter = keep_answer;
	victim(&line)->filter_arg = &answer;
	arrive_in_two(&line, IP_HLEN);
	CHECK(answer.length == 56, "an answer of %u bytes", answer.length);
	for (uint32_t i = 48; i < answer.length; i++)
		CHECK(answer.packet[i] == 0x55, "byte %u is %#x", i, answer.packet[i]);
	line_close(&line);
}

static netif_ext_callback_t ext_first;
static netif_ext_callback_t ext_second;
static unsigned int ext_calls;

static void
on_ext(struct netif *netif, netif_nsc_reason_t reason, const netif_ext_callback_args_t *args)
{
	(void)netif;
	(void)reason;
	(void)args;
	ext_calls++;
}

static void
on_ext_once(struct netif *netif, netif_nsc_reason_t reason, const netif_ext_callback_args_t *args)
{
	on_ext(netif, reason, args);
	netif_remove_ext_callback(&ext_second);
	memset(&ext_second, 0, sizeof(ext_second)); /* its memory is its owner's again */
}

static void
test_callback_removes_itself(void)
{
	struct line line;

	line_open(&line);
	sim_enter(victim(&line));
	ext_calls = 0;
	netif_add_ext_callback(&ext_first, on_ext);
	netif_add_ext_callback(&ext_second, on_ext_once);
	netif_set_link_down(&victim(&line)->netif);
	CHECK(ext_calls == 2, "%u of 2 callbacks", ext_calls);
	netif_set_link_up(&victim(&line)->netif);
	CHECK(ext_calls == 3, "%u calls in the end", ext_calls);
	netif_remove_ext_callback(&ext_first);
	line_close(&line);
}

#define TEST(name)                 \
	{                          \
#name, test_##name \
	}
static const struct simtest tests[] = {
	TEST(blind_reset),
	TEST(blind_syn),
	TEST(blind_data),
	TEST(blind_window),
	TEST(ack_storm),
	TEST(probe_storm),
	TEST(challenge_budget),
	TEST(time_wait_syn),
	TEST(option_at_the_edge),
	TEST(sequence_comparison),
	TEST(stray_syn),
	TEST(reset_flags),
	TEST(reset_goes_back),
	TEST(window_shrinks),
	TEST(out_of_order_dropped),
	TEST(identification),
	TEST(quote_of_several_buffers),
	TEST(callback_removes_itself),
};

int
main(int argc, char **argv)
{
	return simtest_main(argc, argv, tests, sizeof(tests) / sizeof(tests[0]));
}
