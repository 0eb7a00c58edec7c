/* SPDX-License-Identifier: BSD-3-Clause */
#include "simtest.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lwip/prot/ip4.h"
#include "lwip/prot/tcp.h"

const char *simtest_name;
int simtest_failures;

void
simtest_failed(int line, const char *format, ...)
{
	va_list args;

	simtest_failures++;
	printf("  %s, line %d: ", simtest_name, line);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
}

void
simtest_no_asserts(const struct sim *sim)
{
	for (int i = 0; i < 2; i++)
		CHECK(sim->host[i].uvl->assert_failures == 0, "%llu lwIP asserts at host %d",
		      (unsigned long long)sim->host[i].uvl->assert_failures, i);
}

int
simtest_main(int argc, char **argv, const struct simtest *tests, size_t number)
{
	for (size_t i = 0; i < number; i++) {
		if (argc > 1 && strcmp(argv[1], tests[i].name) != 0)
			continue;
		int before = simtest_failures;

		simtest_name = tests[i].name;
		tests[i].run();
		printf("%s %s\n", simtest_failures == before ? "ok    " : "FAILED", simtest_name);
	}
	return simtest_failures != 0;
}

void
simtest_segment(struct sim_host *host, const struct segment *s)
{
	static unsigned char packet[60 + 40 + 65535];
	struct ip_hdr *ip = (struct ip_hdr *)packet;
	struct tcp_hdr *tcp = (struct tcp_hdr *)(packet + IP_HLEN);
	uint32_t length = 40u + s->option_bytes + s->length;

	memset(packet, 0, sizeof(packet));
	IPH_VHL_SET(ip, 4, 5);
	IPH_LEN_SET(ip, lwip_htons((u16_t)length));
	IPH_TTL_SET(ip, 64);
	IPH_PROTO_SET(ip, IP_PROTO_TCP);
	ip->src.addr = s->address != 0 ? s->address : ip_2_ip4(&host->peer->address)->addr;
	ip->dest.addr = ip_2_ip4(&host->address)->addr;
	tcp->src = lwip_htons(s->from);
	tcp->dest = lwip_htons(s->to);
	tcp->seqno = lwip_htonl(s->seqno);
	tcp->ackno = lwip_htonl(s->ackno);
	TCPH_HDRLEN_FLAGS_SET(tcp, 5 + s->option_bytes / 4, s->flags);
	tcp->wnd = lwip_htons(s->window);
	memcpy(tcp + 1, s->options, s->option_bytes);
	sim_inject(host, packet, length);
}

static void
nothing_to_free(struct pbuf *p)
{
	(void)p;
}

void
simtest_at_edge(struct sim_host *host, err_t (*input)(struct pbuf *p, struct netif *netif),
		const void *packet, uint32_t length)
{
	static struct pbuf_custom custom;
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	char *room =
		mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct pbuf *p;

	if (room == MAP_FAILED || mprotect(room + page, page, PROT_NONE) != 0)
		abort();
	memcpy(room + page - length, packet, length);
	sim_enter(host);
	custom.custom_free_function = nothing_to_free;
	p = pbuf_alloced_custom(PBUF_RAW, (u16_t)length, PBUF_REF, &custom, room + page - length,
				(u16_t)length);
	NETIF_SET_CHECKSUM_CTRL(&host->netif, 0);
	input(p, &host->netif);
	NETIF_SET_CHECKSUM_CTRL(&host->netif, NETIF_CHECKSUM_ENABLE_ALL);
	munmap(room, 2 * page);
}

static bool
hear(struct sim_host *host, const unsigned char *packet, uint32_t length, void *arg)
{
	struct ear *ear = arg;
	const struct tcp_hdr *tcp = (const struct tcp_hdr *)(packet + IP_HLEN);

	(void)host;
	if (IPH_PROTO((const struct ip_hdr *)packet) != IP_PROTO_TCP)
		return false;
	ear->all++;
	ear->last = (struct segment){
		.from = lwip_ntohs(tcp->src),
		.to = lwip_ntohs(tcp->dest),
		.seqno = lwip_ntohl(tcp->seqno),
		.ackno = lwip_ntohl(tcp->ackno),
		.flags = (uint8_t)TCPH_FLAGS(tcp),
		.window = lwip_ntohs(tcp->wnd),
		.length = (uint16_t)(length - IP_HLEN - TCPH_HDRLEN(tcp) * 4u),
		.option_bytes = (uint8_t)(TCPH_HDRLEN(tcp) * 4u - TCP_HLEN),
	};
	memcpy(ear->last.options, tcp + 1, ear->last.option_bytes);
	ear->syn_acks += (ear->last.flags & (TCP_SYN | TCP_ACK)) == (TCP_SYN | TCP_ACK);
	ear->resets += (ear->last.flags & TCP_RST) != 0;
	ear->acks += ear->last.flags == TCP_ACK && ear->last.length == 0;
	return ear->deaf;
}

void
simtest_listen_in(struct sim_host *host, struct ear *ear)
{
	memset(ear, 0, sizeof(*ear));
	host->filter = hear;
	host->filter_arg = ear;
}
