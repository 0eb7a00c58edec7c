/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The native interface, checked from inside: native ADDRESS CASE. Both ends are in this process, on
 * the host's own address. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "stack/uvstack.h"

#define CHECK(cond)                                                                        \
	do {                                                                               \
		if (!(cond)) {                                                             \
			fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #cond); \
			exit(1);                                                           \
		}                                                                          \
	} while (0)

#define CHECK_EQ(a, b)                                                                           \
	do {                                                                                     \
		long long a_ = (long long)(a), b_ = (long long)(b);                              \
		if (a_ != b_) {                                                                  \
			fprintf(stderr, "%s:%d: %s is %lld, not %lld\n", __FILE__, __LINE__, #a, \
				a_, b_);                                                         \
			exit(1);                                                                 \
		}                                                                                \
	} while (0)

static struct in_addr host;

static struct sockaddr_in
at(uint16_t port)
{
	return (struct sockaddr_in){
		.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = host};
}

/* Wait until s shows one of these events. */
static void
await(struct uvstack_sock *s, uint32_t events)
{
	struct uvstack_ready ready;
	struct uvstack_poll *p;

	CHECK_EQ(uvstack_poll_new(&p), 0);
	CHECK_EQ(uvstack_poll_add(p, s, events, s), 0);
	CHECK_EQ(uvstack_poll_wait(p, &ready, 1, 5000), 1);
	CHECK(ready.cookie == s && (ready.events & events));
	uvstack_poll_free(p);
}

static void
connected(uint16_t port, struct uvstack_sock **c, struct uvstack_sock **s)
{
	struct sockaddr_in a = at(port);
	struct uvstack_sock *l;

	CHECK_EQ(uvstack_socket(AF_INET, SOCK_STREAM, &l), 0);
	CHECK_EQ(uvstack_bind(l, (struct sockaddr *)&a, sizeof(a)), 0);
	CHECK_EQ(uvstack_listen(l, 8), 0);
	CHECK_EQ(uvstack_socket(AF_INET, SOCK_STREAM, c), 0);
	CHECK_EQ(uvstack_get(*c, &(struct uvstack_seg){0}, 1), -ENOTCONN);
	CHECK_EQ(uvstack_connect(*c, (struct sockaddr *)&a, sizeof(a)), -EINPROGRESS);
	await(l, EPOLLIN);
	CHECK_EQ(uvstack_accept(l, s, NULL, NULL), 0);
	await(*c, EPOLLOUT);
	uvstack_close(l);
}

/* Read exactly that many bytes, give the buffers back. */
static void
expect(struct uvstack_sock *s, const char *bytes, size_t len)
{
	struct uvstack_seg seg[4];
	size_t done = 0;

	while (done < len) {
		int n;

		await(s, EPOLLIN);
		n = uvstack_recv(s, seg, 4);
		CHECK(n > 0);
		for (int i = 0; i < n; i++) {
			CHECK(done + seg[i].len <= len);
			CHECK(memcmp(bytes + done, seg[i].data, seg[i].len) == 0);
			done += seg[i].len;
		}
		uvstack_put(s, seg, (unsigned int)n);
	}
	CHECK_EQ(uvstack_recv(s, seg, 4), -EAGAIN);
}

static char *
fill(struct uvstack_seg *seg, unsigned int n, size_t *len)
{
	char *all = malloc(n * 2048), *to = all;

	for (unsigned int i = 0; i < n; i++) {
		seg[i].len -= i; /* none like the other */
		for (uint32_t j = 0; j < seg[i].len; j++)
			to[j] = (char)(i * 31 + j);
		memcpy(seg[i].data, to, seg[i].len);
		to += seg[i].len;
	}
	*len = (size_t)(to - all);
	return all;
}

static void
test_stream(void)
{
	struct uvstack_seg seg[20], back[64];
	struct uvstack_sock *c, *s;
	size_t len, echoed = 0;
	char *all;
	int n;

	connected(4000, &c, &s);
	CHECK_EQ(uvstack_get(c, seg, 20), 0);
	CHECK(seg[0].len >= 1000 && seg[0].len <= 1460); /* with its headers, a packet */
	all = fill(seg, 20, &len);
	CHECK_EQ(uvstack_send(c, seg, 20, NULL, 0, 0), 20);
	expect(s, all, len);
	/* What was received goes back: the bytes, once more, moved within the segment. */
	CHECK_EQ(uvstack_get(c, seg, 2), 0);
	free(all);
	all = fill(seg, 2, &len);
	CHECK_EQ(uvstack_send(c, seg, 2, NULL, 0, 0), 2);
	while (echoed < len) {
		await(s, EPOLLIN);
		n = uvstack_recv(s, back, 64);
		CHECK(n > 0);
		for (int i = 0; i < n; i++)
			echoed += back[i].len;
		CHECK_EQ(uvstack_send(s, back, (unsigned int)n, NULL, 0, 0), n);
	}
	expect(c, all, len);
	free(all);
	/* The end of the stream. */
	CHECK_EQ(uvstack_shutdown(c, SHUT_WR), 0);
	await(s, EPOLLRDHUP | EPOLLIN);
	CHECK_EQ(uvstack_recv(s, back, 64), 0);
	uvstack_close(c);
	uvstack_close(s);
}

/* Nobody reads: there comes a chain that is not taken, and nothing of it is. */
static void
test_all_or_nothing(void)
{
	struct uvstack_seg seg[8], in[64];
	struct uvstack_sock *c, *s;
	size_t sent = 0, got = 0;
	int r;

	connected(4001, &c, &s);
	for (;;) {
		uint32_t len = 0;

		CHECK_EQ(uvstack_get(c, seg, 8), 0);
		for (int i = 0; i < 8; i++)
			len += seg[i].len;
		r = uvstack_send(c, seg, 8, NULL, 0, 0);
		if (r == -EAGAIN)
			break;
		CHECK_EQ(r, 8);
		sent += len;
	}
	CHECK((uvstack_events(c) & EPOLLOUT) == 0);
	while (got < sent) {
		await(s, EPOLLIN);
		r = uvstack_recv(s, in, 64);
		CHECK(r > 0);
		for (int i = 0; i < r; i++)
			got += in[i].len;
		uvstack_put(s, in, (unsigned int)r);
	}
	CHECK_EQ(got, sent);
	await(c, EPOLLOUT);
	CHECK_EQ(uvstack_send(c, seg, 8, NULL, 0, 0), 8); /* still ours, and good */
	/* What is none of ours is refused. */
	CHECK_EQ(uvstack_get(c, seg, 1), 0);
	seg[0].data = (char *)seg[0].data + 1;
	CHECK_EQ(uvstack_send(c, seg, 1, NULL, 0, 0), -EINVAL);
	uvstack_put(c, seg, 1);
	uvstack_close(c);
	uvstack_close(s);
}

static void
test_hold(void)
{
	struct uvstack_seg seg[1];
	struct uvstack_sock *c, *s;

	connected(4002, &c, &s);
	CHECK_EQ(uvstack_get(c, seg, 1), 0);
	memcpy(seg[0].data, "held", 4);
	seg[0].len = 4;
	CHECK_EQ(uvstack_send(c, seg, 1, NULL, 0, UVSTACK_HOLD), 1);
	usleep(20000);
	CHECK_EQ(uvstack_recv(s, seg, 1), -EAGAIN);
	CHECK_EQ(uvstack_flush(c), 0);
	expect(s, "held", 4);
	uvstack_close(c);
	uvstack_close(s);
}

static void
test_datagrams(void)
{
	struct sockaddr_in a = at(4003), from;
	socklen_t len = sizeof(from);
	struct uvstack_sock *c, *s;
	struct uvstack_seg seg[4], in[8];
	int n = 0;

	CHECK_EQ(uvstack_socket(AF_INET, SOCK_DGRAM, &s), 0);
	CHECK_EQ(uvstack_bind(s, (struct sockaddr *)&a, sizeof(a)), 0);
	CHECK_EQ(uvstack_socket(AF_INET, SOCK_DGRAM, &c), 0);
	CHECK_EQ(uvstack_get(c, seg, 4), 0);
	for (int i = 0; i < 4; i++) {
		seg[i].len = (uint32_t)i + 1;
		memset(seg[i].data, 'a' + i, seg[i].len);
	}
	CHECK_EQ(uvstack_send(c, seg, 4, (struct sockaddr *)&a, sizeof(a), 0), 4);
	while (n < 4) {
		int r;

		await(s, EPOLLIN);
		r = uvstack_recv(s, in + n, (unsigned int)(8 - n));
		CHECK(r > 0);
		n += r;
	}
	for (int i = 0; i < 4; i++) {
		CHECK_EQ(in[i].len, i + 1);
		CHECK_EQ(in[i].flags, 0);
		CHECK_EQ(*(char *)in[i].data, 'a' + i);
	}
	CHECK_EQ(uvstack_from(s, in, (struct sockaddr *)&from, &len), 0);
	CHECK(from.sin_addr.s_addr == host.s_addr);
	/* An answer in the very buffer that brought the question. */
	CHECK_EQ(uvstack_send(s, in + 3, 1, (struct sockaddr *)&from, len, 0), 1);
	uvstack_put(s, in, 3);
	await(c, EPOLLIN);
	CHECK_EQ(uvstack_recv(c, in, 8), 1);
	CHECK(in[0].len == 4 && memcmp(in[0].data, "dddd", 4) == 0);
	uvstack_put(c, in, 1);
	uvstack_close(c);
	uvstack_close(s);
}

/* Both interfaces on one connection. */
static void
test_beside_posix(void)
{
	struct sockaddr_in a = at(4004);
	struct uvstack_sock *s;
	struct uvstack_seg seg[1];
	int l = socket(AF_INET, SOCK_STREAM, 0), c = socket(AF_INET, SOCK_STREAM, 0), fd;
	char buf[16];

	CHECK_EQ(uvstack_of(c, &s), -ENOTCONN);
	CHECK_EQ(uvstack_of(0, &s), -EBADF);
	CHECK_EQ(bind(l, (struct sockaddr *)&a, sizeof(a)), 0);
	CHECK_EQ(listen(l, 1), 0);
	CHECK_EQ(connect(c, (struct sockaddr *)&a, sizeof(a)), 0);
	fd = accept(l, NULL, NULL);
	CHECK(fd >= 0);
	CHECK_EQ(uvstack_of(fd, &s), 0);
	CHECK_EQ(write(c, "question", 8), 8);
	expect(s, "question", 8);
	CHECK_EQ(uvstack_get(s, seg, 1), 0);
	memcpy(seg[0].data, "answer", 6);
	seg[0].len = 6;
	CHECK_EQ(uvstack_send(s, seg, 1, NULL, 0, 0), 1);
	CHECK_EQ(read(c, buf, sizeof(buf)), 6);
	CHECK(memcmp(buf, "answer", 6) == 0);
	/* The descriptor goes, the socket stays. */
	close(fd);
	CHECK_EQ(write(c, "more", 4), 4);
	expect(s, "more", 4);
	uvstack_close(s);
	CHECK_EQ(read(c, buf, sizeof(buf)), 0);
	close(c);
	close(l);
}

/* Everything got, and nothing left: told, refused, told again when it is given back. */
static void
test_memory(void)
{
	static struct uvstack_seg seg[1 << 14];
	struct uvstack_sock *c, *s;
	struct uvstack_ready ready[2];
	struct uvstack_poll *p;
	unsigned int n = 0;

	connected(4005, &c, &s);
	CHECK_EQ(uvstack_poll_new(&p), 0);
	CHECK_EQ(uvstack_poll_add(p, s, EPOLLIN, s), 0);
	CHECK_EQ(uvstack_poll_wait(p, ready, 2, 0), 0);
	CHECK_EQ(uvstack_memory(c), UVSTACK_PLENTY);
	while (n < 1 << 14 && uvstack_get(c, seg + n, 1) == 0)
		n++;
	CHECK(n > 100 && n < 1 << 14);
	CHECK_EQ(uvstack_get(c, seg + n, 1), -ENOBUFS);
	CHECK_EQ(uvstack_memory(c), UVSTACK_OUT);
	CHECK_EQ(uvstack_poll_wait(p, ready, 2, 5000), 1);
	CHECK(ready[0].cookie == UVSTACK_MEMORY && ready[0].events == UVSTACK_OUT);
	CHECK_EQ(uvstack_poll_wait(p, ready, 2, 0), 0); /* told once */
	uvstack_put(c, seg, n);
	CHECK_EQ(uvstack_poll_wait(p, ready, 2, 5000), 1);
	CHECK(ready[0].cookie == UVSTACK_MEMORY && ready[0].events == UVSTACK_PLENTY);
	/* The receive reserve was not touched: the connection lives. */
	CHECK_EQ(uvstack_get(c, seg, 1), 0);
	memcpy(seg[0].data, "alive", 5);
	seg[0].len = 5;
	CHECK_EQ(uvstack_send(c, seg, 1, NULL, 0, 0), 1);
	expect(s, "alive", 5);
	uvstack_poll_free(p);
	uvstack_close(c);
	uvstack_close(s);
}

#define MANY 50

/* Levels, told as long as they last, and those left out first. */
static void
test_poll(void)
{
	struct uvstack_sock *c[MANY], *s[MANY];
	struct uvstack_ready ready[MANY];
	struct uvstack_poll *p;
	struct uvstack_seg seg;
	bool seen[MANY] = {false};
	int n;

	CHECK_EQ(uvstack_poll_new(&p), 0);
	for (int i = 0; i < MANY; i++) {
		connected((uint16_t)(4100 + i), &c[i], &s[i]);
		CHECK_EQ(uvstack_poll_add(p, s[i], EPOLLIN, &s[i]), 0);
		CHECK_EQ(uvstack_poll_add(p, s[i], EPOLLIN, &s[i]), -EEXIST);
	}
	CHECK_EQ(uvstack_poll_wait(p, ready, MANY, 0), 0);
	for (int i = 0; i < MANY; i++) {
		CHECK_EQ(uvstack_get(c[i], &seg, 1), 0);
		seg.len = 1;
		CHECK_EQ(uvstack_send(c[i], &seg, 1, NULL, 0, 0), 1);
		await(s[i], EPOLLIN);
	}
	for (int round = 0; round < MANY; round += 10) {
		CHECK_EQ(uvstack_poll_wait(p, ready, 10, 1000), 10);
		for (int i = 0; i < 10; i++) {
			n = (int)((struct uvstack_sock **)ready[i].cookie - s);
			CHECK(!seen[n]);
			seen[n] = true;
		}
	}
	CHECK_EQ(uvstack_poll_wait(p, ready, MANY, 0), MANY); /* nobody has read */
	CHECK_EQ(uvstack_poll_mod(p, s[0], 0), 0);
	CHECK_EQ(uvstack_poll_del(p, s[1]), 0);
	CHECK_EQ(uvstack_poll_wait(p, ready, MANY, 0), MANY - 2);
	uvstack_poll_free(p);
	for (int i = 0; i < MANY; i++) {
		uvstack_close(c[i]);
		uvstack_close(s[i]);
	}
}

static const struct {
	const char *name;
	void (*run)(void);
} cases[] = {
	{"stream", test_stream},
	{"all_or_nothing", test_all_or_nothing},
	{"hold", test_hold},
	{"datagrams", test_datagrams},
	{"beside_posix", test_beside_posix},
	{"memory", test_memory},
	{"poll", test_poll},
};

int
main(int argc, char **argv)
{
	if (argc < 2 || inet_pton(AF_INET, argv[1], &host) != 1)
		return 2;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (argc > 2 && strcmp(argv[2], cases[i].name) != 0)
			continue;
		cases[i].run();
		printf("ok %s\n", cases[i].name);
		fflush(stdout);
	}
	return 0;
}
