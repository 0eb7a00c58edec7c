/* SPDX-License-Identifier: BSD-3-Clause
 *
 * TCP sockets between two hosts. */
#include "stack/sock/native.h"
#include "stack/sock/tests/pair.h"

#include "stack/core/clock.h"

#include <linux/tcp.h>
#include <malloc.h>
#include <sys/ioctl.h>

#include "lwip/etharp.h"

/* ------------------------------------------------------------------------------------ conditions
 */

static bool
readable(void *s)
{
	return uvs_sock_events(s) & EPOLLIN;
}

static bool
writable(void *s)
{
	return uvs_sock_events(s) & EPOLLOUT;
}

static bool
failed(void *s)
{
	return uvs_sock_events(s) & EPOLLERR;
}

static bool
hung_up(void *s)
{
	return uvs_sock_events(s) & EPOLLHUP;
}

static int
so_error(struct uvs_sock *s)
{
	int e = -1;
	socklen_t len = sizeof(e);

	CHECK_EQ(uvs_sock_getsockopt(s, SOL_SOCKET, SO_ERROR, &e, &len), 0);
	return e;
}

static void
set(struct uvs_sock *s, int level, int name, int v)
{
	CHECK_EQ(uvs_sock_setsockopt(s, level, name, &v, sizeof(v)), 0);
}

static int
get(struct uvs_sock *s, int level, int name)
{
	int v = -1;
	socklen_t len = sizeof(v);

	CHECK_EQ(uvs_sock_getsockopt(s, level, name, &v, &len), 0);
	return v;
}

static int
bind_to(struct uvs_sock *s, int host, uint16_t port)
{
	struct sockaddr_in a = pair_addr(host, port);

	return uvs_sock_bind(s, (struct sockaddr *)&a, sizeof(a));
}

static int
connect_to(struct uvs_sock *s, int host, uint16_t port)
{
	struct sockaddr_in a = pair_addr(host, port);

	return uvs_sock_connect(s, (struct sockaddr *)&a, sizeof(a));
}

/* Nothing of any connection is left in lwIP, TIME_WAIT included. */
static bool
no_pcbs(void *arg)
{
	bool none = true;

	(void)arg;
	for (int h = 0; h < 2; h++) {
		CHECK(uvs_inst_enter(hosts[h]));
		none = none && tcp_active_pcbs == NULL && tcp_tw_pcbs == NULL &&
		       tcp_bound_pcbs == NULL && tcp_listen_pcbs.pcbs == NULL;
		uvs_inst_leave(hosts[h]);
	}
	return none;
}

/* Every test ends here: no PCB, no port, no mbuf is left over. */
static void
expect_clean(void)
{
	for (int i = 0; i < 2000 && !no_pcbs(NULL); i++)
		pair_warp(100);
	CHECK(no_pcbs(NULL));
	pair_run(1);
	for (int h = 0; h < 2; h++) {
		struct uvs_sock_tables *t = uvs_tables(hosts[h]);

		for (unsigned int b = 0; b < UVS_PORT_BUCKETS; b++)
			CHECK(t->own->tcp.bucket[b] == NULL && t->own->udp.bucket[b] == NULL);
		CHECK_EQ(uvs_mem_avail(&hosts[h]->mem), hosts[h]->mem.total);
		CHECK_EQ(hosts[h]->mem.heap_bytes, 0);
		CHECK_EQ(hosts[h]->seen->loop.asserts, 0);
	}
}

/* ----------------------------------------------------------------------------------------- basics
 */

static void
test_echo(void)
{
	struct uvs_sock *c, *s;
	char buf[64];

	pair_connect(&c, &s);
	CHECK_EQ(pair_send(c, "hello", 5), 5);
	CHECK(pair_until(readable, s));
	CHECK_EQ(pair_recv(s, buf, sizeof(buf)), 5);
	CHECK(memcmp(buf, "hello", 5) == 0);
	CHECK_EQ(pair_send(s, buf, 5), 5);
	CHECK(pair_until(readable, c));
	CHECK_EQ(pair_recv(c, buf, sizeof(buf)), 5);
	CHECK_EQ(pair_recv(c, buf, sizeof(buf)), -EAGAIN);
	uvs_sock_put(c);
	uvs_sock_put(s);
}

static void
test_names(void)
{
	struct uvs_sock *c, *s;
	struct sockaddr_in cl, cp, sl, sp;
	socklen_t len = sizeof(cl);

	pair_connect(&c, &s);
	CHECK_EQ(uvs_sock_getsockname(c, (struct sockaddr *)&cl, &len), 0);
	CHECK_EQ(uvs_sock_getpeername(c, (struct sockaddr *)&cp, &len), 0);
	CHECK_EQ(uvs_sock_getsockname(s, (struct sockaddr *)&sl, &len), 0);
	CHECK_EQ(uvs_sock_getpeername(s, (struct sockaddr *)&sp, &len), 0);
	CHECK(memcmp(&cl, &sp, sizeof(cl)) == 0 && memcmp(&cp, &sl, sizeof(cp)) == 0);
	CHECK(ntohs(cl.sin_port) >= 32768 && ntohs(cl.sin_port) <= 60999);
	CHECK_EQ(cl.sin_addr.s_addr, inet_addr("10.0.0.1"));
	uvs_sock_put(c);
	uvs_sock_put(s);
	c = pair_socket(0, SOCK_STREAM);
	CHECK_EQ(uvs_sock_getpeername(c, (struct sockaddr *)&cp, &len), -ENOTCONN);
	uvs_sock_put(c);
}

/* -------------------------------------------------------------------------------------------- bulk
 */

struct flow {
	struct uvs_sock *from, *to;
	size_t sent, got, total;
};

/* A pattern that no shift maps onto itself soon. */
static uint8_t
byte_at(size_t i)
{
	return (uint8_t)(i * 131 + (i >> 8) * 17 + (i >> 16) * 7);
}

static void
flow_send(struct flow *f)
{
	uint8_t buf[20000];
	size_t n = RTE_MIN(sizeof(buf), f->total - f->sent);
	ssize_t r;

	if (n == 0 || !(uvs_sock_events(f->from) & EPOLLOUT))
		return;
	for (size_t i = 0; i < n; i++)
		buf[i] = byte_at(f->sent + i);
	r = pair_send(f->from, buf, n);
	CHECK(r > 0 || r == -EAGAIN);
	if (r > 0)
		f->sent += (size_t)r;
}

static void
flow_recv(struct flow *f)
{
	uint8_t buf[30000];
	ssize_t r = pair_recv(f->to, buf, sizeof(buf));

	if (r == -EAGAIN)
		return;
	CHECK(r > 0);
	for (ssize_t i = 0; i < r; i++)
		CHECK_EQ(buf[i], byte_at(f->got + (size_t)i));
	f->got += (size_t)r;
}

static void
run_flows(struct flow *f, unsigned int n)
{
	uint64_t last = uvs_clock_ns();
	size_t before = 0, now;

	do {
		now = 0;
		for (unsigned int i = 0; i < n; i++) {
			flow_send(&f[i]);
			flow_recv(&f[i]);
			now += f[i].total - f[i].got;
		}
		pair_poll();
		if (now != before)
			last = uvs_clock_ns();
		before = now;
		CHECK(uvs_clock_ns() - last < 10 * UVS_NS_PER_S);
	} while (now > 0);
}

static void
test_bulk_both_ways(void)
{
	struct uvs_sock *c, *s;

	pair_connect(&c, &s);
	struct flow f[2] = {{c, s, 0, 0, 64 << 20}, {s, c, 0, 0, 64 << 20}};
	run_flows(f, 2);
	uvs_sock_put(c);
	uvs_sock_put(s);
}

static void
test_bulk_with_loss(void)
{
	struct uvs_sock *c, *s;

	pair_connect(&c, &s);
	struct flow f = {c, s, 0, 0, 1 << 20};
	for (int i = 0; i < 4; i++) {
		pair_drop(0, 3);
		run_flows(&f, 1);
		f.total += 1 << 20;
	}
	uvs_sock_put(c);
	uvs_sock_put(s);
}

/* A tiny receive buffer: the window closes all the time. */
static void
test_small_buffers(void)
{
	struct uvs_sock *c, *s, *l = pair_listener(4001, 1);

	set(l, SOL_SOCKET, SO_RCVBUF, 3000);
	CHECK_EQ(get(l, SOL_SOCKET, SO_RCVBUF), 6000);
	c = pair_socket(0, SOCK_STREAM);
	set(c, SOL_SOCKET, SO_SNDBUF, 5000);
	CHECK_EQ(get(c, SOL_SOCKET, SO_SNDBUF), 10000);
	CHECK_EQ(connect_to(c, 1, 4001), -EINPROGRESS);
	CHECK(pair_until(readable, l));
	CHECK_EQ(uvs_sock_accept(l, &s, NULL, NULL), 0);
	struct flow f = {c, s, 0, 0, 300000};
	run_flows(&f, 1);
	uvs_sock_put(c);
	uvs_sock_put(s);
	uvs_sock_put(l);
}

/* What the window let the peer send is taken, though the buffer is smaller: nothing comes twice. */
static void
test_announced_window_is_kept(void)
{
	struct uvs_sock *c, *s, *l = pair_listener(4003, 1);
	uint32_t before = hosts[0]->lwip->lwip_stats_.mib2.tcpretranssegs;

	set(l, SOL_SOCKET, SO_RCVBUF, 4096);
	c = pair_socket(0, SOCK_STREAM);
	CHECK_EQ(connect_to(c, 1, 4003), -EINPROGRESS);
	CHECK(pair_until(readable, l));
	CHECK_EQ(uvs_sock_accept(l, &s, NULL, NULL), 0);
	struct flow f = {c, s, 0, 0, 300000};
	run_flows(&f, 1);
	CHECK_EQ(hosts[0]->lwip->lwip_stats_.mib2.tcpretranssegs, before);
	uvs_sock_put(c);
	uvs_sock_put(s);
	uvs_sock_put(l);
}

static void
test_zero_window(void)
{
	struct uvs_sock *c, *s;
	static char buf[1 << 16];
	size_t sent = 0, got = 0;
	ssize_t r;

	pair_connect(&c, &s);
	for (;;) {
		r = pair_send(c, buf, sizeof(buf));
		if (r > 0) {
			sent += (size_t)r;
			continue;
		}
		CHECK_EQ(r, -EAGAIN);
		pair_run(2);
		if (!(uvs_sock_events(c) & EPOLLOUT))
			break;
	}
	/* What is not acknowledged fills the send buffer, the rest the receive buffer. */
	CHECK(sent >= (1 << 20) + (200 << 10));
	CHECK_EQ(uvs_sock_events(c), 0);
	pair_warp(3000); /* probes of the closed window are answered */
	CHECK_EQ(uvs_sock_events(c), 0);
	uint32_t seq = uvs_sock_seq(c);
	while (got < sent) {
		r = pair_recv(s, buf, sizeof(buf));
		if (r > 0)
			got += (size_t)r;
		else
			pair_poll();
	}
	CHECK(pair_until(writable, c));
	CHECK(uvs_sock_seq(c) > seq);
	uvs_sock_put(c);
	uvs_sock_put(s);
}

static void
test_iovecs_and_peek(void)
{
	struct uvs_sock *c, *s;
	char a[4], b[10];
	struct iovec out[] = {{"ab", 2}, {"", 0}, {"cdefgh", 6}};
	struct iovec in[] = {{NULL, 0}, {a, sizeof(a)}, {b, sizeof(b)}};
	struct msghdr m = {.msg_iov = out, .msg_iovlen = 3};
	int n;

	pair_connect(&c, &s);
	CHECK_EQ(uvs_sock_sendmsg(c, &m, 0), 8);
	CHECK(pair_until(readable, s));
	CHECK_EQ(uvs_sock_ioctl(s, FIONREAD, &n), 0);
	CHECK_EQ(n, 8);
	m = (struct msghdr){.msg_iov = in, .msg_iovlen = 3};
	CHECK_EQ(uvs_sock_recvmsg(s, &m, MSG_PEEK), 8);
	CHECK(memcmp(a, "abcd", 4) == 0 && memcmp(b, "efgh", 4) == 0);
	CHECK_EQ(uvs_sock_ioctl(s, FIONREAD, &n), 0);
	CHECK_EQ(n, 8);
	in[1].iov_len = 3;
	m = (struct msghdr){.msg_iov = in, .msg_iovlen = 2};
	CHECK_EQ(uvs_sock_recvmsg(s, &m, MSG_TRUNC), 3); /* thrown away */
	CHECK_EQ(uvs_sock_recvmsg(s, &m, 0), 3);
	CHECK(memcmp(a, "def", 3) == 0);
	CHECK_EQ(pair_recv(s, b, sizeof(b)), 2);
	CHECK_EQ(uvs_sock_recvmsg(s, &m, MSG_OOB), -EINVAL);
	CHECK_EQ(pair_recv(s, b, 0), -EAGAIN); /* as the kernel's recv(), not its read() */
	uvs_sock_put(c);
	uvs_sock_put(s);
}

static void
test_more_is_held_back(void)
{
	struct uvs_sock *c, *s;
	struct iovec iov = {"x", 1};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
	char buf[16];

	pair_connect(&c, &s);
	set(c, IPPROTO_TCP, TCP_NODELAY, 1);
	CHECK_EQ(uvs_sock_sendmsg(c, &m, MSG_MORE), 1);
	pair_run(3);
	CHECK(!readable(s));
	CHECK_EQ(pair_send(c, "y", 1), 1);
	CHECK(pair_until(readable, s));
	CHECK_EQ(pair_recv(s, buf, sizeof(buf)), 2);
	set(c, IPPROTO_TCP, TCP_CORK, 1);
	CHECK_EQ(pair_send(c, "z", 1), 1);
	pair_run(3);
	CHECK(!readable(s));
	set(c, IPPROTO_TCP, TCP_CORK, 0);
	CHECK(pair_until(readable, s));
	uvs_sock_put(c);
	uvs_sock_put(s);
}

/* Small segments do not pin a buffer each. */
static void
test_small_segments_share_buffers(void)
{
	struct uvs_sock *c, *s;
	static char buf[4096];
	uint32_t before;

	pair_connect(&c, &s);
	set(c, IPPROTO_TCP, TCP_NODELAY, 1);
	pair_run(2);
	before = uvs_mem_avail(&hosts[1]->mem) + uvs_mem_avail(&hosts[0]->mem);
	for (int i = 0; i < 3000; i++) {
		CHECK_EQ(pair_send(c, "x", 1), 1);
		pair_poll();
	}
	pair_run(60);
	CHECK(before - uvs_mem_avail(&hosts[1]->mem) - uvs_mem_avail(&hosts[0]->mem) < 40);
	CHECK_EQ(pair_recv(s, buf, sizeof(buf)), 3000);
	uvs_sock_put(c);
	uvs_sock_put(s);
}

/* --------------------------------------------------------------------------- events, the kernel's
 */

static void
test_levels(void)
{
	struct uvs_sock *c, *s, *l;
	char buf[16];

	c = pair_socket(0, SOCK_STREAM);
	CHECK_EQ(uvs_sock_events(c), EPOLLOUT | EPOLLHUP); /* 0x14 */
	uvs_sock_put(c);

	l = pair_listener(4010, 4);
	CHECK_EQ(uvs_sock_events(l), 0);
	c = pair_socket(0, SOCK_STREAM);
	CHECK_EQ(connect_to(c, 1, 4010), -EINPROGRESS);
	CHECK_EQ(uvs_sock_events(c), 0);
	CHECK_EQ(connect_to(c, 1, 4010), -EALREADY);
	CHECK_EQ(pair_send(c, "x", 1), -EAGAIN);
	CHECK(pair_until(writable, c));
	CHECK_EQ(uvs_sock_events(c), EPOLLOUT);
	CHECK(pair_until(readable, l));
	CHECK_EQ(uvs_sock_events(l), EPOLLIN);
	CHECK_EQ(uvs_sock_accept(l, &s, NULL, NULL), 0);
	CHECK_EQ(uvs_sock_events(l), 0);
	CHECK_EQ(uvs_sock_accept(l, &s, NULL, NULL), -EAGAIN);
	CHECK_EQ(uvs_sock_events(s), EPOLLOUT);
	CHECK_EQ(connect_to(c, 1, 4010), 0);
	CHECK_EQ(connect_to(c, 1, 4010), -EISCONN);

	CHECK_EQ(pair_send(c, "12", 2), 2);
	CHECK(pair_until(readable, s));
	CHECK_EQ(uvs_sock_events(s), EPOLLIN | EPOLLOUT);
	CHECK_EQ(pair_recv(s, buf, 1), 1);
	CHECK_EQ(uvs_sock_events(s), EPOLLIN | EPOLLOUT);
	CHECK_EQ(pair_recv(s, buf, 1), 1);
	CHECK_EQ(uvs_sock_events(s), EPOLLOUT);

	CHECK_EQ(uvs_sock_shutdown(c, SHUT_WR), 0);
	CHECK_EQ(uvs_sock_events(c), EPOLLOUT);
	CHECK(pair_until(readable, s));
	CHECK_EQ(uvs_sock_events(s), EPOLLIN | EPOLLOUT | EPOLLRDHUP); /* 0x2005 */
	CHECK_EQ(pair_recv(s, buf, 1), 0);
	CHECK_EQ(pair_send(c, "x", 1), -EPIPE);
	CHECK_EQ(pair_send(s, "back", 4), 4);
	CHECK(pair_until(readable, c));
	CHECK_EQ(uvs_sock_events(c), EPOLLIN | EPOLLOUT);
	CHECK_EQ(uvs_sock_shutdown(s, SHUT_WR), 0);
	CHECK_EQ(uvs_sock_events(s), EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLHUP);
	CHECK(pair_until(hung_up, c));
	CHECK_EQ(uvs_sock_events(c), EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLHUP);
	CHECK_EQ(pair_recv(c, buf, sizeof(buf)), 4);
	CHECK_EQ(pair_recv(c, buf, sizeof(buf)), 0);
	uvs_sock_put(c);
	uvs_sock_put(s);
	uvs_sock_put(l);
}

/* seq grows with each arrival though the level stays, and is still when nothing happens. */
static void
test_seq(void)
{
	struct uvs_sock *c, *s;
	uint32_t seq;
	char buf[4];

	pair_connect(&c, &s);
	set(c, IPPROTO_TCP, TCP_NODELAY, 1);
	seq = uvs_sock_seq(s);
	for (uint32_t i = 1; i <= 3; i++) {
		CHECK_EQ(pair_send(c, "x", 1), 1);
		pair_run(1);
		CHECK_EQ(uvs_sock_seq(s), seq + i);
		CHECK_EQ(uvs_sock_events(s), EPOLLIN | EPOLLOUT);
	}
	CHECK_EQ(pair_recv(s, buf, 1), 1);
	CHECK_EQ(uvs_sock_seq(s), seq + 3);
	CHECK_EQ(pair_recv(s, buf, 2), 2);
	CHECK_EQ(uvs_sock_seq(s), seq + 3);
	uvs_sock_put(c);
	uvs_sock_put(s);
}

struct counting_watch {
	struct uvs_watch w;
	unsigned int fired;
	uint32_t last;
};

static void
count_fire(struct uvs_watch *w, uint32_t events)
{
	struct counting_watch *c = (struct counting_watch *)w;

	c->fired++;
	c->last = events;
}

static void
test_watches(void)
{
	struct uvs_sock *c, *s;
	struct counting_watch a = {.w.fire = count_fire}, b = {.w.fire = count_fire};

	pair_connect(&c, &s);
	uvs_watch_add(s, &a.w);
	uvs_watch_add(s, &b.w);
	CHECK(a.w.sock == s);
	CHECK_EQ(a.fired, 0);
	CHECK_EQ(pair_send(c, "x", 1), 1);
	CHECK(pair_until(readable, s));
	CHECK_EQ(a.fired, 1);
	CHECK_EQ(b.fired, 1);
	CHECK_EQ(a.last, EPOLLIN);
	uvs_watch_del(&a.w);
	CHECK_EQ(uvs_sock_shutdown(c, SHUT_WR), 0);
	pair_run(1);
	CHECK_EQ(a.fired, 1);
	CHECK_EQ(b.fired, 2);
	uvs_watch_del(&b.w);
	uvs_watch_del(&b.w);
	uvs_sock_put(c);
	uvs_sock_put(s);
}

/* ------------------------------------------------------------------------------ refusal and reset
 */

#define GONE (EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLHUP)

static void
test_refused(void)
{
	struct uvs_sock *c = pair_socket(0, SOCK_STREAM);
	char buf[4];

	CHECK_EQ(connect_to(c, 1, 4999), -EINPROGRESS);
	CHECK(pair_until(failed, c));
	CHECK_EQ(uvs_sock_events(c), GONE | EPOLLERR);
	CHECK_EQ(so_error(c), ECONNREFUSED);
	CHECK_EQ(so_error(c), 0);
	CHECK_EQ(uvs_sock_events(c), GONE);
	CHECK_EQ(pair_recv(c, buf, 1), 0);
	CHECK_EQ(pair_send(c, buf, 1), -EPIPE);
	CHECK_EQ(connect_to(c, 1, 4999), -ECONNABORTED);

	/* The second connect() fetches the error; the third tries anew. */
	CHECK_EQ(connect_to(c, 1, 4999), -EINPROGRESS);
	CHECK(pair_until(failed, c));
	CHECK_EQ(connect_to(c, 1, 4999), -ECONNREFUSED);
	CHECK_EQ(uvs_sock_events(c), EPOLLOUT | EPOLLHUP);
	CHECK_EQ(connect_to(c, 1, 4999), -EINPROGRESS);
	CHECK(pair_until(failed, c));
	uvs_sock_put(c);
}

static void
test_linger_zero(void)
{
	struct uvs_sock *c, *s;
	struct linger lg = {1, 0};
	char buf[4];

	pair_connect(&c, &s);
	CHECK_EQ(uvs_sock_setsockopt(c, SOL_SOCKET, SO_LINGER, &lg, sizeof(lg)), 0);
	uvs_sock_put(c);
	CHECK(pair_until(failed, s));
	CHECK_EQ(uvs_sock_events(s), GONE | EPOLLERR);
	CHECK_EQ(pair_recv(s, buf, 1), -ECONNRESET);
	CHECK_EQ(uvs_sock_events(s), GONE);
	CHECK_EQ(pair_recv(s, buf, 1), 0);
	uvs_sock_put(s);
}

static void
test_close_with_unread_data(void)
{
	struct uvs_sock *c, *s;

	pair_connect(&c, &s);
	CHECK_EQ(pair_send(c, "unread", 6), 6);
	CHECK(pair_until(readable, s));
	uvs_sock_put(s);
	CHECK(pair_until(failed, c));
	CHECK_EQ(so_error(c), ECONNRESET);
	uvs_sock_put(c);
}

/* Closed in order though the window was never told open again: FIN, no RST. */
static void
test_close_after_reading(void)
{
	struct uvs_sock *c, *s;
	char buf[8];

	pair_connect(&c, &s);
	CHECK_EQ(pair_send(c, "read", 4), 4);
	CHECK(pair_until(readable, s));
	CHECK_EQ(pair_recv(s, buf, sizeof(buf)), 4);
	uvs_sock_put(s);
	CHECK(pair_until(readable, c));
	CHECK_EQ(uvs_sock_events(c), EPOLLIN | EPOLLOUT | EPOLLRDHUP);
	CHECK_EQ(pair_recv(c, buf, 1), 0);
	uvs_sock_put(c);
}

/* Data after the peer closed: RST comes back, the next write says EPIPE. */
static void
test_write_to_closed(void)
{
	struct uvs_sock *c, *s;

	pair_connect(&c, &s);
	uvs_sock_put(s);
	CHECK(pair_until(readable, c));
	CHECK_EQ(pair_send(c, "x", 1), 1);
	CHECK(pair_until(failed, c));
	CHECK_EQ(pair_send(c, "x", 1), -EPIPE);
	uvs_sock_put(c);
}

/* What was sent before close() arrives whole. */
static void
test_close_sends_all(void)
{
	struct uvs_sock *c, *s;
	static char buf[200000];
	size_t got = 0;
	ssize_t r;

	pair_connect(&c, &s);
	CHECK_EQ(pair_send(c, buf, sizeof(buf)), (ssize_t)sizeof(buf));
	uvs_sock_put(c);
	while ((r = pair_recv(s, buf, sizeof(buf))) != 0) {
		CHECK(r > 0 || r == -EAGAIN);
		got += r > 0 ? (size_t)r : 0;
		pair_poll();
	}
	CHECK_EQ(got, sizeof(buf));
	uvs_sock_put(s);
}

/* The peer's last data, its FIN and the ACK of ours in one segment. */
static void
test_last_data_with_fin(void)
{
	struct uvs_sock *c, *s;
	struct iovec iov = {"last", 4};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
	char buf[8];

	pair_connect(&c, &s);
	pair_drop(1, 1); /* the ACK of the FIN alone */
	CHECK_EQ(uvs_sock_shutdown(c, SHUT_WR), 0);
	CHECK(pair_until(readable, s));
	CHECK_EQ(uvs_sock_sendmsg(s, &m, MSG_MORE), 4);
	pair_poll();
	CHECK(!readable(c));
	uvs_sock_put(s);
	CHECK(pair_until(hung_up, c));
	CHECK_EQ(pair_recv(c, buf, sizeof(buf)), 4);
	CHECK_EQ(pair_recv(c, buf, sizeof(buf)), 0);
	uvs_sock_put(c);
}

/* Both close at once: lwIP says nothing when that is over. */
static void
test_simultaneous_close(void)
{
	struct uvs_sock *c, *s;
	char buf[8];

	pair_connect(&c, &s);
	CHECK_EQ(uvs_sock_shutdown(c, SHUT_WR), 0);
	CHECK_EQ(uvs_sock_shutdown(s, SHUT_WR), 0);
	CHECK(pair_until(hung_up, c));
	CHECK(pair_until(hung_up, s));
	pair_warp(40000);
	CHECK_EQ(pair_recv(c, buf, sizeof(buf)), 0);
	CHECK_EQ(pair_send(s, buf, sizeof(buf)), -EPIPE);
	set(c, IPPROTO_IP, IP_TTL, 3);
	uvs_sock_put(c);
	uvs_sock_put(s);
}

static void
test_disconnect(void)
{
	struct uvs_sock *c, *s;
	struct sockaddr unspec = {.sa_family = AF_UNSPEC};
	char buf[4];

	pair_connect(&c, &s);
	CHECK_EQ(uvs_sock_connect(c, &unspec, sizeof(unspec)), 0);
	CHECK_EQ(uvs_sock_events(c), EPOLLOUT | EPOLLHUP);
	CHECK_EQ(pair_recv(c, buf, 1), -ENOTCONN);
	CHECK(pair_until(failed, s));
	CHECK_EQ(so_error(s), ECONNRESET);
	uvs_sock_put(c);
	uvs_sock_put(s);
}

/* ---------------------------------------------------------------------------------- listen, accept
 */

static void
test_backlog(void)
{
	struct uvs_sock *l = pair_listener(4020, 1), *c[4], *s[4];
	for (int i = 0; i < 4; i++) {
		c[i] = pair_socket(0, SOCK_STREAM);
		CHECK_EQ(connect_to(c[i], 1, 4020), -EINPROGRESS);
		pair_run(1);
	}
	/* backlog + 1 get in; the others' SYNs fall on deaf ears and are repeated. */
	CHECK(writable(c[0]) && writable(c[1]));
	CHECK_EQ(uvs_sock_events(c[2]), 0);
	CHECK_EQ(uvs_sock_events(c[3]), 0);
	CHECK_EQ(get(l, SOL_SOCKET, SO_ACCEPTCONN), 1);
	CHECK_EQ(uvs_sock_accept(l, &s[0], NULL, NULL), 0);
	/* There is room for one. Both SYNs may be answered, as the kernel does: the client then
	 * believes that it is connected, but only one of them gets into the queue. */
	pair_warp(1500);
	CHECK(writable(c[2]) || writable(c[3]));
	CHECK_EQ(uvs_sock_accept(l, &s[1], NULL, NULL), 0);
	CHECK_EQ(uvs_sock_accept(l, &s[2], NULL, NULL), 0);
	CHECK_EQ(uvs_sock_accept(l, &s[3], NULL, NULL), -EAGAIN);
	pair_warp(8000);
	CHECK_EQ(uvs_sock_accept(l, &s[3], NULL, NULL), 0);
	for (int i = 0; i < 4; i++) {
		uvs_sock_put(c[i]);
		uvs_sock_put(s[i]);
	}
	uvs_sock_put(l);
}

static void
test_listener_closes(void)
{
	struct uvs_sock *l = pair_listener(4021, 4), *c = pair_socket(0, SOCK_STREAM);

	CHECK_EQ(connect_to(c, 1, 4021), -EINPROGRESS);
	CHECK(pair_until(readable, l));
	uvs_sock_put(l);
	CHECK(pair_until(failed, c));
	CHECK_EQ(so_error(c), ECONNRESET);
	uvs_sock_put(c);
}

static void
test_listener_shutdown(void)
{
	struct uvs_sock *l = pair_listener(4022, 4), *s;

	CHECK_EQ(uvs_sock_shutdown(l, SHUT_WR), 0);
	CHECK_EQ(uvs_sock_events(l), 0);
	CHECK_EQ(uvs_sock_shutdown(l, SHUT_RD), 0);
	CHECK_EQ(uvs_sock_accept(l, &s, NULL, NULL), -EINVAL);
	CHECK_EQ(uvs_sock_events(l), EPOLLOUT | EPOLLHUP);
	CHECK(!uvs_sock_listening(l));
	uvs_sock_put(l);
}

/* A connection that died in the queue is still accepted, and tells its end then. */
static void
test_accept_dead(void)
{
	struct uvs_sock *l = pair_listener(4023, 4), *c = pair_socket(0, SOCK_STREAM), *s;
	struct linger lg = {1, 0};
	char buf[8];

	CHECK_EQ(connect_to(c, 1, 4023), -EINPROGRESS);
	CHECK(pair_until(readable, l));
	CHECK_EQ(pair_send(c, "data", 4), 4);
	pair_run(1);
	CHECK_EQ(uvs_sock_setsockopt(c, SOL_SOCKET, SO_LINGER, &lg, sizeof(lg)), 0);
	uvs_sock_put(c);
	pair_run(1);
	CHECK_EQ(uvs_sock_accept(l, &s, NULL, NULL), 0);
	CHECK_EQ(uvs_sock_events(s), GONE | EPOLLERR);
	CHECK_EQ(pair_recv(s, buf, sizeof(buf)), 4);
	CHECK_EQ(pair_recv(s, buf, sizeof(buf)), -ECONNRESET);
	uvs_sock_put(s);
	uvs_sock_put(l);
}

static void
test_listen_without_bind(void)
{
	struct uvs_sock *l = pair_socket(1, SOCK_STREAM), *c = pair_socket(0, SOCK_STREAM), *s;
	struct sockaddr_in a;
	socklen_t len = sizeof(a);

	CHECK_EQ(uvs_sock_accept(l, &s, NULL, NULL), -EINVAL);
	CHECK_EQ(uvs_sock_listen(l, 1), 0);
	CHECK_EQ(uvs_sock_getsockname(l, (struct sockaddr *)&a, &len), 0);
	CHECK_EQ(a.sin_addr.s_addr, 0);
	CHECK(a.sin_port != 0);
	CHECK_EQ(connect_to(c, 1, ntohs(a.sin_port)), -EINPROGRESS);
	CHECK(pair_until(readable, l));
	CHECK_EQ(uvs_sock_accept(l, &s, (struct sockaddr *)&a, &len), 0);
	CHECK_EQ(a.sin_addr.s_addr, inet_addr("10.0.0.1"));
	uvs_sock_put(s);
	uvs_sock_put(c);
	uvs_sock_put(l);
}

static void
test_reuseport_group(void)
{
	struct uvs_sock *l[3], *c[60], *s;
	unsigned int got[3] = {0};

	for (int i = 0; i < 3; i++) {
		l[i] = pair_socket(1, SOCK_STREAM);
		set(l[i], SOL_SOCKET, SO_REUSEPORT, 1);
		CHECK_EQ(bind_to(l[i], 1, 4030), 0);
		CHECK_EQ(uvs_sock_listen(l[i], 100), 0);
	}
	for (int i = 0; i < 60; i++) {
		c[i] = pair_socket(0, SOCK_STREAM);
		CHECK_EQ(connect_to(c[i], 1, 4030), -EINPROGRESS);
	}
	pair_run(5);
	for (int i = 0; i < 3; i++)
		while (uvs_sock_accept(l[i], &s, NULL, NULL) == 0) {
			got[i]++;
			uvs_sock_put(s);
		}
	CHECK_EQ(got[0] + got[1] + got[2], 60);
	CHECK(got[0] >= 5 && got[1] >= 5 && got[2] >= 5);
	for (int i = 0; i < 60; i++)
		uvs_sock_put(c[i]);

	/* The leader leaves, then a member; the last one hears them all. */
	uvs_sock_put(l[0]);
	uvs_sock_put(l[2]);
	for (int i = 0; i < 5; i++) {
		c[i] = pair_socket(0, SOCK_STREAM);
		CHECK_EQ(connect_to(c[i], 1, 4030), -EINPROGRESS);
	}
	pair_run(5);
	for (int i = 0; i < 5; i++) {
		CHECK_EQ(uvs_sock_accept(l[1], &s, NULL, NULL), 0);
		uvs_sock_put(s);
		uvs_sock_put(c[i]);
	}
	uvs_sock_put(l[1]);
}

/* -------------------------------------------------------------------------------------- ports,
 * bind */

static void
test_bind_errors(void)
{
	struct uvs_sock *a = pair_socket(1, SOCK_STREAM), *b = pair_socket(1, SOCK_STREAM);
	struct sockaddr_in in = pair_addr(0, 4040);

	CHECK_EQ(uvs_sock_bind(a, (struct sockaddr *)&in, sizeof(in)), -EADDRNOTAVAIL);
	CHECK_EQ(uvs_sock_bind(a, (struct sockaddr *)&in, 8), -EINVAL);
	in.sin_family = AF_INET6;
	CHECK_EQ(uvs_sock_bind(a, (struct sockaddr *)&in, sizeof(in)), -EAFNOSUPPORT);
	CHECK_EQ(bind_to(a, 1, 4040), 0);
	CHECK_EQ(bind_to(a, 1, 4041), -EINVAL);
	CHECK_EQ(bind_to(b, 1, 4040), -EADDRINUSE);
	/* Both must want to share, and nobody may listen. */
	set(b, SOL_SOCKET, SO_REUSEADDR, 1);
	CHECK_EQ(bind_to(b, 1, 4040), -EADDRINUSE);
	set(a, SOL_SOCKET, SO_REUSEADDR, 1);
	CHECK_EQ(bind_to(b, 1, 4040), 0);
	CHECK_EQ(uvs_sock_listen(a, 1), 0);
	CHECK_EQ(uvs_sock_listen(b, 1), -EADDRINUSE);
	uvs_sock_put(b);
	b = pair_socket(1, SOCK_STREAM);
	set(b, SOL_SOCKET, SO_REUSEADDR, 1);
	CHECK_EQ(bind_to(b, 1, 4040), -EADDRINUSE);
	uvs_sock_put(a);
	CHECK_EQ(bind_to(b, 1, 4040), 0);
	uvs_sock_put(b);
}

/* A server that restarts: its old connections are in TIME_WAIT. */
static void
test_rebind_over_time_wait(void)
{
	struct uvs_sock *l = pair_listener(4042, 4), *c = pair_socket(0, SOCK_STREAM), *s;
	char buf[4];

	CHECK_EQ(connect_to(c, 1, 4042), -EINPROGRESS);
	CHECK(pair_until(readable, l));
	CHECK_EQ(uvs_sock_accept(l, &s, NULL, NULL), 0);
	uvs_sock_put(l);
	uvs_sock_put(s); /* the server closes first: TIME_WAIT is its */
	CHECK(pair_until(readable, c));
	CHECK_EQ(pair_recv(c, buf, 1), 0);
	uvs_sock_put(c);
	pair_run(2);

	l = pair_socket(1, SOCK_STREAM);
	CHECK_EQ(bind_to(l, 1, 4042), -EADDRINUSE);
	set(l, SOL_SOCKET, SO_REUSEADDR, 1);
	CHECK_EQ(bind_to(l, 1, 4042), 0);
	CHECK_EQ(uvs_sock_listen(l, 4), 0);
	uvs_sock_put(l);
	pair_warp(20000);
	l = pair_socket(1, SOCK_STREAM);
	CHECK_EQ(bind_to(l, 1, 4042), 0);
	uvs_sock_put(l);
}

static void
test_bound_connect(void)
{
	struct uvs_sock *l = pair_listener(4043, 4), *c = pair_socket(0, SOCK_STREAM);
	struct uvs_sock *d = pair_socket(0, SOCK_STREAM), *s;
	struct sockaddr_in a;
	socklen_t len = sizeof(a);

	set(c, SOL_SOCKET, SO_REUSEADDR, 1);
	set(d, SOL_SOCKET, SO_REUSEADDR, 1);
	CHECK_EQ(bind_to(c, 0, 4444), 0);
	CHECK_EQ(bind_to(d, 0, 4444), 0);
	CHECK_EQ(connect_to(c, 1, 4043), -EINPROGRESS);
	CHECK_EQ(connect_to(d, 1, 4043), -EADDRNOTAVAIL);
	CHECK(pair_until(readable, l));
	CHECK_EQ(uvs_sock_accept(l, &s, (struct sockaddr *)&a, &len), 0);
	CHECK_EQ(ntohs(a.sin_port), 4444);
	uvs_sock_put(s);
	uvs_sock_put(c);
	uvs_sock_put(d);
	uvs_sock_put(l);
}

/* To one's own address, and to 0.0.0.0, which means the same. */
static void
test_hairpin(void)
{
	struct uvs_sock *l = pair_listener(4050, 4), *c = pair_socket(1, SOCK_STREAM), *s;
	struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(4050)};

	CHECK_EQ(uvs_sock_connect(c, (struct sockaddr *)&any, sizeof(any)), -EINPROGRESS);
	CHECK(pair_until(readable, l));
	CHECK_EQ(uvs_sock_accept(l, &s, NULL, NULL), 0);
	struct flow f[2] = {{c, s, 0, 0, 1 << 20}, {s, c, 0, 0, 1 << 20}};
	run_flows(f, 2);
	uvs_sock_put(c);
	uvs_sock_put(s);
	uvs_sock_put(l);
}

static void
test_dual_stack(void)
{
	struct uvs_sock *l, *c = pair_socket(0, SOCK_STREAM), *s;
	struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_port = htons(4060)};
	socklen_t len = sizeof(a);
	char text[INET6_ADDRSTRLEN];

	CHECK_EQ(uvs_sock_new_on(hosts[1], AF_INET6, SOCK_STREAM, 0, &l), 0);
	CHECK_EQ(uvs_sock_bind(l, (struct sockaddr *)&a, sizeof(a)), 0);
	CHECK_EQ(uvs_sock_listen(l, 1), 0);
	CHECK_EQ(uvs_sock_getsockname(l, (struct sockaddr *)&a, &len), 0);
	CHECK(IN6_IS_ADDR_UNSPECIFIED(&a.sin6_addr) && a.sin6_family == AF_INET6);
	CHECK_EQ(connect_to(c, 1, 4060), -EINPROGRESS);
	CHECK(pair_until(readable, l));
	CHECK_EQ(uvs_sock_accept(l, &s, (struct sockaddr *)&a, &len), 0);
	CHECK_EQ(len, sizeof(a));
	inet_ntop(AF_INET6, &a.sin6_addr, text, sizeof(text));
	CHECK(strcmp(text, "::ffff:10.0.0.1") == 0);
	uvs_sock_put(c);
	uvs_sock_put(s);
	uvs_sock_put(l);

	/* A mapped address to connect to. */
	l = pair_listener(4061, 1);
	CHECK_EQ(uvs_sock_new_on(hosts[0], AF_INET6, SOCK_STREAM, 0, &c), 0);
	inet_pton(AF_INET6, "::ffff:10.0.0.2", &a.sin6_addr);
	a.sin6_port = htons(4061);
	CHECK_EQ(uvs_sock_connect(c, (struct sockaddr *)&a, sizeof(a)), -EINPROGRESS);
	CHECK(pair_until(writable, c));
	uvs_sock_put(c);
	uvs_sock_put(l);
}

/* ------------------------------------------------------------------------------------- timers,
 * loss */

static void
test_lost_syn(void)
{
	struct uvs_sock *l = pair_listener(4070, 1), *c = pair_socket(0, SOCK_STREAM);

	pair_drop(0, 1);
	CHECK_EQ(connect_to(c, 1, 4070), -EINPROGRESS);
	pair_run(2);
	CHECK_EQ(uvs_sock_events(c), 0);
	pair_warp(1100);
	CHECK(pair_until(writable, c));
	uvs_sock_put(c);
	uvs_sock_put(l);
}

/* Connections made all at once to a host whose Ethernet address is not known yet: none of their
 * SYNs is lost to the wait for it, which would cost a second. */
static void
test_connects_before_arp(void)
{
	enum { N = 60 };
	struct uvs_sock *l = pair_listener(4072, N), *c[N];

	CHECK(uvs_inst_enter(hosts[0]));
	etharp_cleanup_netif(&hosts[0]->netif);
	uvs_inst_leave(hosts[0]);
	for (int i = 0; i < N; i++) {
		c[i] = pair_socket(0, SOCK_STREAM);
		CHECK_EQ(connect_to(c[i], 1, 4072), -EINPROGRESS);
	}
	pair_run(2);
	for (int i = 0; i < N; i++) {
		CHECK(writable(c[i]));
		uvs_sock_put(c[i]);
	}
	uvs_sock_put(l);
}

/* Natively sent "soon": with what is sent next, or when somebody polls. */
static void
test_answers_leave_together(void)
{
	struct uvs_sock *c[2], *s[2];
	struct uvstack_seg seg;
	char byte;

	for (int i = 0; i < 2; i++)
		pair_connect(&c[i], &s[i]);
	pair_run(1);
	for (int flags = UVSTACK_SOON, i = 0; i < 2; i++, flags = 0) {
		CHECK_EQ(uvs_native_get(c[i], &seg, 1), 0);
		seg.len = 1;
		CHECK_EQ(uvs_native_send(c[i], &seg, 1, NULL, 0, flags), 1);
		CHECK_EQ(hosts[0]->port.tx_n, flags == UVSTACK_SOON ? 1 : 0);
	}
	CHECK_EQ(uvs_native_get(c[0], &seg, 1), 0);
	seg.len = 1;
	CHECK_EQ(uvs_native_send(c[0], &seg, 1, NULL, 0, UVSTACK_SOON), 1);
	pair_poll();
	CHECK_EQ(hosts[0]->port.tx_n, 0);
	pair_run(1);
	for (int i = 0; i < 2; i++) {
		CHECK_EQ(pair_recv(s[i], &byte, 1), 1);
		uvs_sock_put(c[i]);
		uvs_sock_put(s[i]);
	}
}

#define PORTS (UVS_EPHEMERAL_LAST - UVS_EPHEMERAL_FIRST + 1)

/* connect()'s or, without a peer, bind()'s choice of a port. */
static int
take_port(struct uvs_port_use *u, uint16_t remote)
{
	*u = (struct uvs_port_use){0};
	ip_addr_copy_from_ip4(u->local.ip, *netif_ip4_addr(&hosts[0]->netif));
	u->remote = (struct uvs_addr){u->local.ip, remote};
	return uvs_ports_bind(&uvs_tables(hosts[0])->tcp, u);
}

/* To one peer a connection for each port; to another peer as many once more. */
static void
test_more_connections_than_ports(void)
{
	struct uvs_port_use *u = calloc(PORTS + 100, sizeof(*u)), more;

	CHECK(u != NULL && uvs_inst_enter(hosts[0]));
	for (unsigned int i = 0; i < PORTS; i++)
		CHECK_EQ(take_port(&u[i], 80), 0);
	CHECK_EQ(take_port(&more, 80), -EADDRNOTAVAIL);
	CHECK_EQ(take_port(&more, 0), -EADDRINUSE);
	/* Whether a port is free is one look, however many are taken. */
	for (unsigned int port = UVS_EPHEMERAL_FIRST; port <= UVS_EPHEMERAL_LAST; port++) {
		const struct uvs_port_use *use = uvs_tables(hosts[0])->own->tcp.bucket[port];

		CHECK(use != NULL && use->local.port == port && use->next == NULL);
	}
	for (unsigned int i = PORTS; i < PORTS + 100; i++)
		CHECK_EQ(take_port(&u[i], 81), 0);
	for (unsigned int i = 0; i < PORTS + 100; i++)
		uvs_ports_remove(&u[i]);
	uvs_inst_leave(hosts[0]);
	free(u);
}

static void
test_connect_times_out(void)
{
	struct uvs_sock *l = pair_listener(4071, 1), *c = pair_socket(0, SOCK_STREAM);

	pair_drop(0, 1000000);
	CHECK_EQ(connect_to(c, 1, 4071), -EINPROGRESS);
	pair_warp(200000);
	CHECK(failed(c));
	CHECK_EQ(so_error(c), ETIMEDOUT);
	pair_drop(0, 0);
	uvs_sock_put(c);
	uvs_sock_put(l);
}

static void
test_keepalive_finds_the_dead(void)
{
	struct uvs_sock *c, *s;

	pair_connect(&c, &s);
	set(c, SOL_SOCKET, SO_KEEPALIVE, 1);
	set(c, IPPROTO_TCP, TCP_KEEPIDLE, 2);
	set(c, IPPROTO_TCP, TCP_KEEPINTVL, 1);
	set(c, IPPROTO_TCP, TCP_KEEPCNT, 3);
	pair_warp(10000);
	CHECK_EQ(uvs_sock_events(c), EPOLLOUT); /* answered */
	pair_drop(0, 1000000);
	pair_warp(10000);
	CHECK(failed(c));
	CHECK_EQ(so_error(c), ETIMEDOUT);
	pair_drop(0, 0);
	uvs_sock_put(c);
	uvs_sock_put(s);
}

/* No data is unsent but a little: the peer's window is closed, and writing ends early. */
static void
test_notsent_lowat(void)
{
	struct uvs_sock *c, *s;
	static char buf[65536];
	size_t sent = 0, got = 0;
	ssize_t n;

	pair_connect(&c, &s);
	set(s, SOL_SOCKET, SO_RCVBUF, 8192);
	set(c, IPPROTO_TCP, TCP_NOTSENT_LOWAT, 16384);
	while ((n = pair_send(c, buf, sizeof(buf))) > 0) {
		sent += (size_t)n;
		CHECK(sent < 4 << 20);
		for (int i = 0; i < 4; i++)
			pair_poll();
	}
	CHECK_EQ(n, -EAGAIN);
	CHECK(uvs_inst_enter(hosts[0]));
	CHECK(c->tcp.pcb->snd_lbb - c->tcp.pcb->snd_nxt >= 16384);
	CHECK(c->tcp.pcb->snd_lbb - c->tcp.pcb->snd_nxt < 16384 + 1460 + 65536);
	uvs_inst_leave(hosts[0]);
	CHECK(!writable(c));
	while (got < sent) {
		CHECK(pair_until(readable, s));
		n = pair_recv(s, buf, sizeof(buf));
		CHECK(n > 0);
		got += (size_t)n;
	}
	CHECK(pair_until(writable, c));
	uvs_sock_put(c);
	uvs_sock_put(s);
}

static void
test_user_timeout(void)
{
	struct uvs_sock *c, *s;

	pair_connect(&c, &s);
	set(c, IPPROTO_TCP, TCP_USER_TIMEOUT, 3000);
	pair_drop(0, 1000000);
	CHECK_EQ(pair_send(c, "x", 1), 1);
	pair_warp(2500);
	CHECK(!failed(c));
	pair_warp(1500);
	CHECK(failed(c));
	CHECK_EQ(so_error(c), ETIMEDOUT);
	pair_drop(0, 0);
	uvs_sock_put(c);
	uvs_sock_put(s);
}

static void
test_syncnt(void)
{
	struct uvs_sock *l = pair_listener(4072, 1), *c = pair_socket(0, SOCK_STREAM);

	set(c, IPPROTO_TCP, TCP_SYNCNT, 1);
	pair_drop(0, 1000000);
	CHECK_EQ(connect_to(c, 1, 4072), -EINPROGRESS);
	pair_warp(2500);
	CHECK(!failed(c));
	pair_warp(1500);
	CHECK_EQ(so_error(c), ETIMEDOUT);
	pair_drop(0, 0);
	uvs_sock_put(c);
	uvs_sock_put(l);
}

static void
test_defer_accept(void)
{
	struct uvs_sock *l = pair_listener(4073, 4), *c = pair_socket(0, SOCK_STREAM), *s;
	char buf[8];

	/* as Linux rounds: 1, 3, 7, 15... s */
	set(l, IPPROTO_TCP, TCP_DEFER_ACCEPT, 5);
	CHECK_EQ(get(l, IPPROTO_TCP, TCP_DEFER_ACCEPT), 7);
	CHECK_EQ(connect_to(c, 1, 4073), -EINPROGRESS);
	CHECK(pair_until(writable, c));
	pair_run(5);
	CHECK_EQ(uvs_sock_accept(l, &s, NULL, NULL), -EAGAIN);
	CHECK_EQ(pair_send(c, "now", 3), 3);
	CHECK(pair_until(readable, l));
	CHECK_EQ(uvs_sock_accept(l, &s, NULL, NULL), 0);
	CHECK_EQ(pair_recv(s, buf, sizeof(buf)), 3);
	uvs_sock_put(c);
	uvs_sock_put(s);
	uvs_sock_put(l);
}

/* As with net.ipv4.tcp_fastopen = 0. */
static void
test_fastopen(void)
{
	struct uvs_sock *l = pair_listener(4074, 4), *c = pair_socket(0, SOCK_STREAM);
	int one = 1;

	set(l, IPPROTO_TCP, TCP_FASTOPEN, 5);
	CHECK_EQ(get(l, IPPROTO_TCP, TCP_FASTOPEN), 5);
	CHECK_EQ(uvs_sock_setsockopt(c, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &one, sizeof(one)),
		 -EOPNOTSUPP);
	CHECK_EQ(connect_to(c, 1, 4074), -EINPROGRESS);
	CHECK_EQ(uvs_sock_setsockopt(c, IPPROTO_TCP, TCP_FASTOPEN, &one, sizeof(one)), -EINVAL);
	CHECK(pair_until(writable, c));
	uvs_sock_put(c);
	uvs_sock_put(l);
}

/* ------------------------------------------------------------------------------------------
 * options */

static void
test_options(void)
{
	struct uvs_sock *c, *s;
	struct tcp_info info;
	socklen_t len = sizeof(info);
	struct timeval tv = {2, 500000};
	int v = 1;

	pair_connect(&c, &s);
	CHECK_EQ(get(c, SOL_SOCKET, SO_TYPE), SOCK_STREAM);
	CHECK_EQ(get(c, SOL_SOCKET, SO_DOMAIN), AF_INET);
	CHECK_EQ(get(c, SOL_SOCKET, SO_PROTOCOL), IPPROTO_TCP);
	CHECK_EQ(get(c, SOL_SOCKET, SO_ACCEPTCONN), 0);
	set(c, IPPROTO_TCP, TCP_NODELAY, 7);
	CHECK_EQ(get(c, IPPROTO_TCP, TCP_NODELAY), 1);
	CHECK_EQ(get(c, IPPROTO_TCP, TCP_MAXSEG), 1460);
	set(c, IPPROTO_IP, IP_TOS, 0x10);
	CHECK_EQ(get(c, IPPROTO_IP, IP_TOS), 0x10);
	set(c, IPPROTO_IP, IP_TTL, 9);
	CHECK_EQ(get(c, IPPROTO_IP, IP_TTL), 9);
	set(c, IPPROTO_IP, IP_TTL, -1);
	CHECK_EQ(get(c, IPPROTO_IP, IP_TTL), 64);
	v = 256;
	CHECK_EQ(uvs_sock_setsockopt(c, IPPROTO_IP, IP_TTL, &v, sizeof(v)), -EINVAL);
	CHECK_EQ(uvs_sock_setsockopt(c, SOL_SOCKET, SO_KEEPALIVE, &v, 2), -EINVAL);
	CHECK_EQ(uvs_sock_setsockopt(c, SOL_SOCKET, SO_TYPE, &v, sizeof(v)), -ENOPROTOOPT);
	CHECK_EQ(uvs_sock_setsockopt(c, SOL_SOCKET, 12345, &v, sizeof(v)), -ENOPROTOOPT);
	CHECK_EQ(uvs_sock_setsockopt(c, 4711, 1, &v, sizeof(v)), -ENOPROTOOPT);
	CHECK_EQ(uvs_sock_setsockopt(c, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)), 0);
	CHECK_EQ(uvs_sock_timeout(c, EPOLLIN), 2500000000ull);
	CHECK_EQ(uvs_sock_timeout(c, EPOLLOUT), 0);
	tv.tv_usec = 1000000;
	CHECK_EQ(uvs_sock_setsockopt(c, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)), -EDOM);
	CHECK_EQ(uvs_sock_getsockopt(c, IPPROTO_TCP, TCP_INFO, &info, &len), 0);
	CHECK_EQ(info.tcpi_state, 1);
	CHECK_EQ(info.tcpi_snd_mss, 1460);
	CHECK(info.tcpi_options & TCPI_OPT_WSCALE);
	/* Inherited from the listener. */
	CHECK_EQ(get(s, SOL_SOCKET, SO_REUSEADDR), 1);
	uvs_sock_put(c);
	uvs_sock_put(s);
}

static void
test_rcvlowat(void)
{
	struct uvs_sock *c, *s;
	char buf[16];

	pair_connect(&c, &s);
	set(s, SOL_SOCKET, SO_RCVLOWAT, 4);
	CHECK_EQ(pair_send(c, "abc", 3), 3);
	pair_run(2);
	CHECK(!readable(s));
	CHECK_EQ(pair_send(c, "d", 1), 1);
	CHECK(pair_until(readable, s));
	CHECK_EQ(pair_recv(s, buf, sizeof(buf)), 4);
	uvs_sock_put(c);
	uvs_sock_put(s);
}

/* -------------------------------------------------------------------------------------------
 * memory */

/* Senders that nobody reads take all mbufs but the reserve; others still get through, and when the
 * buffers come back the senders go on. */
static void
test_out_of_mbufs(void)
{
	enum { N = 40 };
	struct uvs_sock *c[N], *s[N], *x, *y;
	static char buf[1 << 16];
	size_t sent[N] = {0};
	ssize_t r;

	hosts[0]->mem.depot = 0;
	for (int i = 0; i < N; i++)
		pair_connect(&c[i], &s[i]);
	pair_connect(&x, &y);
	for (int round = 0; round < 30; round++) {
		for (int i = 0; i < N; i++) {
			r = pair_send(c[i], buf, sizeof(buf));
			CHECK(r > 0 || r == -EAGAIN);
			sent[i] += r > 0 ? (size_t)r : 0;
			for (int h = 0; h < 2; h++)
				CHECK(hosts[h]->mem.heap_bytes <= hosts[h]->mem.depot);
		}
		pair_run(1);
	}
	CHECK(hosts[0]->seen->mem.starved > 0);
	CHECK(uvs_mem_avail(&hosts[0]->mem) > hosts[0]->mem.reserve / 2);
	CHECK(hosts[1]->seen->mem.unpinned > 0);
	CHECK(uvs_mem_avail(&hosts[1]->mem) > hosts[1]->mem.reserve / 2);

	/* Somebody else's small request is served. */
	CHECK_EQ(pair_send(y, "ping", 4), 4);
	CHECK(pair_until(readable, x));
	CHECK_EQ(pair_recv(x, buf, sizeof(buf)), 4);

	for (int i = 0; i < N; i++) {
		size_t got = 0;

		/* What was dropped meanwhile comes again by a timer that has backed off. */
		for (unsigned int idle = 0; got < sent[i] && idle < 5000; idle++) {
			r = pair_recv(s[i], buf, sizeof(buf));
			got += r > 0 ? (size_t)r : 0;
			if (r > 0)
				idle = 0;
			else if (idle % 8 == 7)
				pair_warp(100);
			else
				pair_poll();
		}
		CHECK_EQ(got, sent[i]);
		CHECK(pair_until(writable, c[i]));
		uvs_sock_put(c[i]);
		uvs_sock_put(s[i]);
	}
	hosts[0]->mem.depot = hosts[1]->mem.depot;
	uvs_sock_put(x);
	uvs_sock_put(y);
}

/* What an idle connection takes at one end, of memory that the C library gives: at 2 KB, 100,000
 * are 200 MB beside the packet buffers. (docs/limits.md has the figure.) */
static void
test_footprint(void)
{
	enum { N = 500 };
	static struct uvs_sock *c[N], *s[N];
	size_t before, each;

	pair_connect(&c[0], &s[0]); /* what is made once */
	before = mallinfo2().uordblks;
	for (int i = 1; i < N; i++)
		pair_connect(&c[i], &s[i]);
	each = (mallinfo2().uordblks - before) / (N - 1) / 2;
	fprintf(stderr, " %zu bytes", each);
	CHECK(each <= 2048);
	for (int i = 0; i < N; i++) {
		uvs_sock_put(c[i]);
		uvs_sock_put(s[i]);
	}
}

/* Many that nobody reads from: what they leave unsent goes to the depot, which has a limit;
 * somebody else's large request is served, and everything comes back. */
static void
test_depot(void)
{
	enum { N = 60 };
	struct uvs_sock *c[N], *s[N], *x, *y;
	static char buf[1 << 16];
	size_t got = 0;
	ssize_t n;

	pair_connect(&x, &y);
	for (int i = 0; i < N; i++) {
		pair_connect(&c[i], &s[i]);
		set(s[i], SOL_SOCKET, SO_RCVBUF, 4096);
	}
	for (int round = 0; round < 8; round++) {
		for (int i = 0; i < N; i++)
			(void)pair_send(c[i], buf, sizeof(buf));
		pair_poll();
	}
	CHECK(hosts[0]->seen->mem.depot_allocs > 0);
	CHECK(hosts[0]->mem.heap_bytes <= hosts[0]->mem.depot);
	CHECK(uvs_mem_avail(&hosts[0]->mem) > hosts[0]->mem.reserve / 2);
	CHECK_EQ(pair_send(x, buf, 15000), 15000);
	while (got < 15000) {
		CHECK(pair_until(readable, y));
		n = pair_recv(y, buf, sizeof(buf));
		CHECK(n > 0);
		got += (size_t)n;
	}
	for (int i = 0; i < N; i++) {
		uvs_sock_put(s[i]); /* with unread data: reset */
		uvs_sock_put(c[i]);
	}
	uvs_sock_put(x);
	uvs_sock_put(y);
}

/* ----------------------------------------------------------------------------------------------
 * main */

/* The stack's thread does not answer: nothing is freed that it still has, and all is done when it
 * is back. */

static const struct uvs_model *answering;
static int unanswered; /* calls to come */

static long
call_late(struct uvs_instance *in, uvs_call_fn fn, void *arg)
{
	return unanswered-- > 0 ? -EIO : answering->call(in, fn, arg);
}

static void
do_not_answer(int calls)
{
	static struct uvs_model late;

	answering = uvs_model;
	late = *uvs_model;
	late.call = call_late;
	unanswered = calls;
	uvs_model = &late;
}

static void
test_stack_does_not_answer(void)
{
	struct counting_watch w = {.w.fire = count_fire};
	struct uvs_sock *c, *s;

	pair_connect(&c, &s);
	uvs_watch_add(c, &w.w);
	do_not_answer(2);
	uvs_watch_del(&w.w);
	uvs_model = answering;
	CHECK_EQ(pair_send(s, "x", 1), 1);
	CHECK(pair_until(readable, c));
	CHECK_EQ(w.fired, 0);
	do_not_answer(1);
	uvs_sock_put(c); /* with something unread: a reset */
	uvs_model = answering;
	CHECK(pair_until(failed, s));
	uvs_sock_put(s);
}

static const struct {
	const char *name;
	void (*run)(void);
} tests[] = {
	{"echo", test_echo},
	{"names", test_names},
	{"bulk_both_ways", test_bulk_both_ways},
	{"bulk_with_loss", test_bulk_with_loss},
	{"small_buffers", test_small_buffers},
	{"announced_window_is_kept", test_announced_window_is_kept},
	{"zero_window", test_zero_window},
	{"iovecs_and_peek", test_iovecs_and_peek},
	{"more_is_held_back", test_more_is_held_back},
	{"small_segments_share_buffers", test_small_segments_share_buffers},
	{"levels", test_levels},
	{"seq", test_seq},
	{"watches", test_watches},
	{"stack_does_not_answer", test_stack_does_not_answer},
	{"refused", test_refused},
	{"linger_zero", test_linger_zero},
	{"close_with_unread_data", test_close_with_unread_data},
	{"close_after_reading", test_close_after_reading},
	{"write_to_closed", test_write_to_closed},
	{"close_sends_all", test_close_sends_all},
	{"last_data_with_fin", test_last_data_with_fin},
	{"simultaneous_close", test_simultaneous_close},
	{"disconnect", test_disconnect},
	{"backlog", test_backlog},
	{"listener_closes", test_listener_closes},
	{"listener_shutdown", test_listener_shutdown},
	{"accept_dead", test_accept_dead},
	{"listen_without_bind", test_listen_without_bind},
	{"reuseport_group", test_reuseport_group},
	{"bind_errors", test_bind_errors},
	{"rebind_over_time_wait", test_rebind_over_time_wait},
	{"bound_connect", test_bound_connect},
	{"hairpin", test_hairpin},
	{"dual_stack", test_dual_stack},
	{"lost_syn", test_lost_syn},
	{"connects_before_arp", test_connects_before_arp},
	{"more_connections_than_ports", test_more_connections_than_ports},
	{"answers_leave_together", test_answers_leave_together},
	{"connect_times_out", test_connect_times_out},
	{"keepalive_finds_the_dead", test_keepalive_finds_the_dead},
	{"notsent_lowat", test_notsent_lowat},
	{"user_timeout", test_user_timeout},
	{"syncnt", test_syncnt},
	{"defer_accept", test_defer_accept},
	{"fastopen", test_fastopen},
	{"options", test_options},
	{"rcvlowat", test_rcvlowat},
	{"out_of_mbufs", test_out_of_mbufs},
	{"depot", test_depot},
	{"footprint", test_footprint},
};

int
main(int argc, char **argv)
{
	pair_start(0);
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		uint64_t begun = uvs_clock_ns();

		if (argc > 1 && strcmp(argv[1], tests[i].name) != 0)
			continue;
		fprintf(stderr, "%s", tests[i].name);
		tests[i].run();
		expect_clean();
		fprintf(stderr, " ok %.1f ms\n", (double)(uvs_clock_ns() - begun) / 1e6);
	}
	pair_stop();
	return 0;
}
