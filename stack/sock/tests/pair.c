/* SPDX-License-Identifier: BSD-3-Clause */
#include "stack/sock/tests/pair.h"

#include "stack/core/clock.h"
#include "stack/core/eal.h"
#include "stack/core/log.h"

#include <rte_eth_ring.h>
#include <rte_ring.h>

#include "lwip/timeouts.h"

struct uvs_instance *hosts[2];

static struct uvs_conf confs[2];
static struct rte_ring *wire[2]; /* to host 0, to host 1 */
static unsigned int drops[2];
static struct rte_mempool *wire_pool;

#define WIRE_MBUFS 4096

static const char *trace = "";

void
pair_trace(const char *points)
{
	trace = points;
}

static void
configure(int host, uint32_t mbufs)
{
	char text[256];
	struct uvs_conf_error err;

	snprintf(text, sizeof(text),
		 "nic = ring\naddress = 10.0.0.%d/24\nmbufs = %u\nmac = 02:00:00:00:00:0%d\n"
		 "hugepages = no\ndepot_mb = 4\npoll = busy\nmemory_mb = 192\nlog_level = error\n",
		 host + 1, mbufs, host + 1);
	if (uvs_conf_parse(&confs[host], text, "test", &err) < 0) {
		fprintf(stderr, "%s\n", err.text);
		exit(1);
	}
	snprintf(confs[host].trace, sizeof(confs[host].trace), "%s", trace);
	uvs_log_setup(&confs[host]);
}

static uint16_t
make_port(int host)
{
	char name[32];
	int id;

	snprintf(name, sizeof(name), "pair%d", host);
	id = rte_eth_from_rings(name, &wire[host], 1, &wire[1 - host], 1, 0);
	CHECK(id >= 0);
	return (uint16_t)id;
}

/* A NIC puts what arrives into mbufs of the receiver's pool, or drops it if there is none. */
static uint16_t
take_from_wire(uint16_t port, uint16_t queue, struct rte_mbuf *pkts[], uint16_t n, uint16_t max,
	       void *arg)
{
	struct uvs_instance *in = arg;
	unsigned int *drop = &drops[in == hosts[0] ? 1 : 0];
	uint16_t kept = 0;

	(void)port;
	(void)queue;
	(void)max;
	for (uint16_t i = 0; i < n; i++) {
		struct rte_mbuf *copy = NULL;

		if (*drop > 0)
			(*drop)--;
		else
			copy = rte_pktmbuf_copy(pkts[i], in->mem.pool, 0, UINT32_MAX);
		rte_pktmbuf_free(pkts[i]);
		if (copy != NULL)
			pkts[kept++] = copy;
	}
	return kept;
}

/* net_ring hands the sender's mbufs to the receiver, who would give them back to a pool that is the
 * sender's alone. On this wire travel copies in mbufs of a pool that any thread may use. */
static uint16_t
copy_to_wire(uint16_t port, uint16_t queue, struct rte_mbuf *pkts[], uint16_t n, void *arg)
{
	(void)port;
	(void)queue;
	(void)arg;
	for (uint16_t i = 0; i < n; i++) {
		struct rte_mbuf *copy = rte_pktmbuf_copy(pkts[i], wire_pool, 0, UINT32_MAX);

		CHECK(copy != NULL);
		rte_pktmbuf_free(pkts[i]);
		pkts[i] = copy;
	}
	return n;
}

void
pair_drop(int host, unsigned int n)
{
	drops[host] = n;
}

void
pair_start(uint32_t mbufs)
{
	uint16_t ports[2];

	for (int h = 0; h < 2; h++)
		configure(h, mbufs);
	CHECK_EQ(uvs_eal_start(&confs[0], NULL), 0);
	for (int h = 0; h < 2; h++) {
		wire[h] =
			rte_ring_create(h ? "to1" : "to0", 1024, 0, RING_F_SP_ENQ | RING_F_SC_DEQ);
		CHECK(wire[h] != NULL);
	}
	wire_pool = rte_pktmbuf_pool_create_by_ops(
		"wire", WIRE_MBUFS, 0, RTE_ALIGN(sizeof(struct uvs_mbuf_priv), 64),
		UVS_MBUF_DATA_ROOM + RTE_PKTMBUF_HEADROOM, 0, "ring_mp_mc");
	CHECK(wire_pool != NULL);
	for (int h = 0; h < 2; h++) {
		ports[h] = make_port(h);
		hosts[h] = aligned_alloc(64, (sizeof(*hosts[h]) + 63) & ~63ul);
		uvs_inst_init(hosts[h], &confs[h]);
		CHECK_EQ(uvs_stack_attach(hosts[h], ports[h], NULL, NULL, 0), 0);
		CHECK(rte_eth_add_tx_callback(ports[h], 0, copy_to_wire, NULL) != NULL);
		CHECK(rte_eth_add_rx_callback(ports[h], 0, take_from_wire, hosts[h]) != NULL);
	}
}

void
pair_policy(uint32_t poll)
{
	confs[0].poll = confs[1].poll = poll;
}

void
pair_budget(uint32_t frames)
{
	confs[0].budget = confs[1].budget = frames;
}

void
pair_stop(void)
{
	for (int h = 0; h < 2; h++) {
		uvs_stack_detach(hosts[h]);
		free(hosts[h]);
	}
}

void
pair_poll(void)
{
	for (int h = 0; h < 2; h++) {
		CHECK(uvs_inst_enter(hosts[h]));
		uvs_inst_poll(hosts[h]);
		uvs_inst_leave(hosts[h]);
	}
}

bool
pair_until(bool (*cond)(void *arg), void *arg)
{
	uint64_t until = uvs_clock_ns() + 5 * UVS_NS_PER_S;

	while (!cond(arg)) {
		if (uvs_clock_ns() > until)
			return false;
		pair_poll();
	}
	return true;
}

void
pair_run(unsigned int ms)
{
	uint64_t until = uvs_clock_ns() + ms * UVS_NS_PER_MS;
	unsigned int rounds = 0;

	/* On a busy machine the time may be over before anything has happened. */
	do
		pair_poll();
	while (++rounds < 100 * ms || uvs_clock_ns() < until);
}

/* The instances read the real clock when entered; what moves is when their timers are due. In small
 * steps, since lwIP's TCP timer makes up for one missed tick and not for many. */
#define WARP_STEP 25

void
pair_warp(unsigned int ms)
{
	for (unsigned int done = 0; done < ms; done += WARP_STEP) {
		for (int h = 0; h < 2; h++) {
			CHECK(uvs_inst_enter(hosts[h]));
			for (struct sys_timeo *t = uvl_self->next_timeout_; t != NULL; t = t->next)
				t->time -= WARP_STEP;
			uvs_inst_leave(hosts[h]);
		}
		pair_poll();
		pair_poll();
	}
}

struct sockaddr_in
pair_addr(int host, uint16_t port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};

	a.sin_addr = confs[host].address.addr;
	return a;
}

struct uvs_sock *
pair_socket(int host, int type)
{
	struct uvs_sock *s;

	CHECK_EQ(uvs_sock_new_on(hosts[host], AF_INET, type, 0, &s), 0);
	return s;
}

struct uvs_sock *
pair_listener(uint16_t port, int backlog)
{
	struct uvs_sock *l = pair_socket(1, SOCK_STREAM);
	struct sockaddr_in a = pair_addr(1, port);
	int one = 1;

	CHECK_EQ(uvs_sock_setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)), 0);
	CHECK_EQ(uvs_sock_bind(l, (struct sockaddr *)&a, sizeof(a)), 0);
	CHECK_EQ(uvs_sock_listen(l, backlog), 0);
	return l;
}

static bool
is_readable(void *arg)
{
	return uvs_sock_events(arg) & EPOLLIN;
}

void
pair_connect(struct uvs_sock **client, struct uvs_sock **server)
{
	static uint16_t port = 5000;
	struct uvs_sock *l = pair_listener(++port, 8);
	struct sockaddr_in a = pair_addr(1, port);

	*client = pair_socket(0, SOCK_STREAM);
	CHECK_EQ(uvs_sock_connect(*client, (struct sockaddr *)&a, sizeof(a)), -EINPROGRESS);
	CHECK(pair_until(is_readable, l));
	CHECK_EQ(uvs_sock_accept(l, server, NULL, NULL), 0);
	CHECK_EQ(uvs_sock_connect(*client, (struct sockaddr *)&a, sizeof(a)), 0);
	uvs_sock_put(l);
}

ssize_t
pair_send(struct uvs_sock *s, const void *data, size_t len)
{
	struct iovec iov = {(void *)(uintptr_t)data, len};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};

	return uvs_sock_sendmsg(s, &m, 0);
}

ssize_t
pair_recv(struct uvs_sock *s, void *data, size_t len)
{
	struct iovec iov = {data, len};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};

	return uvs_sock_recvmsg(s, &m, 0);
}
