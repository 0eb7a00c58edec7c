/* SPDX-License-Identifier: BSD-3-Clause */
/* What was changed in lwIP's TCP, each change by the behaviour it is for, on a simulated wire. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "simtest.h"
#include "lwip/inet_chksum.h"
#include "lwip/prot/ip4.h"
#include "lwip/prot/tcp.h"
#include "lwip/tcp.h"

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
		simtest_no_asserts(&sim);
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

/* ---- timers -----------------------------------------------------------------------------------
 */

/* Counts segments with data and loses the one it is asked to. */
struct lose_data {
	unsigned int seen, which, times;
	uint8_t flags; /* not data, but segments with one of these flags */
};

static bool
lose_data(struct sim_host *host, const unsigned char *packet, uint32_t length, void *arg)
{
	struct lose_data *lose = arg;
	const struct tcp_hdr *tcp = (const struct tcp_hdr *)(packet + IP_HLEN);

	(void)host;
	if (lose->flags != 0 ? (TCPH_FLAGS(tcp) & lose->flags) == 0
			     : length == IP_HLEN + (uint32_t)TCPH_HDRLEN_BYTES(tcp))
		return false;
	lose->seen++;
	return lose->seen >= lose->which && lose->seen < lose->which + lose->times;
}

static void
send_more(struct sim_stream *s, uint64_t bytes)
{
	sim_enter(s->from);
	s->want += bytes;
	sim_stream_fill(s);
}

/* The last segment of a request is lost: no duplicate ACKs, only the timer helps. */
static void
test_retransmission_timeout(void)
{
	struct sim sim;
	struct sim_stream s;
	struct lose_data lose = {0};

	sim_init(&sim, 1);
	sim_stream_open(&s, &sim.host[0], &sim.host[1], 0);
	/* An application that thinks for a while before its first request. */
	sim_run(&sim, 5000000, NULL, NULL);
	send_more(&s, 100);
	CHECK(sim_run(&sim, 1000000, sim_stream_done, &s), "the request did not arrive");
	sim_run(&sim, 100000, NULL, NULL);

	sim.host[0].filter = lose_data;
	sim.host[0].filter_arg = &lose;
	for (unsigned int times = 2; times <= 4; times++) {
		uint64_t start = sim.now;

		/* The segment, its probe, and what the timer sends. */
		lose = (struct lose_data){.which = 1, .times = times};
		send_more(&s, 100);
		CHECK(sim_run(&sim, 60000000, sim_stream_done, &s), "lost for good");
		uint64_t took = (sim.now - start) / 1000, least = 200 * ((1u << (times - 1)) - 1);

		CHECK(took >= least && took <= least + least / 2 + 100,
		      "recovery from %u losses took %llu ms", times, (unsigned long long)took);
		sim_run(&sim, 3000000, NULL, NULL);
	}
	simtest_no_asserts(&sim);
	sim_stream_close(&s);
	sim_exit(&sim);
}

static bool
all_acked(void *arg)
{
	const struct sim_stream *s = arg;

	return s->client->snd_nxt == s->client->lastack;
}

static void
test_delayed_ack(void)
{
	struct sim sim;
	struct sim_stream s;

	sim_init(&sim, 1);
	sim_stream_open(&s, &sim.host[0], &sim.host[1], 0);
	for (int i = 0; i < 50; i++) {
		uint64_t start = sim.now;

		send_more(&s, 10);
		CHECK(sim_run(&sim, 1000000, all_acked, &s), "not acknowledged");
		CHECK(sim.now - start <= 30000, "acknowledged after %llu us",
		      (unsigned long long)(sim.now - start));
		sim_run(&sim, 7777, NULL, NULL);
	}
	simtest_no_asserts(&sim);
	sim_stream_close(&s);
	sim_exit(&sim);
}

static void
test_lost_syn(void)
{
	for (unsigned int times = 0; times <= 3; times++) {
		struct sim sim;
		struct sim_stream s;
		struct lose_data lose = {.which = 1, .times = times, .flags = TCP_SYN};

		sim_init(&sim, 1);
		sim.host[0].filter = lose_data;
		sim.host[0].filter_arg = &lose;
		uint64_t start = sim.now;
		sim_stream_open(&s, &sim.host[0], &sim.host[1], 0);
		uint64_t took = (sim.now - start) / 1000, least = 1000 * ((1u << times) - 1);

		CHECK(!s.failed, "no connection after %u lost SYNs", times);
		CHECK(took + 60 >= least && took <= least + 60,
		      "connection with %u lost SYNs took %llu ms", times, (unsigned long long)took);
		if (!s.failed)
			CHECK(s.client->ssthresh > 100000,
			      "a lost SYN closed the congestion window");
		sim_stream_close(&s);
		sim_exit(&sim);
	}
}

static bool
stream_failed(void *arg)
{
	const struct sim_stream *s = arg;

	return s->failed;
}

static void
test_unreachable(void)
{
	struct sim sim;
	struct sim_stream s;

	sim_init(&sim, 1);
	sim.host[0].out.loss = 1000000;
	uint64_t start = sim.now;
	sim_stream_open(&s, &sim.host[0], &sim.host[1], 0);
	sim_run(&sim, 60000000, stream_failed, &s);
	uint64_t took = (sim.now - start) / 1000000;

	CHECK(s.failed && took >= 126 && took <= 128, "connecting failed after %llu s",
	      (unsigned long long)took);
	CHECK(sim.host[0].out.lost == 7, "%llu SYNs were sent",
	      (unsigned long long)sim.host[0].out.lost);
	sim_stream_close(&s);
	sim_exit(&sim);
}

/* The receiver's window closes; the update that opens it is lost; a probe finds out. */
static void
test_lost_window_update(void)
{
	struct sim sim;
	struct sim_stream s;

	sim_init(&sim, 1);
	sim_stream_open(&s, &sim.host[0], &sim.host[1], 0);
	s.keep = true;
	send_more(&s, 1024 * 1024 + 100000);
	/* What does not make a whole segment at the end waits for the persist timer. */
	sim_run(&sim, 5000000, NULL, NULL);
	/* Scaled, the window is announced in units of 32 bytes. */
	CHECK(s.server->rcv_wnd < 32, "the window did not fill");

	sim.host[1].out.loss = 1000000;
	s.keep = false;
	sim_stream_read(&s);
	sim.host[1].out.loss = 0;
	uint64_t start = sim.now;
	CHECK(sim_run(&sim, 60000000, sim_stream_done, &s), "the connection stands still");
	uint64_t took = (sim.now - start) / 1000;

	CHECK(took >= 500 && took <= 1700, "it took %llu ms to find the window open",
	      (unsigned long long)took);
	CHECK(!s.wrong, "wrong data");
	simtest_no_asserts(&sim);
	sim_stream_close(&s);
	sim_exit(&sim);
}

/* Several losses in one window are mended one per round trip, without the timer. */
static void
test_several_losses(void)
{
	for (unsigned int losses = 1; losses <= 5; losses++) {
		struct sim sim;
		struct sim_stream s;
		struct lose_data lose = {.which = 20, .times = losses};

		sim_init(&sim, 1);
		sim_stream_open(&s, &sim.host[0], &sim.host[1], 0);
		send_more(&s, 500000);
		CHECK(sim_run(&sim, 1000000, sim_stream_done, &s), "the first transfer failed");
		sim.host[0].filter = lose_data;
		sim.host[0].filter_arg = &lose;
		uint64_t start = sim.now;

		send_more(&s, 100000);
		CHECK(sim_run(&sim, 5000000, sim_stream_done, &s), "lost for good");
		uint64_t took = (sim.now - start) / 1000;

		CHECK(took < 20, "%u losses of 70 cost %llu ms", losses, (unsigned long long)took);
		CHECK(!s.wrong, "wrong data");
		simtest_no_asserts(&sim);
		sim_stream_close(&s);
		sim_exit(&sim);
	}
}

/* Four segments, the first of them lost: only limited transmit makes a third duplicate. */
static void
test_early_loss(void)
{
	struct sim sim;
	struct sim_stream s;
	struct lose_data lose = {.which = 8, .times = 1};

	sim_init(&sim, 1);
	sim_stream_open(&s, &sim.host[0], &sim.host[1], 0);
	sim.host[0].filter = lose_data;
	sim.host[0].filter_arg = &lose;
	uint64_t start = sim.now;
	/* Ten segments at once; after the eighth, two arrive, and allow two more. */
	send_more(&s, 14 * 1460);
	CHECK(sim_run(&sim, 5000000, sim_stream_done, &s), "lost for good");
	CHECK(sim.now - start < 50000, "recovery took %llu us",
	      (unsigned long long)(sim.now - start));
	sim_stream_close(&s);
	sim_exit(&sim);
}

/* ---- servers ----------------------------------------------------------------------------------
 */

/* A short answer needs one round trip after the handshake, not three. */
static void
test_initial_window(void)
{
	struct sim sim;
	struct sim_stream s;

	sim_init(&sim, 1);
	sim.host[0].out.delay = sim.host[1].out.delay = 10000;
	sim_stream_open(&s, &sim.host[0], &sim.host[1], 0);
	uint64_t start = sim.now;

	send_more(&s, 14600);
	CHECK(sim_run(&sim, 1000000, sim_stream_done, &s), "nothing arrived");
	CHECK(sim.now - start < 15000, "14600 bytes took %llu us, the way there is 10000",
	      (unsigned long long)(sim.now - start));
	sim_stream_close(&s);
	sim_exit(&sim);
}

/* A SYN to the stream's listener. */
static void
inject_syn(struct sim_stream *s, uint16_t port)
{
	struct {
		struct ip_hdr ip;
		struct tcp_hdr tcp;
	} __attribute__((packed)) packet = {0};

	IPH_VHL_SET(&packet.ip, 4, 5);
	IPH_LEN_SET(&packet.ip, lwip_htons(sizeof(packet)));
	IPH_TTL_SET(&packet.ip, 64);
	IPH_PROTO_SET(&packet.ip, IP_PROTO_TCP);
	packet.ip.src.addr = ip_2_ip4(&s->from->address)->addr;
	packet.ip.dest.addr = ip_2_ip4(&s->to->address)->addr;
	packet.tcp.src = lwip_htons(port);
	packet.tcp.dest = lwip_htons(s->listener->local_port);
	TCPH_HDRLEN_FLAGS_SET(&packet.tcp, 5, TCP_SYN);
	packet.tcp.wnd = lwip_htons(1000);
	sim_inject(s->to, &packet, sizeof(packet));
}

static void
test_backlog(void)
{
	struct sim sim;
	struct sim_stream s;
	unsigned int waiting = 0;

	sim_init(&sim, 1);
	sim_stream_open(&s, &sim.host[0], &sim.host[1], 0);
	/* Nobody answers the SYN-ACKs. */
	sim.host[1].out.loss = 1000000;
	for (uint16_t port = 1; port <= 1500; port++)
		inject_syn(&s, port);
	sim_enter(s.to);
	for (const struct tcp_pcb *pcb = tcp_active_pcbs; pcb != NULL; pcb = pcb->next)
		waiting += pcb->state == SYN_RCVD;
	CHECK(waiting == TCP_DEFAULT_LISTEN_BACKLOG, "%u half-open connections", waiting);
	CHECK(waiting >= 1000, "a backlog of %u", waiting);
	simtest_no_asserts(&sim);
	sim_stream_close(&s);
	sim_exit(&sim);
}

/* ---- many connections --------------------------------------------------------------------------
 */

struct crowd {
	struct sim sim;
	struct tcp_pcb **clients, *listener;
	unsigned int size, accepted, received, errors;
};

static err_t
crowd_recv(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err)
{
	struct crowd *crowd = arg;

	(void)err;
	if (p == NULL)
		return tcp_close(pcb);
	crowd->received += p->tot_len;
	tcp_recved(pcb, p->tot_len);
	pbuf_free(p);
	return ERR_OK;
}

static err_t
crowd_accept(void *arg, struct tcp_pcb *pcb, err_t err)
{
	struct crowd *crowd = arg;

	(void)err;
	crowd->accepted++;
	tcp_arg(pcb, crowd);
	tcp_recv(pcb, crowd_recv);
	return ERR_OK;
}

static void
crowd_err(void *arg, err_t err)
{
	struct crowd *crowd = arg;

	(void)err;
	crowd->errors++;
}

static void
crowd_connect(struct crowd *crowd, unsigned int i, uint16_t port)
{
	struct tcp_pcb *pcb = tcp_new();

	tcp_arg(pcb, crowd);
	tcp_err(pcb, crowd_err);
	tcp_nagle_disable(pcb);
	if (tcp_bind(pcb, IP_ADDR_ANY, port) != ERR_OK)
		crowd->errors++;
	if (tcp_connect(pcb, &crowd->sim.host[1].address, 7, NULL) != ERR_OK)
		crowd->errors++;
	crowd->clients[i] = pcb;
}

static void
crowd_open(struct crowd *crowd, unsigned int size)
{
	memset(crowd, 0, sizeof(*crowd));
	crowd->size = size;
	crowd->clients = calloc(size, sizeof(*crowd->clients));
	sim_init(&crowd->sim, 1);
	sim_enter(&crowd->sim.host[1]);
	crowd->listener = tcp_new();
	tcp_bind(crowd->listener, IP_ADDR_ANY, 7);
	crowd->listener = tcp_listen_with_backlog(crowd->listener, 60000);
	tcp_arg(crowd->listener, crowd);
	tcp_accept(crowd->listener, crowd_accept);
	for (unsigned int i = 0; i < size; i++) {
		sim_enter(&crowd->sim.host[0]);
		crowd_connect(crowd, i, (uint16_t)(1024 + i));
		if (i % 64 == 63)
			sim_run(&crowd->sim, 1000, NULL, NULL);
	}
	sim_run(&crowd->sim, 2000000, NULL, NULL);
	CHECK(crowd->accepted == size && crowd->errors == 0, "%u of %u connections, %u errors",
	      crowd->accepted, size, crowd->errors);
}

static void
crowd_close(struct crowd *crowd)
{
	simtest_no_asserts(&crowd->sim);
	sim_exit(&crowd->sim);
	free(crowd->clients);
}

/* CPU time of a small message on one of the connections after the other, in ns. */
static double
crowd_talk(struct crowd *crowd)
{
	struct timespec a, b;
	const unsigned int rounds = 4000;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
	for (unsigned int i = 0; i < rounds; i++) {
		struct tcp_pcb *pcb = crowd->clients[i * 7919u % crowd->size];

		sim_enter(&crowd->sim.host[0]);
		tcp_write(pcb, "0123456789", 10, TCP_WRITE_FLAG_COPY);
		tcp_output(pcb);
		sim_run(&crowd->sim, 250, NULL, NULL);
	}
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
	CHECK(crowd->received == 10 * rounds, "%u of %u bytes arrived", crowd->received,
	      10 * rounds);
	return ((double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec)) / rounds;
}

/* All of them in the slots that their ticks say; the bits tell which slots are in use. */
static unsigned int
in_wheel(const struct uvl *uvl)
{
	unsigned int n = 0;

	for (unsigned int level = 0; level < UVL_WHEEL_LEVELS; level++)
		for (unsigned int slot = 0; slot < UVL_WHEEL_SLOTS; slot++) {
			const struct tcp_pcb *pcb = uvl->wheel_[level][slot];

			CHECK((uvl->wheel_used_[level] >> slot & 1) == (pcb != NULL),
			      "slot %u of level %u is not as its bit says", slot, level);
			for (; pcb != NULL; pcb = pcb->due_next, n++)
				CHECK((pcb->due_tick >> 6 * level & 63) == slot &&
					      (s32_t)(pcb->due_tick - uvl->tcp_ticks_) > 0,
				      "slot %u of level %u has a PCB for tick %u, at tick %u", slot,
				      level, pcb->due_tick, uvl->tcp_ticks_);
		}
	return n;
}

/* The hash, the port counts and the lists must tell the same story. */
static void
check_lists(struct sim_host *host)
{
	unsigned int listed = 0, hashed = 0, due = 0, soon = 0;
	uint32_t *ports = calloc(65536, sizeof(*ports));

	sim_enter(host);
	for (int list = 0; list < NUM_TCP_PCB_LISTS; list++) {
		for (struct tcp_pcb *pcb = *tcp_pcb_lists[list]; pcb != NULL; pcb = pcb->next) {
			ports[pcb->local_port]++;
			if (list < 2)
				continue;
			listed++;
			due += pcb->due_prev != NULL;
			soon += pcb->soon_prev != NULL;
			CHECK(uvl_tcp_find(&pcb->local_ip, pcb->local_port, &pcb->remote_ip,
					   pcb->remote_port, NULL) == pcb,
			      "port %u is not found by hash", pcb->local_port);
			if (list == 2 && pcb->rtime >= 0)
				CHECK(pcb->due_prev != NULL &&
					      (s32_t)(pcb->due_tick - pcb->rtime_at) <= pcb->rto,
				      "port %u is not due", pcb->local_port);
			if (list == 2 && (pcb->flags & TF_ACK_DELAY) != 0)
				CHECK(pcb->soon_prev != NULL, "port %u has no delayed ACK",
				      pcb->local_port);
		}
	}
	for (unsigned int i = 0; i < UVL_TCP_HASH_SIZE; i++)
		for (struct tcp_pcb *pcb = host->uvl->tcp_hash_[i]; pcb != NULL;
		     pcb = pcb->hash_next)
			hashed++;
	CHECK(listed == hashed, "%u PCBs in lists, %u in the hash", listed, hashed);
	CHECK(due == in_wheel(host->uvl), "%u PCBs are in the wheel, and %u say so",
	      in_wheel(host->uvl), due);
	for (struct tcp_pcb *pcb = host->uvl->tcp_soon_; pcb != NULL; pcb = pcb->soon_next)
		soon--;
	CHECK(soon == 0, "the list for the next tick is off by %d", (int)soon);
	CHECK(memcmp(ports, host->uvl->tcp_ports_, 65536 * sizeof(*ports)) == 0,
	      "the port counts are wrong");
	free(ports);
}

static void
test_many_connections(void)
{
	struct crowd few, many;

	crowd_open(&few, 8);
	double least = crowd_talk(&few);
	crowd_close(&few);

	crowd_open(&many, 20000);
	double most = crowd_talk(&many);
	printf("  a message costs %.0f ns on one of 8 connections, %.0f on one of %u\n", least,
	       most, many.size);
	/* Caches make it 5 to 10; walks per packet made it hundreds. */
	CHECK(most < 40 * least, "cost grows with the number of connections");
	check_lists(&many.sim.host[0]);
	check_lists(&many.sim.host[1]);

	/* Half are closed, a quarter aborted, some ports used again at once. */
	for (unsigned int i = 0; i < many.size; i++) {
		sim_enter(&many.sim.host[0]);
		tcp_err(many.clients[i], NULL);
		if (i % 2 == 0)
			tcp_close(many.clients[i]);
		else if (i % 4 == 1)
			tcp_abort(many.clients[i]);
		if (i % 64 == 63)
			sim_run(&many.sim, 1000, NULL, NULL);
	}
	check_lists(&many.sim.host[0]);
	sim_run(&many.sim, 5000000, NULL, NULL);
	check_lists(&many.sim.host[0]);
	check_lists(&many.sim.host[1]);
	many.errors = 0;
	sim_enter(&many.sim.host[0]);
	crowd_connect(&many, 1, 1024 + 1);
	sim_run(&many.sim, 100000, NULL, NULL);
	CHECK(many.errors == 0 && many.clients[1]->state == ESTABLISHED, "the port is not free");
	sim_run(&many.sim, 30000000, NULL, NULL);
	sim_enter(&many.sim.host[0]);
	CHECK(tcp_tw_pcbs == NULL, "connections stay in TIME_WAIT");
	check_lists(&many.sim.host[0]);
	check_lists(&many.sim.host[1]);
	crowd_close(&many);
}

/* A server that closes first keeps TIME_WAIT; its client may come again from the same port. */
static void
test_time_wait_reuse(void)
{
	struct crowd crowd;

	crowd_open(&crowd, 1);
	sim_enter(&crowd.sim.host[1]);
	struct tcp_pcb *server = tcp_active_pcbs;
	tcp_recv(server, NULL);
	tcp_close(server);
	sim_run(&crowd.sim, 10000, NULL, NULL);
	/* The client closes as well: that is what lwIP does if nobody asks for its data. */
	sim_run(&crowd.sim, 500000, NULL, NULL);
	sim_enter(&crowd.sim.host[1]);
	CHECK(tcp_tw_pcbs != NULL, "the server is not in TIME_WAIT");

	sim_enter(&crowd.sim.host[0]);
	crowd_connect(&crowd, 0, 1024);
	sim_run(&crowd.sim, 500000, NULL, NULL);
	CHECK(crowd.errors == 0 && crowd.accepted == 2, "the new connection was not accepted");
	check_lists(&crowd.sim.host[1]);
	crowd_close(&crowd);
}

static bool
count_timers(void *arg)
{
	++*(unsigned int *)arg;
	return false;
}

/* Idle connections do not keep a host busy, and are awake as soon as there is something to do. */
static void
test_idle_ticks(void)
{
	struct crowd crowd;
	unsigned int steps = 0;

	crowd_open(&crowd, 10);
	sim_run(&crowd.sim, 1000000, NULL, NULL);
	sim_enter(&crowd.sim.host[0]);
	CHECK(crowd.sim.host[0].uvl->tick_wait_ > 1 && in_wheel(crowd.sim.host[0].uvl) == 0,
	      "idle connections are due");
	uint32_t ticks = tcp_ticks;
	sim_run(&crowd.sim, 10000000, count_timers, &steps);
	sim_enter(&crowd.sim.host[0]);
	CHECK(tcp_ticks - ticks >= 190 && tcp_ticks - ticks <= 210, "%u ticks in 10 s",
	      tcp_ticks - ticks);
	/* IGMP and MLD alone make ten each per second. */
	CHECK(steps < 250, "%u timers in 10 idle seconds", steps);

	/* In the middle of the long sleep, a message whose acknowledgment is delayed. */
	for (unsigned int phase = 10; phase < 500; phase += 70) {
		sim_run(&crowd.sim, 1000000 + phase * 1000, NULL, NULL);
		sim_enter(&crowd.sim.host[0]);
		tcp_write(crowd.clients[3], "x", 1, TCP_WRITE_FLAG_COPY);
		tcp_output(crowd.clients[3]);
		check_lists(&crowd.sim.host[0]);
		sim_run(&crowd.sim, 30000, NULL, NULL);
		CHECK(crowd.clients[3]->snd_nxt == crowd.clients[3]->lastack,
		      "the acknowledgment is late");
	}
	crowd_close(&crowd);
}

/* Does looking ahead find the PCB that lwIP will? */
static void
test_look_ahead(void)
{
	struct crowd crowd;
	uint8_t packet[40] = {0x45, [9] = IP_PROTO_TCP};

	crowd_open(&crowd, 100);
	sim_enter(&crowd.sim.host[0]);
	for (unsigned int i = 0; i < 100; i++) {
		const struct tcp_pcb *pcb = crowd.clients[i], *found;
		const u16_t ports[] = {lwip_htons(pcb->remote_port), lwip_htons(pcb->local_port)};

		memcpy(packet + 12, &ip_2_ip4(&pcb->remote_ip)->addr, 4);
		memcpy(packet + 16, &ip_2_ip4(&pcb->local_ip)->addr, 4);
		memcpy(packet + 20, ports, sizeof(ports));
		found = *uvl_tcp_slot(packet, sizeof(packet));
		while (found != NULL && found != pcb)
			found = found->hash_next;
		CHECK(found != NULL, "connection %u is not where its packet looks", i);
	}
	CHECK(uvl_tcp_slot(packet, 23) == NULL, "a packet that has no ports is looked up");
	packet[9] = IP_PROTO_UDP;
	CHECK(uvl_tcp_slot(packet, sizeof(packet)) == NULL, "UDP is looked up");
	crowd_close(&crowd);
}

static uint64_t
visits(const struct crowd *crowd)
{
	return crowd->sim.host[0].uvl->guard.stats.timer_visits;
}

/* Timers look at connections that have something to do, when they have it, however many others
 * there are. */
static void
test_timer_visits(void)
{
	const unsigned int size = 1000, idle_s = 600;
	struct crowd crowd;
	uint64_t before;

	crowd_open(&crowd, size);
	sim_enter(&crowd.sim.host[0]);
	for (unsigned int i = 0; i < size; i++) {
		crowd.clients[i]->keep_idle = idle_s * 1000;
		ip_set_option(crowd.clients[i], SOF_KEEPALIVE);
		uvl_tcp_due(crowd.clients[i]);
	}
	sim_run(&crowd.sim, 5000000, NULL, NULL); /* the timers of the handshakes are over */
	check_lists(&crowd.sim.host[0]);
	before = visits(&crowd);
	sim_run(&crowd.sim, 10000000, NULL, NULL);
	CHECK(visits(&crowd) == before, "%u visits to idle connections",
	      (unsigned int)(visits(&crowd) - before));

	sim_enter(&crowd.sim.host[0]);
	tcp_write(crowd.clients[7], "x", 1, TCP_WRITE_FLAG_COPY);
	tcp_output(crowd.clients[7]);
	sim_run(&crowd.sim, 10000000, NULL, NULL);
	CHECK(visits(&crowd) - before == 1, "%u visits after a message on one of %u connections",
	      (unsigned int)(visits(&crowd) - before), size);

	/* Their time has come: for each but the one that spoke, one visit for the probe, and not
	 * one too early. */
	before = visits(&crowd);
	sim_run(&crowd.sim, (idle_s - 30) * 1000000ull, NULL, NULL);
	CHECK(visits(&crowd) == before, "%u visits before the keepalive is due",
	      (unsigned int)(visits(&crowd) - before));
	sim_run(&crowd.sim, 10000000, NULL, NULL);
	CHECK(visits(&crowd) - before >= size - 1 && visits(&crowd) - before < 2 * size,
	      "%u visits for the keepalive probes of %u connections",
	      (unsigned int)(visits(&crowd) - before), size);
	check_lists(&crowd.sim.host[0]);
	sim_enter(&crowd.sim.host[0]);
	CHECK(crowd.errors == 0 && crowd.clients[0]->keep_cnt_sent == 0,
	      "a probe was not answered");
	crowd_close(&crowd);
}

#define TEST(name)                 \
	{                          \
#name, test_##name \
	}
static const struct simtest tests[] = {
	TEST(out_of_order_beyond_window),
	TEST(retransmission_timeout),
	TEST(delayed_ack),
	TEST(lost_syn),
	TEST(unreachable),
	TEST(lost_window_update),
	TEST(several_losses),
	TEST(early_loss),
	TEST(initial_window),
	TEST(backlog),
	TEST(many_connections),
	TEST(time_wait_reuse),
	TEST(idle_ticks),
	TEST(timer_visits),
	TEST(look_ahead),
};

int
main(int argc, char **argv)
{
	return simtest_main(argc, argv, tests, sizeof(tests) / sizeof(tests[0]));
}
