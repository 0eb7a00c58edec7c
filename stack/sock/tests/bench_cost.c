/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What a TCP request and its answer cost, in instructions: two hosts in one process, no waiting, no
 * clock, so that the same build counts the same each time. ci/cost runs it under callgrind, with
 * and without what can be seen from outside, and compares builds.
 *
 * Usage: bench_cost ROUNDS plain | latency | trace
 *   latency  measured
 *   trace    all of the stack's trace points recorded
 */
#include <string.h>

#include "stack/sock/tests/pair.h"

#define BYTES 100

static void
until_read(struct uvs_sock *s, char *buf)
{
	ssize_t n;

	while ((n = pair_recv(s, buf, BYTES)) == -EAGAIN)
		pair_poll();
	CHECK_EQ(n, BYTES);
}

int
main(int argc, char **argv)
{
	unsigned long rounds = argc > 2 ? strtoul(argv[1], NULL, 10) : 0;
	struct uvs_sock *client, *server;
	char buf[BYTES] = "";

	CHECK(rounds > 0);
	if (strcmp(argv[2], "trace") == 0)
		pair_trace("uvstack.*");
	pair_start(0);
	pair_connect(&client, &server);
	for (int h = 0; h < 2; h++)
		hosts[h]->seen->latency = strcmp(argv[2], "latency") == 0;
	for (unsigned long i = 0; i < rounds; i++) {
		CHECK_EQ(pair_send(client, buf, BYTES), BYTES);
		until_read(server, buf);
		CHECK_EQ(pair_send(server, buf, BYTES), BYTES);
		until_read(client, buf);
	}
	uvs_sock_put(client);
	uvs_sock_put(server);
	pair_stop();
	return 0;
}
