/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two lwIP instances at work on two threads at once. Each moves data over TCP and UDP between its
 * own sockets; nothing may leak from one into the other, and under TSan nothing may be shared.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "uvl.h"
#include "lwip/tcp.h"
#include "lwip/udp.h"

#define BYTES     (4u * 1024 * 1024)
#define DATAGRAMS 2000u
#define PORT      7

struct run {
	unsigned int number;
	uint32_t now; /* this instance's own clock */
	struct uvl *instance;
	struct netif netif;
	struct tcp_pcb *client;
	uint32_t sent, received, acked, echoed;
	uint32_t datagrams;
	bool connected, closed;
	const char *failure;
};

static __thread struct run *running;

u32_t
sys_now(void)
{
	return running == NULL ? 0 : running->now;
}

uint64_t
uvl_now_us(void)
{
	return (uint64_t)sys_now() * 1000;
}

static void
fail(struct run *run, const char *why)
{
	if (run->failure == NULL)
		run->failure = why;
}

/* Each instance's stream differs, so that a byte in the wrong one shows. */
static unsigned char
pattern(const struct run *run, uint32_t position)
{
	return (unsigned char)(position * 31 + (position >> 8) + run->number * 101);
}

static err_t
netif_up(struct netif *netif)
{
	netif->mtu = 1500;
	netif->name[0] = 'l';
	netif->name[1] = 'p';
	return ERR_OK;
}

static err_t
server_recv(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err)
{
	struct run *run = arg;

	(void)err;
	if (p == NULL) {
		run->closed = true;
		return tcp_close(pcb);
	}
	for (const struct pbuf *q = p; q != NULL; q = q->next)
		for (uint32_t i = 0; i < q->len; i++)
			if (((const unsigned char *)q->payload)[i] != pattern(run, run->received++))
				fail(run, "wrong byte in the TCP stream");
	tcp_recved(pcb, p->tot_len);
	pbuf_free(p);
	return ERR_OK;
}

static err_t
server_accept(void *arg, struct tcp_pcb *pcb, err_t err)
{
	(void)err;
	tcp_arg(pcb, arg);
	tcp_recv(pcb, server_recv);
	return ERR_OK;
}

static void
client_fill(struct run *run)
{
	unsigned char chunk[4096];

	while (run->sent < BYTES) {
		uint32_t length = LWIP_MIN(tcp_sndbuf(run->client), sizeof(chunk));

		length = LWIP_MIN(length, BYTES - run->sent);
		if (length == 0)
			break;
		for (uint32_t i = 0; i < length; i++)
			chunk[i] = pattern(run, run->sent + i);
		if (tcp_write(run->client, chunk, (u16_t)length, TCP_WRITE_FLAG_COPY) != ERR_OK)
			break;
		run->sent += length;
	}
	tcp_output(run->client);
}

static err_t
client_sent(void *arg, struct tcp_pcb *pcb, u16_t length)
{
	struct run *run = arg;

	run->acked += length;
	if (run->acked == BYTES) {
		run->client = NULL;
		tcp_arg(pcb, NULL);
		return tcp_close(pcb);
	}
	client_fill(run);
	return ERR_OK;
}

static err_t
client_connected(void *arg, struct tcp_pcb *pcb, err_t err)
{
	struct run *run = arg;

	(void)pcb;
	(void)err;
	run->connected = true;
	client_fill(run);
	return ERR_OK;
}

static void
client_err(void *arg, err_t err)
{
	(void)err;
	if (arg != NULL)
		fail(arg, "the connection was reset");
}

static void
datagram_recv(void *arg, struct udp_pcb *pcb, struct pbuf *p, const ip_addr_t *addr, u16_t port)
{
	struct run *run = arg;
	uint32_t number = 0;

	(void)pcb;
	(void)addr;
	(void)port;
	pbuf_copy_partial(p, &number, sizeof(number), 0);
	if (p->tot_len != 1000 || number != (run->datagrams ^ run->number << 24))
		fail(run, "wrong datagram");
	run->datagrams++;
	pbuf_free(p);
}

static void
datagram_send(struct udp_pcb *pcb, const struct run *run, uint32_t number, const ip_addr_t *to)
{
	struct pbuf *p = pbuf_alloc(PBUF_TRANSPORT, 1000, PBUF_RAM);

	if (p == NULL)
		return;
	memset(p->payload, 0, p->len);
	number ^= run->number << 24;
	memcpy(p->payload, &number, sizeof(number));
	udp_sendto(pcb, p, to, PORT);
	pbuf_free(p);
}

static void
step(struct run *run)
{
	netif_poll(&run->netif);
	run->now++;
	sys_check_timeouts();
}

static void *
run_instance(void *arg)
{
	struct run *run = arg;
	ip4_addr_t address, mask, gateway;
	ip_addr_t self;

	running = run;
	run->instance = aligned_alloc(64, uvl_size());
	if (run->instance == NULL) {
		fail(run, "out of memory");
		return NULL;
	}
	uvl_init(run->instance);
	if (uvl_self != NULL)
		fail(run, "uvl_init() left the instance entered");
	uvl_enter(run->instance);

	/* The same address in both: instances do not know of each other. */
	IP4_ADDR(&address, 10, 0, 0, 1);
	IP4_ADDR(&mask, 255, 255, 255, 0);
	ip4_addr_set_any(&gateway);
	netif_add(&run->netif, &address, &mask, &gateway, run, netif_up, ip_input);
	netif_set_default(&run->netif);
	netif_set_up(&run->netif);
	netif_set_link_up(&run->netif);
	ip_addr_copy_from_ip4(self, address);

	struct tcp_pcb *listener = tcp_new();
	tcp_bind(listener, IP_ADDR_ANY, PORT);
	listener = tcp_listen(listener);
	tcp_arg(listener, run);
	tcp_accept(listener, server_accept);

	run->client = tcp_new();
	tcp_arg(run->client, run);
	tcp_sent(run->client, client_sent);
	tcp_err(run->client, client_err);
	tcp_connect(run->client, &self, PORT, client_connected);

	struct udp_pcb *udp_in = udp_new(), *udp_out = udp_new();
	udp_bind(udp_in, IP_ADDR_ANY, PORT);
	udp_recv(udp_in, datagram_recv, run);

	uint32_t datagrams = 0;
	while (run->failure == NULL && run->now < 1000000 &&
	       !(run->closed && run->datagrams == DATAGRAMS)) {
		if (datagrams < DATAGRAMS)
			datagram_send(udp_out, run, datagrams++, &self);
		step(run);
	}
	if (run->failure == NULL && (run->received != BYTES || run->datagrams != DATAGRAMS))
		fail(run, "not everything arrived");

	udp_remove(udp_out);
	for (int i = 0; i < 60000 && (tcp_active_pcbs != NULL || tcp_tw_pcbs != NULL); i++)
		step(run);
	if (tcp_active_pcbs != NULL || tcp_tw_pcbs != NULL)
		fail(run, "PCBs left over");
	if (run->instance->assert_failures != 0)
		fail(run, "lwIP assertions failed");
	if (lwip_stats.tcp.recv == 0 || lwip_stats.udp.recv != DATAGRAMS)
		fail(run, "the statistics are not this instance's own");
	uvl_enter(NULL);
	/* A listener, a socket and a netif are left to uvl_exit(); LeakSanitizer sees what it
	 * forgets. */
	uvl_exit(run->instance);
	return NULL;
}

/* Reproducible with a secret, different without one. */
static const char *
check_secrets(void)
{
	struct uvl *a = aligned_alloc(64, uvl_size()), *b = aligned_alloc(64, uvl_size());
	const char *failure = NULL;
	u32_t first[4], second[4];

	uvl_init_secret(a, (struct uvl_secret){1, 2});
	uvl_init_secret(b, (struct uvl_secret){1, 2});
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < 4; i++) {
			uvl_enter(a);
			first[i] = uvl_rand();
			uvl_enter(b);
			second[i] = uvl_rand();
		}
		bool same = memcmp(first, second, sizeof(first)) == 0;

		if (same != (round == 0))
			failure = round == 0 ? "the same secret gave different numbers"
					     : "different secrets gave the same numbers";
		uvl_exit(b);
		uvl_init(b);
	}
	uvl_enter(NULL);
	uvl_exit(a);
	uvl_exit(b);
	free(a);
	free(b);
	return failure;
}

int
main(void)
{
	static struct run runs[2] = {{.number = 1}, {.number = 2}};
	pthread_t threads[2];
	int failed = 0;
	const char *failure = check_secrets();

	printf("struct uvl: %zu bytes, with tables: %zu\n", sizeof(struct uvl), uvl_size());
	for (int i = 0; i < 2; i++)
		if (pthread_create(&threads[i], NULL, run_instance, &runs[i]) != 0)
			return 1;
	for (int i = 0; i < 2; i++) {
		pthread_join(threads[i], NULL);
		printf("instance %d: %" PRIu32 " bytes, %" PRIu32 " datagrams, %" PRIu32
		       " ms of its time: %s\n",
		       i, runs[i].received, runs[i].datagrams, runs[i].now,
		       runs[i].failure == NULL ? "ok" : runs[i].failure);
		failed |= runs[i].failure != NULL;
		free(runs[i].instance);
	}
	if (failure != NULL) {
		printf("secrets: %s\n", failure);
		failed = 1;
	}
	return failed;
}
