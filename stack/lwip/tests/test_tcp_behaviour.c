/* SPDX-License-Identifier: BSD-3-Clause */
/* What was changed in lwIP's TCP, each change by the behaviour it is for, on a simulated wire. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"
#include "lwip/inet_chksum.h"
#include "lwip/prot/ip4.h"
#include "lwip/prot/tcp.h"
#include "lwip/tcp.h"

static const char *test_name;
static int failures;

static void __attribute__((format(printf, 2, 3))) check_failed(int line, const char *format, ...)
{
	va_list args;

	failures++;
	printf("  %s, line %d: ", test_name, line);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
}

#define CHECK(condition, ...)                                \
	do {                                                 \
		if (!(condition))                            \
			check_failed(__LINE__, __VA_ARGS__); \
	} while (0)

static void
no_asserts(const struct sim *sim)
{
	for (int i = 0; i < 2; i++)
		CHECK(sim->host[i].uvl->assert_failures == 0, "%llu lwIP asserts at host %d",
		      (unsigned long long)sim->host[i].uvl->assert_failures, i);
}

/* A TCP segment as if from the stream's sender, placed by offset from what the receiver expects. */
static void
inject(struct sim_stream *s, uint32_t seqno, uint8_t flags, uint16_t length)
{
	static unsigned char packet[40 + 1500];
	struct ip_hdr *ip = (struct ip_hdr *)packet;
	struct tcp_hdr *tcp = (struct tcp_hdr *)(packet + IP_HLEN);

	memset(packet, 0, sizeof(packet));
	IPH_VHL_SET(ip, 4, 5);
	IPH_LEN_SET(ip, lwip_htons((u16_t)(40 + length)));
	IPH_TTL_SET(ip, 64);
	IPH_PROTO_SET(ip, IP_PROTO_TCP);
	ip->src.addr = ip_2_ip4(&s->from->address)->addr;
	ip->dest.addr = ip_2_ip4(&s->to->address)->addr;
	tcp->src = lwip_htons(s->server->remote_port);
	tcp->dest = lwip_htons(s->server->local_port);
	tcp->seqno = lwip_htonl(seqno);
	tcp->ackno = lwip_htonl(s->server->snd_nxt);
	TCPH_HDRLEN_FLAGS_SET(tcp, 5, flags | TCP_ACK);
	tcp->wnd = lwip_htons(1000);
	sim_inject(s->to, packet, 40u + length);
}

/*
 * lwIP queued an out-of-order segment that crosses the right edge of the window untrimmed; once the
 * window was full up to it, the segment was longer than the window: an assert, or, without asserts,
 * a window of 4 GiB. Anybody with a connection could do that.
 */
static void
test_out_of_order_beyond_window(void)
{
	static const uint8_t variants[] = {0, TCP_FIN};

	for (size_t v = 0; v < sizeof(variants); v++) {
		struct sim sim;
		struct sim_stream s;

		sim_init(&sim, 1);
		sim_stream_open(&s, &sim.host[0], &sim.host[1], 0);
		s.keep = true;
		/* Only what is injected arrives. */
		sim.host[0].out.loss = 1000000;

		uint32_t edge = s.server->rcv_nxt + s.server->rcv_wnd;
		inject(&s, edge - 100, variants[v], v == 0 ? 1000 : 100);
		while (s.server != NULL && s.server->rcv_nxt + 1460 <= edge - 100)
			inject(&s, s.server->rcv_nxt, 0, 1460);
		if (s.server != NULL && s.server->rcv_nxt != edge)
			inject(&s, s.server->rcv_nxt, 0,
			       (uint16_t)(edge - 100 - s.server->rcv_nxt));
		no_asserts(&sim);
		CHECK(s.server != NULL, "the connection is gone");
		if (s.server != NULL) {
			CHECK(s.server->rcv_wnd == 0, "the window is %u, not full",
			      s.server->rcv_wnd);
			CHECK(s.server->rcv_nxt == edge, "the window's edge was passed");
		}
		s.wrong = false; /* the injected data is zeroes */
		sim_stream_close(&s);
		sim_exit(&sim);
	}
}

#define TEST(name)                 \
	{                          \
#name, test_##name \
	}
static const struct {
	const char *name;
	void (*run)(void);
} tests[] = {
	TEST(out_of_order_beyond_window),
};

int
main(int argc, char **argv)
{
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		if (argc > 1 && strcmp(argv[1], tests[i].name) != 0)
			continue;
		int before = failures;

		test_name = tests[i].name;
		tests[i].run();
		printf("%s %s\n", failures == before ? "ok    " : "FAILED", test_name);
	}
	return failures != 0;
}
