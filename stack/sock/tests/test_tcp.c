/* SPDX-License-Identifier: BSD-3-Clause
 *
 * TCP sockets between two hosts. */
#include "stack/sock/tests/pair.h"

static bool
readable(void *arg)
{
	return uvs_sock_events(arg) & EPOLLIN;
}

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

int
main(void)
{
	pair_start(0);
	test_echo();
	return 0;
}
