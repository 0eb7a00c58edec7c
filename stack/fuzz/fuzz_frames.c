/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Input: frames, time and what an application does, to an lwIP with listeners, connections in every
 * state, UDP and reassembly. It must take all of it: no byte read or written that is not its own
 * (address sanitizer), no failed assertion, limits kept, the tables in agreement, and in the end
 * every allocation given back.
 *
 * An input is a list of steps, each a byte and what it needs; see step().
 */
#include "stack/fuzz/host.h"
#include "stack/fuzz/peer.h"

#include <stdlib.h>

#include "lwip/tcp.h"
#include "lwip/udp.h"

#define PORT  80
#define CONNS 12

/* The application's side of a connection. */
struct conn {
	struct tcp_pcb *pcb; /* NULL: gone */
	struct pbuf *kept;   /* not read */
	uint8_t mood;        /* what it does when data comes: see on_recv() */
};

enum { READS, KEEPS, REFUSES, ECHOES, ABORTS, CLOSES, MOODS };

static struct conn conns[CONNS];
static uint8_t next_mood;

/* ---- the application --------------------------------------------------------------------------
 */

static void
drop_kept(struct conn *c)
{
	if (c->kept != NULL)
		pbuf_free(c->kept);
	c->kept = NULL;
}

static void
on_err(void *arg, err_t err)
{
	struct conn *c = arg;

	(void)err;
	c->pcb = NULL;
	drop_kept(c);
}

static void
let_go(struct conn *c)
{
	tcp_arg(c->pcb, NULL);
	tcp_recv(c->pcb, NULL);
	tcp_sent(c->pcb, NULL);
	tcp_err(c->pcb, NULL);
	c->pcb = NULL;
	drop_kept(c);
}

static void
close_conn(struct conn *c)
{
	struct tcp_pcb *pcb = c->pcb;

	let_go(c);
	if (tcp_close(pcb) != ERR_OK)
		tcp_abort(pcb);
}

static err_t
on_recv(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err)
{
	struct conn *c = arg;

	(void)err;
	if (c->mood == REFUSES)
		return ERR_MEM;
	if (c->mood == ABORTS) {
		if (p != NULL)
			pbuf_free(p);
		let_go(c);
		tcp_abort(pcb);
		return ERR_ABRT;
	}
	if (p == NULL)
		return ERR_OK;
	if (c->mood == KEEPS) {
		if (c->kept == NULL)
			c->kept = p;
		else
			pbuf_cat(c->kept, p);
		return ERR_OK;
	}
	if (c->mood == ECHOES)
		tcp_write(pcb, p->payload, p->len, TCP_WRITE_FLAG_COPY);
	tcp_recved(pcb, p->tot_len);
	pbuf_free(p);
	if (c->mood == CLOSES)
		close_conn(c);
	return ERR_OK;
}

static struct conn *
free_slot(void)
{
	for (size_t i = 0; i < CONNS; i++)
		if (conns[i].pcb == NULL)
			return &conns[i];
	return NULL;
}

static void
take(struct conn *c, struct tcp_pcb *pcb)
{
	*c = (struct conn){.pcb = pcb, .mood = next_mood % MOODS};
	tcp_arg(pcb, c);
	tcp_recv(pcb, on_recv);
	tcp_err(pcb, on_err);
}

static err_t
on_accept(void *arg, struct tcp_pcb *pcb, err_t err)
{
	struct conn *c = free_slot();

	(void)arg;
	if (err != ERR_OK || pcb == NULL || c == NULL)
		return ERR_VAL;
	take(c, pcb);
	tcp_backlog_delayed(pcb);
	return ERR_OK;
}

static void
on_datagram(void *arg, struct udp_pcb *pcb, struct pbuf *p, const ip_addr_t *from, u16_t port)
{
	(void)arg;
	udp_sendto(pcb, p, from, port);
	pbuf_free(p);
}

static void
listen_on(uint16_t port, uint16_t backlog)
{
	struct tcp_pcb *pcb = tcp_new_ip_type(IPADDR_TYPE_ANY);

	if (pcb == NULL)
		return;
	if (tcp_bind(pcb, IP_ANY_TYPE, port) != ERR_OK) {
		tcp_close(pcb);
		return;
	}
	struct tcp_pcb *listener = tcp_listen_with_backlog(pcb, backlog);
	if (listener == NULL)
		tcp_close(pcb);
	else
		tcp_accept(listener, on_accept);
}

static void
connect_to(uint16_t port)
{
	struct conn *c = free_slot();
	struct tcp_pcb *pcb = c == NULL ? NULL : tcp_new();
	ip_addr_t peer = IPADDR4_INIT(0);

	if (pcb == NULL)
		return;
	ip_2_ip4(&peer)->addr = lwip_htonl(FUZZ_PEER_IP);
	take(c, pcb);
	if (tcp_connect(pcb, &peer, port, NULL) != ERR_OK) {
		let_go(c);
		tcp_abort(pcb);
	}
}

static void
act(struct input *in)
{
	struct conn *c = &conns[input_u8(in) % CONNS];
	uint8_t what = input_u8(in);
	static const char text[20000];

	next_mood = what / 16;
	if (c->pcb == NULL) {
		connect_to((uint16_t)(1 + what));
		return;
	}
	switch (what % 8) {
	case 0:
		tcp_write(c->pcb, text, 1 + input_u16(in) % sizeof(text), TCP_WRITE_FLAG_COPY);
		tcp_output(c->pcb);
		break;
	case 1:
		for (struct pbuf *p = c->kept; p != NULL; p = p->next)
			tcp_recved(c->pcb, p->len);
		drop_kept(c);
		break;
	case 2:
		c->mood = next_mood % MOODS;
		break;
	case 3:
		tcp_shutdown(c->pcb, 0, 1);
		break;
	case 4:
		close_conn(c);
		break;
	case 5: {
		struct tcp_pcb *pcb = c->pcb;

		let_go(c);
		tcp_abort(pcb);
		break;
	}
	case 6:
		tcp_backlog_accepted(c->pcb);
		break;
	default:
		ip_set_option(c->pcb, SOF_KEEPALIVE);
		c->pcb->keep_idle = what * 100u;
		break;
	}
}

static void
connect_from_outside(struct input *in)
{
	uint8_t which = input_u8(in);

	next_mood = input_u8(in);
	peer_handshake(in, which, PORT + which % 2, next_mood & 0x80);
}

/* ---- what must hold ---------------------------------------------------------------------------
 */

static void
must(bool holds)
{
	if (!holds)
		abort();
}

static void
check(void)
{
	const struct uvl_guard *g = &fuzz_uvl->guard;
	unsigned int active = 0, half_open = 0, time_wait = 0;

	for (const struct tcp_pcb *p = tcp_active_pcbs; p != NULL; p = p->next) {
		active++;
		half_open += p->is_half_open;
		must(p->rcv_wnd <= TCP_WND);
		must(uvl_tcp_find(&p->local_ip, p->local_port, &p->remote_ip, p->remote_port,
				  NULL) == p);
	}
	for (const struct tcp_pcb *p = tcp_tw_pcbs; p != NULL; p = p->next)
		time_wait++;
	must(half_open == g->half_open && half_open <= g->limits.half_open);
	must(time_wait == g->time_wait && time_wait <= g->limits.time_wait);
	must(g->pcbs <= g->limits.pcbs && active + time_wait <= g->pcbs);
	must(fuzz_uvl->ip_reass_pbufcount_ <= IP_REASS_MAX_PBUFS);
}

static void
step(struct input *in)
{
	switch (input_u8(in) % 12) {
	case 0:
		peer_frame(in, false);
		break;
	case 1:
		peer_frame(in, true);
		break;
	case 2:
		peer_ipv4(in);
		break;
	case 3:
	case 4:
		connect_from_outside(in);
		break;
	case 5:
		act(in);
		break;
	case 6:
		host_wait(input_u8(in) * 4u);
		break;
	case 7:
		host_wait(input_u8(in) * 256u);
		break;
	case 8:
		host_fail(input_u8(in));
		break;
	default:
		peer_near(in);
		break;
	}
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	return 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	struct udp_pcb *udp;
	static struct netif netif;

	memset(conns, 0, sizeof(conns));
	next_mood = READS;
	host_up(&netif);
	fuzz_uvl->guard.limits = (struct uvl_limits){
		.pcbs = 24, .half_open = 6, .time_wait = 4, .synack_retries = 2};
	listen_on(PORT, 4);
	listen_on(PORT + 1, 1);
	udp = udp_new_ip_type(IPADDR_TYPE_ANY);
	udp_bind(udp, IP_ANY_TYPE, 53);
	udp_recv(udp, on_datagram, NULL);
	for (int steps = 0; in.left > 0 && steps < 400; steps++)
		step(&in);
	check();
	for (size_t i = 0; i < CONNS; i++)
		drop_kept(&conns[i]);
	host_down();
	return 0;
}
