/* SPDX-License-Identifier: BSD-3-Clause */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lwip/tcp.h"

static struct sim *current;

u32_t
sys_now(void)
{
	return current == NULL ? 0 : (u32_t)(current->now / 1000);
}

uint64_t
uvl_now_us(void)
{
	return current == NULL ? 0 : current->now;
}

void
sim_enter(struct sim_host *host)
{
	uvl_enter(host->uvl);
}

/* splitmix64 */
uint64_t
sim_chance(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

/* In the order in which they arrive; normally that is at the end. */
static void
enqueue(struct sim_link *link, struct sim_packet *packet)
{
	struct sim_packet **at = &link->first;

	if (link->first == NULL || link->latest <= packet->arrival)
		at = link->last;
	while (*at != NULL && (*at)->arrival <= packet->arrival)
		at = &(*at)->next;
	packet->next = *at;
	*at = packet;
	if (packet->next == NULL) {
		link->last = &packet->next;
		link->latest = packet->arrival;
	}
}

void
sim_delay(struct sim_host *host, const void *data, uint32_t length, uint64_t more)
{
	struct sim_packet *packet = malloc(sizeof(*packet) + length);

	if (packet == NULL)
		abort();
	packet->length = length;
	packet->arrival = host->sim->now + host->out.delay + more;
	memcpy(packet->data, data, length);
	enqueue(&host->out, packet);
}

static err_t
output(struct netif *netif, struct pbuf *p, const ip4_addr_t *to)
{
	struct sim_host *host = netif->state;
	struct sim_link *link = &host->out;
	uint64_t now = host->sim->now * 1000, start = LWIP_MAX(now, link->free_at);

	(void)to;
	struct sim_packet *packet = malloc(sizeof(*packet) + p->tot_len);
	if (packet == NULL)
		return ERR_MEM;
	packet->length = p->tot_len;
	pbuf_copy_partial(p, packet->data, p->tot_len, 0);
	if (host->filter != NULL &&
	    host->filter(host, packet->data, packet->length, host->filter_arg)) {
		link->lost++;
		free(packet);
		return ERR_OK;
	}
	/* Ethernet's own bytes count on the wire: header, FCS, preamble, gap. */
	uint64_t on_wire = link->mbit == 0 ? 0 : ((uint64_t)p->tot_len + 38) * 8000 / link->mbit;
	if (link->queue != 0 && link->mbit != 0) {
		uint64_t backlog = (start - now) * link->mbit / 8000 / 1538;

		if (backlog >= link->queue) {
			link->dropped++;
			free(packet);
			return ERR_OK;
		}
	}
	link->sent++;
	link->free_at = start + on_wire;
	if (link->loss != 0 && sim_chance(&link->random) % 1000000 < link->loss) {
		link->lost++;
		free(packet);
		return ERR_OK;
	}
	packet->arrival = link->free_at / 1000 + link->delay;
	enqueue(link, packet);
	return ERR_OK;
}

static err_t
netif_up(struct netif *netif)
{
	netif->mtu = 1500;
	netif->name[0] = 's';
	netif->name[1] = 'm';
	netif->output = output;
	return ERR_OK;
}

void
sim_init(struct sim *sim, uint64_t seed)
{
	memset(sim, 0, sizeof(*sim));
	sim->now = 1000;
	current = sim;
	for (unsigned int i = 0; i < 2; i++) {
		struct sim_host *host = &sim->host[i];
		ip4_addr_t address, mask, gateway;

		host->sim = sim;
		host->peer = &sim->host[1 - i];
		host->out.delay = 100;
		host->out.random = seed * 2 + i;
		host->out.last = &host->out.first;
		host->uvl = aligned_alloc(64, uvl_size());
		if (host->uvl == NULL)
			abort();
		uvl_init_secret(host->uvl, (struct uvl_secret){seed, i});
		uvl_enter(host->uvl);
		IP4_ADDR(&address, 10, 0, 0, 1 + i);
		IP4_ADDR(&mask, 255, 255, 255, 0);
		ip4_addr_set_any(&gateway);
		netif_add(&host->netif, &address, &mask, &gateway, host, netif_up, ip_input);
		netif_set_default(&host->netif);
		netif_set_up(&host->netif);
		netif_set_link_up(&host->netif);
		ip_addr_copy_from_ip4(host->address, address);
	}
	uvl_enter(NULL);
}

void
sim_exit(struct sim *sim)
{
	for (int i = 0; i < 2; i++) {
		struct sim_link *link = &sim->host[i].out;

		uvl_exit(sim->host[i].uvl);
		free(sim->host[i].uvl);
		while (link->first != NULL) {
			struct sim_packet *packet = link->first;

			link->first = packet->next;
			free(packet);
		}
	}
	uvl_enter(NULL);
	current = NULL;
}

static void
arrive(struct sim_host *host, const void *data, uint32_t length)
{
	uvl_enter(host->uvl);
	struct pbuf *p = pbuf_alloc(PBUF_RAW, (u16_t)length, PBUF_RAM);

	if (p == NULL)
		return;
	pbuf_take(p, data, (u16_t)length);
	if (host->netif.input(p, &host->netif) != ERR_OK)
		pbuf_free(p);
}

void
sim_inject(struct sim_host *host, const void *packet, uint32_t length)
{
	NETIF_SET_CHECKSUM_CTRL(&host->netif, 0);
	arrive(host, packet, length);
	NETIF_SET_CHECKSUM_CTRL(&host->netif, NETIF_CHECKSUM_ENABLE_ALL);
}

bool
sim_run(struct sim *sim, uint64_t duration, bool (*done)(void *arg), void *arg)
{
	uint64_t end = sim->now + duration;

	for (;;) {
		uint64_t next = end;
		struct sim_host *receiver = NULL;

		if (done != NULL && done(arg))
			return true;
		for (int i = 0; i < 2; i++) {
			struct sim_host *host = &sim->host[i];

			uvl_enter(host->uvl);
			u32_t sleep = sys_timeouts_sleeptime();
			if (sleep != SYS_TIMEOUTS_SLEEPTIME_INFINITE) {
				/* Timers are due on whole milliseconds. */
				uint64_t at = (sim->now / 1000 + sleep) * 1000;

				next = LWIP_MIN(next, LWIP_MAX(at, sim->now));
			}
			if (host->out.first != NULL && host->out.first->arrival <= next) {
				if (receiver == NULL || host->out.first->arrival < next)
					receiver = host->peer;
				next = host->out.first->arrival;
			}
		}
		if (receiver != NULL && receiver->peer->out.first->arrival > next)
			receiver = NULL;
		if (next >= end) {
			sim->now = end;
			return done != NULL && done(arg);
		}
		sim->now = next;
		if (receiver != NULL) {
			struct sim_link *link = &receiver->peer->out;
			struct sim_packet *packet = link->first;

			link->first = packet->next;
			if (link->first == NULL)
				link->last = &link->first;
			arrive(receiver, packet->data, packet->length);
			free(packet);
		} else {
			for (int i = 0; i < 2; i++) {
				uvl_enter(sim->host[i].uvl);
				sys_check_timeouts();
			}
		}
	}
}

/* ---- streams -----------------------------------------------------------------------------------
 */

#define STREAM_PORT 7

static unsigned char
pattern(uint64_t position)
{
	return (unsigned char)(position * 31 + (position >> 8) * 7);
}

static err_t
stream_recv(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err)
{
	struct sim_stream *s = arg;

	(void)err;
	if (p == NULL) {
		s->server = NULL;
		tcp_arg(pcb, NULL);
		tcp_recv(pcb, NULL);
		tcp_err(pcb, NULL);
		return tcp_close(pcb);
	}
	for (const struct pbuf *q = p; q != NULL; q = q->next)
		for (uint32_t i = 0; i < q->len; i++)
			s->wrong |=
				((const unsigned char *)q->payload)[i] != pattern(s->received++);
	if (s->keep) {
		if (s->kept == NULL)
			s->kept = p;
		else
			pbuf_cat(s->kept, p);
		return ERR_OK;
	}
	tcp_recved(pcb, p->tot_len);
	pbuf_free(p);
	return ERR_OK;
}

static void
stream_server_err(void *arg, err_t err)
{
	struct sim_stream *s = arg;

	(void)err;
	s->server = NULL;
	s->failed = true;
}

static err_t
stream_accept(void *arg, struct tcp_pcb *pcb, err_t err)
{
	struct sim_stream *s = arg;

	(void)err;
	if (pcb == NULL)
		return ERR_MEM;
	s->server = pcb;
	tcp_arg(pcb, s);
	tcp_recv(pcb, stream_recv);
	tcp_err(pcb, stream_server_err);
	return ERR_OK;
}

void
sim_stream_fill(struct sim_stream *s)
{
	unsigned char chunk[8192];

	while (s->written < s->want) {
		uint64_t length = LWIP_MIN(tcp_sndbuf(s->client), sizeof(chunk));

		length = LWIP_MIN(length, s->want - s->written);
		if (length == 0)
			break;
		for (uint64_t i = 0; i < length; i++)
			chunk[i] = pattern(s->written + i);
		if (tcp_write(s->client, chunk, (u16_t)length, TCP_WRITE_FLAG_COPY) != ERR_OK)
			break;
		s->written += length;
	}
	tcp_output(s->client);
}

static err_t
stream_sent(void *arg, struct tcp_pcb *pcb, u16_t length)
{
	(void)pcb;
	(void)length;
	sim_stream_fill(arg);
	return ERR_OK;
}

static err_t
stream_connected(void *arg, struct tcp_pcb *pcb, err_t err)
{
	struct sim_stream *s = arg;

	(void)pcb;
	(void)err;
	s->established = true;
	sim_stream_fill(s);
	return ERR_OK;
}

static void
stream_client_err(void *arg, err_t err)
{
	struct sim_stream *s = arg;

	(void)err;
	s->client = NULL;
	s->failed = true;
}

static bool
stream_open(void *arg)
{
	struct sim_stream *s = arg;

	return s->failed || (s->established && s->server != NULL);
}

void
sim_stream_open(struct sim_stream *s, struct sim_host *from, struct sim_host *to, uint64_t want)
{
	memset(s, 0, sizeof(*s));
	s->from = from;
	s->to = to;
	s->want = want;

	sim_enter(to);
	s->listener = tcp_new();
	tcp_bind(s->listener, IP_ADDR_ANY, STREAM_PORT);
	s->listener = tcp_listen(s->listener);
	tcp_arg(s->listener, s);
	tcp_accept(s->listener, stream_accept);

	sim_enter(from);
	s->client = tcp_new();
	tcp_arg(s->client, s);
	/* or the last, short segment waits for a delayed acknowledgment */
	tcp_nagle_disable(s->client);
	tcp_sent(s->client, stream_sent);
	tcp_err(s->client, stream_client_err);
	tcp_connect(s->client, &to->address, STREAM_PORT, stream_connected);
	sim_run(from->sim, 120 * 1000000ull, stream_open, s);
}

void
sim_stream_read(struct sim_stream *s)
{
	sim_enter(s->to);
	for (struct pbuf *p = s->kept; p != NULL; p = p->next)
		tcp_recved(s->server, p->len);
	if (s->kept != NULL)
		pbuf_free(s->kept);
	s->kept = NULL;
}

bool
sim_stream_done(void *stream)
{
	const struct sim_stream *s = stream;

	return s->failed || s->received == s->want;
}

void
sim_stream_close(struct sim_stream *s)
{
	sim_enter(s->from);
	if (s->client != NULL) {
		tcp_arg(s->client, NULL);
		tcp_sent(s->client, NULL);
		tcp_err(s->client, NULL);
		tcp_abort(s->client);
	}
	sim_enter(s->to);
	if (s->server != NULL) {
		tcp_err(s->server, NULL);
		tcp_abort(s->server);
	}
	if (s->kept != NULL)
		pbuf_free(s->kept);
	tcp_close(s->listener);
	uvl_enter(NULL);
}
