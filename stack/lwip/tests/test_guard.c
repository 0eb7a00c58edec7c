/* SPDX-License-Identifier: BSD-3-Clause */
/* Listeners, limits and time-outs: what keeps a server up when its clients are many or hostile. */
#include "simtest.h"

#include <stdlib.h>
#include <string.h>

#include "lwip/prot/tcp.h"
#include "lwip/tcp.h"

#define PORT 80

/* A server on host 1 that takes what comes; connections by hand or by host 0's lwIP. */
struct shop {
	struct sim sim;
	struct tcp_pcb *listener, *last;
	unsigned int accepted, closed, received, errors, connected;
	bool hold; /* do not accept: connections wait in the listener's queue */
	struct ear ear;
};

static struct sim_host *
server(struct shop *shop)
{
	return &shop->sim.host[1];
}

static struct uvl_guard *
guard(struct shop *shop)
{
	return &server(shop)->uvl->guard;
}

static err_t
shop_recv(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err)
{
	struct shop *shop = arg;

	(void)err;
	if (p == NULL) {
		shop->closed++;
		return tcp_close(pcb);
	}
	shop->received += p->tot_len;
	tcp_recved(pcb, p->tot_len);
	pbuf_free(p);
	return ERR_OK;
}

static void
shop_err(void *arg, err_t err)
{
	struct shop *shop = arg;

	(void)err;
	shop->errors++;
}

static err_t
shop_accept(void *arg, struct tcp_pcb *pcb, err_t err)
{
	struct shop *shop = arg;

	if (pcb == NULL || err != ERR_OK)
		return ERR_VAL;
	shop->accepted++;
	shop->last = pcb;
	tcp_arg(pcb, shop);
	tcp_recv(pcb, shop_recv);
	tcp_err(pcb, shop_err);
	if (shop->hold)
		tcp_backlog_delayed(pcb);
	return ERR_OK;
}

static struct tcp_pcb *
listen_at(struct shop *shop, const ip_addr_t *address, uint16_t port, uint16_t backlog)
{
	struct tcp_pcb *pcb;

	sim_enter(server(shop));
	pcb = tcp_new();
	CHECK(tcp_bind(pcb, address, port) == ERR_OK, "port %u cannot be bound", port);
	pcb = tcp_listen_with_backlog(pcb, backlog);
	tcp_arg(pcb, shop);
	tcp_accept(pcb, shop_accept);
	return pcb;
}

static void
shop_open(struct shop *shop, uint16_t backlog)
{
	memset(shop, 0, sizeof(*shop));
	sim_init(&shop->sim, 1);
	shop->listener = listen_at(shop, IP_ADDR_ANY, PORT, backlog);
}

static void
shop_close(struct shop *shop)
{
	simtest_no_asserts(&shop->sim);
	sim_exit(&shop->sim);
}

static err_t
on_connected(void *arg, struct tcp_pcb *pcb, err_t err)
{
	struct shop *shop = arg;

	(void)pcb;
	(void)err;
	shop->connected++;
	return ERR_OK;
}

/* From host 0, by its lwIP. */
static struct tcp_pcb *
client(struct shop *shop)
{
	struct tcp_pcb *pcb;

	sim_enter(&shop->sim.host[0]);
	pcb = tcp_new();
	tcp_arg(pcb, shop);
	tcp_err(pcb, shop_err);
	tcp_recv(pcb, shop_recv);
	tcp_nagle_disable(pcb);
	tcp_connect(pcb, &server(shop)->address, PORT, on_connected);
	return pcb;
}

static void
wait_ms(struct shop *shop, unsigned int ms)
{
	sim_run(&shop->sim, ms * 1000ull, NULL, NULL);
}

static void
syn(struct shop *shop, uint16_t port)
{
	struct segment s = {.from = port,
			    .to = PORT,
			    .seqno = port * 1000u,
			    .flags = TCP_SYN,
			    .window = 8000,
			    .options = {2, 4, 0x05, 0xb4, 3, 3, 7, 1},
			    .option_bytes = 8};

	simtest_segment(server(shop), &s);
}

/* ---- listeners --------------------------------------------------------------------------------
 */

static void
test_by_port(void)
{
	struct shop shop;
	struct tcp_pcb *here, *both, *found;

	shop_open(&shop, 10);
	for (uint16_t port = 1000; port < 5000; port++)
		listen_at(&shop, IP_ADDR_ANY, port, 1);
	here = listen_at(&shop, &server(&shop)->address, 5000, 1);
	both = listen_at(&shop, IP_ADDR_ANY, 5256, 1); /* the same bucket */
	for (uint16_t port = 1000; port < 5000; port++) {
		found = (struct tcp_pcb *)uvl_listen_find(&server(&shop)->address, port,
							  &server(&shop)->netif);
		CHECK(found != NULL && found->local_port == port, "no listener at port %u", port);
	}
	found = (struct tcp_pcb *)uvl_listen_find(&server(&shop)->address, 5000,
						  &server(&shop)->netif);
	CHECK(found == here, "not the listener at the address");
	found = (struct tcp_pcb *)uvl_listen_find(&shop.sim.host[0].address, 5000,
						  &server(&shop)->netif);
	CHECK(found == NULL, "a listener for another address");
	tcp_close(here);
	found = (struct tcp_pcb *)uvl_listen_find(&server(&shop)->address, 5256,
						  &server(&shop)->netif);
	CHECK(found == both, "lost with its neighbour");
	shop_close(&shop);
}

/* A closed listener's half-open connections are refused, its waiting ones and others go on. */
static void
test_closed_listener(void)
{
	struct shop shop;

	shop_open(&shop, 10);
	simtest_listen_in(server(&shop), &shop.ear);
	syn(&shop, 1);
	shop.hold = true;
	client(&shop);
	wait_ms(&shop, 10);
	CHECK(shop.accepted == 1 && guard(&shop)->half_open == 1, "%u waiting, %u half open",
	      shop.accepted, guard(&shop)->half_open);
	sim_enter(server(&shop));
	tcp_close(shop.listener);
	CHECK(guard(&shop)->half_open == 0, "%u half open without a listener",
	      guard(&shop)->half_open);
	shop.ear.resets = 0;
	sim_enter(server(&shop));
	for (struct tcp_pcb *pcb = tcp_active_pcbs; pcb != NULL; pcb = pcb->next) {
		if (pcb->state == SYN_RCVD) {
			struct segment ack = {.from = 1,
					      .to = PORT,
					      .seqno = 1001,
					      .ackno = pcb->snd_nxt,
					      .flags = TCP_ACK,
					      .window = 1};

			simtest_segment(server(&shop), &ack);
			break;
		}
	}
	CHECK(shop.ear.resets == 1, "the half-open connection was not refused");
	CHECK(shop.last->state == ESTABLISHED, "the waiting connection is gone");
	shop_close(&shop);
}

/* ---- cookies ----------------------------------------------------------------------------------
 */

/* Half-open connections fill the queue; a client that means it gets in all the same. */
static void
test_cookie(void)
{
	static const char data[3000];
	struct shop shop;
	struct tcp_pcb *pcb;

	shop_open(&shop, 64);
	simtest_listen_in(server(&shop), &shop.ear);
	for (uint16_t port = 1; port <= 100; port++)
		syn(&shop, port);
	CHECK(shop.ear.syn_acks == 100, "%u of 100 SYNs were answered", shop.ear.syn_acks);
	CHECK(guard(&shop)->half_open == 64 && guard(&shop)->pcbs == 64,
	      "%u half open, %u PCBs: 64 may be", guard(&shop)->half_open, guard(&shop)->pcbs);
	CHECK(guard(&shop)->stats.cookies_sent == 36, "%u cookies",
	      (unsigned int)guard(&shop)->stats.cookies_sent);

	pcb = client(&shop);
	wait_ms(&shop, 10);
	CHECK(shop.connected == 1 && shop.accepted == 1 &&
		      guard(&shop)->stats.cookies_accepted == 1,
	      "%u connected, %u accepted", shop.connected, shop.accepted);
	CHECK(pcb->mss == 1460 && shop.last->mss == 1460, "segments of %u and %u bytes", pcb->mss,
	      shop.last->mss);
	CHECK(!(pcb->flags & TF_WND_SCALE), "a window scale that the cookie cannot carry");
	sim_enter(&shop.sim.host[0]);
	for (int i = 0; i < 10; i++)
		tcp_write(pcb, data, sizeof(data), TCP_WRITE_FLAG_COPY);
	tcp_output(pcb);
	wait_ms(&shop, 100);
	CHECK(shop.received == 30000, "%u bytes arrived", shop.received);
	shop_close(&shop);
}

/* The answer to a cookie, made by hand from the SYN-ACK that was heard last. */
static void
answer(struct shop *shop, uint16_t port, uint32_t guess)
{
	struct segment ack = {.from = port,
			      .to = PORT,
			      .seqno = port * 1000u + 1,
			      .ackno = shop->ear.last.seqno + 1 + guess,
			      .flags = TCP_ACK,
			      .window = 8000};

	simtest_segment(server(shop), &ack);
}

static void
test_cookie_forged(void)
{
	struct shop shop;

	shop_open(&shop, 1);
	simtest_listen_in(server(&shop), &shop.ear);
	syn(&shop, 1);
	for (uint32_t bit = 0; bit < 32; bit++) {
		syn(&shop, 2);
		answer(&shop, 2, 1u << bit);
	}
	CHECK(shop.accepted == 0, "a guessed cookie was taken");
	CHECK(guard(&shop)->stats.cookies_refused == 32 && shop.ear.resets == 32,
	      "%u refused, %u resets", (unsigned int)guard(&shop)->stats.cookies_refused,
	      shop.ear.resets);
	/* somebody else's */
	syn(&shop, 2);
	answer(&shop, 3, 0);
	CHECK(shop.accepted == 0, "the cookie of another connection was taken");
	syn(&shop, 2);
	answer(&shop, 2, 0);
	CHECK(shop.accepted == 1, "the true one was not");

	/* good for two minutes, and then no more */
	syn(&shop, 1);
	shop.hold = false;
	syn(&shop, 5);
	struct ear heard = shop.ear;
	wait_ms(&shop, 190000);
	shop.ear.last = heard.last;
	answer(&shop, 5, 0);
	CHECK(shop.accepted == 1, "a cookie of three minutes ago was taken");
	shop_close(&shop);
}

/* ---- the queue of connections that nobody accepts -----------------------------------------------
 */

static void
test_accept_queue(void)
{
	struct shop shop;
	struct tcp_pcb *first;

	shop_open(&shop, 2);
	shop.hold = true;
	client(&shop);
	wait_ms(&shop, 10);
	first = shop.last;
	/* Their handshakes overtake each other: both SYNs are there before the queue is full. */
	client(&shop);
	client(&shop);
	wait_ms(&shop, 100);
	CHECK(shop.accepted == 2, "%u in a queue of 2", shop.accepted);
	CHECK(guard(&shop)->half_open == 1, "%u half open", guard(&shop)->half_open);
	/* A SYN now finds no room at all. */
	simtest_listen_in(server(&shop), &shop.ear);
	syn(&shop, 7);
	CHECK(shop.ear.all == 0, "a SYN was answered though the queue is full");
	CHECK(guard(&shop)->stats.accept_queue_full >= 2, "not counted");
	sim_enter(server(&shop));
	tcp_backlog_accepted(first);
	wait_ms(&shop, 1500);
	CHECK(shop.accepted == 3 && guard(&shop)->half_open == 0,
	      "%u accepted after one left the queue, %u half open", shop.accepted,
	      guard(&shop)->half_open);
	CHECK(shop.errors == 0, "%u errors", shop.errors);
	shop_close(&shop);
}

/* ---- SYN-ACKs ---------------------------------------------------------------------------------
 */

static void
test_synack_retries(void)
{
	for (uint8_t retries = 1; retries <= 5; retries += 2) {
		struct shop shop;
		unsigned int least = 1000 * ((2u << retries) - 1);

		shop_open(&shop, 10);
		guard(&shop)->limits.synack_retries = retries;
		simtest_listen_in(server(&shop), &shop.ear);
		shop.ear.deaf = true;
		syn(&shop, 1);
		wait_ms(&shop, least - 200);
		CHECK(guard(&shop)->half_open == 1, "gone too soon, with %u retries", retries);
		wait_ms(&shop, 400);
		CHECK(guard(&shop)->half_open == 0 && guard(&shop)->pcbs == 0,
		      "still there after %u retries", retries);
		CHECK(shop.ear.syn_acks == 1u + retries, "%u SYN-ACKs, not %u", shop.ear.syn_acks,
		      1u + retries);
		shop_close(&shop);
	}
}

/* The peer's repeated SYN is answered, and takes nothing from our own repetitions. */
static void
test_syn_again(void)
{
	struct shop shop;

	shop_open(&shop, 10);
	guard(&shop)->limits.synack_retries = 3;
	simtest_listen_in(server(&shop), &shop.ear);
	shop.ear.deaf = true;
	for (int i = 0; i < 10; i++)
		syn(&shop, 1);
	CHECK(shop.ear.syn_acks == 10, "%u answers to 10 SYNs", shop.ear.syn_acks);
	wait_ms(&shop, 5000);
	CHECK(guard(&shop)->half_open == 1, "gone too soon");
	shop_close(&shop);
}

/* ---- TIME_WAIT --------------------------------------------------------------------------------
 */

/* The server closes first: TIME_WAIT is its. */
static void
serve_one(struct shop *shop)
{
	client(shop);
	wait_ms(shop, 5);
	sim_enter(server(shop));
	tcp_close(shop->last);
	wait_ms(shop, 100);
}

static void
test_time_wait_cap(void)
{
	struct shop shop;

	shop_open(&shop, 100);
	guard(&shop)->limits.time_wait = 10;
	for (int i = 0; i < 25; i++)
		serve_one(&shop);
	CHECK(shop.errors == 0 && shop.accepted == 25, "%u of 25 connections, %u errors",
	      shop.accepted, shop.errors);
	CHECK(guard(&shop)->time_wait == 10 && guard(&shop)->stats.time_wait_full == 15,
	      "%u in TIME_WAIT, %u cut short", guard(&shop)->time_wait,
	      (unsigned int)guard(&shop)->stats.time_wait_full);
	wait_ms(&shop, 20000);
	CHECK(guard(&shop)->time_wait == 0 && guard(&shop)->pcbs == 0, "%u stay",
	      guard(&shop)->time_wait);
	shop_close(&shop);
}

static err_t
stay(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err)
{
	(void)arg;
	(void)pcb;
	(void)p;
	(void)err;
	return ERR_OK;
}

/* lwIP counted from the last segment before close(): a slow peer left hardly any TIME_WAIT. */
static void
test_time_wait_from_its_beginning(void)
{
	struct shop shop;
	struct tcp_pcb *pcb;

	shop_open(&shop, 100);
	pcb = client(&shop);
	tcp_recv(pcb, stay);
	wait_ms(&shop, 100);
	sim_enter(server(&shop));
	tcp_close(shop.last);
	wait_ms(&shop, 14000);
	sim_enter(&shop.sim.host[0]);
	tcp_close(pcb);
	wait_ms(&shop, 10000);
	CHECK(guard(&shop)->time_wait == 1, "TIME_WAIT ended early");
	wait_ms(&shop, 10000);
	CHECK(guard(&shop)->time_wait == 0, "TIME_WAIT did not end");
	shop_close(&shop);
}

/* ---- all connections --------------------------------------------------------------------------
 */

static void
test_pcb_cap(void)
{
	struct shop shop;
	struct tcp_pcb *pcbs[8];

	shop_open(&shop, 100);
	guard(&shop)->limits.pcbs = 4;
	for (int i = 0; i < 6; i++)
		pcbs[i] = client(&shop);
	wait_ms(&shop, 100);
	CHECK(shop.accepted == 4 && guard(&shop)->pcbs == 4, "%u of 4 connections", shop.accepted);
	CHECK(guard(&shop)->stats.pcbs_full >= 2, "not counted");
	sim_enter(server(&shop));
	CHECK(tcp_new() == NULL, "a fifth PCB");
	/* One leaves: the one that waited gets in when its SYN comes again. */
	sim_enter(&shop.sim.host[0]);
	tcp_abort(pcbs[0]);
	wait_ms(&shop, 1500);
	CHECK(shop.accepted == 5, "%u connections after one has left", shop.accepted);
	/* One that is only in TIME_WAIT makes room at once. */
	sim_enter(server(&shop));
	tcp_close(shop.last);
	wait_ms(&shop, 5000);
	CHECK(shop.accepted == 6 && guard(&shop)->pcbs <= 4,
	      "%u connections, TIME_WAIT made no room", shop.accepted);
	shop_close(&shop);
}

/* ---- when to give up --------------------------------------------------------------------------
 */

static void
say(struct tcp_pcb *pcb)
{
	tcp_write(pcb, "hello", 5, TCP_WRITE_FLAG_COPY);
	tcp_output(pcb);
}

/* Counted from the first transmission of what is not acknowledged, and begun anew by progress. */
static void
test_user_timeout(void)
{
	struct shop shop;
	struct tcp_pcb *pcb;

	shop_open(&shop, 10);
	pcb = client(&shop);
	wait_ms(&shop, 100);
	pcb->user_timeout = 3000 / TCP_SLOW_INTERVAL;
	for (int i = 0; i < 5; i++) {
		sim_enter(&shop.sim.host[0]);
		say(pcb);
		wait_ms(&shop, 2500);
	}
	CHECK(shop.errors == 0 && shop.received == 25, "given up with %u of 25 bytes there",
	      shop.received);
	shop.sim.host[0].out.loss = 1000000;
	sim_enter(&shop.sim.host[0]);
	say(pcb);
	wait_ms(&shop, 2800);
	CHECK(shop.errors == 0, "given up too soon");
	wait_ms(&shop, 500);
	CHECK(shop.errors == 1, "not given up after 3.3 s");
	shop_close(&shop);
}

/* Also when the peer answers, but takes nothing. */
static void
test_user_timeout_closed_window(void)
{
	struct shop shop;
	struct tcp_pcb *pcb;

	shop_open(&shop, 10);
	pcb = client(&shop);
	wait_ms(&shop, 100);
	pcb->user_timeout = 5000 / TCP_SLOW_INTERVAL;
	shop.last->rcv_wnd = shop.last->rcv_ann_wnd = 0;
	sim_enter(&shop.sim.host[0]);
	pcb->snd_wnd = 0;
	say(pcb);
	wait_ms(&shop, 4000);
	CHECK(shop.errors == 0, "given up too soon");
	wait_ms(&shop, 2000);
	CHECK(shop.errors == 1, "not given up");
	shop_close(&shop);
}

static void
test_user_timeout_keepalive(void)
{
	struct shop shop;
	struct tcp_pcb *pcb;

	shop_open(&shop, 10);
	pcb = client(&shop);
	wait_ms(&shop, 100);
	pcb->user_timeout = 6000 / TCP_SLOW_INTERVAL;
	pcb->keep_idle = 2000;
	pcb->keep_intvl = 1000;
	pcb->keep_cnt = 100;
	ip_set_option(pcb, SOF_KEEPALIVE);
	uvl_tcp_due(pcb);
	wait_ms(&shop, 20000);
	CHECK(shop.errors == 0, "given up though it is answered");
	shop.sim.host[0].out.loss = 1000000;
	/* It was heard last up to 2 s ago. */
	wait_ms(&shop, 3900);
	CHECK(shop.errors == 0, "given up too soon");
	wait_ms(&shop, 3000);
	CHECK(shop.errors == 1, "100 probes are waited for");
	shop_close(&shop);
}

static void
test_syn_retries(void)
{
	struct shop shop;
	struct tcp_pcb *pcb;

	shop_open(&shop, 10);
	simtest_listen_in(&shop.sim.host[0], &shop.ear);
	shop.ear.deaf = true;
	pcb = client(&shop);
	pcb->syn_retries = 2;
	wait_ms(&shop, 6800);
	CHECK(shop.errors == 0, "given up too soon");
	wait_ms(&shop, 500);
	CHECK(shop.errors == 1 && shop.ear.all == 3, "%u SYNs, %u errors", shop.ear.all,
	      shop.errors);
	shop_close(&shop);
}

/* ---- TCP_DEFER_ACCEPT -------------------------------------------------------------------------
 */

static void
test_defer_accept(void)
{
	struct shop shop;
	struct tcp_pcb *pcb;

	shop_open(&shop, 10);
	((struct tcp_pcb_listen *)shop.listener)->defer_accept = 3; /* 7 s */
	simtest_listen_in(server(&shop), &shop.ear);
	pcb = client(&shop);
	wait_ms(&shop, 500);
	CHECK(shop.connected == 1 && shop.accepted == 0, "%u connected, %u accepted",
	      shop.connected, shop.accepted);
	sim_enter(&shop.sim.host[0]);
	say(pcb);
	wait_ms(&shop, 10);
	CHECK(shop.accepted == 1 && shop.received == 5, "%u accepted, %u bytes", shop.accepted,
	      shop.received);

	/* One that says nothing is asked no more until the time is nearly over, and accepted. */
	client(&shop);
	wait_ms(&shop, 100);
	shop.ear.syn_acks = 0;
	wait_ms(&shop, 2700);
	CHECK(shop.ear.syn_acks == 0, "%u SYN-ACKs to one that has acknowledged it",
	      shop.ear.syn_acks);
	CHECK(shop.accepted == 1, "accepted without data");
	wait_ms(&shop, 5000);
	CHECK(shop.accepted == 2 && shop.ear.syn_acks == 1, "%u accepted in the end, %u SYN-ACKs",
	      shop.accepted, shop.ear.syn_acks);
	shop_close(&shop);
}

#define TEST(name)                 \
	{                          \
#name, test_##name \
	}
static const struct simtest tests[] = {
	TEST(by_port),
	TEST(closed_listener),
	TEST(cookie),
	TEST(cookie_forged),
	TEST(accept_queue),
	TEST(synack_retries),
	TEST(syn_again),
	TEST(time_wait_cap),
	TEST(time_wait_from_its_beginning),
	TEST(pcb_cap),
	TEST(user_timeout),
	TEST(user_timeout_closed_window),
	TEST(user_timeout_keepalive),
	TEST(syn_retries),
	TEST(defer_accept),
};

int
main(int argc, char **argv)
{
	return simtest_main(argc, argv, tests, sizeof(tests) / sizeof(tests[0]));
}
